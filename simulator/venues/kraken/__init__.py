"""Kraken as a simulator half: spot (WebSocket v2), futures (WebSocket v1, until its end) and the unified WebSocket.

The demo of the futures is gone. A key is of one kind: it opens spot and the unified socket, or the classic futures.
"""

# Hooks have the signature of `VenueHalf` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import ApiKey, Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.kraken._auth import DERIVATIVES_KEY
from simulator.venues.kraken._peer_futures import FuturesPeer
from simulator.venues.kraken._peer_spot import PrivatePeer, PublicPeer
from simulator.venues.kraken._peer_unified import UnifiedPrivatePeer, UnifiedPublicPeer
from simulator.venues.kraken._rest_futures import FuturesRest
from simulator.venues.kraken._rest_spot import SpotRest
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import markets

__all__ = ["DERIVATIVES_KEY", "HALF"]

CONNECTS: Final = Rate(150, 600.0)
"""Connection attempts per address; more are turned away for a while."""
BAN_S: Final = 600
MAX_FUTURES: Final = 100
"""Open futures connections."""
_FUTURES_HOST: Final = "futures.kraken.com"
_UNIFIED_HOST: Final = "uws.kraken.com"
CLASSIC_END_MS: Final = 1_803_859_200_000
"""2027-03-01 00:00 UTC: the futures hosts answer nobody from then on."""
_DEMO_HOST: Final = "demo-futures.kraken.com"
_PATHS: Final = {
    _FUTURES_HOST: ("/ws/v1",),
    _UNIFIED_HOST: ("/v2/public", "/v2/private"),
    "ws.kraken.com": ("/v2",),
    "ws-auth.kraken.com": ("/v2",),
}
_GONE: Final = {"Location": "https://www.kraken.com/"}
"""The demo was retired on 2026-07-14: its host sends everybody elsewhere."""


class Kraken(VenueHalf):
    """Satisfies `VenueHalf`."""

    name = "kraken"
    hosts = frozenset(
        {_FUTURES_HOST, _DEMO_HOST, "api.kraken.com", "ws.kraken.com", "ws-auth.kraken.com", _UNIFIED_HOST}
    )
    sockets = ("/v2", "/ws/v1", "/v2/public", "/v2/private")
    rejections: Mapping[str, tuple[str, ...]] = {
        "kraken": ("EAPI:Invalid key", "EGeneral:Permission denied"),
        "krakenUsdm": ("EAPI:Invalid key", "authenticationError"),
    }
    unheard = (b'{"channel":"nobody-knows","data":[{"x":1}]}', b'{"feed":"nobody_knows","x":1}')
    uuid_order_ids = True

    @classmethod
    def demo_key(cls) -> ApiKey:
        """The venue gives out its secrets in base64."""
        return ApiKey(key="demo-kraken-key", secret=b64encode(b"demo-kraken-secret").decode())

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._spot = SpotRest(self.state)
        self._futures = FuturesRest(self.state)
        self._connects = PerAddress(CONNECTS)
        self.classic_end_ms = CLASSIC_END_MS

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        if request.host == _DEMO_HOST:
            return Reply(301, b"", _GONE)
        if request.host == _FUTURES_HOST and now.wall_ms >= self.classic_end_ms:
            return Reply(410, b"Gone", {})
        if request.host == "api.kraken.com":
            return self._spot.answer(request, now)
        return self._futures.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host == _DEMO_HOST:
            return Refuse(301, b"", _GONE)
        path, futures = request.path.rstrip("/"), request.host == _FUTURES_HOST
        if futures and now.wall_ms >= self.classic_end_ms:
            return Refuse(410, b"Gone")
        if path not in _PATHS.get(request.host, ()):
            return Refuse(404)
        limits = self.state.world.settings.limits
        if limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"error code: 1015", {"Retry-After": str(BAN_S)})
        if futures:
            if limits and self.state.open_futures >= MAX_FUTURES:
                return Refuse(429, b"too many connections", {"Retry-After": "10"})
            self.state.open_futures += 1
            return FuturesPeer(self.state, now)
        if request.host == _UNIFIED_HOST:
            return UnifiedPublicPeer(self.state, now) if path == "/v2/public" else UnifiedPrivatePeer(self.state, now)
        return PublicPeer(self.state, now) if request.host == "ws.kraken.com" else PrivatePeer(self.state, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name in ("expire_token", "key_changed"):
            self.state.tokens.forget(signal.account)


HALF = Kraken
