"""KuCoin candles: many topics on one connection; running candles are published (docs/venues/kucoin.md 3, 5, 6)."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges._rows import read_rows, tolerant
from exchanges._venue import Setup
from exchanges.instruments import SymbolTable
from exchanges.kucoin import _errors, _symbols
from exchanges.kucoin._connection import Control, Link, Topic

SPOT_PREFIX: Final = "/market/candles:"
FUTURES_PREFIX: Final = "/contractMarket/limitCandle:"
SPOT_LIMIT: Final = 1500
FIGURES: Final = 6
FUTURES_LIMIT: Final = 500
"""Candles that one REST answer holds at most."""


class _Push(msgspec.Struct):
    candles: list[str]
    time: int = 0


_push = tolerant(_Push)
_row = msgspec.json.Decoder(list[str | int | float]).decode


class CandleAdapter(CandleFeed[Topic], Link):
    """Candle topics of one exchange id: `BTC-USDT_1min`."""

    running = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._spot = _symbols.is_spot(setup.exchange)
        self._prefix = SPOT_PREFIX if self._spot else FUTURES_PREFIX
        self.history = SPOT_LIMIT if self._spot else FUTURES_LIMIT
        self._seen: dict[Topic, int] = {}

    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        symbol, table = subscription.symbol, self._setup.table()
        code = _symbols.interval_code(self._exchange, subscription.interval)
        wire = _symbols.wire_of(self._exchange, table, symbol)
        if code is not None and wire is not None:
            return Topic(self._prefix, f"{wire}_{code}"), _symbols.interval_seconds(code) * 1000
        reason = refusal_of(self._exchange, symbol, subscription.interval, table)
        unloaded = f"The symbols of {self._exchange} are not loaded yet, so {symbol!r} can't be looked up."
        return Fail(kind=FailKind.REQUEST, reason=reason or unloaded)

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        wire, _, code = topic.name.rpartition("_")
        pair = _symbols.pair_in(self._exchange, self._setup.table(), wire)
        return None if pair is None else (pair, code)

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        outputs = super().remove(stream_id, now)
        self._seen = {topic: time for topic, time in self._seen.items() if topic in self._routes}
        return outputs

    # --- frames ---

    def _pushed(self, frame: Control, now: Instant) -> Outputs:
        if not frame.topic.startswith(self._prefix):
            return [Note(f"topic {frame.topic.split(':')[0]} is not known")]
        topic = Topic(self._prefix, frame.topic[len(self._prefix) :])
        try:
            push = _push(frame.data)
            bar = self._bar(push.candles)
        except (*UNREADABLE, ValueError, IndexError):
            return [Note("candle is not understood")]
        if push.time and self._seen.get(topic) == push.time:
            return self._told(topic, (), now)
        self._seen[topic] = push.time
        return self._told(topic, [bar], now)

    def _bar(self, row: list[str]) -> Bar:
        """Open, close, high, low: not the usual order. On futures the volume (contracts) stands behind the turnover."""
        return Bar(int(row[0]) * 1000, row[1], row[3], row[4], row[2], row[5] if self._spot else row[6])

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        wire, _, code = topic.name.rpartition("_")
        if self._spot:
            query = f"symbol={wire}&type={code}&startAt={from_ms // 1000}&endAt={to_ms // 1000 + 1}"
            url = f"{_symbols.SPOT_REST}/api/v1/market/candles?{query}"
        else:
            minutes = _symbols.interval_seconds(code) // 60
            query = f"symbol={wire}&granularity={minutes}&from={from_ms}&to={to_ms}"
            url = f"{_symbols.FUTURES_REST}/api/v1/kline/query?{query}"
        return Call(tag="candles", method="GET", url=url, weight=3, pool="public", context=topic.name)

    def _page(self, call: Call, answer: Answer) -> Page:
        """REST rows: spot like the stream, futures with ms, the usual open-high-low-close, and contracts at 5."""
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return Page(failed=_errors.failure(answer, envelope).reason, retry=True)
        try:
            return Page(bars=read_rows(envelope.data, self._past_bar)[0])
        except UNREADABLE:
            return Page(failed="unreadable answer")

    def _past_bar(self, raw: bytes) -> Bar:
        row = [plain(value) for value in _row(raw)]
        if len(row) < FIGURES:
            raise ValueError("a candle of too few figures")
        return self._bar(row) if self._spot else Bar(int(row[0]), row[1], row[2], row[3], row[4], row[5])


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or one sentence why this candle can't be had. An empty table refuses no symbol."""
    if _symbols.interval_code(exchange, interval) is None:
        return f"{exchange} has no candles of interval {interval!r}: use one of {_symbols.interval_list(exchange)}."
    if len(table) and table.pair(symbol) is None:
        example = {"kucoin": "BTC-USDT", "kucoinLinear": "BTCUSDT", "kucoinInverse": "BTCUSD"}[exchange]
        return f"{exchange} lists no symbol {symbol!r}: pair ids look like {example}."
    return None
