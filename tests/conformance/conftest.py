"""One TLS simulator for all SDKs, and the network that leads to it.

It stays for the whole session, because threads of an SDK may outlive their test: run these tests in a process of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from simulator.simulator import Simulator
from tests.conformance.desk import Desk
from tests.conformance.network import Network


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    # Prices stand still unless a test moves them; the venues' limits are on, as for everybody.
    with Simulator(seed=7, symbols=4, tick_s=0.25, move=0.0, tls=True) as sim, pytest.MonkeyPatch.context() as patch:
        network = Network(sim)
        network.install(patch)
        yield network


@pytest.fixture
def sim(network: Network) -> Iterator[Simulator]:
    network.sim.reset()
    network.missed.clear()
    yield network.sim
    network.sim.clear_faults()
    assert not network.missed, "the SDK asks for hosts that the simulator does not play"


@pytest.fixture
def desk_of(sim: Simulator) -> Callable[..., Desk]:
    """Makes the desk of an exchange id."""
    return partial(Desk, sim)
