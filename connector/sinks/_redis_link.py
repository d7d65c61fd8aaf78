"""One Redis connection of a publisher: every reply is accounted for, nothing is ever retried here.

redis-py's client retries by itself by default; a late reply then publishes twice (platform notes, section 6). So this
uses its `Connection` directly: connect, send, read one reply per command. Publisher thread only.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis import Connection, SSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.retry import Retry

from connector.core.channels import ORDERS
from connector.sinks._common import DISCARD, always

EXPIRY_KEY: Final = "wsc:orders:expiry"
"""Deadlines of the `orders` fields where the server has no HEXPIRE: a sorted set, field → ms."""

REPLY_S: Final = 5.0
"""A reply is waited for this long."""

_PUBLISH_PAIRS: Final = """
for i = 1, #ARGV, 2 do redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end
return #ARGV / 2
"""

_SWEEP: Final = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]))
if #due > 0 then
  redis.call('HDEL', KEYS[2], unpack(due))
  redis.call('ZREM', KEYS[1], unpack(due))
end
return #due
"""


class LinkLost(Exception):
    """The connection failed. What was sent and not answered may or may not have happened."""


class PartialReply(LinkLost):
    """`LinkLost` with the replies that had arrived."""

    def __init__(self, text: str, replies: list[object]) -> None:
        super().__init__(text)
        self.replies = replies


class LinkRefused(Exception):
    """The server answered that it can't serve now (loading, read-only, …): nothing happened, try again later."""


def bulk(data: bytes) -> bytes:
    """One argument in the Redis protocol (RESP)."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def command(*parts: bytes) -> bytes:
    """One command in the Redis protocol. redis-py's own packer costs four times as much per argument."""
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


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


class DiscardingConnection(Connection):
    """What it has not got rid of when it is closed is never sent."""

    def _connect(self) -> socket.socket:
        return _discarding(super()._connect())  # type: ignore[no-untyped-call]


class DiscardingTls(SSLConnection):
    """The same over TLS."""

    def _connect(self) -> socket.socket:
        return _discarding(super()._connect())  # type: ignore[no-untyped-call]


def _discarding(made: socket.socket) -> socket.socket:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD)
    return made


def wire(
    *,
    host: str,
    port: int,
    db: int,
    username: str | None,
    password: str | None,
    tls: bool,
    tls_ca_file: str | None,
    connect_timeout_s: float,
    reply_timeout_s: float,
) -> Wire:
    """redis-py's connection, without its retries; nothing is connected yet."""
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "db": db,
        "username": username,
        "password": password,
        "socket_connect_timeout": connect_timeout_s,
        "socket_timeout": reply_timeout_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "driver_info": None,
    }
    if tls:
        options |= {"ssl_ca_certs": tls_ca_file, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
    # redis-py's connection classes carry few annotations; this is the one place that touches them.
    made: Any = DiscardingTls(**options) if tls else DiscardingConnection(**options)  # type: ignore[no-untyped-call]
    return made  # type: ignore[no-any-return]


class RedisLink:
    """An open connection, its loaded scripts, and whether the server knows HEXPIRE."""

    def __init__(self, connection: Wire) -> None:
        """Connect. Raises `LinkLost` or `LinkRefused`."""
        self._connection = connection
        try:
            connection.connect()
            self._publish_sha = self._load(_PUBLISH_PAIRS)
            self._sweep_sha = self._load(_SWEEP)
            self.has_hexpire = self._detect_hexpire()
        except ResponseError as error:
            self.close()
            raise LinkRefused(str(error)) from error
        except RedisError as error:
            self.close()
            raise LinkLost(str(error)) from error

    def close(self) -> None:
        self._connection.disconnect()

    def ask(self, packed: bytes, count: int = 1, left_s: Callable[[], float] = always) -> list[object]:
        """Send commands and read `count` replies; an error reply is returned in its place as a `ResponseError`. `left_s`
        tells how much longer replies may be waited for, if not until the connection's own timeout.

        Raises `PartialReply` (a `LinkLost`) if the connection failed; it holds the replies that did arrive.
        """
        replies: list[object] = []
        try:
            self._connection.send_packed_command([packed], check_health=False)
            for _ in range(count):
                if (left := left_s()) != math.inf and not self._connection.can_read(min(left, REPLY_S)):
                    raise RedisTimeoutError("no answer in time")
                try:
                    replies.append(self._connection.read_response())
                except BusyLoadingError as error:
                    # redis-py drops the connection on this answer, although it is one: the command did nothing.
                    replies.append(ResponseError(str(error)))
                    raise
                except ResponseError as error:
                    replies.append(error)
        except (RedisError, OSError) as error:
            raise PartialReply(str(error), replies) from error
        return replies

    def publish_pairs(self, pairs: Sequence[bytes]) -> str | None:
        """PUBLISH many at once; each item is `bulk(channel) + bulk(payload)`. At most 500 (1 ms of the server's time).

        Returns None, or the server's text if it will never take them. Raises `LinkLost` (unknown how far it came) or
        `LinkRefused`.
        """
        head = b"*%d\r\n$7\r\nEVALSHA\r\n%b$1\r\n0\r\n" % (3 + 2 * len(pairs), bulk(self._publish_sha))
        packed = head + b"".join(pairs)
        reply = self.ask(packed)[0]
        if isinstance(reply, NoScriptError):
            # SCRIPT FLUSH while we were connected: nothing ran.
            self._publish_sha = self._load(_PUBLISH_PAIRS)
            reply = self.ask(packed)[0]
        if passing(reply):
            raise LinkRefused(str(reply))
        return str(reply) if isinstance(reply, ResponseError) else None

    def sweep(self, now_ms: int, count: int) -> int:
        """Remove up to `count` order fields whose deadline has passed, and their deadlines. Returns how many."""
        keys = (b"2", EXPIRY_KEY.encode(), ORDERS.encode(), b"%d" % now_ms, b"%d" % count)
        reply = self.ask(command(b"EVALSHA", self._sweep_sha, *keys))[0]
        if isinstance(reply, NoScriptError):
            self._sweep_sha = self._load(_SWEEP)
            reply = self.ask(command(b"EVALSHA", self._sweep_sha, *keys))[0]
        if isinstance(reply, ResponseError):
            raise LinkRefused(str(reply))
        return reply if isinstance(reply, int) else 0

    def _load(self, script: str) -> bytes:
        reply = self.ask(command(b"SCRIPT", b"LOAD", script.encode()))[0]
        if isinstance(reply, ResponseError):
            raise LinkRefused(str(reply))
        return reply if isinstance(reply, bytes) else str(reply).encode()

    def _detect_hexpire(self) -> bool:
        # A key that doesn't exist: no effect where HEXPIRE exists (Redis 7.4), "unknown command" elsewhere.
        reply = self.ask(command(b"HEXPIRE", b"wsc:probe", b"1", b"FIELDS", b"1", b"x"))[0]
        if passing(reply):
            raise LinkRefused(str(reply))
        return not isinstance(reply, ResponseError)


def forbidden(reply: object) -> bool:
    """Whether an error reply to one command is final: repeating it would only fail again."""
    if not isinstance(reply, ResponseError):
        return False
    return isinstance(reply, NoPermissionError) or reply.status_code == "ERR" or str(reply).startswith("WRONGTYPE")


def passing(reply: object) -> bool:
    """Whether an error reply says that this server can't take writes now, so that we should connect again."""
    return isinstance(reply, ResponseError) and not forbidden(reply) and not isinstance(reply, OutOfMemoryError)
