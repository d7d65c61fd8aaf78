"""KuCoin's WebSocket connections: classic (token) and unified (login). Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, OrderChange, Position, Tick
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Pong,
    Signal,
    Unfollow,
    Unwatch,
    Watch,
)
from simulator.signing import hmac_base64, same
from simulator.venues.kucoin import _frames, _rest_unified
from simulator.venues.kucoin._auth import WINDOW_MS, Token
from simulator.venues.kucoin._rest import PING_MS, PONG_MS
from simulator.venues.kucoin._state import State
from simulator.venues.kucoin._symbols import INTERVALS, NO_FUTURES, SPOT

MAX_TOPICS: Final = 400
"""Topics per spot connection; futures have no such limit."""
MAX_NAMES: Final = 100
"""Names in one comma list."""
SPOT_PRIVATE: Final = ("/spotMarket/tradeOrdersV2", "/spotMarket/tradeOrders", "/account/balance")
FUTURES_PRIVATE: Final = (
    "/contractMarket/tradeOrders",
    "/contractAccount/wallet",
    "/contract/positionAll",
    "/contract/position",
)
_TICKER: Final = {True: "/market/ticker", False: "/contractMarket/ticker"}
_CANDLES: Final = {True: "/market/candles", False: "/contractMarket/limitCandle"}


class _Request(msgspec.Struct):
    id: str | int = ""
    type: str = ""
    topic: str = ""
    op: str = ""
    action: str = ""
    channel: str = ""
    response: bool = False


_decode = msgspec.json.Decoder(_Request).decode
_decode_row = msgspec.json.Decoder(dict[str, Any]).decode


def _text(row: dict[str, Any]) -> str:
    return msgspec.json.encode(row).decode()


class _KuCoinPeer(BasePeer):
    messages = Rate(100, 10.0)
    idle_s = (PING_MS + PONG_MS) / 1000

    def pinged(self, payload: bytes, now: Instant) -> Effects:
        """Protocol pings are answered and keep nothing alive: the venue wants its JSON ping."""
        return (Pong(payload),)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            return (Close(1001, "Bye"),)
        return super().signal(signal, now)


class ClassicPeer(_KuCoinPeer):
    """One token, one family of markets."""

    def __init__(self, state: State, token: Token | None, connect_id: str, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._token = token
        self._connect_id = connect_id
        self._spot = token.spot if token else True
        self.feed = "" if token is None else ("user" if token.account else "market")
        self._private: set[str] = set()
        self._tickers: set[str] = set()
        self._candles: dict[str, tuple[str, str, str]] = {}
        self._candle_ms = 0
        self._opened_ms: dict[str, int] = {}

    def opened(self, now: Instant) -> Effects:
        if self._token is None:
            error = _text({"id": self._connect_id, "type": "error", "code": 401, "data": "token is invalid"})
            return (Noted("login_refused", "token"), Frame(error), Close(1000, "token is invalid"))
        welcome = Frame(_text({"id": self._connect_id, "type": "welcome"}), ack=True)
        return (welcome, Noted("login", self._token.account)) if self._token.account else (welcome,)

    def over_limit(self) -> Effects:
        error = _text({"type": "error", "code": 509, "data": "exceed max permits per second"})
        return (Noted("limit", "messages"), Frame(error), Close(1008, "too many messages"))

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (Frame(_text({"type": "error", "code": 400, "data": "invalid json"})),)
        if request.type == "ping":
            pong = {"id": request.id, "type": "pong", "timestamp": now.wall_ms * 1000}
            return (Frame(_text(pong), ack=True),)
        if request.type == "subscribe":
            return self._subscribe(request)
        if request.type == "unsubscribe":
            return self._unsubscribe(request)
        return (self._error(request, 400, f"type {request.type} is not supported"),)

    def _error(self, request: _Request, code: int, text: str) -> Frame:
        return Frame(_text({"id": request.id, "type": "error", "code": code, "data": text}), ack=True)

    def _ack(self, request: _Request) -> tuple[Effect, ...]:
        return (Frame(_text({"id": request.id, "type": "ack"}), ack=True),) if request.response else ()

    # --- subscriptions ---

    def _subscribe(self, request: _Request) -> Effects:
        topic, _, listed = request.topic.partition(":")
        names = listed.split(",") if listed else []
        if topic in SPOT_PRIVATE + FUTURES_PRIVATE:
            return self._subscribe_private(request, topic)
        if len(names) > MAX_NAMES:
            return (self._error(request, 400, "too many symbols in one topic"),)
        if self._spot and len(self._tickers) + len(self._candles) + len(names) > MAX_TOPICS:
            limit = self._error(request, 509, "exceed max subscription count limitation of 400 per session")
            return (Noted("limit", "topics"), limit)
        if topic == _TICKER[self._spot] and names:
            return self._subscribe_tickers(request, names)
        if topic == _CANDLES[self._spot] and names:
            return self._subscribe_candles(request, names)
        return (self._error(request, 404, f"topic {request.topic} is not found"),)

    def _subscribe_private(self, request: _Request, topic: str) -> Effects:
        own = SPOT_PRIVATE if self._spot else FUTURES_PRIVATE
        if topic not in own:
            return (self._error(request, 404, f"topic {request.topic} is not found"),)
        if self._token is None or not self._token.account:
            return (self._error(request, 403, f"topic {request.topic} needs a private token"),)
        first = not self._private
        self._private.add(topic)
        follow = (Follow(self._token.account),) if first else ()
        return (*self._ack(request), Noted("subscribe", topic), *follow)

    def _subscribe_tickers(self, request: _Request, names: list[str]) -> Effects:
        unknown = [name for name in names if self._exchange(name) is None and not (self._spot and name == "all")]
        if unknown:
            return (self._error(request, 404, f"topic {request.topic} is not found: {unknown[0]}"),)
        exchanges = {SPOT if name == "all" else str(self._exchange(name)) for name in names}
        self._tickers.update(names)
        noted = [Noted("subscribe", f"{_TICKER[self._spot]}:{name}") for name in names]
        return (*self._ack(request), *noted, *(Watch(exchange) for exchange in sorted(exchanges)))

    def _subscribe_candles(self, request: _Request, names: list[str]) -> Effects:
        wanted: dict[str, tuple[str, str, str]] = {}
        for name in names:
            wire, _, code = name.rpartition("_")
            exchange, interval = self._exchange(wire), INTERVALS.get(code)
            if exchange is None or interval is None or (not self._spot and code in NO_FUTURES):
                return (self._error(request, 404, f"topic {request.topic} is not found: {name}"),)
            wanted[name] = (exchange, wire, interval)
        self._candles |= wanted
        noted = [Noted("subscribe", f"{_CANDLES[self._spot]}:{name}") for name in names]
        return (*self._ack(request), *noted, *(Watch(*key) for key in wanted.values()))

    def _exchange(self, wire: str) -> str | None:
        exchange = self._state.exchange_of(wire)
        return exchange if exchange is not None and (exchange == SPOT) is self._spot else None

    def _unsubscribe(self, request: _Request) -> Effects:
        topic, _, listed = request.topic.partition(":")
        effects: list[Effect] = [*self._ack(request), Noted("unsubscribe", request.topic)]
        if topic in self._private:
            self._private.discard(topic)
            if not self._private and self._token is not None:
                effects.append(Unfollow(self._token.account))
        for name in listed.split(","):
            self._tickers.discard(name)
            key = self._candles.pop(name, None)
            if key is not None and key not in self._candles.values():
                effects.append(Unwatch(*key))
        return effects

    # --- pushes ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if (change.exchange == SPOT) is not self._spot:
            return ()
        if isinstance(change, OrderChange):
            return self._order(change)
        effects: list[Effect] = []
        if "/account/balance" in self._private:
            effects += [Frame(_frames.spot_balance(h, change.time_ms, change.reason)) for h in change.holdings]
        if "/contractAccount/wallet" in self._private:
            effects += [Frame(_frames.wallet(h, change.time_ms)) for h in change.holdings]
        if self._positions:
            effects += [Frame(self._position(change.exchange, p, change.time_ms)) for p in change.positions]
        return effects

    @property
    def _positions(self) -> bool:
        return "/contract/positionAll" in self._private or "/contract/position" in self._private

    def _order(self, change: OrderChange) -> Effects:
        effects: list[Effect] = []
        order = change.order
        if order.liquidation and change.kind == "NEW" and self._positions:
            # The venue tells of a liquidation on the position topic, with the quantity that it takes over.
            amount = order.quantity if order.side == "SELL" else -order.quantity
            held = Position(symbol=order.symbol, amount=amount, entry=order.price, realised=order.price * 0)
            effects.append(Frame(self._position(change.exchange, held, change.time_ms, "liquidation")))
        if any(topic.endswith(("tradeOrders", "tradeOrdersV2")) for topic in self._private):
            effects += [Frame(text) for text in _frames.order_frames(change)]
        return effects

    def _position(self, exchange: str, held: Position, time_ms: int, reason: str = "positionChange") -> str:
        quote = self.world.markets.quote(exchange, held.symbol)
        opened_ms = self._opened_ms.setdefault(held.symbol, time_ms)
        if not held.amount:
            del self._opened_ms[held.symbol]
        return _frames.position(held, quote, time_ms, reason, opened_ms)

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        everything = self._spot and "all" in self._tickers
        effects: list[Effect] = []
        for wire, frame in self._state.tickers.frames(tick):
            if everything:
                effects.append(Frame(frame))
            if wire in self._tickers:
                effects.append(Frame(_frames.single_ticker(wire, frame) if self._spot else frame))
        return effects

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        # The time rises from frame to frame: clients drop repeated ones.
        self._candle_ms = max(self._candle_ms + 1, update.time_ms)
        time = self._candle_ms * 10**6 if self._spot else self._candle_ms
        text = _frames.candle_frame(update.symbol, update.interval, update.candle, time, spot=self._spot)
        return (Frame(text),)


class UnifiedPeer(_KuCoinPeer):
    """The private socket of unified accounts."""

    feed = "user"

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._account = ""
        self._channels: set[str] = set()

    def opened(self, now: Instant) -> Effects:
        return (Frame(_text({"sessionId": "s", "message": "welcome", "pingInterval": PING_MS}), ack=True),)

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request, row = _decode(data), _decode_row(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return (Frame(_text({"result": False, "reason": "invalid json"})),)
        if "ping" in (request.op, request.type):
            return (Frame(_text({"id": request.id, "op": "pong"}), ack=True),)
        if request.op == "auth":
            return self._login(request, row, now)
        if request.action.lower() == "unsubscribe":
            self._channels.discard(request.channel)
            return (self._answer(request), Noted("unsubscribe", request.channel))
        # The venue's own SDK writes `SUBSCRIBE`, its documentation `subscribe`.
        if request.action.lower() == "subscribe" and request.channel in (
            "orderAll",
            "balance",
            "positionAll",
            "execution",
            "lw",
        ):
            if not self._account:
                return (self._answer(request, "not logged in"),)
            self._channels.add(request.channel)
            return (self._answer(request), Noted("subscribe", request.channel))
        return (self._answer(request, "channel is not supported"),)

    def _login(self, request: _Request, row: dict[str, Any], now: Instant) -> Effects:
        found = self.world.engine.find_key("kucoin", str(row.get("kc-api-key", "")))
        stamp = str(row.get("kc-api-timestamp", ""))
        reason = ""
        if found is None or found[1].rejected or not self._state.is_unified(found[0]):
            reason = "KC-API-KEY not exists"
        elif not stamp.isdigit() or abs(int(stamp) - now.wall_ms) > WINDOW_MS:
            reason = "KC-API-TIMESTAMP Invalid"
        else:
            key = found[1]
            sign = hmac_base64(key.secret, f"{stamp}POST/api/websocket/users/verify")
            phrase = hmac_base64(key.secret, key.passphrase)
            if not same(sign, str(row.get("kc-api-sign", ""))) or not same(
                phrase, str(row.get("kc-api-passphrase", ""))
            ):
                reason = "Invalid KC-API-SIGN"
        if reason or found is None:
            return (self._answer(request, reason), Noted("login_refused", reason))
        self._account = found[0].account_id
        return (self._answer(request), Noted("login", self._account), Follow(self._account))

    def _answer(self, request: _Request, reason: str = "") -> Frame:
        row: dict[str, Any] = {"id": request.id, "result": not reason}
        return Frame(_text(row | ({"reason": reason} if reason else {})), ack=True)

    def changed(self, change: Change, now: Instant) -> Effects:
        if isinstance(change, OrderChange):
            return self._ordered(change)
        effects: list[Effect] = []
        if "balance" in self._channels:
            effects += [Frame(_rest_unified.balance_push(h, change.time_ms)) for h in change.holdings]
        if "positionAll" in self._channels:
            quotes = self.world.markets.quote
            effects += [
                Frame(_rest_unified.position_push(held, quotes(change.exchange, held.symbol), change.time_ms))
                for held in change.positions
            ]
        return effects

    def _ordered(self, change: OrderChange) -> Effects:
        order = change.order
        effects: list[Effect] = []
        if order.liquidation and change.kind == "NEW" and "positionAll" in self._channels:
            amount = order.quantity if order.side == "SELL" else -order.quantity
            mark = self.world.markets.quote(change.exchange, order.symbol)
            held = Position(symbol=order.symbol, amount=amount, entry=order.price, realised=order.price * 0)
            text = _rest_unified.position_push(held, mark, change.time_ms, "LIQUIDATION")
            effects.append(Frame(text))
        if "orderAll" in self._channels and change.kind != "REJECTED":
            effects.append(Frame(_rest_unified.order_push(change)))
        return effects
