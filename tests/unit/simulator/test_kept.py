"""What the simulated world remembers has a bound, a small one when it moves by itself."""

from __future__ import annotations

from simulator._kept import DEMO
from simulator.demo import Demo
from tests.unit.simulator.worlds import World

STEP_S, STEPS = 0.9, 12_000
SYMBOL, INTERVAL = "BTCUSDT", "1m"


def test_the_demo_grew_by_megabytes_an_hour_for_days():
    world = World(venues=("binance",), limits=False, symbols=1, tick_s=60.0)
    hub, markets = world.hub, world.hub.world.markets
    demo = Demo(hub)
    hub.routines.append(demo)
    account = demo.accounts()[0].account
    markets.track("binance", SYMBOL, INTERVAL, world.clock().wall_ms)
    series = markets._series["binance", SYMBOL][INTERVAL]
    for _ in range(STEPS):
        hub.pulse(world.clock.move(STEP_S))
    markets.roll("binance", world.clock().wall_ms)

    engine = hub.world.engine
    journal = engine.journal()
    assert len(journal) == DEMO.journal
    assert journal[-1].seq <= engine.last_seq() < journal[0].seq + 3 * DEMO.journal
    store = engine._orders
    finished = [order for order in store._orders.values() if not order.open]
    assert len(finished) == DEMO.finished
    assert len(store._orders) == len(store._by_client) == len(store._by_account[account])
    assert len(engine.account(account).trades) == DEMO.trades
    assert len(engine.account(account).ledger._locks) <= len(store._orders) - len(finished)
    assert len(series.closed) == DEMO.candles


def test_accounts_and_candles_that_come_later_are_bounded_too():
    world = World(venues=("binance",), limits=False)
    world.hub.keep(DEMO)
    account = world.account("binance")
    markets = world.hub.world.markets
    markets.track("binance", SYMBOL, INTERVAL, world.clock().wall_ms)
    assert world.hub.world.engine.account(account).trades.maxlen == DEMO.trades
    assert markets._series["binance", SYMBOL][INTERVAL].closed.maxlen == DEMO.candles
    assert world.hub.stats.calls.maxlen == DEMO.rows
