"""REST of Coinbase Advanced Trade: keys, limits, and the calls that gap repair, tests and SDKs make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from simulator import engine as _engine
from simulator._values import INTERVALS, Order
from simulator._venue import Instant, Reply, Request, json_reply
from simulator.engine import Account, NewOrder
from simulator.venues.coinbase._auth import Failure, Refused, by_hmac, by_token
from simulator.venues.coinbase._frames import (
    account_row,
    candle_row,
    fill_row,
    milliseconds,
    product_rows,
    rest_order,
    timestamp,
)
from simulator.venues.coinbase._state import State
from simulator.venues.coinbase._symbols import API, EXCHANGE, GRANULARITIES, MAX_BUCKETS, engine_id, wire_id

Row = dict[str, Any]

_UNAUTHORIZED: Final = Reply(401, b"Unauthorized\n", {"Content-Type": "text/plain"})
_LIMITED: Final = {"errors": [{"id": "rate_limit_exceeded", "message": "too many requests"}]}


class Context(msgspec.Struct, frozen=True):
    """What a handler gets."""

    state: State
    request: Request
    params: dict[str, str]
    rest: Sequence[str]
    """Path segments behind the route's own."""
    account: Account | None
    now: Instant

    @property
    def owner(self) -> str:
        if self.account is None:
            raise Failure(401, "Unauthorized", "no key")
        return self.account.account_id

    def orders(self) -> list[Order]:
        """Newest first."""
        found = self.state.world.engine.orders(self.owner, EXCHANGE)
        return sorted(found, key=lambda order: order.created_ms, reverse=True)

    def row(self, order: Order) -> Row:
        symbol = self.state.world.markets.symbol(EXCHANGE, order.symbol)
        fills = [
            t.time_ms for t in self.state.world.engine.trades(order.account, EXCHANGE) if t.order_id == order.order_id
        ]
        return rest_order(order, symbol, max(fills, default=None)) if symbol else {}

    def body(self) -> Row:
        try:
            value = msgspec.json.decode(self.request.body)
        except msgspec.DecodeError as error:
            raise Failure(400, "INVALID_ARGUMENT", "the body is no JSON") from error
        if not isinstance(value, dict):
            raise Failure(400, "INVALID_ARGUMENT", "the body is no object")
        return value


class Rest:
    """Answers HTTP requests."""

    def __init__(self, state: State) -> None:
        self._state = state

    def answer(self, request: Request, now: Instant) -> Reply:
        """One HTTP request."""
        if not request.path.startswith(f"{API}/"):
            return Reply(404, b"<html>Not Found</html>", {"Content-Type": "text/html"})
        parts = request.path.removeprefix(f"{API}/").split("/")
        route = next((r for r in _ROUTES if r[0] == request.method and parts[: len(r[1])] == list(r[1])), None)
        if route is None:
            return json_reply({"error": "NOT_FOUND", "message": "no such path"}, 404)
        _, path, handler, public = route
        limits = self._state.world.settings.limits
        try:
            account = None if public else _authenticate(self._state, request, now)
        except Refused as refused:
            return _refusal(str(refused))
        if limits and account is None and not self._state.public_calls.hit(request.remote, now.mono):
            return json_reply(_LIMITED, 429)
        if limits and account is not None and not self._state.private_calls.hit(account.account_id, now.mono):
            return json_reply(_LIMITED, 429)
        try:
            context = Context(self._state, request, request.params(), parts[len(path) :], account, now)
            return json_reply(handler(context))
        except Failure as failure:
            return json_reply(failure.body, failure.status)


def _refusal(why: str) -> Reply:
    """`reject_key` may name `403` (a key without the scope) or `SIWC` (a key of the wrong kind); all else is 401."""
    if why == "403":
        return json_reply({"error": "PERMISSION_DENIED", "message": "Missing required scopes"}, 403)
    if why == "SIWC":
        return json_reply({"error": "unauthorized", "message": "SIWC API with Cloud API keys are not supported"}, 401)
    return _UNAUTHORIZED


