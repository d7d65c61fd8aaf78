"""Gap repair: what REST tells becomes the events that the gap swallowed, once, in order, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges import _plan
from exchanges._adapter import Answer, Call, Emit, GapReport, Instant, Live, Output, Resume, UserSubscription
from exchanges.binance import _gap, _gap_history
from exchanges.binance._clock import BinanceClock
from exchanges.binance._gap import AccountRepair
from exchanges.binance._hosts import MARKETS
from exchanges.binance._signer import Signer
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, AccountUpdate, ExecutionReport, OrderTradeUpdate, encode
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.exchanges.binance.support import (
    NOW,
    TABLE,
    events,
    known,
    later,
    ok,
    order_row,
    refused,
    resume,
    setup,
    trade_row,
)
from tests.unit.exchanges.driver import of, only, params, path


class Rest:
    """A venue that answers by path; `calls` is what it was asked."""

    def __init__(self, exchange: str, since: Resume | None, table: SymbolTable = TABLE) -> None:
        self.market = MARKETS[exchange]
        self.clock = BinanceClock(self.market, setup(exchange, offset_ms=250))
        account = credentials("key", "secret")
        subscription = UserSubscription(stream_id="a", exchange=exchange, credentials=account, resume=since)
        self.repair = AccountRepair(self.market, subscription, Signer(account), self.clock, lambda: table)
        self.calls: list[Call] = []
        self.open: list[dict[str, object]] = []
        self.recent: list[dict[str, object]] = []
        self.single: dict[str, dict[str, object]] = {}
        self.trades: list[dict[str, object]] = []
        self.balances: object = {"balances": [], "updateTime": 1} if self.market.spot else []
        self.positions: list[dict[str, object]] = []
        self.failing: dict[str, Answer] = {}
        self.wants_symbol = self.market.history == "symbol"
        self.now = NOW

    def run(self) -> list[Output]:
        """Begin, answer everything (retries included) and return all outputs but the calls."""
        pending = self.repair.begin(self.now)
        done: list[Output] = []
        for _ in range(1000):
            while pending:
                output = pending.pop(0)
                if isinstance(output, Call):
                    self.calls.append(output)
                    answer = self.answer(output)
                    if output.tag == "time":
                        self.clock.answered(answer, self.now)
                    else:
                        pending += self.repair.answered(output, answer, self.now)
                else:
                    done.append(output)
            due = self.repair.deadline()
            if due is None:
                return done
            self.now = later(max(due - NOW.mono, 0))
            pending = self.repair.due(self.now)
        raise AssertionError("the repair never ends")

    def answer(self, call: Call) -> Answer:
        name = path(call).rsplit("/", 1)[-1]
        if name in self.failing:
            return self.failing[name]
        asked = params(call)
        if (
            name == "allOrders"
            and (self.wants_symbol or self.market.history == "pair")
            and not asked.keys() & {"symbol", "pair"}
        ):
            return refused(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if name == "order":
            row = self.single.get(asked["orderId"])
            return ok(row) if row is not None else refused(400, -2013, "Order does not exist.")
        if name == "allOrders":
            return ok(self.finished(asked))
        return ok(
            {
                "openOrders": self.open,
                "positionRisk": self.positions,
                "myTrades": self.trades,
                "userTrades": self.trades,
                "account": self.balances,
                "balance": self.balances,
                "time": {"serverTime": NOW.wall_ms + 9000},
            }[name]
        )

    def finished(self, asked: dict[str, str]) -> list[dict[str, object]]:
        """As the venue finds them: by symbol, by pair or for the whole account, the oldest 1,000 that changed in the span."""
        rows = [row for row in self.recent if row["symbol"] == asked.get("symbol", row["symbol"])]
        rows = (
            [row for row in rows if str(row["symbol"]).partition("_")[0] == asked.get("pair", row["symbol"])]
            if "pair" in asked
            else rows
        )
        span = range(int(asked["startTime"]), int(asked.get("endTime", 10**14)) + 1)
        return [row for row in rows if row["updateTime"] in span][:1000]

    def asked(self, name: str) -> list[dict[str, str]]:
        return [params(call) for call in self.calls if path(call).endswith(f"/{name}")]


def states(outputs: list[Output]) -> list[tuple[Any, str, str]]:
    return [
        (event.order_id, event.order_status, event.total_trade_quantity)
        for event in events(outputs)
        if isinstance(event, ExecutionReport | OrderTradeUpdate)
    ]


def gap_of(outputs: list[Output]) -> GapReport:
    gap = only(Live, outputs).gap
    assert gap is not None
    return gap


OTHER_PAIRS = "closed orders on other pairs can't be asked for"
OTHER_SYMBOLS = "closed orders on other symbols can't be asked for"

EXCHANGES = pytest.mark.parametrize("exchange", list(MARKETS))


def test_a_stream_that_was_never_live_has_no_gap() -> None:
    rest = Rest("binance", None)
    assert rest.run() == [Live("a")]
    assert rest.calls == []


@EXCHANGES
def test_what_did_not_change_is_not_told_again(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1), known(2, status="PARTIALLY_FILLED", executed="4")))
    rest.open = [order_row(1), order_row(2, status="PARTIALLY_FILLED", executedQty="4.000")]
    outputs = rest.run()
    assert states(outputs) == []
    if exchange == "binanceCoinm":
        assert gap_of(outputs).missing == (OTHER_PAIRS,)
        assert [call.tag for call in rest.calls] == ["open orders", "balances", "positions", "recent orders"]
    else:
        assert gap_of(outputs).missing == ()
        assert [call.tag for call in rest.calls] == ["open orders", "balances", "recent orders"]


@EXCHANGES
def test_new_canceled_and_expired_orders_are_told(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1), known(2)))
    rest.open = [order_row(3)]
    rest.recent = [order_row(1, status="CANCELED", clientOrderId="web_cancel")]
    rest.single = {"2": order_row(2, status="EXPIRED_IN_MATCH", updateTime=NOW.wall_ms - 29_000)}
    outputs = rest.run()
    assert sorted(states(outputs)) == [(1, "CANCELED", "0"), (2, "EXPIRED", "0"), (3, "NEW", "0")]
    assert [asked["orderId"] for asked in rest.asked("order")] == ["2"]
    canceled = next(emit.event for emit in of(Emit, outputs) if emit.event.order_id == 1)  # type: ignore[union-attr]
    if isinstance(canceled, ExecutionReport):
        # The backend looks a cancel up by the original id: the one that the order had when it was placed.
        assert canceled.original_client_order_id == canceled.new_client_order_id == "D-TP-1"
    else:
        assert isinstance(canceled, OrderTradeUpdate)
        assert canceled.client_order_id == "D-TP-1"
    assert all(emit.repaired for emit in of(Emit, outputs))


@EXCHANGES
def test_fills_of_the_gap_are_told_one_by_one_with_running_totals(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1, status="PARTIALLY_FILLED", executed="2")))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="10", cummulativeQuoteQty="1000", avgPrice="100")}
    rest.trades = [
        trade_row(13, 1, "5", "100"),
        trade_row(11, 1, "2", "100"),
        trade_row(12, 1, "3", "100"),
        trade_row(14, 99, "7", "1"),
    ]
    outputs = rest.run()
    assert states(outputs) == [(1, "PARTIALLY_FILLED", "5"), (1, "FILLED", "10")]
    told = [event for event in events(outputs) if isinstance(event, ExecutionReport | OrderTradeUpdate)]
    assert [(event.trade_id, event.commission, event.commission_asset) for event in told] == [
        (12, "0.001", "BNB"),
        (13, "0.001", "BNB"),
    ]
    assert [event.last_trade_quantity for event in told] == ["3", "5"]


def test_spot_totals_in_quote_money_follow_the_fills() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="0.3", cummulativeQuoteQty="30.02", origQty="0.3")}
    rest.trades = [trade_row(1, 1, "0.1", "100.1"), trade_row(2, 1, "0.2", "100.05")]
    told = [event for event in events(rest.run()) if isinstance(event, ExecutionReport)]
    assert [event.total_quote_trade_quantity for event in told] == ["10.01", "30.02"]
    assert [event.last_quote_transacted for event in told] == ["10.01", "20.01"]


def test_average_prices_are_harmonic_where_quantities_are_contracts() -> None:
    for exchange, average in (("binanceUsdm", "150"), ("binanceCoinm", "133.3333333333333333333333333333333")):
        rest = Rest(exchange, resume(known(1)))
        rest.single = {"1": order_row(1, status="CANCELED", executedQty="2", avgPrice=average)}
        rest.trades = [trade_row(1, 1, "1", "100"), trade_row(2, 1, "1", "200")]
        told = [event for event in events(rest.run()) if isinstance(event, OrderTradeUpdate)]
        assert [event.order_status for event in told] == ["PARTIALLY_FILLED", "PARTIALLY_FILLED", "CANCELED"]
        assert Decimal(told[1].average_price) == pytest.approx(Decimal(average), rel=Decimal("1e-30"))


def test_fills_newer_than_the_order_answer_are_left_to_the_stream() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.open = [order_row(1, status="PARTIALLY_FILLED", executedQty="3", cummulativeQuoteQty="300")]
    rest.trades = [trade_row(1, 1, "3", "100"), trade_row(2, 1, "4", "100")]
    assert states(rest.run()) == [(1, "PARTIALLY_FILLED", "3")]


@EXCHANGES
@pytest.mark.parametrize(
    "answer", [refused(500, 0), Answer(0, {}, b"", "timeout"), refused(401, -2015), ok([]), ok("?")]
)
def test_a_fill_is_never_lost_because_its_trades_cannot_be_read(exchange: str, answer: Answer) -> None:
    rest = Rest(exchange, resume(known(1)))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="10", cummulativeQuoteQty="1000")}
    rest.failing = {"myTrades": answer, "userTrades": answer}
    outputs = rest.run()
    assert states(outputs) == [(1, "FILLED", "10")]
    assert isinstance(outputs[-1], Live)


def test_an_unknown_executed_value_is_summed_from_the_fills() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="3", cummulativeQuoteQty="-1.00000000")}
    rest.trades = [trade_row(1, 1, "1", "100"), trade_row(2, 1, "2", "101")]
    told = [event for event in events(rest.run()) if isinstance(event, ExecutionReport)]
    assert told[-1].total_quote_trade_quantity == "302"


def test_older_answers_never_turn_an_order_back() -> None:
    rest = Rest(
        "binance", resume(known(1, status="FILLED", executed="10"), known(2, status="PARTIALLY_FILLED", executed="5"))
    )
    rest.open = [order_row(1), order_row(2, status="PARTIALLY_FILLED", executedQty="3")]
    assert states(rest.run()) == []


def test_an_order_that_the_venue_forgot_is_reported_missing() -> None:
    rest = Rest("binance", resume(known(1)))
    outputs = rest.run()
    assert states(outputs) == []
    assert gap_of(outputs).missing == ("order 1: not known to the venue",)


def test_orders_are_not_called_gone_when_the_open_ones_could_not_be_read() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.failing = {"openOrders": refused(403, 0)}
    outputs = rest.run()
    assert rest.asked("order") == []
    assert any(text.startswith("open orders:") for text in gap_of(outputs).missing)


def test_an_amended_order_is_told() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.open = [order_row(1, price="99")]
    assert states(rest.run()) == [(1, "NEW", "0")]


def test_orders_placed_and_finished_in_the_gap_are_found_on_known_symbols() -> None:
    rest = Rest("binance", resume(known(1, symbol="ETHUSDT", status="FILLED", executed="10")))
    rest.recent = [
        order_row(8, symbol="ETHUSDT", status="CANCELED"),
        order_row(9, symbol="ETHUSDT", status="CANCELED", updateTime=NOW.wall_ms - 86_000_000),
    ]
    assert states(rest.run()) == [(8, "CANCELED", "0")]
    (asked,) = rest.asked("allOrders")
    assert asked["symbol"] == "ETHUSDT"
    assert int(asked["startTime"]) == NOW.wall_ms - 120_000
    assert int(asked["endTime"]) - int(asked["startTime"]) <= 86_400_000


def test_a_long_gap_is_read_in_windows_and_its_beginning_reported() -> None:
    rest = Rest("binance", resume(known(1), seconds=10 * 86_400))
    rest.open = [order_row(1)]
    outputs = rest.run()
    windows = [(int(asked["startTime"]), int(asked["endTime"])) for asked in rest.asked("allOrders")]
    assert all(end - start <= 86_400_000 for start, end in windows)
    assert [start for start, _ in windows[1:]] == [end for _, end in windows[:-1]]
    assert windows[-1][1] >= NOW.wall_ms
    assert gap_of(outputs).missing


def test_full_pages_are_followed() -> None:
    start = NOW.wall_ms - 100_000
    rest = Rest("binanceUsdm", resume(known(1)))
    rest.open = [order_row(1)]
    rest.recent = [order_row(100 + n, status="CANCELED", time=start + n) for n in range(1000)]
    rest.run()
    pages = rest.asked("allOrders")
    assert [int(page["startTime"]) for page in pages[1:2]] == [start + 999]


def test_only_so_many_symbols_and_orders_are_asked_for() -> None:
    orders = [known(number, symbol=f"S{number}") for number in range(400)]
    rest = Rest("binance", resume(*orders))
    outputs = rest.run()
    assert len(rest.asked("allOrders")) == _gap_history.MAX_NAMES
    assert len(rest.asked("order")) == _plan.MAX_SINGLES
    assert "orders that finished meanwhile on 380 symbols" in gap_of(outputs).missing
    assert any("200 further orders" in text for text in gap_of(outputs).missing)


def test_spot_balances_are_absolute_and_include_what_fell_to_zero() -> None:
    rest = Rest("binance", resume(known(1, symbol="ETHUSDT")))
    rest.open = [order_row(1, symbol="ETHUSDT")]
    rest.balances = {"updateTime": 77, "balances": [{"asset": "USDT", "free": "5.50", "locked": "1"}]}
    (event,) = events(rest.run())
    assert isinstance(event, AccountPosition)
    assert [(row.asset, row.free, row.locked) for row in event.balances] == [("USDT", "5.50", "1"), ("ETH", "0", "0")]
    assert event.last_account_update == 77
    assert rest.asked("account")[0]["omitZeroBalances"] == "true"


@pytest.mark.parametrize("exchange", ["binanceUsdm", "binanceCoinm"])
def test_futures_balances_become_a_snapshot_without_positions(exchange: str) -> None:
    rest = Rest(exchange, resume())
    rest.balances = [{"asset": "USDT", "balance": "100.0", "crossWalletBalance": "90.0", "updateTime": 3}]
    (event,) = events(rest.run())
    assert isinstance(event, AccountUpdate)
    assert (event.event_reason_type, event.positions) == ("SNAPSHOT", [])
    assert (event.balances[0].wallet_balance, event.balances[0].cross_wallet_balance) == ("100.0", "90.0")
    assert path(rest.calls[1]) == ("/fapi/v3/balance" if exchange == "binanceUsdm" else "/dapi/v1/balance")


def test_every_request_is_signed_with_the_venues_clock_and_signed_anew_when_repeated() -> None:
    rest = Rest("binance", resume())
    rest.failing = {"account": refused(500, 0)}
    rest.run()
    tries = rest.asked("account")
    assert len(tries) > 4
    assert len({asked["timestamp"] for asked in tries}) == len(tries)
    assert len({asked["signature"] for asked in tries}) == len(tries)
    assert int(tries[0]["timestamp"]) == NOW.wall_ms + 250
    for call in rest.calls:
        assert call.headers == {"X-MBX-APIKEY": "key"}
        assert "secret" not in call.url


def test_a_wrong_clock_is_read_again_and_the_request_repeated() -> None:
    rest = Rest("binance", resume())
    answers = [refused(400, -1021), ok({"balances": [], "updateTime": 1})]
    normal = rest.answer
    rest.answer = lambda call: answers.pop(0) if call.tag == "balances" else normal(call)  # type: ignore[method-assign]
    outputs = rest.run()
    first, second = rest.asked("account")
    assert int(second["timestamp"]) - int(first["timestamp"]) >= 8000
    assert gap_of(outputs).missing == ()


def test_a_venue_that_never_answers_cannot_hold_the_stream_back() -> None:
    rest = Rest("binance", resume(known(1)))
    calls = of(Call, rest.repair.begin(NOW))
    assert calls
    outputs: list[Output] = []
    now = NOW
    while not outputs:
        due = rest.repair.deadline()
        assert due is not None
        now = Instant(due, NOW.wall_ms)
        outputs = rest.repair.due(now)
    assert now.mono - NOW.mono <= 30
    assert len(gap_of(outputs).missing) == 3


@settings(max_examples=150, deadline=None)
@given(
    quantities=st.lists(st.decimals("0.00000001", "1000", places=8), min_size=1, max_size=8),
    prices=st.lists(st.decimals("0.00000001", "100000", places=8), min_size=8, max_size=8),
    told=st.integers(0, 8),
    shuffled=st.randoms(use_true_random=False),
)
def test_any_fills_add_up_to_the_order_exactly(
    quantities: list[Decimal], prices: list[Decimal], told: int, shuffled: Any
) -> None:
    """Totals rise strictly, end at the order's own figure, and no digit is lost on the way."""
    before = sum(quantities[:told], Decimal(0))
    total = sum(quantities, Decimal(0))
    rest = Rest("binance", resume(known(1, executed=str(before), status="PARTIALLY_FILLED" if before else "NEW")))
    quote = sum((q * p for q, p in zip(quantities, prices, strict=False)), Decimal(0))
    row = order_row(
        1, status="FILLED", executedQty=f"{total:f}", cummulativeQuoteQty=f"{quote:f}", origQty=f"{total:f}"
    )
    rest.single = {"1": row}
    rest.trades = [
        trade_row(n, 1, f"{quantity:f}", f"{price:f}")
        for n, (quantity, price) in enumerate(zip(quantities, prices, strict=False))
    ]
    shuffled.shuffle(rest.trades)
    seen = [event for event in events(rest.run()) if isinstance(event, ExecutionReport)]
    totals = [Decimal(event.total_trade_quantity) for event in seen]
    assert totals == sorted(set(totals))
    assert all(value > before for value in totals[:-1])
    assert seen[-1].order_status == "FILLED"
    assert totals[-1] == total
    assert [event.order_status for event in seen[:-1]] == ["PARTIALLY_FILLED"] * (len(seen) - 1)
    assert b"E-" not in b"".join(encode(event) for event in seen)


