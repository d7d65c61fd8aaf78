"""Candle intervals: what the venue has, how else it may be asked for, and the one that has to be put together."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context
from typing import Final

from exchanges._adapter import Call, CandleSubscription, Instant, Output
from exchanges._catchup import Bar, CatchUp
from exchanges._numbers import decimal, plain

HOUR_MS: Final = 3_600_000
EIGHT_HOURS: Final = "8h"
"""OKX has no such candle: it is made of two of 4 h, starting 00:00, 08:00 and 16:00 UTC."""

_EXACT: Final = Context(prec=60)
_MINUTES: Final = {
    "1m": 1,
    "3m": 3,
    "5m": 5,
    "15m": 15,
    "30m": 30,
    "1H": 60,
    "2H": 120,
    "4H": 240,
    "6H": 360,
    "12H": 720,
    "1D": 1_440,
    "1W": 10_080,
    "6Hutc": 360,
    "12Hutc": 720,
    "1Dutc": 1_440,
    "1Wutc": 10_080,
}
_LENGTH_MS: Final = {f"candle{code}": minutes * 60_000 for code, minutes in _MINUTES.items()}
_GENERIC: Final = {
    "1m": "candle1m",
    "3m": "candle3m",
    "5m": "candle5m",
    "15m": "candle15m",
    "30m": "candle30m",
    "1h": "candle1H",
    "2h": "candle2H",
    "4h": "candle4H",
    EIGHT_HOURS: "candle4H",
    "1d": "candle1Dutc",
    "1w": "candle1Wutc",
}
"""Days and weeks begin at 00:00 UTC; without `utc` they would begin at 16:00."""


def channel_of(interval: str) -> str | None:
    """The channel that serves a requested interval, in the venue's or the generic spelling; None if there is none."""
    return interval if interval in _LENGTH_MS else _GENERIC.get(interval)


def length_ms(interval: str) -> int:
    """Length of a candle of a served interval."""
    return 8 * HOUR_MS if interval == EIGHT_HOURS else _LENGTH_MS[channel_of(interval) or interval]


class EightHours(CatchUp):
    """Puts 8 h candles together out of finished 4 h candles that come in order."""

    def __init__(self, subscription: CandleSubscription) -> None:
        super().__init__(subscription, 8 * HOUR_MS, running=False)
        self._news_ms = 0
        self._first: Bar | None = None

    def begin(self, request: Callable[[int, int], Call], limit: int, now: Instant) -> list[Output]:
        """Without a gap as well: the first half of the running candle may be over."""
        if self._since is None:
            self._since = self._last = (now.wall_ms // (8 * HOUR_MS) - 1) * 8 * HOUR_MS
        return super().begin(request, limit // 2, now)

    def whole(self, bar: Bar) -> Bar | None:
        """The 8 h candle that this 4 h candle completes; None for a first half, or one whose first half is unknown."""
        if bar.start % (8 * HOUR_MS) == 0:
            self._first = bar
            return None
        first, self._first = self._first, None
        if first is None or bar.start - first.start != 4 * HOUR_MS:
            return None
        return Bar(
            start=first.start,
            open=first.open,
            high=max(first.high, bar.high, key=decimal),
            low=min(first.low, bar.low, key=decimal),
            close=bar.close,
            volume=plain(_EXACT.add(decimal(first.volume), decimal(bar.volume))),
        )
