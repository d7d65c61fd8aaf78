"""What to read over REST after a reconnect, and how the answers become events (venue file, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._repair import Repaired
from exchanges.events import AccountEvent
from exchanges.hyperliquid._join import Join
from exchanges.hyperliquid._markets import dex_of
from exchanges.hyperliquid._orders import ALIVE, FILLED, Fill, Order, Update
from exchanges.hyperliquid._wire import Site, info, refusal_of

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
LIFE_LEAD_MS: Final = 1_000
RECENT_MS: Final = 60_000


class _Status(msgspec.Struct):
    status: str
    order: Update | None = None


class FillsOf(msgspec.Struct, frozen=True):
    """What a question about fills asked for. `update`: the filled order that it is about, if it is about one."""

    start_ms: int
    page: int = 1
    update: Update | None = None


decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
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

    def fills(self, start_ms: int, page: int = 1, update: Update | None = None, tag: str = "fills") -> Call:
        start_ms = max(0, start_ms)
        weight = FILLS_WEIGHT if page == 1 else LIST_WEIGHT + PAGE // 20
        context = FillsOf(start_ms, page, update)
        return self.ask(tag, weight, context, type="userFillsByTime", startTime=start_ms)

    def fills_of(self, update: Update, tag: str, *, whole_life: bool) -> Call:
        """The fills of one filled order: those of the last minutes, or of all its life."""
        lived = update.order.timestamp - LIFE_LEAD_MS
        recent = update.status_timestamp - RECENT_MS
        return self.fills(lived if whole_life else max(lived, recent), update=update, tag=tag)

    def more_fills(self, call: Call, rows: Sequence[Fill]) -> Call | None:
        """The next page, if there is one."""
        asked = call.context
        if not isinstance(asked, FillsOf) or len(rows) < PAGE or asked.page >= MAX_PAGES:
            return None
        last_ms = max(fill.time for fill in rows)
        # Fills of the last millisecond may go on there; a page full of one millisecond must not be asked for for ever.
        start_ms = last_ms if last_ms > asked.start_ms else asked.start_ms + 1
        return self.fills(start_ms, asked.page + 1, asked.update, call.tag)


def read_fills(body: bytes) -> tuple[list[Fill], int]:
    """The fills of an answer that can be read, and how many can't. Raises what `UNREADABLE` lists for another shape."""
    fills: list[Fill] = []
    bad = 0
    for row in decode_rows(body):
        try:
            fills.append(decode_fill(row))
        except UNREADABLE:
            bad += 1
    return fills, bad


