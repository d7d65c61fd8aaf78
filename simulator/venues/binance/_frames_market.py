"""Market-data frames, rendered once per tick for all connections; replayed ticks come from templates. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator._values import INTERVALS, ZERO, CandleUpdate, Quote, Tick
from simulator.venues.binance._frames import digits, eight
from simulator.venues.binance._symbols import PROFILES, Profile

_DAY_MS: Final = 86_400_000
_STAMP: Final = 1_111_111_111_111
"""Stands for the send time in templates."""
_STAMP_TEXT: Final = str(_STAMP).encode()
_KEEP: Final = 16
"""Rendered ticks kept; several connections ask for the same one in a row."""

Row = dict[str, Any]


def mini(quote: Quote, time_ms: int) -> Row:
    return {
        "e": "24hrMiniTicker",
        "E": time_ms,
        "s": quote.symbol.wire,
        "c": eight(quote.price),
        "o": eight(quote.open),
        "h": eight(quote.high),
        "l": eight(quote.low),
        "v": eight(quote.volume),
        "q": eight(quote.quote_volume),
    }


def full(profile: Profile, quote: Quote, time_ms: int) -> Row:
    """The futures row has no bid and ask; spot has them, and no `ps` and `st`."""
    symbol = quote.symbol
    places = 8 if profile.spot else symbol.price_decimals
    amount = 8 if profile.spot else symbol.quantity_decimals
    moved = quote.price - quote.open
    row: Row = {
        "e": "24hrTicker",
        "E": time_ms,
        "s": symbol.wire,
        "p": digits(moved, places),
        "P": digits(moved / quote.open * 100 if quote.open else ZERO, 2),
        "w": digits((quote.open + quote.price) / 2, places),
        "c": digits(quote.price, places),
        "Q": digits(quote.size, amount),
        "o": digits(quote.open, places),
        "h": digits(quote.high, places),
        "l": digits(quote.low, places),
        "v": digits(quote.volume, amount),
        "q": digits(quote.quote_volume, 8 if symbol.inverse else 2),
        "O": time_ms - _DAY_MS,
        "C": time_ms,
        "F": 1,
        "L": quote.trades,
        "n": quote.trades,
    }
    if profile.spot:
        row |= {"x": digits(quote.open, places), "b": digits(quote.bid, places), "B": digits(quote.size, amount)}
        row |= {"a": digits(quote.ask, places), "A": digits(quote.size, amount)}
    else:
        row |= {"ps": symbol.wire.split("_")[0], "st": profile.row_kind}
    return row


def kline(profile: Profile, update: CandleUpdate) -> Row:
    """`x` is true exactly once per candle."""
    candle, symbol = update.candle, update.symbol
    places = 8 if profile.spot else symbol.price_decimals
    amount = 8 if profile.spot else symbol.quantity_decimals
    first = candle.start_ms // 1000
    half = digits(candle.volume / 2, amount)
    return {
        "e": "kline",
        "E": update.time_ms,
        "s": symbol.wire,
        "k": {
            "t": candle.start_ms,
            "T": candle.start_ms + INTERVALS[update.interval] - 1,
            "s": symbol.wire,
            "i": update.interval,
            "f": first if candle.trades else -1,
            "L": first + candle.trades - 1 if candle.trades else -1,
            "o": digits(candle.open, places),
            "c": digits(candle.close, places),
            "h": digits(candle.high, places),
            "l": digits(candle.low, places),
            "v": digits(candle.volume, amount),
            "n": candle.trades,
            "x": update.closed,
            "q": digits(candle.quote_volume, 8),
            "V": half,
            "Q": digits(candle.quote_volume / 2, 8),
            "B": "0",
        },
    }


class TickerFrames:
    """Rows of all-market streams as JSON text without brackets: `row,row,row`."""

    def __init__(self) -> None:
        self._rendered: dict[tuple[str, int, bool], bytes] = {}
        self._templates: dict[tuple[str, int, bool], bytes] = {}

    def rows(self, tick: Tick, *, minis: bool) -> bytes:
        """All rows of a tick; `E` is the tick's time."""
        key = (tick.exchange, tick.number, minis)
        known = self._rendered.get(key)
        if known is None:
            known = self._from_template(tick, minis=minis) if tick.variant else self._render(tick, tick.time_ms, minis)
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known

    def _from_template(self, tick: Tick, *, minis: bool) -> bytes:
        key = (tick.exchange, tick.variant, minis)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = self._render(tick, _STAMP, minis)
        return template.replace(_STAMP_TEXT, str(tick.time_ms).encode())

    @staticmethod
    def _render(tick: Tick, time_ms: int, minis: bool) -> bytes:
        profile = PROFILES[tick.exchange]
        rows = [mini(quote, time_ms) if minis else full(profile, quote, time_ms) for quote in tick.quotes]
        return msgspec.json.encode(rows)[1:-1]
