"""The simulated OKX, as a plain client sees it, and the OKX adapters against it, over real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import websocket

from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    KnownOrder,
    Live,
    Output,
    Outputs,
    Resume,
    Rotate,
    Send,
    Setup,
    Subscription,
    TickerSubscription,
    UserSubscription,
)
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import SymbolTable
from exchanges.okx import VENUE
from simulator.simulator import Simulator

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
        for client in clients:
            client.socket.close()


# --- the adapters ---


class Driver:
    """Runs one adapter on one connection, the way a session does, in the test's own thread."""

    def __init__(self, sim: Simulator, adapter: Adapter, *subscriptions: Subscription) -> None:
        self.sim, self.adapter = sim, adapter
        self.outputs: list[Output] = []
        self.socket: websocket.WebSocket | None = None
        for subscription in subscriptions:
            self.do(adapter.add(subscription, now()))
        self.do(adapter.start(now()))

    def do(self, outputs: Outputs) -> None:
        for output in outputs:
            self.outputs.append(output)
            if isinstance(output, Call):
                self.do(self.adapter.answered(output, self._answer(output), now()))
            elif isinstance(output, Connect):
                url = output.url.replace("wss://", f"{self.sim.ws_url}/")
                self.socket = websocket.create_connection(url, timeout=0.05, skip_utf8_validation=True)
                self.do(self.adapter.connected(now()))
            elif isinstance(output, Send) and self.socket is not None:
                self.socket.send(output.text)

    def _answer(self, call: Call) -> Answer:
        url = call.url.replace("https://", f"{self.sim.url}/")
        response = requests.request(call.method, url, headers=dict(call.headers), data=call.body, timeout=WAIT_S)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    def wait(self, kind: type, count: int = 1, **fields: object) -> list[Any]:
        """Go on until so many outputs of this kind (and with these values in their event) have been made."""
        end = time.monotonic() + WAIT_S
        while True:
            found = [output for output in self.outputs if isinstance(output, kind) and _matches(output, fields)]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"no {kind.__name__} {fields} in {self.outputs[-20:]}"
            deadline = self.adapter.deadline()
            if deadline is not None and deadline <= time.monotonic():
                self.do(self.adapter.woken(now()))
            assert self.socket is not None
            try:
                opcode, data = self.socket.recv_data()
            except websocket.WebSocketTimeoutException:
                continue
            assert opcode == websocket.ABNF.OPCODE_TEXT, data
            self.do(self.adapter.received(data, now()))

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


def _matches(output: object, fields: dict[str, object]) -> bool:
    event = getattr(output, "event", output)
    return all(getattr(event, name, None) == value for name, value in fields.items())


def now() -> Instant:
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)


def made(sim: Simulator, exchange: str) -> Setup:
    """With the symbol table that the loader makes of the simulated lists."""
    loader = VENUE.instruments(exchange, {})
    for call in loader.start():
        response = requests.get(call.url.replace("https://", f"{sim.url}/"), timeout=WAIT_S)
        loader.answered(call, Answer(response.status_code, {}, response.content))
    table = SymbolTable(loader.result() or ())
    assert len(table)
    ids = itertools.count(1)
    return Setup(exchange=exchange, new_id=lambda: f"c{next(ids)}", table=lambda: table)


def user(exchange: str, resume: Resume | None = None, source: str | None = None) -> UserSubscription:
    keys = credentials(KEY, SECRET, PHRASE, okx_source=source)
    return UserSubscription(stream_id="u1", exchange=exchange, credentials=keys, resume=resume)


@pytest.fixture
def drive(sim: Simulator) -> Iterator[Any]:
    drivers: list[Driver] = []

    def begin(adapter: Adapter, *subscriptions: Subscription) -> Driver:
        drivers.append(Driver(sim, adapter, *subscriptions))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.close()


def test_an_account_goes_live_and_tells_orders_and_balances(sim, account, drive):
    session = drive(VENUE.user(made(sim, "okxLinear")), user("okxLinear", source="my"))
    session.wait(Live)
    swap = sim.place(
        account, "okxLinear", symbol="BTC-USDT-SWAP", side="BUY", quantity="2", price="61000", client_id="L1"
    )
    sim.place(account, "okxInverse", symbol="BTC-USD-SWAP", side="BUY", quantity="1", price="61000", client_id="I1")
    sim.place(
        account, "okxLinear", symbol="BTC-USD_UM_XPERP-310404", side="BUY", quantity="5", price="60000", client_id="X1"
    )
    sim.fill(swap.order_id, quantity="0.5", price="60990")
    sim.fill(swap.order_id)
    session.wait(Emit, order_status="FILLED", new_client_order_id="L1")
    session.wait(Emit, symbol="BTC-USD_UM_XPERP")
    events = [output.event for output in session.outputs if isinstance(output, Emit)]
    orders = [event for event in events if isinstance(event, ExecutionReport)]
    mine = [event for event in orders if event.new_client_order_id == "L1"]
    assert [event.order_status for event in mine] == ["NEW", "PARTIALLY_FILLED", "FILLED"]
    assert (mine[-1].total_trade_quantity, mine[-1].symbol) == ("2", "BTC-USDT")
    assert not [event for event in orders if event.new_client_order_id == "I1"]
    assert any(isinstance(event, AccountPosition) for event in events)


