"""A figure that the venue leaves out, or sends as null, is not told as a zero: `normalise` on frames of the golden files.

What a consumer does with it: the first FILLED is final, so one that is short of everything makes a bot buy a second time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.normalise import normalise
from exchanges._adapter import Instant

GOLDEN = Path(__file__).parents[2] / "golden"
NOW = Instant(1000.0, 1_796_000_000_000)
"""After every recorded frame."""


def golden(name: str) -> Any:
    """The case whose name begins like this, as `file: name`."""
    stem, _, begin = name.partition(": ")
    lines = (GOLDEN / f"{stem}.jsonl").read_text().splitlines()
    return next(case for case in map(json.loads, lines) if case["case"].startswith(begin))


def events(case: Any) -> list[Any]:
    result = normalise(json.dumps(case).encode(), NOW)
    assert "error" not in result, result
    return result["events"]  # type: ignore[return-value]


def at(frame: Any, *path: str | int) -> Any:
    for step in path:
        frame = frame[step]
    return frame


FILLED = [
    ("okx: spot limit buy filled", ("data", 0), "accFillSz", {}),
    ("bybit: spot limit buy filled", ("data", 0), "cumExecQty", {}),
    ("kucoin: spot limit terminal filled/done", ("data",), "filledSize", {}),
    ("bitget: spot limit filled", ("data", 0), "accBaseVolume", {}),
    ("bitget: linear market filled", ("data", 0), "accBaseVolume", {}),
    ("bitget: unified account: market order filled", ("data", 0), "cumExecQty", {}),
    ("kucoin: unified account: futures order filled", ("d",), "fS", {}),
    ("coinbase: limit sell filled", ("events", 0, "orders", 0), "cumulative_quantity", {}),
    ("kraken: spot limit buy acknowledged", ("data", 0), "cum_qty", {"exec_type": "filled", "order_status": "filled"}),
]


@pytest.mark.parametrize("value", [None, "0"])
@pytest.mark.parametrize(("name", "place", "figure", "changes"), FILLED, ids=[row[0] for row in FILLED])
def test_filled_without_a_filled_size_is_not_told(
    name: str, place: tuple[str | int, ...], figure: str, changes: dict[str, Any], value: str | None
) -> None:
    case = golden(name)
    row = at(case["frame"], *place)
    row |= changes
    if not changes:
        (told,) = events(case)
        assert told["orderStatus"] == "FILLED"
    row[figure] = value
    case["context"].pop("prior_frames", None)
    assert events(case) == []


@pytest.mark.parametrize("value", [None, "", "0"])
@pytest.mark.parametrize(
    ("name", "place", "figures"),
    [
        ("okx: linear market order filled", ("data", 0), ["avgPx"]),
        ("bybit: inverse market order filled", ("data", 0), ["cumExecValue"]),
        ("bitget: linear market filled", ("data", 0), ["priceAvg"]),
        ("bitget: unified account: market order filled", ("data", 0), ["avgPrice", "cumExecValue"]),
        ("kucoin: unified account: futures order filled", ("d",), ["aP"]),
        ("coinbase: market buy sized in quote, filled", ("events", 0, "orders", 0), ["avg_price", "filled_value"]),
    ],
)
def test_filled_at_no_price_is_not_told_at_the_price_of_zero(
    name: str, place: tuple[str | int, ...], figures: list[str], value: str | None
) -> None:
    case = golden(name)
    assert [event["orderStatus"] for event in events(case)] == ["FILLED"]
    at(case["frame"], *place).update(dict.fromkeys(figures, value))
    assert events(case) == []


def test_a_kraken_order_filled_after_an_execution_that_was_not_told_is_not_filled_with_a_part() -> None:
    case = golden("kraken: spot limit order partially filled")
    order_id = case["frame"]["data"][0]["order_id"]
    end = {"order_id": order_id, "exec_type": "filled", "order_status": "filled", "timestamp": "2026-09-14T08:25:41Z"}
    case["context"]["prior_frames"].append(case["frame"])
    case["frame"] = {"channel": "executions", "type": "update", "data": [end], "sequence": 6}
    assert events(case) == []
    case["frame"]["data"] = [end | {"cum_qty": 0.42}]
    assert [event["orderStatus"] for event in events(case)] == ["FILLED"]


@pytest.mark.parametrize("figure", ["qty", "price"])
def test_a_fill_of_kraken_futures_without_a_figure_costs_itself(figure: str) -> None:
    case = golden("kraken: futures two fills of two orders")
    case["frame"]["fills"][0][figure] = None
    (told,) = events(case)
    assert told["orderId"] == case["frame"]["fills"][1]["order_id"]


def test_a_match_of_kucoin_without_a_price_is_no_fill_at_the_price_of_zero() -> None:
    case = golden("kucoin: spot limit maker partial fill")
    whole = events(case)
    case["frame"]["data"]["matchPrice"] = None
    assert events(case) == whole  # by its own limit price, as for every fill that was not seen


def test_a_futures_wallet_of_bitget_without_equity_has_nothing_below_zero_locked() -> None:
    case = golden("bitget: linear account push")
    case["frame"]["data"][0] |= {"equity": None, "frozen": "5.25"}
    ((balance,),) = (event["balances"] for event in events(case))
    assert balance["locked"] == "5.25"


@pytest.mark.parametrize("side", ["None", ""])
def test_a_side_that_bybit_does_not_tell_is_not_guessed(side: str) -> None:
    case = golden("bybit: spot limit buy filled")
    case["frame"]["data"][0]["side"] = side
    assert events(case) == []


def test_a_price_of_the_future_is_not_told_by_normalise_as_it_is_not_by_the_service() -> None:
    case = golden("binance: spot all-market mini ticker")
    rows = case["frame"]["data"]
    rows[0]["E"] *= 1000  # microseconds
    assert [event["symbol"] for event in events(case)] == [row["s"] for row in rows[1:]]


FREE = [
    ("bitget: spot account", ("data", 0), "available"),
    ("bitget: linear account push", ("data", 0), "available"),
    ("bitget: unified account: coin balances", ("data", 0, "coin", 0), "available"),
    ("bybit: wallet after a spot order", ("data", 0, "coin", 0), "walletBalance"),
    ("kucoin: spot balance after an order hold", ("data",), "available"),
    ("kucoin: linear wallet push (walletBalance.change)", ("data",), "availableBalance"),
    ("kucoin: unified account: balance push", ("d",), "a"),
]


@pytest.mark.parametrize("value", [None, "absent"])
@pytest.mark.parametrize(("name", "place", "figure"), FREE, ids=[row[0] for row in FREE])
def test_a_balance_whose_free_amount_is_not_told_is_not_told_as_zero(
    name: str, place: tuple[str | int, ...], figure: str, value: str | None
) -> None:
    case = golden(name)
    told = {row["asset"] for event in events(case) for row in event["balances"]}
    row = at(case["frame"], *place)
    row[figure] = None
    if value == "absent":
        del row[figure]
    left = [one for event in events(case) for one in event["balances"]]
    assert len(told) - len(left) == 1, left
