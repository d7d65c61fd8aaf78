"""A key that was rejected is tried by nobody before its time, wherever the stream runs and whatever Redis does."""

from __future__ import annotations

import logging

import pytest

from connector.core.metrics import METRICS
from connector.core.ports import Gate
from connector.streams.breaker import AWAY_S, MAX_SUPPRESSED, AuthBreaker
from connector.streams.pacing import Ladder
from exchanges._adapter import Emit
from tests.unit.connector.streams.fakes import BASE_MS, CAP_MS, rejected
from tests.unit.connector.streams.test_breaker import Desk
from tests.unit.connector.streams.test_tracker import report

UNSURE = rejected(first_sight=False)
"""A rejection that may also have another cause: it counts only with others."""


@pytest.fixture
def desk() -> Desk:
    return Desk()


def gate(desk: Desk, for_s: float, digest: str = "d1") -> Gate:
    """A gate that another process has set."""
    now_ms = desk.clock.wall_ms()
    return Gate(
        digest=digest, strikes=1, until_ms=now_ms + int(for_s * 1000), last_reject_ms=now_ms, cooldown_ms=1, reason="x"
    )


def elsewhere(desk: Desk, for_s: float, digest: str = "d1") -> int:
    made = gate(desk, for_s, digest)
    desk.state.set_gate("u1", made, 1e9)
    return made.until_ms


# --- another process ---


def test_a_longer_cooldown_of_another_process_holds_when_the_stream_comes_back(desk: Desk) -> None:
    desk.reject()
    until_ms = elsewhere(desk, 90_000)
    assert desk.blocked() != until_ms, "what is known is not asked for again"
    desk.breaker.forget("u1")
    assert desk.blocked() == until_ms


def test_a_gate_that_another_process_lifted_is_gone_when_the_stream_comes_back(desk: Desk) -> None:
    desk.reject()
    desk.state.clear_gate("u1", "d1")
    desk.breaker.forget("u1")
    assert desk.blocked() is None


def test_doubts_about_a_key_do_not_come_back_with_the_stream(desk: Desk) -> None:
    desk.reject(fail=UNSURE)
    desk.reject(fail=UNSURE)
    desk.breaker.forget("u1")
    assert not desk.breaker.suspicious("u1")
    assert desk.reject(fail=UNSURE) is None


def test_a_gate_ends_exactly_at_its_time(desk: Desk) -> None:
    until_ms = desk.reject()
    assert until_ms is not None
    desk.clock.seconds += BASE_MS / 1000 - 0.001
    assert desk.blocked() == until_ms
    desk.clock.seconds += 0.001
    assert desk.blocked() is None


# --- doubts ---


def test_old_doubts_do_not_count_after_a_cooldown(desk: Desk) -> None:
    """Else the next single rejection would open the breaker at once."""
    for _ in range(3):
        until_ms = desk.reject(fail=UNSURE)
    assert until_ms is not None
    desk.clock.seconds += BASE_MS / 1000 + 1
    assert desk.reject(fail=UNSURE) is None
    assert desk.reject(fail=UNSURE) is None


def test_old_doubts_do_not_count_when_the_key_is_sure_to_be_bad(desk: Desk) -> None:
    desk.reject(fail=UNSURE)
    desk.reject(fail=UNSURE)
    assert desk.reject() is not None
    desk.clock.seconds += BASE_MS / 1000 + 1
    assert desk.reject(fail=UNSURE) is None


def test_another_key_is_no_part_of_the_burst(desk: Desk) -> None:
    first = desk.reject("d1")
    desk.clock.seconds += 1
    second = desk.reject("d2")
    assert first is not None
    assert second is not None
    assert second > first
    assert len(desk.sink.services("userStreamAuthReject")) == 2
    assert desk.blocked("d2") == second


def test_suspicion_lasts_from_the_first_doubt_to_the_next_event(desk: Desk) -> None:
    assert not desk.breaker.suspicious("u1")
    desk.reject(fail=UNSURE)
    assert desk.breaker.suspicious("u1")
    assert not desk.breaker.suspicious("u2")
    desk.reject()
    assert desk.breaker.suspicious("u1")
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert not desk.breaker.suspicious("u1")


