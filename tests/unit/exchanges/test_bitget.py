"""Bitget's protocol, one input at a time: no socket, no waiting."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    Send,
    TickerSubscription,
    UserSubscription,
)
from exchanges._venue import Setup
from exchanges.bitget import CHANNELS_PER_CONNECTION, VENUE
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges import driver
from tests.unit.exchanges.driver import hmac_base64, of, sent

WALL = 1_793_001_600_000
KEY, SECRET, PASS = "bg-key-1", "bg-secret-1", "bg-pass-1"
OK = {"code": "00000", "msg": "success", "data": []}
SPOT = SymbolTable([Instrument(wire=s, pair=s, kind="SPOT") for s in ("BTCUSDT", "ETHUSDT")])
USDM = SymbolTable(
    [
        Instrument(wire="BTCUSDT", pair="BTCUSDT", kind="USDT-FUTURES"),
        Instrument(wire="BTCPERP", pair="BTCPERP", kind="USDC-FUTURES"),
        Instrument(wire="ODDUSDC", pair="ODDUSDC", kind="USDC-FUTURES"),
    ]
)
TABLES = {"bitget": SPOT, "bitgetUsdm": USDM, "bitgetCoinm": EMPTY}


class Driver(driver.Driver):
    """Knows how Bitget acknowledges."""

    def ack(self, outputs: Iterable[Output]) -> list[Output]:
        """Acknowledge every argument of the subscribe frames among the outputs."""
        return [output for arg in args_of(outputs) for output in self.frame({"event": "subscribe", "arg": arg})]


def args_of(outputs: Iterable[Output]) -> list[dict[str, str]]:
    return [arg for frame in sent(outputs) if frame["op"] == "subscribe" for arg in frame["args"]]


def subscription(exchange: str = "bitget", resume: Resume | None = None, **fields: Any) -> UserSubscription:
    material = credentials(KEY, fields.pop("secret", SECRET), PASS, **fields)
    return UserSubscription(stream_id="s1", exchange=exchange, credentials=material, resume=resume)


def dialled(exchange: str = "bitget", resume: Resume | None = None, answer: object = OK) -> tuple[Driver, Send]:
    """A session that has just sent its login."""
    driver = Driver(VENUE.user, exchange, TABLES[exchange])
    assert driver.add(subscription(exchange, resume)) == []
    (probe,) = of(Call, driver.start())
    (connect,) = driver.answer(probe, answer)
    assert isinstance(connect, Connect)
    (login,) = driver.connected()
    assert isinstance(login, Send)
    return driver, login


def live(exchange: str = "bitget") -> Driver:
    driver, _ = dialled(exchange)
    assert of(Live, driver.ack(driver.frame({"event": "login", "code": 0}))) == [Live("s1")]
    return driver


def order(**fields: object) -> dict[str, object]:
    row = {
        "instId": "BTCUSDT",
        "orderId": "1",
        "clientOid": "D-BO-1",
        "newSize": "2",
        "orderType": "limit",
        "side": "buy",
        "price": "100",
        "accBaseVolume": "0",
        "priceAvg": "0",
        "status": "live",
        "cTime": str(WALL),
        "uTime": str(WALL + 1),
        **fields,
    }
    arg = {"instType": "SPOT", "channel": "orders", "instId": "default"}
    return {"action": "snapshot", "arg": arg, "data": [row], "ts": WALL + 2}


# --- login ---


def test_the_account_mode_is_asked_with_the_documented_signature() -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription())
    (probe,) = of(Call, driver.start())
    path = "/api/v3/account/settings"
    assert probe.url == f"https://api.bitget.com{path}"
    assert probe.headers["ACCESS-TIMESTAMP"] == str(WALL)
    assert probe.headers["ACCESS-SIGN"] == hmac_base64(SECRET, f"{WALL}GET{path}")
    assert probe.headers["ACCESS-PASSPHRASE"] == PASS
    assert SECRET not in repr(probe)


def test_the_login_signs_seconds() -> None:
    _, login = dialled()
    (arg,) = json.loads(login.text)["args"]
    seconds = str(WALL // 1000)
    assert arg == {
        "apiKey": KEY,
        "passphrase": PASS,
        "timestamp": seconds,
        "sign": hmac_base64(SECRET, seconds + "GET/user/verify"),
    }
    assert KEY not in repr(login)


def test_rsa_keys_sign_the_same_text() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription(secret=pem.replace("\n", " ")))
    (probe,) = of(Call, driver.start())
    text = f"{WALL}GET/api/v3/account/settings".encode()
    signature = base64.b64decode(probe.headers["ACCESS-SIGN"])
    key.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())


def test_unusable_material_is_refused_without_a_request() -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription(secret="-----BEGIN PRIVATE KEY----- broken"))
    (fail,) = driver.start()
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "s1")
    assert "broken" not in fail.reason


@pytest.mark.parametrize(
    ("answer", "url"),
    [
        (OK, "wss://ws.bitget.com/v2/ws/private"),
        ({"code": "40085", "msg": "Unified Account mode"}, "wss://ws.bitget.com/v3/ws/private"),
    ],
)
def test_the_mode_decides_the_socket(answer: object, url: str) -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription())
    (probe,) = of(Call, driver.start())
    assert driver.answer(probe, answer) == [Connect(url)]


def test_sandbox_keys_use_the_demo_hosts() -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription(environment="sandbox"))
    (probe,) = of(Call, driver.start())
    assert probe.headers["paptrading"] == "1"
    assert driver.answer(probe, OK) == [Connect("wss://wspap.bitget.com/v2/ws/private")]


@pytest.mark.parametrize("code", ["40001", "40006", "40009", "40012", "40018", "40031", "40037"])
def test_a_key_that_rest_refuses_opens_the_breaker(code: str) -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription())
    (probe,) = of(Call, driver.start())
    (fail,) = of(Fail, driver.answer(probe, {"code": code, "msg": "no"}, 400))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "s1", True)
    assert driver.adapter.deadline() is None


DENIED = {"code": "40014", "msg": "Incorrect permissions, need uta management read permissions"}
OTHER = {"code": "40085", "msg": "You are in Unified Account mode, and the Classic Account API is not supported"}
V2, V3 = "wss://ws.bitget.com/v2/ws/private", "wss://ws.bitget.com/v3/ws/private"


def asked_mode(exchange: str, *answers: object) -> tuple[list[str], list[Output]]:
    """What a session asks to learn the account's mode, and what it does in the end."""
    driver = Driver(VENUE.user, exchange, TABLES[exchange])
    driver.add(subscription(exchange))
    outputs, paths = driver.start(), []
    for answer in answers:
        (call,) = of(Call, outputs)
        paths.append(call.url.removeprefix("https://api.bitget.com"))
        outputs = driver.answer(call, *answer) if isinstance(answer, tuple) else driver.answer(call, answer)
    return paths, outputs


