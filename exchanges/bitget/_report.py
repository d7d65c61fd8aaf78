"""One order's event, and what its frames told so far (docs/venues/bitget.md, section 6)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from exchanges._numbers import decimal, divide, plain
from exchanges.events import TERMINAL, ExecutionReport, FeePart

STATUSES: Final = {
    "live": "NEW",
    "new": "NEW",
    "init": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "cancelled": "CANCELED",
    "canceled": "CANCELED",
}
"""Anything else publishes nothing, is told, and is asked for."""
MAX_ORDERS: Final = 20_000
"""Orders remembered per account; the least recently touched go first."""
_HEDGE: Final = {
    ("long", "open"): "BUY",
    ("long", "close"): "SELL",
    ("short", "open"): "SELL",
    ("short", "close"): "BUY",
}

Fee = tuple[str, Decimal]


class Told(NamedTuple):
    """What one row says."""

    event: ExecutionReport | None = None
    note: str = ""
    ask: str = ""
    """Why REST has to be asked for this order first; empty = it need not. See `ASK_…`."""


ASK_STATE: Final = "state"
"""A state that no page lists: there is no event, and REST may know more."""
ASK_UNIT: Final = "unit"
"""Something is filled, and no price tells whether the sizes are contracts or coins: there is no event."""
ASK_FORCED: Final = "liquidation"
"""Whether it was forced stands in the REST row only; without an answer the event goes out unflagged."""


def side_of(side: str | None, trade_side: str | None, pos_side: str | None) -> str | None:
    """The real direction, BUY or SELL; None if the frame does not tell.

    In hedge mode a classic `side` names the position, not the trade, so it is never looked at there.
    """
    trade = trade_side or ""
    hedge = _HEDGE.get((pos_side or "", trade))
    if hedge is not None:
        return hedge
    if trade.endswith("close_long"):
        return "SELL"
    if trade.endswith("close_short"):
        return "BUY"
    forced = trade not in ("", "buy_single", "sell_single", "open", "close")
    if forced and ("buy_" in trade or "sell_" in trade):
        return "BUY" if "buy_" in trade else "SELL"
    return {"buy": "BUY", "sell": "SELL"}.get((side or "").lower())


class OrderMemory:
    """What one order's frames told so far."""

    __slots__ = ("average", "fees", "status", "unit")

    def __init__(self) -> None:
        self.average = Decimal(0)
        self.status = ""
        self.unit = ""
        """Of an inverse perpetual's sizes, once a fill has shown it."""
        self.fees: dict[str, tuple[Decimal, Fee]] = {}


class Orders:
    """The orders of one account, by id."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, OrderMemory] = OrderedDict()

    def seed(self, order_id: str, status: str, executed: Decimal, quote: Decimal) -> None:
        """Last published state of an order, from before this connection."""
        order = self.of(order_id)
        order.status = status
        order.average = divide(quote, executed)

    def of(self, order_id: str) -> OrderMemory:
        order = self._orders.get(order_id)
        if order is None:
            order = self._orders[order_id] = OrderMemory()
            if len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(order_id)
        return order


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says about its order, in the platform's units."""

    symbol: str
    client_id: str
    order_id: str
    status: str
    order_type: str
    side: str
    price: Decimal
    quantity: str
    filled: Decimal
    quote: Decimal
    times: tuple[int, int]
    """Creation and last change, ms; 0 = not told."""
    liquidation: bool = False
    trade_id: str = ""
    fees: Sequence[Fee] = ()


def report(memory: OrderMemory, facts: Facts) -> ExecutionReport | None:
    """The event of an order state; None for a step back from a final one: a partial fill may arrive after the last one."""
    status = facts.status
    if memory.status in TERMINAL and status not in {memory.status, "FILLED"}:
        return None
    memory.status = status
    created_ms, updated_ms = facts.times
    total, price, order_id = plain(facts.filled), plain(facts.price), facts.order_id
    quantity = plain(decimal(facts.quantity))  # rows of one order differ in zeros behind the point
    moment = updated_ms or created_ms
    unique = f"bitget:{order_id}:{status}:{total}:{updated_ms}:{price}:{quantity}:{facts.trade_id}"
    event = ExecutionReport(
        symbol=facts.symbol,
        new_client_order_id=facts.client_id,
        original_client_order_id=facts.client_id,
        order_id=order_id,
        order_status=status,
        order_type="LIMIT" if facts.order_type == "limit" else "MARKET",
        side=facts.side,
        price=price,
        quantity=quantity,
        total_trade_quantity=total,
        total_quote_trade_quantity=plain(facts.quote),
        creation_time=created_ms or updated_ms,
        event_time=moment,
        order_time=moment,
        unique_message_id=unique,
        liquidation=True if facts.liquidation else UNSET,
    )
    return _with_fees(event, facts.fees)


def _with_fees(event: ExecutionReport, fees: Sequence[Fee]) -> ExecutionReport:
    """Classic rows state a charge as a negative number, unified ones as a positive one: the size is published (bug B24)."""
    sums: dict[str, Decimal] = {}
    for coin, fee in fees:
        sums[coin] = sums.get(coin, Decimal(0)) + fee
    paid = [(coin, plain(abs(fee))) for coin, fee in sums.items() if fee]
    if not paid:
        return event
    if len(paid) > 1:
        parts = [FeePart(coin, amount) for coin, amount in paid]
        return msgspec.structs.replace(event, fee_breakdown=parts)
    return msgspec.structs.replace(event, fee_paid=paid[0][1], fee_asset=paid[0][0])
