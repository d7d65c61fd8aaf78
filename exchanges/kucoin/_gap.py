"""Gap repair of a classic KuCoin account: which calls to make, and what their answers mean (venue file section 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from exchanges._adapter import Answer, Call, FailKind, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._repair import Repaired
from exchanges.events import ExecutionReport
from exchanges.kucoin import _events, _frames, _markets, _rest

PAGE: Final = 100
FUTURES_PAGE: Final = 1000
MAX_PAGES: Final = 20
"""Closed orders that are read per symbol; a gap with more finished orders says so in its report."""
AHEAD_MS: Final = 60_000
"""The end of the time range lies ahead of our clock: the venue's may run fast."""
RECENT_MS: Final = 24 * 3_600_000
"""`recentDoneOrders` reaches this far back."""
MAX_SINGLES: Final = 200
"""Orders asked for one by one."""
_UNKNOWN_ORDER: Final = frozenset({"100001", "100004", "404000", "400100", "900014"})


class _Page(msgspec.Struct, rename="camel"):
    items: list[_frames.RestOrder] | None = None
    last_id: int | str | None = None
    current_page: int = 1
    total_page: int = 1


class _Symbols(msgspec.Struct, rename="camel"):
    symbols: list[str] | None = None
    symbol_list: list[str] | None = None


class _SpotAccount(msgspec.Struct):
    currency: str
    available: str
    holds: str = "0"
    type: str = ""


class _Overview(msgspec.Struct, rename="camel"):
    currency: str
    available_balance: _frames.Number = None
    position_margin: _frames.Number = None
    order_margin: _frames.Number = None
    frozen_funds: _frames.Number = None


_page = msgspec.json.Decoder(_Page).decode
_list = msgspec.json.Decoder(list[_frames.RestOrder]).decode
_single = msgspec.json.Decoder(_frames.RestOrder).decode
_symbols = msgspec.json.Decoder(_Symbols).decode
_accounts = msgspec.json.Decoder(list[_SpotAccount]).decode
_overview = msgspec.json.Decoder(_Overview).decode


