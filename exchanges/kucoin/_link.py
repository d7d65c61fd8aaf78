"""One classic KuCoin connection: token, welcome, pings, acknowledged subscriptions (venue file sections 2 to 4 and 7)."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

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
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._timers import Beat, Heartbeat, Waiting, earliest
from exchanges.kucoin import _markets, _rest

WELCOME_S: Final = 5.0
"""Without a welcome by then the token is not accepted: a new one is needed."""
ACK_S: Final = 5.0
ATTEMPTS: Final = 2
"""A subscribe that is not acknowledged is sent once more, then the connection is given up."""
PING_SHARE: Final = 0.8
"""Pings go out after this part of `pingInterval`, so that a late timer still is in time."""
PING_INTERVAL_S: Final = 18.0
PONG_S: Final = 10.0
TOPICS_PER_MESSAGE: Final = 100
"""A longer comma list is refused as a whole."""
MAINTENANCE_RETRY_S: Final = 30.0
TOO_MANY_S: Final = 10.0

_BULLET: Final = "bullet"
_STATUS: Final = "status"
_DEAD_BULLET: Final = ("401", "token is expired", "token is invalid", "token expired", "token invalid")
_BAD_TOPIC: Final = frozenset({400, 404})


class Topic(NamedTuple):
    """One subscribe frame: `/market/ticker:` and the names behind the colon, or a private topic without any."""

    prefix: str
    names: tuple[str, ...] = ()
    private: bool = False
    attempt: int = 1

    @property
    def text(self) -> str:
        return self.prefix + ",".join(self.names)


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
    instance_servers: list[_Server]


class _Status(msgspec.Struct):
    status: str = ""
    msg: str = ""


_decode_control = msgspec.json.Decoder(Control).decode
_decode_token = msgspec.json.Decoder(_Token).decode
_decode_status = msgspec.json.Decoder(_Status).decode


def unreadable(frame: bytes) -> Note:
    """A frame that is not understood costs that frame; only its length is told."""
    return Note(f"frame of {len(frame)} bytes is not understood")


class Link:
    """Base of the classic adapters. A subclass says what to subscribe (`opened`) and reads pushes (`pushed`)."""

    private = False

    def __init__(self, setup: Setup, clock: VenueClock | None = None) -> None:
        self.setup = setup
        self.exchange = setup.exchange
        self.now = Instant(0.0, 0)
        self.welcomed = False
        self._started = False
        self._ended = False
        self._welcome_by: float | None = None
        self._asked: Waiting[str, Topic] = Waiting()
        self._beat = Heartbeat(PING_INTERVAL_S * PING_SHARE, PONG_S)
        self.clock = clock or VenueClock(setup)
        self._clock_checked = False

    # --- for subclasses ---

    def opened(self, now: Instant) -> Outputs:
        """The venue welcomed the connection."""
        raise NotImplementedError

    def pushed(self, frame: Control, now: Instant) -> Outputs:
        """A message of a topic."""
        raise NotImplementedError

    def acknowledged(self, topic: Topic, now: Instant) -> Outputs:
        raise NotImplementedError

    def refused(self, topic: Topic, reason: str, now: Instant) -> Outputs:
        """The venue does not know this topic (or one of its names)."""
        raise NotImplementedError

    def signed(self, call: Call) -> Call:
        """Authentication for private calls."""
        return call

    def lost(self, topic: Topic) -> Fail:
        return self.fail(FailKind.TRANSIENT, f"no answer to the subscription of {topic.prefix.rstrip(':')}")

    # --- inputs ---

    def start(self, now: Instant) -> Outputs:
        self.now = now
        self._started = True
        return self.ask_token()

    def ask_token(self) -> Outputs:
        kind = "private" if self.private else "public"
        url = f"{_markets.rest_of(self.exchange)}/api/v1/bullet-{kind}"
        pool = _markets.pool_of(self.exchange) if self.private else "public"
        body = "" if self.private else None
        return [self.signed(Call(tag=_BULLET, method="POST", url=url, body=body, weight=10, pool=pool))]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self.now = now
        if self._ended:
            return []
        if call.tag == _BULLET:
            return self._token(answer)
        if call.tag == _rest.TIME:
            return self._clock_told(answer)
        if call.tag == _STATUS:
            return self._status(call, answer)
        return []

    def connected(self, now: Instant) -> Outputs:
        self.now = now
        self._welcome_by = now.mono + WELCOME_S
        return []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self.now = now
        try:
            control = _decode_control(frame)
        except UNREADABLE:
            return [unreadable(frame)]
        if control.type == "message":
            return self.pushed(control, now)
        return self.control(control, now)

    def control(self, frame: Control, now: Instant) -> Outputs:
        """A frame of the connection itself."""
        if frame.type == "pong":
            self._beat.pong()
            return []
        if frame.type == "welcome":
            return self._welcome(now)
        if frame.type == "ack":
            topic = self._asked.take(str(frame.id))
            return [] if topic is None else self.acknowledged(topic, now)
        if frame.type == "error":
            return self._error(frame, now)
        return [Note(f"frame of type {frame.type or 'none'}")]

    def woken(self, now: Instant) -> Outputs:
        self.now = now
        if self._ended:
            return []
        if self._welcome_by is not None and now.mono >= self._welcome_by:
            return [self.fail(FailKind.TRANSIENT, "no welcome after the connection was opened")]
        outputs: list[Output] = []
        beat = self._beat.due(now)
        if beat is Beat.DEAD:
            return [self.fail(FailKind.TRANSIENT, "no pong")]
        if beat is Beat.PING:
            outputs.append(Send(f'{{"id":"{self.setup.new_id()}","type":"ping"}}', urgent=True))
        for _, topic in self._asked.expired(now):
            if topic.attempt >= ATTEMPTS:
                return [*outputs, self.lost(topic)]
            outputs.extend(self.subscribe([topic._replace(attempt=topic.attempt + 1)], now))
        return outputs

    def deadline(self) -> float | None:
        if self._ended:
            return None
        return earliest(self._welcome_by, self._beat.deadline(), self._asked.deadline())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        raise NotImplementedError

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        raise NotImplementedError

    def closing(self, now: Instant) -> Outputs:
        return []

    # --- helpers ---

    def wall_ms(self) -> int:
        """The venue's clock as far as it is known."""
        return self.clock.stamp(self.now)

    def fail(self, kind: FailKind, reason: str, retry_after_s: float | None = None) -> Fail:
        """A failure of the whole connection; nothing is sent afterwards."""
        self._ended = True
        return Fail(kind=kind, reason=reason, retry_after_s=retry_after_s)

    def subscribe(self, topics: list[Topic], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for topic in topics:
            request_id = self.setup.new_id()
            self._asked.add(request_id, topic, now.mono + ACK_S)
            outputs.append(self._frame("subscribe", request_id, topic))
        return outputs

    def unsubscribe(self, topics: list[Topic]) -> list[Output]:
        return [self._frame("unsubscribe", self.setup.new_id(), topic) for topic in topics]

    def waiting(self, prefix: str = "") -> bool:
        """Whether subscriptions (with this prefix) are not acknowledged yet."""
        return any(topic.prefix.startswith(prefix) for _, topic in self._asked)

    def _frame(self, kind: str, request_id: str, topic: Topic) -> Send:
        frame = {
            "id": request_id,
            "type": kind,
            "topic": topic.text,
            "privateChannel": topic.private,
            "response": True,
        }
        return Send(msgspec.json.encode(frame).decode())

    def _welcome(self, now: Instant) -> Outputs:
        if self.welcomed:
            return []
        self.welcomed = True
        self._welcome_by = None
        self._beat.start(now)
        return self.opened(now)

    def _error(self, frame: Control, now: Instant) -> Outputs:
        code, reason = str(frame.code), f"{frame.code} {raw_text(frame.data)}".strip()
        topic = self._asked.take(str(frame.id))
        if code == "509":
            return [self.fail(FailKind.RATE_LIMITED, reason, TOO_MANY_S)]
        if any(mark in reason.lower() for mark in _DEAD_BULLET):
            # The key itself is judged by the token call that follows.
            return [self.fail(FailKind.TRANSIENT, reason)]
        if topic is None:
            return [Note(f"error {code}")]
        if code.isdigit() and int(code) in _BAD_TOPIC:
            return self.refused(topic, reason, now)
        return [self.fail(FailKind.TRANSIENT, reason)]

    def _token(self, answer: Answer) -> Outputs:
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return self._no_token(answer, envelope)
        try:
            token = _decode_token(envelope.data)
        except UNREADABLE:
            return [self.fail(FailKind.TRANSIENT, "the token answer is not understood")]
        if not token.token or not token.instance_servers:
            return [self.fail(FailKind.TRANSIENT, "the token answer names no server")]
        connect_id = self.setup.new_id()
        # Any of the listed servers will do; the id spreads connections over them.
        server = token.instance_servers[sum(connect_id.encode()) % len(token.instance_servers)]
        # Never slower than usual: the transport counts silence by these pongs.
        interval_s = min(server.ping_interval / 1000, PING_INTERVAL_S)
        self._beat = Heartbeat(interval_s * PING_SHARE, server.ping_timeout / 1000)
        joint = "&" if "?" in server.endpoint else "?"
        return [Connect(f"{server.endpoint}{joint}token={quote(token.token, safe='')}&connectId={connect_id}")]

    def _no_token(self, answer: Answer, envelope: _rest.Envelope) -> Outputs:
        if str(envelope.code) == _rest.CLOCK:
            return self._check_clock(envelope)
        fail = _rest.failure(answer, envelope)
        if fail.kind is FailKind.TRANSIENT and answer.status:
            url = f"{_markets.rest_of(self.exchange)}/api/v1/status"
            return [Call(tag=_STATUS, method="GET", url=url, pool="public", context=fail, weight=3)]
        self._ended = True
        return [self.judged(fail)]

    def judged(self, fail: Fail) -> Fail:
        """Hook: a credential failure belongs to its stream."""
        return fail

    def _check_clock(self, envelope: _rest.Envelope) -> Outputs:
        if self._clock_checked:
            self._ended = True
            reason = f"{envelope.code} {envelope.msg} although the clock was checked"
            return [self.judged(Fail(kind=FailKind.CREDENTIAL, reason=reason, first_sight=False))]
        self._clock_checked = True
        return [_rest.time_call(_markets.rest_of(self.exchange))]

    def _clock_told(self, answer: Answer) -> Outputs:
        venue_ms = _rest.time_of(answer)
        if venue_ms is None:
            return [self.fail(FailKind.TRANSIENT, "the venue's clock can't be read")]
        return [self.clock.read(venue_ms, self.now), *self.ask_token()]

    def _status(self, call: Call, answer: Answer) -> Outputs:
        """Why the token call failed: planned maintenance, or something that passes."""
        try:
            status = _decode_status(_rest.read(answer).data)
        except UNREADABLE:
            status = _Status()
        if status.status in ("close", "cancelonly"):
            reason = f"KuCoin is in maintenance ({status.status}) {status.msg}".rstrip()
            return [self.fail(FailKind.MAINTENANCE, reason, MAINTENANCE_RETRY_S)]
        self._ended = True
        fail = call.context
        return [fail if isinstance(fail, Fail) else Fail(kind=FailKind.TRANSIENT, reason="no token")]


def raw_text(raw: msgspec.Raw) -> str:
    """The text of an error's `data`, which is a JSON string."""
    return bytes(raw).decode("utf-8", "replace").strip('"')[:200]
