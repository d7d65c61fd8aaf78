"""Gap repair of a classic KuCoin account: which calls to make, and what their answers mean (venues/kucoin.md 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._plan import Singles, Steps, not_known, once
from exchanges._repair import Repaired
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import ExecutionReport
from exchanges.kucoin import _errors, _orders, _rows, _symbols
from exchanges.kucoin._gap_telling import Telling

PAGE: Final = 100
FUTURES_PAGE: Final = 1000
MAX_PAGES: Final = 20
"""Pages that are read of one list; a gap with more orders says so in its report."""
AHEAD_MS: Final = 60_000
"""The end of the time range lies ahead of our clock: the venue's may run fast."""
DAY_MS: Final = 24 * 3_600_000
RECENT_MS: Final = DAY_MS
"""`recentDoneOrders` reaches this far back."""
WINDOW_MS: Final = 7 * DAY_MS
MAX_WINDOWS: Final = 4
"""No maximum is documented for a range of time; ccxt's own example walks in weeks."""
MAX_SYMBOLS: Final = 100
"""Symbols of known orders whose closed orders are read."""
MAX_HELD: Final = 20
"""Further symbols that the holdings hint at."""
QUOTES: Final = ("USDT", "USDC", "BTC", "ETH", "KCS")
"""What a coin that is held was most likely bought with."""
OTHER_SYMBOLS: Final = "closed orders on other symbols can't be asked for"
_LIQUIDATION: Final = "liq"
"""How the trade type of a liquidation begins."""
_SAME_LIQUIDATION_MS: Final = 60_000
_UNKNOWN_ORDER: Final = frozenset({"100001", "100004", "404000", "400100", "900014"})


class _Page(msgspec.Struct, rename="camel"):
    items: msgspec.Raw = msgspec.Raw()
    last_id: int | str | None = None
    current_page: int = 1
    total_page: int = 1


class _Symbols(msgspec.Struct, rename="camel"):
    symbols: list[str] | None = None
    symbol_list: list[str] | None = None


class _SpotAccount(msgspec.Struct):
    currency: str
    available: _rows.Figure
    holds: _rows.Number = "0"
    type: str = ""


class _Overview(msgspec.Struct, rename="camel"):
    currency: str
    available_balance: _rows.Figure
    position_margin: _rows.Number = None
    order_margin: _rows.Number = None
    frozen_funds: _rows.Number = None


_page = tolerant(_Page)
_order = tolerant(_rows.RestOrder)
_fill = tolerant(_rows.FillRow)
_traded = tolerant(_Symbols)
_account = tolerant(_SpotAccount)
_overview = tolerant(_Overview)


class Part(msgspec.Struct, frozen=True):
    """What of a list is asked for."""

    wire: str = ""
    start_ms: int = 0
    end_ms: int = 0
    page: int = 1


