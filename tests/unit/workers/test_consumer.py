"""The consumer of a platform queue over a broker that the test plays: the real way of a command, without a thread."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import pika
import pika.exceptions
import pytest
from dramatiq.errors import ConnectionClosed

from connector.core.clock import Chance
from tasks.commands import Command
from tests.clocks import Standing
from workers._commands import Commands
from workers._consumer import PlatformConsumer
from workers._translate import USER_QUEUES, CommandMessage

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
        self.ready: deque[tuple[bytes, bool]] = deque()
        self.consumer: Connection | None = None
        self.acknowledged = 0

    def publish(self, event: str, uuid: str) -> None:
        self.ready.append((json.dumps({"payload": {"event": event, "uuid": uuid}}).encode(), False))

    def connect(self) -> Connection:
        return Connection(self)

    def give_back(self, unacknowledged: dict[int, tuple[bytes, bool]]) -> None:
        self.ready.extendleft((body, True) for _, (body, _) in sorted(unacknowledged.items(), reverse=True))
        unacknowledged.clear()


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

    def channel(self) -> Connection:
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
        self._server.exists = self._server.exists or durable
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


class Instance:
    """A process, as far as commands know it: takes them when turned, and carries them out when told."""

    def __init__(self, server: Server) -> None:
        self.clock, self.server = Standing(), server
        self.applied: list[Command] = []
        self.commands = Commands(USER_QUEUES, server.connect, exchange="gainium", clock=self.clock, chance=Chance(1))
        self.consume()

    def consume(self) -> None:
        self.consumer = PlatformConsumer(self.commands, QUEUE, 0)
        self.commands.consumed_by(QUEUE, self.consumer)

    def take(self) -> list[CommandMessage]:
        taken = []
        for _ in range(10):
            message = next(self.consumer)
            if message is not None:
                assert isinstance(message, CommandMessage)
                taken.append(message)
        return taken

    def carry_out(self, *messages: CommandMessage) -> None:
        for message in messages:
            message.delivery.carry_out(self.applied.append)
            self.consumer.ack(message)

    @property
    def consuming(self) -> bool:
        return self.commands.readiness.ready(QUEUE)


def test_commands_are_carried_out_in_order_and_acknowledged_when_they_took_effect() -> None:
    server = Server()
    one = Instance(server)
    server.publish("close stream", "a")
    server.publish("close stream", "b")
    messages = one.take()
    assert server.acknowledged == 0
    one.carry_out(*messages)
    one.take()
    assert [str(command) for command in one.applied] == [str(message.delivery.command) for message in messages]
    assert server.acknowledged == 2


def test_a_command_that_comes_again_after_a_lost_connection_is_not_carried_out_twice() -> None:
    server = Server()
    one = Instance(server)
    server.publish("close stream", "a")
    (message,) = one.take()
    assert server.consumer is not None
    server.consumer.lose()
    with pytest.raises(ConnectionClosed):
        next(one.consumer)
    one.consume()
    assert one.take() == []
    message.delivery.carry_out(one.applied.append)
    one.take()
    assert len(one.applied) == 1
    assert server.acknowledged == 1
    assert not server.ready


def test_a_second_process_stands_by_and_gets_what_the_first_one_left() -> None:
    server = Server()
    first, second = Instance(server), Instance(server)
    assert (first.consuming, second.consuming) == (True, False)
    server.publish("close stream", "a")
    first.take()
    assert server.consumer is not None
    server.consumer.lose()
    second.take()
    assert not second.consuming
    second.clock.now += second.commands.standby_poll_s
    second.carry_out(*second.take())
    assert second.consuming
    assert len(second.applied) == 1


def test_a_queue_that_is_gone_is_made_anew_and_told() -> None:
    server = Server()
    server.exists = False
    told: list[bool] = []
    one = Instance(server)
    one.commands.readiness.watch(lambda up: told.append(up.created))
    assert one.consuming
    assert server.exists
    assert told == [True]


def test_a_release_gives_the_queue_to_another_process_with_what_was_not_begun() -> None:
    server = Server()
    first = Instance(server)
    server.publish("close stream", "a")
    second = Instance(server)
    assert not first.commands.release(0.0)
    first.take()
    assert not first.consuming
    second.clock.now += second.commands.standby_poll_s
    second.carry_out(*second.take())
    assert len(second.applied) == 1
    assert first.applied == []
