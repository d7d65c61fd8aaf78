"""Order events only move forward, whatever arrives in whatever order and however often."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from connector.streams.tracker import Admitted, OrderTracker, known_order
from exchanges.events import AccountPosition, Balance, BalanceUpdate, ExecutionReport, OrderTradeUpdate, carrying


def report(
    status: str, executed: str = "0", *, order: str = "7", time: int = 1, price: str = "10", **more: object
) -> ExecutionReport:
    client_id = "D-BO-1" if order == "7" else f"D-BO-{order}"
    fields: dict[str, object] = {
        "symbol": "BTCUSDT",
        "new_client_order_id": client_id,
        "original_client_order_id": client_id,
        "order_id": order,
        "order_status": status,
        "order_type": "LIMIT",
        "side": "BUY",
        "price": price,
        "quantity": "1",
        "total_trade_quantity": executed,
        "total_quote_trade_quantity": str(Decimal(executed) * 10),
        "creation_time": 1,
        "event_time": time,
        "order_time": time,
        "unique_message_id": f"{order}{status}{executed}{time}",
    }
    return ExecutionReport(**{**fields, **more})  # type: ignore[arg-type]


def published(events: list[ExecutionReport]) -> list[tuple[str, str]]:
    tracker = OrderTracker("bybit")
    found = [tracker.admit(event) for event in events]
    return [
        (one.event.order_status, one.event.total_trade_quantity)
        for one in found
        if one is not None and isinstance(one.event, ExecutionReport)
    ]


def test_a_plain_life_is_published_whole() -> None:
    life = [report("NEW"), report("PARTIALLY_FILLED", "0.4"), report("FILLED", "1")]
    assert published(life) == [("NEW", "0"), ("PARTIALLY_FILLED", "0.4"), ("FILLED", "1")]


def test_filled_is_published_once_and_nothing_comes_after_it() -> None:
    life = [
        report("FILLED", "1"),
        report("FILLED", "1", time=2),
        report("PARTIALLY_FILLED", "0.4"),
        report("CANCELED", "1"),
    ]
    assert published(life) == [("FILLED", "1")]


def test_the_same_frame_on_two_connections_is_published_once() -> None:
    once = [report("NEW"), report("PARTIALLY_FILLED", "0.4")]
    assert published([*once, *once]) == [("NEW", "0"), ("PARTIALLY_FILLED", "0.4")]


def test_an_amended_order_is_published_again() -> None:
    assert published([report("NEW"), report("NEW", price="11"), report("NEW", price="11")]) == [
        ("NEW", "0"),
        ("NEW", "0"),
    ]


def test_a_position_remembers_how_much_other_order_ids_filled_of_a_client_order() -> None:
    """Positions are made of what was published: without it a smaller size in a gap looked like fills of another id."""
    first = report("PARTIALLY_FILLED", "0.6", unique_message_id=carrying("kucoin:B:NEW", "0.4", "4"))
    assert (known_order(first).carried, known_order(first).carried_quote) == ("0.4", "4")
    assert (known_order(report("NEW")).carried, known_order(report("NEW")).carried_quote) == ("0", "0")


def test_the_old_id_of_a_modified_order_is_not_open_for_ever() -> None:
    """Hyperliquid places a modified order anew, and the end of its old id is nobody's news: each gap asked for it again."""
    tracker = OrderTracker("hyperliquid")
    same = {"new_client_order_id": "0xa1", "original_client_order_id": "0xa1"}
    for number in range(50):
        tracker.admit(report("NEW", order=str(number), **same))
    assert [order.order_id for order in tracker.resume(0).orders] == ["49"]
    tracker.admit(report("REJECTED", order="50", **same))
    assert len(tracker._open) == 1, "a refused change leaves the order alive"
    tracker.admit(report("FILLED", "1", order="51", **same))
    assert len(tracker._open) == 0
    tracker.admit(report("NEW", order="52", new_client_order_id="", original_client_order_id=""))
    tracker.admit(report("NEW", order="53", new_client_order_id="", original_client_order_id=""))
    assert len(tracker._open) == 2, "orders without a client id are strangers to each other"


def test_a_cancel_that_is_short_of_the_fills_keeps_the_fills() -> None:
    assert published([report("PARTIALLY_FILLED", "0.4"), report("CANCELED", "0")]) == [
        ("PARTIALLY_FILLED", "0.4"),
        ("CANCELED", "0.4"),
    ]


