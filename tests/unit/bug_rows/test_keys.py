"""A notice is only a notice (row A10)."""

from __future__ import annotations

from collections.abc import Sequence

from connector.core.clock import Chance
from connector.core.messages import Message
from connector.streams.breaker import AuthBreaker
from connector.streams.pacing import Ladder
from connector.streams.pipeline import Pipeline
from tests.unit.connector.streams.fakes import BASE_MS, CAP_MS, Clock, FakeSink, MoodyState, rejected


class Full(FakeSink):
    def submit(self, messages: Sequence[Message]) -> bool:
        return False


def test_a_notice_that_can_not_be_published_does_not_touch_the_breaker() -> None:
    clock = Clock()
    breaker = AuthBreaker(MoodyState(clock), Pipeline(Full(), Chance(1)), clock, Ladder(BASE_MS, CAP_MS), 3, 600_000)
    until_ms = breaker.rejected("u1", "bybit", "owner", "digest", rejected())
    assert until_ms == clock.wall_ms() + BASE_MS
    assert breaker.blocked_until_ms("u1", "digest") == until_ms
