"""Which processes live, as this one knows, and the burial of those that don't."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

from connector.core.log import get_logger
from connector.core.ports import Clock, Process, Role, State, WorkerInfo

log = get_logger(__name__)

SETTLE_BEATS: Final = 2
"""Own beats after an outage of the state before anything is claimed: by then every living owner had its turn."""


class Neighbours:
    """Any thread."""

    def __init__(self, state: State, owner: str, role: Role, ttl_s: float, clock: Clock) -> None:
        self._state, self._owner, self._role, self._ttl_s, self._clock = state, owner, role, ttl_s, clock
        self._lock = threading.Lock()
        self.workers: tuple[WorkerInfo, ...] = ()
        """Live processes of the role, as of the last look (this one included once it beat)."""
        self._stands: dict[str, float] = {}
        """Process → until when its heartbeat must stand, by our monotonic clock."""
        self._silent: dict[str, float] = {}
        """Processes without a heartbeat → when that can't be because the state forgot it any more."""
        self._names: dict[str, set[str]] = {}
        """Streams that were found in the name of such a process."""
        self._awaited: dict[str, float] = {}
        """Processes that lived when the state forgot, and have not beaten since → until when their heartbeats would have
        stood."""
        self._listening: set[str] = set()
        """Processes that listened when this one started, and whose heartbeats nobody has looked for yet."""
        self._settling = 0

    # --- what this process's own beats tell ---

    def started(self) -> None:
        """This is our first beat. If the state has forgotten everything a moment ago, those who live still listen. Raises
        `StateUnavailable`."""
        listening = self._state.listening() - {self._owner}
        with self._lock:
            self._listening = listening

    def forgotten(self) -> None:
        """Our own heartbeat was gone, so those of others may have been: until these have beaten again nobody knows what is
        free."""
        now = self._clock.mono()
        with self._lock:
            self._awaited = {
                owner: until for owner, until in self._stands.items() if until > now and owner != self._owner
            }
            self._settling = SETTLE_BEATS

    def unknown(self) -> None:
        """The state is away."""
        self._settling = SETTLE_BEATS

    def beaten(self) -> None:
        """A beat was answered."""
        self._settling = max(0, self._settling - 1)

    @property
    def settling(self) -> bool:
        """Leases may be missing, and their owners write them again first."""
        return self._settling > 0 or bool(self._awaited)

    # --- the others ---

    def look(self) -> None:
        """Raises `StateUnavailable`."""
        now = self._clock.mono()
        roll = self._state.roll()
        with self._lock:
            self._seen(roll, now)

    def _seen(self, roll: Mapping[str, Process], now: float) -> None:
        found = sorted((process.info for process in roll.values() if process.info), key=lambda info: info.owner)
        self.workers = tuple(info for info in found if info.role == self._role)
        alive = {owner: now + process.left_s for owner, process in roll.items() if process.left_s > 0}
        for owner in {*roll, *self._stands} - alive.keys() - {self._owner}:
            # Whose heartbeat was never seen may only have been forgotten: its next beat shows it.
            self._silent.setdefault(owner, self._stands.get(owner, now + self._ttl_s))
        for owner in alive:
            self._silent.pop(owner, None)
            self._names.pop(owner, None)
        before = len(self._awaited)
        self._awaited = {owner: until for owner, until in self._awaited.items() if until > now and owner not in alive}
        if len(self._awaited) < before:
            # It has beaten, and renews what it holds in this very moment.
            self._settling = max(self._settling, SETTLE_BEATS)
        self._awaited |= dict.fromkeys(self._listening - alive.keys(), now + self._ttl_s)
        self._listening = set()
        self._stands = alive

    def found_silent(self, owner: str, units: Iterable[str]) -> None:
        """These are in the name of a process without a heartbeat, whether or not it is known to hold them."""
        if owner == self._owner:
            return
        with self._lock:
            self._silent.setdefault(owner, self._stands.get(owner, self._clock.mono() + self._ttl_s))
            self._names.setdefault(owner, set()).update(units)

    def bury(self) -> None:
        """Free what the dead held, and tell everybody. Raises `StateUnavailable`."""
        if self.settling:
            return
        now, freed_any = self._clock.mono(), False
        with self._lock:
            dead = {owner: sorted(self._names.get(owner, ())) for owner, until in self._silent.items() if until <= now}
        for owner in sorted(dead):
            freed = self._state.bury(owner, dead[owner])
            with self._lock:
                self._silent.pop(owner, None)
                self._names.pop(owner, None)
            if freed:
                log.warning("a process is gone: others take over what it held", process=owner, units=len(freed))
                freed_any = True
        if freed_any:
            self._state.notify("*", "sweep")
