"""WhiteBIT as a simulator half: spot and USDT perpetuals on one host, one key and one kind of socket."""

# Hooks have the signature of `VenueHalf` whether they need every argument or not.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.whitebit._peer import WhitebitPeer
from simulator.venues.whitebit._rest import Rest
from simulator.venues.whitebit._state import State
from simulator.venues.whitebit._symbols import markets

REST_HOSTS: Final = frozenset({"whitebit.com", "whitebit.eu"})
WS_HOSTS: Final = frozenset({"api.whitebit.com", "api.whitebit.eu"})
CONNECTS: Final = Rate(1_000, 60.0)
MAINTENANCE_S: Final = 5.0


class Whitebit(VenueHalf):
    """Satisfies `VenueHalf`."""

    name = "whitebit"
    hosts = REST_HOSTS | WS_HOSTS
    sockets = ("/ws",)
    rejections: Mapping[str, tuple[str, ...]] = {"": ("2", "4", "30")}
    unheard = (b'{"id":null,"method":"nobodyKnows_update","params":[{"x":1}]}',)
    replaces = True
    """A modify ends the order and makes one of another id under the same client id."""

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now) if request.host in REST_HOSTS else Reply(404, b"not found", {})

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host not in WS_HOSTS or request.path.rstrip("/") != "/ws":
            return Refuse(404)
        if self.state.closed(now):
            return Refuse(503)
        if self.state.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"Too many requests.")
        return WhitebitPeer(self.state, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name == "maintenance":
            self.state.closed_until = now.mono + float(signal.params.get("seconds", MAINTENANCE_S))
        elif signal.name in ("expire_token", "key_changed"):
            self.state.tokens.forget(signal.account)


HALF = Whitebit
