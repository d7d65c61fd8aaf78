"""Positions of Bybit as events, and the question for all of them. REST rows have the topic's fields but for the entry price.

Source: pages "Position" (private WebSocket) and "Get Position Info" of bybit-exchange.github.io/docs/v5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._positions import BOTH, Read, coins, position, signed
from exchanges._rows import read_rows, tolerant
from exchanges.bybit._errors import envelope_of, failure_of
from exchanges.events import PositionUpdate

TAG: Final = "positions"
LIMIT: Final = 200
_SETTLE_COINS: Final[Mapping[str, Sequence[str]]] = {"linear": ("USDT", "USDC"), "inverse": ("",)}
"""The list of linear positions needs a filter."""
_SIDES: Final = {1: "LONG", 2: "SHORT"}
_ISOLATED: Final = "ISOLATED_MARGIN"


class Held(msgspec.Struct, rename="camel"):
    """An entry of topic `position`, or of the REST list (`avg_price`)."""

    symbol: str
    size: str
    side: str = ""
    category: str = ""
    position_idx: int = 0
    trade_mode: int = 0
    entry_price: str = ""
    avg_price: str = ""
    position_value: str = ""
    leverage: str = ""
    mark_price: str = ""
    liq_price: str = ""
    unrealised_pnl: str = ""
    updated_time: str = ""


class _Page(msgspec.Struct, rename="camel"):
    rows: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="list")
    next_page_cursor: str | None = ""


decode_held: Final = tolerant(Held)
_decode_page = msgspec.json.Decoder(_Page).decode


def position_update(held: Held, category: str, margin_mode: str, event_ms: int) -> PositionUpdate:
    """`margin_mode` is the account's; it decides at unified accounts, where the position's own is always 0."""
    inverse, entry = category == "inverse", held.entry_price or held.avg_price
    contracts = signed(held.size, short=held.side == "Sell")
    quantity = coins(contracts, 1, inverse=inverse, entry=entry)
    if inverse and decimal(held.position_value):
        quantity = signed(held.position_value, short=held.side == "Sell")
    return position(
        held.symbol,
        side=_SIDES.get(held.position_idx, BOTH),
        contracts=contracts,
        quantity=quantity,
        entry=entry,
        mark=held.mark_price,
        liquidation=held.liq_price,
        leverage=held.leverage,
        margin="isolated" if held.trade_mode == 1 or margin_mode == _ISOLATED else "cross",
        pnl=held.unrealised_pnl,
        update_ms=int(held.updated_time) if held.updated_time.isdigit() else 0,
        event_ms=event_ms,
    )


def position_calls(rest: str, category: str, stream_id: str) -> list[Call]:
    return [_call(rest, category, coin, "", stream_id) for coin in _SETTLE_COINS.get(category, ())]


def read_positions(call: Call, answer: Answer, rest: str, category: str, margin_mode: str) -> Read:
    failure, envelope = failure_of(answer), envelope_of(answer)
    if failure is not None or envelope is None:
        return Read(failed=failure.reason if failure else "unreadable answer")
    try:
        page = _decode_page(envelope.result)
        rows, odd = read_rows(page.rows, decode_held)
    except UNREADABLE as error:
        return Read(failed=str(error))
    further = page.next_page_cursor if rows or odd else ""
    return Read(
        positions=[position_update(row, category, margin_mode, envelope.time) for row in rows],
        calls=[_call(rest, category, str(call.context), further, call.stream_id)] if further else (),
        time_ms=envelope.time,
        notes=[odd.phrase("positions")] if odd else (),
    )


def _call(rest: str, category: str, coin: str, cursor: str, stream_id: str | None) -> Call:
    query = {"category": category, **({"settleCoin": coin} if coin else {}), "limit": str(LIMIT)}
    if cursor:
        query["cursor"] = cursor
    return Call(
        tag=TAG, method="GET", url=f"{rest}/v5/position/list?{urlencode(query)}", stream_id=stream_id, context=coin
    )
