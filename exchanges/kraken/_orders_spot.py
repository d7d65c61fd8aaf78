"""Spot orders: rows that tell only what changed, put together, and the reports they become (venues/kraken.md 5, 6, 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._adapter import KnownOrder
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, divide, multiply, plain
from exchanges._rows import read_rows
from exchanges._times import milliseconds
from exchanges.events import ExecutionReport, FeePart
from exchanges.instruments import SymbolTable
from exchanges.kraken._book import OrderBook
from exchanges.kraken._symbols import PairNames, asset_name, event_pair_in

Number = Decimal | None
ZERO: Final = Decimal(0)
_EXACT: Final = Context(prec=60)

STATUS: Final = {
    "pending_new": "NEW",
    "new": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "expired": "CANCELED",
}
_BY_EXECUTION: Final = {
    "pending_new": "NEW",
    "new": "NEW",
    "trade": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "expired": "CANCELED",
}
"""For rows without a status."""
_UNCHANGED: Final = frozenset({"iceberg_refill", "amended", "restated", "status", ""})
"""Kinds of rows that keep the last known status; any other kind tells nothing that is known."""
_TERMINAL: Final = frozenset({"FILLED", "CANCELED"})
_REST_STATUS: Final = {
    "pending": "NEW",
    "open": "NEW",
    "closed": "FILLED",
    "canceled": "CANCELED",
    "expired": "CANCELED",
}


class Fee(msgspec.Struct):
    asset: str
    qty: Number = None


_decode_fee = msgspec.json.Decoder(Fee).decode


class Row(msgspec.Struct):
    """A row of `executions`. Only the first one of an order is complete."""

    order_id: str
    exec_type: str = ""
    order_status: str = ""
    cl_ord_id: str | None = None
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_qty: Number = None
    limit_price: Number = None
    avg_price: Number = None
    cum_qty: Number = None
    cum_cost: Number = None
    exec_id: str | None = None
    last_qty: Number = None
    last_price: Number = None
    cost: Number = None
    fees: msgspec.Raw = msgspec.Raw(b"null")
    fee_usd_equiv: Number = None
    liquidated: bool | None = None
    timestamp: str | None = None


class _Description(msgspec.Struct):
    pair: str = ""
    type: str = ""
    ordertype: str = ""
    price: Number = None


class RestOrder(msgspec.Struct):
    """An order of `OpenOrders`, `ClosedOrders` or `QueryOrders`."""

    status: str
    descr: _Description
    vol: Number = None
    vol_exec: Number = None
    cost: Number = None
    price: Number = None
    opentm: Number = None
    closetm: Number = None
    cl_ord_id: str | None = None


class State:
    """What is known of one order."""

    __slots__ = (
        "client_id", "cost", "ended", "executed", "executions", "fee_usd", "fees", "liquidated", "order_type", "price",
        "quantity", "side", "status", "symbol", "touched_ms", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.client_id = self.symbol = self.side = self.order_type = self.status = ""
        self.quantity = self.price = self.executed = self.cost = self.fee_usd = ZERO
        self.executions: set[str] = set()
        self.fees: dict[str, Decimal] = {}
        self.liquidated = self.ended = False
        self.whole = False
        """Every execution was seen, so the sum of their fees is the order's."""
        self.touched_ms = 0

    def learn(self, row: Row, *, over: bool) -> None:
        """Take what the row describes; `over` = also what was known otherwise."""
        for name, text in (
            ("client_id", row.cl_ord_id),
            ("symbol", row.symbol),
            ("side", row.side),
            ("order_type", row.order_type),
        ):
            if text and (over or not getattr(self, name)):
                setattr(self, name, text)
        for name, number in (("quantity", row.order_qty), ("price", row.limit_price)):
            if number is not None and (over or not getattr(self, name)):
                setattr(self, name, decimal(number))
        if row.liquidated is not None:
            self.liquidated = row.liquidated

    def count(self, row: Row) -> None:
        """Take the executed amounts: cumulative ones as they are, those of one execution once."""
        fresh = bool(row.exec_id) and row.last_qty is not None and row.exec_id not in self.executions
        if row.exec_id:
            self.executions.add(row.exec_id)
        last, price = decimal(row.last_qty), decimal(row.last_price)
        if row.cum_qty is not None:
            self.executed = decimal(row.cum_qty)
        elif fresh:
            self.executed = _EXACT.add(self.executed, last)
        if row.cum_cost is not None:
            self.cost = decimal(row.cum_cost)
        elif fresh:
            cost = decimal(row.cost) if row.cost is not None else multiply(last, price)
            self.cost = _EXACT.add(self.cost, cost)
        if fresh:
            self._pay(row)
        usd = decimal(row.fee_usd_equiv)
        if usd > 0 and not row.exec_id:
            self.fee_usd = usd  # the sum of the order
        elif fresh and self.whole:
            self.fee_usd = _EXACT.add(self.fee_usd, usd)

    def _pay(self, row: Row) -> None:
        """A fee that can't be read costs itself, never the execution."""
        try:
            fees, _ = read_rows(row.fees, _decode_fee)
        except UNREADABLE:
            fees = []
        for fee in fees:
            self.fees[fee.asset] = _EXACT.add(self.fees.get(fee.asset, ZERO), decimal(fee.qty))

    @property
    def described(self) -> bool:
        return bool(self.symbol and self.side and self.order_type)


