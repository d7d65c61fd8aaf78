"""A stream changes hands while the receiver of its events, or the state, is in trouble."""

from __future__ import annotations

import msgspec
import pytest

from connector.core.messages import AccountMessage, SinkStatus
from connector.core.stamps import Stamped
from connector.streams.handover import CONFIRM_TIMEOUT_S
from connector.streams.positions import decode_position
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import TTL_S, Cluster, Process
from tests.unit.connector.streams.fakes import FakeSink
from tests.unit.connector.streams.test_tracker import report


class BrokerAway(FakeSink):
    """Takes everything and confirms nothing, as while RabbitMQ is away."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = True
        self.queued = 0
        self.revoked: list[str] = []

    def threads(self) -> list[Stamped]:
        return []

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def status(self) -> SinkStatus:
        return SinkStatus(name=self.name, connected=self.connected, queued=self.queued)

    def revoke(self, stream_id: str) -> None:
        self.revoked.append(stream_id)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def process(cluster: Cluster, name: str) -> tuple[Process, BrokerAway]:
    made, sink = cluster.process(name), BrokerAway()
    made.sink = sink
    made.pipeline._sink = made.pipeline.lines._sink = sink
    return made, sink


def confirmed(made: Process, messages: list[AccountMessage]) -> None:
    made.pipeline.confirmed(messages)


def test_events_that_a_leaving_process_could_not_send_are_not_sent_behind_those_of_the_next_owner(
    cluster: Cluster,
) -> None:
    """Found by `make chaos`: after an outage of RabbitMQ the giver's old events arrived behind the taker's new ones."""
    a, sink = process(cluster, "a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    confirmed(a, sink.account())
    cluster.tick(2)
    a.pipeline.account(Emit("u1", report("PARTIALLY_FILLED", executed="1")), 2.0)
    b, _ = process(cluster, "b")
    cluster.tick(1)
    a.drain()
    cluster.tick(CONFIRM_TIMEOUT_S + 2)
    assert b.streams == {"u1"}
    assert a.streams == set()
    assert sink.revoked == ["u1"]
    position = decode_position(cluster.state.positions(["u1"])["u1"])
    assert position is not None
    assert [order.status for order in position.orders] == ["NEW"], "the taker must find the fill by gap repair"


def test_the_taker_waits_until_the_other_sink_has_the_last_event_too(cluster: Cluster) -> None:
    """On a busy machine an event of the giver reached Redis 45 ms after newer ones of the taker."""
    a, sink = process(cluster, "a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    confirmed(a, sink.account())
    b, taking = process(cluster, "b")
    cluster.tick(1)
    sink.slow = True
    a.drain()
    cluster.tick(CONFIRM_TIMEOUT_S - 1)
    b.pipeline.account(Emit("u1", report("FILLED", executed="2")), 2.0)
    assert b.streams == {"u1"}
    assert taking.account() == [], "held back"
    sink.slow = False
    cluster.tick(1)
    assert [message.event_type for message in taking.account()] == ["executionReport"]


def test_a_stream_that_leaves_with_everything_confirmed_revokes_nothing(cluster: Cluster) -> None:
    a, sink = process(cluster, "a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    confirmed(a, sink.account())
    process(cluster, "b")
    cluster.tick(1)
    a.drain()
    cluster.tick(3)
    assert a.streams == set()
    assert sink.revoked == []


def test_the_last_process_leaves_a_position_without_what_was_not_confirmed(cluster: Cluster) -> None:
    a, sink = process(cluster, "a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    confirmed(a, sink.account())
    cluster.tick(2)
    a.pipeline.account(Emit("u1", report("FILLED", executed="2")), 2.0)
    a.drain(0.0)
    cluster.tick(2)
    saved = msgspec.json.decode(cluster.state.positions(["u1"])["u1"])
    assert [order["status"] for order in saved["orders"]] == ["NEW"]
    assert sink.revoked == [], "the outbox keeps them: nobody else has them yet"


def test_nothing_is_moved_while_the_broker_is_away(cluster: Cluster) -> None:
    a, sink = process(cluster, "a")
    for number in range(20):
        cluster.open(f"u{number}")
    cluster.tick(3)
    sink.connected = False
    b, _ = process(cluster, "b")
    for _ in range(5):
        cluster.tick(1)
        a.accounts.rebalance()
    cluster.settle()
    assert b.streams == set()
    sink.connected = True
    a.accounts.rebalance()
    cluster.tick(3)
    assert b.streams


def test_nothing_is_moved_while_a_sink_is_behind(cluster: Cluster) -> None:
    """Found by `make chaos`: what waited for Redis in the old process arrived after what the new one had published."""
    a, sink = process(cluster, "a")
    for number in range(20):
        cluster.open(f"u{number}")
    cluster.tick(3)
    sink.queued = 200
    b, _ = process(cluster, "b")
    for _ in range(5):
        cluster.tick(1)
        a.accounts.rebalance()
    cluster.settle()
    assert b.streams == set()
    sink.queued = 0
    a.accounts.rebalance()
    cluster.tick(3)
    assert b.streams


def test_a_state_that_forgot_everything_gives_no_process_the_others_streams(cluster: Cluster) -> None:
    """Found by `make chaos`: after a restart of Redis one process took all streams of the other, and fenced it."""
    a, b = cluster.process("a"), cluster.process("b")
    for number in range(20):
        cluster.open(f"u{number}")
    cluster.tick(3)
    before = (set(a.streams), set(b.streams))
    assert all(before)
    cluster.state.flush()
    # One writes its streams again; the other one beats, sees nobody else alive, and looks for free streams.
    a.accounts.sweep()
    cluster.settle()
    b.beat()
    b.accounts.sweep()
    cluster.settle()
    cluster.tick(3)
    assert (set(a.streams), set(b.streams)) == before


def test_the_streams_of_a_dead_process_are_taken_as_soon_as_its_leases_have_run_out(cluster: Cluster) -> None:
    """Nobody waits for the dead one to take its own streams first."""
    a, b = cluster.process("a"), cluster.process("b")
    for number in range(20):
        cluster.open(f"u{number}")
    cluster.tick(3)
    assert a.streams
    a.die()
    cluster.tick(TTL_S + 1)
    assert b.streams == {f"u{number}" for number in range(20)}


def test_a_state_that_forgot_everything_gets_the_positions_of_quiet_streams_back_at_once(cluster: Cluster) -> None:
    """Found by `make chaos`: a stream that changed hands soon after a restart of Redis began without its past."""
    a, sink = process(cluster, "a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    confirmed(a, sink.account())
    a.accounts.save_positions()
    cluster.tick(3)
    assert "u1" in cluster.state.positions(["u1"])
    cluster.state.flush()
    cluster.tick(1)
    position = decode_position(cluster.state.positions(["u1"]).get("u1"))
    assert position is not None
    assert [order.status for order in position.orders] == ["NEW"]


@pytest.mark.parametrize("alive", [True, False])
def test_the_taker_learns_whether_the_old_connection_was_alive_until_the_new_one_was(
    cluster: Cluster, alive: bool
) -> None:
    a, b = cluster.process("a"), cluster.process("b", capacity=0)
    cluster.open("u1")
    cluster.tick(3)
    assert a.streams == {"u1"}
    a.supervisor.alive_since = lambda *_: alive  # type: ignore[method-assign]
    b.capacity = b.accounts._capacity = 10
    b.beat()
    a.beat()
    a.drain()
    cluster.tick(4)
    assert ("probe", "u1") in a.supervisor.calls
    assert b.supervisor.seams == [("u1", alive)]


def test_a_stream_that_was_not_live_is_never_handed_over_seamlessly(cluster: Cluster) -> None:
    a, b = cluster.process("a"), cluster.process("b", capacity=0)
    a.supervisor.sick.add("u1")
    cluster.open("u1")
    cluster.tick(3)
    b.capacity = b.accounts._capacity = 10
    b.beat()
    a.beat()
    a.drain()
    cluster.tick(4)
    assert b.supervisor.seams == [("u1", False)]
