"""Gap repair of a unified KuCoin account: which version of the API answers, which symbols it wants, what its answers mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, Note, Output, UserSubscription
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps, not_known, once
from exchanges._repair import Repaired
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import ExecutionReport
from exchanges.kucoin import _errors, _orders, _rows, _symbols
from exchanges.kucoin._gap import AHEAD_MS, QUOTES
from exchanges.kucoin._gap_telling import Telling
from exchanges.kucoin._orders_unified import BalancePush, RestOrder, balance_event, report_of, unclear

PAGE: Final = 200
MAX_PAGES: Final = 20
MAX_SYMBOLS: Final = 60
"""Spot lists that want a symbol are asked for so many."""
MAX_SINGLES: Final = 100
NEW_SYMBOLS: Final = "orders on symbols that were not used before can't be asked for"
_PARAMETER: Final = ("4001", "4002", "4003")
"""How the codes of parameter errors begin; the ones of keys (400003 …) were judged before."""
_UNKNOWN_ORDER: Final = frozenset({"100001", "100004", "404000", "900014"})


class Api:
    """Which version of the unified API answers: found with the account's mode, kept for all calls of the session."""

    def __init__(self, version: int = 2) -> None:
        self.version = version
        self.switched = False
        self.noted: set[int] = set()
        """Versions of which a page could not be read: told once each."""

    def url(self, path: str) -> str:
        return f"{_symbols.SPOT_REST}/api/ua/v{self.version}/{path}"

    def moved(self, url: str) -> str | None:
        """The same call at the other version, after this one's path was unknown; None if that was tried before."""
        if f"/api/ua/v{self.version}/" in url:
            if self.switched:
                return None
            self.version, self.switched = 3 - self.version, True
        return self.url(url.split("/api/ua/v", 1)[1][2:])


class _Page(msgspec.Struct, rename="camel"):
    items: msgspec.Raw = msgspec.Raw()
    list: msgspec.Raw = msgspec.Raw()
    page_number: int | str = 1
    total_page: int | str = 1
    last_id: int | str | None = None


class _Currency(msgspec.Struct):
    currency: str
    available: _rows.Figure
    hold: _rows.Number = "0"


class _Group(msgspec.Struct):
    currencies: msgspec.Raw = msgspec.Raw()


class _Balances(msgspec.Struct):
    accounts: msgspec.Raw = msgspec.Raw()


_page = tolerant(_Page)
_row = tolerant(RestOrder)
_balances = tolerant(_Balances)
_group = tolerant(_Group)
_currency = tolerant(_Currency)
_keys = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Ask(msgspec.Struct, frozen=True):
    """What a call was about."""

    symbol: str = ""
    page: int = 1
    order_id: str = ""


