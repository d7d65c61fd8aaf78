"""WhiteBIT makes a modify of a cancel and a new order under the same client id: what is booked by client id stays right."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from exchanges._adapter import Answer, Call, Instant, KnownOrder, Live, Output, Resume
from exchanges.events import ExecutionReport
from exchanges.whitebit import _clients
from tests.unit.exchanges.driver import after, frame, json_answer, of, only, path
from tests.unit.exchanges.pair import Pair, Seat, assert_booked
from tests.unit.exchanges.test_whitebit import NOW, joined, pending, reports, row

CTIME = 1795300010.0
OLD = {"id": 7, "ctime": CTIME, "mtime": CTIME + 5}
NEW = {"id": 8, "ctime": CTIME + 5.25, "mtime": CTIME + 5.25}
PART = {"deal_stock": "0.4", "deal_money": "24000", "left": "0.6"}
SEATS = [Seat("whitebit"), Seat("whitebitUsdm")]


def totals(report: ExecutionReport) -> tuple[str, str, str, str]:
    return (str(report.order_id), report.order_status, report.quantity, report.total_trade_quantity)


def modified(**more: Any) -> tuple[bytes, bytes]:
    """The two frames of a modify of an order that had executed a part."""
    return pending(3, **OLD, **PART, status="CANCELED"), pending(1, **NEW, amount="2", left="2", **more)


def test_a_modify_never_cancels_the_client_id_that_lives_on() -> None:
    user, _ = joined()
    user.received(pending(2, **OLD, **PART), NOW)
    told = [one for one in modified() for one in reports(user.received(one, NOW))]
    told += reports(user.woken(after(NOW, 5)))
    assert [totals(one) for one in told] == [("8", "PARTIALLY_FILLED", "2.4", "0.4")]
    assert (told[0].price, told[0].total_quote_trade_quantity) == ("60000", "24000")


def test_totals_go_on_over_several_modifies() -> None:
    user, _ = joined()
    user.received(pending(2, **OLD, **PART), NOW)
    for one in modified():
        user.received(one, NOW)
    second = {**NEW, "mtime": CTIME + 9}
    user.received(
        pending(3, **second, amount="2", deal_stock="0.5", deal_money="31000", left="1.5", status="CANCELED"), NOW
    )
    third = {"id": 9, "ctime": CTIME + 9.1, "mtime": CTIME + 11, "amount": "1", "left": "0"}
    told = reports(user.received(pending(3, **third, deal_stock="1", deal_money="59000", status="FILLED"), NOW))
    assert [totals(one) for one in told] == [("9", "FILLED", "1.9", "1.9")]
    assert Decimal(told[0].total_quote_trade_quantity) == 24_000 + 31_000 + 59_000


@pytest.mark.parametrize("frames", list(itertools.permutations(range(4))))
def test_whatever_the_order_of_a_modifys_frames_what_is_booked_is_whole(frames: Sequence[int]) -> None:
    """Both channels tell the end; which is first, and whether the new order comes before, is not promised."""
    user, _ = joined()
    user.received(pending(1, **{**OLD, "mtime": CTIME}), NOW)
    end = row(**OLD, **PART, status="CANCELED")
    new = row(**{**NEW, "mtime": CTIME + 6}, amount="2", left="0", deal_stock="2", deal_money="118000", status="FILLED")
    every = [
        frame({"id": None, "method": "ordersPending_update", "params": [3, end]}),
        frame({"id": None, "method": "ordersExecuted_update", "params": [end]}),
        frame({"id": None, "method": "ordersExecuted_update", "params": [new]}),
        frame({"id": None, "method": "ordersPending_update", "params": [3, new]}),
    ]
    told = [one for number in frames for one in reports(user.received(every[number], NOW))]
    told += reports(user.woken(after(NOW, 2)))
    assert [totals(one) for one in told] == [("8", "FILLED", "2.4", "2.4")]


def test_an_order_that_is_only_cancelled_is_told_so_after_a_second() -> None:
    user, _ = joined()
    user.received(pending(2, **OLD, **PART), NOW)
    assert not reports(user.received(modified()[0], NOW))
    assert user.deadline() <= NOW.mono + 1
    assert [totals(one) for one in reports(user.woken(after(NOW, 1)))] == [("7", "CANCELED", "1", "0.4")]


def test_a_new_order_that_comes_very_late_still_has_what_was_executed_before() -> None:
    user, _ = joined()
    user.received(modified()[0], NOW)
    user.woken(after(NOW, 1))
    assert [totals(one) for one in reports(user.received(modified()[1], after(NOW, 2)))] == [
        ("8", "PARTIALLY_FILLED", "2.4", "0.4")
    ]


def test_a_cancel_that_keeps_the_time_of_the_last_fill_is_half_of_a_modify_all_the_same() -> None:
    """Whether a cancel changes an order's time is not documented: then both halves come together, and that tells."""
    user, _ = joined()
    user.received(pending(1, **{**OLD, "mtime": CTIME}), NOW)
    late = {"id": 8, "ctime": CTIME + 600, "mtime": CTIME + 600}
    frames = (pending(3, **{**OLD, "mtime": CTIME}, **PART, status="CANCELED"), pending(1, **late))
    told = [one for raw in frames for one in reports(user.received(raw, NOW))] + reports(user.woken(after(NOW, 5)))
    assert [totals(one) for one in told] == [("8", "PARTIALLY_FILLED", "1.4", "0.4")]


