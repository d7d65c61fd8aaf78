"""A public connection of Bybit: its subscribe frames, their acknowledgements, and the refusals that must not matter.

One bad topic fails the whole subscribe request, and `already subscribed` is an answer like any other: reacting to it with a
reconnect once made a storm (bug A19). A refused request is asked again without the topic that the answer names; one that
names none is halved until the bad topic stands alone.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import TopicFeed
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges.bybit._connection_ping import heartbeat
from exchanges.bybit._hosts import CATEGORY, PUBLIC_WS

TOPICS_PER_REQUEST: Final = {"spot": 10, "linear": 100, "inverse": 100}
ARGS_CHARACTERS: Final = 20_000
"""Total length of the topics of one connection with quotes and commas; the venue allows 21,000."""
REQUESTS_IN_FLIGHT: Final = 10
ACK_TIMEOUT_S: Final = 10.0
_NAMED_TOPIC: Final = re.compile(r"topic:\s*\[?\s*([^\s,\]]+)")


class PublicFeed(TopicFeed[str]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    _beat: Heartbeat

    @property
    def _category(self) -> str:
        return CATEGORY[self._exchange]

    def _rules(self) -> Rules:
        return Rules(batch=TOPICS_PER_REQUEST[self._category], ack_s=ACK_TIMEOUT_S, in_flight=REQUESTS_IN_FLIGHT)

    def _heartbeat(self) -> Heartbeat:
        return heartbeat(self._setup)

    def start(self, now: Instant) -> Outputs:
        return [Connect(PUBLIC_WS + self._category)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def _frame(self, request: Request[str]) -> Send:
        frame = {"req_id": request.id, "op": request.op, "args": request.topics}
        return Send(msgspec.json.encode(frame).decode())

    def _reply(self, op: str, request_id: str, *, success: bool | None, text: str, now: Instant) -> list[Output]:
        """An answer without a topic: a pong, or the answer to a request."""
        if op in ("ping", "pong") or success is None:
            return [] if op in ("ping", "pong") else [Note(f"unknown public frame {op}")]
        if not request_id and op == "subscribe":  # an answer without its id belongs to the oldest request
            request_id = next(iter(self._book.in_flight), "")
        if success:
            return self._answered(request_id, now)
        found = _NAMED_TOPIC.search(text)
        bad = self._book.spoiled(request_id, found.group(1) if found else None)
        if "already subscribed" in text:
            self._book.confirmed.update(bad)
            return [Note(f"subscribe: {text}", "info"), *self._pump(now), *self._confirmed(bad, now)]
        fail = Fail(kind=FailKind.REQUEST, reason=text or "subscribe refused")
        return [Note(f"subscribe: {text}"), *self._pump(now), *(self._refused(bad, fail, now) if bad else ())]
