"""Wanted streams versus running streams of one process: decides on one thread, lets I/O threads do the work.

`want` and `unwant` change what is wanted; everything else follows: placement on sessions, retries with backoff, auth
cooldowns, rotation make-before-break, hand-over. All decisions run on the supervisor's own thread; public methods only post.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from core.log import get_logger
from core.metrics import METRICS
from core.ports import Clock
from exchanges._adapter import (
    CandleSubscription,
    Fail,
    FailKind,
    GapReport,
    Resume,
    Subscription,
    TickerSubscription,
    UserSubscription,
)
from streams.breaker import AuthBreaker
from streams.lifecycle import CONNECTED_STATES, Signal, StreamState, move
from streams.pacing import HEALTHY_AFTER_S, Window, backoff_s
from streams.pipeline import OVERLAP_MS, Pipeline, decode_position
from streams.placement import Placement
from streams.session import Session
from streams.spec import StreamSpec

log = get_logger(__name__)

RESTART_PAUSE_S: Final = 0.25
"""Between closing and opening of a forced restart (contract 1.5)."""
JOIN_LIMIT_S: Final = 75.0
"""From the start of an attempt to live; bounds tokens, connect, login, subscribe and gap repair together (A36)."""
REQUEST_RETRY_S: Final = 900.0
"""A topic that the venue refuses (unknown symbol) is asked for again this much later."""
ROTATE_RETRY_S: Final = 30.0
LINGER_S: Final = 1.0
"""A replaced session is read this much longer: what was on its way over it when the new one subscribed comes nowhere else."""


class Timer:
    """Something to do later; `work` is None once it was done or cancelled."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work


class Stream:
    """One stream and where it stands. Supervisor thread only."""

    __slots__ = (
        "announce", "attempt", "failures", "flaps", "gap_from_ms", "hold", "live_since", "replacement", "session", "spec",
        "state", "timer", "was_live",
    )  # fmt: skip

    def __init__(self, spec: StreamSpec, flaps: Window) -> None:
        self.spec = spec
        self.state = StreamState.WAITING
        self.session: Session | None = None
        self.replacement: Session | None = None
        self.failures = 0
        self.timer: Timer | None = None
        """When to try again; every waiting or cooling stream has one, no other has (bug A4)."""
        self.attempt = 0
        self.live_since = 0.0
        self.was_live = False
        self.announce = True
        """Publish `Subscribed to user` when it is live the next time."""
        self.gap_from_ms: int | None = None
        """Last moment that the stream was certainly live; None = it never was."""
        self.hold = False
        self.flaps = flaps


class Observer(Protocol):
    """Told about what matters beyond this process. Called on the supervisor's thread; must only post."""

    def stream_live(self, stream_id: str, exchange: str) -> None: ...

    def stream_closed(self, stream_id: str) -> None: ...


