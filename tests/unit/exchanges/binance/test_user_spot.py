"""Spot account streams over the WebSocket API: many accounts on one connection."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from exchanges._adapter import (
    Call,
    ClockOffset,
    Connect,
    Emit,
    Fail,
    FailKind,
    Live,
    Note,
    Output,
    Rotate,
    Send,
    UserSubscription,
)
from exchanges.binance._signer import Signer
from exchanges.binance._user_spot import ANSWER_S, SpotUser
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport
from tests.unit.exchanges.binance.support import (
    NOW,
    account,
    error,
    events,
    known,
    later,
    ok,
    order_row,
    refused,
    report,
    request,
    requests,
    resume,
    spot,
    subscribed,
    trade_row,
)
from tests.unit.exchanges.driver import frame, of, only, params, path


def running(*streams: str, **fields: Any) -> SpotUser:
    """An adapter whose accounts are live, with subscription ids 0, 1, …"""
    adapter = spot()
    for stream in streams:
        adapter.add(account(stream, **fields), NOW)
    adapter.start(NOW)
    for number, asked in enumerate(requests(adapter.connected(NOW))):
        adapter.received(subscribed(asked["id"], number), NOW)
    return adapter


def test_signed_parameters_match_the_check_value_of_the_docs() -> None:
    signer = Signer(credentials("test-key-1", "test-secret-1"))
    params = signer.params(1_795_000_000_000, 5000)
    assert params["signature"] == "beef34be2378ee26b043f2841a2e7c7ee5bab44b8077090bea79c04fdba24600"
    assert params == {"apiKey": "test-key-1", "recvWindow": 5000, "timestamp": 1_795_000_000_000} | {
        "signature": params["signature"]
    }


def test_a_signed_query_matches_the_check_value_of_the_docs() -> None:
    signer = Signer(credentials("k", "test-secret-1"))
    query = signer.query("symbol=%E5%B8%81%E5%AE%89USDT", 1_795_000_000_000, 5000)
    assert query == (
        "symbol=%E5%B8%81%E5%AE%89USDT&recvWindow=5000&timestamp=1795000000000"
        "&signature=d4d588f66b8d076ec9b3cde9d1321d53aa556d6e49ce45e3682314e6b9a01eb9"
    )


def test_each_account_subscribes_after_the_upgrade_and_goes_live_with_its_answer() -> None:
    adapter = spot()
    assert adapter.add(account("a"), NOW) == []
    assert adapter.add(account("b"), NOW) == []
    assert only(Connect, adapter.start(NOW)).url == "wss://ws-api.binance.com:443/ws-api/v3"
    first, second = requests(adapter.connected(NOW))
    assert first["method"] == "userDataStream.subscribe.signature"
    assert (first["params"]["apiKey"], second["params"]["apiKey"]) == ("key-a", "key-b")
    assert of(Live, adapter.received(subscribed(second["id"], 0), NOW)) == [Live("b")]
    assert of(Live, adapter.received(subscribed(first["id"], 1), NOW)) == [Live("a")]


def test_events_go_to_the_account_of_their_subscription() -> None:
    adapter = running("a", "b")
    for number, stream in enumerate(("a", "b")):
        emit = only(Emit, adapter.received(report(number, 7), NOW))
        assert emit.stream_id == stream
        assert isinstance(emit.event, ExecutionReport)


def test_an_account_can_join_and_leave_a_live_connection() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    adapter.received(subscribed(asked["id"], 5), NOW)
    assert only(Emit, adapter.received(report(5), NOW)).stream_id == "b"
    left = request(only(Send, adapter.remove("b", NOW)))
    assert (left["method"], left["params"]) == ("userDataStream.unsubscribe", {"subscriptionId": 5})
    assert adapter.received(report(5), NOW) == []
    assert adapter.received(error(left["id"], 400, -2036), NOW)[0].__class__ is Note
    assert only(Emit, adapter.received(report(0), NOW)).stream_id == "a"


def test_an_account_that_leaves_before_its_answer_is_unsubscribed_when_it_comes() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    assert adapter.remove("b", NOW) == []
    assert request(only(Send, adapter.received(subscribed(asked["id"], 9), NOW)))["params"] == {"subscriptionId": 9}
    assert adapter.received(report(9), NOW) == []


def test_events_that_overtake_the_answer_are_kept() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    assert adapter.received(report(3, 1), NOW) == []
    assert adapter.received(report(3, 2), NOW) == []
    outputs = adapter.received(subscribed(asked["id"], 3), NOW)
    assert [(emit.stream_id, emit.event.order_id) for emit in of(Emit, outputs)] == [("b", 1), ("b", 2)]  # type: ignore[union-attr]
    assert isinstance(outputs[-1], Live)


def test_streams_with_one_key_share_one_subscription() -> None:
    adapter = running("a")
    assert of(Live, adapter.add(account("twin", key="key-a"), NOW)) == [Live("twin")]
    assert [emit.stream_id for emit in of(Emit, adapter.received(report(0), NOW))] == ["a", "twin"]
    assert adapter.remove("a", NOW) == []
    assert [emit.stream_id for emit in of(Emit, adapter.received(report(0), NOW))] == ["twin"]
    assert of(Send, adapter.remove("twin", NOW))


def test_one_refused_account_does_not_touch_the_others() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    fail = only(Fail, adapter.received(error(asked["id"], 401, -2015, "Invalid API-key, IP, or permissions."), NOW))
    assert (fail.stream_id, fail.kind, fail.first_sight) == ("b", FailKind.CREDENTIAL, False)
    assert only(Emit, adapter.received(report(0), NOW)).stream_id == "a"
    assert adapter.deadline() is None


def test_an_unauthenticated_session_is_fatal_at_first_sight() -> None:
    adapter = spot()
    adapter.add(account("a"), NOW)
    asked = only(Send, adapter.connected(NOW))
    text = "WebSocket session not authenticated."
    fail = only(Fail, adapter.received(error(request(asked)["id"], 400, -1099, text), NOW))
    assert (fail.kind, fail.first_sight) == (FailKind.CREDENTIAL, True)


def test_an_error_without_an_id_belongs_to_the_only_account_that_waits() -> None:
    adapter = running("a", "b")
    adapter.add(account("c"), NOW)
    fail = only(Fail, adapter.received(error(None, 401, -2015), NOW))
    assert (fail.stream_id, fail.kind) == ("c", FailKind.CREDENTIAL)


def test_an_error_without_an_id_among_several_accounts_blames_none() -> None:
    adapter = running("a", "b")
    fail = only(Fail, adapter.received(error(None, 401, -2015), NOW))
    assert (fail.stream_id, fail.kind) == (None, FailKind.TRANSIENT)


def test_a_wrong_clock_is_read_again_and_the_subscribe_repeated_twice_at_most() -> None:
    adapter = spot()
    adapter.add(account("a"), NOW)
    asked = request(only(Send, adapter.connected(NOW)))
    for _ in range(2):
        call = only(Call, adapter.received(error(asked["id"], 400, -1021), NOW))
        assert call.url == "https://api.binance.com/api/v3/time"
        outputs = adapter.answered(call, ok({"serverTime": NOW.wall_ms + 7000}), NOW)
        assert only(ClockOffset, outputs).offset_ms == 7000
        asked = request(only(Send, outputs))
        assert asked["params"]["timestamp"] == NOW.wall_ms + 7000
    fail = only(Fail, adapter.received(error(asked["id"], 400, -1021), NOW))
    assert (fail.stream_id, fail.kind) == ("a", FailKind.TRANSIENT)


def test_accounts_with_a_wrong_clock_share_one_question_for_the_time() -> None:
    adapter = spot()
    adapter.add(account("a"), NOW)
    adapter.add(account("b"), NOW)
    first, second = requests(adapter.connected(NOW))
    call = only(Call, adapter.received(error(first["id"], 400, -1021), NOW))
    assert adapter.received(error(second["id"], 400, -1021), NOW) == []
    assert len(of(Send, adapter.answered(call, ok({"serverTime": NOW.wall_ms}), NOW))) == 2


def test_a_clock_that_cannot_be_read_still_leads_to_another_try() -> None:
    adapter = spot()
    adapter.add(account("a"), NOW)
    asked = request(only(Send, adapter.connected(NOW)))
    call = only(Call, adapter.received(error(asked["id"], 400, -1021), NOW))
    assert of(Send, adapter.answered(call, refused(500, 0), NOW))


def test_already_subscribed_is_resolved_through_the_list_of_subscriptions() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    listing = request(only(Send, adapter.received(error(asked["id"], 400, -2035), NOW)))
    assert listing["method"] == "session.subscriptions"
    told = frame({"id": listing["id"], "status": 200, "result": [{"subscriptionId": 0}, {"subscriptionId": 4}]})
    assert of(Live, adapter.received(told, NOW)) == [Live("b")]
    assert only(Emit, adapter.received(report(4), NOW)).stream_id == "b"


def test_a_second_key_of_the_same_account_asks_for_another_connection() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    listing = request(only(Send, adapter.received(error(asked["id"], 400, -2035), NOW)))
    told = frame({"id": listing["id"], "status": 200, "result": [{"subscriptionId": 0}]})
    fail = only(Fail, adapter.received(told, NOW))
    assert (fail.stream_id, fail.kind) == ("b", FailKind.TRANSIENT)


def test_used_up_subscription_ids_lead_to_a_new_connection() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    outputs = adapter.received(error(asked["id"], 400, -2042), NOW)
    assert of(Rotate, outputs)
    assert only(Fail, outputs).stream_id == "b"


def test_a_rate_limit_names_the_time_to_wait() -> None:
    adapter = running("a")
    asked = request(only(Send, adapter.add(account("b"), NOW)))
    data = {"serverTime": NOW.wall_ms, "retryAfter": NOW.wall_ms + 42_000}
    fail = only(Fail, adapter.received(error(asked["id"], 429, -1003, "Too much request weight", data), NOW))
    assert (fail.stream_id, fail.kind, fail.retry_after_s) == ("b", FailKind.RATE_LIMITED, 42.0)


def test_an_unanswered_subscribe_fails_only_its_stream() -> None:
    adapter = running("a")
    adapter.add(account("b"), NOW)
    assert adapter.deadline() == NOW.mono + ANSWER_S
    fail = only(Fail, adapter.woken(later(ANSWER_S)))
    assert (fail.stream_id, fail.kind) == ("b", FailKind.TRANSIENT)
    assert adapter.deadline() is None


@pytest.mark.parametrize(
    "notice", [{"event": {"e": "serverShutdown", "E": 1}}, {"subscriptionId": 0, "event": {"e": "serverShutdown"}}]
)
def test_a_shutdown_notice_rotates(notice: object) -> None:
    assert of(Rotate, running("a", "b").received(frame(notice), NOW))


# --- eventStreamTerminated ---


def terminated(subscription_id: int) -> bytes:
    return frame({"subscriptionId": subscription_id, "event": {"e": "eventStreamTerminated", "E": NOW.wall_ms}})


def test_a_terminated_subscription_is_subscribed_again_and_its_gap_read() -> None:
    adapter = running("a", "b")
    adapter.received(report(0, 5), NOW)
    asked = request(only(Send, adapter.received(terminated(0), later(100))))
    assert asked["params"]["apiKey"] == "key-a"
    assert only(Emit, adapter.received(report(1), NOW)).stream_id == "b"
    outputs = adapter.received(subscribed(asked["id"], 2), later(101))
    assert {path(call) for call in of(Call, outputs)} == {"/api/v3/openOrders", "/api/v3/account", "/api/v3/allOrders"}
    assert not of(Live, outputs)
    found = answer_all(adapter, of(Call, outputs), {"/api/v3/openOrders": [], "/api/v3/allOrders": []})
    single = next(output for output in found if isinstance(output, Call))
    assert path(single) == "/api/v3/order"
    told = adapter.answered(single, ok(order_row(5, status="CANCELED")), later(102))
    assert [event.order_status for event in events(told) if isinstance(event, ExecutionReport)] == ["CANCELED"]
    live = only(Live, told)
    assert live.stream_id == "a"
    assert live.gap is not None
    assert live.gap.from_ms == NOW.wall_ms + 40_000


def answer_all(adapter: SpotUser, calls: list[Call], bodies: dict[str, object]) -> list[Output]:
    outputs: list[Output] = []
    for call in calls:
        body = bodies.get(path(call), {"balances": [], "updateTime": 1})
        outputs += adapter.answered(call, ok(body), later(101))
    return outputs


def test_a_subscription_that_is_terminated_again_at_once_is_given_up() -> None:
    adapter = running("a", "b")
    asked = request(only(Send, adapter.received(terminated(0), NOW)))
    adapter.received(subscribed(asked["id"], 2), later(1))
    fail = only(Fail, adapter.received(terminated(2), later(2)))
    assert (fail.stream_id, fail.kind) == ("a", FailKind.TRANSIENT)


# --- gap repair on a new connection ---


def test_live_events_wait_for_the_repair() -> None:
    adapter = spot()
    adapter.add(account("a", resume=resume(known(1))), NOW)
    asked = request(only(Send, adapter.connected(NOW)))
    calls = of(Call, adapter.received(subscribed(asked["id"], 0), NOW))
    assert adapter.received(report(0, 2), NOW) == []
    outputs: list[Output] = []
    for call in calls:
        body: object = {"balances": [], "updateTime": 1}
        if path(call) == "/api/v3/openOrders":
            body = [order_row(1), order_row(3)]
        elif path(call) == "/api/v3/allOrders":
            body = []
        outputs += adapter.answered(call, ok(body), NOW)
    order_ids = [event.order_id for event in events(outputs) if isinstance(event, ExecutionReport)]
    assert order_ids == [3, 2]
    assert isinstance(outputs[-1], Live)


def test_a_subscription_of_another_feed_is_declined() -> None:
    from exchanges._adapter import TickerSubscription

    fail = only(Fail, spot().add(TickerSubscription(stream_id="t", exchange="binance"), NOW))
    assert fail.kind is FailKind.REQUEST


def test_new_key_material_for_a_stream_replaces_the_old() -> None:
    adapter = running("a")
    fresh = UserSubscription(stream_id="a", exchange="binance", credentials=credentials("new", "secret"))
    asked = requests(adapter.add(fresh, NOW))
    assert [one["method"] for one in asked] == ["userDataStream.unsubscribe", "userDataStream.subscribe.signature"]
    assert asked[1]["params"]["apiKey"] == "new"


def test_a_fill_is_not_lost_for_a_descriptive_field_of_an_unknown_type() -> None:
    outputs = running("a").received(report(0, f=7, n=None, t="x", z="1"), NOW)
    event = only(Emit, outputs).event
    assert isinstance(event, ExecutionReport)
    assert (event.total_trade_quantity, event.time_in_force) == ("1", UNSET)
    assert only(Note, outputs).what == "unreadable fields in executionReport: f, n, t"


def test_a_report_without_its_substance_publishes_nothing() -> None:
    outputs = running("a").received(report(0, i="x"), NOW)
    assert [type(output) for output in outputs] == [Note]


# --- what can't be told is asked for ---

ODD_REPORTS = pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"z": None}, "a frame that can't be read"),
        ({"X": 7}, "status 7, which no page lists"),
        ({"X": "HALTED"}, "status HALTED, which no page lists"),
    ],
)


@ODD_REPORTS
def test_an_order_in_a_state_that_no_page_lists_is_asked_for_and_not_guessed(
    fields: dict[str, object], why: str
) -> None:
    adapter = running("a", "b")
    outputs = adapter.received(report(0, order_id=7, **fields), NOW)
    assert not events(outputs)
    assert only(Note, outputs) == Note(f"order 7: {why}; it is asked for", "error")
    asked = only(Call, outputs)
    assert (path(asked), params(asked)["symbol"], params(asked)["orderId"]) == ("/api/v3/order", "BTCUSDT", "7")
    assert (asked.stream_id, asked.weight) == ("a", 4)
    outputs = adapter.answered(asked, ok(order_row(7, status="CANCELED", updateTime=NOW.wall_ms)), NOW)
    emit = only(Emit, outputs)
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.stream_id, emit.event.order_status, emit.event.new_client_order_id) == ("a", "CANCELED", "D-TP-7")


def test_an_order_whose_state_even_rest_does_not_name_is_said_and_nothing_is_published() -> None:
    adapter = running("a")
    asked = only(Call, adapter.received(report(0, order_id=7, X="HALTED"), NOW))
    outputs = adapter.answered(asked, ok(order_row(7, status="HALTED")), NOW)
    assert outputs == [Note("order 7: order 7: status HALTED, which no page lists", "error")]


def test_a_question_for_an_order_is_repeated_while_the_venue_is_busy() -> None:
    adapter = running("a")
    asked = only(Call, adapter.received(report(0, order_id=7, X="HALTED"), NOW))
    assert adapter.received(report(0, order_id=7, X="HALTED"), NOW)[1:] == []
    assert adapter.answered(asked, refused(503, 0), NOW) == []
    due = adapter.deadline()
    assert due is not None
    again = only(Call, adapter.woken(later(due - NOW.mono)))
    assert only(Emit, adapter.answered(again, ok(order_row(7, status="EXPIRED")), NOW))
    assert adapter.deadline() is None


def test_fills_that_a_question_finds_are_told_one_by_one() -> None:
    adapter = running("a")
    asked = only(Call, adapter.received(report(0, order_id=7, X="HALTED"), NOW))
    row = order_row(7, status="FILLED", executedQty="10", cummulativeQuoteQty="1000")
    fills = only(Call, adapter.answered(asked, ok(row), NOW))
    assert path(fills) == "/api/v3/myTrades"
    outputs = adapter.answered(fills, ok([trade_row(1, 7, "4", "100"), trade_row(2, 7, "6", "100")]), NOW)
    told = [event for event in events(outputs) if isinstance(event, ExecutionReport)]
    assert [(event.order_status, event.total_trade_quantity) for event in told] == [
        ("PARTIALLY_FILLED", "4"),
        ("FILLED", "10"),
    ]


# --- whose id an ended order has ---


def test_a_cancel_is_told_under_the_orders_own_id_because_the_backend_looks_at_the_new_one_first() -> None:
    adapter = running("a")
    cancel = report(0, c="web_6c1f", C="D-TP-1", x="CANCELED", X="CANCELED", z="4", Z="400")
    event = only(Emit, adapter.received(cancel, NOW)).event
    assert isinstance(event, ExecutionReport)
    assert (event.new_client_order_id, event.original_client_order_id) == ("D-TP-1", "D-TP-1")
    assert event.total_trade_quantity == "4"


def test_a_cancel_by_the_venue_keeps_the_only_id_that_it_has() -> None:
    event = only(Emit, running("a").received(report(0, x="CANCELED", X="CANCELED"), NOW)).event
    assert isinstance(event, ExecutionReport)
    assert (event.new_client_order_id, event.original_client_order_id) == ("D-TP-1", "")


def test_a_rejected_order_ends_and_can_be_found_by_either_id() -> None:
    event = only(Emit, running("a").received(report(0, x="REJECTED", X="REJECTED", r="NO"), NOW)).event
    assert isinstance(event, ExecutionReport)
    assert (event.order_status, event.execution_type, event.order_reject_reason) == ("CANCELED", "REJECTED", "NO")
    assert (event.new_client_order_id, event.original_client_order_id) == ("D-TP-1", "D-TP-1")


def test_an_amended_order_keeps_its_new_id() -> None:
    event = only(Emit, running("a").received(report(0, c="new", C="D-TP-1", x="REPLACED"), NOW)).event
    assert isinstance(event, ExecutionReport)
    assert (event.new_client_order_id, event.original_client_order_id) == ("new", "D-TP-1")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("PENDING_NEW", "NEW"),
        ("EXPIRED_IN_MATCH", "EXPIRED"),
        ("PENDING_CANCEL", "PENDING_CANCEL"),
        ("EXPIRED", "EXPIRED"),
    ],
)
def test_listed_states_get_names_that_the_platform_has(raw: str, status: str) -> None:
    event = only(Emit, running("a").received(report(0, X=raw), NOW)).event
    assert isinstance(event, ExecutionReport)
    assert event.order_status == status


def test_one_odd_balance_costs_only_itself() -> None:
    rows = [{"a": "BTC", "f": "1", "l": "0"}, {"a": "ETH", "f": None, "l": "0"}, {"a": "SOL", "f": "2", "l": "0"}]
    event = {"e": "outboundAccountPosition", "E": 1, "u": 1, "B": rows}
    outputs = running("a").received(frame({"subscriptionId": 0, "event": event}), NOW)
    position = only(Emit, outputs).event
    assert isinstance(position, AccountPosition)
    assert [row.asset for row in position.balances] == ["BTC", "SOL"]
    assert only(Note, outputs).what == "unreadable fields in outboundAccountPosition: B"


def test_idle_accounts_cost_nothing_when_the_deadline_is_asked() -> None:
    adapter = running(*(f"s{number}" for number in range(200)))
    assert adapter.deadline() is None
    assert adapter._busy == {}
