"""Records on disk: in order, all or nothing, and there when the power went."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.sinks._stores import AT_ONCE, OVERHEAD
from connector.sinks.outbox import Outbox, OutboxFull, OutboxUnusable


def drain(outbox: Outbox) -> list[bytes]:
    records: list[bytes] = []
    while (loaded := outbox.load()) is not None:
        portion, part = loaded
        records += [record for record in part if record is not None]
        outbox.discard(portion)
    return records


def opened(directory: Path, **options: int) -> Outbox:
    outbox = Outbox(directory, **options)
    outbox.open()
    return outbox


def die(outbox: Outbox) -> None:
    """End like a killed process: the lock and its files are let go, nothing is tidied up."""
    for store in outbox._stores:
        store.close()
    assert outbox._lock is not None
    outbox._lock()
    outbox._lock = None


def test_records_come_back_in_order_over_many_portions_and_leave_nothing(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    records = [b"record %04d" % number for number in range(2 * AT_ONCE + 100)]
    for start in range(0, len(records), 700):
        outbox.append(records[start : start + 700])
    assert outbox.records == len(records)
    assert drain(outbox) == records
    assert outbox.records == outbox.used_bytes == 0
    outbox.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_extras_belong_to_their_records(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"a", b"b"], ["A", "B"])
    loaded = outbox.load()
    assert loaded is not None
    assert loaded[1] == [b"a", b"b"]
    assert loaded[0].extras == ["A", "B"]


def test_what_is_appended_while_the_rest_is_on_its_way_comes_behind_it(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"a"])
    loaded = outbox.load()
    assert loaded is not None
    outbox.append([b"b"])
    assert drain(outbox) == [b"b"]


def test_prepended_records_come_first(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"b"])
    outbox.prepend([b"a"])
    outbox.append([b"c"])
    assert drain(outbox) == [b"a", b"b", b"c"]


def test_a_dead_process_s_records_come_first_and_in_order(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    for record in (b"one", b"two", b"three"):
        dead.append([record])
    die(dead)
    outbox = Outbox(tmp_path)
    assert outbox.open() == 3
    outbox.append([b"four"])
    assert drain(outbox) == [b"one", b"two", b"three", b"four"]


def test_loaded_but_undeleted_records_survive_the_process(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.append([b"one"])
    assert dead.load() is not None
    die(dead)
    assert drain(opened(tmp_path)) == [b"one"]


def test_a_living_process_keeps_its_records(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.append([b"mine"])
    second = Outbox(tmp_path)
    assert second.open() == 0
    assert drain(first) == [b"mine"]


def test_records_of_several_dead_processes_are_all_adopted(tmp_path: Path) -> None:
    processes = [opened(tmp_path) for _ in range(3)]
    for index, process in enumerate(processes):
        process.append([b"%d-a" % index])
        process.append([b"%d-b" % index])
    for process in processes:
        die(process)
    records = drain(opened(tmp_path))
    assert sorted(records) == [b"0-a", b"0-b", b"1-a", b"1-b", b"2-a", b"2-b"]
    for index in range(3):
        assert records.index(b"%d-a" % index) < records.index(b"%d-b" % index)


def test_a_batch_that_was_being_written_is_not_there_and_costs_nothing_before_it(tmp_path: Path) -> None:
    """The power goes in the middle of a transaction: the log ends within it."""
    dead = opened(tmp_path)
    dead.append([b"one", b"two"])
    (log,) = tmp_path.glob("*/*.sqlite3-wal")
    whole = log.stat().st_size
    dead.append([b"three", b"four"])
    torn = log.read_bytes()[: whole + (log.stat().st_size - whole) // 2]
    (database,) = tmp_path.glob("*/*.sqlite3")
    content = database.read_bytes()
    die(dead)
    database.write_bytes(content)
    log.write_bytes(torn)
    outbox = Outbox(tmp_path)
    assert outbox.open() == 2
    assert drain(outbox) == [b"one", b"two"]


def test_what_was_appended_is_synced(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"one"])
    assert outbox._writing is not None
    database = outbox._writing._database
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.append([b"two"])
    loaded = outbox.load()
    assert loaded is not None
    outbox.append([b"three"])
    outbox.discard(loaded[0])
    assert database.execute("PRAGMA synchronous").fetchone() == (2,), "again, after a deletion that need not be"


def test_records_are_for_this_user_only(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"one"])
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("*/*.sqlite3*")} == {0}


def test_the_byte_bound_refuses_all_or_nothing(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=3 * OVERHEAD + 60)
    outbox.append([b"x" * 40])
    with pytest.raises(OutboxFull):
        outbox.append([b"y" * 30, b"z" * 30])
    assert drain(outbox) == [b"x" * 40]
    outbox.append([b"y" * 30])
    assert drain(outbox) == [b"y" * 30]


def test_a_full_disk_in_the_middle_of_a_write_leaves_the_earlier_records(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"one"])
    assert outbox._writing is not None
    (pages,) = outbox._writing._database.execute("PRAGMA page_count").fetchone()
    outbox._writing._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="No space"):
        outbox.append([b"two" * 10_000])
    outbox.append([b"two"])
    assert outbox.records == 2
    assert drain(outbox) == [b"one", b"two"]


def test_a_directory_that_can_t_be_used_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    with pytest.raises(OutboxUnusable):
        Outbox(file).open()
