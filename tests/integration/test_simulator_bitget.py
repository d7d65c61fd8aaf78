"""The simulated Bitget over real sockets: what it refuses, and the adapters' whole life against it."""

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
    CandleSubscription,
    Emit,
    EmitCandle,
    KnownOrder,
    Live,
    Resume,
    UserSubscription,
)
from exchanges._signing import hmac_sha256_base64
from exchanges.bitget import VENUE
from exchanges.bitget._signer import sign
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

pytestmark = pytest.mark.integration

KEY, SECRET, PHRASE = "bitget-test-key", "bitget-test-secret", "bitget-test-phrase"
HOST = "https://api.bitget.com"
ASSETS = "/api/v2/spot/account/assets?coin=USDT"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(venues=["bitget"], symbols=4, tick_s=0.1, move=0) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("bitget", KEY, SECRET, PHRASE)


def wall() -> int:
    return time.time_ns() // 1_000_000


def call(sim: Simulator, path: str, key: str = KEY, **change: str) -> requests.Response:
    request = sign(Call(tag="", method="GET", url=HOST + path), credentials(key, SECRET, PHRASE), wall())
    headers = dict(request.headers) | {name.replace("_", "-"): value for name, value in change.items()}
    return requests.get(f"{sim.url}/api.bitget.com{path}", headers=headers, timeout=5)


def user(sim: Simulator, exchange: str = "bitget", resume: Resume | None = None, key: str = KEY) -> VenueClient:
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


def venue_id(order_id: int) -> str:
    return str(1_390_000_000_000_000_000 + order_id)


# --- what the venue refuses ---


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ACCESS_KEY": ""}, "40001"),
        ({"ACCESS_SIGN": ""}, "40002"),
        ({"ACCESS_TIMESTAMP": "soon"}, "40005"),
        ({"ACCESS_TIMESTAMP": "1700000000000"}, "40008"),
        ({"ACCESS_KEY": "nobody"}, "40006"),
        ({"ACCESS_PASSPHRASE": "wrong"}, "40012"),
        ({"ACCESS_SIGN": "d3Jvbmc="}, "40009"),
    ],
)
def test_bad_signatures_are_told_apart(sim: Simulator, account: str, change: dict[str, str], code: str) -> None:
    assert call(sim, ASSETS, **change).json()["code"] == code


def test_the_two_account_generations_refuse_each_other_s_calls(sim: Simulator, account: str) -> None:
    sim.account("bitget", "unified-key-1", SECRET, PHRASE)
    assert call(sim, ASSETS).json()["code"] == "00000"
    assert call(sim, ASSETS, "unified-key-1").json()["code"] == "40085"
    assert call(sim, "/api/v3/account/assets").json()["code"] == "40084"
    assert call(sim, "/api/v3/account/assets", "unified-key-1").json()["code"] == "00000"


def test_calls_are_counted_per_path_and_user(sim: Simulator, account: str) -> None:
    replies = [call(sim, ASSETS) for _ in range(11)]
    while replies[-1].status_code == 200:  # slow machines spread eleven calls over more than a second
        replies.append(call(sim, ASSETS))
    assert (replies[-1].status_code, replies[-1].json()["code"]) == (429, "429")


def socket(sim: Simulator, path: str) -> websocket.WebSocket:
    return websocket.create_connection(f"{sim.ws_url}/ws.bitget.com/{path}", timeout=5)


def ask(ws: websocket.WebSocket, op: str, *args: dict[str, str]) -> dict[str, Any]:
    ws.send(json.dumps({"op": op, "args": args}))
    answer: dict[str, Any] = json.loads(ws.recv())
    while "action" in answer:
        answer = json.loads(ws.recv())
    return answer


def login_arg(stamp: str, **change: str) -> dict[str, str]:
    signature = hmac_sha256_base64(SECRET, stamp + "GET/user/verify")
    return {"apiKey": KEY, "passphrase": PHRASE, "timestamp": stamp, "sign": signature} | change


