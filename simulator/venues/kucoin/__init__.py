"""KuCoin as a simulator half: spot, linear and inverse futures, classic and unified accounts.

An account whose API key begins with `unified` is a unified account; every other one is classic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

from exchanges._adapter import Rate
from simulator._peer import PerAddress, Weight
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.engine import Account
from simulator.venues.kucoin import _rest
from simulator.venues.kucoin._auth import Tokens
from simulator.venues.kucoin._frames import Tickers
from simulator.venues.kucoin._peer import ClassicPeer, UnifiedPeer
from simulator.venues.kucoin._symbols import markets

CONNECTS: Final = Rate(30, 60.0)
POOLS: Final[Mapping[str, Rate]] = {
    "spot": Rate(4000, 30.0),
    "futures": Rate(2000, 30.0),
    "management": Rate(2000, 30.0),
    "public": Rate(2000, 30.0),
    "unified": Rate(200, 3.0),
}
"""Weight per user (public: per address) without VIP level."""
MAINTENANCE_S: Final = 5.0
UNIFIED_KEY: Final = "unified"

TOKEN_HOSTS: Final = frozenset({"ws-api-spot.kucoin.com", "ws-api-futures.kucoin.com"})


class KuCoin:
    """Satisfies `VenueHalf`."""

    name = "kucoin"
    replaces = False
    """Whether a modify plays `alter`: the order ends and a new one goes on under the same client id. That the venue keeps the
    client id was not recorded, so it is off unless somebody sets it; else a modify changes the order in place."""
    hosts = TOKEN_HOSTS | {"api.kucoin.com", "api-futures.kucoin.com", "wsapi-push.kucoin.com"}
    sockets = ("/",)

    def __init__(self, world: World) -> None:
        self.world = world
        self.tokens = Tokens(world)
        self.tickers = Tickers()
        self.versions = {1, 2}
        """Versions of the unified API that there are; an old one ends some day."""
        self.wants_symbol = {1, 2}
        """Versions whose SPOT lists want a symbol: 1 does (kucoin-api, ccxt), of 2 it is not known."""
        self.key_versions = {"2", "3"}
        self.closed_until = 0.0
        """Monotonic end of a maintenance."""
        self._connects = PerAddress(CONNECTS)
        self._weights: dict[tuple[str, str], Weight] = {}
        self._exchanges: dict[str, str] = {}

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self._exchanges = {symbol.wire: market.exchange for market in made for symbol in market.symbols}
        return made

    def exchange_of(self, wire: str) -> str | None:
        """The exchange id that lists a symbol."""
        return self._exchanges.get(wire)

    def is_unified(self, account: Account) -> bool:
        return any(key.key.startswith(UNIFIED_KEY) for key in account.keys)

    def spend(self, pool: str, payer: str, cost: int, now: Instant) -> int:
        """Count request weight; returns 0, or ms until the next window if there was none left."""
        if not self.world.settings.limits:
            return 0
        weight = self._weights.setdefault((pool, payer), Weight(POOLS[pool]))
        return 0 if weight.take(cost, now.wall_ms) else weight.wait_ms(now.wall_ms)

    def rest(self, request: Request, now: Instant) -> Reply:
        return _rest.answer(self, request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host not in TOKEN_HOSTS | {"wsapi-push.kucoin.com"}:
            return Refuse(404)
        if self.closed_until > now.mono:
            return Refuse(503)
        query = parse_qs(request.query)
        token = self.tokens.use(query.get("token", [""])[0], now)
        payer = token.account if token and token.account else request.remote
        if self.world.settings.limits and not self._connects.hit(payer, now.mono):
            return Refuse(429, b"", {"Retry-After": "10"})
        if request.host == "wsapi-push.kucoin.com":
            return UnifiedPeer(self, now)
        if token is not None and token.spot is not (request.host == "ws-api-spot.kucoin.com"):
            token = None
        return ClassicPeer(self, token, query.get("connectId", [""])[0], now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name == "maintenance":
            self.closed_until = now.mono + float(signal.params.get("seconds", MAINTENANCE_S))
        elif signal.name in ("expire_token", "key_changed"):
            self.tokens.forget(signal.account)


HALF = KuCoin
