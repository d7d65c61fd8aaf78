"""Who runs what, in Redis: leases, what each process holds, what nobody holds, and the signs of life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from connector.core.ports import Process, Role, Scan, Unowned, WorkerInfo
from connector.state import _scripts as lua
from connector.state._client import Commands
from connector.state._values import as_ms, chunks, decoded, owner_of

KEEP_FENCE_MS: Final = 24 * 3600 * 1000
"""For so long a holder that comes back late finds out that somebody else had its lease."""


class Ownership:
    """Part of `RedisState`."""

    _redis: Commands

    def _key(self, kind: str, name: str = "") -> str:
        raise NotImplementedError

    def _read(self, kind: str, names: Sequence[str]) -> list[bytes | None]:
        raise NotImplementedError

    def _lease_keys(self, units: Sequence[str]) -> list[str]:
        return [self._key(kind, unit) for unit in units for kind in ("lease", "fenced")]

    def claim(self, units: Sequence[str], owner: str, ttl_s: float, *, alive: bool = False) -> dict[str, int]:
        """Take the leases that are free, in one round trip. The owner's own are free to it and keep their number: the
        answer to an earlier claim may have been lost."""
        keys = [self._key("fence"), self._key("free"), self._key("held", owner), self._key("workers")]
        keys.append(self._key("worker", owner))
        arguments = [owner, as_ms(ttl_s), KEEP_FENCE_MS, int(alive), self._key("held:")]
        batches = [([*keys, *self._lease_keys(chunk)], [*arguments, *chunk]) for chunk in chunks(units)]
        answers = self._redis.run_all(lua.CLAIM, batches)
        fences = [fence for answer in answers for fence in answer]
        return {unit: int(fence) for unit, fence in zip(units, fences, strict=True) if fence}

    def renew(self, leases: Mapping[str, int], owner: str, ttl_s: float, *, kept: bool = True) -> set[str]:
        """One round trip. A missing lease is taken back with its number, unless somebody else had the unit since."""
        units = list(leases)
        keys = [self._key("fence"), self._key("free"), self._key("held", owner)]
        arguments = [owner, as_ms(ttl_s), KEEP_FENCE_MS, int(kept)]
        batches = [
            ([*keys, *self._lease_keys(chunk)], [*arguments, *(leases[unit] for unit in chunk), *chunk])
            for chunk in chunks(units)
        ]
        flags = [flag for answer in self._redis.run_all(lua.RENEW, batches) for flag in answer]
        return {unit for unit, lost in zip(units, flags, strict=True) if lost}

    def release(self, leases: Mapping[str, int], owner: str) -> None:
        self._release(leases, owner)

    def give_back(self, units: Sequence[str], owner: str) -> None:
        self._release(dict.fromkeys(units, ""), owner)

    def _release(self, leases: Mapping[str, int | str], owner: str) -> None:
        keys = [self._key("free"), self._key("held", owner)]
        batches = [
            (
                [*keys, *(self._key(kind, unit) for unit in chunk for kind in ("lease", "fenced", "stream"))],
                [owner, KEEP_FENCE_MS, self._key("held:"), *(leases[unit] for unit in chunk), *chunk],
            )
            for chunk in chunks(list(leases))
        ]
        self._redis.run_all(lua.RELEASE, batches)

    def bury(self, owner: str, also: Sequence[str] = ()) -> list[str] | None:
        return self._bury(owner, also, itself=False)

    def _bury(self, owner: str, also: Sequence[str], *, itself: bool) -> list[str] | None:
        keys = [self._key("worker", owner), self._key("held", owner), self._key("workers"), self._key("free")]
        prefixes = [self._key(f"{kind}:") for kind in ("lease", "fenced", "held", "stream")]
        freed = self._redis.run(lua.BURY, keys, [owner, KEEP_FENCE_MS, int(itself), *prefixes, *also])
        return None if freed is None else [unit.decode() for unit in freed]

    def held(self, owner: str) -> set[str]:
        return {unit.decode() for unit in self._redis.call("SMEMBERS", self._key("held", owner))}

    def unowned(self) -> Unowned:
        wanted, free = self._redis.pipeline([("SCARD", self._key("streams")), ("SMEMBERS", self._key("free"))])
        return Unowned(int(wanted), {unit.decode() for unit in free})

    def scan(self, cursor: int, count: int) -> Scan:
        arguments = [cursor, count, self._key("lease:"), self._key("worker:")]
        after, rows = self._redis.run(lua.SCAN, [self._key("streams"), self._key("free")], arguments)
        silent: dict[str, list[str]] = {}
        for owner, stream_id in zip(rows[::2], rows[1::2], strict=True):
            silent.setdefault(owner.decode(), []).append(stream_id.decode())
        return Scan(int(after), silent)

    def hand_over(self, unit: str, fence: int, owner: str, to_owner: str, ttl_s: float) -> int | None:
        arguments = [f"{fence}|{owner}", to_owner, as_ms(ttl_s), KEEP_FENCE_MS]
        answer = self._redis.run(lua.HAND_OVER, [self._key("fence"), *self._lease_keys([unit])], arguments)
        return None if answer is None else int(answer)

    def owners(self, units: Sequence[str]) -> dict[str, str]:
        found = {}
        for unit, lease in zip(units, self._read("lease", units), strict=True):
            owner = owner_of(lease)
            if owner is not None:
                found[unit] = owner
        return found

    def heartbeat(self, info: WorkerInfo, ttl_s: float) -> int | None:
        keys = [self._key("worker", info.owner), self._key("workers"), self._key("held", info.owner)]
        known = self._redis.run(lua.BEAT, keys, [msgspec.json.encode(info), as_ms(ttl_s), info.owner, KEEP_FENCE_MS])
        return None if known is None else int(known)

    def roll(self) -> dict[str, Process]:
        rows = self._redis.run(lua.WORKERS, [self._key("workers")], [self._key("worker:")])
        return {
            owner.decode(): Process(decoded(beat, WorkerInfo, "heartbeat") if beat else None, max(0, left_ms) / 1000)
            for owner, beat, left_ms in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
        }

    def workers(self, role: Role | None = None) -> list[WorkerInfo]:
        """The live ones, by owner."""
        found = [process.info for process in self.roll().values() if process.info is not None]
        return sorted((info for info in found if role in (None, info.role)), key=lambda info: info.owner)

    def beats_left_s(self, owners: Sequence[str]) -> dict[str, float]:
        left_ms = self._redis.pipeline([("PTTL", self._key("worker", owner)) for owner in owners])
        return {owner: ms / 1000 for owner, ms in zip(owners, left_ms, strict=True) if ms > 0}

    def retire(self, owner: str) -> None:
        self._bury(owner, (), itself=True)
