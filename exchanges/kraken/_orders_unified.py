"""Derivative orders on the unified socket: spot's rows with a class, triggers, liquidations (venues/kraken-unified.md 6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Note, Output
from exchanges._numbers import decimal, divide, multiply
from exchanges._rows import tolerant
from exchanges._times import milliseconds
from exchanges.events import ExecutionReport
from exchanges.kraken._orders_spot import Number, Orders, Row, State
from exchanges.kraken._symbols import PERPETUAL

TOLERANCE: Final = Decimal("1e-9")
ASSET_CLASS: Final = "derivatives"
MAX_STRANGERS: Final = 1_000
"""Orders of other products remembered: their later rows may have no symbol."""
_LIQUIDATION: Final = "liquidation"
_CANCELS: Final = frozenset({"canceled", "expired"})


class _Trigger(msgspec.Struct):
    price: Number = None


class UnifiedRow(Row):
    """A row of `executions`; which fields it has depends on its kind."""

    asset_class: str = ""
    stop_price: Number = None
    triggers: _Trigger | None = None
    reason: str = ""
    exec_reason: str = ""
    fill_type: str = ""


_decode = tolerant(UnifiedRow)


def read_row(raw: msgspec.Raw) -> UnifiedRow:
    """A row in spot's words: a stop's trigger is its price, and every mark of a liquidation is one.

    Raises what `UNREADABLE` lists.
    """
    row = _decode(raw)
    if not row.limit_price:
        trigger = row.triggers.price if row.triggers is not None else None
        row.limit_price = row.stop_price or trigger or row.limit_price
    marks = (row.reason, row.exec_reason, row.fill_type)
    if not row.liquidated and _LIQUIDATION in marks and row.exec_type not in _CANCELS:
        row.liquidated = True
    if not row.order_type and row.exec_type in ("new", "pending_new"):
        row.order_type = "limit" if row.limit_price else "market"
    return row


class Strangers:
    """Orders of spot and of products that are not offered, which the same socket may tell. I/O thread of the session only."""

    def __init__(self) -> None:
        self._orders: dict[str, None] = {}
        self._named: dict[str, None] = {}

    def without(self, rows: Iterable[UnifiedRow]) -> tuple[list[UnifiedRow], list[Output]]:
        """The rows of linear perpetuals, and one note a symbol of the others."""
        kept: list[UnifiedRow] = []
        notes: list[Output] = []
        for row in rows:
            foreign = row.asset_class not in ("", ASSET_CLASS) or not (row.symbol or PERPETUAL).startswith(PERPETUAL)
            if not foreign and (row.symbol or row.order_id not in self._orders):
                kept.append(row)
                continue
            _keep(self._orders, row.order_id)
            if row.symbol and row.symbol not in self._named:
                _keep(self._named, row.symbol)
                notes.append(Note(f"orders of {row.symbol[:30]} are not told: it is no linear perpetual", "info"))
        return kept, notes


def _keep(names: dict[str, None], name: str) -> None:
    names[name] = None
    while len(names) > MAX_STRANGERS:
        del names[next(iter(names))]


class UnifiedOrders(Orders):
    """The derivative orders of one account on one connection. I/O thread of the session only."""

    def snapshot(self, rows: Iterable[Row], now_ms: int) -> None:
        """Open orders, and the newest fills. A fill of an order that tells its total is a part of it."""
        rows = list(rows)
        states = [row for row in rows if row.exec_type != "trade"]
        super().snapshot(states, now_ms)
        totals = {row.order_id for row in states if row.cum_qty is not None}
        for row in sorted((row for row in rows if row.exec_type == "trade"), key=moment):
            order = self._book.get(row.order_id)
            if order is None or row.order_id in totals or order.executed:
                # Of an order that is not open, the repair says what its fills are worth.
                self.register([row], now_ms)
                continue
            order.learn(row, over=False)
            order.count(row)

    def register(self, rows: Iterable[Row], now_ms: int) -> None:
        """These fills are part of what is known: they don't count when they are told again."""
        for row in rows:
            if row.exec_id:
                self._book.touch(row.order_id, now_ms).executions.add(row.exec_id)

    def counted(self, row: Row) -> bool:
        """Whether this fill is known, or its order has ended."""
        order = self._book.get(row.order_id)
        return order is not None and (order.ended or (row.exec_id or "") in order.executions)

    def ended(self, order_id: str) -> bool:
        """Whether the last report of an order was made."""
        order = self._book.get(order_id)
        return order is not None and order.ended

    def open(self) -> list[str]:
        """The orders that are known and have not ended."""
        return [order_id for order_id, order in self._book if order.described and not order.ended]

    def short(self, order_id: str) -> bool:
        """Whether fills of an order are missing that the venue calls filled."""
        order = self._book.get(order_id)
        return order is not None and not order.ended and order.executed < order.quantity - TOLERANCE

    def filled(self, order_id: str, now_ms: int) -> ExecutionReport | str | None:
        """The end of an order that the venue calls filled. What of its fills can't be had counts at the known average."""
        order = self._book.touch(order_id, now_ms)
        average = divide(order.cost, order.executed) or order.price
        cost = multiply(average, order.quantity) if self.short(order_id) else order.cost
        row = Row(order_id=order_id, exec_type="filled", order_status="filled", cum_qty=order.quantity, cum_cost=cost)
        return self.report(row, now_ms)

    @staticmethod
    def _status(order: State, row: Row) -> str:
        """FILLED only with all of the size: a short one would make the bot buy the rest again."""
        status = Orders._status(order, row)
        if status != "FILLED":
            return status
        if row.exec_type == "trade" or row.cum_qty is None:
            whole = order.quantity and order.executed >= order.quantity - TOLERANCE
            if not whole:
                return "PARTIALLY_FILLED" if order.executed else order.status or "NEW"
        return status


def moment(row: Row) -> int:
    """When a row is of, in ms."""
    return milliseconds(row.timestamp)


def worth(fills: Sequence[Row]) -> tuple[Decimal, Decimal]:
    """Quantity and value of fills."""
    quantity = value = Decimal(0)
    for fill in fills:
        quantity += decimal(fill.last_qty)
        cost = (
            decimal(fill.cost) if fill.cost is not None else multiply(decimal(fill.last_qty), decimal(fill.last_price))
        )
        value += cost
    return quantity, value
