"""Jobs follow the monotonic clock: one set of promises, for APScheduler's pool and for a loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from connector.core.clock import Chance, SystemClock
from connector.core.jobs import LoopJobs
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.core.ports import Jobs
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.options import EngineOptions
from connector.streams.scheduler import SchedulerJobs

WAIT_S = 10.0


class Stepped(SystemClock):
    """The host's clocks, of which both can be moved."""

    def __init__(self) -> None:
        self.wall_step_ms = 0
        self.mono_step_s = 0.0

    def mono(self) -> float:
        return super().mono() + self.mono_step_s

    def wall_ms(self) -> int:
        return super().wall_ms() + self.wall_step_ms


class Made:
    """Jobs of one kind; `until` lets them run until something is true."""

    def __init__(self, kind: str) -> None:
        self.clock = Stepped()
        self.loop = Loop("jobs", self.clock, threaded=False)
        self.jobs: Jobs = LoopJobs(self.loop, Chance(1)) if kind == "loop" else SchedulerJobs(self.clock, Chance(1))

    def until(self, true: Callable[[], bool], limit_s: float = WAIT_S) -> bool:
        end = time.monotonic() + limit_s
        while not true() and time.monotonic() < end:
            self.loop.turn()
            threading.Event().wait(0.002)
        return true()


@pytest.fixture(params=["loop", "scheduler"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    made = Made(request.param)
    yield made
    made.jobs.stop()


def test_a_job_comes_again_and_one_of_later_comes_once(made: Made) -> None:
    again, once = list[int](), list[int]()
    made.jobs.every("again", 0.02, lambda: again.append(1), jitter_s=0.01)
    made.jobs.after("once", 0.03, lambda: once.append(1))
    assert not made.until(lambda: bool(again or once), 0.1), "nothing runs before the start"
    made.jobs.start()
    assert made.until(lambda: len(again) >= 5)
    assert once == [1]


def test_a_second_call_with_the_same_name_moves_it(made: Made) -> None:
    done = list[str]()
    made.jobs.start()
    made.jobs.after("x", 0.05, lambda: done.append("first"))
    made.jobs.after("x", 0.1, lambda: done.append("second"))
    assert made.until(lambda: bool(done))
    assert done == ["second"]


def test_a_cancelled_job_does_not_come(made: Made) -> None:
    done = list[str]()
    made.jobs.start()
    made.jobs.after("x", 0.03, lambda: done.append("x"))
    made.jobs.every("y", 0.03, lambda: done.append("y"))
    made.jobs.after("z", 0.06, lambda: done.append("z"))
    made.jobs.cancel("x")
    made.jobs.cancel("y")
    made.jobs.cancel("never heard of")
    assert made.until(lambda: bool(done))
    assert done == ["z"]


def test_what_was_missed_while_the_process_stood_still_runs_once(made: Made) -> None:
    runs = list[int]()
    made.jobs.start()
    made.jobs.every("beat", 600.0, lambda: runs.append(1))
    made.jobs.after("look", 0.05, lambda: None)  # the pool's thread wakes up, and sees the new time
    made.clock.mono_step_s += 3_600.0
    assert made.until(lambda: bool(runs))
    assert len(runs) == 1


def test_nothing_runs_after_the_stop(made: Made) -> None:
    runs = list[int]()
    made.jobs.every("beat", 0.01, lambda: runs.append(1))
    made.jobs.start()
    assert made.until(lambda: bool(runs))
    made.jobs.stop()
    count = len(runs)
    assert not made.until(lambda: len(runs) > count, 0.1)


def test_the_stop_waits_for_the_job_that_runs() -> None:
    begun, ended = threading.Event(), threading.Event()
    jobs = SchedulerJobs(SystemClock(), Chance(1))

    def slow() -> None:
        begun.set()
        threading.Event().wait(0.2)
        ended.set()

    jobs.after("slow", 0.0, slow)
    jobs.start()
    assert begun.wait(WAIT_S)
    jobs.stop()
    assert ended.is_set()


def test_a_job_that_still_runs_is_not_started_a_second_time() -> None:
    hold, begun = threading.Event(), list[int]()

    def work() -> None:
        begun.append(1)
        hold.wait(WAIT_S)

    jobs = SchedulerJobs(SystemClock(), Chance(1))
    jobs.every("long", 0.01, work)
    others = threading.Event()
    jobs.after("other", 0.2, others.set)
    jobs.start()
    assert others.wait(WAIT_S)
    assert begun == [1]
    hold.set()
    jobs.stop()


@pytest.mark.parametrize("step_ms", [3_600_000, -3_600_000])
def test_a_step_of_the_wall_clock_neither_fires_a_job_nor_delays_one(
    step_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    """E11: after NTP set the clock forward, the grace period of ten minutes was over within seconds, and what nobody had
    opened again yet was closed; set back, a process stopped beating for as long as the step was."""
    clock = Stepped()
    engine = Engine(EngineOptions(role="user", drain_timeout_s=0.0), MemoryState(), MemorySink(), Edges(clock=clock))
    fired, beats = list[int](), list[int]()
    engine.sink.start()
    engine.start()
    try:
        engine.jobs.after("in ten minutes", 600.0, lambda: fired.append(1))
        engine.placement.time.offset("bybit", 0)
        clock.wall_step_ms = step_ms
        seen = threading.Event()

        def beat() -> None:
            beats.append(1)
            if len(beats) >= 3 and any("clock jumped" in record.getMessage() for record in caplog.records):
                seen.set()

        engine.every(0.1, beat)
        assert seen.wait(WAIT_S), "it is told, and jobs run on"
        assert fired == []
        assert METRICS.value("clock_off_seconds", venue="bybit") == pytest.approx(step_ms / 1000, abs=1), (
            "no call needed"
        )
    finally:
        assert engine.stop(1.0)
        engine.sink.stop(1.0)
