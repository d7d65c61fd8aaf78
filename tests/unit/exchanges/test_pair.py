"""Both halves of every exchange id together: what the adapter tells is what happened on the simulated venue."""

from __future__ import annotations

import re

import pytest

from exchanges._adapter import Call, EmitCandle, EmitTickers, Fail, FailKind, KnownOrder, Live, Note, Seen
from exchanges.ids import FAMILIES, family_of, is_paper
from exchanges.instruments import Instrument, SymbolTable
from simulator import controls
from simulator._odd import HOW
from simulator.controls import OrderRef
from simulator.engine import NewOrder
from tests.unit.exchanges.pair import START, Pair, Seat, assert_booked, client_text, facts, markets, seats, wrong_secret

SEATS = seats()
EVERY = pytest.mark.parametrize("seat", SEATS, ids=str)
REMEMBERING = pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).remembers], ids=str)
KEYED = pytest.mark.parametrize(
    "seat", [s for s in SEATS if facts(s.exchange).key and not facts(s.exchange).waits_for_account], ids=str
)
REFUSING = pytest.mark.parametrize(
    ("seat", "code"),
    [pytest.param(s, c, id=f"{s}-{c}") for s in SEATS if not s.account for c in facts(s.exchange).rejections],
)
MOST = 2
"""Symbols whose prices must come: the others may not have moved."""

MANY = 420
"""More orders than any plan asks for one by one."""


# --- an order's life ---


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


# --- what happens while nobody watches ---


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
def test_an_order_that_changes_while_its_gap_is_read_ends_right(seat: Seat) -> None:
    pair = Pair(seat).joined()
    client = client_text(seat.exchange, "DBO1")
    order = pair.place("DBO1")
    pair.until(lambda: pair.status(client) == "NEW")
    pair.drop()
    pair.fill(order, 3)
    pair.t += 5
    moments = iter(range(100))

    def meanwhile(call: Call) -> None:
        if pair.link is not None and next(moments) == 1:
            pair.fill(order, 2)
            pair.fill(order)

    pair.meanwhile = meanwhile
    pair.again()
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
        pair.drop(2.0)
        pair.hub.faults.clear()


@pytest.mark.parametrize("exchange", [e for e in markets("ticker") if not is_paper(e)])
def test_an_odd_row_in_a_symbol_list_costs_itself(exchange: str) -> None:
    pair = Pair(Seat(exchange))
    whole = {(item.wire, item.pair) for item in pair.table}
    for how, first in ODD:
        pair.hub.faults.clear()
        pair.fault("odd_rows", standing=True, params={"how": how, "first": first})
        pair.t += 5.0  # lists have an allowance, too
        assert {(item.wire, item.pair) for item in pair.load()} == whole, (how, first)


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_an_odd_row_among_prices_costs_itself(exchange: str) -> None:
    pair = Pair(Seat(exchange))
    shard = pair.venue.ticker_shards(exchange, pair.table)[0]
    wires = shard or [item.wire for item in pair.table.active()]
    wanted = {item.pair for item in pair.table if item.wire in wires}
    for how, first in ODD:
        pair.fault("odd_rows", standing=True, params={"how": how, "first": first})
        pair.tickers()
        pair.until(lambda: len(wanted & {t.symbol for emit in pair.of(EmitTickers) for t in emit.tickers}) >= MOST)
        assert not pair.of(Fail)
        pair.drop()
        pair.hub.faults.clear()


@pytest.mark.parametrize("exchange", markets("candle"))
def test_an_odd_row_among_missed_candles_costs_itself(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=5.0)
    for how, first in ODD:
        pair.fault("odd_rows", standing=True, params={"how": how, "first": first})
        pair.candles(missed=6)
        pair.until(lambda: pair.live() and (pair.of(EmitCandle) or pair.of(Seen)), seconds=400)
        gap = pair.of(Live)[0].gap
        assert gap is not None
        assert gap.candles >= 4, (how, first)
        pair.drop()
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
    if name in ("coinbase", "kraken", "bybit"):
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


# --- keys ---


@KEYED
def test_a_wrong_secret_is_the_streams_own_failure(seat: Seat) -> None:
    pair = Pair(seat)
    resume = None if pair.facts.join_is_signed else pair.books.resume(pair.now.wall_ms)
    pair.user(resume, wrong_secret(pair.key))
    pair.wait_for_failure()
    refused = pair.of(Fail)
    if pair.facts.join_is_signed:
        assert refused, pair.out
        assert refused[0].kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE)
        assert refused[0].stream_id == "u"
        assert not pair.live()
    else:
        assert refused or pair.missing(), "the gap could not be read, and nothing says so"
    assert not pair.orders()


@REFUSING
def test_a_key_that_the_venue_refuses_is_told_as_that(seat: Seat, code: str) -> None:
    pair = Pair(seat)
    pair.fault("reject_key", account=pair.account, params={"code": code})
    pair.user()
    pair.wait_for_failure()
    if pair.facts.waits_for_account:
        assert not pair.of(Fail)
        assert pair.of(Note)
        return
    fail = pair.of(Fail)[0]
    assert fail.kind in (FailKind.CREDENTIAL, FailKind.KEY_TYPE), fail
    assert fail.stream_id == "u"
    assert not pair.live()


