"""Whether something grows: the slope of a line through measured values, its error, and steps that only go up. Pure."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

ERRORS: Final = 2.0
"""A slope counts when it is above the limit by so many of its standard errors."""
PARTS: Final = 4
"""A count grows steadily when the median of each part of the time is above that of the part before."""


class Slope(NamedTuple):
    """Of a line through measured values, in their unit an hour."""

    per_hour: float
    error: float
    """Standard error, as if what is left beside the line were independent from value to value."""

    def above(self, limit: float) -> bool:
        return self.per_hour - ERRORS * self.error > limit


def slope(times_s: Sequence[float], values: Sequence[float]) -> Slope | None:
    """Least squares. None: fewer than three values, or all at one time, say nothing of a line and its error."""
    count = len(times_s)
    if count < 3:
        return None
    hours = [seconds / 3600 for seconds in times_s]
    mean, middle = statistics.fmean(values), statistics.fmean(hours)
    spread = math.fsum((hour - middle) ** 2 for hour in hours)
    if not spread:
        return None
    rise = math.fsum((hour - middle) * (value - mean) for hour, value in zip(hours, values, strict=True)) / spread
    rest = math.fsum((value - mean - rise * (hour - middle)) ** 2 for hour, value in zip(hours, values, strict=True))
    return Slope(rise, math.sqrt(rest / (count - 2) / spread))


def second_half(values: Sequence[float]) -> Sequence[float]:
    """The later ones: before, caches and pools fill."""
    return values[len(values) // 2 :]


def steady(values: Sequence[float]) -> bool:
    """Whether a count goes up from part to part of the time, all the way. Too few values: no."""
    size = len(values) // PARTS
    if not size:
        return False
    whole = values[len(values) - PARTS * size :]
    medians = [statistics.median(whole[part * size : (part + 1) * size]) for part in range(PARTS)]
    return all(before < after for before, after in itertools.pairwise(medians))
