"""A line publishes in order, counts what is on its way, tells of a key that works again, and leaves nothing behind."""

from __future__ import annotations

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, CandleMessage, ServiceMessage, SinkStatus, TickerMessage
from connector.core.metrics import METRICS
from connector.streams.lines import MAX_HELD
from connector.streams.pipeline import BEHIND, Pipeline
from connector.streams.positions import decode_position
from connector.streams.tracker import known_order
from exchanges._adapter import Emit, EmitTickers
from exchanges.events import (
    AccountConfigUpdate,
    AccountEvent,
    AccountPosition,
    AccountUpdate,
    BalanceUpdate,
    MarginCall,
    OrderTradeUpdate,
    UserDataStreamExpired,
)
from tests.unit.connector.streams.test_pipeline import Sink, _candle, _ticker
from tests.unit.connector.streams.test_tracker import report


class Sent(Sink):
    """A sink that also forgets and answers questions."""

    def __init__(self) -> None:
        super().__init__()
        self.revoked: list[str] = []
        self.flushed: list[float] = []
        self.queued = 0
        self.connected = True

    def revoke(self, stream_id: str) -> None:
        self.revoked.append(stream_id)

    def flush(self, timeout_s: float) -> bool:
        self.flushed.append(timeout_s)
        return True

    def mark(self) -> object:
        return "mark"

    def passed(self, mark: object) -> bool:
        return mark == "mark"

    def status(self) -> SinkStatus:
        return SinkStatus(name="test", connected=self.connected, queued=self.queued)


@pytest.fixture
def sink() -> Sent:
    return Sent()


@pytest.fixture
def pipeline(sink: Sent) -> Pipeline:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None)
    return pipeline


def delta(unique: str) -> BalanceUpdate:
    return BalanceUpdate(asset="USDT", balance_delta="-5", clear_time=1, event_time=1, unique_message_id=unique)


FUTURES_ORDER = OrderTradeUpdate(
    event_time=1, transaction_time=1, symbol="ETHUSDT", client_order_id="D-TP-8", side="BUY", order_type="LIMIT",
    quantity="1", price="2", average_price="0", order_status="NEW", order_id=5, total_trade_quantity="0", order_time=1,
    liquidation=False, unique_message_id="u",
)  # fmt: skip
GENUINE: list[AccountEvent] = [
    report("NEW"),
    FUTURES_ORDER,
    AccountPosition(event_time=1, last_account_update=1, balances=[], unique_message_id="p"),
    delta("b1"),
    AccountUpdate(
        event_time=1, transaction_time=1, event_reason_type="ORDER", balances=[], positions=[], unique_message_id="a"
    ),
    AccountConfigUpdate(event_time=1, transaction_time=1, type="x", unique_message_id="c"),
]
OTHERS: list[AccountEvent] = [
    MarginCall(event_time=1, positions=[], unique_message_id="m"),
    UserDataStreamExpired(event_time=1, unique_message_id="e"),
]


# --- a key that works again ---


@pytest.mark.parametrize("event", GENUINE, ids=lambda event: type(event).__name__)
def test_every_genuine_event_proves_that_the_key_works(sink: Sent, event: AccountEvent) -> None:
    recovered: list[str] = []
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.on_genuine_event = recovered.append
    pipeline.lines.open("u1", "binance", None)
    pipeline.lines.watch_for_recovery("u1")
    pipeline.account(Emit("u1", event), 0.0)
    assert recovered == ["u1"]


@pytest.mark.parametrize("event", OTHERS, ids=lambda event: type(event).__name__)
def test_other_events_prove_nothing(sink: Sent, event: AccountEvent) -> None:
    recovered: list[str] = []
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.on_genuine_event = recovered.append
    pipeline.lines.open("u1", "binance", None)
    pipeline.lines.watch_for_recovery("u1")
    pipeline.account(Emit("u1", event), 0.0)
    assert (recovered, len(sink.messages)) == ([], 1)


def test_a_stream_that_was_closed_is_watched_no_more(sink: Sent) -> None:
    recovered: list[str] = []
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.on_genuine_event = recovered.append
    pipeline.lines.open("u1", "bybit", None)
    pipeline.lines.watch_for_recovery("u1")
    pipeline.lines.close("u1", announce=False)
    pipeline.lines.open("u1", "bybit", None)
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert recovered == []


