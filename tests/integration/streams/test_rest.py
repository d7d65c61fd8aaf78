"""REST calls of adapters against a small HTTP server: one answer each, whatever happens."""

from __future__ import annotations

import gzip
import logging
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connector.core.clock import SystemClock
from connector.core.loop import Loop
from connector.core.proxies import Ways
from connector.state.memory_state import MemoryState
from connector.streams import tcp
from connector.streams.budget import Budget
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.rest import RestQueue
from exchanges._adapter import Answer, Call
from exchanges._venue import Limits, Rate
from tests.integration.streams.rig import WAIT_S, quiet_limits, until, watch
from tests.unit.connector.streams.test_tcp import resolve_to

pytestmark = pytest.mark.integration

SECRET = "signature=0123456789abcdef"


class Handler(BaseHTTPRequestHandler):
    server: HttpServer

    def log_message(self, *arguments: Any) -> None: ...

    def do_GET(self) -> None:
        self.server.seen.put((self.command, self.path, dict(self.headers.items())))
        path = self.path.split("?")[0]
        if path == "/hang":
            self.server.release.wait(WAIT_S)
            return
        if path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if path == "/drip-head":
            self.send_response(200)
            self.flush_headers()
            while not self.server.release.wait(0.05):
                self.wfile.write(b"X")
            return
        if path == "/drip-chunk":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while not self.server.release.wait(0.05):
                self.wfile.write(b"0")
            return
        if path == "/drip":
            self.send_response(200)
            self.end_headers()
            while not self.server.release.wait(0.05):
                self.wfile.write(b".")
            return
        status, headers, body = self.server.answers.get(path, (200, {}, b"ok"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.bodies.put(body)
        self.do_GET()


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pem: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.seen: queue.Queue[tuple[str, str, dict[str, str]]] = queue.Queue()
        self.bodies: queue.Queue[bytes] = queue.Queue()
        self.release = threading.Event()
        self.url = f"http{'s' if pem else ''}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, pem: Path) -> Iterator[HttpServer]:
    server = HttpServer(pem if request.param == "tls" else None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join(WAIT_S)


class Client:
    def __init__(self, ca_file: str = "") -> None:
        self.clock = SystemClock()
        self.state = MemoryState()
        self.budget = Budget(self.state, self.clock)
        self.pool = RestPool(
            RestQueue(self.budget),
            HttpClient(Endpoints(), self.clock, Egresses(Ways(), self.clock), ca_file),
            Loop("rest", self.clock),
        )
        self.pool.start()
        self.answers: queue.Queue[Answer] = queue.Queue()

    def submit(self, url: str, limits: Limits | None = None, venue: str = "v", **more: Any) -> None:
        values = {"tag": "t", "method": "GET", "timeout_s": 5.0, **more}
        self.pool.submit(Call(url=url, **values), venue, "", limits, self.answers.put)

    def ask(self, url: str, limits: Limits | None = None, **more: Any) -> Answer:
        self.submit(url, limits, **more)
        return self.answers.get(timeout=WAIT_S)


@pytest.fixture
def client(pem: Path) -> Iterator[Client]:
    client = Client(str(pem))
    yield client
    client.pool.stop()
    until(lambda: not any(thread.name.startswith("rest-") for thread in threading.enumerate()), "the pools end")


def limits(rate: Rate) -> Limits:
    return quiet_limits(rest={"rest": rate})


def test_an_answer_comes_with_status_lower_case_headers_and_body(client: Client, server: HttpServer) -> None:
    server.answers["/x"] = (418, {"X-Weight": "7"}, b'{"code":1}')
    answer = client.ask(f"{server.url}/x?{SECRET}", headers={"X-Key": "k"})
    assert (answer.status, answer.headers["x-weight"], answer.body, answer.error) == (418, "7", b'{"code":1}', "")
    method, path, headers = server.seen.get(timeout=WAIT_S)
    assert (method, path, headers["X-Key"]) == ("GET", f"/x?{SECRET}", "k")


def test_a_body_is_sent_as_it_is_signed(client: Client, server: HttpServer) -> None:
    client.ask(f"{server.url}/x", method="POST", body='{"a":"é", "b":1}')
    assert server.bodies.get(timeout=WAIT_S) == '{"a":"é", "b":1}'.encode()


def test_a_compressed_answer_is_unpacked(client: Client, server: HttpServer) -> None:
    server.answers["/x"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"text"))
    assert client.ask(f"{server.url}/x").body == b"text"


def test_a_redirect_is_an_answer_and_not_followed(client: Client, server: HttpServer) -> None:
    """The signature and the key must not go to wherever it points."""
    server.answers["/x"] = (302, {"Location": f"{server.url}/elsewhere"}, b"")
    assert client.ask(f"{server.url}/x", headers={"X-Key": "k"}).status == 302
    assert server.seen.get(timeout=WAIT_S)[1] == "/x"
    assert server.seen.empty()


@pytest.mark.parametrize("path", ["/hang", "/cut", "/drip", "/drip-head", "/drip-chunk"])
def test_no_or_half_an_answer_is_status_0_and_tells_no_url(
    client: Client, server: HttpServer, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "streams"):
        answer = client.ask(f"{server.url}{path}?{SECRET}", timeout_s=0.3)
    assert answer.status == 0
    assert answer.error
    assert SECRET not in answer.error
    assert SECRET not in caplog.text
    assert "unexpected" not in caplog.text, "a venue that hangs up is nothing unexpected"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://no.such.host.invalid/", "http:///", "https://127.0.0.1:9"]
)
def test_nobody_there_is_status_0(client: Client, url: str) -> None:
    answer = client.ask(f"{url}?{SECRET}", timeout_s=2.0)
    assert answer.status == 0
    assert answer.error
    assert SECRET not in answer.error


def test_a_ban_binds_every_process(client: Client, server: HttpServer) -> None:
    server.answers["/x"] = (429, {"Retry-After": "33"}, b"")
    rate = Rate(1000, 1.0)
    assert client.ask(f"{server.url}/x", limits(rate)).status == 429
    assert client.state.take("v:rest-rest:default", 1, 1000, 1.0, client.clock.wall_ms()) > 30_000
    answer = client.ask(f"{server.url}/y", limits(rate))
    assert answer.status == 0
    assert "weight" in answer.error
    assert server.seen.get(timeout=WAIT_S)[1] == "/x"
    assert server.seen.empty(), "nothing is sent while the address is barred"


def test_weight_that_others_used_on_the_address_holds_calls_back(client: Client, server: HttpServer) -> None:
    """The exchange service shares the address; before, only a 429 told of what it used."""
    rate = Rate(1000, 3600.0)
    heeding = msgspec.structs.replace(limits(rate), used_headers={"rest": "x-used"})
    server.answers["/x"] = (200, {"X-Used": "999"}, b"")
    assert client.ask(f"{server.url}/x", heeding).status == 200
    assert client.state.take("v:rest-rest:default", 1, 1000, 3600.0, client.clock.wall_ms()) == 0
    server.answers["/x"] = (200, {"X-Used": "1000"}, b"")
    assert client.ask(f"{server.url}/x", heeding).status == 200
    assert client.state.take("v:rest-rest:default", 1, 1000, 3600.0, client.clock.wall_ms()) > 0


@pytest.mark.parametrize("used", ["", "12x", "-5"])
def test_a_count_of_used_weight_that_is_no_number_changes_nothing(
    client: Client, server: HttpServer, used: str
) -> None:
    rate = Rate(1, 3600.0)
    heeding = msgspec.structs.replace(limits(rate), used_headers={"rest": "x-used"})
    server.answers["/x"] = (200, {"X-Used": used}, b"")
    assert client.ask(f"{server.url}/x", heeding).status == 200
    assert client.state.take("v:rest-rest:default", 1, 2, 3600.0, client.clock.wall_ms()) == 0


def test_calls_wait_for_the_budget(client: Client, server: HttpServer) -> None:
    granted = watch(client.budget, client.clock)
    for _ in range(4):
        client.submit(f"{server.url}/x", limits(Rate(2, 0.3)))
    for _ in range(4):
        assert client.answers.get(timeout=WAIT_S).status == 200
    assert len(granted) == 4
    granted.sort()
    assert min(later[1] - first[0] for first, later in zip(granted, granted[2:], strict=False)) >= 0.3


def test_a_venue_that_hangs_costs_only_itself(client: Client, server: HttpServer) -> None:
    for _ in range(30):
        client.submit(f"{server.url}/hang", venue="slow", timeout_s=9.0)
    assert client.ask(f"{server.url}/x", venue="fast").status == 200
    server.release.set()
    for _ in range(30):
        client.answers.get(timeout=WAIT_S)


def test_every_call_gets_exactly_one_answer(client: Client, server: HttpServer) -> None:
    for number in range(200):
        client.submit(f"{server.url}/{'cut' if number % 7 == 0 else 'x'}", timeout_s=5.0)
    statuses = [client.answers.get(timeout=WAIT_S).status for _ in range(200)]
    assert statuses.count(0) == 29
    assert client.answers.empty()


def test_more_than_a_venue_may_have_pending_is_refused(
    client: Client, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.streams.rest.MAX_PENDING_PER_VENUE", 3)
    for _ in range(3):
        client.submit(f"{server.url}/hang", timeout_s=9.0)
    assert "full" in client.ask(f"{server.url}/x").error
    server.release.set()
    for _ in range(3):
        client.answers.get(timeout=WAIT_S)
    assert client.ask(f"{server.url}/x").status == 200


def test_after_the_stop_calls_are_refused_with_an_answer(client: Client, server: HttpServer) -> None:
    client.ask(f"{server.url}/x")
    client.pool.stop()
    assert "closed" in client.ask(f"{server.url}/x").error


def test_rest_goes_round_a_dead_address_family(
    client: Client, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets did; REST waited for the whole timeout of a connect, and then tried the next one with no time left."""
    attempts = resolve_to(
        monkeypatch, [(socket.AF_INET6, ("dead", 1)), (socket.AF_INET, ("127.0.0.1", server.server_port))]
    )
    assert client.ask(f"{server.url.replace('127.0.0.1', 'localhost')}/x", timeout_s=2.0).status == 200
    assert len(attempts) == 2


def test_rest_follows_a_name_to_its_new_address(
    client: Client, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next connection: one that works is used on."""
    addresses: list[tcp.Address] = [(socket.AF_INET, ("127.0.0.1", server.server_port))]
    attempts = resolve_to(monkeypatch, addresses)
    url = f"{server.url.replace('127.0.0.1', 'localhost')}/x"
    assert client.ask(url).status == 200
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused = closed.getsockname()
    addresses[0] = (socket.AF_INET, refused)
    assert client.ask(url).status == 0
    assert attempts[-1] == (socket.AF_INET, refused)


def test_the_environments_proxies_are_not_used(
    client: Client, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.ask(f"{server.url}/x").status == 200
