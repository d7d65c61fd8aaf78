"""Where time, chance and ids come from. The one file that asks the system; everything else is handed these objects.

A world (docs/worlds.md) hands in others: then the same seed gives the same bytes.
"""

from __future__ import annotations

import random
import time
import uuid


class SystemClock:
    """The `Clock` of a deployment. Any thread."""

    def mono(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Chance:
    """Jitter and fresh ids. With a seed both repeat themselves; without one they come from the system. Any thread."""

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self._seeded = seed is not None

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)

    def fraction(self) -> float:
        """At least 0, below 1."""
        return self.random.random()

    def new_id(self) -> str:
        """32 hexadecimal digits, the form of a random UUID without dashes."""
        return self._uuid().hex

    def new_uuid(self) -> str:
        """A random UUID in its usual form, with dashes."""
        return str(self._uuid())

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128), version=4) if self._seeded else uuid.uuid4()
