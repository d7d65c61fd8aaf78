"""All-market tickers: one socket a market, hundreds of rows a second (docs/venues/binance.md, sections 3 and 6)."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Rotate,
    Subscription,
    TickerSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges._venue import Setup
from exchanges.binance._hosts import Market
from exchanges.binance._symbols import belongs
from exchanges.events import Ticker


class _Row(msgspec.Struct, gc=False):
    """A row of `!miniTicker@arr` or `!ticker@arr`; numbers are text on the wire and go straight to floats."""

    s: str
    E: int
    c: float
    v: float = 0.0
    q: float = 0.0
    st: int = 0


class _Combined(msgspec.Struct, gc=False):
    data: list[_Row]


class _Other(msgspec.Struct):
    e: str = ""
    stream: str = ""
    result: object = None
    id: object = None
    code: int | None = None
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()
    error: object = None


_TICKERS: Final = frozenset({"24hrMiniTicker", "24hrTicker"})

_decode_combined: Final = msgspec.json.Decoder(_Combined, strict=False).decode
_decode_rows: Final = msgspec.json.Decoder(list[_Row], strict=False).decode
_decode_row: Final = tolerant(_Row, strict=False, blank=True)
_decode_other: Final = msgspec.json.Decoder(_Other).decode


class TickerAdapter:
    """Adapter of one all-market ticker connection."""

    def __init__(self, setup: Setup, market: Market) -> None:
        self._setup, self._market = setup, market
        self._stream_id = ""
        self._live = False

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        if not isinstance(subscription, TickerSubscription):
            reason = "a ticker connection carries tickers only"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        self._stream_id = subscription.stream_id
        return [Live(self._stream_id)] if self._live else []

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        if stream_id == self._stream_id:
            self._stream_id = ""
        return []

    def start(self, now: Instant) -> list[Output]:
        return [Connect(f"{self._market.stream_url}?streams={self._market.ticker_stream}")]

    def connected(self, now: Instant) -> list[Output]:
        # A stream in the URL is not acknowledged. Where prices never pause, the first rows are the confirmation.
        return [] if self._market.watched else self._confirm()

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        notes: list[Output] = []
        try:
            rows = _decode_rows(frame) if frame[:1] == b"[" else _decode_combined(frame).data
        except UNREADABLE:
            found = self._other(frame)
            if not isinstance(found, list):
                return [found] if found is not None else []
            rows = found
            notes = [Note("unreadable ticker row")]
        tickers = self._tickers(rows, now.wall_ms)
        if not tickers or not self._stream_id:
            return notes
        emit = EmitTickers(self._stream_id, self._market.exchange, tickers)
        return [*notes, *self._confirm(), emit] if notes or not self._live else [emit]

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        return []

    def woken(self, now: Instant) -> list[Output]:
        return []

    def deadline(self) -> float | None:
        return None

    def closing(self, now: Instant) -> list[Output]:
        return []

    def _confirm(self) -> list[Output]:
        if self._live:
            return []
        self._live = True
        return [Live(self._stream_id)] if self._stream_id else []

    def _tickers(self, rows: list[_Row], wall_ms: int) -> list[Ticker]:
        exchange, wanted = self._market.exchange, self._market.row_kind
        tickers: list[Ticker] = []
        add = tickers.append
        for row in rows:
            symbol, price, volume, quote = row.s, row.c, row.v, row.q
            if wanted is not None and row.st != wanted and (row.st or not self._belongs(symbol)):
                continue
            total = price + volume + quote
            if price <= 0.0 or total - total != 0.0:  # never traded; NaN or infinite
                continue
            time_ms = row.E
            # Ask and bid carry the last price, their sizes the quote volume (contract 2.6).
            add(
                Ticker(
                    symbol,
                    time_ms,
                    price,
                    volume,
                    price,
                    price,
                    quote,
                    quote,
                    f"{symbol}@{time_ms}@{exchange}",
                    wall_ms,
                    exchange,
                )
            )
        return tickers

    def _belongs(self, symbol: str) -> bool:
        return belongs(self._market, symbol, self._setup.table())

    def _other(self, frame: bytes) -> list[_Row] | Output | None:
        """A frame that is no list of good rows: its good rows, or what else it says."""
        try:
            if frame[:1] == b"[":
                return _good_rows(frame)
            other = _decode_other(frame)
        except UNREADABLE:
            return Note("unreadable market frame")
        if other.e == "serverShutdown" or other.stream == "!serverShutdown":
            return Rotate("serverShutdown")
        if other.error is not None or other.code is not None:
            return Note("error answer on the market socket")
        if other.data or other.e in _TICKERS:
            try:
                return _good_rows(bytes(other.data) or frame)
            except UNREADABLE:
                return Note("unknown market stream")
        return None if other.id is not None else Note("unknown market frame")


def _good_rows(raw: bytes) -> list[_Row]:
    if raw.lstrip()[:1] == b"{":  # one symbol's stream
        return [_decode_row(raw)]
    return read_rows(raw, _decode_row)[0]  # the caller notes that some were unreadable
