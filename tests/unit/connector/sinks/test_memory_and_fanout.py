"""The memory sink, and one sink over several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from connector.core.messages import (
    AccountMessage,
    Confirmed,
    Message,
    Recovered,
    SinkStatus,
    StreamClosed,
    TickerMessage,
)
from connector.core.stamps import Stamped
from connector.sinks._common import Elsewhere, Permitted, always
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink

WAIT_S = 10.0


def event(number: int) -> AccountMessage:
    return AccountMessage(
        stream_id="u",
        exchange="okx",
        event_type="executionReport",
        event_id=str(number),
        event_time_ms=1,
        body=b"{}",
        received_mono=0.0,
    )


TICKERS = TickerMessage(exchange="okx", symbols=["A"], bodies=[b"1"], received_mono=0.0)


class FakeSink:
    """Answers as told."""

    def __init__(self, name: str, *, takes: bool = True, fails: bool = False) -> None:
        self.name = name
        self.on_confirmed: Confirmed | None = None
        self.on_recovered: Recovered | None = None
        self.owned_elsewhere: Elsewhere | None = None
        self.permitted: Permitted = always
        self.takes = takes
        self.fails = fails
        self.got: list[Message] = []
        self.stops = 0
        self.gate = threading.Event()
        self.gate.set()

    def start(self) -> None: ...

    def submit(self, messages: Sequence[Message]) -> bool:
        if self.fails:
            raise RuntimeError("defect")
        self.got.extend(messages)
        return self.takes

    def threads(self) -> list[Stamped]:
        return []

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def status(self) -> SinkStatus:
        return SinkStatus(
            name=self.name, connected=self.takes, queued=2, dropped=1, detail="" if self.takes else "full"
        )

    def flush(self, timeout_s: float) -> bool:
        return self.gate.wait(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        self.stops += 1
        return self.gate.wait(timeout_s)


@pytest.fixture
def memory() -> Iterator[Callable[..., MemorySink]]:
    made: list[MemorySink] = []

    def make(*arguments: Callable[[Message], None], **options: object) -> MemorySink:
        made.append(MemorySink(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for sink in made:
        sink.stop(WAIT_S)


def test_memory_keeps_messages_in_order_and_calls_back_for_each(memory: Callable[..., MemorySink]) -> None:
    seen: list[Message] = []
    sink = memory(seen.append)
    sink.start()
    messages: list[Message] = [event(1), TICKERS, StreamClosed(stream_id="u"), event(2)]
    assert sink.submit(messages)
    assert sink.flush(WAIT_S)
    assert list(sink.messages) == seen == messages


def test_memory_callback_that_fails_for_one_message_gets_the_next(memory: Callable[..., MemorySink]) -> None:
    seen: list[Message] = []

    def callback(message: Message) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise RuntimeError("terminal went away")

    sink = memory(callback)
    sink.start()
    sink.submit([event(1), event(2)])
    assert sink.flush(WAIT_S)
    assert len(seen) == 2


def test_memory_that_is_not_read_stays_bounded_and_counts(memory: Callable[..., MemorySink]) -> None:
    sink = memory(limit=2)
    sink.submit([event(1), TICKERS, event(2), event(3)])
    status = sink.status()
    assert (status.queued, status.lost_account_events, status.dropped) == (2, 1, 2)
    assert list(sink.messages) == [event(2), event(3)]


@pytest.mark.parametrize(
    ("names", "primary"),
    [(["memory", "redis", "rabbitmq"], "rabbitmq"), (["memory", "redis"], "redis"), (["memory", "other"], "memory")],
)
def test_the_primary_is_the_most_durable_one(names: list[str], primary: str) -> None:
    assert FanoutSink([FakeSink(name) for name in names]).primary.name == primary


def test_only_the_primary_s_refusal_counts() -> None:
    redis, rabbit = FakeSink("redis", takes=False), FakeSink("rabbitmq")
    fanout = FanoutSink([redis, rabbit])
    assert fanout.submit([event(1)])
    rabbit.takes, redis.takes = False, True
    assert not fanout.submit([event(2)])
    assert redis.got == rabbit.got == [event(1), event(2)]


def test_a_sink_that_fails_costs_the_others_nothing() -> None:
    redis, rabbit = FakeSink("redis", fails=True), FakeSink("rabbitmq")
    fanout = FanoutSink([redis, rabbit])
    assert fanout.submit([event(1)])
    assert rabbit.got == [event(1)]
    redis.fails, rabbit.fails = False, True
    assert not fanout.submit([event(2)])
    assert fanout.submit([TICKERS])
    assert redis.got == [event(2), TICKERS]


def test_confirmations_come_from_the_primary() -> None:
    redis, rabbit = FakeSink("redis"), FakeSink("rabbitmq")
    confirmed: list[AccountMessage] = []
    fanout = FanoutSink([redis, rabbit], on_confirmed=confirmed.extend)
    assert redis.on_confirmed is None
    assert rabbit.on_confirmed is not None
    rabbit.on_confirmed([event(1)])
    assert confirmed == [event(1)]
    fanout.on_confirmed = None
    assert rabbit.on_confirmed is None


def test_a_sink_that_hangs_does_not_use_up_the_others_time() -> None:
    slow, quick = FakeSink("redis"), FakeSink("rabbitmq")
    slow.gate.clear()
    fanout = FanoutSink([slow, quick])
    assert not fanout.flush(0.05)
    assert not fanout.stop(0.05)
    assert (quick.stops, slow.stops) == (1, 1)
    slow.gate.set()
    assert fanout.flush(WAIT_S)
    assert fanout.stop(WAIT_S)


def test_the_status_sums_up_and_names_who_has_trouble() -> None:
    status = FanoutSink([FakeSink("redis", takes=False), FakeSink("rabbitmq")]).status()
    assert (status.connected, status.queued, status.dropped, status.detail) == (True, 4, 2, "redis: full")


def test_a_mark_is_passed_when_every_sink_is_beyond_it(memory: Callable[..., MemorySink]) -> None:
    gate = threading.Event()
    slow, quick = memory(lambda _: gate.wait(WAIT_S), name="slow"), memory(name="quick")
    fanout = FanoutSink([slow, quick])
    fanout.start()
    empty = fanout.mark()
    fanout.submit([event(1)])
    mark = fanout.mark()
    assert quick.flush(WAIT_S)
    assert fanout.passed(empty)
    assert not fanout.passed(mark)
    gate.set()
    assert slow.flush(WAIT_S)
    assert fanout.passed(mark)


def test_without_a_thread_a_turn_delivers_and_confirms() -> None:
    confirmed: list[AccountMessage] = []
    sink = MemorySink(on_confirmed=confirmed.extend, threaded=False)
    assert not sink.status().connected
    sink.start()
    assert sink.status().connected
    sink.submit([event(1)])
    assert confirmed == []
    assert sink.turn()
    assert [message.event_id for message in confirmed] == ["1"]
    assert not sink.turn()
    assert sink.stop(1.0)
    assert not sink.status().connected
