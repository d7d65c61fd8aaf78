"""Bitget candles: many topics on one connection; running candles are published (docs/venues/bitget.md 3, 5, 6).

Inverse perpetuals and Reality tokens have theirs on the v3 socket, which is another connection (last section).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Subscription,
)
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges._rows import read_rows
from exchanges._venue import Setup
from exchanges.bitget import _errors, _hosts
from exchanges.bitget._connection import Arg, Socket, arg_of
from exchanges.bitget._rows import Frame
from exchanges.instruments import EMPTY, SymbolTable

REST_LIMIT: Final = 1000
MODERN_ROWS: Final = 100
"""Rows of one v3 answer."""
MODERN_TOPIC: Final = "kline"


class _ModernRow(msgspec.Struct):
    start: str | int
    open: str | int | float
    high: str | int | float
    low: str | int | float
    close: str | int | float
    turnover: str | int | float
    """Quote money, as the volume of all of Bitget's candles here."""


class Span(NamedTuple):
    """What is left of a v3 history after one call, which covers a window."""

    topic: Arg
    from_ms: int
    to_ms: int


_row = msgspec.json.Decoder(list[str | int | float]).decode
_modern_row = msgspec.json.Decoder(_ModernRow).decode


class CandleAdapter(CandleFeed[Arg], Socket):
    """Candle topics of one exchange id, all of one socket."""

    history = REST_LIMIT
    running = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._table = EMPTY
        """The list that the topics were last looked up in."""

    # --- where a candle is ---

    def _route(self, subscription: CandleSubscription) -> tuple[Arg, int] | Fail:
        symbol, table = subscription.symbol, self._setup.table()
        interval = _hosts.interval_of(subscription.interval)
        instrument = table.pair(symbol)
        refusal = refusal_of(self._exchange, symbol, subscription.interval, table)
        product = _hosts.product_of(self._exchange, table, symbol)
        if refusal is not None or interval is None or product is None:
            return Fail(kind=FailKind.REQUEST, reason=refusal or "unknown symbol")
        if self._exchange == "bitgetCoinm" and not len(table):
            # A name does not tell whether a contract is on v3; the classic channel of one that is stays silent.
            reason = f"the symbol list that names {symbol!r} is not loaded yet"
            return Fail(kind=FailKind.TRANSIENT, reason=reason)
        if instrument is not None and _hosts.modern_candles(instrument):
            code = interval.channel.removeprefix("candle")
            return Arg(product.lower(), MODERN_TOPIC, instrument.wire, code), interval.length_ms
        return Arg(product, interval.channel, symbol), interval.length_ms

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        if isinstance(subscription, CandleSubscription):
            route = self._route(subscription)
            if not isinstance(route, Fail) and not self._takes(route[0]):
                reason = f"{subscription.symbol} is on the other socket"
                return [Fail(kind=FailKind.TRANSIENT, reason=reason, stream_id=subscription.stream_id)]
        return super().add(subscription, now)

    def _takes(self, topic: Arg) -> bool:
        """The first topic decides which of the two sockets this connection is."""
        version = "v3" if topic.modern else "v2"
        self._version = self._version or version
        return version == self._version

    def woken(self, now: Instant) -> Outputs:
        return [*super().woken(now), *self._looked_up(now)]

    def _looked_up(self, now: Instant) -> list[Output]:
        """A new list may say that a topic is on the other socket: this one would stay silent about it."""
        table = self._setup.table()
        if table is self._table:
            return []
        self._table = table
        outputs: list[Output] = []
        for catch_up in [route for routes in self._routes.values() for route in routes]:
            route, stream_id = self._route(catch_up.subscription), catch_up.stream_id
            if isinstance(route, Fail) or route[0] == self._by_stream.get(stream_id):
                continue
            outputs.extend(self.remove(stream_id, now))
            reason = f"{catch_up.subscription.symbol} moved to the other socket"
            outputs.append(Fail(kind=FailKind.TRANSIENT, reason=reason, stream_id=stream_id))
        return outputs

    def _asked_by(self, topic: Arg) -> tuple[str, str] | None:
        if topic.inst_type.upper() not in _hosts.PRODUCTS[self._exchange]:
            return None
        interval = f"candle{topic.interval}" if topic.modern else topic.channel
        return _hosts.pair_of(topic.inst_type, topic.value), interval

    # --- frames ---

    def _pushed(self, frame: Frame, now: Instant) -> Outputs:
        if frame.arg is None or (not frame.arg.channel.startswith("candle") and frame.arg.topic != MODERN_TOPIC):
            return [Note("push of an unknown channel")]
        topic = arg_of(frame.arg)
        if frame.action != "update":
            return self._told(topic, (), now)  # the history that follows a subscription
        try:
            bars, odd = read_rows(frame.data, _modern_bar if topic.modern else _bar_at(6))
        except UNREADABLE:
            return [Note("candle is not understood")]
        return [*([Note(odd.phrase("candles"))] if odd else []), *self._told(topic, bars, now)]

    # --- what was missed ---

    def _history(self, topic: Arg, from_ms: int, to_ms: int) -> Call:
        if topic.modern:
            return self._window(Span(topic, from_ms, to_ms))
        interval = _hosts.BY_CHANNEL[topic.channel]
        times = f"endTime={to_ms}&granularity="
        if topic.inst_type == _hosts.SPOT:
            rest = f"{interval.spot}&limit={REST_LIMIT}&startTime={from_ms}&symbol={topic.value}"
            return self._get(f"/api/v2/spot/market/candles?{times}{rest}")
        product = f"&productType={topic.inst_type}&startTime={from_ms}&symbol={topic.value}"
        return self._get(f"/api/v2/mix/market/candles?{times}{interval.futures}&limit={REST_LIMIT}{product}")

    def _window(self, span: Span) -> Call:
        """v3 hands out 100 rows a call, and older ones at an address of their own: each call asks for no more."""
        topic = span.topic
        following = span.from_ms + MODERN_ROWS * _hosts.BY_CHANNEL[f"candle{topic.interval}"].length_ms
        name = "candles" if following > span.to_ms else "history-candles"
        asked = f"category={topic.inst_type.upper()}&endTime={min(following - 1, span.to_ms)}&interval={topic.interval}"
        rest = f"&limit={MODERN_ROWS}&startTime={span.from_ms}&symbol={topic.value}"
        return self._get(f"/api/v3/market/{name}?{asked}{rest}", span._replace(from_ms=following))

    def _get(self, path: str, context: object = None) -> Call:
        headers = _hosts.DEMO_HEADER if _hosts.demo_prices(self._setup.options) else {}
        url = _hosts.REST + path
        return Call(tag="candles", method="GET", url=url, headers=headers, context=context, pool="public")

    def _page(self, call: Call, answer: Answer) -> Page:
        """Rows like the stream's, except that spot has the volume in USDT at 6 and the quote volume at 7."""
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return Page(failed=_errors.failure(answer, envelope).reason, retry=True)
        span = call.context if isinstance(call.context, Span) else None
        volume = 7 if span is None and _hosts.is_spot(self._exchange) else 6
        try:
            bars, _ = read_rows(envelope.data, _bar_at(volume))
        except UNREADABLE:
            return Page(failed="unreadable answer")
        more = None
        if span is not None and span.from_ms <= span.to_ms:
            more = msgspec.structs.replace(self._window(span), stream_id=call.stream_id)
        return Page(bars=bars, more=more)