def test_an_order_on_a_symbol_that_was_never_used_is_found_by_what_it_left_in_the_balances() -> None:
    table = SymbolTable(
        [
            Instrument(wire="BTCUSDT", pair="BTCUSDT", base="BTC", quote="USDT"),
            Instrument(wire="ETHUSDT", pair="ETHUSDT", base="ETH", quote="USDT"),
            Instrument(wire="ETHBTC", pair="ETHBTC", base="ETH", quote="BTC"),
        ]
    )
    held = [{"asset": "ETH", "free": "0.5", "locked": "0"}, {"asset": "USDT", "free": "10", "locked": "0"}]
    rest = Rest("binanceUS", Resume(since_ms=NOW.wall_ms - 30_000), table)
    rest.balances = {"balances": held, "updateTime": NOW.wall_ms - 1_000}
    rest.run()
    assert [asked["symbol"] for asked in rest.asked("allOrders")] == ["ETHUSDT", "ETHBTC"]


def test_balances_that_did_not_change_in_the_gap_cost_no_further_request() -> None:
    table = SymbolTable([Instrument(wire="ETHUSDT", pair="ETHUSDT", base="ETH", quote="USDT")])
    rest = Rest("binance", Resume(since_ms=NOW.wall_ms - 30_000), table)
    rest.balances = {"balances": [{"asset": "ETH", "free": "1", "locked": "0"}], "updateTime": NOW.wall_ms - 60_000}
    rest.run()
    assert rest.asked("allOrders") == []


