"""Rows of positions of Bybit and OKX, field by field, and answers that cannot be read."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from exchanges._adapter import Answer, Call
from exchanges._positions import Read
from exchanges.bybit import _positions as bybit
from exchanges.events import PositionUpdate
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.okx import _positions as okx
from tests.unit.exchanges import test_bybit, test_okx
from tests.unit.exchanges.driver import params, path

WALL = test_bybit.WALL


def sizes(told: PositionUpdate) -> tuple[object, object]:
    return told.contracts, told.quantity


# --- Bybit ---


def held(size: str = "0.5", **fields: object) -> dict[str, object]:
    return {"symbol": "BTCUSDT", "size": size, **fields}


def read(answer: Answer, category: str = "linear", mode: str = "REGULAR_MARGIN", call: Call | None = None) -> Read:
    asked = call or bybit.position_calls("https://h", category, "u1")[0]
    return bybit.read_positions(asked, answer, "https://h", category, mode)


def page(*rows: object, **fields: object) -> Answer:
    return test_bybit.answer({"list": list(rows), **fields})


@pytest.mark.parametrize(
    ("category", "coins"), [("linear", ["USDT", "USDC"]), ("inverse", [None]), ("spot", []), ("option", [])]
)
def test_bybit_is_asked_for_the_positions_of_each_coin(category: str, coins: list[str | None]) -> None:
    calls = bybit.position_calls("https://h", category, "u1")
    assert [params(call).get("settleCoin") for call in calls] == coins
    for call in calls:
        assert (call.tag, call.method, call.stream_id, path(call)) == ("positions", "GET", "u1", "/v5/position/list")
        assert (params(call)["category"], params(call)["limit"]) == (category, "200")
        assert "cursor" not in params(call)


def test_a_position_of_bybit_is_read_whole() -> None:
    row = held(side="Sell", positionIdx=2, tradeMode=0, avgPrice="91000", leverage="10", markPrice="91250.5",
               liqPrice="120000", unrealisedPnl="-125.25", updatedTime="7")  # fmt: skip
    answered = read(page(row))
    (told,) = answered.positions
    assert (told.symbol, told.position_side, *sizes(told)) == ("BTCUSDT", "SHORT", "-0.5", "-0.5")
    assert (told.entry_price, told.mark_price, told.liquidation_price) == ("91000", "91250.5", "120000")
    assert (told.leverage, told.unrealized_pnl, told.margin_type) == ("10", "-125.25", "cross")
    assert (told.update_time, told.event_time, answered.time_ms) == (7, WALL, WALL)
    assert (answered.failed, answered.calls, answered.notes) == ("", (), ())


@pytest.mark.parametrize(("index", "side"), [(0, "BOTH"), (1, "LONG"), (2, "SHORT")])
def test_the_side_of_a_position_of_bybit_is_its_place(index: int, side: str) -> None:
    (told,) = read(page(held(positionIdx=index, side="Buy"))).positions
    assert (told.position_side, told.contracts) == (side, "0.5")


@pytest.mark.parametrize("time", ["", "soon"])
def test_a_position_of_bybit_without_a_time_has_none(time: str) -> None:
    (told,) = read(page(held(updatedTime=time))).positions
    assert (told.update_time, told.entry_price) == (UNSET, UNSET)


@pytest.mark.parametrize(
    ("own", "account", "told"),
    [(0, "REGULAR_MARGIN", "cross"), (1, "REGULAR_MARGIN", "isolated"), (0, "ISOLATED_MARGIN", "isolated"),
     (2, "PORTFOLIO_MARGIN", "cross")],
)  # fmt: skip
def test_a_position_of_bybit_is_isolated_by_itself_or_with_its_account(own: int, account: str, told: str) -> None:
    (position,) = read(page(held(tradeMode=own)), mode=account).positions
    assert position.margin_type == told


@pytest.mark.parametrize(
    ("side", "value", "quantity"), [("Sell", "0.002", "-0.002"), ("Buy", "0.002", "0.002"), ("Buy", "", "0.01")]
)
def test_inverse_positions_of_bybit_are_told_in_coins(side: str, value: str, quantity: str) -> None:
    row = held("500", side=side, avgPrice="50000", positionValue=value)
    (inverse,) = read(page(row), "inverse").positions
    assert sizes(inverse) == ("-500" if side == "Sell" else "500", quantity)
    (linear,) = read(page(row)).positions
    assert linear.quantity == linear.contracts, "its value is money"


def test_a_frame_of_bybit_has_an_entry_price_of_its_own() -> None:
    row = bybit.Held(symbol="BTCUSDT", size="1", entry_price="91000", avg_price="1")
    told = bybit.position_update(row, "linear", "", 9)
    assert (told.entry_price, told.event_time) == ("91000", 9)


@pytest.mark.parametrize(("rows", "further"), [([held()], True), ([7], True), ([], False)])
def test_pages_of_bybit_are_read_until_one_is_empty(rows: list[object], further: bool) -> None:
    first = bybit.position_calls("https://h", "linear", "u1")[1]
    calls = read(page(*rows, nextPageCursor="c2"), call=first).calls
    assert [(params(call)["settleCoin"], params(call)["cursor"], call.stream_id) for call in calls] == [
        ("USDC", "c2", "u1")
    ] * further
    assert read(page(*rows, nextPageCursor=None)).calls == ()


def test_an_odd_position_of_bybit_is_noted() -> None:
    answered = read(page(7, held()))
    assert [told.symbol for told in answered.positions] == ["BTCUSDT"]
    assert [note.split(" that")[0] for note in answered.notes] == ["1 positions"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (test_bybit.answer({"list": []}, 10016, "busy"), "10016 busy"),
        (Answer(200, {}, b"<html>"), "HTTP 200 without a readable body"),
        (test_bybit.answer({"list": {}}), "Expected `array`, got `object`"),
        (test_bybit.answer([]), "Expected `object`, got `array`"),
    ],
)
def test_an_answer_of_bybit_that_cannot_be_used_says_why(answer: Answer, reason: str) -> None:
    answered = read(answer)
    assert answered.failed == reason
    assert answered.positions == ()


# --- OKX ---

CONTRACTS = SymbolTable(
    [
        Instrument(wire="BTC-USDT-SWAP", pair="BTCUSDT", base="BTC", quote="USDT", kind="linear", contract_size="0.01"),
        Instrument(wire="BTC-USD-SWAP", pair="BTCUSD", base="BTC", quote="USD", kind="inverse", contract_size="100"),
    ]
)


def of_okx(pos: str = "5", inst_id: str = "BTC-USDT-SWAP", **fields: object) -> dict[str, object]:
    return {"instId": inst_id, "instType": "SWAP", "pos": pos, **fields}


def read_okx(*rows: object, exchange: str = "okxLinear", table: SymbolTable = CONTRACTS) -> Read:
    return okx.read_positions(test_okx.answer(list(rows)), exchange, table, WALL)


def test_okx_is_asked_for_the_positions_of_each_kind_of_contract() -> None:
    calls = okx.position_calls("https://h", ("SPOT", "SWAP", "FUTURES"), "u1")
    assert [(call.tag, call.method, call.stream_id, path(call), params(call)) for call in calls] == [
        ("positions", "GET", "u1", "/api/v5/account/positions", {"instType": kind}) for kind in ("SWAP", "FUTURES")
    ]


def test_a_position_of_okx_is_read_whole() -> None:
    row = of_okx("-5", posSide="net", mgnMode="isolated", avgPx="91000", markPx="91250.5", liqPx="120000", lever="10",
                 upl="-1.25", uTime="7", pTime="8")  # fmt: skip
    answered = read_okx(row)
    (told,) = answered.positions
    assert (told.symbol, told.position_side, *sizes(told)) == ("BTC-USDT-SWAP", "BOTH", "-5", "-0.05")
    assert (told.entry_price, told.mark_price, told.liquidation_price) == ("91000", "91250.5", "120000")
    assert (told.leverage, told.unrealized_pnl, told.margin_type) == ("10", "-1.25", "isolated")
    assert (told.update_time, told.event_time, answered.time_ms) == (7, 8, WALL)
    assert (answered.failed, answered.notes) == ("", ())


@pytest.mark.parametrize(
    ("side", "pos", "told"),
    [("long", "5", ("LONG", "5")), ("short", "5", ("SHORT", "-5")), ("short", "-5", ("SHORT", "-5")),
     ("net", "-5", ("BOTH", "-5")), ("net", "5", ("BOTH", "5"))],
)  # fmt: skip
def test_positions_of_okx_are_signed_by_their_side_in_hedge_mode(side: str, pos: str, told: tuple[str, str]) -> None:
    (position,) = read_okx(of_okx(pos, posSide=side)).positions
    assert (position.position_side, position.contracts) == told


@pytest.mark.parametrize(
    ("times", "update", "event"),
    [
        ({}, UNSET, WALL),
        ({"uTime": "7"}, 7, WALL),
        ({"uTime": "", "pTime": "8"}, UNSET, 8),
        ({"pTime": "x"}, UNSET, WALL),
    ],
)
def test_a_position_of_okx_without_a_time_is_told_at_that_of_the_venue(
    times: dict[str, str], update: object, event: int
) -> None:
    (told,) = read_okx(of_okx(**times)).positions
    assert (told.update_time, told.event_time) == (update, event)


def test_a_frame_of_okx_without_a_time_is_told_at_that_of_its_change() -> None:
    told = okx.position_update(okx.Held(inst_id="BTC-USDT-SWAP", pos="1", u_time="7"), CONTRACTS)
    assert (told.update_time, told.event_time) == (7, 7)


@pytest.mark.parametrize(("table", "quantity"), [(CONTRACTS, "0.01"), (EMPTY, UNSET)])
def test_inverse_positions_of_okx_are_told_in_coins_where_their_size_is_known(
    table: SymbolTable, quantity: object
) -> None:
    row = of_okx("5", "BTC-USD-SWAP", avgPx="50000")
    (told,) = read_okx(row, exchange="okxInverse", table=table).positions
    assert sizes(told) == ("5", quantity)
    assert read_okx(row).positions == [], "another exchange id"


def test_an_odd_position_of_okx_is_noted() -> None:
    answered = read_okx(7, of_okx())
    assert [told.symbol for told in answered.positions] == ["BTC-USDT-SWAP"]
    assert [note.split(" that")[0] for note in answered.notes] == ["1 positions"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (test_okx.answer([], "50001", "busy"), "50001 busy"),
        (Answer(200, {}, b"<html>"), "HTTP 200 without a usable body"),
        (test_okx.answer({}), "Expected `array`, got `object`"),
    ],
)
def test_an_answer_of_okx_that_cannot_be_used_says_why(answer: Answer, reason: str) -> None:
    answered = okx.read_positions(answer, "okxLinear", CONTRACTS, WALL)
    assert answered.failed == reason
    assert answered.positions == ()
