"""Venues over TLS: single origins mapped with VENUE_ENDPOINTS, certificates verified against VENUE_CA_FILE."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from connector.core.channels import ticker_channel
from harness.evidence import Evidence
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts

pytestmark = pytest.mark.system


def endpoints(stack: Stack) -> dict[str, str]:
    """Every origin of the venues, as documented, to its place behind the simulator's port."""
    port = stack.simulator.port
    found: dict[str, str] = {}
    for host in stack.simulator.hub.hosts:
        for netloc in (host, f"{host}:443", f"{host}:8443", f"{host}:9443"):
            found[f"wss://{netloc}"] = f"wss://localhost:{port}/{netloc}"
            found[f"https://{netloc}"] = f"https://localhost:{port}/{netloc}"
    return found


@pytest.fixture(scope="module")
def tls(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence, venues=("okx", "kucoin", "paper"), tls=True) as running:
        env = {
            "VENUE_ENDPOINTS": json.dumps(endpoints(running)),
            "PAPER_WS": f"wss://localhost:{running.simulator.port}",
            "PRICEROLE": "ticker",
        }
        ca = {"VENUE_CA_FILE": str(running.simulator.ca_file)}
        running.service("user", **env, **ca)
        running.service("price", **env, **ca, PRICE_CONNECTOR_EXCHANGES="okx")
        # Knows no other authority than the system's; a state of its own, so that it does not share the work.
        running.service("price", **env, PRICE_CONNECTOR_EXCHANGES="kucoin", STATE_PREFIX="other:")
        running.ready()
        yield running


@pytest.mark.parametrize("exchange", ["okx", "kucoinLinear", "paperOkx"])
def test_an_account_stream_over_tls(tls: Stack, exchange: str) -> None:
    accounts = Accounts(tls)
    stream = accounts.live(exchange)
    order = stream.place()
    tls.simulator.fill(order.order_id)
    stream.wait(lambda: [e["orderStatus"] for e in stream.order_events(order.client_id)][-1:] == ["FILLED"], "FILLED")
    tls.simulator.fault("drop", account=stream.account)
    stream.wait_live(2)
    stream.prove_live()
    accounts.close()


def test_a_ticker_over_tls(tls: Stack) -> None:
    channel = ticker_channel("BTC-USDT", "okx")
    wait_for(lambda: tls.backend.on(channel), WAIT_S, "a price")
    tls.simulator.set_price("okx", "BTC-USDT", "61234.5")
    wait_for(lambda: tls.backend.events(channel)[-1]["price"] == 61234.5, WAIT_S, "the new price")


def test_a_certificate_of_an_unknown_authority_is_refused(tls: Stack) -> None:
    service = tls.services[-1]
    wait_for(lambda: "SSLError" in service.log.read_text(), WAIT_S, "a refusal in the log")
    assert tls.backend.on(ticker_channel("BTC-USDT", "kucoin")) == []
    assert tls.open_sockets("kucoin", "market") == 0
