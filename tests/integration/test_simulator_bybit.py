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
    CandleSubscription,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    KnownOrder,
    Live,
    Resume,
    TickerSubscription,
    UserSubscription,
)
from exchanges.bybit import VENUE
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport
from simulator._venue import Instant, Request
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

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


def joined(sim: Simulator, exchange: str, resume: Resume | None = None) -> VenueClient:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    made = client(VENUE, exchange, "user", sim.gateway, table).begin(user(resume=resume, exchange=exchange))
    made.wait(Live)
    return made


def reports(found: VenueClient, count: int) -> list[ExecutionReport]:
    def orders() -> list[ExecutionReport]:
        return [e.event for e in of(found.outputs, Emit) if isinstance(e.event, ExecutionReport)]

    found.until(lambda _: len(orders()) >= count)
    return orders()


@pytest.mark.parametrize(
    ("exchange", "symbol", "quantity"),
    [("bybit", "BTCUSDT", "0.25"), ("bybitLinear", "BTCUSDT", "0.25"), ("bybitInverse", "BTCUSD", "6000")],
)
def test_an_order_is_followed_from_new_to_filled(
    sim: Simulator, account: str, exchange: str, symbol: str, quantity: str
) -> None:
    with joined(sim, exchange) as found:
        order = sim.place(
            account, exchange, symbol=symbol, side="BUY", quantity=quantity, price="60000", client_id="D-BO-1"
        )
        sim.fill(order.order_id, quantity="0.1" if exchange != "bybitInverse" else "1200")
        sim.fill(order.order_id)
        events = reports(found, 3)
    assert [event.order_status for event in events] == ["NEW", "PARTIALLY_FILLED", "FILLED"]
    last, journal = events[-1], sim.journal()[-1]
    assert (last.symbol, last.new_client_order_id, last.liquidation) == (symbol, "D-BO-1", False)
    if exchange == "bybitInverse":  # the totals are swapped: coin first, then contracts
        assert float(last.total_quote_trade_quantity) == 6000
        assert float(last.total_trade_quantity) == float(journal.value) == 0.1
        assert last.fee_asset == "BTC"
    else:
        assert float(last.total_trade_quantity) == 0.25
        assert float(last.total_quote_trade_quantity) == 15_000
    assert last.order_time == journal.time_ms


def test_categories_do_not_mix_and_liquidations_are_flagged(sim: Simulator, account: str) -> None:
    with joined(sim, "bybitLinear") as found:
        sim.place(account, "bybit", symbol="BTCUSDT", side="BUY", quantity="1", price="50000", client_id="spot")
        sim.place(
            account, "bybitLinear", symbol="BTCUSDT", side="BUY", quantity="0.5", order_type="MARKET", client_id="lin"
        )
        sim.liquidate(account, "bybitLinear", "BTCUSDT")
        events = reports(found, 4)
    assert "spot" not in {event.new_client_order_id for event in events}
    assert [event.liquidation for event in events if event.new_client_order_id == "lin"] == [False, False]
    assert {event.liquidation for event in events if not event.new_client_order_id} == {True}


def test_balances_come_at_the_start_and_with_every_order(sim: Simulator, account: str) -> None:
    with joined(sim, "bybit") as found:
        sim.place(account, "bybit", symbol="ETHUSDT", side="BUY", quantity="2", price="2000")

        def wallets() -> list[AccountPosition]:
            return [e.event for e in of(found.outputs, Emit) if isinstance(e.event, AccountPosition)]

        found.until(lambda _: len(wallets()) >= 2)
        first, second = wallets()[:2]
    assert {balance.asset for balance in first.balances} > {"USDT", "BTC", "ETH"}
    assert [(b.asset, b.free, b.locked) for b in second.balances] == [("USDT", "9996000", "4000")]


def test_what_happened_in_a_gap_is_read_and_published_before_live(sim: Simulator, account: str) -> None:
    since = wall() - 1000
    place: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "price": "50000"}
    filled = sim.place(account, "bybit", client_id="D-1", **place)
    canceled = sim.place(account, "bybit", client_id="D-2", **place)
    sim.place(account, "bybit", client_id="D-3", **place)
    sim.fill(filled.order_id, quantity="0.4")
    sim.fill(filled.order_id)
    sim.cancel(canceled.order_id)
    known = KnownOrder(order_id="1801114445550000001", client_order_id="gone", symbol="BTCUSDT", status="NEW")
    with joined(sim, "bybit", Resume(since_ms=since, orders=(known,))) as found:
        (live,) = of(found.outputs, Live)
        emits = of(found.outputs, Emit)
    orders = {e.event.new_client_order_id: e.event for e in emits if isinstance(e.event, ExecutionReport)}
    assert {name: event.order_status for name, event in orders.items()} == {
        "D-1": "FILLED",
        "D-2": "CANCELED",
        "D-3": "NEW",
    }
    assert all(emit.repaired for emit in emits)
    assert live.gap is not None
    assert (live.gap.orders, live.gap.balances) == (3, 1)
    assert live.gap.missing == ("order 1801114445550000001: not known to the venue",)


