"""Chance of the processes of a world: what `random`, `uuid` and `secrets` give them follows from the seed."""

from __future__ import annotations

import random
import uuid

from harness.worlds.blocking import host


class HostChance:
    """Draws from a generator of the process that asks, so that one process's draws don't move another's."""

    def of_host(self) -> random.Random:
        owner = host()
        found = owner.__dict__.get("chance")
        if not isinstance(found, random.Random):
            found = owner.__dict__["chance"] = random.Random(owner.seed)
        return found

    def generator(self, seed: int | None = None) -> random.Random:
        """`random.Random`: without a seed, one that follows from the process's own chance."""
        return random.Random(self.of_host().getrandbits(64) if seed is None else seed)

    def random(self) -> float:
        return self.of_host().random()

    def uniform(self, low: float, high: float) -> float:
        return self.of_host().uniform(low, high)

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=self.of_host().getrandbits(128), version=4)

    def token_bytes(self, count: int = 32) -> bytes:
        return self.of_host().randbytes(count)

    def token_hex(self, count: int = 32) -> str:
        return self.token_bytes(count).hex()


chance = HostChance()
