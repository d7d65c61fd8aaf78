"""Paper trading: the Engine.IO / Socket.IO service for all paper exchange ids (contract section 5). Pure.

Accounts of venue `paper` trade on every market; pushes name the real exchange id. The service is reached under `/socket.io/`,
at the root or behind any gateway segment.
"""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from simulator._peer import BasePeer
from simulator._values import Change, Coin, Market, Order, OrderChange, Symbol, WalletChange
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Peer,
    Refuse,
    Reply,
    Request,
    Signal,
    Unfollow,
    VenueHalf,
    World,
    json_reply,
)
from simulator.signing import same

PATH: Final = "/socket.io"
PING_INTERVAL_MS: Final = 60_000
PING_TIMEOUT_MS: Final = 120_000
MAX_PAYLOAD: Final = 1_000_000

ORDERS: Final = ("subscribeOrder", "order")
BALANCES: Final = ("subscribeOutboundAccountInfo", "outboundAccountInfo")
_UNPLAYED: Final = {
    "mexc": ("", "USDT"),
    "ftx": ("", "USDT"),
}
"""Exchange ids with paper accounts and no venue half (some are dead): separator of their pair ids, quote."""
_CHANNELS: Final = dict((ORDERS, BALANCES))
"""Subscribe event → event of the pushes."""


class PaperPeer(BasePeer):
    """One Engine.IO connection."""

    feed = "user"
    lifetime_s = None

    def __init__(self, world: World, now: Instant) -> None:
        super().__init__(world, now)
        self._joined = False
        self._rooms: dict[str, set[str]] = {event: set() for event in _CHANNELS.values()}
        self._ping_due = now.mono + PING_INTERVAL_MS / 1000
        self._pong_due: float | None = None

    def opened(self, now: Instant) -> Effects:
        greeting = {
            "sid": self._session_id(),
            "upgrades": [],
            "pingInterval": PING_INTERVAL_MS,
            "pingTimeout": PING_TIMEOUT_MS,
            "maxPayload": MAX_PAYLOAD,
        }
        return (Frame("0" + _json(greeting)),)

    def _session_id(self) -> str:
        return f"{self.world.random.getrandbits(96):024x}"

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
        if text == "3":
            self._pong_due = None
            return ()
        if text == "2":
            return (Frame("3", ack=True),)
        if text == "1":
            return (Close(1000),)
        if text.startswith("40"):
            self._joined = True
            return (Frame("40" + _json({"sid": self._session_id()}), ack=True),)
        if text == "41":
            return self._leave()
        if text.startswith("42") and self._joined:
            return self._event(text[2:].lstrip("0123456789"))
        return (Close(1008, "parse error"),) if not text.startswith("6") else ()

    def _event(self, text: str) -> Effects:
        try:
            name, value, *_ = msgspec.json.decode(text)
            key, secret = str(value["key"]), str(value["secret"])
        except (msgspec.DecodeError, ValueError, TypeError, KeyError):
            return (Noted("bad_event"),)
        event = _CHANNELS.get(name)
        if event is None:
            return ()
        found = self.world.engine.find_key("paper", key)
        if found is None or found[1].rejected or not same(found[1].secret, secret):
            return (
                _event(event, {"type": "error", "error": "User not found"}, ack=True),
                Noted("login_refused", key[:4]),
            )
        account = found[0].account_id
        known = any(account in room for room in self._rooms.values())
        self._rooms[event].add(account)
        effects: list[Effect] = [] if known else [Noted("login", account)]
        return (
            _event(event, {"type": "info", "info": "subscribed"}, ack=True),
            *effects,
            Noted("subscribe", event),
            Follow(account),
        )

    def _leave(self) -> list[Effect]:
        accounts = {account for room in self._rooms.values() for account in room}
        for room in self._rooms.values():
            room.clear()
        self._joined = False
        return [Unfollow(account) for account in sorted(accounts)]

    # --- pushes ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if isinstance(change, OrderChange):
            if change.account not in self._rooms[ORDERS[1]]:
                return ()
            return (_event(ORDERS[1], {"type": "update", "data": self._order(change)}),)
        if change.account not in self._rooms[BALANCES[1]] or not change.holdings:
            return ()
        return (_event(BALANCES[1], {"type": "update", "data": {"balance": _balances(change)}}),)

    def _order(self, change: OrderChange) -> dict[str, Any]:
        order = change.order
        symbol = self.world.markets.symbol(order.exchange, order.symbol)
        number = f"{order.order_id:024x}"
        price = order.price or order.average
        row = {
            "_id": number,
            "id": number,
            "exchange": order.exchange,
            "symbol": symbol.pair_id if symbol else order.symbol,
            "externalId": _external_id(order),
            "status": "CANCELED" if order.status == "REJECTED" else order.status,
            "type": "MARKET" if order.order_type == "MARKET" else "LIMIT",
            "side": order.side,
            "amount": _number(order.quantity),
            "filledAmount": _number(order.executed),
            "quoteAmount": _number(symbol.value(order.quantity, price) if symbol else order.value),
            "filledQuoteAmount": _number(order.value),
            "price": _number(price),
            "avgFilledPrice": _number(order.average),
            "fee": _number(order.fee),
            "feePerc": 0.001,
            "user": f"{_user_number(order.account):024x}",
            "reduceOnly": order.reduce_only,
            "positionSide": order.position_side,
            "createdAt": _iso(order.created_ms),
            "updatedAt": _iso(order.updated_ms),
        }
        if order.fee > 0:
            row |= {"feePaid": _number(order.fee), "feeAsset": order.fee_asset}
        return row

    # --- time and signals ---

    def next_timer(self) -> float | None:
        return self._ping_due if self._pong_due is None else min(self._ping_due, self._pong_due)

    def timer(self, now: Instant) -> Effects:
        """The server pings; a client that does not answer within the timeout is dropped."""
        if self._pong_due is not None and now.mono >= self._pong_due:
            return (Close(1000, "ping timeout"),)
        self._ping_due = now.mono + PING_INTERVAL_MS / 1000
        if self._pong_due is None:
            self._pong_due = now.mono + PING_TIMEOUT_MS / 1000
        return (Frame("2"),)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "terminate":
            return (Frame("41"), *self._leave())
        if signal.name == "maintenance":
            return (Frame("41"), Close(1001, "server shutting down"))
        return super().signal(signal, now)


