"""Bybit v5 (spot, linear, inverse; unified account) as a simulator half."""

from __future__ import annotations

from collections.abc import Sequence

from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.venues.bybit import _rest
from simulator.venues.bybit._peers import PrivatePeer, PublicPeer
from simulator.venues.bybit._profiles import (
    CONNECTS,
    EXCHANGES,
    HOST_SITES,
    REST_HOSTS,
    REST_PER_ACCOUNT,
    REST_PER_ADDRESS,
    STREAM_HOSTS,
    markets,
)

_PUBLIC = "/v5/public/"


class Bybit:
    """All three markets and one unified wallet. Test network and regions answer like the main site."""

    name = "bybit"
    hosts = STREAM_HOSTS | REST_HOSTS
    sockets = ("/v5/private", "/v5/public/linear")

    def __init__(self, world: World) -> None:
        self.world = world
        self.modes: dict[str, int] = {}
        """`unifiedMarginStatus` by account, where it is not 6."""
        self.no_orders: dict[str, list[dict[str, str]]] = {}
        """Executions behind which there is no order, by account."""
        self.rest_calls = PerAddress(REST_PER_ADDRESS)
        self.account_calls = PerAddress(REST_PER_ACCOUNT)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        if request.host not in REST_HOSTS:
            return Reply(404, b"404 page not found", {})
        return _rest.answer(self, request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host not in STREAM_HOSTS:
            return Refuse(404)
        limits = self.world.settings.limits
        if limits and not self._connects.hit(f"{request.host} {request.remote}", now.mono):
            return Refuse(403, b"access too frequent")
        if (site := HOST_SITES.get(request.host)) is not None and request.headers.get(site[0]) != site[1]:
            return Refuse(403, b"site id is missing")
        if request.path == "/v5/private":
            return PrivatePeer(self, request, now)
        category = request.path.removeprefix(_PUBLIC)
        if request.path.startswith(_PUBLIC) and category in EXCHANGES:
            return PublicPeer(self, category, now)
        return Refuse(404)

    def corporate_action(self, account: str, exchange: str, wire: str, now: Instant) -> str:
        """A split or dividend of a listed stock changes a position: an execution without an order. Returns its id."""
        number = len(self.no_orders.setdefault(account, []))
        order_id = f"ca-{number}"
        row = {"symbol": wire, "orderId": order_id, "orderLinkId": "", "execType": "CorporateAction"}
        self.no_orders[account].append({**row, "exchange": exchange, "execTime": str(now.wall_ms)})
        return order_id

    def signal(self, signal: Signal, now: Instant) -> None:
        """Nothing is kept that a signal would end."""


HALF = Bybit
