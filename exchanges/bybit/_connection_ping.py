"""The venue's ping in JSON text; WebSocket control pings do not count for it (docs/venues/bybit.md, section 4)."""

from __future__ import annotations

from typing import Final

from exchanges._timers import Heartbeat
from exchanges._venue import Setup

PING_EVERY_S: Final = 20.0
ANSWER_WITHIN_S: Final = 10.0
"""bybit-api waits 1 s, upstream 20 s. After an abrupt reset clients kept pinging a dead socket (bybit-api #545)."""


def heartbeat(setup: Setup) -> Heartbeat:
    """Any inbound frame counts as life."""
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: f'{{"req_id":"{setup.new_id()}","op":"ping"}}')
