"""What is special about Binance, with the simulated venue on the other side."""

from __future__ import annotations

import pytest

from simulator import controls
from simulator._values import Order
from simulator.controls import OrderRef
from tests.unit.exchanges.driver import params, path
from tests.unit.exchanges.pair import Pair, Seat

IDS = ["binance", "binanceUS", "binanceUsdm", "binanceCoinm"]


def second(pair: Pair, client_id: str, **more: object) -> Order:
    """An order on a symbol that the account has never used."""
    return pair.place(client_id, of=pair.hub.world.markets.symbols(pair.market)[1], **more)


@pytest.mark.parametrize("exchange", IDS)
def test_an_order_opened_and_filled_while_nobody_watched_is_told_though_its_symbol_is_new(exchange: str) -> None:
    pair = Pair(Seat(exchange)).joined()
    seen = pair.place("DBO1")
    pair.until(lambda: pair.status("DBO1") == "NEW")
    pair.drop()
    order = second(pair, "DBO2")
    pair.fill(order, 4)
    pair.fill(order)
    pair.cancel(seen)
    pair.t += 5
    pair.again()
    assert (pair.status("DBO1"), pair.status("DBO2")) == ("CANCELED", "FILLED")
    told, truth = pair.books.rows["DBO2"], pair.truth(order)
    assert (told.executed, told.average) == (truth.executed, truth.average)
    if exchange == "binanceUsdm":
        assert pair.missing() == ""


def test_usdm_asks_once_for_the_whole_account_and_coin_margined_contracts_by_pair() -> None:
    asked = {}
    for exchange in IDS[2:]:
        pair = Pair(Seat(exchange)).joined()
        for number in range(5):
            pair.place(f"DBO{number}", of=pair.hub.world.markets.symbols(pair.market)[number % 3])
        pair.until(lambda pair=pair: len(pair.books.rows) == 5)  # type: ignore[misc]
        pair.drop()
        pair.calls.clear()
        pair.again()
        asked[exchange] = [params(call) for call in pair.calls if path(call).endswith("allOrders")]
    assert len(asked["binanceUsdm"]) == 1
    assert not asked["binanceUsdm"][0].keys() & {"symbol", "pair"}
    assert sorted(one["pair"] for one in asked["binanceCoinm"]) == ["BNBUSD", "BTCUSD", "ETHUSD"]


@pytest.mark.parametrize("exchange", ["binance", "binanceUS"])
def test_a_rejected_order_is_an_end_live_and_in_a_gap(exchange: str) -> None:
    pair = Pair(Seat(exchange)).joined()
    for client_id, away in (("DBO1", False), ("DBO2", True)):
        order = pair.place(client_id, hold=True)
        if away:
            pair.drop()
        controls.reject(pair.hub, OrderRef(order_id=order.order_id), pair.now, reason="INSUFFICIENT_BALANCES")
        if away:
            pair.t += 5
            pair.again()
        pair.until(lambda client_id=client_id: pair.status(client_id) == "CANCELED")  # type: ignore[misc]


def test_the_end_of_a_listen_key_is_told_on_futures_and_not_on_binance_us() -> None:
    for exchange, told in (("binanceUsdm", 1), ("binanceCoinm", 1), ("binanceUS", 0)):
        pair = Pair(Seat(exchange)).joined()
        pair.fault("expire_token", venue="binance", account=pair.account)
        pair.wait_for_failure()
        assert pair.ended
        assert sum(type(emit.event).__name__ == "UserDataStreamExpired" for emit in pair.balances()) == told
