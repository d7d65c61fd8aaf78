"""Which process runs which account stream, and how a stream passes from one to another."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import msgspec
import pytest

from connector.core.errors import StateUnavailable
from connector.core.ports import Wanted
from connector.streams.handover import READY_TIMEOUT_S, RELEASE_TIMEOUT_S
from connector.streams.leases import preferred
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import Cluster, Process
from tests.unit.connector.streams.fakes import delta, keys
from tests.unit.connector.streams.test_tracker import report


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def names(count: int) -> list[str]:
    return [f"stream-{number}" for number in range(count)]


def kind(text: str) -> str:
    return str(json.loads(text).get("t"))


# --- claiming ---


def test_each_process_takes_its_own_share_at_once(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    for name in names(40):
        cluster.open(name)
        cluster.tell(name)
    cluster.settle()
    assert a.streams | b.streams == set(names(40))
    assert a.streams & b.streams == set()
    assert a.streams == {name for name in names(40) if preferred(name, ["a", "b"]) == "a"}


def test_a_lost_notification_is_found_by_the_sweep(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    assert a.streams == set()
    cluster.tick(1)
    assert a.streams == {"u1"}


def test_what_the_preferred_process_does_not_take_anybody_takes(cluster: Cluster) -> None:
    a, b = cluster.process("a", capacity=0), cluster.process("b")
    for name in names(20):
        cluster.open(name)
    cluster.tick(5)
    assert a.streams == set()
    assert b.streams == set(names(20))


def test_capacity_is_never_exceeded_not_even_by_one_sweep(cluster: Cluster) -> None:
    a = cluster.process("a", capacity=10)
    for name in names(100):
        cluster.open(name)
    cluster.tick(5)
    assert len(a.streams) == len(a.leases) == 10


def test_the_streams_of_a_dead_process_are_taken_over_with_their_positions(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    for name in names(20):
        cluster.open(name)
    cluster.tick(3)
    mine = a.streams
    assert mine
    cluster.state.save_positions(dict.fromkeys(mine, b'{"live_until_ms":5}'), 60)
    a.die()
    cluster.tick(20)
    assert b.streams == set(names(20))
    assert all(b.supervisor.positions[name] == b'{"live_until_ms":5}' for name in mine)


def test_a_process_that_lost_its_lease_ends_the_stream_at_once(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    cluster.clock.seconds += 30  # a long pause of the process: its lease ran out
    assert cluster.state.claim(["u1"], "b", 8.0) != {}
    a.beat()
    cluster.settle()
    assert a.streams == set()
    assert cluster.state.owners(["u1"]) == {"u1": "b"}
    assert a.sink.closed() == [], "the stream goes on elsewhere"


def test_a_key_that_only_another_process_knows_is_left_to_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a = cluster.process("a")
    hide_keys(cluster, monkeypatch, a)
    cluster.open("u1")
    with caplog.at_level(logging.INFO):
        cluster.tick(10)
    assert a.streams == set()
    assert sum("its key is not known here" in record.getMessage() for record in caplog.records) == 1
    b = cluster.process("b")
    cluster.tick(5)
    assert b.streams == {"u1"}


def hide_keys(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *processes: Process, digest: str = "") -> None:
    """Without CREDENTIALS_KEYS a process knows only the keys of the commands that came to it."""
    real = cluster.state.wanted

    def wanted(stream_ids: Any) -> dict[str, Wanted]:
        found = real(stream_ids)
        if running["process"] not in processes:
            return found
        return {
            name: msgspec.structs.replace(entry, credentials=None) if not digest or entry.digest == digest else entry
            for name, entry in found.items()
        }

    running: dict[str, Process | None] = {"process": None}
    for process in cluster.processes:
        watch(process, running)
    started = cluster.process

    def start(*args: Any, **more: Any) -> Process:
        process = started(*args, **more)
        watch(process, running)
        return process

    monkeypatch.setattr(cluster, "process", start)
    monkeypatch.setattr(cluster.state, "wanted", wanted)


def watch(process: Process, running: dict[str, Process | None]) -> None:
    turn = process.loop.turn

    def watched() -> bool:
        running["process"] = process
        try:
            return turn()
        finally:
            running["process"] = None

    process.loop.turn = watched  # type: ignore[method-assign]


def test_a_new_key_that_came_to_another_process_moves_the_stream_there(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    hide_keys(cluster, monkeypatch, a, digest=keys("2").digest)
    b = cluster.process("b")
    cluster.open("u1", key="2")
    cluster.tell("u1")
    cluster.tick(6)
    assert a.streams == set()
    assert b.streams == {"u1"}
    assert b.supervisor.specs["u1"].digest == keys("2").digest


def test_a_restart_told_without_the_key_keeps_the_key_that_is_running(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    hide_keys(cluster, monkeypatch, a)
    cluster.state.restart("u1")
    cluster.tell("u1")
    cluster.settle()
    assert a.supervisor.specs["u1"].generation == 1
    assert a.supervisor.specs["u1"].credentials is not None


# --- commands ---


def test_a_close_ends_the_stream_and_tells_it_once(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    cluster.open("u1", count=2)
    cluster.tick(3)
    cluster.state.close("u1")
    cluster.tell("u1")
    cluster.tick(2)
    assert cluster.owners("u1") != []
    cluster.state.close("u1")
    cluster.tell("u1")
    cluster.tick(2)
    assert cluster.owners("u1") == []
    assert a.sink.closed() + b.sink.closed() == ["u1"]
    assert cluster.state.owners(["u1"]) == {}


def test_a_close_whose_notification_got_lost_is_found_by_the_sweep(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    cluster.state.close("u1")
    cluster.tick(2)
    assert a.streams == set()
    assert a.sink.closed() == ["u1"]


def test_a_forced_restart_whose_notification_got_lost_is_found_by_the_sweep(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(120):
        cluster.open(name)
    cluster.tick(1)
    for name in names(120):
        cluster.state.restart(name)
    cluster.tick(25)
    assert {spec.generation for spec in a.supervisor.specs.values()} == {1}


def test_a_claimed_stream_that_could_not_be_started_is_started_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state went away between the claim and the read of the position."""
    a = cluster.process("a")
    cluster.open("u1")
    real = cluster.state.positions

    def away(stream_ids: Any) -> Any:
        raise StateUnavailable("away")

    monkeypatch.setattr(cluster.state, "positions", away)
    cluster.tick(1)
    assert len(a.leases) == 1
    assert a.streams == set()
    monkeypatch.setattr(cluster.state, "positions", real)
    cluster.tick(2)
    assert a.streams == {"u1"}


