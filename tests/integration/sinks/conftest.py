from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.sinks.receivers import (
    RABBIT_HOST,
    RABBIT_PORT,
    REDIS_HOST,
    REDIS_PORT,
    RabbitReceiver,
    RedisReceiver,
    unique,
)
from tests.integration.tcp_proxy import TcpProxy, proxied


@pytest.fixture
def mark() -> str:
    """Part of every stream id, symbol and exchange name of one test, so that runs side by side don't meet."""
    return unique()


@pytest.fixture
def redis_receiver(mark: str) -> Iterator[RedisReceiver]:
    receiver = RedisReceiver(mark)
    yield receiver
    receiver.close()


@pytest.fixture
def rabbit_receiver(mark: str) -> Iterator[RabbitReceiver]:
    receiver = RabbitReceiver(f"{mark}.events")
    yield receiver
    receiver.close()


@pytest.fixture
def redis_proxy() -> Iterator[TcpProxy]:
    with proxied(REDIS_HOST, REDIS_PORT) as proxy:
        yield proxy


@pytest.fixture
def rabbit_proxy() -> Iterator[TcpProxy]:
    with proxied(RABBIT_HOST, RABBIT_PORT) as proxy:
        yield proxy