class GapPlan:
    """The plan of one repair: open and recent orders and balances, then what is left of the known open orders."""

    def __init__(
        self, account: _orders.Account, subscription: UserSubscription, stamp: Callable[[Instant], int]
    ) -> None:
        self._account = account
        self._exchange = account.exchange
        self._rest = _symbols.rest_of(account.exchange)
        self._pool = _symbols.pool_of(account.exchange)
        self._resume = subscription.resume
        self._stamp = stamp
        self._since = self._resume.since_ms if self._resume else 0
        self._wires: dict[str, None] = {}
        self._held: dict[str, None] = {}
        self._forced: dict[str, list[_rows.FillRow]] = {}
        """Fills of liquidations, by the order that closed the position."""
        self.telling = Telling(account, subscription)
        steps = [once(self._symbol_orders)] if self._spot else []
        self.then = Steps(*steps, Singles(self.telling.gone, self._singles), self.telling.ends).then
        self._parsers: dict[str, Callable[[Call, msgspec.Raw, Instant], Repaired]] = {
            "open symbols": self._open_symbols,
            "open orders": self._orders,
            "closed orders": self._orders,
            "recent orders": self._recent,
            "order": self._one,
            "liquidations": self._liquidations,
            "balances": self._balances,
            "balance": self._balance,
        }

    @property
    def _spot(self) -> bool:
        return _symbols.is_spot(self._exchange)

    def saw(self, wire: str) -> None:
        """A live frame named this symbol: its closed orders are asked for as well."""
        self._wires[wire] = None

    def calls(self, now: Instant) -> Sequence[Call]:
        """The first step."""
        if self._resume is None:
            return []
        if self._spot:
            return [
                self._get("open symbols", "/api/v1/hf/orders/active/symbols", 2),
                self._get("balances", "/api/v1/accounts?type=trade", 5, pool="management"),
            ]
        assets = _symbols.own_assets(self._exchange, self._account.table())
        codes = sorted("XBT" if asset == "BTC" else asset for asset in assets or {"BTC"})
        if self._stamp(now) - self._since < RECENT_MS:
            closed = [self._get("recent orders", "/api/v1/recentDoneOrders", 5)]
        else:
            closed = self._closed_futures(now)
        return [
            self._open_futures(1),
            *closed,
            self._fills(1, now),
            *(self._get("balance", f"/api/v1/account-overview?currency={code}", 5, context=code) for code in codes),
        ]

    def looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """The same for an order that is asked for while the stream is live."""
        return self.telling.at_once(self.parse, call, answer, now)

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return self._failed(call, answer, envelope)
        try:
            return self._parsers[call.tag](call, envelope.data, now)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{_label(call)}: the answer is not understood"])

    def single(self, order_id: str, wire: str, tag: str = "order") -> Call:
        """Ask for one order."""
        path = (
            f"/api/v1/hf/orders/{quote(order_id)}?symbol={wire}" if self._spot else f"/api/v1/orders/{quote(order_id)}"
        )
        return self._get(tag, path, 2 if self._spot else 5, context=order_id)

    # --- steps ---

    def _symbol_orders(self, now: Instant) -> Repaired:
        """Closed spot orders can be had per symbol only: those of known and of open orders, and what the holdings hint at."""
        newest_first = sorted(self.telling.known.values(), key=lambda order: order.order_time_ms, reverse=True)
        known = list(dict.fromkeys([*self._wires, *(order.symbol for order in newest_first if order.symbol)]))
        held = [wire for wire in self._held if wire not in known]
        windows, missing = self._windows(now)
        if len(known) > MAX_SYMBOLS:
            missing.append(f"orders on {len(known) - MAX_SYMBOLS} further symbols")
        calls = [
            self._get("open orders", f"/api/v1/hf/orders/active?symbol={wire}", 2, context=Part(wire))
            for wire in known[:MAX_SYMBOLS]
        ]
        for wire in (*known[:MAX_SYMBOLS], *held[:MAX_HELD]):
            calls.extend(self._closed_spot(Part(wire, start, end), None) for start, end in windows)
        # Whether anything happened elsewhere can't be seen: the balances have no time, and their figures are not kept.
        return Repaired(calls=calls, missing=[*missing, OTHER_SYMBOLS])

    def _singles(self, orders: Sequence[KnownOrder]) -> list[Call]:
        return [self.single(order.order_id, order.symbol) for order in orders]

    def _windows(self, now: Instant) -> tuple[list[tuple[int, int]], list[str]]:
        """Spans of the gap, the oldest first and at least one, and what is too old for them."""
        now_ms = self._stamp(now)
        end = now_ms + AHEAD_MS
        # A position of a host whose clock was ahead begins later than now.
        first = max(min(self._since, now_ms), end - MAX_WINDOWS * WINDOW_MS)
        starts = range(first, end, WINDOW_MS)
        missing = ["orders that ended early in a long gap"] if first > self._since else []
        return [(start, min(start + WINDOW_MS, end)) for start in starts], missing

    def _closed_spot(self, part: Part, last_id: int | str | None) -> Call:
        cursor = f"&lastId={last_id}" if last_id is not None else ""
        times = f"startAt={part.start_ms}&endAt={part.end_ms}"
        path = f"/api/v1/hf/orders/done?symbol={part.wire}&{times}&limit={PAGE}{cursor}"
        return self._get("closed orders", path, 2, context=part)

    def _open_futures(self, page: int) -> Call:
        paging = f"&pageSize={FUTURES_PAGE}" + (f"&currentPage={page}" if page > 1 else "")
        return self._get("open orders", f"/api/v1/orders?status=active{paging}", 2, context=Part(page=page))

    def _fills(self, page: int, now: Instant) -> Call:
        """Fills of the gap: what says which of them was a liquidation."""
        start, end = self._windows(now)[0][-1]
        query = f"startAt={start}&endAt={end}&pageSize={FUTURES_PAGE}" + (f"&currentPage={page}" if page > 1 else "")
        return self._get("liquidations", f"/api/v1/fills?{query}", 5, context=Part(page=page))

    def _closed_futures(self, now: Instant) -> list[Call]:
        return [self._closed_futures_page(Part("", start, end)) for start, end in self._windows(now)[0]]

    def _closed_futures_page(self, part: Part) -> Call:
        paging = f"&pageSize={FUTURES_PAGE}&currentPage={part.page}"
        path = f"/api/v1/orders?status=done&startAt={part.start_ms}&endAt={part.end_ms}{paging}"
        return self._get("closed orders", path, 2, context=part)

    # --- answers ---

    def _open_symbols(self, _call: Call, data: msgspec.Raw, _now: Instant) -> Repaired:
        answer = _traded(data)
        self._wires.update(dict.fromkeys(answer.symbols or answer.symbol_list or ()))
        return Repaired()

    def _orders(self, call: Call, data: msgspec.Raw, _now: Instant) -> Repaired:
        if bytes(data).lstrip()[:1] == b"[":
            return self._told(call, data)
        page = _page(data)
        told = self._told(call, page.items)
        part = call.context if isinstance(call.context, Part) else Part()
        count = len(read_rows(page.items, _as_is)[0])
        more = count >= PAGE and page.last_id if self._spot else page.current_page < page.total_page
        if not more:
            return told
        if part.page >= MAX_PAGES:
            return msgspec.structs.replace(told, missing=[*told.missing, f"{call.tag}: more than {MAX_PAGES} pages"])
        part = msgspec.structs.replace(part, page=part.page + 1)
        return msgspec.structs.replace(told, calls=[self._further(call.tag, part, page.last_id)])

    def _further(self, tag: str, part: Part, last_id: int | str | None) -> Call:
        if self._spot:
            return self._closed_spot(part, last_id)
        return self._open_futures(part.page) if tag == "open orders" else self._closed_futures_page(part)

    def _recent(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        """All of the last day: those that ended before the gap are known. A full list may not reach back to its begin."""
        told = self._told(call, data, since_ms=self._since)
        full = len(read_rows(data, _as_is)[0]) >= FUTURES_PAGE
        return msgspec.structs.replace(told, calls=self._closed_futures(now)) if full else told

    def _liquidations(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        """Liquidations that nobody watched: one report for each order by which the venue closed a position."""
        page = _page(data)
        rows, odd = read_rows(page.items, _fill)
        part = call.context if isinstance(call.context, Part) else Part()
        for row in rows:
            if row.trade_type.lower().startswith(_LIQUIDATION):
                self._forced.setdefault(row.order_id, []).append(row)
        missing = [f"liquidations: {odd.phrase('fills')}"] if odd else []
        if page.current_page < page.total_page:
            if part.page < MAX_PAGES:
                return Repaired(calls=[self._fills(part.page + 1, now)], missing=missing)
            missing.append(f"liquidations: more than {MAX_PAGES} pages of fills")
        told = (self._account.liquidated(rows) for rows in self._forced.values())
        events = [report for report in told if report is not None and not self._told_live(report)]
        self._forced = {}
        return Repaired(events=events, missing=missing)

    def _told_live(self, report: ExecutionReport) -> bool:
        """Whether the position topic told it before the gap: its report has another client id."""
        orders = self._resume.orders if self._resume else ()
        return any(
            order.order_id == str(report.order_id)
            and order.symbol == report.symbol
            and abs(order.order_time_ms - report.order_time) < _SAME_LIQUIDATION_MS
            for order in orders
        )

    def _one(self, call: Call, data: msgspec.Raw, _now: Instant) -> Repaired:
        if bytes(data) == b"null":
            return Repaired(missing=[not_known(call.context)])
        return self._reported([_order(data)])

    def _told(self, call: Call, data: msgspec.Raw, since_ms: int = 0) -> Repaired:
        rows, odd = read_rows(data, _order)
        fresh = [row for row in rows if not since_ms or _rows.milliseconds(row.updated_at or row.end_at) >= since_ms]
        told = self._reported(fresh)
        if not odd:
            return told
        return msgspec.structs.replace(told, missing=[*told.missing, f"{call.tag}: {odd.phrase('orders')}"])

    def _reported(self, rows: Sequence[_rows.RestOrder]) -> Repaired:
        reports: list[ExecutionReport] = []
        missing: list[str] = []
        for row in rows:
            self.telling.found.add(row.id)
            if _orders.unlisted(row):
                missing.append(f"order {row.id}: state {str(row.status)[:40]}, which no page lists")
                continue
            report = self._account.rest_order(row)
            if report is not None:
                reports.append(report)
        return Repaired(events=self.telling.news(reports), missing=missing)

    def _balances(self, _call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        found, odd = read_rows(data, _account)
        now_ms = self._stamp(now)
        rows = [row for row in found if row.type in ("", "trade", "trade_hf")]
        listed = self._account.table()
        for row in rows:
            if decimal(row.available) + decimal(row.holds) > 0:
                pairs = (f"{row.currency}-{coin}" for coin in QUOTES)
                self._held.update(dict.fromkeys(pair for pair in pairs if listed.wire(pair) is not None))
        events = [
            _orders.position(row.currency, _rows.text(row.available), _rows.text(row.holds), now_ms) for row in rows
        ]
        return Repaired(events=events, missing=_odd_balances(odd))

    def _balance(self, _call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        row = _overview(data)
        asset = _symbols.asset_name(row.currency)
        locked = decimal(row.position_margin) + decimal(row.order_margin) + decimal(row.frozen_funds)
        free = _rows.text(row.available_balance)
        return Repaired(events=[_orders.position(asset, free, plain(locked), self._stamp(now))])

    def _failed(self, call: Call, answer: Answer, envelope: _errors.Envelope) -> Repaired:
        code = str(envelope.code)
        fail = _errors.failure(answer, envelope)
        if fail.kind is FailKind.RATE_LIMITED:
            return Repaired(retry=True, retry_after_s=fail.retry_after_s)
        if code == _errors.CLOCK or code.startswith("5"):
            return Repaired(retry=True)
        if call.tag == "order" and code in _UNKNOWN_ORDER:
            return Repaired(missing=[not_known(call.context)])
        return Repaired(missing=[f"{_label(call)}: {fail.reason}"])

    def _get(self, tag: str, path: str, weight: int, pool: str = "", context: object = None) -> Call:
        url = self._rest + path
        return Call(tag=tag, method="GET", url=url, weight=weight, pool=pool or self._pool, context=context)


def _as_is(raw: bytes) -> bytes:
    return raw


def _odd_balances(odd: Odd) -> list[str]:
    return [f"balances: {odd.phrase('coins')}"] if odd else []


def _label(call: Call) -> str:
    """What a call was about, for a report."""
    name = call.context.wire if isinstance(call.context, Part) else call.context
    return f"{call.tag} {name}" if name else call.tag
