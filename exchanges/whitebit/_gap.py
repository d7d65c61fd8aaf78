"""Gap repair of one account: which calls to make, and what their answers mean (docs.whitebit.com: HTTP private)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges.events import AccountEvent, Balance, ExecutionReport
from exchanges.instruments import SymbolTable
from exchanges.whitebit._chain import Unsure
from exchanges.whitebit._clients import ClientOrders
from exchanges.whitebit._connection_frames import decode_raws
from exchanges.whitebit._errors import failure_of
from exchanges.whitebit._orders import (
    Number,
    Orders,
    Row,
    decode_assets,
    margin_balance,
    may_go_on,
    of_known,
    position,
    rest_row,
    spot_balance,
    time_ms,
)
from exchanges.whitebit._signer import private_call
from exchanges.whitebit._symbols import FUTURES, wire_of

PAGE: Final = 100
MAX_PAGES: Final = 20
OVERLAP_S: Final = 60
MONTHS_S: Final = 31 * 86_400
"""Longest span of one question for ended orders; no date asks for a month."""
MAX_SINGLES: Final = 200
SINGLES_AT_ONCE: Final = 20
OPEN: Final = "open orders"
PAST: Final = "ended orders"
BALANCES: Final = "balances"
ORDER: Final = "order"
STILL: Final = "open orders of a market"
DEALS: Final = "deals of an order"
SHARE: Final = "deals of a modified order"


class _Deal(msgspec.Struct):
    time: Number = None
    amount: Number = None
    deal: Number = None


class _Deals(msgspec.Struct):
    records: list[_Deal] = []


_decode_deals = msgspec.json.Decoder(_Deals).decode


def order_call(order_id: str, tag: str = ORDER) -> Call:
    """Ask for one ended order by id; dates are ignored then."""
    number: object = int(order_id) if order_id.isascii() and order_id.isdigit() else order_id
    return private_call(tag, "trade-account/order/history", {"orderId": number, "limit": PAGE}, context=order_id)


def _deals_call(tag: str, order_id: str, context: object) -> Call:
    number: object = int(order_id) if order_id.isascii() and order_id.isdigit() else order_id
    params = {"orderId": number, "limit": PAGE, "offset": 0}
    return private_call(tag, "trade-account/order", params, context=context)


def _deals_of(body: bytes) -> list[_Deal]:
    """Raises one of `UNREADABLE`."""
    return [] if body.strip() == b"[]" else _decode_deals(body).records


def _sum(deals: Sequence[_Deal]) -> tuple[Decimal, Decimal]:
    """Base and quote."""
    size = sum((decimal(one.amount) for one in deals), Decimal(0))
    return size, sum((decimal(one.deal) for one in deals), Decimal(0))


def _before(known: KnownOrder, deals: Sequence[_Deal]) -> tuple[Decimal, Decimal] | None:
    """What ids before this one had executed of what was told of an order whose row is gone; None = that can't be told.

    An order that was never modified was told with the sum of its oldest deals. Of another one what was told then is its
    deals up to that time, and what is missing there is of the ids before.
    """
    told, value = decimal(known.executed), decimal(known.executed_quote)
    size = Decimal(0)
    oldest = sorted(deals, key=lambda one: time_ms(one.time))
    for deal in (None, *oldest):
        size += decimal(deal.amount) if deal is not None else 0
        if size == told:
            return Decimal(0), Decimal(0)
    if known.order_time_ms <= known.creation_time_ms:
        return None  # told by a list, which has no other time
    then = _sum([one for one in oldest if time_ms(one.time) <= known.order_time_ms])
    return (told - then[0], value - then[1]) if then[0] < told else None


def history_rows(body: bytes) -> tuple[list[Row], int]:
    """The ended orders of an answer and how many can't be read. Raises one of `UNREADABLE`."""
    if body.strip().startswith(b"["):
        by_market: Mapping[str, msgspec.Raw] = {}
        bad = len(decode_raws(body))  # empty, unless the venue tells rows without their markets
    else:
        by_market, bad = decode_assets(body), 0
    rows: list[Row] = []
    for market, raw in by_market.items():
        try:
            listed = decode_raws(raw)
        except UNREADABLE:
            bad += 1
            continue
        for one in listed:
            try:
                rows.append(rest_row(one, market))
            except (*UNREADABLE, ValueError):
                bad += 1
    return rows, bad


