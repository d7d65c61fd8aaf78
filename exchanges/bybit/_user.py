"""An account of Bybit on its private WebSocket."""

from __future__ import annotations

import enum
from collections.abc import Sequence
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
from exchanges._clock import ClockCheck, VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._positions import Positions, Read
from exchanges._renewal import renewable
from exchanges._repair import GapRepair
from exchanges._rows import read_rows, tolerant
from exchanges._timers import Alarms, earliest
from exchanges._venue import Setup
from exchanges.bybit._connection_ping import heartbeat
from exchanges.bybit._errors import envelope_of, failure_of, time_of
from exchanges.bybit._gap import GapPlan
from exchanges.bybit._hosts import CATEGORY, REGIONS, Site, region_of, site_of
from exchanges.bybit._orders import (
    Order,
    account_position,
    account_type,
    decode_order,
    decode_wallet,
    execution_report,
    reference,
    unclear,
)
from exchanges.bybit._positions import decode_held, position_calls, position_update, read_positions
from exchanges.bybit._signer import AUTH_AHEAD_MS, Signer

ASK_TIMEOUT_S: Final = 5.0
ASK_LIMIT_S: Final = 8.0
"""A query may hang without any answer (bug C8): then the stream goes on without it."""
ACK_TIMEOUT_S: Final = 10.0
CLOCK_TRIES: Final = 3
TOPICS: Final = ("order", "wallet")
_SILENT_TOPICS: Final = ("execution", "greeks", "dcp")

Phase = enum.Enum("Phase", ["IDLE", "ASKING", "CONNECTING", "LOGIN", "SUBSCRIBING", "JOINED"])
"""Where the connection stands."""


class _Frame(msgspec.Struct):
    """Any private frame: a push has a topic, an answer an operation."""

    topic: str = ""
    op: str = ""
    success: bool | None = None
    ret_msg: str | None = ""
    req_id: str = ""
    id: str = ""
    creationTime: int = 0  # noqa: N815 - the venue's name
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Info(msgspec.Struct):
    unifiedMarginStatus: int = 0  # noqa: N815
    marginMode: str = ""  # noqa: N815


_decode_frame = tolerant(_Frame)
_decode_info = tolerant(_Info)


class _Account:
    """What belongs to the one subscription: its signer, hosts and gap repair. Raises `CredentialUnusable`."""

    def __init__(self, subscription: UserSubscription, setup: Setup) -> None:
        category = CATEGORY[setup.exchange]
        self.stream_id = subscription.stream_id
        self.resume = subscription.resume
        self.site: Site = site_of(subscription.credentials)
        self.clock = VenueClock(setup)
        url, headers = f"{self.site.rest}/v5/market/time", dict(self.site.headers)
        time = Call(tag="time", method="GET", url=url, headers=headers, timeout_s=ASK_TIMEOUT_S)
        self.check = ClockCheck(self.clock, time, time_of, tries=CLOCK_TRIES)
        self.plan = GapPlan(self.site.rest, category, setup.table(), self.stream_id)
        # Holds live events from the first frame on, so it exists before the first of them.
        self.repair = GapRepair(subscription, sign=self.sign, then=self.plan.then)
        self.lookups = Lookups(self.sign)
        self.margin_mode = ""
        self.position_request = ""
        """Id of the request for the positions' topic."""
        self.positions = Positions(
            subscription,
            calls=lambda: position_calls(self.site.rest, category, self.stream_id),
            parse=self._read_positions,
            sign=self.sign,
            ready=lambda: self.repair.passing,
        )
        self._category = category
        self._signer = Signer(subscription.credentials)

    @renewable
    def sign(self, call: Call, now: Instant) -> Call:
        return self._signer.signed(call, self.clock.stamp(now))

    def _read_positions(self, call: Call, answer: Answer, _now: Instant) -> Read:
        return read_positions(call, answer, self.site.rest, self._category, self.margin_mode)

    def login(self, now: Instant) -> list[str | int]:
        return self._signer.login(self.clock.stamp(now) + AUTH_AHEAD_MS)

    def query(self, tag: str, now: Instant, context: object = None) -> Call:
        """The signed question for the account's mode."""
        url = f"{self.site.rest}/v5/account/info"
        return self.sign(Call(tag=tag, method="GET", url=url, timeout_s=ASK_TIMEOUT_S, context=context), now)


