"""From adapter output to sink messages: ids, the orders hash, positions, hand-over."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.messages import (
    AccountMessage,
    CandleMessage,
    InfoMessage,
    Message,
    ServiceMessage,
    SinkStatus,
    StreamClosed,
    TickerMessage,
)
from connector.core.metrics import METRICS
from connector.core.stamps import Stamped
from connector.streams.pipeline import Pipeline
from connector.streams.positions import decode_position
from connector.streams.tracker import known_order
from exchanges._adapter import Emit, EmitCandle, EmitTickers
from exchanges.events import AccountPosition, Balance, BalanceUpdate, Candle, OrderTradeUpdate, Ticker, encode
from tests.unit.connector.streams.test_tracker import report


class Sink:
    name = "test"

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.full = False

    def start(self) -> None: ...

    def submit(self, messages: Sequence[Message]) -> bool:
        if self.full:
            return False
        self.messages.extend(messages)
        return True

    def threads(self) -> list[Stamped]:
        return []

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def status(self) -> SinkStatus:
        return SinkStatus(name="test", connected=True, queued=0)

    def flush(self, timeout_s: float) -> bool:
        return True

    def stop(self, timeout_s: float) -> bool:
        return True

    def account(self) -> list[AccountMessage]:
        return [message for message in self.messages if isinstance(message, AccountMessage)]


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def pipeline(sink: Sink) -> Pipeline:
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.open("u1", "bybit", None)
    return pipeline


def test_an_order_event_becomes_one_whole_message(pipeline: Pipeline, sink: Sink) -> None:
    event = report("NEW")
    assert pipeline.account(Emit("u1", event), 5.0)
    message = sink.account()[0]
    assert (message.stream_id, message.exchange, message.event_type) == ("u1", "bybit", "executionReport")
    assert (message.event_id, message.event_time_ms, message.received_mono) == ("bybit:BTCUSDT:7:NEW:0", 1, 5.0)
    assert message.body == encode(event)
    assert (message.order_field, message.order_ttl_s) == ("D-BO-1", 86_400)


@pytest.mark.parametrize(
    ("client_id", "status", "liquidation", "field", "ttl_s"),
    [
        ("GRID-TP-1", "FILLED", False, "GRID-TP-1", 300),
        ("0xabc", "PARTIALLY_FILLED", False, "0xabc", 86_400),
        ("DBO12", "CANCELED", False, "DBO12", 300),
        ("manual-1", "NEW", False, None, 0),
        ("manual-1", "FILLED", True, "manual-1", 300),
    ],
)
def test_only_the_platforms_orders_go_to_the_orders_hash(
    pipeline: Pipeline, sink: Sink, client_id: str, status: str, liquidation: bool, field: str | None, ttl_s: int
) -> None:
    executed = "1" if status == "FILLED" else "0"
    more = {"new_client_order_id": client_id, "original_client_order_id": client_id, "liquidation": liquidation}
    pipeline.account(Emit("u1", report(status, executed, **more)), 0.0)
    assert (sink.account()[0].order_field, sink.account()[0].order_ttl_s) == (field, ttl_s)


def test_a_liquidation_without_client_id_gets_a_field_of_its_own(pipeline: Pipeline, sink: Sink) -> None:
    more = {"new_client_order_id": "", "original_client_order_id": "", "liquidation": True}
    pipeline.account(Emit("u1", report("FILLED", "1", **more)), 0.0)
    assert str(sink.account()[0].order_field).startswith("liq_")


def test_binance_futures_orders_reach_the_orders_hash(pipeline: Pipeline, sink: Sink) -> None:
    """Bug D5."""
    event = OrderTradeUpdate(
        event_time=1, transaction_time=1, symbol="ETHUSDT", client_order_id="D-TP-8", side="BUY", order_type="LIMIT",
        quantity="1", price="2", average_price="0", order_status="NEW", order_id=5, total_trade_quantity="0", order_time=1,
        liquidation=False, unique_message_id="u",
    )  # fmt: skip
    pipeline.account(Emit("u1", event), 0.0)
    assert sink.account()[0].order_field == "D-TP-8"


def test_a_spot_cancel_is_stored_under_the_order_not_under_the_cancel_request(pipeline: Pipeline, sink: Sink) -> None:
    more = {"new_client_order_id": "web_1", "original_client_order_id": "D-RO-5"}
    pipeline.account(Emit("u1", report("CANCELED", **more)), 0.0)
    assert sink.account()[0].order_field == "D-RO-5"


def test_nothing_is_published_for_a_closed_stream(pipeline: Pipeline, sink: Sink) -> None:
    pipeline.lines.close("u1", announce=True)
    assert pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert sink.messages == [StreamClosed(stream_id="u1")]


def test_an_event_that_no_sink_took_is_found_again_by_gap_repair(pipeline: Pipeline, sink: Sink) -> None:
    sink.full = True
    assert not pipeline.account(Emit("u1", report("FILLED", "1")), 0.0)
    sink.full = False
    assert pipeline.account(Emit("u1", report("FILLED", "1"), repaired=True), 0.0)
    assert [message.event_id for message in sink.account()] == ["bybit:BTCUSDT:7:FILLED:1"]


def test_what_waits_in_the_sink_is_not_told_again_after_an_event_that_it_refused(
    pipeline: Pipeline, sink: Sink
) -> None:
    delta = BalanceUpdate(asset="BTC", balance_delta="1", clear_time=1, event_time=1, unique_message_id="d1")
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.account(Emit("u1", report("PARTIALLY_FILLED", "0.4")), 0.0)
    sink.full = True
    assert not pipeline.account(Emit("u1", report("FILLED", "1")), 0.0)
    assert not pipeline.account(Emit("u1", delta), 0.0)
    assert pipeline.lines.pending("u1") == 2
    sink.full = False
    resume = pipeline.lines.resume("u1", 1)
    assert resume is not None
    assert [(order.status, order.executed) for order in resume.orders] == [("PARTIALLY_FILLED", "0.4")]
    for state, executed in (("NEW", "0"), ("PARTIALLY_FILLED", "0.4"), ("FILLED", "1")):
        pipeline.account(Emit("u1", report(state, executed), repaired=True), 0.0)
    pipeline.account(Emit("u1", delta), 0.0)
    assert [message.event_id.rpartition("bybit:")[2] for message in sink.account()] == [
        "BTCUSDT:7:NEW:0",
        "BTCUSDT:7:PARTIALLY_FILLED:0.4",
        "BTCUSDT:7:FILLED:1",
        "d1",
    ]


def test_an_order_that_the_sink_refused_at_first_sight_is_unknown_again(pipeline: Pipeline, sink: Sink) -> None:
    sink.full = True
    for state, executed in (("NEW", "0"), ("FILLED", "1")):
        assert not pipeline.account(Emit("u1", report(state, executed)), 0.0)
        resume = pipeline.lines.resume("u1", 1)
        assert resume is not None
        assert resume.orders == ()


def test_positions_hold_only_what_the_primary_sink_confirmed(pipeline: Pipeline, sink: Sink) -> None:
    pipeline.account(Emit("u1", report("NEW", order="1")), 0.0)
    pipeline.account(Emit("u1", report("NEW", order="2")), 0.0)
    pipeline.confirmed(sink.account()[:1])
    saved = pipeline.lines.dirty_positions(lambda _: 1_000, 5_000, 0)
    assert saved == {}, "nothing was ever certain, so there is no time to start repair from"
    pipeline.confirmed(sink.account()[1:])
    position = decode_position(pipeline.lines.dirty_positions(lambda _: 1_000, 5_000, 0)["u1"])
    assert position is not None
    assert (position.live_until_ms, [order.order_id for order in position.orders]) == (1_000, ["1", "2"])


def test_a_confirmation_needs_nothing_that_was_kept_in_memory(pipeline: Pipeline, sink: Sink) -> None:
    """Events that wait on disk while the broker is away must not fill the memory."""
    events = [report("PARTIALLY_FILLED", "0.4"), report("CANCELED", "0.4", order="8")]
    for event in events:
        pipeline.account(Emit("u1", event), 0.0)
    pipeline.confirmed(sink.account())
    position = decode_position(pipeline.lines.dirty_positions(lambda _: 1_000, 5_000, 0)["u1"])
    assert position is not None
    assert position.orders == [known_order(event) for event in events]


def test_held_events_are_published_at_release_without_what_the_giver_published(sink: Sink) -> None:
    giver, taker = Pipeline(sink, Chance(1)), Pipeline(sink, Chance(1))
    giver.lines.open("u1", "bybit", None)
    taker.lines.open("u1", "bybit", None, hold=True)
    for event in (report("NEW"), report("PARTIALLY_FILLED", "0.4")):
        giver.account(Emit("u1", event), 0.0)
        taker.account(Emit("u1", event), 0.0)
    update = BalanceUpdate(asset="USDT", balance_delta="-5", clear_time=1, event_time=1, unique_message_id="b1")
    giver.account(Emit("u1", update), 0.0)
    taker.account(Emit("u1", update), 0.0)
    position = giver.lines.take("u1", 1_000)
    giver.account(Emit("u1", report("FILLED", "1")), 0.0)
    taker.account(Emit("u1", report("FILLED", "1")), 0.0)
    assert giver.lines.pending("u1") == 3
    giver.confirmed(sink.account())
    assert giver.lines.pending("u1") == 0
    taker.lines.let_through("u1", decode_position(position))
    ids = [message.event_id for message in sink.account()]
    assert ids == [
        "bybit:BTCUSDT:7:NEW:0",
        "bybit:BTCUSDT:7:PARTIALLY_FILLED:0.4",
        "bybit:b1",
        "bybit:BTCUSDT:7:FILLED:1",
    ]


def _ticker(symbol: str, time: int) -> Ticker:
    return Ticker(symbol, time, 1.5, 2.0, 1.5, 1.5, 3.0, 3.0, f"{symbol}{time}", time + 1, "okx")


def test_tickers_of_one_frame_are_one_message_and_times_never_go_back(pipeline: Pipeline, sink: Sink) -> None:
    pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 5), _ticker("B", 5)]), 1.0)
    pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 4), _ticker("B", 6)]), 2.0)
    first, second = [message for message in sink.messages if isinstance(message, TickerMessage)]
    assert (first.exchange, first.symbols, first.bodies) == (
        "okx",
        ["A", "B"],
        [encode(_ticker("A", 5)), encode(_ticker("B", 5))],
    )
    assert (second.symbols, second.bodies) == (["B"], [encode(_ticker("B", 6))])


def _candle(exchange: str, start: int, close: str) -> EmitCandle:
    candle = Candle(
        start=start, open="1", high="2", low="1", close=close, volume="3", unique_message_id=f"{start}{close}"
    )
    return EmitCandle("c", exchange, "BTC-USDT", "1m", candle)


@pytest.mark.parametrize(("exchange", "closes"), [("binance", ["1", "3"]), ("kucoin", ["1", "2", "3"])])
def test_closed_candles_are_published_once_and_running_ones_each_time(
    sink: Sink, exchange: str, closes: list[str]
) -> None:
    """Bugs A43, and the table of contract 2.7."""
    pipeline = Pipeline(sink, Chance(1))
    for start, close in ((60, "1"), (60, "2"), (120, "3"), (60, "4")):
        pipeline.candle(_candle(exchange, start, close), 0.0)
    out = [
        msgspec.json.decode(message.body)["close"] for message in sink.messages if isinstance(message, CandleMessage)
    ]
    assert out == closes
    assert pipeline.market.candle_starts(exchange) == {"BTC-USDT|1m": 120}


NOW_MS = 1_796_000_000_000
ODD_TIMES = [NOW_MS + 365 * 86_400_000, NOW_MS * 1000, NOW_MS + 61_000]


@pytest.fixture
def dated(sink: Sink) -> Pipeline:
    METRICS.reset()
    pipeline = Pipeline(sink, Chance(1), wall_ms=lambda: NOW_MS)
    pipeline.lines.open("u1", "bybit", None)
    return pipeline


@pytest.mark.parametrize("odd", ODD_TIMES)
def test_a_ticker_of_the_future_costs_itself_and_silences_nothing(dated: Pipeline, sink: Sink, odd: int) -> None:
    dated.tickers(EmitTickers("t", "okx", [_ticker("A", odd), _ticker("B", NOW_MS)]), 1.0)
    dated.tickers(EmitTickers("t", "okx", [_ticker("A", NOW_MS), _ticker("B", NOW_MS + 59_000)]), 2.0)
    told = [message.symbols for message in sink.messages if isinstance(message, TickerMessage)]
    assert told == [["B"], ["A", "B"]]
    assert counted("okx", "ticker") == 1


@pytest.mark.parametrize("odd", ODD_TIMES)
def test_a_candle_of_the_future_is_not_published_nor_saved(dated: Pipeline, sink: Sink, odd: int) -> None:
    for start in (odd, NOW_MS):
        dated.candle(_candle("binance", start, "1"), 0.0)
    told = [message.start_ms for message in sink.messages if isinstance(message, CandleMessage)]
    assert told == [NOW_MS]
    assert dated.market.candle_starts("binance") == {"BTC-USDT|1m": NOW_MS}
    assert counted("binance", "candle") == 1


def test_a_saved_candle_of_the_future_does_not_silence_its_topic(dated: Pipeline, sink: Sink) -> None:
    dated.market.load_candle_starts("binance", {"BTC-USDT|1m": NOW_MS * 1000})
    dated.candle(_candle("binance", NOW_MS, "1"), 0.0)
    assert [message.start_ms for message in sink.messages if isinstance(message, CandleMessage)] == [NOW_MS]


@pytest.mark.parametrize("odd", ODD_TIMES)
def test_balances_of_the_future_do_not_outdate_the_next_ones(dated: Pipeline, sink: Sink, odd: int) -> None:
    def position(time_ms: int) -> AccountPosition:
        balances = [Balance(asset="BTC", free="1", locked="0")]
        return AccountPosition(
            event_time=time_ms, last_account_update=time_ms, balances=balances, unique_message_id=f"p{time_ms}"
        )

    dated.account(Emit("u1", position(odd)), 0.0)
    dated.account(Emit("u1", position(NOW_MS)), 0.0)
    assert len(sink.account()) == 2
    assert counted("bybit", "balance") == 1


def counted(exchange: str, kind: str) -> float:
    """Implausible times of a market since this test began."""
    return METRICS.value("implausible_times_total", exchange=exchange, kind=kind)


def test_service_messages_and_info(pipeline: Pipeline, sink: Sink) -> None:
    pipeline.info("u1", "bybit")
    pipeline.service("watchdogStall", {"exchange": "okx"})
    pipeline.raw_service("restart", {"restart": "userStream"})
    assert sink.messages == [
        InfoMessage(stream_id="u1", exchange="bybit"),
        ServiceMessage(kind="watchdogStall", body=b'{"watchdogStall":{"exchange":"okx"}}'),
        ServiceMessage(kind="restart", body=b'{"restart":"userStream"}'),
    ]


def test_a_genuine_event_tells_of_recovery_once(sink: Sink) -> None:
    recovered: list[str] = []
    pipeline = Pipeline(sink, Chance(1))
    pipeline.lines.on_genuine_event = recovered.append
    pipeline.lines.open("u1", "bybit", None)
    pipeline.lines.watch_for_recovery("u1")
    pipeline.account(Emit("u1", report("NEW")), 0.0)
    pipeline.account(Emit("u1", report("FILLED", "1")), 0.0)
    assert recovered == ["u1"]


def test_a_broken_position_is_ignored_not_fatal() -> None:
    assert decode_position(b"{broken") is None
    assert decode_position(None) is None