# --- finished orders on names that nobody knew ---


def test_a_usdm_order_opened_and_filled_while_nobody_watched_is_told_though_its_symbol_is_new() -> None:
    rest = Rest("binanceUsdm", resume(known(1, status="FILLED", executed="10")))
    rest.recent = [order_row(8, symbol="ETHUSDT", status="FILLED", executedQty="10", avgPrice="100")]
    rest.trades = [trade_row(1, 8, "4", "100"), trade_row(2, 8, "6", "100")]
    outputs = rest.run()
    assert states(outputs) == [(8, "PARTIALLY_FILLED", "4"), (8, "FILLED", "10")]
    assert gap_of(outputs).missing == ()
    (asked,) = rest.asked("allOrders")
    assert "symbol" not in asked
    assert (asked["startTime"], asked["limit"]) == (str(NOW.wall_ms - 120_000), "1000")


def test_a_usdm_account_that_was_never_used_is_read_as_a_whole_too() -> None:
    rest = Rest("binanceUsdm", Resume(since_ms=NOW.wall_ms - 30_000))
    rest.recent = [order_row(8, symbol="ETHUSDT", status="CANCELED", updateTime=NOW.wall_ms - 1)]
    outputs = rest.run()
    assert states(outputs) == [(8, "CANCELED", "0")]
    assert gap_of(outputs).missing == ()


