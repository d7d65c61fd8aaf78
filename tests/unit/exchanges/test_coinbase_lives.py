"""Coinbase's orders, gaps, prices and candles by what a bot would notice: small sizes, odd rows, refusals, clocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges.coinbase import VENUE
from exchanges.coinbase._candle import MAX_BUCKETS
from exchanges.coinbase._gap import MAX_PAGES
from exchanges.coinbase._orders import Memory
from exchanges.coinbase._series import DAY_MS, INTERVALS, MINUTE_MS, WEEK_MS, floor, grain_of
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY
from tests.unit.exchanges.driver import frame, json_answer, of, params, sent
from tests.unit.exchanges.test_coinbase import (
    FIVE,
    FUTURE,
    NOW,
    RESUME,
    TABLE,
    WALL,
    account,
    active,
    at,
    bucket,
    candle,
    candle_adapter,
    drive,
    joined,
    message,
    moved,
    order,
    refused,
    rest_order,
    setup,
)

SINCE = WALL - 60_000


def updated(adapter: Adapter, *orders: dict[str, object]) -> list[Output]:
    return list(adapter.received(message("user", {"type": "update", "orders": list(orders)}), NOW))


def report(outputs: Sequence[object]) -> ExecutionReport:
    (emit,) = of(Emit, outputs)
    assert isinstance(emit.event, ExecutionReport)
    return emit.event


def reports(outputs: Sequence[object]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def missing(outputs: Sequence[object]) -> tuple[str, ...]:
    (live,) = of(Live, outputs)
    assert live.gap is not None
    return live.gap.missing


# --- orders ---


def test_the_whole_life_of_an_order_below_one_unit() -> None:
    """The venue says OPEN while an order fills, and its last row has neither its size nor its limit."""
    adapter, _ = joined(account())
    new = report(updated(adapter, order("a", leaves_quantity="0.0002", limit_price="0.5")))
    assert (new.order_status, new.quantity, new.price, new.total_quote_trade_quantity) == ("NEW", "0.0002", "0.5", "0")
    assert (new.order_type, new.side, new.symbol, new.new_client_order_id) == ("LIMIT", "BUY", "BTC-USD", "D-a")
    part = {"cumulative_quantity": "0.0001", "leaves_quantity": "0.0001", "avg_price": "0.4", "limit_price": "0.5"}
    half = report(updated(adapter, order("a", **part)))
    assert (half.order_status, half.quantity, half.price) == ("PARTIALLY_FILLED", "0.0002", "0.4")
    assert (half.total_trade_quantity, half.total_quote_trade_quantity) == ("0.0001", "0.00004")
    end = {"cumulative_quantity": "0.0001", "leaves_quantity": "0", "limit_price": ""}
    gone = report(updated(adapter, order("a", "CANCELLED", **end)))
    assert (gone.order_status, gone.quantity, gone.price) == ("CANCELED", "0.0002", "0.5")
    assert (gone.creation_time, gone.order_time) == (1_795_326_540_000, 1_795_326_600_123)


def test_a_full_fill_is_as_large_as_what_was_filled() -> None:
    """An order that was made smaller by an edit is through: with its old size, the rest would be bought again."""
    adapter, _ = joined(account())
    updated(adapter, order("a"))
    told = report(
        updated(adapter, order("a", "FILLED", cumulative_quantity="1.5", leaves_quantity="0", avg_price="99"))
    )
    assert (told.order_status, told.quantity, told.total_trade_quantity) == ("FILLED", "1.5", "1.5")


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED", "FAILED"])
def test_every_word_for_an_end_without_the_rest_is_a_cancel(status: str) -> None:
    adapter, _ = joined(account())
    gone = report(updated(adapter, order("a", status, leaves_quantity="0", limit_price="")))
    assert (gone.order_status, gone.quantity, gone.price) == ("CANCELED", "0", "0"), "nothing else is known of it"


@pytest.mark.parametrize("status", ["PENDING", "UNKNOWN_ORDER_STATUS"])
def test_a_word_for_what_is_not_live_yet_tells_nothing_and_is_no_question(status: str) -> None:
    adapter, _ = joined(account())
    assert updated(adapter, order("a", status)) == []
    gone = report(updated(adapter, order("a", "CANCELLED", leaves_quantity="0", limit_price="")))
    assert (gone.quantity, gone.price) == ("2", "100"), "but what it described is remembered"


@pytest.mark.parametrize(
    "figures",
    [
        {"cumulative_quantity": "0", "avg_price": "99"},
        {"cumulative_quantity": "2", "avg_price": "0", "filled_value": "0"},
    ],
)
def test_a_full_fill_without_a_size_or_a_price_is_asked_for(figures: dict[str, object]) -> None:
    adapter, _ = joined(account())
    outputs = updated(adapter, order("a", "FILLED", leaves_quantity="0", **figures))
    assert [note.what for note in of(Note, outputs)] == ["order a: status FILLED without a filled quantity or a price"]
    (call,) = of(Call, outputs)
    filled = rest_order("a", "FILLED", filled_size="2", average_filled_price="99", filled_value="198")
    assert report(adapter.answered(call, json_answer({"order": filled}), NOW)).total_trade_quantity == "2"


@pytest.mark.parametrize(
    ("figures", "price", "value"),
    [
        ({"avg_price": "99"}, "99", "198"),
        ({"avg_price": "0", "filled_value": "198"}, "100", "198"),
        ({"avg_price": "99", "filled_value": "198.5"}, "99", "198.5"),
    ],
)
def test_a_full_fill_is_worth_what_its_row_says_or_its_average(
    figures: dict[str, object], price: str, value: str
) -> None:
    adapter, _ = joined(account())
    told = report(updated(adapter, order("a", "FILLED", cumulative_quantity="2", leaves_quantity="0", **figures)))
    assert (told.order_status, told.quantity, told.price, told.total_quote_trade_quantity) == (
        "FILLED",
        "2",
        price,
        value,
    )


@pytest.mark.parametrize(("side", "told"), [("SELL", "SELL"), ("sell", "SELL"), ("Buy", "BUY")])
def test_a_side_is_read_in_any_case(side: str, told: str) -> None:
    adapter, _ = joined(account())
    assert report(updated(adapter, order("a", order_side=side, order_type="Market"))).side == told
    assert report(updated(adapter, order("b", order_side=side, order_type="Market"))).order_type == "MARKET"


@pytest.mark.parametrize(("kind", "ours"), [("", True), (None, True), ("spot", True), ("FUTURE", False)])
def test_only_orders_of_spot_are_told(kind: str | None, ours: bool) -> None:
    adapter, _ = joined(account())
    assert bool(of(Emit, updated(adapter, order("a", product_type=kind)))) is ours


def test_what_is_remembered_of_orders_is_bounded_and_never_overwritten_by_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("exchanges.coinbase._orders.MAX_REMEMBERED", 2)
    memory = Memory()
    memory.learn("a", "1", "10")
    memory.learn("b", "2")
    memory.learn("a", "", "11")
    memory.learn("c", "3")
    assert (memory.get("a").quantity, memory.get("a").price) == ("1", "11")
    assert (memory.get("b").quantity, memory.get("b").price) == ("", "")
    assert memory.get("c").quantity == "3"


def test_the_limit_of_an_order_that_had_fills_before_the_connection_is_not_its_average() -> None:
    untouched = KnownOrder(
        order_id="n", client_order_id="D-n", symbol="BTC-USD", status="NEW", quantity="2", price="100"
    )
    touched = KnownOrder(order_id="t", client_order_id="D-t", symbol="BTC-USD", status="PARTIALLY_FILLED", quantity="2",
                         price="98", executed="1", executed_quote="98")  # fmt: skip
    ended = KnownOrder(
        order_id="e", client_order_id="D-e", symbol="BTC-USD", status="CANCELED", quantity="2", price="7"
    )
    adapter, outputs = joined(account(Resume(since_ms=SINCE, orders=(untouched, touched, ended))))
    drive(adapter, outputs, {})
    bare = {"leaves_quantity": "0", "limit_price": "", "avg_price": ""}
    told = reports(updated(adapter, *(order(name, "CANCELLED", **bare) for name in ("n", "t", "e"))))
    assert [(one.order_id, one.quantity, one.price) for one in told] == [
        ("n", "2", "100"),
        ("t", "2", "0"),
        ("e", "0", "0"),
    ]


@pytest.mark.parametrize("status", ["OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"])
def test_every_word_for_an_open_order_is_one(status: str) -> None:
    adapter, _ = joined(account())
    assert report(updated(adapter, order("a", status))).order_status == "NEW"


def test_what_a_gap_told_of_an_order_is_remembered_for_its_last_row() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    drive(adapter, outputs, {"open-orders": [{"orders": [rest_order("a")]}]})
    gone = report(updated(adapter, order("a", "CANCELLED", leaves_quantity="0", limit_price="")))
    assert (gone.quantity, gone.price) == ("2", "100")


# --- gaps ---


def test_futures_of_the_same_account_are_no_orders_of_spot() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    rest, calls = drive(adapter, outputs, {"open-orders": [{"orders": [FUTURE, rest_order("a")]}],
                                           "fills": [{"fills": [{"order_id": "f"}]}]})  # fmt: skip
    assert [one.order_id for one in reports(rest)] == ["a"]
    assert missing(rest) == ()
    assert not [call for call in calls if call.tag == "order"]


def test_a_page_is_the_last_where_nothing_more_is_told_of_and_never_endless() -> None:
    for page, pages in (
        ({"orders": [rest_order("a")], "has_next": False, "cursor": "c"}, 1),
        ({"orders": [rest_order("a")], "has_next": True, "cursor": ""}, 1),
        ({"orders": [], "has_next": True, "cursor": "c"}, 1),
        ({"orders": [rest_order("a")], "cursor": "c"}, MAX_PAGES),
    ):
        adapter, outputs = joined(account(Resume(since_ms=SINCE)))
        rest, calls = drive(adapter, outputs, {"open-orders": [page] * 300})
        asked = [call for call in calls if call.tag == "open-orders"]
        assert len(asked) == pages
        phrases = [phrase for phrase in missing(rest) if "pages" in phrase]
        assert phrases == ([f"open-orders: more than {MAX_PAGES} pages"] if pages > 1 else [])
        assert {params(call)["order_status"] for call in asked} == {"OPEN"}
        assert {urlsplit(call.url).path for call in asked} == {"/api/v3/brokerage/orders/historical/batch"}
        assert {params(call)["product_type"] for call in asked} == {"SPOT"}


def test_an_order_of_two_lists_is_told_once_and_what_is_unclear_is_named() -> None:
    adapter, outputs = joined(account(RESUME))
    melted = rest_order("m", "MELTED")
    short = rest_order("s", "FILLED", filled_size="2", average_filled_price="0", filled_value="0")
    sideless = rest_order("x", side="UNKNOWN")
    rest, calls = drive(
        adapter,
        outputs,
        {"open-orders": [{"orders": [rest_order("a"), melted, sideless]}],
         "changed-orders": [{"orders": [rest_order("a"), short, rest_order("p", "PENDING")]}],
         "fills": [{"fills": [{"order_id": "a"}, {"order_id": "m"}]}]},
    )  # fmt: skip
    assert [one.order_id for one in reports(rest)] == ["a"]
    assert [urlsplit(call.url).path.rpartition("/")[2] for call in calls if call.tag == "order"] == ["old"]
    named = missing(rest)
    assert "order m: unknown status MELTED" in named
    assert "order s: status FILLED without a filled quantity or a price" in named
    assert "order old: not known to the venue" in named
    assert any(phrase.startswith("order x can't be read: no side") for phrase in named)


def test_an_order_that_only_its_fills_named_is_asked_for_by_its_id() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    filled = rest_order("f", "FILLED", filled_size="0.0002", average_filled_price="0.5", filled_value=None,
                        last_fill_time=None, order_configuration=None)  # fmt: skip
    rest, _ = drive(adapter, outputs, {"fills": [{"fills": [{"order_id": "f"}]}], "order": [{"order": filled}]})
    (told,) = reports(rest)
    assert (told.quantity, told.total_trade_quantity, told.total_quote_trade_quantity) == ("0.0002", "0.0002", "0.0001")
    assert (told.order_time, told.creation_time) == (WALL - 600_000, WALL - 600_000)
    assert missing(rest) == ()


def test_answers_that_are_none_are_named_and_a_busy_venue_is_asked_again() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    odd = Answer(200, {}, b'{"orders": {"odd": 1}}')
    rest, _ = drive(adapter, outputs, {"open-orders": [odd], "fills": [Answer(503, {}, b"")]})
    assert not of(Live, rest)
    (again,) = of(Call, adapter.woken(at(30)))
    assert again.tag == "fills"
    (live,) = of(Live, adapter.answered(again, json_answer({"fills": []}), at(30)))
    assert live.gap is not None
    assert [phrase.partition(":")[0] for phrase in live.gap.missing] == ["open-orders"]


def test_a_wallet_without_figures_is_empty() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    rows = [{"currency": "BTC", "available_balance": {"value": "0.0001"}, "hold": None}, {"currency": "ETH"}]
    rest, _ = drive(adapter, outputs, {"accounts": [{"accounts": [*rows, 7]}]})
    assert missing(rest)[0].startswith("1 balances that")
    (position,) = [emit.event for emit in of(Emit, rest) if isinstance(emit.event, AccountPosition)]
    assert [(one.asset, one.free, one.locked) for one in position.balances] == [
        ("BTC", "0.0001", "0"),
        ("ETH", "0", "0"),
    ]


def test_a_status_that_is_asked_for_is_told_though_a_list_had_shown_the_order() -> None:
    adapter, outputs = joined(account(Resume(since_ms=SINCE)))
    drive(adapter, outputs, {"open-orders": [{"orders": [rest_order("a")]}]})
    (call,) = of(Call, updated(adapter, order("a", "MELTED")))
    assert (
        report(adapter.answered(call, json_answer({"order": rest_order("a", "CANCELLED")}), NOW)).order_status
        == "CANCELED"
    )


# --- the account's connection ---


def test_an_account_that_left_publishes_nothing_and_says_so_to_the_venue() -> None:
    adapter, _ = joined(account())
    (leave,) = sent(adapter.remove("u1", NOW))
    assert (leave["type"], leave["channel"]) == ("unsubscribe", "user")
    assert updated(adapter, order("a")) == []
    assert list(adapter.received(message("heartbeats", {}), NOW)) == []
    early = VENUE.user(setup())
    early.add(account(), NOW)
    early.start(NOW)
    assert list(early.remove("u1", NOW)) == []


def test_a_refusal_that_is_not_about_the_key_ends_the_connection() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    outputs = adapter.received(frame({"type": "error", "message": "something odd"}), NOW)
    assert of(Note, outputs)[0].what == "subscribe refused: something odd"
    (fail,) = of(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    adapter, _ = joined(account())
    assert adapter.received(frame({"type": "error", "message": "something odd"}), NOW) == [
        Note("error frame: something odd")
    ]


def test_a_refused_key_is_looked_at_once_however_often_it_is_refused() -> None:
    adapter, time = refused()
    assert list(adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW)) == []
    assert urlsplit(time.url).path == "/api/v3/brokerage/time"
    (fail,) = of(Fail, adapter.answered(time, Answer(503, {}, b""), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")
    assert list(adapter.answered(time, json_answer({"epochMillis": str(WALL)}), NOW)) == [], "answered already"


def test_a_refusal_after_everything_was_granted_is_about_the_key() -> None:
    adapter, _ = joined(account())
    (fail,) = of(Fail, adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")


def test_a_sandbox_account_stays_on_the_sandbox() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(Resume(since_ms=SINCE), environment="sandbox"), NOW)
    (connect,) = of(Connect, adapter.start(NOW))
    assert "sandbox" in connect.url
    adapter.connected(NOW)
    adapter.received(active(user=["p"]), NOW)
    calls = of(Call, adapter.received(active(user=["p"], heartbeats=["h"]), NOW))
    assert calls
    assert all("sandbox" in urlsplit(call.url).netloc for call in calls)


def test_frames_that_are_not_for_us_are_told_or_passed_over() -> None:
    adapter, _ = joined(account())
    assert list(adapter.received(message("futures_balance_summary", {}), NOW)) == []
    assert list(adapter.received(message("nobody", {}), NOW)) == [Note("unknown channel nobody")]
    (note,) = adapter.received(frame({"channel": "user", "events": 7}), NOW)
    assert isinstance(note, Note)
    assert (note.level, note.what.startswith("unreadable user frame")) == ("error", True)
    outputs = adapter.received(message("user", 7, {"type": "update", "orders": [order("a")]}), NOW)
    assert of(Note, outputs)[0].what.startswith("1 events that")
    assert len(of(Emit, outputs)) == 1


@pytest.mark.parametrize(("numbers", "told"), [((7, 8), []), ((7, 7), [Note]), ((7, 9), [Fail])])
def test_only_the_next_number_follows_a_number(numbers: tuple[int, int], told: list[type]) -> None:
    adapter, _ = joined(account())
    first, second = numbers
    adapter.received(message("heartbeats", {}, sequence=first), NOW)
    outputs = adapter.received(message("heartbeats", {}, sequence=second), NOW)
    assert [type(one) for one in outputs if not isinstance(one, Seen)] == told
    if told == [Note]:
        assert of(Note, outputs) == [Note("a frame with an old sequence number was ignored")]
        assert not of(Fail, adapter.received(message("heartbeats", {}, sequence=8), NOW)), "the newest one counts"


def test_an_answer_to_a_subscription_that_does_not_name_the_channel_is_none() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    assert list(adapter.received(active(level2=["p"]), NOW)) == []
    assert sent(adapter.received(active(user=["p"]), NOW))
    assert adapter.deadline() == NOW.mono + 10


def test_a_frame_without_a_channel_is_no_error_of_what_was_asked() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    assert list(adapter.received(frame({"type": "hello"}), NOW)) == [Note("unknown channel ")]
    assert sent(adapter.received(active(user=["p"]), NOW))


def test_while_the_venues_clock_is_asked_for_no_answer_to_the_subscription_is_missed() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    assert of(Call, adapter.received(frame({"type": "error", "message": "authentication failure"}), at(8)))
    assert list(adapter.woken(at(10))) == []
    (fail,) = of(Fail, adapter.woken(at(14)))
    assert fail.kind is FailKind.CREDENTIAL


def test_an_answer_that_nobody_waits_for_tells_nothing() -> None:
    adapter, _ = joined(account())
    stray = Call(tag="order", method="GET", url="https://api.coinbase.com/x")
    assert list(adapter.answered(stray, json_answer({"order": rest_order("a")}), NOW)) == []
    (note,) = updated(adapter, order("a", order_side="NONE"))
    assert isinstance(note, Note)
    assert (note.level, note.what) == ("error", "order a can't be read: no side 'NONE'")


def test_a_request_that_was_signed_again_waits_for_its_answer_again() -> None:
    adapter, time = refused()
    assert sent(adapter.answered(time, json_answer({"epochMillis": str(WALL + 90_000)}), at(3)))
    assert adapter.deadline() == NOW.mono + 13
    (fail,) = of(Fail, adapter.woken(at(13)))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "no answer to subscribing user for 10 s")


# --- prices ---


def prices(*symbols: str, table: Any = EMPTY) -> Adapter:
    adapter = VENUE.ticker(setup(table))
    adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase", symbols=symbols), NOW)
    adapter.start(NOW)
    return adapter


def live_prices(*symbols: str) -> Adapter:
    adapter = prices(*symbols)
    adapter.connected(NOW)
    adapter.received(active(ticker_batch=symbols), NOW)
    outputs = adapter.received(active(ticker_batch=symbols, heartbeats=["h"]), NOW)
    assert of(Live, outputs) == [Live("t1")]
    return adapter


def ticks(*rows: object, channel: str = "ticker_batch", when: str = "2026-11-22T05:50:00.123456Z") -> bytes:
    return message(channel, {"type": "update", "tickers": list(rows)}, when=when)


@pytest.mark.parametrize("channel", ["ticker_batch", "ticker"])
def test_a_price_below_one_unit_is_a_price_in_either_channel(channel: str) -> None:
    adapter = live_prices("BTC-EUR")
    row = {"product_id": "BTC-EUR", "price": "0.00002", "volume_24_h": "0.5"}
    (emit,) = of(EmitTickers, adapter.received(ticks(row, channel=channel), NOW))
    (told,) = emit.tickers
    assert (told.symbol, told.price, told.best_ask, told.best_bid) == ("BTC-EUR", 0.00002, 0.00002, 0.00002)
    assert (told.volume, told.best_ask_qnt, told.best_bid_qnt) == (0.5, 0.5, 0.5)
    assert told.time == 1_795_326_600_123


def test_a_tick_without_a_time_has_ours_and_one_without_a_price_only_counts_as_data() -> None:
    adapter = live_prices("BTC-EUR")
    row = {"product_id": "BTC-EUR", "price": "2", "volume_24_h": None}
    (emit,) = of(EmitTickers, adapter.received(ticks(row, when=""), NOW))
    assert (emit.tickers[0].time, emit.tickers[0].volume) == (WALL, 0)
    for odd in ({**row, "price": "-1"}, {**row, "price": None}, {**row, "product_id": ""}):
        assert list(adapter.received(ticks(odd), NOW)) == [Seen("t1")]
    assert list(adapter.received(message("nobody", {}), NOW)) == [Note("unknown channel nobody")]


def test_figures_as_numbers_are_read_and_odd_rows_cost_themselves() -> None:
    adapter = live_prices("BTC-EUR")
    rows = [7, {"product_id": "BTC-EUR", "price": 0.5, "volume_24_h": 3}, {"product_id": None, "price": "1"}]
    outputs = adapter.received(ticks(*rows), NOW)
    assert of(Note, outputs)[0].what.startswith("1 tickers")
    (emit,) = of(EmitTickers, outputs)
    assert [(one.symbol, one.price, one.volume) for one in emit.tickers] == [("BTC-EUR", 0.5, 3)]
    outputs = adapter.received(message("ticker_batch", 7, {"tickers": rows[1:2]}), NOW)
    assert of(Note, outputs)
    assert of(EmitTickers, outputs)
    outputs = adapter.received(frame({"channel": "ticker_batch", "events": 7}), NOW)
    assert [type(one) for one in outputs] == [Note, Seen]
    assert of(Note, outputs)[0].what.startswith("1 tickers that")
    (fail,) = of(Fail, prices().add(candle("c1", "5m"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "c1")


def test_an_offline_or_unknown_twin_is_told_with_the_price_of_its_sister() -> None:
    adapter = prices("BTC-USD", table=TABLE)
    for product, told in (("BTC-USD", ["BTC-USD", "BTC-USDC"]), ("NEW-USD", ["NEW-USD", "NEW-USDC"]),
                          ("USDT-USD", ["USDT-USD"]), ("BTC-EUR", ["BTC-EUR"])):  # fmt: skip
        (emit,) = of(EmitTickers, adapter.received(ticks({"product_id": product, "price": "2"}), NOW))
        assert [one.symbol for one in emit.tickers] == told


def test_a_shard_changes_what_is_subscribed_and_leaves_it_in_the_end() -> None:
    adapter = live_prices("A-USD", "B-USD")
    assert getattr(adapter, "subscribed") == 2  # noqa: B009
    (frame_,) = sent(
        adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase", symbols=("B-USD", "C-USD")), NOW)
    )
    assert (frame_["type"], frame_["product_ids"]) == ("unsubscribe", ["A-USD"])
    (frame_,) = sent(adapter.received(active(ticker_batch=["B-USD"], heartbeats=["h"]), NOW))
    assert (frame_["type"], frame_["product_ids"]) == ("subscribe", ["C-USD"])
    adapter.received(active(ticker_batch=["B-USD", "C-USD"], heartbeats=["h"]), NOW)
    (fail,) = of(Fail, adapter.add(TickerSubscription(stream_id="t2", exchange="coinbase", symbols=("X-USD",)), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "t2")
    assert list(adapter.remove("t2", NOW)) == []
    (frame_,) = sent(adapter.remove("t1", NOW))
    assert (frame_["type"], frame_["product_ids"]) == ("unsubscribe", ["B-USD", "C-USD"])
    assert getattr(adapter, "subscribed") == 0  # noqa: B009
    assert list(adapter.received(ticks({"product_id": "B-USD", "price": "2"}), NOW)) == []


def test_a_product_that_is_refused_is_asked_for_again_after_one_minute_then_two() -> None:
    adapter = prices("A-USD", "NO-USD")
    adapter.connected(NOW)
    adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), NOW)
    adapter.received(active(ticker_batch=["A-USD"]), NOW)
    assert of(Live, adapter.received(active(ticker_batch=["A-USD"], heartbeats=["h"]), NOW)) == [Live("t1")]
    waits, begun = [], 0.0
    for _ in range(6):
        seconds = begun
        while True:
            seconds += 5
            adapter.received(message("heartbeats", {}), at(seconds))
            again = [one for one in sent(adapter.woken(at(seconds))) if one["channel"] == "ticker_batch"]
            if again:
                break
        assert again[0]["product_ids"] == ["NO-USD"]
        waits.append(seconds - begun)
        begun = seconds
        adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), at(seconds))
    assert waits == [60, 120, 240, 480, 900, 900]


def test_a_product_that_was_asked_for_again_is_not_asked_for_twice_when_the_next_one_is_due() -> None:
    adapter = prices("A-USD", "NO-USD", "NA-USD")
    adapter.connected(NOW)
    adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), NOW)
    adapter.received(frame({"type": "error", "message": "unknown product NA-USD"}), at(5))
    adapter.received(active(ticker_batch=["A-USD"]), at(5))
    adapter.received(active(ticker_batch=["A-USD"], heartbeats=["h"]), at(5))
    for second in range(10, 60, 10):
        adapter.received(message("heartbeats", {}), at(second))
    (first,) = sent(adapter.woken(at(60)))
    assert first["product_ids"] == ["NO-USD"]
    assert sent(adapter.woken(at(65))) == []
    (second_,) = sent(adapter.received(active(ticker_batch=["A-USD", "NO-USD"], heartbeats=["h"]), at(66)))
    assert second_["product_ids"] == ["NA-USD"]


@pytest.mark.parametrize("text", ["unknown product DOT-USDC", "unknown product 'DOT-USDC'.", "DOT-USDC,X-USD: unknown"])
def test_a_product_whose_name_is_part_of_a_refused_one_is_not_refused_with_it(text: str) -> None:
    """A delisted DOT-USDC took T-USD and DOT-USD away as well, and ended their candles for good."""
    adapter = prices("T-USD", "DOT-USD", "DOT-USDC")
    adapter.connected(NOW)
    (again,) = sent(adapter.received(frame({"type": "error", "message": text}), NOW))
    assert again["product_ids"] == ["T-USD", "DOT-USD"]


def test_a_shard_of_which_nothing_is_known_says_so() -> None:
    adapter = prices("NO-USD")
    adapter.connected(NOW)
    adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), NOW)
    outputs = adapter.received(active(heartbeats=["h"]), NOW)
    (fail,) = of(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "t1")


# --- candles ---


def test_what_is_no_candle_is_refused_and_the_same_one_again_is_nothing() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    assert list(adapter.add(candle("c1", "5m"), NOW)) == []
    (fail,) = of(Fail, adapter.add(candle("c2", "6h"), NOW))
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.REQUEST, "c2", "Coinbase has no candle interval '6h'")
    (fail,) = of(Fail, adapter.add(TickerSubscription(stream_id="t", exchange="coinbase", symbols=()), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "t")
    assert list(adapter.remove("nobody", NOW)) == []


def test_a_product_that_is_unknown_ends_all_of_its_candles() -> None:
    adapter = VENUE.candle(setup())
    for stream_id, interval in (("c1", "5m"), ("c2", "1h")):
        adapter.add(candle(stream_id, interval, symbol="NO-USD"), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    outputs = adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), NOW)
    assert [(one.kind, one.stream_id) for one in of(Fail, outputs)] == [
        (FailKind.REQUEST, "c1"),
        (FailKind.REQUEST, "c2"),
    ]
    assert list(adapter.remove("c1", NOW)) == [], "it is gone already"


def test_a_gap_that_is_longer_than_one_answer_is_read_as_far_as_it_goes_and_named() -> None:
    begun = WALL - 400 * FIVE
    adapter, outputs = candle_adapter(candle("c1", "5m", begun))
    (call,) = of(Call, outputs)
    assert call.tag == "candles"
    start, end = (int(params(call)[name]) * 1000 for name in ("start", "end"))
    assert end == WALL
    assert (end - start) // FIVE == MAX_BUCKETS - 1
    rows = frame({"candles": [bucket(start), bucket(WALL - FIVE), bucket(WALL)]})
    outputs = list(adapter.answered(call, Answer(200, {}, rows), NOW))
    assert [one.candle.start for one in of(EmitCandle, outputs)] == [start, WALL - FIVE], "the running one is not told"
    assert all(one.repaired for one in of(EmitCandle, outputs))
    assert missing(outputs) == ("candles: the gap is longer than one answer",)
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert (live.gap.from_ms, live.gap.to_ms, live.gap.candles) == (begun, WALL, 2)


def test_the_longest_gap_of_one_answer_is_whole() -> None:
    _, outputs = candle_adapter(candle("c1", "5m", WALL - (MAX_BUCKETS + 1) * FIVE))
    (call,) = of(Call, outputs)
    assert int(params(call)["start"]) * 1000 == WALL - MAX_BUCKETS * FIVE


def test_past_candles_that_do_not_come_in_time_are_named_and_the_stream_goes_live() -> None:
    adapter, outputs = candle_adapter(candle("c1", "5m", WALL - 4 * FIVE))
    (call,) = of(Call, outputs)
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), NOW)
    assert adapter.deadline() == NOW.mono + 12
    outputs = list(adapter.woken(at(12)))
    assert missing(outputs) == ("candles: no answer in time",)
    rows = frame({"candles": [bucket(WALL - FIVE)]})
    assert list(adapter.answered(call, Answer(200, {}, rows), at(13))) == [], "too late"


def test_both_answers_of_a_long_interval_are_waited_for() -> None:
    four = INTERVALS["4h"]
    start = floor(WALL, four)
    later = Instant(NOW.mono, start + 3 * 60 * MINUTE_MS + 2 * FIVE)
    adapter, outputs = candle_adapter(candle("c1", "4h", start - 2 * four), now=later)
    first, second = of(Call, outputs)
    two_hours = 120 * MINUTE_MS
    rows = [bucket(start - four + n * two_hours, close=str(3 + n), volume="0.25") for n in range(3)]
    assert list(adapter.answered(first, json_answer({"candles": rows}), later)) == []
    outputs = list(adapter.answered(second, Answer(503, {}, b""), later))
    (emit,) = of(EmitCandle, outputs)
    assert (emit.candle.start, emit.candle.close, emit.candle.volume) == (start - four, "4", "0.5")
    assert len(missing(outputs)) == 1
    assert missing(outputs)[0].startswith("candles: ")


def test_a_poll_that_fails_is_noted_and_the_next_one_makes_up_for_it() -> None:
    adapter, _ = candle_adapter(candle("c1", "1m"))
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), NOW)

    def asked(second: int) -> list[Call]:
        for earlier in range(second - 60, second, 10):
            adapter.received(message("heartbeats", {}), at(max(0, earlier)))
        adapter.received(moved(bucket(WALL)), at(second - 20))
        return of(Call, adapter.woken(at(second)))

    (call,) = asked(63)
    outputs = list(adapter.answered(call, Answer(503, {}, b""), at(64)))
    assert of(Note, outputs)[0].what.startswith("candle poll: ")
    assert of(Seen, outputs) == [Seen("c1")]
    assert not of(Live, outputs)
    (call,) = asked(123)
    assert (int(params(call)["start"]) * 1000, int(params(call)["end"]) * 1000) == (WALL, WALL + 2 * MINUTE_MS)
    rows = {"candles": [bucket(WALL + 2 * MINUTE_MS), bucket(WALL + MINUTE_MS), bucket(WALL)]}
    outputs = list(adapter.answered(call, json_answer(rows), at(124)))
    assert [one.candle.start for one in of(EmitCandle, outputs)] == [WALL, WALL + MINUTE_MS]
    assert not any(one.repaired for one in of(EmitCandle, outputs))


def test_frames_of_candles_that_cannot_be_read_are_told() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    assert list(adapter.received(message("nobody", {}), NOW)) == [Note("unknown channel nobody")]
    (note,) = adapter.received(frame({"channel": "candles", "events": 7}), NOW)
    assert isinstance(note, Note)
    assert note.what.startswith("unreadable candle frame")
    outputs = adapter.received(message("candles", 7, {"type": "update", "candles": [bucket(WALL)]}), NOW)
    assert of(Note, outputs)[0].what.startswith("1 events that")
    future = adapter.received(moved(bucket(WALL + DAY_MS * 900)), NOW)
    assert of(Note, future) == [Note("a bucket of BTC-USD with a time that can't be true")]


@pytest.mark.parametrize(
    ("interval", "name"),
    [("1m", "ONE_MINUTE"), ("3m", "ONE_MINUTE"), ("5m", "FIVE_MINUTE"), ("15m", "FIFTEEN_MINUTE"), ("30m", "THIRTY_MINUTE"),
     ("1h", "ONE_HOUR"), ("2h", "TWO_HOUR"), ("4h", "TWO_HOUR"), ("8h", "TWO_HOUR"), ("1d", "ONE_DAY"), ("1w", "ONE_DAY")],
)  # fmt: skip
def test_missed_candles_are_asked_for_in_buckets_that_the_venue_has_a_name_for(interval: str, name: str) -> None:
    length = INTERVALS[interval]
    start = floor(WALL, length)
    _, outputs = candle_adapter(candle("c1", interval, start - 3 * length), now=Instant(NOW.mono, start + 1_000))
    call = of(Call, outputs)[0]
    assert (params(call)["granularity"], int(params(call)["start"]) * 1000) == (name, start - 2 * length)


def test_at_the_beginning_of_an_hour_nothing_lies_behind_it() -> None:
    hour = floor(WALL, 60 * MINUTE_MS)
    _, outputs = candle_adapter(candle("c1", "1h"), now=Instant(NOW.mono, hour + 1_000))
    assert outputs[-1] == Live("c1")
    assert not of(Call, outputs)


def test_a_snapshot_closes_no_candle() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    assert list(adapter.received(moved(bucket(WALL), bucket(WALL + FIVE), kind="snapshot"), at(301))) == [Seen("c1")]


def test_a_bucket_that_comes_after_its_end_changes_no_candle_and_the_clock_rests_until_the_next_end() -> None:
    quarter = floor(WALL, 3 * FIVE)
    now = Instant(NOW.mono, quarter + 1_000)

    def late(seconds: float) -> Instant:
        return Instant(NOW.mono + seconds, quarter + 1_000 + round(seconds * 1000))

    adapter, outputs = candle_adapter(candle("c1", "15m"), now=now)
    assert of(Live, outputs)
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), now)
    adapter.received(moved(bucket(quarter, volume="1")), late(5))
    emits: list[EmitCandle] = []
    for second in range(10, 1_000, 5):
        adapter.received(message("heartbeats", {}), late(second))
        deadline = adapter.deadline()
        if deadline is not None and deadline <= late(second).mono:
            emits += of(EmitCandle, adapter.woken(late(second)))
            deadline = adapter.deadline()
            assert deadline is None or deadline > late(second).mono, "it would be woken without end"
        if second == 400:
            adapter.received(moved(bucket(quarter, volume="7")), late(second))
        if emits:
            break
    assert [(one.candle.start, one.candle.volume) for one in emits] == [(quarter, "1")]
    assert second in range(905, 916), "ten seconds after the end"


@pytest.mark.parametrize(
    ("interval", "grain"),
    [("1m", "1m"), ("3m", "1m"), ("5m", "5m"), ("15m", "15m"), ("30m", "30m"), ("1h", "1h"), ("2h", "2h"), ("4h", "2h"),
     ("8h", "2h"), ("1d", "1d"), ("1w", "1d")],
)  # fmt: skip
def test_every_interval_is_made_of_the_largest_buckets_that_fit(interval: str, grain: str) -> None:
    assert grain_of(INTERVALS[interval]) == INTERVALS[grain]
    assert INTERVALS["1w"] == WEEK_MS


def test_highs_and_lows_are_compared_as_numbers() -> None:
    quarter = floor(WALL, 3 * FIVE)
    now = Instant(NOW.mono, quarter + 3 * FIVE + 1000)
    adapter, outputs = candle_adapter(candle("c1", "15m", quarter - 3 * FIVE), now=now)
    (call,) = of(Call, outputs)
    rows = [{**bucket(quarter, high="9"), "low": "0.5"}]
    outputs = list(adapter.answered(call, json_answer({"candles": rows}), now))
    (emit,) = of(EmitCandle, outputs)
    assert (emit.candle.high, emit.candle.low, emit.candle.volume) == ("9", "0.5", "1")
    for n, (high, low) in enumerate((("10", "0.25"), ("9", "0.125"), ("8", "0.5")), start=3):
        row = {**bucket(quarter + n * FIVE, high=high), "low": low}
        adapter.received(moved(row), Instant(NOW.mono, quarter + n * FIVE + 1000))
    after = Instant(NOW.mono, quarter + 6 * FIVE + 1000)
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(quarter + 6 * FIVE)), after))
    assert (emit.candle.start, emit.candle.high, emit.candle.low) == (quarter + 3 * FIVE, "10", "0.125")


def test_a_subscription_of_another_kind_is_none_for_an_account() -> None:
    adapter, _ = joined(account())
    other = CandleSubscription(stream_id="c", exchange="coinbase", symbol="BTC-USD", interval="5m")
    assert [fail.stream_id for fail in of(Fail, adapter.add(other, NOW))] == ["c"]
    second = UserSubscription(stream_id="u2", exchange="coinbase", credentials=account().credentials)
    assert [fail.stream_id for fail in of(Fail, adapter.add(second, NOW))] == ["u2"]
