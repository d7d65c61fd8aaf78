"""A wall clock that jumps must not stop the beat."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.clock import ClockWatch
from connector.streams.edges import Edges
from connector.streams.engine import Engine, EngineOptions


class Clock:
    def __init__(self) -> None:
        self.seconds, self.wall = 100.0, 1_000_000

    def mono(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, 2_500])
def test_a_jump_is_told_once_with_its_size(jump_ms: int) -> None:
    clock = Clock()
    watch = ClockWatch(clock)
    clock.seconds, clock.wall = 101.0, clock.wall + 1_000
    assert watch.jumped_ms() == 0
    clock.wall += jump_ms
    assert watch.jumped_ms() == jump_ms
    assert watch.jumped_ms() == 0


def test_a_slewed_clock_is_no_jump() -> None:
    clock = Clock()
    watch = ClockWatch(clock)
    clock.seconds, clock.wall = 101.0, clock.wall + 1_400
    assert watch.jumped_ms() == 0


def test_jobs_run_on_after_the_clock_was_set_back(caplog: pytest.LogCaptureFixture) -> None:
    """The scheduler's next times lie in the future then: without help it would not beat for as long as the step was."""
    engine = Engine(EngineOptions(role="user", drain_timeout_s=0.0), MemoryState(), MemorySink(), Edges())
    ran = threading.Event()
    engine.sink.start()
    engine.start()
    try:
        engine.every(0.2, ran.set)
        # What a clock that was set back by an hour leaves behind.
        for job in engine.scheduler.get_jobs():
            job.modify(next_run_time=datetime.now(UTC) + timedelta(hours=1))
        ran.clear()
        watch = cast(ClockWatch, engine._clock_watch)
        engine.units.loop.run(lambda: setattr(watch, "_offset_ms", watch._offset_ms + 3_600_000), 5.0)
        assert ran.wait(10.0)
        assert any("clock jumped" in record.getMessage() for record in caplog.records)
    finally:
        assert engine.stop(1.0)
        engine.sink.stop(1.0)
