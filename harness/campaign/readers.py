"""What a backend sees: everything that arrives on RabbitMQ and on Redis, with its time of arrival. One thread each."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import pika
import pika.exceptions
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness.campaign.accounts import Canaries
from harness.campaign.check import Seen, read_event
from harness.rabbit_node import RabbitNode
from harness.servers import PrivateRedis, Rabbit

EVENTS = "gainium.events"
USER_QUEUE = "gainium.user-events"
SERVICE_QUEUE = "campaign.service"


class Service:
    """One service message."""

    __slots__ = ("at", "body", "kind")

    def __init__(self, at: float, kind: str, body: dict[str, Any]) -> None:
        self.at, self.kind, self.body = at, kind, body


class Reader(ABC):
    """A thread that keeps reading, whatever happens to its connection. `events` and `services` only grow."""

    def __init__(self, name: str, canaries: Canaries) -> None:
        self.events: list[Seen] = []
        self.services: list[Service] = []
        self.infos: list[tuple[float, str]] = []
        """`Subscribed to user`, by stream."""
        self.leaks: list[str] = []
        self.outages: list[tuple[float, float]] = []
        """When this reader itself was not connected."""
        self.on_service: Callable[[Service], None] | None = None
        self._canaries = canaries
        self._pause_until = 0.0
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout_s: float = 30.0) -> None:
        self._thread.start()
        if not self._ready.wait(timeout_s):
            raise TimeoutError(f"{self._thread.name} did not start")

    def pause(self, seconds: float) -> None:
        """Be a slow consumer: take nothing for so long."""
        self._pause_until = time.monotonic() + seconds

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def wait_connected(self, timeout_s: float = 30.0) -> None:
        if not self._ready.wait(timeout_s):
            raise TimeoutError(f"{self._thread.name} is not connected")

    def _run(self) -> None:
        lost_at: float | None = None
        while not self._stop.is_set():
            try:
                self._read(lost_at)
            except (redis.RedisError, pika.exceptions.AMQPError, OSError):
                if self._ready.is_set():
                    lost_at = time.time()
                    self._ready.clear()
                self._stop.wait(0.05)

    def _connected(self, lost_at: float | None) -> None:
        """Reading begins, for the first time or after an outage that began at `lost_at`."""
        if lost_at is not None:
            self.outages.append((lost_at, time.time()))
        self._ready.set()

    @abstractmethod
    def _read(self, lost_at: float | None) -> None:
        """Connect and read until `stop`; raises what the connection raises."""

    def _paused(self) -> bool:
        return time.monotonic() < self._pause_until

    def _look(self, where: str, data: bytes) -> None:
        leak = self._canaries.found(data)
        if leak is not None and len(self.leaks) < 100:
            self.leaks.append(f"{where}: {leak}")

    def _service(self, at: float, data: bytes) -> None:
        body = json.loads(data)
        service = Service(at, next(iter(body)), body)
        self.services.append(service)
        if self.on_service is not None:
            self.on_service(service)


class RabbitReader(Reader):
    """Consumes the durable queue of user events, and service messages on a queue of its own."""

    def __init__(self, rabbit: RabbitNode | Rabbit, canaries: Canaries) -> None:
        super().__init__("rabbit-reader", canaries)
        self._rabbit = rabbit
        self.redelivered = 0

    def _read(self, lost_at: float | None) -> None:
        connection = self._rabbit.connect("campaign reader")
        try:
            channel = connection.channel()
            channel.exchange_declare(EVENTS, "topic", durable=True)
            channel.queue_declare(SERVICE_QUEUE, durable=True)
            channel.queue_bind(SERVICE_QUEUE, EVENTS, "service.#")
            channel.basic_qos(prefetch_count=1000)
            channel.basic_consume(SERVICE_QUEUE, self._on_message)
            consuming = False
            while not self._stop.is_set():
                if not consuming and (consuming := self._exists(connection)):
                    channel.basic_consume(USER_QUEUE, self._on_message)
                    self._connected(lost_at)
                if self._paused():
                    self._stop.wait(0.02)
                    continue
                connection.process_data_events(time_limit=0.1)
        finally:
            if connection.is_open:
                connection.close()

    @staticmethod
    def _exists(connection: pika.BlockingConnection) -> bool:
        """Whether the service has declared the queue of user events yet."""
        probe = connection.channel()
        try:
            probe.queue_declare(USER_QUEUE, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        probe.close()
        return True

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        at = time.time()
        self._look("RabbitMQ", body)
        key = str(method.routing_key)
        if key.startswith("service."):
            self._service(at, body)
        else:
            self.redelivered += bool(method.redelivered)
            stream = str((properties.headers or {}).get("stream", ""))
            if properties.type == "info":
                self.infos.append((at, stream))
            else:
                self.events.append(seen(at, stream, properties.message_id or "", body, bool(method.redelivered)))
        channel.basic_ack(method.delivery_tag)


class RedisReader(Reader):
    """Subscribes to everything, as bots, balance listeners and indicators together do."""

    def __init__(self, server: PrivateRedis, canaries: Canaries) -> None:
        super().__init__("redis-reader", canaries)
        self._server = server

    def _read(self, lost_at: float | None) -> None:
        with self._client() as client, client.pubsub(ignore_subscribe_messages=False) as pubsub:
            pubsub.psubscribe("*")
            while not self._stop.is_set():
                if self._paused():
                    self._stop.wait(0.02)
                    continue
                message = pubsub.get_message(timeout=0.2)
                if message is None:
                    continue
                if message["type"] == "psubscribe":
                    self._connected(lost_at)
                elif message["type"] == "pmessage":
                    self._on_message(message["channel"].decode(), message["data"])

    def _client(self) -> redis.Redis:
        """One that never reconnects by itself: messages may be missed then, and nobody would know."""
        return redis.Redis(
            host=self._server.host,
            port=self._server.port,
            socket_timeout=5.0,
            socket_connect_timeout=5.0,
            retry=Retry(NoBackoff(), 0),
        )

    def _on_message(self, channel: str, data: bytes) -> None:
        at = time.time()
        self._look(f"Redis channel {channel[:40]}", data)
        if channel == "serviceLog":
            self._service(at, data)
        elif channel.startswith("userStreamInfo"):
            self.infos.append((at, channel.removeprefix("userStreamInfo")))
        elif channel.startswith("chaos-"):
            self.events.append(seen(at, channel, "", data, False))


def seen(at: float, stream: str, message_id: str, body: bytes, redelivered: bool) -> Seen:
    event = json.loads(body)
    order, status, executed, quote = read_event(event)
    kind = str(event.get("eventType", ""))
    if kind == "balanceUpdate":
        status = f"{event.get('asset')} {event.get('balanceDelta')}"
    if not message_id:
        # What the backend compares: id, status, executed quantity (contract 2.1).
        message_id = f"{order}:{status}:{executed.normalize()}" if order else str(event.get("uniqueMessageId", ""))
    return Seen(
        at=at, message_id=message_id, stream=stream, kind=kind, order=order, status=status, executed=executed,
        quote=quote, redelivered=redelivered,
    )  # fmt: skip
