"""Private REST answers: listen keys, orders, fills, balances."""

from __future__ import annotations

from typing import Any, Final

from simulator._values import Order, Side, Symbol, Trade
from simulator.engine import NewOrder
from simulator.venues.binance._auth import Failure, missing
from simulator.venues.binance._context import Context
from simulator.venues.binance._frames import (
    average_text,
    client_id,
    eight,
    order_id,
    price_text,
    quantity_text,
)

Row = dict[str, Any]

_DAY_MS: Final = 86_400_000
_WEEK_MS: Final = 7 * _DAY_MS
_PLAIN_TYPES: Final = frozenset({"LIMIT", "MARKET"})


# --- listen keys ---


def create_listen_key(context: Context) -> Row:
    key = context.state.keys.create(context.exchange, context.owner.account_id, context.now.mono)
    return {"listenKey": key.key}


def extend_listen_key(context: Context) -> Row:
    """Binance.US names the key in the query; the futures markets know it from the API key."""
    keys, account = context.state.keys, context.owner.account_id
    if context.profile.spot:
        named = keys.live(context.need("listenKey"), context.now.mono)
        if named is None or named.account != account:
            raise _no_listen_key()
    key = keys.extend(context.exchange, account, context.now.mono)
    if key is None:
        raise _no_listen_key()
    return {} if context.profile.spot else {"listenKey": key.key}


def delete_listen_key(context: Context) -> Row:
    if not context.state.keys.delete(context.exchange, context.owner.account_id):
        raise _no_listen_key()
    return {}


def _no_listen_key() -> Failure:
    return Failure(400, -1125, "This listenKey does not exist.")


# --- orders ---


def place(context: Context) -> Row:
    """Accept an order; market orders fill at once."""
    symbol, order_type = context.symbol(), context.need("type")
    side = _side(context)
    if not context.profile.spot and order_type not in _PLAIN_TYPES:
        raise Failure(
            400, -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints."
        )
    new = NewOrder(
        symbol=symbol.wire,
        side=side,
        order_type=order_type,
        time_in_force=context.params.get("timeInForce") or "GTC",
        quantity=context.number("quantity"),
        price=context.number("price"),
        stop_price=context.number("stopPrice"),
        quote_quantity=context.number("quoteOrderQty"),
        client_id=context.params.get("newClientOrderId", ""),
        reduce_only=context.params.get("reduceOnly") == "true",
        position_side=context.params.get("positionSide") or "BOTH",
    )
    engine = context.state.world.engine
    order = engine.place(context.owner.account_id, context.exchange, new, context.now.wall_ms)
    if not context.profile.spot:
        return order_row(context, order)
    trades = engine.trades(context.owner.account_id, context.exchange, symbol.wire)
    return _spot_placed(context, order, [trade for trade in trades if trade.order_id == order.order_id])


def _side(context: Context) -> Side:
    match context.need("side").upper():
        case "BUY":
            return "BUY"
        case "SELL":
            return "SELL"
        case _:
            raise Failure(400, -1117, "Invalid side.")


def _spot_placed(context: Context, order: Order, trades: list[Trade]) -> Row:
    row = order_row(context, order)
    for name in ("time", "updateTime", "isWorking", "stopPrice", "icebergQty"):
        row.pop(name, None)
    fills = [
        {
            "price": eight(trade.price),
            "qty": eight(trade.quantity),
            "commission": eight(trade.fee),
            "commissionAsset": trade.fee_asset,
            "tradeId": trade.trade_id,
        }
        for trade in trades
    ]
    return row | {"transactTime": order.updated_ms, "fills": fills}


def _named(context: Context) -> Order:
    """The order that `orderId` or `origClientOrderId` names. Raises `Failure`."""
    symbol = context.symbol()
    engine, account = context.state.world.engine, context.owner.account_id
    number, name = context.integer("orderId"), context.params.get("origClientOrderId")
    if number is None and not name:
        raise missing("orderId")
    if number is not None:
        order = engine.order(account, context.exchange, order_id=number - context.profile.order_offset)
    else:
        order = engine.order(account, context.exchange, client_id=name)
    if order is None or order.symbol != symbol.wire:
        raise Failure(400, -2013, "Order does not exist.")
    return order


def cancel(context: Context) -> Row:
    """Spot answers with the id of the request in `clientOrderId` and the order's own in `origClientOrderId`."""
    try:
        order = _named(context)
    except Failure as failure:
        if failure.code == -2013:
            raise Failure(400, -2011, "Unknown order sent.") from failure
        raise
    request_id = context.params.get("newClientOrderId") or f"cancel{order.order_id}"
    after = context.state.world.engine.cancel(
        context.owner.account_id, context.exchange, order.order_id, context.now.wall_ms, request_id
    )
    row = order_row(context, after)
    if context.profile.spot:
        row |= {"origClientOrderId": client_id(after), "clientOrderId": request_id, "transactTime": after.updated_ms}
    return row


