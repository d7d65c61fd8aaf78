"""What a session sees of a connection. The real one is `connector.streams.websocket_client`; a world hands in its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Kind(Enum):
    DATA = "data"
    """Text or binary: a whole message of the venue."""
    PART = "part"
    """A fragment of one, kept until the last has come; no data."""
    PING = "ping"
    PONG = "pong"
    CLOSE = "close"
    """The venue says goodbye; the data is its code (two bytes) and reason."""


class TransportLost(Exception):
    """The connection is of no use any more; the text tells why, in words for an operator."""


class Transport(Protocol):
    """One open WebSocket connection. I/O thread only; nothing waits, but for a send that may be given a moment."""

    def read(self) -> tuple[Kind, bytes] | None:
        """The next frame; None if no whole one has come yet: then the poller tells when there is more. Raises
        `TransportLost`."""

    def send(self, text: str) -> None:
        """Raises `TransportLost`."""

    def ping(self) -> None:
        """Raises `TransportLost`."""

    def pong(self, payload: bytes) -> None:
        """Answer a ping. Raises `TransportLost`."""

    def say_goodbye(self) -> None:
        """Send a close frame, if the other end still listens."""

    def close(self) -> None:
        """End the connection. A second call is fine."""

    @property
    def closed(self) -> bool: ...

    def fileno(self) -> int:
        """Number of the socket, for a poller of sockets; -1 once it is closed."""


@dataclass(frozen=True, slots=True)
class DialFailure:
    """Why a connection could not be opened. `status` is the HTTP status of a refused upgrade, else 0."""

    reason: str
    status: int = 0
    retry_after_s: float | None = None


def close_text(data: bytes) -> str:
    """Code and reason of a close frame, for a person."""
    if len(data) < 2:
        return "no code"
    return f"{int.from_bytes(data[:2], 'big')} {data[2:].decode('utf-8', 'replace')}".strip()