# --- recovery ---


def test_another_key_lifts_the_gate_and_its_first_event_tells_of_recovery(desk: Desk) -> None:
    desk.reject("d1")
    assert desk.breaker.blocked_until_ms("u1", "d2", owned=True) is None
    assert desk.sink.services("userStreamAuthRecovered") == [], "nothing has proved that key yet"
    assert desk.breaker.blocked_until_ms("u1", "d2", owned=True) is None
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    desk.pipeline.account(Emit("u1", report("FILLED", "1")), 1.0)
    assert len(desk.sink.services("userStreamAuthRecovered")) == 1


def test_lifting_says_whether_there_was_a_gate(desk: Desk) -> None:
    assert not desk.breaker.clear("u1")
    desk.breaker.recovered("u1")
    assert desk.sink.services("userStreamAuthRecovered") == []
    desk.reject()
    assert desk.breaker.clear("u1")
    assert not desk.breaker.clear("u1")
    assert desk.state.gate("u1") is None


def test_a_lift_while_redis_is_away_holds_here(desk: Desk) -> None:
    desk.reject()
    desk.state.away = True
    assert desk.breaker.clear("u1")
    assert desk.blocked() is None


def test_a_key_that_works_again_is_told_while_redis_is_away(desk: Desk) -> None:
    desk.reject()
    desk.state.away = True
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert len(desk.sink.services("userStreamAuthRecovered")) == 1


def test_after_recovery_the_ladder_starts_at_its_base(desk: Desk) -> None:
    desk.reject()
    desk.clock.seconds += BASE_MS / 1000 + 1
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    until_ms = desk.reject()
    assert until_ms == desk.clock.wall_ms() + BASE_MS


def test_an_unowned_stream_is_not_watched(desk: Desk) -> None:
    """The process that only answers an open sees none of its events."""
    elsewhere(desk, 100)
    desk.breaker.blocked_until_ms("u1", "d1")
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert desk.state.gate("u1") is not None


# --- Redis away ---


def test_after_a_gate_could_not_be_saved_nobody_waits_for_redis_again(desk: Desk) -> None:
    assert desk.blocked() is None  # asked, and nothing is known
    desk.state.away = True
    assert desk.reject() is not None
    asked = desk.state.asked["gate"]
    for number in range(2, 20):
        desk.breaker.rejected(f"u{number}", "bybit", "owner", "d1", UNSURE)
    assert desk.state.asked["gate"] == asked
    desk.clock.seconds += AWAY_S
    desk.breaker.rejected("u99", "bybit", "owner", "d1", UNSURE)
    assert desk.state.asked["gate"] == asked + 1


def test_after_a_question_without_an_answer_nobody_waits_for_redis_again(desk: Desk) -> None:
    desk.state.away = True
    assert desk.blocked() is None
    desk.state.away = False
    elsewhere(desk, 100)
    desk.clock.seconds += AWAY_S - 0.001
    assert desk.blocked() is None
    desk.clock.seconds += 0.001
    assert desk.blocked() is not None


def test_a_gate_that_was_not_saved_is_saved_with_the_next_rejection(desk: Desk) -> None:
    desk.state.away = True
    desk.reject()
    desk.state.away = False
    assert desk.state.gate("u1") is None
    desk.clock.seconds += BASE_MS / 1000 + 1
    until_ms = desk.reject()
    saved = desk.state.gate("u1")
    assert saved is not None
    assert saved.until_ms == until_ms == desk.clock.wall_ms() + 2 * BASE_MS


def test_a_gate_is_kept_in_redis_longer_than_its_cooldown(desk: Desk) -> None:
    """The ladder goes on with the next rejection, in whatever process."""
    until_ms = desk.reject()
    assert until_ms is not None
    desk.clock.seconds += BASE_MS / 1000 + 1
    saved = desk.state.gate("u1")
    assert saved is not None
    assert (saved.until_ms, saved.strikes) == (until_ms, 0)


# --- what is told ---


