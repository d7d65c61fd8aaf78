"""Both halves of every exchange id together: what the adapter tells of orders is what happened on the simulated venue."""

from __future__ import annotations

import pytest

from exchanges._adapter import Fail, Note, Rotate
from exchanges.ids import FAMILIES, family_of
from simulator import controls
from simulator.controls import OrderRef
from simulator.engine import NewOrder
from tests.unit.exchanges.pair import Pair, Seat, assert_booked, assert_told_as_placed, client_text, facts, seats

SEATS = seats()
EVERY = pytest.mark.parametrize("seat", SEATS, ids=str)
REMEMBERING = pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).remembers], ids=str)
WALLETS = pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).wallet], ids=str)
QUIET_S = 1_300.0
"""Longer than any venue's patience with a client that says nothing."""
HANGING_S = 120.0
"""A connection that says nothing must be left within this time."""


@EVERY
def test_an_order_is_followed_from_its_start_to_its_end(seat: Seat) -> None:
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client) == "NEW")
    pair.fill(order, 4)
    pair.until(lambda: pair.status(client) == "PARTIALLY_FILLED")
    pair.fill(order, 3)
    pair.fill(order)
    pair.until(lambda: pair.status(client) == "FILLED")
    states = [told.order_status for told in pair.books.told]
    assert list(dict.fromkeys(states)) == ["NEW", "PARTIALLY_FILLED", "FILLED"]
    ids = [told.unique_message_id for told in pair.books.told]
    assert len(set(ids)) == len(ids)
    assert not any(emit.repaired for emit in pair.orders())
    assert_booked(pair, client, order)
    assert_told_as_placed(pair, order)
    if pair.facts.wallet:
        pair.until(pair.balances)


@EVERY
def test_an_order_that_is_cancelled_after_a_part_keeps_the_part_and_its_own_client_id(seat: Seat) -> None:
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.fill(order, 4)
    pair.cancel(order)
    pair.until(lambda: pair.status(client) == "CANCELED")
    assert_booked(pair, client, order)
    assert_told_as_placed(pair, order)


@EVERY
def test_orders_of_another_market_of_the_account_are_not_told(seat: Seat) -> None:
    """Two ids of one account are two streams: each order is told once."""
    pair = Pair(seat).joined()
    engine = pair.hub.world.engine
    for other in FAMILIES[family_of(seat.exchange)]:
        if other == pair.market or pair.hub.world.markets.market(other) is None:
            continue
        for symbol in pair.hub.world.markets.symbols(other)[:2]:
            new = NewOrder(
                symbol=symbol.wire,
                side="BUY",
                quantity=pair.step(8, symbol),
                price=symbol.price,
                client_id=client_text(seat.exchange, f"DBO{other[-4:]}"),
            )
            order = controls.place(pair.hub, pair.account, other, new, pair.now)
            pair.wait(1.0)
            controls.fill(pair.hub, OrderRef(order_id=order.order_id), pair.now)
            pair.wait(1.0)
    assert not pair.orders()
    pair.drop()
    pair.again()
    assert not pair.orders()
    assert engine.last_seq() or len(FAMILIES[family_of(seat.exchange)]) == 1


@EVERY
def test_private_frames_of_an_unknown_kind_are_told(seat: Seat) -> None:
    """Bug B7: a new shape of balances was thrown away without a word."""
    pair = Pair(seat).joined()
    assert pair.adapter is not None
    frames = pair.hub.halves[seat.name].unheard
    assert frames, "the half names no frame of an unknown kind"
    assert any(isinstance(output, Note) for frame in frames for output in pair.adapter.received(frame, pair.now))


# --- the connection itself ---


@EVERY
def test_an_account_that_was_removed_tells_nothing_more(seat: Seat) -> None:
    pair = Pair(seat).joined()
    assert pair.adapter is not None
    pair.take(pair.adapter.remove("u", pair.now))
    seen = len(pair.orders())
    pair.fill(pair.place("DBO1"))
    pair.wait(30)
    assert len(pair.orders()) == seen


@REMEMBERING
def test_an_account_that_was_removed_and_comes_back_is_told_what_it_missed(seat: Seat) -> None:
    pair = Pair(seat).joined()
    assert pair.adapter is not None
    order = pair.place("DBO1")
    pair.wait(5.0)
    pair.take(pair.adapter.remove("u", pair.now))
    removed_ms = pair.now.wall_ms
    pair.fill(order)
    pair.wait(10.0)
    pair.last_live_ms = removed_ms
    if pair.venue.limits(pair.exchange, "user").subscriptions_per_connection > 1:
        pair.out.clear()
        pair.take(pair.adapter.add(pair.account_again(), pair.now))
        pair.until(pair.whole)
    else:
        pair.drop(1.0)
        pair.last_live_ms = removed_ms
        pair.again()
    assert_booked(pair, client_text(pair.exchange, "DBO1"), order)


@WALLETS
def test_what_a_fill_does_to_the_wallet_is_told(seat: Seat) -> None:
    pair = Pair(seat).joined()
    pair.wait(5.0)
    before = len(pair.balances())
    pair.fill(pair.place("DBO1"))
    pair.until(lambda: len(pair.balances()) > before)


@EVERY
def test_a_quiet_account_stays_connected_and_is_heard_of(seat: Seat) -> None:
    """Either side may speak, but silence must not look like a dead connection."""
    pair = Pair(seat, tick_s=60.0).joined()
    limits = pair.venue.limits(seat.exchange, "user")
    pair.longest_silence_s = 0.0
    pair.wait(min(QUIET_S, (limits.lifetime_s or QUIET_S) / 2))
    assert not pair.ended, pair.out[-5:]
    assert pair.longest_silence_s < limits.silence_s <= HANGING_S


@REMEMBERING
def test_what_happens_on_a_connection_that_hangs_is_told_by_the_next_one(seat: Seat) -> None:
    pair = Pair(seat).joined()
    order = pair.place("DBO1")
    pair.wait(5.0)
    pair.last_live_ms = pair.now.wall_ms
    pair.fault("half_open")
    pair.fill(order)
    pair.wait_for_failure(HANGING_S)
    last_live_ms = pair.last_live_ms
    pair.drop(1.0)
    pair.last_live_ms = last_live_ms
    pair.again()
    assert_booked(pair, client_text(pair.exchange, "DBO1"), order)


@REMEMBERING
@pytest.mark.parametrize("signal", ["expire_token", "maintenance", "cut", "terminate"])
def test_whatever_ends_a_subscription_is_noticed_and_no_fill_is_lost(seat: Seat, signal: str) -> None:
    """Tokens and listen keys at their end, restarts of the venue, connections at their maximum age."""
    pair = Pair(seat, tick_s=60.0).joined()
    order = pair.place("DBO1")
    pair.wait(5.0)
    pair.fault(signal, account=pair.account if signal in ("expire_token", "terminate") else "")
    pair.fill(order, 4)
    pair.wait(70.0)
    if pair.of(Fail) or pair.of(Rotate):
        pair.drop(1.0)
    pair.keep()
    pair.fill(order)
    pair.wait(5.0)
    assert_booked(pair, client_text(pair.exchange, "DBO1"), order)
