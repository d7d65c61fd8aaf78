"""KuCoin account streams: which kind of account it is, and the classic session (venue file sections 3 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._account import OneAccount
from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Rotate,
    Seen,
    Setup,
    Subscription,
    UserSubscription,
)
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._repair import GapRepair
from exchanges._timers import Waiting, earliest
from exchanges.errors import CredentialUnusable
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.kucoin import _events, _frames, _markets, _rest
from exchanges.kucoin._gap import Gap
from exchanges.kucoin._link import Control, Link, Topic
from exchanges.kucoin._unified import UnifiedUser

LOOKUP_S: Final = 5.0
"""How long a terminal report waits for REST to tell the value that its frames did not."""

SPOT_TOPICS: Final = (
    Topic("/spotMarket/tradeOrdersV2", private=True),
    Topic("/account/balance", private=True),
)
FUTURES_TOPICS: Final = (
    Topic("/contractMarket/tradeOrders", private=True),
    Topic("/contractAccount/wallet", private=True),
    Topic("/contract/positionAll", private=True),
)
_OPTIONAL: Final = "/contract/position"
_SUBJECTS: Final = frozenset(
    {
        ("/account/balance", "account.balance"),
        ("/contractAccount/wallet", "walletBalance.change"),
        ("/contractAccount/wallet", "availableBalance.change"),
        *(
            (topic, subject)
            for topic in ("/contract/position", "/contract/positionAll")
            for subject in ("position.change", "position.settlement", "position.adjustRiskLimit")
        ),
    }
)
"""Pushes that are understood, beside orders; of positions only `position.change` can publish something."""
_RETIRED: Final = frozenset({"orderMargin.change", "withdrawHold.change"})
_MODE: Final = "account mode"
_LOOKUP: Final = "order lookup"
MODE_TRIES: Final = 2
RECHECK_S: Final = 600.0
"""A session whose account mode could not be asked runs as classic and is replaced after this long, to ask again."""
OFF: Final = frozenset({"off", "false", "0", "no"})

_order = msgspec.json.Decoder(_frames.OrderFrame).decode
_balance = msgspec.json.Decoder(_frames.BalanceFrame).decode
_wallet = msgspec.json.Decoder(_frames.WalletFrame).decode
_position = msgspec.json.Decoder(_frames.PositionFrame).decode
_rest_row = msgspec.json.Decoder(_frames.RestOrder).decode


class _Mode(msgspec.Struct, rename="camel"):
    self_account_mode: str = ""


_decode_mode = msgspec.json.Decoder(_Mode).decode


class User(OneAccount):
    """Finds out whether the account is classic or unified, then hands every input to that session."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._inner: Adapter | None = None
        self._recheck_at: float | None = None
        self._clock = VenueClock(setup)
        self._clock_checked = False

    def _open(self, subscription: UserSubscription, now: Instant) -> Outputs:
        check(subscription, now)
        # The venue calls its unified API not final: an operator can switch the detection off.
        if self._setup.options.get("KUCOIN_UNIFIED", "auto").lower() in OFF:
            return self._classic(subscription, now)
        return self._ask_mode(subscription, now)

    def _ask_mode(self, subscription: UserSubscription, now: Instant, attempt: int = 1) -> Outputs:
        url = f"{_markets.SPOT_REST}/api/ua/v1/account/mode"
        call = Call(tag=_MODE, method="GET", url=url, weight=30, pool="unified", attempt=attempt)
        return [_rest.sign(call, subscription.credentials, self._clock.stamp(now))]

    def _classic(self, subscription: UserSubscription, now: Instant) -> Outputs:
        return self._choose(ClassicUser(self._setup, subscription, self._clock), now)

    def _choose(self, inner: Adapter, now: Instant) -> Outputs:
        self._inner = inner
        return inner.start(now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if self._inner is not None:
            return self._inner.answered(call, answer, now)
        subscription = self._subscription
        if subscription is None:
            return []
        if call.tag == _rest.TIME:
            venue_ms = _rest.time_of(answer)
            read = [] if venue_ms is None else [self._clock.read(venue_ms, now)]
            return [*read, *self._ask_mode(subscription, now)]
        if call.tag != _MODE:
            return []
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            if str(envelope.code) == _rest.CLOCK and not self._clock_checked:
                self._clock_checked = True
                return [_rest.time_call(_markets.SPOT_REST)]
            fail = _rest.failure(answer, envelope)
            if fail.kind is FailKind.RATE_LIMITED:
                return [fail]
            if answer.status == 0 or answer.status >= 500:
                return self._mode_unknown(subscription, call, fail, now)
            # A business error: not a unified account. A bad key is told by the token call that follows.
            return self._classic(subscription, now)
        try:
            unified = _decode_mode(envelope.data).self_account_mode == "UNIFIED"
        except UNREADABLE:
            unified = False
        if unified:
            return self._choose(UnifiedUser(self._setup, subscription, self._clock), now)
        return self._classic(subscription, now)

    def _mode_unknown(self, subscription: UserSubscription, call: Call, fail: Fail, now: Instant) -> Outputs:
        """The API that tells the mode is not final: its absence must not keep classic accounts from streaming."""
        if call.attempt < MODE_TRIES:
            return self._ask_mode(subscription, now, call.attempt + 1)
        self._recheck_at = now.mono + RECHECK_S
        note = Note(f"account mode not known, taken for classic: {fail.reason}")
        return [note, *self._classic(subscription, now)]

    def connected(self, now: Instant) -> Outputs:
        return self._inner.connected(now) if self._inner else []

    def received(self, frame: bytes, now: Instant) -> Outputs:
        return self._inner.received(frame, now) if self._inner else []

    def woken(self, now: Instant) -> Outputs:
        if self._inner is None:
            return []
        outputs = list(self._inner.woken(now))
        if self._recheck_at is not None and now.mono >= self._recheck_at:
            self._recheck_at = None
            outputs.append(Rotate("the account mode has to be asked again"))
        return outputs

    def deadline(self) -> float | None:
        return earliest(self._recheck_at, self._inner.deadline()) if self._inner else None

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if self._inner is not None:
            return self._inner.remove(stream_id, now)
        if self._subscription is not None and self._subscription.stream_id == stream_id:
            self._subscription = None
        return []

    def closing(self, now: Instant) -> Outputs:
        return self._inner.closing(now) if self._inner else []


def check(subscription: UserSubscription, now: Instant) -> None:
    """Raises `CredentialUnusable` for material that can never sign a request."""
    key = subscription.credentials.key.reveal()
    if not key or not key.isascii():
        raise CredentialUnusable("the API key is empty or holds characters that no key has")
    _rest.sign(Call(tag="", method="GET", url=_markets.SPOT_REST), subscription.credentials, now.wall_ms)


class ClassicUser(Link):
    """One classic account (spot, or the shared futures account filtered to one family)."""

    private = True

    def __init__(self, setup: Setup, subscription: UserSubscription, clock: VenueClock | None = None) -> None:
        super().__init__(setup)
        self._clock = clock or self._clock
        self.subscription = subscription
        self.account = _events.Account(setup.exchange, setup.table)
        self._gap = Gap(self.account, subscription, lambda: self.now.wall_ms)
        self.repair = GapRepair(subscription, self.signed, self._gap.then)
        self._held: Waiting[str, ExecutionReport] = Waiting()
        for order in subscription.resume.orders if subscription.resume else ():
            if decimal(order.executed) > 0:
                self.account.ledger.seed(order.order_id, decimal(order.executed), decimal(order.executed_quote))

    # --- Link hooks ---

    def signed(self, call: Call) -> Call:
        call = msgspec.structs.replace(call, stream_id=self.subscription.stream_id)
        return _rest.sign(call, self.subscription.credentials, self._clock.stamp(self.now))

    def judged(self, fail: Fail) -> Fail:
        if fail.kind is not FailKind.CREDENTIAL:
            return fail
        return msgspec.structs.replace(fail, stream_id=self.subscription.stream_id)

    def _begin(self, now: Instant) -> list[Output]:
        self._book.want(self._topics(), now)
        return super()._begin(now)

    def _topics(self) -> tuple[Topic, ...]:
        return SPOT_TOPICS if _markets.is_spot(self._exchange) else FUTURES_TOPICS

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        return self.repair.begin(self._gap.calls(), now) if self._book.settled else []

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        if topics[0].prefix.startswith(_OPTIONAL):
            return [Note(f"no liquidation reports: {fail.reason}"), *self._confirmed((), now)]
        return [self._fail(FailKind.TRANSIENT, f"{topics[0].prefix}: {fail.reason}")]

    def _pushed(self, frame: Control, now: Instant) -> Outputs:
        topic = frame.topic.split(":")[0]
        try:
            if topic in ("/spotMarket/tradeOrdersV2", "/spotMarket/tradeOrders", "/contractMarket/tradeOrders"):
                return self._order(frame, now)
            if frame.subject in _RETIRED:
                return [Seen(self.subscription.stream_id)]
            if (topic, frame.subject) not in _SUBJECTS:
                return [Note(f"{topic} {frame.subject}: not known")]
            event = self._other(topic, frame)
        except (*UNREADABLE, ValueError):
            return [Note(f"{topic} {frame.subject}: not understood")]
        return [Seen(self.subscription.stream_id)] if event is None else self.repair.live(event)

    # --- inputs ---

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        self.now = now
        if self.repair.owns(call):
            return self.repair.answered(call, answer, self._gap.parse, now)
        if call.tag == _LOOKUP:
            return self._looked_up(str(call.context), answer)
        return super().answered(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        if self._ended:
            return outputs
        for event in self._held.expired(now):
            outputs.extend(self.repair.live(event))
        deadline = self.repair.deadline()
        if deadline is not None and now.mono >= deadline:
            outputs.extend(self.repair.due(now))
        return outputs

    def deadline(self) -> float | None:
        if self._ended:
            return None
        return earliest(super().deadline(), self._held.deadline(), self.repair.deadline())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return [Fail(kind=FailKind.REQUEST, reason="the connection is taken", stream_id=subscription.stream_id)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self.subscription.stream_id:
            return []
        self._book.drop(self._topics(), now)
        return self._pump(now)

    # --- frames ---

    def _order(self, frame: Control, now: Instant) -> Outputs:
        if frame.subject not in ("orderChange", "symbolOrderChange"):
            return [Note(f"{frame.topic.split(':')[0]} {frame.subject}: not understood")]
        order = _order(frame.data)
        self._gap.saw(order.symbol)
        event = self.account.order(order)
        if event is not None:
            return self._publish(event, order.symbol, now)
        if (order.type, order.status) not in _events.STATUSES:
            return [Note(f"order state {order.type}/{order.status} is not known")]
        return [Seen(self.subscription.stream_id)]

    def _publish(self, event: ExecutionReport, wire: str, now: Instant) -> Outputs:
        """A final report without a value is worth a question: the backend books the first FILLED for good."""
        final = event.order_status in ("FILLED", "CANCELED")
        known = decimal(event.total_quote_trade_quantity) > 0 or not decimal(event.total_trade_quantity)
        if known or not final or not self.subscription.credentials.key:
            return self.repair.live(event)
        order_id = str(event.order_id)
        self._held.add(order_id, event, now.mono + LOOKUP_S)
        return [self.signed(self._gap.single(order_id, wire, tag=_LOOKUP))]

    def _looked_up(self, order_id: str, answer: Answer) -> Outputs:
        event = self._held.take(order_id)
        if event is None:
            return []
        envelope = _rest.read(answer)
        if _rest.succeeded(answer, envelope):
            try:
                found = self.account.rest_order(_rest_row(envelope.data))
            except (*UNREADABLE, ValueError):
                found = None
            if found is not None and found.order_status == event.order_status:
                event = msgspec.structs.replace(
                    event, price=found.price, total_quote_trade_quantity=found.total_quote_trade_quantity
                )
        return self.repair.live(event)

    def _other(self, topic: str, frame: Control) -> AccountEvent | None:
        if topic == "/account/balance":
            return self.account.balance(_balance(frame.data))
        if topic == "/contractAccount/wallet":
            return self.account.wallet(_wallet(frame.data), frame.subject)
        return self.account.position(_position(frame.data)) if frame.subject == "position.change" else None
