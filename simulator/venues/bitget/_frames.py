"""Orders, balances, prices → Bitget's rows, for pushes and REST alike, classic (v2) and unified (v3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from simulator._values import (
    LEVERAGE,
    ZERO,
    Candle,
    Holding,
    Order,
    Position,
    Quote,
    Symbol,
    Tick,
    Trade,
    liquidation_price,
    unrealised,
)
from simulator.venues.bitget._symbols import SPOT, digits, is_modern, order_id

Row = dict[str, Any]
_KEEP: Final = 16
"""Rendered ticks kept; several connections ask for the same one in a row."""
_STATUS: Final = {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled"}


def push(arg: Row, data: Sequence[object], time_ms: int, action: str = "snapshot") -> str:
    return msgspec.json.encode({"action": action, "arg": arg, "data": data, "ts": time_ms}).decode()


def status_of(order: Order) -> str:
    """Spot spells `cancelled` with two l, futures with one."""
    known = _STATUS.get(order.status)
    return known or ("cancelled" if order.exchange == SPOT else "canceled")


def order_type(order: Order) -> str:
    return "market" if order.order_type == "MARKET" else "limit"


def trade_side(order: Order) -> str:
    """One-way mode; forced orders say so."""
    single = f"{order.side.lower()}_single"
    return f"burst_{single}" if order.liquidation else single


def _fee(order: Order) -> list[Row]:
    return [{"feeCoin": order.fee_asset, "fee": digits(-order.fee)}] if order.fee else []


def _fill(trade: Trade) -> Row:
    return {
        "fillPrice": digits(trade.price),
        "tradeId": str(1_390_000_000_000_000_000 + trade.trade_id),
        "baseVolume": digits(trade.quantity),
        "fillTime": str(trade.time_ms),
        "fillFee": digits(-trade.fee),
        "fillFeeCoin": trade.fee_asset,
        "tradeScope": "M" if trade.maker else "T",
    }


# --- v2 pushes ---


def spot_order(order: Order, trade: Trade | None, time_ms: int) -> Row:
    buy = order.side == "BUY"
    money = order.quote_quantity or order.quantity * (order.price or order.average)
    row: Row = {
        "instId": order.symbol,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "size": digits(money if buy else order.quantity),
        "newSize": digits(money if buy and order_type(order) == "market" else order.quantity),
        "notional": digits(money),
        "orderType": order_type(order),
        "force": order.time_in_force.lower(),
        "side": order.side.lower(),
        "accBaseVolume": digits(order.executed),
        "priceAvg": digits(order.average),
        "status": status_of(order),
        "cTime": str(order.created_ms),
        "uTime": str(time_ms),
        "stpMode": "none",
        "feeDetail": _fee(order),
        "enterPointSource": "API",
    }
    if order.price:
        row["price"] = digits(order.price)
    return row | (_fill(trade) if trade else {})


def futures_order(symbol: Symbol, order: Order, trade: Trade | None, time_ms: int) -> Row:
    """The average is left out of new and cancelled pushes."""
    row: Row = {
        "instId": order.symbol,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "size": digits(order.quantity),
        "orderType": order_type(order),
        "force": order.time_in_force.lower(),
        "side": order.side.lower(),
        "tradeSide": trade_side(order),
        "posSide": "net",
        "posMode": "one_way_mode",
        "price": digits(order.price),
        "leverage": "20",
        "marginMode": "crossed",
        "marginCoin": symbol.settle,
        "reduceOnly": "yes" if order.reduce_only else "no",
        "accBaseVolume": digits(order.executed),
        "status": status_of(order),
        "cTime": str(order.created_ms),
        "uTime": str(time_ms),
        "feeDetail": _fee(order),
        "enterPointSource": "SYS" if order.liquidation else "API",
    }
    return row | _fill(trade) | {"priceAvg": digits(order.average)} if trade else row


def spot_balance(holding: Holding, time_ms: int) -> Row:
    return {
        "coin": holding.asset,
        "available": digits(holding.free),
        "frozen": digits(holding.locked),
        "locked": "0",
        "limitAvailable": "0",
        "uTime": str(time_ms),
    }


def futures_balance(holding: Holding) -> Row:
    return {
        "marginCoin": holding.asset,
        "frozen": digits(holding.locked),
        "available": digits(holding.free),
        "maxOpenPosAvailable": digits(holding.free),
        "maxTransferOut": digits(holding.free),
        "equity": digits(holding.total),
        "usdtEquity": digits(holding.total),
        "unrealizedPL": "0",
        "assetMode": "single",
    }


# --- v2 REST ---


def position(held: Position, quote: Quote) -> Row:
    """A row of a classic `positions` push; REST says `symbol` and has the mark price."""
    symbol = quote.symbol
    return {
        "posId": str(926_036_334_386_778_000 + sum(held.symbol.encode())),
        "instId": held.symbol,
        "marginCoin": symbol.settle,
        "marginSize": "0",
        "marginMode": "crossed",
        "holdSide": "short" if held.amount < 0 else "long",
        "posMode": "one_way_mode",
        "total": digits(abs(held.amount)),
        "available": digits(abs(held.amount)),
        "frozen": "0",
        "openPriceAvg": digits(held.entry),
        "leverage": int(LEVERAGE),
        "achievedProfits": digits(held.realised),
        "unrealizedPL": digits(unrealised(held, quote)),
        "unrealizedPLR": "0",
        "liquidationPrice": digits(liquidation_price(held, symbol)),
        "keepMarginRate": "0.004",
        "marginRate": "0",
        "cTime": str(held.updated_ms),
        "uTime": str(held.updated_ms),
        "autoMargin": "off",
    }


def rest_position(held: Position, quote: Quote) -> Row:
    row = position(held, quote)
    del row["posId"], row["frozen"], row["autoMargin"]
    return row | {"symbol": row.pop("instId"), "locked": "0", "markPrice": digits(quote.price)}


def unified_position(held: Position, quote: Quote) -> Row:
    """A row of a v3 `position` push; a closed one is told with size 0."""
    symbol = quote.symbol
    liquidation = liquidation_price(held, symbol)
    return {
        "symbol": held.symbol,
        "leverage": digits(LEVERAGE),
        "openFeeTotal": "",
        "mmr": "",
        "breakEvenPrice": "",
        "available": digits(abs(held.amount)),
        "liqPrice": digits(liquidation) if liquidation else "",
        "marginMode": "crossed",
        "unrealisedPnl": digits(unrealised(held, quote)),
        "markPrice": digits(quote.price),
        "createdTime": str(held.updated_ms),
        "avgPrice": digits(held.entry),
        "totalFundingFee": "0",
        "updatedTime": str(held.updated_ms),
        "marginCoin": symbol.settle,
        "frozen": "0",
        "profitRate": "",
        "closeFeeTotal": "",
        "marginSize": "0",
        "curRealisedPnl": digits(held.realised),
        "size": digits(abs(held.amount)),
        "positionStatus": "normal" if held.amount else "ended",
        "posSide": "short" if held.amount < 0 else "long",
        "holdMode": "one_way_mode",
    }


def unified_rest_position(held: Position, quote: Quote) -> Row:
    row = unified_position(held, quote)
    row["total"], row["liquidationPrice"] = row.pop("size"), row.pop("liqPrice")
    return row | {"category": quote.symbol.kind, "positionBalance": "0"}


def rest_spot_order(order: Order) -> Row:
    """Open orders have their limit price in `priceAvg`."""
    fee = float(-order.fee)
    fees = {"newFees": {"t": fee}, order.fee_asset: {"feeCoinCode": order.fee_asset, "totalFee": fee}}
    return {
        "symbol": order.symbol,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "price": digits(order.price),
        "size": digits(order.quote_quantity or order.quantity),
        "orderType": order_type(order),
        "side": order.side.lower(),
        "status": status_of(order),
        "priceAvg": digits(order.price if order.open else order.average),
        "basePrice": digits(order.price),
        "baseVolume": digits(order.executed),
        "quoteVolume": digits(order.value),
        "feeDetail": msgspec.json.encode(fees).decode() if order.fee else "",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


def rest_futures_order(symbol: Symbol, order: Order) -> Row:
    return {
        "symbol": order.symbol,
        "size": digits(order.quantity),
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "baseVolume": digits(order.executed),
        "quoteVolume": digits(order.executed * order.average),
        "fee": digits(-order.fee),
        "price": digits(order.price),
        "priceAvg": digits(order.average) if order.average else "",
        "status": status_of(order),
        "side": order.side.lower(),
        "force": order.time_in_force.lower(),
        "posSide": "net",
        "marginCoin": symbol.settle,
        "tradeSide": trade_side(order),
        "posMode": "one_way_mode",
        "orderType": order_type(order),
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


# --- v3 ---

NO_FEE: Final = [{"feeCoin": None, "fee": None}]
"""Of orders without fills, as the documents show it."""


def unified_order(symbol: Symbol, order: Order, time_ms: int, units: str) -> Row:
    """What a push and a REST row have in common; `units`: see the half's docstring."""
    size, filled, value = _sizes(symbol, order, units)
    status = "new" if order.status == "NEW" else _STATUS.get(order.status, "cancelled")
    return {
        "category": symbol.kind.lower(),
        "symbol": order.symbol,
        "orderId": order_id(order),
        "clientOid": order.client_id,
        "price": digits(order.price) if order.price else "",
        "qty": size,
        "amount": digits(order.quote_quantity) if order.quote_quantity else "",
        "holdMode": "one_way_mode",
        "holdSide": "",
        "orderType": order_type(order),
        "timeInForce": order.time_in_force.lower(),
        "side": order.side.lower(),
        "marginCoin": symbol.settle,
        "reduceOnly": "yes" if order.reduce_only else "no",
        "cumExecQty": filled,
        "cumExecValue": value,
        "avgPrice": digits(order.average),
        "cancelReason": "",
        "feeDetail": [{"feeCoin": order.fee_asset, "fee": digits(order.fee)}] if order.executed else NO_FEE,
        "orderStatus": status,
        "createdTime": str(order.created_ms),
        "updatedTime": str(time_ms),
    }


