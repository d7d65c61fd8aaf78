"""Orders and gaps of Kraken by what a bot would notice: spot, futures of the classic way, and keys of derivatives."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest

from exchanges._adapter import (
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    Fail,
    FailKind,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
)
from exchanges._times import rfc3339
from exchanges.instruments import EMPTY
from exchanges.kraken import VENUE
from exchanges.kraken._user_unified import PERMISSION
from tests.unit.exchanges import test_kraken as spot
from tests.unit.exchanges import test_kraken_futures as futures
from tests.unit.exchanges import test_kraken_unified as unified
from tests.unit.exchanges.driver import Driver, of, only, params, sent
from tests.unit.exchanges.test_kraken_futures import body, book, fill, fills, placed, rest_fill

WALL = spot.WALL
SINCE = WALL - 60_000


def missing(outputs: list[Output]) -> tuple[str, ...]:
    gap = only(Live, outputs).gap
    assert gap is not None
    return gap.missing


# --- spot ---


def test_a_client_id_that_changes_within_a_frame_is_told_from_its_row_on() -> None:
    drive = spot.Spot()
    drive.live()
    drive.executions(spot.PLACED)
    amended = spot.row(exec_type="amended", cl_ord_id="D-BO-2", order_qty=0.5)
    outputs = drive.executions(spot.trade(1, 0.12, 10578.06), amended)
    assert [(one.new_client_order_id, one.quantity) for one in spot.reports(outputs)] == [
        ("D-BO-1", "0.42"), ("D-BO-2", "0.5"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["iceberg_refill", "amended", "restated", "status"])
def test_a_row_that_only_says_that_something_changed_keeps_the_state(kind: str) -> None:
    drive = spot.Spot()
    drive.live()
    drive.executions(spot.PLACED, spot.trade(1, 0.12, 10578.06))
    outputs = drive.executions(spot.row(exec_type=kind))
    assert spot.steps(outputs) == [("PARTIALLY_FILLED", "0.12", "10578.06")]
    assert not of(Call, outputs)


@pytest.mark.parametrize("says", ["new", "pending_new", "", "filled"])
def test_a_trade_is_a_part_of_the_order_whatever_state_it_names(says: str) -> None:
    drive = spot.Spot()
    drive.live()
    drive.executions(spot.PLACED)
    outputs = drive.executions(spot.trade(1, 0.00002, 1.76) | {"order_status": says})
    assert spot.steps(outputs) == [("PARTIALLY_FILLED", "0.00002", "1.76")]


def test_a_row_of_an_order_that_ended_is_no_question_though_little_is_known_of_it() -> None:
    """Told with blanks before the connection, it would be asked for at each row."""
    ended = KnownOrder(order_id=spot.ORDER, client_order_id="D-BO-1", symbol="", status="CANCELED")
    drive = spot.Spot(Resume(since_ms=SINCE, orders=(ended,)))
    spot.repaired(drive, {})
    assert drive.executions(spot.row(exec_type="canceled", order_status="canceled")) == [Seen("u1")]


def test_an_order_of_a_gap_without_a_beginning_began_when_it_ended() -> None:
    found = spot.rest_order(status="canceled", opentm=None, closetm=1_795_299_970)
    outputs, calls = spot.repaired(
        spot.Spot(Resume(since_ms=SINCE)), {"closed orders": [spot.good({"closed": {"O": found}, "count": 1})]}
    )
    (report,) = spot.reports(outputs)
    assert (report.creation_time, report.order_time) == (1_795_299_970_000, 1_795_299_970_000)
    forms = [parse_qs(call.body or "") for call in calls if call.tag in ("open orders", "closed orders")]
    assert [form["trades"] for form in forms] == [["false"], ["false"]]


def test_an_order_that_changed_in_the_very_moment_in_which_the_gap_begins_is_told() -> None:
    rows = {"at": spot.rest_order(status="canceled", closetm=SINCE / 1000),
            "before": spot.rest_order(status="canceled", closetm=SINCE / 1000 - 1)}  # fmt: skip
    outputs, _ = spot.repaired(
        spot.Spot(Resume(since_ms=SINCE)), {"closed orders": [spot.good({"closed": rows, "count": 2})]}
    )
    assert [one.order_id for one in spot.reports(outputs)] == ["at"]


def test_frames_that_only_say_that_the_line_lives_tell_nothing() -> None:
    drive = spot.Spot()
    drive.live()
    for frame in ({"method": "pong", "req_id": 5}, {"method": "ping"}, {"channel": "heartbeat"}):
        assert drive.frame(frame) == []
    down = only(Fail, drive.frame({"channel": "status", "data": [{"system": "maintenance"}]}))
    assert (down.reason, down.retry_after_s) == ("Kraken is in maintenance", 3.5)


# --- futures: orders ---


def joined(resume: Resume | None = None) -> futures.Futures:
    drive = futures.Futures(resume)
    drive.live()
    return drive


def test_an_order_of_which_nothing_but_its_end_was_ever_told_is_dated_by_it() -> None:
    drive = joined()
    (call,) = of(Call, drive.frame(book("cancelled_by_user", cancel=True)))
    (call,) = of(Call, drive.answer(call, futures.good(orders=[])))
    (report,) = futures.reports(drive.answer(call, {"elements": []}))
    assert (report.creation_time, report.event_time, report.order_time) == (WALL, WALL, WALL)


def test_a_size_that_was_not_published_is_taken_from_the_order_that_leaves_the_book() -> None:
    drive = futures.Futures(Resume(since_ms=SINCE, orders=(futures.known(quantity="0"),)))
    rests = futures.status(state="ENTERED_BOOK", quantity=0.35, filled=0)
    futures.repaired(drive, {"order status": [futures.good(orders=[rests])]})
    drive.frame(fills(fill(0.1, None)))
    (report,) = futures.reports(drive.frame(book("cancelled_by_user", body(0.25, 0.1), cancel=True)))
    assert (report.order_status, report.quantity, report.total_trade_quantity) == ("CANCELED", "0.35", "0.1")


def test_a_fill_long_after_a_total_is_a_new_one_though_its_rest_is_that_of_before() -> None:
    """The order was made larger by just as much, and nobody saw it."""
    drive = joined()
    drive.frame(futures.snapshot(body(0.25, 0.1, last_update_time=WALL - 55_000)))
    (report,) = futures.reports(drive.frame(fills(fill(0.1, 0.25, time=WALL - 45_000))))
    assert (report.total_trade_quantity, report.quantity) == ("0.2", "0.45")
    drive = joined()
    drive.frame(futures.snapshot(body(0.25, 0.1, last_update_time=WALL - 55_000)))
    (report,) = futures.reports(drive.frame(fills(fill(0.1, 0.25, time=WALL - 54_000))))
    assert (report.total_trade_quantity, report.quantity) == ("0.1", "0.35")


@pytest.mark.parametrize("size", [0.00035, 35_000])
def test_the_whole_life_of_an_order_of_any_size(size: float) -> None:
    drive = joined()
    part, rest = size / 7 * 2, size / 7 * 5
    outputs = drive.frame(book("new_placed_order_by_user", body(size)))
    outputs += drive.frame(fills(fill(part, rest)))
    outputs += drive.frame(fills(fill(rest, 0)))
    outputs += drive.frame(book("full_fill", cancel=True))
    assert [step[0] for step in futures.steps(outputs)] == ["NEW", "PARTIALLY_FILLED", "FILLED"]
    assert float(futures.reports(outputs)[-1].total_trade_quantity) == pytest.approx(size)


def test_a_full_fill_of_an_order_that_nobody_ever_described_is_asked_for_and_then_noted() -> None:
    drive = joined()
    drive.frame(book("full_fill", cancel=True))
    (call,) = of(Call, drive.wake())
    (call,) = of(Call, drive.answer(call, futures.good(fills=[])))
    (call,) = of(Call, drive.answer(call, futures.good(orders=[])))
    outputs = drive.answer(call, {"elements": []})
    assert futures.reports(outputs) == []
    assert only(Note, outputs).what == f"order {futures.ORDER} is filled, and none of its fills can be had"


def test_what_the_venue_knows_of_a_short_order_is_waited_for_ten_seconds() -> None:
    drive = joined()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(fills(fill(0.2, 0, 5)))
    (call,) = of(Call, drive.wake())
    assert of(Call, drive.answer(call, futures.good(fills=[rest_fill(0.2, WALL, 5)])))
    assert drive.adapter.deadline() == drive.mono + 10
    (report,) = futures.reports(drive.wake())
    assert (report.order_status, report.quantity) == ("FILLED", "0.2")


# --- futures: gaps ---


def test_fills_are_read_on_while_the_oldest_is_of_the_moment_in_which_the_gap_begins() -> None:
    newest = [rest_fill(0.001, WALL - 10_000 - n) for n in range(99)] + [rest_fill(0.001, SINCE)]
    _, calls = futures.repaired(
        futures.Futures(futures.RESUME), {"fills": [futures.good(fills=newest), futures.good(fills=[])]}
    )
    assert len([call for call in calls if call.tag == "fills"]) == 2


def test_fills_and_the_history_are_read_up_to_a_bound_that_is_named() -> None:
    pages = [futures.good(fills=[rest_fill(0.001, WALL - 100 * page - n) for n in range(100)]) for page in range(20)]
    history: list[object] = [{"elements": [], "continuationToken": f"t{page}"} for page in range(20)]
    outputs, calls = futures.repaired(
        futures.Futures(Resume(since_ms=SINCE)), {"fills": list(pages), "order history": history}
    )
    tags = [call.tag for call in calls]
    assert (tags.count("fills"), tags.count("order history")) == (10, 5)
    assert "fills: more than 1000" in missing(outputs)
    assert "order history: more than 5 pages" in missing(outputs)


def test_an_order_of_the_history_without_a_size_is_told_with_the_symbol_and_the_side_that_it_has() -> None:
    """It went out without a symbol, and a sell as a buy."""
    ended = placed("odd", "0", name="OrderCancelled")
    ended["event"]["OrderCancelled"]["order"]["quantity"] = None  # type: ignore[index]
    outputs, _ = futures.repaired(
        futures.Futures(Resume(since_ms=SINCE)), {"order history": [{"elements": [ended, placed("rests", "1")]}]}
    )
    assert missing(outputs) == ()
    reports = futures.reports(outputs)
    assert [(one.order_id, one.order_status, one.symbol, one.side) for one in reports] == [
        ("odd", "CANCELED", "ETH-USD", "SELL"),
    ]  # fmt: skip


# --- futures: the connection ---


def test_a_refused_feed_is_told_also_when_nothing_waits_for_it() -> None:
    drive = joined()
    drive.frame({"event": "subscribed", "feed": "open_positions"})
    outputs = drive.frame({"event": "error", "message": "Trading engine unavailable"})
    assert only(Note, outputs).what == "error: Trading engine unavailable"
    for event in ("info", "pong", "unsubscribed"):
        assert drive.frame({"event": event}) == []
    fail = only(Fail, drive.frame({"event": "subscribed_failed", "feed": "fills"}))
    assert (fail.kind, fail.reason) == (FailKind.TRANSIENT, "subscribing fills failed")


def test_who_leaves_is_unsubscribed_from_what_was_asked_and_waits_for_nothing() -> None:
    drive = futures.Futures()
    drive.connected()
    assert drive.remove("u1") == []
    drive = futures.Futures()
    drive.joining()
    left = sent(drive.remove("u1"))
    assert [(one["event"], one["feed"]) for one in left] == [
        ("unsubscribe", feed) for feed in ("open_orders", "fills", "balances", "open_positions")
    ]
    assert {one["original_challenge"] for one in left} == {"5d0a3c1e-7b42-4f0e-9c55-0e2b7f1a9d64"}
    assert drive.adapter.deadline() is None
    assert drive.remove("u1") == []


# --- which way a key of derivatives goes ---


def nonces(drive: unified.Derivatives, call: Call) -> tuple[int, list[float], list[Output]]:
    """How often the token is asked for while its nonce comes too late, after which waits, and what comes of it."""
    asked, waits = 1, []
    while True:
        outputs = drive.answer(call, unified.bad("EAPI:Invalid nonce"))
        if outputs:
            return asked, waits, outputs
        before = drive.mono
        (call,) = of(Call, drive.wake())
        asked, waits = asked + 1, [*waits, drive.mono - before]


def test_a_nonce_that_never_fits_is_asked_five_times_and_then_the_venues_trouble() -> None:
    drive = unified.Derivatives(kind="")
    (call,) = of(Call, drive.first)
    asked, waits, outputs = nonces(drive, call)
    assert (asked, waits) == (5, [1.0] * 4)
    assert only(Fail, outputs).kind is FailKind.TRANSIENT


@pytest.mark.parametrize(
    ("text", "advised"), [("EGeneral:Permission denied", True), ("EAuth:Account temporary disabled", False)]
)
def test_only_a_key_that_lacks_a_permission_is_told_which(text: str, advised: bool) -> None:
    drive = unified.Derivatives(kind="")
    (call,) = of(Call, drive.first)
    fail = only(Fail, drive.answer(call, unified.bad(text)))
    assert (fail.kind, fail.stream_id, PERMISSION in fail.reason) == (FailKind.CREDENTIAL, "u1", advised)


def test_an_answer_about_a_key_whose_account_is_gone_opens_nothing() -> None:
    drive = unified.Derivatives(kind="")
    (call,) = of(Call, drive.first)
    drive.remove("u1")
    assert drive.answer(call, unified.good({"token": "T"})) == []
    assert not of(Connect, drive.connected())


# --- candles ---


def test_past_candles_are_asked_for_by_the_name_where_no_list_tells_another() -> None:
    drive = Driver(VENUE.candle, "kraken", EMPTY)
    start = drive.now.wall_ms // 3_600_000 * 3_600_000 - 7_200_000
    drive.add(
        CandleSubscription(stream_id="c", exchange="kraken", symbol="BTC-USD", interval="60", resume_start_ms=start)
    )
    drive.start()
    drive.connected()
    ack = {"method": "subscribe", "success": True, "result": {"channel": "ohlc", "symbol": "BTC/USD", "interval": 60}}
    (call,) = of(Call, drive.frame(ack))
    assert (params(call)["pair"], call.tag) == ("BTCUSD", "candles")
    outputs = drive.answer(call, b"<html>")
    assert not of(EmitCandle, outputs)
    again = of(Call, outputs) or of(Call, drive.wake())
    assert [call.tag for call in again] == ["candles"], "a page of something between is no answer"
    (went,) = of(Live, drive.answer(again[0], spot.good({"BTCUSD": 7})))
    assert went.gap is not None
    assert "unreadable answer: " in went.gap.missing[0]


def test_past_candles_of_the_unified_way_are_those_of_the_charts_read_in_three_pages() -> None:
    hour = 3_600_000
    drive = Driver(VENUE.candle, "krakenUsdm", unified.TABLE, KRAKEN_FUTURES_ROUTE="unified")
    start = drive.now.wall_ms // hour * hour - 9 * hour
    drive.add(
        CandleSubscription(stream_id="c", exchange="krakenUsdm", symbol="BTC-USD", interval="1h", resume_start_ms=start)
    )
    drive.start()
    drive.connected()
    ack = {"method": "subscribe", "success": True, "result": {"channel": "ohlc", "symbol": "PF_XBTUSD", "interval": 60}}
    calls = of(Call, drive.frame(ack))
    assert (params(calls[0])["from"], params(calls[0])["to"]) == (
        str(start // 1000),
        str(drive.now.wall_ms // 1000 + 1),
    )
    asked = []
    while calls:
        (call,) = calls
        asked.append((call.tag, call.pool))
        bar = {"time": start + len(asked) * hour, "open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}
        calls = of(Call, drive.answer(call, {"candles": [bar], "more_candles": True}))
    assert asked == [("candles", "candles")] * 3


@pytest.mark.parametrize(("symbol", "interval"), [("NO-ONE", "60"), ("BTC-USD", "7")])
def test_a_candle_that_cannot_be_had_is_refused_with_a_sentence(symbol: str, interval: str) -> None:
    drive = Driver(VENUE.candle, "kraken", spot.TABLE)
    outputs = drive.add(CandleSubscription(stream_id="c", exchange="kraken", symbol=symbol, interval=interval))
    fail = only(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "c")
    assert (symbol if interval == "60" else interval) in fail.reason


# --- the unified way: orders ---


def live(*rows: dict[str, object]) -> unified.Derivatives:
    drive = unified.Derivatives()
    drive.live(*(rows or (unified.trade(9, 9, order_id="old", cl_ord_id="old"),)))
    return drive


@pytest.mark.parametrize(
    "mark", [{"reason": "liquidation"}, {"exec_reason": "liquidation"}, {"fill_type": "liquidation"}, {"liquidated": True}]
)  # fmt: skip
def test_every_mark_of_a_liquidation_is_one_except_on_a_cancel(mark: dict[str, object]) -> None:
    drive = live()
    drive.frame(unified.executions(unified.row()))
    (report,) = unified.reports(drive.frame(unified.executions(unified.trade(0.1, 1, **mark))))
    assert report.liquidation is True
    drive = live()
    drive.frame(unified.executions(unified.row()))
    ended = {"order_id": unified.ORDER, "exec_type": "canceled", "order_status": "canceled", "reason": "liquidation"}
    (report,) = unified.reports(drive.frame(unified.executions(ended)))
    assert report.liquidation is False


@pytest.mark.parametrize(("fields", "kind"), [({}, "LIMIT"), ({"limit_price": None}, "MARKET")])
def test_a_new_order_without_a_type_is_a_limit_order_if_it_has_a_price(fields: dict[str, object], kind: str) -> None:
    drive = live()
    (report,) = unified.reports(drive.frame(unified.executions(unified.row(order_type=None, **fields))))
    assert (report.order_type, report.order_status) == (kind, "NEW")


@pytest.mark.parametrize("trigger", [{"stop_price": 91000}, {"triggers": {"price": 91000}}])
def test_the_price_of_a_stop_is_its_trigger(trigger: dict[str, object]) -> None:
    drive = live()
    stop = unified.row(order_type="stop-loss", limit_price=None, **trigger)
    (report,) = unified.reports(drive.frame(unified.executions(stop)))
    assert report.price == "91000"


def test_an_old_fill_of_the_first_snapshot_does_not_undo_an_amendment() -> None:
    drive = live(unified.row(order_qty=0.5, cum_qty=None, cum_cost=None),
                 unified.trade(0.1, 1, ago_ms=9_000, order_qty=0.35))  # fmt: skip
    outputs = drive.frame(unified.executions(unified.trade(0.25, 2)))
    outputs += drive.frame(unified.executions(unified.trade(0.15, 3, "filled")))
    assert [step[:2] for step in unified.steps(outputs)] == [("PARTIALLY_FILLED", "0.35"), ("FILLED", "0.5")]
    assert {report.quantity for report in unified.reports(outputs)} == {"0.5"}


@pytest.mark.parametrize(("filled", "told"), [(0.1, "PARTIALLY_FILLED"), (0, "NEW")])
def test_a_row_that_calls_an_order_filled_without_a_total_does_not_end_a_short_one(filled: float, told: str) -> None:
    drive = live()
    drive.frame(unified.executions(unified.row()))
    if filled:
        drive.frame(unified.executions(unified.trade(filled, 1)))
    end = {"order_id": unified.ORDER, "exec_type": "filled", "order_status": "filled", "timestamp": rfc3339(WALL)}
    outputs = drive.frame(unified.executions(end))
    assert [step[:2] for step in unified.steps(outputs)] == [(told, str(filled))]
    assert [one["method"] for one in sent(drive.after(5.5)) if one["method"] != "ping"] == ["unsubscribe", "subscribe"]


def test_an_order_whose_first_row_calls_it_filled_is_new_until_its_fills_are_here() -> None:
    drive = live()
    end = unified.row(exec_type="filled", order_status="filled", cum_qty=None, cum_cost=None)
    assert unified.steps(drive.frame(unified.executions(end))) == [("NEW", "0", "0")]
    outputs = drive.frame(unified.executions(unified.trade(0.35, 1, "filled")))
    assert unified.steps(outputs) == [("FILLED", "0.35", "31937.5")]


def test_orders_that_ended_are_not_missed_in_a_snapshot_that_is_asked_for_again() -> None:
    """A connection that ended for each of them never came to rest."""
    drive = live()
    drive.frame(unified.executions(unified.row(order_id="ended")))
    drive.frame(unified.executions({"order_id": "ended", "exec_type": "canceled", "order_status": "canceled"}))
    drive.frame(unified.executions(unified.row(order_id="rests"), unified.row()))
    drive.frame(unified.executions(unified.trade(0.25, 2, "filled")))
    drive.after(5.5)
    rows = [unified.row(order_id="rests"), unified.trade(0.25, 2, "filled"), unified.trade(0.1, 3)]
    outputs = drive.frame(unified.executions(*rows, kind="snapshot"))
    assert not of(Fail, outputs)
    assert ("FILLED", "0.35", "31937.5") in unified.steps(outputs)


# --- the unified way: gaps ---


def gap(*rows: dict[str, object], orders: tuple[KnownOrder, ...] = (unified.known(),)) -> list[Output]:
    return unified.gap(*rows, orders=orders)


def told(outputs: list[Output]) -> dict[str, tuple[str, str]]:
    return {str(one.order_id): (one.order_status, one.total_trade_quantity) for one in unified.reports(outputs)}


def test_fills_of_a_total_that_the_list_does_not_reach_are_not_counted_again() -> None:
    """Part of what was published is older than the list: what is later than it is new."""
    half = unified.known(status="PARTIALLY_FILLED", executed="0.2", executed_quote="18250", order_time_ms=WALL - 9_000)
    rows = [unified.trade(0.1, 1, ago_ms=9_000), unified.trade(0.1, 2, ago_ms=8_000)]
    assert unified.steps(gap(*rows, unified.OLD, orders=(half,))) == [("CANCELED", "0.3", "27375")]


def test_a_full_list_of_fills_that_reaches_behind_the_gap_leaves_nothing_out() -> None:
    assert told(gap(*unified.MANY[1:], unified.OLD))[unified.ORDER] == ("CANCELED", "0")


def test_an_end_that_nobody_saw_is_dated_by_the_repair_and_a_full_fill_by_itself() -> None:
    (report,) = unified.reports(gap(unified.trade(0.1, 1, ago_ms=9_000), unified.OLD))
    assert (report.order_status, report.order_time) == ("CANCELED", WALL)
    (report,) = unified.reports(gap(unified.OLD))
    assert (report.order_status, report.order_time) == ("CANCELED", WALL)
    (report,) = unified.reports(gap(unified.trade(0.35, 1, "filled", 9_000), unified.OLD))
    assert (report.order_status, report.order_time) == ("FILLED", WALL - 9_000)


def test_a_stranger_whose_fills_name_no_state_is_told_by_its_size() -> None:
    whole = unified.trade(0.00002, 1, "", 9_000, order_id="whole", cl_ord_id="W", order_qty=0.00002)
    part = unified.trade(0.00001, 2, "", 8_000, order_id="part", cl_ord_id="P", order_qty=0.00002)
    outputs = gap(whole, part, unified.OLD, orders=())
    assert told(outputs) == {"whole": ("FILLED", "0.00002"), "part": ("CANCELED", "0.00001")}
    assert unified.missing(outputs) == []


def test_an_order_that_goes_on_unchanged_under_another_id_is_told_under_it() -> None:
    """Its owner knows the old id only: without an event it can't be followed any more."""
    assert told(gap(unified.row(), orders=(unified.known("classic-1"),))) == {unified.ORDER: ("NEW", "0")}
    assert told(gap(unified.row())) == {}


