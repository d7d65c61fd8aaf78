"""Candles: streams are subscribed on the live socket, the closed candles of a gap are read over REST.

Closed candles only, each once (contract 2.7). Running ones count as liveness. After a reconnect the candles that closed in
the gap come first, in their order, then `Live`, then the socket's (venue page, sections 3 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from core.events import Candle
from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    EmitCandle,
    Fail,
    FailKind,
    GapReport,
    Instant,
    Live,
    Note,
    Output,
    Rotate,
    Seen,
    Send,
    Setup,
    Subscription,
)
from exchanges._clock import VenueClock
from exchanges._timers import Waiting, earliest
from exchanges.binance import _errors
from exchanges.binance._markets import Market
from exchanges.binance._signer import encoded
from exchanges.binance.symbols import INTERVALS_MS, refusal

NAMES_PER_FRAME: Final = 100
GATHER_S: Final = 0.25
"""Subscriptions that come one by one leave together, so that they don't eat up the message limit."""
ANSWER_S: Final = 15.0
MAX_CANDLES: Final = 1000
ATTEMPTS: Final = 4

_SUBSCRIBE: Final = "SUBSCRIBE"
_UNSUBSCRIBE: Final = "UNSUBSCRIBE"
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


class _Bar(msgspec.Struct, array_like=True, gc=False):
    """A row of the REST answer; the columns after these are not needed."""

    start_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    end_ms: int


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
_decode_klines: Final = msgspec.json.Decoder(list[_Bar]).decode


class _Topic:
    """One stream of the venue and who asked for it."""

    def __init__(self, name: str, subscription: CandleSubscription, start_ms: int) -> None:
        self.name = name
        self.subscription = subscription
        self.last_start_ms = start_ms
        """Opening time of the last candle that was told; -1 = none."""
        self.live = False
        self.held: list[Candle] = []

    @property
    def stream_id(self) -> str:
        return self.subscription.stream_id

    def emit(self, exchange: str, candle: Candle, *, repaired: bool = False) -> list[Output]:
        """Tell a candle, unless it or a later one was told before."""
        if candle.start <= self.last_start_ms:
            return []
        self.last_start_ms = candle.start
        asked = self.subscription
        return [EmitCandle(self.stream_id, exchange, asked.symbol, asked.interval, candle, repaired)]


