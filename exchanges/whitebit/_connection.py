"""A public connection: subscriptions that replace one another, their answers and refusals."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules, Topic
from exchanges._venue import Setup
from exchanges.whitebit import _errors, _hosts
from exchanges.whitebit._connection_frames import PING_ID, Frame, Numbers, decode_frame, heartbeat, request

RULES: Final = Rules(batch=5_000, ack_s=10.0, tries=2, gather_s=0.5, in_flight=1)
LONGEST_PAUSE_S: Final = 30.0
_MISSING: Final = re.compile(r"market (\S+) does not exist", re.IGNORECASE)


def missing_market(text: str) -> str:
    """The market that a refusal names; empty if it names none."""
    found = _MISSING.search(text)
    return found.group(1) if found else ""


class PublicFeed(TopicFeed[Topic]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    channel: str
    _beat: Heartbeat

    def __init__(self, setup: Setup) -> None:
        self._numbers = Numbers()
        self._site = _hosts.site_of(setup.options)
        self._pause_s = _errors.RATE_WAIT_S
        self._asked: dict[str, tuple[Topic, ...]] = {}
        # The venue takes integers as request ids.
        super().__init__(msgspec.structs.replace(setup, new_id=self._numbers.text))

    def _rules(self) -> Rules:
        return RULES

    def _heartbeat(self) -> Heartbeat:
        return heartbeat()

    @abstractmethod
    def _params(self, topics: Sequence[Topic]) -> list[object]:
        """The parameters of a subscription to these."""

    @abstractmethod
    def _named(self, market: str) -> Topic | None:
        """The topic that a refusal means by a market."""

    @abstractmethod
    def _data(self, params: msgspec.Raw, now: Instant) -> Outputs:
        """A push of the channel. May raise what `UNREADABLE` lists."""

    def start(self, now: Instant) -> Outputs:
        return [Connect(self._site.ws)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = decode_frame(frame)
            if message.method == f"{self.channel}_update":
                return self._data(message.params, now)
        except UNREADABLE:
            return [Note(f"public frame of {len(frame)} bytes is not understood")]
        if message.method is not None or message.id is None:
            return [Note(f"unknown public frame {(message.method or 'without a method')[:40]}")]
        return [] if message.id == PING_ID else self._answer(str(message.id), message, now)

    def _frame(self, request_: Request[Topic]) -> Send:
        """Each subscription replaces the one before it: what the venue sends already stands in the next list, too."""
        if request_.op == "subscribe":
            self._asked[request_.id] = request_.topics
        way = [topic for topics in self._asked.values() for topic in topics if topic not in request_.topics]
        kept = dict.fromkeys((*self._book.confirmed, *way))
        topics = [*kept, *request_.topics] if request_.op == "subscribe" else list(kept)
        method = "subscribe" if topics else "unsubscribe"
        return request(f"{self.channel}_{method}", self._params(topics) if topics else [], int(request_.id))

    def _answer(self, request_id: str, message: Frame, now: Instant) -> list[Output]:
        self._asked.pop(request_id, None)
        if message.error is None:
            self._pause_s = _errors.RATE_WAIT_S
            return self._answered(request_id, now)
        failure = _errors.failure_of_code(message.error.code, message.error.message)
        notes: list[Output] = [Note(f"subscribe: {failure.reason}")]
        if failure.kind is FailKind.REQUEST:
            self._lost(now)
            fail = Fail(kind=FailKind.REQUEST, reason=failure.reason)
            named = self._named(missing_market(failure.reason))
            return [*notes, *self._spoiled(request_id, fail, now, named)]
        if failure.kind is FailKind.RATE_LIMITED:
            self._book.pause(request_id, self._pause_s, now)
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            return notes
        return [*notes, self._fail(FailKind.TRANSIENT, failure.reason)]

    def _lost(self, now: Instant) -> None:
        """After a refusal the channel is empty: what was confirmed is asked for again."""
        confirmed = list(self._book.confirmed)
        self._book.confirmed.clear()
        self._book.want(confirmed, now)
