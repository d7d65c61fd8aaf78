"""A thread that died or hangs is seen: nothing is renewed, its stack is told, the process ends (E10)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from connector.core.clock import SystemClock
from connector.core.loop import Loop
from connector.core.stamps import Stamped
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.alive import EXIT_STUCK, HANG_S, Alive, stamped
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.options import EngineOptions

WAIT_S = 10.0


class Shifted(SystemClock):
    shift_s = 0.0

    def mono(self) -> float:
        return super().mono() + self.shift_s


class Ends:
    """Instead of the end of the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.told = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.told.set()


class Renewed(MemoryState):
    """Counts the heartbeats."""

    beats = 0

    def heartbeat(self, *arguments: Any) -> None:
        self.beats += 1
        super().heartbeat(*arguments)


class Running:
    def __init__(self) -> None:
        self.clock, self.ends, self.state, self.hold = Shifted(), Ends(), Renewed(), threading.Event()
        # Beats come from the test: the time of a hang passes at once.
        options = EngineOptions(role="user", drain_timeout_s=0.0, lease_ttl_s=10_000.0)
        self.engine = Engine(options, self.state, MemorySink(), Edges(clock=self.clock, end_process=self.ends))

    def beat_counts(self) -> bool:
        before = self.state.beats
        self.engine._beat()
        return self.state.beats > before


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    running.engine.sink.start()
    running.engine.start()
    yield running
    running.hold.set()
    running.engine.stop(1.0)
    running.engine.sink.stop(1.0)


def settle(running: Running) -> None:
    """Every thread that does not hang begins something after this."""
    for loop in running.engine._loops:
        loop.post(lambda: None)
    for io in running.engine.io:
        io.post(lambda: None)
    with running.engine.dialler._condition:
        running.engine.dialler._condition.notify_all()
    threading.Event().wait(0.2)


def test_a_process_whose_threads_live_renews(running: Running) -> None:
    assert running.engine.alive.names() == ["accounts", "dial-pacer", "io-0", "rest", "supervisor"]
    assert running.beat_counts()
    assert running.ends.codes == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_io_thread_that_died_is_seen_at_the_next_beat(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    """E10: 18 s later the stream was live, its lease renewed, its session closed."""
    io = running.engine.io[0]

    def broken(timeout_s: float) -> list[Any]:
        raise RuntimeError("a defect outside of any session")

    io._poller.wait = broken  # type: ignore[method-assign]
    io.post(lambda: None)
    assert io.thread is not None
    io.thread.join(WAIT_S)
    assert not running.beat_counts()
    assert running.ends.codes == [EXIT_STUCK]
    assert any(record.levelname == "ERROR" and "stuck" in record.getMessage() for record in caplog.records)


def hang_io(running: Running) -> None:
    running.engine.io[0].post(lambda: hang_here(running.hold))


def hang_loop(running: Running) -> None:
    running.engine.units.loop.post(lambda: hang_here(running.hold))


def hang_supervisor(running: Running) -> None:
    running.engine.supervisor.post(lambda: hang_here(running.hold))


def hang_here(hold: threading.Event) -> None:
    hold.wait(WAIT_S)


@pytest.mark.parametrize("hang", [hang_io, hang_loop, hang_supervisor], ids=["io", "accounts", "supervisor"])
def test_a_thread_that_hangs_is_seen_and_its_stack_told(
    running: Running, hang: Callable[[Running], None], caplog: pytest.LogCaptureFixture
) -> None:
    hang(running)
    threading.Event().wait(0.2)
    assert running.beat_counts(), "a moment is no hang"
    running.clock.shift_s += HANG_S + 1
    settle(running)
    assert not running.beat_counts(), "nothing is renewed from the first doubt on"
    assert running.ends.codes == []
    assert not running.beat_counts()
    assert running.ends.codes == [EXIT_STUCK]
    (told,) = [record for record in caplog.records if "is stuck" in record.getMessage()]
    assert "hang_here" in json.dumps(told.__dict__, default=str)


def test_a_host_that_slept_is_no_hang(running: Running) -> None:
    """The first look may come before the threads had their turn."""
    running.clock.shift_s += 3_600.0
    running.engine._beat()
    settle(running)
    assert running.beat_counts()
    assert running.ends.codes == []


def test_a_process_that_ends_in_order_is_not_stuck() -> None:
    running = Running()
    running.engine.sink.start()
    running.engine.start()
    assert running.engine.stop(1.0)
    running.engine.sink.stop(1.0)
    assert running.engine.alive.check()
    assert running.ends.codes == []


def test_the_process_really_ends_with_the_documented_code() -> None:
    program = (
        "import threading\n"
        "from connector.core.clock import SystemClock\n"
        "from connector.streams.alive import Alive, stamped\n"
        "class Part:\n"
        "    name, alive_mono, thread = 'io-0', 0.0, threading.Thread(target=lambda: None)\n"
        "Part.thread.start()\n"
        "Part.thread.join(5)\n"
        "alive = Alive(SystemClock())\n"
        "alive.watch(stamped([Part()]))\n"
        "alive.check()\n"
        "print('went on')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False
    )
    assert (ended.returncode, ended.stdout) == (EXIT_STUCK, "")


def test_nobodys_thread_is_not_watched() -> None:
    alive = Alive(SystemClock(), Ends())
    alive.watch(stamped([Loop("none", SystemClock(), threaded=False)]))
    never = threading.Thread(target=int)
    alive.watch([Stamped("never started", never, lambda: 0.0)])
    assert alive.names() == []
    assert alive.check()
