"""The venue's ping: the bare text `ping`, answered by `pong`; without it the venue cuts after 30 quiet seconds."""

from __future__ import annotations

from typing import Final

from exchanges._timers import Heartbeat

PING_EVERY_S: Final = 20.0
ANSWER_WITHIN_S: Final = 10.0
"""A ping that stays unanswered for longer means that the venue has already dropped us, whatever the socket says."""
PONG: Final = b"pong"


def heartbeat() -> Heartbeat:
    """Any inbound frame counts as life."""
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: "ping")
