"""Candles, spot, futures and unified: running ones too, one interval a connection (docs/venues/kraken.md 3, 5 and 6)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Output, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._rows import read_rows
from exchanges._times import milliseconds
from exchanges._venue import Setup
from exchanges.instruments import SymbolTable
from exchanges.kraken import _symbols
from exchanges.kraken._connection_futures import CANDLES, FuturesLink
from exchanges.kraken._connection_futures_frames import Frame as FuturesFrame
from exchanges.kraken._connection_spot import SpotLink
from exchanges.kraken._connection_spot_frames import Frame as SpotFrame
from exchanges.kraken._connection_topic import DERIVATIVES, PRODUCT, Topic
from exchanges.kraken._errors import read_futures, read_spot
from exchanges.kraken._hosts import FUTURES_REST, SPOT_REST, UNIFIED_WS
from exchanges.kraken._orders_spot import Number

SPOT_ROWS: Final = 720
"""Most candles of one spot answer."""
FUTURES_ROWS: Final = 2_000
FUTURES_PAGES: Final = 3
_SNAPSHOT: Final = "_snapshot"
Text = str | int | None


class _SpotBar(msgspec.Struct):
    """The deprecated `timestamp` is the end of the interval."""

    symbol: str
    interval: int
    interval_begin: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number = None


class _FuturesBar(msgspec.Struct):
    time: int
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number = None


class _FuturesMessage(msgspec.Struct):
    product_id: str
    candle: _FuturesBar


class _Chart(msgspec.Struct):
    candles: msgspec.Raw
    more_candles: bool | None = False


_decode_bar = msgspec.json.Decoder(_SpotBar).decode
_decode_message = msgspec.json.Decoder(_FuturesMessage).decode
_decode_ohlc = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(tuple[int, Text, Text, Text, Text, Text, Text, Text]).decode
_decode_chart = msgspec.json.Decoder(_Chart).decode
_decode_futures_bar = msgspec.json.Decoder(_FuturesBar).decode


class _Candles(CandleFeed[Topic]):
    """What both markets make of a request."""

    running = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._recorded_minutes = 0

    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        symbol, interval, table = subscription.symbol, subscription.interval, self._setup.table()
        minutes = _symbols.minutes_of(self._exchange, interval)
        wire = _symbols.wire_of(self._exchange, table, symbol)
        if minutes is None or wire is None:
            reason = refusal_of(self._exchange, symbol, interval, table)
            unloaded = f"the symbols of {self._exchange} are not loaded yet, so {symbol!r} can't be looked up"
            kind = FailKind.REQUEST if reason else FailKind.TRANSIENT
            return Fail(kind=kind, reason=reason or unloaded)
        if any(topic.minutes != minutes for topic in self._routes):
            # One interval of a symbol is all that a connection may carry (bug C5).
            return Fail(kind=FailKind.TRANSIENT, reason="this connection carries candles of another interval")
        return Topic(wire, minutes), minutes * 60_000

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        spot = self._exchange == _symbols.SPOT
        pair = _symbols.pair_in(self._setup.table(), topic.symbol)
        if spot:
            return pair, str(topic.minutes)
        known = _symbols.minutes_of(self._exchange, str(topic.minutes)) is not None
        return (pair, _symbols.interval_name(topic.minutes)) if known else None

    def _minutes(self) -> int:
        return next((topic.minutes for topic in self._routes), 0)

    def _page(self, call: Call, answer: Answer) -> Page:
        try:
            return self._read(call, answer)
        except (*UNREADABLE, ValueError, IndexError) as error:
            return Page(failed=f"unreadable answer: {error}")

    @abstractmethod
    def _read(self, call: Call, answer: Answer) -> Page:
        """The candles of an answer. May raise what `UNREADABLE` lists, `ValueError` or `IndexError`."""


def _failed(failure: Failure) -> Page:
    return Page(failed=failure.reason, retry=failure.kind is not FailKind.REQUEST)


class SpotCandle(_Candles, SpotLink):
    """Up to 200 symbols of one interval."""

    channel = "ohlc"
    history = SPOT_ROWS

    def _data(self, message: SpotFrame, now: Instant) -> Outputs:
        rows, odd = read_rows(message.data, _decode_bar)
        outputs: list[Output] = [Note(odd.phrase("candles"))] if odd else []
        newest: dict[Topic, list[Bar]] = {}
        for row in rows:
            start_ms = milliseconds(row.interval_begin)
            if not start_ms:
                outputs.append(Note("a candle without a start"))
                continue
            bars = newest.setdefault(Topic(row.symbol, row.interval), [])
            if message.type == "snapshot":  # past candles: only the running one is news
                bars.clear()
            bars.append(_bar(start_ms, row))
        for topic, bars in newest.items():
            outputs.extend(self._told(topic, bars, now))
        return outputs

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        instrument = self._setup.table().wire(topic.symbol)
        name = (instrument.extra.get("altname") if instrument else "") or topic.symbol.replace("/", "")
        query = {"pair": name, "interval": str(topic.minutes), "since": str(from_ms // 1000 - 1)}
        if instrument is not None and instrument.kind == _symbols.TOKENIZED:
            query["asset_class"] = _symbols.TOKENIZED
        url = f"{SPOT_REST}/0/public/OHLC?{urlencode(query)}"
        return Call(tag="candles", method="GET", url=url, pool="candles")

    def _read(self, call: Call, answer: Answer) -> Page:
        read = read_spot(answer)
        if read.failure is not None:
            return _failed(read.failure)
        series = next((raw for name, raw in _decode_ohlc(read.data).items() if name != "last"), None)
        rows = read_rows(series, _decode_row)[0] if series is not None else []
        return Page(bars=[Bar(row[0] * 1000, *map(_text, (*row[1:5], row[6]))) for row in rows])


class FuturesCandle(_Candles, FuturesLink):
    """Products of one interval."""

    history = FUTURES_ROWS

    def _data(self, message: FuturesFrame, frame: bytes, now: Instant) -> Outputs:
        feed = message.feed
        minutes = _symbols.minutes_of_name(feed.removeprefix(CANDLES).removesuffix(_SNAPSHOT))
        if not feed.startswith(CANDLES) or minutes is None:
            return [] if feed == "heartbeat" else [Note(f"unknown public frame {feed[:40] or 'without a feed'}")]
        if feed.endswith(_SNAPSHOT):
            return self._told(Topic(message.product_id, minutes), (), now)
        row = _decode_message(frame)
        return self._told(Topic(row.product_id, minutes), [_bar(row.candle.time, row.candle)], now)

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        return chart_call(topic, from_ms // 1000, to_ms // 1000 + 1)

    def _read(self, call: Call, answer: Answer) -> Page:
        return chart_page(call, answer)


class UnifiedCandle(SpotCandle):
    """Products of one interval on the unified socket. Its past is that of the charts, which no notice says to end."""

    url = UNIFIED_WS
    names = PRODUCT
    history = FUTURES_ROWS

    def _further(self, minutes: int) -> dict[str, object]:
        return DERIVATIVES

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        return chart_call(topic, from_ms // 1000, to_ms // 1000 + 1)

    def _read(self, call: Call, answer: Answer) -> Page:
        return chart_page(call, answer)


def chart_call(topic: Topic, from_s: int, to_s: int, page: int = 1) -> Call:
    """Past candles of a product."""
    path = f"/api/charts/v1/trade/{quote(topic.symbol)}/{_symbols.interval_name(topic.minutes)}"
    url = f"{FUTURES_REST}{path}?from={from_s}&to={to_s}"
    return Call(tag="candles", method="GET", url=url, pool="candles", context=(topic, to_s, page))


def chart_page(call: Call, answer: Answer) -> Page:
    """See `_Candles._read`."""
    read = read_futures(answer)
    if read.failure is not None:
        return _failed(read.failure)
    chart = _decode_chart(read.data)
    bars = [_bar(row.time, row) for row in read_rows(chart.candles, _decode_futures_bar)[0]]
    if not chart.more_candles or not bars or not isinstance(call.context, tuple) or call.context[2] >= FUTURES_PAGES:
        return Page(bars=bars)
    topic, to_s, page = call.context
    following = chart_call(topic, max(bar.start for bar in bars) // 1000 + 1, to_s, page + 1)
    return Page(bars=bars, more=msgspec.structs.replace(following, stream_id=call.stream_id))


def _bar(start_ms: int, row: _SpotBar | _FuturesBar) -> Bar:
    figures = (row.open, row.high, row.low, row.close, row.volume)
    return Bar(start_ms, *(plain(decimal(figure)) for figure in figures))


def _text(value: Text) -> str:
    return plain(value if value is not None else 0)


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    if _symbols.minutes_of(exchange, interval) is None:
        return f"{exchange} has no candles of interval {interval!r}: use one of {_symbols.interval_list(exchange)}."
    if len(table) and table.pair(symbol) is None:
        return f"{exchange} lists no symbol {symbol!r}: pair ids look like BTC-USD."
    return None
