"""What waits for a program: bounded, in order, and confirmed when its callback is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from connector.api._sink import NOTICES_MORE, ProgramSink
from connector.core.clock import SystemClock
from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, Message, TickerMessage

WAIT_S = 20.0
Make = Callable[[int], ProgramSink]


class Program:
    """A callback that stands still until it is let go on."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.confirmed: list[str] = []
        self.inside, self.go_on = threading.Event(), threading.Event()

    def __call__(self, message: Message) -> None:
        self.heard.append(message)
        self.inside.set()
        assert self.go_on.wait(WAIT_S)

    def confirm(self, messages: Sequence[AccountMessage]) -> None:
        self.confirmed += [message.event_id for message in messages]


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def make(program: Program) -> Iterator[Make]:
    made: list[ProgramSink] = []

    def build(limit: int) -> ProgramSink:
        sink = ProgramSink(program, SystemClock(), limit)
        sink.on_confirmed = program.confirm
        sink.start()
        made.append(sink)
        return sink

    yield build
    program.go_on.set()
    for sink in made:
        sink.stop(WAIT_S)


def order(number: int, stream: str = "s") -> AccountMessage:
    return AccountMessage(
        stream_id=stream, exchange="bybit", event_type="executionReport", event_id=str(number), event_time_ms=number,
        body=b"{}", received_mono=0.0,
    )  # fmt: skip


def price(symbol: str, body: bytes) -> TickerMessage:
    return TickerMessage(exchange="okx", symbols=[symbol], bodies=[body], received_mono=0.0)


def candle(start_ms: int, body: bytes) -> CandleMessage:
    return CandleMessage(
        exchange="okx", symbol="A", interval="1m", event_id="", start_ms=start_ms, body=body, closed=True,
        received_mono=0.0,
    )  # fmt: skip


def busy(sink: ProgramSink, program: Program) -> None:
    """The callback stands in the first message."""
    assert sink.submit([order(0)])
    assert program.inside.wait(WAIT_S)


def test_an_account_event_too_many_is_refused_and_none_is_dropped(make: Make, program: Program) -> None:
    sink = make(3)
    full = threading.Event()
    sink.on_full = full.set
    busy(sink, program)
    assert sink.submit([order(1), order(2)])
    assert not sink.submit([order(3), order(4)])
    assert full.is_set()
    assert sink.submit([order(5)])
    program.go_on.set()
    assert sink.flush(WAIT_S)
    assert program.confirmed == ["0", "1", "2", "5"]


def test_nothing_is_confirmed_before_its_callback_is_done(make: Make, program: Program) -> None:
    sink = make(10)
    busy(sink, program)
    mark = sink.mark()
    assert program.confirmed == []
    assert not sink.passed(mark)
    program.go_on.set()
    assert sink.flush(WAIT_S)
    assert sink.passed(mark)


def test_of_a_symbol_the_newest_price_waits(make: Make, program: Program) -> None:
    sink = make(10)
    busy(sink, program)
    for body in (b"1", b"2", b"3"):
        sink.submit([price("A", body), price("B", body)])
    assert sink.status().dropped == 4
    program.go_on.set()
    assert sink.flush(WAIT_S)
    assert [one.bodies for one in program.heard if isinstance(one, TickerMessage)] == [[b"3"], [b"3"]]


def test_of_candles_the_newest_wait(make: Make, program: Program) -> None:
    sink = make(2)
    busy(sink, program)
    for start, body in ((1, b"1"), (1, b"2"), (2, b"3"), (3, b"4")):
        sink.submit([candle(start, body)])
    program.go_on.set()
    assert sink.flush(WAIT_S)
    assert [one.body for one in program.heard if isinstance(one, CandleMessage)] == [b"3", b"4"]


def test_notices_are_bounded_and_leave_room_for_accounts(make: Make, program: Program) -> None:
    sink = make(2)
    busy(sink, program)
    sink.submit([InfoMessage(stream_id="s", exchange="okx")] * (NOTICES_MORE + 10))
    assert sink.status().queued == NOTICES_MORE + 2
    assert sink.status().dropped == 8


def test_what_went_to_another_process_is_not_told_here(make: Make, program: Program) -> None:
    sink = make(10)
    busy(sink, program)
    sink.submit([order(1, "gone"), order(2)])
    mark = sink.mark()
    sink.revoke("gone")
    program.go_on.set()
    assert sink.flush(WAIT_S)
    assert program.confirmed == ["0", "2"]
    assert sink.passed(mark)


def test_after_a_stop_account_events_are_refused(make: Make, program: Program) -> None:
    sink = make(10)
    program.go_on.set()
    assert sink.stop(WAIT_S)
    assert not sink.submit([order(1)])
    assert not sink.status().connected
