"""One Coinbase connection: subscribing channel by channel, heartbeats, sequence numbers (venues/coinbase.md 3 and 4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._clock import VenueClock
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._rows import tolerant
from exchanges._timers import Alarms
from exchanges._topics import chunks
from exchanges._venue import Setup
from exchanges.coinbase._errors import failure_of_text
from exchanges.coinbase._signer import Signer

MARKET_WS: Final = "wss://advanced-trade-ws.coinbase.com"
USER_WS: Final = "wss://advanced-trade-ws-user.coinbase.com"
SANDBOX_USER_WS: Final = "wss://advanced-trade-ws-user-sandbox.coinbase.com"
REST: Final = "https://api.coinbase.com"
SANDBOX_REST: Final = "https://api-sandbox.coinbase.com"
API: Final = "/api/v3/brokerage"

HEARTBEATS: Final = "heartbeats"
"""Sent once a second; without it the venue closes a quiet subscription after 60 to 90 s."""
SILENCE_S: Final = 15.0
"""No heartbeat for this long: dead."""
ACK_TIMEOUT_S: Final = 10.0
IDS_PER_FRAME: Final = 100


class Message(msgspec.Struct):
    """Around every frame; an error frame has only a type and a message."""

    channel: str = ""
    type: str = ""
    message: str = ""
    timestamp: str = ""
    sequence_num: int | None = None
    events: msgspec.Raw = msgspec.Raw(b"[]")


class Request(msgspec.Struct, frozen=True):
    operation: str
    channel: str
    ids: tuple[str, ...] = ()


class _Subscriptions(msgspec.Struct):
    subscriptions: dict[str, Any] = {}


_decode = tolerant(Message)
_decode_subscriptions = msgspec.json.Decoder(list[_Subscriptions]).decode


class Link(ABC):
    """What all Coinbase connections share. See `exchanges._adapter.Adapter`.

    One subscribe frame at a time waits for its answer: so an error frame, which names no request, belongs to that one, and
    the eight messages a second of the venue are never exceeded.
    """

    url = MARKET_WS

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._alarms: Alarms[str] = Alarms()
        self._signer: Signer | None = None
        self._queue: deque[Request] = deque()
        self._asked: Request | None = None
        self._connected = False
        self._sequence: int | None = None
        self._clock = VenueClock(setup)

    # --- what a feed adds ---

    @abstractmethod
    def _requests(self) -> Iterable[Request]:
        """What to subscribe once the connection is up; `heartbeats` comes by itself."""

    @abstractmethod
    def _data(self, message: Message, now: Instant) -> list[Output]:
        """A frame of a data channel."""

    @abstractmethod
    def _acknowledged(self, request: Request, now: Instant) -> list[Output]:
        """A subscribe frame was answered."""

    @abstractmethod
    def _declined(self, request: Request, failure: Failure, now: Instant) -> list[Output]:
        """The venue refused a subscribe frame, for a reason that is not about the key."""

    @abstractmethod
    def _unauthorised(self, failure: Failure, now: Instant) -> list[Output]:
        """The venue refused the key."""

    def _beat(self) -> list[Output]:
        return []

    def _alarm(self, name: str, now: Instant) -> list[Output]:
        """An own deadline of the feed has come."""
        return []

    # --- inputs ---

    def start(self, now: Instant) -> Outputs:
        return [Connect(self.url)]

    def connected(self, now: Instant) -> Outputs:
        self._connected = True
        self._alarms.set(HEARTBEATS, now.mono + SILENCE_S)
        # The first subscribe must come within 5 s of the upgrade.
        self._queue.extend([*self._requests(), Request("subscribe", HEARTBEATS)])
        return self._pump(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            message = _decode(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable frame: {error}")]
        if message.type == "error" and not message.channel:
            return self._error(message.message, now)
        outputs: list[Output] = []
        if message.sequence_num is not None:
            last, self._sequence = self._sequence, message.sequence_num
            if last is not None and message.sequence_num <= last:
                self._sequence = last
                return [Note("a frame with an old sequence number was ignored")]
            if last is not None and message.sequence_num > last + 1:
                outputs.append(Fail(kind=FailKind.TRANSIENT, reason="messages were lost: the sequence has a gap"))
        # What a frame behind a gap says is true nevertheless, so it is passed on before the connection ends.
        return [*self._dispatch(message, now), *outputs]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs: list[Output] = []
        for name in self._alarms.due(now):
            if name == HEARTBEATS:
                outputs.append(Fail(kind=FailKind.TRANSIENT, reason=f"no heartbeat for {SILENCE_S:.0f} s"))
            elif name == "ack":
                channel = self._asked.channel if self._asked else ""
                reason = f"no answer to subscribing {channel} for {ACK_TIMEOUT_S:.0f} s"
                outputs.append(Fail(kind=FailKind.TRANSIENT, reason=reason))
            else:
                outputs.extend(self._alarm(name, now))
        return outputs

    def deadline(self) -> float | None:
        return self._alarms.deadline()

    def closing(self, now: Instant) -> Outputs:
        return []

    # --- frames ---

    def _dispatch(self, message: Message, now: Instant) -> list[Output]:
        if message.channel == HEARTBEATS:
            self._alarms.set(HEARTBEATS, now.mono + SILENCE_S)
            return self._beat()
        if message.channel == "subscriptions":
            return self._listed(message, now)
        return self._data(message, now)

    def _listed(self, message: Message, now: Instant) -> list[Output]:
        try:
            events = _decode_subscriptions(message.events)
        except UNREADABLE as error:
            return [Note(f"unreadable subscriptions frame: {error}")]
        request = self._asked
        active = {channel for event in events for channel in event.subscriptions}
        if request is None or (request.operation == "subscribe" and request.channel not in active):
            return []
        self._settle()
        outputs = self._pump(now)
        if request.operation == "subscribe":
            outputs.extend(self._acknowledged(request, now))
        return outputs

    def _error(self, text: str, now: Instant) -> list[Output]:
        failure = failure_of_text(text)
        if failure.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE):
            return self._unauthorised(failure, now)
        if failure.kind in (FailKind.RATE_LIMITED, FailKind.MAINTENANCE):
            return [failure.fail()]
        request = self._asked
        if request is None:
            return [Note(f"error frame: {text}")]
        self._settle()
        outputs = self._declined(request, failure, now) if request.operation == "subscribe" else []
        return [Note(f"subscribe refused: {text}"), *outputs, *self._pump(now)]

    # --- requests ---

    def _ask(self, operation: str, channel: str, ids: Sequence[str], now: Instant) -> list[Output]:
        """Queue frames for a channel, in chunks; nothing before the connection is up, as `_requests` will tell then."""
        if not self._connected:
            return []
        self._queue.extend(requests(operation, channel, ids))
        return self._pump(now)

    def _pump(self, now: Instant) -> list[Output]:
        if self._asked is not None or not self._queue:
            return []
        self._asked = request = self._queue.popleft()
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S)
        return [self._frame(request, now)]

    def _settle(self) -> None:
        self._asked = None
        self._alarms.clear("ack")

    def _again(self, now: Instant) -> list[Output]:
        """Send the unanswered request once more, signed anew."""
        if self._asked is None:
            return []
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S)
        return [self._frame(self._asked, now)]

    def _frame(self, request: Request, now: Instant) -> Send:
        if self._signer is not None:
            frame = self._signer.frame(request.operation, request.channel, request.ids, self._seconds(now))
        else:
            frame = {"type": request.operation, "channel": request.channel}
            if request.ids:
                frame["product_ids"] = list(request.ids)
        return Send(msgspec.json.encode(frame).decode())

    def _seconds(self, now: Instant) -> int:
        return self._clock.stamp(now) // 1000

    @property
    def _quiet(self) -> bool:
        """Nothing waits for an answer."""
        return self._asked is None and not self._queue


def requests(operation: str, channel: str, ids: Sequence[str]) -> list[Request]:
    """Requests for a channel: one frame per hundred ids, or one without ids."""
    return [Request(operation, channel, part) for part in chunks(ids, IDS_PER_FRAME) or [()]]
