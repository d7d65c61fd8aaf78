"""The health port over real sockets (contract 7.3)."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from connector.core.metrics import Metrics
from harness.servers import wait_for
from tests.clocks import Standing
from workers import health_port
from workers.health_port import HealthServer
from workers.status_page import Status, read_status, summarize

pytestmark = pytest.mark.integration


@dataclass
class Service:
    problems: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(strict=True))
    block: threading.Event | None = None
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    fail: Exception | None = None

    def ready(self) -> list[str]:
        if self.block is not None:
            self.entered.release()
            assert self.block.wait(20)
        if self.fail is not None:
            raise self.fail
        return self.problems

    def status(self) -> Status:
        return summarize([], now_ms=1, role="user", version="0.1.0", problems=self.problems)

    def server(self, port: int = 0, **options: object) -> HealthServer:
        return HealthServer(
            port,
            "127.0.0.1",
            status=self.status,
            ready=self.ready,
            metrics=self.metrics.render,
            clock=Standing(wall_at_0_ms=1_790_000_000_000 - 100_000),
        )


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service) -> Iterator[HealthServer]:
    server = service.server()
    assert server.start()
    yield server
    assert server.stop()


def ask(server: HealthServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_health_is_exactly_the_contract_s(server):
    status, headers, body = ask(server, "/health")
    data = json.loads(body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert list(data) == ["status", "uptime", "timestamp"]
    assert data["status"] == "ok"
    assert data["timestamp"] == 1_790_000_000_000
    assert 0 <= data["uptime"] < 60


def test_head_has_the_same_headers_and_no_body(server):
    status, headers, body = ask(server, "/health", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    assert ask(server, "/health?x=1", "HEAD")[0] == 200


def test_other_paths_are_not_found(server):
    for path in ("/nothing", "/health/", "/../etc/passwd"):
        status, headers, body = ask(server, path)
        assert (status, body) == (404, b'{"error":"Not Found"}')
        assert headers["content-type"] == "application/json"


def test_the_port_is_read_only(server):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status, headers, _ = ask(server, "/health", method)
        assert status == 405
        assert headers["allow"] == "GET, HEAD"


def test_ready_tells_the_reasons(server, service):
    assert ask(server, "/ready")[0] == 200
    service.problems = ["redis: connection refused"]
    status, _, body = ask(server, "/ready")
    assert status == 503
    assert json.loads(body) == {"ready": False, "reasons": ["redis: connection refused"]}
    assert ask(server, "/health")[0] == 200


def test_metrics_are_prometheus_text(server, service):
    service.metrics.gauge("leases", 3)
    status, headers, body = ask(server, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"\nconnector_leases 3\n" in body


def test_the_page_and_its_json(server):
    status, headers, body = ask(server, "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"websocket-connector" in body
    assert read_status(ask(server, "/status.json")[2]).version == "0.1.0"


def test_a_failing_reader_is_a_503_and_health_stays_up(server, service):
    service.fail = RuntimeError("redis gone")
    status, _, body = ask(server, "/ready")
    assert status == 503
    assert "redis gone" in json.loads(body)["error"]
    assert ask(server, "/health")[0] == 200


def test_hanging_readers_do_not_take_health_with_them(server, service):
    service.block = threading.Event()
    threads = [threading.Thread(target=ask, args=(server, "/ready")) for _ in range(health_port.MAX_SLOW_REQUESTS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert service.entered.acquire(timeout=10)
    try:
        assert ask(server, "/ready")[0] == 503
        assert ask(server, "/health")[0] == 200
    finally:
        service.block.set()
        for thread in threads:
            thread.join(10)


def answers(server: HealthServer) -> bool:
    try:
        return ask(server, "/health")[0] == 200
    except http.client.RemoteDisconnected:
        return False


def test_silent_connections_are_bounded_and_cut(service, monkeypatch):
    monkeypatch.setattr(health_port, "MAX_REQUESTS", 4)
    monkeypatch.setattr(health_port._Handler, "timeout", 0.3)
    server = service.server()
    assert server.start()
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(8)]
    try:
        for connection in silent:  # over the bound: at once; under it: by the read timeout
            assert connection.recv(1) == b""
        wait_for(lambda: answers(server), 10.0, "room again: a cut connection gives its place back a moment later")
    finally:
        for connection in silent:
            connection.close()
        assert server.stop()


def test_a_peer_that_trickles_is_cut_at_the_deadline(service, monkeypatch):
    monkeypatch.setattr(health_port, "REQUEST_TIMEOUT_S", 0.2)
    server = service.server()
    assert server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /health HT")
            assert connection.recv(1) == b""
    finally:
        assert server.stop()


def test_a_busy_port_is_no_reason_to_fail(server, service):
    second = service.server(server.port)
    assert second.start() is False
    assert second.stop()


def test_stop_closes_the_port(service):
    server = service.server()
    assert server.start()
    port = server.port
    assert server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_the_status_command_prints_what_the_port_says(server, service, capsys):
    from cli.main import main

    url = f"http://127.0.0.1:{server.port}"
    assert main(["status", "--url", url]) == 0
    assert "user 0.1.0: ready" in capsys.readouterr().out
    service.problems = ["broker away"]
    assert main(["status", "--url", url, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["broker away"]
    assert main(["status", "--url", "http://127.0.0.1:1"]) == 2
