"""What Bybit's half, its connections and its REST share. Pure."""

from __future__ import annotations

from simulator._peer import PerAddress
from simulator._venue import World
from simulator.venues.bybit._symbols import REST_PER_ACCOUNT, REST_PER_ADDRESS


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.modes: dict[str, int] = {}
        """`unifiedMarginStatus` by account, where it is not 6."""
        self.no_orders: dict[str, list[dict[str, str]]] = {}
        """Executions behind which there is no order, by account."""
        self.rest_calls = PerAddress(REST_PER_ADDRESS)
        self.account_calls = PerAddress(REST_PER_ACCOUNT)
