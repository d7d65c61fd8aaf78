"""Orders of one connection by id, with finished ones kept for a while: late rows must find what is known of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final, Generic, Protocol, TypeVar

KEEP_MS: Final = 3_600_000
"""Finished orders are forgotten after an hour (contract 4.8)."""
MAX_ORDERS: Final = 20_000
"""The ones that were touched least recently go first."""


class Remembered(Protocol):
    ended: bool
    touched_ms: int


State = TypeVar("State", bound=Remembered)


class OrderBook(Generic[State]):
    """I/O thread of the session only."""

    def __init__(self, make: Callable[[], State]) -> None:
        self._make = make
        self._orders: OrderedDict[str, State] = OrderedDict()

    def get(self, order_id: str) -> State | None:
        return self._orders.get(order_id)

    def touch(self, order_id: str, now_ms: int) -> State:
        """The order, made anew when it is not known."""
        order = self._orders.get(order_id)
        if order is None:
            self._prune(now_ms)
            order = self._orders[order_id] = self._make()
        else:
            self._orders.move_to_end(order_id)
        order.touched_ms = now_ms
        return order

    def _prune(self, now_ms: int) -> None:
        while self._orders:
            oldest = next(iter(self._orders.values()))
            stale = oldest.ended and oldest.touched_ms < now_ms - KEEP_MS
            if not stale and len(self._orders) < MAX_ORDERS:
                return
            self._orders.popitem(last=False)

    def __iter__(self) -> Iterator[tuple[str, State]]:
        return iter(self._orders.items())
