"""A short seeded part of the fault campaign (`make chaos`): real services, real RabbitMQ and Redis, simulated exchanges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.chaos import warm_up
from harness.campaign.measure import Ceiling, leaks, levels
from harness.campaign.rest import at_rest
from harness.campaign.run import Result, Scenario
from harness.campaign.stack import Stack

pytestmark = [pytest.mark.system, pytest.mark.chaos]

VENUES = ("binance", "bybit", "okx", "coinbase", "paper")
"""Without those that allow few connects a minute: waiting for that would make up most of the test."""
SEEDS = (22, 36, 39, 44)
"""Garbage, a stalled broker and a cut; SIGKILL; Redis gone and upgrades refused; SIGTERM while a venue drops everybody."""


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[Stack, Ceiling]]:
    stack = Stack(venues=VENUES, own_broker=False)
    try:
        yield stack, warm_up(stack)
    finally:
        stack.stop()


def failures(result: Result) -> list[str]:
    found = [result.describe()]
    for verdict in (result.verdict, result.redis):
        found += [*verdict.lost, *verdict.duplicated, *verdict.backwards, *verdict.wrong, *verdict.offenders]
    return found + result.notes


@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_transition_is_published_in_order_whatever_happens(stack: tuple[Stack, Ceiling], seed: int) -> None:
    running, _ = stack
    result = Scenario(seed, running.accounts, len(running.workers), node=False).play(running)
    assert result.verdict.transitions > 10
    assert result.good, "\n".join(failures(result))


def test_afterwards_nothing_is_left_behind_and_no_secret_is_anywhere(stack: tuple[Stack, Ceiling]) -> None:
    running, level = stack
    running.wait_live(running.accounts)
    assert leaks(level, levels(running), len({account.venue for account in running.accounts})) == []
    assert at_rest(running) == []