def test_a_wrong_secret_and_an_expired_key_are_credential_failures(sim: Simulator, account: str) -> None:
    with client(VENUE, "bybit", "user", sim.gateway).begin(user(secret="wrong")) as found:
        assert found.wait(Fail)[0].kind is FailKind.CREDENTIAL
    sim.reject_key(account, "33004")
    with client(VENUE, "bybit", "user", sim.gateway).begin(user()) as found:
        fail = found.wait(Fail)[0]
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")
    assert "33004" in fail.reason


def test_a_skewed_clock_is_measured_and_the_login_succeeds(sim: Simulator, account: str) -> None:
    sim.fault("clock_skew", venue="bybit", ms=120_000)
    with client(VENUE, "bybit", "user", sim.gateway).begin(user()) as found:
        assert found.wait(Live)
        assert not of(found.outputs, Fail)


def test_an_account_query_that_fails_does_not_hold_the_stream(sim: Simulator, account: str) -> None:
    sim.fault("rest_reset", venue="bybit", path="/v5/account/info", times=1)
    with client(VENUE, "bybit", "user", sim.gateway).begin(user()) as found:
        assert found.wait(Live)


@pytest.mark.parametrize("exchange", ["bybit", "bybitLinear", "bybitInverse"])
def test_tickers_of_every_symbol_arrive(sim: Simulator, exchange: str) -> None:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    (shard,) = VENUE.ticker_shards(exchange, table)
    subscription = TickerSubscription(stream_id="t", exchange=exchange, symbols=shard)
    with client(VENUE, exchange, "ticker", sim.gateway, table).begin(subscription) as found:
        found.wait(Live)
        found.until(lambda outputs: {t.symbol for e in of(outputs, EmitTickers) for t in e.tickers} == set(shard))
        symbol = shard[0]
        sim.set_price(exchange, symbol, "12345.5")

        def last() -> float:
            return [t.price for e in of(found.outputs, EmitTickers) for t in e.tickers if t.symbol == symbol][-1]

        found.until(lambda _: last() == 12345.5)
        assert not of(found.outputs, Fail)


def test_closed_candles_arrive_under_the_spelling_that_was_asked_for(sim: Simulator) -> None:
    table = load(VENUE.instruments("bybitLinear", {}), sim.gateway)
    one = CandleSubscription(stream_id="c", exchange="bybitLinear", symbol="BTCUSDT", interval="1h")
    with client(VENUE, "bybitLinear", "candle", sim.gateway, table).begin(one) as found:
        found.wait(Live)
        sim.set_price("bybitLinear", "BTCUSDT", "61300")
        start = sim.close_candle("bybitLinear", "BTCUSDT", "1h")
        emit = found.wait(EmitCandle)[0]
    assert (emit.symbol, emit.interval, emit.candle.start) == ("BTCUSDT", "1h", start)
    assert float(emit.candle.close) == 61300


def test_candles_missed_during_a_reconnect_come_over_rest(sim: Simulator) -> None:
    minute = 60_000
    resume = wall() // minute * minute - 4 * minute
    one = CandleSubscription(stream_id="c", exchange="bybit", symbol="BTCUSDT", interval="1", resume_start_ms=resume)
    with client(VENUE, "bybit", "candle", sim.gateway).begin(one) as found:
        (live,) = found.wait(Live)
        starts = [emit.candle.start for emit in of(found.outputs, EmitCandle)]
    assert starts[:3] == [resume + minute, resume + 2 * minute, resume + 3 * minute]
    assert live.gap is not None
    assert live.gap.candles == len(starts)


def test_every_page_of_the_symbol_list_is_read() -> None:
    with Simulator(venues=["bybit"], symbols=1200, tick_s=60, move=0) as big:
        assert len(load(VENUE.instruments("bybitLinear", {}), big.gateway)) == 1203
