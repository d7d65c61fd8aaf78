"""What belongs to one spot account on its connection: orders, balances, REST calls and gap repair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind, Instant, Note, Output, Seen, UserSubscription
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._lookup import ATTEMPTS, Lookups
from exchanges._numbers import decimal, plain
from exchanges._renewal import renewable
from exchanges._repair import GapRepair, Repaired
from exchanges._rows import tolerant
from exchanges._timers import Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, Balance
from exchanges.kraken import _errors, _signer
from exchanges.kraken._balances import Coalescer
from exchanges.kraken._connection_spot_frames import Frame
from exchanges.kraken._gap_spot import SpotGap, orders_in, query_orders
from exchanges.kraken._line import RestLine
from exchanges.kraken._orders_spot import Number, Orders, Row, executions_of
from exchanges.kraken._symbols import asset_name

LOOKUP: Final = "order lookup"
STATE: Final = "order state"
LOOKUP_S: Final = 5.0
"""How long the rows of an order that was first seen in the middle of its life wait for REST to describe it."""
MAX_PARKED: Final = 1_000
"""Rows of one order that wait; an order with more is told with what is known."""


class _BalanceRow(msgspec.Struct):
    """A ledger entry; `balance` is the wallet's after it."""

    asset: str
    balance: Number = None
    wallet_type: str = ""
    wallet_id: str = ""


class _Named(msgspec.Struct):
    """What must be readable of a row at least, so that its order can be asked for."""

    order_id: str


_decode_raws = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_row = tolerant(Row)
_decode_named = msgspec.json.Decoder(_Named).decode
_decode_balance = tolerant(_BalanceRow)


