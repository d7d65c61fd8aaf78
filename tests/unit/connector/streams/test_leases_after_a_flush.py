"""What this process thinks it holds agrees with the state, also after Redis lost its data or was away."""

from __future__ import annotations

import logging

import pytest

from connector.core.errors import StateUnavailable
from connector.core.ports import WorkerInfo
from connector.streams.free import UNOWNED_GRACE_S, Free
from connector.streams.leases import LEASE_KEEP_S, Leases
from connector.streams.neighbours import SETTLE_BEATS
from tests.unit.connector.streams.fakes import Clock, MoodyState
from tests.unit.connector.streams.test_leases import info

TTL_S = 8.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> MoodyState:
    return MoodyState(clock)


def owner(state: MoodyState, name: str) -> Leases:
    return Leases(state, name, "user", TTL_S)


def test_a_unit_that_another_took_after_a_flush_is_held_no_more(state: MoodyState, clock: Clock) -> None:
    a, b = owner(state, "a"), owner(state, "b")
    a.claim(["x", "y"])
    state.flush()
    b.claim(["x"])

    assert a.retake(["x", "y"]) == {"x"}

    assert not a.holds("x")
    assert a.fence("x") is None
    assert a.held().keys() == {"y"}
    assert state.owners(["x", "y"]) == {"x": "b", "y": "a"}


def test_units_that_are_not_held_are_not_taken_back(state: MoodyState) -> None:
    a = owner(state, "a")
    a.claim(["x"])
    state.flush()
    assert a.retake(["x", "z"]) == set()
    assert state.owners(["x", "z"]) == {"x": "a"}


def test_what_was_taken_back_ends_in_its_time(state: MoodyState, clock: Clock) -> None:
    a = owner(state, "a")
    a.claim(["x"])
    state.flush()
    a.retake(["x"])
    clock.seconds += LEASE_KEEP_S - 0.1
    assert state.owners(["x"]) == {"x": "a"}
    clock.seconds += 0.2
    assert state.owners(["x"]) == {}


def test_taking_back_while_redis_is_away_is_told(state: MoodyState) -> None:
    a = owner(state, "a")
    a.claim(["x"])
    state.away = True
    with pytest.raises(StateUnavailable):
        a.retake(["x"])
    assert a.holds("x")


def test_after_an_outage_nothing_is_claimed_for_two_beats(state: MoodyState) -> None:
    """By then every living owner has renewed what is its own."""
    a = owner(state, "a")
    a.beat(info("a"))
    assert not a.settling
    state.away = True
    a.beat(info("a"))
    assert a.settling
    state.away = False
    for _ in range(SETTLE_BEATS - 1):
        a.beat(info("a"))
        assert a.settling
    a.beat(info("a"))
    assert not a.settling
    a.beat(info("a"))
    assert not a.settling


def test_after_a_flush_nothing_is_claimed_before_the_owners_wrote_their_leases_again(state: MoodyState) -> None:
    """Who looked before the owner's next beat took its feed, and both published prices."""
    a = owner(state, "a")
    a.beat(info("a"))
    state.flush()
    a.look_around()
    for _ in range(SETTLE_BEATS):
        assert a.settling
        a.beat(info("a"))
    a.look_around()
    assert not a.settling


def test_an_outage_and_its_end_are_told_once_each(state: MoodyState, caplog: pytest.LogCaptureFixture) -> None:
    a = owner(state, "a")
    with caplog.at_level(logging.INFO):
        a.beat(info("a"))
        state.away = True
        for _ in range(3):
            a.beat(info("a"))
        state.away = False
        for _ in range(3):
            a.beat(info("a"))
        state.away = True
        a.beat(info("a"))
    told = [record.getMessage() for record in caplog.records]
    assert [("unavailable" in text, "back" in text) for text in told] == [(True, False), (False, True), (True, False)]


