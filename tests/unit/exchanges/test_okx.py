"""OKX: key check, login, acknowledgements, pings, gap repair, refusals, candles, driven without a socket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pytest

from exchanges._adapter import (
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
    Instant,
    KnownOrder,
    Live,
    Note,
    Output,
    Outputs,
    Resume,
    Rotate,
    Seen,
    Send,
    TickerSubscription,
    UserSubscription,
)
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.okx import VENUE
from exchanges.okx._candle import CandleAdapter
from exchanges.okx._connection import ARGS_PER_FRAME, BURST
from exchanges.okx._intervals import HOUR_MS
from exchanges.okx._symbols import Loader, of_context
from exchanges.okx._ticker import TickerAdapter
from exchanges.okx._user import USE_KEY_EVERY_S, UserAdapter
from tests.unit.exchanges.driver import after, frame, hmac_base64, json_answer, of, params, sent, setup

WALL = 1_795_300_000_000
NOW = Instant(1_000.0, WALL)
at = partial(after, NOW)

TABLE = SymbolTable(
    of_context(
        {
            "BTC-USDT-SWAP": {
                "ctType": "linear",
                "ctVal": "0.01",
                "ctMult": "1",
                "ctValCcy": "BTC",
                "settleCcy": "USDT",
            },
            "BTC-USD-SWAP": {"ctType": "inverse", "ctVal": "100", "ctMult": "1", "ctValCcy": "USD", "settleCcy": "BTC"},
            "BTC-USD_UM_XPERP-310404": {
                "ctType": "linear",
                "ruleType": "xperp",
                "instType": "FUTURES",
                "ctValCcy": "BTC",
                "settleCcy": "USD",
            },
        }
    )
)
SPOT = SymbolTable([Instrument(wire="BTC-USDT", pair="BTC-USDT", base="BTC", quote="USDT", kind="spot")])


def account(exchange: str = "okx", resume: Resume | None = None, **options: str | None) -> UserSubscription:
    keys = credentials("AK", "SK", "PP", **options)
    return UserSubscription(stream_id="u1", exchange=exchange, credentials=keys, resume=resume)


def answer(data: object = (), code: str = "0", text: str = "", status: int = 200, **headers: str) -> Answer:
    return json_answer({"code": code, "msg": text, "data": data}, status, **headers)


def order(**changes: str) -> dict[str, str]:
    fields = {
        "instType": "SPOT",
        "instId": "BTC-USDT",
        "ordId": "1",
        "clOrdId": "GABO1",
        "side": "buy",
        "ordType": "limit",
        "px": "100",
        "sz": "2",
        "state": "live",
        "accFillSz": "0",
        "avgPx": "",
        "category": "normal",
        "cTime": str(WALL - 60_000),
        "uTime": str(WALL - 1_000),
    }
    return fields | changes


def orders(*rows: Mapping[str, str], kind: str = "SPOT") -> bytes:
    return frame({"arg": {"channel": "orders", "instType": kind}, "data": rows})


def balances(time_ms: int, **free: str) -> dict[str, object]:
    details = [{"ccy": ccy, "availBal": value, "frozenBal": "0", "fixedBal": "0"} for ccy, value in free.items()]
    return {"uTime": str(time_ms), "details": details}


def account_frame(time_ms: int, **free: str) -> bytes:
    return frame({"arg": {"channel": "account"}, "eventType": "event_update", "data": [balances(time_ms, **free)]})


class Drive:
    """An account adapter with its outstanding calls."""

    def __init__(self, subscription: UserSubscription, made: Setup | None = None) -> None:
        self.adapter = UserAdapter(made or setup(subscription.exchange))
        self.calls: list[Call] = []
        self.adapter.add(subscription, NOW)
        self.outputs = self.note(self.adapter.start(NOW))
        self.connect = of(Connect, self.outputs)
        if self.connect:
            self.note(self.adapter.connected(NOW))

    def note(self, outputs: Outputs) -> Outputs:
        self.calls += of(Call, outputs)
        self.outputs = outputs
        return outputs

    def feed(self, value: object, now: Instant = NOW) -> Outputs:
        return self.note(self.adapter.received(frame(value), now))

    def reply(self, tag: str, given: Answer, now: Instant = NOW, where: str = "") -> Outputs:
        call = next(call for call in self.calls if call.tag == tag and where in call.url)
        self.calls.remove(call)
        return self.note(self.adapter.answered(call, given, now))

    def login(self) -> Outputs:
        self.reply("config", answer([{"acctLv": "1"}]))
        return self.feed({"event": "login", "code": "0", "msg": "", "connId": "c"})

    def acknowledge(self) -> Outputs:
        outputs: Outputs = []
        for request in sent(self.outputs):
            for arg in request["args"]:
                outputs = self.feed({"id": request["id"], "event": "subscribe", "arg": arg, "connId": "c"})
        return outputs

    def join(self) -> Outputs:
        self.login()
        return self.acknowledge()


# --- accounts: hosts and signatures ---


@pytest.mark.parametrize(
    ("source", "options", "environment", "ws", "rest"),
    [
        (None, {}, None, "wss://ws.okx.com:8443/ws/v5/private", "https://openapi.okx.com"),
        ("com", {"ENVOKX": "sandbox"}, None, "wss://wspap.okx.com:8443/ws/v5/private", "https://openapi.okx.com"),
        ("my", {}, None, "wss://wseea.okx.com:8443/ws/v5/private", "https://eea.okx.com"),
        ("my", {"ENVOKX": "sandbox"}, None, "wss://wseeapap.okx.com:8443/ws/v5/private", "https://eea.okx.com"),
        ("app", {}, None, "wss://wsus.okx.com:8443/ws/v5/private", "https://us.okx.com"),
        ("app", {}, "sandbox", "wss://wsuspap.okx.com:8443/ws/v5/private", "https://us.okx.com"),
        ("unheard", {}, None, "wss://ws.okx.com:8443/ws/v5/private", "https://openapi.okx.com"),
    ],
)
def test_a_key_is_used_where_it_lives(source, options, environment, ws, rest):
    drive = Drive(account(okx_source=source, environment=environment), setup("okx", **options))
    assert drive.calls[0].url == f"{rest}/api/v5/account/config"
    demo = "sandbox" in (environment, options.get("ENVOKX"))
    assert (drive.calls[0].headers.get("x-simulated-trading") == "1") is demo
    assert drive.connect == [Connect(ws)]


def test_the_login_frame_and_the_rest_headers_are_signed_as_documented():
    drive = Drive(account())
    call = drive.calls[0]
    moment = call.headers["OK-ACCESS-TIMESTAMP"]
    assert moment == "2026-11-21T22:26:40.000Z"
    text = f"{moment}GET/api/v5/account/config"
    assert call.headers["OK-ACCESS-SIGN"] == hmac_base64("SK", text)
    assert (call.headers["OK-ACCESS-KEY"], call.headers["OK-ACCESS-PASSPHRASE"]) == ("AK", "PP")
    (login,) = sent(drive.reply("config", answer()))
    (arg,) = login["args"]
    text = f"{WALL // 1000}GET/users/self/verify"
    assert login["op"] == "login"
    assert arg == {
        "apiKey": "AK",
        "passphrase": "PP",
        "timestamp": str(WALL // 1000),
        "sign": hmac_base64("SK", text),
    }
    assert "SK" not in repr(drive.outputs)


def test_missing_material_is_refused_without_a_call():
    adapter = UserAdapter(setup("okx"))
    adapter.add(UserSubscription(stream_id="u1", exchange="okx", credentials=credentials("AK", "SK")), NOW)
    (fail,) = of(Fail, adapter.start(NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")


# --- accounts: joining ---


@pytest.mark.parametrize(
    ("exchange", "source", "kinds"),
    [
        ("okx", "my", ["SPOT"]),
        ("okxLinear", None, ["SWAP", "FUTURES"]),
        ("okxLinear", "com", ["SWAP", "FUTURES"]),
        ("okxLinear", "app", ["SWAP", "FUTURES"]),
        ("okxLinear", "my", ["SWAP", "FUTURES"]),
        ("okxInverse", "my", ["SWAP"]),
    ],
)
def test_the_channels_of_an_account(exchange, source, kinds):
    drive = Drive(account(exchange, okx_source=source))
    args = [arg for request in sent(drive.login()) for arg in request["args"]]
    assert args[0] == {"channel": "account", "extraParams": '{"updateInterval": "0"}'}
    assert args[1:] == [{"channel": "orders", "instType": kind} for kind in kinds]
    assert of(Live, drive.acknowledge()) == [Live("u1")]


def test_live_only_after_every_acknowledgement():
    drive = Drive(account())
    drive.login()
    assert not of(Live, drive.feed({"event": "subscribe", "arg": {"channel": "account"}}))
    assert not of(Live, drive.feed({"event": "subscribe", "arg": {"channel": "account"}}))
    assert of(Live, drive.feed({"event": "subscribe", "arg": {"channel": "orders", "instType": "SPOT"}}))


def test_a_missing_acknowledgement_is_asked_for_again_and_then_ends_the_connection():
    drive = Drive(account())
    drive.login()
    drive.feed({"event": "subscribe", "arg": {"channel": "account"}})
    (again,) = sent(drive.adapter.woken(at(5.1)))
    assert again["args"] == [{"channel": "orders", "instType": "SPOT"}]
    (fail,) = of(Fail, drive.adapter.woken(at(10.3)))
    assert fail.kind is FailKind.TRANSIENT
    assert fail.stream_id is None


def test_an_account_without_x_perps_still_gets_its_swaps():
    drive = Drive(account("okxLinear", okx_source="my"))
    requests = sent(drive.login())
    for request in requests[:2]:
        drive.feed({"id": request["id"], "event": "subscribe", "arg": request["args"][0]})
    outputs = drive.feed({"id": requests[2]["id"], "event": "error", "code": "60018", "msg": "no such channel"})
    assert of(Live, outputs)
    assert of(Note, outputs)[0].level == "error"


@pytest.mark.parametrize("code", ["50101", "50105", "50110", "50111", "50113", "50119", "50120"])
def test_a_dead_key_is_seen_over_rest_before_the_login(code):
    drive = Drive(account())
    (fail,) = of(Fail, drive.reply("config", answer(code=code, text="no", status=401)))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "u1", True)
    assert code in fail.reason
    assert not sent(drive.outputs)


@pytest.mark.parametrize(
    "given", [answer(status=502), answer(code="50001"), Answer(0, {}, b"", "timeout"), answer(code="50011")]
)
def test_rest_trouble_does_not_hold_the_stream(given):
    drive = Drive(account())
    assert sent(drive.reply("config", given))[0]["op"] == "login"


def test_a_silent_rest_service_does_not_hold_the_stream():
    drive = Drive(account())
    assert drive.adapter.deadline() == pytest.approx(NOW.mono + 5)
    assert sent(drive.adapter.woken(at(5.1)))[0]["op"] == "login"
    assert drive.reply("config", answer()) == []


def test_a_wrong_clock_is_corrected_before_the_login():
    drive = Drive(account())
    drive.reply("config", answer(code="50102", text="Timestamp request expired", status=401))
    assert drive.reply("time", answer([{"ts": str(WALL + 90_000)}]))[0] == ClockOffset(90_000)
    assert drive.calls[0].headers["OK-ACCESS-TIMESTAMP"] == "2026-11-21T22:28:10.000Z"
    (login,) = sent(drive.reply("config", answer()))
    assert login["args"][0]["timestamp"] == str(WALL // 1000 + 90)


def test_after_a_refused_timestamp_a_new_connection_logs_in_not_the_old_one_twice():
    """One login a connection: the second would be answered 60031, which says nothing about the key."""
    drive = Drive(account())
    drive.reply("config", answer())
    assert not sent(drive.feed({"event": "error", "code": "60006", "msg": "Timestamp request expired"}))
    outputs = drive.reply("time", answer([{"ts": str(WALL + 90_000)}]))
    assert of(ClockOffset, outputs) == [ClockOffset(90_000)]
    assert not sent(outputs)
    (fail,) = of(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


@pytest.mark.parametrize("code", ["60031", "60010"])
def test_a_repeated_login_says_nothing_about_the_key(code):
    drive = Drive(account())
    drive.reply("config", answer())
    (fail,) = of(Fail, drive.feed({"event": "error", "code": code, "msg": "multiple login", "connId": "c"}))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


@pytest.mark.parametrize("code", ["60005", "60007", "60024", "60032"])
def test_a_refused_login_opens_the_breaker(code):
    drive = Drive(account())
    drive.reply("config", answer(status=503))
    (fail,) = of(Fail, drive.feed({"event": "error", "code": code, "msg": "no", "connId": "c"}))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "u1", True)


def test_login_failed_proves_nothing_when_the_key_works_over_rest():
    drive = Drive(account())
    drive.reply("config", answer())
    (fail,) = of(Fail, drive.feed({"event": "error", "code": "60009", "msg": "Login failed."}))
    assert fail.kind is FailKind.TRANSIENT
    unproven = Drive(account())
    unproven.reply("config", answer(status=503))
    (fail,) = of(Fail, unproven.feed({"event": "error", "code": "60009", "msg": "Login failed."}))
    assert (fail.kind, fail.first_sight) == (FailKind.CREDENTIAL, False)


def test_too_many_connections_on_a_channel_waits_a_minute():
    drive = Drive(account())
    drive.join()
    (fail,) = of(Fail, drive.feed({"event": "channel-conn-count-error", "channel": "orders", "connCount": "30"}))
    assert (fail.kind, fail.retry_after_s, fail.stream_id) == (FailKind.RATE_LIMITED, 60.0, None)


def test_a_service_upgrade_asks_for_a_replacement():
    drive = Drive(account())
    drive.join()
    outputs = drive.feed(
        {"event": "notice", "code": "64008", "msg": "The connection will soon be closed", "connId": "c"}
    )
    assert len(of(Rotate, outputs)) == 1
    assert not of(Rotate, drive.feed({"event": "notice", "code": "64009", "msg": "?"}))


def test_pings_are_text_and_a_missing_pong_ends_the_connection():
    drive = Drive(account())
    drive.join()
    assert drive.adapter.deadline() == pytest.approx(NOW.mono + 20)
    assert Send("ping", urgent=True) in drive.adapter.woken(at(20))
    assert drive.adapter.received(b"pong", at(20.1)) == []
    assert Send("ping", urgent=True) in drive.adapter.woken(at(40))
    (fail,) = of(Fail, drive.adapter.woken(at(50)))
    assert fail.kind is FailKind.TRANSIENT


def test_a_quiet_key_is_used_once_a_day():
    drive = Drive(account())
    drive.join()
    drive.adapter.received(b"pong", at(USE_KEY_EVERY_S))
    calls = of(Call, drive.adapter.woken(at(USE_KEY_EVERY_S)))
    assert [call.tag for call in calls] == ["use key"]
    assert calls[0].headers["OK-ACCESS-SIGN"]
    assert drive.adapter.answered(calls[0], answer(), at(USE_KEY_EVERY_S + 1)) == []
    assert [call.tag for call in of(Call, drive.adapter.woken(at(2 * USE_KEY_EVERY_S)))] == ["use key"]


def test_removing_the_account_unsubscribes_and_forgets_it():
    drive = Drive(account())
    drive.join()
    (request,) = sent(drive.adapter.remove("u1", NOW))
    assert request["op"] == "unsubscribe"
    assert drive.adapter.received(orders(order()), NOW) == []


# --- accounts: events ---


def test_a_new_stream_reads_its_balances_once():
    drive = Drive(account())
    assert of(Live, drive.join())
    (emit,) = of(Emit, drive.reply("balances", answer([balances(WALL, BTC="1", USDT="5")])))
    assert isinstance(emit.event, AccountPosition)
    assert [(row.asset, row.free) for row in emit.event.balances] == [("BTC", "1"), ("USDT", "5")]


def test_a_late_rest_answer_never_overwrites_newer_balances():
    drive = Drive(account())
    drive.join()
    assert of(Emit, drive.feed(account_frame(WALL + 10, USDT="4")))
    (emit,) = of(Emit, drive.reply("balances", answer([balances(WALL, BTC="1", USDT="5")])))
    assert isinstance(emit.event, AccountPosition)
    assert [(row.asset, row.free) for row in emit.event.balances] == [("BTC", "1")]


def test_fees_are_the_size_of_the_charge_and_absent_when_nothing_is_told():
    drive = Drive(account())
    drive.join()
    rows = [
        order(state="partially_filled", accFillSz="1", fee="-0.00001", feeCcy="BTC"),
        order(ordId="2", fee="0", feeCcy="BTC"),
        order(ordId="3", fee="0.5", feeCcy="USDT"),
    ]
    events = [emit.event for emit in of(Emit, drive.feed(orders(*rows)))]
    told = [json.loads(json.dumps([getattr(event, "fee_paid", None)], default=str))[0] for event in events]
    assert told == ["0.00001", "UNSET", "0.5"]


@pytest.mark.parametrize(
    ("fields", "client_id"),
    [
        ({"clOrdId": "", "algoClOrdId": "DSL1", "source": "7"}, "DSL1"),
        ({"clOrdId": None, "algoClOrdId": "DSL1", "source": None, "category": None}, "DSL1"),
        ({"clOrdId": "GAIS22", "algoClOrdId": "DSL1"}, "GAIS22"),
        ({"clOrdId": "", "algoClOrdId": "", "source": "6"}, ""),
        ({"clOrdId": "", "algoClOrdId": None}, ""),
        ({"clOrdId": "", "algoClOrdId": "ICE1", "source": "13"}, ""),
        ({"clOrdId": "", "algoClOrdId": "TWAP1", "category": "twap"}, ""),
    ],
)
def test_the_only_child_of_an_algo_order_is_told_under_the_algo_orders_client_id(
    fields: dict[str, object], client_id: str
) -> None:
    drive = Drive(account())
    drive.join()
    filled = order(state="filled", accFillSz="2", avgPx="99", **fields)
    (emit,) = of(Emit, drive.feed(orders(filled)))
    assert (emit.event.new_client_order_id, emit.event.original_client_order_id) == (client_id, client_id)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("FILLED", "2")


def test_one_unreadable_order_costs_only_itself():
    drive = Drive(account())
    drive.join()
    broken: dict[str, Any] = {"ordId": 5}
    outputs = drive.feed(orders(broken, order(uTime="soon"), order(ordId="9")))
    assert [emit.event.order_id for emit in of(Emit, outputs)] == ["9"]  # type: ignore[union-attr]
    assert len(of(Note, outputs)) == 2


def test_a_state_that_no_page_lists_is_asked_for_and_not_guessed():
    drive = Drive(account())
    drive.join()
    outputs = drive.feed(orders(order(state="paused")))
    assert not of(Emit, outputs)
    assert of(Note, outputs)[0].level == "error"
    (call,) = of(Call, outputs)
    assert call.url.endswith("/api/v5/trade/order?instId=BTC-USDT&ordId=1")
    assert not of(Call, drive.feed(orders(order(state="paused")))), "asked for once"
    assert not drive.reply("order", answer(code="51603", text="Order does not exist")), "a fresh order may be late"
    again = drive.note(drive.adapter.woken(at(2.0)))
    (emit,) = of(Emit, drive.reply("order", answer([order(state="filled", accFillSz="2", avgPx="99")]), at(2.0)))
    assert of(Call, again)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("FILLED", "2")
    drive.feed(orders(order(ordId="7", state="paused")), at(3.0))
    outputs = drive.reply("order", answer([order(ordId="7", state="paused")]), at(3.0))
    assert not of(Emit, outputs)
    assert of(Note, outputs)


def test_a_side_that_no_page_lists_is_not_guessed():
    drive = Drive(account())
    drive.join()
    outputs = drive.feed(orders(order(side="both"), order(ordId="9")))
    assert [emit.event.order_id for emit in of(Emit, outputs)] == ["9"]


@pytest.mark.parametrize("table", [TABLE, EMPTY])
def test_contract_types_are_kept_apart_with_and_without_the_list(table):
    rows = [
        order(instType="SWAP", instId="BTC-USDT-SWAP", ordId="linear"),
        order(instType="SWAP", instId="BTC-USD-SWAP", ordId="inverse"),
        order(instType="FUTURES", instId="BTC-USD_UM_XPERP-310404", ordId="xperp"),
        order(instType="FUTURES", instId="BTC-USDT-270326", ordId="dated"),
        order(instType="MARGIN", ordId="margin"),
        order(ordId="spot"),
    ]
    seen = {}
    for exchange, source in (("okx", "my"), ("okxLinear", "my"), ("okxLinear", "com"), ("okxInverse", "my")):
        drive = Drive(account(exchange, okx_source=source), setup(exchange, table))
        drive.join()
        seen[exchange, source] = [emit.event.order_id for emit in of(Emit, drive.feed(orders(*rows)))]  # type: ignore[union-attr]
    assert seen == {
        ("okx", "my"): ["spot"],
        ("okxLinear", "my"): ["linear", "xperp"],
        ("okxLinear", "com"): ["linear", "xperp"],
        ("okxInverse", "my"): ["inverse"],
    }


# --- accounts: gap repair ---


def known(order_id: str, **changes: object) -> KnownOrder:
    fields: dict[str, Any] = {
        "order_id": order_id,
        "client_order_id": f"C{order_id}",
        "symbol": "BTC-USDT",
        "status": "NEW",
        "price": "100",
        "quantity": "2",
        "side": "BUY",
        "order_type": "LIMIT",
    }
    return KnownOrder(**(fields | changes))


def repairing(resume: Resume, exchange: str = "okx", table: SymbolTable = SPOT, **options: str) -> Drive:
    drive = Drive(account(exchange, resume, **options), setup(exchange, table))
    assert not of(Live, drive.join())
    return drive


def test_a_gap_is_read_published_in_order_and_only_then_live():
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1"), known("2"), known("3", status="FILLED"))))
    assert {call.tag for call in drive.calls} == {"open orders", "closed orders", "fills", "balances"}
    assert params(drive.calls[2])["begin"] == str(WALL - 30_000)
    held = drive.feed(orders(order(ordId="7", uTime=str(WALL))))
    assert held == []
    drive.reply("open orders", answer([order(ordId="1"), order(ordId="8", uTime=str(WALL - 500_000))]))
    drive.reply(
        "closed orders",
        answer(
            [
                order(ordId="5", state="filled", accFillSz="2", avgPx="99", uTime=str(WALL - 9_000)),
                order(ordId="2", state="canceled", uTime=str(WALL - 12_000)),
                order(ordId="3", state="filled", accFillSz="2", uTime=str(WALL - 11_000)),
                order(ordId="4", state="filled", accFillSz="2", uTime=str(WALL - 60_000)),
            ]
        ),
    )
    drive.reply("fills", answer([{"instId": "BTC-USDT", "ordId": "5", "billId": "b"}]))
    outputs = drive.reply("balances", answer([balances(WALL, USDT="10")]))
    events = [emit.event for emit in of(Emit, outputs)]
    assert [event.order_id for event in events if isinstance(event, ExecutionReport)] == ["2", "5", "7"]
    (wallet,) = [event for event in events if isinstance(event, AccountPosition)]
    assert [(row.asset, row.free) for row in wallet.balances] == [("USDT", "10"), ("BTC", "0")]
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert (live.gap.orders, live.gap.balances, live.gap.missing) == (2, 1, ())
    assert outputs[-1] is live


def empty_lists(drive: Drive, fills: list[dict[str, str]] | None = None) -> Outputs:
    """Lists of every instrument type; the fills stand in the first of theirs."""
    for tag, data in (("open orders", []), ("closed orders", []), ("fills", fills or [])):
        given = data
        for _ in [call for call in drive.calls if call.tag == tag]:
            drive.reply(tag, answer(given))
            given = []
    return drive.reply("balances", answer([balances(WALL, USDT="1")]))


def test_orders_that_no_list_shows_are_asked_for_one_by_one():
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1"), known("2"))))
    empty_lists(drive, [{"instId": "ETH-USDT", "ordId": "66", "billId": "b"}])
    asked = [params(call) for call in drive.calls]
    assert [(query["instId"], query["ordId"]) for query in asked] == [
        ("ETH-USDT", "66"),
        ("BTC-USDT", "1"),
        ("BTC-USDT", "2"),
    ]
    drive.reply("order", answer([order(ordId="66", instId="ETH-USDT", state="filled", accFillSz="2")]))
    drive.reply("order", answer([order(ordId="1", state="partially_filled", accFillSz="1", avgPx="100")]))
    outputs = drive.reply("order", answer(code="51603", text="Order does not exist"))
    told = {
        emit.event.order_id: emit.event.order_status
        for emit in of(Emit, outputs)
        if isinstance(emit.event, ExecutionReport)
    }
    assert told == {"66": "FILLED", "1": "PARTIALLY_FILLED", "2": "CANCELED"}
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert live.gap.missing == ()


def test_a_vanished_order_with_fills_is_told_as_missing_not_guessed():
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1", status="PARTIALLY_FILLED", executed="1"),)))
    empty_lists(drive)
    outputs = drive.reply("order", answer(code="51603", text="Order does not exist"))
    assert not [emit for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert live.gap.missing == ("order 1: its end is not known to the venue any more",)


def test_a_swap_is_asked_for_by_its_wire_code():
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1"),)), "okxLinear", TABLE)
    empty_lists(drive)
    assert "instId=BTC-USDT-SWAP" in drive.calls[0].url


@pytest.mark.parametrize("source", [None, "com", "app", "my"])
def test_x_perps_are_repaired_too_whatever_the_site(source):
    drive = repairing(Resume(since_ms=WALL - 30_000), "okxLinear", TABLE, okx_source=source)
    kinds = [params(call).get("instType", "") for call in drive.calls]
    assert kinds == ["SWAP", "SWAP", "SWAP", "FUTURES", "FUTURES", "FUTURES", ""]


def test_a_list_that_an_account_may_not_ask_for_is_named_and_holds_nothing_up():
    drive = repairing(Resume(since_ms=WALL - 30_000), "okxLinear", TABLE)
    for tag in ("open orders", "closed orders", "fills"):
        drive.reply(tag, answer([]), where="SWAP")
        drive.reply(tag, answer(code="51000", text="Parameter instType error"), where="FUTURES")
    (live,) = of(Live, drive.reply("balances", answer([balances(WALL, USDT="1")])))
    assert live.gap is not None
    assert live.gap.missing == tuple(
        f"{tag}: 51000 Parameter instType error" for tag in ("open orders", "closed orders", "fills")
    )


def test_an_x_perp_order_that_no_list_names_is_told_as_missing_not_asked_under_a_made_up_code():
    """Its code has a date; asked for as a swap it would come back as vanished."""
    order_before = known("1", symbol="BTC-USD_UM_XPERP")
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(order_before,)), "okxLinear", EMPTY)
    outputs = empty_lists(drive)
    assert not drive.calls
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert live.gap.missing == ("order 1: its contract is in no list yet",)


def test_history_is_paged_until_a_page_is_older_than_the_gap():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    fresh = [order(ordId=str(1000 - n), state="filled", accFillSz="2", uTime=str(WALL - 1_000)) for n in range(100)]
    drive.reply("closed orders", answer(fresh))
    (page,) = [call for call in drive.calls if call.tag == "closed orders"]
    assert params(page)["after"] == "901"
    old = [order(ordId=str(900 - n), state="filled", uTime=str(WALL - 90_000)) for n in range(100)]
    drive.reply("closed orders", answer(old))
    assert not [call for call in drive.calls if call.tag == "closed orders"]


def test_fills_are_paged_by_their_bill():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.reply("fills", answer([{"instId": "BTC-USDT", "ordId": "5", "billId": str(n)} for n in range(100)]))
    (page,) = [call for call in drive.calls if call.tag == "fills"]
    assert params(page)["after"] == "99"
    assert params(page)["begin"] == str(WALL - 30_000)


def test_a_long_gap_reads_the_archive_and_says_what_fills_it_misses():
    drive = repairing(Resume(since_ms=WALL - 8 * 86_400_000))
    assert "archived orders" in {call.tag for call in drive.calls}
    drive.reply("archived orders", answer([]))
    (live,) = of(Live, empty_lists(drive))
    assert live.gap is not None
    assert live.gap.missing == ("fills older than three days",)


def test_a_rate_limited_call_is_asked_again_with_a_fresh_signature():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    before = next(call for call in drive.calls if call.tag == "fills")
    drive.reply("fills", answer(code="50011", text="Too Many Requests", status=429))
    assert drive.adapter.woken(at(0.5)) == []
    (again,) = of(Call, drive.adapter.woken(at(2.1)))
    assert again.url == before.url
    assert again.headers["OK-ACCESS-TIMESTAMP"] != before.headers["OK-ACCESS-TIMESTAMP"]


def test_a_clock_error_during_the_repair_is_corrected():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.reply("fills", answer(code="50102", text="Timestamp request expired", status=401))
    assert list(drive.reply("time", answer([{"ts": str(WALL + 60_000)}]))) == [ClockOffset(60_000)]
    (again,) = of(Call, drive.adapter.woken(at(1.1)))
    assert again.headers["OK-ACCESS-TIMESTAMP"] == "2026-11-21T22:27:41.100Z"


def test_calls_without_an_answer_do_not_hold_the_stream_for_ever():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.adapter.received(b"pong", at(20))
    (live,) = of(Live, drive.adapter.woken(at(25.1)))
    assert live.gap is not None
    assert "fills: still being read" in live.gap.missing
    assert not live.gap.complete
    (end,) = of(Live, drive.adapter.woken(at(601)))
    assert end.gap is not None
    assert end.gap.complete
    assert "fills: no answer in time" in end.gap.missing


def test_balances_held_during_the_repair_do_not_overwrite_the_later_answer():
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.feed(account_frame(WALL - 500, USDT="9"))
    drive.feed(account_frame(WALL + 500, ETH="3"))
    outputs = empty_lists(drive)
    told = [
        (row.asset, row.free)
        for emit in of(Emit, outputs)
        if isinstance(emit.event, AccountPosition)
        for row in emit.event.balances
    ]
    assert told == [("USDT", "1"), ("ETH", "3")]


# --- symbol lists ---


def listed(**changes: str) -> dict[str, str]:
    return {"instType": "SWAP", "state": "live", "ruleType": "normal"} | changes


def load(exchange: str, lists: Mapping[str, list[dict[str, str]]], **options: str) -> list[Instrument] | None:
    loader = Loader(exchange, options)
    for call in loader.start():
        assert not loader.answered(call, answer(lists[str(call.context)]))
    found = loader.result()
    return None if found is None else list(found)


LISTS = {
    "SPOT": [
        {"instType": "SPOT", "instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"},
        {"instType": "SPOT", "instId": "BTC-EUR", "baseCcy": "BTC", "quoteCcy": "EUR", "state": "suspend"},
    ],
    "SWAP": [
        listed(instId="BTC-USDT-SWAP", ctType="linear", ctVal="0.01", ctMult="1", ctValCcy="BTC", settleCcy="USDT"),
        listed(instId="BTC-USD-SWAP", ctType="inverse", ctVal="100", ctMult="1", ctValCcy="USD", settleCcy="BTC"),
        listed(instId="NEW-USDT-SWAP", ctType="linear", state="rebase"),
    ],
    "FUTURES": [
        listed(instType="FUTURES", instId="BTC-USD_UM_XPERP-310404", ctType="linear", ruleType="xperp"),
        listed(instType="FUTURES", instId="BTC-USDT-270326", ctType="linear"),
    ],
}


def test_the_lists_of_each_exchange_id():
    spot, linear, inverse = (load(exchange, LISTS) for exchange in VENUE.exchanges)
    assert spot is not None
    assert [(row.wire, row.kind, row.active) for row in spot] == [
        ("BTC-USDT", "spot", True),
        ("BTC-EUR", "spot", False),
    ]
    assert linear is not None
    assert [row.pair for row in linear] == ["BTC-USDT", "NEW-USDT", "BTC-USD_UM_XPERP"]
    assert (linear[0].base, linear[0].quote, linear[0].settle, linear[0].contract_size) == (
        "BTC",
        "USDT",
        "USDT",
        "0.01",
    )
    assert linear[1].active
    assert inverse is not None
    assert [(row.wire, row.base, row.quote, row.kind) for row in inverse] == [("BTC-USD-SWAP", "BTC", "USD", "inverse")]


def test_european_deployments_have_two_quotes_and_x_perps_only():
    options = {"OKX_EU_ONLY": "true"}
    assert [row.wire for row in load("okx", LISTS, **options) or []] == ["BTC-EUR"]
    assert [row.wire for row in load("okxLinear", LISTS, **options) or []] == ["BTC-USD_UM_XPERP-310404"]
    assert load("okxInverse", LISTS, **options) == []
    assert [row.wire for row in load("okx", LISTS, OKX_EU_SPOT_QUOTES="usdt", **options) or []] == ["BTC-USDT"]


def test_a_list_that_can_not_be_read_is_no_list():
    loader = Loader("okxLinear", {})
    swap, futures = loader.start()
    loader.answered(swap, answer(LISTS["SWAP"]))
    loader.answered(futures, answer(code="50011"))
    assert loader.result() is None


# --- tickers ---


def tickers(*symbols: str) -> TickerAdapter:
    adapter = TickerAdapter(setup("okxLinear", TABLE))
    adapter.add(TickerSubscription(stream_id="t1", exchange="okxLinear", symbols=symbols), NOW)
    return adapter


def confirm(adapter: TickerAdapter | CandleAdapter, outputs: Outputs, now: Instant = NOW) -> list[Output]:
    found: list[Output] = []
    for request in sent(outputs):
        for arg in request["args"]:
            found += adapter.received(frame({"id": request["id"], "event": "subscribe", "arg": arg}), now)
    return found


def test_the_shards_cover_every_active_symbol_once():
    table = SymbolTable([Instrument(wire=f"X{n}-USDT", pair=f"X{n}-USDT", active=n != 7) for n in range(1_200)])
    shards = VENUE.ticker_shards("okx", table)
    assert len(shards) == 3
    assert sorted(wire for shard in shards for wire in shard) == sorted(row.wire for row in table.active())
    assert VENUE.ticker_shards("okx", EMPTY) == []


def test_a_shard_is_subscribed_in_frames_of_bounded_size_and_live_when_all_are_confirmed():
    adapter = tickers(*(f"X{n}-USDT-SWAP" for n in range(ARGS_PER_FRAME + 1)))
    assert of(Connect, adapter.start(NOW))[0].url == "wss://ws.okx.com:8443/ws/v5/public"
    outputs = adapter.connected(NOW)
    assert [len(request["args"]) for request in sent(outputs)] == [ARGS_PER_FRAME, 1]
    assert all(len(send.text) < 65_536 for send in of(Send, outputs))
    assert of(Live, confirm(adapter, outputs)) == [Live("t1")]


def test_a_symbol_that_does_not_exist_costs_only_itself():
    adapter = tickers("BTC-USDT-SWAP", "FOO-USDT-SWAP")
    (request,) = sent(adapter.connected(NOW))
    text = "Wrong URL or channel:tickers,instId:FOO-USDT-SWAP doesn't exist. Please use the correct URL."
    adapter.received(frame({"event": "error", "code": "60018", "msg": text, "connId": "c"}), NOW)
    outputs = adapter.received(frame({"event": "subscribe", "arg": request["args"][0]}), NOW)
    assert of(Live, outputs)


def test_a_refusal_without_a_name_is_narrowed_down():
    adapter = tickers("A-USDT-SWAP", "B-USDT-SWAP", "C-USDT-SWAP")
    outputs: Outputs = adapter.connected(NOW)
    live: list[Live] = []
    for _ in range(10):
        following: list[Output] = []
        for request in sent(outputs):
            args = request["args"]
            if any(arg["instId"] == "B-USDT-SWAP" for arg in args):
                error = {"id": request["id"], "event": "error", "code": "60012", "msg": "Invalid request"}
                following += adapter.received(frame(error), NOW)
            else:
                following += confirm(adapter, [Send(json.dumps(request))])
        live += of(Live, following)
        outputs = following
    assert live == [Live("t1")]


def test_what_is_not_acknowledged_is_asked_again_and_then_the_connection_ends():
    adapter = tickers("BTC-USDT-SWAP")
    adapter.connected(NOW)
    for n in (1, 2):
        assert len(sent(adapter.woken(at(5.1 * n)))) == 1
    assert of(Fail, adapter.woken(at(15.4)))[0].kind is FailKind.TRANSIENT


def test_a_rate_limit_slows_down_and_keeps_the_connection():
    adapter = tickers("BTC-USDT-SWAP")
    (request,) = sent(adapter.connected(NOW))
    limited = {"id": request["id"], "event": "error", "code": "60014", "msg": "Requests too frequent"}
    assert not of(Fail, adapter.received(frame(limited), NOW))
    assert not sent(adapter.woken(at(1.9)))
    (request,) = sent(adapter.woken(at(2.1)))
    adapter.received(frame(limited | {"id": request["id"]}), at(2.1))
    assert adapter.deadline() == pytest.approx(NOW.mono + 6.1)


def test_a_changed_shard_subscribes_and_unsubscribes_the_difference():
    adapter = tickers("A-USDT-SWAP", "B-USDT-SWAP")
    confirm(adapter, adapter.connected(NOW))
    changed = TickerSubscription(stream_id="t1", exchange="okxLinear", symbols=("B-USDT-SWAP", "C-USDT-SWAP"))
    assert not sent(adapter.add(changed, NOW))
    asked = sent(adapter.woken(at(0.6)))
    assert [(request["op"], [arg["instId"] for arg in request["args"]]) for request in asked] == [
        ("unsubscribe", ["A-USDT-SWAP"]),
        ("subscribe", ["C-USDT-SWAP"]),
    ]


def test_all_rows_of_a_ticker_frame_are_published():
    adapter = tickers("BTC-USDT-SWAP")
    confirm(adapter, adapter.connected(NOW))
    rows = [
        {"instId": "BTC-USDT-SWAP", "last": "100", "vol24h": "7", "askSz": "2", "bidSz": "3", "ts": str(WALL)},
        {"instId": "ETH-USDT-SWAP", "last": "", "ts": str(WALL)},
        {"instId": "BTC-USD_UM_XPERP-310404", "last": "101", "vol24h": "", "askSz": "x", "bidSz": "", "ts": ""},
    ]
    (emit,) = of(EmitTickers, adapter.received(frame({"arg": {"channel": "tickers"}, "data": rows}), NOW))
    assert [(row.symbol, row.price, row.best_ask, row.time) for row in emit.tickers] == [
        ("BTC-USDT", 100.0, 100.0, WALL),
        ("BTC-USD_UM_XPERP", 101.0, 101.0, WALL),
    ]
    assert adapter.received(frame({"arg": {}, "data": [rows[1]]}), NOW) == [Seen("t1")]
    assert adapter.received(b"pong", NOW) == []


def test_an_upgrade_notice_rotates_price_connections_too():
    adapter = tickers("BTC-USDT-SWAP")
    adapter.connected(NOW)
    assert of(Rotate, adapter.received(frame({"event": "notice", "code": "64008", "msg": "soon"}), NOW))


# --- candles ---


def candle(start: int, closed: bool = True, **changes: str) -> list[str]:
    row = {"o": "10", "h": "12", "l": "9", "c": "11", "v": "5"} | changes
    return [str(start), row["o"], row["h"], row["l"], row["c"], row["v"], "0", "0", "1" if closed else "0"]


def topic(
    symbol: str = "BTC-USDT", interval: str = "candle1m", resume: int | None = None, exchange: str = "okx"
) -> CandleSubscription:
    return CandleSubscription(
        stream_id=f"{symbol}@{interval}", exchange=exchange, symbol=symbol, interval=interval, resume_start_ms=resume
    )


def candles(*topics: CandleSubscription, exchange: str = "okx", table: SymbolTable = SPOT) -> CandleAdapter:
    adapter = CandleAdapter(setup(exchange, table))
    for each in topics:
        adapter.add(each, NOW)
    assert of(Connect, adapter.start(NOW))[0].url == "wss://ws.okx.com:8443/ws/v5/business"
    return adapter


def push(channel: str, wire: str, *rows: list[str]) -> bytes:
    return frame({"arg": {"channel": channel, "instId": wire}, "data": rows})


def starts(outputs: Iterable[Output]) -> list[int]:
    return [emit.candle.start for emit in of(EmitCandle, outputs)]


MINUTE = WALL // 60_000 * 60_000


@pytest.mark.parametrize(
    ("exchange", "symbol", "wire"),
    [
        ("okx", "BTC-USDT", "BTC-USDT"),
        ("okxLinear", "BTC-USDT", "BTC-USDT-SWAP"),
        ("okxLinear", "NEW-USDT", "NEW-USDT-SWAP"),
        ("okxLinear", "BTC-USD_UM_XPERP", "BTC-USD_UM_XPERP-310404"),
        ("okxInverse", "BTC-USD", "BTC-USD-SWAP"),
    ],
)
def test_candles_are_asked_for_by_the_wire_code_and_published_as_asked(exchange, symbol, wire):
    table = SPOT if exchange == "okx" else TABLE
    adapter = candles(topic(symbol, "1d", exchange=exchange), exchange=exchange, table=table)
    outputs = adapter.connected(NOW)
    assert sent(outputs)[0]["args"] == [{"channel": "candle1Dutc", "instId": wire}]
    assert of(Live, confirm(adapter, outputs))
    (emit,) = of(EmitCandle, adapter.received(push("candle1Dutc", wire, candle(0)), NOW))
    assert (emit.symbol, emit.interval, emit.exchange) == (symbol, "1d", exchange)


def test_an_x_perp_waits_for_the_list():
    adapter = CandleAdapter(setup("okxLinear"))
    (fail,) = of(Fail, adapter.add(topic("BTC-USD_UM_XPERP", exchange="okxLinear"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, "BTC-USD_UM_XPERP@candle1m")


def test_only_closed_candles_once_and_every_frame_is_a_sign_of_life():
    adapter = candles(topic())
    confirm(adapter, adapter.connected(NOW))
    assert adapter.received(push("candle1m", "BTC-USDT", candle(MINUTE, closed=False)), NOW) == [
        Seen("BTC-USDT@candle1m")
    ]
    rows = (candle(MINUTE), candle(MINUTE + 60_000, closed=False))
    assert starts(adapter.received(push("candle1m", "BTC-USDT", *rows), NOW)) == [MINUTE]
    assert starts(adapter.received(push("candle1m", "BTC-USDT", candle(MINUTE)), NOW)) == []


def test_two_spellings_of_one_interval_share_a_channel():
    adapter = candles(topic(interval="1h"), topic(interval="candle1H"))
    outputs = adapter.connected(NOW)
    assert len(sent(outputs)[0]["args"]) == 1
    assert len(of(Live, confirm(adapter, outputs))) == 2
    emits = of(EmitCandle, adapter.received(push("candle1H", "BTC-USDT", candle(MINUTE)), NOW))
    assert [emit.interval for emit in emits] == ["1h", "candle1H"]


def test_candles_missed_while_away_come_first():
    adapter = candles(topic(resume=MINUTE - 5 * 60_000))
    outputs = confirm(adapter, adapter.connected(NOW))
    (call,) = of(Call, outputs)
    query = params(call)
    assert (query["instId"], query["bar"], query["before"]) == ("BTC-USDT", "1m", str(MINUTE - 5 * 60_000))
    assert not of(Live, outputs)
    assert starts(adapter.received(push("candle1m", "BTC-USDT", candle(MINUTE - 60_000)), NOW)) == []
    rows = [candle(MINUTE, closed=False), *(candle(MINUTE - n * 60_000) for n in range(1, 5))]
    found = adapter.answered(call, answer(rows), NOW)
    assert starts(found) == [MINUTE - n * 60_000 for n in (4, 3, 2, 1)]
    assert [emit.repaired for emit in of(EmitCandle, found)] == [True] * 4
    (live,) = of(Live, found)
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (4, ())


def test_a_long_gap_is_read_in_pages():
    adapter = candles(topic(resume=MINUTE - 400 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    (following,) = of(Call, adapter.answered(call, answer([candle(MINUTE - n * 60_000) for n in range(300)]), NOW))
    assert params(following)["after"] == str(MINUTE - 299 * 60_000)
    found = adapter.answered(following, answer([candle(MINUTE - n * 60_000) for n in range(300, 400)]), NOW)
    assert starts(found) == [MINUTE - n * 60_000 for n in range(399, -1, -1)]


def test_nothing_is_asked_when_no_candle_can_have_closed():
    adapter = candles(topic(interval="candle1H", resume=WALL // HOUR_MS * HOUR_MS - HOUR_MS))
    outputs = confirm(adapter, adapter.connected(NOW))
    assert not of(Call, outputs)
    assert of(Live, outputs)


def test_a_failed_repair_says_so_and_goes_live():
    adapter = candles(topic(resume=MINUTE - 5 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    for _ in range(2):
        assert not adapter.answered(call, answer(status=500), NOW)
        due = adapter.deadline()
        assert due is not None
        (call,) = of(Call, adapter.woken(at(due - NOW.mono)))
    (live,) = of(Live, adapter.answered(call, answer(status=500), NOW))
    assert live.gap is not None
    assert live.gap.missing


def test_an_eight_hour_candle_is_made_of_two():
    start = WALL // (8 * HOUR_MS) * 8 * HOUR_MS
    now = Instant(NOW.mono, start + 5 * HOUR_MS)
    adapter = candles(topic(interval="8h"))
    outputs = confirm(adapter, adapter.connected(now), now)
    (call,) = of(Call, outputs)
    assert params(call)["before"] == str(start - 4 * HOUR_MS)
    rows = [candle(start + 4 * HOUR_MS, closed=False), candle(start, o="10", h="12", l="9", c="11", v="1.5")]
    assert of(Live, adapter.answered(call, answer(rows), now))
    second = candle(start + 4 * HOUR_MS, o="11", h="11.5", l="8.5", c="9", v="2.25")
    (emit,) = of(EmitCandle, adapter.received(push("candle4H", "BTC-USDT", second), now))
    told = emit.candle
    assert (told.start, told.open, told.high, told.low, told.close, told.volume) == (
        start,
        "10",
        "12",
        "8.5",
        "9",
        "3.75",
    )
    assert emit.interval == "8h"
    alone = candle(start + 12 * HOUR_MS)
    assert starts(adapter.received(push("candle4H", "BTC-USDT", alone), now)) == []


def test_topics_come_and_go_on_a_live_connection_in_few_frames():
    adapter = candles(topic())
    confirm(adapter, adapter.connected(NOW))
    for n in range(5):
        adapter.add(topic(f"X{n}-USDT"), at(0.1 * n))
    adapter.remove("BTC-USDT@candle1m", at(0.45))
    asked = sent(adapter.woken(at(0.6)))
    assert [(request["op"], len(request["args"])) for request in asked] == [("unsubscribe", 1), ("subscribe", 5)]
    assert adapter.remove("unknown", at(1)) == []


def test_operations_stay_below_the_hourly_limit():
    adapter = candles()
    adapter.connected(NOW)
    frames = 0
    for n in range(3_600):
        adapter.add(topic(f"X{n}-USDT"), at(n))
        outputs = [send for send in of(Send, adapter.woken(at(n + 0.9))) if send.text != "ping"]
        confirm(adapter, outputs, at(n + 0.92))
        frames += len(outputs)
        adapter.received(b"pong", at(n + 0.95))
    assert BURST < frames <= 480


def test_a_refused_topic_fails_alone():
    adapter = candles(topic(), topic("GONE-USDT"))
    (request,) = sent(adapter.connected(NOW))
    text = "Wrong URL or channel:candle1m,instId:GONE-USDT doesn't exist. Please use the correct URL."
    outputs = adapter.received(frame({"id": request["id"], "event": "error", "code": "60018", "msg": text}), NOW)
    (fail,) = of(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "GONE-USDT@candle1m")
    assert of(Live, adapter.received(frame({"event": "subscribe", "arg": request["args"][0]}), NOW))


def test_refusals_before_anything_is_sent():
    assert VENUE.candle_refusal("okx", "BTC-USDT", "candle1H", SPOT) is None
    assert VENUE.candle_refusal("okx", "BTC-USDT", "8h", EMPTY) is None
    assert "candle8H" in (VENUE.candle_refusal("okx", "BTC-USDT", "candle8H", SPOT) or "")
    assert "BTCUSDT" in (VENUE.candle_refusal("okx", "BTCUSDT", "candle1H", SPOT) or "")
    assert VENUE.candle_refusal("okx", "BTCUSDT", "candle1H", EMPTY) is None
