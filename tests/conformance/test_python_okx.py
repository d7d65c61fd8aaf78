"""python-okx, OKX's own SDK, against the simulated venue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import WAIT_S, Box, Desk, Keys, Step, assert_same, soon

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

TYPES = {"okx": "SPOT", "okxLinear": "SWAP", "okxInverse": "SWAP"}
STATES = {"live": "NEW", "partially_filled": "PARTIALLY_FILLED", "filled": "FILLED"}
HOST = "wss://ws.okx.com:8443/ws/v5"


@asynccontextmanager
async def socket(service: str, keys: Keys | None = None) -> AsyncIterator[tuple[Any, Box]]:
    """A connected SDK client (which has no default URL), and the data frames that it reads."""
    pytest.importorskip("okx.websocket", reason="python-okx is not installed: make conformance")
    from okx.websocket.WsPrivateAsync import WsPrivateAsync
    from okx.websocket.WsPublicAsync import WsPublicAsync

    url, box = f"{HOST}/{service}", Box()
    made = WsPrivateAsync(keys.key, keys.phrase, keys.secret, url) if keys else WsPublicAsync(url)
    async with asyncio.timeout(2 * WAIT_S):
        await made.connect()
        reading = asyncio.create_task(made.consume())
        try:
            yield made, box
        finally:
            reading.cancel()
            await made.factory.close()


def keep(box: Box) -> Callable[[str], None]:
    def take(frame: str) -> None:
        for row in json.loads(frame).get("data", ()):
            box.put(row)

    return take


@pytest.mark.parametrize("exchange", TYPES)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with socket("public") as (okx, box):
            await okx.subscribe([{"channel": "tickers", "instId": desk.wire}], keep(box))
            await soon(box.items, "first ticker")
            price = desk.move()
            await soon(lambda: any(Decimal(row["last"]) == price for row in box.items()), "ticker")
            assert {row["instId"] for row in box.items()} == {desk.wire}

    asyncio.run(work())


@pytest.mark.parametrize("exchange", TYPES)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with socket("business") as (okx, box):
            await okx.subscribe([{"channel": "candle1m", "instId": desk.wire}], keep(box))
            await soon(box.items, "first candle")
            price = desk.move()
            await soon(lambda: any(Decimal(row[4]) == price for row in box.items()), "candle")
            row = next(row for row in box.items() if Decimal(row[4]) == price)
            candle = desk.candle("1m", int(row[0]))
            assert list(map(Decimal, row[1:5])) == [candle.open, candle.high, candle.low, candle.close]

    asyncio.run(work())


@pytest.mark.parametrize("exchange", TYPES)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with socket("private", desk.keys) as (okx, box):
            await okx.subscribe([{"channel": "orders", "instType": TYPES[exchange]}], keep(box))
            await soon(desk.ready, "login and subscribe")
            orders = await asyncio.to_thread(
                desk.trade, lambda count: box.wait_count(count, lambda _: True, "order update")
            )
            assert_same([_step(row) for row in box.items()], desk.steps(orders))

    asyncio.run(work())


def _step(row: dict[str, Any]) -> Step:
    executed = Decimal(row["accFillSz"])
    return Step(row["clOrdId"], STATES[row["state"]], executed, Decimal(row["avgPx"]) if executed else None)


def test_signatures(desk_of: Callable[..., Desk]) -> None:
    account = pytest.importorskip("okx.Account", reason="python-okx is not installed: make conformance")
    desk = desk_of("okx")
    key, secret, phrase = desk.keys
    host = "https://openapi.okx.com"
    good = account.AccountAPI(key, secret, phrase, flag="0", domain=host, debug=False)
    assert good.get_account_config()["code"] == "0"
    wrong = account.AccountAPI(key, "another secret", phrase, flag="0", domain=host, debug=False)
    assert wrong.get_account_config()["code"] == "50113"
