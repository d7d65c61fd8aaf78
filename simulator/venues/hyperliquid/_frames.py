"""Orders, fills and candles in Hyperliquid's words. Pure. Figures are text with at least one decimal, times ms."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from simulator._values import (
    INTERVALS,
    LEVERAGE,
    Candle,
    Order,
    Position,
    Quote,
    Symbol,
    Trade,
    liquidation_price,
    unrealised,
)
from simulator.venues.hyperliquid._symbols import token

SLIPPAGE: Final = Decimal("0.05")
"""Market orders are IOC limits this far behind the price."""
_STATUS: Final = {"NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "filled", "CANCELED": "canceled"}


def text(value: Decimal) -> str:
    shown = f"{value:f}"
    shown = shown.rstrip("0") if "." in shown else f"{shown}."
    return f"{shown}0" if shown.endswith(".") else shown


def status_of(order: Order) -> str:
    if order.status == "EXPIRED":
        return "iocCancelRejected" if order.time_in_force in {"IOC", "FOK"} and not order.executed else "canceled"
    if order.status == "REJECTED":
        return "badAloPxRejected" if order.order_type == "LIMIT_MAKER" else "rejected"
    return _STATUS[order.status]


def order_row(order: Order, price: Decimal) -> dict[str, Any]:
    """The order inside an update; `price` is that of the market, for orders without a limit."""
    limit = order.price or price * (1 + SLIPPAGE if order.side == "BUY" else 1 - SLIPPAGE)
    row: dict[str, Any] = {
        "coin": order.symbol,
        "side": "B" if order.side == "BUY" else "A",
        "limitPx": text(limit),
        "sz": text(order.remaining),
        "oid": order.order_id,
        "timestamp": order.created_ms,
        "origSz": text(order.quantity),
    }
    if order.client_id:
        row["cloid"] = order.client_id
    if order.reduce_only:
        row["reduceOnly"] = True
    return row


def frontend_row(order: Order, price: Decimal) -> dict[str, Any]:
    """A row of the REST lists."""
    return order_row(order, price) | {
        "cloid": order.client_id or None,
        "triggerCondition": "N/A",
        "isTrigger": False,
        "triggerPx": "0.0",
        "children": [],
        "isPositionTpsl": False,
        "reduceOnly": order.reduce_only,
        "orderType": "Market" if order.order_type == "MARKET" else "Limit",
        "tif": {"IOC": "Ioc", "FOK": "Ioc"}.get(order.time_in_force, "Gtc"),
    }


def update_row(order: Order, price: Decimal) -> dict[str, Any]:
    return {"order": order_row(order, price), "status": status_of(order), "statusTimestamp": order.updated_ms}


def fill_row(trade: Trade, order: Order | None, symbol: Symbol | None) -> dict[str, Any]:
    spot = symbol is not None and not symbol.settle
    buys = trade.side == "BUY"
    row: dict[str, Any] = {
        "coin": trade.symbol,
        "px": text(trade.price),
        "sz": text(trade.quantity),
        "side": "B" if buys else "A",
        "time": trade.time_ms,
        "startPosition": "0.0",
        "dir": ("Buy" if buys else "Sell") if spot else ("Open Long" if buys else "Open Short"),
        "closedPnl": text(trade.realised),
        "hash": f"0x{trade.trade_id:064x}",
        "oid": trade.order_id,
        "crossed": not trade.maker,
        "fee": text(trade.fee),
        "tid": trade.trade_id,
        "cloid": order.client_id or None if order is not None else None,
        "feeToken": token(trade.fee_asset),
        "twapId": None,
    }
    if order is not None and order.liquidation:
        row["liquidation"] = {"liquidatedUser": f"0x{0:040x}", "markPx": text(trade.price), "method": "market"}
    return row


def position_row(held: Position, quote: Quote) -> dict[str, Any]:
    """An entry of `assetPositions`."""
    value = quote.symbol.value(abs(held.amount), quote.price)
    return {
        "type": "oneWay",
        "position": {
            "coin": held.symbol,
            "szi": text(held.amount),
            "leverage": {"type": "cross", "value": int(LEVERAGE)},
            "entryPx": text(held.entry),
            "positionValue": text(value),
            "unrealizedPnl": text(unrealised(held, quote)),
            "returnOnEquity": "0.0",
            "liquidationPx": text(liquidation_price(held, quote.symbol)),
            "marginUsed": text(value / LEVERAGE),
            "maxLeverage": int(LEVERAGE),
            "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
        },
    }


def candle_row(candle: Candle, symbol: Symbol, interval: str) -> dict[str, Any]:
    return {
        "t": candle.start_ms,
        "T": candle.start_ms + INTERVALS[interval] - 1,
        "s": symbol.wire,
        "i": interval,
        "o": text(candle.open),
        "c": text(candle.close),
        "h": text(candle.high),
        "l": text(candle.low),
        "v": text(candle.volume),
        "n": candle.trades,
    }
