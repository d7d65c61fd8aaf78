"""Deadlines of a connection's protocol: requests that wait for an answer, and application-level pings. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from enum import Enum
from typing import Generic, TypeVar

from exchanges._adapter import Instant

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Waiting(Generic[Key, Item]):
    """Requests that were sent and not answered yet, each with its deadline (monotonic seconds)."""

    def __init__(self) -> None:
        self._items: dict[Key, tuple[float, Item]] = {}

    def add(self, key: Key, item: Item, due: float) -> None:
        self._items[key] = (due, item)

    def take(self, key: Key) -> Item | None:
        """The request that this answers, now settled; None if nobody waits for it."""
        found = self._items.pop(key, None)
        return None if found is None else found[1]

    def expired(self, now: Instant) -> list[tuple[Key, Item]]:
        """Take out everything whose deadline has passed."""
        late = [(key, item) for key, (due, item) in self._items.items() if due <= now.mono]
        for key, _ in late:
            del self._items[key]
        return late

    def deadline(self) -> float | None:
        if not self._items:  # the usual case, asked for after every frame
            return None
        return min(due for due, _ in self._items.values())

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Key) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[tuple[Key, Item]]:
        return iter([(key, item) for key, (_, item) in self._items.items()])


class Beat(Enum):
    """What a `Heartbeat` asks for when its time has come."""

    NOTHING = "nothing"
    PING = "ping"
    DEAD = "dead"


class Heartbeat:
    """When to send an application-level ping, and when a missing pong means that the connection is dead.

    The pong deadline belongs to the first unanswered ping: later pings never push it further away.
    """

    def __init__(self, interval_s: float, timeout_s: float) -> None:
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self._next: float | None = None
        self._pong_by: float | None = None

    def start(self, now: Instant) -> None:
        self._next = now.mono + self.interval_s
        self._pong_by = None

    def pong(self) -> None:
        self._pong_by = None

    def due(self, now: Instant) -> Beat:
        """Call at `deadline()` or later; `PING` counts as sent."""
        if self._pong_by is not None and now.mono >= self._pong_by:
            return Beat.DEAD
        if self._next is None or now.mono < self._next:
            return Beat.NOTHING
        self._next = now.mono + self.interval_s
        if self._pong_by is None:
            self._pong_by = now.mono + self.timeout_s
        return Beat.PING

    def deadline(self) -> float | None:
        return earliest(self._next, self._pong_by)


def earliest(*times: float | None) -> float | None:
    """The first of several deadlines; None if there is none."""
    first: float | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first
