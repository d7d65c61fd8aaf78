"""The oracle: what really happened to orders, against what was published. Pure.

A transition counts as published when an event of the same order covers it: a status at least as far and a total at least
as large. During a gap several partial fills may so collapse into one cumulative event. Every final state must be published
exactly once after de-duplication, with the complete total, and per order nothing may go backwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

TERMINAL: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED"})
_RANK: Final = {"NEW": 0, "PENDING_CANCEL": 1, "PARTIALLY_FILLED": 1}
_FINAL_RANK: Final = 2


def rank(status: str) -> int:
    return _FINAL_RANK if status in TERMINAL else _RANK.get(status, 0)


class Transition(msgspec.Struct, frozen=True):
    """One step of an order at the venue. `at` is our own clock, seconds since the epoch."""

    at: float
    stream: str
    exchange: str
    order: str
    """Client order id."""
    status: str
    executed: Decimal
    value: Decimal


class Seen(msgspec.Struct, frozen=True):
    """One account message as a consumer got it. For other events than those of orders, `order` is empty."""

    at: float
    message_id: str
    """Message id of RabbitMQ; on Redis what the backend compares: id, status and executed quantity."""
    stream: str
    kind: str
    order: str = ""
    status: str = ""
    executed: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)
    redelivered: bool = False


def read_event(body: Mapping[str, Any]) -> tuple[str, str, Decimal, Decimal]:
    """Client order id, status and totals of an order event; an empty id for everything else (contract 2.1)."""
    kind, status = body.get("eventType"), str(body.get("orderStatus", ""))
    if kind == "ORDER_TRADE_UPDATE":
        order = str(body.get("clientOrderId", ""))
    elif kind == "executionReport":
        canceled = status == "CANCELED" and body.get("originalClientOrderId")
        order = str(body["originalClientOrderId"] if canceled else body.get("newClientOrderId", ""))
    else:
        return "", "", Decimal(0), Decimal(0)
    return order, status, _number(body.get("totalTradeQuantity")), _number(body.get("totalQuoteTradeQuantity"))


def _number(value: object) -> Decimal:
    try:
        return Decimal(str(value or 0))
    except InvalidOperation:
        return Decimal("NaN")


class Verdict(msgspec.Struct, kw_only=True):
    """What a run proved. Everything in the lists is a failure, one line each."""

    transitions: int = 0
    events: int = 0
    lost: list[str] = []
    duplicated: list[str] = []
    backwards: list[str] = []
    wrong: list[str] = []
    """Other failures: wrong totals, secrets, leaks, streams that did not come back."""
    repeated: int = 0
    """Messages that came again under the same id, which consumers drop."""
    collapsed: int = 0
    """Transitions that were published as part of a later one."""
    told: int = 0
    """Transitions of venues without any history that fell into a gap which was announced as such."""
    lags: list[float] = []
    """Seconds from each transition to the first event that covers it."""
    offenders: list[str] = []
    """Orders to print."""

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.backwards or self.wrong)

    def add(self, other: Verdict) -> None:
        for name in ("lost", "duplicated", "backwards", "wrong", "lags", "offenders"):
            getattr(self, name).extend(getattr(other, name))
        for name in ("transitions", "events", "repeated", "collapsed", "told"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def deduplicated(events: Iterable[Seen]) -> tuple[list[Seen], int]:
    """First arrivals by message id, and how many came again."""
    known: set[tuple[str, str]] = set()
    first: list[Seen] = []
    repeated = 0
    for event in events:
        key = (event.stream, event.message_id)
        if key in known:
            repeated += 1
            continue
        known.add(key)
        first.append(event)
    return first, repeated


def swaps_totals(exchange: str) -> bool:
    """Bybit inverse: the two totals are exchanged on the wire (contract 2.1)."""
    return exchange.endswith("bybitInverse") or exchange == "paperBybitInverse"


def executed_of(event: Seen, exchange: str) -> Decimal:
    """The executed quantity in the unit of the journal."""
    return event.quote if swaps_totals(exchange) else event.executed


def covers(event: Seen, transition: Transition) -> bool:
    executed = executed_of(event, transition.exchange)
    return rank(event.status) >= rank(transition.status) and executed >= transition.executed


def judge(
    transitions: Sequence[Transition],
    events: Sequence[Seen],
    *,
    coverage: bool = True,
    gaps: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> Verdict:
    """Hold the events of one consumer against the journal.

    `coverage=False` checks order and repetition only (a consumer that was not connected all the time). `gaps` are the
    announced gaps, seconds, of streams whose venue keeps no history: what fell in there is told, not lost.
    """
    verdict = Verdict(transitions=len(transitions), events=len(events))
    first, verdict.repeated = deduplicated(events)
    by_order: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for event in first:
        if event.order:
            by_order[event.stream, event.order].append(event)
    journal: dict[tuple[str, str], list[Transition]] = defaultdict(list)
    for transition in transitions:
        journal[transition.stream, transition.order].append(transition)
    for key, steps in journal.items():
        _judge_order(key, steps, by_order.get(key, []), verdict, coverage, (gaps or {}).get(key[0], ()))
    return verdict


def _judge_order(
    key: tuple[str, str],
    steps: Sequence[Transition],
    seen: Sequence[Seen],
    verdict: Verdict,
    coverage: bool,
    gaps: Sequence[tuple[float, float]],
) -> None:
    name = f"{key[0]} {key[1]}"
    failures = len(verdict.lost) + len(verdict.duplicated) + len(verdict.backwards) + len(verdict.wrong)
    _judge_sequence(name, seen, verdict)
    if coverage:
        for step in steps:
            cover = next((event for event in seen if covers(event, step)), None)
            if cover is not None:
                verdict.lags.append(max(0.0, cover.at - step.at))
                verdict.collapsed += executed_of(cover, step.exchange) != step.executed or (
                    rank(cover.status) != rank(step.status)
                )
            elif any(start <= step.at <= end for start, end in gaps):
                verdict.told += 1
            else:
                verdict.lost.append(f"{name}: {step.status} {step.executed} was not published")
    _judge_final(name, steps, seen, verdict)
    if len(verdict.lost) + len(verdict.duplicated) + len(verdict.backwards) + len(verdict.wrong) > failures:
        verdict.offenders.append(timeline(name, steps, seen))


def _judge_sequence(name: str, seen: Sequence[Seen], verdict: Verdict) -> None:
    highest, furthest, finals = Decimal(0), 0, 0
    for event in seen:
        if furthest == _FINAL_RANK:
            if rank(event.status) == _FINAL_RANK:
                finals += 1
                continue
            verdict.backwards.append(f"{name}: {event.status} after a final state")
        elif event.executed < highest:
            verdict.backwards.append(f"{name}: total fell from {highest} to {event.executed}")
        elif rank(event.status) < furthest:
            verdict.backwards.append(f"{name}: {event.status} after a later state")
        highest, furthest = max(highest, event.executed), max(furthest, rank(event.status))
    if finals:
        verdict.duplicated.append(f"{name}: {finals + 1} different final events")


def _judge_final(name: str, steps: Sequence[Transition], seen: Sequence[Seen], verdict: Verdict) -> None:
    """The final event has the venue's final status and its complete total."""
    last = steps[-1]
    final = next((event for event in seen if rank(event.status) == _FINAL_RANK), None)
    if final is None:
        return
    if last.status not in TERMINAL:
        verdict.wrong.append(f"{name}: {final.status} was published, the order is {last.status}")
        return
    executed = executed_of(final, last.exchange)
    # Several venues have one word for every end without a complete fill, so only filled or not is compared.
    if (final.status == "FILLED") != (last.status == "FILLED") or executed != last.executed:
        verdict.wrong.append(f"{name}: ended {last.status} {last.executed}, published as {final.status} {executed}")


def timeline(name: str, steps: Sequence[Transition], seen: Sequence[Seen]) -> str:
    """An order's life at the venue and at the consumer, on one time axis."""
    start = min([step.at for step in steps] + [event.at for event in seen])
    rows = [(step.at, f"  {step.at - start:8.3f} s  venue      {step.status:<17}{step.executed}") for step in steps]
    for event in seen:
        text = f"  {event.at - start:8.3f} s  published  {event.status:<17}{event.executed}  {event.message_id}"
        rows.append((event.at, text))
    return "\n".join([name, *[text for _, text in sorted(rows)]])
