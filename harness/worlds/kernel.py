"""Time and turns of one world: one thread, a heap of moments, and tasks that wait for them.

A *task* is what a thread is in a deployment: it runs until it waits. While it waits, other tasks run; when nobody can run,
the clock jumps to the next due moment. So code that blocks (`Condition.wait`, `Queue.get`, `sleep`) runs as it is, in an
order that follows from the seed alone, and an hour takes as long as what happens in it.

A *host* is one process with clocks of its own. A frozen host's tasks wait for its thaw, whatever wakes them; the tasks of a
killed host never run again.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from greenlet import getcurrent, greenlet

EPOCH_MS: Final = 1_793_001_600_000
"""Wall time at the start of every world."""
MAX_TURNS_AT_ONCE: Final = 200_000
"""Turns without the clock moving: more means that something spins."""

PAUSES_S: Final[tuple[float, ...]] = (0.0, 0.0, 0.0002, 0.003)
"""How long a thread that lost the processor is away …"""
BUSY_S: Final[tuple[float, ...]] = (0.0, 0.003, 0.05)
"""… and on a machine that has too much to do."""

Work = Callable[[], object]


class Killed(BaseException):
    """The process of this task was killed: everything unwinds, nothing it does on the way has an effect."""


class Spinning(Exception):
    """Tasks run and run and the clock stands still."""


class Host:
    """One process: its clocks, and whether it runs."""

    def __init__(
        self, name: str, *, seed: int = 0, mono_s: float = 0.0, skew_ms: int = 0, drift_ppm: float = 0.0
    ) -> None:
        self.name = name
        self.seed = seed
        self.mono_s = mono_s
        """What its monotonic clock showed when the world began."""
        self.skew_ms = skew_ms
        self.drift_ppm = drift_ppm
        self.alive = True
        self.frozen = False
        self.parked: list[Task | Timer] = []

    def mono(self, now: float) -> float:
        return now + self.mono_s

    def wall_ms(self, now: float) -> int:
        return EPOCH_MS + self.skew_ms + int(now * (1000 + self.drift_ppm / 1000))


class Timer:
    """A piece of work for later; `work` is None once it ran or was cancelled."""

    __slots__ = ("host", "work")

    def __init__(self, work: Work, host: Host | None) -> None:
        self.work: Work | None = work
        self.host = host

    def cancel(self) -> None:
        self.work = None


class Task:
    """One line of execution of a host. `woken` tells why its last wait ended."""

    __slots__ = ("ended", "greenlet", "host", "name", "number", "on_end", "storage", "ticket", "waiting", "woken")

    def __init__(self, name: str, host: Host, number: int) -> None:
        self.name = name
        self.host = host
        self.number = number
        self.greenlet: greenlet | None = None
        self.waiting = False
        self.woken = False
        self.ticket = 0
        """Number of the current wait: a timer of an earlier one is out of date."""
        self.ended = False
        self.on_end: list[Callable[[], None]] = []
        self.storage: dict[int, dict[str, object]] = {}
        """What `threading.local` objects hold for this task."""


class Kernel:
    """The one queue of a world. `task` is who runs now; None = the world itself, which must not wait."""

    def __init__(self) -> None:
        self.now = 0.0
        self.task: Task | None = None
        self.crashed: Callable[[Task, BaseException], None] = _reraise
        """Told about a task that an exception ended."""
        self.exited: Callable[[Host, int], None] = lambda _host, _code: None
        """Told about a process that ends itself at once."""
        self._heap: list[tuple[float, int, Timer | tuple[Task, int]]] = []
        self._ready: deque[Task | Timer] = deque()
        self._sequence = itertools.count()
        self._numbers = itertools.count(1)
        self._tasks: set[Task] = set()
        self._hub = getcurrent()
        self.turns = 0
        self.pauses: random.Random | None = None
        """Where tasks lose the processor in the middle of things, as threads do; None = only where they wait."""
        self.pause_every = 100
        self.pauses_s: tuple[float, ...] = PAUSES_S
        self._until_pause = 1

    # --- for everybody ---

    @property
    def host(self) -> Host | None:
        return self.task.host if self.task is not None else None

    def at(self, when: float, work: Work, host: Host | None = None) -> Timer:
        """Run `work` at a moment, in the world's own turn: it must not wait. Of a host: not while that is frozen or dead."""
        timer = Timer(work, host)
        heapq.heappush(self._heap, (when, next(self._sequence), timer))
        return timer

    def after(self, delay_s: float, work: Work, host: Host | None = None) -> Timer:
        return self.at(self.now + delay_s, work, host)

    def spawn(self, work: Work, host: Host, name: str) -> Task:
        """A new task; it begins after everything that can run already."""
        task = Task(name, host, next(self._numbers))

        def run() -> None:
            try:
                if host.alive:
                    work()
            except Killed:
                return
            except BaseException as error:  # noqa: BLE001 - as a thread's, it ends the task and nothing else
                if not isinstance(error, SystemExit):
                    self.crashed(task, error)
            finally:
                task.ended = True
                self._tasks.discard(task)
                for told in task.on_end:
                    told()

        task.greenlet = greenlet(run, parent=self._hub)
        self._tasks.add(task)
        self._ready.append(task)
        return task

    def wait(self, timeout_s: float | None = None) -> bool:
        """Let others run until `wake` (True) or until the time is over (False). The current task only."""
        task = self.task
        if task is None:
            raise RuntimeError("the world itself must not wait")
        host = task.host
        if not host.alive:
            raise Killed
        task.ticket += 1
        task.waiting, task.woken = True, False
        if timeout_s is not None:
            until = self.now + timeout_s if timeout_s > 0.0 else self.now
            heapq.heappush(self._heap, (until, next(self._sequence), (task, task.ticket)))
        self._hub.switch()
        if not host.alive:
            raise Killed
        return task.woken

    def may_pause(self) -> None:
        """Called where a thread may be stopped in favour of another one: before it takes a lock."""
        if self.pauses is None:
            return
        self._until_pause -= 1
        if self._until_pause <= 0:
            self._until_pause = 1 + int(self.pauses.expovariate(1 / self.pause_every))
            self.wait(self.pauses.choice(self.pauses_s))

    def wake(self, task: Task) -> None:
        """End a task's wait. Any task, or the world."""
        if task.waiting:
            task.waiting, task.woken = False, True
            self._ready.append(task)

    # --- for the world ---

    def freeze(self, host: Host) -> None:
        host.frozen = True

    def thaw(self, host: Host) -> None:
        host.frozen = False
        parked, host.parked = host.parked, []
        self._ready.extend(parked)

    def kill(self, host: Host) -> None:
        """Every task of the host ends where it stands."""
        host.alive, host.frozen = False, False
        host.parked.clear()
        for task in sorted((task for task in self._tasks if task.host is host), key=lambda task: task.number):
            if task is not self.task:
                self._switch(task)

    def close(self) -> None:
        """End of the world: no task is left behind."""
        for task in sorted(self._tasks, key=lambda task: task.number):
            task.host.alive = False
            self._switch(task)
        self._heap.clear()
        self._ready.clear()

    def tasks_by_host(self) -> Counter[str]:
        """How many tasks each host has."""
        return Counter(task.host.name for task in self._tasks)

    def next_due(self) -> float | None:
        if self._ready:
            return self.now
        return self._heap[0][0] if self._heap else None

    def run(self, until: float) -> None:
        """Let the world go on until the clock shows `until`."""
        heap, ready = self._heap, self._ready
        self._run_ready()
        while heap and heap[0][0] <= until:
            when, _, entry = heapq.heappop(heap)
            if when > self.now:
                self.now = when
            if isinstance(entry, Timer):
                if entry.work is None:
                    continue
                ready.append(entry)
            else:
                task, ticket = entry
                if not task.waiting or task.ticket != ticket:
                    continue
                task.waiting = False
                ready.append(task)
            self._run_ready()
        self.now = max(self.now, until)

    def _run_ready(self) -> None:
        begun, turns, ready = self.now, 0, self._ready
        while ready:
            turns += 1
            if turns > MAX_TURNS_AT_ONCE:
                raise Spinning(f"at {begun:.3f} s: {ready[0]!r}")
            entry = ready.popleft()
            host = entry.host
            if host is not None and (host.frozen or not host.alive):
                if host.alive:
                    host.parked.append(entry)
                continue
            if isinstance(entry, Timer):
                work, entry.work = entry.work, None
                if work is not None:
                    work()
            elif not entry.ended:
                self._turn(entry)
        self.turns += turns

    def _turn(self, task: Task) -> None:
        """`_switch` from the world's own turn, where there is nobody to come back to but the hub: most turns by far."""
        running, hub = task.greenlet, self._hub
        if running is None or running.dead:
            return
        if running.parent is not hub:
            running.parent = hub
        self.task, task.waiting = task, False
        try:
            running.switch()
        finally:
            self.task = None

    def _switch(self, task: Task) -> None:
        before, self.task = self.task, task
        task.waiting = False
        try:
            if task.greenlet is not None and not task.greenlet.dead:
                # A kill may come from a task of another host: control must come back to whoever switches.
                task.greenlet.parent = getcurrent()
                hub, self._hub = self._hub, getcurrent()
                try:
                    task.greenlet.switch()
                finally:
                    self._hub = hub
        finally:
            self.task = before


def _reraise(task: Task, error: BaseException) -> None:
    raise RuntimeError(f"task {task.name} of {task.host.name} ended") from error
