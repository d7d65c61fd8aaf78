"""Orders, fills, balances and prices in the words of the futures WebSocket v1 and of its REST interface. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from simulator._values import (
    Candle,
    Holding,
    Order,
    OrderChange,
    Position,
    Quote,
    Trade,
    liquidation_price,
    unrealised,
)
from simulator.venues.kraken._frames_spot import moment, number, text

_TAIL: Final = 12


def order_id(value: int) -> str:
    return f"5107a70e-0000-4000-8000-{value:012d}"


def number_of(text_: str) -> int:
    """The engine's number in an order id; -1 for any other text."""
    tail = text_[-_TAIL:]
    return int(tail) if tail.isdigit() and text_ == order_id(int(tail)) else -1


def fill_id(trade: Trade) -> str:
    return f"f1110000-0000-4000-8000-{trade.trade_id:012d}"


def order_type(order: Order) -> str:
    return "stop" if order.stop_price else "limit"


def asset(name: str) -> str:
    return {"BTC": "XBT", "DOGE": "XDG"}.get(name, name)


# --- the stream ---


def body(order: Order) -> dict[str, Any]:
    """`qty` is what is still open."""
    row = {
        "instrument": order.symbol,
        "time": order.created_ms,
        "last_update_time": order.updated_ms,
        "qty": number(order.remaining),
        "filled": number(order.executed),
        "limit_price": number(order.price),
        "stop_price": number(order.stop_price),
        "type": order_type(order),
        "order_id": order_id(order.order_id),
        "cli_ord_id": order.client_id,
        "direction": 0 if order.side == "BUY" else 1,
        "reduce_only": order.reduce_only,
    }
    if not order.client_id:
        del row["cli_ord_id"]
    return row


def book_frame(change: OrderChange) -> dict[str, Any] | None:
    """What `open_orders` tells of a change; market orders and liquidations never stand in the book."""
    order = change.order
    if order.order_type == "MARKET" or order.liquidation:
        return None
    if change.kind in ("NEW", "AMENDED"):
        reason = "new_placed_order_by_user" if change.kind == "NEW" else "edited_by_user"
        return _with_body(order, reason, is_cancel=False)
    if change.kind == "TRADE":
        filled = order.status == "FILLED"
        return _ids(order, "full_fill") if filled else _with_body(order, "partial_fill", is_cancel=False)
    if change.kind == "EXPIRED" and order.executed:
        return _with_body(order, "partial_fill", is_cancel=True)
    reasons = {
        "EXPIRED": "ioc_order_failed_because_it_would_not_be_executed",
        "REJECTED": "post_order_failed_because_it_would_filled",
    }
    return _ids(order, reasons.get(change.kind, "cancelled_by_user"))


def _with_body(order: Order, reason: str, *, is_cancel: bool) -> dict[str, Any]:
    return {"feed": "open_orders", "order": body(order), "is_cancel": is_cancel, "reason": reason}


def _ids(order: Order, reason: str) -> dict[str, Any]:
    row = {"feed": "open_orders", "order_id": order_id(order.order_id), "is_cancel": True, "reason": reason}
    return row | ({"cli_ord_id": order.client_id} if order.client_id else {})


def fill_row(order: Order, trade: Trade, remaining: Decimal) -> dict[str, Any]:
    """`remaining` is what the fill left of the order."""
    kind = "liquidation" if order.liquidation else ("maker" if trade.maker else "taker")
    row = {
        "instrument": trade.symbol,
        "time": trade.time_ms,
        "price": number(trade.price),
        "seq": trade.trade_id,
        "buy": trade.side == "BUY",
        "qty": number(trade.quantity),
        "remaining_order_qty": number(remaining),
        "order_id": order_id(trade.order_id),
        "cli_ord_id": order.client_id,
        "fill_id": fill_id(trade),
        "fill_type": kind,
        "fee_paid": number(trade.fee),
        "fee_currency": asset(trade.fee_asset),
        "taker_order_type": "ioc",
        "order_type": "market" if order.order_type == "MARKET" else "limit",
    }
    if not order.client_id:
        del row["cli_ord_id"]
    return row


def currencies(holdings: Iterable[Holding]) -> dict[str, Any]:
    return {
        asset(one.asset): {
            "quantity": number(one.total),
            "value": number(one.total),
            "collateral_value": number(one.total),
            "available": number(one.free),
            "haircut": 0,
            "conversion_spread": 0,
        }
        for one in holdings
        if one.total
    }


def position_row(held: Position, quote: Quote) -> dict[str, Any]:
    """A row of `open_positions`."""
    liquidation = liquidation_price(held, quote.symbol)
    return {
        "instrument": held.symbol,
        "balance": float(held.amount),
        "pnl": float(unrealised(held, quote)),
        "entry_price": float(held.entry),
        "mark_price": float(quote.price),
        "index_price": float(quote.price),
        "liquidation_threshold": float(liquidation),
        "effective_leverage": 0.5,
        "return_on_equity": 0.0,
        "unrealized_funding": 0.0,
        "initial_margin": 0.0,
        "initial_margin_with_orders": 0.0,
        "maintenance_margin": 0.0,
        "pnl_currency": "USD",
    }


