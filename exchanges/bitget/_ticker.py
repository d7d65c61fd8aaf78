"""Bitget tickers: one subscription per symbol (venue file sections 3, 5, 6)."""

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
from exchanges._numbers import decimal
from exchanges.bitget import _markets
from exchanges.bitget._frames import Frame
from exchanges.bitget._socket import Arg, Socket

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


class TickerFeed(Socket):
    """Tickers of one shard of symbols."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._subscription: TickerSubscription | None = None
        self._live = False
        self._products = frozenset(_markets.PRODUCTS[setup.exchange])

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        self.now = now
        if not isinstance(subscription, TickerSubscription) or self._subscription is not None:
            reason = "one connection carries one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if not subscription.symbols:
            reason = "Bitget has no all-market ticker: name the symbols"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        self._subscription = subscription
        return self.opened(now) if self.open else []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if self._subscription is None or self._subscription.stream_id != stream_id:
            return []
        args = self._args()
        self._subscription = None
        return self.unsubscribe(args) if self.open else []

    def restore(self, stream_id: str) -> None:
        """Put the feed in its live state without a connection (recorded frames)."""
        self._subscription = TickerSubscription(stream_id=stream_id, exchange=self.exchange)
        self._live = True

    def _args(self) -> list[Arg]:
        table = self.setup.table()
        symbols = self._subscription.symbols if self._subscription else ()
        named = ((symbol, _markets.product_of(self.exchange, table, symbol)) for symbol in symbols)
        return [Arg(product or _markets.guess(self.exchange, symbol), CHANNEL, symbol) for symbol, product in named]

    def opened(self, now: Instant) -> Outputs:
        return self.subscribe(self._args(), now) if self._subscription else []

    def acknowledged(self, arg: Arg, now: Instant) -> Outputs:
        return self._settled()

    def refused(self, arg: Arg, reason: str, now: Instant) -> Outputs:
        return [Note(f"ticker of {arg.text} refused: {reason}"), *self._settled()]

    def _settled(self) -> Outputs:
        if self._live or self.waiting() or self._subscription is None:
            return []
        if not self._any_ack:
            return [self.fail(FailKind.TRANSIENT, "every ticker of the shard was refused")]
        self._live = True
        return [Live(self._subscription.stream_id)]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        subscription = self._subscription
        try:
            push = _fast(frame)
        except UNREADABLE:
            return super().received(frame, now)
        if subscription is None or push.arg.channel != CHANNEL or push.action != "snapshot":
            return super().received(frame, now)
        self.now = now
        if push.arg.inst_type not in self._products:
            return [Seen(subscription.stream_id)]
        rows = (
            self._ticker(tick.inst_id, push.ts, tick.last_pr, tick.base_volume, tick.ask_sz, tick.bid_sz, now)
            for tick in push.data
        )
        return self._emit([ticker for ticker in rows if ticker is not None])

    def pushed(self, frame: Frame, now: Instant) -> Outputs:
        """The slow way, for rows with empty figures."""
        if self._subscription is None or frame.arg is None:
            return []
        if frame.arg.channel != CHANNEL:
            return [Note(f"channel {frame.arg.channel or 'none'} is not known")]
        if frame.action != "snapshot" or frame.arg.inst_type not in self._products:
            return [Seen(self._subscription.stream_id)]
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
        if self._subscription is None:
            return []
        stream_id = self._subscription.stream_id
        return [EmitTickers(stream_id, self.exchange, tickers)] if tickers else [Seen(stream_id)]

    def _ticker(
        self, symbol: str, time_ms: int, price: float, volume: float, ask: float, bid: float, now: Instant
    ) -> Ticker | None:
        """Ask and bid carry the last price, as on every venue; no event without one."""
        if not 0 < price < inf:
            return None
        exchange = self.exchange
        unique = f"{symbol}@{time_ms}@{exchange}{price}"
        return Ticker(symbol, time_ms, price, volume, price, price, ask, bid, unique, now.wall_ms, exchange)
