"""Candles: closed ones only, each once."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from exchanges.template._connection import PublicFeed
from exchanges.template._errors import REST, failure_of
from exchanges.template._symbols import INTERVALS, decode_rows

from exchanges._adapter import Answer, Call, CandleSubscription, Fail, FailKind, Instant, Outputs
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant


class _Row(Bar, frozen=True):
    closed: bool = False


class _Frame(msgspec.Struct):
    candles: msgspec.Raw = msgspec.Raw()
    topic: str = ""
    re: str = ""
    refused: list[str] = []


_decode = tolerant(_Frame)
_decode_row = tolerant(_Row)


class CandleAdapter(CandleFeed[str], PublicFeed):
    """See `exchanges._adapter.Adapter`. A topic is `candle:<interval>:<symbol>`."""

    history = 500
    running = False

    def _route(self, subscription: CandleSubscription) -> tuple[str, int] | Fail:
        if subscription.interval not in INTERVALS:
            return Fail(kind=FailKind.REQUEST, reason=f"no candle interval {subscription.interval!r}")
        return f"candle:{subscription.interval}:{subscription.symbol}", INTERVALS[subscription.interval]

    def _asked_by(self, topic: str) -> tuple[str, str] | None:
        kind, _, rest = topic.partition(":")
        interval, _, symbol = rest.partition(":")
        return (symbol, interval) if kind == "candle" else None

    def _history(self, topic: str, from_ms: int, to_ms: int) -> Call:
        _, interval, symbol = topic.split(":", 2)
        query = urlencode({"symbol": symbol, "interval": interval, "from": from_ms, "to": to_ms})
        return Call(tag="candles", method="GET", url=f"{REST}/candles?{query}")

    def _page(self, call: Call, answer: Answer) -> Page:
        failure = failure_of(answer)
        if failure is not None:
            return Page(failed=failure.reason, retry=failure.kind is not FailKind.REQUEST)
        try:
            return Page(bars=read_rows(decode_rows(answer.body).rows, _decode_row)[0])
        except UNREADABLE as error:
            return Page(failed=str(error))

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = _decode(frame)
            rows, odd = read_rows(message.candles, _decode_row)
        except UNREADABLE as error:
            return self._odd(error)
        if message.re:
            return self._reply(message.re, message.refused, now)
        told = self._told(message.topic, [row for row in rows if row.closed], now)
        return [*told, *self._odd(odd.phrase("candles"))] if odd else told