def settings(mode: object) -> dict[str, object]:
    return {"code": "00000", "data": {"accountMode": mode}}


@pytest.mark.parametrize(
    ("mode", "url"),
    [("unified", V3), ("hybrid", V3), ("upgrading", V3), ("Unified", V3), ("switching", V2), (None, V2), ("odd", V2)],
)
def test_the_settings_name_the_mode(mode: object, url: str) -> None:
    paths, outputs = asked_mode("bitget", settings(mode))
    assert paths == ["/api/v3/account/settings"]
    assert of(Connect, outputs) == [Connect(url)]
    assert bool(of(Note, outputs)) is (mode == "odd")


def test_a_key_that_may_not_read_the_settings_is_asked_of_the_classic_api() -> None:
    spot, mix = "/api/v2/spot/account/assets?coin=USDT", "/api/v2/mix/account/accounts?productType=USDT-FUTURES"
    assert asked_mode("bitget", DENIED, OK)[1] == [Connect(V2)]
    assert asked_mode("bitget", DENIED, OTHER)[1] == [Connect(V3)]
    assert asked_mode("bitget", DENIED, OK)[0][1:] == [spot]
    assert asked_mode("bitgetUsdm", DENIED, OK)[0][1:] == [mix]


def test_a_futures_key_of_a_unified_account_is_not_taken_for_a_classic_one() -> None:
    """Settings and balances are refused to it; the orders tell, and if they don't, unified is the likelier mode."""
    paths, outputs = asked_mode("bitgetUsdm", DENIED, DENIED, OTHER)
    assert paths[2] == "/api/v2/mix/order/orders-pending?limit=1&productType=USDT-FUTURES"
    assert outputs == [Connect(V3)]
    assert asked_mode("bitgetUsdm", DENIED, DENIED, OK)[1] == [Connect(V2)]
    assert of(Connect, asked_mode("bitgetUsdm", DENIED, DENIED, DENIED)[1]) == [Connect(V3)]


def test_a_classic_account_that_refuses_the_v3_call_is_confirmed_by_a_classic_one() -> None:
    refusal = {"code": "40084", "msg": "You are in Classic Account mode"}
    assert asked_mode("bitget", refusal, OK)[1] == [Connect(V2)]
    assert asked_mode("bitget", refusal, OTHER)[1] == [Connect(V3)]
    assert asked_mode("bitget", refusal, DENIED)[1] == [Connect(V2)]


@pytest.mark.parametrize("code", ["40010", "40725", "45001", "40015"])
def test_a_mode_that_could_not_be_asked_is_never_classic(code: str) -> None:
    for answers in (({"code": code, "msg": "busy"},), (DENIED, {"code": code, "msg": "busy"})):
        outputs = asked_mode("bitget", *answers)[1]
        assert not of(Connect, outputs)
        assert [fail.kind for fail in of(Fail, outputs)] == [FailKind.TRANSIENT]


@pytest.mark.parametrize(
    ("body", "status", "kind", "wait"),
    [
        ({"code": "429", "msg": "Too Many Requests"}, 429, FailKind.RATE_LIMITED, 1.0),
        ({"code": "40725", "msg": "too many requests"}, 200, FailKind.RATE_LIMITED, 1.0),
        ({"code": "45001", "msg": "Unknown system error"}, 200, FailKind.TRANSIENT, None),
        (b"<html>", 502, FailKind.TRANSIENT, None),
    ],
)
def test_other_rest_failures_are_waited_out(body: object, status: int, kind: FailKind, wait: float | None) -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription())
    (fail,) = of(Fail, driver.answer(of(Call, driver.start())[0], body, status))
    assert (fail.kind, fail.retry_after_s) == (kind, wait)


