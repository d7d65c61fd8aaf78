"""Connections through proxies: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929), on sockets of ours.

The name of the exchange goes to the proxy as it is, and the whole handshake has one deadline. TLS comes afterwards, with the
exchange itself: the proxy sees bytes. Any thread; blocks for at most `timeout_s`.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from typing import Final

from connector.core.clock import SystemClock
from connector.core.proxies import Proxy
from connector.streams import tcp
from connector.streams.egress import Egresses, NoWayThere, ProxyFailed

_CLOCK: Final = SystemClock()
"""Sockets keep real time: nobody hands them another."""
MAX_ANSWER_BYTES: Final = 16_384
"""Of the answer to CONNECT, up to its empty line."""

_VERSION: Final = 5
_NO_LOGIN, _LOGIN = 0, 2
_BY_ADDRESS_4, _BY_NAME, _BY_ADDRESS_6 = 1, 3, 4
_REPLIES: Final = {
    1: "it has a failure of its own",
    2: "its rules don't allow that",
    3: "the network can't be reached from there",
    4: "the host can't be reached from there",
    5: "the host refused the connection",
    6: "the connection took too long",
    7: "it does not open connections",
    8: "it does not know this kind of address",
}


def reach(egresses: Egresses, name: str, host: str, port: int, timeout_s: float, *, secure: bool) -> socket.socket:
    """A connected socket to `host`, by the way of this name; it blocks for at most `timeout_s`.

    Raises `OSError`; `ProxyFailed` if the fault is a proxy's, which then rests; `NoWayThere` if it is not, and nothing rests.
    """
    way = egresses.way(name)
    proxy = way.proxy_for(host, port, secure=secure)
    if proxy is None:
        return tcp.connect(host, port, timeout_s, way.source_ip)
    try:
        sock = connect(proxy, host, port, timeout_s)
    except ProxyFailed as error:
        if not error.answered:
            egresses.failed(name, str(error))
        raise
    egresses.worked(name)
    return sock


def connect(proxy: Proxy, host: str, port: int, timeout_s: float) -> socket.socket:
    """A socket that a proxy has connected to `host`. Raises `ProxyFailed`."""
    give_up_at = _CLOCK.mono() + timeout_s
    try:
        sock = tcp.connect(proxy.host, proxy.port, timeout_s)
    except OSError as error:
        raise ProxyFailed(f"{proxy} can't be reached: {error}") from None
    try:
        talk = _Talk(sock, give_up_at)
        (_socks if proxy.scheme == "socks5" else _http)(talk, proxy, host, port)
        sock.settimeout(timeout_s)
    except (OSError, UnicodeError) as error:
        sock.close()
        failure = NoWayThere if isinstance(error, NoWayThere) else ProxyFailed
        raise failure(f"{proxy} does not lead to {host}:{port}: {error}") from None
    except BaseException:
        sock.close()
        raise
    return sock


class _Talk:
    """What is said to a proxy before the tunnel is open: never a byte more is read than belongs to its answer."""

    def __init__(self, sock: socket.socket, give_up_at: float) -> None:
        self._sock, self._give_up_at = sock, give_up_at
        self.told = False
        """It knows where to: some hang up, instead of an answer, when they can't get there."""

    def say(self, data: bytes) -> None:
        self._sock.settimeout(self._left_s())
        self._sock.sendall(data)

    def hear(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._sock.settimeout(self._left_s())
            part = self._sock.recv(size - len(data))
            if not part:
                raise (NoWayThere if self.told else OSError)("it hung up")
            data += part
        return data

    def _left_s(self) -> float:
        left_s = self._give_up_at - _CLOCK.mono()
        if left_s <= 0:
            raise TimeoutError("it did not answer in time")
        return left_s


def _http(talk: _Talk, proxy: Proxy, host: str, port: int) -> None:
    place = f"[{host}]:{port}" if ":" in host else f"{_name(host).decode()}:{port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.user:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    talk.say("\r\n".join([*lines, "", ""]).encode())
    talk.told = True
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n"):
        if len(answer) >= MAX_ANSWER_BYTES:
            raise OSError("its answer does not end")
        answer += talk.hear(1)
    words = bytes(answer).split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise OSError("what answers there is no HTTP proxy")
    if words[1] == "407":
        raise OSError("it wants another user and password" if proxy.user else "it wants a user and a password")
    if not words[1].startswith("2"):
        raise NoWayThere(f"HTTP {words[1]}")


def _socks(talk: _Talk, proxy: Proxy, host: str, port: int) -> None:
    methods = bytes([_NO_LOGIN, _LOGIN] if proxy.user else [_NO_LOGIN])
    talk.say(bytes([_VERSION, len(methods)]) + methods)
    version, method = talk.hear(2)
    if version != _VERSION:
        raise OSError("what answers there is no SOCKS5 proxy")
    if method == _LOGIN and proxy.user:
        user, password = proxy.user.encode(), proxy.password.encode()
        talk.say(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if talk.hear(2)[1] != 0:
            raise OSError("it wants another user and password")
    elif method != _NO_LOGIN:
        raise OSError("it wants another way to log in" if proxy.user else "it wants a user and a password")
    talk.say(bytes([_VERSION, 1, 0]) + _destination(host) + port.to_bytes(2, "big"))
    talk.told = True
    _, reply, _, kind = talk.hear(4)
    if reply != 0:
        raise NoWayThere(_REPLIES.get(reply, f"SOCKS reply {reply}"))
    length = {_BY_ADDRESS_4: 4, _BY_ADDRESS_6: 16}.get(kind)
    talk.hear((talk.hear(1)[0] if length is None else length) + 2)


def _destination(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = _name(host)
        return bytes([_BY_NAME, len(name)]) + name
    return bytes([_BY_ADDRESS_4 if address.version == 4 else _BY_ADDRESS_6]) + address.packed


def _name(host: str) -> bytes:
    return host.encode("idna")
