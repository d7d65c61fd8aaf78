"""Whole sinks without a thread: time stands until the test moves it, and the servers do what the test says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.unit.connector.sinks.played import OnRedis, Rabbit, event


def test_a_publisher_connects_declares_publishes_and_tells_what_is_confirmed() -> None:
    rabbit = Rabbit()
    assert rabbit.sink.submit([event(1), event(2)])
    rabbit.play(0.0)
    assert rabbit.channel.declared == ["gainium.events", "gainium.user-events", "gainium.events>gainium.user-events"]
    assert rabbit.sent == ["e1", "e2"]
    assert rabbit.confirmed == []
    rabbit.channel.confirm(2, multiple=True)
    assert rabbit.confirmed == ["e1", "e2"]
    assert rabbit.sink.status().queued == 0


def test_what_a_lost_connection_left_unconfirmed_is_sent_again_first_and_under_the_same_id() -> None:
    rabbit = Rabbit()
    rabbit.sink.submit([event(1), event(2)])
    rabbit.play(0.0)
    rabbit.channel.confirm(1)
    rabbit.broker.link.lose()
    rabbit.sink.submit([event(3)])
    rabbit.play(5.0)
    assert rabbit.sent == ["e1", "e2", "e2", "e3"]
    assert len(rabbit.broker.connections) == 2


def test_refused_messages_hold_the_newer_ones_and_go_again_one_at_a_time() -> None:
    rabbit = Rabbit()
    rabbit.sink.submit([event(1), event(2)])
    rabbit.play(0.0)
    rabbit.channel.confirm(1, ack=False)
    rabbit.sink.submit([event(3)])
    rabbit.play(1.0)
    assert rabbit.sent == ["e1", "e2"]
    rabbit.channel.confirm(2)
    rabbit.play(1.0)
    assert rabbit.sent == ["e1", "e2", "e1"]
    rabbit.channel.confirm(3)
    rabbit.play(1.0)
    assert rabbit.sent[3:] == ["e3"]


def test_an_alarm_of_the_broker_holds_everything_until_it_is_over() -> None:
    rabbit = Rabbit()
    rabbit.play(0.0)
    rabbit.broker.link.block(True)
    rabbit.sink.submit([event(1)])
    rabbit.play(30.0)
    assert rabbit.sent == []
    assert rabbit.sink.status().detail.startswith("blocked")
    rabbit.broker.link.block(False)
    rabbit.play(0.0)
    assert rabbit.sent == ["e1"]


def test_a_broker_that_does_not_confirm_for_a_minute_is_left() -> None:
    rabbit = Rabbit()
    rabbit.sink.submit([event(1)])
    rabbit.play(59.0)
    assert len(rabbit.broker.connections) == 1
    rabbit.play(5.0)
    assert len(rabbit.broker.connections) == 2
    assert rabbit.sent == ["e1", "e1"]


def test_a_queue_with_other_arguments_is_used_as_it_is() -> None:
    rabbit = Rabbit()
    rabbit.broker.refuses_queue = True
    rabbit.sink.submit([event(1)])
    rabbit.play(5.0)
    assert rabbit.channel.declared[:2] == ["gainium.events", "gainium.events>gainium.user-events"]
    assert "gainium.user-events" not in rabbit.channel.declared
    assert rabbit.sent == ["e1"]


def test_an_ending_keeps_on_disk_what_a_broker_that_is_away_did_not_take(tmp_path: Path) -> None:
    rabbit = Rabbit(outbox_dir=tmp_path)
    rabbit.broker.up = False
    rabbit.sink.submit([event(1), event(2)])
    rabbit.play(1.0)
    began = rabbit.clock.now
    assert not rabbit.end(rabbit.sink.ending(10.0), 20.0)
    assert rabbit.clock.now - began < 2.0
    after = Rabbit(seed=2, outbox_dir=tmp_path)
    after.play(0.0)
    assert after.sent == ["e1", "e2"]
    after.channel.confirm(2, multiple=True)
    assert after.end(after.sink.ending(10.0), 20.0)
    assert not list(tmp_path.glob("*/*.sqlite3"))


def test_the_same_seed_reconnects_at_the_same_moments() -> None:
    def moments(seed: int) -> list[float]:
        rabbit = Rabbit(seed)
        rabbit.broker.up = False
        found = []
        for _ in range(400):
            before = len(rabbit.broker.connections)
            rabbit.play(0.05)
            if len(rabbit.broker.connections) > before:
                found.append(round(rabbit.clock.now, 2))
        return found

    assert moments(1) == moments(1)
    assert moments(1) != moments(2)


def test_an_answer_that_comes_too_late_repeats_a_report_but_never_a_change_of_a_balance() -> None:
    on = OnRedis()
    on.play(1.0)
    on.server.late = True
    on.sink.submit([event(1), event(2, "balanceUpdate"), event(3)])
    on.play(0.0)
    on.server.late = False
    on.play(10.0)
    assert on.server.published("u") == [b"1", b"2", b"3", b"1", b"3"]
    assert on.confirmed == ["e1", "e3"]
    assert on.sink.unknown_outcomes == 1


def test_events_wait_while_redis_is_away_and_the_streams_of_lost_ones_are_told() -> None:
    on = OnRedis(buffer_messages=2)
    told: list[str] = []
    on.sink.on_recovered = told.extend
    on.server.up = False
    on.play(1.0)
    on.sink.submit([event(number) for number in range(4)])
    on.play(60.0)
    assert not on.sink.status().connected
    assert told == []
    on.server.up = True
    on.play(5.0)
    assert on.server.published("u") == [b"2", b"3"]
    assert told == ["u"]
    assert on.sink.status().lost_account_events == 2


def test_a_server_that_takes_no_writes_is_left_and_asked_again() -> None:
    on = OnRedis()
    on.server.readonly = True
    on.sink.submit([event(1)])
    on.play(3.0)
    assert not on.sink.status().connected
    assert on.sink.status().queued == 1
    on.server.readonly = False
    on.play(5.0)
    assert on.server.published("u") == [b"1"]


def test_an_idle_connection_that_died_is_noticed_within_ten_seconds() -> None:
    """Else the next change of a balance goes into a dead socket: its outcome is unknown then, and it is dropped."""
    on = OnRedis()
    on.play(5.0)
    on.server.up = False
    on.play(11.0)
    assert not on.sink.status().connected


def test_a_sink_at_rest_is_turned_once_a_second() -> None:
    on = OnRedis()
    on.play(1.0)
    turns = 0
    end = on.clock.now + 60
    while on.clock.now < end:
        turns += on.sink.turn()
        on.clock.now = max(on.clock.now, on.sink.next_due())
    assert turns <= 150


def test_a_publisher_stamps_that_it_lives_also_when_it_has_nothing_to_do() -> None:
    rabbit, on = Rabbit(), OnRedis()
    for _ in range(5):
        rabbit.play(7.0)
        on.play(7.0)
        assert rabbit.clock.now - rabbit.sink._publisher.alive_mono <= 1.0
        assert on.clock.now - on.sink._publisher.alive_mono <= 1.0


def test_a_publisher_that_asks_many_questions_about_old_events_goes_on_living(tmp_path: Path) -> None:
    """Each may take seconds while the state is slow; none of them is a thread that hangs."""
    before = Rabbit(outbox_dir=tmp_path)
    before.broker.up = False
    before.sink.submit([event(number) for number in range(20)])
    before.play(1.0)
    before.end(before.sink.ending(10.0), 20.0)
    after = Rabbit(seed=2, outbox_dir=tmp_path)
    silent: list[float] = []

    def slow(stream_ids: Sequence[str]) -> set[str]:
        silent.append(after.clock.now - after.sink._publisher.alive_mono)
        after.clock.now += 4.0
        return set(stream_ids)

    after.sink.owned_elsewhere = slow
    after.play(0.0)
    assert len(silent) == 1, "one question for all events of a stream"
    assert max(silent) <= 4.0
    assert after.clock.now - after.sink._publisher.alive_mono < 1.0
    assert after.sent == []
