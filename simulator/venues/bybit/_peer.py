"""The two kinds of Bybit sockets: private (login, orders, wallet) and public (tickers, candles). Pure."""

# Hooks have the signature of `Peer` whether they need every argument or not.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator._peer import BasePeer
from simulator._values import CandleUpdate, Change, OrderChange, Tick, WalletChange
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
from simulator.signing import signed_by
from simulator.venues.bybit._frames import kline_row, order_row, position_row, ticker_row, wallet_row
from simulator.venues.bybit._state import State
from simulator.venues.bybit._symbols import (
    ARGS_CHARACTERS,
    ARGS_PER_REQUEST,
    CATEGORIES,
    CODES,
    EXCHANGES,
    IDLE_S,
    INTERVALS,
    site_fits,
)

Row = dict[str, Any]

ORDER_TOPICS: Final = frozenset({"order", "order.spot", "order.linear", "order.inverse", "order.option"})
WALLET_TOPICS: Final = frozenset({"wallet"})
POSITION_TOPICS: Final = frozenset({"position", "position.linear", "position.inverse", "position.option"})
_PRIVATE_TOPICS: Final = ORDER_TOPICS | WALLET_TOPICS | POSITION_TOPICS | {"execution", "greeks"}
DELTA_EVERY: Final = 4
"""One derivative tick in so many carries only the book side: a delta without a last price."""


class _Bad(Exception):
    """A topic that makes the whole request fail."""


class BybitPeer(BasePeer):
    """What both kinds share: operations in JSON, pings, the 10 minutes of patience."""

    idle_s = IDLE_S
    lifetime_s = None

    def __init__(self, state: State, now: Instant) -> None:
        super().__init__(state.world, now)
        self._state = state
        self._connection = f"{state.world.random.getrandbits(96):024x}"
        self._topics: set[str] = set()
        self._sent = 0

    def frame(self, data: str | bytes, now: Instant) -> Effects:
        try:
            request = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            return (self._reply("", "", success=False, text="error:json format error"),)
        args = request.get("args")
        arguments = args if isinstance(args, list) else []
        return self.operation(request["op"], str(request.get("req_id", "")), arguments, now)

    def operation(self, op: str, request_id: str, args: list[Any], now: Instant) -> Effects:
        """One request of the client."""
        return (self._reply(op, request_id, success=False, text=f"error:unknown operation {op}"),)

    def _reply(self, op: str, request_id: str, *, success: bool, text: str = "") -> Frame:
        row: Row = {"success": success, "ret_msg": text, "conn_id": self._connection, "op": op}
        if request_id:
            row["req_id"] = request_id
        return _frame(row, ack=True)

    def _push(self, row: Row) -> Frame:
        self._sent += 1
        return _frame(row)


