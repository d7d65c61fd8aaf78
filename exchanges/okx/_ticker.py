"""Tickers of OKX: one channel an instrument, every frame complete (docs/venues/okx.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import EmitTickers, Instant, Note, Output, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import number
from exchanges._rows import read_rows, tolerant
from exchanges._venue import Setup
from exchanges.events import Ticker
from exchanges.okx._connection import PublicFeed
from exchanges.okx._connection_frames import Arg
from exchanges.okx._connection_ping import PONG
from exchanges.okx._hosts import PUBLIC_WS
from exchanges.okx._orders import pair_of

CHANNEL: Final = "tickers"
_MAX_NAMES: Final = 10_000


class _Row(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    last: str | None = ""
    vol24h: str | None = ""
    ask_sz: str | None = ""
    bid_sz: str | None = ""
    ts: str | None = ""


class _Frame(msgspec.Struct, gc=False):
    """Without `arg`, which repeats the row's instrument: skipping it is a third of the time."""

    data: list[_Row] = []
    event: str = ""


class _OddFrame(msgspec.Struct):
    """The same when a row is odd: the others are read all the same."""

    data: msgspec.Raw = msgspec.Raw(b"[]")
    event: str = ""


_decode = tolerant(_Frame)
_decode_odd = msgspec.json.Decoder(_OddFrame).decode
_decode_row = msgspec.json.Decoder(_Row).decode


class TickerAdapter(TickerFeed[Arg], PublicFeed):
    """One shard of symbols. See `exchanges._adapter.Adapter`."""

    url = PUBLIC_WS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._pairs: dict[str, str] = {}

    def _topic(self, symbol: str) -> Arg:
        return Arg(channel=CHANNEL, inst_id=symbol)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = _decode(frame)
        except UNREADABLE:
            return [] if frame == PONG else self._odd(frame, now)
        if message.event:
            return self._control(frame, now)
        return self._told(message.data, now)

    def _odd(self, frame: bytes, now: Instant) -> Outputs:
        try:
            message = _decode_odd(frame)
            if message.event:
                return self._control(frame, now)
            rows, odd = read_rows(message.data, _decode_row)
        except UNREADABLE as error:
            return [Note(f"unreadable ticker frame: {error}")]
        return [*([Note(odd.phrase("tickers"))] if odd else []), *self._told(rows, now)]

    def _told(self, rows: Sequence[_Row], now: Instant) -> list[Output]:
        stream_id = self._stream_id
        if not stream_id:
            return []
        tickers = [ticker for row in rows if (ticker := self._ticker(row, now.wall_ms)) is not None]
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
        exchange, ts = self._exchange, row.ts or ""
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
