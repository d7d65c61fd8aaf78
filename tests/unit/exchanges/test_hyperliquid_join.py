"""Hyperliquid's orders and fills, joined: what waits for what, what is asked of REST from when, and what is told again."""

from __future__ import annotations

from typing import Any

import pytest

from exchanges._adapter import Fail, Instant, Note
from exchanges.events import ExecutionReport
from exchanges.hyperliquid._join import LIFE_LEAD_MS, RECENT_MS, Join, Names, Rules
from exchanges.hyperliquid._orders import Fill, Order, Update
from tests.unit.exchanges.driver import of
from tests.unit.exchanges.test_hyperliquid import live

T0 = 1_790_000_000_000
CLIENT = "0x" + "c" * 32


def at(seconds: float) -> Instant:
    return Instant(seconds, T0 + int(seconds * 1000))


def state(status: str, executed: str = "0", *, oid: int = 7, placed_ms: int = T0, moment_ms: int = T0) -> Update:
    """Of an order of 1; what is filled of it is no longer in `sz`."""
    left = {"0": "1", "0.4": "0.6", "1": "0"}[executed]
    order = Order("BTC", oid, "B", "60000", left, placed_ms, "1", CLIENT)
    return Update(order=order, status=status, status_timestamp=moment_ms)


def fill(tid: int, size: str, *, oid: int = 7, price: str = "50000", time_ms: int = T0) -> Fill:
    return Fill("BTC", price, size, time_ms, oid, tid, CLIENT, "0.1", "USDC")


def join(**rules: Any) -> Join:
    return Join(Names(lambda coin: f"{coin}-USDC", lambda token: token), Rules(**rules))


def told(join: Join, update: Update, now: Instant) -> list[ExecutionReport]:
    join.learn([update])
    return join.order(update, now)[0]


def figures(events: list[ExecutionReport]) -> list[tuple[str, str, str]]:
    return [(one.order_status, one.total_trade_quantity, one.price) for one in events]


def test_an_open_order_that_was_told_without_its_fills_is_told_once_more_with_them() -> None:
    """And no third time: with each further fill, an order that was told again went out again."""
    one = join()
    first = told(one, state("open", "0.4"), at(0))
    assert [event.total_trade_quantity for event in first] == ["0.4"]
    again = one.fills([fill(1, "0.4")], at(1))
    assert figures(again) == [("PARTIALLY_FILLED", "0.4", "50000")]
    assert one.fills([fill(2, "0.1")], at(2)) == []


def test_an_order_whose_fills_were_here_first_is_told_once() -> None:
    one = join()
    assert one.fills([fill(1, "0.4")], at(0)) == []
    assert figures(told(one, state("open", "0.4"), at(0))) == [("PARTIALLY_FILLED", "0.4", "50000")]
    assert one.fills([fill(2, "0.1")], at(1)) == []


@pytest.mark.parametrize(
    ("placed_ms", "asks_from"),
    [
        (T0 - 10_000, T0 - 10_000 - LIFE_LEAD_MS),
        (T0 - 3_600_000, T0 - RECENT_MS),
    ],
)
def test_fills_are_asked_for_from_the_last_minute_or_from_when_the_order_was_placed(
    placed_ms: int, asks_from: int
) -> None:
    one = join(grace_s=5.0, tries=3, retry_s=1.0)
    assert told(one, state("filled", "1", placed_ms=placed_ms), at(0)) == []
    (ask,) = one.due(at(5.0)).asks
    assert ask.from_ms == asks_from


def test_the_second_question_is_about_all_its_life() -> None:
    one = join(grace_s=5.0, tries=3, retry_s=1.0)
    placed_ms = T0 - 3_600_000
    filled = state("filled", "1", placed_ms=placed_ms)
    told(one, filled, at(0))
    one.due(at(5.0))
    assert one.asked(filled, [], at(5.1)) == []
    (ask,) = one.due(at(6.1)).asks
    assert ask.from_ms == placed_ms - LIFE_LEAD_MS


def test_a_question_for_which_there_was_no_weight_does_not_count_once() -> None:
    one = join(grace_s=0.0, tries=1, retry_s=1.0)
    filled = state("filled", "1")
    told(one, filled, at(0))
    assert one.due(at(0)).asks
    one.asked(filled, [], at(0), later_s=60.0)
    assert one.due(at(59.9)) == ([], [], [], [])
    assert one.due(at(60.0)).asks, "better late than at the limit price"
    one.asked(filled, [], at(60), later_s=60.0)
    due = one.due(at(61.0))
    assert figures(due.events) == [("FILLED", "1", "60000")]
    assert [note.level for note in due.notes if isinstance(note, Note)] == ["error"]


def test_fills_under_an_id_that_no_row_told_are_the_orders_if_they_are_just_what_it_executed() -> None:
    one = join()
    one.fills([fill(1, "1", oid=9)], at(0))
    assert figures(told(one, state("filled", "1"), at(0))) == [("FILLED", "1", "50000")]
    other = join(grace_s=5.0)
    other.fills([fill(1, "0.5", oid=9)], at(0))
    assert told(other, state("filled", "1"), at(0)) == []


def test_fills_of_another_size_under_an_id_that_no_row_told_price_nothing() -> None:
    one = join()
    one.fills([fill(1, "0.5", oid=9)], at(0))
    assert figures(told(one, state("open", "0.4"), at(0))) == [("PARTIALLY_FILLED", "0.4", "60000")]


def test_an_order_of_which_more_fills_are_here_than_its_row_tells_is_not_told_again_with_the_next() -> None:
    one = join()
    one.fills([fill(1, "0.5")], at(0))
    assert len(told(one, state("open", "0.4"), at(0))) == 1
    assert one.fills([fill(2, "0.1")], at(1)) == []


def cancelled(one: Join) -> Update:
    """It waits for the other half of a modify, and the venue is asked."""
    end = state("canceled", "0.4")
    one.fills([fill(1, "0.4")], at(0))
    assert told(one, end, at(0)) == []
    assert one.due(at(1.0)).checks == [end]
    return end


def test_a_cancel_whose_client_id_lives_on_under_a_newer_order_is_not_told() -> None:
    one = join()
    end = cancelled(one)
    heir = state("open", oid=8)
    events, _ = one.checked(end, heir, at(1.1))
    assert [str(event.order_id) for event in events] == ["8"]
    assert one.checked(end, heir, at(1.2)) == ([], [])


@pytest.mark.parametrize("found", [None, state("canceled", "0.4")])
def test_a_cancel_whose_client_id_nobody_holds_is_told(found: Update | None) -> None:
    one = join()
    end = cancelled(one)
    events, _ = one.checked(end, found, at(1.1))
    assert figures(events) == [("CANCELED", "0.4", "50000")]


# --- what is said of odd frames ---


def test_rows_that_can_not_be_read_are_errors_in_the_log() -> None:
    outputs = live().feed("orderUpdates", [7, {"order": 8}])
    (note,) = of(Note, outputs)
    assert (note.level, "orders" in note.what) == ("error", True)
    assert of(Fail, outputs) == []
