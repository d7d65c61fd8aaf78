"""What a consumer books per client id is what the venue's books say, whatever part of it nobody watched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import pytest

from connector.streams.tracker import known_order
from exchanges.ids import LIVE
from simulator import controls
from simulator._values import Order
from tests.unit.exchanges.pair import Pair, Seat, assert_booked, client_text, facts, seats
from tests.unit.exchanges.pair_facts import PAPER_SEATS

SEATS = [seat for seat in seats() if facts(seat.exchange).remembers]
FORGETFUL = [seat for seat in seats() if not facts(seat.exchange).remembers]
"""The paper server: what nobody watched can't be asked for without the key in a URL (`exchanges/paper`)."""
AWAY = 5
"""Deeds that nobody watches."""
DEEDS = 22
WINDOWS = (None, *range(0, DEEDS, 3))
"""After how many deeds the connection is lost; None = it is not."""
BUSY = (0, 5, 10, 15)
"""The same, with deeds that happen while the gap is read."""


def runs(losses: Sequence[int | None]) -> list[object]:
    """Every seat with every loss of the connection; the ones that can't be asked later without any."""
    found = [(seat, lost_after) for seat in SEATS for lost_after in losses]
    found += [(seat, None) for seat in FORGETFUL if None in losses]
    return [pytest.param(seat, lost_after, id=f"{seat}-{lost_after}") for seat, lost_after in found]


def test_no_exchange_id_is_left_out() -> None:
    """The ids of the paper server are alike: one of spot and one of futures stand for them."""
    assert {seat.exchange for seat in SEATS} == set(LIVE)
    assert {seat.exchange for seat in FORGETFUL} == set(PAPER_SEATS)
    assert all(seat in SEATS for seat in [Seat("okxLinear", "xperp"), Seat("bitgetCoinm", "unified")])
    unlike = {str(seat) for seat in SEATS if not facts(seat.exchange).modify}
    assert unlike <= {"whitebit", "whitebitUsdm"}, "whose orders are not modified"


