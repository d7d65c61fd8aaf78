"""KuCoin tickers: one all-market topic on spot, lists of contracts on futures (venue file sections 3, 5, 6)."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from core.events import Ticker
from exchanges._adapter import (
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Outputs,
    Seen,
    Setup,
    Subscription,
    TickerSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges.kucoin import _markets
from exchanges.kucoin._link import TOPICS_PER_MESSAGE, Control, Link, Topic

SPOT_PREFIX: Final = "/market/ticker:"
FUTURES_PREFIX: Final = "/contractMarket/ticker:"


class _SpotTick(msgspec.Struct, rename="camel", gc=False):
    price: float | None = None
    size: float | None = None
    best_ask_size: float | None = None
    best_bid_size: float | None = None
    time: int = 0


class _SpotFrame(msgspec.Struct, gc=False):
    topic: str = ""
    subject: str = ""
    data: _SpotTick | None = None


class _FuturesTick(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    price: float | None = None
    size: float | None = None
    best_ask_size: float | None = None
    best_bid_size: float | None = None
    ts: int = 0


class _FuturesFrame(msgspec.Struct, gc=False):
    topic: str = ""
    subject: str = ""
    data: _FuturesTick | None = None


# Numbers come as text or as numbers, depending on the topic: the lenient decoder takes both.
_spot = msgspec.json.Decoder(_SpotFrame, strict=False).decode
_futures = msgspec.json.Decoder(_FuturesFrame, strict=False).decode


class TickerFeed(Link):
    """Tickers of one exchange id: everything on spot, one shard of contracts on futures."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._spot = _markets.is_spot(setup.exchange)
        self._prefix = SPOT_PREFIX if self._spot else FUTURES_PREFIX
        self._subscription: TickerSubscription | None = None
        self._live = False
        self._pairs: dict[str, str] = {}

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        if not isinstance(subscription, TickerSubscription) or self._subscription is not None:
            reason = "one connection carries one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if not subscription.symbols and not self._spot:
            reason = "KuCoin futures have no all-market ticker: name the contracts"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        self._subscription = subscription
        return self.opened(now) if self.welcomed else []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if self._subscription is None or self._subscription.stream_id != stream_id:
            return []
        topics = self._topics()
        self._subscription = None
        return self.unsubscribe(topics) if self.welcomed else []

    def restore(self, stream_id: str) -> None:
        """Put the feed in its live state without a connection (recorded frames)."""
        self._subscription = TickerSubscription(stream_id=stream_id, exchange=self.exchange)
        self._live = True

    def _topics(self) -> list[Topic]:
        names = self._subscription.symbols if self._subscription else ()
        return [Topic(self._prefix, chunk) for chunk in _markets.chunks(names or ("all",), TOPICS_PER_MESSAGE)]

    # --- Link hooks ---

    def opened(self, now: Instant) -> Outputs:
        return self.subscribe(self._topics(), now) if self._subscription else []

    def acknowledged(self, topic: Topic, now: Instant) -> Outputs:
        return self._settled()

    def refused(self, topic: Topic, reason: str, now: Instant) -> Outputs:
        if len(topic.names) > 1:
            # One unknown name refuses the whole list: halves find it.
            middle = len(topic.names) // 2
            halves = (topic.names[:middle], topic.names[middle:])
            return self.subscribe([Topic(topic.prefix, half) for half in halves], now)
        if self._subscription is not None and not self._subscription.symbols:
            return [self.fail(FailKind.TRANSIENT, f"{topic.text}: {reason}")]
        return [Note(f"ticker of {topic.text} refused: {reason}"), *self._settled()]

    def _settled(self) -> Outputs:
        if self._live or self.waiting() or self._subscription is None:
            return []
        self._live = True
        return [Live(self._subscription.stream_id)]

    def pushed(self, frame: Control, now: Instant) -> Outputs:
        # Only frames come here that are no usable ticker.
        if self._subscription is None or frame.topic.startswith(self._prefix):
            return [Seen(self._subscription.stream_id)] if self._subscription else []
        return [Note(f"topic {frame.topic.split(':')[0]} is not known")]

    # --- frames ---

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            ticker = self._spot_ticker(frame, now) if self._spot else self._futures_ticker(frame, now)
        except UNREADABLE:
            ticker = None
        if ticker is None or self._subscription is None:
            return super().received(frame, now)
        self.now = now
        return [EmitTickers(self._subscription.stream_id, self.exchange, [ticker])]

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
            symbol = _markets.pair_in(self.exchange, self.setup.table(), tick.symbol)
            if symbol is None:
                return None
            self._pairs[tick.symbol] = symbol
        return self._ticker(symbol, tick, tick.ts // 10**6, now)

    def _ticker(self, symbol: str, tick: _SpotTick | _FuturesTick, time_ms: int, now: Instant) -> Ticker | None:
        price = tick.price
        if price is None or not 0 < price < inf:
            return None
        exchange = self.exchange
        return Ticker(
            symbol,
            time_ms,
            price,
            tick.size or 0.0,
            price,
            price,
            tick.best_ask_size or 0.0,
            tick.best_bid_size or 0.0,
            f"{symbol}@{time_ms}@{exchange}{price}",
            now.wall_ms,
            exchange,
        )
