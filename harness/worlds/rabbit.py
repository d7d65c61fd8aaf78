"""A simulated RabbitMQ: exchanges, queues, exclusive consumers, confirms, returns, alarms, and connections that break.

What a client sees of it is in `pika_clients`. Everything takes a moment on its way, in order per connection and direction.
Queues keep what is in them over a restart only if it is persistent; the backend's commands are not (contract 1.1).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from harness.worlds.kernel import Host, Kernel

WAY_S: Final = (0.0002, 0.004)
"""One way between a client and the broker."""
HEARTBEATS_MISSED: Final = 2
BROKER_WENT_DOWN: Final = "it went down with the broker"
NO_QUEUE: Final = "it found no queue"


@dataclass(slots=True)
class Message:
    exchange: str
    key: str
    body: bytes
    properties: Any = None
    persistent: bool = False
    redelivered: bool = False
    at: float = 0.0
    message_id: str = ""
    host: str = ""
    """Who published it."""


@dataclass(slots=True)
class Queue:
    name: str
    durable: bool = True
    messages: deque[Message] = field(default_factory=deque)
    consumer: Consumer | None = None


@dataclass(slots=True)
class Consumer:
    connection: Connection
    channel: object
    queue: Queue
    tag: str
    exclusive: bool
    prefetch: int
    deliver: Callable[[int, Message], None]
    cancelled: Callable[[], None]
    unacknowledged: dict[int, Message] = field(default_factory=dict)
    next_tag: int = 1


class Client(Protocol):
    """The client's end of a connection."""

    def broken(self, why: str) -> None: ...


class Connection:
    """The broker's end of one connection."""

    def __init__(self, broker: Rabbit, host: Host, client: Client, heartbeat_s: float) -> None:
        self.broker, self.host, self.client, self.heartbeat_s = broker, host, client, heartbeat_s
        self.open = True
        """As the broker sees it."""
        self.told = False
        """Whether the client knows that it is over."""
        self.consumers: list[Consumer] = []
        self.delayed: list[Callable[[], None]] = []
        """What a broker in alarm does not read."""
        self.lost: list[Callable[[], None]] = []
        """What could not arrive while the host was cut off."""
        self._arrives = {True: 0.0, False: 0.0}

    def up(self, work: Callable[[], None]) -> None:
        """From the client to the broker; lost if the connection ends on the way."""
        self._travel(True, work)

    def down(self, work: Callable[[], None]) -> None:
        """From the broker to the client."""
        self._travel(False, work)

    def _travel(self, up: bool, work: Callable[[], None]) -> None:
        kernel, broker = self.broker.kernel, self.broker
        when = max(self._arrives[up], kernel.now + broker.chance.uniform(*WAY_S), broker.stalled_until)
        self._arrives[up] = when

        def arrive() -> None:
            if self.open and broker.cut_off(self.host):
                self.lost.append(work)
            elif self.open:
                work()

        kernel.at(when, arrive)

    def retransmit(self) -> None:
        """The way is free again: TCP sends what got lost."""
        lost, self.lost = self.lost, []
        for work in lost:
            if self.open:
                work()

    def end(self, why: str, *, tell: bool = True) -> None:
        """The broker is done with it: what was not acknowledged goes back, first in line."""
        if self.open:
            self.open = False
            self.broker.connections.discard(self)
            for consumer in self.consumers:
                self.broker.remove(consumer)
            self.consumers.clear()
        if tell and not self.told:
            self.told = True
            self.client.broken(why)


