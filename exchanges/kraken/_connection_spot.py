"""A public spot connection: subscribe frames, their answers by symbol, and refusals (venues/kraken.md 3, 4 and 7)."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._failures import Failure
from exchanges._feed import TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.kraken import _errors, _hosts
from exchanges.kraken._connection_spot_frames import Frame, Numbers, chatter, decode_frame, heartbeat, request
from exchanges.kraken._connection_topic import Topic

RULES: Final = Rules(
    batch=100,
    ack_s=10.0,
    tries=2,
    gather_s=0.5,
    # The message rate is not documented; the old connector waits half a second between requests.
    burst=2,
    refill_s=0.5,
)
LONGEST_PAUSE_S: Final = 60.0
_SYMBOL: Final = re.compile(r"\b[A-Za-z0-9.]+/[A-Za-z0-9.]+\b")


class SpotLink(TopicFeed[Topic]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    channel: str
    url = _hosts.SPOT_WS
    names = _SYMBOL
    """What a symbol in the text of a refusal looks like."""
    _beat: Heartbeat

    def __init__(self, setup: Setup) -> None:
        self._numbers = Numbers()
        self._pause_s = _errors.RATE_WAIT_S
        # The venue takes integers as request ids.
        super().__init__(msgspec.structs.replace(setup, new_id=self._numbers.text))

    def _rules(self) -> Rules:
        return RULES

    def _heartbeat(self) -> Heartbeat:
        return heartbeat(self._numbers)

    @abstractmethod
    def _data(self, message: Frame, now: Instant) -> Outputs:
        """A message of the channel. May raise what `UNREADABLE` lists."""

    def start(self, now: Instant) -> Outputs:
        return [Connect(self.url)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        try:
            message = decode_frame(frame)
            told = chatter(message)
            if told is not None:
                return told
            if message.method or message.error:
                return self._answer(message, now)
            if message.channel == self.channel:
                return self._data(message, now)
        except UNREADABLE:
            return [Note(f"public frame of {len(frame)} bytes is not understood")]
        return [Note(f"unknown public frame {message.channel[:40] or 'without a channel'}")]

    def _frame(self, request_: Request[Topic]) -> Send:
        symbols = [topic.symbol for topic in request_.topics]
        minutes = request_.topics[0].minutes
        params: dict[str, object] = {"channel": self.channel, "symbol": symbols}
        if minutes:
            params |= {"interval": minutes}  # a number: text is refused (bug A21)
        if request_.op == "subscribe":
            params |= {"snapshot": not minutes}
        return request(request_.op, params | self._further(minutes), int(request_.id))

    def _further(self, minutes: int) -> dict[str, object]:
        """What requests for tickers (0 minutes) or candles name beside it."""
        return {} if minutes else {"event_trigger": "trades"}

    # --- answers ---

    def _answer(self, message: Frame, now: Instant) -> list[Output]:
        if message.method != "subscribe" and not (message.error and message.method == ""):
            return []
        topic = self._about(message)
        if message.error is None and message.success:
            if topic is None or not self._book.acknowledged(topic):
                return []
            self._pause_s = _errors.RATE_WAIT_S
            return [*self._confirmed([topic], now), *self._pump(now)]
        text = message.error or "refused without a reason"
        if _errors.benign(text):
            known = [topic] if topic is not None and self._book.acknowledged(topic) else []
            return [Note(text[:100], "info"), *(self._confirmed(known, now) if known else [])]
        return self._refusal(str(message.req_id or ""), topic, _errors.failure_of_text(text), now)

    def _about(self, message: Frame) -> Topic | None:
        """The topic of an answer; refusals name the symbol in their text, or not at all."""
        symbol, minutes = message.symbol or "", self._minutes()
        if message.result is not None:
            symbol, minutes = message.result.symbol, message.result.interval or minutes
        if not symbol and message.error:
            found = self.names.search(message.error)
            symbol = found.group() if found else ""
        return Topic(symbol, minutes) if symbol else self._book.only

    def _minutes(self) -> int:
        """The interval of the connection's candles; 0 for tickers."""
        return 0

    def _refusal(self, request_id: str, topic: Topic | None, failure: Failure, now: Instant) -> list[Output]:
        if failure.kind is FailKind.RATE_LIMITED:
            self._book.pause(request_id, self._pause_s, now)
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
            return [Note(f"slowed down: {failure.reason}"), *self._pump(now)]
        # Another interval of the symbol is subscribed here: another socket can carry it.
        kind = FailKind.REQUEST if failure.kind is FailKind.REQUEST else FailKind.TRANSIENT
        named = [topic] if topic is not None else []
        refused = self._spoiled(request_id, Fail(kind=kind, reason=failure.reason), now, named=named)
        return [Note(f"subscribe: {failure.reason}"), *refused]