def _user_number(text: str) -> int:
    """A stable number for the `user` field."""
    return int.from_bytes(text.encode()[-12:])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _event(name: str, value: object, *, ack: bool = False) -> Frame:
    return Frame("42" + _json([name, value]), ack=ack)


def _number(value: Decimal) -> int | float:
    """As JavaScript prints it: no trailing `.0`."""
    return int(value) if value == value.to_integral_value() else float(value)


def _iso(time_ms: int) -> str:
    stamp = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03}Z"


def _external_id(order: Order) -> str:
    return f"liquidation_{order.order_id}" if order.liquidation else order.client_id


def _balances(change: WalletChange) -> list[dict[str, Any]]:
    return [{"asset": h.asset, "free": _number(h.free), "locked": _number(h.locked)} for h in change.holdings]


def _pair(coin: Coin, separator: str, quote: str) -> Symbol:
    wire = f"{coin.name}{separator}{quote}"
    return Symbol(wire=wire, base=coin.name, quote=quote, price=coin.price, price_decimals=coin.decimals)


class Paper(VenueHalf):
    """The service; stateless beside its connections."""

    name = "paper"
    hosts: frozenset[str] = frozenset({"paper-trading"})
    sockets = (PATH,)
    rejections: Mapping[str, tuple[str, ...]] = {"": ("1",)}
    unheard = (b"nobody knows", b'{"x":1}')

    def __init__(self, world: World) -> None:
        self.world = world

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        """Paper accounts trade on the real markets; only exchange ids that no half plays have one here."""
        return [
            Market(exchange=exchange, wallet=exchange, symbols=tuple(_pair(coin, separator, quote) for coin in coins))
            for exchange, (separator, quote) in _UNPLAYED.items()
            if self.world.markets.market(exchange) is None
        ]

    def rest(self, request: Request, now: Instant) -> Reply:
        """The service speaks WebSocket only."""
        if request.path.startswith(PATH):
            return json_reply({"code": 0, "message": "Transport unknown"}, 400)
        return json_reply({"statusCode": 404, "message": "Not Found"}, 404)

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        params = request.params()
        if not request.path.startswith(PATH):
            return Refuse(404)
        if params.get("EIO") != "4" or params.get("transport") != "websocket":
            return Refuse(400, _json({"code": 5, "message": "Unsupported protocol version"}).encode())
        return PaperPeer(self.world, now)

    def signal(self, signal: Signal, now: Instant) -> None:
        return None


HALF = Paper
