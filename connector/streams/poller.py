"""Waits until a connection has something to read: the sockets of one I/O thread."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

from connector.core.log import get_logger
from connector.streams.transport import Transport

log = get_logger(__name__)

Key = TypeVar("Key", bound=Hashable)


class Poller(Protocol[Key]):
    """One I/O thread's view of its connections. `wake` may be called from any thread, the rest from that one only."""

    def watch(self, key: Key, transport: Transport) -> None:
        """Tell of this connection from now on."""

    def forget(self, key: Key) -> None:
        """Unknown keys are fine. To be called before the connection is closed."""

    def wait(self, timeout_s: float) -> list[Key]:
        """Those with something to read, also with their end; waits for one, for `wake`, or until time is over. One that
        nobody can wait for (a world's) returns at once."""

    def wake(self) -> None:
        """End a `wait` that runs or comes next."""

    def close(self) -> None: ...


class SocketPoller(Generic[Key]):
    """The `Poller` of a deployment: epoll, and a socket pair that wakes it."""

    def __init__(self) -> None:
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._wake_pending = False
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, None)
        self._numbers: dict[Key, int] = {}

    def watch(self, key: Key, transport: Transport) -> None:
        number = transport.fileno()
        if number >= 0:
            self._numbers[key] = number
            self._selector.register(number, selectors.EVENT_READ, key)

    def forget(self, key: Key) -> None:
        number = self._numbers.pop(key, None)
        if number is not None:
            # By number: at the end of a stream the library has closed the socket already, and the number may come back
            # with the next connection, which the selector would refuse as registered.
            self._selector.unregister(number)

    def wait(self, timeout_s: float) -> list[Key]:
        ready: list[Key] = []
        for entry, _ in self._selector.select(timeout_s):
            if entry.data is None:
                self._drain_wake()
            else:
                ready.append(entry.data)
        return ready

    def wake(self) -> None:
        if self._wake_pending or self._closed:
            return
        self._wake_pending = True
        try:
            self._wake_writer.send(b"\0")
        except BlockingIOError:
            log.debug("the I/O thread has unread wake-ups already")
        except OSError:
            if not self._closed:
                raise

    def _drain_wake(self) -> None:
        try:
            while len(self._wake_reader.recv(4096)) == 4096:
                continue
        except BlockingIOError:
            log.debug("the wake-up was read already")
        # Cleared after the socket is empty and before the inbox is run: a post from here on wakes us again.
        self._wake_pending = False

    def close(self) -> None:
        self._closed = True
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()
