"""Candles of OKX, on the business service: only the closed ones, each once (contract 2.7, bug A43)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Note, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, CatchUp, Page
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.instruments import SymbolTable
from exchanges.okx._connection import PublicFeed
from exchanges.okx._connection_frames import Arg
from exchanges.okx._connection_ping import PONG
from exchanges.okx._errors import envelope_of, failure_of
from exchanges.okx._hosts import BUSINESS_WS, PUBLIC_REST
from exchanges.okx._intervals import EIGHT_HOURS, EightHours, channel_of, length_ms
from exchanges.okx._orders import pair_of

REPAIR_ROWS: Final = 300
"""Most rows of one answer."""
REPAIR_PAGES: Final = 4
"""The venue answers for some 1,400 candles; the backend itself back-fills what is older."""


class _Frame(msgspec.Struct):
    arg: Arg = Arg()
    data: msgspec.Raw = msgspec.Raw(b"[]")
    event: str = ""


_decode = tolerant(_Frame)
_decode_row = msgspec.json.Decoder(list[str]).decode


class CandleAdapter(CandleFeed[Arg], PublicFeed):
    """Up to 1,000 candle channels on one connection. See `exchanges._adapter.Adapter`."""

    url = BUSINESS_WS
    history = REPAIR_PAGES * REPAIR_ROWS
    running = False

    def _route(self, subscription: CandleSubscription) -> tuple[Arg, int] | Fail:
        channel = channel_of(subscription.interval)
        if channel is None:
            return Fail(kind=FailKind.REQUEST, reason=f"OKX has no candle interval {subscription.interval!r}")
        wire = wire_of(subscription.symbol, self._exchange, self._setup.table())
        if wire is None:
            reason = f"the symbol list that names {subscription.symbol!r} is not loaded yet"
            return Fail(kind=FailKind.TRANSIENT, reason=reason)
        return Arg(channel=channel, inst_id=wire), length_ms(subscription.interval)

    def _new(self, subscription: CandleSubscription, length_ms: int) -> CatchUp:
        if subscription.interval == EIGHT_HOURS:
            return EightHours(subscription)
        return super()._new(subscription, length_ms)

    def _asked_by(self, topic: Arg) -> tuple[str, str] | None:
        return (pair_of(topic.inst_id), topic.channel) if topic.channel.startswith("candle") else None

    def _history(self, topic: Arg, from_ms: int, to_ms: int) -> Call:
        """Newest first, all that opened after the one before."""
        query = {
            "instId": topic.inst_id,
            "bar": topic.channel.removeprefix("candle"),
            "before": str(max(0, from_ms - length_ms(topic.channel))),
            "limit": str(REPAIR_ROWS),
        }
        url = f"{PUBLIC_REST}/api/v5/market/candles?{urlencode(query)}"
        return Call(tag="candles", method="GET", url=url, pool="candles", context=1)

    def _page(self, call: Call, answer: Answer) -> Page:
        failure, envelope = failure_of(answer), envelope_of(answer)
        if failure is not None or envelope is None:
            reason = failure.reason if failure else "unreadable answer"
            return Page(failed=reason, retry=failure is not None and failure.kind is not FailKind.REQUEST)
        try:
            rows, odd = read_rows(envelope.data, _row)
        except UNREADABLE as error:
            return Page(failed=str(error))
        closed = _closed(rows)
        oldest = min((row.bar.start for row in rows), default=0)
        page = int(str(call.context)) + 1
        if len(rows) + odd.number < REPAIR_ROWS or page > REPAIR_PAGES or not rows:
            return Page(bars=closed, ended=True)
        url = f"{call.url.partition('&after=')[0]}&after={oldest}"
        return Page(bars=closed, ended=True, more=msgspec.structs.replace(call, url=url, context=page, attempt=1))

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [] if frame == PONG else [Note(f"unreadable candle frame: {error}")]
        if message.event:
            return self._control(frame, now)
        try:
            rows, odd = read_rows(message.data, _row)
        except UNREADABLE as error:
            return [Note(f"unreadable candles: {error}")]
        notes = [Note(odd.phrase("candles"))] if odd else []
        return [*notes, *self._told(Arg(channel=message.arg.channel, inst_id=message.arg.inst_id), _closed(rows), now)]


def wire_of(pair: str, exchange: str, table: SymbolTable) -> str | None:
    """The venue's code of a pair id; None for an X-Perp as long as the list is not loaded: its code has a date."""
    instrument = table.pair(pair)
    if instrument is not None:
        return instrument.wire
    if "_XPERP" in pair:
        return None
    return pair if exchange == "okx" else f"{pair}-SWAP"


class _Candle(NamedTuple):
    bar: Bar
    finished: bool


def _row(raw: bytes) -> _Candle:
    """Raises `ValueError` for a row of another shape."""
    row = _decode_row(raw)
    if len(row) < 9:
        raise ValueError("a candle with too few figures")
    return _Candle(Bar(int(row[0]), row[1], row[2], row[3], row[4], row[5]), row[8] == "1")


def _closed(rows: Iterable[_Candle]) -> list[Bar]:
    return [row.bar for row in rows if row.finished]
