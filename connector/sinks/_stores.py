"""Files of the outbox: a SQLite database of records that are read once, in order, and deleted when they are safe elsewhere.

Every record has a checksum: SQLite finds pages that make no sense, not bytes of a record that changed. A record that can't
be read is stepped over; a file with one is kept aside in the end, with just what could not be read still in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from connector.core.log import get_logger
from connector.sinks._disk import Disk
from connector.sinks._segments import MAGIC, newer, read

log = get_logger(__name__)

VERSION: Final = 1
OVERHEAD: Final = 32
"""What a record takes beside its own bytes, for the bound."""
AT_ONCE: Final = 1_000
"""Records of one `load`."""


class UnusableFile(Exception):
    """Nothing of this file can be used; the text says why."""


class Portion:
    """Records that were loaded together. `extras[i]` belongs to record i and lives in memory only; empty for those of a dead
    process."""

    __slots__ = ("bad", "extras", "left", "numbers", "records", "size", "store")

    def __init__(self, store: Store, numbers: Sequence[int], extras: list[object], size: int) -> None:
        self.store, self.numbers, self.extras, self.size = store, numbers, extras, size
        self.records = len(numbers)
        self.bad: set[int] = set()
        """Indexes of records that can't be read: they stay in the file, which is kept aside."""
        self.left = 0
        """Records that are not safe yet; the reader counts down."""


Loaded = tuple[Portion, list[bytes | None]]
"""None for a record that can't be read."""


class Store:
    """A file with records. `records` are those that were not loaded yet, `bytes` of all that are not safe yet."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self.path = path
        self.records = self.bytes = 0
        self.damaged = False
        """Something in it could not be read: it is kept aside and not deleted."""
        self._disk = disk
        self._out = 0

    @property
    def done(self) -> bool:
        """Nothing is left in it but what can't be read."""
        return not self.records and not self._out

    def load(self) -> Loaded | None:
        """The oldest records that were not loaded yet. Raises `OSError`; they are still there then."""
        raise NotImplementedError

    def discard(self, portion: Portion) -> None:
        """These are safe. Raises `OSError`; they may come again after a restart then."""
        self._out -= portion.records
        self.bytes -= portion.size
        if portion.bad:
            self.damaged = True

    def close(self) -> None:
        """Let the file go; what is in it stays."""

    def _take(self, numbers: Sequence[int], extras: list[object], rows: Sequence[bytes | None]) -> Loaded:
        size = sum(OVERHEAD + len(row or b"") for row in rows)
        portion = Portion(self, numbers, extras, size)
        portion.bad = {index for index, row in enumerate(rows) if row is None}
        self._out += portion.records
        self.records = max(0, self.records - portion.records)
        return portion, list(rows)


