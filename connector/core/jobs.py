"""Jobs on a loop: for whoever turns the loop itself. A deployment has a pool of threads (`connector.streams.scheduler`)."""

from __future__ import annotations

from connector.core.clock import Chance
from connector.core.loop import Loop, Timer, Work


class LoopJobs:
    """The `Jobs` of a process without threads. Only whoever turns the loop may call; nothing runs before `start`."""

    def __init__(self, loop: Loop, chance: Chance) -> None:
        self._loop, self._chance = loop, chance
        self._timers: dict[str, Timer | None] = {}
        self._waiting: list[Work] = []
        self._state = "new"

    def start(self) -> None:
        self._state = "running"
        waiting, self._waiting = self._waiting, []
        for begin in waiting:
            begin()

    def every(self, name: str, period_s: float, work: Work, *, jitter_s: float = 0.0) -> None:
        def run() -> None:
            begin()
            work()

        def begin() -> None:
            delay_s = period_s + (self._chance.uniform(0.0, jitter_s) if jitter_s else 0.0)
            self._timers[name] = self._loop.after(delay_s, run)

        self._begin(name, begin)

    def after(self, name: str, delay_s: float, work: Work) -> None:
        def run() -> None:
            self._timers.pop(name, None)
            work()

        def begin() -> None:
            self._timers[name] = self._loop.after(delay_s, run)

        self._begin(name, begin)

    def _begin(self, name: str, begin: Work) -> None:
        self.cancel(name)
        if self._state == "running":
            begin()
        elif self._state == "new":
            self._waiting.append(begin)

    def cancel(self, name: str) -> None:
        self._loop.cancel(self._timers.pop(name, None))

    def stop(self) -> None:
        self._state = "stopped"
        self._waiting.clear()
        for name in list(self._timers):
            self.cancel(name)
