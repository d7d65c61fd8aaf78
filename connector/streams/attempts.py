"""The tries of every stream: placing it on a session, waiting, cooling down, replacing the session, giving up an attempt.

The supervisor's thread only. What is wanted, and what sessions say, is in `connector.streams.supervisor`.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.loop import Loop, Timer
from connector.core.ports import Clock
from connector.core.slices import Slices
from connector.core.traces import TRACES
from connector.streams.breaker import AuthBreaker
from connector.streams.key_kinds import KeyKinds
from connector.streams.lifecycle import CONNECTED_STATES, Signal, StreamState, move
from connector.streams.pacing import LINGER_S, Window, backoff_s, forgiven
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.session import Session
from connector.streams.spec import StreamSpec
from connector.streams.stories import Stories
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

log = get_logger(__name__)

RESTART_PAUSE_S: Final = 0.25
"""Between closing and opening of a forced restart (contract 1.5)."""
JOIN_LIMIT_S: Final = 75.0
"""From the start of an attempt to live; bounds tokens, connect, login, subscribe and gap repair together (A36)."""
REQUEST_RETRY_S: Final = 900.0
"""A topic that the venue refuses (unknown symbol) is asked for again this much later."""
ROTATE_RETRY_S: Final = 30.0
KEYS_UNKNOWN: Final = (
    "its credentials are not known in this process (README, Credentials at rest): the backend has to open it again"
)
STILL_COOLING: Final = "the exchange refused this key before, and it is not tried again yet"
SWEEP_LOOKS: Final = 10
"""Each stream is looked at by every so-manieth sweep, of a second each: a sweep finds only what should not be."""


class Stream:
    """One stream and where it stands. Supervisor thread only."""

    __slots__ = (
        "announce", "attempt", "closed_seen", "failures", "flaps", "gap_from_ms", "held_gap", "hold", "live_since",
        "past_unknown", "replacement", "session", "spec", "state", "timer", "was_live",
    )  # fmt: skip

    def __init__(self, spec: StreamSpec, flaps: Window) -> None:
        self.spec = spec
        self.held_gap: GapReport | None = None
        """What the repair of a stream that is taken from another process found: told only if there was a gap at all."""
        self.state = StreamState.WAITING
        self.session: Session | None = None
        self.replacement: Session | None = None
        self.closed_seen: Session | None = None
        """The session that the last sweep found closed."""
        self.failures = 0
        self.timer: Timer | None = None
        """When to try again; every waiting or cooling stream has one, no other has (bug A4)."""
        self.attempt = 0
        self.live_since = 0.0
        self.was_live = False
        self.announce = True
        """Publish `Subscribed to user` when it is live the next time."""
        self.gap_from_ms: int | None = None
        """Last moment that the stream was certainly live, by the venue's clock; None = it never was."""
        self.past_unknown = False
        """It may have run before, and nobody knows where it stood: to be told when it is live."""
        self.hold = False
        self.flaps = flaps


