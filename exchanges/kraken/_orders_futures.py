"""Futures orders: frames of the book and single fills put together, and the reports they become (venues/kraken.md 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Context, Decimal
from typing import Final, NamedTuple

from msgspec import UNSET

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.events import ExecutionReport
from exchanges.instruments import SymbolTable
from exchanges.kraken._book import OrderBook
from exchanges.kraken._rows_futures import Fill, Number, OrderBody, by_time
from exchanges.kraken._symbols import asset_name, event_pair_in

ZERO: Final = Decimal(0)
TOLERANCE: Final = Decimal("1e-9")
_EXACT: Final = Context(prec=60)
_FILLED: Final = frozenset({"partial_fill", "full_fill"})
FULL: Final = "full_fill"
LIQUIDATION: Final = "liquidation"
"""Only a whole liquidation: the backend closes every deal of the account when it is told of one."""


_CLOCKS_MS: Final = 2_000
"""The venue's times of an order and of its fills may differ by less than this."""
_SIDES: Final = {0: "BUY", 1: "SELL"}


class _Order:
    """What is known of one order: its description, its size, and its fills on top of what was filled before them."""

    __slots__ = (
        "base",
        "base_cost",
        "base_ms",
        "body_ms",
        "client_id",
        "created_ms",
        "emptied",
        "ended",
        "fees",
        "filled",
        "filled_cost",
        "fills",
        "last_ms",
        "left",
        "limit",
        "order_type",
        "price",
        "side",
        "size",
        "told",
        "touched_ms",
        "whole",
        "wire",
    )  # fmt: skip

    def __init__(self) -> None:
        self.client_id = self.wire = self.side = self.order_type = ""
        self.price = self.limit = ZERO
        self.created_ms = self.touched_ms = self.base_ms = self.last_ms = self.body_ms = 0
        self.size: Decimal | None = None
        self.told = False
        """The size is the order's own; else it was taken from a fill and what that left open."""
        self.left: Decimal | None = None
        """What the newest fill left open, if it said so."""
        self.emptied = False
        """The venue says that all of the order is filled."""
        self.base = self.base_cost = self.filled = self.filled_cost = ZERO
        self.fills: set[str] = set()
        self.fees: dict[str, Decimal] = {}
        self.whole = True
        """No fill from before this connection is missing, so the fees add up to the order's."""
        self.ended = False

    @property
    def executed(self) -> Decimal:
        return _EXACT.add(self.base, self.filled)

    @property
    def cost(self) -> Decimal:
        return _EXACT.add(self.base_cost, self.filled_cost)

    @property
    def complete(self) -> bool:
        """All of its size is filled, and the venue does not say that something is left."""
        return self.size is not None and self.executed >= self.size - TOLERANCE and not decimal(self.left)

    @property
    def total_ms(self) -> int:
        """The time that the total is of: later than the newest fill that was counted while it holds others that were not."""
        return max(self.last_ms, self.base_ms) if self.base > 0 else self.last_ms

    def begin(self, executed: Decimal, cost: Decimal, until_ms: int) -> None:
        """More was filled up to a time, known as a total: fills up to that time are part of it."""
        self.base = _EXACT.add(self.base, executed)
        self.base_cost = _EXACT.add(self.base_cost, cost)
        self.base_ms = max(self.base_ms, until_ms)
        self.whole = self.whole and not executed

    def fill(self, quantity: Decimal, price: Decimal, time_ms: int, remaining: Number) -> None:
        """Count a fill. One that the total contains takes its share out of it, so that its own price counts."""
        self.filled = _EXACT.add(self.filled, quantity)
        self.filled_cost = _EXACT.add(self.filled_cost, multiply(quantity, price))
        newest = time_ms >= self.last_ms
        if time_ms <= self.base_ms:
            self._reduce(quantity)
        elif newest and remaining is not None and self.told and self.size is not None:
            over = _EXACT.subtract(self.executed, _EXACT.subtract(self.size, decimal(remaining)))
            if abs(over - quantity) <= TOLERANCE and time_ms <= self.base_ms + _CLOCKS_MS:
                self._reduce(over)  # the total had it: the venue's clocks for orders and fills don't agree
        if newest:
            self.left = remaining
            self._grow(remaining)
        self.last_ms = max(self.last_ms, time_ms)

    def _grow(self, remaining: Number) -> None:
        """What a fill leaves open belongs to the size: an edit that nobody saw made the order larger."""
        if remaining is None:
            return
        size = _EXACT.add(self.executed, remaining)
        if self.size is None or size > self.size + TOLERANCE:
            self.size = size

    def _reduce(self, quantity: Decimal) -> None:
        share = min(quantity, self.base)
        if share > 0:
            left = _EXACT.subtract(self.base, share)
            self.base_cost = multiply(self.base_cost, divide(left, self.base))
            self.base = left


class Removal(NamedTuple):
    """An order that left the book without being filled; `filled` is what its frame told, if it had a body."""

    order_id: str
    client_id: str
    filled: Decimal | None
    time_ms: int
    listed: bool = True
    """The venue's reason is one that is known."""
    found: bool = False
    """REST told the end."""


