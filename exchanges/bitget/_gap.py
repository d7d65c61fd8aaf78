"""Gap repair of a Bitget account: which calls to make, and what their answers mean (venue file section 8)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from exchanges._adapter import Answer, Call, FailKind, KnownOrder, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._repair import Repaired
from exchanges.bitget import _events, _frames, _markets, _rest
from exchanges.events import AccountEvent, ExecutionReport
from exchanges.instruments import SymbolTable

PAGE: Final = 100
MAX_PAGES: Final = 20
AHEAD_MS: Final = 60_000
"""The end of the time range lies ahead of our clock: the venue's may run fast."""
SINGLES_PER_STEP: Final = 5
"""Orders are asked for one by one in small steps: the allowance is 10 to 20 a second and user."""
MAX_SINGLES: Final = 200


class Gap(Protocol):
    """What the session needs of a plan."""

    def calls(self) -> Sequence[Call]: ...

    def then(self) -> Sequence[Call]: ...

    def parse(self, call: Call, answer: Answer) -> Repaired: ...


class _FuturesPage(msgspec.Struct, rename="camel"):
    entrusted_list: list[_frames.RestOrder] | None = None
    end_id: str | int | None = None


class _UnifiedPage(msgspec.Struct, rename={"rows": "list"}):
    rows: list[_frames.UnifiedOrder] | None = None
    cursor: str | int | None = None


_rows = msgspec.json.Decoder(list[_frames.RestOrder] | None).decode
_futures_page = msgspec.json.Decoder(_FuturesPage | None).decode
_row = msgspec.json.Decoder(_frames.RestOrder).decode
_spot_balances = msgspec.json.Decoder(list[_frames.SpotBalance] | None).decode
_futures_balances = msgspec.json.Decoder(list[_frames.RestFuturesBalance] | None).decode
_unified_page = msgspec.json.Decoder(_UnifiedPage | None).decode
_unified_row = msgspec.json.Decoder(_frames.UnifiedOrder).decode
_unified_account = msgspec.json.Decoder(_frames.UnifiedAccount).decode

Table = Callable[[], SymbolTable]


class _Plan(ABC):
    """Open orders, recent orders, balances; then what is left of the known open orders."""

    def __init__(
        self, account: _events.Account, subscription: UserSubscription, table: Table, wall_ms: Callable[[], int]
    ) -> None:
        self.account = account
        self.table = table
        self.wall_ms = wall_ms
        self._resume = subscription.resume
        self._known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        self._found: set[str] = set()
        self._gone: list[KnownOrder] | None = None

    def calls(self) -> Sequence[Call]:
        return self.first() if self._resume is not None else []

    def then(self) -> Sequence[Call]:
        if self._gone is None:
            gone = [order for order in self._known.values() if not order.terminal and order.order_id not in self._found]
            self._gone = gone[:MAX_SINGLES]
        step, self._gone = self._gone[:SINGLES_PER_STEP], self._gone[SINGLES_PER_STEP:]
        return [self.single(order) for order in step]

    def parse(self, call: Call, answer: Answer) -> Repaired:
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return self._failed(call, answer, envelope)
        try:
            return self.read(call, envelope.data)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{call.tag}: the answer is not understood"])

    @abstractmethod
    def first(self) -> Sequence[Call]:
        """What to ask at the start of every repair."""

    @abstractmethod
    def single(self, order: KnownOrder) -> Call:
        """One order by its id."""

    @abstractmethod
    def read(self, call: Call, data: msgspec.Raw) -> Repaired:
        """What a successful answer says; may raise what `parse` names."""

    @property
    def since_ms(self) -> int:
        return self._resume.since_ms if self._resume else self.wall_ms()

    def changed(self, order_id: str, report: ExecutionReport | None) -> list[AccountEvent]:
        """The report, if its state differs from the last one published."""
        self._found.add(order_id)
        last = self._known.get(order_id)
        if report is None:
            return []
        same = last is not None and last.status == report.order_status
        if same and last is not None and decimal(last.executed) == decimal(report.total_trade_quantity):
            return []
        return [report]

    def _failed(self, call: Call, answer: Answer, envelope: _rest.Envelope) -> Repaired:
        code = str(envelope.code)
        fail = _rest.failure(answer, envelope)
        if fail.kind is FailKind.RATE_LIMITED or code in _rest.CLOCK:
            return Repaired(retry=True, retry_after_s=fail.retry_after_s)
        if call.tag == "order" and code in _rest.NO_ORDER:
            # Fresh orders are visible late: ask once more, then believe it.
            if call.attempt == 1:
                return Repaired(retry=True)
            return Repaired(missing=[f"order {call.context}: not known to the venue"])
        if code in _rest.PASSING:
            return Repaired(retry=True)
        return Repaired(missing=[f"{call.tag}: {fail.reason}"])


def _get(tag: str, path: str, context: object = None) -> Call:
    return Call(tag=tag, method="GET", url=_markets.REST + path, context=context, pool="private")


