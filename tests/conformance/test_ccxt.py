"""ccxt's streaming classes against the simulated venues: every exchange id, with ccxt's own URLs, signatures and parsers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import WAIT_S, WIRES, Desk, Keys, Step, assert_same, new_keys, soon, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

SPOT, LINEAR, INVERSE = "BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"
CLASSES = {
    "binance": ("binance", SPOT),
    "binanceUsdm": ("binanceusdm", LINEAR),
    "binanceCoinm": ("binancecoinm", INVERSE),
    "binanceUS": ("binanceus", SPOT),
    "kucoin": ("kucoin", SPOT),
    "kucoinLinear": ("kucoinfutures", LINEAR),
    "kucoinInverse": ("kucoinfutures", INVERSE),
    "bybit": ("bybit", SPOT),
    "bybitLinear": ("bybit", LINEAR),
    "bybitInverse": ("bybit", INVERSE),
    "okx": ("okx", SPOT),
    "okxLinear": ("okx", LINEAR),
    "okxInverse": ("okx", INVERSE),
    "bitget": ("bitget", SPOT),
    "bitgetUsdm": ("bitget", LINEAR),
    "bitgetCoinm": ("bitget", f"{INVERSE}-261225"),
    "coinbase": ("coinbase", "BTC/USD"),
    "kraken": ("kraken", "BTC/USD"),
    "krakenUsdm": ("krakenfutures", "BTC/USD:USD"),
    "whitebit": ("whitebit", SPOT),
    "whitebitUsdm": ("whitebit", LINEAR),
}
"""Exchange id → ccxt's class and symbol."""

OPTIONS: dict[str, dict[str, Any]] = {
    "binance": {"watchPositions": {"fetchPositionsSnapshot": False}, "fetchMargins": False},
    "kucoin": {
        "watchTicker": {"spotMethod": "/market/ticker"},
        "fetchMarkets": {"fetchTickersFees": False},
        "hf": True,
    },
    "bybit": {
        "fetchMarkets": {"types": ["spot", "linear", "inverse"]},
        "enableUnifiedMargin": False,
        "enableUnifiedAccount": True,
        "unifiedMarginStatus": 6,
    },
    "okx": {"fetchMarkets": {"types": ["spot", "swap"]}},
    "bitget": {"uta": False},
    "coinbase": {},
    "kraken": {},
    "whitebit": {},
}
"""Keeps ccxt off what the simulator has no part of: options, margin, fee tables, account questions."""

WITHOUT_CANDLES = {
    "coinbase": "ccxt has no watchOHLCV for Coinbase",
    "krakenUsdm": "ccxt has no watchOHLCV for Kraken's futures",
}
WITHOUT_ORDERS = {
    "binanceUS": "ccxt sends Binance.US keys to the main site's WebSocket API; see test_python_binance",
    "kraken": "ccxt takes `order_userref` for the client id and no fill from trade rows; see the test of placed orders",
    "krakenUsdm": "ccxt tells neither client ids nor states of open orders; see the test of placed orders",
}
WITHOUT_LOGIN = {"binanceUS"}


ELSEWHERE = {"hyperliquid", "hyperliquidLinear"}
"""Markets whose tickers ccxt reads from channels that the connector has no use for; see the tests of the venue's own SDK."""


async def _nothing(*_: object) -> dict[str, Any]:
    return {"data": []}


def _quieten(exchange: Any, venue: str) -> None:
    """Answers for calls that only concern products which nobody here trades."""
    exchange.has["fetchCurrencies"] = False
    exchange.options = exchange.deep_extend(exchange.options, OPTIONS[venue])
    if venue == "kucoin":
        exchange.privateGetMarginSymbols = exchange.privateGetIsolatedSymbols = _nothing
    elif venue == "coinbase":
        exchange.v3PrivateGetBrokerageTransactionSummary = _nothing
    elif venue == "bitget":
        exchange.publicMarginGetV2MarginCurrencies = _nothing
        contracts = exchange.publicMixGetV2MixMarketContracts

        async def real_contracts(params: dict[str, str]) -> Any:
            demo = params["productType"].startswith("S")
            return await (_nothing() if demo else contracts(params))

        exchange.publicMixGetV2MixMarketContracts = real_contracts


@asynccontextmanager
async def client(desk: Desk, keys: Keys | None = None) -> AsyncIterator[tuple[Any, str]]:
    """A ccxt object of the desk's market with its markets loaded, and the symbol."""
    import ccxt.pro

    name, symbol = CLASSES[desk.exchange]
    key, secret, phrase = keys or desk.keys
    exchange = getattr(ccxt.pro, name)({"apiKey": key, "secret": secret, "password": phrase})
    _quieten(exchange, desk.venue)
    try:
        async with asyncio.timeout(2 * WAIT_S):
            await exchange.load_markets()
            yield exchange, symbol
    finally:
        await exchange.close()


def run(work: Any) -> None:
    asyncio.run(work)


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("ccxt", reason="ccxt is not installed: make conformance")


def exact(value: Any) -> Decimal:
    return Decimal(str(value))


@pytest.mark.parametrize("exchange", CLASSES)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)

    async def work() -> None:
        async with client(desk) as (ccxt, symbol):
            ticker = await ccxt.watch_ticker(symbol)
            assert exact(ticker["last"]) == desk.symbol.price
            price = desk.move()
            while exact(ticker["last"]) != price:
                ticker = await ccxt.watch_ticker(symbol)
            assert ticker["symbol"] == symbol
            assert ticker["timestamp"] is None or ticker["timestamp"] > 1_700_000_000_000

    run(work())


