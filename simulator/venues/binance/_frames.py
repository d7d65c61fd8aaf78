"""User-stream frames: engine changes in Binance's words. Field sets: docs/venues/binance.md 5. Pure functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from simulator._values import ZERO, Order, OrderChange, Position, Quote, Symbol, WalletChange, unrealised
from simulator.venues.binance._symbols import Profile

Row = dict[str, Any]

ALIAS: Final = "SfsRAlias"
"""Account alias that COIN-M frames carry."""
_EXECUTION_OFFSET: Final = 90_000_000


def eight(value: Decimal) -> str:
    """Spot style: eight digits after the point."""
    return f"{value + 0:.8f}"


def digits(value: Decimal, places: int) -> str:
    return f"{value + 0:.{places}f}"


def price_text(symbol: Symbol, value: Decimal) -> str:
    """Futures style: the tick's digits, and a bare 0."""
    return digits(value, symbol.price_decimals) if value else "0"


def average_text(symbol: Symbol, value: Decimal) -> str:
    """An average of several fills has up to three digits more than a price."""
    text = digits(value, symbol.price_decimals + 3) if value else "0"
    extra = 0
    while extra < 3 and value and text.endswith("0"):
        text, extra = text[:-1], extra + 1
    return text


def quantity_text(symbol: Symbol, value: Decimal) -> str:
    return digits(value, symbol.quantity_decimals) if value else "0"


def money(value: Decimal) -> str:
    return eight(value) if value else "0"


def order_id(profile: Profile, order: Order) -> int:
    return profile.order_offset + order.order_id


def client_id(order: Order) -> str:
    """Liquidations carry an id that the venue makes."""
    return order.client_id or f"autoclose-{order.created_ms}{order.order_id:06}"


# --- spot and Binance.US ---

_SPOT_KIND: Final = {"AMENDED": "REPLACED"}


def execution_report(profile: Profile, change: OrderChange) -> Row:
    """`executionReport`: `c` is the id of this report, `C` the order's own on cancels and amendments."""
    order, trade = change.order, change.trade
    own, original = client_id(order), ""
    if change.kind == "CANCELED":
        own, original = change.request_id or f"cancel{change.seq}", own
    elif change.kind == "AMENDED":
        original = change.request_id
    resting = order.open and order.working
    row: Row = {
        "e": "executionReport",
        "E": change.time_ms,
        "s": order.symbol,
        "c": own,
        "S": order.side,
        "o": order.order_type,
        "f": order.time_in_force,
        "q": eight(order.quantity),
        "p": eight(order.price),
        "P": eight(order.stop_price),
        "F": "0.00000000",
        "g": -1,
        "C": original,
        "x": _SPOT_KIND.get(change.kind, change.kind),
        "X": order.status,
        "r": order.reject_reason or "NONE",
        "i": order_id(profile, order),
        "l": eight(trade.quantity if trade else ZERO),
        "z": eight(order.executed),
        "L": eight(trade.price if trade else ZERO),
        "n": eight(trade.fee) if trade else "0",
        "N": trade.fee_asset if trade else None,
        "T": change.time_ms,
        "t": trade.trade_id if trade else -1,
        "I": _EXECUTION_OFFSET + change.seq,
        "w": resting,
        "m": trade.maker if trade else False,
        "M": False,
        "O": order.created_ms,
        "Z": eight(order.value),
        "Y": eight(trade.value if trade else ZERO),
        "Q": eight(order.quote_quantity),
        "V": "EXPIRE_MAKER",
    }
    if order.working:
        row["W"] = order.created_ms
    if change.kind == "EXPIRED" and order.time_in_force == "IOC":
        row["eR"] = "UNFILLED_IOC_QUANTITY_EXPIRED"
    return row


def account_position(change: WalletChange) -> Row:
    return {
        "e": "outboundAccountPosition",
        "E": change.time_ms,
        "u": change.time_ms,
        "B": [{"a": h.asset, "f": eight(h.free), "l": eight(h.locked)} for h in change.holdings],
    }


