"""Positions of every id of derivatives, with both halves: told on a fill, whole after a connect, zero when closed."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchanges._adapter import Answer, Emit, Resume, UserSubscription
from exchanges._numbers import decimal
from exchanges._positions import Positions, position
from exchanges.credentials import credentials
from exchanges.events import PositionUpdate
from exchanges.ids import FAMILIES, family_of, is_paper, real_id
from simulator import controls
from simulator._values import Position
from simulator.controls import OrderRef
from simulator.engine import NewOrder
from tests.unit.exchanges.pair import DOUBLE, Pair, Seat, client_text, seats

NOT_YET: dict[str, str] = {
    "paperBinanceUsdm": "the paper server tells no positions",
}
"""Seats of derivatives that tell no positions, and why (docs/events.md has the same)."""


def derivative(seat: Seat) -> bool:
    return real_id(seat.exchange) not in {"binanceUS", *FAMILIES}


SPOT = pytest.mark.parametrize("seat", [s for s in seats() if not derivative(s) and not is_paper(s.exchange)], ids=str)
TELLING = pytest.mark.parametrize("seat", [s for s in seats() if derivative(s) and str(s) not in NOT_YET], ids=str)


def test_the_exceptions_are_seats() -> None:
    assert set(NOT_YET) <= {str(seat) for seat in seats() if derivative(seat)}


def near(told: object, truth: Decimal) -> bool:
    """Venues write coins with eight digits."""
    return abs(decimal(str(told)) - truth) <= max(abs(truth) * DOUBLE, Decimal("1e-8"))


def assert_held(pair: Pair, told: PositionUpdate, held: Position) -> None:
    """What was told is what the venue's books have."""
    symbol = pair.hub.world.markets.symbol(pair.market, held.symbol)
    assert symbol is not None
    units = held.amount * symbol.contract_size
    base = (units / held.entry if held.entry else units) if symbol.inverse else units
    assert isinstance(told.quantity, str)
    assert near(told.quantity, base), f"{told} is not {held}"
    assert isinstance(told.contracts, str)
    if symbol.contract_size != 1:
        assert near(told.contracts, held.amount), f"{told} is not {held}"
    if held.amount:
        assert near(told.entry_price, held.entry), f"{told} is not {held}"


def truth(pair: Pair) -> Position:
    held = pair.hub.world.engine.account(pair.account).ledger.positions(pair.market)
    found = [position for position in held if position.symbol == pair.symbol.wire]
    return (
        found[0]
        if found
        else Position(symbol=pair.symbol.wire, amount=Decimal(0), entry=Decimal(0), realised=Decimal(0))
    )


def told(pair: Pair) -> list[PositionUpdate]:
    return [emit.event for emit in pair.of(Emit) if isinstance(emit.event, PositionUpdate)]


def trade(pair: Pair, steps: int, client: str, **more: object) -> None:
    pair.place(client, steps, order_type="MARKET", **more)


@TELLING
def test_a_position_is_told_when_a_fill_changes_it_and_zero_when_it_is_closed(seat: Seat) -> None:
    pair = Pair(seat).joined()
    pair.wait(15.0)
    pair.fill(pair.place("DBO1", 10), 4)
    pair.until(lambda: told(pair))
    assert_held(pair, told(pair)[-1], truth(pair))
    assert not told(pair)[-1].snapshot
    trade(pair, 7, "DBO2", side="SELL")
    pair.until(lambda: decimal(str(told(pair)[-1].quantity)) < 0)
    assert_held(pair, told(pair)[-1], truth(pair))
    trade(pair, 3, "DBO3")
    pair.until(lambda: not told(pair)[-1].open)
    assert decimal(str(told(pair)[-1].quantity)) == decimal(str(told(pair)[-1].contracts)) == 0
    ids = [event.unique_message_id for event in told(pair)]
    assert len(set(ids)) == len(ids)
    assert {event.position_side for event in told(pair)} == {"BOTH"}


@TELLING
def test_what_is_held_is_told_whole_after_each_connect(seat: Seat) -> None:
    pair = Pair(seat)
    trade(pair, 5, "DBO1")
    pair.joined()
    pair.until(lambda: told(pair))
    assert told(pair)[-1].snapshot
    assert_held(pair, told(pair)[-1], truth(pair))
    pair.drop()
    pair.again()
    pair.until(lambda: told(pair))
    assert told(pair)[-1].snapshot
    assert_held(pair, told(pair)[-1], truth(pair))


