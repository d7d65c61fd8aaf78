"""A queue that is deleted or unbound while the service runs costs nothing of what comes after that."""

from __future__ import annotations

from connector.core.messages import CandleMessage, InfoMessage
from tests.unit.connector.sinks.played import Rabbit, event


def test_events_after_the_queue_was_deleted_are_kept_and_reach_the_queue_declared_anew() -> None:
    """The broker confirms what no queue takes."""
    rabbit = Rabbit()
    rabbit.sink.submit([event(1)])
    rabbit.play(0.0)
    rabbit.channel.confirm(1)
    rabbit.broker.queue = False
    rabbit.sink.submit([event(2), event(3)])
    rabbit.play(0.0)
    assert rabbit.broker.returned == ["e2", "e3"]
    rabbit.channel.confirm(3, multiple=True)
    assert rabbit.confirmed == ["e1"]
    rabbit.sink.submit([event(4)])
    rabbit.play(0.5)
    rabbit.channel.confirm(4)
    rabbit.play(0.5)
    rabbit.channel.confirm(6, multiple=True)
    assert rabbit.sent == ["e1", "e2", "e3", "e4"]
    assert rabbit.confirmed == ["e1", "e2", "e3", "e4"]
    assert rabbit.sink.status().queued == 0


def test_what_was_returned_goes_out_again_after_a_reconnect() -> None:
    rabbit = Rabbit()
    rabbit.play(0.0)
    rabbit.broker.queue = False
    rabbit.sink.submit([event(1), InfoMessage(stream_id="u", exchange="okx")])
    rabbit.play(0.0)
    rabbit.broker.link.lose()
    rabbit.play(5.0)
    assert rabbit.sent[0] == "e1"
    assert len(rabbit.sent) == 2
    rabbit.channel.confirm(2, multiple=True)
    assert rabbit.confirmed == ["e1"]
    assert rabbit.sink.status().queued == 0


def test_a_queue_that_somebody_deletes_again_and_again_loses_nothing() -> None:
    rabbit = Rabbit()
    rabbit.play(0.0)
    rabbit.broker.queue = False
    rabbit.sink.submit([event(1)])
    for tag in range(1, 6):
        rabbit.play(0.0)
        assert rabbit.broker.returned == ["e1"] * tag
        rabbit.channel.confirm(tag)
        while rabbit.channel.sent == tag:
            rabbit.broker.queue = tag == 5
            rabbit.play(0.01)
    assert rabbit.sent == ["e1"]
    rabbit.channel.confirm(6)
    assert rabbit.confirmed == ["e1"]


def test_a_deleted_queue_comes_back_within_a_second_also_when_others_take_the_events() -> None:
    """Then the broker returns nothing: another queue has the message."""
    rabbit = Rabbit()
    rabbit.play(0.0)
    before = len(rabbit.channel.declared)
    rabbit.play(1.0)
    assert rabbit.channel.declared[before:] == ["gainium.user-events", "gainium.events>gainium.user-events"]


def test_candles_find_a_queue_or_not() -> None:
    rabbit = Rabbit()
    rabbit.play(0.0)
    rabbit.broker.queue = False
    candle = CandleMessage(
        exchange="okx",
        symbol="A",
        interval="1m",
        event_id="c",
        start_ms=1,
        body=b"{}",
        closed=True,
        received_mono=0.0,
    )
    rabbit.sink.submit([candle])
    rabbit.play(0.0)
    rabbit.channel.confirm(1)
    assert rabbit.broker.returned == []
    assert rabbit.sink.status().queued == 0


def test_without_a_queue_nothing_has_to_be_taken() -> None:
    """`USER_EVENTS_QUEUE=none`: nobody may be listening."""
    rabbit = Rabbit(queue=None)
    rabbit.sink.submit([event(1)])
    rabbit.play(0.0)
    rabbit.channel.confirm(1)
    assert rabbit.broker.returned == []
    assert rabbit.channel.declared == ["gainium.events"]
    assert rabbit.confirmed == ["e1"]


def test_a_queue_that_was_used_as_it_was_and_is_gone_is_declared() -> None:
    rabbit = Rabbit()
    rabbit.broker.refuses_queue = True
    rabbit.play(5.0)
    rabbit.broker.refuses_queue = rabbit.broker.queue = False
    rabbit.channel.close_by_broker(404, "NOT_FOUND - no queue 'gainium.user-events'")
    rabbit.sink.submit([event(1)])
    rabbit.play(5.0)
    assert "gainium.user-events" in rabbit.channel.declared
    assert rabbit.sent == ["e1"]


def test_the_type_of_the_queue_is_as_set() -> None:
    declared: list[dict[str, object]] = []
    rabbit = Rabbit(queue_type="quorum")
    rabbit.broker.on_arguments = declared.append
    rabbit.play(0.0)
    assert declared[0]["x-queue-type"] == "quorum"
