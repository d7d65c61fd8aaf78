"""A position that was saved is loaded: what was published is not told again, what was missed is, and nothing goes back."""

from __future__ import annotations

import pytest

from connector.core.clock import Chance
from connector.streams.pipeline import Pipeline
from connector.streams.positions import decode_position
from connector.streams.tracker import MAX_FINISHED_ORDERS, MAX_SEEN_IDS, OrderTracker, Position, known_order
from exchanges._adapter import Emit, KnownOrder
from exchanges.events import BalanceUpdate, OrderTradeUpdate
from tests.unit.connector.streams.test_pipeline import Sink
from tests.unit.connector.streams.test_tracker import report


def delta(unique: str) -> BalanceUpdate:
    return BalanceUpdate(asset="USDT", balance_delta="-5", clear_time=1, event_time=1, unique_message_id=unique)


def saved(*orders: KnownOrder, seen: tuple[str, ...] = ()) -> Position:
    return Position(live_until_ms=1_000, orders=list(orders), seen=list(seen))


def loaded(*positions: Position) -> OrderTracker:
    tracker = OrderTracker("bybit")
    for position in positions:
        tracker.load(position)
    return tracker


def orders_of(data: bytes | None) -> list[tuple[str, str]]:
    position = decode_position(data)
    assert position is not None
    return [(order.order_id, order.status) for order in position.orders]


# --- a line that is opened with a position ---


@pytest.fixture
def sink() -> Sink:
    return Sink()


def restarted(sink: Sink, position: Position) -> Pipeline:
    """A process that takes the stream up where the position says it stood."""
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", position)
    return pipeline


PUBLISHED = known_order(report("PARTIALLY_FILLED", "0.4"))


def test_an_order_that_was_filled_while_nobody_watched_is_told(sink: Sink) -> None:
    pipeline = restarted(sink, saved(PUBLISHED))
    pipeline.account(Emit("u1", report("PARTIALLY_FILLED", "0.4"), repaired=True), 0.0)
    assert sink.messages == [], "the earlier life has published that"
    pipeline.account(Emit("u1", report("FILLED", "1"), repaired=True), 0.0)
    assert [message.event_id for message in sink.account()] == ["bybit:BTCUSDT:7:FILLED:1"]


def test_gap_repair_asks_for_the_orders_of_the_earlier_life(sink: Sink) -> None:
    resume = restarted(sink, saved(PUBLISHED)).lines.resume("u1", 60_000)
    assert resume is not None
    assert resume.orders == (PUBLISHED,)
    assert resume.since_ms == 55_000


def test_the_next_saved_position_still_knows_the_earlier_life(sink: Sink) -> None:
    """With the second restart in a row the orders of the first life would be forgotten."""
    pipeline = restarted(sink, saved(PUBLISHED))
    pipeline.account(Emit("u1", report("NEW", order="8")), 0.0)
    pipeline.confirmed(sink.account())
    positions = pipeline.lines.dirty_positions(lambda _: 9_000, 10_000, 60_000)
    assert orders_of(positions["u1"]) == [("7", "PARTIALLY_FILLED"), ("8", "NEW")]


def test_a_refused_event_does_not_cost_what_the_earlier_life_published(sink: Sink) -> None:
    pipeline = restarted(sink, saved(PUBLISHED))
    sink.full = True
    assert not pipeline.account(Emit("u1", report("NEW", order="8")), 0.0)
    sink.full = False
    pipeline.account(Emit("u1", report("PARTIALLY_FILLED", "0.4")), 0.0)
    assert sink.messages == []


def test_a_released_line_saves_what_the_giver_published(sink: Sink) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None, hold=True)
    assert pipeline.lines.let_through("u1", saved(PUBLISHED))
    pipeline.account(Emit("u1", report("NEW", order="8")), 0.0)
    pipeline.confirmed(sink.account())
    positions = pipeline.lines.dirty_positions(lambda _: 9_000, 10_000, 60_000)
    assert orders_of(positions["u1"]) == [("7", "PARTIALLY_FILLED"), ("8", "NEW")]


# --- when it is saved ---