class Rabbit:
    """The broker. `readers` are consumers of the world's own, by queue: the trading backend."""

    def __init__(self, kernel: Kernel, chance: random.Random) -> None:
        self.kernel, self.chance = kernel, chance
        self.running = True
        self.alarm = False
        self.stalled_until = 0.0
        """Stands still until then (SIGSTOP, a disk that hangs): nothing is lost, everything is late."""
        self.exchanges: dict[str, str] = {}
        self.queues: dict[str, Queue] = {}
        self.bindings: set[tuple[str, str, str]] = set()
        self.unbound = False
        """An exchange was deleted, and with it the bindings of others: what was said until they bound again is lost."""
        self.auto_deleted: set[str] = set()
        """Exchanges that go with the last queue that was bound to them."""
        self.deleted: list[tuple[float, str]] = []
        """When which queue was deleted."""
        self.connections: set[Connection] = set()
        self.readers: dict[str, Callable[[Message], None]] = {}
        self.on_gone: Callable[[Message, str], None] = lambda message, why: None
        """Called with each message that nobody will get, and why: it went down with the broker or with its queue, or there
        was none. Whoever published it is not told."""
        self.unroutable = 0
        self._away_hosts: set[Host] = set()

    # --- reaching it ---

    def cut_off(self, host: Host) -> bool:
        return host in self._away_hosts

    def reachable(self, host: Host) -> bool:
        return self.running and not self.cut_off(host)

    def attach(self, host: Host, client: Client, heartbeat_s: float) -> Connection:
        connection = Connection(self, host, client, heartbeat_s)
        self.connections.add(connection)
        return connection

    # --- faults ---

    def stop(self) -> None:
        """It goes down; persistent messages in durable queues stay."""
        self.running = False
        for connection in self._in_order():
            connection.end("the broker went down")
        for queue in self.queues.values():
            gone = [message for message in queue.messages if not message.persistent]
            for message in gone:
                self.on_gone(message, BROKER_WENT_DOWN)
            queue.messages = deque(message for message in queue.messages if message.persistent)

    def start(self) -> None:
        self.running = True

    def drop_connections(self) -> None:
        """Every connection is reset; the broker goes on."""
        for connection in self._in_order():
            connection.end("connection reset")

    def cut(self, host: Host) -> None:
        """Nothing reaches the host any more and nothing comes from it; both ends find out by their heartbeats."""
        self._away_hosts.add(host)
        for connection in self._in_order():
            if connection.host is host:
                self._watch(connection, "no heartbeat", self.cut_off)

    def mend(self, host: Host) -> None:
        self._away_hosts.discard(host)
        for connection in self._in_order():
            if connection.host is host:
                connection.retransmit()

    def host_frozen(self, host: Host) -> None:
        for connection in self._in_order():
            if connection.host is host:
                self._watch(connection, "no heartbeat", lambda frozen: frozen.frozen)

    def host_died(self, host: Host) -> None:
        for connection in self._in_order():
            if connection.host is host:
                connection.end("the client is gone", tell=False)

    def _watch(self, connection: Connection, why: str, still: Callable[[Host], bool]) -> None:
        def look() -> None:
            if connection.open and still(connection.host):
                connection.end(why)

        self.kernel.after(connection.heartbeat_s * HEARTBEATS_MISSED, look)

    def set_alarm(self, alarm: bool, tell: Callable[[Connection, bool], None]) -> None:
        self.alarm = alarm
        for connection in self._in_order():
            tell(connection, alarm)
            if not alarm:
                delayed, connection.delayed = connection.delayed, []
                for work in delayed:
                    if connection.open:
                        work()

    def delete_queue(self, name: str) -> None:
        queue = self.queues.pop(name, None)
        bound = {row[0] for row in self.bindings if row[1] == name}
        self.bindings = {row for row in self.bindings if row[1] != name}
        for exchange in bound & self.auto_deleted - {row[0] for row in self.bindings}:
            self.exchanges.pop(exchange)
        if queue is not None:
            self.deleted.append((self.kernel.now, name))
            if queue.consumer is not None:
                consumer, queue.consumer = queue.consumer, None
                consumer.unacknowledged.clear()
                if consumer in consumer.connection.consumers:
                    consumer.connection.consumers.remove(consumer)
                consumer.connection.down(consumer.cancelled)
            for message in queue.messages:
                self.on_gone(message, NO_QUEUE)

    def delete_exchange(self, name: str) -> None:
        self.exchanges.pop(name, None)
        self.unbound = True
        self.bindings = {row for row in self.bindings if row[0] != name}

    # --- topology ---

    def declare_exchange(self, name: str, kind: str, *, auto_delete: bool = False) -> None:
        if name not in self.exchanges and auto_delete:
            self.auto_deleted.add(name)
        self.exchanges.setdefault(name, kind)

    def declare_queue(self, name: str, *, durable: bool) -> Queue:
        return self.queues.setdefault(name, Queue(name, durable))

    def bind(self, queue: str, exchange: str, key: str) -> None:
        self.bindings.add((exchange, queue, key))

    # --- messages ---

    def publish(self, message: Message) -> bool | None:
        """Route a message: whether a queue took it; None if there is no such exchange."""
        message.at = self.kernel.now
        kind = self.exchanges.get(message.exchange)
        if kind is None:
            return None
        names = sorted(
            queue
            for exchange, queue, key in self.bindings
            if exchange == message.exchange and _fits(kind, key, message)
        )
        taken = False
        for name in names:
            queue = self.queues.get(name)
            if queue is not None:
                taken = True
                self._enqueue(queue, message)
        if not taken:
            self.unroutable += 1
            self.on_gone(message, NO_QUEUE)
        return taken

    def _enqueue(self, queue: Queue, message: Message) -> None:
        reader = self.readers.get(queue.name)
        if reader is not None:
            reader(message)
            return
        queue.messages.append(message)
        self.pump(queue)

    def pump(self, queue: Queue) -> None:
        """Deliver what the consumer's prefetch has room for."""
        consumer = queue.consumer
        while consumer is not None and queue.messages and len(consumer.unacknowledged) < consumer.prefetch:
            message = queue.messages.popleft()
            tag, consumer.next_tag = consumer.next_tag, consumer.next_tag + 1
            consumer.unacknowledged[tag] = message
            consumer.connection.down(_deliver(consumer, tag, message))

    def acknowledge(self, consumer: Consumer, tag: int) -> None:
        if consumer.unacknowledged.pop(tag, None) is not None:
            self.pump(consumer.queue)

    def requeue(self, consumer: Consumer, tags: list[int]) -> None:
        """Back to their places, before everything newer."""
        back = [consumer.unacknowledged.pop(tag) for tag in sorted(tags) if tag in consumer.unacknowledged]
        for message in back:
            message.redelivered = True
        consumer.queue.messages.extendleft(reversed(back))
        self.pump(consumer.queue)

    def remove(self, consumer: Consumer) -> None:
        """The consumer is gone: its queue is free."""
        if consumer.queue.consumer is consumer:
            consumer.queue.consumer = None
        self.requeue(consumer, list(consumer.unacknowledged))

    def _in_order(self) -> list[Connection]:
        return sorted(self.connections, key=lambda connection: (connection.host.name, connection.heartbeat_s))


def _deliver(consumer: Consumer, tag: int, message: Message) -> Callable[[], None]:
    return lambda: consumer.deliver(tag, message)


def _fits(kind: str, binding: str, message: Message) -> bool:
    if kind != "topic":
        return binding == message.key
    return binding in {"#", message.key} or (binding.endswith(".#") and message.key.startswith(binding[:-1]))


Headers = Mapping[str, object]