def test_each_rejection_that_opens_the_breaker_is_counted(desk: Desk) -> None:
    before = METRICS.value("auth_rejects_total", exchange="bybit")
    desk.reject()
    desk.reject()
    assert METRICS.value("auth_rejects_total", exchange="bybit") == before + 1


def test_a_bad_key_is_told_as_such(desk: Desk) -> None:
    desk.reject()
    (notice,) = desk.sink.services("userStreamAuthReject")
    assert notice["userStreamAuthReject"]["kind"] == "authReject"


def skipped(caplog: pytest.LogCaptureFixture) -> int:
    return sum("open skipped" in record.getMessage() for record in caplog.records)


def test_opens_of_many_rejected_keys_are_remembered_within_a_bound(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The oldest ones whose cooldown is over are forgotten; those that still cool down are not told again."""
    desk.reject()
    with caplog.at_level(logging.INFO):
        desk.breaker.skipped("u1")
        assert skipped(caplog) == 1
        for number in range(MAX_SUPPRESSED + 1):
            desk.breaker.skipped(f"no-gate-{number}")
        caplog.clear()
        desk.breaker.skipped("u1")
        assert skipped(caplog) == 0, "it still cools down"
        desk.breaker.skipped("no-gate-1")
        assert skipped(caplog) == 1, "it was forgotten"


def test_the_number_of_skipped_opens_comes_with_the_next_rejection(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.reject()
    for _ in range(3):
        desk.breaker.skipped("u1")
    desk.clock.seconds += BASE_MS / 1000 + 1
    with caplog.at_level(logging.WARNING):
        desk.reject()
        desk.clock.seconds += 2 * BASE_MS / 1000 + 1
        desk.reject()
    counts = [vars(record)["fields"]["suppressed_opens"] for record in caplog.records if "fields" in vars(record)]
    assert counts == [0, 3, 0]


def test_a_lifted_gate_is_told_by_the_process_that_runs_the_stream(desk: Desk) -> None:
    """The open with the new key was answered before this process looked at the stream again, which was closed meanwhile."""
    desk.reject("d1")
    desk.pipeline.lines.close("u1", announce=True)
    desk.pipeline.lines.open("u1", "bybit", None)
    assert desk.breaker.clear("u1")
    assert desk.breaker.blocked_until_ms("u1", "d2", owned=True) is None
    desk.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert len(desk.sink.services("userStreamAuthRecovered")) == 1


def test_a_recovery_that_was_told_is_not_told_again(desk: Desk) -> None:
    desk.reject("d1")
    desk.breaker.clear("u1")
    desk.breaker.recovered("u1")
    desk.breaker.recovered("u1")
    assert len(desk.sink.services("userStreamAuthRecovered")) == 1


def test_a_rejection_at_the_end_of_the_cooldown_is_the_next_strike(desk: Desk) -> None:
    first = desk.reject()
    assert first is not None
    desk.clock.seconds += BASE_MS / 1000
    assert desk.reject() == first + 2 * BASE_MS


def test_doubts_from_before_a_sure_rejection_do_not_count_against_the_next_key(desk: Desk) -> None:
    desk.reject(fail=UNSURE)
    desk.reject(fail=UNSURE)
    assert desk.reject() is not None
    assert desk.reject("d2", fail=UNSURE) is None


def test_a_stream_that_left_is_not_suspicious_here(desk: Desk) -> None:
    desk.reject()
    assert desk.breaker.suspicious("u1")
    desk.breaker.forget("u1")
    assert not desk.breaker.suspicious("u1")


def test_the_window_of_doubts_is_the_setting_and_a_minute_at_least() -> None:
    def opens(window_ms: int, *, every_s: float) -> bool:
        desk = Desk()
        breaker = AuthBreaker(desk.state, desk.pipeline, desk.clock, Ladder(BASE_MS, CAP_MS), 3, window_ms)
        untils = []
        for _ in range(3):
            untils.append(breaker.rejected("u1", "bybit", "owner", "d1", UNSURE))
            desk.clock.seconds += every_s
        return untils[-1] is not None

    assert opens(600_000, every_s=250)
    assert not opens(600_000, every_s=350)
    assert opens(1_000, every_s=25)
    assert not opens(1_000, every_s=35)