def test_where_the_whole_account_is_refused_known_symbols_are_asked_and_the_rest_is_named() -> None:
    rest = Rest("binanceUsdm", resume(known(1, status="FILLED", executed="10")))
    rest.wants_symbol = True
    rest.open = [order_row(7, symbol="SOLUSDT")]
    rest.positions = [
        {"symbol": "ETHUSDT", "positionAmt": "-1.5"},
        {"symbol": "XRPUSDT", "positionAmt": "0.0", "updateTime": NOW.wall_ms - 5},
        {"symbol": "OLDUSDT", "positionAmt": "0", "updateTime": 5},
    ]
    rest.recent = [
        order_row(number, symbol=symbol, status="CANCELED")
        for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "XRPUSDT", "SOLUSDT", "OLDUSDT"), 10)
    ]
    outputs = rest.run()
    assert sorted(states(outputs)) == [(7, "NEW", "0"), *((number, "CANCELED", "0") for number in range(10, 14))]
    assert gap_of(outputs).missing == (OTHER_SYMBOLS,)
    assert [asked.get("symbol") for asked in rest.asked("allOrders")] == [
        None,
        "BTCUSDT",
        "SOLUSDT",
        "ETHUSDT",
        "XRPUSDT",
    ]


def test_coin_margined_orders_are_asked_for_by_pair_and_other_pairs_are_named() -> None:
    table = SymbolTable(
        Instrument(wire=f"{coin}USD_PERP", pair=f"{coin}USD_PERP", base=coin, quote="USD", settle=coin)
        for coin in ("BTC", "ETH", "SOL", "XRP", "ADA")
    )
    rest = Rest("binanceCoinm", resume(known(1, symbol="BTCUSD_PERP", status="FILLED", executed="10")), table)
    rest.open = [order_row(7, symbol="ETHUSD_PERP")]
    rest.positions = [{"symbol": "SOLUSD_PERP", "positionAmt": "3"}]
    rest.balances = [
        {"asset": "XRP", "balance": "1", "crossWalletBalance": "1", "updateTime": NOW.wall_ms - 50},
        {"asset": "ADA", "balance": "1", "crossWalletBalance": "1", "updateTime": NOW.wall_ms - 10_000_000},
    ]
    rest.recent = [
        order_row(number, symbol=symbol, status="CANCELED")
        for number, symbol in enumerate(
            ("BTCUSD_261225", "ETHUSD_PERP", "SOLUSD_PERP", "XRPUSD_PERP", "ADAUSD_PERP"), 10
        )
    ]
    outputs = rest.run()
    assert sorted(states(outputs)) == [(7, "NEW", "0"), *((number, "CANCELED", "0") for number in range(10, 14))]
    assert [asked["pair"] for asked in rest.asked("allOrders")] == ["BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD"]
    assert not any("symbol" in asked for asked in rest.asked("allOrders"))
    assert gap_of(outputs).missing == (OTHER_PAIRS,)


