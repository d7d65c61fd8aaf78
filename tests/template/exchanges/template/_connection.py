"""What the public connections share: the JSON ping, subscribe frames and their answers."""

from __future__ import annotations

from typing import Final

import msgspec
from exchanges.template._errors import WS

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import TopicFeed
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges._venue import Setup

PING_EVERY_S: Final = 15.0
ANSWER_WITHIN_S: Final = 10.0
ACK_TIMEOUT_S: Final = 10.0


def heartbeat(setup: Setup) -> Heartbeat:
    """Any inbound frame counts as life."""
    return Heartbeat(PING_EVERY_S, ANSWER_WITHIN_S, lambda: f'{{"op":"ping","id":"{setup.new_id()}"}}')


class PublicFeed(TopicFeed[str]):
    """One subscribe frame names up to 20 topics; its answer names those that can't be had."""

    _beat: Heartbeat

    def _rules(self) -> Rules:
        return Rules(batch=20, ack_s=ACK_TIMEOUT_S)

    def _heartbeat(self) -> Heartbeat:
        return heartbeat(self._setup)

    def start(self, now: Instant) -> Outputs:
        return [Connect(f"{WS}/public")]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def _frame(self, request: Request[str]) -> Send:
        return Send(msgspec.json.encode({"op": request.op, "id": request.id, "topics": request.topics}).decode())

    def _reply(self, request_id: str, refused: list[str], now: Instant) -> list[Output]:
        fail = Fail(kind=FailKind.REQUEST, reason="the venue has no such topic")
        gone = [topic for topic in refused if self._book.refused(topic)]
        outputs = self._answered(request_id, now)
        return [*outputs, *self._refused(gone, fail, now)] if gone else outputs

    def _odd(self, error: Exception | str) -> list[Output]:
        return [Note(f"unreadable public frame: {error}")]
