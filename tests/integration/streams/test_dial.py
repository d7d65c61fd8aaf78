"""The dialler by itself: budgets, hanging venues, unwanted dials, the end."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.core.errors import StateUnavailable
from connector.state.memory_state import MemoryState
from connector.streams import budget
from connector.streams.transport import DialFailure, Transport
from exchanges._adapter import Connect
from exchanges._venue import Limits, Rate
from tests.integration.streams.rig import WAIT_S, Rig, fds, quiet_limits, until
from tests.integration.streams.ws_server import WsServer

pytestmark = pytest.mark.integration

Result = Transport | DialFailure


@pytest.fixture
def hole() -> Iterator[str]:
    """A venue that accepts TCP connections and then says nothing."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()


class Caller:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.results: queue.Queue[tuple[str, Result]] = queue.Queue()

    def dial(self, url: str, limits: Limits | None = None, venue: str = "v", wanted: bool = True) -> None:
        self.rig.dialler.dial(
            Connect(url), limits or quiet_limits(), venue, "", lambda: wanted,
            lambda result: self.results.put((venue, result)),
        )  # fmt: skip

    def result(self) -> Result:
        return self.results.get(timeout=WAIT_S)[1]

    def close(self, result: Result) -> None:
        assert not isinstance(result, DialFailure), result
        result.close()


@pytest.fixture
def caller(rig: Rig) -> Caller:
    return Caller(rig)


def test_a_venue_that_waits_for_its_budget_does_not_hold_up_another(caller: Caller, server: WsServer) -> None:
    scarce = quiet_limits(connects=Rate(1, 600.0))
    for _ in range(20):
        caller.dial(server.url, scarce, "scarce")
    caller.close(caller.result())
    caller.dial(server.url, venue="free")
    venue, result = caller.results.get(timeout=WAIT_S)
    assert venue == "free"
    caller.close(result)
    assert caller.rig.dialler.waiting() == 19


def test_connects_keep_to_the_budget(caller: Caller, server: WsServer) -> None:
    granted = caller.rig.watch_budget()
    for _ in range(5):
        caller.dial(server.url, quiet_limits(connects=Rate(2, 0.3)))
    for _ in range(5):
        caller.close(caller.result())
    assert len(granted) == 5
    assert min(later[1] - first[0] for first, later in zip(granted, granted[2:], strict=False)) >= 0.3


def test_connects_that_hang_leave_room_for_other_venues(caller: Caller, server: WsServer, hole: str) -> None:
    """Bug A36: with all threads of the pool waiting for one dead venue, nobody else could connect."""
    for _ in range(40):
        caller.dial(hole, quiet_limits(connect_timeout_s=8.0), "dead")
    for _ in range(3):
        caller.dial(server.url, venue="healthy")
    for _ in range(3):
        venue, result = caller.results.get(timeout=4.0)
        assert venue == "healthy"
        caller.close(result)


def test_a_venue_that_never_answers_the_upgrade_is_given_up(caller: Caller, hole: str) -> None:
    caller.dial(hole, quiet_limits(connect_timeout_s=0.3))
    result = caller.result()
    assert isinstance(result, DialFailure)
    assert "imed" in result.reason or "Timeout" in result.reason


class Hanging(MemoryState):
    """A Redis that takes connections and does not answer: each question waits for the timeout, which the test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.asking = threading.Semaphore(0)
        self.timeouts = threading.Semaphore(0)

    def take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        if not self.hangs:
            return super().take(bucket, cost, count, per_s, now_ms)
        self.asking.release()
        assert self.timeouts.acquire(timeout=WAIT_S)
        raise StateUnavailable("no answer")


def test_dials_do_not_wait_for_a_redis_that_hangs(server: WsServer, pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread begins the dials of all venues, and asked Redis for each: 500 accounts took 18 minutes."""
    monkeypatch.setattr(budget, "AWAY_S", 0.0)  # ask again at once
    state = Hanging()
    rig = Rig(ca_file=str(pem), state=state)
    caller = Caller(rig)
    try:
        state.hangs = True
        caller.dial(server.url)
        assert state.asking.acquire(timeout=WAIT_S)
        state.timeouts.release()
        caller.close(caller.result())
        monkeypatch.setattr(budget, "AWAY_S", 600.0)
        caller.dial(server.url, venue="finds out whether it is back")
        assert state.asking.acquire(timeout=WAIT_S)
        for number in range(30):
            caller.dial(server.url, venue=f"v{number % 3}")
        for _ in range(30):
            caller.close(caller.result())
        state.timeouts.release()
        caller.close(caller.result())
    finally:
        state.timeouts.release()
        assert rig.stop()


def test_a_tls_handshake_that_never_ends_is_given_up(caller: Caller, hole: str) -> None:
    caller.dial(hole.replace("ws://", "wss://"), quiet_limits(connect_timeout_s=0.3))
    assert isinstance(caller.result(), DialFailure)


def test_a_dial_that_nobody_wants_any_more_costs_no_attempt(caller: Caller, server: WsServer) -> None:
    once = quiet_limits(connects=Rate(1, 600.0))
    caller.dial(server.url, once, wanted=False)
    assert isinstance(caller.result(), DialFailure)
    caller.dial(server.url, once)
    caller.close(caller.result())
    assert server.upgrades == 1


def test_no_more_connections_are_open_than_the_venue_allows_and_the_next_waits_for_room(
    caller: Caller, server: WsServer
) -> None:
    two = quiet_limits(open_connections=2)
    for _ in range(3):
        caller.dial(server.url, two)
    first, second = caller.result(), caller.result()
    until(lambda: caller.rig.dialler.waiting() == 1)
    caller.dial(server.url, venue="other")
    caller.close(caller.result())
    assert caller.rig.dialler.waiting() == 1
    caller.close(first)
    caller.close(caller.result())
    caller.close(second)
    assert server.upgrades == 4


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"garbage\r\n\r\n", b""])
def test_an_answer_that_is_no_upgrade_is_a_failure_and_leaves_no_socket(
    caller: Caller, server: WsServer, answer: bytes
) -> None:
    before = fds()
    server.refusals.put(answer)
    caller.dial(server.url)
    assert isinstance(caller.result(), DialFailure)
    until(lambda: fds() <= before)


def test_a_redirect_is_not_followed(caller: Caller, server: WsServer) -> None:
    server.refusals.put(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:9/\r\n\r\n")
    caller.dial(server.url)
    assert isinstance(caller.result(), DialFailure)
    assert server.upgrades == 1


def test_an_error_of_the_receiver_does_not_cost_the_dialler_its_count(caller: Caller, server: WsServer) -> None:
    def broken(result: Result) -> None:
        if not isinstance(result, DialFailure):
            result.shutdown()  # type: ignore[no-untyped-call]
        raise RuntimeError("a bug")

    for _ in range(40):
        caller.rig.dialler.dial(Connect(server.url), quiet_limits(), "v", "", lambda: True, broken)
    caller.dial(server.url)
    caller.close(caller.result())


def test_the_stop_ends_the_pacer_with_dials_waiting(pem: Path, server: WsServer) -> None:
    rig = Rig(ca_file=str(pem))
    caller = Caller(rig)
    for _ in range(5):
        caller.dial(server.url, quiet_limits(connects=Rate(1, 600.0)))
    caller.close(caller.result())
    assert rig.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "dial-pacer"]
    caller.dial(server.url)
    result = caller.result()
    assert isinstance(result, DialFailure)
    assert "closed" in result.reason
