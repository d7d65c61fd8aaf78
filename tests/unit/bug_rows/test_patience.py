"""Nothing waits for ever, and one that hangs holds up nobody else (rows A6, A7, A36, A42, A61, C8)."""

from __future__ import annotations

import ast
import logging
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from connector.core.clock import SystemClock
from connector.core.metrics import METRICS
from connector.core.proxies import Ways
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from connector.streams.dial import Dialler
from connector.streams.edges import Edges
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.engine import Engine
from connector.streams.instruments import Instruments
from connector.streams.options import EngineOptions
from connector.streams.rest import Rest
from connector.streams.transport import DialFailure
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges import venue_of
from exchanges._adapter import Answer, Call, Connect
from exchanges._venue import Limits, Rate
from tests.unit.connector.streams.fakes import Clock, FakeSink

ROOT = Path(__file__).parents[3]
WAIT_S = 10.0
PRODUCT = ("cli", "connector", "exchanges", "tasks", "workers")


# --- every wait is bounded (C8) ---


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    found = []
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), node))
    return found


def test_every_network_call_names_its_timeout() -> None:
    """Bug C8: the exchange service hung, and a request without a timeout blocked the start for four hours."""
    bare = []
    for where, name, call in calls():
        given = {keyword.arg for keyword in call.keywords}
        http = name in {"requests.get", "requests.post", "requests.request", "session.request", "session.get"}
        timed = {"timeout", "socket_timeout"} & given
        if http and not timed:
            bare.append(f"{where} {name}")
        if name == "socket.create_connection" and len(call.args) < 2 and not timed:
            bare.append(f"{where} {name}")
        if name in {"redis.Redis", "redis.BlockingConnectionPool"} and not timed and "connection_pool" not in given:
            bare.append(f"{where} {name}")
    assert bare == []


def test_threads_are_never_joined_and_conditions_never_awaited_without_a_limit() -> None:
    bare = []
    for where, name, call in calls():
        waits = name.endswith((".join", ".wait", ".wait_for")) and "path" not in name and "str" not in name
        arguments = len(call.args) + len(call.keywords)
        of_text = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant | ast.JoinedStr)
        if not waits or of_text:
            continue
        if arguments < (2 if name.endswith(".wait_for") else 1):
            bare.append((where, name))
    # Those that may wait as long as nothing happens, each once: writers woken by every submit and by stop; in a program's
    # own loop, for as long as the program is not done with an event (closing the loop, or stopping, ends that); coroutines,
    # which their caller cancels; and the main thread, which a signal wakes.
    assert Counter(f"{where.split(':')[0]} {name}" for where, name in bare) == Counter(
        [
            "connector/sinks/memory.py self._work.wait_for", "connector/api/_sink.py self._work.wait_for",
            "connector/api/_listeners.py self._changed.wait_for", "connector/aio.py slot.join", "connector/aio.py left.wait",
            "workers/local.py done.wait", "workers/health_port.py ending.wait",
        ]
    )  # fmt: skip


# --- symbol lists (A61, C8) ---


