"""Kraken as a simulator half: spot (WebSocket v2), futures (WebSocket v1, until its end) and the unified WebSocket.

The demo of the futures is gone. A key is of one kind: it opens spot and the unified socket, or the classic futures.
"""

# Hooks have the signature of `VenueHalf` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from exchanges._adapter import Rate
from simulator._peer import PerAddress
from simulator._values import ApiKey, Coin, Market, Quote, Tick
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.venues.kraken import _futures_frames, _spot_frames
from simulator.venues.kraken._auth import DERIVATIVES_KEY, Nonces, Tokens
from simulator.venues.kraken._futures_peer import FuturesPeer
from simulator.venues.kraken._futures_rest import FuturesRest
from simulator.venues.kraken._spot_peer import PrivatePeer, PublicPeer
from simulator.venues.kraken._spot_rest import SpotRest
from simulator.venues.kraken._symbols import SPOT, markets
from simulator.venues.kraken._unified_peer import UnifiedPrivatePeer, UnifiedPublicPeer

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
_KEEP: Final = 8
"""Rendered ticks kept: all connections ask for the same one in a row."""


class Kraken:
    """Satisfies `VenueHalf`."""

    name = "kraken"
    hosts = frozenset(
        {_FUTURES_HOST, _DEMO_HOST, "api.kraken.com", "ws.kraken.com", "ws-auth.kraken.com", _UNIFIED_HOST}
    )
    sockets = ("/v2", "/ws/v1", "/v2/public", "/v2/private")

    @staticmethod
    def demo_key() -> ApiKey:
        """The venue gives out its secrets in base64."""
        return ApiKey(key="demo-kraken-key", secret=b64encode(b"demo-kraken-secret").decode())

    def __init__(self, world: World) -> None:
        self.world = world
        self.nonces = Nonces()
        self.tokens = Tokens(world)
        self.tickers = TickerFrames()
        self._spot = SpotRest(self)
        self._futures = FuturesRest(self)
        self._connects = PerAddress(CONNECTS)
        self._open_futures = 0
        self.classic_end_ms = CLASSIC_END_MS
        self.unified_connections = 0
        """How many private ones there were: they differ in turns in what no page tells."""

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
        limits = self.world.settings.limits
        if limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"error code: 1015", {"Retry-After": str(BAN_S)})
        if futures:
            if limits and self._open_futures >= MAX_FUTURES:
                return Refuse(429, b"too many connections", {"Retry-After": "10"})
            self._open_futures += 1
            return FuturesPeer(self, now)
        if request.host == _UNIFIED_HOST:
            return UnifiedPublicPeer(self, now) if path == "/v2/public" else UnifiedPrivatePeer(self, now)
        return PublicPeer(self, now) if request.host == "ws.kraken.com" else PrivatePeer(self, now)

    def futures_closed(self) -> None:
        """A futures connection is gone."""
        self._open_futures -= 1

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name in ("expire_token", "key_changed"):
            self.tokens.forget(signal.account)


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections."""

    def __init__(self) -> None:
        self._rendered: dict[tuple[str, int], dict[str, bytes]] = {}

    def frames(self, tick: Tick) -> dict[str, bytes]:
        """Wire symbol → frame of spot, or of the classic futures."""
        return self._frames(tick, tick.exchange, _spot_ticker if tick.exchange == SPOT else _futures_frames.ticker)

    def unified(self, tick: Tick) -> dict[str, bytes]:
        """Wire symbol → frame of the unified socket."""
        return self._frames(tick, f"unified {tick.exchange}", _spot_ticker)

    def _frames(self, tick: Tick, name: str, make: Callable[[Quote], Any]) -> dict[str, bytes]:
        key = (name, tick.number)
        known = self._rendered.get(key)
        if known is None:
            known = {quote.symbol.wire: msgspec.json.encode(make(quote)) for quote in tick.quotes}
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known


def _spot_ticker(quote: Quote) -> dict[str, Any]:
    return {"channel": "ticker", "type": "update", "data": [_spot_frames.ticker_row(quote)]}


HALF = Kraken
