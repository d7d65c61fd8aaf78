"""Frames and REST rows of Bitget, classic (v2) and unified (v3).

Only what an order can't be told without is required: a null where a text is expected is an absent value.
"""

from __future__ import annotations

import msgspec

from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain, positive
from exchanges._rows import Odd, read_rows

Number = str | int | float | None
Figure = str | int | float
"""One that has to be there: a balance without it is not told as 0."""
Time = str | int | None
Id = str | int


def word(value: str | bool | None) -> str:
    """A venue's word, in small letters; absent is empty."""
    return str(value).lower() if value is not None else ""


class ArgFrame(msgspec.Struct, rename="camel"):
    """`arg` of an answer or a push."""

    inst_type: str = ""
    channel: str = ""
    topic: str = ""
    inst_id: str = ""
    coin: str = ""
    symbol: str = ""
    interval: str = ""


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
    order_id: Id
    status: str
    side: str | None = None
    client_oid: str | None = None
    client_o_id: str | None = None
    """Some documents spell it `clientOId`."""
    order_type: str | None = None
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
    fee_detail: msgspec.Raw = msgspec.Raw(b"null")
    """Cumulative. Raw, because an odd fee must not cost a fill; `fees_of` reads it."""
    trade_side: str | None = None
    pos_side: str | None = None
    c_time: Time = None
    u_time: Time = None


class SpotBalance(msgspec.Struct):
    """One coin of a spot `account` push, and of the REST list."""

    coin: str
    available: Figure
    frozen: Number = None
    locked: Number = None


class FuturesBalance(msgspec.Struct, rename="camel"):
    """One coin of a futures `account` push."""

    margin_coin: str
    available: Figure
    frozen: Number = None
    equity: Number = None
    unrealized_pl: Number = msgspec.field(default=None, name="unrealizedPL")


class Fee(msgspec.Struct, rename="camel"):
    """An element of `feeDetail`. Orders without fills have one with null or empty fields."""

    fee_coin: str | None = None
    fee: Number = None


class UnifiedOrder(msgspec.Struct, rename="camel"):
    """One element of a v3 `order` push, and of the v3 REST lists."""

    category: str
    symbol: str
    order_id: Id
    order_status: str
    side: str | None = None
    client_oid: str | None = None
    order_type: str | None = None
    hold_side: str | None = None
    pos_side: str | None = None
    trade_side: str | None = None
    exec_type: str | None = None
    delegate_type: str | None = None
    reduce_only: str | bool | None = None
    price: Number = None
    qty: Number = None
    cum_exec_qty: Number = None
    cum_exec_value: Number = None
    avg_price: Number = None
    fee_detail: msgspec.Raw = msgspec.Raw(b"null")
    created_time: Time = None
    updated_time: Time = None


class UnifiedCoin(msgspec.Struct):
    coin: str
    available: Number = None
    locked: Number = None
    balance: Number = None
    equity: Number = None


class UnifiedAccount(msgspec.Struct):
    """One element of a v3 `account` push (`coin`), and the REST answer (`assets`)."""

    coin: msgspec.Raw = msgspec.Raw(b"null")
    assets: msgspec.Raw = msgspec.Raw(b"null")


class RestOrder(msgspec.Struct, rename="camel"):
    """An order of a v2 REST answer; spot and futures."""

    symbol: str
    order_id: Id
    side: str | None = None
    status: str | None = None
    state: str | None = None
    """The futures detail call says `state`."""
    client_oid: str | None = None
    order_type: str | None = None
    price: Number = None
    base_price: Number = None
    size: Number = None
    base_volume: Number = None
    """Cumulative here, unlike in pushes."""
    quote_volume: Number = None
    price_avg: Number = None
    fee: Number = None
    margin_coin: str | None = None
    fee_detail: msgspec.Raw = msgspec.Raw(b"null")
    """Futures: a list; spot: a JSON text with one entry a coin beside `newFees`."""
    trade_side: str | None = None
    pos_side: str | None = None
    c_time: Time = None
    u_time: Time = None


class RestFuturesBalance(msgspec.Struct, rename="camel"):
    margin_coin: str
    available: Figure
    isolated_margin: Number = None
    crossed_margin: Number = None


def milliseconds(value: Time) -> int:
    """A venue time; absent or empty is 0."""
    return int(value) if value not in (None, "") else 0


def text(value: Number) -> str:
    """A venue number as plain decimal text; absent, empty and what is no number are `0`."""
    return plain(value) if value is not None and decimal(value) else "0"


def positive_number(value: Number) -> bool:
    return positive(text(value))


# --- fees ---

_fee = msgspec.json.Decoder(Fee).decode
_fee_text = msgspec.json.Decoder(str).decode
_by_coin = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _CoinFee(msgspec.Struct, rename="camel"):
    fee_coin_code: str | None = None
    total_fee: Number = None


_coin_fee = msgspec.json.Decoder(_CoinFee).decode


def fees_of(detail: msgspec.Raw) -> list[Fee]:
    """The fees of a `feeDetail`, list or JSON text; none when it can't be read: an odd fee costs only itself."""
    try:
        if bytes(detail).lstrip().startswith(b'"'):
            entries = _by_coin(_fee_text(detail) or "{}")
            coins = [_coin_fee(raw) for name, raw in entries.items() if name != "newFees"]
            fees = [Fee(coin.fee_coin_code, coin.total_fee) for coin in coins]
        else:
            fees, _ = read_rows(detail, _fee)
    except (*UNREADABLE, ValueError):
        return []
    return [fee for fee in fees if fee.fee_coin and decimal(fee.fee)]


_unified_coin = msgspec.json.Decoder(UnifiedCoin).decode


def unified_coin(data: bytes) -> UnifiedCoin:
    """One coin of a unified account. Raises what `UNREADABLE` names, and `ValueError` where a total stands without what is
    available of it: that is not told as 0."""
    coin = _unified_coin(data)
    if coin.available in (None, "") and not (coin.equity in (None, "") and coin.balance in (None, "")):
        raise ValueError("no available")
    return coin


def coins_of(account: UnifiedAccount) -> tuple[list[UnifiedCoin], Odd]:
    """The coins of an account, and what of them can't be read."""
    try:
        return read_rows(account.coin, unified_coin)
    except UNREADABLE as error:
        return [], Odd(1, (str(error),))
