"""Real RabbitMQ with names of this test's own, a worker, and the backend's side of the wire."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dramatiq.worker
import pika
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from dramatiq import Worker

import tasks.price
import tasks.user
from connector.core.copies import Copy
from connector.core.errors import StateUnavailable
from connector.core.places import Host, RabbitPlace
from connector.servers.rabbit import connection_arguments
from connector.servers.rabbit import parameters as rabbit_parameters
from tasks.commands import Command, parse_candle, parse_command
from tasks.service import set_service
from workers.broker import PlatformBroker, PlatformQueue

HOST = os.environ.get("RABBIT_HOST", "127.0.0.1")
PORT = int(os.environ.get("RABBIT_PORT", "5672"))
USER = os.environ.get("RABBIT_USER", "guest")
PASSWORD = os.environ.get("RABBIT_PASSWORD", "guest")


def eventually(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        pause.wait(0.01)


class Service:
    """Records what is applied; can be slow, broken, or without its registry."""

    def __init__(self) -> None:
        self.applied: list[Command] = []
        self.reconciled: list[str] = []
        self.before: Callable[[Command], None] = lambda command: None
        self.value: object = None
        self.away = False

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        if self.away:
            raise StateUnavailable("registry away")
        self.before(command)
        self.applied.append(command)
        return self.value

    def reconcile(self, stream_id: str) -> None:
        self.reconciled.append(stream_id)


class Backend:
    """Publishes as the platform does, and looks at queues. One thread."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.connection = pika.BlockingConnection(parameters(PORT))
        self.channel = self.connection.channel()

    def publish(self, payload: object, queue: str | None = None, *, reply_to: str | None = None, **more: Any) -> None:
        correlation_id = more.pop("correlation_id", None)
        body = payload if isinstance(payload, bytes) else json.dumps({"payload": payload, **more}).encode()
        properties = None
        if reply_to or correlation_id:
            properties = pika.BasicProperties(reply_to=reply_to, correlation_id=correlation_id)
        self.channel.basic_publish(self.names.exchange, queue or self.names.commands, body, properties)

    def declare_like_amqplib(self, queue: str) -> int:
        """The old connector's declaration; returns the number of messages that nobody has taken."""
        self.channel.exchange_declare(self.names.exchange, "direct", durable=True)
        declared = self.channel.queue_declare(queue, durable=True, exclusive=False, auto_delete=False)
        self.channel.queue_bind(queue, self.names.exchange, queue)
        return int(declared.method.message_count)

    def exists(self, queue: str) -> bool:
        channel = self.connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        channel.close()
        return True

    def left_after(self, stop: Callable[[], None], queue: str | None = None) -> int:
        """Messages that are back in the queue once their consumer is gone: what was never acknowledged."""
        stop()
        return self.declare_like_amqplib(queue or self.names.commands)

    def reply_queue(self) -> str:
        return str(self.channel.queue_declare("", exclusive=True, auto_delete=True).method.queue)

    def reply(self, queue: str, timeout_s: float = 10.0) -> tuple[object, str | None]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
            if method is not None:
                return json.loads(body), properties.correlation_id
            self.connection.process_data_events(0.01)
        raise AssertionError("no reply came")


class Names:
    """Unique names, so that parallel runs don't meet."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:10]
        self.exchange = f"t.{self.run}.gainium"
        self.commands = f"t.{self.run}.usersStreamAction"
        self.candles = f"t.{self.run}.candlesRequests"
        self.prefix = f"t.{self.run}.wsc."

    def delete(self, backend: Backend) -> None:
        queues = [self.commands, self.candles]
        for name in ("user", "reconcile", "price"):
            queues += [f"{self.prefix}{name}", f"{self.prefix}{name}.DQ", f"{self.prefix}{name}.XQ"]
        for queue in queues:
            backend.channel.queue_delete(queue)
        backend.channel.exchange_delete(self.exchange)


def place(port: int, ca_file: Path | None = None) -> RabbitPlace:
    return RabbitPlace(
        hosts=(Host(HOST, port),), user=USER, password=PASSWORD, tls=ca_file is not None, ca_file=str(ca_file or "")
    )


def parameters(port: int) -> Any:
    (made,) = rabbit_parameters(place(port), name="test")
    return made


class Side:
    """One process of ours: a broker and a worker."""

    def __init__(
        self,
        names: Names,
        *,
        port: int = PORT,
        threads: int = 4,
        prefetch: int = 50,
        ca_file: Path | None = None,
        **options: Any,
    ) -> None:
        self.names = names
        queues = {
            names.commands: PlatformQueue("platform_command", parse_command, prefetch),
            names.candles: PlatformQueue("platform_candle", parse_candle, 10),
        }
        self.broker = PlatformBroker(
            queues,
            parameters=connection_arguments(place(port, ca_file), name="test"),
            exchange=names.exchange,
            standby_poll_s=0.1,
            **options,
        )
        self.actors = tasks.user.declare(self.broker, queue=names.commands, prefix=names.prefix)
        self.actors |= tasks.price.declare(self.broker, queue=names.candles, prefix=names.prefix)
        self.worker = Worker(self.broker, worker_threads=threads, worker_timeout=50)
        self._running = False

    def start(self) -> Side:
        self.worker.start()
        self._running = True
        return self

    def stop(self) -> None:
        if self._running:
            self._running = False
            self.worker.stop(timeout=5_000)
            self.broker.close()

    @property
    def ready(self) -> bool:
        return self.broker.consumer_ready(self.names.commands)


class Proxy:
    """A TCP relay in front of RabbitMQ that can cut every connection, as a broken network does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[socket.socket] = []
        self._lock = threading.Lock()
        self.refuse = False
        self.refused = 0
        """Connections that ended before they were relayed."""
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            try:
                client = self._wrapped(client)
            except OSError:
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection((HOST, PORT))
            with self._lock:
                self._pairs += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._relay, args=(source, target), name="proxy relay", daemon=True).start()

    def _wrapped(self, client: socket.socket) -> socket.socket:
        return client

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for end in pairs:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()


class TlsProxy(Proxy):
    """The same, speaking TLS with a certificate of its own for one address."""

    def __init__(self, address: str, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self._file = folder / "certificate.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._file.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self._file)
        super().__init__()

    @property
    def ca_file(self) -> Path:
        """What a client needs to trust this certificate."""
        return self._file

    def _wrapped(self, client: socket.socket) -> socket.socket:
        client.settimeout(10)
        wrapped = self._context.wrap_socket(client, server_side=True)
        wrapped.settimeout(None)
        return wrapped


@pytest.fixture(autouse=True)
def _quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.2)


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def backend(names: Names) -> Iterator[Backend]:
    backend = Backend(names)
    yield backend
    names.delete(backend)
    backend.connection.close()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    set_service(service)
    yield service
    set_service(None)


@pytest.fixture
def sides(names: Names, backend: Backend, service: Service) -> Iterator[Callable[..., Side]]:
    """Makes and starts processes of ours; they are stopped before the queues are deleted."""
    made: list[Side] = []

    def make(**options: Any) -> Side:
        side = Side(names, **options)
        made.append(side)
        return side.start()

    yield make
    for side in made:
        side.stop()


@pytest.fixture
def tls_proxy(tmp_path: Path) -> Iterator[Callable[[str], TlsProxy]]:
    made: list[TlsProxy] = []

    def make(address: str) -> TlsProxy:
        made.append(TlsProxy(address, tmp_path))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()
