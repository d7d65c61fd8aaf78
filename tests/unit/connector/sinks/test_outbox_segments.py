"""Segments of versions before SQLite: adopted at the start, sent first, gone when they are safe; damage is stepped over."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.metrics import METRICS
from connector.sinks._amqp_messages import Outgoing, stored
from connector.sinks._segments import MAGIC, MAX_RECORD, decode, newer, read
from tests.unit.connector.sinks.played import Rabbit, event
from tests.unit.connector.sinks.test_outbox import die, drain, opened

RECORDS = st.lists(st.binary(min_size=1, max_size=60), max_size=12)
THOUSAND = [b"record %d" % number * 3 for number in range(1_000)]


def encode(records: Sequence[bytes]) -> bytes:
    """Records as they stand in a segment, without `MAGIC`."""
    return b"".join([struct.pack(">II", len(record), zlib.crc32(record)) + record for record in records])


def segment(directory: Path, number: int, data: bytes, process: str = "4711-abc") -> None:
    (directory / process).mkdir(exist_ok=True)
    (directory / process / f"{number:020d}.segment").write_bytes(data)


def aside_counted() -> float:
    return METRICS.value("outbox_damaged_files_total")


def flipped(at: int, bit: int = 0x20) -> Any:
    def spoil(data: bytes) -> bytes:
        spoiled = bytearray(data)
        spoiled[at] ^= bit
        return bytes(spoiled)

    return spoil


def left_behind(directory: Path, spoil: Any) -> None:
    segment(directory, 10**9, spoil(MAGIC + encode(THOUSAND)))


def test_an_upgrade_sends_what_the_version_before_left_first_and_in_order(tmp_path: Path) -> None:
    rows = [stored(Outgoing(event(number), f"e{number}", 0.0)) for number in range(4)]
    segment(tmp_path, 10**9, MAGIC + encode(rows[1:3]))
    segment(tmp_path, 10**9 - 1, MAGIC + encode(rows[:1]))
    segment(tmp_path, 10**9 + 1, MAGIC + encode(rows[3:]))
    rabbit = Rabbit(outbox_dir=tmp_path)
    rabbit.sink.submit([event(4)])
    rabbit.play(1.0)
    assert rabbit.sent == ["e0", "e1", "e2", "e3", "e4"]
    rabbit.channel.confirm(5, multiple=True)
    assert rabbit.sink.status().queued == 0
    assert list(tmp_path.rglob("*.segment")) == []


def test_segments_that_were_not_sent_yet_are_adopted_by_the_next_process_too(tmp_path: Path) -> None:
    left_behind(tmp_path, lambda data: data)
    first = opened(tmp_path)
    first.append([b"new"])
    first.prepend([b"older still"])
    die(first)
    assert drain(opened(tmp_path)) == [b"older still", *THOUSAND, b"new"]


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


def test_a_length_that_no_record_has_is_damage() -> None:
    good = MAGIC + encode([b"a"])
    for length in (0, MAX_RECORD + 1):
        data = good + length.to_bytes(4, "big") + bytes(4) + bytes(16)
        assert decode(data) == ([b"a"], len(good))
    assert decode(b"something else") == ([], 0)
    assert decode(MAGIC) == ([], len(MAGIC))
    empty = MAGIC + encode([b"", b"a"])
    assert decode(empty) == ([], len(MAGIC)), "eight zero bytes are what a power cut leaves"


def test_versions_are_told_from_damage() -> None:
    assert newer(b"WSCOUT2\nrest")
    assert newer(b"WSCOUT9\n")
    assert not newer(MAGIC)
    assert not newer(b"WSCOUT\x11\n")
    assert not newer(b"XSCOUT1\n")
    assert read(MAGIC) == ([], 0)
    assert read(b"") == ([], 0)
    assert read(MAGIC + bytes(100)) == ([], 0), "zeros are what a power cut leaves"


@pytest.mark.parametrize("at", [len(MAGIC) + 20, len(MAGIC) + 3, len(MAGIC) + 5, len(MAGIC) + 1])
def test_a_flipped_bit_costs_its_record_and_none_behind_it(tmp_path: Path, at: int) -> None:
    """In the payload, the length and the checksum."""
    left_behind(tmp_path, flipped(at))
    before = aside_counted()
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    segment, records = loaded
    assert records == [None, *THOUSAND[1:]]
    outbox.discard(segment)
    (aside,) = tmp_path.glob("*.damaged")
    assert flipped(at)(aside.read_bytes()) == MAGIC + encode(THOUSAND)
    assert aside_counted() == before + 1
    outbox.close()
    assert list(tmp_path.rglob("*.segment")) == []


def test_a_damaged_head_of_the_file_costs_no_record_that_passes_its_checksum(tmp_path: Path) -> None:
    left_behind(tmp_path, flipped(2))
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    assert [record for record in loaded[1] if record is not None] == THOUSAND


@pytest.mark.parametrize(
    "spoil", [lambda data: b"WSCOUT2\n" + data[len(MAGIC) :], lambda _: b"nothing that we know"], ids=["newer", "other"]
)
def test_a_file_of_another_version_is_kept_aside_and_told(tmp_path: Path, spoil: Any) -> None:
    left_behind(tmp_path, spoil)
    before = aside_counted()
    outbox = opened(tmp_path)
    assert outbox.empty
    assert aside_counted() == before + 1
    (aside,) = tmp_path.glob("*.damaged")
    assert aside.read_bytes() == spoil(MAGIC + encode(THOUSAND))
    outbox.append([b"new"])
    assert drain(outbox) == [b"new"]


def test_the_record_that_was_being_written_is_no_damage(tmp_path: Path) -> None:
    left_behind(tmp_path, lambda data: data[:-5])
    before = aside_counted()
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    assert loaded[1] == THOUSAND[:-1]
    outbox.discard(loaded[0])
    assert aside_counted() == before
    assert list(tmp_path.glob("*.damaged")) == []
