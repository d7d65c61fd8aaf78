"""Records on disk while the broker is away: appended, replayed in order, deleted once they are safe elsewhere.

Layout: `<directory>/<process>/<number>.segment`. Each process has a subdirectory of its own and holds a lock on it as
long as it lives; `open` moves the segments of dead processes in front of its own, so what one process left behind is
replayed by the next that starts with the same directory.

A segment is the 8 bytes of `MAGIC`, then records: length and CRC-32 of the payload (both unsigned 32 bit, big endian),
payload. What was being written when the machine stopped costs that record and nothing before it. A damaged record is
stepped over: reading goes on with the next that passes its checksum. A segment that is damaged, or of a newer version, is
not deleted but kept aside as `<directory>/*.damaged`, with an ERROR line.

Durability: one fsync per `append` (a batch), and one of the directory per new segment. A deleted segment is not
synced; if it comes back after a power cut its records are sent again, under the same message ids.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.sinks._disk import Disk, RealDisk, Segmented

log = get_logger(__name__)

MAGIC: Final = b"WSCOUT1\n"
MAX_RECORD: Final = 16 * 1024 * 1024
"""A longer length field is damage, not a record."""
_HEAD: Final = struct.Struct(">II")
_FIRST: Final = 10**9
"""Number of the first segment of a process; adopted and prepended segments get lower ones."""
_LOCK_TRIES: Final = 250
_LOCK_PAUSE_S: Final = 0.02


class OutboxFull(Exception):
    """The byte bound is reached; nothing was written."""


class OutboxUnusable(Exception):
    """The directory can't be used; the text says why."""


def encode(records: Sequence[bytes]) -> bytes:
    """Records as they stand in a segment, without `MAGIC`."""
    return b"".join([_HEAD.pack(len(record), zlib.crc32(record)) + record for record in records])


def decode(data: bytes) -> tuple[list[bytes], int]:
    """The intact records at the start of a segment, and how many bytes they take (with `MAGIC`)."""
    records: list[bytes] = []
    if not data.startswith(MAGIC):
        return records, 0
    position = len(MAGIC)
    while len(data) - position >= _HEAD.size:
        length, checksum = _HEAD.unpack_from(data, position)
        end = position + _HEAD.size + length
        # An empty record passes its checksum as eight zero bytes, which is what a power cut leaves behind.
        if not 0 < length <= MAX_RECORD or end > len(data):
            break
        record = data[position + _HEAD.size : end]
        if zlib.crc32(record) != checksum:
            break
        records.append(record)
        position = end
    return records, position


def read(data: bytes) -> tuple[list[bytes | None], int]:
    """All records of a segment that can be read, None for each place where some can't; and how many bytes behind them make
    no record. Those are a record that was being written, or damage.
    """
    records: list[bytes | None] = []
    intact, position = decode(data)
    records += intact
    while (found := _next_record(data, position + 1)) is not None:
        intact, good = decode(MAGIC + data[found:])
        records += [None, *intact]
        position = found + good - len(MAGIC)
    rest = len(data) - position
    if position >= len(MAGIC) and _ends_at(data, position) == len(data):
        return [*records, None], 0
    return records, rest if any(data[position:]) else 0


def _ends_at(data: bytes, position: int) -> int:
    """Where a record that begins here would end; 0 if none does."""
    if len(data) - position < _HEAD.size:
        return 0
    length, _ = _HEAD.unpack_from(data, position)
    end = position + _HEAD.size + int(length)
    return end if 0 < length <= MAX_RECORD and end <= len(data) else 0


def _next_record(data: bytes, start: int) -> int | None:
    """Where the next record begins that passes its checksum."""
    # No length is above 2^24, so it begins with a zero byte (or is 2^24 itself, which is given up).
    while (start := data.find(b"\0", start)) >= 0:
        end = _ends_at(data, start)
        if end and zlib.crc32(data[start + _HEAD.size : end]) == _HEAD.unpack_from(data, start)[1]:
            return start
        start += 1
    return None


def newer(data: bytes) -> bool:
    """Whether another version of the program wrote this segment: nothing in it may be guessed at."""
    head = data[: len(MAGIC)]
    return head != MAGIC and head[:6] == MAGIC[:6] and head[6:7].isdigit() and head[7:] == MAGIC[7:]


class Segment:
    """One file. `extras[i]` belongs to record i and lives in memory only; empty for a dead process's segment."""

    __slots__ = ("damaged", "extras", "left", "number", "path", "records", "size")

    def __init__(self, number: int, path: Path, records: int, size: int) -> None:
        self.number = number
        self.path = path
        self.records = records
        self.size = size
        self.damaged = False
        """Not all of it could be read: it is kept aside and not deleted."""
        self.left = 0
        """Loaded records that are not safe yet; the reader counts down."""
        self.extras: list[object] = []