def test_the_event_id_does_not_depend_on_where_the_event_comes_from() -> None:
    live = OrderTracker("binance").admit(report("PARTIALLY_FILLED", "0.40000000"))
    repaired = OrderTracker("binance").admit(report("PARTIALLY_FILLED", "0.4", time=99), repaired=True)
    assert live is not None
    assert repaired is not None
    assert live.event_id == repaired.event_id == "binance:BTCUSDT:7:PARTIALLY_FILLED:0.4"


def test_equal_order_ids_of_two_symbols_are_two_orders() -> None:
    assert published([report("FILLED", "1"), report("FILLED", "1", symbol="ETHUSDT")]) == [
        ("FILLED", "1"),
        ("FILLED", "1"),
    ]


def test_two_liquidations_without_order_id_are_both_published() -> None:
    ids = [{"new_client_order_id": f"liq-{n}", "original_client_order_id": f"liq-{n}"} for n in (1, 2)]
    assert published([report("FILLED", "1", order="-1", **one) for one in ids]) == [("FILLED", "1"), ("FILLED", "1")]


def test_balance_updates_are_never_published_twice_and_never_from_repair() -> None:
    update = BalanceUpdate(asset="USDT", balance_delta="-5", clear_time=1, event_time=1, unique_message_id="b1")
    tracker = OrderTracker("binance")
    assert tracker.admit(update, repaired=True) is None
    assert tracker.admit(update) is not None
    assert tracker.admit(update) is None


def _balances(time: int, unique: str) -> AccountPosition:
    return AccountPosition(
        event_time=time,
        last_account_update=0,
        balances=[Balance(asset="USDT", free="1", locked="0")],
        unique_message_id=unique,
    )


def test_a_late_balance_of_the_old_connection_does_not_overwrite_the_new_one() -> None:
    tracker = OrderTracker("binance")
    assert tracker.admit(_balances(10, "a")) is not None
    assert tracker.admit(_balances(9, "b")) is None
    assert tracker.admit(_balances(11, "c")) is not None


def test_a_position_carries_over_to_another_process() -> None:
    first = OrderTracker("okx")
    for event in (
        report("NEW", order="1"),
        report("PARTIALLY_FILLED", "0.4", order="2"),
        report("FILLED", "1", order="3"),
    ):
        assert first.admit(event) is not None
    second = OrderTracker("okx")
    second.load(msgspec.json.decode(msgspec.json.encode(first.position(123)), type=type(first.position(0))))
    assert second.admit(report("NEW", order="1")) is None
    assert second.admit(report("FILLED", "1", order="3")) is None
    assert second.admit(report("PARTIALLY_FILLED", "0.5", order="2")) is not None
    resume = second.resume(123)
    assert {order.order_id: order.status for order in resume.orders} == {
        "1": "NEW",
        "2": "PARTIALLY_FILLED",
        "3": "FILLED",
    }


def test_futures_orders_are_tracked_by_their_own_shape() -> None:
    event = OrderTradeUpdate(
        event_time=1, transaction_time=1, symbol="ETHUSDT", client_order_id="c", side="BUY", order_type="LIMIT", quantity="1",
        price="2", average_price="0", order_status="NEW", order_id=2**60, total_trade_quantity="0", order_time=1,
        liquidation=False, unique_message_id="u",
    )  # fmt: skip
    order = known_order(event)
    assert (order.order_id, order.client_order_id, order.status) == (str(2**60), "c", "NEW")


STEPS = [("NEW", "0"), ("PARTIALLY_FILLED", "0.2"), ("PARTIALLY_FILLED", "0.7"), ("FILLED", "1"), ("CANCELED", "0.7")]


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_any_order_of_frames_gives_rising_totals_and_at_most_one_final_state(steps: list[tuple[str, str]]) -> None:
    out = published([report(status, executed, time=index) for index, (status, executed) in enumerate(steps)])
    totals = [Decimal(executed) for _, executed in out]
    assert totals == sorted(totals)
    finals = [status for status, _ in out if status in {"FILLED", "CANCELED"}]
    assert len(finals) <= 1
    assert not finals or out[-1][0] == finals[0]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STEPS)), max_size=60))
def test_confirming_what_was_admitted_gives_the_same_tracker(frames: list[tuple[str, tuple[str, str]]]) -> None:
    tracker, confirmed = OrderTracker("okx"), OrderTracker("okx")
    for index, (order, (status, executed)) in enumerate(frames):
        admitted = tracker.admit(report(status, executed, order=order, time=index))
        if isinstance(admitted, Admitted):
            confirmed.confirm(admitted.event_id, admitted.order)
    assert tracker.position(0) == confirmed.position(0)
