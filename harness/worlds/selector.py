"""`selectors` and the socket pair of an I/O thread, over the sockets of the simulated network."""

from __future__ import annotations

import itertools
from collections import deque
from typing import Any, NamedTuple

from harness.worlds.blocking import kernel
from harness.worlds.kernel import Task

_NUMBERS = itertools.count(3)


class Key(NamedTuple):
    fileobj: Any
    fd: int
    events: int
    data: Any


class Selector:
    """`selectors.DefaultSelector`: level-triggered, in the order of registration."""

    def __init__(self) -> None:
        self._keys: dict[int, Key] = {}
        self._waiting: Task | None = None

    def register(self, fileobj: Any, events: int, data: Any = None) -> Key:
        number = fileobj.fileno()
        if number in self._keys:
            raise KeyError(f"{number} is registered already")
        key = self._keys[number] = Key(fileobj, number, events, data)
        getattr(fileobj, "connection", fileobj).readable = self._poke
        return key

    def unregister(self, fileobj: Any) -> Key:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def _poke(self) -> None:
        if self._waiting is not None:
            kernel().wake(self._waiting)

    def select(self, timeout: float | None = None) -> list[tuple[Key, int]]:
        ready = self._ready()
        if not ready and (timeout is None or timeout > 0):
            self._waiting = kernel().task
            kernel().wait(timeout)
            self._waiting = None
            ready = self._ready()
        return ready

    def _ready(self) -> list[tuple[Key, int]]:
        return [(key, 1) for key in self._keys.values() if key.fileobj.has_input()]

    def close(self) -> None:
        self._keys.clear()


class PairEnd:
    """One end of a socket pair, as far as a wake-up needs it."""

    def __init__(self) -> None:
        self.peer: PairEnd = self
        self.readable: Any = lambda: None
        self._number = next(_NUMBERS)
        self._bytes: deque[bytes] = deque()

    def fileno(self) -> int:
        return self._number

    def setblocking(self, _blocking: bool) -> None:
        """Neither end ever blocks."""

    def has_input(self) -> bool:
        return bool(self._bytes)

    def send(self, data: bytes) -> int:
        self.peer._bytes.append(data)
        self.peer.readable()
        return len(data)

    def recv(self, _size: int) -> bytes:
        if not self._bytes:
            raise BlockingIOError
        data = b"".join(self._bytes)
        self._bytes.clear()
        return data

    def close(self) -> None:
        self._bytes.clear()


def socketpair() -> tuple[PairEnd, PairEnd]:
    one, other = PairEnd(), PairEnd()
    one.peer, other.peer = other, one
    return one, other
