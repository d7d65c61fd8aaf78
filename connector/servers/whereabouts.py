"""Who is asked where to connect: sentinels for the master, nodes of a cluster for the owner of a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from connector.core.places import Host

Locate = Callable[[], Host]
"""Where to connect now. May ask others, each for as long as its connect timeout; raises redis-py's errors. Any thread."""
_TOLD: Final = 12
"""Nodes of a cluster that are kept to be asked, beside those of the settings."""


class _Asking:
    """Asks servers in turn, beginning with the one that answered last."""

    def __init__(self, hosts: Sequence[Host], make: Callable[[Host], Any]) -> None:
        self._named, self._hosts, self._make = tuple(hosts), tuple(hosts), make

    def _ask(self, *command: object) -> Any:
        """The answer of the first that has one. Raises redis-py's errors: that of the last that was asked."""
        hosts, trouble = self._hosts, RedisConnectionError("nobody to ask")
        for turn, host in enumerate(hosts):
            connection = self._make(host)
            try:
                connection.connect()
                connection.send_command(*command, check_health=False)
                answer = connection.read_response()
            except (RedisError, OSError) as error:
                trouble = RedisConnectionError(f"{host}: {error}")
            else:
                if answer:
                    self._hosts = hosts[turn:] + hosts[:turn]
                    return answer
                trouble = RedisConnectionError(f"{host} does not know")
            finally:
                connection.disconnect()
        raise trouble


class SentinelMaster(_Asking):
    """Where the master is, as the first sentinel says that knows one."""

    def __init__(self, sentinels: Sequence[Host], master: str, make: Callable[[Host], Any]) -> None:
        super().__init__(sentinels, make)
        self._master = master

    def __call__(self) -> Host:
        name, port = self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
        return Host(_text(name), int(port))


class ClusterNode(_Asking):
    """Where the master of a key's slot is, as the first node says that answers."""

    def __init__(self, nodes: Sequence[Host], key: str, make: Callable[[Host], Any]) -> None:
        super().__init__(nodes, make)
        self._slot = key_slot(key.encode())

    def __call__(self) -> Host:
        """Raises `RedisConnectionError` if nobody serves the slot."""
        owner: Host | None = None
        told: list[Host] = []
        for first, last, master, *_ in self._ask("CLUSTER", "SLOTS"):
            # Without a name it is that of the node that answered.
            node = Host(_text(master[0]) or self._hosts[0].name, int(master[1]))
            told.append(node)
            if int(first) <= self._slot <= int(last):
                owner = node
        # Nodes come and go; those of the settings stay among those that are asked.
        self._hosts = tuple(dict.fromkeys((self._hosts[0], *told[:_TOLD], *self._named)))
        if owner is None:
            raise RedisConnectionError(f"no node of the cluster serves slot {self._slot}")
        return owner


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
