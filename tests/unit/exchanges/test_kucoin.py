"""KuCoin's protocol, one input at a time: no socket, no waiting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    ClockOffset,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    GapReport,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Rotate,
    Seen,
    Send,
    TickerSubscription,
    UserSubscription,
)
from exchanges._frames import NO_WEIGHT
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport, PositionUpdate
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.kucoin import TICKERS_PER_CONNECTION, VENUE
from exchanges.kucoin._ledger import Ledger
from tests.unit.exchanges import driver
from tests.unit.exchanges.driver import hmac_base64, json_answer, of, sent

WALL = 1_793_001_600_000
KEY, SECRET, PASS = "kc-key-1", "kc-secret-1", "kc-pass-1"
TOKEN = {
    "code": "200000",
    "data": {
        "token": "tok+/=1",
        "instanceServers": [
            {
                "endpoint": "wss://ws-api-spot.kucoin.com",
                "encrypt": True,
                "protocol": "websocket",
                "pingInterval": 18000,
                "pingTimeout": 10000,
            }
        ],
    },
}
CLASSIC = {"code": "200000", "data": {"selfAccountMode": "CLASSIC"}}
UNIFIED = {"code": "200000", "data": {"selfAccountMode": "UNIFIED"}}
LINEAR = SymbolTable(
    [
        Instrument(wire="XBTUSDTM", pair="BTCUSDT", base="BTC", quote="USDT", settle="USDT", kind="linear"),
        Instrument(wire="ETHUSDTM", pair="ETHUSDT", base="ETH", quote="USDT", settle="USDT", kind="linear"),
    ]
)
SPOT = SymbolTable([Instrument(wire="BTC-USDT", pair="BTC-USDT"), Instrument(wire="ETH-USDT", pair="ETH-USDT")])


def reports(outputs: Iterable[Output]) -> list[Emit]:
    """What is told, but for positions."""
    return [emit for emit in of(Emit, outputs) if not isinstance(emit.event, PositionUpdate)]


class Driver(driver.Driver):
    """Knows how KuCoin acknowledges."""

    def ack(self, outputs: Iterable[Output]) -> list[Output]:
        """Acknowledge every subscribe frame among the outputs."""
        asked = [frame for frame in sent(outputs) if frame.get("type") == "subscribe"]
        return [output for frame in asked for output in self.frame({"id": frame["id"], "type": "ack"})]


def subscription(exchange: str = "kucoin", resume: Resume | None = None) -> UserSubscription:
    return UserSubscription(
        stream_id="s1", exchange=exchange, credentials=credentials(KEY, SECRET, PASS), resume=resume
    )


def dialled(exchange: str = "kucoin", table: SymbolTable = SPOT, resume: Resume | None = None) -> Driver:
    """A classic session whose connection was just opened."""
    driver = Driver(VENUE.user, exchange, table)
    assert driver.add(subscription(exchange, resume)) == []
    (mode,) = of(Call, driver.start())
    (token,) = of(Call, driver.answer(mode, CLASSIC))
    (connect,) = driver.answer(token, TOKEN)
    assert isinstance(connect, Connect)
    assert driver.connected() == []
    return driver


def live(exchange: str = "kucoin", table: SymbolTable = SPOT) -> Driver:
    driver = dialled(exchange, table)
    outputs = driver.ack(driver.frame({"id": "id1", "type": "welcome"}))
    assert of(Live, outputs) == [Live("s1")]
    return driver


def order(**fields: object) -> dict[str, object]:
    data = {
        "symbol": "BTC-USDT",
        "orderType": "limit",
        "side": "buy",
        "orderId": "o1",
        "clientOid": "D-BO-1",
        "type": "open",
        "status": "open",
        "orderTime": WALL,
        "size": "2",
        "filledSize": "0",
        "remainSize": "2",
        "price": "100",
        "ts": (WALL + 1) * 10**6,
        **fields,
    }
    return {
        "topic": "/spotMarket/tradeOrdersV2",
        "type": "message",
        "subject": "orderChange",
        "data": {key: value for key, value in data.items() if value is not None},
    }


# --- login ---


def test_a_private_call_carries_the_documented_signature() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    assert mode.url == "https://api.kucoin.com/api/ua/v2/account/mode"
    assert mode.headers["KC-API-KEY-VERSION"] == "3"
    (token,) = of(Call, driver.answer(mode, CLASSIC))
    assert (token.method, token.url) == ("POST", "https://api.kucoin.com/api/v1/bullet-private")
    stamp = token.headers["KC-API-TIMESTAMP"]
    assert stamp == str(WALL)
    assert token.headers["KC-API-KEY"] == KEY
    assert token.headers["KC-API-SIGN"] == hmac_base64(SECRET, f"{stamp}POST/api/v1/bullet-private")
    assert token.headers["KC-API-PASSPHRASE"] == hmac_base64(SECRET, PASS)
    assert token.headers["KC-API-KEY-VERSION"] == "2"
    assert SECRET not in repr(token)


def test_the_query_is_part_of_the_signature() -> None:
    resume = Resume(since_ms=WALL - 60_000)
    driver = dialled(resume=resume)
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    balances = next(call for call in calls if call.tag == "balances")
    expected = hmac_base64(SECRET, f"{WALL}GET/api/v1/accounts?type=trade")
    assert balances.headers["KC-API-SIGN"] == expected


def test_the_token_is_escaped_and_the_connection_named() -> None:
    driver = Driver(VENUE.user, "kucoinLinear", LINEAR, KUCOIN_UNIFIED="off")
    driver.add(subscription("kucoinLinear"))
    (token,) = of(Call, driver.start())
    assert token.url == "https://api-futures.kucoin.com/api/v1/bullet-private"
    (connect,) = of(Connect, driver.answer(token, TOKEN))
    parts = urlsplit(connect.url)
    assert parts.netloc == "ws-api-spot.kucoin.com"
    query = parse_qs(parts.query)
    assert query["token"] == ["tok+/=1"]
    assert "[" not in connect.url
    assert query["connectId"]


def test_a_subscription_added_after_start_begins_then() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    assert driver.start() == []
    assert of(Call, driver.add(subscription()))


@pytest.mark.parametrize("code", ["400001", "400003", "400004", "400005", "400006", "400007", "411100", "126047"])
def test_a_refused_key_opens_the_breaker_at_first_sight(code: str) -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (token,) = of(Call, driver.answer(mode, {"code": code, "msg": "no"}))
    if code in ("400003", "400004", "400005"):  # the other key version is tried once
        assert (token.url, token.headers["KC-API-KEY-VERSION"]) == (mode.url, "2")
        (token,) = of(Call, driver.answer(token, {"code": code, "msg": "no"}))
    assert token.url.endswith("/bullet-private")
    (fail,) = of(Fail, driver.answer(token, {"code": code, "msg": "Invalid KC-API-KEY"}, 401))
    assert fail.kind is FailKind.CREDENTIAL
    assert fail.stream_id == "s1"
    assert fail.first_sight
    assert code in fail.reason
    assert driver.adapter.deadline() is None


def test_a_key_that_no_header_can_carry_is_refused_without_a_request() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(UserSubscription(stream_id="s1", exchange="kucoin", credentials=credentials("ключ", SECRET, PASS)))
    (fail,) = driver.start()
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.CREDENTIAL


def test_rate_limits_wait_as_long_as_the_venue_says() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off")
    driver.add(subscription())
    (token,) = of(Call, driver.start())
    (fail,) = of(Fail, driver.answer(token, {"code": "429000", "msg": "slow"}, 429, gw_ratelimit_reset="2500"))
    assert (fail.kind, fail.retry_after_s) == (FailKind.RATE_LIMITED, 2.5)


def test_cloudflare_asks_for_half_a_minute() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off")
    driver.add(subscription())
    (token,) = of(Call, driver.start())
    (fail,) = of(Fail, driver.answer(token, b"<html>error code: 1015</html>", 403))
    assert (fail.kind, fail.retry_after_s) == (FailKind.RATE_LIMITED, 30.0)


def test_a_wrong_clock_is_corrected_once() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off")
    driver.add(subscription())
    (token,) = of(Call, driver.start())
    (clock,) = of(Call, driver.answer(token, {"code": "400002", "msg": "KC-API-TIMESTAMP Invalid"}))
    assert clock.url.endswith("/api/v1/timestamp")
    measured, again = driver.answer(clock, {"code": "200000", "data": WALL + 60_000})
    assert measured == ClockOffset(60_000)
    assert isinstance(again, Call)
    assert again.headers["KC-API-TIMESTAMP"] == str(WALL + 60_000)
    (fail,) = of(Fail, driver.answer(again, {"code": "400002", "msg": "KC-API-TIMESTAMP Invalid"}))
    assert fail.kind is FailKind.CREDENTIAL
    assert not fail.first_sight


def test_a_wrong_clock_does_not_make_a_unified_account_a_classic_one() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (clock,) = driver.answer(mode, {"code": "400002", "msg": "KC-API-TIMESTAMP Invalid"})
    assert isinstance(clock, Call)
    measured, again = driver.answer(clock, {"code": "200000", "data": WALL + 60_000})
    assert measured == ClockOffset(60_000)
    assert isinstance(again, Call)
    assert (again.url, again.headers["KC-API-TIMESTAMP"]) == (mode.url, str(WALL + 60_000))
    (connect,) = driver.answer(again, UNIFIED)
    assert isinstance(connect, Connect)
    driver.connected()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    assert json.loads(login.text)["kc-api-timestamp"] == str(WALL + 60_000)


@pytest.mark.parametrize(
    ("status", "kind"),
    [("close", FailKind.MAINTENANCE), ("cancelonly", FailKind.MAINTENANCE), ("open", FailKind.TRANSIENT)],
)
def test_a_failed_token_call_asks_for_the_venue_status(status: str, kind: FailKind) -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off")
    driver.add(subscription())
    (token,) = of(Call, driver.start())
    (question,) = of(Call, driver.answer(token, b"busy", 503))
    assert question.url.endswith("/api/v1/status")
    (fail,) = of(Fail, driver.answer(question, {"code": "200000", "data": {"status": status, "msg": ""}}))
    assert fail.kind is kind
    assert fail.retry_after_s == (30.0 if kind is FailKind.MAINTENANCE else None)


def test_an_account_whose_mode_was_not_asked_for_is_not_taken_for_a_classic_one() -> None:
    """The venue's budget for the question had no room in time: orders of a unified account were not heard for ten minutes."""
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    outputs = driver.adapter.answered(mode, Answer(0, {}, b"", NO_WEIGHT), driver.now)
    (fail,) = of(Fail, outputs)
    assert fail.kind is FailKind.TRANSIENT
    assert not of(Call, outputs)


