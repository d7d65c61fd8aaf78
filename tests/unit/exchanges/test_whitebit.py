"""What is special about WhiteBIT: one socket for spot and futures, subscriptions that replace each other, scarce tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    ClockOffset,
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
    TickerSubscription,
    UserSubscription,
)
from exchanges._frames import NO_WEIGHT
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.instruments import Instrument, SymbolTable
from exchanges.whitebit import VENUE
from exchanges.whitebit._errors import failure_of
from exchanges.whitebit._signer import Signer, private_call
from exchanges.whitebit._symbols import Loader, pair_of, seconds_of
from tests.unit.exchanges.driver import after, frame, json_answer, of, only, path, sent, setup

NOW = Instant(1000.0, 1_795_300_000_000)
MARKETS = {"BTC_USDT": "BTC-USDT", "ETH_USDT": "ETH-USDT"}
PERPETUALS = {"BTC_PERP": "BTC-USDT"}
KEY = credentials(" key ", "SKwhitebitExample0001 ")


def table(exchange: str = "whitebit") -> SymbolTable:
    markets = MARKETS if exchange == "whitebit" else PERPETUALS
    return SymbolTable(Instrument(wire=wire, pair=pair) for wire, pair in markets.items())


def joined(exchange: str = "whitebit", resume: Resume | None = None) -> tuple[Any, list[Output]]:
    """An account whose subscriptions are confirmed, and what followed from that."""
    user = VENUE.user(setup(exchange, table(exchange)))
    user.add(UserSubscription(stream_id="s", exchange=exchange, credentials=KEY, resume=resume), NOW)
    user.start(NOW)
    token = only(Call, user.connected(NOW))
    authorise = sent(user.answered(token, json_answer({"websocket_token": "T"}), NOW))[0]
    requests = sent(user.received(acknowledged(authorise), NOW))
    outputs: list[Output] = []
    for one in requests:
        outputs = list(user.received(acknowledged(one), NOW))
    return user, outputs


def acknowledged(request: dict[str, Any]) -> bytes:
    return frame({"id": request["id"], "result": {"status": "success"}, "error": None})


def refused(request: dict[str, Any], code: int, text: str) -> bytes:
    return frame({"id": request["id"], "result": None, "error": {"code": code, "message": text}})


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "id": 7, "market": "BTC_USDT", "type": 1, "side": 2, "ctime": 1795300010.25014, "mtime": 1795300010.25014,
        "price": "61000", "amount": "1", "left": "1", "deal_stock": "0", "deal_money": "0", "deal_fee": "0",
        "client_order_id": "c", "status": "OPEN",
    }  # fmt: skip
    return base | changes


def pending(event: int, **changes: Any) -> bytes:
    return frame({"id": None, "method": "ordersPending_update", "params": [event, row(**changes)]})


def reports(outputs: Any) -> list[ExecutionReport]:
    return [one.event for one in of(Emit, outputs) if isinstance(one.event, ExecutionReport)]


def ended(user: Any, end: bytes) -> ExecutionReport:
    """What an order's end tells, when no modify was the reason."""
    told = reports(user.received(end, NOW)) + reports(user.woken(after(NOW, 1)))
    assert len(told) == 1
    return told[0]


FILLED = {"left": "0", "deal_stock": "1", "deal_money": "60000", "status": "FILLED"}


# --- where the draft connector was wrong ---


def test_symbols_of_both_ids_are_pair_ids() -> None:
    assert pair_of("BTC_USDT") == pair_of("BTC_PERP") == "BTC-USDT"
    assert pair_of("PERP_USDT") == "PERP-USDT"
    spot, _ = joined()
    futures, _ = joined("whitebitUsdm")
    assert reports(spot.received(pending(1), NOW))[0].symbol == "BTC-USDT"
    assert reports(futures.received(pending(1, market="BTC_PERP", type=7), NOW))[0].symbol == "BTC-USDT"


