"""Bybit v5 (spot, linear, inverse; unified account) as a simulator half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.bybit._peer import PrivatePeer, PublicPeer
from simulator.venues.bybit._rest import Rest
from simulator.venues.bybit._state import State
from simulator.venues.bybit._symbols import (
    CONNECTS,
    EXCHANGES,
    HOST_SITES,
    REST_HOSTS,
    STREAM_HOSTS,
    markets,
)

_PUBLIC = "/v5/public/"


class Bybit(VenueHalf):
    """All three markets and one unified wallet. Test network and regions answer like the main site."""

    name = "bybit"
    hosts = STREAM_HOSTS | REST_HOSTS
    sockets = ("/v5/private", "/v5/public/linear")
    rejections: Mapping[str, tuple[str, ...]] = {"": ("10003", "33004")}
    unheard = (b'{"topic":"nobody.knows","data":[{"x":1}]}',)
    uuid_order_ids = True

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        if request.host not in REST_HOSTS:
            return Reply(404, b"404 page not found", {})
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host not in STREAM_HOSTS:
            return Refuse(404)
        limits = self.state.world.settings.limits
        if limits and not self._connects.hit(f"{request.host} {request.remote}", now.mono):
            return Refuse(403, b"access too frequent")
        if (site := HOST_SITES.get(request.host)) is not None and request.headers.get(site[0]) != site[1]:
            return Refuse(403, b"site id is missing")
        if request.path == "/v5/private":
            return PrivatePeer(self.state, request, now)
        category = request.path.removeprefix(_PUBLIC)
        if request.path.startswith(_PUBLIC) and category in EXCHANGES:
            return PublicPeer(self.state, category, now)
        return Refuse(404)

    def corporate_action(self, account: str, exchange: str, wire: str, now: Instant) -> str:
        """A split or dividend of a listed stock changes a position: an execution without an order. Returns its id."""
        number = len(self.state.no_orders.setdefault(account, []))
        order_id = f"ca-{number}"
        row = {"symbol": wire, "orderId": order_id, "orderLinkId": "", "execType": "CorporateAction"}
        self.state.no_orders[account].append({**row, "exchange": exchange, "execTime": str(now.wall_ms)})
        return order_id

    def signal(self, signal: Signal, now: Instant) -> None:
        """Nothing is kept that a signal would end."""


HALF = Bybit
