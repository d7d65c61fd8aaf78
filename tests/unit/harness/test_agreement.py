"""The scenarios that are played in a world and on real servers, in worlds alone: what the service promises, and defects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.agreement.scenarios import SCENARIOS
from harness.agreement.script import Facts, Script
from harness.agreement.simulated import simulated
from harness.worlds.mutants import MUTANTS, put_in
from harness.worlds.stage import staged

VENUES = ("bybit",)
LIVES = {
    "a": (("NEW", "0.00"), ("PARTIALLY_FILLED", "0.25"), ("FILLED", "1.00")),
    "b": (("NEW", "0.00"), ("FILLED", "1.00")),
    "c": (("NEW", "0"), ("CANCELED", "0")),
}
GAPS = {
    "venues drop their connections": "all",
    "venues close with 1001": "all",
    "upgrades are refused after a drop": "all",
    "REST fails after a drop": "all",
    "a process is killed": "some",
}
ASKED_AGAIN = {"Redis comes back empty", "the queue of commands is deleted"}


def played(name: str) -> Facts:
    with staged(), simulated(VENUES) as ground:
        return Script(ground, "u").play(SCENARIOS[name](ground))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_order_lives_its_life_in_a_world(name: str) -> None:
    facts = played(name)
    markets = ("bybit", "bybitLinear", "bybitInverse")
    assert facts.orders == {f"{market} {label}": life for market in markets for label, life in LIVES.items()}
    assert facts.gaps == GAPS.get(name, "none")
    assert facts.asked_again == (name in ASKED_AGAIN)


def test_a_service_that_reads_no_gap_does_not_get_through() -> None:
    (mutant,) = [one for one in MUTANTS if one.name == "gap not read"]
    with put_in(mutant), pytest.raises(TimeoutError):
        played("venues drop their connections")


def test_grounds_that_disagree_are_told_apart() -> None:
    facts = Facts({"bybit a": LIVES["a"]}, "all", asked_again=False)
    assert facts.differences(facts) == []
    assert len(facts.differences(replace(facts, orders={"bybit a": LIVES["b"]}))) == 1
    assert len(facts.differences(replace(facts, orders={}, gaps="none", asked_again=True))) == 3
