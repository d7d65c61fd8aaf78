"""Which process runs which account stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from connector.core.errors import StateUnavailable
from connector.core.messages import StreamClosed
from connector.streams.leases import preferred
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import Cluster, Process, hide_keys, kind, names
from tests.unit.connector.streams.fakes import keys
from tests.unit.connector.streams.test_tracker import report


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


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
    cluster.clock.seconds += 30  # a long pause of the process: others buried it
    cluster.state.bury("a")
    assert cluster.state.claim(["u1"], "b", 8.0) != {}
    a.beat()
    cluster.settle()
    assert a.streams == set()
    assert cluster.state.owners(["u1"]) == {"u1": "b"}
    assert a.sink.closed() == [], "the stream goes on elsewhere"


def test_nothing_of_a_lost_stream_waits_for_the_owners_turn_to_be_dropped(cluster: Cluster) -> None:
    """With the beat that tells, the sinks may go on: by then they must have forgotten what others published since."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    cluster.clock.seconds += 30
    cluster.state.bury("a")
    cluster.state.claim(["u1"], "b", 8.0)
    assert not a.leases.permitted()
    a.beat()
    assert a.leases.permitted()
    assert a.sink.revoked == ["u1"]
    assert a.pipeline.account(Emit("u1", report("NEW")), 0.0), "taken, and gone"
    assert a.sink.messages == []


def test_a_lease_that_redis_forgot_is_left_to_its_owner(cluster: Cluster) -> None:
    """Under eviction: two processes would publish until the owner's next beat."""
    a, b = cluster.process("a"), cluster.process("b")
    cluster.open("u1")
    cluster.tick(3)
    owner, rival = (a, b) if a.streams else (b, a)
    fence = owner.leases.fence("u1")
    for forget in (cluster.state._leases, cluster.state._fenced, cluster.state._workers):
        forget.drop("u1")
        forget.drop(owner.name)
    for _ in range(6):
        rival.accounts.sweep()
        cluster.settle()
        cluster.clock.seconds += 1.0
    assert rival.streams == set()
    owner.beat()
    assert owner.leases.fence("u1") == fence
    assert cluster.state.owners(["u1"]) == {"u1": owner.name}


