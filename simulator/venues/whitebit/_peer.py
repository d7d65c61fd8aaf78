"""WhiteBIT's one kind of socket, public and private. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, Holding, Order, OrderChange, Tick, WalletChange
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
from simulator.venues.whitebit import _frames as frames
from simulator.venues.whitebit._state import State
from simulator.venues.whitebit._symbols import FUTURES, SECONDS, SPOT

SPOT_PUSH_S: Final = 1.0
MARGIN_PUSH_S: Final = 1.5
POSITIONS: Final = "positionsMargin"
POSITIONS_PUSH_S: Final = 1.0
"""Of all of them, whether anything changed or not."""
PRIVATE: Final = ("ordersPending", "ordersExecuted", "deals", "balanceSpot", "balanceMargin", POSITIONS)
_OK: Final = {"status": "success"}


class WhitebitPeer(BasePeer):
    """One connection. A subscription replaces the one before it on its channel."""

    idle_s = 60.0
    lifetime_s = None
    messages = Rate(200, 60.0)

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._account = ""
        self._markets: dict[str, tuple[str, ...]] = {}
        """Channel → what it is subscribed to."""
        self._candles: tuple[str, int] | None = None
        self._new: dict[int, Order] = {}
        """Orders that were placed just now: one that matches at once is told by its end only."""
        self._new_at = 0.0
        self._replaced: dict[int, Order] = {}
        """By the order that they replace, whose end is told first."""
        self._wallets: dict[str, dict[str, Holding]] = {SPOT: {}, FUTURES: {}}
        self._push_at: dict[str, float] = {}
        self._last_id: int | None = None

    # --- requests ---

    def pinged(self, payload: bytes, now: Instant) -> Effects:
        """Control pings are not answered, and are no message of the client."""
        return ()

    def ponged(self, payload: bytes, now: Instant) -> Effects:
        return ()

    def received(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return (Close(1000, "invalid json"),)
        self._last_id = request.get("id") if isinstance(request, dict) else None
        return super().received(data, now)

    def over_limit(self) -> Effects:
        return (Noted("limit", "messages"), self._refused(7, "too many requests"))

    def _result(self, result: object) -> Frame:
        return Frame(msgspec.json.encode({"id": self._last_id, "result": result, "error": None}), ack=True)

    def _refused(self, code: int, text: str) -> Frame:
        error = {"code": code, "message": text}
        return Frame(msgspec.json.encode({"id": self._last_id, "result": None, "error": error}), ack=True)

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        request = msgspec.json.decode(data)
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return (self._refused(1, "invalid argument"),)
        method, params = request["method"], request.get("params")
        if not isinstance(params, list) or not isinstance(self._last_id, int):
            return (self._refused(1, "invalid argument"),)
        if method == "ping":
            return (self._result("pong"),)
        if method == "time":
            return (self._result(now.wall_ms // 1000),)
        if method == "authorize":
            return self._authorize(params, now)
        channel, _, verb = method.rpartition("_")
        if verb == "unsubscribe" and (channel in self._markets or channel == "candles"):
            return self._unsubscribe(channel)
        if verb != "subscribe":
            return (self._refused(4, "method not found"),)
        if channel in PRIVATE:
            return self._subscribe_private(channel, params, now)
        if channel == "market":
            return self._subscribe_market(params)
        return self._subscribe_candles(params) if channel == "candles" else (self._refused(4, "method not found"),)

    def _authorize(self, params: list[Any], now: Instant) -> Effects:
        token = params[0] if len(params) == 2 and isinstance(params[0], str) and params[1] == "public" else ""
        account = self._state.tokens.take(token, now)
        if account is None or self._account:
            return (self._refused(1, "invalid argument"), Noted("login_refused", "token"))
        self._account, self.feed = account, "user"
        return (self._result(_OK), Noted("login", account), Follow(account))

    def _subscribe_private(self, channel: str, params: list[Any], now: Instant) -> Effects:
        if not self._account:
            return (self._refused(6, "require authentication"),)
        named: Any = params
        if channel in ("ordersExecuted", "deals"):
            size = 2 if channel == "ordersExecuted" else 1
            if len(params) != size or not isinstance(params[0], list):
                return (self._refused(1, "invalid argument"),)
            named = params[0]
        orders = channel in ("ordersPending", "ordersExecuted")
        # Whether no names mean all of them is documented for the other channels only, which take no assets by name.
        if (orders and not named) or (channel.startswith(("balance", POSITIONS)) and named):
            return (self._refused(1, "invalid argument"),)
        if orders or channel == "deals":
            for name in named:
                if not isinstance(name, str) or self._exchange_of(name) is None:
                    return self._unknown(channel, name)
        self._markets[channel] = tuple(str(one) for one in named)
        if channel == POSITIONS:
            self._push_at[channel] = now.mono + POSITIONS_PUSH_S
        return (self._result(_OK), Noted("subscribe", channel))

    def _exchange_of(self, market: str) -> str | None:
        exchanges = (SPOT, FUTURES)
        return next((one for one in exchanges if self.world.markets.symbol(one, market) is not None), None)

    def _unknown(self, channel: str, name: object) -> Effects:
        """One bad market refuses the whole list, and the channel is empty then."""
        self._markets.pop(channel, None)
        return (self._refused(1, f"market {name} does not exist"),)

    def _subscribe_market(self, params: list[Any]) -> Effects:
        for name in params:
            if not isinstance(name, str) or self._exchange_of(name) is None:
                return self._unknown("market", name)
        self.feed = self.feed or "market"
        self._markets["market"] = tuple(params)
        exchanges = {one for name in params if (one := self._exchange_of(name)) is not None}
        return (
            self._result(_OK),
            *(Noted("subscribe", f"market:{name}") for name in params),
            *(Watch(exchange) for exchange in sorted(exchanges)),
        )

    def _subscribe_candles(self, params: list[Any]) -> Effects:
        if len(params) != 2 or not isinstance(params[0], str) or params[1] not in SECONDS or params[1] is True:
            return (self._refused(1, "invalid argument"),)
        exchange = self._exchange_of(params[0])
        if exchange is None:
            return (self._refused(1, f"market {params[0]} does not exist"),)
        before = self._leave_candles()
        self.feed = self.feed or "market"
        self._candles = (params[0], params[1])
        noted = Noted("subscribe", f"candles:{params[0]}:{params[1]}")
        return (*before, self._result(_OK), noted, Watch(exchange, params[0], SECONDS[params[1]]))

    def _leave_candles(self) -> list[Effect]:
        if self._candles is None:
            return []
        (market, seconds), self._candles = self._candles, None
        exchange = self._exchange_of(market)
        return [Unwatch(exchange, market, SECONDS[seconds])] if exchange is not None else []

    def _unsubscribe(self, channel: str) -> Effects:
        gone = self._markets.pop(channel, ())
        if channel == POSITIONS:
            self._push_at.pop(channel, None)
        effects: list[Effect] = [self._result(_OK), Noted("unsubscribe", channel)]
        if channel == "candles":
            effects += self._leave_candles()
        if channel == "market":
            exchanges = {one for name in gone if (one := self._exchange_of(name)) is not None}
            effects += [Unwatch(exchange) for exchange in sorted(exchanges)]
        return effects

    # --- the account ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.account != self._account or change.exchange not in (SPOT, FUTURES):
            return ()
        if isinstance(change, WalletChange):
            self._gather(change, now)
            return ()
        return self._order(change, now)

    def _gather(self, change: WalletChange, now: Instant) -> None:
        futures = change.wallet == FUTURES
        channel = "balanceMargin" if futures else "balanceSpot"
        if channel not in self._markets or not change.holdings:
            return
        self._wallets[FUTURES if futures else SPOT].update({one.asset: one for one in change.holdings})
        self._push_at.setdefault(channel, now.mono + (MARGIN_PUSH_S if futures else SPOT_PUSH_S))

    def _order(self, change: OrderChange, now: Instant) -> list[Effect]:
        order = change.order
        if change.kind == "NEW" and order.open:
            if order.replaces:
                self._replaced[order.replaces] = order
            else:
                self._new[order.order_id] = order
                self._new_at = now.mono
            return []
        if order.open:
            return [*self._told_new(order.order_id), *self._pending(2, order), *self._deal(change)]
        self._new.pop(order.order_id, None)
        after = self._replaced.pop(order.order_id, None)
        told: list[Effect] = [*self._pending(3, order), *self._executed(order)]
        if order.order_id % 2:
            told.reverse()
        told = [*self._deal(change), *told] if order.order_id % 3 else [*told, *self._deal(change)]
        return [*told, *(self._pending(1, after) if after is not None else [])]

    def _told_new(self, order_id: int) -> list[Effect]:
        order = self._new.pop(order_id, None)
        return self._pending(1, order) if order is not None else []

    def _pending(self, event: int, order: Order) -> list[Effect]:
        if order.symbol not in self._markets.get("ordersPending", ()):
            return []
        return [frames.push("ordersPending", [event, frames.order_row(order)])]

    def _executed(self, order: Order) -> list[Effect]:
        if order.symbol not in self._markets.get("ordersExecuted", ()):
            return []
        return [frames.push("ordersExecuted", [frames.executed_row(order)])]

    def _deal(self, change: OrderChange) -> list[Effect]:
        wanted = self._markets.get("deals")
        if change.trade is None or wanted is None or (wanted and change.order.symbol not in wanted):
            return []
        return [frames.push("deals", frames.deal_row(change.trade, change.order.client_id))]

    # --- prices ---

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        wanted = set(self._markets.get("market", ()))
        return [
            frames.push("market", [quote.symbol.wire, frames.market_row(quote)])
            for quote in tick.quotes
            if quote.symbol.wire in wanted
        ]

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        wire = update.symbol.wire
        if self._candles is None or self._candles[0] != wire or SECONDS[self._candles[1]] != update.interval:
            return ()
        return (frames.push("candles", [[*frames.candle_row(update.candle), wire]]),)

    # --- time and signals ---

    def next_timer(self) -> float | None:
        times = [*self._push_at.values(), *([self._new_at] if self._new else [])]
        return min(times, default=None)

    def timer(self, now: Instant) -> Effects:
        effects: list[Effect] = [one for number in list(self._new) for one in self._told_new(number)]
        for channel in [name for name, at in self._push_at.items() if at <= now.mono]:
            del self._push_at[channel]
            if channel == POSITIONS:
                self._push_at[channel] = now.mono + POSITIONS_PUSH_S
                effects.append(self._positions())
            else:
                effects.append(self._balances(channel))
        return effects

    def _positions(self) -> Frame:
        held = self.world.engine.account(self._account).positions(FUTURES)
        rows = [frames.position_row(one, self.world.markets.quote(FUTURES, one.symbol)) for one in held]
        return frames.push(POSITIONS, {"total": len(rows), "records": rows})

    def _balances(self, channel: str) -> Frame:
        wallet = self._wallets[FUTURES if channel == "balanceMargin" else SPOT]
        holdings = list(wallet.values())
        wallet.clear()
        if channel == "balanceMargin":
            return frames.push(channel, [frames.margin_row(one) for one in holdings])
        return frames.push(channel, [frames.spot_wallet(holdings)])

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name in ("key_changed", "terminate") and self._account and signal.account in ("", self._account):
            return (Unfollow(self._account), Close(1000, "authorization is gone"))
        return super().signal(signal, now)
