"""REST of Bybit v5: envelopes, limits, and the calls that gap repair, tests and SDKs make."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from simulator._values import Order, Symbol
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder, Refused
from simulator.venues.bybit._auth import Failure, authenticate
from simulator.venues.bybit._frames import execution_row, kline_list, order_row, position_row, ticker_row, wallet_row
from simulator.venues.bybit._state import State
from simulator.venues.bybit._symbols import EXCHANGES, INTERVALS, WALLET, engine_id, wire_id

Row = dict[str, Any]

RECENT: Final = 500
"""Closed orders that the realtime list remembers."""
DAY_MS: Final = 86_400_000
WEEK_MS: Final = 7 * DAY_MS


class Context(msgspec.Struct, frozen=True):
    """What a handler gets."""

    state: State
    params: dict[str, str]
    account: Account | None
    now: Instant

    @property
    def owner(self) -> Account:
        if self.account is None:
            raise Failure(10003, "API key is invalid.")
        return self.account

    @property
    def category(self) -> str:
        category = self.params.get("category", "")
        if category not in EXCHANGES:
            raise Failure(10001, "Illegal category")
        return category

    @property
    def exchange(self) -> str:
        return EXCHANGES[self.category]

    def symbol(self) -> Symbol:
        found = self.state.world.markets.symbol(self.exchange, self.params.get("symbol", ""))
        if found is None:
            raise Failure(10001, "Not supported symbols")
        return found

    def integer(self, name: str, default: int) -> int:
        value = self.params.get(name, "")
        if not value:
            return default
        if not value.isdigit():
            raise Failure(10001, f"params error: {name} invalid")
        return int(value)

    def decimal(self, name: str) -> Decimal:
        try:
            value = Decimal(self.params.get(name) or 0)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite():
            raise Failure(10001, f"params error: {name} invalid")
        return value


class Rest:
    """Answers HTTP requests."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request, now: Instant) -> Reply:
        """One HTTP request."""
        limits = self._state.world.settings.limits
        if limits and not self._state.rest_calls.hit(request.remote, now.mono):
            return Reply(403, b"access too frequent, please try again in 10 minutes", {})
        route = _ROUTES.get((request.method, request.path))
        if route is None:
            return Reply(404, b"404 page not found", {})
        handler, signed = route
        try:
            account = None
            if signed:
                account, key = authenticate(self._state.world, request, now)
                if limits and not self._state.account_calls.hit(f"{key.key} {request.path}", now.mono):
                    headers = {"X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(now.wall_ms + 1000)}
                    raise Failure(10006, "Too many visits. Exceeded the API Rate Limit.", 200, headers)
            context = Context(self._state, _params(request), account, now)
            return _envelope(0, "OK", handler(context), now)
        except Failure as failure:
            return _envelope(failure.code, failure.text, {}, now, failure.status, failure.headers)
        except Refused as refused:
            code, text = _REFUSED.get(refused.reason, (10001, str(refused)))
            return _envelope(code, text, {}, now)


def _envelope(
    code: int, text: str, result: Row, now: Instant, status: int = 200, headers: dict[str, str] | None = None
) -> Reply:
    body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now.wall_ms}
    return json_reply(body, status, headers)


def _params(request: Request) -> dict[str, str]:
    if request.method == "GET":
        return request.params()
    try:
        body = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise Failure(10001, "Request parameter error.") from error
    if not isinstance(body, dict):
        raise Failure(10001, "Request parameter error.")
    return {str(name): str(value) for name, value in body.items() if value is not None}


# --- public ---


