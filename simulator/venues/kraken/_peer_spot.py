"""Spot WebSocket v2 connections: public and private. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, OrderChange, Tick
from simulator._venue import Close, Effect, Effects, Follow, Frame, Instant, Noted, Signal, Unfollow, Unwatch, Watch
from simulator.venues.kraken import _frames_spot as frames
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import MINUTES, SPOT

HEARTBEAT_S: Final = 1.0
ALONE_S: Final = 60.0
"""A private socket without a subscription is closed after this long."""
MAINTENANCE_S: Final = 3.0
_encode = msgspec.json.encode


class SpotRequest(msgspec.Struct):
    """A frame of a client."""

    method: str = ""
    params: dict[str, Any] = {}
    req_id: int | None = None


_decode = msgspec.json.Decoder(SpotRequest).decode


class _SpotPeer(BasePeer):
    """Heartbeats, answers, status: what both kinds of connections have."""

    lifetime_s = None
    messages = Rate(50, 5.0)

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._said = now.mono
        self._closes: float | None = None

    def opened(self, now: Instant) -> Effects:
        return (self._status("online"),)

    def _status(self, system: str) -> Frame:
        row = {"version": "2.0.9", "system": system, "api_version": "v2", "connection_id": id(self) % 10**12}
        return Frame(_encode({"channel": "status", "type": "update", "data": [row]}), ack=True)

    def over_limit(self) -> Effects:
        return (Noted("limit", "messages"), Frame(_encode({"error": "Exceeded msg rate", "success": False}), ack=True))

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [Frame(_encode({"error": "Malformed request", "success": False}), ack=True)]
        if request.method == "ping":
            return self._say([self._answer(request, now)], now)
        if request.method == "subscribe":
            return self._say(self.subscribe(request, now), now)
        if request.method == "unsubscribe":
            return self._say(self.unsubscribe(request, now), now)
        return self._say([self._refused(request, "Unsupported method", now)], now)

    def subscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        return [self._refused(request, "Subscription not found", now)]

    def unsubscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        return [self._refused(request, "Subscription not found", now)]

    def subscribed(self) -> bool:
        """Whether anything is."""
        return False

    # --- answers ---

    def _answer(self, request: SpotRequest, now: Instant, result: object = None) -> Frame:
        method = "pong" if request.method == "ping" else request.method
        row: dict[str, object] = {"method": method, "time_in": frames.moment(now.wall_ms)}
        if result is not None:
            row |= {"result": result, "success": True}
        if request.req_id is not None:
            row["req_id"] = request.req_id
        return Frame(_encode(row | {"time_out": frames.moment(now.wall_ms)}), ack=True)

    def _refused(self, request: SpotRequest, text: str, now: Instant, symbol: str = "") -> Frame:
        row: dict[str, object] = {"error": text, "method": request.method, "success": False}
        if symbol:
            row["symbol"] = symbol
        if request.req_id is not None:
            row["req_id"] = request.req_id
        stamps = {"time_in": frames.moment(now.wall_ms), "time_out": frames.moment(now.wall_ms)}
        return Frame(_encode(row | stamps), ack=True)

    def _say(self, effects: list[Effect], now: Instant) -> Effects:
        if any(isinstance(effect, Frame) for effect in effects):
            self._said = now.mono
        return effects

    # --- time and signals ---

    def next_timer(self) -> float | None:
        beat = self._said + HEARTBEAT_S if self.subscribed() else None
        times = [time for time in (beat, self._closes) if time is not None]
        return min(times, default=None)

    def timer(self, now: Instant) -> Effects:
        if self._closes is not None and now.mono >= self._closes:
            return (Close(1001, "maintenance"),)
        # No answer, but no data either: faults of data frames are not meant for it.
        return self._say([Frame('{"channel":"heartbeat"}', ack=True)], now)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            self._closes = now.mono + float(signal.params.get("seconds") or MAINTENANCE_S)
            return self._say([self._status("maintenance")], now)
        return super().signal(signal, now)


class PublicPeer(_SpotPeer):
    """Tickers and candles."""

    feed = "market"
    exchange = SPOT

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state, now)
        self._tickers: set[str] = set()
        self._candles: dict[str, int] = {}
        """Symbol → minutes: one interval of a symbol is all that a connection may carry."""

    def subscribed(self) -> bool:
        return bool(self._tickers or self._candles)

    def subscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel, symbols = request.params.get("channel"), request.params.get("symbol")
        if channel not in ("ticker", "ohlc") or not isinstance(symbols, list):
            text = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
            return [self._refused(request, text if channel in PRIVATE else "Subscription not found", now)]
        effects: list[Effect] = []
        for symbol in map(str, symbols):
            if self.world.markets.symbol(self.exchange, symbol) is None:
                text = f"Currency pair not supported {symbol}"
                effects.append(self._refused(request, text, now, symbol))
            elif channel == "ticker":
                effects += self._ticker(request, symbol, now)
            else:
                effects += self._ohlc(request, symbol, now)
        return effects

    def _ticker(self, request: SpotRequest, symbol: str, now: Instant) -> list[Effect]:
        if symbol in self._tickers:
            return [self._refused(request, "Already subscribed", now, symbol)]
        self._tickers.add(symbol)
        result = {"channel": "ticker", "event_trigger": "trades", "snapshot": True, "symbol": symbol}
        quote = frames.ticker_row(self.world.markets.quote(self.exchange, symbol))
        snapshot = Frame(_encode({"channel": "ticker", "type": "snapshot", "data": [quote]}))
        noted = Noted("subscribe", f"ticker:{symbol}")
        return [self._answer(request, now, result), noted, Watch(self.exchange), snapshot]

    def _ohlc(self, request: SpotRequest, symbol: str, now: Instant) -> list[Effect]:
        minutes = request.params.get("interval", 1)
        if not isinstance(minutes, int) or isinstance(minutes, bool):
            return [self._refused(request, "Subscription ohlc interval must be an integer", now, symbol)]
        if minutes not in MINUTES:
            return [self._refused(request, "Subscription ohlc interval not supported", now, symbol)]
        if symbol in self._candles:
            other = self._candles[symbol] != minutes
            text = "Already subscribed to one ohlc interval on this symbol" if other else "Already subscribed"
            return [self._refused(request, text, now, symbol)]
        self._candles[symbol] = minutes
        result = {"channel": "ohlc", "interval": minutes, "snapshot": False, "symbol": symbol}
        watch = Watch(self.exchange, symbol, MINUTES[minutes])
        return [self._answer(request, now, result), Noted("subscribe", f"ohlc-{minutes}:{symbol}"), watch]

    def unsubscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel, symbols = request.params.get("channel"), request.params.get("symbol")
        effects: list[Effect] = []
        for symbol in map(str, symbols if isinstance(symbols, list) else ()):
            if channel == "ticker":
                self._tickers.discard(symbol)
            elif symbol in self._candles:
                effects.append(Unwatch(self.exchange, symbol, MINUTES[self._candles.pop(symbol)]))
            effects.append(self._answer(request, now, {"channel": channel, "symbol": symbol}))
            effects.append(Noted("unsubscribe", f"{channel}:{symbol}"))
        return effects

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        rendered = self.rendered(tick)
        return self._say([Frame(frame) for wire, frame in rendered.items() if wire in self._tickers], now)

    def rendered(self, tick: Tick) -> dict[str, bytes]:
        """Wire symbol → frame."""
        return self._state.tickers.frames(tick)

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        minutes = self._candles.get(update.symbol.wire)
        if minutes is None or MINUTES[minutes] != update.interval or (update.closed and not update.candle.trades):
            return ()
        row = frames.candle_row(update.candle, update.symbol, minutes)
        stamp = frames.moment(update.time_ms)
        return self._say(
            [Frame(_encode({"channel": "ohlc", "type": "update", "timestamp": stamp, "data": [row]}))], now
        )


PRIVATE: Final = ("executions", "balances")


class PrivatePeer(_SpotPeer):
    """Executions and balances of one account."""

    feed = "user"

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state, now)
        self._account = ""
        self._token = ""
        self._channels: set[str] = set()
        self._sequence = 0

    def subscribed(self) -> bool:
        return bool(self._channels)

    def subscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel, token = request.params.get("channel"), str(request.params.get("token", ""))
        if channel not in PRIVATE:
            return [self._refused(request, "Public market data is unavailable on this endpoint", now)]
        effects: list[Effect] = []
        if not token or token != self._token:
            account = self._state.tokens.take(token, now)
            if account is None:
                return [self._refused(request, "ESession:Invalid session", now), Noted("login_refused", "token")]
            effects += [Noted("login", account), Follow(account)]
            self._account, self._token = account, token
        if channel in self._channels:
            return [*effects, self._refused(request, "Already subscribed", now)]
        self._channels.add(channel)
        result: dict[str, object] = {"channel": channel, "snapshot": True}
        if channel == "executions":
            result = {"channel": channel, "maxratecount": 125, "snap_orders": True, "snap_trades": False}
        effects += [self._answer(request, now, result), Noted("subscribe", channel)]
        return [*effects, self._snapshot(channel)]

    def _snapshot(self, channel: str) -> Frame:
        engine = self.world.engine
        if channel == "executions":
            orders = engine.open_orders(self._account, SPOT)
            return self._message(channel, "snapshot", [frames.snapshot_row(order) for order in orders])
        return self._message(channel, "snapshot", frames.balance_snapshot(engine.account(self._account).holdings(SPOT)))

    def _message(self, channel: str, kind: str, rows: object) -> Frame:
        self._sequence += 1
        return Frame(_encode({"channel": channel, "type": kind, "data": rows, "sequence": self._sequence}))

    def unsubscribe(self, request: SpotRequest, now: Instant) -> list[Effect]:
        channel = str(request.params.get("channel"))
        self._channels.discard(channel)
        effects: list[Effect] = [self._answer(request, now, {"channel": channel}), Noted("unsubscribe", channel)]
        if not self._channels and self._account:
            effects.append(Unfollow(self._account))
        return effects

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.account != self._account or change.exchange != SPOT:
            return ()
        effects: list[Effect] = []
        if isinstance(change, OrderChange):
            if "executions" in self._channels:
                effects += [self._message("executions", "update", rows) for rows in frames.rows_of(change)]
        elif "balances" in self._channels:
            rows = frames.ledger_rows(change.holdings, change.seq, change.time_ms)
            effects += [self._message("balances", "update", rows)] if rows else []
        return self._say(effects, now)

    def next_timer(self) -> float | None:
        if self.subscribed():
            return super().next_timer()
        alone = self.born + ALONE_S
        return alone if self._closes is None else min(alone, self._closes)

    def timer(self, now: Instant) -> Effects:
        if not self.subscribed() and self._closes is None:
            return (Close(1000, "no private subscription"),)
        return super().timer(now)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name in ("key_changed", "terminate") and self._account and signal.account in ("", self._account):
            return (Unfollow(self._account), Close(1008, "ESession:Invalid session"))
        return super().signal(signal, now)
