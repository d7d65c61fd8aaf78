"""The made-up venue's side. It keeps its limits, checks each signature and refuses what it does not know."""

# Hooks have the signature of `VenueHalf` and `Peer` whether they need every argument or not.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer, PerAddress
from simulator._values import INTERVALS, CandleUpdate, Change, Coin, Market, Order, OrderChange, Symbol, Tick
from simulator._venue import (
    Close,
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
    Watch,
    World,
    json_reply,
)  # fmt: skip
from simulator.signing import signed_by

Row = dict[str, Any]

EXCHANGE: Final = "template"
CONNECTS: Final = Rate(100, 60.0)
MESSAGES: Final = Rate(12, 1.0)
CALLS: Final = Rate(200, 10.0)
WINDOW_MS: Final = 5_000
"""How far a stamp may be off."""
IDLE_S: Final = 60.0
PAGE: Final = 50
CODES: Final = ("1m", "5m", "1h", "1d")
STATES: Final = {"NEW": "open", "PARTIALLY_FILLED": "part", "FILLED": "done"}


class Failure(Exception):
    """An error code of the venue."""


def order_row(order: Order) -> Row:
    figures = {"price": order.price, "size": order.quantity, "filled": order.executed, "value": order.value}
    return {
        "id": str(order.order_id),
        "client": order.client_id,
        "symbol": order.symbol,
        "side": order.side.lower(),
        "type": "market" if order.order_type == "MARKET" else "limit",
        "state": STATES.get(order.status, "cancelled"),
        **{name: f"{figure:f}" for name, figure in figures.items()},
        "created": order.created_ms,
        "changed": order.updated_ms,
    }


def candle_row(candle: Any, *, closed: bool) -> Row:
    names = ("open", "high", "low", "close", "volume")
    return {"start": candle.start_ms, "closed": closed, **{name: f"{getattr(candle, name):f}" for name in names}}


class _Peer(BasePeer):
    messages, idle_s, lifetime_s = MESSAGES, IDLE_S, None

    def __init__(self, half: Template, now: Instant) -> None:
        super().__init__(half.world, now)
        self.half = half

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, dict):
            return (Close(1003, "not an object"),)
        if request.get("op") == "ping":
            return (self.said({"re": str(request.get("id", "")), "ok": True}, ack=True),)
        return self.operation(request, now)

    def operation(self, request: Row, now: Instant) -> Effects:
        return ()

    def said(self, row: Row, *, ack: bool = False) -> Frame:
        return Frame(msgspec.json.encode(row).decode(), ack=ack)


class PrivatePeer(_Peer):
    feed = "user"
    account = ""

    def operation(self, request: Row, now: Instant) -> Effects:
        if request.get("op") != "login" or self.account:
            return ()
        key, stamp, sign = (str(request.get(name, "")) for name in ("key", "stamp", "sign"))
        try:
            self.account = self.half.owner(key, stamp, f"{stamp}LOGIN", sign, now)
        except Failure as declined:
            return (self.said({"re": "login", "ok": False, "code": str(declined)}, ack=True),)
        login = self.said({"re": "login", "ok": True}, ack=True)
        return (login, Noted("login", self.account), Follow(self.account), self.wallet(now.wall_ms))

    def wallet(self, time_ms: int) -> Frame:
        holdings = self.world.engine.account(self.account).holdings("template")
        coins = [{"asset": h.asset, "free": f"{h.free:f}", "held": f"{h.locked:f}"} for h in holdings]
        return self.said({"coins": coins, "time": time_ms})

    def changed(self, change: Change, now: Instant) -> Effects:
        if isinstance(change, OrderChange):
            return (self.said({"orders": [order_row(change.order)], "time": change.time_ms}),)
        return (self.wallet(change.time_ms),)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "key_changed" and self.account:
            account, self.account = self.account, ""
            return (Unfollow(account), Close(1008, "key changed"))
        return super().signal(signal, now)


class PublicPeer(_Peer):
    feed = "market"

    def __init__(self, half: Template, now: Instant) -> None:
        super().__init__(half, now)
        self.topics: set[str] = set()

    def operation(self, request: Row, now: Instant) -> Effects:
        topics = request.get("topics")
        topics = [str(topic) for topic in topics] if isinstance(topics, list) else []
        if request.get("op") == "unsubscribe":
            self.topics -= set(topics)
            return (self.said({"re": str(request.get("id", ""))}, ack=True),)
        watches = {topic: watch for topic in topics[:20] if (watch := self.watch(topic)) is not None}
        self.topics |= set(watches)
        refused = [topic for topic in topics if topic not in watches]
        notes = [Noted("subscribe", topic) for topic in watches]
        return (self.said({"re": str(request.get("id", "")), "refused": refused}, ack=True), *notes, *watches.values())

    def watch(self, topic: str) -> Watch | None:
        kind, _, rest = topic.partition(":")
        interval, _, symbol = rest.rpartition(":")
        known = self.world.markets.symbol(EXCHANGE, symbol) is not None
        if kind == "ticker" and known and not interval:
            return Watch(EXCHANGE)
        return Watch(EXCHANGE, symbol, interval) if kind == "candle" and known and interval in CODES else None

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        rows = [
            {
                "symbol": quote.symbol.wire,
                "time": tick.time_ms,
                "last": f"{quote.price:f}",
                "volume": f"{quote.volume:f}",
                "ask_size": f"{quote.size:f}",
                "bid_size": f"{quote.size:f}",
            }
            for quote in tick.quotes
            if f"ticker:{quote.symbol.wire}" in self.topics
        ]
        return (self.said({"tickers": rows}),) if rows else ()

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        topic = f"candle:{update.interval}:{update.symbol.wire}"
        row = candle_row(update.candle, closed=update.closed)
        return (self.said({"candles": [row], "topic": topic}),) if topic in self.topics else ()


