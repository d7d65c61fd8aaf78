"""What Binance says seldom: kinds that publish nothing, plain candle frames, full pages, what is kept of orders."""

from __future__ import annotations

import msgspec
import pytest

from exchanges._adapter import (
    Call,
    CandleSubscription,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Live,
    Note,
    Resume,
    Rotate,
    TickerSubscription,
)
from exchanges.binance import _orders
from exchanges.binance._candle import CandleAdapter
from exchanges.binance._gap_history import History, Part
from exchanges.binance._hosts import MARKETS
from exchanges.binance._odd import without_odd_fields
from exchanges.binance._orders_known import MAX_FINISHED, OVERLAP_MS, OrderMemory
from exchanges.binance._rows import FuturesOrder, FuturesOrderFrame, SpotOrder
from exchanges.events import AccountPosition, AccountUpdate, ExecutionReport, MarginCall, OrderTradeUpdate
from tests.unit.exchanges.binance.support import (
    NOW,
    TABLE,
    account,
    error,
    events,
    known,
    ok,
    order_row,
    refused,
    report,
    resume,
    subscribed,
    trade_row,
)
from tests.unit.exchanges.binance.test_market import (
    MINUTE,
    START,
    acknowledge,
    bar,
    candles,
    kline,
    row,
    tickers,
    wanted,
)
from tests.unit.exchanges.binance.test_repair import Rest
from tests.unit.exchanges.binance.test_user_listen_key import futures_order
from tests.unit.exchanges.binance.test_user_listen_key import running as futures
from tests.unit.exchanges.binance.test_user_spot import running as spot
from tests.unit.exchanges.driver import frame, of, only, params, sent

DAY = 86_400_000

# --- kinds of account frames ---


@pytest.mark.parametrize(
    "kind",
    [
        "TRADE_LITE", "ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT", "STRATEGY_UPDATE", "GRID_UPDATE", "listStatus",
        "externalLockUpdate", "eventStreamTerminated", "serverShutdown", "",
    ],
)  # fmt: skip
def test_documented_kinds_that_publish_nothing_are_passed_over(kind: str) -> None:
    assert _orders.unknown(kind) == ""
    assert _orders.read(kind, frame({"e": kind, "E": 1})) == (None, (), None)


@pytest.mark.parametrize("kind", ["executionReport", "balanceUpdate", "MARGIN_CALL"])
def test_a_kind_that_publishes_is_known_and_any_other_is_noted(kind: str) -> None:
    assert _orders.unknown(kind) == ""
    assert _orders.unknown(f"{kind}s") == f"unknown kind of account event: {kind}s"


@pytest.mark.parametrize("kind", ["TRADE_LITE", "ALGO_UPDATE", "STRATEGY_UPDATE"])
def test_a_second_copy_of_a_fill_publishes_nothing_and_says_nothing(kind: str) -> None:
    assert not futures().received(frame({"e": kind, "E": 1, "T": 1}), NOW)
    assert only(Note, futures().received(frame({"e": "NEWS", "E": 1}), NOW)).what.endswith("NEWS")


# --- what an event says ---


def test_a_spot_order_is_told_with_all_that_its_frame_says() -> None:
    fields = {
        "z": "0.5",
        "Z": "49.5",
        "X": "PARTIALLY_FILLED",
        "x": "TRADE",
        "l": "0.5",
        "L": "99",
        "I": 77,
        "O": 5,
        "T": 6,
    }
    (event,) = events(spot("a").received(report(0, **fields), NOW))
    assert isinstance(event, ExecutionReport)
    assert (event.symbol, event.side, event.order_type, event.order_status) == (
        "BTCUSDT", "BUY", "LIMIT", "PARTIALLY_FILLED",
    )  # fmt: skip
    assert (event.price, event.quantity) == ("100", "10")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0.5", "49.5")
    assert (event.last_trade_quantity, event.price_last_trade, event.execution_type) == ("0.5", "99", "TRADE")
    assert (event.creation_time, event.order_time, event.event_time) == (5, 6, NOW.wall_ms)
    assert event.unique_message_id == (
        f"executionReport:BTCUSDT:1:PARTIALLY_FILLED:0.5:10:100:D-TP-1::{NOW.wall_ms}:77"
    )


def test_an_order_without_a_time_of_its_own_began_with_its_first_report() -> None:
    (event,) = events(spot("a").received(report(0, O=None, T=6), NOW))
    assert isinstance(event, ExecutionReport)
    assert event.creation_time == 6


