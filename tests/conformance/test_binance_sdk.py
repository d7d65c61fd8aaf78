"""Binance's own SDKs (spot, USD-M, COIN-M) against the simulated markets, with every type of key that they can sign with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conformance.desk import WAIT_S, Box, Desk, assert_same, binance_step, soon

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

PACKAGES = {
    "binance": "binance_sdk_spot",
    "binanceUsdm": "binance_sdk_derivatives_trading_usds_futures",
    "binanceCoinm": "binance_sdk_derivatives_trading_coin_futures",
}
STREAMS = {
    "binance": ("ticker", "kline"),
    "binanceUsdm": ("individual_symbol_ticker_streams", "kline_candlestick_streams"),
    "binanceCoinm": ("individual_symbol_ticker_streams", "kline_candlestick_streams"),
}
"""Exchange id → methods for tickers and candles."""
FUTURES = ("binanceUsdm", "binanceCoinm")


def made(desk: Desk, **secret: str) -> Any:
    """The SDK's client object for the desk's market."""
    package = pytest.importorskip(
        PACKAGES[desk.exchange], reason=f"{PACKAGES[desk.exchange]} is not installed: make conformance"
    )
    from binance_common.configuration import (
        ConfigurationRestAPI,
        ConfigurationWebSocketAPI,
        ConfigurationWebSocketStreams,
    )

    material = {"api_key": desk.keys.key, **(secret or {"api_secret": desk.keys.secret})}
    # The first name is the client's class: Spot, DerivativesTradingUsdsFutures, …
    name = next(name for name in vars(package) if name in {"Spot"} or name.startswith("DerivativesTrading"))
    return getattr(package, name)(
        config_rest_api=ConfigurationRestAPI(**material, timeout=10_000, retries=0),
        config_ws_api=ConfigurationWebSocketAPI(**material),
        config_ws_streams=ConfigurationWebSocketStreams(),
    )


@asynccontextmanager
async def streams(sdk: Any) -> AsyncIterator[Any]:
    """An open connection for streams."""
    async with asyncio.timeout(2 * WAIT_S):
        connection = await sdk.websocket_streams.create_connection()
        try:
            yield connection
        finally:
            await connection.close_connection(close_session=True)


def plain(message: Any) -> Any:
    """An SDK model as the dictionary that came over the wire."""
    message = getattr(message, "actual_instance", message)
    return message.to_dict() if hasattr(message, "to_dict") else message


@pytest.mark.parametrize("exchange", PACKAGES)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()

    async def work() -> None:
        async with streams(made(desk)) as connection:
            stream = await getattr(connection, STREAMS[exchange][0])(symbol=desk.wire.lower())
            stream.on("message", lambda message: box.put(plain(message)))
            await soon(lambda: desk.notes("subscribe"), "subscribe")
            price = desk.move()
            await soon(lambda: any(Decimal(row["c"]) == price for row in box.items()), "ticker")
            assert {row["s"] for row in box.items()} == {desk.wire}

    asyncio.run(work())


@pytest.mark.parametrize("exchange", PACKAGES)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()

    async def work() -> None:
        async with streams(made(desk)) as connection:
            stream = await getattr(connection, STREAMS[exchange][1])(symbol=desk.wire.lower(), interval="1m")
            stream.on("message", lambda message: box.put(plain(message)["k"]))
            await soon(lambda: desk.notes("subscribe"), "subscribe")
            price = desk.move()
            await soon(lambda: any(Decimal(row["c"]) == price for row in box.items()), "candle")
            row = next(row for row in box.items() if Decimal(row["c"]) == price)
            candle = desk.candle("1m", row["t"])
            assert [Decimal(row[name]) for name in "ohlc"] == [candle.open, candle.high, candle.low, candle.close]

    asyncio.run(work())


def ed25519_pem() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def rsa_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("kind", ["hmac", "ed25519", "rsa"])
def test_orders_on_spot_with_every_type_of_key(desk_of: Callable[..., Desk], kind: str) -> None:
    desk, box = desk_of("binance"), Box()
    secret = {"api_secret": desk.keys.secret}
    if kind != "hmac":
        pem = ed25519_pem() if kind == "ed25519" else rsa_pem()
        desk.sim.replace_key(desk.account, desk.keys.key, pem)
        secret = {"private_key": pem}

    async def work() -> None:
        async with asyncio.timeout(2 * WAIT_S):
            connection = await made(desk, **secret).websocket_api.create_connection()
            try:
                answer = await connection.user_data_stream_subscribe_signature()
                answer.stream.on("message", lambda message: _keep(box, message))
                orders = await asyncio.to_thread(
                    desk.trade, lambda count: box.wait_count(count, lambda _: True, "order update")
                )
                assert_same(box.items(), desk.steps(orders))
            finally:
                await connection.close_connection(close_session=True)

    asyncio.run(work())


def test_spot_refuses_a_wrong_signature(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of("binance")

    async def work() -> None:
        async with asyncio.timeout(2 * WAIT_S):
            connection = await made(desk, api_secret="another secret").websocket_api.create_connection()
            try:
                with pytest.raises(ValueError, match="-1022"):
                    await connection.user_data_stream_subscribe_signature()
            finally:
                await connection.close_connection(close_session=True)
        assert not desk.followed()

    asyncio.run(work())


@pytest.mark.parametrize("exchange", FUTURES)
def test_orders_on_futures(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()

    async def work() -> None:
        sdk = made(desk)
        key = (await asyncio.to_thread(sdk.rest_api.start_user_data_stream)).data().listen_key
        async with streams(sdk) as connection:
            stream = await connection.user_data(key)
            stream.on("message", lambda message: _keep(box, message))
            await soon(desk.ready, "login and subscribe")
            orders = await asyncio.to_thread(
                desk.trade, lambda count: box.wait_count(count, lambda _: True, "order update")
            )
            assert_same(box.items(), desk.steps(orders))

    asyncio.run(work())


KINDS = {"ExecutionReport": "executionReport", "OrderTradeUpdate": "ORDER_TRADE_UPDATE"}
"""Class of an event → its `e`, by which the SDK chose the class and which it then leaves out."""


def _keep(box: Box, message: Any) -> None:
    kind = KINDS.get(type(getattr(message, "actual_instance", message)).__name__)
    step = binance_step({"e": kind, **plain(message)})
    if step is not None:
        box.put(step)


@pytest.mark.parametrize("exchange", FUTURES)
def test_signatures_over_rest(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)
    balance = "futures_account_balance_v3" if exchange == "binanceUsdm" else "futures_account_balance"
    assert getattr(made(desk).rest_api, balance)().data()
    with pytest.raises(Exception, match=r"(?i)signature"):
        getattr(made(desk, api_secret="another secret").rest_api, balance)()
