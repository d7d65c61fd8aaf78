"""One WebSocket connection to Hyperliquid: prices and accounts alike. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer, Window
from simulator._values import INTERVALS, CandleUpdate, Change, Order, OrderChange, Tick
from simulator._venue import Close, Effect, Effects, Follow, Frame, Instant, Noted, Unfollow, Unwatch, Watch
from simulator.venues.hyperliquid._frames import candle_row, fill_row, update_row
from simulator.venues.hyperliquid._state import STATES, USER_TYPES, State
from simulator.venues.hyperliquid._symbols import DEXES, LINEAR, SPOT

QUIET_S: Final = 60.0
"""A connection to which nothing was sent for so long is cut."""
UNUSED_S: Final = 30.0
"""A connection without a subscription is cut."""
BURST: Final = Rate(10, 1.0)
"""More subscribe requests at once end the connection as "Inactive"."""
SNAPSHOT: Final = 2_000
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")

_encode = msgspec.json.encode
Json = dict[str, Any]


class HyperliquidPeer(BasePeer):
    """What it is for shows with its first subscription."""

    lifetime_s = None

    def __init__(self, state: State, remote: str, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self.remote = remote
        self.subscribed: dict[str, Json] = {}
        """By their text."""
        self.users: set[str] = set()
        self._accounts: dict[str, str] = {}
        """Account → address, of those that speak."""
        self._sent = now.mono
        self._burst = Window(BURST)

    def opened(self, now: Instant) -> Effects:
        return self._state.crowded(self)

    # --- client frames ---

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        if self.world.settings.limits and not self._state.messages.hit(self.remote, now.mono):
            return (Noted("limit", "messages"), Close(1008, "Too many messages"))
        try:
            request = msgspec.json.decode(data, type=Json)
            method = request["method"]
            if method == "ping":
                return self._push([Frame('{"channel":"pong"}', ack=True)], now)
            subscription = request["subscription"]
            known = method in {"subscribe", "unsubscribe"} and isinstance(subscription.get("type"), str)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, AttributeError):
            known = False
        if not known:
            shown = data if isinstance(data, str) else data.decode("utf-8", "replace")
            return self._push([_error(f"Error parsing JSON into valid websocket request: {shown[:200]}")], now)
        if method == "unsubscribe":
            return self._push(self._unsubscribe(subscription), now)
        if self.world.settings.limits and not self._burst.hit(now.mono):
            return (Noted("limit", "burst"), Close(1000, "Inactive"))
        return self._push(self._subscribe(subscription, now), now)

    def _subscribe(self, subscription: Json, now: Instant) -> list[Effect]:
        shown = _encode(subscription).decode()
        if shown in self.subscribed:
            return [_error(f"Already subscribed: {shown}")]
        refusal = self._state.full(self, subscription)
        if refusal:
            return [_error(refusal), Noted("limit", refusal.split(" total")[0])]
        effects = self._join(subscription, now)
        if effects is None:
            return [_error(f"Invalid subscription {shown}")]
        self.subscribed[shown] = subscription
        kind = subscription["type"]
        topic = ":".join(str(subscription[name]) for name in ("coin", "interval", "dex") if subscription.get(name))
        return [_answer("subscribe", subscription), Noted("subscribe", f"{kind}:{topic}".rstrip(":")), *effects]

    def _join(self, subscription: Json, now: Instant) -> list[Effect] | None:
        """What a new subscription leads to; None for one that can't be had."""
        kind = subscription["type"]
        if kind in USER_TYPES:
            effects = self._join_user(kind, str(subscription.get("user", "")))
            if effects is not None and kind in STATES:
                effects.append(self._told(subscription, now.wall_ms))
            return effects
        self.feed = self.feed or "market"
        if kind == "allMids":
            dex = str(subscription.get("dex") or "")
            if dex and dex not in DEXES:
                return None
            watched = (LINEAR,) if dex else (SPOT, LINEAR)
            return [*(Watch(exchange) for exchange in watched), Frame(self._state.mids.frame(dex))]
        coin, interval = str(subscription.get("coin", "")), str(subscription.get("interval", ""))
        exchange = self._state.exchange_of(coin)
        if kind != "candle" or exchange is None or interval not in INTERVALS or interval == "1s":
            return None
        return [Watch(exchange, coin, interval)]

    def _join_user(self, kind: str, user: str) -> list[Effect] | None:
        if not _ADDRESS.fullmatch(user):
            return None
        self.feed = "user"
        address = user.lower()
        self.users.add(address)
        account = self._state.speaking(address)
        effects: list[Effect] = []
        if account is not None and account not in self._accounts:
            self._accounts[account] = address
            effects = [Noted("login", account), Follow(account)]
        if kind == "userFills":
            effects.append(self._fills(address, self._state.fills(account)[-SNAPSHOT:], snapshot=True))
        return effects

    def _unsubscribe(self, subscription: Json) -> list[Effect]:
        shown = _encode(subscription).decode()
        if self.subscribed.pop(shown, None) is None:
            return [_error(f"Already unsubscribed: {shown}")]
        effects: list[Effect] = [_answer("unsubscribe", subscription), Noted("unsubscribe", subscription["type"])]
        user = str(subscription.get("user", "")).lower()
        if user and not any(str(left.get("user", "")).lower() == user for left in self.subscribed.values()):
            self.users.discard(user)
            gone = [account for account, address in self._accounts.items() if address == user]
            effects += [Unfollow(account) for account in gone]
            self._accounts = {account: address for account, address in self._accounts.items() if address != user}
        elif subscription["type"] == "candle":
            exchange = self._state.exchange_of(str(subscription.get("coin", "")))
            if exchange is not None:
                effects.append(Unwatch(exchange, subscription["coin"], subscription["interval"]))
        elif not self._dexes():
            effects += [Unwatch(SPOT), Unwatch(LINEAR)]
        return effects

    def _dexes(self) -> list[str]:
        mids = (one for one in self.subscribed.values() if one["type"] == "allMids")
        return [str(one.get("dex") or "") for one in mids]

    def _wants(self, kind: str, address: str) -> bool:
        return any(
            one["type"] == kind and str(one.get("user", "")).lower() == address for one in self.subscribed.values()
        )

    # --- pushes ---

    def _push(self, effects: list[Effect], now: Instant) -> Effects:
        if any(isinstance(effect, Frame) for effect in effects):
            self._sent = now.mono
        return effects

    def _fills(self, address: str, rows: list[Json], *, snapshot: bool = False) -> Frame:
        data = {**({"isSnapshot": True} if snapshot else {}), "user": address, "fills": rows}
        return Frame(_encode({"channel": "userFills", "data": data}))

    def _told(self, subscription: Json, time_ms: int) -> Frame:
        """All that an account holds on one dex, or on each."""
        user = str(subscription.get("user", "")).lower()
        account = self._state.speaking(user)
        if subscription["type"] == "allDexsClearinghouseState":
            states = [[dex, self._state.clearinghouse(account, dex, time_ms)] for dex in ("", *DEXES)]
            data: Json = {"user": user, "clearinghouseStates": states}
        else:
            dex = str(subscription.get("dex") or "")
            data = {"dex": dex, "user": user, "clearinghouseState": self._state.clearinghouse(account, dex, time_ms)}
        return Frame(_encode({"channel": subscription["type"], "data": data}))

    def changed(self, change: Change, now: Instant) -> Effects:
        """Of a trade the fill comes first every other time: clients can't rely on either order."""
        address = self._accounts.get(change.account)
        if address is None:
            return ()
        if not isinstance(change, OrderChange):
            wanted = [
                one
                for one in self.subscribed.values()
                if change.positions and one["type"] in STATES and str(one.get("user", "")).lower() == address
            ]
            return self._push([self._told(one, change.time_ms) for one in wanted], now)
        symbol = self.world.markets.symbol(change.exchange, change.order.symbol)
        effects: list[Effect] = []
        if self._wants("orderUpdates", address):
            effects += (self._states(rows) for rows in self._rows(change))
        if change.trade is not None and self._wants("userFills", address):
            fill = self._fills(address, [fill_row(change.trade, change.order, symbol)])
            effects.insert(0 if change.trade.trade_id % 2 else len(effects), fill)
        return self._push(effects, now)

    def _rows(self, change: OrderChange) -> list[list[Order]]:
        """The orders of each frame that a change leads to.

        Of a modify the new order and the end of the old one come in two frames, in one, or the end first, in turns:
        clients can't rely on any order.
        """
        order = change.order
        if change.kind == "CANCELED" and order.replaced_by:
            return [[order]] if order.replaced_by % 3 == 0 else []
        old = self.world.engine.locate(order.replaces) if change.kind == "NEW" and order.replaces else None
        if old is None or order.order_id % 3 == 0:
            return [[order]]
        return [[order, old]] if order.order_id % 3 == 1 else [[old], [order]]

    def _states(self, orders: Iterable[Order]) -> Frame:
        rows = [update_row(order, self._state.price(order)) for order in orders]
        return Frame(_encode({"channel": "orderUpdates", "data": rows}))

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        self._state.mids.take(tick)
        dexes = [dex for dex in self._dexes() if tick.exchange == LINEAR or not dex]
        frames: list[Effect] = [Frame(self._state.mids.frame(dex)) for dex in dexes]
        return self._push(frames, now)

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        row = candle_row(update.candle, update.symbol, update.interval)
        return self._push([Frame(_encode({"channel": "candle", "data": row}))], now)

    # --- time ---

    def next_timer(self) -> float | None:
        quiet = self._sent + QUIET_S
        return quiet if self.subscribed else min(quiet, self.born + UNUSED_S)

    def timer(self, now: Instant) -> Effects:
        if now.mono >= self._sent + QUIET_S:
            return (Close(1000, "Expired"),)
        return (Close(1000, "Inactive"),) if not self.subscribed else ()

    def closed(self, now: Instant) -> None:
        self._state.gone(self)


def _error(said: str) -> Frame:
    return Frame(_encode({"channel": "error", "data": said}), ack=True)


def _answer(method: str, subscription: Json) -> Frame:
    data = {"method": method, "subscription": subscription}
    return Frame(_encode({"channel": "subscriptionResponse", "data": data}), ack=True)