def _authenticate(state: State, request: Request, now: Instant) -> Account:
    headers, engine = request.headers, state.world.engine
    bearer = headers.get("authorization", "")
    if bearer.startswith("Bearer "):
        uri = f"{request.method} {request.host}{request.path}"
        return by_token(engine, bearer.removeprefix("Bearer "), uri, now)
    text = f"{request.method}{request.path}{request.body.decode('utf-8', 'replace')}"
    stamp, signature = headers.get("cb-access-timestamp", ""), headers.get("cb-access-sign", "")
    return by_hmac(engine, headers.get("cb-access-key", ""), stamp, text, signature, now)


# --- public ---


def _time(context: Context) -> Row:
    wall = context.now.wall_ms
    return {"iso": timestamp(wall, 0).replace(".", ""), "epochSeconds": str(wall // 1000), "epochMillis": str(wall)}


def _products(context: Context) -> Row:
    symbols = context.state.world.markets.symbols(EXCHANGE)
    if context.rest:
        return _product(context)
    rows = [row for symbol in symbols for row in product_rows(symbol)]
    first, limit = _number(context, "offset", 0), _number(context, "limit", len(rows))
    return {"products": rows[first : first + limit], "num_products": len(rows)}


def _product(context: Context) -> Row:
    symbol = context.state.world.markets.symbol(EXCHANGE, context.rest[0])
    if symbol is None:
        raise Failure(404, "NOT_FOUND", "ProductID is invalid")
    if len(context.rest) == 1:
        return product_rows(symbol)[0]
    interval = GRANULARITIES.get(context.params.get("granularity", ""))
    if context.rest[1] != "candles" or interval is None:
        raise Failure(400, "INVALID_ARGUMENT", "invalid granularity")
    start, end = _number(context, "start", 0) * 1000, _number(context, "end", 0) * 1000
    length = INTERVALS[interval]
    if not start or not end or (end - start) // length > MAX_BUCKETS:
        raise Failure(400, "INVALID_ARGUMENT", f"number of candles requested should be less than {MAX_BUCKETS}")
    candles = context.state.world.markets.candles(
        EXCHANGE, symbol.wire, interval, start, end, MAX_BUCKETS, context.now.wall_ms
    )
    # A bucket without a trade does not exist at this venue.
    return {"candles": [candle_row(c, symbol, product=False) for c in reversed(candles) if c.trades]}


def _number(context: Context, name: str, default: int) -> int:
    value = context.params.get(name, "")
    if not value:
        return default
    if not value.isdigit():
        raise Failure(400, "INVALID_ARGUMENT", f"{name} is invalid")
    return int(value)


# --- account ---


def _accounts(context: Context) -> Row:
    holdings = context.state.world.engine.account(context.owner).holdings(EXCHANGE)
    return _paged(context, "accounts", [account_row(holding) for holding in holdings], 49, has_next=True)


def _batch(context: Context) -> Row:
    params, orders = context.params, context.orders()
    status = params.get("order_status")
    if status == "OPEN":
        orders = [order for order in orders if order.open]
    elif status:
        raise Failure(400, "INVALID_ARGUMENT", "unsupported order_status")
    since = milliseconds(params["start_date"]) if params.get("start_date") else 0
    if params.get("start_date") and not since:
        raise Failure(400, "INVALID_ARGUMENT", "start_date is invalid")
    rows = [context.row(order) for order in orders if order.created_ms >= since]
    return _paged(context, "orders", rows, 100, has_next=True)


def _historical(context: Context) -> Row:
    if list(context.rest) == ["batch"]:
        return _batch(context)
    if list(context.rest) == ["fills"]:
        return _fills(context)
    number = engine_id(context.rest[0]) if len(context.rest) == 1 else None
    order = context.state.world.engine.order(context.owner, EXCHANGE, number) if number is not None else None
    if order is None:
        raise Failure(404, "NOT_FOUND", "order with this orderID was not found")
    return {"order": context.row(order)}


def _fills(context: Context) -> Row:
    shown = context.params.get("start_sequence_timestamp", "")
    since = milliseconds(shown) if shown else 0
    trades = context.state.world.engine.trades(context.owner, EXCHANGE)
    rows = [fill_row(trade) for trade in reversed(trades) if trade.time_ms >= since]
    return _paged(context, "fills", rows, 100, has_next=False)


def _paged(context: Context, name: str, rows: list[Row], default: int, *, has_next: bool) -> Row:
    limit = _number(context, "limit", default)
    cursor = context.params.get("cursor", "")
    first = int(cursor) if cursor.isdigit() else 0
    after = first + limit
    page: Row = {name: rows[first:after], "cursor": str(after) if after < len(rows) else ""}
    if has_next:
        page["has_next"] = after < len(rows)
    return page


# --- trading ---


def _create(context: Context) -> Row:
    body = context.body()
    configuration: dict[str, dict[str, Any]] = body.get("order_configuration") or {}
    kind, sizes = next(iter(configuration.items()), ("", {}))
    market = kind.startswith("market_")
    try:
        new = NewOrder(
            symbol=str(body.get("product_id", "")),
            side="BUY" if body.get("side") == "BUY" else "SELL",
            quantity=Decimal(sizes.get("base_size", 0)),
            quote_quantity=Decimal(sizes.get("quote_size", 0)),
            price=Decimal(sizes.get("limit_price", 0)),
            order_type="MARKET" if market else "LIMIT",
            client_id=str(body.get("client_order_id", "")),
        )
        order = context.state.world.engine.place(context.owner, EXCHANGE, new, context.now.wall_ms)
    except (InvalidOperation, TypeError, AttributeError) as error:
        raise Failure(400, "INVALID_ARGUMENT", "the order can't be read") from error
    except _engine.Refused as refused:
        return {
            "success": False,
            "error_response": {"error": _REFUSED.get(refused.reason, "UNKNOWN"), "message": str(refused)},
        }
    return {
        "success": True,
        "success_response": {
            "order_id": wire_id(order.order_id),
            "product_id": order.symbol,
            "side": order.side,
            "client_order_id": order.client_id,
        },
        "order_configuration": configuration,
    }


def _cancel(context: Context) -> Row:
    results = []
    for text in context.body().get("order_ids") or []:
        number = engine_id(str(text))
        order = context.state.world.engine.order(context.owner, EXCHANGE, number) if number is not None else None
        reason = "" if order and order.open else "UNKNOWN_CANCEL_ORDER"
        if order and order.open:
            context.state.world.engine.cancel(order.account, EXCHANGE, order.order_id, context.now.wall_ms)
        results.append({"success": not reason, "failure_reason": reason, "order_id": text})
    return {"results": results}


_REFUSED: Final = {
    "balance": "INSUFFICIENT_FUND",
    "symbol": "UNSUPPORTED_ORDER_CONFIGURATION",
    "quantity": "INVALID_SIZE_PRECISION",
    "price": "INVALID_LIMIT_PRICE",
    "duplicate": "DUPLICATE_CLIENT_ORDER_ID",
}

Handler = Callable[[Context], Row]
_ROUTES: Final[tuple[tuple[str, tuple[str, ...], Handler, bool], ...]] = (
    ("GET", ("time",), _time, True),
    ("GET", ("market", "products"), _products, True),
    ("GET", ("products",), _products, False),
    ("GET", ("accounts",), _accounts, False),
    ("GET", ("orders", "historical"), _historical, False),
    ("POST", ("orders", "batch_cancel"), _cancel, False),
    ("POST", ("orders",), _create, False),
)
"""Method, path, handler, whether it is public."""
