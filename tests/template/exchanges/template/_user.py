"""An account: login → gap → live. The venue sends the whole wallet after the login and with each change."""

from __future__ import annotations

from typing import Final

import msgspec
from exchanges.template._connection import ACK_TIMEOUT_S, heartbeat
from exchanges.template._errors import CLOCK, WS, failure_of_code
from exchanges.template._gap import GapPlan, time_of
from exchanges.template._orders import account_position, decode_order, execution_report, unclear
from exchanges.template._signer import Signer

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
    Send,
    UserSubscription,
)  # fmt: skip
from exchanges._clock import ClockCheck, VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._repair import GapRepair
from exchanges._rows import read_rows, tolerant
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup

CLOCK_TRIES: Final = 2


class _Frame(msgspec.Struct):
    """Any private frame: a push has orders or coins, an answer says what to."""

    orders: msgspec.Raw = msgspec.Raw()
    coins: msgspec.Raw = msgspec.Raw()
    time: int = 0
    re: str = ""
    ok: bool = False
    code: str = ""
    message: str = ""


_decode = tolerant(_Frame)


class _Account:
    """What belongs to the subscription. Raises `CredentialUnusable`."""

    def __init__(self, subscription: UserSubscription, setup: Setup) -> None:
        self.stream_id, self.resume = subscription.stream_id, subscription.resume
        self.clock = VenueClock(setup)
        self.plan = GapPlan(self.clock)
        self.check = ClockCheck(self.clock, self.plan.time(), time_of, tries=CLOCK_TRIES)
        self.repair = GapRepair(subscription, sign=self.sign, then=self.plan.then)
        self.lookups = Lookups(self.sign)
        self._signer = Signer(subscription.credentials)

    def sign(self, call: Call, now: Instant) -> Call:
        return self._signer.signed(call, self.clock.stamp(now))

    def login(self, now: Instant) -> Send:
        request = {"op": "login", "id": "login", **self._signer.login(self.clock.stamp(now))}
        return Send(msgspec.json.encode(request).decode())


class UserAdapter(OneAccount):
    """See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._account: _Account | None = None
        self._alarms: Alarms[str] = Alarms()
        self._beat = heartbeat(setup)

    # --- inputs ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        self._account = _Account(subscription, self._setup)
        return [Connect(f"{WS}/private")]

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        self._account = None
        self._alarms = Alarms()
        return []

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        account = self._account
        return [] if account is None else self._login(account, now)

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        account = self._account
        if account is None:
            return []
        try:
            message = _decode(frame)
            if message.re == "login" and "login" in self._alarms:
                return self._answered_login(account, message, now)
            if not (message.re or message.orders or message.coins):
                return [Note("a private frame of no known kind", "error")]
            return [*self._orders(account, message, now), *self._wallet(account, message)]
        except UNREADABLE as error:
            return [Note(f"unreadable private frame: {error}", "error")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        account = self._account
        if account is None:
            return []
        if account.repair.owns(call):
            return account.repair.answered(call, answer, account.plan.parse, now)
        if account.lookups.owns(call):
            return account.lookups.answered(call, answer, account.plan.parse, account.repair.live, now)
        read = account.check.told(answer, now)
        return [*([] if read is None else [read]), *self._login(account, now)]

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        account = self._account
        if account is None:
            return outputs
        if self._alarms.due(now):
            outputs.append(Fail(kind=FailKind.TRANSIENT, reason=f"no answer to the login for {ACK_TIMEOUT_S:.0f} s"))
        return [*outputs, *account.repair.due(now), *account.lookups.due(now)]

    def deadline(self) -> float | None:
        account = self._account
        reading = earliest(account.repair.deadline(), account.lookups.deadline()) if account else None
        return earliest(self._alarms.deadline(), self._beat.deadline(), reading)

    # --- joining ---

    def _login(self, account: _Account, now: Instant) -> list[Output]:
        self._alarms.set("login", now.mono + ACK_TIMEOUT_S)
        return [account.login(now)]

    def _answered_login(self, account: _Account, message: _Frame, now: Instant) -> list[Output]:
        self._alarms.clear("login")
        if message.ok:
            return account.repair.begin(account.plan.first(account.resume) if account.resume else [], now)
        failure = failure_of_code(message.code, message.message)
        if failure.code == CLOCK and (ask := account.check.ask()) is not None:
            return [ask]
        return [failure.fail(account.stream_id)]

    # --- events ---

    def _orders(self, account: _Account, message: _Frame, now: Instant) -> list[Output]:
        rows, odd = read_rows(message.orders, decode_order)
        outputs: list[Output] = [Note(odd.phrase("orders"), "error")] if odd else []
        for row in rows:
            event = execution_report(row)
            if event is not None:
                outputs += account.repair.live(event)
                continue
            outputs.append(Note(f"order {row.id}: {unclear(row)}; it is asked for", "error"))
            outputs += account.lookups.ask(row.id, account.plan.single(row.id), now)
        return outputs

    def _wallet(self, account: _Account, message: _Frame) -> list[Output]:
        event, odd = account_position(message.coins, message.time)
        notes = [Note(odd.phrase("coins"), "error")] if odd else []
        return [*(account.repair.live(event) if event else ()), *notes]

    def replay(self, subscription: UserSubscription) -> None:
        """Enter the live state of a recorded frame."""
        self._account = _Account(subscription, self._setup)
        self._account.repair.begin([], Instant(0.0, 0))
