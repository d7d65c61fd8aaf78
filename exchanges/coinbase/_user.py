"""An account of Coinbase on the user channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

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
    UserSubscription,
)
from exchanges._clock import ClockCheck
from exchanges._failures import Failure
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._plan import open_before
from exchanges._renewal import renewable
from exchanges._repair import GapRepair, Repaired
from exchanges._rows import Odd, read_rows, tolerant
from exchanges._timers import earliest
from exchanges._times import milliseconds
from exchanges._venue import Setup
from exchanges.coinbase._connection import (
    API,
    HEARTBEATS,
    REST,
    SANDBOX_REST,
    SANDBOX_USER_WS,
    USER_WS,
    Link,
    Message,
    Request,
)
from exchanges.coinbase._gap import GapPlan
from exchanges.coinbase._orders import Memory, Order, belongs, execution_report, unclear
from exchanges.coinbase._signer import Signer

USER: Final = "user"
CLOCK_LIMIT_S: Final = 6.0
SKEW_MS: Final = 5_000
"""A token is good for two minutes from its start; how much skew the venue tolerates is not documented."""


class _Event(msgspec.Struct):
    """`orders` may be missing or null; futures positions stand beside it and are not for us."""

    type: str = ""
    orders: msgspec.Raw = msgspec.Raw(b"[]")


class _Time(msgspec.Struct, rename="camel"):
    epoch_millis: str


_decode_time = msgspec.json.Decoder(_Time).decode
_decode_event = tolerant(_Event)
_decode_order = msgspec.json.Decoder(Order).decode


def _read_event(raw: bytes) -> tuple[str, list[Order], Odd]:
    event = _decode_event(raw)
    return (event.type, *read_rows(event.orders, _decode_order))


def _time_of(answer: Answer) -> int | None:
    try:
        return int(_decode_time(answer.body).epoch_millis)
    except (*UNREADABLE, ValueError):
        return None


class UserAdapter(OneAccount, Link):
    """One account: connect → subscribe → repair → live. See `exchanges._adapter.Adapter`."""

    url = USER_WS

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._rest = REST
        self._memory = Memory()
        self._repair: GapRepair | None = None
        self._plan: GapPlan | None = None
        self._lookups = Lookups(self._sign)
        self._joined: set[str] = set()
        self._refusal: Failure | None = None
        """The refusal whose cause may be our clock, while the venue's is asked for."""
        self._check = self._clock_check()

    # --- inputs ---

    def _leave(self, _stream_id: str, now: Instant) -> Outputs:
        joined, self._joined = self._joined, set()
        outputs = self._ask("unsubscribe", USER, (), now) if USER in joined else []
        self._repair, self._plan = None, None
        return outputs

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if call.tag == "time":
            return self._clock_told(answer, now)
        if self._repair is not None and self._lookups.owns(call):
            return self._lookups.answered(call, answer, self._looked_up, self._repair.live, now)
        if self._repair is None or not self._repair.owns(call):
            return []
        return self._repair.answered(call, answer, self._parse, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        if self._repair is not None:
            outputs.extend(self._repair.due(now))
            outputs.extend(self._lookups.due(now))
        return outputs

    def deadline(self) -> float | None:
        if self._repair is None:
            return super().deadline()
        return earliest(super().deadline(), self._repair.deadline(), self._lookups.deadline())

    # --- joining ---

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        self._signer = Signer(subscription.credentials, self._setup.new_id)
        if subscription.credentials.environment == "sandbox":
            self.url, self._rest = SANDBOX_USER_WS, SANDBOX_REST
            self._check = self._clock_check()
        self._prepare(subscription)
        return [Connect(self.url)]

    def _prepare(self, subscription: UserSubscription) -> None:
        """The repair holds live events from the first frame on, so it exists before the first of them."""
        for order in subscription.resume.orders if subscription.resume else ():
            if not order.terminal:
                # An order without fills was published with its limit price.
                untouched = order.executed in ("", "0")
                self._memory.learn(order.order_id, order.quantity, order.price if untouched else "")
        self._plan = GapPlan(self._rest, subscription.stream_id, self._memory)
        self._repair = GapRepair(subscription, sign=self._sign, then=self._plan.then)

    def _requests(self) -> Iterable[Request]:
        return [Request("subscribe", USER)] if self._subscription is not None else []

    def _acknowledged(self, request: Request, now: Instant) -> list[Output]:
        """Live needs both: without heartbeats a quiet account would be cut off."""
        self._joined.add(request.channel)
        subscription = self._subscription
        if not self._joined >= {USER, HEARTBEATS} or subscription is None or self._repair is None or self._plan is None:
            return []
        calls = self._plan.first(subscription.resume) if subscription.resume is not None else []
        return self._repair.begin(calls, now, missing=open_before(subscription.resume))

    def _declined(self, request: Request, failure: Failure, now: Instant) -> list[Output]:
        kind = FailKind.TRANSIENT if failure.kind is FailKind.REQUEST else failure.kind
        return [Fail(kind=kind, reason=failure.reason, retry_after_s=failure.retry_after_s)]

    def _clock_check(self) -> ClockCheck:
        time = Call(tag="time", method="GET", url=f"{self._rest}{API}/time", timeout_s=CLOCK_LIMIT_S - 1)
        return ClockCheck(self._clock, time, _time_of, skew_ms=SKEW_MS)

    def _unauthorised(self, failure: Failure, now: Instant) -> list[Output]:
        """A wrong clock is refused with the same words as a dead key, so the venue's time is looked at first."""
        if self._subscription is None or self._refusal is not None:
            return []
        known = failure.kind is not FailKind.CREDENTIAL or self._asked is None
        ask = None if known else self._check.ask()
        if ask is None:
            return self._refused(failure)
        self._refusal = failure
        self._alarms.clear("ack")
        self._alarms.set("clock", now.mono + CLOCK_LIMIT_S)
        return [ask]

    def _clock_told(self, answer: Answer, now: Instant) -> list[Output]:
        failure, self._refusal = self._refusal, None
        if failure is None:
            return []
        self._alarms.clear("clock")
        read = self._check.told(answer, now)
        return [read, *self._again(now)] if read is not None else self._refused(failure)

    def _alarm(self, name: str, now: Instant) -> list[Output]:
        failure, self._refusal = self._refusal, None
        return self._refused(failure) if failure is not None else []

    def _refused(self, failure: Failure) -> list[Output]:
        if self._subscription is None:
            return []
        return [Fail(kind=failure.kind, reason=failure.reason, stream_id=self._subscription.stream_id)]

    def _beat(self) -> list[Output]:
        return [Seen(self._subscription.stream_id)] if self._subscription is not None else []

    # --- events ---

    def _data(self, message: Message, now: Instant) -> list[Output]:
        if message.channel == "futures_balance_summary" or self._repair is None:
            return []
        if message.channel != USER:
            return [Note(f"unknown channel {message.channel}")]
        time_ms = milliseconds(message.timestamp) or now.wall_ms
        outputs: list[Output] = []
        try:
            events, odd = read_rows(message.events, _read_event)
        except UNREADABLE as error:
            return [Note(f"unreadable user frame: {error}", "error")]
        outputs += [Note(odd.phrase("events"), "error")] if odd else []
        for kind, orders, odd in events:
            outputs += [Note(odd.phrase("orders"), "error")] if odd else []
            for order in orders:
                if kind == "update":
                    outputs.extend(self._updated(order, time_ms, self._repair, now))
                else:  # a snapshot: what is open; its pages may come at any sequence number
                    self._memory.learn_from(order)
        return outputs

    def _updated(self, order: Order, time_ms: int, repair: GapRepair, now: Instant) -> list[Output]:
        if not belongs(order):
            return []
        if reason := unclear(order.status, order.cumulative_quantity, order.avg_price, order.filled_value):
            note = Note(f"order {order.order_id}: {reason}", "error")
            asked = self._lookups.ask(order.order_id, self._plan.order(order.order_id), now) if self._plan else []
            return [note, *asked]
        try:
            report = execution_report(order, time_ms, self._memory)
        except ValueError as error:
            return [Note(f"order {order.order_id} can't be read: {error}", "error")]
        return repair.live(report) if report is not None else []

    # --- helpers ---

    @renewable
    def _sign(self, call: Call, now: Instant) -> Call:
        return self._signer.signed(call, self._seconds(now)) if self._signer is not None else call

    def _parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        return self._plan.parse(call, answer, now) if self._plan is not None else Repaired()

    def _looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        return self._plan.looked_up(call, answer, now) if self._plan is not None else Repaired()

    def replay(self, subscription: UserSubscription, known_orders: dict[str, Any]) -> None:
        """Enter the live state of a recorded frame; `known_orders` is what earlier frames told, by order id."""
        self._subscription = subscription
        self._prepare(subscription)
        for order_id, known in known_orders.items():
            self._memory.learn(order_id, str(known.get("quantity", "")), str(known.get("price", "")))
        if self._repair is not None:
            self._repair.begin([], Instant(0.0, 0))
