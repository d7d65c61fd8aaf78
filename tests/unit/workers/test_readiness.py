"""Who is told that commands are being consumed, and when (bug A8)."""

from __future__ import annotations

import threading

import pytest

from workers._readiness import ConsumerUp, Readiness


def test_it_tells_at_once_about_what_is_up_and_later_about_what_comes() -> None:
    readiness, told = Readiness(), list[ConsumerUp]()
    readiness.up("a", created=True)
    readiness.watch(told.append)
    readiness.up("b", created=False)
    readiness.down("a")
    assert not readiness.ready("a")
    readiness.up("a", created=False)
    assert readiness.ready("a")
    assert told == [
        ConsumerUp("a", created=True, first=True),
        ConsumerUp("b", created=False, first=True),
        ConsumerUp("a", created=False, first=False),
    ]


def test_a_queue_that_another_process_consumes_is_within_reach_until_the_connection_is_lost() -> None:
    readiness = Readiness()
    assert readiness.out_of_reach(["a"]) == ["a"]
    readiness.stand_by("a")
    assert readiness.out_of_reach(["a"]) == []
    assert not readiness.ready("a")
    readiness.down("a")
    assert readiness.out_of_reach(["a"]) == ["a"]
    readiness.up("a", created=False)
    assert readiness.out_of_reach(["a"]) == []


def test_waiting_for_all_queues() -> None:
    readiness = Readiness()
    readiness.up("a", created=False)
    assert not readiness.wait(["a", "b"], 0.001)
    timer = threading.Timer(0.01, lambda: readiness.up("b", created=False))
    timer.start()
    assert readiness.wait(["a", "b"], 10)
    timer.join(5)


def test_a_broken_watch_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    readiness, told = Readiness(), list[ConsumerUp]()

    def broken(up: ConsumerUp) -> None:
        raise LookupError

    readiness.watch(broken)
    readiness.watch(told.append)
    readiness.up("a", created=True)
    assert len(told) == 1
    assert "failed" in caplog.text


def test_waiting_until_nothing_is_consumed() -> None:
    readiness = Readiness()
    assert readiness.wait_down(["a"], 0.001)
    readiness.up("a", created=False)
    assert not readiness.wait_down(["a", "b"], 0.001)
    timer = threading.Timer(0.01, lambda: readiness.down("a"))
    timer.start()
    assert readiness.wait_down(["a", "b"], 10)
    timer.join(5)
