"""The saved form of a stream's position, from which its next owner repairs the gap."""

from __future__ import annotations

import msgspec

from connector.core.log import get_logger
from connector.streams.tracker import Position

log = get_logger(__name__)


class _Stamped(msgspec.Struct):
    """What is read of a position to compare two copies of it."""

    stamp: int = 0


_decode_stamp = msgspec.json.Decoder(_Stamped).decode


def stamp_of(position: bytes) -> int:
    """Which of two copies is newer; 0 for one that can't be read, or has none: any other is newer."""
    try:
        return _decode_stamp(position).stamp
    except msgspec.DecodeError:
        return 0


def encode_position(position: Position) -> bytes:
    return msgspec.json.encode(position)


def decode_position(data: bytes | None) -> Position | None:
    """A saved position, or None if there is none that can be read (then gap repair starts from nothing)."""
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Position)
    except msgspec.DecodeError as error:
        log.warning("a saved position can't be read", error=str(error))
        return None
