"""The I/O threads: each drives many non-blocking connections with one selector, and is the only one to touch them.

A connection belongs to exactly one I/O thread, which alone reads and writes it (platform-notes section 4). Other threads
`post` callables; a socket pair wakes the thread.
"""

from __future__ import annotations

import heapq
import itertools
import math
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import websocket

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.dial import Dialler
from connector.streams.rest import RestPool
from connector.streams.session import Session
from exchanges._adapter import Call, Connect, Instant

log = get_logger(__name__)

MAX_WAIT_S = 5.0
TIMER_PAUSE_S = 0.02
"""At least this long between two looks at the deadlines of one session."""


class IoThread:
    """One thread, many sessions. `post`, `stop` and `sessions` may be called from any thread."""

    def __init__(self, name: str, clock: Clock, dialler: Dialler, rest: RestPool) -> None:
        self._clock, self._dialler, self._rest = clock, dialler, rest
        # One entry per signal of a session or order of the supervisor, drained each turn: bounded by the sessions.
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._wake_pending = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        self._heap: list[tuple[float, int, Session]] = []
        self._sequence = itertools.count()
        self._more: set[Session] = set()
        self._sessions: set[Session] = set()
        self._registered: dict[Session, int] = {}
        self._stopping = False
        self._ended = False
        self._now = Instant(clock.mono(), clock.wall_ms())
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    # --- any thread ---

    def start(self) -> None:
        self.thread.start()

    def post(self, work: Callable[[], None]) -> None:
        """Run `work` on the I/O thread, soon, in the order of the posts."""
        self._inbox.append(work)
        if not self._wake_pending:
            self._wake_pending = True
            try:
                self._wake_writer.send(b"\0")
            except BlockingIOError:
                log.debug("the I/O thread has unread wake-ups already")
            except OSError:
                if not self._stopping:
                    raise
        if self._ended:
            self._run_inbox()

    def open_connections(self) -> int:
        return len(self._registered)

    def stop(self, timeout_s: float) -> bool:
        """Close every connection and end the thread."""
        self.post(self._stop)
        self.thread.join(timeout_s)
        return not self.thread.is_alive()

    # --- I/O thread ---

    def now(self) -> Instant:
        """The moment at which this turn of the loop began to handle its current input."""
        return self._now

    def adopt(self, session: Session) -> None:
        """A session starts on this thread: it is closed when the thread stops."""
        self._sessions.add(session)

    def register(self, session: Session, connection: websocket.WebSocket) -> None:
        if connection.sock is not None:
            self._registered[session] = connection.sock.fileno()
            self._selector.register(connection.sock, selectors.EVENT_READ, session)

    def read_soon(self, session: Session) -> None:
        """Something may be there to read that the selector can't see."""
        self._more.add(session)

    def dismiss(self, session: Session) -> None:
        """The session is closed. To be called before its socket is."""
        self._sessions.discard(session)
        self._more.discard(session)
        number = self._registered.pop(session, None)
        if number is not None:
            # By number: at the end of a stream the library has closed the socket already, and the number may come back
            # with the next connection, which the selector would refuse as registered.
            self._selector.unregister(number)

    def limited(self, session: Session, seconds: float) -> None:
        self._dialler.block(session.venue, session.ip, seconds)

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
            session.ip,
            lambda: not session.closed,
            lambda result: self.post(partial(session.dialled, result)),
        )

    def call(self, session: Session, call: Call) -> None:
        self._rest.submit(
            call,
            session.venue,
            session.ip,
            session.limits,
            lambda answer: self.post(partial(session.answered, call, answer)),
        )

    def overdue(self) -> None:
        """Give every session whose deadline passed its timer (backstop of the heap)."""
        for session in list(self._sessions):
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
                self._turn()
        finally:
            self._tick()
            for session in list(self._sessions):
                self._guard(session.close)
            self._selector.close()
            self._wake_reader.close()
            self._wake_writer.close()
            # Connects that end from here on are run by whoever posts them: their sessions are closed, so they close too.
            self._ended = True
            self._run_inbox()

    def _turn(self) -> None:
        ready = self._selector.select(self._wait_s())
        self._tick()
        for key, _ in ready:
            if key.data is None:
                self._drain_wake()
            else:
                self._guard(self._read, key.data)
        for session in list(self._more):
            self._guard(self._read, session)
        self._run_inbox()
        self._run_timers()

    def _wait_s(self) -> float:
        if self._inbox or self._more:
            return 0.0
        if not self._heap:
            return MAX_WAIT_S
        return min(max(self._heap[0][0] - self._clock.mono(), 0.0), MAX_WAIT_S)

    def _drain_wake(self) -> None:
        try:
            while len(self._wake_reader.recv(4096)) == 4096:
                continue
        except BlockingIOError:
            log.debug("the wake-up was read already")
        # Cleared after the socket is empty and before the inbox is run: a post from here on wakes us again.
        self._wake_pending = False

    def _read(self, session: Session) -> None:
        self._more.discard(session)
        self._tick()
        if session.readable():
            self._more.add(session)
        self.schedule(session)

    def _run_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            try:
                work = self._inbox.popleft()
            except IndexError:  # after the end, several posters may be here
                return
            self._tick()
            self._guard(work)

    def _run_timers(self) -> None:
        while self._heap and self._heap[0][0] <= self._now.mono:
            when, _, session = heapq.heappop(self._heap)
            session.queued_wakes.discard(when)
            if session.closed or session.scheduled_at != when:
                continue  # an earlier wake-up took its place
            session.scheduled_at = None
            METRICS.observe("event_loop_lag_seconds", self._now.mono - when, thread=self.thread.name)
            self._guard(self._wake, session)

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
