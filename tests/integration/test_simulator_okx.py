"""The simulated OKX, as a plain client sees it, and the OKX adapters against it, over real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import websocket

from exchanges._adapter import Fail, FailKind, Live, Rotate, UserSubscription
from exchanges.credentials import credentials
from exchanges.okx import VENUE
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client

pytestmark = pytest.mark.integration

KEY, SECRET, PHRASE = "okxkey01", "okxsecret01", "okxphrase01"
WAIT_S = 10.0


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=3, venues=("okx",), symbols=4, tick_s=0.2, quiet=0.0, limits=False) as simulator:
        yield simulator


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("okx", KEY, SECRET, PHRASE)


# --- a plain client ---


def sign(text: str, secret: str = SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode()


def login_frame(
    key: str = KEY, secret: str = SECRET, phrase: str = PHRASE, seconds: int | None = None
) -> dict[str, Any]:
    stamp = str(int(time.time()) if seconds is None else seconds)
    sign_ = sign(f"{stamp}GET/users/self/verify", secret)
    return {"op": "login", "args": [{"apiKey": key, "passphrase": phrase, "timestamp": stamp, "sign": sign_}]}


class Client:
    """A WebSocket to the simulated venue that remembers what it has read."""

    def __init__(self, sim: Simulator, service: str) -> None:
        self.socket = websocket.create_connection(f"{sim.ws_url}/ws.okx.com:8443/ws/v5/{service}", timeout=WAIT_S)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, value: object) -> None:
        self.socket.send(value if isinstance(value, str) else json.dumps(value))

    def next(self) -> Any:
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big")
        return json.loads(data) if data[:1] == b"{" else data.decode()

    def until(self, **fields: object) -> Any:
        """The next frame in which these fields have these values."""
        for _ in range(1_000):
            frame = self.next()
            if isinstance(frame, dict) and all(frame.get(name) == value for name, value in fields.items()):
                return frame
        raise AssertionError(f"no frame with {fields}")

    def data(self, channel: str) -> Any:
        for _ in range(1_000):
            frame = self.next()
            if isinstance(frame, dict) and "data" in frame and frame["arg"]["channel"] == channel:
                return frame
        raise AssertionError(f"no data on {channel}")


def rest(
    sim: Simulator, method: str, path: str, body: object = None, signed: bool = True, key: str = KEY
) -> tuple[int, dict[str, Any]]:
    text = json.dumps(body) if body is not None else ""
    headers = {"Content-Type": "application/json"}
    if signed:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers |= {
            "OK-ACCESS-KEY": key,
            "OK-ACCESS-PASSPHRASE": PHRASE,
            "OK-ACCESS-TIMESTAMP": moment,
            "OK-ACCESS-SIGN": sign(moment + method + path + text),
        }
    url = f"{sim.url}/openapi.okx.com{path}"
    response = requests.request(method, url, data=text or None, headers=headers, timeout=WAIT_S)
    return response.status_code, response.json()


def test_login_and_private_channels(sim, account):
    with Client(sim, "private") as client:
        client.send({"id": "1", "op": "subscribe", "args": [{"channel": "account"}]})
        assert client.next()["code"] == "60011"
        client.send(login_frame())
        assert client.next()["event"] == "login"
        args = [
            {"channel": "account", "extraParams": '{"updateInterval": "0"}'},
            {"channel": "orders", "instType": "SWAP"},
        ]
        client.send({"id": "2", "op": "subscribe", "args": args})
        assert client.next() == {"event": "subscribe", "arg": args[0], "connId": "00000001", "id": "2"}
        assert client.next()["event"] == "channel-conn-count"
        snapshot = client.data("account")
        assert snapshot["eventType"] == "snapshot"
        assert client.until(event="subscribe")["arg"] == args[1]
        order = sim.place(account, "okxInverse", symbol="BTC-USD-SWAP", side="BUY", quantity="4", price="60000")
        row = client.data("orders")["data"][0]
        assert (row["ordId"], row["state"], row["sz"], row["instType"]) == (str(order.order_id), "live", "4", "SWAP")
        sim.fill(order.order_id, quantity="1.5", price="60000")
        row = client.data("orders")["data"][0]
        assert (row["state"], row["accFillSz"], row["avgPx"]) == ("partially_filled", "1.5", "60000")
        assert row["fee"].startswith("-")
        assert client.data("account")["eventType"] == "event_update"
        sim.cancel(order.order_id)
        assert client.data("orders")["data"][0]["cancelSource"] == "1"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"key": "nobody"}, "60032"),
        ({"phrase": "other"}, "60024"),
        ({"secret": "other"}, "60007"),
        ({"seconds": int(time.time()) - 600}, "60006"),
    ],
)
def test_refused_logins_close_the_connection(sim, account, wrong, code):
    # Made here and not while pytest collects: a login is valid for 30 s.
    with Client(sim, "private") as client:
        client.send(login_frame(**wrong))
        assert client.next()["code"] == code
        assert client.next() == 4001


def test_ping_is_text(sim):
    with Client(sim, "public") as client:
        client.send("ping")
        assert client.next() == "pong"


def test_tickers_and_a_bad_instrument_beside_good_ones(sim):
    with Client(sim, "public") as client:
        args = [{"channel": "tickers", "instId": wire} for wire in ("BTC-USDT", "NONE-USDT", "BTC-USD_UM_XPERP-310404")]
        client.send({"id": "7", "op": "subscribe", "args": args})
        seen = set()
        refused = []
        while len(seen) < 2 or not refused:
            frame = client.next()
            if frame.get("event") == "error":
                refused.append(frame)
            elif "data" in frame:
                seen.add(frame["data"][0]["instId"])
        assert refused[0]["code"] == "60018"
        assert "instId:NONE-USDT doesn't exist" in refused[0]["msg"]
        client.send({"op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT"}]})
        assert client.until(event="error")["code"] == "60018"


def test_candles_live_on_the_business_service(sim):
    with Client(sim, "business") as client:
        client.send({"id": "1", "op": "subscribe", "args": [{"channel": "candle1m", "instId": "BTC-USDT-SWAP"}]})
        assert client.next()["event"] == "subscribe"
        assert client.data("candle1m")["data"][0][8] == "0"
        start = sim.close_candle("okxLinear", "BTC-USDT-SWAP", "1m")
        while (row := client.data("candle1m")["data"][0])[8] == "0":
            pass
        assert int(row[0]) == start


def test_rest_lists_and_single_orders(sim, account):
    status, body = rest(sim, "GET", "/api/v5/public/instruments?instType=FUTURES", signed=False)
    assert status == 200
    assert {row["ruleType"] for row in body["data"]} == {"xperp"}
    order = sim.place(account, "okx", symbol="BTC-USDT", side="BUY", quantity="0.5", price="60000", client_id="C1")
    other = sim.place(account, "okx", symbol="BTC-USDT", side="BUY", quantity="0.5", price="60000")
    sim.fill(other.order_id)
    _, pending = rest(sim, "GET", "/api/v5/trade/orders-pending?instType=SPOT")
    assert [row["ordId"] for row in pending["data"]] == [str(order.order_id)]
    _, history = rest(sim, "GET", "/api/v5/trade/orders-history?instType=SPOT&limit=100")
    assert [(row["ordId"], row["state"]) for row in history["data"]] == [(str(other.order_id), "filled")]
    _, fills = rest(sim, "GET", "/api/v5/trade/fills?instType=SPOT&begin=0")
    assert [row["ordId"] for row in fills["data"]] == [str(other.order_id)]
    _, single = rest(sim, "GET", "/api/v5/trade/order?instId=BTC-USDT&clOrdId=C1")
    assert single["data"][0]["clOrdId"] == "C1"
    _, unknown = rest(sim, "GET", "/api/v5/trade/order?instId=BTC-USDT&ordId=1")
    assert unknown["code"] == "51603"
    _, money = rest(sim, "GET", "/api/v5/account/balance")
    usdt = next(row for row in money["data"][0]["details"] if row["ccy"] == "USDT")
    assert usdt["frozenBal"] == "30000"


def test_trading_over_rest(sim, account):
    order = {
        "instId": "ETH-USDT",
        "tdMode": "cash",
        "side": "buy",
        "ordType": "limit",
        "sz": "1",
        "px": "10",
        "clOrdId": "A1",
    }
    _, placed = rest(sim, "POST", "/api/v5/trade/order", order)
    assert placed["data"][0]["sCode"] == "0"
    name = {"instId": "ETH-USDT", "clOrdId": "A1"}
    _, amended = rest(sim, "POST", "/api/v5/trade/amend-order", name | {"newPx": "11"})
    assert amended["code"] == "0"
    _, canceled = rest(sim, "POST", "/api/v5/trade/cancel-order", name)
    assert canceled["code"] == "0"
    _, again = rest(sim, "POST", "/api/v5/trade/cancel-order", name)
    assert (again["code"], again["data"][0]["sCode"]) == ("1", "51400")
    _, dashed = rest(sim, "POST", "/api/v5/trade/order", order | {"clOrdId": "A-1"})
    assert dashed["code"] == "51000"


def test_refused_signatures(sim, account):
    status, body = rest(sim, "GET", "/api/v5/account/config", key="nobody")
    assert (status, body["code"]) == (401, "50119")
    sim.reject_key(account, "50111")
    status, body = rest(sim, "GET", "/api/v5/account/config")
    assert (status, body["code"]) == (401, "50111")
    sim.accept_key(account)
    sim.fault("clock_skew", venue="okx", ms=60_000)
    assert rest(sim, "GET", "/api/v5/account/config")[1]["code"] == "50102"


def test_limits_are_enforced():
    with Simulator(seed=3, venues=("okx",), symbols=2) as sim:
        sim.account("okx", KEY, SECRET, PHRASE)
        codes = [rest(sim, "GET", "/api/v5/account/config")[0] for _ in range(7)]
        assert 429 in codes
        clients = [Client(sim, "private") for _ in range(3)]
        with pytest.raises(websocket.WebSocketBadStatusException, match="429"):
            Client(sim, "private")
        for one in clients:
            one.socket.close()


# --- the adapters ---


def joining(sim: Simulator) -> VenueClient:
    one = UserSubscription(stream_id="u1", exchange="okx", credentials=credentials(KEY, SECRET, PHRASE))
    return client(VENUE, "okx", "user", sim.gateway).begin(one)


def test_an_ambiguous_refusal_is_no_dead_key(sim, account):
    sim.reject_key(account, "60009")
    with joining(sim) as session:
        (fail,) = session.wait(Fail)
    assert fail.kind is FailKind.TRANSIENT


def test_an_upgrade_notice_asks_for_a_replacement(sim, account):
    with joining(sim) as session:
        session.wait(Live)
        sim.fault("maintenance", venue="okx", feed="user")
        session.wait(Rotate)
