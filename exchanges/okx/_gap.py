"""What to read over REST after a reconnect, and how the answers become events (docs/venues/okx.md, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, ClockOffset, FailKind, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps
from exchanges._repair import Repaired
from exchanges._rows import read_rows
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.instruments import Instrument, SymbolTable
from exchanges.okx._errors import FIRST_WAIT_S, ORDER_UNKNOWN, envelope_of, failure_of, time_of
from exchanges.okx._hosts import time_call
from exchanges.okx._orders import Account, Order, account_position, execution_report, unclear

PAGE: Final = 100
MAX_PAGES: Final = 20
"""Of one list. What lies deeper is found by its fills, or asked for by its id."""
MAX_SINGLES: Final = 150
DAY_MS: Final = 86_400_000
FILLS_KEPT_MS: Final = 3 * DAY_MS
HISTORY_KEPT_MS: Final = 7 * DAY_MS
ARCHIVE_KEPT_MS: Final = 90 * DAY_MS


class _Fill(msgspec.Struct, rename="camel"):
    inst_id: str
    ord_id: str
    bill_id: str | None = ""


class Context(msgspec.Struct, frozen=True):
    """What a call asked for: path and parameters without the cursor, pages before it, and the order if it is about one."""

    path: str
    params: tuple[tuple[str, str], ...]
    page: int = 1
    order_id: str = ""


_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_fill = msgspec.json.Decoder(_Fill).decode
_decode_account = msgspec.json.Decoder(Account).decode


class GapPlan:
    """The REST half of one account's gap. `first` → `parse` of every answer → `then` once all is read."""

    def __init__(
        self,
        rest: str,
        kinds: tuple[str, ...],
        table: Callable[[], SymbolTable],
        belongs: Callable[[Order], bool],
        clock_told: Callable[[int, Instant], ClockOffset],
        stream_id: str,
    ) -> None:
        self._rest, self._kinds, self._table, self._belongs = rest, kinds, table, belongs
        self._clock_told, self._stream_id = clock_told, stream_id
        self._begun_ms = 0
        self._resume = Resume(since_ms=0)
        self._known: dict[str, KnownOrder] = {}
        self._seen: dict[str, tuple[int, str, str]] = {}
        self._wires: dict[str, str] = {}
        self.then = Steps(self._unnamed, Singles(self._unseen, self._asked, most=MAX_SINGLES)).then

    def first(self, resume: Resume, now: Instant) -> list[Call]:
        """The lists. Each is read newest first."""
        self._resume, self._begun_ms = resume, now.wall_ms
        self._known = {order.order_id: order for order in resume.orders}
        age_ms = now.wall_ms - resume.since_ms
        calls: list[Call] = []
        for kind in self._kinds:
            which = (("instType", kind),)
            calls.append(self._call("open orders", "trade/orders-pending", (*which, ("limit", str(PAGE)))))
            calls.append(self._call("closed orders", "trade/orders-history", (*which, ("limit", str(PAGE)))))
            if age_ms > HISTORY_KEPT_MS:
                calls.append(
                    self._call("archived orders", "trade/orders-history-archive", (*which, ("limit", str(PAGE))))
                )
            begin = max(resume.since_ms, now.wall_ms - FILLS_KEPT_MS)
            calls.append(self._call("fills", "trade/fills", (*which, ("begin", str(begin)), ("limit", str(PAGE)))))
        return [*calls, self.balance()]

    def balance(self) -> Call:
        """All balances of the account."""
        return self._call("balances", "account/balance", ())

    def _unseen(self) -> Sequence[tuple[str, str]]:
        """(order id, wire code) of orders that had fills, or that we believed open, and that no list has shown."""
        wanted = {order_id: wire for order_id, wire in self._wires.items() if order_id not in self._seen}
        for order in self._open_before():
            wire = self._wire(order.symbol)
            if wire is not None:
                wanted.setdefault(order.order_id, wire)
        return list(wanted.items())

    def _open_before(self) -> list[KnownOrder]:
        return [order for order in self._known.values() if not order.terminal and order.order_id not in self._seen]

    def _unnamed(self, _now: Instant) -> Repaired:
        """Orders that can't be asked for: the code of their contract has a date, and no list tells it yet."""
        names = [order.order_id for order in self._open_before() if self._wire(order.symbol) is None]
        return Repaired(missing=[f"order {name}: its contract is in no list yet" for name in names])

    def _asked(self, orders: Sequence[tuple[str, str]]) -> Sequence[Call]:
        return [self.order(wire, order_id) for order_id, wire in orders]

    def order(self, wire: str, order_id: str) -> Call:
        """One order by its id."""
        return self._call("order", "trade/order", (("instId", wire), ("ordId", order_id)), order_id)

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        if call.tag == "time":
            return self._clock(answer, now)
        failure = failure_of(answer)
        envelope = envelope_of(answer)
        if failure is not None or envelope is None:
            if failure is not None and failure.code == ORDER_UNKNOWN and call.tag == "order":
                return self._vanished(_context(call).order_id)
            if failure is not None and failure.clock:
                return Repaired(retry=True, calls=(time_call(self._rest),))
            if failure is not None and failure.kind in (FailKind.RATE_LIMITED, FailKind.TRANSIENT):
                wait_s = FIRST_WAIT_S * 2 ** (call.attempt - 1) if failure.kind is FailKind.RATE_LIMITED else None
                return Repaired(retry=True, retry_after_s=wait_s)
            return Repaired(missing=(f"{call.tag}: {failure.reason if failure else 'unreadable answer'}",))
        try:
            if call.tag == "balances":
                return self.balances(envelope.data)
            if call.tag == "fills":
                return self._fills(call, envelope.data)
            return self._orders(call, envelope.data)
        except (*UNREADABLE, ValueError) as error:
            return Repaired(missing=(f"{call.tag}: {error}",))

    def balances(self, data: msgspec.Raw) -> Repaired:
        """One event with everything that is not zero, and zero for what the known orders traded and is gone by now."""
        accounts, odd = read_rows(data, _decode_account)
        missing = [odd.phrase("accounts")] if odd else []
        traded = [
            asset
            for order in self._known.values()
            if (found := self._table().pair(order.symbol)) is not None
            for asset in _assets(found)
        ]
        events: list[AccountEvent] = []
        for account in accounts[:1]:
            event, odd = account_position(account, traded)
            events += [event] if event is not None else []
            missing += [odd.phrase("balances")] if odd else []
        return Repaired(events=events, missing=missing)

    # --- answers ---

    def _clock(self, answer: Answer, now: Instant) -> Repaired:
        venue_ms = time_of(answer)
        return Repaired(outputs=(self._clock_told(venue_ms, now),) if venue_ms is not None else ())

    def _orders(self, call: Call, data: msgspec.Raw) -> Repaired:
        raws = _decode_rows(data)
        events: list[AccountEvent] = []
        missing: list[str] = []
        newest, last_id = 0, ""
        for raw in raws:
            try:
                order = _decode_order(raw)
                updated = int(order.u_time)
            except (*UNREADABLE, ValueError) as error:
                missing.append(f"{call.tag}: an order that can't be read: {error}")
                continue
            newest, last_id = max(newest, updated), order.ord_id
            if not self._belongs(order):
                continue
            if reason := unclear(order):
                self._seen[order.ord_id] = (updated, order.state, order.acc_fill_sz or "")
                missing.append(f"order {order.ord_id}: {reason}")
                continue
            try:
                events.extend(self._changed(order, updated, asked=call.tag == "order"))
            except ValueError as error:
                missing.append(f"order {order.ord_id} can't be read: {error}")
        if call.tag == "order" or len(raws) < PAGE or not last_id:
            return Repaired(events=events, missing=missing)
        # Sorted by id, so an old order that ended in the gap may stand below a page without any news: `then` finds it.
        if call.tag != "open orders" and newest < self._resume.since_ms:
            return Repaired(events=events, missing=missing)
        return self._more(call, last_id, events, missing)

    def _changed(self, order: Order, updated: int, *, asked: bool) -> list[AccountEvent]:
        """The event of an order state that is news: changed in the gap, or other than what was published last."""
        seen = self._seen.get(order.ord_id)
        identity = (updated, order.state, order.acc_fill_sz or "")
        if seen is not None and (identity == seen or updated < seen[0]):
            return []
        self._seen[order.ord_id] = identity
        event = execution_report(order)
        known = self._known.get(order.ord_id)
        if known is None:
            return [event] if asked or updated >= self._resume.since_ms else []
        return [] if known.terminal or _same(event, known) else [event]

    def _fills(self, call: Call, data: msgspec.Raw) -> Repaired:
        fills, odd = read_rows(data, _decode_fill)
        self._wires.update({fill.ord_id: fill.inst_id for fill in fills})
        missing = [odd.phrase("fills")] if odd else []
        if _context(call).page == 1 and self._begun_ms - self._resume.since_ms > FILLS_KEPT_MS:
            missing.append("fills older than three days")
        last = next((fill.bill_id for fill in reversed(fills) if fill.bill_id), None)
        if len(fills) + odd.number < PAGE or not last:
            return Repaired(missing=missing)
        return self._more(call, last, [], missing)

    def _more(self, call: Call, after: str, events: list[AccountEvent], missing: list[str]) -> Repaired:
        context = _context(call)
        if context.page >= MAX_PAGES:
            missing.append(f"{call.tag}: more than {MAX_PAGES * PAGE}")
            return Repaired(events=events, missing=missing)
        following = msgspec.structs.replace(context, page=context.page + 1)
        url = f"{self._rest}/api/v5/{context.path}?{urlencode((*context.params, ('after', after)))}"
        call = Call(tag=call.tag, method="GET", url=url, stream_id=self._stream_id, context=following)
        return Repaired(events=events, calls=[call], missing=missing)

    def _vanished(self, order_id: str) -> Repaired:
        """The venue forgets orders that were cancelled without a fill after two hours. Anything else it would still know."""
        known = self._known.get(order_id)
        if known is None:
            return Repaired(missing=(f"order {order_id}: not known to the venue any more",))
        if decimal(known.executed) or self._begun_ms - self._resume.since_ms > FILLS_KEPT_MS:
            return Repaired(missing=(f"order {order_id}: its end is not known to the venue any more",))
        return Repaired(events=[_canceled(known, self._begun_ms)])

    # --- helpers ---

    def _wire(self, pair: str) -> str | None:
        """The venue's code of a pair id; None for an X-Perp that no list names: its code has a date."""
        instrument = self._table().pair(pair)
        if instrument is not None:
            return instrument.wire
        if "_XPERP" in pair:
            return None
        return pair if self._kinds == ("SPOT",) else f"{pair}-SWAP"

    def _call(self, tag: str, path: str, params: tuple[tuple[str, str], ...], order_id: str = "") -> Call:
        query = f"?{urlencode(params)}" if params else ""
        return Call(
            tag=tag,
            method="GET",
            url=f"{self._rest}/api/v5/{path}{query}",
            stream_id=self._stream_id,
            context=Context(path, params, order_id=order_id),
        )


