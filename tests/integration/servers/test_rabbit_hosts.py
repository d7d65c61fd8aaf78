"""Several hosts of RabbitMQ: when one is gone the next is taken, by consumers of commands and publishers of events alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pika.exceptions
import pytest
from dramatiq import Worker

import tasks.user
from connector.core.places import Host, RabbitPlace
from connector.servers.rabbit import Blocking, connection_arguments, parameters
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from harness.backend import USER_QUEUE
from harness.rabbit_node import RabbitNode
from harness.servers import wait_for
from tasks.commands import CloseStream
from tasks.service import set_service
from tests.integration.sinks.receivers import account
from tests.integration.workers.conftest import Service
from workers._translate import USER_QUEUES
from workers.broker import PlatformBroker

pytestmark = pytest.mark.integration

WAIT_S = 60.0
EVENTS = "gainium.user-events"


@pytest.fixture
def nodes() -> Iterator[tuple[RabbitNode, RabbitNode]]:
    first = RabbitNode()
    try:
        second = RabbitNode()
    except BaseException:
        first.stop()
        raise
    yield first, second
    first.stop()
    second.stop()


def place(*nodes: RabbitNode) -> RabbitPlace:
    return RabbitPlace(hosts=tuple(Host(node.host, node.port) for node in nodes))


def taken(node: RabbitNode) -> list[bytes]:
    """Everything in the queue of account events."""
    with node.connect() as connection:
        channel: Any = connection.channel()
        found = []
        while True:
            method, _, body = channel.basic_get(EVENTS, auto_ack=True)
            if method is None:
                return found
            found.append(body)


def test_publisher_and_consumer_go_on_at_the_next_host(nodes: tuple[RabbitNode, RabbitNode]) -> None:
    first, second = nodes
    where = place(first, second)
    service = Service()
    set_service(service)
    broker = PlatformBroker(USER_QUEUES, parameters=connection_arguments(where, name="test"), standby_poll_s=0.1)
    tasks.user.declare(broker)
    worker = Worker(broker, worker_threads=2, worker_timeout=50)
    sink = RabbitSink(RabbitOptions(place=where, connect_timeout_s=2.0))
    sink.start()
    worker.start()
    try:
        sink.submit([account("u", number) for number in range(1, 11)])
        assert sink.flush(WAIT_S)
        assert broker.wait_until_ready(WAIT_S)
        before = taken(first)

        first.kill()
        sink.submit([account("u", number) for number in range(11, 21)])

        assert sink.flush(WAIT_S)
        assert before + taken(second) == [account("u", number).body for number in range(1, 21)]
        wait_for(lambda: _send(second), WAIT_S, "the command queue at the next host", 0.1)
        wait_for(lambda: CloseStream("u") in service.applied, WAIT_S, "the command carried out")
    finally:
        assert sink.stop(5.0)
        worker.stop(timeout=5_000)
        broker.close()
        set_service(None)


def _send(node: RabbitNode) -> bool:
    """As the backend does, once the queue is there; False before."""
    with node.connect() as connection:
        channel: Any = connection.channel()
        try:
            channel.queue_declare(USER_QUEUE, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        channel.basic_publish("gainium", USER_QUEUE, b'{"payload":{"event":"close stream","uuid":"u"}}')
        return True


def test_who_answered_last_is_asked_first(nodes: tuple[RabbitNode, RabbitNode]) -> None:
    first, second = nodes
    connect = Blocking(parameters(place(first, second), name="test", socket_timeout_s=2.0, stack_timeout_s=4.0))
    with connect() as connection:
        assert _port(connection) == first.port
    first.kill()
    with connect() as connection:
        assert _port(connection) == second.port
    first.start()
    with connect() as connection:
        assert _port(connection) == second.port
    second.kill()
    with connect() as connection:
        assert _port(connection) == first.port
    first.kill()
    with pytest.raises(pika.exceptions.AMQPError):
        connect()
    wrong = replace(place(first), hosts=(Host("127.0.0.1", 1),))
    with pytest.raises(pika.exceptions.AMQPError):
        Blocking(parameters(wrong, name="test"))()


def _port(connection: Any) -> int:
    return int(connection._impl.params.port)
