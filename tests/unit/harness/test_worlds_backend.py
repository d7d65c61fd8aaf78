"""What the played backend leaves open of its counts, and what it does not."""

from __future__ import annotations

import random

import pytest

from harness.worlds.accounts import Account
from harness.worlds.backend import EXCHANGE, USER_QUEUE, Backend
from harness.worlds.kernel import Kernel
from harness.worlds.rabbit import Message, Rabbit

STREAM = "acc-bybit-0"


@pytest.fixture
def rabbit() -> Rabbit:
    rabbit = Rabbit(Kernel(), random.Random(1))
    rabbit.declare_exchange(EXCHANGE, "direct")
    rabbit.declare_queue(USER_QUEUE, durable=True)
    rabbit.bind(USER_QUEUE, EXCHANGE, USER_QUEUE)
    return rabbit


@pytest.fixture
def backend(rabbit: Rabbit) -> Backend:
    return Backend(rabbit.kernel, rabbit, [Account(STREAM, "bybit")], random.Random(2))


def test_the_count_is_open_when_a_command_went_down_with_the_broker(rabbit: Rabbit, backend: Backend) -> None:
    """Commands are not persistent, and nobody is told that a broker was away for a moment: one counted too few."""
    backend.open(STREAM)
    rabbit.stop()
    rabbit.start()
    assert STREAM in backend.unsure
    assert not rabbit.queues[USER_QUEUE].messages


def test_the_count_is_not_open_when_an_open_found_no_queue(rabbit: Rabbit, backend: Backend) -> None:
    """The queue that comes is announced, and every bot asks again."""
    rabbit.delete_queue(USER_QUEUE)
    backend.open(STREAM)
    assert not backend.unsure


@pytest.mark.parametrize("waits", [True, False], ids=["deleted with the queue", "sent to none"])
def test_a_last_close_that_found_no_queue_is_left_to_the_grace_period_until_the_next_open(
    rabbit: Rabbit, backend: Backend, waits: bool
) -> None:
    backend.open(STREAM)
    rabbit.queues[USER_QUEUE].messages.clear()
    if waits:
        backend.close(STREAM)
        rabbit.delete_queue(USER_QUEUE)
    else:
        rabbit.delete_queue(USER_QUEUE)
        backend.close(STREAM)
    assert STREAM in backend.unsure
    rabbit.declare_queue(USER_QUEUE, durable=True)
    backend.open(STREAM)
    assert not backend.unsure


def test_an_event_that_finds_no_queue_says_nothing_about_commands(rabbit: Rabbit, backend: Backend) -> None:
    assert rabbit.publish(Message(EXCHANGE, "userStreamEvents", b"not a command")) is False
    assert not backend.unsure
