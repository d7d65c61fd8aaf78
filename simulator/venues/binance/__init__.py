"""Binance spot, USD-M, COIN-M and Binance.US as a simulator half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, unquote

from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.venues.binance._auth import Failure
from simulator.venues.binance._peer_stream import StreamPeer
from simulator.venues.binance._peer_ws_api import WsApiPeer
from simulator.venues.binance._rest import Rest
from simulator.venues.binance._state import State
from simulator.venues.binance._symbols import (
    CONNECTS,
    HOSTS,
    SPOT,
    USDM,
    WS_API_HOSTS,
    Profile,
    markets,
    rest_profile,
    stream_profile,
)

CONNECT_WEIGHT = 2
"""Request weight of opening a WebSocket API connection."""


class Binance(VenueHalf):
    """All four markets. Accounts of this venue have a wallet on each."""

    name = "binance"
    hosts = HOSTS
    sockets = ("/ws-api/v3", "/stream", "/ws", "/market/stream", "/private/ws")
    rejections: Mapping[str, tuple[str, ...]] = {"": ("-2015", "-2014")}
    unheard = (b'{"subscriptionId":0,"event":{"e":"nobodyKnows","E":1}}', b'{"e":"NOBODY_KNOWS","E":1}')

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self.state.know(made)
        return made

    # --- HTTP ---

    def rest(self, request: Request, now: Instant) -> Reply:
        profile = rest_profile(request.host, request.path)
        if profile is None:
            return Reply(404, b"", {})
        return self._rest.answer(profile, request, now)

    # --- WebSocket ---

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        profile = SPOT if request.host in WS_API_HOSTS else stream_profile(request.host)
        if profile is None:
            return Refuse(404)
        if self.state.world.settings.limits and not self._connects.hit(f"{profile.pool} {request.remote}", now.mono):
            return Refuse(429, b"", {"Retry-After": "300"})
        if request.host in WS_API_HOSTS:
            return self._ws_api(request, now)
        return self._stream(profile, request, now)

    def _ws_api(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.path.rstrip("/") != "/ws-api/v3":
            return Refuse(404)
        try:
            self.state.weights.spend(SPOT, request.remote, CONNECT_WEIGHT, now)
        except Failure as failure:
            return Refuse(failure.status, failure.body(), {"Retry-After": str(failure.retry_after_s)})
        return WsApiPeer(self.state, request, now)

    def _stream(self, profile: Profile, request: Request, now: Instant) -> Peer | Refuse:
        """`/ws`, `/ws/<name>`, `/stream?streams=a/b`, and the same behind `/public`, `/market`, `/private` on USD-M."""
        parts = [unquote(part) for part in request.path.split("/") if part]
        section = ""
        if profile is USDM and parts and parts[0] in {"public", "market", "private"}:
            section = parts.pop(0)
        if not parts or parts[0] not in {"ws", "stream"}:
            return Refuse(404)
        combined = parts[0] == "stream"
        query = parse_qs(request.query)
        names = (
            [name for text in query.get("streams", []) for name in text.split("/") if name] if combined else parts[1:]
        )
        names += query.get("listenKey", [])
        return StreamPeer(self.state, profile, section, combined=combined, names=names, now=now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name in {"expire_token", "key_changed"}:
            self.state.keys.expire(signal.account, now.mono)


HALF = Binance