def _bar_at(volume: int) -> Callable[[bytes], Bar]:
    """Reads rows whose quote volume stands at this place, or at the last one before it.

    Volume is the quote volume, unlike on other venues: the backend's Bitget history is in quote as well.
    """

    def bar(raw: bytes) -> Bar:
        row = _row(raw)
        if len(row) < 7:
            raise ValueError("a candle with too few figures")
        texts = [plain(value) for value in row]
        return Bar(int(row[0]), texts[1], texts[2], texts[3], texts[4], texts[min(volume, len(row) - 1)])

    return bar


def _modern_bar(raw: bytes) -> Bar:
    row = _modern_row(raw)
    figures: Sequence[str] = [plain(value) for value in (row.open, row.high, row.low, row.close, row.turnover)]
    return Bar(int(row.start), *figures)


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    found = _hosts.interval_of(interval)
    if found is None:
        return f"{exchange} has no candles of interval {interval!r}: use one of {_hosts.interval_list()}."
    instrument = table.pair(symbol)
    if len(table) and instrument is None:
        example = {"bitget": "BTCUSDT", "bitgetUsdm": "BTCUSDT or BTCPERP", "bitgetCoinm": "BTCUSD"}[exchange]
        return f"{exchange} lists no symbol {symbol!r}: pair ids look like {example}."
    if instrument is not None and _hosts.modern_candles(instrument):
        return _hosts.modern_refusal(instrument, found)
    return None
