"""Orders and balances of KuCoin unified accounts → events, and the repair of their gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, FailKind, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, multiply, plain
from exchanges._repair import Repaired
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.kucoin import _events, _frames, _markets, _rest
from exchanges.kucoin._gap import AHEAD_MS

PAGE: Final = 100
MAX_PAGES: Final = 20

STATUSES: Final = {2: "NEW", 3: "FILLED", 4: "PARTIALLY_FILLED", 5: "CANCELED", 6: "CANCELED"}
"""`os` and REST `status`; 0 and 1 are conditional orders that are not live yet."""


_ORDER_FIELDS: Final = {
    "trade_type": "tT",
    "order_id": "oi",
    "client_id": "ci",
    "status": "os",
    "symbol": "s",
    "side": "S",
    "order_type": "oT",
    "price": "p",
    "size": "q",
    "size_unit": "qU",
    "filled": "fS",
    "average": "aP",
    "fee": "f",
    "fee_asset": "fC",
    "created": "O",
    "updated": "U",
}


class OrderPush(msgspec.Struct, rename=_ORDER_FIELDS):
    """`d` of an `orderAll` push."""

    trade_type: str
    order_id: str
    status: int
    symbol: str
    side: str
    order_type: str = ""
    client_id: str | None = None
    price: str | None = None
    size: str | None = None
    size_unit: str | None = None
    filled: str | None = None
    average: str | None = None
    fee: str | None = None
    fee_asset: str | None = None
    created: int | str | None = None
    updated: int | str | None = None


class BalancePush(msgspec.Struct, rename={"currency": "c", "available": "a", "hold": "h", "updated": "U"}):
    """`d` of a `balance` push."""

    currency: str
    available: str
    hold: str = "0"
    updated: int | str | None = None


class RestOrder(msgspec.Struct, rename="camel"):
    """A row of `open-list`, `history` or `detail`."""

    order_id: str
    symbol: str
    side: str
    status: int
    order_type: str = ""
    client_oid: str | None = None
    price: str | None = None
    size: str | None = None
    size_unit: str | None = None
    filled_size: str | None = None
    avg_price: str | None = None
    fee: str | None = None
    fee_currency: str | None = None
    order_time: int | str | None = None
    updated_time: int | str | None = None


class _Page(msgspec.Struct, rename="camel"):
    items: list[RestOrder] | None = None
    page_number: int = 1
    total_page: int = 1
    last_id: int | str | None = None


class _Currency(msgspec.Struct):
    currency: str
    available: str = "0"
    hold: str = "0"


class _Group(msgspec.Struct):
    currencies: list[_Currency] | None = None


class _Balances(msgspec.Struct):
    accounts: list[_Group] | None = None


_page = msgspec.json.Decoder(_Page).decode
_row = msgspec.json.Decoder(RestOrder).decode
_balances = msgspec.json.Decoder(_Balances).decode


def order_event(exchange: str, pair: Callable[[str], str | None], push: OrderPush) -> ExecutionReport | None:
    """The event of an order push; None for another market's order or one that is not live yet."""
    trade_type = "SPOT" if _markets.is_spot(exchange) else "FUTURES"
    status, symbol = STATUSES.get(push.status), pair(push.symbol)
    if push.trade_type != trade_type or status is None or symbol is None or push.side not in ("BUY", "SELL"):
        return None
    filled, average = decimal(push.filled), decimal(push.average)
    limit = push.order_type == "LIMIT" and decimal(push.price) > 0
    time_ms = _frames.milliseconds(push.updated) or _frames.milliseconds(push.created)
    fee = decimal(push.fee)
    report = _events.order_report(
        symbol=symbol,
        client_id=push.client_id,
        order_id=push.order_id,
        status=status,
        kind="LIMIT" if push.order_type == "LIMIT" else "MARKET",
        side=push.side,
        price=_frames.text(push.price) if limit else plain(average),
        # An order by funds has its size in quote money.
        quantity=plain(filled) if (push.size_unit or "").startswith("QUOTE") else _frames.text(push.size),
        filled=filled,
        quote=multiply(average, filled),
        created_ms=_frames.milliseconds(push.created) or time_ms,
        time_ms=time_ms,
    )
    if fee and push.fee_asset:
        return msgspec.structs.replace(report, fee_paid=plain(abs(fee)), fee_asset=push.fee_asset)
    return report


def balance_event(push: BalancePush) -> AccountPosition:
    return _events.position(
        _markets.asset_name(push.currency), push.available, push.hold, _frames.milliseconds(push.updated)
    )