def test_nobody_needs_to_listen(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.lines.watch_for_recovery("u1")
    assert pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert len(sink.messages) == 1


# --- what is on its way ---


def test_a_stream_that_comes_back_counts_its_own_events_only(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.lines.take("u1", 1_000)
    assert pipeline.lines.pending("u1") == 1
    pipeline.confirmed(sink.account())
    assert pipeline.lines.pending("u1") == 0
    pipeline.lines.open("u1", "bybit", None)
    pipeline.account(Emit("u1", report("NEW", order="8")), 0.0)
    pipeline.account(Emit("u1", report("NEW", order="9")), 0.0)
    assert pipeline.lines.pending("u1") == 2
    pipeline.confirmed(sink.account()[1:2])
    assert pipeline.lines.pending("u1") == 1


def test_a_line_that_leaves_is_counted_until_all_of_it_is_confirmed(pipeline: Pipeline, sink: Sent) -> None:
    for order in ("7", "8", "9"):
        pipeline.account(Emit("u1", report("NEW", order=order)), 0.0)
    taken = pipeline.lines.take("u1", 1_000)
    pipeline.confirmed(sink.account()[:1])
    assert pipeline.lines.pending("u1") == 2
    assert pipeline.lines.last_word("u1", taken, out=True, revoke=False) is None, (
        "no position of this line was ever saved"
    )
    pipeline.confirmed(sink.account()[1:])
    assert pipeline.lines.pending("u1") == 0
    assert pipeline.lines.last_word("u1", taken, out=True, revoke=False) == taken


def test_what_the_next_owner_finds_itself_is_revoked_and_no_more_waited_for(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.confirmed(sink.account())
    pipeline.lines.dirty_positions(lambda _: 900, 1_000, 0)
    pipeline.account(Emit("u1", report("FILLED", "1")), 0.0)
    taken = pipeline.lines.take("u1", 2_000)
    position = decode_position(pipeline.lines.last_word("u1", taken, out=True, revoke=True))
    assert position is not None
    assert (position.live_until_ms, position.orders) == (900, [known_order(report("NEW"))])
    assert sink.revoked == ["u1"]
    assert pipeline.lines.pending("u1") == 0
    assert pipeline.lines.last_word("u1", taken, out=True, revoke=True) == taken
    assert sink.revoked == ["u1"]


def test_what_another_sink_did_not_get_is_in_no_position_that_is_left_behind(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.account(Emit("u1", report("FILLED", "1")), 0.0)
    pipeline.confirmed(sink.account())
    taken = pipeline.lines.take("u1", 2_000)
    assert taken is not None
    assert pipeline.lines.last_word("u1", taken, out=False, revoke=False) is None


def test_without_revoking_the_unconfirmed_is_still_counted(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    taken = pipeline.lines.take("u1", 2_000)
    pipeline.lines.last_word("u1", taken, out=True, revoke=False)
    assert (sink.revoked, pipeline.lines.pending("u1")) == ([], 1)


def test_confirmations_of_an_earlier_life_count_for_nothing(pipeline: Pipeline, sink: Sent) -> None:
    """The outbox on disk gives them, before this life has sent anything."""
    other = Pipeline(Sent(), Chance(1))
    old = Sent()
    before = Pipeline(old, Chance(1))
    before.lines.open("u1", "bybit", None)
    before.account(Emit("u1", report("NEW")), 0.0)
    other.confirmed(old.account())  # nobody has the stream here
    pipeline.confirmed(old.account())
    assert pipeline.lines.pending("u1") == 0
    pipeline.account(Emit("u1", report("NEW", order="8")), 0.0)
    assert pipeline.lines.pending("u1") == 1


def test_a_stranger_among_the_confirmations_stops_nobody_else(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.lines.open("u2", "bybit", None)
    for stream in ("u2", "u1"):
        pipeline.account(Emit(stream, report("NEW")), 0.0)
    pipeline.lines.close("u2", announce=False)
    pipeline.confirmed(sink.account())
    assert pipeline.lines.pending("u1") == 0


def test_nothing_is_pending_of_a_stranger(pipeline: Pipeline) -> None:
    assert pipeline.lines.pending("u9") == 0
    assert pipeline.lines.last_event_mono("u9") is None
    assert pipeline.lines.resume("u9", 1) is None


# --- when a position is saved ---


def test_a_new_line_has_nothing_to_save_before_its_time(pipeline: Pipeline) -> None:
    assert pipeline.lines.dirty_positions(lambda _: 9, 100, 60_000) == {}


def test_a_position_is_due_exactly_at_its_time(pipeline: Pipeline) -> None:
    assert pipeline.lines.dirty_positions(lambda _: 9, 59_999, 60_000) == {}
    assert "u1" in pipeline.lines.dirty_positions(lambda _: 9, 60_000, 60_000)


def test_a_stream_that_is_not_live_saves_only_what_is_new(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.lines.dirty_positions(lambda _: 900, 100_000, 60_000)
    assert pipeline.lines.dirty_positions(lambda _: None, 200_000, 60_000) == {}
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.confirmed(sink.account())
    position = decode_position(pipeline.lines.dirty_positions(lambda _: None, 200_001, 60_000)["u1"])
    assert position is not None
    assert (position.live_until_ms, len(position.orders)) == (900, 1)


def test_one_stream_that_is_not_live_keeps_no_other_from_being_saved(pipeline: Pipeline) -> None:
    pipeline.lines.open("u2", "bybit", None)
    live = {"u2": 900}
    assert set(pipeline.lines.dirty_positions(live.get, 100_000, 60_000)) == {"u2"}


class Untaken:
    """A lock that nobody may take."""

    def __enter__(self) -> None:
        raise AssertionError("it was taken")

    def __exit__(self, *_: object) -> None: ...


def test_of_thousands_of_quiet_streams_none_is_locked_to_find_that_nothing_changed(pipeline: Pipeline) -> None:
    for number in range(2, 5):
        pipeline.lines.open(f"u{number}", "bybit", None)
    pipeline.lines.dirty_positions(lambda _: 9, 100_000, 60_000)
    for line in pipeline.lines._lines.values():
        line.lock = Untaken()  # type: ignore[assignment]
    assert pipeline.lines.dirty_positions(lambda _: 9, 100_001, 60_000) == {}


def test_only_the_streams_that_are_named_are_saved(pipeline: Pipeline) -> None:
    pipeline.lines.open("u2", "bybit", None)
    assert set(pipeline.lines.dirty_positions(lambda _: 9, 100_000, 60_000, ["u2", "gone"])) == {"u2"}
    assert set(pipeline.lines.dirty_positions(lambda _: 9, 100_000, 60_000)) == {"u1"}


# --- holding ---


def test_a_delta_that_was_held_is_told_when_the_giver_ended_well(sink: Sent) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None, hold=True)
    pipeline.account(Emit("u1", delta("b1")), 0.0)
    assert sink.messages == []
    assert pipeline.lines.let_through("u1", None)
    assert [message.event_id for message in sink.account()] == ["bybit:b1"]


def test_a_line_that_holds_nothing_can_be_released(pipeline: Pipeline, sink: Sent) -> None:
    assert pipeline.lines.let_through("u1", None)
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert len(sink.messages) == 1


def test_what_is_held_is_bounded_and_the_last_one_is_told(sink: Sent) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None, hold=True)
    emit = Emit("u1", report("NEW"))
    taken = [pipeline.account(emit, 0.0) for _ in range(MAX_HELD)]
    assert taken == [True] * (MAX_HELD - 1) + [False]


# --- other messages ---


def test_the_sink_answers_for_itself(pipeline: Pipeline, sink: Sent) -> None:
    assert pipeline.flush(2.5)
    assert sink.flushed == [2.5]
    assert pipeline.passed(pipeline.mark())
    assert not pipeline.passed("another mark")
    assert pipeline.confirming
    sink.connected = False
    assert not pipeline.confirming
    message = ServiceMessage(kind="a", body=b"{}")
    assert pipeline.submit([message])
    assert sink.messages == [message]
    sink.full = True
    assert not pipeline.submit([message])


def test_a_handful_on_its_way_is_not_behind(pipeline: Pipeline, sink: Sent) -> None:
    sink.queued = BEHIND
    assert not pipeline.behind
    sink.queued = BEHIND + 1
    assert pipeline.behind


def test_when_the_last_event_came_is_known(pipeline: Pipeline) -> None:
    assert pipeline.lines.last_event_mono("u1") == 0.0
    pipeline.account(Emit("u1", report("NEW")), 7.5)
    assert pipeline.lines.last_event_mono("u1") == 7.5


def test_repaired_orders_are_counted_and_others_are_not(pipeline: Pipeline) -> None:
    def counted() -> float:
        return METRICS.value("repaired_orders_total", venue="bybit")

    before = counted()
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.account(Emit("u1", GENUINE[2], repaired=True), 0.0)
    assert counted() == before
    pipeline.account(Emit("u1", report("FILLED", "1"), repaired=True), 0.0)
    assert counted() == before + 1


@pytest.mark.parametrize(
    "exchange", ["binance", "binanceUsdm", "bybit", "bybitLinear", "okx", "okxInverse", "coinbase"]
)
def test_a_closed_candle_that_comes_again_is_published_once(sink: Sent, exchange: str) -> None:
    """After a reconnect, and from another process."""
    pipeline = Pipeline(sink, Chance(1))
    for start, close in ((60, "1"), (60, "1"), (120, "2"), (60, "1")):
        pipeline.candle(_candle(exchange, start, close), 0.0)
    found = [message for message in sink.messages if isinstance(message, CandleMessage)]
    assert [msgspec.json.decode(message.body)["close"] for message in found] == ["1", "2"]
    assert all(message.closed for message in found)


@pytest.mark.parametrize("exchange", ["kucoin", "bitget", "hyperliquid", "kraken"])
def test_a_running_candle_is_published_each_time(sink: Sent, exchange: str) -> None:
    pipeline = Pipeline(sink, Chance(1))
    for close in ("1", "2"):
        pipeline.candle(_candle(exchange, 60, close), 0.0)
    found = [message for message in sink.messages if isinstance(message, CandleMessage)]
    assert [message.closed for message in found] == [False, False]


def test_candles_of_another_process_end_and_begin_with_the_exchange(sink: Sent) -> None:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.market.load_candle_starts("okx", {"BTC-USDT|1m": 120})
    pipeline.candle(_candle("okx", 120, "1"), 0.0)
    assert sink.messages == [], "the other process has published that"
    pipeline.market.load_candle_starts("okx", {"BTC-USDT|1m": 60})
    assert pipeline.market.last_candle_ms("okx", "BTC-USDT", "1m") == 120, "an older position takes nothing back"
    pipeline.market.end_candles("okx")
    pipeline.candle(_candle("okx", 180, "2"), 0.0)
    assert sink.messages == []
    assert pipeline.market.candle_starts("okx") == {"BTC-USDT|1m": 120}
    pipeline.market.begin_candles("okx")
    pipeline.candle(_candle("okx", 180, "2"), 0.0)
    assert len(sink.messages) == 1


def test_tickers_of_the_same_moment_are_published(pipeline: Pipeline, sink: Sent) -> None:
    for _ in range(2):
        pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 5)]), 1.0)
    pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 4)]), 1.0)
    pipeline.tickers(EmitTickers("t", "bybit", [_ticker("A", 4)]), 1.0)
    found = [message.exchange for message in sink.messages if isinstance(message, TickerMessage)]
    assert found == ["okx", "okx", "bybit"]


