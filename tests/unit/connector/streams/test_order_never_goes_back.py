"""What is published of an order only moves forward, whatever a venue or a repair tells; and amendments are told."""

from __future__ import annotations

import pytest

from connector.streams.tracker import MAX_OPEN_ORDERS, MAX_SEEN_IDS, OrderTracker, known_order
from exchanges.events import AccountPosition, AccountUpdate, Balance, BalanceUpdate, ExecutionReport, OrderTradeUpdate
from tests.unit.connector.streams.test_tracker import published, report


@pytest.mark.parametrize(
    ("first", "then"),
    [("PARTIALLY_FILLED", "NEW"), ("PENDING_CANCEL", "NEW")],
)
def test_an_order_does_not_go_backwards_at_the_same_total(first: str, then: str) -> None:
    assert published([report(first, "0.4"), report(then, "0.4", price="11")]) == [(first, "0.4")]


@pytest.mark.parametrize(
    ("first", "then"),
    [("NEW", "PENDING_CANCEL"), ("NEW", "PARTIALLY_FILLED"), ("PARTIALLY_FILLED", "PENDING_CANCEL"),
     ("PENDING_CANCEL", "PARTIALLY_FILLED")],
)  # fmt: skip
def test_an_order_moves_on_at_the_same_total(first: str, then: str) -> None:
    assert published([report(first, "0.4"), report(then, "0.4")]) == [(first, "0.4"), (then, "0.4")]


def test_a_total_that_falls_is_not_published() -> None:
    life = [report("PARTIALLY_FILLED", "0.4"), report("PARTIALLY_FILLED", "0.3", price="11")]
    assert published(life) == [("PARTIALLY_FILLED", "0.4")]


@pytest.mark.parametrize(
    "other",
    [{"price": "11"}, {"quantity": "2"}, {"new_client_order_id": "D-BO-2"}],
    ids=["price", "quantity", "client id"],
)
def test_any_amendment_is_told_once_under_an_id_of_its_own(other: dict[str, str]) -> None:
    tracker = OrderTracker("bybit")
    before = tracker.admit(report("NEW"))
    amended = tracker.admit(report("NEW", **other))  # type: ignore[arg-type]
    assert before is not None
    assert amended is not None
    assert amended.event_id.startswith(f"{before.event_id}:")
    assert tracker.admit(report("NEW", time=9, **other)) is None  # type: ignore[arg-type]


def test_each_of_several_amendments_has_an_id_of_its_own() -> None:
    """A receiver that drops repeated ids would lose the second amendment."""
    tracker = OrderTracker("bybit")
    frames = [
        report("NEW"),
        report("NEW", price="11"),
        report("NEW", price="11", quantity="2"),
        report("NEW", price="11", quantity="2", new_client_order_id="D-BO-2"),
    ]
    ids = [found.event_id for found in (tracker.admit(frame) for frame in frames) if found is not None]
    assert len(set(ids)) == len(frames)


def test_a_move_at_the_same_total_keeps_the_id_that_every_source_gives_it() -> None:
    tracker = OrderTracker("bybit")
    tracker.admit(report("NEW", "0.4"))
    moved = tracker.admit(report("PARTIALLY_FILLED", "0.4", price="11"))
    assert moved is not None
    assert moved.event_id == "bybit:BTCUSDT:7:PARTIALLY_FILLED:0.4"


def test_only_a_cancel_is_told_under_the_original_client_id() -> None:
    ids = {"new_client_order_id": "web_1", "original_client_order_id": "D-BO-1"}
    assert known_order(report("CANCELED", **ids)).client_order_id == "D-BO-1"
    assert known_order(report("NEW", **ids)).client_order_id == "web_1"
    assert known_order(report("EXPIRED", **ids)).client_order_id == "web_1"


def test_a_cancel_without_an_original_client_id_keeps_its_own() -> None:
    ids = {"new_client_order_id": "D-BO-1", "original_client_order_id": ""}
    assert known_order(report("CANCELED", **ids)).client_order_id == "D-BO-1"


@pytest.mark.parametrize("order_id", ["", "-1", "0"])
def test_orders_without_an_id_of_the_venue_are_told_apart_by_their_client_id(order_id: str) -> None:
    ids = [{"new_client_order_id": f"liq-{n}", "original_client_order_id": f"liq-{n}"} for n in (1, 2)]
    found = published([report("FILLED", "1", order=order_id, **one) for one in ids])
    assert found == [("FILLED", "1"), ("FILLED", "1")]


def test_the_time_of_creation_is_kept_when_a_later_frame_has_none() -> None:
    tracker = OrderTracker("bybit")
    tracker.admit(report("NEW", creation_time=5))
    later = tracker.admit(report("PARTIALLY_FILLED", "0.4", creation_time=0))
    assert later is not None
    assert later.order is not None
    assert later.order.creation_time_ms == 5
    last = tracker.admit(report("FILLED", "1", creation_time=6))
    assert last is not None
    assert last.order is not None
    assert last.order.creation_time_ms == 6