def test_the_streams_of_a_dead_process_are_not_left_to_it_longer_than_its_leases(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    cluster.open("u1")
    cluster.tick(3)
    owner, rival = (a, b) if a.streams else (b, a)
    owner.die()
    cluster.tick(10.5)
    assert rival.streams == {"u1"}


def test_a_stream_that_a_living_process_gave_up_is_taken_at_once(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b")
    cluster.open("u1")
    cluster.tick(3)
    owner, rival = (a, b) if a.streams else (b, a)
    owner.accounts._end("u1", closed=False)
    owner.accounts.draining = True
    owner.beat()
    cluster.tick(1)
    assert rival.streams == {"u1"}


def test_a_stream_that_came_back_before_its_loss_was_noticed_begins_anew(cluster: Cluster) -> None:
    """Its line is fenced: without a new one the stream would run and tell nothing, for ever."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    cluster.clock.seconds += 30
    taken = cluster.state.claim(["u1"], "b", 8.0)
    a.beat()
    cluster.state.release(taken, "b")
    a.leases.claim(["u1"])
    cluster.tick(4)
    assert a.streams == {"u1"}
    assert not a.pipeline.lines.fenced("u1")
    a.pipeline.account(Emit("u1", report("NEW")), 0.0)
    assert [type(message).__name__ for message in a.sink.messages] == ["AccountMessage"]


def test_a_process_that_stood_still_saves_no_positions(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(2)
    saved = cluster.state.positions(["u1"])
    cluster.clock.seconds += 30
    a.accounts.save_positions()
    cluster.settle()
    assert cluster.state.positions(["u1"]) == saved
    a.beat()
    a.accounts.save_positions()
    cluster.settle()
    assert cluster.state.positions(["u1"]) != saved


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


def test_an_open_that_comes_before_anybody_noticed_that_the_state_forgot_does_not_end_the_others(
    cluster: Cluster,
) -> None:
    """It counted as the only one: the next close ended the stream of all."""
    cluster.process("a")
    cluster.open("u1", count=2)
    cluster.tick(2)
    cluster.state._entries.pop("u1")
    cluster.open("u1")
    cluster.tick(2)
    assert cluster.state.wanted(["u1"])["u1"].count == 3


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


# --- positions ---


def test_a_stream_has_a_position_as_soon_as_it_is_live(cluster: Cluster) -> None:
    """Without one, the next owner of a process that dies young would repair nothing."""
    a = cluster.process("a")
    cluster.open("u1")
    a.accounts.sweep()
    cluster.settle()
    assert a.streams == {"u1"}
    assert b'"live_until_ms"' in cluster.state.positions(["u1"])["u1"]


def test_openings_that_wait_together_ask_the_state_together(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four questions an account in turn made a thousand openings take half a minute."""
    a = cluster.process("a")
    calls: list[tuple[str, list[str]]] = []
    for name in ("wanted", "owners", "claim", "positions"):
        inner = getattr(cluster.state, name)

        def counted(units: Sequence[str], *arguments: Any, _name: str = name, _inner: Any = inner, **named: Any) -> Any:
            calls.append((_name, sorted(units)))
            return _inner(units, *arguments, **named)

        monkeypatch.setattr(cluster.state, name, counted)
    ids = [f"u{number}" for number in range(5)]
    for stream_id in ids:
        cluster.open(stream_id)
        a.accounts.notified(f'{{"t":"reconcile","id":"{stream_id}"}}')
    cluster.settle()
    assert a.streams == set(ids)
    assert calls == [(name, ids) for name in ("wanted", "owners", "claim", "positions")]


def test_a_stream_that_goes_live_has_its_own_position_saved_and_not_those_of_all_others(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.process("a")
    for number in range(3):
        cluster.open(f"u{number}")
    asked: list[object] = []
    lines = a.pipeline.lines
    inner = lines.dirty_positions

    def dirty(live_ms: Any, now_ms: int, every_ms: int, stream_ids: Sequence[str] | None = None) -> dict[str, bytes]:
        asked.append(None if stream_ids is None else sorted(stream_ids))
        return inner(live_ms, now_ms, every_ms, stream_ids)

    monkeypatch.setattr(lines, "dirty_positions", dirty)
    a.accounts.sweep()
    cluster.settle()
    assert asked == [["u0", "u1", "u2"]], "those that go live together are saved together"
    assert len(cluster.state.positions(["u0", "u1", "u2"])) == 3


def test_an_account_that_is_opened_before_the_announcement_of_a_new_state_is_told_an_unknown_gap(
    cluster: Cluster,
) -> None:
    """After a reboot the opens that waited at the broker come first: nothing was read, and nothing was told."""
    a = cluster.process("a")
    cluster.open("u1")
    a.accounts.sweep()
    cluster.settle()
    assert cluster.state.wanted(["u1"])["u1"].epoch == 0
    assert a.supervisor.unknown == {"u1": True}


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
    a.beat()
    a.accounts.save_positions()
    cluster.settle()
    assert b'"order_id":"7"' in cluster.state.positions(["u1"])["u1"]


@pytest.mark.parametrize(("away", "waits"), [(True, True), (True, False), (False, True)])
def test_a_stream_that_ends_while_something_of_it_waits_for_the_broker_leaves_its_position(
    cluster: Cluster, away: bool, waits: bool
) -> None:
    """What waits is dropped if another process is asked for the stream meanwhile: that one starts from the position."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    a.accounts.save_positions()
    cluster.settle()
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    if not waits:
        a.pipeline.confirmed(a.sink.account())
    a.sink.connected = not away
    cluster.state.close("u1", everybody=True)
    cluster.tick(1)
    stays = away and waits
    assert a.streams == set()
    assert a.sink.messages[-1] == StreamClosed(stream_id="u1", unconfirmed=stays)
    assert ("u1" in cluster.state.positions(["u1"])) is stays


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
