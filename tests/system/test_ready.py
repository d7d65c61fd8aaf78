"""What a deploy trusts: `/ready` is that of the service that was started, and its port is there after the former one left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from harness.backend import USER_QUEUE
from harness.evidence import Evidence
from harness.rabbit_node import RabbitNode, program
from harness.servers import wait_for
from harness.services import Service
from harness.stack import Stack
from tests.system.support import USER_ID, new_keys

pytestmark = pytest.mark.system

WAIT_S = 30.0


@pytest.fixture(scope="module")
def stack(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence, venues=("binance",), env={"LEASE_TTL_S": "4"}) as running:
        running.service("user")
        running.ready()
        yield running


def reasons(service: Service) -> list[str] | None:
    """Why the service is not ready; None while nothing answers."""
    code, body = service.get("/ready")
    if not code:
        return None
    told = json.loads(body)
    assert (code == 200) is told["ready"]
    return [str(reason) for reason in told["reasons"]]


def workers(service: Service) -> list[int]:
    """The children that run a worker: those with many threads, the health process has a handful."""
    children = psutil.Process(service.process.pid).children(recursive=True)
    return [child.pid for child in children if child.num_threads() > 8]


@pytest.mark.parametrize(
    ("name", "value"), [("RABBIT_PASSWORD", "wrong-" + "x" * 12), ("RABBIT_VHOST", "no-such-vhost")]
)
def test_a_service_that_cannot_log_in_is_never_ready_beside_one_that_is_well(
    stack: Stack, name: str, value: str
) -> None:
    refused = stack.service("user", **{name: value})
    seen: list[list[str]] = []

    def told() -> bool:
        found = reasons(refused)
        if found is not None:
            seen.append(found)
        return found is not None and any("rabbitmq" in reason for reason in found)

    wait_for(told, WAIT_S, "the refused login told")
    assert all(seen), "never ready"
    assert reasons(stack.services[0]) == []
    refused.stop()


def test_a_service_whose_worker_stands_still_is_not_ready(stack: Stack) -> None:
    second = stack.service("user")
    second.wait_ready()
    stopped = workers(second)
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_for(
        lambda: reasons(second) == ["streams: no worker process of this service has a heartbeat"], WAIT_S, "not ready"
    )
    assert reasons(stack.services[0]) == []
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: reasons(second) == [], WAIT_S, "ready again")
    second.stop()


@pytest.mark.skipif(program() is None, reason="rabbitmq-server is not installed (Debian package rabbitmq-server)")
def test_a_service_whose_broker_takes_nothing_is_not_ready(stack: Stack) -> None:
    """With an alarm of the broker for memory or disk it was, and a deploy went on."""
    node = RabbitNode()
    try:
        service = stack.service("user", STATE_PREFIX="alarmed:", **node.env())
        service.wait_ready()
        keys = new_keys(stack, "binance")
        account = stack.account("binance", "alarmed-1", keys.key, keys.secret)
        api = {"provider": "binance", "key": keys.key, "secret": keys.secret}
        command = {"event": "open stream", "uuid": "alarmed-1", "data": {"userId": USER_ID, "api": api}}
        with node.connect() as connection:
            connection.channel().basic_publish("gainium", USER_QUEUE, json.dumps({"payload": command}).encode())
        wait_for(lambda: service.status().matrix.get("binance", {}).get("live"), WAIT_S, "the account is live")
        node.alarm(on=True)
        stack.simulator.transfer(account, "binance", "USDT", 5)
        wait_for(lambda: any("blocked by the broker" in one for one in reasons(service) or ()), WAIT_S, "not ready")
        node.alarm(on=False)
        wait_for(lambda: reasons(service) == [], WAIT_S, "ready again")
        service.stop()
    finally:
        node.stop()


def test_the_health_port_is_there_after_a_rolling_deploy(stack: Stack) -> None:
    former = stack.service("user")
    former.wait_ready()
    following = stack.service("user", HEALTH_PORT=str(former.health_port))
    wait_for(lambda: "health port not available" in following.log.read_text(), WAIT_S, "the port is taken")
    former.stop()
    following.health_port = former.health_port
    wait_for(lambda: reasons(following) == [], WAIT_S, "ready on the port of the one before")
    following.stop()
