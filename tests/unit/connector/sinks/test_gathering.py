"""Publishers wait a moment for company while much comes, and never for what comes alone."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

from connector.sinks._amqp_thread import JOINED_BYTES, AbortableConnection
from connector.sinks._common import GATHER_S
from tests.unit.connector.sinks.played import OnRedis, Rabbit, event


def busy(rabbit: Rabbit, until: int = 200) -> None:
    """A thousand events a second, each confirmed."""
    for number in range(until):
        rabbit.sink.submit([event(number)])
        rabbit.play(0.001)
    rabbit.play(GATHER_S)
    rabbit.channel.confirm(rabbit.channel.sent, multiple=True)


def test_a_single_event_leaves_at_once() -> None:
    rabbit = Rabbit()
    rabbit.play(1.0)
    rabbit.sink.submit([event(1)])
    rabbit.play(0.0)
    assert rabbit.sent == ["e1"]


def test_events_of_a_busy_moment_leave_together_and_in_order() -> None:
    rabbit = Rabbit()
    rabbit.play(1.0)
    busy(rabbit)
    before = len(rabbit.sent)
    rabbit.sink.submit([event(1_001)])
    rabbit.play(GATHER_S / 4)
    rabbit.sink.submit([event(1_002)])
    rabbit.play(GATHER_S / 4)
    assert len(rabbit.sent) == before
    rabbit.play(GATHER_S)
    assert rabbit.sent[before:] == ["e1001", "e1002"]


def test_a_confirm_does_not_send_what_waits_for_company() -> None:
    rabbit = Rabbit()
    rabbit.play(1.0)
    busy(rabbit)
    rabbit.sink.submit([event(1_001)])
    rabbit.play(GATHER_S)
    before = len(rabbit.sent)
    rabbit.sink.submit([event(1_002)])
    rabbit.play(0.0)
    rabbit.channel.confirm(rabbit.channel.sent)
    rabbit.play(0.0)
    assert len(rabbit.sent) == before
    rabbit.play(GATHER_S)
    assert rabbit.sent[before:] == ["e1002"]


def test_the_first_event_after_a_busy_moment_waits_for_nobody() -> None:
    rabbit = Rabbit()
    rabbit.play(1.0)
    busy(rabbit)
    rabbit.play(1.0)
    rabbit.sink.submit([event(1_001)])
    rabbit.play(0.0)
    assert rabbit.sent[-1] == "e1001"


def test_what_waits_for_company_when_the_connection_ends_goes_out_over_the_next() -> None:
    rabbit = Rabbit()
    rabbit.play(1.0)
    busy(rabbit)
    before = len(rabbit.sent)
    rabbit.sink.submit([event(1_001)])
    rabbit.play(0.0)
    rabbit.broker.link.lose()
    rabbit.play(5.0)
    assert rabbit.sent[before:] == ["e1001"]
    rabbit.sink.submit([event(1_002)])
    rabbit.play(0.0)
    assert rabbit.sent[-1] == "e1002"


def test_a_redis_thread_that_waits_for_company_is_not_woken_and_finds_all_of_it() -> None:
    on = OnRedis()
    on.play(1.0)
    publisher = on.sink._publisher
    for _ in range(200):
        on.clock.now += 0.001
        on.sink.submit([event(1)])
    on.play(0.0)
    waits: list[float] = []
    woken = 0

    class Work(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            on.sink.submit([event(2)])
            on.clock.now += timeout or 0.0
            return False

        def notify(self, n: int = 1) -> None:
            nonlocal woken
            woken += n

    publisher.lock = threading.RLock()  # type: ignore[assignment]
    publisher.work = Work(publisher.lock)
    publisher.rest()
    assert (waits, woken) == ([GATHER_S], 0)
    on.play(0.0)
    assert on.server.published("u")[-1] == b"2"
    on.sink.submit([event(3)])
    assert woken == 1


def test_pieces_of_messages_are_written_together_but_none_is_added_to_the_first() -> None:
    written: deque[bytes] = deque()

    def write(data: bytes) -> None:
        written.append(data)
        transport._tx_buffered_byte_count += len(data)

    transport: Any = SimpleNamespace(_tx_buffers=written, _tx_buffered_byte_count=0, write=write)
    connection: Any = AbortableConnection.__new__(AbortableConnection)
    connection._transport = transport
    pieces = [b"first", b"a" * (JOINED_BYTES - 10), b"b" * 10, b"c", b"d"]
    for piece in pieces:
        connection._adapter_emit_data(piece)
    assert list(written) == [b"first", pieces[1] + pieces[2], b"cd"]
    assert transport._tx_buffered_byte_count == sum(map(len, pieces))
