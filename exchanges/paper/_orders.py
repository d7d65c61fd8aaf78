"""What the paper server pushes, and the events that it becomes. Its numbers are JSON numbers, read without floats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from exchanges._numbers import plain
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.ids import real_id

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class _Order(msgspec.Struct, rename="camel"):
    symbol: str
    external_id: str
    status: str
    side: str
    updated_at: dt.datetime | int
    exchange: str = ""
    id: str | int | None = None
    own_id: str | int | None = msgspec.field(default=None, name="_id")
    type: str = ""
    price: Decimal | None = None
    amount: Decimal | None = None
    filled_amount: Decimal | None = None
    filled_quote_amount: Decimal | None = None
    fee_paid: Decimal | None = None
    fee_side: str | None = None
    fee_asset: str | None = None


class _Asset(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal = Decimal(0)


class _Balances(msgspec.Struct):
    balance: msgspec.Raw = msgspec.Raw(b"null")


_decode_order = tolerant(_Order)
_decode_asset = tolerant(_Asset)
_decode_balances = msgspec.json.Decoder(_Balances).decode


def order(exchange: str, raw: bytes) -> ExecutionReport | None:
    """The event of an order push for the paper id `exchange`; None if the order is on another exchange.

    Raises `msgspec.DecodeError`.
    """
    return _report(exchange, _decode_order(raw))


def balances(raw: bytes, now_ms: int) -> tuple[AccountPosition | None, Odd]:
    """The event of a balance push, None if it lists nothing, and the rows that can't be read. Raises `UNREADABLE`."""
    rows, odd = read_rows(_decode_balances(raw).balance, _decode_asset)
    return _position(rows, now_ms), odd


def _report(exchange: str, order: _Order) -> ExecutionReport | None:
    if order.exchange != real_id(exchange):
        return None
    own_id = order.own_id if order.own_id is not None else order.id
    updated_ms = _milliseconds(order.updated_at)
    executed = _text(order.filled_amount)
    return ExecutionReport(
        symbol=order.symbol,
        new_client_order_id=order.external_id,
        original_client_order_id=order.external_id,
        order_id=str(own_id) if own_id is not None else "",
        order_status=order.status,
        order_type="LIMIT" if order.type == "LIMIT" else "MARKET",
        side="BUY" if order.side == "BUY" else "SELL",
        price=_text(order.price),
        quantity=_text(order.amount),
        total_trade_quantity=executed,
        total_quote_trade_quantity=_text(order.filled_quote_amount),
        creation_time=updated_ms,
        event_time=updated_ms,
        order_time=updated_ms,
        unique_message_id=f"{exchange}:{own_id}:{order.status}:{executed}:{_text(order.price)}:{updated_ms}",
        liquidation=order.external_id.startswith("liquidation_"),
        fee_paid=_text(order.fee_paid) if order.fee_paid is not None else UNSET,
        fee_side=_given(order.fee_side),
        fee_asset=_given(order.fee_asset),
    )


def _position(assets: Sequence[_Asset], now_ms: int) -> AccountPosition | None:
    if not assets:
        return None
    rows = [Balance(asset=row.asset, free=plain(row.free), locked=plain(row.locked)) for row in assets]
    figures = ",".join(f"{row.asset}={row.free}+{row.locked}" for row in rows)
    # The push has no time of its own; without one in the id, a return to former balances would look like a repetition.
    return AccountPosition(
        event_time=now_ms, last_account_update=0, balances=rows, unique_message_id=f"paper:{now_ms}:{figures}"
    )


def _text(value: Decimal | None) -> str:
    return plain(value) if value is not None else "0"


def _given(text: str | None) -> str | UnsetType:
    return text if text is not None else UNSET


def _milliseconds(moment: dt.datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
    return (aware - _EPOCH) // dt.timedelta(milliseconds=1)
