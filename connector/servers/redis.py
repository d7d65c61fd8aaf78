"""Connections to Redis: a server, the master that Sentinel names, or the nodes of a Cluster. Nothing is retried here.

redis-py's own clients for the latter two retry by themselves, and a late reply must not make a command count twice; so its
plain connection is used, and where it goes is asked anew with each connect.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from connector.core.places import Host, RedisPlace
from connector.servers.sockets import DISCARD
from connector.servers.whereabouts import ClusterNode, Locate, SentinelMaster

MAX_CONNECTIONS: Final = 32
"""Dramatiq's 8 threads, the scheduler's 10, I/O threads and a listener fit; more would only queue at the server."""
HEALTH_CHECK_S: Final = 15
"""A pooled connection that idled longer is tried with a PING first."""
ASK_S: Final = 1.0
"""A sentinel, or a node that is asked for the way, is waited for this long; then the next one is asked."""
READ_BYTES: Final = 65_536
_ELSEWHERE: Final = (ReadOnlyError, MovedError, AskError, ClusterDownError)
"""What a server answers that is not, or not now, the one to ask: it did nothing."""


class Wire(Protocol):
    """A connection to a Redis as redis-py makes it, and a world: sends packed commands, reads one reply after another.

    Raises redis-py's errors; an error reply of the server is raised, too.
    """

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None: ...

    def can_read(self, timeout: float) -> bool:
        """Whether a reply, or the beginning of one, is there within so many seconds."""

    def read_response(self) -> object: ...

    def read_counts(self, count: int) -> Sequence[Exception]:
        """The replies to the oldest so many commands that answer with a number; returns those that are errors. Only such
        commands may be unanswered."""

    def read_numbers(self, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
        """Append the replies to so many commands that answer with a number, or with a list of one; error replies in their
        place. As `one_by_one`, whatever is raised."""


def one_by_one(wire: Wire, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
    """Append so many replies of any kind; an error reply as a `ResponseError` in its place. `left_s` tells how much longer
    replies may be waited for: at most `reply_s`, and the connection's own timeout where it is infinite.

    Raises redis-py's errors when the connection failed; what had arrived is in `replies` then.
    """
    for _ in range(count):
        if (left := left_s()) != math.inf and not wire.can_read(min(left, reply_s)):
            raise RedisTimeoutError("no answer in time")
        try:
            replies.append(wire.read_response())
        except BusyLoadingError as error:
            # redis-py drops the connection on this answer, although it is one: the command did nothing.
            replies.append(ResponseError(str(error)))
            raise
        except ResponseError as error:
            replies.append(error)


class _Located:
    """Mixed into redis-py's connections: goes to where `locate` says at that moment."""

    _locate: Locate
    _only_master: bool
    _pooled: bool
    _discard: bool
    _raw: socket.socket
    _unread: bytes
    """Replies that arrived and were not counted yet."""

    def __init__(
        self, *, locate: Locate, only_master: bool = False, pooled: bool = False, discard: bool = False, **options: Any
    ) -> None:
        """`pooled`: one that is at the wrong server is closed, so that the next command asks for the way. `discard`: what it
        has not got rid of when it is closed is never sent."""
        self._locate, self._only_master, self._pooled, self._discard = locate, only_master, pooled, discard
        super().__init__(**options)

    def _connect(self) -> socket.socket:
        here: Any = self
        here.host, here.port = self._locate()
        parent: Any = super()
        made: socket.socket = parent._connect()
        if self._discard:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD)
        self._raw, self._unread = made, b""
        return made

    def on_connect_check_health(self, check_health: bool = True) -> None:
        parent: Any = super()
        parent.on_connect_check_health(check_health=check_health)
        if self._only_master:
            self._look_at_role()

    def _look_at_role(self) -> None:
        """A sentinel may tell the old master for a moment, and that may be a replica by now."""
        here: Any = self
        here.send_command("ROLE", check_health=False)
        try:
            role = here.read_response()[0]
        except NoPermissionError:
            return  # a user without this right: a write is refused by a replica, too
        if role not in (b"master", "master"):
            raise RedisConnectionError(f"{here.host}:{here.port} is no master any more")

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        parent: Any = super()
        try:
            return parent.read_response(*arguments, **options)
        except _ELSEWHERE as error:
            if not self._pooled:
                raise
            here: Any = self
            here.disconnect()
            raise RedisConnectionError(f"not the server to ask: {error}") from error

    def read_counts(self, count: int) -> Sequence[Exception]:
        """Line ends are counted: reading such replies one by one costs five times as much. What follows is kept for the next
        call; there must be none left when anything else is asked."""
        here: Any = self
        errors: list[Exception] = []
        while True:
            lines = self._unread.split(b"\r\n", count)
            self._unread = lines.pop()
            count -= len(lines)
            for line in [line for line in lines if line[:1] != b":"]:
                if line[:1] != b"-":
                    raise RedisConnectionError("a reply that is no number")
                errors.append(here._parser.parse_error(line[1:].decode(errors="replace")))
            if not count:
                return errors
            self._unread += self._received()

    def read_numbers(self, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
        """Line by line: redis-py takes ten times as long for such a reply."""
        wanted = len(replies) + count
        while len(replies) < wanted:
            lines = self._unread.split(b"\r\n", wanted - len(replies))
            self._unread = lines.pop()
            if not lines:
                self._unread += self._received_within(left_s(), reply_s)
            for line in lines:
                if line[:1] == b":":
                    replies.append(int(line[1:]))
                elif line[:1] == b"-":
                    self._take_error(line, replies)
                elif line != b"*1":  # a list of one: its number follows
                    raise RedisConnectionError("a reply that is no number")

    def _take_error(self, line: bytes, replies: list[object]) -> None:
        here: Any = self
        error = here._parser.parse_error(line[1:].decode(errors="replace"))
        if isinstance(error, ResponseError):
            replies.append(error)
            return
        if isinstance(error, BusyLoadingError):
            replies.append(ResponseError(str(error)))
        raise error

    def _received_within(self, left_s: float, reply_s: float) -> bytes:
        """`left_s`: as `one_by_one`."""
        if left_s == math.inf:
            return self._received()
        timeout_s = self._raw.gettimeout()
        try:
            self._raw.settimeout(max(0.0, min(left_s, reply_s)))
            return self._received()
        except RedisTimeoutError:
            raise RedisTimeoutError("no answer in time") from None
        finally:
            self._raw.settimeout(timeout_s)

    def _received(self) -> bytes:
        try:
            data = self._raw.recv(READ_BYTES)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError) as error:
            raise RedisTimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise RedisConnectionError(f"Error while reading from socket: {error}") from error
        if not data:
            raise RedisConnectionError("Connection closed by server.")
        return data


