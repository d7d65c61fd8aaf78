"""A derivatives account on Kraken's unified socket: sequence numbers, snapshots that come in parts or again, odd orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from exchanges._adapter import Adapter, Call, Emit, Fail, FailKind, Instant, Live, Note, Output, Resume, Seen
from exchanges.events import Balance, PositionUpdate
from exchanges.kraken import VENUE
from exchanges.kraken._route import NEW_KEY
from exchanges.kraken._user_unified import UnifiedUser
from exchanges.kraken._user_unified_account import MAX_NUMBERS, SHORT_S
from tests.unit.exchanges.driver import frame, of, only, path, sent, setup
from tests.unit.exchanges.test_kraken_unified import (
    ORDER,
    WALL,
    Derivatives,
    bad,
    executions,
    good,
    known,
    missing,
    positions,
    reports,
    row,
    steps,
    trade,
    wallets,
)

OLD = trade(9, 9, order_id="old", cl_ord_id="old")
HALF = trade(0.25, 2, "filled")
"""The last fill of the order, which the venue calls filled, before the first one is here."""


def joined() -> Derivatives:
    drive = Derivatives()
    assert of(Live, drive.live(OLD))
    return drive


def recorded() -> Adapter:
    """The account of recorded frames: time stands still."""
    adapter, _ = VENUE.replay("krakenUsdm", "user", {"route": "unified", "symbol_map": {"PF_XBTUSD": "BTC-USD"}})
    return adapter


def margin(number: int) -> dict[str, object]:
    data: dict[str, object] = {"currencies": {}}
    return {"channel": "margin", "type": "multi_collateral", "data": data, "sequence": number}


def held(*futures: object, **fields: object) -> dict[str, object]:
    return {"channel": "positions", "type": "update", "data": {"futures": futures, "options": []}, **fields}


def asked(outputs: Sequence[object]) -> list[str]:
    return [one["method"] for one in sent(outputs) if one["method"] != "ping"]


# --- sequence numbers ---


@pytest.mark.parametrize("first", [1, 2 * MAX_NUMBERS])
@pytest.mark.parametrize("step", [2, 3, MAX_NUMBERS, MAX_NUMBERS + 1, 10**15])
def test_a_jump_that_nothing_fills_ends_the_connection_however_far_it_is(first: int, step: int) -> None:
    drive = joined()
    assert not of(Fail, drive.frame(executions(row(), sequence=first)))
    fail = only(Fail, drive.frame(executions(trade(0.1, 1), sequence=first + step)))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "messages were lost: the sequence has a gap")


def test_messages_that_follow_or_come_late_or_twice_are_no_jump() -> None:
    drive = joined()
    outputs = [drive.frame(executions(sequence=number)) for number in (5, 6, 6, 3, 7)]
    assert not [fail for told in outputs for fail in of(Fail, told)]


def test_a_jump_that_as_many_messages_of_other_channels_fill_as_are_remembered_is_none() -> None:
    drive = joined()
    drive.frame(executions(row(), sequence=1))
    for number in range(2, MAX_NUMBERS + 1):
        drive.frame(margin(number))
    assert not of(Fail, drive.frame(executions(trade(0.1, 1), sequence=MAX_NUMBERS + 1)))


def test_messages_of_positions_fill_a_jump_of_other_channels() -> None:
    drive = joined()
    drive.frame(executions(row(), sequence=1))
    drive.frame(held(sequence=2))
    assert not of(Fail, drive.frame(executions(trade(0.1, 1), sequence=3)))


@pytest.mark.parametrize("step", [2, MAX_NUMBERS + 1])
def test_recorded_frames_may_leave_others_out(step: int) -> None:
    adapter = recorded()
    for number in (1, 1 + step):
        outputs = adapter.received(frame(executions(row(), sequence=number)), Instant(0.0, WALL))
        assert reports(outputs)
        assert not of(Fail, outputs)


# --- snapshots ---


def test_what_happens_between_two_snapshots_builds_on_the_first() -> None:
    drive = Derivatives()
    drive.acknowledged()
    drive.frame(wallets())
    state = row(cum_qty=0.1, cum_cost=9125, order_status="partially_filled")
    assert not of(Live, drive.frame(executions(state, kind="snapshot")))
    outputs = drive.frame(executions(trade(0.1, 2)))
    assert not of(Call, outputs), "the snapshot describes it"
    outputs = drive.after(1.5)
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.2", "18250")]
    assert of(Live, outputs)


@pytest.mark.parametrize("kind", ["update", "snapshot"])
def test_executions_of_nothing_are_no_mistake(kind: str) -> None:
    drive = joined()
    outputs = drive.frame({"channel": "executions", "type": kind, "data": None})
    assert not of(Note, outputs) + of(Fail, outputs)


def test_an_execution_that_cannot_be_read_is_noted_as_an_error_and_its_order_asked_for() -> None:
    drive = joined()
    outputs = drive.frame(executions(row(), {"order_id": "odd", "exec_type": 7}))
    note = only(Note, outputs)
    assert (note.level, note.what.startswith("unreadable execution: ")) == ("error", True)
    assert steps(outputs) == [("NEW", "0", "0")]
    (call,) = of(Call, outputs)
    assert "txid=odd" in (call.body or "")


def test_without_a_wallet_no_empty_balance_is_told() -> None:
    drive = Derivatives(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    drive.acknowledged()
    drive.frame(executions(row(), OLD, kind="snapshot"))
    drive.frame({"channel": "heartbeat"})
    outputs = drive.after(10.5)
    assert missing(outputs) == ["balances: the venue sent no snapshot"]
    assert positions(outputs) == []


def test_an_account_without_a_gap_is_told_no_wallet_when_it_joins() -> None:
    assert positions(Derivatives().live(OLD)) == []


def test_a_snapshot_of_fills_may_come_before_that_of_orders_and_both_before_the_wallet() -> None:
    drive = Derivatives()
    drive.acknowledged()
    drive.frame(executions(OLD, kind="snapshot"))
    assert not of(Live, drive.frame(executions(row(), kind="snapshot")))
    assert of(Live, drive.frame(wallets()))


def test_recorded_wallets_are_told_under_the_names_of_the_recording() -> None:
    context = {"route": "unified", "asset_map": {"ZZZ": "BTC"}}
    adapter, _ = VENUE.replay("krakenUsdm", "user", context)
    entry = {"asset": "ZZZ", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 3}
    outputs = adapter.received(frame({"channel": "balances", "type": "update", "data": [entry]}), Instant(0.0, WALL))
    assert positions(list(outputs)) == [[Balance(asset="BTC", free="3", locked="0")]]


def test_a_balance_that_changes_before_the_snapshot_is_not_taken_for_the_whole_wallet() -> None:
    drive = Derivatives(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    drive.acknowledged()
    entry = {"asset": "EUR", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 3}
    drive.frame({"channel": "balances", "type": "update", "data": [entry]})
    assert not of(Live, drive.frame(executions(row(), OLD, kind="snapshot")))
    outputs = drive.frame(wallets())
    assert of(Live, outputs)
    told = [Balance(asset="EUR", free="3", locked="0"), Balance(asset="USD", free="5", locked="0")]
    assert positions(outputs)[0] == told


def test_wallets_that_cannot_be_read_are_noted_as_an_error_and_those_beside_them_told() -> None:
    drive = joined()
    entry = {"asset": "EUR", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 3}
    outputs = drive.frame({"channel": "balances", "type": "update", "data": [7, entry]})
    note = only(Note, outputs)
    assert (note.level, note.what.split()[:2]) == ("error", ["1", "balances"])
    assert positions(outputs) == [[Balance(asset="EUR", free="3", locked="0")]]


def test_positions_that_cannot_be_read_are_called_so() -> None:
    note = only(Note, joined().frame(held(7)))
    assert (note.level, note.what.split()[:2]) == ("error", ["1", "positions"])


def test_positions_that_did_not_change_are_a_sign_of_life() -> None:
    drive = joined()
    short = {"symbol": "PF_XBTUSD", "size": -0.5, "entry_price": 61000}
    (told,) = of(Emit, drive.frame(held(short)))
    assert isinstance(told.event, PositionUpdate)
    assert drive.frame(held(short)) == [Seen("u1")]


# --- orders that end without all of their fills ---


def again(*orders: dict[str, object]) -> Derivatives:
    """An account that asked for its snapshots again, because a fill of an order is missing."""
    drive = joined()
    drive.frame(executions(row(), *orders))
    drive.frame(executions(HALF))
    assert asked(drive.after(SHORT_S - 0.5)) == []
    assert asked(drive.after(1.0)) == ["unsubscribe", "subscribe"]
    return drive


def test_an_order_that_is_filled_with_all_of_its_fills_costs_no_question() -> None:
    drive = joined()
    drive.frame(executions(row()))
    assert steps(drive.frame(executions(trade(0.35, 1, "filled"))))[-1][0] == "FILLED"
    assert asked(drive.after(SHORT_S + 0.5)) == []


def test_an_order_of_which_two_fills_are_missing_does_not_end_with_the_first_of_them() -> None:
    drive = joined()
    drive.frame(executions(row()))
    told = [drive.frame(executions(one)) for one in (trade(0.1, 3, "filled"), trade(0.1, 1), trade(0.15, 2))]
    assert [steps(outputs)[-1][:2] for outputs in told] == [
        ("PARTIALLY_FILLED", "0.1"), ("PARTIALLY_FILLED", "0.2"), ("FILLED", "0.35"),
    ]  # fmt: skip


OTHER = row(order_id="other", cl_ord_id="D-RO-2")


@pytest.mark.parametrize("fills", [(), (OLD,)])
def test_an_order_that_a_second_snapshot_lacks_ends_the_connection_for_its_gap_to_be_read(
    fills: Sequence[dict[str, object]],
) -> None:
    drive = again(OTHER, row(order_id="third", cl_ord_id="D-RO-3"))
    fail = only(Fail, drive.frame(executions(OTHER, *fills, kind="snapshot")))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "orders ended while they were subscribed anew")


def test_an_account_without_open_orders_in_a_second_snapshot_has_lost_them() -> None:
    assert of(Fail, again(OTHER).frame(executions(kind="snapshot")))


def test_a_second_snapshot_with_fills_alone_says_nothing_of_open_orders() -> None:
    outputs = again(OTHER).frame(executions(HALF, trade(0.1, 1), kind="snapshot"))
    assert not of(Fail, outputs)
    assert steps(outputs)[-1] == ("FILLED", "0.35", "31937.5")


def test_a_second_snapshot_tells_what_was_missed_of_the_orders_that_it_has() -> None:
    fills = [trade(0.2, 6, order_id="other", ago_ms=1_000), trade(0.1, 5, order_id="other", ago_ms=2_000)]
    outputs = again(OTHER).frame(executions(HALF, *fills, OTHER | {"cum_qty": 0.3}, kind="snapshot"))
    assert not of(Fail, outputs)
    other = [one.total_trade_quantity for one in reports(outputs) if one.order_id == "other"]
    assert other[:2] == ["0.1", "0.3"], "by time"
    assert of(Seen, outputs)


def test_an_order_of_an_unknown_side_whose_fills_cannot_be_had_is_not_told_as_a_text() -> None:
    drive = joined()
    drive.frame(executions(row(side="hold")))
    drive.frame(executions(HALF | {"side": "hold"}))
    drive.after(SHORT_S + 0.5)
    outputs = drive.frame(executions(HALF | {"side": "hold"}, kind="snapshot"))
    assert not of(Emit, outputs)
    assert only(Note, outputs).what.startswith(f"order {ORDER} is filled and its fills can't be had")


def test_a_recorded_fill_that_comes_late_ends_its_order_as_a_live_one_does() -> None:
    adapter = recorded()
    outputs: list[Output] = []
    for one in (row(), HALF, trade(0.1, 1)):
        outputs += adapter.received(frame(executions(one)), Instant(0.0, WALL))
    assert steps(outputs)[-1] == ("FILLED", "0.35", "31937.5")


# --- orders that are asked for ---


def rest(**fields: object) -> dict[str, object]:
    pair = fields.pop("pair", "PF_XBTUSD")
    described = {"pair": pair, "type": "sell", "ordertype": "limit", "price": "91000"}
    values = {"status": "canceled", "descr": described, "vol": "0.4", "vol_exec": "0.1", "cost": "9100", **fields}
    return good({"bare": values})


BARE: dict[str, Any] = {"order_id": "bare", "exec_type": "canceled", "order_status": "canceled"}


def test_a_row_of_an_order_that_nothing_describes_is_noted_and_told_to_nobody() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(executions(BARE)))
    assert path(call) == "/0/private/QueryOrders"
    note = Note("order bare: nothing tells what it is, so a row of it is not told", "error")
    assert drive.answer(call, bad("EOrder:Unknown order")) == [note]


def test_an_order_that_rest_describes_is_told_with_its_totals() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(executions(BARE)))
    (report,) = reports(drive.answer(call, rest()))
    assert (report.order_status, report.side, report.quantity) == ("CANCELED", "SELL", "0.4")
    assert (report.symbol, report.total_trade_quantity) == ("BTC-USD", "0.1")


def test_an_order_that_a_later_row_described_needs_no_answer() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(executions(BARE)))
    assert steps(drive.frame(executions(row(order_id="bare")))) == [("CANCELED", "0", "0")]
    assert drive.answer(call, rest()) == []


ODD = row(order_status="halfway")


def test_an_order_in_an_odd_state_is_told_as_rest_has_it() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(executions(ODD)))
    answer = good({ORDER: rest()["result"]["bare"]})  # type: ignore[index]
    assert steps(drive.answer(call, answer)) == [("CANCELED", "0.1", "9100")]


@pytest.mark.parametrize("answer", [good({}), bad("EOrder:Unknown order"), "<html>"])
def test_an_order_in_an_odd_state_that_rest_does_not_know_is_noted(answer: object) -> None:
    drive = joined()
    outputs = drive.frame(executions(ODD))
    (call,) = of(Call, outputs)
    assert only(Note, outputs).level == "error"
    assert only(Note, drive.answer(call, answer)) == Note(f"order {ORDER}: the venue does not know it", "error")


def test_an_order_of_spot_is_no_answer_to_the_question_for_a_derivative() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(executions(ODD)))
    answer = msgspec.json.decode(msgspec.json.encode(rest(pair="XBTUSD")).replace(b'"bare"', f'"{ORDER}"'.encode()))
    assert only(Note, drive.answer(call, answer)).what.endswith("the venue does not know it")


# --- the connection: what is waited for ---


def test_snapshots_that_come_before_the_acknowledgements_wait_for_them() -> None:
    drive = Derivatives()
    orders, balances = (one for one in sent(drive.joining()) if "params" in one)
    outputs = [*drive.frame(executions(OLD, kind="snapshot")), *drive.ack(orders), *drive.frame(wallets())]
    assert not of(Live, outputs)
    assert of(Live, drive.ack(balances))


def test_a_snapshot_without_fills_waits_a_second_for_one_with_them() -> None:
    drive = Derivatives()
    drive.acknowledged()
    drive.frame(executions(row(), kind="snapshot"))
    drive.frame(wallets())
    assert not of(Live, drive.after(0.9))
    assert of(Live, drive.after(0.2))


def test_a_second_snapshot_is_waited_for_ten_seconds_and_asked_for_once() -> None:
    drive = again()
    outputs: list[Output] = []
    for _ in range(9):
        outputs += [*drive.frame({"channel": "heartbeat"}), *drive.after(1.0)]
    assert (asked(outputs), reports(outputs)) == ([], [])
    drive.frame({"channel": "heartbeat"})
    assert steps(drive.after(1.5)) == [("FILLED", "0.35", "31937.5")]


def test_fills_that_are_missing_once_more_are_asked_for_once_more() -> None:
    drive = again()
    drive.frame(executions(HALF, trade(0.1, 1), kind="snapshot"))
    drive.frame(executions(OTHER, HALF | {"order_id": "other", "exec_id": "e7"}))
    assert asked(drive.after(SHORT_S + 0.5)) == ["unsubscribe", "subscribe"]


def test_missing_fills_are_had_from_a_snapshot_also_without_a_wallet() -> None:
    drive = Derivatives()
    drive.acknowledged()
    drive.frame(executions(OLD, kind="snapshot"))
    drive.frame({"channel": "heartbeat"})
    assert of(Live, drive.after(10.5))
    drive.frame(executions(row()))
    drive.frame(executions(HALF))
    drive.after(SHORT_S + 0.5)
    outputs = drive.frame(executions(HALF, trade(0.1, 1), kind="snapshot"))
    assert steps(outputs)[-1] == ("FILLED", "0.35", "31937.5")


def test_an_account_that_left_while_fills_were_asked_for_asks_for_nothing_more() -> None:
    drive = again()
    assert "unsubscribe" in asked(drive.remove("u1"))
    assert asked(drive.after(1.0)) == []


def test_a_connection_without_an_account_has_nothing_to_do() -> None:
    adapter = UnifiedUser(setup("krakenUsdm"))
    assert not adapter.woken(Instant(0.0, WALL))
    assert not adapter.received(frame(executions()), Instant(0.0, WALL))


def refusal(error: str, **fields: object) -> dict[str, object]:
    return {"method": "subscribe", "success": False, "error": error, **fields}


def test_a_second_subscription_that_is_refused_is_known_by_its_channel_or_its_number() -> None:
    named = refusal("EService:Unavailable", result={"channel": "executions"})
    assert only(Fail, again().frame(named)).kind is FailKind.TRANSIENT
    for other in (refusal("EService:Unavailable"), refusal("EService:Unavailable", result={"channel": "balances"})):
        assert not of(Fail, again().frame(other))


@pytest.mark.parametrize(
    ("error", "level"), [("EGeneral:Permission denied", "warning"), ("Already subscribed", "info")]
)
def test_an_account_without_margin_says_how_bad_that_is(error: str, level: str) -> None:
    note = only(Note, joined().frame(refusal(error, result={"channel": "margin"})))
    assert (note.level, note.what) == (level, f"margin: {error}")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("EGeneral:Permission denied", " (the key lacks the permission 'Access WebSocket API')"),
        ("EAPI:Invalid key", f" (if {NEW_KEY})"),
        ("EAPI:Invalid signature", ""),
    ],
)
def test_a_refused_key_of_the_unified_way_is_told_with_what_helps(error: str, advice: str) -> None:
    drive = Derivatives()
    (call,) = of(Call, drive.connected())
    fail = only(Fail, drive.answer(call, bad(error)))
    assert (fail.kind, fail.reason) == (FailKind.CREDENTIAL, error + advice)
