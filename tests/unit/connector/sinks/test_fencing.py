"""Nothing of an account leaves a process that may not publish, nor goes out behind what another process published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from connector.core.errors import StateUnavailable
from connector.core.messages import InfoMessage
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from tests.clocks import Standing
from tests.unit.connector.sinks.played import OnRedis, Rabbit, event
from workers._leftovers import AWAY_FOR_S, BATCH, OwnedElsewhere

INFO = b"Subscribed to user u"


class Beat:
    """The permission of a process: the test's to give."""

    def __init__(self) -> None:
        self.finished = False

    def __call__(self) -> float:
        return math.inf if self.finished else 0.0


def test_a_process_that_stood_still_sends_nothing_to_rabbitmq_before_its_next_beat() -> None:
    rabbit, beat = Rabbit(), Beat()
    rabbit.sink.permitted = beat
    rabbit.play(0.0)
    rabbit.sink.submit([event(1), InfoMessage(stream_id="u", exchange="okx"), event(2)])
    rabbit.play(30.0)
    assert rabbit.sent == []
    beat.finished = True
    rabbit.play(0.2)
    assert len(rabbit.sent) == 3
    assert (rabbit.sent[0], rabbit.sent[2]) == ("e1", "e2")


def test_what_was_fenced_while_it_waited_never_reaches_rabbitmq_but_a_balance_change_does() -> None:
    rabbit, beat = Rabbit(), Beat()
    rabbit.sink.permitted = beat
    rabbit.sink.submit([event(1), event(2, "balanceUpdate"), event(3, stream_id="other")])
    rabbit.play(5.0)
    rabbit.sink.revoke("u")
    beat.finished = True
    rabbit.play(0.2)
    assert rabbit.sent == ["e2", "e3"]


def test_what_came_in_the_very_moment_in_which_it_was_fenced_never_reaches_rabbitmq() -> None:
    rabbit, beat = Rabbit(), Beat()
    rabbit.sink.permitted = beat
    rabbit.sink.submit([event(1), event(2, stream_id="other")])
    rabbit.sink.revoke("u")
    beat.finished = True
    rabbit.play(0.2)
    assert rabbit.sent == ["e2"]


def test_a_connection_lost_while_not_permitted_sends_nothing_again() -> None:
    rabbit, beat = Rabbit(), Beat()
    beat.finished = True
    rabbit.sink.permitted = beat
    rabbit.sink.submit([event(1)])
    rabbit.play(0.0)
    beat.finished = False
    rabbit.broker.link.lose()
    rabbit.play(30.0)
    assert rabbit.sent == ["e1"]


def test_what_an_earlier_process_left_waits_for_the_first_beat(tmp_path: Path) -> None:
    before = Rabbit(outbox_dir=tmp_path)
    before.broker.up = False
    before.sink.submit([event(1)])
    before.play(1.0)
    before.end(before.sink.ending(10.0), 20.0)
    after, beat = Rabbit(seed=2, outbox_dir=tmp_path), Beat()
    after.sink.permitted = beat
    after.play(10.0)
    assert after.sent == []
    beat.finished = True
    after.play(0.2)
    assert after.sent == ["e1"]


def test_what_an_earlier_process_left_waits_until_the_state_tells_who_runs_its_streams(tmp_path: Path) -> None:
    """Behind it waits all that is newer: that keeps the order."""
    before = Rabbit(outbox_dir=tmp_path)
    before.broker.up = False
    before.sink.submit([event(1), event(2, stream_id="theirs")])
    before.play(1.0)
    before.end(before.sink.ending(10.0), 20.0)
    after = Rabbit(seed=2, outbox_dir=tmp_path)
    answers: list[set[str] | None] = [None, None, {"theirs"}]
    after.sink.owned_elsewhere = lambda _stream_ids: answers.pop(0)
    after.sink.submit([event(3)])
    after.play(0.15)
    assert after.sent == []
    after.play(0.2)
    assert after.sent == ["e1", "e3"]


