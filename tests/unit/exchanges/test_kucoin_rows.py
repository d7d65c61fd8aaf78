"""KuCoin's figures and times, what it remembers of fills and client orders, and rows of positions, field by field."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import UNSET

from exchanges._adapter import KnownOrder
from exchanges._positions import Read
from exchanges.events import ExecutionReport, PositionUpdate
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kucoin import _alter, _ledger, _positions, _rows
from exchanges.kucoin._alter import ClientOrders
from exchanges.kucoin._gap_unified import Api
from exchanges.kucoin._ledger import Ledger
from tests.unit.exchanges.driver import json_answer

D = Decimal

# --- times and figures ---


@pytest.mark.parametrize(
    ("told", "ms"),
    [
        (None, 0),
        ("", 0),
        (0, 0),
        ("1793001600000", 1_793_001_600_000),
        (10**14, 10**14),
        (10**14 + 1_234, (10**14 + 1_234) // 1_000),
        (10**17, 10**14),
        (10**17 + 1_999_999, 10**11 + 1),
    ],
)
def test_a_time_is_read_by_its_size(told: int | str | None, ms: int) -> None:
    assert _rows.milliseconds(told) == ms


@pytest.mark.parametrize(
    ("told", "ms"),
    [
        (None, 0),
        ("", 0),
        (1_793_001_600_000, 1_793_001_600_000),
        (10**17, 10**14),
        (10**17 + 499_999, 10**11),
        (10**17 + 500_000, 10**11 + 1),
        ("1793001600000600000", 1_793_001_600_001),
    ],
)
def test_nanoseconds_of_an_event_are_rounded(told: int | str | None, ms: int) -> None:
    assert _rows.rounded_milliseconds(told) == ms


@pytest.mark.parametrize(
    ("value", "text", "positive"),
    [(None, "0", False), ("", "0", False), (0, "0", False), ("0.50", "0.50", True), (1e-7, "0.0000001", True)],
)
def test_a_figure_is_plain_text(value: _rows.Number, text: str, positive: bool) -> None:
    assert D(_rows.text(value)) == D(text)
    assert "e" not in _rows.text(value).lower()
    assert _rows.positive_number(value) is positive


# --- what was filled ---


def test_of_an_order_that_was_never_seen_nothing_was_filled() -> None:
    assert Ledger().totals("o1") == (0, 0)


def test_totals_that_rest_told_replace_the_fills_that_they_contain() -> None:
    ledger = Ledger()
    ledger.fill("o1", "t1", D(100), D(1), D(1))
    ledger.fill("o1", "t2", D(110), D(1), D(2))
    ledger.seed("o1", D(5), D(520))
    assert ledger.totals("o1") == (5, 520)
    ledger.fill("o1", "t3", D(90), D(2), D(7))
    assert ledger.totals("o1") == (7, 700)
    ledger.fill("o1", "t0", D(100), D(1), D(5))
    assert ledger.totals("o1") == (7, 700), "it is one of those that the totals contain"
    ledger.fill("o1", "t3", D(90), D(2), D(9))
    assert ledger.totals("o1") == (7, 700), "told twice"


@pytest.mark.parametrize("size", [1, 2])
def test_totals_that_are_no_newer_than_the_fills_change_nothing(size: int) -> None:
    ledger = Ledger()
    ledger.fill("o1", "t1", D(100), D(2), D(2))
    ledger.seed("o1", D(size), D(1))
    assert ledger.totals("o1") == (2, 200)


def test_a_fill_of_which_nobody_knows_whether_the_totals_contain_it_goes_on_counting() -> None:
    ledger = Ledger()
    ledger.fill("o1", "t1", D(100), D(1))
    ledger.fill("o1", "t2", D(100), D(1), D(4))
    ledger.seed("o1", D(3), D(300))
    assert ledger.totals("o1") == (5, 500), "the second one came after these totals"


def test_the_order_that_was_touched_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ledger, "MAX_ORDERS", 2)
    ledger = Ledger()
    for order_id in ("a", "b"):
        ledger.fill(order_id, "t1", D(100), D(1))
    ledger.fill("a", "t2", D(100), D(1))
    ledger.fill("c", "t1", D(100), D(1))
    assert [ledger.totals(order_id)[0] for order_id in "abc"] == [2, 0, 1]


# --- client orders that go on under another id ---


def report(order_id: str, created: int, size: str, client: str = "c", **more: Any) -> ExecutionReport:
    values: dict[str, Any] = {
        "symbol": "BTC-USDT", "new_client_order_id": client, "original_client_order_id": None, "order_id": order_id,
        "order_status": "PARTIALLY_FILLED", "order_type": "LIMIT", "side": "BUY", "price": "100", "quantity": "20",
        "total_trade_quantity": size, "total_quote_trade_quantity": str(D(size) * 100), "creation_time": created,
        "event_time": 1, "order_time": 1, "unique_message_id": f"m-{order_id}-{size}",
    }  # fmt: skip
    return ExecutionReport(**{**values, **more})


def known(order_id: str, created: int, executed: str, carried: str = "0", **more: Any) -> KnownOrder:
    return KnownOrder(
        order_id=order_id, client_order_id="c", symbol="BTC-USDT", status="PARTIALLY_FILLED", executed=executed,
        executed_quote=str(D(executed) * 100), carried=carried, carried_quote=str(D(carried) * 100),
        creation_time_ms=created, **more,
    )  # fmt: skip


def total(told: ExecutionReport | None) -> tuple[Decimal, Decimal]:
    assert told is not None
    return D(told.total_trade_quantity), D(told.total_quote_trade_quantity)


def test_what_a_client_order_carried_counts_once_beside_the_orders_that_are_known() -> None:
    """a filled 2, b 1, and c said that 5 had been filled before it: 2 of these are nobody's."""
    clients = ClientOrders([known("c", 3, "6", carried="5"), known("a", 1, "2"), known("b", 2, "1")])
    assert total(clients.told(report("c", 3, "2"))) == (7, 700)


