"""A clock that tests move by hand."""

from __future__ import annotations


class Standing:
    """Stands until somebody moves `now` (monotonic seconds); the wall clock moves with it, from `wall_at_0_ms`."""

    def __init__(self, now: float = 100.0, wall_at_0_ms: int = 0) -> None:
        self.now = now
        self.wall_at_0_ms = wall_at_0_ms

    def mono(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return self.wall_at_0_ms + int(self.now * 1000)
