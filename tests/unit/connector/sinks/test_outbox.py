"""Records on disk: in order, all or nothing, and readable up to wherever the power went."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.sinks.outbox import MAGIC, Outbox, OutboxFull, OutboxUnusable, decode, encode

RECORDS = st.lists(st.binary(min_size=1, max_size=60), max_size=12)


def drain(outbox: Outbox) -> list[bytes]:
    records: list[bytes] = []
    while (loaded := outbox.load()) is not None:
        segment, part = loaded
        records += part
        outbox.discard(segment)
    return records


def opened(directory: Path, **options: int) -> Outbox:
    outbox = Outbox(directory, **options)
    outbox.open()
    return outbox


def die(outbox: Outbox) -> None:
    """End like a killed process: the lock goes, nothing is tidied up."""
    assert outbox._lock is not None
    outbox._lock()
    outbox._lock = None


@given(RECORDS, st.data())
def test_a_file_cut_at_any_byte_gives_back_the_records_that_were_complete(
    records: list[bytes], data: st.DataObject
) -> None:
    whole = MAGIC + encode(records)
    cut = data.draw(st.integers(0, len(whole)))
    got, good = decode(whole[:cut])
    assert got == records[: len(got)]
    assert good <= cut
    complete = 0
    position = len(MAGIC)
    while complete < len(records) and position + 8 + len(records[complete]) <= cut:
        position += 8 + len(records[complete])
        complete += 1
    assert len(got) == complete


@given(RECORDS, st.binary(max_size=40))
def test_garbage_or_zeros_behind_the_end_are_not_records(records: list[bytes], garbage: bytes) -> None:
    whole = MAGIC + encode(records)
    got, _ = decode(whole + b"\x00" * len(garbage))
    assert got == records
    got, _ = decode(whole + garbage)
    assert got[: len(records)] == records


@given(RECORDS.filter(bool), st.data())
def test_a_flipped_bit_never_yields_a_wrong_record_and_spares_those_before(
    records: list[bytes], data: st.DataObject
) -> None:
    whole = bytearray(MAGIC + encode(records))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    got, _ = decode(bytes(whole))
    assert got == records[: len(got)]
    before = 0
    end = len(MAGIC)
    for record in records:
        end += 8 + len(record)
        if end > position:
            break
        before += 1
    assert len(got) >= (before if position >= len(MAGIC) else 0)


def test_records_come_back_in_order_over_many_segments_and_leave_nothing(tmp_path: Path) -> None:
    outbox = opened(tmp_path, segment_bytes=200)
    records = [b"record %03d" % number for number in range(100)]
    for start in range(0, 100, 7):
        outbox.append(records[start : start + 7])
    assert outbox.records == 100
    assert drain(outbox) == records
    assert outbox.records == outbox.bytes == 0
    outbox.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_extras_belong_to_their_records(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"a", b"b"], ["A", "B"])
    loaded = outbox.load()
    assert loaded is not None
    assert loaded[1] == [b"a", b"b"]
    assert loaded[0].extras == ["A", "B"]


def test_appending_while_the_only_segment_is_being_read_starts_a_new_one(tmp_path: Path) -> None:
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
    dead = opened(tmp_path, segment_bytes=20)
    for record in (b"one", b"two", b"three"):
        dead.append([record])
    die(dead)
    outbox = Outbox(tmp_path)
    assert outbox.open() == 3
    outbox.append([b"four"])
    assert drain(outbox) == [b"one", b"two", b"three", b"four"]


def test_loaded_but_undeleted_segments_survive_the_process(tmp_path: Path) -> None:
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


def test_a_torn_tail_costs_only_the_torn_record(tmp_path: Path) -> None:
    dead = opened(tmp_path)
    dead.append([b"one", b"two"])
    die(dead)
    (path,) = tmp_path.glob("*/*.segment")
    path.write_bytes(path.read_bytes()[:-1])
    outbox = Outbox(tmp_path)
    assert outbox.open() == 1
    assert drain(outbox) == [b"one"]


def test_the_byte_bound_refuses_all_or_nothing(tmp_path: Path) -> None:
    outbox = opened(tmp_path, max_bytes=100)
    outbox.append([b"x" * 40])
    with pytest.raises(OutboxFull):
        outbox.append([b"y" * 30, b"z" * 30])
    assert drain(outbox) == [b"x" * 40]
    outbox.append([b"y" * 30])
    assert drain(outbox) == [b"y" * 30]


def test_a_full_disk_in_the_middle_of_a_write_leaves_the_earlier_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"one"])

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            outbox.append([b"two"])
    outbox.append([b"two"])
    assert outbox.records == 2
    assert drain(outbox) == [b"one", b"two"]


def test_a_directory_that_can_t_be_used_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a directory")
    with pytest.raises(OutboxUnusable):
        Outbox(file).open()
