"""The engine keeps its promises for any order of operations."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from simulator._kept import TESTS
from simulator._values import TERMINAL, ApiKey, OrderChange, WalletChange
from simulator.engine import Engine, NewOrder, Refused
from simulator.markets import Markets, coins
from simulator.venues.binance._symbols import markets as binance_markets

D = Decimal
SYMBOLS = {"binance": "BTCUSDT", "binanceUsdm": "ETHUSDT", "binanceCoinm": "BTCUSD_PERP"}


def engine(*, match: bool = False) -> tuple[Engine, Markets]:
    markets = Markets(binance_markets(coins(2)), move=0)
    return Engine(markets, match=match), markets


def limit(**fields: object) -> NewOrder:
    values: dict[str, object] = {"symbol": "BTCUSDT", "side": "BUY", "quantity": D("0.25"), "price": D(61000)}
    return NewOrder(**(values | fields))  # type: ignore[arg-type]


operation = st.tuples(
    st.sampled_from(
        ["place", "fill", "fill_all", "cancel", "expire", "reject", "amend", "replace", "liquidate", "transfer"]
    ),
    st.sampled_from(sorted(SYMBOLS)),
    st.integers(0, 5),
    st.integers(1, 40),
    st.sampled_from(["BUY", "SELL"]),
    st.integers(-3, 5000),
)


def perform(engine: Engine, account: str, step: tuple, now_ms: int) -> None:
    what, exchange, pick, amount, side, _ = step
    symbol = SYMBOLS[exchange]
    size = D(amount) if exchange == "binanceCoinm" else D(amount) / 100
    open_orders = engine.open_orders(account, exchange)
    if what == "place":
        price = D(61000) if symbol.startswith("BTC") else D(2500)
        engine.place(account, exchange, NewOrder(symbol=symbol, side=side, quantity=size, price=price), now_ms)
    elif what == "transfer":
        engine.transfer(account, exchange, "BTC", size * (1 if side == "BUY" else -1), now_ms)
    elif what == "liquidate":
        engine.liquidate(account, exchange, symbol, now_ms, fills=pick + 1)
    elif open_orders:
        order = open_orders[pick % len(open_orders)]
        if what == "fill":
            engine.fill(account, exchange, order.order_id, now_ms, quantity=min(size, order.remaining))
        elif what == "fill_all":
            engine.fill(account, exchange, order.order_id, now_ms)
        elif what == "replace":
            engine.replace(account, exchange, order.order_id, now_ms, quantity=size)
        elif what == "amend":
            engine.amend(account, exchange, order.order_id, now_ms, quantity=order.quantity + size)
        else:
            getattr(engine, what)(account, exchange, order.order_id, now_ms)


@settings(max_examples=150, deadline=None)
@given(st.lists(operation, max_size=40))
def test_any_order_of_operations_keeps_the_promises(steps):
    core, _ = engine()
    account = core.create_account("binance").account_id
    now_ms, changes = 1000, []
    before = money(core, account)
    for step in steps:
        now_ms += step[-1]
        try:
            perform(core, account, step, now_ms)
        except Refused:
            assert core.drain() == [], "a refused operation changed something"
            continue
        changes += core.drain()

    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    times = [change.time_ms for change in changes]
    assert times == sorted(set(times))

    finished: set[int] = set()
    executed: dict[int, Decimal] = {}
    trades: dict[str, int] = {}
    for change in changes:
        if isinstance(change, OrderChange):
            order = change.order
            assert order.order_id not in finished, "something came after a terminal state"
            assert order.executed >= executed.get(order.order_id, 0)
            assert order.executed <= order.quantity
            assert (order.status == "FILLED") == (order.executed == order.quantity)
            executed[order.order_id] = order.executed
            if order.status in TERMINAL:
                finished.add(order.order_id)
            if change.trade is not None:
                assert change.trade.trade_id > trades.get(order.exchange, 0)
                trades[order.exchange] = change.trade.trade_id
        else:
            assert change.holdings or change.positions
    journal = core.journal()
    assert [entry.seq for entry in journal] == [c.seq for c in changes if isinstance(c, OrderChange)]
    spot_deltas(before, money(core, account), changes)
    nothing_stays_locked(core, account)


def money(core: Engine, account: str) -> dict[tuple[str, str], Decimal]:
    return {(wallet, held.asset): held.total for wallet in SYMBOLS for held in core.account(account).holdings(wallet)}


def spot_deltas(before, after, changes) -> None:
    """The told deltas add up to what the balances became."""
    for change in changes:
        if isinstance(change, WalletChange):
            for held in change.holdings:
                before[(change.wallet, held.asset)] = before.get((change.wallet, held.asset), D(0)) + held.delta
    for name, total in after.items():
        assert abs(before[name] - total) < D("1e-12"), name


def nothing_stays_locked(core: Engine, account: str) -> None:
    for exchange in SYMBOLS:
        for order in core.open_orders(account, exchange):
            core.cancel(account, exchange, order.order_id, 10**15)
        for held in core.account(account).holdings(exchange):
            assert abs(held.locked) < D("1e-12")


def test_market_order_by_funds_fills_at_once():
    core, markets = engine()
    account = core.create_account("binance").account_id
    markets.set_price("binance", "BTCUSDT", D(50000), 1)

    order = core.place(
        account, "binance", NewOrder(symbol="BTCUSDT", side="BUY", order_type="MARKET", quote_quantity=D(500)), 1000
    )

    assert (order.status, order.executed, order.value, order.average) == ("FILLED", D("0.01"), D(500), D(50000))
    assert order.price == 0


def test_without_matching_a_crossing_limit_order_rests_and_with_it_takes():
    for match, status in ((False, "NEW"), (True, "FILLED")):
        core, _ = engine(match=match)
        account = core.create_account("binance").account_id
        assert core.place(account, "binance", limit(price=D(70000)), 1).status == status


def test_with_matching_a_price_fills_what_it_crosses():
    core, _ = engine(match=True)
    account = core.create_account("binance").account_id
    low = core.place(account, "binance", limit(price=D(60000)), 1)
    lower = core.place(account, "binance", limit(price=D(59000)), 1)

    core.crossed("binance", "BTCUSDT", D(59500), 2)

    assert [core.locate(o.order_id).status for o in (low, lower)] == ["FILLED", "NEW"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"symbol": "NOPE"}, "symbol"),
        ({"quantity": D(0)}, "quantity"),
        ({"price": D(0)}, "price"),
        ({"quantity": D(10**9)}, "balance"),
        ({"client_id": "twice"}, "duplicate"),
    ],
)
def test_refusals_change_nothing(fields, reason):
    core, _ = engine()
    account = core.create_account("binance").account_id
    core.place(account, "binance", limit(client_id="twice"), 1)
    core.drain()

    with pytest.raises(Refused) as problem:
        core.place(account, "binance", limit(**fields), 2)

    assert problem.value.reason == reason
    assert core.drain() == []


def test_a_fill_worse_than_the_limit_is_refused():
    core, _ = engine()
    account = core.create_account("binance").account_id
    order = core.place(account, "binance", limit(), 1)
    with pytest.raises(Refused):
        core.fill(account, "binance", order.order_id, 2, price=D(61001))


def test_ioc_that_does_not_cross_expires():
    core, _ = engine()
    account = core.create_account("binance").account_id
    assert core.place(account, "binance", limit(time_in_force="IOC"), 1).status == "EXPIRED"


def test_liquidation_shuts_the_position_in_pieces():
    core, _ = engine()
    account = core.create_account("binance").account_id
    core.place(
        account, "binanceCoinm", NewOrder(symbol="BTCUSD_PERP", side="BUY", quantity=D(10), order_type="MARKET"), 1
    )
    order = core.liquidate(account, "binanceCoinm", "BTCUSD_PERP", 2, fills=3)

    assert (order.status, order.side, order.executed, order.liquidation) == ("FILLED", "SELL", D(10), True)
    assert core.account(account).positions("binanceCoinm") == []
    assert len([t for t in core.trades(account, "binanceCoinm") if t.order_id == order.order_id]) == 3


def test_inverse_profit_is_in_the_coin():
    core, markets = engine()
    account = core.create_account("binance").account_id
    markets.set_price("binanceCoinm", "BTCUSD_PERP", D(50000), 1)
    buy = NewOrder(symbol="BTCUSD_PERP", side="BUY", quantity=D(100), order_type="MARKET")
    core.place(account, "binanceCoinm", buy, 1)
    markets.set_price("binanceCoinm", "BTCUSD_PERP", D(40000), 2)
    core.drain()
    core.place(
        account,
        "binanceCoinm",
        NewOrder(symbol="BTCUSD_PERP", side="SELL", quantity=D(100), order_type="MARKET"),
        3,
    )
    trade = next(c.trade for c in core.drain() if isinstance(c, OrderChange) and c.trade)

    assert trade.realised == D("-0.05")  # 100 contracts of 100 USD: 0.2 BTC became 0.25 BTC
    assert trade.value == D("0.25")


def test_the_average_of_an_inverse_order_is_the_harmonic_one():
    core, _ = engine()
    account = core.create_account("binance").account_id
    new = NewOrder(symbol="BTCUSD_PERP", side="BUY", quantity=D(3), price=D(60000))
    order = core.place(account, "binanceCoinm", new, 1)
    core.fill(account, "binanceCoinm", order.order_id, 2, quantity=D(1), price=D(40000))
    after = core.fill(account, "binanceCoinm", order.order_id, 3, price=D(60000))
    assert abs(after.average - 3 / (1 / D(40000) + 2 / D(60000))) < D("1e-12")


def test_replaced_key_is_unknown_and_the_new_one_known():
    core, _ = engine()
    account = core.create_account("binance", [ApiKey(key="old", secret="s")])
    core.replace_keys(account.account_id, [ApiKey(key="new", secret="s")])

    assert core.find_key("binance", "old") is None
    assert core.find_key("binance", "new") is not None


def test_finished_orders_are_forgotten_oldest_first():
    core, _ = engine()
    core.keep(structs.replace(TESTS, finished=3))
    account = core.create_account("binance").account_id
    kept = core.place(account, "binance", limit(), 1)
    done = [core.place(account, "binance", limit(time_in_force="IOC"), 1) for _ in range(5)]

    assert core.locate(kept.order_id) is not None
    assert [core.locate(order.order_id) is not None for order in done] == [False, False, True, True, True]


def test_a_modify_that_makes_a_new_order_goes_on_under_the_client_id():
    core, _ = engine()
    account = core.create_account("binance").account_id
    old = core.place(account, "binance", limit(client_id="DBO1"), 1)
    core.fill(account, "binance", old.order_id, 2, quantity=D("0.1"))
    core.drain()
    new = core.replace(account, "binance", old.order_id, 3, quantity=D("0.2"), price=D(60000))
    told = [(c.order.order_id, c.kind) for c in core.drain() if isinstance(c, OrderChange)]
    assert told == [(new.order_id, "NEW"), (old.order_id, "CANCELED")]
    assert core.order(account, "binance", client_id="DBO1") == new
    assert (new.executed, new.remaining, new.replaces) == (0, D("0.2"), old.order_id)
    ended = core.locate(old.order_id)
    assert ended is not None
    assert (ended.status, ended.executed, ended.replaced_by) == ("CANCELED", D("0.1"), new.order_id)
