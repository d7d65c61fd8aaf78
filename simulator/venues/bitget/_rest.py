"""Bitget's REST answers, v2 and v3. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from simulator._values import Order, Position, Quote, Symbol
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account
from simulator.venues.bitget import _frames
from simulator.venues.bitget._auth import Failure, authenticate, may_read_settings
from simulator.venues.bitget._frames import Row
from simulator.venues.bitget._state import State
from simulator.venues.bitget._symbols import (
    COINM,
    DELIVERIES,
    INTERVALS,
    MODERN_INTERVALS,
    PRODUCTS,
    REALITY,
    REALITY_INTERVALS,
    SPOT,
    SPOT_GRANULARITIES,
    USDM,
    digits,
    engine_id,
    is_modern,
)

PAGE: Final = 100
MAX_CANDLES: Final = 1000
MAX_WINDOW_MS: Final = 30 * 86_400_000
"""Longest time range of a v3 history call."""


class Context(NamedTuple):
    """One call. `account` is set for private ones."""

    state: State
    params: dict[str, str]
    now: Instant
    account: Account | None = None
    modern: bool = False
    """Of v3, which knows the inverse perpetuals."""

    @property
    def owner(self) -> Account:
        if self.account is None:
            raise Failure("40001", "not signed")
        return self.account

    def integer(self, name: str) -> int | None:
        text = self.params.get(name, "")
        if text and not text.isdigit():
            raise Failure("40017", f"Parameter verification failed {name}")
        return int(text) if text else None

    def product(self, name: str = "productType") -> str:
        """The product type that was asked for."""
        product = self.params.get(name, "").upper()
        if product not in PRODUCTS:
            raise Failure("40017", f"Parameter verification failed {name}")
        return product

    def symbol(self, order: Order) -> Symbol:
        found = self.state.world.markets.symbol(order.exchange, order.symbol)
        if found is None:
            raise Failure("40034", f"Parameter {order.symbol} does not exist")
        return found


class Route(NamedTuple):
    answer: Callable[[Context], Any]
    per_second: int
    version: int = 0
    """0 = public, 1 = every account, 2 = classic ones, 3 = unified ones."""


class Rest:
    """Answers HTTP requests."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request, now: Instant) -> Reply:
        """One REST call."""
        route = ROUTES.get((request.method, request.path))
        if route is None:
            return _reply("40404", "Request URL NOT FOUND", None, now, 404)
        context = Context(self._state, request.params(), now, modern=request.path.startswith("/api/v3/"))
        try:
            if self._state.closed_until > now.mono and request.path != "/api/v2/public/time":
                raise Failure("40725", "service return an error", 503)
            account = authenticate(self._state.world, request, now) if route.version else None
            payer = account.account_id if account else request.remote
            if not self._state.allow(request.path, payer, route.per_second, now):
                return _reply("429", "Too Many Requests", None, now, 429)
            if account is not None and route.version > 1 and self._state.unified(account) is not (route.version == 3):
                text = "You are in Unified Account mode, and the Classic Account API is not supported at this time"
                raise (
                    Failure("40085", text)
                    if route.version == 2
                    else Failure("40084", "You are in Classic Account mode")
                )
            data = route.answer(context._replace(account=account))
        except Failure as failure:
            return _reply(failure.code, failure.text, None, now, failure.status)
        return _reply("00000", "success", data, now)


def _reply(code: str, text: str, data: object, now: Instant, status: int = 200) -> Reply:
    return json_reply({"code": code, "msg": text, "requestTime": now.wall_ms, "data": data}, status)


# --- public ---


def _time(context: Context) -> Row:
    return {"serverTime": str(context.now.wall_ms)}


def _spot_symbols(context: Context) -> list[Row]:
    return [
        {
            "symbol": symbol.wire,
            "baseCoin": symbol.base,
            "quoteCoin": symbol.quote,
            "pricePrecision": str(symbol.price_decimals),
            "quantityPrecision": str(symbol.quantity_decimals),
            "status": "online",
        }
        for symbol in context.state.world.markets.symbols(SPOT)
    ]


def _contracts(context: Context) -> list[Row]:
    product = context.product()
    return [
        {
            "symbol": symbol.wire,
            "baseCoin": symbol.base,
            "quoteCoin": symbol.quote,
            "supportMarginCoins": [symbol.settle],
            "sizeMultiplier": digits(Decimal(1).scaleb(-symbol.quantity_decimals)),
            "minTradeNum": digits(Decimal(1).scaleb(-symbol.quantity_decimals)),
            "priceEndStep": "1",
            "pricePlace": str(symbol.price_decimals),
            "volumePlace": str(symbol.quantity_decimals),
            "symbolType": "delivery" if PRODUCTS[product] == COINM else "perpetual",
            "deliveryTime": str(DELIVERIES.get(symbol.wire[-3:], "")) if PRODUCTS[product] == COINM else "",
            "symbolStatus": context.state.states.get(symbol.wire, "normal"),
        }
        for symbol in context.state.world.markets.symbols(PRODUCTS[product])
        if symbol.kind == product and not is_modern(symbol)
    ]


