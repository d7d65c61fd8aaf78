"""The simulated Kraken over real sockets: what it refuses, and the adapters' whole life against it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from exchanges._adapter import (
    Emit,
    Fail,
    FailKind,
    KnownOrder,
    Live,
    Resume,
    UserSubscription,
)
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.kraken import VENUE
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

pytestmark = pytest.mark.integration

KEY = "kraken-test-key"
FUTURES_KEY = f"derivatives-{KEY}"
"""A key of the classic futures API, which takes no other."""
RAW = b"kraken test secret, sixty-four bytes long as the venue makes them"
SECRET = base64.b64encode(RAW).decode()
SPOT, FUTURES = "api.kraken.com", "futures.kraken.com"
MARKETS = {"kraken": "BTC/USD", "krakenUsdm": "PF_XBTUSD"}
BOTH = pytest.mark.parametrize("exchange", list(MARKETS))
_nonces = itertools.count(time.time_ns() // 1_000_000)


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=3, venues=["kraken"], symbols=4, tick_s=0.2, quiet=0.0, limits=False) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("kraken", KEY, SECRET)


@pytest.fixture
def futures_account(sim: Simulator) -> str:
    return sim.account("kraken", FUTURES_KEY, SECRET)


# --- a plain client ---


def sha512(message: bytes, secret: bytes = RAW) -> str:
    return base64.b64encode(hmac.digest(secret, message, "sha512")).decode()


def spot(sim: Simulator, name: str, *, key: str = KEY, secret: bytes = RAW, nonce: int = 0, **form: str) -> Any:
    """A signed spot call; its result, or its first error."""
    number = str(nonce or next(_nonces))
    body = urlencode({"nonce": number, **form})
    path = f"/0/private/{name}"
    sign = sha512(path.encode() + hashlib.sha256((number + body).encode()).digest(), secret)
    headers = {"API-Key": key, "API-Sign": sign, "Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{sim.url}/{SPOT}{path}", data=body, headers=headers, timeout=5).json()
    return answer["error"][0] if answer["error"] else answer["result"]


def public(sim: Simulator, path: str) -> Any:
    answer = requests.get(f"{sim.url}/{SPOT}/0/public/{path}", timeout=5).json()
    return answer["error"][0] if answer["error"] else answer["result"]


def futures(
    sim: Simulator, method: str, path: str, *, data: str = "", key: str = FUTURES_KEY, secret: bytes = RAW
) -> Any:
    """A signed futures call; `path` may hold a query."""
    where, _, query = path.partition("?")
    text = query + data + where.removeprefix("/derivatives")
    headers = {"APIKey": key, "Authent": sha512(hashlib.sha256(text.encode()).digest(), secret)}
    if data:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    url = f"{sim.url}/{FUTURES}{path}"
    return requests.request(method, url, data=data or None, headers=headers, timeout=5).json()


class Client:
    """A WebSocket to the simulated venue."""

    def __init__(self, sim: Simulator, address: str) -> None:
        self.socket = websocket.create_connection(f"{sim.ws_url}/{address}", timeout=10)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, value: object) -> None:
        self.socket.send(json.dumps(value))

    def until(self, **fields: object) -> Any:
        """The next frame in which these fields have these values."""
        for _ in range(1_000):
            frame = json.loads(self.socket.recv())
            if all(frame.get(name) == value for name, value in fields.items()):
                return frame
        raise AssertionError(f"no frame with {fields}")

    def subscribe(self, **params: object) -> Any:
        self.send({"method": "subscribe", "params": params, "req_id": 9})
        return self.until(method="subscribe")


def test_a_token_opens_the_private_channels_of_one_connection(sim, account):
    token = spot(sim, "GetWebSocketsToken")["token"]
    with Client(sim, "ws-auth.kraken.com/v2") as first, Client(sim, "ws-auth.kraken.com/v2") as second:
        assert first.until(channel="status")["data"][0]["system"] == "online"
        assert first.subscribe(channel="executions", token="made up")["error"] == "ESession:Invalid session"
        assert first.subscribe(channel="executions", token=token)["success"]
        assert first.until(channel="executions")["type"] == "snapshot"
        assert first.subscribe(channel="balances", token=token)["success"]
        assert first.until(channel="balances")["sequence"] == 2
        assert second.subscribe(channel="balances", token=token)["error"] == "ESession:Invalid session"
        order = sim.place(account, "kraken", symbol="BTC/USD", side="BUY", quantity="0.5", price="60000")
        row = first.until(channel="executions", type="update")["data"][0]
        assert (row["exec_type"], row["order_qty"], row["limit_price"]) == ("pending_new", 0.5, 60000)
        row = first.until(channel="executions", type="update")["data"][0]
        assert set(row) == {"order_id", "exec_type", "order_status", "timestamp"}
        sim.fill(order.order_id, price="59990")
        trade, filled = first.until(channel="executions", type="update")["data"]
        assert (trade["order_status"], trade["last_qty"], "cum_qty" in trade) == ("partially_filled", 0.5, False)
        assert (filled["exec_type"], filled["cum_qty"], "symbol" in filled) == ("filled", 0.5, False)
        rows = {row["asset"]: row for row in first.until(channel="balances", type="update")["data"]}
        assert set(rows) == {"BTC", "USD"}
        assert first.until(channel="heartbeat") == {"channel": "heartbeat"}


def test_refused_spot_calls_name_their_reason(sim, account):
    assert spot(sim, "BalanceEx", key="nobody") == "EAPI:Invalid key"
    assert spot(sim, "BalanceEx", secret=b"another") == "EAPI:Invalid signature"
    used = next(_nonces)
    assert "XXBT" in spot(sim, "BalanceEx", nonce=used)
    assert spot(sim, "BalanceEx", nonce=used) == "EAPI:Invalid nonce"
    sim.reject_key(account, "EGeneral:Permission denied")
    assert spot(sim, "GetWebSocketsToken") == "EGeneral:Permission denied"


def test_public_channels_refuse_what_the_venue_refuses(sim):
    with Client(sim, "ws.kraken.com/v2") as ws:
        text = ws.subscribe(channel="ohlc", symbol=["BTC/USD"], interval="60")["error"]
        assert text == "Subscription ohlc interval must be an integer"
        assert "not supported" in ws.subscribe(channel="ohlc", symbol=["BTC/USD"], interval=120)["error"]
        assert ws.subscribe(channel="ohlc", symbol=["BTC/USD"], interval=60)["result"]["symbol"] == "BTC/USD"
        again = ws.subscribe(channel="ohlc", symbol=["BTC/USD"], interval=5)
        assert again["error"] == "Already subscribed to one ohlc interval on this symbol"
        assert again["req_id"] == 9
        assert ws.subscribe(channel="ticker", symbol=["NO/ONE"])["error"] == "Currency pair not supported NO/ONE"
        assert "ws-auth" in ws.subscribe(channel="executions", token="x")["error"]


def test_tokenised_stocks_stand_in_lists_of_their_own(sim):
    assert "AAPLxUSD" not in public(sim, "AssetPairs")
    assert public(sim, "AssetPairs?aclass_base=tokenized_asset")["AAPLxUSD"]["wsname"] == "AAPLx/USD"
    assert public(sim, "Assets")["XXBT"]["altname"] == "XBT"
    assert public(sim, "OHLC?pair=AAPLxUSD") == "EQuery:Unknown asset pair"
    rows = public(sim, "OHLC?pair=AAPLxUSD&asset_class=tokenized_asset&interval=60")["AAPLxUSD"]
    assert len(rows) == 720


def test_spot_orders_over_rest(sim, account):
    placed = spot(sim, "AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="1", price="60000",
                  cl_ord_id="C1")["txid"][0]  # fmt: skip
    opened = spot(sim, "OpenOrders")["open"][placed]
    assert (opened["status"], opened["descr"]["pair"], opened["vol"], opened["cl_ord_id"]) == (
        "open", "XBTUSD", "1", "C1",
    )  # fmt: skip
    assert spot(sim, "BalanceEx")["ZUSD"]["hold_trade"] == "60000"
    assert spot(sim, "CancelOrder", txid=placed) == {"count": 1}
    assert spot(sim, "CancelOrder", txid=placed) == "EOrder:Unknown order"
    closed = spot(sim, "ClosedOrders", start="0", ofs="0")
    assert (closed["count"], closed["closed"][placed]["status"]) == (1, "canceled")
    assert set(spot(sim, "QueryOrders", txid=f"{placed},O000001-SIMUL-KRAKEN")) == {placed}


def test_a_signed_challenge_opens_the_private_feeds(sim, futures_account):
    with Client(sim, f"{FUTURES}/ws/v1") as ws:
        ws.send({"event": "challenge", "api_key": FUTURES_KEY})
        challenge = ws.until(event="challenge")["message"]
        proof = {"api_key": FUTURES_KEY, "original_challenge": challenge,
                 "signed_challenge": sha512(hashlib.sha256(challenge.encode()).digest())}  # fmt: skip
        ws.send({"event": "subscribe", "feed": "fills", **proof, "signed_challenge": "d3Jvbmc="})
        assert ws.until(event="alert")["message"] == "Failed to subscribe to authenticated feed"
        for feed in ("open_orders", "fills", "balances"):
            ws.send({"event": "subscribe", "feed": feed, **proof})
            assert ws.until(event="subscribed")["feed"] == feed
            ws.until(feed=f"{feed}_snapshot")
        order = sim.place(futures_account, "krakenUsdm", symbol="PF_XBTUSD", side="SELL", quantity="2", price="62000")
        body = ws.until(feed="open_orders")["order"]
        assert (body["direction"], body["qty"], body["filled"]) == (1, 2, 0)
        sim.fill(order.order_id, quantity="0.5", price="62000")
        (fill,) = ws.until(feed="fills")["fills"]
        assert (fill["buy"], fill["qty"], fill["remaining_order_qty"]) == (False, 0.5, 1.5)
        told = ws.until(feed="open_orders")
        assert (told["reason"], told["order"]["qty"], told["order"]["filled"]) == ("partial_fill", 1.5, 0.5)
        sim.cancel(order.order_id)
        gone = ws.until(feed="open_orders")
        assert (gone["is_cancel"], gone["reason"], "order" in gone) == (True, "cancelled_by_user", False)


def test_futures_over_rest(sim, futures_account):
    api = "/derivatives/api/v3"
    form = urlencode({"orderType": "lmt", "symbol": "PF_XBTUSD", "side": "buy", "size": "1", "limitPrice": "60000",
                      "cliOrdId": "A1"})  # fmt: skip
    sent = futures(sim, "POST", f"{api}/sendorder", data=form)["sendStatus"]
    (row,) = futures(sim, "GET", f"{api}/openorders")["openOrders"]
    assert (row["order_id"], row["unfilledSize"], row["cliOrdId"]) == (sent["order_id"], 1, "A1")
    sim.fill(int(sent["order_id"][-12:]))
    (fill,) = futures(sim, "GET", f"{api}/fills")["fills"]
    assert (fill["order_id"], fill["size"]) == (sent["order_id"], 1)
    query = urlencode({"lastFillTime": "2020-01-01T00:00:00.000Z"})
    assert futures(sim, "GET", f"{api}/fills?{query}")["fills"] == []
    (status,) = futures(sim, "POST", f"{api}/orders/status", data=f"orderIds={sent['order_id']}")["orders"]
    assert (status["status"], status["order"]["filled"]) == ("FULLY_EXECUTED", 1)
    events = futures(sim, "GET", "/api/history/v2/orders?sort=asc")["elements"]
    assert [next(iter(element["event"])) for element in events] == ["OrderPlaced", "OrderUpdated"]
    refused = futures(sim, "GET", f"{api}/openorders", secret=b"another")
    assert (refused["result"], refused["error"]) == ("error", "authenticationError")


def test_the_limits_are_kept():
    with Simulator(seed=3, venues=["kraken"], symbols=2) as sim:
        sim.account("kraken", KEY, SECRET)
        sim.account("kraken", FUTURES_KEY, SECRET)
        told = [spot(sim, "TradesHistory") for _ in range(11)]
        assert "EAPI:Rate limit exceeded" in told
        told = [futures(sim, "GET", "/derivatives/api/v3/fills?lastFillTime=2020-01-01T00:00:00.000Z").get("error")
                for _ in range(41)]  # fmt: skip
        assert "apiLimitExceeded" in told


# --- the adapters ---


def user(sim: Simulator, exchange: str, resume: Resume | None = None, secret: str = SECRET) -> VenueClient:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    subscription = UserSubscription(
        stream_id="s1", exchange=exchange, credentials=credentials(KEY, secret), resume=resume
    )
    return client(VENUE, exchange, "user", sim.gateway, table).begin(subscription)


def reports(venue: VenueClient) -> list[ExecutionReport]:
    return [emit.event for emit in of(venue.outputs, Emit) if isinstance(emit.event, ExecutionReport)]


def until_status(venue: VenueClient, client_id: str, status: str) -> ExecutionReport:
    def found(_: object) -> bool:
        return any(r.new_client_order_id == client_id and r.order_status == status for r in reports(venue))

    venue.until(found)
    return next(r for r in reports(venue) if r.new_client_order_id == client_id and r.order_status == status)


@BOTH
def test_orders_that_ended_long_before_the_repair_are_found_in_the_history(sim, account, exchange):
    """`orders/status` of the futures tells only what ended within its last 5 s."""
    with user(sim, exchange) as first:
        first.wait(Live)
        order = sim.place(
            account, exchange, symbol=MARKETS[exchange], side="BUY", quantity="1", price="60000", client_id="L"
        )
        report = until_status(first, "L", "NEW")
    left_ms = time.time_ns() // 1_000_000
    sim.fill(order.order_id, quantity="0.5", price="60000")
    sim.cancel(order.order_id)
    sim.fault("clock_skew", venue="kraken", ms=60_000)
    known = KnownOrder(
        order_id=str(report.order_id), client_order_id="L", symbol="BTC-USD", status="NEW", price="60000",
        quantity="1", side="BUY", order_type="LIMIT", order_time_ms=left_ms, creation_time_ms=left_ms,
    )  # fmt: skip
    with user(sim, exchange, Resume(since_ms=left_ms - 1_000, orders=(known,))) as second:
        second.wait(Live)
        last = until_status(second, "L", "CANCELED")
        assert (last.total_trade_quantity, last.total_quote_trade_quantity) == ("0.5", "30000")


def test_lost_frames_are_noticed_and_the_connection_is_given_up(sim, account):
    with user(sim, "kraken") as venue:
        venue.wait(Live)
        sim.fault("lose", account=account, feed="user", times=1)
        sim.place(account, "kraken", symbol="BTC/USD", side="BUY", quantity="1", price="60000")
        (fail,) = venue.wait(Fail)
        assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "messages were lost: the sequence has a gap")
