"""One WebSocket connection joined to its adapter, for every venue. Everything here runs on the session's I/O thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.streams.notes import Notes
from connector.streams.publisher import Publisher
from connector.streams.session_calls import SessionCalls
from connector.streams.transport import DialFailure, Kind, Transport, TransportLost, close_text
from connector.streams.unsent import TOO_MANY_UNSENT, Unsent
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    ClockOffset,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    GapReport,
    Instant,
    KeyKind,
    Live,
    Note,
    Output,
    Rotate,
    Seen,
    Send,
    Subscription,
)
from exchanges._venue import Limits
from exchanges.ids import Feed

log = get_logger(__name__)

FRAMES_PER_TURN: Final = 64
"""Frames read from one connection before the others get their turn."""


class Listener(Protocol):
    """Whom a session tells. Called on the I/O thread; must only post."""

    def connected(self, session: Session) -> None: ...

    def live(self, session: Session, stream_id: str, gap: GapReport | None) -> None: ...

    def refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        """One subscription failed; the connection goes on."""

    def lost(self, session: Session, fail: Fail) -> None:
        """The session ended (once, always the last call)."""

    def rotate(self, session: Session, reason: str) -> None: ...

    def answered(self, session: Session, answer: Answer) -> None:
        """A REST answer came, whatever it says."""

    def clock_read(self, session: Session, offset_ms: int) -> None:
        """The session measured its venue's clock: venue time minus ours."""

    def key_learnt(self, session: Session, kind: KeyKind) -> None:
        """The session found out which kind of key a stream has."""

    def noticed(self, session: Session, what: str) -> None:
        """The session of an account told something unusual; at most once a minute for the same thing."""


