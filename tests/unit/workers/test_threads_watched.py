"""A publisher, a listener or an announcer that died does not go unseen (E10): the process ends and others take over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from connector.core.messages import SinkStatus
from connector.core.places import Host, RabbitPlace, RedisPlace
from connector.core.stamps import NOT_NOW
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.state.memory_state import MemoryState
from connector.streams.alive import EXIT_STUCK
from connector.streams.edges import Edges
from connector.streams.engine import LEAVE_S
from connector.streams.options import EngineOptions
from tests.unit.connector.state.backing import eventually
from workers._process import Process

NOBODY = (Host("127.0.0.1", 9),)
"""Refuses at once: nothing listens on the discard port."""


class Service:
    def __init__(self) -> None:
        self.ends: list[int] = []
        self.redis = RedisSink(place=RedisPlace(hosts=NOBODY))
        self.rabbit = RabbitSink(RabbitOptions(place=RabbitPlace(hosts=NOBODY)))
        self.process = Process(
            EngineOptions(role="user", lease_ttl_s=3_600.0, drain_timeout_s=0.0),
            MemoryState(),
            FanoutSink([self.rabbit, self.redis]),
            lambda _timeout_s: False,
            edges=Edges(end_process=self.ends.append),
        )
        self.process.start()

    def status(self) -> SinkStatus:
        return self.redis.status()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.process.stop(0.0)
    assert service.ends == [] or service.ends[0] == EXIT_STUCK


def test_the_threads_of_sinks_and_announcer_are_watched_and_servers_that_are_away_end_nobody(service: Service) -> None:
    alive = service.process.engine.alive
    assert {"publisher-redis", "publisher-rabbitmq", "announcer"} <= set(alive.names())
    eventually(lambda: "refused" in service.status().detail)
    assert alive.check()
    assert [one.stamp() for one in service.redis.threads()] == [NOT_NOW]
    assert service.ends == []


def _end_redis(service: Service) -> Callable[[], bool]:
    service.redis._publisher.ended = True
    (one,) = service.redis.threads()
    return lambda: one.thread is not None and not one.thread.is_alive()


def _end_announcer(service: Service) -> Callable[[], bool]:
    loop = service.process.announcing.loop
    return lambda: loop.stop(5.0)


@pytest.mark.parametrize("end", [_end_redis, _end_announcer])
def test_a_thread_that_died_ends_the_process(service: Service, end: Callable[[Service], Callable[[], bool]]) -> None:
    eventually(end(service))
    assert not service.process.engine.alive.check()
    assert service.ends == [EXIT_STUCK]


def test_nobody_is_missed_in_an_orderly_end(service: Service) -> None:
    alive = service.process.engine.alive
    service.process._stop_announcing()
    assert alive.check(), "the streams are handed over while the announcer is gone"
    service.process.stop(0.0)
    assert alive.names() == []
    assert alive.check()


def test_who_is_stopped_twice_has_nobody_left_to_wait_for(service: Service) -> None:
    clean = service.process.engine.stop(0.0)
    began = time.monotonic()
    assert service.process.engine.stop(0.0) is clean
    assert time.monotonic() - began < LEAVE_S / 3