class Template(VenueHalf):
    name = "template"
    hosts = frozenset({"api.template.example", "ws.template.example"})
    sockets = ("/private", "/public")
    rejections: Mapping[str, tuple[str, ...]] = {"": ("KEY", "EXPIRED")}
    unheard = (b'{"nobody":"knows"}',)

    def __init__(self, world: World) -> None:
        self.world = world
        self._calls, self._connects = PerAddress(CALLS), PerAddress(CONNECTS)

    def markets(self, coins: Sequence[Coin]) -> Sequence[Market]:
        symbols = [
            Symbol(wire=f"{c.name}-USD", base=c.name, quote="USD", price=c.price, price_decimals=c.decimals)
            for c in coins
        ]
        return [Market(exchange=EXCHANGE, wallet="template", symbols=tuple(symbols))]

    def owner(self, key: str, stamp: str, text: str, sign: str, now: Instant) -> str:
        """Whose signature it is. Raises `Failure`."""
        found = self.world.engine.find_key(self.name, key)
        if found is None or found[1].rejected:
            raise Failure(found[1].rejected if found else "KEY")
        if not stamp.isdigit() or abs(int(stamp) - now.wall_ms) > WINDOW_MS:
            raise Failure("CLOCK")
        if not signed_by(found[1], text, sign):
            raise Failure("SIGNATURE")
        return found[0].account_id

    def rest(self, request: Request, now: Instant) -> Reply:
        if self.world.settings.limits and not self._calls.hit(request.remote, now.mono):
            return json_reply({"code": "RATE"}, 429, {"Retry-After": "2"})
        try:
            return json_reply(self.answer(request, now))
        except Failure as declined:
            return json_reply({"code": str(declined)}, 400)

    def answer(self, request: Request, now: Instant) -> Row:
        params = request.params()
        if request.path == "/time":
            return {"time": now.wall_ms}
        if request.path == "/symbols":
            return {"rows": [{"symbol": s.wire, "base": s.base, "quote": s.quote} for s in self.symbols()]}
        if request.path == "/candles":
            return {"rows": self.candles(params, now)}
        h = request.headers
        text = f"{h.get('x-stamp', '')}{request.method}{request.path}?{request.query}"
        account = self.owner(h.get("x-key", ""), h.get("x-stamp", ""), text, h.get("x-sign", ""), now)
        orders = self.world.engine.orders(account, EXCHANGE)
        if request.path == "/orders":
            since, page = (int(params.get(name, "0")) for name in ("since", "page"))
            wanted = [order for order in orders if order.open or order.updated_ms >= since]
            rows = [order_row(order) for order in wanted[page * PAGE : (page + 1) * PAGE]]
            return {"rows": rows, "more": len(wanted) > (page + 1) * PAGE}
        if request.path == "/order":
            rows = [order_row(order) for order in orders if str(order.order_id) == params.get("id")]
            if rows:
                return {"rows": rows}
            raise Failure("UNKNOWN_ORDER")
        raise Failure("PARAMETER")

    def symbols(self) -> Sequence[Symbol]:
        return self.world.markets.symbols(EXCHANGE)

    def candles(self, params: dict[str, str], now: Instant) -> list[Row]:
        symbol, interval = params.get("symbol", ""), params.get("interval", "")
        if self.world.markets.symbol(EXCHANGE, symbol) is None or interval not in CODES:
            raise Failure("PARAMETER")
        start, end = int(params.get("from", "0")), int(params.get("to", "0"))
        found = self.world.markets.candles(EXCHANGE, symbol, interval, start, end, 500, now.wall_ms)
        length = INTERVALS[interval]
        return [candle_row(candle, closed=candle.start_ms + length <= now.wall_ms) for candle in found]

    def connect(self, request: Request, now: Instant) -> Peer | Refuse:
        if self.world.settings.limits and not self._connects.hit(request.remote, now.mono):
            return Refuse(429)
        if request.host == "ws.template.example" and request.path == "/private":
            return PrivatePeer(self, now)
        return PublicPeer(self, now) if request.path == "/public" else Refuse(404)

    def signal(self, signal: Signal, now: Instant) -> None:
        """Nothing is kept that a signal would end."""


HALF = Template