def test_an_unreachable_mode_api_does_not_keep_classic_accounts_offline() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (again,) = of(Call, driver.answer(mode, b"", 502))
    outputs = driver.answer(again, b"", 502)
    assert of(Note, outputs)
    (token,) = of(Call, outputs)
    driver.answer(token, TOKEN)
    driver.connected()
    driver.ack(driver.frame({"id": "id1", "type": "welcome"}))
    begun = driver.mono
    again = until_asked(driver)
    assert driver.mono - begun >= 600
    assert not of(Rotate, driver.answer(again, b"", 502))
    assert of(Rotate, driver.answer(until_asked(driver), UNIFIED))


def until_asked(driver: Driver) -> Call:
    """Let time pass, pings answered, until something is asked over REST."""
    for _ in range(200):
        outputs = driver.wake()
        for ping in of(Send, outputs):
            driver.frame({"id": json.loads(ping.text)["id"], "type": "pong"})
        if calls := of(Call, outputs):
            return calls[0]
    raise AssertionError("nothing was asked")


# --- which version of the unified API there is ---

GONE = {"code": "404000", "msg": "Not found"}
NOT_UNIFIED = {"code": "112010", "msg": "not a unified account user"}


def mode_asked(mode: Call) -> tuple[str, str]:
    return mode.url.removeprefix("https://api.kucoin.com/api/ua/"), mode.headers["KC-API-KEY-VERSION"]


@pytest.mark.parametrize("missing", [GONE, b"<html>404"])
def test_where_version_two_is_unknown_version_one_is_asked_and_kept(missing: object) -> None:
    driver = Driver(VENUE.user, "kucoinLinear", LINEAR)
    driver.add(subscription("kucoinLinear", Resume(since_ms=WALL - 60_000)))
    (first,) = of(Call, driver.start())
    (second,) = of(Call, driver.answer(first, missing, 404))
    assert [mode_asked(first), mode_asked(second)] == [("v2/account/mode", "3"), ("v1/account/mode", "2")]
    driver.answer(second, UNIFIED)
    calls = of(Call, unified_joined(driver))
    assert calls
    assert all("/api/ua/v1/" in call.url for call in calls)


def test_a_business_error_of_either_version_means_a_classic_account() -> None:
    for answers in ([(NOT_UNIFIED, 200)], [(GONE, 404), (NOT_UNIFIED, 200)]):
        driver = Driver(VENUE.user, "kucoin", SPOT)
        driver.add(subscription())
        outputs = driver.start()
        for body, status in answers:
            outputs = driver.answer(of(Call, outputs)[0], body, status)
        assert of(Call, outputs)[0].url.endswith("/bullet-private")
        assert not of(Note, outputs)


def test_an_account_whose_mode_no_version_tells_runs_as_classic_is_told_and_asked_again() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (first,) = of(Call, driver.start())
    (second,) = of(Call, driver.answer(first, GONE, 404))
    outputs = driver.answer(second, GONE, 404)
    assert "neither version" in of(Note, outputs)[0].what
    (token,) = of(Call, outputs)
    driver.answer(token, TOKEN)
    driver.connected()
    assert of(Live, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    for _ in range(3):
        (older,) = of(Call, driver.answer(until_asked(driver), GONE, 404))
        assert driver.answer(older, GONE, 404) == []  # told once a day, not every ten minutes
    assert of(Rotate, driver.answer(until_asked(driver), UNIFIED))


def test_a_busy_mode_call_of_a_running_session_does_not_end_it() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (again,) = of(Call, driver.answer(mode, b"", 502))
    (token,) = of(Call, driver.answer(again, b"", 502))
    driver.answer(token, TOKEN)
    driver.connected()
    driver.ack(driver.frame({"id": "id1", "type": "welcome"}))
    assert not of(Fail, driver.answer(until_asked(driver), {"code": "429000", "msg": "slow"}, 429))
    assert driver.answer(until_asked(driver), CLASSIC) == []
    for _ in range(100):
        for ping in of(Send, driver.wake()):
            driver.frame({"id": json.loads(ping.text)["id"], "type": "pong"})


def test_the_version_that_a_key_takes_is_kept_for_its_later_calls() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (again,) = of(Call, driver.answer(mode, {"code": "400004", "msg": "passphrase"}))
    assert again.headers["KC-API-KEY-VERSION"] == "2"
    driver.answer(again, UNIFIED)
    driver.connected()
    driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off")
    driver.add(subscription())
    (token,) = of(Call, driver.start())
    assert token.headers["KC-API-KEY-VERSION"] == "2"
    (again,) = of(Call, driver.answer(token, {"code": "400005", "msg": "sign"}, 401))
    assert again.headers["KC-API-KEY-VERSION"] == "3"
    (fail,) = of(Fail, driver.answer(again, {"code": "400005", "msg": "sign"}, 401))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "s1")


def test_a_key_is_tried_with_each_version_once_before_it_counts_as_bad() -> None:
    driver = Driver(VENUE.user, "kucoin", SPOT)
    driver.add(subscription())
    (mode,) = of(Call, driver.start())
    (token,) = of(Call, driver.answer(mode, CLASSIC))
    assert token.headers["KC-API-KEY-VERSION"] == "2"
    (again,) = of(Call, driver.answer(token, {"code": "400003", "msg": "gone"}, 401))
    assert again.headers["KC-API-KEY-VERSION"] == "3"  # which the key has shown to take
    (fail,) = of(Fail, driver.answer(again, {"code": "400003", "msg": "gone"}, 401))
    assert fail.kind is FailKind.CREDENTIAL


# --- connection ---


def test_nothing_is_sent_before_the_welcome() -> None:
    driver = dialled()
    assert driver.adapter.deadline() == 1005.0
    (fail,) = driver.wake()
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.TRANSIENT
    assert "welcome" in fail.reason


def test_spot_and_futures_subscribe_their_own_topics() -> None:
    spot = [json.loads(send.text) for send in of(Send, dialled().frame({"id": "1", "type": "welcome"}))]
    assert [frame["topic"] for frame in spot] == ["/spotMarket/tradeOrdersV2", "/account/balance"]
    assert all(frame["privateChannel"] and frame["response"] for frame in spot)
    futures = of(Send, dialled("kucoinLinear", LINEAR).frame({"id": "1", "type": "welcome"}))
    assert [json.loads(send.text)["topic"] for send in futures] == [
        "/contractMarket/tradeOrders",
        "/contractAccount/wallet",
        "/contract/positionAll",
    ]


def test_live_only_after_every_topic_is_acknowledged() -> None:
    driver = dialled()
    sends = of(Send, driver.frame({"id": "id1", "type": "welcome"}))
    assert of(Live, driver.ack(sends[:1])) == []
    assert of(Live, driver.ack(sends[1:])) == [Live("s1")]


def test_a_silent_subscribe_is_repeated_once_then_given_up() -> None:
    driver = dialled()
    first = of(Send, driver.frame({"id": "id1", "type": "welcome"}))
    driver.ack(first[:1])
    (again,) = of(Send, driver.wake())
    assert json.loads(again.text)["topic"] == "/account/balance"
    assert json.loads(again.text)["id"] != json.loads(first[1].text)["id"]
    (fail,) = of(Fail, driver.wake())
    assert fail.kind is FailKind.TRANSIENT


def test_pings_keep_a_pong_deadline_that_later_pings_do_not_move() -> None:
    driver = live()
    (ping,) = of(Send, driver.wake())
    assert json.loads(ping.text)["type"] == "ping"
    assert ping.urgent
    assert driver.mono == pytest.approx(1000 + 18 * 0.8)
    sent_at = driver.mono
    (fail,) = of(Fail, driver.wake())
    assert driver.mono == pytest.approx(sent_at + 10)
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "no answer to a ping for 10 s")


def test_a_pong_keeps_the_connection() -> None:
    driver = live()
    for _ in range(5):
        (ping,) = of(Send, driver.wake())
        assert driver.frame({"id": json.loads(ping.text)["id"], "type": "pong", "timestamp": 1}) == []


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (401, "token is expired", FailKind.TRANSIENT),
        (509, "exceed max subscription count limitation", FailKind.RATE_LIMITED),
        (404, "topic /account/balance is not found", FailKind.TRANSIENT),
    ],
)
def test_socket_errors_are_told_apart(code: int, text: str, kind: FailKind) -> None:
    driver = dialled()
    sends = of(Send, driver.frame({"id": "id1", "type": "welcome"}))
    request = json.loads(sends[0].text)["id"]
    (fail,) = of(Fail, driver.frame({"id": request, "type": "error", "code": code, "data": text}))
    assert fail.kind is kind
    assert text in fail.reason


def test_futures_without_the_position_topic_still_go_live() -> None:
    driver = dialled("kucoinLinear", LINEAR)
    sends = of(Send, driver.frame({"id": "id1", "type": "welcome"}))
    driver.ack(sends[:2])
    request = json.loads(sends[2].text)["id"]
    outputs = driver.frame({"id": request, "type": "error", "code": 404, "data": "no"})
    assert of(Live, outputs) == [Live("s1")]
    assert of(Note, outputs)


@pytest.mark.parametrize("frame", [b"", b"\xff\xfe", b"[]", b"{", b"[" * 100_000, b'{"type":"message","topic":"/x"}'])
def test_garbage_costs_the_frame_only(frame: bytes) -> None:
    driver = live()
    outputs = driver.frame(frame)
    assert outputs
    assert all(isinstance(output, Note) for output in outputs)


# --- events ---


def test_orders_of_another_family_publish_nothing() -> None:
    driver = live("kucoinLinear", LINEAR)
    frame = order(symbol="XBTUSDM")
    frame["topic"] = "/contractMarket/tradeOrders"
    assert driver.frame(frame) == [Seen("s1")]


def test_a_contract_listed_after_the_table_was_loaded_is_told_by_its_name() -> None:
    driver = live("kucoinLinear", LINEAR)
    frame = order(symbol="NEWUSDTM")
    frame["topic"] = "/contractMarket/tradeOrders"
    (emit,) = of(Emit, driver.frame(frame))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.symbol == "NEWUSDT"


def test_an_unknown_order_state_is_reported_not_guessed() -> None:
    driver = live()
    note, call = driver.frame(order(type="frozen", status="ice"))
    assert isinstance(note, Note)
    assert "frozen/ice" in note.what
    assert isinstance(call, Call)
    assert call.url == "https://api.kucoin.com/api/v1/hf/orders/o1?symbol=BTC-USDT"
    assert driver.frame(order(type="frozen", status="ice"))[1:] == []  # one question at a time
    (emit,) = of(Emit, driver.answer(call, {"code": "200000", "data": row("o1", cancelExist=True, dealSize="1")}))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("CANCELED", "1")


def test_an_unknown_state_of_another_family_is_nobodys_business() -> None:
    driver = live("kucoinLinear", LINEAR)
    frame = order(symbol="XBTUSDM", type="frozen", status="ice")
    assert [type(output) for output in driver.frame({**frame, "topic": "/contractMarket/tradeOrders"})] == [Seen]


