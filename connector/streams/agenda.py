"""A thread with an inbox and timers: everything that the supervisor decides runs here, one piece after the other."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from collections.abc import Callable

from connector.core.log import get_logger
from connector.core.ports import Clock

log = get_logger(__name__)


class Timer:
    """Something to do later; `work` is None once it was done or cancelled."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work


class Agenda:
    """`_post` from any thread; the rest on the agenda's own."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._clock = clock
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._sequence = itertools.count()
        # Signals of sessions and orders of the owner: a few per stream, so bounded by the streams.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _post(self, work: Callable[[], None]) -> None:
        self._inbox.put(work)

    def _at(self, when: float, work: Callable[[], None]) -> Timer:
        timer = Timer(work)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def _drop(self, timer: Timer | None) -> None:
        """Forget a timer; None and one that was served already are fine."""
        if timer is None or timer.work is None:
            return
        timer.work = None
        self._cancelled += 1
        # Cooldowns last up to a day and are opened and closed several times a minute: the dead must not pile up.
        if self._cancelled > 1000 and self._cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if entry[2].work is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def _run(self) -> None:
        while self._turn(5.0):
            continue

    def _turn(self, max_wait_s: float) -> bool:
        """Do one piece of posted work and everything that is due; False after the end was posted."""
        wait_s = max_wait_s
        if self._timers:
            wait_s = min(wait_s, max(0.0, self._timers[0][0] - self._clock.mono()))
        try:
            work = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except queue.Empty:
            pass
        else:
            if work is None:
                return False
            self._guard(work)
        now = self._clock.mono()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            due, timer.work = timer.work, None
            if due is None:
                self._cancelled -= 1
            else:
                self._guard(due)
        return True

    @staticmethod
    def _guard(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("unexpected error on the supervisor's thread")
