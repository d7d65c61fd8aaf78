"""What processes tell each other of one stream, as JSON: `{"t": kind, "id": stream, …}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.ports import State
from connector.core.traces import TRACES

log = get_logger(__name__)

RECONCILE: Final = "reconcile"
"""What is wanted of a stream may have changed."""
TRY_NOW: Final = "try"
"""A person asks that a refused key is tried before its time."""


def read_notification(text: str) -> tuple[str, str, Mapping[str, Any]] | None:
    """Kind, stream and all of it; None if it can't be read."""
    try:
        message = json.loads(text)
        return str(message["t"]), str(message["id"]), message
    except (ValueError, KeyError, TypeError):
        return None


class Teller:
    """What this process tells others. Any thread."""

    def __init__(self, state: State, us: str) -> None:
        self._state, self._us = state, us

    def tell(self, owner: str, kind: str, stream_id: str, **fields: object) -> None:
        """Best effort: what gets lost is repeated, or found by a sweep."""
        try:
            fields |= {"t": kind, "id": stream_id, **TRACES.carried(stream_id, self._us)}
            self._state.notify(owner, json.dumps(fields))
        except StateUnavailable:
            log.debug("a notification could not be sent", kind=kind, stream=stream_id)
