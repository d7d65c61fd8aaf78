"""An hour of the service in simulated worlds: whatever leaves it, on RabbitMQ and on Redis, keeps to its schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from harness.asyncapi.heard import on_rabbitmq, on_redis
from harness.worlds.plan import VENUES, draw
from harness.worlds.play import play
from harness.worlds.rabbit import Message, Rabbit
from harness.worlds.record import EVENTS_EXCHANGE
from harness.worlds.redis_server import RedisServer
from harness.worlds.stage import staged
from tests.unit.harness.test_asyncapi import validator

HOUR_S = 3_600.0
EACH_S = HOUR_S / len(VENUES)
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


@pytest.mark.parametrize("venue", VENUES)
def test_everything_that_is_published_keeps_to_its_schema(venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [draw(3, kind="price", venues=(venue,)), draw(5, kind="venue", venues=(venue,))]
    plans.append(draw(7, kind="keys", venues=(venue,)))
    played_s = 0.0
    with listening(monkeypatch) as listener, staged():
        for plan in plans:
            played_s += play(plan).virtual_s
        calm = draw(7, kind="calm", venues=(venue,))
        play(replace(calm, until_s=max(calm.until_s, EACH_S - played_s)))
    assert listener.wrong == []
    orders = {"ExecutionReport", "OrderTradeUpdate"}
    assert {"Info", "InfoText", "Ticker", "Restart", "StreamGapMessage"} <= listener.heard.keys()
    assert orders & listener.heard.keys()
    assert listener.heard.total() > 1_000
