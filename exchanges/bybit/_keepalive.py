"""The venue's ping in JSON text; WebSocket control pings do not count for it (venue file, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from exchanges._adapter import Fail, FailKind, Instant, Output, Send
from exchanges._timers import Beat, Heartbeat

PING_EVERY_S: Final = 20.0
ANSWER_WITHIN_S: Final = 10.0
"""bybit-api waits 1 s, upstream 20 s. After an abrupt reset clients kept pinging a dead socket (bybit-api #545)."""


class KeepAlive:
    """Sends the pings of one connection and notices when nothing comes back. Any inbound frame counts as life."""

    __slots__ = ("_beat", "_new_id")

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
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
        if beat is Beat.PING:
            return [Send(f'{{"req_id":"{self._new_id()}","op":"ping"}}', urgent=True)]
        return []