def test_a_wrong_clock_is_corrected_once_by_rest() -> None:
    driver = Driver(VENUE.user, "bitget", SPOT)
    driver.add(subscription())
    late = {"code": "40008", "msg": "Request timestamp expired"}
    (clock,) = of(Call, driver.answer(of(Call, driver.start())[0], late))
    assert clock.url == "https://api.bitget.com/api/v2/public/time"
    measured, again = driver.answer(clock, {"code": "00000", "data": {"serverTime": str(WALL + 90_000)}})
    assert measured == ClockOffset(90_000)
    assert isinstance(again, Call)
    assert again.headers["ACCESS-TIMESTAMP"] == str(WALL + 90_000)
    assert of(Connect, driver.answer(again, OK))
    (login,) = of(Send, driver.connected())
    assert json.loads(login.text)["args"][0]["timestamp"] == str((WALL + 90_000) // 1000)


@pytest.mark.parametrize("code", [30013, "30014", 30005])
def test_a_login_outside_the_window_is_repeated_with_the_venue_s_clock(code: int | str) -> None:
    driver, _ = dialled()
    (clock,) = of(Call, driver.frame({"event": "error", "code": code, "msg": "Invalid timestamp"}))
    (login,) = of(Send, driver.answer(clock, {"code": "00000", "data": {"serverTime": str(WALL + 90_000)}}))
    assert json.loads(login.text)["args"][0]["timestamp"] == str((WALL + 90_000) // 1000)
    (fail,) = of(Fail, driver.frame({"event": "error", "code": code, "msg": "Invalid timestamp"}))
    assert fail.kind is FailKind.CREDENTIAL
    assert not fail.first_sight


@pytest.mark.parametrize("code", [30011, "30012", 30015])
def test_a_refused_login_opens_the_breaker(code: int | str) -> None:
    driver, _ = dialled()
    (fail,) = driver.frame({"event": "error", "code": code, "msg": "Invalid sign"})
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "s1", True)


def test_a_login_without_an_answer_fails() -> None:
    driver, _ = dialled()
    (fail,) = of(Fail, driver.wake())
    assert driver.mono == 1010.0
    assert "login" in fail.reason


@pytest.mark.parametrize("code", [0, "0"])
def test_success_codes_are_compared_as_numbers(code: int | str) -> None:
    driver, _ = dialled()
    assert args_of(driver.frame({"event": "login", "code": code, "msg": ""}))


def test_an_expired_login_is_repeated_once() -> None:
    driver, _ = dialled()
    driver.frame({"event": "login", "code": 0})
    (login,) = of(Send, driver.frame({"event": "error", "code": 30004, "msg": "User not logged in"}))
    assert json.loads(login.text)["op"] == "login"
    driver.frame({"event": "login", "code": 0})
    (fail,) = of(Fail, driver.frame({"event": "error", "code": 30004, "msg": "User not logged in"}))
    assert fail.kind is FailKind.TRANSIENT


# --- subscriptions ---


@pytest.mark.parametrize(
    ("exchange", "products"),
    [
        ("bitget", ["SPOT"]),
        ("bitgetUsdm", ["USDT-FUTURES", "USDC-FUTURES"]),
        ("bitgetCoinm", ["COIN-FUTURES"]),
    ],
)
def test_orders_and_balances_of_every_product_type_are_subscribed(exchange: str, products: list[str]) -> None:
    driver, _ = dialled(exchange)
    args = args_of(driver.frame({"event": "login", "code": 0}))
    assert args == [{"instType": p, "channel": "orders", "instId": "default"} for p in products] + [
        {"instType": p, "channel": "account", "coin": "default"} for p in products
    ]


def test_live_only_after_every_argument_is_acknowledged() -> None:
    driver, _ = dialled("bitgetUsdm")
    args = args_of(driver.frame({"event": "login", "code": 0}))
    for arg in args[:-1]:
        assert driver.frame({"event": "subscribe", "arg": arg}) == []
    assert driver.frame({"event": "subscribe", "arg": args[-1]}) == [Live("s1")]
    assert driver.frame({"event": "subscribe", "arg": args[-1]}) == []


def test_a_product_type_that_the_account_lacks_is_left_out() -> None:
    driver, _ = dialled("bitgetUsdm")
    args = args_of(driver.frame({"event": "login", "code": 0}))
    refusal = {"event": "error", "arg": args[1], "code": 30001, "msg": "doesn't exist", "op": "subscribe"}
    assert of(Note, driver.frame(refusal))
    outputs = [output for arg in (args[0], *args[2:]) for output in driver.frame({"event": "subscribe", "arg": arg})]
    assert of(Live, outputs) == [Live("s1")]


def test_a_stream_without_any_order_channel_is_no_stream() -> None:
    driver, _ = dialled()
    args = args_of(driver.frame({"event": "login", "code": 0}))
    (fail,) = driver.frame({"event": "error", "arg": args[0], "code": "30001", "msg": "doesn't exist"})
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.TRANSIENT


def test_a_silent_subscription_is_repeated_once_then_given_up() -> None:
    driver, _ = dialled()
    driver.frame({"event": "login", "code": 0})
    assert len(args_of(driver.wake())) == 2
    assert driver.mono == 1010.0
    (fail,) = of(Fail, driver.wake())
    assert fail.kind is FailKind.TRANSIENT


@pytest.mark.parametrize(("code", "wait"), [(30006, 1.0), ("30007", 60.0)])
def test_message_limits_bind_the_address(code: int | str, wait: float) -> None:
    driver = live()
    (fail,) = driver.frame({"event": "error", "code": code, "msg": "request too many"})
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.retry_after_s) == (FailKind.RATE_LIMITED, wait)


def test_text_pings_keep_a_pong_deadline_that_later_pings_do_not_move() -> None:
    driver = live()
    (ping,) = driver.wake()
    assert ping == Send("ping", urgent=True)
    assert driver.mono == 1025.0
    assert driver.frame(b"pong") == []
    driver.wake()
    assert driver.mono == 1050.0
    (fail,) = of(Fail, driver.wake())
    assert driver.mono == 1060.0
    assert fail.reason == "no answer to a ping for 10 s"


@pytest.mark.parametrize(
    "frame", [b"", b"\xff", b"[]", b"{", b"[" * 100_000, b'{"event":"odd"}', b'{"action":"update"}']
)
def test_garbage_costs_the_frame_only(frame: bytes) -> None:
    driver = live()
    outputs = driver.frame(frame)
    assert outputs
    assert all(isinstance(output, Note) for output in outputs)


# --- events ---


def test_a_partial_fill_after_the_last_one_is_not_published() -> None:
    driver = live()
    filled = driver.frame(order(status="filled", accBaseVolume="2", priceAvg="99"))
    assert of(Emit, filled)
    assert driver.frame(order(status="partially_filled", accBaseVolume="1", priceAvg="99")) == [Seen("s1")]
    assert of(Emit, driver.frame(order(status="filled", accBaseVolume="2", priceAvg="99")))


