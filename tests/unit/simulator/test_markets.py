"""Prices and candles of the simulated world."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator._values import INTERVALS, bucket_start
from simulator.markets import Markets, coins
from simulator.venues.binance._symbols import markets as binance_markets

D = Decimal
NOW = 1_795_000_000_000


def markets(count: int = 3, **settings: float) -> Markets:
    return Markets(binance_markets(coins(count)), **{"move": 0.001, "quiet": 0.0, **settings})


def test_the_same_seed_gives_the_same_prices_and_another_seed_others():
    def walk(seed: int) -> list[Decimal]:
        world = markets(seed=seed)
        return [quote.price for n in range(20) for quote in world.step("binance", NOW + n)[0].quotes]

    assert walk(3) == walk(3)
    assert walk(3) != walk(4)


def test_no_move_means_prices_stand_still():
    world = markets(move=0.0)
    for n in range(10):
        world.step("binance", NOW + n)
    assert world.quote("binance", "BTCUSDT").price == D("61250.5")


def test_weeks_begin_on_mondays():
    assert bucket_start("1w", NOW) % INTERVALS["1d"] == 0
    assert (bucket_start("1w", NOW) // INTERVALS["1d"] + 3) % 7 == 0
    assert bucket_start("1d", NOW) == NOW // 86_400_000 * 86_400_000


@settings(max_examples=60, deadline=None)
@given(
    interval=st.sampled_from(["1m", "5m", "1h"]),
    steps=st.lists(st.tuples(st.integers(1, 400_000), st.booleans()), max_size=30),
)
def test_each_candle_closes_once_in_order_without_gaps_whatever_the_times(interval, steps):
    world = markets(1)
    world.track("binance", "BTCUSDT", interval, NOW)
    now, closed = NOW, []
    for delay, early in steps:
        now += delay
        updates = world.close_candle("binance", "BTCUSDT", interval, now) if early else world.step("binance", now)[1]
        closed += [u.candle for u in updates if u.closed]
    starts = [candle.start_ms for candle in closed]
    assert starts == [bucket_start(interval, NOW) + n * INTERVALS[interval] for n in range(len(starts))]
    told = world.candles("binance", "BTCUSDT", interval, bucket_start(interval, NOW), None, 1000, now)
    assert told[: len(closed)] == closed[:1000]
    for candle in closed:
        assert candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high


def test_candles_that_begin_earlier_are_closed_by_hand_after_their_end_and_by_the_clock_from_then_on():
    world = markets(1)
    hour = INTERVALS["1h"]
    here = bucket_start("1h", NOW)
    world.track("binance", "BTCUSDT", "1h", NOW, behind=2)
    assert not [update for update in world.step("binance", NOW + hour)[1] if update.closed]
    for start in (here - 2 * hour, here - hour):
        (update,) = world.close_candle("binance", "BTCUSDT", "1h", NOW)
        assert update.candle.start_ms == start
    world.track("binance", "BTCUSDT", "1h", NOW, behind=9)
    closed = [update for update in world.step("binance", NOW + hour)[1] if update.closed]
    assert [update.candle.start_ms for update in closed] == [here]


def test_history_before_the_first_question_is_invented_the_same_way_each_time():
    first = markets(seed=5).candles("binance", "ETHUSDT", "1h", None, None, 50, NOW)
    world = markets(seed=5)
    for n in range(10):
        world.step("binance", NOW + n)
    again = world.candles("binance", "ETHUSDT", "1h", first[0].start_ms, first[-2].start_ms, 50, NOW + 10)
    assert len(first) == 50
    assert again == first[:-1]
    assert [b.open for b in again[1:]] == [a.close for a in again[:-1]]


def test_a_set_price_moves_high_low_and_the_running_candle():
    world = markets(1, move=0.0)
    world.track("binance", "BTCUSDT", "1m", NOW)
    tick, updates = world.set_price("binance", "BTCUSDT", D(70000), NOW + 1)
    assert (tick.quotes[0].price, tick.quotes[0].high, tick.walk) == (D(70000), D(70000), False)
    assert (updates[0].candle.high, updates[0].candle.close, updates[0].closed) == (D(70000), D(70000), False)


def test_many_coins_are_made_up():
    names = [coin.name for coin in coins(500)]
    assert len(set(names)) == 500
    assert names[:2] == ["BTC", "ETH"]


def test_accounts_are_rich_in_every_asset_of_their_venue_only():
    wallets = markets(2).rich("binance")
    assert set(wallets) == {"binance", "binanceUsdm", "binanceCoinm", "binanceUS"}
    assert set(wallets["binanceCoinm"]) == {"BTC", "ETH"}
    assert markets(2).rich("kucoin") == {}
    assert set(markets(2).rich("paper")) == set(wallets)


def test_a_delisted_symbol_is_nowhere_until_it_is_listed_again():
    made = markets(2)
    price = made.quote("binance", "ETHUSDT").price
    made.delist("binance", "ETHUSDT")
    assert "ETHUSDT" not in {symbol.wire for symbol in made.symbols("binance")}
    assert made.symbol("binance", "ETHUSDT") is None
    assert "ETHUSDT" not in {quote.symbol.wire for quote in made.step("binance", NOW)[0].quotes}
    made.relist("binance", "ETHUSDT")
    assert made.quote("binance", "ETHUSDT").price == price
    assert made.symbol("binance", "ETHUSDT") in made.symbols("binance")
