"""One Bitget connection: text pings, subscriptions with one answer per argument, socket errors (venues/bitget.md 3, 4, 7)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import NO_ANSWER, TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._meaning import PASSING
from exchanges._rows import tolerant
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.bitget import _hosts
from exchanges.bitget._errors import SOCKET
from exchanges.bitget._rows import ArgFrame, Frame

PING_INTERVAL_S: Final = 25.0
"""The venue asks for one every 30 s and disconnects after 2 min without."""
PONG_S: Final = 10.0
RULES: Final = Rules(
    batch=40,  # keeps a subscribe frame under the customary 4096 bytes
    ack_s=10.0,
    tries=2,
    gather_s=0.3,  # requests come in bursts
    # 240 frames an hour and connection: a burst of 50, then one every 20 s, is 230.
    burst=50,
    refill_s=20.0,
)

ACCOUNT: Final = "account"


class Arg(NamedTuple):
    """One subscription argument: of v2 (`SPOT`), of the private v3 socket (no value), or of its public one (`spot`)."""

    inst_type: str
    channel: str
    """v3: the topic."""
    value: str = ""
    """Symbol, or coin."""
    interval: str = ""
    """v3 candles only; on v2 it is part of the channel."""

    @property
    def modern(self) -> bool:
        """Of the public v3 socket, which writes its products in small letters."""
        return bool(self.value) and self.inst_type.islower()

    def fields(self) -> dict[str, str]:
        if not self.value:
            return {"instType": self.inst_type, "topic": self.channel}
        if self.modern:
            fields = {"instType": self.inst_type, "topic": self.channel, "symbol": self.value}
            return fields | ({"interval": self.interval} if self.interval else {})
        name = "coin" if self.channel == ACCOUNT else "instId"
        return {"instType": self.inst_type, "channel": self.channel, name: self.value}

    @property
    def text(self) -> str:
        return "/".join(part for part in self if part)


_decode = tolerant(Frame)


def code_of(frame: Frame) -> str:
    """Codes come as numbers or as text; empty for success."""
    text = str(frame.code)
    return text.lstrip("0") if text.isdigit() else ""


def arg_of(frame: ArgFrame) -> Arg:
    """The argument that a frame is about."""
    value = frame.inst_id or frame.coin or frame.symbol
    return Arg(frame.inst_type, frame.channel or frame.topic, value, frame.interval)


class Socket(TopicFeed[Arg]):
    """Base of Bitget's adapters. A subclass reads the pushes."""

    _beat: Heartbeat

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._version = ""
        """`v2` or `v3` of a public connection; set by what it carries."""

    def _rules(self) -> Rules:
        return RULES

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(PING_INTERVAL_S, PONG_S, lambda: "ping")

    # --- for subclasses ---

    @abstractmethod
    def _pushed(self, frame: Frame, now: Instant) -> Outputs: ...

    def _other(self, frame: Frame, now: Instant) -> Outputs:
        """Any further frame (login answers)."""
        return [Note(f"event {frame.event or 'none'}")]

    def _rejected(self, frame: Frame, code: str, now: Instant) -> Outputs | None:
        """An error before the common handling; None = not handled."""
        return None

    def _silent(self, topics: Sequence[Arg], now: Instant) -> list[Output]:
        """Errors may lack their argument, so one that stays silent among others is bad."""
        if not self._book.confirmed:
            return super()._silent(topics, now)
        return self._refused(topics, Fail(kind=FailKind.TRANSIENT, reason=NO_ANSWER), now)

    # --- inputs ---

    def start(self, now: Instant) -> Outputs:
        demo = _hosts.demo_prices(self._setup.options)
        return [Connect(_hosts.ws_url(self._version or "v2", "public", demo=demo))]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        if frame == b"pong":  # text, not JSON
            self._beat.heard()
            return []
        try:
            head = _decode(frame)
        except UNREADABLE:
            return [Note(f"frame of {len(frame)} bytes is not understood")]
        if head.action:
            return self._pushed(head, now)
        if head.event == "subscribe" and head.arg is not None:
            return self._acknowledged([arg_of(head.arg)], now)
        if head.event == "unsubscribe":
            return []
        return self._error(head, now) if head.event == "error" else self._other(head, now)

    # --- helpers ---

    def _frame(self, request: Request[Arg]) -> Send:
        return Send(msgspec.json.encode({"op": request.op, "args": [arg.fields() for arg in request.topics]}).decode())

    def _error(self, frame: Frame, now: Instant) -> Outputs:
        code = code_of(frame)
        handled = self._rejected(frame, code, now)
        if handled is not None:
            return handled
        reason = f"{frame.code} {frame.msg or ''}".strip()
        meaning = SOCKET.get(code, PASSING)
        if meaning.kind is FailKind.RATE_LIMITED:
            return [self._fail(meaning.kind, reason, meaning.wait_s)]
        # An error without an argument must mean the only one that waits.
        arg = arg_of(frame.arg) if frame.arg is not None else self._book.only
        if meaning.kind is FailKind.REQUEST and arg is not None and self._book.refused(arg):
            return self._refused([arg], Fail(kind=FailKind.REQUEST, reason=f"{arg.text}: {reason}"), now)
        return [Note(f"error {code or 0}")]
