"""The auth breaker by itself: gates, ladder, window, recovery, and what it asks of the state."""

from __future__ import annotations

import logging

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.ports import Gate
from connector.streams.breaker import AWAY_S, AuthBreaker
from connector.streams.pacing import Ladder
from connector.streams.pipeline import Pipeline
from exchanges._adapter import Emit, Fail, FailKind
from tests.unit.connector.streams.fakes import BASE_MS, CAP_MS, Clock, FakeSink, MoodyState, rejected
from tests.unit.connector.streams.test_tracker import report


class Desk:
    def __init__(self, state: MoodyState | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.state = state or MoodyState(self.clock)
        self.sink = FakeSink()
        self.pipeline = Pipeline(self.sink, Chance(1))
        self.breaker = AuthBreaker(self.state, self.pipeline, self.clock, Ladder(BASE_MS, CAP_MS), 3, 600_000)
        self.pipeline.lines.on_genuine_event = self.breaker.recovered
        self.pipeline.lines.open("u1", "bybit", None)

    def reject(self, digest: str = "d1", fail: Fail | None = None) -> int | None:
        return self.breaker.rejected("u1", "bybit", "owner", digest, fail or rejected())

    def blocked(self, digest: str = "d1") -> int | None:
        return self.breaker.blocked_until_ms("u1", digest)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_ladder_doubles_up_to_the_cap(desk: Desk) -> None:
    steps = []
    for _ in range(9):
        until = desk.reject()
        assert until is not None
        steps.append((until - desk.clock.wall_ms()) // 60_000)
        desk.clock.seconds += steps[-1] * 60 + 1
    assert steps == [30, 60, 120, 240, 480, 960, 1440, 1440, 1440]


def test_after_a_quiet_time_the_ladder_starts_at_its_base(desk: Desk) -> None:
    desk.reject()
    desk.clock.seconds += 2 * BASE_MS / 1000 + 60
    until = desk.reject()
    assert until is not None
    assert until - desk.clock.wall_ms() == BASE_MS


def test_a_process_that_starts_anew_goes_on_with_the_ladder(desk: Desk) -> None:
    desk.reject()
    desk.clock.seconds += BASE_MS / 1000 + 1
    after = Desk(desk.state, desk.clock)
    assert after.blocked() is None
    until = after.reject()
    assert until is not None
    assert until - desk.clock.wall_ms() == 2 * BASE_MS


def test_a_rejection_without_a_look_at_the_gate_before_goes_on_with_the_ladder(desk: Desk) -> None:
    desk.reject()
    desk.clock.seconds += BASE_MS / 1000 + 1
    desk.breaker.forget("u1")
    until = desk.reject()
    assert until is not None
    assert until - desk.clock.wall_ms() == 2 * BASE_MS


def test_a_burst_is_one_strike_and_one_notice(desk: Desk) -> None:
    assert len({desk.reject() for _ in range(3)}) == 1
    gate = desk.state.gate("u1")
    assert gate is not None
    assert gate.strikes == 0
    assert len(desk.sink.services("userStreamAuthReject")) == 1


def test_the_notice_names_owner_stream_reason_and_kind(desk: Desk) -> None:
    desk.reject(fail=Fail(kind=FailKind.KEY_TYPE, reason="HMAC is not taken"))
    assert desk.sink.services("userStreamAuthReject") == [
        {
            "userStreamAuthReject": {
                "exchange": "bybit",
                "userId": "owner",
                "reason": "HMAC is not taken",
                "exchangeUUID": "u1",
                "kind": "legacyKey",
            }
        }
    ]


def test_the_threshold_counts_within_its_window(desk: Desk) -> None:
    unsure = rejected(first_sight=False)
    assert desk.reject(fail=unsure) is None
    desk.clock.seconds += 599
    assert desk.reject(fail=unsure) is None
    desk.clock.seconds += 2
    assert desk.reject(fail=unsure) is None, "the first one is too old by now"
    assert desk.reject(fail=unsure) is not None
    assert desk.blocked() is not None


def test_an_event_between_doubtful_rejections_clears_the_window_without_a_message(desk: Desk) -> None:
    unsure = rejected(first_sight=False)
    desk.reject(fail=unsure)
    desk.reject(fail=unsure)
    assert desk.breaker.suspicious("u1")
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert not desk.breaker.suspicious("u1")
    assert desk.reject(fail=unsure) is None
    assert desk.sink.services("userStreamAuthRecovered") == []


def test_other_key_material_is_let_through_and_removes_the_gate(desk: Desk) -> None:
    desk.reject("d1")
    assert desk.blocked("d1") is not None
    assert desk.blocked("d2") is None
    assert desk.state.gate("u1") is None


def test_recovery_is_told_once(desk: Desk) -> None:
    desk.reject()
    for number in (1, 2):
        desk.pipeline.account(Emit("u1", report("PARTIALLY_FILLED", executed=str(number))), 1.0)
    assert desk.sink.services("userStreamAuthRecovered") == [{"userStreamAuthRecovered": {"exchangeUUID": "u1"}}]
    assert desk.state.gate("u1") is None


def test_a_gate_of_an_earlier_life_ends_with_the_first_event(desk: Desk) -> None:
    desk.state.set_gate(
        "u1", Gate(digest="d1", strikes=2, until_ms=1, last_reject_ms=1, cooldown_ms=1, reason="x"), 10_000_000
    )
    assert desk.breaker.blocked_until_ms("u1", "d1", owned=True) is None
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert desk.state.gate("u1") is None


FAR_MS = 9_000_000_000_000_000


def test_a_process_that_only_reads_the_commands_does_not_delete_the_gate_of_a_newer_key(desk: Desk) -> None:
    """It asks about streams of others: what it heard once may be old, and the key of a late command older still."""
    desk.state.set_gate(
        "u1", Gate(digest="d1", strikes=0, until_ms=FAR_MS, last_reject_ms=1, cooldown_ms=1, reason="x"), 10_000_000
    )
    assert desk.blocked("d1") is not None
    newer = Gate(digest="d2", strikes=0, until_ms=FAR_MS, last_reject_ms=2, cooldown_ms=1, reason="x")
    desk.state.set_gate("u1", newer, 10_000_000)
    assert desk.blocked("d2") is not None, "asked again: not what was heard before"
    assert desk.state.gate("u1") == newer
    desk.breaker.rejected("u1", "bybit", "owner", "d2", rejected())
    desk.state.set_gate("u1", msgspec.structs.replace(newer, digest="d3"), 10_000_000)
    assert desk.breaker.blocked_until_ms("u1", "d4", owned=True) is None
    gate = desk.state.gate("u1")
    assert gate is not None
    assert gate.digest == "d3", "only the gate that was looked at is lifted"


def test_asking_is_cheap_for_whoever_runs_the_stream(desk: Desk) -> None:
    for _ in range(100):
        desk.breaker.blocked_until_ms("u1", "d1", owned=True)
    assert desk.state.asked["gate"] == 1
    desk.reject()
    for _ in range(100):
        desk.blocked()
    assert desk.state.asked["gate"] == 1


def test_skips_are_one_line_a_cooldown_and_their_number_comes_with_the_next_rejection(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.reject()
    with caplog.at_level(logging.INFO):
        for _ in range(25):
            desk.breaker.skipped("u1")
            desk.breaker.forget("u1")  # close and open again
            desk.blocked()
        assert sum("open skipped" in record.getMessage() for record in caplog.records) == 1
        desk.clock.seconds += BASE_MS / 1000 + 1
        desk.reject()
        desk.breaker.skipped("u1")
    assert sum("open skipped" in record.getMessage() for record in caplog.records) == 2


def test_a_state_that_is_away_is_not_asked_for_each_stream(desk: Desk) -> None:
    desk.state.away = True
    for number in range(100):
        assert desk.breaker.blocked_until_ms(f"u{number}", "d") is None
    assert desk.state.asked["gate"] == 1
    desk.state.away = False
    desk.clock.seconds += AWAY_S + 1
    desk.state.set_gate(
        "u7",
        Gate(digest="d", strikes=0, until_ms=desk.clock.wall_ms() + 5_000, last_reject_ms=1, cooldown_ms=1, reason="x"),
        10_000_000,
    )
    assert desk.breaker.blocked_until_ms("u7", "d") is not None


def test_a_rejection_while_the_state_is_away_holds_in_this_process(desk: Desk) -> None:
    desk.state.away = True
    assert desk.reject() is not None
    assert desk.blocked() is not None
    assert len(desk.sink.services("userStreamAuthReject")) == 1
