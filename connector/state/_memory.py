"""Parts of `MemoryState`: values with a deadline, and a listener's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Full, Queue
from typing import Final, Generic, Protocol, TypeVar

from connector.core.log import get_logger
from connector.core.ports import Clock

_log = get_logger("state.memory")

INBOX: Final = 10_000
"""Notifications that may wait for one listener. Beyond that they are dropped and followed by `resync`."""

T = TypeVar("T")


class Expiring(Generic[T]):
    """Values with a deadline. Not thread-safe. The dead are swept out as the table grows, so that it can't leak."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, tuple[T, float | None]] = {}
        self._sweep_at = 64

    def get(self, name: str) -> T | None:
        value, until = self._values.get(name, (None, None))
        if until is not None and until <= self._clock.mono():
            del self._values[name]
            return None
        return value

    def set(self, name: str, value: T, ttl_s: float | None) -> None:
        self._values[name] = (value, None if ttl_s is None else self._clock.mono() + ttl_s)
        if len(self._values) > self._sweep_at:
            for other in list(self._values):
                self.get(other)
            self._sweep_at = max(64, 2 * len(self._values))

    def left_s(self, name: str) -> float | None:
        """How long the value still lives; None = there is none."""
        _, until = self._values.get(name, (None, None))
        left_s = until - self._clock.mono() if until is not None else 0.0
        return left_s if left_s > 0.0 else None

    def drop(self, name: str) -> None:
        self._values.pop(name, None)

    def values(self) -> Iterator[T]:
        for name in list(self._values):
            value = self.get(name)
            if value is not None:
                yield value


Deliver = Callable[[str, Callable[[], None]], None]
"""Brings a notification to the listener of this owner: runs the work later, never within the call."""


class Listening(Protocol):
    """One listener of a `MemoryState`."""

    owner: str

    def put(self, text: str) -> None: ...

    def stop(self) -> None: ...


class Delivered:
    """A listener whose notifications somebody else brings."""

    def __init__(self, owner: str, callback: Callable[[str], None], deliver: Deliver) -> None:
        self.owner = owner
        self._callback: Callable[[str], None] | None = callback
        self._deliver = deliver

    def put(self, text: str) -> None:
        self._deliver(self.owner, partial(self._bring, text))

    def _bring(self, text: str) -> None:
        if self._callback is not None:
            self._callback(text)

    def stop(self) -> None:
        self._callback = None


class Inbox:
    """One listener: a bounded queue and the thread that empties it."""

    def __init__(self, owner: str, callback: Callable[[str], None]) -> None:
        self.owner = owner
        self._callback = callback
        self._queue: Queue[str] = Queue(INBOX)
        self._overflowed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"state-listener:{owner}", daemon=True)
        self._thread.start()

    def put(self, text: str) -> None:
        try:
            self._queue.put_nowait(text)
        except Full:
            self._overflowed.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                text = self._queue.get(timeout=0.2)
            except Empty:
                if not self._overflowed.is_set():
                    continue
                self._overflowed.clear()
                text = "resync"
            if not self._stopping.is_set():
                self._call(text)

    def _call(self, text: str) -> None:
        try:
            self._callback(text)
        except Exception:  # noqa: BLE001 - top of the callback; the listener must live on
            _log.exception("a notification callback failed", text=text)

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