class Trader:
    """Everything that happens to orders, one deed at a time, the same on every venue."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.orders: dict[str, Order] = {}

    def deeds(self) -> Iterator[Callable[[], object]]:
        """Three partial fills, a cancel after a part, a market order, a modify, a cancel without a fill, a liquidation."""
        a, b, c, d, e, f = "DBOa", "DBOb", "DTPc", "DSRd", "GRIDROe", "DBOf"
        yield lambda: self.place(a, 30)
        yield lambda: self.fill(a, 5)
        yield lambda: self.place(b, 20)
        yield lambda: self.fill(a, 7, better=3)
        yield lambda: self.fill(b, 4)
        yield lambda: self.place(c, 9, order_type="MARKET", hold=True)
        yield lambda: self.fill(c, 4)
        yield lambda: self.cancel(b)
        yield lambda: self.fill(c, 3)
        yield lambda: self.place(d, 30)
        yield lambda: self.fill(c)
        yield lambda: self.modify(d, 25)
        yield lambda: self.fill(d, 6)
        yield lambda: self.place(e, 10)
        yield lambda: self.modify(d, 28)
        yield lambda: self.cancel(e)
        yield lambda: self.fill(d, 5, better=2)
        yield lambda: self.place(f, 12)
        yield lambda: self.fill(a)
        yield lambda: self.fill(d)
        yield lambda: self.fill(f)
        yield self.liquidate

    def place(self, name: str, steps: int, **more: object) -> None:
        self.orders[name] = self.pair.place(name, steps, **more)

    def fill(self, name: str, steps: int | None = None, better: int = 0) -> None:
        order = self.pair.newest(self.orders[name])
        more: dict[str, Decimal] = {}
        if better:
            symbol = self.pair.symbol
            more["price"] = order.price - better * Decimal(1).scaleb(-symbol.price_decimals)
        self.pair.fill(order, steps, **more)

    def cancel(self, name: str) -> None:
        self.pair.cancel(self.pair.newest(self.orders[name]))

    def modify(self, name: str, steps: int) -> None:
        if self.pair.facts.modify:
            order = self.pair.newest(self.orders[name])
            price = order.price - Decimal(1).scaleb(-self.pair.symbol.price_decimals)
            self.pair.modify(order, steps, price)

    def liquidate(self) -> None:
        pair = self.pair
        if pair.symbol.settle and pair.facts.liquidations:
            self.orders[""] = controls.liquidate(
                pair.hub, pair.account, pair.market, pair.symbol.wire, pair.now, fills=3
            )


def run(pair: Pair, lost_after: int | None, during: int = 0) -> Trader:
    """All deeds. The connection is lost after `lost_after` of them, and back `AWAY` deeds later; the next `during` deeds
    happen while the gap is being read."""
    trader = Trader(pair)
    deeds = enumerate(trader.deeds())
    for number, deed in deeds:
        if lost_after is None or number < lost_after or number >= lost_after + AWAY:
            deed()
            pair.wait(0.3)
            pair.keep()
            continue
        if number == lost_after:
            pair.drop(1.0)
        deed()
        pair.t += 1.0
        if number == lost_after + AWAY - 1:
            late = [deed for _, deed in itertools.islice(deeds, during)]
            read_gap(pair, late)
    if pair.ended:
        pair.again()
    for _ in range(10):
        pair.wait(5.0)
        pair.keep()
    return trader


def read_gap(pair: Pair, meanwhile: Sequence[Callable[[], object]]) -> None:
    """Back again; one of these deeds happens before each answer of the venue, what is left afterwards."""
    left = iter(meanwhile)
    pair.meanwhile = lambda call: next(left, lambda: None)()
    pair.again()
    pair.meanwhile = None
    for deed in left:
        deed()


def assert_all_booked(pair: Pair, trader: Trader) -> None:
    for name, order in trader.orders.items():
        assert_booked(pair, client_text(pair.exchange, name) if name else liquidation_id(pair), order)


@pytest.mark.parametrize(("seat", "lost_after"), runs(WINDOWS))
def test_what_is_booked_per_client_id_is_what_the_venue_did(seat: Seat, lost_after: int | None) -> None:
    pair = Pair(seat, tick_s=5.0).joined()
    assert_all_booked(pair, run(pair, lost_after))


@pytest.mark.parametrize(("seat", "lost_after"), runs(BUSY))
def test_what_happens_while_a_gap_is_read_is_booked_as_well(seat: Seat, lost_after: int) -> None:
    pair = Pair(seat, tick_s=5.0).joined()
    assert_all_booked(pair, run(pair, lost_after, during=4))


@pytest.mark.parametrize("fills", [1, 2, 3])
@pytest.mark.parametrize("seat", SEATS, ids=str)
def test_a_fill_that_two_gaps_tell_is_booked_once(seat: Seat, fills: int) -> None:
    """The second gap begins between two fills whose total the first one has told."""
    pair = Pair(seat, tick_s=5.0).joined()
    order = pair.place("DBOtwice", 30)
    pair.wait(0.3)
    pair.drop(5.0)
    began_ms = pair.now.wall_ms
    for number in range(fills):
        pair.fill(order, 5)
        pair.t += 20.0
        if number == 0:
            began_ms = pair.now.wall_ms
    pair.again()
    pair.wait(5.0)
    pair.drop(1.0)
    pair.last_live_ms = began_ms
    pair.again()
    pair.wait(5.0)
    assert_booked(pair, client_text(pair.exchange, "DBOtwice"), pair.newest(order))
    pair.fill(pair.newest(order))
    pair.wait(10.0)
    assert_booked(pair, client_text(pair.exchange, "DBOtwice"), pair.newest(order))


def liquidation_id(pair: Pair) -> str:
    """The client id under which a liquidation is told: the venue's own, or none."""
    own = [event for event in pair.books.told if event.liquidation is True]
    assert own, "nothing was told of the liquidation"
    return known_order(own[-1]).client_order_id