class PrivatePeer(BybitPeer):
    """`/v5/private`: one login, then topics of all categories."""

    feed = "user"

    def __init__(self, state: State, request: Request, now: Instant) -> None:
        super().__init__(state, now)
        self._request = request
        self._account = ""

    def operation(self, op: str, request_id: str, args: list[Any], now: Instant) -> Effects:
        if op == "ping":
            pong: Row = {"op": "pong", "args": [str(now.wall_ms)], "conn_id": self._connection}
            return (_frame({"req_id": request_id, **pong} if request_id else pong, ack=True),)
        if op == "auth":
            return self._login(args, now)
        if not self._account:
            return (self._reply(op, request_id, success=False, text="Request not authorized"),)
        if op == "subscribe":
            return self._subscribe(request_id, [str(arg) for arg in args])
        if op == "unsubscribe":
            self._topics -= {str(arg) for arg in args}
            return (self._reply(op, request_id, success=True), *(Noted("unsubscribe", str(arg)) for arg in args))
        return super().operation(op, request_id, args, now)

    def _login(self, args: list[Any], now: Instant) -> Effects:
        refusal = self._refusal(args, now)
        if refusal:
            return (self._reply("auth", "", success=False, text=refusal), Noted("login_refused", refusal))
        return (
            self._reply("auth", "", success=True),
            Noted("login", self._account),
            Follow(self._account),
        )

    def _refusal(self, args: list[Any], now: Instant) -> str:
        """Why a login fails; empty when it is good."""
        if len(args) != 3 or not isinstance(args[0], str) or not isinstance(args[2], str):
            return "Params Error"
        key, expires, signature = args
        if isinstance(expires, str) and expires.isdigit():  # the venue takes the number as text, too, as ccxt sends it
            expires = int(expires)
        if isinstance(expires, bool) or not isinstance(expires, int) or expires <= now.wall_ms:
            return "Params Error"
        found = self.world.engine.find_key("bybit", key)
        if found is None or found[1].rejected or not site_fits(key, self._request.host, self._request.headers):
            return "error:USVC1111"
        if not signed_by(found[1], f"GET/realtime{expires}", signature):
            return "Request not authorized"
        self._account = found[0].account_id
        return ""

    def _subscribe(self, request_id: str, topics: list[str]) -> Effects:
        for topic in topics:
            if topic.split(".")[0] not in {known.split(".")[0] for known in _PRIVATE_TOPICS}:
                text = f"error:handler not found,topic:{topic}"
                return (self._reply("subscribe", request_id, success=False, text=text),)
            if topic in self._topics:
                text = f"error:already subscribed,topic:{topic}"
                return (self._reply("subscribe", request_id, success=False, text=text),)
        self._topics |= set(topics)
        return (
            self._reply("subscribe", request_id, success=True),
            *(Noted("subscribe", topic) for topic in topics),
        )

    def changed(self, change: Change, now: Instant) -> Effects:
        if isinstance(change, OrderChange):
            category = CATEGORIES.get(change.exchange, "")
            symbol = self.world.markets.symbol(change.exchange, change.order.symbol)
            wanted = {"order", f"order.{category}"} & self._topics
            if symbol is None or not wanted:
                return ()
            topic = "order" if "order" in wanted else f"order.{category}"
            return (self._event(topic, change.time_ms, order_row(change.order, symbol)),)
        effects: list[Effect] = []
        if self._topics & WALLET_TOPICS and change.holdings:
            effects.append(self._event("wallet", change.time_ms, wallet_row(change.holdings)))
        return (*effects, *self._positions(change))

    def _positions(self, change: WalletChange) -> Effects:
        category = CATEGORIES.get(change.exchange, "")
        wanted = {"position", f"position.{category}"} & self._topics
        if not wanted:
            return ()
        topic, markets = min(wanted), self.world.markets
        rows = [position_row(held, markets.quote(change.exchange, held.symbol), category) for held in change.positions]
        return [self._event(topic, change.time_ms, row) for row in rows]

    def _event(self, topic: str, time_ms: int, row: Row) -> Frame:
        message_id = f"{self._connection}-{self._sent}"
        return self._push({"id": message_id, "topic": topic, "creationTime": time_ms, "data": [row]})

    def signal(self, signal: Signal, now: Instant) -> Effects:
        if signal.name == "key_changed" and self._account:
            # A login lasts until the socket closes or the key is deleted.
            account, self._account = self._account, ""
            return (Unfollow(account), Close(1001, "key changed"))
        return super().signal(signal, now)


