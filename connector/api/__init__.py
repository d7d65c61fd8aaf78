"""The engine inside somebody's own program, without servers (docs/python.md). Here: what a program sees of it."""

from __future__ import annotations

from connector.api._events import AuthRecovered, AuthReject, Event, Failure, Flap, StreamGap, Subscribed
from connector.api._values import KeyRejected, StreamInfo, UnknownStream
from connector.core.errors import ConnectorError, InvalidCommand, InvalidSetting, StateUnavailable

__all__ = [
    "AuthRecovered",
    "AuthReject",
    "ConnectorError",
    "Event",
    "Failure",
    "Flap",
    "InvalidCommand",
    "InvalidSetting",
    "KeyRejected",
    "StateUnavailable",
    "StreamGap",
    "StreamInfo",
    "Subscribed",
    "UnknownStream",
]
