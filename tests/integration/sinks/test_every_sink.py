"""What every sink promises, whatever stands behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from connector.core.messages import AccountMessage, Confirmed, InfoMessage, Sink
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.sinks.rabbitmq import RabbitOptions, RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from tests.integration.sinks.receivers import (
    WAIT_S,
    RabbitReceiver,
    RedisReceiver,
    account,
    rabbit_place,
    redis_place,
    tickers,
    unique,
    wait_for,
)

pytestmark = pytest.mark.integration

Make = Callable[..., Any]


class Bench:
    """A sink under test, and the account event bodies that reached the other side, per stream."""

    def __init__(self, mark: str, make: Make, bodies: Callable[[str], list[bytes]]) -> None:
        self.mark = mark
        self.make = make
        self.bodies = bodies
        self.sinks: list[Sink] = []

    def sink(self, **options: Any) -> Any:
        sink = self.make(**options)
        self.sinks.append(sink)
        return sink


def redis_sink(**options: Any) -> RedisSink:
    return RedisSink(place=redis_place(), **options)


def rabbit_sink(mark: str, on_confirmed: Confirmed | None = None, **options: Any) -> RabbitSink:
    settings: dict[str, Any] = {"place": rabbit_place(), "exchange": f"{mark}.events", "queue": None}
    return RabbitSink(RabbitOptions(**settings | options), on_confirmed=on_confirmed)


@pytest.fixture(params=["memory", "redis", "rabbitmq", "fanout"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    mark = unique()
    receivers: list[RedisReceiver | RabbitReceiver] = []
    kind = request.param
    if kind == "memory":
        made: list[MemorySink] = []

        def make(**options: Any) -> MemorySink:
            made.append(MemorySink(**options))
            return made[-1]

        def bodies(stream: str) -> list[bytes]:
            return [m.body for s in made for m in s.messages if isinstance(m, AccountMessage) and m.stream_id == stream]

        result = Bench(mark, make, bodies)
    elif kind == "redis":
        redis_receiver = RedisReceiver(mark)
        receivers.append(redis_receiver)
        result = Bench(
            mark, redis_sink, lambda stream: [m.body for m in redis_receiver.messages if m.channel == stream]
        )
    else:
        rabbit_receiver = RabbitReceiver(f"{mark}.events")
        receivers.append(rabbit_receiver)

        def make_rabbit(**options: Any) -> RabbitSink:
            return rabbit_sink(mark, **options)

        def make_fanout(**options: Any) -> FanoutSink:
            return FanoutSink([redis_sink(), rabbit_sink(mark)], **options)

        result = Bench(
            mark,
            make_rabbit if kind == "rabbitmq" else make_fanout,
            lambda stream: [
                m.body for m in rabbit_receiver.messages if m.channel.endswith(f"executionReport.{stream}")
            ],
        )
    yield result
    for sink in result.sinks:
        sink.stop(2)
    for receiver in receivers:
        receiver.close()


def test_events_of_each_stream_arrive_in_order_and_once(bench: Bench) -> None:
    sink = bench.sink()
    sink.start()
    streams = [f"{bench.mark}-{index}" for index in range(4)]
    events = {stream: [account(stream, number) for number in range(200)] for stream in streams}

    def submit(stream: str) -> None:
        for start in range(0, 200, 3):
            assert sink.submit(events[stream][start : start + 3])

    threads = [threading.Thread(target=submit, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sink.flush(20)
    for stream in streams:
        wait_for(lambda stream=stream: len(bench.bodies(stream)) >= 200)  # type: ignore[misc]
        assert bench.bodies(stream) == [event.body for event in events[stream]]


def test_confirmations_report_every_account_message_once(bench: Bench) -> None:
    confirmed: list[AccountMessage] = []
    sink = bench.sink(on_confirmed=confirmed.extend)
    sink.start()
    stream = f"{bench.mark}-u"
    assert sink.submit([account(stream, 1), InfoMessage(stream_id=stream, exchange="okx"), account(stream, 2)])
    assert sink.flush(20)
    wait_for(lambda: len(confirmed) == 2)
    assert [message.event_id for message in confirmed] == [f"{stream}:1", f"{stream}:2"]


def test_what_is_submitted_before_the_start_arrives_after_it(bench: Bench) -> None:
    sink = bench.sink()
    stream = f"{bench.mark}-u"
    assert sink.submit([account(stream, 1)])
    assert sink.status().queued >= 1
    sink.start()
    assert sink.flush(20)
    wait_for(lambda: len(bench.bodies(stream)) == 1)


def test_an_idle_sink_is_connected_and_has_nothing_queued(bench: Bench) -> None:
    sink = bench.sink()
    assert not sink.status().connected
    sink.start()
    wait_for(lambda: sink.status().connected)
    sink.submit([account(f"{bench.mark}-u", 1), tickers(f"{bench.mark}x", {"A": 1, "B": 2})])
    assert sink.flush(20)
    status = sink.status()
    assert (status.queued, status.dropped, status.lost_account_events) == (0, 0, 0)


def test_stop_flushes_and_then_refuses_account_messages_only(bench: Bench) -> None:
    sink = bench.sink()
    sink.start()
    stream = f"{bench.mark}-u"
    assert sink.submit([account(stream, number) for number in range(50)])
    assert sink.stop(20)
    wait_for(lambda: len(bench.bodies(stream)) == 50)
    assert not sink.submit([account(stream, 51)])
    assert sink.submit([tickers(f"{bench.mark}x", {"A": 1})])


def test_a_callback_that_fails_does_not_end_the_sink(bench: Bench) -> None:
    calls: list[int] = []

    def broken(messages: Sequence[AccountMessage]) -> None:
        calls.append(len(messages))
        raise RuntimeError("defect of the caller")

    sink = bench.sink(on_confirmed=broken)
    sink.start()
    stream = f"{bench.mark}-u"
    for number in range(3):
        assert sink.submit([account(stream, number)])
        assert sink.flush(20)
    wait_for(lambda: sum(calls) == 3)
    wait_for(lambda: len(bench.bodies(stream)) == 3)


def test_stop_keeps_its_deadline_when_nobody_answers() -> None:
    redis, rabbit = redis_place(port=1), RabbitOptions(place=rabbit_place(port=1))
    sinks: list[Sink] = [
        RedisSink(place=redis),
        RabbitSink(rabbit),
        FanoutSink([RedisSink(place=redis), RabbitSink(rabbit)]),
    ]
    for sink in sinks:
        sink.start()
        assert sink.submit([account("u", 1)])
        answers: list[bool] = []
        stopping = threading.Thread(target=lambda sink=sink, answers=answers: answers.append(sink.stop(1.0)))
        stopping.start()
        stopping.join(WAIT_S)
        assert answers == [False]
        assert sink.status().queued >= 1
