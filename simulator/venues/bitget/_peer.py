"""Bitget's WebSocket connections: public v2, private v2 and v3. The public v3 one: `_peer_modern`. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer, Window
from simulator._values import CandleUpdate, Change, OrderChange, Tick
from simulator._venue import Close, Effect, Effects, Follow, Frame, Instant, Noted, Pong, Unwatch, Watch
from simulator.venues.bitget import _frames
from simulator.venues.bitget._auth import Failure, log_in
from simulator.venues.bitget._state import State
from simulator.venues.bitget._symbols import CODES, INTERVALS, MODERN_MARK, PRODUCTS, REALITY, SPOT, is_modern

MAX_CHANNELS: Final = 1000
SUBSCRIBES: Final = Rate(240, 3600.0)
MAX_FRAME: Final = 4096
"""Bytes of a subscribe frame."""
HISTORY: Final = 20
"""Candles in the snapshot that follows a subscription (the venue sends up to 500)."""
PRIVATE: Final = ("orders", "account", "positions", "fill")
TOPICS: Final = ("order", "account", "position")

Row = dict[str, Any]
Key = tuple[str, str, str]


class _Request(msgspec.Struct):
    op: str = ""
    args: list[dict[str, Any]] = []


_decode = msgspec.json.Decoder(_Request).decode


def _text(row: Row) -> str:
    return msgspec.json.encode(row).decode()


class RefusedArg(Exception):
    """An argument is not taken."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class BitgetPeer(BasePeer, ABC):
    """What all three sockets share. Subclasses check and keep arguments."""

    messages = Rate(10, 1.0)
    idle_s = 120.0

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self.state = state
        self._subscribes = Window(SUBSCRIBES)

    def pinged(self, payload: bytes, now: Instant) -> Effects:
        """Protocol pings are answered and keep nothing alive: the venue wants its text ping."""
        return (Pong(payload),)

    def over_limit(self) -> Effects:
        error = _text({"event": "error", "code": 30007, "msg": "request over limit,connection close"})
        return (Noted("limit", "messages"), Frame(error), Close(1008, "request over limit"))

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        if data in ("ping", b"ping"):
            return (Frame("pong", ack=True),)
        try:
            request = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (self.error(30003, "invalid json"),)
        if request.op == "login":
            return self.login(request.args, now)
        if request.op not in ("subscribe", "unsubscribe"):
            return (self.error(30003, f"Invalid op {request.op}"),)
        if len(data) > MAX_FRAME:
            return (self.error(30003, "message too long"),)
        if request.op == "subscribe" and self.world.settings.limits and not self._subscribes.hit(now.mono):
            return (Noted("limit", "subscribes"), self.error(30006, "request too many"))
        act = self.subscribe if request.op == "subscribe" else self.unsubscribe
        effects: list[Effect] = []
        for arg in request.args:
            try:
                found = act(arg, now)
            except RefusedArg as refused:
                effects.append(self.error(refused.code, str(refused), arg, request.op))
            else:
                effects.append(Frame(_text({"event": request.op, "arg": arg}), ack=True))
                effects += found
        return effects

    def error(self, code: int, text: str, arg: Row | None = None, op: str = "") -> Frame:
        row: Row = {"event": "error", "code": code, "msg": text}
        return Frame(_text(row | ({"arg": arg, "op": op} if arg is not None else {})), ack=True)

    def login(self, args: list[Row], now: Instant) -> Effects:
        return (self.error(30003, "login is for private connections"),)

    @abstractmethod
    def subscribe(self, arg: Row, now: Instant) -> Effects:
        """Raises `RefusedArg` for what the venue would refuse."""

    @abstractmethod
    def unsubscribe(self, arg: Row, now: Instant) -> Effects:
        """Raises `RefusedArg` for what the venue would refuse."""


