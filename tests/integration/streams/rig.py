"""What the session tests share: a scripted adapter, a listener that can be waited on, and the threads around a session."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from connector.core.clock import SystemClock
from connector.core.loop import Loop
from connector.core.ports import State
from connector.core.proxies import Ways
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from connector.streams.dial import Dialler
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.io import IoThread
from connector.streams.poller import SocketPoller
from connector.streams.rest import RestQueue
from connector.streams.session import Session
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    GapReport,
    Instant,
    KeyKind,
    Live,
    Output,
    Subscription,
    TickerSubscription,
)
from exchanges._venue import Limits, Rate
from exchanges.ids import Feed

WAIT_S = 10.0


def until(condition: Callable[[], bool], what: str = "", timeout_s: float = WAIT_S) -> None:
    """Wait for a condition that no event announces."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"did not happen in time: {what or condition}"
        pause.wait(0.005)


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def watch(budget: Budget, clock: SystemClock) -> list[tuple[float, float]]:
    """What the budget grants from now on: the moments right before and right after each grant."""
    granted: list[tuple[float, float]] = []
    take = budget.take

    def watched(*arguments: Any) -> float:
        now = clock.mono()
        wait_s = take(*arguments)
        if wait_s <= 0:
            granted.append((now, clock.mono()))
        return wait_s

    budget.take = watched  # type: ignore[method-assign]
    return granted


def quiet_limits(**changes: Any) -> Limits:
    values: dict[str, Any] = {
        "connects": Rate(10_000, 1.0),
        "messages": Rate(10_000, 1.0),
        "ping_interval_s": None,
        "silence_s": 60.0,
        "subscriptions_per_connection": 100,
        "join_timeout_s": 30.0,
        "connect_timeout_s": 5.0,
    }
    return Limits(**{**values, **changes})


