"""Rows of Kraken's derivatives, field by field: answers of REST, fills of one moment, wallets, positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import UNSET

from exchanges._adapter import Emit, Instant, Note, Output, Resume, Seen
from exchanges._times import rfc3339
from exchanges.events import Balance, PositionUpdate
from exchanges.kraken import _rows_futures_rest as rest
from exchanges.kraken._rows_futures import UNKNOWN_SIDE, OrderBody
from exchanges.kraken._rows_futures_rest import History, Past
from tests.unit.exchanges import test_kraken_futures as futures
from tests.unit.exchanges.driver import frame, of
from tests.unit.exchanges.test_kraken_futures import WALL, Futures, body, book, fill, fills, good
from tests.unit.exchanges.test_kraken_unified_account import held, joined, recorded

SINCE = WALL - 60_000
D = Decimal


def account(resume: Resume | None = None) -> Futures:
    drive = Futures(resume)
    drive.live()
    return drive


# --- questions of REST ---


def test_questions_go_where_they_are_documented_and_weigh_what_they_cost() -> None:
    calls = [
        rest.open_orders_call("R"), rest.accounts_call("R"), rest.fills_call("R"), rest.fills_call("R", WALL, page=2),
        rest.status_call("R", ["a", "b"]), rest.history_call("R", 7), rest.history_call("R", 7, "t k", page=3),
        rest.history_call("R", 7, context="one"),
    ]  # fmt: skip
    v3 = "R/derivatives/api/v3"
    assert [(call.tag, call.method, call.pool, call.weight, call.url, call.body, call.context) for call in calls] == [
        ("open orders", "GET", "futures", 2, f"{v3}/openorders", None, None),
        ("balances", "GET", "futures", 2, f"{v3}/accounts", None, None),
        ("fills", "GET", "futures", 2, f"{v3}/fills", None, 1),
        ("fills", "GET", "futures", 25, f"{v3}/fills?lastFillTime={rfc3339(WALL).replace(':', '%3A')}", None, 2),
        ("order status", "POST", "futures", 1, f"{v3}/orders/status", "orderIds=a&orderIds=b", ("a", "b")),
        ("order history", "GET", "history", 1, "R/api/history/v2/orders?since=7&sort=asc", None, 1),
        ("order history", "GET", "history", 1,
         "R/api/history/v2/orders?since=7&sort=asc&continuation_token=t+k", None, 3),
        ("order history", "GET", "history", 1, "R/api/history/v2/orders?since=7&sort=asc", None, "one"),
    ]  # fmt: skip


# --- answers of REST ---


def test_an_open_order_is_read_whole() -> None:
    row = {"order_id": "o", "symbol": "PF_XBTUSD", "side": "Sell", "orderType": "lmt", "limitPrice": 91250.5,
           "stopPrice": 90000, "unfilledSize": 0.25, "filledSize": 0.1, "receivedTime": rfc3339(SINCE),
           "lastUpdateTime": rfc3339(WALL), "cliOrdId": "camel", "cli_ord_id": "snake"}  # fmt: skip
    bodies, bad = rest.read_open_orders(frame(good(openOrders=[row, 7, {"order_id": "x", "symbol": "S"}])))
    assert bodies == [
        OrderBody("o", "PF_XBTUSD", 1, D("0.25"), D("0.1"), SINCE, WALL, D("91250.5"), D(90000), "limit", "camel"),
        OrderBody("x", "S", UNKNOWN_SIDE, time=0, last_update_time=0),
    ]
    assert bad == 1


@pytest.mark.parametrize(
    ("kind", "told"), [("lmt", "LIMIT"), ("limit", "LIMIT"), ("post", "LIMIT"), ("ioc", "LIMIT"), ("stp", "MARKET"),
                       ("take_profit", "MARKET"), ("mkt", "MARKET"), (None, "LIMIT")],
)  # fmt: skip
def test_the_kind_of_an_open_order_that_a_gap_finds_is_that_of_its_word(kind: str | None, told: str) -> None:
    row = futures.open_order(0.35, 0, orderType=kind)
    outputs, _ = futures.repaired(Futures(Resume(since_ms=WALL - 100_000)), {"open orders": [good(openOrders=[row])]})
    (report,) = futures.reports(outputs)
    assert (report.order_type, report.side, report.order_status) == (told, "BUY", "NEW")


def test_a_fill_is_read_whole() -> None:
    row = {"fill_id": "f", "order_id": "o", "symbol": "PF_XBTUSD", "side": "sell", "size": 0.1, "price": 91250.5,
           "fillTime": rfc3339(WALL), "fillType": "taker", "cliOrdId": "D-RO-1"}  # fmt: skip
    bare = {name: row[name] for name in ("fill_id", "order_id", "symbol", "size", "price", "fillTime")}
    (sold, bought), bad = rest.read_fills(frame(good(fills=[row, bare | {"side": "buy"}, bare])))
    assert (sold.fill_id, sold.order_id, sold.instrument, sold.buy) == ("f", "o", "PF_XBTUSD", False)
    assert (sold.qty, sold.price, sold.time) == (D("0.1"), D("91250.5"), WALL)
    assert (sold.cli_ord_id, sold.fill_type, sold.order_type) == ("D-RO-1", "taker", None)
    assert (bought.buy, bought.cli_ord_id, bought.fill_type, bad) == (True, None, None, 1)


@pytest.mark.parametrize(
    ("status", "ended"),
    [("FULLY_EXECUTED", True), ("REJECTED", True), ("CANCELLED", True), ("TRIGGER_ACTIVATION_FAILURE", True),
     ("ENTERED_BOOK", False), ("TRIGGER_PLACED", False), (None, False)],
)  # fmt: skip
def test_the_status_of_an_order_is_read_whole(status: str | None, ended: bool) -> None:
    order = {"orderId": "o", "symbol": "PF_XBTUSD", "side": "sell", "quantity": 0.35, "filled": 0.1,
             "limitPrice": 91250, "timestamp": rfc3339(SINCE), "lastUpdateTimestamp": rfc3339(WALL),
             "cliOrdId": "D-RO-1"}  # fmt: skip
    bare = {"orderId": "x", "symbol": "PF_ETHUSD"}
    rows = [{"order": order, "status": status}, {"order": bare, "status": status}, {"status": status}]
    found, bad = rest.read_statuses(frame(good(orders=rows)))
    assert found == {
        "o": Past("o", "PF_XBTUSD", 1, D("0.35"), D("0.1"), D(91250), "D-RO-1", SINCE, WALL, "", ended),
        "x": Past("x", "PF_ETHUSD", UNKNOWN_SIDE, D(0), D(0), D(0), "", 0, 0, "", ended),
    }
    assert bad == 1


def past(name: str, at: int | None = WALL, **fields: object) -> dict[str, Any]:
    order = {"uid": "o", "tradeable": "PF_XBTUSD", "direction": "Buy", "quantity": "0.35", "filled": "0.1",
             "limitPrice": "91250", "orderType": "Limit", "clientId": "D-RO-1", "timestamp": SINCE,
             "lastUpdateTimestamp": WALL - 1, **fields}  # fmt: skip
    return {"event": {name: {"order": order}}, "timestamp": at}


def states(*elements: object, **more: object) -> History:
    return rest.read_history(frame({"elements": list(elements), **more}))


def test_a_state_of_the_history_is_read_whole() -> None:
    history = states(past("OrderPlaced"), 7, {"event": {"Other": {}}}, continuationToken="next")
    told = Past("o", "PF_XBTUSD", 0, D("0.35"), D("0.1"), D(91250), "D-RO-1", SINCE, WALL - 1, "limit", False)
    assert history == History([told], "next", 1)
    bare = {"event": {"OrderPlaced": {"order": {"uid": "x"}}}}
    assert states(bare, continuationToken=None) == History(
        [Past("x", "", UNKNOWN_SIDE, D(0), D(0), D(0), "", 0, 0, "", False)], "", 0
    )
    assert rest.read_history(b"{}") == History([], "", 0)


def test_an_edit_of_the_history_tells_the_order_after_it() -> None:
    element = {"event": {"OrderUpdated": {"order": {"uid": "before"}, "newOrder": {"uid": "after"}}}}
    assert [state.order_id for state in states(element).states] == ["after"]


@pytest.mark.parametrize(
    ("name", "ended"),
    [("OrderCancelled", True), ("OrderRejected", True), ("OrderPlaced", False), ("OrderUpdated", False)],
)
def test_only_what_removes_an_order_ends_it(name: str, ended: bool) -> None:
    assert [state.ended for state in states(past(name)).states] == [ended]


@pytest.mark.parametrize(("at", "updated"), [(WALL, WALL), (None, 0)])
def test_a_state_without_a_time_of_its_own_has_that_of_its_event(at: int | None, updated: int) -> None:
    (state,) = states(past("OrderPlaced", at, lastUpdateTimestamp=None, timestamp=None)).states
    assert (state.created_ms, state.updated_ms) == (0, updated)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("Limit", "limit"), ("Post", "limit"), ("Market", "market"), ("mkt", "market"), ("Unknown", ""), (None, "")],
)
def test_the_kind_of_a_past_order_is_kept_where_the_history_does_not_know_it(kind: str | None, told: str) -> None:
    (state,) = states(past("OrderPlaced", orderType=kind)).states
    assert state.order_type == told


def test_a_past_order_has_open_what_was_not_filled() -> None:
    state = Past("o", "PF_XBTUSD", 1, D("0.35"), D("0.1"), D(91250), "", SINCE, WALL, "market")
    assert state.body() == OrderBody(
        "o", "PF_XBTUSD", 1, D("0.25"), D("0.1"), SINCE, WALL, D(91250), None, "market", None
    )
    over = state._replace(filled=D("0.4"), client_id="D-RO-1").body()
    assert (over.qty, over.filled, over.cli_ord_id) == (D(0), D("0.4"), "D-RO-1")


def test_the_wallet_of_an_answer_is_told_as_on_the_stream() -> None:
    currencies = {"XBT": {"quantity": 0.3, "available": 0.21}, "USD": {"quantity": 10}, "EUR": {"available": 1},
                  "ODD": {"quantity": "x"}, "GBP": {"quantity": 2, "available": "NaN"}}  # fmt: skip
    balances, bad = rest.read_flex(frame(good(accounts={"flex": {"currencies": currencies}})))
    assert balances == [
        Balance(asset="BTC", free="0.3", locked="0", venue_available="0.21"),
        Balance(asset="USD", free="10", locked="0"),
        Balance(asset="GBP", free="2", locked="0"),
    ]
    assert bad == 1
    assert rest.read_flex(frame(good(accounts={"cash": {}}))) == ([], 0)
    assert rest.read_flex(frame(good(accounts={"flex": {}}))) == ([], 0)


# --- frames of the futures socket ---


def test_an_order_whose_frame_has_no_times_keeps_the_one_at_which_it_began() -> None:
    drive = account()
    drive.frame(book("new_placed_order_by_user", body()))
    outputs = drive.frame(book("edited_by_user", body(0.5, time=None, last_update_time=None)))
    outputs += drive.frame(book("cancelled_by_user", cancel=True))
    placed, cancelled = futures.reports(outputs)
    assert (placed.creation_time, placed.event_time) == (WALL, WALL)
    assert (cancelled.order_status, cancelled.creation_time) == ("CANCELED", WALL - 60_000)


@pytest.mark.parametrize("numbers", [(7, 6), (1, None), (0, -1)])
def test_fills_of_one_moment_are_told_by_their_numbers(numbers: tuple[int | None, int | None]) -> None:
    rows = [
        fill(qty, None, number, seq=seq, time=WALL)
        for number, (qty, seq) in enumerate(zip((0.25, 0.1), numbers, strict=True), 1)
    ]
    drive = account()
    drive.frame(book("new_placed_order_by_user", body()))
    assert [step[1] for step in futures.steps(drive.frame(fills(*rows)))] == ["0.1", "0.35"]


def test_fills_of_one_moment_whose_numbers_say_nothing_are_told_as_they_come() -> None:
    rows = [fill(0.1, None, 1, seq=0, time=WALL), fill(0.25, None, 2, seq=None, time=WALL)]
    drive = account()
    drive.frame(book("new_placed_order_by_user", body()))
    assert [step[1] for step in futures.steps(drive.frame(fills(*rows)))] == ["0.1", "0.35"]


def feed(*rows: object, **fields: object) -> dict[str, object]:
    return {"feed": "open_positions", "account": "A", "positions": list(rows), **fields}


def told(outputs: list[Output]) -> list[PositionUpdate]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, PositionUpdate)]


def test_a_position_of_the_futures_feed_is_read_whole() -> None:
    row = {"instrument": "PF_XBTUSD", "balance": -0.5, "entry_price": 91000, "mark_price": 91250.5,
           "liquidation_threshold": 120000, "pnl": -125.25, "max_fixed_leverage": 5}  # fmt: skip
    short, bare = told(account().frame(feed(row, {"instrument": "PF_ETHUSD", "balance": 2}, timestamp=WALL - 5)))
    assert (short.symbol, short.position_side, short.contracts, short.quantity) == ("BTC-USD", "BOTH", "-0.5", "-0.5")
    assert (short.entry_price, short.mark_price, short.liquidation_price) == ("91000", "91250.5", "120000")
    assert (short.leverage, short.margin_type, short.unrealized_pnl) == ("5", "isolated", "-125.25")
    assert (short.event_time, bare.event_time) == (WALL - 5, WALL - 5)
    assert (bare.contracts, bare.margin_type, bare.leverage, bare.entry_price) == ("2", "cross", UNSET, UNSET)


@pytest.mark.parametrize("fields", [{}, {"timestamp": None}, {"timestamp": 0}])
def test_positions_without_a_time_are_told_at_ours(fields: dict[str, object]) -> None:
    (position,) = told(account().frame(feed({"instrument": "PF_XBTUSD", "balance": 1}, **fields)))
    assert position.event_time == WALL


def test_a_message_without_positions_or_of_other_contracts_tells_none() -> None:
    drive = account()
    assert told(drive.frame(feed({"instrument": "PI_XBTUSD", "balance": 1}))) == []
    outputs = drive.frame({"feed": "open_positions", "account": "A"})
    assert not told(outputs) + of(Note, outputs)


# --- frames of the unified socket ---


@pytest.mark.parametrize(
    ("side", "size", "quantity"),
    [("short", 0.5, "-0.5"), ("sell", 0.5, "-0.5"), ("Sell", -0.5, "-0.5"), ("long", 0.5, "0.5"), ("", -0.5, "-0.5")],
)
def test_a_short_size_of_the_unified_socket_is_signed_or_named_by_its_side(
    side: str, size: float, quantity: str
) -> None:
    (position,) = told(joined().frame(held({"symbol": "PF_XBTUSD", "size": size, "side": side, "entry_price": 61000})))
    assert (position.symbol, position.contracts, position.quantity) == ("BTC-USD", quantity, quantity)
    assert (position.entry_price, position.event_time) == ("61000", joined().now.wall_ms)


def test_a_position_may_name_its_contract_as_symbol_or_instrument() -> None:
    (position,) = told(joined().frame(held({"instrument": "PF_XBTUSD", "size": 1}, {"size": 1})))
    assert (position.symbol, position.entry_price) == ("BTC-USD", UNSET)


@pytest.mark.parametrize(
    ("kind", "wallet"),
    [("spot", "flex"), ("earn", "flex"), ("funding", "flex"), ("derivatives", "cash"), ("derivatives", "Holding-1"),
     ("derivatives", "single_collateral"), ("derivatives", "FI_XBTUSD")],
)  # fmt: skip
def test_other_wallets_of_the_unified_socket_tell_nothing(kind: str, wallet: str) -> None:
    entry = {"asset": "EUR", "wallet_type": kind, "wallet_id": wallet, "balance": 3}
    outputs = joined().frame({"channel": "balances", "type": "update", "data": [entry]})
    assert not of(Emit, outputs) + of(Note, outputs)


def test_a_wallet_without_a_balance_is_not_told_as_empty() -> None:
    entries = [
        {"asset": "EUR", "wallet_type": "derivatives", "wallet_id": "flex"},
        {"asset": "GBP", "wallets": []},
        {"asset": "XBT", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 0},
    ]
    outputs = joined().frame({"channel": "balances", "type": "update", "data": entries})
    assert futures.positions(outputs) == [[Balance(asset="BTC", free="0", locked="0")]]


def test_of_several_rows_of_an_asset_the_last_is_told() -> None:
    entries = [
        {"asset": asset, "wallet_type": "derivatives", "wallet_id": "flex", "balance": balance}
        for asset, balance in (("EUR", 1), ("GBP", 2), ("EUR", 3))
    ]
    outputs = joined().frame({"channel": "balances", "type": "update", "data": entries})
    assert {one.asset: one.free for one in futures.positions(outputs)[0]} == {"EUR": "3", "GBP": "2"}


def margin(currencies: object, kind: str = "multi_collateral") -> dict[str, object]:
    return {"channel": "margin", "type": kind, "data": currencies}


@pytest.mark.parametrize("available", [None, -0.5, -2, "x"])
def test_an_availability_that_says_nothing_is_not_told(available: object) -> None:
    assert joined().frame(margin({"currencies": {"USD": {"available": available}}})) == [Seen("u1")]


@pytest.mark.parametrize(("available", "free"), [(0, "0"), (0.5, "0.5"), (4, "4")])
def test_an_availability_is_told_beside_its_balance(available: float, free: str) -> None:
    usd, eur = {"available": available}, {"available": 9}
    outputs = joined().frame(margin([{"currencies": {"EUR": eur}}, {"currencies": {"ODD": 7, "USD": usd}}]))
    assert futures.positions(outputs) == [[Balance(asset="USD", free="5", locked="0", venue_available=free)]]
    assert not of(Note, outputs)


def test_an_availability_that_did_not_change_is_told_once() -> None:
    drive = joined()
    one = margin({"currencies": {"USD": {"available": 4}}})
    assert len(futures.positions(drive.frame(one))) == 1
    drive.mono += 60
    assert drive.frame(one) == [Seen("u1")]


def test_a_balance_that_changes_keeps_the_availability_that_was_told() -> None:
    drive = joined()
    drive.frame(margin({"currencies": {"USD": {"available": 4}}}))
    drive.mono += 60
    entry = {"asset": "USD", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 8}
    outputs = drive.frame({"channel": "balances", "type": "update", "data": [entry]})
    assert futures.positions(outputs) == [[Balance(asset="USD", free="8", locked="0", venue_available="4")]]


def test_recorded_balances_are_told_as_often_as_they_were_recorded() -> None:
    adapter = recorded()
    entry = {"asset": "EUR", "wallet_type": "derivatives", "wallet_id": "flex", "balance": 8}
    told_twice = [
        futures.positions(
            adapter.received(frame({"channel": "balances", "type": "update", "data": [entry]}), Instant(0.0, WALL))
        )
        for _ in range(2)
    ]
    assert told_twice == [[[Balance(asset="EUR", free="8", locked="0")]]] * 2
