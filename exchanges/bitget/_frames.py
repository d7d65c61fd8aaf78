"""Frames and REST rows of Bitget, classic (v2) and unified (v3)."""

from __future__ import annotations

import msgspec

from exchanges._numbers import plain, positive

Number = str | int | float | None
Time = str | int | None


class ArgFrame(msgspec.Struct, rename="camel"):
    """`arg` of an answer or a push."""

    inst_type: str = ""
    channel: str = ""
    topic: str = ""
    inst_id: str = ""
    coin: str = ""
    symbol: str = ""


class Frame(msgspec.Struct):
    """Head of everything that arrives; `data` is decoded by channel."""

    event: str = ""
    action: str = ""
    arg: ArgFrame | None = None
    code: str | int = 0
    msg: str | None = None
    op: str = ""
    ts: int | str = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


class OrderRow(msgspec.Struct, rename="camel"):
    """One element of an `orders` push."""

    inst_id: str
    order_id: str
    status: str
    side: str = ""
    client_oid: str | None = None
    client_o_id: str | None = None
    """Some documents spell it `clientOId`."""
    order_type: str = ""
    price: Number = None
    size: Number = None
    new_size: Number = None
    base_volume: Number = None
    """Size of the latest fill only."""
    acc_base_volume: Number = None
    price_avg: Number = None
    trade_id: str | int | None = None
    fill_fee: Number = None
    fill_fee_coin: str | None = None
    trade_side: str | None = None
    pos_side: str | None = None
    c_time: Time = None
    u_time: Time = None


class SpotBalance(msgspec.Struct):
    """One coin of a spot `account` push, and of the REST list."""

    coin: str
    available: Number = None
    frozen: Number = None
    locked: Number = None


class FuturesBalance(msgspec.Struct, rename="camel"):
    """One coin of a futures `account` push."""

    margin_coin: str
    available: Number = None
    equity: Number = None
    unrealized_pl: Number = msgspec.field(default=None, name="unrealizedPL")


class UnifiedFee(msgspec.Struct, rename="camel"):
    fee_coin: str = ""
    fee: Number = None


class UnifiedOrder(msgspec.Struct, rename="camel"):
    """One element of a v3 `order` push, and of the v3 REST lists."""

    category: str
    symbol: str
    order_id: str
    order_status: str
    side: str = ""
    client_oid: str | None = None
    order_type: str = ""
    hold_side: str | None = None
    pos_side: str | None = None
    trade_side: str | None = None
    price: Number = None
    qty: Number = None
    amount: Number = None
    cum_exec_qty: Number = None
    cum_exec_value: Number = None
    avg_price: Number = None
    fee_detail: list[UnifiedFee] | None = None
    created_time: Time = None
    updated_time: Time = None


class UnifiedCoin(msgspec.Struct):
    coin: str
    available: Number = None
    locked: Number = None


class UnifiedAccount(msgspec.Struct):
    """One element of a v3 `account` push (`coin`), and the REST answer (`assets`)."""

    coin: list[UnifiedCoin] | None = None
    assets: list[UnifiedCoin] | None = None


class RestOrder(msgspec.Struct, rename="camel"):
    """An order of a v2 REST answer; spot and futures."""

    symbol: str
    order_id: str
    side: str = ""
    status: str | None = None
    state: str | None = None
    """The futures detail call says `state`."""
    client_oid: str | None = None
    order_type: str = ""
    price: Number = None
    base_price: Number = None
    size: Number = None
    base_volume: Number = None
    """Cumulative here, unlike in pushes."""
    quote_volume: Number = None
    price_avg: Number = None
    fee: Number = None
    margin_coin: str | None = None
    fee_detail: str | list[UnifiedFee] | None = None
    trade_side: str | None = None
    pos_side: str | None = None
    c_time: Time = None
    u_time: Time = None


class RestFuturesBalance(msgspec.Struct, rename="camel"):
    margin_coin: str
    available: Number = None
    isolated_margin: Number = None
    crossed_margin: Number = None


def milliseconds(value: Time) -> int:
    """A venue time; absent or empty is 0."""
    return int(value) if value not in (None, "") else 0


def text(value: Number) -> str:
    """A venue number as plain decimal text; absent and empty are `0`."""
    return "0" if value is None or value == "" else plain(value)


def positive_number(value: Number) -> bool:
    return positive(text(value))
