"""A futures WebSocket v1 connection: public and private feeds on one address. Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any, Final

import msgspec

from exchanges._venue import Rate
from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, Order, OrderChange, Tick, Trade
from simulator._venue import Close, Effect, Effects, Follow, Frame, Instant, Noted, Signal, Unfollow, Unwatch, Watch
from simulator.signing import sha256
from simulator.venues.kraken import _frames_futures as frames
from simulator.venues.kraken._auth import futures_key, matches
from simulator.venues.kraken._state import State
from simulator.venues.kraken._symbols import FUTURES, MINUTES

PRIVATE: Final = ("open_orders", "fills", "balances", "open_positions")
CANDLES: Final = "candles_trade_"
REFUSED: Final = "Failed to subscribe to authenticated feed"
SNAPSHOT_FILLS: Final = 100
_encode = msgspec.json.encode


class _Request(msgspec.Struct):
    event: str = ""
    feed: str = ""
    product_ids: list[str] = []
    api_key: str = ""
    original_challenge: str = ""
    signed_challenge: str = ""


_decode = msgspec.json.Decoder(_Request).decode


class FuturesPeer(BasePeer):
    """Becomes private with the first private feed."""

    lifetime_s = None
    idle_s = 60.0
    messages = Rate(100, 1.0)

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._challenge = ""
        self._account = ""
        self._feeds: set[str] = set()
        self._tickers: set[str] = set()
        self._candles: set[tuple[str, str]] = set()
        """Product and canonical interval."""
        self._seq = 0

    def opened(self, now: Instant) -> Effects:
        return (Frame(_encode({"event": "info", "version": 1}), ack=True),)

    def closed(self, now: Instant) -> None:
        self._state.futures_closed()

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return (self._alert("error", "Json Error"),)
        if request.event == "challenge":
            return self._challenged(request)
        if request.event == "ping":
            return (Frame(_encode({"event": "pong"}), ack=True),)
        if request.event not in ("subscribe", "unsubscribe"):
            return (self._alert("error", "Invalid event"),)
        subscribe = request.event == "subscribe"
        if request.feed in PRIVATE:
            return self._private(request, now) if subscribe else self._leave(request)
        return self._public(request) if subscribe else self._unsubscribe(request)

    def _alert(self, event: str, text: str) -> Frame:
        return Frame(_encode({"event": event, "message": text}), ack=True)

    # --- private feeds ---

    def _challenged(self, request: _Request) -> Effects:
        self.feed = "user"
        self._challenge = str(uuid.UUID(int=self.world.random.getrandbits(128), version=4))
        return (Frame(_encode({"event": "challenge", "message": self._challenge}), ack=True),)

    def _private(self, request: _Request, now: Instant) -> Effects:
        found = futures_key(self.world, request.api_key)
        challenge = request.original_challenge
        good = found is not None and matches(found[1], sha256(challenge.encode()), request.signed_challenge)
        if found is None or not good or challenge != self._challenge or not challenge:
            return (self._alert("alert", REFUSED), Noted("login_refused", request.feed))
        if request.feed in self._feeds:
            return (self._alert("alert", "Already subscribed to feed, re-requesting"),)
        effects: list[Effect] = []
        if not self._account:
            self._account = found[0].account_id
            effects += [Noted("login", self._account), Follow(self._account)]
        self._feeds.add(request.feed)
        ack = {
            "event": "subscribed",
            "feed": request.feed,
            "api_key": request.api_key,
            "original_challenge": challenge,
            "signed_challenge": request.signed_challenge,
        }
        effects += [Frame(_encode(ack), ack=True), Noted("subscribe", request.feed)]
        return [*effects, Frame(_encode(self._snapshot(request.feed, now)))]

    def _snapshot(self, feed: str, now: Instant) -> dict[str, Any]:
        engine = self.world.engine
        if feed == "open_positions":
            return self._positions(now)
        head = {"feed": f"{feed}_snapshot", "account": self._account}
        if feed == "open_orders":
            orders = engine.open_orders(self._account, FUTURES)
            return head | {"orders": [frames.body(order) for order in orders]}
        if feed == "fills":
            trades = engine.trades(self._account, FUTURES)[-SNAPSHOT_FILLS:]
            return head | {"fills": [self._past_fill(trade) for trade in trades]}
        return head | self._wallet(now)

    def _positions(self, now: Instant) -> dict[str, Any]:
        """All of them, each time."""
        self._seq += 1
        held = self.world.engine.account(self._account).positions(FUTURES)
        rows = [frames.position_row(one, self.world.markets.quote(FUTURES, one.symbol)) for one in held]
        head = {"feed": "open_positions", "account": self._account}
        return head | {"positions": rows, "seq": self._seq, "timestamp": now.wall_ms}

    def _past_fill(self, trade: Trade) -> dict[str, Any]:
        """Without the client's id, as the venue does it."""
        order = self.world.engine.locate(trade.order_id)
        if order is None:
            order = self._stranger(trade)
        row = frames.fill_row(order, trade, self._left(order, trade))
        row.pop("cli_ord_id", None)
        return row

    def _left(self, order: Order, until: Trade) -> Decimal:
        """What was left of an order after one of its trades."""
        trades = self.world.engine.trades(order.account, FUTURES, order.symbol)
        filled = [one.quantity for one in trades if one.order_id == order.order_id and one.trade_id <= until.trade_id]
        return order.quantity - sum(filled, Decimal(0))

    def _stranger(self, trade: Trade) -> Order:
        """An order that the engine has forgotten."""
        return Order(
            account=self._account, exchange=FUTURES, symbol=trade.symbol, order_id=trade.order_id, client_id="",
            side=trade.side, order_type="LIMIT", time_in_force="GTC", price=trade.price, quantity=trade.quantity,
            status="FILLED", created_ms=trade.time_ms, updated_ms=trade.time_ms,
        )  # fmt: skip

    def _wallet(self, now: Instant) -> dict[str, Any]:
        self._seq += 1
        holdings = self.world.engine.account(self._account).holdings(FUTURES)
        flex = {"currencies": frames.currencies(holdings), "balance_value": 0, "portfolio_value": 0}
        return {"flex_futures": flex, "timestamp": now.wall_ms, "seq": self._seq}

    def _leave(self, request: _Request) -> Effects:
        self._feeds.discard(request.feed)
        effects: list[Effect] = [Frame(_encode({"event": "unsubscribed", "feed": request.feed}), ack=True)]
        effects.append(Noted("unsubscribe", request.feed))
        if not self._feeds and self._account:
            effects.append(Unfollow(self._account))
        return effects

    # --- public feeds ---

    def _public(self, request: _Request) -> Effects:
        self.feed = self.feed or "market"
        if request.feed == "heartbeat":
            return (Frame(_encode({"event": "subscribed", "feed": "heartbeat"}), ack=True),)
        interval = self._interval(request.feed)
        if request.feed != "ticker" and interval is None:
            return (self._alert("error", "Invalid feed"),)
        unknown = [name for name in request.product_ids if self.world.markets.symbol(FUTURES, name) is None]
        if unknown or not request.product_ids:
            return (self._alert("error", "Invalid product id"),)
        ack = {"event": "subscribed", "feed": request.feed, "product_ids": request.product_ids}
        effects: list[Effect] = [Frame(_encode(ack), ack=True)]
        effects += [Noted("subscribe", f"{request.feed}:{name}") for name in request.product_ids]
        for name in request.product_ids:
            effects += self._join(name, interval)
        return effects

    def _join(self, name: str, interval: str | None) -> list[Effect]:
        if interval is not None:
            self._candles.add((name, interval))
            return [Watch(FUTURES, name, interval)]
        self._tickers.add(name)
        return [Watch(FUTURES), Frame(_encode(frames.ticker(self.world.markets.quote(FUTURES, name))))]

    @staticmethod
    def _interval(feed: str) -> str | None:
        name = feed.removeprefix(CANDLES)
        return name if feed.startswith(CANDLES) and name in MINUTES.values() else None

    def _unsubscribe(self, request: _Request) -> Effects:
        interval = self._interval(request.feed)
        effects: list[Effect] = [Frame(_encode({"event": "unsubscribed", "feed": request.feed}), ack=True)]
        for name in request.product_ids:
            effects.append(Noted("unsubscribe", f"{request.feed}:{name}"))
            if interval is None:
                self._tickers.discard(name)
            elif (name, interval) in self._candles:
                self._candles.discard((name, interval))
                effects.append(Unwatch(FUTURES, name, interval))
        return effects

    # --- pushes ---

    def changed(self, change: Change, now: Instant) -> Effects:
        if change.account != self._account or change.exchange != FUTURES:
            return ()
        if isinstance(change, OrderChange):
            return self._order(change)
        effects: list[Effect] = []
        if "balances" in self._feeds and change.holdings:
            effects.append(Frame(_encode({"feed": "balances", "account": self._account, **self._wallet(now)})))
        if "open_positions" in self._feeds and change.positions:
            effects.append(Frame(_encode(self._positions(now))))
        return effects

    def _order(self, change: OrderChange) -> Effects:
        effects: list[Effect] = []
        if change.trade is not None and "fills" in self._feeds:
            row = frames.fill_row(change.order, change.trade, change.order.remaining)
            effects.append(Frame(_encode({"feed": "fills", "username": self._account, "fills": [row]})))
        told = frames.book_frame(change) if "open_orders" in self._feeds else None
        return effects if told is None else [*effects, Frame(_encode(told))]

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        rendered = self._state.tickers.frames(tick)
        return [Frame(frame) for wire, frame in rendered.items() if wire in self._tickers]

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        if (update.symbol.wire, update.interval) not in self._candles or (update.closed and not update.candle.trades):
            return ()
        feed = f"{CANDLES}{update.interval}"
        row = {"feed": feed, "product_id": update.symbol.wire, "candle": frames.candle_row(update.candle)}
        return (Frame(_encode(row)),)

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "maintenance":
            return (self._alert("alert", "Trading engine unavailable"), Close(1001, "maintenance"))
        if signal.name in ("key_changed", "terminate") and self._account and signal.account in ("", self._account):
            return (Unfollow(self._account), Close(1008, "Unauthorized"))
        return super().signal(signal, now)
