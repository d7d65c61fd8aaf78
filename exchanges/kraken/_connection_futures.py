"""A public futures connection: subscribe frames, their answers by product, and refusals (venues/kraken.md 3, 4 and 7)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._failures import Failure
from exchanges._feed import TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts
from exchanges.kraken._connection_futures_frames import Frame, decode_frame
from exchanges.kraken._connection_topic import Topic
from exchanges.kraken._symbols import interval_name, minutes_of_name

RULES: Final = Rules(
    batch=100,
    ack_s=10.0,
    tries=2,
    gather_s=0.5,
    # Refusals name no request, so one is on its way at a time.
    in_flight=1,
    burst=2,
    refill_s=0.5,
)
TICKER: Final = "ticker"
CANDLES: Final = "candles_trade_"
_SILENT: Final = frozenset({"info", "pong", "unsubscribed"})


def feed_of(topic: Topic) -> str:
    return f"{CANDLES}{interval_name(topic.minutes)}" if topic.minutes else TICKER


class FuturesLink(TopicFeed[Topic]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._pause_s = _errors.RATE_WAIT_S

    def _rules(self) -> Rules:
        return RULES

    @abstractmethod
    def _data(self, message: Frame, frame: bytes, now: Instant) -> Outputs:
        """A message of a feed. May raise what `UNREADABLE` lists."""

    def start(self, now: Instant) -> Outputs:
        return [Connect(_hosts.FUTURES_WS)]

    def connected(self, now: Instant) -> Outputs:
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            message = decode_frame(frame)
            if message.event:
                return self._control(message, now)
            return self._data(message, frame, now)
        except UNREADABLE:
            return [Note(f"public frame of {len(frame)} bytes is not understood")]

    def _frame(self, request: Request[Topic]) -> Send:
        """All topics of a connection are of one feed (`Venue.candle_group`)."""
        products = [topic.symbol for topic in request.topics]
        message = {"event": request.op, "feed": feed_of(request.topics[0]), "product_ids": products}
        return Send(msgspec.json.encode(message).decode())

    # --- answers ---

    def _control(self, message: Frame, now: Instant) -> list[Output]:
        event = message.event
        if event == "subscribed":
            return self._subscribed(message, now)
        if event in _SILENT:
            return []
        if event not in ("alert", "error", "subscribed_failed"):
            return [Note(f"unknown public event {event[:40]}")]
        text = message.message or message.error or "refused without a reason"
        if _errors.benign(text):
            return [Note(text[:100], "info")]
        return self._refusal(message, _errors.failure_of_text(text), now)

    def _subscribed(self, message: Frame, now: Instant) -> list[Output]:
        self._pause_s = _errors.RATE_WAIT_S
        return self._acknowledged(self._about(message), now)

    @staticmethod
    def _about(message: Frame) -> Sequence[Topic]:
        minutes: int | None = 0
        if message.feed != TICKER:
            minutes = minutes_of_name(message.feed.removeprefix(CANDLES))
        return [] if minutes is None else [Topic(product, minutes) for product in message.product_ids]

    def _refusal(self, message: Frame, failure: Failure, now: Instant) -> list[Output]:
        asked = self._book.in_flight
        note = Note(f"{message.event}: {failure.reason}")
        if not asked:
            return [note]
        if failure.kind is FailKind.RATE_LIMITED:
            self._book.pause(asked[0], self._pause_s, now)
            self._pause_s = min(60.0, 2 * self._pause_s)
            return [note, *self._pump(now)]
        if failure.kind is FailKind.TRANSIENT and message.event == "alert":
            return [self._fail(FailKind.TRANSIENT, failure.reason, failure.retry_after_s)]
        kind = FailKind.REQUEST if failure.kind is FailKind.REQUEST else FailKind.TRANSIENT
        fail = Fail(kind=kind, reason=failure.reason)
        return [note, *self._spoiled(asked[0], fail, now, named=self._about(message))]
