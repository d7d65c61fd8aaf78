"""Candles: one market and one interval a connection, each update of the running one published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._rows import read_rows
from exchanges.instruments import SymbolTable
from exchanges.whitebit import _rest
from exchanges.whitebit._frames import decode_raws
from exchanges.whitebit._markets import code_of, name_of, seconds_of, wire_of
from exchanges.whitebit._public import Public

REPAIR_ROWS: Final = 1_000
FIGURES: Final = 7
"""Of a REST row; a pushed one has the market behind them."""


class Topic(NamedTuple):
    """What one connection can carry."""

    market: str
    seconds: int


class _Klines(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")


_decode_klines = msgspec.json.Decoder(_Klines).decode
_decode_figures = msgspec.json.Decoder(list[str | int | float]).decode


def _figures(raw: bytes) -> list[str]:
    row = [str(one) for one in _decode_figures(raw)]
    if len(row) < FIGURES:
        raise ValueError("a candle of too few figures")
    return row


def _bar(row: Sequence[str]) -> Bar:
    """The close stands before high and low."""
    start, open_, close, high, low, volume = row[:6]
    return Bar(int(decimal(start)) * 1000, open_, high, low, close, volume)


def _rest_bar(raw: bytes) -> Bar:
    return _bar(_figures(raw))


def _pushed(raw: bytes) -> tuple[str, Bar]:
    row = _figures(raw)
    if len(row) <= FIGURES:
        raise ValueError("a candle without its market")
    return row[FIGURES], _bar(row)


class WhitebitCandle(CandleFeed[Topic], Public[Topic]):
    """One candle topic. See `exchanges._adapter.Adapter`."""

    channel = "candles"
    history = REPAIR_ROWS
    running = True

    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        seconds = seconds_of(subscription.interval)
        if seconds is None:
            reason = f"WhiteBIT has no candle interval {subscription.interval!r}"
            return Fail(kind=FailKind.REQUEST, reason=reason)
        topic = Topic(wire_of(subscription.symbol, self._exchange, self._setup.table()), seconds)
        if any(other != topic for other in self._routes):
            return Fail(kind=FailKind.REQUEST, reason="this connection carries another market or interval")
        return topic, seconds * 1000

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        interval = code_of(topic.seconds) if topic.seconds else ""
        return name_of(topic.market, self._setup.table()), interval

    def _params(self, topics: Sequence[Topic]) -> list[object]:
        return [topics[-1].market, topics[-1].seconds]

    def _named(self, market: str) -> Topic | None:
        return next((topic for topic in self._routes if topic.market == market), None)

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        query = {
            "market": topic.market,
            "interval": code_of(topic.seconds),
            "start": from_ms // 1000,
            "end": to_ms // 1000,
            "limit": REPAIR_ROWS,
        }
        url = f"{_rest.REST}/api/v1/public/kline?{urlencode(query)}"
        return Call(tag="klines", method="GET", url=url, pool="candles")

    def _page(self, call: Call, answer: Answer) -> Page:
        failure = _rest.failure_of(answer)
        if failure is not None:
            return Page(failed=failure.reason, retry=failure.kind is not FailKind.REQUEST)
        try:
            # Only closed candles are listed.
            return Page(bars=read_rows(_decode_klines(answer.body).result, _rest_bar)[0])
        except UNREADABLE as error:
            return Page(failed=str(error))

    def _data(self, params: msgspec.Raw, now: Instant) -> Outputs:
        decode_raws(params)
        rows, odd = read_rows(params, _pushed)
        outputs = [Note(odd.phrase("candles"))] if odd else []
        told: dict[str, list[Bar]] = {}
        for market, bar in rows:
            told.setdefault(market, []).append(bar)
        found = [
            output
            for market, bars in told.items()
            for output in self._told(self._named(market) or Topic(market, 0), bars, now)
        ]
        return [*outputs, *found]


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or why a candle request can't be served. An empty table refuses no symbol."""
    if seconds_of(interval) is None:
        return f"WhiteBIT has no candle interval {interval!r}"
    if len(table) and table.pair(symbol) is None and table.wire(symbol) is None:
        return f"WhiteBIT has no market {symbol!r} on {exchange}"
    return None
