"""Orders and balances as OKX tells them, on the stream and over REST alike, and the events they become (venues/okx.md 6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._numbers import decimal, multiply, plain, positive
from exchanges._rows import Odd, read_rows
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.instruments import SymbolTable

KIND: Final = {"okx": "spot", "okxLinear": "linear", "okxInverse": "inverse"}
"""Exchange id → contract type."""
XPERP: Final = "xperp"
"""Kind of the perpetuals that trade as FUTURES with an expiry date far away."""

_EXPIRY: Final = re.compile(r"-\d{6,}$")
_EXACT: Final = Context(prec=60)
_STATUS: Final = {
    "live": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "mmp_canceled": "CANCELED",
}
_SPLITS: Final = "13"
"""`source` of a child of an order that the venue splits (iceberg)."""
_MARKET_TYPES: Final = frozenset({"market", "optimal_limit_ioc"})


class Order(msgspec.Struct, rename="camel"):
    """An element of the `orders` channel or of a REST order list. All figures are text, empty = absent."""

    inst_id: str
    ord_id: str
    state: str
    side: str
    u_time: str
    inst_type: str | None = ""
    c_time: str | None = ""
    cl_ord_id: str | None = ""
    algo_cl_ord_id: str | None = ""
    source: str | int | None = ""
    ord_type: str | None = ""
    px: str | None = ""
    sz: str | None = ""
    acc_fill_sz: str | None = ""
    avg_px: str | None = ""
    category: str | None = ""
    fee: str | None = ""
    fee_ccy: str | None = ""


class Detail(msgspec.Struct, rename="camel"):
    """One currency of an account."""

    ccy: str
    avail_bal: str | None = ""
    frozen_bal: str | None = ""
    fixed_bal: str | None = ""


class Account(msgspec.Struct, rename="camel"):
    """An element of the `account` channel, or the answer of the balance call."""

    u_time: str | None = ""
    details: msgspec.Raw = msgspec.Raw(b"[]")
    """Elements are `Detail`s."""


_decode_detail: Final = msgspec.json.Decoder(Detail).decode


def pair_of(wire: str) -> str:
    """The platform's pair id: without `-SWAP`, and without an expiry date. Names have no other structure to rely on."""
    return _EXPIRY.sub("", wire.removesuffix("-SWAP"))


def contract_type(wire: str, table: SymbolTable) -> str:
    """`linear`, `inverse` or `xperp`; by the name when the list does not (yet) know the instrument."""
    instrument = table.wire(wire)
    if instrument is not None and instrument.kind:
        return instrument.kind
    if not wire.endswith("-SWAP"):
        return XPERP if "_XPERP" in wire else "future"
    return "inverse" if wire.endswith("-USD-SWAP") else "linear"


def belongs(order: Order, exchange: str, table: SymbolTable) -> bool:
    """Whether an order is part of this exchange id."""
    return belongs_to(order.inst_type, order.inst_id, exchange, table)


def belongs_to(inst_type: str | None, inst_id: str, exchange: str, table: SymbolTable) -> bool:
    """Whether an instrument is of this exchange id: one SWAP subscription carries both contract types."""
    if exchange == "okx":
        return inst_type == "SPOT"
    kind = contract_type(inst_id, table)
    if inst_type == "FUTURES":
        return exchange == "okxLinear" and kind == XPERP
    return inst_type == "SWAP" and ("linear" if kind == XPERP else kind) == KIND[exchange]


def unclear(order: Order) -> str:
    """Why the order's state can't be told, empty if it can. Such an order is asked for, and never guessed."""
    if order.state not in _STATUS:
        return f"order state {order.state[:40]} is not known"
    if _STATUS[order.state] == "FILLED" and not (positive(order.acc_fill_sz) and decimal(_price(order))):
        return "order state filled without a filled size or a price"  # told, it would be final and short of everything
    return ""


