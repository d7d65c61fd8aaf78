"""hyperliquid-python-sdk, the venue's own SDK, against the simulated venue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import CLIENT_ID, Box, Desk, Step, assert_same, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

NAMES = {"hyperliquid": "UBTC/USDC", "hyperliquidLinear": "BTC"}
"""The SDK's own name of the bitcoin market."""
EXCHANGES = list(NAMES)


@contextmanager
def client() -> Iterator[Any]:
    module = pytest.importorskip("hyperliquid.info", reason="hyperliquid-python-sdk is not installed: make conformance")
    made = module.Info(perp_dexs=["", "xyz", "hyna"])
    try:
        yield made
    finally:
        made.disconnect_websocket()


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with client() as sdk:
        sdk.subscribe({"type": "allMids"}, lambda frame: box.put(frame["data"]["mids"]))
        coin = sdk.name_to_coin[NAMES[exchange]]
        assert coin == desk.wire
        assert Decimal(sdk.all_mids()[coin]) == desk.symbol.price
        box.wait(lambda mids: Decimal(mids[coin]) == desk.symbol.price, "first mids")
        price = desk.move()
        box.wait(lambda mids: Decimal(mids[coin]) == price, "mids")


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with client() as sdk:
        name = NAMES[exchange]
        sdk.subscribe({"type": "candle", "coin": name, "interval": "1m"}, lambda frame: box.put(frame["data"]))
        until(lambda: desk.notes("subscribe"), "subscribe")
        price = desk.move()
        row = box.wait(lambda row: Decimal(row["c"]) == price, "candle")
        candle = desk.candle("1m", row["t"])
        expected = [candle.open, candle.high, candle.low, candle.close]
        assert [Decimal(row[key]) for key in ("o", "h", "l", "c")] == expected
        (past,) = [one for one in sdk.candles_snapshot(name, "1m", row["t"], row["t"]) if one["t"] == row["t"]]
        assert [Decimal(past[key]) for key in ("o", "h", "l", "c")] == expected


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, updates, fills = desk_of(exchange), Box(), Box()
    user = desk.keys.key
    with client() as sdk:
        sdk.subscribe({"type": "orderUpdates", "user": user}, lambda frame: [updates.put(row) for row in frame["data"]])
        sdk.subscribe(
            {"type": "userFills", "user": user}, lambda frame: [fills.put(row) for row in frame["data"]["fills"]]
        )
        until(lambda: len(desk.notes("subscribe")) == 2, "subscribe")
        orders = desk.trade(lambda count: updates.wait_count(count, lambda _: True, "order update"))
        fills.wait_count(2, lambda _: True, "fills")
        assert_same([_step(row, fills.items()) for row in updates.items()], desk.steps(orders))
        oid = orders[-1].order_id
        told = sdk.query_order_by_oid(user, oid)
        assert (told["status"], told["order"]["status"], told["order"]["order"]["cloid"]) == (
            "order",
            "filled",
            CLIENT_ID,
        )
        assert sdk.query_order_by_oid(user, 1) == {"status": "unknownOid"}
        assert [row["tid"] for row in sdk.user_fills_by_time(user, 0)] == [row["tid"] for row in fills.items()]
        assert [row["order"]["oid"] for row in sdk.historical_orders(user)] == [oid]
        assert sdk.frontend_open_orders(user) == []
        assert sdk.user_role(user) == {"role": "user"}


def _step(row: dict[str, Any], fills: list[dict[str, Any]]) -> Step:
    """The price of an order state stands in its fills."""
    order = row["order"]
    executed = Decimal(order["origSz"]) - Decimal(order["sz"])
    size = value = Decimal(0)
    for fill in fills:
        if fill["oid"] == order["oid"] and size < executed:
            size += Decimal(fill["sz"])
            value += Decimal(fill["sz"]) * Decimal(fill["px"])
    assert size == executed
    status = "FILLED" if row["status"] == "filled" else "PARTIALLY_FILLED" if executed else "NEW"
    return Step(order["cloid"], status, executed, value / size if size else None)


def test_the_sdk_knows_the_builder_dexes(desk_of: Callable[..., Desk]) -> None:
    desk_of("hyperliquidLinear")
    with client() as sdk:
        assert sdk.name_to_coin["xyz:TSLA"] == "xyz:TSLA"
        assert sdk.coin_to_asset["xyz:TSLA"] == 110_000
        assert sdk.coin_to_asset["hyna:BTC"] == 120_000
