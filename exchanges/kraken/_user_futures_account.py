"""What belongs to one futures account on its connection: orders, fills, balances, REST calls and gap repair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output, Seen, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._positions import Positions
from exchanges._repair import GapRepair
from exchanges._timers import Waiting, earliest
from exchanges._venue import Setup
from exchanges.events import AccountEvent
from exchanges.kraken import _errors, _rows_futures_rest, _signer
from exchanges.kraken._balances import Coalescer
from exchanges.kraken._gap_futures import FuturesGap
from exchanges.kraken._orders_futures import FULL, SNAPSHOT, Orders, Removal, is_fill
from exchanges.kraken._positions import FEED, feed_positions
from exchanges.kraken._rows_futures import Fill, OrderBody, by_time

Row = TypeVar("Row")

LATE_FILLS: Final = "late fills"
LOOKUP: Final = "order lookup"
PAST: Final = "order past"
EXPECTED_S: Final = 5.0
"""A fill that the book told, and the fills feed did not, is read over REST after this long."""
LATE_TRIES: Final = 3
PAST_MS: Final = 3_600_000
"""How far back the history of orders is read for an order that was removed and never seen."""
TRIGGERED: Final = "stop_order_triggered"
TRIGGERED_S: Final = 2.0
"""For the order that a triggered stop becomes: it may go on under the stop's client id."""
REMOVALS: Final = frozenset(
    {
        "partial_fill",
        "cancelled_by_user",
        "cancelled_by_admin",
        "dead_man_switch",
        "contract_expired",
        "market_inactive",
        "not_enough_margin",
        "liquidation",
        "ioc_order_failed_because_it_would_not_be_executed",
        "post_order_failed_because_it_would_filled",
        "would_execute_self",
        "would_not_reduce_position",
        TRIGGERED,
    }
)
"""Reasons with which an order leaves the book unfilled. With any other it may be filled or not, so the venue is asked."""


class _BookFrame(msgspec.Struct):
    """A message of `open_orders`: an order, or only its ids."""

    order: OrderBody | None = None
    order_id: str | None = None
    cli_ord_id: str | None = None
    is_cancel: bool | None = False
    reason: str | None = None


class _Snapshot(msgspec.Struct):
    orders: list[msgspec.Raw] | None = None


class _FillsFrame(msgspec.Struct):
    fills: list[msgspec.Raw] | None = None


class _Flex(msgspec.Struct):
    currencies: dict[str, msgspec.Raw] = {}


class _BalancesFrame(msgspec.Struct):
    """One of three kinds; the cash wallet and the single-collateral accounts are not the platform's."""

    flex_futures: _Flex | None = None


_decode_book = msgspec.json.Decoder(_BookFrame).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_body = msgspec.json.Decoder(OrderBody).decode
_decode_fills = msgspec.json.Decoder(_FillsFrame).decode
_decode_fill = msgspec.json.Decoder(Fill).decode
_decode_balances = msgspec.json.Decoder(_BalancesFrame).decode