def _instruments(context: Context) -> list[Row]:
    product = context.product("category")
    return [
        {
            "symbol": symbol.wire,
            "category": product,
            "baseCoin": symbol.base,
            "quoteCoin": symbol.quote,
            "type": "delivery" if PRODUCTS[product] == COINM and not is_modern(symbol) else "perpetual",
            "status": context.state.states.get(symbol.wire, "online"),
            "isRwa": "no",
        }
        | ({"isReality": "yes" if symbol.wire in REALITY else "no"} if product == "SPOT" else {})
        for symbol in context.state.world.markets.symbols(PRODUCTS[product])
        if symbol.kind == product
    ]


def _candles(context: Context, exchange: str, names: dict[str, str]) -> list[list[str]]:
    wire, interval = context.params.get("symbol", ""), names.get(context.params.get("granularity", ""))
    markets = context.state.world.markets
    if interval is None:
        raise Failure("400171", f"Parameter verification failed granularity {', '.join(names)}")
    symbol = markets.symbol(exchange, wire)
    if symbol is None or (is_modern(symbol) and not context.modern):
        raise Failure("40034", f"Parameter {wire} does not exist")
    limit = min(context.integer("limit") or 100, MAX_CANDLES)
    start, end = context.integer("startTime"), context.integer("endTime")
    rows = markets.candles(exchange, wire, interval, start, end, limit, context.now.wall_ms)
    return [_frames.candle_row(candle) for candle in rows]


def _spot_candles(context: Context) -> list[list[str]]:
    return _candles(context, SPOT, dict(SPOT_GRANULARITIES))


def _futures_candles(context: Context) -> list[list[str]]:
    return _candles(context, PRODUCTS[context.product()], dict(INTERVALS))


def _modern_candles(context: Context) -> list[list[str]]:
    """At most 100 rows; without the volume in USDT at the end."""
    params = context.params
    codes = REALITY_INTERVALS if params.get("symbol") in REALITY else tuple(MODERN_INTERVALS)
    names = {code: MODERN_INTERVALS[code] for code in codes}
    limit = context.integer("limit") or PAGE
    if limit > PAGE:
        raise Failure("40017", "Parameter verification failed limit")
    asked = context._replace(params=params | {"granularity": params.get("interval", ""), "limit": str(limit)})
    return [row[:7] for row in _candles(asked, PRODUCTS[context.product("category")], names)]


# --- orders ---


def _orders(context: Context, product: str, *, is_open: bool) -> list[Order]:
    """Newest first, one product type; refused orders never appear."""
    engine = context.state.world.engine
    rows = engine.orders(context.owner.account_id, PRODUCTS[product], context.params.get("symbol"))
    since, until = context.integer("startTime") or 0, context.integer("endTime")
    return sorted(
        (
            order
            for order in rows
            if order.open is is_open
            and order.status != "REJECTED"
            and context.symbol(order).kind == product
            and (context.modern or not is_modern(context.symbol(order)))
            and (is_open or since <= order.updated_ms <= (until or order.updated_ms))
        ),
        key=lambda order: order.order_id,
        reverse=True,
    )


def _page(context: Context, rows: Sequence[Order], cursor: str = "idLessThan") -> list[Order]:
    before = context.params.get(cursor, "")
    limit = min(context.integer("limit") or PAGE, PAGE)
    return [order for order in rows if not before or order.order_id < engine_id(before)][:limit]


def _spot_list(context: Context, *, is_open: bool) -> list[Row] | None:
    """Empty lists come as null."""
    rows = _page(context, _orders(context, "SPOT", is_open=is_open))
    return [_frames.rest_spot_order(order) for order in rows] or None


def _futures_list(context: Context, *, is_open: bool) -> Row:
    rows = _page(context, _orders(context, context.product(), is_open=is_open))
    found = [_frames.rest_futures_order(context.symbol(order), order) for order in rows]
    return {"entrustedList": found or None, "endId": found[-1]["orderId"] if found else None}


def _find(context: Context, exchanges: Sequence[str]) -> Order:
    """By `orderId` or `clientOid`."""
    engine, account = context.state.world.engine, context.owner.account_id
    number, client_id = engine_id(context.params.get("orderId", "")), context.params.get("clientOid")
    for exchange in exchanges:
        order = engine.order(account, exchange, order_id=None if client_id else number, client_id=client_id)
        if (
            order is not None
            and order.status != "REJECTED"
            and (context.modern or not is_modern(context.symbol(order)))
        ):
            return order
    raise Failure("40109", "The data of the order cannot be found, please confirm the order number")


def _spot_one(context: Context) -> list[Row]:
    return [_frames.rest_spot_order(_find(context, (SPOT,)))]


def _futures_one(context: Context) -> Row:
    order = _find(context, (PRODUCTS[context.product()],))
    row = _frames.rest_futures_order(context.symbol(order), order)
    return {**row, "state": row.pop("status")}