def _sizes(symbol: Symbol, order: Order, units: str) -> tuple[str, str, str]:
    """`qty`, `cumExecQty` and `cumExecValue`. Contracts are worth 1 USD; the live ones state it twice."""
    if not is_modern(symbol):
        return digits(order.quantity), digits(order.executed), digits(order.average * order.executed)
    if units == "base":
        price = order.average or order.price
        size = order.quantity / price if price else ZERO
        return digits(size), digits(order.value), digits(order.executed)
    value = order.value if units == "coins" else order.executed
    return digits(order.quantity), digits(order.executed), digits(value)


def unified_push(symbol: Symbol, order: Order, time_ms: int, units: str, *, doubt: bool) -> Row:
    """A push says by `delegateType` that an order is forced, if it says it at all."""
    forced = "market_risk" if doubt else "liquidation"
    row = unified_order(symbol, order, time_ms, units)
    return row | {"delegateType": forced if order.liquidation else "normal", "tradeSide": ""}


def unified_row(symbol: Symbol, order: Order, units: str) -> Row:
    """A REST row says it by `execType`, and lacks `tradeSide`."""
    row = unified_order(symbol, order, order.updated_ms, units)
    return row | {"execType": "liquidation" if order.liquidation else "normal", "delegateType": "normal"}


