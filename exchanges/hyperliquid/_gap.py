"""What to read over REST after a reconnect, and how the answers become events (docs/venues/hyperliquid.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps, not_known, once
from exchanges._repair import Repaired
from exchanges._rows import Odd, read_rows
from exchanges.events import AccountEvent
from exchanges.hyperliquid._errors import refusal_of
from exchanges.hyperliquid._hosts import Site, info
from exchanges.hyperliquid._join import LIFE_LEAD_MS, Ask, Join
from exchanges.hyperliquid._orders import ALIVE, FILLED, MODIFIABLE_END, Fill, Order, Update, odd
from exchanges.hyperliquid._symbols import dex_of, market_of

OVERLAP_MS: Final = 60_000
"""A filled order may have waited this long for its fills when the connection ended."""
PAGE: Final = 2_000
"""Fills of one answer, oldest first."""
MAX_PAGES: Final = 5
"""The venue keeps the latest 10,000 fills of an account."""
HISTORY: Final = 2_000
"""Orders of the one answer about closed ones."""
MAX_SINGLES: Final = 150
MAX_LATE: Final = 30
"""Filled orders of one repair whose whole life is read."""
UNKNOWN_TRIES: Final = 3
"""An order may be unknown for a second or two after it was placed."""
FILLS_WEIGHT: Final = 25
"""20, and 1 for each 20 rows: a gap has few."""
HISTORY_WEIGHT: Final = 120
LIST_WEIGHT: Final = 20
SINGLE_WEIGHT: Final = 2


class _Status(msgspec.Struct):
    status: str
    order: Update | None = None


class FillsOf(msgspec.Struct, frozen=True):
    """What a question about fills asked for. `update`: the filled order that it is about, if it is about one."""

    start_ms: int
    page: int = 1
    update: Update | None = None


decode_update: Final = msgspec.json.Decoder(Update).decode
decode_fill: Final = msgspec.json.Decoder(Fill).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_status = msgspec.json.Decoder(_Status).decode


class Questions:
    """The REST questions about one account."""

    def __init__(self, site: Site, address: str, stream_id: str) -> None:
        self._site, self._address, self._stream_id = site, address, stream_id

    def ask(self, tag: str, weight: int, context: object = None, **fields: object) -> Call:
        body = {"type": fields.pop("type"), "user": self._address, **fields}
        call = info(self._site, tag, weight, body, context)
        return msgspec.structs.replace(call, stream_id=self._stream_id)

    def role(self) -> Call:
        return self.ask("role", 60, type="userRole")

    def order(self, oid: int | str, tag: str = "order", context: object = None) -> Call:
        """The state of one order, or of the order that holds a client id."""
        return self.ask(tag, SINGLE_WEIGHT, context or oid, type="orderStatus", oid=oid)

    def open_orders(self, dex: str, tag: str = "open orders", context: object = None) -> Call:
        """Those of a builder dex, or of the native one and spot."""
        return self.ask(tag, LIST_WEIGHT, context or dex, type="frontendOpenOrders", dex=dex)

    def fills(self, start_ms: int, page: int = 1, update: Update | None = None, tag: str = "fills") -> Call:
        start_ms = max(0, start_ms)
        weight = FILLS_WEIGHT if page == 1 else LIST_WEIGHT + PAGE // 20
        context = FillsOf(start_ms, page, update)
        return self.ask(tag, weight, context, type="userFillsByTime", startTime=start_ms)

    def fills_of(self, ask: Ask, tag: str) -> Call:
        """The fills of one filled order."""
        return self.fills(ask.from_ms, update=ask.update, tag=tag)

    def more_fills(self, call: Call, rows: Sequence[Fill], bad: int = 0) -> Call | None:
        """The next page, if there is one; `bad` rows of this one could not be read."""
        asked = call.context
        if not isinstance(asked, FillsOf) or not rows or len(rows) + bad < PAGE or asked.page >= MAX_PAGES:
            return None
        last_ms = max(fill.time for fill in rows)
        # Fills of the last millisecond may go on there; a page full of one millisecond must not be asked for for ever.
        start_ms = last_ms if last_ms > asked.start_ms else asked.start_ms + 1
        return self.fills(start_ms, asked.page + 1, asked.update, call.tag)


def read_fills(body: bytes) -> tuple[list[Fill], Odd]:
    """The fills of an answer that can be read. Raises what `UNREADABLE` lists for another shape."""
    return read_rows(body, decode_fill)


def read_status(body: bytes) -> Update | None:
    """The state of an order; None if the venue does not know it. Raises what `UNREADABLE` lists for another shape."""
    return _decode_status(body).order


def read_open(body: bytes) -> tuple[list[Order], Odd]:
    return read_rows(body, _decode_order)


class GapPlan:
    """The REST half of one account's gap. `first` → `parse` of every answer → `then` once all of a step is read.

    Orders of the other market are somebody else's: both ids of an address see every order.
    """

    def __init__(self, questions: Questions, join: Join, exchange: str, dexes: Callable[[], Sequence[str]]) -> None:
        self._questions, self._join, self._exchange, self._dexes = questions, join, exchange, dexes
        self._since_ms = 0
        self._known: dict[str, KnownOrder] = {}
        self._rows: dict[int, Update] = {}
        """What the lists show, before anything of it is told: a modify stands in two of them."""
        self._lists_told = False
        self._read_dexes: set[str] = set()
        self._resting: set[int] = set()
        """Orders in a list of open ones."""
        self._seen: set[int] = set()
        """Orders that a list has shown, or whose state was asked for."""
        self._traded: dict[int, None] = {}
        self._late = 0
        self._steps = Steps()
        self._parsers: Mapping[str, Callable[[Call, Answer, Instant], Repaired]] = {
            "fills": self._fills,
            "open orders": self._open,
            "closed orders": self._closed,
            "order": self._single,
            "order of a client id": self._heir,
            "fills of an order": self._fills_of_one,
        }

    def first(self, resume: Resume) -> list[Call]:
        """Fills come first: every order state is priced with them."""
        self._since_ms = resume.since_ms
        self._known = {order.order_id: order for order in resume.orders}
        singles = Singles(self._unseen, lambda oids: [self._questions.order(oid) for oid in oids], most=MAX_SINGLES)
        self._steps = Steps(once(self._ask_lists), self._tell_lists, singles)
        return [self._questions.fills(resume.since_ms - OVERLAP_MS)]

    def then(self, now: Instant) -> Repaired:
        return self._steps.then(now)

    def given_up(self, call: Call, now: Instant) -> Sequence[AccountEvent]:
        """A filled order is told in any case, and what the other lists have shown."""
        asked = call.context
        if isinstance(asked, FillsOf) and asked.update is not None:
            return [self._join.finish(asked.update)]
        if call.tag not in ("open orders", "closed orders"):
            return []
        told = self._tell_lists(now)
        asked_for = (one.context for one in told.calls)
        filled = [one.update for one in asked_for if isinstance(one, FillsOf) and one.update is not None]
        return [*told.events, *(self._join.finish(update) for update in filled)]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        refusal = refusal_of(answer)
        if refusal:
            return self._without(call, refusal)
        try:
            return self._parsers[call.tag](call, answer, now)
        except UNREADABLE as error:
            return self._without(call, str(error)[:100])

    def _without(self, call: Call, reason: str) -> Repaired:
        asked = call.context
        update = asked.update if isinstance(asked, FillsOf) else None
        events = [self._join.finish(update)] if update is not None else []
        what = call.tag
        if call.tag == "order":
            what = f"order {call.context}"
        elif isinstance(call.context, Update):
            what = f"order {call.context.order.oid}, whether it was modified"
        return Repaired(events=events, missing=[f"{what}: {reason}"])

    def _own(self, coin: str) -> bool:
        return market_of(coin) == self._exchange

    # --- the lists ---

    def _ask_lists(self, _now: Instant) -> Repaired:
        """Open orders are listed by dex: the native one with spot, and those where this account is known to trade."""
        used = {dex_of(order.symbol) for order in self._known.values()} & set(self._dexes())
        lists = [self._questions.open_orders(dex) for dex in sorted({"", *used})]
        closed = self._questions.ask("closed orders", HISTORY_WEIGHT, type="historicalOrders")
        return Repaired(calls=[*lists, closed])

    def _open(self, call: Call, answer: Answer, _now: Instant) -> Repaired:
        orders, bad = read_open(answer.body)
        self._read_dexes.add(str(call.context))
        for order in orders:
            known = self._known.get(str(order.oid))
            moment = max(order.placed_ms, self._join.last_fill_ms(order), known.order_time_ms if known else 0)
            before = self._rows.get(order.oid)
            if self._own(order.coin) and (before is None or before.status in ALIVE):
                self._rows[order.oid] = Update(order=order, status="open", status_timestamp=moment)
                self._resting.add(order.oid)
        return Repaired(missing=[bad.phrase("open orders")] if bad else [])

    def _closed(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """The same order may stand here once per status; the last one counts."""
        updates, bad = read_rows(answer.body, decode_update)
        missing = [bad.phrase("closed orders")] if bad else []
        oldest = min((update.moment_ms for update in updates), default=now.wall_ms)
        if len(updates) + bad.number >= HISTORY and oldest > self._since_ms:
            missing.append("closed orders: more than the venue lists")
        for update in updates:
            self._note_past(update)
        return Repaired(missing=missing)

    def _note_past(self, update: Update) -> None:
        """Of several states of an order the newest one; an end is one in any case, and open lists know open orders best."""
        order, before = update.order, self._rows.get(update.order.oid)
        if not self._own(order.coin) or (update.status in ALIVE and order.oid in self._resting):
            return
        if before is None or _rank(update) >= _rank(before):
            self._rows[order.oid] = update

    def _tell_lists(self, _now: Instant) -> Repaired:
        if self._lists_told:
            return Repaired()
        self._lists_told = True
        rows = [self._rows[oid] for oid in sorted(self._rows)]
        self._join.learn(
            row for row in rows if not odd(row) and (row.status not in ALIVE or row.order.oid in self._resting)
        )
        told = _Told([], [], [])
        for update in rows:
            if update.status in ALIVE and update.order.oid not in self._resting:
                unread = dex_of(update.order.coin) not in self._read_dexes
                if unread and update.moment_ms >= self._since_ms:
                    self._traded[update.order.oid] = None  # new on a dex whose open orders were not listed
                continue
            self._tell(update, told)
        return told.repaired()

    # --- single orders ---

    def _unseen(self) -> list[int]:
        """Orders that traded in the gap, or that we believed open, and that no list has shown."""
        open_ids = [
            int(key)
            for key, order in self._known.items()
            if not order.terminal and key.isdecimal() and not self._join.clients.superseded(order)
        ]
        return [oid for oid in dict.fromkeys((*open_ids, *self._traded)) if oid not in self._seen]

    def _fills(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        fills, bad = read_fills(answer.body)
        own = [fill for fill in fills if self._own(fill.coin)]
        events = self._join.fills(own, now)
        # Foreign orders (TWAP slices, liquidations) have no client id, and no event.
        self._traded.update((fill.oid, None) for fill in own if fill.cloid and fill.time >= self._since_ms)
        more = self._questions.more_fills(call, fills, bad.number)
        missing = [bad.phrase("fills")] if bad else []
        if more is None and len(fills) + bad.number >= PAGE:
            missing.append(f"fills: more than {MAX_PAGES * PAGE}")
        return Repaired(events=events, calls=[more] if more else [], missing=missing)

    def _single(self, call: Call, answer: Answer, _now: Instant) -> Repaired:
        found = read_status(answer.body)
        if found is None:
            if call.attempt < UNKNOWN_TRIES:
                return Repaired(retry=True, retry_after_s=float(call.attempt))
            return Repaired(missing=[not_known(call.context)])
        told = _Told([], [], [])
        if self._own(found.order.coin):
            if not odd(found):
                self._join.learn([found])
            self._tell(found, told)
        return told.repaired()

    def _heir(self, call: Call, answer: Answer, _now: Instant) -> Repaired:
        """What holds the client id of a cancelled order now."""
        update = call.context
        found = read_status(answer.body)
        told = _Told([], [], [])
        if found is not None and found.order.oid not in self._seen and not odd(found):
            self._join.learn([found])
            self._tell(found, told)
        if isinstance(update, Update) and not self._join.clients.goes_on(update):
            told.events.append(self._join.event(update))
        return told.repaired()

    # --- telling ---

    def _is_news(self, update: Update, known: KnownOrder | None) -> bool:
        if known is None:
            # An order that ended shortly before may still have waited for its fills when the connection was lost.
            return update.moment_ms >= self._since_ms - (0 if update.status in ALIVE else OVERLAP_MS)
        if known.terminal:
            return False
        total = self._join.past(update).before.size + update.executed
        return update.status not in ALIVE or total != decimal(known.executed)

    def _tell(self, update: Update, told: _Told) -> None:
        """An order's state of now: its event, or the question that it still needs."""
        order = update.order
        self._seen.add(order.oid)
        if not order.cloid or self._join.is_done(update):
            return
        known = self._known.get(str(order.oid))
        reason = odd(update)
        if reason:
            if known is None or not known.terminal:
                told.missing.append(f"order {order.oid}: {reason}")
            return
        if not self._is_news(update, known):
            return
        if update.status == FILLED:
            self._tell_filled(update, told)
        elif update.status in ALIVE:
            if not self._join.clients.is_past(order):
                told.events.append(self._join.event(update))
        elif not self._join.clients.goes_on(update):
            if update.status == MODIFIABLE_END and dex_of(order.coin) not in self._read_dexes:
                told.calls.append(self._questions.order(order.cloid, "order of a client id", update))
            else:
                told.events.append(self._join.event(update))

    def _tell_filled(self, update: Update, told: _Told) -> None:
        if self._join.complete(update):
            told.events.append(self._join.finish(update))
            return
        self._late += 1
        if self._late > MAX_LATE:
            told.events.append(self._join.finish(update))
            told.missing.append(f"order {update.order.oid}: some of its fills")
            return
        ask = Ask(update, self._join.first_ms(update) - LIFE_LEAD_MS)
        told.calls.append(self._questions.fills_of(ask, "fills of an order"))

    def _fills_of_one(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """Page by page until the order is explained; then as it is."""
        asked = call.context
        update = asked.update if isinstance(asked, FillsOf) else None
        fills, bad = read_fills(answer.body)
        events = self._join.fills([fill for fill in fills if self._own(fill.coin)], now)
        if update is None or self._join.is_done(update):
            return Repaired(events=events)
        more = self._questions.more_fills(call, fills, bad.number)
        if more is not None and not self._join.complete(update):
            return Repaired(events=events, calls=[more])
        missing = [] if self._join.complete(update) else [f"order {update.order.oid}: some of its fills"]
        return Repaired(events=[*events, self._join.finish(update)], missing=missing)


class _Told(NamedTuple):
    """What becomes of orders: their events, further questions, and what can't be told."""

    events: list[AccountEvent]
    calls: list[Call]
    missing: list[str]

    def repaired(self) -> Repaired:
        return Repaired(events=self.events, calls=self.calls, missing=self.missing)


def _rank(update: Update) -> tuple[bool, int]:
    return update.status not in ALIVE, update.moment_ms
