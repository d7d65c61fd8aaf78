"""Gap repair of a Bitget account: which calls to make, and what their answers mean (docs/venues/bitget.md 8 and v3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges._rows import Odd, read_rows
from exchanges.bitget import _errors, _hosts, _orders, _rows
from exchanges.bitget._report import Told
from exchanges.events import AccountEvent
from exchanges.instruments import SymbolTable

PAGE: Final = 100
MAX_PAGES: Final = 20
AHEAD_MS: Final = 60_000
"""The end of the time range lies ahead of our clock: the venue's may run fast."""
SINGLES_PER_STEP: Final = 5
"""Orders are asked for one by one in small steps: the allowance is 10 to 20 a second and user."""
DAY_MS: Final = 86_400_000
HISTORY_MS: Final = 90 * DAY_MS
"""What the venue remembers of closed orders, less a minute."""
WINDOW_MS: Final = 30 * DAY_MS
"""A v3 history call reaches over so much at the most."""


class Gap(Protocol):
    """What the session needs of a plan."""

    doubted: bool

    def calls(self, now: Instant) -> Sequence[Call]: ...

    def then(self, now: Instant) -> Repaired: ...

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired: ...

    def single(self, order_id: str, symbol: str) -> Call: ...


class Where(NamedTuple):
    """What a list call asked for: product type or category, page, and the time range of closed orders."""

    product: str
    page: int = 1
    start_ms: int = 0
    end_ms: int = 0


class _FuturesPage(msgspec.Struct, rename="camel"):
    entrusted_list: msgspec.Raw = msgspec.Raw(b"null")
    end_id: str | int | None = None


class _UnifiedPage(msgspec.Struct, rename={"rows": "list"}):
    rows: msgspec.Raw = msgspec.Raw(b"null")
    cursor: str | int | None = None


_futures_page = msgspec.json.Decoder(_FuturesPage | None).decode
_row = msgspec.json.Decoder(_rows.RestOrder).decode
_spot_balance = msgspec.json.Decoder(_rows.SpotBalance).decode
_futures_balance = msgspec.json.Decoder(_rows.RestFuturesBalance).decode
_unified_page = msgspec.json.Decoder(_UnifiedPage | None).decode
_unified_row = msgspec.json.Decoder(_rows.UnifiedOrder).decode
_unified_account = msgspec.json.Decoder(_rows.UnifiedAccount).decode

Table = Callable[[], SymbolTable]
Stamp = Callable[[Instant], int]
"""The venue's time, ms."""


