"""WhiteBIT's order ids and client orders one by one, positions, questions about single orders, and a gap's odd answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    EmitCandle,
    Fail,
    FailKind,
    KnownOrder,
    Note,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges._repair import Repaired
from exchanges._venue import Setup
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.whitebit import VENUE, _clients
from exchanges.whitebit._candle import POLL_AGAIN_S
from exchanges.whitebit._chain import HAND_OVER_MS, NOTHING, Client, Part, Sums, Unsure, learn
from exchanges.whitebit._clients import ClientOrders
from exchanges.whitebit._connection_frames import ANSWER_WITHIN_S, PING_EVERY_S, Numbers, heartbeat
from exchanges.whitebit._errors import RATE_WAIT_S
from exchanges.whitebit._gap import OVERLAP_S, PAGE, GapPlan, _before, history_rows, order_call
from exchanges.whitebit._orders import Orders
from exchanges.whitebit._positions import read_positions
from exchanges.whitebit._user import ACK_S, CHECK_EVERY_S, LIST_EVERY_S, LIST_WITHIN_S, TOKEN_TRIES
from tests.unit.connector.streams.test_tracker import report
from tests.unit.exchanges.driver import after, frame, json_answer, of, only, params, path, sent, setup
from tests.unit.exchanges.test_whitebit import (
    KEY,
    NOW,
    acknowledged,
    joined,
    pending,
    refused,
    reports,
    row,
    table,
)

# --- one order id ---


def state(status: str, executed: str = "0", *, placed: int = 0, at: int = 10, number: int = 7) -> ExecutionReport:
    told = report(status, executed, order=str(number), time=at)
    return msgspec.structs.replace(
        told, symbol="BTC-USDT", creation_time=placed, new_client_order_id="c", original_client_order_id="c"
    )


def known(status: str = "NEW", executed: str = "0", **more: Any) -> KnownOrder:
    facts: dict[str, Any] = {
        "order_id": "7", "client_order_id": "c", "symbol": "BTC-USDT", "status": status, "executed": executed,
        "quantity": "1", "side": "BUY", "order_type": "LIMIT",
    }  # fmt: skip
    return KnownOrder(**(facts | more))


def test_only_a_cancel_may_be_half_of_a_modify() -> None:
    part = Part(7)
    assert not part.canceled
    learn(part, state("NEW"), whole=False)
    assert not part.canceled
    learn(part, state("CANCELED"), whole=False)
    assert part.canceled


@pytest.mark.parametrize(
    ("order", "ended_ms"),
    [(known(), 0), (known("CANCELED", order_time_ms=50), 50), (known("CANCELED"), 1), (known(order_time_ms=50), 0)],
)
def test_an_order_that_was_told_as_ended_has_ended_whenever_that_was(order: KnownOrder, ended_ms: int) -> None:
    assert Part(7, order).ended_ms == ended_ms


def test_nobody_knows_when_an_id_was_placed_that_nothing_was_told_of() -> None:
    assert Part(7).placed_ms == 0


def two(old: ExecutionReport, new: ExecutionReport) -> tuple[Client, Part, Part]:
    client = Client()
    for one in (old, new):
        learn(client.part(int(str(one.order_id))), one, whole=False)
    return client, client.parts[0], client.parts[1]


def test_a_filled_order_hands_nothing_on() -> None:
    client, _, new = two(state("FILLED", "1"), state("NEW", number=8))
    assert list(client.chain(new)) == []
    client, old, new = two(state("CANCELED", "1"), state("NEW", number=8))
    assert list(client.chain(new)) == [old]


@pytest.mark.parametrize(("later_ms", "heir"), [(HAND_OVER_MS, True), (HAND_OVER_MS + 1, False)])
def test_an_id_that_ended_more_than_a_second_before_the_next_was_placed_has_no_heir(later_ms: int, heir: bool) -> None:
    client, old, new = two(state("CANCELED", at=5_000), state("NEW", placed=5_000 + later_ms, number=8))
    assert list(client.chain(new)) == ([old] if heir else [])


@pytest.mark.parametrize(("later_s", "heir"), [(1.0, True), (1.0005, False)])
def test_nor_one_whose_end_was_heard_of_more_than_a_second_before(later_s: float, heir: bool) -> None:
    client, old, new = two(state("CANCELED", at=5_000), state("NEW", placed=50_000, number=8))
    old.ended_mono, new.heard_mono = 64.0, 64.0 + later_s
    assert list(client.chain(new)) == ([old] if heir else [])


def test_what_all_ids_before_executed_is_sure_once_it_is_seen_whole() -> None:
    client, old, new = two(state("CANCELED", "0.4"), state("NEW", number=8))
    new.before = Sums(Decimal("0.4"), Decimal(0))
    new.unsure = Unsure(known(), Decimal(0))
    assert client.sure(new)
    new.before = Sums(Decimal("0.5"), Decimal(0))
    assert not client.sure(new)
    assert client.before(old) == NOTHING


# --- client orders ---


def test_an_order_that_is_known_by_its_own_id_or_by_no_number_is_no_client_order() -> None:
    others = [known(client_order_id="7"), known(order_id="x", client_order_id="c")]
    told = ClientOrders(others).told(state("CANCELED", "0.5"), wait_until=0)
    assert [(one.order_status, one.total_trade_quantity) for one in told] == [("CANCELED", "0.5")]


def test_those_heard_of_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clients, "MAX_CLIENTS", 2)
    clients = ClientOrders()
    for name in ("a", "b", "a", "c"):
        one = msgspec.structs.replace(state("PARTIALLY_FILLED", "0.4"), new_client_order_id=name)
        clients.told(one, wait_until=0)
    assert [name for _, name in clients._clients] == ["a", "c"]


def test_an_end_that_waits_has_its_time_and_others_wait_for_the_gap() -> None:
    clients = ClientOrders()
    end = state("CANCELED", "0.4")
    assert clients.told(end, wait_until=5.0, heard_mono=4.0, may_go_on=True) == []
    assert clients.due(4.9, gap_is_read=True) == []
    assert [one.order_status for one in clients.due(5.0, gap_is_read=True)] == ["CANCELED"]
    assert clients.told(state("CANCELED", number=9), wait_until=None, may_go_on=True) == []
    assert clients.due(99.0, gap_is_read=True) == []
    assert [str(one.order_id) for one in clients.gap_read()] == ["9"]


def test_an_order_that_was_replaced_is_told_to_be_once() -> None:
    clients = ClientOrders()
    clients.told(state("PARTIALLY_FILLED", "0.4"), wait_until=0)
    clients.told(state("CANCELED", "0.4"), wait_until=5.0, heard_mono=4.0, may_go_on=True)
    opened = clients.told(state("CANCELED", number=8), wait_until=0)
    assert [(str(one.order_id), one.order_status) for one in opened] == [("8", "PARTIALLY_FILLED"), ("8", "CANCELED")]
    again = clients.told(state("CANCELED", number=8, at=11), wait_until=0)
    assert [(str(one.order_id), one.order_status) for one in again] == [("8", "CANCELED")]


def test_the_id_after_one_that_is_told_as_ended_opens_nothing() -> None:
    clients = ClientOrders([known("CANCELED", "0.4", order_time_ms=10)])
    told = clients.told(state("CANCELED", number=8, at=11), wait_until=0)
    assert [one.order_status for one in told] == ["CANCELED"]


def test_a_fee_that_is_nothing_in_all_is_not_told() -> None:
    clients = ClientOrders()
    old = msgspec.structs.replace(state("CANCELED", "0.4"), fee_paid="0.1", fee_asset="USDT")
    new = msgspec.structs.replace(state("FILLED", "1", number=8), fee_paid="-0.1", fee_asset="USDT")
    clients.told(old, wait_until=5.0, heard_mono=4.0, may_go_on=True)
    (told,) = clients.told(new, wait_until=0)
    assert (told.fee_paid, told.fee_asset) == (msgspec.UNSET, msgspec.UNSET)


@pytest.mark.parametrize(("end_ms", "heard"), [(10, 3.0), (20, None)])
def test_an_end_with_a_time_of_its_own_needs_no_other(end_ms: int, heard: float | None) -> None:
    clients = ClientOrders()
    clients.told(state("PARTIALLY_FILLED", "0.4"), wait_until=0, heard_mono=1.0)
    clients.told(state("CANCELED", "0.4", at=end_ms), wait_until=9.0, heard_mono=3.0, may_go_on=True)
    (client,) = clients._clients.values()
    assert (client.parts[0].heard_mono, client.parts[0].ended_mono) == (1.0, heard)


def test_deals_that_tell_what_the_ids_before_were_worth_settle_it() -> None:
    clients = ClientOrders([known("PARTIALLY_FILLED", "0.7", executed_quote="70", quantity="1.4")], reading=True)
    clients.told(msgspec.structs.replace(state("PARTIALLY_FILLED", "0.5"), quantity="1"), wait_until=None)
    (unsure,) = clients.unsure()
    clients.resolve(unsure, Decimal(20))
    assert clients.unsure() == []
    (client,) = clients._clients.values()
    assert client.parts[0].before == (Decimal("0.4"), Decimal(50))


# --- frames ---


def test_requests_are_numbered_from_one_and_the_ping_is_none_of_them() -> None:
    numbers = Numbers()
    assert (numbers.next(), numbers.text()) == (1, "2")
    beat = heartbeat()
    beat.start(NOW)
    (ping,) = sent(beat.due(after(NOW, PING_EVERY_S)))
    assert ping == {"id": 0, "method": "ping", "params": []}
    assert ANSWER_WITHIN_S < PING_EVERY_S


# --- positions ---


def record(**more: Any) -> dict[str, Any]:
    return {"market": "BTC_PERP", "amount": "0.5", "base_price": "60000", "mtime": 1795300010.5} | more


def told_positions(*records: object, **params: object) -> Any:
    raw = msgspec.Raw(frame({"records": list(records)} | params))
    return read_positions(raw, lambda market: market.replace("_PERP", "-USDT"), 5)


@pytest.mark.parametrize(
    ("records", "sides"),
    [
        ([record()], [("BOTH", "0.5")]),
        ([record(amount="-0.5")], [("BOTH", "-0.5")]),
        ([record(), record(amount="-0.2")], [("LONG", "0.5"), ("SHORT", "-0.2")]),
        ([record(amount="0"), record(amount="-0.2")], [("LONG", "0"), ("SHORT", "-0.2")]),
        ([record(position_side="long")], [("LONG", "0.5")]),
        ([record(position_side="SHORT", amount="0.5")], [("SHORT", "-0.5")]),
        ([record(position_side="short", amount="-0.5")], [("SHORT", "-0.5")]),
        ([record(position_side="both")], [("BOTH", "0.5")]),
        ([record(position_side="both"), record(position_side="both")], [("BOTH", "0.5"), ("BOTH", "0.5")]),
        ([record(position_side="LONG"), record(position_side="LONG")], [("LONG", "0.5"), ("LONG", "0.5")]),
        ([record(position_side="SHORT"), record(position_side="SHORT")], [("SHORT", "-0.5"), ("SHORT", "-0.5")]),
        ([record(market="BTC_USDT")], []),
    ],
)
def test_a_position_has_the_side_that_it_says_or_that_its_sign_tells(
    records: list[dict[str, Any]], sides: list[tuple[str, str]]
) -> None:
    found = told_positions(*records)
    assert [(one.position_side, str(one.contracts)) for one in found.positions] == sides


@pytest.mark.parametrize(
    ("records", "params", "complete"),
    [
        ([record()], {"total": 1}, True),
        ([record()], {"total": 2}, False),
        ([record()], {}, True),
        ([], {}, True),
        ([], {"total": 0}, True),
        ([record(), 7], {"total": 1}, False),
    ],
)
def test_a_push_is_all_there_is_if_it_tells_as_many_as_it_counts_and_each_can_be_read(
    records: list[object], params: dict[str, object], complete: bool
) -> None:
    assert told_positions(*records, **params).complete is complete


# --- questions about single orders ---

UNREADABLE_ROW = {"id": 7, "market": "BTC_USDT", "amount": []}
FOUND = {"BTC_USDT": [{
    "orderId": 7, "side": "buy", "type": "Limit", "ctime": 1795300010.25, "ftime": 1795300020, "mtime": 1795300020,
    "dealStock": "0.4", "dealMoney": "24000", "dealFee": "0", "amount": "1", "left": "0.6", "price": "60000",
    "clientOrderId": "c", "status": "CANCELED",
}]}  # fmt: skip


def asked() -> tuple[Any, Call]:
    user, _ = joined()
    outputs = user.received(frame({"id": None, "method": "ordersPending_update", "params": [3, UNREADABLE_ROW]}), NOW)
    return user, only(Call, outputs)


def test_an_order_whose_frame_can_not_be_read_is_asked_for_and_told() -> None:
    user, call = asked()
    assert path(call) == "/api/v4/trade-account/order/history"
    told = reports(user.answered(call, json_answer(FOUND), NOW)) + reports(user.woken(after(NOW, 1.0)))
    assert [(one.order_status, one.total_trade_quantity) for one in told] == [("CANCELED", "0.4")]


def test_an_order_that_has_not_ended_is_looked_for_among_the_open_ones_of_its_market() -> None:
    user, call = asked()
    more = only(Call, user.answered(call, json_answer({}), NOW))
    body = msgspec.json.decode(more.body or b"{}")
    assert (path(more), body["market"], body["limit"], body["offset"]) == ("/api/v4/orders", "BTC_USDT", 100, 0)
    live = {**FOUND["BTC_USDT"][0], "market": "BTC_USDT", "timestamp": 1795300010.25, "status": "OPEN"}
    told = reports(user.answered(more, json_answer([live]), NOW))
    assert [one.order_status for one in told] == ["PARTIALLY_FILLED"]


def whys(outputs: Any) -> str:
    return " ".join(note.what for note in of(Note, outputs))


def test_an_answer_that_is_not_understood_and_an_order_that_nobody_knows_are_said() -> None:
    user, call = asked()
    more = only(Call, user.answered(call, json_answer({}), NOW))
    assert "the venue does not know it" in whys(user.answered(more, json_answer([]), NOW))
    user, call = asked()
    more = only(Call, user.answered(call, json_answer({}), NOW))
    assert "the answer is not understood" in whys(user.answered(more, json_answer({"a": 1}), NOW))


def test_a_busy_venue_is_asked_for_the_order_again_and_a_refused_key_is_not_asked_with() -> None:
    user, call = asked()
    busy = Answer(429, {"retry-after": "3"}, frame({"code": 0, "message": "Too many requests."}))
    assert of(Call, user.answered(call, busy, NOW)) == []
    again = [one for seconds in (2.9, 3.1, 40.0) for one in of(Call, user.woken(after(NOW, seconds)))]
    assert [path(one) for one in again] == ["/api/v4/trade-account/order/history"]
    user, call = asked()
    dead = Answer(401, {}, frame({"code": 0, "message": "Unauthorized request."}))
    said = whys(user.answered(call, dead, NOW))
    assert "nauthorized" in said
    assert not [one for seconds in (3.1, 40.0) for one in of(Call, user.woken(after(NOW, seconds)))]


@pytest.mark.parametrize(
    ("odd", "asks"),
    [({"id": "7"}, True), ({"id": True}, False), ({"id": None}, False), ({"id": 7.5}, False), ({"id": []}, False)],
)
def test_a_row_that_can_not_be_read_is_asked_for_by_an_id_that_is_one(odd: dict[str, Any], asks: bool) -> None:
    user, _ = joined()
    raw = {**UNREADABLE_ROW, **odd}
    outputs = user.received(frame({"id": None, "method": "ordersPending_update", "params": [3, raw]}), NOW)
    assert bool(of(Call, outputs)) is asks


def test_what_is_odd_about_frames_is_an_error_in_the_log() -> None:
    user, _ = joined()
    for raw in ([9, row()], [3, UNREADABLE_ROW], [3, row(status="HALTED")]):
        outputs = user.received(frame({"id": None, "method": "ordersPending_update", "params": raw}), NOW)
        assert [note.level for note in of(Note, outputs)] == ["error"]
    outputs = user.received(frame({"id": None, "method": "balanceSpot_update", "params": [{"BTC": 7}, 8]}), NOW)
    assert [note.level for note in of(Note, outputs)] == ["error", "error"]
    futures, _ = joined("whitebitUsdm")
    outputs = futures.received(frame({"id": None, "method": "balanceMargin_update", "params": [7]}), NOW)
    assert [note.level for note in of(Note, outputs)] == ["error"]


@pytest.mark.parametrize("method", ["otoOrdersPending_update", "positionsAccountMargin_update"])
def test_channels_that_tell_nothing_of_ours_are_silent(method: str) -> None:
    user, _ = joined()
    assert list(user.received(frame({"id": None, "method": method, "params": []}), NOW)) == []


def test_a_deal_of_an_order_that_no_frame_told_is_said_and_its_order_asked_for() -> None:
    user, _ = joined()
    params = [1, 1795300010.5, "BTC_USDT", 7, "60000", "0.5", "0.1", "c", 2, 2, "USDT"]
    assert of(Seen, user.received(frame({"id": None, "method": "deals_update", "params": params}), NOW))
    outputs = user.woken(after(NOW, 5.0))
    assert whys(outputs) == "a deal of an order that no frame told"
    assert path(only(Call, outputs)) == "/api/v4/trade-account/order/history"


def test_orders_that_were_told_before_are_known_to_the_connection() -> None:
    """Their deals need no question."""
    user, _ = joined(resume=Resume(since_ms=NOW.wall_ms - 60_000, orders=(known("PARTIALLY_FILLED", "0.4"),)))
    params = [1, 1795300010.5, "BTC_USDT", 7, "60000", "0.5", "0.1", "c", 2, 2, "USDT"]
    user.received(frame({"id": None, "method": "deals_update", "params": params}), NOW)
    assert "no frame told" not in whys(user.woken(after(NOW, 5.0)))


# --- joining ---


def unjoined(**options: Any) -> tuple[Any, Call]:
    user = VENUE.user(setup("whitebit", table()))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    return user, only(Call, user.connected(NOW))


@pytest.mark.parametrize(
    ("status", "body", "asks"),
    [(502, b"<html>", "public/platform/status"), (500, b"{}", "public/platform/status"), (403, b"<html>", "")],
)
def test_only_a_venue_in_trouble_is_asked_whether_it_is_maintenance(status: int, body: bytes, asks: str) -> None:
    user, call = unjoined()
    outputs = user.answered(call, Answer(status, {}, body), NOW)
    assert [path(one) for one in of(Call, outputs)] == ([f"/api/v4/{asks}"] if asks else [])
    if not asks:
        assert of(Fail, outputs)


def test_why_there_is_no_token_is_said_whatever_the_status_of_the_platform() -> None:
    user, call = unjoined()
    question = only(Call, user.answered(call, Answer(503, {}, frame({"message": "overloaded"})), NOW))
    fail = only(Fail, user.answered(question, json_answer({"status": 1}), NOW))
    assert (fail.kind, "no token" in fail.reason) == (FailKind.TRANSIENT, False)


def test_a_symbol_list_that_does_not_come_ends_the_connection_at_its_time() -> None:
    user = VENUE.user(setup("whitebit", EMPTY))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    assert of(Fail, user.connected(NOW)) == []
    seconds, fails = 0.0, []
    while not fails and seconds < 2 * LIST_WITHIN_S:
        seconds += LIST_EVERY_S
        fails = of(Fail, user.woken(after(NOW, seconds)))
    assert seconds == LIST_WITHIN_S
    assert "symbol list" in fails[0].reason


def two_markets() -> tuple[Any, dict[str, dict[str, Any]]]:
    """An account that has asked for its channels."""
    user, call = unjoined()
    authorise = sent(user.answered(call, json_answer({"websocket_token": "T"}), NOW))[0]
    return user, {one["method"]: one for one in sent(user.received(acknowledged(authorise), NOW))}


def test_a_market_that_is_refused_is_left_out_and_the_answer_waited_for() -> None:
    user, asked_for = two_markets()
    outputs = user.received(refused(asked_for["ordersExecuted_subscribe"], 1, "market ETH_USDT does not exist"), NOW)
    (again,) = sent(outputs)
    assert (again["method"], again["params"]) == ("ordersExecuted_subscribe", [["BTC_USDT"], 0])
    for one in (*(two for name, two in asked_for.items() if name != "ordersExecuted_subscribe"),):
        user.received(acknowledged(one), NOW)
    late = [fail for seconds in range(1, 120) for fail in of(Fail, user.woken(after(NOW, float(seconds))))]
    assert late
    assert "no answer to a request" in late[0].reason


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [(1, "invalid argument", FailKind.TRANSIENT), (4, "service timeout", FailKind.TRANSIENT)],
)
def test_another_refusal_ends_the_connection(code: int, text: str, kind: FailKind) -> None:
    user, asked_for = two_markets()
    fail = only(Fail, user.received(refused(asked_for["deals_subscribe"], code, text), NOW))
    assert fail.kind is kind


# --- gaps ---


def plan(exchange: str = "whitebit", *orders: KnownOrder, since_ms: int = NOW.wall_ms - 600_000) -> GapPlan:
    resume = Resume(since_ms=since_ms, orders=orders)
    return GapPlan(exchange, Orders(exchange, table), ClientOrders(orders, reading=True), resume, table)


def answer_to(gap: GapPlan, call: Call, value: object) -> Repaired:
    return gap.parse(call, json_answer(value), NOW)


def test_rows_that_can_not_be_read_are_counted_one_by_one() -> None:
    rows, bad = history_rows(frame({"BTC_USDT": [FOUND["BTC_USDT"][0], 7, {"orderId": "x"}], "ETH_USDT": 7}))
    assert ([one.id for one in rows], bad) == ([7], 3)
    assert history_rows(b"[]") == ([], 0)
    assert history_rows(b" [1, 2]")[1] == 2


def single(gap: GapPlan) -> Call:
    """The question about an order that no list shows."""
    return msgspec.structs.replace(order_call("7"), context="7")


def test_an_order_that_is_in_no_list_is_looked_for_three_times() -> None:
    gap = plan("whitebit", known("PARTIALLY_FILLED", "0.4", executed_quote="24000"))
    (still,) = answer_to(gap, single(gap), {}).calls
    body = msgspec.json.decode(still.body or b"{}")
    assert (body["market"], body["limit"], body["offset"]) == ("BTC_USDT", PAGE, 0)
    (deals,) = answer_to(gap, still, []).calls
    assert msgspec.json.decode(deals.body or b"{}")["orderId"] == 7


def test_a_full_page_without_the_order_or_an_odd_one_leaves_it_unknown() -> None:
    gap = plan("whitebit", known())
    (still,) = answer_to(gap, single(gap), {}).calls
    other = {**FOUND["BTC_USDT"][0], "orderId": 8, "market": "BTC_USDT", "timestamp": 1795300010.25}
    assert answer_to(gap, still, [other] * PAGE).missing
    assert answer_to(gap, still, [7]).missing
    assert answer_to(gap, still, [other] * (PAGE - 1)).calls


def test_the_row_of_the_order_is_told_though_others_beside_it_are_odd() -> None:
    gap = plan("whitebit", known())
    found = answer_to(gap, single(gap), {"BTC_USDT": [FOUND["BTC_USDT"][0], 7]})
    assert "1 that can't be read" in found.missing[0]
    assert not found.calls
    gap = plan("whitebit", known())
    odd = answer_to(gap, single(gap), {"BTC_USDT": [7]})
    assert odd.missing
    assert not odd.calls


def test_only_orders_that_were_open_and_are_in_no_list_are_asked_for() -> None:
    over, live_one = known("FILLED", order_id="8", client_order_id="d"), known(order_id="9", client_order_id="e")
    gap = plan("whitebit", known(), over, live_one)
    live = {
        **FOUND["BTC_USDT"][0],
        "orderId": 9,
        "market": "BTC_USDT",
        "timestamp": 1795300010.25,
        "clientOrderId": "e",
    }
    calls = list(gap.calls(NOW))
    answer_to(gap, calls[0], [live])
    assert gap._gone() == ["7"]


def test_what_ended_long_before_the_gap_is_not_told_and_the_last_seconds_before_it_are() -> None:
    edge_ms = NOW.wall_ms - 600_000 - OVERLAP_S * 1000
    for end_ms, told in ((edge_ms, True), (edge_ms - 1, False)):
        gap = plan()
        times = {"ctime": 1, "mtime": end_ms / 1000, "ftime": end_ms / 1000}
        past = list(gap.calls(NOW))[1]
        found = answer_to(gap, past, {"BTC_USDT": [{**FOUND["BTC_USDT"][0], **times}]})
        events = [*found.events, *gap._clients.gap_read()]
        assert bool(events) is told


def test_the_wallet_of_a_gap_counts_what_it_can_not_read() -> None:
    gap = plan("whitebitUsdm")
    good = {"asset": "USDT", "balance": "10", "borrow": "0", "availableWithoutBorrow": "4", "availableWithBorrow": "4"}
    found = answer_to(gap, gap.wallet(), [good, 7, "x"])
    assert found.missing == ["balances: 2 that can't be read"]
    assert of(AccountPosition, found.events)
    spot = answer_to(plan(), plan().wallet(), {"BTC": {"available": "1", "freeze": "0"}, "ETH": 7})
    assert spot.missing == ["balances: 1 that can't be read"]


def test_an_order_frame_needs_both_its_parts() -> None:
    user, _ = joined()
    for parts in ([], [3]):
        outputs = user.received(frame({"id": None, "method": "ordersPending_update", "params": parts}), NOW)
        assert [note.level for note in of(Note, outputs)] == ["error"]
        assert of(Call, outputs) == []
    assert reports(user.received(pending(1), NOW))


def asked_by(call: Call) -> Any:
    return msgspec.json.decode(call.body or b"{}")


@pytest.mark.parametrize(("age_s", "far"), [(600, False), (31 * 86_400, False), (31 * 86_400 + 1, True)])
def test_ended_orders_are_asked_for_since_the_gap_and_no_further_back_than_the_venue_lists_them(
    age_s: int, far: bool
) -> None:
    since_ms = NOW.wall_ms - age_s * 1000
    gap = plan(since_ms=since_ms)
    past = list(gap.calls(NOW))[1]
    oldest_s = NOW.wall_ms // 1000 - 31 * 86_400
    assert asked_by(past)["startDate"] == max(since_ms // 1000 - OVERLAP_S, oldest_s)
    assert answer_to(gap, past, {}).missing == (["orders that ended more than 31 days ago"] if far else [])


def test_an_open_order_that_was_found_after_all_is_told_and_nothing_is_missing() -> None:
    gap = plan("whitebit", known())
    (still,) = answer_to(gap, single(gap), {}).calls
    live = {**FOUND["BTC_USDT"][0], "market": "BTC_USDT", "timestamp": 1795300010.25, "status": "OPEN"}
    found = answer_to(gap, still, [live])
    assert (list(found.calls), list(found.missing)) == ([], [])


def test_an_ended_order_that_was_found_is_not_asked_for_again() -> None:
    gap = plan("whitebit", known())
    found = answer_to(gap, single(gap), FOUND)
    assert (list(found.calls), list(found.missing)) == ([], [])


def dealt(amount: str, money: str, at_s: float) -> dict[str, Any]:
    return {"time": at_s, "amount": amount, "deal": money}


def test_what_is_left_of_an_order_are_its_deals_unless_they_fill_a_page() -> None:
    for count, told in ((PAGE - 1, True), (PAGE, False)):
        gap = plan("whitebit", known())
        (still,) = answer_to(gap, single(gap), {}).calls
        (deals,) = answer_to(gap, still, []).calls
        rows = [dealt("0.001", "60", 1795300010.0 + number) for number in range(count)]
        found = answer_to(gap, deals, {"records": rows})
        events = [*found.events, *gap._clients.gap_read()]
        assert bool(events) is told
        assert bool(found.missing) is not told


def test_an_order_that_had_executed_nothing_has_only_its_deals() -> None:
    assert _before(known(), []) == (0, 0)


# --- prices and candles ---


def priced() -> tuple[Any, dict[str, Any]]:
    feed = VENUE.ticker(setup("whitebit", table()))
    feed.add(TickerSubscription(stream_id="t", exchange="whitebit", symbols=("BTC-USDT",)), NOW)
    (asked_for,) = [one for one in sent(feed.connected(NOW)) if one["method"] != "ping"]
    return feed, asked_for


def test_a_public_frame_of_nothing_is_said() -> None:
    feed, _ = priced()
    assert whys(feed.received(frame({"result": 1}), NOW)) == "unknown public frame without a method"
    assert whys(feed.received(frame({"id": 5, "method": "odd"}), NOW)) == "unknown public frame odd"


def test_a_busy_venue_is_asked_for_prices_again_later_each_time() -> None:
    feed, asked_for = priced()
    waits: list[float] = []
    now = NOW
    for _ in range(3):
        outputs = feed.received(refused(asked_for, 7, "too many requests"), now)
        assert whys(outputs).startswith("subscribe: ")
        assert of(Fail, outputs) == []
        seconds = 0.0
        again: list[Any] = []
        while not again and seconds < 600:
            seconds += 0.5
            again = [one for one in sent(feed.woken(after(now, seconds))) if one["method"] != "ping"]
        (asked_for,) = again
        waits.append(seconds)
        now = after(now, seconds)
    assert waits == sorted(set(waits)), "each pause is longer"


def candles(resume: int | None = None, symbol: str = "BTC-USDT") -> CandleSubscription:
    return CandleSubscription(
        stream_id=f"c{symbol}", exchange="whitebit", symbol=symbol, interval="1m", resume_start_ms=resume
    )


def test_the_past_of_a_candle_ends_now_in_seconds() -> None:
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(candles(NOW.wall_ms // 60_000 * 60_000 - 300_000), NOW)
    (asked_for,) = [one for one in sent(feed.connected(NOW)) if one["method"] != "ping"]
    assert asked_for["params"] == ["BTC_USDT", 60]
    call = only(Call, feed.received(acknowledged(asked_for), NOW))
    assert params(call)["end"] == str(NOW.wall_ms // 1000)


def test_an_answer_about_the_past_of_a_candle_that_is_not_understood_costs_only_itself() -> None:
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(candles(NOW.wall_ms // 60_000 * 60_000 - 300_000), NOW)
    (asked_for,) = [one for one in sent(feed.connected(NOW)) if one["method"] != "ping"]
    call = only(Call, feed.received(acknowledged(asked_for), NOW))
    assert of(Fail, feed.answered(call, json_answer({"result": 7}), NOW)) == []


def shared() -> tuple[Any, Call]:
    """Two candle topics on one connection are asked for; the first question."""
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(candles(), NOW)
    feed.connected(NOW)
    feed.add(candles(symbol="ETH-USDT"), NOW)
    due = feed.deadline()
    seconds = 0.0
    calls: list[Call] = []
    while not calls and seconds < 120:
        seconds += 0.5
        calls = of(Call, feed.woken(after(NOW, seconds)))
    assert due is not None
    return feed, calls[0]


def test_a_candle_that_the_list_does_not_have_yet_is_asked_for_again_soon_and_not_for_ever() -> None:
    feed, call = shared()
    assert "kline" in call.url
    now = after(NOW, 70.0)
    assert of(EmitCandle, feed.answered(call, json_answer({"success": True, "result": []}), now)) == []
    assert not [one for one in of(Call, feed.woken(now)) if one.context == call.context]
    again = [one for one in of(Call, feed.woken(after(now, POLL_AGAIN_S))) if one.context == call.context]
    assert len(again) == 1


def test_a_candle_that_was_told_is_followed_by_the_next_and_never_comes_again() -> None:
    feed, call = shared()
    start = int(params(call)["start"])
    row_of = [start, "1", "2", "4", "0.5", "9", "18"]
    early = [start - 60, "1", "2", "4", "0.5", "9", "18"]
    body = json_answer({"success": True, "result": [row_of, early]})
    now = after(NOW, 70.0)
    assert [one.candle.start for one in of(EmitCandle, feed.answered(call, body, now))] == [start * 1000]
    assert of(EmitCandle, feed.answered(call, body, now)) == []


def test_a_market_that_is_refused_late_has_its_own_time_for_an_answer() -> None:
    user, asked_for = two_markets()
    late = after(NOW, ACK_S - 1)
    user.received(refused(asked_for["ordersPending_subscribe"], 1, "market ETH_USDT does not exist"), late)
    assert of(Fail, user.woken(after(NOW, ACK_S))) == []
    assert of(Fail, user.woken(after(late, ACK_S)))


def test_a_candle_of_an_interval_that_there_is_not_fails_beside_one_that_there_is() -> None:
    feed = VENUE.candle(setup("whitebit", table()))
    feed.add(candles(), NOW)
    feed.connected(NOW)
    odd = msgspec.structs.replace(candles(symbol="ETH-USDT"), interval="7m")
    fail = only(Fail, feed.add(odd, NOW))
    assert "no candle interval '7m'" in fail.reason


# --- tokens, and leaving ---


def test_a_token_that_is_refused_for_its_rate_is_asked_for_again_later_each_time() -> None:
    user, call = unjoined()
    assert (call.method, call.attempt) == ("POST", 1)
    now, waits = NOW, []
    busy = Answer(429, {}, frame({"code": 0, "message": "Too many requests."}))
    for attempt in range(2, TOKEN_TRIES + 1):
        assert of(Fail, user.answered(call, busy, now)) == []
        due = user.deadline()
        assert due is not None
        waits.append(due - now.mono)
        now = after(now, waits[-1])
        (call,) = of(Call, user.woken(now))
        assert call.attempt == attempt
    assert waits == [RATE_WAIT_S * 2**step for step in range(TOKEN_TRIES - 1)]
    assert only(Fail, user.answered(call, busy, now)).kind is FailKind.RATE_LIMITED


def test_a_nonce_that_is_off_asks_for_the_venues_time_and_then_for_the_token_again() -> None:
    user, call = unjoined()
    off = Answer(
        422, {}, frame({"code": 0, "message": "Your nonce is more than 5 seconds lesser than the current nonce"})
    )
    question = only(Call, user.answered(call, off, NOW))
    assert (question.method, path(question)) == ("GET", "/api/v4/public/time")
    again = only(Call, user.answered(question, json_answer({"time": NOW.wall_ms // 1000}), NOW))
    assert again.attempt == 2


def test_whether_it_is_maintenance_is_asked_with_get() -> None:
    user, call = unjoined()
    assert only(Call, user.answered(call, Answer(502, {}, b"<html>"), NOW)).method == "GET"


def test_who_leaves_unsubscribes_from_all_channels_and_asks_nothing_more() -> None:
    user, _ = joined()
    assert [one["method"] for one in sent(user.remove("s", NOW)) if one["method"] != "ping"] == [
        "ordersPending_unsubscribe", "ordersExecuted_unsubscribe", "deals_unsubscribe", "balanceSpot_unsubscribe",
    ]  # fmt: skip
    user, call = unjoined()
    user.answered(call, Answer(429, {}, frame({"code": 0, "message": "Too many requests."})), NOW)
    user.remove("s", NOW)
    assert of(Call, user.woken(after(NOW, 600.0))) == []


@pytest.mark.parametrize("channel", ["deals_subscribe", "balanceSpot_subscribe"])
def test_a_channel_without_markets_that_is_refused_for_a_market_ends_the_connection(channel: str) -> None:
    user, asked_for = two_markets()
    fail = only(Fail, user.received(refused(asked_for[channel], 1, "market ETH_USDT does not exist"), NOW))
    assert fail.kind is FailKind.TRANSIENT


def test_orders_that_are_refused_for_a_market_that_was_not_named_end_the_connection() -> None:
    user, asked_for = two_markets()
    end = refused(asked_for["ordersPending_subscribe"], 1, "market XRP_USDT does not exist")
    assert only(Fail, user.received(end, NOW)).kind is FailKind.TRANSIENT


def test_a_changed_list_of_markets_is_subscribed_once_the_connection_stands() -> None:
    tables = [table()]
    user = VENUE.user(Setup(exchange="whitebit", new_id=lambda: "r", table=lambda: tables[-1], options={}))
    user.add(UserSubscription(stream_id="s", exchange="whitebit", credentials=KEY), NOW)
    user.start(NOW)
    token = only(Call, user.connected(NOW))
    authorise = sent(user.answered(token, json_answer({"websocket_token": "T"}), NOW))[0]
    asked_for = sent(user.received(acknowledged(authorise), NOW))
    tables.append(SymbolTable([*table().active(), Instrument(wire="XRP_USDT", pair="XRP-USDT")]))
    for one in asked_for:
        user.received(acknowledged(one), NOW)
    user.received(frame({"id": 0, "result": "pong"}), after(NOW, CHECK_EVERY_S - 1))
    again = [one for one in sent(user.woken(after(NOW, CHECK_EVERY_S))) if one["method"] != "ping"]
    assert [(one["method"], one["params"]) for one in again] == [
        ("ordersPending_subscribe", ["BTC_USDT", "ETH_USDT", "XRP_USDT"]),
        ("ordersExecuted_subscribe", [["BTC_USDT", "ETH_USDT", "XRP_USDT"], 0]),
    ]
    for one in again:
        assert not [
            half for half in user.received(acknowledged(one), after(NOW, CHECK_EVERY_S)) if isinstance(half, Call)
        ]
