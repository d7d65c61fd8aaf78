"""Bitget as a simulator half: spot, USDT/USDC and coin futures, classic (v2) and unified (v3) accounts.

An account whose API key begins with `unified` is a unified account; every other one is classic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from exchanges._adapter import Rate
from simulator._peer import PerAddress, Window
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.venues.bitget import _rest
from simulator.venues.bitget._frames import Tickers
from simulator.venues.bitget._peer import PrivatePeer, PublicPeer
from simulator.venues.bitget._symbols import markets

CONNECTS: Final = Rate(300, 300.0)
MAINTENANCE_S: Final = 5.0
WS_HOSTS: Final = frozenset({"ws.bitget.com", "wspap.bitget.com"})


class Bitget:
    """Satisfies `VenueHalf`."""

    name = "bitget"
    hosts = WS_HOSTS | {"api.bitget.com"}

    def __init__(self, world: World) -> None:
        self.world = world
        self.tickers = Tickers()
        self.closed_until = 0.0
        """Monotonic end of a maintenance."""
        self._connects = PerAddress(CONNECTS)
        self._calls: dict[tuple[str, str], Window] = {}

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def allow(self, path: str, payer: str, per_second: int, now: Instant) -> bool:
        """Count a REST call against the allowance of its path and user (public: address)."""
        if not self.world.settings.limits:
            return True
        return self._calls.setdefault((path, payer), Window(Rate(per_second, 1.0))).hit(now.mono)

    def rest(self, request: Request, now: Instant) -> Reply:
        return _rest.answer(self, request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        path = request.path.rstrip("/")
        if request.host not in WS_HOSTS or path not in ("/v2/ws/public", "/v2/ws/private", "/v3/ws/private"):
            return Refuse(404)
        if self.closed_until > now.mono:
            return Refuse(503)
        if self.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"", {"Retry-After": "60"})
        if path.endswith("/public"):
            return PublicPeer(self, now)
        return PrivatePeer(self, 3 if path.startswith("/v3/") else 2, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name == "maintenance":
            self.closed_until = now.mono + float(signal.params.get("seconds", MAINTENANCE_S))


HALF = Bitget
