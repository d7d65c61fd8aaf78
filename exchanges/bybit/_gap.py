"""What to read over REST after a reconnect, and how the answers become events (docs/venues/bybit.md, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, Resume
from exchanges._frames import UNREADABLE
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.bybit._errors import envelope_of, failure_of, wait_of
from exchanges.bybit._orders import (
    UNIFIED_2,
    Order,
    account_position,
    account_type,
    decode_order,
    decode_wallet,
    execution_report,
    unclear,
)
from exchanges.events import AccountEvent
from exchanges.instruments import SymbolTable

PAGE: Final = 50
RECENT_LIMIT: Final = 500
"""The realtime list keeps this many closed orders of a category."""
DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 7 * DAY_MS
"""Longest span of one history or execution query."""
MAX_SINGLES: Final = 100
"""Orders asked for by id: up to three calls each, and the venue takes 50 a second of one account and path."""
SINGLES_AT_ONCE: Final = 20
_SETTLE_COINS: Final = {"linear": ("USDT", "USDC")}
"""The realtime list of linear orders needs a filter."""
_NOT_ORDERS: Final = frozenset({"Funding", "Settle", "Delivery", "SessionSettlePnL", "MovePosition", "CorporateAction"})
"""Kinds of executions behind which there is no order (enum page, 2026-07-23)."""


class _Page(msgspec.Struct, rename="camel"):
    rows: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="list")
    next_page_cursor: str | None = ""


class _Execution(msgspec.Struct, rename="camel"):
    order_id: str = ""
    exec_type: str = ""


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_execution = tolerant(_Execution)


class Context(msgspec.Struct, frozen=True):
    """What a call asked for: the parameters without a cursor, and the order if it was about one."""

    params: tuple[tuple[str, str], ...]
    order_id: str = ""
    client_id: str = ""


class GapPlan:
    """The REST half of one account's gap. `first` → `parse` of every answer → `then` once all is read."""

    def __init__(self, rest: str, category: str, table: SymbolTable, stream_id: str) -> None:
        self.account_type = account_type(category, UNIFIED_2)
        """Whose wallet is read; set once the account's mode is known."""
        self._rest = rest
        self._category = category
        self._table = table
        self._stream_id = stream_id
        self._since_ms = 0
        self._begun_ms = 0
        self._resume = Resume(since_ms=0)
        self._seen: dict[str, str] = {}
        self._executed: dict[str, None] = {}
        self._recent = 0
        self._history_asked = False
        self.then = Steps(Singles(self._unseen, self._singles, most=MAX_SINGLES, step=SINGLES_AT_ONCE)).then

    def first(self, resume: Resume, now: Instant) -> list[Call]:
        self._resume, self._begun_ms = resume, now.wall_ms
        self._since_ms = max(resume.since_ms, now.wall_ms - WINDOW_MS)
        calls: list[Call] = []
        for coin in _SETTLE_COINS.get(self._category, ("",)):
            settle = (("settleCoin", coin),) if coin else ()
            calls.append(self._call("open-orders", "/v5/order/realtime", (*settle, ("limit", str(PAGE)))))
            calls.append(
                self._call("recent-orders", "/v5/order/realtime", (*settle, ("openOnly", "1"), ("limit", str(PAGE))))
            )
        if now.wall_ms - self._since_ms > DAY_MS:
            calls.append(self._history())
        span = (("startTime", str(self._since_ms)), ("endTime", str(self._since_ms + WINDOW_MS)))
        calls.append(self._call("executions", "/v5/execution/list", (*span, ("limit", "100"))))
        calls.append(self.wallet())
        return calls

    def wallet(self) -> Call:
        query = urlencode({"accountType": self.account_type})
        url = f"{self._rest}/v5/account/wallet-balance?{query}"
        return Call(tag="wallet", method="GET", url=url, stream_id=self._stream_id)

    def _unseen(self) -> list[tuple[str, str]]:
        """Order and client ids of the orders that had fills, or that we believed open, and that no list has shown."""
        clients = {order.order_id: order.client_order_id for order in self._resume.orders if not order.terminal}
        wanted = dict.fromkeys((*self._executed, *clients))
        return [(order_id, clients.get(order_id, "")) for order_id in wanted if order_id not in self._seen]

    def _singles(self, orders: Sequence[tuple[str, str]]) -> list[Call]:
        return [self.single(order_id, client_id) for order_id, client_id in orders]

    def single(self, order_id: str, client_id: str = "") -> Call:
        """Ask for one order."""
        return self._single("order", order_id, client_id)

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        failure = failure_of(answer)
        envelope = envelope_of(answer)
        if failure is not None or envelope is None:
            reason = failure.reason if failure else "unreadable answer"
            retry = failure is not None and failure.kind not in (FailKind.CREDENTIAL, FailKind.REQUEST)
            if retry and answer.status != 403:
                limited = failure is not None and failure.kind is FailKind.RATE_LIMITED
                return Repaired(retry=True, retry_after_s=wait_of(answer, now.wall_ms) if limited else None)
            return Repaired(missing=(f"{_label(call)}: {reason}",))
        try:
            page = _decode_page(envelope.result)
            if call.tag == "wallet":
                return self._wallet(page, envelope.time or now.wall_ms)
            if call.tag == "executions":
                return self._executions(call, page)
            if call.tag in ("order", "order-history", "order-by-client"):
                return self._one(call, page)
            return self._orders(call, page)
        except UNREADABLE as error:
            return Repaired(missing=(f"{_label(call)}: {error}",))

    def _wallet(self, page: _Page, time_ms: int) -> Repaired:
        wallets, odd_wallets = read_rows(page.rows, decode_wallet)
        event, odd = account_position(wallets, self.account_type, time_ms, f"{self.account_type}:{time_ms}")
        missing = [f"wallet: {one.phrase('coins')}" for one in odd]
        if odd_wallets:
            missing.append(f"wallet: {odd_wallets.phrase('accounts')}")
        return Repaired(events=[event] if event else [], missing=missing)

    def _orders(self, call: Call, page: _Page) -> Repaired:
        rows, odd = read_rows(page.rows, decode_order)
        calls: list[Call] = []
        count = len(rows) + odd.number
        more = bool(page.next_page_cursor) and count > 0
        if call.tag == "recent-orders":
            # Newest created first: once a page holds nothing of the gap, neither do the later ones, apart from orders
            # that were open before it; those are asked for one by one.
            recent = any(self._recently(row.updated_time) or self._recently(row.created_time) for row in rows)
            more = more and (recent or bool(odd))
            self._recent += count
            if self._recent >= RECENT_LIMIT and not self._history_asked:
                calls.append(self._history())
        if more:
            calls.append(self._next(call, page))
        fresh = [row for row in rows if call.tag == "open-orders" or self._recently(row.updated_time)]
        told = self._told(fresh, odd)
        return msgspec.structs.replace(told, calls=calls)

    def _executions(self, call: Call, page: _Page) -> Repaired:
        rows, odd = read_rows(page.rows, _decode_execution)
        for row in rows:
            if row.order_id and row.exec_type not in _NOT_ORDERS:
                self._executed[row.order_id] = None
        missing = [f"executions: {odd.phrase('fills')}"] if odd else []
        if self._resume.since_ms < self._since_ms:
            missing.append("orders of which only fills older than 7 days are new")
        more = page.next_page_cursor and (rows or odd)
        return Repaired(calls=[self._next(call, page)] if more else (), missing=missing)

    def _one(self, call: Call, page: _Page) -> Repaired:
        """One order by id: the realtime list, then the history, then by client id; absence is told, never guessed."""
        rows, odd = read_rows(page.rows, decode_order)
        if rows or odd:
            return self._told(rows, odd)
        context = _context(call)
        if call.tag == "order":
            return Repaired(calls=[self._single("order-history", context.order_id, context.client_id)])
        if call.tag == "order-history" and context.client_id:
            params = (("orderLinkId", context.client_id),)
            again = self._call("order-by-client", "/v5/order/history", params, context.order_id, context.client_id)
            return Repaired(calls=[again])
        return Repaired(missing=[not_known(context.order_id)])

    def _told(self, rows: Sequence[Order], odd: Odd) -> Repaired:
        """The events of rows that are news, and what can't be told of a list."""
        events: list[AccountEvent] = []
        missing = [f"orders: {odd.phrase('orders')}"] if odd else []
        for row in rows:
            updated = row.updated_time or ""
            if self._seen.get(row.order_id) == updated:
                continue
            self._seen[row.order_id] = updated
            event = execution_report(row, self._category, self._table, self._begun_ms)
            if event is None:
                missing.append(f"order {row.order_id}: {unclear(row)}")
            else:
                events.append(event)
        return Repaired(events=events, missing=missing)

    def _recently(self, text: str | None) -> bool:
        return bool(text) and str(text).isdigit() and int(str(text)) >= self._since_ms

    def _history(self) -> Call:
        self._history_asked = True
        span = (("startTime", str(self._since_ms)), ("endTime", str(self._since_ms + WINDOW_MS)))
        return self._call("past-orders", "/v5/order/history", (*span, ("limit", str(PAGE))))

    def _single(self, tag: str, order_id: str, client_id: str) -> Call:
        path = "/v5/order/realtime" if tag == "order" else "/v5/order/history"
        return self._call(tag, path, (("orderId", order_id),), order_id, client_id)

    def _call(
        self, tag: str, path: str, params: tuple[tuple[str, str], ...], order_id: str = "", client_id: str = ""
    ) -> Call:
        params = (("category", self._category), *params)
        url = f"{self._rest}{path}?{urlencode(params)}"
        context = Context(params, order_id, client_id)
        return Call(tag=tag, method="GET", url=url, stream_id=self._stream_id, context=context)

    def _next(self, call: Call, page: _Page) -> Call:
        context = _context(call)
        base = call.url.partition("?")[0]
        url = f"{base}?{urlencode((*context.params, ('cursor', page.next_page_cursor or '')))}"
        return Call(tag=call.tag, method="GET", url=url, stream_id=self._stream_id, context=context)


def _label(call: Call) -> str:
    """What a call was about, for a report."""
    order_id = _context(call).order_id
    return f"order {order_id}" if order_id else call.tag


def _context(call: Call) -> Context:
    return call.context if isinstance(call.context, Context) else Context(())
