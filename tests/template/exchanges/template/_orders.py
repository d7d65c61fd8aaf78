"""Orders and balances as events. REST rows are the stream's."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._numbers import decimal, plain, positive
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import AccountPosition, Balance, ExecutionReport

STATUSES: Final = {"open": "NEW", "part": "PARTIALLY_FILLED", "done": "FILLED", "cancelled": "CANCELED"}
"""Any other one is asked for over REST, never guessed."""


class Order(msgspec.Struct):
    """Golden case "order that is filled in part"."""

    id: str
    client: str
    symbol: str
    side: str
    type: str
    state: str
    price: str
    size: str
    filled: str
    value: str
    created: int
    changed: int


class _Coin(msgspec.Struct):
    asset: str
    free: str
    held: str


decode_order: Final = tolerant(Order)
_decode_coin: Final = tolerant(_Coin)


def unclear(order: Order) -> str:
    """Why an order can't be told, empty if it can."""
    if order.state not in STATUSES:
        return f"status {order.state[:40]}, which no page lists"
    if order.state == "done" and not (positive(order.filled) and positive(order.value)):
        return "filled without a size or a value"
    return ""


def execution_report(order: Order) -> ExecutionReport | None:
    """The event of an order state, None if it can't be told (`unclear`)."""
    if unclear(order):
        return None
    filled, value = decimal(order.filled), decimal(order.value)
    price = order.price if decimal(order.price) or not filled else str(value / filled)
    return ExecutionReport(
        symbol=order.symbol,
        new_client_order_id=order.client,
        original_client_order_id=order.client,
        order_id=order.id,
        order_status=STATUSES[order.state],
        order_type="LIMIT" if order.type == "limit" else "MARKET",
        side=order.side.upper(),
        price=plain(price),
        quantity=plain(order.size),
        total_trade_quantity=plain(order.filled),
        total_quote_trade_quantity=plain(order.value),
        creation_time=order.created,
        event_time=order.changed,
        order_time=order.changed,
        unique_message_id=f"{order.id}:{order.state}:{order.size}:{order.price}:{order.filled}:{order.changed}",
    )


def account_position(coins: msgspec.Raw, time_ms: int) -> tuple[AccountPosition | None, Odd]:
    """The balances of a wallet. Raises one of `UNREADABLE`."""
    rows, odd = read_rows(coins, _decode_coin)
    balances = [Balance(asset=row.asset, free=plain(row.free), locked=plain(row.held)) for row in rows]
    if not balances:
        return None, odd
    message_id = f"wallet:{time_ms}:{','.join(f'{b.asset}={b.free}' for b in balances)}"
    told = AccountPosition(event_time=time_ms, last_account_update=0, balances=balances, unique_message_id=message_id)
    return told, odd
