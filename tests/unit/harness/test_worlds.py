"""Whole worlds: the service runs in them, the same seed gives the same bytes, and what is broken is found."""

from __future__ import annotations

import pytest

from harness.worlds.mutants import MUTANTS, WITHIN, put_in
from harness.worlds.plan import Plan, draw
from harness.worlds.play import play
from harness.worlds.stage import staged
from harness.worlds.story import told


@pytest.mark.parametrize(
    "venue", ["binance", "bybit", "okx", "kucoin", "bitget", "coinbase", "hyperliquid", "kraken", "whitebit"]
)
def test_a_calm_world_publishes_every_order_of_a_venue(venue: str) -> None:
    with staged():
        outcome = play(draw(7, kind="calm", venues=(venue,)))
    assert outcome.failures == []


def test_the_same_seed_gives_the_same_bytes() -> None:
    def digest(plan: Plan) -> str:
        with staged():
            return play(plan).digest

    plan = draw(3, kind="process")
    assert digest(plan) == digest(plan)
    assert digest(draw(4, kind="process")) != digest(plan)


def test_two_processes_that_publish_for_one_stream_are_found_and_told() -> None:
    (mutant,) = [one for one in MUTANTS if one.name == "E7c nothing is fenced"]
    with put_in(mutant), staged():
        outcomes = (play(mutant.plan(seed)) for seed in range(mutant.first, mutant.first + WITHIN))
        outcome = next(one for one in outcomes if any("two owners" in failure.invariant for failure in one.failures))
    story = told(outcome)
    assert any("two owners" in failure.text or "had taken over" in failure.text for failure in outcome.failures)
    assert "is frozen" in story
    assert "published" in story


def test_our_modules_are_as_before_when_the_world_is_over() -> None:
    import connector.core.loop
    import connector.streams.http_client

    client = connector.streams.http_client.HttpClient
    before = (connector.core.loop.threading, client._request)
    with staged():
        assert (connector.core.loop.threading, client._request) != before
    assert (connector.core.loop.threading, client._request) == before
