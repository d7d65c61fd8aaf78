"""What to read over REST after a reconnect, and how the answers become events (docs/venues/coinbase.md, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call, FailKind, Instant, Resume
from exchanges._frames import UNREADABLE
from exchanges._numbers import plain
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges._rows import read_rows
from exchanges._times import rfc3339
from exchanges.coinbase._connection import API
from exchanges.coinbase._errors import failure_of
from exchanges.coinbase._orders import Memory, RestOrder, belongs, rest_execution_report, unclear
from exchanges.events import AccountEvent, AccountPosition, Balance

PAGE: Final = 250
MAX_PAGES: Final = 40
"""Pages that one list is followed for; a cursor that never ends must not keep an account from going live."""


class _Amount(msgspec.Struct):
    value: str | None = "0"


class _AccountRow(msgspec.Struct):
    currency: str
    available_balance: _Amount | None = None
    hold: _Amount | None = None


class _Fill(msgspec.Struct):
    order_id: str


class _Page(msgspec.Struct):
    """Any of the answers; each fills its own list."""

    orders: msgspec.Raw = msgspec.Raw(b"[]")
    fills: msgspec.Raw = msgspec.Raw(b"[]")
    accounts: msgspec.Raw = msgspec.Raw(b"[]")
    order: msgspec.Raw = msgspec.Raw(b"")
    cursor: str | None = ""
    has_next: bool | None = None


class _Context(msgspec.Struct, frozen=True):
    params: tuple[tuple[str, str], ...] = ()
    order_id: str = ""
    page: int = 1


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_order = msgspec.json.Decoder(RestOrder).decode
_decode_fill = msgspec.json.Decoder(_Fill).decode
_decode_account = msgspec.json.Decoder(_AccountRow).decode


class GapPlan:
    """The REST half of one account's gap. `first` → `parse` of every answer → `then` once all is read."""

    def __init__(self, rest: str, stream_id: str, memory: Memory) -> None:
        self._base = f"{rest}{API}"
        self._stream_id = stream_id
        self._memory = memory
        self._resume = Resume(since_ms=0)
        self._seen: set[str] = set()
        self._filled: dict[str, None] = {}
        self.then = Steps(Singles(self._unseen, self._singles)).then

    def first(self, resume: Resume) -> list[Call]:
        self._resume = resume
        since = rfc3339(resume.since_ms)
        spot = ("product_type", "SPOT")
        limit = ("limit", str(PAGE))
        return [
            self._call("open-orders", "/orders/historical/batch", (("order_status", "OPEN"), spot, limit)),
            self._call("changed-orders", "/orders/historical/batch", (("start_date", since), spot, limit)),
            self._call("fills", "/orders/historical/fills", (("start_sequence_timestamp", since), limit)),
            self._call("accounts", "/accounts", (limit,)),
        ]

    def _unseen(self) -> list[str]:
        """Orders that had fills, or that we believed open, and that no list has shown.

        The list of open orders leaves PENDING and QUEUED out, and whether `start_date` filters by change is not documented.
        """
        wanted = dict(self._filled)
        wanted.update(dict.fromkeys(order.order_id for order in self._resume.orders if not order.terminal))
        return [order_id for order_id in wanted if order_id not in self._seen]

    def _singles(self, order_ids: Sequence[str]) -> list[Call]:
        return [self.order(order_id) for order_id in order_ids]

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        failure = failure_of(answer)
        if failure is not None:
            # A 401 may be a token that waited too long: one more try with a fresh one, not four.
            again = failure.retry and (failure.kind is not FailKind.CREDENTIAL or call.attempt == 1)
            if again:
                return Repaired(retry=True, retry_after_s=failure.retry_after_s)
            return Repaired(missing=(f"{_label(call)}: {failure.reason}",))
        try:
            return self._read(call, _decode_page(answer.body), now)
        except UNREADABLE as error:
            return Repaired(missing=(f"{_label(call)}: {error}",))

    def _read(self, call: Call, page: _Page, now: Instant) -> Repaired:
        """What an answer says, row by row. Raises what `UNREADABLE` names."""
        events: list[AccountEvent] = []
        if call.tag == "accounts":
            accounts, odd = read_rows(page.accounts, _decode_account)
            missing = [odd.phrase("balances")] if odd else []
            events, known = _positions(accounts, now, call), bool(accounts)
        elif call.tag == "fills":
            fills, odd = read_rows(page.fills, _decode_fill)
            missing = [odd.phrase("fills")] if odd else []
            known = bool(fills)
            self._filled.update(dict.fromkeys(fill.order_id for fill in fills))
        else:
            single = bytes(page.order) not in (b"", b"null")
            rows, odd = read_rows(b"[" + bytes(page.order) + b"]" if single else page.orders, _decode_order)
            known = bool(rows)
            events, missing = self._orders(rows, now)
            missing += [f"{_label(call)}: {odd.phrase('orders')}"] if odd else []
            if call.tag == "order" and not rows and not odd:
                missing.append(not_known(_context(call).order_id))
        more = self._more(call, page, known=known)
        return Repaired(events=events, missing=[*missing, *more.missing], calls=more.calls)

    def _orders(self, rows: Sequence[RestOrder], now: Instant) -> tuple[list[AccountEvent], list[str]]:
        events: list[AccountEvent] = []
        missing: list[str] = []
        for order in rows:
            if order.order_id in self._seen or not belongs(order):
                self._seen.add(order.order_id)
                continue
            self._seen.add(order.order_id)
            if reason := unclear(order.status, order.filled_size, order.average_filled_price, order.filled_value):
                missing.append(f"order {order.order_id}: {reason}")
                continue
            try:
                event = rest_execution_report(order, now.wall_ms, self._memory)
            except ValueError as error:
                missing.append(f"order {order.order_id} can't be read: {error}")
                continue
            if event is not None:
                events.append(event)
        return events, missing

    def looked_up(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        """What REST says about an order that the channel told in an unlisted word. A list may have shown it before."""
        self._seen.discard(_context(call).order_id)
        return self.parse(call, answer, now)

    def order(self, order_id: str) -> Call:
        """One order by its id."""
        return self._call("order", f"/orders/historical/{order_id}", (), order_id)

    def _more(self, call: Call, page: _Page, *, known: bool) -> Repaired:
        """The next page: `has_next` tells where it exists, a cursor where it does not."""
        context = _context(call)
        if not page.cursor or not known or page.has_next is False:
            return Repaired()
        if context.page >= MAX_PAGES:
            return Repaired(missing=(f"{call.tag}: more than {MAX_PAGES} pages",))
        base = call.url.partition("?")[0]
        url = f"{base}?{urlencode((*context.params, ('cursor', page.cursor)))}"
        following = msgspec.structs.replace(context, page=context.page + 1)
        return Repaired(calls=[Call(tag=call.tag, method="GET", url=url, stream_id=self._stream_id, context=following)])

    def _call(self, tag: str, path: str, params: tuple[tuple[str, str], ...], order_id: str = "") -> Call:
        url = f"{self._base}{path}?{urlencode(params)}" if params else f"{self._base}{path}"
        return Call(tag=tag, method="GET", url=url, stream_id=self._stream_id, context=_Context(params, order_id))


def _positions(rows: Sequence[_AccountRow], now: Instant, call: Call) -> list[AccountEvent]:
    balances = [
        Balance(
            asset=row.currency,
            free=_amount(row.available_balance),
            locked=_amount(row.hold),
        )
        for row in rows
    ]
    if not balances:
        return []
    message_id = f"accounts:{now.wall_ms}:{_context(call).page}"
    return [
        AccountPosition(
            event_time=now.wall_ms, last_account_update=now.wall_ms, balances=balances, unique_message_id=message_id
        )
    ]


def _amount(amount: _Amount | None) -> str:
    return plain((amount.value if amount is not None else None) or "0")


def _context(call: Call) -> _Context:
    return call.context if isinstance(call.context, _Context) else _Context()


def _label(call: Call) -> str:
    """What a call was about, for the gap report."""
    order_id = _context(call).order_id
    return f"order {order_id}" if order_id else call.tag
