"""Who lives, who is dead, and what becomes of what the dead held."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from connector.core.errors import StateUnavailable
from connector.streams.leases import BEATS_PER_TTL, RENEW_EVERY_S, Leases
from tests.unit.connector.streams.cluster import Cluster, Process, names
from tests.unit.connector.streams.fakes import Clock, MoodyState
from tests.unit.connector.streams.test_leases import info

TTL_S = 3.0
BEAT_S = TTL_S / BEATS_PER_TTL


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> MoodyState:
    return MoodyState(clock)


def running(cluster: Cluster, processes: int, streams: int) -> list[Process]:
    """So many processes with all streams among them."""
    found = [cluster.process(name, ttl_s=TTL_S) for name in "abcdef"[:processes]]
    for name in names(streams):
        cluster.open(name)
    cluster.tick(4, BEAT_S)
    assert sum(len(process.streams) for process in found) == streams
    return found


def alive(state: MoodyState, clock: Clock, *owners: str) -> list[Leases]:
    """Processes that know of each other."""
    found = [Leases(state, owner, "user", TTL_S, clock) for owner in owners]
    for leases in found * 2:
        leases.beat(info(leases.owner))
    return found


# --- what a beat costs ---


def test_a_beat_renews_a_few_leases_whatever_its_process_holds(
    state: MoodyState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (a,) = alive(state, clock, "a")
    a.claim(names(2_000))
    renewed: Counter[str] = Counter()
    genuine = state.renew

    def renew(leases: dict[str, int], *rest: Any, **more: Any) -> set[str]:
        assert len(leases) <= 2_000 * BEAT_S / RENEW_EVERY_S + 1
        renewed.update(leases)
        return genuine(leases, *rest, **more)

    monkeypatch.setattr(state, "renew", renew)
    for _ in range(int(RENEW_EVERY_S / BEAT_S)):
        clock.seconds += BEAT_S
        assert a.beat(info("a")) == set()
    assert set(renewed) == set(names(2_000)), "all of them once a minute"


def test_a_process_reads_neither_all_streams_nor_all_leases_each_second(cluster: Cluster) -> None:
    """It did, and twenty thousand accounts in ten processes used up half a Redis."""
    running(cluster, 2, 20)
    cluster.state.asked.clear()
    cluster.tick(15, BEAT_S)
    assert cluster.state.asked.get("wanted_ids", 0) == 0
    assert cluster.state.asked.get("owners", 0) == 0


# --- the dead ---


def test_a_killed_process_is_buried_when_its_heartbeat_ends_and_its_streams_have_an_owner_within_a_second(
    cluster: Cluster,
) -> None:
    a, b, c = running(cluster, 3, 60)
    lost = a.streams
    assert lost
    a.die()
    cluster.tick(TTL_S - BEAT_S, BEAT_S)
    assert not lost & (b.streams | c.streams), "it may still live, and publish"
    cluster.tick(1 + BEAT_S, BEAT_S)
    assert lost <= b.streams | c.streams
    assert cluster.state.held("a") == set()
    assert ("*", "sweep") in cluster.notified


def test_a_process_that_retired_leaves_nothing_to_be_buried(cluster: Cluster) -> None:
    a, b = running(cluster, 2, 4)
    a.leave()
    cluster.tick(2 * TTL_S, BEAT_S)
    assert b.streams == set(names(4))
    assert set(cluster.state.roll()) == {"b"}


def test_a_heartbeat_that_redis_forgot_is_no_death(state: MoodyState, clock: Clock) -> None:
    a, b = alive(state, clock, "a", "b")
    a.claim(["x"])
    state._workers.drop("a")
    b.beat(info("b"))
    assert state.owners(["x"]) == {"x": "a"}
    assert b.candidates() == ["b"], "but it gets nothing meanwhile"
    clock.seconds += BEAT_S
    assert a.beat(info("a")) == set()
    clock.seconds += TTL_S
    a.beat(info("a"))
    b.beat(info("b"))
    assert state.owners(["x"]) == {"x": "a"}


def test_whose_heartbeat_was_never_seen_gets_its_whole_life_before_it_is_buried(
    state: MoodyState, clock: Clock
) -> None:
    """A process that has just started does not know whether it ran out or was forgotten."""
    (a,) = alive(state, clock, "a")
    a.claim(["x"])
    state._workers.drop("a")
    newcomer = Leases(state, "n", "user", TTL_S, clock)
    for _ in range(BEATS_PER_TTL):
        newcomer.beat(info("n"))
        assert state.owners(["x"]) == {"x": "a"}
        clock.seconds += BEAT_S
    newcomer.beat(info("n"))
    assert state.owners(["x"]) == {}


def test_after_an_outage_the_others_are_not_buried_before_they_had_their_turn(state: MoodyState, clock: Clock) -> None:
    a, b = alive(state, clock, "a", "b")
    b.claim(["x"])
    state.away = True
    a.beat(info("a"))
    clock.seconds += 10 * TTL_S
    state.away = False
    a.beat(info("a"))
    assert state.owners(["x"]) == {"x": "b"}
    clock.seconds += BEAT_S
    b.beat(info("b"))
    for _ in range(9):
        a.beat(info("a"))
    assert state.owners(["x"]) == {"x": "b"}


def test_a_state_that_goes_away_during_a_burial_leaves_the_beat_answered(
    state: MoodyState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = alive(state, clock, "a", "b")
    b.claim(["x"])
    for _ in range(BEATS_PER_TTL):
        clock.seconds += BEAT_S
        a.beat(info("a"))

    def bury(*_: Any) -> None:
        raise StateUnavailable("away")

    monkeypatch.setattr(state, "bury", bury)
    clock.seconds += BEAT_S
    assert a.beat(info("a")) == set()
    assert a.permitted()
    monkeypatch.undo()
    a.beat(info("a"))
    assert state.owners(["x"]) == {}


# --- what Redis forgets ---


def test_after_a_flush_nothing_is_claimed_until_those_who_lived_have_beaten_again(
    state: MoodyState, clock: Clock
) -> None:
    a, b = alive(state, clock, "a", "b")
    b.claim(["x"])
    state.flush()
    assert a.claim(["x"]) == [], "its own heartbeat is gone: it does not know what else is"
    for _ in range(3):
        a.beat(info("a"))
        assert a.settling
    b.beat(info("b"))
    a.beat(info("a"))
    a.beat(info("a"))
    assert not a.settling
    assert a.claim(["x"]) == []
    assert state.owners(["x"]) == {"x": "b"}


def test_after_a_flush_the_dead_are_not_waited_for_longer_than_their_heartbeats_would_have_stood(
    state: MoodyState, clock: Clock
) -> None:
    a, b = alive(state, clock, "a", "b")
    b.claim(["x"])
    state.flush()
    for _ in range(BEATS_PER_TTL):
        a.beat(info("a"))
        assert a.settling
        clock.seconds += BEAT_S
    a.beat(info("a"))
    a.beat(info("a"))
    assert not a.settling
    assert a.claim(["x"]) == ["x"]


def test_a_process_that_starts_just_after_a_flush_waits_for_those_who_listen(state: MoodyState, clock: Clock) -> None:
    """W6: it knew of nobody, took their streams, and both published until the owners' next beats."""
    (a,) = alive(state, clock, "a")
    stop = state.listen("a", lambda _: None)
    a.claim(["x"])
    state.flush()
    newcomer = Leases(state, "n", "user", TTL_S, clock)
    newcomer.beat(info("n"))
    assert newcomer.settling
    a.beat(info("a"))
    for _ in range(2):
        newcomer.beat(info("n"))
    assert not newcomer.settling
    assert newcomer.claim(["x"]) == []
    stop()


