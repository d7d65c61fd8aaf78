"""Candles of Bybit: only the closed ones, each once (contract 2.7, bug A43)."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.bybit._connection import PublicFeed
from exchanges.bybit._errors import envelope_of, failure_of
from exchanges.bybit._hosts import PUBLIC_REST

PREFIX: Final = "kline."
MINUTE_MS: Final = 60_000
INTERVALS: Final = {
    "1": 1,
    "3": 3,
    "5": 5,
    "15": 15,
    "30": 30,
    "60": 60,
    "120": 120,
    "240": 240,
    "360": 360,
    "720": 720,
    "D": 1_440,
    "W": 10_080,
}
"""The venue's codes and their minutes. There is no 8 h, and the month has no fixed length and no generic name."""
GENERIC: Final = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
}
REPAIR_ROWS: Final = 1_000
"""Most rows of one kline answer. The backend itself back-fills what is older."""


def native_interval(interval: str) -> str | None:
    """The venue's code of a requested interval, in either spelling."""
    return interval if interval in INTERVALS else GENERIC.get(interval)


class _Row(Bar, frozen=True):
    confirm: bool = False


class _Frame(msgspec.Struct):
    topic: str = ""
    data: msgspec.Raw = msgspec.Raw()
    op: str = ""
    req_id: str = ""
    success: bool | None = None
    ret_msg: str | None = ""


class _Klines(msgspec.Struct):
    rows: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="list")


_decode = tolerant(_Frame)
_decode_row = tolerant(_Row)
_decode_klines = msgspec.json.Decoder(_Klines).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


def _bar(raw: bytes) -> Bar:
    """A row of the REST answer. Raises `ValueError` or one of `UNREADABLE`."""
    texts = _decode_texts(raw)
    if len(texts) < 6:
        raise ValueError("a candle of too few figures")
    return Bar(int(texts[0]), *texts[1:6])


class CandleAdapter(CandleFeed[str], PublicFeed):
    """Up to 500 candle topics on one connection. See `exchanges._adapter.Adapter`."""

    history = REPAIR_ROWS
    running = False

    def _route(self, subscription: CandleSubscription) -> tuple[str, int] | Fail:
        interval = native_interval(subscription.interval)
        if interval is None:
            return Fail(kind=FailKind.REQUEST, reason=f"Bybit has no candle interval {subscription.interval!r}")
        instrument = self._setup.table().pair(subscription.symbol)
        wire = instrument.wire if instrument else subscription.symbol
        return f"{PREFIX}{interval}.{wire}", INTERVALS[interval] * MINUTE_MS

    def _asked_by(self, topic: str) -> tuple[str, str] | None:
        _, interval, symbol = topic.split(".", 2)
        return symbol, interval

    def _history(self, topic: str, from_ms: int, to_ms: int) -> Call:
        _, interval, wire = topic.split(".", 2)
        query = {
            "category": self._category,
            "symbol": wire,
            "interval": interval,
            "start": from_ms,
            "end": to_ms,
            "limit": REPAIR_ROWS,
        }
        return Call(tag="klines", method="GET", url=f"{PUBLIC_REST}/v5/market/kline?{urlencode(query)}")

    def _page(self, call: Call, answer: Answer) -> Page:
        failure, envelope = failure_of(answer), envelope_of(answer)
        if failure is not None or envelope is None:
            reason = failure.reason if failure else "unreadable answer"
            return Page(failed=reason, retry=failure is not None and failure.kind is not FailKind.REQUEST)
        try:
            return Page(bars=read_rows(_decode_klines(envelope.result).rows, _bar)[0])
        except UNREADABLE as error:
            return Page(failed=str(error))

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable candle frame: {error}")]
        if not message.topic:
            return self._reply(message.op, message.req_id, success=message.success, text=message.ret_msg or "", now=now)
        if not message.topic.startswith(PREFIX):
            return [Note(f"unknown public topic {message.topic}")]
        try:
            rows, odd = read_rows(message.data, _decode_row)
        except UNREADABLE as error:
            return [Note(f"unreadable candle frame: {error}")]
        notes = [Note(odd.phrase("candles"))] if odd else []
        return [*notes, *self._told(message.topic, [row for row in rows if row.confirm], now)]