@pytest.mark.parametrize("exchange", CLASSES)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    if exchange in WITHOUT_CANDLES:
        pytest.skip(WITHOUT_CANDLES[exchange])
    desk = desk_of(exchange)

    async def work() -> None:
        async with client(desk) as (ccxt, symbol):
            rows = await ccxt.watch_ohlcv(symbol, "1m")
            price = desk.move()
            while exact(rows[-1][4]) != price:
                rows = await ccxt.watch_ohlcv(symbol, "1m")
            start_ms, opening, high, low, close, _ = rows[-1]
            candle = desk.candle("1m", start_ms)
            prices = (candle.open, candle.high, candle.low, candle.close)
            assert tuple(map(exact, (opening, high, low, close))) == prices

    run(work())


@pytest.mark.parametrize("exchange", CLASSES)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    if exchange in WITHOUT_ORDERS:
        pytest.skip(WITHOUT_ORDERS[exchange])
    _orders_arrive(desk_of(exchange), {})


@pytest.mark.parametrize("exchange", ["kraken", "krakenUsdm"])
def test_placed_orders_of_kraken(desk_of: Callable[..., Desk], exchange: str) -> None:
    """What ccxt understands of its orders: that there is one, on which side, how much, and at which price."""
    desk = desk_of(exchange)

    async def work() -> None:
        async with client(desk) as (ccxt, symbol):
            reading = asyncio.create_task(ccxt.watch_orders(symbol))
            await soon(lambda: reading.done() or desk.ready(), "login and subscribe")
            limit = desk.symbol.price - 100
            place = {"symbol": desk.wire, "side": "SELL", "quantity": Decimal("0.01"), "price": limit}
            order = await asyncio.to_thread(desk.sim.place, desk.account, exchange, **place)
            told = (await reading)[-1]
            assert str(order.order_id) in told["id"]
            assert (told["symbol"], told["side"]) == (symbol, "sell")
            assert (exact(told["amount"]), exact(told["price"])) == (Decimal("0.01"), limit)

    run(work())


@pytest.mark.parametrize("exchange", ["bitget", "bitgetUsdm", "bitgetCoinm"])
def test_orders_of_unified_accounts(desk_of: Callable[..., Desk], exchange: str) -> None:
    """Bitget's v3 socket."""
    _orders_arrive(desk_of(exchange, unified=True), {"uta": True})


def _orders_arrive(desk: Desk, params: dict[str, Any]) -> None:
    async def work() -> None:
        async with client(desk) as (ccxt, symbol):
            steps: list[Step] = []
            reading = asyncio.create_task(_read_orders(ccxt, symbol, desk, steps, params))
            try:
                await soon(lambda: reading.done() or desk.ready(), "login and subscribe")
                orders = await asyncio.to_thread(desk.trade, lambda count: _await_steps(steps, count, reading))
            finally:
                reading.cancel()
            assert_same(steps, desk.steps(orders))

    run(work())


def _await_steps(steps: list[Step], count: int, reading: asyncio.Task[None]) -> None:
    until(lambda: reading.done() or len(steps) >= count, f"order update {count}, so far {steps}")
    if reading.done():
        reading.result()


async def _read_orders(ccxt: Any, symbol: str, desk: Desk, steps: list[Step], params: dict[str, Any]) -> None:
    while True:
        for order in await ccxt.watch_orders(symbol, params=params):
            step = _step(order, desk)
            if step is not None and step not in steps:
                steps.append(step)


def _step(order: dict[str, Any], desk: Desk) -> Step | None:
    """None for the states before and after that only some venues tell (received, done again)."""
    if order["status"] not in {"open", "closed"}:
        return None
    filled = exact(order["filled"] or 0)
    if desk.venue == "bitget" and "accBaseVolume" in order["info"]:  # ccxt gives the latest fill as `filled`
        filled = exact(order["info"]["accBaseVolume"])
    status = "FILLED" if order["status"] == "closed" else "PARTIALLY_FILLED" if filled else "NEW"
    if desk.venue == "kucoin" and status == "PARTIALLY_FILLED" and filled == exact(order["amount"]):
        return None  # the last match; the message that the order is done follows
    average = exact(order["average"]) if order["average"] else None
    return Step(order["clientOrderId"], status, filled, average)


@pytest.mark.parametrize("exchange", sorted(CLASSES.keys() - WITHOUT_LOGIN))
def test_a_wrong_secret_sees_nothing(desk_of: Callable[..., Desk], exchange: str) -> None:
    """The simulator checks ccxt's signature: with another secret nobody gets in."""
    desk = desk_of(exchange)
    wrong = Keys(desk.keys.key, new_keys(desk.venue, 2).secret, desk.keys.phrase)

    async def work() -> None:
        async with client(desk, wrong) as (ccxt, symbol):
            reading = asyncio.create_task(ccxt.watch_orders(symbol))
            try:
                if exchange in {"binanceUsdm", "binanceCoinm"}:  # a listen key is given for the API key alone
                    await soon(desk.followed, "login")
                    with pytest.raises(Exception, match="-1022"):
                        await ccxt.fetch_balance()
                    return
                await soon(lambda: reading.done() or desk.refused(), "refusal")
                assert not desk.followed()
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    run(work())


def test_every_market_is_covered() -> None:
    assert CLASSES.keys() | ELSEWHERE == WIRES.keys()
