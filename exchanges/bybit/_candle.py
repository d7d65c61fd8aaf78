"""Candles of Bybit: only the closed ones, each once (contract 2.7, bug A43)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

import msgspec

from core.events import Candle
from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    EmitCandle,
    Fail,
    FailKind,
    GapReport,
    Instant,
    Live,
    Note,
    Output,
    Outputs,
    Seen,
    Setup,
    Subscription,
)
from exchanges._alarms import Alarms
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges._timers import earliest
from exchanges.bybit._public import PublicAdapter
from exchanges.bybit._rest import PUBLIC_REST, envelope_of, failure_of

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
REPAIR_LIMIT_S: Final = 12.0


def native_interval(interval: str) -> str | None:
    """The venue's code of a requested interval, in either spelling."""
    return interval if interval in INTERVALS else GENERIC.get(interval)


class _Row(msgspec.Struct):
    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    confirm: bool = False


class _Frame(msgspec.Struct):
    topic: str = ""
    data: list[_Row] | None = None
    op: str = ""
    req_id: str = ""
    success: bool | None = None
    ret_msg: str | None = ""


class _Klines(msgspec.Struct):
    rows: list[list[str]] = msgspec.field(default_factory=list, name="list")


_decode = msgspec.json.Decoder(_Frame).decode
_decode_klines = msgspec.json.Decoder(_Klines).decode


class _Series:
    """One requested candle stream and what was published of it."""

    def __init__(self, subscription: CandleSubscription, wire: str, interval: str) -> None:
        self.subscription = subscription
        self.topic = f"{PREFIX}{interval}.{wire}"
        self.wire = wire
        self.interval = interval
        self.last_start = subscription.resume_start_ms or 0
        self.live = False
        self.repairing = False
        self.held: list[_Row] = []

    @property
    def stream_id(self) -> str:
        return self.subscription.stream_id


