"""Exchange accounts and markets as events: `Connector` and `PriceConnector` for programs (docs/python.md), `connector.aio`
for asyncio. Nothing starts at import time, and the engine is loaded with the first of these names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.version import VERSION

if TYPE_CHECKING:
    from connector.api import (
        AuthRecovered,
        AuthReject,
        ConnectorError,
        Event,
        Failure,
        Flap,
        InvalidCommand,
        InvalidSetting,
        KeyRejected,
        StateUnavailable,
        StreamGap,
        StreamInfo,
        Subscribed,
        UnknownStream,
    )
    from connector.api.accounts import Connector
    from connector.api.prices import PriceConnector

__all__ = [
    "VERSION",
    "AuthRecovered",
    "AuthReject",
    "Connector",
    "ConnectorError",
    "Event",
    "Failure",
    "Flap",
    "InvalidCommand",
    "InvalidSetting",
    "KeyRejected",
    "PriceConnector",
    "StateUnavailable",
    "StreamGap",
    "StreamInfo",
    "Subscribed",
    "UnknownStream",
]
_WHERE = {"Connector": "connector.api.accounts", "PriceConnector": "connector.api.prices"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WHERE.get(name, "connector.api")), name)
