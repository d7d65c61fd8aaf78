"""What WhiteBIT says seldom: odd ends, fees of many deals, full pages and odd rows of a gap, refusals of prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import UNSET

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Emit,
    EmitCandle,
    EmitTickers,
    Fail,
    FailKind,
    Instant,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    TickerSubscription,
)
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.whitebit import VENUE
from exchanges.whitebit._gap import history_rows
from exchanges.whitebit._orders import Orders, Row, decode_row, final_status, may_go_on, rest_row, time_ms
from tests.unit.exchanges.driver import after, frame, json_answer, of, only, path, sent, setup
from tests.unit.exchanges.test_whitebit import NOW, acknowledged, ended, joined, pending, refused, reports, row, table
from tests.unit.exchanges.test_whitebit_modify import open_row

SINCE = Resume(since_ms=NOW.wall_ms - 600_000)

# --- orders ---


def test_an_order_is_told_with_all_that_its_frame_says() -> None:
    user, _ = joined()
    part = {"deal_stock": "0.4", "deal_money": "24000", "left": "0.6", "mtime": 1795300020.5}
    (event,) = reports(user.received(pending(2, **part), NOW))
    assert (event.symbol, event.side, event.order_type, event.order_status) == (
        "BTC-USDT", "BUY", "LIMIT", "PARTIALLY_FILLED",
    )  # fmt: skip
    assert (event.order_id, event.new_client_order_id, event.original_client_order_id) == ("7", "c", "c")
    assert (event.price, event.quantity) == ("60000", "1")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0.4", "24000")
    assert (event.creation_time, event.event_time, event.order_time) == (
        1795300010250, 1795300020500, 1795300020500,
    )  # fmt: skip
    assert event.unique_message_id == "BTC_USDT:7:PARTIALLY_FILLED:1:61000:0.4:24000:1795300020500"
    assert event.liquidation is False


@pytest.mark.parametrize(
    ("fields", "price"),
    [
        ({"price": "0", "activation_price": "59000"}, "59000"),
        ({"price": "61000", "activation_price": "59000"}, "61000"),
        ({"price": None}, "0"),
        ({"deal_stock": "0.5", "deal_money": "0"}, "61000"),
    ],
)
def test_the_price_is_the_limit_or_the_trigger_until_something_is_filled(fields: dict[str, Any], price: str) -> None:
    user, _ = joined()
    assert reports(user.received(pending(1, **fields), NOW))[0].price == price


@pytest.mark.parametrize(
    ("kind", "price", "told"),
    [
        (1, "1", "LIMIT"), (2, "0", "MARKET"), (3, "1", "LIMIT"), (4, "0", "MARKET"), (202, "0", "MARKET"),
        (0, "1", "LIMIT"), (0, "0", "MARKET"),
    ],
)  # fmt: skip
def test_types_have_their_names_and_a_row_without_one_goes_by_its_price(kind: int, price: str, told: str) -> None:
    user, _ = joined()
    assert reports(user.received(pending(1, type=kind, price=price), NOW))[0].order_type == told


@pytest.mark.parametrize(("side", "told"), [(1, "SELL"), (2, "BUY"), ("sell", "SELL"), ("buy", "BUY")])
def test_sides_have_their_names_in_numbers_and_in_words(side: object, told: str) -> None:
    user, _ = joined()
    assert reports(user.received(pending(1, side=side), NOW))[0].side == told


def test_an_order_without_a_client_id_or_a_time_is_told_under_its_own_id_and_now() -> None:
    user, _ = joined()
    (event,) = reports(user.received(pending(1, client_order_id="", ctime=None, mtime=None), NOW))
    assert (event.new_client_order_id, event.creation_time, event.event_time) == ("7", 0, NOW.wall_ms)


def a_row(**fields: Any) -> Row:
    return decode_row(frame(row(**fields)))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "CANCELED", "deal_stock": "1", "left": "0"}, "CANCELED"),
        ({"status": "FILLED", "deal_stock": "0.1"}, "FILLED"),
        ({"status": "FILLED", "deal_stock": "0"}, "status FILLED without an executed quantity"),
        ({"status": "PARTIALLY_FILLED", "deal_stock": "1", "left": "0"}, "CANCELED"),
        ({"status": "HALTED"}, "status HALTED, which no page lists"),
        ({"status": "", "deal_stock": "0.5", "left": "0"}, "FILLED"),
        ({"status": "OPEN", "deal_stock": "0.5", "left": "0"}, "FILLED"),
        ({"status": "NEW", "deal_stock": "0.5", "left": "0.5"}, "CANCELED"),
        ({"status": "", "deal_stock": "0.5", "left": None}, "CANCELED"),
        ({"status": "", "deal_stock": "0", "left": "0"}, "CANCELED"),
        ({"status": "", "deal_stock": "0.5", "left": "3", "type": 2}, "FILLED"),
        ({"status": "", "deal_stock": "0.5", "left": "3", "type": 4}, "FILLED"),
        ({"status": "", "deal_stock": "0.5", "left": "3", "type": 2, "side": 1}, "CANCELED"),
        ({"status": "OPEN", "deal_stock": "0.5", "left": "3", "type": 2}, "CANCELED"),
    ],
)
def test_what_an_end_is_follows_from_its_status_and_figures(fields: dict[str, Any], status: str) -> None:
    assert final_status(a_row(**fields)) == status


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({"status": "CANCELED"}, True),
        ({"status": "PARTIALLY_FILLED"}, True),
        ({"status": ""}, True),
        ({"status": "AUTO_CANCELED_USER_MARGIN"}, False),
        ({"status": "FILLED"}, False),
        ({"status": "CANCELED", "type": 2}, False),
        ({"status": "CANCELED", "type": 14}, False),
        ({"status": "CANCELED", "client_order_id": "liquidation_1"}, False),
    ],
)
def test_only_a_plain_cancel_may_be_half_of_a_modify(fields: dict[str, Any], may: bool) -> None:
    assert may_go_on(a_row(**fields)) is may


@pytest.mark.parametrize(
    ("fields", "liquidation"),
    [
        ({"source": "liquidation"}, True),
        ({"client_order_id": "liquidation_1"}, True),
        ({"client_order_id": "liquidation"}, False),
    ],
)
def test_a_liquidation_is_known_by_its_source_or_its_client_id(fields: dict[str, Any], liquidation: bool) -> None:
    user, _ = joined()
    assert reports(user.received(pending(1, **fields), NOW))[0].liquidation is liquidation


def test_times_are_cut_to_milliseconds_and_the_first_that_is_told_counts() -> None:
    assert time_ms(None, "0", 1795300010.2509) == 1795300010250
    assert time_ms("1.0009", 2) == 1000
    assert time_ms(None, 0, "-1") == 0


# --- fees ---

DEALT = {"left": "0", "deal_stock": "1", "deal_money": "60000", "status": "FILLED", "deal_fee": "60"}


def deal(number: int, amount: str = "0.5", fee: str = "0.1", asset: str = "USDT", order_id: int = 7) -> bytes:
    params = [number, 1795300010.5, "BTC_USDT", order_id, "60000", amount, fee, "c", 2, 2, asset]
    return frame({"id": None, "method": "deals_update", "params": params})


@pytest.mark.parametrize(
    ("deals", "end", "fee"),
    [
        ([deal(1), deal(2)], {}, ("0.2", "USDT")),
        ([deal(1), deal(1), deal(2)], {}, ("0.2", "USDT")),
        ([deal(1)], {}, (UNSET, UNSET)),
        ([deal(1), deal(2, asset="WBT")], {}, (UNSET, UNSET)),
        ([deal(1, fee="-0.1"), deal(2, fee="-0.1")], {}, (UNSET, UNSET)),
        ([], {}, (UNSET, UNSET)),
        ([], {"fee_asset": "BTC", "deal_fee": "0.001"}, ("0.001", "BTC")),
        ([], {"fee_asset": "BTC", "deal_fee": "0"}, (UNSET, UNSET)),
    ],
)
def test_a_fee_is_told_where_its_asset_and_all_of_it_are_known(
    deals: Sequence[bytes], end: dict[str, Any], fee: tuple[object, object]
) -> None:
    user, _ = joined()
    user.received(pending(1), NOW)
    for one in deals:
        user.received(one, NOW)
    event = ended(user, pending(3, **{**DEALT, **end}))
    assert (event.fee_paid, event.fee_asset) == fee


def test_a_perpetuals_fee_is_in_the_settle_coin() -> None:
    user, _ = joined("whitebitUsdm")
    event = ended(user, pending(3, **DEALT, market="BTC_PERP", type=7))
    assert (event.fee_paid, event.fee_asset) == ("60", "USDT")


@pytest.mark.parametrize(
    ("market", "kind", "owner"),
    [
        ("BTC_USDT", 1, "whitebit"),
        ("BTC_USDT", 0, "whitebit"),
        ("BTC_USDT", 7, ""),
        ("BTC_PERP", 7, "whitebitUsdm"),
        ("BTC_PERP", 1, "whitebitUsdm"),
    ],
)
def test_an_order_belongs_to_the_id_of_the_wallet_that_it_trades(market: str, kind: int, owner: str) -> None:
    one = a_row(market=market, type=kind)
    for exchange in ("whitebit", "whitebitUsdm"):
        orders = Orders(exchange, table)
        assert orders.ours(one) == (exchange == owner)
        assert orders.ours_market(market) == (market.endswith("_PERP") == (exchange == "whitebitUsdm"))


# --- REST rows ---


def test_a_row_of_rest_is_that_of_the_socket_in_other_words() -> None:
    listed = {
        "orderId": 7, "market": "BTC_USDT", "side": "sell", "type": "Stop Limit", "timestamp": 5.5, "dealStock": "0.5",
        "dealMoney": "30000", "dealFee": "1", "amount": "1", "left": "0.5", "price": "60000", "clientOrderId": "c",
        "activation_price": "59000", "feeAsset": "USDT", "mtime": 6, "ftime": 7, "status": "OPEN",
    }  # fmt: skip
    found = rest_row(frame(listed))
    assert (found.id, found.market, found.side, found.type, found.ctime) == (7, "BTC_USDT", "sell", 3, 5.5)
    assert (found.deal_stock, found.deal_money, found.deal_fee, found.fee_asset) == ("0.5", "30000", "1", "USDT")
    assert (found.amount, found.left, found.price, found.activation_price) == ("1", "0.5", "60000", "59000")
    assert (found.mtime, found.ftime, found.client_order_id, found.status) == (6, 7, "c", "OPEN")
    history = rest_row(frame({"id": 9, "side": "buy", "ctime": 4, "timestamp": 5, "type": "nobody knows"}), "ETH_USDT")
    assert (history.id, history.market, history.ctime, history.type) == (9, "ETH_USDT", 4, 0)
    for bad in ({"side": "buy", "market": "BTC_USDT"}, {"side": "buy", "id": 1}):
        with pytest.raises(ValueError, match="without an id or market"):
            rest_row(frame(bad))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("limit", 1), ("market", 2), ("stock market", 202), ("market stock", 202), ("stop limit", 3), ("stop market", 4),
        ("margin limit", 7), ("collateral limit", 7), ("margin market", 8), ("collateral market", 8),
        ("margin stop limit", 9), ("collateral stop limit", 9), ("margin stop market", 10),
        ("collateral trigger-stop-market", 10), ("margin normalization", 14),
    ],
)  # fmt: skip
def test_a_type_of_rest_has_the_number_that_the_socket_has_for_it(name: str, kind: int) -> None:
    assert rest_row(frame({"id": 1, "side": "buy", "type": name}), "BTC_USDT").type == kind


@pytest.mark.parametrize(
    ("body", "found", "bad"),
    [
        ({"BTC_USDT": [{"id": 1, "side": "buy"}, 7], "ETH_USDT": [{"id": 2, "side": "buy"}], "X": {}}, [1, 2], 2),
        ([], [], 0),
        ([{"id": 1}], [], 1),
    ],
)
def test_an_odd_row_of_the_history_costs_only_itself(body: object, found: list[int], bad: int) -> None:
    rows, odd = history_rows(frame(body))
    assert ([one.id for one in rows], odd) == (found, bad)


# --- gaps ---


def lists(answers: dict[str, Any], *orders: KnownOrder) -> tuple[list[ExecutionReport], tuple[str, ...], list[Call]]:
    """What a gap with these answers tells, by path (else nothing), and what was asked for."""
    user, outputs = joined(resume=Resume(since_ms=SINCE.since_ms, orders=orders))
    calls: list[Call] = []
    told: list[Output] = []
    todo = list(outputs)
    while todo:
        output = todo.pop(0)
        if not isinstance(output, Call):
            told.append(output)
            continue
        calls.append(output)
        given = answers.get(output.tag, [])
        reply = (
            given.pop(0) if isinstance(given, list) and given and isinstance(given[0], Answer) else json_answer(given)
        )
        todo += user.answered(output, reply, NOW)
    gap = [live.gap for live in of(Live, told) if live.gap is not None][-1]
    return reports(told), tuple(gap.missing), calls


def page_of(number: int) -> Answer:
    return json_answer([open_row(orderId=n, clientOrderId=f"c{n}") for n in range(number)])


@pytest.mark.parametrize(("number", "asked"), [(99, 1), (100, 2)])
def test_only_a_full_page_of_open_orders_has_another_behind_it(number: int, asked: int) -> None:
    told, missing, calls = lists({"open orders": [page_of(number), json_answer([])]})
    assert (len(told), missing) == (number, ())
    assert [call.context for call in calls if call.tag == "open orders"] == [0, 100][:asked]


def test_no_list_is_paged_for_ever_and_what_lies_deeper_is_named() -> None:
    _, missing, calls = lists({"open orders": [page_of(100) for _ in range(30)]})
    assert [call.tag for call in calls].count("open orders") == 20
    assert missing == ("open orders: more than 2000",)


def test_an_odd_row_of_a_list_is_named_and_costs_only_itself() -> None:
    odd = json_answer([7, open_row(orderId=1), {"side": "buy"}])
    told, missing, _ = lists({"open orders": [odd], "ended orders": [json_answer([{"id": 1}])]})
    assert ([str(one.order_id) for one in told], missing) == (
        ["1"], ("open orders: 2 that can't be read", "ended orders: 1 that can't be read"),
    )  # fmt: skip


def test_an_answer_of_another_shape_is_named() -> None:
    _, missing, _ = lists({"open orders": [json_answer({"no": "list"})]})
    assert missing == ("open orders: the answer is not understood",)


# --- wallets ---


def test_the_wallet_of_a_gap_is_told_and_what_of_it_is_odd_is_named() -> None:
    user, outputs = joined(resume=SINCE)
    rows = {"BTC": {"available": "0.5", "freeze": "0.1"}, "ETH": {"freeze": "1"}, "XRP": 7, "USDT": {"available": "5"}}
    told = []
    for call in of(Call, outputs):
        told += user.answered(call, json_answer(rows if call.tag == "balances" else []), NOW)
    event = only(AccountPosition, [emit.event for emit in of(Emit, told)])
    assert [(one.asset, one.free, one.locked) for one in event.balances] == [("BTC", "0.5", "0.1"), ("USDT", "5", "0")]
    gap = of(Live, told)[-1].gap
    assert gap is not None
    assert gap.missing == ("balances: 2 that can't be read",)


# --- price connections ---


def priced(*symbols: str) -> tuple[Any, list[dict[str, Any]]]:
    feed = VENUE.ticker(setup("whitebit", table()))
    feed.add(TickerSubscription(stream_id="t", exchange="whitebit", symbols=symbols), NOW)
    return feed, [one for one in sent(feed.connected(NOW)) if one["method"] != "ping"]


def price(feed: Any, figures: dict[str, Any], now: Instant = NOW, market: str = "BTC_USDT") -> list[Output]:
    return list(feed.received(frame({"id": None, "method": "market_update", "params": [market, figures]}), now))


def test_a_price_is_told_when_it_or_the_volume_changes_and_every_twenty_seconds() -> None:
    feed, (asked,) = priced("BTC_USDT")
    assert of(Live, feed.received(acknowledged(asked), NOW)) == [Live("t")]
    figures = {"last": "0.5", "volume": "7"}
    (ticker,) = only(EmitTickers, price(feed, figures)).tickers
    assert (ticker.symbol, ticker.price, ticker.best_ask, ticker.best_bid) == ("BTC-USDT", 0.5, 0.5, 0.5)
    assert (ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (7.0, 7.0, 7.0)
    assert price(feed, figures, after(NOW, 19.9)) == [Seen("t")]
    assert of(EmitTickers, price(feed, figures, after(NOW, 20.0)))
    assert of(EmitTickers, price(feed, {**figures, "volume": "8"}, after(NOW, 20.1)))
    assert of(EmitTickers, price(feed, {**figures, "last": "0.6"}, after(NOW, 20.2)))


@pytest.mark.parametrize("figures", [{"last": "0"}, {"last": None}, {"last": "x", "volume": "1"}, {}])
def test_a_market_without_a_price_is_only_a_sign_of_life(figures: dict[str, Any]) -> None:
    assert price(priced("BTC_USDT")[0], figures) == [Seen("t")]
    assert price(priced("BTC_USDT")[0], {"last": "1"}, market="NEW_USDT") == [Seen("t")]


def candle_feed(resume: int | None = None) -> tuple[Any, dict[str, Any]]:
    feed = VENUE.candle(setup("whitebit", table()))
    wanted = CandleSubscription(
        stream_id="c", exchange="whitebit", symbol="BTC-USDT", interval="1m", resume_start_ms=resume
    )
    feed.add(wanted, NOW)
    (asked,) = [one for one in sent(feed.connected(NOW)) if one["method"] != "ping"]
    return feed, asked


def test_a_refused_candle_says_why_and_a_busy_venue_is_asked_again_later_each_time() -> None:
    feed, asked = candle_feed()
    fail = only(Fail, feed.received(refused(asked, 1, "market BTC_USDT does not exist"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "c")
    assert "does not exist" in fail.reason


def test_an_odd_pushed_candle_is_said_and_costs_only_itself() -> None:
    feed, asked = candle_feed()
    feed.received(acknowledged(asked), NOW)
    start = NOW.wall_ms // 60_000 * 60
    good = [start, "1", "2", "4", "0.5", "9", "18", "BTC_USDT"]
    outputs = feed.received(frame({"id": None, "method": "candles_update", "params": [good[:7], good, 7]}), NOW)
    assert [note.what.split(" that")[0] for note in of(Note, outputs)] == ["2 candles"]
    told = only(EmitCandle, outputs).candle
    assert (told.start, told.open, told.close, told.high, told.low, told.volume) == (
        start * 1000, "1", "2", "4", "0.5", "9",
    )  # fmt: skip


def test_the_past_is_asked_for_in_seconds_and_an_odd_row_costs_only_itself() -> None:
    minute = NOW.wall_ms // 60_000 * 60_000
    feed, asked = candle_feed(minute - 300_000)
    call = only(Call, feed.received(acknowledged(asked), NOW))
    assert path(call) == "/api/v1/public/kline"
    start = minute // 1000 - 120
    rows = [[start, "1", "2", "4", "0.5", "9", "18"], [start, "1"], 7, [start + 60, "1", "2", "4", "0.5", "9", "18"]]
    outputs = feed.answered(call, json_answer({"success": True, "result": rows}), NOW)
    assert [emit.candle.start for emit in of(EmitCandle, outputs)] == [minute - 120_000, minute - 60_000]
