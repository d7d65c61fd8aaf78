"""Tickers, candles and symbols of the Binance markets."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Rotate,
    Seen,
    Send,
    TickerSubscription,
)
from exchanges.binance import VENUE
from exchanges.binance._candle import ANSWER_S, GATHER_S, CandleAdapter
from exchanges.binance._hosts import MARKETS
from exchanges.binance._symbols import Loader
from exchanges.binance._ticker import TickerAdapter
from exchanges.events import encode
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges.binance.support import NOW, TABLE, later, ok, refused, requests, setup
from tests.unit.exchanges.driver import frame, of, only, params, path

MINUTE = 60_000
START = NOW.wall_ms - NOW.wall_ms % MINUTE


# --- tickers ---


def tickers(exchange: str = "binance", table: SymbolTable = TABLE) -> TickerAdapter:
    feed = TickerAdapter(setup(exchange, table), MARKETS[exchange])
    feed.add(TickerSubscription(stream_id="t", exchange=exchange), NOW)
    return feed


def row(symbol: str = "BTCUSDT", **fields: object) -> dict[str, object]:
    return {
        "e": "24hrMiniTicker",
        "E": 5,
        "s": symbol,
        "c": "1.5",
        "o": "1",
        "h": "2",
        "l": "1",
        "v": "10",
        "q": "15",
    } | fields


@pytest.mark.parametrize(
    ("exchange", "url"),
    [
        ("binance", "wss://stream.binance.com:9443/stream?streams=!miniTicker@arr"),
        ("binanceUS", "wss://stream.binance.us:9443/stream?streams=!miniTicker@arr"),
        ("binanceUsdm", "wss://fstream.binance.com/market/stream?streams=!ticker@arr"),
        ("binanceCoinm", "wss://dstream.binance.com/stream?streams=!ticker@arr"),
    ],
)
def test_ticker_urls(exchange: str, url: str) -> None:
    assert only(Connect, tickers(exchange).start(NOW)).url == url


def test_the_first_rows_confirm_the_subscription() -> None:
    feed = tickers()
    assert feed.connected(NOW) == []
    outputs = feed.received(frame({"stream": "!miniTicker@arr", "data": [row()]}), NOW)
    assert [type(output) for output in outputs] == [Live, EmitTickers]
    assert [type(output) for output in feed.received(frame([row()]), NOW)] == [EmitTickers]


def test_binance_us_is_too_quiet_to_wait_for_rows() -> None:
    assert tickers("binanceUS").connected(NOW) == [Live("t")]


@pytest.mark.parametrize(("exchange", "kept"), [("binanceUsdm", ["BTCUSDT"]), ("binanceCoinm", ["BTCUSD_PERP"])])
def test_rows_without_a_market_mark_go_by_the_symbol_list(exchange: str, kept: list[str]) -> None:
    rows = frame([row("BTCUSDT"), row("BTCUSD_PERP"), row("NEWUSDT", st=1), row("NEWUSD_PERP", st=2)])
    listed = SymbolTable([Instrument(wire=kept[0], pair=kept[0])])
    extra = ["NEWUSDT"] if exchange == "binanceUsdm" else ["NEWUSD_PERP"]
    for table in (listed, EMPTY):
        emit = only(EmitTickers, tickers(exchange, table).received(rows, NOW))
        assert [ticker.symbol for ticker in emit.tickers] == kept + extra


def test_one_bad_row_costs_that_row() -> None:
    rows = frame([row("A"), row("B", c=None), row("C", c="NaN"), row("D", v="inf"), {"x": 1}, row("E")])
    outputs = tickers().received(rows, NOW)
    assert [ticker.symbol for ticker in only(EmitTickers, outputs).tickers] == ["A", "E"]
    assert of(Note, outputs)


def test_a_symbol_without_a_trade_gives_no_ticker() -> None:
    rows = [row("NEWUSDT", c="0.00000000"), row("ODDUSDT", c="-1"), row("BTCUSDT")]
    emit = only(EmitTickers, tickers().received(frame({"stream": "!miniTicker@arr", "data": rows}), NOW))
    assert [ticker.symbol for ticker in emit.tickers] == ["BTCUSDT"]


@pytest.mark.parametrize("empty", [None, ""])
def test_a_row_without_volumes_still_has_its_price(empty: str | None) -> None:
    rows = [row("BTCUSDT", v=empty, q=empty), row("ETHUSDT", c=empty)]
    outputs = tickers().received(frame({"stream": "!miniTicker@arr", "data": rows}), NOW)
    (ticker,) = only(EmitTickers, outputs).tickers
    assert (ticker.symbol, ticker.price, ticker.volume, ticker.best_ask_qnt) == ("BTCUSDT", 1.5, 0, 0)


def test_a_single_symbols_stream_is_read_too() -> None:
    for raw in (frame({"stream": "btcusdt@miniTicker", "data": row()}), frame(row())):
        assert only(EmitTickers, tickers().received(raw, NOW)).tickers[0].symbol == "BTCUSDT"


def test_rows_of_the_sibling_market_alone_are_no_sign_of_life() -> None:
    assert tickers("binanceUsdm").received(frame([row("BTCUSD_PERP", st=2)]), NOW) == []


def test_shutdown_notices_rotate() -> None:
    for raw in (frame({"e": "serverShutdown", "E": 1}), frame({"stream": "!serverShutdown", "data": {"E": 1}})):
        assert of(Rotate, tickers().received(raw, NOW))
        assert of(Rotate, candles().received(raw, NOW))


def test_a_stream_that_left_gets_nothing() -> None:
    feed = tickers()
    feed.remove("t", NOW)
    assert feed.received(frame([row()]), NOW) == []


@settings(max_examples=200, deadline=None)
@given(
    price=st.decimals("0.00000001", "9999999", places=8),
    volume=st.decimals("0", "99999999999", places=8),
    quote=st.decimals("0", "99999999999", places=8),
)
def test_prices_arrive_as_the_nearest_number(price: Any, volume: Any, quote: Any) -> None:
    raw = frame([row(c=f"{price:f}", v=f"{volume:f}", q=f"{quote:f}")])
    (ticker,) = only(EmitTickers, tickers().received(raw, NOW)).tickers
    told = json.loads(encode(ticker))
    assert (told["price"], told["bestAsk"], told["bestBid"]) == (float(price),) * 3
    assert (told["volume"], told["bestAskQnt"], told["bestBidQnt"]) == (float(volume), float(quote), float(quote))


# --- candles ---


def candles(exchange: str = "binance", table: SymbolTable = EMPTY) -> CandleAdapter:
    return CandleAdapter(setup(exchange, table), MARKETS[exchange])


def wanted(symbol: str = "BTCUSDT", interval: str = "1m", resumed: int | None = None) -> CandleSubscription:
    return CandleSubscription(
        stream_id=f"{symbol}-{interval}", exchange="binance", symbol=symbol, interval=interval, resume_start_ms=resumed
    )


def kline(start: int, *, closed: bool, symbol: str = "BTCUSDT", interval: str = "1m", close: str = "2.50") -> bytes:
    k = {
        "t": start, "T": start + MINUTE - 1, "s": symbol, "i": interval, "o": "1", "c": close, "h": "3", "l": "0.5",
        "v": "7.0", "x": closed,
    }  # fmt: skip
    stream = f"{symbol.lower()}@kline_{interval}"
    return frame({"stream": stream, "data": {"e": "kline", "E": 1, "s": symbol, "k": k}})


def bar(start: int, close: str = "2.50") -> list[object]:
    return [start, "1", "3", "0.5", close, "7.0", start + MINUTE - 1, "0", 1, "0", "0", "0"]


def acknowledge(feed: CandleAdapter, outputs: list[Any], now: Instant = NOW) -> list[Any]:
    done: list[Any] = []
    for asked in requests(outputs):
        done += feed.received(frame({"result": None, "id": asked["id"]}), now)
    return done


def running(*subscriptions: CandleSubscription) -> CandleAdapter:
    feed = candles()
    for one in subscriptions:
        feed.add(one, NOW)
    feed.start(NOW)
    acknowledge(feed, feed.connected(NOW))
    return feed


def test_topics_are_subscribed_in_frames_of_a_hundred_and_live_when_acknowledged() -> None:
    feed = candles()
    for number in range(250):
        feed.add(wanted(f"S{number}USDT"), NOW)
    assert only(Connect, feed.start(NOW)).url == "wss://stream.binance.com:9443/stream"
    outputs = feed.connected(NOW)
    asked = requests(outputs)
    assert [len(one["params"]) for one in asked] == [100, 100, 50]
    assert {one["method"] for one in asked} == {"SUBSCRIBE"}
    assert asked[0]["params"][0] == "s0usdt@kline_1m"
    assert len(of(Live, acknowledge(feed, outputs))) == 250
    assert feed.deadline() is None


def test_topics_that_join_a_live_connection_leave_together() -> None:
    feed = running(wanted())
    for number in range(3):
        assert feed.add(wanted(f"S{number}"), later(number / 100)) == []
    assert feed.deadline() == NOW.mono + GATHER_S
    outputs = feed.woken(later(GATHER_S))
    assert [len(one["params"]) for one in requests(outputs)] == [3]
    assert len(of(Live, acknowledge(feed, outputs))) == 3


def test_topics_that_leave_are_unsubscribed_unless_they_come_back() -> None:
    feed = running(wanted("A"), wanted("B"))
    feed.remove("A-1m", NOW)
    feed.remove("B-1m", NOW)
    feed.add(wanted("B"), NOW)
    asked = requests(feed.woken(later(GATHER_S)))
    assert [(one["method"], one["params"]) for one in asked] == [
        ("UNSUBSCRIBE", ["a@kline_1m"]),
        ("SUBSCRIBE", ["b@kline_1m"]),
    ]


def test_closed_candles_are_told_once_and_running_ones_are_signs_of_life() -> None:
    feed = running(wanted())
    assert feed.received(kline(START, closed=False), NOW) == [Seen("BTCUSDT-1m")]
    emit = only(EmitCandle, feed.received(kline(START, closed=True), NOW))
    assert (emit.symbol, emit.interval, emit.exchange, emit.repaired) == ("BTCUSDT", "1m", "binance", False)
    assert (emit.candle.start, emit.candle.close, emit.candle.volume) == (START, "2.50", "7.0")
    assert feed.received(kline(START, closed=True), NOW) == [Seen("BTCUSDT-1m")]
    assert feed.received(kline(START - MINUTE, closed=True), NOW) == [Seen("BTCUSDT-1m")]


def test_frames_of_topics_that_nobody_wants_publish_nothing() -> None:
    assert running(wanted()).received(kline(START, closed=True, symbol="ETHUSDT"), NOW) == []


def test_a_request_keeps_its_own_spelling() -> None:
    feed = running(CandleSubscription(stream_id="x", exchange="binance", symbol="btcusdt", interval="1m"))
    assert only(EmitCandle, feed.received(kline(START, closed=True), NOW)).symbol == "btcusdt"


def test_a_connection_without_a_gap_asks_for_nothing() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - MINUTE), NOW)
    outputs = acknowledge(feed, feed.connected(NOW))
    assert [type(output) for output in outputs] == [Live]


@pytest.mark.parametrize("exchange", ["binance", "binanceUsdm", "binanceCoinm", "binanceUS"])
def test_missed_candles_are_read_and_told_in_order_before_the_stream_goes_on(exchange: str) -> None:
    feed = candles(exchange)
    feed.add(wanted(resumed=START - 5 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    asked = params(call)
    assert path(call) == f"{MARKETS[exchange].api}/klines"
    assert (asked["symbol"], asked["interval"], int(asked["startTime"])) == ("BTCUSDT", "1m", START - 4 * MINUTE)
    now = later(61)
    assert feed.received(kline(START - MINUTE, closed=True), now) == [Seen("BTCUSDT-1m")]
    assert feed.received(kline(START, closed=True), now) == [Seen("BTCUSDT-1m")]
    bars = [bar(START - number * MINUTE) for number in (4, 3, 2, 1)]
    outputs = feed.answered(call, ok([*bars, bar(START + MINUTE)]), now)
    told = [(emit.candle.start, emit.repaired) for emit in of(EmitCandle, outputs)]
    assert told == [
        (START - 4 * MINUTE, True),
        (START - 3 * MINUTE, True),
        (START - 2 * MINUTE, True),
        (START - MINUTE, True),
        (START, False),
    ]
    live = only(Live, outputs)
    assert outputs[-1] is live
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (4, ())


def test_one_odd_candle_of_the_past_costs_only_itself() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 5 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    odd = [[None, "1", "1", "1", "1", "1"], [START - 3 * MINUTE, "1", None, "1", "1", "1"], {"t": 1}, "x"]
    empty = [START - 2 * MINUTE, "0", "0", "0", "0", "0"]
    outputs = feed.answered(call, ok([*odd, bar(START - 4 * MINUTE), empty, bar(START - MINUTE)]), NOW)
    assert [emit.candle.start for emit in of(EmitCandle, outputs)] == [START - 4 * MINUTE, START - MINUTE]


def test_a_repaired_candle_has_the_id_of_the_live_one() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 3 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    repaired = of(EmitCandle, feed.answered(call, ok([bar(START - 2 * MINUTE)]), NOW))[0].candle
    assert only(EmitCandle, running(wanted()).received(kline(START - 2 * MINUTE, closed=True), NOW)).candle == repaired


def test_a_long_gap_gets_its_newest_candles_and_says_what_is_missing() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 5000 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    first = int(params(call)["startTime"])
    assert (START - first) // MINUTE <= 1000
    live = only(Live, feed.answered(call, ok([bar(first)]), NOW))
    assert live.gap is not None
    assert live.gap.missing


@pytest.mark.parametrize("answer", [refused(400, -1121), Answer(200, {}, b"?")])
def test_a_gap_that_cannot_be_read_does_not_hold_the_candles_back(answer: Answer) -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 5 * MINUTE), NOW)
    call = only(Call, acknowledge(feed, feed.connected(NOW)))
    live = only(Live, feed.answered(call, answer, NOW))
    assert live.gap is not None
    assert live.gap.missing


def test_a_failed_question_is_repeated_then_given_up() -> None:
    feed = candles()
    feed.add(wanted(resumed=START - 5 * MINUTE), NOW)
    outputs: list[Any] = acknowledge(feed, feed.connected(NOW))
    now = NOW
    for _ in range(2):
        assert feed.answered(only(Call, outputs), refused(500, 0), now) == []
        due = feed.deadline()
        assert due is not None
        now = Instant(due, now.wall_ms)
        outputs = feed.woken(now)
    assert of(Live, feed.answered(only(Call, outputs), refused(500, 0), now))


def test_one_bad_name_is_found_and_only_it_fails() -> None:
    feed = candles()
    for number in range(9):
        feed.add(wanted(f"S{number}"), NOW)
    pending = requests(feed.connected(NOW))
    outputs: list[Any] = []
    for _ in range(50):
        if not pending:
            break
        asked = pending.pop(0)
        bad = "s4@kline_1m" in asked["params"]
        body = (
            {"error": {"code": 2, "msg": "Invalid request"}, "id": asked["id"]}
            if bad
            else {"result": None, "id": asked["id"]}
        )
        said = feed.received(frame(body), NOW)
        pending += requests(said)
        outputs += said
    fail = only(Fail, outputs)
    assert (fail.stream_id, fail.kind) == ("S4-1m", FailKind.REQUEST)
    assert len(of(Live, outputs)) == 8


def test_an_unanswered_subscribe_ends_the_connection() -> None:
    feed = candles()
    feed.add(wanted(), NOW)
    feed.connected(NOW)
    due = feed.deadline()
    assert due == NOW.mono + ANSWER_S
    assert only(Fail, feed.woken(later(ANSWER_S))).stream_id is None


@pytest.mark.parametrize(
    ("symbol", "interval"), [("BTC-USDT", "1m"), ("", "1m"), ("BTCUSDT", "7m"), ("BTC USDT", "1m")]
)
def test_requests_that_cannot_be_served_fail_alone_and_are_never_sent(symbol: str, interval: str) -> None:
    feed = candles(table=TABLE)
    fail = only(Fail, feed.add(wanted(symbol, interval), NOW))
    assert fail.kind is FailKind.REQUEST
    assert of(Send, feed.connected(NOW)) == []


def test_two_requests_for_one_topic_share_it_and_are_told_both() -> None:
    feed = running(wanted())
    again = CandleSubscription(stream_id="other", exchange="binance", symbol="btcusdt", interval="1m")
    assert feed.add(again, NOW) == [Live("other")]
    told = of(EmitCandle, feed.received(kline(START, closed=True), NOW))
    assert [(emit.stream_id, emit.symbol) for emit in told] == [("BTCUSDT-1m", "BTCUSDT"), ("other", "btcusdt")]


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(range(6)), closed=st.lists(st.booleans(), min_size=6, max_size=6))
def test_any_order_of_frames_gives_rising_candles(order: list[int], closed: list[bool]) -> None:
    later = Instant(NOW.mono + 600, NOW.wall_ms + 600_000)
    feed = running(wanted())
    starts = [
        emit.candle.start
        for number in itertools.chain(order, order)
        for emit in of(EmitCandle, feed.received(kline(START + number * MINUTE, closed=closed[number]), later))
    ]
    assert starts == sorted(set(starts))
    assert {(start - START) // MINUTE for start in starts} <= {number for number in range(6) if closed[number]}


# --- symbols ---


def test_symbols_are_read_with_their_contract_size() -> None:
    loader = Loader("binanceCoinm")
    (call,) = loader.start()
    assert call.url == "https://dapi.binance.com/dapi/v1/exchangeInfo"
    symbol = {
        "symbol": "BTCUSD_PERP", "pair": "BTCUSD", "baseAsset": "BTC", "quoteAsset": "USD", "marginAsset": "BTC",
        "contractType": "PERPETUAL", "contractStatus": "TRADING", "contractSize": 100,
    }  # fmt: skip
    halted = symbol | {"symbol": "ETHUSD_PERP", "contractStatus": "SETTLING"}
    loader.answered(call, ok({"symbols": [symbol, halted]}))
    found = loader.result()
    assert found is not None
    assert found[0] == Instrument(
        wire="BTCUSD_PERP",
        pair="BTCUSD_PERP",
        base="BTC",
        quote="USD",
        settle="BTC",
        contract_size="100",
        kind="PERPETUAL",
    )
    assert [instrument.active for instrument in found] == [True, False]


def test_spot_symbols_are_read() -> None:
    loader = Loader("binance")
    (call,) = loader.start()
    body = {"symbols": [{"symbol": "币安USDT", "baseAsset": "币安", "quoteAsset": "USDT", "status": "TRADING"}]}
    loader.answered(call, ok(body))
    assert [(one.wire, one.base, one.active) for one in loader.result() or []] == [("币安USDT", "币安", True)]


def test_a_refusal_names_the_expected_form() -> None:
    why = VENUE.candle_refusal("binanceCoinm", "BTC-USD", "1d", TABLE)
    assert why is not None
    assert "BTC-USD" in why
    assert "BTCUSD_PERP" in why


def test_non_ascii_symbols_are_subscribed_as_utf8() -> None:
    feed = candles()
    feed.add(wanted("币安USDT"), NOW)
    assert requests(feed.connected(NOW))[0]["params"] == ["币安usdt@kline_1m"]


def test_one_odd_symbol_does_not_cost_the_list() -> None:
    good = {"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "status": "TRADING"}
    odd = [{**good, "symbol": "N", "status": None}, {**good, "symbol": None}, {"status": "TRADING"}, 7, None]
    loader = Loader("binance")
    loader.answered(only(Call, loader.start()), ok({"symbols": [odd[0], good, *odd[1:]]}))
    found = loader.result()
    assert found is not None
    assert [(item.wire, item.active) for item in found] == [("N", False), ("BTCUSDT", True)]


def test_a_list_of_nothing_but_odd_symbols_is_no_list() -> None:
    loader = Loader("binance")
    loader.answered(only(Call, loader.start()), ok({"symbols": [{"symbol": None}]}))
    assert loader.result() is None