class UserAdapter(OneAccount):
    """One account: mode of the account → connect → login → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._category = CATEGORY[setup.exchange]
        self._account: _Account | None = None
        self._phase = Phase.IDLE
        self._alarms: Alarms[str] = Alarms()
        self._beat = heartbeat(setup)
        self._wallet_time = 0

    # --- inputs ---

    def _leave(self, _stream_id: str, _now: Instant) -> Outputs:
        self._account = None
        self._alarms = Alarms()
        topics = TOPICS if self._category == "spot" else (*TOPICS, self._position_topic)
        return [self._frame("unsubscribe", topics)] if self._phase is Phase.JOINED else []

    def connected(self, now: Instant) -> Outputs:
        self._beat.start(now)
        account = self._account
        if account is None:
            return []
        self._phase = Phase.LOGIN
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S)
        return [self._frame("auth", account.login(now))]

    def received(self, frame: bytes, now: Instant) -> Outputs:
        self._beat.heard()
        account = self._account
        if account is None:
            return []
        try:
            message = _decode_frame(frame)
        except UNREADABLE as error:
            return [Note(f"unreadable private frame: {error}")]
        if not message.topic:
            return self._reply(account, message, now)
        if message.topic == "order" or message.topic.startswith("order."):
            return self._orders(account, message, now)
        if message.topic == "wallet":
            return self._wallet(account, message)
        if message.topic.startswith("position"):
            return self._positions(account, message)
        return [] if message.topic.startswith(_SILENT_TOPICS) else [Note(f"unknown private topic {message.topic}")]

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        account = self._account
        if account is None:
            return []
        if account.repair.owns(call):
            return account.repair.answered(call, answer, account.plan.parse, now)
        if account.lookups.owns(call):
            return account.lookups.answered(call, answer, account.plan.parse, account.repair.live, now)
        if account.positions.owns(call):
            return account.positions.answered(call, answer, now)
        if call.tag == "account-info" and self._phase is Phase.ASKING:
            return self._asked(account, answer)
        if call.tag == "time":
            return self._clock_told(account, call, answer, now)
        if call.tag == "auth-check" and "check" in self._alarms:
            return self._checked(account, call, answer)
        if call.tag == "wallet" and self._phase is Phase.JOINED:
            return self._first_wallet(account, call, answer, now)
        return []

    def woken(self, now: Instant) -> Outputs:
        outputs = self._beat.due(now)
        account = self._account
        if account is None:
            return outputs
        for name in self._alarms.due(now):
            if name == "ask":
                outputs.append(Note("the account query hangs; unified 2.0 is assumed"))
                outputs.extend(self._dial(account))
            elif name == "ack":
                what = "the login" if self._phase is Phase.LOGIN else "subscribing"
                outputs.append(Fail(kind=FailKind.TRANSIENT, reason=f"no answer to {what} for {ACK_TIMEOUT_S:.0f} s"))
            else:
                reason = "login refused, and the key could not be checked over REST in time"
                outputs.append(Fail(kind=FailKind.TRANSIENT, reason=reason))
        outputs.extend(account.repair.due(now))
        outputs.extend(account.lookups.due(now))
        outputs.extend(account.positions.due(now))
        return outputs

    def deadline(self) -> float | None:
        account = self._account
        if account is None:
            return earliest(self._alarms.deadline(), self._beat.deadline())
        reading = earliest(account.repair.deadline(), account.lookups.deadline(), account.positions.deadline())
        return earliest(self._alarms.deadline(), self._beat.deadline(), reading)

    # --- before the connection ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        account = _Account(subscription, self._setup)
        self._account = account
        self._phase = Phase.ASKING
        self._alarms.set("ask", now.mono + ASK_LIMIT_S)
        region = region_of(subscription.credentials)
        notes = [] if region in REGIONS else [Note(f"unknown Bybit region {region[:20]!r}: the global site is used")]
        return [*notes, account.query("account-info", now)]

    def _asked(self, account: _Account, answer: Answer) -> list[Output]:
        failure = failure_of(answer)
        if failure is not None:
            if failure.kind is FailKind.CREDENTIAL:
                return self._refused(account, failure.reason)
            if failure.clock and (ask := account.check.ask(("account-info", None))) is not None:
                return [ask]
            return [
                Note(f"the account's mode is unknown ({failure.reason}); unified 2.0 is assumed"),
                *self._dial(account),
            ]
        envelope = envelope_of(answer)
        try:
            info = _decode_info(envelope.result) if envelope is not None else _Info()
        except UNREADABLE as error:
            return [Note(f"the account's mode can't be read ({error}); unified 2.0 is assumed"), *self._dial(account)]
        account.plan.account_type = account_type(self._category, info.unifiedMarginStatus)
        account.margin_mode = info.marginMode
        return self._dial(account)

    def _dial(self, account: _Account) -> list[Output]:
        self._alarms.clear("ask")
        self._phase = Phase.CONNECTING
        first, *others = (f"{origin}/v5/private" for origin in account.site.ws)
        return [Connect(first, account.site.headers, tuple(others))]

    def _clock_told(self, account: _Account, call: Call, answer: Answer, now: Instant) -> list[Output]:
        """The venue refused our timestamp: take over its clock and ask again."""
        read = account.check.told(answer, now)
        outputs: list[Output] = [read] if read is not None else []
        then, text = call.context if isinstance(call.context, tuple) else ("", None)
        waiting = self._phase is Phase.ASKING if then == "account-info" else "check" in self._alarms
        return [*outputs, account.query(str(then), now, text)] if waiting else outputs

    # --- login and subscriptions ---

    def _reply(self, account: _Account, message: _Frame, now: Instant) -> list[Output]:
        if message.op in ("ping", "pong"):
            return []
        text = message.ret_msg or ""
        if message.op == "subscribe" and message.req_id and message.req_id == account.position_request:
            account.positions.begin(now)
            return [] if message.success else [Note(f"changes of positions are not told: {text}")]
        if message.op == "auth" and self._phase is Phase.LOGIN:
            return self._logged_in(now) if message.success else self._check(account, text, now)
        if message.op == "subscribe" and self._phase is Phase.SUBSCRIBING:
            if message.success or "already subscribed" in text.lower():
                return self._joined(account, now)
            if "not authorized" in text.lower():
                return self._check(account, text, now)
            return [Fail(kind=FailKind.TRANSIENT, reason=f"subscribe refused: {text}")]
        return [Note(f"private answer to {message.op}: {text}", "info")] if message.success is False else []

    def _logged_in(self, now: Instant) -> list[Output]:
        self._phase = Phase.SUBSCRIBING
        self._alarms.set("ack", now.mono + ACK_TIMEOUT_S)
        return [self._frame("subscribe", TOPICS)]

    def _check(self, account: _Account, text: str, now: Instant) -> list[Output]:
        """A refused login may be the venue's own trouble: only a signed REST call proves that the key is dead."""
        self._alarms.clear("ack")
        self._alarms.set("check", now.mono + ASK_LIMIT_S)
        return [Note(f"login refused: {text}"), account.query("auth-check", now, text)]

    def _checked(self, account: _Account, call: Call, answer: Answer) -> list[Output]:
        failure = failure_of(answer)
        text = call.context or "login refused"
        late = failure is not None and failure.clock
        if late and (ask := account.check.ask(("auth-check", call.context))) is not None:
            return [ask]
        self._alarms.clear("check")
        if failure is None:
            return [Fail(kind=FailKind.TRANSIENT, reason=f"login refused ({text}), but the key works over REST")]
        if failure.kind is FailKind.CREDENTIAL:
            return self._refused(account, f"{text}; {failure.reason}")
        return [Fail(kind=FailKind.TRANSIENT, reason=f"login refused ({text}) and not checked: {failure.reason}")]

    def _refused(self, account: _Account, reason: str) -> list[Output]:
        self._alarms = Alarms()
        self._phase = Phase.IDLE
        return [Fail(kind=FailKind.CREDENTIAL, reason=reason, stream_id=account.stream_id)]

    def _joined(self, account: _Account, now: Instant) -> list[Output]:
        self._phase = Phase.JOINED
        self._alarms.clear("ack")
        if account.resume is not None:
            outputs = account.repair.begin(account.plan.first(account.resume, now), now)
        else:
            # Nothing is pushed on subscribing, so a stream that begins reads its balances once.
            outputs = [*account.repair.begin([], now), account.sign(account.plan.wallet(), now)]
        if self._category == "spot":
            return outputs
        # By a request of its own: one refused topic refuses the whole request.
        account.position_request = self._setup.new_id()
        account.positions.expect(now, ACK_TIMEOUT_S)
        return [*outputs, self._frame("subscribe", [self._position_topic], account.position_request)]

    def _first_wallet(self, account: _Account, call: Call, answer: Answer, now: Instant) -> list[Output]:
        repaired = account.plan.parse(call, answer, now)
        if repaired.retry or repaired.missing:
            why = ", ".join(repaired.missing) or f"HTTP {answer.status}"
            return [Note(f"the balances at the start are unknown: {why}")]
        fresh = [event for event in repaired.events if event.event_time > self._wallet_time]
        return [Emit(account.stream_id, event, repaired=True) for event in fresh]

    # --- events ---

    def _orders(self, account: _Account, message: _Frame, now: Instant) -> list[Output]:
        """The orders of a frame; one that can't be read costs only itself, and is asked for if it says which it is."""
        outputs: list[Output] = []

        def decode(raw: bytes) -> Order | None:
            try:
                return decode_order(raw)
            except UNREADABLE as error:
                outputs.extend(self._unreadable(account, raw, str(error), now))
                return None

        try:
            orders, odd = read_rows(message.data, decode)
        except UNREADABLE as error:
            return [Note(f"unreadable order frame: {error}", "error")]
        if odd:
            outputs.append(Note(f"unreadable order frame: {odd.phrase('orders')}", "error"))
        for order in orders:
            if order is None or order.category != self._category:
                continue
            event = execution_report(order, self._category, self._setup.table(), message.creationTime)
            if event is None:
                outputs.extend(self._ask(account, order.order_id, unclear(order), now))
            else:
                outputs.extend(account.repair.live(event))
        return outputs

    def _unreadable(self, account: _Account, raw: bytes, why: str, now: Instant) -> list[Output]:
        ref = reference(raw)
        if ref.category not in (self._category, ""):
            return []
        if not isinstance(ref.order_id, str) or not ref.order_id:
            return [Note(f"unreadable order: {why}", "error")]
        return self._ask(account, ref.order_id, f"a frame that can't be read ({why})", now)

    def _ask(self, account: _Account, order_id: str, why: str, now: Instant) -> list[Output]:
        note = Note(f"order {order_id}: {why}; it is asked for", "error")
        return [note, *account.lookups.ask(order_id, account.plan.single(order_id), now)]

    def _wallet(self, account: _Account, message: _Frame) -> list[Output]:
        message_id = f"{message.creationTime}:{message.id}"
        try:
            wallets, odd_wallets = read_rows(message.data, decode_wallet)
            event, odd = account_position(wallets, account.plan.account_type, message.creationTime, message_id)
        except UNREADABLE as error:
            return [Note(f"unreadable wallet frame: {error}", "error")]
        outputs: list[Output] = [Note(one.phrase("coins of a wallet"), "error") for one in odd]
        if odd_wallets:
            outputs.append(Note(odd_wallets.phrase("wallets"), "error"))
        if event is None:
            return outputs
        self._wallet_time = max(self._wallet_time, event.event_time)
        return [*account.repair.live(event), *outputs]

    def _positions(self, account: _Account, message: _Frame) -> list[Output]:
        try:
            rows, odd = read_rows(message.data, decode_held)
        except UNREADABLE as error:
            return [Note(f"unreadable position frame: {error}", "error")]
        outputs = account.positions.live(
            position_update(row, self._category, account.margin_mode, message.creationTime)
            for row in rows
            if row.category == self._category
        )
        return [*outputs, Note(odd.phrase("positions"), "error")] if odd else outputs

    # --- helpers ---

    @property
    def _position_topic(self) -> str:
        return f"position.{self._category}"

    def _frame(self, op: str, args: Sequence[str | int], request_id: str = "") -> Send:
        frame = {"req_id": request_id or self._setup.new_id(), "op": op, "args": args}
        return Send(msgspec.json.encode(frame).decode())

    def replay(self, subscription: UserSubscription, unified_margin_status: int) -> None:
        """Enter the live state of a recorded frame."""
        self._account = _Account(subscription, self._setup)
        self._account.plan.account_type = account_type(self._category, unified_margin_status)
        self._phase = Phase.JOINED
        self._account.repair.begin([], Instant(0.0, 0))
