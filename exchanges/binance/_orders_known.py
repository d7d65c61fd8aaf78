"""The orders of one account as this connection told them: where a repair in the middle of a connection starts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from exchanges._adapter import Emit, KnownOrder, Output, Resume
from exchanges.events import AccountEvent, ExecutionReport

MAX_FINISHED: Final = 200
OVERLAP_MS: Final = 60_000


class OrderMemory:
    """Seeded from the account's `Resume`, kept up by its events."""

    def __init__(self, resume: Resume | None) -> None:
        self._open: dict[str, KnownOrder] = {}
        self._finished: dict[str, KnownOrder] = {}
        for order in resume.orders if resume else ():
            self._remember(order)

    def learn(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Emit):
                self._event(output.event)

    def resume(self, until_ms: int) -> Resume:
        """A gap that began at `until_ms`, with an overlap taken off."""
        return Resume(since_ms=until_ms - OVERLAP_MS, orders=(*self._open.values(), *self._finished.values()))

    def _event(self, event: AccountEvent) -> None:
        if not isinstance(event, ExecutionReport):
            return
        client_id = event.new_client_order_id
        if event.order_status == "CANCELED" and event.original_client_order_id:
            client_id = event.original_client_order_id
        self._remember(
            KnownOrder(
                order_id=str(event.order_id),
                client_order_id=client_id,
                symbol=event.symbol,
                status=event.order_status,
                executed=event.total_trade_quantity,
                executed_quote=event.total_quote_trade_quantity,
                price=event.price,
                quantity=event.quantity,
                side=event.side,
                order_type=event.order_type,
                order_time_ms=event.order_time,
                creation_time_ms=event.creation_time,
            )
        )

    def _remember(self, order: KnownOrder) -> None:
        if not order.terminal:
            self._open[order.order_id] = order
            return
        self._open.pop(order.order_id, None)
        self._finished[order.order_id] = order
        if len(self._finished) > MAX_FINISHED:
            del self._finished[next(iter(self._finished))]
