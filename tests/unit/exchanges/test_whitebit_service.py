"""WhiteBIT under load and in trouble: candles beyond the connections, a bad market, scarce tokens, maintenance, sites."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from connector.streams.advice import advice
from exchanges import option_refusals
from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    Fail,
    FailKind,
    Instant,
    Live,
    Output,
    Send,
    TickerSubscription,
    UserSubscription,
)
from exchanges.instruments import Instrument, SymbolTable
from exchanges.whitebit import VENUE
from exchanges.whitebit._errors import failure_of
from simulator import controls
from tests.unit.exchanges.driver import after, json_answer, of, only, params, path, sent, setup
from tests.unit.exchanges.pair import Pair, Seat
from tests.unit.exchanges.test_whitebit import KEY, NOW, acknowledged, joined, refused, table

HOUR = Instant(NOW.mono, 1_795_298_400_000 + 1_800_000)
"""Half past the hour."""


# --- candles beyond the connections ---


def wanted(number: int, symbol: str = "BTC-USDT", interval: str = "1h") -> CandleSubscription:
    return CandleSubscription(stream_id=f"c{number}", exchange="whitebit", symbol=symbol, interval=interval)


def shared() -> tuple[Any, dict[str, Any]]:
    """A connection with one topic that is subscribed, and then is given another one."""
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(wanted(1), HOUR)
    feed.start(HOUR)
    request = sent(feed.connected(HOUR))[0]
    assert of(Live, feed.received(acknowledged(request), HOUR))
    leaving = sent(feed.add(wanted(2, "ETH-USDT"), HOUR))
    assert [one["method"] for one in leaving] == ["candles_unsubscribe"], (
        "a second subscription would silence the first"
    )
    outputs = [*feed.received(acknowledged(leaving[0]), HOUR), *feed.woken(after(HOUR, 1))]
    assert [one.stream_id for one in of(Live, outputs)] == ["c2"]
    assert not of(Send, outputs)
    return feed, request


def row(start_s: int) -> list[object]:
    return [start_s, "1", "4", "5", "0.5", "12", "40"]


ENDED = HOUR.wall_ms // 1000 - 1_800


def test_a_connection_with_several_candle_topics_asks_for_each_candle_when_it_has_ended() -> None:
    feed, _ = shared()
    assert not of(Call, feed.woken(after(HOUR, 1_799)))
    calls = of(Call, feed.woken(after(HOUR, 1_802)))
    assert [(path(one), params(one)["market"], params(one)["interval"]) for one in calls] == [
        ("/api/v1/public/kline", "BTC_USDT", "1h"),
        ("/api/v1/public/kline", "ETH_USDT", "1h"),
    ]
    told = [
        (one.stream_id, one.candle.start, one.candle.close)
        for call in calls
        for one in of(EmitCandle, feed.answered(call, json_answer({"result": [row(ENDED)]}), after(HOUR, 1_803)))
    ]
    assert told == [("c1", ENDED * 1000, "4"), ("c2", ENDED * 1000, "4")]
    assert not of(Call, feed.woken(after(HOUR, 1_830)))
    again = of(Call, feed.woken(after(HOUR, 5_402)))
    assert {params(one)["start"] for one in again} == {str(ENDED + 3_600)}, "none is told twice, none left out"


@pytest.mark.parametrize("answer", [json_answer({"result": []}), json_answer({}, 503), Answer(0, {}, b"", "no answer")])
def test_a_candle_that_is_not_listed_yet_is_asked_for_again(answer: Answer) -> None:
    feed, _ = shared()
    call = of(Call, feed.woken(after(HOUR, 1_802)))[0]
    assert not of(EmitCandle, feed.answered(call, answer, after(HOUR, 1_803)))
    again = of(Call, feed.woken(after(HOUR, 1_808)))[0]
    assert params(again)["start"] == str(ENDED)
    assert of(EmitCandle, feed.answered(again, json_answer({"result": [row(ENDED)]}), after(HOUR, 1_809)))


def test_candles_that_nobody_answers_are_asked_for_at_the_next_end_again() -> None:
    feed, _ = shared()
    asked = [feed.woken(after(HOUR, 1_802 + 61 * number)) for number in range(1, 4)]
    assert all(of(Call, outputs) for outputs in asked)


def test_a_topic_that_left_a_shared_connection_is_not_asked_for() -> None:
    feed, _ = shared()
    feed.remove("c1", HOUR)
    assert [params(one)["market"] for one in of(Call, feed.woken(after(HOUR, 1_802)))] == ["ETH_USDT"]


def test_two_spellings_of_one_candle_are_one_topic() -> None:
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(wanted(1), HOUR)
    feed.add(wanted(2, interval="60"), HOUR)
    feed.start(HOUR)
    request = sent(feed.connected(HOUR))[0]
    assert request["params"] == ["BTC_USDT", 3600]
    assert {one.stream_id for one in of(Live, feed.received(acknowledged(request), HOUR))} == {"c1", "c2"}


@pytest.mark.parametrize("exchange", VENUE.exchanges)
def test_candles_of_a_shared_connection_are_those_of_the_venue(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=1.0)
    symbols = pair.hub.world.markets.symbols(exchange)[:2]
    first, second = (
        CandleSubscription(stream_id=one.pair_id, exchange=exchange, symbol=one.pair_id, interval="1m")
        for one in symbols
    )
    pair.open("candle", first)
    pair.take(pair.adapter.add(second, pair.now))  # type: ignore[union-attr]
    for number in range(200):
        for one in symbols:  # nobody else watches this world's prices
            controls.set_price(pair.hub, exchange, one.wire, one.price + number, pair.now)
        pair.wait(1.0)
    told = [(one.stream_id, one.candle.start, one.candle.close) for one in pair.of(EmitCandle)]
    for one in symbols:
        mine = [row for row in told if row[0] == one.pair_id]
        rows = pair.hub.world.markets.candles(exchange, one.wire, "1m", None, None, 10, pair.now.wall_ms)
        closed = {row.start_ms: row.close for row in rows if row.start_ms + 60_000 <= pair.now.wall_ms}
        assert len(mine) >= 3
        assert [start for _, start, _ in mine] == sorted({start for _, start, _ in mine})
        assert all(float(close) == float(closed[start]) for _, start, close in mine)


def test_candle_connections_have_a_maximum_that_a_deployment_may_set() -> None:
    limits = VENUE.limits("whitebit", "candle")
    assert (limits.subscriptions_per_connection, limits.candle_connections, limits.shared_topics) == (1, 300, 100)
    assert limits.candle_connections_option == "WHITEBIT_CANDLE_CONNECTIONS"


# --- one bad market ---


@pytest.mark.parametrize("gone", ["M0_USDT", "M1234_USDT", "M999_USDT"])
@pytest.mark.parametrize("text", ["market {} does not exist", "invalid argument"])
def test_one_bad_market_does_not_silence_two_thousand(text: str, gone: str) -> None:
    """The venue refuses the whole list, and the channel is empty then, what was confirmed before included."""
    markets = [f"M{number}_USDT" for number in range(2_000)]
    names = SymbolTable(Instrument(wire=one, pair=one.replace("_", "-")) for one in markets)
    feed = VENUE.ticker(setup("whitebit", names))
    feed.add(TickerSubscription(stream_id="t", exchange="whitebit", symbols=tuple(markets)), NOW)
    feed.start(NOW)
    serving: list[str] = []
    frames, outputs, now = list(sent(feed.connected(NOW))), [], NOW
    for _ in range(200):
        if not frames:
            now = after(now, 0.5)
            frames = sent(feed.woken(now))
            if not frames:
                break
        request = frames.pop(0)
        bad = request["method"] == "market_subscribe" and gone in request["params"]
        serving = [] if bad else list(request["params"])
        answer = refused(request, 1, text.format(gone)) if bad else acknowledged(request)
        told = feed.received(answer, now)
        outputs += told
        frames += sent(told)
    assert sorted(serving) == sorted(one for one in markets if one != gone)
    assert of(Live, outputs)
    assert not of(Fail, outputs)


# --- the wallet ---


@pytest.mark.parametrize("seat", [Seat("whitebit"), Seat("whitebitUsdm")], ids=str)
def test_the_wallet_is_told_at_the_first_open_and_after_each_reconnect(seat: Seat) -> None:
    """No channel tells it as it is, only what changes of it."""
    pair = Pair(seat).joined()
    pair.wait(1.0)
    whole = {one.asset for one in pair.hub.world.engine.account(pair.account).holdings(seat.exchange)}
    for _ in range(2):
        told = {balance.asset for emit in pair.balances() for balance in emit.event.balances}  # type: ignore[union-attr]
        assert told == whole != set()
        pair.drop(5.0)
        pair.again()


def test_a_wallet_that_could_not_be_read_is_asked_for_again() -> None:
    user, outputs = joined()
    call = only(Call, outputs)
    assert of(Live, outputs), "the stream does not wait for it"
    assert not of(Fail, user.answered(call, json_answer({}, 503), NOW))
    again = only(Call, user.woken(after(NOW, 5)))
    assert path(again) == "/api/v4/trade-account/balance"
    told = user.answered(again, json_answer({"USDT": {"available": "5", "freeze": "1"}}), NOW)
    assert [(one.asset, one.free) for one in only(Emit, told).event.balances] == [("USDT", "5")]


# --- the venue's own trouble ---


def without_token(answer: Answer) -> tuple[Any, Sequence[Output]]:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    return user, user.answered(only(Call, user.connected(NOW)), answer, NOW)


PAGES = [
    json_answer({"code": 10, "message": "Unauthorized request.", "errors": {}}, 500),
    Answer(503, {}, b"<html>This action is unauthorized</html>"),
    json_answer({"message": "Service unavailable"}, 502),
]


@pytest.mark.parametrize("answer", PAGES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (json_answer({"status": "system maintenance"}), FailKind.MAINTENANCE),
        (json_answer({"status": "system operational"}), FailKind.TRANSIENT),
        (Answer(503, {}, b"<html>"), FailKind.TRANSIENT),
        (Answer(0, {}, b"", "no answer"), FailKind.TRANSIENT),
    ],
)
def test_a_venue_that_is_down_refuses_no_key(answer: Answer, status: Answer, kind: FailKind) -> None:
    user, outputs = without_token(answer)
    asked = only(Call, outputs)
    assert path(asked) == "/api/v4/public/platform/status"
    fail = only(Fail, user.answered(asked, status, NOW))
    assert (fail.kind, fail.stream_id, fail.retry_after_s) == (kind, None, 3.5)


def test_a_key_is_refused_by_a_clear_answer_only() -> None:
    clear = json_answer({"code": 10, "message": "Unauthorized request.", "errors": {}}, 401)
    _, outputs = without_token(clear)
    assert only(Fail, outputs).kind is FailKind.CREDENTIAL


def test_a_gateways_error_during_a_gap_is_asked_again_and_costs_no_key() -> None:
    found = failure_of(json_answer({"message": "You don't have permission to use this endpoint."}, 502))
    assert found is not None
    assert found.kind is FailKind.TRANSIENT


# --- sites ---


def test_the_european_site_takes_sockets_calls_and_lists() -> None:
    options = {"WHITEBIT_SITE": "eu"}
    user = VENUE.user(setup("whitebit", table(), **options))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    assert only(Connect, user.start(NOW)).url == "wss://api.whitebit.eu/ws"
    call = only(Call, user.connected(NOW))
    assert call.url == "https://whitebit.eu/api/v4/profile/websocket_token"
    assert json.loads(call.body or "")["request"] == "/api/v4/profile/websocket_token"
    for make in (VENUE.ticker, VENUE.candle):
        assert only(Connect, make(setup("whitebit", table(), **options)).start(NOW)).url == "wss://api.whitebit.eu/ws"
    assert urlsplit(VENUE.instruments("whitebit", options).start()[0].url).hostname == "whitebit.eu"


def test_the_global_site_is_the_default_and_another_word_is_refused() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    assert only(Connect, user.start(NOW)).url == "wss://api.whitebit.com/ws"
    assert option_refusals({"WHITEBIT_SITE": "mars"}) == ["WHITEBIT_SITE='mars' is none of com, eu"]
    assert option_refusals({"WHITEBIT_SITE": "eu"}) == []


# --- tokens ---


def test_a_token_is_asked_for_by_an_open_connection_only_and_accounts_have_a_queue_of_their_own() -> None:
    """Ten a minute: were all connections opened at once, most would wait in vain and be cut."""
    own = VENUE.limits("whitebit", "user").own_connects
    assert own is not None
    assert (own.limit, own.per_s) == (10, 60.0)
    assert VENUE.limits("whitebit", "ticker").own_connects is None
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    assert not of(Call, user.start(NOW))
    assert only(Call, user.connected(NOW)).pool == "token"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("HTTP 401: Unauthorized request. [] (code 10)", "secret doesn't belong"),
        ("HTTP 401: This action is unauthorized. Enable your key in API settings [] (code 2)", "14 days"),
        ("HTTP 403: This API Key is not authorized to perform this action. [] (code 4)", "permission"),
        ("HTTP 422: You don't have permission to use this endpoint.", "list of endpoints"),
    ],
)
def test_the_venues_words_decide_the_advice_because_its_numbers_say_nothing(reason: str, words: str) -> None:
    assert words in advice("whitebit", FailKind.CREDENTIAL, reason)
