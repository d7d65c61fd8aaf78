"""What OKX says seldom: pages at their limits, orders that two lists show, refusals, frames that tell nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from msgspec import UNSET

from exchanges._adapter import (
    Answer,
    Call,
    Emit,
    EmitTickers,
    Fail,
    FailKind,
    Live,
    Note,
    Output,
    Resume,
    Seen,
)
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.instruments import EMPTY
from exchanges.okx._orders import belongs_to, contract_type
from tests.unit.exchanges.driver import frame, of, only, params, path, sent
from tests.unit.exchanges.test_okx import (
    MINUTE,
    NOW,
    WALL,
    Drive,
    account,
    answer,
    at,
    balances,
    candle,
    candles,
    confirm,
    empty_lists,
    known,
    order,
    orders,
    repairing,
    tickers,
    topic,
)

DAY = 86_400_000


def reports(outputs: Sequence[Output]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def told(outputs: Sequence[Output]) -> list[tuple[object, str, str]]:
    return [(event.order_id, event.order_status, event.total_trade_quantity) for event in reports(outputs)]


def missing(outputs: Sequence[Output]) -> tuple[str, ...]:
    gap = of(Live, outputs)[-1].gap
    assert gap is not None
    return tuple(gap.missing)


def lists(drive: Drive, **rows: list[dict[str, str]]) -> list[Output]:
    """Answer the lists of a gap: `open`, `closed`, `fills`; what else is outstanding stays so."""
    outputs: list[Output] = []
    for tag, name in (("open orders", "open"), ("closed orders", "closed"), ("fills", "fills")):
        outputs += drive.reply(tag, answer(rows.get(name, [])))
    return [*outputs, *drive.reply("balances", answer([balances(WALL, USDT="1")]))]


# --- the lists of a gap ---


def test_lists_are_asked_for_whole_pages_of_each_kind() -> None:
    drive = repairing(Resume(since_ms=WALL - 8 * DAY))
    asked = {call.tag: (path(call), params(call)) for call in drive.calls}
    page = {"instType": "SPOT", "limit": "100"}
    assert asked == {
        "open orders": ("/api/v5/trade/orders-pending", page),
        "closed orders": ("/api/v5/trade/orders-history", page),
        "archived orders": ("/api/v5/trade/orders-history-archive", page),
        "fills": ("/api/v5/trade/fills", {**page, "begin": str(WALL - 3 * DAY)}),
        "balances": ("/api/v5/account/balance", {}),
    }
    assert {call.method for call in drive.calls} == {"GET"}


@pytest.mark.parametrize(("days", "archived"), [(6.9, False), (7.1, True)])
def test_the_archive_is_read_when_the_history_does_not_reach_back(days: float, archived: bool) -> None:
    drive = repairing(Resume(since_ms=WALL - int(days * DAY)))
    assert ("archived orders" in [call.tag for call in drive.calls]) == archived


@pytest.mark.parametrize(("days", "named"), [(2.9, ()), (3.1, ("fills older than three days",))])
def test_fills_that_the_venue_has_forgotten_are_named(days: float, named: tuple[str, ...]) -> None:
    assert missing(empty_lists(repairing(Resume(since_ms=WALL - int(days * DAY))))) == named


def test_an_order_that_two_lists_show_alike_is_told_once_and_its_older_state_not_at_all() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    part = order(state="partially_filled", accFillSz="1", avgPx="99", uTime=str(WALL - 9_000))
    done = order(state="filled", accFillSz="2", avgPx="99", uTime=str(WALL - 8_000))
    more = order(state="partially_filled", accFillSz="1.5", avgPx="99", uTime=str(WALL - 9_000))
    outputs = lists(drive, open=[part, part, more], closed=[done, done, part])
    assert told(outputs) == [("1", "PARTIALLY_FILLED", "1"), ("1", "PARTIALLY_FILLED", "1.5"), ("1", "FILLED", "2")]


def test_an_order_that_changed_at_the_very_beginning_of_the_gap_is_told() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    rows = [order(ordId=str(n), state="canceled", uTime=str(WALL - 30_000 - n)) for n in range(2)]
    assert told(lists(drive, closed=rows)) == [("0", "CANCELED", "0")]


@pytest.mark.parametrize(
    ("change", "news"),
    [
        ({}, False),
        ({"state": "partially_filled", "accFillSz": "1", "avgPx": "100"}, True),
        ({"px": "101"}, True),
        ({"sz": "3"}, True),
        ({"accFillSz": "0.5", "avgPx": "100"}, True),
        ({"px": "100.0", "sz": "2.00"}, False),
    ],
)
def test_an_open_order_is_told_again_only_if_something_of_it_is_other_than_before(
    change: dict[str, str], news: bool
) -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1"),)))
    assert bool(told(lists(drive, open=[order(ordId="1", **change)]))) == news


def test_an_order_that_had_ended_before_is_not_told_again() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("1", status="FILLED"),)))
    assert not told(lists(drive, closed=[order(ordId="1", state="filled", accFillSz="2", avgPx="99")]))


def test_an_odd_order_of_a_list_is_named_and_costs_only_itself() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    rows = [
        {"ordId": "x"},
        order(ordId="2", uTime="soon"),
        order(ordId="3", state="paused"),
        order(ordId="4", side="both"),
        order(ordId="5", cTime="soon"),
        order(ordId="6"),
    ]
    outputs = lists(drive, open=rows)
    assert [row[0] for row in told(outputs)] == ["6"]
    named = missing(outputs)
    assert [phrase.split(":")[0] for phrase in named] == [
        "open orders", "open orders", "order 3", "order 4 can't be read", "order 5 can't be read",
    ]  # fmt: skip
    assert named[2] == "order 3: order state paused is not known"


def test_an_order_whose_state_a_list_does_not_tell_is_not_asked_for_once_more() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(known("3"),)))
    lists(drive, open=[order(ordId="3", state="paused")])
    assert not drive.calls


def page_of(count: int, **changes: str) -> list[dict[str, str]]:
    return [order(ordId=str(1000 - n), **changes) for n in range(count)]


@pytest.mark.parametrize(("count", "asked"), [(99, 0), (100, 1)])
def test_only_a_full_page_has_another_behind_it(count: int, asked: int) -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.reply("open orders", answer(page_of(count, uTime=str(WALL - 90_000))))
    assert [call.tag for call in drive.calls].count("open orders") == asked
    drive.reply("fills", answer([{"instId": "BTC-USDT", "ordId": "5", "billId": str(n)} for n in range(count)]))
    assert [call.tag for call in drive.calls].count("fills") == asked


def test_a_page_with_one_order_of_the_gap_is_followed_and_odd_ones_count() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    rows: list[dict[str, str]] = [
        {"no": "order"},
        *page_of(98, uTime=str(WALL - 90_000), state="canceled"),
        order(ordId="9", uTime=str(WALL - 30_000), state="canceled"),
    ]
    drive.reply("closed orders", answer(rows))
    (page,) = [call for call in drive.calls if call.tag == "closed orders"]
    assert params(page) == {"instType": "SPOT", "limit": "100", "after": "9"}


def test_a_page_of_odd_fills_is_followed_by_the_last_bill_that_can_be_read() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    rows = [{"instId": "BTC-USDT", "ordId": str(n), "billId": str(n)} for n in range(98)]
    drive.reply("fills", answer([*rows, {"instId": "BTC-USDT", "ordId": "98", "billId": ""}, {"ordId": 7}]))
    (page,) = [call for call in drive.calls if call.tag == "fills"]
    assert (params(page)["after"], page.method) == ("97", "GET")
    drive.reply("fills", answer([]))
    drive.reply("open orders", answer([]))
    drive.reply("closed orders", answer([]))
    outputs = drive.reply("balances", answer([balances(WALL, USDT="1")]))
    while drive.calls:
        outputs = drive.reply("order", answer(code="51603", text="Order does not exist"))
    assert missing(outputs)[0].startswith("1 fills that can't be read")


def test_no_list_is_paged_for_ever_and_what_lies_deeper_is_named() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    asked = 0
    while [call for call in drive.calls if call.tag == "open orders"]:
        drive.reply("open orders", answer(page_of(100)))
        asked += 1
    assert asked == 20
    drive.reply("closed orders", answer([]))
    drive.reply("fills", answer([]))
    assert missing(drive.reply("balances", answer([balances(WALL, USDT="1")]))) == ("open orders: more than 2000",)


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        (answer(code="51000", text="Parameter error"), "fills: 51000 Parameter error"),
        (answer(code="50111", text="Invalid OK-ACCESS-KEY", status=401), "fills: 50111 Invalid OK-ACCESS-KEY"),
        (answer(code="51603", text="Order does not exist"), "fills: 51603 Order does not exist"),
        (answer({"no": "list"}), "fills: Expected `array`, got `object`"),
    ],
)
def test_a_list_that_the_venue_refuses_is_named_and_not_asked_for_again(reply: Answer, phrase: str) -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.reply("fills", reply)
    drive.reply("open orders", answer([]))
    drive.reply("closed orders", answer([]))
    assert missing(drive.reply("balances", answer([balances(WALL, USDT="1")]))) == (phrase,)


def test_trouble_that_passes_is_asked_again_after_a_second_and_a_limit_after_two_then_four() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    drive.reply("closed orders", answer(code="50001", text="Service temporarily unavailable"))
    assert drive.adapter.deadline() == NOW.mono + 1
    drive.note(drive.adapter.woken(at(1)))
    drive.reply("closed orders", answer([]), at(1))
    for begin, wait in ((1.0, 2.0), (3.0, 4.0)):
        drive.reply("fills", answer(code="50011", text="Too Many Requests"), at(begin))
        assert drive.adapter.deadline() == NOW.mono + begin + wait
        drive.note(drive.adapter.woken(at(begin + wait)))


def test_an_order_that_vanished_without_a_fill_is_told_as_it_was_placed() -> None:
    before = known(
        "1", side="SELL", order_type="MARKET", price="0.5", quantity="0.25", creation_time_ms=5, order_time_ms=7
    )
    drive = repairing(Resume(since_ms=WALL - 30_000, orders=(before,)))
    empty_lists(drive)
    (event,) = reports(drive.reply("order", answer(code="51603", text="Order does not exist")))
    assert (event.symbol, event.order_status, event.side, event.order_type) == (
        "BTC-USDT",
        "CANCELED",
        "SELL",
        "MARKET",
    )
    assert (event.price, event.quantity) == ("0.5", "0.25")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0", "0")
    assert (event.creation_time, event.event_time, event.order_time) == (5, WALL, WALL)
    assert (event.new_client_order_id, event.original_client_order_id) == ("C1", "C1")
    assert event.unique_message_id == "1:vanished"
    assert event.liquidation is False


def test_an_order_that_vanished_in_a_gap_longer_than_the_fills_are_kept_is_named() -> None:
    drive = repairing(Resume(since_ms=WALL - 4 * DAY, orders=(known("1"),)))
    empty_lists(drive)
    outputs = drive.reply("order", answer(code="51603", text="Order does not exist"))
    assert not reports(outputs)
    assert "order 1: its end is not known to the venue any more" in missing(outputs)


def test_an_order_that_only_a_fill_has_named_and_that_vanished_is_named() -> None:
    drive = repairing(Resume(since_ms=WALL - 30_000))
    empty_lists(drive, [{"instId": "BTC-USDT", "ordId": "5", "billId": "b"}])
    outputs = drive.reply("order", answer(code="51603", text="Order does not exist"))
    assert missing(outputs) == ("order 5: not known to the venue any more",)


# --- orders ---


def event_of(**fields: str) -> ExecutionReport:
    drive = Drive(account())
    drive.join()
    (event,) = reports(drive.feed(orders(order(**fields))))
    return event


def test_an_order_is_told_with_all_that_the_frame_says() -> None:
    event = event_of(state="partially_filled", accFillSz="0.5", avgPx="99", category="normal")
    assert (event.symbol, event.side, event.order_type) == ("BTC-USDT", "BUY", "LIMIT")
    assert (event.order_status, event.price, event.quantity) == ("PARTIALLY_FILLED", "99", "2")
    assert (event.total_trade_quantity, event.total_quote_trade_quantity) == ("0.5", "49.5")
    assert (event.creation_time, event.event_time, event.order_time) == (WALL - 60_000, WALL - 1_000, WALL - 1_000)
    assert event.unique_message_id == f"BTC-USDT:1:{WALL - 1_000}:partially_filled:2:100:0.5:limit:GABO1:normal"
    assert event.liquidation is False


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"ordType": "market"}, ("MARKET", "BUY", "NEW", False)),
        ({"ordType": "optimal_limit_ioc", "side": "sell"}, ("MARKET", "SELL", "NEW", False)),
        ({"ordType": "post_only", "state": "mmp_canceled"}, ("LIMIT", "BUY", "CANCELED", False)),
        ({"category": "full_liquidation"}, ("LIMIT", "BUY", "NEW", True)),
        ({"category": "partial_liquidation"}, ("LIMIT", "BUY", "NEW", False)),
        ({"category": "adl"}, ("LIMIT", "BUY", "NEW", False)),
    ],
)
def test_types_sides_states_and_liquidations_have_their_names(fields: dict[str, str], seen: tuple[object, ...]) -> None:
    event = event_of(**fields)
    assert (event.order_type, event.side, event.order_status, event.liquidation) == seen


def test_what_a_frame_leaves_out_is_nothing_and_its_time_the_update() -> None:
    event = event_of(cTime="", px="", sz="", accFillSz="")
    assert (event.creation_time, event.price, event.quantity, event.total_trade_quantity) == (
        WALL - 1_000,
        "0",
        "0",
        "0",
    )


@pytest.mark.parametrize(
    "fields", [{"fee": "", "feeCcy": "BTC"}, {"fee": "-0.1", "feeCcy": ""}, {"fee": "0", "feeCcy": "BTC"}]
)
def test_a_fee_without_a_size_or_a_coin_is_not_told(fields: dict[str, str]) -> None:
    event = event_of(**fields)
    assert (event.fee_paid, event.fee_asset) == (UNSET, UNSET)
    assert event_of(fee="-0.1", feeCcy="BTC").fee_asset == "BTC"


@pytest.mark.parametrize("fields", [{"accFillSz": "0", "avgPx": "99"}, {"accFillSz": "2", "avgPx": "", "px": ""}])
def test_a_filled_order_without_a_size_or_a_price_is_asked_for(fields: dict[str, str]) -> None:
    drive = Drive(account())
    drive.join()
    outputs = drive.feed(orders(order(state="filled", **fields)))
    assert not reports(outputs)
    assert [call.tag for call in of(Call, outputs)] == ["order"]


@pytest.mark.parametrize(
    ("wire", "kind", "home"),
    [
        ("BTC-USDT-SWAP", "linear", "okxLinear"),
        ("BTC-USD-SWAP", "inverse", "okxInverse"),
        ("BTC-USD_UM-SWAP", "linear", "okxLinear"),
        ("BTC-USD-251226", "future", ""),
        ("BTC-USD_UM_XPERP-310404", "xperp", "okxLinear"),
    ],
)
@pytest.mark.parametrize("inst_type", ["SWAP", "FUTURES", "SPOT"])
def test_an_instrument_belongs_to_one_id_by_its_name_alone(wire: str, kind: str, home: str, inst_type: str) -> None:
    assert contract_type(wire, EMPTY) == kind
    right = "FUTURES" if kind in ("xperp", "future") else "SWAP"
    owners = {exchange for exchange in ("okxLinear", "okxInverse") if belongs_to(inst_type, wire, exchange, EMPTY)}
    if inst_type == right:
        assert owners == ({home} if home else set())
    elif inst_type == "SPOT":
        assert not owners
    assert belongs_to(inst_type, wire, "okx", EMPTY) == (inst_type == "SPOT")


# --- the private connection ---


def test_the_account_is_asked_for_changes_only() -> None:
    drive = Drive(account("okxLinear"))
    requests = sent(drive.login())
    changes = '{"updateInterval": "0"}'
    assert [request["args"] for request in requests] == [
        [{"channel": "account", "extraParams": changes}],
        [{"channel": "orders", "instType": "SWAP"}],
        [{"channel": "orders", "instType": "FUTURES"}],
    ]
    followed = [arg for request in sent(drive.acknowledge()) for arg in request["args"]]
    assert followed
    assert all((arg["channel"], arg["extraParams"]) == ("positions", changes) for arg in followed)


def test_an_account_that_goes_leaves_every_channel() -> None:
    drive = Drive(account("okxLinear"))
    drive.join()
    (leave,) = sent(drive.adapter.remove("u1", NOW))
    left = [(arg["channel"], arg.get("instType", "")) for arg in leave["args"]]
    assert leave["op"] == "unsubscribe"
    assert left[:3] == [("account", ""), ("orders", "SWAP"), ("orders", "FUTURES")]
    assert {channel for channel, _ in left[3:]} == {"positions"}
    assert drive.adapter.deadline() == NOW.mono + 20, "nothing but the ping"


@pytest.mark.parametrize("event", ["unsubscribe", "channel-conn-count"])
def test_what_the_venue_says_of_itself_is_passed_over(event: str) -> None:
    drive = Drive(account())
    drive.join()
    assert not drive.feed({"event": event, "channel": "orders", "connCount": "2"})
    adapter = tickers("BTC-USDT-SWAP")
    adapter.connected(NOW)
    assert not adapter.received(frame({"event": event, "channel": "tickers"}), NOW)
    assert adapter.received(frame({"event": "news"}), NOW) == [Note("unknown public event news")]


def test_a_login_that_is_refused_for_its_time_asks_three_times_for_the_clock_and_then_ends() -> None:
    drive = Drive(account())
    drive.reply("config", answer([{"acctLv": "1"}]))
    refusal = {"event": "error", "code": "60006", "msg": "Timestamp request expired"}
    for _ in range(3):
        assert [call.tag for call in of(Call, drive.feed(refusal))] == ["time"]
    fail = only(Fail, drive.feed(refusal))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    assert "can't be read" in fail.reason


def test_an_answer_to_another_call_is_not_the_balances() -> None:
    drive = Drive(account())
    drive.join()
    stray = Call(tag="config", method="GET", url="https://www.okx.com/api/v5/account/config")
    assert not drive.adapter.answered(stray, answer([balances(WALL, USDT="1")]), NOW)


@pytest.mark.parametrize(
    ("reply", "notes"),
    [
        (answer(code="50001", text="busy"), ["the balances at the start are unknown: 50001 busy"]),
        (answer([7]), ["1 accounts that can't be read (Expected `object`, got `int`)"]),
    ],
)
def test_the_balances_at_the_start_that_cannot_be_read_are_said(reply: Answer, notes: list[str]) -> None:
    drive = Drive(account())
    drive.join()
    outputs = drive.reply("balances", reply)
    assert [note.what for note in of(Note, outputs)] == notes
    assert not of(Emit, outputs)


def test_an_odd_position_is_said_and_costs_only_itself() -> None:
    drive = Drive(account("okxLinear"))
    drive.join()
    outputs = drive.feed(
        {"arg": {"channel": "positions", "instType": "SWAP"}, "eventType": "event_update", "data": [7]}
    )
    (note,) = of(Note, outputs)
    assert (note.level, note.what.startswith("unreadable position")) == ("error", True)


def test_the_positions_are_read_once_their_channels_are_answered() -> None:
    drive = Drive(account("okxInverse"))
    outputs = drive.join()
    drive.reply("balances", answer([]))
    asked = [call for call in drive.calls if "positions" in call.url]
    assert not asked
    for request in sent(outputs):
        outputs = drive.feed({"id": request["id"], "event": "subscribe", "arg": request["args"][0]})
    outputs = [*outputs, *drive.adapter.woken(at(1))]
    assert [path(call) for call in of(Call, outputs)] == ["/api/v5/account/positions"]


def test_balances_keep_what_is_locked_and_older_ones_are_left_out() -> None:
    drive = Drive(account())
    drive.join()
    rows = [{"ccy": "BTC", "availBal": "0.4", "frozenBal": "0.1", "fixedBal": "0.25"}]
    pushed = {"arg": {"channel": "account"}, "data": [{"uTime": str(WALL), "details": rows}]}
    event = only(Emit, drive.feed(pushed)).event
    assert isinstance(event, AccountPosition)
    assert [(row.asset, row.free, row.locked) for row in event.balances] == [("BTC", "0.4", "0.35")]
    older = {"arg": {"channel": "account"}, "data": [{"uTime": str(WALL - 1), "details": rows}]}
    assert not of(Emit, drive.feed(older))


# --- public connections ---


def test_a_rate_limit_waits_two_seconds_again_after_a_success() -> None:
    adapter = tickers("A-USDT-SWAP", "B-USDT-SWAP")
    (request,) = sent(adapter.connected(NOW))
    limited = {"event": "error", "code": "60014", "msg": "Requests too frequent"}
    adapter.received(frame({**limited, "id": request["id"]}), NOW)
    (request,) = sent(adapter.woken(at(2.0)))
    adapter.received(frame({"event": "subscribe", "arg": request["args"][0]}), at(2.0))
    adapter.received(frame({**limited, "id": request["id"]}), at(2.5))
    assert adapter.deadline() == NOW.mono + 4.5


def test_a_price_connection_is_pinged_from_its_start() -> None:
    adapter = tickers("A-USDT-SWAP")
    confirm(adapter, adapter.connected(NOW))
    assert adapter.deadline() == NOW.mono + 20
    assert [getattr(output, "text", "") for output in adapter.woken(at(20))] == ["ping"]


def test_a_refused_topic_says_why() -> None:
    adapter = candles(topic())
    (request,) = sent(adapter.connected(NOW))
    fail = only(
        Fail, adapter.received(frame({"id": request["id"], "event": "error", "code": "60012", "msg": "bad"}), NOW)
    )
    assert (fail.kind, fail.reason) == (FailKind.REQUEST, "60012 bad")


def test_an_odd_ticker_is_said_and_costs_only_itself() -> None:
    adapter = tickers("BTC-USDT-SWAP")
    confirm(adapter, adapter.connected(NOW))
    row = {"instId": "BTC-USDT-SWAP", "last": "0.5", "vol24h": "7", "askSz": "2", "bidSz": "3", "ts": "soon"}
    outputs = adapter.received(frame({"data": [7, row]}), NOW)
    assert [note.what.split(" that")[0] for note in of(Note, outputs)] == ["1 tickers"]
    (ticker,) = only(EmitTickers, outputs).tickers
    assert (ticker.price, ticker.volume, ticker.best_ask_qnt, ticker.best_bid_qnt) == (0.5, 7.0, 2.0, 3.0)
    assert ticker.time == WALL
    assert adapter.received(frame({"data": [{**row, "last": "0"}]}), NOW) == [Seen("t1")]


# --- missed candles ---


@pytest.mark.parametrize(
    ("reply", "phrase"),
    [
        (answer(code="51000", text="Parameter bar error"), "candles: 51000 Parameter bar error"),
        (answer({"no": "list"}), "candles: Expected `array`, got `object`"),
    ],
)
def test_missed_candles_that_the_venue_refuses_are_named_at_once(reply: Answer, phrase: str) -> None:
    adapter = candles(topic(resume=MINUTE - 5 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    live = only(Live, adapter.answered(call, reply, NOW))
    assert live.gap is not None
    assert live.gap.missing == (phrase,)


@pytest.mark.parametrize("reply", [answer(code="50011", text="Too Many Requests"), Answer(200, {}, b"<html>")])
def test_missed_candles_are_asked_for_again_after_trouble_that_passes(reply: Answer) -> None:
    adapter = candles(topic(resume=MINUTE - 5 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    assert not adapter.answered(call, reply, NOW)
    (again,) = of(Call, adapter.woken(at(2)))
    assert (again.url, again.attempt) == (call.url, 2)


def rows(first: int, count: int) -> list[object]:
    return [candle(MINUTE - n * 60_000) for n in range(first, first + count)]


@pytest.mark.parametrize(
    ("page", "followed"), [(rows(0, 299), False), ([*rows(0, 299), ["x"]], True), ([["x"]] * 300, False)]
)
def test_only_a_full_page_of_candles_has_another_behind_it(page: list[object], followed: bool) -> None:
    adapter = candles(topic(resume=MINUTE - 2_000 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    assert bool(of(Call, adapter.answered(call, answer(page), NOW))) == followed


def test_so_many_candles_are_read_and_older_ones_named() -> None:
    adapter = candles(topic(resume=MINUTE - 2_000 * 60_000))
    (call,) = of(Call, confirm(adapter, adapter.connected(NOW)))
    assert (call.tag, params(call)["limit"], params(call)["before"]) == ("candles", "300", str(max_before()))
    asked, outputs = 0, [call]
    while of(Call, outputs):
        (call,) = of(Call, outputs)
        outputs = list(adapter.answered(call, answer(rows(asked * 300, 300)), NOW))
        asked += 1
    assert asked == 4
    live = only(Live, outputs)
    assert live.gap is not None
    assert (live.gap.candles, live.gap.missing) == (1_200, ("older candles than the venue hands out",))


def max_before() -> int:
    """One candle before the oldest of those that are handed out."""
    return WALL - 1_199 * 60_000 - 60_000


def test_an_odd_candle_of_a_frame_is_said() -> None:
    adapter = candles(topic())
    confirm(adapter, adapter.connected(NOW))
    pushed: Mapping[str, object] = {
        "arg": {"channel": "candle1m", "instId": "BTC-USDT"},
        "data": [["x"], candle(MINUTE)],
    }
    outputs = adapter.received(frame(pushed), NOW)
    assert [note.what.split(" that")[0] for note in of(Note, outputs)] == ["1 candles"]
