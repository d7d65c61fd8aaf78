"""What was published of one account: decides what may still be published, and where gap repair starts. Pure.

Order events only move forward: no `FILLED` twice, nothing after a terminal state, cumulative totals never fall
(docs/architecture.md, Gap repair). The same tracker sees the events of every connection of the stream, so that an overlap of
two connections during rotation publishes each event once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from connector.streams.holdings import Holdings
from exchanges._adapter import KnownOrder, Resume
from exchanges._numbers import decimal, plain
from exchanges.events import (
    AccountEvent,
    AccountPosition,
    AccountUpdate,
    BalanceUpdate,
    ExecutionReport,
    OrderEvent,
    OrderTradeUpdate,
    PositionKey,
    PositionUpdate,
    carried,
    client_id_of,
    order_key,
)

MAX_FINISHED_ORDERS: Final = 300
"""Finished orders kept per account, so that late duplicates are recognised."""
ANY_TIME: Final = 1 << 62
"""Later than every time in ms."""
MAX_OPEN_ORDERS: Final = 5_000
MAX_SEEN_IDS: Final = 500

_RANK: Final = {"NEW": 0, "PENDING_CANCEL": 1, "PARTIALLY_FILLED": 1}


class Admitted(NamedTuple):
    """An event that may be published, its stable id, and the order state that it leads to (None for balances)."""

    event: AccountEvent
    event_id: str
    order: KnownOrder | None
    before: KnownOrder | None = None
    """What was known of the order until then."""


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The persisted form of a tracker."""

    live_until_ms: int
    stamp: int = 0
    """Rises with every save of the stream, whoever makes it: of two copies the one with the higher stamp is newer. The wall
    clock's ms, as far as that rises."""
    orders: list[KnownOrder] = []
    seen: list[str] = []
    holds: list[PositionKey] = []
    """Positions of the account that were told as open."""
    told: list[str] = []
    """Ids of the newest updates of such positions: at a hand-over both processes have seen them."""
    past_unknown: bool = False
    """The stream began with an unknown past, and no gap was read since: of what was open then `orders` holds only what was
    told later."""
    last_word: bool = False
    """Nothing was told after it: its process ended the stream in order. After a kill up to a second is missing, more if the
    process could not save."""