def cancel_all(context: Context) -> Any:
    symbol = context.symbol()
    engine, account = context.state.world.engine, context.owner.account_id
    rows = [
        order_row(context, engine.cancel(account, context.exchange, order.order_id, context.now.wall_ms))
        for order in engine.open_orders(account, context.exchange, symbol.wire)
    ]
    if context.profile.spot:
        return rows
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def amend_spot(context: Context) -> Row:
    """The amended order gets a new client id unless the caller passes one."""
    order = _named(context)
    new_id = context.params.get("newClientOrderId") or f"amend{order.order_id}{context.now.wall_ms}"
    after = context.state.world.engine.amend(
        context.owner.account_id,
        context.exchange,
        order.order_id,
        context.now.wall_ms,
        quantity=context.number("newQty"),
        client_id=new_id,
    )
    return {
        "transactTime": after.updated_ms,
        "executionId": after.updated_ms,
        "amendedOrder": order_row(context, after),
    }


def amend_futures(context: Context) -> Row:
    order = _named(context)
    after = context.state.world.engine.amend(
        context.owner.account_id,
        context.exchange,
        order.order_id,
        context.now.wall_ms,
        quantity=context.number("quantity") or None,
        price=context.number("price") or None,
    )
    return order_row(context, after)


def one_order(context: Context) -> Row:
    return order_row(context, _named(context))


def open_orders(context: Context) -> list[Row]:
    orders = context.state.world.engine.open_orders(context.owner.account_id, context.exchange, context.maybe_symbol())
    return [order_row(context, order) for order in orders]


def all_orders(context: Context) -> list[Row]:
    """By creation time, oldest first; canceled and expired unfilled orders of futures stay here as long as others.

    Spot wants a symbol, COIN-M a symbol or a pair, USD-M neither since 2026-08-25.
    """
    since, until = span_of(context)
    start_id = context.integer("orderId")
    rows = [
        order
        for order in _of_scope(context)
        if (since is None or order.created_ms >= since)
        and (until is None or order.created_ms <= until)
        and (start_id is None or order_id(context.profile, order) >= start_id)
    ]
    limit = context.limit(500, 1000)
    chosen = rows[:limit] if since is not None or start_id is not None else rows[-limit:]
    return [order_row(context, order) for order in chosen]


def _of_scope(context: Context) -> list[Order]:
    """All orders that the question is about. Raises `Failure`."""
    style, params = context.profile.style, context.params
    engine, account = context.state.world.engine, context.owner.account_id
    pair = params.get("pair") if style == "coinm" else None
    if pair and params.get("symbol"):
        raise Failure(400, -1128, "Combination of optional parameters invalid.")
    wire = context.maybe_symbol() if style == "usdm" or pair else context.symbol().wire
    orders = engine.orders(account, context.exchange, wire)
    return [order for order in orders if not pair or order.symbol.partition("_")[0] == pair]


def forced_orders(context: Context) -> list[Row]:
    since, until = span_of(context)
    return [
        order_row(context, order)
        for order in context.state.world.engine.orders(
            context.owner.account_id, context.exchange, context.maybe_symbol()
        )
        if order.liquidation
        and (since is None or order.created_ms >= since)
        and (until is None or order.created_ms <= until)
    ]


def span_of(context: Context) -> tuple[int | None, int | None]:
    """`startTime` and `endTime`, at most a day (futures: a week) apart. Raises `Failure`."""
    since, until = context.integer("startTime"), context.integer("endTime")
    longest = _DAY_MS if context.profile.spot else _WEEK_MS
    if since is not None and until is not None and until - since > longest:
        hours = longest // 3_600_000
        raise Failure(400, -1127, f"More than {hours} hours between startTime and endTime.")
    if since is not None and until is None:
        until = since + longest
    return since, until


def order_row(context: Context, order: Order) -> Row:
    """An order as REST tells it."""
    symbol = context.state.world.markets.symbol(order.exchange, order.symbol)
    if context.profile.spot or symbol is None:
        return _spot_order(context, order)
    return _futures_order(context, symbol, order)


def _spot_order(context: Context, order: Order) -> Row:
    return {
        "symbol": order.symbol,
        "orderId": order_id(context.profile, order),
        "orderListId": -1,
        "clientOrderId": client_id(order),
        "price": eight(order.price),
        "origQty": eight(order.quantity),
        "executedQty": eight(order.executed),
        "origQuoteOrderQty": eight(order.quote_quantity),
        "cummulativeQuoteQty": eight(order.value),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.order_type,
        "side": order.side,
        "stopPrice": eight(order.stop_price),
        "icebergQty": "0.00000000",
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working,
        "workingTime": order.created_ms,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def _futures_order(context: Context, symbol: Symbol, order: Order) -> Row:
    row: Row = {
        "symbol": order.symbol,
        "orderId": order_id(context.profile, order),
        "clientOrderId": client_id(order),
        "price": price_text(symbol, order.price),
        "avgPrice": average_text(symbol, order.average),
        "origQty": quantity_text(symbol, order.quantity),
        "executedQty": quantity_text(symbol, order.executed),
        "status": "EXPIRED" if order.status == "REJECTED" else order.status,
        "timeInForce": order.time_in_force,
        "type": order.order_type,
        "origType": order.order_type,
        "side": order.side,
        "stopPrice": price_text(symbol, order.stop_price),
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "positionSide": order.position_side,
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    }
    if context.profile.style == "coinm":
        return row | {"pair": order.symbol.split("_")[0], "cumBase": eight(order.value)}
    return row | {"cumQuote": eight(order.value)}
