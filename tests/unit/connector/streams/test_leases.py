"""What this process holds, and which process should hold what."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.errors import StateUnavailable
from connector.core.ports import WorkerInfo
from connector.streams.leases import Leases, preferred
from connector.streams.takers import Takers
from tests.unit.connector.streams.fakes import Clock, MoodyState

NAMES = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> MoodyState:
    return MoodyState(clock)


def info(owner: str, *, draining: bool = False) -> WorkerInfo:
    return WorkerInfo(owner=owner, role="user", host="h", pid=1, started_ms=0, capacity=9, streams=0, draining=draining)


@given(NAMES, st.text())
def test_everybody_comes_to_the_same_answer(owners: set[str], unit: str) -> None:
    assert preferred(unit, sorted(owners)) == preferred(unit, sorted(owners, reverse=True))
    assert preferred(unit, owners) in owners


@given(NAMES, st.text(), st.text(min_size=1, max_size=8))
def test_a_process_that_joins_moves_only_its_own_share(owners: set[str], unit: str, newcomer: str) -> None:
    before = preferred(unit, owners)
    assert preferred(unit, owners | {newcomer}) in {before, newcomer}


def test_the_shares_are_even() -> None:
    counts = dict.fromkeys("abcd", 0)
    for number in range(4_000):
        owner = preferred(f"unit-{number}", counts)
        assert owner is not None
        counts[owner] += 1
    assert min(counts.values()) > 850


def test_nobody_prefers_among_nobody() -> None:
    assert preferred("u", []) is None


def test_claim_renew_and_release(state: MoodyState, clock: Clock) -> None:
    a, b = Leases(state, "a", "user", 8.0), Leases(state, "b", "user", 8.0)
    assert sorted(a.claim(["x", "y"])) == ["x", "y"]
    assert b.claim(["x", "y"]) == []
    for _ in range(10):
        clock.seconds += 4
        assert a.beat(info("a")) == set()
    assert b.claim(["x"]) == []
    a.release(["x"])
    assert not a.holds("x")
    assert b.claim(["x", "y"]) == ["x"]
    assert len(a) == len(b) == 1


def test_a_lease_that_somebody_else_has_is_lost(state: MoodyState, clock: Clock) -> None:
    a, b = Leases(state, "a", "user", 8.0), Leases(state, "b", "user", 8.0)
    a.beat(info("a"))
    a.claim(["x"])
    clock.seconds += 9
    b.claim(["x"])
    assert len(b) == 0, "nobody has found out that it is dead"
    assert state.bury("a") == ["x"]
    b.claim(["x"])
    assert a.beat(info("a")) == {"x"}
    assert not a.holds("x")
    assert b.fence("x") is not None


def test_a_lease_that_ran_out_unnoticed_is_taken_back(state: MoodyState, clock: Clock) -> None:
    a = Leases(state, "a", "user", 8.0)
    a.claim(["x"])
    clock.seconds += 60
    assert a.beat(info("a")) == set()
    assert state.owners(["x"]) == {"x": "a"}


def test_a_state_that_is_away_says_nothing_about_leases(state: MoodyState) -> None:
    a = Leases(state, "a", "user", 8.0)
    a.claim(["x"])
    state.away = True
    assert a.beat(info("a")) is None
    assert a.holds("x")
    a.release(["x"])
    assert not a.holds("x")
    with pytest.raises(StateUnavailable):
        a.claim(["y"])
    state.away = False
    assert a.beat(info("a")) == set()


def test_a_unit_that_came_back_with_a_new_number_during_the_beat_is_kept(
    state: MoodyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = Leases(state, "a", "user", 8.0)
    a.claim(["x"])
    fence = a.fence("x")
    assert fence is not None

    def renew(leases: dict[str, int], owner: str, ttl_s: float) -> set[str]:
        a.accept("x", fence + 7)
        return {"x"}

    monkeypatch.setattr(state, "renew", renew)
    a.beat(info("a"))
    assert a.fence("x") == fence + 7


def test_a_release_during_a_beat_is_not_undone_by_its_renewal(
    state: MoodyState, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = Leases(state, "a", "user", 8.0)
    a.claim(["x", "y"])
    genuine = state.renew

    def renew(leases: dict[str, int], owner: str, ttl_s: float) -> set[str]:
        a.release(["x"])
        return genuine(leases, owner, ttl_s)

    monkeypatch.setattr(state, "renew", renew)
    assert a.beat(info("a")) == set(), "it is not lost to anybody"
    assert state.owners(["x", "y"]) == {"y": "a"}
    assert Leases(state, "b", "user", 8.0).claim(["x"]) == ["x"]


def test_what_was_handed_over_is_written_with_the_next_beat_and_from_then_on_in_its_turn(
    state: MoodyState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 5,000 streams a beat that writes all of them again holds Redis up, and a beat that thinks so asks for them all."""
    a = Leases(state, "a", "user", 8.0)
    a.beat(info("a"))
    written: list[int] = []
    genuine = state.renew

    def renew(leases: dict[str, int], owner: str, ttl_s: float) -> set[str]:
        written.append(len(leases))
        return genuine(leases, owner, ttl_s)

    monkeypatch.setattr(state, "renew", renew)
    for unit, fence in state.claim([f"u{number}" for number in range(60)], "a", 8.0).items():
        a.accept(unit, fence)
    for _ in range(4):
        clock.seconds += 2
        a.beat(info("a"))
    assert written == [60, 2, 2, 2]
    assert state.asked["held"] == 1, "in the beat that found more in its name than it had said"


def test_a_lease_that_is_released_before_its_first_beat_leaves_nothing_behind(state: MoodyState) -> None:
    a = Leases(state, "a", "user", 8.0)
    for number in range(3):
        a.accept(f"u{number}", 1)
        a.release([f"u{number}"])
    assert not a._unsaid


