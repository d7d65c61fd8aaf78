"""One Redis connection of a publisher: every reply is accounted for, nothing is ever retried here.

redis-py's client retries by itself by default; a late reply then publishes twice. So this
uses its `Connection` directly: connect, send, read one reply per command. Publisher thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from redis.exceptions import (
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from connector.core.channels import ORDERS
from connector.servers.redis import Wire, one_by_one
from connector.sinks._common import always

EXPIRY_KEY: Final = "wsc:orders:expiry"
"""Deadlines of the `orders` fields where the server has no HEXPIRE: a sorted set, field → ms."""
CLUSTER_EXPIRY_KEY: Final = f"wsc:{{{ORDERS}}}:expiry"
"""The same in a cluster: in the slot of `orders`, because one script sweeps both."""

REPLY_S: Final = 5.0
"""A reply is waited for this long."""

_PUBLISH: Final = b"*3\r\n$7\r\nPUBLISH\r\n"

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


class RedisLink:
    """An open connection, its loaded scripts, and whether the server knows HEXPIRE."""

    def __init__(self, connection: Wire, expiry_key: str = EXPIRY_KEY) -> None:
        """Connect. Raises `LinkLost` or `LinkRefused`."""
        self._connection = connection
        self.expiry_key = expiry_key
        try:
            connection.connect()
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

    def ask(self, packed: bytes, count: int = 1) -> list[object]:
        """Send commands and read `count` replies; an error reply is returned in its place as a `ResponseError`.

        Raises `PartialReply` (a `LinkLost`) if the connection failed; it holds the replies that did arrive.
        """
        return self._ask(packed, partial(one_by_one, self._connection, count, left_s=always, reply_s=REPLY_S))

    def write(self, packed: bytes, count: int, left_s: Callable[[], float]) -> list[object]:
        """As `ask`, with commands that answer with a number or a list of one; `left_s` tells how much longer replies may be
        waited for."""
        return self._ask(packed, partial(self._connection.read_numbers, count, left_s=left_s, reply_s=REPLY_S))

    def _ask(self, packed: bytes, read: Callable[[list[object]], None]) -> list[object]:
        replies: list[object] = []
        try:
            self._connection.send_packed_command([packed], check_health=False)
            read(replies)
        except (RedisError, OSError) as error:
            raise PartialReply(str(error), replies) from error
        return replies

    def publish(self, pairs: Sequence[bytes]) -> None:
        """PUBLISH many; each item is `bulk(channel) + bulk(payload)`. `published` reads the answers: batches may follow one
        another before that, and nothing else. Raises `LinkLost`."""
        try:
            self._connection.send_packed_command([_PUBLISH + _PUBLISH.join(pairs)], check_health=False)
        except (RedisError, OSError) as error:
            raise LinkLost(str(error)) from error

    def published(self, count: int) -> Sequence[Exception]:
        """Wait for the answers to the oldest `count` messages that were published. Returns those of the server that it will
        never take them. Raises `LinkLost` (unknown how far it came) or `LinkRefused`."""
        try:
            errors = self._connection.read_counts(count)
        except (RedisError, OSError) as error:
            raise LinkLost(str(error)) from error
        for reply in errors:
            if not isinstance(reply, ResponseError):
                raise LinkLost(str(reply))
            if passing(reply):
                raise LinkRefused(str(reply))
        return errors

    def sweep(self, now_ms: int, count: int) -> int:
        """Remove up to `count` order fields whose deadline has passed, and their deadlines. Returns how many."""
        keys = (b"2", self.expiry_key.encode(), ORDERS.encode(), b"%d" % now_ms, b"%d" % count)
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
        # A field that doesn't exist: no effect where HEXPIRE exists (Redis 7.4), "unknown command" elsewhere.
        reply = self.ask(command(b"HEXPIRE", ORDERS.encode(), b"1", b"FIELDS", b"1", b"wsc:probe"))[0]
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
