"""What Coinbase's half, its connections and its REST share. Pure."""

from __future__ import annotations

from simulator._peer import PerAddress
from simulator._venue import World
from simulator.venues.coinbase._symbols import PRIVATE_CALLS, PUBLIC_CALLS, PUBLIC_MESSAGES


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.public_calls = PerAddress(PUBLIC_CALLS)
        self.private_calls = PerAddress(PRIVATE_CALLS)
        self.public_messages = PerAddress(PUBLIC_MESSAGES)
