"""The usage example of prices, once for each exchange id: tickers of every one, candles of those that have them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connector import Event, InvalidCommand, PriceConnector
from exchanges import closed_candles, example_of, venue_of
from exchanges.ids import real_id
from simulator.simulator import Simulator
from tests.integration.api.desk import EXCHANGES, WAIT_S, family
from tests.integration.streams.rig import until

pytestmark = pytest.mark.integration

PRICED = [one for one in EXCHANGES if real_id(one) == one]
"""Paper ids have the prices of their real exchange."""
CANDLED = [one for one in PRICED if "candle" in getattr(venue_of(one), "feeds", ())]

CLOSE_S = 90.0
"""A minute and what it takes to be told: Coinbase's candles of one minute are read over REST when the minute is over."""

BEHIND = 5_000
"""Candles that can be closed one after another without one of the future."""


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=19) as simulator:
        yield simulator


def canonical(interval: str) -> str:
    return "5m" if interval == "5m" else "1m"


def pair_of(exchange: Simulator, provider: str) -> str:
    """The platform's id of a symbol, as its tickers carry it."""
    return exchange.hub.world.markets.symbols(provider)[0].pair_id


@pytest.mark.parametrize("provider", PRICED)
def test_tickers_are_heard(provider: str, exchange: Simulator) -> None:
    heard: dict[str, float] = {}
    told = threading.Event()

    def on_ticker(event: Event[Any]) -> None:
        if event.exchange == provider and event.data.price > 0:
            heard[event.data.symbol] = event.data.price
            told.set()

    with PriceConnector("ticker", exchanges=[family(provider)], gateway=exchange.gateway) as prices:
        prices.on("ticker", on_ticker)
        prices.init()
        assert told.wait(WAIT_S)


@pytest.mark.parametrize("provider", CANDLED)
def test_candles_are_heard_until_nobody_wants_them(provider: str, exchange: Simulator) -> None:
    example = example_of(provider)
    assert example is not None
    interval = example.intervals[0]
    heard: list[Event[Any]] = []
    with PriceConnector("candle", exchanges=[family(provider)], gateway=exchange.gateway) as prices:
        prices.on("candle", heard.append)
        symbol = exchange.hub.world.markets.symbols(provider)[0]
        if closed_candles(provider):
            exchange.begin_candles(provider, symbol.wire, canonical(interval), BEHIND)
        prices.init()
        prices.subscribe_candle(symbol=pair_of(exchange, provider), exchange=provider, interval=interval)

        def told() -> bool:
            if closed_candles(provider):
                exchange.close_candle(provider, symbol.wire, canonical(interval))
            return bool(heard)

        until(told, f"a candle of {provider}", CLOSE_S)
        assert heard[0].exchange == provider
        assert float(heard[0].data.high) >= float(heard[0].data.low)
        prices.unsubscribe_candle(symbol=pair_of(exchange, provider), exchange=provider, interval=interval)


@pytest.mark.parametrize("provider", CANDLED)
def test_an_interval_that_the_exchange_does_not_have_is_refused(provider: str, exchange: Simulator) -> None:
    with (
        PriceConnector("candle", exchanges=[family(provider)], gateway=exchange.gateway) as prices,
        pytest.raises(InvalidCommand),
    ):
        prices.subscribe_candle(symbol=pair_of(exchange, provider), exchange=provider, interval="7x")
