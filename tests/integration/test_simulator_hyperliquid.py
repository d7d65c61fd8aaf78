"""The simulated Hyperliquid, as a plain client sees it, and the Hyperliquid adapters against it, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests
import websocket

from exchanges._adapter import (
    Call,
    CandleSubscription,
    Emit,
    EmitCandle,
    Live,
    Resume,
    UserSubscription,
)
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.hyperliquid import VENUE
from exchanges.instruments import SymbolTable
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, setup

pytestmark = pytest.mark.integration

ADDRESS = "0x5a5a000000000000000000000000000000000001"
OTHER = "0x5a5a000000000000000000000000000000000002"
HOST = "api.hyperliquid.xyz"
WAIT_S = 10.0


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(seed=3, venues=("hyperliquid",), symbols=4, tick_s=0.2, quiet=0.0, limits=False) as simulator:
        yield simulator


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("hyperliquid", ADDRESS, "")


# --- a plain client ---


class Client:
    """A WebSocket to the simulated venue."""

    def __init__(self, sim: Simulator) -> None:
        self.socket = websocket.create_connection(f"{sim.ws_url}/{HOST}/ws", timeout=WAIT_S)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def subscribe(self, **subscription: str) -> None:
        self.socket.send(json.dumps({"method": "subscribe", "subscription": subscription}))

    def next(self) -> Any:
        """The next frame, or the code and reason of a close."""
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return int.from_bytes(data[:2], "big"), data[2:].decode()
        return json.loads(data)

    def until(self, channel: str) -> Any:
        for _ in range(1_000):
            frame = self.next()
            if isinstance(frame, tuple) or frame["channel"] == channel:
                return frame
        raise AssertionError(f"no frame on {channel}")


def ask(sim: Simulator, **body: Any) -> Any:
    response = requests.post(f"{sim.url}/{HOST}/info", json=body, timeout=WAIT_S)
    return response.json() if response.status_code == 200 else response.status_code


def test_an_account_is_told_its_orders_and_fills(sim, account):
    with Client(sim) as peer:
        peer.subscribe(type="orderUpdates", user=ADDRESS.upper().replace("0X", "0x"))
        said = peer.next()
        assert (said["channel"], said["data"]["method"]) == ("subscriptionResponse", "subscribe")
        peer.subscribe(type="userFills", user=ADDRESS)
        assert peer.next()["data"]["subscription"] == {"type": "userFills", "user": ADDRESS}
        snapshot = peer.next()["data"]
        assert (snapshot["isSnapshot"], snapshot["fills"]) == (True, [])
        order = sim.place(
            account, "hyperliquidLinear", symbol="BTC", side="BUY", quantity="0.35", price="61000", client_id="0xa1"
        )
        row = peer.until("orderUpdates")["data"][0]
        assert (row["status"], row["order"]["oid"], row["order"]["cloid"]) == ("open", order.order_id, "0xa1")
        assert (row["order"]["side"], row["order"]["sz"], row["order"]["origSz"]) == ("B", "0.35", "0.35")
        sim.fill(order.order_id, quantity="0.1", price="60990")
        frames = {frame["channel"]: frame["data"] for frame in (peer.next(), peer.next())}
        assert frames["orderUpdates"][0]["order"]["sz"] == "0.25"
        (fill,) = frames["userFills"]["fills"]
        assert (fill["px"], fill["sz"], fill["oid"], fill["feeToken"]) == ("60990.0", "0.1", order.order_id, "USDC")


def test_what_the_venue_says_to_nonsense(sim):
    with Client(sim) as peer:
        peer.socket.send('{"method":"ping"}')
        assert peer.next() == {"channel": "pong"}
        peer.socket.send("nonsense")
        assert peer.next()["data"].startswith("Error parsing JSON")
        peer.subscribe(type="candle", coin="NOBODY", interval="1m")
        assert peer.next()["data"].startswith("Invalid subscription {")
        peer.subscribe(type="candle", coin="BTC", interval="1m")
        assert peer.until("subscriptionResponse")["data"]["subscription"]["coin"] == "BTC"
        peer.subscribe(type="candle", coin="BTC", interval="1m")
        assert peer.until("error")["data"].startswith("Already subscribed: {")


def test_the_questions_of_the_info_path(sim, account):
    order = sim.place(account, "hyperliquid", symbol="@107", side="SELL", quantity="2", price="70000", client_id="0xb1")
    assert ask(sim, type="userRole", user=ADDRESS) == {"role": "user"}
    assert ask(sim, type="userRole", user=OTHER) == {"role": "missing"}
    (row,) = ask(sim, type="frontendOpenOrders", user=ADDRESS, dex="")
    assert (row["coin"], row["oid"], row["origSz"], row["side"]) == ("@107", order.order_id, "2.0", "A")
    assert ask(sim, type="frontendOpenOrders", user=ADDRESS, dex="xyz") == []
    sim.fill(order.order_id, quantity="0.5")
    (fill,) = ask(sim, type="userFillsByTime", user=ADDRESS, startTime=0)
    assert (fill["oid"], fill["sz"]) == (order.order_id, "0.5")
    sim.cancel(order.order_id)
    found = ask(sim, type="orderStatus", user=ADDRESS, oid=order.order_id)
    assert (found["status"], found["order"]["status"], found["order"]["order"]["sz"]) == ("order", "canceled", "1.5")
    assert ask(sim, type="orderStatus", user=ADDRESS, oid=7) == {"status": "unknownOid"}
    assert [row["status"] for row in ask(sim, type="historicalOrders", user=ADDRESS)] == ["canceled"]
    assert ask(sim, type="meta", dex="nobody") is None
    assert ask(sim, type="userFillsByTime", user="nobody", startTime=0) == 422
    assert ask(sim, type="nobodyKnows") == 422


def test_limits_are_enforced():
    with Simulator(seed=3, venues=("hyperliquid",), symbols=2) as sim:
        sim.account("hyperliquid", ADDRESS, "")
        answers = [ask(sim, type="userRole", user=ADDRESS) for _ in range(21)]
        assert answers == [{"role": "user"}] * 20 + [429]
        clients = [Client(sim) for _ in range(10)]
        with Client(sim) as late:
            assert late.next() == (1008, "Cannot open more than 10 connections.")
        for number, one in enumerate(clients):
            one.subscribe(type="orderUpdates", user=f"0x{number:040x}")
            assert one.next()["channel"] == "subscriptionResponse"
        clients[0].subscribe(type="orderUpdates", user=OTHER)
        assert clients[0].next()["data"] == "Cannot track more than 10 total users."
        said = None
        while not isinstance(said, tuple):  # as fast as answers come
            clients[1].subscribe(type="candle", coin="nobody", interval="1m")
            said = clients[1].next()
        assert said == (1000, "Inactive")
        for one in clients:
            one.socket.close()
        assert 429 in [attempt(sim) for _ in range(30)]


def attempt(sim: Simulator) -> int:
    """The status of one more upgrade."""
    try:
        Client(sim).socket.close()
    except websocket.WebSocketBadStatusException as error:
        return error.status_code
    return 101


# --- the adapters ---


def user(exchange: str, resume: Resume | None = None, address: str = ADDRESS) -> UserSubscription:
    return UserSubscription(stream_id="u1", exchange=exchange, credentials=credentials(address, ""), resume=resume)


def opened(sim: Simulator, exchange: str, subscription: UserSubscription) -> VenueClient:
    return client(VENUE, exchange, "user", sim.gateway, table_of(sim, exchange)).begin(subscription)


def table_of(sim: Simulator, exchange: str) -> SymbolTable:
    return load(VENUE.instruments(exchange, {}), sim.gateway)


def reports(session: VenueClient) -> list[ExecutionReport]:
    events = [output.event for output in session.outputs if isinstance(output, Emit)]
    return [event for event in events if isinstance(event, ExecutionReport)]


def until_status(session: VenueClient, client_id: str, status: str) -> ExecutionReport:
    def found(_: object) -> bool:
        return any((one.new_client_order_id, one.order_status) == (client_id, status) for one in reports(session))

    session.until(found)
    return next(one for one in reports(session) if (one.new_client_order_id, one.order_status) == (client_id, status))


def test_symbols_have_the_platforms_names(sim):
    spot, perps = table_of(sim, "hyperliquid"), table_of(sim, "hyperliquidLinear")
    assert {item.wire: item.pair for item in spot.active()} == {
        "@107": "BTC-USDC",
        "@108": "ETH-USDC",
        "@109": "BNB-USDC",
        "@110": "SOL-USDC",
        "PURR/USDC": "PURR-USDC",
    }
    assert {item.wire: item.pair for item in perps.active()} == {
        "BTC": "BTC-USDC",
        "ETH": "ETH-USDC",
        "BNB": "BNB-USDC",
        "SOL": "SOL-USDC",
        "xyz:TSLA": "xyz:TSLA-USDC",
        "hyna:BTC": "hyna:BTC-USDE",
    }


def test_an_order_of_either_market_is_told_with_the_price_of_its_fills(sim, account):
    """Once, by the id of its market: both ids of one address see every order."""
    with (
        opened(sim, "hyperliquid", user("hyperliquid")) as spot,
        opened(sim, "hyperliquidLinear", user("hyperliquidLinear")) as perps,
    ):
        spot.wait(Live)
        perps.wait(Live)
        for exchange, symbol, name, session in (
            ("hyperliquid", "@107", "S", spot),
            ("hyperliquidLinear", "xyz:TSLA", "P", perps),
        ):
            order = sim.place(account, exchange, symbol=symbol, side="BUY", quantity="4", price="61000", client_id=name)
            sim.fill(order.order_id, quantity="1", price="400")
            sim.fill(order.order_id, price="402")
            filled = until_status(session, name, "FILLED")
            assert (filled.price, filled.total_trade_quantity) == ("401.5", "4")
            assert filled.total_quote_trade_quantity == "1606"
        assert {(event.new_client_order_id, event.symbol) for event in reports(spot)} == {("S", "BTC-USDC")}
        assert {(event.new_client_order_id, event.symbol) for event in reports(perps)} == {("P", "xyz:TSLA-USDC")}


def test_a_modified_order_lives_on_under_its_client_id(sim, account):
    """Whichever of the venue's two rows comes first; of six modifies in a row each order is played twice."""
    with opened(sim, "hyperliquidLinear", user("hyperliquidLinear")) as session:
        session.wait(Live)
        order = sim.place(
            account, "hyperliquidLinear", symbol="BTC", side="BUY", quantity="1", price="60000", client_id="M"
        )
        sim.fill(order.order_id, quantity="0.1", price="59000")
        for number in range(6):
            order = sim.modify(order.order_id, price=59_990 - number)
            session.until(lambda _, new=order.order_id: any(event.order_id == new for event in reports(session)))
        assert "CANCELED" not in {event.order_status for event in reports(session)}
        sim.fill(order.order_id, price="59500")
        filled = until_status(session, "M", "FILLED")
        assert (filled.total_trade_quantity, filled.quantity) == ("1", "1")
        assert filled.total_quote_trade_quantity == "59450"
        order = sim.place(
            account, "hyperliquidLinear", symbol="BTC", side="BUY", quantity="1", price="60000", client_id="C"
        )
        order = sim.modify(order.order_id, price=59_000)
        sim.cancel(order.order_id)
        assert until_status(session, "C", "CANCELED").order_id == order.order_id


