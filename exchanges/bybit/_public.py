"""A public connection of Bybit: asking for topics, their acknowledgements, and the refusals that must not matter.

One bad topic fails the whole subscribe request, and `already subscribed` is an answer like any other: reacting to it with a
reconnect once made a storm (bug A19). A refused request is asked again without the topic that the answer names; one that
names none is halved until the bad topic stands alone.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send, Setup
from exchanges._timers import earliest
from exchanges.bybit._keepalive import KeepAlive
from exchanges.bybit._rest import CATEGORY, PUBLIC_WS

TOPICS_PER_REQUEST: Final = {"spot": 10, "linear": 100, "inverse": 100}
ARGS_CHARACTERS: Final = 20_000
"""Total length of the topics of one connection with quotes and commas; the venue allows 21,000."""
REQUESTS_IN_FLIGHT: Final = 10
ACK_TIMEOUT_S: Final = 10.0
_NAMED_TOPIC: Final = re.compile(r"topic:\s*\[?\s*([^\s,\]]+)")


class _Request(msgspec.Struct, frozen=True):
    op: str
    topics: tuple[str, ...]
    due: float


class TopicBook:
    """Which topics a connection wants and where each request stands. Pure."""

    def __init__(self, setup: Setup, batch: int) -> None:
        self._new_id = setup.new_id
        self._batch = batch
        self._queue: deque[tuple[str, tuple[str, ...]]] = deque()
        self._requests: dict[str, _Request] = {}
        self.confirmed: set[str] = set()

    @property
    def settled(self) -> bool:
        """Nothing is queued and nothing unanswered."""
        return not self._queue and not self._requests

    def ask(self, op: str, topics: Iterable[str], *, first: bool = False) -> None:
        wanted = list(topics)
        batches = [(op, tuple(wanted[at : at + self._batch])) for at in range(0, len(wanted), self._batch)]
        if first:
            self._queue.extendleft(reversed(batches))
        else:
            self._queue.extend(batches)

    def pump(self, now: Instant) -> list[Output]:
        """The frames that may go out now."""
        outputs: list[Output] = []
        while self._queue and len(self._requests) < REQUESTS_IN_FLIGHT:
            op, topics = self._queue.popleft()
            request_id = self._new_id()
            self._requests[request_id] = _Request(op, topics, now.mono + ACK_TIMEOUT_S)
            frame = {"req_id": request_id, "op": op, "args": topics}
            outputs.append(Send(msgspec.json.encode(frame).decode()))
        return outputs

    def deadline(self) -> float | None:
        return min((request.due for request in self._requests.values()), default=None)

    def overdue(self, now: Instant) -> bool:
        return any(request.due <= now.mono for request in self._requests.values())

    def answered(self, op: str, request_id: str, *, success: bool, text: str) -> tuple[list[str], list[str]]:
        """Topics confirmed and topics refused by an answer; what has to be asked again is queued."""
        request = self._take(op, request_id)
        if request is None:
            return [], []
        if request.op == "unsubscribe":
            self.confirmed.difference_update(request.topics)
            return [], []
        if success:
            self.confirmed.update(request.topics)
            return list(request.topics), []
        found = _NAMED_TOPIC.search(text)
        named = found.group(1) if found else ""
        if named not in request.topics:
            return self._halve(request)
        self.ask(request.op, [topic for topic in request.topics if topic != named], first=True)
        if "already subscribed" in text:
            self.confirmed.add(named)
            return [named], []
        return [], [named]

    def _halve(self, request: _Request) -> tuple[list[str], list[str]]:
        if len(request.topics) == 1:
            return [], list(request.topics)
        middle = len(request.topics) // 2
        self._queue.extendleft([(request.op, request.topics[middle:]), (request.op, request.topics[:middle])])
        return [], []

    def _take(self, op: str, request_id: str) -> _Request | None:
        if request_id in self._requests:
            return self._requests.pop(request_id)
        for known, request in self._requests.items():  # an answer without its id belongs to the oldest request
            if not request_id and request.op == op:
                del self._requests[known]
                return request
        return None


class PublicAdapter(ABC):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._category = CATEGORY[setup.exchange]
        self._book = TopicBook(setup, TOPICS_PER_REQUEST[self._category])
        self._keepalive = KeepAlive(setup.new_id)
        self._connected = False

    @abstractmethod
    def _topics(self) -> list[str]:
        """Every topic that the subscriptions need."""

    @abstractmethod
    def _confirmed(self, topics: list[str], now: Instant) -> list[Output]:
        """The venue sends these topics from now on."""

    @abstractmethod
    def _refused(self, topics: list[str], reason: str, now: Instant) -> list[Output]:
        """The venue does not have these topics."""

    def start(self, now: Instant) -> Outputs:
        return [Connect(PUBLIC_WS + self._category)]

    def connected(self, now: Instant) -> Outputs:
        self._connected = True
        self._keepalive.begin(now)
        return self._want(self._topics(), now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._keepalive.due(now)
        if self._book.overdue(now):
            reason = f"no answer to a subscribe request for {ACK_TIMEOUT_S:.0f} s"
            outputs.append(Fail(kind=FailKind.TRANSIENT, reason=reason))
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._keepalive.deadline(), self._book.deadline())

    def closing(self, now: Instant) -> Outputs:
        return []

    def _want(self, topics: list[str], now: Instant) -> list[Output]:
        """Ask for topics, once the connection is up."""
        if not self._connected or not topics:
            return []
        self._book.ask("subscribe", topics)
        return self._book.pump(now)

    def _drop(self, topics: list[str], now: Instant) -> list[Output]:
        if not self._connected or not topics:
            return []
        self._book.ask("unsubscribe", topics)
        return self._book.pump(now)

    def _reply(self, op: str, request_id: str, *, success: bool | None, text: str, now: Instant) -> list[Output]:
        """An answer without a topic: a pong, or the answer to a request."""
        if op in ("ping", "pong") or success is None:
            return [] if op in ("ping", "pong") else [Note(f"unknown public frame {op}")]
        confirmed, refused = self._book.answered(op, request_id, success=success, text=text)
        outputs: list[Output] = []
        if not success:
            benign = "already subscribed" in text
            outputs.append(Note(f"subscribe: {text}", "info" if benign else "warning"))
        outputs.extend(self._book.pump(now))
        if refused:
            outputs.extend(self._refused(refused, text, now))
        if confirmed:
            outputs.extend(self._confirmed(confirmed, now))
        return outputs
