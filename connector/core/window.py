"""A limit as venues count it: never more than `count` in any span of a period. Pure, in whole numbers.

A token bucket that starts full and refills meanwhile grants up to twice its count within one period; a venue that counts a
window (300 connects in 5 minutes) answers that with a ban. So what was granted is remembered until its period is over, in
slices that keep the memory small. `state/take.lua` is the same for Redis.
"""

from __future__ import annotations

from collections import deque
from typing import Final

SLICES: Final = 50
"""A period is remembered in one slice more at the most: the oldest may reach back beyond the period."""
AHEAD_MS: Final = 5_000
"""Grants up to this far in the future, or up to a period if that is longer, come from a process whose clock is ahead."""


def period_ms(cost: int, count: int, per_s: float) -> int:
    """The period in ms, after a check of the numbers.

    Raises `ValueError` for a window that never gives, and for a cost that no empty window covers: waiting would not end.
    """
    period = round(per_s * 1000)
    if count < 1 or period < 1 or not 0 <= cost <= count:
        raise ValueError(f"{count} per {per_s} s can't give {cost}")
    return period


def slice_ms(period: int) -> int:
    """What is granted within this many ms is remembered as one, as if all of it had been granted at the last moment."""
    return -(-period // SLICES)


def ahead_ms(period: int) -> int:
    """If the newest grant is further in the future than this, the clock was set back."""
    return max(period, AHEAD_MS)


class SlidingWindow:
    """What was granted and still counts. Not thread-safe.

    Times are ms of any clock. While another process's clock is ahead, its newest grant is taken as the present time: the
    others' grants count a little longer then, never shorter. When a clock was set back, all grants move with it.

    A changed count holds at once. A longer period can only know what was remembered for the shorter one.
    """

    __slots__ = ("_since", "_slices")

    def __init__(self) -> None:
        self._slices: deque[tuple[int, int]] = deque()  # (time of the last grant, sum of the costs), oldest first
        self._since = 0  # when the newest slice began

    def wait(self, cost: int, count: int, period: int, now_ms: int) -> int:
        """0 if `cost` (at most `count`) can be granted now, else the ms until enough of the old grants have left."""
        self._follow(period, now_ms)
        now = self._present(now_ms)
        counting = [entry for entry in self._slices if entry[0] + period > now]
        excess = cost - count + sum(granted for _, granted in counting)
        wait = 0
        for last, granted in counting:
            if excess <= 0:
                break
            excess -= granted
            wait = last + period - now_ms
        return wait

    def used(self, period: int, now_ms: int) -> int:
        """What was granted and still counts."""
        now = self._present(now_ms)
        return sum(granted for last, granted in self._slices if last + period > now)

    def add(self, cost: int, period: int, now_ms: int) -> None:
        """Remember that `cost` was granted now."""
        now = self._present(now_ms)
        while self._slices and self._slices[0][0] + period <= now:
            self._slices.popleft()
        if self._slices and now - self._since < slice_ms(period):
            cost += self._slices.pop()[1]
        else:
            self._since = now
        self._slices.append((now, cost))

    def _present(self, now_ms: int) -> int:
        return max(now_ms, self._slices[-1][0]) if self._slices else now_ms

    def _follow(self, period: int, now_ms: int) -> None:
        """Move the grants with a clock that was set back: the newest is now, so that they count for a period at the most."""
        back = self._present(now_ms) - now_ms
        if back > ahead_ms(period):
            self._slices = deque((last - back, granted) for last, granted in self._slices)
            self._since -= back
