"""The leases that this process holds, and which process should hold what (docs/architecture.md, Ownership).

Redis decides who owns a unit; rendezvous hashing over the live processes says who *should* try first, so that every process
comes to the same answer without talking to the others, and a process that joins or leaves moves only its own share.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Final

from connector.core.clock import SystemClock
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, Role, State, WorkerInfo, join_units
from connector.streams.neighbours import Neighbours

log = get_logger(__name__)

BEATS_PER_TTL: Final = 4
MARGIN_PER_TTL: Final = 1 / 8
"""So much of the heartbeat's life before its end nothing is published any more: what is written then may still be on its way,
and clocks do not run equally fast."""
LEASE_KEEP_S: Final = 180.0
"""A lease lasts so long by itself. The heartbeat of its owner keeps it, so this is for the rare: processes of older versions,
which know of no burial, and what slipped out of the sets."""
_MASK: Final = 2**64 - 1
RENEW_EVERY_S: Final = 60.0
"""Every lease is written again this often, a few with each beat: so one that the state forgot alone comes back."""


@lru_cache(maxsize=10_000)
def _number(name: str) -> int:
    """An odd number of 64 bits that looks like chance."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") | 1


def _score(unit: str) -> int:
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), "big")


def preferred(unit: str, owners: Iterable[str]) -> str | None:
    """The owner with the highest score for this unit; None without owners. Pure.

    When a process died this is asked for thousands of units and dozens of owners at once: so the score is a product.
    """
    of_unit = _score(unit)
    return max(((of_unit * _number(owner) & _MASK, owner) for owner in owners), default=(0, None))[1]


def _nothing_to_fence(units: Set[str]) -> None:
    """Of a process that publishes nothing."""