@pytest.mark.parametrize(
    ("client", "liquidation"), [("autoclose-1", True), ("adl_autoclose", False), ("x-autoclose-1", False)]
)
def test_only_a_client_id_of_the_venues_own_close_is_a_liquidation(client: str, liquidation: bool) -> None:
    (event,) = events(futures().received(futures_order(c=client), NOW))
    assert isinstance(event, OrderTradeUpdate)
    assert event.liquidation is liquidation
    assert event.client_order_id == client


def test_balances_are_told_as_they_stand_and_an_empty_list_is_not() -> None:
    rows = [{"a": "BTC", "f": "0.4", "l": "0.1"}, {"a": "USDT", "f": "5", "l": "0"}]
    told = {"e": "outboundAccountPosition", "E": 3, "u": 2, "B": rows}
    (event,) = events(spot("a").received(frame({"subscriptionId": 0, "event": told}), NOW))
    assert isinstance(event, AccountPosition)
    assert [(row.asset, row.free, row.locked) for row in event.balances] == [("BTC", "0.4", "0.1"), ("USDT", "5", "0")]
    assert event.unique_message_id == "outboundAccountPosition:3:2:BTC=0.4+0.1,USDT=5+0"
    assert not events(spot("a").received(frame({"subscriptionId": 0, "event": {**told, "B": []}}), NOW))


def test_a_futures_account_is_told_with_its_balances_and_positions() -> None:
    account = {
        "m": "ORDER",
        "B": [{"a": "USDT", "wb": "10", "cw": "9", "bc": "-1"}],
        "P": [{"s": "BTCUSDT", "pa": "0.5", "ep": "99", "ps": "LONG"}, {"s": "ETHUSDT", "pa": "0", "ep": "0"}],
    }
    outputs = futures().received(frame({"e": "ACCOUNT_UPDATE", "E": 3, "T": 2, "a": account}), NOW)
    (event,) = [one for one in events(outputs) if isinstance(one, AccountUpdate)]
    assert (event.event_time, event.transaction_time, event.event_reason_type) == (3, 2, "ORDER")
    assert [
        (row.asset, row.wallet_balance, row.cross_wallet_balance, row.balance_change) for row in event.balances
    ] == [("USDT", "10", "9", "-1")]
    assert event.unique_message_id == "ACCOUNT_UPDATE:3:2:ORDER:USDT=10+9+-1,BTCUSDT=0.5@LONG,ETHUSDT=0@BOTH"


def test_a_margin_call_names_every_position() -> None:
    rows = [{"s": name, "ps": "BOTH", "pa": "1", "mt": "CROSSED"} for name in ("BTCUSDT", "ETHUSDT")]
    (event,) = events(futures().received(frame({"e": "MARGIN_CALL", "E": 3, "cw": "1", "p": rows}), NOW))
    assert isinstance(event, MarginCall)
    assert event.unique_message_id == "MARGIN_CALL:3:BTCUSDT=1@BOTH,ETHUSDT=1@BOTH"


# --- odd fields ---


def spot_values(odd: int) -> dict[str, object]:
    event = msgspec.json.decode(report(0))["event"]
    assert isinstance(event, dict)
    return {**event, **{name: [7] for name in ["f", "x", "P", "F", "r", "l", "L", "n", "w"][:odd]}}


def test_so_many_odd_fields_are_left_out_and_one_more_is_another_frame() -> None:
    value, odd = without_odd_fields(SpotOrder, spot_values(8))
    assert isinstance(value, SpotOrder)
    assert len(odd) == 8
    with pytest.raises(msgspec.ValidationError):
        without_odd_fields(SpotOrder, spot_values(9))


def test_an_odd_field_deep_inside_is_left_out_and_one_that_must_be_there_is_not() -> None:
    order = msgspec.json.decode(futures_order(ps=7, rp=None))
    value, odd = without_odd_fields(FuturesOrderFrame, order)
    assert isinstance(value, FuturesOrderFrame)
    assert isinstance(value.o, FuturesOrder)
    assert (value.o.s, sorted(odd)) == ("BTCUSDT", ["ps", "rp"])
    with pytest.raises(msgspec.ValidationError):
        without_odd_fields(FuturesOrderFrame, msgspec.json.decode(futures_order(q=7)))


# --- answers on the account socket ---


