"""The outbox and the lane above it on a disk that is full, can't be read, is damaged or belongs to somebody else."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, CandleMessage, InfoMessage, ServiceMessage, StreamClosed
from connector.core.metrics import METRICS
from connector.sinks._amqp_intake import Intake
from connector.sinks._amqp_messages import Durable, Outgoing, stored
from connector.sinks._disk import RealDisk
from connector.sinks._durable_lane import ANSWER_GOOD_FOR_S, DISK_RETRY_S, TAKE, DurableLane
from connector.sinks._stores import OVERHEAD
from connector.sinks.outbox import Outbox, OutboxFull, OutboxUnusable
from tests.unit.connector.sinks.test_outbox import die, drain, opened


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.seconds = time.monotonic()

    def mono(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return 1


class _Moody(sqlite3.Connection):
    """A database on a disk with moods."""

    disk: MoodyDisk

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        if self.disk.full and statement.startswith(("BEGIN", "CREATE")):
            raise sqlite3.OperationalError("database or disk is full")
        if self.disk.unreadable and statement.startswith("SELECT"):
            raise sqlite3.OperationalError("disk I/O error")
        if self.disk.stuck and statement.startswith("DELETE"):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return super().execute(statement, *more)

    def close(self) -> None:
        self.disk.open_files.discard(id(self))
        super().close()


class MoodyDisk(RealDisk):
    """A real one that can be full, unreadable, or read-only."""

    def __init__(self) -> None:
        self.full = self.unreadable = self.stuck = False
        self.locked_by_others: set[str] = set()
        self.open_files: set[int] = set()

    def connect(self, path: Path) -> sqlite3.Connection:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        found = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=_Moody)
        found.disk = self
        self.open_files.add(id(found))
        return found

    def delete(self, path: Path) -> None:
        if self.stuck:
            raise OSError(errno.EROFS, "Read-only file system")
        super().delete(path)

    def lock(self, path: Path) -> Callable[[], None] | None:
        return None if path.parent.name in self.locked_by_others else super().lock(path)


def event(number: int, stream_id: str = "a", kind: str = "executionReport") -> AccountMessage:
    return AccountMessage(
        stream_id=stream_id, exchange="okx", event_type=kind, event_id=str(number), event_time_ms=1, body=b"{}",
        received_mono=1.5,
    )  # fmt: skip


CANDLE = CandleMessage(
    exchange="okx", symbol="BTC-USDT", interval="1m", event_id="c", start_ms=60, body=b"{}", closed=True,
    received_mono=1.5,
)  # fmt: skip
OTHERS: list[Durable] = [
    InfoMessage(stream_id="a", exchange="okx"),
    CANDLE,
    ServiceMessage(kind="restart", body=b"{}"),
]


class Desk:
    """A lane with its disk; what it gives is confirmed at once unless it is kept."""

    def __init__(self, folder: Path, *, memory: int = 2, max_bytes: int = 1 << 20) -> None:
        self.clock, self.disk = Clock(), MoodyDisk()
        self.outbox = Outbox(folder, max_bytes=max_bytes, disk=self.disk)
        self.lock = threading.Lock()
        self.lane = DurableLane(
            self.lock, memory_messages=memory, outbox=self.outbox, name="rabbitmq", clock=self.clock
        )
        self.lane.open()

    def push(self, *messages: Durable) -> None:
        for message in messages:
            self.clock.seconds += 0.001
            with self.lock:
                self.lane.push(Outgoing(message, f"id-{self.lane.progress.added}", self.clock.mono()))

    def take(self, count: int = 100) -> list[Outgoing]:
        taken = []
        while len(taken) < count and (item := self.lane.next()) is not None:
            taken.append(item)
        return taken

    def numbers(self, items: Sequence[Outgoing]) -> list[str]:
        return [item.message.event_id if isinstance(item.message, AccountMessage) else "-" for item in items]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- a disk that is full ---


def test_on_a_full_disk_events_stay_in_memory_until_there_is_no_room(desk: Desk) -> None:
    desk.disk.full = True
    desk.push(*(event(number) for number in range(3)))
    assert desk.lane.overlong
    desk.lane.spill()
    assert "outbox can't take more" in desk.lane.trouble
    assert "No space left" in desk.lane.trouble
    assert len(desk.lane.tail) == 3
    assert desk.lane.room(1)
    assert not desk.lane.room(2)
    assert desk.numbers(desk.take()) == ["0", "1", "2"]


def test_a_full_disk_is_tried_again_after_a_pause_and_then_it_is_well(desk: Desk) -> None:
    desk.disk.full = True
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    desk.disk.full = False
    desk.clock.seconds += DISK_RETRY_S - 0.001
    desk.lane.spill()
    assert len(desk.lane.tail) == 3, "not yet"
    desk.clock.seconds += 0.001
    desk.lane.spill()
    assert (len(desk.lane.tail), desk.lane.trouble) == (0, "")
    assert desk.numbers(desk.take()) == ["0", "1", "2"]


def test_a_bound_that_is_reached_is_told_as_a_full_disk(tmp_path: Path) -> None:
    desk = Desk(tmp_path, max_bytes=50)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    assert "of 50 bytes used" in desk.lane.trouble
    assert desk.numbers(desk.take()) == ["0", "1", "2"]


def test_the_tail_goes_to_disk_only_when_it_is_too_long(desk: Desk) -> None:
    desk.push(event(0), event(1))
    assert not desk.lane.overlong
    desk.lane.spill()
    assert (len(desk.lane.tail), desk.lane.waiting_on_disk) == (2, False)
    desk.push(event(2))
    desk.lane.spill()
    assert (len(desk.lane.tail), desk.lane.waiting_on_disk) == (0, True)


def test_what_can_not_be_kept_at_the_end_is_counted(desk: Desk) -> None:
    desk.push(*(event(number) for number in range(3)))
    (first,) = desk.take(1)
    desk.lane.give_back([first])
    desk.disk.full = True
    assert desk.lane.persist() == 3


def test_newer_events_wait_behind_a_disk_that_can_not_be_read(desk: Desk) -> None:
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    desk.push(event(3))
    desk.disk.unreadable = True
    assert desk.take() == []
    assert "can't be read: Input/output error" in desk.lane.trouble
    desk.disk.unreadable = False
    assert desk.take() == [], "not at once again"
    desk.clock.seconds += DISK_RETRY_S
    assert desk.numbers(desk.take()) == ["0", "1", "2", "3"]


def test_a_directory_of_somebody_else_costs_the_disk_and_not_the_sink(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(tmp_path / "file")
    assert not desk.lane.on_disk
    assert desk.lane.trouble.startswith("outbox unusable: ")
    assert not desk.lane.waiting_on_disk
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    assert desk.numbers(desk.take(2)) == ["0", "1"]
    assert desk.lane.persist() == 1


def test_a_disk_that_works_is_told(desk: Desk) -> None:
    assert desk.lane.on_disk
    assert desk.lane.trouble == ""


# --- order ---


def test_what_waits_on_disk_goes_before_what_is_newer_in_memory(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    desk.push(event(3))
    assert desk.lane.waiting
    assert desk.numbers(desk.take()) == ["0", "1", "2", "3"]
    assert not desk.lane.waiting


def test_more_than_one_handful_in_memory_keeps_its_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path, memory=2 * TAKE)
    desk.push(*(event(number) for number in range(TAKE + 2)))
    first = desk.take(1)
    desk.push(event(9_999))
    assert desk.numbers([*first, *desk.take(TAKE + 10)]) == [*(str(number) for number in range(TAKE + 2)), "9999"]


def test_what_was_given_back_goes_first_in_its_own_order(desk: Desk) -> None:
    desk.push(*(event(number) for number in range(3)))
    taken = desk.take(2)
    desk.lane.give_back(taken)
    assert desk.lane.waiting
    assert desk.numbers(desk.take()) == ["0", "1", "2"]


def test_the_end_keeps_flight_disk_and_memory_in_their_order(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    desk.push(event(3))
    desk.lane.give_back(desk.take(2))
    assert desk.lane.persist() == 0
    after = Desk(tmp_path)
    assert after.lane.leftovers == 4
    assert after.numbers(after.take()) == ["0", "1", "2", "3"]


def test_the_end_keeps_nothing_twice(tmp_path: Path) -> None:
    """What was loaded and given back stands in the new first file; the one it came from goes."""
    desk = Desk(tmp_path)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    taken = desk.take(3)
    desk.lane.settle(taken[:1])
    desk.lane.give_back(taken[1:])
    assert desk.lane.persist() == 0
    after = Desk(tmp_path)
    assert after.numbers(after.take()) == ["1", "2"]
    assert after.lane.leftovers == 2


# --- counting ---


def test_a_file_goes_when_all_of_it_is_safe_and_not_before(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    taken = desk.take()

    def files() -> int:
        return len(list(tmp_path.rglob("*.sqlite3")))

    for item in taken[:-1]:
        desk.lane.settle([item])
        assert files() == 1
    desk.lane.settle(taken[-1:])
    assert files() == 0
    assert desk.outbox.used_bytes == 0
    assert (desk.lane.progress.pending, desk.lane.leftovers) == (0, 0)
    assert desk.lane.persist() == 0
    assert desk.outbox.used_bytes == 0


def test_leftovers_are_counted_apart_from_what_this_process_took(tmp_path: Path) -> None:
    before = Desk(tmp_path)
    before.push(event(0), event(1))
    before.lane.persist()
    desk = Desk(tmp_path)
    desk.push(event(2))
    assert (desk.lane.leftovers, desk.lane.progress.pending) == (2, 1)
    taken = desk.take()
    desk.lane.settle(taken[:1])
    assert (desk.lane.leftovers, desk.lane.progress.pending) == (1, 1)
    desk.lane.settle(taken[1:])
    assert (desk.lane.leftovers, desk.lane.progress.pending) == (0, 0)


def test_only_account_events_that_are_given_up_are_lost(desk: Desk) -> None:
    before = METRICS.value("account_events_lost_total", sink="rabbitmq")
    desk.push(event(0), CANDLE, event(1))
    desk.lane.give_up(desk.take(), "the broker refuses them")
    assert desk.lane.lost == 2
    assert METRICS.value("account_events_lost_total", sink="rabbitmq") == before + 2
    assert desk.lane.progress.pending == 0
    desk.push(CANDLE)
    desk.lane.give_up(desk.take(), "the broker refuses it")
    assert desk.lane.lost == 2


def test_an_event_that_can_not_be_written_is_given_up_and_costs_no_other(desk: Desk) -> None:
    desk.push(event(0), event(1, stream_id="\ud800"), event(2))
    desk.lane.spill()
    assert (len(desk.lane.tail), desk.lane.lost) == (0, 1)
    assert desk.lane.progress.pending == 2
    assert desk.numbers(desk.take()) == ["0", "2"]


# --- damage ---


def damaged(folder: Path, *places: int) -> None:
    """Leave three records of an earlier process, some of them of another version."""
    good = [stored(Outgoing(event(number), f"id-{number}", 0.0)) for number in range(3)]
    for place in places:
        good[place] = msgspec.msgpack.encode(["a later version", 1])
    outbox = opened(folder)
    outbox.append(good)
    outbox.close()


def test_a_record_that_can_not_be_read_costs_itself(tmp_path: Path) -> None:
    damaged(tmp_path, 1)
    desk = Desk(tmp_path)
    assert desk.lane.leftovers == 3
    before = METRICS.value("account_events_lost_total", sink="rabbitmq")
    taken = desk.take()
    assert desk.numbers(taken) == ["0", "2"]
    assert (desk.lane.lost, desk.lane.leftovers) == (1, 2)
    assert METRICS.value("account_events_lost_total", sink="rabbitmq") == before + 1
    desk.lane.settle(taken)
    assert desk.lane.leftovers == 0
    assert list(tmp_path.rglob("*.sqlite3")) == []


def test_a_file_without_a_readable_record_holds_nobody_up(tmp_path: Path) -> None:
    damaged(tmp_path, 0, 1, 2)
    desk = Desk(tmp_path)
    desk.push(event(7))
    assert desk.numbers(desk.take()) == ["7"]
    assert (desk.lane.lost, desk.lane.leftovers) == (3, 0)
    assert list(tmp_path.rglob("*.sqlite3")) == []


def test_a_spoiled_record_of_this_process_is_counted_as_lost_and_not_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    assert desk.outbox._writing is not None
    desk.outbox._writing._database.execute("UPDATE records SET body = x'00' WHERE number = 3")
    taken = desk.take()
    assert desk.numbers(taken) == ["0", "1"]
    assert (desk.lane.lost, desk.lane.leftovers) == (1, 0)
    desk.lane.settle(taken)
    assert desk.lane.progress.pending == 0


# --- a stream that changed hands ---


def test_events_of_this_process_are_not_asked_about(desk: Desk) -> None:
    """Its own unconfirmed events are its own, whoever runs the stream now: `revoke` says which are not."""
    desk.lane.owned_elsewhere = lambda stream_ids: stream_ids
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    desk.push(event(3))
    assert desk.numbers(desk.take()) == ["0", "1", "2", "3"]


def test_only_order_and_balance_states_of_an_earlier_process_are_asked_about(tmp_path: Path) -> None:
    before = Desk(tmp_path, memory=9)
    before.push(event(0), event(1, kind="balanceUpdate"), *OTHERS)
    before.lane.persist()
    desk = Desk(tmp_path)
    asked: list[set[str]] = []

    def elsewhere(stream_ids: Collection[str]) -> Collection[str]:
        asked.append(set(stream_ids))
        return stream_ids

    desk.lane.owned_elsewhere = elsewhere
    assert desk.numbers(desk.take()) == ["1", "-", "-", "-"]
    assert asked == [{"a"}]
    assert desk.lane.leftovers == 4
    assert desk.lane.alive_mono == desk.clock.mono()


def test_without_an_answer_what_an_earlier_process_left_is_sent(tmp_path: Path) -> None:
    before = Desk(tmp_path)
    before.push(event(0))
    before.lane.persist()
    desk = Desk(tmp_path)
    assert desk.numbers(desk.take()) == ["0"]


@pytest.mark.parametrize("message", [event(0, kind="balanceUpdate"), *OTHERS], ids=lambda one: type(one).__name__)
def test_deltas_and_other_messages_are_never_revoked(desk: Desk, message: Durable) -> None:
    desk.push(message, event(1))
    desk.clock.seconds += 1
    with desk.lock:
        desk.lane.revoke("a")
    assert [item.message for item in desk.take()] == [message]
    assert desk.lane.progress.pending == 1


def test_deltas_and_other_messages_are_kept_at_the_end_though_their_stream_was_revoked(tmp_path: Path) -> None:
    desk = Desk(tmp_path, memory=9)
    desk.push(event(0), event(1, kind="balanceUpdate"), *OTHERS, event(2, stream_id="b"))
    desk.clock.seconds += 1
    with desk.lock:
        desk.lane.revoke("a")
    assert desk.lane.persist() == 0
    after = Desk(tmp_path)
    assert after.numbers(after.take()) == ["1", "-", "-", "-", "2"]


def test_revoked_events_that_would_go_to_disk_are_settled(desk: Desk) -> None:
    """Else the sink would wait for their confirmation for ever."""
    desk.push(event(0), event(1, stream_id="b"), event(2))
    desk.clock.seconds += 1
    with desk.lock:
        desk.lane.revoke("a")
    desk.lane.spill()
    assert desk.lane.progress.pending == 1
    assert desk.numbers(desk.take()) == ["1"]


# --- the outbox itself ---


def test_what_is_kept_in_front_is_counted(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"c"])
    outbox.prepend([b"a", b"b"])
    assert outbox.records == 3
    portion, records = outbox.load() or pytest.fail("nothing there")
    assert (portion.records, records, outbox.records) == (2, [b"a", b"b"], 1)
    outbox.discard(portion)
    outbox.close()
    again = opened(tmp_path)
    assert again.records == 1


def test_what_is_kept_in_front_comes_before_what_a_dead_process_left(tmp_path: Path) -> None:
    """Else old events come after new ones."""
    dead = opened(tmp_path)
    for record in (b"1", b"2", b"3"):
        dead.append([record])
    die(dead)
    outbox = opened(tmp_path)
    portion, first = outbox.load() or pytest.fail("nothing there")
    outbox.prepend([record for record in first if record is not None])
    outbox.discard(portion)
    outbox.prepend([b"0"])
    die(outbox)
    assert drain(opened(tmp_path)) == [b"0", b"1", b"2", b"3"]


def test_appending_goes_on_in_the_same_file_after_something_was_put_in_front(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"b"])
    outbox.prepend([b"a"])
    outbox.append([b"c"])
    assert len(list(tmp_path.rglob("*.sqlite3"))) == 2
    assert drain(outbox) == [b"a", b"b", b"c"]


def test_two_processes_never_write_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.sinks.outbox._LOCK_PAUSE_S", 0.0)
    disk = MoodyDisk()
    disk.locked_by_others = {tmp_path.name}
    outbox = Outbox(tmp_path, disk=disk)
    with pytest.raises(OutboxUnusable, match="another process holds the directory lock"):
        outbox.open()
    assert list(tmp_path.glob("*/*.sqlite3")) == []


def test_the_bound_is_reached_exactly(tmp_path: Path) -> None:
    size = OVERHEAD + 3
    outbox = opened(tmp_path, max_bytes=2 * size)
    outbox.append([b"abc"])
    outbox.append([b"abc"])
    with pytest.raises(OutboxFull):
        outbox.append([b"a"])
    assert outbox.records == 2
    assert outbox.used_bytes == 2 * size


def test_a_write_that_failed_leaves_the_file_as_it_was_and_the_next_goes_to_another(tmp_path: Path) -> None:
    disk = MoodyDisk()
    outbox = Outbox(tmp_path, disk=disk)
    outbox.open()
    outbox.append([b"a"])
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        outbox.append([b"b"])
    with pytest.raises(OSError, match="No space"):
        outbox.append([b"b"])
    disk.full = False
    assert (outbox.records, outbox.used_bytes) == (1, OVERHEAD + 1)
    outbox.append([b"c"])
    assert len(list(tmp_path.rglob("*.sqlite3"))) == 2
    assert drain(outbox) == [b"a", b"c"]
    assert (outbox.records, outbox.used_bytes, outbox.empty) == (0, 0, True)


def test_records_that_can_not_be_read_now_stay_where_it_is(tmp_path: Path) -> None:
    disk = MoodyDisk()
    outbox = Outbox(tmp_path, disk=disk)
    outbox.open()
    outbox.append([b"a"])
    disk.unreadable = True
    with pytest.raises(OSError, match="Input/output"):
        outbox.load()
    assert (outbox.records, outbox.empty) == (1, False)
    disk.unreadable = False
    assert drain(outbox) == [b"a"]


def test_a_file_that_can_not_be_deleted_stops_nothing(tmp_path: Path) -> None:
    disk = MoodyDisk()
    outbox = Outbox(tmp_path, disk=disk)
    outbox.open()
    outbox.append([b"a"])
    disk.stuck = True
    assert drain(outbox) == [b"a"]
    assert outbox.used_bytes == 0
    outbox.close()
    assert drain(opened(tmp_path)) == [b"a"], "it is sent again under the same ids"


def test_nothing_is_found_in_an_empty_outbox(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    assert outbox.load() is None
    assert outbox.empty
    outbox.close()
    outbox.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_adopted_files_count_in_records_and_bytes(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.append([b"a", b"bb"])
    bytes_before = dead.used_bytes
    die(dead)
    outbox = opened(tmp_path)
    assert (outbox.records, outbox.used_bytes) == (2, bytes_before)
    assert drain(outbox) == [b"a", b"bb"]
    assert (outbox.records, outbox.used_bytes) == (0, 0)


def test_no_file_stays_open_when_all_is_safe(tmp_path: Path) -> None:
    disk = MoodyDisk()
    outbox = Outbox(tmp_path, disk=disk)
    outbox.open()
    for _ in range(5):
        outbox.append([b"a record"])
        assert len(disk.open_files) == 1
    outbox.prepend([b"first"])
    assert len(disk.open_files) == 2
    drain(outbox)
    assert not disk.open_files
    outbox.append([b"a record"])
    outbox.close()
    assert not disk.open_files


def test_a_directory_is_made_with_all_above_it_and_needs_no_end(tmp_path: Path) -> None:
    Outbox(tmp_path / "never opened").close()
    outbox = opened(tmp_path / "new" / "deeper")
    outbox.append([b"a"])
    assert drain(outbox) == [b"a"]


def test_what_is_appended_behind_a_dead_process_s_records_counts_for_its_own(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.append([b"a"])
    die(dead)
    outbox = opened(tmp_path)
    outbox.append([b"b"], ["kept b"])
    outbox.append([b"c", b"d"], ["kept c", "kept d"])
    found = []
    while (loaded := outbox.load()) is not None:
        portion, records = loaded
        found.append((portion.records, records, portion.extras))
    assert found == [(1, [b"a"], []), (3, [b"b", b"c", b"d"], ["kept b", "kept c", "kept d"])]
    assert outbox.records == 0


def test_what_waits_on_disk_alone_is_waiting(desk: Desk) -> None:
    assert not desk.lane.waiting
    desk.push(*(event(number) for number in range(3)))
    desk.lane.spill()
    assert desk.lane.waiting


def test_who_runs_a_leftover_stream_is_asked_again_after_a_second(tmp_path: Path) -> None:
    before = Desk(tmp_path, memory=9)
    before.push(*(event(number) for number in range(3)))
    before.lane.persist()
    desk = Desk(tmp_path)
    asked: list[str] = []

    def elsewhere(stream_ids: Collection[str]) -> Collection[str]:
        asked.extend(stream_ids)
        return ()

    desk.lane.owned_elsewhere = elsewhere
    assert desk.numbers(desk.take(1)) == ["0"]
    assert asked == ["a"]
    desk.clock.seconds += ANSWER_GOOD_FOR_S - 0.1
    assert desk.numbers(desk.take(1)) == ["1"]
    assert asked == ["a"], "the answer is still good"
    desk.clock.seconds += 0.2
    assert desk.numbers(desk.take(1)) == ["2"]
    assert asked == ["a", "a"]


def spoil(desk: Desk, number: int) -> None:
    desk.lane.spill()
    assert desk.outbox._writing is not None
    desk.outbox._writing._database.execute("UPDATE records SET body = x'00' WHERE number = ?", (number,))


def test_whose_event_the_disk_spoiled_is_told_so_that_it_is_read_again(tmp_path: Path) -> None:
    """The order that a spoiled record told of was canceled, and its consumer never heard of it while the process lived."""
    desk = Desk(tmp_path)
    told: list[Sequence[str]] = []
    desk.lane.on_spoiled = told.append
    desk.push(event(0, "a"), event(1, "b"), CANDLE, event(3, "b"))
    for number in (2, 3, 4):
        spoil(desk, number)
    assert desk.numbers(desk.take()) == ["0"]
    assert told == [["b", "b"]]


def test_a_spoiled_event_of_a_stream_that_another_process_tells_is_nobodys_business(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    told: list[Sequence[str]] = []
    desk.lane.on_spoiled = told.append
    desk.push(event(0, "a"), event(1, "b"), event(2, "b"))
    spoil(desk, 2)
    desk.lane.revoke("b")
    assert desk.numbers(desk.take()) == ["0"]
    assert told == []


def test_what_an_earlier_process_left_spoiled_is_read_from_the_position_that_it_left(tmp_path: Path) -> None:
    damaged(tmp_path, 1)
    desk = Desk(tmp_path)
    told: list[Sequence[str]] = []
    desk.lane.on_spoiled = told.append
    assert desk.numbers(desk.take()) == ["0", "2"]
    assert told == []


# --- a stream that ended while something of it waited ---


def test_what_waits_of_a_subscription_that_ended_does_not_follow_what_another_process_told_since(
    tmp_path: Path,
) -> None:
    """All bots of an account left while the broker took nothing, and one came back, to another process: an order that this
    one had told as filled was partially filled again once the former one could write."""
    desk = Desk(tmp_path)
    asked: list[Sequence[str]] = []

    def elsewhere(stream_ids: Sequence[str]) -> Collection[str]:
        asked.append(stream_ids)
        return stream_ids

    desk.lane.owned_elsewhere = elsewhere
    desk.push(event(0, "a"), event(1, "a", kind="balanceUpdate"), event(2, "b"))
    desk.lane.leave("a")
    desk.push(event(3, "a"))
    assert desk.numbers(desk.take()) == ["1", "2", "3"]
    assert asked == [["a"]]
    assert desk.lane.progress.pending == 3


def test_what_waits_of_a_subscription_that_ended_and_that_nobody_else_has_is_sent(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.lane.owned_elsewhere = lambda _: ()
    desk.push(event(0, "a"), event(1, "a"))
    desk.lane.leave("a")
    assert desk.numbers(desk.take()) == ["0", "1"]


def test_what_waits_of_a_subscription_that_ended_waits_until_it_is_known_who_runs_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.lane.owned_elsewhere = lambda _: None
    desk.push(event(0, "a"))
    desk.lane.leave("a")
    assert desk.take() == []
    assert desk.lane.held_back
    desk.lane.owned_elsewhere = lambda _: ()
    assert desk.numbers(desk.take()) == ["0"]


@pytest.mark.parametrize("unconfirmed", [True, False])
def test_the_lane_hears_of_an_end_with_something_unconfirmed(unconfirmed: bool) -> None:
    intake = Intake(memory_messages=10, ticker_rows=10, outbox=None, name="rabbitmq", clock=Clock(), chance=Chance(1))
    intake.submit([event(0, "a"), StreamClosed(stream_id="a", unconfirmed=unconfirmed)])
    intake.lane.owned_elsewhere = lambda stream_ids: stream_ids
    assert (intake.lane.next() is None) is unconfirmed
