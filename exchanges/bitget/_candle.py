"""Bitget candles: many topics on one connection; running candles are published (venue file sections 3, 5, 6)."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges.bitget import _markets, _rest
from exchanges.bitget._frames import Frame
from exchanges.bitget._socket import Arg, Socket, arg_of
from exchanges.instruments import SymbolTable

REST_LIMIT: Final = 1000

_rows = msgspec.json.Decoder(list[list[str | int | float]]).decode


class CandleAdapter(CandleFeed[Arg], Socket):
    """Candle topics of one exchange id."""

    history = REST_LIMIT
    running = True

    def _route(self, subscription: CandleSubscription) -> tuple[Arg, int] | Fail:
        symbol, table = subscription.symbol, self._setup.table()
        interval = _markets.interval_of(subscription.interval)
        product = _markets.product_of(self._exchange, table, symbol)
        refusal = refusal_of(self._exchange, symbol, subscription.interval, table)
        if refusal is not None or interval is None or product is None:
            return Fail(kind=FailKind.REQUEST, reason=refusal or "unknown symbol")
        return Arg(product, interval.channel, symbol), interval.length_ms

    def _asked_by(self, topic: Arg) -> tuple[str, str] | None:
        return (topic.value, topic.channel) if topic.inst_type in _markets.PRODUCTS[self._exchange] else None

    def _pushed(self, frame: Frame, now: Instant) -> Outputs:
        if frame.arg is None or not frame.arg.channel.startswith("candle"):
            return [Note("push of an unknown channel")]
        topic = arg_of(frame.arg)
        if frame.action != "update":
            return self._told(topic, (), now)  # the history that follows a subscription
        try:
            return self._told(topic, [_bar(row) for row in _rows(frame.data)], now)
        except (*UNREADABLE, ValueError, IndexError):
            return [Note("candle is not understood")]

    def _history(self, topic: Arg, from_ms: int, to_ms: int) -> Call:
        interval = _markets.BY_CHANNEL[topic.channel]
        times = f"endTime={to_ms}&granularity="
        if topic.inst_type == _markets.SPOT:
            rest = f"{interval.spot}&limit={REST_LIMIT}&startTime={from_ms}&symbol={topic.value}"
            url = f"{_markets.REST}/api/v2/spot/market/candles?{times}{rest}"
        else:
            product = f"&productType={topic.inst_type}&startTime={from_ms}&symbol={topic.value}"
            url = f"{_markets.REST}/api/v2/mix/market/candles?{times}{interval.futures}&limit={REST_LIMIT}{product}"
        headers = _markets.DEMO_HEADER if _markets.demo_prices(self._setup.options) else {}
        return Call(tag="candles", method="GET", url=url, headers=headers, pool="public")

    def _page(self, call: Call, answer: Answer) -> Page:
        """Rows like the stream's, except that spot has the volume in USDT at 6 and the quote volume at 7."""
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return Page(failed=_rest.failure(answer, envelope).reason, retry=True)
        try:
            spot = _markets.is_spot(self._exchange)
            return Page(bars=[_bar(row, 7 if spot and len(row) > 7 else 6) for row in _rows(envelope.data)])
        except (*UNREADABLE, ValueError, IndexError):
            return Page(failed="unreadable answer")


def _bar(row: list[str | int | float], volume: int = 6) -> Bar:
    """Volume is the quote volume, unlike on other venues: the backend's Bitget history is in quote as well."""
    texts = [plain(value) for value in row]
    return Bar(int(row[0]), texts[1], texts[2], texts[3], texts[4], texts[volume])


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    if _markets.interval_of(interval) is None:
        return f"{exchange} has no candles of interval {interval!r}: use one of {_markets.interval_list()}."
    if len(table) and table.pair(symbol) is None:
        example = {"bitget": "BTCUSDT", "bitgetUsdm": "BTCUSDT or BTCPERP", "bitgetCoinm": "BTCUSD"}[exchange]
        return f"{exchange} lists no symbol {symbol!r}: pair ids look like {example}."
    return None
