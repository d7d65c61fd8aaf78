"""The few things that the outbox does to a disk, so that a world can play one that is full, slow or damaged."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

BUSY_S: Final = 1.0
"""Nobody else has a file of the outbox open; a tool that somebody looks into it with may."""
SUFFIXES: Final = frozenset({".sqlite3", ".segment"})
_COMPANIONS: Final = ("-wal", "-shm")


class Disk(Protocol):
    """Directories and files by path. Every method but `remove_tree` may raise `OSError`."""

    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        """`parents`: with all above it, and fine if it exists."""

    def directories(self, root: Path) -> Sequence[Path]:
        """Those directly in `root`, the least recently changed first."""

    def stores(self, directory: Path) -> Sequence[Path]:
        """The files of a directory with records, by name."""

    def lock(self, path: Path) -> Callable[[], None] | None:
        """An exclusive lock that ends with the process; what gives it back, or None if somebody holds it."""

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open a database, or make one; without transactions of its own. Raises `sqlite3.Error`, too."""

    def read(self, path: Path) -> bytes: ...

    def rename(self, path: Path, target: Path) -> None:
        """With what SQLite keeps beside a database."""

    def delete(self, path: Path) -> None:
        """Fine if it is gone; with what SQLite keeps beside a database."""

    def sync(self, directory: Path) -> None:
        """Make names in a directory safe."""

    def remove_tree(self, directory: Path) -> None:
        """As far as it goes."""


class RealDisk:
    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        path.mkdir(parents=parents, exist_ok=parents)

    def directories(self, root: Path) -> Sequence[Path]:
        return sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)

    def stores(self, directory: Path) -> Sequence[Path]:
        return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES)

    def lock(self, path: Path) -> Callable[[], None] | None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return lambda: os.close(handle)

    def connect(self, path: Path) -> sqlite3.Connection:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def rename(self, path: Path, target: Path) -> None:
        # A log without its database is nothing; a database without its log is one of before.
        for companion in _COMPANIONS:
            beside = path.with_name(path.name + companion)
            if beside.exists():
                beside.rename(target.with_name(target.name + companion))
        path.rename(target)

    def delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        for companion in _COMPANIONS:
            path.with_name(path.name + companion).unlink(missing_ok=True)

    def sync(self, directory: Path) -> None:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove_tree(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
