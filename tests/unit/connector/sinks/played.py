"""A broker and a Redis played by the test, under a clock that it moves: the sinks run whole, without a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pika
from pika.exceptions import (
    ChannelClosedByBroker,
    ChannelWrongStateError,
    ConnectionClosedByBroker,
    ConnectionClosedByClient,
    StreamLostError,
)
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connector.core.clock import Chance
from connector.core.messages import AccountMessage
from connector.core.waits import Ending
from connector.servers.redis import one_by_one
from connector.sinks._amqp_ports import Callback
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from tests.clocks import Standing


class _Confirm(NamedTuple):
    NAME: str
    delivery_tag: int
    multiple: bool


class _Frame(NamedTuple):
    method: Any


class Published(NamedTuple):
    key: str
    message_id: str
    body: bytes


class Broker:
    """Connections as pika's; answers at once, or not at all (`up` False). Confirms when told to."""

    def __init__(self) -> None:
        self.up = True
        self.refuses_queue = False
        self.queue = False
        """Whether the queue is there and bound."""
        self.returned: list[str] = []
        self.on_arguments: Callable[[dict[str, object]], None] | None = None
        """Told the arguments of each declared queue."""
        self.connections: list[Connection] = []
        self.published: list[Published] = []
        self._next: deque[Callable[[], None]] = deque()

    def __call__(self, opened: Callback, failed: Callback, closed: Callback) -> Connection:
        connection = Connection(self, closed)
        self.connections.append(connection)
        self.soon(lambda: opened(connection) if self.up else failed(connection, OSError("refused")))
        return connection

    def soon(self, work: Callable[[], None]) -> None:
        self._next.append(work)

    def turn(self) -> None:
        while self._next:
            self._next.popleft()()

    @property
    def link(self) -> Connection:
        return self.connections[-1]


class Connection:
    def __init__(self, broker: Broker, closed: Callback) -> None:
        self.broker = broker
        self.is_closed = self.is_closing = False
        self.channel_: Channel | None = None
        self.aborted = ""
        self._closed = closed
        self._blocked: Callback | None = None
        self._unblocked: Callback | None = None

    def add_on_connection_blocked_callback(self, callback: Callback) -> None:
        self._blocked = callback

    def add_on_connection_unblocked_callback(self, callback: Callback) -> None:
        self._unblocked = callback

    def channel(self, on_open_callback: Callback) -> None:
        channel = self.channel_ = Channel(self)
        self.broker.soon(lambda: on_open_callback(channel))

    def block(self, blocked: bool) -> None:
        callback = self._blocked if blocked else self._unblocked
        assert callback is not None
        callback(self, None)

    def close(self, code: int = 200, text: str = "") -> None:
        self.is_closing = True
        self.broker.soon(lambda: self._end(ConnectionClosedByClient(code, text)))

    def abort(self, why: str) -> None:
        self.aborted = why
        self.broker.soon(lambda: self._end(StreamLostError(why)))

    def lose(self) -> None:
        self._end(ConnectionClosedByBroker(320, "CONNECTION_FORCED"))

    def _end(self, error: Exception) -> None:
        self.is_closed = True
        if self.channel_ is not None:
            self.channel_.is_open = False
        self._closed(self, error)


class Channel:
    def __init__(self, connection: Connection) -> None:
        self.is_open = True
        self._connection, self._broker = connection, connection.broker
        self._on_close: Callback | None = None
        self._confirm: Callback | None = None
        self._return: Callback | None = None
        self.declared: list[str] = []
        self.sent = self.confirmed = 0
        """Delivery tags; `confirmed` is the test's."""

    def add_on_close_callback(self, callback: Callback) -> None:
        self._on_close = callback

    def add_on_return_callback(self, callback: Callback) -> None:
        self._return = callback

    def exchange_declare(self, exchange: str, kind: str, *, durable: bool, callback: Callback) -> None:
        assert (kind, durable) == ("topic", True)
        self.declared.append(exchange)
        self._broker.soon(lambda: callback(None))

    def queue_declare(self, queue: str, *, durable: bool, arguments: dict[str, object], callback: Callback) -> None:
        assert durable
        assert arguments
        if self._broker.on_arguments is not None:
            self._broker.on_arguments(arguments)
        if self._broker.refuses_queue:
            self._broker.soon(lambda: self.close_by_broker(406, "PRECONDITION_FAILED"))
            return
        self.declared.append(queue)
        self._broker.soon(lambda: callback(None))

    def queue_bind(self, queue: str, exchange: str, _binding: str, *, callback: Callback) -> None:
        self.declared.append(f"{exchange}>{queue}")
        self._broker.queue = True
        self._broker.soon(lambda: callback(None))

    def confirm_delivery(self, ack_nack_callback: Callback, callback: Callback) -> None:
        self._confirm = ack_nack_callback
        self._broker.soon(lambda: callback(None))

    def basic_publish(
        self, _exchange: str, key: str, body: bytes, properties: pika.BasicProperties, *, mandatory: bool = False
    ) -> None:
        """A message that no queue takes is returned if it is mandatory, and confirmed in any case: by the test."""
        if not self.is_open:
            raise ChannelWrongStateError("closed")
        self.sent += 1
        if self._broker.queue:
            self._broker.published.append(Published(key, properties.message_id or "", body))
        elif mandatory:
            assert self._return is not None
            self._broker.returned.append(properties.message_id or "")
            on_return = self._return
            self._broker.soon(lambda: on_return(self, None, properties, body))

    def confirm(self, tag: int, *, multiple: bool = False, ack: bool = True) -> None:
        assert self._confirm is not None
        self._confirm(_Frame(_Confirm("Basic.Ack" if ack else "Basic.Nack", tag, multiple)))

    def close_by_broker(self, code: int, text: str) -> None:
        self.is_open = False
        assert self._on_close is not None
        self._on_close(self, ChannelClosedByBroker(code, text))


