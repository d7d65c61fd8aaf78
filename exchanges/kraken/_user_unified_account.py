"""What belongs to one derivatives account on the unified socket: spot's session with other rows, wallets and another gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Fail, FailKind, Instant, Note, Output, Seen, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._positions import Positions
from exchanges._repair import GapRepair, Repaired
from exchanges._timers import Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.kraken._balances import position
from exchanges.kraken._connection_spot_frames import Frame
from exchanges.kraken._gap_unified import UnifiedGap, derivative_in
from exchanges.kraken._orders_spot import Orders, Row, executions_of
from exchanges.kraken._orders_unified import Strangers, UnifiedOrders, UnifiedRow, moment, read_row
from exchanges.kraken._positions import CHANNEL as POSITIONS
from exchanges.kraken._positions import unified_positions
from exchanges.kraken._user_spot_account import SpotAccount
from exchanges.kraken._wallet import FlexWallet

SHORT_S: Final = 5.0
"""An order that is called filled while fills are missing: they may be on their way this long, then they are asked for."""
MAX_NUMBERS: Final = 1_000
"""Sequence numbers remembered: channels may count together, or each for itself."""

_decode_raws = msgspec.json.Decoder(list[msgspec.Raw] | None).decode


class UnifiedAccount(SpotAccount):
    """I/O thread of the session only. Raises `CredentialUnusable` on creation."""

    _orders: UnifiedOrders

    def __init__(self, setup: Setup, subscription: UserSubscription, now: Instant) -> None:
        super().__init__(setup, subscription, now)
        self._strangers = Strangers()
        self._flex = FlexWallet(self._names)
        self._table = setup.table
        self._positions = Positions(subscription)
        self._snapshot: list[UnifiedRow] = []
        """Rows of the first snapshots; of none once the gap is read."""
        self._read = False
        self._last: dict[str, int] = {}
        self._numbers: dict[int, None] = {}
        self._short: Waiting[str, str] = Waiting()
        """Orders that are called filled with fills missing."""
        self._doubted: dict[str, None] = {}
        """Those of them whose fills are being asked for."""
        self.has_snapshot = False
        """A snapshot of `executions` came."""
        self.has_fills = False
        """One of them told fills."""
        self.has_wallet = False
        """The snapshot of `balances` came."""

    def _new_orders(self, setup: Setup) -> Orders:
        return UnifiedOrders(setup.table)

    def _new_repair(self, subscription: UserSubscription) -> GapRepair:
        self._unified_gap = UnifiedGap(self._orders, subscription.resume)
        return GapRepair(subscription)

    def _parse(self, call: Call, answer: Answer, _now: Instant) -> Repaired:
        return self._unified_gap.parse(call, answer)

    def recorded(self, names: dict[str, str], now: Instant) -> None:
        super().recorded(names, now)
        self._flex = FlexWallet(names)

    # --- the gap ---

    def read_gap(self, now: Instant) -> None:
        """All snapshots of the beginning are here, or none will come."""
        if self._read:
            return
        self._read = True
        rows, self._snapshot = self._snapshot, []
        if not self.has_wallet:
            self._unified_gap.missing.append("balances: the venue sent no snapshot")
        if not self.has_snapshot:
            self._unified_gap.without_snapshot()
            return
        self._orders.snapshot(rows, now.wall_ms)
        self._unified_gap.read(rows, now.wall_ms)

    def begin(self, now: Instant) -> list[Output]:
        self.read_gap(now)
        gap = self._unified_gap
        wallet = self._flex.everything()
        events: list[AccountEvent] = list(gap.events)
        if wallet and self._repair.resume is not None:
            events.append(position(wallet, now.wall_ms))
        return self._repair.begin(gap.calls(), now, events=events, missing=gap.missing)

    # --- time ---

    def due(self, now: Instant) -> list[Output]:
        self._doubted.update(dict.fromkeys(self._short.expired(now)))
        return super().due(now)

    def deadline(self) -> float | None:
        return earliest(super().deadline(), self._short.deadline())

    @property
    def wants_fills(self) -> bool:
        """The fills have to be asked for again: some of them did not come."""
        return bool(self._doubted)

    def fills_told(self, now: Instant) -> list[Output]:
        """They were asked for, and came or did not: orders that are short still are told with their size."""
        doubted, self._doubted = self._doubted, {}
        outputs: list[Output] = []
        for order_id in doubted:
            if self._orders.short(order_id):
                text = f"order {order_id} is filled and its fills can't be had: priced with those known"
                outputs.append(Note(text, "error"))
            outputs.extend(self._filled(order_id, now))
        return outputs

    def _filled(self, order_id: str, now: Instant) -> list[Output]:
        """The end of an order that was called filled before all of its fills were here."""
        if self._orders.ended(order_id):
            return []
        event = self._orders.filled(order_id, now.wall_ms)
        return self._emit([event]) if isinstance(event, ExecutionReport) else []

    # --- frames ---

    def told(self, message: Frame, now: Instant) -> list[Output]:
        """A message of a channel. Raises what `UNREADABLE` lists."""
        if message.channel == "margin":
            event = self._balances.add(self._flex.margin(message.type, message.data), now)
            return [*self._in_sequence_of(message), *self._emit([event] if event else [])]
        if message.channel == POSITIONS:
            return self._held(message, now)
        if message.channel in ("executions", "balances"):
            lost = self._in_sequence_of(message)
            more = self._executions(message, now) if message.channel == "executions" else self._wallet(message, now)
            return [*lost, *more]
        return [Note(f"unknown private frame {message.channel[:40] or 'without a channel'}")]

    def _held(self, message: Frame, now: Instant) -> list[Output]:
        """A jump of its numbers costs nothing; where channels count together they are missed by the others otherwise."""
        if message.sequence is not None:
            self._count(message.sequence)
        told = unified_positions(message.data, self._table, now.wall_ms)
        notes: list[Output] = [Note(told.odd.phrase("positions"), "error")] if told.odd else []
        if message.type == "snapshot":
            outputs = self._positions.whole(told.positions, told.time_ms, complete=not told.odd)
        else:
            outputs = self._positions.live(told.positions)
        return [*notes, *(outputs or [Seen(self.stream_id)])]

    def _count(self, number: int) -> None:
        self._numbers[number] = None
        while len(self._numbers) > MAX_NUMBERS:
            del self._numbers[next(iter(self._numbers))]

    def _in_sequence_of(self, message: Frame) -> list[Output]:
        """A jump is a lost message, unless messages of other channels fill it: whether they count together is not told."""
        number, channel = message.sequence, message.channel
        if number is None:
            return []
        last = self._last.get(channel)
        self._last[channel] = number if last is None else max(last, number)
        self._count(number)
        if last is None or not self._live:
            return []
        # However far the jump: not more numbers are looked up than are remembered, and one.
        lost = any(between not in self._numbers for between in range(last + 1, number))
        return [Fail(kind=FailKind.TRANSIENT, reason="messages were lost: the sequence has a gap")] if lost else []

    def _executions(self, message: Frame, now: Instant) -> list[Output]:
        read: list[UnifiedRow] = []
        outputs: list[Output] = []
        for raw in _decode_raws(message.data) or ():
            try:
                read.append(read_row(raw))
            except UNREADABLE as error:
                outputs.append(Note(f"unreadable execution: {error}", "error"))
                outputs.extend(self._ask_named(raw, now))
        rows, notes = self._strangers.without(read)
        outputs.extend(notes)
        if message.type == "snapshot":
            return [*outputs, *self._snapshot_told(rows, now)]
        self._orders.learn(rows, now.wall_ms)
        for row in rows:
            outputs.extend(self._execution(row, now))
        return outputs

    def _snapshot_told(self, rows: list[UnifiedRow], now: Instant) -> list[Output]:
        self.has_snapshot = True
        fills = [row for row in rows if row.exec_type == "trade"]
        self.has_fills = self.has_fills or bool(fills)
        if not self._live:
            self._orders.snapshot(rows, now.wall_ms)
        elif not self._read:
            self._snapshot.extend(rows)
        else:
            return self._snapshot_again(rows, fills, now)
        return [Seen(self.stream_id)]

    def _snapshot_again(self, rows: list[UnifiedRow], fills: list[UnifiedRow], now: Instant) -> list[Output]:
        """Asked for while live: whatever of it was not told before is news."""
        states = [row for row in rows if row.exec_type != "trade"]
        fresh = [row for row in sorted(fills, key=moment) if not self._orders.counted(row)]
        outputs: list[Output] = [output for row in (*fresh, *states) for output in self._execution(row, now)]
        listed = {row.order_id for row in states}
        gone = [
            order_id for order_id in self._orders.open() if order_id not in listed and order_id not in self._doubted
        ]
        if gone and (states or not fills):
            return [*outputs, Fail(kind=FailKind.TRANSIENT, reason="orders ended while they were subscribed anew")]
        return [*outputs, Seen(self.stream_id)]

    def _execution(self, row: Row, now: Instant) -> list[Output]:
        if not self._read:
            # Behind a snapshot that is not complete yet: what follows builds on it.
            self.read_gap(now)
        return super()._execution(row, now)

    def _tell(self, rows: Sequence[Row], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for row in rows:
            if not self._orders.described(row.order_id):
                outputs.append(
                    Note(f"order {row.order_id}: nothing tells what it is, so a row of it is not told", "error")
                )
                continue
            outputs.extend(super()._tell([row], now))
            if "filled" in (row.order_status, row.exec_type) and self._orders.short(row.order_id):
                self._short.add(row.order_id, row.order_id, now.mono + SHORT_S)
            elif self._short.peek(row.order_id) is not None and not self._orders.short(row.order_id):
                self._short.take(row.order_id)
                outputs.extend(self._filled(row.order_id, now))
        return outputs

    # --- REST: whether it knows derivative orders is documented nowhere ---

    def _looked_up(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        order_id = str(call.context[0]) if isinstance(call.context, tuple) else ""
        rows = self._parked.take(order_id)
        if rows is None:
            return []
        found = derivative_in(answer, order_id)
        if found is not None:
            self._orders.looked_up(order_id, found, executions_of(rows), now.wall_ms)
        return self._tell(rows, now)

    def _state(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        (order_id,) = call.context if isinstance(call.context, tuple) else ("",)
        if derivative_in(answer, order_id) is None:
            return Repaired(missing=["the venue does not know it"])
        return super()._state(call, answer, now)

    # --- balances ---

    def _wallet(self, message: Frame, now: Instant) -> list[Output]:
        balances, odd = self._flex.balances(message.data)
        notes: list[Output] = [Note(odd, "error")] if odd else []
        if message.type == "snapshot":
            self.has_wallet = True
            return [*notes, Seen(self.stream_id)]
        event = self._balances.add(balances, now)
        return [*notes, *self._emit([event] if event else [])]
