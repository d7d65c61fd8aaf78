"""Orders that go on under another order id: KuCoin's `alter` cancels an order and places a new one (doc 3470171).

Whether the new one keeps the client id was not recorded. Where it does, the client order lives on: the end of the order that
was replaced is not told, and what that one had filled counts towards the client order, because the backend books by client
id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.events import TERMINAL, ExecutionReport, carrying

MAX_CLIENT_IDS: Final = 20_000
"""Client ids remembered per account; the least recently told go first."""


_UNNAMED: Final = ""
"""Stands for orders of which only the sum is known: another connection told it, with one that was made after all of them."""


def own_totals(order: KnownOrder) -> tuple[Decimal, Decimal]:
    """Size and value that were filled under this order id: what was published, without what other ids had filled."""
    return decimal(order.executed) - decimal(order.carried), decimal(order.executed_quote) - decimal(
        order.carried_quote
    )


class _Part:
    """One order id of a client order: what the venue says of it alone."""

    __slots__ = ("created_ms", "ended", "order_id", "quote", "size")

    def __init__(self, order_id: str, created_ms: int, size: Decimal, quote: Decimal, *, ended: bool) -> None:
        self.order_id, self.created_ms, self.size, self.quote, self.ended = order_id, created_ms, size, quote, ended


class _Client:
    """A client id, and the orders that it went through; the last one is what it means now."""

    __slots__ = ("last", "parts")

    def __init__(self, part: _Part) -> None:
        self.parts = [part]
        self.last: ExecutionReport | None = None
        """What was told of the newest order."""

    def find(self, order_id: str) -> _Part | None:
        return next((part for part in self.parts if part.order_id == order_id), None)


class ClientOrders:
    """Turns what is known of single orders into what is told of client orders. I/O thread of the session only."""

    def __init__(self, known: Iterable[KnownOrder] = ()) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        for order in sorted(known, key=lambda order: order.creation_time_ms):
            if order.client_order_id:
                self._seed(order)

    def _seed(self, order: KnownOrder) -> None:
        """An order that another connection told. What it carried is known without the ids of the orders that filled it."""
        size, quote = decimal(order.carried), decimal(order.carried_quote)
        part = _Part(order.order_id, order.creation_time_ms, *own_totals(order), ended=order.terminal)
        client = self._take(order.client_order_id, self._clients.get(order.client_order_id), part)
        for older in client.parts[:-1]:
            size, quote = size - older.size, quote - older.quote
        if size > 0:
            client.parts.insert(0, _Part(_UNNAMED, order.creation_time_ms, size, quote, ended=True))

    def _take(self, client_id: str, client: _Client | None, part: _Part) -> _Client:
        """A new order of a client id. One whose last order has ended begins anew: that was no alter."""
        if client is None or client.parts[-1].ended:
            client = self._clients[client_id] = _Client(part)
        else:
            client.parts.append(part)
        self._clients.move_to_end(client_id)
        if len(self._clients) > MAX_CLIENT_IDS:
            self._clients.popitem(last=False)
        return client

    def ends(self, reports: Iterable[ExecutionReport]) -> list[ExecutionReport]:
        """What to publish of ends that became known together: of several under one client id, the newest is its end."""
        ends = sorted(reports, key=lambda report: report.creation_time)
        newest = {report.new_client_order_id or str(report.order_id): report for report in ends}
        last = {id(report) for report in newest.values()}
        told = [self.told(report, replaced=id(report) not in last) for report in ends]
        return [report for report in told if report is not None]

    def told(self, report: ExecutionReport, *, replaced: bool = False) -> ExecutionReport | None:
        """What to publish of an order's state; None for the end of one that was replaced.

        `replaced`: another order is known to go on under its client id, though nothing was told of that one yet.
        """
        client_id, order_id = report.new_client_order_id, str(report.order_id)
        if not client_id or report.liquidation is True:
            return report
        client = self._clients.get(client_id)
        over = report.order_status in TERMINAL and not replaced
        size, quote = decimal(report.total_trade_quantity), decimal(report.total_quote_trade_quantity)
        part = client.find(order_id) if client is not None else None
        if part is None:
            part = _Part(order_id, report.creation_time, size, quote, ended=over)
            if client is not None and part.created_ms < client.parts[-1].created_ms:
                return self._older(client, part)
            client = self._take(client_id, client, part)
        assert client is not None  # noqa: S101 - either found or just made
        grown = size > part.size
        if grown:
            part.size, part.quote = size, quote
        part.ended = part.ended or over
        if part is not client.parts[-1]:
            return self._again(client) if grown else None
        if replaced:
            return None
        client.last = report
        return _carried(client, report)

    def _older(self, client: _Client, part: _Part) -> ExecutionReport | None:
        """An order from before the one that the client id means now, seen only when it had been replaced."""
        unnamed = client.find(_UNNAMED)
        counted = unnamed is not None and part.created_ms < unnamed.created_ms
        known = min(unnamed.size, part.size) if unnamed is not None and counted else Decimal(0)
        if unnamed is not None and counted and unnamed.size:  # it was counted already, without its id
            share = part.quote if known == part.size else multiply(unnamed.quote, divide(known, unnamed.size))
            value = min(share, unnamed.quote)
            unnamed.size, unnamed.quote = unnamed.size - known, unnamed.quote - value
        client.parts.insert(0, part)
        return self._again(client) if part.size > known else None

    def _again(self, client: _Client) -> ExecutionReport | None:
        """The newest order once more: what was filled before it has become known only now."""
        return _carried(client, client.last) if client.last is not None else None


def _carried(client: _Client, report: ExecutionReport) -> ExecutionReport:
    """The report with what the orders before had filled."""
    size = sum((part.size for part in client.parts[:-1]), Decimal(0))
    if not size:
        return report
    quote = sum((part.quote for part in client.parts[:-1]), Decimal(0))
    total = decimal(report.total_trade_quantity) + size
    value = decimal(report.total_quote_trade_quantity) + quote
    return msgspec.structs.replace(
        report,
        order_status="PARTIALLY_FILLED" if report.order_status == "NEW" else report.order_status,
        quantity=plain(decimal(report.quantity) + size),
        total_trade_quantity=plain(total),
        total_quote_trade_quantity=plain(value),
        unique_message_id=carrying(report.unique_message_id, plain(size), plain(quote)),
    )