class PublicPeer(BybitPeer):
    """`/v5/public/<category>`: tickers and candles of one category."""

    feed = "market"

    def __init__(self, state: State, category: str, now: Instant) -> None:
        super().__init__(state, now)
        self._category = category
        self._exchange = EXCHANGES[category]
        self._cs = 48_213_377_000

    def operation(self, op: str, request_id: str, args: list[Any], now: Instant) -> Effects:
        if op == "ping":
            row: Row = {
                "success": True,
                "ret_msg": "pong",
                "conn_id": self._connection,
                "req_id": request_id,
                "op": "ping",
            }
            return (_frame(row, ack=True),)
        topics = [str(arg) for arg in args]
        if op == "subscribe":
            return self._subscribe(request_id, topics, now)
        if op == "unsubscribe":
            return self._unsubscribe(request_id, topics)
        return super().operation(op, request_id, args, now)

    def _subscribe(self, request_id: str, topics: list[str], now: Instant) -> Effects:
        try:
            watches = {topic: self._watch(topic) for topic in topics}
            self._check_size(topics)
        except _Bad as bad:
            return (self._reply("subscribe", request_id, success=False, text=str(bad)),)
        self._topics |= set(topics)
        text = "subscribe" if self._category == "spot" else ""
        effects: list[Effect] = [self._reply("subscribe", request_id, success=True, text=text)]
        for topic, watch in watches.items():
            effects += [Noted("subscribe", topic), watch]
            if topic.startswith("tickers."):
                quote = self.world.markets.quote(self._exchange, topic.removeprefix("tickers."))
                effects.append(self._ticker(topic, "snapshot", now.wall_ms, ticker_row(quote, self._category)))
        return effects

    def _check_size(self, topics: list[str]) -> None:
        if not self.world.settings.limits:
            return
        if len(topics) > ARGS_PER_REQUEST[self._category]:
            raise _Bad(f"args size >{ARGS_PER_REQUEST[self._category]}")
        if sum(len(topic) + 3 for topic in self._topics | set(topics)) > ARGS_CHARACTERS:
            raise _Bad("error:args total length exceeds the limit")

    def _watch(self, topic: str) -> Watch:
        """What a topic needs from the world. Raises `_Bad`."""
        if topic in self._topics:
            raise _Bad(f"error:already subscribed,topic:{topic}")
        kind, _, rest = topic.partition(".")
        if kind == "tickers" and self.world.markets.symbol(self._exchange, rest) is not None:
            return Watch(self._exchange)
        interval, _, symbol = rest.partition(".")
        if kind == "kline" and interval in INTERVALS and self.world.markets.symbol(self._exchange, symbol) is not None:
            return Watch(self._exchange, symbol, INTERVALS[interval])
        raise _Bad(f"error:handler not found,topic:{topic}")

    def _unsubscribe(self, request_id: str, topics: list[str]) -> Effects:
        effects: list[Effect] = [self._reply("unsubscribe", request_id, success=True)]
        for topic in topics:
            if topic not in self._topics:
                continue
            self._topics.discard(topic)
            effects.append(Noted("unsubscribe", topic))
            if topic.startswith("kline."):
                _, interval, symbol = topic.split(".", 2)
                effects.append(Unwatch(self._exchange, symbol, INTERVALS[interval]))
        if not any(topic.startswith("tickers.") for topic in self._topics):
            effects.append(Unwatch(self._exchange))
        return effects

    def ticked(self, tick: Tick, now: Instant) -> Effects:
        effects: list[Effect] = []
        for quote in tick.quotes:
            topic = f"tickers.{quote.symbol.wire}"
            if topic not in self._topics:
                continue
            row = ticker_row(quote, self._category)
            if self._category == "spot":
                effects.append(self._ticker(topic, "snapshot", tick.time_ms, row))
                continue
            names = ("symbol", "lastPrice", "price24hPcnt", "volume24h", "turnover24h", "bid1Size", "ask1Size")
            effects.append(self._ticker(topic, "delta", tick.time_ms, {name: row[name] for name in names}))
            if tick.number % DELTA_EVERY == 0:
                book = {name: row[name] for name in ("symbol", "ask1Price", "ask1Size")}
                effects.append(self._ticker(topic, "delta", tick.time_ms, book))
        return effects

    def _ticker(self, topic: str, kind: str, time_ms: int, data: Row) -> Frame:
        self._cs += 1
        return self._push({"topic": topic, "ts": time_ms, "type": kind, "cs": self._cs, "data": data})

    def candle(self, update: CandleUpdate, now: Instant) -> Effects:
        topic = f"kline.{CODES.get(update.interval, '')}.{update.symbol.wire}"
        if topic not in self._topics:
            return ()
        row = {"topic": topic, "data": [kline_row(update)], "ts": update.time_ms, "type": "snapshot"}
        return (self._push(row),)


def _frame(row: Row, *, ack: bool = False) -> Frame:
    return Frame(msgspec.json.encode(row).decode(), ack=ack)
