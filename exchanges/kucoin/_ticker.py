"""KuCoin tickers: one all-market topic on spot, lists of contracts on futures (docs/venues/kucoin.md 3, 5, 6)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Fail, FailKind, Instant, Note, Output, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import number
from exchanges._rows import tolerant
from exchanges._venue import Setup
from exchanges.events import Ticker
from exchanges.kucoin import _symbols
from exchanges.kucoin._connection import Control, Link, Topic

ALL: Final = "all"
"""Name of the spot topic with every symbol."""
SPOT_PREFIX: Final = "/market/ticker:"
FUTURES_PREFIX: Final = "/contractMarket/ticker:"


class _SpotTick(msgspec.Struct, rename="camel", gc=False):
    price: float | None = None
    size: float | str | None = None
    best_ask_size: float | str | None = None
    best_bid_size: float | str | None = None
    time: int = 0


class _SpotFrame(msgspec.Struct, gc=False):
    topic: str = ""
    subject: str = ""
    data: _SpotTick | None = None


class _FuturesTick(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    price: float | None = None
    size: float | str | None = None
    best_ask_size: float | str | None = None
    best_bid_size: float | str | None = None
    ts: int = 0


class _FuturesFrame(msgspec.Struct, gc=False):
    topic: str = ""
    subject: str = ""
    data: _FuturesTick | None = None


# Numbers come as text or as numbers, depending on the topic: the lenient decoder takes both.
_spot = tolerant(_SpotFrame, strict=False)
_futures = tolerant(_FuturesFrame, strict=False)


class TickerAdapter(TickerFeed[Topic], Link):
    """Tickers of one exchange id: everything on spot, one shard of contracts on futures."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._spot = _symbols.is_spot(setup.exchange)
        self._prefix = SPOT_PREFIX if self._spot else FUTURES_PREFIX
        self._pairs: dict[str, str] = {}

    def _topic(self, symbol: str) -> Topic:
        return Topic(self._prefix, symbol)

    def _all(self) -> Sequence[str]:
        return [ALL] if self._spot else super()._all()

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        if topics[0].name == ALL:
            return [self._fail(FailKind.TRANSIENT, fail.reason)]
        return super()._refused(topics, fail, now)

    def _pushed(self, frame: Control, now: Instant) -> Outputs:
        # Only frames come here that are no usable ticker.
        if not self._stream_id or frame.topic.startswith(self._prefix):
            return [Seen(self._stream_id)] if self._stream_id else []
        return [Note(f"topic {frame.topic.split(':')[0]} is not known")]

    # --- frames ---

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            ticker = self._spot_ticker(frame, now) if self._spot else self._futures_ticker(frame, now)
        except UNREADABLE:
            ticker = None
        if ticker is None or not self._stream_id:
            return super().received(frame, now)
        return [EmitTickers(self._stream_id, self._exchange, [ticker])]

    def _spot_ticker(self, frame: bytes, now: Instant) -> Ticker | None:
        """The symbol is the subject in the all-market topic, and stands in the topic of single ones."""
        head = _spot(frame)
        tick = head.data
        if tick is None or not head.topic.startswith(SPOT_PREFIX):
            return None
        symbol = head.subject if head.subject != "trade.ticker" else head.topic[len(SPOT_PREFIX) :]
        return self._ticker(symbol, tick, tick.time, now)

    def _futures_ticker(self, frame: bytes, now: Instant) -> Ticker | None:
        head = _futures(frame)
        tick = head.data
        if tick is None or not head.topic.startswith(FUTURES_PREFIX):
            return None
        symbol = self._pairs.get(tick.symbol)
        if symbol is None:
            symbol = _symbols.pair_in(self._exchange, self._setup.table(), tick.symbol)
            if symbol is None:
                return None
            self._pairs[tick.symbol] = symbol
        return self._ticker(symbol, tick, tick.ts // 10**6, now)

    def _ticker(self, symbol: str, tick: _SpotTick | _FuturesTick, time_ms: int, now: Instant) -> Ticker | None:
        price = tick.price
        if price is None or not 0 < price < inf:
            return None
        exchange = self._exchange
        return Ticker(
            symbol,
            time_ms,
            price,
            _size(tick.size),
            price,
            price,
            _size(tick.best_ask_size),
            _size(tick.best_bid_size),
            f"{symbol}@{time_ms}@{exchange}{price}",
            now.wall_ms,
            exchange,
        )


def _size(value: float | str | None) -> float:
    """A size may be empty or absent while nobody stands in the book: the price counts all the same."""
    return number(value) if isinstance(value, str) else (value or 0.0)