class Attempts:
    """Every stream of the process, and what is done so that it gets and stays live. Supervisor thread only."""

    def __init__(
        self,
        loop: Loop,
        placement: Placement,
        pipeline: Pipeline,
        breaker: AuthBreaker,
        clock: Clock,
        chance: Chance,
        keys: KeyKinds,
        stories: Stories,
    ) -> None:
        self._keys, self._stories = keys, stories
        self._loop, self._clock, self._chance = loop, clock, chance
        self._placement, self._pipeline, self._breaker = placement, pipeline, breaker
        self.streams: dict[str, Stream] = {}
        self._looks: Slices[str] = Slices(SWEEP_LOOKS)
        self._lingering: dict[str, list[Session]] = {}

    def signal(self, stream: Stream, signal: Signal, reason: str = "", kind: FailKind | None = None) -> None:
        """`reason`: what went wrong, for the story of the stream."""
        before, stream.state = stream.state, move(stream.state, signal)
        if before is not stream.state or reason:
            self._stories.moved(stream.spec, stream.state, reason, kind)
        if before is not stream.state:
            TRACES.moved(id(self), stream.spec.stream_id, stream.spec.exchange, stream.state.value, reason)
        if before is not stream.state and stream.spec.feed == "user":
            log.debug("stream moved", stream=stream.spec.stream_id, before=before.value, now=stream.state.value)

    def reopen(self, stream: Stream, pause_s: float, reason: str) -> None:
        """Close what runs and open again, keeping the stream."""
        log.info("stream reopens", stream=stream.spec.stream_id, reason=reason)
        self._note_gap(stream)
        self.detach(stream, polite=True)
        if stream.state is StreamState.COOLING:
            if self._cooling_until(stream) is not None:
                return
            self.signal(stream, Signal.LIFTED, reason)
        else:
            self.signal(stream, Signal.LOST, reason)
        stream.failures = 0
        stream.announce = True
        self.schedule(stream, pause_s)

    def revive(self, stream: Stream) -> None:
        """A stream that was lost while it drained is wanted here again; its line was never closed."""
        again = self.streams[stream.spec.stream_id] = Stream(stream.spec, stream.flaps)
        again.gap_from_ms, again.was_live = stream.gap_from_ms, stream.was_live
        again.past_unknown = stream.past_unknown
        self._stories.moved(again.spec, again.state)
        self.schedule(again, 0.0)

    def resubscribe(self, stream: Stream) -> None:
        """Other symbols than before: the new session gets live before the old one ends, so that no price is missed."""
        if stream.replacement is not None:
            self._placement.leave(stream.replacement, stream.spec.stream_id, polite=True)
            stream.replacement = None
            self.signal(stream, Signal.KEPT)
        if stream.state is StreamState.LIVE and stream.session is not None:
            self._placement.seal(stream.session)
            self._replace(stream, stream.session)
        elif stream.session is not None:
            self.reopen(stream, 0.0, "other symbols")

    def detach(self, stream: Stream, *, polite: bool, last_holder: bool = False) -> None:
        for replaced in list(self._lingering.get(stream.spec.stream_id, ())):
            self._end_linger(replaced, stream.spec.stream_id)
        for session in (stream.session, stream.replacement):
            if session is not None:
                self._placement.leave(session, stream.spec.stream_id, polite=polite, last_holder=last_holder)
        stream.session = stream.replacement = None

    def linger(self, stream: Stream, replaced: Session) -> None:
        """Read a session a moment longer than the one that replaced it is live."""
        stream_id = stream.spec.stream_id
        self._lingering.setdefault(stream_id, []).append(replaced)
        self._loop.after(LINGER_S, partial(self._end_linger, replaced, stream_id))

    def _end_linger(self, session: Session, stream_id: str) -> None:
        left = self._lingering.get(stream_id, [])
        if session in left:
            left.remove(session)
            self._placement.leave(session, stream_id, polite=True)
        if not left:
            self._lingering.pop(stream_id, None)

    def schedule(self, stream: Stream, delay_s: float) -> None:
        self.cancel(stream)
        stream.timer = self._loop.after(delay_s, partial(self._due, stream))
        self._stories.planned(stream.spec.stream_id, delay_s)

    def cancel(self, stream: Stream) -> None:
        """No retry of this stream is due any more."""
        timer, stream.timer = stream.timer, None
        self._loop.cancel(timer)

    def _due(self, stream: Stream) -> None:
        stream.timer = None
        if stream.state not in {StreamState.WAITING, StreamState.COOLING}:
            return
        until_ms = self._cooling_until(stream)
        if until_ms is not None:
            if stream.state is StreamState.WAITING:
                self.signal(stream, Signal.REFUSED, STILL_COOLING)
                self._breaker.skipped(stream.spec.stream_id)
            self.schedule(stream, max(1.0, (until_ms - self._clock.wall_ms()) / 1000))
            return
        self.signal(stream, Signal.DUE)
        self._attempt(stream)

    def _cooling_until(self, stream: Stream) -> int | None:
        if stream.spec.feed != "user":
            return None
        return self._breaker.blocked_until_ms(stream.spec.stream_id, stream.spec.digest, owned=True)

    def _attempt(self, stream: Stream) -> None:
        stream.attempt += 1
        subscription = self._subscription(stream)
        if subscription is None:
            log.warning(f"stream can't open: {KEYS_UNKNOWN}", code="WSC-KEYS-UNKNOWN", stream=stream.spec.stream_id)
            self.signal(stream, Signal.LOST, KEYS_UNKNOWN)
            self.schedule(stream, REQUEST_RETRY_S)
            return
        try:
            session = self._placement.join(stream.spec, subscription)
        except Exception:
            log.exception("stream can't open: no session could be made", stream=stream.spec.stream_id)
            self.signal(stream, Signal.LOST, "no session could be made: see the log")
            self.schedule(stream, REQUEST_RETRY_S)
            return
        stream.session = session
        limit_s = max(JOIN_LIMIT_S, session.limits.join_timeout_s)
        self._loop.after(limit_s, partial(self._too_late, stream, session, stream.attempt))
        if session.opened_mono:
            self.signal(stream, Signal.CONNECTED)

    def _too_late(self, stream: Stream, session: Session, attempt: int) -> None:
        joining = stream.state in {StreamState.OPENING, StreamState.JOINING}
        if stream.attempt != attempt or stream.session is not session or not joining:
            return
        patient = session.opened_mono + session.limits.join_timeout_s > self._clock.mono()
        if session.waits or (session.opened_mono and patient):
            # It waits for the venue's budget, or for a venue that takes its time, which is not its fault.
            self._loop.after(JOIN_LIMIT_S, partial(self._too_late, stream, session, attempt))
            return
        self.lose(stream, Fail(kind=FailKind.TRANSIENT, reason="the stream did not become live in time"))

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
                resume_start_ms=self._pipeline.market.last_candle_ms(spec.exchange, spec.symbol, spec.interval),
            )
        if spec.credentials is None:
            return None
        resume: Resume | None = None
        if stream.gap_from_ms is not None:
            resume = self._pipeline.lines.resume(spec.stream_id, stream.gap_from_ms)
        return UserSubscription(
            stream_id=spec.stream_id,
            exchange=spec.exchange,
            credentials=spec.credentials,
            resume=resume,
            key_kind=self._keys.kind_of(spec),
        )

    def carried(self, session: Session) -> list[Stream]:
        return [
            stream
            for stream_id in sorted(session.streams)
            if (stream := self.streams.get(stream_id)) is not None
            and (stream.session is session or stream.replacement is session)
        ]

    def _note_gap(self, stream: Stream, lost: Session | None = None) -> None:
        session = lost or stream.session
        if session is not None and stream.state in CONNECTED_STATES and stream.gap_from_ms is None:
            stream.gap_from_ms = self._placement.seen_ms(session)

    def lose(self, stream: Stream, fail: Fail, lost: Session | None = None, uniform: float | None = None) -> None:
        self._note_gap(stream, lost)
        live_s = self._clock.mono() - stream.live_since if stream.state in CONNECTED_STATES else 0.0
        self.detach(stream, polite=True)
        if stream.state is StreamState.DRAINING:
            self.signal(stream, Signal.LOST)
            return
        stream.announce = True
        if fail.kind in {FailKind.CREDENTIAL, FailKind.KEY_TYPE} and stream.spec.feed == "user":
            spec = stream.spec
            until = self._breaker.rejected(spec.stream_id, spec.exchange, spec.user_id, spec.digest, fail)
            if until is not None:
                self.signal(stream, Signal.REFUSED, fail.reason, fail.kind)
                self.schedule(stream, max(1.0, (until - self._clock.wall_ms()) / 1000))
                return
        self.signal(stream, Signal.LOST, fail.reason, fail.kind)
        stream.failures = forgiven(stream.failures, live_s)
        floor_s = fail.retry_after_s or 0.0
        if fail.kind is FailKind.REQUEST:
            floor_s = max(floor_s, REQUEST_RETRY_S)
            log.warning("the venue refuses this subscription", stream=stream.spec.stream_id, reason=fail.reason)
        jitter = self._chance.fraction() if uniform is None else uniform
        delay_s = backoff_s(stream.failures, jitter, floor_s)
        stream.failures += 1
        self.schedule(stream, delay_s)

    def keep_session(self, stream: Stream, reason: str) -> None:
        stream.replacement = None
        if stream.state is StreamState.ROTATING:
            self.signal(stream, Signal.KEPT)
            log.warning("rotation failed, the old session goes on", stream=stream.spec.stream_id, reason=reason)
            session = stream.session
            if session is not None:
                again = partial(self.rotate, session, "again after a failed rotation")
                self._loop.after(ROTATE_RETRY_S, again)

    def rotate(self, session: Session, reason: str) -> None:
        streams = [
            stream
            for stream in self.carried(session)
            if stream.session is session and stream.state is StreamState.LIVE and stream.replacement is None
        ]
        if streams:
            log.info("rotating a session", session=session.name, streams=len(streams), reason=reason)
        self._placement.seal(session)
        for stream in streams:
            self._replace(stream, session)

    def _replace(self, stream: Stream, session: Session) -> None:
        """Give a live stream a session beside its own."""
        subscription = self._subscription(stream)
        if subscription is None:
            return
        try:
            replacement = self._placement.join(stream.spec, subscription, beside=session)
        except Exception:
            log.exception("rotation failed: no session could be made", stream=stream.spec.stream_id)
            return
        self.signal(stream, Signal.ROTATE)
        stream.replacement = replacement
        self._loop.after(JOIN_LIMIT_S, partial(self._replacement_late, stream, replacement))

    def _replacement_late(self, stream: Stream, replacement: Session) -> None:
        if stream.replacement is not replacement or stream.state is not StreamState.ROTATING:
            return
        if replacement.waits:
            self._loop.after(JOIN_LIMIT_S, partial(self._replacement_late, stream, replacement))
            return
        self._placement.leave(replacement, stream.spec.stream_id, polite=True)
        self.keep_session(stream, "the replacement did not become live in time")

    def sweep(self) -> None:
        for session in self._placement.aged():
            self.rotate(session, "lifetime")
        for stream_id in self._looks.next(self.streams):
            stream = self.streams.get(stream_id)
            if stream is None:
                continue
            waits = stream.state in {StreamState.WAITING, StreamState.COOLING}
            if waits and stream.timer is None:
                log.error("a stream had no timer; the sweep gave it one", stream=stream.spec.stream_id)
                self.schedule(stream, 1.0)
            elif not waits and stream.state is not StreamState.STOPPED:
                self._sweep_session(stream)

    def _sweep_session(self, stream: Stream) -> None:
        session = stream.session
        if session is not None and not session.closed:
            stream.closed_seen = None
        elif session is not None and stream.closed_seen is not session:
            stream.closed_seen = session  # what ended it is being told; if not, the next sweep finds it closed again
        else:
            log.error("a stream had no session; it is opened again", stream=stream.spec.stream_id)
            self.lose(stream, Fail(kind=FailKind.TRANSIENT, reason="no session"))