class PublicPeer(BitgetPeer):
    """Tickers and candles."""

    feed = "market"

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state, now)
        self._tickers: set[str] = set()
        self._candles: dict[tuple[str, str, str], Row] = {}

    def _checked(self, arg: Row) -> tuple[str, str, str]:
        """Exchange id, symbol, interval (empty for the ticker). Raises `RefusedArg`."""
        product, channel, wire = str(arg.get("instType")), str(arg.get("channel")), str(arg.get("instId"))
        exchange = PRODUCTS.get(product)
        symbol = self.world.markets.symbol(exchange, wire) if exchange else None
        if exchange is None or symbol is None or symbol.kind != product or is_modern(symbol):
            raise RefusedArg(30001, f"instType:{product},channel:{channel},instId:{wire} doesn't exist")
        if channel == "ticker":
            return exchange, wire, ""
        interval = INTERVALS.get(channel.removeprefix("candle")) if channel.startswith("candle") else None
        if interval is None:
            raise RefusedArg(30016, "Param error")
        return exchange, wire, interval

    def _silent(self, arg: Row) -> bool:
        """Whether v2 acknowledges the argument and has nothing to say: the market, or its candles, moved to v3."""
        product, channel, wire = str(arg.get("instType")), str(arg.get("channel")), str(arg.get("instId"))
        if product == "SPOT" and wire in REALITY:
            return channel.startswith("candle")
        exchange = PRODUCTS.get(product)
        moved = self.world.markets.symbol(exchange, wire + MODERN_MARK) if exchange else None
        return moved is not None and (channel == "ticker" or channel.startswith("candle"))

    def subscribe(self, arg: Row, now: Instant) -> Effects:
        if self._silent(arg):
            return ()
        exchange, wire, interval = self._checked(arg)
        if len(self._tickers) + len(self._candles) >= MAX_CHANNELS:
            raise RefusedArg(30006, "too many channels")
        noted = Noted("subscribe", f"{arg['instType']}/{arg['channel']}/{wire}")
        if not interval:
            self._tickers.add(f"{exchange}/{wire}")
            return (noted, Watch(exchange))
        self._candles[(exchange, wire, interval)] = arg
        rows = self.world.markets.candles(exchange, wire, interval, None, None, HISTORY, now.wall_ms)
        history = _frames.push(arg, [_frames.candle_row(row) for row in rows], now.wall_ms)
        return (noted, Frame(history), Watch(exchange, wire, interval))

    def unsubscribe(self, arg: Row, now: Instant) -> Effects:
        if self._silent(arg):
            return ()
        exchange, wire, interval = self._checked(arg)
        noted = Noted("unsubscribe", f"{arg['instType']}/{arg['channel']}/{wire}")
        if not interval:
            self._tickers.discard(f"{exchange}/{wire}")
            return (noted,)
        self._candles.pop((exchange, wire, interval), None)
        return (noted, Unwatch(exchange, wire, interval))

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        wanted = self._tickers
        return [Frame(text) for wire, text in self.state.tickers.frames(tick) if f"{tick.exchange}/{wire}" in wanted]

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        symbol = update.symbol
        arg = {"instType": symbol.kind, "channel": f"candle{CODES[update.interval]}", "instId": symbol.wire}
        return (Frame(_frames.push(arg, [_frames.candle_row(update.candle)], update.time_ms, "update")),)