def test_a_wallet_push_that_changes_nothing_is_not_published() -> None:
    driver = live("kucoinLinear", LINEAR)

    def wallet(available: str) -> list[Output]:
        data = {"currency": "USDT", "availableBalance": available, "holdBalance": "0", "timestamp": str(WALL)}
        return driver.frame(
            {"topic": "/contractAccount/wallet", "type": "message", "subject": "walletBalance.change", "data": data}
        )

    assert of(Emit, wallet("10"))
    assert wallet("10") == [Seen("s1")]
    assert of(Emit, wallet("9.5"))


def test_the_retired_wallet_push_is_ignored_once_the_full_one_was_seen() -> None:
    driver = live("kucoinLinear", LINEAR)

    def push(subject: str) -> list[Output]:
        data = {"currency": "USDT", "availableBalance": "7", "holdBalance": "1", "timestamp": str(WALL)}
        return driver.frame({"topic": "/contractAccount/wallet", "type": "message", "subject": subject, "data": data})

    assert of(Emit, push("availableBalance.change"))
    push("walletBalance.change")
    assert push("availableBalance.change") == [Seen("s1")]


def row(order_id: str, **fields: object) -> dict[str, object]:
    return {
        "id": order_id,
        "symbol": "BTC-USDT",
        "side": "buy",
        "type": "limit",
        "price": "100",
        "size": "2",
        "dealSize": "0",
        "dealFunds": "0",
        "clientOid": f"c{order_id}",
        "cancelExist": False,
        "active": False,
        "createdAt": WALL - 9_000,
        "lastUpdatedAt": WALL - 1_000,
        **fields,
    }


def looked_up(driver: Driver, outputs: Iterable[Output], told: dict[str, object]) -> Sequence[Output]:
    """What is told of a final frame when REST has answered about its order."""
    (call,) = of(Call, outputs)
    return driver.answer(call, {"code": "200000", "data": told})


def test_a_final_market_report_without_a_value_asks_rest_first() -> None:
    driver = live()
    end = order(orderType="market", price=None, type="canceled", status="done", filledSize="2", remainSize="0")
    (call,) = driver.frame(end)
    assert isinstance(call, Call)
    assert call.url == "https://api.kucoin.com/api/v1/hf/orders/o1?symbol=BTC-USDT"
    row = {"id": "o1", "symbol": "BTC-USDT", "side": "buy", "type": "market", "size": "2", "dealSize": "2"}
    row |= {"dealFunds": "201", "active": False, "cancelExist": True, "clientOid": "D-BO-1", "createdAt": WALL}
    (emit,) = of(Emit, driver.answer(call, {"code": "200000", "data": row}))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.order_status == "FILLED"
    assert emit.event.total_quote_trade_quantity == "201"
    assert emit.event.price == "100.5"


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        (row("o1", dealSize="2", dealFunds="199"), "199"),
        (row("o1", dealSize="1", dealFunds="99"), "200"),
        (row("o1", active=True), "200"),
    ],
    ids=["told", "behind", "still open"],
)
def test_a_final_report_that_overtakes_its_fills_is_not_told_at_the_limit_price(
    answer: dict[str, object], value: str
) -> None:
    """Two frames in the wrong order, or one lost: the first FILLED is booked for good, with the price that it has."""
    driver = live()
    end = order(type="filled", status="done", filledSize="2", remainSize="0")
    (emit,) = of(Emit, looked_up(driver, driver.frame(end), answer))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_quote_trade_quantity) == ("FILLED", value)


def test_a_final_report_does_not_wait_for_ever_for_rest() -> None:
    driver = live()
    end = order(orderType="market", price=None, type="filled", status="done", filledSize="2", remainSize="0")
    driver.frame(end)
    (emit,) = of(Emit, driver.wake())
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.total_trade_quantity == "2"
    assert driver.mono == 1005.0


def test_a_liquidation_with_quantity_zero_uses_the_last_one() -> None:
    driver = live("kucoinLinear", LINEAR)

    def position(quantity: float, reason: str) -> list[Output]:
        data = {"symbol": "XBTUSDTM", "currentQty": quantity, "markPrice": 60111.25, "currentTimestamp": WALL}
        data |= {"openingTimestamp": WALL - 5, "changeReason": reason}
        return driver.frame(
            {"topic": "/contract/positionAll", "type": "message", "subject": "position.change", "data": data}
        )

    assert not reports(position(-30, "positionChange"))
    (emit,) = reports(position(0, "liquidation"))
    event = emit.event
    assert isinstance(event, ExecutionReport)
    assert (event.side, event.quantity, event.liquidation) == ("BUY", "30", True)
    assert event.new_client_order_id == f"liq-XBTUSDTM-{WALL - 5}"


# --- gap repair ---


def known(order_id: str, **fields: Any) -> KnownOrder:
    values: dict[str, Any] = {"symbol": "BTC-USDT", "status": "NEW", "client_order_id": f"c{order_id}"} | fields
    return KnownOrder(order_id=order_id, **values)


def test_a_spot_gap_is_read_per_symbol_and_vanished_orders_one_by_one() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("o1"), known("o2"), known("o3", status="FILLED")))
    driver = dialled(resume=resume)
    outputs = driver.ack(driver.frame({"id": "id1", "type": "welcome"}))
    assert not of(Live, outputs)
    calls = {call.tag: call for call in of(Call, outputs)}
    assert set(calls) == {"open symbols", "balances"}
    # A live event while the gap is read waits.
    assert driver.frame(order(orderId="o9")) == []
    assert driver.answer(calls["open symbols"], {"code": "200000", "data": {"symbols": ["ETH-USDT"]}}) == []
    accounts = [{"currency": "USDT", "type": "trade", "available": "5", "holds": "1"}]
    second = of(Call, driver.answer(calls["balances"], {"code": "200000", "data": accounts}))
    assert (
        sorted(call.url.split("?")[1].split("&")[0] for call in second)
        == ["symbol=BTC-USDT"] * 2 + ["symbol=ETH-USDT"] * 2
    )
    closed = next(call for call in second if call.tag == "closed orders" and "BTC-USDT" in call.url)
    assert f"startAt={WALL - 60_000}" in closed.url
    third: list[Output] = []
    for call in second:
        items: list[object] = []
        if call.tag == "open orders":
            body: object = {"code": "200000", "data": []}
        else:
            if "BTC-USDT" in call.url:
                items = [row("o1", dealSize="2", dealFunds="199", fee="0.002", feeCurrency="BTC")]
            body = {"code": "200000", "data": {"items": items, "lastId": 0}}
        third += driver.answer(call, body)
    (single,) = of(Call, third)
    assert single.url == "https://api.kucoin.com/api/v1/hf/orders/o2?symbol=BTC-USDT"
    final = driver.answer(single, {"code": "200000", "data": row("o2", cancelExist=True, lastUpdatedAt=WALL - 2_000)})
    events = of(Emit, final)
    reports = [emit.event for emit in events if isinstance(emit.event, ExecutionReport)]
    assert [(report.order_id, report.order_status) for report in reports] == [
        ("o2", "CANCELED"),
        ("o1", "FILLED"),
        ("o9", "NEW"),
    ]
    assert reports[1].total_quote_trade_quantity == "199"
    assert (reports[1].fee_paid, reports[1].fee_asset) == ("0.002", "BTC")
    assert [emit.repaired for emit in events] == [True, True, True, False]
    assert any(isinstance(emit.event, AccountPosition) for emit in events)
    (went,) = of(Live, final)
    assert went.gap is not None
    assert (went.gap.orders, went.gap.balances) == (2, 1)
    assert went.gap.missing == ("closed orders on other symbols can't be asked for",)


def test_a_futures_gap_reads_open_recent_and_balances() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("f1", symbol="BTCUSDT", executed="1", executed_quote="100"),))
    driver = dialled("kucoinLinear", LINEAR, resume)
    calls = {call.tag: call for call in of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))}
    assert calls["open orders"].url.endswith("/api/v1/orders?status=active&pageSize=1000")
    assert calls["recent orders"].url.endswith("/api/v1/recentDoneOrders")
    assert calls["balance"].url.endswith("/api/v1/account-overview?currency=USDT")
    driver.answer(calls["open orders"], {"code": "200000", "data": {"items": [], "totalPage": 1}})
    overview = {"currency": "USDT", "availableBalance": 10.5, "positionMargin": 2, "orderMargin": 1, "frozenFunds": 0.5}
    driver.answer(calls["balance"], {"code": "200000", "data": overview})
    done = row("f1", symbol="XBTUSDTM", dealSize=3, avgDealPrice="100.5", dealValue="0.3", size=3, status="done")
    done |= {"isActive": False, "updatedAt": WALL - 10, "active": None, "lastUpdatedAt": None}
    old = row("f0", symbol="XBTUSDTM", updatedAt=WALL - 3_600_000, isActive=False, active=None, lastUpdatedAt=None)
    assert calls["liquidations"].url.split("&endAt")[0].endswith(f"/api/v1/fills?startAt={WALL - 60_000}")
    driver.answer(calls["liquidations"], {"code": "200000", "data": {"items": []}})
    outputs = driver.answer(calls["recent orders"], {"code": "200000", "data": [done, old]})
    reports = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert [(r.order_id, r.symbol, r.order_status, r.total_quote_trade_quantity) for r in reports] == [
        ("f1", "BTCUSDT", "FILLED", "301.5")
    ]
    (position,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]
    assert (position.balances[0].free, position.balances[0].locked) == ("10.5", "3.5")
    assert of(Live, outputs)


def test_a_long_futures_gap_uses_the_paged_list() -> None:
    resume = Resume(since_ms=WALL - 90_000_000)
    driver = dialled("kucoinLinear", LINEAR, resume)
    calls = {call.tag: call for call in of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))}
    assert "status=done" in calls["closed orders"].url
    page = {"items": [], "currentPage": 1, "totalPage": 2}
    (following,) = of(Call, driver.answer(calls["closed orders"], {"code": "200000", "data": page}))
    assert "currentPage=2" in following.url


def test_what_the_venue_does_not_tell_stands_in_the_report() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("o1"),))
    driver = dialled(resume=resume)
    calls = {call.tag: call for call in of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))}
    driver.answer(calls["open symbols"], {"code": "400007", "msg": "Access denied"}, 403)
    outputs = driver.answer(calls["balances"], {"code": "400007", "msg": "Access denied"}, 403)
    rounds = 0
    while not of(Live, outputs):
        rounds += 1
        calls_now = of(Call, outputs)
        assert calls_now
        outputs = [
            output for call in calls_now for output in driver.answer(call, {"code": "400007", "msg": "Access denied"})
        ]
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert any("balances" in phrase for phrase in went.gap.missing)
    assert any(phrase.startswith("order o1:") for phrase in went.gap.missing)
    assert rounds == 2


