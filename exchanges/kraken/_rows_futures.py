"""Orders and fills of the futures WebSocket, as the venue writes them (docs/venues/kraken.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec

Number = Decimal | None
UNKNOWN_SIDE: Final = -1


class OrderBody(msgspec.Struct):
    """An order of the `open_orders` feed. `qty` is what is still open; `direction` 0 buys, 1 sells. Times in ms."""

    order_id: str
    instrument: str
    direction: int
    qty: Number = None
    filled: Number = None
    time: int | None = None
    last_update_time: int | None = None
    limit_price: Number = None
    stop_price: Number = None
    type: str | None = None
    cli_ord_id: str | None = None

    @property
    def created_ms(self) -> int:
        """0 = not told."""
        return self.time or 0

    @property
    def updated_ms(self) -> int:
        return self.last_update_time or self.created_ms


class Fill(msgspec.Struct):
    """One fill of the `fills` feed, not cumulative."""

    order_id: str
    fill_id: str
    instrument: str
    buy: bool
    qty: Decimal
    price: Decimal
    time: int
    seq: int | None = 0
    remaining_order_qty: Number = None
    cli_ord_id: str | None = None
    fill_type: str | None = None
    fee_paid: Number = None
    fee_currency: str | None = None
    order_type: str | None = None


def by_time(fills: Iterable[Fill]) -> list[Fill]:
    """Oldest first: batches come newest first (bug B10)."""
    return sorted(fills, key=_when)


def _when(fill: Fill) -> tuple[int, int]:
    return fill.time, fill.seq or 0
