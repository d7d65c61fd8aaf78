"""Orders and balances over REST. Pure."""

from __future__ import annotations

from simulator._values import ZERO, Order
from simulator.venues.kucoin._auth import Failure
from simulator.venues.kucoin._context import Context
from simulator.venues.kucoin._frames import Row, position_row
from simulator.venues.kucoin._symbols import FUTURES, FUTURES_WALLET, SPOT, digits, engine_id, order_id

# --- orders ---


def _all(context: Context, symbol: str | None = None) -> list[Order]:
    engine, account = context.state.world.engine, context.owner.account_id
    found = [order for exchange in context.exchanges for order in engine.orders(account, exchange, symbol)]
    return sorted(found, key=lambda order: order.updated_ms, reverse=True)


def spot_row(order: Order) -> Row:
    return {
        "id": order_id(order),
        "clientOid": order.client_id,
        "symbol": order.symbol,
        "opType": "DEAL",
        "type": "market" if order.order_type == "MARKET" else "limit",
        "side": order.side.lower(),
        "price": digits(order.price),
        "size": "0" if order.quote_quantity else digits(order.quantity),
        "funds": digits(order.quote_quantity),
        "dealSize": digits(order.executed),
        "dealFunds": digits(order.value),
        "remainSize": digits(order.remaining if order.open else ZERO),
        "cancelledSize": digits(ZERO if order.open else order.remaining),
        "fee": digits(order.fee),
        "feeCurrency": order.fee_asset,
        "timeInForce": order.time_in_force,
        "cancelExist": order.status in ("CANCELED", "EXPIRED") or bool(order.quote_quantity and not order.open),
        "inOrderBook": order.open,
        "active": order.open,
        "createdAt": order.created_ms,
        "lastUpdatedAt": order.updated_ms,
        "tradeType": "TRADE",
    }


def futures_row(order: Order) -> Row:
    return {
        "id": order_id(order),
        "clientOid": order.client_id,
        "symbol": order.symbol,
        "type": "market" if order.order_type == "MARKET" else "limit",
        "side": order.side.lower(),
        "price": digits(order.price),
        "size": int(order.quantity),
        "dealSize": int(order.executed),
        "dealValue": digits(order.value),
        "filledSize": int(order.executed),
        "filledValue": digits(order.value),
        "avgDealPrice": digits(order.average),
        "isActive": order.open,
        "status": "open" if order.open else "done",
        "cancelExist": order.status in ("CANCELED", "EXPIRED"),
        "createdAt": order.created_ms,
        "updatedAt": order.updated_ms,
        "endAt": None if order.open else order.updated_ms,
        "orderTime": order.created_ms * 10**6,
        "settleCurrency": "",
        "marginMode": "CROSS",
    }


def _visible(order: Order) -> bool:
    """A refused order never appears."""
    return order.status != "REJECTED"


def active_symbols(context: Context) -> Row:
    symbols = sorted({order.symbol for order in _all(context) if order.open})
    return {"symbolSize": len(symbols), "symbols": symbols}


def active(context: Context) -> list[Row]:
    return [spot_row(order) for order in _all(context, _named(context)) if order.open]


def _named(context: Context) -> str:
    wire = context.params.get("symbol", "")
    if context.state.world.markets.symbol(SPOT, wire) is None:
        raise Failure("400100", "symbol is invalid")
    return wire


def done(context: Context) -> Row:
    """Newest first; `lastId` is the engine's number of the last row."""
    since, until, last = context.integer("startAt") or 0, context.integer("endAt"), context.integer("lastId")
    limit = min(context.integer("limit") or 20, 100)
    rows = sorted(
        (
            order
            for order in _all(context, _named(context))
            if not order.open
            and _visible(order)
            and since <= order.updated_ms <= (until or order.updated_ms)
            and (not last or order.order_id < last)
        ),
        key=lambda order: order.order_id,
        reverse=True,
    )[:limit]
    return {"items": [spot_row(order) for order in rows], "lastId": rows[-1].order_id if rows else 0}


def spot_one(context: Context) -> Row:
    return spot_row(_one(context, SPOT))


