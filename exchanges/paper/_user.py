"""One paper account: Engine.IO 4 / Socket.IO 5 text frames (contract section 5).

The server forgets a socket that went away: both subscribes go out after every connect. It has orders and balances over REST
as well (`/order/all/open`, `/order/:id`, `/user/balance`), but takes key and secret in the query only, and URLs end up in the
logs of servers and proxies. So a gap is not read: the report says so, and the backend checks the orders after
`Subscribed to user`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Emit,
    Fail,
    FailKind,
    GapReport,
    Instant,
    Live,
    Note,
    Output,
    Send,
    Subscription,
    UserSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._meaning import Meaning, refused
from exchanges._rows import Odd
from exchanges._timers import earliest
from exchanges._venue import Setup
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.paper import _orders

OPTION: Final = "PAPER_WS"
DEFAULT: Final = "localhost:7506"
PATH: Final = "/socket.io/?EIO=4&transport=websocket"

STEP_S: Final = 20.0
"""How long the server may take for each step: open, namespace, acknowledgement."""
SILENCE_S: Final = 180.0
"""pingInterval + pingTimeout of the server, until its open frame tells its own."""
FIRST_RETRY_S: Final = 5.0
MAX_RETRY_S: Final = 300.0

ORDERS: Final = "order"
BALANCES: Final = "outboundAccountInfo"
REQUESTS: Final = {ORDERS: "subscribeOrder", BALANCES: "subscribeOutboundAccountInfo"}
UNKNOWN_ACCOUNT: Final = "the paper server does not know this account; asking again at growing intervals"
ERRORS: Final[Mapping[str, Meaning]] = {
    "does not know this account": refused(
        "paper accounts exist from their first use in the platform on; check key and secret"
    ),
}
"""Parts of our own texts → what they mean."""
"""Text of the note about a refused subscribe: the account may be made later, so it is no failure of the stream."""
UNREAD_GAP: Final = "orders and balances: the paper server tells them only to a key in a URL, which is not sent"
_SCHEMES: Final = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


def url(option: str | None) -> str:
    """The socket's URL for a value of `PAPER_WS`: with or without a scheme, once or (bug C12) twice."""
    rest = (option or "").strip() or DEFAULT
    scheme = "ws"
    while "://" in rest:
        name, rest = rest.split("://", 1)
        scheme = _SCHEMES.get(name.lower(), scheme)
    return f"{scheme}://{rest.split('/', 1)[0]}{PATH}"


class _Open(msgspec.Struct, rename="camel"):
    ping_interval: float = 60_000
    ping_timeout: float = 120_000


class _Push(msgspec.Struct):
    type: str = ""
    info: str = ""
    error: object = None
    data: msgspec.Raw = msgspec.Raw()


_decode_open = msgspec.json.Decoder(_Open).decode
_decode_packet = msgspec.json.Decoder(tuple[str, _Push]).decode


class _Channel:
    """One of the two subscriptions of a socket."""

    def __init__(self) -> None:
        self.confirmed = False
        self.answer_by: float | None = None
        self.retry_at: float | None = None
        self.retry_s = FIRST_RETRY_S


