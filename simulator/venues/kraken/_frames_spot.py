"""Orders, balances, tickers and candles in the words of the spot WebSocket v2 and of its REST interface. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Final

from simulator._values import Candle, Holding, Order, OrderChange, Quote, Symbol, Trade
from simulator.venues.kraken._symbols import pair_altname

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AVERAGE: Final = Context(prec=15)
"""Averages are quotients; the venue writes them with a limited number of digits."""
STATUS: Final = {
    "NEW": "new",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
    "REJECTED": "canceled",
}
_TYPE: Final = {"MARKET": "market", "STOP_LOSS": "stop-loss", "STOP_LOSS_LIMIT": "stop-loss-limit"}
_REST_STATUS: Final = {"FILLED": "closed", "CANCELED": "canceled", "EXPIRED": "expired", "REJECTED": "canceled"}


def text(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    shown = f"{value:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def number(value: Decimal) -> float | int:
    """A JSON number; the figures of the simulated world fit into a double."""
    return int(value) if value == value.to_integral_value() else float(value)


def moment(time_ms: int) -> str:
    """RFC 3339 with microseconds."""
    return f"{_EPOCH + timedelta(milliseconds=time_ms):%Y-%m-%dT%H:%M:%S.%f}Z"


def average(order: Order) -> float | int:
    """The average price of an order's fills."""
    return number(_AVERAGE.plus(order.average))


def order_id(value: int) -> str:
    return f"O{value:06d}-SIMUL-KRAKEN"


def number_of(text_: str) -> int:
    """The engine's number in an order id; -1 for any other text."""
    head = text_.partition("-")[0].removeprefix("O")
    return int(head) if head.isdigit() and text_.startswith("O") else -1


def order_type(order: Order) -> str:
    return _TYPE.get(order.order_type, "limit")


# --- executions ---


def full_row(order: Order, execution: str, status: str) -> dict[str, Any]:
    """The complete row that an order begins with, on the stream and in snapshots."""
    row = {
        "order_id": order_id(order.order_id),
        "cl_ord_id": order.client_id,
        "symbol": order.symbol,
        "order_qty": number(order.quantity),
        "cum_cost": number(order.value),
        "time_in_force": order.time_in_force,
        "exec_type": execution,
        "side": order.side.lower(),
        "order_type": order_type(order),
        "order_userref": 0,
        "limit_price_type": "static",
        "limit_price": number(order.price),
        "stop_price": number(order.stop_price),
        "order_status": status,
        "fee_usd_equiv": 0,
        "fee_ccy_pref": "fciq",
        "timestamp": moment(order.created_ms),
    }
    if not order.client_id:
        del row["cl_ord_id"]
    return row


def snapshot_row(order: Order) -> dict[str, Any]:
    row = full_row(order, "new", STATUS[order.status])
    if order.executed:
        row |= {"cum_qty": number(order.executed), "avg_price": average(order)}
    return row | {"timestamp": moment(order.updated_ms)}


def rows_of(change: OrderChange) -> list[list[dict[str, Any]]]:
    """The frames of a change, each with its rows: only the first row of an order is complete."""
    order = change.order
    if change.kind == "NEW":
        live = {"order_id": order_id(order.order_id), "exec_type": "new", "order_status": "new"}
        return [[full_row(order, "pending_new", "pending_new")], [live | _stamp(order)]]
    if change.kind == "TRADE" and change.trade is not None:
        rows = [_trade_row(order, change.trade)]
        if order.status == "FILLED":
            rows.append(_state_row(order, "filled"))
        return [rows]
    if change.kind == "AMENDED":
        amended = {"amended": True, "order_qty": number(order.quantity), "limit_price": number(order.price)}
        return [[_state_row(order, "amended") | amended]]
    return [[_state_row(order, "expired" if change.kind == "EXPIRED" else "canceled") | {"reason": "User requested"}]]


def _stamp(order: Order) -> dict[str, Any]:
    return {"timestamp": moment(order.updated_ms)}


def _trade_row(order: Order, trade: Trade) -> dict[str, Any]:
    """Says `partially_filled` also where it completes the order: a row `filled` follows. No cumulative fields."""
    return {
        "order_id": order_id(order.order_id),
        "exec_id": f"T{trade.trade_id:06d}-SIMUL-KRAKEN",
        "exec_type": "trade",
        "trade_id": trade.trade_id,
        "symbol": order.symbol,
        "side": order.side.lower(),
        "last_qty": number(trade.quantity),
        "last_price": number(trade.price),
        "liquidity_ind": "m" if trade.maker else "t",
        "cost": number(trade.value),
        "order_status": "partially_filled",
        "order_type": order_type(order),
        "fees": [{"asset": trade.fee_asset, "qty": number(trade.fee)}],
        **_stamp(order),
    }