def test_a_repaired_order_keeps_its_average_for_the_frames_that_follow() -> None:
    resume = Resume(
        since_ms=WALL - 60_000,
        orders=(known("o1", status="PARTIALLY_FILLED", executed="1", executed_quote="90", side="buy"),),
    )
    driver = dialled(resume=resume)
    calls = {call.tag: call for call in of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))}
    driver.answer(calls["open symbols"], {"code": "200000", "data": {"symbols": []}})
    outputs = driver.answer(calls["balances"], {"code": "200000", "data": []})
    match = order(
        type="match", status="match", filledSize="2", remainSize="0", matchPrice="95", matchSize="1", tradeId="t9"
    )
    driver.frame(match)
    for _ in range(3):
        outputs = [o for call in of(Call, outputs) for o in driver.answer(call, {"code": "200000", "data": []})]
        if of(Live, outputs):
            break
    (emit,) = [emit for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_quote_trade_quantity) == ("FILLED", "185")


# --- unified accounts ---


def unified() -> Driver:
    driver = Driver(VENUE.user, "kucoinLinear", LINEAR)
    driver.add(subscription("kucoinLinear"))
    (mode,) = of(Call, driver.start())
    assert driver.answer(mode, UNIFIED) == [Connect("wss://wsapi-push.kucoin.com")]
    assert driver.connected() == []
    return driver


def test_a_unified_account_logs_in_on_its_own_socket() -> None:
    driver = unified()
    (login,) = of(Send, driver.frame({"sessionId": "x", "message": "welcome", "pingInterval": 18000}))
    frame = json.loads(login.text)
    assert frame["op"] == "auth"
    assert frame["kc-api-sign"] == hmac_base64(SECRET, f"{WALL}POST/api/websocket/users/verify")
    sends = of(Send, driver.frame({"id": frame["id"], "result": True}))
    channels = [json.loads(send.text) for send in sends]
    assert [frame["channel"] for frame in channels] == ["orderAll", "balance", "positionAll"]
    driver.frame({"id": channels[0]["id"], "result": True})
    driver.frame({"id": channels[1]["id"], "result": True})
    assert of(Live, driver.frame({"id": channels[2]["id"], "result": True})) == [Live("s1")]
    (positions,) = of(Call, driver.wake())
    assert driver.answer(positions, {"code": "200000", "data": []}) == []
    (ping,) = of(Send, driver.wake())
    assert driver.frame({"id": json.loads(ping.text)["id"], "op": "pong"}) == []
    driver.wake()
    assert driver.frame({"id": "x", "type": "pong"}) == []


@pytest.mark.parametrize("field", ["message", "op", "type"])
def test_the_unified_welcome_is_known_wherever_the_sdk_looks_for_it(field: str) -> None:
    (login,) = of(Send, unified().frame({"sessionId": "x", field: "welcome"}))
    assert json.loads(login.text)["op"] == "auth"


@pytest.mark.parametrize("topic", ["orderAll.UNIFIED", "order.UNIFIED", "order.FUTURES"])
def test_a_unified_order_is_told_under_either_topic(topic: str) -> None:
    """KuCoin's own SDK hands `order` pushes to whoever subscribed `orderAll`."""
    driver = unified()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    for send in of(Send, driver.frame({"id": json.loads(login.text)["id"], "result": True})):
        driver.frame({"id": json.loads(send.text)["id"], "result": True})
    row = {
        "tT": "FUTURES", "oi": "o1", "ci": "D-1", "os": 3, "s": "XBTUSDTM", "S": "BUY", "oT": "LIMIT", "p": "100",
        "q": "2", "qU": "UNIT", "fS": "2", "aP": "99", "cS": "0", "rS": "0", "O": f"{WALL}000000", "U": f"{WALL}000000",
    }  # fmt: skip
    (emit,) = of(Emit, driver.frame({"T": topic, "P": f"{WALL}000000", "d": row}))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("FILLED", "2")


def test_a_refused_unified_login_counts_towards_the_breaker() -> None:
    driver = unified()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    (fail,) = of(Fail, driver.frame({"id": json.loads(login.text)["id"], "result": False, "reason": "sign"}))
    assert fail.kind is FailKind.CREDENTIAL
    assert not fail.first_sight


def unified_joined(driver: Driver) -> list[Output]:
    """What a unified session says once its subscriptions are confirmed."""
    driver.connected()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    sends = of(Send, driver.frame({"id": json.loads(login.text)["id"], "result": True}))
    return [o for send in sends for o in driver.frame({"id": json.loads(send.text)["id"], "result": True})]


def unified_gap(exchange: str, table: SymbolTable, *orders: KnownOrder) -> tuple[Driver, list[Call]]:
    driver = Driver(VENUE.user, exchange, table)
    driver.add(subscription(exchange, Resume(since_ms=WALL - 60_000, orders=orders)))
    (mode,) = of(Call, driver.start())
    driver.answer(mode, UNIFIED)
    return driver, of(Call, unified_joined(driver))


def answered(driver: Driver, calls: Iterable[Call], reply: Callable[[Call], Any]) -> tuple[list[Output], list[Call]]:
    """Answer all calls and those that follow; a reply is the `data` of an answer, or a code."""
    todo, made, told = list(calls), [], []
    while todo:
        call = todo.pop(0)
        made.append(call)
        data = reply(call)
        body = {"code": data, "msg": "no"} if isinstance(data, str) else {"code": "200000", "data": data}
        outputs = driver.answer(call, body, 404 if data == "404000" else 200)
        told += [output for output in outputs if not isinstance(output, Call)]
        todo += of(Call, outputs)
    return told, made


def told_gap(outputs: list[Output]) -> GapReport:
    (live,) = of(Live, outputs)
    assert live.gap is not None
    return live.gap


DETAIL = {
    "orderId": "o2", "symbol": "BTC-USDT", "side": "BUY", "status": 3, "orderType": "LIMIT", "price": "100", "size": "2",
    "sizeUnit": "BASECCY", "filledSize": "2", "avgPrice": "99.5", "updatedTime": WALL * 10**6,
}  # fmt: skip
MONEY = {
    "accounts": [
        {"currencies": [{"currency": "USDT", "available": "3", "hold": "1"}, {"currency": "ETH", "available": 2}]}
    ]
}


def orders_of(outputs: Iterable[Output]) -> list[tuple[object, str, str]]:
    found = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    return [(event.order_id, event.order_status, event.total_trade_quantity) for event in found]


def test_a_unified_gap_asks_for_orders_history_and_balances() -> None:
    driver, calls = unified_gap("kucoin", SPOT, known("o2"))
    assert [call.tag for call in calls] == ["balances", "open orders"]
    assert "symbol=" not in calls[1].url

    def reply(call: Call) -> object:
        return {"balances": MONEY, "order": DETAIL}.get(call.tag, {"items": [], "totalPage": 1})

    told, made = answered(driver, calls, reply)
    assert [call.tag for call in made] == ["balances", "open orders", "closed orders", "order"]
    assert made[-1].url.endswith("/order/detail?tradeType=SPOT&symbol=BTC-USDT&orderId=o2")
    assert all("/api/ua/v2/" in call.url and call.headers["KC-API-KEY-VERSION"] == "3" for call in made)
    assert orders_of(told) == [("o2", "FILLED", "2")]
    assert told_gap(told).missing == ()


def test_unified_spot_lists_that_want_a_symbol_are_asked_by_symbol_and_the_rest_is_named() -> None:
    table = SymbolTable(
        Instrument(wire=f"{base}-USDT", pair=f"{base}-USDT", base=base, quote="USDT") for base in ("BTC", "ETH", "SOL")
    )
    driver, calls = unified_gap("kucoin", table, known("o2"))

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return MONEY
        if call.tag == "order":
            return DETAIL
        if "symbol=" not in call.url:
            return "400100"
        new = {**DETAIL, "orderId": "o7", "symbol": "ETH-USDT", "status": 2, "filledSize": "0", "avgPrice": ""}
        return {"items": [new] if call.tag == "open orders" and "ETH-USDT" in call.url else []}

    told, made = answered(driver, calls, reply)
    asked_for = [(call.tag, call.url.split("symbol=")[1].split("&")[0]) for call in made if "symbol=" in call.url]
    assert asked_for == [
        ("open orders", "BTC-USDT"),
        ("closed orders", "BTC-USDT"),
        ("open orders", "ETH-USDT"),
        ("closed orders", "ETH-USDT"),
        ("order", "BTC-USDT"),
    ]
    assert sorted(map(str, orders_of(told))) == ["('o2', 'FILLED', '2')", "('o7', 'NEW', '0')"]
    assert told_gap(told).missing == ("orders on symbols that were not used before can't be asked for",)


def test_unified_futures_lists_need_no_symbol() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)
    told, made = answered(driver, calls, lambda call: MONEY if call.tag == "balances" else {"list": []})
    assert {call.tag for call in made} == {"balances", "open orders", "closed orders"}
    assert not any("symbol=" in call.url for call in made)
    assert told_gap(told).missing == ()


def test_a_path_that_ends_in_the_middle_of_a_session_is_asked_at_the_other_version() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)

    def reply(call: Call) -> object:
        if "/api/ua/v2/" in call.url:
            return "404000"
        return MONEY if call.tag == "balances" else {"items": []}

    told, made = answered(driver, calls, reply)
    assert told_gap(told).missing == ()
    assert {call.tag for call in made if "/api/ua/v1/" in call.url} == {"balances", "open orders", "closed orders"}
    driver, calls = unified_gap("kucoinLinear", LINEAR)
    told, made = answered(driver, calls, lambda call: "404000")
    assert len(made) == 6
    assert sorted(told_gap(told).missing) == [
        f"{tag}: the venue does not know the path" for tag in ("balances", "closed orders", "open orders")
    ]


def test_unified_spot_lists_that_move_to_version_one_are_asked_by_symbol() -> None:
    driver, calls = unified_gap("kucoin", SPOT, known("o2"))

    def reply(call: Call) -> object:
        if "/api/ua/v2/" in call.url:
            return "404000"
        return {"balances": MONEY, "order": DETAIL}.get(call.tag, {"items": []})

    told, made = answered(driver, calls, reply)
    assert all("symbol=" in call.url for call in made if "/v1/" in call.url and call.tag.endswith("orders"))
    assert told_gap(told).missing == ("orders on symbols that were not used before can't be asked for",)


def test_a_unified_page_that_cannot_be_read_is_named_and_its_keys_told_once() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)
    told, _ = answered(driver, calls, lambda call: {"orders": {"secret": 5}, "n": 1})
    assert len(told_gap(told).missing) == 3
    (note,) = of(Note, told)
    assert note.what == "unified API v2: balances can't be read, it holds: n, orders"


