"""What WhiteBIT's half, its connections and its REST share. Pure."""

from __future__ import annotations

from simulator._venue import Instant, World
from simulator.venues.whitebit._auth import Nonces, Tokens


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nonces = Nonces()
        self.tokens = Tokens(world)
        self.closed_until = 0.0
        """Monotonic end of a maintenance."""

    def closed(self, now: Instant) -> bool:
        """Whether the platform is under maintenance."""
        return now.mono < self.closed_until
