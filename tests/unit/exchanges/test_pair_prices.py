"""Prices and candles of every exchange id: what the adapter tells is what the simulated market did."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exchanges import closed_candles
from exchanges._adapter import EmitCandle, EmitTickers, Fail, Live, Seen
from exchanges._numbers import decimal
from exchanges.events import Candle, Ticker
from exchanges.ids import is_paper
from exchanges.instruments import Instrument, SymbolTable
from simulator._odd import HOW
from tests.unit.exchanges.pair import Pair, Seat, interval_of, markets

MOST = 2
"""Symbols whose prices must come: the others may not have moved."""
STEP = 0.01
"""More than prices move while a frame is on its way."""
ODD = [(how, first) for how in HOW for first in ("", "yes")]
"""Each kind of odd row, behind and before the good ones."""


def assert_the_markets(pair: Pair, told: Mapping[int, Candle]) -> None:
    """Each candle that has ended, as it was told last, is that of the simulated market."""
    ended = {start: candle for start, candle in told.items() if start + 300_000 <= pair.now.wall_ms}
    assert ended
    first, last, market = min(ended), max(ended), pair.hub.world.markets
    real = market.candles(pair.market, pair.symbol.wire, "5m", first, last, 1000, pair.now.wall_ms)
    figures = {one.start_ms: (one.open, one.high, one.low, one.close) for one in real}
    for start, candle in ended.items():
        assert tuple(map(decimal, (candle.open, candle.high, candle.low, candle.close))) == figures[start]


def tickers_of(pair: Pair) -> list[Ticker]:
    return [ticker for emit in pair.of(EmitTickers) for ticker in emit.tickers]


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_every_price_flows_under_its_known_name(exchange: str) -> None:
    pair = Pair(Seat(exchange))
    known = {item.pair for item in pair.table}
    listed = pair.hub.world.markets.symbols(pair.market)
    named = {symbol.wire: getattr(pair.table.wire(symbol.wire), "pair", "left out") for symbol in listed}
    assert named == {symbol.wire: symbol.pair_id for symbol in listed}
    seen: set[str] = set()
    for shard in pair.venue.ticker_shards(exchange, pair.table):
        wanted = {item.pair for item in pair.table.active() if not shard or item.wire in shard}
        pair.tickers(shard)
        pair.until(lambda wanted=wanted: pair.live() and wanted <= {ticker.symbol for ticker in tickers_of(pair)})
        assert all(ticker.price > 0 for ticker in tickers_of(pair))
        assert all(abs(ticker.time - pair.now.wall_ms) < 60_000 for ticker in tickers_of(pair))
        seen |= {ticker.symbol for ticker in tickers_of(pair)}
        pair.drop()
    assert {item.pair for item in pair.table.active()} <= seen <= known


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
    pair.wait(3_900)  # refused again and again; who doubled the wait without end would ask again an hour later
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
    tickers = tickers_of(pair)
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
    pair = Pair(Seat(exchange), tick_s=5.0)
    since = pair.now.wall_ms // 300_000 * 300_000 - 6 * 300_000
    pair.candles(missed=6)
    pair.until(lambda: pair.live() and (pair.of(EmitCandle) or pair.of(Seen)), seconds=400)
    gap = pair.of(Live)[0].gap
    assert gap is not None
    assert gap.candles >= 4
    assert not gap.missing
    missed = [emit.candle for emit in pair.of(EmitCandle) if emit.repaired]
    starts = [candle.start for candle in missed]
    assert starts == list(range(starts[0], starts[-1] + 1, 300_000)), "one after the other"
    assert since <= starts[0] <= since + 300_000, "a running one is told once more"
    assert_the_markets(pair, {candle.start: candle for candle in missed})


@pytest.mark.parametrize("exchange", markets("ticker"))
def test_the_price_that_is_told_last_is_the_markets(exchange: str) -> None:
    pair = Pair(Seat(exchange), tick_s=5.0).tickers()
    pair.until(lambda: pair.live() and pair.of(EmitTickers))
    pair.wait(30)
    last = {ticker.symbol: ticker.price for emit in pair.of(EmitTickers) for ticker in emit.tickers}
    compared = 0
    for symbol in pair.hub.world.markets.symbols(exchange):
        item = pair.table.wire(symbol.wire)
        if item is not None and item.pair in last:
            price = float(pair.hub.world.markets.quote(exchange, symbol.wire).price)
            assert abs(last[item.pair] - price) < price * STEP, item.pair
            compared += 1
    assert compared >= MOST


@pytest.mark.parametrize("exchange", markets("candle"))
def test_a_candle_is_published_when_it_has_ended_and_once(exchange: str) -> None:
    """Or, where the venue says so, also while it runs; what is told last of it is the market's."""
    pair = Pair(Seat(exchange), tick_s=5.0).candles()
    pair.until(lambda: pair.live() and (pair.of(EmitCandle) or pair.of(Seen)), seconds=700)
    pair.wait(700)
    emits = pair.of(EmitCandle)
    assert emits
    assert {(emit.symbol, emit.interval) for emit in emits} == {(pair.pair_id, interval_of(exchange))}
    starts = [emit.candle.start for emit in emits]
    assert starts == sorted(starts)
    if closed_candles(exchange):
        assert len(set(starts)) == len(starts)
        assert starts[-1] + 300_000 <= pair.now.wall_ms
    else:
        assert len(set(starts)) < len(starts), "a running candle is told again and again"
    assert_the_markets(pair, {emit.candle.start: emit.candle for emit in emits})


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