def futures_one(context: Context) -> Row:
    for exchange in FUTURES:
        try:
            return futures_row(_one(context, exchange))
        except Failure:
            continue
    raise Failure("100001", "The order does not exist.")


def _one(context: Context, exchange: str) -> Order:
    number = engine_id(exchange, context.request.path.rpartition("/")[2])
    order = context.state.world.engine.order(context.owner.account_id, exchange, order_id=number or 0)
    if order is None or not _visible(order):
        raise Failure("100001", "The order does not exist.")
    return order


def futures_orders(context: Context) -> Row:
    done = context.params.get("status") == "done"
    size = min(context.integer("pageSize") or 50, 1000)
    page = context.integer("currentPage") or 1
    since, until = context.integer("startAt") or 0, context.integer("endAt")
    rows = [
        order
        for order in _all(context)
        if order.open is not done and _visible(order) and since <= order.created_ms <= (until or order.created_ms)
    ]
    pages = max((len(rows) + size - 1) // size, 1)
    part = rows[(page - 1) * size : page * size]
    return {
        "currentPage": page,
        "pageSize": size,
        "totalNum": len(rows),
        "totalPage": pages,
        "items": [futures_row(order) for order in part],
    }


def recent(context: Context) -> list[Row]:
    day_ago = context.now.wall_ms - 86_400_000
    rows = [order for order in _all(context) if not order.open and _visible(order) and order.updated_ms >= day_ago]
    return [futures_row(order) for order in rows[:1000]]


def fills(context: Context) -> Row:
    """Futures fills; the type says which of them was a liquidation."""
    since, until = context.integer("startAt") or 0, context.integer("endAt")
    size, page = min(context.integer("pageSize") or 50, 1000), context.integer("currentPage") or 1
    engine, account = context.state.world.engine, context.owner.account_id
    rows = []
    for exchange in FUTURES:
        for trade in engine.trades(account, exchange):
            order = engine.order(account, exchange, order_id=trade.order_id)
            if order is None or not since <= trade.time_ms <= (until or trade.time_ms):
                continue
            rows.append(
                {
                    "symbol": trade.symbol,
                    "tradeId": str(trade.trade_id),
                    "orderId": order_id(order),
                    "side": trade.side.lower(),
                    "price": digits(trade.price),
                    "size": int(trade.quantity),
                    "tradeType": "liquid" if order.liquidation else "trade",
                    "tradeTime": trade.time_ms * 10**6,
                    "createdAt": trade.time_ms,
                }
            )
    pages = max((len(rows) + size - 1) // size, 1)
    part = rows[::-1][(page - 1) * size : page * size]
    return {"currentPage": page, "pageSize": size, "totalNum": len(rows), "totalPage": pages, "items": part}


# --- balances ---


def accounts(context: Context) -> list[Row]:
    if context.params.get("type") not in (None, "trade", "trade_hf"):
        return []
    return [
        {
            "id": f"548674{number:06}",
            "currency": held.asset,
            "type": "trade",
            "balance": digits(held.total),
            "available": digits(held.free),
            "holds": digits(held.locked),
        }
        for number, held in enumerate(context.owner.holdings(SPOT))
    ]


def overview(context: Context) -> Row:
    currency = context.params.get("currency", "XBT")
    asset = "BTC" if currency == "XBT" else currency
    held = next((h for h in context.owner.holdings(FUTURES_WALLET) if h.asset == asset), None)
    total = held.total if held else ZERO
    return {
        "accountEquity": float(total),
        "unrealisedPNL": 0,
        "marginBalance": float(total),
        "positionMargin": float(held.locked) if held else 0,
        "orderMargin": 0,
        "frozenFunds": 0,
        "availableBalance": float(held.free) if held else 0,
        "currency": currency,
    }


def positions(context: Context) -> list[Row]:
    """Of both families."""
    quotes = context.state.world.markets.quote
    return [
        position_row(held, quotes(exchange, held.symbol), held.updated_ms, held.updated_ms)
        for exchange in FUTURES
        for held in context.owner.positions(exchange)
    ]


def mode(context: Context) -> Row:
    return {"selfAccountMode": "UNIFIED" if context.state.is_unified(context.owner) else "CLASSIC"}