def balance_updates(change: WalletChange) -> list[Row]:
    """Deposits, withdrawals and transfers are told as signed deltas first."""
    if change.reason == "ORDER":
        return []
    return [
        {"e": "balanceUpdate", "E": change.time_ms, "a": h.asset, "d": eight(h.delta), "T": change.time_ms}
        for h in change.holdings
        if h.delta
    ]


# --- USD-M and COIN-M ---


def order_trade_update(profile: Profile, symbol: Symbol, change: OrderChange) -> Row:
    """`ORDER_TRADE_UPDATE`; quantities are base units on USD-M and contracts on COIN-M."""
    order, trade = change.order, change.trade
    kind = {"AMENDED": "AMENDMENT", "REJECTED": "EXPIRED"}.get(change.kind, change.kind)
    if kind == "TRADE" and order.liquidation:
        kind = "CALCULATED"
    left = symbol.value(order.remaining, order.price) if order.open and order.price else ZERO
    body: Row = {
        "s": order.symbol,
        "c": client_id(order),
        "S": order.side,
        "o": order.order_type,
        "f": order.time_in_force,
        "q": quantity_text(symbol, order.quantity),
        "p": price_text(symbol, order.price),
        "ap": average_text(symbol, order.average),
        "sp": price_text(symbol, order.stop_price),
        "x": kind,
        "X": "EXPIRED" if order.status == "REJECTED" else order.status,
        "i": order_id(profile, order),
        "l": quantity_text(symbol, trade.quantity if trade else ZERO),
        "z": quantity_text(symbol, order.executed),
        "L": price_text(symbol, trade.price if trade else ZERO),
        "n": money(trade.fee if trade else ZERO),
        "N": symbol.settle,
        "T": change.time_ms,
        "t": trade.trade_id if trade else 0,
        "b": money(left) if order.side == "BUY" else "0",
        "a": money(left) if order.side == "SELL" else "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.order_type,
        "ps": order.position_side,
        "cp": False,
        "rp": money(trade.realised if trade else ZERO),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
    }
    row: Row = {"e": "ORDER_TRADE_UPDATE", "T": change.time_ms, "E": change.time_ms, "o": body}
    if profile.style == "coinm":
        body["ma"] = symbol.settle
        row["i"] = ALIAS
    return row


def account_update(profile: Profile, change: WalletChange, quotes: dict[str, Quote]) -> Row:
    """`ACCOUNT_UPDATE`; everything is cross margin, so both wallets are equal."""
    moved = change.reason != "ORDER"
    row: Row = {
        "e": "ACCOUNT_UPDATE",
        "T": change.time_ms,
        "E": change.time_ms,
        "a": {
            "B": [
                {"a": h.asset, "wb": eight(h.total), "cw": eight(h.free), "bc": eight(h.delta) if moved else "0"}
                for h in change.holdings
            ],
            "P": [_position(position, quotes[position.symbol]) for position in change.positions],
            "m": change.reason,
        },
    }
    if profile.style == "coinm":
        row["i"] = ALIAS
    return row


def _position(position: Position, quote: Quote) -> Row:
    symbol = quote.symbol
    entry = digits(position.entry, symbol.price_decimals)
    return {
        "s": position.symbol,
        "pa": digits(position.amount, symbol.quantity_decimals),
        "ep": entry,
        "bep": entry,
        "cr": eight(position.realised),
        "up": eight(unrealised(position, quote)),
        "mt": "cross",
        "iw": "0",
        "ps": position.side,
    }


def frames_of(
    profile: Profile, symbol: Symbol | None, change: OrderChange | WalletChange, quotes: dict[str, Quote]
) -> list[Row]:
    """All frames that a change becomes on this market's user stream."""
    if isinstance(change, OrderChange):
        if profile.spot:
            return [execution_report(profile, change)]
        return [order_trade_update(profile, symbol, change)] if symbol else []
    if profile.spot:
        position = [account_position(change)] if change.holdings else []
        return [*balance_updates(change), *position]
    return [account_update(profile, change, quotes)]
