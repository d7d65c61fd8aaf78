"""Candles: one market and one interval a connection, each update of the running one published.

A connection that is given a second topic subscribes none: it asks REST for the candles of all of them as they end. REST lists
ended candles only, so what is shared has no running ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Subscription,
)
from exchanges._candles import CandleFeed
from exchanges._catchup import Bar, Page
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._rows import read_rows
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.instruments import SymbolTable
from exchanges.whitebit import _errors
from exchanges.whitebit._connection import PublicFeed
from exchanges.whitebit._connection_frames import decode_raws, request
from exchanges.whitebit._symbols import code_of, name_of, seconds_of, wire_of

REPAIR_ROWS: Final = 1_000
FIGURES: Final = 7
"""Of a REST row; a pushed one has the market behind them."""


POLL_AFTER_S: Final = 2.0
"""After a candle has ended: then the list has it."""
POLL_AGAIN_S: Final = 5.0
POLL_TRIES: Final = 3
LONGEST_POLL_S: Final = 86_400
"""When weeks begin is not documented, so whether one has ended is looked at each day."""
ANSWER_LIMIT_S: Final = 60.0
POLL: Final = "candles of a shared connection"


class Topic(NamedTuple):
    """What one connection can carry."""

    market: str
    seconds: int


class _Poll:
    """A topic whose candles are asked for."""

    __slots__ = ("from_ms", "tries")

    def __init__(self, from_ms: int) -> None:
        self.from_ms = from_ms
        """Start of the first candle that was not told."""
        self.tries = 0
        """For the candle that ended last."""


class _Klines(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")


_decode_klines = msgspec.json.Decoder(_Klines).decode
_decode_figures = msgspec.json.Decoder(list[str | int | float]).decode


def _figures(raw: bytes) -> list[str]:
    row = [str(one) for one in _decode_figures(raw)]
    if len(row) < FIGURES:
        raise ValueError("a candle of too few figures")
    return row


def _bar(row: Sequence[str]) -> Bar:
    """The close stands before high and low."""
    start, open_, close, high, low, volume = row[:6]
    return Bar(int(decimal(start)) * 1000, open_, high, low, close, volume)


def _rest_bar(raw: bytes) -> Bar:
    return _bar(_figures(raw))


def _pushed(raw: bytes) -> tuple[str, Bar]:
    row = _figures(raw)
    if len(row) <= FIGURES:
        raise ValueError("a candle without its market")
    return row[FIGURES], _bar(row)


class CandleAdapter(CandleFeed[Topic], PublicFeed[Topic]):
    """One candle topic, or several that are asked for. See `exchanges._adapter.Adapter`."""

    channel = "candles"
    history = REPAIR_ROWS
    running = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._shared = False
        self._polls: dict[Topic, _Poll] = {}
        self._alarms: Alarms[Topic] = Alarms()

    # --- several topics ---

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        route = self._route(subscription) if isinstance(subscription, CandleSubscription) else None
        first = route is None or isinstance(route, Fail) or self._shared or not self._routes or route[0] in self._routes
        if first:
            return super().add(subscription, now)
        subscribed = list(self._book.confirmed)
        self._shared = True
        for topic in subscribed:
            self._poll_from(topic, now)
        leaving = [request("candles_unsubscribe", [], self._numbers.next())] if self._book.open else []
        return [*leaving, *super().add(subscription, now)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        outputs = super().remove(stream_id, now)
        for topic in [topic for topic in self._polls if topic not in self._routes]:
            del self._polls[topic]
            self._alarms.clear(topic)
        return outputs

    def _pump(self, now: Instant) -> list[Output]:
        if not self._shared:
            return super()._pump(now)
        asked = self._book.pump(now)
        topics = [topic for one in asked if one.op == "subscribe" for topic in self._book.answered(one.id)]
        return self._confirmed(topics, now)

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        if self._shared:
            for topic in topics:
                self._poll_from(topic, now)
        return super()._confirmed(topics, now)

    def _poll_from(self, topic: Topic, now: Instant) -> None:
        length_ms = topic.seconds * 1000
        poll = self._polls.setdefault(topic, _Poll(self._venue_time(now).wall_ms // length_ms * length_ms))
        self._poll_next(topic, poll, now)

    def _poll_next(self, topic: Topic, poll: _Poll, now: Instant) -> None:
        """When the running candle has ended."""
        poll.tries = 0
        span_ms = min(topic.seconds, LONGEST_POLL_S) * 1000
        left_ms = span_ms - self._venue_time(now).wall_ms % span_ms
        self._alarms.set(topic, now.mono + left_ms / 1000 + POLL_AFTER_S)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        topic = call.context
        if call.tag != POLL or not isinstance(topic, Topic):
            return super().answered(call, answer, now)
        poll = self._polls.get(topic)
        if poll is None:
            return []
        page = self._page(call, answer)
        bars = sorted((bar for bar in page.bars if bar.start >= poll.from_ms), key=lambda bar: bar.start)
        outputs = self._told(topic, bars, now) if not page.failed else [Note(f"{POLL}: {page.failed}")]
        if bars:
            poll.from_ms = bars[-1].start + topic.seconds * 1000
            self._poll_next(topic, poll, now)
        elif poll.tries < POLL_TRIES and topic.seconds <= LONGEST_POLL_S:
            self._alarms.set(topic, now.mono + POLL_AGAIN_S)
        else:
            self._poll_next(topic, poll, now)
        return outputs

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        for topic in self._alarms.due(now):
            poll = self._polls[topic]
            poll.tries += 1
            # No answer at all must not end the asking.
            self._alarms.set(topic, now.mono + ANSWER_LIMIT_S)
            call = self._history(topic, poll.from_ms, self._venue_time(now).wall_ms)
            outputs.append(msgspec.structs.replace(call, tag=POLL, context=topic))
        return outputs

    def deadline(self) -> float | None:
        return earliest(super().deadline(), self._alarms.deadline())

    # --- one topic ---

    def _route(self, subscription: CandleSubscription) -> tuple[Topic, int] | Fail:
        seconds = seconds_of(subscription.interval)
        if seconds is None:
            reason = f"WhiteBIT has no candle interval {subscription.interval!r}"
            return Fail(kind=FailKind.REQUEST, reason=reason)
        return Topic(wire_of(subscription.symbol, self._exchange, self._setup.table()), seconds), seconds * 1000

    def _asked_by(self, topic: Topic) -> tuple[str, str] | None:
        interval = code_of(topic.seconds) if topic.seconds else ""
        return name_of(topic.market, self._setup.table()), interval

    def _params(self, topics: Sequence[Topic]) -> list[object]:
        return [topics[-1].market, topics[-1].seconds]

    def _named(self, market: str) -> Topic | None:
        return next((topic for topic in self._routes if topic.market == market), None)

    def _history(self, topic: Topic, from_ms: int, to_ms: int) -> Call:
        query = {
            "market": topic.market,
            "interval": code_of(topic.seconds),
            "start": from_ms // 1000,
            "end": to_ms // 1000,
            "limit": REPAIR_ROWS,
        }
        url = f"{self._site.rest}/api/v1/public/kline?{urlencode(query)}"
        return Call(tag="klines", method="GET", url=url, pool="candles")

    def _page(self, call: Call, answer: Answer) -> Page:
        failure = _errors.failure_of(answer)
        if failure is not None:
            return Page(failed=failure.reason, retry=failure.kind is not FailKind.REQUEST)
        try:
            # Only closed candles are listed.
            return Page(bars=read_rows(_decode_klines(answer.body).result, _rest_bar)[0])
        except UNREADABLE as error:
            return Page(failed=str(error))

    def _data(self, params: msgspec.Raw, now: Instant) -> Outputs:
        decode_raws(params)
        rows, odd = read_rows(params, _pushed)
        outputs = [Note(odd.phrase("candles"))] if odd else []
        told: dict[str, list[Bar]] = {}
        for market, bar in rows:
            told.setdefault(market, []).append(bar)
        found = [
            output
            for market, bars in told.items()
            for output in self._told(self._named(market) or Topic(market, 0), bars, now)
        ]
        return [*outputs, *found]


def refusal_of(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """None, or why a candle request can't be served. An empty table refuses no symbol."""
    if seconds_of(interval) is None:
        return f"WhiteBIT has no candle interval {interval!r}"
    if len(table) and table.pair(symbol) is None and table.wire(symbol) is None:
        return f"WhiteBIT has no market {symbol!r} on {exchange}"
    return None
