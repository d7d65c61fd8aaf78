"""Deadlines of a connection's protocol: alarms by name, requests that wait for an answer, application-level pings. Pure.

Times are monotonic seconds. Everything here belongs to the I/O thread of the adapter's session.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from exchanges._adapter import Fail, FailKind, Instant, Output, Send

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Alarms(Generic[Key]):
    """Deadlines by name. The adapter is woken at `deadline()` and asks which have come."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at: dict[Key, float] = {}

    def set(self, key: Key, at: float) -> None:
        """Arm a deadline, or move it."""
        self._at[key] = at

    def clear(self, key: Key) -> None:
        """Disarm a deadline; unknown names are ignored."""
        self._at.pop(key, None)

    def at(self, key: Key) -> float | None:
        """When a deadline comes; None if it is not armed."""
        return self._at.get(key)

    def due(self, now: Instant) -> list[Key]:
        """The names whose time has come, earliest first; they are disarmed."""
        late = sorted((key for key, at in self._at.items() if at <= now.mono), key=self._at.__getitem__)
        for key in late:
            del self._at[key]
        return late

    def deadline(self) -> float | None:
        if not self._at:  # the usual case, asked for after every frame
            return None
        return min(self._at.values())

    def __contains__(self, key: Key) -> bool:
        return key in self._at


class Waiting(Generic[Key, Item]):
    """Things that wait for an answer, each with its deadline."""

    __slots__ = ("_alarms", "_items")

    def __init__(self) -> None:
        self._alarms: Alarms[Key] = Alarms()
        self._items: dict[Key, Item] = {}

    def add(self, key: Key, item: Item, due: float) -> None:
        self._alarms.set(key, due)
        self._items[key] = item

    def take(self, key: Key) -> Item | None:
        """What this answers, now settled; None if nobody waits for it."""
        self._alarms.clear(key)
        return self._items.pop(key, None)

    def peek(self, key: Key) -> Item | None:
        """What waits under this key, and goes on waiting."""
        return self._items.get(key)

    def expired(self, now: Instant) -> list[Item]:
        """Take out everything whose deadline has passed."""
        return [self._items.pop(key) for key in self._alarms.due(now)]

    def deadline(self) -> float | None:
        return self._alarms.deadline()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._items))


class Heartbeat:
    """Sends application-level pings, and ends the connection when nothing comes back.

    The deadline of an answer belongs to the first unanswered ping: later pings never push it further away.
    """

    __slots__ = ("_answer_by", "_answer_s", "_every_s", "_next", "_ping")

    def __init__(self, every_s: float, answer_s: float, ping: Callable[[], str]) -> None:
        self._every_s, self._answer_s, self._ping = every_s, answer_s, ping
        self._next: float | None = None
        self._answer_by: float | None = None

    def start(self, now: Instant) -> None:
        self._next = now.mono + self._every_s
        self._answer_by = None

    def heard(self) -> None:
        """A pong, or at some venues any frame: the connection is alive."""
        self._answer_by = None

    def due(self, now: Instant) -> list[Output]:
        """Call at `deadline()` or later."""
        if self._answer_by is not None and now.mono >= self._answer_by:
            self._next = self._answer_by = None
            return [Fail(kind=FailKind.TRANSIENT, reason=f"no answer to a ping for {self._answer_s:.0f} s")]
        if self._next is None or now.mono < self._next:
            return []
        self._next = now.mono + self._every_s
        if self._answer_by is None:
            self._answer_by = now.mono + self._answer_s
        return [Send(self._ping(), urgent=True)]

    def deadline(self) -> float | None:
        return earliest(self._next, self._answer_by)


def earliest(*times: float | None) -> float | None:
    """The first of several deadlines; None if there is none."""
    first: float | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first
