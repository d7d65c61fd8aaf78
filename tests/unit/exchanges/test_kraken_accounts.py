"""Kraken's account connections: refusals while live, snapshots that are asked for again, questions that are repeated."""

from __future__ import annotations

import pytest

from exchanges._adapter import Call, Emit, Fail, FailKind, Live, Note, Output, Resume, Seen
from exchanges.events import PositionUpdate
from tests.unit.exchanges import test_kraken as spot
from tests.unit.exchanges import test_kraken_futures as futures
from tests.unit.exchanges import test_kraken_unified as unified
from tests.unit.exchanges.driver import of, only, path, sent
from tests.unit.exchanges.test_kraken_futures import body, book, fill, fills, placed, rest_fill

WALL = spot.WALL


# --- futures ---


def joined() -> futures.Futures:
    drive = futures.Futures()
    drive.live()
    return drive


@pytest.mark.parametrize(
    "reason",
    ["partial_fill", "cancelled_by_user", "cancelled_by_admin", "dead_man_switch", "contract_expired", "market_inactive",
     "not_enough_margin", "liquidation", "ioc_order_failed_because_it_would_not_be_executed",
     "post_order_failed_because_it_would_filled", "would_execute_self", "would_not_reduce_position"],
)  # fmt: skip
def test_every_reason_that_a_page_lists_ends_an_order_without_a_question(reason: str) -> None:
    drive = joined()
    drive.frame(book("new_placed_order_by_user", body()))
    outputs = drive.frame(book(reason, cancel=True))
    assert futures.steps(outputs) == [("CANCELED", "0", "0")]
    assert not of(Call, outputs)


def test_late_fills_are_asked_for_three_times_and_again_for_the_next_order() -> None:
    drive = joined()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(book("partial_fill", body(0.25, 0.1)))
    outputs = drive.wake()
    asked = 0
    while calls := of(Call, outputs):
        (call,) = calls
        asked += 1
        outputs = drive.answer(call, b"<html>", 503)
    assert asked == 3
    assert only(Note, outputs).what.startswith("fills can't be read: HTTP 503")
    drive.frame(book("new_placed_order_by_user", body(order_id="second")))
    drive.frame(book("partial_fill", body(0.25, 0.1, order_id="second")))
    (call,) = of(Call, drive.wake())
    assert path(call) == "/derivatives/api/v3/fills"


def test_a_last_fill_whose_sum_is_short_is_waited_for_five_seconds() -> None:
    drive = joined()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(fills(fill(0.25, 0, 9)))
    assert drive.adapter.deadline() == drive.mono + 5
    outputs = drive.frame({"feed": "fills", "fills": [7]})
    assert only(Note, outputs).what.startswith("unreadable fill: ")


def test_the_open_orders_of_a_gap_whose_fills_can_be_read_in_part_only_are_not_explained_by_them() -> None:
    """A fill that can't be read may be the one that an absent order ended with."""
    replies: dict[str, list[object]] = {
        "fills": [futures.good(fills=[{}, *(rest_fill(0.001, WALL - 10_000 - n) for n in range(99))]),
                  futures.good(fills=[])],
        "order history": [{"elements": [placed("other", "1")]}],
    }  # fmt: skip
    outputs, _ = futures.repaired(futures.Futures(futures.RESUME), replies)
    assert "CANCELED" not in {step[0] for step in futures.steps(outputs)}
    gap = only(Live, outputs).gap
    assert gap is not None
    assert "fills: 1 that can't be read" in gap.missing
    assert f"order {futures.ORDER}: its end is not known to the venue any more" in gap.missing


def test_an_open_order_that_nobody_knew_is_told_only_if_something_happened_to_it_since() -> None:
    since = WALL - 20_000
    rows = [futures.open_order(1, 0, "old"), futures.open_order(0.5, 0.5, "part")]
    outputs, _ = futures.repaired(
        futures.Futures(Resume(since_ms=since)), {"open orders": [futures.good(openOrders=rows)]}
    )
    assert [(one.order_id, one.order_status) for one in futures.reports(outputs)] == [("part", "PARTIALLY_FILLED")]


# --- spot ---


def test_a_spot_account_that_left_is_unsubscribed_and_hears_nothing_more() -> None:
    drive = spot.Spot()
    assert drive.remove("u1") == []
    drive = spot.Spot()
    drive.live()
    left = sent(drive.remove("u1"))
    assert [(one["method"], one["params"]) for one in left] == [
        ("unsubscribe", {"channel": channel, "token": "the token"}) for channel in ("executions", "balances")
    ]
    assert drive.executions(spot.PLACED) == []
    assert drive.remove("u1") == []


@pytest.mark.parametrize("result", [{}, {"token": ""}, 7, {"token": 7}])
def test_a_token_that_is_none_ends_the_connection(result: object) -> None:
    drive = spot.Spot()
    (call,) = of(Call, drive.connected())
    outputs = drive.answer(call, spot.good(result))
    assert (only(Fail, outputs).kind, only(Fail, outputs).reason) == (
        FailKind.TRANSIENT, "the token answer is not understood",
    )  # fmt: skip


