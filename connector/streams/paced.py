"""What waits for a venue's allowance, in the order that it came. A lane that has to wait never holds up another."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Paced(Protocol):
    """Something that waits for its turn."""

    @property
    def lane(self) -> Hashable:
        """What waits together: it asks the same ledgers."""

    @property
    def number(self) -> int:
        """Its place in the order of all."""


Item = TypeVar("Item", bound=Paced)


class PacedQueue(Generic[Item]):
    """What waits, and what is on its way. Not for several threads at once. Nothing is kept of a lane that is empty."""

    def __init__(self, max_in_flight: int) -> None:
        """`max_in_flight`: of one lane at a time."""
        self._max_in_flight = max_in_flight
        self._waiting: dict[Hashable, deque[Item]] = {}
        self._free_at: dict[Hashable, float] = {}
        self._in_flight: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, item: Item) -> None:
        self._waiting.setdefault(item.lane, deque()).append(item)

    def take(self, now: float) -> list[Item]:
        """One of every lane whose time has come; each is on its way until `done` or `put_back`."""
        lanes = [lane for lane in self._waiting if self._free_at.get(lane, 0.0) <= now and self._may(lane)]
        batch = [self._waiting[lane].popleft() for lane in lanes]
        for lane in lanes:
            self._in_flight[lane] += 1
            if not self._waiting[lane]:
                self._waiting.pop(lane)
                self._free_at.pop(lane, None)
        return batch

    def next_due(self, now: float) -> float | None:
        """When `take` has something to give, as far as time alone decides; None = not before another one is done."""
        return min((self._free_at.get(lane, now) for lane in self._waiting if self._may(lane)), default=None)

    def put_back(self, item: Item, until: float) -> None:
        """It has to wait, and with it everything of its lane. Several that were on their way may come back in any order."""
        self.done(item)
        self.hold(item, until)

    def hold(self, item: Item, until: float) -> None:
        """It waits, and its lane with it, in its place among those of that lane."""
        lane = item.lane
        self._free_at[lane] = until
        waiting = self._waiting.setdefault(lane, deque())
        ahead: list[Item] = []
        while waiting and waiting[0].number < item.number:
            ahead.append(waiting.popleft())
        waiting.appendleft(item)
        waiting.extendleft(reversed(ahead))

    def done(self, item: Item) -> None:
        self._left(item.lane)

    def on_their_way(self, lane: Hashable) -> int:
        return self._in_flight[lane]

    def clear(self) -> list[Item]:
        """Nothing waits any more; what did, as if it were on its way."""
        waited = [item for waiting in self._waiting.values() for item in waiting]
        self._waiting.clear()
        self._free_at.clear()
        self._in_flight.update(item.lane for item in waited)
        return waited

    def _may(self, lane: Hashable) -> bool:
        return self._in_flight[lane] < self._max_in_flight

    def _left(self, lane: Hashable) -> None:
        self._in_flight[lane] -= 1
        if self._in_flight[lane] <= 0:
            del self._in_flight[lane]
