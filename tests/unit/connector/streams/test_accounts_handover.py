"""How an account stream passes from one process to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from connector.core.ports import Process
from connector.streams.pacing import LINGER_S
from connector.streams.passing import READY_TIMEOUT_S, RELEASE_TIMEOUT_S
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import TTL_S, Cluster, drained, hide_keys, kind, names
from tests.unit.connector.streams.fakes import delta, keys
from tests.unit.connector.streams.test_tracker import report


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_a_drain_hands_everything_over_before_anything_closes(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(30):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b")
    closed_early: list[str] = []
    real = a.supervisor.unwant

    def unwant(stream_id: str, **more: Any) -> None:
        if stream_id not in b.streams:
            closed_early.append(stream_id)
        real(stream_id, **more)

    a.supervisor.unwant = unwant  # type: ignore[method-assign]
    assert drained(cluster, a)
    assert b.streams == set(names(30))
    assert a.streams == set()
    assert closed_early == []
    assert not any(b.supervisor.held.values())
    assert a.sink.closed() == b.sink.closed() == []
    assert set(cluster.state.owners(names(30)).values()) == {"b"}
    assert not b.accounts.handover.busy


def test_at_no_time_do_two_processes_publish(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(10):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b")
    seen: list[str] = []
    for process in (a, b):
        turn = process.loop.turn

        def watched(turn: Any = turn) -> bool:
            done: bool = turn()
            seen.extend(name for name in names(10) if len(cluster.publishers(name)) > 1)
            return done

        process.loop.turn = watched  # type: ignore[method-assign]
    assert drained(cluster, a)
    assert seen == []


def test_without_another_process_a_drain_ends_at_once(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    assert drained(cluster, a, 2)
    a.close_rest()
    assert a.streams == set()
    assert cluster.state.owners(["u1"]) == {}
    assert cluster.state.positions(["u1"]) != {}


@pytest.mark.parametrize("lost", ["take", "ready", "released"])
def test_a_lost_notification_of_the_hand_over_is_repeated(cluster: Cluster, lost: str) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    losses = iter([True])
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) == lost and next(losses, False)
    assert drained(cluster, a, 10)
    cluster.tick(RELEASE_TIMEOUT_S - 2)
    assert b.supervisor.publishing() == {"u1"}
    assert ("release", "u1", True) in b.supervisor.calls, "released by word, not by time-out"
    assert not b.accounts.handover.busy


def test_a_taker_that_dies_gives_the_stream_back_to_the_giver(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert a.supervisor.draining == {"u1"}
    b.die()
    cluster.tick(60)
    assert a.streams == {"u1"}
    assert a.supervisor.draining == set()
    assert ("unwant", "u1", False, False) not in a.supervisor.calls, "the session was never closed"
    assert cluster.state.owners(["u1"]) == {"u1": "a"}
    assert a.leases.holds("u1")


def test_the_taker_hears_of_it_when_every_sink_has_sent_what_was_there_at_the_end(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    marks: list[object] = []
    sent: set[int] = set()

    def mark() -> object:
        marks.append(object())
        return marks[-1]

    a.sink.mark = mark  # type: ignore[method-assign]
    a.sink.passed = lambda given: any(given is marks[number] for number in sent)  # type: ignore[method-assign]
    a.accounts.handover.give("u1")
    cluster.tick(LINGER_S + 1)
    assert len(marks) == 1
    assert ("release", "u1", True) not in b.supervisor.calls
    sent.add(0)
    cluster.tick(1)
    assert cluster.publishers("u1") == ["b"]
    assert ("release", "u1", True) in b.supervisor.calls, "released by word, not by time-out"


def test_no_third_process_claims_a_stream_while_it_is_handed_over(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b, c = cluster.process("b"), cluster.process("c")
    for process in (b, c):
        process.supervisor.sick.add("u1")
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) == "take"
    a.accounts.handover.give("u1")
    taker, third = (b, c) if cluster.state.owners(["u1"]) == {"u1": "b"} else (c, b)
    for _ in range(int(READY_TIMEOUT_S) - 2):
        cluster.tick(1)
        assert third.streams == set()
        assert cluster.publishers("u1") == ["a"]
    cluster.tick(60)
    assert cluster.publishers("u1") != []
    assert len(cluster.owners("u1")) == 1
    assert taker.alive


def test_a_taker_that_never_gets_live_has_the_stream_after_the_time_limit(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.tick(READY_TIMEOUT_S - 2)
    assert cluster.publishers("u1") == ["a"]
    cluster.tick(6)
    assert a.streams == set()
    assert b.streams == {"u1"}
    assert cluster.publishers("u1") == ["b"]
    assert cluster.state.positions(["u1"]) != {}, "from which it repairs the gap"


def test_a_giver_that_dies_is_not_waited_for(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) == "ready"
    a.accounts.handover.give("u1")
    cluster.settle()
    b.pipeline.account(Emit("u1", report("NEW")), 1.0)
    b.pipeline.account(Emit("u1", delta(1)), 1.0)
    a.die()
    cluster.tick(20)
    assert ("release", "u1", False) in b.supervisor.calls
    assert [message.event_type for message in b.sink.account()] == ["executionReport"]
    assert b.leases.holds("u1")
    assert not b.accounts.handover.busy


@pytest.mark.parametrize("forgot", [True, False])
def test_a_stream_that_is_taken_while_redis_forgets_where_it_stood_tells_that_nothing_is_known(
    cluster: Cluster, forgot: bool
) -> None:
    """A flush in a hand-over: the giver ended without a word, and the fills of that time were neither told nor missed."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    a.accounts.save_positions()
    cluster.settle()
    assert cluster.state.positions(["u1"])
    if forgot:
        cluster.state.drop_position("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert b.supervisor.unknown["u1"] is forgot


def test_streams_without_a_session_do_not_hold_up_a_drain(cluster: Cluster) -> None:
    """A key in cooldown never gets live, neither here nor there."""
    a = cluster.process("a")
    a.supervisor.sick.update({"u1", "u2"})
    for name in ("u1", "u2", "u3"):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.update({"u1", "u2"})
    assert drained(cluster, a, 5)
    assert b.streams == {"u1", "u2", "u3"}
    assert not any(b.supervisor.held.values())


def test_a_taker_that_does_not_know_the_key_gives_the_stream_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    hide_keys(cluster, monkeypatch, b)
    a.accounts.handover.give("u1")
    cluster.tick(3)
    assert a.streams == {"u1"}
    assert a.supervisor.draining == set()
    assert a.leases.holds("u1")
    a.accounts.handover.give("u1")
    cluster.tick(1)
    assert a.leases.holds("u1"), "not offered again for a while"
    assert drained(cluster, a, 3), "and a drain does not wait for it"


def test_a_stream_that_nobody_else_can_open_is_free_at_once_when_its_giver_ends(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused, too late to be taken back; its lease stood in the name of the taker, who did not know of it."""
    a = cluster.process("a")
    a.supervisor.sick.add("u1")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    hide_keys(cluster, monkeypatch, b)
    assert drained(cluster, a, 2)
    assert b.streams == set()
    assert cluster.state.owners(["u1"]) == {}


def test_a_process_that_drains_takes_nothing(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.accounts.draining = True
    b.accounts.handover._draining = True  # its heartbeat does not say so yet
    a.accounts.handover.give("u1")
    cluster.settle()
    assert b.streams == set()
    cluster.tick(3)
    assert a.streams == {"u1"}
    assert a.leases.holds("u1")
    assert a.supervisor.draining == set()


def test_two_processes_that_drain_at_once_end_both(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    for name in names(20):
        cluster.open(name)
    cluster.tick(3)
    for process in (a, b):
        process.drain()
    cluster.tick(10)
    assert a.gone == b.gone == [True]
    assert cluster.state.owners(names(20)) == {}


def test_a_stream_that_is_closed_during_its_hand_over_ends_on_both_sides(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert cluster.owners("u1") == ["a", "b"]
    applied = cluster.state.close("u1")
    assert applied.owner == "b"
    cluster._notify("b", '{"t":"reconcile","id":"u1"}')
    cluster.tick(2)
    assert cluster.owners("u1") == []
    assert b.sink.closed() == ["u1"]
    assert not a.accounts.handover.busy
    assert not b.accounts.handover.busy
    cluster.tick(30)
    assert cluster.state.owners(["u1"]) == {}


def test_a_renewal_that_meets_a_hand_over_does_not_close_the_session(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease changes hands between the snapshot of the beat and its renewal, which then calls the unit lost."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    real = cluster.state.renew

    def renew(leases: Any, owner: str, ttl_s: float) -> set[str]:
        if owner == "a" and "u1" in leases:
            a.accounts.handover.give("u1")
        return real(leases, owner, ttl_s)

    monkeypatch.setattr(cluster.state, "renew", renew)
    a.beat()
    monkeypatch.setattr(cluster.state, "renew", real)
    cluster.settle()
    assert a.streams == {"u1"}
    assert cluster.publishers("u1") == ["a"]


def test_a_process_that_joins_gets_its_share_bit_by_bit(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(60):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b")
    for _ in range(40):
        a.accounts.rebalance()
        b.accounts.rebalance()
        cluster.tick(1)
    assert a.streams | b.streams == set(names(60))
    assert a.streams & b.streams == set()
    assert 20 <= len(b.streams) <= 40
    assert not any(b.supervisor.held[name] for name in b.streams)


def test_after_an_outage_of_the_state_nobody_claims_before_the_owners_renewed(cluster: Cluster) -> None:
    """All leases ran out meanwhile: whoever acted first took streams that were running elsewhere."""
    a, b = cluster.process("a"), cluster.process("b")
    for name in names(20):
        cluster.open(name)
    cluster.tick(3)
    held = {process.name: process.streams for process in (a, b)}
    cluster.state.away = True
    cluster.tick(60)
    cluster.state.away = False
    for name in names(20):
        cluster.tell(name)
    cluster.settle()
    for _ in range(10):
        assert all(len(cluster.publishers(name)) == 1 for name in names(20))
        cluster.tick(1)
    assert held == {process.name: process.streams for process in (a, b)}


def test_an_outage_during_a_hand_over_makes_nobody_publish_twice(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    cluster.state.away = True
    cluster.tick(60)
    cluster.state.away = False
    for _ in range(10):
        assert cluster.publishers("u1") == ["a"]
        cluster.tick(1)
    b.supervisor.sick.clear()
    b.accounts.stream_live("u1", "bybit")
    cluster.tick(5)
    assert cluster.publishers("u1") == ["b"]


def test_a_command_for_a_stream_whose_offer_got_lost_does_not_open_it_a_second_time(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) == "take"
    a.accounts.handover.give("u1")
    assert cluster.state.owners(["u1"]) == {"u1": "b"}
    cluster.state.restart("u1")
    cluster._notify("b", '{"t":"reconcile","id":"u1"}')
    cluster.settle()
    assert b.streams == set()
    cluster.lose = lambda owner, text: False
    cluster.tick(6)
    assert cluster.publishers("u1") == ["b"]
    assert b.supervisor.specs["u1"].generation == 1


def test_an_old_offer_that_comes_late_takes_nothing_back(cluster: Cluster) -> None:
    """Notifications are repeated: one of the former hand-over may come while the stream is on its way to a third process."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b", capacity=1)
    fence = a.leases.fence("u1")
    assert fence is not None
    a.accounts.handover.give("u1")
    cluster.tick(5)
    assert b.streams == {"u1"}
    a.supervisor.sick.add("u1")  # it never gets ready to take the stream back
    b.accounts.handover.give("u1")
    b.accounts.handover.message("take", "u1", {"giver": "a", "fence": fence + 1})
    cluster.settle()
    assert b.accounts.handover.giving("u1")
    assert not b.accounts.handover.taking("u1")


def test_a_stream_that_is_given_back_before_its_giver_has_ended_is_taken_after_that(cluster: Cluster) -> None:
    """The taker's words got lost, it went on alone, and gives the stream back: first the giver's own session ends."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b", capacity=1)
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert a.accounts.handover.giving("u1")
    fence = a.accounts.handover._passing["u1"].fence
    offer = {"giver": "b", "fence": fence + 1}
    a.accounts.handover.message("take", "u1", offer)
    cluster.settle()
    assert a.streams == set()
    assert not a.accounts.handover.giving("u1")
    assert not a.accounts.handover.taking("u1")
    a.accounts.handover.message("take", "u1", offer)
    assert a.accounts.handover.taking("u1")


@pytest.mark.parametrize("heard", [True, False])
def test_a_taker_that_ends_leaves_a_stream_to_the_giver_that_still_publishes_it(cluster: Cluster, heard: bool) -> None:
    """Two drains at a time: the taker released the lease, a third process took it, and two of them published."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    cluster.process("c")
    cluster.lose = lambda owner, text: not heard and text.startswith("{") and kind(text) == "refused"
    b.drain()
    b.beat()
    b.close_rest()
    b.leave()
    assert cluster.state.owners(["u1"]) == {"u1": "a" if heard else "b"}, "never free for a third"
    cluster.tick(30)
    assert cluster.publishers("u1") == ["a"]
    assert ("unwant", "u1", False, False) not in a.supervisor.calls, "the session was never closed"
    assert cluster.state.owners(["u1"]) == {"u1": "a"}


def test_a_stream_whose_taker_ended_after_the_giver_closed_is_free_at_once(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    a.sink.slow = True
    a.accounts.handover.give("u1")
    cluster.tick(LINGER_S + 1)
    b.drain()
    b.beat()
    b.close_rest()
    b.leave()
    assert cluster.state.owners(["u1"]) == {"u1": "b"}, "the giver's last events are not out"
    a.sink.slow = False
    cluster.tick(5)
    assert len(cluster.publishers("u1")) == 1
    assert cluster.state.owners(["u1"]) == {"u1": "a"}


def test_a_stream_whose_giver_died_is_free_at_once_when_its_taker_ends(cluster: Cluster) -> None:
    """Its lease stood in the name of a process that was gone, for a giver that could not take it back: dark for a minute."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    a.die()
    b.drain()
    b.beat()
    b.close_rest()
    b.leave()
    assert cluster.state.owners(["u1"]) == {}
    c = cluster.process("c")
    cluster.tick(5)
    assert cluster.publishers("u1") == ["c"]
    assert c.streams == {"u1"}


def test_a_giver_whose_heartbeat_the_state_forgot_within_a_beat_is_not_taken_for_dead(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushed between two answers of one beat: the beat knew of no loss, the look at the others found nobody, and the taker
    went on beside the giver."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.tick(2)
    roll = cluster.state.roll

    def flushed() -> Mapping[str, Process]:
        cluster.state.flush()
        return roll()

    with monkeypatch.context() as within:
        within.setattr(cluster.state, "roll", flushed)
        b.beat()
    b.accounts.handover.check()
    cluster.settle()
    assert b.accounts.handover.taking("u1")
    assert cluster.publishers("u1") == ["a"]
    cluster.tick(60)
    assert len(cluster.publishers("u1")) == 1


def test_a_giver_that_died_is_waited_for_no_longer_than_its_heartbeat_lasts(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    a.accounts.handover.give("u1")
    cluster.settle()
    a.die()
    cluster.tick(TTL_S + 1)
    assert cluster.publishers("u1") == ["b"]
    assert not b.accounts.handover.busy


def test_nothing_of_a_hand_over_is_left_on_either_side(cluster: Cluster) -> None:
    """A giver that went on keeping the lease would keep it alive for a taker that died."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert a.leases.gives("u1")
    cluster.tick(10)
    assert b.streams == {"u1"}
    assert not a.leases.gives("u1")
    assert cluster.state.held("b") == {"u1"}, "kept by its own heartbeat"
    assert cluster.state.held("a") == set()


def test_a_taker_that_ends_says_that_it_has_no_room_and_not_that_it_can_t_open_the_stream(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    b.supervisor.sick.add("u1")
    a.accounts.handover.give("u1")
    cluster.settle()
    assert b.accounts.handover.decline() == ["u1"]
    cluster.settle()
    assert a.accounts.handover.givable("u1"), "to somebody else, at once"


def test_a_refusal_that_comes_after_everything_frees_just_that_lease(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.state.open("u1", "bybit", "owner", keys(), 0)
    fence = cluster.state.claim(["u1"], "b", 100.0)["u1"]
    refused = a.accounts.handover.message
    refused("refused", "u1", {"by": "b"})
    assert cluster.state.owners(["u1"]) == {"u1": "b"}, "no number, no lease"
    refused("refused", "u1", {"by": "b", "fence": fence})
    assert cluster.state.owners(["u1"]) == {}


def test_a_giver_whose_last_words_are_not_out_says_so(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b")
    a.accounts.handover.give("u1")
    cluster.settle()
    b.accounts.handover.message("released", "u1", {"clean": False, "seamless": True})
    assert ("release", "u1", False) in b.supervisor.calls
