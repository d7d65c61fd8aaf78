"""A fail-over of Redis by real sentinels, with writes that the new master never saw: no account stays dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.evidence import Evidence
from harness.redis_groups import SentinelGroup
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts, Stream

pytestmark = pytest.mark.system

BEFORE = ("okx", "binance", "bybit", "kucoin")
ONLY_THERE = ("okxLinear", "binanceUsdm")
"""Asked for while the replica gets nothing: only the old master knows them."""


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    with SentinelGroup() as group:
        yield group


@pytest.fixture
def stack(evidence: Evidence, group: SentinelGroup) -> Iterator[Stack]:
    with Stack(evidence, venues=("okx", "binance", "bybit", "kucoin"), sentinels=group) as running:
        for _ in range(2):
            running.service("user", RABBIT_PASSWORD=running.rabbit.password)
        running.ready()
        yield running


def told(stream: Stream) -> bool:
    """An order that is placed now is told on RabbitMQ."""
    client_id = stream.place().client_id
    stream.wait(lambda: any(client_id.encode() in one.body for one in stream.amqp_events()), "an order on RabbitMQ")
    return True


def test_no_account_stays_dark_after_a_fail_over(stack: Stack, group: SentinelGroup) -> None:
    accounts = Accounts(stack)
    streams = [accounts.live(exchange) for exchange in BEFORE]
    group.cut()
    streams += [accounts(exchange) for exchange in ONLY_THERE]
    for stream in streams[len(BEFORE) :]:
        stream.open()
        # Not on Redis, where the platform's side listens to the replica.
        stream.wait(lambda stream=stream: stack.events.infos(stream.uuid), "live, by RabbitMQ")
    for stream in streams:
        told(stream)

    with group.master.client() as old, group.replica.client() as new:
        assert (old.scard("wsc:streams"), new.scard("wsc:streams")) == (len(streams), len(BEFORE))
    group.master.kill()
    group.wait_failed_over()

    placed = [stream.place().client_id for stream in streams]
    for stream, client_id in zip(streams, placed, strict=True):
        stream.wait(
            lambda stream=stream, client_id=client_id: any(
                client_id.encode() in one.body for one in stream.amqp_events()
            ),
            "an order of the fail-over on RabbitMQ",
        )

    def known() -> bool:
        with group.replica.client() as client:
            return client.scard("wsc:streams") == len(streams)

    wait_for(known, WAIT_S, "every stream in the state of the new master")
    for stream in streams:
        stream.prove_live()
    accounts.close()
