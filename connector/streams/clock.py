"""The real clock, and what tells that it jumped."""

from __future__ import annotations

import time
from typing import Final

from connector.core.ports import Clock

JUMP_MS: Final = 2_000
"""The wall clock may be slewed; a step beyond this is a jump: signatures and event times are off from there on."""


class SystemClock:
    """Any thread."""

    def mono(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ClockWatch:
    """Compares the wall clock with the monotonic one. One thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = self._measure()

    def _measure(self) -> float:
        return self._clock.wall_ms() - self._clock.mono() * 1000

    def jumped_ms(self) -> int:
        """By how much the wall clock jumped since the last call; 0 = it did not."""
        before, self._offset_ms = self._offset_ms, self._measure()
        step = int(self._offset_ms - before)
        return step if abs(step) >= JUMP_MS else 0
