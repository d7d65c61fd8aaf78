"""Bybit: login, acknowledgements, pings, gap repair, refusals, topics and candles, driven without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

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
    Instant,
    KnownOrder,
    Live,
    Note,
    Output,
    Outputs,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges._catchup import BUDGET_S
from exchanges.bybit import VENUE
from exchanges.bybit._candle import GENERIC, INTERVALS
from exchanges.bybit._gap import MAX_SINGLES
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport, encode
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges.driver import after, answer_all, frame, hmac_hex, json_answer, of, params, sent, setup

WALL = 1_795_300_000_000
NOW = Instant(1_000.0, WALL)
at = partial(after, NOW)


def account(
    exchange: str = "bybit", resume: Resume | None = None, secret: str = "SK", **options: str | None
) -> UserSubscription:
    return UserSubscription(
        stream_id="u1", exchange=exchange, credentials=credentials("AK", secret, **options), resume=resume
    )


def answer(result: object, code: int = 0, text: str = "OK", status: int = 200, **headers: str) -> Answer:
    body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": WALL}
    return json_answer(body, status, **headers)


AUTH_OK = frame({"success": True, "ret_msg": "", "op": "auth", "conn_id": "c"})
SUB_OK = frame({"success": True, "ret_msg": "", "op": "subscribe", "conn_id": "c"})


def order(order_id: str, status: str = "New", updated: int = WALL, **fields: object) -> dict[str, object]:
    return {
        "category": "spot",
        "symbol": "BTCUSDT",
        "orderId": order_id,
        "orderLinkId": f"GA-{order_id}",
        "side": "Buy",
        "orderType": "Limit",
        "orderStatus": status,
        "price": "100",
        "qty": "2",
        "avgPrice": "",
        "cumExecQty": "2" if status == "Filled" else "0",
        "cumExecValue": "200" if status == "Filled" else "0",
        "createdTime": str(WALL - 1000),
        "updatedTime": str(updated),
        **fields,
    }


def push(*orders: object) -> bytes:
    return frame({"id": "m", "topic": "order", "creationTime": WALL, "data": list(orders)})


def joined(subscription: UserSubscription, exchange: str = "bybit", status: int = 6) -> tuple[Adapter, list[Output]]:
    """An adapter right after its subscribe was acknowledged, and what that returned."""
    adapter = VENUE.user(setup(exchange))
    adapter.add(subscription, NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": status}), NOW)
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    return adapter, list(adapter.received(SUB_OK, NOW))


# --- login ---


def test_the_account_mode_is_asked_before_dialling_and_signed_over_the_exact_query() -> None:
    adapter = VENUE.user(setup("bybit"))
    assert not adapter.add(account(), NOW)
    (ask,) = of(Call, adapter.start(NOW))
    assert ask.url == "https://api.bybit.com/v5/account/info"
    text = f"{WALL}AK20000"
    assert ask.headers["X-BAPI-SIGN"] == hmac_hex("SK", text)
    assert (ask.headers["X-BAPI-API-KEY"], ask.headers["X-BAPI-TIMESTAMP"]) == ("AK", str(WALL))
    outputs = adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    assert outputs == [Connect("wss://stream.bybit.com/v5/private")]


def test_login_signs_the_expiry_and_subscribes_only_after_success() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    (login,) = sent(adapter.connected(NOW))
    expires = WALL + 10_000
    signature = hmac_hex("SK", f"GET/realtime{expires}")
    assert (login["op"], login["args"]) == ("auth", ["AK", expires, signature])
    (subscribe,) = sent(adapter.received(AUTH_OK, NOW))
    assert (subscribe["op"], subscribe["args"]) == ("subscribe", ["order", "wallet"])
    outputs = adapter.received(SUB_OK, NOW)
    assert of(Live, outputs) == [Live("u1")]
    assert [call.tag for call in of(Call, outputs)] == ["wallet"]  # nothing is pushed on subscribing


GLOBAL = "stream.bybit.com"
HK = {"x-refer-site-id": "HKG"}


@pytest.mark.parametrize(
    ("region", "sockets", "rest", "site"),
    [
        (None, [GLOBAL], "api.bybit.com", {}),
        ("com", [GLOBAL], "api.bybit.com", {}),
        ("mars", [GLOBAL], "api.bybit.com", {}),
        ("eu", ["stream.bybit.eu", GLOBAL], "api.bybit.eu", {}),
        ("nl", [GLOBAL, "stream.bybit.nl"], "api.bybit.nl", {}),
        ("tr", ["stream.bybit.tr"], "api.bybit.tr", {}),
        ("kz", ["stream.bybit.kz"], "api.bybit.kz", {}),
        ("ge", ["stream.bybitgeorgia.ge"], "api.bybitgeorgia.ge", {}),
        ("id", ["stream.bybit.id"], "api.bybit.id", {}),
        ("jp", ["stream.manepa.jp"], "api.manepa.jp", {}),
        ("ae", [GLOBAL], "api.bybit.ae", {}),
        ("hk", ["stream.spark-fintech.com"], "api.spark-fintech.com", HK),
        ("HK ", ["stream.spark-fintech.com"], "api.spark-fintech.com", HK),
        ("br", [GLOBAL], "api.bybit.com", {"x-site-id": "BRA_BTL"}),
        ("ar", [GLOBAL], "api.bybit.com", {"x-site-id": "ARG_BTL"}),
    ],
)
def test_a_regional_account_logs_in_at_its_own_hosts(
    region: str | None, sockets: list[str], rest: str, site: dict[str, str]
) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(resume=RESUME, bybit_host=region), NOW)
    outputs = adapter.start(NOW)
    assert [note.what for note in of(Note, outputs)] == (
        ["unknown Bybit region 'mars': the global site is used"] if region == "mars" else []
    )
    (ask,) = of(Call, outputs)
    outputs = adapter.answered(ask, answer({}, 10002, "timestamp"), NOW)
    (time,) = of(Call, outputs)
    (again,) = of(Call, adapter.answered(time, answer({}), NOW))
    (connect,) = of(Connect, adapter.answered(again, answer({"unifiedMarginStatus": 5}), NOW))
    assert [connect.url, *connect.others] == [f"wss://{host}/v5/private" for host in sockets]
    assert dict(connect.headers) == site
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    calls = [ask, time, again, *of(Call, adapter.received(SUB_OK, NOW))]
    assert len(calls) > 5
    for call in calls:
        assert urlsplit(call.url).netloc == rest
        assert {name: text for name, text in call.headers.items() if name.startswith("x-")} == site


def test_the_sandbox_uses_the_test_network_for_both_and_wins_over_a_region() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(environment="sandbox", bybit_host="eu"), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    assert urlsplit(ask.url).netloc == "api-testnet.bybit.com"
    (connect,) = of(Connect, adapter.answered(ask, answer({"unifiedMarginStatus": 5}), NOW))
    assert connect.url == "wss://stream-testnet.bybit.com/v5/private"


def test_an_account_query_that_hangs_does_not_hold_the_stream() -> None:
    adapter = VENUE.user(setup("bybitInverse"))
    adapter.add(account("bybitInverse"), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    deadline = adapter.deadline()
    assert deadline is not None
    assert deadline <= NOW.mono + 10
    assert of(Connect, adapter.woken(Instant(deadline, WALL + 8000)))
    late = adapter.answered(ask, answer({"unifiedMarginStatus": 3}), at(20))
    assert not late  # an answer after the fall-back changes nothing any more


@pytest.mark.parametrize("code", [10003, 10004, 10005, 10007, 10009, 10010, 10024, 10027, 10028, 33004, -2015])
def test_fatal_codes_of_the_account_query_refuse_the_credential(code: int) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    (fail,) = of(Fail, adapter.answered(ask, answer({}, code, "API key is invalid."), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")
    assert "AK" not in fail.reason
    assert "SK" not in fail.reason


@pytest.mark.parametrize("text", ["API key is invalid.", "Your api key has expired.", "xx Error sign, please check"])
def test_fatal_texts_refuse_the_credential_whatever_the_code(text: str) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    assert of(Fail, adapter.answered(ask, answer({}, 99, text), NOW))[0].kind is FailKind.CREDENTIAL


@pytest.mark.parametrize(
    "reply",
    [Answer(0, {}, b"", "timed out"), Answer(502, {}, b"<html>"), answer({}, 10016, "server error"), answer([])],
)
def test_any_other_failure_of_the_account_query_is_passed_over(reply: Answer) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    assert of(Connect, adapter.answered(ask, reply, NOW))


def test_a_refused_timestamp_takes_over_the_venues_clock() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    behind = Instant(NOW.mono, WALL - 60_000)
    (time,) = of(
        Call, adapter.answered(ask, answer({}, 10002, "invalid request, please check your server timestamp"), behind)
    )
    assert time.url == "https://api.bybit.com/v5/market/time"
    outputs = adapter.answered(time, answer({"timeSecond": "1"}), behind)
    assert of(ClockOffset, outputs) == [ClockOffset(60_000)]
    (again,) = of(Call, outputs)
    assert again.headers["X-BAPI-TIMESTAMP"] == str(WALL)
    adapter.answered(again, answer({"unifiedMarginStatus": 6}), behind)
    (login,) = sent(adapter.connected(behind))
    assert login["args"][1] == WALL + 10_000  # type: ignore[index]


def test_an_empty_key_or_a_broken_pem_is_refused_before_anything_is_sent() -> None:
    for secret in ("", "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----"):
        adapter = VENUE.user(setup("bybit"))
        adapter.add(account(secret=secret), NOW)
        (fail,) = adapter.start(NOW)
        assert isinstance(fail, Fail)
        assert fail.kind is FailKind.CREDENTIAL


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer({"unifiedMarginStatus": 6}), FailKind.TRANSIENT),
        (answer({}, 10003, "API key is invalid."), FailKind.CREDENTIAL),
        (Answer(0, {}, b"", "refused"), FailKind.TRANSIENT),
    ],
)
def test_a_refused_login_is_fatal_only_if_the_key_fails_over_rest_too(reply: Answer, kind: FailKind) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    refusal = frame({"success": False, "ret_msg": "Request not authorized", "op": "auth", "conn_id": "c"})
    (check,) = of(Call, adapter.received(refusal, NOW))
    (fail,) = of(Fail, adapter.answered(check, reply, NOW))
    assert fail.kind is kind


def test_no_answer_to_login_or_subscribe_ends_the_connection() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    assert adapter.deadline() == NOW.mono + 10
    (fail,) = of(Fail, adapter.woken(at(10)))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_already_subscribed_counts_as_an_acknowledgement() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    reply = frame({"success": False, "ret_msg": "error:already subscribed,topic:order", "op": "subscribe"})
    assert of(Live, adapter.received(reply, NOW))


# --- pings ---


def test_a_json_ping_every_20_s_and_silence_for_10_s_after_one_is_death() -> None:
    adapter, _ = joined(account())
    assert adapter.deadline() == NOW.mono + 20
    assert [ping["op"] for ping in sent(adapter.woken(at(20)))] == ["ping"]
    assert adapter.deadline() == NOW.mono + 30
    (fail,) = of(Fail, adapter.woken(at(30)))
    assert fail.kind is FailKind.TRANSIENT


def test_any_frame_after_a_ping_is_life() -> None:
    adapter, _ = joined(account())
    adapter.woken(at(20))
    adapter.received(frame({"req_id": "r9", "op": "pong", "args": ["1"], "conn_id": "c"}), at(21))
    assert adapter.deadline() == NOW.mono + 40
    assert not of(Fail, adapter.woken(at(30)))


# --- events ---


def test_an_order_that_cannot_be_read_costs_only_itself() -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(push({"category": "spot", "orderId": 5}, order("b")), NOW)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["b"]
    assert of(Note, outputs)


@pytest.mark.parametrize("odd", [{"symbol": None}, {"side": 7}, {"orderStatus": None}])
def test_an_order_that_its_frame_does_not_tell_is_asked_for(odd: dict[str, object]) -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(push(order("a", **odd), order("b")), NOW)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["b"]
    (asked,) = of(Call, outputs)
    assert (urlsplit(asked.url).path, params(asked)) == ("/v5/order/realtime", {"category": "spot", "orderId": "a"})
    assert "is asked for" in of(Note, outputs)[0].what
    (emit,) = of(Emit, adapter.answered(asked, answer({"list": [order("a", "Cancelled")]}), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_id, emit.event.order_status) == ("a", "CANCELED")


def test_a_status_that_no_page_lists_is_asked_for_and_not_told_as_cancelled() -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(push(order("a", "Halted", cumExecQty="1")), NOW)
    assert not of(Emit, outputs)
    assert of(Note, outputs) == [Note("order a: status Halted, which no page lists; it is asked for", "error")]
    (asked,) = of(Call, outputs)
    assert not of(Call, adapter.received(push(order("a", "Halted")), NOW))  # one question at a time
    (history,) = of(Call, adapter.answered(asked, answer({"list": []}), NOW))
    assert urlsplit(history.url).path == "/v5/order/history"
    (emit,) = of(Emit, adapter.answered(history, answer({"list": [order("a", "Filled", cumExecQty="2")]}), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.order_status == "FILLED"
    assert adapter.deadline() == NOW.mono + 20  # nothing but the ping


def test_a_status_that_rest_does_not_list_either_is_said_and_nothing_is_published() -> None:
    adapter, _ = joined(account())
    (asked,) = of(Call, adapter.received(push(order("a", "Halted")), NOW))
    outputs = adapter.answered(asked, answer({"list": [order("a", "Halted")]}), NOW)
    assert outputs == [Note("order a: order a: status Halted, which no page lists", "error")]


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        ("New", "NEW"),
        ("Created", "NEW"),
        ("Active", "NEW"),
        ("Untriggered", "NEW"),
        ("Triggered", "NEW"),
        ("PartiallyFilled", "PARTIALLY_FILLED"),
        ("Filled", "FILLED"),
        ("Cancelled", "CANCELED"),
        ("PartiallyFilledCanceled", "CANCELED"),
        ("Rejected", "CANCELED"),
        ("Deactivated", "CANCELED"),
    ],
)
def test_every_listed_status_has_its_name(status: str, ours: str) -> None:
    adapter, _ = joined(account())
    (emit,) = of(Emit, adapter.received(push(order("a", status)), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.order_status == ours


def test_one_odd_coin_of_a_wallet_costs_only_itself() -> None:
    adapter, _ = joined(account())
    coins = [{"coin": "BTC", "walletBalance": "1"}, {"coin": None, "walletBalance": "2"}, {"coin": "ETH", "locked": 7}]
    wallets = [{"accountType": 7}, {"accountType": "UNIFIED", "coin": [*coins, {"coin": "SOL", "walletBalance": "3"}]}]
    outputs = adapter.received(frame({"id": "w", "topic": "wallet", "creationTime": WALL, "data": wallets}), NOW)
    (emit,) = of(Emit, outputs)
    assert isinstance(emit.event, AccountPosition)
    assert [row.asset for row in emit.event.balances] == ["BTC", "SOL"]
    assert [note.what.split(" that")[0] for note in of(Note, outputs)] == ["2 coins of a wallet", "1 wallets"]


def test_an_unreadable_entry_of_another_category_is_nobodys_business() -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(push({"category": "option", "orderId": 5}, order("b")), NOW)
    assert len(of(Emit, outputs)) == 1
    assert not of(Note, outputs)


@pytest.mark.parametrize(
    ("fields", "fees"),
    [
        ({"cumFeeDetail": {"BTC": "0.0000001"}}, ("0.0000001", "BTC", None)),
        ({"cumFeeDetail": {"BTC": "0.1", "MNT": "2"}}, (None, None, [("BTC", "0.1"), ("MNT", "2")])),
        ({"cumFeeDetail": {"BTC": "-0.1"}}, (None, None, None)),
        ({"cumExecFee": "0.38", "feeCurrency": "USDT"}, ("0.38", "USDT", None)),
        ({"cumExecFee": "0.38"}, (None, None, None)),
        ({"cumExecFee": "0", "feeCurrency": "USDT"}, (None, None, None)),
    ],
)
def test_fees_are_told_where_the_frame_names_their_coin(fields: dict[str, Any], fees: tuple[object, ...]) -> None:
    adapter, _ = joined(account())
    (emit,) = of(Emit, adapter.received(push(order("b", "PartiallyFilled", **fields)), NOW))
    event = emit.event
    assert isinstance(event, ExecutionReport)
    body = json.loads(encode(event))
    parts = body.get("feeBreakdown")
    pairs = [(part["asset"], part["amount"]) for part in parts] if parts else None
    assert (body.get("feePaid"), body.get("feeAsset"), pairs) == fees


def test_a_derivatives_fee_is_in_the_settle_coin() -> None:
    table = SymbolTable([Instrument(wire="ETHUSDT", pair="ETHUSDT", settle="USDT")])
    adapter = VENUE.user(setup("bybitLinear", table))
    adapter.add(account("bybitLinear"), NOW)
    ask = of(Call, adapter.start(NOW))[0]
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    adapter.received(SUB_OK, NOW)
    row = order("b", "Filled", category="linear", symbol="ETHUSDT", cumExecFee="1.5")
    (emit,) = of(Emit, adapter.received(push(row), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.fee_paid, emit.event.fee_asset) == ("1.5", "USDT")


def test_the_first_balances_do_not_overwrite_a_newer_wallet_frame() -> None:
    adapter, outputs = joined(account())
    (call,) = of(Call, outputs)
    wallet = {"accountType": "UNIFIED", "coin": [{"coin": "USDT", "walletBalance": "5", "locked": "1"}]}
    live = frame({"id": "w", "topic": "wallet", "creationTime": WALL + 1, "data": [wallet]})
    assert len(of(Emit, adapter.received(live, NOW))) == 1
    assert not of(Emit, adapter.answered(call, answer({"list": [wallet]}), NOW))


def test_the_first_balances_are_published_once() -> None:
    adapter, outputs = joined(account())
    (call,) = of(Call, outputs)
    assert params(call) == {"accountType": "UNIFIED"}
    wallet = {"accountType": "UNIFIED", "coin": [{"coin": "USDT", "walletBalance": "5", "locked": "1"}]}
    (emit,) = of(Emit, adapter.answered(call, answer({"list": [wallet]}), NOW))
    assert isinstance(emit.event, AccountPosition)
    assert [(b.asset, b.free, b.locked) for b in emit.event.balances] == [("USDT", "4", "1")]


# --- gap repair ---

KNOWN = KnownOrder(order_id="old", client_order_id="GA-old", symbol="BTCUSDT", status="NEW", quantity="2")
RESUME = Resume(since_ms=WALL - 60_000, orders=(KNOWN,))


def drive(
    adapter: Adapter, outputs: Outputs, replies: Mapping[str, Sequence[object]], now: Instant = NOW
) -> tuple[list[Output], list[Call]]:
    """Answer every call; a reply that is no dict is a list of rows."""

    def wrap(given: Any) -> Answer:
        return answer(given if isinstance(given, dict) else {"list": given or []})

    return answer_all(adapter, outputs, replies, wrap, now)


def test_a_gap_is_read_in_steps_and_published_in_order_before_live() -> None:
    adapter, outputs = joined(account(resume=RESUME))
    assert not of(Live, outputs)
    live = push(order("new", "PartiallyFilled", cumExecQty="1", cumExecValue="100", updatedTime=str(WALL)))
    assert not of(Emit, adapter.received(live, NOW))  # held until the gap is read
    rest, calls = drive(
        adapter,
        outputs,
        {
            "open-orders": [[order("open", updated=WALL - 5000)]],
            "recent-orders": [[order("done", "Filled", WALL - 9000), order("older", "Filled", WALL - 99_000)]],
            "executions": [[{"orderId": "fill", "execType": "Trade"}, {"orderId": "f2", "execType": "Funding"}]],
            "order": [[order("fill", "Filled", WALL - 7000)], []],
            "order-history": [[order("old", "Cancelled", WALL - 3000)]],
            "wallet": [[{"accountType": "UNIFIED", "coin": [{"coin": "BTC", "walletBalance": "1"}]}]],
        },
    )
    emits = of(Emit, rest)
    ids = [emit.event.order_id if isinstance(emit.event, ExecutionReport) else "wallet" for emit in emits]
    assert ids == ["done", "fill", "open", "old", "wallet", "new"]
    assert [emit.repaired for emit in emits] == [True] * 5 + [False]
    (went_live,) = of(Live, rest)
    assert rest[-1] is went_live
    assert went_live.gap is not None
    assert (went_live.gap.orders, went_live.gap.balances, went_live.gap.missing) == (4, 1, ())
    singles = [params(call)["orderId"] for call in calls if call.tag == "order"]
    assert singles == ["fill", "old"]
    for call in calls:
        text = f"{call.headers['X-BAPI-TIMESTAMP']}AK20000{urlsplit(call.url).query}"
        assert call.headers["X-BAPI-SIGN"] == hmac_hex("SK", text)


def test_every_page_of_the_open_orders_is_read() -> None:
    adapter, outputs = joined(account(resume=RESUME))
    pages = [{"list": [order("a")], "nextPageCursor": "c%3D1"}, {"list": [order("old")], "nextPageCursor": ""}]
    rest, calls = drive(adapter, outputs, {"open-orders": pages})
    cursors = [params(call).get("cursor") for call in calls if call.tag == "open-orders"]
    assert cursors == [None, "c%3D1"]
    assert len(of(Emit, rest)) == 2


def test_linear_orders_are_read_for_both_settle_coins() -> None:
    adapter, outputs = joined(account("bybitLinear", RESUME), "bybitLinear")
    _, calls = drive(adapter, outputs, {})
    coins = [params(call)["settleCoin"] for call in calls if call.tag == "open-orders"]
    assert coins == ["USDT", "USDC"]


def test_a_gap_of_more_than_a_day_reads_the_history_too() -> None:
    _, outputs = joined(account(resume=Resume(since_ms=WALL - 2 * 86_400_000)))
    assert "past-orders" in [call.tag for call in of(Call, outputs)]
    _, outputs = joined(account(resume=RESUME))
    assert "past-orders" not in [call.tag for call in of(Call, outputs)]


def test_a_gap_beyond_the_venues_window_is_told() -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 9 * 86_400_000)))
    rest, calls = drive(adapter, outputs, {})
    starts = {params(call).get("startTime", "") for call in calls} - {""}
    assert starts == {str(WALL - 7 * 86_400_000)}
    (live,) = of(Live, rest)
    assert live.gap is not None
    assert any("7 days" in phrase for phrase in live.gap.missing)


def test_an_order_that_the_venue_forgot_is_reported_and_not_invented() -> None:
    adapter, outputs = joined(account(resume=RESUME))
    rest, calls = drive(adapter, outputs, {})
    assert [call.tag for call in calls][-3:] == ["order", "order-history", "order-by-client"]
    (live,) = of(Live, rest)
    assert live.gap is not None
    assert any("old" in phrase for phrase in live.gap.missing)
    assert not of(Emit, rest)


def gap_of(outputs: list[Output]) -> GapReport:
    (live,) = of(Live, outputs)
    assert live.gap is not None
    return live.gap


@pytest.mark.parametrize(
    "kind", ["Funding", "Settle", "Delivery", "SessionSettlePnL", "MovePosition", "CorporateAction"]
)
def test_an_execution_behind_which_no_order_stands_costs_no_question_and_no_false_alarm(kind: str) -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000)))
    rest, calls = drive(adapter, outputs, {"executions": [[{"orderId": "ca-1", "execType": kind}]]})
    assert "order" not in [call.tag for call in calls]
    assert gap_of(rest).missing == ()


def test_one_odd_row_of_each_list_costs_only_itself_and_is_named() -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000)))
    coins = [{"coin": "BTC", "walletBalance": "1"}, {"coin": None}]
    rest, _ = drive(
        adapter,
        outputs,
        {
            "open-orders": [[order("open"), order("x", symbol=None)]],
            "recent-orders": [[7, order("done", "Filled")]],
            "executions": [[{"orderId": 7}, {"orderId": "fill", "execType": "Trade"}]],
            "order": [[order("fill", "Filled")]],
            "wallet": [[{"accountType": "UNIFIED", "coin": coins}, None]],
        },
    )
    told = [emit.event for emit in of(Emit, rest)]
    assert sorted(str(event.order_id) for event in told if isinstance(event, ExecutionReport)) == [
        "done",
        "fill",
        "open",
    ]
    assert [row.asset for event in told if isinstance(event, AccountPosition) for row in event.balances] == ["BTC"]
    assert [phrase.split(" that")[0] for phrase in gap_of(rest).missing] == [
        "orders: 1 orders",
        "orders: 1 orders",
        "executions: 1 fills",
        "wallet: 1 coins",
        "wallet: 1 accounts",
    ]


def test_a_status_that_no_page_lists_is_named_in_a_gap() -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000)))
    rest, _ = drive(adapter, outputs, {"open-orders": [[order("a", "Halted")]]})
    assert not of(Emit, rest)
    assert gap_of(rest).missing == ("order a: status Halted, which no page lists",)


def test_answers_of_another_shape_do_not_stop_a_gap() -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000)))
    odd = answer({"list": {"no": "list"}})
    rest, _ = drive(adapter, outputs, {tag: [odd] for tag in ("open-orders", "executions", "wallet", "recent-orders")})
    assert len(gap_of(rest).missing) == 4


def test_only_so_many_orders_are_asked_for_and_the_others_are_counted() -> None:
    known = [
        KnownOrder(order_id=f"o{n}", client_order_id="", symbol="BTCUSDT", status="NEW")
        for n in range(MAX_SINGLES + 30)
    ]
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000, orders=tuple(known))))
    rest, calls = drive(adapter, outputs, {})
    assert sum(call.tag == "order" for call in calls) == MAX_SINGLES
    missing = gap_of(rest).missing
    assert missing[0] == "30 further orders that no list of the venue shows: not asked for"
    assert len(missing) == MAX_SINGLES + 1


def test_a_rate_limit_waits_for_the_venues_window_and_signs_again() -> None:
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 1000)))
    limited = answer({}, 10006, "Too many visits!", x_bapi_limit_reset_timestamp=str(WALL + 3000))
    rest, _ = drive(adapter, outputs, {"wallet": [limited]})
    assert not of(Live, rest)
    assert adapter.deadline() == NOW.mono + 3
    (again,) = of(Call, adapter.woken(at(3)))
    assert (again.tag, again.attempt, again.headers["X-BAPI-TIMESTAMP"]) == ("wallet", 2, str(WALL + 3000))
    assert of(Live, adapter.answered(again, answer({"list": []}), at(3)))


def test_a_call_that_is_never_answered_does_not_keep_the_stream_from_going_live() -> None:
    adapter, _ = joined(account(resume=RESUME))
    (live,) = of(Live, adapter.woken(at(26)))
    assert live.gap is not None
    assert any(phrase.startswith("open-orders") for phrase in live.gap.missing)


@pytest.mark.parametrize(
    ("exchange", "status", "kind"),
    [
        ("bybit", 1, "SPOT"),
        ("bybitInverse", 1, "CONTRACT"),
        ("bybitInverse", 3, "CONTRACT"),
        ("bybitInverse", 4, "CONTRACT"),
        ("bybitLinear", 4, "UNIFIED"),
        ("bybitInverse", 5, "UNIFIED"),
        ("bybitInverse", 0, "UNIFIED"),
        ("bybitInverse", 99, "UNIFIED"),
    ],
)
def test_the_wallet_of_the_right_account_is_read(exchange: str, status: int, kind: str) -> None:
    _, outputs = joined(account(exchange), exchange, status)
    (call,) = of(Call, outputs)
    assert params(call)["accountType"] == kind


def test_a_live_update_is_published_before_and_after_repair_in_order() -> None:
    adapter, _ = joined(account())
    first = of(Emit, adapter.received(push(order("a")), NOW))
    assert [emit.repaired for emit in first] == [False]


# --- tickers ---


def ticker_adapter(exchange: str, *symbols: str) -> tuple[Adapter, list[Output]]:
    adapter = VENUE.ticker(setup(exchange))
    adapter.add(TickerSubscription(stream_id="t1", exchange=exchange, symbols=symbols), NOW)
    assert of(Connect, adapter.start(NOW))
    return adapter, list(adapter.connected(NOW))


def ack(request: Mapping[str, object], text: str = "", *, success: bool = True) -> bytes:
    return frame({"success": success, "ret_msg": text, "conn_id": "c", "req_id": request["req_id"], "op": "subscribe"})


def test_spot_topics_go_out_ten_a_request_and_live_waits_for_all() -> None:
    adapter, outputs = ticker_adapter("bybit", *(f"S{n}USDT" for n in range(25)))
    requests = sent(outputs)
    assert [len(request["args"]) for request in requests] == [10, 10, 5]  # type: ignore[arg-type]
    assert not of(Live, adapter.received(ack(requests[0]), NOW))
    assert not of(Live, adapter.received(ack(requests[2]), NOW))
    assert of(Live, adapter.received(ack(requests[1]), NOW)) == [Live("t1")]


def test_a_bad_topic_is_dropped_and_the_rest_of_its_batch_asked_again() -> None:
    adapter, outputs = ticker_adapter("bybit", "AUSDT", "XUSDT", "BUSDT")
    (request,) = sent(outputs)
    reply = ack(request, "error:handler not found,topic:tickers.XUSDT", success=False)
    outputs = list(adapter.received(reply, NOW))
    assert not of(Fail, outputs)
    (again,) = sent(outputs)
    assert again["args"] == ["tickers.AUSDT", "tickers.BUSDT"]
    assert of(Live, adapter.received(ack(again), NOW))


def test_already_subscribed_never_ends_the_connection() -> None:
    adapter, outputs = ticker_adapter("bybitLinear", "AUSDT", "BUSDT")
    (request,) = sent(outputs)
    outputs = list(adapter.received(ack(request, "error:already subscribed,topic:tickers.AUSDT", success=False), NOW))
    assert [note.level for note in of(Note, outputs)] == ["info"]
    (again,) = sent(outputs)
    assert again["args"] == ["tickers.BUSDT"]
    outputs = list(adapter.received(ack(again, "error:already subscribed,topic:tickers.BUSDT", success=False), NOW))
    assert of(Live, outputs)


def test_a_refusal_that_names_no_topic_is_narrowed_down() -> None:
    symbols = ["AUSDT", "BUSDT", "XUSDT", "CUSDT"]
    adapter, outputs = ticker_adapter("bybitLinear", *symbols)
    todo, got = sent(outputs), set[str]()
    live: list[Live] = []
    for _ in range(20):
        if not todo:
            break
        request = todo.pop(0)
        topics = list(request["args"])  # type: ignore[call-overload]
        bad = "tickers.XUSDT" in topics
        outputs = list(adapter.received(ack(request, "params format error" if bad else "", success=not bad), NOW))
        got |= set() if bad else set(topics)
        todo += sent(outputs)
        live += of(Live, outputs)
    assert got == {"tickers.AUSDT", "tickers.BUSDT", "tickers.CUSDT"}
    assert len(live) == 1


def test_a_shard_whose_every_symbol_is_unknown_is_refused() -> None:
    adapter, outputs = ticker_adapter("bybitLinear", "XUSDT")
    (request,) = sent(outputs)
    reply = ack(request, "error:handler not found,topic:tickers.XUSDT", success=False)
    (fail,) = of(Fail, adapter.received(reply, NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "t1")


def test_an_unanswered_subscribe_ends_the_connection() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "AUSDT")
    assert of(Fail, adapter.woken(at(10)))[0].kind is FailKind.TRANSIENT


def ticker_frame(kind: str, symbol: str = "ETHUSDT", **data: str) -> bytes:
    value = {"topic": f"tickers.{symbol}", "type": kind, "ts": WALL, "cs": 1, "data": {"symbol": symbol, **data}}
    return frame(value)


def test_deltas_are_merged_and_only_those_with_a_price_are_published() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "ETHUSDT")
    assert adapter.received(ticker_frame("delta", lastPrice="1"), NOW) == [Seen("t1")]  # before any snapshot
    adapter.received(ticker_frame("snapshot", lastPrice="10", volume24h="7", ask1Size="3", bid1Size="4"), NOW)
    assert adapter.received(ticker_frame("delta", bid1Size="5", volume24h="8"), NOW) == [Seen("t1")]
    (emit,) = of(EmitTickers, adapter.received(ticker_frame("delta", lastPrice="11"), NOW))
    (ticker,) = emit.tickers
    assert (ticker.price, ticker.best_ask, ticker.best_bid) == (11.0, 11.0, 11.0)
    assert (ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (8.0, 3.0, 5.0)
    assert ticker.event_time == WALL


@pytest.mark.parametrize("price", ["", "0", "0.000", "nan", "-1", "x"])
def test_a_ticker_without_a_price_is_only_a_sign_of_life(price: str) -> None:
    adapter, _ = ticker_adapter("bybit", "ETHUSDT")
    assert adapter.received(ticker_frame("snapshot", lastPrice=price), NOW) == [Seen("t1")]


def test_a_new_snapshot_replaces_what_was_merged() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "ETHUSDT")
    adapter.received(ticker_frame("snapshot", lastPrice="10", ask1Size="3", bid1Size="4"), NOW)
    (emit,) = of(EmitTickers, adapter.received(ticker_frame("snapshot", lastPrice="12"), NOW))
    assert (emit.tickers[0].best_ask_qnt, emit.tickers[0].best_bid_qnt) == (0.0, 0.0)


def test_shards_stay_under_the_argument_length_and_hold_every_active_symbol() -> None:
    table = SymbolTable(
        [Instrument(wire=f"SYMBOL{n:05}USDT", pair=f"SYMBOL{n:05}USDT", active=n % 7 > 0) for n in range(2500)]
    )
    shards = VENUE.ticker_shards("bybitLinear", table)
    assert sorted(symbol for shard in shards for symbol in shard) == sorted(i.wire for i in table.active())
    assert all(sum(len(f'"tickers.{symbol}",') for symbol in shard) <= 20_000 for shard in shards)
    assert len(shards) == 3
    assert VENUE.ticker_shards("bybit", EMPTY) == []


def test_the_same_shard_with_other_symbols_changes_what_is_subscribed() -> None:
    adapter, outputs = ticker_adapter("bybitLinear", "AUSDT", "BUSDT")
    adapter.received(ack(sent(outputs)[0]), NOW)
    again = TickerSubscription(stream_id="t1", exchange="bybitLinear", symbols=("BUSDT", "CUSDT"))
    frames = sent(adapter.add(again, NOW))
    assert [(f["op"], f["args"]) for f in frames] == [
        ("unsubscribe", ["tickers.AUSDT"]),
        ("subscribe", ["tickers.CUSDT"]),
    ]


# --- candles ---


def kline(interval: str, start: int, *, confirm: bool, symbol: str = "ETHUSDT") -> bytes:
    row = {
        "start": start,
        "end": start + 59_999,
        "interval": interval,
        "open": "1",
        "high": "4",
        "low": "0.5",
        "close": "2",
        "volume": "9",
        "confirm": confirm,
        "timestamp": start + 1,
    }
    return frame({"topic": f"kline.{interval}.{symbol}", "type": "snapshot", "ts": start + 1, "data": [row]})


def candle(stream_id: str, interval: str, resume: int | None = None) -> CandleSubscription:
    return CandleSubscription(
        stream_id=stream_id, exchange="bybitLinear", symbol="ETHUSDT", interval=interval, resume_start_ms=resume
    )


def test_closed_candles_go_out_once_under_the_spelling_that_was_asked_for() -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "60"), NOW)
    adapter.add(candle("c2", "1h"), NOW)
    (request,) = sent(adapter.connected(NOW))
    assert request["args"] == ["kline.60.ETHUSDT"]  # one topic for both
    assert of(Live, adapter.received(ack(request), NOW)) == [Live("c1"), Live("c2")]
    assert adapter.received(kline("60", WALL, confirm=False), NOW) == [Seen("c1"), Seen("c2")]
    emits = of(EmitCandle, adapter.received(kline("60", WALL, confirm=True), NOW))
    assert [(e.stream_id, e.symbol, e.interval) for e in emits] == [("c1", "ETHUSDT", "60"), ("c2", "ETHUSDT", "1h")]
    assert not of(EmitCandle, adapter.received(kline("60", WALL, confirm=True), NOW))


def test_candles_are_added_and_removed_while_connected() -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.connected(NOW)
    (request,) = sent(adapter.add(candle("c1", "D"), NOW))
    assert request["args"] == ["kline.D.ETHUSDT"]
    adapter.received(ack(request), NOW)
    assert of(Live, adapter.add(candle("c2", "1d"), NOW)) == [Live("c2")]
    assert not sent(adapter.remove("c1", NOW))  # c2 still needs the topic
    (leave,) = sent(adapter.remove("c2", NOW))
    assert (leave["op"], leave["args"]) == ("unsubscribe", ["kline.D.ETHUSDT"])


def test_an_unknown_symbol_ends_only_its_own_candles() -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "60"), NOW)
    adapter.add(candle("c2", "5"), NOW)
    (request,) = sent(adapter.connected(NOW))
    reply = ack(request, "error:handler not found,topic:kline.60.ETHUSDT", success=False)
    outputs = list(adapter.received(reply, NOW))
    assert [(f.kind, f.stream_id) for f in of(Fail, outputs)] == [(FailKind.REQUEST, "c1")]
    assert of(Live, adapter.received(ack(sent(outputs)[0]), NOW)) == [Live("c2")]


def test_candles_missed_during_a_reconnect_are_read_over_rest_before_live_ones() -> None:
    minute = 60_000
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "1", WALL - 5 * minute), NOW)
    (request,) = sent(adapter.connected(NOW))
    (call,) = of(Call, adapter.received(ack(request), NOW))
    query = params(call)
    assert (query["symbol"], query["interval"], query["category"]) == ("ETHUSDT", "1", "linear")
    assert int(query["start"]) > WALL - 5 * minute
    assert adapter.received(kline("1", WALL - minute, confirm=True), NOW) == [Seen("c1")]
    rows = [[str(WALL - n * minute), "1", "4", "0.5", "2", "9", "18"] for n in range(5)]  # newest first, one running
    outputs = list(adapter.answered(call, answer({"list": rows}), NOW))
    starts = [(e.candle.start - WALL) // minute for e in of(EmitCandle, outputs)]
    assert starts == [-4, -3, -2, -1]
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (4, ())


def test_a_candle_repair_without_an_answer_goes_live_and_says_so() -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "1", WALL - 300_000), NOW)
    (request,) = sent(adapter.connected(NOW))
    (call,) = of(Call, adapter.received(ack(request), NOW))
    (live,) = of(Live, adapter.woken(at(BUDGET_S)))
    assert live.gap is not None
    assert live.gap.missing
    assert not adapter.answered(call, answer({"list": []}), at(BUDGET_S + 1))


@pytest.mark.parametrize("interval", ["8hour", "8h", "candle1H", "2", "1M", "", "60m", "d"])
def test_intervals_that_the_venue_lacks_are_refused_in_one_sentence(interval: str) -> None:
    refusal = VENUE.candle_refusal("bybit", "BTCUSDT", interval, EMPTY)
    assert refusal is not None
    assert repr(interval) in refusal
    assert "\n" not in refusal


def test_both_spellings_of_every_interval_are_served() -> None:
    for interval in [*INTERVALS, *GENERIC]:
        assert VENUE.candle_refusal("bybit", "BTCUSDT", interval, EMPTY) is None
    assert set(GENERIC.values()) == set(INTERVALS)


def test_an_unknown_symbol_is_refused_once_the_table_is_there() -> None:
    table = SymbolTable([Instrument(wire="BTCUSDT", pair="BTCUSDT")])
    assert VENUE.candle_refusal("bybit", "BTCUSDT", "60", table) is None
    refusal = VENUE.candle_refusal("bybit", "BTC-USDT", "60", table)
    assert refusal is not None
    assert "BTC-USDT" in refusal


# --- instruments ---


def test_every_page_of_the_symbol_list_is_followed() -> None:
    loader = VENUE.instruments("bybitLinear", {})
    (first,) = loader.start()
    row = {"baseCoin": "BTC", "quoteCoin": "USDT", "settleCoin": "USDT", "contractType": "LinearPerpetual"}
    one = [{**row, "symbol": "BTCUSDT", "status": "Trading"}]
    two = [{**row, "symbol": "NEWUSDT", "status": "PreLaunch"}]
    (second,) = loader.answered(first, answer({"category": "linear", "list": one, "nextPageCursor": "p2"}))
    assert params(second)["cursor"] == "p2"
    assert loader.result() is None
    assert not loader.answered(second, answer({"category": "linear", "list": two, "nextPageCursor": ""}))
    found = loader.result()
    assert found is not None
    assert [(i.wire, i.settle, i.active) for i in found] == [("BTCUSDT", "USDT", True), ("NEWUSDT", "USDT", False)]


def test_an_unusable_symbol_list_gives_no_result() -> None:
    for reply in (Answer(0, {}, b"", "timed out"), answer({}, 10006), Answer(200, {}, b"<html>"), answer({"list": 5})):
        loader = VENUE.instruments("bybit", {})
        loader.answered(loader.start()[0], reply)
        assert loader.result() is None


@pytest.mark.parametrize("feed", ["user", "ticker", "candle"])
@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"topic":5}', b"null"])
def test_garbage_costs_only_itself(feed: Feed, garbage: bytes) -> None:
    adapter, _ = VENUE.replay("bybit", feed, {})
    outputs = adapter.received(garbage, NOW)
    assert all(isinstance(output, Note) for output in outputs)


# --- one odd row ---


def test_one_odd_symbol_does_not_cost_the_list() -> None:
    loader = VENUE.instruments("bybitLinear", {})
    (call,) = loader.start()
    good = {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "settleCoin": "USDT", "status": "Trading"}
    rows = [
        {**good, "symbol": "N", "settleCoin": None},
        {**good, "symbol": None},
        7,
        good,
        {**good, "symbol": "O", "status": None},
    ]
    assert not loader.answered(call, answer({"list": rows}))
    found = loader.result()
    assert found is not None
    assert [(item.wire, item.settle, item.active) for item in found] == [
        ("N", "USDT", True),
        ("BTCUSDT", "USDT", True),
        ("O", "USDT", False),
    ]


def test_a_page_of_nothing_but_odd_symbols_is_followed_and_is_no_list() -> None:
    loader = VENUE.instruments("bybitLinear", {})
    (call,) = loader.start()
    (again,) = loader.answered(call, answer({"list": [7], "nextPageCursor": "c"}))
    assert not loader.answered(again, answer({"list": [{"symbol": None}]}))
    assert loader.result() is None


def test_a_null_size_costs_neither_the_price_nor_what_was_known() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "ETHUSDT")
    snapshot = {"symbol": "ETHUSDT", "lastPrice": "10", "volume24h": "5", "bid1Size": None, "ask1Size": "2"}
    outputs = [
        adapter.received(frame({"topic": "tickers.ETHUSDT", "ts": WALL, "type": kind, "data": data}), NOW)
        for kind, data in (
            ("snapshot", snapshot),
            ("delta", {"symbol": "ETHUSDT", "lastPrice": "11", "volume24h": None, "ask1Size": None}),
            ("delta", {"symbol": "ETHUSDT", "lastPrice": None, "ask1Size": "3"}),
        )
    ]
    told = [ticker for output in outputs for emit in of(EmitTickers, output) for ticker in emit.tickers]
    assert [(ticker.price, ticker.volume, ticker.best_bid_qnt, ticker.best_ask_qnt) for ticker in told] == [
        (10, 5, 0, 2),
        (11, 5, 0, 2),
    ]
    assert of(Seen, outputs[2])


def test_one_odd_candle_of_a_frame_or_an_answer_costs_only_itself() -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c", "1m", resume=WALL - 10 * 60_000), NOW)
    (request,) = sent([*adapter.start(NOW), *adapter.connected(NOW)])
    (call,) = of(Call, adapter.received(ack(request), NOW))
    start = WALL - WALL % 60_000 - 300_000
    rows = [
        [str(start), "1", "2", "1", "2", "9"],
        ["x", "1"],
        None,
        [str(start - 60_000), None, "2", "1", "2", "9"],
        [str(start - 120_000), "", "", "", "", ""],
    ]
    outputs = adapter.answered(call, answer({"list": rows}), NOW)
    assert [emit.candle.start for emit in of(EmitCandle, outputs)] == [start]
    row = {"start": start + 60_000, "open": "1", "high": "2", "low": "1", "close": "2", "volume": "3", "confirm": True}
    pushed = frame({"topic": "kline.1.ETHUSDT", "data": [{**row, "start": None}, {**row, "close": ""}, row]})
    outputs = adapter.received(pushed, NOW)
    assert [emit.candle.start for emit in of(EmitCandle, outputs)] == [start + 60_000]
    assert of(Note, outputs)
