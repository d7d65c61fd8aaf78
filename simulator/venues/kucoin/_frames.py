"""Changes and prices → KuCoin's frames. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from simulator._values import (
    LEVERAGE,
    ZERO,
    Candle,
    Holding,
    Order,
    OrderChange,
    Position,
    Quote,
    Symbol,
    Tick,
    liquidation_price,
    unrealised,
)
from simulator.venues.kucoin._symbols import CODES, SPOT, code, digits, order_id

Row = dict[str, Any]
_KEEP: Final = 16
"""Rendered ticks kept; several connections ask for the same one in a row."""


def push(topic: str, subject: str, data: Row, *, private: bool = False) -> str:
    row: Row = {"topic": topic, "type": "message", "subject": subject}
    if private:
        row |= {"userId": "64f0a1b2c3d4e5f601020304", "channelType": "private"}
    return msgspec.json.encode({**row, "data": data}).decode()


# --- orders ---


def order_frames(change: OrderChange) -> list[str]:
    """The pushes of one change: a fill that completes an order is followed by `filled` (or, by funds, `canceled`)."""
    order, kind = change.order, change.kind
    spot = order.exchange == SPOT
    states: list[tuple[str, str]] = []
    if kind == "NEW":
        states = [("received", "new")] if spot else []
        if order.order_type != "MARKET":
            states.append(("open", "open"))
    elif kind == "TRADE" and change.trade is not None:
        states = [("match", "open" if change.trade.maker else "match")]
        if order.status == "FILLED":
            states.append(("canceled" if order.quote_quantity else "filled", "done"))
    elif kind in ("CANCELED", "EXPIRED"):
        states = [("canceled", "done")]
    elif kind == "AMENDED":
        states = [("update", "open")]
    topic = "/spotMarket/tradeOrdersV2" if spot else "/contractMarket/tradeOrders"
    return [
        push(topic, "orderChange", _order(change, state, number), private=True) for number, state in enumerate(states)
    ]


def _order(change: OrderChange, state: tuple[str, str], number: int) -> Row:
    order, (kind, status) = change.order, state
    spot = order.exchange == SPOT
    ended = status == "done"
    row: Row = {
        "symbol": order.symbol,
        "orderType": "market" if order.order_type == "MARKET" else "limit",
        "side": order.side.lower(),
        "orderId": order_id(order),
        "type": kind,
        "status": status,
        "orderTime": order.created_ms if spot else order.created_ms * 10**6,
        "ts": change.time_ms * 10**6 + number,
    }
    if order.client_id:
        row["clientOid"] = order.client_id
    if order.price:
        row["price"] = digits(order.price)
    elif not spot:
        row["price"] = "0"
    if kind == "received":
        return row | ({"originFunds": digits(order.quote_quantity)} if _funds(order) else {"originSize": _size(order)})
    left = ZERO if ended else order.remaining
    row |= {"filledSize": digits(order.executed), "remainSize": digits(left)}
    if _funds(order):
        spent = order.quote_quantity - order.value
        row |= {
            "originFunds": digits(order.quote_quantity),
            "remainFunds": digits(ZERO if ended else spent),
            "canceledFunds": digits(spent if ended else ZERO),
            "remainSize": "0",
        }
    else:
        row |= {
            "size": _size(order),
            "canceledSize": digits(order.remaining if kind == "canceled" else ZERO),
        }
        if spot:
            row["originSize"] = _size(order)
    if not spot:
        row |= {
            "marginMode": "CROSS",
            "positionSide": "BOTH",
            "tradeType": "liquid" if order.liquidation else "trade",
        }
    trade = change.trade
    if kind == "match" and trade is not None:
        maker = "maker" if trade.maker else "taker"
        row |= {
            "matchPrice": digits(trade.price),
            "matchSize": digits(trade.quantity),
            "tradeId": str(trade.trade_id),
            "liquidity": maker,
            "feeType": f"{maker}Fee",
        }
    return row


def _funds(order: Order) -> bool:
    return order.exchange == SPOT and order.quote_quantity > 0


def _size(order: Order) -> str:
    return digits(order.quantity)


# --- money ---


def spot_balance(holding: Holding, time_ms: int, reason: str) -> str:
    """One asset of the trading account."""
    event = "trade.hold" if reason == "ORDER" else "trade.transfer"
    data = {
        "accountId": "548674500001",
        "currency": holding.asset,
        "total": digits(holding.total),
        "available": digits(holding.free),
        "hold": digits(holding.locked),
        "availableChange": digits(holding.delta),
        "holdChange": "0",
        "relationContext": {},
        "relationEvent": event,
        "relationEventId": str(time_ms),
        "time": str(time_ms),
    }
    return push("/account/balance", "account.balance", data, private=True)


def wallet(holding: Holding, time_ms: int) -> str:
    """One asset of the futures account."""
    data = {
        "currency": code(holding.asset),
        "walletBalance": digits(holding.total),
        "availableBalance": digits(holding.free),
        "isolatedPosMargin": "0",
        "isolatedOrderMargin": "0",
        "crossPosMargin": digits(holding.locked),
        "crossOrderMargin": "0",
        "holdBalance": "0",
        "equity": digits(holding.total),
        "crossUnPnl": "0",
        "isolatedUnPnl": "0",
        "version": str(time_ms),
        "timestamp": str(time_ms),
    }
    return push("/contractAccount/wallet", "walletBalance.change", data, private=True)


def position_row(held: Position, mark: Quote, time_ms: int, opened_ms: int) -> Row:
    """A position of the channel and of the list; its cost has the opposite sign on inverse contracts."""
    symbol = mark.symbol
    cost = symbol.value(held.amount, held.entry or mark.price)
    return {
        "symbol": symbol.wire,
        "crossMode": True,
        "marginMode": "CROSS",
        "positionSide": "BOTH",
        "leverage": float(LEVERAGE),
        "currentQty": int(held.amount),
        "currentCost": float(-cost if symbol.inverse else cost),
        "avgEntryPrice": float(held.entry),
        "markPrice": float(mark.price),
        "liquidationPrice": float(liquidation_price(held, symbol)),
        "unrealisedPnl": float(unrealised(held, mark)),
        "openingTimestamp": opened_ms,
        "currentTimestamp": time_ms,
        "isOpen": bool(held.amount),
        "settleCurrency": code(symbol.settle),
    }


def position(held: Position, mark: Quote, time_ms: int, reason: str, opened_ms: int) -> str:
    """A push of a position."""
    data = position_row(held, mark, time_ms, opened_ms) | {"changeReason": reason}
    return push("/contract/positionAll", "position.change", data, private=True)


# --- prices ---


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections: (symbol, data) in order."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Sequence[tuple[str, str]]] = {}

    def frames(self, tick: Tick) -> Sequence[tuple[str, str]]:
        key = (tick.exchange, tick.number)
        found = self._kept.get(key)
        if found is None:
            make = _spot_ticker if tick.exchange == SPOT else _futures_ticker
            found = self._kept[key] = [(quote.symbol.wire, make(quote, tick)) for quote in tick.quotes]
            while len(self._kept) > _KEEP:
                self._kept.pop(next(iter(self._kept)))
        return found


def _spot_ticker(quote: Quote, tick: Tick) -> str:
    """Subject and data of the all-market topic; single topics replace the head."""
    data = {
        "sequence": str(tick.number),
        "price": digits(quote.price),
        "size": digits(quote.size),
        "bestAsk": digits(quote.ask),
        "bestAskSize": digits(quote.size),
        "bestBid": digits(quote.bid),
        "bestBidSize": digits(quote.size),
        "time": tick.time_ms,
    }
    return push("/market/ticker:all", quote.symbol.wire, data)


def single_ticker(wire: str, frame: str) -> str:
    """The same frame on the topic of one symbol."""
    head = push("/market/ticker:all", wire, {}).removesuffix("{}}")
    single = push(f"/market/ticker:{wire}", "trade.ticker", {}).removesuffix("{}}")
    return single + frame.removeprefix(head)


def _futures_ticker(quote: Quote, tick: Tick) -> str:
    data = {
        "symbol": quote.symbol.wire,
        "sequence": tick.number,
        "side": "buy",
        "size": int(quote.size),
        "price": digits(quote.price),
        "bestBidSize": int(quote.size) + 1,
        "bestBidPrice": digits(quote.bid),
        "bestAskPrice": digits(quote.ask),
        "tradeId": str(quote.trades),
        "bestAskSize": int(quote.size) + 2,
        "ts": tick.time_ms * 10**6,
    }
    return push(f"/contractMarket/ticker:{quote.symbol.wire}", "ticker", data)


def candle_row(candle: Candle, *, spot: bool) -> list[str]:
    """start s, open, close, high, low; then volume and turnover on spot, the other way round on futures."""
    head = [str(candle.start_ms // 1000), *map(digits, (candle.open, candle.close, candle.high, candle.low))]
    tail = [digits(candle.volume), digits(candle.quote_volume)]
    return head + (tail if spot else tail[::-1])


def candle_frame(symbol: Symbol, interval: str, candle: Candle, time: int, *, spot: bool) -> str:
    """`interval` is the canonical name; `time` rises from frame to frame."""
    data = {"symbol": symbol.wire, "candles": candle_row(candle, spot=spot), "time": time}
    name = f"{symbol.wire}_{CODES[interval]}"
    if spot:
        return push(f"/market/candles:{name}", "trade.candles.update", data)
    return push(f"/contractMarket/limitCandle:{name}", "candle.stick", data)
