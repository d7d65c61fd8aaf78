"""Announcements (contract 3.1) of services that an operator starts without an option: one worker process for each core."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from connector.core.ports import WorkerInfo
from harness.backend import USER_QUEUE
from harness.evidence import Evidence
from harness.servers import wait_for
from harness.services import Service
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts

pytestmark = pytest.mark.system

LOST_S: Final = 10.0
"""What the state or the broker lost is announced within this time."""
LEASE_S: Final = 3.0
QUIET_S: Final = 8.0
"""An announcement that should not be would have come by then: longer than a role's life outlasts its last process."""


@pytest.fixture
def deployment(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence.apart(), venues=("binance",)) as running:
        yield running


def restarts(stack: Stack, kind: str = "userStream") -> list[dict[str, Any]]:
    return [body for body in stack.backend.events("serviceLog") if body.get("restart") == kind]


def announced(stack: Stack, count: int, within_s: float = WAIT_S, kind: str = "userStream") -> float:
    """Wait for so many announcements in all; how long it took."""
    began = time.monotonic()
    wait_for(lambda: len(restarts(stack, kind)) >= count, within_s, f"announcement {count} of {kind}")
    return time.monotonic() - began


def nothing_more(stack: Stack, count: int, kind: str = "userStream") -> None:
    stack.backend.pause(QUIET_S)
    assert len(restarts(stack, kind)) == count


def all_joined(*services: Service) -> None:
    """Every process belongs to a life of the role. Another one that is killed before would be the only one that anybody knows
    of: a process that starts beside it joins once it saw it renew the life, a second or two later."""

    def known(service: Service) -> int:
        told = service.log.read_text()
        return told.count("joined the processes of the role") + told.count("a new life of it begins")

    for service in services:
        wait_for(
            lambda one=service: known(one) >= len(one.worker_pids()), WAIT_S, "all processes in the life of the role"
        )


def life(stack: Stack, role: str = "user") -> str:
    """The incarnation in which it was announced last, as the state has it."""
    with stack.redis.client() as client:
        text = client.get(f"wsc:text:announced:{role}")
    assert text is not None
    found: str = json.loads(text)["life"]
    return found


def killed(service: Service) -> None:
    service.kill()


def stopped(service: Service) -> None:
    service.stop()


@pytest.mark.parametrize("end", [killed, stopped])
def test_a_service_that_was_gone_announces_once_each_time_it_comes_back(
    deployment: Stack, end: Callable[[Service], None]
) -> None:
    lives = []
    for number in (1, 2, 3):
        service = deployment.service("user", plain=True)
        service.wait_ready()
        assert len(service.worker_pids()) == len(os.sched_getaffinity(0))
        announced(deployment, number)
        nothing_more(deployment, number)
        lives.append(life(deployment))
        end(service)
    assert len(set(lives)) == 3


def test_a_rolling_restart_announces_nothing(deployment: Stack) -> None:
    service = deployment.service("user", plain=True)
    service.wait_ready()
    announced(deployment, 1)
    born = life(deployment)
    for _ in range(3):
        successor = deployment.service("user", plain=True)
        successor.wait_ready()
        service.stop()
        service = successor
    nothing_more(deployment, 1)
    assert life(deployment) == born


def test_what_redis_or_the_broker_lost_is_announced_within_ten_seconds(deployment: Stack) -> None:
    services = [deployment.service("user", plain=True) for _ in range(2)]
    for service in services:
        service.wait_ready()
    announced(deployment, 1)
    all_joined(*services)
    nothing_more(deployment, 1)
    with deployment.redis.client() as client:
        client.flushall()
    announced(deployment, 2, LOST_S)
    nothing_more(deployment, 2)
    with deployment.rabbit.connect("operator") as connection:
        connection.channel().queue_delete(USER_QUEUE)
    announced(deployment, 3, LOST_S)
    nothing_more(deployment, 3)
    # Flushed together with a death: whoever is left announces.
    with deployment.redis.client() as client:
        client.flushall()
    services[0].kill()
    announced(deployment, 4, LOST_S)
    nothing_more(deployment, 4)


def test_keys_that_went_with_a_process_are_asked_for_within_ten_seconds_of_the_end_of_its_leases(
    deployment: Stack,
) -> None:
    """Without keys at rest only the process that read a command can run its account."""
    kept = {"CREDENTIALS_KEYS": "none", "LEASE_TTL_S": "3"}
    first, second = (deployment.service("user", plain=True, **kept) for _ in range(2))
    deployment.ready()
    announced(deployment, 1)
    all_joined(first, second)
    accounts = Accounts(deployment)
    streams = [accounts.live("binance") for _ in range(3)]
    holders = lambda: [one for one in (first, second) if any(worker.streams for worker in mine(one))]  # noqa: E731
    wait_for(holders, WAIT_S, "a heartbeat that tells of the accounts")
    (holder, *_) = holders()
    other = second if holder is first else first
    holder.kill()
    assert announced(deployment, 2, LEASE_S + LOST_S) <= LEASE_S + LOST_S
    for stream in streams:
        stream.open()
    for stream in streams:
        stream.prove_live()
    nothing_more(deployment, 2)
    assert other.process.poll() is None


def mine(service: Service) -> list[WorkerInfo]:
    pids = set(service.worker_pids())
    return [worker for worker in service.status().workers if worker.pid in pids]


@pytest.mark.parametrize("order", [("ticker", "candle"), ("candle", "ticker")], ids="-".join)
def test_a_ticker_service_beside_one_for_candles_tells_a_boot_id_in_any_order(
    deployment: Stack, order: tuple[str, str]
) -> None:
    by_role = {}
    for role in order:
        by_role[role] = deployment.service("price", plain=True, PRICEROLE=role, PRICE_CONNECTOR_EXCHANGES="binance")
        by_role[role].wait_ready()
    announced(deployment, 1, kind="priceConnector")
    boot_id = restarts(deployment, "priceConnector")[0]["bootId"]
    wait_for(lambda: beacons(deployment), WAIT_S, "the beacon")
    assert beacons(deployment)[0] == {"bootId": boot_id, "role": "candle"}
    by_role["ticker"].stop()
    again = deployment.service("price", plain=True, PRICEROLE="ticker", PRICE_CONNECTOR_EXCHANGES="binance")
    again.wait_ready()
    nothing_more(deployment, 1, "priceConnector")
    by_role["candle"].kill()
    back = deployment.service("price", plain=True, PRICEROLE="candle", PRICE_CONNECTOR_EXCHANGES="binance")
    back.wait_ready()
    announced(deployment, 2, kind="priceConnector")
    nothing_more(deployment, 2, "priceConnector")
    assert restarts(deployment, "priceConnector")[1]["bootId"] != boot_id


def beacons(stack: Stack) -> list[dict[str, Any]]:
    return [body["priceConnectorAlive"] for body in stack.backend.events("serviceLog") if "priceConnectorAlive" in body]