def test_each_order_under_another_id_goes_on_from_its_own_total() -> None:
    half = unified.known("classic-1", client_order_id="A", status="PARTIALLY_FILLED", executed="0.1",
                         executed_quote="9125", order_time_ms=WALL - 30_000)  # fmt: skip
    other = unified.known("classic-2", client_order_id="B")
    blank = {"cum_qty": None, "cum_cost": None}
    rows = [unified.row(cl_ord_id="A", **blank), unified.row(order_id="other", cl_ord_id="B", **blank),
            unified.trade(0.1, 1, ago_ms=9_000, cl_ord_id="A")]  # fmt: skip
    for known in ((half, other), (other, half)):
        assert told(gap(*rows, orders=known)) == {
            unified.ORDER: ("PARTIALLY_FILLED", "0.2"), "other": ("NEW", "0"),
        }  # fmt: skip


def test_a_client_id_that_was_used_again_makes_the_end_of_the_others_no_guess() -> None:
    """Other ids keep their meaning: one of them is still open under the id that was published."""
    orders = (unified.known(), unified.known("again", client_order_id="A"), unified.known("gone", client_order_id="G"))
    outputs = gap(unified.row(), unified.row(order_id="new", cl_ord_id="A"), unified.OLD, orders=orders)
    assert told(outputs)["gone"] == ("CANCELED", "0")
    assert not of(Call, outputs)


def test_no_event_of_an_account_is_told_twice() -> None:
    drive = live()
    drive.frame(unified.executions(unified.row()))
    row = unified.trade(0.1, 1)
    first, again = drive.frame(unified.executions(row)), drive.frame(unified.executions(row))
    assert [len(of(Emit, outputs)) for outputs in (first, again)] == [1, 1]
    assert unified.steps(first) == unified.steps(again) == [("PARTIALLY_FILLED", "0.1", "9125")]