def ticker(quote: Quote) -> dict[str, Any]:
    symbol = quote.symbol
    return {
        "time": quote.time_ms,
        "product_id": symbol.wire,
        "funding_rate": 0.0001,
        "feed": "ticker",
        "bid": number(quote.bid),
        "ask": number(quote.ask),
        "bid_size": number(quote.size * 2),
        "ask_size": number(quote.size * 3),
        "volume": number(quote.volume),
        "dtm": 0,
        "leverage": "50x",
        "index": number(quote.price),
        "premium": 0,
        "last": number(quote.price),
        "change": 0,
        "suspended": False,
        "tag": "perpetual",
        "pair": f"{symbol.base}:{symbol.quote}",
        "openInterest": 1000,
        "markPrice": number(quote.price),
        "maturityTime": 0,
        "post_only": False,
        "volumeQuote": number(quote.quote_volume),
    }


def candle_row(candle: Candle) -> dict[str, Any]:
    return {
        "time": candle.start_ms,
        "open": text(candle.open),
        "high": text(candle.high),
        "low": text(candle.low),
        "close": text(candle.close),
        "volume": text(candle.volume),
    }


# --- REST ---


def rest_time(time_ms: int) -> str:
    """RFC 3339 with milliseconds."""
    return f"{moment(time_ms)[:-4]}Z"


def open_row(order: Order) -> dict[str, Any]:
    """An element of `openorders`."""
    row: dict[str, Any] = {
        "order_id": order_id(order.order_id),
        "symbol": order.symbol,
        "side": order.side.lower(),
        "orderType": "stop" if order.stop_price else "lmt",
        "limitPrice": number(order.price),
        "unfilledSize": number(order.remaining),
        "filledSize": number(order.executed),
        "receivedTime": rest_time(order.created_ms),
        "lastUpdateTime": rest_time(order.updated_ms),
        "status": "partiallyFilled" if order.executed else "untouched",
        "reduceOnly": order.reduce_only,
    }
    if order.stop_price:
        row["stopPrice"] = number(order.stop_price)
    return row | ({"cliOrdId": order.client_id} if order.client_id else {})


def rest_fill(trade: Trade, order: Order | None) -> dict[str, Any]:
    """An element of `fills`."""
    row = {
        "fill_id": fill_id(trade),
        "symbol": trade.symbol,
        "side": trade.side.lower(),
        "order_id": order_id(trade.order_id),
        "size": number(trade.quantity),
        "price": number(trade.price),
        "fillTime": rest_time(trade.time_ms),
        "fillType": "liquidation" if order and order.liquidation else ("maker" if trade.maker else "taker"),
    }
    return row | ({"cliOrdId": order.client_id} if order and order.client_id else {})


_STATUS: Final = {"NEW": "ENTERED_BOOK", "PARTIALLY_FILLED": "ENTERED_BOOK", "FILLED": "FULLY_EXECUTED"}


def status_row(order: Order) -> dict[str, Any]:
    """An element of `orders/status`."""
    return {
        "order": {
            "type": "ORDER",
            "orderId": order_id(order.order_id),
            "cliOrdId": order.client_id or None,
            "symbol": order.symbol,
            "side": order.side.lower(),
            "quantity": number(order.quantity),
            "filled": number(order.executed),
            "limitPrice": number(order.price),
            "reduceOnly": order.reduce_only,
            "timestamp": rest_time(order.created_ms),
            "lastUpdateTimestamp": rest_time(order.updated_ms),
            "algoId": None,
            "priceTriggerOptions": None,
            "triggerTime": None,
        },
        "status": _STATUS.get(order.status, "CANCELLED"),
        "updateReason": None,
        "error": None,
    }


def _past_order(order: Order, filled: Decimal, time_ms: int) -> dict[str, Any]:
    return {
        "uid": order_id(order.order_id),
        "accountUid": order.account,
        "tradeable": order.symbol,
        "direction": order.side.capitalize(),
        "quantity": text(order.quantity),
        "filled": text(filled),
        "timestamp": order.created_ms,
        "limitPrice": text(order.price),
        "orderType": "Market" if order.order_type == "MARKET" else "Limit",
        "clientId": order.client_id,
        "reduceOnly": order.reduce_only,
        "lastUpdateTimestamp": time_ms,
    }


def history(order: Order) -> list[dict[str, Any]]:
    """Elements of the history of orders: how it began, and how it ended."""
    placed = {"order": _past_order(order, Decimal(0), order.created_ms), "reason": "new_user_order"}
    told = [_element(order, "OrderPlaced", placed, order.created_ms)]
    if order.status == "FILLED":
        before = _past_order(order, Decimal(0), order.created_ms)
        after = _past_order(order, order.executed, order.updated_ms)
        update = {"oldOrder": before, "newOrder": after, "reason": "full_fill"}
        told.append(_element(order, "OrderUpdated", update, order.updated_ms))
    elif not order.open:
        ended = {"order": _past_order(order, order.executed, order.updated_ms), "reason": "cancelled_by_user"}
        told.append(_element(order, "OrderCancelled", ended, order.updated_ms))
    return told


def _element(order: Order, name: str, event: dict[str, Any], time_ms: int) -> dict[str, Any]:
    return {"uid": f"{order.order_id}-{name}", "timestamp": time_ms, "event": {name: event}}
