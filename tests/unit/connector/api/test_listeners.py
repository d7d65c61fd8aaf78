"""Callbacks and loops: each hears everything, and the mistakes of one cost the others nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from connector.api._events import ACCOUNT_NAMES, Event, Failure, Subscribed
from connector.api._listeners import Listeners

WAIT_S = 20.0


def event(number: int = 0) -> Event[Subscribed]:
    return Event(name="subscribed", data=Subscribed(), id=str(number))


def test_a_callback_that_raises_costs_itself_only() -> None:
    listeners = Listeners(ACCOUNT_NAMES)
    heard: list[Event[object]] = []
    errors: list[Event[Failure]] = []

    def broken(_: object) -> None:
        raise RuntimeError("mine")

    listeners.add("subscribed", broken)
    listeners.add("subscribed", heard.append)
    listeners.add("error", errors.append)
    listeners.add("error", broken)
    listeners.tell(event())
    assert len(heard) == 1
    assert [str(one.data.error) for one in errors] == ["mine"]
    assert errors[0].data.text == "a callback on subscribed raised RuntimeError"


def test_a_callback_can_be_taken_away() -> None:
    listeners = Listeners(ACCOUNT_NAMES)
    heard: list[Event[object]] = []
    remove = listeners.add("*", heard.append)
    listeners.tell(event())
    remove()
    listeners.tell(event())
    assert len(heard) == 1
    assert not listeners.wanted("subscribed")


def test_a_name_that_no_event_has_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'executionreport'; there are .*executionReport"):
        Listeners(ACCOUNT_NAMES).add("executionreport", print)


def test_an_event_of_a_loop_is_done_when_the_next_is_asked_for() -> None:
    listeners = Listeners(ACCOUNT_NAMES)
    events = listeners.loop()
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(listeners.tell, event(1))
        first = events.next(WAIT_S)
        assert first is not None
        assert not told.done()
        assert events.next(0.0) is None
        told.result(WAIT_S)
        events.close()


def test_a_loop_that_is_left_holds_nobody_up() -> None:
    listeners = Listeners(ACCOUNT_NAMES)
    events = listeners.loop()
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(listeners.tell, event(1))
        for _ in events:
            break
        del events
        told.result(WAIT_S)
    assert not listeners.wanted("subscribed")


def test_the_end_of_all_loops_ends_the_one_that_waits() -> None:
    listeners = Listeners(ACCOUNT_NAMES)
    events = listeners.loop()
    waiting = threading.Event()

    def read() -> list[Event[object]]:
        waiting.set()
        return list(events)

    with ThreadPoolExecutor(1) as pool:
        read_all = pool.submit(read)
        assert waiting.wait(WAIT_S)
        listeners.end_loops()
        assert read_all.result(WAIT_S) == []