def test_a_process_that_stood_still_sends_nothing_to_redis_before_its_next_beat() -> None:
    on, beat = OnRedis(), Beat()
    on.sink.permitted = beat
    on.play(1.0)
    on.sink.submit([event(1), event(2, "balanceUpdate")])
    on.play(30.0)
    assert on.server.published("u") == []
    beat.finished = True
    on.play(0.2)
    assert on.server.published("u") == [b"1", b"2"]


def test_a_sink_that_may_not_publish_is_not_turned_in_a_hot_loop() -> None:
    on = OnRedis()
    on.sink.permitted = Beat()
    on.play(1.0)
    on.sink.submit([event(1)])
    turns, end = 0, on.clock.now + 10
    while on.clock.now < end:
        turns += 1
        on.sink.turn()
        due = on.sink.next_due()
        assert due is not None
        on.clock.now = max(on.clock.now, due)
    assert turns <= 150


def test_a_fenced_process_sends_neither_orders_nor_deltas_to_redis_and_tells_the_bots_to_check() -> None:
    on, beat = OnRedis(), Beat()
    on.sink.permitted = beat
    on.play(1.0)
    on.sink.submit([event(1), event(2, "balanceUpdate"), event(3), event(4, stream_id="other")])
    mark = on.sink.mark()
    on.sink.revoke("u")
    beat.finished = True
    on.play(0.2)
    assert on.server.published("u") == []
    assert on.server.published("other") == [b"4"]
    assert on.server.published("userStreamInfou") == [INFO]
    assert on.sink.passed(mark)
    assert on.sink.status().queued == 0


def test_what_was_on_its_way_to_redis_when_it_was_fenced_is_not_sent_again() -> None:
    on = OnRedis()
    on.play(1.0)
    on.server.during = lambda: on.sink.revoke("u")
    on.server.late = True
    on.sink.submit([event(1), event(2, "balanceUpdate")])
    on.play(0.0)
    on.server.late, on.server.during = False, None
    on.play(10.0)
    assert on.server.published("u") == [b"1", b"2"], "once, before it was fenced"
    assert on.sink.status().queued == 0


def test_an_outage_of_redis_ends_with_a_look_at_who_runs_the_streams_by_now() -> None:
    on = OnRedis()
    on.play(1.0)
    on.server.up = False
    on.play(15.0)
    on.sink.submit([event(1), event(2, "balanceUpdate"), event(3, stream_id="mine")])
    on.play(20.0)
    asked: list[Sequence[str]] = []

    def elsewhere(stream_ids: Sequence[str]) -> set[str]:
        asked.append(stream_ids)
        return {"u"}

    on.sink.owned_elsewhere = elsewhere
    on.server.up = True
    on.play(5.0)
    assert asked == [["mine", "u"]]
    assert on.server.published("u") == []
    assert on.server.published("mine") == [b"3"]
    on.sink.submit([event(4, stream_id="mine")])
    on.play(0.1)
    assert len(asked) == 1, "not asked about what came later"


def test_the_backlog_of_redis_waits_until_the_state_tells_who_runs_the_streams() -> None:
    on = OnRedis()
    on.play(1.0)
    on.server.up = False
    on.play(15.0)
    on.sink.submit([event(1, "balanceUpdate")])
    on.play(5.0)
    answers: list[set[str] | None] = [None, None, set()]
    on.sink.owned_elsewhere = lambda _stream_ids: answers.pop(0)
    on.server.up = True
    on.play(5.0)
    assert answers == []
    assert on.server.published("u") == [b"1"]


class Lease:
    """A permission with an end."""

    def __init__(self, clock: Standing, until: float) -> None:
        self.clock, self.until = clock, until

    def __call__(self) -> float:
        return max(0.0, self.until - self.clock.now)