def test_a_refusal_without_a_reason_ends_only_its_stream_and_nothing_raises() -> None:
    adapter = spot("a")
    outputs = adapter.received(frame({"id": "unasked", "status": 500}), NOW)
    assert not of(Fail, outputs)


# --- candles ---


def past(exchange: str, number: int) -> Call:
    """The question for what so many minutes have swallowed."""
    feed = candles(exchange)
    feed.add(wanted(resumed=START - number * MINUTE), NOW)
    return only(Call, acknowledge(feed, feed.connected(NOW)))


@pytest.mark.parametrize(
    ("exchange", "minutes", "rows", "weight"),
    [
        ("binance", 5, 5, 2),
        ("binance", 5000, 1000, 2),
        ("binanceUsdm", 99, 99, 1),
        ("binanceUsdm", 100, 100, 2),
        ("binanceUsdm", 499, 499, 2),
        ("binanceUsdm", 500, 500, 5),
        ("binanceUsdm", 5000, 1000, 5),
    ],
)
def test_missed_candles_are_asked_for_by_their_number_at_its_weight(
    exchange: str, minutes: int, rows: int, weight: int
) -> None:
    call = past(exchange, minutes)
    assert (int(params(call)["limit"]), call.weight, call.tag, call.method) == (rows, weight, "klines", "GET")
    assert call.pool == MARKETS[exchange].pool


def test_a_candle_outside_of_a_combined_stream_is_read_too() -> None:
    feed = candles()
    feed.add(wanted(), NOW)
    acknowledge(feed, feed.connected(NOW))
    combined = msgspec.json.decode(kline(START - MINUTE, closed=True))
    plain = {**combined["data"], "e": "kline"}
    emit = only(EmitCandle, feed.received(frame(plain), NOW))
    assert (emit.candle.start, emit.symbol) == (START - MINUTE, "BTCUSDT")


@pytest.mark.parametrize("notice", [{"e": "serverShutdown"}, {"stream": "!serverShutdown", "data": {}}])
def test_a_shutdown_notice_rotates_candles(notice: object) -> None:
    feed = candles()
    assert feed.received(frame(notice), NOW) == [Rotate("serverShutdown")]


def asked_two() -> tuple[CandleAdapter, list[str]]:
    feed = candles()
    for symbol in ("AUSDT", "BUSDT"):
        feed.add(CandleSubscription(stream_id=symbol, exchange="binance", symbol=symbol, interval="1m"), NOW)
    return feed, [str(request["id"]) for request in sent(feed.connected(NOW))]


def test_an_error_without_an_id_belongs_to_the_only_request_that_waits() -> None:
    feed, ids = asked_two()
    assert len(ids) == 1
    outputs = feed.received(frame({"code": 2, "msg": "Invalid request"}), NOW)
    assert only(Note, outputs).what == "error answer on the market socket: Invalid request, code 2"
    assert [request["params"] for request in sent(outputs)] == [["ausdt@kline_1m"], ["busdt@kline_1m"]]
    assert not sent(feed.received(frame({"code": 2, "msg": "Invalid request"}), NOW)), "two wait: nobody is blamed"


def test_a_market_frame_that_is_nothing_known_is_said() -> None:
    feed = candles()
    assert feed.received(frame({"x": 1}), NOW) == [Note("unknown market frame")]
    assert feed.received(frame({"data": {"x": 1}}), NOW) == [Note("unreadable candle frame")]
    assert feed.received(b"[", NOW) == [Note("unreadable market frame")]


def test_missed_candles_that_the_venue_refuses_say_why_at_once_and_a_busy_venue_is_asked_again() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 5 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    assert not feed.answered(call, refused(400, -1003, "Too many requests"), NOW)
    due = feed.deadline()
    assert due is not None
    again = only(Call, feed.woken(NOW._replace(mono=due)))
    live = only(Live, feed.answered(again, ok([bar(START - 4 * MINUTE)]), NOW))
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (1, ())


# --- the past of orders ---

SINCE = NOW.wall_ms - 3_600_000


def history(exchange: str, since_ms: int = SINCE) -> History:
    return History(MARKETS[exchange], since_ms, NOW.wall_ms)


def test_a_full_page_is_followed_from_its_newest_row() -> None:
    part = Part("BTCUSDT", 100, 200)
    assert history("binance").further(part, [110, 120, 120]) == [Part("BTCUSDT", 120, 200)]


