"""Values and arguments as Redis has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from connector.core.log import get_logger
from connector.state._client import CHUNK

_log = get_logger("state.redis")

T = TypeVar("T")


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def as_ms(seconds: float) -> int:
    """Redis refuses an expiry of 0."""
    return max(1, round(seconds * 1000))


def owner_of(lease: bytes | None) -> str | None:
    return None if lease is None else lease.decode().partition("|")[2]


def decoded(text: bytes, kind: type[T], what: str) -> T | None:
    """A stored JSON value; None, logged, if another version or a stranger wrote something else."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        _log.warning("unreadable value in Redis", what=what, reason=str(error))
        return None
