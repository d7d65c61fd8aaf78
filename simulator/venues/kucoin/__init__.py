"""KuCoin as a simulator half: spot, linear and inverse futures, classic and unified accounts.

An account whose API key begins with `unified` is a unified account; every other one is classic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.kucoin._peer import ClassicPeer, UnifiedPeer
from simulator.venues.kucoin._rest import Rest
from simulator.venues.kucoin._state import UNIFIED_KEY, State
from simulator.venues.kucoin._symbols import markets

__all__ = ["HALF", "UNIFIED_KEY", "KuCoin"]

CONNECTS: Final = Rate(30, 60.0)
MAINTENANCE_S: Final = 5.0
TOKEN_HOSTS: Final = frozenset({"ws-api-spot.kucoin.com", "ws-api-futures.kucoin.com"})


class KuCoin(VenueHalf):
    """Satisfies `VenueHalf`."""

    name = "kucoin"
    replaces = False
    """Whether a modify plays `alter`: the order ends and a new one goes on under the same client id. That the venue keeps the
    client id was not recorded, so it is off unless somebody sets it; else a modify changes the order in place."""
    hosts = TOKEN_HOSTS | {"api.kucoin.com", "api-futures.kucoin.com", "wsapi-push.kucoin.com"}
    sockets = ("/",)
    rejections: Mapping[str, tuple[str, ...]] = {"": ("400003",)}
    unheard = (b'{"type":"message","topic":"nobody.knows","subject":"x","data":{"x":1}}',)

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self.state.know(made)
        return made

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host not in TOKEN_HOSTS | {"wsapi-push.kucoin.com"}:
            return Refuse(404)
        if self.state.closed_until > now.mono:
            return Refuse(503)
        query = parse_qs(request.query)
        token = self.state.tokens.use(query.get("token", [""])[0], now)
        payer = token.account if token and token.account else request.remote
        if self.state.world.settings.limits and not self._connects.hit(payer, now.mono):
            return Refuse(429, b"", {"Retry-After": "10"})
        if request.host == "wsapi-push.kucoin.com":
            return UnifiedPeer(self.state, now)
        if token is not None and token.spot is not (request.host == "ws-api-spot.kucoin.com"):
            token = None
        return ClassicPeer(self.state, token, query.get("connectId", [""])[0], now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name == "maintenance":
            self.state.closed_until = now.mono + float(signal.params.get("seconds", MAINTENANCE_S))
        elif signal.name in ("expire_token", "key_changed"):
            self.state.tokens.forget(signal.account)


HALF = KuCoin