def test_a_confirmed_order_is_saved_at_once_not_with_the_slow_refresh(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    assert "u1" in pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)
    assert pipeline.lines.dirty_positions(lambda _: 9_000, 100_001, 60_000) == {}, "nothing is new"
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.confirmed(sink.account())
    assert orders_of(pipeline.lines.dirty_positions(lambda _: 9_000, 100_002, 60_000)["u1"]) == [("7", "NEW")]
    assert pipeline.lines.dirty_positions(lambda _: 9_000, 100_003, 60_000) == {}, "it was saved"


def test_a_position_that_could_not_be_saved_is_due_again(sink: Sink) -> None:
    pipeline = restarted(sink, saved(PUBLISHED))
    pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)
    pipeline.lines.mark_dirty(["u1", "u2"])
    assert "u1" in pipeline.lines.dirty_positions(lambda _: 9_000, 100_001, 60_000)


def test_the_live_time_goes_on_after_an_event_that_was_refused(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    sink.full = True
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert pipeline.lines.pending("u1") == 0
    position = decode_position(pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)["u1"])
    assert position is not None
    assert position.live_until_ms == 9_000


def test_the_live_time_waits_for_what_is_not_confirmed(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    late = decode_position(pipeline.lines.dirty_positions(lambda _: 199_000, 200_000, 60_000)["u1"])
    assert late is not None
    assert late.live_until_ms == 9_000
    pipeline.confirmed(sink.account())
    now = decode_position(pipeline.lines.dirty_positions(lambda _: 199_000, 200_001, 60_000)["u1"])
    assert now is not None
    assert now.live_until_ms == 199_000


def test_a_line_that_holds_saves_nothing(sink: Sink) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", saved(PUBLISHED), hold=True)
    assert pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000) == {}


# --- a hand-over ---


def test_the_usual_hand_over_leaves_the_position_as_it_was_taken(sink: Sink) -> None:
    pipeline = restarted(sink, saved(PUBLISHED))
    taken = pipeline.lines.take("u1", 9_000)
    assert orders_of(taken) == [("7", "PARTIALLY_FILLED")]
    assert pipeline.lines.last_word("u1", taken, out=True, revoke=False) == taken


def test_a_hand_over_with_everything_confirmed_leaves_the_position_as_it_was_taken(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    taken = pipeline.lines.take("u1", 9_000)
    assert pipeline.lines.pending("u1") == 1
    pipeline.confirmed(sink.account())
    assert pipeline.lines.last_word("u1", taken, out=True, revoke=False) == taken
    assert orders_of(taken) == [("7", "NEW")]


def test_a_line_that_published_nothing_yet_leaves_no_position(sink: Sink) -> None:
    held = Pipeline(sink, Chance(1))
    held.lines.open("u1", "bybit", saved(PUBLISHED), hold=True)
    assert held.lines.take("u1", 9_000) is None
    never_live = restarted(sink, saved(PUBLISHED))
    assert never_live.lines.take("u1", 0) is None
    assert never_live.lines.take("u2", 9_000) is None


def test_nothing_is_published_after_the_line_was_taken(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    pipeline.lines.take("u1", 9_000)
    assert pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert sink.messages == []


def test_a_full_disk_while_held_events_are_released_is_told(sink: Sink) -> None:
    """The session is reset then, and gap repair finds the rest."""
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None, hold=True)
    for event in (report("NEW"), report("FILLED", "1")):
        assert pipeline.account(Emit("u1", event), 0.0)
    sink.full = True
    assert not pipeline.lines.let_through("u1", None)
    sink.full = False
    pipeline.account(Emit("u1", report("FILLED", "1"), repaired=True), 0.0)
    assert [message.event_id for message in sink.account()] == ["bybit:BTCUSDT:7:FILLED:1"]


def test_held_deltas_of_a_giver_that_died_are_dropped_and_orders_are_not(sink: Sink) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None, hold=True)
    for event in (delta("b1"), report("NEW")):
        pipeline.account(Emit("u1", event), 0.0)
    assert pipeline.lines.let_through("u1", None, clean=False)
    assert [message.event_id for message in sink.account()] == ["bybit:BTCUSDT:7:NEW:0"]
    pipeline.account(Emit("u1", delta("b2")), 0.0)
    assert sink.account()[-1].event_id == "bybit:b2", "what comes after it is told"


def test_release_of_a_stream_that_is_gone_is_no_failure(sink: Sink) -> None:
    assert Pipeline(sink, Chance(1)).lines.let_through("u1", None)


# --- what a tracker takes over ---


