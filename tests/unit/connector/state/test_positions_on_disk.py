"""Positions outlive the process, the host and its Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.core.metrics import METRICS
from connector.core.ports import KeptPosition
from connector.state.positions_on_disk import BATCH, KEEP_MS, LOOK_AGAIN_S, PositionsOnDisk
from tests.clocks import Standing


@pytest.fixture
def clock() -> Standing:
    return Standing()


@pytest.fixture
def positions(tmp_path: Path, clock: Standing) -> Iterator[PositionsOnDisk]:
    kept = PositionsOnDisk(tmp_path, clock)
    kept.open()
    yield kept
    kept.close()


def test_a_position_is_found_after_a_reboot_that_took_redis_with_it(tmp_path: Path, clock: Standing) -> None:
    before = PositionsOnDisk(tmp_path / "new" / "outbox", clock)
    before.open()
    now = clock.wall_ms()
    assert before.save({"a": KeptPosition(b"1", now), "b": KeptPosition(b"2", now)})
    # Not closed: the machine went down.
    after = PositionsOnDisk(tmp_path / "new" / "outbox", clock)
    after.open()
    assert after.load(["a", "b", "unknown"]) == {"a": KeptPosition(b"1", now), "b": KeptPosition(b"2", now)}
    assert (tmp_path / "new" / "outbox" / "positions.sqlite3").stat().st_mode & 0o077 == 0


def test_a_process_that_lost_its_stream_does_not_turn_the_position_of_the_next_owner_back(
    tmp_path: Path, positions: PositionsOnDisk, clock: Standing
) -> None:
    other = PositionsOnDisk(tmp_path, clock)
    other.open()
    assert other.save({"a": KeptPosition(b"new", 200)})
    assert positions.save({"a": KeptPosition(b"old", 100)})
    assert positions.load(["a"]) == {"a": KeptPosition(b"new", 200)}
    assert positions.save({"a": KeptPosition(b"newest", 200)})
    assert other.load(["a"]) == {"a": KeptPosition(b"newest", 200)}


def test_a_stream_that_was_closed_leaves_nothing(positions: PositionsOnDisk) -> None:
    positions.save({"a": KeptPosition(b"1", 1), "b": KeptPosition(b"2", 1)})
    assert positions.forget(["a"])
    assert positions.load(["a", "b"]).keys() == {"b"}


def test_old_positions_are_forgotten_at_a_start(tmp_path: Path, positions: PositionsOnDisk, clock: Standing) -> None:
    now = clock.wall_ms()
    positions.save({"old": KeptPosition(b"1", now - KEEP_MS - 1)})
    positions.save({"new": KeptPosition(b"2", now - KEEP_MS)})
    after = PositionsOnDisk(tmp_path, clock)
    after.open()
    assert after.load(["old", "new"]).keys() == {"new"}


def test_thousands_are_asked_for_at_once(positions: PositionsOnDisk) -> None:
    streams = [f"s{number}" for number in range(2 * BATCH + 1)]
    positions.save(dict.fromkeys(streams, KeptPosition(b"p", 1)))
    assert len(positions.load(streams)) == len(streams)


def damaged(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_000)


def newer(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize("spoil", [damaged, newer])
def test_a_file_that_can_not_be_used_is_kept_aside_and_told(tmp_path: Path, clock: Standing, spoil: object) -> None:
    path = tmp_path / "positions.sqlite3"
    assert callable(spoil)
    spoil(path)
    spoiled = path.read_bytes()
    before = METRICS.value("outbox_damaged_files_total")
    positions = PositionsOnDisk(tmp_path, clock)
    positions.open()
    assert positions.save({"a": KeptPosition(b"1", 1)})
    assert positions.load(["a"]) == {"a": KeptPosition(b"1", 1)}
    (aside,) = tmp_path.glob("*.damaged")
    assert aside.read_bytes() == spoiled
    assert METRICS.value("outbox_damaged_files_total") == before + 1
    assert positions.trouble == ""


def test_a_directory_that_can_not_be_used_costs_the_copies_and_not_the_process(tmp_path: Path, clock: Standing) -> None:
    (tmp_path / "file").write_text("")
    before = METRICS.value("positions_unkept_total")
    positions = PositionsOnDisk(tmp_path / "file", clock)
    positions.open()
    assert positions.trouble
    assert not positions.save({"a": KeptPosition(b"1", 1)})
    assert METRICS.value("positions_unkept_total") == before + 1
    assert positions.load(["a"]) == {}
    positions.close()


def test_a_disk_that_comes_back_is_used_again(
    tmp_path: Path, clock: Standing, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    positions = PositionsOnDisk(tmp_path / "file", clock)
    positions.open()
    (tmp_path / "file").unlink()
    for _ in range(3):
        clock.now += LOOK_AGAIN_S / 2 - 1
        positions.save({"a": KeptPosition(b"1", 1)})
    assert positions.load(["a"]) == {"a": KeptPosition(b"1", 1)}
    assert positions.trouble == ""
    assert len(caplog.records) == 1, "said once"
    positions.close()


def test_a_file_that_is_damaged_while_it_is_used_is_kept_aside(
    tmp_path: Path, positions: PositionsOnDisk, clock: Standing
) -> None:
    """Somebody wrote over it: the next save finds out, and the look after that begins anew."""
    streams = [f"s{number}" for number in range(2_000)]  # more than SQLite keeps in memory
    positions.save(dict.fromkeys(streams, KeptPosition(b"p" * 3_000, 1)))
    positions.close()
    positions.open()
    with (tmp_path / "positions.sqlite3").open("r+b") as file:
        file.write(b"\xff" * 6_000_000)
    positions.load(streams)
    assert positions.trouble
    clock.now += LOOK_AGAIN_S
    assert positions.save({"a": KeptPosition(b"1", 1)})
    assert positions.load(["a"]) == {"a": KeptPosition(b"1", 1)}
    assert list(tmp_path.glob("*.damaged"))


def test_another_process_that_writes_for_long_costs_one_save(
    tmp_path: Path, positions: PositionsOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.state.positions_on_disk.BUSY_S", 0.01)
    impatient = PositionsOnDisk(tmp_path, Standing())
    impatient.open()
    writer = sqlite3.connect(tmp_path / "positions.sqlite3", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert not impatient.save({"a": KeptPosition(b"1", 1)})
    assert "locked" in impatient.trouble
    writer.execute("ROLLBACK")
    writer.close()
    assert impatient.save({"a": KeptPosition(b"1", 1)})
    assert impatient.trouble == ""
