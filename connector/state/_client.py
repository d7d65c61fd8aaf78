"""The connection to Redis: one pool for all threads, no hidden retries, every error mapped at the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from connector.core.errors import StateUnavailable

Connection = Mapping[str, Any] | Callable[[], redis.Redis]
"""Arguments of a redis-py connection (`host`, `port`, `username`, `password`, `db`, `ssl` and `ssl_…`), or a factory."""

MAX_CONNECTIONS = 32
"""Dramatiq's 8 threads, the scheduler's 10, I/O threads and a listener fit; more would only queue at the server."""
HEALTH_CHECK_S = 15
"""A pooled connection that idled longer is tried with a PING first."""
CHUNK = 500
"""Keys in one script call: the server runs nothing else meanwhile (platform notes, section 6)."""


def connect(connection: Connection, socket_timeout_s: float, connect_timeout_s: float) -> redis.Redis:
    """A client; nothing is sent yet. Retries are off: a late reply must not make one open count twice."""
    if not isinstance(connection, Mapping):
        return connection()
    arguments = dict(connection)
    secure = arguments.pop("ssl", False)
    pool_class: Any = redis.BlockingConnectionPool  # its constructor has no annotations
    pool = pool_class(
        max_connections=MAX_CONNECTIONS,
        timeout=socket_timeout_s,
        connection_class=redis.SSLConnection if secure else redis.Connection,
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=connect_timeout_s,
        health_check_interval=HEALTH_CHECK_S,
        retry=Retry(NoBackoff(), 0),
        # RESP2 is all that is needed here; 3 costs a HELLO for each connection and is unknown to old servers.
        protocol=2,
        **arguments,
    )
    return redis.Redis(connection_pool=pool)


@contextmanager
def edge() -> Iterator[None]:
    """Turn whatever redis-py raises into `StateUnavailable`. Texts may quote commands; secrets are never among them."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StateUnavailable(f"Redis: {type(error).__name__}: {error}") from error


class Commands:
    """Commands and scripts on one client. Any thread; raises `StateUnavailable` only.

    Scripts go out as EVAL: their text is below 2 KB, and there is no script cache that a restart of Redis could empty.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client  # execute_command has no annotations

    def call(self, *command: object) -> Any:
        with edge():
            return self._client.execute_command(*command)

    def run(self, text: str, keys: Sequence[str], arguments: Sequence[object] = ()) -> Any:
        return self.call("EVAL", text, len(keys), *keys, *arguments)

    def pipeline(self, commands: Sequence[Sequence[object]]) -> list[Any]:
        """All commands in one round trip, not as one transaction; the first error is raised."""
        if not commands:
            return []
        if len(commands) == 1:
            return [self.call(*commands[0])]
        with edge(), self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = pipe.execute()
        return answers

    def run_all(self, text: str, batches: Sequence[tuple[Sequence[str], Sequence[object]]]) -> list[Any]:
        """One script over many batches of keys and arguments, in one round trip."""
        return self.pipeline([("EVAL", text, len(keys), *keys, *arguments) for keys, arguments in batches])
