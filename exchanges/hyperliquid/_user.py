"""One account of Hyperliquid: order states and fills on one connection (docs/venues/hyperliquid.md, sections 2 to 8).

Nothing is signed and nobody logs in: whoever knows an address may listen to it. A frame of order states does not say whose
they are, so a connection carries one account. Beside the subscriptions the venue is asked what the address is, because that
of an API wallet subscribes well and stays silent for ever. The question costs a twentieth of what an address may ask in a
minute: a stream that was live before asks it last, so that the gaps of all accounts are read first.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Note, Output, Outputs, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._replay import RECORDED
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.hyperliquid._connection_frames import Topic, acknowledged, decode_frame, heartbeat, request
from exchanges.hyperliquid._errors import (
    RETRY_S,
    ROLE_REASONS,
    SPEAKING_ROLES,
    Complaint,
    address_of,
    complaint,
    refusal_of,
)
from exchanges.hyperliquid._hosts import TESTNET, site_of
from exchanges.hyperliquid._positions import TOPICS as POSITION_TOPICS
from exchanges.hyperliquid._positions import TYPES as POSITION_TYPES
from exchanges.hyperliquid._symbols import LINEAR
from exchanges.hyperliquid._user_account import Account

ORDERS: Final = Topic("orderUpdates")
FILLS: Final = Topic("userFills")
ACK_S: Final = 5.0
ACK_TRIES: Final = 3
ROLE_LIMIT_S: Final = 5.0
"""REST may hang without any answer (bug C8): then the stream goes on without it, and a late answer still counts."""
TABLE_LIMIT_S: Final = 5.0
"""Without the symbol list no order can be named; it is waited for this long when a process has just started."""
TABLE_LOOK_S: Final = 0.25


class _Phase(enum.Enum):
    IDLE = "idle"
    JOINING = "joining"
    JOINED = "joined"


class _Role(msgspec.Struct):
    role: str


_decode_role = msgspec.json.Decoder(_Role).decode


class UserAdapter(OneAccount):
    """connect → subscribe, and ask what the address is → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._site = site_of(setup.options)
        self._phase = _Phase.IDLE
        self._session: Account | None = None
        self._beat = heartbeat()
        self._alarms: Alarms[str] = Alarms()
        self._unconfirmed: dict[Topic, None] = {}
        self._ack_tries = 0
        self._table_by = 0.0
        self._recorded = False
        self._subscribed = False
        self._role_known = False
        """The venue has said what the address is, or is not waited for."""
        self._role_asked = False
        self._following: list[Topic] = []
        """Ways to be told of positions that are left to try; the first of them was asked for."""

    # --- inputs ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        address = address_of(subscription.credentials.key.reveal())
        site = TESTNET if subscription.credentials.environment == "sandbox" else self._site
        self._session = Account(self._setup, site, subscription, address, patient=not self._recorded)
        return [Connect(site.ws)]

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        session, self._session = self._session, None
        self._alarms = Alarms()
        subscribed = session is not None and self._phase is _Phase.JOINED
        self._phase = _Phase.IDLE
        if session is None or not subscribed:
            return []
        return [request("unsubscribe", topic, session.address) for topic in (ORDERS, FILLS, *self._following[:1])]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        session = self._session
        if session is None:
            return []
        self._phase = _Phase.JOINING
        self._table_by = now.mono + TABLE_LIMIT_S
        if session.repair.resume is not None:
            self._role_known = True
            return self._subscribe_when_named(session, now)
        self._alarms.set("role", now.mono + ROLE_LIMIT_S)
        return [*self._ask_role(session), *self._subscribe_when_named(session, now)]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        session = self._session
        if session is None:
            return []
        try:
            message = decode_frame(frame)
            if message.channel == ORDERS.type:
                return session.orders(message.data, now)
            if message.channel == FILLS.type:
                return session.fills(message.data, now)
            if message.channel in POSITION_TYPES:
                return session.held(message.channel, message.data, now)
            if message.channel == "subscriptionResponse":
                topic = acknowledged(message.data)
                return self._confirmed(session, topic, now) if topic is not None else []
        except UNREADABLE as error:
            return [Note(f"unreadable account frame: {error}", "error")]
        if message.channel == "error":
            return self._complained(session, complaint(message.data), now)
        return [] if message.channel == "pong" else [Note(f"unknown account channel {message.channel[:40]}")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        if session.owns(call):
            return [*session.answered(call, answer, now), *self._ask_role_last(session)]
        return self._role(session, answer, now) if call.tag == "role" else []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        session = self._session
        if session is None:
            return outputs
        for name in self._alarms.due(now):
            outputs.extend(self._alarm(session, name, now))
        outputs.extend(session.woken(now))
        return [*outputs, *self._ask_role_last(session)]

    def deadline(self) -> float | None:
        own = self._session.deadline() if self._session is not None else None
        return earliest(self._beat.deadline(), self._alarms.deadline(), own)

    # --- joining ---

    def _subscribe_when_named(self, session: Account, now: Instant) -> list[Output]:
        if not len(self._setup.table()):
            if now.mono >= self._table_by:
                # Under the venue's codes an order is another one than that told before, and no consumer knows its pair.
                return [Fail(kind=FailKind.TRANSIENT, reason="the symbol list is not loaded")]
            self._alarms.set("table", now.mono + TABLE_LOOK_S)
            return []
        self._unconfirmed = dict.fromkeys((ORDERS, FILLS))
        session.listening(now)
        return self._subscribe(session, now)

    def _subscribe(self, session: Account, now: Instant) -> list[Output]:
        self._ack_tries += 1
        self._alarms.set("ack", now.mono + ACK_S)
        return [request("subscribe", topic, session.address) for topic in self._unconfirmed]

    def _confirmed(self, session: Account, topic: Topic, now: Instant) -> list[Output]:
        if topic not in self._unconfirmed:
            return []
        del self._unconfirmed[topic]
        if self._unconfirmed:
            return []
        self._alarms.clear("ack")
        self._subscribed = True
        return self._join(session, now)

    def _role(self, session: Account, answer: Answer, now: Instant) -> list[Output]:
        refusal = refusal_of(answer)
        role = ""
        if not refusal:
            try:
                role = _decode_role(answer.body).role
            except UNREADABLE:
                refusal = "unreadable answer"
        if role and role not in SPEAKING_ROLES:
            self._alarms = Alarms()
            self._phase = _Phase.IDLE
            reason = ROLE_REASONS.get(role, f"{role[:40]}: an address of this role has no orders")
            return [Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=session.stream_id)]
        notes: list[Output] = [Note(f"the venue was asked in vain what the address is: {refusal}")] if refusal else []
        self._alarms.clear("role")
        self._role_known = True
        return [*notes, *self._join(session, now)]

    def _ask_role_last(self, session: Account) -> list[Output]:
        """Once the gap is read."""
        return self._ask_role(session) if session.repair.done and not self._role_asked else []

    def _ask_role(self, session: Account) -> list[Output]:
        self._role_asked = True
        return [session.role()]

    def _join(self, session: Account, now: Instant) -> list[Output]:
        if self._phase is not _Phase.JOINING or not (self._subscribed and self._role_known):
            return []
        self._phase = _Phase.JOINED
        if self._setup.exchange != LINEAR:
            return session.begin(now)
        self._following = list(POSITION_TOPICS)
        return [*session.begin(now), request("subscribe", self._following[0], session.address)]

    def _without_positions(self, session: Account, reason: str) -> list[Output]:
        """A way to be told of them was refused: the next one, if there is any."""
        del self._following[0]
        if self._following:
            return [request("subscribe", self._following[0], session.address)]
        return [Note(f"positions are not told: {reason}")]

    def _alarm(self, session: Account, name: str, now: Instant) -> list[Output]:
        if name == "table":
            return self._subscribe_when_named(session, now)
        if name == "role":
            self._role_known = True
            return [Note("the venue did not say in time what the address is"), *self._join(session, now)]
        if self._ack_tries < ACK_TRIES:
            return self._subscribe(session, now)
        return [Fail(kind=FailKind.TRANSIENT, reason="no answer to a subscribe request")]

    def _complained(self, session: Account, said: Complaint, now: Instant) -> list[Output]:
        if said.already:
            return self._confirmed(session, said.topic, now) if said.topic is not None else []
        stream_id = session.stream_id
        if self._following and (said.topic is None or said.topic.type in POSITION_TYPES):
            return self._without_positions(session, said.reason)
        if said.kind is FailKind.RATE_LIMITED:
            # Other streams of this address go on: it is full of accounts, and may still connect for prices.
            return [Fail(kind=said.kind, reason=said.reason, stream_id=stream_id, retry_after_s=RETRY_S)]
        if said.kind is FailKind.REQUEST and self._phase is _Phase.JOINING:
            kind = FailKind.CREDENTIAL
            return [Fail(kind=kind, reason=said.reason, stream_id=stream_id, first_sight=False)]
        return [Note(f"error frame: {said.reason}", "error")]

    def replay(self, subscription: UserSubscription) -> None:
        """Enter the live state of a recorded frame: time stands still, so nothing waits."""
        self._recorded = True
        self._open(subscription, Instant(0.0, 0))
        self._phase = _Phase.JOINED
        if self._session is not None:
            self._session.repair.begin([], Instant(0.0, 0))


_NOBODY: Final = "0x" + "0" * 40


def recorded_user(setup: Setup, address: str) -> UserAdapter:
    """An adapter in the live state of a recorded frame."""
    adapter = UserAdapter(setup)
    keys = credentials(address or _NOBODY, "")
    adapter.replay(UserSubscription(stream_id=RECORDED, exchange=setup.exchange, credentials=keys))
    return adapter