def test_processes_that_drain_get_nothing(state: MoodyState, clock: Clock) -> None:
    a = Leases(state, "a", "user", 8.0)
    state.heartbeat(info("b", draining=True), 60)
    a.beat(info("a"))
    assert a.candidates() == ["a"]
    assert Takers(state, a, clock).choose("x", Counter()) is None
    assert all(a.mine_first(f"unit-{number}") for number in range(20))
    state.heartbeat(info("b"), 60)
    a.beat(info("a"))
    assert Takers(state, a, clock).choose("x", Counter()) == "b"
    assert not all(a.mine_first(f"unit-{number}") for number in range(20))


def test_price_processes_ask_only_those_that_run_the_feed_who_comes_first(state: MoodyState) -> None:
    """Where nobody was found to run it, each took itself for the first, and all tried at once."""
    a = Leases(state, "a", "price", 8.0)
    for owner in ("a", "b"):
        state.heartbeat(msgspec.structs.replace(info(owner), role="price", feeds=("ticker",)), 60)
    a.neighbours.look()
    assert {a.mine_first(f"ticker:bybit#{number}") for number in range(20)} == {True, False}


def test_a_lease_outlives_two_heartbeats_however_long_they_are(state: MoodyState, clock: Clock) -> None:
    a, b = Leases(state, "a", "user", 200.0), Leases(state, "b", "user", 200.0)
    a.claim(["x"])
    clock.seconds += 399
    assert b.claim(["x"]) == []
    clock.seconds += 2
    assert b.claim(["x"]) == ["x"]


# --- whether anything may leave the process ---


class Stepped(Clock):
    """Its wall clock may go on while the other one does not: a host that sleeps."""

    slept_s = 0.0

    def wall_ms(self) -> int:
        return super().wall_ms() + int(self.slept_s * 1000)


def test_a_process_publishes_until_shortly_before_its_leases_can_have_run_out(state: MoodyState, clock: Clock) -> None:
    leases = Leases(state, "a", "user", 8.0, clock)
    assert not leases.permitted(), "it has not beaten yet"
    leases.beat(info("a"))
    clock.seconds += 6.99
    assert leases.permitted()
    clock.seconds += 0.01
    assert not leases.permitted()
    leases.beat(info("a"))
    assert leases.permitted()


def test_a_late_answer_counts_from_when_it_was_asked_for(state: MoodyState, clock: Clock) -> None:
    leases = Leases(state, "a", "user", 8.0, clock)
    genuine = state.heartbeat

    def slow(*arguments: Any) -> None:
        genuine(*arguments)
        clock.seconds += 6.5

    state.heartbeat = slow  # type: ignore[method-assign]
    leases.beat(info("a"))
    assert leases.permitted()
    clock.seconds += 0.5
    assert not leases.permitted()


def test_a_beat_without_an_answer_permits_nothing(state: MoodyState, clock: Clock) -> None:
    leases = Leases(state, "a", "user", 8.0, clock)
    leases.beat(info("a"))
    clock.seconds += 7
    state.away = True
    assert leases.beat(info("a")) is None
    assert not leases.permitted()


def test_a_host_that_slept_publishes_nothing_before_its_next_beat(state: MoodyState) -> None:
    clock = Stepped()
    leases = Leases(state, "a", "user", 8.0, clock)
    leases.beat(info("a"))
    clock.slept_s = 3_600.0
    assert not leases.permitted()
    leases.beat(info("a"))
    clock.slept_s = 0.0
    assert leases.permitted(), "a clock that is set back says nothing"


def test_what_is_lost_is_fenced_off_before_anything_is_permitted_again(state: MoodyState, clock: Clock) -> None:
    leases = Leases(state, "a", "user", 8.0, clock)
    leases.beat(info("a"))
    leases.claim(["x", "y"])
    clock.seconds += 20
    state.bury("a")
    state.claim(["x"], "b", 8.0)
    seen = []
    leases.fence_off = lambda lost: seen.append((set(lost), leases.permitted()))
    assert leases.beat(info("a")) == {"x"}
    assert seen == [({"x"}, False)]
    assert leases.permitted()


def test_a_stream_on_its_way_to_another_process_counts_as_published_here_until_it_is_passed_on(
    state: MoodyState, clock: Clock
) -> None:
    leases = Leases(state, "a", "user", 3.0, clock)
    leases.claim(["u1"])
    assert not leases.gives("u1")
    leases.pass_on("u1")
    assert leases.gives("u1")
    leases.passed_on("u1")
    assert not leases.gives("u1")


def test_a_process_that_never_beat_has_no_lapse_and_no_time(state: MoodyState, clock: Clock) -> None:
    leases = Leases(state, "a", "user", 8.0, clock)
    assert (leases.lapses, leases.permitted_s()) == (0, 0.0)
    leases.beat(info("a"))
    assert leases.lapses == 1
    clock.seconds += 100
    assert leases.permitted_s() == 0.0


def test_a_price_feed_is_left_to_the_processes_that_run_its_kind(state: MoodyState, clock: Clock) -> None:
    candles, tickers = Leases(state, "candles", "price", 8.0, clock), Leases(state, "tickers", "price", 8.0, clock)
    for _ in range(2):
        for leases, feed in ((candles, "candle"), (tickers, "ticker")):
            leases.beat(msgspec.structs.replace(info(leases.owner), role="price", feeds=(feed,)))
    units = [f"candle:binance#{number}" for number in range(20)]
    assert all(candles.mine_first(unit) for unit in units)
    assert not any(tickers.mine_first(unit) for unit in units)