@pytest.mark.parametrize("times", [[120, 110], [100, 100]])
def test_a_full_page_in_no_order_or_of_one_moment_is_halved(times: list[int]) -> None:
    part = Part("BTCUSDT", 100, 200)
    assert history("binance").further(part, times) == [Part("BTCUSDT", 100, 150), Part("BTCUSDT", 150, 200)]


def test_an_open_end_is_halved_behind_its_newest_row_and_now() -> None:
    part = Part("", NOW.wall_ms - 1)
    asked = history("binanceUsdm").further(part, [NOW.wall_ms + 2, NOW.wall_ms])
    middle = (NOW.wall_ms - 1 + NOW.wall_ms + 3) // 2
    assert asked == [Part("", NOW.wall_ms - 1, middle), Part("", middle, 0)]
    part = Part("", NOW.wall_ms - 3)
    assert history("binanceUsdm").further(part, [5, 4])[0].to_ms == (NOW.wall_ms - 3 + NOW.wall_ms + 1) // 2


def test_a_millisecond_cannot_be_halved() -> None:
    assert history("binance").further(Part("BTCUSDT", 100, 101), [100]) == []
    assert history("binance").further(Part("BTCUSDT", 100, 102), [100]) == [
        Part("BTCUSDT", 100, 101), Part("BTCUSDT", 101, 102),
    ]  # fmt: skip


def test_names_are_asked_for_once_and_as_many_as_there_is_room_for() -> None:
    past = history("binance")
    assert [part.name for part in past.add(["A", "B", "A", ""])] == ["A", "B"]
    assert past.add(["A"]) == []
    assert len(past.add(f"S{n}" for n in range(30))) == 18
    assert past.left_out(changed=False) == ["orders that finished meanwhile on 12 symbols"]
    assert past.left_out(changed=True)[-1] == "closed orders on other symbols can't be asked for"


def test_contracts_are_asked_for_by_their_pair() -> None:
    past = history("binanceCoinm")
    assert [part.name for part in past.add(["BTCUSD_PERP", "BTCUSD_261225", "ETHUSD_PERP"])] == ["BTCUSD", "ETHUSD"]
    assert past.left_out(changed=True) == ["closed orders on other pairs can't be asked for"]
    past.refused()
    assert [part.name for part in past.add(["BTCUSD_PERP"])] == ["BTCUSD_PERP"]


@pytest.mark.parametrize(
    ("exchange", "days", "parts", "cut"),
    [("binance", 0.5, 1, False), ("binance", 2.5, 3, False), ("binance", 4, 3, True), ("binanceUsdm", 9, 2, False)],
)
def test_a_gap_is_asked_for_in_spans_that_the_venue_takes(exchange: str, days: float, parts: int, cut: bool) -> None:
    since = NOW.wall_ms - int(days * DAY)
    past = history(exchange, since)
    found = past.whole() if exchange == "binanceUsdm" else past.add(["A"])
    assert len(found) == parts
    if not cut:
        assert found[0].from_ms == since
    assert [part.from_ms for part in found[1:]] == [part.to_ms for part in found[:-1]], "one after the other"
    assert (found[-1].to_ms or NOW.wall_ms) >= NOW.wall_ms
    assert bool(past.left_out(changed=False)) == cut


# --- what is kept of orders ---


def told(order_id: int, status: str, **fields: object) -> Emit:
    (event,) = events(spot("a").received(report(0, order_id, X=status, **fields), NOW))
    return Emit("a", event)


def kept(memory: OrderMemory) -> list[tuple[str, str, str]]:
    resume = memory.resume(NOW.wall_ms)
    assert resume.since_ms == NOW.wall_ms - OVERLAP_MS
    return [(order.order_id, order.client_order_id, order.status) for order in resume.orders]