# --- a state that forgets ---


def test_streams_that_the_state_forgot_are_written_again(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1", count=3)
    cluster.tick(1)
    cluster.state.flush()
    cluster.tick(2)
    assert cluster.state.wanted(["u1"])["u1"].count == 3
    assert a.streams == {"u1"}
    assert ("unwant", "u1", True, True) not in a.supervisor.calls
    assert cluster.state.owners(["u1"]) == {"u1": "a"}


def test_closed_streams_are_not_resurrected(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.open("u2")
    cluster.tick(1)
    cluster.state.close("u2")
    cluster.tick(30)
    assert cluster.state.wanted_ids() == {"u1"}
    assert a.streams == {"u1"}
    assert a.sink.closed() == ["u2"]


def test_streams_go_on_while_the_state_is_away(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(5):
        cluster.open(name)
    cluster.tick(1)
    cluster.state.away = True
    cluster.tick(60)
    assert len(a.streams) == 5
    cluster.state.away = False
    cluster.tick(3)
    assert len(a.streams) == 5
    assert len(cluster.state.owners(names(5))) == 5


# --- admin config ---


def test_enabling_a_disabled_exchange_reopens_nothing(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1", exchange="bybit")
    cluster.open("u2", exchange="okx")
    cluster.open("u3", exchange="paperBybit")
    cluster.tick(1)
    assert a.streams == {"u1", "u2", "u3"}
    cluster.enabled = {"okx"}
    a.accounts.notified("admin-config")
    cluster.tick(1)
    assert a.streams == {"u2"}
    assert sorted(a.sink.closed()) == ["u1", "u3"]
    cluster.tick(30)
    assert a.streams == {"u2"}
    cluster.enabled = None
    cluster.tick(3)
    assert a.streams == {"u2"}
    cluster.open("u1", exchange="bybit")
    cluster.tick(1)
    assert a.streams == {"u1", "u2"}
    wanted = cluster.state.wanted(["u1", "u3"])
    assert {stream_id: entry.count for stream_id, entry in wanted.items()} == {"u1": 1}


def test_notifications_for_the_price_role_are_not_ours(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    a = cluster.process("a")
    with caplog.at_level(logging.WARNING):
        a.accounts.notified("candle:okx")
        a.accounts.notified('{"t":"reconcile"}')
        cluster.settle()
    assert len(caplog.records) == 1


# --- hand-over ---


def drained(cluster: Cluster, giver: Process, seconds: float = 30) -> bool:
    """Drain a process as the engine does, with time passing meanwhile."""
    giver.drain(seconds)
    giver.beat()
    for _ in range(int(seconds)):
        cluster.tick(1)
        if giver.gone:
            return giver.gone == [True]
    return False


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


def test_no_third_process_claims_a_stream_while_it_is_handed_over(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b, c = cluster.process("b"), cluster.process("c")
    target = a.leases.another("u1")
    for process in (b, c):
        process.supervisor.sick.add("u1")
    taker, third = (b, c) if target == "b" else (c, b)
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) == "take"
    a.accounts.handover.give("u1")
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


# --- positions ---


def test_a_stream_has_a_position_as_soon_as_it_is_live(cluster: Cluster) -> None:
    """Without one, the next owner of a process that dies young would repair nothing."""
    a = cluster.process("a")
    cluster.open("u1")
    a.accounts.sweep()
    cluster.settle()
    assert a.streams == {"u1"}
    assert b'"live_until_ms"' in cluster.state.positions(["u1"])["u1"]


def test_positions_are_saved_and_due_again_after_a_failure(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    a.pipeline.confirmed(a.sink.account())
    cluster.state.away = True
    a.accounts.save_positions()
    cluster.settle()
    cluster.state.away = False
    assert b'"order_id":"7"' not in cluster.state.positions(["u1"])["u1"]
    cluster.clock.seconds += 11
    a.accounts.save_positions()
    cluster.settle()
    assert b'"order_id":"7"' in cluster.state.positions(["u1"])["u1"]


def test_a_stream_that_hides_behind_a_hand_over_does_not_save_a_position_it_did_not_publish(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    cluster.state.save_positions({"u1": b'{"live_until_ms":5}'}, 60)
    b = cluster.process("b")
    cluster.lose = lambda owner, text: text.startswith("{") and kind(text) in {"ready", "released"}
    a.accounts.handover.give("u1")
    cluster.settle()
    b.pipeline.account(Emit("u1", report("NEW")), 1.0)
    b.close_rest()
    assert cluster.state.positions(["u1"]) == {"u1": b'{"live_until_ms":5}'}


def test_drain_and_stop_of_the_real_loop() -> None:
    cluster = Cluster()
    cluster.started["real"] = 1
    process = Process(cluster, "real", 10, 8.0, threaded=True)
    process.accounts.start()
    cluster.open("u1")
    process.beat()
    process.accounts.reconcile("u1")
    gone, told = list[bool](), threading.Event()

    def done(in_time: bool) -> None:
        gone.append(in_time)
        told.set()

    process.accounts.drain(5.0, done)
    assert told.wait(5.0)
    assert gone == [True]
    assert process.accounts.stop(5.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "accounts"]
