"""Candles: up to some hundred topics on one connection; running candles are published (venues/hyperliquid.md 3, 5 and 6)."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Output, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, CatchUp, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._rows import read_rows
from exchanges.hyperliquid._connection import PublicFeed
from exchanges.hyperliquid._connection_frames import Topic
from exchanges.hyperliquid._errors import refusal_of
from exchanges.hyperliquid._hosts import info
from exchanges.hyperliquid._symbols import DOUBLE, instrument_of, market_of, pair_of
from exchanges.instruments import SymbolTable

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
LENGTHS: Final = {
    "1m": _MINUTE_MS,
    "3m": 3 * _MINUTE_MS,
    "5m": 5 * _MINUTE_MS,
    "15m": 15 * _MINUTE_MS,
    "30m": 30 * _MINUTE_MS,
    "1h": 60 * _MINUTE_MS,
    "2h": 120 * _MINUTE_MS,
    "4h": 240 * _MINUTE_MS,
    "8h": 480 * _MINUTE_MS,
    "12h": 720 * _MINUTE_MS,
    "1d": _DAY_MS,
    "3d": 3 * _DAY_MS,
    "1w": 7 * _DAY_MS,
    "1M": 31 * _DAY_MS,
}
"""The venue's intervals, spelled as the platform's, and how long they last at the most."""
HISTORY: Final = 1_000
"""The venue hands out 5,000; more than this the backend back-fills by itself."""
_HISTORY_WEIGHT: Final = 20 + HISTORY // 60 + 1

Number = str | int | float | None


class _Candle(msgspec.Struct):
    """One-letter names are the venue's: opening time, coin, interval; open, high, low, close, base volume."""

    t: int
    s: str
    i: str
    o: Number
    h: Number
    l: Number  # noqa: E741
    c: Number
    v: Number = None

    def bar(self) -> Bar:
        return Bar(self.t, *(_as_sent(figure) for figure in (self.o, self.h, self.l, self.c, self.v)))


def _as_sent(figure: Number) -> str:
    """The venue's own text; "0" for what is no figure."""
    return plain(figure) if figure is not None and decimal(figure) else "0"


_decode_candle = msgspec.json.Decoder(_Candle).decode


class CandleAdapter(CandleFeed[Topic], PublicFeed):
    """Candle topics of one exchange id. See `exchanges._adapter.Adapter`."""

    channel = "candle"
    history = HISTORY
    running = True

    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        length_ms = LENGTHS.get(subscription.interval)
        if length_ms is None:
            return Fail(kind=FailKind.REQUEST, reason=f"Hyperliquid has no candle interval {subscription.interval!r}")
        table = self._setup.table()
        found = instrument_of(table, self._exchange, subscription.symbol)
        if found is not None:
            return Topic(self.channel, found.wire, subscription.interval), length_ms
        reason = refusal_of_request(self._exchange, subscription.symbol, subscription.interval, table)
        if reason is not None:
            return Fail(kind=FailKind.REQUEST, reason=reason)
        reason = f"the symbol list that names {subscription.symbol!r} is not loaded yet"
        return Fail(kind=FailKind.TRANSIENT, reason=reason)

    def _new(self, subscription: CandleSubscription, length_ms: int) -> CatchUp:
        """Channels carry the pair id of today, whatever name a bridged coin was asked for by (bug A30)."""
        found = instrument_of(self._setup.table(), self._exchange, subscription.symbol)
        if found is not None:
            subscription = msgspec.structs.replace(subscription, symbol=found.pair)
        return super()._new(subscription, length_ms)

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        if market_of(topic.coin) != self._exchange:
            return None
        return pair_of(self._setup.table(), topic.coin), topic.interval

    def _told_data(self, data: msgspec.Raw, now: Instant) -> Outputs:
        text = bytes(data)
        candles, odd = read_rows(text if text.startswith(b"[") else b"[%b]" % text, _decode_candle)
        outputs: list[Output] = [Note(odd.phrase("candles"))] if odd else []
        for candle in candles:
            outputs.extend(self._told(Topic(self.channel, candle.s, candle.i), [candle.bar()], now))
        return outputs

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        # The running candle is asked for as well: it shows that the one before it has ended.
        end_ms = to_ms + LENGTHS.get(topic.interval, 0)
        asked = {"coin": topic.coin, "interval": topic.interval, "startTime": from_ms, "endTime": end_ms}
        return info(self._site, "candles", _HISTORY_WEIGHT, {"type": "candleSnapshot", "req": asked})

    def _page(self, call: Call, answer: Answer) -> Page:
        refusal = refusal_of(answer)
        if refusal:
            return Page(failed=refusal)
        try:
            return Page(bars=[candle.bar() for candle in read_rows(answer.body, _decode_candle)[0]])
        except UNREADABLE as error:
            return Page(failed=f"unreadable answer: {error}"[:150])


def refusal_of_request(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    if interval not in LENGTHS:
        return f"Hyperliquid has no candle interval {interval!r}: use one of {', '.join(LENGTHS)}."
    if not len(table) or instrument_of(table, exchange, symbol) is not None:
        return None
    if not market_of(symbol):
        return f"{symbol!r} is a code of an outcome market, and those belong to no exchange id."
    code = table.wire(symbol)
    hint = "a pair id like BTC-USDC is expected"
    if code is not None:
        older = code.extra.get(DOUBLE)
        hint = f"an older listing has its name {older}" if older else f"that is the venue's code of {code.pair}"
    return f"{exchange} has no symbol {symbol!r}: {hint}."
