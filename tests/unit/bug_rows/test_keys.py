"""The auth breaker by itself: notices, persistence, and what the log says (rows A3, A10, A11, A25, B4, C4, D14)."""

from __future__ import annotations

import logging

import pytest

from core.ports import Message
from exchanges._adapter import Fail, FailKind
from streams.breaker import AuthBreaker
from streams.pacing import Ladder
from streams.pipeline import Pipeline
from tests.unit.streams.fakes import BASE_MS, CAP_MS, Clock, FakeSink, MoodyState, rejected


class Keys:
    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.sink = FakeSink()
        self.breaker = self.process()

    def process(self) -> AuthBreaker:
        """The breaker of another process over the same state."""
        ladder = Ladder(BASE_MS, CAP_MS)
        return AuthBreaker(self.state, Pipeline(self.sink), self.clock, ladder, 3, 600_000)

    def reject(self, fail: Fail | None = None) -> int | None:
        return self.breaker.rejected("u1", "bybit", "owner", "digest", fail or rejected())

    def notices(self) -> list[dict[str, object]]:
        return [notice["userStreamAuthReject"] for notice in self.sink.services("userStreamAuthReject")]


@pytest.fixture
def world() -> Keys:
    return Keys()


@pytest.mark.parametrize(
    ("kind", "told"),
    [(FailKind.CREDENTIAL, "authReject"), (FailKind.KEY_TYPE, "legacyKey")],
    ids=str,
)
def test_the_user_is_told_which_key_of_which_exchange_and_why(world: Keys, kind: FailKind, told: str) -> None:
    world.reject(Fail(kind=kind, reason="the venue's own words"))
    assert world.notices() == [
        {
            "exchange": "bybit",
            "userId": "owner",
            "reason": "the venue's own words",
            "exchangeUUID": "u1",
            "kind": told,
        }
    ]


def test_a_burst_of_rejections_is_one_strike(world: Keys) -> None:
    """Bug A11: three topics of one login are refused together."""
    first = world.reject()
    assert [world.reject(), world.reject()] == [first, first]
    assert len(world.notices()) == 1
    gate = world.state.gate("u1")
    assert gate is not None
    assert gate.strikes == 0


def test_a_notice_that_can_not_be_published_does_not_touch_the_breaker(world: Keys) -> None:
    """Bug A10."""

    class Broken(FakeSink):
        def submit(self, messages: object) -> bool:
            return False

    broken = AuthBreaker(world.state, Pipeline(Broken()), world.clock, Ladder(BASE_MS, CAP_MS), 3, 600_000)
    until_ms = broken.rejected("u1", "bybit", "owner", "digest", rejected())
    assert until_ms == world.clock.wall_ms() + BASE_MS
    assert broken.blocked_until_ms("u1", "digest") == until_ms


def test_a_restart_finds_the_gate_and_the_ladder_where_they_were(world: Keys) -> None:
    """Bug D14: at upstream every dead key was tried at once after a restart."""
    world.reject()
    other = world.process()
    assert other.blocked_until_ms("u1", "digest") == world.clock.wall_ms() + BASE_MS
    world.clock.seconds += BASE_MS / 1000 + 1
    until_ms = other.rejected("u1", "bybit", "owner", "digest", rejected())
    assert until_ms == world.clock.wall_ms() + 2 * BASE_MS


def test_rejections_spread_over_more_than_the_window_do_not_add_up(world: Keys) -> None:
    """Bug A25: counted in time, three within ten minutes."""
    doubtful = rejected(first_sight=False)
    for _ in range(5):
        assert world.reject(doubtful) is None
        world.clock.seconds += 301
    assert world.notices() == []


def test_one_line_a_cycle_with_the_strike_and_one_for_all_that_was_skipped(
    world: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """Bugs A3, C4: messages about one key were 76 % of the log."""
    with caplog.at_level(logging.INFO):
        world.reject()
        for _ in range(500):
            world.breaker.skipped("u1")
        world.clock.seconds += BASE_MS / 1000 + 1
        world.reject()
    texts = [record.getMessage() for record in caplog.records]
    assert texts.count("key rejected by the venue: cooling down") == 2
    assert sum("open skipped" in text for text in texts) == 1
    fields = [vars(record)["fields"] for record in caplog.records if "cooling down" in record.getMessage()]
    assert [(line["strike"], line["suppressed_opens"]) for line in fields] == [(1, 0), (2, 500)]


def test_recovery_is_told_once_and_forgets_everything(world: Keys) -> None:
    world.reject()
    world.breaker.recovered("u1")
    world.breaker.recovered("u1")
    told: list[Message] = world.sink.messages
    assert len([one for one in told if getattr(one, "kind", "") == "userStreamAuthRecovered"]) == 1
    assert world.state.gate("u1") is None
    assert world.breaker.blocked_until_ms("u1", "digest") is None
