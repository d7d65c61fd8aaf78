"""One WebSocket connection to OKX: public, private or business service. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer, Window
from simulator._values import CandleUpdate, Change, OrderChange, Symbol, Tick, WalletChange
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Signal,
    Unfollow,
    Unwatch,
    Watch,
)
from simulator.venues.okx._auth import Failure, login
from simulator.venues.okx._frames import INTERVAL_OF, account_row, candle_row, position_row, pushed_order
from simulator.venues.okx._state import State
from simulator.venues.okx._symbols import EXCHANGE_OF, WALLET

OPERATIONS: Final = Rate(480, 3600.0)
"""Subscribe, unsubscribe and login, per connection."""
QUIET_S: Final = 30.0
"""Nothing pushed to the client for so long ends the connection."""
UPGRADE_S: Final = 60.0
MAX_ARGS_BYTES: Final = 64 * 1024
COUNTED: Final = frozenset({"account", "orders", "positions", "balance_and_position"})
"""Private channels; of each, 30 connections per account."""
MAX_CONNECTIONS: Final = 30

_encode = msgspec.json.encode


class OkxPeer(BasePeer):
    """`service` is `public`, `private` or `business`."""

    lifetime_s = None

    def __init__(self, state: State, service: str, conn_id: str, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._service = service
        self._conn_id = conn_id
        self._account = ""
        self._operations = Window(OPERATIONS)
        self._orders: set[str] = set()
        self._positions: set[str] = set()
        """Instrument types."""
        self._channels: set[str] = set()
        self._tickers: set[str] = set()
        self._candles: dict[tuple[str, str, str], list[str]] = {}
        self._pushed = now.mono
        self._closes: tuple[float, Close] | None = None
        self.feed = "user" if service == "private" else "market"

    # --- client frames ---

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        if data in ("ping", b"ping"):
            return self._push([Frame("pong", ack=True)], now)
        if len(data) > MAX_ARGS_BYTES:
            return (Close(1009, "Max frame length of 65536 has been exceeded."),)
        try:
            request = msgspec.json.decode(data)
            args = request["args"]
            known = isinstance(args, list) and all(isinstance(arg, dict) for arg in args)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            return self._push([self._error("60012", f"Invalid request: {data!r}"[:200])], now)
        request_id = str(request.get("id", ""))
        if not known or len(request_id) > 32 or not (request_id.isalnum() or not request_id):
            return self._push([self._error("60012", "Invalid request", request_id)], now)
        if self.world.settings.limits and not self._operations.hit(now.mono):
            effects: list[Effect] = [
                self._error("60014", "Requests too frequent", request_id),
                Noted("limit", "operations"),
            ]
            return self._push(effects, now)
        match request.get("op"):
            case "login":
                return self._push(self._login(args, now), now)
            case "subscribe":
                return self._push([e for arg in args for e in self._subscribe(arg, request_id, now)], now)
            case "unsubscribe":
                return self._push([e for arg in args for e in self._unsubscribe(arg, request_id)], now)
            case other:
                return self._push([self._error("60012", f"Invalid request: {other}", request_id)], now)

    def _login(self, args: list[dict[str, Any]], now: Instant) -> list[Effect]:
        if self._service == "public":
            return [self._error("60008", "Public channels don't support login")]
        if self._account or len(args) != 1:
            return [self._error("60031", "WebSocket endpoint does not support multiple or batch login.")]
        try:
            account = login(self.world, args[0], now)
        except Failure as refusal:
            refused = Noted("login_refused", refusal.code)
            return [self._error(refusal.code, refusal.text), refused, Close(4001, "Login failed")]
        self._account = account.account_id
        answer = {"event": "login", "code": "0", "msg": "", "connId": self._conn_id}
        return [Frame(_encode(answer), ack=True), Noted("login", self._account), Follow(self._account)]

    # --- channels ---

    def _subscribe(self, arg: Mapping[str, Any], request_id: str, now: Instant) -> list[Effect]:
        channel = str(arg.get("channel", ""))
        if self._service == "private":
            return self._private(channel, arg, request_id, now)
        symbol = self._state.symbol(str(arg.get("instId", "")))
        if symbol is not None and self._service == "public" and channel == "tickers":
            exchange, found = symbol
            self._tickers.add(found.wire)
            quote = self.world.markets.quote(exchange, found.wire)
            return [
                *self._acknowledged("subscribe", arg, request_id),
                Watch(exchange),
                Frame(self._state.tickers.frame(quote)),
            ]
        if symbol is not None and self._service == "business" and channel in INTERVAL_OF:
            exchange, found = symbol
            key = (exchange, found.wire, INTERVAL_OF[channel])
            channels = self._candles.setdefault(key, [])
            if channel not in channels:
                channels.append(channel)
            return [*self._acknowledged("subscribe", arg, request_id), Watch(*key)]
        named = f"channel:{channel},instId:{arg.get('instId', '')}"
        text = f"Wrong URL or {named} doesn't exist. Please use the correct URL, channel and parameters."
        return [self._error("60018", text, request_id)]

    def _private(self, channel: str, arg: Mapping[str, Any], request_id: str, now: Instant) -> list[Effect]:
        if not self._account:
            return [self._error("60011", "Please log in", request_id)]
        kind = str(arg.get("instType", ""))
        kinds = {"orders": {*EXCHANGE_OF, "ANY"}, "positions": {"MARGIN", "SWAP", "FUTURES", "OPTION", "ANY"}}
        if channel not in COUNTED or (channel in kinds and kind not in kinds[channel]):
            return [self._error("60018", f"Wrong URL or channel:{channel} doesn't exist.", request_id)]
        effects = self._acknowledged("subscribe", arg, request_id)
        count = self._state.join_channel(self._account, channel, self)
        told = {"channel": channel, "connCount": str(count), "connId": self._conn_id}
        if count > MAX_CONNECTIONS and self.world.settings.limits:
            self._state.leave_channel(self._account, channel, self)
            return [*effects, Frame(_encode({"event": "channel-conn-count-error", **told})), Noted("limit", channel)]
        self._channels.add(channel)
        effects.append(Frame(_encode({"event": "channel-conn-count", **told})))
        if channel == "orders":
            self._orders.update(EXCHANGE_OF if kind == "ANY" else {kind})
        if channel == "positions":
            self._positions.update(EXCHANGE_OF if kind == "ANY" else {kind})
            effects.append(self._position_snapshot(kind, now))
        if channel == "account":
            effects.append(self._snapshot(now))
        return effects

    def _position_snapshot(self, kind: str, now: Instant) -> Frame:
        account, rows = self.world.engine.account(self._account), []
        for exchange in ("okxLinear", "okxInverse"):
            for held in account.positions(exchange):
                quote = self.world.markets.quote(exchange, held.symbol)
                if kind in ("ANY", quote.symbol.kind):
                    rows.append({**position_row(held, quote), "pTime": str(now.wall_ms)})
        arg = {"channel": "positions", "instType": kind, "uid": self._account}
        return Frame(_encode({"arg": arg, "eventType": "snapshot", "curPage": 1, "lastPage": True, "data": rows}))

    def _snapshot(self, now: Instant) -> Frame:
        holdings = [row for row in self.world.engine.account(self._account).holdings(WALLET) if row.total]
        arg = {"channel": "account", "uid": self._account}
        data = [account_row(holdings, now.wall_ms)]
        return Frame(_encode({"arg": arg, "eventType": "snapshot", "curPage": 1, "lastPage": True, "data": data}))

    def _unsubscribe(self, arg: Mapping[str, Any], request_id: str) -> list[Effect]:
        channel, wire = str(arg.get("channel", "")), str(arg.get("instId", ""))
        effects = self._acknowledged("unsubscribe", arg, request_id)
        if channel in self._channels:
            kinds = {"orders": self._orders, "positions": self._positions}.get(channel, set())
            kinds.discard(str(arg.get("instType", "")))
            if not kinds:
                self._channels.discard(channel)
                self._state.leave_channel(self._account, channel, self)
        self._tickers.discard(wire)
        for key, channels in list(self._candles.items()):
            if key[1] == wire and channel in channels:
                channels.remove(channel)
                if not channels:
                    del self._candles[key]
                    effects.append(Unwatch(*key))
        return effects

    def _acknowledged(self, event: str, arg: Mapping[str, Any], request_id: str) -> list[Effect]:
        row = {"event": event, "arg": arg, "connId": self._conn_id}
        if request_id:
            row["id"] = request_id
        topic = ":".join(str(value) for name, value in arg.items() if name != "extraParams")
        return [Frame(_encode(row), ack=True), Noted(event, topic)]

    def _error(self, code: str, text: str, request_id: str = "") -> Frame:
        row = {"event": "error", "code": code, "msg": text, "connId": self._conn_id}
        if request_id:
            row["id"] = request_id
        return Frame(_encode(row), ack=True)

    # --- pushes ---

    def _push(self, effects: list[Effect], now: Instant) -> Effects:
        if any(isinstance(effect, Frame) for effect in effects):
            self._pushed = now.mono
        return effects

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.account != self._account:
            return ()
        if isinstance(change, OrderChange):
            return self._push(self._order(change), now)
        effects: list[Effect] = []
        if "account" in self._channels and change.holdings:
            arg = {"channel": "account", "uid": self._account}
            data = [account_row(change.holdings, change.time_ms)]
            effects.append(Frame(_encode({"arg": arg, "eventType": "event_update", "data": data})))
        return self._push([*effects, *self._moved(change)], now)

    def _moved(self, change: WalletChange) -> list[Effect]:
        effects: list[Effect] = []
        for held in change.positions:
            quote = self.world.markets.quote(change.exchange, held.symbol)
            if quote.symbol.kind in self._positions:
                arg = {"channel": "positions", "instType": quote.symbol.kind, "uid": self._account}
                rows = [{**position_row(held, quote), "pTime": str(change.time_ms)}]
                effects.append(Frame(_encode({"arg": arg, "eventType": "event_update", "data": rows})))
        return effects

    def _order(self, change: OrderChange) -> list[Effect]:
        """Contract types are not told apart: whoever subscribed SWAP gets linear and inverse orders."""
        symbol = self.world.markets.symbol(change.exchange, change.order.symbol)
        if symbol is None or symbol.kind not in self._orders:
            return []
        arg = {"channel": "orders", "instType": symbol.kind, "uid": self._account}
        return [Frame(_encode({"arg": arg, "data": [pushed_order(change, symbol.kind)]}))]

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        frames = self._state.tickers.frames(tick)
        wanted: list[Effect] = [Frame(frame) for wire, frame in frames.items() if wire in self._tickers]
        return self._push(wanted, now)

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        symbol: Symbol = update.symbol
        row = candle_row(update.candle, symbol, closed=update.closed)
        effects: list[Effect] = [
            Frame(_encode({"arg": {"channel": channel, "instId": symbol.wire}, "data": [row]}))
            for channel in self._candles.get((update.exchange, symbol.wire, update.interval), ())
        ]
        return self._push(effects, now)

    # --- time and signals ---

    def next_timer(self) -> float | None:
        quiet = self._pushed + QUIET_S
        return quiet if self._closes is None else min(quiet, self._closes[0])

    def timer(self, now: Instant) -> Effects:
        if self._closes is not None and now.mono >= self._closes[0]:
            return (self._closes[1],)
        if now.mono >= self._pushed + QUIET_S:
            return (Close(4004, "No data received in 30s."),)
        return ()

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            seconds = float(signal.params.get("seconds") or UPGRADE_S)
            self._closes = (now.mono + seconds, Close(1001, "service upgrade"))
            text = "The connection will soon be closed for a service upgrade. Please reconnect."
            row = {"event": "notice", "code": "64008", "msg": text, "connId": self._conn_id}
            return self._push([Frame(_encode(row))], now)
        if signal.name == "key_changed" and self._account and signal.account in ("", self._account):
            return (Unfollow(self._account), Close(4007, "apiKey has been updated or deleted"))
        return super().signal(signal, now)

    def closed(self, now: Instant) -> None:
        for channel in self._channels:
            self._state.leave_channel(self._account, channel, self)