def test_odd_rows_of_a_unified_gap_cost_only_themselves() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)
    good = {**DETAIL, "symbol": "XBTUSDTM", "status": "3", "size": 2, "filledSize": 2, "avgPrice": 99.5, "price": 100}
    rows = [
        {**good, "orderId": None},
        good,
        7,
        {**good, "orderId": "o8", "status": 9},
        {**good, "orderId": "o9", "status": 1},
    ]
    money = {
        "accounts": [{"currencies": [{"currency": None}, {"currency": "USDT", "available": 5.5, "hold": None}]}, None]
    }

    def reply(call: Call) -> object:
        return money if call.tag == "balances" else {"items": rows if call.tag == "closed orders" else None}

    told, _ = answered(driver, calls, reply)
    assert orders_of(told) == [("o2", "FILLED", "2")]
    (position,) = [emit.event for emit in of(Emit, told) if isinstance(emit.event, AccountPosition)]
    assert [(one.asset, one.free, one.locked) for one in position.balances] == [("USDT", "5.5", "0")]
    phrases = [phrase.split(" that")[0] for phrase in told_gap(told).missing]
    assert sorted(phrases) == [
        "balances: 1 accounts",
        "balances: 1 coins",
        "closed orders: 2 orders",
        "order o8: status 9, which no page lists",
    ]


def test_a_unified_list_of_many_pages_is_followed() -> None:
    driver, calls = unified_gap("kucoinLinear", LINEAR)

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return MONEY
        if call.tag == "open orders":
            page = int(call.url.split("pageNumber=")[1].split("&")[0])
            return {"items": [{**DETAIL, "orderId": f"p{page}", "symbol": "XBTUSDTM", "status": 2}], "totalPage": 3}
        return {"items": []}

    told, _ = answered(driver, calls, reply)
    assert [order_id for order_id, _, _ in orders_of(told)] == ["p1", "p2", "p3"]


def unified_order(**fields: object) -> dict[str, object]:
    data = {
        "tT": "FUTURES", "oi": "u1", "ci": "D-1", "os": 2, "s": "XBTUSDTM", "S": "BUY", "oT": "LIMIT", "p": "100", "q": "5",
        "qU": "UNIT", "fS": "0", "aP": "", "oS": "USER", "O": WALL * 10**6, "U": WALL * 10**6,
    }  # fmt: skip
    return {"T": "orderAll.UNIFIED", "P": "1", "d": {**data, **fields}}


def unified_live() -> Driver:
    driver = unified()
    assert of(Live, unified_joined(driver))
    return driver


def test_a_unified_status_that_no_page_lists_is_asked_for() -> None:
    driver = unified_live()
    note, call = driver.frame(unified_order(os=9))
    assert isinstance(note, Note)
    assert note.what == "order u1: status 9, which no page lists; it is asked for"
    assert isinstance(call, Call)
    assert call.url.endswith("/api/ua/v2/unified/order/detail?tradeType=FUTURES&symbol=XBTUSDTM&orderId=u1")
    detail = {**DETAIL, "orderId": "u1", "symbol": "XBTUSDTM", "status": 5, "filledSize": "0"}
    assert orders_of(driver.answer(call, {"code": "200000", "data": detail})) == [("u1", "CANCELED", "0")]


@pytest.mark.parametrize("source", ["LIQ", "LIQUIDATION", "liq_takeover"])
def test_a_unified_order_by_which_the_venue_liquidates_is_told_as_that(source: str) -> None:
    driver = unified_live()
    (emit,) = of(Emit, driver.frame(unified_order(oS=source, ci="", os=3, fS="5", aP="90")))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.liquidation is True


def test_another_source_of_a_unified_order_is_told_once_and_changes_nothing() -> None:
    driver = unified_live()
    outputs = driver.frame(unified_order(oS="ADL"))
    assert of(Note, outputs)[0].what == "orders of source ADL: not known whether they are liquidations"
    assert orders_of(outputs) == [("u1", "NEW", "0")]
    assert not of(Note, driver.frame(unified_order(oS="ADL", oi="u2", ci="D-2")))
    assert not of(Note, driver.frame(unified_order(oS=None, oi="u3", ci="D-3")))


def unified_position(**fields: object) -> dict[str, object]:
    return {
        "T": "positionAll.UNIFIED",
        "P": "1",
        "d": {"s": "XBTUSDTM", "q": "-7", "mP": "61000.5", "U": WALL * 10**6, **fields},
    }


@pytest.mark.parametrize(
    ("position", "side"),
    [
        ({"q": "7", "pS": "SHORT"}, "BUY"),
        ({"q": "7", "pS": "LONG"}, "SELL"),
        ({"q": "7", "positionSide": "short"}, "BUY"),
        ({"q": "0.5"}, "SELL"),
    ],
)
def test_a_unified_position_is_liquidated_by_an_order_of_the_other_side(position: dict[str, object], side: str) -> None:
    (emit,) = reports(unified_live().frame(unified_position(cR="LIQUIDATION", **position)))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.side, emit.event.quantity) == (side, position["q"])


def test_a_unified_position_that_is_liquidated_is_told_once_on_whichever_channel_comes_first() -> None:
    driver = unified_live()
    assert not reports(driver.frame(unified_position(cR="POSITION_CHANGE")))
    (emit,) = reports(driver.frame(unified_position(cR="LIQUIDATION")))
    event = emit.event
    assert isinstance(event, ExecutionReport)
    assert (event.liquidation, event.side, event.quantity, event.price) == (True, "BUY", "7", "61000.5")
    assert (event.symbol, event.order_status, event.order_id) == ("BTCUSDT", "FILLED", "-1")
    (emit,) = of(Emit, driver.frame(unified_order(oS="LIQUIDATION", ci="", os=3, fS="7", aP="61000")))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.liquidation is not True
    assert not reports(driver.frame(unified_position(cR="LIQUIDATION")))
    driver.mono += 61
    assert reports(driver.frame(unified_position(cR="liquidation", U=(WALL + 61_000) * 10**6)))


def test_a_contract_whose_name_begins_like_a_liquidation_is_none() -> None:
    driver = unified_live()
    assert not reports(driver.frame(unified_position(s="LIQUSDTM", cR="positionChange")))


def test_a_unified_account_without_the_position_channel_goes_live_and_says_so() -> None:
    driver = unified()
    (login,) = of(Send, driver.frame({"message": "welcome"}))
    outputs: list[Output] = []
    for send in of(Send, driver.frame({"id": json.loads(login.text)["id"], "result": True})):
        asked_for = json.loads(send.text)
        good = asked_for["channel"] != "positionAll"
        outputs += driver.frame({"id": asked_for["id"], "result": good, "reason": "no such channel"})
    assert of(Live, outputs)
    assert (
        of(Note, outputs)[0].what
        == "no liquidation reports, and no changes of positions: liquidations: no such channel"
    )


# --- an order that goes on under another order id ---


def states(outputs: Iterable[Output]) -> list[tuple[object, str, str]]:
    return orders_of(outputs)


A = {"orderId": "A", "orderTime": WALL}
B = {"orderId": "B", "orderTime": WALL + 5_000}
END = {"type": "canceled", "status": "done", "remainSize": "0"}


def test_the_end_of_an_altered_order_is_not_told_under_the_live_client_id() -> None:
    driver = live()
    assert states(driver.frame(order(**A))) == [("A", "NEW", "0")]
    assert states(driver.frame(order(**B))) == [("B", "NEW", "0")]
    assert of(Seen, driver.frame(order(**A, **END)))
    assert not of(Emit, driver.frame(order(**A, **END)))
    filled = {"type": "filled", "status": "done", "filledSize": "2", "remainSize": "0"}
    told = looked_up(driver, driver.frame(order(**B, **filled)), row("B", dealSize="2", dealFunds="199"))
    assert states(told) == [("B", "FILLED", "2")]


def test_totals_go_on_over_an_alter_because_the_backend_books_by_client_id() -> None:
    driver = live()
    driver.frame(order(**A))
    part = {"type": "match", "status": "open", "filledSize": "0.5", "remainSize": "1.5"}
    fill = {"matchPrice": "100", "matchSize": "0.5", "tradeId": "t1"}
    assert states(driver.frame(order(**A, **part, **fill))) == [("A", "PARTIALLY_FILLED", "0.5")]
    assert states(driver.frame(order(**B, size="1.5", price="90"))) == [("B", "PARTIALLY_FILLED", "0.5")]
    assert not of(Emit, driver.frame(order(**A, **END, filledSize="0.5")))
    last = {"type": "match", "status": "match", "filledSize": "1.5", "remainSize": "0", "size": "1.5", "price": "90"}
    (emit,) = of(Emit, driver.frame(order(**B, **last, matchPrice="90", matchSize="1.5", tradeId="t2")))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("FILLED", "2")
    assert emit.event.total_quote_trade_quantity == "185"


def test_a_fill_that_shows_only_in_the_end_of_the_altered_order_is_counted_at_once() -> None:
    driver = live()
    driver.frame(order(**A))
    driver.frame(order(**B))
    end = row("A", dealSize="0.5", dealFunds="50", cancelExist=True)
    told = looked_up(driver, driver.frame(order(**A, **END, filledSize="0.5")), end)
    assert states(told) == [("B", "PARTIALLY_FILLED", "0.5")]


def test_a_cancel_that_comes_before_the_new_order_is_told_as_the_venue_tells_it() -> None:
    driver = live()
    driver.frame(order(**A))
    assert states(driver.frame(order(**A, **END))) == [("A", "CANCELED", "0")]
    assert states(driver.frame(order(**B))) == [("B", "NEW", "0")]


def test_a_cancel_can_be_made_to_wait_for_the_order_that_goes_on() -> None:
    for altered in (True, False):
        driver = Driver(VENUE.user, "kucoin", SPOT, KUCOIN_UNIFIED="off", KUCOIN_ALTER_PARK_MS="500")
        driver.add(subscription())
        (token,) = of(Call, driver.start())
        driver.answer(token, TOKEN)
        driver.connected()
        driver.ack(driver.frame({"id": "id1", "type": "welcome"}))
        driver.frame(order(**A))
        assert not of(Emit, driver.frame(order(**A, **END)))
        assert driver.adapter.deadline() == driver.mono + 0.5
        told = states(driver.frame(order(**B))) if altered else []
        assert told + states(driver.wake()) == ([("B", "NEW", "0")] if altered else [("A", "CANCELED", "0")])


def test_another_client_id_makes_another_order() -> None:
    driver = live()
    driver.frame(order(**A))
    assert states(driver.frame(order(**B, clientOid="other"))) == [("B", "NEW", "0")]
    assert states(driver.frame(order(**A, **END))) == [("A", "CANCELED", "0")]


def test_a_client_id_that_is_used_again_after_an_end_begins_anew() -> None:
    driver = live()
    driver.frame(order(**A))
    driver.frame(order(**A, **END, filledSize="0.5"))
    assert states(driver.frame(order(**B))) == [("B", "NEW", "0")]


def test_an_alter_in_a_gap_never_cancels_the_live_client_id() -> None:
    before = known("A", status="PARTIALLY_FILLED", executed="0.5", executed_quote="50", creation_time_ms=WALL - 90_000)
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(before,)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    ended = row(
        "A",
        cancelExist=True,
        dealSize="0.7",
        dealFunds="70",
        clientOid="D-A",
        createdAt=WALL - 90_000,
        lastUpdatedAt=WALL - 9_000,
    )
    goes_on = row("B", active=True, clientOid="D-A", createdAt=WALL - 10_000, lastUpdatedAt=WALL - 10_000)

    def reply(call: Call) -> object:
        if call.tag == "open orders":
            return [goes_on]
        return {"closed orders": {"items": [ended]}, "open symbols": {"symbols": []}}.get(call.tag, [])

    told, _ = answered(driver, calls, reply)
    assert ("A", "CANCELED", "0.7") not in states(told)
    assert states(told)[-1] == ("B", "PARTIALLY_FILLED", "0.7")


