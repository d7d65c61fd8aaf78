"""An account of OKX on its private WebSocket.

Before the login, a signed REST call proves the key: the venue's answer to a refused login is ambiguous and followed by the
close at once, while REST names the reason. That call also shows whether our clock is off. It waits for the connection, so
that the pace of connecting is also the pace of these calls when thousands of accounts come back at once.
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
    Emit,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Send,
    UserSubscription,
)
from exchanges._frames import UNREADABLE
from exchanges._rows import tolerant
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, AccountPosition
from exchanges.okx._connection_frames import BENIGN, Arg, Control, decode_control, notice
from exchanges.okx._connection_ping import PONG, heartbeat
from exchanges.okx._errors import FIRST_WAIT_S, LOGIN_FAILED, LONGEST_WAIT_S, envelope_of, failure_of, failure_of_code
from exchanges.okx._orders import (
    Account,
    Order,
    account_position,
    execution_report,
    position,
    unclear,
)
from exchanges.okx._positions import CHANNEL as POSITIONS
from exchanges.okx._user_account import XPERP_ORDERS, AccountSession, request

ASK_LIMIT_S: Final = 5.0
"""REST may hang without any answer (bug C8): then the stream goes on without it."""
ACK_TIMEOUT_S: Final = 5.0
ACK_TRIES: Final = 2
USE_KEY_EVERY_S: Final = 86_400.0
"""A trading key without an address list dies after 14 days without use, and an open connection is no use."""


class Phase(enum.Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    ASKING = "asking"
    LOGIN = "login"
    SUBSCRIBING = "subscribing"
    JOINED = "joined"


class _Push(msgspec.Struct, rename="camel"):
    """A data frame, or a control frame when `event` is set."""

    arg: Arg = Arg()
    event: str = ""
    event_type: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


_decode_push = tolerant(_Push)
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_account = msgspec.json.Decoder(Account).decode


class UserAdapter(OneAccount):
    """One account: connect → prove the key → login → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._session: AccountSession | None = None
        self._phase = Phase.IDLE
        self._alarms: Alarms[str] = Alarms()
        self._beat = heartbeat()
        self._ack_tries = 0
        self._unconfirmed: dict[str, Arg] = {}
        self._balance_times: dict[str, int] = {}

    # --- inputs ---

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        session, self._session = self._session, None
        self._alarms = Alarms()
        if session is None or self._phase is not Phase.JOINED:
            return []
        return [request("unsubscribe", self._setup.new_id(), (*session.args, *session.position_args))]

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        session = self._session
        if session is None:
            return []
        self._phase = Phase.ASKING
        self._alarms.set("ask", now.mono + ASK_LIMIT_S)
        return [session.config("config", now)]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        session = self._session
        if frame == PONG or session is None:
            return []
        try:
            push = _decode_push(frame)
            if push.event:
                return self._control(session, decode_control(frame), now)
            rows = _decode_rows(push.data)
        except UNREADABLE as error:
            return [Note(f"unreadable private frame: {error}", "error")]
        if push.arg.channel == "orders":
            return self._orders(session, rows, now)
        if push.arg.channel == "account":
            return self._accounts(session, rows)
        if push.arg.channel == POSITIONS:
            # The snapshot comes in pages; REST is asked for all of them, behind the orders.
            return session.told_positions(rows, now) if push.event_type != "snapshot" else []
        return [Note(f"unknown private channel {push.arg.channel[:40]}")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return []
        if session.repair.owns(call):
            return self._newest(session.repair.answered(call, answer, session.plan.parse, now))
        if session.lookups.owns(call):
            return session.lookups.answered(call, answer, session.looked_up, session.repair.live, now)
        if session.positions.owns(call):
            return session.positions.answered(call, answer, now)
        if call.tag == "time":
            return self._clock(session, answer, now)
        if call.tag == "config" and self._phase is Phase.ASKING:
            return self._asked(session, answer, now)
        if call.tag == "balances" and self._phase is Phase.JOINED:
            return self._first_balances(session, answer)
        if call.tag == "use key":
            failure = failure_of(answer)
            return [Note(f"daily use of the key: {failure.reason}")] if failure else []
        return []

    def woken(self, now: Instant) -> Outputs:
        session = self._session
        if session is None:
            return self._beat.due(now)
        outputs = self._beat.due(now)
        for name in self._alarms.due(now):
            outputs.extend(self._alarm(session, name, now))
        outputs.extend(session.lookups.due(now))
        outputs.extend(self._newest(session.repair.due(now)))
        outputs.extend(session.positions.due(now))
        return outputs

    def deadline(self) -> float | None:
        session = self._session
        own = (session.repair, session.lookups, session.positions) if session else ()
        return earliest(self._beat.deadline(), self._alarms.deadline(), *(part.deadline() for part in own))

    # --- joining ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        self._session = AccountSession(subscription, self._setup)
        self._phase = Phase.CONNECTING
        return [Connect(self._session.hosts.ws)]

    def _asked(self, session: AccountSession, answer: Answer, now: Instant) -> list[Output]:
        failure = failure_of(answer)
        if failure is not None and failure.kind is FailKind.CREDENTIAL:
            return self._refused(session, failure.reason)
        if failure is not None and failure.clock and (asked := self._ask_time(session, now)):
            return asked
        session.key_proven = failure is None
        outputs: list[Output] = [Note(f"the key could not be tried over REST: {failure.reason}")] if failure else []
        return [*outputs, self._login(session, now)]

    def _ask_time(self, session: AccountSession, now: Instant) -> list[Output]:
        ask = session.check.ask()
        if ask is None:
            return []
        self._alarms.set("ask", now.mono + ASK_LIMIT_S)
        return [ask]

    def _clock(self, session: AccountSession, answer: Answer, now: Instant) -> list[Output]:
        read = session.check.told(answer, now)
        outputs: list[Output] = [read] if read is not None else []
        if self._phase is Phase.ASKING:
            return [*outputs, session.config("config", now) if read is not None else self._login(session, now)]
        # One login a connection: the next one starts with the clock that was read just now.
        return [*outputs, _late(known=read is not None)] if self._phase is Phase.LOGIN else outputs

    def _login(self, session: AccountSession, now: Instant) -> Send:
        self._phase = Phase.LOGIN
        self._alarms.clear("ask")
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S * ACK_TRIES)
        return Send(msgspec.json.encode({"op": "login", "args": [session.login(now)]}).decode())

    def _refused(self, session: AccountSession, reason: str, *, first_sight: bool = True) -> list[Output]:
        self._alarms = Alarms()
        self._phase = Phase.IDLE
        kind = FailKind.CREDENTIAL
        return [Fail(kind=kind, reason=reason, stream_id=session.stream_id, first_sight=first_sight)]

    def _subscribe(self, now: Instant) -> list[Output]:
        """One request per channel: the identity of an error frame is the id of its request."""
        self._unconfirmed = {self._setup.new_id(): arg for arg in self._unconfirmed.values()}
        self._ack_tries += 1
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S)
        return [request("subscribe", request_id, (arg,)) for request_id, arg in self._unconfirmed.items()]

    def _confirmed(self, session: AccountSession, arg: Arg, now: Instant) -> list[Output]:
        self._unconfirmed = {key: known for key, known in self._unconfirmed.items() if known != arg}
        return [] if self._unconfirmed else self._joined(session, now)

    def _joined(self, session: AccountSession, now: Instant) -> list[Output]:
        self._phase = Phase.JOINED
        self._alarms.clear("ack")
        self._alarms.set("use key", now.mono + USE_KEY_EVERY_S)
        if session.resume is not None:
            outputs = self._newest(session.repair.begin(session.plan.first(session.resume, now), now))
        else:
            # It is not certain that the account channel starts with a snapshot, so a new stream reads its balances once.
            outputs = [*self._newest(session.repair.begin([], now)), session.sign(session.plan.balance(), now)]
        if session.position_args:
            session.positions.expect(now, ACK_TIMEOUT_S)
        return [*outputs, *session.follow_positions(self._setup.new_id)]

    def _first_balances(self, session: AccountSession, answer: Answer) -> list[Output]:
        failure, envelope = failure_of(answer), envelope_of(answer)
        if failure is not None or envelope is None:
            return [Note(f"the balances at the start are unknown: {failure.reason if failure else 'unreadable'}")]
        try:
            found = session.plan.balances(envelope.data)
        except (*UNREADABLE, ValueError) as error:
            return [Note(f"the balances at the start are unreadable: {error}", "error")]
        notes = [Note(phrase, "error") for phrase in found.missing]
        return [*notes, *self._newest([Emit(session.stream_id, event, repaired=True) for event in found.events])]

    def _alarm(self, session: AccountSession, name: str, now: Instant) -> list[Output]:
        if name == "use key":
            self._alarms.set("use key", now.mono + USE_KEY_EVERY_S)
            return [session.config("use key", now)]
        if name == "ask" and self._phase is Phase.ASKING:
            return [Note("REST did not answer before the login"), self._login(session, now)]
        if name == "ask":
            return []
        if name == "ack" and self._phase is Phase.SUBSCRIBING:
            if self._ack_tries < ACK_TRIES:
                return self._subscribe(now)
            if list(self._unconfirmed.values()) == [XPERP_ORDERS]:
                self._unconfirmed.clear()
                return [Note("X-Perp orders could not be subscribed", "error"), *self._joined(session, now)]
        return [Fail(kind=FailKind.TRANSIENT, reason=f"no answer while {self._phase.value}")]

    # --- control frames ---

    def _control(self, session: AccountSession, control: Control, now: Instant) -> list[Output]:
        event = control.event
        if event == "login":
            if control.code not in ("0", "", None):
                return self._error(session, control, now)
            if self._phase is not Phase.LOGIN:
                return []
            self._phase = Phase.SUBSCRIBING
            self._unconfirmed = {str(index): arg for index, arg in enumerate(session.args)}
            return self._subscribe(now)
        if event == "subscribe":
            if (answered := session.positions_answered(control.id, now)) is not None:
                return answered
            arg = Arg(channel=control.arg.channel, inst_type=control.arg.inst_type)
            return self._confirmed(session, arg, now) if self._phase is Phase.SUBSCRIBING else []
        if event == "channel-conn-count-error" and control.channel == POSITIONS:
            return [Note(f"changes of positions are not told: too many connections ({control.conn_count})")]
        if event == "channel-conn-count-error":
            reason = f"too many connections on channel {control.channel} ({control.conn_count}): close some"
            return [Fail(kind=FailKind.RATE_LIMITED, reason=reason, retry_after_s=LONGEST_WAIT_S)]
        if event == "notice":
            return notice(control)
        if event == "error":
            return self._error(session, control, now)
        return [] if event in BENIGN else [Note(f"unknown private event {event[:40]}")]

    def _error(self, session: AccountSession, control: Control, now: Instant) -> list[Output]:
        failure = failure_of_code(control.code or "", control.msg or "")
        if (answered := session.positions_answered(control.id, now, failure.reason)) is not None:
            return answered
        if failure.clock and self._phase is Phase.LOGIN:
            return self._ask_time(session, now) or [_late(known=False)]
        if failure.code == LOGIN_FAILED:
            if session.key_proven:
                return [Fail(kind=FailKind.TRANSIENT, reason=f"{failure.reason} (the key works over REST)")]
            return self._refused(session, failure.reason, first_sight=False)
        if failure.kind is FailKind.CREDENTIAL:
            return self._refused(session, failure.reason)
        if failure.kind is FailKind.RATE_LIMITED:
            return [Fail(kind=FailKind.RATE_LIMITED, reason=failure.reason, retry_after_s=FIRST_WAIT_S)]
        if self._phase is Phase.SUBSCRIBING and self._unconfirmed.get(control.id or "") == XPERP_ORDERS:
            note = Note(f"X-Perp orders can't be subscribed: {failure.reason}", "error")
            return [note, *self._confirmed(session, XPERP_ORDERS, now)]
        if self._phase in (Phase.LOGIN, Phase.SUBSCRIBING):
            return [Fail(kind=FailKind.TRANSIENT, reason=f"refused while {self._phase.value}: {failure.reason}")]
        return [Note(f"error frame: {failure.reason}")]

    # --- events ---

    def _orders(self, session: AccountSession, rows: list[msgspec.Raw], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for row in rows:
            try:
                order = _decode_order(row)
                if not session.belongs(order):
                    continue
                if reason := unclear(order):
                    outputs.append(Note(reason, "error"))
                    outputs.extend(session.look_up(order, now))
                    continue
                event = execution_report(order)
            except (*UNREADABLE, ValueError) as error:
                outputs.append(Note(f"unreadable order: {error}", "error"))
                continue
            outputs.extend(session.repair.live(event))
        return outputs

    def _accounts(self, session: AccountSession, rows: list[msgspec.Raw]) -> list[Output]:
        outputs: list[Output] = []
        for row in rows:
            try:
                event, odd = account_position(_decode_account(row))
            except (*UNREADABLE, ValueError) as error:
                outputs.append(Note(f"unreadable balances: {error}", "error"))
                continue
            if odd:
                outputs.append(Note(odd.phrase("balances"), "error"))
            if event is not None:
                outputs.extend(session.repair.live(event))
        return self._newest(outputs)

    def _newest(self, outputs: list[Output]) -> list[Output]:
        """Leave out balances that are older than what went out: frames that were held while REST answered later."""
        kept: list[Output] = []
        for output in outputs:
            if isinstance(output, Emit) and isinstance(output.event, AccountPosition):
                event = self._not_older(output.event)
                if event is not None:
                    kept.append(output if event is output.event else Emit(output.stream_id, event, output.repaired))
                continue
            kept.append(output)
        return kept

    def _not_older(self, event: AccountPosition) -> AccountEvent | None:
        times, moment = self._balance_times, event.event_time
        fresh = [balance for balance in event.balances if moment >= times.get(balance.asset, 0)]
        times.update((balance.asset, moment) for balance in fresh)
        return event if len(fresh) == len(event.balances) else position(moment, fresh)

    def replay(self, subscription: UserSubscription) -> None:
        """Enter the live state of a recorded frame."""
        self._session = AccountSession(subscription, self._setup)
        self._phase = Phase.JOINED
        self._session.repair.begin([], Instant(0.0, 0))


def _late(*, known: bool) -> Fail:
    said = "is known now" if known else "can't be read"
    return Fail(kind=FailKind.TRANSIENT, reason=f"login refused for its time: the venue's clock {said}")
