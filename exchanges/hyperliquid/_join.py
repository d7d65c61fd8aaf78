"""Joins the two halves of an order: its states, which carry no price, and its fills (docs/venues/hyperliquid.md 6).

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
from exchanges._timers import earliest
from exchanges.events import ExecutionReport
from exchanges.hyperliquid._clients import ClientOrders
from exchanges.hyperliquid._ends import Ends
from exchanges.hyperliquid._fills import FillStore
from exchanges.hyperliquid._orders import (
    ALIVE,
    FILLED,
    MODIFIABLE_END,
    NOTHING,
    TOLERANCE,
    Fill,
    Names,
    Order,
    Past,
    Update,
    report,
    sums,
)

MAX_DONE: Final = 5_000
"""Filled orders remembered, so that a repeated frame is not joined again."""
LIFE_LEAD_MS: Final = 1_000
RECENT_MS: Final = 60_000
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
    """REST is to be asked for the fills of an order from a time on."""

    update: Update
    from_ms: int


class Due(NamedTuple):
    """What the time has come for."""

    asks: list[Ask]
    checks: list[Update]
    """Cancelled orders: the venue is to say whether their client ids go on; then call `checked` or `unchecked`."""
    events: list[ExecutionReport]
    notes: list[Output]


class Join:
    """One account's orders and fills on one connection. I/O thread of the session only.

    `learn`, `order` and `fills` take what the stream tells and return the events that are complete. `due` has come when
    `deadline` has; what it wants asked comes back through `asked`, `checked` and `unchecked`. `patient`: cancels wait for
    the other half of a modify (recorded frames are shown at once).
    """

    def __init__(self, names: Names, rules: Rules, known: Iterable[KnownOrder] = (), *, patient: bool = True) -> None:
        self._names, self._rules, self._patient = names, rules, patient
        self.clients = ClientOrders(known)
        self._store = FillStore()
        self._ends = Ends()
        self._parked: OrderedDict[int, _Parked] = OrderedDict()
        self._done: OrderedDict[int, None] = OrderedDict()
        self._short: dict[int, Update] = {}
        """Open orders that were told without some of their fills: told again with them."""
        self.since_ms = 0
        """From here on every fill comes over this connection."""

    # --- from the stream ---

    def learn(self, updates: Iterable[Update]) -> None:
        """All states of a frame, before any of them is told: a modify's two rows may come in either order."""
        for update in updates:
            self.clients.learn(update)

    def order(self, update: Update, now: Instant) -> tuple[list[ExecutionReport], list[Output]]:
        """One order state with a client id, learnt before: its event, or nothing yet."""
        oid = update.order.oid
        if oid in self._done:
            return [], []
        if update.status in ALIVE:
            if self.clients.is_past(update.order):
                return self._heirs(update.order), []
            event = self.event(update)
            self._note_short(update)
            return [event], []
        if update.status != FILLED:
            return self._ended(update, now), []
        if self.complete(update):
            return [self.finish(update)], []
        if oid in self._parked:
            return [], []
        if len(self._parked) >= self._rules.max_parked:
            return self._crowded(update, now)
        self._park(update, now)
        return [], []

    def _ended(self, update: Update, now: Instant) -> list[ExecutionReport]:
        self._short.pop(update.order.oid, None)
        if self.clients.is_over(update.order):
            return []
        if self.clients.goes_on(update):
            return self._heirs(update.order)
        if update.status != MODIFIABLE_END or not self._patient:
            return [self.event(update)]
        crowded = self._ends.wait(update, now)
        return [self.event(crowded)] if crowded is not None else []

    def _heirs(self, order: Order) -> list[ExecutionReport]:
        """The order that goes on under this one's client id, once more if its total is other than it was told."""
        heir = self.clients.heir(order)
        if heir is None:
            return []
        update, shown = heir
        event = self.event(update)
        return [event] if decimal(event.total_trade_quantity) != shown else []

    def fills(self, fills: Iterable[Fill], now: Instant, *, snapshot: bool = False) -> list[ExecutionReport]:
        """Store all of them first, then release what is complete: an order may have several in one message.

        Of a snapshot only the fills of parked orders are of use: the others were told before.
        """
        if snapshot:
            wanted = {parked.update.order.cloid for parked in self._parked.values()}
            fills = [fill for fill in fills if fill.oid in self._parked or (fill.cloid and fill.cloid in wanted)]
        return self._add(fills, now)

    # --- from REST ---

    def due(self, now: Instant) -> Due:
        """Call at `deadline` or later."""
        checks, over = self._ends.due(now)
        due = Due([], [one for one in checks if not self._settled(one)], [], [])
        for update in over:
            if not self.clients.goes_on(update):
                due.events.append(self.event(update))
                due.notes.append(Note(f"order {update.order.oid}: the venue does not say whether it was modified"))
        for oid, parked in list(self._parked.items()):
            if parked.due > now.mono:
                continue
            if parked.asked:  # no answer at all
                self._failed(parked, now)
            elif self.complete(parked.update):
                due.events.append(self.finish(parked.update))
            elif parked.tries < self._rules.tries:
                parked.tries += 1
                parked.asked, parked.due = True, now.mono + ASK_LIMIT_S
                due.asks.append(Ask(parked.update, self._from_ms(parked)))
            else:
                due.events.append(self.finish(parked.update))
                due.notes.append(
                    Note(f"order {oid} is filled and its fills can't be had: priced with what is known", "error")
                )
        return due

    def _settled(self, update: Update) -> bool:
        """Whether the new order of a modify has come while its cancel waited."""
        if not self.clients.goes_on(update):
            return False
        self._ends.settle(update.order.oid)
        return True

    def _from_ms(self, parked: _Parked) -> int:
        """The last minutes may tell; after that, and for an order that was modified, all its life."""
        life_ms = self.first_ms(parked.update) - LIFE_LEAD_MS
        if parked.tries > 1 or self.clients.earlier(parked.update.order):
            return life_ms
        return max(life_ms, parked.update.moment_ms - RECENT_MS)

    def checked(self, update: Update, found: Update | None, now: Instant) -> tuple[list[ExecutionReport], list[Output]]:
        """The venue said what holds the client id of a cancelled order now; None = it does not know the client id."""
        if self._ends.settle(update.order.oid) is None:
            return [], []
        if found is not None and found.order.oid > update.order.oid:
            self.clients.learn(found)
            told, notes = self.order(found, now)
            return ([*told, *self._ended(update, now)] if not self.clients.goes_on(update) else told), notes
        return [] if self.clients.goes_on(update) else [self.event(update)], []

    def unchecked(self, update: Update, now: Instant) -> None:
        """The venue did not answer that question."""
        self._ends.failed(update.order.oid, now)

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
        parked = min((one.due for one in self._parked.values()), default=None) if self._parked else None
        return earliest(parked, self._ends.deadline())

    # --- events ---

    def past(self, update: Update) -> Past:
        """What is known of the client order beside this state."""
        order = update.order
        own = self._store.of_id(order.oid)
        earlier = {oid: self._store.of_id(oid) for oid in self.clients.earlier(order)}
        if not own:
            # Fills under an id that no row has told are this order's, if they are just what it executed.
            found = {oid: self._store.of_id(oid) for oid in self.clients.nameless(order) if oid != order.oid}
            fills = tuple(fill for group in found.values() for fill in group)
            if fills and abs(sums(fills).size - update.executed) <= TOLERANCE:
                own = fills
                earlier = {oid: group for oid, group in earlier.items() if oid not in found}
        before = self.clients.before(order, {oid: sums(group) for oid, group in earlier.items()})
        old = tuple(fill for group in earlier.values() for fill in group)
        explained = before == NOTHING or abs(sums(old).size - before.size) <= TOLERANCE
        trusted = order.placed_ms >= self.since_ms and explained
        return Past((*old, *own), before, self.clients.told(order), trusted)

    def complete(self, update: Update) -> bool:
        """Whether what is known makes up all of a filled order: its fills, and for what came before, what was published."""
        past = self.past(update)
        known = sums(past.fills).size
        if abs(known - past.before.size - update.executed) <= TOLERANCE:
            return True
        own = sums([fill for fill in past.fills if fill.oid == update.order.oid]).size
        return (
            past.before != NOTHING
            and abs(own - update.executed) <= TOLERANCE
            and past.before.size <= past.told.sums.size + TOLERANCE
        )

    def is_done(self, update: Update) -> bool:
        """Whether the one event of a filled order is out."""
        return update.order.oid in self._done

    def last_fill_ms(self, order: Order) -> int:
        """When an order last traded, as far as its fills are known; 0 = they are not."""
        return max((fill.time for fill in self._store.of_id(order.oid)), default=0)

    def first_ms(self, update: Update) -> int:
        """When the client order was placed, as far as that is known."""
        return self.clients.first_ms(update.order)

    def event(self, update: Update) -> ExecutionReport:
        """The event of an order state with the fills that are known now."""
        event = report(update, self.past(update), self._names)
        self.clients.published(update, decimal(event.total_trade_quantity))
        return event

    def finish(self, update: Update) -> ExecutionReport:
        """The one event of a filled order, complete or not; its fills are of no more use."""
        event, oid = self.event(update), update.order.oid
        for one in (oid, *self.clients.earlier(update.order)):
            self._store.drop(one)
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
                self.clients.traded(fill.cloid or "", fill.oid)
                oids.add(fill.oid)
                cloids.add(fill.cloid or "")
        if not oids:
            return []
        cloids.discard("")
        waiting = [
            parked.update for oid, parked in self._parked.items() if oid in oids or parked.update.order.cloid in cloids
        ]
        events = [self.finish(update) for update in waiting if self.complete(update)]
        short = [update for oid, update in self._short.items() if oid in oids or update.order.cloid in cloids]
        told = [update for update in short if self._explained(update)]
        for update in told:
            del self._short[update.order.oid]
        events.extend(self.event(update) for update in told)
        return events

    def _explained(self, update: Update) -> bool:
        """Whether fills, or what was published before, make up all that an order has executed."""
        past = self.past(update)
        executed = past.before.size + update.executed
        known = (sums(past.fills).size, past.told.and_then(past.fills).size)
        return known[0] >= executed - TOLERANCE or abs(known[1] - executed) <= TOLERANCE

    def _note_short(self, update: Update) -> None:
        """An open order that is told before its fills are here, at its limit or short of them, is told again with them."""
        self._short.pop(update.order.oid, None)
        if update.status in ALIVE and not self._explained(update):
            self._short[update.order.oid] = update
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