class FuturesAccount:
    """I/O thread of the session only. Raises `CredentialUnusable` on creation."""

    def __init__(self, setup: Setup, rest: str, subscription: UserSubscription, now: Instant) -> None:
        self.stream_id = subscription.stream_id
        self.signer = _signer.Signer(subscription.credentials)
        self._rest = rest
        self._orders = Orders(setup.table)
        self._balances = Coalescer()
        self._names: dict[str, str] = {}
        self._table = setup.table
        self._positions = Positions(subscription)
        self._gap = FuturesGap(rest, self._orders, subscription.resume)
        # Holds live events from the first frame on, so it exists before the first of them.
        self._repair = GapRepair(subscription, self._sign, self._gap.then, self._gap.given_up)
        self._expected: Waiting[str, str] = Waiting()
        """Orders of which the book told more than the fills did."""
        self._removed: Waiting[str, Removal] = Waiting()
        """Orders that left the book while their last fills, or all of their description, were still missing."""
        self._short: dict[str, None] = {}
        """Orders whose missing fills are being read over REST."""
        self._late = False
        self._live = True
        if subscription.resume is not None:
            self._orders.resume(subscription.resume.orders, now.wall_ms)

    def recorded(self, names: dict[str, str], now: Instant) -> None:
        self._names = names
        self._live = False
        self._balances = Coalescer(0.0)
        self._repair.begin([], now)

    # --- REST ---

    def _sign(self, call: Call, _now: Instant) -> Call:
        return self._signed(call)

    def _signed(self, call: Call) -> Call:
        return msgspec.structs.replace(self.signer.futures(call), stream_id=self.stream_id)

    def begin(self, now: Instant) -> list[Output]:
        return self._repair.begin(self._gap.calls(), now)

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        if self._repair.owns(call):
            return self._repair.answered(call, answer, self._gap.parse, now)
        if call.tag == LATE_FILLS:
            return self._late_fills(call, answer, now)
        if call.tag in (LOOKUP, PAST):
            return self._looked_up(call, answer, now)
        return []

    def due(self, now: Instant) -> list[Output]:
        outputs: list[Output] = []
        expected = self._expected.expired(now)
        if expected:
            self._short.update(dict.fromkeys(expected))
            outputs.extend(self._ask_fills())
        for removal in self._removed.expired(now):
            outputs.extend(self._tell_removal(removal))
        event = self._balances.due(now)
        outputs.extend(self._repair.live(event) if event is not None else [])
        return [*outputs, *self._repair.due(now)]

    def deadline(self) -> float | None:
        own = earliest(self._expected.deadline(), self._removed.deadline())
        return earliest(own, self._balances.deadline(), self._repair.deadline())

    # --- frames ---

    def told(self, feed: str, frame: bytes, now: Instant) -> list[Output]:
        """A message of a feed. Raises what `UNREADABLE` lists."""
        if feed == "open_orders":
            return self._book(_decode_book(frame), now)
        if feed == "fills":
            rows, outputs = _rows(_decode_fills(frame).fills, _decode_fill, "fill")
            return [*outputs, *self._fills(rows, now)]
        if feed == "balances":
            return self._wallet(_decode_balances(frame), now)
        if feed.startswith(FEED):
            return self._held(frame, now)
        if feed == "open_orders_snapshot":
            bodies, outputs = _rows(_decode_snapshot(frame).orders, _decode_body, "order")
            for body in bodies:
                self._orders.body(body, SNAPSHOT, now.wall_ms)
            return [*outputs, Seen(self.stream_id)]
        if feed == "fills_snapshot":
            rows, outputs = _rows(_decode_fills(frame).fills, _decode_fill, "fill")
            self._orders.fills(rows, now.wall_ms)
            return [*outputs, Seen(self.stream_id)]
        if feed in ("balances_snapshot", "heartbeat"):
            return [Seen(self.stream_id)]
        return [Note(f"unknown private frame {feed[:40] or 'without a feed'}")]

    def _book(self, message: _BookFrame, now: Instant) -> list[Output]:
        body, reason = message.order, message.reason or ""
        order_id = body.order_id if body is not None else message.order_id or ""
        if not order_id:
            return [Note("a message of the order book without an order", "error")]
        leaves = bool(message.is_cancel) and reason != FULL
        seen = self._orders.known(order_id)
        if body is not None:
            self._orders.body(body, reason, now.wall_ms, ending=leaves)
        if leaves:
            return self._removal(message, order_id, now)
        if is_fill(reason):
            # The fills feed reports it (bug B2).
            return (
                self._filled_up(order_id, body, now, seen=seen) if reason == FULL else self._expect(order_id, body, now)
            )
        if body is None:
            return [Note(f"an order without a body and without an end: {reason[:40]}")]
        if not self._orders.sided(order_id):
            return [Note(f"order direction {body.direction} is not known", "error")]
        return list(self._repair.live(self._orders.placed(body, now.wall_ms)))

    def _filled_up(self, order_id: str, body: OrderBody | None, now: Instant, *, seen: bool) -> list[Output]:
        """Nothing is left of the order. Its size may be other than was told: edited unseen, or shrunk by the venue."""
        if self._orders.ended(order_id):
            return [Seen(self.stream_id)]
        filled = decimal(body.filled) if body is not None else None
        executed = self._orders.executed(order_id)
        self._orders.empty(order_id, now.wall_ms)
        explained = executed > 0 and (filled is None or executed >= filled)
        if seen and explained and (filled is not None or not self._live or self._orders.complete(order_id)):
            return self._finish(order_id, now)
        return self._expect(order_id, body, now)

    def _finish(self, order_id: str, now: Instant) -> list[Output]:
        self._expected.take(order_id)
        if not self._orders.sided(order_id):
            return [Note(f"the end of order {order_id} can't be told: the venue does not tell its side", "error")]
        return list(self._repair.live(self._orders.finished(order_id, now.wall_ms)))

    def _expect(self, order_id: str, body: OrderBody | None, now: Instant) -> list[Output]:
        filled = decimal(body.filled) if body is not None else None
        enough = self._orders.complete(order_id) if filled is None else self._orders.executed(order_id) >= filled
        if not enough and self._live:
            self._expected.add(order_id, order_id, now.mono + EXPECTED_S)
        return [Seen(self.stream_id)]

    # --- fills ---

    def _fills(self, rows: Sequence[Fill], now: Instant) -> list[Output]:
        outputs: list[Output] = []
        for fill in by_time(rows):
            event = self._orders.filled(fill, now.wall_ms)
            outputs.extend(self._repair.live(event))
            if event.order_status == "FILLED":
                self._expected.take(fill.order_id)
            elif fill.remaining_order_qty is not None and not fill.remaining_order_qty and self._live:
                # The venue says that this was the last one, so one before it is missing.
                self._expected.add(fill.order_id, fill.order_id, now.mono + EXPECTED_S)
            removal = self._removed.peek(fill.order_id)
            if removal is not None and self._orders.executed(fill.order_id) >= (removal.filled or 0):
                self._removed.take(fill.order_id)
                outputs.extend(self._tell_removal(removal))
        return outputs

    def _ask_fills(self, attempt: int = 1) -> list[Output]:
        if self._late:
            return []
        self._late = True
        call = _rows_futures_rest.fills_call(self._rest, tag=LATE_FILLS)
        return [self._signed(msgspec.structs.replace(call, attempt=attempt))]

    def _late_fills(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        """Fills that the feed did not bring."""
        self._late = False
        read = _errors.read_futures(answer)
        try:
            fills = _rows_futures_rest.read_fills(read.data)[0] if read.failure is None else None
        except UNREADABLE:
            fills = None
        if fills is None and call.attempt < LATE_TRIES:
            return self._ask_fills(call.attempt + 1)
        notes: list[Output] = []
        if fills is None:
            reason = read.failure.reason if read.failure else "unreadable"
            notes.append(Note(f"fills can't be read: {reason}", "error"))
        wanted = [fill for fill in fills or () if self._orders.known(fill.order_id) or fill.order_id in self._short]
        outputs = self._fills([fill for fill in wanted if not self._orders.counted(fill)], now)
        short, self._short = self._short, {}
        for order_id in short:
            outputs.extend(self._still_short(order_id, now))
        return [*notes, *outputs]

    def _still_short(self, order_id: str, now: Instant) -> list[Output]:
        """The venue says that nothing is left of an order, and its fills don't reach its size: what does it know of it?"""
        if self._orders.ended(order_id) or not self._orders.emptied(order_id):
            return []
        self._expected.take(order_id)
        self._orders.empty(order_id, now.wall_ms)
        removal = Removal(order_id, "", None, now.wall_ms)
        self._removed.add(order_id, removal, now.mono + 2 * EXPECTED_S)
        return [self._signed(_rows_futures_rest.status_call(self._rest, [order_id], LOOKUP))]

    # --- removals ---

    def _removal(self, message: _BookFrame, order_id: str, now: Instant) -> list[Output]:
        body = message.order
        if self._orders.ended(order_id):
            return [Seen(self.stream_id)]
        filled = decimal(body.filled) if body is not None else None
        updated_ms = body.updated_ms if body is not None else 0
        reason = message.reason or ""
        removal = Removal(order_id, message.cli_ord_id or "", filled, updated_ms or now.wall_ms, reason in REMOVALS)
        if not self._live:
            return self._tell_removal(removal)
        if not self._orders.known(order_id) or not removal.listed:
            self._removed.add(order_id, removal, now.mono + 2 * EXPECTED_S)
            return [self._signed(_rows_futures_rest.status_call(self._rest, [order_id], LOOKUP))]
        if filled is not None and filled > self._orders.executed(order_id):
            self._removed.add(order_id, removal, now.mono + EXPECTED_S)
            return self._ask_fills()
        if reason == TRIGGERED:
            self._removed.add(order_id, removal, now.mono + TRIGGERED_S)
            return [Seen(self.stream_id)]
        return self._tell_removal(removal)

    def _tell_removal(self, removal: Removal) -> list[Output]:
        order_id = removal.order_id
        if self._orders.passed_on(order_id):
            self._orders.close(order_id, removal.time_ms)
            return [Seen(self.stream_id)]
        if not removal.listed and not removal.found:
            return [
                Note(
                    f"order {order_id} left the book for a reason that is not known, and the venue tells no more",
                    "error",
                )
            ]
        if not self._orders.sided(order_id):
            return [Note(f"the end of order {order_id} can't be told: the venue does not tell its side", "error")]
        if self._orders.emptied(order_id) or not removal.listed:
            if self._orders.emptied(order_id) and not self._orders.executed(order_id):
                return [Note(f"order {order_id} is filled, and none of its fills can be had", "error")]
            return list(self._repair.live(self._orders.finished(order_id, removal.time_ms)))
        notes: list[Output] = []
        if not self._orders.known(order_id) and self._live:
            notes.append(Note("an order was removed that nobody can describe", "error"))
        event = self._orders.removed(removal)
        return [*notes, *(self._repair.live(event) if event is not None else [Seen(self.stream_id)])]

    def _looked_up(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        """What a removed order was: from the orders of the last seconds, then from the history, else it stays blank."""
        order_id = str(call.context[0]) if isinstance(call.context, tuple) else ""
        if self._removed.peek(order_id) is None:
            return []
        read = _errors.read_futures(answer)
        try:
            past = self._past(call.tag, order_id, read.data) if read.failure is None else None
        except UNREADABLE:
            past = None
        if past is None and call.tag == LOOKUP:
            since_ms = now.wall_ms - PAST_MS
            return [self._signed(_rows_futures_rest.history_call(self._rest, since_ms, tag=PAST, context=(order_id,)))]
        if past is not None:
            self._orders.body(past.body(), SNAPSHOT, now.wall_ms)
        removal = self._removed.take(order_id)
        found = past is not None and past.ended
        return self._tell_removal(removal._replace(found=found)) if removal is not None else []

    @staticmethod
    def _past(tag: str, order_id: str, data: bytes) -> _rows_futures_rest.Past | None:
        """The newest state of an order."""
        if tag == LOOKUP:
            return _rows_futures_rest.read_statuses(data)[0].get(order_id)
        states = [past for past in _rows_futures_rest.read_history(data).states if past.order_id == order_id]
        return states[-1] if states else None

    # --- positions ---

    def _held(self, frame: bytes, now: Instant) -> list[Output]:
        """All of them."""
        told = feed_positions(frame, self._table, now.wall_ms)
        notes: list[Output] = [Note(told.odd.phrase("positions"), "error")] if told.odd else []
        outputs = self._positions.whole(told.positions, told.time_ms, complete=not told.odd)
        return [*notes, *(outputs or [Seen(self.stream_id)])]

    # --- balances ---

    def _wallet(self, message: _BalancesFrame, now: Instant) -> list[Output]:
        if message.flex_futures is None:
            return [Seen(self.stream_id)]
        read, bad = _rows_futures_rest.balances_of(message.flex_futures.currencies)
        notes: list[Output] = [Note(f"{bad} balances that can't be read", "error")] if bad else []
        balances = [msgspec.structs.replace(one, asset=self._names.get(one.asset, one.asset)) for one in read]
        event: AccountEvent | None = self._balances.add(balances, now)
        return [*notes, *(self._repair.live(event) if event is not None else [Seen(self.stream_id)])]


def _rows(
    raws: Sequence[msgspec.Raw] | None, decode: Callable[[msgspec.Raw], Row], what: str
) -> tuple[list[Row], list[Output]]:
    """The rows that can be read; each of the others costs only itself."""
    rows: list[Row] = []
    notes: list[Output] = []
    for raw in raws or ():
        try:
            rows.append(decode(raw))
        except UNREADABLE as error:
            notes.append(Note(f"unreadable {what}: {error}", "error"))
    return rows, notes
