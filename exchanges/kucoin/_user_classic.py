"""A classic KuCoin account: spot, or the shared futures account filtered to one family (venues/kucoin.md 3 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import (
    Answer,
    Call,
    Fail,
    FailKind,
    Instant,
    Note,
    Output,
    Outputs,
    Seen,
    Subscription,
    UserSubscription,
)
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import Lookups
from exchanges._numbers import decimal
from exchanges._positions import Positions
from exchanges._renewal import renewable
from exchanges._repair import GapRepair
from exchanges._rows import tolerant
from exchanges._timers import Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.kucoin import _errors, _orders, _rows, _signer, _symbols
from exchanges.kucoin._alter import own_totals
from exchanges.kucoin._connection import Control, Link, Topic
from exchanges.kucoin._gap import GapPlan
from exchanges.kucoin._positions import Reader, classic_call, decode_held

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
_LOOKUP: Final = "order lookup"
MAX_PARK_MS: Final = 2_000

_order = tolerant(_rows.OrderFrame)
_balance = tolerant(_rows.BalanceFrame)
_wallet = tolerant(_rows.WalletFrame)
_position = tolerant(_rows.PositionFrame)
_rest_row = tolerant(_rows.RestOrder)


class ClassicUser(Link):
    """One classic account (spot, or the shared futures account filtered to one family)."""

    private = True

    def __init__(
        self,
        setup: Setup,
        subscription: UserSubscription,
        clock: VenueClock | None = None,
        versions: _signer.KeyVersion | None = None,
    ) -> None:
        super().__init__(setup, clock)
        self._versions = versions or _signer.KeyVersion()
        self.subscription = subscription
        known = subscription.resume.orders if subscription.resume else ()
        self.account = _orders.Account(setup.exchange, setup.table, known)
        self._gap = GapPlan(self.account, subscription, self._clock.stamp)
        self.repair = GapRepair(subscription, self.signed, self._gap.then)
        self._lookups = Lookups(self.signed)
        self._reader = Reader(setup.exchange, self.account.pair, setup.table)
        self._positions = Positions(
            subscription,
            calls=lambda: [classic_call(self._exchange)],
            parse=lambda _, answer, now: self._reader.read(answer, self._clock.stamp(now)),
            sign=self.signed,
            ready=lambda: self.repair.passing,
        )
        self._held: Waiting[str, ExecutionReport] = Waiting()
        self._parked: Waiting[str, ExecutionReport] = Waiting()
        self._park_s = _park_ms(setup.options.get("KUCOIN_ALTER_PARK_MS", "")) / 1000
        self._removed = False
        for order in subscription.resume.orders if subscription.resume else ():
            size, quote = own_totals(order)
            if size > 0:
                self.account.ledger.seed(order.order_id, size, quote)

    # --- Link hooks ---

    @renewable
    def signed(self, call: Call, now: Instant) -> Call:
        call = msgspec.structs.replace(call, stream_id=self.subscription.stream_id)
        return _signer.sign(call, self.subscription.credentials, self._clock.stamp(now), self._versions.of(call.url))

    def judged(self, fail: Fail) -> Fail:
        if fail.kind is not FailKind.CREDENTIAL:
            return fail
        return msgspec.structs.replace(fail, stream_id=self.subscription.stream_id)

    def _begin(self, now: Instant) -> list[Output]:
        self._book.want(self._topics(), now)
        return super()._begin(now)

    def _topics(self) -> tuple[Topic, ...]:
        return SPOT_TOPICS if _symbols.is_spot(self._exchange) else FUTURES_TOPICS

    def _confirmed(self, topics: Sequence[Topic], now: Instant) -> list[Output]:
        if not self._book.settled:
            return []
        if not _symbols.is_spot(self._exchange):
            self._positions.begin(now)
        return self.repair.begin(self._gap.calls(now), now)

    def _refused(self, topics: Sequence[Topic], fail: Fail, now: Instant) -> list[Output]:
        if topics[0].prefix.startswith(_OPTIONAL):
            return [
                Note(f"no liquidation reports, and no changes of positions: {fail.reason}"),
                *self._confirmed((), now),
            ]
        return [self._fail(FailKind.TRANSIENT, f"{topics[0].prefix}: {fail.reason}")]

    def _pushed(self, frame: Control, now: Instant) -> Outputs:
        if self._removed:
            return []
        topic = frame.topic.split(":")[0]
        try:
            if topic in ("/spotMarket/tradeOrdersV2", "/spotMarket/tradeOrders", "/contractMarket/tradeOrders"):
                return self._order(frame, now)
            if frame.subject in _RETIRED:
                return [Seen(self.subscription.stream_id)]
            if (topic, frame.subject) not in _SUBJECTS:
                return [Note(f"{topic} {frame.subject}: not known")]
            event = self._other(topic, frame)
            held = self._held_now(topic, frame, now)
        except (*UNREADABLE, ValueError):
            return [Note(f"{topic} {frame.subject}: not understood")]
        if event is not None:
            return [*self.repair.live(event), *held]
        return held or [Seen(self.subscription.stream_id)]

    def _held_now(self, topic: str, frame: Control, now: Instant) -> list[Output]:
        """What a frame of the positions' topic says of them."""
        if not topic.startswith(_OPTIONAL) or frame.subject != "position.change":
            return []
        event = self._reader.update(decode_held(frame.data), self._clock.stamp(now))
        return [] if event is None else self._positions.live([event])

    # --- inputs ---

    def answered(self, call: Call, answer: Answer, now: Instant) -> Outputs:
        if self.repair.owns(call):
            return self.repair.answered(call, answer, self._gap.parse, now)
        if self._lookups.owns(call):
            return self._lookups.answered(call, answer, self._gap.looked_up, self.repair.live, now)
        if self._positions.owns(call):
            return self._positions.answered(call, answer, now)
        if call.tag == _LOOKUP:
            return self._looked_up(str(call.context), answer, now)
        if call.headers.get("KC-API-KEY") and self._versions.again(call, answer):
            return [self.signed(call, now)]
        return super().answered(call, answer, now)

    def woken(self, now: Instant) -> Outputs:
        outputs = list(super().woken(now))
        for event in self._held.expired(now):
            outputs.extend(self._live(event, now))
        for event in self._parked.expired(now):
            outputs.extend(self._tell(event))
        outputs.extend(self._lookups.due(now))
        deadline = self.repair.deadline()
        if deadline is not None and now.mono >= deadline:
            outputs.extend(self.repair.due(now))
        outputs.extend(self._positions.due(now))
        return outputs

    def deadline(self) -> float | None:
        waiting = earliest(self._held.deadline(), self._parked.deadline(), self._lookups.deadline())
        return earliest(super().deadline(), waiting, self.repair.deadline(), self._positions.deadline())

    def add(self, subscription: Subscription, now: Instant) -> Outputs:
        return [Fail(kind=FailKind.REQUEST, reason="the connection is taken", stream_id=subscription.stream_id)]

    def remove(self, stream_id: str, now: Instant) -> Outputs:
        if stream_id != self.subscription.stream_id:
            return []
        self._removed = True
        self._held, self._parked = Waiting(), Waiting()
        self._book.drop(self._topics(), now)
        return self._pump(now)

    # --- frames ---

    def _order(self, frame: Control, now: Instant) -> Outputs:
        if frame.subject not in ("orderChange", "symbolOrderChange"):
            return [Note(f"{frame.topic.split(':')[0]} {frame.subject}: not understood")]
        order = _order(frame.data)
        self._gap.saw(order.symbol)
        event = self.account.order(order)
        empty = event is not None and event.order_status == "FILLED" and not decimal(event.total_trade_quantity)
        if event is not None and not empty:
            return self._publish(event, order.symbol, now)
        if self.account.pair(order.symbol) is None or order.side not in ("buy", "sell"):
            return [Seen(self.subscription.stream_id)]
        state = f"{order.type}/{order.status}"[:40]
        why = "without a filled size" if empty else "which no page lists"
        note = Note(f"order {order.order_id}: state {state}, {why}; it is asked for", "error")
        return [note, *self._lookups.ask(order.order_id, self._gap.single(order.order_id, order.symbol), now)]

    def _live(self, event: ExecutionReport, now: Instant) -> list[Output]:
        """An order's state, as its client id has it: the end of one that `alter` replaced is not told."""
        parked = self._park_s and event.order_status == "CANCELED" and event.new_client_order_id
        if not parked:
            return self._tell(event)
        self._parked.add(str(event.order_id), event, now.mono + self._park_s)
        return [Seen(self.subscription.stream_id)]

    def _tell(self, event: ExecutionReport) -> list[Output]:
        told = self.account.clients.told(event)
        return [Seen(self.subscription.stream_id)] if told is None else self.repair.live(told)

    def _publish(self, event: ExecutionReport, wire: str, now: Instant) -> Outputs:
        """A final report whose fills were not all seen is worth a question: the backend books the first FILLED for good.

        Its value would be the limit price's, not that of the fills, or none.
        """
        final = event.order_status in ("FILLED", "CANCELED")
        filled = decimal(event.total_trade_quantity)
        known = not filled or (
            decimal(event.total_quote_trade_quantity) > 0
            and self.account.ledger.totals(str(event.order_id))[0] == filled
        )
        if known or not final or not self.subscription.credentials.key:
            return self._live(event, now)
        order_id = str(event.order_id)
        self._held.add(order_id, event, now.mono + LOOKUP_S)
        return [self.signed(self._gap.single(order_id, wire, tag=_LOOKUP), now)]

    def _looked_up(self, order_id: str, answer: Answer, now: Instant) -> Outputs:
        event = self._held.take(order_id)
        if event is None:
            return []
        envelope = _errors.read(answer)
        if _errors.succeeded(answer, envelope):
            try:
                found = self.account.rest_order(_rest_row(envelope.data))
            except (*UNREADABLE, ValueError):
                found = None
            same = found is not None and found.order_status == event.order_status
            if (
                found is not None
                and same
                and decimal(found.total_trade_quantity) == decimal(event.total_trade_quantity)
            ):
                event = msgspec.structs.replace(
                    event, price=found.price, total_quote_trade_quantity=found.total_quote_trade_quantity
                )
        return self._live(event, now)

    def _other(self, topic: str, frame: Control) -> AccountEvent | None:
        if topic == "/account/balance":
            return self.account.balance(_balance(frame.data))
        if topic == "/contractAccount/wallet":
            return self.account.wallet(_wallet(frame.data), frame.subject)
        return self.account.position(_position(frame.data)) if frame.subject == "position.change" else None


def _park_ms(text: str) -> int:
    """`KUCOIN_ALTER_PARK_MS`: how long a cancel waits for an order that goes on under its client id; 0 = it does not."""
    return min(int(text), MAX_PARK_MS) if text.strip().isdigit() else 0
