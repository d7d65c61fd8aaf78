"""HTTP connections for requests that go out by one of our ways, and whose answers end in time, however slowly they come.

A timeout of a socket is for one read, so a server that sends a byte now and then would keep a thread for ever. Here the time
from the end of the request to the last header counts, and then that of the body. Any thread.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.ssl_ import create_urllib3_context

from connector.core.clock import SystemClock

_CLOCK: Final = SystemClock()
"""Sockets keep real time: nobody hands them another."""
BODY_FACTOR: Final = 2
"""A body may take this many times as long as the headers: symbol lists have some MB."""

Reach = Callable[[str, int, float, bool], socket.socket]
"""Opens a connection: host, port, timeout in seconds, whether TLS follows. Raises `OSError`."""


class _PlainSocket(socket.socket):
    """A socket whose reads end at `until`, monotonic seconds; None = each at its own timeout."""

    until: float | None = None

    def recv_into(self, *arguments: Any) -> int:
        if self.until is not None:
            self.settimeout(_left_s(self.until))
        return super().recv_into(*arguments)


class _TlsSocket(ssl.SSLSocket):
    """The same over TLS."""

    until: float | None = None

    def recv_into(self, *arguments: Any) -> int:
        if self.until is not None:
            self.settimeout(_left_s(self.until))
        return super().recv_into(*arguments)


def _left_s(until: float) -> float:
    left_s = until - _CLOCK.mono()
    if left_s <= 0:
        raise TimeoutError("the answer does not end")
    return left_s


class _Plain(HTTPConnection):
    reach: Reach

    def _new_conn(self) -> socket.socket:
        return _PlainSocket(fileno=_opened(self, self.reach, secure=False).detach())

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        return _timed(self, super().getresponse)


class _Tls(HTTPSConnection):
    reach: Reach

    def _new_conn(self) -> socket.socket:
        return _opened(self, self.reach, secure=True)

    def connect(self) -> None:
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context()
            self.ssl_context.sslsocket_class = _TlsSocket
        super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        return _timed(self, super().getresponse)


def _timeout_s(connection: HTTPConnection) -> float:
    if not isinstance(connection.timeout, int | float):
        raise TypeError("every call has a timeout")
    return float(connection.timeout)


def _opened(connection: HTTPConnection, reach: Reach, *, secure: bool) -> socket.socket:
    try:
        return reach(connection.host, connection.port, _timeout_s(connection), secure)
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, str(error)) from error
    except (OSError, UnicodeError) as error:
        raise NewConnectionError(connection, str(error)) from error


def _timed(connection: HTTPConnection, getresponse: Callable[[], HTTPResponse]) -> HTTPResponse:
    sock, timeout_s = connection.sock, _timeout_s(connection)
    if not isinstance(sock, _PlainSocket | _TlsSocket):
        raise TypeError("a connection that was not made here: its answer may take for ever")
    sock.until = _CLOCK.mono() + timeout_s
    try:
        return getresponse()
    finally:
        # The response has its own hold on the socket: this is the time of the body.
        sock.until = _CLOCK.mono() + BODY_FACTOR * timeout_s


class Through(HTTPAdapter):
    """Makes requests over connections that `reach` opens."""

    def __init__(self, reach: Reach) -> None:
        plain = type("_PlainThrough", (_Plain,), {"reach": staticmethod(reach)})
        tls = type("_TlsThrough", (_Tls,), {"reach": staticmethod(reach)})
        self._pools: dict[str, type[HTTPConnectionPool]] = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools
