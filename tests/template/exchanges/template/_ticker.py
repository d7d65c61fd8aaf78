"""Tickers: the whole row with each change."""

from __future__ import annotations

import msgspec
from exchanges.template._connection import PublicFeed

from exchanges._adapter import EmitTickers, Instant, Note, Outputs, Seen
from exchanges._feed import TickerFeed
from exchanges._frames import UNREADABLE
from exchanges._numbers import number
from exchanges._rows import read_rows, tolerant
from exchanges.events import Ticker


class _Row(msgspec.Struct, gc=False):
    symbol: str
    time: int
    last: str
    volume: str
    ask_size: str
    bid_size: str


class _Frame(msgspec.Struct):
    tickers: msgspec.Raw = msgspec.Raw()
    re: str = ""
    refused: list[str] = []


_decode = tolerant(_Frame)
_decode_row = tolerant(_Row)


class TickerAdapter(TickerFeed[str], PublicFeed):
    """One shard of symbols. See `exchanges._adapter.Adapter`."""

    def _topic(self, symbol: str) -> str:
        return f"ticker:{symbol}"

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = _decode(frame)
            rows, odd = read_rows(message.tickers, _decode_row)
        except UNREADABLE as error:
            return self._odd(error)
        if message.re:
            return self._reply(message.re, message.refused, now)
        if not self._stream_id:
            return []
        tickers = [self._ticker(row, now) for row in rows if number(row.last) > 0]
        told = EmitTickers(self._stream_id, self._exchange, tickers) if tickers else Seen(self._stream_id)
        return [told, Note(odd.phrase("tickers"))] if odd else [told]

    def _ticker(self, row: _Row, now: Instant) -> Ticker:
        last, volume = number(row.last), number(row.volume)
        message_id = f"{row.symbol}@{row.time}@{self._exchange}:{row.last}:{row.volume}"
        sizes = number(row.ask_size), number(row.bid_size)
        return Ticker(row.symbol, row.time, last, volume, last, last, *sizes, message_id, now.wall_ms, self._exchange)
