"""What of the orders that REST tells is news. Shared by the gap plans of classic and unified accounts."""

from __future__ import annotations

from collections.abc import Iterable

from exchanges._adapter import Answer, Call, Instant, KnownOrder, UserSubscription
from exchanges._numbers import decimal
from exchanges._repair import Parse, Repaired
from exchanges.events import TERMINAL, AccountEvent, ExecutionReport
from exchanges.kucoin import _orders


class Telling:
    """What of an account's orders is news, and ends that wait until everything else is known. Shared with unified accounts.

    An order that `alter` replaced ends under the client id of the one that goes on: such an end is not told, and what it
    filled is part of the other one's end. Which ends are such is known only when all lists are read.
    """

    def __init__(self, account: _orders.Account, subscription: UserSubscription) -> None:
        self._account = account
        self.known = {order.order_id: order for order in subscription.resume.orders} if subscription.resume else {}
        self.found: set[str] = set()
        self._ends: list[ExecutionReport] = []
        self.hold = True
        """Whether ends wait; those of orders that are asked for while the stream is live do not."""

    def news(self, reports: Iterable[ExecutionReport]) -> list[AccountEvent]:
        """Those whose state differs from the last one published."""
        events: list[AccountEvent] = []
        for report in reports:
            if self.hold and report.order_status in TERMINAL and report.new_client_order_id:
                self._ends.append(report)
                continue
            told = self._account.clients.told(report)
            if told is not None and not self._same(told):
                events.append(told)
        return events

    def ends(self, _now: Instant) -> Repaired:
        """The last step of a plan."""
        ends, self._ends = self._ends, []
        return Repaired(events=[report for report in self._account.clients.ends(ends) if not self._same(report)])

    def at_once(self, parse: Parse, call: Call, answer: Answer, now: Instant) -> Repaired:
        """Read the answer about an order that is asked for while the stream is live."""
        self.hold = False
        try:
            return parse(call, answer, now)
        finally:
            self.hold = True

    def gone(self) -> list[KnownOrder]:
        """Orders that were open when the stream was last live and that no list has named."""
        return [order for order in self.known.values() if not order.terminal and order.order_id not in self.found]

    def _same(self, report: ExecutionReport) -> bool:
        last = self.known.get(str(report.order_id))
        return (
            last is not None
            and last.status == report.order_status
            and decimal(last.executed) == decimal(report.total_trade_quantity)
        )
