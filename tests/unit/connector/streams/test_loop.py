"""The thread with an inbox."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import connector.streams.loop
from connector.streams.loop import Loop

WAIT_S = 5.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("test-loop")
    loop.start()
    yield loop
    assert loop.stop(WAIT_S)
    assert not [thread for thread in threading.enumerate() if thread.name == "test-loop"]


def test_work_runs_in_order_on_one_thread(loop: Loop) -> None:
    done: list[tuple[int, str]] = []
    for number in range(500):
        loop.post(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    assert loop.run(lambda: None, WAIT_S)
    assert done == [(number, "test-loop") for number in range(500)]


def test_an_error_costs_only_its_own_work(loop: Loop) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    loop.post(broken)
    assert loop.run(broken, WAIT_S)
    assert loop.run(lambda: None, WAIT_S)


def test_later_runs_later_and_errors_there_cost_nothing_either(loop: Loop) -> None:
    order: list[str] = []
    done = threading.Event()

    def broken() -> None:
        order.append("broken")
        raise RuntimeError("a bug")

    def begin() -> None:
        loop.later(0.05, done.set)
        loop.later(0.03, broken)
        loop.later(0.01, lambda: order.append("first"))

    loop.post(begin)
    assert done.wait(WAIT_S)
    assert order == ["first", "broken"]


def test_periodic_work_waits_only_once(loop: Loop) -> None:
    busy, count = threading.Event(), [0]

    def work() -> None:
        count[0] += 1

    loop.post(lambda: busy.wait(WAIT_S) and None)
    for _ in range(50):
        loop.post_once("sweep", work)
    busy.set()
    loop.run(lambda: None, WAIT_S)
    assert count[0] == 1
    loop.post_once("sweep", work)
    loop.run(lambda: None, WAIT_S)
    assert count[0] == 2


def test_periodic_work_that_was_refused_once_is_not_dead_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector.streams.loop, "MAX_WAITING", 2)
    loop = Loop("full-loop")
    done = threading.Event()
    assert loop.post(lambda: None)
    assert loop.post(lambda: None)
    loop.post_once("sweep", done.set)  # there is no room
    loop.start()
    assert loop.run(lambda: None, WAIT_S)
    loop.post_once("sweep", done.set)
    assert done.wait(WAIT_S)
    assert loop.stop(WAIT_S)


def test_run_says_when_time_ran_out(loop: Loop) -> None:
    hold = threading.Event()
    loop.post(lambda: hold.wait(WAIT_S) and None)
    assert not loop.run(lambda: None, 0.01)
    hold.set()
