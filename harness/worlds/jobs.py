"""The `Jobs` of a process in a world: by the monotonic clock, each on a task of its own, as on a pool of threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from connector.core.clock import Chance
from connector.core.ports import Clock
from harness.worlds.blocking import host, kernel
from harness.worlds.kernel import Host, Timer

STOP_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.01


class WorldJobs:
    """Takes the place of `connector.streams.scheduler.SchedulerJobs`."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        del clock
        self._chance = chance
        self._host: Host = host()
        self._jobs: dict[str, Timer] = {}
        self._waiting: list[Callable[[], None]] = []
        self._running: set[str] = set()
        self._started = self._stopped = False

    def start(self) -> None:
        self._started = True
        for begin in self._waiting:
            begin()
        self._waiting.clear()

    def every(self, name: str, period_s: float, work: Callable[[], Any], *, jitter_s: float = 0.0) -> None:
        def due() -> None:
            again()
            self._run(name, work)

        def again() -> None:
            jitter = self._chance.uniform(0.0, jitter_s) if jitter_s else 0.0
            self._jobs[name] = kernel().after(period_s + jitter, due, self._host)

        self._begin(again)

    def after(self, name: str, delay_s: float, work: Callable[[], Any]) -> None:
        def due() -> None:
            self._jobs.pop(name, None)
            self._run(name, work)

        def later() -> None:
            self.cancel(name)
            self._jobs[name] = kernel().after(delay_s, due, self._host)

        self._begin(later)

    def _begin(self, begin: Callable[[], None]) -> None:
        if self._stopped:
            return
        if self._started:
            begin()
        else:
            self._waiting.append(begin)

    def _run(self, name: str, work: Callable[[], Any]) -> None:
        if name in self._running or self._stopped:
            return
        self._running.add(name)
        kernel().spawn(partial(self._perform, name, work), self._host, f"job-{name}")

    def _perform(self, name: str, work: Callable[[], Any]) -> None:
        try:
            work()
        finally:
            self._running.discard(name)

    def cancel(self, name: str) -> None:
        timer = self._jobs.pop(name, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        self._stopped = True
        for name in list(self._jobs):
            self.cancel(name)
        until = kernel().now + STOP_TIMEOUT_S
        while self._running and kernel().now < until:
            kernel().wait(POLL_S)
