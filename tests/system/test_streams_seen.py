"""Is somebody's account blind right now, and why: asked of a service as it is started by an operator (review B1)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from harness.evidence import Evidence
from harness.servers import ROOT, wait_for
from harness.services import Service
from harness.stack import Stack
from tests.system.support import Accounts

pytestmark = pytest.mark.system

WAIT_S = 40.0


@pytest.fixture(scope="module")
def stack(evidence: Evidence) -> Iterator[Stack]:
    with Stack(evidence, venues=("binance", "bybit", "kucoin"), env={"PRICE_CONNECTOR_EXCHANGES": "bybit"}) as running:
        running.service("user")
        running.service("price", PRICEROLE="all")
        running.ready()
        yield running


def told(service: Service, query: str = "") -> dict[str, dict[str, Any]]:
    """The listed streams by id."""
    code, body = service.get(f"/streams.json{query}")
    assert code == 200, body
    return {row["told"]["stream_id"]: row for row in json.loads(body)["rows"]}


def command(service: Service, *arguments: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT, env={**os.environ, "HEALTH_PORT": str(service.health_port)}, capture_output=True, text=True,
        timeout=WAIT_S, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr


def test_an_account_whose_key_is_refused_is_named_with_the_reason_until_it_is_well(stack: Stack) -> None:
    service = stack.services[0]
    accounts = Accounts(stack)
    well, refused = accounts.live("bybit"), accounts.live("binance")
    wait_for(lambda: not told(service), WAIT_S, "all live")
    wait_for(lambda: command(service, "why", well.uuid)[0] == 0, WAIT_S, "its story says so")
    wait_for(lambda: "last event" in command(service, "why", well.uuid)[1], WAIT_S, "and when its last event was")

    stack.simulator.reject_key(refused.account)
    stack.simulator.fault("drop", account=refused.account)
    wait_for(
        lambda: "-2015" in told(service).get(refused.uuid, {}).get("told", {}).get("reason", ""), WAIT_S, "the reason"
    )
    row = told(service)[refused.uuid]
    assert row["told"]["exchange"] == "binance"
    assert row["told"]["state"] in {"cooling", "waiting", "opening", "joining"}
    assert row["told"]["since_ms"]
    assert well.uuid not in told(service)
    assert set(told(service, "?not_live=false")) == {well.uuid, refused.uuid}
    page = service.get("/")[1].decode()
    assert "1 of 2 streams are not live" in page
    assert refused.uuid in page
    code, text = command(service, "streams", "--not-live")
    assert (code, refused.uuid in text, well.uuid in text) == (1, True, False)
    code, text = command(service, "why", refused.uuid)
    assert (code, "-2015" in text) == (1, True)

    stack.simulator.accept_key(refused.account)
    accounts.close()
    wait_for(lambda: not told(service, "?not_live=false"), WAIT_S, "nobody wants any")
    code, text = command(service, "why", refused.uuid)
    assert (code, "Nobody wants this stream any more" in text) == (1, True)


def test_a_kucoin_account_whose_mode_is_not_known_says_so(stack: Stack) -> None:
    """It runs as classic, live and perhaps deaf; only the log knew."""
    service, accounts = stack.services[0], Accounts(stack)
    stack.simulator.fault("rest_error", venue="kucoin", path="account/mode", standing=True, status=404)
    stream = accounts.live("kucoin")
    wait_for(lambda: "account mode not known" in command(service, "why", stream.uuid)[1], WAIT_S, "it is told")
    page = service.get(f"/streams/{stream.uuid}")[1].decode()
    assert '<p class="answer ok">Live</p>' in page
    assert "account mode not known, taken for classic" in page
    stack.simulator.clear_faults()
    accounts.close()


def test_a_price_stream_that_is_live_tells_what_came_before(stack: Stack) -> None:
    price = stack.services[1]
    wait_for(lambda: "ticker:bybit#0" in told(price, "?not_live=false"), WAIT_S, "it is listed")
    wait_for(lambda: command(price, "why", "ticker:bybit#0")[0] == 0, WAIT_S, "it is live")
    stack.simulator.fault("drop", venue="bybit", feed="market")

    def moves() -> list[str]:
        return [move[1] for move in json.loads(price.get("/streams/ticker:bybit%230.json")[1])["story"]["moves"]]

    wait_for(lambda: moves()[-2:] == ["waiting", "live"], WAIT_S, "it was lost, and is live again")
    assert "Live" in price.get("/streams/ticker:bybit%230")[1].decode()