def test_an_order_that_ended_is_no_part_of_the_next_one_of_its_client_id() -> None:
    clients = ClientOrders()
    clients.told(report("a", 1, "2", order_status="FILLED"))
    told = report("b", 2, "1")
    assert clients.told(told) is told


@pytest.mark.parametrize("more", [{"client": ""}, {"liquidation": True}])
def test_orders_of_nobody_and_liquidations_are_told_as_they_are(more: dict[str, Any]) -> None:
    clients = ClientOrders()
    clients.told(report("a", 1, "2", client=more.get("client", "c")))
    told = report("b", 2, "1", **more)
    assert clients.told(told) is told
    assert total(clients.told(report("d", 3, "1"))) == ((1, 100) if "client" in more else (3, 300))


def test_an_older_order_that_was_made_after_the_unnamed_ones_counts_beside_them() -> None:
    clients = ClientOrders([known("b", 10, "3", carried="3")])
    clients.told(report("c", 30, "1"))
    assert total(clients.told(report("a", 20, "2"))) == (6, 600)


def test_an_older_order_that_the_unnamed_ones_contain_is_not_counted_again() -> None:
    clients = ClientOrders([known("b", 10, "3", carried="3")])
    clients.told(report("b", 10, "1"))
    assert clients.told(report("a", 5, "2")) is None
    assert total(clients.told(report("b", 10, "2"))) == (5, 500)
    assert total(clients.told(report("a", 5, "4"))) == (7, 700), "more of it than was known"


def test_the_client_id_that_was_told_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_alter, "MAX_CLIENT_IDS", 2)
    clients = ClientOrders()
    for client in ("x", "y"):
        clients.told(report(f"{client}1", 1, "1", client=client))
    clients.told(report("x2", 2, "1", client="x"))
    clients.told(report("z1", 3, "1", client="z"))
    assert total(clients.told(report("x3", 4, "1", client="x"))) == (3, 300)
    assert total(clients.told(report("y2", 4, "1", client="y"))) == (1, 100)


# --- positions ---

TABLE = SymbolTable(
    [Instrument(wire="XBTUSDTM", pair="BTCUSDT", base="BTC", quote="USDT", settle="USDT", kind="linear",
                contract_size="0.001")]
)  # fmt: skip
READER = _positions.Reader("kucoinLinear", {"XBTUSDTM": "BTCUSDT"}.get, lambda: TABLE)
WHOLE = {
    "symbol": "XBTUSDTM", "currentQty": -500, "avgEntryPrice": "91000", "markPrice": 91250.5, "liquidationPrice": "120000",
    "leverage": 10, "marginMode": "ISOLATED", "positionSide": "SHORT", "unrealisedPnl": "-125.25",
    "currentTimestamp": 1_793_001_600_000,
}  # fmt: skip


