"""Positions of Hyperliquid's perps as events. Every push is the whole of an account: nothing is asked over REST.

Source: pages "Subscriptions" and "Info endpoint, perpetuals" of hyperliquid.gitbook.io. `allDexsClearinghouseState` tells the
builder dexes as well; where it is refused, `clearinghouseState` tells the native one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exchanges._numbers import decimal
from exchanges._positions import position
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import PositionUpdate
from exchanges.hyperliquid._connection_frames import Topic

ALL: Final = Topic("allDexsClearinghouseState")
TOPICS: Final = (ALL, Topic("clearinghouseState"))
TYPES: Final = frozenset(topic.type for topic in TOPICS)


class _Leverage(msgspec.Struct, frozen=True):
    type: str = ""
    value: int | float | str | None = None


class _Position(msgspec.Struct, rename="camel"):
    coin: str
    szi: str
    leverage: _Leverage = _Leverage()
    entry_px: str = ""
    unrealized_pnl: str = ""
    liquidation_px: str = ""


class _Asset(msgspec.Struct):
    position: _Position


class _State(msgspec.Struct, rename="camel"):
    asset_positions: msgspec.Raw = msgspec.Raw(b"null")
    time: int = 0


class _One(msgspec.Struct, rename="camel"):
    clearinghouse_state: msgspec.Raw
    user: str = ""
    dex: str = ""


class _All(msgspec.Struct, rename="camel"):
    clearinghouse_states: list[tuple[str, msgspec.Raw]]
    user: str = ""


_decode_asset = tolerant(_Asset)
_decode_state = tolerant(_State)
_decode_one = tolerant(_One)
_decode_all = tolerant(_All)


class States(msgspec.Struct, frozen=True):
    """What a push tells: positions, when, and what could not be read of them."""

    user: str
    positions: list[PositionUpdate]
    time_ms: int
    odd: list[Odd]


def read_states(channel: str, data: msgspec.Raw, pair: Callable[[str], str], now_ms: int) -> States:
    """Raises what `UNREADABLE` lists."""
    if channel == ALL.type:
        every = _decode_all(data)
        user, states = every.user, [raw for _, raw in every.clearinghouse_states]
    else:
        one = _decode_one(data)
        user, states = one.user, [one.clearinghouse_state]
    positions: list[PositionUpdate] = []
    odd: list[Odd] = []
    latest_ms = 0
    for raw in states:
        state = _decode_state(raw)
        rows, bad = read_rows(state.asset_positions, _decode_asset)
        latest_ms = max(latest_ms, state.time)
        positions += [_update(row.position, pair, state.time or now_ms) for row in rows]
        odd += [bad] if bad else []
    return States(user.lower(), positions, latest_ms or now_ms, odd)


def _update(held: _Position, pair: Callable[[str], str], event_ms: int) -> PositionUpdate:
    size = decimal(held.szi)
    return position(
        pair(held.coin),
        contracts=size,
        quantity=size,
        entry=held.entry_px,
        liquidation=held.liquidation_px,
        leverage=held.leverage.value,
        margin=held.leverage.type,
        pnl=held.unrealized_pnl,
        event_ms=event_ms,
    )
