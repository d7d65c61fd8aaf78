"""Bitget tickers: one subscription per symbol (venue file sections 3, 5, 6)."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Instant, Note, Outputs, Seen, Setup
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges.bitget import _markets
from exchanges.bitget._frames import Frame
from exchanges.bitget._socket import Arg, Socket
from exchanges.events import Ticker

CHANNEL: Final = "ticker"


class _Arg(msgspec.Struct, rename="camel", gc=False):
    channel: str = ""
    inst_type: str = ""


class _Tick(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    last_pr: float
    ask_sz: float = 0.0
    bid_sz: float = 0.0
    base_volume: float = 0.0


class _Push(msgspec.Struct, gc=False):
    action: str
    arg: _Arg
    data: list[_Tick]
    ts: int


class _LooseTick(msgspec.Struct, rename="camel"):
    """The same row when figures are empty or absent."""

    inst_id: str
    last_pr: str | float | None = None
    ask_sz: str | float | None = None
    bid_sz: str | float | None = None
    base_volume: str | float | None = None


# Figures come as text; the lenient decoder makes floats of them.
_fast = msgspec.json.Decoder(_Push, strict=False).decode
_loose = msgspec.json.Decoder(list[_LooseTick]).decode


class TickerAdapter(TickerFeed[Arg], Socket):
    """Tickers of one shard of symbols."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._products = frozenset(_markets.PRODUCTS[setup.exchange])

    def _topic(self, symbol: str) -> Arg:
        product = _markets.product_of(self._exchange, self._setup.table(), symbol)
        return Arg(product or _markets.guess(self._exchange, symbol), CHANNEL, symbol)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        stream_id = self._stream_id
        try:
            push = _fast(frame)
        except UNREADABLE:
            return super().received(frame, now)
        if not stream_id or push.arg.channel != CHANNEL or push.action != "snapshot":
            return super().received(frame, now)
        if push.arg.inst_type not in self._products:
            return [Seen(stream_id)]
        rows = (
            self._ticker(tick.inst_id, push.ts, tick.last_pr, tick.base_volume, tick.ask_sz, tick.bid_sz, now)
            for tick in push.data
        )
        return self._emit([ticker for ticker in rows if ticker is not None])

    def _pushed(self, frame: Frame, now: Instant) -> Outputs:
        """The slow way, for rows with empty figures."""
        if not self._stream_id or frame.arg is None:
            return []
        if frame.arg.channel != CHANNEL:
            return [Note(f"channel {frame.arg.channel or 'none'} is not known")]
        if frame.action != "snapshot" or frame.arg.inst_type not in self._products:
            return [Seen(self._stream_id)]
        try:
            rows, time_ms = _loose(frame.data), int(frame.ts)
        except (*UNREADABLE, ValueError):
            return [Note("ticker is not understood")]
        tickers = (
            self._ticker(
                row.inst_id,
                time_ms,
                float(decimal(row.last_pr)),
                float(decimal(row.base_volume)),
                float(decimal(row.ask_sz)),
                float(decimal(row.bid_sz)),
                now,
            )
            for row in rows
        )
        return self._emit([ticker for ticker in tickers if ticker is not None])

    def _emit(self, tickers: list[Ticker]) -> Outputs:
        return [EmitTickers(self._stream_id, self._exchange, tickers) if tickers else Seen(self._stream_id)]

    def _ticker(
        self, symbol: str, time_ms: int, price: float, volume: float, ask: float, bid: float, now: Instant
    ) -> Ticker | None:
        """Ask and bid carry the last price, as on every venue; no event without one."""
        if not 0 < price < inf:
            return None
        exchange = self._exchange
        unique = f"{symbol}@{time_ms}@{exchange}{price}"
        return Ticker(symbol, time_ms, price, volume, price, price, ask, bid, unique, now.wall_ms, exchange)