def test_an_unknown_order_state_is_reported_not_guessed() -> None:
    driver = live()
    (note,) = driver.frame(order(status="melting"))
    assert isinstance(note, Note)
    assert "melting" in note.what


def fee_frame(trade: str, size: str, total: str, fee: str, coin: str = "BTC", status: str = "partially_filled") -> Any:
    fields = {"tradeId": trade, "baseVolume": size, "fillFee": fee, "fillFeeCoin": coin, "fillPrice": "100"}
    return order(status=status, accBaseVolume=total, priceAvg="100", **fields)


def test_fees_of_all_fills_are_added_up_as_a_positive_cost() -> None:
    driver = live()
    (first,) = of(Emit, driver.frame(fee_frame("t1", "0.5", "0.5", "-0.0005")))
    driver.frame(fee_frame("t1", "0.5", "0.5", "-0.0005"))
    (second,) = of(Emit, driver.frame(fee_frame("t2", "1.5", "2", "-0.0015", status="filled")))
    for emit, fee in ((first, "0.0005"), (second, "0.002")):
        assert isinstance(emit.event, ExecutionReport)
        assert (emit.event.fee_paid, emit.event.fee_asset) == (fee, "BTC")


def test_a_part_of_the_fees_is_not_published_as_the_whole() -> None:
    driver = live()
    (emit,) = of(Emit, driver.frame(fee_frame("t2", "1.5", "2", "-0.0015", status="filled")))
    assert isinstance(emit.event, ExecutionReport)
    assert not emit.event.fee_paid


def test_a_stream_that_joined_after_the_first_fill_tells_the_fees_that_the_row_states() -> None:
    driver = live()
    frame = fee_frame("t2", "1.5", "2", "-0.0015", status="filled")
    frame["data"][0]["feeDetail"] = [{"feeCoin": None, "fee": None}, {"feeCoin": "BTC", "fee": "-0.002"}]
    (emit,) = of(Emit, driver.frame(frame))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.fee_paid, emit.event.fee_asset) == ("0.002", "BTC")


def test_a_cancelled_futures_push_without_an_average_keeps_the_one_of_its_fills() -> None:
    driver = live("bitgetUsdm")
    part: Any = order(status="partially_filled", size="2", accBaseVolume="1", priceAvg="99")
    gone: Any = order(status="canceled", size="2", accBaseVolume="1", priceAvg=None)
    for frame in (part, gone):
        frame["arg"]["instType"] = "USDT-FUTURES"
        (emit,) = of(Emit, driver.frame(frame))
        assert isinstance(emit.event, ExecutionReport)
        assert (emit.event.price, emit.event.total_quote_trade_quantity, emit.event.quantity) == ("99", "99", "2")


def test_a_row_of_nulls_costs_itself_and_no_order_beside_it() -> None:
    driver = live()
    frame: Any = order(status="filled", accBaseVolume="2", priceAvg="99", orderType=None, tradeSide=None)
    frame["data"] = [{"orderId": None}, *frame["data"], {**frame["data"][0], "orderId": "8", "uTime": "soon"}, "odd"]
    outputs = driver.frame(frame)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["1"]
    assert len(of(Note, outputs)) == 2


def test_fees_in_two_currencies_are_listed() -> None:
    driver = live()
    driver.frame(fee_frame("t1", "1", "1", "-0.001", "BTC"))
    (emit,) = of(Emit, driver.frame(fee_frame("t2", "1", "2", "-0.3", "BGB", status="filled")))
    assert isinstance(emit.event, ExecutionReport)
    assert [(part.asset, part.amount) for part in emit.event.fee_breakdown or ()] == [("BTC", "0.001"), ("BGB", "0.3")]


@pytest.mark.parametrize(
    ("trade_side", "pos_side", "side", "expected", "liquidation"),
    [
        ("open", "long", "buy", "BUY", False),
        ("close", "long", "buy", "SELL", False),
        ("open", "short", "sell", "SELL", False),
        ("close", "short", "sell", "BUY", False),
        ("buy_single", "net", "buy", "BUY", False),
        ("sell_single", "net", "sell", "SELL", False),
        ("reduce_close_long", "long", "buy", "SELL", True),
        ("burst_close_short", "short", "sell", "BUY", True),
        ("offset_close_long", "long", "buy", "SELL", True),
        ("reduce_buy_single", "net", "sell", "BUY", True),
        ("burst_sell_single", "net", "buy", "SELL", True),
        ("delivery_close_long", "long", "buy", "SELL", False),
        ("delivery_sell_single", "net", "buy", "SELL", False),
        ("dte_sys_adl_close_short", "short", "sell", "BUY", False),
        ("dte_sys_adl_buy_in_single_side_mode", "net", "sell", "BUY", False),
        ("dte_sys_adl_sell_in_single_side_mode", "net", "buy", "SELL", False),
    ],
)
def test_the_real_direction_is_derived_from_position_and_trade_side(
    trade_side: str, pos_side: str, side: str, expected: str, liquidation: bool
) -> None:
    driver = live("bitgetUsdm")
    frame: Any = order(tradeSide=trade_side, posSide=pos_side, side=side, size="2")
    frame["arg"]["instType"] = "USDC-FUTURES"
    (emit,) = of(Emit, driver.frame(frame))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.side == expected
    assert (emit.event.liquidation is True) is liquidation


# --- gap repair ---


def known(order_id: str, **fields: Any) -> KnownOrder:
    values: dict[str, Any] = {"symbol": "BTCUSDT", "status": "NEW", "client_order_id": f"c{order_id}"} | fields
    return KnownOrder(order_id=order_id, **values)


def row(order_id: str, **fields: object) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "orderId": order_id,
        "clientOid": f"c{order_id}",
        "price": "100",
        "size": "2",
        "orderType": "limit",
        "side": "buy",
        "status": "live",
        "priceAvg": "100",
        "baseVolume": "0",
        "quoteVolume": "0",
        "cTime": str(WALL - 9_000),
        "uTime": str(WALL - 1_000),
        **fields,
    }


