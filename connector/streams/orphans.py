"""Streams that are wanted and that nobody can open, because their keys went with a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connector.core.ports import Clock, State

LASTING_S: Final = 4.0
"""Longer than a free stream is left to the process that should take it, and whoever knows the key needs to find it."""
LOOK_S: Final = 1.0
LOOKED_A_SECOND: Final = 4_000
"""Free streams looked at, on average."""


class Orphans:
    """As the process that gets the commands sees them. One thread."""

    def __init__(self, state: State, clock: Clock, enabled: Callable[[str], bool]) -> None:
        self._state, self._clock, self._enabled = state, clock, enabled
        self._since: dict[str, float] = {}
        self._looked_at: float | None = None
        self._next = 0.0

    def lasting(self, epoch: int) -> set[str]:
        """Those that have been orphans for a while and were asked for in this epoch: the senders of older ones were asked to
        come again. Raises `StateUnavailable`."""
        now = self._clock.mono()
        if self._looked_at is not None and now < self._next:
            return set()
        if self._looked_at is None or now - self._looked_at > self._next - self._looked_at + LASTING_S:
            self._since = {}  # it did not look for a while, or stood still
        ids = sorted(self._state.unowned().free)
        found = self._among(ids, epoch)
        self._looked_at, self._next = now, now + max(LOOK_S, len(ids) / LOOKED_A_SECOND)
        self._since = {name: self._since.get(name, now) for name in found}
        return {name for name, since in self._since.items() if now - since >= LASTING_S}

    def _among(self, ids: list[str], epoch: int) -> list[str]:
        wanted = self._state.wanted(ids) if ids else {}
        return sorted(
            name
            for name, entry in wanted.items()
            if entry.credentials is None and entry.epoch >= epoch and self._enabled(entry.exchange)
        )
