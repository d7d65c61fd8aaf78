"""A message without an id, as it is known when the broker brings it again (contract 1.7)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

_DIGEST_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Copy:
    """Says of a command what its message can't: whether somebody else may have carried it out."""

    body: str
    """Tells equal messages from others; see `digest`."""
    holder: str
    """The process that has the message. It knows by itself what it carried out."""
    again: bool
    """The broker has delivered it before."""
    late: bool = False
    """The connection that brought it is lost, so the broker may have brought it to somebody else meanwhile."""
    behind: int = 0
    """How many equal messages the process has besides that are still to be carried out."""


def digest(body: bytes) -> str:
    """Of a message's body. Short and for this purpose alone: it stands in Redis, and bodies hold secrets."""
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES, person=b"wsc.copy").hexdigest()
