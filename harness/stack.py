"""One deployment for tests: private Redis, RabbitMQ virtual host, simulator, services, a stand-in backend, and the taps."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from harness.backend import CANDLE_QUEUE, USER_QUEUE, Backend
from harness.evidence import Evidence
from harness.redis_groups import SentinelGroup
from harness.servers import PrivateRedis, Rabbit
from harness.services import Service
from harness.taps import USER_EVENTS_QUEUE, Delivered, EventTap, FrameTap, RedisMonitor, delivered
from simulator.simulator import Simulator

PAGES = ("/health", "/ready", "/metrics", "/status.json", "/")


class Stack:
    """Starts nothing but servers, simulator and taps; services are added with `service`. Use as a context manager."""

    def __init__(
        self,
        evidence: Evidence,
        *,
        venues: Sequence[str] = (),
        tls: bool = False,
        env: Mapping[str, str] | None = None,
        sentinels: SentinelGroup | None = None,
        **world: Any,
    ) -> None:
        """`sentinels`: the services find Redis by them; the platform's side listens to the replica, which hears all."""
        self.evidence = evidence
        self._sentinels = sentinels
        self.services: list[Service] = []
        self.accounts: dict[str, str] = {}
        """Stream id → account in the simulator."""
        self._env = dict(env or {})
        self._exit = ExitStack()
        try:
            self._start(venues, tls, world)
        except BaseException:
            self._exit.close()
            raise

    def _start(self, venues: Sequence[str], tls: bool, world: Mapping[str, Any]) -> None:
        self.rabbit = Rabbit()
        self._exit.callback(self.rabbit.stop)
        if self._sentinels is None:
            self.redis = PrivateRedis()
            self._exit.callback(self.redis.stop)
        else:
            self.redis = self._sentinels.replica
        settings = {"seed": 5, "symbols": 4, "tick_s": 0.5, "move": 0.0, "limits": False, **world}
        self.simulator = Simulator(tls=tls, venues=venues, **settings)
        self.frames = FrameTap(self.simulator)
        self.simulator.start()
        self._exit.callback(self.simulator.stop)
        monitor = RedisMonitor(self.redis, self.evidence.file("redis-commands"))
        self._exit.callback(monitor.stop)
        self.clean_broker()
        self.events = EventTap(self.rabbit)
        self._exit.callback(self.events.stop)
        self.backend = Backend(self.rabbit, self.redis)
        self._exit.callback(self.backend.close)

    def clean_broker(self) -> None:
        """Needed where no virtual host of our own could be made: forget what an earlier run left."""
        with self.rabbit.connect("clean-up") as connection:
            for queue in (USER_QUEUE, CANDLE_QUEUE, USER_EVENTS_QUEUE):
                connection.channel().queue_delete(queue)

    # --- services ---

    def env(self, **more: str) -> dict[str, str]:
        gateway = {"VENUE_GATEWAY": self.simulator.gateway, "PAPER_WS": f"ws://{self.simulator.gateway}"}
        redis = {"REDIS_HOST": self.redis.host, "REDIS_PORT": str(self.redis.port)}
        return {
            **self.rabbit.env(),
            **(redis if self._sentinels is None else self._sentinels.env()),
            **({} if self.simulator.tls else gateway),
            **self._env,
            **more,
        }

    def service(self, role: str, *, threads: int = 8, plain: bool = False, serve: bool = False, **env: str) -> Service:
        """Start one more service (not waiting until it is ready). `plain`: without any option of Dramatiq."""
        log = self.evidence.file(f"log-{role}")
        service = Service(role, self.env(**env), threads=threads, log=log, plain=plain, serve=serve)
        self.evidence.watch(service.outbox)
        self.services.append(service)
        return service

    def ready(self, timeout_s: float = 60.0) -> None:
        for service in self.services:
            if service.process.poll() is None:
                service.wait_ready(timeout_s)

    # --- accounts ---

    def account(self, venue: str, stream_id: str, key: str, secret: str, passphrase: str = "") -> str:
        """An account in the simulator that belongs to a stream."""
        account = self.simulator.account(venue, key, secret, passphrase, account_id=f"acct-{stream_id}")
        self.accounts[stream_id] = account
        return account

    # --- looking ---

    def queue_depth(self, queue: str) -> int:
        """Messages that wait in a queue (with none of our consumers: also those that were never acknowledged)."""
        with self.rabbit.connect("look") as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def consumers(self, queue: str) -> int:
        with self.rabbit.connect("look") as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.consumer_count)

    def take_user_events(self) -> list[Delivered]:
        """Everything in the durable queue, removed from it."""
        taken: list[Delivered] = []
        with self.rabbit.connect("look") as connection:
            channel = connection.channel()
            while True:
                method, properties, body = channel.basic_get(USER_EVENTS_QUEUE, auto_ack=True)
                if method is None or properties is None:
                    return taken
                taken.append(delivered(method.routing_key, properties, body))

    def open_sockets(self, venue: str, feed: str = "user") -> int:
        """Connections that the simulator has open for one venue and feed."""
        return int(self.simulator.stats()["open"].get(f"{venue}:{feed}", 0))

    def links_of(self, stream_id: str) -> list[dict[str, Any]]:
        """The simulator's open connections that follow a stream's account."""
        account = self.accounts[stream_id]
        return [row for row in self.simulator.connections() if account in row["accounts"]]

    def score(self, stream_id: str) -> float | None:
        with self.redis.client() as client:
            found = client.zscore("stream:lastEventTime", stream_id)
            return None if found is None else float(found)

    # --- the end ---

    def collect(self) -> None:
        """Add what can be seen now to the evidence: pages, Redis contents, messages."""
        for service in self.services:
            for page in PAGES if service.process.poll() is None else ():
                self.evidence.add(f"page:{service.role}{page}", service.get(page)[1])
        with self.redis.client() as client:
            for key in client.scan_iter(count=500):
                self.evidence.add(f"redis-value:{key.decode()}", key + b" " + _value(client, key))
        said = [f"{channel} {text}" for channel, text in list(self.backend.messages)]
        self.evidence.add("redis-messages", "\n".join(said).encode())
        sent = [
            f"{one.key} {one.message_id} {one.kind} {one.headers}".encode() + one.body for one in self.events.messages
        ]
        self.evidence.add("amqp-messages", b"\n".join(sent))

    def stop_services(self) -> None:
        """All at once, and with one SIGTERM each: a second one kills."""
        running = [service for service in self.services if service.process.poll() is None]
        for service in running:
            service.terminate()
        for service in running:
            try:
                service.wait(45.0)
            except subprocess.TimeoutExpired:
                service.kill()

    def close(self) -> None:
        try:
            self.collect()
            self.stop_services()
        finally:
            for service in self.services:
                service.kill()
            self._exit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _value(client: Any, key: bytes) -> bytes:
    """The readable content of one key of any type."""
    readers = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"zset": lambda: client.zrange(key, 0, -1, withscores=True),
        b"set": lambda: client.smembers(key),
        b"list": lambda: client.lrange(key, 0, -1),
    }
    reader = readers.get(client.type(key))
    return b"" if reader is None else repr(reader()).encode()
