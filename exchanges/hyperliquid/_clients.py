"""Client orders: the order ids that one client id has had (docs/venues/hyperliquid.md, section 6, "Modify").

The venue carries out a modify as a cancel and a new order: another order id, the same client id. Whoever books by client id
must not be told that cancel, and what the ids before executed is part of the order's totals.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, multiply
from exchanges.hyperliquid._orders import ALIVE, FILLED, Order, Sums, Told, Update, listed, refused

MAX_CLIENTS: Final = 10_000
"""Client orders remembered, those that were heard of last."""
HAND_OVER_MS: Final = 1_000
"""An id that ended longer than this before the next one of its client id was placed has no heir: the client id was reused."""


class _Id:
    """One order id of a client order."""

    __slots__ = ("ended_ms", "known", "passed_on", "shown", "status", "told", "update")

    def __init__(self, known: KnownOrder | None = None) -> None:
        self.known = known
        """As it was published before this connection, with the totals of its client order."""
        self.update: Update | None = None
        """The newest state."""
        self.status = known.status if known is not None else ""
        self.ended_ms = known.order_time_ms if known is not None and known.terminal else 0
        self.passed_on = False
        """A newer id was seen alive or filled, so this one is gone, whether the venue has said so yet or not."""
        self.told = known is not None and known.terminal
        """Its end was published as the end of the client order."""
        self.shown: Decimal | None = None
        """The total that it was published with last, over this connection."""

    @property
    def alive(self) -> bool:
        return bool(self.status) and not self.ended_ms and not self.passed_on


class ClientOrders:
    """The client orders of one account on one connection. I/O thread of the session only."""

    def __init__(self, known: Iterable[KnownOrder] = ()) -> None:
        self._clients: OrderedDict[str, dict[int, _Id]] = OrderedDict()
        for order in known:
            if order.order_id.isdecimal() and order.client_order_id:
                self._ids(order.client_order_id)[int(order.order_id)] = _Id(order)

    def _ids(self, client_id: str) -> dict[int, _Id]:
        ids = self._clients.get(client_id)
        if ids is None:
            ids = self._clients[client_id] = {}
            while len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(client_id)
        return ids

    # --- what is learnt ---

    def learn(self, update: Update) -> None:
        """A state of an order. All rows of a frame are learnt before any of them is told."""
        order = update.order
        if not order.cloid:
            return
        ids = self._ids(order.cloid)
        one = ids.setdefault(order.oid, _Id())
        if one.ended_ms and (update.status in ALIVE or not listed(update.status)):
            return  # an older frame, or an answer that is older than a frame
        over = listed(update.status) and update.status not in ALIVE
        one.update, one.status = update, update.status
        one.ended_ms = (update.moment_ms or 1) if over else 0
        if not over or update.status == FILLED:
            for oid, other in ids.items():
                other.passed_on = other.passed_on or oid < order.oid

    def traded(self, client_id: str, oid: int) -> None:
        """An order id is known from a fill."""
        if client_id:
            self._ids(client_id).setdefault(oid, _Id())

    def published(self, update: Update, total: Decimal) -> None:
        """A state of this id went out with a total."""
        one = self._clients.get(update.order.cloid or "", {}).get(update.order.oid)
        if one is not None:
            one.shown = total
            one.told = one.told or update.status not in ALIVE

    # --- what follows ---

    def is_over(self, order: Order) -> bool:
        """Whether the end of this id was published."""
        one = self._clients.get(order.cloid or "", {}).get(order.oid)
        return one is not None and one.told

    def is_past(self, order: Order) -> bool:
        """Whether this id has ended, or a newer one holds its client id: then an open state of it is old news."""
        one = self._clients.get(order.cloid or "", {}).get(order.oid)
        return one is not None and (bool(one.ended_ms) or one.passed_on)

    def goes_on(self, update: Update) -> bool:
        """Whether the client order lives on, or has ended, under another id: then the end of this one is nobody's news."""
        ids = self._clients.get(update.order.cloid or "", {})
        others = [(oid, other) for oid, other in ids.items() if oid != update.order.oid]
        if any(other.alive for _, other in others):
            return True
        # A newer id that the venue took has an end of its own; one that it refused did not take the client id over.
        return any(oid > update.order.oid and (other.told or not refused(other.status)) for oid, other in others)

    def heir(self, order: Order) -> tuple[Update, Decimal] | None:
        """What holds the client id of this older id now, if it is alive: its state, and the total it was told with."""
        ids = self._clients.get(order.cloid or "", {})
        newest = max(ids, default=0)
        one = ids.get(newest)
        if one is None or newest <= order.oid or not one.alive or one.update is None or one.shown is None:
            return None
        return one.update, one.shown

    def nameless(self, order: Order) -> list[int]:
        """Ids of this client id that only fills have told."""
        ids = self._clients.get(order.cloid or "", {})
        return [oid for oid, one in ids.items() if one.update is None and one.known is None]

    def earlier(self, order: Order) -> list[int]:
        """The ids from which this one took its client order over, oldest first."""
        ids = self._clients.get(order.cloid or "", {})
        found: list[int] = []
        placed_ms = order.placed_ms
        for oid in sorted((oid for oid in ids if oid < order.oid), reverse=True):
            one = ids[oid]
            ended = one.ended_ms and (one.status == FILLED or one.ended_ms < placed_ms - HAND_OVER_MS)
            if ended or (one.update is not None and one.update.order.coin != order.coin):
                break
            found.insert(0, oid)
            placed_ms = one.update.order.placed_ms if one.update is not None else 0
        return found

    def before(self, order: Order, filled: Mapping[int, Sums]) -> Sums:
        """What the earlier ids executed, and its worth at their limits; `filled` are their fills as far as they are known."""
        size = value = Decimal(0)
        ids = self._clients.get(order.cloid or "", {})
        for oid, fills in filled.items():
            one = ids[oid]
            if one.update is not None:
                size, value = _start(one, Sums(size, value))
                size += one.update.executed
                value += multiply(one.update.executed, decimal(one.update.order.limit_px))
            elif one.known is not None:
                size, value = max((size, value), (decimal(one.known.executed), decimal(one.known.executed_quote)))
            else:
                size, value = size + fills.size, value + fills.value
        own = ids.get(order.oid)
        return _start(own, Sums(size, value)) if own is not None else Sums(size, value)

    def told(self, order: Order) -> Told:
        """What was published of this client order before this connection."""
        ids = self._clients.get(order.cloid or "", {})
        for oid in (order.oid, *reversed(self.earlier(order))):
            one = ids.get(oid)
            if one is not None and one.known is not None:
                known = one.known
                return Told(Sums(decimal(known.executed), decimal(known.executed_quote)), oid, known.order_time_ms)
        return Told()

    def first_ms(self, order: Order) -> int:
        """When the client order was placed, as far as that is known."""
        ids = self._clients.get(order.cloid or "", {})
        updates = [ids[oid].update for oid in self.earlier(order)]
        return min(
            [order.placed_ms, *(one.order.placed_ms for one in updates if one is not None and one.order.placed_ms)]
        )

    def superseded(self, known: KnownOrder) -> bool:
        """Whether a newer id holds the client id of an order that was published as open."""
        ids = self._clients.get(known.client_order_id, {})
        return any(oid > int(known.order_id) for oid in ids) if known.order_id.isdecimal() else False


def _start(one: _Id, before: Sums) -> Sums:
    """What an id began with: what was published of it before this connection may tell more than what is remembered."""
    if one.known is None or one.update is None:
        return before
    size = decimal(one.known.quantity) - one.update.size
    if size <= before.size:
        return before
    executed = decimal(one.known.executed)
    average = divide(decimal(one.known.executed_quote), executed) or decimal(one.known.price)
    return Sums(size, multiply(size, average))
