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
        self.files: dict[Path, bytearray] = {}
        self.folders: dict[Path, int] = {}
        """Directory → when it was changed last, by a counter."""
        self.full = False
        self.databases: dict[Path, sqlite3.Connection] = {}
        self._locks: dict[Path, Host | None] = {}
        self._changes = 0

    # --- faults ---

    def damage(self, dice: float) -> int:
        """One byte of each segment is another one from now on. Returns how many segments there are."""
        segments = [data for path, data in sorted(self.files.items()) if path.suffix == ".segment" and data]
        for data in segments:
            data[int(dice * len(data)) % len(data)] ^= MARK
        return len(segments)

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

    def segments(self, directory: Path) -> Sequence[Path]:
        return sorted(path for path in self.files if path.parent == directory and path.suffix == ".segment")

    def lock(self, path: Path) -> Callable[[], None] | None:
        """A lock ends with its process, however that ends."""
        holder = self._locks.get(path)
        if holder is not None and holder.alive:
            return None
        kernel = Stage.kernel
        self._locks[path] = kernel.host if kernel is not None else None
        return lambda: self._locks.__setitem__(path, None)

    def create(self, path: Path, head: bytes) -> WorldFile:
        if path in self.files:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        self.room()
        self.files[path] = bytearray(head)
        self.touched(path)
        return WorldFile(self, path)

    def read(self, path: Path) -> bytes:
        data = self.files.get(path)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return bytes(data)

    def rename(self, path: Path, target: Path) -> None:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        self.files[target] = self.files.pop(path)
        self.touched(target)

    def delete(self, path: Path) -> None:
        self.files.pop(path, None)

    def sync(self, directory: Path) -> None:
        """Names are safe at once."""

    def remove_tree(self, directory: Path) -> None:
        for path in [path for path in self.files if directory in path.parents]:
            del self.files[path]
        for path in [path for path in self.folders if path == directory or directory in path.parents]:
            del self.folders[path]


class WorldFile:
    """A file that is being written."""

    def __init__(self, disk: WorldDisk, path: Path) -> None:
        self._disk, self._data, self._path = disk, disk.files[path], path

    def write(self, data: bytes) -> None:
        self._disk.room()
        self._data.extend(data)

    def cut(self, size: int) -> None:
        del self._data[size:]

    def close(self) -> None:
        """Everything is safe already."""


class WorldDatabase(sqlite3.Connection):
    """A database of a world's disk: the same one for everybody who opens it, and there for as long as the disk."""

    disk: WorldDisk

    def execute(self, statement: str, *more: Any) -> sqlite3.Cursor:
        if self.disk.full and statement.startswith(("BEGIN", "CREATE", "DELETE")):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, *more)

    def close(self) -> None:
        """A process that ends takes no file with it."""


def connect(path: Path) -> sqlite3.Connection:
    """Takes the place of `connector.state.positions_on_disk.connect`."""
    where = disk()
    if path not in where.databases:
        database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, factory=WorldDatabase)
        database.disk = where
        where.databases[path] = database
    return where.databases[path]


class Where:
    """The disks of the world that runs."""

    disk: WorldDisk | None = None


def disk() -> WorldDisk:
    if Where.disk is None:
        raise RuntimeError("no world runs")
    return Where.disk