class UnifiedGap:
    """Open orders, recent orders, balances, then the known open orders that no list has named."""

    def __init__(self, account: _events.Account, subscription: UserSubscription, wall_ms: Callable[[], int]) -> None:
        self._account = account
        self._resume = subscription.resume
        self._wall_ms = wall_ms
        self._trade_type = "SPOT" if _markets.is_spot(account.exchange) else "FUTURES"
        self._found: set[str] = set()
        self._asked_singles = False

    def calls(self) -> Sequence[Call]:
        if self._resume is None:
            return []
        return [
            self._open(1),
            self._history(None, 1),
            self._get("balances", "/api/ua/v1/unified/account/balance", None),
        ]

    def then(self) -> Sequence[Call]:
        if self._asked_singles or self._resume is None:
            return []
        self._asked_singles = True
        gone = [order for order in self._resume.orders if not order.terminal and order.order_id not in self._found]
        return [self._detail(order.order_id, order.symbol) for order in gone[:PAGE]]

    def _open(self, page: int) -> Call:
        path = f"/api/ua/v1/unified/order/open-list?tradeType={self._trade_type}&pageNumber={page}&pageSize={PAGE}"
        return self._get("open orders", path, page)

    def _history(self, last_id: int | str | None, page: int) -> Call:
        cursor = f"&lastId={last_id}" if last_id is not None else ""
        since = self._resume.since_ms if self._resume else self._wall_ms()
        times = f"&startAt={since}&endAt={self._wall_ms() + AHEAD_MS}&pageSize={PAGE}{cursor}"
        return self._get("closed orders", f"/api/ua/v1/unified/order/history?tradeType={self._trade_type}{times}", page)

    def _detail(self, order_id: str, pair: str) -> Call:
        wire = self._account.wire(pair) or pair
        path = f"/api/ua/v1/unified/order/detail?tradeType={self._trade_type}&symbol={wire}&orderId={order_id}"
        return self._get("order", path, order_id)

    def _get(self, tag: str, path: str, context: object) -> Call:
        return Call(tag=tag, method="GET", url=_markets.SPOT_REST + path, weight=4, pool="unified", context=context)

    def parse(self, call: Call, answer: Answer) -> Repaired:
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            fail = _rest.failure(answer, envelope)
            if fail.kind is FailKind.RATE_LIMITED:
                return Repaired(retry=True, retry_after_s=fail.retry_after_s)
            return Repaired(missing=[f"{call.tag}: {fail.reason}"])
        try:
            return self._parse(call, envelope.data)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{call.tag}: the answer is not understood"])

    def _parse(self, call: Call, data: msgspec.Raw) -> Repaired:
        if call.tag == "balances":
            now = self._wall_ms()
            rows = [row for group in _balances(data).accounts or () for row in group.currencies or ()]
            own = [row for row in rows if self._account.owns_asset(row.currency)]
            return Repaired(
                events=[
                    _events.position(_markets.asset_name(row.currency), row.available, row.hold, now) for row in own
                ]
            )
        if call.tag == "order":
            return Repaired(events=self._events([_row(data)]))
        page = _page(data)
        rows_found = page.items or []
        number = call.context if isinstance(call.context, int) else 1
        more: list[Call] = []
        if call.tag == "open orders" and number < page.total_page:
            more = [self._open(number + 1)]
        if call.tag == "closed orders" and len(rows_found) >= PAGE and page.last_id is not None:
            more = [self._history(page.last_id, number + 1)]
        missing = [f"{call.tag}: more than {MAX_PAGES} pages"] if more and number >= MAX_PAGES else []
        return Repaired(events=self._events(rows_found), calls=[] if missing else more, missing=missing)

    def _events(self, rows: Sequence[RestOrder]) -> list[ExecutionReport]:
        known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        reports: list[ExecutionReport] = []
        for row in rows:
            self._found.add(row.order_id)
            report = order_event(self._account.exchange, self._account.pair, _as_push(row, self._trade_type))
            last = known.get(row.order_id)
            if report is None:
                continue
            if last is None or (last.status, decimal(last.executed)) != (
                report.order_status,
                decimal(report.total_trade_quantity),
            ):
                reports.append(report)
        return reports


def _as_push(row: RestOrder, trade_type: str) -> OrderPush:
    return OrderPush(
        trade_type=trade_type,
        order_id=row.order_id,
        status=row.status,
        symbol=row.symbol,
        side=row.side,
        order_type=row.order_type,
        client_id=row.client_oid,
        price=row.price,
        size=row.size,
        size_unit=row.size_unit,
        filled=row.filled_size,
        average=row.avg_price,
        fee=row.fee,
        fee_asset=row.fee_currency,
        created=row.order_time,
        updated=row.updated_time,
    )
