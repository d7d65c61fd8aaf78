"""What to read over REST after a reconnect, and how the answers become events (venue file, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, Resume
from exchanges._frames import UNREADABLE
from exchanges._repair import Repaired
from exchanges.bybit._orders import UNIFIED_2, Order, Wallet, account_position, account_type, execution_report
from exchanges.bybit._rest import envelope_of, failure_of, wait_of
from exchanges.events import AccountEvent
from exchanges.instruments import SymbolTable

PAGE: Final = 50
RECENT_LIMIT: Final = 500
"""The realtime list keeps this many closed orders of a category."""
DAY_MS: Final = 86_400_000
WINDOW_MS: Final = 7 * DAY_MS
"""Longest span of one history or execution query."""
_SETTLE_COINS: Final = {"linear": ("USDT", "USDC")}
"""The realtime list of linear orders needs a filter."""
_NOT_ORDERS: Final = frozenset({"Funding", "Settle", "Delivery", "SessionSettlePnL", "MovePosition"})


class _Page(msgspec.Struct, rename="camel"):
    rows: list[msgspec.Raw] = msgspec.field(default_factory=list, name="list")
    next_page_cursor: str | None = ""


class _Execution(msgspec.Struct, rename="camel"):
    order_id: str = ""
    exec_type: str = ""


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_order = msgspec.json.Decoder(Order).decode
_decode_execution = msgspec.json.Decoder(_Execution).decode
_decode_wallet = msgspec.json.Decoder(Wallet).decode


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
        self._now = Instant(0, 0)
        self._resume = Resume(since_ms=0)
        self._seen: dict[str, str] = {}
        self._executed: dict[str, None] = {}
        self._recent = 0
        self._history_asked = False
        self._singles_asked = False

    def first(self, resume: Resume, now: Instant) -> list[Call]:
        self._resume, self._now = resume, now
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

    def then(self) -> Sequence[Call]:
        """Orders that had fills, or that we believed open, and that no list has shown: ask for each."""
        if self._singles_asked:
            return ()
        self._singles_asked = True
        wanted = dict.fromkeys(order_id for order_id in self._executed if order_id not in self._seen)
        clients = {order.order_id: order.client_order_id for order in self._resume.orders if not order.terminal}
        wanted.update(dict.fromkeys(order_id for order_id in clients if order_id not in self._seen))
        return [self._single("order", order_id, clients.get(order_id, "")) for order_id in wanted]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        failure = failure_of(answer)
        envelope = envelope_of(answer)
        if failure is not None or envelope is None:
            reason = failure.reason if failure else "unreadable answer"
            retry = failure is not None and failure.kind not in (FailKind.CREDENTIAL, FailKind.REQUEST)
            if retry and answer.status != 403:
                limited = failure is not None and failure.kind is FailKind.RATE_LIMITED
                return Repaired(retry=True, retry_after_s=wait_of(answer, now.wall_ms) if limited else None)
            return Repaired(missing=(f"{call.tag}: {reason}",))
        try:
            page = _decode_page(envelope.result)
        except UNREADABLE as error:
            return Repaired(missing=(f"{call.tag}: {error}",))
        if call.tag == "wallet":
            return Repaired(events=self.wallet_events(page.rows, envelope.time or now.wall_ms))
        if call.tag == "executions":
            return self._executions(call, page)
        if call.tag in ("order", "order-history", "order-by-client"):
            return self._one(call, page)
        return self._orders(call, page)

    def wallet_events(self, rows: Sequence[msgspec.Raw], time_ms: int) -> list[AccountEvent]:
        wallets = [_decode_wallet(row) for row in rows]
        event = account_position(wallets, self.account_type, time_ms, f"{self.account_type}:{time_ms}")
        return [event] if event else []

    def _orders(self, call: Call, page: _Page) -> Repaired:
        rows, missing = self._rows(page)
        fresh = [row for row in rows if call.tag == "open-orders" or self._recently(row.updated_time)]
        calls: list[Call] = []
        more = bool(page.next_page_cursor) and bool(page.rows)
        if call.tag == "recent-orders":
            # Newest created first: once a page holds nothing of the gap, neither do the later ones, apart from orders
            # that were open before it; those are asked for one by one.
            more = more and any(self._recently(row.updated_time) or self._recently(row.created_time) for row in rows)
            self._recent += len(page.rows)
            if self._recent >= RECENT_LIMIT and not self._history_asked:
                calls.append(self._history())
        if more:
            calls.append(self._next(call, page))
        events = [event for row in fresh for event in self._event(row)]
        return Repaired(events=events, calls=calls, missing=missing)

    def _executions(self, call: Call, page: _Page) -> Repaired:
        for raw in page.rows:
            execution = _decode_execution(raw)
            if execution.order_id and execution.exec_type not in _NOT_ORDERS:
                self._executed[execution.order_id] = None
        cut = self._resume.since_ms < self._since_ms
        return Repaired(
            calls=[self._next(call, page)] if page.next_page_cursor and page.rows else (),
            missing=("orders of which only fills older than 7 days are new",) if cut else (),
        )

    def _one(self, call: Call, page: _Page) -> Repaired:
        """One order by id: the realtime list, then the history, then by client id; absence is told, never guessed."""
        rows, missing = self._rows(page)
        if rows:
            return Repaired(events=[event for row in rows for event in self._event(row)], missing=missing)
        context = _context(call)
        if call.tag == "order":
            return Repaired(calls=[self._single("order-history", context.order_id, context.client_id)], missing=missing)
        if call.tag == "order-history" and context.client_id:
            params = (("orderLinkId", context.client_id),)
            return Repaired(
                calls=[self._call("order-by-client", "/v5/order/history", params, context.order_id, context.client_id)],
                missing=missing,
            )
        return Repaired(missing=(*missing, f"order {context.order_id}: not known to the venue any more"))

    def _event(self, row: Order) -> list[AccountEvent]:
        updated = row.updated_time or ""
        if self._seen.get(row.order_id) == updated:
            return []
        self._seen[row.order_id] = updated
        return [execution_report(row, self._category, self._table, self._now.wall_ms)]

    def _rows(self, page: _Page) -> tuple[list[Order], list[str]]:
        rows: list[Order] = []
        missing: list[str] = []
        for raw in page.rows:
            try:
                rows.append(_decode_order(raw))
            except UNREADABLE as error:
                missing.append(f"an order that can't be read: {error}")
        return rows, missing

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


def _context(call: Call) -> Context:
    return call.context if isinstance(call.context, Context) else Context(())
