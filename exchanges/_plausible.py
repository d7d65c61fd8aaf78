"""Whether a time that a venue tells can be true. One that can't be costs itself: it must not silence what comes after it."""

from __future__ import annotations

from typing import Final

AHEAD_MS: Final = 60_000
"""Clocks differ; a time further ahead of ours than this is a mistake of the venue, or in another unit."""
OLDEST_MS: Final = 1_000_000_000_000
"""September 2001, before any of these markets: seconds of today lie far below it."""


def plausible(time_ms: int, now_ms: int, ahead_ms: int = AHEAD_MS) -> bool:
    """Whether a time in ms can be one of the past, or of at most `ahead_ms` from now."""
    return OLDEST_MS <= time_ms <= now_ms + ahead_ms


def plausible_candle(start_ms: int, length_ms: int, now_ms: int) -> bool:
    """The same for the opening time of a candle: the one after the running one may come early."""
    return plausible(start_ms, now_ms, max(length_ms, AHEAD_MS))
