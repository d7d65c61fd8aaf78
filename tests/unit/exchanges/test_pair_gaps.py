"""What happens while nobody watches is told afterwards, whatever the venue and the network do meanwhile."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import msgspec
import pytest

from exchanges._adapter import Call, ClockOffset, Fail, FailKind, KnownOrder, Live, Resume
from exchanges._plan import OPEN_BEFORE
from simulator._odd import HOW
from simulator._values import Order
from simulator.venues import halves
from tests.unit.exchanges.pair import (
    OVERLAP_MS,
    START,
    Pair,
    Seat,
    assert_booked,
    client_text,
    facts,
    rejections,
    seats,
)

SEATS = seats()
REMEMBERING = pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).remembers], ids=str)
MANY = 420
"""More orders than any plan asks for one by one."""
MOST_BEFORE = 4
"""Calls that a venue needs before its connection is open."""
LATE_S = "130"
"""Longer than any venue takes a signature for."""


@REMEMBERING
def test_what_happened_while_away_is_told_before_live(seat: Seat) -> None:
    pair = Pair(seat).joined()
    names = {name: client_text(seat.exchange, name) for name in ("DBO1", "DBO2", "DBO3", "DBO4", "DBO5", "DBO6")}
    filled, cancelled, part = pair.place("DBO1"), pair.place("DBO2"), pair.place("DBO3")
    quiet = pair.place("DBO4")
    pair.fill(part, 2)
    pair.until(lambda: len(pair.books.rows) == 4 and pair.status(names["DBO3"]) == "PARTIALLY_FILLED")
    pair.drop()
    pair.fill(filled)
    pair.fill(cancelled, 3)
    pair.cancel(cancelled)
    pair.fill(part, 2)
    came = pair.place("DBO5")
    gone = pair.place("DBO6")
    pair.fill(gone)
    pair.t += 5
    before = len(pair.books.told)
    pair.again()
    gap = next(live.gap for live in pair.of(Live) if live.gap and live.gap.complete)
    assert gap.missing == ((pair.elsewhere,) if pair.elsewhere else ())
    assert gap.orders >= 4
    for name, order in zip(names.values(), (filled, cancelled, part, quiet, came, gone), strict=True):
        assert_booked(pair, name, order)
    assert all(emit.repaired for emit in pair.orders())
    told = pair.books.told[before:]
    assert names["DBO4"] not in [getattr(event, "new_client_order_id", "") for event in told], "nothing happened to it"
    last = max(index for index, output in enumerate(pair.out) if output in pair.orders())
    assert last < pair.out.index(pair.of(Live)[-1])


@REMEMBERING
@pytest.mark.parametrize("moment", [0, 1])
def test_an_order_that_changes_while_its_gap_is_read_ends_right(seat: Seat, moment: int) -> None:
    """The frames of the change arrive before the answer to a call of the repair."""
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client) == "NEW")
    pair.drop()
    pair.fill(order, 3)
    pair.t += 5
    moments = iter(range(100))

    def meanwhile(call: Call) -> None:
        if pair.link is not None and next(moments) == moment:
            pair.fill(order, 2)
            pair.fill(order)
            pair.read()

    pair.meanwhile = meanwhile
    pair.again()
    if next(moments) <= moment:  # so few calls were needed
        pair.fill(order)
    pair.until(lambda: pair.status(client) == "FILLED")
    assert_booked(pair, client, order)
    totals = [told.total_trade_quantity for told in pair.books.told if told.order_status == "FILLED"]
    assert len(totals) == 1
    origins = [emit.repaired for emit in pair.orders()]
    assert origins == sorted(origins, reverse=True), "live events wait for what is read of the gap"


ODD = [(how, first) for how in HOW for first in ("", "yes")]
"""Each kind of odd row, behind and before the good ones."""


@REMEMBERING
def test_odd_rows_beside_good_ones_cost_no_order(seat: Seat) -> None:
    """In lists, frames and answers, live and in a gap."""
    pair = Pair(seat)
    for number, (how, first) in enumerate(ODD):
        pair.fault("odd_rows", standing=True, params={"how": how, "first": first})
        name = client_text(seat.exchange, f"DBO{number}")
        later = client_text(seat.exchange, f"DTP{number}")
        pair.again() if number else pair.joined()
        order = pair.place(f"DBO{number}")
        pair.fill(order, 2)
        pair.until(lambda name=name: pair.status(name) == "PARTIALLY_FILLED")
        pair.drop(2.0)
        pair.fill(order)
        away = pair.place(f"DTP{number}")
        pair.t += 2
        pair.again()
        assert_booked(pair, name, order)
        assert_booked(pair, later, away)
        pair.drop(10.0)  # two joins a round, and some venues give ten tokens a minute
        pair.hub.faults.clear()


def known(pair: Pair, count: int) -> tuple[KnownOrder, ...]:
    """Open orders that the venue knows nothing about."""
    return tuple(
        KnownOrder(
            order_id=unknown_id(pair.name, number),
            client_order_id=client_text(pair.exchange, f"OLD{number}"),
            symbol=pair.pair_id,
            status="NEW",
            price="1",
            quantity="1",
            side="BUY",
            order_type="LIMIT",
            order_time_ms=START.wall_ms - 60_000,
            creation_time_ms=START.wall_ms - 60_000,
        )
        for number in range(count)
    )


def unknown_id(name: str, number: int) -> str:
    """An order id in the venue's form."""
    if halves()[name].uuid_order_ids:
        return f"00000000-0000-4000-8000-{number:012d}"
    return str(7_000_000 + number)


