"""OKX v5 as a simulator half: spot, linear swaps with X-Perps, inverse swaps, on all three sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.okx._peer import OkxPeer
from simulator.venues.okx._rest import Rest
from simulator.venues.okx._state import State
from simulator.venues.okx._symbols import markets

CONNECTS: Final = Rate(3, 1.0)
"""New connections per address."""
_WS_HOSTS: Final = frozenset(f"{name}.okx.com" for name in ("ws", "wspap", "wseea", "wseeapap", "wsus", "wsuspap"))
_REST_HOSTS: Final = frozenset(f"{name}.okx.com" for name in ("openapi", "www", "my", "eea", "us", "app"))
_SERVICES: Final = {f"/ws/v5/{name}": name for name in ("public", "private", "business")}


class Okx(VenueHalf):
    """All sites play the same world: a key works on each of them."""

    name = "okx"
    hosts = _WS_HOSTS | _REST_HOSTS
    plain_client_ids = True
    sockets = ("/ws/v5/private", "/ws/v5/public")
    rejections: Mapping[str, tuple[str, ...]] = {"": ("50111", "60005")}
    unheard = (b'{"arg":{"channel":"nobody-knows"},"data":[{"x":"1"}]}',)

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)
        self._opened = 0

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self.state.know(made)
        return made

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        service = _SERVICES.get(request.path.rstrip("/"))
        if service is None or request.host not in _WS_HOSTS:
            return Refuse(404)
        if self.state.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"", {"Retry-After": "1"})
        self._opened += 1
        return OkxPeer(self.state, service, f"{self._opened:08x}", now)

    def signal(self, signal: Signal, now: Instant) -> None:
        """There are no tokens to forget; the peers do what a signal asks for."""


HALF = Okx
