"""The command line against real servers: what the backend would send, and what leaves the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
import redis

from cli._connections import rabbit, redis_client
from cli.main import main

pytestmark = pytest.mark.integration


@pytest.fixture
def name() -> str:
    return f"t.{uuid.uuid4().hex[:10]}"


@pytest.fixture
def channel(name: str) -> Iterator[Any]:
    connection = rabbit("test")
    channel = connection.channel()
    yield channel
    channel.exchange_delete(name)
    connection.close()


def in_thread(*arguments: str) -> tuple[threading.Thread, list[int]]:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(list(arguments))), name="connector tail")
    thread.start()
    return thread, codes


def until(thread: threading.Thread, publish: Callable[[], object]) -> None:
    """Publish again until the listener, which tells nobody when it is ready, has seen enough."""
    deadline = time.monotonic() + 20
    while thread.is_alive():
        assert time.monotonic() < deadline
        publish()
        thread.join(0.05)


def test_a_command_is_published_as_the_backend_does(
    channel: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    channel.exchange_declare(name, "direct", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, name, "q")
    assert main(["close", "u", "--exchange-name", name, "--queue", "q"]) == 0
    method, properties, body = channel.basic_get(queue, auto_ack=True)
    assert (method.exchange, method.routing_key) == (name, "q")
    assert json.loads(body) == {"payload": {"event": "close stream", "uuid": "u"}}
    assert {key: value for key, value in vars(properties).items() if value is not None} == {}
    assert capsys.readouterr().out == f"sent to {os.environ['RABBIT_HOST']}:{os.environ['RABBIT_PORT']}: close u\n"


def test_a_queue_that_nobody_declared_is_said(channel: Any, name: str) -> None:
    environ = {**os.environ, "CLI_TEST_KEY": "CANARY-secret"}
    command = [sys.executable, "-m", "cli.main", "open", "--provider", "okx", "--user-id", "n"]
    options = ["--key-env", "CLI_TEST_KEY", "--exchange-name", name, "--queue", "nobody"]
    done = subprocess.run([*command, *options], env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "nobody has declared the queue nobody" in done.stderr
    assert "CANARY" not in done.stdout + done.stderr


def test_tail_from_rabbitmq(channel: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    channel.exchange_declare(name, "topic", durable=True)
    thread, codes = in_thread(
        "tail", "--json", "--events-exchange", name, "--count", "3", "--seconds", "15", "--type", "ticker"
    )
    batch = json.dumps([{"symbol": "A"}, {"symbol": "B"}, {"symbol": "C"}]).encode()

    def publish() -> None:
        channel.basic_publish(name, "user.okx.executionReport.u", b'{"eventType":"executionReport"}')
        channel.basic_publish(name, "tickers.okx", batch, pika.BasicProperties(headers={"exchange": "okx"}))

    until(thread, publish)
    assert codes == [0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["exchange"], line["symbol"]) for line in lines] == [("okx", "A"), ("okx", "B"), ("okx", "C")]


def test_tail_of_one_stream_from_rabbitmq(channel: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    channel.exchange_declare(name, "topic", durable=True)
    thread, codes = in_thread("tail", "--events-exchange", name, "--count", "1", "--seconds", "15", "--stream", "a.b")

    def publish() -> None:
        for stream in ("other", "a.b"):
            channel.basic_publish(name, f"user.okx.executionReport.{stream}", b'{"orderStatus":"NEW"}')

    until(thread, publish)
    assert codes == [0]
    (line,) = capsys.readouterr().out.splitlines()
    assert "okx a.b" in line
    assert "NEW" in line


def test_tail_from_redis(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    client: redis.Redis = redis_client()
    thread, codes = in_thread("tail", "--sink", "redis", "--json", "--count", "2", "--seconds", "15", "--stream", name)

    def publish() -> None:
        client.publish("somebody-else", '{"eventType":"executionReport"}')
        client.publish(name, '{"eventType":"executionReport"}')
        client.publish(f"userStreamInfo{name}", f"Subscribed to user {name}")

    until(thread, publish)
    client.close()
    assert codes == [0]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["stream"] for line in lines} == {name}


def test_tail_of_an_exchange_that_is_not_there_says_so_and_makes_none(
    channel: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped name showed nothing for ever, and stood at the broker from then on."""
    assert main(["tail", "--events-exchange", name, "--seconds", "5"]) == 1
    told = capsys.readouterr().err
    assert f"no exchange '{name}'" in told
    assert told.count("\n") == 1
    with pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.connection.channel().exchange_declare(name, passive=True)


def test_tail_that_sees_too_little_in_its_time_fails(channel: Any, name: str) -> None:
    channel.exchange_declare(name, "topic", durable=True)
    assert main(["tail", "--events-exchange", name, "--count", "1", "--seconds", "0.1"]) == 1
    assert main(["tail", "--events-exchange", name, "--seconds", "0.1"]) == 0