class GapPlan:
    """The REST half of one account's gap. `first` → `parse` of every answer → `then` once all of a step is read."""

    def __init__(self, questions: Questions, join: Join, dexes: Callable[[], Sequence[str]]) -> None:
        self._questions, self._join, self._dexes = questions, join, dexes
        self.now = Instant(0.0, 0)
        self._since_ms = 0
        self._known: dict[str, KnownOrder] = {}
        self._seen: set[int] = set()
        """Orders that a list has shown, or whose state was asked for."""
        self._traded: dict[int, None] = {}
        self._used: set[str] = {""}
        self._late = 0
        self._steps: list[Callable[[], Sequence[Call]]] = []
        self._parsers: Mapping[str, Callable[[Call, Answer], Repaired]] = {
            "fills": self._fills,
            "open orders": self._open,
            "closed orders": self._closed,
            "order": self._single,
            "fills of an order": self._fills_of_one,
        }

    def first(self, resume: Resume, now: Instant) -> list[Call]:
        """Fills come first: every order state is priced with them."""
        self.now, self._since_ms = now, resume.since_ms
        self._known = {order.order_id: order for order in resume.orders}
        self._steps = [self._lists, self._singles]
        return [self._questions.fills(resume.since_ms - OVERLAP_MS)]

    def then(self) -> Sequence[Call]:
        while self._steps:
            calls = self._steps.pop(0)()
            if calls:
                return calls
        return ()

    def given_up(self, call: Call) -> Sequence[AccountEvent]:
        """A filled order is told in any case."""
        asked = call.context
        update = asked.update if isinstance(asked, FillsOf) else None
        return [self._join.finish(update)] if update is not None else []

    def parse(self, call: Call, answer: Answer) -> Repaired:
        refusal = refusal_of(answer)
        if refusal:
            return self._without(call, refusal)
        try:
            return self._parsers[call.tag](call, answer)
        except UNREADABLE as error:
            return self._without(call, str(error)[:100])

    def _without(self, call: Call, reason: str) -> Repaired:
        return Repaired(events=self.given_up(call), missing=[f"{call.tag}: {reason}"])

    # --- steps ---

    def _lists(self) -> Sequence[Call]:
        """Open orders are listed by dex: the native one with spot, and those where this account is known to trade."""
        self._used = {"", *({dex_of(order.symbol) for order in self._known.values()} & set(self._dexes()))}
        return [
            *(self._open_on(dex) for dex in sorted(self._used)),
            self._questions.ask("closed orders", HISTORY_WEIGHT, type="historicalOrders"),
        ]

    def _open_on(self, dex: str) -> Call:
        return self._questions.ask("open orders", LIST_WEIGHT, dex, type="frontendOpenOrders", dex=dex)

    def _singles(self) -> Sequence[Call]:
        """Orders that traded in the gap, or that we believed open, and that no list has shown."""
        open_ids = [int(key) for key, order in self._known.items() if not order.terminal and key.isdecimal()]
        wanted = [oid for oid in dict.fromkeys((*open_ids, *self._traded)) if oid not in self._seen]
        return [
            self._questions.ask("order", SINGLE_WEIGHT, oid, type="orderStatus", oid=oid)
            for oid in wanted[:MAX_SINGLES]
        ]

    # --- answers ---

    def _fills(self, call: Call, answer: Answer) -> Repaired:
        fills, bad = read_fills(answer.body)
        events = self._join.fills(fills, self.now)
        # Foreign orders (TWAP slices, liquidations) have no client id, and no event.
        self._traded.update((fill.oid, None) for fill in fills if fill.cloid and fill.time >= self._since_ms)
        more = self._questions.more_fills(call, fills)
        missing = [f"{bad} fills that can't be read"] if bad else []
        if more is None and len(fills) >= PAGE:
            missing.append(f"fills: more than {MAX_PAGES * PAGE}")
        return Repaired(events=events, calls=[more] if more else [], missing=missing)

    def _open(self, call: Call, answer: Answer) -> Repaired:
        events: list[AccountEvent] = []
        missing: list[str] = []
        for row in decode_rows(answer.body):
            try:
                order = _decode_order(row)
            except UNREADABLE as error:
                missing.append(f"{call.tag}: an order that can't be read: {error}"[:150])
                continue
            self._seen.add(order.oid)
            known = self._known.get(str(order.oid))
            moment = max(order.timestamp, self._join.last_fill_ms(order), known.order_time_ms if known else 0)
            update = Update(order=order, status="open", status_timestamp=moment)
            if order.cloid and self._is_news(update, known):
                events.append(self._join.event(update))
        return Repaired(events=events, missing=missing)

    def _is_news(self, update: Update, known: KnownOrder | None) -> bool:
        if known is None:
            # An order that ended shortly before may still have waited for its fills when the connection was lost.
            return update.status_timestamp >= self._since_ms - (0 if update.status in ALIVE else OVERLAP_MS)
        if known.terminal:
            return False
        return update.status not in ALIVE or update.executed != decimal(known.executed)

    def _closed(self, call: Call, answer: Answer) -> Repaired:
        """The same order may stand here once per status; the last one counts."""
        newest: dict[int, Update] = {}
        missing: list[str] = []
        rows = decode_rows(answer.body)
        oldest = self.now.wall_ms
        for row in rows:
            try:
                update = decode_update(row)
            except UNREADABLE as error:
                missing.append(f"{call.tag}: an order that can't be read: {error}"[:150])
                continue
            oldest = min(oldest, update.status_timestamp)
            before = newest.get(update.order.oid)
            if before is None or _rank(update) >= _rank(before):
                newest[update.order.oid] = update
        if len(rows) >= HISTORY and oldest > self._since_ms:
            missing.append("closed orders: more than the venue lists")
        events: list[AccountEvent] = []
        calls: list[Call] = []
        for update in newest.values():
            if update.status not in ALIVE:
                self._told(update, events, calls)
            elif dex_of(update.order.coin) not in self._used and update.status_timestamp >= self._since_ms:
                self._traded[update.order.oid] = None  # new on a dex whose open orders were not listed
        return Repaired(events=events, calls=calls, missing=missing)

    def _single(self, call: Call, answer: Answer) -> Repaired:
        found = _decode_status(answer.body)
        if found.order is None:
            if call.attempt < UNKNOWN_TRIES:
                return Repaired(retry=True, retry_after_s=float(call.attempt))
            return Repaired(missing=[f"order {call.context}: not known to the venue"])
        events: list[AccountEvent] = []
        calls: list[Call] = []
        self._told(found.order, events, calls)
        return Repaired(events=events, calls=calls)

    def _told(self, update: Update, events: list[AccountEvent], calls: list[Call]) -> None:
        """An order's state of now: its event, or the question that it still needs."""
        self._seen.add(update.order.oid)
        known = self._known.get(str(update.order.oid))
        if not update.order.cloid or self._join.is_done(update) or not self._is_news(update, known):
            return
        if update.status != FILLED or self._join.complete(update):
            events.append(self._join.finish(update) if update.status == FILLED else self._join.event(update))
            return
        self._late += 1
        if self._late > MAX_LATE:
            events.append(self._join.finish(update))
            return
        calls.append(self._questions.fills_of(update, "fills of an order", whole_life=True))

    def _fills_of_one(self, call: Call, answer: Answer) -> Repaired:
        """Page by page until the order is explained; then as it is."""
        asked = call.context
        update = asked.update if isinstance(asked, FillsOf) else None
        fills, _ = read_fills(answer.body)
        events = self._join.fills(fills, self.now)
        if update is None or self._join.is_done(update):
            return Repaired(events=events)
        more = self._questions.more_fills(call, fills)
        if more is not None and not self._join.complete(update):
            return Repaired(events=events, calls=[more])
        missing = [] if self._join.complete(update) else [f"order {update.order.oid}: some of its fills"]
        return Repaired(events=[*events, self._join.finish(update)], missing=missing)


def _rank(update: Update) -> tuple[int, bool]:
    return update.status_timestamp, update.status not in ALIVE
