"""What was filled per order: KuCoin's terminal frames carry no average price, so it is kept from the match frames."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final

from exchanges._numbers import multiply

MAX_ORDERS: Final = 20_000
"""Orders remembered per account; the least recently touched go first. A frame or two may still follow `done`."""


class _Fill:
    __slots__ = ("filled_after", "quote", "size")

    def __init__(self, size: Decimal, quote: Decimal, filled_after: Decimal | None) -> None:
        self.size = size
        self.quote = quote
        self.filled_after = filled_after


class _Entry:
    __slots__ = ("base_quote", "base_size", "fills")

    def __init__(self) -> None:
        self.base_size = Decimal(0)
        self.base_quote = Decimal(0)
        self.fills: dict[str, _Fill] = {}


class Ledger:
    """Fills by order id. Sizes are base coins on spot, contracts on futures; quote is price x size in the same unit."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, _Entry] = OrderedDict()

    def fill(
        self, order_id: str, trade_id: str, price: Decimal, size: Decimal, filled_after: Decimal | None = None
    ) -> None:
        """Count a fill once per trade id. `filled_after` = cumulative size that its frame told.

        A frame that comes after totals which contain its fill (REST was faster) adds nothing.
        """
        entry = self._entry(order_id)
        if trade_id in entry.fills:
            return
        if filled_after is not None and filled_after <= entry.base_size:
            size = Decimal(0)
        entry.fills[trade_id] = _Fill(size, multiply(price, size), filled_after)

    def seed(self, order_id: str, size: Decimal, quote: Decimal) -> None:
        """Totals known from elsewhere (last published state, REST).

        Fills that these totals contain (their frame told no larger cumulative size) stop counting on their own; older
        totals than the ones known change nothing.
        """
        entry = self._entry(order_id)
        if size <= sum((fill.size for fill in entry.fills.values()), entry.base_size):
            return
        entry.base_size, entry.base_quote = size, quote
        for fill in entry.fills.values():
            if fill.filled_after is not None and fill.filled_after <= size:
                fill.size = fill.quote = Decimal(0)

    def totals(self, order_id: str) -> tuple[Decimal, Decimal]:
        """Size and quote of everything that was seen of the order."""
        entry = self._orders.get(order_id)
        if entry is None:
            return Decimal(0), Decimal(0)
        size = sum((fill.size for fill in entry.fills.values()), entry.base_size)
        quote = sum((fill.quote for fill in entry.fills.values()), entry.base_quote)
        return size, quote

    def _entry(self, order_id: str) -> _Entry:
        entry = self._orders.get(order_id)
        if entry is None:
            entry = self._orders[order_id] = _Entry()
            if len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(order_id)
        return entry
