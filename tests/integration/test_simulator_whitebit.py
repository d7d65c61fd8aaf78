"""The simulated WhiteBIT over real sockets: what it refuses, and what only this venue does, with the adapters against it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
import requests

from exchanges._adapter import Emit, Fail, FailKind, Live, Note, UserSubscription
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.whitebit import VENUE
from exchanges.whitebit._signer import Signer, private_call
from simulator.simulator import Simulator
from tests.integration.venue_client import VenueClient, client, load, of

pytestmark = pytest.mark.integration

KEY, SECRET = "whitebit-test-key", "whitebit-test-secret"
MARKETS = {"whitebit": "BTC_USDT", "whitebitUsdm": "BTC_PERP"}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(venues=["whitebit"], symbols=4, tick_s=0.1, move=0) as running:
        yield running


@pytest.fixture
def account(sim: Simulator) -> str:
    return sim.account("whitebit", KEY, SECRET)


def call(sim: Simulator, path: str, params: Mapping[str, object], secret: str = SECRET) -> requests.Response:
    """One signed call."""
    signed = Signer(credentials(KEY, secret)).signed(private_call("", path, params), time.time_ns() // 1_000_000)
    url = f"{sim.url}/{signed.url.removeprefix('https://')}"
    return requests.post(url, data=signed.body, headers=dict(signed.headers), timeout=5)


def user(sim: Simulator, exchange: str = "whitebit", key: str = KEY) -> VenueClient:
    table = load(VENUE.instruments(exchange, {}), sim.gateway)
    subscription = UserSubscription(stream_id="s", exchange=exchange, credentials=credentials(key, SECRET))
    return client(VENUE, exchange, "user", sim.gateway, table).begin(subscription)


def reports(venue: VenueClient, client_id: str) -> list[ExecutionReport]:
    events = [emit.event for emit in of(venue.outputs, Emit)]
    return [one for one in events if isinstance(one, ExecutionReport) and one.new_client_order_id == client_id]


def until(venue: VenueClient, client_id: str, status: str) -> ExecutionReport:
    venue.until(lambda _: any(one.order_status == status for one in reports(venue, client_id)))
    return reports(venue, client_id)[-1]


@pytest.mark.parametrize("exchange", MARKETS)
def test_an_order_that_its_user_modifies_lives_on_under_its_client_id(
    sim: Simulator, account: str, exchange: str
) -> None:
    market = MARKETS[exchange]
    with user(sim, exchange) as venue:
        venue.wait(Live)
        price = sim.call(lambda hub, _: hub.world.markets.quote(exchange, market).price) * Decimal("0.9")
        path = "order/new" if exchange == "whitebit" else "order/collateral/limit"
        order = {"market": market, "side": "buy", "amount": "0.01", "price": str(price), "clientOrderId": "DBO1"}
        placed = call(sim, path, order).json()
        until(venue, "DBO1", "NEW")
        sim.fill(placed["orderId"], quantity=Decimal("0.004"))
        until(venue, "DBO1", "PARTIALLY_FILLED")
        change = {"market": market, "clientOrderId": "DBO1", "amount": "0.02", "price": str(price - 1)}
        changed = call(sim, "order/modify", change).json()
        assert changed["orderId"] != placed["orderId"]
        assert (changed["clientOrderId"], changed["dealStock"]) == ("DBO1", "0")
        venue.until(lambda _: reports(venue, "DBO1")[-1].order_id == str(changed["orderId"]))
        assert reports(venue, "DBO1")[-1].total_trade_quantity == "0.004"
        sim.fill(changed["orderId"])
        told = until(venue, "DBO1", "FILLED")
        assert (told.quantity, told.total_trade_quantity) == ("0.024", "0.024")
        assert "CANCELED" not in {one.order_status for one in reports(venue, "DBO1")}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"clientOrderId": "nobody", "amount": "1"}, 400),
        ({"amount": "1"}, 422),
        ({"orderId": 1, "clientOrderId": "x", "amount": "1"}, 422),
        ({"clientOrderId": "x"}, 422),
    ],
)
def test_what_the_venue_refuses_to_modify(sim: Simulator, account: str, change: dict[str, Any], status: int) -> None:
    assert call(sim, "order/modify", {"market": "BTC_USDT", **change}).status_code == status


def test_the_eleventh_token_of_a_minute_is_refused(sim: Simulator, account: str) -> None:
    found = [call(sim, "profile/websocket_token", {}) for _ in range(11)]
    assert [one.status_code for one in found] == [200] * 10 + [429]
    assert found[-1].json()["message"] == "Too many requests."


def test_a_wrong_secret_is_refused_in_the_venues_words(sim: Simulator, account: str) -> None:
    refused = call(sim, "orders", {"limit": 100}, secret="another")
    assert (refused.status_code, refused.json()["message"]) == (401, "Unauthorized request.")


def test_an_account_that_opens_during_a_maintenance_keeps_its_key(sim: Simulator, account: str) -> None:
    table = load(VENUE.instruments("whitebit", {}), sim.gateway)
    subscription = UserSubscription(stream_id="s", exchange="whitebit", credentials=credentials(KEY, SECRET))
    with client(VENUE, "whitebit", "user", sim.gateway, table) as venue:
        connected = venue.adapter.connected
        venue.adapter.connected = lambda now: (sim.fault("maintenance", seconds=5.0), connected(now))[1]  # type: ignore[method-assign]
        venue.begin(subscription)
        (fail,) = venue.wait(Fail)
        assert (fail.kind, fail.stream_id) == (FailKind.MAINTENANCE, None)
        assert not of(venue.outputs, Note)
