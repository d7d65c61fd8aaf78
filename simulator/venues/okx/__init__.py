"""OKX v5 as a simulator half: spot, linear swaps with X-Perps, inverse swaps, on all three sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market, Quote, Symbol, Tick
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.venues.okx._frames import ticker_row
from simulator.venues.okx._markets import markets
from simulator.venues.okx._peer import OkxPeer
from simulator.venues.okx._rest import Rest

CONNECTS: Final = Rate(3, 1.0)
"""New connections per address."""
_WS_HOSTS: Final = frozenset(f"{name}.okx.com" for name in ("ws", "wspap", "wseea", "wseeapap", "wsus", "wsuspap"))
_REST_HOSTS: Final = frozenset(f"{name}.okx.com" for name in ("openapi", "www", "my", "eea", "us", "app"))
_SERVICES: Final = {f"/ws/v5/{name}": name for name in ("public", "private", "business")}
_KEEP: Final = 8
"""Rendered ticks kept: all connections ask for the same one in a row."""


class Okx:
    """All sites play the same world: a key works on each of them."""

    name = "okx"
    hosts = _WS_HOSTS | _REST_HOSTS
    plain_client_ids = True
    sockets = ("/ws/v5/private", "/ws/v5/public")

    def __init__(self, world: World) -> None:
        self.world = world
        self.tickers = TickerFrames()
        self._rest = Rest(self)
        self._connects = PerAddress(CONNECTS)
        self._members: dict[tuple[str, str], set[int]] = {}
        self._symbols: dict[str, tuple[str, Symbol]] = {}
        self._opened = 0

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self._symbols = {symbol.wire: (market.exchange, symbol) for market in made for symbol in market.symbols}
        return made

    def symbol(self, wire: str) -> tuple[str, Symbol] | None:
        """Exchange id and symbol of an instrument id that is listed now."""
        found = self._symbols.get(wire)
        return found if found is not None and self.world.markets.symbol(found[0], wire) is not None else None

    def join_channel(self, account: str, channel: str, peer: OkxPeer) -> int:
        """One more connection on a private channel of an account; returns how many there are."""
        members = self._members.setdefault((account, channel), set())
        members.add(id(peer))
        return len(members)

    def leave_channel(self, account: str, channel: str, peer: OkxPeer) -> None:
        self._members.get((account, channel), set()).discard(id(peer))

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        service = _SERVICES.get(request.path.rstrip("/"))
        if service is None or request.host not in _WS_HOSTS:
            return Refuse(404)
        if self.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"", {"Retry-After": "1"})
        self._opened += 1
        return OkxPeer(self, service, f"{self._opened:08x}", now)

    def signal(self, signal: Signal, now: Instant) -> None:
        """There are no tokens to forget; the peers do what a signal asks for."""


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections."""

    def __init__(self) -> None:
        self._rendered: dict[tuple[str, int], dict[str, bytes]] = {}

    def frames(self, tick: Tick) -> dict[str, bytes]:
        """Instrument id → frame."""
        key = (tick.exchange, tick.number)
        known = self._rendered.get(key)
        if known is None:
            known = {quote.symbol.wire: self.frame(quote) for quote in tick.quotes}
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known

    @staticmethod
    def frame(quote: Quote) -> bytes:
        arg = {"channel": "tickers", "instId": quote.symbol.wire}
        return msgspec.json.encode({"arg": arg, "data": [ticker_row(quote)]})


HALF = Okx
