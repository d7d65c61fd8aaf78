"""Exchanges through proxies: real ones, with TLS inside, and bad ones that a test plays."""

from __future__ import annotations

import queue
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connector.core.proxies import Proxy, Standard, Ways, read_proxy
from connector.streams import tcp, tunnel
from connector.streams.egress import ProxyFailed
from connector.streams.transport import DialFailure, Kind, Transport
from exchanges._adapter import Answer, Call, Connect
from harness.proxies import Kind as RealKind
from harness.proxies import RealProxy
from harness.servers import wait_for
from tests.integration.streams.rig import WAIT_S, Rig, quiet_limits
from tests.integration.streams.ws_server import WsServer
from tests.unit.connector.streams.test_tcp import resolve_to

pytestmark = pytest.mark.integration

USER, PASSWORD = "user-of-the-proxy", "p4ssword:of@the/proxy"
QUOTED = "p4ssword%3Aof%40the%2Fproxy"
KINDS: tuple[RealKind, ...] = ("socks5", "http", "proxy.py")


@pytest.fixture(scope="module", params=KINDS)
def proxy(request: pytest.FixtureRequest) -> Iterator[RealProxy]:
    with RealProxy(request.param, USER, PASSWORD) as running:
        yield running


def given(proxy: RealProxy, user: str = USER, password: str = QUOTED) -> Proxy:
    return read_proxy(proxy.label.replace("://", f"://{user}:{password}@" if user else "://"))


@contextmanager
def rigged(pem: Path, *proxies: Proxy | None) -> Iterator[Rig]:
    rig = Rig(ca_file=str(pem), ways=Ways(proxies=proxies))
    yield rig
    assert rig.stop()


def dialled(rig: Rig, url: str, way: str) -> Transport | DialFailure:
    found: queue.Queue[Transport | DialFailure] = queue.Queue()
    rig.dialler.dial(Connect(url), quiet_limits(), "v", way, lambda: True, found.put)
    return found.get(timeout=WAIT_S)


def asked(rig: Rig, url: str, way: str) -> Answer:
    found: queue.Queue[Answer] = queue.Queue()
    rig.rest.submit(Call(tag="t", method="GET", url=url, timeout_s=5.0), "v", way, None, found.put)
    return found.get(timeout=WAIT_S)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name that this process looks up."""
    names: list[str] = []
    look_up = socket.getaddrinfo

    def noted(host: Any, *arguments: Any, **options: Any) -> Any:
        names.append(str(host))
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    return names


# --- real proxies ---


def test_a_socket_opens_through_a_proxy_that_resolves_the_name(
    proxy: RealProxy, server: WsServer, pem: Path, resolved: list[str]
) -> None:
    url = server.url.replace("127.0.0.1", "localhost")
    with rigged(pem, given(proxy)) as rig:
        result = dialled(rig, url, proxy.label)
        assert not isinstance(result, DialFailure), result
        peer = server.peer()
        peer.send(b"hello")
        wait_for(lambda: result.read() == (Kind.DATA, b"hello"), WAIT_S, "the frame")
        result.close()
    assert "localhost" not in resolved, "the name of the exchange is for the proxy to look up"
    assert set(resolved) == {"127.0.0.1"}


def test_a_certificate_is_verified_inside_the_tunnel(proxy: RealProxy, pem: Path) -> None:
    """It is the exchange's, by the exchange's name; the proxy has no part in it."""
    server = WsServer(pem)
    rig = Rig(ways=Ways(proxies=(given(proxy),)))  # trusts no authority but the system's
    try:
        result = dialled(rig, server.url, proxy.label)
        assert isinstance(result, DialFailure)
        assert "CERTIFICATE_VERIFY_FAILED" in result.reason
        https = server.url.replace("wss://", "https://")
        assert asked(rig, https, proxy.label).error == "SSLError"
    finally:
        assert rig.stop()
        server.stop()


def test_rest_goes_through_the_proxy_too(proxy: RealProxy, server: WsServer, pem: Path, resolved: list[str]) -> None:
    server.refusals.put(b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\n\r\nok")
    url = server.url.replace("ws", "http", 1).replace("127.0.0.1", "localhost")
    with rigged(pem, given(proxy)) as rig:
        answer = asked(rig, url, proxy.label)
    assert (answer.status, answer.body) == (418, b"ok"), answer
    assert "localhost" not in resolved


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_password_is_told_without_showing_it(kind: RealKind, server: WsServer, pem: Path) -> None:
    with RealProxy(kind, USER, PASSWORD) as strict, rigged(pem, given(strict, password="wrong-password")) as rig:
        result = dialled(rig, server.url, strict.label)
        assert isinstance(result, DialFailure)
        answer = asked(rig, server.url.replace("ws", "http", 1), strict.label)
    for text in (result.reason, answer.error):
        assert f"{strict.label} does not lead to" in text
        assert "wrong-password" not in text
        assert USER not in text


def test_a_dead_proxy_rests_and_is_named(pem: Path, server: WsServer) -> None:
    with RealProxy("socks5") as dead:
        dead.kill()
        with RealProxy("http") as other, rigged(pem, read_proxy(dead.url), read_proxy(other.url)) as rig:
            result = dialled(rig, server.url, dead.label)
            assert isinstance(result, DialFailure)
            assert dead.label in result.reason
            assert rig.egresses.working("v") == (other.label,)
            again = dialled(rig, server.url, dead.label)
            assert isinstance(again, DialFailure)
            assert "another way" in again.reason
            result = dialled(rig, server.url, other.label)
            assert not isinstance(result, DialFailure), result
            result.close()


def test_an_exchange_that_is_down_does_not_cost_the_proxy(proxy: RealProxy, pem: Path) -> None:
    with rigged(pem, given(proxy), None) as rig:
        result = dialled(rig, "wss://127.0.0.1:9/", proxy.label)
        assert isinstance(result, DialFailure)
        assert rig.egresses.working("another") == (proxy.label, "")


# --- proxies that a test plays ---


@contextmanager
def played(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """The port of a proxy that does with its first connection what it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with closing(listener.accept()[0]) as sock, suppress(OSError):
            play(sock)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def dripping(sock: socket.socket) -> None:
    """One byte now and then: each comes well before the timeout of a single read."""
    with suppress(OSError):
        if sock.recv(4096)[:1] == b"\x05":
            sock.sendall(b"\x05\x00")
            sock.recv(4096)
            sock.sendall(b"\x05\x00\x00\x03\xff")
        while True:
            sock.send(b"X")
            if select.select([sock], [], [], 0.05)[0] and not sock.recv(4096):
                return


