"""Orders, balances, tickers and candles in OKX's words. Pure. Every figure is text, an absent one is empty."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any, Final

from simulator._values import (
    LEVERAGE,
    Candle,
    Holding,
    Order,
    OrderChange,
    Position,
    Quote,
    Symbol,
    Trade,
    liquidation_price,
    unrealised,
)

INTERVAL_OF: Final = {
    "candle1m": "1m",
    "candle3m": "3m",
    "candle5m": "5m",
    "candle15m": "15m",
    "candle30m": "30m",
    "candle1H": "1h",
    "candle2H": "2h",
    "candle4H": "4h",
    "candle6Hutc": "6h",
    "candle12Hutc": "12h",
    "candle1Dutc": "1d",
    "candle1Wutc": "1w",
}
"""Channels on the UTC grid; those whose days begin at 16:00 UTC are not played."""
_STATE: Final = {"NEW": "live", "PARTIALLY_FILLED": "partially_filled", "FILLED": "filled"}
_BY_FORCE: Final = {"IOC": "ioc", "FOK": "fok"}
_TYPE: Final = {"MARKET": "market", "LIMIT_MAKER": "post_only"}


def text(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    shown = f"{value:f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def order_type(order: Order) -> str:
    return _TYPE.get(order.order_type) or _BY_FORCE.get(order.time_in_force, "limit")


def cancel_source(order: Order) -> str:
    if order.status == "CANCELED":
        return "1"
    if order.status == "EXPIRED":
        return {"IOC": "14", "FOK": "13"}.get(order.time_in_force, "0")
    return "31" if order.order_type == "LIMIT_MAKER" else "0"


_AVERAGE: Final = Context(prec=15)
"""Averages are quotients; the venue writes them with a limited number of digits."""


def order_row(order: Order, kind: str, trade: Trade | None = None) -> dict[str, Any]:
    """An element of the `orders` channel; REST lists have the same fields."""
    ended = order.status in {"CANCELED", "EXPIRED", "REJECTED"}
    spot_market = kind == "SPOT" and order.order_type == "MARKET"
    by_funds = spot_market and order.quote_quantity > 0
    return {
        "instType": kind,
        "instId": order.symbol,
        "ordId": str(order.order_id),
        "clOrdId": order.client_id,
        "tag": "",
        "side": order.side.lower(),
        "posSide": "" if kind == "SPOT" else "net",
        "tdMode": "cash" if kind == "SPOT" else "cross",
        "ordType": order_type(order),
        "px": text(order.price) if order.price else "",
        "sz": text(order.quote_quantity if by_funds else order.quantity),
        "tgtCcy": ("quote_ccy" if by_funds else "base_ccy") if spot_market else "",
        "state": "canceled" if ended else _STATE[order.status],
        "accFillSz": text(order.executed),
        "avgPx": text(_AVERAGE.plus(order.average)) if order.executed else "",
        "fillPx": text(trade.price) if trade else "",
        "fillSz": text(trade.quantity) if trade else "0",
        "tradeId": str(trade.trade_id) if trade else "",
        "fillTime": str(trade.time_ms) if trade else "",
        "execType": ("M" if trade.maker else "T") if trade else "",
        "fillFee": text(-trade.fee) if trade else "0",
        "fillFeeCcy": trade.fee_asset if trade else "",
        "fee": text(-order.fee),
        "feeCcy": order.fee_asset,
        "rebate": "0",
        "rebateCcy": "",
        "category": "full_liquidation" if order.liquidation else "normal",
        "cancelSource": cancel_source(order) if ended else "",
        "amendSource": "",
        "amendResult": "",
        "reqId": "",
        "algoId": "",
        "algoClOrdId": "",
        "code": "0",
        "msg": "",
        "pnl": text(trade.realised) if trade else "0",
        "reduceOnly": "true" if order.reduce_only else "false",
        "lever": "0" if kind == "SPOT" else "5",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


def pushed_order(change: OrderChange, kind: str) -> dict[str, Any]:
    row = order_row(change.order, kind, change.trade)
    if change.kind == "AMENDED":
        row |= {"amendSource": "1", "amendResult": "0", "reqId": change.request_id}
    if not change.order.executed:
        row["avgPx"] = "0"  # the stream writes 0 where REST writes nothing
    return row


def account_row(holdings: Iterable[Holding], time_ms: int) -> dict[str, Any]:
    """An element of the `account` channel, and the answer of `/account/balance`."""
    details = [
        {
            "ccy": holding.asset,
            "availBal": text(holding.free),
            "availEq": text(holding.free),
            "cashBal": text(holding.total),
            "eq": text(holding.total),
            "frozenBal": text(holding.locked),
            "ordFrozen": text(holding.locked),
            "fixedBal": "0",
            "stgyEq": "0",
            "uTime": str(time_ms),
        }
        for holding in holdings
    ]
    return {"uTime": str(time_ms), "totalEq": "10000", "adjEq": "", "isoEq": "0", "details": details}


def position_row(held: Position, quote: Quote) -> dict[str, Any]:
    """An entry of channel `positions`; the size of a net position is signed. A closed one has no prices."""
    symbol = quote.symbol
    liquidation = liquidation_price(held, symbol)
    return {
        "instType": symbol.kind,
        "instId": held.symbol,
        "posId": str(310_000 + sum(held.symbol.encode())),
        "mgnMode": "cross",
        "posSide": "net",
        "pos": text(held.amount),
        "posCcy": "",
        "availPos": "",
        "ccy": symbol.settle,
        "avgPx": text(held.entry) if held.amount else "",
        "markPx": text(quote.price),
        "liqPx": text(liquidation) if liquidation else "",
        "lever": text(LEVERAGE),
        "upl": text(unrealised(held, quote)) if held.amount else "0",
        "realizedPnl": text(held.realised),
        "adl": "1",
        "cTime": str(held.updated_ms),
        "uTime": str(held.updated_ms),
    }


def fill_row(trade: Trade, order: Order | None, kind: str) -> dict[str, Any]:
    """An element of `/trade/fills`; the bill id is the trade's."""
    return {
        "instType": kind,
        "instId": trade.symbol,
        "tradeId": str(trade.trade_id),
        "ordId": str(trade.order_id),
        "clOrdId": order.client_id if order else "",
        "billId": str(trade.trade_id),
        "fillPx": text(trade.price),
        "fillSz": text(trade.quantity),
        "side": trade.side.lower(),
        "posSide": "net",
        "execType": "M" if trade.maker else "T",
        "fee": text(-trade.fee),
        "feeCcy": trade.fee_asset,
        "ts": str(trade.time_ms),
        "fillTime": str(trade.time_ms),
    }


def ticker_row(quote: Quote) -> dict[str, Any]:
    symbol = quote.symbol
    other = quote.volume * symbol.contract_size if symbol.settle else quote.quote_volume
    return {
        "instType": symbol.kind,
        "instId": symbol.wire,
        "last": text(quote.price),
        "lastSz": text(quote.size),
        "askPx": text(quote.ask),
        "askSz": text(quote.size * 3),
        "bidPx": text(quote.bid),
        "bidSz": text(quote.size * 2),
        "open24h": text(quote.open),
        "high24h": text(quote.high),
        "low24h": text(quote.low),
        "vol24h": text(quote.volume),
        "volCcy24h": text(other),
        "sodUtc0": text(quote.open),
        "sodUtc8": text(quote.open),
        "ts": str(quote.time_ms),
    }


def candle_row(candle: Candle, symbol: Symbol, *, closed: bool) -> list[str]:
    base = candle.volume * symbol.contract_size if symbol.settle else candle.quote_volume
    figures = (candle.open, candle.high, candle.low, candle.close, candle.volume, base, candle.quote_volume)
    return [str(candle.start_ms), *(text(figure) for figure in figures), "1" if closed else "0"]
