"""Positions of Bitget as events, and the question for all of them; classic (v2) and unified (v3) accounts.

Source: pages "Positions Channel" and "Get All Positions" (classic), "Position Channel" and "Get Position Info" (UTA) of
bitget.com/api-doc. A classic push is the whole product: what is closed is missing in it. A unified one says size 0.
Not verified on a live account: whether the size of a unified inverse perpetual is contracts (as its fills are) or coins (as
the pages say); whole numbers are taken as contracts.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._positions import BOTH, Read, coins, position, signed
from exchanges._rows import read_rows, tolerant
from exchanges.bitget import _errors, _hosts
from exchanges.bitget._rows import Number, Time, milliseconds, word
from exchanges.events import PositionUpdate
from exchanges.instruments import SymbolTable

TAG: Final = "positions"
_SIDES: Final = {"long": "LONG", "short": "SHORT"}
_MARGIN: Final = {"crossed": "cross", "isolated": "isolated"}


class Held(msgspec.Struct, rename="camel"):
    """A position of any push or answer: each names its figures in one of these ways."""

    inst_id: str = ""
    symbol: str = ""
    category: str = ""
    margin_coin: str = ""
    total: Number = None
    size: Number = None
    hold_side: str = ""
    pos_side: str = ""
    pos_mode: str = ""
    hold_mode: str = ""
    margin_mode: str = ""
    open_price_avg: Number = None
    avg_price: Number = None
    mark_price: Number = None
    liquidation_price: Number = None
    liq_price: Number = None
    leverage: Number = None
    unrealized_pl: Number = msgspec.field(default=None, name="unrealizedPL")
    unrealised_pnl: Number = None
    u_time: Time = None
    updated_time: Time = None

    @property
    def wire(self) -> str:
        return self.inst_id or self.symbol


class _List(msgspec.Struct):
    rows: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"null"), name="list")


decode_held: Final = tolerant(Held)
_decode_list: Final = msgspec.json.Decoder(_List).decode


def product_of(wire: str, table: SymbolTable) -> str:
    """The product type of a symbol; by its name while the list does not (yet) know it."""
    instrument = table.wire(wire) or table.pair(wire)
    if instrument is not None and instrument.kind:
        return instrument.kind
    if wire.endswith("PERP"):
        return "USDC-FUTURES"
    return "USDT-FUTURES" if "USDT" in wire else "COIN-FUTURES"


def own(held: Held, products: Sequence[str], table: SymbolTable) -> bool:
    return (held.category.upper() or product_of(held.wire, table)) in products


def position_update(held: Held, table: SymbolTable, event_ms: int) -> PositionUpdate:
    product = product_of(held.wire, table)
    side = word(held.hold_side or held.pos_side)
    size = signed(held.total if held.total not in (None, "") else held.size, short=side == "short")
    entry = held.open_price_avg if held.open_price_avg not in (None, "") else held.avg_price
    return position(
        _hosts.pair_of(product, held.wire),
        side=_SIDES.get(side, BOTH) if word(held.pos_mode or held.hold_mode).startswith("hedge") else BOTH,
        contracts=size,
        quantity=_base(held.wire, size, entry),
        entry=entry,
        mark=held.mark_price,
        liquidation=held.liquidation_price or held.liq_price,
        leverage=held.leverage,
        margin=_MARGIN.get(word(held.margin_mode), word(held.margin_mode)),
        pnl=held.unrealized_pl if held.unrealized_pl is not None else held.unrealised_pnl,
        update_ms=milliseconds(held.u_time or held.updated_time),
        event_ms=event_ms,
    )


def _base(wire: str, size: Decimal, entry: Number) -> Decimal | None:
    contracts = wire.endswith(_hosts.CONTRACT_MARK) and size == size.to_integral_value()
    return coins(size, 1, inverse=contracts, entry=entry)


def position_calls(products: Sequence[str], *, unified: bool) -> list[Call]:
    path = (
        "/api/v3/position/current-position?category=" if unified else "/api/v2/mix/position/all-position?productType="
    )
    urls = [f"{_hosts.REST}{path}{product}" for product in products]
    return [Call(tag=TAG, method="GET", url=url, pool="private") for url in urls]


def read_positions(
    answer: Answer, products: Sequence[str], table: SymbolTable, event_ms: int, *, unified: bool
) -> Read:
    envelope = _errors.read(answer)
    if not _errors.succeeded(answer, envelope):
        return Read(failed=_errors.failure(answer, envelope).reason)
    try:
        data = envelope.data
        if unified and bytes(data).strip() not in (b"", b"null"):
            data = _decode_list(data).rows
        rows, odd = read_rows(data, decode_held)
        held = [row for row in rows if own(row, products, table)]
        found = [position_update(row, table, event_ms) for row in held]
    except (*UNREADABLE, ValueError) as error:
        return Read(failed=str(error))
    return Read(positions=found, time_ms=event_ms, notes=[odd.phrase("positions")] if odd else ())
