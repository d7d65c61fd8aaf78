"""When a feed counts as stalled, flapping or silent (contract 4.4, 4.6, 4.7). Pure decisions over numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

StallKind = Literal["price", "candle", "connect"]

SIBLING_SILENCE_S: Final = 180.0
"""A market that is silent while a sibling of its family delivers is judged this late (contract 4.7)."""
THIN_SYMBOLS: Final = 5
THIN_SILENCE_S: Final = 900.0
"""Markets of fewer symbols than `THIN_SYMBOLS` may have nothing to tell for so long: two quarterly contracts often do."""
TARGETED_RESTARTS: Final = 2
"""Restarts of one socket between real data; then everything of that market is rebuilt (A28, B21)."""


@dataclass(frozen=True, slots=True)
class FeedSilence:
    """One live price session as the watchdog sees it."""

    name: str
    exchange: str
    family: str
    feed: Literal["ticker", "candle"]
    silent_s: float
    """Since the last frame with data, or since it opened."""
    had_data: bool
    limit_s: float
    """From the venue's limits or the settings."""
    symbols: int = THIN_SYMBOLS
    """Active symbols of the market."""


@dataclass(frozen=True, slots=True)
class Stall:
    name: str
    exchange: str
    kind: StallKind
    silent_s: float


def stalls(feeds: Iterable[FeedSilence]) -> list[Stall]:
    """The sessions to restart now.

    A market is judged at its own limit when the whole family is silent, and at 180 s (or its own limit if that is longer)
    while a sibling market still delivers. A thin market is judged at 900 s, because there quiet is normal.
    """
    feeds = list(feeds)
    found = []
    for feed in feeds:
        if feed.silent_s < feed.limit_s or (feed.symbols < THIN_SYMBOLS and feed.silent_s < THIN_SILENCE_S):
            continue
        siblings = [
            other
            for other in feeds
            if other.family == feed.family and other.feed == feed.feed and other.exchange != feed.exchange
        ]
        delivering = any(other.silent_s < other.limit_s for other in siblings)
        if delivering and feed.silent_s < max(SIBLING_SILENCE_S, feed.limit_s):
            continue
        kind: StallKind = "candle" if feed.feed == "candle" else ("price" if feed.had_data else "connect")
        found.append(Stall(feed.name, feed.exchange, kind, feed.silent_s))
    return found
