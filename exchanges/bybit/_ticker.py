"""Tickers of Bybit: snapshots and deltas, merged per symbol (venue file, sections 5 and 6)."""

from __future__ import annotations

from math import isfinite
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from core.events import Ticker
from exchanges._adapter import (
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Seen,
    Setup,
    Subscription,
    TickerSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges.bybit._public import PublicAdapter

PREFIX: Final = "tickers."


class _Data(msgspec.Struct, rename="camel", gc=False):
    """An absent field means unchanged."""

    symbol: str
    last_price: str | UnsetType = UNSET
    volume_24h: str | UnsetType = msgspec.field(default=UNSET, name="volume24h")
    ask1_size: str | UnsetType = UNSET
    bid1_size: str | UnsetType = UNSET


class _Frame(msgspec.Struct, gc=False):
    topic: str = ""
    type: str = ""
    ts: int = 0
    data: _Data | None = None
    op: str = ""
    req_id: str = ""
    success: bool | None = None
    ret_msg: str | None = ""


_decode = msgspec.json.Decoder(_Frame).decode


class _State:
    """Last known figures of one symbol."""

    __slots__ = ("ask_size", "bid_size", "volume")

    def __init__(self) -> None:
        self.volume = 0.0
        self.ask_size = 0.0
        self.bid_size = 0.0


class TickerAdapter(PublicAdapter):
    """One shard of symbols. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._exchange = setup.exchange
        self._stream_id = ""
        self._symbols: tuple[str, ...] = ()
        self._states: dict[str, _State] = {}
        self._live = False
        self._spot = self._category == "spot"

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """Carry a shard; the same stream again with other symbols changes what is subscribed."""
        if not isinstance(subscription, TickerSubscription) or self._stream_id not in ("", subscription.stream_id):
            reason = "a Bybit ticker connection carries exactly one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        symbols = subscription.symbols or tuple(sorted(item.wire for item in self._setup.table().active()))
        before = self._symbols
        self._stream_id, self._symbols = subscription.stream_id, symbols
        gone = [symbol for symbol in before if symbol not in set(symbols)]
        for symbol in gone:
            self._states.pop(symbol, None)
        new = [PREFIX + symbol for symbol in symbols if symbol not in set(before)]
        return [*self._drop([PREFIX + symbol for symbol in gone], now), *self._want(new, now)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self._stream_id or not stream_id:
            return []
        topics = self._topics()
        self._stream_id, self._symbols, self._live = "", (), False
        self._states.clear()
        return self._drop(topics, now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._keepalive.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable ticker frame: {error}")]
        if not message.topic:
            return self._reply(message.op, message.req_id, success=message.success, text=message.ret_msg or "", now=now)
        data = message.data
        if data is None or not message.topic.startswith(PREFIX):
            return [Note(f"unknown public topic {message.topic}")]
        if not self._stream_id:
            return []
        ticker = self._merge(message, data, now)
        if ticker is None:
            return [Seen(self._stream_id)]
        return [EmitTickers(self._stream_id, self._exchange, [ticker])]

    def _merge(self, message: _Frame, data: _Data, now: Instant) -> Ticker | None:
        """The ticker of a frame; None when it tells no last price."""
        symbol = data.symbol
        state = self._states.get(symbol)
        if message.type != "delta":
            state = self._states[symbol] = _State()
        elif state is None:
            return None  # a delta before any snapshot
        if data.volume_24h is not UNSET:
            state.volume = number(data.volume_24h)
        if data.ask1_size is not UNSET:
            state.ask_size = number(data.ask1_size)
        if data.bid1_size is not UNSET:
            state.bid_size = number(data.bid1_size)
        price = number(data.last_price) if data.last_price is not UNSET else 0.0
        if price <= 0:
            return None
        volume = state.volume
        # The spot channel has no book side; the backend has always got the volume there.
        ask_size, bid_size = (volume, volume) if self._spot else (state.ask_size, state.bid_size)
        message_id = f"{symbol}@{message.ts}@{self._exchange}:{data.last_price}:{volume}"
        return Ticker(
            symbol,
            message.ts,
            price,
            volume,
            price,
            price,
            ask_size,
            bid_size,
            message_id,
            now.wall_ms,
            self._exchange,
        )

    def _topics(self) -> list[str]:
        return [PREFIX + symbol for symbol in self._symbols]

    def _confirmed(self, topics: list[str], now: Instant) -> list[Output]:
        return self._settle()

    def _refused(self, topics: list[str], reason: str, now: Instant) -> list[Output]:
        gone = {topic.removeprefix(PREFIX) for topic in topics}
        self._symbols = tuple(symbol for symbol in self._symbols if symbol not in gone)
        return self._settle()

    def _settle(self) -> list[Output]:
        """Live once every request of the shard is answered."""
        if self._live or not self._stream_id or not self._book.settled:
            return []
        if not self._symbols:
            reason = "the venue knows none of the symbols of this shard"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=self._stream_id)]
        self._live = True
        return [Live(self._stream_id)]

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._stream_id, self._live = stream_id, True


def number(text: str) -> float:
    """The value of a figure; what is empty or no finite number counts as 0."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0
