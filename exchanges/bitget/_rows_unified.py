"""Rows of unified (v3) accounts: sizes of inverse perpetuals, forced orders, balances (venues/bitget.md last section).

Inverse perpetuals are traded in contracts of 1 USD. The pages say base coin, live fills say contracts, and the platform
books coins: so each row is asked which of the two it holds. Sample frames stand in `tests/golden/bitget-v3.jsonl`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.bitget._report import OrderMemory
from exchanges.bitget._rows import UnifiedCoin, UnifiedOrder, text, word

CONTRACTS: Final = "contracts"
BASE: Final = "base"

_FORCED_EXEC: Final = frozenset({"liquidation", "reduce", "offset"})
"""`execType` of a liquidation, a forced reduction, and the netting of hedged positions."""
_FORCED_TRADE: Final = ("burst_", "reduce_", "offset_")
_TAKE_OVER: Final = frozenset({"liquidation_take_over_long", "liquidation_take_over_short"})
_PERHAPS: Final = _TAKE_OVER | {"market_risk", "reduce_offset_delegate"}
"""`delegateType` of orders that may be forced; only `execType` tells, which stands in the REST row."""
_ORDINARY: Final = frozenset(
    {"normal", "delivery", "delivery_close_long", "delivery_close_short", "off_close", "mmr_stop_loss_market",
     "back_contract"}
)  # fmt: skip
_ORDINARY_BEGIN: Final = ("strategy_", "plan_", "stop_")


def forced(row: UnifiedOrder) -> bool:
    """Whether the row itself says that the venue closed the position."""
    delegate, trade = word(row.delegate_type), word(row.trade_side)
    closing = word(row.reduce_only) in ("yes", "true") or trade == "close"
    return (
        word(row.exec_type) in _FORCED_EXEC
        or delegate == "liquidation"
        or (delegate in _TAKE_OVER and closing)
        or trade.startswith(_FORCED_TRADE)
    )


def perhaps_forced(row: UnifiedOrder) -> bool:
    """Whether a filled row leaves it open."""
    delegate = word(row.delegate_type)
    if row.order_status != "filled" or row.exec_type or not delegate or forced(row):
        return False
    listed = delegate in _ORDINARY or delegate.startswith(_ORDINARY_BEGIN)
    return delegate in _PERHAPS or (not row.client_oid and not listed)


# --- sizes ---


class Sizes(NamedTuple):
    """The figures of an order in coins and quote money."""

    price: Decimal
    """Average of the fills, else the limit price."""
    quantity: str
    filled: Decimal
    quote: Decimal


def coin_sizes(row: UnifiedOrder, memory: OrderMemory, *, money: bool) -> Sizes:
    """A row whose sizes are coins. `money`: its `qty` is quote money, as in a market buy on spot."""
    filled, value = decimal(row.cum_exec_qty), decimal(row.cum_exec_value)
    told = decimal(row.avg_price) or divide(value, filled)
    if told > 0:
        memory.average = told
    average = memory.average if filled > 0 else Decimal(0)
    return Sizes(
        price=average or decimal(row.price),
        quantity=plain(filled) if money else text(row.qty),
        filled=filled,
        quote=value if value > 0 else multiply(filled, average),
    )


def contract_sizes(row: UnifiedOrder, memory: OrderMemory) -> Sizes | None:
    """A row of an inverse perpetual; None if something is filled and nothing tells at what price."""
    size, filled, value = decimal(row.qty), decimal(row.cum_exec_qty), decimal(row.cum_exec_value)
    price = _fill_price(row, memory, filled, value) if filled > 0 else decimal(row.price)
    if price is None:
        return None
    unit = memory.unit or _unit(size, filled, value, price)
    if filled <= 0:
        quantity = text(row.qty) if unit == BASE else plain(divide(size, price))
        return Sizes(price=price, quantity=quantity, filled=Decimal(0), quote=Decimal(0))
    memory.unit, memory.average = unit, price
    if unit == BASE:
        quote = value if value > 0 and value != filled else multiply(filled, price)
        return Sizes(price=price, quantity=text(row.qty), filled=filled, quote=quote)
    return Sizes(price=price, quantity=plain(divide(size, price)), filled=divide(filled, price), quote=filled)


def _unit(size: Decimal, filled: Decimal, value: Decimal, price: Decimal) -> str:
    if filled > 0 and value > 0:
        if filled == value:
            return CONTRACTS
        in_dollars = abs(multiply(filled, price) - value)
        return BASE if in_dollars <= abs(divide(filled, price) - value) else CONTRACTS
    whole = size == size.to_integral_value() and filled == filled.to_integral_value()
    return CONTRACTS if whole else BASE


def _fill_price(row: UnifiedOrder, memory: OrderMemory, filled: Decimal, value: Decimal) -> Decimal | None:
    """Average of the fills: as told, else out of the value, else the last one, else the limit price."""
    told = decimal(row.avg_price)
    if told > 0:
        return told
    near = next((price for price in (memory.average, decimal(row.price)) if price > 0), None)
    if value > 0 and value != filled:
        return _out_of_value(row, memory, filled, value, near)
    return near


def _out_of_value(
    row: UnifiedOrder, memory: OrderMemory, filled: Decimal, value: Decimal, near: Decimal | None
) -> Decimal | None:
    """Value over size for coins, size over value for contracts; `near` = a price that it must be close to."""
    coins, contracts = divide(value, filled), divide(filled, value)
    if memory.unit:
        return coins if memory.unit == BASE else contracts
    if near is not None:
        return min(coins, contracts, key=lambda price: abs((price / near).ln()))
    size = decimal(row.qty)
    whole = filled == filled.to_integral_value() and size == size.to_integral_value()
    if whole and value == value.to_integral_value():
        return None
    return contracts if whole else coins


# --- balances ---


def wallet(coin: UnifiedCoin) -> tuple[str, str, Decimal]:
    """Coin, free and locked. The venue takes reserved funds out of the balance, and tells only a part of them as locked."""
    total = coin.equity if coin.equity not in (None, "") else coin.balance
    if total in (None, "") or coin.available in (None, ""):
        return coin.coin, text(coin.available), decimal(coin.locked)
    return coin.coin, text(coin.available), max(Decimal(0), decimal(total) - decimal(coin.available))