def read(*rows: object, unified: bool = False) -> Read:
    answer = json_answer({"code": "200000", "data": list(rows)})
    return (READER.read_unified if unified else READER.read)(answer, 7)


def one(**fields: object) -> PositionUpdate:
    (told,) = read({"symbol": "XBTUSDTM", "currentQty": 1, **fields}).positions
    return told


def test_a_position_of_kucoin_is_read_whole() -> None:
    answered = read(WHOLE)
    (told,) = answered.positions
    assert (told.symbol, told.position_side, told.contracts, told.quantity) == ("BTCUSDT", "SHORT", "-500", "-0.5")
    assert (told.entry_price, told.mark_price, told.liquidation_price) == ("91000", "91250.5", "120000")
    assert (told.leverage, told.unrealized_pnl, told.margin_type) == ("10", "-125.25", "isolated")
    assert (told.update_time, told.event_time, answered.time_ms) == (1_793_001_600_000, 1_793_001_600_000, 7)
    assert (answered.failed, answered.notes) == ("", [])


@pytest.mark.parametrize(
    ("fields", "margin"),
    [
        ({"crossMode": True}, "cross"),
        ({"crossMode": False}, "isolated"),
        ({"crossMode": True, "marginMode": "ISOLATED"}, "isolated"),
    ],
)
def test_how_a_position_is_margined_is_told_in_either_way(fields: dict[str, object], margin: str) -> None:
    assert one(**fields).margin_type == margin


def test_a_position_without_its_margin_side_and_time_tells_none() -> None:
    told = one()
    assert (told.margin_type, told.position_side, told.update_time, told.event_time) == (UNSET, "BOTH", UNSET, 7)


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        (10**15, 10**15),
        (10**15 + 1, 10**9),
        ("1793001600000000000", 1_793_001_600_000),
        (1_793_001_600_000, 1_793_001_600_000),
    ],
)
def test_the_time_of_a_position_may_be_in_nanoseconds(time: int | str, ms: int) -> None:
    assert one(currentTimestamp=time).update_time == ms


@pytest.mark.parametrize(
    "row", [{"symbol": "XBTUSDTM"}, {"symbol": "XBTUSDTM", "currentQty": ""}, {"symbol": "ETHUSDTM", "currentQty": 1}]
)
def test_a_row_without_a_size_or_of_another_family_is_no_position(row: dict[str, object]) -> None:
    answered = read(row)
    assert (list(answered.positions), answered.failed, answered.notes) == ([], "", [])


def test_a_row_of_a_unified_account_says_its_size_in_another_field() -> None:
    (told,) = read({"symbol": "XBTUSDTM", "size": "2", "entryPrice": "5", "unrealizedPnL": "6"}, unified=True).positions
    assert (told.contracts, told.entry_price, told.unrealized_pnl) == ("2", "5", "6")


@pytest.mark.parametrize(("count", "notes"), [(49, []), (50, ["the list of positions may have further pages"])])
def test_a_long_list_of_a_unified_account_may_not_be_all_of_it(count: int, notes: list[str]) -> None:
    answered = read(*[{"symbol": "XBTUSDTM", "size": "1"}] * count, unified=True)
    assert (len(answered.positions), list(answered.notes)) == (count, notes)
    assert not read(*[{"symbol": "XBTUSDTM", "size": "1"}] * count).notes


def test_answers_that_are_no_list_of_positions_have_failed_and_odd_rows_are_named() -> None:
    assert READER.read(json_answer({"code": "200000", "data": {"rows": 3}}), 7).failed
    assert READER.read(json_answer({"code": "400100", "msg": "no"}, 200), 7).failed == "400100 no"
    answered = read(WHOLE, "odd")
    assert len(answered.positions) == 1
    (note,) = answered.notes
    assert "positions" in note
    assert not answered.failed


def test_the_questions_for_positions_weigh_what_the_venue_counts() -> None:
    classic, unified = _positions.classic_call("kucoinLinear"), _positions.unified_call(Api(2))
    assert (classic.tag, classic.method, classic.weight, classic.pool) == ("positions", "GET", 2, "futures")
    assert (unified.tag, unified.method, unified.weight, unified.pool) == ("positions", "GET", 3, "unified")
