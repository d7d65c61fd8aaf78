"""A budget in memory: a sliding window and a ban. `take.lua` and `block.lua` are the same for Redis."""

from __future__ import annotations

from connector.core.window import SlidingWindow


class Bucket:
    """Gives `count` per period, in any span of a period. Not thread-safe."""

    __slots__ = ("_blocked", "_window")

    def __init__(self) -> None:
        self._window = SlidingWindow()
        self._blocked = 0

    def take(self, cost: int, count: int, period: int, now_ms: int) -> int:
        """Take `cost` (at most `count`) and return 0, or the ms to wait (then nothing was taken)."""
        wait = max(self._window.wait(cost, count, period, now_ms), self._blocked - now_ms)
        if wait <= 0:
            self._window.add(cost, period, now_ms)
        return max(0, wait)

    def block(self, until_ms: int) -> None:
        """Give nothing before `until_ms`. A shorter ban never replaces a longer one."""
        self._blocked = max(self._blocked, until_ms)
