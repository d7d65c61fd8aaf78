"""What a venue half is: the pure server side of one exchange family.

Adding a venue
--------------
1. Write `simulator/venues/<venue>.py` (or a package of that name when it grows beyond 400 lines) with one class that
   satisfies `VenueHalf`, and bind it as `HALF = <the class>`. `simulator.venues.halves()` finds it by walking the folder; no
   other file changes. The class is called with the `World` and lives as long as the simulator.
2. `hosts` lists every host name that the venue has, without port; a request reaches the half when the first path segment
   behind the simulator's port, or the `Host` header, is one of them. `sockets` lists the paths of its WebSocket upgrades.
3. `markets(coins)` defines the symbols of each exchange id in the venue's own spelling.
4. `rest(request, now)` answers one HTTP request. `connect(request, now)` answers one WebSocket upgrade with a `Refuse` or a
   new *peer*: the server side of that connection, one object per connection, usually a subclass of
   `simulator._peer.BasePeer` (which brings server pings, lifetime cut, message-rate limit and the common signals).
5. A peer that has verified a login returns `Follow(account)` and `Noted("login", account)`; from then on it gets `changed()`
   for every order and wallet change of that account. A peer whose client subscribed prices returns `Watch(exchange)` or
   `Watch(exchange, symbol, interval)`; from then on it gets `ticked()` or `candle()`. For subscriptions of any kind also
   return `Noted("subscribe", topic)`, so that tests can count them.
6. Answers to client requests are marked `Frame(text, ack=True)` (the fault "delay acks" needs to know them).
7. Keys are looked up with `world.engine.find_key(venue name, key)`; signatures are checked with `simulator.signing`. Refuse
   with `ApiKey.rejected` (the venue's own error code) when that is not empty.
8. What differs from most venues is declared: the class derives from `VenueHalf` and sets those of its fields that have a
   default (`rejections`, `unheard`, `replaces`, `demo_key()` …). The demo and the shared tests read nothing else, and keep no
   list of venues.
9. The documented limits (connects, messages, streams, weights) are enforced only while `world.settings.limits` is true.

Rules: no I/O, no clock, no threads, no environment, no randomness other than `world.random`. Everything runs on the
simulator's one loop thread. `now` is the venue's clock: a clock-skew fault is already in `now.wall_ms`, so compare client
timestamps with it directly. Unit tests drive halves by calling these methods.

The engine (`simulator.engine.Engine`) as halves use it::

    engine.find_key(venue, key)                       -> (Account, ApiKey) | None
    engine.account(account_id)                        -> Account           .holdings(wallet) / .positions(exchange)
    engine.open_orders(account_id, exchange, symbol?) -> list[Order]       oldest first
    engine.orders(account_id, exchange, symbol?)      -> list[Order]       all that are remembered, oldest first
    engine.order(account_id, exchange, order_id=… | client_id=…) -> Order | None
    engine.trades(account_id, exchange, symbol?)      -> list[Trade]
    engine.place(account_id, exchange, NewOrder(…), now_ms) -> Order       raises Refused(reason)
    engine.cancel(account_id, exchange, order_id, now_ms, request_id="")   engine.amend(…)   raise Refused(reason)

The markets (`simulator.markets.Markets`)::

    markets.symbols(exchange) -> tuple[Symbol, …]   markets.symbol(exchange, wire) -> Symbol | None
    markets.quote(exchange, wire) -> Quote          markets.quotes(exchange) -> list[Quote]
    markets.candles(exchange, wire, interval, start_ms, end_ms, limit, now_ms) -> list[Candle]   oldest first, running last
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

import msgspec

from exchanges._adapter import Instant
from simulator._values import ApiKey, CandleUpdate, Change, Coin, Market, Tick

if TYPE_CHECKING:
    from simulator.engine import Engine
    from simulator.markets import Markets

__all__ = [
    "Close",
    "Effect",
    "Effects",
    "Follow",
    "Frame",
    "Instant",
    "Noted",
    "Peer",
    "Ping",
    "Pong",
    "Refuse",
    "Reply",
    "Request",
    "Signal",
    "Unfollow",
    "Unwatch",
    "VenueHalf",
    "Watch",
    "World",
    "WorldSettings",
    "json_reply",
]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request or WebSocket upgrade, with the gateway prefix taken off."""

    method: str
    host: str
    """One of the half's `hosts`, without port."""
    path: str
    """Still percent-encoded, as signed."""
    query: str = ""
    """Raw, without `?`."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    remote: str = "127.0.0.1"
    """Client address: limits count by it."""

    def params(self) -> dict[str, str]:
        """Decoded query parameters; the last of several equal names wins."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def form(self) -> dict[str, str]:
        """Decoded parameters of a form body; empty for any other body."""
        if "json" in self.headers.get("content-type", ""):
            return {}
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class Reply(msgspec.Struct, frozen=True):
    """Answer to an HTTP request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, msgspec.json.encode(value), {"Content-Type": "application/json", **(headers or {})})


class Refuse(msgspec.Struct, frozen=True):
    """A WebSocket upgrade is answered with this HTTP status instead of 101."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


# --- effects: what a peer wants done ---


class Frame(msgspec.Struct, frozen=True):
    """Send a text frame: `str`, or `bytes` that are UTF-8 already. `ack` marks answers to client requests."""

    data: str | bytes
    ack: bool = False
    binary: bool = False
    """Send as a binary frame."""


class Ping(msgspec.Struct, frozen=True):
    """Send a WebSocket ping control frame."""

    payload: bytes = b""


class Pong(msgspec.Struct, frozen=True):
    """Send a WebSocket pong control frame."""

    payload: bytes = b""


