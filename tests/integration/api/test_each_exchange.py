"""The usage example, once for each exchange id: open, place, fill, hear of it, close. All in one program."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connector import Connector, Event, InvalidCommand, KeyRejected, UnknownStream
from simulator.simulator import Simulator
from tests.integration.api.desk import EXCHANGES, ORDER_EVENTS, WAIT_S, account, api_of, place

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with Simulator(seed=3) as simulator:
        yield simulator


@pytest.fixture
def bot(exchange: Simulator) -> Iterator[Connector]:
    with Connector(gateway=exchange.gateway) as connector:
        yield connector


@pytest.mark.parametrize("provider", EXCHANGES)
def test_a_filled_order_is_heard_of(provider: str, exchange: Simulator, bot: Connector) -> None:
    exchange.reset()
    at = account(exchange, provider)
    filled = threading.Event()
    heard: list[Event[Any]] = []

    def on_order(event: Event[Any]) -> None:
        heard.append(event)
        if event.data.order_status == "FILLED":
            filled.set()

    for name in ORDER_EVENTS:
        bot.on(name, on_order)
    stream = bot.open_stream(user_id="me", api=api_of(provider))
    bot.wait_live(stream, WAIT_S)
    exchange.fill(place(exchange, at, provider).order_id)

    assert filled.wait(WAIT_S)
    assert {(event.exchange, event.stream_id, event.user_id) for event in heard} == {(provider, stream, "me")}
    assert len({event.id for event in heard}) == len(heard)
    bot.close_stream("me")
    assert bot.streams() == []


def test_a_refused_key_ends_the_wait_with_its_reason(exchange: Simulator, bot: Connector) -> None:
    refused = threading.Event()
    bot.on("authReject", lambda _: refused.set())
    stream = bot.open_stream(user_id="me", api={"provider": "bybit", "key": "nobodys", "secret": "nothing"})
    with pytest.raises(KeyRejected):
        bot.wait_live(stream, WAIT_S)
    assert refused.wait(WAIT_S)


def test_what_happens_while_it_reconnects_is_told(exchange: Simulator, bot: Connector) -> None:
    exchange.reset()
    exchange.account("bybit", "k", "s", account_id="a")
    stream = bot.open_stream(user_id="me", api={"provider": "bybit", "key": "k", "secret": "s"})
    bot.wait_live(stream, WAIT_S)
    with bot.events() as events:
        exchange.fault("drop", venue="bybit", feed="user")
        exchange.place("a", "bybit", symbol="BTCUSDT", side="BUY", quantity="0.01", price="50000")
        bot.reconnect("me")
        names = set()
        while not {"executionReport", "streamGap", "subscribed"} <= names:
            event = events.next(WAIT_S)
            assert event is not None, names
            names.add(event.name)


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ({"provider": "nasdaq"}, "api.provider: takes one of"),
        ({"provider": "binance", "apikey": "x"}, "api: has no apikey"),
        ({"provider": "binance", "environment": "paper"}, "api.environment: takes live or sandbox"),
        ({"provider": "kucoin", "environment": "sandbox"}, "api.environment:"),
        ({"provider": "binance", "okxSource": "my"}, "api.okxSource: takes nothing"),
    ],
)
def test_wrong_input_is_named_and_shows_no_secret(api: dict[str, str], told: str, bot: Connector) -> None:
    with pytest.raises(InvalidCommand) as error:
        bot.open_stream(user_id="me", api={"key": "canary-key", "secret": "canary-secret", **api})
    assert told in str(error.value)
    assert "canary" not in str(error.value)


def test_a_user_without_a_stream_is_told(bot: Connector) -> None:
    for work in (bot.close_stream, bot.reconnect):
        with pytest.raises(UnknownStream, match="nobody"):
            work("nobody")


def test_stop_from_a_callback_ends_everything(exchange: Simulator) -> None:
    exchange.reset()
    exchange.account("bybit", "k", "s", account_id="a")
    stopped = threading.Event()
    connector = Connector(gateway=exchange.gateway)

    def stop(_: object) -> None:
        connector.stop()
        stopped.set()

    connector.on("subscribed", stop)
    connector.open_stream(user_id="me", api={"provider": "bybit", "key": "k", "secret": "s"})
    assert stopped.wait(WAIT_S)
    assert connector.stop()