def test_an_order_is_kept_open_until_its_end_and_then_once() -> None:
    memory = OrderMemory(Resume(since_ms=1, orders=(known(9), known(8, status="FILLED"))))
    memory.learn([told(1, "NEW"), told(9, "CANCELED", c="request", C="D-TP-9"), told(2, "NEW", C="")])
    assert kept(memory) == [
        ("1", "D-TP-1", "NEW"), ("2", "D-TP-2", "NEW"), ("8", "D-TP-8", "FILLED"), ("9", "D-TP-9", "CANCELED"),
    ]  # fmt: skip
    memory.learn([told(1, "CANCELED", C=""), told(2, "FILLED", C="other", z="1", Z="99")])
    assert kept(memory)[-2:] == [("1", "D-TP-1", "CANCELED"), ("2", "D-TP-2", "FILLED")]
    assert len(kept(memory)) == 4
    newest = memory.resume(NOW.wall_ms).orders[-1]
    assert (newest.executed, newest.executed_quote, newest.price, newest.quantity) == ("1", "99", "100", "10")
    assert (newest.side, newest.order_type, newest.symbol) == ("BUY", "LIMIT", "BTCUSDT")
    assert (newest.order_time_ms, newest.creation_time_ms) == (NOW.wall_ms, NOW.wall_ms)


def test_only_so_many_ended_orders_are_kept_and_the_oldest_are_forgotten_first() -> None:
    memory = OrderMemory(None)
    emit = told(1, "FILLED", z="1")
    assert isinstance(emit.event, ExecutionReport)
    memory.learn([Note("no event"), Emit("a", emit.event)])
    for number in range(2, MAX_FINISHED + 2):
        memory.learn([Emit("a", msgspec.structs.replace(emit.event, order_id=number))])
    ids = [row[0] for row in kept(memory)]
    assert (ids[0], len(ids)) == ("2", MAX_FINISHED)


# --- what REST tells of orders ---


def read_over_rest(
    exchange: str, fills: list[dict[str, object]], **fields: object
) -> list[ExecutionReport | OrderTradeUpdate]:
    rest = Rest(exchange, resume(known(1)))
    rest.single = {"1": order_row(1, **fields)}
    rest.trades = fills
    return [one for one in events(rest.run()) if isinstance(one, ExecutionReport | OrderTradeUpdate)]


def test_an_ended_spot_order_is_told_over_rest_as_a_frame_would() -> None:
    (event,) = read_over_rest("binance", [], status="CANCELED", time=5, updateTime=6)
    assert isinstance(event, ExecutionReport)
    assert (event.creation_time, event.order_time, event.event_time) == (5, 6, 6)
    assert (event.order_reject_reason, event.execution_type) == ("NONE", "CANCELED")
    assert (event.last_trade_quantity, event.price_last_trade, event.last_quote_transacted) == ("0", "0", "0")
    assert (event.commission, event.commission_asset, event.trade_id, event.is_buyer_maker) == ("0", None, -1, False)
    assert event.unique_message_id == "order:BTCUSDT:1:CANCELED:0:10:100"


def test_an_order_whose_beginning_is_not_told_began_with_its_update() -> None:
    (event,) = read_over_rest("binance", [], status="CANCELED", time=0, updateTime=6)
    assert isinstance(event, ExecutionReport)
    assert event.creation_time == 6


def test_a_fill_is_told_over_rest_with_its_fee_and_the_totals_so_far() -> None:
    fills = [trade_row(1, 1, "0.4", "100"), trade_row(2, 1, "0.6", "99")]
    done = {"status": "FILLED", "origQty": "1", "executedQty": "1", "cummulativeQuoteQty": "99.4"}
    first, last = read_over_rest("binance", fills, **done)
    assert isinstance(first, ExecutionReport)
    assert isinstance(last, ExecutionReport)
    assert (first.order_status, first.total_trade_quantity, first.total_quote_trade_quantity) == (
        "PARTIALLY_FILLED", "0.4", "40",
    )  # fmt: skip
    assert (last.order_status, last.total_trade_quantity, last.total_quote_trade_quantity) == ("FILLED", "1", "99.4")
    assert (last.last_trade_quantity, last.price_last_trade, last.last_quote_transacted) == ("0.6", "99", "59.4")
    assert (last.commission, last.commission_asset, last.trade_id, last.is_buyer_maker) == ("0.001", "BNB", 2, True)


@pytest.mark.parametrize(("original", "told"), [("STOP_MARKET", "STOP_MARKET"), ("", "LIMIT")])
def test_a_futures_order_keeps_the_type_that_it_was_placed_with(original: str, told: str) -> None:
    fields = {"status": "CANCELED", "origType": original, "clientOrderId": "autoclose-1"}
    (event,) = read_over_rest("binanceUsdm", [], **fields)
    assert isinstance(event, OrderTradeUpdate)
    assert (event.original_order_type, event.order_type, event.position_side) == (told, "LIMIT", "BOTH")
    assert event.unique_message_id == "order:BTCUSDT:1:CANCELED:0:10:100"


