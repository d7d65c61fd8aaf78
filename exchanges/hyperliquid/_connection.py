"""A price connection: one subscribe request at a time: bursts get it closed as "Inactive" (venues/hyperliquid.md 3)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import NO_ANSWER, TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.hyperliquid._connection_frames import Topic, acknowledged, decode_frame, heartbeat, request
from exchanges.hyperliquid._errors import RETRY_S, Complaint, complaint
from exchanges.hyperliquid._hosts import site_of

SUBSCRIBE_EVERY_S: Final = 0.5
RULES: Final = Rules(batch=1, ack_s=10.0, tries=2, in_flight=1, burst=1, refill_s=SUBSCRIBE_EVERY_S)


class PublicFeed(TopicFeed[Topic]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    _beat: Heartbeat
    channel: str
    """Name of the data frames, which is the type of the subscriptions as well."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._site = site_of(setup.options)

    def _rules(self) -> Rules:
        return RULES

    def _heartbeat(self) -> Heartbeat:
        return heartbeat()

    def start(self, now: Instant) -> Outputs:
        return [Connect(self._site.ws)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def _frame(self, request_: Request[Topic]) -> Send:
        return request(request_.op, request_.topics[0])

    @abstractmethod
    def _told_data(self, data: msgspec.Raw, now: Instant) -> Outputs:
        """A data frame. Raises what `UNREADABLE` lists, or `ValueError`."""

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = decode_frame(frame)
            if message.channel == self.channel:
                return self._told_data(message.data, now)
            if message.channel == "subscriptionResponse":
                topic = acknowledged(message.data)
                return self._acknowledged([topic], now) if topic is not None else []
        except (*UNREADABLE, ValueError) as error:
            return [Note(f"unreadable price frame: {error}")]
        if message.channel == "error":
            return self._complained(complaint(message.data), now)
        return [] if message.channel == "pong" else [Note(f"unknown price channel {message.channel[:40]}")]

    def _complained(self, said: Complaint, now: Instant) -> list[Output]:
        # One request is on its way at a time: an error that names no topic is about that one.
        topic = said.topic if said.topic is not None else self._book.only
        if said.already and topic is not None:
            return self._acknowledged([topic], now)
        if said.kind is FailKind.RATE_LIMITED:
            return [self._fail(said.kind, said.reason, RETRY_S)]
        note = Note(f"error frame: {said.reason}", "info" if said.already else "error")
        if topic is None or said.kind is not FailKind.REQUEST or not self._book.refused(topic):
            return [note]
        refused = self._refused([topic], Fail(kind=FailKind.REQUEST, reason=said.reason), now)
        return [note, *refused, *self._pump(now)]

    def _silent(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        """A topic that stays unanswered among others is bad; if none is answered, the connection is."""
        if not self._book.confirmed:
            return super()._silent(topics, now)
        return self._refused(topics, Fail(kind=FailKind.TRANSIENT, reason=NO_ANSWER), now)