def repairing(exchange: str, resume: Resume, answer: object = OK) -> tuple[Driver, list[Call]]:
    driver, _ = dialled(exchange, resume, answer)
    outputs = driver.ack(driver.frame({"event": "login", "code": 0}))
    assert not of(Live, outputs)
    return driver, of(Call, outputs)


def test_a_spot_gap_is_read_and_merged_before_live_events() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("1"), known("2"), known("3", status="CANCELED")))
    driver, calls = repairing("bitget", resume)
    paths = {call.tag: call.url.removeprefix("https://api.bitget.com") for call in calls}
    assert paths["open orders"] == "/api/v2/spot/trade/unfilled-orders?limit=100"
    times = f"endTime={WALL + 60_000}&limit=100&startTime={WALL - 60_000}"
    assert paths["closed orders"] == f"/api/v2/spot/trade/history-orders?{times}"
    assert paths["balances"] == "/api/v2/spot/account/assets?assetType=hold_only"
    by_tag = {call.tag: call for call in calls}
    assert not of(Emit, driver.frame(order(orderId="9")))
    fee = {"newFees": {"t": -0.002}, "BTC": {"feeCoinCode": "BTC", "totalFee": -0.002}}
    done = row("1", status="filled", baseVolume="2", quoteVolume="198", feeDetail=json.dumps(fee))
    driver.answer(by_tag["closed orders"], {"code": "00000", "data": [done]})
    coins = [{"coin": "USDT", "available": "5", "frozen": "1", "locked": "0.5"}]
    driver.answer(by_tag["balances"], {"code": "00000", "data": coins})
    outputs = driver.answer(by_tag["open orders"], {"code": "00000", "data": None})
    (single,) = of(Call, outputs)
    assert single.url.endswith("/api/v2/spot/trade/orderInfo?orderId=2")
    gone = row("2", status="cancelled", uTime=str(WALL - 5_000))
    outputs = driver.answer(single, {"code": "00000", "data": [gone]})
    reports = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert [(report.order_id, report.order_status, report.price) for report in reports] == [
        ("2", "CANCELED", "100"),
        ("1", "FILLED", "99"),
        ("9", "NEW", "100"),
    ]
    assert reports[1].total_quote_trade_quantity == "198"
    assert (reports[1].fee_paid, reports[1].fee_asset) == ("0.002", "BTC")
    (position,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]
    assert position.balances[0].locked == "1.5"
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert (went.gap.orders, went.gap.balances) == (2, 1)


def test_an_order_below_one_coin_has_its_average_after_a_gap_not_its_limit() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    done = row("1", status="filled", price="110", size="0.5", baseVolume="0.5", quoteVolume="50")
    outputs = [
        output
        for call in calls
        for output in driver.answer(call, {"code": "00000", "data": [done] if call.tag == "closed orders" else []})
    ]
    (report,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert (report.price, report.total_quote_trade_quantity) == ("100", "50")
    (emit,) = of(Emit, driver.frame(order(orderId="1", status="filled", accBaseVolume="0.5", priceAvg="", price="110")))
    assert isinstance(emit.event, ExecutionReport)
    assert emit.event.price == "100", "the average is remembered over the gap"


def test_a_linear_gap_covers_both_product_types() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("7", symbol="ODDUSDC"),))
    driver, calls = repairing("bitgetUsdm", resume)
    assert sorted(call.tag for call in calls) == ["balances"] * 2 + ["closed orders"] * 2 + ["open orders"] * 2
    outputs: list[Output] = []
    for call in calls:
        assert "USDT-FUTURES" in call.url or "USDC-FUTURES" in call.url
        if call.tag == "balances":
            coin = {"marginCoin": "USDT", "available": "5", "isolatedMargin": "1", "crossedMargin": "2"}
            outputs += driver.answer(call, {"code": "00000", "data": [coin]})
        else:
            outputs += driver.answer(call, {"code": "00000", "data": {"entrustedList": None, "endId": None}})
    (single,) = of(Call, outputs)
    assert single.url.endswith("/api/v2/mix/order/detail?orderId=7&productType=USDC-FUTURES&symbol=ODDUSDC")
    state = row("7", symbol="ODDUSDC", state="canceled", status=None, side="buy", tradeSide="close", posSide="long")
    outputs = driver.answer(single, {"code": "00000", "data": state})
    (report,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert (report.order_status, report.side) == ("CANCELED", "SELL")
    positions = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]
    assert (positions[0].balances[0].free, positions[0].balances[0].locked) == ("5", "3")


def test_full_pages_are_followed_by_their_last_id() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    closed = next(call for call in calls if call.tag == "closed orders")
    rows = [row(str(n), status="cancelled") for n in range(100, 0, -1)]
    (following,) = of(Call, driver.answer(closed, {"code": "00000", "data": rows}))
    assert "idLessThan=1&" in following.url


def test_full_pages_of_futures_are_followed_by_the_id_that_the_venue_names() -> None:
    driver, calls = repairing("bitgetUsdm", Resume(since_ms=WALL - 60_000))
    closed = next(call for call in calls if call.tag == "closed orders")
    rows = [row(str(n), status="canceled", posSide="long", tradeSide="open") for n in range(200, 100, -1)]
    page = {"entrustedList": rows, "endId": "77"}
    (following,) = of(Call, driver.answer(closed, {"code": "00000", "data": page}))
    assert "idLessThan=77&" in following.url
    assert not of(Call, driver.answer(following, {"code": "00000", "data": {"entrustedList": rows, "endId": None}}))


