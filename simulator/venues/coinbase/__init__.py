"""Coinbase Advanced Trade (spot) as a simulator half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulator._peer import PerAddress
from simulator._values import ApiKey, Coin, Market
from simulator._venue import Instant, Peer, Refuse, Reply, Request, Signal, VenueHalf, World
from simulator.signing import kind_of, sha256
from simulator.venues.coinbase._peer import CoinbasePeer
from simulator.venues.coinbase._rest import Rest
from simulator.venues.coinbase._state import State
from simulator.venues.coinbase._symbols import (
    CONNECTS,
    MARKET_HOSTS,
    REST_HOSTS,
    USER_HOSTS,
    markets,
)


class Coinbase(VenueHalf):
    """One market. Keys are CDP keys (a PEM or a base64 Ed25519 seed as secret) or legacy keys (any other secret)."""

    name = "coinbase"
    hosts = MARKET_HOSTS | USER_HOSTS | REST_HOSTS
    sockets = ("/",)
    rejections: Mapping[str, tuple[str, ...]] = {"": ("401",)}
    unheard = (b'{"channel":"nobody-knows","sequence_num":1,"events":[{"x":1}]}',)
    uuid_order_ids = True

    @classmethod
    def demo_key(cls) -> ApiKey:
        """Cloud keys are P-256 keys; this one follows from the venue's name and guards nothing."""
        number = int.from_bytes(sha256(b"demo coinbase")) >> 1
        private = ec.derive_private_key(number, ec.SECP256R1())
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        return ApiKey(key="organizations/demo/apiKeys/demo", secret=pem, kind=kind_of(pem))

    def __init__(self, world: World) -> None:
        self.state = State(world)
        self._rest = Rest(self.state)
        self._connects = PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        return markets(coins)

    def rest(self, request: Request, now: Instant) -> Reply:
        if request.host not in REST_HOSTS:
            return Reply(404, b"<html>Not Found</html>", {"Content-Type": "text/html"})
        return self._rest.answer(request, now)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if request.host in REST_HOSTS or request.path.strip("/"):
            return Refuse(404)
        if self.state.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429)
        return CoinbasePeer(self.state, request, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        """Nothing is kept that a signal would end."""


HALF = Coinbase
