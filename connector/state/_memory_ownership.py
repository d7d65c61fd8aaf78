"""Who runs what, as `MemoryState` keeps it: see `connector.core.ports.State`, and the scripts of `RedisState`."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Final

from connector.core.ports import Clock, Process, Role, Scan, Unowned, Wanted, WorkerInfo
from connector.state._memory import Expiring

KEEP_FENCE_S: Final = 24 * 3600.0


class MemoryOwnership:
    """Part of `MemoryState`."""

    _entries: dict[str, Wanted]

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._fence = 0

    def _forget_owners(self) -> None:
        self._leases: Expiring[tuple[str, int]] = Expiring(self._clock)
        self._fenced: Expiring[int] = Expiring(self._clock)
        self._given_up: Expiring[bool] = Expiring(self._clock)
        self._workers: Expiring[WorkerInfo] = Expiring(self._clock)
        self._index: set[str] = set()
        """Processes that are not buried."""
        self._held: dict[str, set[str]] = {}
        """What the heartbeat of each process keeps."""
        self._free: set[str] = set()

    def claim(self, units: Sequence[str], owner: str, ttl_s: float, *, alive: bool = False) -> dict[str, int]:
        """Take the leases that are free. The owner's own are free to it and keep their number."""
        with self._lock:
            taken: dict[str, int] = {}
            if alive and self._workers.get(owner) is None:
                return taken
            for unit in units:
                lease = self._leases.get(unit)
                if lease is not None and lease[0] != owner:
                    self._free.discard(unit)
                elif lease is not None or self._given_up.get(unit) or not self._held_by_another(unit, owner):
                    taken[unit] = self._give(unit, owner, ttl_s, lease[1] if lease else None)
                    self._keep(unit, owner)
            return taken

    def _held_by_another(self, unit: str, owner: str) -> bool:
        return any(unit in self._held.get(other, ()) for other in self._index if other != owner)

    def _give(self, unit: str, owner: str, ttl_s: float, fence: int | None = None) -> int:
        if fence is None:
            self._fence += 1
            fence = self._fence
        self._fence = max(self._fence, fence)
        self._leases.set(unit, (owner, fence), ttl_s)
        self._fenced.set(unit, fence, KEEP_FENCE_S)
        self._given_up.drop(unit)
        return fence

    def _found(self, unit: str) -> None:
        """It is wanted: if nobody owns it, it is free."""
        if self._leases.get(unit) is None:
            self._free.add(unit)

    def _keep(self, unit: str, owner: str) -> None:
        self._held.setdefault(owner, set()).add(unit)
        self._free.discard(unit)

    def _leave(self, unit: str, owner: str) -> None:
        self._held.get(owner, set()).discard(unit)

    def renew(self, leases: Mapping[str, int], owner: str, ttl_s: float, *, kept: bool = True) -> set[str]:
        """A missing lease is taken back with its number, unless somebody else had the unit since. What is lost stays among
        what the owner holds until it gives that back: it may have been handed over in this moment."""
        with self._lock:
            lost = set()
            for unit, fence in leases.items():
                lease = self._leases.get(unit)
                ours = lease == (owner, fence) if lease else (self._fenced.get(unit) or 0) <= fence
                if ours:
                    self._give(unit, owner, ttl_s, fence)
                    self._free.discard(unit)
                else:
                    lost.add(unit)
                if ours and kept:
                    self._keep(unit, owner)
            return lost

    def release(self, leases: Mapping[str, int], owner: str) -> None:
        with self._lock:
            for unit, fence in leases.items():
                self._release(unit, fence, owner)

    def give_back(self, units: Sequence[str], owner: str) -> None:
        with self._lock:
            for unit in units:
                self._release(unit, None, owner)

    def _release(self, unit: str, fence: int | None, owner: str) -> None:
        lease = self._leases.get(unit)
        ours = lease is not None and lease[0] == owner
        number = lease[1] if lease is not None else fence
        if ours and fence not in (None, number):
            return  # it came back with another number
        self._leave(unit, owner)
        if lease is not None and not ours:
            self._held.setdefault(lease[0], set()).add(unit)
            return
        self._leases.drop(unit)
        if number is not None and (ours or (self._fenced.get(unit) or 0) <= number):
            # A renewal that is still on its way must not take it back.
            self._fenced.set(unit, number + 1, KEEP_FENCE_S)
            self._given_up.set(unit, True, KEEP_FENCE_S)
        if unit in self._entries:
            self._free.add(unit)

    def bury(self, owner: str, also: Sequence[str] = ()) -> list[str] | None:
        with self._lock:
            if self._workers.get(owner) is not None:
                return None
            freed = []
            for unit in sorted({*self._held.pop(owner, ()), *also}):
                lease = self._leases.get(unit)
                if lease is not None and lease[0] != owner:
                    self._held.setdefault(lease[0], set()).add(unit)
                    continue
                fence = lease[1] if lease is not None else self._fenced.get(unit)
                if fence is not None:
                    # Its own number, so that it may go on if it lives after all and nobody took the unit.
                    self._fenced.set(unit, fence, KEEP_FENCE_S)
                    self._given_up.set(unit, True, KEEP_FENCE_S)
                self._leases.drop(unit)
                if unit in self._entries:
                    self._free.add(unit)
                freed.append(unit)
            self._index.discard(owner)
            return freed

    def held(self, owner: str) -> set[str]:
        with self._lock:
            return set(self._held.get(owner, ()))

    def unowned(self) -> Unowned:
        with self._lock:
            return Unowned(len(self._entries), set(self._free))

    def scan(self, cursor: int, count: int) -> Scan:
        with self._lock:
            # By what no other stream's coming or going moves.
            rows = sorted(row for row in map(_row, self._entries) if row[0] >= cursor)
            part = [row for row in rows if row[0] <= rows[min(count, len(rows)) - 1][0]]
            silent: dict[str, list[str]] = {}
            for _, unit in part:
                lease = self._leases.get(unit)
                if lease is None:
                    self._free.add(unit)
                elif self._workers.get(lease[0]) is None:
                    silent.setdefault(lease[0], []).append(unit)
            return Scan(part[-1][0] + 1 if len(part) < len(rows) else 0, silent)

    def hand_over(self, unit: str, fence: int, owner: str, to_owner: str, ttl_s: float) -> int | None:
        with self._lock:
            if self._leases.get(unit) != (owner, fence):
                return None
            return self._give(unit, to_owner, ttl_s)

    def owners(self, units: Sequence[str]) -> dict[str, str]:
        with self._lock:
            held = {unit: self._leases.get(unit) for unit in units}
            return {unit: lease[0] for unit, lease in held.items() if lease}

    def _others(self, unit: str, owner: str | None) -> bool:
        """Whether a process other than `owner`, if that is one, holds the lease. Under the lock."""
        lease = self._leases.get(unit)
        return owner is not None and lease is not None and lease[0] != owner

    # --- signs of life ---

    def heartbeat(self, info: WorkerInfo, ttl_s: float) -> int | None:
        with self._lock:
            stood = self._workers.get(info.owner) is not None
            self._workers.set(info.owner, info, ttl_s)
            self._index.add(info.owner)
            return len(self._held.get(info.owner, ())) if stood else None

    def roll(self) -> dict[str, Process]:
        with self._lock:
            return {
                owner: Process(self._workers.get(owner), self._workers.left_s(owner) or 0.0)
                for owner in sorted(self._index)
            }

    def workers(self, role: Role | None = None) -> list[WorkerInfo]:
        """The live ones, by owner."""
        found = [process.info for process in self.roll().values() if process.info is not None]
        return sorted((info for info in found if role in (None, info.role)), key=lambda info: info.owner)

    def beats_left_s(self, owners: Sequence[str]) -> dict[str, float]:
        with self._lock:
            return {owner: left_s for owner in owners if (left_s := self._workers.left_s(owner)) is not None}

    def retire(self, owner: str) -> None:
        with self._lock:
            self._workers.drop(owner)
            self.bury(owner)


def _row(unit: str) -> tuple[int, str]:
    return zlib.crc32(unit.encode()), unit
