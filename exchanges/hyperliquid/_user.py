"""One account of Hyperliquid: order states and fills on one connection (venue file, sections 2 to 8).

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
    Seen,
    Setup,
    UserSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._repair import GapRepair
from exchanges._replay import RECORDED
from exchanges._timers import Alarms, earliest
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.hyperliquid import _markets
from exchanges.hyperliquid._gap import FillsOf, GapPlan, Questions, decode_fill, decode_rows, decode_update, read_fills
from exchanges.hyperliquid._join import Join, Rules
from exchanges.hyperliquid._orders import KNOWN_STATUSES, Fill, Names, known_side
from exchanges.hyperliquid._wire import (
    RETRY_S,
    ROLE_REASONS,
    SPEAKING_ROLES,
    Complaint,
    Topic,
    acknowledged,
    address_of,
    complaint,
    decode_frame,
    heartbeat,
    refusal_of,
    request,
    site_of,
    used_up,
)

ORDERS: Final = Topic("orderUpdates")
FILLS: Final = Topic("userFills")
ACK_S: Final = 5.0
ACK_TRIES: Final = 3
ROLE_LIMIT_S: Final = 5.0
"""REST may hang without any answer (bug C8): then the stream goes on without it, and a late answer still counts."""
TABLE_LIMIT_S: Final = 5.0
"""Without the symbol list no order can be named; it is waited for this long when a process has just started."""
TABLE_LOOK_S: Final = 0.25
_JOIN_FILLS: Final = "fills of a parked order"


class _Phase(enum.Enum):
    IDLE = "idle"
    JOINING = "joining"
    JOINED = "joined"


class _UserFills(msgspec.Struct, rename="camel"):
    user: str
    fills: list[msgspec.Raw]
    is_snapshot: bool | None = False


class _Role(msgspec.Struct):
    role: str


_decode_fills = msgspec.json.Decoder(_UserFills).decode
_decode_role = msgspec.json.Decoder(_Role).decode


class UserAdapter(OneAccount):
    """connect → subscribe, and ask what the address is → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._site = site_of(setup.options)
        self._names = Names(self._pair, self._asset)
        self._phase = _Phase.IDLE
        self._session: _Session | None = None
        self._beat = heartbeat()
        self._alarms: Alarms[str] = Alarms()
        self._unconfirmed: dict[Topic, None] = {}
        self._ack_tries = 0
        self._table_by = 0.0

    def _pair(self, code: str) -> str:
        return _markets.pair_of(self._setup.table(), code)

    def _asset(self, token: str) -> str:
        return _markets.asset_of(self._setup.table(), token)

    # --- inputs ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        address = address_of(subscription.credentials.key.reveal())
        questions = Questions(self._site, address, subscription.stream_id)
        orders = subscription.resume.orders if subscription.resume else ()
        join = Join(self._names, Rules.of(self._setup.options), orders)
        plan = GapPlan(questions, join, lambda: _markets.dexes(self._setup.table()))
        self._session = _Session(subscription, address, questions, join, plan)
        return [Connect(self._site.ws)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        session = self._session
        if self._subscription is None or self._subscription.stream_id != stream_id:
            return []
        self._subscription, self._session = None, None
        self._alarms = Alarms()
        subscribed = session is not None and self._phase is _Phase.JOINED
        self._phase = _Phase.IDLE
        if session is None or not subscribed:
            return []
        return [request("unsubscribe", topic, session.address) for topic in (ORDERS, FILLS)]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        session = self._session
        if session is None:
            return []
        self._phase = _Phase.JOINING
        self._table_by = now.mono + TABLE_LIMIT_S
        if session.repair.resume is not None:
            session.role_known = True
            return self._subscribe_when_named(session, now)
        self._alarms.set("role", now.mono + ROLE_LIMIT_S)
        return [session.role(), *self._subscribe_when_named(session, now)]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        session = self._session
        if session is None:
            return []
        try:
            message = decode_frame(frame)
            if message.channel == ORDERS.type:
                return self._orders(session, decode_rows(message.data), now)
            if message.channel == FILLS.type:
                return self._fills(session, _decode_fills(message.data), now)
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
        session.plan.now = now
        if session.repair.owns(call):
            return [*session.repair.answered(call, answer, session.plan.parse, now), *self._ask_role_last(session)]
        if call.tag == "role":
            return self._role(session, answer, now)
        if call.tag == _JOIN_FILLS and isinstance(call.context, FillsOf):
            return self._found_fills(session, call, call.context, answer, now)
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        session = self._session
        if session is None:
            return outputs
        session.plan.now = now
        for name in self._alarms.due(now):
            outputs.extend(self._alarm(session, name, now))
        outputs.extend(self._waited(session, now))
        outputs.extend(session.repair.due(now))
        return [*outputs, *self._ask_role_last(session)]

    def deadline(self) -> float | None:
        session = self._session
        own = earliest(session.join.deadline(), session.repair.deadline()) if session else None
        return earliest(self._beat.deadline(), self._alarms.deadline(), own)

    # --- joining ---

    def _subscribe_when_named(self, session: _Session, now: Instant) -> list[Output]:
        loaded = len(self._setup.table()) > 0
        if not loaded and now.mono < self._table_by:
            self._alarms.set("table", now.mono + TABLE_LOOK_S)
            return []
        self._unconfirmed = dict.fromkeys((ORDERS, FILLS))
        session.join.since_ms = now.wall_ms
        notes: list[Output] = [] if loaded else [Note("the symbol list is not loaded: orders carry the venue's codes")]
        return [*notes, *self._subscribe(session, now)]

    def _subscribe(self, session: _Session, now: Instant) -> list[Output]:
        self._ack_tries += 1
        self._alarms.set("ack", now.mono + ACK_S)
        return [request("subscribe", topic, session.address) for topic in self._unconfirmed]

    def _confirmed(self, session: _Session, topic: Topic, now: Instant) -> list[Output]:
        if topic not in self._unconfirmed:
            return []
        del self._unconfirmed[topic]
        if self._unconfirmed:
            return []
        self._alarms.clear("ack")
        session.subscribed = True
        return self._join(session, now)

    def _role(self, session: _Session, answer: Answer, now: Instant) -> list[Output]:
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
        session.role_known = True
        return [*notes, *self._join(session, now)]

    def _ask_role_last(self, session: _Session) -> list[Output]:
        """Once the gap is read."""
        return [session.role()] if session.repair.done and not session.role_asked else []

    def _join(self, session: _Session, now: Instant) -> list[Output]:
        if self._phase is not _Phase.JOINING or not (session.subscribed and session.role_known):
            return []
        self._phase = _Phase.JOINED
        session.plan.now = now
        resume = session.repair.resume
        return session.repair.begin(session.plan.first(resume, now) if resume else [], now)

    def _alarm(self, session: _Session, name: str, now: Instant) -> list[Output]:
        if name == "table":
            return self._subscribe_when_named(session, now)
        if name == "role":
            session.role_known = True
            return [Note("the venue did not say in time what the address is"), *self._join(session, now)]
        if self._ack_tries < ACK_TRIES:
            return self._subscribe(session, now)
        return [Fail(kind=FailKind.TRANSIENT, reason="no answer to a subscribe request")]

    def _complained(self, session: _Session, said: Complaint, now: Instant) -> list[Output]:
        if said.already:
            return self._confirmed(session, said.topic, now) if said.topic is not None else []
        stream_id = session.stream_id
        if said.kind is FailKind.RATE_LIMITED:
            # Other streams of this address go on: it is full of accounts, and may still connect for prices.
            return [Fail(kind=said.kind, reason=said.reason, stream_id=stream_id, retry_after_s=RETRY_S)]
        if said.kind is FailKind.REQUEST and self._phase is _Phase.JOINING:
            kind = FailKind.CREDENTIAL
            return [Fail(kind=kind, reason=said.reason, stream_id=stream_id, first_sight=False)]
        return [Note(f"error frame: {said.reason}", "error")]

    # --- events ---

    def _emit(self, session: _Session, events: list[ExecutionReport]) -> list[Output]:
        return [output for event in events for output in session.repair.live(event)]

    def _orders(self, session: _Session, rows: list[msgspec.Raw], now: Instant) -> list[Output]:
        outputs: list[Output] = [Seen(session.stream_id)]
        for row in rows:
            try:
                update = decode_update(row)
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable order: {error}", "error"))
                continue
            if not update.order.cloid:
                continue  # placed elsewhere
            if update.status not in KNOWN_STATUSES:
                outputs.append(Note(f"unknown order status {update.status[:40]}, published as CANCELED", "error"))
            if not known_side(update.order):
                outputs.append(Note(f"unknown order side {update.order.side[:10]}, published as BUY", "error"))
            events, notes = session.join.order(update, now)
            outputs.extend([*notes, *self._emit(session, events)])
        return outputs

    def _fills(self, session: _Session, told: _UserFills, now: Instant) -> list[Output]:
        if told.user.lower() != session.address:
            return []
        outputs: list[Output] = [Seen(session.stream_id)]
        fills: list[Fill] = []
        for row in told.fills:
            try:
                fills.append(decode_fill(row))
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable fill: {error}", "error"))
        events = session.join.fills(fills, now, snapshot=bool(told.is_snapshot))
        return [*outputs, *self._emit(session, events)]

    def _waited(self, session: _Session, now: Instant) -> list[Output]:
        """Filled orders whose fills did not come."""
        due = session.join.deadline()
        if due is None or now.mono < due:
            return []
        asks, events, notes = session.join.due(now)
        calls = [session.questions.fills_of(ask.update, _JOIN_FILLS, whole_life=ask.whole_life) for ask in asks]
        return [*calls, *notes, *self._emit(session, events)]

    def replay(self, subscription: UserSubscription) -> None:
        """Enter the live state of a recorded frame."""
        self._open(subscription, Instant(0.0, 0))
        self._phase = _Phase.JOINED
        if self._session is not None:
            self._session.repair.begin([], Instant(0.0, 0))

    def _found_fills(self, session: _Session, call: Call, asked: FillsOf, answer: Answer, now: Instant) -> list[Output]:
        if asked.update is None:
            return []
        fills: list[Fill] = []
        refusal = refusal_of(answer)
        if not refusal:
            try:
                fills, _ = read_fills(answer.body)
            except UNREADABLE as error:
                refusal = f"unreadable answer: {error}"[:150]
        more = session.questions.more_fills(call, fills)
        if more is not None:
            events = session.join.fills(fills, now)
            return [*self._emit(session, events), *([] if session.join.is_done(asked.update) else [more])]
        notes: list[Output] = [Note(f"the fills of an order could not be read: {refusal}")] if refusal else []
        later_s = RETRY_S if used_up(answer) else 0.0
        return [*notes, *self._emit(session, session.join.asked(asked.update, fills, now, later_s=later_s))]


class _Session:
    """What belongs to the one subscription."""

    def __init__(
        self, subscription: UserSubscription, address: str, questions: Questions, join: Join, plan: GapPlan
    ) -> None:
        self.stream_id = subscription.stream_id
        self.address, self.questions, self.join, self.plan = address, questions, join, plan
        # Holds live events from the first frame on, so it exists before the first of them.
        self.repair = GapRepair(subscription, then=plan.then, given_up=plan.given_up)
        self.subscribed = False
        self.role_known = False
        """The venue has said what the address is, or is not waited for."""
        self.role_asked = False

    def role(self) -> Call:
        self.role_asked = True
        return self.questions.role()


_NOBODY: Final = "0x" + "0" * 40


def recorded_user(setup: Setup, address: str) -> UserAdapter:
    """An adapter in the live state of a recorded frame."""
    adapter = UserAdapter(setup)
    keys = credentials(address or _NOBODY, "")
    adapter.replay(UserSubscription(stream_id=RECORDED, exchange=setup.exchange, credentials=keys))
    return adapter