class _Plan(ABC):
    """Open orders, recent orders, balances; then what is left of the known open orders."""

    def __init__(self, account: _orders.Account, subscription: UserSubscription, table: Table, stamp: Stamp) -> None:
        self.account = account
        self.table = table
        self.stamp = stamp
        self.doubted = False
        """An answer fits the other generation, or an order that should be there can't be found: has the account moved?"""
        self._resume = subscription.resume
        self.since_ms = self._resume.since_ms if self._resume else 0
        self._known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        self._found: set[str] = set()
        self._steps = Steps(Singles(self._gone, self._singles, step=SINGLES_PER_STEP))

    def calls(self, now: Instant) -> Sequence[Call]:
        return self.first(now) if self._resume is not None else []

    def then(self, now: Instant) -> Repaired:
        return self._steps.then(now)

    def _gone(self) -> Sequence[KnownOrder]:
        return [order for order in self._known.values() if not order.terminal and order.order_id not in self._found]

    def _singles(self, orders: Sequence[KnownOrder]) -> Sequence[Call]:
        return [self.single(order.order_id, order.symbol) for order in orders]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return self._failed(call, answer, envelope)
        try:
            return self.read(call, envelope.data, now)
        except (*UNREADABLE, ValueError):
            name = f"order {call.context}" if call.tag == "order" else call.tag
            return Repaired(missing=[f"{name}: the answer is not understood"])

    @abstractmethod
    def first(self, now: Instant) -> Sequence[Call]:
        """What to ask at the start of every repair."""

    @abstractmethod
    def single(self, order_id: str, symbol: str) -> Call:
        """One order by its id. The context of the call is the id."""

    @abstractmethod
    def read(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        """What a successful answer says; may raise what `parse` names."""

    def reach_ms(self, now: Instant) -> tuple[int, list[str]]:
        """From when closed orders can be read, and what that leaves out."""
        oldest = self.stamp(now) - HISTORY_MS + AHEAD_MS
        if self.since_ms >= oldest:
            return self.since_ms, []
        return oldest, ["closed orders older than 90 days"]

    def changed(self, order_id: str, told: Told) -> tuple[list[AccountEvent], list[str]]:
        """The event of a row, if its state differs from the last one published, and what the row leaves open."""
        self._found.add(order_id)
        report, last = told.event, self._known.get(order_id)
        if report is None:
            return [], [f"order {order_id}: {told.note}"] if told.note else []
        same = last is not None and last.status == report.order_status
        if same and last is not None and decimal(last.executed) == decimal(report.total_trade_quantity):
            return [], []
        return [report], []

    def listed(self, call: Call, rows: Sequence[tuple[str, Told]], odd: Odd, more: Call | None) -> Repaired:
        """What a page says. `more`: the next one, if there is one."""
        events: list[AccountEvent] = []
        missing = [f"{call.tag}: {odd.phrase('rows')}"] if odd else []
        for order_id, told in rows:
            found, left = self.changed(order_id, told)
            events += found
            missing += left
        calls = [more] if more is not None else []
        if more is not None and isinstance(more.context, Where) and more.context.page > MAX_PAGES:
            calls, missing = [], [*missing, f"{call.tag}: more than {MAX_PAGES} pages"]
        return Repaired(events=events, calls=calls, missing=missing)

    def _failed(self, call: Call, answer: Answer, envelope: _errors.Envelope) -> Repaired:
        code = str(envelope.code)
        fail = _errors.failure(answer, envelope)
        if code in _errors.OTHER_GENERATION:
            self.doubted = True
        if fail.kind is FailKind.RATE_LIMITED or _errors.late(envelope):
            return Repaired(retry=True, retry_after_s=fail.retry_after_s)
        if call.tag == "order" and code in _errors.NO_ORDER:
            # Fresh orders are visible late: ask once more, then believe it.
            if call.attempt == 1:
                return Repaired(retry=True)
            self.doubted = True
            return Repaired(missing=[not_known(call.context)])
        if code in _errors.PASSING:
            return Repaired(retry=True)
        name = f"order {call.context}" if call.tag == "order" else call.tag
        return Repaired(missing=[f"{name}: {fail.reason}"])


def _get(tag: str, path: str, context: object = None) -> Call:
    return Call(tag=tag, method="GET", url=_hosts.REST + path, context=context, pool="private")


class ClassicGap(_Plan):
    """v2 REST."""

    def first(self, now: Instant) -> Sequence[Call]:
        calls: list[Call] = []
        for product in self.account.products:
            calls.append(self._list("open orders", Where(product), "", now))
            calls.append(self._list("closed orders", Where(product), "", now))
            if product == _hosts.SPOT:
                calls.append(_get("balances", "/api/v2/spot/account/assets?assetType=hold_only", Where(product)))
            else:
                calls.append(_get("balances", f"/api/v2/mix/account/accounts?productType={product}", Where(product)))
        return calls

    def _list(self, tag: str, where: Where, before: str, now: Instant) -> Call:
        """Parameters in alphabetical order, as they are signed."""
        cursor = f"&idLessThan={before}" if before else ""
        closed = tag == "closed orders"
        # Without times the history covers a week only.
        start = f"&startTime={self.reach_ms(now)[0]}" if closed else ""
        end = f"endTime={self.stamp(now) + AHEAD_MS}" if closed else ""
        if where.product == _hosts.SPOT:
            name = "history-orders" if closed else "unfilled-orders"
            path = f"/api/v2/spot/trade/{name}?{end}{cursor}&limit={PAGE}{start}"
        else:
            name = "orders-history" if closed else "orders-pending"
            path = f"/api/v2/mix/order/{name}?{end}{cursor}&limit={PAGE}&productType={where.product}{start}"
        return _get(tag, path.replace("?&", "?"), where)

    def single(self, order_id: str, symbol: str) -> Call:
        exchange = self.account.exchange
        if _hosts.is_spot(exchange):
            return _get("order", f"/api/v2/spot/trade/orderInfo?orderId={quote(order_id)}", order_id)
        product = _hosts.product_of(exchange, self.table(), symbol) or _hosts.guess(exchange, symbol)
        query = f"orderId={quote(order_id)}&productType={product}&symbol={quote(symbol)}"
        return _get("order", f"/api/v2/mix/order/detail?{query}", order_id)

    def read(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        if call.tag == "order":
            return self._one(call, data)
        if not isinstance(call.context, Where):
            return Repaired()
        where = call.context
        if call.tag == "balances":
            return self._balances(where, data, now)
        if where.product == _hosts.SPOT:
            rows, odd = read_rows(data, _row)
            before = str(rows[-1].order_id) if rows else ""
        else:
            found = _futures_page(data) or _FuturesPage()
            rows, odd = read_rows(found.entrusted_list, _row)
            before = str(found.end_id or "")
        told = [(str(row.order_id), self._told(row)) for row in rows]
        full = len(rows) + odd.number >= PAGE and bool(before)
        more = self._list(call.tag, where._replace(page=where.page + 1), before, now) if full else None
        repaired = self.listed(call, told, odd, more)
        if call.tag == "closed orders" and where.page == 1:
            return msgspec.structs.replace(repaired, missing=[*repaired.missing, *self.reach_ms(now)[1]])
        return repaired

    def _balances(self, where: Where, data: msgspec.Raw, now: Instant) -> Repaired:
        now_ms = self.stamp(now)
        if where.product == _hosts.SPOT:
            coins, odd = read_rows(data, _spot_balance)
            position = _orders.spot_position(coins, now_ms)
        else:
            margins, odd = read_rows(data, _futures_balance)
            position = _orders.rest_futures_position(margins, now_ms)
        missing = [odd.phrase("balances")] if odd else []
        return Repaired(events=[] if position is None else [position], missing=missing)

    def _told(self, row: _rows.RestOrder) -> Told:
        try:
            return self.account.rest_order(row)
        except ValueError as error:
            return Told(note=f"can't be read: {error}")

    def _one(self, call: Call, data: msgspec.Raw) -> Repaired:
        if bytes(data).lstrip().startswith((b"[", b"null")):
            rows, odd = read_rows(data, _row)
        else:
            rows, odd = [_row(data)], Odd()
        if not rows and not odd:
            return Repaired(missing=[not_known(call.context)])
        return self.listed(call, [(str(row.order_id), self._told(row)) for row in rows], odd, None)


class UnifiedGap(_Plan):
    """v3 REST."""

    def first(self, now: Instant) -> Sequence[Call]:
        calls = [_get("balances", "/api/v3/account/assets")]
        start, end = self.reach_ms(now)[0], self.stamp(now) + AHEAD_MS
        for category in self.account.products:
            calls.append(self._list("open orders", Where(category), ""))
            for begin in range(start, end, WINDOW_MS):
                window = Where(category, 1, begin, min(begin + WINDOW_MS, end))
                calls.append(self._list("closed orders", window, ""))
        return calls

    def _list(self, tag: str, where: Where, cursor: str) -> Call:
        closed = tag == "closed orders"
        name = "history-orders" if closed else "unfilled-orders"
        after = f"&cursor={cursor}" if cursor else ""
        end = f"&endTime={where.end_ms}" if closed else ""
        start = f"&startTime={where.start_ms}" if closed else ""
        path = f"/api/v3/trade/{name}?category={where.product}{after}{end}&limit={PAGE}{start}"
        return _get(tag, path, where)

    def single(self, order_id: str, symbol: str) -> Call:
        """The venue finds an order without its category; the row tells whether it is one of ours."""
        return _get("order", f"/api/v3/trade/order-info?orderId={quote(order_id)}", order_id)

    def read(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        if call.tag == "balances":
            coins, odd = read_rows(_unified_account(data).assets, _rows.unified_coin)
            position = self.account.unified_position(coins, self.stamp(now))
            late = self.reach_ms(now)[1]
            missing = [odd.phrase("balances"), *late] if odd else late
            return Repaired(events=[] if position is None else [position], missing=missing)
        if call.tag == "order" or not isinstance(call.context, Where):
            if bytes(data).strip() == b"null":
                return Repaired(missing=[not_known(call.context)])
            row = _unified_row(data)
            if not self.account.mine(row):
                return Repaired(missing=[f"order {call.context}: the venue has it in another market"])
            return self.listed(call, [(str(row.order_id), self._told(row))], Odd(), None)
        where = call.context
        found = _unified_page(data) or _UnifiedPage()
        rows, odd = read_rows(found.rows, _unified_row)
        full = len(rows) + odd.number >= PAGE and bool(found.cursor)
        more = self._list(call.tag, where._replace(page=where.page + 1), str(found.cursor)) if full else None
        return self.listed(call, [(str(row.order_id), self._told(row)) for row in rows], odd, more)

    def _told(self, row: _rows.UnifiedOrder) -> Told:
        try:
            return self.account.unified_order(row)
        except ValueError as error:
            return Told(note=f"can't be read: {error}")