def test_full_pages_of_a_unified_account_are_followed_by_their_cursor() -> None:
    resume = Resume(since_ms=WALL - 60_000)
    driver, calls = repairing("bitgetUsdm", resume, {"code": "40085", "msg": "Unified Account"})
    assert not [call for call in calls if "cursor=" in call.url]
    closed = next(call for call in calls if call.tag == "closed orders")
    page = {"list": [{"orderId": str(n)} for n in range(100)], "cursor": "55"}
    (following,) = of(Call, driver.answer(closed, {"code": "00000", "data": page}))
    assert "&cursor=55&" in following.url


def test_a_unified_order_that_the_venue_answers_with_nothing_is_not_known() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("2"),))
    driver, calls = repairing("bitgetUsdm", resume, {"code": "40085", "msg": "Unified Account"})
    nothing = {"code": "00000", "data": {"list": []}}
    (single,) = of(Call, [output for call in calls for output in driver.answer(call, nothing)])
    (went,) = of(Live, driver.answer(single, {"code": "00000", "data": None}))
    assert went.gap is not None
    assert "order 2: not known to the venue" in went.gap.missing


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"quoteVolume": None, "priceAvg": "98"}, ("2", "98", "49")),  # the value by its average
        ({"quoteVolume": "49", "orderType": "market", "size": "50"}, ("0.5", "98", "49")),  # bought for 50 of money
        ({"quoteVolume": "49", "orderType": "market", "side": "sell", "size": "0.7"}, ("0.7", "98", "49")),
        ({"quoteVolume": "49", "size": "0.7"}, ("0.7", "98", "49")),
    ],
)
def test_sizes_and_values_of_a_spot_order_after_a_gap_are_its_own(
    fields: dict[str, object], told: tuple[str, str, str]
) -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    done = row("1", status="filled", price="110", baseVolume="0.5") | fields
    outputs = [
        output
        for call in calls
        for output in driver.answer(call, {"code": "00000", "data": [done] if call.tag == "closed orders" else []})
    ]
    (report,) = [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]
    assert (report.quantity, report.price, report.total_quote_trade_quantity) == told


def test_vanished_orders_are_asked_for_in_small_steps() -> None:
    orders = tuple(known(str(n)) for n in range(12))
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000, orders=orders))
    outputs = [output for call in calls for output in driver.answer(call, OK)]
    steps = []
    while not of(Live, outputs):
        singles = of(Call, outputs)
        steps.append(len(singles))
        outputs = [o for call in singles for o in driver.answer(call, {"code": "00000", "data": []})]
    assert steps == [5, 5, 2]
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert "order 3: not known to the venue" in went.gap.missing


def test_a_rate_limited_repair_asks_again_with_a_fresh_signature() -> None:
    driver, calls = repairing("bitget", Resume(since_ms=WALL - 60_000))
    balances = next(call for call in calls if call.tag == "balances")
    for call in calls:
        if call is not balances:
            driver.answer(call, OK)
    assert driver.answer(balances, {"code": "40725", "msg": "too many requests"}) == []
    (again,) = of(Call, driver.wake())
    assert again.attempt == 2
    assert again.headers["ACCESS-TIMESTAMP"] != balances.headers["ACCESS-TIMESTAMP"]
    assert of(Live, driver.answer(again, OK))


def test_a_unified_gap_uses_the_v3_calls() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known("2"),))
    driver, calls = repairing("bitgetUsdm", resume, {"code": "40085", "msg": "Unified Account"})
    assert sorted(call.tag for call in calls) == ["balances"] + ["closed orders"] * 2 + ["open orders"] * 2
    outputs: list[Output] = []
    for call in calls:
        if call.tag == "balances":
            assets = {"assets": [{"coin": "USDT", "available": "3", "locked": "1"}]}
            outputs += driver.answer(call, {"code": "00000", "data": assets})
        else:
            outputs += driver.answer(call, {"code": "00000", "data": {"list": [], "cursor": None}})
    (single,) = of(Call, outputs)
    assert single.url.endswith("/api/v3/trade/order-info?orderId=2")
    info = {"category": "usdt-futures", "symbol": "BTCUSDT", "orderId": "2", "orderStatus": "filled", "side": "buy"}
    info |= {"orderType": "limit", "price": "100", "qty": "2", "cumExecQty": "2", "cumExecValue": "199"}
    info |= {"avgPrice": "99.5", "createdTime": str(WALL), "updatedTime": str(WALL)}
    outputs = driver.answer(single, {"code": "00000", "data": info})
    report = of(Emit, outputs)[0].event
    assert isinstance(report, ExecutionReport)
    assert (report.total_quote_trade_quantity, report.price) == ("199", "99.5")
    assert of(Live, outputs)


def test_a_unified_account_subscribes_topics() -> None:
    driver, _ = dialled(answer={"code": "40085", "msg": "Unified Account"})
    args = args_of(driver.frame({"event": "login", "code": "0", "connId": "c"}))
    assert args == [{"instType": "UTA", "topic": "order"}, {"instType": "UTA", "topic": "account"}]
    assert driver.frame({"event": "subscribe", "arg": args[0]}) == []
    assert driver.frame({"event": "subscribe", "arg": args[1]}) == [Live("s1")]


# --- tickers ---


@pytest.mark.parametrize("number", [1, CHANNELS_PER_CONNECTION, CHANNELS_PER_CONNECTION + 1, 950])
def test_every_tradable_symbol_is_in_exactly_one_shard(number: int) -> None:
    table = SymbolTable(Instrument(wire=f"S{n}", pair=f"S{n}", kind="SPOT", active=n % 10 != 9) for n in range(number))
    shards = VENUE.ticker_shards("bitget", table)
    assert all(len(shard) <= CHANNELS_PER_CONNECTION for shard in shards)
    names = [wire for shard in shards for wire in shard]
    assert sorted(names) == sorted(instrument.wire for instrument in table.active())
    assert VENUE.ticker_shards("bitget", EMPTY) == []


