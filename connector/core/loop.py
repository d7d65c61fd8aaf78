"""One inbox, one heap of timers, one turn: the shape of everything that decides. A thread turns it, or a world does.

`post` may be called from any thread. Everything else belongs to whoever turns the loop: its own thread after `start`, the
caller of `turn` otherwise.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Final

from connector.core.log import get_logger
from connector.core.ports import Clock

log = get_logger(__name__)

MAX_WAITING: Final = 200_000
"""A guard: posts beyond this are refused with an error line; sweeps find again what was dropped."""
MAX_WAIT_S: Final = 1.0
"""The longest a thread sleeps between turns, so that `alive_mono` tells a living loop from a dead or hanging one."""

Work = Callable[[], None]


class Timer:
    """Something to do later; `work` is None once it was done or cancelled."""

    __slots__ = ("work",)

    def __init__(self, work: Work) -> None:
        self.work: Work | None = work


class Loop:
    """Runs posted work in order, and timers when they are due. An exception costs only its own piece of work."""

    def __init__(self, name: str, clock: Clock, *, threaded: bool = True) -> None:
        """`threaded`: `start` makes a thread. Without one whoever made the loop turns it, and sees when it has to."""
        self.name = name
        self.threaded = threaded
        self.alive_mono = clock.mono()
        """When the loop last began something, on the monotonic clock; read from any thread."""
        self._clock = clock
        self._inbox: queue.Queue[Work | None] = queue.Queue(MAX_WAITING)
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._sequence = itertools.count()
        self._once: set[str] = set()
        self.thread: threading.Thread | None = None

    # --- any thread ---

    def post(self, work: Work) -> bool:
        """Queue `work`; False if it was refused because too much is waiting."""
        try:
            self._inbox.put_nowait(work)
        except queue.Full:
            log.error("too much work is waiting", loop=self.name)
            return False
        return True

    def post_once(self, name: str, work: Work) -> None:
        """Like `post`, but not again while the last one of this name still waits (periodic jobs on a busy loop)."""
        if name in self._once:
            return
        self._once.add(name)

        def run() -> None:
            self._once.discard(name)
            work()

        if not self.post(run):
            self._once.discard(name)

    def waiting(self) -> int:
        """Pieces of work that were posted and not begun."""
        return self._inbox.qsize()

    def start(self) -> None:
        if not self.threaded:
            return
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End after the work that is waiting now; False if the thread did not end in time."""
        if self.thread is None:
            self.turn()
            return True
        try:
            self._inbox.put(None, timeout=timeout_s)
        except queue.Full:
            return False
        self.thread.join(timeout_s)
        return not self.thread.is_alive()

    def run(self, work: Work, timeout_s: float) -> bool:
        """Run `work` on the loop and wait for it; False if time ran out. Never from the loop itself."""
        done = threading.Event()

        def wrapped() -> None:
            try:
                work()
            finally:
                done.set()

        if not self.post(wrapped):
            return False
        if self.thread is None:
            self.turn()
        return done.wait(timeout_s if self.thread is not None else 0.0)

    # --- whoever turns it ---

    def still_alive(self) -> None:
        """Said within long work: it goes on."""
        self.alive_mono = self._clock.mono()

    def at(self, when: float, work: Work) -> Timer:
        """Run `work` once the monotonic clock shows `when`."""
        timer = Timer(work)
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def after(self, delay_s: float, work: Work) -> Timer:
        return self.at(self._clock.mono() + delay_s, work)

    def cancel(self, timer: Timer | None) -> None:
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

    def cancel_all(self) -> None:
        """Forget every timer."""
        self._timers.clear()
        self._cancelled = 0

    def next_due(self) -> float | None:
        """When there is something to do by the monotonic clock: now if work waits, None if nothing is planned."""
        if not self._inbox.empty():
            return self._clock.mono()
        return self._timers[0][0] if self._timers else None

    def turn(self) -> bool:
        """Do what was posted before this turn and what is due; True if there was anything. Never waits."""
        self.alive_mono = self._clock.mono()
        did = False
        for _ in range(self._inbox.qsize()):
            try:
                work = self._inbox.get_nowait()
            except queue.Empty:
                break
            if work is not None:
                did = True
                self._guard(work)
        return self._serve() or did

    def _serve(self) -> bool:
        did = False
        now = self._clock.mono()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            due, timer.work = timer.work, None
            if due is None:
                self._cancelled -= 1
            else:
                did = True
                self._guard(due)
        return did

    def _run(self) -> None:
        while True:
            now = self.alive_mono = self._clock.mono()
            wait_s = min(MAX_WAIT_S, max(0.0, self._timers[0][0] - now)) if self._timers else MAX_WAIT_S
            try:
                work = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
            except queue.Empty:
                pass
            else:
                if work is None:
                    return
                self._guard(work)
            self._serve()

    def _guard(self, work: Work) -> None:
        try:
            work()
        except Exception:
            log.exception("unexpected error", loop=self.name)