def test_what_the_broker_has_not_answered_when_the_time_is_up_does_not_arrive_later() -> None:
    """Cut off together with Redis: the kernel would send it when the way is free again, behind the next owner's events."""
    rabbit = Rabbit()
    rabbit.sink.permitted = lease = Lease(rabbit.clock, rabbit.clock.now + 7)
    rabbit.play(1.0)
    rabbit.sink.submit([event(1)])
    rabbit.play(5.9)
    first = rabbit.broker.link
    assert first.aborted == ""
    rabbit.play(0.3)
    assert first.aborted != ""
    rabbit.play(10.0)
    assert rabbit.sent == ["e1"], "once, and then it waits"
    lease.until = rabbit.clock.now + 7
    rabbit.play(0.2)
    assert rabbit.sent == ["e1", "e1"], "the stream is still ours: again, under its id"


def test_a_connection_whose_messages_are_confirmed_outlives_the_time() -> None:
    rabbit = Rabbit()
    rabbit.sink.permitted = Lease(rabbit.clock, rabbit.clock.now + 7)
    rabbit.play(1.0)
    rabbit.sink.submit([event(1)])
    rabbit.play(0.1)
    rabbit.channel.confirm(1)
    rabbit.play(30.0)
    assert len(rabbit.broker.connections) == 1
    assert rabbit.broker.link.aborted == ""


def test_redis_is_not_waited_for_beyond_the_time() -> None:
    on = OnRedis()
    on.sink.permitted = Lease(on.clock, on.clock.now + 3)
    on.play(1.0)
    on.sink.submit([event(1), event(2, "balanceUpdate")])
    on.play(0.0)
    assert on.server.waited_s
    assert max(on.server.waited_s) <= 2.0
    on.sink.permitted = Lease(on.clock, on.clock.now + 100)
    on.sink.submit([event(3)])
    on.play(0.1)
    assert max(on.server.waited_s) == 5.0, "no longer than without a lease"


def test_a_fanout_hands_the_permission_to_every_sink() -> None:
    one, two, beat = MemorySink(), MemorySink(name="redis"), Beat()
    fanout = FanoutSink([one, two])
    assert fanout.permitted()
    fanout.permitted = beat
    assert one.permitted is two.permitted is beat


class Owners:
    """A state that knows who owns what, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[int] = []

    def owners(self, units: Sequence[str]) -> dict[str, str]:
        self.asked.append(len(units))
        if self.away:
            raise StateUnavailable("timed out")
        return {unit: "me" if unit.startswith("m") else "you" for unit in units if not unit.startswith("free")}


def nothing(_stream_id: str) -> bool:
    return False


def test_a_fill_that_waits_for_redis_while_its_stream_is_handed_over_is_not_dropped() -> None:
    """The lease has the taker's name from the first moment, and the giver publishes until the taker is live."""
    ask = OwnedElsewhere(Owners(), "me", Standing(), {"theirs soon"}.__contains__)  # type: ignore[arg-type]
    assert ask(["mine", "theirs", "theirs soon"]) == {"theirs"}


def test_a_state_that_hangs_holds_the_publisher_up_once_and_not_for_each_event() -> None:
    state, clock = Owners(), Standing()
    ask = OwnedElsewhere(state, "me", clock, nothing)  # type: ignore[arg-type]
    assert ask(["mine", "free", "theirs"]) == {"theirs"}
    state.away = True
    state.asked.clear()
    for _ in range(100):
        assert ask(["theirs"]) is None
    assert len(state.asked) == 1
    clock.now += AWAY_FOR_S
    state.away = False
    assert ask(["theirs"]) == {"theirs"}


@pytest.mark.parametrize("streams", [1, BATCH, BATCH + 1, 3 * BATCH])
def test_owners_are_asked_for_in_batches(streams: int) -> None:
    state = Owners()
    ask = OwnedElsewhere(state, "me", Standing(), nothing)  # type: ignore[arg-type]
    found = ask([f"x{number}" for number in range(streams)])
    assert found is not None
    assert len(found) == streams
    assert state.asked == [BATCH] * (streams // BATCH) + ([streams % BATCH] if streams % BATCH else [])