class CandleFeed:
    """Adapter of one candle connection."""

    def __init__(self, setup: Setup, market: Market) -> None:
        self._setup, self._market = setup, market
        self._clock = VenueClock(setup)
        self._topics: dict[str, _Topic] = {}
        self._by_name: dict[str, _Topic] = {}
        self._unasked: dict[str, None] = {}
        self._unwanted: dict[str, None] = {}
        self._flush_at: float | None = None
        self._waiting: Waiting[str, tuple[str, ...]] = Waiting()
        self._retries: list[tuple[float, Call]] = []
        self._up = False

    # --- inputs ---

    def start(self, now: Instant) -> list[Output]:
        return [Connect(self._market.stream_url)]

    def connected(self, now: Instant) -> list[Output]:
        self._up = True
        return self._flush(now)

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        if not isinstance(subscription, CandleSubscription):
            reason = "a candle connection carries candles only"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        table = self._setup.table()
        why = refusal(self._market.exchange, subscription.symbol, subscription.interval, table)
        name = _stream_name(subscription.symbol, subscription.interval)
        if why is None and (subscription.stream_id in self._topics or name in self._by_name):
            why = "this candle is subscribed on this connection already"
        if why is not None:
            return [Fail(kind=FailKind.REQUEST, reason=why, stream_id=subscription.stream_id)]
        start_ms = subscription.resume_start_ms
        topic = _Topic(name, subscription, -1 if start_ms is None else start_ms)
        self._topics[subscription.stream_id] = topic
        self._by_name[name] = topic
        if topic.name in self._unwanted:
            del self._unwanted[topic.name]
        self._unasked[topic.name] = None
        self._plan_flush(now)
        return []

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        topic = self._topics.pop(stream_id, None)
        if topic is None:
            return []
        del self._by_name[topic.name]
        if topic.name in self._unasked:
            del self._unasked[topic.name]
        else:
            self._unwanted[topic.name] = None
            self._plan_flush(now)
        return []

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            combined = _decode_combined(frame)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._other(frame, now)
        return self._kline(combined.stream, combined.data.k)

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        topic = self._topics.get(call.stream_id or "")
        if call.tag != _KLINES or topic is None or topic is not call.context:
            return []
        error = _errors.of_answer(answer)
        if error is None:
            try:
                return self._repaired(topic, _decode_klines(answer.body), now)
            except (msgspec.DecodeError, UnicodeDecodeError):
                return self._join(topic, now, missing=("closed candles: unreadable answer",))
        if _errors.kind_of(error) is not FailKind.REQUEST and call.attempt < ATTEMPTS:
            limited = _errors.kind_of(error) is FailKind.RATE_LIMITED
            wait_s = _errors.wait_s(error, now) if limited else float(2 ** (call.attempt - 1))
            self._retries.append((now.mono + wait_s, msgspec.structs.replace(call, attempt=call.attempt + 1)))
            return []
        return self._join(topic, now, missing=(f"closed candles: {_errors.describe(error)}",))

    def woken(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        if self._waiting.expired(now):
            return [Fail(kind=FailKind.TRANSIENT, reason="SUBSCRIBE was not answered")]
        if self._flush_at is not None and self._flush_at <= now.mono:
            outputs += self._flush(now)
        outputs += [call for due, call in self._retries if due <= now.mono]
        self._retries = [(due, call) for due, call in self._retries if due > now.mono]
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._flush_at, self._waiting.deadline(), *(due for due, _ in self._retries))

    def closing(self, now: Instant) -> list[Output]:
        return []

    # --- subscribing ---

    def _plan_flush(self, now: Instant) -> None:
        if self._up and self._flush_at is None:
            self._flush_at = now.mono + GATHER_S

    def _flush(self, now: Instant) -> list[Output]:
        self._flush_at = None
        unwanted, self._unwanted = list(self._unwanted), {}
        unasked, self._unasked = list(self._unasked), {}
        outputs: list[Output] = []
        for method, names in ((_UNSUBSCRIBE, unwanted), (_SUBSCRIBE, unasked)):
            parts = (tuple(names[at : at + NAMES_PER_FRAME]) for at in range(0, len(names), NAMES_PER_FRAME))
            outputs += [self._request(method, part, now) for part in parts]
        return outputs

    def _request(self, method: str, names: tuple[str, ...], now: Instant) -> Send:
        request_id = self._setup.new_id()
        if method == _SUBSCRIBE:
            # Frames wait for the message limit behind each other: a quarter of a second each.
            self._waiting.add(request_id, names, now.mono + ANSWER_S + 0.25 * len(self._waiting))
        return Send(msgspec.json.encode({"method": method, "params": names, "id": request_id}).decode())

    def _accepted(self, names: Sequence[str], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for topic in self._named(names):
            outputs += self._repair(topic, now)
        return outputs

    def _declined(self, names: tuple[str, ...], why: str, now: Instant) -> list[Output]:
        """One bad name spoils the whole frame: halve it until only the bad one is left."""
        if len(names) > 1:
            half = len(names) // 2
            return [self._request(_SUBSCRIBE, part, now) for part in (names[:half], names[half:])]
        outputs: list[Output] = []
        for topic in self._named(names):
            del self._topics[topic.stream_id], self._by_name[topic.name]
            outputs.append(Fail(kind=FailKind.REQUEST, reason=why, stream_id=topic.stream_id))
        return outputs

    def _named(self, names: Sequence[str]) -> list[_Topic]:
        wanted = set(names)
        return [topic for topic in self._topics.values() if topic.name in wanted and not topic.live]

    # --- repair ---

    def _repair(self, topic: _Topic, now: Instant) -> list[Output]:
        """Ask for the candles that closed since the last one that was told, if there can be any."""
        step_ms = INTERVALS_MS[topic.subscription.interval]
        now_ms = self._clock.stamp(now)
        closed = (now_ms - topic.last_start_ms) // step_ms - 1
        if topic.subscription.resume_start_ms is None or closed < 1:
            return self._join(topic, now)
        limit = min(closed + 1, MAX_CANDLES)
        start_ms = topic.last_start_ms + step_ms * max(1, closed + 2 - MAX_CANDLES)
        params = {"symbol": topic.subscription.symbol, "interval": topic.subscription.interval}
        query = encoded({**params, "startTime": start_ms, "limit": limit})
        return [
            Call(
                tag=_KLINES,
                method="GET",
                url=f"{self._market.url('klines')}?{query}",
                stream_id=topic.stream_id,
                context=topic,
                weight=self._weight(limit),
                pool=self._market.pool,
            )
        ]

    def _weight(self, limit: int) -> int:
        if self._market.spot:
            return 2
        if limit < 100:
            return 1
        return 2 if limit < 500 else 5

    def _repaired(self, topic: _Topic, bars: Sequence[_Bar], now: Instant) -> list[Output]:
        now_ms = self._clock.stamp(now)
        told_ms, step_ms = topic.last_start_ms, INTERVALS_MS[topic.subscription.interval]
        complete = bool(bars) and bars[0].start_ms - told_ms <= step_ms
        outputs: list[Output] = []
        for bar in bars:
            if bar.end_ms < now_ms:
                outputs += topic.emit(self._market.exchange, self._closed(topic, bar), repaired=True)
        missing = () if complete else ("the first closed candles of the gap",)
        return [*outputs, *self._join(topic, now, repaired=len(outputs), missing=missing)]

    def _join(self, topic: _Topic, now: Instant, repaired: int = 0, missing: tuple[str, ...] = ()) -> list[Output]:
        """The topic is live: what its socket told meanwhile follows."""
        topic.live = True
        gap = None
        if topic.subscription.resume_start_ms is not None:
            gap = GapReport(
                from_ms=topic.subscription.resume_start_ms, to_ms=now.wall_ms, candles=repaired, missing=missing
            )
        outputs: list[Output] = [Live(topic.stream_id, gap)]
        held, topic.held = topic.held, []
        for candle in held:
            outputs += topic.emit(self._market.exchange, candle)
        return outputs

    # --- frames ---

    def _kline(self, name: str, kline: _Kline) -> list[Output]:
        topic = self._topic(name, kline.s, kline.i)
        if topic is None:
            return []  # unsubscribed a moment ago
        seen: list[Output] = [Seen(topic.stream_id)]
        if not kline.x:
            return seen
        bar = _Bar(kline.t, kline.o, kline.h, kline.l, kline.c, kline.v, 0)
        candle = self._closed(topic, bar)
        if topic.live:
            return topic.emit(self._market.exchange, candle) or seen
        topic.held.append(candle)
        return seen

    def _topic(self, name: str, symbol: str, interval: str) -> _Topic | None:
        return self._by_name.get(name)

    def _closed(self, topic: _Topic, bar: _Bar) -> Candle:
        symbol, interval = topic.subscription.symbol, topic.subscription.interval
        figures = f"{bar.open}:{bar.high}:{bar.low}:{bar.close}:{bar.volume}"
        return Candle(
            start=bar.start_ms,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
            unique_message_id=f"{symbol}:{bar.start_ms}:{figures}:{interval}@{self._market.exchange}",
        )

    def _other(self, frame: bytes, now: Instant) -> list[Output]:
        try:
            other = _decode_other(frame)
            if other.e == "kline":
                kline = _decode_plain(frame).k
                return self._kline(_stream_name(kline.s, kline.i), kline)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [Note("unreadable market frame")]
        if other.e == "serverShutdown" or other.stream == "!serverShutdown":
            return [Rotate("serverShutdown")]
        if other.error is not None or other.code is not None:
            return self._error(other, now)
        if other.id is not None:
            names = self._waiting.take(str(other.id))
            return self._accepted(names, now) if names is not None else []
        return [Note("unknown market frame" if other.data is None else "unreadable candle frame")]

    def _error(self, other: _Other, now: Instant) -> list[Output]:
        code, text = (other.error.code, other.error.msg) if other.error else (other.code, other.msg)
        why = f"{text}, code {code}"
        note = Note(f"error answer on the market socket: {why}")
        names = self._waiting.take(str(other.id)) if other.id is not None else None
        if names is None and other.id is None and len(self._waiting) == 1:
            names = self._waiting.take(next(key for key, _ in self._waiting))
        return [note, *(self._declined(names, why, now) if names is not None else [])]


class ReplayedCandles(CandleFeed):
    """A candle feed that has every topic: recorded frames come without the request that led to them."""

    def _topic(self, name: str, symbol: str, interval: str) -> _Topic:
        topic = self._by_name.get(name)
        if topic is None:
            asked = CandleSubscription(stream_id=name, exchange=self._market.exchange, symbol=symbol, interval=interval)
            topic = self._by_name[name] = self._topics[name] = _Topic(name, asked, -1)
            topic.live = True
        return topic


def _stream_name(symbol: str, interval: str) -> str:
    """Stream names carry the symbol in lower case; some symbols are not ASCII."""
    return f"{symbol.lower()}@kline_{interval}"