def _unified_list(context: Context, *, is_open: bool) -> Row:
    start, end = context.integer("startTime"), context.integer("endTime")
    if not is_open and start is not None and end is not None and end - start > MAX_WINDOW_MS:
        raise Failure("40017", "the time range is longer than 30 days")
    rows = _page(context, _orders(context, context.product("category"), is_open=is_open), "cursor")
    found = [_frames.unified_row(context.symbol(order), order, context.state.units) for order in rows]
    return {"list": found, "cursor": found[-1]["orderId"] if found else None}


def _unified_one(context: Context) -> Row:
    order = _find(context, (SPOT, USDM, COINM))
    return _frames.unified_row(context.symbol(order), order, context.state.units)


# --- balances ---


def _spot_assets(context: Context) -> list[Row]:
    coin = context.params.get("coin")
    held = context.owner.holdings(SPOT)
    return [_frames.spot_balance(h, context.owner.last_ms) for h in held if coin in (None, h.asset)]


def _futures_accounts(context: Context) -> list[Row]:
    product = context.product()
    settles = {s.settle for s in context.state.world.markets.symbols(PRODUCTS[product]) if s.kind == product}
    return [
        {
            "marginCoin": held.asset,
            "available": digits(held.free),
            "isolatedMargin": "0",
            "crossedMargin": digits(held.locked),
            "unrealizedPL": "0",
            "accountEquity": digits(held.total),
        }
        for held in context.owner.holdings(PRODUCTS[product])
        if held.asset in settles
    ]


def _positions(context: Context) -> list[Row]:
    return [
        _frames.rest_position(held, quote)
        for held, quote in _held(context, context.product())
        if not is_modern(quote.symbol)
    ]


def _unified_positions(context: Context) -> Row:
    rows = [_frames.unified_rest_position(held, quote) for held, quote in _held(context, context.product("category"))]
    return {"list": rows or None}


def _held(context: Context, product: str) -> list[tuple[Position, Quote]]:
    exchange = PRODUCTS[product]
    quotes = context.state.world.markets.quote
    held = [(one, quotes(exchange, one.symbol)) for one in context.owner.positions(exchange)]
    return [(one, quote) for one, quote in held if quote.symbol.kind == product]


def _unified_assets(context: Context) -> Row:
    held = [h for wallet in (SPOT, USDM, COINM) for h in context.owner.holdings(wallet)]
    return {"assets": [_frames.unified_coin(holding) for holding in held]}


def _settings(context: Context) -> Row:
    mode = context.state.mode(context.owner)
    if not may_read_settings(context.owner):
        raise Failure("40014", "Incorrect permissions, need uta management read permissions")
    if mode == "classic":
        raise Failure("40084", "You are in Classic Account mode")
    return {"uid": context.owner.account_id, "accountMode": mode, "holdMode": "one_way_mode"}


ROUTES: Final = {
    ("GET", "/api/v2/public/time"): Route(_time, 20),
    ("GET", "/api/v2/spot/public/symbols"): Route(_spot_symbols, 20),
    ("GET", "/api/v2/mix/market/contracts"): Route(_contracts, 20),
    ("GET", "/api/v2/spot/market/candles"): Route(_spot_candles, 20),
    ("GET", "/api/v2/mix/market/candles"): Route(_futures_candles, 20),
    ("GET", "/api/v2/spot/account/assets"): Route(_spot_assets, 10, 2),
    ("GET", "/api/v2/spot/trade/unfilled-orders"): Route(lambda c: _spot_list(c, is_open=True), 20, 2),
    ("GET", "/api/v2/spot/trade/history-orders"): Route(lambda c: _spot_list(c, is_open=False), 20, 2),
    ("GET", "/api/v2/spot/trade/orderInfo"): Route(_spot_one, 20, 2),
    ("GET", "/api/v2/mix/order/orders-pending"): Route(lambda c: _futures_list(c, is_open=True), 10, 2),
    ("GET", "/api/v2/mix/order/orders-history"): Route(lambda c: _futures_list(c, is_open=False), 10, 2),
    ("GET", "/api/v2/mix/order/detail"): Route(_futures_one, 10, 2),
    ("GET", "/api/v2/mix/account/accounts"): Route(_futures_accounts, 10, 2),
    ("GET", "/api/v2/mix/position/all-position"): Route(_positions, 5, 2),
    ("GET", "/api/v3/position/current-position"): Route(_unified_positions, 20, 3),
    ("GET", "/api/v3/trade/unfilled-orders"): Route(lambda c: _unified_list(c, is_open=True), 20, 3),
    ("GET", "/api/v3/trade/history-orders"): Route(lambda c: _unified_list(c, is_open=False), 20, 3),
    ("GET", "/api/v3/trade/order-info"): Route(_unified_one, 20, 3),
    ("GET", "/api/v3/account/assets"): Route(_unified_assets, 10, 3),
    ("GET", "/api/v3/account/settings"): Route(_settings, 10, 1),
    ("GET", "/api/v3/market/instruments"): Route(_instruments, 20),
    ("GET", "/api/v3/market/candles"): Route(_modern_candles, 20),
    ("GET", "/api/v3/market/history-candles"): Route(_modern_candles, 20),
}
