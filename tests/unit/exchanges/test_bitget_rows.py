"""Bitget's figures, fees, coins and positions, field by field, and which of its orders were forced."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
import pytest

from exchanges._positions import Read
from exchanges.bitget import _positions, _rows, _rows_unified
from exchanges.bitget._report import OrderMemory
from exchanges.bitget._rows import UnifiedOrder
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges.driver import json_answer

# --- figures ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "0"),
        ("", "0"),
        ("odd", "0"),
        ("0", "0"),
        ("0.000", "0"),
        (0, "0"),
        ("0.50", "0.50"),
        (2, "2"),
        (-0.5, "-0.5"),
    ],
)
def test_a_figure_of_bitget_is_plain_text(value: _rows.Number, text: str) -> None:
    assert _rows.text(value) == text


def fees(detail: object) -> list[tuple[str | None, object]]:
    return [(fee.fee_coin, fee.fee) for fee in _rows.fees_of(msgspec.Raw(json.dumps(detail).encode()))]


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        ([{"feeCoin": "USDT", "fee": "-0.5"}], [("USDT", "-0.5")]),
        (
            [
                {"feeCoin": "USDT", "fee": "0"},
                {"feeCoin": "", "fee": "1"},
                {"fee": "1"},
                {"feeCoin": "BGB", "fee": "2"},
            ],
            [("BGB", "2")],
        ),
        (
            json.dumps(
                {"BGB": {"feeCoinCode": "BGB", "totalFee": "-1"}, "newFees": {"feeCoinCode": "X", "totalFee": "5"}}
            ),
            [("BGB", "-1")],
        ),
        ("", []),
        ("no json", []),
        (None, []),
    ],
)
def test_fees_are_read_in_either_shape_and_no_others_are_told(detail: object, told: list[tuple[str, str]]) -> None:
    assert fees(detail) == told


@pytest.mark.parametrize(
    "coin",
    [{"balance": "1"}, {"equity": "1"}, {"equity": "1", "balance": "1"}, {"available": "", "balance": "1"}],
)
def test_a_coin_with_a_total_and_nothing_available_is_not_told_as_nothing(coin: dict[str, str]) -> None:
    account = _rows.UnifiedAccount(coin=msgspec.Raw(json.dumps([{"coin": "USDT", **coin}]).encode()))
    coins, odd = _rows.coins_of(account)
    assert (coins, odd[0]) == ([], 1)


def test_a_coin_without_any_figure_and_one_with_all_are_coins() -> None:
    whole = {"coin": "BTC", "available": "1", "balance": "2", "equity": "2"}
    account = _rows.UnifiedAccount(coin=msgspec.Raw(json.dumps([{"coin": "USDT"}, whole]).encode()))
    coins, odd = _rows.coins_of(account)
    assert ([coin.coin for coin in coins], bool(odd)) == (["USDT", "BTC"], False)


def test_coins_that_are_no_list_are_one_thing_that_can_not_be_read() -> None:
    coins, odd = _rows.coins_of(_rows.UnifiedAccount(coin=msgspec.Raw(b'"odd"')))
    assert (coins, odd[0]) == ([], 1)


# --- unified orders ---


def order(**fields: object) -> UnifiedOrder:
    values = {"category": "USDT-FUTURES", "symbol": "BTCUSDT", "orderId": "1", "orderStatus": "filled", **fields}
    return msgspec.convert(values, UnifiedOrder)


@pytest.mark.parametrize(
    "word",
    ["normal", "delivery", "delivery_close_long", "delivery_close_short", "off_close", "mmr_stop_loss_market",
     "back_contract", "strategy_x", "plan_x", "stop_x"],
)  # fmt: skip
def test_an_order_of_an_ordinary_kind_was_not_forced(word: str) -> None:
    assert not _rows_unified.perhaps_forced(order(delegateType=word))
    assert not _rows_unified.forced(order(delegateType=word))


@pytest.mark.parametrize("word", ["market_risk", "reduce_offset_delegate", "strategyx", "planx", "stopx", "unheard_of"])
def test_an_order_of_another_kind_may_have_been_forced(word: str) -> None:
    assert _rows_unified.perhaps_forced(order(delegateType=word))


def test_the_average_of_an_order_is_told_or_made_of_its_value_or_the_last_one_known() -> None:
    memory = OrderMemory()
    open_ = _rows_unified.coin_sizes(order(qty="2", price="90", cumExecQty="0"), memory, money=False)
    assert (open_.price, open_.quantity, open_.filled, open_.quote) == (90, "2", 0, 0)
    half = _rows_unified.coin_sizes(order(qty="2", price="90", cumExecQty="1", cumExecValue="95"), memory, money=False)
    assert (half.price, half.filled, half.quote) == (95, 1, 95)
    told = _rows_unified.coin_sizes(
        order(qty="2", cumExecQty="1", cumExecValue="95", avgPrice="96"), OrderMemory(), money=False
    )
    assert (told.price, told.quote) == (96, 95)
    later = _rows_unified.coin_sizes(order(qty="2", price="90", cumExecQty="2"), memory, money=True)
    assert (later.price, later.quantity, later.quote) == (95, "2", 190)


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"qty": "4", "cumExecQty": "2", "cumExecValue": "0.5"}, "4"),
        ({"qty": "4.5", "cumExecQty": "2", "cumExecValue": "200"}, "100"),
        ({"qty": "4", "cumExecQty": "1.5", "cumExecValue": "150"}, "100"),
    ],
)
def test_what_an_inverse_order_was_filled_for_is_taken_out_of_its_value(fields: dict[str, str], price: str) -> None:
    """Whole sizes are contracts, others are coins."""
    sizes = _rows_unified.contract_sizes(order(**fields), OrderMemory())
    assert sizes is not None
    assert sizes.price == Decimal(price)


def test_an_inverse_order_whose_figures_are_all_whole_tells_no_price() -> None:
    assert _rows_unified.contract_sizes(order(qty="4", cumExecQty="2", cumExecValue="8"), OrderMemory()) is None


# --- positions ---

TABLE = SymbolTable(
    [
        Instrument(wire="BTCUSDT", pair="BTCUSDT", kind="USDT-FUTURES"),
        Instrument(wire="ODDUSDT", pair="ODDPAIR", kind=""),
        Instrument(wire="COINX", pair="PAIRX", kind="USDC-FUTURES"),
    ]
)


@pytest.mark.parametrize(
    ("wire", "table", "product"),
    [
        ("BTCUSDT", TABLE, "USDT-FUTURES"),
        ("COINX", TABLE, "USDC-FUTURES"),
        ("PAIRX", TABLE, "USDC-FUTURES"),
        ("ODDUSDT", TABLE, "USDT-FUTURES"),
        ("BTCPERP", EMPTY, "USDC-FUTURES"),
        ("ETHUSDT", EMPTY, "USDT-FUTURES"),
        ("BTCUSD", EMPTY, "COIN-FUTURES"),
    ],
)
def test_the_product_of_a_symbol_is_the_lists_or_that_of_its_name(wire: str, table: SymbolTable, product: str) -> None:
    assert _positions.product_of(wire, table) == product


def read(*rows: object, unified: bool = False, products: tuple[str, ...] = ("USDT-FUTURES",)) -> Read:
    data: object = {"list": list(rows)} if unified else list(rows)
    answer = json_answer({"code": "00000", "data": data})
    return _positions.read_positions(answer, products, TABLE, 7, unified=unified)


def test_a_row_that_names_its_product_is_of_that_one() -> None:
    row = {"symbol": "BTCUSDT", "total": "1"}
    assert len(read(row).positions) == 1
    assert len(read({**row, "category": "usdt-futures"}).positions) == 1
    assert not read({**row, "category": "usdc-futures"}).positions


@pytest.mark.parametrize(("mode", "told"), [("crossed", "cross"), ("isolated", "isolated"), ("Isolated", "isolated")])
def test_a_position_of_bitget_tells_its_margin(mode: str, told: str) -> None:
    (position,) = read({"symbol": "BTCUSDT", "total": "1", "marginMode": mode}).positions
    assert position.margin_type == told


@pytest.mark.parametrize("data", [None, {"list": []}, {"list": None}])
def test_a_unified_account_without_positions_has_none(data: object) -> None:
    answer = json_answer({"code": "00000", "data": data})
    told = _positions.read_positions(answer, ("USDT-FUTURES",), TABLE, 7, unified=True)
    assert (list(told.positions), told.failed) == ([], "")