@pytest.mark.parametrize("seat", [seat for seat in SEATS if facts(seat.exchange).skew], ids=str)
@pytest.mark.parametrize("skew_ms", [-120_000, 120_000])
def test_a_clock_that_goes_wrong_delays_but_does_not_keep_out(seat: Seat, skew_ms: int) -> None:
    pair = Pair(seat)
    pair.fault("clock_skew", venue=pair.name, standing=True, params={"ms": str(skew_ms)})
    pair.user()
    pair.until(pair.live, seconds=60)


@EVERY
def test_a_venue_that_does_not_answer_a_login_is_left(seat: Seat) -> None:
    pair = Pair(seat)
    pair.fault("half_open", venue=pair.name, standing=True)
    pair.user()
    if not pair.facts.join_is_signed:  # the address of the socket is the login
        pair.until(pair.live)
        return
    pair.wait_for_failure(180)
    limits = pair.venue.limits(seat.exchange, "user")
    assert pair.of(Fail) or limits.join_timeout_s <= 60, "nothing ends a login that is never answered"
    assert not pair.live()


@EVERY
def test_an_account_that_was_removed_tells_nothing_more(seat: Seat) -> None:
    pair = Pair(seat).joined()
    assert pair.adapter is not None
    pair.take(pair.adapter.remove("u", pair.now))
    seen = len(pair.orders())
    pair.fill(pair.place("DBO1"))
    pair.wait(30)
    assert len(pair.orders()) == seen


# --- prices ---


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_prices_flow_under_known_names(exchange: str) -> None:
    pair = Pair(Seat(exchange)).tickers()
    pair.until(lambda: pair.live() and pair.of(EmitTickers))
    tickers = [ticker for emit in pair.of(EmitTickers) for ticker in emit.tickers]
    assert {ticker.symbol for ticker in tickers} <= {item.pair for item in pair.table}
    assert all(ticker.price > 0 for ticker in tickers)
    assert all(abs(ticker.time - pair.now.wall_ms) < 60_000 for ticker in tickers)


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_a_symbol_that_the_venue_refuses_costs_only_itself(exchange: str) -> None:
    pair = Pair(Seat(exchange))
    shard = pair.venue.ticker_shards(exchange, pair.table)[0]
    if not shard:
        pair.tickers()
        pair.until(lambda: pair.live() and pair.of(EmitTickers))
        return
    good = next(item for item in pair.table if item.wire in shard)
    bad = good.wire.replace(good.base or "BTC", "GONE") if good.base and good.base in good.wire else f"GONE{good.wire}"
    rows = [
        *pair.table,
        Instrument(wire=bad, pair=bad, base="GONE", quote=good.quote, settle=good.settle, kind=good.kind),
    ]
    pair.table = SymbolTable(rows)
    pair.tickers([*shard, bad])
    pair.until(lambda: pair.live() and pair.of(EmitTickers))
    assert not pair.of(Fail)


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_a_symbol_that_was_refused_is_asked_for_again_and_served_when_the_venue_has_it(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=30.0)
    shard = pair.venue.ticker_shards(exchange, pair.table)[0]
    if len(shard) < 2 or not pair.facts.symbol_topics:  # one stream with all symbols: there is nothing to refuse
        return
    late = shard[-1]
    lists = pair.hub.world.markets
    lists.delist(exchange, late)
    pair.tickers()
    pair.until(pair.live)
    name = pair.table.wire(late)
    assert name is not None
    pair.wait(40)
    assert name.pair not in {ticker.symbol for emit in pair.of(EmitTickers) for ticker in emit.tickers}
    lists.relist(exchange, late)
    pair.until(lambda: name.pair in {t.symbol for emit in pair.of(EmitTickers) for t in emit.tickers}, seconds=960)
    assert not pair.of(Fail)


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_a_symbol_that_has_never_traded_has_no_price(exchange: str) -> None:
    pair = Pair(Seat(exchange))
    name, wire = pair.pair_id, pair.symbol.wire
    pair.hub.world.markets.untraded(exchange, wire)
    pair.tickers()
    pair.until(lambda: pair.live() and pair.of(EmitTickers))
    pair.wait(20)
    tickers = [ticker for emit in pair.of(EmitTickers) for ticker in emit.tickers]
    assert all(ticker.price > 0 and ticker.best_ask > 0 and ticker.best_bid > 0 for ticker in tickers)
    assert name not in {ticker.symbol for ticker in tickers}


@pytest.mark.parametrize("exchange", markets("candle"))
def test_a_candle_without_a_trade_is_not_published(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=5.0)
    pair.hub.world.markets.untraded(exchange, pair.symbol.wire)
    pair.candles()
    pair.until(pair.live)
    pair.wait(700)
    assert not pair.of(EmitCandle)
    assert not pair.of(Fail)


@pytest.mark.parametrize("exchange", markets("candle"))
def test_missed_candles_come_first_and_in_order(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=5.0).candles(missed=6)
    pair.until(lambda: pair.live() and (pair.of(EmitCandle) or pair.of(Seen)), seconds=400)
    gap = pair.of(Live)[0].gap
    assert gap is not None
    assert gap.candles >= 4
    assert not gap.missing
    starts = [emit.candle.start for emit in pair.of(EmitCandle)]
    assert starts == sorted(starts)
