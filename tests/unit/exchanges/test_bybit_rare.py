"""What Bybit says seldom: lists with many pages and odd rows, refusals without a reason, frames that tell nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exchanges._adapter import (
    Answer,
    Call,
    Emit,
    EmitTickers,
    Fail,
    FailKind,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    TickerSubscription,
)
from exchanges.bybit import VENUE
from exchanges.events import ExecutionReport
from tests.unit.exchanges.driver import frame, of, only, params, sent, setup
from tests.unit.exchanges.test_bybit import (
    AUTH_OK,
    NOW,
    WALL,
    account,
    ack,
    answer,
    at,
    candle,
    drive,
    gap_of,
    joined,
    order,
    push,
    ticker_adapter,
    ticker_frame,
)

GAP = Resume(since_ms=WALL - 60_000)
OLD = WALL - 600_000
"""Before the gap."""


def told(outputs: Sequence[Output]) -> list[tuple[str, str]]:
    """Order id and status of each order that was told."""
    events = [emit.event for emit in of(Emit, outputs)]
    return [(str(event.order_id), event.order_status) for event in events if isinstance(event, ExecutionReport)]


# --- the lists of a gap ---


def pages(tag: str, first: list[object], exchange: str = "bybit") -> tuple[list[Output], int]:
    """A list whose first page has these rows and a cursor: what was told, and how many pages were asked for."""
    adapter, outputs = joined(account(exchange, GAP), exchange)
    rest, calls = drive(adapter, outputs, {tag: [{"list": first, "nextPageCursor": "c2"}]})
    asked = [params(call) for call in calls if call.tag == tag]
    assert [query.get("cursor") for query in asked] == [None, "c2"][: len(asked)]
    return rest, len(asked)


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        ([order("a", "Filled", OLD, createdTime=str(OLD))], 1),
        ([order("a", "Filled", WALL, createdTime=str(OLD))], 2),
        ([order("a", "Filled", OLD, createdTime=str(WALL))], 2),
        (
            [
                order("a", "Filled", OLD, createdTime=str(OLD)),
                order("b", "Filled", OLD, createdTime=str(WALL - 60_000)),
            ],
            2,
        ),
        ([7], 2),
        ([], 1),
        ([order("a", "Filled", OLD, createdTime="", updatedTime="soon")], 1),
    ],
)
def test_closed_orders_are_paged_until_a_page_has_nothing_of_the_gap(rows: list[object], asked: int) -> None:
    assert pages("recent-orders", rows)[1] == asked


def test_open_orders_are_told_and_paged_however_old_they_are() -> None:
    rest, asked = pages("open-orders", [order("a", "New", OLD, createdTime=str(OLD))])
    assert (told(rest), asked) == ([("a", "NEW")], 2)


def test_a_closed_order_of_before_the_gap_is_not_told_again() -> None:
    rest, _ = pages("recent-orders", [order("a", "Filled", OLD), order("b", "Filled", WALL - 60_000)])
    assert told(rest) == [("b", "FILLED")]


@pytest.mark.parametrize(("rows", "asked"), [([{"orderId": "a", "execType": "Trade"}], 2), ([7], 2), ([], 1)])
def test_fills_are_paged_even_when_a_page_has_only_odd_ones(rows: list[object], asked: int) -> None:
    assert pages("executions", rows)[1] == asked


def test_the_newer_state_counts_when_two_lists_show_an_order() -> None:
    adapter, outputs = joined(account(resume=GAP))
    done = order("a", "Filled", WALL - 1_000)
    rest, calls = drive(
        adapter, outputs, {"open-orders": [[order("a", updated=WALL - 9_000)]], "recent-orders": [[done, done]]}
    )
    assert told(rest) == [("a", "NEW"), ("a", "FILLED")]
    assert not [call for call in calls if call.tag == "order"]


def test_lists_are_asked_for_in_pages_of_the_venues_size_and_over_the_whole_gap() -> None:
    _, outputs = joined(account(resume=Resume(since_ms=WALL - 2 * 86_400_000)))
    queries = {call.tag: params(call) for call in of(Call, outputs)}
    span = {"category": "spot", "startTime": str(WALL - 2 * 86_400_000), "endTime": str(WALL + 5 * 86_400_000)}
    assert queries == {
        "open-orders": {"category": "spot", "limit": "50"},
        "recent-orders": {"category": "spot", "openOnly": "1", "limit": "50"},
        "past-orders": {**span, "limit": "50"},
        "executions": {**span, "limit": "100"},
        "wallet": {"accountType": "UNIFIED"},
    }


def test_a_full_list_of_closed_orders_leads_to_the_history_once() -> None:
    adapter, outputs = joined(account(resume=GAP))
    rows = [[order(f"o{page}-{n}", "Filled") for n in range(50)] for page in range(12)]
    lists = [{"list": page, "nextPageCursor": f"c{number}"} for number, page in enumerate(rows)]
    _, calls = drive(adapter, outputs, {"recent-orders": lists})
    tags = [call.tag for call in calls]
    assert tags.count("past-orders") == 1
    assert tags.count("recent-orders") == 13


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        (answer({}, 10001, "params error"), "open-orders: 10001 params error"),
        (answer({}, 10003, "API key is invalid."), "open-orders: 10003 API key is invalid."),
        (Answer(403, {}, b"{}"), "open-orders: HTTP 403"),
    ],
)
def test_a_list_that_the_venue_refuses_is_named_and_not_asked_for_again(reply: Answer, phrase: str) -> None:
    adapter, outputs = joined(account(resume=GAP))
    rest, calls = drive(adapter, outputs, {"open-orders": [reply]})
    assert gap_of(rest).missing == (phrase,)
    assert [call.tag for call in calls].count("open-orders") == 1


def test_an_order_is_asked_for_by_its_client_id_last_and_the_report_names_it() -> None:
    known = KnownOrder(order_id="o1", client_order_id="GA-1", symbol="BTCUSDT", status="NEW", quantity="2")
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000, orders=(known,))))
    rest, calls = drive(adapter, outputs, {"order-by-client": [answer({}, 10001, "no")]})
    asked = [(call.tag, params(call)) for call in calls][-3:]
    assert asked == [
        ("order", {"category": "spot", "orderId": "o1"}),
        ("order-history", {"category": "spot", "orderId": "o1"}),
        ("order-by-client", {"category": "spot", "orderLinkId": "GA-1"}),
    ]
    assert gap_of(rest).missing == ("order o1: 10001 no",)


def test_an_order_without_a_client_id_is_not_asked_for_by_it() -> None:
    known = KnownOrder(order_id="o1", client_order_id="", symbol="BTCUSDT", status="NEW", quantity="2")
    adapter, outputs = joined(account(resume=Resume(since_ms=WALL - 60_000, orders=(known,))))
    rest, calls = drive(adapter, outputs, {})
    assert [call.tag for call in calls][-2:] == ["order", "order-history"]
    assert gap_of(rest).missing == ("order o1: not known to the venue",)


# --- orders ---


def event_of(exchange: str = "bybit", **fields: object) -> ExecutionReport:
    adapter, _ = joined(account(exchange), exchange)
    category = {"bybit": "spot", "bybitLinear": "linear", "bybitInverse": "inverse"}[exchange]
    event = only(Emit, adapter.received(push(order("a", **{"category": category, **fields})), NOW)).event  # type: ignore[arg-type]
    assert isinstance(event, ExecutionReport)
    return event


def test_an_order_is_told_with_all_that_the_frame_says() -> None:
    event = event_of(status="PartiallyFilled", cumExecQty="0.5", cumExecValue="49.5", createType="CreateByUser")
    assert (event.symbol, event.side, event.order_type, event.order_status) == (
        "BTCUSDT", "BUY", "LIMIT", "PARTIALLY_FILLED",
    )  # fmt: skip
    assert (event.price, event.quantity) == ("100", "2")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0.5", "49.5")
    assert (event.creation_time, event.event_time, event.order_time) == (WALL - 1000, WALL, WALL)
    assert (event.new_client_order_id, event.original_client_order_id) == ("GA-a", "GA-a")
    assert event.unique_message_id == f"spot:a:{WALL}:BTCUSDT:PartiallyFilled:2:100:0.5:Limit:GA-a:CreateByUser"
    assert event.liquidation is False


def test_the_totals_of_an_inverse_order_are_exchanged() -> None:
    event = event_of("bybitInverse", status="PartiallyFilled", cumExecQty="7", cumExecValue="0.001")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0.001", "7")


@pytest.mark.parametrize(
    ("exchange", "fields", "price"),
    [
        ("bybit", {"orderType": "Market", "price": "110", "avgPrice": "99.5"}, "99.5"),
        ("bybit", {"orderType": "Limit", "price": "110", "avgPrice": "99.5"}, "110"),
        ("bybit", {"orderType": "Market", "price": "110", "avgPrice": "0"}, "110"),
        ("bybit", {"price": "", "cumExecQty": "0.5", "cumExecValue": "49"}, "98"),
        ("bybitInverse", {"price": "0", "cumExecQty": "49", "cumExecValue": "0.5"}, "98"),
        ("bybit", {"price": None}, "0"),
    ],
)
def test_the_price_is_the_average_fill_of_a_market_order_and_the_limit_of_others(
    exchange: str, fields: dict[str, object], price: str
) -> None:
    assert event_of(exchange, **fields).price == price


@pytest.mark.parametrize(("executed", "status"), [("0.3", "FILLED"), ("0", "CANCELED"), ("", "CANCELED")])
def test_a_quote_sized_market_buy_that_leaves_dust_is_filled_unless_it_got_nothing(executed: str, status: str) -> None:
    fields = {"status": "PartiallyFilledCanceled", "orderType": "Market", "cumExecQty": executed, "cumExecValue": "30"}
    assert event_of(**fields).order_status == status
    assert event_of(**{**fields, "side": "Sell"}).order_status == "CANCELED"
    assert event_of(**{**fields, "orderType": "Limit"}).order_status == "CANCELED"


def test_only_a_takeover_is_a_liquidation() -> None:
    assert event_of(createType="CreateByTakeOver_PassThrough").liquidation is True
    assert event_of(createType="CreateByLiq").liquidation is False


@pytest.mark.parametrize("fields", [{"cumFeeDetail": {"BTC": "0"}}, {"cumExecFee": "-0.1", "feeCurrency": "USDT"}])
def test_a_fee_of_nothing_or_a_rebate_is_no_fee(fields: dict[str, object]) -> None:
    assert "feePaid" not in str(event_of(**fields))
    assert not isinstance(event_of(**fields).fee_paid, str)


@pytest.mark.parametrize("missing", [{"cumExecQty": "0"}, {"cumExecValue": ""}])
def test_a_filled_order_without_a_quantity_or_a_value_is_asked_for(missing: dict[str, object]) -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(push(order("a", "Filled", **missing)), NOW)
    assert [call.tag for call in of(Call, outputs)] == ["order"]
    assert not of(Emit, outputs)


# --- the private connection ---


@pytest.mark.parametrize("topic", ["execution", "execution.fast", "greeks", "dcp.future"])
def test_topics_that_tell_nothing_new_are_passed_over(topic: str) -> None:
    adapter, _ = joined(account())
    assert not adapter.received(frame({"id": "x", "topic": topic, "creationTime": WALL, "data": []}), NOW)


@pytest.mark.parametrize(
    ("exchange", "topics"),
    [("bybit", ["order", "wallet"]), ("bybitLinear", ["order", "wallet", "position.linear"])],
)
def test_an_account_that_goes_leaves_every_topic(exchange: str, topics: list[str]) -> None:
    adapter, _ = joined(account(exchange), exchange)
    (leave,) = sent(adapter.remove("u1", NOW))
    assert (leave["op"], leave["args"]) == ("unsubscribe", topics)
    assert not adapter.received(push(order("a")), NOW)


def test_an_account_that_goes_before_it_has_joined_leaves_nothing() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    adapter.start(NOW)
    assert not adapter.remove("u1", NOW)
    assert adapter.deadline() is None


def test_what_is_not_answered_is_named_when_the_connection_ends() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    (ask,) = of(Call, adapter.start(NOW))
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    assert only(Fail, adapter.woken(at(10))).reason == "no answer to the login for 10 s"
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    assert only(Fail, adapter.woken(at(10))).reason == "no answer to subscribing for 10 s"


def test_a_refused_login_whose_key_cannot_be_checked_in_time_ends_the_connection() -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    (ask,) = of(Call, adapter.start(NOW))
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    refusal = frame({"success": False, "ret_msg": "Request not authorized", "op": "auth"})
    outputs = adapter.received(refusal, NOW)
    assert of(Note, outputs) == [Note("login refused: Request not authorized")]
    assert adapter.deadline() == NOW.mono + 8
    fail = only(Fail, adapter.woken(at(8)))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    assert "could not be checked" in fail.reason
    (check,) = of(Call, outputs)
    assert not adapter.answered(check, answer({}, 10003, "API key is invalid."), at(9))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("Request not authorized", "check"), ("error:handler not found,topic:order", "fail")],
)
def test_a_refused_subscribe_is_checked_or_ends_the_connection(text: str, kind: str) -> None:
    adapter = VENUE.user(setup("bybit"))
    adapter.add(account(), NOW)
    (ask,) = of(Call, adapter.start(NOW))
    adapter.answered(ask, answer({"unifiedMarginStatus": 6}), NOW)
    adapter.connected(NOW)
    adapter.received(AUTH_OK, NOW)
    outputs = adapter.received(frame({"success": False, "ret_msg": text, "op": "subscribe"}), NOW)
    assert [call.tag for call in of(Call, outputs)] == (["auth-check"] if kind == "check" else [])
    assert [fail.reason for fail in of(Fail, outputs)] == ([] if kind == "check" else [f"subscribe refused: {text}"])


def test_positions_that_cannot_be_subscribed_are_said_and_cost_nothing_else() -> None:
    adapter, outputs = joined(account("bybitLinear"), "bybitLinear")
    (subscribe,) = sent(outputs)
    assert subscribe["args"] == ["position.linear"]
    reply = {"success": False, "ret_msg": "no", "op": "subscribe", "req_id": subscribe["req_id"]}
    outputs = list(adapter.received(frame(reply), NOW))
    assert of(Note, outputs) == [Note("changes of positions are not told: no")]
    assert not of(Fail, outputs)


def test_an_odd_position_is_an_error_and_costs_only_itself() -> None:
    adapter, _ = joined(account("bybitLinear"), "bybitLinear")
    outputs = adapter.received(frame({"topic": "position.linear", "creationTime": WALL, "data": [7]}), NOW)
    (note,) = of(Note, outputs)
    assert (note.level, note.what.split(" that")[0]) == ("error", "1 positions")


def test_the_balances_at_the_start_that_cannot_be_read_are_said() -> None:
    adapter, outputs = joined(account())
    (call,) = of(Call, outputs)
    assert of(Note, adapter.answered(call, answer({}, 10006, "Too many visits!"), NOW)) == [
        Note("the balances at the start are unknown: HTTP 200")
    ]
    adapter, outputs = joined(account())
    (call,) = of(Call, outputs)
    assert of(Note, adapter.answered(call, answer({}, 10001, "params"), NOW)) == [
        Note("the balances at the start are unknown: wallet: 10001 params")
    ]


# --- public connections ---


def test_only_so_many_requests_wait_for_an_answer_together() -> None:
    adapter, outputs = ticker_adapter("bybit", *(f"S{n}USDT" for n in range(115)))
    requests = sent(outputs)
    assert len(requests) == 10
    (more,) = sent(adapter.received(ack(requests[0]), NOW))
    assert len(more["args"]) == 10


def test_an_answer_belongs_to_the_request_that_it_names_and_to_the_oldest_if_it_names_none() -> None:
    adapter, outputs = ticker_adapter("bybit", *(f"S{n}USDT" for n in range(15)))
    first, second = sent(outputs)
    for _ in range(3):
        assert not of(Live, adapter.received(ack(second), NOW))
    assert of(Live, adapter.received(ack({"req_id": ""}), NOW)) == [Live("t1")]
    assert first["args"] != second["args"]


@pytest.mark.parametrize("op", ["ping", "pong"])
@pytest.mark.parametrize("success", [True, False, None])
def test_the_answer_to_a_ping_is_no_answer_to_a_request(op: str, success: bool | None) -> None:
    adapter, outputs = ticker_adapter("bybitLinear", "AUSDT")
    (request,) = sent(outputs)
    pong = {"op": op, "success": success, "ret_msg": "pong", "req_id": request["req_id"]}
    assert not adapter.received(frame(pong), NOW)
    assert of(Live, adapter.received(ack(request), NOW))


def test_a_public_frame_without_a_topic_and_a_success_is_told() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "AUSDT")
    assert adapter.received(frame({"op": "news"}), NOW) == [Note("unknown public frame news")]


@pytest.mark.parametrize(("text", "reason"), [("params error", "params error"), ("", "subscribe refused")])
def test_a_refused_candle_says_why(text: str, reason: str) -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "1"), NOW)
    (request,) = sent(adapter.connected(NOW))
    fail = only(Fail, adapter.received(ack(request, text, success=False), NOW))
    assert (fail.kind, fail.reason, fail.stream_id) == (FailKind.REQUEST, reason, "c1")


def test_a_ticker_frame_without_data_or_of_another_topic_is_told() -> None:
    adapter, _ = ticker_adapter("bybitLinear", "AUSDT")
    assert adapter.received(frame({"topic": "tickers.AUSDT"}), NOW) == [Note("unknown public topic tickers.AUSDT")]
    data = {"symbol": "AUSDT", "lastPrice": "1"}
    assert adapter.received(frame({"topic": "news.AUSDT", "data": data}), NOW) == [
        Note("unknown public topic news.AUSDT")
    ]


@pytest.mark.parametrize("exchange", ["bybit", "bybitLinear"])
def test_a_ticker_that_tells_only_a_price_has_no_sizes(exchange: str) -> None:
    adapter, _ = ticker_adapter(exchange, "ETHUSDT")
    (ticker,) = only(EmitTickers, adapter.received(ticker_frame("snapshot", lastPrice="10"), NOW)).tickers
    assert (ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (0.0, 0.0, 0.0)
    assert ticker.unique_message_id == f"ETHUSDT@{WALL}@{exchange}:10:0.0"


def test_a_connection_without_a_shard_tells_nothing() -> None:
    adapter = VENUE.ticker(setup("bybitLinear"))
    adapter.connected(NOW)
    assert not adapter.received(ticker_frame("snapshot", lastPrice="10"), NOW)
    adapter.add(TickerSubscription(stream_id="t1", exchange="bybitLinear", symbols=("ETHUSDT",)), NOW)
    assert of(EmitTickers, adapter.received(ticker_frame("snapshot", lastPrice="10"), NOW))


# --- missed candles ---


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        (answer({}, 10001, "params error"), "candles: 10001 params error"),
        (answer({"list": {"no": "list"}}), "candles: Expected `array`, got `object`"),
        (answer([]), "candles: Expected `object`, got `array`"),
    ],
)
def test_missed_candles_that_the_venue_refuses_are_named_at_once(reply: Answer, phrase: str) -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "1", WALL - 300_000), NOW)
    (request,) = sent(adapter.connected(NOW))
    (call,) = of(Call, adapter.received(ack(request), NOW))
    live = only(Live, adapter.answered(call, reply, NOW))
    assert live.gap is not None
    assert live.gap.missing == (phrase,)


@pytest.mark.parametrize("reply", [answer({}, 10006, "Too many visits!"), Answer(200, {}, b"<html>")])
def test_missed_candles_are_asked_for_again_after_trouble_that_passes(reply: Answer) -> None:
    adapter = VENUE.candle(setup("bybitLinear"))
    adapter.add(candle("c1", "1", WALL - 300_000), NOW)
    (request,) = sent(adapter.connected(NOW))
    (call,) = of(Call, adapter.received(ack(request), NOW))
    assert not adapter.answered(call, reply, NOW)
    (again,) = of(Call, adapter.woken(at(2)))
    assert (again.url, again.attempt) == (call.url, 2)
