"""What tells that the wall clock jumped."""

from __future__ import annotations

from typing import Final

from connector.core.ports import Clock

JUMP_MS: Final = 2_000
"""The wall clock may be slewed; a step beyond this is a jump: signatures and event times are off from there on."""


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
