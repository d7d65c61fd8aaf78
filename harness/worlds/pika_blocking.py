"""pika's blocking connection, as the command consumer uses it, over the simulated broker. Errors are pika's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ChannelWrongStateError,
    ConnectionWrongStateError,
    StreamLostError,
)

from harness.worlds.blocking import host, kernel
from harness.worlds.kernel import Task
from harness.worlds.rabbit import WAY_S, Consumer, Message, Rabbit

REFUSED_S: Final = 0.002
UNANSWERED_S: Final = 10.0
"""A connect to a host that nothing comes back from."""


class Where:
    """The broker of the world that runs."""

    rabbit: Rabbit | None = None


def rabbit() -> Rabbit:
    if Where.rabbit is None:
        raise RuntimeError("no world runs")
    return Where.rabbit


class _Ok(NamedTuple):
    message_count: int
    consumer_count: int


class Frame(NamedTuple):
    method: Any


class _Method(NamedTuple):
    delivery_tag: int
    redelivered: bool


class _Properties(NamedTuple):
    reply_to: str | None = None
    headers: dict[str, object] | None = None
    correlation_id: str | None = None


# --- blocking ---


class BlockingConnection:
    """`pika.BlockingConnection`: waits are waits of the task that calls."""

    def __init__(self, parameters: Any = None) -> None:
        del parameters
        broker = rabbit()
        self._queue: deque[Callable[[], None]] = deque()
        self._waiting: Task | None = None
        self._why: str | None = None
        self.is_open = True
        kernel().wait(broker.chance.uniform(*WAY_S) * 4)
        if broker.cut_off(host()):
            kernel().wait(UNANSWERED_S)
            raise AMQPConnectionError("timed out")
        if not broker.running:
            kernel().wait(REFUSED_S)
            raise AMQPConnectionError("connection refused")
        self.link = broker.attach(host(), self, 20.0)

    def broken(self, why: str) -> None:
        self._why = why
        self._poke()

    def _poke(self) -> None:
        if self._waiting is not None:
            kernel().wake(self._waiting)

    def _check(self) -> None:
        if self._why is not None or not self.is_open:
            self.is_open = False
            raise StreamLostError(self._why or "closed")

    def answer(self, work: Callable[[], object]) -> object:
        """A round trip: `work` at the broker, its result here. Raises what it raises, or the loss of the connection."""
        self._check()
        outcome: list[object] = []
        failure: list[Exception] = []

        def back() -> None:
            outcome.append(result)
            self._poke()

        result: object = None

        def there() -> None:
            nonlocal result
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it travels to the caller
                failure.append(error)
            self.link.down(back)

        self.link.up(there)
        while not outcome:
            self._wait(None)
            if self._why is not None:
                self._check()
        if failure:
            raise failure[0]
        return outcome[0]

    def _wait(self, timeout_s: float | None) -> None:
        self._waiting = kernel().task
        try:
            kernel().wait(timeout_s)
        finally:
            self._waiting = None

    def channel(self) -> Channel:
        self._check()
        return Channel(self)

    def enter(self, work: Callable[[], None]) -> None:
        """Something for the client's thread to do in its next turn of I/O."""
        self._queue.append(work)
        self._poke()

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None:
        if not self.is_open or self._why is not None:
            raise ConnectionWrongStateError("the connection is closed")
        self.enter(callback)

    def process_data_events(self, time_limit: float = 0) -> None:
        self._check()
        if not self._queue:
            self._wait(time_limit)
        while self._queue:
            self._queue.popleft()()
        self._check()

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.link.told = True
            self.link.up(lambda: self.link.end("closed", tell=False))