class Script:
    """An adapter that does what the test says; every input is recorded by name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[tuple[str, Any]] = []
        self.frames: list[bytes] = []
        self.when = threading.Condition()
        self.due: float | None = None
        self.on_start: Callable[[Instant], Iterable[Output]] = lambda now: [Connect(self.url)]
        self.on_connected: Callable[[Instant], Iterable[Output]] = lambda now: [Live("s1")]
        self.on_frame: Callable[[bytes, Instant], Iterable[Output]] = lambda frame, now: []
        self.on_woken: Callable[[Instant], Iterable[Output]] = lambda now: []
        self.on_answer: Callable[[Call, Answer], Iterable[Output]] = lambda call, answer: []
        self.on_closing: Callable[[], Iterable[Output]] = list

    def _note(self, name: str, what: Any = None) -> None:
        with self.when:
            self.seen.append((name, what))
            self.when.notify_all()

    def wait_frames(self, count: int, timeout_s: float = WAIT_S) -> list[bytes]:
        with self.when:
            assert self.when.wait_for(lambda: len(self.frames) >= count, timeout_s), f"{len(self.frames)} of {count}"
            return list(self.frames)

    def count(self, name: str) -> int:
        with self.when:
            return sum(kind == name for kind, _ in self.seen)

    def start(self, now: Instant) -> list[Output]:
        self._note("start")
        return list(self.on_start(now))

    def connected(self, now: Instant) -> list[Output]:
        self._note("connected")
        return list(self.on_connected(now))

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        with self.when:
            self.frames.append(frame)
            self.when.notify_all()
        return list(self.on_frame(frame, now))

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        self._note("answered", answer)
        return list(self.on_answer(call, answer))

    def woken(self, now: Instant) -> list[Output]:
        self._note("woken")
        return list(self.on_woken(now))

    def deadline(self) -> float | None:
        return self.due

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        self._note("add", subscription.stream_id)
        return []

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        self._note("remove", stream_id)
        return []

    def closing(self, now: Instant) -> list[Output]:
        self._note("closing")
        return list(self.on_closing())


class Heard:
    """Listener and publisher that remember everything."""

    def __init__(self) -> None:
        self.when = threading.Condition()
        self.events: list[tuple[str, Any]] = []
        self.takes_accounts = True

    def _add(self, name: str, what: Any) -> None:
        with self.when:
            self.events.append((name, what))
            self.when.notify_all()

    def of(self, name: str) -> list[Any]:
        with self.when:
            return [what for kind, what in self.events if kind == name]

    def wait(self, name: str, count: int = 1, timeout_s: float = WAIT_S) -> Any:
        with self.when:
            arrived = self.when.wait_for(lambda: sum(kind == name for kind, _ in self.events) >= count, timeout_s)
            assert arrived, f"{name} did not come; got {self.events[-5:]}"
            return [what for kind, what in self.events if kind == name][count - 1]

    def connected(self, session: Session) -> None:
        self._add("connected", session)

    def live(self, session: Session, stream_id: str, gap: GapReport | None) -> None:
        self._add("live", stream_id)

    def refused(self, session: Session, stream_id: str, fail: Fail) -> None:
        self._add("refused", fail)

    def lost(self, session: Session, fail: Fail) -> None:
        self._add("lost", fail)

    def rotate(self, session: Session, reason: str) -> None:
        self._add("rotate", reason)

    def answered(self, session: Session, answer: Answer) -> None:
        del session, answer

    def clock_read(self, session: Session, offset_ms: int) -> None:
        self._add("clock", (session.venue, offset_ms))

    def key_learnt(self, session: Session, kind: KeyKind) -> None:
        self._add("key", kind)

    def noticed(self, session: Session, what: str) -> None:
        self._add("note", what)

    def account(self, emit: Emit, mono: float) -> bool:
        self._add("account", emit)
        return self.takes_accounts

    def tickers(self, emit: EmitTickers, mono: float) -> None:
        self._add("tickers", emit)

    def candle(self, emit: EmitCandle, mono: float) -> None:
        self._add("candle", emit)


class Rig:
    """Dialler, REST pool and one I/O thread, as the engine makes them."""

    def __init__(
        self, ca_file: str = "", threads: int = 4, ways: Ways | None = None, state: State | None = None
    ) -> None:
        self.clock = SystemClock()
        self.state = state or MemoryState()
        self.budget = Budget(self.state, self.clock)
        endpoints = Endpoints()
        self.egresses = Egresses(ways or Ways(), self.clock)
        self.opener = SocketOpener(endpoints, tls_context(ca_file), threads, self.egresses)
        self.dialler = Dialler(self.budget, self.clock, self.opener)
        client = HttpClient(endpoints, self.clock, self.egresses, ca_file)
        self.rest = RestPool(RestQueue(self.budget), client, Loop("rest", self.clock))
        self.io = IoThread("io-test", self.clock, self.dialler, self.rest, SocketPoller())
        self.heard = Heard()
        self._number = 0
        self.dialler.start()
        self.rest.start()
        self.io.start()

    def watch_budget(self) -> list[tuple[float, float]]:
        return watch(self.budget, self.clock)

    def open(
        self, script: Script, limits: Limits | None = None, heard: Heard | None = None, feed: Feed = "ticker"
    ) -> Session:
        heard = heard or self.heard
        self._number += 1
        session = Session(
            f"test:{self._number}", "testvenue", "test", feed, script, limits or quiet_limits(), self.io, heard, heard
        )
        subscription = TickerSubscription(stream_id="s1", exchange="test")
        self.io.post(lambda: session.start((subscription,)))
        return session

    def close(self, session: Session, *, polite: bool = True, last_holder: bool = False) -> None:
        self.io.post(lambda: session.close(polite=polite, last_holder=last_holder))

    def settle(self) -> None:
        """Wait until the I/O thread has done everything that was posted before."""
        done = threading.Event()
        self.io.post(done.set)
        assert done.wait(WAIT_S)

    def stop(self) -> bool:
        ended = [self.io.stop(WAIT_S), self.dialler.stop(WAIT_S)]
        self.rest.stop()
        return all(ended)
