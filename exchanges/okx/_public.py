"""A public connection of OKX: asking for channels within the hourly limit, their acknowledgements, and refusals."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, Send, Setup
from exchanges._frames import UNREADABLE
from exchanges._timers import earliest
from exchanges.okx._frames import BENIGN, Arg, Control, decode_control, notice
from exchanges.okx._keepalive import KeepAlive
from exchanges.okx._rest import FIRST_WAIT_S, LONGEST_WAIT_S, failure_of_code

ARGS_PER_FRAME: Final = 300
"""A frame of 64 KB closes the connection; 300 of the longest arguments have some 25 KB."""
GATHER_S: Final = 0.5
"""Requests of a live connection are gathered this long: one frame costs one operation however much it asks for."""
BURST: Final = 60
REFILL_S: Final = 8.6
"""480 operations an hour and connection: a burst of 60, then one every 8.6 s, is 478."""
ACK_TIMEOUT_S: Final = 5.0
TRIES: Final = 3
_NAMED: Final = re.compile(r"channel:\s*([\w-]+).*?instId:\s*(\S+?)[\s,]")


class _Sent(msgspec.Struct):
    """A request on its way: what of it is not acknowledged yet."""

    args: dict[Arg, None]
    due: float


class Book:
    """Which channels a connection wants and where each stands. Pure. I/O thread of the session only."""

    def __init__(self, setup: Setup) -> None:
        self._new_id = setup.new_id
        self._wanted: dict[Arg, int] = {}
        self._unwanted: dict[Arg, None] = {}
        self._sent: dict[str, _Sent] = {}
        self._tries: dict[Arg, int] = {}
        self._tokens = float(BURST)
        self._counted = 0.0
        self._not_before = 0.0
        self._pause_s = 0.0
        self.confirmed: set[Arg] = set()
        self.open = False

    @property
    def settled(self) -> bool:
        """Everything that was asked for is answered."""
        return not self._wanted and not self._sent

    def begin(self, now: Instant) -> None:
        """The connection is up: what was gathered goes out at once."""
        self.open = True
        self._counted = self._not_before = now.mono

    def want(self, args: Iterable[Arg], now: Instant) -> None:
        for arg in args:
            self._unwanted.pop(arg, None)
            if arg not in self.confirmed:
                self._gather(now)
                self._wanted.setdefault(arg, 0)

    def drop(self, args: Iterable[Arg], now: Instant) -> None:
        for arg in args:
            self._wanted.pop(arg, None)
            self._tries.pop(arg, None)
            asked = any(sent.args.pop(arg, 0) is None for sent in self._sent.values())
            if arg in self.confirmed or asked:
                self.confirmed.discard(arg)
                self._gather(now)
                self._unwanted[arg] = None
        self._sent = {key: sent for key, sent in self._sent.items() if sent.args}

    def _gather(self, now: Instant) -> None:
        if not self._wanted and not self._unwanted:
            self._not_before = max(self._not_before, now.mono + GATHER_S)

    def pump(self, now: Instant) -> list[Output]:
        """The frames that may go out now. Calls for `deadline` otherwise."""
        outputs: list[Output] = []
        if not self.open or now.mono < self._not_before:
            return outputs
        self._tokens = min(float(BURST), self._tokens + (now.mono - self._counted) / REFILL_S)
        self._counted = now.mono
        while self._tokens >= 1 and (self._unwanted or self._wanted):
            self._tokens -= 1
            if self._unwanted:
                args = list(self._unwanted)[:ARGS_PER_FRAME]
                for arg in args:
                    del self._unwanted[arg]
                outputs.append(self._frame("unsubscribe", self._new_id(), args))
                continue
            # Split requests (see `failed`) go out in their halves, everything else as one.
            part = next(iter(self._wanted.values()))
            args = [arg for arg, group in self._wanted.items() if group == part][:ARGS_PER_FRAME]
            request_id = self._new_id()
            for arg in args:
                del self._wanted[arg]
                self._tries[arg] = self._tries.get(arg, 0) + 1
            self._sent[request_id] = _Sent(dict.fromkeys(args), now.mono + ACK_TIMEOUT_S)
            outputs.append(self._frame("subscribe", request_id, args))
        return outputs

    def deadline(self) -> float | None:
        if not self.open:
            return None
        due = min((sent.due for sent in self._sent.values()), default=None)
        if not self._wanted and not self._unwanted:
            return due
        room = self._counted + max(0.0, 1 - self._tokens) * REFILL_S
        return earliest(due, max(room, self._not_before))

    def acknowledged(self, arg: Arg) -> bool:
        """False if nobody waits for this: a repeated acknowledgement, or one of something given up."""
        found = False
        for request_id, sent in list(self._sent.items()):
            if arg in sent.args:
                del sent.args[arg]
                found = True
                if not sent.args:
                    del self._sent[request_id]
        if found:
            self._pause_s = 0.0
            self._tries.pop(arg, None)
            self.confirmed.add(arg)
        return found

    def failed(self, request_id: str, text: str) -> list[Arg]:
        """What an error frame refuses for good. It names the bad argument, or the request is asked again in halves."""
        named = _NAMED.search(text + " ")
        if named is not None:
            arg = Arg(channel=named.group(1), inst_id=named.group(2))
            for sent in self._sent.values():
                if arg in sent.args:
                    del sent.args[arg]
                    self._tries.pop(arg, None)
                    self._sent = {key: kept for key, kept in self._sent.items() if kept.args}
                    return [arg]
        sent_now = self._sent.pop(request_id, None)
        if sent_now is None:
            return []
        args = list(sent_now.args)
        if len(args) == 1:
            self._tries.pop(args[0], None)
            return args
        middle = len(args) // 2
        highest = max(self._wanted.values(), default=0)
        for number, half in enumerate((args[:middle], args[middle:]), start=highest + 1):
            self._wanted.update(dict.fromkeys(half, number))
            for arg in half:
                self._tries[arg] = 0
        return []

    def limited(self, request_id: str, now: Instant) -> None:
        """Too many requests: wait 2 s, doubling to a minute, and ask again."""
        self._pause_s = min(LONGEST_WAIT_S, self._pause_s * 2 or FIRST_WAIT_S)
        self._not_before = now.mono + self._pause_s
        sent = self._sent.pop(request_id, None)
        for arg in sent.args if sent else ():
            self._tries[arg] = 0
            self._wanted.setdefault(arg, 0)

    def expired(self, now: Instant) -> list[Arg]:
        """Ask again for what was not acknowledged in time; returns what stayed unanswered every time."""
        given_up: list[Arg] = []
        for request_id, sent in list(self._sent.items()):
            if sent.due > now.mono:
                continue
            del self._sent[request_id]
            for arg in sent.args:
                if self._tries.get(arg, 0) >= TRIES:
                    self._tries.pop(arg, None)
                    given_up.append(arg)
                else:
                    self._wanted.setdefault(arg, 0)
        return given_up

    @staticmethod
    def _frame(op: str, request_id: str, args: list[Arg]) -> Send:
        rows = [{"channel": arg.channel, "instId": arg.inst_id} for arg in args]
        return Send(msgspec.json.encode({"id": request_id, "op": op, "args": rows}).decode())


class PublicAdapter(ABC):
    """What ticker and candle connections share. See `exchanges._adapter.Adapter`."""

    url: str

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._exchange = setup.exchange
        self._book = Book(setup)
        self._keepalive = KeepAlive()

    @abstractmethod
    def _args(self) -> list[Arg]:
        """Every channel that the subscriptions need."""

    @abstractmethod
    def _confirmed(self, arg: Arg, now: Instant) -> list[Output]:
        """The venue sends this channel from now on."""

    @abstractmethod
    def _refused(self, args: list[Arg], fail: Fail, now: Instant) -> list[Output]:
        """These channels can't be had. `fail` says why, for no stream in particular."""

    def start(self, now: Instant) -> Outputs:
        return [Connect(self.url)]

    def connected(self, now: Instant) -> Outputs:
        self._keepalive.begin(now)
        self._book.want(self._args(), now)
        self._book.begin(now)
        return self._book.pump(now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._keepalive.due(now)
        silent = self._book.expired(now)
        if silent:
            fail = Fail(kind=FailKind.TRANSIENT, reason=f"no answer to {TRIES} subscribe requests")
            if not self._book.confirmed:
                return [*outputs, fail]
            outputs.extend(self._refused(silent, fail, now))
        outputs.extend(self._book.pump(now))
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._keepalive.deadline(), self._book.deadline())

    def closing(self, now: Instant) -> Outputs:
        return []

    def _control(self, frame: bytes, now: Instant) -> list[Output]:
        """Acknowledgements, errors and notices."""
        try:
            control = decode_control(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable public frame: {error}")]
        if control.event == "subscribe":
            arg = Arg(channel=control.arg.channel, inst_id=control.arg.inst_id)
            return self._confirmed(arg, now) if self._book.acknowledged(arg) else []
        if control.event == "notice":
            return notice(control)
        if control.event == "error":
            return self._error(control, now)
        return [] if control.event in BENIGN else [Note(f"unknown public event {control.event[:40]}")]

    def _error(self, control: Control, now: Instant) -> list[Output]:
        failure = failure_of_code(control.code or "", control.msg or "")
        if failure.kind is FailKind.RATE_LIMITED:
            self._book.limited(control.id or "", now)
            return [Note(f"slowed down: {failure.reason}"), *self._book.pump(now)]
        outputs: list[Output] = [Note(f"subscribe: {failure.reason}")]
        refused = self._book.failed(control.id or "", control.msg or "")
        if refused:
            kind = FailKind.REQUEST if failure.kind is FailKind.REQUEST else FailKind.TRANSIENT
            outputs.extend(self._refused(refused, Fail(kind=kind, reason=failure.reason), now))
        return [*outputs, *self._book.pump(now)]