def test_a_delta_that_was_confirmed_is_in_the_saved_position() -> None:
    """After a failover it would be told again, and the backend adds it twice."""
    tracker = OrderTracker("binance")
    tracker.confirm("binance:b1", None)
    position = tracker.position(1_000)
    assert position.seen == ["binance:b1"]
    taker = OrderTracker("binance")
    taker.load(position)
    assert taker.admit(delta("b1")) is None
    assert taker.admit(delta("b2")) is not None


def test_a_delta_that_a_line_published_is_not_told_again_by_its_next_owner(sink: Sink) -> None:
    pipeline = restarted(sink, saved())
    pipeline.account(Emit("u1", delta("b1")), 0.0)
    pipeline.confirmed(sink.account())
    position = decode_position(pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)["u1"])
    assert position is not None
    after = Sink()
    restarted(after, position).account(Emit("u1", delta("b1")), 0.0)
    assert after.messages == []


FILLED, HALF, NEW = (known_order(report(*one)) for one in (("FILLED", "1"), ("PARTIALLY_FILLED", "0.4"), ("NEW", "0")))
CANCELED_EMPTY = known_order(report("CANCELED", "0"))


@pytest.mark.parametrize("older", [NEW, HALF, CANCELED_EMPTY])
def test_an_older_position_reopens_no_finished_order(older: KnownOrder) -> None:
    tracker = loaded(saved(FILLED), saved(older))
    assert tracker.admit(report("FILLED", "1", time=9)) is None
    assert tracker.position(1_000).orders == [FILLED]


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [(HALF, NEW, HALF), (NEW, HALF, HALF), (HALF, FILLED, FILLED), (HALF, CANCELED_EMPTY, CANCELED_EMPTY)],
)
def test_a_loaded_position_only_moves_an_order_forward(first: KnownOrder, then: KnownOrder, kept: KnownOrder) -> None:
    assert loaded(saved(first), saved(then)).position(1_000).orders == [kept]


def test_a_position_with_the_same_total_and_another_price_is_taken() -> None:
    amended = known_order(report("NEW", price="11"))
    assert loaded(saved(NEW), saved(amended)).position(1_000).orders == [amended]


def test_a_position_remembers_the_newest_ids_only() -> None:
    tracker = loaded(saved(seen=tuple(f"id{number}" for number in range(60))))
    assert tracker.position(1_000).seen == [f"id{number}" for number in range(10, 60)]
    assert tracker.position(1_000, seen=MAX_SEEN_IDS).seen == [f"id{number}" for number in range(60)]


def test_confirmed_ids_are_bounded_and_the_oldest_goes_first() -> None:
    tracker = OrderTracker("binance")
    for number in range(MAX_SEEN_IDS + 1):
        tracker.confirm(f"binance:{number}", None)
    seen = tracker.position(1_000, seen=2 * MAX_SEEN_IDS).seen
    assert (len(seen), seen[0], seen[-1]) == (MAX_SEEN_IDS, "binance:1", f"binance:{MAX_SEEN_IDS}")


def test_finished_orders_are_bounded_and_the_oldest_goes_first() -> None:
    tracker = OrderTracker("bybit")
    for number in range(MAX_FINISHED_ORDERS + 1):
        assert tracker.admit(report("FILLED", "1", order=str(number + 1_000))) is not None
    ids = [order.order_id for order in tracker.position(1_000).orders]
    assert (len(ids), ids[0]) == (MAX_FINISHED_ORDERS, "1001")
    newest = str(MAX_FINISHED_ORDERS + 1_000)
    assert tracker.admit(report("FILLED", "1", order=newest, time=9)) is None, "the newest one's late duplicate"


def test_a_futures_order_that_was_confirmed_is_in_the_saved_position(sink: Sink) -> None:
    order = OrderTradeUpdate(
        event_time=1, transaction_time=1, symbol="ETHUSDT", client_order_id="D-TP-8", side="BUY", order_type="LIMIT",
        quantity="1", price="2", average_price="0", order_status="NEW", order_id=5, total_trade_quantity="0",
        order_time=1, liquidation=False, unique_message_id="u",
    )  # fmt: skip
    pipeline = restarted(sink, saved())
    pipeline.account(Emit("u1", order), 0.0)
    pipeline.confirmed(sink.account())
    assert orders_of(pipeline.lines.dirty_positions(lambda _: 9_000, 100_000, 60_000)["u1"]) == [("5", "NEW")]