def test_a_heartbeat_ends_with_the_leases(state: MoodyState, clock: Clock) -> None:
    """Who is dead must not stand in the way of those who take over."""
    a, b = owner(state, "a"), owner(state, "b")
    a.beat(info("a"))
    clock.seconds += TTL_S - 0.1
    b.beat(info("b"))
    assert {worker.owner for worker in b.workers} == {"a", "b"}
    clock.seconds += 0.2
    b.beat(info("b"))
    assert {worker.owner for worker in b.workers} == {"b"}


def test_who_lives_is_found_out_between_beats(state: MoodyState) -> None:
    a = owner(state, "a")
    a.beat(info("a"))
    state.heartbeat(info("b"), 60)
    assert a.candidates() == ["a"]
    a.look_around()
    assert sorted(a.candidates()) == ["a", "b"]
    state.away = True
    with pytest.raises(StateUnavailable):
        a.look_around()


def test_only_processes_of_the_role_are_candidates(state: MoodyState) -> None:
    a = owner(state, "a")
    state.heartbeat(WorkerInfo(owner="p", role="price", host="h", pid=1, started_ms=0, capacity=9, streams=0), 60)
    a.beat(info("a"))
    assert a.candidates() == ["a"]


def test_a_beat_without_leases_asks_for_no_renewal(state: MoodyState) -> None:
    a = owner(state, "a")
    assert a.beat(info("a")) == set()
    assert "renew" not in state.asked
    a.claim(["x"])
    a.beat(info("a"))
    assert state.asked["renew"] == 1


def test_nothing_is_asked_for_nothing(state: MoodyState) -> None:
    a = owner(state, "a")
    assert a.claim([]) == []
    a.release([])
    a.release(["unknown"])
    assert "claim" not in state.asked
    assert "release" not in state.asked


def test_an_accepted_lease_is_held_with_its_number_and_released(state: MoodyState) -> None:
    a, b = owner(state, "a"), owner(state, "b")
    a.claim(["x"])
    fence = a.fence("x")
    assert fence is not None
    handed = state.hand_over("x", fence, "a", "b", TTL_S)
    assert handed is not None
    a.forget("x")
    b.accept("x", handed)
    assert (a.holds("x"), b.holds("x"), b.fence("x"), len(b)) == (False, True, handed, 1)
    b.release(["x"])
    assert state.owners(["x"]) == {}
    assert len(b) == 0


def test_what_is_held_can_not_be_changed_from_outside(state: MoodyState) -> None:
    a = owner(state, "a")
    a.claim(["x"])
    a.held().clear()
    assert a.holds("x")


def test_without_anybody_alive_this_process_tries_first(state: MoodyState) -> None:
    a = owner(state, "a")
    assert a.candidates() == []
    assert a.mine_first("x")


def test_a_process_that_starts_settles_nothing(state: MoodyState) -> None:
    assert not owner(state, "a").settling


def test_two_beats_settle_an_outage(state: MoodyState) -> None:
    a = owner(state, "a")
    state.away = True
    a.beat(info("a"))
    state.away = False
    a.beat(info("a"))
    assert a.settling
    a.beat(info("a"))
    assert not a.settling


def test_a_unit_of_another_is_left_to_it_for_a_moment_each_time(state: MoodyState, clock: Clock) -> None:
    a = owner(state, "a")
    state.heartbeat(info("b"), 600)
    a.beat(info("a"))
    unit = next(name for name in (f"unit-{number}" for number in range(99)) if not a.mine_first(name))
    free = Free(a, clock)
    assert not free.may_claim(unit)
    clock.seconds += UNOWNED_GRACE_S - 0.1
    assert not free.may_claim(unit)
    clock.seconds += 0.1
    assert free.may_claim(unit)
    free.owned(unit)
    assert not free.may_claim(unit), "it was owned meanwhile"
    clock.seconds += UNOWNED_GRACE_S
    free.only({unit})
    assert free.may_claim(unit)
    free.only({"others"})
    assert not free.may_claim(unit), "it was not wanted meanwhile"


def test_a_unit_of_this_process_is_taken_at_once(state: MoodyState, clock: Clock) -> None:
    a = owner(state, "a")
    a.beat(info("a"))
    assert Free(a, clock).may_claim("x")
