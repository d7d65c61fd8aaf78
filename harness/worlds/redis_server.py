"""A simulated Redis: the registry behind the `State` port, and the commands that the event sink sends. One world has one.

The registry is `MemoryState`, which keeps the promises that `RedisState` keeps (`tests/unit/connector/state/promises.py`).
Like the real server it does one thing after the other, also what a client no longer waits for.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ReadOnlyError, ResponseError

from connector.state._memory import Expiring
from connector.state.memory_state import MemoryState
from harness.worlds.kernel import EPOCH_MS, Host, Kernel

WAY_S: Final = (0.0001, 0.002)
"""One way between a client and the server."""

Reader = Callable[[str, str, bytes], None]
"""Host that published, channel, payload."""


class ServerClock:
    """The server's clock: the world's."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def mono(self) -> float:
        return self._kernel.now

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._kernel.now * 1000)


class RedisServer:
    """The server, and who reaches it."""

    def __init__(self, kernel: Kernel, chance: random.Random) -> None:
        self.kernel, self.chance = kernel, chance
        self.registry = MemoryState(ServerClock(kernel))
        self.way: tuple[float, float] = WAY_S
        """The shortest and longest way between a client and the server, seconds."""
        self.running = True
        self.readonly = False
        self.stalled_until = 0.0
        self.losses = 0
        self._own_losses: dict[Host, int] = {}
        self.last_event: dict[bytes, float] = {}
        self.orders: dict[bytes, bytes] = {}
        self.expiries: dict[bytes, float] = {}
        self.readers: list[Reader] = []
        self.listeners: dict[str, Callable[[str], None]] = {}
        """Subscribed processes, by owner."""
        self.asked: Callable[[Host, str, tuple[Any, ...]], None] = _nobody
        """Told about every call of the registry in the moment in which it is carried out."""
        self.scripts: dict[bytes, bytes] = {}
        self._cut: set[Host] = set()
        self._lost: dict[Host, list[Callable[[], object]]] = {}
        self._asking = ""
        self.evicted: list[tuple[float, str, str]] = []
        """When, of which kind, whose."""
        self.forgot: list[float] = []
        """When it lost what was announced."""

    # --- reaching it ---

    def cut_off(self, host: Host) -> bool:
        return host in self._cut

    def writable(self, host: Host) -> bool:
        """Whether this host can change anything here now."""
        return self.running and not self.readonly and not self.cut_off(host)

    def seen(self, host: Host) -> int:
        """How often this host's connections were lost: a client compares it with what it saw before."""
        return self.losses + self._own_losses.get(host, 0)

    def way_s(self) -> float:
        return self.chance.uniform(*self.way)

    # --- faults ---

    def stop(self) -> None:
        self.running = False
        self.losses += 1

    def start(self, *, empty: bool) -> None:
        self.running = True
        if empty:
            self.flush()

    def flush(self) -> None:
        """Everything is forgotten, as by FLUSHALL, or by a restart without a disk."""
        self.registry.flush()
        self.forgot.append(self.kernel.now)
        self.last_event.clear()
        self.orders.clear()
        self.expiries.clear()

    def stall(self, seconds: float) -> None:
        """It stands still: a slow script, a fork, a SIGSTOP. What is asked meanwhile is done afterwards."""
        self.stalled_until = max(self.stalled_until, self.kernel.now + seconds)

    def evict(self, source: random.Random) -> None:
        """One key of ours goes, whichever it is."""
        registry = self.registry
        tables: list[tuple[str, Callable[[], list[str]], Callable[[str], object]]] = [
            ("stream", lambda: sorted(registry._entries), lambda name: registry._entries.pop(name, None)),
            *[
                (kind, _names(table), table.drop)
                for kind, table in (
                    ("lease", registry._leases),
                    ("fenced", registry._fenced),
                    ("worker", registry._workers),
                    ("position", registry._positions),
                    ("once", registry._once),
                    ("text", registry._texts),
                )
            ],
            ("held", lambda: sorted(registry._held), lambda name: registry._held.pop(name, None)),
            ("index", lambda: ["free", "workers"], lambda name: self._index(name).clear()),
        ]
        keys = [(kind, name, drop) for kind, names, drop in tables for name in names()]
        if keys:
            kind, name, drop = source.choice(keys)
            drop(name)
            if kind == "fenced":
                registry._given_up.drop(name)  # one key in Redis
            self.evicted.append((self.kernel.now, kind, name))
            if kind == "text" and name.startswith("announced:"):
                self.forgot.append(self.kernel.now)

    def _index(self, name: str) -> set[str]:
        return self.registry._free if name == "free" else self.registry._index

    def drop_connections(self) -> None:
        self.losses += 1

    def cut(self, host: Host) -> None:
        self._cut.add(host)

    def host_died(self, host: Host, owner: str) -> None:
        self._own_losses[host] = self._own_losses.get(host, 0) + 1
        self.listeners.pop(owner, None)

    def mend(self, host: Host) -> None:
        """The way is free again. What the host's kernel could not get rid of arrives now, also what its process has given up
        long ago: closing a socket does not take back what was written (unless it is told to: the event sinks' are)."""
        self._cut.discard(host)
        lost = self._lost.pop(host, [])
        for work in lost:
            work()
        self._own_losses[host] = self._own_losses.get(host, 0) + 1

    def after_mend(self, host: Host, work: Callable[[], object]) -> None:
        self._lost.setdefault(host, []).append(work)

    # --- the sink's commands ---

    def execute(self, words: list[bytes], host: Host) -> object:
        """One command; errors are returned as redis-py returns them."""
        name = words[0].upper()
        handler = getattr(self, f"_do_{name.decode().lower()}", None)
        if handler is None:
            return ResponseError(f"unknown command '{name.decode()}'")
        if self.readonly and name in _WRITES:
            return ReadOnlyError("You can't write against a read only replica.")
        self._asking = host.name
        return handler(words)

    def _do_ping(self, _words: list[bytes]) -> object:
        return b"PONG"

    def _do_script(self, words: list[bytes]) -> object:
        digest = hashlib.sha1(words[2], usedforsecurity=False).hexdigest().encode()
        self.scripts[digest] = words[2]
        return digest

    def _do_hexpire(self, words: list[bytes]) -> object:
        field = words[-1]
        if words[1] == b"orders" and field in self.orders:
            self.expiries[field] = self.kernel.now + float(words[2])
            return [1]
        return [-2]

    def _do_evalsha(self, words: list[bytes]) -> object:
        script = self.scripts.get(words[1])
        if script is None:
            return ResponseError("NOSCRIPT No matching script. Please use EVAL.")
        if b"PUBLISH" not in script:
            return 0
        for place in range(3, len(words), 2):
            self.publish(words[place], words[place + 1])
        return (len(words) - 3) // 2

    def _do_publish(self, words: list[bytes]) -> object:
        return self.publish(words[1], words[2])

    def publish(self, channel: bytes, payload: bytes) -> int:
        for reader in self.readers:
            reader(self._asking, channel.decode("utf-8", "replace"), payload)
        return len(self.readers)

    def _do_zadd(self, words: list[bytes]) -> object:
        if words[1] == b"stream:lastEventTime":
            score, member = float(words[-2]), words[-1]
            self.last_event[member] = max(score, self.last_event.get(member, 0.0))
        return 0

    def _do_zrem(self, words: list[bytes]) -> object:
        return sum(self.last_event.pop(member, None) is not None for member in words[2:])

    def _do_hset(self, words: list[bytes]) -> object:
        self.orders[words[2]] = words[3]
        return 1


_WRITES: Final = frozenset({b"PUBLISH", b"ZADD", b"ZREM", b"HSET", b"HEXPIRE", b"EVALSHA"})


def _nobody(_host: Host, _name: str, _arguments: tuple[Any, ...]) -> None:
    return None


def _names(table: Expiring[Any]) -> Callable[[], list[str]]:
    return lambda: sorted(table._values)


def commands(packed: bytes) -> list[list[bytes]]:
    """The commands in a packed request."""
    found: list[list[bytes]] = []
    at = 0
    while at < len(packed):
        end = packed.index(b"\r\n", at)
        count, at = int(packed[at + 1 : end]), end + 2
        words = []
        for _ in range(count):
            end = packed.index(b"\r\n", at)
            size, at = int(packed[at + 1 : end]), end + 2
            words.append(packed[at : at + size])
            at += size + 2
        found.append(words)
    return found
