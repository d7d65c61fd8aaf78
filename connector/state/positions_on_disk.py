"""Positions of streams beside the outbox: what a host still knows when it and its Redis come back from a power cut.

Redis is where positions live (`State`); the platform's keeps nothing on disk. One SQLite file serves all processes of a
directory. A transaction that a power cut takes back costs nothing: an older position only makes the repaired gap longer.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock, KeptPosition

log = get_logger(__name__)

VERSION: Final = 1
KEEP_MS: Final = 7 * 86_400 * 1000
"""As long as positions live in Redis; older ones are forgotten at a start."""
BUSY_S: Final = 1.0
"""The longest that one call waits for other processes."""
LOOK_AGAIN_S: Final = 60.0
"""A disk that could not be used is tried again after so long."""
BATCH: Final = 500


def connect(path: Path) -> sqlite3.Connection:
    """Raises `sqlite3.Error` and `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Positions name orders: for this user only, as the outbox.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


class PositionsOnDisk:
    """A `PositionKeeper`. A disk that is full or broken costs the copies on it, with an ERROR line.

    An older position never replaces a newer one, so that a process that lost its stream can't turn its next owner's back.
    """

    def __init__(self, directory: str | Path, clock: Clock) -> None:
        self._path = Path(directory) / "positions.sqlite3"
        self._clock = clock
        self._database: sqlite3.Connection | None = None
        self._look_at: float | None = None
        self.trouble = ""
        """What is wrong with the disk, for the status; empty when nothing is."""

    def open(self) -> None:
        """A file that is damaged, or of a newer version, is kept aside as `*.damaged`, and a new one begun."""
        self._look_at = self._clock.mono() + LOOK_AGAIN_S
        try:
            try:
                self._database = self._opened()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._keep_aside(str(error))
                self._database = self._opened()
            self._database.execute("DELETE FROM positions WHERE stamp < ?", (self._clock.wall_ms() - KEEP_MS,))
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def save(self, positions: Mapping[str, KeptPosition]) -> bool:
        """All of them in one transaction."""
        rows = [(stream_id, kept.position, kept.stamp) for stream_id, kept in positions.items()]
        kept = self._changed(
            "INSERT INTO positions VALUES (?, ?, ?) ON CONFLICT (stream_id) DO UPDATE"
            " SET position = excluded.position, stamp = excluded.stamp WHERE excluded.stamp >= stamp",
            rows,
        )
        if not kept:
            METRICS.count("positions_unkept_total", len(rows))
        return kept

    def forget(self, stream_ids: Iterable[str]) -> bool:
        """Streams that were closed on purpose: there is no gap to repair."""
        return self._changed("DELETE FROM positions WHERE stream_id = ?", [(stream_id,) for stream_id in stream_ids])

    def load(self, stream_ids: Sequence[str]) -> dict[str, KeptPosition]:
        """What is known of these streams; nothing if the disk can't be read."""
        found: dict[str, KeptPosition] = {}
        self._look_again()
        if self._database is None:
            return found
        try:
            for start in range(0, len(stream_ids), BATCH):
                some = stream_ids[start : start + BATCH]
                marks = ",".join("?" * len(some))
                rows = self._database.execute(
                    f"SELECT stream_id, position, stamp FROM positions WHERE stream_id IN ({marks})",  # noqa: S608
                    some,
                )
                found.update((stream_id, KeptPosition(position, stamp)) for stream_id, position, stamp in rows)
        except sqlite3.Error as error:
            self._failed(error)
        return found

    def close(self) -> None:
        self._look_at = None
        self._drop()

    def _drop(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _look_again(self) -> None:
        if self._database is None and self._look_at is not None and self._clock.mono() >= self._look_at:
            self.open()

    def _opened(self) -> sqlite3.Connection:
        database = connect(self._path)
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise sqlite3.DatabaseError(f"version {version} of the file is newer than {VERSION}")
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS positions"
                " (stream_id TEXT PRIMARY KEY, position BLOB NOT NULL, stamp INTEGER NOT NULL) WITHOUT ROWID"
            )
            database.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    def _keep_aside(self, why: str) -> None:
        target = self._path.with_name(f"{self._path.name}.{self._clock.wall_ms()}.damaged")
        self._path.rename(target)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        METRICS.count("outbox_damaged_files_total")
        log.error("the file of positions can't be used, it is kept aside", file=target.name, why=why)

    def _changed(self, statement: str, rows: Sequence[tuple[object, ...]]) -> bool:
        self._look_again()
        database = self._database
        if database is None:
            return False
        try:
            database.execute("BEGIN IMMEDIATE")
            try:
                database.executemany(statement, rows)
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self._failed(error)
            return False
        self.trouble = ""
        return True

    def _failed(self, error: Exception) -> None:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._drop()  # damaged: kept aside when it is opened again
        if not self.trouble:
            log.error("positions can't be kept on disk", why=str(error))
        self.trouble = f"positions on disk: {error}"
