"""Tickers of OKX: one channel an instrument, every frame complete (venue file, sections 5 and 6)."""

from __future__ import annotations

from math import isfinite
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
    Output,
    Outputs,
    Seen,
    Setup,
    Subscription,
    TickerSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges.okx._frames import Arg
from exchanges.okx._keepalive import PONG
from exchanges.okx._orders import pair_of
from exchanges.okx._public import PublicAdapter
from exchanges.okx._rest import PUBLIC_WS

CHANNEL: Final = "tickers"
_MAX_NAMES: Final = 10_000


class _Row(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    last: str = ""
    vol24h: str = ""
    ask_sz: str = ""
    bid_sz: str = ""
    ts: str = ""


class _Frame(msgspec.Struct, gc=False):
    """Without `arg`, which repeats the row's instrument: skipping it is a third of the time."""

    data: list[_Row] = []
    event: str = ""


_decode = msgspec.json.Decoder(_Frame).decode


class TickerAdapter(PublicAdapter):
    """One shard of symbols. See `exchanges._adapter.Adapter`."""

    url = PUBLIC_WS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._stream_id = ""
        self._symbols: tuple[str, ...] = ()
        self._pairs: dict[str, str] = {}
        self._live = False

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        """Carry a shard; the same stream again with other symbols changes what is subscribed."""
        if not isinstance(subscription, TickerSubscription) or self._stream_id not in ("", subscription.stream_id):
            reason = "an OKX ticker connection carries exactly one shard of tickers"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        symbols = subscription.symbols or tuple(sorted(item.wire for item in self._setup.table().active()))
        before, wanted = set(self._symbols), set(symbols)
        gone = [_arg(wire) for wire in self._symbols if wire not in wanted]
        self._stream_id, self._symbols = subscription.stream_id, symbols
        self._book.drop(gone, now)
        if self._book.open:
            self._book.want([_arg(wire) for wire in symbols if wire not in before], now)
        return [*self._book.pump(now), *self._settle()]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self._stream_id or not stream_id:
            return []
        args = self._args()
        self._stream_id, self._symbols, self._live = "", (), False
        self._book.drop(args, now)
        return self._book.pump(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._keepalive.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [] if frame == PONG else [Note(f"unreadable ticker frame: {error}")]
        if message.event:
            return self._control(frame, now)
        stream_id = self._stream_id
        if not stream_id:
            return []
        tickers = [ticker for row in message.data if (ticker := self._ticker(row, now.wall_ms)) is not None]
        return [EmitTickers(stream_id, self._exchange, tickers) if tickers else Seen(stream_id)]

    def _ticker(self, row: _Row, wall_ms: int) -> Ticker | None:
        """None for an instrument that never traded: there is no last price to publish."""
        price = number(row.last)
        if price <= 0:
            return None
        wire = row.inst_id
        symbol = self._pairs.get(wire)
        if symbol is None:
            symbol = pair_of(wire)
            if len(self._pairs) < _MAX_NAMES:
                self._pairs[wire] = symbol
        exchange, ts = self._exchange, row.ts
        return Ticker(
            symbol,
            int(ts) if ts.isdecimal() else wall_ms,
            price,
            number(row.vol24h),
            price,
            price,
            number(row.ask_sz),
            number(row.bid_sz),
            f"{symbol}@{ts}@{exchange}:{row.last}:{row.vol24h}:{row.ask_sz}:{row.bid_sz}",
            wall_ms,
            exchange,
        )

    def _args(self) -> list[Arg]:
        return [_arg(wire) for wire in self._symbols]

    def _confirmed(self, arg: Arg, now: Instant) -> list[Output]:
        return self._settle()

    def _refused(self, args: list[Arg], fail: Fail, now: Instant) -> list[Output]:
        """A delisted symbol costs only itself."""
        gone = {arg.inst_id for arg in args}
        self._symbols = tuple(wire for wire in self._symbols if wire not in gone)
        return self._settle()

    def _settle(self) -> list[Output]:
        """Live once every channel of the shard is answered."""
        if self._live or not self._stream_id or not self._book.open or not self._book.settled:
            return []
        if not self._symbols:
            reason = "the venue knows none of the symbols of this shard"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=self._stream_id)]
        self._live = True
        return [Live(self._stream_id)]

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._stream_id, self._live = stream_id, True


def _arg(wire: str) -> Arg:
    return Arg(channel=CHANNEL, inst_id=wire)


def number(text: str) -> float:
    """The value of a figure; what is empty or no finite number counts as 0."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0
