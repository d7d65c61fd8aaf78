"""Derivatives in the words of the unified WebSocket: spot's rows with a class. Pure.

What Kraken's pages leave open is played both ways, in turns by connection: whether a row `filled` follows the trade that
completes an order, and whether the snapshots of orders and fills come in one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from simulator._values import Holding, Order, OrderChange, Position, Symbol, Trade
from simulator.venues.kraken._frames_futures import currencies
from simulator.venues.kraken._frames_spot import STATUS, average, moment, number

CLASS: Final = "derivatives"
WALLET: Final = {"type": CLASS, "id": "flex"}


def order_id(value: int) -> str:
    """Another id than the classic API's for the same order: nothing says that they are the same."""
    return f"0c9f1e52-0000-4000-8000-{value:012d}"


def exec_id(trade: Trade) -> str:
    return f"5b8d0000-0000-4000-8000-{trade.trade_id:012d}"


def _type(order: Order) -> str:
    if order.stop_price:
        return "stop-loss"
    return "market" if order.order_type == "MARKET" else "limit"


def _head(order: Order) -> dict[str, Any]:
    row = {"order_id": order_id(order.order_id), "cl_ord_id": order.client_id, "symbol": order.symbol, "asset_class": CLASS,
           "side": order.side.lower(), "order_type": _type(order)}  # fmt: skip
    if not order.client_id:
        del row["cl_ord_id"]
    return row | ({"liquidated": True} if order.liquidation else {})


def full_row(order: Order, execution: str) -> dict[str, Any]:
    """The complete row that an order begins with, and that snapshots have."""
    row = _head(order) | {
        "order_qty": number(order.quantity),
        "cum_qty": number(order.executed),
        "cum_cost": number(order.value),
        "exec_type": execution,
        "order_status": STATUS[order.status],
        "time_in_force": order.time_in_force,
        "reduce_only": order.reduce_only,
        "timestamp": moment(order.updated_ms),
    }
    if order.executed:
        row["avg_price"] = average(order)
    if order.stop_price:
        row |= {
            "stop_price": number(order.stop_price),
            "triggers": {"reference": "mark", "price": number(order.stop_price)},
        }
    return row | ({"limit_price": number(order.price)} if _type(order) == "limit" else {})


def trade_row(order: Order, trade: Trade, *, last: bool, plain: bool = False) -> dict[str, Any]:
    """`last`: it completes the order; `plain`: as on spot it does not say so, a row `filled` follows. Without totals."""
    return _head(order) | {
        "exec_id": exec_id(trade),
        "exec_type": "trade",
        "trade_id": trade.trade_id,
        "last_qty": number(trade.quantity),
        "last_price": number(trade.price),
        "liquidity_ind": "m" if trade.maker else "t",
        "order_status": "filled" if last and not plain else "partially_filled",
        "fees": [{"asset": trade.fee_asset, "qty": number(trade.fee)}],
        "timestamp": moment(trade.time_ms),
    }


def rows_of(change: OrderChange, *, plain: bool) -> list[dict[str, Any]]:
    """The rows of a change: no `pending_new`, and the trade tells the state."""
    order = change.order
    if change.kind == "NEW":
        return [full_row(order, "new")]
    if change.kind == "TRADE" and change.trade is not None:
        last = order.status == "FILLED"
        rows = [trade_row(order, change.trade, last=last, plain=plain)]
        return [*rows, _state_row(order, "filled")] if last and plain else rows
    if change.kind == "AMENDED":
        amended = {"amended": True, "order_qty": number(order.quantity), "limit_price": number(order.price)}
        return [_state_row(order, "amended") | amended]
    return [_state_row(order, "expired" if change.kind == "EXPIRED" else "canceled") | {"reason": "User requested"}]


def _state_row(order: Order, execution: str) -> dict[str, Any]:
    """Only the first row of an order is complete."""
    row = {
        "order_id": order_id(order.order_id),
        "exec_type": execution,
        "order_status": STATUS[order.status],
        "cum_qty": number(order.executed),
        "cum_cost": number(order.value),
        "timestamp": moment(order.updated_ms),
    }
    return row | ({"avg_price": average(order)} if order.executed else {})


def past_rows(trades: Sequence[Trade], orders: Iterable[Order]) -> list[dict[str, Any]]:
    """Fills of the past, newest first; those of an order that the engine has forgotten are left out."""
    known = {order.order_id: order for order in orders}
    filled: dict[int, Decimal] = {}
    rows: list[dict[str, Any]] = []
    for trade in trades:
        filled[trade.order_id] = filled.get(trade.order_id, Decimal(0)) + trade.quantity
        order = known.get(trade.order_id)
        if order is not None:
            last = order.status == "FILLED" and filled[trade.order_id] >= order.quantity
            rows.append(trade_row(order, trade, last=last))
    return rows[::-1]


# --- wallets ---


def balance_snapshot(spot: Iterable[Holding], flex: Iterable[Holding]) -> list[dict[str, Any]]:
    wallets: dict[str, list[dict[str, Any]]] = {}
    for place, holdings in (({"type": "spot", "id": "main"}, spot), (WALLET, flex)):
        for one in holdings:
            wallets.setdefault(one.asset, []).append(place | {"balance": number(one.total)})
    return [
        {"asset": asset, "asset_class": "currency", "balance": sum(row["balance"] for row in rows), "wallets": rows}
        for asset, rows in wallets.items()
    ]


def ledger_rows(holdings: Sequence[Holding], seq: int, time_ms: int) -> list[dict[str, Any]]:
    return [
        {"ledger_id": f"L{seq:06d}-SIMUL-{index:06d}", "ref_id": f"R{seq:06d}-SIMUL-KRAKEN", "timestamp": moment(time_ms),
         "type": "trade", "asset": one.asset, "asset_class": "currency", "wallet_type": WALLET["type"],
         "wallet_id": WALLET["id"], "amount": number(one.delta), "fee": 0, "balance": number(one.total)}
        for index, one in enumerate(holdings)
        if one.delta
    ]  # fmt: skip


def margin(holdings: Iterable[Holding]) -> list[dict[str, Any]]:
    """The multi-collateral section, whole."""
    return [{"currencies": currencies(holdings), "portfolio_value": 0, "initial_margin": 0, "maintenance_margin": 0,
             "margin_equity": 0, "available_margin": 0}]  # fmt: skip


# --- positions ---


def positions(held: Iterable[Position], time_ms: int) -> dict[str, Any]:
    """The data of the channel: futures apart from options, of which there are none."""
    rows = [{"symbol": one.symbol, "size": number(one.amount), "entry_price": number(one.entry)} for one in held]
    return {"futures": rows, "options": [], "time": moment(time_ms)}


# --- markets ---


def instruments(symbols: Iterable[Symbol]) -> dict[str, Any]:
    pairs = [
        {"symbol": one.wire, "base": "XBT" if one.base == "BTC" else one.base, "quote": one.quote, "status": "online",
         "price_increment": float(Decimal(1).scaleb(-one.price_decimals)),
         "qty_increment": float(Decimal(1).scaleb(-one.quantity_decimals)), "qty_min": 0.0001}
        for one in symbols
    ]  # fmt: skip
    return {"assets": [], "pairs": pairs}
