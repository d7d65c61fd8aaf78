"""coinbase-advanced-py, Coinbase's own SDK, against the simulated venue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import Box, Desk, Keys, Step, assert_same, new_keys, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

STATUSES = {"OPEN": "NEW", "FILLED": "FILLED"}


@contextmanager
def socket(kind: str, keys: Keys) -> Iterator[tuple[Any, Box]]:
    """An open SDK client, and the frames that it reads."""
    module = pytest.importorskip("coinbase.websocket", reason="coinbase-advanced-py is not installed: make conformance")
    box = Box()
    made = getattr(module, kind)(
        api_key=keys.key, api_secret=keys.secret, on_message=lambda text: box.put(json.loads(text)), retry=False
    )
    made.open()
    try:
        yield made, box
    finally:
        made.close()


def rows(box: Box, channel: str, field: str) -> list[dict[str, Any]]:
    frames = [frame for frame in box.items() if frame.get("channel") == channel]
    return [row for frame in frames for event in frame["events"] for row in event.get(field, ())]


@pytest.fixture
def desk(desk_of: Callable[..., Desk]) -> Desk:
    return desk_of("coinbase")


def test_tickers(desk: Desk) -> None:
    with socket("WSClient", desk.keys) as (coinbase, box):
        coinbase.ticker([desk.wire])
        until(lambda: rows(box, "ticker", "tickers"), "first ticker")
        price = desk.move()
        until(lambda: any(Decimal(row["price"]) == price for row in rows(box, "ticker", "tickers")), "ticker")
        assert {row["product_id"] for row in rows(box, "ticker", "tickers")} == {desk.wire}


def test_candles(desk: Desk) -> None:
    with socket("WSClient", desk.keys) as (coinbase, box):
        coinbase.candles([desk.wire])
        until(lambda: rows(box, "candles", "candles"), "first candle")
        price = desk.move()
        until(lambda: any(Decimal(row["close"]) == price for row in rows(box, "candles", "candles")), "candle")
        row = next(row for row in rows(box, "candles", "candles") if Decimal(row["close"]) == price)
        candle = desk.candle("5m", int(row["start"]) * 1000)
        prices = [Decimal(row[name]) for name in ("open", "high", "low", "close")]
        assert prices == [candle.open, candle.high, candle.low, candle.close]


def test_orders(desk: Desk) -> None:
    with socket("WSUserClient", desk.keys) as (coinbase, box):
        coinbase.subscribe(product_ids=[desk.wire], channels=["user", "heartbeats"])
        until(desk.ready, "login and subscribe")
        orders = desk.trade(lambda count: until(lambda: len(_steps(box)) >= count, "order update"))
        assert_same(_steps(box), desk.steps(orders))


def _steps(box: Box) -> list[Step]:
    steps = []
    for row in rows(box, "user", "orders"):
        if row["status"] in STATUSES:  # the others are on the way to OPEN
            executed = Decimal(row["cumulative_quantity"])
            status = "PARTIALLY_FILLED" if row["status"] == "OPEN" and executed else STATUSES[row["status"]]
            average = Decimal(row["avg_price"]) if executed else None
            steps.append(Step(row["client_order_id"], status, executed, average))
    return steps


def test_a_wrong_key_is_refused(desk: Desk) -> None:
    wrong = Keys(desk.keys.key, new_keys("coinbase", 2).secret, "")
    with socket("WSUserClient", wrong) as (coinbase, box):
        coinbase.subscribe(product_ids=[desk.wire], channels=["user"])
        box.wait(lambda frame: frame.get("type") == "error", "refusal")
        assert not desk.followed()


def test_signatures(desk: Desk) -> None:
    rest = pytest.importorskip("coinbase.rest", reason="coinbase-advanced-py is not installed: make conformance")
    from requests import HTTPError

    assert rest.RESTClient(desk.keys.key, desk.keys.secret).get_accounts()["accounts"]
    with pytest.raises(HTTPError, match="401"):
        rest.RESTClient(desk.keys.key, new_keys("coinbase", 2).secret).get_accounts()
