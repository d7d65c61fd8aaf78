"""Commands of one key take effect in the order of their arrival, whatever the number of threads."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from functools import partial
from queue import Empty, Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.lanes import Job, Lanes, Ticket


def job(done: list[str], name: str, result: bool = True) -> Job:
    def run() -> bool:
        done.append(name)
        return result

    return run


def test_a_job_whose_turn_it_is_runs_at_once() -> None:
    lanes, done = Lanes(), list[str]()
    lanes.ticket("a").run(job(done, "1"))
    assert done == ["1"]
    assert len(lanes) == 0


def test_a_job_that_comes_early_is_parked_and_run_by_its_predecessors_thread() -> None:
    lanes, done = Lanes(), list[str]()
    first, second, third = lanes.ticket("a"), lanes.ticket("a"), lanes.ticket("a")
    third.run(job(done, "3"))
    second.run(job(done, "2"))
    assert done == []
    first.run(job(done, "1"))
    assert done == ["1", "2", "3"]
    assert len(lanes) == 0


def test_lanes_do_not_wait_for_one_another_and_jobs_without_lane_for_nothing() -> None:
    lanes, done = Lanes(), list[str]()
    lanes.ticket("a")
    lanes.ticket("b").run(job(done, "b"))
    lanes.ticket(None).run(job(done, "none"))
    assert done == ["b", "none"]
    assert len(lanes) == 1


def test_sequence_numbers_rise() -> None:
    lanes = Lanes()
    assert [lanes.ticket(key).sequence for key in ("a", None, "b", "a")] == [1, 2, 3, 4]


def test_an_error_is_raised_where_it_happened_and_does_not_stop_the_lane() -> None:
    lanes, done = Lanes(), list[str]()
    first, second = lanes.ticket("a"), lanes.ticket("a")
    second.run(job(done, "2"))

    def fail() -> bool:
        raise LookupError("gone")

    with pytest.raises(LookupError):
        first.run(fail)
    assert done == ["2"]
    assert len(lanes) == 0


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_a_skipped_place_does_not_hold_the_lane(skipped: int) -> None:
    lanes, done = Lanes(), list[str]()
    tickets = [lanes.ticket("a") for _ in range(3)]
    for number, ticket in reversed(list(enumerate(tickets))):
        if number != skipped:
            ticket.run(job(done, str(number)))
    tickets[skipped].skip()
    assert done == [str(number) for number in range(3) if number != skipped]
    assert len(lanes) == 0


def test_a_job_that_gives_up_drops_everything_behind_it() -> None:
    lanes, done = Lanes(), list[str]()
    first, second, third = lanes.ticket("a"), lanes.ticket("a"), lanes.ticket("a")
    second.run(job(done, "2"))
    first.run(job(done, "1", result=False))
    third.run(job(done, "3"))
    assert done == ["1"]
    assert first.dropped
    assert second.dropped
    assert third.dropped
    assert len(lanes) == 0
    lanes.ticket("a").run(job(done, "4"))
    assert done == ["1", "4"]


def test_dropping_a_place_keeps_what_is_before_it() -> None:
    lanes, done = Lanes(), list[str]()
    first, second, third = lanes.ticket("a"), lanes.ticket("a"), lanes.ticket("a")
    third.run(job(done, "3"))
    second.drop()
    first.run(job(done, "1"))
    assert done == ["1"]
    assert (first.dropped, second.dropped, third.dropped) == (False, True, True)
    assert len(lanes) == 0


@pytest.mark.parametrize("how", ["skip", "drop"])
def test_what_runs_or_is_over_is_left_alone(how: str) -> None:
    lanes, done = Lanes(), list[str]()
    ticket = lanes.ticket("a")
    ticket.run(lambda: getattr(ticket, how)() is None)
    getattr(ticket, how)()
    ticket.run(job(done, "again"))
    assert not ticket.dropped
    assert done == []
    assert len(lanes) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["run", "run", "run", "skip", "drop", "give up"])),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_of_calls_keeps_the_order_of_each_lane(calls: list[tuple[str, str]], shuffle: random.Random) -> None:
    lanes = Lanes()
    done: dict[str, list[int]] = defaultdict(list)
    todo: list[tuple[Ticket, str, str]] = [(lanes.ticket(key), key, what) for key, what in calls]
    shuffle.shuffle(todo)
    for ticket, key, what in todo:

        def run(ticket: Ticket = ticket, key: str = key, what: str = what) -> bool:
            done[key].append(ticket.sequence)
            return what != "give up"

        if what == "skip":
            ticket.skip()
        elif what == "drop":
            ticket.drop()
        else:
            ticket.run(run)
    assert len(lanes) == 0
    for order in done.values():
        assert order == sorted(set(order))
    if not any(what in {"drop", "give up"} for _, what in calls):
        assert sum(map(len, done.values())) == sum(what == "run" for _, what in calls)


def test_300_opens_and_closes_on_8_threads_take_effect_in_order() -> None:
    """Bug D6: a close overtook its open and the stream leaked."""
    lanes = Lanes()
    work: Queue[tuple[Ticket, str, str]] = Queue()
    effects: dict[str, list[str]] = defaultdict(list)
    running: set[str] = set()
    overlaps: list[str] = []
    chance = random.Random(7)
    for number in range(300):
        for action in ("open", "close"):
            work.put((lanes.ticket(f"stream {number}"), f"stream {number}", action))
    guard = threading.Lock()

    def one(key: str, action: str, pause: threading.Event, length: float) -> bool:
        with guard:
            if key in running:
                overlaps.append(key)
            running.add(key)
        pause.wait(length)
        with guard:
            running.discard(key)
            effects[key].append(action)
        return True

    def worker() -> None:
        never = threading.Event()
        while True:
            try:
                ticket, key, action = work.get_nowait()
            except Empty:
                return
            never.wait(chance.random() * 0.002)  # between taking a command and bringing it
            length = chance.random() * 0.004 if action == "open" else 0.0
            ticket.run(partial(one, key, action, never, length))

    threads = [threading.Thread(target=worker, name=f"worker {number}") for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert len(effects) == 300
    assert all(order == ["open", "close"] for order in effects.values())
    assert overlaps == []
    assert len(lanes) == 0