class Leases:
    """Units held by this process with their fencing numbers. Any thread.

    The heartbeat keeps them all. So a beat renews none of them while the state knows the heartbeat and the number of units;
    else others may have some, and all are renewed at once.
    """

    def __init__(self, state: State, owner: str, role: Role, ttl_s: float, clock: Clock | None = None) -> None:
        self.owner, self.role, self.ttl_s = owner, role, ttl_s
        self.keep_s = max(LEASE_KEEP_S, 2 * ttl_s)
        self.fence_off: Callable[[Set[str]], None] = _nothing_to_fence
        """Called by a beat that found leases in other hands, before `permitted` says yes again: nothing of these units may
        leave this process any more."""
        self.lapses = 0
        """How often a beat found no heartbeat of this process, the first one included: then the state may know nothing."""
        self._state, self._clock = state, clock or SystemClock()
        self.neighbours = Neighbours(state, owner, role, ttl_s, self._clock)
        self._answered: tuple[float, int] | None = None
        """When the last beat that was answered began, by both clocks."""
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._held: dict[str, int] = {}
        self._guests: set[str] = set()
        """Held, but kept by the heartbeat of the process that still publishes them."""
        self._giving: set[str] = set()
        """Not held any more, but kept by our heartbeat until their takers say so."""
        self._unsaid: set[str] = set()
        """Held, and with the next beat kept by our heartbeat."""
        self._turn: list[str] = []
        """What is still to be renewed in this round."""
        self._away = False
        self._rivals: tuple[tuple[WorkerInfo, ...], str, list[int]] = ((), "", [])
        """The numbers of those who may take a unit, by whom and for which feed they were found."""

    def held(self) -> dict[str, int]:
        with self._lock:
            return dict(self._held)

    def holds(self, unit: str) -> bool:
        return unit in self._held

    def fence(self, unit: str) -> int | None:
        return self._held.get(unit)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def workers(self) -> tuple[WorkerInfo, ...]:
        """Live processes of the role, as of the last beat (this one included once it beat)."""
        return self.neighbours.workers

    @property
    def settling(self) -> bool:
        """The state was away or forgot a moment ago: leases may be gone, and their owners renew them first."""
        return self.neighbours.settling

    def claim(self, units: Sequence[str]) -> list[str]:
        """Take the free ones of these. Raises `StateUnavailable`."""
        if not units:
            return []
        with self._claiming:
            taken = self._state.claim(units, self.owner, self.keep_s, alive=self._answered is not None)
            with self._lock:
                self._held.update(taken)
        return list(taken)

    def accept(self, unit: str, fence: int, *, guest: bool = False) -> None:
        """A lease that another process handed to this one. `guest`: that one still publishes it, and keeps it."""
        with self._lock:
            self._held[unit] = fence
            self._giving.discard(unit)
            (self._guests if guest else self._unsaid).add(unit)

    def own(self, unit: str) -> None:
        """What was a guest is ours alone now."""
        with self._lock:
            if unit in self._guests:
                self._guests.discard(unit)
                self._unsaid.add(unit)

    def pass_on(self, unit: str) -> None:
        """Handed over: not ours any more, but kept by our heartbeat until `passed_on`, because we still publish it."""
        with self._lock:
            self._drop(unit)
            self._giving.add(unit)

    def gives(self, unit: str) -> bool:
        """Handed over, and still published here."""
        return unit in self._giving

    def passed_on(self, unit: str) -> None:
        """The hand-over is over: its new owner keeps it."""
        with self._lock:
            self._giving.discard(unit)

    def forget(self, unit: str) -> None:
        """No longer ours (handed over or fenced): nothing is told to the state."""
        with self._lock:
            self._drop(unit)

    def _drop(self, unit: str) -> int | None:
        self._guests.discard(unit)
        self._unsaid.discard(unit)
        return self._held.pop(unit, None)

    def release(self, units: Iterable[str]) -> None:
        with self._lock:
            leases = {unit: fence for unit in units if (fence := self._drop(unit)) is not None}
        if not leases:
            return
        try:
            self._state.release(leases, self.owner)
        except StateUnavailable:
            log.warning("leases end with this process: the state is unavailable", units=join_units(leases))

    def retake(self, units: Iterable[str]) -> set[str]:
        """Renew some leases at once, which writes those again that the state forgot. Returns the units that others took
        meanwhile; they are dropped. Raises `StateUnavailable`."""
        held = self.held()
        lost = self._state.renew({unit: held[unit] for unit in units if unit in held}, self.owner, self.keep_s)
        for unit in lost:
            self.forget(unit)
        return lost

    def beat(self, info: WorkerInfo) -> set[str] | None:
        """Say that this process lives, which keeps what it holds. Returns the units lost to others; None = the state is away,
        nothing is known.

        While the state is away streams stay connected; what they tell waits (`permitted`) until a beat is answered.
        """
        began = self._clock.mono(), self._clock.wall_ms()
        with self._lock:
            leases = dict(self._held)
            kept = len(self._held.keys() - self._guests - self._unsaid) + len(self._giving)
        try:
            known = self._state.heartbeat(info, self.ttl_s)
            if known is None:
                self.lapses += 1
                if self._answered is None:
                    self.neighbours.started()
                else:
                    self.neighbours.forgotten()
            due = leases if known is None or known < kept else self._due(leases)
            lost = self._renew(due) if due else set()
            if known is not None and known > kept:
                self._give_back()
            self.neighbours.look()
        except StateUnavailable as error:
            if not self._away:
                log.error("the state is unavailable; account events wait", error=str(error))
            self._away = True
            self.neighbours.unknown()
            return None
        if self._away:
            log.info("the state is back", held=len(leases), lost=len(lost))
        self._away = False
        self.neighbours.beaten()
        if not self._has_beaten():
            # Our own heartbeat is gone again: the state forgot, between two answers, and tells of nobody that it is dead.
            self.neighbours.unknown()
        with self._lock:
            # Not what was released meanwhile, or came back with another number (hand-over).
            lost = {unit for unit in lost if self._held.get(unit) == leases[unit]}
            for unit in lost:
                self._drop(unit)
        if lost:
            self.fence_off(lost)
        self._answered = began
        self._bury()
        return lost

    def _bury(self) -> None:
        try:
            self.neighbours.bury()
        except StateUnavailable as error:
            log.debug("the dead wait for the next beat: the state is unavailable", error=str(error))

    def _due(self, leases: Mapping[str, int]) -> dict[str, int]:
        """Those that became ours since the last beat, and those whose turn it is."""
        if not self._turn:
            self._turn = sorted(leases)
        count = math.ceil(len(leases) * self.ttl_s / BEATS_PER_TTL / RENEW_EVERY_S)
        turn, self._turn = self._turn[:count], self._turn[count:]
        return {unit: leases[unit] for unit in sorted({*turn, *self._unsaid} - self._guests) if unit in leases}

    def _renew(self, leases: Mapping[str, int]) -> set[str]:
        lost = self._state.renew(leases, self.owner, self.keep_s)
        with self._lock:
            self._unsaid -= leases.keys()
        return lost

    def _give_back(self) -> None:
        """The state has units in our name that we know nothing of: given away, or the answer to a claim was lost."""
        with self._claiming:
            units = self._state.held(self.owner)
            with self._lock:
                units -= self._held.keys() | self._giving
            if units:
                log.debug("what is in the name of this process unknowingly is given back", units=join_units(units))
                self._state.give_back(sorted(units), self.owner)

    def permitted(self) -> bool:
        """Whether what this process tells of its units may leave it now: no lease of it can have run out."""
        return self.permitted_s() > 0

    def permitted_s(self) -> float:
        """For how long it may, from now on.

        Counted from the start of the last beat that was answered, by the clock that went on further: after a host slept the
        monotonic one may not know of it. Never waits.
        """
        answered = self._answered
        if answered is None:
            return 0.0
        passed_s = max(self._clock.mono() - answered[0], (self._clock.wall_ms() - answered[1]) / 1000)
        return max(0.0, self.ttl_s * (1 - MARGIN_PER_TTL) - passed_s)

    def look_around(self) -> None:
        """Find out who is alive now, not at the last beat: free units were found. Raises `StateUnavailable`."""
        known = self._has_beaten()
        self.neighbours.look()
        if known and not self._has_beaten():
            # Our own heartbeat is gone: the state forgot. Whoever holds leases writes them again with the next beat.
            self.neighbours.unknown()

    def _has_beaten(self) -> bool:
        return any(worker.owner == self.owner for worker in self.workers)

    def candidates(self, feed: str = "") -> list[str]:
        """Owners that may take streams: live, not draining, and running this feed."""
        return [worker.owner for worker in self.workers if not worker.draining and (not feed or worker.runs(feed))]

    def mine_first(self, unit: str) -> bool:
        """Whether this process should try for a free unit before the others: it is `preferred`."""
        feed = unit.partition(":")[0] if self.role == "price" else ""
        workers, known_feed, numbers = self._rivals
        if workers is not self.workers or known_feed != feed:
            numbers = [_number(owner) for owner in self.candidates(feed)]
            self._rivals = (self.workers, feed, numbers)
        of_unit, own = _score(unit), _number(self.owner)
        if numbers and own not in numbers:
            return False
        mine = of_unit * own & _MASK
        return all(of_unit * number & _MASK <= mine for number in numbers)