def _time(context: Context) -> Row:
    wall = context.now.wall_ms
    return {"timeSecond": str(wall // 1000), "timeNano": str(wall * 1_000_000)}


def _instruments(context: Context) -> Row:
    category = context.category
    symbols = context.state.world.markets.symbols(context.exchange)
    wanted = context.params.get("symbol")
    rows = [_instrument(symbol, category) for symbol in symbols if wanted in (None, symbol.wire)]
    if category == "spot":
        return {"category": category, "list": rows}
    return _paged(context, category, rows, 500, 1000)


def _instrument(symbol: Symbol, category: str) -> Row:
    row: Row = {
        "symbol": symbol.wire,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "status": "Trading",
        "priceFilter": {"tickSize": f"{Decimal(1).scaleb(-symbol.price_decimals):f}"},
        "lotSizeFilter": {"minOrderQty": "0.000001", "maxOrderQty": "1000000"},
    }
    if category != "spot":
        row |= {"contractType": symbol.kind, "settleCoin": symbol.settle, "deliveryTime": "0", "symbolType": ""}
    return row


def _klines(context: Context) -> Row:
    symbol, code = context.symbol(), context.params.get("interval", "")
    if code not in INTERVALS:
        raise Failure(10001, "Invalid interval")
    limit = min(context.integer("limit", 200), 1000)
    start, end = context.integer("start", 0), context.integer("end", context.now.wall_ms)
    candles = context.state.world.markets.candles(
        context.exchange, symbol.wire, INTERVALS[code], start or None, end, limit, context.now.wall_ms
    )
    rows = [kline_list(candle, symbol) for candle in reversed(candles)]
    return {"category": context.category, "symbol": symbol.wire, "list": rows}


def _tickers(context: Context) -> Row:
    wanted = context.params.get("symbol")
    quotes = context.state.world.markets.quotes(context.exchange)
    rows = [ticker_row(quote, context.category) for quote in quotes if wanted in (None, quote.symbol.wire)]
    return {"category": context.category, "list": rows}


# --- account ---


def _account_info(context: Context) -> Row:
    status = context.state.modes.get(context.owner.account_id, 6)
    return {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": status, "updatedTime": str(context.now.wall_ms)}


def _wallet(context: Context) -> Row:
    kind = context.params.get("accountType", "")
    if kind not in ("UNIFIED", "CONTRACT", "SPOT"):
        raise Failure(10001, "accountType only support UNIFIED.")
    holdings = [holding for holding in context.owner.holdings(WALLET) if holding.total]
    return {"list": [{**wallet_row(holdings), "accountType": kind}]}


def _positions(context: Context) -> Row:
    """Only what is held, unless a symbol is named."""
    wire, settle = context.params.get("symbol"), context.params.get("settleCoin")
    if context.category == "linear" and not (wire or settle):
        raise Failure(10001, "Missing some parameters that must be filled in, symbol or settleCoin")
    rows = []
    for held in context.owner.positions(context.exchange):
        quote = context.state.world.markets.quote(context.exchange, held.symbol)
        if (wire and held.symbol != wire) or (settle and not wire and quote.symbol.settle != settle):
            continue
        row = position_row(held, quote, context.category)
        row["avgPrice"] = row.pop("entryPrice")
        del row["category"]  # stands beside the list
        rows.append(row)
    return _paged(context, context.category, rows, 20, 200)


def _filtered(context: Context, orders: list[Order]) -> list[Order]:
    params, category = context.params, context.category
    order_id, client_id = params.get("orderId"), params.get("orderLinkId")
    found = []
    for order in orders:
        symbol = context.state.world.markets.symbol(order.exchange, order.symbol)
        if order_id and wire_id(category, order.order_id) != order_id:
            continue
        if client_id and order.client_id != client_id:
            continue
        if params.get("symbol") and order.symbol != params["symbol"]:
            continue
        if params.get("settleCoin") and (symbol is None or symbol.settle != params["settleCoin"]):
            continue
        found.append(order)
    return sorted(found, key=lambda order: order.created_ms, reverse=True)


def _realtime(context: Context) -> Row:
    """Open orders, or with `openOnly=1` the recent closed ones; by id both."""
    single = bool(context.params.get("orderId") or context.params.get("orderLinkId"))
    if context.category == "linear" and not single and not {"symbol", "settleCoin", "baseCoin"} & set(context.params):
        raise Failure(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
    orders = _filtered(context, context.state.world.engine.orders(context.owner.account_id, context.exchange))
    if single:
        chosen = orders
    elif context.params.get("openOnly") == "1":
        chosen = [order for order in orders if not order.open][:RECENT]
    else:
        chosen = [order for order in orders if order.open]
    return _paged(context, context.category, _rows(context, chosen), 20, 50)


def _history(context: Context) -> Row:
    start, end = _span(context)
    single = bool(context.params.get("orderId") or context.params.get("orderLinkId"))
    orders = _filtered(context, context.state.world.engine.orders(context.owner.account_id, context.exchange))
    closed = [
        order
        for order in orders
        if not order.open
        and (single or start <= order.created_ms <= end)
        and (order.executed or order.updated_ms > context.now.wall_ms - DAY_MS)
    ]
    return _paged(context, context.category, _rows(context, closed), 20, 50)


def _executions(context: Context) -> Row:
    start, end = _span(context)
    engine, owner = context.state.world.engine, context.owner.account_id
    trades = [trade for trade in engine.trades(owner, context.exchange) if start <= trade.time_ms <= end]
    rows = [execution_row(trade, engine.order(owner, context.exchange, trade.order_id)) for trade in reversed(trades)]
    rows += [
        row
        for row in context.state.no_orders.get(owner, ())
        if row["exchange"] == context.exchange and start <= int(row["execTime"]) <= end
    ]
    return _paged(context, context.category, rows, 50, 100)


def _span(context: Context) -> tuple[int, int]:
    wall = context.now.wall_ms
    start = context.integer("startTime", wall - WEEK_MS)
    end = context.integer("endTime", start + WEEK_MS)
    if end - start > WEEK_MS:
        raise Failure(10001, "The time range between startTime and endTime cannot exceed 7 days")
    return start, end


def _rows(context: Context, orders: list[Order]) -> list[Row]:
    rows = []
    for order in orders:
        symbol = context.state.world.markets.symbol(order.exchange, order.symbol)
        if symbol is not None:
            row = order_row(order, symbol)
            del row["category"]  # stands beside the list
            rows.append(row)
    return rows


def _paged(context: Context, category: str, rows: list[Row], default: int, most: int) -> Row:
    """Cursors are opaque text, as at the venue; empty on the last page."""
    limit = min(context.integer("limit", default), most)
    cursor = context.params.get("cursor", "")
    first = int(cursor.removeprefix("page%3A")) if cursor.removeprefix("page%3A").isdigit() else 0
    after = first + limit
    following = f"page%3A{after}" if after < len(rows) else ""
    return {"category": category, "list": rows[first:after], "nextPageCursor": following}


# --- trading ---


def _create(context: Context) -> Row:
    params, symbol = context.params, context.symbol()
    market = params.get("orderType") == "Market"
    buys = params.get("side") == "Buy"
    quantity = context.decimal("qty")
    by_value = market and buys and context.category == "spot" and params.get("marketUnit") != "baseCoin"
    new = NewOrder(
        symbol=symbol.wire,
        side="BUY" if buys else "SELL",
        quantity=Decimal(0) if by_value else quantity,
        quote_quantity=quantity if by_value else Decimal(0),
        price=Decimal(0) if market else context.decimal("price"),
        order_type="MARKET" if market else "LIMIT",
        time_in_force=params.get("timeInForce", "GTC"),
        client_id=params.get("orderLinkId", ""),
        reduce_only=params.get("reduceOnly", "").lower() == "true",
    )
    order = context.state.world.engine.place(context.owner.account_id, context.exchange, new, context.now.wall_ms)
    return {"orderId": wire_id(context.category, order.order_id), "orderLinkId": params.get("orderLinkId", "")}


def _cancel(context: Context) -> Row:
    order = _named(context)
    context.state.world.engine.cancel(order.account, order.exchange, order.order_id, context.now.wall_ms)
    return {"orderId": wire_id(context.category, order.order_id), "orderLinkId": order.client_id}


def _amend(context: Context) -> Row:
    order = _named(context)
    context.state.world.engine.amend(
        order.account,
        order.exchange,
        order.order_id,
        context.now.wall_ms,
        quantity=context.decimal("qty") or None,
        price=context.decimal("price") or None,
    )
    return {"orderId": wire_id(context.category, order.order_id), "orderLinkId": order.client_id}


def _named(context: Context) -> Order:
    engine, owner = context.state.world.engine, context.owner.account_id
    number = engine_id(context.category, context.params.get("orderId", ""))
    order = engine.order(owner, context.exchange, number) if number is not None else None
    if order is None and context.params.get("orderLinkId"):
        order = engine.order(owner, context.exchange, client_id=context.params["orderLinkId"])
    if order is None:
        raise Failure(*_REFUSED["unknown_order"])
    return order


_REFUSED: Final = {
    "symbol": (10001, "Not supported symbols"),
    "quantity": (170136, "The quantity of a single order is less than the minimum order quantity."),
    "price": (170134, "Order price too low"),
    "balance": (170131, "Insufficient balance."),
    "duplicate": (170141, "Duplicate clientOrderId"),
    "unknown_order": (170213, "Order does not exist."),
    "finished": (170142, "Order has been filled or canceled."),
    "would_take": (170218, "The post-only order would match at once."),
}

Handler = Callable[[Context], Row]
_ROUTES: Final[dict[tuple[str, str], tuple[Handler, bool]]] = {
    ("GET", "/v5/market/time"): (_time, False),
    ("GET", "/v5/market/instruments-info"): (_instruments, False),
    ("GET", "/v5/market/kline"): (_klines, False),
    ("GET", "/v5/market/tickers"): (_tickers, False),
    ("GET", "/v5/account/info"): (_account_info, True),
    ("GET", "/v5/account/wallet-balance"): (_wallet, True),
    ("GET", "/v5/position/list"): (_positions, True),
    ("GET", "/v5/order/realtime"): (_realtime, True),
    ("GET", "/v5/order/history"): (_history, True),
    ("GET", "/v5/execution/list"): (_executions, True),
    ("POST", "/v5/order/create"): (_create, True),
    ("POST", "/v5/order/cancel"): (_cancel, True),
    ("POST", "/v5/order/amend"): (_amend, True),
}
