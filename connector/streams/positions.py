"""The saved form of a stream's position, from which its next owner repairs the gap."""

from __future__ import annotations

import msgspec

from connector.core.log import get_logger
from connector.streams.tracker import Position

log = get_logger(__name__)


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