@pytest.mark.parametrize("exchange", ["binance", "binanceUsdm"])
def test_the_balances_after_a_gap_are_all_there_are(exchange: str) -> None:
    rest = Rest(exchange, resume())
    if rest.market.spot:
        rows = [{"asset": "BTC", "free": "0.5", "locked": "0.1"}, {"asset": "USDT", "free": "5", "locked": "0"}]
        rest.balances = {"balances": rows, "updateTime": 7}
    else:
        rest.balances = [
            {"asset": name, "balance": "5", "crossWalletBalance": "4", "updateTime": 1} for name in ("BTC", "USDT")
        ]
    (event,) = [one for one in events(rest.run()) if isinstance(one, AccountPosition | AccountUpdate)]
    if isinstance(event, AccountPosition):
        assert [(one.asset, one.free, one.locked) for one in event.balances] == [
            ("BTC", "0.5", "0.1"), ("USDT", "5", "0"),
        ]  # fmt: skip
        assert event.unique_message_id == "snapshot:7:BTC=0.5+0.1,USDT=5+0"
    else:
        assert event.unique_message_id == f"snapshot:{event.event_time}:BTC=5+4,USDT=5+4"
        assert (event.event_reason_type, event.positions) == ("SNAPSHOT", [])


# --- tickers ---


def test_only_tickers_are_carried_and_a_second_shard_is_live_at_once() -> None:
    feed = tickers()
    assert only(Fail, feed.add(wanted(), NOW)).kind is FailKind.REQUEST
    assert not of(Live, feed.connected(NOW))
    assert of(Live, feed.received(frame([row()]), NOW)) == [Live("t")]
    assert not of(Live, feed.received(frame([row()]), NOW))
    again = tickers()
    again.received(frame([row()]), NOW)
    assert again.add(TickerSubscription(stream_id="u", exchange="binance"), NOW) == [Live("u")]


@pytest.mark.parametrize("kind", ["24hrTicker", "24hrMiniTicker"])
def test_one_symbols_row_is_a_ticker_whatever_its_stream(kind: str) -> None:
    (ticker,) = only(EmitTickers, tickers().received(frame(row(e=kind)), NOW)).tickers
    assert (ticker.symbol, ticker.price) == ("BTCUSDT", 1.5)


@pytest.mark.parametrize("said", [{"error": {"code": 2}}, {"code": 2, "msg": "no"}])
def test_an_error_on_a_price_socket_is_said(said: dict[str, object]) -> None:
    assert tickers().received(frame(said), NOW) == [Note("error answer on the market socket")]


@pytest.mark.parametrize("fields", [{}, {"st": 1}, {"s": "NEWUSDT"}])
def test_a_spot_row_needs_neither_a_mark_nor_the_list(fields: dict[str, object]) -> None:
    assert of(EmitTickers, tickers("binance", TABLE).received(frame([row(**fields)]), NOW))


@pytest.mark.parametrize("fields", [{"v": "inf"}, {"q": "nan"}, {"v": "nan"}, {"c": "inf"}])
def test_a_row_with_a_figure_that_is_no_number_is_left_out(fields: dict[str, object]) -> None:
    assert not of(EmitTickers, tickers().received(frame([row(**fields)]), NOW))


# --- frames of a listen key ---


def test_an_account_frame_that_is_nothing_known_is_said() -> None:
    assert futures().received(b"[", NOW) == [Note("unreadable account frame")]
    assert futures().received(frame({"x": 1}), NOW) == [Note("account frame without a type")]


# --- the account socket ---


@pytest.mark.parametrize(
    ("raw", "note"),
    [
        (b"[", "unreadable frame on the WebSocket API"),
        (b"{}", "unknown frame on the WebSocket API"),
        (frame({"subscriptionId": 0, "event": []}), "unreadable account event"),
        (frame({"subscriptionId": 77, "event": {"e": "executionReport"}}), "account event of an unknown subscription"),
        (frame({"event": {"e": "executionReport"}}), "account event without a subscription id"),
        (frame({"subscriptionId": 0, "event": {"e": "NEWS"}}), "unknown kind of account event: NEWS"),
    ],
)
def test_a_frame_that_belongs_to_nobody_is_said(raw: bytes, note: str) -> None:
    assert spot("a", "b").received(raw, NOW) == [Note(note)]


