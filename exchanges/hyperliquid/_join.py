"""Joins the two halves of an order: its states, which carry no price, and its fills (venue file, section 6).

They come in separate frames and in either order. A filled order whose fills are not all here waits for them (it is *parked*),
then for REST, and goes out in any case: a FILLED that is dropped leaves a deal frozen for ever, one at the limit price books
a market order at its aggressive limit (bugs A23, A40).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from exchanges._adapter import Instant, KnownOrder, Note, Output
from exchanges._numbers import decimal
from exchanges.events import ExecutionReport
from exchanges.hyperliquid._orders import (
    ALIVE,
    FILLED,
    NOTHING,
    TOLERANCE,
    Fill,
    Names,
    Order,
    Sums,
    Update,
    report,
    sums,
)

FILLS_KEPT_S: Final = 5 * 3600.0
"""An order may rest for hours between its first fill and its last (bug A57)."""
MAX_ORDERS: Final = 10_000
"""Orders whose fills are kept."""
MAX_DONE: Final = 5_000
"""Filled orders remembered, so that a repeated frame is not joined again."""
ASK_LIMIT_S: Final = 30.0
"""REST may hang without any answer: then this try counts as failed."""


class Rules(NamedTuple):
    """Patience with a filled order whose fills are missing. Times in seconds."""

    grace_s: float = 5.0
    max_parked: int = 5_000
    tries: int = 3
    retry_s: float = 1.0

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Rules:
        """As the deployment sets them; what is no number keeps its default."""
        return cls(
            grace_s=_number(options, "HL_FILL_PARK_GRACE_MS", 5_000, 0, 60_000) / 1000,
            max_parked=_number(options, "HL_FILL_PARK_MAX_SIZE", 5_000, 1, 50_000),
            tries=_number(options, "HL_FILL_REST_RETRIES", 3, 0, 10),
            retry_s=_number(options, "HL_FILL_REST_RETRY_DELAY_MS", 1_000, 100, 60_000) / 1000,
        )


def _number(options: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = options.get(name, "").strip()
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 10 else default


class FillStore:
    """Fills by order, each once. Bounded in age and number."""

    def __init__(self) -> None:
        self._orders: OrderedDict[int, dict[int, Fill]] = OrderedDict()
        self._heard: dict[int, float] = {}
        self._by_cloid: dict[str, dict[int, None]] = {}

    def add(self, fill: Fill, mono: float) -> bool:
        """False for a fill that is known (a snapshot repeats them)."""
        known = self._orders.setdefault(fill.oid, {})
        if fill.tid in known:
            return False
        known[fill.tid] = fill
        self._heard[fill.oid] = mono
        self._orders.move_to_end(fill.oid)
        if fill.cloid:
            self._by_cloid.setdefault(fill.cloid, {})[fill.oid] = None
        while len(self._orders) > MAX_ORDERS or self._heard[next(iter(self._orders))] < mono - FILLS_KEPT_S:
            self.drop(next(iter(self._orders)))
        return True

    def of(self, update: Update) -> tuple[Fill, ...]:
        """The fills of an order: those of its id; else those of its client id, if they are just what it tells."""
        own = self.of_id(update.order.oid)
        if own or not update.order.cloid:
            return own
        oids = self._by_cloid.get(update.order.cloid, ())
        found = tuple(fill for oid in oids for fill in self._orders[oid].values())
        return found if abs(sums(found).size - update.executed) <= TOLERANCE else ()

    def of_id(self, oid: int) -> tuple[Fill, ...]:
        return tuple(self._orders.get(oid, {}).values())

    def drop(self, oid: int) -> None:
        for fill in self._orders.pop(oid, {}).values():
            oids = self._by_cloid.get(fill.cloid or "", {})
            oids.pop(oid, None)
            if not oids:
                self._by_cloid.pop(fill.cloid or "", None)
        self._heard.pop(oid, None)

    def __len__(self) -> int:
        return len(self._orders)


class _Parked:
    """A filled order that waits for its fills."""

    __slots__ = ("asked", "due", "postponed", "tries", "update")

    def __init__(self, update: Update, due: float) -> None:
        self.update, self.due = update, due
        self.tries = 0
        self.asked = False
        """REST is being asked: such an entry is not evicted, and stays until its one event is out (bugs A17, A18)."""
        self.postponed = False
        """REST had no weight left once: it was waited for, and the try did not count."""


class Ask(NamedTuple):
    """REST is to be asked for the fills of an order; from the start of its life if the last minutes did not tell."""

    update: Update
    whole_life: bool


class Join:
    """One account's orders and fills on one connection. I/O thread of the session only.

    `order` and `fills` take what the stream tells and return the events that are complete. `due` has come when `deadline`
    has; what it wants asked comes back through `asked`.
    """

    def __init__(self, names: Names, rules: Rules, known: Iterable[KnownOrder] = ()) -> None:
        self._names, self._rules = names, rules
        self._known = {order.order_id: order for order in known}
        self._store = FillStore()
        self._parked: OrderedDict[int, _Parked] = OrderedDict()
        self._done: OrderedDict[int, None] = OrderedDict()
        self._short: dict[int, Update] = {}
        """Open orders that were told with less than they have executed: told again with their missing fill."""
        self.since_ms = 0
        """From here on every fill comes over this connection."""

    # --- from the stream ---

    def order(self, update: Update, now: Instant) -> tuple[list[ExecutionReport], list[Output]]:
        """One order state with a client id: its event, or nothing yet."""
        oid = update.order.oid
        if oid in self._done:
            return [], []
        if update.status != FILLED:
            event = self.event(update)
            self._note_short(update, event)
            return [event], []
        if self.complete(update):
            return [self.finish(update)], []
        if oid in self._parked:
            return [], []
        if len(self._parked) >= self._rules.max_parked:
            return self._crowded(update, now)
        self._park(update, now)
        return [], []

    def fills(self, fills: Iterable[Fill], now: Instant, *, snapshot: bool = False) -> list[ExecutionReport]:
        """Store all of them first, then release what is complete: an order may have several in one message.

        Of a snapshot only the fills of parked orders are of use: the others were told before.
        """
        if snapshot:
            wanted = {parked.update.order.cloid for parked in self._parked.values()}
            fills = [fill for fill in fills if fill.oid in self._parked or (fill.cloid and fill.cloid in wanted)]
        return self._add(fills, now)

    # --- from REST ---

    def due(self, now: Instant) -> tuple[list[Ask], list[ExecutionReport], list[Output]]:
        """Call at `deadline` or later."""
        asks: list[Ask] = []
        events: list[ExecutionReport] = []
        notes: list[Output] = []
        for oid, parked in list(self._parked.items()):
            if parked.due > now.mono:
                continue
            if parked.asked:  # no answer at all
                self._failed(parked, now)
            elif self.complete(parked.update):
                events.append(self.finish(parked.update))
            elif parked.tries < self._rules.tries:
                parked.tries += 1
                parked.asked, parked.due = True, now.mono + ASK_LIMIT_S
                asks.append(Ask(parked.update, whole_life=parked.tries > 1))
            else:
                events.append(self.finish(parked.update))
                notes.append(
                    Note(f"order {oid} is filled and its fills can't be had: priced with what is known", "error")
                )
        return asks, events, notes

    def asked(
        self, update: Update, fills: Iterable[Fill], now: Instant, *, later_s: float = 0.0
    ) -> list[ExecutionReport]:
        """REST answered a question of `due`, maybe without any use; `later_s` = its limit is used up for so long."""
        parked = self._parked.get(update.order.oid)
        events = self._add(fills, now)
        if parked is not None and update.order.oid in self._parked and parked.asked:
            self._failed(parked, now)
            if later_s and not parked.postponed:  # better late than at the limit price
                parked.postponed = True
                parked.tries -= 1
                parked.due = now.mono + later_s
        return events

    def _failed(self, parked: _Parked, now: Instant) -> None:
        """After the last try the order waits once more, then goes out as it is."""
        parked.asked = False
        parked.due = now.mono + self._rules.retry_s * 2 ** max(0, parked.tries - 1)

    def deadline(self) -> float | None:
        return min((parked.due for parked in self._parked.values()), default=None) if self._parked else None

    # --- events ---

    def complete(self, update: Update) -> bool:
        """Whether the fills that are known make up all of a filled order."""
        return abs(sums(self._store.of(update)).size - update.executed) <= TOLERANCE

    def is_done(self, update: Update) -> bool:
        """Whether the one event of a filled order is out."""
        return update.order.oid in self._done

    def last_fill_ms(self, order: Order) -> int:
        """When an order last traded, as far as its fills are known; 0 = they are not."""
        return max((fill.time for fill in self._store.of_id(order.oid)), default=0)

    def event(self, update: Update) -> ExecutionReport:
        """The event of an order state with the fills that are known now."""
        trusted = update.order.timestamp >= self.since_ms
        known = self._known.get(str(update.order.oid))
        told = Sums(decimal(known.executed), decimal(known.executed_quote)) if known is not None else NOTHING
        return report(update, self._store.of(update), self._names, trusted=trusted, told=told)

    def finish(self, update: Update) -> ExecutionReport:
        """The one event of a filled order, complete or not; its fills are of no more use."""
        event, oid = self.event(update), update.order.oid
        self._store.drop(oid)
        self._parked.pop(oid, None)
        self._short.pop(oid, None)
        self._done[oid] = None
        while len(self._done) > MAX_DONE:
            self._done.popitem(last=False)
        return event

    def _add(self, fills: Iterable[Fill], now: Instant) -> list[ExecutionReport]:
        """Store fills, then release the orders that are complete with them."""
        oids: set[int] = set()
        cloids: set[str] = set()
        for fill in fills:
            if self._store.add(fill, now.mono):
                oids.add(fill.oid)
                cloids.add(fill.cloid or "")
        if not oids:
            return []
        cloids.discard("")
        waiting = [
            parked.update for oid, parked in self._parked.items() if oid in oids or parked.update.order.cloid in cloids
        ]
        events = [self.finish(update) for update in waiting if self.complete(update)]
        short = [self._short[oid] for oid in oids if oid in self._short]
        told = [update for update in short if sums(self._store.of(update)).size >= update.executed - TOLERANCE]
        for update in told:
            del self._short[update.order.oid]
        events.extend(self.event(update) for update in told)
        return events

    def _note_short(self, update: Update, event: ExecutionReport) -> None:
        oid = update.order.oid
        self._short.pop(oid, None)
        if update.status in ALIVE and decimal(event.total_trade_quantity) < update.executed - TOLERANCE:
            self._short[oid] = update
            while len(self._short) > self._rules.max_parked:
                del self._short[next(iter(self._short))]

    def _park(self, update: Update, now: Instant) -> None:
        self._parked[update.order.oid] = _Parked(update, now.mono + self._rules.grace_s)

    def _crowded(self, update: Update, now: Instant) -> tuple[list[ExecutionReport], list[Output]]:
        """The oldest order that REST is not being asked about gives up its place; if there is none, the new one gets none."""
        idle = next((parked.update for parked in self._parked.values() if not parked.asked), update)
        event = self.finish(idle)
        if idle is not update:
            self._park(update, now)
        return [event], [Note("too many filled orders wait for their fills: one is priced with what is known", "error")]
