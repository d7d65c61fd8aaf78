"""Puts a world in the place of the operating system: names of our modules are bound to their simulated namesakes.

What a module is handed needs nothing of this. What it takes by itself (threads, queues, locks, pika, redis-py, sockets) is
replaced by name in our own modules, for as long as `staged` is open; libraries and the simulator stay as they are.
"""

from __future__ import annotations

import gc
import os
import queue
import random
import secrets
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, NoReturn

import pika
from pika.adapters.select_connection import IOLoop

from connector.core import metrics
from connector.servers.redis import PlainConnection
from connector.sinks._amqp_thread import AbortableConnection
from connector.sinks._disk import RealDisk
from connector.state import positions_on_disk
from harness.worlds import blocking, disk, network, pika_blocking, pika_loop, pools, redis_clients
from harness.worlds.blocking import host, kernel
from harness.worlds.chance import chance
from harness.worlds.kernel import Killed

ROOMS: Final = ("connector.", "workers.", "tasks.")
_ABSENT: Final = object()
LEFT_BEHIND: Final = 30_000
"""Objects, more or less, that several worlds leave in circles."""
AS_THEY_ARE: Final = ("connector.core.log", "connector.core.redact", "connector.core.metrics", "connector.core.traces")
"""Shared by every process of a world, and never asked to wait."""


class Borrowed(ModuleType):
    """A module with a few names replaced."""

    def __init__(self, real: ModuleType, **instead: object) -> None:
        super().__init__(real.__name__)
        self.__dict__["_real"] = real
        self.__dict__.update(instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)


def _monotonic() -> float:
    kern = kernel()
    return (kern.task.host if kern.task is not None else host()).mono(kern.now)


def _time() -> float:
    return host().wall_ms(kernel().now) / 1000


def _time_ns() -> int:
    kern = kernel()
    return (kern.task.host if kern.task is not None else host()).wall_ms(kern.now) * 1_000_000


def _sleep(seconds: float) -> None:
    kernel().wait(seconds)


def _pid() -> int:
    return sum(host().name.encode()) if kernel().task is not None else os.getpid()


def _exit(code: int) -> NoReturn:
    """The process ends; the world goes on."""
    kernel().exited(host(), code)
    raise Killed


THREADING: Final = Borrowed(
    threading,
    Lock=blocking.Lock,
    RLock=blocking.RLock,
    Condition=blocking.Condition,
    Event=blocking.Event,
    Thread=blocking.Thread,
    local=blocking.Local,
    current_thread=blocking.current_thread,
)
QUEUE: Final = Borrowed(queue, Queue=blocking.Queue, SimpleQueue=blocking.Queue)
TIME: Final = Borrowed(time, monotonic=_monotonic, time=_time, time_ns=_time_ns, sleep=_sleep, perf_counter=_monotonic)


class _NoMetrics(metrics.Metrics):
    """Figures of a world are the judge's; those of its processes cost as much as their work."""

    def count(self, *_: object, **__: object) -> None:
        return None

    gauge = observe = replace = count


def _instead() -> dict[int, object]:
    """Real object → its namesake here."""
    pairs: list[tuple[object, object]] = [
        (threading, THREADING),
        (threading.Lock, blocking.Lock),
        (threading.RLock, blocking.RLock),
        (threading.Condition, blocking.Condition),
        (threading.Event, blocking.Event),
        (threading.Thread, blocking.Thread),
        (queue, QUEUE),
        (queue.Queue, blocking.Queue),
        (queue.SimpleQueue, blocking.Queue),
        (futures.ThreadPoolExecutor, pools.ThreadPoolExecutor),
        (time, TIME),
        (random, Borrowed(random, random=chance.random, uniform=chance.uniform, Random=chance.generator)),
        (uuid, Borrowed(uuid, uuid4=chance.uuid4)),
        (secrets, Borrowed(secrets, token_hex=chance.token_hex, token_bytes=chance.token_bytes)),
        (os, Borrowed(os, getpid=_pid, _exit=_exit)),
        (socket, Borrowed(socket, gethostname=lambda: host().name)),
        (pika, Borrowed(pika, BlockingConnection=pika_blocking.BlockingConnection)),
        (IOLoop, pika_loop.IOLoop),
        (AbortableConnection, pika_loop.SelectConnection),
        (PlainConnection, redis_clients.Connection),
        (RealDisk, disk.disk),
        (positions_on_disk.connect, disk.connect),
        (metrics.METRICS, _NoMetrics()),
    ]
    return {id(real): double for real, double in pairs}


def _service_holder() -> object:
    """`tasks.service` keeps the one service of a process; here several processes share the module."""
    return _Holders()


class _Holders:
    """The holder of the process that asks."""

    def _own(self) -> dict[str, Any]:
        held: dict[str, Any] = host().__dict__.setdefault("service_holder", {})
        if not held:
            held.update(changed=blocking.Condition(), service=None)
        return held

    @property
    def changed(self) -> Any:
        return self._own()["changed"]

    @property
    def service(self) -> Any:
        return self._own()["service"]

    @service.setter
    def service(self, service: Any) -> None:
        self._own()["service"] = service


@contextmanager
def _unswept() -> Iterator[None]:
    """Within it circles are looked for between worlds only (`swept`): in the middle of one it would cost more than it does.

    What is loaded lives as long as the process: looking through it for each few worlds costs a quarter of their time.
    """
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()


def swept() -> None:
    """After a world: its circles go as soon as several worlds have left theirs."""
    if gc.get_count()[0] > LEFT_BEHIND:
        gc.collect()


@contextmanager
def staged() -> Iterator[None]:
    """Within it, our modules run in worlds. Not for two at a time."""
    with _unswept(), _bound():
        yield


@contextmanager
def _bound() -> Iterator[None]:
    import connector.sinks.outbox
    import connector.streams.engine
    import connector.streams.http_client
    import connector.streams.session
    import tasks.price
    import tasks.service
    import tasks.user

    undo: list[tuple[Any, str, object]] = []

    def put(where: Any, name: str, value: object) -> None:
        undo.append((where, name, where.__dict__.get(name, _ABSENT)))
        setattr(where, name, value)

    instead = _instead()
    for name, module in sorted(sys.modules.items()):
        if name.startswith(ROOMS) and name not in AS_THEY_ARE:
            for key, value in list(vars(module).items()):
                double = instead.get(id(value))
                if double is not None:
                    put(module, key, double)
    put(tasks.service, "_HOLDER", _service_holder())
    put(
        connector.streams.http_client.HttpClient,
        "_request",
        lambda _, call, egress: network.venues().request(call, egress),
    )
    put(connector.streams.http_client.HttpClient, "_ask", lambda _, call, egress: network.venues().ask(call, egress))
    put(connector.streams.engine, "tls_context", lambda *_: None)
    put(connector.streams.session.Session, "__hash__", lambda session: hash(session.name))
    try:
        yield
    finally:
        for where, key, value in reversed(undo):
            if value is _ABSENT:
                delattr(where, key)
            else:
                setattr(where, key, value)