class UnifiedGap:
    """Balances and what can be asked for as a whole; then lists per symbol; then known open orders that no list has named."""

    def __init__(
        self,
        account: _orders.Account,
        subscription: UserSubscription,
        stamp: Callable[[Instant], int],
        api: Api,
    ) -> None:
        self._account = account
        self._resume = subscription.resume
        self._stamp = stamp
        self._api = api
        self._spot = _symbols.is_spot(account.exchange)
        self._trade_type = "SPOT" if self._spot else "FUTURES"
        # The SPOT lists of version 1 want a symbol (kucoin-api, ccxt); what version 2 wants is asked once.
        self._whole = not self._spot or api.version == 2
        self._seen: dict[str, None] = {}
        self._held: dict[str, None] = {}
        self.telling = Telling(account, subscription)
        self.then = Steps(
            once(self._lists), Singles(self.telling.gone, self._singles, most=MAX_SINGLES, step=20), self.telling.ends
        ).then

    def saw(self, symbol: str) -> None:
        """A live frame named this symbol: its lists are asked for as well."""
        self._seen[symbol] = None

    def calls(self, now: Instant) -> Sequence[Call]:
        if self._resume is None:
            return []
        calls = [self._get("balances", "unified/account/balance", _Ask())]
        if self._whole:
            calls.append(self._open(_Ask()))
        if not self._spot:
            calls.append(self._history(_Ask(), None, now))
        return calls

    # --- steps ---

    def _lists(self, now: Instant) -> Repaired:
        if not self._spot:
            return Repaired()
        if self._whole:
            return Repaired(calls=[self._history(_Ask(), None, now)])
        newest_first = sorted(self.telling.known.values(), key=lambda order: order.order_time_ms, reverse=True)
        known = [order.symbol for order in newest_first if order.symbol]
        names = list(dict.fromkeys([*known, *self._seen, *self._held]))
        missing = [NEW_SYMBOLS]
        if len(names) > MAX_SYMBOLS:
            missing.append(f"orders on {len(names) - MAX_SYMBOLS} further symbols")
        asks = [_Ask(symbol) for symbol in names[:MAX_SYMBOLS]]
        calls = [call for ask in asks for call in (self._open(ask), self._history(ask, None, now))]
        return Repaired(calls=calls, missing=missing)

    def _singles(self, orders: Sequence[KnownOrder]) -> list[Call]:
        return [self.single(order.order_id, self._account.wire(order.symbol) or order.symbol) for order in orders]

    def single(self, order_id: str, symbol: str) -> Call:
        """Ask for one order by the venue's own symbol."""
        query = f"tradeType={self._trade_type}&symbol={symbol}&orderId={order_id}"
        return self._get("order", f"unified/order/detail?{query}", _Ask(order_id=order_id))

    def _open(self, ask: _Ask) -> Call:
        query = f"tradeType={self._trade_type}{_symbol(ask)}&pageNumber={ask.page}&pageSize={PAGE}"
        return self._get("open orders", f"unified/order/open-list?{query}", ask)

    def _history(self, ask: _Ask, last_id: int | str | None, now: Instant) -> Call:
        cursor = f"&lastId={last_id}" if last_id is not None else ""
        since = self._resume.since_ms if self._resume else self._stamp(now)
        times = f"&startAt={since}&endAt={self._stamp(now) + AHEAD_MS}&pageSize={PAGE}{cursor}"
        return self._get(
            "closed orders", f"unified/order/history?tradeType={self._trade_type}{_symbol(ask)}{times}", ask
        )

    def _get(self, tag: str, path: str, ask: _Ask) -> Call:
        return Call(tag=tag, method="GET", url=self._api.url(path), weight=4, pool="unified", context=ask)

    # --- answers ---

    def looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """The same for an order that is asked for while the stream is live."""
        return self.telling.at_once(self.parse, call, answer, now)

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        envelope = _errors.read(answer)
        if not _errors.succeeded(answer, envelope):
            return self._failed(call, answer, envelope)
        try:
            if call.tag == "balances":
                return self._wallets(envelope.data, now)
            if call.tag == "order":
                return self._one(call, envelope.data)
            return self._rows(call, envelope.data, now)
        except (*UNREADABLE, ValueError):
            missing = [f"{_label(call)}: the answer is not understood"]
            return Repaired(missing=missing, outputs=self._shape(call, envelope.data))

    def _shape(self, call: Call, data: msgspec.Raw) -> list[Output]:
        """The names of what a page that can't be read holds, once a version: its shape was not documented."""
        if self._api.version in self._api.noted:
            return []
        self._api.noted.add(self._api.version)
        try:
            names = ", ".join(sorted(_keys(data)))[:200]
        except UNREADABLE:
            names = "no object"
        return [Note(f"unified API v{self._api.version}: {call.tag} can't be read, it holds: {names}", "error")]

    def _failed(self, call: Call, answer: Answer, envelope: _errors.Envelope) -> Repaired:
        ask, code = _ask(call), str(envelope.code)
        fail = _errors.failure(answer, envelope)
        if fail.kind is FailKind.RATE_LIMITED:
            return Repaired(retry=True, retry_after_s=fail.retry_after_s)
        if code == _errors.CLOCK or code.startswith("5"):
            return Repaired(retry=True)
        if call.tag == "order" and code in _UNKNOWN_ORDER:
            return Repaired(missing=[not_known(ask.order_id)])
        if _errors.unknown_path(answer, envelope):
            return self._moved(call)
        if self._spot and call.tag == "open orders" and not ask.symbol and code.startswith(_PARAMETER):
            self._whole = False
            return Repaired()
        return Repaired(missing=[f"{_label(call)}: {fail.reason}"])

    def _moved(self, call: Call) -> Repaired:
        """The path is unknown: the other version is asked, once."""
        url = self._api.moved(call.url)
        if url is None:
            return Repaired(missing=[f"{_label(call)}: the venue does not know the path"])
        if self._spot and self._api.version == 1 and call.tag == "open orders" and not _ask(call).symbol:
            self._whole = False
            return Repaired()
        return Repaired(calls=[msgspec.structs.replace(call, url=url)])

    def _rows(self, call: Call, data: msgspec.Raw, now: Instant) -> Repaired:
        page = _Page(items=data) if bytes(data).lstrip()[:1] == b"[" else _page(data)
        listed = page.items if page.items else page.list
        if not listed and bytes(data) != b"null":
            raise ValueError("a page without a list")
        rows, odd = read_rows(listed, _row)
        told = self._reported(rows, odd, call.tag)
        ask = _ask(call)
        more: Call | None = None
        further = msgspec.structs.replace(ask, page=ask.page + 1)
        if call.tag == "open orders" and ask.page < int(page.total_page):
            more = self._open(further)
        if call.tag == "closed orders" and len(rows) + odd.number >= PAGE and page.last_id is not None:
            more = self._history(further, page.last_id, now)
        if more is None:
            return told
        if ask.page >= MAX_PAGES:
            return msgspec.structs.replace(
                told, missing=[*told.missing, f"{_label(call)}: more than {MAX_PAGES} pages"]
            )
        return msgspec.structs.replace(told, calls=[more])

    def _one(self, call: Call, data: msgspec.Raw) -> Repaired:
        if bytes(data) == b"null":
            return Repaired(missing=[not_known(_ask(call).order_id)])
        return self._reported([_row(data)], Odd(), call.tag)

    def _reported(self, rows: Sequence[RestOrder], odd: Odd, tag: str) -> Repaired:
        missing = [f"{tag}: {odd.phrase('orders')}"] if odd else []
        reports: list[ExecutionReport] = []
        for row in rows:
            self.telling.found.add(row.order_id)
            if reason := unclear(row.status, row.filled_size, row.avg_price, row.price):
                missing.append(f"order {row.order_id}: {reason}")
                continue
            report = report_of(self._account.exchange, self._account.pair, row, self._trade_type)
            if report is not None:
                reports.append(report)
        return Repaired(events=self.telling.news(reports), missing=missing)

    def _wallets(self, data: msgspec.Raw, now: Instant) -> Repaired:
        accounts = _balances(data).accounts
        if not accounts:
            raise ValueError("balances without accounts")
        groups, odd_groups = read_rows(accounts, _group)
        now_ns = self._stamp(now) * 10**6
        events, missing = [], [f"balances: {odd_groups.phrase('accounts')}"] if odd_groups else []
        for group in groups:
            rows, odd = read_rows(group.currencies, _currency)
            if odd:
                missing.append(f"balances: {odd.phrase('coins')}")
            for row in rows:
                self._hint(row)
                if self._account.owns_asset(row.currency):
                    push = BalancePush(currency=row.currency, available=row.available, hold=row.hold, updated=now_ns)
                    events.append(balance_event(push))
        return Repaired(events=events, missing=missing)

    def _hint(self, row: _Currency) -> None:
        """A coin that is held was bought somewhere: its pairs are worth a question where the lists want a symbol."""
        if decimal(row.available) + decimal(row.hold) <= 0:
            return
        table = self._account.table()
        pairs = (f"{row.currency}-{coin}" for coin in QUOTES)
        self._held.update(dict.fromkeys(pair for pair in pairs if table.wire(pair) is not None))


def _symbol(ask: _Ask) -> str:
    return f"&symbol={ask.symbol}" if ask.symbol else ""


def _ask(call: Call) -> _Ask:
    return call.context if isinstance(call.context, _Ask) else _Ask()


def _label(call: Call) -> str:
    """What a call was about, for a report."""
    ask = _ask(call)
    name = ask.order_id or ask.symbol
    return f"{call.tag} {name}" if name else call.tag
