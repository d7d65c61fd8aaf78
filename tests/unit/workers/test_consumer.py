"""The consumer of a platform queue over a broker that the test plays: the real way of a command, without a thread."""

from __future__ import annotations

import pytest
from dramatiq.errors import ConnectionClosed

from connector.core.clock import Chance
from connector.core.copies import Copy
from tasks.commands import Command
from tests.clocks import Standing
from tests.unit.workers.played import QUEUE, Server
from workers._commands import Commands
from workers._consumer import PlatformConsumer
from workers._copies import Sure
from workers._translate import USER_QUEUES, CommandMessage


class Instance:
    """A process, as far as commands know it: takes them when turned, and carries them out when told."""

    def __init__(self, server: Server, seed: int = 1) -> None:
        self.clock, self.server = Standing(), server
        self.applied: list[Command] = []
        self.commands = Commands(USER_QUEUES, server.connect, exchange="gainium", clock=self.clock, chance=Chance(seed))
        self.copies: list[Copy | None] = []
        self.sure: list[Sure] = []
        self.commands.watch_sure(self.sure.extend)
        self.consume()

    def consume(self) -> None:
        self.consumer = PlatformConsumer(self.commands, QUEUE, 0)
        self.commands.consumed_by(QUEUE, self.consumer)

    def lose(self) -> None:
        """The connection ends, and it notices."""
        assert self.server.consumer is not None
        self.server.consumer.lose()
        with pytest.raises(ConnectionClosed):
            next(self.consumer)

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
            message.delivery.carry_out(lambda command, _: self.applied.append(command))
            self.copies.append(message.delivery.copy())
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
    message.delivery.carry_out(lambda command, _: one.applied.append(command))
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


def test_a_message_that_comes_to_another_process_again_is_known_as_the_same() -> None:
    server = Server()
    first, second = Instance(server), Instance(server, seed=2)
    server.publish("close stream", "a")
    (message,) = first.take()
    known = message.delivery.copy()
    first.lose()
    second.clock.now += second.commands.standby_poll_s
    second.carry_out(*second.take())
    (again,) = second.copies
    assert known is not None
    assert again is not None
    assert (known.again, again.again) == (False, True)
    assert known.body == again.body
    assert known.holder != again.holder


def test_who_carries_out_knows_how_many_equal_ones_are_behind() -> None:
    server = Server()
    one = Instance(server)
    for _ in range(3):
        server.publish("close stream", "a")
    server.publish("close stream", "b")
    first, second, third, other = one.take()

    def behind(message: CommandMessage) -> int:
        copy = message.delivery.copy()
        assert copy is not None
        return copy.behind

    assert (behind(first), behind(other)) == (2, 0)
    one.carry_out(first)
    assert behind(second) == 1
    one.lose()
    one.consume()
    assert one.take() == []
    assert behind(second) == 1
    one.carry_out(second)
    assert behind(third) == 0


def test_a_command_is_sure_once_its_acknowledgement_has_arrived() -> None:
    server = Server()
    one = Instance(server)
    server.publish("close stream", "a")
    (message,) = one.take()
    one.carry_out(message)
    assert one.sure == []
    one.take()
    assert [nonce for _, nonce in one.sure] == [message.delivery.nonce]


def test_a_command_from_before_an_announcement_is_not_carried_out_after_it() -> None:
    """Its queue was deleted, so everybody is asked to say everything again; it waited for Redis."""
    server = Server()
    one = Instance(server)
    server.publish("close stream", "a")
    (message,) = one.take()
    one.consumer._on_cancelled(None)
    with pytest.raises(ConnectionClosed):
        one.take()
    one.consumer.close()
    message.delivery.carry_out(lambda command, _: one.applied.append(command))
    assert one.applied == []


def test_a_command_whose_connection_was_lost_is_carried_out_late() -> None:
    server = Server()
    one = Instance(server)
    server.publish("close stream", "a")
    (message,) = one.take()
    one.lose()
    copy = message.delivery.copy()
    assert copy is not None
    assert copy.late
    message.delivery.carry_out(lambda command, _: one.applied.append(command))
    assert len(one.applied) == 1
