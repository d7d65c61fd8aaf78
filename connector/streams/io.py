"""The I/O threads: each drives many non-blocking connections with one poller, and is the only one to touch them.

A connection belongs to exactly one I/O thread, which alone reads and writes it. Other threads
`post` callables, which wakes the thread.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.pace import Pace
from connector.core.ports import Clock
from connector.core.slices import Slices
from connector.streams.dial import Dialler
from connector.streams.poller import Poller
from connector.streams.rest import Rest
from connector.streams.session import Session
from connector.streams.transport import Transport
from exchanges._adapter import Call, Connect, Instant

log = get_logger(__name__)

MAX_WAIT_S = 2.0
STALL_S = 2.0
"""A look at the connections that is so late means that the thread, or the machine, stood still. Together with `MAX_WAIT_S`
less than what gap repair reads beyond the gap: a shorter stall needs no care."""
AFTER_STALL_S = 30.0
"""What a venue sent or tried to send in a stall arrives within this time, or within as long as the stall took: a peer that
got no acknowledgement waits longer with each repetition."""
OVERDUE_LOOKS = 10
BUSY_PER_S = 500.0
GATHER_S = 0.001
"""Beyond so many readable connections a second the thread waits that long between two turns: each turn has several of them
then, and those whom it wakes do not take turns with it for each."""
TIMER_PAUSE_S = 0.02
"""At least this long between two looks at the deadlines of one session."""


class IoThread:
    """One thread, many sessions. `post` and `stop` may be called from any thread.

    `threaded` False: `start` makes no thread; whoever made it calls `turn`, and `next_due` tells when that has a point.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        dialler: Dialler,
        rest: Rest,
        poller: Poller[Session],
        *,
        threaded: bool = True,
    ) -> None:
        self.name = name
        self._clock, self._dialler, self._rest, self._poller = clock, dialler, rest, poller
        # One entry per signal of a session or order of the supervisor, drained each turn: bounded by the sessions.
        self._inbox: deque[Callable[[], None]] = deque()
        self._heap: list[tuple[float, int, Session]] = []
        self._sequence = itertools.count()
        # Dictionaries, because they keep their order: the same inputs lead to the same outputs in the same order.
        self._more: dict[Session, None] = {}
        self._sessions: dict[Session, None] = {}
        self._registered: set[Session] = set()
        self._stopping = False
        self._ended = False
        self._now = Instant(clock.mono(), clock.wall_ms())
        self._looks: Slices[Session] = Slices(OVERDUE_LOOKS)
        self._pace, self._breath = Pace(BUSY_PER_S), threading.Event()
        self._looked_mono = self._now.mono
        """When the connections were last looked at."""
        self._stall: tuple[float, float] | None = None
        """The last stall, while its frames may still arrive: when it began, and until when, monotonic seconds."""
        self.thread = threading.Thread(target=self._run, name=name, daemon=True) if threaded else None

    # --- any thread ---

    def start(self) -> None:
        if self.thread is not None:
            self.thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the I/O thread, soon, in the order of the posts."""
        self._inbox.append(work)
        self._poller.wake()
        if self._ended:
            self._run_inbox()

    @property
    def alive_mono(self) -> float:
        """When the thread last began something, on the monotonic clock."""
        return self._now.mono

    def open_connections(self) -> int:
        return len(self._registered)

    def stop(self, timeout_s: float) -> bool:
        """Close every connection and end the thread."""
        self.post(self._stop)
        if self.thread is None:
            self._end()
            return True
        self.thread.join(timeout_s)
        return not self.thread.is_alive()

    # --- I/O thread ---

    def now(self) -> Instant:
        return self._now

    def heard_mono(self) -> float:
        return self._now.mono if self._stall is None else self._stall[0]

    def adopt(self, session: Session) -> None:
        self._sessions[session] = None

    def register(self, session: Session, transport: Transport) -> None:
        if not transport.closed:
            self._registered.add(session)
            self._poller.watch(session, transport)

    def read_soon(self, session: Session) -> None:
        self._more[session] = None

    def dismiss(self, session: Session) -> None:
        self._sessions.pop(session, None)
        self._more.pop(session, None)
        if session in self._registered:
            self._registered.discard(session)
            self._poller.forget(session)

    def limited(self, session: Session, seconds: float) -> None:
        self._dialler.block(session.venue, session.egress, seconds)

    def schedule(self, session: Session, earliest: float = 0.0) -> None:
        if session.closed:
            return
        when = max(session.next_wake(), earliest)
        if when == math.inf:
            return
        if session.scheduled_at is None or when < session.scheduled_at - 0.001:
            session.scheduled_at = when
            # An earlier wake-up may have taken the place of this one: then its entry is still there.
            if when not in session.queued_wakes:
                session.queued_wakes.add(when)
                heapq.heappush(self._heap, (when, next(self._sequence), session))

    def dial(self, session: Session, connect: Connect) -> None:
        self._dialler.dial(
            connect,
            session.limits,
            session.venue,
            session.egress,
            lambda: not session.closed,
            lambda result: self.post(partial(session.dialled, result)),
        )

    def call(self, session: Session, call: Call) -> None:
        self._rest.submit(
            call,
            session.venue,
            session.egress,
            session.limits,
            lambda answer: self.post(partial(session.answered, call, answer)),
            session.calls.caller,
        )

    def overdue(self) -> None:
        """Give sessions whose deadline passed their timer (backstop of the heap), those whose turn it is."""
        for session in self._looks.next(self._sessions):
            if session.closed:
                continue
            if session.scheduled_at is None and session.next_wake() <= self._now.mono - 1.0:
                log.warning("a deadline was missed", session=session.name)
                self._guard(self._wake, session)
            self.schedule(session)

    def _stop(self) -> None:
        self._stopping = True

    def _tick(self) -> None:
        self._now = Instant(self._clock.mono(), self._clock.wall_ms())

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.turn()
                if self._pace.busy(self._now.mono):
                    self._breath.wait(GATHER_S)
        finally:
            self._end()

    def _end(self) -> None:
        self._tick()
        for session in list(self._sessions):
            self._guard(session.close)
        self._poller.close()
        # Connects that end from here on are run by whoever posts them: their sessions are closed, so they close too.
        self._ended = True
        self._run_inbox()

    def turn(self) -> bool:
        """Wait until there is something to do, as far as the poller waits, and do it; False if there was nothing."""
        ready = self._poller.wait(self._wait_s())
        self._tick()
        self._look()
        if ready:
            self._pace.came(len(ready), self._now.mono)
        did = bool(ready or self._more or self._inbox)
        for session in ready:
            self._guard(self._read, session)
        for session in list(self._more):
            self._guard(self._read, session)
        self._run_inbox()
        return self._run_timers() or did

    def _look(self) -> None:
        """The process may have stood still since the last look: then nobody knows when in between a frame came, nor whether
        the venue gave up on the connection right after it."""
        mono, before = self._now.mono, self._looked_mono
        self._looked_mono = mono
        if self._stall is not None and mono > self._stall[1]:
            self._stall = None
        if self._registered and mono - before > MAX_WAIT_S + STALL_S:
            began = before if self._stall is None else self._stall[0]
            self._stall = (began, mono + max(AFTER_STALL_S, mono - before))

    def next_due(self) -> float | None:
        """When `turn` has something to do even if nothing comes in: monotonic seconds, None = never."""
        if self._inbox or self._more:
            return self._clock.mono()
        due = self._heap[0][0] if self._heap else math.inf
        if self._registered:
            due = min(due, self._looked_mono + MAX_WAIT_S)
        return None if due == math.inf else due

    def _wait_s(self) -> float:
        if self._inbox or self._more:
            return 0.0
        if not self._heap:
            return MAX_WAIT_S
        return min(max(self._heap[0][0] - self._clock.mono(), 0.0), MAX_WAIT_S)

    def _read(self, session: Session) -> None:
        self._more.pop(session, None)
        self._tick()
        if session.readable():
            self._more[session] = None
        self.schedule(session)

    def _run_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            try:
                work = self._inbox.popleft()
            except IndexError:  # after the end, several posters may be here
                return
            self._tick()
            self._guard(work)

    def _run_timers(self) -> bool:
        did = False
        while self._heap and self._heap[0][0] <= self._now.mono:
            when, _, session = heapq.heappop(self._heap)
            session.queued_wakes.discard(when)
            if session.closed or session.scheduled_at != when:
                continue  # an earlier wake-up took its place
            session.scheduled_at = None
            did = True
            METRICS.observe("event_loop_lag_seconds", self._now.mono - when, thread=self.name)
            self._guard(self._wake, session)
        return did

    def _wake(self, session: Session) -> None:
        try:
            session.timer()
        finally:
            # Never at once: a deadline that stays in the past must not take the thread from the others.
            self.schedule(session, self._now.mono + TIMER_PAUSE_S)

    @staticmethod
    def _guard(work: Callable[..., object], *arguments: object) -> None:
        """One session's error must never reach the others (bug A46)."""
        try:
            work(*arguments)
        except Exception:
            log.exception("unexpected error on an I/O thread", work=getattr(work, "__qualname__", repr(work)))
