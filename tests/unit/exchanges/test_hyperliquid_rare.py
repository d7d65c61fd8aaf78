"""What Hyperliquid says seldom: refused candles, what is asked of the past, errors on a price connection, ends and fills."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Live,
    Note,
    Seen,
)
from exchanges.hyperliquid import VENUE, _clients
from exchanges.hyperliquid._ends import ASK_LIMIT_S, MAX_WAITING, Ends
from exchanges.hyperliquid._fills import FILLS_KEPT_S, MAX_ORDERS, FillStore
from exchanges.hyperliquid._join import Rules as Parking
from exchanges.hyperliquid._orders import Fill, Sums, Told, Update
from exchanges.hyperliquid._orders import Order as Row
from exchanges.instruments import EMPTY, SymbolTable
from tests.unit.exchanges.driver import frame, json_answer, of, only, sent, setup
from tests.unit.exchanges.test_hyperliquid import (
    LINEAR,
    NOW,
    SPOT,
    WALL,
    at,
    candle,
    confirm,
    figures,
    fill,
    known,
    live,
    past,
    repairing,
    reports,
    tickers,
    update,
)

MINUTE = 60_000
START = WALL // MINUTE * MINUTE

# --- candles ---


def asked_for(exchange: str, symbol: str, interval: str = "1m", table: SymbolTable = LINEAR) -> list[Fail]:
    adapter = VENUE.candle(setup(exchange, table))
    wanted = CandleSubscription(stream_id="c", exchange=exchange, symbol=symbol, interval=interval)
    return of(Fail, adapter.add(wanted, NOW))


@pytest.mark.parametrize(
    ("exchange", "symbol", "interval", "table", "kind", "phrase"),
    [
        ("hyperliquidLinear", "BTC-USDC", "7m", LINEAR, FailKind.REQUEST, "no candle interval '7m'"),
        ("hyperliquidLinear", "NEW-USDC", "1m", LINEAR, FailKind.REQUEST, "a pair id like BTC-USDC is expected."),
        ("hyperliquidLinear", "BTC", "1m", LINEAR, FailKind.REQUEST, "that is the venue's code of BTC-USDC"),
        ("hyperliquidLinear", "#20", "1m", LINEAR, FailKind.REQUEST, "belong to no exchange id"),
        ("hyperliquid", "BTC-USDC", "1m", EMPTY, FailKind.TRANSIENT, "is not loaded yet"),
    ],
)
def test_candles_that_cannot_be_had_fail_alone_and_say_why(
    exchange: str, symbol: str, interval: str, table: SymbolTable, kind: FailKind, phrase: str
) -> None:
    (fail,) = asked_for(exchange, symbol, interval, table)
    assert (fail.kind, fail.stream_id) == (kind, "c")
    assert phrase in fail.reason


def missed(number: int) -> tuple[Any, Call]:
    """A candle stream that was away for so many minutes, and its question for the past."""
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    wanted = CandleSubscription(
        stream_id="c", exchange="hyperliquidLinear", symbol="BTC-USDC", interval="1m",
        resume_start_ms=START - number * MINUTE,
    )  # fmt: skip
    adapter.add(wanted, NOW)
    (request,) = sent(adapter.connected(NOW))
    return adapter, only(Call, confirm(adapter, request, NOW))


def row(start: int, **changes: object) -> dict[str, object]:
    return {"t": start, "s": "BTC", "i": "1m", "o": "1", "c": "2", "h": "3", "l": "0.5", "v": "9", **changes}


def test_the_past_is_asked_for_up_to_the_end_of_the_running_candle_at_its_weight() -> None:
    _, call = missed(5)
    asked = {"coin": "BTC", "interval": "1m", "startTime": START - 5 * MINUTE, "endTime": WALL + MINUTE}
    assert json.loads(call.body or "") == {"type": "candleSnapshot", "req": asked}
    assert (call.tag, call.method, call.weight) == ("candles", "POST", 20 + 1_000 // 60 + 1)


def test_more_than_the_past_holds_is_named() -> None:
    adapter, call = missed(1_500)
    assert json.loads(call.body or "")["req"]["startTime"] == WALL - 999 * MINUTE
    gap = only(Live, adapter.answered(call, json_answer([row(START)]), NOW)).gap
    assert gap is not None
    assert gap.missing == ("older candles than the venue hands out",)


@pytest.mark.parametrize("reply", [json_answer({"no": "list"}), json_answer("no", 422)])
def test_missed_candles_that_the_venue_refuses_are_named(reply: Answer) -> None:
    adapter, call = missed(5)
    gap = only(Live, adapter.answered(call, reply, NOW)).gap
    assert gap is not None
    assert len(gap.missing) == 1


@pytest.mark.parametrize(
    ("volume", "told"), [("0.5", "0.5"), (None, "0"), ("", "0"), ("x", "0"), (7, "7"), (1e-7, "0.0000001")]
)
def test_a_figure_of_a_candle_is_told_as_it_was_sent_and_nothing_as_0(volume: object, told: str) -> None:
    adapter, call = missed(5)
    outputs = adapter.answered(call, json_answer([row(START - 2 * MINUTE, v=volume), row(START)]), NOW)
    assert of(EmitCandle, outputs)[0].candle.volume == told


# --- price connections ---


def test_a_price_frame_of_an_unknown_channel_is_said_and_a_pong_is_not() -> None:
    driver, _ = tickers("hyperliquid", SPOT)
    assert not driver.frame({"channel": "pong"})
    assert driver.frame({"channel": "news", "data": {}}) == [Note("unknown price channel news")]
    assert driver.frame([]) != []
    assert [type(output) for output in driver.frame({"channel": "allMids", "data": 7})] == [Note]


def test_a_topic_that_is_subscribed_already_counts_as_confirmed() -> None:
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC"), NOW)
    (request,) = sent(adapter.connected(NOW))
    text = f"Already subscribed: {json.dumps(request['subscription'])}"
    assert of(Live, adapter.received(frame({"channel": "error", "data": text}), NOW)) == [Live("c0")]


def test_the_end_of_a_subscription_confirms_nothing() -> None:
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC"), NOW)
    (request,) = sent(adapter.connected(NOW))
    data = {"method": "unsubscribe", "subscription": request["subscription"]}
    assert not adapter.received(frame({"channel": "subscriptionResponse", "data": data}), NOW)


def test_a_topic_that_stays_unanswered_among_others_is_asked_twice_and_fails_alone() -> None:
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC", 0), NOW)
    adapter.add(candle("kPEPE-USDC", 1), NOW)
    (request,) = sent(adapter.connected(NOW))
    confirm(adapter, request, NOW)
    now, fails = NOW, []
    for _ in range(20):
        due = adapter.deadline()
        assert due is not None
        now = at(due - NOW.mono)
        outputs = adapter.woken(now)
        adapter.received(b'{"channel":"pong"}', now)
        fails += of(Fail, outputs)
        if fails:
            break
    assert [(fail.kind, fail.stream_id) for fail in fails] == [(FailKind.TRANSIENT, "c1")]
    assert 20 <= now.mono - NOW.mono < 25


@pytest.mark.parametrize(
    ("told", "price"), [("100.5", 100.5), (100, 100.0), (True, 0.0), (None, 0.0), ("x", 0.0), ("-1", 0.0)]
)
def test_a_mid_is_a_price_if_it_is_a_figure(told: object, price: float) -> None:
    driver, _ = tickers("hyperliquidLinear", LINEAR)
    outputs = driver.frame({"channel": "allMids", "data": {"mids": {"BTC": told}}})
    if not price:
        assert outputs == [Seen("t")]
        return
    (ticker,) = only(EmitTickers, outputs).tickers
    assert (ticker.price, ticker.best_ask, ticker.best_bid, ticker.best_ask_qnt, ticker.best_bid_qnt) == (price,) * 5
    assert (ticker.symbol, ticker.volume) == ("BTC-USDC", 10_000_000.0)


# --- orders ---


def test_an_order_is_told_with_all_that_its_frame_says() -> None:
    drive = live()
    drive.fills(fill("0.1", "91000", 1), fill("0.05", "91100", 2, fee="0.25"))
    (event,) = drive.orders(update(sz="0.2"))
    assert figures(event) == ("PARTIALLY_FILLED", "0.15", "13655", "91033.3")
    assert (event.symbol, event.side, event.order_type, event.quantity) == ("BTC-USDC", "BUY", "LIMIT", "0.35")
    assert (event.creation_time, event.event_time, event.order_time) == (WALL + 20_000,) * 3
    assert (event.new_client_order_id, event.original_client_order_id, event.order_id) == ("0xa1", "0xa1", 7)
    assert (event.fee_paid, event.fee_asset, event.liquidation) == ("0.75", "USDC", False)
    assert event.unique_message_id == f"7:open:{WALL + 20_000}:0.2:0.15:13655"


@pytest.mark.parametrize(("side", "told"), [("B", "BUY"), ("A", "SELL")])
@pytest.mark.parametrize(("status", "state"), [("open", "NEW"), ("triggered", "NEW"), ("scheduledCancel", "CANCELED")])
def test_sides_and_states_have_their_names(side: str, told: str, status: str, state: str) -> None:
    drive = live()
    said = [*drive.orders(update(status, side=side)), *reports(drive.wait(1.5))]
    assert [(event.side, event.order_status) for event in said] == [(told, state)]


def test_an_order_without_a_moment_of_its_state_has_that_of_its_placing() -> None:
    drive = live()
    (event,) = drive.orders(update(moment=None))
    assert event.order_time == WALL + 10_000


# --- ends that wait, fills that are kept ---


def end(oid: int) -> Update:
    return Update(order=Row(coin="BTC", oid=oid), status="canceled")


def test_an_end_is_asked_about_three_times_a_little_later_each_time_and_then_told() -> None:
    ends = Ends()
    ends.wait(end(1), NOW)
    assert ends.deadline() == NOW.mono + 1
    assert ends.due(at(0.9)) == ([], [])
    moment = 1.0
    for wait in (1.0, 2.0, 4.0):
        ask, over = ends.due(at(moment))
        assert ([one.order.oid for one in ask], over) == ([1], [])
        assert ends.deadline() == NOW.mono + moment + ASK_LIMIT_S
        ends.failed(1, at(moment + 0.5))
        assert ends.deadline() == NOW.mono + moment + 0.5 + wait
        moment += 0.5 + wait
    ask, over = ends.due(at(moment))
    assert (ask, [one.order.oid for one in over]) == ([], [1])
    assert (ends.deadline(), ends.settle(1)) == (None, None)
    ends.failed(1, at(moment))


def test_an_end_that_is_settled_is_asked_about_no_more_and_only_so_many_wait() -> None:
    ends = Ends()
    ends.wait(end(1), NOW)
    ends.wait(end(2), at(0.5))
    assert ends.wait(end(1), at(0.7)) is None
    assert ends.deadline() == NOW.mono + 1, "the first one counts"
    settled = ends.settle(1)
    assert settled is not None
    assert ends.deadline() == NOW.mono + 1.5
    for number in range(3, MAX_WAITING + 2):
        assert ends.wait(end(number), NOW) is None
    first = ends.wait(end(MAX_WAITING + 2), NOW)
    assert first is not None
    assert first.order.oid == 2


def one(oid: int, tid: int, cloid: str | None = "0xa") -> Fill:
    return Fill(coin="BTC", px="1", sz="1", time=1, oid=oid, tid=tid, cloid=cloid)


def test_fills_are_kept_once_by_order_and_by_client_id() -> None:
    store = FillStore()
    assert store.add(one(1, 10), 0.0)
    assert not store.add(one(1, 10), 0.0)
    assert store.add(one(1, 11), 0.0)
    assert store.add(one(2, 12), 0.0)
    assert store.add(one(3, 13, None), 0.0)
    assert {oid: [row.tid for row in rows] for oid, rows in store.of_client("0xa").items()} == {1: [10, 11], 2: [12]}
    assert (store.of_client(""), store.of_id(9), len(store)) == ({}, (), 3)
    store.drop(1)
    assert (list(store.of_client("0xa")), store.of_id(1), len(store)) == ([2], (), 2)
    store.drop(2)
    store.drop(2)
    assert store.of_client("0xa") == {}


def test_fills_are_forgotten_with_age_and_number_the_longest_unheard_first() -> None:
    store = FillStore()
    store.add(one(1, 1), 0.0)
    store.add(one(2, 2), 1.0)
    store.add(one(1, 3), 2.0)
    store.add(one(3, 4), 1.0 + FILLS_KEPT_S)
    assert [len(store.of_id(oid)) for oid in (1, 2, 3)] == [2, 1, 1]
    store.add(one(3, 5), 1.5 + FILLS_KEPT_S)
    assert [len(store.of_id(oid)) for oid in (1, 2, 3)] == [2, 0, 2]
    for oid in range(4, MAX_ORDERS + 3):
        store.add(one(oid, oid + 10), 2.0 + FILLS_KEPT_S)
    assert len(store) == MAX_ORDERS
    assert store.of_id(1) == ()


# --- the lists of a gap ---


def test_the_newest_state_of_an_order_counts_and_an_end_in_any_case() -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("open orders", [])
    outputs = drive.reply("closed orders", [past("canceled", 1, 20), past("open", 1, 10), past("open", 1, 40)])
    assert [(event.order_id, event.order_status) for event in reports(outputs)] == [(1, "CANCELED")]


def test_an_order_of_an_open_list_is_open_whatever_the_history_says_of_its_past() -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("open orders", [past("open", 1, 20)["order"] | {"timestamp": WALL - 20_000}])
    outputs = drive.reply("closed orders", [past("open", 1, 10)])
    assert [(event.order_status, event.order_time) for event in reports(outputs)] == [("NEW", WALL - 20_000)]


def test_an_end_within_the_overlap_is_news_and_an_open_order_of_before_the_gap_is_not() -> None:
    drive = repairing()
    drive.reply("fills", [])
    rows = [past("open", oid, 0)["order"] | {"timestamp": WALL - moment} for oid, moment in ((1, 90_000), (2, 90_001))]
    drive.reply("open orders", rows)
    ended = [past("canceled", 3, 150), past("canceled", 4, 150.001)]
    assert sorted(event.order_id for event in reports(drive.reply("closed orders", ended))) == [1, 3]  # type: ignore[type-var]


def test_a_full_history_that_does_not_reach_the_gap_is_named() -> None:
    for number, seconds, named in ((2_000, 80, True), (1_999, 80, False), (2_000, 95, False)):
        drive = repairing()
        drive.reply("fills", [])
        drive.reply("open orders", [])
        outputs = drive.reply("closed orders", [past("canceled", n, seconds) for n in range(number)])
        gap = only(Live, outputs).gap
        assert gap is not None
        assert ("closed orders: more than the venue lists" in gap.missing) == named


def test_only_so_many_orders_are_asked_for_and_the_others_counted() -> None:
    drive = repairing(*(known(oid) for oid in range(1, 161)))
    drive.reply("fills", [])
    drive.reply("open orders", [])
    drive.reply("closed orders", [])
    asked = [call for call in drive.calls if call.tag == "order"]
    assert len(asked) == 150
    assert {call.weight for call in asked} == {2}


def waiting() -> tuple[Any, dict[str, Any]]:
    """A candle connection whose first of two topics waits for its answer."""
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC", 0), NOW)
    adapter.add(candle("kPEPE-USDC", 1), NOW)
    (request,) = sent(adapter.connected(NOW))
    return adapter, request


def complain(adapter: Any, text: object) -> list[Any]:
    return list(adapter.received(frame({"channel": "error", "data": text}), NOW))


def test_an_error_that_names_no_topic_is_about_the_one_that_waits() -> None:
    adapter, _ = waiting()
    outputs = complain(adapter, "Invalid subscription")
    assert of(Note, outputs) == [Note("error frame: Invalid subscription", "error")]
    fail = only(Fail, outputs)
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.REQUEST, "c0", "Invalid subscription")
    adapter, _ = waiting()
    assert of(Live, complain(adapter, "Already subscribed")) == [Live("c0")]


def test_an_error_that_names_another_topic_is_not_about_the_one_that_waits() -> None:
    adapter, request = waiting()
    other = json.dumps({**request["subscription"], "coin": "kPEPE"})
    assert complain(adapter, f"Invalid subscription {other}") == [
        Note(f"error frame: Invalid subscription {other}", "error")
    ]
    assert of(Live, confirm(adapter, request, NOW)) == [Live("c0")]


@pytest.mark.parametrize("text", ["Inactive", "Nobody knows", 7])
def test_an_error_that_passes_refuses_no_topic(text: object) -> None:
    adapter, request = waiting()
    assert complain(adapter, text) == [Note(f"error frame: {text}", "error")]
    assert of(Live, confirm(adapter, request, NOW)) == [Live("c0")]


def test_an_error_when_nothing_waits_is_only_said() -> None:
    driver, _ = tickers("hyperliquid", SPOT)
    assert driver.frame({"channel": "error", "data": "Invalid subscription"}) == [
        Note("error frame: Invalid subscription", "error")
    ]
    assert driver.frame({"channel": "error", "data": "Already subscribed"}) == [
        Note("error frame: Already subscribed", "info")
    ]


def test_nothing_is_left_of_an_order_whose_fills_are_dropped() -> None:
    store = FillStore()
    store.add(one(1, 1), 0.0)
    store.add(one(2, 2, None), 0.0)
    for oid in (1, 2):
        store.drop(oid)
    assert (store._by_cloid, store._heard, len(store)) == ({}, {}, 0)


def test_the_last_page_of_fills_is_a_full_one_only_if_more_are_named() -> None:
    drive = repairing()
    page = [fill("0.1", "1", n, time=WALL - 80_000 + n, oid=0, cloid=None) for n in range(2_000)]
    drive.reply("fills", page)
    drive.reply("fills", page[:1])
    drive.reply("open orders", [])
    gap = only(Live, drive.reply("closed orders", [])).gap
    assert gap is not None
    assert gap.missing == ()


@pytest.mark.parametrize(("answer", "told"), [({"status": "unknownOid"}, [(1, "CANCELED")]), (None, [])])
def test_a_cancelled_order_whose_client_id_nobody_holds_is_told_once_that_is_known(
    answer: object, told: list[tuple[int, str]]
) -> None:
    drive = repairing(known(1))
    drive.reply("fills", [])
    drive.reply("open orders", None, 422)
    drive.reply("closed orders", [])
    drive.reply("order", {"status": "order", "order": past("canceled", 1, 20)})
    outputs = drive.reply("order of a client id", answer, 200 if answer else 422)
    assert [(event.order_id, event.order_status) for event in reports(outputs)] == told
    gap = only(Live, outputs).gap
    assert gap is not None
    assert ("order 1, whether it was modified: HTTP 422" in " ".join(gap.missing)) == (not told)


def test_pages_of_fills_have_their_weights_and_odd_rows_count() -> None:
    drive = repairing()
    page: list[Any] = [fill("0.1", "1", n, time=WALL - 80_000 + n, oid=0, cloid=None) for n in range(1_999)]
    weights = []
    while call := next((call for call in drive.calls if call.tag == "fills"), None):
        weights.append(call.weight)
        drive.reply("fills", [*page, {"oid": None}])
    assert weights == [25, 120, 120, 120, 120]
    drive.reply("open orders", [])
    gap = only(Live, drive.reply("closed orders", [])).gap
    assert gap is not None
    assert "fills: more than 10000" in gap.missing


def test_an_order_without_a_client_id_is_nobodys_in_a_gap() -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("open orders", [past("open", 1, 20)["order"] | {"cloid": None, "timestamp": WALL - 20_000}])
    outputs = drive.reply(
        "closed orders", [past("canceled", 2, 20) | {"order": past("x", 2)["order"] | {"cloid": None}}]
    )
    assert not reports(outputs)
    assert not [call for call in drive.calls if call.tag.startswith("order")]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert (gap.orders, gap.missing) == (0, ())


@pytest.mark.parametrize(
    ("coin", "seconds", "asked"), [("hyna:BTC", 20, [9]), ("hyna:BTC", 100, []), ("BTC", 20, []), ("BTC", 100, [])]
)
def test_an_open_order_that_no_open_list_shows_is_asked_for_if_it_is_new_and_its_dex_was_not_listed(
    coin: str, seconds: float, asked: list[int]
) -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("open orders", [])
    drive.reply("closed orders", [past("open", 9, seconds, coin=coin)])
    assert [json.loads(call.body or "")["oid"] for call in drive.calls if call.tag == "order"] == asked


def test_a_list_that_never_comes_is_named_and_costs_no_filled_order_of_the_other_one() -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("closed orders", [past("filled", 1)])
    outputs = drive.wait(601)
    assert [(event.order_id, *figures(event)[:2]) for event in reports(outputs)] == [(1, "FILLED", "0.35")]
    gap = of(Live, outputs)[-1].gap
    assert gap is not None
    assert gap.missing == ("open orders: no answer in time",)


# --- what a deployment sets, what a fill adds ---


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 5.0), ("2000", 2.0), (" 2000 ", 2.0), ("60001", 60.0), ("0", 0.0), ("-1", 5.0), ("x", 5.0), ("1" * 9, 60.0),
        ("1" * 10, 5.0),
    ],
)  # fmt: skip
def test_a_deployment_sets_how_long_a_filled_order_waits_within_bounds(text: str, seconds: float) -> None:
    assert Parking.of({"HL_FILL_PARK_GRACE_MS": text}).grace_s == seconds


def test_what_a_deployment_does_not_set_has_its_default() -> None:
    rules = Parking.of({})
    assert (rules.grace_s, rules.max_parked, rules.tries, rules.retry_s) == (5.0, 5_000, 3, 1.0)
    most = dict.fromkeys(("HL_FILL_PARK_MAX_SIZE", "HL_FILL_REST_RETRIES", "HL_FILL_REST_RETRY_DELAY_MS"), "999999")
    rules = Parking.of(most)
    assert (rules.max_parked, rules.tries, rules.retry_s) == (50_000, 10, 60.0)
    rules = Parking.of(dict.fromkeys(most, "0"))
    assert (rules.max_parked, rules.tries, rules.retry_s) == (1, 0, 0.1)


def test_only_fills_after_what_was_published_are_added_to_it() -> None:
    told = Told(Sums(Decimal(1), Decimal(100)), order_id=5, time_ms=50)
    rows = [(4, 99), (5, 50), (5, 51), (6, 1)]
    fills = [Fill(coin="BTC", px="10", sz="0.5", time=time, oid=oid, tid=tid) for tid, (oid, time) in enumerate(rows)]
    assert told.and_then(fills) == Sums(Decimal(2), Decimal(110))


def test_a_filled_order_that_tells_only_its_size_is_told() -> None:
    drive = live()
    drive.fills(fill("0.35", "91000", 1))
    frame_ = update("filled")
    frame_["order"]["sz"] = None
    assert [figures(event)[:3] for event in drive.orders(frame_)] == [("FILLED", "0.35", "31850")]


def test_an_order_without_a_limit_price_or_a_fill_is_told_at_0() -> None:
    (event,) = live().orders(update(limitPx=None))
    assert figures(event) == ("NEW", "0", "0", "0")


# --- the ids of a client order ---


def state(oid: int, status: str = "open", coin: str = "BTC", placed: int | None = 1_000, moment: int = 5_000) -> Update:
    return Update(order=Row(coin=coin, oid=oid, timestamp=placed, cloid="a"), status=status, status_timestamp=moment)


def test_the_client_orders_that_were_longest_unheard_of_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clients, "MAX_CLIENTS", 2)
    clients = _clients.ClientOrders()
    for client_id, oid in (("a", 1), ("b", 2), ("a", 3), ("c", 4), ("", 5)):
        clients.traded(client_id, oid)
    names = {name: clients.nameless(Row(coin="BTC", oid=9, cloid=name)) for name in ("a", "b", "c", "")}
    assert names == {"a": [1, 3], "b": [], "c": [4], "": []}


def test_an_id_of_another_coin_is_no_part_of_a_client_order() -> None:
    clients = _clients.ClientOrders()
    clients.learn(state(1, coin="ETH"))
    clients.learn(state(2))
    clients.learn(state(3))
    assert clients.earlier(state(3).order) == [2]


def test_a_client_order_was_placed_with_the_first_id_whose_time_is_told() -> None:
    clients = _clients.ClientOrders()
    for oid, placed in ((1, None), (2, 1_000), (3, 2_000)):
        clients.learn(state(oid, placed=placed))
    assert clients.first_ms(state(3, placed=2_000).order) == 1_000


def test_an_order_is_not_its_own_heir() -> None:
    clients = _clients.ClientOrders()
    for oid in (1, 2):
        clients.learn(state(oid))
        clients.published(state(oid), Decimal(oid))
    assert clients.heir(state(1).order) == (state(2), Decimal(2))
    assert clients.heir(state(2).order) is None


@pytest.mark.parametrize("late", ["open", "frozen"])
def test_an_older_state_does_not_open_an_id_that_has_ended(late: str) -> None:
    clients = _clients.ClientOrders()
    clients.learn(state(1, "canceled"))
    clients.learn(state(1, late))
    assert clients.is_past(state(1).order)
    assert not clients.is_over(state(1).order)
    clients.published(state(1, "canceled"), Decimal(0))
    assert clients.is_over(state(1).order)
