"""Keys that a venue refuses, and streams that flap."""

from __future__ import annotations

import logging

import pytest

from connector.streams.lifecycle import StreamState
from exchanges._adapter import Emit, GapReport
from tests.unit.connector.streams.fakes import (
    BASE_MS,
    Bench,
    rejected,
    user,
)
from tests.unit.connector.streams.test_tracker import report

GAP = GapReport(from_ms=1, to_ms=2)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def logged(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records)


# --- the auth breaker ---


def test_a_refused_key_cools_down_and_tells_it_once_per_burst(bench: Bench) -> None:
    bench.want()
    session = bench.connected()
    for _ in range(3):  # three topics of one login
        bench.refused(rejected(), session=session)
    assert bench.state_of() is StreamState.COOLING
    assert session.closed
    notices = bench.sink.services("userStreamAuthReject")
    assert [notice["userStreamAuthReject"]["kind"] for notice in notices] == ["authReject"]
    assert notices[0]["userStreamAuthReject"]["exchangeUUID"] == "u1"
    gate = bench.state.gate("u1")
    assert gate is not None
    assert gate.strikes == 0


def test_twenty_opens_during_a_cooldown_are_no_attempt_and_one_line(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.want()
    bench.refused(rejected())
    with caplog.at_level(logging.INFO):
        for _ in range(20):
            bench.unwant(announce=True)
            bench.want()
            bench.advance(1)
            assert bench.state_of() is StreamState.COOLING
    assert len(bench.placement.made) == 1
    assert logged(caplog, "open skipped") == 1


def test_opens_and_closes_during_a_day_long_cooldown_leave_no_timers_behind(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    for _ in range(5_000):
        bench.unwant()
        bench.want()
    assert len(bench.supervisor.loop._timers) < 3_000


def test_a_close_during_a_cooldown_cancels_the_retry_and_keeps_the_gate(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.unwant(announce=True)
    bench.advance(1.5 * BASE_MS / 1000)
    assert len(bench.placement.made) == 1
    assert bench.state.gate("u1") is not None


def test_the_retry_comes_at_the_end_of_the_cooldown_and_the_next_strike_is_longer(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.advance(BASE_MS / 1000 - 1)
    assert len(bench.placement.made) == 1
    bench.advance(2)
    assert bench.state_of() is StreamState.OPENING
    bench.refused(rejected())
    bench.advance(2 * BASE_MS / 1000 - 1)
    assert len(bench.placement.made) == 2
    bench.advance(2)
    assert len(bench.placement.made) == 3
    assert len(bench.sink.services("userStreamAuthReject")) == 2


def test_new_key_material_lifts_the_gate_at_once(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.want(user(key="2"))
    assert bench.state_of() is StreamState.OPENING
    assert bench.state.gate("u1") is None
    bench.want(user(key="2"))
    assert len(bench.placement.made) == 2


def test_the_recovery_with_another_key_is_told(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.want(user(key="2"))
    bench.live()
    assert bench.sink.services("userStreamAuthRecovered") == []
    bench.pipeline.account(Emit("u1", report("NEW")), 1.0)
    bench.pipeline.account(Emit("u1", report("FILLED", executed="1")), 1.0)
    assert bench.sink.services("userStreamAuthRecovered") == [{"userStreamAuthRecovered": {"exchangeUUID": "u1"}}]


def test_a_forced_restart_does_not_bypass_the_gate(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.want(user(generation=1))
    bench.advance(10)
    assert bench.state_of() is StreamState.COOLING
    assert len(bench.placement.made) == 1
    bench.advance(BASE_MS / 1000)
    assert len(bench.placement.made) == 2


def test_a_gate_of_another_process_is_obeyed(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    other = Bench()
    other.state, other.breaker._state = bench.state, bench.state
    other.want()
    assert other.state_of() is StreamState.COOLING
    assert other.placement.made == []


def test_a_key_that_is_refused_below_the_threshold_is_tried_again_soon(bench: Bench) -> None:
    bench.want()
    for expected in (StreamState.WAITING, StreamState.WAITING, StreamState.COOLING):
        bench.refused(rejected(first_sight=False))
        assert bench.state_of() is expected
        bench.advance(5)
    assert len(bench.sink.services("userStreamAuthReject")) == 1


def test_only_a_genuine_event_clears_the_strikes(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    bench.advance(BASE_MS / 1000 + 1)
    bench.live()
    assert bench.state.gate("u1") is not None
    assert bench.sink.services("userStreamAuthRecovered") == []
    bench.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert bench.state.gate("u1") is None
    assert bench.sink.services("userStreamAuthRecovered") == [{"userStreamAuthRecovered": {"exchangeUUID": "u1"}}]
    bench.pipeline.account(Emit("u1", report("FILLED", executed="1")), 1.0)
    assert len(bench.sink.services("userStreamAuthRecovered")) == 1


def test_reconnects_do_not_wait_for_a_state_that_is_away(bench: Bench) -> None:
    """Each look at a gate would cost the supervisor's thread a socket timeout."""
    for number in range(50):
        bench.want(user(f"u{number}"))
        bench.live(f"u{number}")
    bench.state.away = True
    bench.state.asked.clear()
    for session in list(bench.placement.open):
        bench.lost(session)
    bench.advance(3)
    assert bench.state.asked.get("gate", 0) <= 1
    bench.advance(60)
    assert all(state is StreamState.OPENING for state in bench.supervisor.states().values()), "they connect without it"


# --- flaps ---


def test_four_reconnects_in_ten_minutes_are_told_once(bench: Bench) -> None:
    bench.open_live()
    for _ in range(4):
        bench.lost()
        bench.advance(61)
        bench.live(gap=GAP)
    flaps = bench.sink.services("userStreamFlap")
    assert flaps == [{"userStreamFlap": {"exchange": "bybit", "userId": "u1", "reconnects": 4, "windowSec": 600}}]


def test_flaps_of_a_stream_with_a_doubtful_key_are_not_told(bench: Bench) -> None:
    bench.open_live()
    bench.refused(rejected(first_sight=False))
    for _ in range(5):
        bench.advance(61)
        bench.live(gap=GAP)
        bench.lost()
    assert bench.sink.services("userStreamFlap") == []


def test_a_person_has_a_refused_key_tried_before_its_time(bench: Bench) -> None:
    bench.want()
    bench.refused(rejected())
    assert bench.state_of() is StreamState.COOLING
    tries = len(bench.placement.made)
    bench.supervisor.try_now("u1")
    bench.advance(1)
    assert len(bench.placement.made) == tries + 1
    bench.refused(rejected())
    gate = bench.state.gate("u1")
    assert gate is not None
    assert gate.strikes == 1, "refused again: it cools down for longer"
    bench.advance(1)
    assert bench.state_of() is StreamState.COOLING


def test_nobody_is_hurried_who_does_not_cool_down(bench: Bench) -> None:
    bench.want()
    bench.live()
    bench.supervisor.try_now("u1")
    bench.supervisor.try_now("nobody")
    bench.advance(1)
    assert bench.state_of() is StreamState.LIVE
    assert len(bench.placement.made) == 1