@pytest.mark.parametrize(
    ("age_s", "change", "code"),
    [
        (0, {"apiKey": "nobody"}, 30011),
        (0, {"passphrase": "wrong"}, 30012),
        (0, {"sign": "d3Jvbmc="}, 30015),
        (0, {"timestamp": "soon"}, 30013),
        (60, {}, 30014),
    ],
)
def test_bad_logins_are_told_apart_and_closed(
    sim: Simulator, account: str, age_s: int, change: dict[str, str], code: int
) -> None:
    ws = socket(sim, "v2/ws/private")
    assert ask(ws, "login", login_arg(str(wall() // 1000 - age_s), **change))["code"] == code
    assert ws.recv() == ""
    ws.close()


def test_private_channels_need_a_login(sim: Simulator, account: str) -> None:
    ws = socket(sim, "v2/ws/private")
    arg = {"instType": "SPOT", "channel": "orders", "instId": "default"}
    assert ask(ws, "subscribe", arg)["code"] == 30004
    assert ask(ws, "login", login_arg(str(wall() // 1000)))["code"] == 0
    assert ask(ws, "subscribe", arg) == {"event": "subscribe", "arg": arg}
    ws.close()


def test_arguments_are_answered_one_by_one(sim: Simulator) -> None:
    ws = socket(sim, "v2/ws/public")
    good = {"instType": "USDC-FUTURES", "channel": "ticker", "instId": "BTCPERP"}
    bad = {"instType": "USDT-FUTURES", "channel": "ticker", "instId": "BTCPERP"}
    odd = {"instType": "SPOT", "channel": "candle7m", "instId": "BTCUSDT"}
    assert ask(ws, "subscribe", bad, good, odd)["code"] == 30001
    answers = []
    while len(answers) < 2:
        row = json.loads(ws.recv())
        if "event" in row:
            answers.append(row)
    assert answers[0] == {"event": "subscribe", "arg": good}
    assert answers[1]["code"] == 30016
    ws.close()


def test_text_pings_are_answered_and_too_many_end_the_connection(sim: Simulator) -> None:
    ws = socket(sim, "v2/ws/public")
    for _ in range(11):  # one too many; frames that nobody reads would end the connection with a reset
        ws.send("ping")
    answers = []
    while text := ws.recv():  # an empty text is the close frame
        answers.append(text)
    assert answers[:10] == ["pong"] * 10
    assert json.loads(answers[-1])["code"] == 30007
    ws.close()


# --- the adapters' life ---


def test_a_market_buy_is_sized_in_money_and_reported_in_coins(sim: Simulator, account: str) -> None:
    with user(sim) as venue:
        venue.wait(Live)
        funds = Decimal(100)
        sim.place(
            account, "bitget", symbol="ETHUSDT", side="BUY", order_type="MARKET", quote_quantity=funds, client_id="D-2"
        )
        last = until_status(venue, "D-2", "FILLED")
        assert last.quantity == last.total_trade_quantity
        assert float(last.total_quote_trade_quantity) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    ("exchange", "symbol"), [("bitgetUsdm", "BTCUSDT"), ("bitgetUsdm", "BTCPERP"), ("bitgetCoinm", "BTCUSDZ26")]
)
def test_a_futures_cancel_keeps_the_average_of_its_fills(
    sim: Simulator, account: str, exchange: str, symbol: str
) -> None:
    with user(sim, exchange) as venue:
        venue.wait(Live)
        order = sim.place(account, exchange, symbol=symbol, side="BUY", quantity="0.02", price="60000", client_id="G-1")
        sim.fill(order.order_id, quantity="0.01", price="59000")
        sim.cancel(order.order_id)
        last = until_status(venue, "G-1", "CANCELED")
        assert (last.symbol, last.total_trade_quantity, last.total_quote_trade_quantity) == (symbol, "0.01", "590")


@pytest.mark.parametrize(
    ("exchange", "symbol"), [("bitgetUsdm", "BTCUSDT"), ("bitgetUsdm", "BTCPERP"), ("bitgetCoinm", "BTCUSDZ26")]
)
def test_a_vanished_futures_order_is_asked_for_by_id(sim: Simulator, account: str, exchange: str, symbol: str) -> None:
    order = sim.place(account, exchange, symbol=symbol, side="SELL", quantity="0.02", price="62000", client_id="D-1")
    sim.fill(order.order_id)
    known = KnownOrder(order_id=venue_id(order.order_id), client_order_id="D-1", symbol=symbol, status="NEW")
    with user(sim, exchange, Resume(since_ms=wall() + 60_000, orders=(known,))) as venue:
        (live,) = venue.wait(Live)
        assert [(r.order_id, r.order_status, r.side) for r in reports(venue)] == [
            (venue_id(order.order_id), "FILLED", "SELL")
        ]
        assert live.gap is not None
        assert live.gap.missing == ()


def test_long_histories_are_paged(sim: Simulator, account: str) -> None:
    since = wall() - 5_000
    for number in range(130):
        order = sim.place(
            account, "bitget", symbol="BTCUSDT", side="BUY", quantity="0.001", price="50000", client_id=f"D-{number}"
        )
        sim.cancel(order.order_id)
    with user(sim, resume=Resume(since_ms=since)) as venue:
        venue.wait(Live)
        assert len({r.new_client_order_id for r in reports(venue)}) == 130


def test_what_moved_to_v3_is_acknowledged_on_v2_and_stays_silent(sim: Simulator) -> None:
    ws = socket(sim, "v2/ws/public")
    for arg in (
        {"instType": "COIN-FUTURES", "channel": "ticker", "instId": "BTCUSD"},
        {"instType": "SPOT", "channel": "candle1m", "instId": "RAAPLUSDT"},
    ):
        assert ask(ws, "subscribe", arg) == {"event": "subscribe", "arg": arg}
    refused = {"instType": "COIN-FUTURES", "channel": "ticker", "instId": "BTCUSD_CM"}
    assert ask(ws, "subscribe", refused)["code"] == 30001
    ws.settimeout(1.0)
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.close()


# --- prices ---


@pytest.mark.parametrize(
    ("exchange", "symbol", "interval"),
    [
        ("bitget", "RAAPLUSDT", "candle1m"),
        ("bitgetUsdm", "BTCPERP", "3min"),
        ("bitgetCoinm", "BTCUSD", "1m"),
    ],
)
def test_running_candles_are_published_after_the_missed_ones(
    sim: Simulator, exchange: str, symbol: str, interval: str
) -> None:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    length = 180_000 if interval == "3min" else 60_000
    start = wall() // length * length - 3 * length
    with client(VENUE, exchange, "candle", sim.gateway, table) as venue:
        venue.begin(
            CandleSubscription(
                stream_id="c", exchange=exchange, symbol=symbol, interval=interval, resume_start_ms=start
            )
        )
        (live,) = venue.wait(Live)
        missed = [emit for emit in of(venue.outputs, EmitCandle) if emit.repaired]
        assert len(missed) >= 3
        assert missed[0].candle.start == start
        assert live.gap is not None
        venue.until(lambda outputs: any(not emit.repaired for emit in of(outputs, EmitCandle)))
        running = [emit for emit in of(venue.outputs, EmitCandle) if not emit.repaired]
        assert running[0].interval == interval
        assert running[0].candle.start >= missed[-1].candle.start
