"""The order ids of one client order: what each executed, and what it took over from those before it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from exchanges._adapter import KnownOrder
from exchanges._numbers import decimal, divide, multiply
from exchanges.events import TERMINAL, ExecutionReport

MAX_IDS: Final = 50
"""Order ids of one client order that are kept apart; what older ones executed is kept as a sum."""
HAND_OVER_MS: Final = 1_000
"""An id that ended longer than this before the next one of its client id was placed has no heir: the venue frees a client id
when its order ends, and it was used again."""


class Sums(NamedTuple):
    size: Decimal
    value: Decimal

    def plus(self, other: Sums) -> Sums:
        return Sums(self.size + other.size, self.value + other.value)


NOTHING: Final = Sums(Decimal(0), Decimal(0))


class Unsure(NamedTuple):
    """An order that was told with totals of which part is of ids that nobody remembers."""

    order: KnownOrder
    own: Decimal
    """What it had executed itself by then."""


class Part:
    """One order id of a client order: what the venue says of it alone."""

    __slots__ = (
        "before", "ended_mono", "ended_ms", "filled", "heard_mono", "number", "open_told", "own", "published", "report",
        "seeded", "told", "unsure", "whole",
    )  # fmt: skip

    def __init__(self, number: int, known: KnownOrder | None = None) -> None:
        self.number = number
        self.own = NOTHING
        self.before = NOTHING
        """What ids that this connection has not seen executed before this one."""
        self.ended_ms = 0
        """0 = it is not known to have ended."""
        self.ended_mono: float | None = None
        """When its end came over this connection (monotonic seconds), if the venue gave it no time of its own."""
        self.heard_mono: float | None = None
        """When it was first heard of there."""
        self.filled = False
        self.report: ExecutionReport | None = None
        """Its newest state, with its own figures."""
        self.published = known
        """As it was told before this connection, ids before it included, until the venue tells its own figures."""
        self.unsure: Unsure | None = None
        """What ids before it executed is a guess until its deals are read."""
        self.whole = False
        """Its figures include those of the ids before it."""
        self.seeded = known is not None
        """It was told before this connection, with all that came before it."""
        self.told = known is not None
        """Something was told under this id."""
        self.open_told = known is not None and not known.terminal
        """It was told as open, and not as ended."""
        if known is not None:
            self.own = Sums(decimal(known.executed), decimal(known.executed_quote))
            self.ended_ms = (known.order_time_ms or 1) if known.terminal else 0
            self.filled = known.status == "FILLED"

    @property
    def canceled(self) -> bool:
        """It may be half of a modify, and not the end of its order."""
        return self.report is not None and self.report.order_status == "CANCELED"

    @property
    def placed_ms(self) -> int:
        """0 = not told."""
        if self.report is not None:
            return self.report.creation_time
        return self.published.creation_time_ms if self.published is not None else 0

    @property
    def side(self) -> str:
        if self.report is not None:
            return self.report.side
        return self.published.side if self.published is not None else ""


def _used_again(older: Part, part: Part) -> bool:
    """Whether an id had ended for too long to have been modified into the next one: by the venue's times and by when we heard
    of both, because whether a cancel changes the time of an order is not documented."""
    if not older.ended_ms or not part.placed_ms or older.ended_ms >= part.placed_ms - HAND_OVER_MS:
        return False
    if older.ended_mono is None or part.heard_mono is None:
        return True
    return part.heard_mono - older.ended_mono > HAND_OVER_MS / 1000


class Client:
    """The ids of one client order, the oldest first."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def part(self, number: int) -> Part:
        """The part of an order id, made if it is new."""
        found = next((part for part in self.parts if part.number == number), None)
        if found is None:
            found = Part(number)
            self.add(found)
        return found

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.parts.sort(key=lambda one: one.number)
        if len(self.parts) > MAX_IDS:
            second = self.parts[1]
            second.before = self.before(second)
            del self.parts[0]

    def chain(self, part: Part) -> Iterator[Part]:
        """The ids from which this one took its client order over, the newest first."""
        for older in reversed([one for one in self.parts if one.number < part.number]):
            if older.filled or _used_again(older, part) or {older.side, part.side} == {"BUY", "SELL"}:
                return
            yield older
            part = older

    def before(self, part: Part) -> Sums:
        """What the ids before this one executed, and is not in its own figures."""
        if part.published is not None or part.whole:
            return NOTHING
        seen = self._seen(part)
        return part.before if part.before.size > seen.size else seen

    def _seen(self, part: Part) -> Sums:
        older = next(self.chain(part), None)
        return self.before(older).plus(older.own) if older is not None else NOTHING

    def sure(self, part: Part) -> bool:
        return part.unsure is None or self._seen(part).size >= part.before.size

    def settled(self, part: Part) -> bool:
        """Whether what came before this id is known for certain, so that its end can be told with the order's totals."""
        return self.sure(part) and all(one.ended_ms and self.sure(one) for one in self.chain(part))


def learn(part: Part, report: ExecutionReport, *, whole: bool) -> bool:
    """Take a state in; whether it changes what the ids after this one have to add."""
    total = part.own.plus(part.before)
    size, value = decimal(report.total_trade_quantity), decimal(report.total_quote_trade_quantity)
    part.whole = part.whole or whole
    if whole:
        part.own, part.before, part.published, part.unsure = Sums(size, value), NOTHING, None, None
    else:
        if part.published is not None:
            _resolve(part, part.published, report)
        if size >= part.own.size:
            part.own = Sums(size, value)
    if report.order_status in TERMINAL:
        part.ended_ms = report.order_time or 1
        part.filled = report.order_status == "FILLED"
    part.report = report
    return part.own.plus(part.before) != total


def _resolve(part: Part, known: KnownOrder, report: ExecutionReport) -> None:
    """Tell what ids before this one executed from its own figures: the size that was told is larger by it."""
    part.published = None
    size, value = decimal(report.total_trade_quantity), decimal(report.total_quote_trade_quantity)
    told = Sums(decimal(known.executed), decimal(known.executed_quote))
    market_buy = report.order_type == "MARKET" and decimal(report.quantity) == size
    before = Decimal(0) if market_buy else decimal(known.quantity) - decimal(report.quantity)
    before = max(Decimal(0), min(before, told.size))
    then = told.size - before
    part.own = Sums(then, told.value)
    if not before:
        return
    if not then:
        part.before = told
    elif then == size:
        part.before = Sums(before, told.value - value)
    else:
        part.unsure = Unsure(known, then)
        part.before = Sums(before, told.value - multiply(then, divide(value, size)))
    part.own = Sums(then, told.value - part.before.value)
