"""A stream is handed only to a process that has just answered and has room for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, StreamClosed
from connector.core.ports import WorkerInfo
from connector.streams.leases import Leases
from connector.streams.passing import READY_TIMEOUT_S
from connector.streams.pipeline import Pipeline
from connector.streams.takers import FULL_FOR_S, LOOK_S, Takers
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import TTL_S, Cluster, drained, names
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState
from tests.unit.connector.streams.handing import Desk
from tests.unit.connector.streams.test_tracker import report


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def worker(owner: str, *, streams: int = 0, capacity: int = 9, ttl_s: float = TTL_S) -> WorkerInfo:
    return WorkerInfo(
        owner=owner, role="user", host="h", pid=1, started_ms=0, capacity=capacity, streams=streams, ttl_s=ttl_s
    )


class Look:
    """Process `a`, which gives, and what others said of themselves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.leases = Leases(self.state, "a", "user", TTL_S, self.clock)
        self.takers = Takers(self.state, self.leases, self.clock)

    def beats(self, *workers: WorkerInfo) -> None:
        for info in workers:
            self.state.heartbeat(info, info.ttl_s or TTL_S)
        self.leases.look_around()

    def choice(self, **on_their_way: int) -> str | None:
        return self.takers.choose("u1", Counter(on_their_way))


def test_who_missed_a_beat_gets_nothing_until_it_beats_again() -> None:
    look = Look()
    look.beats(worker("b"))
    look.clock.seconds += TTL_S / 4
    assert look.choice() == "b"
    look.clock.seconds += TTL_S / 4
    assert look.choice() is None
    assert look.takers.beside_us() != [], "but it may beat in a moment"
    look.beats(worker("b"))
    look.clock.seconds += LOOK_S
    assert look.choice() == "b"


def test_the_beat_of_another_is_judged_by_what_it_says_of_its_own_life() -> None:
    look = Look()
    look.beats(worker("b", ttl_s=TTL_S / 2))
    assert look.choice() == "b"
    look.clock.seconds += TTL_S / 4
    assert look.choice() is None
    look.beats(worker("b", ttl_s=0.0))
    look.clock.seconds += LOOK_S + TTL_S / 2
    assert look.choice() == "b", "an older version does not say"
    look.clock.seconds += TTL_S
    assert look.choice() is None


def test_one_look_serves_many_streams() -> None:
    look = Look()
    asked: list[Sequence[str]] = []
    genuine = look.state.beats_left_s

    def beats_left_s(owners: Sequence[str]) -> dict[str, float]:
        asked.append(owners)
        return genuine(owners)

    look.beats(worker("b"), worker("c"))
    look.state.beats_left_s = beats_left_s  # type: ignore[method-assign]
    for _ in range(100):
        look.choice()
    assert asked == [["b", "c"]]


def test_the_full_are_skipped_with_what_is_on_its_way_to_them() -> None:
    look = Look()
    look.beats(worker("b", streams=9), worker("c", streams=7))
    assert look.choice() == "c"
    assert look.choice(c=1) == "c"
    assert look.choice(c=2) is None
    look.takers.said_full("c")
    assert look.choice() is None
    assert look.takers.beside_us() == []
    look.clock.seconds += FULL_FOR_S
    look.beats(worker("c", streams=7))
    assert look.choice() == "c"


def test_a_stopping_process_hands_nothing_to_one_that_is_dead_already(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(10):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b")
    b.die()
    cluster.clock.seconds += TTL_S / 3
    a.beat()
    assert a.leases.candidates() == ["a", "b"], "its heartbeat still stands"
    a.drain()
    cluster.tick(1)
    assert set(cluster.state.owners(names(10)).values()) == {"a"}
    assert a.gone == []
    cluster.tick(TTL_S + 1)
    assert a.gone == [True], "nobody is left who could take them"


def test_nobody_gets_more_than_it_has_room_for(cluster: Cluster) -> None:
    a = cluster.process("a")
    for name in names(10):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b", capacity=3)
    assert drained(cluster, a)
    assert len(b.leases) == len(b.streams) == 3


def test_a_taker_that_filled_up_meanwhile_refuses_and_the_stream_stays(cluster: Cluster) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    b = cluster.process("b", capacity=1)
    b.leases.accept("other", 1)
    a.accounts.handover.give("u1")
    cluster.settle()
    assert not b.leases.holds("u1")
    assert a.leases.holds("u1")
    assert cluster.publishers("u1") == ["a"]
    assert a.accounts.handover.givable("u1"), "somebody else may have room"


def test_what_may_come_back_takes_room() -> None:
    cluster = Cluster()
    a = cluster.process("a", capacity=2)
    for name in names(2):
        cluster.open(name)
    cluster.tick(1)
    b = cluster.process("b", capacity=2)
    b.supervisor.sick.update(names(2))
    for name in names(2):
        a.accounts.handover.give(name)
    cluster.open("third")
    cluster.tick(READY_TIMEOUT_S / 2)
    assert "third" not in a.streams


def test_a_desk_without_room_refuses_without_holding_anything() -> None:
    desk = Desk()
    desk.room = False
    desk.say("take", giver="other", fence=7)
    assert desk.told == [("refused", {"id": "u1", "full": True, "by": "me", "fence": 7})]
    assert not desk.leases.holds("u1")


def test_nothing_follows_the_close_of_a_stream() -> None:
    """An I/O thread had found the line before the close, and came to publish after it."""
    sink = FakeSink()
    lines = Pipeline(sink, Chance(1)).lines
    lines.open("u1", "bybit", None)
    found = lines._lines
    line = found["u1"]
    lines.close("u1", announce=True)
    found["u1"] = line
    lines.account(Emit("u1", report("NEW", "0")), 1.0)
    assert [type(message) for message in sink.messages if isinstance(message, AccountMessage | StreamClosed)] == [
        StreamClosed
    ]
