"""Gap repair of derivatives on the unified socket: two snapshots tell it, the rest is named (venues/kraken-unified.md 8).

The open orders are whole. Of what is gone there are the newest 50 fills; an order that they don't reach is asked for over
REST once, though no page says whether that knows derivative orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from exchanges._adapter import Answer, Call, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import open_before
from exchanges._repair import Repaired
from exchanges._times import rfc3339
from exchanges.events import AccountEvent
from exchanges.kraken._errors import read_spot
from exchanges.kraken._gap_spot import orders_in, query_orders
from exchanges.kraken._orders_spot import RestOrder, Row
from exchanges.kraken._orders_unified import TOLERANCE, UnifiedOrders, UnifiedRow, moment, worth
from exchanges.kraken._symbols import PERPETUAL

ZERO: Final = Decimal(0)
SNAPSHOT_FILLS: Final = 50
REACH_MS: Final = 60_000
"""Fills that reach this far behind the beginning of the gap leave none of it out: the venue sorts by its own clock."""
BRIEF_MS: Final = 5_000
"""In a shorter gap nobody places and cancels an order."""
SAME_MS: Final = 1_000
"""How much later one way may date a fill than the other."""
MAX_ASKED: Final = 50
"""Orders that are asked for over REST in one gap; the others are named at once."""
UNSEEN: Final = "orders placed and cancelled unfilled in the gap can't be asked for"
NO_SNAPSHOT: Final = "open orders: the venue sent no snapshot"


class UnifiedGap:
    """The gap of one connection. `read` the snapshots once, then `calls`, `parse`."""

    def __init__(self, orders: UnifiedOrders, resume: Resume | None) -> None:
        self._orders = orders
        self._resume = resume
        self._known = {one.order_id: one for one in resume.orders} if resume is not None else {}
        self._open: dict[str, UnifiedRow] = {}
        self._fills: dict[str, list[UnifiedRow]] = {}
        self._whole = False
        """The fills leave none of the gap out."""
        self._now_ms = 0
        self._renamed: dict[str, str] = {}
        """Order ids of before → those that the same orders have here."""
        self.events: list[AccountEvent] = []
        self.missing: list[str] = []
        self._unasked: dict[str, KnownOrder] = {}

    def read(self, rows: Sequence[UnifiedRow], now_ms: int) -> None:
        """Make events of the snapshots, before any later row is taken. Without a gap there are none."""
        if self._resume is None:
            return
        self._now_ms = now_ms
        trades = [row for row in rows if row.exec_type == "trade"]
        # A snapshot that comes twice tells the same fills twice.
        fills = sorted({row.exec_id or f"#{number}": row for number, row in enumerate(trades)}.values(), key=moment)
        self._open = {row.order_id: row for row in rows if row.exec_type != "trade"}
        for fill in fills:
            self._fills.setdefault(fill.order_id, []).append(fill)
        oldest = moment(fills[0]) if fills else 0
        self._whole = len(fills) < SNAPSHOT_FILLS or oldest <= self._resume.since_ms - REACH_MS
        self._match()
        for row in self._open.values():
            self._tell_open(row)
        for one in self._known.values():
            if not one.terminal and one.order_id not in self._open and one.order_id not in self._renamed:
                self._tell_gone(one)
        for order_id, told in self._fills.items():
            listed = order_id in self._known or order_id in self._open or order_id in self._renamed.values()
            if not listed and not any(self._is_of(one, told) for one in self._known.values()):
                self._tell_stranger(order_id, told)
        if now_ms - self._resume.since_ms > BRIEF_MS:
            self.missing.append(UNSEEN)
        self.missing.extend(open_before(self._resume))

    def without_snapshot(self) -> None:
        """The venue sent none."""
        if self._resume is not None:
            self.missing.append(NO_SNAPSHOT)

    # --- the same orders under other ids ---

    def _match(self) -> None:
        """Orders that the classic API told may have other ids here: found by client id, then by what they are."""
        free = [row for order_id, row in self._open.items() if order_id not in self._known]
        lost = [one for one in self._known.values() if not one.terminal and one.order_id not in self._open]
        for same in (_same_client, _same_shape):
            for one in lost:
                row = next((row for row in free if one.order_id not in self._renamed and same(one, row)), None)
                if row is not None:
                    free.remove(row)
                    self._renamed[one.order_id] = row.order_id

    @property
    def _moved(self) -> bool:
        """Orders have other ids than before: that one is not found by its id means nothing."""
        seen = self._known.keys() & (self._open.keys() | self._fills.keys())
        return bool(self._renamed) and not seen

    def _is_of(self, one: KnownOrder, told: Sequence[UnifiedRow]) -> bool:
        """Whether fills under an unknown id are those of an order that the classic API told, and that is not open."""
        if not one.client_order_id or all(fill.cl_ord_id != one.client_order_id for fill in told):
            return False
        if one.terminal:  # its client id may have been used again since
            return all(moment(fill) <= one.order_time_ms + SAME_MS for fill in told)
        return one.order_id not in self._open and one.order_id not in self._renamed

    # --- what became of the orders ---

    def _tell_open(self, row: UnifiedRow) -> None:
        known = self._known_as(row.order_id)
        if known is not None and known.terminal:
            return
        if row.cum_qty is None:
            before = (decimal(known.executed), decimal(known.executed_quote)) if known is not None else (ZERO, ZERO)
            quantity, value = worth(self._new(known, self._fills.get(row.order_id, [])))
            row.cum_qty, row.cum_cost = before[0] + quantity, before[1] + value
        newest = self._fills.get(row.order_id, [row])[-1]
        if moment(newest) > moment(row):
            row.timestamp = newest.timestamp  # the total has this fill, and the next gap counts those after its time
        executed = decimal(row.cum_qty)
        if not row.order_status or row.order_status == "new":
            row.order_status = "partially_filled" if executed > 0 else "new"
        self._add(row, known)

    def _tell_gone(self, one: KnownOrder) -> None:
        fills = self._new(one, self._of(one))
        quantity, value = worth(fills)
        executed, cost = decimal(one.executed) + quantity, decimal(one.executed_quote) + value
        size = decimal(one.quantity)
        newest = fills[-1] if fills else None
        certain = self._whole and newest is not None and not self._moved
        shrunk = certain and newest is not None and newest.order_status == "filled"
        # Made larger by an edit that nobody saw, and its last fill says that something was left.
        grown = (
            certain and newest is not None and newest.order_status == "partially_filled" and executed > size + TOLERANCE
        )
        if size > 0 and executed >= size - TOLERANCE and not grown:
            self._end(one.order_id, "filled", executed, cost, newest)
        elif shrunk:  # made smaller by an edit that nobody saw
            self._end(one.order_id, "filled", executed, cost, newest, size=executed)
        elif self._whole and not self._moved:
            self._end(one.order_id, "canceled", executed, cost, newest, size=executed if grown else None)
        elif len(self._unasked) < MAX_ASKED:
            self._unasked[one.order_id] = one
        else:
            self.missing.append(self._not_told(one.order_id))

    def _tell_stranger(self, order_id: str, told: list[UnifiedRow]) -> None:
        """An order that nobody knew, and that is not open: only its fills are there."""
        since_ms = self._resume.since_ms if self._resume is not None else 0
        newest = told[-1]
        if moment(newest) <= since_ms or self._known_as(order_id) is not None:
            return
        quantity, value = worth(told)
        size = next((decimal(row.order_qty) for row in reversed(told) if row.order_qty is not None), ZERO)
        begun = moment(told[0]) > since_ms and self._whole
        if not begun or (not size and not newest.order_status):
            self.missing.append(f"order {order_id}: filled in the gap, its size is not told")
            return
        filled = quantity >= size - TOLERANCE if size else newest.order_status == "filled"
        self._orders.learn([newest], self._now_ms)
        self._end(order_id, "filled" if filled else "canceled", quantity, value, newest, size=size or quantity)

    def _end(
        self,
        order_id: str,
        state: str,
        executed: Decimal,
        cost: Decimal,
        newest: Row | None,
        size: Decimal | None = None,
    ) -> None:
        stamp = newest.timestamp if newest is not None and state == "filled" else rfc3339(self._now_ms)
        row = UnifiedRow(order_id=order_id, exec_type=state, order_status=state, cum_qty=executed, cum_cost=cost,
                         order_qty=size, timestamp=stamp, liquidated=newest.liquidated if newest else None)  # fmt: skip
        self._orders.register(self._fills.get(order_id, ()), self._now_ms)
        self._add(row, None)

    def _add(self, row: UnifiedRow, known: KnownOrder | None) -> None:
        report = self._orders.report(row, self._now_ms)
        if isinstance(report, str):
            self.missing.append(f"order {row.order_id}: {report}")
        elif report is not None and not (
            known is not None
            and known.order_id == row.order_id
            and known.status == report.order_status
            and decimal(known.executed) == decimal(report.total_trade_quantity)
            and decimal(known.quantity) == decimal(report.quantity)
            and executed_or_same_price(known, report.price)
        ):
            self.events.append(report)

    # --- fills that are news ---

    def _of(self, one: KnownOrder) -> list[UnifiedRow]:
        own = self._fills.get(one.order_id)
        if own is not None or not one.client_order_id:
            return own or []
        return [fill for told in self._fills.values() for fill in told if fill.cl_ord_id == one.client_order_id]

    @staticmethod
    def _new(known: KnownOrder | None, fills: Sequence[UnifiedRow]) -> list[UnifiedRow]:
        """Fills behind the published total. Those of its very millisecond are told apart by their sums."""
        if known is None:
            return list(fills)
        executed = decimal(known.executed)
        if not executed:
            return list(fills)
        total = ZERO
        for at, fill in enumerate(fills):
            total += decimal(fill.last_qty)
            if abs(total - executed) <= TOLERANCE and moment(fill) <= known.order_time_ms:
                return list(fills[at + 1 :])  # the list has all of the order's fills
        return [fill for fill in fills if moment(fill) > known.order_time_ms]

    def _known_as(self, order_id: str) -> KnownOrder | None:
        """The order as it was published, under this id or the one of before."""
        former = next((before for before, after in self._renamed.items() if after == order_id), order_id)
        return self._known.get(order_id) or self._known.get(former)

    @staticmethod
    def _not_told(order_id: str) -> str:
        return f"order {order_id}: ended in the gap, the last {SNAPSHOT_FILLS} fills do not reach back to it"

    # --- over REST ---

    def calls(self) -> Sequence[Call]:
        return [query_orders([order_id], "order") for order_id in self._unasked]

    def parse(self, call: Call, answer: Answer) -> Repaired:
        """The one answer for an order. An error means that REST does not know it: no retry, no failure."""
        (order_id,) = call.context if isinstance(call.context, tuple) else ("",)
        found = derivative_in(answer, order_id)
        report = self._orders.rest_report(order_id, found, self._now_ms) if found is not None else ""
        if isinstance(report, str):
            return Repaired(missing=[f"order {order_id}: {report}" if report else self._not_told(order_id)])
        return Repaired(events=[report])


def derivative_in(answer: Answer, order_id: str) -> RestOrder | None:
    """The order of a `QueryOrders` answer, if it is one and of a linear perpetual."""
    read = read_spot(answer)
    if read.failure is not None:
        return None
    try:
        found = orders_in(read.data)[0].get(order_id)
    except UNREADABLE:
        return None
    return found if found is not None and found.descr.pair.startswith(PERPETUAL) else None


def executed_or_same_price(known: KnownOrder, price: str) -> bool:
    """An average is no edit; the price of an order without a fill is."""
    return decimal(known.executed) > 0 or decimal(known.price) == decimal(price)


def _same_client(one: KnownOrder, row: Row) -> bool:
    return bool(one.client_order_id) and one.client_order_id == row.cl_ord_id


def _same_shape(one: KnownOrder, row: Row) -> bool:
    nameless = one.client_order_id in ("", one.order_id) and not row.cl_ord_id
    shape = (one.side.lower(), decimal(one.quantity), decimal(one.price))
    return nameless and shape == ((row.side or "").lower(), decimal(row.order_qty), decimal(row.limit_price))