def unified_coin(holding: Holding) -> Row:
    """Reserved funds are taken out of `balance`, and only a part of them stands in `locked`."""
    return {
        "coin": holding.asset,
        "balance": digits(holding.free),
        "available": digits(holding.free),
        "locked": digits(holding.locked / 2),
        "equity": digits(holding.total),
    }


# --- prices ---


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections: (symbol, text)."""

    def __init__(self, render: Callable[[Quote, int], str]) -> None:
        self._render = render
        self._kept: dict[tuple[str, int], Sequence[tuple[str, str]]] = {}

    def frames(self, tick: Tick) -> Sequence[tuple[str, str]]:
        key = (tick.exchange, tick.number)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = [(quote.symbol.wire, self._render(quote, tick.time_ms)) for quote in tick.quotes]
            while len(self._kept) > _KEEP:
                self._kept.pop(next(iter(self._kept)))
        return found


def ticker(quote: Quote, time_ms: int) -> str:
    symbol = quote.symbol
    arg = {"instType": symbol.kind, "channel": "ticker", "instId": symbol.wire}
    row = {
        "instId": symbol.wire,
        "lastPr": digits(quote.price),
        "open24h": digits(quote.open),
        "high24h": digits(quote.high),
        "low24h": digits(quote.low),
        "change24h": digits(round((quote.price - quote.open) / quote.open, 5) if quote.open else ZERO),
        "bidPr": digits(quote.bid),
        "askPr": digits(quote.ask),
        "bidSz": digits(quote.size),
        "askSz": digits(quote.size * 2),
        "baseVolume": digits(quote.volume),
        "quoteVolume": digits(quote.quote_volume),
        "openUtc": digits(quote.open),
        "ts": str(time_ms),
    }
    return push(arg, [row], time_ms)


def modern_ticker(quote: Quote, time_ms: int) -> str:
    """A row of v3 lacks its symbol."""
    symbol = quote.symbol
    row = {
        "lastPrice": digits(quote.price),
        "openPrice24h": digits(quote.open),
        "highPrice24h": digits(quote.high),
        "lowPrice24h": digits(quote.low),
        "volume24h": digits(quote.volume),
        "turnover24h": digits(quote.quote_volume),
        "bid1Price": digits(quote.bid),
        "ask1Price": digits(quote.ask),
        "bid1Size": digits(quote.size),
        "ask1Size": digits(quote.size * 2),
    }
    return push({"instType": symbol.kind.lower(), "topic": "ticker", "symbol": symbol.wire}, [row], time_ms)


def modern_candle(candle: Candle) -> Row:
    return {
        "start": str(candle.start_ms),
        "open": digits(candle.open),
        "high": digits(candle.high),
        "low": digits(candle.low),
        "close": digits(candle.close),
        "volume": digits(candle.volume),
        "turnover": digits(candle.quote_volume),
    }


def candle_row(candle: Candle) -> list[str]:
    """The last two are the volume in quote and in USDT: the same here."""
    figures = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume)
    return [str(candle.start_ms), *map(digits, figures), digits(candle.quote_volume)]
