"""What is read after a reconnect: orders that are open or changed since, then the known ones that no page showed."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from exchanges.template._errors import CLOCK, REST, UNKNOWN_ORDER, failure_of
from exchanges.template._orders import decode_order, execution_report, unclear
from exchanges.template._symbols import decode_rows

from exchanges._adapter import Answer, Call, FailKind, Instant, Resume
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._plan import Singles, Steps, not_known
from exchanges._repair import Repaired
from exchanges._rows import read_rows


class _Time(msgspec.Struct):
    time: int


_decode_time = msgspec.json.Decoder(_Time).decode


def time_of(answer: Answer) -> int | None:
    """The venue's clock in ms; None if the answer does not tell it."""
    try:
        return _decode_time(answer.body).time if failure_of(answer) is None else None
    except UNREADABLE:
        return None


class GapPlan:
    """`first` → `parse` of every answer → `then` once all is read."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._resume = Resume(since_ms=0)
        self._seen: set[str] = set()
        self.then = Steps(Singles(self._unseen, lambda ids: [self.single(order_id) for order_id in ids])).then

    def first(self, resume: Resume) -> list[Call]:
        self._resume = resume
        return [self._page(0)]

    def _unseen(self) -> Sequence[str]:
        return [o.order_id for o in self._resume.orders if not o.terminal and o.order_id not in self._seen]

    def _page(self, page: int) -> Call:
        query = urlencode({"since": self._resume.since_ms, "page": page})
        return Call(tag="orders", method="GET", url=f"{REST}/orders?{query}", context=page)

    def single(self, order_id: str) -> Call:
        """Ask for one order."""
        return Call(tag="order", method="GET", url=f"{REST}/order?{urlencode({'id': order_id})}", context=order_id)

    def time(self) -> Call:
        return Call(tag="time", method="GET", url=f"{REST}/time")

    def parse(self, call: Call, answer: Answer, now: Instant) -> Repaired:
        failure = failure_of(answer)
        if failure is not None and failure.code == UNKNOWN_ORDER:
            return Repaired(missing=[not_known(call.context)])
        if failure is not None:
            if failure.kind in (FailKind.CREDENTIAL, FailKind.REQUEST):
                return Repaired(missing=[f"{call.tag}: {failure.reason}"])
            return Repaired(retry=True, calls=[self.time()] if failure.code == CLOCK else ())
        try:
            if call.tag == "time":
                return Repaired(outputs=[self._clock.read(_decode_time(answer.body).time, now)])
            page = decode_rows(answer.body)
            rows, odd = read_rows(page.rows, decode_order)
        except UNREADABLE as error:
            return Repaired(missing=[f"{call.tag}: {error}"])
        self._seen.update(row.id for row in rows)
        missing = [f"orders: {odd.phrase('orders')}"] if odd else []
        missing += [f"order {row.id}: {unclear(row)}" for row in rows if unclear(row)]
        events = [event for row in rows if (event := execution_report(row)) is not None]
        more = [self._page(call.context + 1)] if page.more and isinstance(call.context, int) else []
        return Repaired(events=events, calls=more, missing=missing)
