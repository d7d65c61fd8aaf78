"""A reboot that takes Redis with it: where streams stood is found on the host's disk, or the gap is told as unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.core.errors import StateUnavailable
from connector.state.positions_on_disk import PositionsOnDisk
from connector.streams.gaps import PAST_UNKNOWN
from connector.streams.position_store import PositionStore
from connector.streams.positions import decode_position, encode_position
from connector.streams.tracker import Position
from exchanges._adapter import GapReport, Resume, UserSubscription
from exchanges._plan import OPEN_BEFORE
from tests.unit.connector.streams.cluster import Cluster, Process
from tests.unit.connector.streams.fakes import Bench, Clock, MoodyState


def position(stamp: int, live_until_ms: int = 5) -> bytes:
    return encode_position(Position(live_until_ms=live_until_ms, stamp=stamp))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> MoodyState:
    return MoodyState(clock)


@pytest.fixture
def disk(tmp_path: Path, clock: Clock) -> PositionsOnDisk:
    kept = PositionsOnDisk(tmp_path, clock)
    kept.open()
    return kept


def emptied(clock: Clock) -> MoodyState:
    return MoodyState(clock)


def test_a_position_is_found_when_redis_comes_back_empty(
    clock: Clock, state: MoodyState, disk: PositionsOnDisk
) -> None:
    PositionStore(state, disk).save({"a": position(1), "b": position(2)}, "me")
    assert PositionStore(emptied(clock), disk).load(["a", "b", "c"]) == {"a": position(1), "b": position(2)}


@pytest.mark.parametrize(("in_redis", "on_disk", "used"), [(7, 8, 8), (8, 7, 8)])
def test_the_newer_copy_is_used(
    state: MoodyState, disk: PositionsOnDisk, in_redis: int, on_disk: int, used: int
) -> None:
    """Redis may come back with an older dump; the disk may be that of the owner before the last."""
    PositionStore(state, disk).save({"a": position(on_disk)}, "me")
    PositionStore(state, None).save({"a": position(in_redis)}, "me")
    assert PositionStore(state, disk).load(["a"]) == {"a": position(used)}


def test_a_position_that_can_not_be_read_is_older_than_any(state: MoodyState, disk: PositionsOnDisk) -> None:
    PositionStore(state, disk).save({"a": position(1)}, "me")
    PositionStore(state, None).save({"a": b"not JSON"}, "me")
    assert PositionStore(state, disk).load(["a"]) == {"a": position(1)}


def test_what_redis_can_not_take_is_on_the_disk(clock: Clock, state: MoodyState, disk: PositionsOnDisk) -> None:
    state.away = True
    store = PositionStore(state, disk)
    with pytest.raises(StateUnavailable):
        store.save({"a": position(1)}, "me")
    assert PositionStore(emptied(clock), disk).load(["a"]) == {"a": position(1)}


def test_a_disk_that_is_full_costs_nothing_but_its_copies(tmp_path: Path, clock: Clock, state: MoodyState) -> None:
    (tmp_path / "file").write_text("")
    store = PositionStore(state, PositionsOnDisk(tmp_path / "file", clock))
    store.save({"a": position(1)}, "me")
    assert store.load(["a"]) == {"a": position(1)}
    store.drop_position("a")
    assert store.load(["a"]) == {}


def test_an_account_that_was_closed_on_purpose_has_no_gap(state: MoodyState, disk: PositionsOnDisk) -> None:
    store = PositionStore(state, disk)
    store.save({"a": position(1)}, "me")
    store.drop_position("a")
    assert store.load(["a"]) == {}


# --- owners ---


@pytest.fixture
def cluster(disk: PositionsOnDisk) -> Cluster:
    cluster = Cluster()
    cluster.disk = disk
    return cluster


def rebooted(cluster: Cluster) -> Process:
    """Everything went down, and Redis remembers nothing."""
    for process in cluster.processes:
        process.die()
    for name in [*cluster.state.wanted_ids()]:
        cluster.state.close(name, everybody=True)
        cluster.state.drop_position(name)
    return cluster.process("after")


def test_after_a_reboot_a_stream_starts_from_where_it_stood(cluster: Cluster) -> None:
    before = cluster.process("before")
    cluster.open("u1")
    cluster.tick(2)
    before.accounts.save_positions()
    cluster.settle()
    known = cluster.state.positions(["u1"])["u1"]
    after = rebooted(cluster)
    cluster.tick(20)
    cluster.state.begin_epoch(cluster.clock.wall_ms())
    cluster.open("u1")
    cluster.tick(2)
    assert after.supervisor.positions == {"u1": known}
    assert after.supervisor.unknown == {"u1": False}


def test_a_stream_that_an_announcement_asks_for_and_nobody_remembers_may_have_had_a_past(cluster: Cluster) -> None:
    after = cluster.process("after")
    cluster.state.begin_epoch(cluster.clock.wall_ms())
    cluster.tick(2)
    cluster.open("u1")
    cluster.tick(600)
    cluster.open("new")
    cluster.tick(2)
    assert after.supervisor.unknown == {"u1": True, "new": False}


def test_an_account_that_is_asked_for_again_has_a_past_though_the_clock_was_set_back_since(cluster: Cluster) -> None:
    """World 812: the announcement lay in the future then, and a fill before the reboot was neither told nor named."""
    after = cluster.process("after")
    cluster.state.begin_epoch(cluster.clock.wall_ms() + 120_000)
    cluster.tick(2)
    cluster.open("u1")
    cluster.tick(2)
    assert after.supervisor.unknown == {"u1": True}


# --- what is told ---


def told(bench: Bench) -> list[dict[str, object]]:
    return [message["streamGap"] for message in bench.sink.services("streamGap")]


def test_an_unknown_past_is_told_once_when_the_stream_is_live() -> None:
    bench = Bench()
    bench.want(unknown=True)
    assert told(bench) == []
    bench.lost()
    bench.advance(60)
    bench.live()
    assert told(bench) == [
        {
            "exchange": "bybit",
            "stream": "u1",
            "from": 0,
            "to": bench.clock.wall_ms(),
            "orders": 0,
            "balances": 0,
            "candles": 0,
            "missing": [PAST_UNKNOWN],
        }
    ]
    bench.lost()
    bench.advance(60)
    bench.live()
    assert len(told(bench)) == 1


def saved(bench: Bench) -> bytes:
    """The position that the stream leaves behind when its process is killed now."""
    return bench.pipeline.lines.dirty_positions(lambda _: bench.clock.wall_ms(), bench.clock.wall_ms(), 0)["u1"]


def past_unknown(bench: Bench) -> bool:
    """Whether the gap that is read now is that of an account of which more may have been open than is known."""
    return resume(bench).past_unknown


def behind(bench: Bench) -> bool:
    """Whether the gap that is read now is that of an account of which more may have been told than is known."""
    return resume(bench).behind


def resume(bench: Bench) -> Resume:
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is not None
    return subscription.resume


def restarted(before: Bench) -> Bench:
    """Another process begins where the one before stood."""
    after = Bench()
    after.want(unknown=True, position=saved(before))
    return after


def reconnected(bench: Bench) -> Bench:
    """The connection broke, and the next one is being made."""
    bench.lost()
    bench.advance(60)
    return bench


def read(bench: Bench, *missing: str, complete: bool = True) -> None:
    """The adapter has read the gap."""
    now = bench.clock.wall_ms()
    bench.live(gap=GapReport(from_ms=now - 5_000, to_ms=now, missing=missing, complete=complete))


def test_the_gap_after_an_unknown_past_is_read_as_one_of_which_not_all_that_was_open_is_known() -> None:
    """After two reboots the end of an order that was placed before the first one was never told, and the report of the gap
    in which it ended said that nothing was missing: the position of the life in between did not know the order."""
    first = Bench()
    first.want(unknown=True)
    first.live()
    second = restarted(first)
    assert past_unknown(second)
    read(second, OPEN_BEFORE, "order 7: not known to the venue")
    assert not past_unknown(restarted(second)), "the list of open orders is read now"


@pytest.mark.parametrize("odd", [{"missing": "open orders: HTTP 500"}, {"complete": False}])
def test_what_was_open_stays_unknown_while_the_list_of_it_is_not_read(odd: dict[str, Any]) -> None:
    first = Bench()
    first.want(unknown=True)
    first.live()
    second = restarted(first)
    read(second, *filter(None, [odd.get("missing")]), complete=odd.get("complete", True))
    assert past_unknown(restarted(second))


def test_a_stream_that_comes_back_in_its_process_does_not_know_all_that_was_open_either() -> None:
    bench = Bench()
    bench.want(unknown=True)
    bench.live()
    assert past_unknown(reconnected(bench))
    read(bench)
    assert not past_unknown(reconnected(bench))


def test_what_was_open_is_known_to_a_taker_whose_giver_knows_it() -> None:
    bench = Bench()
    bench.want(unknown=True, hold=True)
    bench.live()
    bench.supervisor.let_through("u1", position(7), clean=True, seamless=True)
    bench.run()
    assert not past_unknown(reconnected(bench))


def test_what_a_killed_process_told_last_is_not_known_until_its_gap_is_read() -> None:
    """E19."""
    first = Bench()
    first.want()
    first.live()
    left = saved(first)
    assert not behind(reconnected(first)), "it knows what it told itself"
    second = Bench()
    second.want(position=left)
    assert behind(second)
    read(second, complete=False)
    assert behind(reconnected(second))
    read(second, "order 7: not known to the venue")
    assert not behind(reconnected(second))
    read(second)
    assert behind(restarted(second)), "that one may be killed, too"


def test_what_a_process_told_that_ended_in_order_is_known() -> None:
    first = Bench()
    first.want()
    first.live()
    left = first.pipeline.lines.take("u1", first.clock.wall_ms())
    after = Bench()
    after.want(position=left)
    assert not behind(after)


def test_a_process_that_ends_in_order_does_not_claim_to_know_what_a_killed_one_told() -> None:
    first = Bench()
    first.want()
    first.live()
    second = restarted(first)
    second.live()
    left = second.pipeline.lines.take("u1", second.clock.wall_ms())
    after = Bench()
    after.want(position=left)
    assert behind(after)


def test_a_taker_knows_what_was_told_once_its_giver_is_done() -> None:
    giver = Bench()
    giver.want()
    giver.live()
    taker = Bench()
    taker.want(hold=True, position=saved(giver))
    taker.live()
    last = giver.pipeline.lines.take("u1", giver.clock.wall_ms())
    taker.supervisor.let_through("u1", last, clean=True, seamless=True)
    taker.run()
    assert not behind(reconnected(taker))


def test_what_was_told_on_redis_is_not_known_when_the_broker_lost_it() -> None:
    bench = Bench()
    bench.want()
    bench.live()
    bench.pipeline.lines.fall_back("u1", 0)
    assert behind(reconnected(bench))


def test_of_an_unknown_past_it_is_not_known_what_was_told() -> None:
    bench = Bench()
    bench.want(unknown=True)
    bench.live()
    assert behind(reconnected(bench))


def test_a_past_that_is_known_is_not_told_as_unknown() -> None:
    bench = Bench()
    bench.want(unknown=True, position=position(1, live_until_ms=5_000_000))
    bench.live()
    assert told(bench) == []


def test_a_position_is_stamped_later_than_every_earlier_one_whatever_the_clock_says(cluster: Cluster) -> None:
    one = cluster.process("one")
    cluster.open("u1")
    cluster.tick(1)
    lines = one.pipeline.lines
    lines.open("u1", "bybit", Position(live_until_ms=1, stamp=10**15))
    first = lines.dirty_positions(lambda _: 5, 1_000, -(10**15))["u1"]
    second = lines.dirty_positions(lambda _: 5, 900, -(10**15))["u1"]
    taken = lines.take("u1", 5)
    stamps = [_stamp(data) for data in (first, second, taken)]
    assert stamps == [10**15 + 1, 10**15 + 2, 10**15 + 3]


def _stamp(data: bytes | None) -> int:
    found = decode_position(data)
    assert found is not None
    return found.stamp
