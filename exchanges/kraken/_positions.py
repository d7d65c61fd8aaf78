"""Positions of Kraken's perpetuals as events, on either socket. Nothing is asked over REST: both begin with all there are.

Source: pages "Open Positions" (futures WebSocket) and "Positions" (unified WebSocket) of docs.kraken.com. The first sends
all positions each time; the second a snapshot, then the changed ones, with size 0 when closed. Not verified on a live
account: what the rows of the second call the symbol, and whether a short size is signed or named by a side; both are
understood.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from exchanges._positions import position
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import PositionUpdate
from exchanges.instruments import SymbolTable
from exchanges.kraken._symbols import PERPETUAL, event_pair_in

FEED: Final = "open_positions"
CHANNEL: Final = "positions"
_SHORT: Final = frozenset({"short", "sell"})


class _Held(msgspec.Struct):
    """A row of the futures feed. Numbers. A position with a leverage of its own is isolated."""

    instrument: str
    balance: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    liquidation_threshold: Decimal | None = None
    pnl: Decimal | None = None
    max_fixed_leverage: Decimal | None = None


class _Feed(msgspec.Struct):
    positions: msgspec.Raw = msgspec.Raw(b"null")
    timestamp: int = 0


class _Row(msgspec.Struct):
    """A row of the unified channel."""

    size: Decimal
    symbol: str = ""
    instrument: str = ""
    side: str = ""
    entry_price: Decimal | None = None


class _Rows(msgspec.Struct):
    futures: msgspec.Raw = msgspec.Raw(b"null")


_decode_feed: Final = tolerant(_Feed)
_decode_held: Final = tolerant(_Held)
_decode_rows: Final = tolerant(_Rows)
_decode_row: Final = tolerant(_Row)

Table = Callable[[], SymbolTable]


class Told(NamedTuple):
    """What a frame tells."""

    positions: list[PositionUpdate]
    time_ms: int
    odd: Odd


def feed_positions(frame: bytes, table: Table, now_ms: int) -> Told:
    """A message of the futures feed. Raises what `UNREADABLE` lists."""
    message = _decode_feed(frame)
    rows, odd = read_rows(message.positions, _decode_held)
    time_ms = message.timestamp or now_ms
    found = [
        position(
            event_pair_in(table(), row.instrument),
            contracts=row.balance,
            quantity=row.balance,
            entry=row.entry_price,
            mark=row.mark_price,
            liquidation=row.liquidation_threshold,
            leverage=row.max_fixed_leverage,
            margin="isolated" if row.max_fixed_leverage else "cross",
            pnl=row.pnl,
            event_ms=time_ms,
        )
        for row in rows
        if row.instrument.upper().startswith(PERPETUAL)
    ]
    return Told(found, time_ms, odd)


def unified_positions(data: msgspec.Raw, table: Table, now_ms: int) -> Told:
    """The data of a message of the unified channel. Raises what `UNREADABLE` lists."""
    rows, odd = read_rows(_decode_rows(data).futures, _decode_row)
    found: list[PositionUpdate] = []
    for row in rows:
        wire = row.symbol or row.instrument
        size = -abs(row.size) if row.side.lower() in _SHORT else row.size
        if wire.upper().startswith(PERPETUAL):
            pair = event_pair_in(table(), wire)
            found.append(position(pair, contracts=size, quantity=size, entry=row.entry_price, event_ms=now_ms))
    return Told(found, now_ms, odd)
