"""Commands and scripts on a client of Redis, every error mapped at the edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import RedisError

from connector.core.errors import StateUnavailable
from connector.core.places import RedisPlace
from connector.servers.redis import client

Connection = RedisPlace | Callable[[], redis.Redis]
"""Where Redis is, or a factory of clients."""

CHUNK = 500
"""Keys in one script call: the server runs nothing else meanwhile."""


def connect(connection: Connection, key: str, socket_timeout_s: float, connect_timeout_s: float) -> redis.Redis:
    """A client; nothing is sent yet. In a cluster it reaches the keys of one slot only, that of `key`."""
    if not isinstance(connection, RedisPlace):
        return connection()
    return client(connection, key=key, socket_timeout_s=socket_timeout_s, connect_timeout_s=connect_timeout_s)


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