class Channel:
    """A channel of a blocking connection."""

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection
        self._prefetch = 1
        self._consumer: Consumer | None = None
        self._on_cancel: Callable[[Any], None] | None = None
        self.is_open = True

    def basic_qos(self, prefetch_count: int = 0) -> None:
        self._ask(lambda: None)
        self._prefetch = prefetch_count

    def add_on_cancel_callback(self, callback: Callable[[Any], None]) -> None:
        self._on_cancel = callback

    def exchange_declare(
        self,
        exchange: str,
        exchange_type: str = "direct",
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = False,
    ) -> None:
        del durable

        def work() -> None:
            if passive and exchange not in rabbit().exchanges:
                raise self._closed(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'")
            rabbit().declare_exchange(exchange, exchange_type, auto_delete=auto_delete)

        self._ask(work)

    def queue_declare(self, queue: str, passive: bool = False, durable: bool = False) -> Frame:
        def work() -> _Ok:
            found = rabbit().queues.get(queue)
            if found is None and passive:
                raise self._closed(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'")
            made = found or rabbit().declare_queue(queue, durable=durable)
            return _Ok(len(made.messages), int(made.consumer is not None))

        return Frame(self._ask(work))

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> None:
        def work() -> None:
            if queue not in rabbit().queues:
                raise self._closed(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'")
            rabbit().bind(queue, exchange, routing_key)

        self._ask(work)

    def close(self) -> None:
        self._ask(lambda: None)
        self.is_open = False

    def basic_consume(self, queue: str, on_message_callback: Callable[..., None], exclusive: bool = False) -> str:
        def work() -> str:
            found = rabbit().queues.get(queue)
            if found is None:
                raise self._closed(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'")
            if found.consumer is not None:
                raise self._closed(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use")
            consumer = Consumer(
                self._connection.link,
                self,
                found,
                "ctag",
                exclusive,
                self._prefetch,
                lambda tag, message: self._connection.enter(lambda: self._deliver(on_message_callback, tag, message)),
                lambda: self._connection.enter(self._cancelled),
            )
            found.consumer = self._consumer = consumer
            self._connection.link.consumers.append(consumer)
            rabbit().pump(found)
            return consumer.tag

        return str(self._ask(work))

    def _deliver(self, callback: Callable[..., None], tag: int, message: Message) -> None:
        if self.is_open:
            callback(self, _Method(tag, message.redelivered), message.properties or _Properties(), message.body)

    def _cancelled(self) -> None:
        if self._on_cancel is not None:
            self._on_cancel(None)

    def basic_cancel(self, consumer_tag: str) -> None:
        del consumer_tag
        consumer = self._consumer

        def work() -> None:
            if consumer is not None and consumer.queue.consumer is consumer:
                consumer.queue.consumer = None

        self._ask(work)

    def basic_ack(self, delivery_tag: int) -> None:
        self._need_open()
        consumer = self._consumer
        if consumer is not None:
            self._connection.link.up(lambda: rabbit().acknowledge(consumer, delivery_tag))

    def basic_nack(self, delivery_tag: int, requeue: bool = True) -> None:
        del requeue
        self._need_open()
        consumer = self._consumer
        if consumer is not None:
            self._connection.link.up(lambda: rabbit().requeue(consumer, [delivery_tag]))

    def basic_publish(self, exchange: str, key: str, body: bytes, properties: Any = None) -> None:
        self._need_open()
        self._connection.link.up(lambda: _void(rabbit().publish(Message(exchange, key, body, properties))))

    def _need_open(self) -> None:
        self._connection._check()
        if not self.is_open:
            raise ChannelWrongStateError("Channel is closed.")

    def _ask(self, work: Callable[[], object]) -> Any:
        self._need_open()
        return self._connection.answer(work)

    def _closed(self, code: int, text: str) -> ChannelClosedByBroker:
        """The broker closes the channel: its consumer goes, and what it held is back in its place."""
        self.is_open = False
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            if consumer in consumer.connection.consumers:
                consumer.connection.consumers.remove(consumer)
            rabbit().remove(consumer)
        return ChannelClosedByBroker(code, text)


def _void(_value: object) -> None:
    return None
