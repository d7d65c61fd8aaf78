"""Records on disk while the broker is away: appended, replayed in order, deleted once they are safe elsewhere.

Layout: `<directory>/<process>/<number>.sqlite3`. Each process has a subdirectory of its own and holds a lock on it as
long as it lives; `open` moves the files of dead processes in front of its own, so what one process left behind is replayed by
the next that starts with the same directory. Segments of versions before SQLite (`*.segment`) are adopted in the same way.

A file that can't be used, because it is damaged or of a newer version, and one that can't be read whole, is not deleted but
kept aside as `<directory>/*.damaged`, with an ERROR line.

Durability: one transaction, synced, per `append` (a batch).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.sinks._disk import Disk, RealDisk
from connector.sinks._stores import OVERHEAD, DatabaseStore, Loaded, Portion, SegmentStore, Store, UnusableFile

log = get_logger(__name__)

SUFFIX: Final = ".sqlite3"
_FIRST: Final = 10**9
"""Number of the first file of a process; adopted and prepended ones get lower ones."""
_LOCK_TRIES: Final = 250
_LOCK_PAUSE_S: Final = 0.02


class OutboxFull(Exception):
    """The byte bound is reached; nothing was written."""


class OutboxUnusable(Exception):
    """The directory can't be used; the text says why."""


