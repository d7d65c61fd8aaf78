"""Client orders: the order ids that one client id has had (docs/venues/whitebit.md, "Modify").

The venue carries out a modify as a cancel and a new order: another order id with totals of its own, the same client id.
Whoever books by client id must not be told that cancel, and what the ids before executed is part of the order's totals.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, plain
from exchanges.events import TERMINAL, ExecutionReport
from exchanges.whitebit._chain import Client, Part, Sums, Unsure, learn

MAX_CLIENTS: Final = 10_000
"""Client orders remembered, those that were heard of last."""
MAX_WAITING: Final = 5_000


class ClientOrders:
    """Turns states of single orders into states of client orders. I/O thread of the session only.

    `reading`: a gap is read, which may tell older ids of every client order.
    """

    def __init__(self, known: Iterable[KnownOrder] = (), *, reading: bool = False) -> None:
        self._clients: OrderedDict[tuple[str, str], Client] = OrderedDict()
        self._waiting: OrderedDict[Part, tuple[Client, float | None]] = OrderedDict()
        """Ends that may not be told yet, and until when (monotonic seconds; None = until the gap is read)."""
        self._reading = reading
        for order in known:
            if order.client_order_id != order.order_id and order.order_id.isdecimal():
                part = Part(int(order.order_id), order)
                self._client(order.symbol, order.client_order_id).add(part)

    def _client(self, symbol: str, client_id: str) -> Client:
        key = (symbol, client_id)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = Client()
            while len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return client

    # --- what is told ---

    def told(
        self,
        report: ExecutionReport,
        *,
        wait_until: float | None,
        heard_mono: float | None = None,
        may_go_on: bool = False,
        whole: bool = False,
    ) -> list[ExecutionReport]:
        """What follows from a state of an order.

        `heard_mono`: when it came over the connection (monotonic seconds; None = it was read in a list).
        `wait_until`: how long an end may wait (monotonic seconds; None = until the gap is read; 0 = not at all).
        `may_go_on`: it is an end of the kind that a modify makes. `whole`: its totals are those of the client order.
        """
        order_id, client_id = str(report.order_id), report.new_client_order_id
        if client_id == order_id or not order_id.isdecimal() or report.liquidation is True:
            return [report]
        client = self._client(report.symbol, client_id)
        part = client.part(int(order_id))
        before, first = part.report, part.report is None and not part.seeded
        grown = learn(part, report, whole=whole)
        _hear(part, report, before, heard_mono)
        if first and part.own.size and not part.ended_ms and part.own == client.before(part):
            part.whole = True  # the venue told what the id before had executed as this one's own
        newest = client.parts[-1]
        if part is not newest and part in list(client.chain(newest)):
            return self._older(client, newest, grown=grown)
        if part.ended_ms and wait_until != 0:
            unknown = self._reading and not part.seeded
            if (may_go_on and part is newest) or unknown or not client.settled(part):
                return self._wait(client, part, wait_until)
        return self._tell(client, part)

    def _wait(self, client: Client, part: Part, until: float | None) -> list[ExecutionReport]:
        self._waiting[part] = (client, until)
        if len(self._waiting) <= MAX_WAITING:
            return []
        crowded, (owner, _) = next(iter(self._waiting.items()))
        return self._tell(owner, crowded)

    def _older(self, client: Client, newest: Part, *, grown: bool) -> list[ExecutionReport]:
        """The order goes on, or has ended, under a newer id: told is only what that changes of its totals."""
        if newest not in self._waiting:
            return self._tell(client, newest) if grown else []
        waits = self._reading or newest.canceled or not client.settled(newest)
        return [] if waits else self._tell(client, newest)

    def _tell(self, client: Client, part: Part) -> list[ExecutionReport]:
        """The newest state of this id with the totals of its client order."""
        self._waiting.pop(part, None)
        if part.report is None:
            return []
        chain = list(client.chain(part))
        for older in chain:
            self._waiting.pop(older, None)
        events: list[ExecutionReport] = []
        for other in client.parts:
            if other.number < part.number and other in self._waiting:
                events.extend(self._tell(client, other))  # the client id was used again
        before = client.before(part)
        event = _carried(part.report, part.own, before, _fee(part, chain, before))
        replaced = [one for one in chain if one.open_told]
        if event.order_status == "CANCELED" and replaced and not part.told:
            # Whoever keeps orders by their ids learns by an open one that it took the place of the one before.
            events.append(_opened(event))
        for older in replaced:
            older.open_told = False
        part.told, part.open_told = True, event.order_status not in TERMINAL
        return [*events, event]

    # --- ends that wait ---

    def lists_read(self) -> list[ExecutionReport]:
        """All open and ended orders of a gap are known: an end that nothing goes on from is one."""
        self._reading = False
        return self._release(self._waiting_for_gap(), sure=True)

    def gap_read(self) -> list[ExecutionReport]:
        """The venue tells no more about the gap."""
        self._reading = False
        return self._release(self._waiting_for_gap())

    def _waiting_for_gap(self) -> list[Part]:
        return [part for part, (_, until) in self._waiting.items() if until is None]

    def due(self, mono: float, *, gap_is_read: bool) -> list[ExecutionReport]:
        """Ends that have waited long enough. What a gap may still correct waits for it."""
        late = [part for part, (_, until) in self._waiting.items() if until is not None and until <= mono]
        ready = [part for part in late if part.seeded or not self._reading]
        events = self._release(ready, sure=not gap_is_read)
        for part in late:
            if part in self._waiting:
                self._waiting[part] = (self._waiting[part][0], None)
        return events

    def deadline(self) -> float | None:
        return min((until for _, until in self._waiting.values() if until is not None), default=None)

    def _release(self, parts: Iterable[Part], *, sure: bool = False) -> list[ExecutionReport]:
        events: list[ExecutionReport] = []
        for part in parts:
            if part in self._waiting:
                client = self._waiting[part][0]
                if not sure or client.settled(part):
                    events.extend(self._tell(client, part))
        return events

    # --- what a gap has to ask for ---

    def unsure(self) -> list[Unsure]:
        """Orders whose deals are wanted."""
        return [
            part.unsure
            for client in self._clients.values()
            for part in client.parts
            if part.unsure is not None and not client.sure(part)
        ]

    def resolve(self, unsure: Unsure, own_value: Decimal) -> list[ExecutionReport]:
        """What the deals of that order were worth when it was told."""
        order = unsure.order
        client = self._client(order.symbol, order.client_order_id)
        part = client.part(int(order.order_id))
        part.unsure = None
        part.before = Sums(part.before.size, decimal(order.executed_quote) - own_value)
        newest = client.parts[-1]
        return self._older(client, newest, grown=True)


def _hear(part: Part, report: ExecutionReport, before: ExecutionReport | None, mono: float | None) -> None:
    """When this id, and its end, was heard of first. An end with a time of its own needs no other."""
    if part.heard_mono is None:
        part.heard_mono = mono
    timed = report.order_time > (before.order_time if before is not None else report.creation_time)
    if part.ended_ms and part.ended_mono is None and not timed:
        part.ended_mono = mono


def _carried(report: ExecutionReport, own: Sums, before: Sums, fee: tuple[str, str] | None) -> ExecutionReport:
    """The report with what the ids before had executed."""
    if not before.size:
        return report
    if own.size < decimal(report.total_trade_quantity):
        own = Sums(decimal(report.total_trade_quantity), decimal(report.total_quote_trade_quantity))
    total = own.plus(before)
    return msgspec.structs.replace(
        report,
        order_status="PARTIALLY_FILLED" if report.order_status == "NEW" else report.order_status,
        price=plain(divide(total.value, total.size)) if total.value else report.price,
        quantity=plain(decimal(report.quantity) + before.size),
        total_trade_quantity=plain(total.size),
        total_quote_trade_quantity=plain(total.value),
        unique_message_id=f"{report.unique_message_id}+{plain(before.size)}:{plain(before.value)}",
        fee_paid=fee[0] if fee else UNSET,
        fee_asset=fee[1] if fee else UNSET,
    )


def _fee(part: Part, chain: Sequence[Part], before: Sums) -> tuple[str, str] | None:
    """The cost of all ids together, where each is known and in one asset."""
    if sum((one.own.size for one in chain if one.report is not None), Decimal(0)) != before.size:
        return None
    paid, assets = Decimal(0), set()
    for one in (part, *chain):
        report = one.report
        if report is None or not one.own.size:
            continue
        if report.fee_paid is UNSET or report.fee_asset is UNSET:
            return None
        assets.add(report.fee_asset)
        paid += decimal(report.fee_paid)
    return (plain(paid), assets.pop()) if paid > 0 and len(assets) == 1 else None


def _opened(event: ExecutionReport) -> ExecutionReport:
    status = "PARTIALLY_FILLED" if decimal(event.total_trade_quantity) else "NEW"
    return msgspec.structs.replace(event, order_status=status, unique_message_id=f"{event.unique_message_id}:opened")
