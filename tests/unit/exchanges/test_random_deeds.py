"""Orders placed, filled, modified and cancelled at random, watched or not: what is booked is what the venue did."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from decimal import Decimal

import pytest

from simulator._values import Order
from simulator.engine import Refused
from tests.unit.exchanges.pair import Pair, Row, Seat, client_text, facts, seats, unseen

SEATS = [seat for seat in seats() if facts(seat.exchange).remembers]
SEEDS = range(40)
LATER = range(30, 40)
"""Where an order keeps its id and its totals are told whole, fewer stories do."""
OFTEN = frozenset({"hyperliquid", "kraken", "kucoin"})
"""Where an order may go on under another id, or is told by single fills."""
TROUBLES = range(30, 38)
AWAY_S = (1.0, 5.0, 70.0)
"""The last one is longer than what a gap reads again of the time before it."""
NO_RESTING_MARKET = frozenset({"bybit", "krakenUsdm", "kucoinLinear", "kucoinInverse"})
"""Where no list of the half names a market order that was told to rest, or its end with a part unfilled is a fill (Bybit)."""


def stories(seeds: range, *, anew: bool = True) -> list[object]:
    """Seat, whether a modified order goes on under another id though the venue may not do that, and seed.

    `anew`: such stories, too. Where frames come in any order, an end before the order that goes on is told as an end.
    """
    found: list[object] = []
    for seat in SEATS:
        for other in (False, True) if seat.name == "kucoin" and anew else (False,):
            own = seeds if seat.name in OFTEN or seeds is not SEEDS else LATER
            found += [pytest.param(seat, other, seed, id=f"{seat}{'-anew' * other}-{seed}") for seed in own]
    return found


class Player:
    """One account and its orders; `chance` decides everything, so a seed names a story."""

    def __init__(self, seat: Seat, seed: int, *, anew: bool) -> None:
        self.chance = random.Random(seed)
        self.pair = Pair(seat, tick_s=5.0)
        if anew:
            self.pair.hub.halves[seat.name].replaces = True  # type: ignore[attr-defined]
        self.pair.joined()
        self.orders: dict[str, Order] = {}
        self.tick = Decimal(1).scaleb(-self.pair.symbol.price_decimals)

    def play(self, deeds: int) -> None:
        every: tuple[Callable[[], None], ...] = (
            self.place, self.fill, self.fill, self.modify, self.modify, self.cancel, self.drop, self.back, self.market,
        )  # fmt: skip
        for _ in range(deeds):
            deed = self.chance.choice(every)
            try:
                deed()
            except Refused:
                continue  # no money left, or a price that is no better
            if self.pair.ended:
                self.pair.t += self.chance.choice((0.0, 0.5, 3.0))
            else:
                self.pair.wait(self.chance.choice((0.0, 0.05, 0.3, 2.0)))
                self.keep()
        self.back()
        for _ in range(8):
            self.pair.wait(5.0)
            self.keep()

    def _open(self) -> Order | None:
        found = [order for order in map(self.pair.newest, self.orders.values()) if order.open]
        return self.chance.choice(found) if found else None

    def place(self, prefix: str = "DBO", **more: object) -> None:
        name = f"{prefix}{len(self.orders)}"
        self.orders[name] = self.pair.place(name, self.chance.randint(5, 30), **more)

    def market(self) -> None:
        if self.pair.exchange not in NO_RESTING_MARKET:
            self.place("DTP", order_type="MARKET", hold=True)

    def fill(self) -> None:
        order = self._open()
        if order is not None:
            better = {"price": order.price - self.chance.randint(0, 5) * self.tick} if order.price else {}
            left = int(order.remaining / self.pair.step(1, self.pair.symbol))
            self.pair.fill(order, self.chance.choice((None, self.chance.randint(1, left))), **better)

    def modify(self) -> None:
        order = self._open()
        if order is not None and order.price and self.pair.facts.modify:
            executed = int(order.executed / self.pair.step(1, self.pair.symbol))
            price = order.price - self.chance.randint(0, 3) * self.tick
            self.pair.modify(order, executed + self.chance.randint(1, 25), price)

    def cancel(self) -> None:
        order = self._open()
        if order is not None and self.chance.random() < 0.4:
            self.pair.cancel(order)

    def drop(self) -> None:
        if not self.pair.ended and self.chance.random() < 0.6:
            self.pair.drop(self.chance.choice(AWAY_S))

    def back(self) -> None:
        if self.pair.ended:
            self.pair.again()

    def keep(self) -> None:
        self.pair.keep()


class Troubled(Player):
    """While gaps are read more is done, and the venue's REST fails; a connection that fails is followed by another one."""

    def back(self) -> None:
        if not self.pair.ended:
            return
        if self.chance.random() < 0.5:
            kind = self.chance.choice(("rest_error", "rest_garbage", "rest_reset"))
            more = {"status": self.chance.choice((500, 502, 503))} if kind == "rest_error" else {}
            self.pair.fault(kind, venue=self.pair.name, times=self.chance.randint(1, 3), params=more)
        self.pair.meanwhile = lambda call: self._one_more()
        self._again()
        self.pair.meanwhile = None

    def keep(self) -> None:
        if self.pair.ended:
            self.pair.drop(1.0)
            self._again()

    def _one_more(self) -> None:
        if self.chance.random() < 0.4:
            with contextlib.suppress(Refused):
                self.chance.choice((self.place, self.fill, self.fill, self.cancel, self.modify))()

    def _again(self) -> None:
        """The next connection whose gap is read; one that ended before it was changes nothing about where the gap begins."""
        since_ms = self.pair.last_live_ms
        for tries in range(9):
            self.pair.reconnect()
            while not self.pair.ended and not self.pair.whole():
                self.pair.turn()
            if self.pair.whole():
                return
            self.pair.drop(2.0 + tries)
            self.pair.last_live_ms = since_ms
        raise AssertionError(f"no connection reads its gap: {self.pair.out[-5:]}")