def test_a_short_cancel_keeps_the_published_totals_of_both_kinds_of_order() -> None:
    spot = OrderTracker("binance")
    spot.admit(report("PARTIALLY_FILLED", "0.4"))
    found = spot.admit(report("CANCELED", "0"))
    assert found is not None
    assert isinstance(found.event, ExecutionReport)
    assert (found.event.total_trade_quantity, found.event.total_quote_trade_quantity) == ("0.4", "4.0")

    def futures(status: str, executed: str) -> OrderTradeUpdate:
        return OrderTradeUpdate(
            event_time=1, transaction_time=1, symbol="ETHUSDT", client_order_id="D-TP-8", side="BUY", order_type="LIMIT",
            quantity="1", price="2", average_price="0", order_status=status, order_id=5, total_trade_quantity=executed,
            order_time=1, liquidation=False, unique_message_id="u",
        )  # fmt: skip

    usdm = OrderTracker("binanceUsdm")
    usdm.admit(futures("PARTIALLY_FILLED", "0.4"))
    end = usdm.admit(futures("CANCELED", "0"))
    assert end is not None
    assert isinstance(end.event, OrderTradeUpdate)
    assert end.event.total_trade_quantity == "0.4"
    assert end.order is not None
    assert (end.order.executed, end.order.terminal) == ("0.4", True)


# --- balances ---


def balances(time: int, unique: str, *assets: str) -> AccountPosition:
    return AccountPosition(
        event_time=time,
        last_account_update=0,
        balances=[Balance(asset=asset, free="1", locked="0") for asset in assets or ("USDT",)],
        unique_message_id=unique,
    )


def test_balances_of_a_gap_are_told() -> None:
    """Without them a bot goes on with the amounts from before the gap."""
    tracker = OrderTracker("binance")
    assert tracker.admit(balances(5, "live")) is not None
    assert tracker.admit(balances(9, "repaired"), repaired=True) is not None


def test_repaired_balances_are_told_whatever_their_time() -> None:
    """REST answers say what is now, some with the time of the last change."""
    tracker = OrderTracker("binance")
    tracker.admit(balances(9, "live"))
    assert tracker.admit(balances(5, "repaired"), repaired=True) is not None


def test_repaired_balances_do_not_silence_live_ones() -> None:
    tracker = OrderTracker("binance")
    tracker.admit(balances(5, "live"))
    tracker.admit(balances(9, "repaired"), repaired=True)
    assert tracker.admit(balances(6, "live 2")) is not None


def test_futures_balances_of_a_gap_are_told() -> None:
    update = AccountUpdate(
        event_time=9, transaction_time=9, event_reason_type="ORDER", balances=[], positions=[], unique_message_id="r"
    )
    assert OrderTracker("binanceUsdm").admit(update, repaired=True) is not None


def test_the_same_balances_are_told_once() -> None:
    tracker = OrderTracker("binance")
    assert tracker.admit(balances(5, "one")) is not None
    assert tracker.admit(balances(5, "one")) is None
    assert tracker.admit(balances(5, "one"), repaired=True) is None


def test_balances_of_the_same_moment_are_both_told() -> None:
    tracker = OrderTracker("binance")
    assert tracker.admit(balances(5, "one")) is not None
    assert tracker.admit(balances(5, "two")) is not None


def test_old_balances_of_another_asset_are_told() -> None:
    tracker = OrderTracker("binance")
    tracker.admit(balances(9, "one", "USDT"))
    assert tracker.admit(balances(5, "two", "BTC")) is not None
    assert tracker.admit(balances(6, "three", "BTC", "USDT")) is not None, "the BTC in it is new"
    assert tracker.admit(balances(5, "four", "BTC")) is None
    assert tracker.admit(balances(8, "five", "USDT")) is None, "a frame with old USDT in it made nothing newer"


def test_seen_ids_are_bounded_and_the_oldest_goes_first() -> None:
    tracker = OrderTracker("binance")

    def tell(number: int) -> bool:
        update = BalanceUpdate(
            asset="USDT", balance_delta="-5", clear_time=1, event_time=1, unique_message_id=str(number)
        )
        return tracker.admit(update) is not None

    assert all(tell(number) for number in range(MAX_SEEN_IDS + 1))
    assert not tell(MAX_SEEN_IDS), "the newest one's late duplicate"
    assert not tell(1)
    assert tell(0), "so long ago that no copy of it comes"


@pytest.mark.parametrize("end", ["CANCELED", "EXPIRED", "REJECTED", "FILLED"])
def test_an_end_at_the_same_total_is_told(end: str) -> None:
    """A partly filled order that is cancelled fills nothing more: its end is news all the same."""
    life = [report("PARTIALLY_FILLED", "0.4"), report(end, "0.4"), report(end, "0.4", time=9)]
    assert published(life) == [("PARTIALLY_FILLED", "0.4"), (end, "0.4")]


def test_balances_of_no_asset_are_told_each() -> None:
    tracker = OrderTracker("binance")
    frames = [
        AccountPosition(event_time=5, last_account_update=0, balances=[], unique_message_id=str(n)) for n in (1, 2)
    ]
    assert all(tracker.admit(frame) is not None for frame in frames)


def test_open_orders_are_bounded_and_the_oldest_goes_first() -> None:
    tracker = OrderTracker("bybit")
    for number in range(MAX_OPEN_ORDERS + 1):
        tracker.admit(report("NEW", order=str(number + 10)))
    ids = [order.order_id for order in tracker.position(1).orders]
    assert (len(ids), ids[0], ids[-1]) == (MAX_OPEN_ORDERS, "11", str(MAX_OPEN_ORDERS + 10))


def open_ids(tracker: OrderTracker) -> list[str]:
    return [order.order_id for order in tracker.position(1).orders]


def test_an_order_that_was_renamed_stays_open_when_another_takes_its_old_client_id() -> None:
    tracker = OrderTracker("bybit")
    tracker.admit(report("NEW", order="1", new_client_order_id="old"))
    tracker.admit(report("NEW", order="1", new_client_order_id="new"))
    tracker.admit(report("NEW", order="2", new_client_order_id="old"))
    assert open_ids(tracker) == ["1", "2"]
