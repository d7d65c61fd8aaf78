"""pybit, Bybit's own SDK, against the simulated venue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import Box, Desk, Step, assert_same, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

CATEGORIES = {"bybit": "spot", "bybitLinear": "linear", "bybitInverse": "inverse"}
STATUSES = {"New": "NEW", "PartiallyFilled": "PARTIALLY_FILLED", "Filled": "FILLED"}


class Sent(dict[str, str]):
    """pybit writes down what it subscribed after it was sent: on a busy machine the answer is faster, and pybit gives up."""

    def __missing__(self, request: str) -> str:
        until(lambda: request in self, "pybit's note of what it sent")
        return self[request]


@contextmanager
def socket(channel: str, **more: Any) -> Iterator[Any]:
    module = pytest.importorskip("pybit.unified_trading", reason="pybit is not installed: make conformance")
    made = module.WebSocket(testnet=False, channel_type=channel, **more)
    made.subscriptions = Sent()
    try:
        yield made
    finally:
        made.exit()


@pytest.mark.parametrize("exchange", CATEGORIES)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket(CATEGORIES[exchange]) as bybit:
        bybit.ticker_stream(desk.wire, box.put)
        box.wait(lambda frame: frame["data"]["lastPrice"], "first ticker")
        price = desk.move()
        frame = box.wait(lambda frame: Decimal(frame["data"]["lastPrice"]) == price, "ticker")
        assert frame["topic"] == f"tickers.{desk.wire}"


@pytest.mark.parametrize("exchange", CATEGORIES)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket(CATEGORIES[exchange]) as bybit:
        bybit.kline_stream(1, desk.wire, lambda frame: box.put(frame["data"][0]))
        until(lambda: desk.notes("subscribe"), "subscribe")
        price = desk.move()
        row = box.wait(lambda row: Decimal(row["close"]) == price, "candle")
        candle = desk.candle("1m", row["start"])
        prices = [Decimal(row[name]) for name in ("open", "high", "low", "close")]
        assert prices == [candle.open, candle.high, candle.low, candle.close]


@pytest.mark.parametrize("exchange", CATEGORIES)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket("private", api_key=desk.keys.key, api_secret=desk.keys.secret) as bybit:
        bybit.order_stream(lambda frame: [box.put(_step(row)) for row in frame["data"]])
        until(desk.ready, "login and subscribe")
        orders = desk.trade(lambda count: box.wait_count(count, lambda _: True, "order update"))
        assert_same(box.items(), desk.steps(orders))


def _step(row: dict[str, Any]) -> Step:
    average = Decimal(row["avgPrice"]) if row["avgPrice"] else None
    return Step(row["orderLinkId"], STATUSES[row["orderStatus"]], Decimal(row["cumExecQty"]), average)


def test_signatures(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of("bybit")
    module = pytest.importorskip("pybit.unified_trading", reason="pybit is not installed: make conformance")
    from pybit.exceptions import FailedRequestError, InvalidRequestError

    good = module.HTTP(api_key=desk.keys.key, api_secret=desk.keys.secret)
    assert good.get_account_info()["result"]["unifiedMarginStatus"] == 6
    wrong = module.HTTP(api_key=desk.keys.key, api_secret="another secret")
    with pytest.raises((FailedRequestError, InvalidRequestError), match="10004"):
        wrong.get_account_info()
