"""`MemoryState` keeps the promises of every state, and forgets in time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from connector.core.ports import State
from connector.state._memory import INBOX, Expiring, Inbox
from connector.state.memory_state import MemoryState
from tests.unit.connector.state.backing import Heard, eventually, opened, worker
from tests.unit.connector.state.promises import Promises


class _Backing:
    def __init__(self) -> None:
        self.memory = MemoryState()

    def state(self) -> State:
        return self.memory

    def flush(self) -> None:
        self.memory.flush()

    def evict(self, key: str) -> None:
        assert key == "free"
        self.memory._free.clear()

    def enable_exchanges(self, text: str | None) -> None:
        self.memory.set_enabled_exchanges(None if text is None else frozenset(json.loads(text)))


class TestMemoryState(Promises):
    @pytest.fixture
    def backing(self) -> Iterator[_Backing]:
        backing = _Backing()
        yield backing
        backing.memory.close_connections()


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def mono(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000)


def test_a_lease_ends_by_the_clock_that_was_given() -> None:
    clock = _Clock()
    state = MemoryState(clock)
    leases = state.claim(["a"], "w1", 3.0)

    clock.now = 2.9
    assert state.renew(leases, "w1", 3.0) == set()
    clock.now = 5.8
    assert state.owners(["a"]) == {"a": "w1"}
    clock.now = 5.9
    assert state.owners(["a"]) == {}


def test_workers_positions_and_texts_end_by_the_clock_that_was_given() -> None:
    clock = _Clock()
    state = MemoryState(clock)
    state.heartbeat(worker("w1"), 5)
    state.save_positions({"a": b"x"}, 5)
    state.put("t", "x", 5)
    state.put("for ever", "x")

    clock.now = 1e9

    assert state.workers() == []
    assert state.positions(["a"]) == {}
    assert (state.get("t"), state.get("for ever")) == (None, "x")


def test_a_stream_closed_long_ago_may_be_remembered_again() -> None:
    clock = _Clock()
    state = MemoryState(clock)
    wanted = opened(state).wanted
    assert wanted is not None
    state.close("s1")

    clock.now = 3601
    state.remember(wanted)

    assert state.wanted_ids() == {"s1"}


def test_expired_values_do_not_pile_up() -> None:
    clock = _Clock()
    table: Expiring[int] = Expiring(clock)
    for i in range(10_000):
        clock.now = float(i)
        table.set(str(i), i, ttl_s=10)

    assert len(table._values) < 200


def test_a_listener_that_is_too_slow_is_told_to_look_for_itself() -> None:
    gate, entered, heard = threading.Event(), threading.Event(), Heard()

    def slow(text: str) -> None:
        entered.set()
        gate.wait(10)
        heard(text)

    inbox = Inbox("w1", slow)
    inbox.put("first")
    assert entered.wait(10)
    for i in range(INBOX + 5):
        inbox.put(str(i))
    gate.set()

    heard.wait_for("resync")
    assert len(heard.texts) == INBOX + 2
    inbox.stop()


def test_a_callback_may_use_the_state() -> None:
    state = MemoryState()
    seen: list[int] = []

    def look(text: str) -> None:
        wanted = opened(state).wanted
        seen.append(wanted.count if wanted else 0)

    stop = state.listen("w1", look)
    state.notify("w1", "go")

    eventually(lambda: seen == [1])
    stop()


def test_notifications_can_be_brought_by_somebody_else_in_the_order_of_the_listeners() -> None:
    on_the_way: list[tuple[str, Callable[[], None]]] = []
    state = MemoryState(deliver=lambda owner, work: on_the_way.append((owner, work)))
    heard: list[tuple[str, str]] = []
    stops = [state.listen(name, lambda text, name=name: heard.append((name, text))) for name in ("b", "a")]  # type: ignore[misc]
    state.notify("*", "x")
    state.notify("a", "y")
    assert heard == []
    assert [owner for owner, _ in on_the_way] == ["b", "a", "a"]
    stops[0]()
    for _, work in on_the_way:
        work()
    assert heard == [("a", "x"), ("a", "y")]