class Orders:
    """The spot orders of one account on one connection. I/O thread of the session only."""

    def __init__(self, table: Callable[[], SymbolTable]) -> None:
        self._table = table
        self._pairs = PairNames()
        self._book: OrderBook[State] = OrderBook(State)

    # --- what is known ---

    def resume(self, known: Iterable[KnownOrder], now_ms: int) -> None:
        """What was published of the account's orders before this connection."""
        for one in known:
            order = self._book.touch(one.order_id, now_ms)
            order.client_id, order.status, order.ended = one.client_order_id, one.status, one.terminal
            order.symbol, order.side = one.symbol, one.side.lower()
            order.order_type = "limit" if one.order_type in ("LIMIT", "") else "market"
            order.quantity, order.price = decimal(one.quantity), decimal(one.price)
            order.executed, order.cost = decimal(one.executed), decimal(one.executed_quote)

    def snapshot(self, rows: Iterable[Row], now_ms: int) -> None:
        """The open orders when the channel was subscribed: learnt, not published (gaps are read over REST)."""
        for row in rows:
            order = self._touch(row, now_ms)
            order.learn(row, over=True)
            order.count(row)
            order.status = self._status(order, row) or order.status

    def learn(self, rows: Iterable[Row], now_ms: int) -> None:
        """Take what all rows of a frame describe, before any is mapped."""
        for row in rows:
            self._touch(row, now_ms).learn(row, over=False)

    def _touch(self, row: Row, now_ms: int) -> State:
        first = self._book.get(row.order_id) is None
        order = self._book.touch(row.order_id, now_ms)
        if first:
            order.whole = row.exec_type in ("pending_new", "new") and not decimal(row.cum_qty)
        return order

    def described(self, order_id: str) -> bool:
        """Whether enough is known to tell a row of this order; else REST has to be asked."""
        order = self._book.get(order_id)
        return order is not None and (order.described or order.ended)

    def looked_up(self, order_id: str, found: RestOrder, executions: Iterable[str], now_ms: int) -> None:
        """REST was asked after these executions, so they are part of its totals."""
        order = self._book.touch(order_id, now_ms)
        order.executions.update(executions)
        self._describe(order, found)
        if decimal(found.vol_exec) > order.executed:
            order.executed, order.cost = decimal(found.vol_exec), decimal(found.cost)

    def _describe(self, order: State, found: RestOrder) -> None:
        order.symbol = order.symbol or self._pairs.pair(self._table(), found.descr.pair)
        order.side = order.side or found.descr.type
        order.order_type = order.order_type or found.descr.ordertype
        order.client_id = order.client_id or found.cl_ord_id or ""
        order.quantity = order.quantity or decimal(found.vol)
        order.price = order.price or decimal(found.descr.price)

    # --- reports ---

    def report(self, row: Row, now_ms: int) -> ExecutionReport | str | None:
        """The event of a row; None for one after the end of its order; text = why it can't be told."""
        order = self._touch(row, now_ms)
        order.learn(row, over=True)
        order.count(row)
        if order.ended:
            return None
        status = self._status(order, row)
        if not status:
            return f"order state {row.order_status[:30] or 'none'}/{row.exec_type[:30] or 'none'} is not known"
        if status == "FILLED" and (not order.executed or (row.cum_qty is None and order.executed < order.quantity)):
            return "order filled, but not every execution of it was told"  # FILLED is final: it must not be short
        order.status, order.ended = status, status in _TERMINAL
        side = order.side or "buy"
        if side not in ("buy", "sell"):
            return f"order side {side[:20]} is not known"
        return self._event(order, row, milliseconds(row.timestamp) or now_ms)

    @staticmethod
    def _status(order: State, row: Row) -> str:
        if row.order_status and row.order_status not in STATUS:
            return ""
        if not row.order_status and row.exec_type not in _BY_EXECUTION and row.exec_type not in _UNCHANGED:
            return ""
        status = STATUS.get(row.order_status, "") or _BY_EXECUTION.get(row.exec_type, "") or order.status
        # A trade may say `partially_filled` though it completes the order, and a row `filled` follows it.
        short = not order.quantity or order.executed < order.quantity
        if row.exec_type == "trade" and (status != "FILLED" or short):
            return "PARTIALLY_FILLED" if status in ("NEW", "PARTIALLY_FILLED", "FILLED") else status
        return status

    def _event(self, order: State, row: Row, time_ms: int) -> ExecutionReport:
        client_id = order.client_id or row.order_id
        price = decimal(row.avg_price) or divide(order.cost, order.executed) or order.price
        executed, cost = plain(order.executed), plain(order.cost)
        identity = (row.order_id, str(time_ms), order.status, row.exec_type, row.exec_id or "", executed, cost)
        fee, asset, parts, usd = self._fees(order)
        return ExecutionReport(
            symbol=event_pair_in(self._table(), order.symbol),
            new_client_order_id=client_id,
            original_client_order_id=client_id,
            order_id=row.order_id,
            order_status=order.status,
            order_type="LIMIT" if order.order_type == "limit" else "MARKET",
            side="SELL" if order.side == "sell" else "BUY",
            price=plain(price),
            quantity=plain(order.quantity),
            total_trade_quantity=executed,
            total_quote_trade_quantity=cost,
            creation_time=time_ms,
            event_time=time_ms,
            order_time=time_ms,
            unique_message_id=":".join((*identity, plain(order.quantity), plain(order.price))),
            liquidation=order.liquidated,
            fee_paid=fee,
            fee_asset=asset,
            fee_breakdown=parts,
            fee_paid_usd=usd,
        )

    @staticmethod
    def _fees(
        order: State,
    ) -> tuple[
        str | msgspec.UnsetType, str | msgspec.UnsetType, list[FeePart] | msgspec.UnsetType, str | msgspec.UnsetType
    ]:
        """The order's fees so far where all are known, as positive costs."""
        paid = [(asset_name(asset), sum_) for asset, sum_ in order.fees.items() if sum_ > 0] if order.whole else []
        usd = plain(order.fee_usd) if order.fee_usd > 0 else UNSET
        if len(paid) == 1:
            return plain(paid[0][1]), paid[0][0], UNSET, usd
        parts = [FeePart(asset=asset, amount=plain(sum_)) for asset, sum_ in paid]
        return UNSET, UNSET, parts or UNSET, usd

    def rest_report(self, order_id: str, found: RestOrder, now_ms: int) -> ExecutionReport | str:
        """The event of an order as REST tells it; text = why it can't be told."""
        status = _REST_STATUS.get(found.status)
        if status is None:
            return f"its state {found.status[:20]!r} is none that is known"
        executed, cost = decimal(found.vol_exec), decimal(found.cost)
        if found.status == "open" and executed > 0:
            status = "PARTIALLY_FILLED"
        order = self._book.touch(order_id, now_ms)
        self._describe(order, found)
        if order.side not in ("buy", "sell"):
            return "the venue does not tell its side"
        client_id = found.cl_ord_id or order.client_id or order_id
        opened_ms = _seconds(found.opentm)
        time_ms = _seconds(found.closetm) or opened_ms or now_ms
        return ExecutionReport(
            symbol=self._pairs.pair(self._table(), found.descr.pair),
            new_client_order_id=client_id,
            original_client_order_id=client_id,
            order_id=order_id,
            order_status=status,
            order_type="LIMIT" if found.descr.ordertype == "limit" else "MARKET",
            side="SELL" if order.side == "sell" else "BUY",
            price=plain(decimal(found.price) or decimal(found.descr.price)),
            quantity=plain(decimal(found.vol)),
            total_trade_quantity=plain(executed),
            total_quote_trade_quantity=plain(cost),
            creation_time=opened_ms or time_ms,
            event_time=time_ms,
            order_time=time_ms,
            unique_message_id=f"{order_id}:{time_ms}:{status}:{plain(executed)}:{plain(cost)}:rest",
            liquidation=False,
        )


def _seconds(value: Number) -> int:
    """A REST time in ms, cut."""
    return int(multiply(decimal(value), Decimal(1000)))


def executions_of(rows: Sequence[Row]) -> list[str]:
    return [row.exec_id for row in rows if row.exec_id]