@pytest.mark.parametrize("newest_first", [True, False])
def test_an_altered_order_that_filled_in_a_gap_is_told_as_filled_only(newest_first: bool) -> None:
    before = known("A", creation_time_ms=WALL - 90_000)
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(before,)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    ended = row("A", cancelExist=True, clientOid="D-A", createdAt=WALL - 90_000, lastUpdatedAt=WALL - 9_000)
    through = row(
        "B",
        dealSize="2",
        dealFunds="200",
        clientOid="D-A",
        createdAt=WALL - 10_000,
        lastUpdatedAt=WALL - 5_000,
    )
    listed = [through, ended] if newest_first else [ended, through]

    def reply(call: Call) -> object:
        return {"closed orders": {"items": listed}, "open symbols": {"symbols": []}}.get(call.tag, [])

    told, _ = answered(driver, calls, reply)
    assert states(told) == [("B", "FILLED", "2")]


def test_closed_spot_orders_are_read_page_by_page_behind_the_last_id() -> None:
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(known("o1"),)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    full = [row(f"p{number}", cancelExist=True, clientOid="") for number in range(100)]
    rest = [row("o1", dealSize="2", dealFunds="199", clientOid="")]

    def reply(call: Call) -> object:
        if call.tag == "closed orders":
            return {"items": rest, "lastId": 8} if "lastId=7" in call.url else {"items": full, "lastId": 7}
        return {"symbols": []} if call.tag == "open symbols" else []

    told, made = answered(driver, calls, reply)
    pages = [call.url for call in made if call.tag == "closed orders"]
    assert [url.partition("&lastId=")[2] for url in pages] == ["", "7"]
    assert len({url.partition("&lastId=")[0] for url in pages}) == 1, "the same symbol and time"
    assert ("o1", "FILLED", "2") in states(told)
    assert len(states(told)) == 101


def gap_of(before: KnownOrder, *done: dict[str, object]) -> list[tuple[str, str, str, str]]:
    """What is told of a gap in which these orders ended: id, status, size and value."""
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(before,)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))

    def reply(call: Call) -> object:
        return {"closed orders": {"items": list(done)}, "open symbols": {"symbols": []}}.get(call.tag, [])

    events = [emit.event for emit in of(Emit, answered(driver, calls, reply)[0])]
    return [
        (str(e.order_id), e.order_status, e.total_trade_quantity, e.total_quote_trade_quantity)
        for e in events
        if isinstance(e, ExecutionReport)
    ]


def test_an_order_that_became_smaller_in_a_gap_does_not_count_its_fills_twice() -> None:
    """A smaller size was taken for what other orders under the client id had filled."""
    told = {"status": "PARTIALLY_FILLED", "quantity": "2.6", "executed": "1.6", "executed_quote": "160"}
    before = known("A", client_order_id="D-A", creation_time_ms=WALL - 90_000, **told)
    now = row("A", clientOid="D-A", size="2.1", dealSize="1.6", dealFunds="160", cancelExist=True)
    assert gap_of(before, now) == [("A", "CANCELED", "1.6", "160")]


@pytest.mark.parametrize("end", ["FILLED", "CANCELED"])
def test_what_an_order_filled_before_it_was_altered_and_ended_in_one_gap_is_not_lost(end: str) -> None:
    before = known("A", client_order_id="D-A", status="PARTIALLY_FILLED", executed="1.6", executed_quote="160",
                   quantity="2", creation_time_ms=WALL - 90_000)  # fmt: skip
    first = row("A", clientOid="D-A", cancelExist=True, dealSize="1.6", dealFunds="160", createdAt=WALL - 90_000,
                lastUpdatedAt=WALL - 9_000)  # fmt: skip
    filled = {"dealSize": "1", "dealFunds": "90"} if end == "FILLED" else {"cancelExist": True}
    then = row("B", clientOid="D-A", size="1", createdAt=WALL - 9_000, lastUpdatedAt=WALL - 5_000, **filled)
    total = ("2.6", "250") if end == "FILLED" else ("1.6", "160")
    assert gap_of(before, first, then) == [("B", end, *total)]
    assert gap_of(before, then, first) == [("B", end, *total)]


def test_fills_after_a_gap_keep_their_price_on_an_order_that_was_altered_before_it() -> None:
    """What other ids had filled was taken for fills of this one, so that its own were told at the limit."""
    before = known("B", client_order_id="D-A", status="PARTIALLY_FILLED", executed="1.6", executed_quote="160",
                   quantity="2.6", carried="1.6", carried_quote="160", creation_time_ms=WALL - 90_000)  # fmt: skip
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(before,)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    going_on = row("B", active=True, clientOid="D-A", size="1", createdAt=WALL - 90_000, lastUpdatedAt=WALL - 90_000)

    def reply(call: Call) -> object:
        return {"open orders": [going_on], "open symbols": {"symbols": []}, "closed orders": {"items": []}}.get(
            call.tag, []
        )

    told, _ = answered(driver, calls, reply)
    assert not of(Emit, told)
    match = {"type": "match", "status": "match", "filledSize": "0.5", "remainSize": "0.5", "size": "1", "price": "100"}
    fill = {"matchPrice": "90", "matchSize": "0.5", "tradeId": "t9"}
    (emit,) = of(Emit, driver.frame(order(**{**B, **match, **fill, "clientOid": "D-A"})))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.total_trade_quantity, emit.event.total_quote_trade_quantity) == ("2.1", "205")


def test_a_fill_whose_frame_comes_after_rest_told_it_is_not_counted_twice() -> None:
    book = Ledger()
    book.seed("o", Decimal(6), Decimal(600))
    book.fill("o", "t1", Decimal(100), Decimal(6), Decimal(6))
    book.fill("o", "t2", Decimal(98), Decimal(2), Decimal(8))
    assert book.totals("o") == (Decimal(8), Decimal(796))


# --- market orders that end ---


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"size": "2", "filledSize": "0.6", "canceledSize": "1.4"}, "CANCELED"),
        ({"size": "2", "filledSize": "0.6", "canceledSize": None}, "CANCELED"),
        ({"size": None, "originSize": "2", "filledSize": "0.6"}, "CANCELED"),
        ({"size": "2", "filledSize": "2", "canceledSize": "0"}, "FILLED"),
        ({"size": None, "filledSize": "0.6", "originFunds": "100", "canceledFunds": "39.9"}, "FILLED"),
        ({"size": None, "filledSize": "0", "originFunds": "100", "canceledFunds": "100"}, "CANCELED"),
    ],
)
def test_a_market_order_by_size_that_ends_short_is_cancelled_and_one_by_funds_is_through(
    fields: dict[str, object], status: str
) -> None:
    driver = live()
    filled = str(fields["filledSize"])
    match = {
        "type": "match",
        "status": "match",
        "filledSize": filled,
        "matchSize": filled,
        "matchPrice": "100",
        "tradeId": "t",
    }
    market = {"orderType": "market", "price": None}
    if filled != "0":
        driver.frame(order(**{**market, **fields, **match, "remainSize": "1"}))
    ((_, told, total),) = states(driver.frame(order(**{**market, **END, **fields})))
    assert (told, total) == (status, filled)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"type": "market", "size": "2", "funds": "0", "dealSize": "0.6"}, "CANCELED"),
        ({"type": "market", "size": "2", "funds": "0", "dealSize": "0"}, "CANCELED"),
        ({"type": "market", "size": "0", "funds": "100", "dealSize": "0.6"}, "FILLED"),
        ({"type": "market", "size": "0", "funds": "100", "dealSize": "0"}, "CANCELED"),
        ({"type": "market", "size": "0.0005", "dealSize": "0.0005"}, "FILLED"),
        ({"type": "limit", "size": "2", "dealSize": "0.0006"}, "CANCELED"),
        ({"type": "limit", "size": "2", "dealSize": "2"}, "FILLED"),
    ],
)
def test_rest_says_the_same_of_a_market_order_that_ended(fields: dict[str, object], status: str) -> None:
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(known("o1"),)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))
    ended = row("o1", cancelExist=True, **fields)

    def reply(call: Call) -> object:
        return {"closed orders": {"items": [ended]}, "open symbols": {"symbols": []}}.get(call.tag, [])

    told, _ = answered(driver, calls, reply)
    ((_, seen, total),) = states(told)
    assert (seen, Decimal(total)) == (status, Decimal(str(fields["dealSize"])))


# --- what a classic gap can't see ---


