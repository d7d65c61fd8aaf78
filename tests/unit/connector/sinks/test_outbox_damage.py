"""What a damaged disk leaves is sent, what can't be read is counted and kept aside, and a reboot finds what waited."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.core.metrics import METRICS
from connector.sinks._disk import RealDisk
from connector.sinks._stores import DatabaseStore
from tests.unit.connector.sinks.played import Rabbit, event
from tests.unit.connector.sinks.test_outbox import die, drain, opened

RECORDS = [b"record %d" % number * 30 for number in range(3_000)]


def aside_counted() -> float:
    return METRICS.value("outbox_damaged_files_total")


def left_behind(directory: Path, spoil: Callable[[Path], object]) -> Path:
    dead = opened(directory)
    dead.append(RECORDS)
    die(dead)
    (path,) = directory.rglob("*.sqlite3")
    spoil(path)
    return path


def byte_of_a_record(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(RECORDS[1_500]) + 3] ^= 0x20
    path.write_bytes(data)


def page(path: Path) -> None:
    """A page in the middle, with some records, makes no sense any more."""
    data = bytearray(path.read_bytes())
    at = data.index(RECORDS[1_500]) // 4096 * 4096
    data[at : at + 4096] = bytes(range(256)) * 16
    path.write_bytes(data)


def test_a_flipped_bit_costs_its_record_and_none_behind_it(tmp_path: Path) -> None:
    left_behind(tmp_path, byte_of_a_record)
    before = aside_counted()
    outbox = opened(tmp_path)
    assert outbox.records == len(RECORDS)
    assert drain(outbox) == [*RECORDS[:1_500], *RECORDS[1_501:]]
    (aside,) = tmp_path.glob("*.damaged")
    assert aside_counted() == before + 1
    with sqlite3.connect(aside) as kept:
        ((number, body),) = kept.execute("SELECT number, body FROM records").fetchall()
    assert (number, len(body)) == (1_501, len(RECORDS[1_500])), "what could not be read, and nothing else"
    outbox.close()
    assert list(tmp_path.rglob("*.sqlite3")) == []


def test_a_page_that_makes_no_sense_costs_its_records_and_no_others(tmp_path: Path) -> None:
    left_behind(tmp_path, page)
    before = aside_counted()
    outbox = opened(tmp_path)
    sent = drain(outbox)
    lost = len(RECORDS) - len(sent)
    assert 1 <= lost <= 40
    assert sent == [record for record in RECORDS if record in set(sent)]
    assert RECORDS[0] in sent
    assert RECORDS[-1] in sent
    assert aside_counted() == before + 1
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    assert outbox.empty


def newer_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")


def something_else(path: Path) -> None:
    path.write_bytes(b"nothing that we know" * 1_000)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("spoil", [newer_version, something_else, cut_off])
def test_a_file_of_another_version_is_kept_aside_and_told(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoiled = left_behind(tmp_path, spoil).read_bytes()
    before = aside_counted()
    outbox = opened(tmp_path)
    assert outbox.empty
    assert aside_counted() == before + 1
    (aside,) = tmp_path.glob("*.damaged")
    assert len(aside.read_bytes()) == len(spoiled)
    outbox.append([b"new"])
    assert drain(outbox) == [b"new"]


def test_a_file_that_breaks_while_it_is_written_is_left_and_the_next_begun(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.append([b"one"])
    assert outbox._writing is not None
    outbox._writing._database.execute("DROP TABLE records")
    with pytest.raises(OSError, match="Input/output"):
        outbox.append([b"two"])
    outbox.append([b"two"])
    assert len(list(tmp_path.glob("*/*.sqlite3"))) == 2


def test_an_upgrade_of_a_process_with_a_damaged_event_counts_it_and_sends_the_others(tmp_path: Path) -> None:
    before = Rabbit(outbox_dir=tmp_path)
    before.broker.up = False
    before.sink.submit([event(number) for number in range(10)])
    before.play(3.0)
    before.end(before.sink.ending(10.0), 20.0)
    (path,) = tmp_path.rglob("*.sqlite3")
    with sqlite3.connect(path) as database:
        ((body,),) = database.execute("SELECT body FROM records WHERE number = 1").fetchall()
        database.execute("UPDATE records SET body = ? WHERE number = 1", (bytes([body[0] ^ 0x20]) + body[1:],))
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
    assert list(tmp_path.rglob("*.sqlite3")) == []
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
    assert list(tmp_path.rglob("*.sqlite3")) == []


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


def test_what_stands_where_the_outbox_wants_to_write_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """The lane tries again after such an error, and keeps in memory what it has; any other exception ends its thread."""
    outbox = opened(tmp_path)
    outbox.append([b"one"])
    (written,) = tmp_path.rglob("*.sqlite3")
    number = int(written.stem)
    outbox._seal()
    (written.parent / f"{number + 1:020d}.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match="damaged"):
        outbox.append([b"two"])
    assert drain(outbox) == [b"one"]


def test_a_file_to_which_nothing_could_be_written_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = opened(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(DatabaseStore, "append", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                outbox.append([b"one"])
    assert not list(tmp_path.rglob("*.sqlite3"))
    outbox.append([b"one"])
    assert drain(outbox) == [b"one"]


def test_the_names_of_what_a_dead_process_left_are_on_disk_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut they stood in a folder that nobody knew."""
    synced: list[Path] = []
    left_behind(tmp_path, lambda _path: None)
    monkeypatch.setattr(RealDisk, "sync", lambda _disk, folder: synced.append(folder))
    outbox = opened(tmp_path)
    assert outbox.records == len(RECORDS)
    assert synced == [path.parent for path in tmp_path.rglob("*.sqlite3")]
