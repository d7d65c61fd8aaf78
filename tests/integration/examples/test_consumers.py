"""The example consumers, as programs of their own: each event is acted on once, however often it comes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from connector.core.messages import AccountMessage
from connector.sinks._amqp_messages import Outgoing, publishing
from harness.asyncapi.examples import examples
from harness.servers import Rabbit, wait_for

pytestmark = pytest.mark.integration

EXAMPLES: Final = Path(__file__).parents[3] / "examples"
AMQPLIB: Final = "amqplib@^0.10.9"
INSTALL_S: Final = 300.0
WAIT_S: Final = 60.0


@pytest.fixture
def queue() -> Iterator[tuple[Rabbit, Any, str]]:
    """A channel, and a queue of this test."""
    rabbit = Rabbit()
    connection = rabbit.connect()
    channel = connection.channel()
    name = f"test-consumers-{uuid.uuid4().hex}"
    channel.queue_declare(name, durable=True)
    yield rabbit, channel, name
    channel.queue_delete(name)
    connection.close()
    rabbit.stop()


def install(folder: Path, *packages: str) -> None:
    """From npm, into this folder."""
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, done.stderr


def publish(channel: Any, queue: str, stream: str, event_id: str) -> None:
    """As the service does, but straight into the queue."""
    message = AccountMessage(
        stream_id=stream, exchange="binance", event_type="executionReport", event_id=event_id, event_time_ms=1,
        body=json.dumps(examples()["ExecutionReport"]).encode(), received_mono=0.0,
    )  # fmt: skip
    _, body, properties = publishing(Outgoing(message, event_id, 0.0), 1)
    channel.basic_publish("", queue, body, properties)


def acts_once(command: list[str], cwd: Path, rabbit: Rabbit, channel: Any, queue: str, out: Path) -> None:
    streams = [uuid.uuid4().hex, uuid.uuid4().hex]
    last = uuid.uuid4().hex
    for stream, event_id in [(streams[0], "1"), (streams[0], "1"), (streams[1], "1"), (streams[0], "2"), (last, "1")]:
        publish(channel, queue, stream, event_id)
    with out.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **rabbit.env(), "USER_EVENTS_QUEUE": queue}, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: last in out.read_text() or process.poll() is not None, WAIT_S, "the last event")
        assert process.poll() is None, out.read_text()
    finally:
        process.kill()
        process.wait(WAIT_S)
    told = [line.split()[0] for line in out.read_text().splitlines()]
    assert told == [streams[0], streams[1], streams[0], last]


def test_the_python_consumer_acts_once(queue: tuple[Rabbit, Any, str], tmp_path: Path) -> None:
    acts_once([sys.executable, str(EXAMPLES / "python_consumer.py")], tmp_path, *queue, tmp_path / "out")


@pytest.mark.skipif(shutil.which("npm") is None, reason="node with npm is not installed here")
def test_the_node_consumer_acts_once(queue: tuple[Rabbit, Any, str], tmp_path: Path) -> None:
    install(tmp_path, AMQPLIB)
    shutil.copy(EXAMPLES / "node_consumer.mjs", tmp_path)
    acts_once(["node", "node_consumer.mjs"], tmp_path, *queue, tmp_path / "out")
