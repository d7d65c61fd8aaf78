"""The venue's ping: the bare text `ping`, answered by `pong`; without it the venue cuts after 30 quiet seconds."""

from __future__ import annotations

from typing import Final

from exchanges._adapter import Fail, FailKind, Instant, Output, Send
from exchanges._timers import Beat, Heartbeat

PING_EVERY_S: Final = 20.0
ANSWER_WITHIN_S: Final = 10.0
"""A ping that stays unanswered for longer means that the venue has already dropped us, whatever the socket says."""
PONG: Final = b"pong"


class KeepAlive:
    """Sends the pings of one connection and notices when nothing comes back. Any inbound frame counts as life."""

    __slots__ = ("_beat",)

    def __init__(self) -> None:
        self._beat = Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S)

    def begin(self, now: Instant) -> None:
        self._beat.start(now)

    def heard(self) -> None:
        self._beat.pong()

    def deadline(self) -> float | None:
        return self._beat.deadline()

    def due(self, now: Instant) -> list[Output]:
        beat = self._beat.due(now)
        if beat is Beat.DEAD:
            return [Fail(kind=FailKind.TRANSIENT, reason=f"no frame for {ANSWER_WITHIN_S:.0f} s after a ping")]
        return [Send("ping", urgent=True)] if beat is Beat.PING else []
