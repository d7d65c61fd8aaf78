"""Symbol lists of every exchange id over real HTTP, with one row in each list that nobody can read."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import msgspec
import pytest

from connector.core.clock import SystemClock
from connector.core.loop import Loop
from connector.core.proxies import Ways
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from connector.streams.egress import Egresses
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.instruments import Instruments
from connector.streams.rest import RestQueue
from exchanges._adapter import Answer, Call
from exchanges.ids import FAMILIES
from simulator._odd import HOW
from simulator.simulator import Simulator
from simulator.venues import halves
from tests.integration.streams.rig import until

pytestmark = pytest.mark.integration

IDS = [exchange for family, members in FAMILIES.items() if family in halves() for exchange in members]


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with Simulator(symbols=4, tick_s=60, limits=False) as running:
        yield running


@pytest.fixture
def rest(sim: Simulator) -> Iterator[RestPool]:
    clock = SystemClock()
    budget = Budget(MemoryState(), clock)
    client = HttpClient(Endpoints(sim.gateway), clock, Egresses(Ways(), clock))
    pool = RestPool(RestQueue(budget), client, Loop("rest", clock))
    pool.start()
    yield pool
    pool.stop()


def loaded(rest: RestPool) -> dict[str, set[str]]:
    """The pair ids that a service has of every id."""
    lists = Instruments(rest, SystemClock(), {})
    for exchange in IDS:
        lists.table(exchange)
    until(lambda: all(len(lists.table(exchange)) for exchange in IDS), "a list of every id", 20.0)
    return {exchange: {item.pair for item in lists.table(exchange)} for exchange in IDS}


@pytest.mark.parametrize("how", HOW)
def test_a_service_loads_every_other_symbol(sim: Simulator, rest: RestPool, how: str) -> None:
    whole = loaded(rest)
    sim.fault("odd_rows", standing=True, how=how)
    try:
        assert loaded(rest) == whole
    finally:
        sim.clear_faults()


# --- Kraken's perpetuals after the end of the futures API ---


@pytest.fixture
def after_the_end(sim: Simulator) -> Iterator[Simulator]:
    """Any moment after 2027-03-01 00:00 UTC: the futures hosts answer nobody."""
    half = sim.call(lambda hub, _: hub.halves["kraken"])
    before, half.classic_end_ms = half.classic_end_ms, 0
    yield sim
    half.classic_end_ms = before


def kraken(rest: RestPool, options: dict[str, str]) -> dict[str, tuple[str, bool]]:
    lists = Instruments(rest, SystemClock(), options)
    lists.table("krakenUsdm")
    until(lambda: len(lists.table("krakenUsdm")), "a list", 20.0)
    return {item.wire: (item.pair, item.active) for item in lists.table("krakenUsdm")}


def test_a_process_that_starts_after_the_end_of_the_futures_api_has_its_symbols(
    rest: RestPool, after_the_end: Simulator
) -> None:
    wires = {symbol.wire for symbol in after_the_end.call(lambda hub, _: hub.world.markets.symbols("krakenUsdm"))}
    found = kraken(rest, {})
    assert found.keys() == wires
    assert found["PF_XBTUSD"] == ("BTC-USD", True)


def test_both_ways_of_kraken_list_the_same_symbols(rest: RestPool) -> None:
    assert kraken(rest, {"KRAKEN_FUTURES_ROUTE": "unified"}) == kraken(rest, {"KRAKEN_FUTURES_ROUTE": "classic"})


QUESTION = Call(
    tag="q", method="GET", url="wss://uws.kraken.com/v2/public", until='"pairs"', timeout_s=2.0,
    body='{"method":"subscribe","params":{"channel":"instrument","asset_class":"derivatives"}}',
)  # fmt: skip


def answered(rest: RestPool, call: Call) -> Answer:
    answers: queue.Queue[Answer] = queue.Queue()
    rest.submit(call, "kraken", "", None, answers.put)
    return answers.get(timeout=20.0)


def test_a_question_over_a_socket_has_one_frame_as_its_answer(rest: RestPool) -> None:
    answer = answered(rest, QUESTION)
    assert answer.status == 200
    assert b'"PF_XBTUSD"' in answer.body


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"until": "never said"}, 0, "in time"),
        ({"url": "wss://uws.kraken.com/nowhere"}, 404, "refused"),
        ({"body": '{"method":"subscribe","params":{"channel":"nothing"}}'}, 0, "in time"),
    ],
)
def test_a_question_that_nobody_answers_ends_in_time(
    rest: RestPool, change: dict[str, str], status: int, error: str
) -> None:
    answer = answered(rest, msgspec.structs.replace(QUESTION, **change))
    assert answer.status == status
    assert error in answer.error


def test_a_connection_that_ends_before_its_answer_is_no_answer(sim: Simulator, rest: RestPool) -> None:
    sim.fault("half_open", standing=True, venue="kraken")
    try:
        assert answered(rest, QUESTION).status == 0
    finally:
        sim.clear_faults()
