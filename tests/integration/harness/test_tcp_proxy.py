"""The misbehaving relay: each of its moods, over loopback sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from harness.servers import wait_for
from harness.tcp_proxy import MAX_HELD, TcpProxy

pytestmark = pytest.mark.integration

TIMEOUT_S = 5.0


class Echo:
    """Sends back what it gets; remembers how many bytes came."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.got = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65_536):
                    self.got += len(data)
                    client.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    proxy = TcpProxy("127.0.0.1", echo.port)
    yield proxy
    proxy.close()


def dial(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_S)


def answer(sock: socket.socket, text: bytes) -> bytes:
    sock.sendall(text)
    return sock.recv(len(text))


def test_it_relays_both_ways(proxy: TcpProxy) -> None:
    with dial(proxy) as sock:
        assert answer(sock, b"hello") == b"hello"
        assert proxy.connections == 1
    wait_for(lambda: proxy.connections == 0, TIMEOUT_S, "the connection gone")


def test_a_cut_resets_and_the_next_connection_works(proxy: TcpProxy) -> None:
    with dial(proxy) as sock:
        assert answer(sock, b"x") == b"x"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with dial(proxy) as sock:
        assert answer(sock, b"y") == b"y"


def test_stalled_connections_stay_and_deliver_later(proxy: TcpProxy) -> None:
    with dial(proxy) as sock:
        assert answer(sock, b"x") == b"x"
        proxy.stall()
        sock.sendall(b"late")
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(4)
        with dial(proxy) as other:
            other.settimeout(0.1)
            other.sendall(b"also late")
            with pytest.raises(TimeoutError):
                other.recv(1)
        proxy.resume()
        sock.settimeout(TIMEOUT_S)
        assert sock.recv(4) == b"late"


def test_refused_means_connection_refused_on_the_same_port_until_accepted(proxy: TcpProxy) -> None:
    port = proxy.port
    with dial(proxy) as sock:
        assert answer(sock, b"x") == b"x"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.accept()
    assert proxy.port == port
    with dial(proxy) as sock:
        assert answer(sock, b"y") == b"y"


def test_much_data_passes_whole_while_the_reader_is_slow(proxy: TcpProxy) -> None:
    data = bytes(range(256)) * 4096 * 12
    assert len(data) > 2 * MAX_HELD
    with dial(proxy) as sock:
        threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
        got = bytearray()
        while len(got) < len(data):
            part = sock.recv(65_536)
            assert part
            got += part
        assert bytes(got) == data


def test_delayed_bytes_arrive_in_order(proxy: TcpProxy) -> None:
    with dial(proxy) as sock:
        proxy.delay(0.05)
        for number in range(5):
            sock.sendall(bytes([number]))
        got = b""
        while len(got) < 5:
            got += sock.recv(5)
        assert got == bytes(range(5))