def test_a_documented_event_that_publishes_nothing_is_not_said() -> None:
    assert not spot("a").received(frame({"subscriptionId": 0, "event": {"e": "listStatus", "E": 1}}), NOW)


def test_what_still_comes_of_an_account_that_left_is_nobodys_business_even_while_another_joins() -> None:
    adapter = spot("a", "b")
    adapter.remove("b", NOW)
    joins = only(dict, sent(adapter.add(account("c"), NOW)))
    assert not adapter.received(report(1), NOW)
    outputs = adapter.received(subscribed(joins["id"], 1), NOW)
    assert not of(Emit, outputs), "the venue gave the id to the next one; what came before was not about it"
    assert of(Live, outputs) == [Live("c")]
    assert only(Emit, adapter.received(report(1), NOW)).stream_id == "c"


def test_events_of_an_unknown_subscription_are_not_kept_when_nobody_joins() -> None:
    adapter = spot("a")
    assert adapter.received(report(5), NOW) == [Note("account event of an unknown subscription")]
    joins = only(dict, sent(adapter.add(account("b"), NOW)))
    assert not of(Emit, adapter.received(subscribed(joins["id"], 5), NOW))


def test_a_refusal_without_an_id_takes_its_request_with_it() -> None:
    adapter = spot("a")
    joins = only(dict, sent(adapter.add(account("b"), NOW)))
    assert only(Fail, adapter.received(error(None, 401, -2015), NOW)).stream_id == "b"
    assert not of(Live, adapter.received(subscribed(joins["id"], 4), NOW)), "nobody waits for it any more"
    assert adapter.received(report(4), NOW) == [Note("account event of an unknown subscription")]


@pytest.mark.parametrize(
    ("request_id", "code", "kind"),
    [
        (None, -2015, Fail),
        ("unasked", -2015, Note),
        (None, -1000, Note),
    ],
)
def test_an_error_that_is_nobodys_is_said_unless_a_key_is_refused_without_saying_whose(
    request_id: str | None, code: int, kind: type[Fail] | type[Note]
) -> None:
    (output,) = spot("a", "b").received(error(request_id, 400, code), NOW)
    assert isinstance(output, kind)
    if isinstance(output, Note):
        assert output.what.startswith("error answer to an unknown request: ")


def test_only_accounts_whose_request_was_refused_for_its_time_ask_again_with_the_clock() -> None:
    adapter = spot("a")
    first = only(dict, sent(adapter.add(account("b"), NOW)))
    adapter.add(account("c"), NOW)
    clock = only(Call, adapter.received(error(first["id"], 400, -1021), NOW))
    again = sent(adapter.answered(clock, ok({"serverTime": NOW.wall_ms}), NOW))
    assert [one["params"]["apiKey"] for one in again] == ["key-b"]


def test_why_an_account_is_given_up_is_said() -> None:
    adapter = spot("a")
    joins = only(dict, sent(adapter.add(account("b"), NOW)))
    outputs = adapter.received(error(joins["id"], 400, -2042), NOW)
    assert of(Rotate, outputs) == [Rotate("the subscription ids of this connection are used up")]
    joins = only(dict, sent(adapter.add(account("c"), NOW)))
    outputs = adapter.received(error(joins["id"], 400, -2035), NOW)
    assert of(Note, outputs) == [Note("already subscribed", "info")]
    listing = only(dict, sent(outputs))
    told = frame({"id": listing["id"], "status": 200, "result": [{"subscriptionId": 0}]})
    assert only(Fail, adapter.received(told, NOW)).reason.endswith("through another key already")


def test_an_account_that_joins_while_a_terminated_one_subscribes_again_is_live_with_it() -> None:
    adapter = spot("a", "b")
    ended = frame({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": NOW.wall_ms}})
    again = only(dict, sent(adapter.received(ended, NOW)))
    assert not of(Live, adapter.add(account("twin", key="key-a"), NOW)), "its subscription is not there yet"
    assert Live("twin") in adapter.received(subscribed(again["id"], 7), NOW)


def test_an_answer_that_comes_after_its_account_left_is_nobodys_business() -> None:
    adapter = futures()
    stray = Call(tag="positions", method="GET", url="https://fapi.binance.com/fapi/v3/positionRisk")
    adapter.remove("a", NOW)
    assert not adapter.answered(stray, ok([]), NOW)
    assert adapter.deadline() is None