def test_resting_orders_and_partial_fills_are_subscribed_and_told() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    token = user.answered(only(Call, user.connected(NOW)), json_answer({"websocket_token": "T"}), NOW)
    asked = {one["method"]: one["params"] for one in sent(user.received(acknowledged(sent(token)[0]), NOW))}
    assert asked["ordersPending_subscribe"] == sorted(MARKETS)
    assert asked["ordersExecuted_subscribe"] == [sorted(MARKETS), 0]
    user, _ = joined()
    told = reports(user.received(pending(1), NOW)) + reports(
        user.received(pending(2, deal_stock="0.5", deal_money="30000", left="0.5"), NOW)
    )
    assert [one.order_status for one in told] == ["NEW", "PARTIALLY_FILLED"]


@pytest.mark.parametrize(
    "status",
    ["AUTO_CANCELED_LIQUIDATION", "AUTO_CANCELED_USER_MARGIN", "CANCELED_STP", "CANCELED_TAKER_BAND", "CANCELED"],
)
def test_every_kind_of_cancel_ends_the_order_as_cancelled(status: str) -> None:
    user, _ = joined()
    part = {"deal_stock": "0.5", "deal_money": "30000", "left": "0.5"}
    assert ended(user, pending(3, status=status, **part)).order_status == "CANCELED"


def test_an_order_that_ended_part_filled_is_cancelled_with_its_totals() -> None:
    user, _ = joined()
    told = ended(user, pending(3, status="PARTIALLY_FILLED", deal_stock="0.5", deal_money="30000", left="0.5"))
    assert (told.order_status, told.total_trade_quantity) == ("CANCELED", "0.5")


def test_the_futures_account_tells_the_collateral_wallet_and_never_the_spot_one() -> None:
    futures, _ = joined("whitebitUsdm")
    spot = frame({"method": "balanceSpot_update", "params": [{"USDT": {"available": "1", "freeze": "0"}}], "id": None})
    margin = frame({"method": "balanceMargin_update", "params": [{"a": "USDT", "B": "5", "av": "1"}], "id": None})
    assert not of(Emit, futures.received(spot, NOW))
    assert only(Emit, futures.received(margin, NOW)).event.balances[0].free == "5"
    other, _ = joined()
    assert not of(Emit, other.received(margin, NOW))


def test_an_id_tells_only_orders_of_its_own_wallet() -> None:
    spot, _ = joined()
    futures, _ = joined("whitebitUsdm")
    assert not reports(spot.received(pending(1, market="BTC_PERP", type=7), NOW))
    assert not reports(spot.received(pending(1, type=7), NOW))
    assert not reports(futures.received(pending(1), NOW))


def test_the_price_of_a_filled_order_is_the_average() -> None:
    user, _ = joined()
    assert reports(user.received(pending(3, **FILLED), NOW))[0].price == "60000"


def test_the_quantity_of_a_market_buy_is_what_was_bought() -> None:
    user, _ = joined()
    told = reports(user.received(pending(3, **{**FILLED, "type": 2, "amount": "60001", "left": "1"}), NOW))[0]
    assert (told.order_status, told.order_type, told.quantity) == ("FILLED", "MARKET", "1")


def test_totals_are_exact_decimal_text_and_order_ids_text() -> None:
    user, _ = joined()
    part = reports(user.received(pending(2, deal_stock="1e-7", deal_money="0.0061", left="0"), NOW))[0]
    assert (part.total_trade_quantity, part.order_id) == ("0.0000001", "7")
    assert part.creation_time == 1_795_300_010_250


def test_a_liquidation_is_told_as_one_and_a_deleveraging_is_not() -> None:
    user, _ = joined("whitebitUsdm")
    mine = {**FILLED, "market": "BTC_PERP", "type": 8}
    told = [
        reports(user.received(pending(3, **mine, id=number, **more), NOW))[0].liquidation
        for number, more in enumerate(
            ({"source": "liquidation"}, {"client_order_id": "liquidation_7_!"}, {"client_order_id": "adl_7_!"})
        )
    ]
    assert told == [True, True, False]