class Redis:
    """Makes connections that carry out a few commands. `late` answers nothing, but does what it is told."""

    def __init__(self) -> None:
        self.up = True
        self.late = False
        self.readonly = False
        self.during: Callable[[], None] | None = None
        """Called while commands are carried out, before their answer."""
        self.waited_s: list[float] = []
        """How long its answers would have been waited for, where that was bounded."""
        self.done: list[list[bytes]] = []
        """Commands that were carried out, beside those of a connection's start."""

    def __call__(self) -> RedisWire:
        return RedisWire(self)

    def published(self, channel: str) -> list[bytes]:
        return [parts[2] for parts in self.done if parts[:2] == [b"PUBLISH", channel.encode()]]


class RedisWire:
    def __init__(self, server: Redis) -> None:
        self._server = server
        self._replies: deque[object] = deque()

    def connect(self) -> None:
        if not self._server.up:
            raise RedisConnectionError("refused")

    def disconnect(self) -> None:
        self._replies.clear()

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        assert not check_health
        if not self._server.up:
            raise RedisConnectionError("reset")
        if self._server.during is not None:
            self._server.during()
        for parts in unpacked(b"".join(command)):
            self._replies.append(self._reply(parts))

    def _reply(self, parts: list[bytes]) -> object:
        if parts[0] == b"SCRIPT":
            return b"sha"
        if parts[0] == b"HEXPIRE" and parts[1] == b"wsc:probe":
            return _error("ERR unknown command 'HEXPIRE'")
        if self._server.readonly:
            return _error("READONLY You can't write against a read only replica.")
        self._server.done.append(parts)
        return 0 if parts[0] == b"EVALSHA" else 1

    def can_read(self, timeout: float) -> bool:
        self._server.waited_s.append(timeout)
        return not self._server.late

    def read_response(self) -> object:
        if self._server.late:
            raise RedisTimeoutError("Timeout reading from socket")
        reply = self._replies.popleft()
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def read_counts(self, count: int) -> Sequence[Exception]:
        errors: list[Exception] = []
        for _ in range(count):
            try:
                self.read_response()
            except ResponseError as error:
                errors.append(error)
        return errors

    def read_numbers(self, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
        one_by_one(self, count, replies, left_s, reply_s)


def _error(text: str) -> object:
    """As redis-py reads it from the wire."""
    return BaseParser.parse_error(text)  # type: ignore[no-untyped-call]


def unpacked(data: bytes) -> list[list[bytes]]:
    """Commands in the Redis protocol."""
    commands = []
    while data:
        head, data = data.split(b"\r\n", 1)
        parts = []
        for _ in range(int(head[1:])):
            size, data = data.split(b"\r\n", 1)
            length = int(size[1:])
            parts.append(data[:length])
            data = data[length + 2 :]
        commands.append(parts)
    return commands


def play(sink: Any, clock: Standing, seconds: float, broker: Broker | None = None) -> None:
    """Let `seconds` pass, from one due moment to the next."""
    end = clock.now + seconds
    while True:
        for _ in range(1_000):
            if broker is not None:
                broker.turn()
            if not sink.turn():
                break
        else:
            raise AssertionError("the sink never rests")
        due = sink.next_due()
        if due is None or due > end:
            clock.now = end
            return
        clock.now = max(clock.now, due)


def event(number: int, event_type: str = "executionReport", stream_id: str = "u") -> AccountMessage:
    return AccountMessage(
        stream_id=stream_id,
        exchange="okx",
        event_type=event_type,
        event_id=f"e{number}",
        event_time_ms=1,
        body=b"%d" % number,
        received_mono=0.0,
    )


class Rabbit:
    """The RabbitMQ sink on a played broker."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.clock, self.broker, self.confirmed = Standing(), Broker(), list[str]()
        self.sink = RabbitSink(RabbitOptions(**options), clock=self.clock, chance=Chance(seed), broker=self.broker)
        self.sink.on_confirmed = lambda messages: self.confirmed.extend(message.event_id for message in messages)
        self.sink.start()

    def play(self, seconds: float) -> None:
        play(self.sink, self.clock, seconds, self.broker)

    @property
    def channel(self) -> Any:
        return self.broker.link.channel_

    @property
    def sent(self) -> list[str]:
        return [published.message_id for published in self.broker.published]

    def end(self, ending: Ending, seconds: float) -> bool:
        try:
            wait = next(ending)
            until = self.clock.now + seconds
            while True:
                while not wait.met() and self.clock.now < min(wait.until, until):
                    self.play(0.05)
                wait = next(ending)
        except StopIteration as end:
            return bool(end.value)


class OnRedis:
    """The Redis sink on a played Redis."""

    def __init__(self, **options: Any) -> None:
        self.clock, self.server, self.confirmed = Standing(), Redis(), list[str]()
        self.sink = RedisSink(clock=self.clock, chance=Chance(1), server=self.server, **options)
        self.sink.on_confirmed = lambda messages: self.confirmed.extend(message.event_id for message in messages)
        self.sink.start()

    def play(self, seconds: float) -> None:
        play(self.sink, self.clock, seconds)
