"""Bitget's v3: unified accounts, inverse perpetuals in contracts, and the second public socket."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    GapReport,
    Instant,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    TickerSubscription,
)
from exchanges.bitget import VENUE
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from simulator import controls
from tests.unit.exchanges import driver
from tests.unit.exchanges.driver import of, params, path
from tests.unit.exchanges.pair import Pair, Seat, assert_booked
from tests.unit.exchanges.test_bitget import OK, OTHER, WALL, Driver, args_of, settings, subscription

DAY = 86_400_000
COINM = SymbolTable(
    [
        Instrument(wire="BTCUSDZ26", pair="BTCUSDZ26", base="BTC", kind="COIN-FUTURES"),
        Instrument(wire="BTCUSD_CM", pair="BTCUSD", base="BTC", kind="COIN-FUTURES", extra={"line": "v3"}),
    ]
)
SPOT = SymbolTable(
    [
        Instrument(wire="BTCUSDT", pair="BTCUSDT", kind="SPOT"),
        Instrument(wire="RAAPLUSDT", pair="RAAPLUSDT", kind="SPOT", extra={"reality": "yes"}),
    ]
)
V2, V3 = "wss://ws.bitget.com/v2/ws/public", "wss://ws.bitget.com/v3/ws/public"


class Room:
    """A unified account on its private connection."""

    def __init__(
        self,
        exchange: str = "bitgetCoinm",
        resume: Resume | None = None,
        table: SymbolTable = COINM,
        unified: bool = True,
    ) -> None:
        self.driver = Driver(VENUE.user, exchange, table)
        self.driver.add(subscription(exchange, resume))
        (call,) = of(Call, self.driver.start())
        self.driver.answer(call, settings("unified") if unified else OK)
        self.driver.connected()
        self.outputs = self.driver.ack(self.driver.frame({"event": "login", "code": 0}))

    def push(self, *rows: Mapping[str, object], topic: str = "order") -> list[Output]:
        arg = {"instType": "UTA", "topic": topic}
        return self.driver.frame({"action": "snapshot", "arg": arg, "data": list(rows), "ts": WALL})

    def told(self, *rows: Mapping[str, object]) -> list[ExecutionReport]:
        return reports(self.push(*rows))

    def wake(self, seconds: float) -> list[Output]:
        self.driver.mono += seconds
        return list(self.driver.adapter.woken(self.driver.now))


def reports(outputs: list[Output]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def contract(status: str = "partially_filled", **fields: object) -> dict[str, object]:
    """800 contracts of 1 USD at 80,000: 0.01 BTC."""
    row: dict[str, object] = {
        "category": "coin-futures",
        "symbol": "BTCUSD_CM",
        "orderId": "7",
        "clientOid": "D-BO-7",
        "orderType": "limit",
        "side": "buy",
        "price": "80000",
        "qty": "800",
        "cumExecQty": "800",
        "cumExecValue": "800",
        "avgPrice": "80000",
        "orderStatus": status,
        "feeDetail": [{"feeCoin": "BTC", "fee": "0.000006"}],
        "createdTime": str(WALL),
        "updatedTime": str(WALL + 1),
    }
    return row | fields


def sizes(report: ExecutionReport) -> tuple[str, float, float, float, float]:
    return (
        report.symbol,
        float(report.quantity),
        float(report.total_trade_quantity),
        float(report.total_quote_trade_quantity),
        float(report.price),
    )


# --- inverse perpetuals: contracts ---


def test_an_order_of_0_01_btc_is_not_told_as_800_btc() -> None:
    (report,) = Room().told(contract("filled"))
    assert sizes(report) == ("BTCUSD", 0.01, 0.01, 800.0, 80_000.0)
    assert (report.fee_paid, report.fee_asset) == ("0.000006", "BTC")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cumExecValue": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),  # the value in coins
        ({"qty": "0.01", "cumExecQty": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),  # all of it in coins
        ({"cumExecQty": "0", "cumExecValue": "0", "avgPrice": "0"}, ("BTCUSD", 0.01, 0, 0, 80_000)),
        ({"qty": "0.01", "cumExecQty": "0", "cumExecValue": "0"}, ("BTCUSD", 0.01, 0, 0, 80_000)),
        ({"cumExecQty": "0", "cumExecValue": "", "avgPrice": "", "price": ""}, ("BTCUSD", 0, 0, 0, 0)),
        ({"avgPrice": ""}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),  # the limit price
        ({"avgPrice": "", "cumExecValue": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),  # out of the value
        ({"avgPrice": "", "qty": "0.01", "cumExecQty": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),
        ({"avgPrice": "", "price": "", "cumExecValue": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),
        ({"avgPrice": "", "price": "", "qty": "0.01", "cumExecQty": "0.01"}, ("BTCUSD", 0.01, 0.01, 800, 80_000)),
        ({"symbol": "BTCUSDZ26", "qty": "0.01", "cumExecQty": "0.01"}, ("BTCUSDZ26", 0.01, 0.01, 800, 80_000)),
    ],
)
def test_the_unit_of_a_row_is_told_by_its_figures(fields: dict[str, str], expected: tuple[object, ...]) -> None:
    (report,) = Room().told(contract(**fields))
    assert sizes(report) == expected


def test_the_unit_that_a_fill_has_shown_stays_with_the_order() -> None:
    """100 XRP at 0.5, told in coins: whole figures without a value would pass for contracts."""
    room = Room(table=EMPTY)
    coins = {"symbol": "XRPUSD_CM", "price": "0.5", "qty": "100", "avgPrice": "0.5"}
    (first,) = room.told(contract(**coins, cumExecQty="50", cumExecValue="25"))
    assert sizes(first) == ("XRPUSD", 100, 50, 25, 0.5)
    (second,) = room.told(contract("filled", **coins, cumExecQty="100", cumExecValue=""))
    assert sizes(second) == ("XRPUSD", 100, 100, 50, 0.5)


def test_a_cancelled_order_keeps_the_average_of_its_fills() -> None:
    room = Room()
    room.push(contract(avgPrice="79000", cumExecQty="400", cumExecValue="400"))
    (report,) = room.told(contract("cancelled", avgPrice="", cumExecQty="400", cumExecValue="400"))
    assert float(report.price) == 79_000
    assert float(report.total_trade_quantity) == pytest.approx(400 / 79_000)


def test_an_order_whose_unit_cannot_be_told_is_asked_for_and_not_published() -> None:
    room = Room()
    blind = {"price": "", "avgPrice": "", "orderType": "market"}
    outputs = room.push(contract("filled", **blind))
    assert not of(Emit, outputs)
    assert of(Note, outputs)
    (call,) = of(Call, outputs)
    assert (path(call), params(call)) == ("/api/v3/trade/order-info", {"orderId": "7"})
    answer = {"code": "00000", "data": contract("filled", orderType="market", price="")}
    (report,) = reports(room.driver.answer(call, answer))
    assert sizes(report) == ("BTCUSD", 0.01, 0.01, 800, 80_000)


def test_contracts_that_filled_in_a_gap_are_told_in_coins() -> None:
    known = KnownOrder(order_id="7", client_order_id="D-BO-7", symbol="BTCUSD", status="NEW", quantity="0.01")
    room = Room(resume=Resume(since_ms=WALL - 60_000, orders=(known,)))
    outputs: list[Output] = []
    for call in of(Call, room.outputs):
        rows = [contract("filled", execType="normal")] if call.tag == "closed orders" else []
        outputs += room.driver.answer(call, {"code": "00000", "data": {"list": rows, "assets": []}})
    (report,) = reports(outputs)
    assert sizes(report) == ("BTCUSD", 0.01, 0.01, 800, 80_000)


@pytest.mark.parametrize("units", ["contracts", "coins", "base"])
def test_whatever_the_venue_counts_in_the_books_agree(units: str) -> None:
    pair = Pair(Seat("bitgetCoinm", "unified"))
    pair.fault("play", venue="bitget", params={"what": "units", "units": units})
    pair.joined()
    order = pair.place("DBO1", 800)
    pair.fill(order, 300)
    pair.until(lambda: pair.status("DBO1") == "PARTIALLY_FILLED")
    pair.drop()
    pair.fill(order, 200)
    pair.again()
    pair.fill(order)
    pair.until(lambda: pair.status("DBO1") == "FILLED")
    assert_booked(pair, "DBO1", order)


# --- rows ---


def test_an_odd_fee_costs_no_fill() -> None:
    room = Room()
    for number, detail in enumerate((None, [], [{"feeCoin": None, "fee": None}], [{"feeCoin": "", "fee": ""}], "x", 5)):
        (report,) = room.told(contract("filled", orderId=str(number), feeDetail=detail))
        assert not report.fee_paid


def test_orders_of_other_markets_are_not_told() -> None:
    rows = [contract(category=name, orderId=name) for name in ("spot", "usdt-futures", "coin-futures", "margin")]
    assert [report.order_id for report in Room().told(*rows)] == ["coin-futures"]
    assert [report.order_id for report in Room("bitget", table=SPOT).told(*rows)] == ["spot"]


@pytest.mark.parametrize(
    ("fields", "flagged"),
    [
        ({"execType": "liquidation"}, True),
        ({"execType": "reduce"}, True),
        ({"execType": "offset"}, True),
        ({"delegateType": "liquidation"}, True),
        ({"delegateType": "liquidation_take_over_long", "reduceOnly": "yes"}, True),
        ({"delegateType": "liquidation_take_over_short", "tradeSide": "close"}, True),
        ({"tradeSide": "burst_close_long"}, True),
        ({"execType": "normal", "delegateType": "market_risk"}, False),
        ({"execType": "delivery", "delegateType": "delivery_close_long"}, False),
        ({"delegateType": "normal"}, False),
        ({"delegateType": "off_close"}, False),
        ({"delegateType": "strategy_grid"}, False),
        ({"delegateType": "mmr_stop_loss_market", "clientOid": ""}, False),
    ],
)
def test_forced_orders_are_flagged_and_ordinary_ones_are_not(fields: dict[str, str], flagged: bool) -> None:
    (report,) = Room().told(contract("filled", **fields))
    assert (report.liquidation is True) is flagged


@pytest.mark.parametrize(
    "fields",
    [
        {"delegateType": "market_risk"},
        {"delegateType": "reduce_offset_delegate"},
        {"delegateType": "liquidation_take_over_long"},
        {"delegateType": "a_new_word", "clientOid": ""},
    ],
)
def test_a_fill_that_may_be_forced_is_asked_for_before_it_is_told(fields: dict[str, str]) -> None:
    room = Room()
    outputs = room.push(contract("filled", **fields))
    assert not of(Emit, outputs)
    (call,) = of(Call, outputs)
    row = contract("filled", **(fields | {"execType": "liquidation"}))
    (report,) = reports(room.driver.answer(call, {"code": "00000", "data": row}))
    assert report.liquidation is True


@pytest.mark.parametrize("reply", [None, {"code": "40109", "msg": "not found"}, {"code": "45001", "msg": "busy"}])
def test_a_fill_that_may_be_forced_is_told_unflagged_when_nobody_answers(reply: object) -> None:
    room = Room()
    (call,) = of(Call, room.push(contract("filled", delegateType="market_risk")))
    outputs = room.wake(2.0) if reply is None else room.driver.answer(call, reply)
    (report,) = reports(outputs)
    assert report.liquidation is not True
    assert of(Note, outputs)
    assert not reports(room.wake(10.0))


def test_a_state_that_no_page_lists_is_asked_for_after_two_seconds() -> None:
    room = Room()
    outputs = room.push(contract("reject"))
    assert of(Note, outputs)
    assert not of(Emit, outputs)
    assert not of(Call, outputs)
    assert not of(Call, room.push(contract("reject")))
    (call,) = of(Call, room.wake(2.0))
    (report,) = reports(room.driver.answer(call, {"code": "00000", "data": contract("cancelled")}))
    assert report.order_status == "CANCELED"
    room.push(contract("reject", orderId="8"))
    asked, notes = 0, 0
    for _ in range(10):
        outputs = room.wake(2.0)
        for call in of(Call, outputs):
            if call.tag == "positions":
                continue
            asked += 1
            outputs += room.driver.answer(call, {"code": "45001", "msg": "busy"})
        notes += len([note for note in of(Note, outputs) if "positions" not in note.what])
    assert (asked, notes) == (3, 1), "it is not asked for without end, and the end is told"


def test_a_classic_state_that_no_page_lists_is_asked_for_as_well() -> None:
    room = Room("bitgetUsdm", table=EMPTY, unified=False)
    arg = {"instType": "USDT-FUTURES", "channel": "orders", "instId": "default"}
    row = {"instId": "BTCUSDT", "orderId": "9", "status": "melting", "side": "buy", "uTime": str(WALL)}
    room.driver.frame({"action": "snapshot", "arg": arg, "data": [row], "ts": WALL})
    (call,) = of(Call, room.wake(2.0))
    assert path(call) == "/api/v2/mix/order/detail"
    state = {"symbol": "BTCUSDT", "orderId": "9", "state": "canceled", "side": "buy", "size": "1", "price": "5"}
    (report,) = reports(room.driver.answer(call, {"code": "00000", "data": state}))
    assert report.order_status == "CANCELED"


def test_a_side_that_contradicts_the_position_is_told() -> None:
    outputs = Room().push(contract("filled", side="buy", holdSide="long", tradeSide="close"))
    assert reports(outputs)[0].side == "SELL"
    assert "contradicts" in of(Note, outputs)[0].what
    outputs = Room().push(contract("filled", side="sell", posSide="long", tradeSide="close"))
    assert reports(outputs)[0].side == "SELL"
    assert not of(Note, outputs)


@pytest.mark.parametrize(
    ("coin", "free", "locked"),
    [
        ({"equity": "1", "balance": "0.119", "available": "0", "locked": "0.785"}, "0", "1"),
        ({"balance": "0.5", "available": "0.2"}, "0.2", "0.3"),
        ({"equity": "0.1", "available": "0.2", "locked": "5"}, "0.2", "0"),
        ({"locked": "0.7"}, "0", "0.7"),
        ({"equity": "", "balance": "", "available": "0.2", "locked": "0.4"}, "0.2", "0.4"),
    ],
)
def test_what_is_locked_in_a_unified_wallet_is_equity_less_available(
    coin: dict[str, str], free: str, locked: str
) -> None:
    (emit,) = of(
        Emit, Room().push({"coin": [{"coin": "BTC", **coin}, {"coin": "USDT", "equity": "9"}]}, topic="account")
    )
    assert isinstance(emit.event, AccountPosition)
    assert [(row.asset, row.free, row.locked) for row in emit.event.balances] == [("BTC", free, locked)]


def test_coins_of_another_market_are_no_balances_of_this_one() -> None:
    rows = {"coin": [{"coin": name, "equity": "1", "available": "1"} for name in ("BTC", "DOGE", "USDT", "USDC")]}
    for exchange, table, expected in (
        ("bitget", SPOT, ["BTC", "DOGE", "USDT", "USDC"]),
        ("bitgetUsdm", EMPTY, ["USDT", "USDC"]),
        ("bitgetCoinm", COINM, ["BTC"]),
        ("bitgetCoinm", EMPTY, ["BTC", "DOGE"]),
    ):
        (emit,) = of(Emit, Room(exchange, table=table).push(rows, topic="account"))
        assert isinstance(emit.event, AccountPosition)
        assert [row.asset for row in emit.event.balances] == expected
    assert not of(Emit, Room().push({"coin": [{"coin": "USDT", "equity": "1"}]}, topic="account"))


# --- gap repair ---


def gap(outputs: list[Output]) -> GapReport:
    (live,) = of(Live, outputs)
    assert live.gap is not None
    return live.gap


def emptied(room: Room, outputs: list[Output]) -> list[Output]:
    return [o for call in of(Call, outputs) for o in room.driver.answer(call, {"code": "00000", "data": {"list": []}})]


def test_a_long_gap_is_read_in_windows_of_thirty_days() -> None:
    room = Room(resume=Resume(since_ms=WALL - 70 * DAY))
    windows = [params(call) for call in of(Call, room.outputs) if call.tag == "closed orders"]
    spans = [(int(window["startTime"]), int(window["endTime"])) for window in windows]
    assert len(spans) == 3
    assert all(end - start <= 30 * DAY for start, end in spans)
    assert spans[0][0] == WALL - 70 * DAY
    assert spans[-1][1] > WALL
    assert [end for _, end in spans[:-1]] == [start for start, _ in spans[1:]]
    assert not gap(emptied(room, room.outputs)).missing


@pytest.mark.parametrize("unified", [True, False])
def test_what_the_venue_has_forgotten_is_named(unified: bool) -> None:
    room = Room("bitget", Resume(since_ms=WALL - 200 * DAY), SPOT, unified)
    starts = [int(params(call)["startTime"]) for call in of(Call, room.outputs) if call.tag == "closed orders"]
    assert min(starts) > WALL - 90 * DAY
    outputs = [
        o
        for call in of(Call, room.outputs)
        for o in room.driver.answer(call, {"code": "00000", "data": {} if unified else []})
    ]
    assert "closed orders older than 90 days" in gap(outputs).missing


def test_rows_that_a_gap_cannot_read_are_named_and_cost_no_other_row() -> None:
    known = tuple(
        KnownOrder(order_id=n, client_order_id=n, symbol="BTCUSD", status="NEW") for n in ("1", "2", "3", "4")
    )
    room = Room(resume=Resume(since_ms=WALL - 60_000, orders=known))
    rows = [
        {"orderId": None},
        contract("filled", orderId="1", execType="normal"),
        contract("melting", orderId="2"),
        contract("filled", orderId="3", updatedTime="soon"),
    ]
    outputs: list[Output] = []
    for call in of(Call, room.outputs):
        listed = rows if call.tag == "closed orders" else []
        outputs += room.driver.answer(call, {"code": "00000", "data": {"list": listed}})
    (single,) = of(Call, outputs)
    assert params(single) == {"orderId": "4"}
    outputs += room.driver.answer(single, {"code": "00000", "data": contract("filled", orderId="4", category="spot")})
    assert [report.order_id for report in reports(outputs)] == ["1"]
    missing = gap(outputs).missing
    for words in (
        "rows that can't be read",
        "order 2: order state melting",
        "order 3: can't be read",
        "another market",
    ):
        assert any(words in phrase for phrase in missing), missing


# --- the account's mode, while the stream is up ---


def probe(outputs: list[Output]) -> Call:
    (call,) = [call for call in of(Call, outputs) if path(call) == "/api/v3/account/settings"]
    return call


@pytest.mark.parametrize(
    ("unified", "reply", "moves"),
    [
        (False, settings("unified"), True),
        (False, settings("upgrading"), True),
        (False, settings("switching"), False),
        (False, {"code": "45001", "msg": "busy"}, False),
        (True, settings("hybrid"), False),
        (True, settings("switching"), True),
    ],
)
def test_the_mode_is_asked_again_every_hour(unified: bool, reply: object, moves: bool) -> None:
    room = Room("bitget", table=SPOT, unified=unified)
    deadline = room.driver.adapter.deadline
    asked: list[Output] = []
    while not [call for call in of(Call, asked) if call.tag == "account mode"]:
        asked = room.driver.wake()
        room.driver.frame(b"pong")
        assert room.driver.mono < 1000.0 + 2 * 3600
    assert room.driver.mono >= 1000.0 + 3600
    assert deadline() is not None
    fails = of(Fail, room.driver.answer(probe(asked), reply))
    assert [(fail.kind, fail.stream_id) for fail in fails] == ([(FailKind.TRANSIENT, None)] if moves else [])
    assert all("moved to" in fail.reason for fail in fails)


def test_accounts_do_not_ask_all_together() -> None:
    deadlines = set()
    for number in range(20):
        room = Driver(VENUE.user, "bitget", SPOT)
        room.add(msgspec.structs.replace(subscription(), stream_id=f"s{number}"))
        room.answer(of(Call, room.start())[0], OK)
        room.connected()
        room.ack(room.frame({"event": "login", "code": 0}))
        deadlines.add(room.adapter._mode_at)  # type: ignore[attr-defined]
    assert len(deadlines) > 15


def test_a_repair_that_the_classic_api_refuses_moves_the_stream() -> None:
    room = Room("bitget", Resume(since_ms=WALL - 60_000), SPOT, unified=False)
    asked = probe(room.driver.answer(of(Call, room.outputs)[0], OTHER, 400))
    (fail,) = of(Fail, room.driver.answer(asked, settings("unified")))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "the account moved to Unified")
    stays = Room("bitget", Resume(since_ms=WALL - 60_000), SPOT, unified=False)
    asked = probe(stays.driver.answer(of(Call, stays.outputs)[0], OTHER, 400))
    assert not of(Fail, stays.driver.answer(asked, settings("switching"))), (
        "it would come back to the same route for ever"
    )


def test_a_classic_order_that_cannot_be_found_asks_for_the_mode() -> None:
    known = KnownOrder(order_id="5", client_order_id="c", symbol="BTCUSDT", status="NEW")
    room = Room("bitget", Resume(since_ms=WALL - 60_000, orders=(known,)), SPOT, unified=False)
    outputs = [o for call in of(Call, room.outputs) for o in room.driver.answer(call, OK)]
    unknown = {"code": "40109", "msg": "The data of the order cannot be found"}
    (single,) = of(Call, outputs)
    assert not of(Call, room.driver.answer(single, unknown)), "fresh orders are visible late"
    (again,) = [call for call in of(Call, room.driver.wake()) if call.tag == "order"]
    outputs = room.driver.answer(again, unknown)
    assert "order 5: not known to the venue" in gap(outputs).missing
    assert of(Fail, room.driver.answer(probe(outputs), settings("unified")))


def test_many_orders_that_cannot_be_found_ask_for_the_mode_once() -> None:
    orders = tuple(KnownOrder(order_id=str(n), client_order_id="c", symbol="BTCUSDT", status="NEW") for n in range(20))
    room = Room("bitget", Resume(since_ms=WALL - 60_000, orders=orders), SPOT, unified=False)
    unknown = {"code": "40109", "msg": "The data of the order cannot be found"}
    todo, probes = list(of(Call, room.outputs)), 0
    while not of(Live, room.outputs):
        outputs = room.driver.wake() if not todo else []
        for call in todo:
            outputs += room.driver.answer(call, unknown if call.tag == "order" else OK)
        room.outputs, calls = outputs, of(Call, outputs)
        probes += sum(call.tag == "account mode" for call in calls)
        todo = [call for call in calls if call.tag != "account mode"]
    assert probes == 1


def test_an_account_that_moves_while_its_stream_is_up_goes_on_where_it_went() -> None:
    """The old socket stays open and silent: nothing but the question tells."""
    pair = Pair(Seat("bitgetUsdm")).joined()
    order = pair.place("DBO1")
    pair.until(lambda: pair.status("DBO1") == "NEW")
    pair.fault("play", venue="bitget", account=pair.account, params={"what": "mode", "mode": "unified"})
    pair.fill(order)
    pair.wait(4_300)
    assert pair.ended
    pair.drop(1.0)
    pair.again()
    assert_booked(pair, "DBO1", order)
    later = pair.place("DBO2")
    pair.fill(later)
    pair.until(lambda: pair.status("DBO2") == "FILLED")


def test_a_key_that_may_not_read_the_settings_streams_all_the_same() -> None:
    for kind in ("blind", "unified"):
        pair = Pair(Seat("bitgetUsdm", kind)).joined()
        pair.fill(pair.place("DBO1"))
        pair.until(lambda p=pair: p.status("DBO1") == "FILLED")  # type: ignore[misc]


def test_a_forced_fill_that_its_push_does_not_name_is_flagged_by_rest() -> None:
    pair = Pair(Seat("bitgetUsdm", "unified"))
    pair.fault("play", venue="bitget", params={"what": "doubt"})
    pair.joined()
    order = pair.place("DBO1", 30)
    pair.fill(order)
    controls.liquidate(pair.hub, pair.account, pair.market, pair.symbol.wire, pair.now, fills=2)
    pair.until(lambda: any(event.liquidation is True and event.order_status == "FILLED" for event in pair.books.told))


# --- lists ---


def loaded(exchange: str, replies: Mapping[str, object], before: SymbolTable = EMPTY) -> SymbolTable | None:
    loader = VENUE.instruments(exchange, {}, before)
    for call in loader.start():
        reply = next((reply for part, reply in replies.items() if part in call.url), {"code": "40000", "msg": "no"})
        loader.answered(call, Answer(200, {}, json.dumps(reply).encode()))
    found = loader.result()
    return None if found is None else SymbolTable(found)


def data(*rows: object) -> dict[str, object]:
    return {"code": "00000", "data": list(rows)}


def test_inverse_perpetuals_come_from_v3_and_dated_ones_from_the_classic_list() -> None:
    modern = data(
        {"symbol": "BTCUSD_CM", "baseCoin": "BTC", "quoteCoin": "USD", "type": "perpetual", "status": "online"},
        {"symbol": "BTCUSDZ26", "baseCoin": "BTC", "type": "delivery", "status": "online"},
        {"symbol": None, "type": "perpetual"},
    )
    old = {"symbol": "BTCUSD", "baseCoin": "BTC", "symbolStatus": "normal"}
    classic = data(old, {"symbol": "BTCUSDZ26", "baseCoin": "BTC", "supportMarginCoins": None, "symbolStatus": None})
    table = loaded("bitgetCoinm", {"contracts": classic, "v3/market/instruments": modern})
    assert table is not None
    assert sorted((row.wire, row.pair, row.active) for row in table) == [
        ("BTCUSDZ26", "BTCUSDZ26", True),
        ("BTCUSD_CM", "BTCUSD", True),
    ]
    assert VENUE.ticker_shards("bitgetCoinm", table) == [("BTCUSDZ26",), ("BTCUSD_CM",)]
    assert loaded("bitgetCoinm", {"contracts": classic}) is None, "half a market must not replace a whole one"


def test_reality_tokens_are_remembered_while_their_list_cannot_be_read() -> None:
    spot = data({"symbol": "BTCUSDT", "status": "online"}, {"symbol": "RAAPLUSDT", "status": "online"})
    tokens = data({"symbol": "RAAPLUSDT", "isReality": "yes"}, {"symbol": "BTCUSDT", "isReality": "no"})
    first = loaded("bitget", {"spot/public": spot, "v3/market/instruments": tokens})
    assert first is not None
    second = loaded("bitget", {"spot/public": spot}, first)
    for table in (first, second):
        assert table is not None
        assert [row.wire for row in table if row.extra.get("reality") == "yes"] == ["RAAPLUSDT"]


@pytest.mark.parametrize(
    ("state", "has_prices"),
    [
        ("normal", True),
        ("limit_open", True),
        ("limit_close", True),
        ("restrictedAPI", True),
        ("a_new_word", True),
        ("listed", False),
        ("maintain", False),
        ("off", False),
    ],
)
def test_contracts_that_are_being_closed_keep_their_prices(state: str, has_prices: bool) -> None:
    rows = data({"symbol": "OLDUSDT", "symbolStatus": state})
    table = loaded("bitgetUsdm", {"contracts": rows})
    assert table is not None
    assert bool(VENUE.ticker_shards("bitgetUsdm", table)) is has_prices


# --- the second public socket ---


def test_tickers_of_inverse_perpetuals_are_on_v3_under_the_platform_s_name() -> None:
    for symbols, url, arg in (
        (("BTCUSD_CM",), V3, {"instType": "coin-futures", "topic": "ticker", "symbol": "BTCUSD_CM"}),
        (("BTCUSDZ26",), V2, {"instType": "COIN-FUTURES", "channel": "ticker", "instId": "BTCUSDZ26"}),
    ):
        feed = Driver(VENUE.ticker, "bitgetCoinm", COINM)
        feed.add(TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=symbols))
        assert feed.start() == [Connect(url)]
        assert args_of(feed.connected()) == [arg]
        assert feed.frame({"event": "subscribe", "arg": arg}) == [Live("t")]


def test_a_shard_whose_symbols_moved_to_the_other_socket_is_opened_anew() -> None:
    feed = Driver(VENUE.ticker, "bitgetCoinm", COINM)
    feed.add(TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=("BTCUSDZ26",)))
    feed.start()
    moved = TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=("BTCUSD_CM",))
    (fail,) = of(Fail, feed.add(moved))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


@pytest.mark.parametrize("named", ["symbol", "instId"])
def test_a_v3_ticker_is_named_by_its_argument_and_an_odd_row_costs_itself(named: str) -> None:
    adapter, _ = VENUE.replay("bitgetCoinm", "ticker", {})
    arg = {"instType": "coin-futures", "topic": "ticker", named: "BTCUSD_CM"}
    rows = [{"lastPrice": ["odd"]}, {"lastPrice": "80000", "ask1Size": None, "bid1Size": "7", "volume24h": "NaN"}]
    now = Instant(0.0, WALL)
    frame = {"action": "snapshot", "arg": arg, "data": rows, "ts": WALL}
    outputs = list(adapter.received(json.dumps(frame).encode(), now))
    (emit,) = of(EmitTickers, outputs)
    (ticker,) = emit.tickers
    assert (ticker.symbol, ticker.price, ticker.best_ask_qnt, ticker.best_bid_qnt) == ("BTCUSD", 80_000, 0, 7)
    assert ticker.volume == 0
    assert of(Note, outputs)
    for price in ("", "0", None):
        frame["data"] = [{"lastPrice": price}]
        assert not of(EmitTickers, adapter.received(json.dumps(frame).encode(), now))


def candle(symbol: str, interval: str, exchange: str = "bitgetCoinm", resume: int | None = None) -> CandleSubscription:
    return CandleSubscription(
        stream_id=f"{symbol}/{interval}", exchange=exchange, symbol=symbol, interval=interval, resume_start_ms=resume
    )


def test_candles_that_only_v3_has_are_on_a_connection_of_their_own() -> None:
    groups = {
        VENUE.candle_group("bitgetCoinm", symbol, "candle1H", COINM) for symbol in ("BTCUSD", "BTCUSDZ26", "BTCUSD")
    }
    assert len(groups) == 2
    assert len({VENUE.candle_group("bitget", symbol, "1m", SPOT) for symbol in ("BTCUSDT", "RAAPLUSDT")}) == 2
    for exchange, symbol, table, arg in (
        ("bitgetCoinm", "BTCUSD", COINM, {"instType": "coin-futures", "symbol": "BTCUSD_CM"}),
        ("bitget", "RAAPLUSDT", SPOT, {"instType": "spot", "symbol": "RAAPLUSDT"}),
    ):
        feed = Driver(VENUE.candle, exchange, table)
        feed.add(candle(symbol, "candle1H", exchange))
        assert feed.start() == [Connect(V3)]
        assert args_of(feed.connected()) == [arg | {"topic": "kline", "interval": "1H"}]
        other = "BTCUSDZ26" if exchange == "bitgetCoinm" else "BTCUSDT"
        (fail,) = of(Fail, feed.add(candle(other, "candle1H", exchange)))
        assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, f"{other}/candle1H")


def test_a_candle_of_a_coin_future_waits_for_the_list_that_tells_its_socket() -> None:
    feed = Driver(VENUE.candle, "bitgetCoinm", EMPTY)
    (fail,) = of(Fail, feed.add(candle("BTCUSD", "candle1H")))
    assert fail.kind is FailKind.TRANSIENT


def test_a_candle_whose_symbol_moves_to_v3_does_not_stay_on_a_silent_topic() -> None:
    tables = [SymbolTable([Instrument(wire="RAAPLUSDT", pair="RAAPLUSDT", kind="SPOT")])]
    setup = driver.setup("bitget")
    made = type(setup)(exchange="bitget", new_id=setup.new_id, table=lambda: tables[-1])
    adapter = VENUE.candle(made)
    now = Instant(1000.0, WALL)
    adapter.add(candle("RAAPLUSDT", "1m", "bitget"), now)
    assert adapter.start(now) == [Connect(V2)]
    adapter.connected(now)
    adapter.woken(now)
    tables.append(SPOT)
    (fail,) = of(Fail, adapter.woken(Instant(1001.0, WALL)))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, "RAAPLUSDT/1m")
    assert not of(Fail, adapter.woken(Instant(1002.0, WALL)))


@pytest.mark.parametrize(
    ("exchange", "symbol", "table", "interval", "words"),
    [
        ("bitgetCoinm", "BTCUSD", COINM, "candle1H", None),
        ("bitgetCoinm", "BTCUSD", COINM, "3min", None),
        ("bitgetCoinm", "BTCUSD", COINM, "2h", "no such topic"),
        ("bitgetCoinm", "BTCUSD", COINM, "8h", "no such topic"),
        ("bitgetCoinm", "BTCUSD", COINM, "candle1Dutc", "16:00 UTC"),
        ("bitgetCoinm", "BTCUSD", COINM, "1w", "16:00 UTC"),
        ("bitgetCoinm", "BTCUSDZ26", COINM, "candle1Dutc", None),
        ("bitget", "RAAPLUSDT", SPOT, "candle4H", None),
        ("bitget", "RAAPLUSDT", SPOT, "3min", "no such topic"),
        ("bitget", "RAAPLUSDT", SPOT, "candle30m", "no such topic"),
        ("bitget", "RAAPLUSDT", SPOT, "candle1Dutc", "16:00 UTC"),
        ("bitget", "BTCUSDT", SPOT, "3min", None),
    ],
)
def test_intervals_that_v3_does_not_have_are_refused_with_the_reason(
    exchange: str, symbol: str, table: SymbolTable, interval: str, words: str | None
) -> None:
    refusal = VENUE.candle_refusal(exchange, symbol, interval, table)
    assert (refusal is None) is (words is None)
    if words is not None:
        assert words in (refusal or "")


def test_missed_v3_candles_are_read_a_hundred_at_a_time() -> None:
    minute = 60_000
    now_start = WALL // minute * minute
    feed = Driver(VENUE.candle, "bitgetCoinm", COINM)
    feed.add(candle("BTCUSD", "1m", resume=now_start - 250 * minute))
    feed.start()
    outputs = feed.ack(feed.connected())
    asked: list[dict[str, str]] = []
    while calls := of(Call, outputs):
        (call,) = calls
        asked.append(params(call) | {"path": path(call)})
        start, end = int(asked[-1]["startTime"]), int(asked[-1]["endTime"])
        rows = [[str(at), "1", "3", "0.5", "2", "10", "20"] for at in range(start, end + 1, minute)]
        assert len(rows) <= 100
        outputs = feed.answer(call, {"code": "00000", "data": [["odd"], *rows]})
    assert [row["path"].rpartition("/")[2] for row in asked] == ["history-candles", "history-candles", "candles"]
    assert {(row["category"], row["symbol"], row["interval"]) for row in asked} == {("COIN-FUTURES", "BTCUSD_CM", "1m")}
    starts = [emit.candle.start for emit in of(EmitCandle, outputs)]
    assert starts == list(range(now_start - 250 * minute, now_start, minute))
    assert {emit.candle.volume for emit in of(EmitCandle, outputs)} == {"20"}


def test_the_history_that_follows_a_v3_subscription_publishes_nothing() -> None:
    feed = Driver(VENUE.candle, "bitgetCoinm", COINM)
    feed.add(candle("BTCUSD", "candle1H"))
    feed.start()
    feed.ack(feed.connected())
    arg = {"instType": "coin-futures", "topic": "kline", "symbol": "BTCUSD_CM", "interval": "1H"}
    good = {
        "start": str(WALL // 3_600_000 * 3_600_000),
        "open": "1",
        "high": "1",
        "low": "1",
        "close": "1",
        "turnover": "9",
    }
    frame = {"action": "snapshot", "arg": arg, "data": [good], "ts": WALL}
    assert feed.frame(frame) == [Seen("BTCUSD/candle1H")]
    outputs = feed.frame(frame | {"action": "update", "data": [{**good, "open": None}, {**good, "close": ""}, good]})
    (emit,) = of(EmitCandle, outputs)
    assert (emit.symbol, emit.interval, emit.candle.volume) == ("BTCUSD", "candle1H", "9")
    assert len(of(Note, outputs)) == 1


def test_demo_prices_of_v3_are_on_the_demo_host() -> None:
    feed = Driver(VENUE.ticker, "bitgetCoinm", COINM, BITGETENV="demo")
    feed.add(TickerSubscription(stream_id="t", exchange="bitgetCoinm", symbols=("BTCUSD_CM",)))
    assert feed.start() == [Connect("wss://wspap.bitget.com/v3/ws/public")]
