"""A token bucket in whole numbers; `take.lua` is the same for Redis."""

from __future__ import annotations

import math


def period_ms(cost: int, count: int, per_s: float) -> int:
    """The period of a bucket in ms, after a check of the numbers.

    Raises `ValueError` for a bucket that never fills, and for a cost that no full bucket covers: waiting would not end.
    """
    period = round(per_s * 1000)
    if count < 1 or period < 1 or not 0 <= cost <= count:
        raise ValueError(f"a bucket of {count} per {per_s} s can't give {cost}")
    return period


class Bucket:
    """`count` tokens per period, full at first. Not thread-safe.

    The level is counted in tokens × period, so that each millisecond refills exactly `count` units and no rounding is needed.
    """

    __slots__ = ("_at", "_blocked", "_count", "_level", "_period")

    def __init__(self) -> None:
        self._level: int | None = None
        self._count = self._period = self._at = self._blocked = 0

    def take(self, cost: int, count: int, period: int, now_ms: int) -> int:
        """Take `cost` tokens and return 0, or the ms to wait (then nothing was taken)."""
        full = count * period
        level = full if self._level is None else self._level
        if self._level is None:
            self._at = now_ms
        elif (count, period) != (self._count, self._period):
            level = math.floor(level / self._period * period)
        # Another process's clock may be a little ahead. A clock that was set back is followed at once.
        if self._at > now_ms + period:
            self._at = now_ms
        level = min(full, level + max(0, now_ms - self._at) * count)
        self._at = max(self._at, now_ms)
        wait = max(0, self._blocked - now_ms)
        missing = cost * period - level
        if missing > 0:
            wait = max(wait, self._at - now_ms + -(-missing // count))
        self._level = level if wait else level - cost * period
        self._count, self._period = count, period
        return wait

    def block(self, until_ms: int) -> None:
        """Give nothing before `until_ms`. A shorter ban never replaces a longer one."""
        self._blocked = max(self._blocked, until_ms)