def test_a_refused_channel_of_positions_costs_positions_only() -> None:
    user, outputs = joined("whitebitUsdm")
    asked = next(request for request in sent(outputs) if request["method"] == "positionsMargin_subscribe")
    told = user.received(refused(asked, 1, "invalid argument"), NOW)
    assert "positions" in only(Note, told).what
    assert not of(Fail, told)
    assert reports(user.received(pending(1, market="BTC_PERP", type=7), NOW))


def test_positions_are_not_told_as_a_new_subscription() -> None:
    user, _ = joined("whitebitUsdm")
    assert not user.received(frame({"method": "positionsMargin_update", "params": {"records": []}, "id": None}), NOW)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"code": 10, "message": "Unauthorized request.", "errors": {}}),
        (401, {"code": 2, "message": "This action is unauthorized. Enable your key in API settings", "errors": {}}),
        (403, {"code": 4, "message": "This API Key is not authorized to perform this action.", "errors": {}}),
        (422, {"code": 30, "message": "Validation failed", "errors": {"user": ["user not found"]}}),
    ],
)
def test_a_refused_key_opens_the_breaker_at_first_sight(status: int, body: dict[str, Any]) -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    fail = only(Fail, user.answered(only(Call, user.connected(NOW)), json_answer(body, status), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "s")


def test_tickers_have_the_volume_of_a_day_and_quiet_markets_are_told_again() -> None:
    feed = VENUE.ticker(setup("whitebit", table()))
    feed.add(TickerSubscription(stream_id="t", exchange="whitebit", symbols=tuple(MARKETS)), NOW)
    feed.start(NOW)
    request = sent(feed.connected(NOW))[0]
    assert (request["method"], request["params"]) == ("market_subscribe", sorted(MARKETS))
    assert of(Live, feed.received(acknowledged(request), NOW))
    push = frame({"id": None, "method": "market_update", "params": ["BTC_USDT", {"last": "5", "volume": "18"}]})
    ticker = only(EmitTickers, feed.received(push, NOW)).tickers[0]
    assert (ticker.symbol, ticker.price, ticker.volume, ticker.best_ask_qnt) == ("BTC-USDT", 5.0, 18.0, 18.0)
    assert not of(EmitTickers, feed.received(push, after(NOW, 1)))
    assert of(EmitTickers, feed.received(push, after(NOW, 20)))


# --- the rest of the rules ---


def test_signed_bytes_are_those_of_the_documentation() -> None:
    signed = Signer(KEY).signed(private_call("t", "profile/websocket_token", {}), NOW.wall_ms)
    assert signed.body == '{"request":"/api/v4/profile/websocket_token","nonce":1795300000000,"nonceWindow":true}'
    assert signed.headers["X-TXC-APIKEY"] == "key"
    assert signed.headers["X-TXC-SIGNATURE"].startswith("1a03cd21f1ac6eda003c43657c907636e19ed6bf")


def test_two_calls_of_one_millisecond_have_different_nonces_and_a_retry_has_a_fresh_one() -> None:
    signer = Signer(KEY)
    call = private_call("t", "orders", {"limit": 100})
    first = signer.signed(call, NOW.wall_ms)
    second = signer.signed(first, NOW.wall_ms)
    bodies = [json.loads(one.body or "") for one in (first, second)]
    assert [one["nonce"] for one in bodies] == [NOW.wall_ms, NOW.wall_ms + 1]
    assert bodies[1]["limit"] == 100


def test_a_nonce_outside_the_window_makes_the_clock_be_read_and_is_no_bad_key() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    text = {"code": 0, "message": "Your nonce is more than 5 seconds lesser than the current nonce", "errors": {}}
    asked = only(Call, user.answered(only(Call, user.connected(NOW)), json_answer(text, 422), NOW))
    assert path(asked) == "/api/v4/public/time"
    outputs = user.answered(asked, json_answer({"time": NOW.wall_ms // 1000 + 9}), NOW)
    assert only(ClockOffset, outputs).offset_ms == 9_000
    assert json.loads(only(Call, outputs).body or "")["nonce"] == NOW.wall_ms + 9_000


def test_a_connection_waits_for_its_token_while_the_address_has_none_left() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    assert not user.answered(only(Call, user.connected(NOW)), Answer(0, {}, b"", NO_WEIGHT), NOW)
    assert of(Call, user.woken(after(NOW, 7)))


def test_a_market_that_is_gone_is_left_out_and_the_whole_list_sent_again() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    token = user.answered(only(Call, user.connected(NOW)), json_answer({"websocket_token": "T"}), NOW)
    requests = sent(user.received(acknowledged(sent(token)[0]), NOW))
    assert [one["method"] for one in requests] == [
        "ordersPending_subscribe", "ordersExecuted_subscribe", "deals_subscribe", "balanceSpot_subscribe",
    ]  # fmt: skip
    again = sent(user.received(refused(requests[0], 1, "market ETH_USDT does not exist"), NOW))[0]
    assert (again["method"], again["params"]) == ("ordersPending_subscribe", ["BTC_USDT"])
    for one in (*requests[1:], again):
        outputs = user.received(acknowledged(one), NOW)
    assert of(Live, outputs)


def test_a_token_that_came_too_late_is_replaced_and_never_taken_for_a_bad_key() -> None:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    call = only(Call, user.connected(NOW))
    for _ in range(2):
        authorise = sent(user.answered(call, json_answer({"websocket_token": "T"}), NOW))[0]
        call = only(Call, user.received(refused(authorise, 1, "invalid argument"), NOW))
    authorise = sent(user.answered(call, json_answer({"websocket_token": "T"}), NOW))[0]
    assert only(Fail, user.received(refused(authorise, 1, "invalid argument"), NOW)).kind is FailKind.TRANSIENT


def test_the_first_end_of_an_order_is_the_only_one_whichever_channel_brought_it() -> None:
    user, _ = joined()
    executed = frame({"id": None, "method": "ordersExecuted_update", "params": [row(**FILLED)]})
    assert len(reports(user.received(executed, NOW))) == 1
    assert not reports(user.received(pending(3, **FILLED), NOW))


def test_a_deal_of_an_order_that_no_frame_told_makes_it_be_asked_for() -> None:
    user, _ = joined()
    deal = [1, 1795300020.5, "BTC_USDT", 9, "60000", "1", "0.001", "c9", 2, 1, "BTC"]
    user.received(frame({"id": None, "method": "deals_update", "params": deal}), NOW)
    asked = only(Call, user.woken(after(NOW, 5)))
    assert json.loads(asked.body or "")["orderId"] == 9
    past = {"id": 9, "side": "buy", "type": "limit", "amount": "1", "left": "0", "price": "60000", "dealStock": "1",
            "dealMoney": "60000", "status": "FILLED", "ctime": 1795300010.5, "ftime": 1795300020.5}  # fmt: skip
    told = reports(user.answered(asked, json_answer({"BTC_USDT": [past]}), after(NOW, 5)))
    assert [(one.order_status, one.order_id) for one in told] == [("FILLED", "9")]


def test_a_status_that_no_page_lists_is_asked_for() -> None:
    user, _ = joined()
    outputs = user.received(pending(3, status="SUSPENDED"), NOW)
    assert not reports(outputs)
    assert of(Note, outputs)
    assert only(Call, outputs).tag == "order"


def gap(rows: dict[str, Any]) -> tuple[list[ExecutionReport], tuple[str, ...]]:
    """What a gap tells in which order 7 was open; answers by path, empty lists for the others."""
    order = KnownOrder(
        order_id="7", client_order_id="c", symbol="BTC-USDT", status="NEW", quantity="1", price="61000", side="BUY",
        order_type="LIMIT",
    )  # fmt: skip
    user, outputs = joined(resume=Resume(since_ms=NOW.wall_ms - 60_000, orders=(order,)))
    told: list[Output] = []
    waiting = list(outputs)
    while waiting:
        output = waiting.pop(0)
        told.append(output)
        if isinstance(output, Call):
            key = path(output).removeprefix("/api/v4/")
            waiting += user.answered(output, json_answer(rows.get(key, [])), NOW)
    report = next(one.gap for one in of(Live, told) if one.gap is not None)
    return reports(told), report.missing


def test_an_order_that_ended_in_a_gap_is_told_from_the_history() -> None:
    past = {"id": 7, "clientOrderId": "c", "side": "buy", "type": "limit", "amount": "1", "price": "61000",
            "dealStock": "1", "dealMoney": "60000", "status": "FILLED", "ctime": 1795299000.0,
            "ftime": 1795299999.0}  # fmt: skip
    told, missing = gap({"trade-account/order/history": {"BTC_USDT": [past]}})
    assert [(one.order_status, one.price) for one in told] == [("FILLED", "60000")]
    assert missing == ()


def test_an_order_that_a_broker_account_does_not_list_ends_with_its_deals() -> None:
    deals = {"records": [{"amount": "0.25", "deal": "15000"}], "offset": 0, "limit": 100}
    told, _ = gap({"trade-account/order": deals})
    assert [(one.order_status, one.total_trade_quantity) for one in told] == [("CANCELED", "0.25")]


def test_an_order_that_a_page_skipped_is_open_and_not_cancelled() -> None:
    still = {"orderId": 7, "market": "BTC_USDT", "side": "buy", "type": "limit", "amount": "1", "left": "1",
             "price": "61000", "dealStock": "0", "dealMoney": "0", "timestamp": 1795299000.0}  # fmt: skip
    told, _ = gap({"orders": [still]})
    assert "CANCELED" not in [one.order_status for one in told]


def test_candles_have_their_close_before_high_and_low() -> None:
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(CandleSubscription(stream_id="c", exchange="whitebit", symbol="BTC-USDT", interval="60"), NOW)
    feed.start(NOW)
    request = sent(feed.connected(NOW))[0]
    assert request["params"] == ["BTC_USDT", 3600]
    feed.received(acknowledged(request), NOW)
    push = [[1795298400, "1", "4", "5", "0.5", "12", "40", "BTC_USDT"]]
    told = only(EmitCandle, feed.received(frame({"id": None, "method": "candles_update", "params": push}), NOW))
    candle = told.candle
    assert (candle.open, candle.high, candle.low, candle.close, told.interval) == ("1", "5", "0.5", "4", "60")
    assert seconds_of("7") is None


def test_only_spot_or_perpetual_markets_are_listed_and_shares_are_neither() -> None:
    rows = [
        {"name": "BTC_USDT", "stock": "BTC", "money": "USDT", "type": "spot", "tradesEnabled": True},
        {"name": "BTC_PERP", "stock": "BTC", "money": "PERP", "type": "futures", "tradesEnabled": True},
        {"name": "AAPL_USD", "stock": "AAPL", "money": "USD", "type": "tradfiFutures", "tradesEnabled": True},
        None,
    ]
    found = {}
    for exchange in VENUE.exchanges:
        loader = Loader(exchange)
        loader.answered(loader.start()[0], json_answer(rows))
        found[exchange] = [(one.wire, one.pair) for one in loader.result() or ()]
    assert found == {"whitebit": [("BTC_USDT", "BTC-USDT")], "whitebitUsdm": [("BTC_PERP", "BTC-USDT")]}


def test_numbers_of_errors_are_used_twice_so_the_text_decides() -> None:
    body = {"code": 2, "message": "Unexecuted order was not found.", "errors": {}}
    found = failure_of(json_answer(body, 422))
    assert found is not None
    assert found.kind is FailKind.REQUEST
