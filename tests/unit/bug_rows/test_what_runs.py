"""Which exchanges run, by one rule, told once at the start (rows A55, B16, C17)."""

from __future__ import annotations

import logging

import pytest

from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.market import wanted_exchanges
from connector.streams.options import EngineOptions
from exchanges import venue_of
from exchanges.ids import FAMILIES, LIVE
from workers._limits import say_what_runs, switched

SERVED = {exchange for exchange in LIVE if venue_of(exchange) is not None}


@pytest.mark.parametrize("names", [("binance",), ("binanceus",), (" Binance ", "BINANCEUS")])
def test_either_name_switches_the_whole_binance_family_on(names: tuple[str, ...]) -> None:
    assert wanted_exchanges(names) == list(FAMILIES["binance"])


def test_no_list_means_everything_that_is_served() -> None:
    assert set(wanted_exchanges(())) == set(wanted_exchanges(("", " "))) == SERVED


@pytest.mark.parametrize("enabled", [set(), {"okx", "bybitLinear"}, LIVE])
def test_each_account_id_is_either_on_or_off(enabled: set[str]) -> None:
    on, off = switched(enabled.__contains__)
    assert sorted([*on, *off]) == sorted(LIVE)
    assert set(on) == SERVED & enabled


def test_each_price_id_is_told_once_as_on_or_off(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(
        EngineOptions(role="price", price_role="all", price_exchanges=("nothing",)),
        MemoryState(),
        FanoutSink([MemorySink()]),
        Edges(),
    )
    with caplog.at_level(logging.INFO):
        engine.units.start()
    engine.units.stop(5.0)
    lines = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "price feeds"]
    assert len(lines) == 1
    assert sorted([*lines[0]["on"], *lines[0]["off"]]) == sorted(LIVE)


def told(caplog: pytest.LogCaptureFixture, **options: object) -> list[tuple[str, dict[str, object]]]:
    engine = Engine(
        EngineOptions(**options),  # type: ignore[arg-type]
        MemoryState(),
        FanoutSink([MemorySink()]),
        Edges(),
    )
    with caplog.at_level(logging.INFO):
        say_what_runs(engine)
    return [(record.levelname, vars(record).get("fields", {})) for record in caplog.records]


def test_the_paper_address_is_told_as_it_is_used(caplog: pytest.LogCaptureFixture) -> None:
    lines = told(caplog, role="user", venue_options={"PAPER_WS": "http://paper-trading"})
    assert [level for level, _ in lines] == ["INFO"]
    assert "ws://paper-trading/socket.io/" in caplog.text + str(lines)


@pytest.mark.parametrize(("price_role", "levels"), [("all", []), ("candle", ["WARNING"]), ("ticker", ["WARNING"])])
def test_what_a_price_service_leaves_out_is_a_warning(
    caplog: pytest.LogCaptureFixture, price_role: str, levels: list[str]
) -> None:
    assert [level for level, _ in told(caplog, role="price", price_role=price_role)] == levels


def test_the_heartbeat_tells_what_waits_by_sink() -> None:
    sink = FanoutSink([MemorySink(name="rabbitmq"), MemorySink(name="redis")])
    engine = Engine(EngineOptions(role="user"), MemoryState(), sink, Edges())
    assert engine.info().sinks == {"rabbitmq": 0, "redis": 0}
    alone = Engine(EngineOptions(role="user"), MemoryState(), MemorySink(), Edges())
    assert alone.info().sinks == {"memory": 0}