@REMEMBERING
def test_more_open_orders_than_a_plan_asks_for_are_told_or_named(seat: Seat) -> None:
    pair = Pair(seat)
    orders = known(pair, MANY)
    resume = pair.books.resume(pair.now.wall_ms - 30_000)
    resume = type(resume)(since_ms=resume.since_ms, orders=orders)
    pair.user(resume)
    pair.until(pair.whole, seconds=900)
    missing = pair.missing()
    told = {str(emit.event.order_id) for emit in pair.orders()}
    named = {order.order_id for order in orders if order.order_id in told or order.order_id in missing}
    counted = sum(int(number) for number in re.findall(r"(\d+) further orders", missing))
    assert len(named) + counted >= MANY, (
        f"{MANY - len(named) - counted} orders are neither told nor named: {missing[-300:]}"
    )
    assert len(pair.calls) < 2 * MANY, "an allowance is not endless"


@REMEMBERING
@pytest.mark.parametrize("end", [Pair.cancel, Pair.fill])
def test_the_end_of_an_order_that_nobody_knew_to_be_open_is_told_or_named(
    seat: Seat, end: Callable[[Pair, Order], object]
) -> None:
    """It was placed before everything that knew of it was lost. Venues that list orders by when they were placed don't show
    it, and it has an id that nobody can ask for: the report said that nothing was missing."""
    pair = Pair(seat).joined()
    order = pair.place("DBO1")
    pair.wait(60.0)
    pair.drop()
    pair.named.clear()
    end(pair, order)
    pair.user(Resume(since_ms=pair.last_live_ms - OVERLAP_MS, past_unknown=True))
    pair.until(pair.whole)
    assert pair.orders() or OPEN_BEFORE in pair.missing()


@REMEMBERING
@pytest.mark.parametrize("behind", [True, False])
def test_steps_of_an_order_do_not_follow_an_end_that_a_killed_process_had_told(seat: Seat, behind: bool) -> None:
    """E19: what it told last was not saved."""
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client) == "NEW")
    pair.drop()
    saved = pair.books.resume(pair.last_live_ms - OVERLAP_MS)
    pair.fill(order, 3)
    pair.wait(1.0)
    pair.fill(order, 2)
    pair.wait(1.0)
    pair.fill(order)
    pair.named.clear()
    pair.out.clear()
    pair.user(msgspec.structs.replace(saved, behind=behind))
    pair.until(pair.whole)
    states = [emit.event.order_status for emit in pair.orders()]
    if behind:
        assert states == ["FILLED"]
    assert states[-1] == "FILLED"
    assert_booked(pair, client, order)


@REMEMBERING
def test_a_call_that_is_repeated_late_is_signed_anew(seat: Seat) -> None:
    pair = Pair(seat).joined()
    order = pair.place("DBO1")
    pair.wait(5.0)
    pair.drop()
    pair.fill(order)
    for number in range(MOST_BEFORE):
        moments = itertools.count()

        def meanwhile(call: Call, number: int = number, moments: Iterator[int] = moments) -> None:
            if next(moments) == number:
                pair.fault("rest_error", times=1, params={"status": "503", "retry_after": LATE_S})

        pair.meanwhile = meanwhile
        pair.reconnect()
        pair.wait(1.0)
        if not pair.ended:
            break
        pair.drop()  # a call without which there is no connection
    pair.until(pair.whole, seconds=400)
    assert not pair.of(ClockOffset), "the venue refused an old stamp"
    assert pair.missing() in ("", pair.elsewhere)
    assert_booked(pair, client_text(pair.exchange, "DBO1"), order)


@REMEMBERING
def test_a_venue_that_wants_fewer_calls_is_asked_again_later(seat: Seat) -> None:
    pair = Pair(seat).joined()
    order = pair.place("DBO1")
    pair.wait(5.0)
    pair.drop()
    pair.fill(order)

    def meanwhile(call: Call) -> None:
        if pair.link is not None and len(pair.calls) % 2:
            pair.fault("rest_error", times=1, params={"status": "429", "retry_after": "3"})

    pair.meanwhile = meanwhile
    pair.reconnect()
    pair.until(pair.whole, seconds=400)
    assert pair.missing() in ("", pair.elsewhere)
    assert_booked(pair, client_text(pair.exchange, "DBO1"), order)


@REMEMBERING
def test_a_key_that_is_refused_while_its_gap_is_read_is_told_and_not_asked_with_for_ever(seat: Seat) -> None:
    pair = Pair(seat).joined()
    pair.place("DBO1")
    pair.wait(5.0)
    pair.drop()

    def meanwhile(call: Call) -> None:
        if pair.link is not None and pair.facts.key:
            pair.hub.world.engine.reject_key(pair.account, rejections(seat.exchange)[0])

    pair.meanwhile = meanwhile
    pair.reconnect()
    before = len(pair.calls)
    pair.wait_for_failure(300)
    asked = len(pair.calls) - before
    assert asked < 60, f"{asked} calls with a dead key"
    refused = any(fail.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE) for fail in pair.of(Fail))
    assert refused or pair.missing() or not pair.facts.key


@REMEMBERING
def test_a_gap_that_begins_after_our_clock_is_read_all_the_same(seat: Seat) -> None:
    """The position is of a host whose clock was ahead, or ours was set back since: its orders are asked for."""
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client) == "NEW")
    pair.drop()
    pair.fill(order)
    pair.t += 5
    account = pair.account_again()
    assert account.resume is not None
    ahead = msgspec.structs.replace(account.resume, since_ms=account.resume.since_ms + 600_000)
    pair.open("user", msgspec.structs.replace(account, resume=ahead))
    pair.until(pair.whole)
    assert_booked(pair, client, order)
