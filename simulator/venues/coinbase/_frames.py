"""Orders, tickers, candles and accounts in Coinbase's words. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from simulator._values import ZERO, Candle, Holding, Order, Quote, Symbol, Trade
from simulator.venues.coinbase._symbols import alias_of, wire_id

Row = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME: Final = "0001-01-01T00:00:00Z"
_STATUS: Final = {
    "NEW": "OPEN",
    "PARTIALLY_FILLED": "OPEN",
    "FILLED": "FILLED",
    "CANCELED": "CANCELLED",
    "EXPIRED": "EXPIRED",
    "REJECTED": "FAILED",
}


def text(value: Decimal) -> str:
    """Shortest plain notation."""
    shown = f"{value:f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) or "0"


def timestamp(time_ms: int, digits: int = 9) -> str:
    """RFC 3339 with so many fractional digits; those below a millisecond are made up from it."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    fraction = f"{moment.microsecond // 1000:03d}{time_ms % 1_000_000:06d}"[:digits]
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def milliseconds(shown: str) -> int:
    """Time of a query parameter; 0 when it can't be read."""
    try:
        moment = datetime.fromisoformat(shown.replace("Z", "+00:00"))
    except ValueError:
        return 0
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment.tzinfo else 0


def total_fees(order: Order, symbol: Symbol) -> Decimal:
    """This venue charges in quote only; the engine takes a buyer's fee in the coin."""
    return order.fee * order.average if order.fee_asset == symbol.base else order.fee


def order_row(order: Order, symbol: Symbol, status: str = "") -> Row:
    """An order of the `user` channel. Terminal updates leave nothing to fill."""
    market = order.order_type == "MARKET"
    done = order.executed / order.quantity * 100 if order.quantity else ZERO
    return {
        "avg_price": text(order.average),
        "cancel_reason": "User requested cancel" if order.status == "CANCELED" else "",
        "client_order_id": order.client_id,
        "completion_percentage": f"{done:.2f}",
        "contract_expiry_type": "UNKNOWN_CONTRACT_EXPIRY_TYPE",
        "cumulative_quantity": text(order.executed),
        "filled_value": text(order.value),
        "leaves_quantity": text(order.remaining) if order.open else "0",
        "limit_price": "" if market else text(order.price),
        "number_of_fills": "1" if order.executed else "0",
        "order_id": wire_id(order.order_id),
        "order_side": order.side,
        "order_type": "Market" if market else "Limit",
        "outstanding_hold_amount": text(order.remaining) if order.open else "0",
        "post_only": "false",
        "product_id": order.symbol,
        "product_type": "SPOT",
        "reject_reason": order.reject_reason if order.status == "REJECTED" else "",
        "status": status or _STATUS[order.status],
        "stop_price": text(order.stop_price) if order.stop_price else "",
        "time_in_force": "IMMEDIATE_OR_CANCEL" if market else "GOOD_UNTIL_CANCELLED",
        "total_fees": text(total_fees(order, symbol)),
        "total_value_after_fees": text(order.value),
        "trigger_status": "INVALID_ORDER_TYPE",
        "creation_time": timestamp(order.created_ms, 6),
        "end_time": NO_TIME,
        "start_time": NO_TIME,
    }


def rest_order(order: Order, symbol: Symbol, last_fill_ms: int | None) -> Row:
    """The same order as REST tells it."""
    market = order.order_type == "MARKET"
    if market and order.quote_quantity:
        configuration: Row = {"market_market_ioc": {"quote_size": text(order.quote_quantity)}}
    elif market:
        configuration = {"market_market_ioc": {"base_size": text(order.quantity)}}
    else:
        sizes = {"base_size": text(order.quantity), "limit_price": text(order.price), "post_only": False}
        configuration = {"limit_limit_gtc": sizes}
    return {
        "order_id": wire_id(order.order_id),
        "product_id": order.symbol,
        "side": order.side,
        "client_order_id": order.client_id,
        "status": _STATUS[order.status],
        "time_in_force": "IMMEDIATE_OR_CANCEL" if market else "GOOD_UNTIL_CANCELLED",
        "created_time": timestamp(order.created_ms, 6),
        "completion_percentage": "0",
        "filled_size": text(order.executed),
        "average_filled_price": text(order.average),
        "number_of_fills": "1" if order.executed else "0",
        "filled_value": text(order.value),
        "pending_cancel": False,
        "total_fees": text(total_fees(order, symbol)),
        "order_type": "MARKET" if market else "LIMIT",
        "product_type": "SPOT",
        "order_configuration": configuration,
        "last_fill_time": timestamp(last_fill_ms, 6) if last_fill_ms is not None else None,
        "reject_reason": order.reject_reason or "REJECT_REASON_UNSPECIFIED",
        "settled": order.status == "FILLED",
    }


def fill_row(trade: Trade) -> Row:
    return {
        "entry_id": f"{trade.trade_id:032x}",
        "trade_id": str(trade.trade_id),
        "order_id": wire_id(trade.order_id),
        "trade_time": timestamp(trade.time_ms, 6),
        "trade_type": "FILL",
        "price": text(trade.price),
        "size": text(trade.quantity),
        "commission": text(trade.fee),
        "product_id": trade.symbol,
        "sequence_timestamp": timestamp(trade.time_ms, 6),
        "liquidity_indicator": "MAKER" if trade.maker else "TAKER",
        "size_in_quote": False,
        "side": trade.side,
    }


def account_row(holding: Holding) -> Row:
    return {
        "uuid": f"00000000-0000-4000-8000-{abs(hash_of(holding.asset)):012x}",
        "name": f"{holding.asset} Wallet",
        "currency": holding.asset,
        "available_balance": {"value": text(holding.free), "currency": holding.asset},
        "hold": {"value": text(holding.locked), "currency": holding.asset},
        "default": True,
        "active": True,
        "ready": True,
        "type": "ACCOUNT_TYPE_CRYPTO",
    }


def hash_of(name: str) -> int:
    """A number that belongs to a name, the same in every run."""
    return int.from_bytes(name.encode()[:6].rjust(6, b"\0"))


def ticker_row(quote: Quote) -> Row:
    digits, size = quote.symbol.price_decimals, quote.symbol.quantity_decimals
    change = (quote.price / quote.open - 1) * 100 if quote.open else ZERO
    return {
        "type": "ticker",
        "product_id": quote.symbol.wire,
        "price": f"{quote.price:.{digits}f}",
        "volume_24_h": f"{quote.volume:.{size}f}",
        "low_24_h": f"{quote.low:.{digits}f}",
        "high_24_h": f"{quote.high:.{digits}f}",
        "low_52_w": f"{quote.low:.{digits}f}",
        "high_52_w": f"{quote.high:.{digits}f}",
        "price_percent_chg_24_h": f"{change:.5f}",
        "best_bid": f"{quote.bid:.{digits}f}",
        "best_bid_quantity": f"{quote.size:.{size}f}",
        "best_ask": f"{quote.ask:.{digits}f}",
        "best_ask_quantity": f"{quote.size * 2:.{size}f}",
    }


def candle_row(candle: Candle, symbol: Symbol, *, product: bool = True) -> Row:
    digits = symbol.price_decimals
    row = {
        "start": str(candle.start_ms // 1000),
        "high": f"{candle.high:.{digits}f}",
        "low": f"{candle.low:.{digits}f}",
        "open": f"{candle.open:.{digits}f}",
        "close": f"{candle.close:.{digits}f}",
        "volume": text(candle.volume),
    }
    return {**row, "product_id": symbol.wire} if product else row


def product_rows(symbol: Symbol) -> list[Row]:
    """A product, and the alias that shares its book."""
    row: Row = {
        "product_id": symbol.wire,
        "base_currency_id": symbol.base,
        "quote_currency_id": symbol.quote,
        "base_increment": f"{Decimal(1).scaleb(-symbol.quantity_decimals):f}",
        "quote_increment": f"{Decimal(1).scaleb(-symbol.price_decimals):f}",
        "price_increment": f"{Decimal(1).scaleb(-symbol.price_decimals):f}",
        "base_min_size": f"{Decimal(1).scaleb(-symbol.quantity_decimals):f}",
        "status": "online",
        "is_disabled": False,
        "trading_disabled": False,
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "view_only": False,
        "product_type": "SPOT",
        "product_venue": "CBE",
        "alias": "",
        "alias_to": [],
    }
    alias = alias_of(symbol.wire)
    if not alias:
        return [row]
    twin = {**row, "product_id": alias, "quote_currency_id": "USDC", "alias": symbol.wire}
    return [{**row, "alias_to": [alias]}, twin]
