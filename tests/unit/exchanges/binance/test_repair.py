"""Gap repair: what REST tells becomes the events that the gap swallowed, once, in order, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges._adapter import Answer, Call, Emit, GapReport, Instant, Live, Output, Resume, UserSubscription
from exchanges.binance import _repair
from exchanges.binance._clock import BinanceClock
from exchanges.binance._markets import MARKETS
from exchanges.binance._repair import AccountRepair
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
        self.failing: dict[str, Answer] = {}
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
        if name == "order":
            row = self.single.get(asked["orderId"])
            return ok(row) if row is not None else refused(400, -2013, "Order does not exist.")
        return ok(
            {
                "openOrders": self.open,
                "allOrders": [row for row in self.recent if row["symbol"] == asked.get("symbol")],
                "myTrades": self.trades,
                "userTrades": self.trades,
                "account": self.balances,
                "balance": self.balances,
                "time": {"serverTime": NOW.wall_ms + 9000},
            }[name]
        )

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
    assert gap_of(outputs).missing == ("order: Order does not exist., code -2013",)


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
    assert len(rest.asked("allOrders")) == _repair.MAX_SYMBOLS
    assert len(rest.asked("order")) == _repair.MAX_SINGLE_ORDERS
    assert any("380 symbols" in text for text in gap_of(outputs).missing)
    assert any("200 orders" in text for text in gap_of(outputs).missing)


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


def test_a_futures_account_without_known_symbols_says_what_it_could_not_ask() -> None:
    outputs = Rest("binanceUsdm", Resume(since_ms=NOW.wall_ms - 30_000)).run()
    assert gap_of(outputs).missing == ("orders placed and finished meanwhile: no symbol of this account is known yet",)
