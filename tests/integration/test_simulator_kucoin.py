"""The simulated KuCoin over real sockets: what it refuses, and the adapters' whole life against it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
import websocket

from exchanges._adapter import (
    Call,
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
from exchanges.kucoin import VENUE
from exchanges.kucoin._signer import sign
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

pytestmark = pytest.mark.integration

KEY, SECRET, PHRASE = "kucoin-test-key", "kucoin-test-secret", "kucoin-test-phrase"
SPOT_REST, FUTURES_REST = "https://api.kucoin.com", "https://api-futures.kucoin.com"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(venues=["kucoin"], symbols=4, tick_s=0.1, move=0) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("kucoin", KEY, SECRET, PHRASE)


def wall() -> int:
    return time.time_ns() // 1_000_000


def call(sim: Simulator, method: str, path: str, *, host: str = SPOT_REST, signed: bool = True, **change: str) -> Any:
    request = Call(tag="", method=method, url=host + path)
    headers = dict(sign(request, credentials(KEY, SECRET, PHRASE), wall()).headers) if signed else {}
    headers |= {name.replace("_", "-"): value for name, value in change.items()}
    url = f"{sim.url}/{host.removeprefix('https://')}{path}"
    return requests.request(method, url, headers=headers, timeout=5)


def user(sim: Simulator, exchange: str = "kucoin", resume: Resume | None = None, key: str = KEY) -> VenueClient:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    subscription = UserSubscription(
        stream_id="s1", exchange=exchange, credentials=credentials(key, SECRET, PHRASE), resume=resume
    )
    return client(VENUE, exchange, "user", sim.gateway, table).begin(subscription)


def reports(venue: VenueClient) -> list[ExecutionReport]:
    return [emit.event for emit in of(venue.outputs, Emit) if isinstance(emit.event, ExecutionReport)]


def until_status(venue: VenueClient, client_id: str, status: str) -> ExecutionReport:
    def found(_: object) -> bool:
        return any(r.new_client_order_id == client_id and r.order_status == status for r in reports(venue))

    venue.until(found)
    return next(r for r in reports(venue) if r.new_client_order_id == client_id and r.order_status == status)


# --- what the venue refuses ---


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"KC_API_SIGN": ""}, "400001"),
        ({"KC_API_TIMESTAMP": "1700000000000"}, "400002"),
        ({"KC_API_KEY": "nobody"}, "400003"),
        ({"KC_API_PASSPHRASE": "wrong"}, "400004"),
        ({"KC_API_SIGN": "d3Jvbmc="}, "400005"),
    ],
)
def test_bad_signatures_are_told_apart(sim: Simulator, account: str, change: dict[str, str], code: str) -> None:
    reply = call(sim, "POST", "/api/v1/bullet-private", **change)
    assert (reply.status_code, reply.json()["code"]) == (401, code)


def test_a_good_signature_covers_the_query(sim: Simulator, account: str) -> None:
    reply = call(sim, "GET", "/api/v1/accounts?type=trade")
    assert reply.json()["code"] == "200000"
    assert {row["currency"] for row in reply.json()["data"]} >= {"BTC", "USDT"}


def test_weights_are_counted_per_pool(sim: Simulator, account: str) -> None:
    for _ in range(6):
        assert call(sim, "GET", "/api/ua/v1/account/mode").status_code == 200
    reply = call(sim, "GET", "/api/ua/v1/account/mode")
    while reply.status_code == 200:  # a new window may have begun between two calls
        reply = call(sim, "GET", "/api/ua/v1/account/mode")
    assert reply.json()["code"] == "429000"
    assert int(reply.headers["gw-ratelimit-reset"]) <= 3000


def socket(sim: Simulator, token: str, host: str = "ws-api-spot.kucoin.com") -> websocket.WebSocket:
    return websocket.create_connection(f"{sim.ws_url}/{host}/?token={token}&connectId=c1", timeout=5)


def token(sim: Simulator, host: str = SPOT_REST) -> str:
    reply = call(sim, "POST", "/api/v1/bullet-public", host=host, signed=False)
    return requests.utils.quote(reply.json()["data"]["token"], safe="")


def ask(ws: websocket.WebSocket, **frame: Any) -> dict[str, Any]:
    ws.send(json.dumps({"id": "7", "response": True, **frame}))
    answer: dict[str, Any] = json.loads(ws.recv())
    while answer.get("type") == "message":
        answer = json.loads(ws.recv())
    return answer


def test_a_token_opens_one_connection_of_its_own_family(sim: Simulator) -> None:
    text = token(sim)
    first = socket(sim, text)
    assert json.loads(first.recv()) == {"id": "c1", "type": "welcome"}
    second = socket(sim, text)
    assert json.loads(second.recv())["code"] == 401
    other = socket(sim, token(sim), "ws-api-futures.kucoin.com")
    assert json.loads(other.recv())["code"] == 401
    for ws in (first, second, other):
        ws.close()


def test_topics_are_checked(sim: Simulator) -> None:
    ws = socket(sim, token(sim))
    ws.recv()
    assert ask(ws, type="subscribe", topic="/market/ticker:BTC-USDT,ETH-USDT")["type"] == "ack"
    assert ask(ws, type="subscribe", topic="/market/ticker:NO-USDT")["code"] == 404
    assert ask(ws, type="subscribe", topic="/contractMarket/ticker:XBTUSDTM")["code"] == 404
    assert ask(ws, type="subscribe", topic="/spotMarket/tradeOrdersV2")["code"] == 403
    assert ask(ws, type="subscribe", topic="/market/candles:BTC-USDT_7min")["code"] == 404
    names = ",".join(["BTC-USDT"] * 101)
    assert ask(ws, type="subscribe", topic=f"/market/ticker:{names}")["code"] == 400
    assert ask(ws, type="ping")["type"] == "pong"
    assert ask(ws, type="unsubscribe", topic="/market/ticker:BTC-USDT,ETH-USDT")["type"] == "ack"
    ws.close()


def test_too_many_messages_end_the_connection(sim: Simulator) -> None:
    ws = socket(sim, token(sim))
    ws.recv()
    for number in range(101):  # one too many; frames that nobody reads would end the connection with a reset
        ws.send(json.dumps({"id": str(number), "type": "ping"}))
    answers = []
    while text := ws.recv():  # an empty text is the close frame
        answers.append(json.loads(text))
    assert answers[-1]["code"] == 509
    assert len(answers) == 101


# --- the adapters' life ---


def test_a_market_order_by_funds_ends_as_filled_with_its_average(sim: Simulator, account: str) -> None:
    with user(sim) as venue:
        venue.wait(Live)
        sim.place(
            account,
            "kucoin",
            symbol="ETH-USDT",
            side="BUY",
            order_type="MARKET",
            quote_quantity=Decimal(100),
            client_id="D-BO-2",
        )
        last = until_status(venue, "D-BO-2", "FILLED")
        assert float(last.price) == pytest.approx(2512.4)
        assert float(last.total_quote_trade_quantity) == pytest.approx(100, rel=0.01)


def test_a_futures_gap_finds_orders_that_ended_long_after_they_were_placed(sim: Simulator, account: str) -> None:
    order = sim.place(
        account, "kucoinLinear", symbol="XBTUSDTM", side="BUY", quantity="10", price="60000", client_id="D-1"
    )
    known = KnownOrder(
        order_id=str(430_000_000_000_000_000 + order.order_id), client_order_id="D-1", symbol="BTCUSDT", status="NEW"
    )
    sim.fill(order.order_id)
    with user(sim, "kucoinLinear", Resume(since_ms=wall() + 60_000, orders=(known,))) as venue:
        venue.wait(Live)
        assert [(r.new_client_order_id, r.order_status) for r in reports(venue)] == [("D-1", "FILLED")]


def test_maintenance_is_told_as_such(sim: Simulator, account: str) -> None:
    sim.fault("maintenance", venue="kucoin", seconds="30")
    subscription = UserSubscription(stream_id="s1", exchange="kucoin", credentials=credentials(KEY, SECRET, PHRASE))
    with client(VENUE, "kucoin", "user", sim.gateway).begin(subscription) as venue:
        (fail,) = venue.wait(Fail)
        assert fail.kind is FailKind.MAINTENANCE


# --- prices ---
