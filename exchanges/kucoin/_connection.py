"""One classic KuCoin connection: token, welcome, pings, acknowledged subscriptions (venues/kucoin.md 2 to 4 and 7)."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Outputs, Send
from exchanges._clock import ClockCheck, VenueClock
from exchanges._feed import TopicFeed
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges._timers import Heartbeat, earliest
from exchanges._topics import Request, Rules
from exchanges._venue import Setup
from exchanges.kucoin import _errors, _symbols

WELCOME_S: Final = 5.0
"""Without a welcome by then the token is not accepted: a new one is needed."""
ACK_S: Final = 5.0
ATTEMPTS: Final = 2
"""A subscribe that is not acknowledged is sent once more, then the connection is given up."""
PING_SHARE: Final = 0.8
"""Pings go out after this part of `pingInterval`, so that a late timer still is in time."""
PING_INTERVAL_S: Final = 18.0
PONG_S: Final = 10.0
GATHER_S: Final = 0.3
"""Requests come in bursts: those of this long share one subscribe frame."""
TOPICS_PER_MESSAGE: Final = 100
"""A longer comma list is refused as a whole."""
MAINTENANCE_RETRY_S: Final = 30.0
TOO_MANY_S: Final = 10.0

_BULLET: Final = "bullet"
_STATUS: Final = "status"
_DEAD_BULLET: Final = ("401", "token is expired", "token is invalid", "token expired", "token invalid")
_BAD_TOPIC: Final = frozenset({400, 404})


class Topic(NamedTuple):
    """`/market/ticker:` and the name behind the colon, or a private topic without any."""

    prefix: str
    name: str = ""
    private: bool = False


class Control(msgspec.Struct):
    """Frames of the connection itself, and the head of every push."""

    id: str | int = ""
    type: str = ""
    topic: str = ""
    subject: str = ""
    code: int | str = 0
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Server(msgspec.Struct, rename="camel"):
    endpoint: str
    ping_interval: float = PING_INTERVAL_S * 1000
    ping_timeout: float = PONG_S * 1000


class _Token(msgspec.Struct, rename="camel"):
    token: str
    instance_servers: msgspec.Raw


class _Status(msgspec.Struct):
    status: str = ""
    msg: str = ""


_decode_control = tolerant(Control)
_decode_token = msgspec.json.Decoder(_Token).decode
_decode_server = tolerant(_Server)
_decode_status = msgspec.json.Decoder(_Status).decode


def unreadable(frame: bytes) -> Note:
    """A frame that is not understood costs that frame; only its length is told."""
    return Note(f"frame of {len(frame)} bytes is not understood")


class Link(TopicFeed[Topic]):
    """Base of the classic adapters: subscribes once the venue has welcomed the connection. A subclass reads the pushes."""

    private = False
    _beat: Heartbeat

    def __init__(self, setup: Setup, clock: VenueClock | None = None) -> None:
        super().__init__(setup)
        self._clock = clock or self._clock
        self._check = ClockCheck(self._clock, _errors.time_call(_symbols.rest_of(setup.exchange)), _errors.time_of)
        self._welcome_by: float | None = None

    def _rules(self) -> Rules:
        return Rules(batch=1 if self.private else TOPICS_PER_MESSAGE, ack_s=ACK_S, tries=ATTEMPTS, gather_s=GATHER_S)

    def _heartbeat(self, every_s: float = PING_INTERVAL_S, answer_s: float = PONG_S) -> Heartbeat:
        return Heartbeat(every_s * PING_SHARE, answer_s, lambda: f'{{"id":"{self._setup.new_id()}","type":"ping"}}')

    # --- for subclasses ---

    @abstractmethod
    def _pushed(self, frame: Control, now: Instant) -> Outputs:
        """A message of a topic."""

    def signed(self, call: Call, now: Instant) -> Call:
        """Authentication for private calls."""
        return call

    # --- inputs ---

    def start(self, now: Instant) -> Outputs:
        return self._ask_token(now)

    def _ask_token(self, now: Instant) -> Outputs:
        kind = "private" if self.private else "public"
        url = f"{_symbols.rest_of(self._exchange)}/api/v1/bullet-{kind}"
        pool = _symbols.pool_of(self._exchange) if self.private else "public"
        body = "" if self.private else None
        return [self.signed(Call(tag=_BULLET, method="POST", url=url, body=body, weight=10, pool=pool), now)]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if call.tag == _BULLET:
            return self._token(answer)
        if call.tag == _errors.TIME:
            return self._clock_told(answer, now)
        if call.tag == _STATUS:
            return self._status(call, answer)
        return super().answered(call, answer, now)

    def connected(self, now: Instant) -> Outputs:
        self._welcome_by = now.mono + WELCOME_S
        return []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        try:
            control = _decode_control(frame)
        except UNREADABLE:
            return [unreadable(frame)]
        if control.type == "message":
            return self._pushed(control, now)
        return self._control(control, now)

    def _control(self, frame: Control, now: Instant) -> Outputs:
        """A frame of the connection itself."""
        if frame.type == "pong":
            self._beat.heard()
            return []
        if frame.type == "welcome":
            return self._welcome(now)
        if frame.type == "ack":
            return self._answered(str(frame.id), now)
        if frame.type == "error":
            return self._error(frame, now)
        return [Note(f"frame of type {frame.type or 'none'}")]

    def woken(self, now: Instant) -> Outputs:
        if self._welcome_by is not None and now.mono >= self._welcome_by:
            return [self._fail(FailKind.TRANSIENT, "no welcome after the connection was opened")]
        return super().woken(now)

    def deadline(self) -> float | None:
        return earliest(self._welcome_by, super().deadline())

    # --- helpers ---

    def _frame(self, request: Request[Topic]) -> Send:
        first = request.topics[0]
        frame = {
            "id": request.id,
            "type": request.op,
            "topic": first.prefix + ",".join(topic.name for topic in request.topics),
            "privateChannel": first.private,
            "response": True,
        }
        return Send(msgspec.json.encode(frame).decode())

    def _welcome(self, now: Instant) -> Outputs:
        if self._book.open:
            return []
        self._welcome_by = None
        self._beat.start(now)
        return self._begin(now)

    def _error(self, frame: Control, now: Instant) -> Outputs:
        code, reason = str(frame.code), f"{frame.code} {raw_text(frame.data)}".strip()
        request_id = str(frame.id)
        if code == "509":
            return [self._fail(FailKind.RATE_LIMITED, reason, TOO_MANY_S)]
        if any(mark in reason.lower() for mark in _DEAD_BULLET):
            # The key itself is judged by the token call that follows.
            return [self._fail(FailKind.TRANSIENT, reason)]
        if request_id not in self._book.in_flight:
            return [Note(f"error {code}")]
        if not (code.isdigit() and int(code) in _BAD_TOPIC):
            return [self._fail(FailKind.TRANSIENT, reason)]
        return self._spoiled(request_id, Fail(kind=FailKind.REQUEST, reason=reason), now)

    def _token(self, answer: Answer) -> Outputs:
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return self._no_token(answer, envelope)
        try:
            token = _decode_token(envelope.data)
            servers, _ = read_rows(token.instance_servers, _decode_server)
        except UNREADABLE:
            return [self._fail(FailKind.TRANSIENT, "the token answer is not understood")]
        if not token.token or not servers:
            return [self._fail(FailKind.TRANSIENT, "the token answer names no server")]
        connect_id = self._setup.new_id()
        # Any of the listed servers will do; the id spreads connections over them.
        server = servers[sum(connect_id.encode()) % len(servers)]
        # Never slower than usual: the transport counts silence by these pongs.
        interval_s = min(server.ping_interval / 1000, PING_INTERVAL_S)
        self._beat = self._heartbeat(interval_s, server.ping_timeout / 1000)
        joint = "&" if "?" in server.endpoint else "?"
        return [Connect(f"{server.endpoint}{joint}token={quote(token.token, safe='')}&connectId={connect_id}")]

    def _no_token(self, answer: Answer, envelope: _errors.Envelope) -> Outputs:
        if str(envelope.code) == _errors.CLOCK:
            return self._check_clock(envelope)
        fail = _errors.failure(answer, envelope)
        if fail.kind is FailKind.TRANSIENT and answer.status:
            url = f"{_symbols.rest_of(self._exchange)}/api/v1/status"
            return [Call(tag=_STATUS, method="GET", url=url, pool="public", context=fail, weight=3)]
        return [self.judged(fail)]

    def judged(self, fail: Fail) -> Fail:
        """Hook: a credential failure belongs to its stream."""
        return fail

    def _check_clock(self, envelope: _errors.Envelope) -> Outputs:
        ask = self._check.ask()
        if ask is None:
            reason = f"{envelope.code} {envelope.msg} although the clock was checked"
            return [self.judged(Fail(kind=FailKind.CREDENTIAL, reason=reason, first_sight=False))]
        return [ask]

    def _clock_told(self, answer: Answer, now: Instant) -> Outputs:
        read = self._check.told(answer, now)
        if read is None:
            return [self._fail(FailKind.TRANSIENT, "the venue's clock can't be read")]
        return [read, *self._ask_token(now)]

    def _status(self, call: Call, answer: Answer) -> Outputs:
        """Why the token call failed: planned maintenance, or something that passes."""
        try:
            status = _decode_status(_errors.read(answer).data)
        except UNREADABLE:
            status = _Status()
        if status.status in ("close", "cancelonly"):
            reason = f"KuCoin is in maintenance ({status.status}) {status.msg}".rstrip()
            return [self._fail(FailKind.MAINTENANCE, reason, MAINTENANCE_RETRY_S)]
        fail = call.context
        return [fail if isinstance(fail, Fail) else Fail(kind=FailKind.TRANSIENT, reason="no token")]


def raw_text(raw: msgspec.Raw) -> str:
    """The text of an error's `data`, which is a JSON string."""
    return bytes(raw).decode("utf-8", "replace").strip('"')[:200]
