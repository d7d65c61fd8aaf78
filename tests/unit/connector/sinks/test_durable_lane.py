"""The order of what must reach the broker, through losses, spills and restarts of the process."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.core.clock import SystemClock
from connector.core.messages import AccountMessage
from connector.sinks._amqp_messages import Outgoing
from connector.sinks._durable_lane import DurableLane
from connector.sinks.outbox import Outbox


def message(number: int) -> Outgoing:
    event = AccountMessage(
        stream_id="u",
        exchange="okx",
        event_type="executionReport",
        event_id=str(number),
        event_time_ms=1,
        body=b"{}",
        received_mono=1.5,
    )
    return Outgoing(event, str(number), time.monotonic())


class Process:
    """A lane with a broker in its place: remembers what was sent, and loses or confirms it."""

    def __init__(self, directory: Path, memory: int) -> None:
        self.lock = threading.Lock()
        self.lane = DurableLane(
            self.lock,
            memory_messages=memory,
            outbox=Outbox(directory),
            name="rabbitmq",
            clock=SystemClock(),
        )
        self.lane.open()
        self.flight: list[Outgoing] = []

    def submit(self, number: int) -> bool:
        with self.lock:
            if not self.lane.room(1):
                return False
            self.lane.push(message(number))
        return True

    def send(self, count: int) -> list[int]:
        sent = []
        for _ in range(count):
            outgoing = self.lane.next()
            if outgoing is None:
                break
            self.flight.append(outgoing)
            sent.append(int(outgoing.message_id))
        return sent

    def confirm(self, count: int) -> None:
        self.lane.settle(self.flight[:count])
        del self.flight[:count]

    def lose(self) -> None:
        self.lane.give_back(self.flight)
        self.flight = []


STEPS = st.lists(
    st.tuples(st.sampled_from(["submit", "send", "confirm", "lose", "spill", "restart"]), st.integers(1, 12)),
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.integers(1, 6))
# What the second process loaded still is in its file when its remainder is put in front of it.
@example([("submit", 1), ("restart", 1), ("send", 1), ("restart", 1)], 1)
def test_whatever_happens_the_order_of_first_sending_is_the_order_of_submission(
    steps: list[tuple[str, int]], memory: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        process = Process(Path(directory), memory)
        submitted = 0
        sent: list[int] = []
        for step, count in steps:
            if step == "submit":
                for _ in range(count):
                    submitted += process.submit(submitted)
            elif step == "send":
                sent += process.send(count)
            elif step == "confirm":
                process.confirm(count)
            elif step == "lose":
                process.lose()
            elif step == "spill":
                process.lane.spill()
            else:
                process.lose()
                assert process.lane.persist() == 0
                process = Process(Path(directory), memory)
        process.lose()
        while more := process.send(1_000):
            sent += more
        process.confirm(len(process.flight))
        assert list(dict.fromkeys(sent)) == list(range(submitted))
        assert process.lane.leftovers == 0
        assert process.lane.progress.pending == 0
        process.lane.persist()
        assert [path.name for path in Path(directory).iterdir()] == ["lock"]


def test_a_message_that_went_to_disk_comes_back_as_it_was(tmp_path: Path) -> None:
    process = Process(tmp_path, 1)
    assert process.submit(1)
    assert process.submit(2)
    process.lane.spill()
    assert not process.lane.tail
    process.send(1)
    assert process.flight[0].message == message(1).message
    process.lane.persist()


def test_another_process_s_messages_are_not_counted_as_submitted(tmp_path: Path) -> None:
    first = Process(tmp_path, 10)
    first.submit(1)
    first.lane.persist()
    second = Process(tmp_path, 10)
    assert second.lane.leftovers == 1
    assert second.lane.progress.pending == 0
    second.send(1)
    restored = second.flight[0].message
    assert isinstance(restored, AccountMessage)
    second.confirm(1)
    assert second.lane.leftovers == 0
    second.lane.persist()


def test_without_a_directory_nothing_is_kept_and_the_number_is_told() -> None:
    lane = DurableLane(threading.Lock(), memory_messages=10, outbox=None, name="rabbitmq", clock=SystemClock())
    lane.open()
    lane.push(message(1))
    lane.spill()
    assert lane.persist() == 1


def records(process: Process) -> int:
    outbox = process.lane._outbox
    assert outbox is not None
    return outbox.records


def test_while_the_broker_is_away_what_waits_behind_goes_to_disk_and_what_may_be_confirmed_stays(
    tmp_path: Path,
) -> None:
    process = Process(tmp_path, 3)
    for number in range(2):
        assert process.submit(number)
    process.send(2)
    process.lose()
    assert process.send(1) == [0]
    assert process.submit(2)
    process.lane.keep_waiting(in_flight=True)
    assert not process.lane.tail
    assert records(process) == 1, "the head stays: its place on disk is before what is in flight"
    process.lose()
    assert process.send(3) == [0, 1, 2]


def test_what_a_lost_connection_gave_back_goes_to_disk_although_nothing_waits_behind_it(tmp_path: Path) -> None:
    process = Process(tmp_path, 3)
    for number in range(2):
        assert process.submit(number)
    process.send(2)
    process.lose()
    assert not process.lane.tail
    process.lane.keep_waiting(in_flight=False)
    assert records(process) == 2
    process.lane.keep_waiting(in_flight=False)
    assert records(process) == 2
    assert process.send(3) == [0, 1]


def test_what_was_confirmed_is_not_taken_from_disk_once_more_when_the_rest_goes_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(tmp_path, 2)
    for number in range(2):
        assert process.submit(number)
    process.lane.keep_waiting(in_flight=False)
    assert process.send(2) == [0, 1]
    assert process.submit(2)
    process.lane.keep_waiting(in_flight=True)
    process.confirm(2)
    assert not process.lane._loaded
    assert process.submit(3)
    assert process.send(2) == [2, 3]
    process.lose()
    process.lane.keep_waiting(in_flight=False)
    outbox = process.lane._outbox
    assert outbox is not None
    assert outbox.records == 2
    assert process.send(3) == [2, 3]
    process.confirm(2)
    assert outbox.used_bytes == 0
    assert not list(tmp_path.rglob("*.sqlite3"))
    assert "can't be read" not in caplog.text


def test_a_record_that_is_no_message_is_kept_aside_and_those_around_it_are_sent(tmp_path: Path) -> None:
    first = lane_with(tmp_path, of_stream("a", 1), of_stream("a", 2))
    first.lane.keep_waiting(in_flight=False)
    outbox = first.lane._outbox
    assert outbox is not None
    outbox.append([b"no message of ours"])
    outbox.close()
    process = Process(tmp_path, 2)
    assert process.send(5) == [1, 2]
    process.confirm(2)
    process.lane.persist()
    (aside,) = tmp_path.glob("*.damaged")
    with sqlite3.connect(aside) as kept:
        assert kept.execute("SELECT body FROM records").fetchall() == [(b"no message of ours",)]


def of_stream(stream_id: str, number: int, event_type: str = "executionReport") -> Outgoing:
    outgoing = message(number)
    assert isinstance(outgoing.message, AccountMessage)
    return Outgoing(
        msgspec.structs.replace(outgoing.message, stream_id=stream_id, event_type=event_type),
        str(number),
        time.monotonic(),
    )


def lane_with(directory: Path, *items: Outgoing) -> Process:
    process = Process(directory, 2)
    for item in items:
        with process.lock:
            process.lane.push(item)
    return process


def test_revoked_events_are_not_sent_from_memory_nor_from_disk(tmp_path: Path) -> None:
    process = lane_with(tmp_path, *(of_stream("ab"[number % 2], number) for number in range(6)))
    process.lane.spill()
    with process.lock:
        process.lane.push(of_stream("a", 6))
        process.lane.revoke("a")
        process.lane.push(of_stream("a", 7))
    assert process.send(10) == [1, 3, 5, 7], "what came after the stream was back here goes out"
    process.confirm(4)
    assert process.lane.progress.pending == 0
    process.lane.persist()


def test_streams_that_left_are_not_remembered_longer_than_anything_of_them_waits(tmp_path: Path) -> None:
    """A process that runs for months has run every account once."""
    process = lane_with(tmp_path, of_stream("a", 1), of_stream("b", 2), of_stream("c", 3))
    lane = process.lane
    with process.lock:
        lane.revoke("a")
        lane.leave("b")
    assert process.send(3) == [2, 3]
    process.confirm(1)
    assert (len(lane._revoked), len(lane._left)) == (1, 1), "something waits"
    process.confirm(1)
    assert (len(lane._revoked), len(lane._left)) == (0, 0)


def test_revoked_events_that_a_lost_connection_gave_back_are_not_sent_again(tmp_path: Path) -> None:
    process = lane_with(tmp_path, of_stream("a", 1), of_stream("b", 2))
    assert process.send(2) == [1, 2]
    process.lose()
    with process.lock:
        process.lane.revoke("a")
    assert process.send(2) == [2]


def test_revoking_leaves_balance_changes_alone(tmp_path: Path) -> None:
    process = lane_with(tmp_path, of_stream("a", 1, "balanceUpdate"), of_stream("a", 2))
    with process.lock:
        process.lane.revoke("a")
    assert process.send(2) == [1]


def test_revoked_events_are_not_kept_for_the_next_process(tmp_path: Path) -> None:
    process = lane_with(tmp_path, of_stream("a", 1), of_stream("b", 2))
    with process.lock:
        process.lane.revoke("a")
    process.lane.persist()
    assert Process(tmp_path, 2).send(5) == [2]


def test_what_an_earlier_process_left_of_a_stream_that_another_one_runs_is_not_sent(tmp_path: Path) -> None:
    lane_with(tmp_path, of_stream("a", 1), of_stream("b", 2), of_stream("a", 3, "balanceUpdate")).lane.persist()
    process = Process(tmp_path, 10)
    process.lane.owned_elsewhere = lambda _stream_ids: {"a"}
    assert process.submit(4)
    assert process.send(5) == [2, 3, 4]
    process.confirm(3)
    assert process.lane.leftovers == 0
