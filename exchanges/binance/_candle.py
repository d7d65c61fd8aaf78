"""Candles: streams are subscribed on the live socket, the closed candles of a gap are read over REST.

Closed candles only, each once (contract 2.7). Running ones count as liveness. After a reconnect the candles that closed in
the gap come first, in their order, then `Live`, then the socket's (docs/venues/binance.md, sections 3 and 6).
"""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Rotate,
    Send,
)
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.binance import _errors
from exchanges.binance._hosts import Market
from exchanges.binance._signer import encoded
from exchanges.binance._symbols import INTERVALS_MS, refusal

GATHER_S: Final = 0.25
ANSWER_S: Final = 15.0
RULES: Final = Rules(
    batch=100,
    ack_s=ANSWER_S,
    gather_s=GATHER_S,  # subscriptions that come one by one leave together, so that they don't eat up the message limit
    pace_s=0.25,
)
MAX_CANDLES: Final = 1000

_KLINES: Final = "klines"


class _Kline(msgspec.Struct, gc=False):
    t: int
    s: str
    i: str
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    v: str
    x: bool


class _KlineFrame(msgspec.Struct, gc=False):
    k: _Kline


class _Combined(msgspec.Struct, gc=False):
    stream: str
    data: _KlineFrame


class _Bar(Bar, frozen=True, array_like=True, gc=False):
    """A row of the REST answer; the columns after these are not needed."""


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _Other(msgspec.Struct):
    e: str = ""
    stream: str = ""
    id: int | str | None = None
    code: int | None = None
    msg: str = ""
    error: _Error | None = None
    data: object = None


_decode_combined: Final = msgspec.json.Decoder(_Combined).decode
_decode_plain: Final = msgspec.json.Decoder(_KlineFrame).decode
_decode_other: Final = msgspec.json.Decoder(_Other).decode
_decode_bar: Final = msgspec.json.Decoder(_Bar).decode


class CandleAdapter(CandleFeed[str]):
    """Adapter of one candle connection. Its topics are the venue's stream names."""

    history = MAX_CANDLES
    running = False

    def __init__(self, setup: Setup, market: Market) -> None:
        super().__init__(setup)
        self._market = market

    def _rules(self) -> Rules:
        return RULES

    def start(self, now: Instant) -> list[Output]:
        return [Connect(self._market.stream_url)]

    def connected(self, now: Instant) -> list[Output]:
        return self._begin(now)

    def _frame(self, request: Request[str]) -> Send:
        frame = {"method": request.op.upper(), "params": request.topics, "id": request.id}
        return Send(msgspec.json.encode(frame).decode())

    def _route(self, subscription: CandleSubscription) -> tuple[str, int] | Fail:
        symbol, interval = subscription.symbol, subscription.interval
        why = refusal(self._exchange, symbol, interval, self._setup.table())
        if why is not None:
            return Fail(kind=FailKind.REQUEST, reason=why)
        return stream_name(symbol, interval), INTERVALS_MS[interval]

    # --- the past ---

    def _history(self, topic: str, from_ms: int, to_ms: int) -> Call:
        symbol, _, interval = topic.partition("@kline_")
        limit = min((to_ms - from_ms) // INTERVALS_MS[interval] + 1, MAX_CANDLES)
        query = encoded({"symbol": symbol.upper(), "interval": interval, "startTime": from_ms, "limit": limit})
        return Call(
            tag=_KLINES,
            method="GET",
            url=f"{self._market.url('klines')}?{query}",
            weight=self._weight(limit),
            pool=self._market.pool,
        )

    def _weight(self, limit: int) -> int:
        if self._market.spot:
            return 2
        if limit < 100:
            return 1
        return 2 if limit < 500 else 5

    def _page(self, call: Call, answer: Answer) -> Page:
        error = _errors.of_answer(answer)
        if error is not None:
            return Page(failed=_errors.describe(error), retry=_errors.kind_of(error) is not FailKind.REQUEST)
        try:
            return Page(bars=read_rows(answer.body, _decode_bar)[0])
        except UNREADABLE:
            return Page(failed="unreadable answer")

    # --- frames ---

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            combined = _decode_combined(frame)
        except UNREADABLE:
            return self._other(frame, now)
        return self._kline(combined.stream, combined.data.k, now)

    def _kline(self, name: str, kline: _Kline, now: Instant) -> list[Output]:
        closed = [Bar(kline.t, kline.o, kline.h, kline.l, kline.c, kline.v)] if kline.x else ()
        return self._told(name, closed, now)

    def _other(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            other = _decode_other(frame)
            if other.e == "kline":
                kline = _decode_plain(frame).k
                return self._kline(stream_name(kline.s, kline.i), kline, now)
        except UNREADABLE:
            return [Note("unreadable market frame")]
        if other.e == "serverShutdown" or other.stream == "!serverShutdown":
            return [Rotate("serverShutdown")]
        if other.error is not None or other.code is not None:
            return self._error(other, now)
        if other.id is not None:
            return self._answered(str(other.id), now)
        return [Note("unknown market frame" if other.data is None else "unreadable candle frame")]

    def _error(self, other: _Other, now: Instant) -> list[Output]:
        code, text = (other.error.code, other.error.msg) if other.error else (other.code, other.msg)
        why = f"{text}, code {code}"
        note = Note(f"error answer on the market socket: {why}")
        request_id = str(other.id) if other.id is not None else ""
        if other.id is None and len(self._book.in_flight) == 1:
            request_id = self._book.in_flight[0]
        # Halved until only the bad name is left.
        return [note, *self._spoiled(request_id, Fail(kind=FailKind.REQUEST, reason=why), now)]

    def _asked_by(self, topic: str) -> tuple[str, str] | None:
        symbol, _, interval = topic.partition("@kline_")
        return symbol.upper(), interval


def stream_name(symbol: str, interval: str) -> str:
    """Stream names carry the symbol in lower case; some symbols are not ASCII."""
    return f"{symbol.lower()}@kline_{interval}"
