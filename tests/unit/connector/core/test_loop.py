"""The loop, turned by hand and by its thread."""

from __future__ import annotations

import threading

import pytest

from connector.core.clock import Chance, SystemClock
from connector.core.loop import Loop


class Standing:
    def __init__(self) -> None:
        self.now = 100.0

    def mono(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return int(self.now * 1000)


def test_a_turn_does_what_was_posted_and_what_is_due_in_order() -> None:
    clock, done = Standing(), list[str]()
    loop = Loop("l", clock)
    loop.at(105.0, lambda: done.append("later"))
    loop.after(1.0, lambda: done.append("soon"))
    loop.post(lambda: done.append("posted"))
    assert loop.next_due() == 100.0
    assert loop.turn()
    assert done == ["posted"]
    assert loop.next_due() == 101.0
    clock.now = 106.0
    assert loop.turn()
    assert done == ["posted", "soon", "later"]
    assert loop.next_due() is None
    assert not loop.turn()


def test_work_posted_within_a_turn_waits_for_the_next() -> None:
    clock, done = Standing(), list[int]()
    loop = Loop("l", clock)

    def again() -> None:
        done.append(len(done))
        loop.post(again)

    loop.post(again)
    loop.turn()
    assert done == [0]
    loop.turn()
    assert done == [0, 1]


def test_a_cancelled_timer_is_not_served_and_the_dead_do_not_pile_up() -> None:
    loop = Loop("l", Standing())
    kept = loop.after(1.0, lambda: None)
    for _ in range(5000):
        loop.cancel(loop.after(86_400.0, lambda: None))
    loop.cancel(kept)
    loop.cancel(kept)
    loop.cancel(None)
    assert len(loop._timers) < 2100


def test_work_of_one_name_waits_only_once() -> None:
    loop, done = Loop("l", Standing()), list[int]()
    for _ in range(3):
        loop.post_once("sweep", lambda: done.append(1))
    loop.turn()
    assert done == [1]
    loop.post_once("sweep", lambda: done.append(2))
    loop.turn()
    assert done == [1, 2]


def test_an_error_costs_only_its_own_piece_of_work() -> None:
    loop, done = Loop("l", Standing()), list[int]()
    loop.post(lambda: 1 / 0)
    loop.post(lambda: done.append(1))
    loop.turn()
    assert done == [1]


def test_the_thread_stamps_that_it_is_alive_and_ends_after_what_waits() -> None:
    loop, done = Loop("l", SystemClock()), threading.Event()
    loop.start()
    before = loop.alive_mono
    loop.post(done.set)
    assert done.wait(5)
    assert loop.stop(5)
    assert loop.alive_mono >= before


def test_a_loop_that_was_never_started_stops_at_once() -> None:
    assert Loop("l", Standing()).stop(0.1)


def test_the_same_seed_gives_the_same_ids_and_no_seed_fresh_ones() -> None:
    assert Chance(7).new_id() == Chance(7).new_id() != Chance(8).new_id()
    assert Chance().new_id() != Chance().new_id()
    assert len(Chance(7).new_id()) == len(Chance().new_id()) == 32


def test_periodic_work_that_was_refused_once_is_not_dead_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.core.loop.MAX_WAITING", 2)
    loop, done = Loop("l", Standing(), threaded=False), list[int]()
    assert loop.post(lambda: None)
    assert loop.post(lambda: None)
    loop.post_once("sweep", lambda: done.append(1))  # there is no room
    assert not loop.run(lambda: None, 1.0)
    loop.turn()
    assert done == []
    loop.post_once("sweep", lambda: done.append(2))
    loop.turn()
    assert done == [2]


def test_work_runs_in_order_on_one_thread_and_timers_in_theirs() -> None:
    loop, done = Loop("test-loop", SystemClock()), list[tuple[int, str]]()
    last = threading.Event()

    def begin() -> None:
        loop.after(0.03, last.set)
        loop.after(0.02, lambda: done.append((501, threading.current_thread().name)))
        loop.after(0.01, lambda: 1 / 0)

    loop.start()
    loop.post(begin)
    for number in range(500):
        loop.post(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    assert last.wait(5)
    assert loop.stop(5)
    assert done == [(number, "test-loop") for number in [*range(500), 501]]
    assert not [thread for thread in threading.enumerate() if thread.name == "test-loop"]


def test_run_waits_for_its_work_and_says_when_time_ran_out() -> None:
    loop, hold, done = Loop("l", SystemClock()), threading.Event(), list[int]()
    loop.start()
    loop.post(lambda: hold.wait(5) and None)
    assert not loop.run(lambda: None, 0.01)
    hold.set()
    assert loop.run(lambda: done.append(1), 5)
    assert done == [1]
    assert loop.run(lambda: 1 / 0, 5), "an error ends the wait as well"
    assert loop.stop(5)


def test_a_loop_without_a_thread_is_turned_by_whoever_asks_for_work() -> None:
    loop, done = Loop("l", Standing(), threaded=False), list[int]()
    loop.start()
    assert loop.run(lambda: done.append(1), 5)
    loop.post(lambda: done.append(2))
    assert loop.waiting() == 1
    assert loop.stop(5)
    assert done == [1, 2]
