"""The backstop of ownership: one process at a time looks at all wanted streams, in small parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from connector.core.ports import Clock, State
from connector.streams.leases import Leases

SCAN_S: Final = 60.0
"""So often: the index of the free ones may have been forgotten."""
SCANNED_AT_ONCE: Final = 1_000


class FullScan:
    """One thread, that of the accounts. Everything here may raise `StateUnavailable`."""

    def __init__(self, state: State, leases: Leases, clock: Clock) -> None:
        self._state, self._leases, self._clock = state, leases, clock
        self._due_at = clock.mono() + SCAN_S
        self._cursor: int | None = None
        """How far the scan of this process is; None = it makes none."""

    def turn(self, wanted: int) -> None:
        """One part, with each sweep. `wanted`: how many streams there are about."""
        now = self._clock.mono()
        if self._cursor is None and now >= self._due_at:
            self._due_at = now + SCAN_S
            self._cursor = 0 if self._state.once("scan", self._leases.owner, SCAN_S) else None
        if self._cursor is not None:
            count = max(SCANNED_AT_ONCE, math.ceil(wanted / SCAN_S))
            after, silent = self._state.scan(self._cursor, count)
            for owner in sorted(silent):
                self._leases.neighbours.found_silent(owner, silent[owner])
            self._cursor = after or None

    def whole(self, wanted: int, still_alive: Callable[[], None]) -> None:
        """All of it now, unless another process is at it."""
        self._due_at = self._clock.mono()
        self.turn(wanted)
        while self._cursor is not None:
            still_alive()
            self.turn(wanted)
