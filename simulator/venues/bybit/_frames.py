"""Orders, wallets, tickers and candles in Bybit's words. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from simulator._values import INTERVALS as LENGTHS
from simulator._values import (
    LEVERAGE,
    ZERO,
    Candle,
    CandleUpdate,
    Holding,
    Order,
    Position,
    Quote,
    Symbol,
    Trade,
    liquidation_price,
    unrealised,
)
from simulator.venues.bybit._symbols import CATEGORIES, CODES, wire_id

Row = dict[str, Any]

OPEN_INTEREST: Final = "812334"
_DERIVATIVES: Final[Row] = {
    "tpslMode": "",
    "tpTriggerBy": "",
    "slTriggerBy": "",
    "tpLimitPrice": "0",
    "slLimitPrice": "0",
    "triggerDirection": 0,
    "closedPnl": "0",
}
"""Fields that only orders on derivatives have; clients tell the two kinds apart by them."""
_STATUS: Final = {"NEW": "New", "PARTIALLY_FILLED": "PartiallyFilled", "FILLED": "Filled", "REJECTED": "Rejected"}


def text(value: Decimal) -> str:
    """Shortest plain notation."""
    shown = f"{value:f}"
    return (shown.rstrip("0").rstrip(".") if "." in shown else shown) or "0"


def places(value: Decimal, digits: int) -> str:
    return f"{value + 0:.{digits}f}"


def order_status(order: Order, category: str) -> str:
    """Only spot says `PartiallyFilledCanceled`; derivatives say `Cancelled` with an executed quantity."""
    if order.status in _STATUS:
        return _STATUS[order.status]
    return "PartiallyFilledCanceled" if category == "spot" and order.executed else "Cancelled"


def order_row(order: Order, symbol: Symbol) -> Row:
    """An entry of topic `order`; REST lists have the same fields."""
    category = CATEGORIES[order.exchange]
    market = order.order_type == "MARKET"
    by_value = market and order.quote_quantity > 0
    quantity = order.quote_quantity if by_value else order.quantity
    status = order_status(order, category)
    row: Row = {
        "category": category,
        "symbol": order.symbol,
        "orderId": wire_id(category, order.order_id),
        "orderLinkId": "" if order.liquidation else order.client_id,
        "blockTradeId": "",
        "side": order.side.title(),
        "positionIdx": 0,
        "orderStatus": status,
        "cancelType": "CancelByUser" if status in ("Cancelled", "PartiallyFilledCanceled") else "UNKNOWN",
        "rejectReason": "EC_PostOnlyWillTakeLiquidity" if status == "Rejected" else "EC_NoError",
        "timeInForce": "IOC" if market else order.time_in_force,
        "isLeverage": "0",
        "price": places(order.price, symbol.price_decimals) if order.price else "0",
        "qty": text(quantity),
        "avgPrice": text(order.average) if order.executed else "",
        "leavesQty": text(order.remaining) if order.open else "0",
        "leavesValue": text(symbol.value(order.remaining, order.price)) if order.open and order.price else "0",
        "cumExecQty": text(order.executed),
        "cumExecValue": text(order.value),
        "cumExecFee": text(order.fee),
        "cumFeeDetail": {order.fee_asset: text(order.fee)} if order.fee > 0 else {},
        "feeCurrency": order.fee_asset if category == "spot" else "",
        "orderType": "Market" if market or order.liquidation else "Limit",
        "stopOrderType": "",
        "orderIv": "",
        "triggerPrice": text(order.stop_price) if order.stop_price else "",
        "takeProfit": "",
        "stopLoss": "",
        "triggerBy": "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": False,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "marketUnit": "quoteCoin" if by_value else "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
    }
    if category != "spot":
        row |= _DERIVATIVES | {
            "createType": "CreateByTakeOver_PassThrough" if order.liquidation else "CreateByUser",
            "lastPriceOnCreated": places(symbol.price, symbol.price_decimals),
        }
    return row


def execution_row(trade: Trade, order: Order | None) -> Row:
    category = CATEGORIES[trade.exchange]
    return {
        "symbol": trade.symbol,
        "orderId": wire_id(category, trade.order_id),
        "orderLinkId": order.client_id if order else "",
        "side": trade.side.title(),
        "execId": f"{trade.trade_id:020}",
        "execPrice": text(trade.price),
        "execQty": text(trade.quantity),
        "execValue": text(trade.value),
        "execFee": text(trade.fee),
        "feeCurrency": trade.fee_asset if category == "spot" else "",
        "execType": "Trade",
        "execTime": str(trade.time_ms),
        "isMaker": trade.maker,
    }


def coin_row(holding: Holding) -> Row:
    """Spot orders lock; margin of derivatives is not modelled and stands at 0."""
    total = text(holding.total)
    return {
        "coin": holding.asset,
        "equity": total,
        "usdValue": "0",
        "walletBalance": total,
        "locked": text(holding.locked),
        "totalOrderIM": "0",
        "totalPositionIM": "0",
        "totalPositionMM": "0",
        "unrealisedPnl": "0",
        "cumRealisedPnl": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "bonus": "0",
        "availableToWithdraw": "",
        "collateralSwitch": True,
        "marginCollateral": True,
    }


def wallet_row(holdings: Iterable[Holding]) -> Row:
    return {
        "accountType": "UNIFIED",
        "accountIMRate": "0",
        "accountMMRate": "0",
        "totalEquity": "0",
        "totalWalletBalance": "0",
        "totalAvailableBalance": "0",
        "coin": [coin_row(holding) for holding in holdings],
    }


# --- positions ---


def position_row(held: Position, quote: Quote, category: str) -> Row:
    """An entry of topic `position`; an empty position has no side."""
    symbol = quote.symbol
    side = ("Buy" if held.amount > 0 else "Sell") if held.amount else ""
    liquidation = liquidation_price(held, symbol)
    return {
        "category": category,
        "symbol": held.symbol,
        "side": side,
        "size": text(abs(held.amount)),
        "positionIdx": 0,
        "tradeMode": 0,
        "positionValue": text(symbol.value(abs(held.amount), held.entry).quantize(Decimal("0.00000001"))),
        "riskId": 1,
        "riskLimitValue": "2000000",
        "entryPrice": text(held.entry),
        "markPrice": places(quote.price, symbol.price_decimals),
        "leverage": text(LEVERAGE),
        "autoAddMargin": 0,
        "positionBalance": "0",
        "liqPrice": text(liquidation) if liquidation else "",
        "bustPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "unrealisedPnl": text(unrealised(held, quote).quantize(Decimal("0.00000001"))),
        "cumRealisedPnl": text(held.realised),
        "positionStatus": "Normal",
        "adlRankIndicator": 2 if held.amount else 0,
        "isReduceOnly": False,
        "seq": held.updated_ms,
        "createdTime": str(held.updated_ms),
        "updatedTime": str(held.updated_ms),
    }


# --- market data ---


def ticker_row(quote: Quote, category: str) -> Row:
    """All fields of a ticker; spot has no book side."""
    digits, size = quote.symbol.price_decimals, quote.symbol.quantity_decimals
    row: Row = {
        "symbol": quote.symbol.wire,
        "lastPrice": places(quote.price, digits),
        "highPrice24h": places(quote.high, digits),
        "lowPrice24h": places(quote.low, digits),
        "prevPrice24h": places(quote.open, digits),
        "volume24h": places(quote.volume, size),
        "turnover24h": places(quote.quote_volume, 4),
        "price24hPcnt": places(quote.price / quote.open - 1 if quote.open else ZERO, 4),
    }
    if category == "spot":
        return {**row, "usdIndexPrice": places(quote.price, digits)}
    return {
        **row,
        "tickDirection": "PlusTick",
        "markPrice": places(quote.price, digits),
        "indexPrice": places(quote.price, digits),
        "openInterest": OPEN_INTEREST,
        "openInterestValue": places(quote.symbol.value(Decimal(OPEN_INTEREST), quote.price), 4),
        "fundingRate": "0.0001",
        "nextFundingTime": "0",
        "bid1Price": places(quote.bid, digits),
        "bid1Size": places(quote.size, size),
        "ask1Price": places(quote.ask, digits),
        "ask1Size": places(quote.size * 2, size),
    }


def kline_row(update: CandleUpdate) -> Row:
    candle = update.candle
    digits, size = update.symbol.price_decimals, update.symbol.quantity_decimals
    return {
        "start": candle.start_ms,
        "end": candle.start_ms + LENGTHS[update.interval] - 1,
        "interval": CODES[update.interval],
        "open": places(candle.open, digits),
        "close": places(candle.close, digits),
        "high": places(candle.high, digits),
        "low": places(candle.low, digits),
        "volume": places(candle.volume, size),
        "turnover": places(candle.quote_volume, 4),
        "confirm": update.closed,
        "timestamp": update.time_ms,
    }


def kline_list(candle: Candle, symbol: Symbol) -> list[str]:
    """A row of the REST answer."""
    digits = symbol.price_decimals
    return [
        str(candle.start_ms),
        places(candle.open, digits),
        places(candle.high, digits),
        places(candle.low, digits),
        places(candle.close, digits),
        places(candle.volume, symbol.quantity_decimals),
        places(candle.quote_volume, 4),
    ]
