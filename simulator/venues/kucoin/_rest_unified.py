"""REST answers and pushes of unified accounts. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from simulator._values import LEVERAGE, Holding, Order, OrderChange, Position, Quote, liquidation_price, unrealised
from simulator.venues.kucoin._auth import Failure
from simulator.venues.kucoin._context import Context
from simulator.venues.kucoin._frames import Row
from simulator.venues.kucoin._symbols import FUTURES, FUTURES_WALLET, SPOT, digits, engine_id, order_id

STATUSES: Final = {"NEW": 2, "FILLED": 3, "PARTIALLY_FILLED": 4}


def status_of(order: Order) -> int:
    known = STATUSES.get(order.status)
    if known is not None:
        return known
    return 6 if order.executed else 5


def _unit(order: Order) -> str:
    if order.exchange != SPOT:
        return "UNIT"
    return "QUOTECCY" if order.quote_quantity else "BASECCY"


def _source(order: Order) -> str:
    """Only `USER` is documented."""
    return "LIQUIDATION" if order.liquidation else "USER"


def order_push(change: OrderChange) -> str:
    order = change.order
    data: Row = {
        "tT": "SPOT" if order.exchange == SPOT else "FUTURES",
        "oi": order_id(order),
        "ci": order.client_id,
        "os": status_of(order),
        "s": order.symbol,
        "S": order.side,
        "oT": "MARKET" if order.order_type == "MARKET" else "LIMIT",
        "p": digits(order.price) if order.price else "",
        "q": digits(order.quote_quantity or order.quantity),
        "qU": _unit(order),
        "fS": digits(order.executed),
        "aP": digits(order.average) if order.average else "",
        "f": digits(order.fee),
        "fC": order.fee_asset,
        "cS": digits(order.quantity - order.executed) if not order.open else "0",
        "rS": digits(order.remaining) if order.open else "0",
        "O": str(order.created_ms * 10**6),
        "oS": _source(order),
        "U": change.time_ms * 10**6,
    }
    return push("orderAll.UNIFIED", data, change.time_ms)


def position_push(held: Position, mark: Quote, time_ms: int, reason: str = "") -> str:
    """A position (page 3470350). No page tells how the push names a liquidation: `reason` stands in a field of our own."""
    data: Row = {
        "pi": str(70_000_000_000_000_000 + sum(held.symbol.encode())),
        "s": held.symbol,
        "mM": "CROSS",
        "q": digits(held.amount),
        "eP": digits(held.entry),
        "pV": digits(abs(mark.symbol.value(held.amount, mark.price))),
        "mP": digits(mark.price),
        "lP": digits(liquidation_price(held, mark.symbol)),
        "l": digits(LEVERAGE),
        "uPL": digits(unrealised(held, mark)),
        "rPL": digits(held.realised),
        "U": time_ms * 10**6,
        "O": (held.updated_ms or time_ms) * 10**6,
    }
    return push("positionAll.UNIFIED", data | ({"cR": reason} if reason else {}), time_ms)


def positions(context: Context) -> list[Row]:
    if not context.state.is_unified(context.owner):
        raise Failure("112010", "not a unified account user")
    quotes = context.state.world.markets.quote
    held = [(one, quotes(exchange, one.symbol)) for exchange in FUTURES for one in context.owner.positions(exchange)]
    return [
        {
            "id": str(70_000_000_000_000_000 + sum(one.symbol.encode())),
            "symbol": one.symbol,
            "marginMode": "CROSS",
            "size": digits(one.amount),
            "entryPrice": digits(one.entry),
            "positionValue": digits(abs(mark.symbol.value(one.amount, mark.price))),
            "markPrice": digits(mark.price),
            "leverage": digits(LEVERAGE),
            "unrealizedPnL": digits(unrealised(one, mark)),
            "realizedPnL": digits(one.realised),
            "initialMargin": "0",
            "mmr": "0.004",
            "maintenanceMargin": "0",
            "creationTime": one.updated_ms * 10**6,
        }
        for one, mark in held
    ]


def balance_push(holding: Holding, time_ms: int) -> str:
    data: Row = {
        "c": holding.asset,
        "e": digits(holding.total),
        "b": digits(holding.total),
        "a": digits(holding.free),
        "h": digits(holding.locked),
        "U": str(time_ms * 10**6),
        "l": "0",
    }
    return push("balance.UNIFIED", data, time_ms)


def push(channel: str, data: Row, time_ms: int) -> str:
    return msgspec.json.encode({"T": channel, "P": str(time_ms * 10**6), "d": data}).decode()


def _row(order: Order) -> Row:
    return {
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "symbol": order.symbol,
        "side": order.side,
        "status": status_of(order),
        "orderType": "MARKET" if order.order_type == "MARKET" else "LIMIT",
        "price": digits(order.price) if order.price else "",
        "size": digits(order.quote_quantity or order.quantity),
        "sizeUnit": _unit(order),
        "filledSize": digits(order.executed),
        "avgPrice": digits(order.average) if order.average else "",
        "fee": digits(order.fee),
        "feeCurrency": order.fee_asset,
        "orderSource": _source(order),
        "orderTime": order.created_ms * 10**6,
        "updatedTime": order.updated_ms * 10**6,
    }


def _orders(context: Context) -> list[Order]:
    if not context.state.is_unified(context.owner):
        raise Failure("112010", "not a unified account user")
    exchanges = (SPOT,) if context.params.get("tradeType") == "SPOT" else FUTURES
    engine = context.state.world.engine
    return [order for exchange in exchanges for order in engine.orders(context.owner.account_id, exchange)]


def _listed(context: Context) -> list[Order]:
    """The orders of a list call; those of SPOT want a symbol. Raises `Failure`."""
    version = int(context.request.path.removeprefix("/api/ua/v")[0])
    wire, spot = context.params.get("symbol", ""), context.params.get("tradeType") == "SPOT"
    if spot and not wire and version in context.state.wants_symbol:
        raise Failure("400100", "symbol is required")
    if wire and context.state.exchange_of(wire) is None:
        raise Failure("400100", "symbol is invalid")
    return [order for order in _orders(context) if wire in ("", order.symbol)]


def open_list(context: Context) -> Row:
    size, page = context.integer("pageSize") or 20, context.integer("pageNumber") or 1
    rows = [order for order in _listed(context) if order.open]
    pages = max((len(rows) + size - 1) // size, 1)
    part = rows[(page - 1) * size : page * size]
    return {"pageNumber": page, "pageSize": size, "totalPage": pages, "items": [_row(order) for order in part]}


def history(context: Context) -> Row:
    since, last = context.integer("startAt") or 0, context.integer("lastId")
    size = context.integer("pageSize") or 20
    rows = sorted(
        (
            order
            for order in _listed(context)
            if not order.open
            and order.status != "REJECTED"
            and order.updated_ms >= since
            and (not last or order.order_id < last)
        ),
        key=lambda order: order.order_id,
        reverse=True,
    )[:size]
    return {"lastId": rows[-1].order_id if rows else 0, "items": [_row(order) for order in rows]}


def detail(context: Context) -> Row:
    wanted = context.params.get("orderId", "")
    numbers = {engine_id(exchange, wanted) for exchange in (SPOT, *FUTURES)}
    found = next((order for order in _orders(context) if order.order_id in numbers), None)
    if found is None or order_id(found) != wanted:
        raise Failure("100001", "The order does not exist.")
    return _row(found)


def balances(context: Context) -> Row:
    if not context.state.is_unified(context.owner):
        raise Failure("112010", "not a unified account user")
    held = [*context.owner.holdings(SPOT), *context.owner.holdings(FUTURES_WALLET)]
    rows = [{"currency": h.asset, "available": digits(h.free), "hold": digits(h.locked)} for h in held]
    return {"accountType": "UNIFIED", "ts": context.now.wall_ms * 10**6, "accounts": [{"currencies": rows}]}
