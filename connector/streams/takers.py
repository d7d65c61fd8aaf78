"""Which process may take a stream over: one that has just answered, has room for it, and did not fail to open it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.ports import Clock, State, WorkerInfo
from connector.streams.leases import BEATS_PER_TTL, Leases, preferred

LATE: Final = 1.1
"""In intervals between two beats: who has been silent for longer may be dead, and is asked again at its next beat."""
LOOK_S: Final = 0.2
"""How long a look at the others' beats is good for: many streams are given away at once."""
FULL_FOR_S: Final = 5.0
"""A process that said it is full gets nothing for so long; its own heartbeat tells by then."""
REFUSED_FOR_S: Final = 600.0
"""A unit that another process could not open is not offered again for this long."""


class Takers:
    """The owner's loop only."""

    def __init__(self, state: State, leases: Leases, clock: Clock) -> None:
        self._state, self._leases, self._clock = state, leases, clock
        self._looked_at = float("-inf")
        self._left_s: Mapping[str, float] = {}
        self._full: dict[str, float] = {}
        self._refused: dict[str, float] = {}

    def said_full(self, owner: str) -> None:
        """This process had no room, whatever its last heartbeat tells."""
        self._full[owner] = self._clock.mono()

    def said_cant_open(self, unit: str) -> None:
        self._refused[unit] = self._clock.mono()

    def could_not_open(self, unit: str) -> bool:
        """Whether another process tried lately, in vain."""
        at = self._refused.get(unit)
        if at is not None and self._clock.mono() - at >= REFUSED_FOR_S:
            self.pardon(unit)
            return False
        return at is not None

    def pardon(self, unit: str) -> None:
        self._refused.pop(unit, None)

    def deaf(self, owners: set[str]) -> set[str]:
        """Which of these processes hear nothing any more; none as long as the state can't tell."""
        if not owners:
            return owners
        try:
            return owners - self._state.listening()
        except StateUnavailable:
            return set()

    def beside_us(self) -> list[WorkerInfo]:
        """Who may take something now or in a moment: others that don't leave and have room."""
        now = self._clock.mono()
        self._full = {owner: since for owner, since in self._full.items() if now - since < FULL_FOR_S}
        return [
            worker
            for worker in self._leases.workers
            if not worker.draining
            and worker.owner != self._leases.owner
            and worker.owner not in self._full
            and worker.streams < worker.capacity
        ]

    def choose(self, unit: str, on_their_way: Counter[str]) -> str | None:
        """Who should take this unit, None = nobody now. `on_their_way`: streams that are being given, by taker. Raises
        `StateUnavailable`."""
        others = self.beside_us()
        if not others:
            return None
        self._look(others)
        fit = [
            worker.owner
            for worker in others
            if worker.streams + on_their_way[worker.owner] < worker.capacity and self._has_just_beaten(worker)
        ]
        return preferred(unit, fit)

    def _look(self, others: list[WorkerInfo]) -> None:
        now = self._clock.mono()
        if now - self._looked_at >= LOOK_S or any(worker.owner not in self._left_s for worker in others):
            owners = [worker.owner for worker in others]
            self._left_s = dict.fromkeys(owners, 0.0) | self._state.beats_left_s(owners)
            self._looked_at = now

    def _has_just_beaten(self, worker: WorkerInfo) -> bool:
        left_s = self._left_s[worker.owner]
        if not worker.ttl_s:
            return left_s > 0.0  # it does not tell how long its heartbeat lasts
        return left_s > 0.0 and worker.ttl_s - left_s <= worker.ttl_s / BEATS_PER_TTL * LATE