class SpotAccount:
    """What belongs to the one subscription: its orders, balances, REST calls and gap. Raises `CredentialUnusable`."""

    def __init__(self, setup: Setup, subscription: UserSubscription, now: Instant) -> None:
        self.stream_id = subscription.stream_id
        self._clock = VenueClock(setup)
        self._signer = _signer.Signer(subscription.credentials)
        self.line = RestLine(setup, self._signed)
        self._orders = self._new_orders(setup)
        self._balances = Coalescer()
        self._names: dict[str, str] = {}
        # Holds live events from the first frame on, so it exists before the first of them.
        self._repair = self._new_repair(subscription)
        self._parked: Waiting[str, list[Row]] = Waiting()
        self._lookups = Lookups()
        """Orders of which rows told nothing that is known."""
        self._sequence: int | None = None
        self._live = True
        if subscription.resume is not None:
            self._orders.resume(subscription.resume.orders, now.wall_ms)

    def _new_orders(self, setup: Setup) -> Orders:
        return Orders(setup.table)

    def _new_repair(self, subscription: UserSubscription) -> GapRepair:
        self._gap = SpotGap(self._orders, subscription.resume)
        return GapRepair(subscription, then=self._gap.then)

    def _parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """An answer of the repair."""
        return self._gap.parse(call, answer, now)

    def recorded(self, names: dict[str, str], now: Instant) -> None:
        self._names = names
        self._live = False
        self._balances = Coalescer(0.0)
        self._repair.begin([], now)

    # --- REST ---

    @renewable
    def _signed(self, call: Call, now: Instant) -> Call:
        return msgspec.structs.replace(self._signer.spot(call, self._clock.stamp(now)), stream_id=self.stream_id)

    def ask(self, outputs: Sequence[Output], now: Instant) -> list[Output]:
        """The outputs, of whose calls one goes out at a time."""
        return self.line.send(outputs, now)

    def begin(self, now: Instant) -> list[Output]:
        return self._repair.begin(self._gap.calls(), now)

    def rest_told(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._repair.owns(call):
            return self._repair.answered(call, answer, self._parse, now)
        if self._lookups.owns(call):
            return self._lookups.answered(call, answer, self._state, self._repair.live, now)
        return self._looked_up(call, answer, now) if call.tag == LOOKUP else []

    # --- time ---

    def due(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for rows in self._parked.expired(now):
            outputs.extend(self._tell(rows, now))
        event = self._balances.due(now)
        outputs.extend(self._emit([event] if event else []))
        return [*self.line.due(now), *self.ask([*outputs, *self._lookups.due(now), *self._repair.due(now)], now)]

    def deadline(self) -> float | None:
        own = earliest(self._parked.deadline(), self._balances.deadline(), self._lookups.deadline())
        return earliest(own, self._repair.deadline(), self.line.deadline())

    # --- frames ---

    def told(self, message: Frame, now: Instant) -> list[Output]:
        """A message of a channel. Raises what `UNREADABLE` lists."""
        outputs = self._in_sequence(message.sequence)
        if message.channel == "executions":
            return [*outputs, *self._executions(message, now)]
        if message.channel == "balances":
            return [*outputs, *self._wallet(message, now)]
        name = message.channel or "without a channel"
        return [*outputs, Note(f"unknown private frame {name[:40]}")]

    def _in_sequence(self, number: int | None) -> list[Output]:
        """The number rises by one with each message of the connection; a jump is a lost message."""
        last = self._sequence
        if number is None:
            return []
        self._sequence = number if last is None else max(last, number)
        if last is None or number <= last + 1 or not self._live:
            return []
        return [Fail(kind=FailKind.TRANSIENT, reason="messages were lost: the sequence has a gap")]

    def _executions(self, message: Frame, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        rows: list[Row] = []
        for raw in _decode_raws(message.data) or ():
            try:
                rows.append(_decode_row(raw))
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable execution: {error}", "error"))
                outputs.extend(self._ask_named(raw, now))
        if message.type == "snapshot":
            self._orders.snapshot(rows, now.wall_ms)
            return [*outputs, Seen(self.stream_id)]
        self._orders.learn(rows, now.wall_ms)
        for row in rows:
            outputs.extend(self._execution(row, now))
        return outputs

    def _ask_named(self, raw: msgspec.Raw, now: Instant) -> list[Output]:
        """A row that can't be read may be the end of its order."""
        try:
            return self._ask_state(_decode_named(raw).order_id, now)
        except UNREADABLE:
            return []

    def _ask_state(self, order_id: str, now: Instant) -> list[Output]:
        if not self._live:
            return []
        return self.ask(self._lookups.ask(order_id, query_orders([order_id], STATE), now), now)

    def _state(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """What REST says of an order in a state that no page lists."""
        (order_id,) = call.context if isinstance(call.context, tuple) else ("",)
        read = _errors.read_spot(answer)
        if read.failure is not None:
            if read.failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return Repaired(missing=[read.failure.reason])
            return Repaired(retry=True, retry_after_s=read.failure.retry_after_s)
        try:
            found = orders_in(read.data)[0].get(order_id)
        except UNREADABLE:
            found = None
        if found is None:
            return Repaired(missing=["the venue does not know it"])
        self._orders.looked_up(order_id, found, (), now.wall_ms)
        report = self._orders.rest_report(order_id, found, now.wall_ms)
        if not isinstance(report, str):
            return Repaired(events=[report])
        return Repaired(retry=True) if call.attempt < ATTEMPTS else Repaired(missing=[report])

    def _execution(self, row: Row, now: Instant) -> list[Output]:
        order_id = row.order_id
        parked = self._parked.peek(order_id)
        if parked is not None and len(parked) < MAX_PARKED:
            parked.append(row)
            if not self._orders.described(order_id):
                return []
            self._parked.take(order_id)
            return self._tell(parked, now)
        if parked is None and self._live and not self._orders.described(order_id):
            self._parked.add(order_id, [row], now.mono + LOOKUP_S)
            return self.ask([query_orders([order_id], LOOKUP)], now)
        return self._tell([row], now)

    def _looked_up(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        """What an order was, of which only changes were seen; unknown, it is told with what is known."""
        order_id = str(call.context[0]) if isinstance(call.context, tuple) else ""
        rows = self._parked.take(order_id)
        if rows is None:
            return []
        notes: list[Output] = []
        read = _errors.read_spot(answer)
        try:
            found = orders_in(read.data)[0].get(order_id) if read.failure is None else None
        except UNREADABLE:
            found = None
        if found is not None:
            self._orders.looked_up(order_id, found, executions_of(rows), now.wall_ms)
        else:
            reason = read.failure.reason if read.failure else "the venue does not know it"
            notes.append(Note(f"an order first seen in the middle of its life can't be described: {reason}", "error"))
        return [*notes, *self._tell(rows, now)]

    def _tell(self, rows: Sequence[Row], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for row in rows:
            event = self._orders.report(row, now.wall_ms)
            if isinstance(event, str):
                outputs.extend([Note(event, "error"), *self._ask_state(row.order_id, now)])
            else:
                outputs.extend(self._emit([event] if event else []))
        return outputs

    def _wallet(self, message: Frame, now: Instant) -> list[Output]:
        if message.type == "snapshot":
            return [Seen(self.stream_id)]
        outputs: list[Output] = []
        newest: dict[str, Balance] = {}
        for raw in _decode_raws(message.data) or ():
            try:
                row = _decode_balance(raw)
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable balance: {error}", "error"))
                continue
            if (row.wallet_type, row.wallet_id) == ("spot", "main") and row.balance is not None:
                asset = self._names.get(row.asset) or asset_name(row.asset)
                newest[asset] = Balance(asset=asset, free=plain(decimal(row.balance)))
        event = self._balances.add(list(newest.values()), now) if newest else None
        return [*outputs, *self._emit([event] if event else [])]

    def _emit(self, events: Sequence[AccountEvent]) -> list[Output]:
        if not events:
            return [Seen(self.stream_id)]
        return [output for event in events for output in self._repair.live(event)]
