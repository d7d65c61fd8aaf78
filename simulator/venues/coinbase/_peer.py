"""One Coinbase socket: channels, the sequence over all its messages, heartbeats. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, OrderChange, Quote, Tick
from simulator._venue import (
    Close,
    Effect,
    Effects,
    Follow,
    Frame,
    Instant,
    Noted,
    Request,
    Signal,
    Unfollow,
    Unwatch,
    Watch,
)
from simulator.engine import Account
from simulator.venues.coinbase._auth import Refused, by_frame
from simulator.venues.coinbase._frames import candle_row, order_row, ticker_row, timestamp
from simulator.venues.coinbase._state import State
from simulator.venues.coinbase._symbols import (
    BATCH_S,
    EXCHANGE,
    FIRST_SUBSCRIBE_S,
    QUIET_S,
    SNAPSHOT_PAGE,
    USER_HOSTS,
    alias_of,
)

Row = dict[str, Any]

_USER_CHANNELS: Final = frozenset({"user", "heartbeats", "futures_balance_summary"})
_CHANNELS: Final = _USER_CHANNELS | {"ticker", "ticker_batch", "candles", "market_trades", "status"}
_BUCKET: Final = "5m"
_HISTORY: Final = 20
"""Buckets of the snapshot of `candles`."""


class CoinbasePeer(BasePeer):
    """Both hosts alike; the user host has only the account's channels."""

    lifetime_s = None

    def __init__(self, state: State, request: Request, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._remote = request.remote
        self._user_host = request.host in USER_HOSTS
        self.feed = "user" if self._user_host else "market"
        self._channels: dict[str, list[str]] = {}
        self._account = ""
        self._sequence = -1
        self._beats = 3000
        self._next_beat: float | None = None
        self._next_batch: float | None = None
        self._batch: dict[str, Quote] = {}
        self._last_sent = now.mono

    # --- requests ---

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, dict) or request.get("type") not in ("subscribe", "unsubscribe"):
            return (_error("malformed message"),)
        try:
            account = by_frame(self.world.engine, request, now)
        except Refused as refused:
            text = (
                "SIWC API with Cloud API keys are not supported" if str(refused) == "SIWC" else "authentication failure"
            )
            return (_error(text), Noted("login_refused", str(refused)))
        limited = account is None and self.world.settings.limits
        if limited and not self._state.public_messages.hit(self._remote, now.mono):
            return (_error("rate limit exceeded"), Noted("limit", "messages"))
        channel = request.get("channel")
        if channel not in _CHANNELS or (self._user_host and channel not in _USER_CHANNELS):
            return (_error(f"channel {channel} is not supported"),)
        products = request.get("product_ids")
        names = [str(name) for name in products] if isinstance(products, list) else []
        if request["type"] == "unsubscribe":
            return self._unsubscribe(channel, names, now)
        return self._subscribe(channel, names, account, now)

    def _subscribe(self, channel: str, names: list[str], account: Account | None, now: Instant) -> Effects:
        if channel == "user":
            return self._follow(account, now)
        if channel == "heartbeats":
            self._channels[channel] = ["heartbeats"]
            self._next_beat = self._next_beat or now.mono + 1.0
            return (self._listing(now), Noted("subscribe", channel))
        known = {symbol.wire: symbol.wire for symbol in self.world.markets.symbols(EXCHANGE)}
        known |= {alias: wire for wire in known.copy() if (alias := alias_of(wire))}
        unknown = [name for name in names if name not in known]
        if unknown:
            return (_error(f"unknown product {unknown[0]}"),)
        wires = list(dict.fromkeys(known[name] for name in names))
        active = self._channels.setdefault(channel, [])
        fresh = [wire for wire in wires if wire not in active]
        active += fresh
        effects: list[Effect] = [self._listing(now)]
        effects += [Noted("subscribe", f"{channel}:{wire}") for wire in fresh]
        if channel in ("ticker", "ticker_batch"):
            self._next_batch = self._next_batch or now.mono + BATCH_S
            rows = [ticker_row(self.world.markets.quote(EXCHANGE, wire)) for wire in fresh]
            effects.append(Watch(EXCHANGE))
            if rows:
                effects.append(self._message(channel, {"type": "snapshot", "tickers": rows}, now))
        elif channel == "candles":
            for wire in fresh:
                effects += [Watch(EXCHANGE, wire, _BUCKET), self._history(wire, now)]
        return effects

    def _follow(self, account: Account | None, now: Instant) -> Effects:
        if account is None:
            return (_error("authentication failure"), Noted("login_refused", "no key"))
        self._account = account.account_id
        self._channels["user"] = [self._account]
        return (
            self._listing(now),
            *self._snapshot(now),
            Noted("login", self._account),
            Noted("subscribe", "user"),
            Follow(self._account),
        )

    def _snapshot(self, now: Instant) -> list[Effect]:
        """Open orders in pages; one page without orders when there are none."""
        rows = []
        for order in self.world.engine.open_orders(self._account, EXCHANGE):
            symbol = self.world.markets.symbol(EXCHANGE, order.symbol)
            if symbol is not None:
                rows.append(order_row(order, symbol))
        pages = [rows[at : at + SNAPSHOT_PAGE] for at in range(0, len(rows), SNAPSHOT_PAGE)] or [[]]
        return [self._message("user", {"type": "snapshot", "orders": page}, now) for page in pages]

    def _history(self, wire: str, now: Instant) -> Frame:
        candles = self.world.markets.candles(EXCHANGE, wire, _BUCKET, None, None, _HISTORY, now.wall_ms)
        symbol = self.world.markets.quote(EXCHANGE, wire).symbol
        rows = [candle_row(candle, symbol) for candle in reversed(candles)]
        return self._message("candles", {"type": "snapshot", "candles": rows}, now)

    def _unsubscribe(self, channel: str, names: list[str], now: Instant) -> Effects:
        active = self._channels.get(channel, [])
        gone = [name for name in (names or list(active)) if name in active]
        left = [name for name in active if name not in gone] if names else []
        effects: list[Effect] = []
        if left:
            self._channels[channel] = left
        else:
            self._channels.pop(channel, None)
            if channel == "user" and self._account:
                effects.append(Unfollow(self._account))
                self._account = ""
            elif channel == "heartbeats":
                self._next_beat = None
        if channel == "candles":
            effects += [Unwatch(EXCHANGE, wire, _BUCKET) for wire in gone]
        elif channel in ("ticker", "ticker_batch") and not {"ticker", "ticker_batch"} & self._channels.keys():
            effects.append(Unwatch(EXCHANGE))
        return (self._listing(now), *(Noted("unsubscribe", f"{channel}:{name}") for name in gone), *effects)

    # --- messages ---

    def _listing(self, now: Instant) -> Frame:
        return self._message("subscriptions", {"subscriptions": self._channels}, now, ack=True)

    def _message(self, channel: str, event: Row, now: Instant, *, ack: bool = False) -> Frame:
        self._sequence += 1
        self._last_sent = now.mono
        message = {
            "channel": channel,
            "client_id": "",
            "timestamp": timestamp(now.wall_ms),
            "sequence_num": self._sequence,
            "events": [event],
        }
        return Frame(msgspec.json.encode(message).decode(), ack=ack)

    def changed(self, change: Change, now: Instant) -> Effects:
        """Orders only: this venue pushes no balances. A new order is told as PENDING first."""
        if not isinstance(change, OrderChange) or change.exchange != EXCHANGE or "user" not in self._channels:
            return ()
        symbol = self.world.markets.symbol(EXCHANGE, change.order.symbol)
        if symbol is None:
            return ()
        at = Instant(now.mono, change.time_ms)
        states = ("PENDING", "") if change.kind == "NEW" else ("",)
        rows = [order_row(change.order, symbol, state) for state in states]
        return tuple(self._message("user", {"type": "update", "orders": [row]}, at) for row in rows)

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        """Steps of the market wait for the batch; a price that was set goes out at once."""
        wanted = {*self._channels.get("ticker_batch", ()), *self._channels.get("ticker", ())}
        self._batch.update({quote.symbol.wire: quote for quote in tick.quotes if quote.symbol.wire in wanted})
        return () if tick.walk else self._flush(now)

    def _flush(self, now: Instant) -> Effects:
        quotes, self._batch = self._batch, {}
        if not quotes:
            return ()
        channel = "ticker_batch" if "ticker_batch" in self._channels else "ticker"
        rows = [ticker_row(quote) for quote in quotes.values()]
        return (self._message(channel, {"type": "update", "tickers": rows}, now),)

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        if update.symbol.wire not in self._channels.get("candles", ()):
            return ()
        row = candle_row(update.candle, update.symbol)
        return (self._message("candles", {"type": "update", "candles": [row]}, now),)

    # --- the clock ---

    def next_timer(self) -> float | None:
        limit = self._last_sent + QUIET_S if self._channels else self.born + FIRST_SUBSCRIBE_S
        times = [time for time in (self._next_beat, self._next_batch, limit) if time is not None]
        return min(times)

    def timer(self, now: Instant) -> Effects:
        if not self._channels and now.mono >= self.born + FIRST_SUBSCRIBE_S:
            return (Noted("limit", "no subscribe"), Close(1008, "no subscription"))
        if now.mono >= self._last_sent + QUIET_S:
            return (Close(1000, "idle"),)
        effects: list[Effect] = []
        if self._next_beat is not None and now.mono >= self._next_beat:
            self._next_beat += 1.0
            self._beats += 1
            beat = {"current_time": timestamp(now.wall_ms), "heartbeat_counter": str(self._beats)}
            effects.append(self._message("heartbeats", beat, now))
        if self._next_batch is not None and now.mono >= self._next_batch:
            self._next_batch += BATCH_S
            effects += self._flush(now)
        return effects

    def signal(self, signal: Signal, now: Instant) -> Effects:
        """An accepted subscription outlives its key; a deployment of the venue closes with 1001."""
        return super().signal(signal, now)


def _error(text: str) -> Frame:
    """Error frames carry neither channel nor sequence."""
    return Frame(msgspec.json.encode({"type": "error", "message": text}).decode(), ack=True)
