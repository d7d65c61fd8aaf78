"""A consumer's books per client id, made of what the adapter tells through the tracker of the stream."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from connector.streams.tracker import OrderTracker, known_order
from exchanges._adapter import Emit, Resume
from exchanges._numbers import decimal
from exchanges.events import ExecutionReport, OrderEvent, OrderTradeUpdate, PositionKey, PositionUpdate
from tests.unit.exchanges.pair_facts import facts


class Row(NamedTuple):
    """What stands in somebody's books about an order."""

    status: str
    executed: Decimal
    average: Decimal


class Books:
    """A consumer: books per client id what the tracker lets out. `state` is what the next connection resumes from."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._tracker = OrderTracker(exchange)
        self.rows: dict[str, Row] = {}
        self.told: list[OrderEvent] = []
        self.holdings: list[PositionUpdate] = []
        """Every position that was told, in order."""
        self.last_ms = 0

    def take(self, emit: Emit) -> None:
        admitted = self._tracker.admit(emit.event, repaired=emit.repaired)
        if admitted is not None and isinstance(admitted.event, PositionUpdate):
            self.holdings.append(admitted.event)
        if admitted is None or not isinstance(admitted.event, ExecutionReport | OrderTradeUpdate):
            return
        event, known = admitted.event, known_order(admitted.event)
        self.told.append(event)
        swapped = facts(self._exchange).swapped and isinstance(event, ExecutionReport)
        executed = decimal(known.executed_quote if swapped else known.executed)
        self.rows[known.client_order_id] = Row(event.order_status, executed, average_of(event))

    def held(self) -> dict[PositionKey, PositionUpdate]:
        """The newest state of each position."""
        return {event.key: event for event in self.holdings}

    def resume(self, since_ms: int) -> Resume:
        return self._tracker.resume(since_ms)


def average_of(event: OrderEvent) -> Decimal:
    """Average fill price as the backend works it out."""
    if isinstance(event, OrderTradeUpdate):
        return decimal(event.average_price)
    base, quote = decimal(event.total_trade_quantity), decimal(event.total_quote_trade_quantity)
    return quote / base if base else Decimal(0)