@pytest.mark.parametrize(
    ("updated_ms", "missing"),
    [(NOW.wall_ms - 200_000, ()), (NOW.wall_ms - 1_000, (OTHER_SYMBOLS,)), (None, (OTHER_SYMBOLS,))],
)
def test_a_spot_gap_in_which_the_balances_moved_names_the_symbols_that_cannot_be_asked_for(
    updated_ms: int | None, missing: tuple[str, ...]
) -> None:
    rest = Rest("binance", resume(known(1)))
    rest.open = [order_row(1)]
    rest.balances = {"balances": [], "updateTime": updated_ms}
    assert gap_of(rest.run()).missing == missing


def test_balances_that_cannot_be_read_leave_open_what_happened() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.open = [order_row(1)]
    rest.failing = {"account": refused(400, -1100)}
    assert gap_of(rest.run()).missing == ("balances: no, code -1100", OTHER_SYMBOLS)


def test_what_is_held_in_open_orders_counts_as_held() -> None:
    table = SymbolTable(
        [
            Instrument(wire="ETHUSDT", pair="ETHUSDT", base="ETH", quote="USDT"),
            Instrument(wire="SOLUSDT", pair="SOLUSDT", base="SOL", quote="USDT"),
        ]
    )
    rest = Rest("binance", Resume(since_ms=NOW.wall_ms - 30_000), table)
    held = [{"asset": "ETH", "free": "0.0", "locked": "0.5"}, {"asset": "SOL", "free": "0", "locked": "0"}]
    rest.balances = {"balances": held, "updateTime": NOW.wall_ms - 1_000}
    rest.run()
    assert [asked["symbol"] for asked in rest.asked("allOrders")] == ["ETHUSDT"]


