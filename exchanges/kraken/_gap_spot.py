"""Gap repair of a spot account: which calls to make, and what their answers mean (docs/venues/kraken.md, section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, KnownOrder, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges._rows import tolerant
from exchanges.events import AccountEvent, Balance, ExecutionReport
from exchanges.kraken._balances import position
from exchanges.kraken._errors import read_spot
from exchanges.kraken._hosts import SPOT_REST
from exchanges.kraken._orders_spot import Number, Orders, RestOrder
from exchanges.kraken._symbols import asset_name

PAGE: Final = 50
MAX_PAGES: Final = 10
"""Of closed orders: each page is one of the 15 points that a new key has."""
MAX_SINGLES: Final = 200
PER_QUERY: Final = 50
OVERLAP_S: Final = 60
"""Closed orders are asked for from this long before the gap: the venue sorts by its own clock."""


class _Open(msgspec.Struct):
    open: dict[str, msgspec.Raw] | None = None


class _Closed(msgspec.Struct):
    closed: dict[str, msgspec.Raw] | None = None
    count: int = 0


class _Held(msgspec.Struct):
    balance: Number = None
    hold_trade: Number = None


_decode_open = msgspec.json.Decoder(_Open).decode
_decode_closed = msgspec.json.Decoder(_Closed).decode
_decode_rows = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_order = tolerant(RestOrder)
_decode_held = msgspec.json.Decoder(_Held).decode


def query_orders(order_ids: Sequence[str], tag: str) -> Call:
    """Ask for up to 50 orders by id. The venue's `userref` can't be used: many orders share one."""
    return _call(tag, "QueryOrders", txid=",".join(order_ids), context=tuple(order_ids))


def _call(tag: str, path: str, context: object = None, **form: str) -> Call:
    url = f"{SPOT_REST}/0/private/{path}"
    return Call(tag=tag, method="POST", url=url, body=urlencode(form), pool="private", context=context)


def orders_in(data: bytes) -> tuple[dict[str, RestOrder], int]:
    """The orders of a `QueryOrders` answer, and how many of them can't be read. Raises what `UNREADABLE` lists."""
    return _readable(_decode_rows(data))


def _readable(rows: dict[str, msgspec.Raw]) -> tuple[dict[str, RestOrder], int]:
    found: dict[str, RestOrder] = {}
    for order_id, raw in rows.items():
        try:
            found[order_id] = _decode_order(raw)
        except UNREADABLE:
            continue
    return found, len(rows) - len(found)


class SpotGap:
    """The plan of one repair: balances, open and closed orders, then what is left of the orders that were open."""

    def __init__(self, orders: Orders, resume: Resume | None) -> None:
        self._orders = orders
        self._resume = resume
        self._known: dict[str, KnownOrder] = {one.order_id: one for one in resume.orders} if resume else {}
        self._found: set[str] = set()
        self.then = Steps(Singles(self._gone, self._singles, most=MAX_SINGLES)).then

    def calls(self) -> Sequence[Call]:
        if self._resume is None:
            return []
        return [_call("open orders", "OpenOrders", trades="false"), self._closed(0), _call("balances", "BalanceEx")]

    def _closed(self, offset: int) -> Call:
        since_s = self._resume.since_ms // 1000 - OVERLAP_S if self._resume else 0
        form = {"start": str(since_s), "closetime": "both", "ofs": str(offset), "trades": "false"}
        return _call("closed orders", "ClosedOrders", offset, **form)

    def _gone(self) -> list[str]:
        """Orders that were open when the stream was last live and that no list has named."""
        return [one.order_id for one in self._known.values() if not one.terminal and one.order_id not in self._found]

    @staticmethod
    def _singles(order_ids: Sequence[str]) -> list[Call]:
        return [query_orders(order_ids[at : at + PER_QUERY], "orders") for at in range(0, len(order_ids), PER_QUERY)]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        read = read_spot(answer)
        if read.failure is not None:
            if read.failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return Repaired(missing=[f"{call.tag}: {read.failure.reason}"])
            return Repaired(retry=True, retry_after_s=read.failure.retry_after_s)
        try:
            return self._parse(call, read.data, now)
        except (*UNREADABLE, ValueError):
            return Repaired(missing=[f"{call.tag}: the answer is not understood"])

    def _parse(self, call: Call, data: bytes, now: Instant) -> Repaired:
        if call.tag == "balances":
            events, bad = balance_events(_decode_rows(data), now.wall_ms)
            return Repaired(events=events, missing=[f"balances: {bad} that can't be read"] if bad else [])
        if call.tag == "open orders":
            return self._listed(call, _decode_open(data).open or {}, now)
        if call.tag == "closed orders":
            return self._closed_page(call, _decode_closed(data), now)
        asked = call.context if isinstance(call.context, tuple) else ()
        rows = _decode_rows(data)
        told = self._listed(call, rows, now)
        missing = [not_known(order_id) for order_id in asked if order_id not in rows]
        return Repaired(events=told.events, missing=[*told.missing, *missing])

    def _closed_page(self, call: Call, page: _Closed, now: Instant) -> Repaired:
        rows = page.closed or {}
        told = self._listed(call, rows, now)
        following = (int(str(call.context)) if call.context is not None else 0) + PAGE
        if len(rows) < PAGE or (page.count and following >= page.count):
            return told
        if following >= MAX_PAGES * PAGE:
            return Repaired(events=told.events, missing=[*told.missing, f"closed orders: more than {following}"])
        return Repaired(events=told.events, calls=[self._closed(following)], missing=told.missing)

    def _listed(self, call: Call, rows: dict[str, msgspec.Raw], now: Instant) -> Repaired:
        self._found.update(rows)
        orders, unreadable = _readable(rows)
        missing = [f"{call.tag}: {unreadable} that can't be read"] if unreadable else []
        events: list[AccountEvent] = []
        for order_id, order in orders.items():
            report = self._orders.rest_report(order_id, order, now.wall_ms)
            if isinstance(report, str):
                missing.append(f"order {order_id}: {report}")
            elif self._news(report):
                events.append(report)
        return Repaired(events=events, missing=missing)

    def _news(self, report: ExecutionReport) -> bool:
        """Whether the state is other than the one published last; what is unknown counts if something happened since."""
        known = self._known.get(str(report.order_id))
        status = report.order_status
        if known is None:
            since_ms = self._resume.since_ms if self._resume else 0
            return report.order_time >= since_ms or status == "PARTIALLY_FILLED"
        if known.terminal:
            return False
        if known.status != status or decimal(known.executed) != decimal(report.total_trade_quantity):
            return True
        amended = decimal(known.quantity) != decimal(report.quantity) or decimal(known.price) != decimal(report.price)
        return status == "NEW" and amended


def balance_events(rows: Mapping[str, msgspec.Raw], now_ms: int) -> tuple[list[AccountEvent], int]:
    """One event with the spot wallet, and the number of rows that can't be read.

    `locked` is left out, as on the stream. Names with a dot are earn wallets.
    """
    balances: list[Balance] = []
    bad = 0
    for code, raw in rows.items():
        try:
            held = _decode_held(raw)
        except UNREADABLE:
            bad += 1
            continue
        if "." not in code and held.balance is not None:
            balances.append(Balance(asset=asset_name(code), free=plain(decimal(held.balance))))
    return [position(balances, now_ms)] if balances else [], bad
