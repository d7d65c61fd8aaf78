"""Whole worlds: the service runs in them, the same seed gives the same bytes, and what is broken is found."""

from __future__ import annotations

import pytest

from harness.worlds.plan import Plan, draw
from harness.worlds.play import play
from harness.worlds.stage import staged
from tests.unit.harness.worlds_command import worlds


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
    done = worlds("--seed", "26", "--kind", "freeze")
    assert "rabbit backwards" in done.stdout
    assert "is frozen" in done.stdout
    assert "published" in done.stdout


def test_our_modules_are_as_before_when_the_world_is_over() -> None:
    import connector.core.loop
    import connector.streams.http_client

    client = connector.streams.http_client.HttpClient
    before = (connector.core.loop.threading, client._request)
    with staged():
        assert (connector.core.loop.threading, client._request) != before
    assert (connector.core.loop.threading, client._request) == before