class Desk:
    """A REST pool that answers when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, str, Callable[[Answer], None]]] = []

    def submit(self, call: Call, venue: str, egress: str, limits: object, done: Callable[[Answer], None]) -> None:
        self.calls.append((call, venue, done))


def instruments(desk: Desk, clock: Clock, service: str = "") -> Instruments:
    return Instruments(cast(Rest, desk), clock, {}, service)


def test_the_number_of_symbols_that_should_be_subscribed_is_a_metric() -> None:
    """Bug A61: 500 of 900 symbols had prices and nothing said so."""
    desk, clock = Desk(), Clock()
    lists = instruments(desk, clock, "http://exchange-connector")
    lists.table("binance")
    desk.calls.pop()[2](Answer(0, {}, b"", "timeout"))
    rows = [{"pair": f"C{number}USDT"} for number in range(7)]
    desk.calls.pop()[2](Answer(200, {}, msgspec.json.encode({"status": "OK", "data": rows})))
    assert METRICS.value("symbols", exchange="binance", kind="expected") == 7


# --- connects (A36, A42) ---


class Hanging(Dialler):
    """Connects of the venue `stuck` hang until the test ends."""

    def __init__(self, threads: int) -> None:
        self.opened: Counter[str] = Counter()
        self.when = threading.Condition()
        self.release = threading.Event()
        self.clock = SystemClock()
        budget = Budget(MemoryState(), self.clock)
        opener = SocketOpener(Endpoints(), tls_context(), threads, Egresses(Ways(), SystemClock()))
        opener.connect = self.connect  # type: ignore[method-assign]
        super().__init__(budget, self.clock, opener)

    def connect(self, dial: Any) -> Any:
        with self.when:
            self.opened[dial.venue] += 1
            self.when.notify_all()
        if dial.venue == "stuck":
            self.release.wait(WAIT_S)
        raise OSError("refused")


def test_a_venue_whose_connects_hang_leaves_the_pool_to_the_others() -> None:
    """Bug A36: one hanging connect blocked all opens of its family."""
    dialler = Hanging(threads=6)
    dialler.start()
    try:
        done = threading.Semaphore(0)
        limits = Limits(connects=Rate(1000, 1.0), messages=Rate(1, 1.0))

        def ended(result: object) -> None:
            assert isinstance(result, DialFailure)
            done.release()

        for _ in range(50):
            dialler.dial(Connect("wss://stuck"), limits, "stuck", "", lambda: True, lambda result: None)
        for _ in range(20):
            dialler.dial(Connect("wss://fine"), limits, "fine", "", lambda: True, ended)
        for _ in range(20):
            assert done.acquire(timeout=WAIT_S)
        assert dialler.opened["stuck"] <= 2
    finally:
        dialler.release.set()
        assert dialler.stop(WAIT_S)


def test_a_dial_that_nobody_wants_any_more_costs_no_attempt() -> None:
    dialler = Hanging(threads=2)
    dialler.start()
    try:
        ended = threading.Event()
        limits = Limits(connects=Rate(1000, 1.0), messages=Rate(1, 1.0))
        dialler.dial(Connect("wss://fine"), limits, "fine", "", lambda: False, lambda result: ended.set())
        assert ended.wait(WAIT_S)
        assert dialler.opened["fine"] == 0
    finally:
        assert dialler.stop(WAIT_S)


# --- jobs and threads (A6, A7, A46) ---


def test_an_exception_in_a_scheduler_job_never_leaves_the_job(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(EngineOptions(role="user"), MemoryState(), FakeSink(), Edges())
    again = threading.Event()
    runs: list[int] = []

    def job() -> None:
        runs.append(1)
        if len(runs) > 2:
            again.set()
        raise RuntimeError("boom")

    with caplog.at_level(logging.ERROR):
        engine.jobs.start()
        engine.every(0.02, job)
        assert again.wait(WAIT_S), "it is run again although it failed"
        engine.jobs.stop()
    assert any("a scheduler job failed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("role", ["user", "price"])
def test_nothing_lives_on_after_an_engine_stopped(role: str) -> None:
    """Bug A7: timers survived a stop."""
    before = set(threading.enumerate())
    options = EngineOptions(role=role, price_exchanges=("nothing",), lease_ttl_s=1.0)  # type: ignore[arg-type]
    state = MemoryState()
    engine = Engine(options, state, FakeSink(), Edges())
    engine.start()
    assert set(threading.enumerate()) - before
    assert engine.stop(1.0)
    state.close_connections()
    gone = threading.Event()
    for _ in range(500):
        left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]
        if not left:
            break
        gone.wait(0.01)
    assert left == []
    assert engine.supervisor.loop._timers == []


# --- budgets (A42) ---


@pytest.mark.parametrize("name", ["binance", "bybit", "okx", "kucoin", "bitget", "coinbase"])
def test_every_venues_connects_have_a_budget(name: str) -> None:
    """Bug A42."""
    venue = venue_of(name)
    assert venue is not None
    for exchange in venue.exchanges:
        for feed in venue.feeds:
            rate = venue.limits(exchange, feed).connects
            assert rate.limit / rate.per_s <= 10
