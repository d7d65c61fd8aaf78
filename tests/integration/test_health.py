"""The health port over real sockets (contract 7.3)."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from connector.core.errors import StateUnavailable
from connector.core.metrics import Metrics
from harness.servers import wait_for
from tests.clocks import Standing
from workers import _guard, health_port
from workers.health_port import Figures, HealthServer
from workers.status_page import Status, read_status, summarize
from workers.streams_seen import Asked, StreamList, StreamsSeen

pytestmark = pytest.mark.integration


@dataclass
class Service:
    problems: list[str] = field(default_factory=list)
    metrics: Metrics = field(default_factory=lambda: Metrics(strict=True))
    block: threading.Event | None = None
    block_ready: bool = True
    asked: int = 0
    fail: Exception | None = None

    def ready(self) -> list[str]:
        if self.block_ready:
            self._hang()
        if self.fail is not None:
            raise self.fail
        return self.problems

    def figures(self) -> Figures:
        self._hang()
        return Figures([self.metrics.dump()])

    def known_figures(self) -> Figures:
        own = Metrics(strict=True)
        own.gauge("redis_up", 0)
        return Figures([own.dump()])

    def known(self) -> Status:
        return summarize([], now_ms=1, role="user", version="0.1.0", problems=["redis: no answer"])

    def _hang(self) -> None:
        if self.block is not None:
            self.asked += 1
            assert self.block.wait(20)

    def status(self) -> Status:
        self._hang()
        return summarize([], now_ms=1, role="user", version="0.1.0", problems=self.problems)

    def server(self, port: int = 0, **options: Any) -> HealthServer:
        return HealthServer(
            port,
            "127.0.0.1",
            status=self.status,
            ready=self.ready,
            metrics=self.figures,
            known_metrics=self.known_figures,
            known_status=self.known,
            **options,
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
    assert b"\nconnector_leases 3.0\n" in body


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


def ask_many(server: HealthServer, path: str, number: int) -> list[tuple[int, bytes]]:
    with ThreadPoolExecutor(number) as pool:
        answers = list(pool.map(lambda _: ask(server, path), range(number)))
    return [(status, body) for status, _, body in answers]


def test_ready_and_metrics_are_answered_while_redis_hangs(server, service, monkeypatch):
    """Whoever waited for a deploy or an alarm got no answer at all, or "Busy"."""
    monkeypatch.setattr(health_port, "VITAL_S", 0.3)
    service.metrics.gauge("leases", 3)
    service.block = threading.Event()
    try:
        for status, body in ask_many(server, "/ready", 40):
            assert (status, json.loads(body)) == (503, {"ready": False, "reasons": ["redis: no answer within 0.3 s"]})
        assert service.asked == 1, "all wait for the same answer"
        for status, body in ask_many(server, "/metrics", 20):
            assert (status, b"connector_redis_up 0.0" in body) == (200, True)
        assert ask(server, "/health")[0] == 200
    finally:
        service.block.set()
    wait_for(lambda: ask(server, "/ready")[0] == 200, 10.0, "ready again")
    assert b"connector_leases 3.0" in ask(server, "/metrics")[2]


def test_pages_that_hang_are_bounded_and_take_nothing_with_them(service, monkeypatch):
    server = service.server(seen=Hanging(service))
    assert server.start()
    service.block = threading.Event()
    with ThreadPoolExecutor(health_port.MAX_SLOW_REQUESTS) as pool:
        hanging = [pool.submit(ask, server, "/streams.json") for _ in range(health_port.MAX_SLOW_REQUESTS)]
        wait_for(lambda: service.asked == len(hanging), 10.0, "all of them hang")
        try:
            assert ask(server, "/streams")[::2] == (503, b'{"error":"Busy"}')
            assert ask(server, "/health")[0] == 200
            service.block_ready = False
            assert ask(server, "/ready")[0] == 200
        finally:
            service.block.set()
        assert all(one.result(10)[0] == 200 for one in hanging)
    assert server.stop()


class Hanging(StreamsSeen):
    def __init__(self, service: Service) -> None:
        self._service = service

    def listed(self, asked: Asked) -> StreamList:
        self._service._hang()
        return StreamList(now_ms=1)


class Away(StreamsSeen):
    def __init__(self) -> None: ...

    def listed(self, asked: Asked) -> StreamList:
        raise StateUnavailable("connection refused")


def test_the_page_is_there_and_red_while_redis_hangs(server, service, monkeypatch):
    """It did not answer: what an operator looks at first had nothing to say when it mattered."""
    monkeypatch.setattr(health_port, "VITAL_S", 0.3)
    service.block = threading.Event()
    try:
        status, _, body = ask(server, "/")
        assert (status, b"Not ready: redis: no answer" in body) == (200, True)
        assert read_status(ask(server, "/status.json")[2]).problems == ["redis: no answer"]
    finally:
        service.block.set()


def test_the_page_is_there_and_red_while_redis_is_away(service):
    server = service.server(seen=Away())
    assert server.start()
    status, _, body = ask(server, "/")
    assert (status, b"Not ready: redis: connection refused" in body) == (200, True)
    assert server.stop()


def test_slow_clients_never_switch_health_off(server):
    """64 clients with a header byte each half second: none of 38 requests for /health was answered, for 20 s."""
    with ExitStack() as open_ones:
        slow = [
            open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(_guard.MAX_CONNECTIONS + 64)
        ]
        for number, connection in enumerate(slow[64:]):
            connection.sendall(b"GET /health HTTP/1.1\r\nX: "[: 1 + number % 25])
            if number % 8 == 0:
                assert ask(server, "/health")[0] == 200
        for connection in slow[:64]:  # the oldest made room
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"POST /health HTTP/1.1\r\nContent-Length: 9\r\n\r\n12"])
def test_a_peer_that_sends_nothing_or_byte_by_byte_is_cut(service, monkeypatch, sent):
    monkeypatch.setattr(_guard, "ASK_S", 0.2)
    monkeypatch.setattr(_guard, "ANSWER_S", 0.2)
    server = service.server()
    assert server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection, suppress(ConnectionError):
            connection.sendall(sent)
            while connection.recv(4096):
                pass
    finally:
        assert server.stop()


def test_what_is_no_request_is_refused_without_a_line_in_the_log(server, caplog):
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\0" * 9000 + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(64).startswith(b"HTTP/1.0 400 ")
    assert [record.message for record in caplog.records if record.levelname not in {"DEBUG", "INFO"}] == []


def test_openmetrics_for_whoever_asks_for_it(server, service):
    service.metrics.gauge("leases", 3)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.read().endswith(b"# EOF\n")
    connection.close()


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
