"""A public connection of OKX: its subscribe frames, their acknowledgements, and refusals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send
from exchanges._feed import NO_ANSWER, TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._timers import Heartbeat
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.okx._connection_frames import BENIGN, Arg, Control, decode_control, notice
from exchanges.okx._connection_ping import heartbeat
from exchanges.okx._errors import FIRST_WAIT_S, LONGEST_WAIT_S, failure_of_code

ARGS_PER_FRAME: Final = 300
"""A frame of 64 KB closes the connection; 300 of the longest arguments have some 25 KB."""
BURST: Final = 60
RULES: Final = Rules(
    batch=ARGS_PER_FRAME,
    ack_s=5.0,
    tries=3,
    gather_s=0.5,  # one frame costs one operation however much it asks for
    # 480 operations an hour and connection: a burst of 60, then one every 8.6 s, is 478.
    burst=BURST,
    refill_s=8.6,
)
_NAMED: Final = re.compile(r"channel:\s*([\w-]+).*?instId:\s*(\S+?)[\s,]")


class PublicFeed(TopicFeed[Arg]):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    url: str
    _beat: Heartbeat

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._pause_s = 0.0

    def _rules(self) -> Rules:
        return RULES

    def _heartbeat(self) -> Heartbeat:
        return heartbeat()

    def start(self, now: Instant) -> Outputs:
        return [Connect(self.url)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        return self._begin(now)

    def _frame(self, request: Request[Arg]) -> Send:
        rows = [{"channel": arg.channel, "instId": arg.inst_id} for arg in request.topics]
        return Send(msgspec.json.encode({"id": request.id, "op": request.op, "args": rows}).decode())

    def _silent(self, topics: Sequence[Arg], now: Instant) -> list[Output]:
        """An error frame may lack what it is about, so one that stays silent among others is bad."""
        if not self._book.confirmed:
            return super()._silent(topics, now)
        return self._refused(topics, Fail(kind=FailKind.TRANSIENT, reason=NO_ANSWER), now)

    def _control(self, frame: bytes, now: Instant) -> list[Output]:
        """Acknowledgements, errors and notices."""
        try:
            control = decode_control(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable public frame: {error}")]
        if control.event == "subscribe":
            arg = Arg(channel=control.arg.channel, inst_id=control.arg.inst_id)
            if not self._book.acknowledged(arg):
                return []
            self._pause_s = 0.0
            return self._confirmed([arg], now)
        if control.event == "notice":
            return notice(control)
        if control.event == "error":
            return self._error(control, now)
        return [] if control.event in BENIGN else [Note(f"unknown public event {control.event[:40]}")]

    def _error(self, control: Control, now: Instant) -> list[Output]:
        failure = failure_of_code(control.code or "", control.msg or "")
        request_id = control.id or ""
        if failure.kind is FailKind.RATE_LIMITED:  # wait 2 s, doubling to a minute
            self._pause_s = min(LONGEST_WAIT_S, self._pause_s * 2 or FIRST_WAIT_S)
            self._book.pause(request_id, self._pause_s, now)
            return [Note(f"slowed down: {failure.reason}"), *self._pump(now)]
        named = _NAMED.search(f"{control.msg or ''} ")
        args = [Arg(channel=named.group(1), inst_id=named.group(2))] if named is not None else []
        kind = FailKind.REQUEST if failure.kind is FailKind.REQUEST else FailKind.TRANSIENT
        refused = self._spoiled(request_id, Fail(kind=kind, reason=failure.reason), now, named=args)
        return [Note(f"subscribe: {failure.reason}"), *refused]