def test_symbols_of_open_orders_are_asked_for_before_those_that_holdings_hint_at() -> None:
    coins = [f"C{number}" for number in range(30)]
    table = SymbolTable(Instrument(wire=f"{coin}USDT", pair=f"{coin}USDT", base=coin, quote="USDT") for coin in coins)
    rest = Rest("binance", resume(known(1, symbol="BTCUSDT")), table)
    rest.open = [order_row(1), order_row(2, symbol="NEWUSDT")]
    held = [{"asset": coin, "free": "1", "locked": "0"} for coin in coins]
    rest.balances = {"balances": held, "updateTime": NOW.wall_ms}
    missing = gap_of(rest.run()).missing
    names = [asked["symbol"] for asked in rest.asked("allOrders")]
    assert names == ["BTCUSDT", "NEWUSDT", *(f"C{number}USDT" for number in range(18))]
    assert missing == ("orders that finished meanwhile on 12 symbols", OTHER_SYMBOLS)


@pytest.mark.parametrize("exchange", ["binanceUsdm", "binanceCoinm"])
@pytest.mark.parametrize(("days", "windows", "cut"), [(0.5, 1, False), (6.9, 1, False), (10, 2, False), (40, 4, True)])
def test_a_futures_gap_of_days_is_read_in_windows_of_less_than_a_week(
    exchange: str, days: float, windows: int, cut: bool
) -> None:
    rest = Rest(exchange, resume(known(1, status="FILLED", executed="10"), seconds=days * 86_400))
    rest.recent = [order_row(8, status="CANCELED", updateTime=NOW.wall_ms - round(min(days, 25) * 86_400_000) + 60_000)]
    outputs = rest.run()
    assert states(outputs) == [(8, "CANCELED", "0")]
    spans = [(int(asked["startTime"]), int(asked.get("endTime", NOW.wall_ms))) for asked in rest.asked("allOrders")]
    assert len(spans) == windows
    assert all(end - start < 7 * 86_400_000 for start, end in spans)
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]
    assert ("orders that were placed and finished early in a long gap" in gap_of(outputs).missing) is cut


