"""A RabbitMQ with one command queue, played by the test, as far as a consumer of the platform's queue sees it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import pika
import pika.exceptions

QUEUE = "usersStreamAction"


class Delivered(NamedTuple):
    delivery_tag: int
    redelivered: bool


class Ok(NamedTuple):
    consumer_count: int


class Frame(NamedTuple):
    method: Any


class Server:
    """One durable queue with an exclusive consumer: unacknowledged messages come back, in order, marked."""

    def __init__(self) -> None:
        self.exists = True
        self.marked = True
        """Whether the exchange is there that tells that the queue is known."""
        self.ready: deque[tuple[bytes, bool]] = deque()
        self.consumer: Connection | None = None
        self.acknowledged = 0

    def publish(self, event: str, uuid: str, **more: object) -> None:
        self.ready.append((json.dumps({"payload": {"event": event, "uuid": uuid, **more}}).encode(), False))

    def connect(self) -> Connection:
        return Connection(self)

    def give_back(self, unacknowledged: dict[int, tuple[bytes, bool]]) -> None:
        self.ready.extendleft((body, True) for _, (body, _) in sorted(unacknowledged.items(), reverse=True))
        unacknowledged.clear()


class Aside:
    """A channel beside that of the consumer."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def exchange_declare(self, exchange: str, *, passive: bool = False, auto_delete: bool = False, **_: object) -> None:
        assert exchange == f"{QUEUE}.announced"
        assert passive or auto_delete
        if passive and not self._server.marked:
            raise pika.exceptions.ChannelClosedByBroker(404, "NOT_FOUND")

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> None:
        assert (queue, exchange, routing_key) == (QUEUE, f"{QUEUE}.announced", "")
        self._server.marked = True

    def close(self) -> None: ...


class Connection:
    """As pika's blocking one, as far as it is used; also its own channel."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.is_open = True
        self.lost = False
        self._callbacks: deque[Callable[[], None]] = deque()
        self._on_message: Callable[..., None] | None = None
        self._prefetch = 0
        self._tags = 0
        self._out: dict[int, tuple[bytes, bool]] = {}

    def channel(self) -> Any:
        if self._on_message is not None:
            return Aside(self._server)
        self.is_open = True
        return self

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def process_data_events(self, time_limit: float) -> None:
        if self.lost:
            raise pika.exceptions.StreamLostError("lost")
        while self._callbacks:
            self._callbacks.popleft()()
        while self._on_message is not None and self._server.ready and len(self._out) < self._prefetch:
            body, redelivered = self._server.ready.popleft()
            self._tags += 1
            self._out[self._tags] = body, redelivered
            self._on_message(self, Delivered(self._tags, redelivered), pika.BasicProperties(), body)

    def basic_qos(self, prefetch_count: int) -> None:
        self._prefetch = prefetch_count

    def add_on_cancel_callback(self, callback: Callable[..., None]) -> None: ...

    def exchange_declare(self, *_: object, **__: object) -> None: ...

    def queue_bind(self, *_: object, **__: object) -> None: ...

    def queue_declare(self, queue: str, *, durable: bool = False, passive: bool = False) -> Frame:
        if queue != QUEUE or (passive and not self._server.exists):
            self.end()
            raise pika.exceptions.ChannelClosedByBroker(404, "NOT_FOUND")
        if not self._server.exists:
            self._server.exists, self._server.marked = durable, False
        return Frame(Ok(int(self._server.consumer is not None)))

    def basic_consume(self, _queue: str, *, on_message_callback: Callable[..., None], exclusive: bool) -> str:
        assert exclusive
        assert self._server.consumer is None
        self._server.consumer, self._on_message = self, on_message_callback
        return "tag"

    def basic_ack(self, tag: int) -> None:
        del self._out[tag]
        self._server.acknowledged += 1

    def end(self) -> None:
        """The channel: its consumer goes and what is unacknowledged is back."""
        self.is_open = False
        self._on_message = None
        self._server.give_back(self._out)
        if self._server.consumer is self:
            self._server.consumer = None

    def lose(self) -> None:
        self.lost = True
        self.end()

    def close(self) -> None:
        self.end()
