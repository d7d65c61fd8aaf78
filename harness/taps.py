"""Listeners that write down what passes: AMQP events, every Redis command, the frames that the simulator sends."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pika

from exchanges.ids import Feed
from harness.servers import PrivateRedis, Rabbit
from simulator._link import Link
from simulator._venue import Frame, Instant
from simulator.simulator import Simulator

EVENTS_EXCHANGE = "gainium.events"
USER_EVENTS_QUEUE = "gainium.user-events"
_SUBSCRIPTION = re.compile(r'("subscriptionId":\s*)\d+')


class Delivered(msgspec.Struct, frozen=True):
    """One message of the events exchange."""

    key: str
    body: bytes
    message_id: str
    kind: str
    """The property `type`."""
    headers: dict[str, Any]
    content_type: str
    delivery_mode: int
    timestamp: int
    app_id: str

    def json(self) -> Any:
        return json.loads(self.body)


def delivered(key: str, properties: pika.BasicProperties, body: bytes) -> Delivered:
    return Delivered(
        key=key,
        body=body,
        message_id=properties.message_id or "",
        kind=properties.type or "",
        headers=dict(properties.headers or {}),
        content_type=properties.content_type or "",
        delivery_mode=properties.delivery_mode or 0,
        timestamp=properties.timestamp or 0,
        app_id=properties.app_id or "",
    )


class EventTap:
    """An exclusive queue that gets every event; `messages` grows on a thread of its own."""

    def __init__(self, rabbit: Rabbit) -> None:
        self.messages: list[Delivered] = []
        self._rabbit = rabbit
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-tap", daemon=True)
        self._thread.start()
        if not self._ready.wait(20.0):
            raise TimeoutError("the event tap could not bind its queue")

    def _run(self) -> None:
        connection = self._rabbit.connect("event tap")
        channel = connection.channel()
        channel.exchange_declare(EVENTS_EXCHANGE, "topic", durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, EVENTS_EXCHANGE, "#")
        channel.basic_consume(queue, self._received, auto_ack=True)
        self._ready.set()
        while not self._stop.is_set():
            connection.process_data_events(time_limit=0.1)
        connection.close()

    def _received(self, _channel: object, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        self.messages.append(delivered(method.routing_key, properties, body))

    def user(self, stream_id: str) -> list[Delivered]:
        """The account events of one stream so far, without the info messages."""
        return [
            one
            for one in list(self.messages)
            if one.key.startswith("user.") and one.key.endswith(f".{stream_id}") and one.kind != "info"
        ]

    def infos(self, stream_id: str) -> int:
        return sum(1 for one in list(self.messages) if one.kind == "info" and one.key.endswith(f".info.{stream_id}"))

    def service(self, kind: str) -> list[Delivered]:
        return [one for one in list(self.messages) if one.key == f"service.{kind}"]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)


class RedisMonitor:
    """Writes every command that a Redis server gets into a file (`MONITOR`), as text."""

    def __init__(self, private_redis: PrivateRedis, path: Path) -> None:
        self._socket = socket.create_connection((private_redis.host, private_redis.port), 5.0)
        self._socket.settimeout(0.2)
        self._socket.sendall(b"MONITOR\r\n")
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redis-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._path.open("wb") as out:
            while not self._stop.is_set():
                try:
                    chunk = self._socket.recv(1 << 16)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not chunk:
                    return
                out.write(chunk)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._socket.close()


class Sent(msgspec.Struct, frozen=True):
    """One frame that the simulator sent."""

    link_id: int
    venue: str
    host: str
    feed: str
    accounts: frozenset[str]
    text: str


class FrameTap:
    """Writes down the frames that the simulator sends to its clients, answers to requests excepted."""

    def __init__(self, simulator: Simulator, keep: int = 200_000) -> None:
        self.frames: list[Sent] = []
        self._keep = keep
        send = simulator.hub._send

        def tapped(link: Link, frame: Frame, now: Instant) -> None:
            if not frame.ack and len(self.frames) < self._keep:
                text = frame.data if isinstance(frame.data, str) else frame.data.decode("utf-8", "replace")
                accounts = frozenset(link.accounts)
                self.frames.append(Sent(link.link_id, link.venue, link.host, link.peer.feed, accounts, text))
            send(link, frame, now)

        simulator.hub._send = tapped  # type: ignore[method-assign]

    def user(self, account: str) -> list[Sent]:
        return [frame for frame in list(self.frames) if account in frame.accounts]

    def market(self, matches: Callable[[Sent], bool]) -> list[Sent]:
        return [frame for frame in list(self.frames) if frame.feed != "user" and matches(frame)]


def replayable(exchange: str, feed: Feed, frame: str) -> msgspec.Raw:
    """A frame as `connector normalise` takes it."""
    if exchange == "binance" and feed == "user":
        # The number of the subscription on its connection; a replayed frame belongs to the only one there is.
        frame = _SUBSCRIPTION.sub(r"\g<1>0", frame, count=1)
    return msgspec.Raw(frame.encode() if frame[:1] in "[{" else json.dumps(frame).encode())
