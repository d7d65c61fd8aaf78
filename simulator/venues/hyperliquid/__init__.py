"""Hyperliquid as a simulator half: spot, native perps, two builder dexes; live network and testnet play the same world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import ApiKey, Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.signing import sha256
from simulator.venues.hyperliquid._peer import HyperliquidPeer
from simulator.venues.hyperliquid._rest import Rest
from simulator.venues.hyperliquid._state import State
from simulator.venues.hyperliquid._symbols import markets

CONNECTS: Final = Rate(30, 60.0)
"""New connections per address."""


class Hyperliquid(VenueHalf):
    """A key is an account's address. A refused one is that of an API wallet (`agent`), or of nobody (`missing`)."""

    name = "hyperliquid"
    replaces = True
    hosts = frozenset({"api.hyperliquid.xyz", "api.hyperliquid-testnet.xyz"})
    sockets = ("/ws",)
    rejections: Mapping[str, tuple[str, ...]] = {"": ("missing", "agent")}
    unheard = (b'{"channel":"nobodyKnows","data":[{"x":1}]}',)
    hex_client_ids = True

    @classmethod
    def demo_key(cls) -> ApiKey:
        """The account's address; there is no secret."""
        return ApiKey(key=f"0x{sha256(b'demo').hex()[:40]}", secret="")

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.path.rstrip("/") != "/ws":
            return Refuse(404)
        if self.state.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429)
        return HyperliquidPeer(self.state, request.remote, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        """There are no tokens to forget; the peers do what a signal asks for."""


HALF = Hyperliquid