def test_what_was_executed_before_is_not_counted_twice_should_the_venue_tell_it_as_the_new_orders_own() -> None:
    """Nothing documents that it does; the very same quantity and money would be no accident."""
    user, _ = joined()
    user.received(pending(2, **OLD, **PART), NOW)
    user.received(modified()[0], NOW)
    whole = {**NEW, **PART, "status": "PARTIALLY_FILLED"}
    told = reports(user.received(pending(1, **whole), NOW))
    told += reports(user.received(pending(2, **{**whole, "deal_stock": "0.7", "deal_money": "42000"}), NOW))
    assert [one.total_trade_quantity for one in told] == ["0.4", "0.7"]
    assert {one.quantity for one in told} == {"1"}


def test_a_client_id_that_is_used_again_later_begins_at_nothing() -> None:
    user, _ = joined()
    user.received(modified()[0], NOW)
    later = {"id": 8, "ctime": CTIME + 7, "mtime": CTIME + 7}
    told = reports(user.received(pending(1, **later), NOW))
    assert [totals(one) for one in told] == [("7", "CANCELED", "1", "0.4"), ("8", "NEW", "1", "0")]


@pytest.mark.parametrize(
    "end",
    [
        {"status": "CANCELED_STP"},
        {"status": "AUTO_CANCELED_LIQUIDATION"},
        {"status": "CANCELED", "type": 202},
        {"status": "FILLED", "left": "0", "deal_stock": "1"},
    ],
)
def test_ends_that_no_modify_makes_do_not_wait(end: dict[str, Any]) -> None:
    user, _ = joined()
    assert len(reports(user.received(pending(3, **OLD, **{**PART, **end}), NOW))) == 1


def test_an_order_that_was_cancelled_at_once_after_a_modify_takes_the_place_of_the_one_before() -> None:
    """Whoever keeps orders by their ids would have the old one open for ever."""
    user, _ = joined()
    user.received(pending(2, **OLD, **PART), NOW)
    user.received(modified()[0], NOW)
    told = reports(user.received(pending(3, **NEW, status="CANCELED_STP"), NOW))
    assert [totals(one)[:2] for one in told] == [("8", "PARTIALLY_FILLED"), ("8", "CANCELED")]
    assert {one.total_trade_quantity for one in told} == {"0.4"}
    assert len({one.unique_message_id for one in told}) == 2


def test_the_fee_of_a_modified_order_is_that_of_all_its_ids_or_not_told() -> None:
    futures, _ = joined("whitebitUsdm")
    mine = {"market": "BTC_PERP", "type": 7}
    futures.received(pending(2, **OLD, **PART, **mine, deal_fee="2"), NOW)
    futures.received(pending(3, **OLD, **PART, **mine, deal_fee="2", status="CANCELED"), NOW)
    filled = {**NEW, "left": "0", "deal_stock": "1", "deal_money": "60000", "deal_fee": "3", "status": "FILLED"}
    assert reports(futures.received(pending(3, **filled, **mine), NOW))[0].fee_paid == "5"


# --- over a loss of the connection ---


KNOWN = KnownOrder(
    order_id="8", client_order_id="c", symbol="BTC-USDT", status="PARTIALLY_FILLED", quantity="2.4", executed="0.9",
    executed_quote="55000", price="61111", side="BUY", order_type="LIMIT", order_time_ms=1_795_300_020_000,
    creation_time_ms=1_795_300_015_250,
)  # fmt: skip
"""It began with 0.4 at 60000 of an id that nobody remembers, and has executed 0.5 at 62000 itself."""
RESUME = Resume(since_ms=NOW.wall_ms - 60_000, orders=(KNOWN,))


def answer_of(call: Call, answers: dict[str, Any]) -> Answer:
    return json_answer(answers.get(path(call).removeprefix("/api/v4/"), []))


