"""python-binance against the simulated Binance markets, Binance.US included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import WAIT_S, Desk, Keys, Step, assert_same, binance_step, soon, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

MARKETS = ("binance", "binanceUsdm", "binanceCoinm", "binanceUS")


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("binance", reason="python-binance is not installed: make conformance")


@asynccontextmanager
async def client(desk: Desk, keys: Keys | None = None) -> AsyncIterator[tuple[Any, Any]]:
    """A client and its socket manager."""
    from binance import AsyncClient, BinanceSocketManager

    key, secret, _ = keys or desk.keys
    made = await AsyncClient.create(key, secret, tld="us" if desk.exchange == "binanceUS" else "com")
    try:
        async with asyncio.timeout(2 * WAIT_S):
            yield made, BinanceSocketManager(made)
    finally:
        await made.close_connection()


def market_socket(manager: Any, desk: Desk, stream: str) -> Any:
    from binance.enums import FuturesType

    names = [f"{desk.wire.lower()}@{stream}"]
    if desk.exchange in {"binance", "binanceUS"}:
        return manager.multiplex_socket(names)
    kind = FuturesType.USD_M if desk.exchange == "binanceUsdm" else FuturesType.COIN_M
    return manager.futures_multiplex_socket(names, futures_type=kind)


async def user_socket(manager: Any, api: Any, desk: Desk) -> Any:
    match desk.exchange:
        case "binance":
            return manager.user_socket()
        case "binanceUsdm":
            return manager.futures_user_socket()
        case "binanceCoinm":
            return manager.coin_futures_user_socket()
    # Its user_socket() is the WebSocket API with signatures, which Binance.US does not have.
    return manager.multiplex_socket([await api.stream_get_listen_key()])


@pytest.mark.parametrize("exchange", MARKETS)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with client(desk) as (_, manager), market_socket(manager, desk, "ticker") as socket:
            await soon(lambda: desk.notes("subscribe"), "subscribe")
            price = desk.move()
            row: dict[str, Any] = {}
            while Decimal(row.get("c", "0")) != price:
                row = (await socket.recv())["data"]
            assert (row["e"], row["s"]) == ("24hrTicker", desk.wire)

    asyncio.run(work())


@pytest.mark.parametrize("exchange", MARKETS)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with client(desk) as (_, manager), market_socket(manager, desk, "kline_1m") as socket:
            await soon(lambda: desk.notes("subscribe"), "subscribe")
            price = desk.move()
            row: dict[str, Any] = {}
            while Decimal(row.get("c", "0")) != price:
                row = (await socket.recv())["data"]["k"]
            candle = desk.candle("1m", row["t"])
            assert [Decimal(row[name]) for name in "ohlc"] == [candle.open, candle.high, candle.low, candle.close]
            assert row["i"] == "1m"

    asyncio.run(work())


@pytest.mark.parametrize("exchange", MARKETS)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)
    steps: list[Step] = []

    async def read(socket: Any) -> None:
        while True:
            frame = await socket.recv()
            step = binance_step(frame.get("data") or frame.get("event") or frame)
            if step is not None:
                steps.append(step)

    async def work() -> None:
        async with client(desk) as (api, manager), await user_socket(manager, api, desk) as socket:
            reading = asyncio.create_task(read(socket))
            try:
                await soon(desk.ready, "login and subscribe")
                orders = await asyncio.to_thread(
                    desk.trade, lambda count: until(lambda: len(steps) >= count, f"order update {count}")
                )
            finally:
                reading.cancel()
            assert_same(steps, desk.steps(orders))

    asyncio.run(work())


SIGNED = {
    "binance": "get_account",
    "binanceUS": "get_account",
    "binanceUsdm": "futures_account_balance",
    "binanceCoinm": "futures_coin_account_balance",
}


@pytest.mark.parametrize("exchange", MARKETS)
def test_signatures_over_rest(desk_of: Callable[..., Desk], exchange: str) -> None:
    """Where the account stream needs no signature (listen keys), REST proves that the simulator checks it."""
    desk = desk_of(exchange)

    async def work() -> None:
        from binance.exceptions import BinanceAPIException

        async with client(desk) as (api, _):
            assert await getattr(api, SIGNED[exchange])()
        async with client(desk, Keys(desk.keys.key, "another secret", "")) as (api, _):
            with pytest.raises(BinanceAPIException, match="-1022"):
                await getattr(api, SIGNED[exchange])()

    asyncio.run(work())
