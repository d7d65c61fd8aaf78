"""Whole processes turned by one thread: commands in by a played queue, events out to a played RabbitMQ and Redis."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.core.clock import Chance
from connector.core.waits import Ending
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.state.memory_state import MemoryState
from connector.streams.dial import Dial
from connector.streams.edges import Edges
from connector.streams.leases import preferred
from connector.streams.options import EngineOptions
from connector.streams.transport import DialFailure, Transport
from exchanges._adapter import Answer, Call
from tests.clocks import Standing
from tests.unit.connector.sinks.played import Broker, Redis
from tests.unit.workers.played import QUEUE, Server
from workers._commands import Commands
from workers._consumer import PlatformConsumer
from workers._process import Process
from workers._translate import USER_QUEUES, CommandMessage


class Nowhere:
    """Every dial is refused, and nothing is ever readable."""

    width = 16

    def open(self, _dial: Dial, done: Callable[[Transport | DialFailure], None]) -> bool:
        done(DialFailure("refused"))
        return True

    def aside(self, work: Callable[[], None]) -> bool:
        work()
        return True

    def stop(self) -> None: ...

    def watch(self, _key: object, _transport: Transport) -> None: ...

    def forget(self, _key: object) -> None: ...

    def wait(self, _timeout_s: float) -> list[object]:
        return []

    def wake(self) -> None: ...

    def close(self) -> None: ...


def no_venue(_call: Call, _egress: str, done: Callable[[Answer], None]) -> None:
    done(Answer(0, {}, b"", "refused"))


class Town:
    """The servers of a deployment, and a clock for all."""

    def __init__(self) -> None:
        self.clock, self.queue, self.broker, self.redis = Standing(), Server(), Broker(), Redis()
        self.on_the_way: list[Callable[[], None]] = []
        self.state = MemoryState(self.clock, deliver=lambda _owner, work: self.on_the_way.append(work))
        self.instances: list[Instance] = []

    def start(self, outbox: Path | None = None) -> Instance:
        self.instances.append(Instance(self, len(self.instances) + 1, outbox))
        return self.instances[-1]

    def settle(self) -> None:
        for _ in range(10_000):
            self.broker.turn()
            self.confirm()
            works, self.on_the_way = self.on_the_way, []
            for work in works:
                work()
            did = [instance.turn() for instance in self.instances]
            if not any(did) and not works:
                return
        raise AssertionError("something spins")

    def confirm(self) -> None:
        """The broker confirms everything at once."""
        for connection in self.broker.connections:
            channel = connection.channel_
            if channel is not None and channel.is_open and channel.sent > channel.confirmed:
                channel.confirmed = channel.sent
                channel.confirm(channel.sent, multiple=True)

    def play(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while True:
            self.settle()
            due = [at for instance in self.instances if (at := instance.process.next_due()) is not None]
            if min(due, default=end) >= end:
                self.clock.now = end
                self.settle()
                return
            self.clock.now = max(self.clock.now, min(due))

    def end(self, ending: Ending) -> bool:
        try:
            while True:
                wait = next(ending)
                while not wait.met() and self.clock.now < wait.until:
                    self.play(0.1)
        except StopIteration as end:
            return bool(end.value)

    def told(self) -> list[object]:
        bodies = [json.loads(one.body) for one in self.broker.published if one.key == "service.restart"]
        return [body["restart"] for body in bodies]


class Instance:
    def __init__(self, town: Town, number: int, outbox: Path | None) -> None:
        self.town = town
        clock, chance = town.clock, Chance(number)
        self.commands = Commands(USER_QUEUES, town.queue.connect, exchange="gainium", clock=clock, chance=chance)
        rabbit = RabbitSink(RabbitOptions(outbox_dir=outbox), clock=clock, chance=chance, broker=town.broker)
        self.process = Process(
            EngineOptions(role="user", rejoin_grace_s=30.0),
            town.state,
            FanoutSink([rabbit, RedisSink(clock=clock, chance=chance, server=town.redis)], clock=clock),
            self.commands.wait_until_ready,
            self.commands.readiness.watch,
            Edges(
                clock=clock, chance=chance, host="town", pid=number, threaded=False,
                opener=Nowhere(), poller=Nowhere, perform=no_venue,
            ),
        )  # fmt: skip
        self.process.start()
        self.consumer = PlatformConsumer(self.commands, QUEUE, 0)
        self.commands.consumed_by(QUEUE, self.consumer)

    def turn(self) -> bool:
        message = next(self.consumer)
        if isinstance(message, CommandMessage):
            message.delivery.carry_out(self.process.service.apply)
            self.consumer.ack(message)
        return self.process.turn() or message is not None


@pytest.fixture
def town() -> Iterator[Town]:
    before = set(threading.enumerate())
    town = Town()
    yield town
    assert set(threading.enumerate()) == before, "nothing made a thread"


def opening(town: Town, stream_id: str) -> None:
    api = {"provider": "bybit", "key": "k", "secret": "s"}
    town.queue.publish("open stream", stream_id, data={"userId": "n", "api": api})


def test_a_process_announces_counts_what_is_asked_for_and_ends_in_order(town: Town, tmp_path: Path) -> None:
    one = town.start(tmp_path)
    town.play(1.0)
    assert town.told() == ["userStream"]
    for _ in range(3):
        opening(town, "a")
    town.queue.publish("close stream", "a")
    town.play(5.0)
    assert {name: wanted.count for name, wanted in town.state.wanted(["a"]).items()} == {"a": 2}
    assert town.state.owners(["a"]) == {"a": one.process.engine.owner}
    assert town.queue.acknowledged == 4
    assert town.end(one.process.ending(5.0))
    assert town.state.owners(["a"]) == {}
    assert not list(tmp_path.glob("*/*.sqlite3"))


def test_what_nobody_asks_for_again_after_an_announcement_is_closed_and_told_on_redis(town: Town) -> None:
    town.start()
    town.play(1.0)
    opening(town, "a")
    town.play(2.0)
    town.queue.exists = False
    assert town.queue.consumer is not None
    town.queue.consumer.end()
    instance = town.instances[0]
    with pytest.raises(Exception, match="cancelled"):
        next(instance.consumer)
    instance.consumer = PlatformConsumer(instance.commands, QUEUE, 0)
    town.play(34.0)
    assert town.told() == ["userStream"] * 2
    assert town.state.wanted(["a"]) == {}
    assert [parts for parts in town.redis.done if parts[0] == b"ZREM"] == [[b"ZREM", b"stream:lastEventTime", b"a"]]


def test_a_second_process_takes_the_streams_and_the_commands_of_one_that_ends(town: Town) -> None:
    first, second = town.start(), town.start()
    town.play(1.0)
    owners = [instance.process.engine.owner for instance in (first, second)]
    stream = next(name for name in "abcdefghij" if preferred(name, owners) == owners[0])
    opening(town, stream)
    town.play(5.0)
    assert town.state.owners([stream])[stream] == first.process.engine.owner
    first.commands.release(0.0)
    assert town.end(first.process.ending(5.0))
    town.instances.remove(first)
    opening(town, stream)
    town.play(10.0)
    assert second.commands.readiness.ready(QUEUE)
    assert town.state.owners([stream])[stream] == second.process.engine.owner
    assert town.state.wanted([stream])[stream].count == 2
    assert town.told() == ["userStream"]