def read(user: Any, outputs: Sequence[Output], answers: dict[str, Any], now: Instant = NOW) -> list[Output]:
    """Everything that follows when the venue answers like that."""
    waiting, told = list(outputs), []
    while waiting:
        output = waiting.pop(0)
        told.append(output)
        if isinstance(output, Call):
            waiting += user.answered(output, answer_of(output, answers), now)
    return told


def open_row(**more: Any) -> dict[str, Any]:
    return {
        "orderId": 8, "clientOrderId": "c", "market": "BTC_USDT", "side": "buy", "type": "limit", "amount": "2",
        "left": "1", "price": "62000", "dealStock": "1", "dealMoney": "61500", "timestamp": CTIME + 5.25, **more,
    }  # fmt: skip


DEALS = {
    "records": [
        {"time": CTIME + 30, "amount": "0.5", "deal": "30500"},
        {"time": CTIME + 8, "amount": "0.3", "deal": "18600"},
        {"time": CTIME + 6, "amount": "0.2", "deal": "12400"},
    ],
    "offset": 0,
    "limit": 100,
}


def test_a_modified_order_goes_on_with_its_totals_over_the_next_connection() -> None:
    user, outputs = joined(resume=RESUME)
    told = read(user, outputs, {"orders": [open_row()], "trade-account/order": DEALS})
    last = reports(told)[-1]
    assert totals(last) == ("8", "PARTIALLY_FILLED", "2.4", "1.4")
    assert Decimal(last.total_quote_trade_quantity) == 24_000 + 61_500
    assert only(Live, told).gap.missing == ()


def test_what_was_executed_before_a_modify_is_priced_near_the_truth_when_its_deals_are_gone() -> None:
    user, outputs = joined(resume=RESUME)
    told = read(user, outputs, {"orders": [open_row()]})
    last = reports(told)[-1]
    assert totals(last) == ("8", "PARTIALLY_FILLED", "2.4", "1.4")
    assert abs(Decimal(last.price) - Decimal("61071")) < 300
    assert "before it was modified" in "".join(only(Live, told).gap.missing)


def test_an_order_that_was_modified_and_filled_in_the_gap_has_the_totals_of_its_client_id() -> None:
    """The venue lists the newest end first, so the older ids of a client order come behind it."""
    base = {"clientOrderId": "c", "side": "buy", "type": "limit"}
    filled = {**base, "id": 9, "amount": "1", "dealStock": "1", "dealMoney": "60000", "status": "FILLED",
              "ctime": CTIME + 40.1, "ftime": CTIME + 50}  # fmt: skip
    old = {**base, "id": 8, "amount": "2", "dealStock": "1", "dealMoney": "61500", "status": "CANCELED",
           "ctime": CTIME + 5.25, "ftime": CTIME + 40}  # fmt: skip
    user, outputs = joined(resume=RESUME)
    answers = {"trade-account/order/history": {"BTC_USDT": [filled, old]}, "trade-account/order": DEALS}
    told = reports(read(user, outputs, answers))
    assert [totals(one) for one in told] == [("9", "FILLED", "2.4", "2.4")]
    assert Decimal(told[0].total_quote_trade_quantity) == 24_000 + 61_500 + 60_000


def test_an_order_of_which_nothing_was_known_before_its_gap_is_told_whole_and_once() -> None:
    """Placed, modified and filled while nobody watched: its newest id stands first in the history."""
    base = {"clientOrderId": "new", "side": "buy", "type": "limit"}
    filled = {**base, "id": 21, "amount": "1", "dealStock": "1", "dealMoney": "60000", "status": "FILLED",
              "ctime": CTIME + 40.1, "ftime": CTIME + 50}  # fmt: skip
    old = {**base, "id": 20, "amount": "2", "dealStock": "0.5", "dealMoney": "31000", "status": "CANCELED",
           "ctime": CTIME + 5.25, "ftime": CTIME + 40}  # fmt: skip
    user, outputs = joined(resume=Resume(since_ms=NOW.wall_ms - 60_000))
    told = reports(read(user, outputs, {"trade-account/order/history": {"BTC_USDT": [filled, old]}}))
    assert [totals(one) for one in told] == [("21", "FILLED", "1.5", "1.5")]