def _state_row(order: Order, execution: str) -> dict[str, Any]:
    return {
        "order_id": order_id(order.order_id),
        "exec_type": execution,
        "order_status": STATUS[order.status],
        "cum_qty": number(order.executed),
        "cum_cost": number(order.value),
        "avg_price": average(order),
        **_stamp(order),
    }


# --- balances ---


def balance_snapshot(holdings: Iterable[Holding]) -> list[dict[str, Any]]:
    return [
        {
            "asset": holding.asset,
            "asset_class": "currency",
            "balance": number(holding.total),
            "wallets": [{"type": "spot", "id": "main", "balance": number(holding.total)}],
        }
        for holding in holdings
        if holding.total
    ]


def ledger_rows(holdings: Sequence[Holding], seq: int, time_ms: int) -> list[dict[str, Any]]:
    """Ledger entries of the holdings whose total changed: what is on hold moves nothing."""
    return [
        {
            "ledger_id": f"L{seq:06d}-SIMUL-{index:06d}",
            "ref_id": f"R{seq:06d}-SIMUL-KRAKEN",
            "timestamp": moment(time_ms),
            "type": "trade",
            "asset": holding.asset,
            "asset_class": "currency",
            "category": "trade",
            "wallet_type": "spot",
            "wallet_id": "main",
            "amount": number(holding.delta),
            "fee": 0,
            "balance": number(holding.total),
        }
        for index, holding in enumerate(holdings)
        if holding.delta
    ]


# --- prices ---


def ticker_row(quote: Quote) -> dict[str, Any]:
    return {
        "symbol": quote.symbol.wire,
        "bid": number(quote.bid),
        "bid_qty": number(quote.size * 2),
        "ask": number(quote.ask),
        "ask_qty": number(quote.size * 3),
        "last": number(quote.price),
        "volume": number(quote.volume),
        "vwap": number(quote.price),
        "low": number(quote.low),
        "high": number(quote.high),
        "change": number(quote.price - quote.open),
        "change_pct": 0,
        "timestamp": moment(quote.time_ms),
    }


def candle_row(candle: Candle, symbol: Symbol, minutes: int) -> dict[str, Any]:
    """`timestamp`, deprecated, is the end of the interval."""
    return {
        "symbol": symbol.wire,
        "open": number(candle.open),
        "high": number(candle.high),
        "low": number(candle.low),
        "close": number(candle.close),
        "trades": candle.trades,
        "volume": number(candle.volume),
        "vwap": number(candle.close),
        "interval_begin": moment(candle.start_ms).replace("Z", "000Z"),
        "interval": minutes,
        "timestamp": moment(candle.start_ms + minutes * 60_000),
    }


# --- REST ---


def rest_order(order: Order, symbol: Symbol | None) -> dict[str, Any]:
    """An order of `OpenOrders`, `ClosedOrders` and `QueryOrders`."""
    pair = pair_altname(symbol) if symbol is not None else order.symbol
    row: dict[str, Any] = {
        "refid": None,
        "userref": 0,
        "cl_ord_id": order.client_id,
        "status": _REST_STATUS.get(order.status, "open"),
        "opentm": order.created_ms / 1000,
        "starttm": 0,
        "expiretm": 0,
        "descr": {
            "pair": pair,
            "type": order.side.lower(),
            "ordertype": order_type(order),
            "price": text(order.price),
            "price2": "0",
            "leverage": "none",
            "order": f"{order.side.lower()} {text(order.quantity)} {pair} @ {order_type(order)} {text(order.price)}",
            "close": "",
        },
        "vol": text(order.quantity),
        "vol_exec": text(order.executed),
        "cost": text(order.value),
        "fee": text(order.fee),
        "price": text(_AVERAGE.plus(order.average)),
        "stopprice": text(order.stop_price),
        "limitprice": "0",
        "misc": "",
        "oflags": "fciq",
    }
    if not order.open:
        row |= {"closetm": order.updated_ms / 1000, "reason": "User requested"}
    return row


def trade_row(trade: Trade, symbol: Symbol | None) -> dict[str, Any]:
    """An element of `TradesHistory`."""
    return {
        "ordertxid": order_id(trade.order_id),
        "pair": pair_altname(symbol) if symbol is not None else trade.symbol,
        "time": trade.time_ms / 1000,
        "type": trade.side.lower(),
        "ordertype": "limit",
        "price": text(trade.price),
        "cost": text(trade.value),
        "fee": text(trade.fee),
        "vol": text(trade.quantity),
        "margin": "0",
        "misc": "",
    }
