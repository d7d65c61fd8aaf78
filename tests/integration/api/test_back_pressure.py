"""A program that is slower than its accounts: sessions end, streams are repaired, and every order is told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from connector import Connector, Event, PriceConnector
from connector.core.clock import SystemClock
from simulator.simulator import Simulator
from tests.integration.api.desk import ORDER_EVENTS, WAIT_S, Book, account, api_of, booked, client_id_of, place
from tests.integration.streams.rig import until

pytestmark = pytest.mark.integration

QUEUE: int = 4
ORDERS: int = 6
NEWER: int = 5
MARKETS = {"bybit", "bybitLinear"}
"""That have BTCUSDT."""


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=5) as simulator:
        yield simulator


class Slow(Book):
    """A book whose keeper stands still until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def __call__(self, event: Event[Any]) -> None:
        assert self.go_on.wait(WAIT_S)
        super().__call__(event)


class Refusals:
    """How often the engine was told that there is no room."""

    def __init__(self, bot: Connector) -> None:
        self._seen = threading.Semaphore(0)
        told = bot._sink.on_full

        def full() -> None:
            told()
            self._seen.release()

        bot._sink.on_full = full

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self._seen.acquire(timeout=WAIT_S)


@pytest.mark.parametrize(
    "provider", ["binance", "binanceUsdm", "bybitLinear", "okx", "kucoinLinear", "bitget", "kraken", "hyperliquid"]
)
def test_a_slow_callback_loses_no_order(provider: str, exchange: Simulator) -> None:
    slow, gaps = Slow(), Book()
    at = account(exchange, provider)
    with Connector(gateway=exchange.gateway, queue_limit=QUEUE) as bot:
        refusals = Refusals(bot)
        for name in ORDER_EVENTS:
            bot.on(name, slow)
        bot.on("streamGap", gaps)
        bot.wait_live(bot.open_stream(user_id="me", api=api_of(provider)), WAIT_S)
        for _ in range(ORDERS):
            exchange.fill(place(exchange, at, provider).order_id)
        refusals.wait(2)  # the second: what the repair found had no room, either
        slow.go_on.set()
        slow.wait(booked(exchange.journal()))
        gaps.wait_for(lambda: bool(gaps.heard))

    assert len(slow.orders()) == ORDERS
    assert {state for state, _ in slow.orders().values()} == {"FILLED"}
    repeated = [one for one, times in Counter(event.id for event in slow.heard).items() if times > 1]
    assert repeated == []
    steps = [(client_id_of(event), event.data.order_status, event.data.total_trade_quantity) for event in slow.heard]
    assert len(set(steps)) == len(steps), "one step of an order, one event"
    # Binance spot names the symbols that nobody traded before; no other exchange leaves anything open.
    assert provider == "binance" or all(not event.data.missing for event in gaps.heard)


def test_a_callback_that_raises_costs_itself_only(exchange: Simulator) -> None:
    told, errors = Book(), Book()
    at = account(exchange, "bybit")

    def broken(_: Event[Any]) -> None:
        raise RuntimeError("mine")

    with Connector(gateway=exchange.gateway) as bot:
        bot.on("executionReport", broken)
        bot.on("executionReport", told)
        bot.on("error", errors)
        bot.wait_live(stream := bot.open_stream(user_id="me", api=api_of("bybit")), WAIT_S)
        exchange.fill(place(exchange, at, "bybit").order_id)
        told.wait(booked(exchange.journal()))
        assert [info.state for info in bot.streams() if info.stream_id == stream] == ["live"]
        errors.wait_for(lambda: len(errors.heard) == len(told.heard))
    assert {str(event.data.error) for event in errors.heard} == {"mine"}


def test_of_tickers_a_slow_callback_hears_the_newest(exchange: Simulator) -> None:
    slow = Slow()
    with PriceConnector("ticker", exchanges=["bybit"], symbols="*=BTCUSDT", gateway=exchange.gateway) as prices:
        prices.on("ticker", slow)
        prices.init()
        until(lambda: prices._sink.status().dropped >= NEWER, "newer prices replace those that wait", WAIT_S)
        assert prices._sink.status().queued <= len(MARKETS)
        released_ms = SystemClock().wall_ms()
        slow.go_on.set()
        slow.wait_for(lambda: {event.exchange for event in slow.heard if event.data.time > released_ms} == MARKETS)
    for market in MARKETS:
        times = [event.data.time for event in slow.heard if event.exchange == market]
        assert times == sorted(times)
