"""What KuCoin's half, its connections and its REST share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import Weight
from simulator._values import Market
from simulator._venue import Instant, World
from simulator.engine import Account
from simulator.venues.kucoin._auth import Tokens
from simulator.venues.kucoin._frames import TickerFrames

UNIFIED_KEY: Final = "unified"
"""A key that begins so is that of a unified account."""
POOLS: Final[Mapping[str, Rate]] = {
    "spot": Rate(4000, 30.0),
    "futures": Rate(2000, 30.0),
    "management": Rate(2000, 30.0),
    "public": Rate(2000, 30.0),
    "unified": Rate(200, 3.0),
}
"""Weight per user (public: per address) without VIP level."""
REQUESTS: Final = Rate(500, 10.0)
"""What stands before the venue takes from an address, whatever it weighs."""
REFUSED_S: Final = 30


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tokens = Tokens(world)
        self.tickers = TickerFrames()
        self.versions = {1, 2}
        """Versions of the unified API that there are; an old one ends some day."""
        self.wants_symbol = {1, 2}
        """Versions whose SPOT lists want a symbol: 1 does (kucoin-api, ccxt), of 2 it is not known."""
        self.key_versions = {"2", "3"}
        self.closed_until = 0.0
        """Monotonic end of a maintenance."""
        self._weights: dict[tuple[str, str], Weight] = {}
        self._requests: dict[str, Weight] = {}
        self._exchanges: dict[str, str] = {}

    def know(self, made: Sequence[Market]) -> None:
        """These markets are listed from now on."""
        self._exchanges = {symbol.wire: market.exchange for market in made for symbol in market.symbols}

    def exchange_of(self, wire: str) -> str | None:
        """The exchange id that lists a symbol."""
        return self._exchanges.get(wire)

    def is_unified(self, account: Account) -> bool:
        return any(key.key.startswith(UNIFIED_KEY) for key in account.keys)

    def refuses(self, remote: str, now: Instant) -> bool:
        """Whether an address has asked too often."""
        requests = self._requests.setdefault(remote, Weight(REQUESTS))
        return self.world.settings.limits and not requests.take(1, now.wall_ms)

    def spend(self, pool: str, payer: str, cost: int, now: Instant) -> int:
        """Count request weight; returns 0, or ms until the next window if there was none left."""
        if not self.world.settings.limits:
            return 0
        weight = self._weights.setdefault((pool, payer), Weight(POOLS[pool]))
        return 0 if weight.take(cost, now.wall_ms) else weight.wait_ms(now.wall_ms)
