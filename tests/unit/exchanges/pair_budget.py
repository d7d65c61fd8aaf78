"""A venue's REST allowance as the service keeps it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from exchanges._venue import Rate


@dataclass
class Budget:
    """A venue's REST allowance, kept as the service keeps it: calls wait for room."""

    rate: Rate
    used: deque[tuple[float, int]] = field(default_factory=deque)

    def wait(self, weight: int, mono: float) -> float:
        """Seconds until a call of this weight may go."""
        while self.used and self.used[0][0] <= mono - self.rate.per_s:
            self.used.popleft()
        total = sum(spent for _, spent in self.used)
        if total + weight <= self.rate.limit or not self.used:
            return 0.0
        for at, spent in self.used:
            total -= spent
            if total + weight <= self.rate.limit:
                return at + self.rate.per_s - mono
        return self.rate.per_s

    def spend(self, weight: int, mono: float) -> None:
        self.used.append((mono, weight))
