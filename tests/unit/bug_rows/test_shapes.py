"""What every recorded frame's event has in common, whatever the venue (rows A56, A62, B9, B11, B14, B24, D22)."""

from __future__ import annotations

import json
import re
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cli.normalise import normalise
from exchanges import venue_of
from exchanges._adapter import Connect
from tests.unit.exchanges.every_venue import NOW, golden_lines, made, subscription, venue_names

ROOT = Path(__file__).parents[3]
MAX_SAFE = 2**53 - 1
DECIMAL = re.compile(r"-?\d+(\.\d+)?")
ORDER_EVENTS = ("executionReport", "ORDER_TRADE_UPDATE")
FEES = ("feePaid", "feePaidUsd")


def events(feed: str) -> list[object]:
    found: list[object] = []
    for name in venue_names():
        for case in golden_lines(name):
            if case["feed"] == feed:
                result = normalise(json.dumps(case).encode(), NOW)
                for event in result["events"]:  # type: ignore[attr-defined]
                    found.append(pytest.param(event, id=f"{name}: {case['case']}"))
    return found


@pytest.mark.parametrize("event", events("user"))
def test_orders_name_their_symbol_and_write_figures_as_text(event: dict[str, object]) -> None:
    if event["eventType"] not in ORDER_EVENTS:
        return
    assert event["symbol"], "an empty symbol makes the backend round the price to two decimals (bug B14)"
    for key in ("quantity", "price", "totalTradeQuantity", "totalQuoteTradeQuantity", "averagePrice"):
        if key in event:
            assert isinstance(event[key], str), key
            assert DECIMAL.fullmatch(event[key]), key
    order_id = event["orderId"]
    assert isinstance(order_id, str) or order_id <= MAX_SAFE, "bug B11"  # type: ignore[operator]
    assert isinstance(event["orderTime"], int)
    assert event["orderTime"] > 10**12, "milliseconds (bug A56)"


@pytest.mark.parametrize("event", events("user"))
def test_fees_are_positive_costs_or_absent(event: dict[str, object]) -> None:
    """Bugs B9, B24: a charge that the venue writes as a negative number is a positive cost here."""
    for key in FEES:
        if key in event:
            assert Decimal(str(event[key])) > 0
    if "feePaid" in event:
        assert event.get("feeAsset") or event.get("feeSide")
    for part in event.get("feeBreakdown", ()):  # type: ignore[attr-defined]
        assert part["asset"]
        assert Decimal(part["amount"]) > 0


FIGURES = {"kraken": {"free"}, "krakenUsdm": {"free", "locked", "venueAvailable"}}
"""Spot tells no holds there (bug A39), and pooled collateral can't be told as free and locked (bugs A1, A2)."""


def figures_of(case: dict[str, object]) -> set[str]:
    """What each balance of a case tells. The unified ledger alone tells nothing of what an order may use: `margin` does."""
    context: dict[str, Any] = case.get("context") or {}  # type: ignore[assignment]
    frames = [*context.get("prior_frames", []), case["frame"]]
    if context.get("route") == "unified" and all(frame["channel"] != "margin" for frame in frames):
        return {"free", "locked"}
    return FIGURES.get(str(case["exchange"]), {"free", "locked"})


def balances() -> list[object]:
    found: list[object] = []
    for case in (case for name in venue_names() for case in golden_lines(name) if case["feed"] == "user"):
        for event in normalise(json.dumps(case).encode(), NOW)["events"]:  # type: ignore[attr-defined]
            if event["eventType"] == "outboundAccountPosition":
                found.append(pytest.param(figures_of(case), event, id=f"{case['exchange']}: {case['case']}"))
    return found


@pytest.mark.parametrize(("figures", "event"), balances())
def test_balances_are_absolute_text_per_asset(figures: set[str], event: dict[str, object]) -> None:
    rows = event["balances"]
    assert rows, "an empty list is not published"
    for row in rows:  # type: ignore[attr-defined]
        assert row["asset"]
        assert set(row) == figures | {"asset"}
        for key in sorted(figures):
            assert DECIMAL.fullmatch(row[key])
            assert Decimal(row[key]) >= 0


@pytest.mark.parametrize("event", events("ticker"))
def test_tickers_are_numbers_and_both_sides_carry_the_last_price(event: dict[str, object]) -> None:
    for key in ("time", "price", "volume", "bestAsk", "bestBid", "bestAskQnt", "bestBidQnt", "eventTime"):
        assert isinstance(event[key], int | float), key
    assert event["bestAsk"] == event["bestBid"] == event["price"]


@pytest.mark.parametrize("event", events("candle"))
def test_candles_start_with_a_number_and_are_text_otherwise(event: dict[str, object]) -> None:
    assert isinstance(event["start"], int)
    for key in ("open", "high", "low", "close", "volume"):
        assert DECIMAL.fullmatch(str(event[key]))
        assert isinstance(event[key], str)
    low, high = Decimal(str(event["low"])), Decimal(str(event["high"]))
    # Columns taken from another venue's order (bug B8) do not survive this.
    assert low <= Decimal(str(event["open"])) <= high
    assert low <= Decimal(str(event["close"])) <= high


def test_the_libraries_that_carry_the_traffic_are_bounded() -> None:
    """Bug A62: event names and fields changed with a library upgrade and the handlers fell silent."""
    wanted = ("dramatiq", "pika", "websocket-client", "redis", "pydantic", "apscheduler", "requests", "msgspec")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in wanted:
        line = next(one for one in project["dependencies"] if re.match(rf"{name}[>=<\[]", one))
        assert "<" in line, line


def test_paper_accounts_trade_on_prices_of_the_real_exchange() -> None:
    paper = venue_of("paperBinance")
    assert paper is not None
    assert paper.feeds == ("user",)


@pytest.mark.parametrize("exchange", ["binance", "binanceUS", "binanceUsdm", "binanceCoinm"])
@pytest.mark.parametrize("feed", ["ticker", "candle"])
def test_combined_streams_of_every_binance_market_have_the_documented_path(exchange: str, feed: str) -> None:
    """Bug B17: `/ws/stream` answered 404, in a loop."""
    adapter = made("binance", exchange, feed)  # type: ignore[arg-type]
    adapter.add(subscription(exchange, feed), NOW)  # type: ignore[arg-type]
    connects = [output for output in adapter.start(NOW) if isinstance(output, Connect)]
    assert len(connects) == 1
    path = urlsplit(connects[0].url).path
    assert path.endswith("/stream")
    assert "/ws/" not in path