class SegmentStore(Store):
    """A segment of an earlier version."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """Raises `OSError`, and `UnusableFile` if nothing in it is a record that this version can read."""
        super().__init__(disk, path)
        data = disk.read(path)
        if newer(data):
            raise UnusableFile("of another version")
        records, _ = read(data)
        if not records and not MAGIC.startswith(data[: len(MAGIC)]):
            raise UnusableFile("damaged")
        self.records, self.bytes = len(records), sum(OVERHEAD + len(record or b"") for record in records)

    def load(self) -> Loaded | None:
        if not self.records:
            return None
        records, rest = read(self._disk.read(self.path))
        if rest:
            log.warning("outbox segment ends in what is no record", bytes=rest, records=len(records))
        self.records = len(records)
        return self._take(range(len(records)), [], records)


class DatabaseStore(Store):
    """A SQLite file in WAL mode. What was appended has reached the disk; what is deleted may come back after a power cut."""

    def __init__(self, disk: Disk, path: Path) -> None:
        """Opens the file, or makes it. Raises `OSError`, and `UnusableFile` if nothing in it can be used."""
        super().__init__(disk, path)
        self._extras: deque[object] = deque()
        self._taken = self._last = 0
        """Numbers of the last record that was loaded, and of the last there is."""
        with _as_os_error():
            self._database = disk.connect(path)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        try:
            (version,) = self._one("PRAGMA user_version")
            if version > VERSION:
                raise UnusableFile("of another version")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            if not version:
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS records"
                    " (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL)"
                )
                self._database.execute(f"PRAGMA user_version = {VERSION}")
                self._disk.sync(self.path.parent)
            self._look()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise
            raise UnusableFile("damaged") from error

    def _look(self) -> None:
        """What is in it."""
        if self._one("PRAGMA quick_check(1)")[0] == "ok":
            count, size, self._last = self._one(
                "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(max(number), 0) FROM records"
            )
            self.records, self.bytes = count, size + OVERHEAD * count
            return
        self.damaged = True
        (self._last,) = self._one("SELECT coalesce(max(number), 0) FROM records")
        rows = [row for number in range(1, self._last + 1) if (row := self._row(number)) is not None]
        self.records, self.bytes = len(rows), sum(OVERHEAD + len(row[1] or b"") for row in rows)

    def _one(self, statement: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._database.execute(statement).fetchone()
        return found

    def append(self, records: Sequence[bytes], extras: Sequence[object]) -> None:
        """All of them or, with an exception, none. Raises `OSError`."""
        rows = [(number, zlib.crc32(record), record) for number, record in enumerate(records, start=self._last + 1)]
        with _as_os_error():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        self._last += len(records)
        self._extras.extend(extras)
        self.records += len(records)
        self.bytes += sum(OVERHEAD + len(record) for record in records)

    def load(self) -> Loaded | None:
        with _as_os_error():
            rows = self._rows()
        if not rows:
            self.records = 0
            return None
        self._taken = rows[-1][0]
        extras = [self._extras.popleft() for _ in rows] if len(self._extras) >= len(rows) else []
        return self._take([number for number, _ in rows], extras, [body for _, body in rows])

    def _rows(self) -> list[tuple[int, bytes | None]]:
        try:
            found = self._database.execute(
                "SELECT number, checksum, body FROM records WHERE number > ? ORDER BY number LIMIT ?",
                (self._taken, AT_ONCE),
            ).fetchall()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return self._rows_one_by_one()
        return [(number, _checked(checksum, body)) for number, checksum, body in found]

    def _rows_one_by_one(self) -> list[tuple[int, bytes | None]]:
        """Past what can't be read."""
        found = []
        for number in range(self._taken + 1, self._last + 1):
            row = self._row(number)
            if row is not None:
                found.append(row)
            if len(found) == AT_ONCE:
                break
        return found

    def _row(self, number: int) -> tuple[int, bytes | None] | None:
        """None if there is no such record."""
        try:
            row = self._database.execute("SELECT checksum, body FROM records WHERE number = ?", (number,)).fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return number, None
        return None if row is None else (number, _checked(*row))

    def discard(self, portion: Portion) -> None:
        super().discard(portion)
        if self.done and not self.damaged:
            return  # the file goes as a whole
        kept = [portion.numbers[index] for index in sorted(portion.bad)]
        marks = ",".join("?" * len(kept))
        with _as_os_error():
            # Not worth a sync: what comes back after a power cut is sent again, under the same message ids.
            self._database.execute("PRAGMA synchronous = NORMAL")
            try:
                self._database.execute(
                    f"DELETE FROM records WHERE number BETWEEN ? AND ? AND number NOT IN ({marks})",  # noqa: S608
                    (portion.numbers[0], portion.numbers[-1], *kept),
                )
            finally:
                self._database.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()


def _checked(checksum: object, body: object) -> bytes | None:
    return body if isinstance(body, bytes) and zlib.crc32(body) == checksum else None


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or "disk is full" in str(error)
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, os.strerror(number)) from error
