"""Kraken as a simulator half: spot (WebSocket v2) and futures (WebSocket v1); the demo of the futures is gone."""

# Hooks have the signature of `VenueHalf` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from exchanges._adapter import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market, Quote, Tick
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.venues.kraken import _futures_frames, _spot_frames
from simulator.venues.kraken._auth import Nonces, Tokens
from simulator.venues.kraken._futures_peer import FuturesPeer
from simulator.venues.kraken._futures_rest import FuturesRest
from simulator.venues.kraken._spot_peer import PrivatePeer, PublicPeer
from simulator.venues.kraken._spot_rest import SpotRest
from simulator.venues.kraken._symbols import SPOT, markets

CONNECTS: Final = Rate(150, 600.0)
"""Connection attempts per address; more are turned away for a while."""
BAN_S: Final = 600
MAX_FUTURES: Final = 100
"""Open futures connections."""
_FUTURES_HOST: Final = "futures.kraken.com"
_DEMO_HOST: Final = "demo-futures.kraken.com"
_GONE: Final = {"Location": "https://www.kraken.com/"}
"""The demo was retired on 2026-07-14: its host sends everybody elsewhere."""
_KEEP: Final = 8
"""Rendered ticks kept: all connections ask for the same one in a row."""


class Kraken:
    """Satisfies `VenueHalf`."""

    name = "kraken"
    hosts = frozenset({_FUTURES_HOST, _DEMO_HOST, "api.kraken.com", "ws.kraken.com", "ws-auth.kraken.com"})
    sockets = ("/v2", "/ws/v1")

    def __init__(self, world: World) -> None:
        self.world = world
        self.nonces = Nonces()
        self.tokens = Tokens(world)
        self.tickers = TickerFrames()
        self._spot = SpotRest(self)
        self._futures = FuturesRest(self)
        self._connects = PerAddress(CONNECTS)
        self._open_futures = 0

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        if request.host == _DEMO_HOST:
            return Reply(301, b"", _GONE)
        if request.host == "api.kraken.com":
            return self._spot.answer(request, now)
        return self._futures.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host == _DEMO_HOST:
            return Refuse(301, b"", _GONE)
        path, futures = request.path.rstrip("/"), request.host == _FUTURES_HOST
        if request.host == "api.kraken.com" or path != ("/ws/v1" if futures else "/v2"):
            return Refuse(404)
        limits = self.world.settings.limits
        if limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"error code: 1015", {"Retry-After": str(BAN_S)})
        if futures:
            if limits and self._open_futures >= MAX_FUTURES:
                return Refuse(429, b"too many connections", {"Retry-After": "10"})
            self._open_futures += 1
            return FuturesPeer(self, now)
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
        """Wire symbol → frame."""
        key = (tick.exchange, tick.number)
        known = self._rendered.get(key)
        if known is None:
            make: Callable[[Quote], Any] = _spot_ticker if tick.exchange == SPOT else _futures_frames.ticker
            known = {quote.symbol.wire: msgspec.json.encode(make(quote)) for quote in tick.quotes}
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known


def _spot_ticker(quote: Quote) -> dict[str, Any]:
    return {"channel": "ticker", "type": "update", "data": [_spot_frames.ticker_row(quote)]}


HALF = Kraken
