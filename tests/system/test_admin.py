"""The admin switch (contract 3.2) and the health endpoint (contract 7.3)."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from connector.core.channels import ticker_channel
from exchanges.ids import LIVE
from harness.servers import wait_for
from harness.stack import Stack
from tests.system.support import WAIT_S, Accounts

pytestmark = pytest.mark.system

KEY, CHANNEL = "gainium:admin:enabled_exchanges", "gainium:admin:config"


class Switch:
    """The admin service's side."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def enable(self, exchanges: set[str]) -> None:
        self.write(json.dumps(sorted(exchanges)))

    def write(self, text: str) -> None:
        with self._stack.redis.client() as client:
            client.set(KEY, text)
            client.publish(CHANNEL, "changed")

    def clear(self) -> None:
        with self._stack.redis.client() as client:
            client.delete(KEY)
            client.publish(CHANNEL, "changed")


@pytest.fixture
def switch(stack: Stack) -> Iterator[Switch]:
    made = Switch(stack)
    yield made
    made.clear()
    wait_for(lambda: stack.open_sockets("bitget", "market") >= 3, WAIT_S, "bitget's prices again")


def test_a_disabled_exchange_loses_its_streams_and_gets_none(stack: Stack, accounts: Accounts, switch: Switch) -> None:
    live, paper, other = accounts.live("bitget"), accounts.live("paperBitget"), accounts.live("bitgetUsdm")
    switch.enable(set(LIVE) - {"bitget"})
    for stream in (live, paper):
        stream.wait(lambda stream=stream: not stream.links(), "closing")
    other.prove_live()
    refused = accounts("paperBitget")
    refused.open()
    live.open()
    other.prove_live()
    assert (refused.infos, refused.links(), live.links()) == (0, [], [])
    # Enabling reopens nothing: the next open command does.
    switch.clear()
    later = accounts("paperBitget")
    until_open(later)
    later.prove_live()
    assert (live.links(), paper.links(), refused.links()) == ([], [], [])
    live.open()
    live.wait_live(2)
    live.prove_live()
    refused.opens = 0
    assert refused.infos == 0


def until_open(stream) -> None:
    """Open until the service has read the switch; the refused ones count nothing."""

    def opened() -> bool:
        if stream.infos:
            return True
        if not stream.links():
            stream.open()
        return False

    wait_for(opened, WAIT_S, "an open after the switch", 0.5)


def test_prices_of_a_disabled_exchange_stop_and_come_back(stack: Stack, switch: Switch) -> None:
    channel = ticker_channel("BTCUSDT", "bitget")
    wait_for(lambda: stack.backend.on(channel), WAIT_S, "a price")
    switch.enable(set(LIVE) - {"bitget", "bitgetUsdm", "bitgetCoinm"})
    wait_for(lambda: not stack.open_sockets("bitget", "market"), WAIT_S, "the end of bitget's prices")
    assert stack.open_sockets("okx", "market") >= 3
    stack.backend.candle("BTCUSDT", "bitget", "candle5m")
    stack.backend.candle("BTCUSDT", "binance", "5m")
    wait_for(lambda: stack.simulator.call(_watches("binance", "5m")), WAIT_S, "the other candle")
    assert not stack.simulator.call(_watches("bitget", "5m"))
    switch.clear()
    wait_for(lambda: stack.open_sockets("bitget", "market") >= 3, WAIT_S, "bitget's prices")
    before = len(stack.backend.on(channel))
    wait_for(lambda: len(stack.backend.on(channel)) > before, WAIT_S, "a price again")


def _watches(exchange: str, interval: str):
    return lambda hub, _: any(
        (watch.exchange, watch.interval) == (exchange, interval)
        for link in hub.links.values()
        for watch in link.watches
    )


@pytest.mark.parametrize("text", ["not json", "{}", '"binance"', "null", '["okx", 5, null]'])
def test_an_unusable_switch_enables_everything_or_what_it_names(
    stack: Stack, accounts: Accounts, switch: Switch, text: str
) -> None:
    switch.write(text)
    stream = accounts("paperOkx")
    until_open(stream)
    stream.prove_live()


# --- health ---


def _ask(stack: Stack, role: str, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    service = next(one for one in stack.services if one.role == role)
    request = urllib.request.Request(f"http://127.0.0.1:{service.health_port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10.0) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


@pytest.mark.parametrize("role", ["user", "price"])
def test_health_answers_get_and_head(stack: Stack, role: str) -> None:
    status, kind, body = _ask(stack, role, "/health")
    assert (status, kind) == (200, "application/json")
    answer = json.loads(body)
    assert set(answer) == {"status", "uptime", "timestamp"}
    assert answer["status"] == "ok"
    assert answer["uptime"] > 0
    assert abs(answer["timestamp"] - time.time() * 1000) < 60_000
    assert _ask(stack, role, "/health", "HEAD") == (200, "application/json", b"")
    assert _ask(stack, role, "/nothing") == (404, "application/json", b'{"error":"Not Found"}')
    assert _ask(stack, role, "/health", "POST")[0] == 405


@pytest.mark.parametrize("role", ["user", "price"])
def test_the_pages_for_people_and_machines_are_there(stack: Stack, accounts: Accounts, role: str) -> None:
    accounts.live("binance")
    assert _ask(stack, role, "/ready")[0] == 200
    # What the worker processes count reaches the health process every few seconds.
    wait_for(lambda: b"connector_frames_total" in _ask(stack, role, "/metrics")[2], WAIT_S, "frames counted")
    status, kind, body = _ask(stack, role, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert b"connector_frames_total" in body
    assert b"connector_metric_errors_total" not in body or b"connector_metric_errors_total 0" in body
    assert json.loads(_ask(stack, role, "/status.json")[2])["role"] == role
    assert b"<html" in _ask(stack, role, "/")[2].lower()
