"""One Bitget connection: text pings, subscriptions with one answer per argument, socket errors (venue file 3, 4, 7)."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Send,
    Setup,
    Subscription,
)
from exchanges._frames import UNREADABLE
from exchanges._timers import Beat, Heartbeat, Waiting, earliest
from exchanges.bitget import _markets
from exchanges.bitget._frames import Frame

PING_INTERVAL_S: Final = 25.0
"""The venue asks for one every 30 s and disconnects after 2 min without."""
PONG_S: Final = 10.0
ACK_S: Final = 10.0
ATTEMPTS: Final = 2
ARGS_PER_FRAME: Final = 40
"""Keeps a subscribe frame under the customary 4096 bytes."""
SUBSCRIBES_PER_HOUR: Final = 230
"""The venue allows 240 an hour and connection."""
HOUR_S: Final = 3600.0

RATE_WAIT_S: Final = 1.0
OVER_LIMIT_WAIT_S: Final = 60.0
"""30007: the address may be blocked for a while."""

BAD_KEY: Final = frozenset({30011, 30012, 30015})
"""Key, passphrase, signature."""
BAD_CLOCK: Final = frozenset({30013, 30014})
LOGIN_FAILED: Final = 30005
NOT_LOGGED_IN: Final = 30004
BAD_ARG: Final = frozenset({30001, 30002, 30003, 30016})
_TOO_MANY: Final = 30006
_OVER_LIMIT: Final = 30007


class Arg(NamedTuple):
    """One subscription argument. `name` is the key that holds `value` (`instId`, `coin`), empty for v3 private topics."""

    inst_type: str
    channel: str
    value: str = ""
    name: str = "instId"
    v3: bool = False
    attempt: int = 1

    @property
    def key(self) -> tuple[str, str, str]:
        return self.inst_type, self.channel, self.value

    def fields(self) -> dict[str, str]:
        fields = {"instType": self.inst_type, "topic" if self.v3 else "channel": self.channel}
        if self.value:
            fields[self.name] = self.value
        return fields

    @property
    def text(self) -> str:
        return "/".join(part for part in self.key if part)


_decode = msgspec.json.Decoder(Frame).decode
Key = tuple[str, str, str]


def code_of(frame: Frame) -> int:
    """Codes come as numbers or as text."""
    text = str(frame.code)
    return int(text) if text.isdigit() else 0


class Socket:
    """Base of Bitget's adapters. A subclass says what to subscribe (`opened`) and reads pushes (`pushed`)."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.exchange = setup.exchange
        self.now = Instant(0.0, 0)
        self.open = False
        self._ended = False
        self._asked: Waiting[Key, Arg] = Waiting()
        self._beat = Heartbeat(PING_INTERVAL_S, PONG_S)
        self._subscribes: deque[float] = deque(maxlen=SUBSCRIBES_PER_HOUR)
        self._any_ack = False

    # --- for subclasses ---

    def opened(self, now: Instant) -> Outputs:
        """The connection stands."""
        raise NotImplementedError

    def pushed(self, frame: Frame, now: Instant) -> Outputs:
        raise NotImplementedError

    def acknowledged(self, arg: Arg, now: Instant) -> Outputs:
        raise NotImplementedError

    def refused(self, arg: Arg, reason: str, now: Instant) -> Outputs:
        """The venue does not take this argument; it is not asked for again on this connection."""
        raise NotImplementedError

    def unanswered(self, arg: Arg, now: Instant) -> Outputs:
        """No answer after all attempts. Errors may lack their argument, so one that stays silent among others is bad."""
        if self._any_ack:
            return self.refused(arg, "no answer", now)
        return [self.fail(FailKind.TRANSIENT, f"no answer to the subscription of {arg.text}")]

    def other(self, frame: Frame, now: Instant) -> Outputs:
        """Any further frame (login answers)."""
        return [Note(f"event {frame.event or 'none'}")]

    def rejected(self, frame: Frame, code: int, now: Instant) -> Outputs | None:
        """Hook: an error before the common handling; None = not handled."""
        return None

    # --- inputs ---

    def start(self, now: Instant) -> Outputs:
        self.now = now
        return [Connect(_markets.ws_url("v2", "public", demo=_markets.demo_prices(self.setup.options)))]

    def connected(self, now: Instant) -> Outputs:
        self.now = now
        self.open = True
        self._beat.start(now)
        return self.opened(now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self.now = now
        if frame == b"pong":  # text, not JSON
            self._beat.pong()
            return []
        try:
            head = _decode(frame)
        except UNREADABLE:
            return [Note(f"frame of {len(frame)} bytes is not understood")]
        if head.action:
            return self.pushed(head, now)
        if head.event == "subscribe" and head.arg is not None:
            arg = self._asked.take(head.arg.key)
            self._any_ack = True
            return [] if arg is None else self.acknowledged(arg, now)
        if head.event == "unsubscribe":
            return []
        return self._error(head, now) if head.event == "error" else self.other(head, now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self.now = now
        return []

    def woken(self, now: Instant) -> Outputs:
        self.now = now
        if self._ended:
            return []
        outputs: list[Output] = []
        beat = self._beat.due(now)
        if beat is Beat.DEAD:
            return [self.fail(FailKind.TRANSIENT, "no pong")]
        if beat is Beat.PING:
            outputs.append(Send("ping", urgent=True))
        again: list[Arg] = []
        for _, arg in self._asked.expired(now):
            if arg.attempt < ATTEMPTS:
                again.append(arg._replace(attempt=arg.attempt + 1))
            elif not self._ended:
                outputs.extend(self.unanswered(arg, now))
        if again and not self._ended:
            outputs.extend(self.subscribe(again, now))
        return outputs

    def deadline(self) -> float | None:
        return None if self._ended else earliest(self._beat.deadline(), self._asked.deadline())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        raise NotImplementedError

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        raise NotImplementedError

    def closing(self, now: Instant) -> Outputs:
        return []

    # --- helpers ---

    def fail(self, kind: FailKind, reason: str, retry_after_s: float | None = None) -> Fail:
        """A failure of the whole connection; nothing is sent afterwards."""
        self._ended = True
        return Fail(kind=kind, reason=reason, retry_after_s=retry_after_s)

    def subscribe(self, args: list[Arg], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for start in range(0, len(args), ARGS_PER_FRAME):
            part = args[start : start + ARGS_PER_FRAME]
            for arg in part:
                self._asked.add(arg.key, arg, now.mono + ACK_S)
            self._subscribes.append(now.mono)
            outputs.append(self._frame("subscribe", part))
        return outputs

    def unsubscribe(self, args: list[Arg]) -> list[Output]:
        parts = [args[start : start + ARGS_PER_FRAME] for start in range(0, len(args), ARGS_PER_FRAME)]
        return [self._frame("unsubscribe", part) for part in parts]

    def may_subscribe_at(self, now: Instant) -> float:
        """When the hourly allowance of this connection takes another subscribe frame (monotonic seconds)."""
        if len(self._subscribes) < SUBSCRIBES_PER_HOUR:
            return now.mono
        return max(now.mono, self._subscribes[0] + HOUR_S)

    def waiting(self) -> bool:
        """Whether subscriptions are not answered yet."""
        return len(self._asked) > 0

    def _frame(self, op: str, args: list[Arg]) -> Send:
        return Send(msgspec.json.encode({"op": op, "args": [arg.fields() for arg in args]}).decode())

    def _error(self, frame: Frame, now: Instant) -> Outputs:
        code = code_of(frame)
        handled = self.rejected(frame, code, now)
        if handled is not None:
            return handled
        reason = f"{frame.code} {frame.msg or ''}".strip()
        if code == _TOO_MANY:
            return [self.fail(FailKind.RATE_LIMITED, reason, RATE_WAIT_S)]
        if code == _OVER_LIMIT:
            return [self.fail(FailKind.RATE_LIMITED, reason, OVER_LIMIT_WAIT_S)]
        if code in BAD_ARG:
            arg = self._asked.take(frame.arg.key) if frame.arg is not None else self._only_one()
            if arg is not None:
                return self.refused(arg, reason, now)
        return [Note(f"error {code}")]

    def _only_one(self) -> Arg | None:
        """The argument that an error without one must mean."""
        waiting = [key for key, _ in self._asked]
        return self._asked.take(waiting[0]) if len(waiting) == 1 else None
