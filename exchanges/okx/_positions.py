"""Positions of OKX as events, and the question for all of them: REST rows have the channel's fields.

Source: sections "Positions channel" and "Get positions" of okx.com/docs-v5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._positions import BOTH, Read, coins, position, signed
from exchanges._rows import read_rows, tolerant
from exchanges.events import PositionUpdate
from exchanges.instruments import SymbolTable
from exchanges.okx._connection_frames import Arg
from exchanges.okx._errors import envelope_of, failure_of
from exchanges.okx._orders import belongs_to, contract_type

TAG: Final = "positions"
CHANNEL: Final = "positions"
_SIDES: Final = {"long": "LONG", "short": "SHORT"}


class Held(msgspec.Struct, rename="camel"):
    """An entry of channel `positions`, or of the REST list. Empty text means absent."""

    inst_id: str
    pos: str
    inst_type: str = ""
    pos_side: str = "net"
    mgn_mode: str = ""
    avg_px: str = ""
    mark_px: str = ""
    liq_px: str = ""
    lever: str = ""
    upl: str = ""
    u_time: str = ""
    p_time: str = ""


decode_held: Final = tolerant(Held)


def position_args(kinds: Sequence[str]) -> tuple[Arg, ...]:
    """What is subscribed for the positions of these instrument types."""
    return tuple(Arg(channel=CHANNEL, inst_type=kind) for kind in kinds if kind != "SPOT")


def position_update(held: Held, table: SymbolTable, event_ms: int = 0) -> PositionUpdate:
    """A net position is signed by the venue, the ones of hedge mode by their side. `event_ms`: for rows without `pTime`."""
    contracts = decimal(held.pos)
    if held.pos_side in _SIDES:
        contracts = signed(held.pos, short=held.pos_side == "short")
    instrument = table.wire(held.inst_id)
    update_ms = int(held.u_time) if held.u_time.isdigit() else 0
    return position(
        held.inst_id,
        side=_SIDES.get(held.pos_side, BOTH),
        contracts=contracts,
        quantity=coins(
            contracts,
            instrument.contract_size if instrument is not None else None,
            inverse=contract_type(held.inst_id, table) == "inverse",
            entry=held.avg_px,
        ),
        entry=held.avg_px,
        mark=held.mark_px,
        liquidation=held.liq_px,
        leverage=held.lever,
        margin=held.mgn_mode,
        pnl=held.upl,
        update_ms=update_ms,
        event_ms=int(held.p_time) if held.p_time.isdigit() else event_ms or update_ms,
    )


def own(held: Held, exchange: str, table: SymbolTable) -> bool:
    return belongs_to(held.inst_type, held.inst_id, exchange, table)


def position_calls(rest: str, kinds: Sequence[str], stream_id: str) -> list[Call]:
    return [
        Call(
            tag=TAG, method="GET", url=f"{rest}/api/v5/account/positions?instType={arg.inst_type}", stream_id=stream_id
        )
        for arg in position_args(kinds)
    ]


def read_positions(answer: Answer, exchange: str, table: SymbolTable, event_ms: int) -> Read:
    """`event_ms` is the venue's time."""
    failure, envelope = failure_of(answer), envelope_of(answer)
    if failure is not None or envelope is None:
        return Read(failed=failure.reason if failure else "unreadable answer")
    try:
        rows, odd = read_rows(envelope.data, decode_held)
    except UNREADABLE as error:
        return Read(failed=str(error))
    return Read(
        positions=[position_update(row, table, event_ms) for row in rows if own(row, exchange, table)],
        time_ms=event_ms,
        notes=[odd.phrase("positions")] if odd else (),
    )