def without_end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sock.sendall(b"X-More: more\r\n" * 100)


def saying(*answers: bytes, hang_up: bool = False) -> Callable[[socket.socket], None]:
    def play(sock: socket.socket) -> None:
        for answer in answers:
            sock.recv(4096)
            sock.sendall(answer)
        if not hang_up:
            sock.recv(4096)

    return play


def refusal(scheme: str, place: str, timeout_s: float = 5.0, login: str = "") -> str:
    with pytest.raises(ProxyFailed) as failed:
        tunnel.connect(read_proxy(f"{scheme}://{login}{place}"), "venue.invalid", 443, timeout_s)
    return str(failed.value)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_that_drips_costs_no_more_than_the_time_of_a_connect(scheme: str) -> None:
    with played(dripping) as place:
        said = refusal(scheme, place, timeout_s=0.5)
    assert "in time" in said or "timed out" in said, said


def test_an_answer_to_connect_without_end_is_bounded() -> None:
    with played(without_end) as place:
        assert "does not end" in refusal("http", place)


@pytest.mark.parametrize(
    ("scheme", "login", "answers", "said"),
    [
        ("http", "", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"], "wants a user and a password"),
        ("http", "u:p@", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"], "another user and password"),
        ("http", "", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], "HTTP 403"),
        ("http", "", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "no HTTP proxy"),
        ("http", "", [b"\r\n\r\n"], "no HTTP proxy"),
        ("socks5", "", [b"\x05\xff"], "wants a user and a password"),
        ("socks5", "u:p@", [b"\x05\xff"], "another way to log in"),
        ("socks5", "u:p@", [b"\x05\x02", b"\x01\x01"], "another user and password"),
        ("socks5", "", [b"HT"], "no SOCKS5 proxy"),
        ("socks5", "", [b"\x05\x00", b"\x05\x05\x00\x01"], "refused the connection"),
        ("socks5", "", [b"\x05\x00", b"\x05\x63\x00\x01"], "SOCKS reply 99"),
        ("socks5", "", [b"\x05"], "hung up"),
    ],
)
def test_what_a_proxy_refuses_is_told_in_words(scheme: str, login: str, answers: list[bytes], said: str) -> None:
    with played(saying(*answers, hang_up=said == "hung up")) as place:
        found = refusal(scheme, place, login=login)
    assert said in found
    assert found.startswith(f"{scheme}://{place} does not lead to venue.invalid:443")


def test_an_ipv6_exchange_and_long_names_are_asked_for_as_the_protocols_want() -> None:
    heard: list[bytes] = []

    def play(sock: socket.socket) -> None:
        heard.append(sock.recv(4096))
        sock.sendall(b"\x05\x00")
        heard.append(sock.recv(4096))
        sock.sendall(b"\x05\x00\x00\x03\x04name\x00\x50")
        sock.recv(4096)

    with played(play) as place:
        tunnel.connect(read_proxy(f"socks5://{place}"), "2001:db8::1", 443, 5.0).close()
    assert heard == [
        b"\x05\x01\x00",
        b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x01\xbb",
    ]


def test_a_proxy_with_a_dead_address_family_costs_a_fraction_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name has an IPv6 address that swallows everything, and comes first."""
    with played(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as place:
        port = int(place.split(":")[1])
        attempts = resolve_to(monkeypatch, [(socket.AF_INET6, ("dead", port)), (socket.AF_INET, ("127.0.0.1", port))])
        tunnel.connect(Proxy("http", "proxy.invalid", port), "venue.invalid", 443, tcp.ATTEMPT_DELAY_S * 8).close()
    assert len(attempts) == 2


def test_the_standard_variables_leave_out_what_they_should(pem: Path, server: WsServer) -> None:
    """A proxy of the environment is dead; the exchange here is reached without it all the same."""
    dead = read_proxy("http://127.0.0.1:9")
    rig = Rig(ca_file=str(pem), ways=Ways(standard=Standard(dead, dead, "")))
    way = rig.egresses.names("v")[0]
    assert way == "http://127.0.0.1:9"
    result = dialled(rig, server.url, way)
    assert not isinstance(result, DialFailure), result
    result.close()
    elsewhere = dialled(rig, "wss://venue.invalid/", way)
    assert isinstance(elsewhere, DialFailure)
    assert way in elsewhere.reason
    assert rig.stop()