@TELLING
def test_a_position_that_was_closed_in_a_gap_is_told_as_zero(seat: Seat) -> None:
    pair = Pair(seat)
    trade(pair, 5, "DBO1")
    pair.joined()
    pair.until(lambda: told(pair))
    pair.drop()
    trade(pair, 5, "DBO2", side="SELL")
    pair.again()
    pair.until(lambda: told(pair))
    last = told(pair)[-1]
    assert last.snapshot
    assert not last.open
    assert last.key == pair.books.holdings[0].key
    assert decimal(str(last.quantity)) == decimal(str(last.contracts)) == 0


@TELLING
def test_orders_are_told_though_positions_can_not_be_read(seat: Seat) -> None:
    """Neither a refused question nor a refused channel costs an order."""
    pair = Pair(seat)
    order = pair.place("DBO1", 10)
    rest = pair.rest
    pair.rest = lambda call: rest(call) if "osition" not in call.url + call.tag else refused()  # type: ignore[method-assign]
    pair.joined()
    pair.wait(20.0)
    pair.fill(order)
    pair.until(lambda: pair.status(client_text(seat.exchange, "DBO1")) == "FILLED")


def refused() -> Answer:
    return Answer(403, {}, b'{"code":"50030","retCode":10005,"msg":"no permission","ret_msg":"no permission"}')


@TELLING
def test_positions_of_another_market_of_the_account_are_not_told(seat: Seat) -> None:
    pair = Pair(seat).joined()
    for other in FAMILIES[family_of(seat.exchange)]:
        if other == pair.market or pair.hub.world.markets.market(other) is None:
            continue
        symbol = pair.hub.world.markets.symbols(other)[0]
        new = NewOrder(
            symbol=symbol.wire,
            side="BUY",
            quantity=pair.step(8, symbol),
            price=symbol.price,
            client_id=client_text(seat.exchange, f"DBO{other[-4:]}"),
        )
        order = controls.place(pair.hub, pair.account, other, new, pair.now)
        controls.fill(pair.hub, OrderRef(order_id=order.order_id), pair.now)
        pair.wait(3.0)
    assert not told(pair)
    pair.drop()
    pair.again()
    pair.wait(10.0)
    assert not told(pair)


@SPOT
def test_a_spot_account_tells_no_positions(seat: Seat) -> None:
    pair = Pair(seat).joined()
    pair.fill(pair.place("DBO1", 10))
    pair.wait(10.0)
    assert not told(pair)


# --- the keeper itself ---


def held(symbol: str, size: str, **more: object) -> PositionUpdate:
    return position(symbol, quantity=Decimal(size), contracts=Decimal(size), event_ms=1_000, **more)  # type: ignore[arg-type]


def keeper(*holds: tuple[str, str]) -> Positions:
    resume = Resume(since_ms=0, holds=holds) if holds else None
    account = credentials("k", "s", None)
    return Positions(UserSubscription(stream_id="u", exchange="bybitLinear", credentials=account, resume=resume))


def events(outputs: object) -> list[PositionUpdate]:
    return [output.event for output in outputs]  # type: ignore[attr-defined]


def test_a_change_that_a_frame_told_is_not_turned_back_by_an_older_snapshot() -> None:
    kept = keeper()
    assert events(kept.live([held("A", "2")]))
    assert [event.symbol for event in events(kept.whole([held("A", "1"), held("B", "3")], 2_000))] == ["B"]


def test_the_same_position_is_not_told_again_for_another_mark_price() -> None:
    kept = keeper()
    assert events(kept.live([held("A", "2", mark="10", pnl="1")]))
    assert not kept.live([held("A", "2", mark="11", pnl="3")])
    assert events(kept.live([held("A", "2", mark="11", leverage="5")]))


def test_what_is_missing_from_a_list_that_was_not_read_whole_is_not_told_as_closed() -> None:
    kept = keeper(("A", "BOTH"))
    assert not kept.whole([], 2_000, complete=False)
    kept = keeper(("A", "BOTH"))
    assert [event.open for event in events(kept.whole([], 2_000))] == [False]


def test_an_empty_position_that_nobody_held_is_no_part_of_the_snapshot() -> None:
    assert not keeper().whole([held("A", "0")], 2_000)


def test_a_channel_of_wholes_tells_what_went_from_it_as_closed_once() -> None:
    kept = keeper()
    assert events(kept.whole([held("A", "2")], 2_000))[0].snapshot
    gone = events(kept.whole([], 3_000))
    assert [(event.open, event.snapshot) for event in gone] == [(False, False)]
    assert not kept.whole([], 4_000)


def test_a_part_of_the_market_closes_only_its_own() -> None:
    kept = keeper(("A", "BOTH"), ("B", "BOTH"))
    told = events(kept.whole([], 2_000, part="a", covers=lambda symbol: symbol == "A"))
    assert [event.symbol for event in told] == ["A"]