def feed(make: Callable[[Setup], Adapter], exchange: str, table: SymbolTable, *items: Any, **options: str) -> Driver:
    driver = Driver(make, exchange, table, **options)
    for item in items:
        assert driver.add(item) == []
    assert driver.start() == [Connect("wss://ws.bitget.com/v2/ws/public")]
    return driver


def test_the_product_type_of_a_ticker_comes_from_the_instrument_list() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitgetUsdm", symbols=("BTCUSDT", "BTCPERP", "ODDUSDC"))
    driver = feed(VENUE.ticker, "bitgetUsdm", USDM, shard)
    outputs = driver.connected()
    assert [arg["instType"] for arg in args_of(outputs)] == ["USDT-FUTURES", "USDC-FUTURES", "USDC-FUTURES"]
    assert driver.ack(outputs) == [Live("t")]


def test_subscribe_frames_stay_small() -> None:
    symbols = tuple(f"SYMBOL{n}USDT" for n in range(200))
    driver = feed(VENUE.ticker, "bitget", EMPTY, TickerSubscription(stream_id="t", exchange="bitget", symbols=symbols))
    outputs = driver.connected()
    frames = [send.text for send in of(Send, outputs)]
    assert [len(json.loads(frame)["args"]) for frame in frames] == [40] * 5
    assert max(map(len, frames)) < 4096
    assert of(Live, driver.ack(outputs)) == [Live("t")]


def test_a_refused_symbol_does_not_stop_the_shard_even_without_its_argument() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT", "GONE"))
    driver = feed(VENUE.ticker, "bitget", SPOT, shard)
    args = args_of(driver.connected())
    assert driver.frame({"event": "subscribe", "arg": args[0]}) == []
    outputs = driver.frame({"event": "error", "code": 30001, "msg": "instId:GONE doesn't exist"})
    assert of(Live, outputs) == [Live("t")]
    assert of(Note, outputs)


def test_a_symbol_that_is_never_answered_does_not_stop_the_shard() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT", "GONE"))
    driver = feed(VENUE.ticker, "bitget", SPOT, shard)
    args = args_of(driver.connected())
    driver.frame({"event": "subscribe", "arg": args[0]})
    assert args_of(driver.wake()) == [args[1]]
    assert of(Live, driver.wake()) == [Live("t")]


def test_empty_figures_do_not_cost_the_ticker() -> None:
    shard = TickerSubscription(stream_id="t", exchange="bitget", symbols=("BTCUSDT",))
    driver = feed(VENUE.ticker, "bitget", SPOT, shard)
    driver.ack(driver.connected())
    arg = {"instType": "SPOT", "channel": "ticker", "instId": "BTCUSDT"}
    row = {"instId": "BTCUSDT", "lastPr": "1.5", "askSz": "", "bidSz": None, "baseVolume": "7"}
    (emit,) = driver.frame({"action": "snapshot", "arg": arg, "data": [row], "ts": WALL})
    assert isinstance(emit, EmitTickers)
    assert (emit.tickers[0].price, emit.tickers[0].best_ask_qnt, emit.tickers[0].volume) == (1.5, 0.0, 7.0)
    row["lastPr"] = ""
    assert driver.frame({"action": "snapshot", "arg": arg, "data": [row], "ts": WALL}) == [Seen("t")]


def test_demo_prices_use_the_demo_host() -> None:
    driver = Driver(VENUE.ticker, "bitget", SPOT, BITGETENV="demo")
    assert driver.start() == [Connect("wss://wspap.bitget.com/v2/ws/public")]
    for call in VENUE.instruments("bitget", {"BITGETENV": "demo"}).start():
        assert call.headers == {"paptrading": "1"}


# --- candles ---


def asked(stream_id: str, interval: str, symbol: str = "BTCUSDT", **fields: Any) -> CandleSubscription:
    return CandleSubscription(stream_id=stream_id, exchange="bitget", symbol=symbol, interval=interval, **fields)


def candle_frame(channel: str, start: int, action: str = "update") -> dict[str, object]:
    arg = {"instType": "SPOT", "channel": channel, "instId": "BTCUSDT"}
    rows = [[str(start), "1", "3", "0.5", "2", "10", "20", "21"]]
    return {"action": action, "arg": arg, "data": rows, "ts": WALL}


def test_two_names_of_one_candle_share_a_channel_and_publish_under_both() -> None:
    driver = feed(VENUE.candle, "bitget", SPOT, asked("a", "3min"), asked("b", "candle3m"))
    outputs = driver.connected()
    assert args_of(outputs) == [{"instType": "SPOT", "channel": "candle3m", "instId": "BTCUSDT"}]
    assert of(Live, driver.ack(outputs)) == [Live("a"), Live("b")]
    assert driver.frame(candle_frame("candle3m", WALL, "snapshot")) == [Seen("a"), Seen("b")]
    emits = of(EmitCandle, driver.frame(candle_frame("candle3m", WALL)))
    assert [(emit.interval, emit.candle.volume) for emit in emits] == [("3min", "20"), ("candle3m", "20")]


def test_candles_added_later_are_gathered_into_one_frame() -> None:
    driver = feed(VENUE.candle, "bitget", SPOT)
    assert driver.connected() == []
    driver.add(asked("a", "candle1m"))
    driver.add(asked("b", "candle1H", "ETHUSDT"))
    outputs = driver.wake()
    assert len(args_of(outputs)) == 2
    assert len(of(Send, outputs)) == 1
    assert of(Live, driver.ack(outputs)) == [Live("a"), Live("b")]
    assert driver.remove("a") == []
    (send,) = of(Send, driver.wake())
    assert json.loads(send.text)["op"] == "unsubscribe"
    assert driver.frame(candle_frame("candle1m", WALL)) == []