class GapPlan:
    """The plan of one repair: open and ended orders, the wallet, then each order that was open and that no list shows."""

    def __init__(
        self,
        exchange: str,
        orders: Orders,
        clients: ClientOrders,
        resume: Resume | None,
        table: Callable[[], SymbolTable],
    ) -> None:
        self._exchange, self._orders, self._clients = exchange, orders, clients
        self._resume, self._table = resume, table
        self._known: dict[str, KnownOrder] = {one.order_id: one for one in resume.orders} if resume else {}
        self._found: set[str] = set()
        self.then = Steps(
            lambda _now: Repaired(events=self._clients.lists_read()),
            Singles(self._gone, self._singles, most=MAX_SINGLES, step=SINGLES_AT_ONCE),
            Singles(self._clients.unsure, self._shares, most=MAX_SINGLES, step=SINGLES_AT_ONCE),
            lambda _now: Repaired(events=self._clients.gap_read()),
        ).then

    def calls(self, now: Instant) -> Sequence[Call]:
        if self._resume is None:
            return []
        return [self._open(0), self._past(0, now), self.wallet()]

    def _open(self, offset: int) -> Call:
        return private_call(OPEN, "orders", {"limit": PAGE, "offset": offset}, context=offset)

    def _past(self, offset: int, now: Instant) -> Call:
        since_s = self._resume.since_ms // 1000 - OVERLAP_S if self._resume else 0
        oldest_s = now.wall_ms // 1000 - MONTHS_S
        params = {"startDate": max(since_s, oldest_s), "limit": PAGE, "offset": offset}
        return private_call(PAST, "trade-account/order/history", params, context=offset)

    def wallet(self) -> Call:
        """Ask for the wallet as it is."""
        futures = self._exchange == FUTURES
        return private_call(BALANCES, "collateral-account/balance-summary" if futures else "trade-account/balance", {})

    def _gone(self) -> list[str]:
        return [one.order_id for one in self._known.values() if not one.terminal and one.order_id not in self._found]

    @staticmethod
    def _singles(order_ids: Sequence[str]) -> list[Call]:
        return [order_call(order_id) for order_id in order_ids]

    @staticmethod
    def _shares(orders: Sequence[Unsure]) -> list[Call]:
        return [_deals_call(SHARE, one.order.order_id, one) for one in orders]

    def given_up(self, _call: Call, _now: Instant) -> Sequence[AccountEvent]:
        return self._clients.gap_read()

    # --- answers ---

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        failure = failure_of(answer)
        if failure is not None and "was not found" in failure.reason and call.tag == ORDER:
            return self._not_ended(str(call.context))
        if failure is not None:
            if failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return Repaired(missing=[f"{call.tag}: {failure.reason}"])
            return Repaired(retry=True, retry_after_s=failure.retry_after_s)
        try:
            return self._parse(call, answer.body, now)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{call.tag}: the answer is not understood"])

    def _parse(self, call: Call, body: bytes, now: Instant) -> Repaired:
        if call.tag == BALANCES:
            return self._balances(body, now)
        if call.tag == PAST:
            return self._past_page(call, body, now)
        if call.tag == ORDER:
            rows, bad = history_rows(body)
            mine = [row for row in rows if str(row.id) == str(call.context)]
            if mine or bad:
                return self._told(call, mine, bad, now, ended=True)
            return self._not_ended(str(call.context))
        if call.tag == DEALS:
            return self._deals(str(call.context), body, now)
        if call.tag == SHARE:
            return self._share(call, body)
        return self._open_page(call, body, now)

    def _open_page(self, call: Call, body: bytes, now: Instant) -> Repaired:
        raws = decode_raws(body)
        rows, bad = [], 0
        for raw in raws:
            try:
                rows.append(rest_row(raw))
            except (*UNREADABLE, ValueError):
                bad += 1
        if call.tag == STILL:
            order_id = str(call.context)
            mine = [row for row in rows if str(row.id) == order_id]
            if mine:
                return self._told(call, mine, 0, now, ended=False)
            if bad or len(raws) >= PAGE:
                return Repaired(missing=[not_known(order_id)])
            return Repaired(calls=[_deals_call(DEALS, order_id, order_id)])
        told = self._told(call, rows, bad, now, ended=False)
        return self._more(call, told, len(raws), self._open)

    def _past_page(self, call: Call, body: bytes, now: Instant) -> Repaired:
        rows, bad = history_rows(body)
        told = self._told(call, rows, bad, now, ended=True)
        oldest = self._resume is not None and self._resume.since_ms // 1000 < now.wall_ms // 1000 - MONTHS_S
        if oldest:
            told = msgspec.structs.replace(told, missing=[*told.missing, "orders that ended more than 31 days ago"])
        return self._more(call, told, len(rows) + bad, lambda offset: self._past(offset, now))

    def _more(self, call: Call, told: Repaired, count: int, page: Callable[[int], Call]) -> Repaired:
        following = int(str(call.context)) + PAGE
        if count < PAGE:
            return told
        if following >= MAX_PAGES * PAGE:
            return msgspec.structs.replace(told, missing=[*told.missing, f"{call.tag}: more than {following}"])
        return msgspec.structs.replace(told, calls=[page(following)])

    def _told(self, call: Call, rows: Sequence[Row], bad: int, now: Instant, *, ended: bool) -> Repaired:
        missing = [f"{call.tag}: {bad} that can't be read"] if bad else []
        events: list[AccountEvent] = []
        for row in rows:
            if not self._orders.ours(row):
                continue
            order_id = str(row.id)
            self._found.add(order_id)
            if ended and not self._ended_since(row):
                continue
            report = self._orders.report(row, now.wall_ms, ended=ended)
            if isinstance(report, str):
                missing.append(f"order {order_id}: {report}")
            elif report is not None:
                told = self._clients.told(report, wait_until=None, may_go_on=may_go_on(row))
                events.extend(one for one in told if self._news(one))
        return Repaired(events=events, missing=missing)

    def _ended_since(self, row: Row) -> bool:
        """Whether an end is of the gap: whether the dates mean creation or end is not documented."""
        if str(row.id) in self._known:
            return True
        since_ms = self._resume.since_ms if self._resume else 0
        return time_ms(row.ftime, row.mtime, row.ctime) >= since_ms - OVERLAP_S * 1000

    def _news(self, report: ExecutionReport) -> bool:
        known = self._known.get(str(report.order_id))
        if known is None:
            return True
        if known.terminal:
            return False
        changed = decimal(known.executed) != decimal(report.total_trade_quantity)
        return known.status != report.order_status or changed

    def _not_ended(self, order_id: str) -> Repaired:
        """Neither open nor ended: a page may have moved while it was read, so its market is asked once more."""
        known = self._known.get(order_id)
        if known is None:
            return Repaired(missing=[not_known(order_id)])
        params = {"market": wire_of(known.symbol, self._exchange, self._table()), "limit": PAGE, "offset": 0}
        return Repaired(calls=[private_call(STILL, "orders", params, context=order_id)])

    def _deals(self, order_id: str, body: bytes, now: Instant) -> Repaired:
        """Brokers' accounts have no cancelled orders in the history: what is left of an order are its deals."""
        known = self._known.get(order_id)
        deals = _deals_of(body)
        if known is None or len(deals) >= PAGE:
            return Repaired(missing=[not_known(order_id)])
        executed, money = _sum(deals)
        before = _before(known, deals)
        missing = [] if before is not None else [f"order {order_id}: what it executed before it was modified"]
        if before is None and executed < decimal(known.executed):
            executed, money = decimal(known.executed), decimal(known.executed_quote)
        elif before is not None:
            executed, money = executed + before[0], money + before[1]
        end = of_known(known, executed, money, now.wall_ms)
        return Repaired(events=self._clients.told(end, wait_until=None, whole=True), missing=missing)

    def _share(self, call: Call, body: bytes) -> Repaired:
        """Which part of what was told of an order it had executed itself: its oldest deals, up to that amount."""
        unsure = call.context
        if not isinstance(unsure, Unsure):
            return Repaired()
        size = value = Decimal(0)
        for deal in sorted(_deals_of(body), key=lambda one: time_ms(one.time)):
            if size >= unsure.own:
                break
            size, value = size + decimal(deal.amount), value + decimal(deal.deal)
        if size != unsure.own:
            return Repaired(missing=[f"order {unsure.order.order_id}: its average from before it was modified"])
        return Repaired(events=self._clients.resolve(unsure, value))

    def _balances(self, body: bytes, now: Instant) -> Repaired:
        balances: list[Balance | None] = []
        bad = 0
        if self._exchange == FUTURES:
            for raw in decode_raws(body):
                try:
                    balances.append(margin_balance(raw))
                except UNREADABLE:
                    bad += 1
        else:
            assets = {} if body.strip() == b"[]" else decode_assets(body)
            for asset, raw in assets.items():
                try:
                    balances.append(spot_balance(asset, raw))
                except UNREADABLE:
                    bad += 1
        bad += sum(one is None for one in balances)
        told = [one for one in balances if one is not None]
        missing = [f"{BALANCES}: {bad} that can't be read"] if bad else []
        return Repaired(events=[position(told, now.wall_ms)] if told else [], missing=missing)
