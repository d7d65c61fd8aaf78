"""The simulated Bybit over real sockets: what it refuses, and the adapter's whole life against it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websocket

from exchanges._adapter import (
    Live,
    Resume,
    UserSubscription,
)
from exchanges.bybit import VENUE
from exchanges.credentials import credentials
from simulator._venue import Instant, Request
from simulator.simulator import Simulator
from tests.integration.venue_client import client, load

pytestmark = pytest.mark.integration

KEY, SECRET = "bybit-test-key", "bybit-test-secret"
PRIVATE = "stream.bybit.com/v5/private"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(venues=["bybit"], symbols=4, tick_s=0.1, move=0) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("bybit", KEY, SECRET)


def sign(text: str, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def wall() -> int:
    return time.time_ns() // 1_000_000


class Socket:
    """A raw client."""

    def __init__(self, sim: Simulator, path: str) -> None:
        self.ws = websocket.create_connection(f"{sim.ws_url}/{path}", timeout=5)

    def ask(self, **frame: Any) -> dict[str, Any]:
        self.ws.send(json.dumps(frame))
        answer: dict[str, Any] = json.loads(self.ws.recv())
        return answer

    def next(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ws.recv())
        return answer


@pytest.fixture
def private(sim: Simulator, account: str) -> Iterator[Socket]:
    socket = Socket(sim, PRIVATE)
    yield socket
    socket.ws.close()


def get(
    sim: Simulator, path: str, query: str = "", *, secret: str = SECRET, stamp: int | None = None, key: str = KEY
) -> dict[str, Any]:
    stamp = wall() if stamp is None else stamp
    headers = {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": str(stamp),
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": sign(f"{stamp}{key}5000{query}", secret),
    }
    url = f"{sim.url}/api.bybit.com{path}" + (f"?{query}" if query else "")
    answer: dict[str, Any] = requests.get(url, headers=headers, timeout=5).json()
    return answer


def user(
    account: str = "u1", resume: Resume | None = None, exchange: str = "bybit", secret: str = SECRET
) -> UserSubscription:
    return UserSubscription(stream_id=account, exchange=exchange, credentials=credentials(KEY, secret), resume=resume)


# --- the venue's refusals ---


def test_login_checks_expiry_and_signature(sim: Simulator, account: str, private: Socket) -> None:
    assert private.ask(op="subscribe", args=["order"])["ret_msg"] == "Request not authorized"
    expires = wall() - 1
    assert private.ask(op="auth", args=[KEY, expires, sign(f"GET/realtime{expires}")])["ret_msg"] == "Params Error"
    expires = wall() + 10_000
    assert private.ask(op="auth", args=[KEY, "soon", sign("GET/realtimesoon")])["ret_msg"] == "Params Error"
    assert private.ask(op="auth", args=[KEY, expires, sign("GET/realtime")])["success"] is False
    assert private.ask(op="auth", args=["nobody", expires, sign(f"GET/realtime{expires}")])["success"] is False
    assert private.ask(op="auth", args=[KEY, expires, sign(f"GET/realtime{expires}")])["success"] is True
    assert private.ask(op="subscribe", args=["nonsense"])["ret_msg"] == "error:handler not found,topic:nonsense"
    assert private.ask(op="subscribe", args=["order", "wallet"])["success"] is True
    assert private.ask(op="subscribe", args=["order"])["ret_msg"] == "error:already subscribed,topic:order"
    pong = private.ask(op="ping", req_id="p1")
    assert (pong["op"], pong["req_id"]) == ("pong", "p1")
    assert [note["what"] for note in sim.events("notes")].count("login") == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"key": "nobody"}, 10003),
        ({"secret": "wrong"}, 10004),
        ({"stamp": 1}, 10002),
        ({}, 0),
    ],
)
def test_rest_checks_key_signature_and_clock(sim: Simulator, account: str, changes: dict[str, Any], code: int) -> None:
    assert get(sim, "/v5/account/info", **changes)["retCode"] == code


def test_a_timestamp_from_the_future_is_refused(sim: Simulator, account: str) -> None:
    assert get(sim, "/v5/account/info", stamp=wall() + 30_000)["retCode"] == 10002


def test_a_rejected_key_answers_with_the_code_that_was_asked_for(sim: Simulator, account: str) -> None:
    sim.reject_key(account, "33004")
    answer = get(sim, "/v5/account/info")
    assert (answer["retCode"], answer["retMsg"]) == (33004, "Your api key has expired.")


def test_too_many_calls_of_one_account_are_refused_with_the_reset_time(sim: Simulator, account: str) -> None:
    stamp = wall()
    headers = {
        "x-bapi-api-key": KEY,
        "x-bapi-timestamp": str(stamp),
        "x-bapi-sign": sign(f"{stamp}{KEY}5000"),
    }
    request = Request(method="GET", host="api.bybit.com", path="/v5/account/info", headers=headers)
    replies = [sim.call(lambda hub, _: hub.halves["bybit"].rest(request, Instant(1.0, stamp))) for _ in range(51)]
    codes = [json.loads(reply.body)["retCode"] for reply in replies]
    assert codes == [0] * 50 + [10006]
    assert int(replies[-1].headers["X-Bapi-Limit-Reset-Timestamp"]) > stamp


def test_a_spot_request_takes_ten_topics_and_one_bad_topic_fails_it(sim: Simulator) -> None:
    socket = Socket(sim, "stream.bybit.com/v5/public/spot")
    eleven = [f"kline.{code}.{coin}USDT" for coin in ("BTC", "ETH", "SOL") for code in ("1", "3", "5", "15")][:11]
    assert socket.ask(op="subscribe", req_id="1", args=eleven)["ret_msg"] == "args size >10"
    bad = socket.ask(op="subscribe", req_id="2", args=["kline.60.BTCUSDT", "kline.8hour.BTCUSDT"])
    assert (bad["success"], bad["ret_msg"]) == (False, "error:handler not found,topic:kline.8hour.BTCUSDT")
    good = socket.ask(op="subscribe", req_id="3", args=["kline.60.BTCUSDT"])
    assert (good["success"], good["ret_msg"], good["req_id"]) == (True, "subscribe", "3")
    pong = socket.ask(op="ping", req_id="4")
    assert (pong["ret_msg"], pong["op"]) == ("pong", "ping")
    socket.ws.close()


def test_orders_can_be_placed_over_rest(sim: Simulator, account: str) -> None:
    body = json.dumps({"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "250"})
    stamp = wall()
    headers = {
        "X-BAPI-API-KEY": KEY,
        "X-BAPI-TIMESTAMP": str(stamp),
        "X-BAPI-SIGN": sign(f"{stamp}{KEY}5000{body}"),
        "Content-Type": "application/json",
    }
    url = f"{sim.url}/api.bybit.com/v5/order/create"
    made = requests.post(url, data=body, headers=headers, timeout=5).json()
    assert made["retCode"] == 0, made
    row = get(sim, "/v5/order/realtime", f"category=spot&orderId={made['result']['orderId']}")["result"]["list"][0]
    assert (row["orderStatus"], row["qty"], row["marketUnit"]) == ("Filled", "250", "quoteCoin")
    assert float(row["cumExecValue"]) <= 250


# --- the adapter ---


def test_an_account_query_that_fails_does_not_hold_the_stream(sim: Simulator, account: str) -> None:
    sim.fault("rest_reset", venue="bybit", path="/v5/account/info", times=1)
    with client(VENUE, "bybit", "user", sim.gateway).begin(user()) as found:
        assert found.wait(Live)


def test_every_page_of_the_symbol_list_is_read() -> None:
    with Simulator(venues=["bybit"], symbols=1200, tick_s=60, move=0) as big:
        assert len(load(VENUE.instruments("bybitLinear", {}), big.gateway)) == 1203
