"""What an I/O thread of a world waits with, and what opens its connections: the seams of `connector.streams`, simulated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from connector.streams.dial import Dial, Dialled
from connector.streams.session import Session
from connector.streams.transport import DialFailure, Transport
from harness.worlds.blocking import kernel
from harness.worlds.kernel import Task
from harness.worlds.network import Venues, WebSocket
from harness.worlds.pools import ThreadPoolExecutor

CONNECT_THREADS: Final = 16


class WorldPoller:
    """`Poller`: level-triggered, in the order in which connections were opened."""

    def __init__(self) -> None:
        self._watched: dict[Session, WebSocket] = {}
        self._waiting: Task | None = None
        self._woken = False

    def watch(self, key: Session, transport: Transport) -> None:
        if isinstance(transport, WebSocket):
            self._watched[key] = transport
            transport.readable = self._poke

    def forget(self, key: Session) -> None:
        self._watched.pop(key, None)

    def wake(self) -> None:
        self._woken = True
        self._poke()

    def _poke(self) -> None:
        if self._waiting is not None:
            kernel().wake(self._waiting)

    def wait(self, timeout_s: float) -> list[Session]:
        ready = self._ready()
        if not ready and not self._woken and timeout_s > 0:
            self._waiting = kernel().task
            kernel().wait(timeout_s)
            self._waiting = None
            ready = self._ready()
        self._woken = False
        return ready

    def _ready(self) -> list[Session]:
        return [session for session, transport in self._watched.items() if transport.has_input()]

    def close(self) -> None:
        self._watched.clear()


class WorldOpener:
    """`Opener`: as many connects side by side as a deployment's pool has threads."""

    width = CONNECT_THREADS

    def __init__(self, network: Venues) -> None:
        self._network = network
        self._pool = ThreadPoolExecutor(CONNECT_THREADS, "connect")

    def open(self, dial: Dial, done: Dialled) -> bool:
        return self._submit(partial(self._open, dial, done))

    def _open(self, dial: Dial, done: Dialled) -> None:
        result: Transport | DialFailure
        try:
            result = self._network.dial(dial.connect, dial.limits, dial.egress)
        except OSError as error:
            result = DialFailure(f"{type(error).__name__}: {error}")
        done(result)

    def aside(self, work: Callable[[], None]) -> bool:
        return self._submit(work)

    def _submit(self, work: Callable[[], None]) -> bool:
        try:
            self._pool.submit(work)
        except RuntimeError:
            return False
        return True

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