class Orders:
    """The futures orders of one account on one connection. I/O thread of the session only."""

    def __init__(self, table: Callable[[], SymbolTable]) -> None:
        self._table = table
        self._book: OrderBook[_Order] = OrderBook(_Order)

    # --- what is known ---

    def resume(self, known: Iterable[KnownOrder], now_ms: int) -> None:
        """What was published of the account's orders before this connection."""
        for one in known:
            order = self._book.touch(one.order_id, now_ms)
            found = self._table().pair(one.symbol)
            order.wire = found.wire if found is not None else one.symbol
            order.client_id, order.side = one.client_order_id, one.side
            order.order_type = "market" if one.order_type == "MARKET" else "limit"
            order.price = order.limit = decimal(one.price)
            order.created_ms, order.ended = one.creation_time_ms, one.terminal
            size = decimal(one.quantity)
            order.size, order.told = (size, True) if size > 0 else (None, False)
            order.begin(decimal(one.executed), decimal(one.executed_quote), one.order_time_ms)

    def body(self, body: OrderBody, reason: str, now_ms: int, *, ending: bool = False) -> None:
        """Learn from an order of the book, in a frame, in the snapshot or over REST.

        Its size is what is open and what is filled, as the newest of them says: an edit may not have been seen.
        `ending`: it left the book with something open, and does not say how much.
        """
        first = self._book.get(body.order_id) is None
        order = self._book.touch(body.order_id, now_ms)
        order.client_id = body.cli_ord_id or order.client_id
        order.wire, order.side = body.instrument, _SIDES.get(body.direction, order.side)
        order.order_type = body.type or order.order_type
        order.limit = decimal(body.limit_price)
        order.price = order.limit or decimal(body.stop_price)
        order.created_ms = body.created_ms or order.created_ms
        filled = decimal(body.filled)
        size = _EXACT.add(decimal(body.qty), filled)
        newer = body.updated_ms >= order.body_ms
        if size > 0 and body.qty is not None and newer and not (ending and order.told):
            order.size, order.told, order.body_ms = size, True, body.updated_ms
            if not body.qty:
                order.left = None
        before = _EXACT.subtract(filled, order.executed)
        # What was filled before we looked: later on, only fills count.
        if (first or reason == SNAPSHOT) and before > 0:
            order.begin(before, multiply(before, order.limit), body.updated_ms)

    def contains(self, order_id: str, until_ms: int) -> None:
        """The total that is known of an order contains its fills up to this time."""
        order = self._book.get(order_id)
        if order is not None:
            order.base_ms = max(order.base_ms, until_ms)

    def fills(self, fills: Iterable[Fill], now_ms: int) -> None:
        """Learn from fills that are not published: the snapshot of the last hundred."""
        for fill in by_time(fills):
            self._count(fill, now_ms)

    def _count(self, fill: Fill, now_ms: int) -> _Order:
        order = self._book.touch(fill.order_id, now_ms)
        order.client_id = fill.cli_ord_id or order.client_id
        order.wire = fill.instrument or order.wire
        order.side = "BUY" if fill.buy else "SELL"
        order.order_type = fill.order_type or order.order_type
        if fill.fill_id in order.fills:
            return order
        order.fills.add(fill.fill_id)
        order.fill(decimal(fill.qty), decimal(fill.price), fill.time, fill.remaining_order_qty)
        if fill.fee_currency and fill.fee_paid is not None:
            paid = order.fees.get(fill.fee_currency, ZERO)
            order.fees[fill.fee_currency] = _EXACT.add(paid, decimal(fill.fee_paid))
        return order

    def known(self, order_id: str) -> bool:
        """Whether the order was described before."""
        order = self._book.get(order_id)
        return order is not None and bool(order.wire)

    def executed(self, order_id: str) -> Decimal:
        order = self._book.get(order_id)
        return order.executed if order is not None else ZERO

    def counted(self, fill: Fill) -> bool:
        """Whether this fill was counted before."""
        order = self._book.get(fill.order_id)
        return order is not None and fill.fill_id in order.fills

    def sized(self, order_id: str) -> bool:
        """Whether the order's size is known."""
        order = self._book.get(order_id)
        return order is not None and order.size is not None

    def complete(self, order_id: str) -> bool:
        """Whether all of its size is filled."""
        order = self._book.get(order_id)
        return order is not None and order.complete

    def passed_on(self, order_id: str) -> bool:
        """Whether the client id of a stop lives on in another order that is open: triggered, it becomes a new order.

        Whether that keeps the client id is documented nowhere; if it does, the end of the stop is nobody's news.
        """
        order = self._book.get(order_id)
        if order is None or not order.client_id or order.order_type in ("limit", ""):
            return False
        return any(
            other.client_id == order.client_id and not other.ended and other_id != order_id and bool(other.wire)
            for other_id, other in self._book
        )

    def close(self, order_id: str, now_ms: int) -> None:
        """An order is gone, and nothing is told of it."""
        self._book.touch(order_id, now_ms).ended = True

    def emptied(self, order_id: str) -> bool:
        """Whether the venue says that nothing of it is left: all of it was filled, also what is not known here."""
        order = self._book.get(order_id)
        return order is not None and (order.emptied or order.left == 0)

    def empty(self, order_id: str, now_ms: int) -> None:
        """The venue says so."""
        order = self._book.touch(order_id, now_ms)
        order.emptied, order.left = True, None

    def sided(self, order_id: str) -> bool:
        """Whether anything that was told of an order says which side it is on."""
        order = self._book.get(order_id)
        return order is None or bool(order.side) or not order.wire

    def ended(self, order_id: str) -> bool:
        """Whether its last report was made."""
        order = self._book.get(order_id)
        return order is not None and order.ended

    # --- reports ---

    def filled(self, fill: Fill, now_ms: int) -> ExecutionReport:
        """The event of a fill; a repeated one tells the same totals again. Fills must come by time, then number."""
        order = self._count(fill, now_ms)
        order.ended = order.ended or order.complete
        size = order.size if order.size is not None else order.executed
        status = "FILLED" if order.complete else "PARTIALLY_FILLED"
        return self._event(
            fill.order_id, order, status=status, price=decimal(fill.price), quantity=size,
            created_ms=fill.time, time_ms=fill.time, liquidation=fill.fill_type == LIQUIDATION,
        )  # fmt: skip

    def placed(self, body: OrderBody, now_ms: int) -> ExecutionReport:
        """The event of an order that was placed or edited; `body` was learnt before."""
        order = self._book.touch(body.order_id, now_ms)
        filled = decimal(body.filled)
        size = _EXACT.add(decimal(body.qty), filled)
        status = "PARTIALLY_FILLED" if filled > 0 else "NEW"
        return self._event(
            body.order_id, order, status=status, price=order.price, quantity=size,
            created_ms=body.created_ms or now_ms, time_ms=body.updated_ms or now_ms, executed=filled,
        )  # fmt: skip

    def removed(self, removal: Removal) -> ExecutionReport | None:
        """The event of an order that left the book; None if it had ended. Unknown, it is told with blanks."""
        order = self._book.touch(removal.order_id, removal.time_ms)
        if order.ended:
            return None
        order.ended = True
        order.client_id = order.client_id or removal.client_id
        return self._event(
            removal.order_id,
            order,
            status="CANCELED",
            price=order.price,
            quantity=order.size or ZERO,
            created_ms=order.created_ms or removal.time_ms,
            time_ms=removal.time_ms,
            executed=removal.filled,
        )

    def finished(self, order_id: str, time_ms: int) -> ExecutionReport:
        """The event of an order that is gone: filled if all of its size was, or nothing of it is left, else cancelled."""
        order = self._book.touch(order_id, time_ms)
        filled = order.complete or (order.emptied and order.executed > 0)
        if filled and not order.complete:
            order.size = order.executed  # made smaller by an edit that nobody saw, or by the venue (reduce-only)
        order.ended = True
        time_ms = max(time_ms, order.last_ms)
        average = divide(order.cost, order.executed) or order.price
        return self._event(
            order_id,
            order,
            status="FILLED" if filled else "CANCELED",
            price=average if filled else order.price,
            quantity=order.size or order.executed,
            created_ms=order.created_ms or time_ms,
            time_ms=time_ms,
        )

    def _event(
        self,
        order_id: str,
        order: _Order,
        *,
        status: str,
        price: Decimal,
        quantity: Decimal,
        created_ms: int,
        time_ms: int,
        executed: Decimal | None = None,
        liquidation: bool = False,
    ) -> ExecutionReport:
        total, cost = order.executed, order.cost
        if executed is not None and executed > total:  # the fills are still on their way
            cost = _EXACT.add(cost, multiply(_EXACT.subtract(executed, total), order.limit))
            total = executed
        client_id = order.client_id or order_id
        fees = {asset_name(code): paid for code, paid in order.fees.items() if paid > 0} if order.whole else {}
        fee = next(iter(fees.items())) if len(fees) == 1 else None
        identity = (order_id, str(time_ms), status, plain(total), plain(cost), plain(quantity), plain(price))
        return ExecutionReport(
            symbol=event_pair_in(self._table(), order.wire) if order.wire else "",
            new_client_order_id=client_id,
            original_client_order_id=client_id,
            order_id=order_id,
            order_status=status,
            order_type="LIMIT" if order.order_type in ("limit", "") else "MARKET",
            side=order.side or "BUY",
            price=plain(price),
            quantity=plain(quantity),
            total_trade_quantity=plain(total),
            total_quote_trade_quantity=plain(cost),
            creation_time=created_ms,
            event_time=time_ms,
            # What is counted from here on, after a gap, is what is later than this.
            order_time=max(time_ms, order.total_ms),
            unique_message_id=":".join(identity),
            liquidation=liquidation,
            fee_paid=plain(fee[1]) if fee else UNSET,
            fee_asset=fee[0] if fee else UNSET,
        )


SNAPSHOT: Final = "snapshot"
"""Reason that the orders of the first frame are learnt with."""


def is_fill(reason: str) -> bool:
    """Whether the `fills` feed reports it."""
    return reason in _FILLED