def test_what_happened_while_away_is_repaired(sim, account, drive):
    first = drive(VENUE.user(made(sim, "okx")), user("okx"))
    first.wait(Live)
    filled, canceled, untouched = (
        sim.place(account, "okx", symbol="BTC-USDT", side="BUY", quantity="1", price="60000", client_id=name)
        for name in ("F", "C", "U")
    )
    first.wait(Emit, new_client_order_id="U")
    left_ms = time.time_ns() // 1_000_000
    first.close()
    sim.fill(filled.order_id)
    sim.cancel(canceled.order_id)
    made_away = sim.place(account, "okx", symbol="ETH-USDT", side="SELL", quantity="1", price="3000", client_id="N")
    known = tuple(
        KnownOrder(
            order_id=str(order.order_id),
            client_order_id=order.client_id,
            symbol="BTC-USDT",
            status="NEW",
            price="60000",
            quantity="1",
        )
        for order in (filled, canceled, untouched)
    )
    second = drive(VENUE.user(made(sim, "okx")), user("okx", Resume(since_ms=left_ms, orders=known)))
    (live,) = second.wait(Live)
    told = {
        output.event.order_id: output.event.order_status
        for output in second.outputs
        if isinstance(output, Emit) and isinstance(output.event, ExecutionReport)
    }
    assert told == {
        str(filled.order_id): "FILLED",
        str(canceled.order_id): "CANCELED",
        str(made_away.order_id): "NEW",
    }
    assert (live.gap.orders, live.gap.balances, live.gap.missing) == (3, 1, ())


def test_a_skewed_clock_does_not_keep_the_account_out(sim, account, drive):
    sim.fault("clock_skew", venue="okx", ms=120_000)
    drive(VENUE.user(made(sim, "okx")), user("okx")).wait(Live)


def test_a_dead_key_is_refused_and_an_ambiguous_refusal_is_not(sim, account, drive):
    sim.reject_key(account, "50111")
    (fail,) = drive(VENUE.user(made(sim, "okx")), user("okx")).wait(Fail)
    assert fail.kind is FailKind.CREDENTIAL
    sim.reject_key(account, "60009")
    (fail,) = drive(VENUE.user(made(sim, "okx")), user("okx")).wait(Fail)
    assert fail.kind is FailKind.TRANSIENT


def test_an_upgrade_notice_asks_for_a_replacement(sim, account, drive):
    session = drive(VENUE.user(made(sim, "okx")), user("okx"))
    session.wait(Live)
    sim.fault("maintenance", venue="okx", feed="user")
    session.wait(Rotate)


def test_tickers_of_a_shard(sim, drive):
    setup = made(sim, "okxLinear")
    (shard,) = VENUE.ticker_shards("okxLinear", setup.table())
    subscription = TickerSubscription(stream_id="t", exchange="okxLinear", symbols=shard)
    session = drive(VENUE.ticker(setup), subscription)
    session.wait(Live)
    sim.set_price("okxLinear", "BTC-USDT-SWAP", "61111.1")
    session.wait(EmitTickers, 20)
    symbols = {row.symbol for output in session.wait(EmitTickers) for row in output.tickers}
    assert {"BTC-USDT", "BTC-USD_UM_XPERP"} <= symbols


def test_candles_closed_while_away_and_live_ones(sim, drive):
    start = sim.close_candle("okx", "BTC-USDT", "1m")
    subscription = CandleSubscription(
        stream_id="c", exchange="okx", symbol="BTC-USDT", interval="candle1m", resume_start_ms=start - 3 * 60_000
    )
    session = drive(VENUE.candle(made(sim, "okx")), subscription)
    (live,) = session.wait(Live)
    repaired = [output.candle.start for output in session.outputs if isinstance(output, EmitCandle)]
    assert repaired == [start - 2 * 60_000, start - 60_000, start]
    assert live.gap.candles == 3
    closed = sim.close_candle("okx", "BTC-USDT", "1m")
    assert session.wait(EmitCandle, 4)[-1].candle.start == closed