class Disordered(Troubled):
    """Fills' frames come twice, or in the wrong order."""

    def fill(self) -> None:
        if not self.pair.ended and self.chance.random() < 0.5:
            kind = self.chance.choice(("duplicate", "reorder"))
            self.pair.fault(kind, venue=self.pair.name, times=self.chance.randint(1, 2))
        super().fill()

    def back(self) -> None:
        if self.pair.ended:
            self._again()


def booked(told: Row, truth: Row, tick: Decimal) -> bool:
    """Ends are exact. An open order may wait for its fills with an average that is right to the last decimal of a price."""
    status = told.status
    if truth.status == "NEW" and truth.executed:  # what its old id executed is part of a modified order
        status = "NEW" if told.status == "PARTIALLY_FILLED" else "wrong"
    slack = tick if truth.status in ("NEW", "PARTIALLY_FILLED") else truth.average * Decimal("1e-9")
    return (
        status == truth.status
        and abs(told.executed - truth.executed) <= truth.executed * Decimal("1e-9")
        and abs(told.average - truth.average) <= slack
    )


def assert_all_booked(player: Player) -> None:
    assert player.orders
    # Hyperliquid writes 55125.40 as 55125.4, and an average with as many decimals as the limit price has.
    last_decimal = player.tick * (10 if player.pair.name == "hyperliquid" else 1)
    for name, order in player.orders.items():
        client = client_text(player.pair.exchange, name)
        if unseen(player.pair, client, order):
            continue
        told = player.pair.books.rows.get(client)
        truth = player.pair.truth(order)
        assert told is not None, f"nothing was told of {name}; the venue has {truth}"
        assert booked(told, truth, last_decimal), f"{name}: told {told}, the venue has {truth}"


@pytest.mark.parametrize(("seat", "anew", "seed"), stories(SEEDS))
def test_whatever_is_done_while_nobody_watches_is_booked(seat: Seat, anew: bool, seed: int) -> None:
    player = Player(seat, seed, anew=anew)
    player.play(deeds=15 + seed)
    assert_all_booked(player)


@pytest.mark.parametrize(("seat", "anew", "seed"), stories(TROUBLES))
def test_whatever_is_done_while_gaps_are_read_badly_is_booked(seat: Seat, anew: bool, seed: int) -> None:
    player = Troubled(seat, seed, anew=anew)
    player.play(deeds=15 + seed)
    assert_all_booked(player)


@pytest.mark.parametrize(("seat", "anew", "seed"), stories(TROUBLES, anew=False))
def test_frames_that_come_twice_or_in_the_wrong_order_are_booked_once_and_with_their_price(
    seat: Seat, anew: bool, seed: int
) -> None:
    player = Disordered(seat, seed, anew=anew)
    player.play(deeds=15 + seed)
    assert_all_booked(player)