def test_a_cancel_in_the_history_waits_for_the_list_that_shows_who_took_over() -> None:
    user, outputs = joined(resume=RESUME)
    calls = of(Call, outputs)
    ended = {"clientOrderId": "c", "side": "buy", "type": "limit", "id": 8, "amount": "2", "dealStock": "0.5",
             "dealMoney": "31000", "status": "CANCELED", "ctime": CTIME + 5.25, "ftime": CTIME + 40}  # fmt: skip
    took_over = open_row(orderId=9, timestamp=CTIME + 40.1, amount="1", left="1", dealStock="0", dealMoney="0")
    answers = {"trade-account/order/history": {"BTC_USDT": [ended]}, "orders": [took_over]}
    calls.sort(key=lambda call: "history" not in path(call))
    told = reports(read(user, calls, answers))
    assert [totals(one) for one in told] == [("9", "PARTIALLY_FILLED", "1.9", "0.9")]


def test_an_order_that_filled_while_its_gap_is_read_waits_for_what_the_old_id_executed() -> None:
    user, outputs = joined(resume=RESUME)
    filled = {
        "id": 9,
        "ctime": CTIME + 40.1,
        "mtime": CTIME + 50,
        "left": "0",
        "deal_stock": "1",
        "deal_money": "60000",
    }
    user.received(pending(3, **filled, status="FILLED"), NOW)
    user.woken(after(NOW, 2))
    ended = {"clientOrderId": "c", "side": "buy", "type": "limit", "id": 8, "amount": "2", "dealStock": "1",
             "dealMoney": "61500", "status": "CANCELED", "ctime": CTIME + 5.25, "ftime": CTIME + 40}  # fmt: skip
    answers = {"trade-account/order/history": {"BTC_USDT": [ended]}, "trade-account/order": DEALS}
    told = reports(read(user, outputs, answers, after(NOW, 2)))
    assert [totals(one) for one in told] == [("9", "FILLED", "2.4", "2.4")]


def test_lists_that_hang_hold_no_new_order_back() -> None:
    user, _ = joined(resume=RESUME)
    user.woken(after(NOW, 26))
    filled = {"id": 30, "client_order_id": "other", "ctime": CTIME + 60, "mtime": CTIME + 60}
    done = pending(3, **filled, left="0", deal_stock="1", deal_money="60000", status="FILLED")
    told = reports(user.received(done, after(NOW, 27))) + reports(user.woken(after(NOW, 28)))
    assert [totals(one)[:2] for one in told] == [("30", "FILLED")]


def test_a_brokers_order_that_was_modified_before_has_all_it_executed_when_only_deals_are_left() -> None:
    user, outputs = joined(resume=RESUME)
    told = reports(read(user, outputs, {"trade-account/order": DEALS}))
    assert [totals(one) for one in told] == [("8", "CANCELED", "2.4", "1.4")]
    assert Decimal(told[0].total_quote_trade_quantity) == 24_000 + 61_500


# --- bounds ---


def test_very_many_modifies_of_one_order_keep_its_total_and_a_bounded_memory() -> None:
    user, _ = joined()
    told: list[ExecutionReport] = []
    for number in range(200):
        this = {"id": 100 + number, "ctime": CTIME + number, "mtime": CTIME + number + 1}
        user.received(pending(1, **{**this, "mtime": CTIME + number}), NOW)
        end = {"deal_stock": "0.1", "deal_money": "6000", "left": "0.9", "status": "CANCELED"}
        told += reports(user.received(pending(3, **this, **end), NOW))
    last = {
        "id": 900,
        "ctime": CTIME + 200,
        "mtime": CTIME + 201,
        "left": "0",
        "deal_stock": "1",
        "deal_money": "60000",
    }
    told += reports(user.received(pending(3, **last, status="FILLED"), NOW))
    assert [totals(one) for one in told] == [("900", "FILLED", "21", "21")]


def test_too_many_cancels_at_once_are_told_rather_than_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clients, "MAX_WAITING", 2)
    user, _ = joined()
    told = [
        one
        for number in range(5)
        for one in reports(user.received(pending(3, id=number, client_order_id=f"c{number}", status="CANCELED"), NOW))
    ]
    told += reports(user.woken(after(NOW, 1)))
    assert [one.new_client_order_id for one in told] == ["c0", "c1", "c2", "c3", "c4"]


@pytest.mark.parametrize("seat", SEATS, ids=str)
def test_a_modified_order_is_booked_whole_over_a_drop_right_after_it(seat: Seat) -> None:
    """The connection ends between the two halves: the next one finds the new order under the client id."""
    pair = Pair(seat, tick_s=5.0).joined()
    order = pair.place("DBOm", 20)
    pair.wait(1.0)
    pair.fill(order, 5)
    pair.wait(1.0)
    pair.modify(pair.newest(order), 30)
    pair.drop(20.0)
    pair.again()
    pair.fill(pair.newest(order), 7)
    pair.wait(3.0)
    assert_booked(pair, "DBOm", order)
    assert pair.books.rows["DBOm"].status == "PARTIALLY_FILLED"