def classic_gap(
    exchange: str, table: SymbolTable, since_ms: int, reply: Callable[[Call], Any], *orders: KnownOrder
) -> tuple[list[Output], list[Call]]:
    driver = dialled(exchange, table, Resume(since_ms=since_ms, orders=orders))
    return answered(driver, of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"}))), reply)


def test_a_spot_order_opened_and_filled_while_nobody_watched_is_found_by_what_it_left_behind() -> None:
    table = SymbolTable(
        Instrument(wire=f"{base}-{quote}", pair=f"{base}-{quote}", base=base, quote=quote)
        for base, quote in (("ETH", "USDT"), ("ETH", "BTC"), ("SOL", "USDT"), ("ADA", "EUR"))
    )
    money = [
        {"currency": coin, "type": "trade", "available": free, "holds": "0"}
        for coin, free in (("ETH", "5"), ("SOL", "0"), ("ADA", "1"))
    ]

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return money
        new = row("n1", symbol="ETH-USDT", clientOid="D-9", dealSize="2", dealFunds="200")
        return {"symbols": []} if call.tag == "open symbols" else {"items": [new] if "ETH-USDT" in call.url else []}

    told, made = classic_gap("kucoin", table, WALL - 60_000, reply)
    assert ("n1", "FILLED", "2") in states(told)
    assert [call.url.split("symbol=")[1].split("&")[0] for call in made if call.tag == "closed orders"] == [
        "ETH-USDT",
        "ETH-BTC",
    ]
    assert told_gap(told).missing == ("closed orders on other symbols can't be asked for",)


@pytest.mark.parametrize(("days", "windows", "cut"), [(0.5, 1, False), (10, 2, False), (60, 4, True)])
def test_a_long_spot_gap_is_walked_in_weeks_oldest_first(days: float, windows: int, cut: bool) -> None:
    since = WALL - round(days * 86_400_000)

    def reply(call: Call) -> object:
        return {"symbols": ["BTC-USDT"]} if call.tag == "open symbols" else []

    told, made = classic_gap("kucoin", SPOT, since, reply)
    spans = [parse_qs(urlsplit(call.url).query) for call in made if call.tag == "closed orders"]
    edges = [(int(span["startAt"][0]), int(span["endAt"][0])) for span in spans]
    assert len(edges) == windows
    assert all(end - start <= 7 * 86_400_000 for start, end in edges)
    assert [start for start, _ in edges[1:]] == [end for _, end in edges[:-1]]
    assert edges[-1][1] >= WALL
    assert ("orders that ended early in a long gap" in told_gap(told).missing) is cut


def futures_row(number: int, **fields: object) -> dict[str, object]:
    base = row(f"f{number}", symbol="XBTUSDTM", isActive=True, active=None, lastUpdatedAt=None, updatedAt=WALL - 10)
    return {**base, "clientOid": f"C{number}", **fields}


def test_open_futures_orders_are_read_page_by_page() -> None:
    def reply(call: Call) -> object:
        if call.tag == "open orders":
            page = int(parse_qs(urlsplit(call.url).query).get("currentPage", ["1"])[0])
            return {"items": [futures_row(page)], "currentPage": page, "totalPage": 3}
        return {"items": []} if call.tag != "recent orders" else []

    told, _ = classic_gap("kucoinLinear", LINEAR, WALL - 60_000, reply)
    assert [order_id for order_id, _, _ in states(told)] == ["f1", "f2", "f3"]


def test_a_full_list_of_recent_futures_orders_is_read_on_by_time() -> None:
    full = [futures_row(n, isActive=False, status="done") for n in range(1000)]
    older = futures_row(5_000, isActive=False, status="done")

    def reply(call: Call) -> object:
        return full if call.tag == "recent orders" else {"items": [older] if call.tag == "closed orders" else []}

    told, made = classic_gap("kucoinLinear", LINEAR, WALL - 60_000, reply)
    assert "closed orders" in [call.tag for call in made]
    assert "f5000" in [order_id for order_id, _, _ in states(told)]


def fill_row(order_id: str, **fields: object) -> dict[str, object]:
    base = {"symbol": "XBTUSDTM", "orderId": order_id, "side": "sell", "price": "100", "size": 3, "tradeType": "liquid"}
    return {**base, "createdAt": WALL - 20, "tradeTime": (WALL - 20) * 10**6, **fields}


def liquidations(fills: list[object], *orders: KnownOrder) -> tuple[list[ExecutionReport], GapReport]:
    def reply(call: Call) -> object:
        return {"recent orders": [], "liquidations": {"items": fills}}.get(call.tag, {"items": []})

    told, _ = classic_gap("kucoinLinear", LINEAR, WALL - 60_000, reply, *orders)
    found = [emit.event for emit in of(Emit, told) if isinstance(emit.event, ExecutionReport)]
    return found, told_gap(told)


def test_a_liquidation_that_nobody_watched_is_told_from_its_fills() -> None:
    fills = [
        fill_row("x1"),
        fill_row("x1", price="98", size=1),
        fill_row("x2", tradeType="trade"),
        fill_row("x3", symbol="XBTUSDM"),
    ]
    ((event,), gap) = liquidations([*fills, {"orderId": None}, 7])
    assert (event.liquidation, event.side, event.quantity, event.price) == (True, "SELL", "4", "99.5")
    assert (event.symbol, event.new_client_order_id) == ("BTCUSDT", "liq-XBTUSDTM-x1")
    assert gap.missing[0].startswith("liquidations: 2 fills that can't be read")


def test_a_liquidation_that_the_position_told_before_the_gap_is_not_told_again() -> None:
    told = known("-1", symbol="BTCUSDT", status="FILLED", client_order_id="liq-XBTUSDTM-1", order_time_ms=WALL - 1_000)
    assert liquidations([fill_row("x1")], told)[0] == []


def test_a_liquidation_of_an_earlier_position_hides_none() -> None:
    told = known(
        "-1", symbol="BTCUSDT", status="FILLED", client_order_id="liq-XBTUSDTM-1", order_time_ms=WALL - 900_000
    )
    assert [report.liquidation for report in liquidations([fill_row("x1")], told)[0]] == [True]


@pytest.mark.parametrize(
    ("code", "phrase"),
    [("900014", "order o1: not known to the venue"), ("400007", "order o1: 400007 no")],
)
def test_an_order_that_may_not_be_asked_for_is_not_called_unknown(code: str, phrase: str) -> None:
    driver = dialled(resume=Resume(since_ms=WALL - 60_000, orders=(known("o1"),)))
    calls = of(Call, driver.ack(driver.frame({"id": "id1", "type": "welcome"})))

    def reply(call: Call) -> object:
        if call.tag == "order":
            return code
        return {"closed orders": {"items": []}, "open symbols": {"symbols": []}}.get(call.tag, [])

    assert phrase in told_gap(answered(driver, calls, reply)[0]).missing


def test_odd_rows_of_a_classic_gap_cost_only_themselves() -> None:
    good = row("o5", clientOid="D-5", dealSize="2", dealFunds="200")

    def reply(call: Call) -> object:
        if call.tag == "balances":
            return [{"currency": None}, {"currency": "USDT", "available": 5, "holds": None, "type": "trade"}, "x"]
        if call.tag == "open symbols":
            return {"symbols": ["BTC-USDT"]}
        strange = {**good, "id": "o7", "active": None, "status": "frozen"}
        return {"items": [{**good, "id": None}, good, 7, strange]} if call.tag == "closed orders" else []

    told, _ = classic_gap("kucoin", SPOT, WALL - 60_000, reply)
    assert states(told) == [("o5", "FILLED", "2")]
    phrases = [phrase.split(" that")[0] for phrase in told_gap(told).missing]
    assert phrases[:1] == ["balances: 2 coins"]
    assert "closed orders: 2 orders" in phrases
    assert "order o7: state frozen, which no page lists" in phrases


def test_a_removed_account_publishes_nothing_more() -> None:
    driver = live()
    leaving = [*of(Send, driver.remove("s1")), *of(Send, driver.wake())]
    assert [json.loads(send.text)["type"] for send in leaving] == ["unsubscribe", "unsubscribe"]
    assert driver.frame(order()) == []
    driver = unified_live()
    assert [json.loads(send.text)["action"] for send in of(Send, driver.remove("s1"))] == ["unsubscribe"] * 3
    assert driver.frame(unified_order()) == []


# --- one odd row ---


def test_one_odd_symbol_does_not_cost_the_list() -> None:
    loader = VENUE.instruments("kucoinLinear", {})
    (call,) = loader.start()
    good = {
        "symbol": "XBTUSDTM",
        "baseCurrency": "XBT",
        "quoteCurrency": "USDT",
        "settleCurrency": "USDT",
        "status": "Open",
    }
    rows = [{**good, "symbol": "N", "multiplier": None}, {**good, "symbol": None}, 7, {**good, "multiplier": 0.001}]
    loader.answered(call, json_answer({"code": "200000", "data": rows}))
    found = loader.result()
    assert found is not None
    assert [(item.wire, item.contract_size) for item in found] == [("N", "1"), ("XBTUSDTM", "0.001")]
    loader.answered(call, json_answer({"code": "200000", "data": [7]}))
    assert loader.result() is None


@pytest.mark.parametrize("size", ["", None, "x"])
def test_an_empty_size_does_not_cost_the_price(size: object) -> None:
    spot = feed(VENUE.ticker, "kucoin", SPOT, TickerSubscription(stream_id="t", exchange="kucoin"))
    data = {"price": "2.5", "size": size, "bestAskSize": size, "bestBidSize": size, "time": WALL}
    frame = {"topic": "/market/ticker:all", "type": "message", "subject": "BTC-USDT", "data": data}
    (emit,) = of(EmitTickers, spot.frame(frame))
    (ticker,) = emit.tickers
    assert (ticker.price, ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (2.5, 0, 0, 0)


# --- tickers ---


def contracts(number: int, *, inverse: bool = False) -> SymbolTable:
    suffix = "USDM" if inverse else "USDTM"
    return SymbolTable(
        Instrument(wire=f"C{n}{suffix}", pair=f"C{n}{suffix[:-1]}", active=n % 10 != 9) for n in range(number)
    )


def test_spot_tickers_are_one_all_market_topic() -> None:
    assert VENUE.ticker_shards("kucoin", SPOT) == [()]


@pytest.mark.parametrize(("exchange", "inverse"), [("kucoinLinear", False), ("kucoinInverse", True)])
def test_futures_tickers_are_spread_by_the_market_s_own_list(exchange: str, inverse: bool) -> None:
    """Inverse tickers once were cut by the linear list (bug D9)."""
    table = contracts(700, inverse=inverse)
    shards = VENUE.ticker_shards(exchange, table)
    assert [len(shard) for shard in shards] == [TICKERS_PER_CONNECTION, TICKERS_PER_CONNECTION, 50]
    assert {wire for shard in shards for wire in shard} == {instrument.wire for instrument in table.active()}


def feed(make: Callable[[Setup], Adapter], exchange: str, table: SymbolTable, *subscriptions: Any) -> Driver:
    driver = Driver(make, exchange, table)
    for item in subscriptions:
        assert driver.add(item) == []
    (token,) = of(Call, driver.start())
    assert token.url.endswith("/api/v1/bullet-public")
    assert not token.headers
    driver.answer(token, TOKEN)
    driver.connected()
    return driver


def test_a_shard_is_subscribed_in_lists_of_a_hundred() -> None:
    symbols = tuple(f"C{n}USDTM" for n in range(250))
    shard = TickerSubscription(stream_id="t", exchange="kucoinLinear", symbols=symbols)
    driver = feed(VENUE.ticker, "kucoinLinear", LINEAR, shard)
    sends = of(Send, driver.frame({"id": "1", "type": "welcome"}))
    topics = [json.loads(send.text)["topic"] for send in sends]
    assert [topic.count(",") + 1 for topic in topics] == [100, 100, 50]
    assert all(topic.startswith("/contractMarket/ticker:") for topic in topics)
    assert of(Live, driver.ack(sends)) == [Live("t")]


def test_a_refused_list_is_halved_until_the_bad_name_is_found() -> None:
    symbols = ("AUSDTM", "BUSDTM", "GONEUSDTM", "DUSDTM")
    shard = TickerSubscription(stream_id="t", exchange="kucoinLinear", symbols=symbols)
    driver = feed(VENUE.ticker, "kucoinLinear", LINEAR, shard)
    todo = of(Send, driver.frame({"id": "1", "type": "welcome"}))
    outputs: list[Output] = []
    while todo:
        frame = json.loads(todo.pop().text)
        bad = "GONEUSDTM" in frame["topic"]
        answer = {"id": frame["id"], "type": "error", "code": 404, "data": "topic not found"}
        result = driver.frame(answer if bad else {"id": frame["id"], "type": "ack"})
        outputs += result
        todo += of(Send, result)
    assert of(Live, outputs) == [Live("t")]
    assert of(Note, outputs)[0].what.startswith("ticker of GONEUSDTM refused")


def test_a_ticker_without_a_price_only_counts_as_data() -> None:
    driver = feed(VENUE.ticker, "kucoin", SPOT, TickerSubscription(stream_id="t", exchange="kucoin"))
    driver.ack(driver.frame({"id": "1", "type": "welcome"}))
    frame = {
        "topic": "/market/ticker:all",
        "type": "message",
        "subject": "X-USDT",
        "data": {"price": None, "time": WALL},
    }
    assert driver.frame(frame) == [Seen("t")]
    frame["data"] = {"price": "", "time": WALL}
    assert driver.frame(frame) == [Seen("t")]
    frame["data"] = {"price": "1.5", "time": WALL}
    (emit,) = driver.frame(frame)
    assert isinstance(emit, EmitTickers)
    assert emit.tickers[0].price == 1.5


# --- candles ---


def asked(stream_id: str, interval: str, symbol: str = "BTC-USDT", **fields: Any) -> CandleSubscription:
    return CandleSubscription(stream_id=stream_id, exchange="kucoin", symbol=symbol, interval=interval, **fields)


def candle_frame(code: str, start_s: int, time: int, close: str = "2") -> dict[str, object]:
    row = [str(start_s), "1", close, "3", "0.5", "10", "20"]
    data = {"symbol": "BTC-USDT", "candles": row, "time": time}
    topic = f"/market/candles:BTC-USDT_{code}"
    return {"topic": topic, "type": "message", "subject": "trade.candles.update", "data": data}


def test_both_spellings_of_one_candle_share_a_topic_and_publish_under_both_names() -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1hour"), asked("b", "1h"))
    sends = of(Send, driver.frame({"id": "1", "type": "welcome"}))
    assert [json.loads(send.text)["topic"] for send in sends] == ["/market/candles:BTC-USDT_1hour"]
    assert of(Live, driver.ack(sends)) == [Live("a"), Live("b")]
    emits = of(EmitCandle, driver.frame(candle_frame("1hour", 1_793_001_600, 1)))
    assert [(emit.stream_id, emit.interval) for emit in emits] == [("a", "1hour"), ("b", "1h")]


def test_candles_added_later_are_gathered_into_one_frame() -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT)
    assert driver.frame({"id": "1", "type": "welcome"}) == []
    assert driver.add(asked("a", "1min")) == []
    assert driver.add(asked("b", "5min", "ETH-USDT")) == []
    (send,) = of(Send, driver.wake())
    assert json.loads(send.text)["topic"] == "/market/candles:BTC-USDT_1min,ETH-USDT_5min"
    assert of(Live, driver.ack([send])) == [Live("a"), Live("b")]
    assert of(Live, driver.add(asked("c", "1m"))) == [Live("c")]
    assert driver.remove("a") == []
    assert driver.remove("c") == []
    (gone,) = of(Send, driver.wake())
    assert json.loads(gone.text)["type"] == "unsubscribe"
    assert driver.frame(candle_frame("1min", 1_793_001_600, 5)) == []


def test_more_than_a_hundred_candles_take_several_frames() -> None:
    table = SymbolTable(Instrument(wire=f"S{n}-USDT", pair=f"S{n}-USDT") for n in range(250))
    items = [asked(f"c{n}", "1min", f"S{n}-USDT") for n in range(250)]
    driver = feed(VENUE.candle, "kucoin", table, *items)
    sends = of(Send, driver.frame({"id": "1", "type": "welcome"}))
    assert [json.loads(send.text)["topic"].count(",") + 1 for send in sends] == [100, 100, 50]
    assert len(of(Live, driver.ack(sends))) == 250


def test_candles_missed_by_a_reconnect_come_first_and_in_order() -> None:
    minute = 60_000
    start = WALL - WALL % minute
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1min", resume_start_ms=start - 3 * minute))
    (call,) = of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))
    assert f"startAt={(start - 3 * minute) // 1000}" in call.url
    assert "type=1min" in call.url
    assert driver.frame(candle_frame("1min", start // 1000, 7)) == [Seen("a")]
    rows = [[str((start - n * minute) // 1000), "1", f"{n}", "3", "0.5", "10", "20"] for n in range(5)]
    outputs = driver.answer(call, {"code": "200000", "data": rows})
    emits = of(EmitCandle, outputs)
    assert [(emit.candle.start - start) // minute for emit in emits] == [-3, -2, -1, 0]
    assert [emit.repaired for emit in emits] == [True, True, True, False]
    assert [emit.candle.close for emit in emits] == ["3", "2", "1", "2"]
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert went.gap.candles == 3
    assert outputs[-1] is went


def test_missed_candles_that_can_t_be_read_are_told() -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1min", resume_start_ms=WALL - 600_000))
    (call,) = of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))
    for _ in range(2):
        assert driver.answer(call, b"", 503) == []
        (call,) = of(Call, driver.wake())
    (went,) = of(Live, driver.answer(call, b"", 503))
    assert went.gap is not None
    assert "HTTP 503" in went.gap.missing[0]


def test_futures_candles_are_asked_in_minutes_and_read_in_rest_order() -> None:
    minute = 60_000
    start = WALL - WALL % minute
    wanted = CandleSubscription(
        stream_id="a", exchange="kucoinLinear", symbol="BTCUSDT", interval="5m", resume_start_ms=start - 10 * minute
    )
    driver = feed(VENUE.candle, "kucoinLinear", LINEAR, wanted)
    (call,) = of(Call, driver.ack(driver.frame({"id": "1", "type": "welcome"})))
    assert "symbol=XBTUSDTM&granularity=5&from=" in call.url
    rows = [[start - 10 * minute, 1, 4, 0.5, 2, 77, 99]]
    (emit,) = of(EmitCandle, driver.answer(call, {"code": "200000", "data": rows}))
    candle = emit.candle
    assert (candle.open, candle.high, candle.low, candle.close, candle.volume) == ("1", "4", "0.5", "2", "77")


def test_a_delisted_candle_symbol_ends_only_its_own_subscription() -> None:
    driver = feed(VENUE.candle, "kucoin", SPOT, asked("a", "1min"), asked("b", "1min", "ETH-USDT"))
    (send,) = of(Send, driver.frame({"id": "1", "type": "welcome"}))
    halves = of(Send, driver.frame({"id": json.loads(send.text)["id"], "type": "error", "code": 404, "data": "no"}))
    assert len(halves) == 2
    assert of(Live, driver.ack(halves[:1])) == [Live("a")]
    request = json.loads(halves[1].text)["id"]
    (fail,) = driver.frame({"id": request, "type": "error", "code": 404, "data": "topic not found"})
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "b")


INTERVALS = {
    "1m": "1min",
    "3m": "3min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "1hour",
    "2h": "2hour",
    "4h": "4hour",
    "8h": "8hour",
    "1d": "1day",
    "1w": "1week",
}


@pytest.mark.parametrize("exchange", ["kucoin", "kucoinLinear", "kucoinInverse"])
@pytest.mark.parametrize(("generic", "code"), INTERVALS.items())
def test_both_spellings_of_an_interval_are_served(exchange: str, generic: str, code: str) -> None:
    for spelling in (generic, code):
        assert VENUE.candle_refusal(exchange, "BTCUSDT", spelling, EMPTY) is None
    from exchanges.kucoin import _symbols

    assert _symbols.interval_code(exchange, generic) == _symbols.interval_code(exchange, code) == code


@pytest.mark.parametrize("interval", ["", "7m", "60", "candle1H", "1H", "1Min"])
def test_an_unknown_interval_is_refused_in_one_sentence(interval: str) -> None:
    refusal = VENUE.candle_refusal("kucoin", "BTC-USDT", interval, SPOT)
    assert refusal is not None
    assert repr(interval) in refusal
    assert refusal.endswith(".")


def test_a_wire_code_is_refused_where_a_pair_id_belongs() -> None:
    refusal = VENUE.candle_refusal("kucoinLinear", "XBTUSDTM", "1m", LINEAR)
    assert refusal is not None
    assert "XBTUSDTM" in refusal
    assert VENUE.candle_refusal("kucoinLinear", "XBTUSDTM", "1m", EMPTY) is None
    assert VENUE.candle_refusal("kucoinLinear", "BTCUSDT", "6h", LINEAR) is not None
    assert VENUE.candle_refusal("kucoin", "BTC-USDT", "6h", SPOT) is None


# --- instruments ---


def test_contracts_are_split_by_family_and_renamed() -> None:
    rows = [
        {"symbol": "XBTUSDTM", "baseCurrency": "XBT", "quoteCurrency": "USDT", "settleCurrency": "USDT"},
        {"symbol": "XBTUSDCM", "baseCurrency": "XBT", "quoteCurrency": "USDC", "settleCurrency": "USDC"},
        {"symbol": "XBTUSDM", "baseCurrency": "XBT", "quoteCurrency": "USD", "settleCurrency": "XBT"},
        {"symbol": "BTCDOMUSDTM", "baseCurrency": "BTCDOM", "quoteCurrency": "USDT", "settleCurrency": "USDT"},
    ]
    for item in rows:
        item |= {"isInverse": item["symbol"] == "XBTUSDM", "multiplier": 0.001, "status": "Open"}  # type: ignore[dict-item]
    rows[1]["status"] = "Paused"
    rows[2]["multiplier"] = -1.0  # type: ignore[assignment]
    body = json.dumps({"code": "200000", "data": rows}).encode()
    linear = VENUE.instruments("kucoinLinear", {})
    (call,) = linear.start()
    assert call.url == "https://api-futures.kucoin.com/api/v1/contracts/active"
    assert linear.answered(call, Answer(200, {}, body)) == []
    table = SymbolTable(linear.result() or ())
    assert {item.wire: item.pair for item in table} == {
        "XBTUSDTM": "BTCUSDT",
        "XBTUSDCM": "BTCUSDC",
        "BTCDOMUSDTM": "BTCDOMUSDT",
    }
    assert len(table.active()) == 2
    assert table.pair("BTCUSDT") is not None
    inverse = VENUE.instruments("kucoinInverse", {})
    inverse.answered(call, Answer(200, {}, body))
    (item,) = inverse.result() or ()
    assert (item.pair, item.settle, item.contract_size) == ("BTCUSD", "BTC", "1")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":"200000"}', b'{"code":"429000","data":[]}'])
def test_an_unusable_symbol_list_is_no_result(body: bytes) -> None:
    loader = VENUE.instruments("kucoin", {})
    (call,) = loader.start()
    loader.answered(call, Answer(200, {}, body))
    assert loader.result() is None


@pytest.mark.parametrize("feed_name", ["user", "ticker", "candle"])
def test_connections_are_replaced_before_the_venue_cuts_them(feed_name: Any) -> None:
    limits = VENUE.limits("kucoin", feed_name)
    assert limits.lifetime_s is not None
    assert limits.lifetime_s < 24 * 3600
    assert limits.messages.limit / limits.messages.per_s <= 10
    assert limits.connects.limit <= 30
