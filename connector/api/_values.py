"""What a program is told of its streams, and the errors of the Python API."""

from __future__ import annotations

import msgspec

from connector.core.errors import ConnectorError


class UnknownStream(ConnectorError):
    """No open stream has this id or belongs to this user."""


class KeyRejected(ConnectorError):
    """The exchange refuses the key; it is left alone until the cooldown ends, or until it is opened with another key."""


class StreamInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One account stream."""

    stream_id: str
    user_id: str
    exchange: str
    state: str
    """`waiting`, `opening`, `joining`, `live`, `rotating`, `draining`, `cooling` or `stopped` (docs/architecture.md)."""