class ClassicGap(_Plan):
    """v2 REST. The context of list calls is (product type, page number)."""

    def first(self) -> Sequence[Call]:
        calls: list[Call] = []
        for product in self.account.products:
            calls.append(self._list("open orders", product, 1, ""))
            calls.append(self._list("closed orders", product, 1, ""))
            if product == _markets.SPOT:
                calls.append(_get("balances", "/api/v2/spot/account/assets?assetType=hold_only", (product, 1)))
            else:
                calls.append(_get("balances", f"/api/v2/mix/account/accounts?productType={product}", (product, 1)))
        return calls

    def _list(self, tag: str, product: str, page: int, before: str) -> Call:
        """Parameters in alphabetical order, as they are signed."""
        cursor = f"&idLessThan={before}" if before else ""
        closed = tag == "closed orders"
        # Without times the history covers a week only.
        start = f"&startTime={self.since_ms}" if closed else ""
        end = f"endTime={self.wall_ms() + AHEAD_MS}" if closed else ""
        if product == _markets.SPOT:
            name = "history-orders" if closed else "unfilled-orders"
            path = f"/api/v2/spot/trade/{name}?{end}{cursor}&limit={PAGE}{start}"
        else:
            name = "orders-history" if closed else "orders-pending"
            path = f"/api/v2/mix/order/{name}?{end}{cursor}&limit={PAGE}&productType={product}{start}"
        return _get(tag, path.replace("?&", "?"), (product, page))

    def single(self, order: KnownOrder) -> Call:
        order_id = quote(order.order_id)
        if _markets.is_spot(self.account.exchange):
            return _get("order", f"/api/v2/spot/trade/orderInfo?orderId={order_id}", order.order_id)
        exchange, symbol = self.account.exchange, order.symbol
        product = _markets.product_of(exchange, self.table(), symbol) or _markets.guess(exchange, symbol)
        query = f"orderId={order_id}&productType={product}&symbol={quote(symbol)}"
        return _get("order", f"/api/v2/mix/order/detail?{query}", order.order_id)

    def read(self, call: Call, data: msgspec.Raw) -> Repaired:
        if call.tag == "order":
            return self._one(call, data)
        if not isinstance(call.context, tuple):
            return Repaired()
        product, page = call.context
        spot = product == _markets.SPOT
        if call.tag == "balances":
            now = self.wall_ms()
            if spot:
                position = _events.spot_position(_spot_balances(data) or [], now)
            else:
                position = _events.rest_futures_position(_futures_balances(data) or [], now)
            return Repaired(events=[] if position is None else [position])
        if spot:
            rows = _rows(data) or []
            before = rows[-1].order_id if rows else ""
        else:
            found = _futures_page(data) or _FuturesPage()
            rows = found.entrusted_list or []
            before = str(found.end_id or "")
        more = len(rows) >= PAGE and bool(before)
        return Repaired(
            events=[event for row in rows for event in self.changed(row.order_id, self.account.rest_order(row))],
            calls=[self._list(call.tag, product, page + 1, before)] if more and page < MAX_PAGES else [],
            missing=[f"{call.tag}: more than {MAX_PAGES} pages"] if more and page >= MAX_PAGES else [],
        )

    def _one(self, call: Call, data: msgspec.Raw) -> Repaired:
        rows = (_rows(data) or []) if bytes(data).lstrip().startswith((b"[", b"null")) else [_row(data)]
        if not rows:
            return Repaired(missing=[f"order {call.context}: not known to the venue"])
        return Repaired(
            events=[event for row in rows for event in self.changed(row.order_id, self.account.rest_order(row))]
        )


class UnifiedGap(_Plan):
    """v3 REST. The context of list calls is (category, page number)."""

    def first(self) -> Sequence[Call]:
        calls = [_get("balances", "/api/v3/account/assets")]
        for category in self.account.products:
            calls.append(self._list("open orders", category, 1, ""))
            calls.append(self._list("closed orders", category, 1, ""))
        return calls

    def _list(self, tag: str, category: str, page: int, cursor: str) -> Call:
        closed = tag == "closed orders"
        name = "history-orders" if closed else "unfilled-orders"
        after = f"&cursor={cursor}" if cursor else ""
        end = f"&endTime={self.wall_ms() + AHEAD_MS}" if closed else ""
        start = f"&startTime={self.since_ms}" if closed else ""
        path = f"/api/v3/trade/{name}?category={category}{after}{end}&limit={PAGE}{start}"
        return _get(tag, path, (category, page))

    def single(self, order: KnownOrder) -> Call:
        exchange, symbol = self.account.exchange, order.symbol
        category = _markets.product_of(exchange, self.table(), symbol) or _markets.guess(exchange, symbol)
        query = f"category={category}&orderId={quote(order.order_id)}"
        return _get("order", f"/api/v3/trade/order-info?{query}", order.order_id)

    def read(self, call: Call, data: msgspec.Raw) -> Repaired:
        if call.tag == "balances":
            position = _events.unified_position(_unified_account(data).assets or [], self.wall_ms())
            return Repaired(events=[] if position is None else [position])
        if call.tag == "order" or not isinstance(call.context, tuple):
            row = _unified_row(data)
            return Repaired(events=self.changed(row.order_id, self.account.unified_order(row)))
        category, page = call.context
        found = _unified_page(data) or _UnifiedPage()
        rows = found.rows or []
        more = len(rows) >= PAGE and bool(found.cursor)
        return Repaired(
            events=[event for row in rows for event in self.changed(row.order_id, self.account.unified_order(row))],
            calls=[self._list(call.tag, category, page + 1, str(found.cursor))] if more and page < MAX_PAGES else [],
            missing=[f"{call.tag}: more than {MAX_PAGES} pages"] if more and page >= MAX_PAGES else [],
        )
