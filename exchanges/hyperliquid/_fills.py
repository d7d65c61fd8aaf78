"""Fills of one account, by order, until the state of their order is priced with them. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from exchanges.hyperliquid._orders import Fill

FILLS_KEPT_S: Final = 5 * 3600.0
"""An order may rest for hours between its first fill and its last (bug A57)."""
MAX_ORDERS: Final = 10_000
"""Orders whose fills are kept."""


class FillStore:
    """Fills by order, each once. Bounded in age and number."""

    def __init__(self) -> None:
        self._orders: OrderedDict[int, dict[int, Fill]] = OrderedDict()
        self._heard: dict[int, float] = {}
        self._by_cloid: dict[str, dict[int, None]] = {}

    def add(self, fill: Fill, mono: float) -> bool:
        """False for a fill that is known (a snapshot repeats them)."""
        known = self._orders.setdefault(fill.oid, {})
        if fill.tid in known:
            return False
        known[fill.tid] = fill
        self._heard[fill.oid] = mono
        self._orders.move_to_end(fill.oid)
        if fill.cloid:
            self._by_cloid.setdefault(fill.cloid, {})[fill.oid] = None
        while len(self._orders) > MAX_ORDERS or self._heard[next(iter(self._orders))] < mono - FILLS_KEPT_S:
            self.drop(next(iter(self._orders)))
        return True

    def of_client(self, client_id: str) -> dict[int, tuple[Fill, ...]]:
        """The fills that carry a client id, by order id."""
        return {oid: self.of_id(oid) for oid in self._by_cloid.get(client_id, ())} if client_id else {}

    def of_id(self, oid: int) -> tuple[Fill, ...]:
        return tuple(self._orders.get(oid, {}).values())

    def drop(self, oid: int) -> None:
        for fill in self._orders.pop(oid, {}).values():
            oids = self._by_cloid.get(fill.cloid or "", {})
            oids.pop(oid, None)
            if not oids:
                self._by_cloid.pop(fill.cloid or "", None)
        self._heard.pop(oid, None)

    def __len__(self) -> int:
        return len(self._orders)
