"""Listens to what leaves the service in simulated worlds, and holds it against the schemas of the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.asyncapi.heard import on_rabbitmq, on_redis
from harness.worlds.rabbit import Message, Rabbit
from harness.worlds.record import EVENTS_EXCHANGE
from harness.worlds.redis_server import RedisServer
from tests.unit.harness.test_asyncapi import validator

OURS = "wsc:"
"""Channels of the service itself begin with it."""


class Listener:
    """Takes note of everything that is published, and of what its schema does not allow."""

    def __init__(self) -> None:
        self.heard: Counter[str] = Counter()
        self.wrong: list[str] = []

    def hold(self, where: str, name: str, value: Any) -> None:
        self.heard[name] += 1
        if name == "InfoText":
            assert value.startswith("Subscribed to user ")
            return
        self.wrong += [f"{where} {name}: {error.message}" for error in validator(name).iter_errors(value)]


@contextmanager
def listening(patch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listener = Listener()
    to_rabbit, to_redis = Rabbit.publish, RedisServer.publish

    def on_broker(broker: Rabbit, message: Message) -> bool | None:
        if message.exchange == EVENTS_EXCHANGE:
            listener.hold(message.key, *on_rabbitmq(message.properties.type, message.body))
        return to_rabbit(broker, message)

    def on_server(server: RedisServer, channel: bytes, payload: bytes) -> int:
        name = channel.decode()
        if not name.startswith(OURS):
            listener.hold(name, *on_redis(name, payload))
        return to_redis(server, channel, payload)

    with patch.context() as inside:
        inside.setattr(Rabbit, "publish", on_broker)
        inside.setattr(RedisServer, "publish", on_server)
        yield listener