class Outbox:
    """A first-in-first-out queue of records on disk. One thread, except the two figures `records` and `bytes`."""

    def __init__(
        self,
        directory: str | Path,
        *,
        max_bytes: int = 512 * 1024 * 1024,
        segment_bytes: int = 4 * 1024 * 1024,
        chance: Chance | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._disk = disk or RealDisk()
        self.records = 0
        """Records in segments that were not loaded yet."""
        self.bytes = 0
        """Bytes of all segments on disk."""
        self._root = Path(directory)
        self._own = self._root / f"{os.getpid()}-{(chance or Chance()).new_id()[:8]}"
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: deque[Segment] = deque()
        self._writing: Segmented | None = None
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
    def empty(self) -> bool:
        """Whether `load` would find nothing."""
        return not self._segments

    def append(self, records: Sequence[bytes], extras: Sequence[object] = ()) -> None:
        """Add records behind everything else and sync them: all of them or, with an exception, none.

        Raises `OutboxFull` or `OSError`.
        """
        data = encode(records)
        if self.bytes + len(data) > self._max_bytes:
            raise OutboxFull(f"{self.bytes} of {self._max_bytes} bytes used")
        segment = self._segments[-1] if self._segments and self._writing is not None else None
        if segment is None or segment.size + len(data) > self._segment_bytes:
            self._seal()
            segment = self._create(self._next)
            self._next += 1
            self._segments.append(segment)
        self._write(segment, data)
        segment.records += len(records)
        segment.extras.extend(extras)
        self.records += len(records)

    def prepend(self, records: Sequence[bytes], extras: Sequence[object] = ()) -> None:
        """Put records in front of everything else, in a segment of their own. Raises `OSError`; ignores the bound."""
        # Below every number ever used: a loaded segment is no longer in the list but still a file.
        self._lowest -= 1
        writing, self._writing = self._writing, None
        try:
            segment = self._create(self._lowest)
            self._segments.appendleft(segment)
            self._write(segment, encode(records))
            segment.records = len(records)
            segment.extras.extend(extras)
            self.records += len(records)
        finally:
            self._seal()
            self._writing = writing

    def load(self) -> tuple[Segment, list[bytes | None]] | None:
        """Take the oldest segment that was not loaded yet; its file stays until `discard`. None = empty.

        A record that can't be read is None.

        Raises `OSError`; the segment then stays where it is.
        """
        if not self._segments:
            return None
        if len(self._segments) == 1:
            self._seal()
        segment = self._segments[0]
        data = self._disk.read(segment.path)
        self._segments.popleft()
        self.records -= segment.records
        records, rest = read(data)
        if rest:
            log.warning("outbox segment ends in what is no record", bytes=rest, records=len(records))
        # Behind the records of a dead process the rest is what it was writing; of its own all was written.
        segment.damaged = None in records or segment.records > len(records)
        return segment, records

    def discard(self, segment: Segment) -> None:
        """Delete a loaded segment: its records are safe. A damaged one is kept aside."""
        self.bytes -= segment.size
        try:
            if segment.damaged:
                self._keep_aside(segment.path, "damaged")
                return
            self._disk.delete(segment.path)
        except OSError as error:
            log.error("outbox segment can't be deleted, it will be sent again after a restart", why=error.strerror)

    def close(self) -> None:
        """Give the directory up; it disappears unless segments are left."""
        self._seal()
        if self._lock is not None:
            if not self._disk.segments(self._own):
                self._disk.remove_tree(self._own)
            self._lock()
            self._lock = None

    def _adopt(self) -> None:
        found: list[Path] = []
        for other in self._disk.directories(self._root):
            give_back = self._disk.lock(other / "lock") if other != self._own else None
            if give_back is None:
                continue
            found += [self._move_in(path) for path in self._disk.segments(other)]
            self._disk.remove_tree(other)
            give_back()
        for index, path in enumerate(found):
            number = _FIRST - len(found) + index
            data = self._disk.read(path)
            records, _ = read(data)
            if newer(data) or not (records or MAGIC.startswith(data[: len(MAGIC)])):
                self._keep_aside(path, "of another version" if newer(data) else "damaged")
                continue
            target = self._path(number)
            self._disk.rename(path, target)
            self._segments.append(Segment(number, target, len(records), len(data)))
        self._lowest -= len(found)
        self.records = sum(segment.records for segment in self._segments)
        self.bytes = sum(segment.size for segment in self._segments)
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

    def _path(self, number: int) -> Path:
        return self._own / f"{number:020d}.segment"

    def _create(self, number: int) -> Segment:
        path = self._path(number)
        self._writing = self._disk.create(path, MAGIC)
        self.bytes += len(MAGIC)
        return Segment(number, path, 0, len(MAGIC))

    def _write(self, segment: Segment, data: bytes) -> None:
        file = self._writing
        if file is None:
            raise OSError("segment is not open")
        try:
            file.write(data)
        except OSError:
            # What got there is cut off, or, if that fails too, is the torn end that reading tolerates.
            with contextlib.suppress(OSError):
                file.cut(segment.size)
            self._seal()
            raise
        segment.size += len(data)
        self.bytes += len(data)

    def _seal(self) -> None:
        """No more records for the segment being written."""
        if self._writing is not None:
            self._writing.close()
            self._writing = None

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
