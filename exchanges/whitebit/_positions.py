"""Positions of WhiteBIT's perpetuals as events. Every push is the whole of an account: nothing is asked over REST.

Source: page "Positions" (account streams) of docs.whitebit.com. Nothing there tells the leverage, which is the account's, or
a mark price. Not verified on a live account: whether the list is pushed too while it is empty, which is what closes the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._positions import BOTH, position
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import PositionUpdate
from exchanges.whitebit._symbols import PERPETUAL

CHANNEL: Final = "positionsMargin"


class _Params(msgspec.Struct):
    records: msgspec.Raw
    total: int | None = None


class _Record(msgspec.Struct):
    """A position: a signed amount, times in seconds."""

    market: str
    amount: Decimal
    base_price: Decimal | None = None
    liq_price: Decimal | None = None
    pnl: Decimal | None = None
    mtime: float = 0
    position_side: str = ""


class Told(msgspec.Struct, frozen=True):
    """What a push tells, and whether that is all there is."""

    positions: list[PositionUpdate]
    odd: Odd
    complete: bool


_decode_params: Final = tolerant(_Params)
_decode_record: Final = tolerant(_Record)


def read_positions(params: msgspec.Raw, pair: Callable[[str], str], now_ms: int) -> Told:
    """Raises what `UNREADABLE` lists."""
    message = _decode_params(params)
    rows, odd = read_rows(message.records, _decode_record)
    complete = not odd and (message.total or 0) <= len(rows)
    rows = [row for row in rows if row.market.endswith(PERPETUAL)]
    several = Counter(row.market for row in rows)
    found: list[PositionUpdate] = []
    for row in rows:
        side = row.position_side.upper()
        if side not in (BOTH, "LONG", "SHORT"):
            # Two of a market are those of hedge mode.
            side = BOTH if several[row.market] == 1 else "SHORT" if row.amount < 0 else "LONG"
        size = -abs(row.amount) if side == "SHORT" else row.amount
        found.append(
            position(
                pair(row.market),
                side=side,
                contracts=size,
                quantity=size,
                entry=row.base_price,
                liquidation=row.liq_price,
                margin="cross",
                pnl=row.pnl,
                update_ms=int(row.mtime * 1000),
                event_ms=now_ms,
            )
        )
    return Told(found, odd, complete)
