"""Orders, deals, wallets, tickers and candles in the words of WhiteBIT's socket and REST. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from simulator._values import LEVERAGE, Candle, Holding, Order, Position, Quote, Trade, liquidation_price, unrealised
from simulator._venue import Frame
from simulator.venues.whitebit._symbols import FUTURES

Row = dict[str, Any]
_STATUS: Final = {
    "NEW": "OPEN", "PARTIALLY_FILLED": "PARTIALLY_FILLED", "FILLED": "FILLED", "CANCELED": "CANCELED",
    "EXPIRED": "CANCELED_TAKER_BAND", "REJECTED": "CANCELED",
}  # fmt: skip
_TYPES: Final = {"MARKET": (2, 8), "STOP_LOSS": (4, 10), "STOP_LOSS_LIMIT": (3, 9)}
"""Of spot and collateral orders."""
_NAMES: Final = {
    1: "limit", 2: "market", 202: "stock market", 3: "stop limit", 4: "stop market", 7: "margin limit",
    8: "margin market", 9: "margin stop limit", 10: "margin stop market", 14: "margin normalization",
}  # fmt: skip


def text(value: Decimal) -> str:
    """Decimal text; a zero of many digits comes with an exponent, as the venue writes it."""
    if not value:
        return "0"
    shown = f"{value:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def push(method: str, params: object) -> Frame:
    return Frame(msgspec.json.encode({"id": None, "method": f"{method}_update", "params": params}))


def seconds(time_ms: int) -> float:
    return time_ms / 1000


def client_id(order: Order) -> str:
    """The venue names its own liquidations."""
    return f"liquidation_{order.order_id}_!" if order.liquidation else order.client_id


def kind_of(order: Order) -> int:
    futures = order.exchange == FUTURES
    if order.liquidation:
        return 14 if futures else 8
    if order.order_type == "MARKET" and not futures:
        return 2 if order.quote_quantity or order.side == "SELL" else 202
    return _TYPES.get(order.order_type, (1, 7))[futures]


def _sizes(order: Order) -> tuple[Decimal, Decimal]:
    """Amount and what is left of it; a market buy by funds counts in quote."""
    if order.quote_quantity:
        return order.quote_quantity, max(Decimal(0), order.quote_quantity - order.value)
    return order.quantity, order.remaining


def order_row(order: Order) -> Row:
    """As `ordersPending` has it."""
    amount, left = _sizes(order)
    row: Row = {
        "id": order.order_id,
        "market": order.symbol,
        "type": kind_of(order),
        "side": 1 if order.side == "SELL" else 2,
        "post_only": False,
        "ioc": order.time_in_force == "IOC",
        "ctime": seconds(order.created_ms),
        "mtime": seconds(order.updated_ms),
        "price": text(order.price),
        "amount": text(amount),
        "left": "0e-8" if not left else text(left),
        "deal_stock": text(order.executed),
        "deal_money": text(order.value),
        "deal_fee": text(order.fee),
        "client_order_id": client_id(order),
        "stp": "no",
        "status": _STATUS[order.status],
        "rpi": False,
        "reduce_only": order.reduce_only,
    }
    if order.stop_price:
        row |= {"activation_price": text(order.stop_price), "activation_condition": "gte"}
    if order.exchange == FUTURES:
        row["position_side"] = order.position_side
    return row


def executed_row(order: Order) -> Row:
    """As `ordersExecuted` has it: with its source, and the asset of its fee."""
    source = "liquidation" if order.liquidation else "api"
    return {**order_row(order), "source": source, "fee_asset": order.fee_asset, "ftime": seconds(order.updated_ms)}


def deal_row(trade: Trade, client: str) -> list[Any]:
    return [
        trade.trade_id,
        seconds(trade.time_ms),
        trade.symbol,
        trade.order_id,
        text(trade.price),
        text(trade.quantity),
        text(trade.fee),
        client,
        1 if trade.side == "SELL" else 2,
        1 if trade.maker else 2,
        trade.fee_asset,
    ]


def rest_order(order: Order, *, ended: bool) -> Row:
    """A row of the open orders, or of the history, whose market stands outside."""
    amount, left = _sizes(order)
    row: Row = {
        "id" if ended else "orderId": order.order_id,
        "clientOrderId": client_id(order),
        "side": order.side.lower(),
        "type": _NAMES[kind_of(order)],
        "amount": text(amount),
        "left": text(left),
        "price": text(order.price),
        "dealStock": text(order.executed),
        "dealMoney": text(order.value),
        "dealFee": text(order.fee),
        "feeAsset": order.fee_asset,
        "postOnly": False,
        "status": _STATUS[order.status],
    }
    if ended:
        return row | {"ctime": seconds(order.created_ms), "ftime": seconds(order.updated_ms)}
    return row | {"market": order.symbol, "timestamp": seconds(order.created_ms)}


def rest_deal(trade: Trade, client: str) -> Row:
    return {
        "time": seconds(trade.time_ms),
        "fee": text(trade.fee),
        "price": text(trade.price),
        "amount": text(trade.quantity),
        "id": trade.trade_id,
        "dealOrderId": trade.order_id + 1,
        "clientOrderId": client,
        "role": 1 if trade.maker else 2,
        "deal": text(trade.value),
        "feeAsset": trade.fee_asset,
        "side": trade.side.lower(),
        "market": trade.symbol,
        "orderId": trade.order_id,
    }


def spot_wallet(holdings: list[Holding]) -> Row:
    return {one.asset: {"available": text(one.free), "freeze": text(one.locked)} for one in holdings}


def margin_row(one: Holding) -> Row:
    return {"a": one.asset, "B": text(one.total), "b": "0", "av": text(one.free), "ab": text(one.free * 5)}


def position_row(held: Position, quote: Quote) -> Row:
    """As `positionsMargin` has it."""
    liquidation = liquidation_price(held, quote.symbol)
    value = abs(held.amount * held.entry)
    return {
        "id": 2,
        "market": held.symbol,
        "ctime": seconds(held.updated_ms),
        "mtime": seconds(held.updated_ms),
        "amount": text(held.amount),
        "amount_in_money": text(value),
        "base_price": text(held.entry),
        "pnl": text(unrealised(held, quote)),
        "liq_price": text(liquidation) if liquidation else None,
        "liq_stage": None,
        "unrealized_funding": "0",
        "funding": "0",
        "margin": text(value / LEVERAGE),
        "free_margin": "0",
        "realized_pnl": text(held.realised),
        "position_side": held.side,
    }


def market_row(quote: Quote) -> Row:
    return {
        "period": 86_400,
        "last": text(quote.price),
        "open": text(quote.open),
        "close": text(quote.price),
        "high": text(quote.high),
        "low": text(quote.low),
        "volume": text(quote.volume),
        "deal": text(quote.quote_volume),
    }


def candle_row(candle: Candle) -> list[Any]:
    """The close stands before high and low."""
    figures = (candle.open, candle.close, candle.high, candle.low, candle.volume, candle.quote_volume)
    return [candle.start_ms // 1000, *(text(one) for one in figures)]