# --- what a line leaves behind ---


def test_a_line_without_anything_on_its_way_is_forgotten_when_it_is_taken(pipeline: Pipeline) -> None:
    pipeline.lines.take("u1", 5)
    assert not pipeline.lines._leaving


def test_nobody_waits_for_what_a_fenced_line_had_on_its_way(pipeline: Pipeline) -> None:
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert pipeline.lines.pending("u1")
    pipeline.lines.fence("u1")
    pipeline.lines.take("u1", 5)
    assert not pipeline.lines.pending("u1")


def test_the_position_of_a_fenced_line_is_its_next_owners_to_save(pipeline: Pipeline, sink: Sent) -> None:
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.lines.confirmed([message for message in sink.messages if isinstance(message, AccountMessage)])
    assert pipeline.lines.dirty_positions(lambda _stream: 5, 6, 1).keys() == {"u1"}
    pipeline.lines.fence("u1")
    assert pipeline.lines.dirty_positions(lambda _stream: 5, 60_000, 1) == {}


def test_only_balances_are_counted_as_balances_of_an_implausible_time(sink: Sent) -> None:
    pipeline = Pipeline(sink, Chance(1), lambda: 1_000)
    pipeline.lines.open("u1", "bybit", None)
    before = METRICS.value("implausible_times_total", exchange="bybit", kind="balance")
    late = msgspec.structs.replace(report("NEW"), event_time=10**9)
    pipeline.account(Emit("u1", late), 0.0)
    assert METRICS.value("implausible_times_total", exchange="bybit", kind="balance") == before
    position = AccountPosition(event_time=10**9, last_account_update=1, balances=[], unique_message_id="p")
    pipeline.account(Emit("u1", position), 0.0)
    assert METRICS.value("implausible_times_total", exchange="bybit", kind="balance") == before + 1


def test_a_start_that_is_a_month_ahead_is_the_latest_that_is_believed_of_an_earlier_life(sink: Sent) -> None:
    """A candle may have begun before it was told, not after; a clock that was set back makes it look so for a while."""
    day_ms = 86_400_000
    pipeline = Pipeline(sink, Chance(1), lambda: 100 * day_ms)
    pipeline.market.load_candle_starts("okx", {"A|1m": 131 * day_ms, "B|1m": 133 * day_ms})
    assert pipeline.market.candle_starts("okx") == {"A|1m": 131 * day_ms}
