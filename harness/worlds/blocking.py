"""What `threading` and `queue` give a deployment, over the tasks of a kernel.

Only what our code uses of them. Each class keeps the promises of its namesake; waits are the kernel's, so they cost no time
and end in an order that follows from the world alone.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import Any

from harness.worlds.kernel import Host, Kernel, Task


class Stage:
    """Which kernel runs now. Blocking objects ask it, because our code makes them without knowing of worlds."""

    kernel: Kernel | None = None


def kernel() -> Kernel:
    if Stage.kernel is None:
        raise RuntimeError("no world runs")
    return Stage.kernel


def host() -> Host:
    task = kernel().task
    if task is None:
        raise RuntimeError("no process runs: the world itself has no clock of a host")
    return task.host


class Lock:
    """`threading.Lock`. The world itself only looks: between two turns nothing moves, so it needs no lock."""

    __slots__ = ("_held", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._waiting: deque[Task] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        kern = Stage.kernel
        if kern is None or kern.task is None:
            return True
        if kern.pauses is not None:
            kern.may_pause()
        while self._held:
            if not blocking:
                return False
            self._waiting.append(kern.task)
            if not kern.wait(timeout if timeout >= 0 else None):
                return False
        self._held = True
        return True

    def release(self) -> None:
        kern = Stage.kernel
        if kern is None or kern.task is None:
            return
        self._held = False
        if self._waiting:
            _wake_one(self._waiting)

    def locked(self) -> bool:
        return self._held

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class RLock(Lock):
    """`threading.RLock`."""

    __slots__ = ("_depth", "_owner")

    def __init__(self) -> None:
        super().__init__()
        self._owner: Task | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        kern = Stage.kernel
        if kern is None or kern.task is None:
            return True
        if self._held and self._owner is kern.task:
            self._depth += 1
            return True
        if not super().acquire(blocking, timeout):
            return False
        self._owner, self._depth = kern.task, 1
        return True

    def release(self) -> None:
        kern = Stage.kernel
        if kern is None or kern.task is None:
            return
        self._depth -= 1
        if self._depth <= 0:
            self._owner, self._depth = None, 0
            super().release()


class Condition:
    """`threading.Condition`."""

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock: Lock = lock if lock is not None else RLock()
        self._waiting: deque[Task] = deque()
        self.acquire, self.release = self._lock.acquire, self._lock.release

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__()

    def wait(self, timeout: float | None = None) -> bool:
        task = kernel().task
        if task is None:
            raise RuntimeError("the world itself waits for a condition")
        self._waiting.append(task)
        self._lock.release()
        try:
            return kernel().wait(timeout)
        finally:
            if not task.woken and task in self._waiting:
                self._waiting.remove(task)
            if task.host.alive:
                self._lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else kernel().now + timeout
        result = predicate()
        while not result:
            if until is not None and until <= kernel().now:
                break
            self.wait(None if until is None else until - kernel().now)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        while n > 0 and self._waiting:
            task = self._waiting.popleft()
            if task.waiting:
                kernel().wake(task)
                n -= 1

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    """`threading.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            kernel().wake(task)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            task = kernel().task
            if task is None:
                raise RuntimeError("the world itself waits for an event")
            self._waiting.append(task)
            kernel().wait(timeout)
            if task in self._waiting:
                self._waiting.remove(task)
        return self._set


class Thread:
    """`threading.Thread` for those who hold one; nobody here is one."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str = "thread",
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        del group
        self.name, self.daemon = name, daemon
        self.ident: int | None = None
        self._target, self._args, self._kwargs = target, args, kwargs or {}
        self._task: Task | None = None
        self._ended = Event()

    def start(self) -> None:
        self._task = kernel().spawn(self.run, host(), self.name)
        self._task.on_end.append(self._ended.set)
        self._task.storage[0] = {"thread": self}
        self.ident = self._task.number

    def run(self) -> None:
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None and not self._task.ended:
            self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.ended


def current_thread() -> Thread:
    task = kernel().task
    found = task.storage.get(0, {}).get("thread") if task is not None else None
    return found if isinstance(found, Thread) else Thread(name=task.name if task is not None else "world")


class Local:
    """`threading.local`."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        try:
            return _stored(self)[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        _stored(self)[name] = value


def _stored(local: Local) -> dict[str, object]:
    task = kernel().task
    if task is None:
        raise RuntimeError("the world itself has no thread's storage")
    return task.storage.setdefault(id(local), {})


class Queue:
    """`queue.Queue`, and with its own `put` and `get` `queue.SimpleQueue`, too."""

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self.queue: deque[Any] = deque()
        self._getters: deque[Task] = deque()
        self._putters: deque[Task] = deque()
        self.unfinished_tasks = 0

    def __class_getitem__(cls, _item: object) -> type[Queue]:
        return cls

    def qsize(self) -> int:
        return len(self.queue)

    def empty(self) -> bool:
        return not self.queue

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self.queue)

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        until = None if timeout is None else kernel().now + timeout
        while 0 < self.maxsize <= len(self.queue):
            if not block or not _wait_in(self._putters, until):
                raise queue.Full
        self.queue.append(item)
        self.unfinished_tasks += 1
        if self._getters:
            _wake_one(self._getters)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        until = None if timeout is None else kernel().now + timeout
        while not self.queue:
            if not block or not _wait_in(self._getters, until):
                raise queue.Empty
        item = self.queue.popleft()
        if self._putters:
            _wake_one(self._putters)
        return item

    def wait_for_item(self, timeout: float) -> None:
        """Until something is there or the time is over; it stays there."""
        if not self.queue:
            _wait_in(self._getters, kernel().now + timeout)

    def task_done(self) -> None:
        self.unfinished_tasks -= 1


def _wait_in(line: deque[Task], until: float | None) -> bool:
    """Wait in a line to be woken; False once the time is over."""
    kern = kernel()
    if kern.task is None:
        raise RuntimeError("the world itself waits for a queue")
    if until is not None and until <= kern.now:
        return False
    line.append(kern.task)
    if kern.wait(None if until is None else until - kern.now):
        return True
    if kern.task in line:
        line.remove(kern.task)
    return True


def _wake_one(line: deque[Task]) -> None:
    while line:
        task = line.popleft()
        if task.waiting:
            kernel().wake(task)
            return
