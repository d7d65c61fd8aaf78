"""pika's connection on a loop of callbacks, as the event publisher uses it, over the simulated broker."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ChannelWrongStateError,
    ConnectionClosedByClient,
    ConnectionWrongStateError,
    StreamLostError,
)

from harness.worlds.blocking import host, kernel
from harness.worlds.kernel import Task
from harness.worlds.pika_blocking import UNANSWERED_S, Frame, rabbit
from harness.worlds.rabbit import WAY_S, Connection, Message


class IOLoop:
    """pika's loop: callbacks and timers on the thread that started it."""

    def __init__(self) -> None:
        self._inbox: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._task: Task | None = None
        self._running = False
        self._closed = False

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (kernel().now + delay, next(self._numbers), callback))

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None:
        if self._closed:
            return
        self._inbox.append(callback)
        if self._task is not None:
            kernel().wake(self._task)

    def start(self) -> None:
        self._task, self._running = kernel().task, True
        while self._running:
            work = self._next()
            if work is not None:
                work()
            else:
                kernel().wait(self._timers[0][0] - kernel().now if self._timers else None)
        self._task = None

    def _next(self) -> Callable[[], None] | None:
        """What was posted, then what is due."""
        if self._inbox:
            return self._inbox.popleft()
        if self._timers and self._timers[0][0] <= kernel().now:
            return heapq.heappop(self._timers)[2]
        return None

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._closed = True


class SelectConnection:
    """`pika.SelectConnection`: everything is told on its loop."""

    def __init__(
        self,
        parameters: Any,
        on_open_callback: Callable[..., None],
        on_open_error_callback: Callable[..., None],
        on_close_callback: Callable[..., None],
        custom_ioloop: IOLoop,
    ) -> None:
        self._loop = custom_ioloop
        self._on_close = on_close_callback
        self._on_blocked: Callable[..., None] | None = None
        self._on_unblocked: Callable[..., None] | None = None
        self.is_closed = False
        self.is_closing = False
        self.channels: list[SelectChannel] = []
        self._host = host()
        self.link: Connection | None = None
        heartbeat_s = float(parameters.heartbeat or 15)
        broker = rabbit()

        def open_now() -> None:
            if broker.cut_off(self._host):
                self._loop.call_later(UNANSWERED_S, partial_error("timed out"))
            elif not broker.running:
                partial_error("connection refused")()
            else:
                self.link = broker.attach(self._host, self, heartbeat_s)
                on_open_callback(self)
                if broker.alarm:
                    self.blocked(True)

        def partial_error(why: str) -> Callable[[], None]:
            def fail() -> None:
                self.is_closed = True
                on_open_error_callback(self, AMQPConnectionError(why))

            return fail

        self._loop.call_later(broker.chance.uniform(*WAY_S) * 4, open_now)

    def broken(self, why: str) -> None:
        self._loop.add_callback_threadsafe(lambda: self._gone(StreamLostError(why)))

    def _gone(self, error: Exception) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._on_close(self, error)

    def blocked(self, blocked: bool) -> None:
        told = self._on_blocked if blocked else self._on_unblocked
        if told:
            self._loop.add_callback_threadsafe(lambda: told(self, None))

    def add_on_connection_blocked_callback(self, callback: Callable[..., None]) -> None:
        self._on_blocked = callback

    def add_on_connection_unblocked_callback(self, callback: Callable[..., None]) -> None:
        self._on_unblocked = callback

    def channel(self, on_open_callback: Callable[..., None]) -> None:
        channel = SelectChannel(self, self._loop)
        self.channels.append(channel)
        channel.ask(lambda: None, lambda _result: on_open_callback(channel))

    def abort(self, why: str) -> None:
        """What did not arrive yet never does."""
        if self.link is not None:
            self.link.told = True
            self.link.end(why, tell=False)
        self._loop.call_later(0.001, lambda: self._gone(StreamLostError(why)))

    def close(self, reply_code: int = 200, reply_text: str = "") -> None:
        if self.is_closed or self.is_closing:
            raise ConnectionWrongStateError("the connection is closed")
        self.is_closing = True
        link = self.link
        if link is not None:
            link.told = True
            link.end(reply_text, tell=False)
        error: Exception = ConnectionClosedByClient(reply_code, reply_text)
        self._loop.call_later(0.001, lambda: self._gone(error))


