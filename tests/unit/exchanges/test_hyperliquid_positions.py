"""Hyperliquid's positions: each push is the whole of an account, with the venue's time or without one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exchanges._adapter import Emit, Note, Output, Resume, Seen
from exchanges.events import PositionUpdate
from exchanges.hyperliquid._positions import read_states
from tests.unit.exchanges.driver import frame, of, only
from tests.unit.exchanges.test_hyperliquid import USER, WALL, Drive, account, live

MOMENT = WALL - 7_000
"""When the venue says that a state was."""


def held(coin: str = "BTC", size: str = "-0.5", **changes: object) -> dict[str, Any]:
    fields = {"coin": coin, "szi": size, "entryPx": "91250.0", "unrealizedPnl": "1.5", "liquidationPx": None,
              "leverage": {"type": "cross", "value": 20}, **changes}  # fmt: skip
    return {"type": "oneWay", "position": fields}


def state(*rows: object, **changes: object) -> dict[str, Any]:
    return {"assetPositions": list(rows), "time": MOMENT, **changes}


def told(drive: Drive, *states: dict[str, Any], user: str = USER) -> list[Output]:
    """The push of all dexes."""
    return drive.feed("allDexsClearinghouseState", {"user": user, "clearinghouseStates": [["", one] for one in states]})


def positions(outputs: list[Output]) -> list[PositionUpdate]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, PositionUpdate)]


def holding() -> Drive:
    """An account whose consumers know of a position in BTC."""
    return live(account(Resume(since_ms=WALL, holds=(("BTC-USDC", "BOTH"),))))


def test_a_position_is_told_with_the_time_of_its_dex() -> None:
    (one,) = positions(told(live(), state(held()), state(time=MOMENT + 5)))
    assert (one.symbol, one.contracts, one.quantity, one.entry_price) == ("BTC-USDC", "-0.5", "-0.5", "91250")
    assert (one.leverage, one.margin_type, one.unrealized_pnl) == ("20", "cross", "1.5")
    assert (one.event_time, one.snapshot) == (MOMENT, True)


@pytest.mark.parametrize("without", [state(held(), time=0), {"assetPositions": [held()]}])
def test_a_position_without_a_time_is_of_now(without: dict[str, Any]) -> None:
    assert [one.event_time for one in positions(told(live(), without))] == [WALL]


@pytest.mark.parametrize(
    ("states", "moment"),
    [
        ([], WALL),
        ([state(time=0)], WALL),
        ([{"assetPositions": None}], WALL),
        ([state()], MOMENT),
        ([state(time=MOMENT + 5), state()], MOMENT + 5),
        ([state(), state(time=MOMENT + 5)], MOMENT + 5),
    ],
)
def test_a_position_that_is_gone_is_closed_at_the_latest_time_that_is_told(
    states: list[dict[str, Any]], moment: int
) -> None:
    (one,) = positions(told(holding(), *states))
    assert (one.symbol, one.quantity, one.event_time) == ("BTC-USDC", "0", moment)


def test_a_push_with_an_unreadable_position_closes_none() -> None:
    outputs = told(holding(), state(7), state(held("xyz:TSLA", "2"), 8))
    assert [(one.symbol, one.quantity) for one in positions(outputs)] == [("xyz:TSLA-USDC", "2")]
    assert [(note.level, note.what.startswith("1 positions")) for note in of(Note, outputs)] == [("error", True)] * 2


def test_a_push_of_the_native_dex_alone_is_read_as_well() -> None:
    outputs = live().feed("clearinghouseState", {"dex": "", "user": USER, "clearinghouseState": state(held())})
    assert [(one.symbol, one.quantity, one.event_time) for one in positions(outputs)] == [("BTC-USDC", "-0.5", MOMENT)]


@pytest.mark.parametrize("channel", ["clearinghouseState", "allDexsClearinghouseState"])
def test_a_push_without_an_address_is_this_accounts_and_one_of_another_is_not(channel: str) -> None:
    data = {"clearinghouseState": state(held()), "clearinghouseStates": [["", state(held())]]}
    assert live().feed(channel, {**data, "user": f"0x{1:040x}"}) == []
    for same in ({}, {"user": ""}, {"user": USER.upper().replace("X", "x")}):
        outputs = live().feed(channel, {**data, **same})
        assert len(positions(outputs)) == 1
        assert only(Seen, outputs).stream_id == "u1"


@pytest.mark.parametrize("data", [None, 7, {}, {"clearinghouseStates": [["", 7]]}, {"clearinghouseStates": [[""]]}])
def test_a_push_that_cannot_be_read_costs_itself(data: object) -> None:
    drive = holding()
    assert only(Note, drive.feed("allDexsClearinghouseState", data)).level == "error"
    assert len(positions(told(drive, state(held())))) == 1


def test_what_could_not_be_read_is_told_of_each_dex() -> None:
    data = msgspec.Raw(frame({"user": USER.upper(), "clearinghouseStates": [["", state(7, held())], ["xyz", state()]]}))
    states = read_states("allDexsClearinghouseState", data, lambda coin: f"{coin}!", WALL)
    assert (states.user, states.time_ms, len(states.odd)) == (USER, MOMENT, 1)
    assert [one.symbol for one in states.positions] == ["BTC!"]
