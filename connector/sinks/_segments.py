"""Files of the outbox as versions before SQLite wrote them: read until they are sent, never written.

A segment is the 8 bytes of `MAGIC`, then records: length and CRC-32 of the payload (both unsigned 32 bit, big endian),
payload. A damaged record is stepped over: reading goes on with the next that passes its checksum.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

MAGIC: Final = b"WSCOUT1\n"
MAX_RECORD: Final = 16 * 1024 * 1024
"""A longer length field is damage, not a record."""
_HEAD: Final = struct.Struct(">II")


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
