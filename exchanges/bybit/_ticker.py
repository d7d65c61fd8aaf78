"""Tickers of Bybit: snapshots and deltas, merged per symbol (docs/venues/bybit.md, sections 5 and 6)."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from exchanges._adapter import EmitTickers, Instant, Note, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import number
from exchanges._rows import tolerant
from exchanges._venue import Setup
from exchanges.bybit._connection import PublicFeed
from exchanges.events import Ticker

PREFIX: Final = "tickers."


class _Data(msgspec.Struct, rename="camel", gc=False):
    """An absent field means unchanged, and so does `null`."""

    symbol: str
    last_price: str | UnsetType | None = UNSET
    volume_24h: str | UnsetType | None = msgspec.field(default=UNSET, name="volume24h")
    ask1_size: str | UnsetType | None = UNSET
    bid1_size: str | UnsetType | None = UNSET


class _Frame(msgspec.Struct, gc=False):
    topic: str = ""
    type: str = ""
    ts: int = 0
    data: _Data | None = None
    op: str = ""
    req_id: str = ""
    success: bool | None = None
    ret_msg: str | None = ""


_decode = tolerant(_Frame)


class _State:
    """Last known figures of one symbol."""

    __slots__ = ("ask_size", "bid_size", "volume")

    def __init__(self) -> None:
        self.volume = 0.0
        self.ask_size = 0.0
        self.bid_size = 0.0


class TickerAdapter(TickerFeed[str], PublicFeed):
    """One shard of symbols. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._states: dict[str, _State] = {}
        self._spot = self._category == "spot"

    def _topic(self, symbol: str) -> str:
        return PREFIX + symbol

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
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
        if isinstance(data.volume_24h, str):
            state.volume = number(data.volume_24h)
        if isinstance(data.ask1_size, str):
            state.ask_size = number(data.ask1_size)
        if isinstance(data.bid1_size, str):
            state.bid_size = number(data.bid1_size)
        price = number(data.last_price) if isinstance(data.last_price, str) else 0.0
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