class PlainConnection(_Located, Connection):
    """Without TLS."""


class TlsConnection(_Located, SSLConnection):
    """With TLS; the certificate must be valid for the address that was asked for, or that Sentinel or the Cluster tells."""


def locate(place: RedisPlace, key: str, connect_timeout_s: float) -> Locate:
    """How connections find their server; in a cluster that of a key."""
    if not place.sentinels and not place.cluster:
        return lambda: place.hosts[0]
    ask = _asking(place, min(connect_timeout_s, ASK_S))
    if place.sentinels:
        return SentinelMaster(place.sentinels, place.master, ask)
    return ClusterNode(place.hosts, key, ask)


def _asking(place: RedisPlace, timeout_s: float) -> Callable[[Host], Any]:
    """Makes connections to sentinels or nodes, just to ask for the way."""
    user, password = (place.sentinel_user, place.sentinel_password) if place.sentinels else (place.user, place.password)

    def make(host: Host) -> Any:
        options = _options(place, timeout_s, timeout_s) | {
            "db": 0,
            "username": user or None,
            "password": password or None,
        }
        return _connection_class(place)(locate=lambda: host, **options)

    return make


def _connection_class(place: RedisPlace) -> Any:
    return TlsConnection if place.tls else PlainConnection


def _options(place: RedisPlace, connect_timeout_s: float, reply_timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "host": place.hosts[0].name,
        "port": place.hosts[0].port,
        "db": place.db,
        "username": place.user or None,
        "password": place.password or None,
        "client_name": place.name or None,
        "socket_connect_timeout": connect_timeout_s,
        "socket_timeout": reply_timeout_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # RESP2 is all that is needed here; 3 costs a HELLO for each connection and is unknown to old servers.
        "protocol": 2,
        "driver_info": None,
    }
    if place.tls:
        options |= {"ssl_ca_certs": place.ca_file or None, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return options


def client(place: RedisPlace, *, key: str, socket_timeout_s: float, connect_timeout_s: float, **more: Any) -> Redis:
    """A client with a pool for all threads; nothing is sent yet. In a cluster all commands go to the node of `key`.

    Retries are off: a late reply must not make one open count twice. `more`: what redis-py's connections take.
    """
    options = _options(place, connect_timeout_s, socket_timeout_s) | {"health_check_interval": HEALTH_CHECK_S}
    pool_class: Any = BlockingConnectionPool  # its constructor has no annotations
    pool = pool_class(
        max_connections=MAX_CONNECTIONS,
        timeout=socket_timeout_s,
        connection_class=_connection_class(place),
        locate=locate(place, key, connect_timeout_s),
        only_master=bool(place.sentinels),
        pooled=True,
        **options | more,
    )
    return Redis(connection_pool=pool)


def wire(place: RedisPlace, *, key: str, connect_timeout_s: float, reply_timeout_s: float) -> Wire:
    """One bare connection; nothing is connected yet. In a cluster it goes to the node of `key`."""
    made: Wire = _connection_class(place)(
        locate=locate(place, key, connect_timeout_s),
        only_master=bool(place.sentinels),
        discard=True,
        **_options(place, connect_timeout_s, reply_timeout_s),
    )
    return made
