"""The end of a process's account streams, step by step on the owner's loop: hand over, close what is left, tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.loop import Loop, Timer
from connector.core.ports import Clock
from connector.streams.handover import CONFIRM_POLL_S, Handover
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from connector.streams.position_store import PositionStore
from connector.streams.supervisor import Supervisor

log = get_logger(__name__)

CONFIRM_S: Final = 1.5
"""At the end, the newest events get this long to be confirmed before their streams' positions are saved without them."""
ABANDON_S: Final = 4.0
"""After the deadline of the hand-over, what is being given still gets this long to be confirmed."""

Done = Callable[[bool], None]


class Leaving:
    """Loop thread only. `begin` once, at the end of the process."""

    def __init__(
        self,
        positions: PositionStore,
        leases: Leases,
        supervisor: Supervisor,
        pipeline: Pipeline,
        clock: Clock,
        loop: Loop,
        handover: Handover,
    ) -> None:
        self._positions, self._leases, self._supervisor, self._pipeline = positions, leases, supervisor, pipeline
        self._clock, self._loop, self._handover = clock, loop, handover
        self._timer: Timer | None = None
        self._closing = False

    def begin(self, timeout_s: float, done: Done) -> None:
        """Give every stream away, make before break, and close what nobody took in `timeout_s`.

        `done` is called on the loop at the end, with whether all went over in time.
        """
        self._timer = self._loop.after(timeout_s, partial(self._abandon, done))
        self._handover.drain(partial(self._close, done, in_time=True))

    def _abandon(self, done: Done) -> None:
        if self._closing:
            return
        self._timer = self._loop.after(ABANDON_S, partial(self._close, done, in_time=False))
        self._handover.drain(partial(self._close, done, in_time=False))
        self._handover.abandon()

    def _close(self, done: Done, *, in_time: bool) -> None:
        """What nobody took is closed; its position lets the next owner repair the gap."""
        if self._closing:
            return
        self._closing = True
        self._loop.cancel(self._timer)
        for stream_id in self._handover.decline():
            self._supervisor.unwant(stream_id)
        held = list(self._leases.held())
        taken = {
            stream_id: self._pipeline.lines.take(stream_id, self._supervisor.position_time_ms(stream_id))
            for stream_id in held
        }
        self._finish(held, taken, self._pipeline.mark(), self._clock.mono() + CONFIRM_S, partial(done, in_time))

    def _finish(
        self,
        held: list[str],
        taken: Mapping[str, bytes | None],
        mark: object,
        give_up_at: float,
        done: Callable[[], None],
    ) -> None:
        out = self._pipeline.passed(mark)
        waiting = any(map(self._pipeline.lines.pending, held)) or not out
        if waiting and self._clock.mono() < give_up_at:
            again = partial(self._finish, held, taken, mark, give_up_at, done)
            self._loop.after(CONFIRM_POLL_S, again)
            return
        positions = {
            stream_id: position
            for stream_id, taken_position in taken.items()
            if (position := self._pipeline.lines.last_word(stream_id, taken_position, out=out, revoke=False))
            and self._leases.holds(stream_id)
        }
        try:
            if self._leases.permitted():
                self._positions.save(positions, self._leases.owner)
        except StateUnavailable:
            log.warning("positions could not be saved: the state is unavailable", streams=len(positions))
        for stream_id in held:
            self._supervisor.unwant(stream_id)
        self._leases.release(held)
        done()