def test_texts_of_a_live_account_are_noted_with_what_they_are_worth() -> None:
    drive = spot.Spot()
    drive.live()
    assert only(Note, drive.frame(b"{")).level == "error"
    long = "Already subscribed " + "x" * 200
    assert drive.frame({"method": "subscribe", "success": False, "error": long}) == [Note(long[:100], "info")]
    odd = {"error": "EGeneral:Internal error"}
    assert drive.frame(odd) == [Note("error frame: EGeneral:Internal error")]
    outputs = drive.message(
        "balances", [7, {"asset": "ZUSD", "balance": 5, "wallet_type": "spot", "wallet_id": "main"}]
    )
    assert of(Note, outputs)[0].level == "error"
    assert len(of(Emit, outputs)) == 1


def test_a_busy_venue_is_asked_again_what_became_of_an_odd_order() -> None:
    drive = spot.Spot()
    drive.live()
    drive.executions(spot.PLACED)
    (call,) = of(Call, drive.executions(spot.row(order_status="halfway")))
    assert not of(Note, drive.answer(call, spot.bad("EService:Unavailable")))
    again: list[Call] = []
    while not again:
        again = of(Call, drive.wake())
        drive.frame({"channel": "heartbeat"})
    assert only(Note, drive.answer(again[0], spot.good({}))).what.endswith("the venue does not know it")
    (call,) = of(Call, drive.executions(spot.row(order_status="halfway")))
    assert "EGeneral:Permission denied" in only(Note, drive.answer(call, spot.bad("EGeneral:Permission denied"))).what


# --- the unified way ---


def methods(outputs: list[Output]) -> list[tuple[str, str]]:
    return [(one["method"], one["params"]["channel"]) for one in sent(outputs) if one["method"] != "ping"]


def test_the_snapshot_of_orders_is_waited_for_ten_seconds_then_asked_for_again() -> None:
    drive = unified.Derivatives(Resume(since_ms=WALL - 60_000, orders=(unified.known(),)))
    drive.acknowledged()
    drive.frame(unified.wallets())
    assert methods(drive.after(9)) == []
    assert methods(drive.after(1.5)) == [("unsubscribe", "executions"), ("subscribe", "executions")]


def test_a_second_subscription_that_is_refused_ends_the_connection() -> None:
    drive = unified.Derivatives(Resume(since_ms=WALL - 60_000, orders=(unified.known(),)))
    drive.acknowledged()
    drive.frame(unified.wallets())
    again = [one for one in sent(drive.after(10.5)) if one["method"] == "subscribe"]
    granted = {
        "method": "subscribe",
        "success": True,
        "result": {"channel": "executions"},
        "req_id": again[0]["req_id"],
    }
    assert not of(Fail, drive.frame(granted))
    refused = {"method": "subscribe", "success": False, "error": "EService:Unavailable", "req_id": again[0]["req_id"]}
    assert only(Fail, drive.frame(refused)).kind is FailKind.TRANSIENT


def test_a_refusal_while_nothing_is_asked_for_is_noted() -> None:
    drive = unified.Derivatives()
    drive.live(unified.trade(0.1, 1))
    error = {
        "method": "subscribe",
        "success": False,
        "error": "EService:Unavailable",
        "result": {"channel": "executions"},
    }
    assert [type(one) for one in drive.frame(error)] == [Note]


def test_without_a_wallet_a_gap_is_read_and_says_so() -> None:
    drive = unified.Derivatives(Resume(since_ms=WALL - 60_000, orders=(unified.known(),)))
    drive.acknowledged()
    drive.frame(unified.executions(unified.row(), unified.trade(9, 9, order_id="old", cl_ord_id="x"), kind="snapshot"))
    drive.frame({"channel": "heartbeat"})
    outputs = drive.after(10.5)
    assert methods(outputs) == []
    assert "balances: the venue sent no snapshot" in unified.missing(outputs)


def test_positions_that_cannot_be_read_are_noted_and_those_beside_them_told() -> None:
    drive = unified.Derivatives()
    drive.live(unified.trade(0.1, 1))
    held = [7, {"symbol": "PF_XBTUSD", "size": -0.5, "entry_price": 61000}]
    outputs = drive.frame({"channel": "positions", "type": "update", "data": {"futures": held, "options": []}})
    assert (only(Note, outputs).level, only(Note, outputs).what.startswith("1 positions")) == ("error", True)
    good = drive.frame({"channel": "positions", "type": "update", "data": {"futures": held[1:], "options": []}})
    assert not of(Note, good)
    assert [emit.event.quantity for emit in of(Emit, outputs) if isinstance(emit.event, PositionUpdate)] == ["-0.5"]


def test_a_row_of_an_order_that_nothing_describes_is_noted_as_an_error() -> None:
    drive = unified.Derivatives()
    drive.live(unified.trade(0.1, 1))
    bare = {"order_id": "bare", "exec_type": "canceled", "order_status": "canceled"}
    (call,) = of(Call, drive.frame(unified.executions(bare)))
    outputs = drive.answer(call, unified.bad("EOrder:Unknown order"))
    assert of(Note, outputs)[0] == Note("order bare: nothing tells what it is, so a row of it is not told", "error")


def test_a_wallet_without_a_balance_of_ours_only_counts_as_data() -> None:
    drive = unified.Derivatives()
    drive.live(unified.trade(0.1, 1))
    assert drive.frame({"channel": "balances", "type": "update", "data": []}) == [Seen("u1")]
    assert drive.frame(unified.wallets()) == [Seen("u1")], "a snapshot is no news"