def test_the_hourly_subscribe_allowance_is_kept() -> None:
    table = SymbolTable(Instrument(wire=f"S{n}", pair=f"S{n}", kind="SPOT") for n in range(300))
    driver = feed(VENUE.candle, "bitget", table)
    driver.connected()
    times = []
    for n in range(232):
        driver.add(asked(f"c{n}", "1m", f"S{n}"))
        for _ in range(1000):
            outputs = driver.wake()
            if Send("ping", urgent=True) in outputs:
                driver.frame(b"pong")
            if args_of(outputs):
                break
        driver.ack(outputs)
        times.append(driver.mono)
    assert times[229] - times[0] < 3600
    assert times[230] - times[0] >= 3600


def test_candles_missed_by_a_reconnect_come_first_and_in_order() -> None:
    minute = 60_000
    start = WALL - WALL % minute
    driver = feed(VENUE.candle, "bitget", SPOT, asked("a", "candle1m", resume_start_ms=start - 2 * minute))
    (call,) = of(Call, driver.ack(driver.connected()))
    assert call.url.startswith("https://api.bitget.com/api/v2/spot/market/candles?")
    assert "granularity=1min" in call.url
    assert f"startTime={start - 2 * minute}" in call.url
    assert driver.frame(candle_frame("candle1m", start)) == [Seen("a")]
    rows = [[str(start - n * minute), "1", "3", "0.5", f"{n}", "10", "31", "30"] for n in (2, 1, 0)]
    outputs = driver.answer(call, {"code": "00000", "data": rows})
    emits = of(EmitCandle, outputs)
    assert [((emit.candle.start - start) // minute, emit.candle.volume) for emit in emits] == [
        (-2, "30"),
        (-1, "30"),
        (0, "20"),
    ]
    (went,) = of(Live, outputs)
    assert went.gap is not None
    assert went.gap.candles == 2


def test_a_candle_that_the_venue_refuses_ends_only_its_own_subscription() -> None:
    driver = feed(VENUE.candle, "bitget", SPOT, asked("a", "1m"), asked("b", "8h"))
    args = args_of(driver.connected())
    (fail,) = driver.frame({"event": "error", "arg": args[1], "code": 30016, "msg": "Param error", "op": "subscribe"})
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "b")
    assert driver.frame({"event": "subscribe", "arg": args[0]}) == [Live("a")]


@pytest.mark.parametrize(
    ("channel", "spellings"),
    [
        ("candle1m", ["1m", "1min", "candle1m"]),
        ("candle3m", ["3m", "3min", "candle3m"]),
        ("candle5m", ["5m", "candle5m"]),
        ("candle15m", ["15m", "candle15m"]),
        ("candle30m", ["30m", "candle30m"]),
        ("candle1H", ["1h", "1H", "candle1H"]),
        ("candle2H", ["2h", "candle2H"]),
        ("candle4H", ["4h", "candle4H"]),
        ("candle8H", ["8h", "candle8H"]),
        ("candle1Dutc", ["1d", "candle1Dutc"]),
        ("candle1Wutc", ["1w", "candle1Wutc"]),
    ],
)
def test_canonical_backend_and_channel_spellings_are_served(channel: str, spellings: list[str]) -> None:
    for spelling in spellings:
        assert VENUE.candle_refusal("bitget", "BTCUSDT", spelling, SPOT) is None
        driver = feed(VENUE.candle, "bitget", SPOT, asked("a", spelling))
        assert args_of(driver.connected())[0]["channel"] == channel


@pytest.mark.parametrize("interval", ["", "7m", "60", "1M", "candle1D", "2hour"])
def test_an_unknown_interval_is_refused_in_one_sentence(interval: str) -> None:
    refusal = VENUE.candle_refusal("bitget", "BTCUSDT", interval, SPOT)
    assert refusal is not None
    assert repr(interval) in refusal
    assert refusal.endswith(".")


def test_an_unknown_symbol_is_refused_once_the_list_is_there() -> None:
    refusal = VENUE.candle_refusal("bitgetUsdm", "BTC-USDT", "1m", USDM)
    assert refusal is not None
    assert "BTC-USDT" in refusal
    assert VENUE.candle_refusal("bitgetUsdm", "BTC-USDT", "1m", EMPTY) is None


# --- instruments ---


def test_both_linear_product_types_are_loaded_or_none() -> None:
    loader = VENUE.instruments("bitgetUsdm", {})
    calls = loader.start()
    assert [call.url.rpartition("=")[2] for call in calls] == ["USDT-FUTURES", "USDC-FUTURES"]

    def answer(symbol: str, status: str = "normal") -> Answer:
        row = {"symbol": symbol, "baseCoin": "BTC", "quoteCoin": "USDT", "symbolStatus": status}
        return Answer(200, {}, json.dumps({"code": "00000", "data": [row]}).encode())

    loader.answered(calls[0], answer("BTCUSDT"))
    assert loader.result() is None
    loader.answered(calls[1], answer("BTCPERP", "off"))
    found = loader.result()
    assert found is not None
    assert [(item.wire, item.kind, item.active) for item in found] == [
        ("BTCUSDT", "USDT-FUTURES", True),
        ("BTCPERP", "USDC-FUTURES", False),
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":"00000"}', b'{"code":"429","data":[]}'])
def test_an_unusable_symbol_list_is_no_result(body: bytes) -> None:
    loader = VENUE.instruments("bitget", {})
    for call in loader.start():
        loader.answered(call, Answer(200, {}, body))
    assert loader.result() is None


@pytest.mark.parametrize("feed_name", ["user", "ticker", "candle"])
def test_connections_are_replaced_before_the_venue_cuts_them(feed_name: Any) -> None:
    limits = VENUE.limits("bitget", feed_name)
    assert limits.lifetime_s is not None
    assert limits.lifetime_s < 24 * 3600
    assert limits.messages.limit / limits.messages.per_s < 10
    assert limits.connects.limit / limits.connects.per_s < 1