def test_a_process_that_starts_beside_others_waits_for_nobody(state: MoodyState, clock: Clock) -> None:
    alive(state, clock, "a")
    stop = state.listen("a", lambda _: None)
    newcomer = Leases(state, "n", "user", TTL_S, clock)
    newcomer.beat(info("n"))
    assert not newcomer.settling
    stop()


def test_a_process_that_starts_waits_no_longer_than_a_heartbeat_for_who_only_seems_to_listen(
    state: MoodyState, clock: Clock
) -> None:
    """Its host is gone, and nobody has told Redis."""
    stop = state.listen("gone", lambda _: None)
    newcomer = Leases(state, "n", "user", TTL_S, clock)
    for _ in range(BEATS_PER_TTL):
        newcomer.beat(info("n"))
        assert newcomer.settling
        clock.seconds += BEAT_S
    for _ in range(2):
        newcomer.beat(info("n"))
    assert not newcomer.settling
    stop()


def test_what_a_process_holds_is_written_again_with_its_next_beat_when_redis_forgot_that(
    state: MoodyState, clock: Clock
) -> None:
    """Else nobody would find it when the process dies."""
    (a,) = alive(state, clock, "a")
    a.claim(names(100))
    state._held.clear()
    a.beat(info("a"))
    assert state.held("a") == set(names(100))


def test_the_index_of_what_is_free_is_mended_within_a_minute_by_one_process(cluster: Cluster) -> None:
    a, b = running(cluster, 2, 4)
    cluster.tick(61, BEAT_S)
    cluster.open("forgotten")
    cluster.state._free.clear()
    cluster.state.asked.clear()
    cluster.tick(61, BEAT_S)
    assert "forgotten" in a.streams | b.streams
    assert cluster.state.asked["scan"] <= 2


def test_what_an_older_version_left_behind_is_found_within_a_minute(cluster: Cluster) -> None:
    """It writes neither what it holds nor what is free; its leases end by themselves."""
    (a,) = running(cluster, 1, 1)
    cluster.open("old")
    cluster.state.claim(["old"], "old one", 8.0)
    cluster.state._held.pop("old one")
    cluster.tick(71, BEAT_S)
    assert "old" in a.streams


def test_what_is_in_the_name_of_a_dead_process_without_being_among_what_it_held_is_free_in_the_end(
    cluster: Cluster,
) -> None:
    (a,) = running(cluster, 1, 1)
    cluster.open("slipped out")
    cluster.state.claim(["slipped out"], "dead", 180.0)
    cluster.state._held.pop("dead")
    cluster.tick(70, BEAT_S)
    assert "slipped out" in a.streams


# --- answers that are lost ---


def test_what_was_claimed_without_an_answer_is_given_back_with_the_next_beat(
    state: MoodyState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was nobody's until the lease ran out: the process did not know that it had it."""
    (a,) = alive(state, clock, "a")
    genuine = state.claim

    def claim(*arguments: Any, **more: Any) -> dict[str, int]:
        genuine(*arguments, **more)
        raise StateUnavailable("the answer came too late")

    monkeypatch.setattr(state, "claim", claim)
    with pytest.raises(StateUnavailable):
        a.claim(["x"])
    monkeypatch.undo()
    assert state.owners(["x"]) == {"x": "a"}
    a.beat(info("a"))
    assert state.owners(["x"]) == {}
    assert a.claim(["x"]) == ["x"]
