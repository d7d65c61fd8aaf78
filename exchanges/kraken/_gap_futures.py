"""Gap repair of a futures account: which calls to make, and what their answers mean (docs/venues/kraken.md, section 8).

Open orders first, then the fills of the gap, which go through the same count as live ones, then the orders that are gone:
the venue tells the ones that ended within its last seconds, and the history of orders the others, also those that came and
went within the gap without a fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Steps, once
from exchanges._repair import Repaired
from exchanges.events import AccountEvent
from exchanges.kraken import _rows_futures_rest
from exchanges.kraken._balances import position
from exchanges.kraken._errors import read_futures
from exchanges.kraken._orders_futures import SNAPSHOT, ZERO, Orders
from exchanges.kraken._rows_futures import Fill, OrderBody, by_time
from exchanges.kraken._rows_futures_rest import PAGE, Past

MAX_PAGES: Final = 10
"""Of fills; each behind the first costs 25 of the 500 points in 10 s."""
MAX_HISTORY_PAGES: Final = 5
PER_STATUS: Final = 100
"""Orders of one question by id."""
MAX_STATUS: Final = 500
"""Orders asked for by id in one gap."""


class FuturesGap:
    """The plan of one repair. `calls` → `parse` of every answer → `then` whenever all are in."""

    def __init__(self, rest: str, orders: Orders, resume: Resume | None) -> None:
        self._rest = rest
        self._orders = orders
        self._resume = resume
        self._since = resume.since_ms if resume else 0
        self._known: dict[str, KnownOrder] = {one.order_id: one for one in resume.orders} if resume else {}
        self._open: dict[str, OrderBody] = {}
        self._fills: dict[str, Fill] = {}
        self._all_fills = True
        """Nothing of the fills since the gap began is missing."""
        self._doubtful: dict[str, int] = {}
        """Orders that are gone, and of whose end nothing is published yet → when they ended, ms; 0 = not known."""
        self._unasked: set[str] = set()
        """Orders that are too many to be asked for by id."""
        self._all_past = True
        """Nothing of the history since the gap began is missing."""
        self.then = Steps(*map(once, (self._ask_fills, self._ask_status, self._ask_history))).then

    def calls(self) -> Sequence[Call]:
        if self._resume is None:
            return []
        return [_rows_futures_rest.open_orders_call(self._rest), _rows_futures_rest.accounts_call(self._rest)]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        read = read_futures(answer)
        if read.failure is not None:
            if read.failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return self._without(call, read.failure.reason, now)
            return Repaired(retry=True, retry_after_s=read.failure.retry_after_s)
        try:
            return self._parse(call, read.data, now)
        except (*UNREADABLE, ValueError):
            return self._without(call, "the answer is not understood", now)

    def _without(self, call: Call, reason: str, now: Instant) -> Repaired:
        events = self.given_up(call, now)
        more = self._unknown() if call.tag == "order history" else []
        return Repaired(events=events, missing=[f"{call.tag}: {reason}", *more])

    def given_up(self, call: Call, now: Instant) -> Sequence[AccountEvent]:
        """What is known without this answer. Nothing ends because it is absent."""
        if call.tag == "fills":
            self._all_fills = False
            return self._fill_events(now)
        return self._ends(lambda order_id, ended_ms: self._orders.complete(order_id) or ended_ms > 0, now)

    def _parse(self, call: Call, data: bytes, now: Instant) -> Repaired:
        if call.tag == "balances":
            balances, bad = _rows_futures_rest.read_flex(data)
            events = [position(balances, now.wall_ms)] if balances else []
            return Repaired(events=events, missing=[f"balances: {bad} that can't be read"] if bad else [])
        if call.tag == "open orders":
            bodies, bad = _rows_futures_rest.read_open_orders(data)
            for body in bodies:
                self._open[body.order_id] = body
                self._orders.body(body, SNAPSHOT, now.wall_ms)
            sideless = [_no_side(body.order_id) for body in bodies if not self._orders.sided(body.order_id)]
            return Repaired(missing=[*([f"open orders: {bad} that can't be read"] if bad else []), *sideless])
        if call.tag == "fills":
            return self._fills_page(call, data, now)
        if call.tag == "order status":
            return self._statuses(data, now)
        return self._history_page(call, data, now)

    # --- fills ---

    def _ask_fills(self, _now: Instant) -> Repaired:
        return Repaired(calls=[_rows_futures_rest.fills_call(self._rest)])

    def _fills_page(self, call: Call, data: bytes, now: Instant) -> Repaired:
        fills, bad = _rows_futures_rest.read_fills(data)
        fresh = [fill for fill in fills if fill.fill_id not in self._fills]
        self._fills.update((fill.fill_id, fill) for fill in fills)
        missing = [f"fills: {bad} that can't be read"] if bad else []
        self._all_fills = self._all_fills and not bad
        oldest = min((fill.time for fill in fills), default=0)
        page = int(str(call.context))
        if len(fills) + bad < PAGE or oldest < self._since or not fresh:
            return Repaired(events=self._fill_events(now), missing=missing)
        if page >= MAX_PAGES:
            self._all_fills = False
            return Repaired(events=self._fill_events(now), missing=[*missing, f"fills: more than {page * PAGE}"])
        # One ms more: fills of the same moment may stand on both sides of the cut.
        return Repaired(calls=[_rows_futures_rest.fills_call(self._rest, oldest + 1, page=page + 1)], missing=missing)

    def _fill_events(self, now: Instant) -> list[AccountEvent]:
        """The fills of the gap, one event each, and the open orders that they don't explain."""
        events: list[AccountEvent] = []
        now_ms, told = now.wall_ms, set()
        if self._all_fills:
            self._align()
        for fill in by_time(self._fills.values()):
            if fill.time < self._since or self._orders.ended(fill.order_id):
                self._orders.fills([fill], now_ms)
                continue
            events.append(self._orders.filled(fill, now_ms))
            told.add(fill.order_id)
            if fill.order_id not in self._open and fill.order_id not in self._known:
                self._doubtful[fill.order_id] = 0
        news = [body for body in self._open.values() if self._orders.sided(body.order_id) and self._news(body, told)]
        return [*events, *(self._orders.placed(body, now_ms) for body in news)]

    def _align(self) -> None:
        """Find by their sums which fills the open orders' totals contain: the venue's clocks of both need not agree."""
        left: dict[str, Decimal] = {}
        for order_id, body in self._open.items():
            known = self._known.get(order_id)
            left[order_id] = decimal(body.filled) - decimal(known.executed if known is not None else "")
        for fill in by_time(self._fills.values()):
            known = self._known.get(fill.order_id)
            if left.get(fill.order_id, ZERO) <= 0 or (known is not None and fill.time <= known.order_time_ms):
                continue
            left[fill.order_id] -= decimal(fill.qty)
            if not left[fill.order_id]:
                self._orders.contains(fill.order_id, fill.time)

    def _news(self, body: OrderBody, told: Iterable[str]) -> bool:
        """Whether an open order is other than it was published last, and no fill of the gap has told it."""
        known, filled = self._known.get(body.order_id), decimal(body.filled)
        if body.order_id in told:
            return False
        if known is None:
            return filled > 0 or body.updated_ms >= self._since
        if known.terminal:
            return False
        edited = decimal(known.quantity) != decimal(body.qty) + filled or (
            not filled and decimal(known.price) not in (decimal(body.limit_price), decimal(body.stop_price))
        )
        return filled > decimal(known.executed) or edited

    # --- orders that are gone ---

    def _ask_status(self, _now: Instant) -> Repaired:
        for order_id, known in self._known.items():
            if not known.terminal and order_id not in self._open:
                self._doubtful[order_id] = 0
        gone = [order_id for order_id in self._doubtful if not self._orders.ended(order_id)]
        self._doubtful = dict.fromkeys(gone, 0)
        self._unasked = set(gone[MAX_STATUS:])
        steps = range(0, min(len(gone), MAX_STATUS), PER_STATUS)
        calls = [
            _rows_futures_rest.status_call(self._rest, gone[at : min(at + PER_STATUS, MAX_STATUS)]) for at in steps
        ]
        return Repaired(calls=calls)

    def _statuses(self, data: bytes, now: Instant) -> Repaired:
        found, bad = _rows_futures_rest.read_statuses(data)
        for order_id, past in found.items():
            if order_id not in self._doubtful:
                continue
            if not past.ended:
                del self._doubtful[order_id]
                continue
            self._orders.body(past.body(), SNAPSHOT, now.wall_ms)
            self._doubtful[order_id] = past.updated_ms or now.wall_ms
        missing = [f"order status: {bad} that can't be read"] if bad else []
        events = self._ends(lambda order_id, ended_ms: self._orders.complete(order_id) or ended_ms > 0, now)
        return Repaired(events=events, missing=missing)

    def _ask_history(self, _now: Instant) -> Repaired:
        return Repaired(calls=[_rows_futures_rest.history_call(self._rest, self._since)])

    def _history_page(self, call: Call, data: bytes, now: Instant) -> Repaired:
        history = _rows_futures_rest.read_history(data)
        page = int(str(call.context))
        self._learn(history.states, now)
        missing = [f"order history: {history.bad} that can't be read"] if history.bad else []
        self._all_past = self._all_past and not history.bad
        if history.token and page < MAX_HISTORY_PAGES:
            following = _rows_futures_rest.history_call(self._rest, self._since, history.token, page=page + 1)
            return Repaired(calls=[following], missing=missing)
        if history.token:
            self._all_past = False
            missing.append(f"order history: more than {page} pages")
        return Repaired(events=self._ends(self._settled, now), missing=[*missing, *self._unknown()])

    def _settled(self, order_id: str, ended_ms: int) -> bool:
        """Whether the end of an order is known: told, reached by its fills, or it is absent from all that could show it."""
        absent = self._all_fills and self._all_past and order_id not in self._unasked and self._orders.sized(order_id)
        return ended_ms > 0 or self._orders.complete(order_id) or absent

    def _learn(self, states: Iterable[Past], now: Instant) -> None:
        for past in states:
            order_id = past.order_id
            if past.ended and order_id not in self._open and not self._orders.ended(order_id):
                self._doubtful[order_id] = past.updated_ms or now.wall_ms
            # A beginning in the book's list is older than the list; of an order in neither, live frames tell.
            # One without a size still says what it was.
            if (past.size > 0 and order_id in self._doubtful) or not self._orders.known(order_id):
                self._orders.body(past.body(), SNAPSHOT, now.wall_ms)

    def _unknown(self) -> list[str]:
        """What can't be told of the orders that are gone."""
        return [
            _no_side(order_id)
            if not self._orders.sided(order_id)
            else f"order {order_id}: its end is not known to the venue any more"
            for order_id in self._doubtful
        ]

    def _ends(self, settled: Callable[[str, int], bool], now: Instant) -> list[AccountEvent]:
        """The last events of the orders whose ends are known: all of the size is filled, else the order was cancelled."""
        events: list[AccountEvent] = []
        for order_id, ended_ms in list(self._doubtful.items()):
            if self._orders.passed_on(order_id) and not self._orders.complete(order_id):
                del self._doubtful[order_id]
                self._orders.close(order_id, now.wall_ms)
            elif self._orders.sided(order_id) and settled(order_id, ended_ms):
                del self._doubtful[order_id]
                events.append(self._orders.finished(order_id, ended_ms or now.wall_ms))
        return events


def _no_side(order_id: str) -> str:
    return f"order {order_id}: the venue does not tell its side"