class OrderTracker:
    """One account's order states and recent message ids. I/O thread of the stream only."""

    __slots__ = (
        "_clients",
        "_exchange",
        "_finished",
        "_open",
        "_position_times",
        "_seen",
        "behind",
        "holdings",
        "past_unknown",
    )

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._open: OrderedDict[str, KnownOrder] = OrderedDict()
        self._clients: dict[tuple[str, str], str] = {}
        """Symbol and client id of every open order → its key."""
        self._finished: OrderedDict[str, KnownOrder] = OrderedDict()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._position_times: dict[str, int] = {}
        self.holdings = Holdings()
        self.past_unknown = False
        """See `Position`."""
        self.behind = False
        """More may have been told of the stream than is known here, and no gap was read since."""

    def admit(self, event: AccountEvent, *, repaired: bool = False, latest_ms: int = ANY_TIME) -> Admitted | None:
        """The event as it may be published now, or None if it is a repetition or older than what was published.

        `latest_ms`: no later time can be true. Balances that claim one are published and don't outdate the next ones.
        """
        if isinstance(event, ExecutionReport | OrderTradeUpdate):
            return self._admit_order(event)
        event_id = f"{self._exchange}:{event.unique_message_id}"
        if isinstance(event, PositionUpdate):
            # By its state, and not among the ids: those of balances would be forgotten sooner.
            if not self.holdings.admit(event):
                return None
            self.holdings.note(event_id)
            return Admitted(event, event_id, None)
        if isinstance(event, BalanceUpdate) and repaired:
            return None
        if event_id in self._seen:
            return None
        if isinstance(event, AccountPosition | AccountUpdate) and not repaired and self._outdated(event, latest_ms):
            return None
        self._seen[event_id] = None
        while len(self._seen) > MAX_SEEN_IDS:
            self._seen.popitem(last=False)
        return Admitted(event, event_id, None)

    def _admit_order(self, event: OrderEvent) -> Admitted | None:
        order = known_order(event)
        key = _key(order)
        known = self._open.get(key) or self._finished.get(key)
        event_id = f"{self._exchange}:{key}:{order.status}:{plain(decimal(order.executed).normalize())}"
        if known is not None:
            if known.terminal:
                return None
            executed, before = decimal(order.executed), decimal(known.executed)
            if executed < before:
                if not order.terminal:
                    return None
                event, order = _with_totals(event, order, known)
            elif executed == before and not order.terminal:
                if _RANK.get(order.status, 0) < _RANK.get(known.status, 0) or _same(order, known):
                    return None
                if order.status == known.status:
                    event_id += f":{order.client_order_id}:{plain(order.price)}:{plain(order.quantity)}"
            if not order.creation_time_ms:
                order = msgspec.structs.replace(order, creation_time_ms=known.creation_time_ms)
        self._remember(order)
        return Admitted(event, event_id, order, known)

    def take_back(self, admitted: Admitted) -> None:
        """Forget the newest event that was admitted: nobody took it, and a repair shall find it again."""
        if admitted.order is None:
            self._seen.pop(admitted.event_id, None)
            return
        key = _key(admitted.order)
        self._finished.pop(key, None)
        self._forget(key)
        if admitted.before is not None:
            self._remember(admitted.before)

    def fall_back(self, confirmed: OrderTracker) -> None:
        """Orders are where `confirmed` knows them. What was admitted since and is on its way comes again under its id, with
        what was lost. Changes of balances stay seen: no repair tells them."""
        self._open = confirmed._open.copy()
        self._finished = confirmed._finished.copy()
        self._clients = confirmed._clients.copy()
        self.behind = True

    def _remember(self, order: KnownOrder) -> None:
        key = _key(order)
        client = (order.symbol, order.client_order_id)
        before = self._clients.get(client, key)
        if before != key and (order.status == "FILLED" or not order.terminal):
            # Modified at a venue that places it anew: the client id goes on under another order id, the old one is gone.
            self._forget(before)
        if order.terminal:
            self._forget(key)
            self._finished[key] = order
            while len(self._finished) > MAX_FINISHED_ORDERS:
                self._finished.popitem(last=False)
            return
        known = self._open.get(key)
        if known is not None and known.client_order_id != order.client_order_id:
            # Renamed in place: another order may come under the old name.
            self._unname(known, key)
        self._open[key] = order
        if order.client_order_id:
            self._clients[client] = key
        while len(self._open) > MAX_OPEN_ORDERS:
            self._forget(next(iter(self._open)))

    def _forget(self, key: str) -> None:
        """An order is not open any more."""
        order = self._open.pop(key, None)
        if order is not None:
            self._unname(order, key)

    def _unname(self, order: KnownOrder, key: str) -> None:
        if self._clients.get((order.symbol, order.client_order_id)) == key:
            del self._clients[(order.symbol, order.client_order_id)]

    def _outdated(self, event: AccountPosition | AccountUpdate, latest_ms: int) -> bool:
        """Whether a late frame of an older connection would overwrite newer balances."""
        assets = [balance.asset for balance in event.balances]
        times = self._position_times
        if assets and all(event.event_time < times.get(asset, 0) for asset in assets):
            return True
        if event.event_time <= latest_ms:
            for asset in assets:
                times[asset] = max(event.event_time, times.get(asset, 0))
        return False

    def resume(self, since_ms: int) -> Resume:
        """Where gap repair starts."""
        return Resume(
            since_ms=since_ms,
            orders=(*self._open.values(), *self._finished.values()),
            holds=tuple(self.holdings.held()),
            past_unknown=self.past_unknown,
            behind=self.behind,
        )

    def load(self, position: Position) -> None:
        """Take over what another process (or an earlier life) published. States only move forward."""
        for order in position.orders:
            key = _key(order)
            known = self._open.get(key) or self._finished.get(key)
            if known is None or (
                not known.terminal and (order.terminal or decimal(order.executed) >= decimal(known.executed))
            ):
                self._remember(order)
        for event_id in position.seen:
            self._seen[event_id] = None
        self.holdings.load(position.holds)
        self.past_unknown = position.past_unknown
        self.behind = not position.last_word

    def confirm(self, event_id: str, order: KnownOrder | None) -> None:
        """Remember an event that another tracker admitted and the primary sink confirmed; `order` is what it tells."""
        if order is not None:
            self._remember(order)
            return
        self._seen[event_id] = None
        while len(self._seen) > MAX_SEEN_IDS:
            self._seen.popitem(last=False)

    def position(self, live_until_ms: int, *, stamp: int = 0, seen: int = 50, last_word: bool = False) -> Position:
        """The persisted form; `seen` = how many message ids it remembers (a hand-over needs all, a save each second few)."""
        return Position(
            live_until_ms=live_until_ms,
            stamp=stamp,
            orders=[*self._open.values(), *self._finished.values()],
            seen=list(self._seen)[-seen:],
            holds=self.holdings.held(),
            told=self.holdings.newest_ids(),
            past_unknown=self.past_unknown,
            last_word=last_word and not self.behind,
        )


def _key(order: KnownOrder) -> str:
    return ":".join(order_key(order.symbol, order.order_id, order.client_order_id))


def known_order(event: OrderEvent) -> KnownOrder:
    """The state of an order that an event tells."""
    if isinstance(event, OrderTradeUpdate):
        return KnownOrder(
            order_id=str(event.order_id),
            client_order_id=event.client_order_id,
            symbol=event.symbol,
            status=event.order_status,
            executed=event.total_trade_quantity,
            price=event.price,
            quantity=event.quantity,
            side=event.side,
            order_type=event.order_type,
            order_time_ms=event.order_time,
        )
    size, quote = carried(event.unique_message_id)
    return KnownOrder(
        order_id=str(event.order_id),
        client_order_id=client_id_of(event),
        symbol=event.symbol,
        status=event.order_status,
        executed=event.total_trade_quantity,
        executed_quote=event.total_quote_trade_quantity,
        price=event.price,
        quantity=event.quantity,
        side=event.side,
        order_type=event.order_type,
        order_time_ms=event.order_time,
        creation_time_ms=event.creation_time,
        carried=size,
        carried_quote=quote,
    )


def _same(order: KnownOrder, known: KnownOrder) -> bool:
    return (
        order.status == known.status
        and order.client_order_id == known.client_order_id
        and decimal(order.price) == decimal(known.price)
        and decimal(order.quantity) == decimal(known.quantity)
    )


def _with_totals(event: OrderEvent, order: KnownOrder, known: KnownOrder) -> tuple[OrderEvent, KnownOrder]:
    """A terminal event whose totals are short of what was published keeps the published totals: they never fall."""
    order = msgspec.structs.replace(order, executed=known.executed, executed_quote=known.executed_quote)
    if isinstance(event, OrderTradeUpdate):
        return msgspec.structs.replace(event, total_trade_quantity=known.executed), order
    event = msgspec.structs.replace(
        event, total_trade_quantity=known.executed, total_quote_trade_quantity=known.executed_quote
    )
    return event, order
