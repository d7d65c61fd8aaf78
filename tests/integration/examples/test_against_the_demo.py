"""The example consumers beside `connector run` on real servers: they hear what the demo's accounts do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.asyncapi.examples import BY_TYPE
from harness.servers import ROOT, PrivateRedis, Rabbit, free_port, wait_for
from tests.integration.examples.test_consumers import AMQPLIB, EXAMPLES, install

pytestmark = pytest.mark.integration

WAIT_S = 90.0
ENOUGH = 20


@dataclass
class Demo:
    environment: dict[str, str]
    redis: PrivateRedis

    def streams(self) -> list[str]:
        with self.redis.client() as client:
            return [one.decode() for one in client.zrange("stream:lastEventTime", 0, -1)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    rabbit, redis = Rabbit(), PrivateRedis()
    servers = {**rabbit.env(), "REDIS_HOST": redis.host, "REDIS_PORT": str(redis.port)}
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    environment = {**kept, **servers, "HEALTH_PORT": str(free_port()), "OUTBOX_DIR": str(folder / "outbox")}
    out = folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    running = Demo({**kept, **servers}, redis)
    try:
        wait_for(lambda: running.streams() or process.poll() is not None, WAIT_S, "accounts of the demo")
        assert process.poll() is None, out.read_text()
        yield running
    finally:
        process.kill()
        process.wait(WAIT_S)
        redis.stop()
        rabbit.stop()


def heard(command: list[str], cwd: Path, environment: Mapping[str, str], out: Path) -> list[list[str]]:
    """What it printed, word by word, once that is enough."""
    with out.open("wb") as file:
        process = subprocess.Popen(command, cwd=cwd, env=dict(environment), stdout=file, stderr=file)
    try:
        wait_for(
            lambda: out.read_text().count("\n") >= ENOUGH or process.poll() is not None, WAIT_S, f"{ENOUGH} events"
        )
        assert process.poll() is None, out.read_text()
    finally:
        process.kill()
        process.wait(WAIT_S)
    return [line.split() for line in out.read_text().splitlines()[:ENOUGH]]


def test_the_python_consumer_hears_the_demo(demo: Demo, tmp_path: Path) -> None:
    lines = heard([sys.executable, str(EXAMPLES / "python_consumer.py")], tmp_path, demo.environment, tmp_path / "out")
    assert all(line[0].startswith("demo-") for line in lines)
    assert {line[1] for line in lines} <= {*BY_TYPE, "info"}


@pytest.mark.skipif(shutil.which("npm") is None, reason="node with npm is not installed here")
def test_the_node_consumer_hears_the_demo(demo: Demo, tmp_path: Path) -> None:
    install(tmp_path, AMQPLIB)
    shutil.copy(EXAMPLES / "node_consumer.mjs", tmp_path)
    lines = heard(["node", "node_consumer.mjs"], tmp_path, demo.environment, tmp_path / "out")
    assert all(line[0].startswith("demo-") for line in lines)
    assert {line[1] for line in lines} <= {*BY_TYPE, "info"}


def test_the_redis_listener_hears_the_demo(demo: Demo, tmp_path: Path) -> None:
    environment = {**demo.environment, "STREAMS": ",".join(demo.streams()), "PRICES": "none"}
    command = [sys.executable, str(EXAMPLES / "redis_listener.py")]
    lines = heard(command, tmp_path, environment, tmp_path / "out")
    assert all(line[0].removeprefix("userStreamInfo").startswith("demo-") for line in lines)
    prices = heard(command, tmp_path, demo.environment, tmp_path / "prices")
    assert all(line[0].startswith("trade@BTCUSDT@") for line in prices)


def test_the_redis_listener_acts_once_on_a_state(demo: Demo, tmp_path: Path) -> None:
    environment = {**demo.environment, "STREAMS": "of-this-test", "PRICES": "none"}
    state = {"eventType": "executionReport", "orderId": "1", "orderStatus": "NEW", "price": "5", "uniqueMessageId": "a"}
    out = tmp_path / "out"
    with out.open("wb") as file, demo.redis.client() as client:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "redis_listener.py")], env=environment, stdout=file, stderr=file
        )
        try:
            wait_for(lambda: dict(client.pubsub_numsub("of-this-test"))[b"of-this-test"], WAIT_S, "a subscriber")
            for change in ({}, {"uniqueMessageId": "b"}, {"orderStatus": "FILLED"}):
                client.publish("of-this-test", json.dumps({**state, **change}))
            client.publish("userStreamInfoof-this-test", "Subscribed to user of-this-test")
            wait_for(lambda: "Subscribed" in out.read_text() or process.poll() is not None, WAIT_S, "the last message")
        finally:
            process.kill()
            process.wait(WAIT_S)
    told = [line.split()[2] for line in out.read_text().splitlines() if line.startswith("of-this-test")]
    assert told == ["NEW", "FILLED"]