class CandleAdapter(PublicAdapter):
    """Up to 500 candle topics on one connection. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._exchange = setup.exchange
        self._series: dict[str, _Series] = {}
        self._by_topic: dict[str, list[_Series]] = {}
        self._alarms = Alarms()
        self._recorded = ""

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        if not isinstance(subscription, CandleSubscription):
            reason = "a candle connection carries candles only"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        interval = native_interval(subscription.interval)
        if interval is None:
            reason = f"Bybit has no candle interval {subscription.interval!r}"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if subscription.stream_id in self._series:
            return []
        instrument = self._setup.table().pair(subscription.symbol)
        series = _Series(subscription, instrument.wire if instrument else subscription.symbol, interval)
        self._series[series.stream_id] = series
        known = self._by_topic.setdefault(series.topic, [])
        known.append(series)
        if len(known) == 1:
            return self._want([series.topic], now)
        return self._joined(series, now) if series.topic in self._book.confirmed else []

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        series = self._series.pop(stream_id, None)
        if series is None:
            return []
        self._alarms.clear(stream_id)
        left = self._by_topic.get(series.topic, [])
        if series in left:
            left.remove(series)
        if left:
            return []
        self._by_topic.pop(series.topic, None)
        return self._drop([series.topic], now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._keepalive.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable candle frame: {error}")]
        if not message.topic:
            return self._reply(message.op, message.req_id, success=message.success, text=message.ret_msg or "", now=now)
        if message.data is None or not message.topic.startswith(PREFIX):
            return [Note(f"unknown public topic {message.topic}")]
        outputs: list[Output] = []
        for series in self._by_topic.get(message.topic) or self._unasked(message.topic):
            closed = [row for row in message.data if row.confirm]
            if series.repairing:
                series.held.extend(closed)
                outputs.append(Seen(series.stream_id))
                continue
            # Every frame is proof of life, also of a running candle (bug A27).
            outputs.extend(self._publish(series, closed) or [Seen(series.stream_id)])
        return outputs

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        series = self._series.get(call.stream_id or "")
        if call.tag != "klines" or series is None or not series.repairing:
            return []
        failure = failure_of(answer)
        envelope = envelope_of(answer)
        if failure is not None or envelope is None:
            return self._repaired(series, [], (f"candles: {failure.reason if failure else 'unreadable answer'}",), now)
        try:
            rows = [
                _Row(int(row[0]), row[1], row[2], row[3], row[4], row[5])
                for row in _decode_klines(envelope.result).rows
            ]
        except (*UNREADABLE, ValueError, IndexError) as error:
            return self._repaired(series, [], (f"candles: {error}",), now)
        step = INTERVALS[series.interval] * MINUTE_MS
        closed = [row for row in rows if row.start + step <= (envelope.time or now.wall_ms)]
        missing = ("candles: the gap is longer than one answer of the venue",) if len(rows) >= REPAIR_ROWS else ()
        return self._repaired(series, closed, missing, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        for stream_id in self._alarms.due(now):
            series = self._series.get(stream_id)
            if series is not None and series.repairing:
                outputs.extend(self._repaired(series, [], ("candles: no answer in time",), now))
        return outputs

    def deadline(self) -> float | None:
        return earliest(super().deadline(), self._alarms.next())

    # --- subscriptions ---

    def _topics(self) -> list[str]:
        return list(self._by_topic)

    def _confirmed(self, topics: list[str], now: Instant) -> list[Output]:
        return [
            output
            for topic in topics
            for series in self._by_topic.get(topic, ())
            for output in self._joined(series, now)
        ]

    def _refused(self, topics: list[str], reason: str, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for topic in topics:
            for series in self._by_topic.pop(topic, []):
                self._series.pop(series.stream_id, None)
                outputs.append(
                    Fail(kind=FailKind.REQUEST, reason=reason or f"{topic} refused", stream_id=series.stream_id)
                )
        return outputs

    def _joined(self, series: _Series, now: Instant) -> list[Output]:
        if series.live or series.repairing:
            return []
        resume = series.subscription.resume_start_ms
        if resume is None:
            series.live = True
            return [Live(series.stream_id)]
        series.repairing = True
        self._alarms.set(series.stream_id, now.mono + REPAIR_LIMIT_S)
        query = urlencode(
            {
                "category": self._category,
                "symbol": series.wire,
                "interval": series.interval,
                "start": resume + 1,
                "end": now.wall_ms,
                "limit": REPAIR_ROWS,
            }
        )
        return [
            Call(tag="klines", method="GET", url=f"{PUBLIC_REST}/v5/market/kline?{query}", stream_id=series.stream_id)
        ]

    # --- events ---

    def _repaired(self, series: _Series, rows: list[_Row], missing: tuple[str, ...], now: Instant) -> list[Output]:
        self._alarms.clear(series.stream_id)
        series.repairing, series.live = False, True
        outputs = self._publish(series, rows, repaired=True)
        report = GapReport(
            from_ms=series.subscription.resume_start_ms or 0,
            to_ms=now.wall_ms,
            candles=len(outputs),
            missing=missing,
        )
        outputs.extend(self._publish(series, series.held))
        series.held = []
        return [*outputs, Live(series.stream_id, report)]

    def _publish(self, series: _Series, rows: Iterable[_Row], *, repaired: bool = False) -> list[Output]:
        """Closed candles in order, each once; `rows` of REST come newest first."""
        outputs: list[Output] = []
        for row in sorted(rows, key=lambda row: row.start):
            if row.start <= series.last_start:
                continue
            series.last_start = row.start
            subscription = series.subscription
            candle = Candle(
                start=row.start,
                open=plain(row.open),
                high=plain(row.high),
                low=plain(row.low),
                close=plain(row.close),
                volume=plain(row.volume),
                unique_message_id=f"{subscription.symbol}:{row.start}:{subscription.interval}@{self._exchange}",
            )
            outputs.append(
                EmitCandle(
                    series.stream_id, self._exchange, subscription.symbol, subscription.interval, candle, repaired
                )
            )
        return outputs

    def _unasked(self, topic: str) -> list[_Series]:
        """While a recorded frame is replayed, the topic itself tells what was asked for."""
        interval, _, symbol = topic.removeprefix(PREFIX).partition(".")
        if not self._recorded or not symbol:
            return []
        subscription = CandleSubscription(
            stream_id=self._recorded, exchange=self._exchange, symbol=symbol, interval=interval
        )
        self._series[self._recorded] = series = _Series(subscription, symbol, interval)
        self._by_topic[topic] = [series]
        return [series]

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._recorded = stream_id