class Io(Protocol):
    """What a session needs of its I/O thread. Called on that thread only."""

    def now(self) -> Instant:
        """The moment at which the thread began to handle its current input."""

    def heard_mono(self) -> float:
        """Since when a frame that is read now may have been here: now, but after a stall of the process."""

    def adopt(self, session: Session) -> None:
        """The session starts: it is closed when the thread stops."""

    def register(self, session: Session, transport: Transport) -> None:
        """Read the session whenever its connection has something."""

    def read_soon(self, session: Session) -> None:
        """Something may be there to read that no poller can see."""

    def dismiss(self, session: Session) -> None:
        """The session is closed. To be called before its connection is."""

    def limited(self, session: Session, seconds: float) -> None:
        """The venue wants this address to wait before it connects again."""

    def schedule(self, session: Session) -> None:
        """Its next wake-up may have changed."""

    def dial(self, session: Session, connect: Connect) -> None:
        """Open a connection; `Session.dialled` gets the result."""

    def call(self, session: Session, call: Call) -> None:
        """Make a REST call; `Session.answered` gets the answer."""

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the thread, soon. Any thread."""


class Session:
    """Owns one adapter and, once dialled, one connection.

    `streams` belongs to the supervisor's thread; the clocks `opened_mono`, `last_byte_*`, `heard_mono` and `last_data_mono`
    may be read from other threads; everything else belongs to the I/O thread.
    """

    def __init__(
        self,
        name: str,
        venue: str,
        exchange: str,
        feed: Feed,
        adapter: Adapter,
        limits: Limits,
        io: Io,
        listener: Listener,
        publisher: Publisher,
        egress: str = "",
    ) -> None:
        self.name, self.venue, self.exchange, self.feed, self.egress = name, venue, exchange, feed, egress
        self.adapter, self.limits = adapter, limits
        self.streams: set[str] = set()
        self.created_mono = self.opened_mono = self.last_byte_mono = self.last_data_mono = 0.0
        self.last_byte_ms = 0
        self.heard_mono = 0.0
        """Until when all that the venue sent was certainly heard."""
        self.closed = False
        self.scheduled_at: float | None = None
        self.queued_wakes: set[float] = set()
        self._io, self._listener, self._publisher = io, listener, publisher
        self._transport: Transport | None = None
        self.dialling = False
        """Waits for the dialler: for the venue's connect budget or for the connect itself. Any thread may read it."""
        self.calls = SessionCalls(name, io.post, io.now, lambda: not self.closed, lambda: self._transport is None)
        self._prepare_s = limits.join_timeout_s + 30.0
        self._unsent = Unsent(limits.messages)
        self._joined = False
        self._only = ""
        """The account that this connection is for, where it can carry no second one."""
        self._refused = False
        """That account was refused: nothing but `remove` and `closing` reaches the adapter."""
        self._last_ping = 0.0
        self._notes = Notes(name, venue, feed)

    def __repr__(self) -> str:
        return f"Session({self.name})"

    # --- inputs from the I/O thread ---

    def start(self, subscriptions: Iterable[Subscription]) -> None:
        now = self._io.now()
        self.created_mono = self.calls.looked_mono = now.mono
        self._io.adopt(self)
        for subscription in subscriptions:
            self._add(subscription, now)
        self._input(self.adapter.start, now, vital=True)

    def add(self, subscription: Subscription) -> None:
        self._add(subscription, self._io.now())

    def _add(self, subscription: Subscription, now: Instant) -> None:
        if self.feed == "user" and self.limits.subscriptions_per_connection == 1:
            self._only = self._only or subscription.stream_id
        self._input(self.adapter.add, subscription, now)

    def remove(self, stream_id: str) -> None:
        self._input(self.adapter.remove, stream_id, self._io.now(), last=True)

    def dialled(self, result: Transport | DialFailure) -> None:
        self.dialling = False
        if isinstance(result, DialFailure):
            kind = FailKind.RATE_LIMITED if result.status in {418, 429} else FailKind.TRANSIENT
            self._end(Fail(kind=kind, reason=result.reason, retry_after_s=result.retry_after_s))
            return
        if self.closed:
            result.close()
            return
        now = self._io.now()
        self._transport = result
        self.opened_mono = self.last_byte_mono = self.last_data_mono = self._last_ping = now.mono
        self.last_byte_ms = now.wall_ms
        self.heard_mono = now.mono
        self._io.register(self, result)
        self._listener.connected(self)
        self._input(self.adapter.connected, now, vital=True)
        self._flush()
        # Frames that came with the upgrade answer may already wait inside TLS, where epoll can't see them.
        self._io.read_soon(self)

    def probe(self) -> None:
        """Ask for a sign of life: a byte that comes after this proves that the connection is not half-open."""
        if self._transport is not None and not self.closed and self.limits.ping_interval_s is not None:
            self._last_ping = self._io.now().mono
            self._write(self._transport.ping)

    @property
    def waits(self) -> bool:
        """Whether it waits for the venue's budget or for the connect itself. Any thread."""
        return self.dialling or self.calls.waiting

    def answered(self, call: Call, answer: Answer) -> None:
        self._listener.answered(self, answer)
        self._input(self.adapter.answered, call, answer, self._io.now())

    def readable(self) -> bool:
        """Read what is there. Returns True if there may be more than one turn's worth."""
        for _ in range(FRAMES_PER_TURN):
            transport = self._transport
            if transport is None:
                return False
            try:
                frame = transport.read()
            except TransportLost as lost:
                self._end(Fail(kind=FailKind.TRANSIENT, reason=str(lost)))
                return False
            if frame is None:
                return False
            kind, data = frame
            now = self._io.now()
            self.last_byte_mono, self.last_byte_ms = now.mono, now.wall_ms
            if kind is Kind.DATA:
                self._received(data, now)
            elif kind is Kind.PING:
                self._write(partial(transport.pong, data))
            elif kind is Kind.CLOSE:
                self._closed_by_venue(close_text(data))
                return False
            if not self.closed:  # a frame that shows that others are missing proves nothing of the time before it
                self.heard_mono = max(self._io.heard_mono(), self.opened_mono)
        return True

    def _closed_by_venue(self, text: str) -> None:
        reason = f"closed by the venue: {text}"
        wait_s = next((wait_s for part, wait_s in self.limits.close_waits.items() if part in text), None)
        kind = FailKind.TRANSIENT if wait_s is None else FailKind.RATE_LIMITED
        self._control(Fail(kind=kind, reason=reason, retry_after_s=wait_s))

    def _received(self, data: bytes, now: Instant) -> None:
        METRICS.count("frames_total", venue=self.venue, feed=self.feed)
        try:
            outputs = () if self._refused else self.adapter.received(data, now)
        except Exception:
            # One odd frame costs that frame, never the connection.
            METRICS.count("frame_errors_total", venue=self.venue)
            if self._notes.may("frame error", now.mono):
                log.exception("a frame could not be handled", session=self.name, size=len(data))
            return
        if outputs:
            # Its I/O thread looks at the deadlines after the last frame that is there.
            self._carry_out(outputs)

    def _input(
        self, method: Callable[..., Iterable[Output]], *arguments: object, vital: bool = False, last: bool = False
    ) -> None:
        """Give the adapter one input and carry out what it returns. After a `Fail` it gets none (see there), but `last` ones.

        An exception costs this input only, because others may share the connection; after a failed `vital` one (start,
        login) nothing can work, so the session ends.
        """
        if self.closed or (self._refused and not last):
            return
        try:
            outputs = method(*arguments)
        except Exception:
            name = getattr(method, "__name__", "input")
            METRICS.count("frame_errors_total", venue=self.venue)
            if self._notes.may(f"error in {name}", self._io.now().mono):
                log.exception("an adapter failed", session=self.name, input=name)
            if vital:
                self._end(Fail(kind=FailKind.TRANSIENT, reason=f"internal error in the adapter ({name})"))
            return
        self._apply(outputs)

    def _deadline(self) -> float | None:
        return None if self._refused else self.adapter.deadline()

    def timer(self) -> None:
        """The earliest deadline has come."""
        now = self._io.now()
        deadline = self._deadline()
        if deadline is not None and deadline <= now.mono:
            self._input(self.adapter.woken, now)
        if self._transport is not None and not self.closed:
            self._check_transport(now)
        elif self.waits:
            self.calls.looked_mono = now.mono
        elif not self.closed and now.mono - self.calls.only_mono > self._prepare_s:
            self._end(Fail(kind=FailKind.TRANSIENT, reason="no answer to the calls that precede the connect"))
        self._flush()

    def next_wake(self) -> float:
        """When `timer` must run at the latest, monotonic seconds; infinite = nothing is due."""
        times = []
        deadline = self._deadline()
        if deadline is not None:
            times.append(deadline)
        if self._transport is not None:
            times.append(self.last_byte_mono + self.limits.silence_s)
            if self.limits.ping_interval_s is not None:
                times.append(self._last_ping + self.limits.ping_interval_s)
            if not self._joined:
                times.append(self.opened_mono + self.limits.join_timeout_s)
            times.append(self._unsent.next_due())
        elif not self.dialling:
            times.append(self.calls.only_mono + self._prepare_s)
        return min(times, default=math.inf)

    def close(self, *, polite: bool = True, last_holder: bool = False) -> None:
        """End the session on our side; no `lost` follows."""
        if self.closed:
            return
        if last_holder:
            self._input(self.adapter.closing, self._io.now(), last=True)
        self.closed = True
        self._io.dismiss(self)
        transport, self._transport = self._transport, None
        if transport is not None:
            if polite:
                transport.say_goodbye()
            transport.close()

    # --- outputs ---

    def _apply(self, outputs: Iterable[Output]) -> None:
        self._carry_out(outputs)
        self._io.schedule(self)

    def _carry_out(self, outputs: Iterable[Output]) -> None:
        mono = self.last_byte_mono
        refused = self._refused
        for output in outputs:
            if self.closed or self._refused is not refused:
                break
            match output:
                case EmitTickers():
                    self.last_data_mono = mono
                    self._publisher.tickers(output, mono)
                case Seen():
                    self.last_data_mono = mono
                case Emit():
                    self.last_data_mono = mono
                    if not self._publisher.account(output, mono):
                        self._end(Fail(kind=FailKind.TRANSIENT, reason="the event could not be queued: sinks are full"))
                case EmitCandle():
                    self.last_data_mono = mono
                    self._publisher.candle(output, mono)
                case _:
                    self._control(output)

    def _control(self, output: Output) -> None:
        match output:
            case Send(text, urgent):
                if self._unsent.add(text, urgent=urgent):
                    self._flush()
                else:
                    self._end(Fail(kind=FailKind.TRANSIENT, reason=TOO_MANY_UNSENT))
            case Call():
                self._io.call(self, output)
            case Connect():
                self.dialling = True
                self._io.dial(self, output)
            case Live(stream_id, gap):
                self._joined = True
                self._listener.live(self, stream_id, gap)
            case Fail(stream_id=str(stream_id)):
                self._refused = stream_id == self._only
                self._listener.refused(self, stream_id, output)
            case Fail(kind=kind, retry_after_s=retry_after_s):
                if kind is FailKind.RATE_LIMITED and retry_after_s:
                    self._io.limited(self, retry_after_s)
                self._end(output)
            case Rotate(reason):
                self._listener.rotate(self, reason)
            case ClockOffset(offset_ms):
                self._listener.clock_read(self, offset_ms)
            case KeyKind():
                self._listener.key_learnt(self, output)
            case Note():
                if self._notes.told(output, self._io.now().mono) and self.feed == "user":
                    self._listener.noticed(self, output.what)

    def _flush(self) -> None:
        """Send what the venue's message limit allows."""
        transport = self._transport
        while transport is not None and (text := self._unsent.next(self._io.now().mono)) is not None:
            if not self._write(partial(transport.send, text)):
                return

    def _write(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except TransportLost as lost:
            self._end(Fail(kind=FailKind.TRANSIENT, reason=str(lost)))
            return False
        return True

    def _check_transport(self, now: Instant) -> None:
        silent_s = now.mono - self.last_byte_mono
        if silent_s >= self.limits.silence_s:
            self._end(Fail(kind=FailKind.TRANSIENT, reason=f"no byte for {silent_s:.0f} s: the connection is dead"))
        elif not self._joined and now.mono - self.opened_mono >= self.limits.join_timeout_s:
            self._end(Fail(kind=FailKind.TRANSIENT, reason="login and subscribe were not confirmed in time"))
        elif now.mono - self._last_ping >= (self.limits.ping_interval_s or math.inf):
            self.probe()

    def _end(self, fail: Fail) -> None:
        if not self.closed:
            self.close(polite=False)
            self._listener.lost(self, fail)