def execution_report(order: Order) -> ExecutionReport:
    """The event of an order whose state is clear. Contracts stay contracts: the backend multiplies by the contract value.

    Raises `ValueError` when the times are no numbers, or no side is told.
    """
    if order.side not in ("buy", "sell"):
        raise ValueError(f"no side {order.side[:20]!r}")
    client_id = order.cl_ord_id or _algo_client_id(order)
    executed = order.acc_fill_sz or "0"
    price = _price(order)
    status = _STATUS[order.state]
    updated = int(order.u_time)
    identity = (order.inst_id, order.ord_id, order.u_time, order.state, order.sz, order.px, order.acc_fill_sz)
    fee, fee_asset = _fee(order)
    return ExecutionReport(
        symbol=pair_of(order.inst_id),
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id=order.ord_id,
        order_status=status,
        order_type="MARKET" if order.ord_type in _MARKET_TYPES else "LIMIT",
        side="BUY" if order.side == "buy" else "SELL",
        price=plain(price),
        quantity=plain(order.sz or "0"),
        total_trade_quantity=plain(executed),
        total_quote_trade_quantity=plain(multiply(decimal(price), decimal(executed))),
        creation_time=int(order.c_time or order.u_time),
        event_time=updated,
        order_time=updated,
        unique_message_id=":".join(text or "" for text in (*identity, order.ord_type, client_id, order.category)),
        # `partial_liquidation` and `adl` leave a position behind, and `true` makes the backend close every deal.
        liquidation=order.category == "full_liquidation",
        fee_paid=fee,
        fee_asset=fee_asset,
    )


def _algo_client_id(order: Order) -> str:
    """The client id of the algo order (stop, take profit, trailing stop) that this one is the only child of.

    Under an empty id nobody could match it. Children of an order that is split are many, and the first one filled would pass
    for the end of all of it: they stay without a client id.
    """
    alone = str(order.source) != _SPLITS and order.category in ("", "normal", None)
    return (order.algo_cl_ord_id or "") if alone else ""


def _price(order: Order) -> str:
    return next((text for text in (order.avg_px, order.px) if text and decimal(text)), "0")


def _fee(order: Order) -> tuple[str | msgspec.UnsetType, str | msgspec.UnsetType]:
    """Cumulative fee: a charge is negative here and published as its size, a positive value goes on unchanged (bug B24)."""
    if not order.fee or not order.fee_ccy or not decimal(order.fee):
        return UNSET, UNSET
    return plain(abs(decimal(order.fee))), order.fee_ccy


def account_position(account: Account, zero: Sequence[str] = ()) -> tuple[AccountPosition | None, Odd]:
    """Absolute balances of the listed currencies, and those that can't be read.

    `zero` = currencies that the venue leaves out because nothing is left. Raises `ValueError` when the time is no number,
    and what `UNREADABLE` names when the balances are no list.
    """
    details, odd = read_rows(account.details, _decode_detail)
    balances = [
        Balance(
            asset=detail.ccy,
            free=plain(detail.avail_bal or "0"),
            locked=plain(_EXACT.add(decimal(detail.fixed_bal), decimal(detail.frozen_bal))),
        )
        for detail in details
    ]
    listed = {balance.asset for balance in balances}
    balances += [Balance(asset=asset, free="0", locked="0") for asset in dict.fromkeys(zero) if asset not in listed]
    return position(int(account.u_time or ""), balances), odd


def position(time_ms: int, balances: list[Balance]) -> AccountPosition | None:
    """The event of these balances; None without any, because an empty list is not published."""
    if not balances:
        return None
    content = "|".join(f"{balance.asset}={balance.free}+{balance.locked}" for balance in balances)
    return AccountPosition(
        event_time=time_ms,
        last_account_update=0,
        balances=balances,
        unique_message_id=f"account:{time_ms}:{sha256(content.encode()).hexdigest()[:16]}",
    )