def test_a_fill_that_the_stream_lost_is_read_over_rest(sim, account):
    patience = {"HL_FILL_PARK_GRACE_MS": "100", "HL_FILL_REST_RETRY_DELAY_MS": "100"}
    made = msgspec.structs.replace(setup("hyperliquidLinear", table_of(sim, "hyperliquidLinear")), options=patience)
    with VenueClient(VENUE.user(made), sim.gateway).begin(user("hyperliquidLinear")) as session:
        session.wait(Live)
        order = sim.place(
            account, "hyperliquidLinear", symbol="BTC", side="BUY", quantity="1", price="61000", client_id="L"
        )
        until_status(session, "L", "NEW")
        sim.fault("lose", venue="hyperliquid", feed="user", times=1)  # of the first trade the fill comes first
        sim.fill(order.order_id, price="60000")
        filled = until_status(session, "L", "FILLED")
        assert (filled.price, filled.total_quote_trade_quantity) == ("60000.0", "60000")
        assert "fills of a parked order" in [call.tag for call in session.outputs if isinstance(call, Call)]


def test_candles_closed_while_away_and_live_ones(sim):
    start = sim.close_candle("hyperliquid", "@107", "1m")
    subscription = CandleSubscription(
        stream_id="c", exchange="hyperliquid", symbol="UBTC-USDC", interval="1m", resume_start_ms=start - 3 * 60_000
    )
    with client(VENUE, "hyperliquid", "candle", sim.gateway, table_of(sim, "hyperliquid")) as session:
        session.begin(subscription)
        (live,) = session.wait(Live)
        repaired = [output for output in session.outputs if isinstance(output, EmitCandle)]
        assert [output.candle.start for output in repaired][:4] == [start - n * 60_000 for n in (3, 2, 1, 0)]
        assert {output.symbol for output in repaired} == {"BTC-USDC"}, "channels carry the alias (bug A30)"
        assert live.gap is not None
        assert live.gap.candles == 4
        sim.set_price("hyperliquid", "@107", "61234.5")
        session.until(lambda _: session.wait(EmitCandle)[-1].candle.close == "61234.5")
