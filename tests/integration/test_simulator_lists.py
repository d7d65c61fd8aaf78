"""Symbol lists of every exchange id over real HTTP, with one row in each list that nobody can read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connector.core.clock import SystemClock
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from connector.streams.endpoints import Endpoints
from connector.streams.http_client import HttpClient, RestPool
from connector.streams.instruments import Instruments
from connector.streams.rest import RestQueue
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
    pool = RestPool(RestQueue(budget), HttpClient(Endpoints(sim.gateway), clock))
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