class SelectChannel:
    """A channel of a connection on a loop."""

    def __init__(self, connection: SelectConnection, loop: IOLoop) -> None:
        self._connection, self._loop = connection, loop
        self._on_close: Callable[..., None] | None = None
        self._on_return: Callable[..., None] | None = None
        self._confirm: Callable[..., None] | None = None
        self._published = 0
        self.is_open = True

    def ask(self, work: Callable[[], object], callback: Callable[[Any], None] | None) -> None:
        link = self._link()
        if link is None:
            return

        def there() -> None:
            result = work()
            if callback is not None:
                link.down(lambda: self._loop.add_callback_threadsafe(lambda: self._tell(callback, result)))

        link.up(there)

    def _link(self) -> Connection | None:
        return self._connection.link

    def _tell(self, callback: Callable[[Any], None], result: object) -> None:
        if self.is_open and not self._connection.is_closed:
            callback(Frame(result))

    def add_on_close_callback(self, callback: Callable[..., None]) -> None:
        self._on_close = callback

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self._on_return = callback

    def exchange_declare(
        self, exchange: str, exchange_type: str = "direct", durable: bool = False, callback: Any = None, **_: object
    ) -> None:
        del durable
        self.ask(lambda: rabbit().declare_exchange(exchange, exchange_type), callback)

    def queue_declare(self, queue: str, durable: bool = False, callback: Any = None, **_: object) -> None:
        self.ask(lambda: rabbit().declare_queue(queue, durable=durable), callback)

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "", callback: Any = None) -> None:
        self.ask(lambda: rabbit().bind(queue, exchange, routing_key), callback)

    def confirm_delivery(self, on_confirmation: Callable[..., None], callback: Any = None) -> None:
        self._confirm = on_confirmation
        self.ask(lambda: None, callback)

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: Any = None, mandatory: bool = False
    ) -> None:
        link = self._link()
        if not self.is_open or self._connection.is_closed or self._connection.is_closing or link is None:
            raise ChannelWrongStateError("Channel is closed.")
        self._published += 1
        tag = self._published
        persistent = getattr(properties, "delivery_mode", 1) == 2
        message_id = str(getattr(properties, "message_id", "") or "")
        message = Message(
            exchange, routing_key, body, properties, persistent, message_id=message_id, host=link.host.name
        )

        def arrive() -> None:
            if rabbit().alarm:
                link.delayed.append(lambda: self._arrived(link, tag, message, mandatory=mandatory))
            else:
                self._arrived(link, tag, message, mandatory=mandatory)

        link.up(arrive)

    def _arrived(self, link: Connection, tag: int, message: Message, *, mandatory: bool) -> None:
        taken = rabbit().publish(message)
        if taken is None:
            text = f"NOT_FOUND - no exchange '{message.exchange}' in vhost '/'"
            link.down(
                lambda: self._loop.add_callback_threadsafe(lambda: self._closed(ChannelClosedByBroker(404, text)))
            )
            return
        if not taken and mandatory and self._on_return is not None:
            returned = self._on_return
            method = pika.spec.Basic.Return(312, "NO_ROUTE", message.exchange, message.key)
            link.down(
                lambda: self._loop.add_callback_threadsafe(
                    lambda: returned(self, method, message.properties, message.body)
                )
            )
        acknowledged = pika.spec.Basic.Ack(tag, multiple=False)
        link.down(lambda: self._loop.add_callback_threadsafe(lambda: self._confirmed(acknowledged)))

    def _confirmed(self, method: Any) -> None:
        if self._confirm is not None and self.is_open and not self._connection.is_closed:
            self._confirm(Frame(method))

    def _closed(self, error: Exception) -> None:
        if self.is_open:
            self.is_open = False
            if self._on_close is not None:
                self._on_close(self, error)
