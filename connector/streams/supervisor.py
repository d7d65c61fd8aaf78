"""Wanted streams versus running streams of one process: decides on one thread, lets I/O threads do the work.

`want` and `unwant` change what is wanted; everything else follows: placement on sessions, retries with backoff, auth
cooldowns, rotation make-before-break, hand-over. All decisions run on the supervisor's own thread; public methods only post.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.attempts import RESTART_PAUSE_S, Attempts, Stream
from connector.streams.breaker import AuthBreaker
from connector.streams.gaps import Gaps, tell_flaps, tell_gap
from connector.streams.key_kinds import KeyKinds
from connector.streams.lifecycle import CONNECTED_STATES, Signal, StreamState
from connector.streams.pacing import Window
from connector.streams.pipeline import Pipeline
from connector.streams.placement import Placement
from connector.streams.positions import decode_position
from connector.streams.session import Session
from connector.streams.spec import StreamSpec
from connector.streams.stories import Stories
from exchanges._adapter import Answer, Fail, FailKind, GapReport, KeyKind

log = get_logger(__name__)


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
        chance: Chance,
        loop: Loop,
        *,
        flap_threshold: int = 4,
        flap_window_ms: int = 600_000,
        stale_s: float = 8.0,
    ) -> None:
        """`stale_s`: see `Gaps`."""
        self.loop = loop
        self._placement, self._pipeline, self._breaker = placement, pipeline, breaker
        self._clock, self._chance = clock, chance
        self.keys = KeyKinds(clock)
        self.stories = Stories(clock)
        self._attempts = Attempts(loop, placement, pipeline, breaker, clock, chance, self.keys, self.stories)
        self._streams = self._attempts.streams
        self._flap = (flap_threshold, flap_window_ms)
        self._gaps = Gaps(placement, clock, pipeline.lines, stale_s)
        self._observer: Observer | None = None
        placement.listener = self

    def start(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self.loop.start()

    # --- any thread ---

    def want(
        self, spec: StreamSpec, *, position: bytes | None = None, hold: bool = False, unknown: bool = False
    ) -> None:
        """Make the stream run with this spec. `position`: where it stood; `hold`: keep events back until `let_through`;
        `unknown`: it may have run before, and nobody knows where it stood."""
        self.loop.post(partial(self._want, spec, position, hold, unknown))

    def unwant(self, stream_id: str, *, last_holder: bool = False, announce: bool = False) -> None:
        """End the stream. `last_holder`: nobody holds the account any more (listen keys may be deleted);
        `announce`: its last subscriber left."""
        self.loop.post(partial(self._unwant, stream_id, last_holder, announce))

    def let_through(self, stream_id: str, position: bytes | None, *, clean: bool = True, seamless: bool = True) -> None:
        """End of a hand-over: publish what was held back, minus what the former owner published.

        `clean`: the former owner said that it is done; else it is gone, and what it published last is not known.
        `seamless`: its session was alive until this process's one was live; else there is a gap to tell of.
        """
        self.loop.post(partial(self._let_through, stream_id, position, clean, seamless))

    def restart_session(self, name: str, reason: str) -> None:
        """Drop one session; its streams reconnect (watchdogs)."""
        self.loop.post(partial(self._restart_session, name, reason))

    def restart_stream(self, stream_id: str, reason: str) -> None:
        self.loop.post(partial(self._restart_stream, stream_id, reason))

    def spoiled(self, stream_ids: Sequence[str]) -> None:
        """An event of each (twice: two of it) was lost on its way to the primary sink: it is read again."""
        self.loop.post(partial(self._spoiled, Counter(stream_ids)))

    def try_now(self, stream_id: str) -> None:
        """Try the key of a stream that cools down once before its time: a person asks for it."""
        self.loop.post(partial(self._try_now, stream_id))

    def drain(self, stream_id: str) -> None:
        """Mark a stream for hand-over: it stays live, and is not retried if it is lost."""
        self.loop.post(partial(self._drain, stream_id))

    def probe(self, stream_id: str) -> None:
        """Ask the stream's venue for a sign of life; `alive_since` tells later whether it came."""
        self.loop.post(partial(self._probe, stream_id))

    def alive_since(self, stream_id: str, since_ms: int) -> bool:
        """Whether the stream has a session, and something came over it since then. True also if that can't be known, because
        the venue answers no pings: there a quiet account and a dead connection look alike."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.session is None or stream.state not in CONNECTED_STATES:
            return False
        return stream.session.last_byte_ms >= since_ms or stream.session.limits.ping_interval_s is None

    def keep(self, stream_id: str) -> None:
        """The hand-over failed: a stream that drains goes on here."""
        self.loop.post(partial(self._keep_draining, stream_id))

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the supervisor's thread."""
        self.loop.post(work)

    def ids(self) -> set[str]:
        return set(self._streams)

    def has(self, stream_id: str) -> bool:
        return stream_id in self._streams

    def states(self) -> dict[str, StreamState]:
        return {stream_id: stream.state for stream_id, stream in list(self._streams.items())}

    def by_state(self) -> Counter[tuple[StreamState, str]]:
        """How many streams are in which state, by exchange id."""
        return Counter((stream.state, stream.spec.exchange) for stream in list(self._streams.values()))

    def spec(self, stream_id: str) -> StreamSpec | None:
        stream = self._streams.get(stream_id)
        return stream.spec if stream is not None else None

    def live_ms(self, stream_id: str) -> int | None:
        """When the last byte of the live session came, by the venue's clock; None if none is live or a gap is still read."""
        stream = self._streams.get(stream_id)
        session = stream.session if stream is not None else None
        if stream is None or session is None or stream.state not in CONNECTED_STATES:
            return None
        if stream.gap_from_ms is not None:
            return None
        return self._placement.seen_ms(session)

    def position_time_ms(self, stream_id: str) -> int:
        """Up to when everything was seen: the live session's last byte, or the start of the current gap."""
        live = self.live_ms(stream_id)
        if live is not None:
            return live
        stream = self._streams.get(stream_id)
        return (stream.gap_from_ms or 0) if stream is not None else 0

    def stop(self, timeout_s: float) -> bool:
        """Close every session and end the thread; streams stay wanted in the state."""
        self.loop.post(self._stop_all)
        return self.loop.stop(timeout_s)

    # --- Listener: called on I/O threads ---

    def connected(self, session: Session) -> None:
        self.loop.post(partial(self._on_connected, session))

    def live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        self.loop.post(partial(self._on_live, session, stream_id, gap))

    def refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        self.loop.post(partial(self._on_refused, session, stream_id, fail))

    def lost(self, session: Session, fail: Fail) -> None:
        self.loop.post(partial(self._on_lost, session, fail))

    def rotate(self, session: Session, reason: str) -> None:
        self.loop.post(partial(self._attempts.rotate, session, reason))

    def answered(self, session: Session, answer: Answer) -> None:
        self._placement.time.answered(session.venue, answer.headers)

    def clock_read(self, session: Session, offset_ms: int) -> None:
        # At once: the next connection may be about to sign.
        self._placement.clock_read(session.venue, offset_ms)

    def key_learnt(self, session: Session, kind: KeyKind) -> None:
        self.loop.post(partial(self._on_key, session, kind))

    def noticed(self, session: Session, what: str) -> None:
        self.loop.post(partial(self._on_note, session, what))

    # --- wanting ---

    def _want(self, spec: StreamSpec, position: bytes | None, hold: bool, unknown: bool) -> None:
        stream = self._streams.get(spec.stream_id)
        if stream is None:
            self._begin(spec, position, hold, unknown)
            return
        old, stream.spec = stream.spec, spec
        if stream.state is StreamState.STOPPED:
            self._attempts.revive(stream)
        elif stream.state is StreamState.DRAINING:
            return
        elif spec.feed != "user":
            if spec.digest != old.digest:
                self._attempts.resubscribe(stream)
        elif spec.digest != old.digest:
            self._breaker.clear(spec.stream_id)
            self._attempts.reopen(stream, 0.0, "new key material")
        elif spec.generation != old.generation:
            self._attempts.reopen(stream, RESTART_PAUSE_S, "forced restart")

    def _begin(self, spec: StreamSpec, position: bytes | None, hold: bool, unknown: bool) -> None:
        stream = self._streams[spec.stream_id] = Stream(spec, Window(*self._flap))
        self.stories.moved(spec, stream.state)
        if spec.feed == "user":
            # What this process remembers of the gate may be older than what another owner saved since.
            self._breaker.forget(spec.stream_id)
            known = decode_position(position)
            self._pipeline.lines.open(spec.stream_id, spec.exchange, known, hold=hold)
            stream.hold = hold
            stream.announce = not hold
            self._gaps.begun(stream, known, unknown=unknown)
        self._attempts.schedule(stream, 0.0)

    def _unwant(self, stream_id: str, last_holder: bool, announce: bool) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._attempts.signal(stream, Signal.STOP)
            self._attempts.cancel(stream)
            self._attempts.detach(stream, polite=True, last_holder=last_holder)
            self._breaker.forget(stream_id)
            self.keys.ended(stream_id)
        self.stories.ended(stream_id, "its last subscriber left", elsewhere=not last_holder)
        self._pipeline.lines.close(stream_id, announce=announce)
        if self._observer is not None:
            self._observer.stream_closed(stream_id)

    def _stop_all(self) -> None:
        for stream in list(self._streams.values()):
            self._attempts.signal(stream, Signal.STOP)
            self._attempts.cancel(stream)
            self._attempts.detach(stream, polite=True)
        self._streams.clear()
        self.loop.cancel_all()

    # --- signals of sessions ---

    def _on_connected(self, session: Session) -> None:
        for stream in self._attempts.carried(session):
            if stream.session is session and stream.state is StreamState.OPENING:
                self._attempts.signal(stream, Signal.CONNECTED)

    def _on_live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.replacement is session:
            old, stream.session, stream.replacement = stream.session, session, None
            self._attempts.signal(stream, Signal.REPLACED)
            stream.live_since = self._clock.mono()
            self._gaps.settle(stream, gap)
            if old is not None:
                self._attempts.linger(stream, old)
            log.info("stream rotated", stream=stream_id, session=session.name)
            if self._placement.sealed(session):
                self._attempts.rotate(session, "it is being replaced already")
            return
        if stream.session is not session:
            return
        if stream.state is StreamState.OPENING:
            self._attempts.signal(stream, Signal.CONNECTED)
        again = stream.state in CONNECTED_STATES
        self._attempts.signal(stream, Signal.LIVE_SEEN)
        stream.live_since = self._clock.mono()
        gap = self._gaps.ended(stream, gap)
        if stream.hold:
            stream.held_gap = gap
        elif gap is not None:
            self._tell_gap(stream, gap)
        if stream.spec.feed == "user":
            self._user_live(stream, again=again, gap=gap)
        stream.was_live = True
        self._gaps.settle(stream, gap)
        if self._observer is not None:
            self._observer.stream_live(stream_id, stream.spec.exchange)
        if stream.state is StreamState.LIVE and self._placement.sealed(session):
            self._attempts.rotate(session, "it is being replaced already")

    def _tell_gap(self, stream: Stream, gap: GapReport) -> None:
        tell_gap(self._pipeline, stream.spec, gap)
        self.stories.gap(stream.spec.stream_id, gap)

    def _user_live(self, stream: Stream, *, again: bool, gap: GapReport | None) -> None:
        spec = stream.spec
        if stream.hold:
            return
        if stream.announce or again or gap is not None:
            self._pipeline.info(spec.stream_id, spec.exchange)
        flaps = stream.was_live and not again and not self._breaker.suspicious(spec.stream_id)
        if flaps and stream.flaps.add(self._clock.wall_ms()):
            tell_flaps(self._pipeline, spec, *self._flap)
        stream.announce = False

    def _on_refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or session not in (stream.session, stream.replacement):
            return
        if stream.replacement is session and fail.kind not in {FailKind.CREDENTIAL, FailKind.KEY_TYPE}:
            self._placement.leave(session, stream_id, polite=True)
            self._attempts.keep_session(stream, fail.reason)
            return
        self._attempts.lose(stream, fail)

    def _on_key(self, session: Session, kind: KeyKind) -> None:
        stream = self._streams.get(kind.stream_id)
        if stream is not None and session in (stream.session, stream.replacement):
            self.keys.learnt(stream.spec, kind)

    def _on_note(self, session: Session, what: str) -> None:
        for stream in self._attempts.carried(session):
            self.stories.noticed(stream.spec.stream_id, what)

    def _on_lost(self, session: Session, fail: Fail) -> None:
        self._placement.ended(session)
        METRICS.count("reconnects_total", venue=session.venue, reason=fail.kind.value)
        carried = self._attempts.carried(session)
        log.warning(
            "session lost", session=session.name, streams=len(carried), reason=fail.reason, kind=fail.kind.value
        )
        uniform = self._chance.fraction()
        for stream in carried:
            if stream.replacement is session:
                self._attempts.keep_session(stream, fail.reason)
            else:
                self._attempts.lose(stream, fail, session, uniform)

    # --- rotation, restarts, hand-over ---

    def _restart_session(self, name: str, reason: str) -> None:
        session = self._placement.session(name)
        if session is not None:
            self._placement.cut(session)
            self._on_lost(session, Fail(kind=FailKind.TRANSIENT, reason=reason))

    def _restart_stream(self, stream_id: str, reason: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state is not StreamState.DRAINING:
            self._attempts.reopen(stream, RESTART_PAUSE_S, reason)

    def _spoiled(self, lost: Mapping[str, int]) -> None:
        for stream_id, events in lost.items():
            stream = self._streams.get(stream_id)
            since_ms = self._pipeline.lines.confirmed_until_ms(stream_id)
            if stream is None or since_ms is None or stream.state is StreamState.DRAINING:
                continue  # it goes, and leaves the position behind that the next owner repairs it from
            self._gaps.reread(stream, since_ms)
            self._pipeline.lines.fall_back(stream_id, events)
            self._attempts.reopen(stream, RESTART_PAUSE_S, "the disk spoiled events that waited for the broker")

    def _try_now(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state is StreamState.COOLING:
            self._breaker.permit(stream_id)
            self._attempts.reopen(stream, 0.0, "asked for by a person")

    def _drain(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state in {StreamState.LIVE, StreamState.ROTATING}:
            if stream.replacement is not None:
                self._placement.leave(stream.replacement, stream_id, polite=True)
                stream.replacement = None
            self._attempts.signal(stream, Signal.DRAIN)

    def _keep_draining(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.state is StreamState.DRAINING:
            self._attempts.signal(stream, Signal.KEPT)
        elif stream is not None and stream.state is StreamState.STOPPED:
            self._attempts.revive(stream)

    def _probe(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.session is not None:
            self._placement.probe(stream.session)

    def _let_through(self, stream_id: str, position: bytes | None, clean: bool, seamless: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or not stream.hold:
            return
        stream.hold = False
        whole = self._pipeline.lines.let_through(stream_id, decode_position(position), clean=clean)
        gap, stream.held_gap = stream.held_gap, None
        if gap is not None and not (clean and seamless):
            self._tell_gap(stream, gap)
        if stream.state not in CONNECTED_STATES:
            stream.announce = True
        elif stream.announce or not (clean and seamless):
            # The account was without a connection for a while: its bots look for themselves.
            self._pipeline.info(stream_id, stream.spec.exchange)
            stream.announce = False
        if not whole:
            self._attempts.reopen(stream, RESTART_PAUSE_S, "events of a hand-over could not be queued: sinks are full")

    def sweep(self) -> None:
        """Post the periodic look: sessions near their venue's cut are rotated, lost timers are found."""
        self.loop.post(self._attempts.sweep)
