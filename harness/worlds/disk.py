"""The disks of a world's machines: files in memory that outlive processes, may be full, and may come back damaged."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from harness.worlds.blocking import Stage
from harness.worlds.kernel import Host

MARK: Final = 0x20
"""The bits that damage turns."""


class WorldDisk:
    """All machines' disks: paths tell them apart. Takes the place of `connector.sinks._disk.RealDisk`."""

    def __init__(self) -> None:
        self.folders: dict[Path, int] = {}
        """Directory → when it was changed last, by a counter."""
        self.full = False
        self.databases: dict[Path, WorldDatabase] = {}
        self._locks: dict[Path, Host | None] = {}
        self._changes = 0

    # --- faults ---

    def damage(self, dice: float) -> int:
        """One byte of a record of each outbox file is another one from now on. Returns how many files there are."""
        found = 0
        for path, database in sorted(self.databases.items()):
            if path.parent not in self.folders or not path.stem.isdigit():
                continue
            rows = database.read("SELECT number, body FROM records ORDER BY number")
            if not rows:
                continue
            number, body = rows[int(dice * len(rows))]
            spoiled = bytearray(body)
            spoiled[int(dice * 997) % len(spoiled)] ^= MARK
            database.read("UPDATE records SET body = ? WHERE number = ?", (bytes(spoiled), number))
            found += 1
        return found

    def room(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def touched(self, path: Path) -> None:
        self._changes += 1
        self.folders[path.parent] = self._changes

    # --- Disk ---

    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        if path in self.folders and not parents:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self.room()
        self.folders.setdefault(path, 0)
        self.touched(path)

    def directories(self, root: Path) -> Sequence[Path]:
        found = [path for path in self.folders if path.parent == root]
        return sorted(found, key=lambda path: (self.folders[path], path))

    def stores(self, directory: Path) -> Sequence[Path]:
        return sorted(path for path in self.databases if path.parent == directory)

    def lock(self, path: Path) -> Callable[[], None] | None:
        """A lock ends with its process, however that ends."""
        holder = self._locks.get(path)
        if holder is not None and holder.alive:
            return None
        kernel = Stage.kernel
        self._locks[path] = kernel.host if kernel is not None else None
        return lambda: self._locks.__setitem__(path, None)

    def connect(self, path: Path) -> sqlite3.Connection:
        if path not in self.databases:
            self.room()
            made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=WorldDatabase)
            made.disk = self
            self.databases[path] = made
            self.touched(path)
        return self.databases[path]

    def read(self, path: Path) -> bytes:
        """No world has files of earlier versions."""
        raise FileNotFoundError(errno.ENOENT, "No such file", str(path))

    def rename(self, path: Path, target: Path) -> None:
        if path not in self.databases:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        self.databases[target] = self.databases.pop(path)
        self.touched(target)

    def delete(self, path: Path) -> None:
        self.databases.pop(path, None)

    def sync(self, directory: Path) -> None:
        """Names are safe at once."""

    def remove_tree(self, directory: Path) -> None:
        for path in [path for path in self.databases if directory in path.parents]:
            del self.databases[path]
        for path in [path for path in self.folders if path == directory or directory in path.parents]:
            del self.folders[path]


class WorldDatabase(sqlite3.Connection):
    """A database of a world's disk: the same one for everybody who opens it, and there for as long as the disk."""

    disk: WorldDisk

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        if self.disk.full and statement.startswith(("BEGIN", "CREATE", "DELETE")):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, *more)

    def read(self, statement: str, *more: Any) -> list[Any]:
        """Also while the disk is full: what a world does to it."""
        return super().execute(statement, *more).fetchall()

    def close(self) -> None:
        """A process that ends takes no file with it."""


def connect(path: Path) -> sqlite3.Connection:
    """Takes the place of `connector.state.positions_on_disk.connect`."""
    return disk().connect(path)


class Where:
    """The disks of the world that runs."""

    disk: WorldDisk | None = None


def disk() -> WorldDisk:
    if Where.disk is None:
        raise RuntimeError("no world runs")
    return Where.disk
