"""Whose prices are published: patterns, and what the exchange service lists."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.errors import InvalidSetting
from connector.core.messages import TickerMessage
from connector.core.settings import Settings
from connector.core.symbol_patterns import read_patterns
from connector.streams.pipeline import Pipeline
from connector.streams.price_symbols import REFRESH_S, RETRY_S, PriceSymbols
from connector.streams.rest import Rest
from exchanges._adapter import EmitTickers
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.connector.streams.fakes import Clock
from tests.unit.connector.streams.test_instruments import FakeRest
from tests.unit.connector.streams.test_pipeline import Sink, _ticker

TEXT = "binance=*USDT,!*UP*,!*DOWN*; okx = BTC-*,ETH-* ;*=!*TEST*"


def listing(*pairs: str) -> bytes:
    return msgspec.json.encode({"status": "OK", "data": [{"pair": pair, "other": 1} for pair in pairs]})


def table(*pairs: str) -> SymbolTable:
    return SymbolTable([Instrument(wire=pair.lower(), pair=pair) for pair in pairs], 7)


class Choice:
    def __init__(self, text: str = "", *, listed: bool = False) -> None:
        self.clock, self.rest = Clock(), FakeRest()
        self.changed: list[str] = []
        self.symbols = PriceSymbols(
            cast(Rest, self.rest), self.clock, read_patterns(text), "http://service/", listed=listed
        )
        self.symbols.on_change = self.changed.append

    def of(self, exchange: str, *pairs: str) -> list[str]:
        return [item.pair for item in self.symbols.of(exchange, table(*pairs))]


@pytest.mark.parametrize(
    ("exchange", "pair", "passes"),
    [
        ("binance", "BTCUSDT", True),
        ("binance", "BTCUPUSDT", False),
        ("binance", "BTCEUR", False),
        ("okx", "ETH-USDC", True),
        ("okx", "DOGE-USDT", False),
        ("bybit", "DOGEUSDT", True),
        ("bybit", "ATESTUSDT", False),
    ],
)
def test_a_symbol_passes_by_the_patterns_of_its_exchange_or_by_those_of_all_others(
    exchange: str, pair: str, passes: bool
) -> None:
    assert Choice(TEXT).of(exchange, pair) == [pair] * passes


@pytest.mark.parametrize(
    "text", ["BTCUSDT", "nobody=BTC*", "binance=", "binance=!", "=BTC*", "okx=A;okx=B", "binanceUsdm"]
)
def test_a_pattern_that_nobody_understands_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidSetting, match="PRICE_SYMBOLS"):
        Settings.from_env({"PRICE_SYMBOLS": text})


def test_a_list_of_the_service_needs_the_service() -> None:
    with pytest.raises(InvalidSetting, match="EXCHANGE_SERVICE_API_URL"):
        Settings.from_env({"SYMBOLS_FROM": "service"})
    assert Settings.from_env({"SYMBOLS_FROM": "service", "EXCHANGE_SERVICE_API_URL": "http://x"}).chosen_prices == {
        "SYMBOLS_FROM": "service"
    }


def test_without_settings_every_symbol_passes_and_nobody_is_asked() -> None:
    choice = Choice()
    whole = table("A", "B")
    assert choice.symbols.of("okx", whole) is whole
    assert choice.symbols.allows("okx") is None
    assert not choice.rest.calls


def test_only_what_the_service_lists_has_prices_from_its_first_answer_on() -> None:
    choice = Choice("okx=!C*", listed=True)
    assert choice.of("okx", "A", "B", "C") == ["A", "B"], "an outage of the service stops no prices"
    before = choice.symbols.version("okx")
    assert choice.rest.calls[0][0].url == "http://service/exchange/all?exchange=okx"
    choice.rest.answer(body=listing("A", "C"))
    assert choice.changed == ["okx"]
    assert choice.symbols.version("okx") != before
    assert choice.of("okx", "A", "B", "C") == ["A"]


def test_a_service_that_fails_is_asked_again_and_what_it_listed_last_stands() -> None:
    choice = Choice(listed=True)
    choice.of("okx", "A", "B")
    choice.rest.answer(body=listing("A"))
    choice.clock.seconds += REFRESH_S
    choice.symbols.sweep()
    choice.rest.answer(status=503)
    assert choice.of("okx", "A", "B") == ["A"]
    choice.clock.seconds += RETRY_S - 1
    choice.symbols.sweep()
    assert not choice.rest.calls
    choice.clock.seconds += 1
    choice.symbols.sweep()
    choice.rest.answer(body=listing("A", "B"))
    assert choice.of("okx", "A", "B") == ["A", "B"]
    assert choice.changed == ["okx", "okx"]


def test_a_stream_with_all_symbols_publishes_only_the_chosen_ones() -> None:
    sink, choice = Sink(), Choice("okx=B")
    pipeline = Pipeline(sink, Chance(1))
    pipeline.market.allows = choice.symbols.allows
    pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 5), _ticker("B", 5)]), 1.0)
    pipeline.tickers(EmitTickers("t", "okx", [_ticker("A", 6)]), 1.0)
    assert [message.symbols for message in sink.messages if isinstance(message, TickerMessage)] == [["B"]]
