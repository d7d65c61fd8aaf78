"""The check on the simulation: the same scenarios in a world and on real servers come to the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.chaos import warm_up
from harness.agreement.real import RealGround
from harness.agreement.scenarios import SCENARIOS
from harness.agreement.script import Script
from harness.agreement.simulated import simulated
from harness.campaign.stack import Stack
from harness.worlds.stage import staged

pytestmark = [pytest.mark.system, pytest.mark.chaos]

VENUES = ("binance", "bybit", "okx")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    stack = Stack(venues=VENUES, own_broker=False)
    try:
        warm_up(stack)
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_world_and_real_servers_agree(stack: Stack, name: str) -> None:
    scenario, number = SCENARIOS[name], list(SCENARIOS).index(name)
    real = RealGround(stack)
    try:
        happened = Script(real, f"{number}n").play(scenario(real))
    finally:
        stack.heal()
    with staged(), simulated(VENUES) as world:
        played = Script(world, f"{number}n").play(scenario(world))
    assert played.differences(happened) == []
    assert len(happened.orders) == 3 * len(real.places)
