"""What a damaged disk leaves is sent, what can't be read is counted and kept aside, and a reboot finds what waited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connector.core.metrics import METRICS
from connector.sinks.outbox import MAGIC, encode, newer, read
from tests.unit.connector.sinks.played import Rabbit, event
from tests.unit.connector.sinks.test_outbox import die, drain, opened

RECORDS = [b"record %d" % number * 3 for number in range(1_000)]


def aside_counted() -> float:
    return METRICS.value("outbox_damaged_files_total")


def left_behind(directory: Path, spoil: Any) -> None:
    dead = opened(directory)
    dead.append(RECORDS)
    die(dead)
    (path,) = directory.rglob("*.segment")
    path.write_bytes(spoil(path.read_bytes()))


def flipped(at: int, bit: int = 0x20) -> Any:
    def spoil(data: bytes) -> bytes:
        spoiled = bytearray(data)
        spoiled[at] ^= bit
        return bytes(spoiled)

    return spoil


@pytest.mark.parametrize("at", [len(MAGIC) + 20, len(MAGIC) + 3, len(MAGIC) + 5, len(MAGIC) + 1])
def test_a_flipped_bit_costs_its_record_and_none_behind_it(tmp_path: Path, at: int) -> None:
    """In the payload, the length and the checksum."""
    left_behind(tmp_path, flipped(at))
    before = aside_counted()
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    segment, records = loaded
    assert records == [None, *RECORDS[1:]]
    outbox.discard(segment)
    (aside,) = tmp_path.glob("*.damaged")
    assert flipped(at)(aside.read_bytes()) == MAGIC + encode(RECORDS)
    assert aside_counted() == before + 1
    outbox.close()
    assert list(tmp_path.rglob("*.segment")) == []


def test_a_damaged_head_of_the_file_costs_no_record_that_passes_its_checksum(tmp_path: Path) -> None:
    left_behind(tmp_path, flipped(2))
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    assert [record for record in loaded[1] if record is not None] == RECORDS


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
    assert aside.read_bytes() == spoil(MAGIC + encode(RECORDS))
    outbox.append([b"new"])
    assert drain(outbox) == [b"new"]


def test_the_record_that_was_being_written_is_no_damage(tmp_path: Path) -> None:
    left_behind(tmp_path, lambda data: data[:-5])
    before = aside_counted()
    outbox = opened(tmp_path)
    loaded = outbox.load()
    assert loaded is not None
    assert loaded[1] == RECORDS[:-1]
    outbox.discard(loaded[0])
    assert aside_counted() == before
    assert list(tmp_path.glob("*.damaged")) == []


def test_versions_are_told_from_damage() -> None:
    assert newer(b"WSCOUT2\nrest")
    assert newer(b"WSCOUT9\n")
    assert not newer(MAGIC)
    assert not newer(b"WSCOUT\x11\n")
    assert not newer(b"XSCOUT1\n")
    assert read(MAGIC) == ([], 0)
    assert read(b"") == ([], 0)
    assert read(MAGIC + bytes(100)) == ([], 0), "zeros are what a power cut leaves"


def test_an_upgrade_of_a_process_with_a_damaged_event_counts_it_and_sends_the_others(tmp_path: Path) -> None:
    before = Rabbit(outbox_dir=tmp_path)
    before.broker.up = False
    before.sink.submit([event(number) for number in range(10)])
    before.play(3.0)
    before.end(before.sink.ending(10.0), 20.0)
    (path,) = tmp_path.rglob("*.segment")
    path.write_bytes(flipped(len(MAGIC) + 20)(path.read_bytes()))
    after = Rabbit(seed=2, outbox_dir=tmp_path)
    after.play(1.0)
    assert after.sent == [f"e{number}" for number in range(1, 10)]
    assert after.sink.status().lost_account_events == 1
    after.channel.confirm(9, multiple=True)
    assert after.sink.status().queued == 0
    assert len(list(tmp_path.glob("*.damaged"))) == 1


# --- a reboot ---


def reboot(rabbit: Rabbit) -> None:
    """The machine stops: nothing more is written, and its locks are gone."""
    outbox = rabbit.sink._intake.lane._outbox
    assert outbox is not None
    die(outbox)


def test_what_waits_is_on_disk_within_a_second_of_an_outage(tmp_path: Path) -> None:
    """A reboot in an outage lost up to 20,000 events that waited in memory only."""
    rabbit = Rabbit(outbox_dir=tmp_path)
    rabbit.sink.submit([event(1), event(2)])
    rabbit.play(0.5)
    assert rabbit.sent == ["e1", "e2"]
    assert list(tmp_path.rglob("*.segment")) == []
    rabbit.broker.up = False
    rabbit.broker.link.lose()
    rabbit.sink.submit([event(3)])
    rabbit.play(1.0)
    rabbit.sink.submit([event(4)])
    rabbit.play(1.0)
    reboot(rabbit)
    after = Rabbit(seed=2, outbox_dir=tmp_path)
    after.play(1.0)
    assert after.sent == ["e1", "e2", "e3", "e4"]


def test_a_broker_that_comes_back_gets_what_went_to_disk_in_order_and_once(tmp_path: Path) -> None:
    first = Rabbit(outbox_dir=tmp_path)
    first.broker.up = False
    first.sink.submit([event(0)])
    first.play(3.0)
    reboot(first)
    rabbit = Rabbit(seed=2, outbox_dir=tmp_path)
    rabbit.sink.submit([event(1), event(2)])
    rabbit.play(0.5)
    rabbit.broker.up = False
    rabbit.broker.link.lose()
    rabbit.sink.submit([event(3)])
    rabbit.play(5.0)
    status = rabbit.sink.status()
    assert (status.queued, status.lost_account_events) == (4, 0)
    rabbit.broker.published.clear()
    rabbit.broker.up = True
    rabbit.sink.submit([event(4)])
    rabbit.play(5.0)
    assert rabbit.sent == ["e0", "e1", "e2", "e3", "e4"]
    rabbit.channel.confirm(5, multiple=True)
    assert rabbit.confirmed == ["e0", "e1", "e2", "e3", "e4"]
    assert rabbit.sink.status().queued == 0
    assert rabbit.sink._intake.lane.leftovers == 0
    assert list(tmp_path.rglob("*.segment")) == []


def test_an_alarm_of_the_broker_puts_on_disk_what_was_not_sent_yet(tmp_path: Path) -> None:
    rabbit = Rabbit(outbox_dir=tmp_path)
    rabbit.sink.submit([event(1)])
    rabbit.play(0.5)
    rabbit.broker.link.block(True)
    rabbit.sink.submit([event(2)])
    rabbit.play(1.0)
    rabbit.channel.confirm(1)
    rabbit.broker.link.block(False)
    rabbit.play(1.0)
    assert rabbit.sent == ["e1", "e2"]
    rabbit.channel.confirm(2)
    assert rabbit.sink.status().queued == 0