class Close(msgspec.Struct, frozen=True):
    """Close the connection politely; further effects of the same call are dropped."""

    code: int
    reason: str = ""


class Follow(msgspec.Struct, frozen=True):
    """Deliver the changes of this account to the peer."""

    account: str


class Unfollow(msgspec.Struct, frozen=True):
    account: str


class Watch(msgspec.Struct, frozen=True):
    """Deliver ticks of an exchange id (no symbol), or the candles of one symbol and canonical interval."""

    exchange: str
    symbol: str = ""
    interval: str = ""


class Unwatch(msgspec.Struct, frozen=True):
    exchange: str
    symbol: str = ""
    interval: str = ""


class Noted(msgspec.Struct, frozen=True):
    """For the statistics: `login`, `login_refused`, `subscribe`, `unsubscribe`, `limit` …, with the account or topic."""

    what: str
    detail: str = ""


Effect = Frame | Ping | Pong | Close | Follow | Unfollow | Watch | Unwatch | Noted
Effects = Sequence[Effect]


class Signal(msgspec.Struct, frozen=True):
    """Something happens to the venue on demand, from the control API.

    Common names, all implemented by `BasePeer` in the plainest way and worth overriding where the venue does better:

    `maintenance`        the venue announces a restart (Binance `serverShutdown`, OKX notice 64008 …), default: close 1001
    `cut`                the maximum age of the connection is reached now, default: close 1000
    `expire_token`       listen keys and tokens of the account end now (Binance: `listenKeyExpired`), default: nothing
    `key_changed`        the account's key was rejected or replaced (OKX closes 4007), default: nothing
    `terminate`          the venue ends the account's subscription but not the socket (Binance `eventStreamTerminated`)
    `play`               a case that only this venue has: `what` in the parameters, see the half's docstring
    """

    name: str
    account: str = ""
    params: Mapping[str, str] = msgspec.field(default_factory=dict)


# --- the two protocols ---


class Peer(Protocol):
    """Server side of one WebSocket connection."""

    feed: str
    """`user`, `market` or empty while unknown: faults and statistics select by it."""

    def opened(self, now: Instant) -> Effects:
        """The upgrade is done; greetings (KuCoin `welcome`) go out here."""

    def received(self, data: str | bytes, now: Instant) -> Effects:
        """One complete frame of the client."""

    def pinged(self, payload: bytes, now: Instant) -> Effects: ...

    def ponged(self, payload: bytes, now: Instant) -> Effects: ...

    def changed(self, change: Change, now: Instant) -> Effects:
        """A change of an account that this peer follows."""

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        """Prices of an exchange id that this peer watches moved."""

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        """A watched candle moved or closed."""

    def signal(self, signal: Signal, now: Instant) -> Effects: ...

    def deadline(self) -> float | None:
        """When `woken` wants to be called next, monotonic seconds; None = never."""

    def woken(self, now: Instant) -> Effects: ...

    def closed(self, now: Instant) -> None:
        """The connection is gone."""


class VenueHalf(Protocol):
    """One venue family. Stateful: tokens, listen keys and rate windows live here. A half derives from it."""

    name: str
    """Family name (`binance`), also the venue that its accounts belong to."""
    hosts: frozenset[str]
    sockets: tuple[str, ...]
    """Paths of WebSocket upgrades, each accepted by one of the hosts at least, without a key in the address."""
    rejections: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """Codes of `reject_key` by which the venue says that a key is no good (any more), by exchange id; under the empty name
    those of all other ids."""
    unheard: tuple[bytes, ...] = ()
    """Private frames of a kind that no page lists, in the venue's form: at least one that each account stream can read."""
    replaces: bool = False
    """A modify makes a new order under the same client id: the engine tells the new order first and the end of the old one
    afterwards, and the old one names the new one in `replaced_by`."""
    plain_client_ids: bool = False
    """Client ids are letters and digits only."""
    hex_client_ids: bool = False
    """Client ids are 128 bits in hex, behind `0x`."""
    uuid_order_ids: bool = False
    """Order ids have the form of a UUID; else they are whole numbers."""

    @classmethod
    def demo_key(cls) -> ApiKey:
        """The demo account's credentials: fixed, so that commands can be written down."""
        return ApiKey(key=f"demo-{cls.name}-key", secret=f"demo-{cls.name}-secret", passphrase="demo-passphrase")

    def __init__(self, world: World) -> None: ...

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        """The markets of this family; the same for the same coins."""

    def rest(self, request: Request, now: Instant) -> Reply: ...

    def connect(self, request: Request, now: Instant) -> Peer | Refuse: ...

    def signal(self, signal: Signal, now: Instant) -> None:
        """The half's own part of a signal (forget the tokens …); its peers get the signal afterwards."""


class WorldSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Knobs of a simulated world."""

    seed: int = 1
    symbols: int = 12
    """Coins per market."""
    limits: bool = True
    """Whether documented limits (connects, messages, weights, streams) are enforced."""
    listen_key_s: float = 3600.0
    """Life of a Binance listen key since its last POST or PUT."""
    match: bool = False
    """Whether resting limit orders fill when the price crosses them; otherwise only the control API fills them."""
    tick_s: float = 1.0
    """Time between two price steps."""
    move: float = 0.0005
    """Size of a price step: standard deviation as a part of the price; 0 = prices stand still."""
    quiet: float = 0.3
    """Part of the symbols that do not move in a step."""


class World:
    """What all halves share. Built once by the hub; the same seed and inputs give the same outputs."""

    def __init__(self, settings: WorldSettings, engine: Engine, markets: Markets) -> None:
        self.settings = settings
        self.engine = engine
        self.markets = markets
        self.random = random.Random(settings.seed)