def _context(call: Call) -> Context:
    return call.context if isinstance(call.context, Context) else Context("", ())


def _assets(instrument: Instrument) -> tuple[str, ...]:
    """The currencies that trading an instrument changes."""
    if instrument.kind == "spot":
        return tuple(asset for asset in (instrument.base, instrument.quote) if asset)
    return (instrument.settle,) if instrument.settle else ()


def _same(event: ExecutionReport, known: KnownOrder) -> bool:
    return (
        event.order_status == known.status
        and decimal(event.total_trade_quantity) == decimal(known.executed)
        and decimal(event.price) == decimal(known.price)
        and decimal(event.quantity) == decimal(known.quantity)
    )


def _canceled(known: KnownOrder, now_ms: int) -> ExecutionReport:
    return ExecutionReport(
        symbol=known.symbol,
        new_client_order_id=known.client_order_id,
        original_client_order_id=known.client_order_id,
        order_id=known.order_id,
        order_status="CANCELED",
        order_type=known.order_type or "LIMIT",
        side=known.side or "BUY",
        price=known.price,
        quantity=known.quantity,
        total_trade_quantity="0",
        total_quote_trade_quantity="0",
        creation_time=known.creation_time_ms or known.order_time_ms,
        event_time=now_ms,
        order_time=now_ms,
        unique_message_id=f"{known.order_id}:vanished",
        liquidation=False,
    )
