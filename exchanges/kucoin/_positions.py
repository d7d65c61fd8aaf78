"""Positions of KuCoin's futures as events, and the question for all of them; classic and unified accounts.

Source: pages "All Position" (3470093, private futures channels), "Get Position List", "Position" (3470350, private channels
of UTA) and "Get Position List (UTA)" of kucoin.com/docs-new. A push of a new mark price has no size and changes nothing here.
Not verified on a live account: how many positions one answer of the unified list holds at most; a long one closes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._positions import BOTH, Read, coins, position
from exchanges._rows import read_rows, tolerant
from exchanges.events import PositionUpdate
from exchanges.instruments import SymbolTable
from exchanges.kucoin import _errors, _symbols
from exchanges.kucoin._gap_unified import Api
from exchanges.kucoin._rows import Number

TAG: Final = "positions"
LONG_PAGE: Final = 50
_SIDES: Final = frozenset({"LONG", "SHORT"})
_NANOSECONDS: Final = 10**15


class Held(msgspec.Struct, rename="camel"):
    """A position of the classic channel or list, or of the unified list (`size` …), which says less."""

    symbol: str = ""
    current_qty: Number = None
    size: Number = None
    avg_entry_price: Number = None
    entry_price: Number = None
    mark_price: Number = None
    liquidation_price: Number = None
    leverage: Number = None
    margin_mode: str = ""
    cross_mode: bool | None = None
    position_side: str = ""
    unrealised_pnl: Number = None
    unrealized_pnl: Number = msgspec.field(default=None, name="unrealizedPnL")
    current_timestamp: int | str = 0


class UnifiedHeld(msgspec.Struct):
    """A push of the unified channel."""

    symbol: str = msgspec.field(name="s")
    size: Number = msgspec.field(default=None, name="q")
    entry: Number = msgspec.field(default=None, name="eP")
    mark: Number = msgspec.field(default=None, name="mP")
    liquidation: Number = msgspec.field(default=None, name="lP")
    leverage: Number = msgspec.field(default=None, name="l")
    margin_mode: str = msgspec.field(default="", name="mM")
    pnl: Number = msgspec.field(default=None, name="uPL")
    updated: int | str = msgspec.field(default=0, name="U")


decode_held: Final = tolerant(Held)
_decode_unified: Final = tolerant(UnifiedHeld)


def unified_held(raw: bytes | msgspec.Raw) -> Held:
    """A unified push in the shape of the others. Raises one of `UNREADABLE`."""
    push = _decode_unified(raw)
    return Held(
        symbol=push.symbol,
        size=push.size,
        entry_price=push.entry,
        mark_price=push.mark,
        liquidation_price=push.liquidation,
        leverage=push.leverage,
        margin_mode=push.margin_mode,
        unrealized_pnl=push.pnl,
        current_timestamp=push.updated,
    )


class Reader:
    """Makes events of one account's rows: those of its exchange id."""

    def __init__(self, exchange: str, pair: Callable[[str], str | None], table: Callable[[], SymbolTable]) -> None:
        self._exchange, self._pair, self._table = exchange, pair, table

    def update(self, held: Held, event_ms: int) -> PositionUpdate | None:
        """None for another family's contract, and for a row without a size. `event_ms`: for rows without a time."""
        size = held.current_qty if held.current_qty is not None else held.size
        pair = self._pair(held.symbol)
        if pair is None or size is None or size == "":
            return None
        contracts, instrument = decimal(size), self._table().wire(held.symbol)
        entry = held.avg_entry_price if held.avg_entry_price is not None else held.entry_price
        crossed = {True: "cross", False: "isolated", None: ""}[held.cross_mode]
        time_ms = _milliseconds(held.current_timestamp)
        return position(
            pair,
            side=held.position_side if held.position_side in _SIDES else BOTH,
            contracts=contracts,
            quantity=coins(
                contracts,
                instrument.contract_size if instrument is not None else None,
                inverse=_symbols.MARKET_OF[self._exchange] == "inverse",
                entry=entry,
            ),
            entry=entry,
            mark=held.mark_price,
            liquidation=held.liquidation_price,
            leverage=held.leverage,
            margin=held.margin_mode.lower() or crossed,
            pnl=held.unrealised_pnl if held.unrealised_pnl is not None else held.unrealized_pnl,
            update_ms=time_ms,
            event_ms=time_ms or event_ms,
        )

    def read(self, answer: Answer, event_ms: int) -> Read:
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return Read(failed=_errors.failure(answer, envelope).reason)
        try:
            rows, odd = read_rows(envelope.data, decode_held)
        except UNREADABLE as error:
            return Read(failed=str(error))
        notes = [odd.phrase("positions")] if odd else []
        return Read(
            positions=[event for row in rows if (event := self.update(row, event_ms)) is not None],
            time_ms=event_ms,
            notes=notes,
        )

    def read_unified(self, answer: Answer, event_ms: int) -> Read:
        """A long answer may be the first of several pages: what is missing in it may be held."""
        read = self.read(answer, event_ms)
        if len(read.positions) >= LONG_PAGE:
            return msgspec.structs.replace(read, notes=[*read.notes, "the list of positions may have further pages"])
        return read


def classic_call(exchange: str) -> Call:
    url = f"{_symbols.rest_of(exchange)}/api/v1/positions"
    return Call(tag=TAG, method="GET", url=url, weight=2, pool=_symbols.pool_of(exchange))


def unified_call(api: Api) -> Call:
    return Call(tag=TAG, method="GET", url=api.url("unified/position/open-list"), weight=3, pool="unified")


def _milliseconds(time: int | str) -> int:
    value = int(time) if str(time).isdigit() else 0
    return value // 10**6 if value > _NANOSECONDS else value
