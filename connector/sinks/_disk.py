"""The few things that the outbox does to a disk, so that a world can play one that is full, slow or damaged."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol


class Segmented(Protocol):
    """A file that is being written. Every method may raise `OSError`."""

    def write(self, data: bytes) -> None:
        """Append all of `data` and make it safe."""

    def cut(self, size: int) -> None:
        """Give up what was written behind `size`."""

    def close(self) -> None: ...


class Disk(Protocol):
    """Directories and files by path. Every method but `remove_tree` may raise `OSError`."""

    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        """`parents`: with all above it, and fine if it exists."""

    def directories(self, root: Path) -> Sequence[Path]:
        """Those directly in `root`, the least recently changed first."""

    def segments(self, directory: Path) -> Sequence[Path]:
        """The `*.segment` files of a directory by name."""

    def lock(self, path: Path) -> Callable[[], None] | None:
        """An exclusive lock that ends with the process; what gives it back, or None if somebody holds it."""

    def create(self, path: Path, head: bytes) -> Segmented:
        """A new file that starts with `head`; none is left if that fails."""

    def read(self, path: Path) -> bytes: ...

    def rename(self, path: Path, target: Path) -> None: ...

    def delete(self, path: Path) -> None:
        """Fine if it is gone."""

    def sync(self, directory: Path) -> None:
        """Make names in a directory safe."""

    def remove_tree(self, directory: Path) -> None:
        """As far as it goes."""


class RealFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def cut(self, size: int) -> None:
        self._file.truncate(size)

    def close(self) -> None:
        self._file.close()


class RealDisk:
    def make_directory(self, path: Path, *, parents: bool = False) -> None:
        path.mkdir(parents=parents, exist_ok=parents)

    def directories(self, root: Path) -> Sequence[Path]:
        return sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime_ns)

    def segments(self, directory: Path) -> Sequence[Path]:
        return sorted(directory.glob("*.segment"))

    def lock(self, path: Path) -> Callable[[], None] | None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return lambda: os.close(handle)

    def create(self, path: Path, head: bytes) -> Segmented:
        file = path.open("xb", buffering=0)
        try:
            file.write(head)
            self.sync(path.parent)
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return RealFile(file)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def rename(self, path: Path, target: Path) -> None:
        path.rename(target)

    def delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync(self, directory: Path) -> None:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove_tree(self, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
