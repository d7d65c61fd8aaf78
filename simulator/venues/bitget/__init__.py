"""Bitget as a simulator half: spot, USDT/USDC and coin futures, classic (v2) and unified (v3) accounts.

An account whose API key begins with `unified` is a unified account; every other one is classic. A key that begins with
`blind` may not read the account's settings. Cases of `play`, by `what`:

`mode`      the account changes its mode to `mode` (`unified`, `hybrid`, `upgrading`, `switching`, `classic`); no socket is
            closed, the old one stays silent
`units`     sizes of inverse perpetuals are told by `units`: `contracts` (as live), `coins` (the value), `base` (all of it)
`state`     the contract `symbol` has the state `state` in the lists (`limit_open`, `off`, …)
`doubt`     pushes of forced orders don't say that they are; the REST rows do (`on` = no: not any more)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from exchanges._venue import Rate
from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.bitget._peer import PrivatePeer, PublicPeer
from simulator.venues.bitget._peer_modern import ModernPeer
from simulator.venues.bitget._rest import Rest
from simulator.venues.bitget._state import State
from simulator.venues.bitget._symbols import markets

CONNECTS: Final = Rate(300, 300.0)
MAINTENANCE_S: Final = 5.0
PATHS: Final = frozenset({"/v2/ws/public", "/v2/ws/private", "/v3/ws/public", "/v3/ws/private"})
WS_HOSTS: Final = frozenset({"ws.bitget.com", "wspap.bitget.com"})


class Bitget(VenueHalf):
    """Satisfies `VenueHalf`."""

    name = "bitget"
    hosts = WS_HOSTS | {"api.bitget.com"}
    sockets = ("/v2/ws/private", "/v2/ws/public", "/v3/ws/private")
    rejections: Mapping[str, tuple[str, ...]] = {"": ("40006", "40018", "40037")}
    unheard = (b'{"event":"nobodyKnows"}', b'{"arg":{"channel":"nobody-knows"},"data":[{"x":"1"}]}')

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        path = request.path.rstrip("/")
        if request.host not in WS_HOSTS or path not in PATHS:
            return Refuse(404)
        if self.state.closed_until > now.mono:
            return Refuse(503)
        if self.state.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429, b"", {"Retry-After": "60"})
        if path.endswith("/public"):
            return ModernPeer(self.state, now) if path.startswith("/v3/") else PublicPeer(self.state, now)
        return PrivatePeer(self.state, 3 if path.startswith("/v3/") else 2, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name == "maintenance":
            self.state.closed_until = now.mono + float(signal.params.get("seconds", MAINTENANCE_S))
        if signal.name == "play":
            self._play(signal)

    def _play(self, signal: Signal) -> None:
        what, params = signal.params.get("what", ""), signal.params
        if what == "mode":
            self.state.modes[signal.account] = params["mode"]
        elif what == "units":
            self.state.units = params["units"]
        elif what == "state":
            self.state.states[params["symbol"]] = params["state"]
        elif what == "doubt":
            self.state.doubt = params.get("on") != "no"


HALF = Bitget
