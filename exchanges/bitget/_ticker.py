"""Bitget tickers: one subscription per symbol (venues/bitget.md 3, 5, 6); inverse perpetuals on v3 (last section)."""

from __future__ import annotations

from math import inf, isfinite
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, FailKind, Instant, Note, Outputs, Seen, Subscription, TickerSubscription
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._rows import Odd, read_rows
from exchanges._venue import Setup
from exchanges.bitget import _hosts
from exchanges.bitget._connection import Arg, Socket, arg_of
from exchanges.bitget._rows import Frame, Number
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
    last_pr: Number = None
    ask_sz: Number = None
    bid_sz: Number = None
    base_volume: Number = None


class _ModernTick(msgspec.Struct, rename="camel"):
    """A row of v3; its symbol stands in the argument of the push."""

    last_price: Number = None
    ask1_size: Number = None
    bid1_size: Number = None
    volume24h: Number = None


Figures = tuple[Number, Number, Number, Number]
"""Price, volume, size at the best ask and at the best bid, as the venue writes them."""

# Figures come as text; the lenient decoder makes floats of them.
_fast = msgspec.json.Decoder(_Push, strict=False).decode
_loose = msgspec.json.Decoder(_LooseTick).decode
_modern = msgspec.json.Decoder(_ModernTick).decode


class TickerAdapter(TickerFeed[Arg], Socket):
    """Tickers of one shard of symbols."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._products = frozenset(_hosts.PRODUCTS[setup.exchange])

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """A shard is all of one socket; when the venue moves its symbols, the connection starts anew on the other one."""
        if isinstance(subscription, TickerSubscription):
            version = "v3" if any(self._is_modern(symbol) for symbol in subscription.symbols) else "v2"
            if self._version and version != self._version:
                return [self._fail(FailKind.TRANSIENT, f"the symbols of this shard moved to {version}")]
            self._version = version
        return super().add(subscription, now)

    def _is_modern(self, symbol: str) -> bool:
        return _hosts.is_modern(self._setup.table().wire(symbol))

    def _topic(self, symbol: str) -> Arg:
        product = _hosts.product_of(self._exchange, self._setup.table(), symbol)
        product = product or _hosts.guess(self._exchange, symbol)
        return Arg(product.lower() if self._is_modern(symbol) else product, CHANNEL, symbol)

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
        """The slow way: rows with odd figures, and v3."""
        if not self._stream_id or frame.arg is None:
            return []
        arg = arg_of(frame.arg)
        if arg.channel != CHANNEL:
            return [Note(f"channel {arg.channel[:40] or 'none'} is not known")]
        if frame.action != "snapshot" or arg.inst_type.upper() not in self._products:
            return [Seen(self._stream_id)]
        try:
            figures, odd = _modern_rows(arg, frame) if arg.modern else _loose_rows(frame)
            time_ms = int(frame.ts)
        except (*UNREADABLE, ValueError):
            return [Note("ticker is not understood")]
        tickers = [self._loose_ticker(name, time_ms, row, now) for name, row in figures]
        notes = [Note(odd.phrase("tickers"))] if odd else []
        return [*notes, *self._emit([ticker for ticker in tickers if ticker is not None])]

    def _emit(self, tickers: list[Ticker]) -> Outputs:
        return [EmitTickers(self._stream_id, self._exchange, tickers) if tickers else Seen(self._stream_id)]

    def _loose_ticker(self, symbol: str, time_ms: int, row: Figures, now: Instant) -> Ticker | None:
        price, volume, ask, bid = (float(decimal(value)) for value in row)
        return self._ticker(symbol, time_ms, price, volume, ask, bid, now)

    def _ticker(
        self, symbol: str, time_ms: int, price: float, volume: float, ask: float, bid: float, now: Instant
    ) -> Ticker | None:
        """Ask and bid carry the last price, as on every venue; no event without one."""
        if not 0 < price < inf:
            return None
        if not isfinite(volume + ask + bid):
            volume, ask, bid = (value if isfinite(value) else 0.0 for value in (volume, ask, bid))
        exchange = self._exchange
        unique = f"{symbol}@{time_ms}@{exchange}{price}"
        return Ticker(symbol, time_ms, price, volume, price, price, ask, bid, unique, now.wall_ms, exchange)


def _loose_rows(frame: Frame) -> tuple[list[tuple[str, Figures]], Odd]:
    rows, odd = read_rows(frame.data, _loose)
    return [(row.inst_id, (row.last_pr, row.base_volume, row.ask_sz, row.bid_sz)) for row in rows], odd


def _modern_rows(arg: Arg, frame: Frame) -> tuple[list[tuple[str, Figures]], Odd]:
    """The name comes from the argument; sizes stay contracts."""
    rows, odd = read_rows(frame.data, _modern)
    name = _hosts.pair_of(arg.inst_type, arg.value)
    return [(name, (row.last_price, row.volume24h, row.ask1_size, row.bid1_size)) for row in rows], odd