class Supervisor:
    """One per process. Public methods: any thread; `_`-methods: the supervisor's thread."""

    def __init__(
        self,
        placement: Placement,
        pipeline: Pipeline,
        breaker: AuthBreaker,
        clock: Clock,
        *,
        flap_threshold: int = 4,
        flap_window_ms: int = 600_000,
    ) -> None:
        self._placement, self._pipeline, self._breaker, self._clock = placement, pipeline, breaker, clock
        self._flap = (flap_threshold, flap_window_ms)
        self._streams: dict[str, Stream] = {}
        self._lingering: dict[str, list[Session]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._sequence = itertools.count()
        # Signals of sessions and orders of the owner: a few per stream, so bounded by the streams.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._observer: Observer | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        placement.listener = self

    def start(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._thread.start()

    # --- any thread ---

    def want(self, spec: StreamSpec, *, position: bytes | None = None, hold: bool = False) -> None:
        """Make the stream run with this spec. `position`: where it stood; `hold`: keep events back until `release`."""
        self._post(partial(self._want, spec, position, hold))

    def unwant(self, stream_id: str, *, last_holder: bool = False, announce: bool = False) -> None:
        """End the stream. `last_holder`: nobody holds the account any more (listen keys may be deleted);
        `announce`: its last subscriber left."""
        self._post(partial(self._unwant, stream_id, last_holder, announce))

    def release(self, stream_id: str, position: bytes | None, *, clean: bool = True) -> None:
        """End of a hand-over: publish what was held back, minus what the former owner published.

        `clean`: the former owner said that it is done; else it is gone, and what it published last is not known.
        """
        self._post(partial(self._release, stream_id, position, clean))

    def restart_session(self, name: str, reason: str) -> None:
        """Drop one session; its streams reconnect (watchdogs)."""
        self._post(partial(self._restart_session, name, reason))

    def restart_stream(self, stream_id: str, reason: str) -> None:
        self._post(partial(self._restart_stream, stream_id, reason))

    def drain(self, stream_id: str) -> None:
        """Mark a stream for hand-over: it stays live, and is not retried if it is lost."""
        self._post(partial(self._drain, stream_id))

    def keep(self, stream_id: str) -> None:
        """The hand-over failed: a stream that drains goes on here."""
        self._post(partial(self._keep_draining, stream_id))

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the supervisor's thread."""
        self._post(work)

    def ids(self) -> set[str]:
        return set(self._streams)

    def has(self, stream_id: str) -> bool:
        return stream_id in self._streams

    def states(self) -> dict[str, StreamState]:
        return {stream_id: stream.state for stream_id, stream in list(self._streams.items())}

    def spec(self, stream_id: str) -> StreamSpec | None:
        stream = self._streams.get(stream_id)
        return stream.spec if stream is not None else None

    def live_ms(self, stream_id: str) -> int | None:
        """Wall time of the last byte of the stream's live session; None if it is not live, or a gap is still being read."""
        stream = self._streams.get(stream_id)
        session = stream.session if stream is not None else None
        if stream is None or session is None or stream.state not in CONNECTED_STATES:
            return None
        if stream.gap_from_ms is not None:
            return None
        return session.last_byte_ms

    def position_time_ms(self, stream_id: str) -> int:
        """Up to when everything was seen: the live session's last byte, or the start of the current gap."""
        live = self.live_ms(stream_id)
        if live is not None:
            return live
        stream = self._streams.get(stream_id)
        return (stream.gap_from_ms or 0) if stream is not None else 0

    def stop(self, timeout_s: float) -> bool:
        """Close every session and end the thread; streams stay wanted in the state."""
        self._post(self._stop_all)
        self._inbox.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- Listener: called on I/O threads ---

    def connected(self, session: Session) -> None:
        self._post(partial(self._on_connected, session))

    def live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        self._post(partial(self._on_live, session, stream_id, gap))

    def refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        self._post(partial(self._on_refused, session, stream_id, fail))

    def lost(self, session: Session, fail: Fail) -> None:
        self._post(partial(self._on_lost, session, fail))

    def rotate(self, session: Session, reason: str) -> None:
        self._post(partial(self._on_rotate, session, reason))

    def clock_read(self, session: Session, offset_ms: int) -> None:
        # At once: the next connection may be about to sign.
        self._placement.clock_read(session.venue, offset_ms)

    # --- the thread ---

    def _post(self, work: Callable[[], None]) -> None:
        self._inbox.put(work)

    def _at(self, when: float, work: Callable[[], None]) -> Timer:
        timer = Timer(work)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def _cancel(self, stream: Stream) -> None:
        """No retry of this stream is due any more."""
        timer, stream.timer = stream.timer, None
        if timer is None or timer.work is None:
            return
        timer.work = None
        self._cancelled += 1
        # Cooldowns last up to a day and are opened and closed several times a minute: the dead must not pile up.
        if self._cancelled > 1000 and self._cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if entry[2].work is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run(self) -> None:
        while self._turn(5.0):
            continue

    def _turn(self, max_wait_s: float) -> bool:
        """Do one piece of posted work and everything that is due; False after the end was posted."""
        wait_s = max_wait_s
        if self._timers:
            wait_s = min(wait_s, max(0.0, self._timers[0][0] - self._clock.mono()))
        try:
            work = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            pass
        else:
            if work is None:
                return False
            self._guard(work)
        now = self._clock.mono()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            due, timer.work = timer.work, None
            if due is None:
                self._cancelled -= 1
            else:
                self._guard(due)
        return True

    @staticmethod
    def _guard(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("unexpected error on the supervisor's thread")

    def _signal(self, stream: Stream, signal: Signal) -> None:
        before, stream.state = stream.state, move(stream.state, signal)
        if before is not stream.state and stream.spec.feed == "user":
            log.debug("stream moved", stream=stream.spec.stream_id, before=before.value, now=stream.state.value)

    # --- wanting ---

    def _want(self, spec: StreamSpec, position: bytes | None, hold: bool) -> None:
        stream = self._streams.get(spec.stream_id)
        if stream is None:
            self._begin(spec, position, hold)
            return
        old, stream.spec = stream.spec, spec
        if stream.state is StreamState.STOPPED:
            self._revive(stream)
        elif stream.state is StreamState.DRAINING:
            return
        elif spec.feed != "user":
            if spec.digest != old.digest:
                self._resubscribe(stream)
        elif spec.digest != old.digest:
            self._breaker.clear(spec.stream_id)
            self._reopen(stream, 0.0, "new key material")
        elif spec.generation != old.generation:
            self._reopen(stream, RESTART_PAUSE_S, "forced restart")

    def _begin(self, spec: StreamSpec, position: bytes | None, hold: bool) -> None:
        stream = self._streams[spec.stream_id] = Stream(spec, Window(*self._flap))
        if spec.feed == "user":
            # What this process remembers of the gate may be older than what another owner saved since.
            self._breaker.forget(spec.stream_id)
            known = decode_position(position)
            self._pipeline.open_line(spec.stream_id, spec.exchange, known, hold=hold)
            stream.hold = hold
            stream.announce = not hold
            if known is not None and known.live_until_ms:
                stream.gap_from_ms = known.live_until_ms
        self._schedule(stream, 0.0)

    def _reopen(self, stream: Stream, pause_s: float, reason: str) -> None:
        """Close what runs and open again, keeping the stream."""
        log.info("stream reopens", stream=stream.spec.stream_id, reason=reason)
        self._note_gap(stream)
        self._detach(stream, polite=True)
        if stream.state is StreamState.COOLING:
            if self._cooling_until(stream) is not None:
                return
            self._signal(stream, Signal.LIFTED)
        else:
            self._signal(stream, Signal.LOST)
        stream.failures = 0
        stream.announce = True
        self._schedule(stream, pause_s)

    def _resubscribe(self, stream: Stream) -> None:
        """Other symbols than before: the new session gets live before the old one ends, so that no price is missed."""
        if stream.replacement is not None:
            self._placement.leave(stream.replacement, stream.spec.stream_id, polite=True)
            stream.replacement = None
            self._signal(stream, Signal.KEPT)
        if stream.state is StreamState.LIVE and stream.session is not None:
            self._placement.retire(stream.session)
            self._rotate(stream, stream.session)
        elif stream.session is not None:
            self._reopen(stream, 0.0, "other symbols")

    def _revive(self, stream: Stream) -> None:
        """A stream that was lost while it drained is wanted here again; its line was never closed."""
        again = self._streams[stream.spec.stream_id] = Stream(stream.spec, stream.flaps)
        again.gap_from_ms, again.was_live = stream.gap_from_ms, stream.was_live
        self._schedule(again, 0.0)

    def _unwant(self, stream_id: str, last_holder: bool, announce: bool) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._signal(stream, Signal.STOP)
            self._cancel(stream)
            self._detach(stream, polite=True, last_holder=last_holder)
            self._breaker.forget(stream_id)
        self._pipeline.close_line(stream_id, announce=announce)
        if self._observer is not None:
            self._observer.stream_closed(stream_id)

    def _detach(self, stream: Stream, *, polite: bool, last_holder: bool = False) -> None:
        for replaced in list(self._lingering.get(stream.spec.stream_id, ())):
            self._end_linger(replaced, stream.spec.stream_id)
        for session in (stream.session, stream.replacement):
            if session is not None:
                self._placement.leave(session, stream.spec.stream_id, polite=polite, last_holder=last_holder)
        stream.session = stream.replacement = None

    def _stop_all(self) -> None:
        for stream in list(self._streams.values()):
            self._signal(stream, Signal.STOP)
            self._cancel(stream)
            self._detach(stream, polite=True)
        self._streams.clear()
        self._timers.clear()

    # --- trying ---

    def _schedule(self, stream: Stream, delay_s: float) -> None:
        self._cancel(stream)
        stream.timer = self._at(self._clock.mono() + delay_s, partial(self._due, stream))

    def _due(self, stream: Stream) -> None:
        stream.timer = None
        if stream.state not in {StreamState.WAITING, StreamState.COOLING}:
            return
        until_ms = self._cooling_until(stream)
        if until_ms is not None:
            if stream.state is StreamState.WAITING:
                self._signal(stream, Signal.REFUSED)
                self._breaker.skipped(stream.spec.stream_id)
            self._schedule(stream, max(1.0, (until_ms - self._clock.wall_ms()) / 1000))
            return
        self._signal(stream, Signal.DUE)
        self._attempt(stream)

    def _cooling_until(self, stream: Stream) -> int | None:
        if stream.spec.feed != "user":
            return None
        return self._breaker.blocked_until_ms(stream.spec.stream_id, stream.spec.digest, owned=True)

    def _attempt(self, stream: Stream) -> None:
        stream.attempt += 1
        subscription = self._subscription(stream)
        if subscription is None:
            log.warning(
                "stream can't open: its credentials are not known in this process; set CREDENTIALS_KEYS, "
                "or wait until the backend opens it again",
                stream=stream.spec.stream_id,
            )
            self._signal(stream, Signal.LOST)
            self._schedule(stream, REQUEST_RETRY_S)
            return
        try:
            session = self._placement.join(stream.spec, subscription)
        except Exception:
            log.exception("stream can't open: no session could be made", stream=stream.spec.stream_id)
            self._signal(stream, Signal.LOST)
            self._schedule(stream, REQUEST_RETRY_S)
            return
        stream.session = session
        limit_s = max(JOIN_LIMIT_S, session.limits.join_timeout_s)
        self._at(self._clock.mono() + limit_s, partial(self._too_late, stream, session, stream.attempt))
        if session.opened_mono:
            self._signal(stream, Signal.CONNECTED)

    def _too_late(self, stream: Stream, session: Session, attempt: int) -> None:
        joining = stream.state in {StreamState.OPENING, StreamState.JOINING}
        if stream.attempt != attempt or stream.session is not session or not joining:
            return
        patient = session.opened_mono + session.limits.join_timeout_s > self._clock.mono()
        if session.dialling or (session.opened_mono and patient):
            # It waits for the venue's connect budget, or for a venue that takes its time, which is not its fault.
            self._at(self._clock.mono() + JOIN_LIMIT_S, partial(self._too_late, stream, session, attempt))
            return
        self._lose(stream, Fail(kind=FailKind.TRANSIENT, reason="the stream did not become live in time"))

    def _subscription(self, stream: Stream) -> Subscription | None:
        spec = stream.spec
        if spec.feed == "ticker":
            return TickerSubscription(stream_id=spec.stream_id, exchange=spec.exchange, symbols=spec.symbols)
        if spec.feed == "candle":
            return CandleSubscription(
                stream_id=spec.stream_id,
                exchange=spec.exchange,
                symbol=spec.symbol,
                interval=spec.interval,
                resume_start_ms=self._pipeline.last_candle_ms(spec.exchange, spec.symbol, spec.interval),
            )
        if spec.credentials is None:
            return None
        resume: Resume | None = None
        if stream.gap_from_ms is not None:
            resume = self._pipeline.resume(spec.stream_id, stream.gap_from_ms)
        return UserSubscription(
            stream_id=spec.stream_id, exchange=spec.exchange, credentials=spec.credentials, resume=resume
        )

    # --- signals of sessions ---

    def _carried(self, session: Session) -> list[Stream]:
        return [
            stream
            for stream_id in list(session.streams)
            if (stream := self._streams.get(stream_id)) is not None
            and (stream.session is session or stream.replacement is session)
        ]

    def _on_connected(self, session: Session) -> None:
        for stream in self._carried(session):
            if stream.session is session and stream.state is StreamState.OPENING:
                self._signal(stream, Signal.CONNECTED)

    def _on_live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.replacement is session:
            old, stream.session, stream.replacement = stream.session, session, None
            self._signal(stream, Signal.REPLACED)
            stream.live_since = self._clock.mono()
            self._settle_gap(stream, gap)
            if old is not None:
                self._lingering.setdefault(stream_id, []).append(old)
                self._at(stream.live_since + LINGER_S, partial(self._end_linger, old, stream_id))
            log.info("stream rotated", stream=stream_id, session=session.name)
            if self._placement.retired(session):
                self._on_rotate(session, "it is being replaced already")
            return
        if stream.session is not session:
            return
        if stream.state is StreamState.OPENING:
            self._signal(stream, Signal.CONNECTED)
        again = stream.state in CONNECTED_STATES
        self._signal(stream, Signal.LIVE_SEEN)
        stream.live_since = self._clock.mono()
        if gap is not None and not stream.hold:
            self._tell_gap(stream, gap)
        if stream.spec.feed == "user":
            self._user_live(stream, again=again, gap=gap)
        stream.was_live = True
        self._settle_gap(stream, gap)
        if self._observer is not None:
            self._observer.stream_live(stream_id, stream.spec.exchange)
        if stream.state is StreamState.LIVE and self._placement.retired(session):
            self._on_rotate(session, "it is being replaced already")

    @staticmethod
    def _settle_gap(stream: Stream, gap: GapReport | None) -> None:
        """A gap that is still being read stays the start of the next repair, here and in the saved position."""
        stream.gap_from_ms = gap.from_ms + OVERLAP_MS if gap is not None and not gap.complete else None

    def _end_linger(self, session: Session, stream_id: str) -> None:
        left = self._lingering.get(stream_id, [])
        if session in left:
            left.remove(session)
            self._placement.leave(session, stream_id, polite=True)
        if not left:
            self._lingering.pop(stream_id, None)

    def _user_live(self, stream: Stream, *, again: bool, gap: GapReport | None) -> None:
        spec = stream.spec
        if stream.hold:
            return
        if stream.announce or again or gap is not None:
            self._pipeline.info(spec.stream_id, spec.exchange)
        if stream.was_live and not again and not self._breaker.suspicious(spec.stream_id):
            self._count_flap(stream)
        stream.announce = False

    def _count_flap(self, stream: Stream) -> None:
        threshold, window_ms = self._flap
        if stream.flaps.add(self._clock.wall_ms()):
            flap = {
                "exchange": stream.spec.exchange,
                "userId": stream.spec.stream_id,
                "reconnects": threshold,
                "windowSec": window_ms // 1000,
            }
            self._pipeline.service("userStreamFlap", flap)

    def _tell_gap(self, stream: Stream, gap: GapReport) -> None:
        METRICS.observe("gap_seconds", max(0, gap.to_ms - gap.from_ms - OVERLAP_MS) / 1000, venue=stream.spec.exchange)
        told = {
            "exchange": stream.spec.exchange,
            "stream": stream.spec.stream_id,
            "from": gap.from_ms,
            "to": gap.to_ms,
            "orders": gap.orders,
            "balances": gap.balances,
            "candles": gap.candles,
            "missing": list(gap.missing),
        }
        METRICS.count("gaps_total", venue=stream.spec.exchange, result="partial" if gap.missing else "complete")
        self._pipeline.service("streamGap", told, redis=False)

    def _on_refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or session not in (stream.session, stream.replacement):
            return
        if stream.replacement is session and fail.kind not in {FailKind.CREDENTIAL, FailKind.KEY_TYPE}:
            self._placement.leave(session, stream_id, polite=True)
            self._keep(stream, fail.reason)
            return
        self._lose(stream, fail)

    def _on_lost(self, session: Session, fail: Fail) -> None:
        self._placement.ended(session)
        METRICS.count("reconnects_total", venue=session.venue, reason=fail.kind.value)
        carried = self._carried(session)
        log.warning(
            "session lost", session=session.name, streams=len(carried), reason=fail.reason, kind=fail.kind.value
        )
        uniform = random.random()
        for stream in carried:
            if stream.replacement is session:
                self._keep(stream, fail.reason)
            else:
                self._lose(stream, fail, session, uniform)

    def _keep(self, stream: Stream, reason: str) -> None:
        stream.replacement = None
        if stream.state is StreamState.ROTATING:
            self._signal(stream, Signal.KEPT)
            log.warning("rotation failed, the old session goes on", stream=stream.spec.stream_id, reason=reason)
            session = stream.session
            if session is not None:
                again = partial(self._on_rotate, session, "again after a failed rotation")
                self._at(self._clock.mono() + ROTATE_RETRY_S, again)

    def _note_gap(self, stream: Stream, lost: Session | None = None) -> None:
        session = lost or stream.session
        if session is not None and stream.state in CONNECTED_STATES and stream.gap_from_ms is None:
            stream.gap_from_ms = session.last_byte_ms

    def _lose(self, stream: Stream, fail: Fail, lost: Session | None = None, uniform: float | None = None) -> None:
        self._note_gap(stream, lost)
        healthy = stream.state in CONNECTED_STATES and self._clock.mono() - stream.live_since >= HEALTHY_AFTER_S
        self._detach(stream, polite=True)
        if stream.state is StreamState.DRAINING:
            self._signal(stream, Signal.LOST)
            return
        stream.announce = True
        if fail.kind in {FailKind.CREDENTIAL, FailKind.KEY_TYPE} and stream.spec.feed == "user":
            spec = stream.spec
            until = self._breaker.rejected(spec.stream_id, spec.exchange, spec.user_id, spec.digest, fail)
            if until is not None:
                self._signal(stream, Signal.REFUSED)
                self._schedule(stream, max(1.0, (until - self._clock.wall_ms()) / 1000))
                return
        self._signal(stream, Signal.LOST)
        if healthy:
            stream.failures = 0
        floor_s = fail.retry_after_s or 0.0
        if fail.kind is FailKind.REQUEST:
            floor_s = max(floor_s, REQUEST_RETRY_S)
            log.warning("the venue refuses this subscription", stream=stream.spec.stream_id, reason=fail.reason)
        jitter = random.random() if uniform is None else uniform
        delay_s = backoff_s(stream.failures, jitter, floor_s)
        stream.failures += 1
        self._schedule(stream, delay_s)

    # --- rotation, restarts, hand-over ---

    def _on_rotate(self, session: Session, reason: str) -> None:
        streams = [
            stream
            for stream in self._carried(session)
            if stream.session is session and stream.state is StreamState.LIVE and stream.replacement is None
        ]
        if streams:
            log.info("rotating a session", session=session.name, streams=len(streams), reason=reason)
        self._placement.retire(session)
        for stream in streams:
            self._rotate(stream, session)

    def _rotate(self, stream: Stream, session: Session) -> None:
        """Give a live stream a session beside its own."""
        subscription = self._subscription(stream)
        if subscription is None:
            return
        try:
            replacement = self._placement.join(stream.spec, subscription, beside=session)
        except Exception:
            log.exception("rotation failed: no session could be made", stream=stream.spec.stream_id)
            return
        self._signal(stream, Signal.ROTATE)
        stream.replacement = replacement
        self._at(self._clock.mono() + JOIN_LIMIT_S, partial(self._replacement_late, stream, replacement))

    def _replacement_late(self, stream: Stream, replacement: Session) -> None:
        if stream.replacement is not replacement or stream.state is not StreamState.ROTATING:
            return
        if replacement.dialling:
            self._at(self._clock.mono() + JOIN_LIMIT_S, partial(self._replacement_late, stream, replacement))
            return
        self._placement.leave(replacement, stream.spec.stream_id, polite=True)
        self._keep(stream, "the replacement did not become live in time")

    def _restart_session(self, name: str, reason: str) -> None:
        session = self._placement.session(name)
        if session is not None:
            self._placement.drop(session)
            self._on_lost(session, Fail(kind=FailKind.TRANSIENT, reason=reason))

    def _restart_stream(self, stream_id: str, reason: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state is not StreamState.DRAINING:
            self._reopen(stream, RESTART_PAUSE_S, reason)

    def _drain(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.state in {StreamState.LIVE, StreamState.ROTATING}:
            if stream.replacement is not None:
                self._placement.leave(stream.replacement, stream_id, polite=True)
                stream.replacement = None
            self._signal(stream, Signal.DRAIN)

    def _keep_draining(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state is StreamState.DRAINING:
            self._signal(stream, Signal.KEPT)
        elif stream is not None and stream.state is StreamState.STOPPED:
            self._revive(stream)

    def _release(self, stream_id: str, position: bytes | None, clean: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.hold:
            return
        stream.hold = False
        whole = self._pipeline.release(stream_id, decode_position(position), clean=clean)
        if stream.state not in CONNECTED_STATES:
            stream.announce = True
        elif stream.announce or not clean:
            # The account was without a connection for a while: its bots look for themselves.
            self._pipeline.info(stream_id, stream.spec.exchange)
            stream.announce = False
        if not whole:
            self._reopen(stream, RESTART_PAUSE_S, "events of a hand-over could not be queued: sinks are full")

    def sweep(self) -> None:
        """Post the periodic look: sessions near their venue's cut are rotated, lost timers are found."""
        self._post(self._sweep)

    def _sweep(self) -> None:
        for session in self._placement.aged():
            self._on_rotate(session, "lifetime")
        for stream in self._streams.values():
            waits = stream.state in {StreamState.WAITING, StreamState.COOLING}
            if waits and stream.timer is None:
                log.error("a stream had no timer; the sweep gave it one", stream=stream.spec.stream_id)
                self._schedule(stream, 1.0)
            elif not waits and stream.state is not StreamState.STOPPED and stream.session is None:
                log.error("a stream had no session; it is opened again", stream=stream.spec.stream_id)
                self._lose(stream, Fail(kind=FailKind.TRANSIENT, reason="no session"))
