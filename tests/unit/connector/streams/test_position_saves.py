"""What a saved position tells is out on every sink: whoever starts from it never tells it again."""

from __future__ import annotations

import pytest

from connector.streams.position_saves import LOOK_S, OUT_WITHIN_S, every_ms
from exchanges._adapter import Emit
from tests.unit.connector.streams.cluster import Cluster, Process
from tests.unit.connector.streams.test_tracker import report

ORDER = b'"order_id":"7"'


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def a(cluster: Cluster) -> Process:
    """Runs `u1`, and told an order that the first sink has and another one has not yet."""
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    a.pipeline.account(Emit("u1", report("NEW")), 1.0)
    a.sink.slow = True
    a.pipeline.confirmed(a.sink.account())
    a.accounts.save_positions()
    cluster.settle()
    return a


def saved(cluster: Cluster) -> bytes:
    return cluster.state.positions(["u1"])["u1"]


def later(cluster: Cluster, seconds: float) -> None:
    cluster.clock.seconds += seconds
    cluster.settle()


def test_a_fill_that_the_slower_sink_does_not_have_yet_is_told_again_after_a_kill(cluster: Cluster, a: Process) -> None:
    """A process was killed 28 ms after RabbitMQ had a fill: its successor knew it, and Redis was never told."""
    assert ORDER not in saved(cluster)
    a.sink.slow = False
    later(cluster, LOOK_S)
    assert ORDER in saved(cluster)


def test_a_sink_whose_server_is_away_does_not_keep_positions_back_for_ever(cluster: Cluster, a: Process) -> None:
    for _ in range(int(OUT_WITHIN_S) - 1):
        a.beat()
        later(cluster, 1.0)
    assert ORDER not in saved(cluster)
    a.beat()
    later(cluster, 1.0)
    later(cluster, LOOK_S)
    assert ORDER in saved(cluster)


def test_a_position_that_waited_is_not_saved_over_that_of_the_next_owner(cluster: Cluster, a: Process) -> None:
    cluster.state.save_positions({"u1": b'{"live_until_ms":5}'}, 60)
    a.pipeline.lines.take("u1", 0)
    a.sink.slow = False
    later(cluster, LOOK_S)
    assert saved(cluster) == b'{"live_until_ms":5}'


def test_a_position_that_waited_while_the_process_stood_still_is_not_saved(cluster: Cluster, a: Process) -> None:
    before = saved(cluster)
    a.sink.slow = False
    later(cluster, 30)
    assert saved(cluster) == before
    a.beat()
    a.accounts.save_positions()
    cluster.settle()
    assert ORDER in saved(cluster)


@pytest.mark.parametrize(
    ("streams", "expected"), [(1, 10_000), (600, 10_000), (1_000, 15_000), (2_000, 30_000), (9_000, 30_000)]
)
def test_quiet_streams_are_saved_more_rarely_where_there_are_many(streams: int, expected: int) -> None:
    """A hundred thousand every ten seconds were half of what Redis had to do."""
    assert every_ms(streams) == expected


def test_the_live_time_of_a_quiet_stream_is_saved_as_often_as_the_number_of_streams_says(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.process("a")
    cluster.open("u1")
    cluster.tick(1)
    monkeypatch.setattr(type(a.pipeline.lines), "__len__", lambda _: 1_000)
    first = saved(cluster)
    for seconds, again in ((13, False), (2, True)):
        cluster.tick(seconds)
        a.accounts.save_positions()
        cluster.settle()
        assert (saved(cluster) != first) is again
