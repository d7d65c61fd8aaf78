"""Candles of any interval from the closed buckets that the venue has: five minutes on the channel, a few more over REST.

Pure. Periods are aligned to UTC, weeks start on Monday.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from exchanges._adapter import CandleSubscription
from exchanges._numbers import decimal, number, plain
from exchanges.events import Candle

MINUTE_MS: Final = 60_000
BUCKET_MS: Final = 5 * MINUTE_MS
"""The only bucket of the `candles` channel."""
DAY_MS: Final = 1_440 * MINUTE_MS
WEEK_MS: Final = 7 * DAY_MS
_MONDAY_MS: Final = 4 * DAY_MS
"""1970-01-05, the first Monday of the epoch."""

INTERVALS: Final = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": BUCKET_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "1d": DAY_MS,
    "1w": WEEK_MS,
}
GRANULARITIES: Final = {
    MINUTE_MS: "ONE_MINUTE",
    BUCKET_MS: "FIVE_MINUTE",
    15 * MINUTE_MS: "FIFTEEN_MINUTE",
    30 * MINUTE_MS: "THIRTY_MINUTE",
    60 * MINUTE_MS: "ONE_HOUR",
    120 * MINUTE_MS: "TWO_HOUR",
    DAY_MS: "ONE_DAY",
}
"""REST buckets that are documented for certain. SIX_HOUR fits no interval of ours: 8 h is no multiple of it."""


class Bucket(msgspec.Struct, frozen=True):
    """A bucket as the venue writes it; prices and volume are decimal text."""

    start_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str

    @property
    def usable(self) -> bool:
        """Whether it tells prices."""
        return all(number(price) > 0 for price in (self.open, self.high, self.low, self.close))


def floor(time_ms: int, interval_ms: int) -> int:
    """Start of the period that a moment lies in."""
    offset = _MONDAY_MS if interval_ms == WEEK_MS else 0
    return (time_ms - offset) // interval_ms * interval_ms + offset


def grain_of(interval_ms: int) -> int:
    """The largest REST bucket that an interval is made of."""
    return max(grain for grain in GRANULARITIES if interval_ms % grain == 0)


class Series:
    """One requested candle stream: the closed buckets of its unpublished periods."""

    def __init__(self, subscription: CandleSubscription, product: str) -> None:
        self.subscription = subscription
        self.product = product
        self.interval_ms = INTERVALS[subscription.interval]
        self.grain_ms = grain_of(self.interval_ms)
        self.last_start_ms = subscription.resume_start_ms if subscription.resume_start_ms is not None else -1
        self.known_from_ms: int | None = None
        """From here on every bucket was seen; a period that began earlier would be built from a part of it."""
        self._parts: dict[int, Bucket] = {}

    @property
    def stream_id(self) -> str:
        return self.subscription.stream_id

    @property
    def polled(self) -> bool:
        """Shorter than the channel's bucket: only REST has it."""
        return self.interval_ms < BUCKET_MS

    def add(self, bucket: Bucket) -> None:
        """Take in a closed bucket. The same one again replaces it."""
        if floor(bucket.start_ms, self.interval_ms) > self.last_start_ms:
            self._parts[bucket.start_ms] = bucket

    def take_closed(self, until_ms: int, exchange: str) -> list[Candle]:
        """The candles of all periods that end at or before a moment, oldest first, each once."""
        if self.known_from_ms is None:
            return []
        periods: dict[int, list[Bucket]] = {}
        for start in sorted(self._parts):
            period = floor(start, self.interval_ms)
            if period + self.interval_ms <= until_ms:
                periods.setdefault(period, []).append(self._parts.pop(start))
        candles = [
            self._candle(period, buckets, exchange)
            for period, buckets in periods.items()
            if period >= self.known_from_ms
        ]
        if periods:
            self.last_start_ms = max(self.last_start_ms, *periods)
        return candles

    def next_close_ms(self) -> int | None:
        """End of the earliest period that has buckets."""
        return floor(min(self._parts), self.interval_ms) + self.interval_ms if self._parts else None

    def _candle(self, period: int, buckets: Iterable[Bucket], exchange: str) -> Candle:
        rows = list(buckets)
        subscription = self.subscription
        return Candle(
            start=period,
            open=plain(rows[0].open),
            high=plain(max((row.high for row in rows), key=decimal)),
            low=plain(min((row.low for row in rows), key=decimal)),
            close=plain(rows[-1].close),
            volume=plain(rows[0].volume if len(rows) == 1 else sum((decimal(row.volume) for row in rows), decimal(0))),
            unique_message_id=f"{subscription.symbol}:{period}:{subscription.interval}@{exchange}",
        )