class PrivatePeer(BitgetPeer):
    """One account. v2 for classic accounts, v3 for unified ones."""

    feed = "user"

    def __init__(self, state: State, version: int, now: Instant) -> None:
        super().__init__(state, now)
        self._version = version
        self._account = ""
        self._args: dict[Key, Row] = {}

    def login(self, args: list[Row], now: Instant) -> Effects:
        try:
            account = log_in(self.world, args[0] if args else {}, now)
        except Failure as failure:
            refused = self.error(int(failure.code), failure.text)
            return (Noted("login_refused", failure.code), refused, Close(1000, failure.text))
        self._account = account.account_id
        answer = Frame(_text({"event": "login", "code": 0}), ack=True)
        return (answer, Noted("login", self._account), Follow(self._account))

    @property
    def _quiet(self) -> bool:
        """A socket of the other generation lets the account in, and stays silent; so does one whose account moved."""
        return self.state.unified(self.world.engine.account(self._account)) is not (self._version == 3)

    def _key(self, arg: Row) -> Key:
        if not self._account:
            raise RefusedArg(30004, "User not logged in")
        product = str(arg.get("instType"))
        if self._version == 3:
            topic = str(arg.get("topic"))
            if product != "UTA" or topic not in TOPICS:
                raise RefusedArg(30001, f"instType:{product},topic:{topic} doesn't exist")
            return product, topic, ""
        channel = str(arg.get("channel"))
        if product not in PRODUCTS or channel not in PRIVATE:
            raise RefusedArg(30001, f"instType:{product},channel:{channel} doesn't exist")
        return product, channel, str(arg.get("coin" if channel == "account" else "instId"))

    def subscribe(self, arg: Row, now: Instant) -> Effects:
        key = self._key(arg)
        self._args[key] = arg
        return (Noted("subscribe", "/".join(key)), *self._initial(key, arg, now))

    def _initial(self, key: Key, arg: Row, now: Instant) -> Effects:
        """Futures balances are pushed once after subscribing."""
        product, channel, _ = key
        if channel == "positions" and not self._quiet:
            return (self._positions(product, arg, now.wall_ms),) if product != "SPOT" else ()
        if self._version == 3 or channel != "account" or product == "SPOT" or self._quiet:
            return ()
        held = self.world.engine.account(self._account).holdings(PRODUCTS[product])
        rows = [_frames.futures_balance(h) for h in held if h.asset in self._settles(product)]
        return (Frame(_frames.push(arg, rows, now.wall_ms)),) if rows else ()

    def _positions(self, product: str, arg: Row, time_ms: int) -> Frame:
        """All that is held of a product."""
        exchange = PRODUCTS[product]
        quotes = self.world.markets.quote
        held = self.world.engine.account(self._account).positions(exchange)
        rows = [_frames.position(one, quotes(exchange, one.symbol)) for one in held]
        known = self.world.markets.symbol
        own = [
            row
            for row in rows
            if (symbol := known(exchange, row["instId"])) and symbol.kind == product and not is_modern(symbol)
        ]
        return Frame(_frames.push(arg, own, time_ms))

    def _settles(self, product: str) -> set[str]:
        return {symbol.settle for symbol in self.world.markets.symbols(PRODUCTS[product]) if symbol.kind == product}

    def unsubscribe(self, arg: Row, now: Instant) -> Effects:
        key = self._key(arg)
        self._args.pop(key, None)
        return (Noted("unsubscribe", "/".join(key)),)

    # --- pushes ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if self._quiet or change.exchange not in PRODUCTS.values():
            return ()
        if self._version == 3:
            return self._unified(change)
        if isinstance(change, OrderChange):
            return self._order(change)
        effects: list[Effect] = []
        for (product, channel, _), arg in self._args.items():
            if channel == "positions" and PRODUCTS[product] == change.exchange and change.positions:
                effects.append(self._positions(product, arg, change.time_ms))
            if channel != "account" or PRODUCTS[product] != change.exchange:
                continue
            if product == "SPOT":
                rows = [_frames.spot_balance(h, change.time_ms) for h in change.holdings]
            else:
                rows = [_frames.futures_balance(h) for h in change.holdings if h.asset in self._settles(product)]
            if rows:
                effects.append(Frame(_frames.push(arg, rows, change.time_ms)))
        return effects

    def _order(self, change: OrderChange) -> Effects:
        order = change.order
        symbol = self.world.markets.symbol(order.exchange, order.symbol)
        if symbol is None or change.kind == "REJECTED" or is_modern(symbol):
            return ()
        arg = next((a for (p, c, _), a in self._args.items() if c == "orders" and p == symbol.kind), None)
        if arg is None:
            return ()
        if order.exchange == SPOT:
            row = _frames.spot_order(order, change.trade, change.time_ms)
        else:
            row = _frames.futures_order(symbol, order, change.trade, change.time_ms)
        return (Frame(_frames.push(arg, [row], change.time_ms)),)

    def _unified(self, change: Change) -> Effects:
        if isinstance(change, OrderChange):
            arg = self._args.get(("UTA", "order", ""))
            symbol = self.world.markets.symbol(change.exchange, change.order.symbol)
            if arg is None or symbol is None or change.kind == "REJECTED":
                return ()
            row = _frames.unified_push(symbol, change.order, change.time_ms, self.state.units, doubt=self.state.doubt)
            return (Frame(_frames.push(arg, [row], change.time_ms)),)
        effects: list[Effect] = []
        arg = self._args.get(("UTA", "account", ""))
        if arg is not None and change.holdings:
            coins = [_frames.unified_coin(holding) for holding in change.holdings]
            effects.append(Frame(_frames.push(arg, [{"totalEquity": "0", "coin": coins}], change.time_ms)))
        arg = self._args.get(("UTA", "position", ""))
        if arg is not None and change.positions:
            quotes = self.world.markets.quote
            rows = [_frames.unified_position(one, quotes(change.exchange, one.symbol)) for one in change.positions]
            effects.append(Frame(_frames.push(arg, rows, change.time_ms)))
        return effects
