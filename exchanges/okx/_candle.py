"""Candles of OKX, on the business service: only the closed ones, each once (contract 2.7, bug A43)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode

import msgspec

from core.events import Candle
from core.instruments import SymbolTable
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
from exchanges._timers import earliest
from exchanges.okx._frames import Arg
from exchanges.okx._intervals import EIGHT_HOURS, HOUR_MS, EightHours, Row, channel_of, length_ms
from exchanges.okx._keepalive import PONG
from exchanges.okx._orders import pair_of
from exchanges.okx._public import PublicAdapter
from exchanges.okx._rest import BUSINESS_WS, PUBLIC_REST, envelope_of, failure_of

REPAIR_ROWS: Final = 300
"""Most rows of one answer."""
REPAIR_PAGES: Final = 4
"""The venue answers for some 1,400 candles; the backend itself back-fills what is older."""
REPAIR_LIMIT_S: Final = 15.0
REPAIR_TRIES: Final = 3


class _Frame(msgspec.Struct):
    arg: Arg = Arg()
    data: list[list[str]] = []
    event: str = ""


_decode = msgspec.json.Decoder(_Frame).decode
_decode_rows = msgspec.json.Decoder(list[list[str]]).decode


class _Series:
    """One requested candle stream and what was published of it."""

    def __init__(self, subscription: CandleSubscription, wire: str, channel: str) -> None:
        self.subscription = subscription
        self.arg = Arg(channel=channel, inst_id=wire)
        self.halves = EightHours() if subscription.interval == EIGHT_HOURS else None
        self.last_start = -1 if subscription.resume_start_ms is None else subscription.resume_start_ms
        self.live = False
        self.repairing = False
        self.found: list[Row] = []
        self.held: list[Row] = []

    @property
    def stream_id(self) -> str:
        return self.subscription.stream_id


class CandleAdapter(PublicAdapter):
    """Up to 1,000 candle channels on one connection. See `exchanges._adapter.Adapter`."""

    url = BUSINESS_WS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._series: dict[str, _Series] = {}
        self._by_arg: dict[Arg, list[_Series]] = {}
        self._alarms = Alarms()
        self._recorded = ""

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        stream_id = subscription.stream_id
        if not isinstance(subscription, CandleSubscription):
            return [Fail(kind=FailKind.REQUEST, reason="a candle connection carries candles only", stream_id=stream_id)]
        channel = channel_of(subscription.interval)
        if channel is None:
            reason = f"OKX has no candle interval {subscription.interval!r}"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=stream_id)]
        if stream_id in self._series:
            return []
        wire = wire_of(subscription.symbol, self._exchange, self._setup.table())
        if wire is None:
            reason = f"the symbol list that names {subscription.symbol!r} is not loaded yet"
            return [Fail(kind=FailKind.TRANSIENT, reason=reason, stream_id=stream_id)]
        series = self._series[stream_id] = _Series(subscription, wire, channel)
        known = self._by_arg.setdefault(series.arg, [])
        known.append(series)
        if series.arg in self._book.confirmed:
            return self._joined(series, now)
        if self._book.open and len(known) == 1:
            self._book.want([series.arg], now)
        return self._book.pump(now)

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        series = self._series.pop(stream_id, None)
        if series is None:
            return []
        self._alarms.clear(stream_id)
        left = self._by_arg.get(series.arg, [])
        if series in left:
            left.remove(series)
        if not left:
            self._by_arg.pop(series.arg, None)
            self._book.drop([series.arg], now)
        return self._book.pump(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._keepalive.heard()
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [] if frame == PONG else [Note(f"unreadable candle frame: {error}")]
        if message.event:
            return self._control(frame, now)
        outputs: list[Output] = []
        try:
            closed = _closed(message.data)
        except (ValueError, IndexError) as error:
            return [Note(f"unreadable candle: {error}")]
        arg = Arg(channel=message.arg.channel, inst_id=message.arg.inst_id)
        for series in self._by_arg.get(arg) or self._unasked(arg):
            if series.repairing:
                series.held.extend(closed)
                outputs.append(Seen(series.stream_id))
                continue
            # Every frame is proof of life, also of a running candle (bug A27).
            outputs.extend(self._publish(series, closed) or [Seen(series.stream_id)])
        return outputs

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        series = self._series.get(call.stream_id or "")
        if call.tag != "candles" or series is None or not series.repairing:
            return []
        failure, envelope = failure_of(answer), envelope_of(answer)
        if failure is not None or envelope is None:
            reason = failure.reason if failure else "unreadable answer"
            if call.attempt < REPAIR_TRIES and failure is not None and failure.kind is not FailKind.REQUEST:
                return [msgspec.structs.replace(call, attempt=call.attempt + 1)]
            return self._repaired(series, (f"candles: {reason}",), now)
        try:
            rows = _decode_rows(envelope.data)
            series.found.extend(_closed(rows))
            oldest = min((int(row[0]) for row in rows), default=0)
        except (*UNREADABLE, ValueError, IndexError) as error:
            return self._repaired(series, (f"candles: {error}",), now)
        if len(rows) < REPAIR_ROWS:
            return self._repaired(series, (), now)
        page = int(str(call.context)) + 1
        if page > REPAIR_PAGES:
            return self._repaired(series, ("candles: the gap is longer than what the venue answers for",), now)
        return [self._ask(series, page, after=oldest)]

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        for stream_id in self._alarms.due(now):
            series = self._series.get(stream_id)
            if series is not None and series.repairing:
                outputs.extend(self._repaired(series, ("candles: no answer in time",), now))
        return outputs

    def deadline(self) -> float | None:
        return earliest(super().deadline(), self._alarms.next())

    # --- subscriptions ---

    def _args(self) -> list[Arg]:
        return list(self._by_arg)

    def _confirmed(self, arg: Arg, now: Instant) -> list[Output]:
        return [output for series in self._by_arg.get(arg, ()) for output in self._joined(series, now)]

    def _refused(self, args: list[Arg], fail: Fail, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for arg in args:
            for series in self._by_arg.pop(arg, []):
                self._series.pop(series.stream_id, None)
                self._alarms.clear(series.stream_id)
                outputs.append(msgspec.structs.replace(fail, stream_id=series.stream_id))
        return outputs

    def _joined(self, series: _Series, now: Instant) -> list[Output]:
        """Confirmed: fetch what closed while nobody listened, or the first half of a running 8 h candle."""
        if series.live or series.repairing:
            return []
        resume = series.subscription.resume_start_ms
        if resume is None and series.halves is None:
            series.live = True
            return [Live(series.stream_id)]
        whole = series.halves is None
        if whole and resume is not None and now.wall_ms < resume + 2 * length_ms(series.subscription.interval):
            # The candle after the last published one is still running: nothing was missed.
            series.live = True
            return [Live(series.stream_id, GapReport(from_ms=resume, to_ms=now.wall_ms))]
        if resume is None:
            series.last_start = (now.wall_ms // (8 * HOUR_MS) - 1) * 8 * HOUR_MS
        series.repairing = True
        self._alarms.set(series.stream_id, now.mono + REPAIR_LIMIT_S)
        return [self._ask(series, 1)]

    def _ask(self, series: _Series, page: int, after: int | None = None) -> Call:
        """Rows newer than the last published candle, newest first; `after` = older than this."""
        step = 4 * HOUR_MS if series.halves else 0
        query = {
            "instId": series.arg.inst_id,
            "bar": series.arg.channel.removeprefix("candle"),
            "before": str(max(0, series.last_start + step)),
            "limit": str(REPAIR_ROWS),
        }
        if after is not None:
            query["after"] = str(after)
        url = f"{PUBLIC_REST}/api/v5/market/candles?{urlencode(query)}"
        return Call(tag="candles", method="GET", url=url, stream_id=series.stream_id, pool="candles", context=page)

    # --- events ---

    def _repaired(self, series: _Series, missing: tuple[str, ...], now: Instant) -> list[Output]:
        self._alarms.clear(series.stream_id)
        series.repairing, series.live = False, True
        found, held = series.found, series.held
        series.found, series.held = [], []
        outputs = self._publish(series, found, repaired=True)
        resume = series.subscription.resume_start_ms
        report = None
        if resume is not None:
            report = GapReport(from_ms=resume, to_ms=now.wall_ms, candles=len(outputs), missing=missing)
        elif missing:
            outputs.append(Note(f"{series.arg.channel} of {series.arg.inst_id}: {missing[0]}"))
        return [*outputs, *self._publish(series, held), Live(series.stream_id, report)]

    def _publish(self, series: _Series, rows: Iterable[Row], *, repaired: bool = False) -> list[Output]:
        """Closed candles in order, each once."""
        outputs: list[Output] = []
        subscription = series.subscription
        for row in sorted(rows, key=lambda row: row.start):
            whole = row if series.halves is None else series.halves.joined(row)
            if whole is None or whole.start <= series.last_start:
                continue
            series.last_start = whole.start
            candle = Candle(
                start=whole.start,
                open=whole.open,
                high=whole.high,
                low=whole.low,
                close=whole.close,
                volume=whole.volume,
                unique_message_id=f"{subscription.symbol}:{whole.start}:{subscription.interval}@{self._exchange}",
            )
            symbol, interval = subscription.symbol, subscription.interval
            outputs.append(EmitCandle(series.stream_id, self._exchange, symbol, interval, candle, repaired))
        return outputs

    def _unasked(self, arg: Arg) -> list[_Series]:
        """While a recorded frame is replayed, the frame itself tells what was asked for."""
        if not self._recorded or not arg.channel.startswith("candle"):
            return []
        subscription = CandleSubscription(
            stream_id=self._recorded, exchange=self._exchange, symbol=pair_of(arg.inst_id), interval=arg.channel
        )
        series = _Series(subscription, arg.inst_id, arg.channel)
        self._series[f"{self._recorded}{len(self._series)}"] = series
        self._by_arg[arg] = [series]
        return [series]

    def replay(self, stream_id: str) -> None:
        """Enter the live state of a recorded frame."""
        self._recorded = stream_id


def wire_of(pair: str, exchange: str, table: SymbolTable) -> str | None:
    """The venue's code of a pair id; None for an X-Perp as long as the list is not loaded: its code has a date."""
    instrument = table.pair(pair)
    if instrument is not None:
        return instrument.wire
    if "_XPERP" in pair:
        return None
    return pair if exchange == "okx" else f"{pair}-SWAP"


def _closed(rows: Iterable[list[str]]) -> list[Row]:
    """The rows of finished candles. Raises `ValueError` or `IndexError` for rows of another shape."""
    return [Row(int(row[0]), row[1], row[2], row[3], row[4], row[5]) for row in rows if row[8] == "1"]