# --- pages ---


def paged(rest: Rest, shuffled: bool) -> list[tuple[Any, str, str]]:
    start = NOW.wall_ms - 100_000
    rows = [order_row(100 + n, status="CANCELED", time=start + n * 20, updateTime=start + n * 20) for n in range(2500)]
    rest.recent = rows[::-1] if shuffled else rows
    return states(rest.run())


@pytest.mark.parametrize("shuffled", [False, True])
def test_every_order_of_many_pages_is_told_whatever_their_order(shuffled: bool) -> None:
    rest = Rest("binanceUsdm", resume())
    assert sorted(paged(rest, shuffled)) == [(100 + n, "CANCELED", "0") for n in range(2500)]
    assert len(rest.asked("allOrders")) <= 9


def test_more_orders_in_one_moment_than_a_page_holds_are_named() -> None:
    rest = Rest("binanceUsdm", resume())
    rest.recent = [
        order_row(n, status="CANCELED", time=NOW.wall_ms - 9, updateTime=NOW.wall_ms - 9) for n in range(1200)
    ]
    outputs = rest.run()
    assert len(states(outputs)) == 1000
    assert "recent orders: more than 1000 in one moment" in gap_of(outputs).missing


def test_pages_are_not_followed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gap, "MAX_PAGES", 7)  # a hundred pages prove no more and take fourteen times as long
    rest = Rest("binanceUsdm", resume())
    page = [order_row(n, status="CANCELED", time=NOW.wall_ms - 100_000 + n * 97 % 50_000) for n in range(1000)]
    rest.finished = lambda asked: page  # type: ignore[method-assign]
    missing = gap_of(rest.run()).missing
    assert len(rest.asked("allOrders")) <= 3 * _gap.MAX_PAGES
    assert f"recent orders: more than {_gap.MAX_PAGES} pages" in missing


# --- what is odd ---


@EXCHANGES
def test_one_odd_order_among_the_open_ones_costs_only_itself(exchange: str) -> None:
    rest = Rest(exchange, resume())
    rest.open = [order_row(1), order_row(2, origQty=None), order_row(3, timeInForce=None)]
    outputs = rest.run()
    assert states(outputs) == [(1, "NEW", "0"), (3, "NEW", "0")]
    assert any(phrase.startswith("open orders: 1 orders that can't be read (") for phrase in gap_of(outputs).missing)