class Gap:
    """The plan of one repair: open and recent orders and balances, then what is left of the known open orders."""

    def __init__(self, account: _events.Account, subscription: UserSubscription, wall_ms: Callable[[], int]) -> None:
        self._account = account
        self._exchange = account.exchange
        self._rest = _markets.rest_of(account.exchange)
        self._pool = _markets.pool_of(account.exchange)
        self._resume = subscription.resume
        self._wall_ms = wall_ms
        self._wires: set[str] = set()
        self._found: set[str] = set()
        self._steps: list[Callable[[], Sequence[Call]]] = [self._symbol_orders] if self._spot else []
        self._steps.append(self._vanished)
        self._parsers: dict[str, Callable[[Call, msgspec.Raw], Repaired]] = {
            "open symbols": self._open_symbols,
            "open orders": self._orders,
            "closed orders": self._orders,
            "recent orders": self._recent,
            "order": self._one,
            "balances": self._balances,
            "balance": self._balance,
        }

    @property
    def _spot(self) -> bool:
        return _markets.is_spot(self._exchange)

    def saw(self, wire: str) -> None:
        """A live frame named this symbol: its closed orders are asked for as well."""
        self._wires.add(wire)

    def calls(self) -> Sequence[Call]:
        """The first step."""
        if self._resume is None:
            return []
        if self._spot:
            # Closed orders can be had per symbol only: those of the known orders, and those with open orders.
            self._wires.update(order.symbol for order in self._resume.orders if order.symbol)
            return [
                self._get("open symbols", "/api/v1/hf/orders/active/symbols", 2),
                self._get("balances", "/api/v1/accounts?type=trade", 5, pool="management"),
            ]
        assets = _markets.own_assets(self._exchange, self._account.table())
        codes = sorted("XBT" if asset == "BTC" else asset for asset in assets or {"BTC"})
        return [
            self._get("open orders", f"/api/v1/orders?status=active&pageSize={FUTURES_PAGE}", 2),
            self._closed_futures(),
            *(self._get("balance", f"/api/v1/account-overview?currency={code}", 5, context=code) for code in codes),
        ]

    def then(self) -> Sequence[Call]:
        """The next step that has something to ask."""
        while self._steps:
            calls = self._steps.pop(0)()
            if calls:
                return calls
        return []

    def parse(self, call: Call, answer: Answer) -> Repaired:
        envelope = _rest.read(answer)
        if not _rest.succeeded(answer, envelope):
            return self._failed(call, answer, envelope)
        try:
            return self._parsers[call.tag](call, envelope.data)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{call.tag}: the answer is not understood"])

    def single(self, order_id: str, wire: str, tag: str = "order") -> Call:
        """Ask for one order."""
        path = (
            f"/api/v1/hf/orders/{quote(order_id)}?symbol={wire}" if self._spot else f"/api/v1/orders/{quote(order_id)}"
        )
        return self._get(tag, path, 2 if self._spot else 5, context=order_id)

    # --- steps ---

    def _symbol_orders(self) -> Sequence[Call]:
        calls: list[Call] = []
        for wire in sorted(self._wires):
            calls.append(self._get("open orders", f"/api/v1/hf/orders/active?symbol={wire}", 2, context=wire))
            calls.append(self._closed_spot(wire, None, 1))
        return calls

    def _vanished(self) -> Sequence[Call]:
        """Orders that were open when the stream was last live and that no list has named."""
        orders = self._resume.orders if self._resume else ()
        gone = [order for order in orders if not order.terminal and order.order_id not in self._found]
        return [self.single(order.order_id, order.symbol) for order in gone[:MAX_SINGLES]]

    def _closed_spot(self, wire: str, last_id: int | str | None, page: int) -> Call:
        cursor = f"&lastId={last_id}" if last_id is not None else ""
        times = f"startAt={self._since}&endAt={self._wall_ms() + AHEAD_MS}"
        path = f"/api/v1/hf/orders/done?symbol={wire}&{times}&limit={PAGE}{cursor}"
        return self._get("closed orders", path, 2, context=(wire, page))

    def _closed_futures(self, page: int = 1) -> Call:
        if self._wall_ms() - self._since < RECENT_MS:
            return self._get("recent orders", "/api/v1/recentDoneOrders", 5)
        paging = f"&pageSize={FUTURES_PAGE}&currentPage={page}"
        path = f"/api/v1/orders?status=done&startAt={self._since}&endAt={self._wall_ms() + AHEAD_MS}{paging}"
        return self._get("closed orders", path, 2, context=("", page))

    # --- answers ---

    def _open_symbols(self, call: Call, data: msgspec.Raw) -> Repaired:
        answer = _symbols(data)
        self._wires.update(answer.symbols or answer.symbol_list or ())
        return Repaired()

    def _orders(self, call: Call, data: msgspec.Raw) -> Repaired:
        if bytes(data).lstrip().startswith(b"["):
            return Repaired(events=self._events(_list(data)))
        page = _page(data)
        rows = page.items or []
        calls: list[Call] = []
        missing: list[str] = []
        if call.tag == "closed orders" and isinstance(call.context, tuple):
            wire, number = call.context
            more = len(rows) >= PAGE and page.last_id if self._spot else page.current_page < page.total_page
            if more and number >= MAX_PAGES:
                missing.append(f"closed orders: more than {MAX_PAGES} pages")
            elif more:
                spot = self._spot
                calls.append(
                    self._closed_spot(wire, page.last_id, number + 1) if spot else self._closed_futures(number + 1)
                )
        return Repaired(events=self._events(rows), calls=calls, missing=missing)

    def _recent(self, call: Call, data: msgspec.Raw) -> Repaired:
        """All of the last day: those that ended before the gap are known."""
        rows = [row for row in _list(data) if _frames.milliseconds(row.updated_at or row.end_at) >= self._since]
        return Repaired(events=self._events(rows))

    def _one(self, call: Call, data: msgspec.Raw) -> Repaired:
        if bytes(data) == b"null":
            return Repaired(missing=[f"order {call.context}: not known to the venue"])
        return Repaired(events=self._events([_single(data)]))

    def _balances(self, call: Call, data: msgspec.Raw) -> Repaired:
        now = self._wall_ms()
        rows = [row for row in _accounts(data) if row.type in ("", "trade", "trade_hf")]
        return Repaired(events=[_events.position(row.currency, row.available, row.holds, now) for row in rows])

    def _balance(self, call: Call, data: msgspec.Raw) -> Repaired:
        row = _overview(data)
        asset = _markets.asset_name(row.currency)
        locked = decimal(row.position_margin) + decimal(row.order_margin) + decimal(row.frozen_funds)
        free = _frames.text(row.available_balance)
        return Repaired(events=[_events.position(asset, free, plain(locked), self._wall_ms())])

    def _events(self, rows: Sequence[_frames.RestOrder]) -> list[ExecutionReport]:
        """Reports of the rows whose state differs from the last one published."""
        known = {order.order_id: order for order in self._resume.orders} if self._resume else {}
        reports: list[ExecutionReport] = []
        for row in rows:
            self._found.add(row.id)
            report = self._account.rest_order(row)
            if report is None:
                continue
            last = known.get(row.id)
            same = last is not None and last.status == report.order_status
            if not (same and last is not None and decimal(last.executed) == decimal(report.total_trade_quantity)):
                reports.append(report)
        return reports

    def _failed(self, call: Call, answer: Answer, envelope: _rest.Envelope) -> Repaired:
        code = str(envelope.code)
        fail = _rest.failure(answer, envelope)
        if fail.kind is FailKind.RATE_LIMITED:
            return Repaired(retry=True, retry_after_s=fail.retry_after_s)
        if code == _rest.CLOCK or code.startswith("5"):
            return Repaired(retry=True)
        if call.tag == "order" and code in _UNKNOWN_ORDER:
            return Repaired(missing=[f"order {call.context}: not known to the venue"])
        return Repaired(missing=[f"{call.tag}: {fail.reason}"])

    @property
    def _since(self) -> int:
        return self._resume.since_ms if self._resume else self._wall_ms()

    def _get(self, tag: str, path: str, weight: int, pool: str = "", context: object = None) -> Call:
        url = self._rest + path
        return Call(tag=tag, method="GET", url=url, weight=weight, pool=pool or self._pool, context=context)
