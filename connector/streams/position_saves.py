"""Positions on their way to the store: what a saved one tells is out on every sink first, because whoever starts from it
never tells it again. A process that was killed between two sinks had lost a fill on the slower one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.ports import Clock
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore

log = get_logger(__name__)

EVERY_MS: Final = 10_000
"""How old the live time of the saved position of a quiet stream gets in a process that has few …"""
EVERY_AT_MOST_MS: Final = 30_000
"""… and in one that has many: the gap after a kill is read from so much earlier, and nothing more of it is told."""
STREAM_MS: Final = 15
"""Times so many streams in between: some 70 of the quiet ones are saved a second, half of what Redis did for a hundred
thousand."""
OUT_WITHIN_S: Final = 30.0
"""A sink that does not get rid of its events within this time has lost its server: what it then loses it tells by itself."""
LOOK_S: Final = 0.02
"""How often the sinks are looked at meanwhile."""


def every_ms(streams: int) -> int:
    """How old the live time of a saved position gets in a process that has so many."""
    return min(max(EVERY_MS, STREAM_MS * streams), EVERY_AT_MOST_MS)


class _Ready(msgspec.Struct):
    """Encoded positions, and what must be out before they are saved."""

    positions: Mapping[str, bytes]
    mark: object
    by_mono: float


class PositionSaves:
    """The owner's loop only."""

    def __init__(
        self,
        store: PositionStore,
        leases: Leases,
        pipeline: Pipeline,
        clock: Clock,
        loop: Loop,
        live_ms: Callable[[str], int | None],
    ) -> None:
        """`live_ms`: until when a stream was certainly live."""
        self._store, self._leases, self._pipeline = store, leases, pipeline
        self._clock, self._loop, self._live_ms = clock, loop, live_ms
        self._ready: _Ready | None = None
        self._looking = False
        """A timer looks after what is ready."""

    def turn(self, stream_ids: Sequence[str] | None = None) -> None:
        """Save what changed, at once or as soon as its events are out; of these streams only. While an earlier save waits
        nothing is begun: a later turn for all finds it."""
        if self._ready is not None:
            self._save_if_out()
        if self._ready is not None or not self._leases.permitted():
            return  # without permission others may have gone on from the saved ones: they are due again after the next beat
        lines = self._pipeline.lines
        positions = lines.dirty_positions(self._live_ms, self._clock.wall_ms(), every_ms(len(lines)), stream_ids)
        if positions:
            self._ready = _Ready(positions, self._pipeline.mark(), self._clock.mono() + OUT_WITHIN_S)
            self._save_if_out()
            self._look_later()

    def _look_later(self) -> None:
        if self._ready is not None and not self._looking:
            self._looking = True
            self._loop.after(LOOK_S, self._look)

    def _look(self) -> None:
        self._looking = False
        self._save_if_out()
        self._look_later()

    def _save_if_out(self) -> None:
        ready = self._ready
        if ready is None:
            return
        if not self._pipeline.passed(ready.mark):
            if self._clock.mono() < ready.by_mono:
                return
            log.debug("positions are saved before all sinks have their events", streams=len(ready.positions))
        self._ready = None
        self._save(ready.positions)

    def _save(self, positions: Mapping[str, bytes]) -> None:
        lines = self._pipeline.lines
        if not self._leases.permitted():
            lines.mark_dirty(positions)
            return
        current = lines.current(positions)
        try:
            self._store.save(current, self._leases.owner)
        except StateUnavailable:
            lines.mark_dirty(current)