class UserAdapter:
    """Adapter of one paper account's connection."""

    def __init__(self, setup: Setup) -> None:
        self._url = url(setup.options.get(OPTION))
        self._exchange = setup.exchange
        self._subscription: UserSubscription | None = None
        self._channels: dict[str, _Channel] = {}
        self._silence_s = SILENCE_S
        self._silent_at: float | None = None
        self._step_by: float | None = None
        self._live = False
        self._noted = False

    # --- inputs ---

    def add(self, subscription: Subscription, now: Instant) -> list[Output]:
        if not isinstance(subscription, UserSubscription) or self._subscription is not None:
            reason = "a paper connection carries one account"
            return [Fail(kind=FailKind.REQUEST, reason=reason, stream_id=subscription.stream_id)]
        if not subscription.credentials.key or not subscription.credentials.secret:
            reason = "API key or secret is missing"
            return [Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=subscription.stream_id)]
        self._subscription = subscription
        return self._subscribe_all(now) if self._channels else []

    def start(self, now: Instant) -> list[Output]:
        return [Connect(self._url)]

    def connected(self, now: Instant) -> list[Output]:
        self._silent_at = now.mono + self._silence_s
        self._step_by = now.mono + STEP_S
        return []

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        self._silent_at = now.mono + self._silence_s
        match frame[:1]:
            case b"2":
                return [Send("3", urgent=True)]
            case b"4":
                return self._message(frame[1:2], frame[2:], now)
            case b"0":
                return self._opened(frame[1:], now)
            case b"1":
                return [Fail(kind=FailKind.TRANSIENT, reason="closed by the paper server")]
            case b"6":
                return []
        return [Note("unknown frame of the paper server")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        return []

    def woken(self, now: Instant) -> list[Output]:
        if self._silent_at is not None and self._silent_at <= now.mono:
            return [Fail(kind=FailKind.TRANSIENT, reason="no heartbeat of the paper server")]
        late = [self._step_by, *(channel.answer_by for channel in self._channels.values())]
        if any(due is not None and due <= now.mono for due in late):
            return [Fail(kind=FailKind.TRANSIENT, reason="no answer of the paper server")]
        outputs: list[Output] = []
        for name, channel in self._channels.items():
            if channel.retry_at is not None and channel.retry_at <= now.mono:
                outputs += self._subscribe(name, channel, now)
        return outputs

    def deadline(self) -> float | None:
        channels = self._channels.values()
        return earliest(
            self._silent_at,
            self._step_by,
            *(channel.answer_by for channel in channels),
            *(channel.retry_at for channel in channels),
        )

    def remove(self, stream_id: str, now: Instant) -> list[Output]:
        if self._subscription is None or self._subscription.stream_id != stream_id:
            return []
        self._subscription = None
        for channel in self._channels.values():
            channel.answer_by = channel.retry_at = None
        return self.closing(now)

    def closing(self, now: Instant) -> list[Output]:
        # The server forgets a socket when its namespace is left; it once kept sending to dead ones (bug C16).
        return [Send("41", urgent=True)] if self._channels else []

    # --- Socket.IO ---

    def _opened(self, body: bytes, now: Instant) -> list[Output]:
        try:
            told = _decode_open(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [Note("unreadable open frame of the paper server")]
        silence_s = (told.ping_interval + told.ping_timeout) / 1000
        if 1 <= silence_s <= 3600:
            self._silence_s = silence_s
            self._silent_at = now.mono + silence_s
        self._step_by = now.mono + STEP_S
        return [Send("40")]

    def _message(self, kind: bytes, body: bytes, now: Instant) -> list[Output]:
        match kind:
            case b"0":
                self._step_by = None
                self._channels = {name: _Channel() for name in REQUESTS}
                return self._subscribe_all(now)
            case b"1":
                return [Fail(kind=FailKind.TRANSIENT, reason="the paper server closed the namespace")]
            case b"2":
                return self._event(body, now)
            case b"3":
                return []
            case b"4":
                return [Fail(kind=FailKind.TRANSIENT, reason="the paper server refused the namespace")]
        return [Note("unknown message of the paper server")]

    def _subscribe_all(self, now: Instant) -> list[Output]:
        return [output for name, channel in self._channels.items() for output in self._subscribe(name, channel, now)]

    def _subscribe(self, name: str, channel: _Channel, now: Instant) -> list[Output]:
        if self._subscription is None:
            return []
        channel.retry_at = None
        channel.answer_by = now.mono + STEP_S
        account = self._subscription.credentials
        body = [REQUESTS[name], {"key": account.key.reveal(), "secret": account.secret.reveal()}]
        return [Send("42" + msgspec.json.encode(body).decode())]

    def _event(self, body: bytes, now: Instant) -> list[Output]:
        try:
            name, push = _decode_packet(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [Note("unreadable event of the paper server")]
        if name not in REQUESTS:
            return []
        match push.type:
            case "info":
                return self._confirmed(name, now) if push.info == "subscribed" else []
            case "error":
                return self._refused(name, now)
            case "update":
                return self._update(name, bytes(push.data), now)
        return [Note(f"unknown {name} push of the paper server")]

    def _confirmed(self, name: str, now: Instant) -> list[Output]:
        channel = self._channels.get(name)
        if channel is None or self._subscription is None:
            return []
        channel.confirmed, channel.answer_by, channel.retry_at = True, None, None
        if self._live or not all(channel.confirmed for channel in self._channels.values()):
            return []
        self._live = True
        gap = None
        if self._subscription.resume is not None:
            gap = GapReport(
                from_ms=self._subscription.resume.since_ms,
                to_ms=now.wall_ms,
                missing=(UNREAD_GAP,),
            )
        return [Live(self._subscription.stream_id, gap)]

    def _refused(self, name: str, now: Instant) -> list[Output]:
        """An error answer to a subscribe means that the server does not know the key (yet): ask again, ever more slowly."""
        channel = self._channels.get(name)
        if channel is None or channel.answer_by is None:
            return [Note(f"{name} error of the paper server")]
        channel.answer_by = None
        channel.retry_at = now.mono + channel.retry_s
        channel.retry_s = min(channel.retry_s * 2, MAX_RETRY_S)
        if self._noted:
            return []
        self._noted = True
        return [Note(UNKNOWN_ACCOUNT)]

    def _update(self, name: str, data: bytes, now: Instant) -> list[Output]:
        if self._subscription is None:
            return []
        event: ExecutionReport | AccountPosition | None
        odd = Odd()
        try:
            if name == ORDERS:
                event = _orders.order(self._exchange, data)
            else:
                event, odd = _orders.balances(data, now.wall_ms)
        except (*UNREADABLE, OverflowError):
            return [Note(f"unreadable {name} update of the paper server")]
        told: list[Output] = [Note(odd.phrase("balances"))] if odd else []
        return [*told, Emit(self._subscription.stream_id, event)] if event is not None else told


class ReplayedUser(UserAdapter):
    """Takes recorded pushes also without the packet type in front of them."""

    def received(self, frame: bytes, now: Instant) -> list[Output]:
        return super().received(b"42" + frame if frame.startswith(b"[") else frame, now)