class Outbox:
    """A first-in-first-out queue of records on disk. One thread, except the two figures `records` and `used_bytes`."""

    def __init__(
        self,
        directory: str | Path,
        *,
        max_bytes: int = 512 * 1024 * 1024,
        chance: Chance | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._disk = disk or RealDisk()
        self._root = Path(directory)
        self._own = self._root / f"{os.getpid()}-{(chance or Chance()).new_id()[:8]}"
        self._max_bytes = max_bytes
        self._stores: deque[Store] = deque()
        """Oldest first; also those whose records are all loaded, but not all safe."""
        self._writing: DatabaseStore | None = None
        self._next = self._lowest = _FIRST
        self._lock: Callable[[], None] | None = None
        self._moved_in = 0

    def open(self) -> int:
        """Create the directory and adopt what dead processes left. Returns how many records that is.

        Raises `OutboxUnusable`.
        """
        try:
            self._disk.make_directory(self._root, parents=True)
            with self._locked(self._root / "lock"):
                self._disk.make_directory(self._own)
                self._lock = self._disk.lock(self._own / "lock")
                self._adopt()
        except OSError as error:
            raise OutboxUnusable(f"{type(error).__name__}: {error.strerror}") from error
        return self.records

    @property
    def records(self) -> int:
        """Records that were not loaded yet."""
        return sum(store.records for store in tuple(self._stores))

    @property
    def used_bytes(self) -> int:
        """Bytes of all records that are not safe yet."""
        return sum(store.bytes for store in tuple(self._stores))

    @property
    def empty(self) -> bool:
        """Whether `load` would find nothing."""
        return not any(store.records for store in tuple(self._stores))

    def append(self, records: Sequence[bytes], extras: Sequence[object] = ()) -> None:
        """Add records behind everything else and sync them: all of them or, with an exception, none.

        Raises `OutboxFull` or `OSError`.
        """
        if self.used_bytes + sum(OVERHEAD + len(record) for record in records) > self._max_bytes:
            raise OutboxFull(f"{self.used_bytes} of {self._max_bytes} bytes used")
        if self._writing is None:
            self._writing = self._create(self._next)
            self._next += 1
            self._stores.append(self._writing)
        try:
            self._writing.append(records, extras)
        except OSError:
            # Whatever is wrong with this file, the next try gets another.
            self._seal()
            raise

    def prepend(self, records: Sequence[bytes], extras: Sequence[object] = ()) -> None:
        """Put records in front of everything else, in a file of their own. Raises `OSError`; ignores the bound."""
        # Below every number ever used: files whose records are loaded are still there.
        store = self._create(self._lowest - 1)
        self._lowest -= 1
        try:
            store.append(records, extras)
        except OSError:
            self._drop(store)
            raise
        self._stores.appendleft(store)

    def load(self) -> Loaded | None:
        """Take the oldest records that were not loaded yet; they stay on disk until `discard`. None = empty.

        A record that can't be read is None.

        Raises `OSError`; the records then stay where they are.
        """
        for store in tuple(self._stores):
            if store.records and (loaded := store.load()) is not None:
                return loaded
        self._tidy()
        return None

    def discard(self, portion: Portion) -> None:
        """Loaded records are safe: delete them. Those that can't be read are kept aside."""
        try:
            portion.store.discard(portion)
        except OSError as error:
            log.error("outbox records can't be deleted, they will be sent again after a restart", why=error.strerror)
        self._tidy()

    def close(self) -> None:
        """Give the directory up; it disappears unless records are left."""
        self._tidy()
        for store in self._stores:
            store.close()
        self._writing = None
        if self._lock is not None:
            if not self._stores and not self._disk.stores(self._own):
                self._disk.remove_tree(self._own)
            self._lock()
            self._lock = None

    def _tidy(self) -> None:
        """Files whose records are all safe go."""
        for store in [store for store in self._stores if store.done]:
            self._stores.remove(store)
            if store is self._writing:
                self._writing = None
            self._drop(store)

    def _drop(self, store: Store) -> None:
        store.close()
        try:
            if store.damaged:
                self._keep_aside(store.path, "damaged")
            else:
                self._disk.delete(store.path)
        except OSError as error:
            log.error("an outbox file can't be deleted, it will be sent again after a restart", why=error.strerror)

    def _seal(self) -> None:
        """No more records for the file being written; without any it goes."""
        store, self._writing = self._writing, None
        if store is not None and store.done:
            self._stores.remove(store)
            self._drop(store)

    def _create(self, number: int) -> DatabaseStore:
        try:
            return DatabaseStore(self._disk, self._path(number, SUFFIX))
        except UnusableFile as error:
            raise OSError(None, str(error)) from error

    def _adopt(self) -> None:
        found: list[Path] = []
        for other in self._disk.directories(self._root):
            give_back = self._disk.lock(other / "lock") if other != self._own else None
            if give_back is None:
                continue
            found += [self._move_in(path) for path in self._disk.stores(other)]
            self._disk.remove_tree(other)
            give_back()
        for index, path in enumerate(found):
            target = self._path(_FIRST - len(found) + index, path.suffix)
            self._disk.rename(path, target)
            try:
                store = SegmentStore(self._disk, target) if path.suffix != SUFFIX else DatabaseStore(self._disk, target)
            except UnusableFile as error:
                self._keep_aside(target, str(error))
                continue
            self._stores.append(store)
        self._lowest -= len(found)
        self._tidy()
        if found:
            self._disk.sync(self._own)

    def _keep_aside(self, path: Path, why: str) -> None:
        target = self._root / f"{self._own.name}-{path.name}.damaged"
        self._disk.rename(path, target)
        METRICS.count("outbox_damaged_files_total")
        log.error("an outbox file can't be read whole, it is kept aside", file=target.name, why=why)

    def _move_in(self, path: Path) -> Path:
        """Two steps, so that numbers of several dead processes can't collide; the name keeps their order."""
        self._moved_in += 1
        target = self._own / f"adopted-{self._moved_in:020d}-{path.name}"
        self._disk.rename(path, target)
        return target

    def _path(self, number: int, suffix: str) -> Path:
        return self._own / f"{number:020d}{suffix}"

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        never = threading.Event()
        for _ in range(_LOCK_TRIES):
            give_back = self._disk.lock(path)
            if give_back is not None:
                break
            never.wait(_LOCK_PAUSE_S)
        else:
            raise OutboxUnusable("another process holds the directory lock")
        try:
            yield
        finally:
            give_back()
