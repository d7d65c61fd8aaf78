"""A thread with an inbox: work that talks to the state, in order, off the supervisor's and the I/O threads."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from connector.core.log import get_logger

log = get_logger(__name__)

MAX_WAITING: Final = 200_000
"""A guard: posts beyond this are refused with an error line; sweeps find again what was dropped."""


class Loop:
    """`post` from any thread; the work runs in order on the loop's thread. An exception costs only its own piece of work."""

    def __init__(self, name: str) -> None:
        self._inbox: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_WAITING)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._once: set[str] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def post(self, work: Callable[[], None]) -> bool:
        """Queue `work`; False if it was refused because too much is waiting."""
        try:
            self._inbox.put_nowait(work)
        except queue.Full:
            log.error("too much work is waiting", loop=self._thread.name)
            return False
        return True

    def post_once(self, name: str, work: Callable[[], None]) -> None:
        """Like `post`, but not again while the last one of this name still waits (periodic jobs on a busy loop)."""
        if name in self._once:
            return
        self._once.add(name)

        def run() -> None:
            self._once.discard(name)
            work()

        if not self.post(run):
            self._once.discard(name)

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Run `work` after a delay. Loop thread only."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._sequence), work))

    def run(self, work: Callable[[], None], timeout_s: float) -> bool:
        """Run `work` on the loop and wait for it; False if time ran out."""
        done = threading.Event()

        def wrapped() -> None:
            try:
                work()
            finally:
                done.set()

        self.post(wrapped)
        return done.wait(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """End after the work that is waiting now."""
        self.post(self._quit)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _quit(self) -> None:
        raise SystemExit

    def _run(self) -> None:
        while True:
            wait_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else 5.0
            try:
                work = self._inbox.get(timeout=min(wait_s, 5.0)) if wait_s > 0 else self._inbox.get_nowait()
            except queue.Empty:
                work = None
            try:
                if work is not None:
                    work()
                now = time.monotonic()
                while self._timers and self._timers[0][0] <= now:
                    heapq.heappop(self._timers)[2]()
            except SystemExit:
                return
            except Exception:
                log.exception("unexpected error", loop=self._thread.name)
