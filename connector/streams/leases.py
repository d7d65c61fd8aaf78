"""The leases that this process holds, and which process should hold what (docs/architecture.md, Ownership).

Redis decides who owns a unit; rendezvous hashing over the live processes says who *should* try first, so that every process
comes to the same answer without talking to the others, and a process that joins or leaves moves only its own share.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Final

from connector.core.clock import SystemClock
from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import Clock, Role, State, WorkerInfo, join_units

log = get_logger(__name__)

UNOWNED_GRACE_S: Final = 2.0
"""A free unit is left this long to the process that should take it; then anybody takes it."""
BEATS_PER_TTL: Final = 4
MARGIN_PER_TTL: Final = 1 / 8
"""So much of the leases' life before its end nothing is published any more: what is written then may still be on its way, and
clocks do not run equally fast."""
SPARE_OWNERS: Final = 1_000
"""Former owners of units that nobody wants now are remembered, up to so many beyond twice the wanted ones: the state may only
have forgotten that they are wanted."""
SETTLE_BEATS: Final = 2
"""Own beats after an outage of the state before anything is claimed: by then every living owner had its turn."""


def preferred(unit: str, owners: Iterable[str]) -> str | None:
    """The owner with the highest hash for this unit; None without owners. Pure."""
    best, best_score = None, b""
    for owner in owners:
        score = hashlib.blake2b(f"{owner}\x00{unit}".encode(), digest_size=8).digest()
        if score > best_score:
            best, best_score = owner, score
    return best


def _nothing_to_fence(units: Set[str]) -> None:
    """Of a process that publishes nothing."""


class Free:
    """Units that nobody owns, and for how long: each is left a moment to the process that should take it. One thread."""

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self._leases, self._clock = leases, clock
        self._since: dict[str, float] = {}
        self._owner: dict[str, str] = {}
        """Who was seen to own a unit last …"""
        self._stands_until: dict[str, float] = {}
        """… and how long that lease must still stand, of units that were found without one all the same."""

    def may_claim(self, unit: str) -> bool:
        """Whether this process may take a unit that it found without an owner."""
        if self._leases.mine_first(unit):
            return True
        now = self._clock.mono()
        return now - self._since.setdefault(unit, now) >= UNOWNED_GRACE_S

    def wary(self, unit: str) -> bool:
        """Whether the lease of a free unit went before its time: the state forgot it (or it was given up, which the state
        knows). Its owner is alive, publishes, and takes the lease back with its next beat."""
        if unit not in self._stands_until:
            owner = self._owner.get(unit)
            self._stands_until[unit] = self._leases.stands_until(owner) if owner is not None else float("-inf")
        return self._clock.mono() < self._stands_until[unit]

    def owned(self, unit: str, owner: str | None = None) -> None:
        """Somebody has it, or nobody wants it: the next time that it is free, its grace begins anew."""
        self._since.pop(unit, None)
        self._stands_until.pop(unit, None)
        if owner is not None:
            self._owner[unit] = owner

    def only(self, wanted: Set[str]) -> None:
        """Forget what is not wanted any more."""
        self._since = {unit: since for unit, since in self._since.items() if unit in wanted}
        self._stands_until = {unit: until for unit, until in self._stands_until.items() if unit in wanted}
        if len(self._owner) > 2 * len(wanted) + SPARE_OWNERS:
            self._owner = {unit: owner for unit, owner in self._owner.items() if unit in wanted}


class Leases:
    """Units held by this process with their fencing numbers. Any thread."""

    def __init__(self, state: State, owner: str, role: Role, ttl_s: float, clock: Clock | None = None) -> None:
        self.owner, self.role, self.ttl_s = owner, role, ttl_s
        self.fence_off: Callable[[Set[str]], None] = _nothing_to_fence
        """Called by a beat that found leases in other hands, before `permitted` says yes again: nothing of these units may
        leave this process any more."""
        self._state, self._clock = state, clock or SystemClock()
        self._answered: tuple[float, int] | None = None
        """When the last beat that was answered began, by both clocks."""
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}
        self._workers: tuple[WorkerInfo, ...] = ()
        self._stands: dict[str, float] = {}
        """Owner → until when its heartbeat, and so its leases, must stand, by our monotonic clock."""
        self._away = False
        self._settling = 0

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
        return self._workers

    @property
    def settling(self) -> bool:
        """The state was away or forgot a moment ago: leases may be gone, and their owners renew them first."""
        return self._settling > 0

    def claim(self, units: Sequence[str], wary: Set[str] = frozenset()) -> list[str]:
        """Take the free ones of these; of `wary` only those that were given up. Raises `StateUnavailable`."""
        if not units:
            return []
        taken = self._state.claim(units, self.owner, self.ttl_s, wary)
        with self._lock:
            self._held.update(taken)
        return list(taken)

    def accept(self, unit: str, fence: int) -> None:
        """A lease that another process handed to this one."""
        with self._lock:
            self._held[unit] = fence

    def forget(self, unit: str) -> None:
        """No longer ours (handed over or fenced): nothing is told to the state."""
        with self._lock:
            self._held.pop(unit, None)

    def release(self, units: Iterable[str]) -> None:
        with self._lock:
            leases = {unit: self._held.pop(unit) for unit in units if unit in self._held}
        if not leases:
            return
        try:
            self._state.release(leases, self.owner)
        except StateUnavailable:
            log.warning("leases run out by themselves: the state is unavailable", units=join_units(leases))

    def retake(self, units: Iterable[str]) -> set[str]:
        """Renew some leases at once, which writes those again that the state forgot. Returns the units that others took
        meanwhile; they are dropped. Raises `StateUnavailable`."""
        held = self.held()
        lost = self._state.renew({unit: held[unit] for unit in units if unit in held}, self.owner, self.ttl_s)
        for unit in lost:
            self.forget(unit)
        return lost

    def beat(self, info: WorkerInfo) -> set[str] | None:
        """Heartbeat and renewal in one go. Returns the units lost to others; None = the state is away, nothing is known.

        While the state is away streams stay connected; what they tell waits (`permitted`) until a beat is answered.
        """
        began = self._clock.mono(), self._clock.wall_ms()
        leases = self.held()
        try:
            # Not longer than the leases: who is dead must not stand in the way of those who take over.
            self._state.heartbeat(info, self.ttl_s)
            lost = self._state.renew(leases, self.owner, self.ttl_s) if leases else set()
            self._look()
        except StateUnavailable as error:
            if not self._away:
                log.error("the state is unavailable; account events wait", error=str(error))
            self._away = True
            self._settling = SETTLE_BEATS
            return None
        if self._away:
            log.info("the state is back", held=len(leases), lost=len(lost))
        self._away = False
        self._settling = max(0, self._settling - 1)
        with self._lock:
            # Not what was released meanwhile, or came back with another number (hand-over).
            lost = {unit for unit in lost if self._held.get(unit) == leases[unit]}
            for unit in lost:
                del self._held[unit]
        if lost:
            self.fence_off(lost)
        self._answered = began
        return lost

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
        self._look()
        if known and not self._has_beaten():
            # Our own heartbeat is gone: the state forgot. Whoever holds leases writes them again with the next beat.
            self._settling = SETTLE_BEATS

    def _look(self) -> None:
        now = self._clock.mono()
        self._workers = tuple(self._state.workers(self.role))
        left_s = self._state.beats_left_s([worker.owner for worker in self._workers])
        # A heartbeat that is missing may only have been forgotten by the state.
        stands = {owner: until for owner, until in self._stands.items() if until > now}
        self._stands = stands | {owner: now + left for owner, left in left_s.items()}

    def stands_until(self, owner: str) -> float:
        """Until when the leases of this process must stand, by our monotonic clock; long ago for one that is not known."""
        return self._stands.get(owner, float("-inf"))

    def _has_beaten(self) -> bool:
        return any(worker.owner == self.owner for worker in self._workers)

    def candidates(self, feed: str = "") -> list[str]:
        """Owners that may take streams: live, not draining, and running this feed."""
        return [worker.owner for worker in self._workers if not worker.draining and (not feed or worker.runs(feed))]

    def mine_first(self, unit: str) -> bool:
        """Whether this process should try for a free unit before the others."""
        candidates = self.candidates(unit.partition(":")[0] if self.role == "price" else "")
        return not candidates or preferred(unit, candidates) == self.owner
