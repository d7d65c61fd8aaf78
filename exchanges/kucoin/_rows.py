"""Frames and REST rows of classic KuCoin accounts, and the venue's spellings of times and numbers."""

from __future__ import annotations

import msgspec

from exchanges._numbers import plain, positive

Number = str | int | float | None
Figure = str | int | float
"""One that has to be there: a balance without it is not told as 0."""


class OrderFrame(msgspec.Struct, rename="camel"):
    """`data` of an `orderChange` / `symbolOrderChange` push."""

    symbol: str
    order_id: str
    type: str
    status: str
    side: str = ""
    order_type: str | None = None
    client_oid: str | None = None
    price: Number = None
    size: Number = None
    origin_size: Number = None
    filled_size: Number = None
    remain_size: Number = None
    origin_funds: Number = None
    remain_funds: Number = None
    canceled_funds: Number = None
    canceled_size: Number = None
    match_price: Number = None
    match_size: Number = None
    trade_id: str | int | None = None
    order_time: int | str | None = None
    ts: int | str | None = None


class BalanceFrame(msgspec.Struct, rename="camel"):
    """`data` of an `account.balance` push."""

    currency: str
    available: Figure
    hold: Number = "0"
    relation_event: str = ""
    time: int | str = 0


class WalletFrame(msgspec.Struct, rename="camel"):
    """`data` of a `walletBalance.change` or (retired) `availableBalance.change` push."""

    currency: str
    available_balance: Figure
    hold_balance: Number = None
    isolated_pos_margin: Number = None
    isolated_order_margin: Number = None
    cross_pos_margin: Number = None
    cross_order_margin: Number = None
    timestamp: int | str = 0


class PositionFrame(msgspec.Struct, rename="camel"):
    """`data` of a `position.change` push. Numbers, unlike everywhere else."""

    symbol: str
    current_qty: Number = None
    current_cost: Number = None
    mark_price: Number = None
    current_timestamp: int | str = 0
    opening_timestamp: int | str | None = None
    change_reason: str = ""


class FillRow(msgspec.Struct, rename="camel"):
    """One fill of a futures account."""

    symbol: str
    order_id: str
    side: str
    price: Number
    size: Number
    trade_type: str = ""
    """`trade`, `liquid`, `adl`, `settlement`."""
    created_at: int | str | None = None
    trade_time: int | str | None = None


class RestOrder(msgspec.Struct, rename="camel"):
    """One order of any REST answer; spot and futures name some fields differently."""

    id: str
    symbol: str
    side: str = ""
    type: str = ""
    price: Number = None
    size: Number = None
    funds: Number = None
    deal_size: Number = None
    deal_funds: Number = None
    avg_deal_price: Number = None
    fee: Number = None
    fee_currency: str | None = None
    client_oid: str | None = None
    is_active: bool | None = None
    active: bool | None = None
    status: str | None = None
    cancel_exist: bool = False
    created_at: int | str | None = None
    last_updated_at: int | str | None = None
    updated_at: int | str | None = None
    end_at: int | str | None = None


def milliseconds(value: int | str | None) -> int:
    """A venue time of unknown unit in ms: above 1e17 it is nanoseconds, above 1e14 microseconds."""
    number = int(value) if value not in (None, "") else 0
    if number > 10**17:
        return number // 10**6
    return number // 10**3 if number > 10**14 else number


def rounded_milliseconds(nanoseconds: int | str | None) -> int:
    """Event time: nanoseconds rounded to ms; other units by magnitude."""
    number = int(nanoseconds) if nanoseconds not in (None, "") else 0
    return (number + 500_000) // 10**6 if number > 10**17 else milliseconds(number)


def text(value: Number) -> str:
    """A venue number as plain decimal text; absent is `0`."""
    return "0" if value is None or value == "" else plain(value)


def positive_number(value: Number) -> bool:
    return positive(text(value))
