"""Binance spot, USD-M, COIN-M and Binance.US as a simulator half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from simulator._peer import PerAddress
from simulator._values import Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, World
from simulator.engine import Account
from simulator.venues.binance import _rest
from simulator.venues.binance._errors import Failure
from simulator.venues.binance._keys import ListenKeys
from simulator.venues.binance._profiles import (
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
from simulator.venues.binance._stream import StreamPeer
from simulator.venues.binance._tickers import TickerFrames
from simulator.venues.binance._weights import Weights
from simulator.venues.binance._ws_api import WsApiPeer

CONNECT_WEIGHT = 2
"""Request weight of opening a WebSocket API connection."""


class Binance:
    """All four markets. Accounts of this venue have a wallet on each."""

    name = "binance"
    hosts = HOSTS
    sockets = ("/ws-api/v3", "/stream", "/ws", "/market/stream", "/private/ws")

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = ListenKeys(world.random, world.settings.listen_key_s)
        self.weights = Weights(enforced=world.settings.limits)
        self.tickers = TickerFrames()
        self._connects = PerAddress(CONNECTS)
        self._wires: dict[tuple[str, str], str] = {}

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        made = markets(coins)
        self._wires = {(m.exchange, symbol.wire.lower()): symbol.wire for m in made for symbol in m.symbols}
        return made

    def wire_of(self, exchange: str, lower: str) -> str | None:
        """The symbol of a lower-case name in a stream name."""
        return self._wires.get((exchange, lower))

    # --- HTTP ---

    def rest(self, request: Request, now: Instant) -> Reply:
        profile = rest_profile(request.host, request.path)
        if profile is None:
            return Reply(404, b"", {})
        return _rest.answer(self, profile, request, now)

    def perform(
        self,
        profile: Profile,
        method: str,
        path: str,
        params: dict[str, str],
        account: Account | None,
        remote: str,
        now: Instant,
    ) -> Any:
        """A call that came over the WebSocket API; `path` is relative to the market's prefix. Raises `Failure`."""
        return _rest.perform(self, profile, method, path, params, account, remote, now)

    # --- WebSocket ---

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        profile = SPOT if request.host in WS_API_HOSTS else stream_profile(request.host)
        if profile is None:
            return Refuse(404)
        if self.world.settings.limits and not self._connects.hit(f"{profile.pool} {request.remote}", now.mono):
            return Refuse(429, b"", {"Retry-After": "300"})
        if request.host in WS_API_HOSTS:
            return self._ws_api(request, now)
        return self._stream(profile, request, now)

    def _ws_api(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.path.rstrip("/") != "/ws-api/v3":
            return Refuse(404)
        try:
            self.weights.spend(SPOT, request.remote, CONNECT_WEIGHT, now)
        except Failure as failure:
            return Refuse(failure.status, failure.body(), {"Retry-After": str(failure.retry_after_s)})
        return WsApiPeer(self, request, now)

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
        return StreamPeer(self, profile, section, combined=combined, names=names, now=now)

    def signal(self, signal: Signal, now: Instant) -> None:
        if signal.name in {"expire_token", "key_changed"}:
            self.keys.expire(signal.account, now.mono)


HALF = Binance