@EXCHANGES
def test_one_odd_order_among_the_finished_ones_costs_only_itself(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1, status="FILLED", executed="10")))
    rest.recent = [order_row(8, status="CANCELED"), order_row(9, status="CANCELED")]
    full = rest.finished
    rest.finished = lambda asked: [{**row, "side": 7} if row["orderId"] == 9 else row for row in full(asked)]  # type: ignore[method-assign]
    outputs = rest.run()
    assert states(outputs) == [(8, "CANCELED", "0")]
    assert any(phrase.startswith("recent orders: 1 orders that can't be read (") for phrase in gap_of(outputs).missing)


@pytest.mark.parametrize("exchange", ["binance", "binanceUS", "binanceUsdm", "binanceCoinm"])
def test_one_odd_asset_costs_only_itself_and_is_not_taken_for_zero(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1, symbol="ETHUSDT")))
    rest.open = [order_row(1, symbol="ETHUSDT")]
    if rest.market.spot:
        good, odd = {"asset": "BTC", "free": "1", "locked": "0"}, {"asset": "ETH", "free": None, "locked": "0"}
        rest.balances = {"balances": [good, odd], "updateTime": 1}
    else:
        good = {"asset": "BTC", "balance": "1", "crossWalletBalance": "1", "updateTime": 1}
        rest.balances = [good, {**good, "asset": "ETH", "balance": None}]
    outputs = rest.run()
    (event,) = events(outputs)
    assert isinstance(event, AccountPosition | AccountUpdate)
    assert [row.asset for row in event.balances] == ["BTC"]
    assert any(phrase.startswith("balances: 1 assets that can't be read (") for phrase in gap_of(outputs).missing)


def test_one_odd_fill_never_makes_a_short_total() -> None:
    rest = Rest("binance", resume(known(1)))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="10", cummulativeQuoteQty="1000")}
    rest.trades = [trade_row(1, 1, "4", "100"), {**trade_row(2, 1, "6", "100"), "qty": None}]
    assert states(rest.run()) == [(1, "FILLED", "10")]


@EXCHANGES
def test_a_status_that_no_page_lists_is_named_and_not_guessed(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1), known(2)))
    rest.open = [order_row(1, status="HALTED")]
    rest.single = {"2": order_row(2, status="PAUSED")}
    outputs = rest.run()
    assert states(outputs) == []
    missing = gap_of(outputs).missing
    assert "order 1: status HALTED, which no page lists" in missing
    assert "order 2: status PAUSED, which no page lists" in missing


@pytest.mark.parametrize("exchange", ["binance", "binanceUS", "binanceUsdm"])
def test_a_rejected_order_is_told_as_ended_because_the_backend_would_keep_it_open(exchange: str) -> None:
    rest = Rest(exchange, resume(known(1)))
    rest.single = {"1": order_row(1, status="REJECTED")}
    event = next(event for event in events(rest.run()) if isinstance(event, ExecutionReport | OrderTradeUpdate))
    assert (event.order_status, event.execution_type) == ("CANCELED", "REJECTED")
    if isinstance(event, ExecutionReport):
        assert event.original_client_order_id == event.new_client_order_id == "D-TP-1"


def test_a_change_of_only_the_quantity_is_told() -> None:
    rest = Rest("binanceUsdm", resume(known(1)))
    rest.open = [order_row(1, origQty="12")]
    assert states(rest.run()) == [(1, "NEW", "0")]


def test_binance_us_is_asked_for_its_balances_without_a_parameter_that_it_does_not_document() -> None:
    rest = Rest("binanceUS", resume())
    rest.run()
    assert set(rest.asked("account")[0]) == {"recvWindow", "timestamp", "signature"}


@pytest.mark.parametrize(
    ("exchange", "weights"),
    [
        ("binance", {"open orders": 80, "balances": 20, "recent orders": 20, "order": 4, "fills": 5}),
        ("binanceUsdm", {"open orders": 40, "balances": 5, "recent orders": 5, "order": 1, "fills": 5}),
        (
            "binanceCoinm",
            {"open orders": 40, "balances": 5, "positions": 5, "recent orders": 5, "order": 1, "fills": 5},
        ),
    ],
)
def test_calls_weigh_what_the_venue_counts(exchange: str, weights: dict[str, int]) -> None:
    rest = Rest(exchange, resume(known(1)))
    rest.single = {"1": order_row(1, status="FILLED", executedQty="10", avgPrice="100")}
    rest.run()
    assert {call.tag: call.weight for call in rest.calls} == weights
