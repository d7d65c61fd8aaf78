"""Kraken futures: challenge, acknowledgements, fills that add up, removals, balances, gap repair, markets, settings."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import exchanges
from exchanges._adapter import (
    Call,
    CandleSubscription,
    Emit,
    EmitCandle,
    Fail,
    FailKind,
    Instant,
    KeyKind,
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges._times import rfc3339
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kraken import VENUE
from tests.unit.exchanges.driver import Driver, json_answer, of, only, params, path, sent

WALL = 1_795_300_000_000
NOW = Instant(1_000.0, WALL)
SECRET = base64.b64encode(bytes(range(64))).decode()
ORDER = "6f1f2c0e-3b0a-4c55-9e77-0d1b2f3a4c5d"
TABLE = SymbolTable(
    [
        Instrument(wire="PF_XBTUSD", pair="BTC-USD", base="BTC", quote="USD", settle="USD", kind="linear"),
        Instrument(wire="PF_ETHUSD", pair="ETH-USD", base="ETH", quote="USD", settle="USD", kind="linear"),
    ]
)
_ids = itertools.count(1_000)


def good(**rows: object) -> dict[str, object]:
    return {"result": "success", "serverTime": "2026-11-22T10:00:00.000Z", **rows}


def bad(text: str) -> dict[str, object]:
    return {"result": "error", "error": text}


def body(qty: float = 0.35, filled: float = 0, **fields: object) -> dict[str, object]:
    return {
        "instrument": "PF_XBTUSD", "time": WALL - 60_000, "last_update_time": WALL - 60_000, "qty": qty,
        "filled": filled, "limit_price": 91250, "stop_price": 0, "type": "limit", "order_id": ORDER,
        "cli_ord_id": "D-RO-1", "direction": 0, "reduce_only": False, **fields,
    }  # fmt: skip


def book(reason: str, order: dict[str, object] | None = None, *, cancel: bool = False) -> dict[str, object]:
    told: dict[str, object] = {"feed": "open_orders", "is_cancel": cancel, "reason": reason}
    return told | ({"order": order} if order is not None else {"order_id": ORDER})


def fill(qty: float, remaining: float | None, number: int = 0, **fields: object) -> dict[str, object]:
    number = number or next(_ids)
    row: dict[str, object] = {
        "instrument": "PF_XBTUSD", "time": WALL - 50_000 + number, "price": 91250, "seq": number, "buy": True,
        "qty": qty, "order_id": ORDER, "cli_ord_id": "D-RO-1", "fill_id": f"f{number}", "fill_type": "maker",
        "order_type": "limit", **fields,
    }  # fmt: skip
    return row if remaining is None else row | {"remaining_order_qty": remaining}


def fills(*rows: dict[str, object]) -> dict[str, object]:
    return {"feed": "fills", "username": "someone", "fills": rows}


def rest_fill(
    qty: float, time_ms: int, number: int = 0, order_id: str = ORDER, price: float = 91250
) -> dict[str, object]:
    return {"fill_id": f"f{number or next(_ids)}", "symbol": "PF_XBTUSD", "side": "buy", "order_id": order_id,
            "size": qty, "price": price, "fillTime": rfc3339(time_ms), "fillType": "maker"}  # fmt: skip


class Futures(Driver):
    """An account adapter, driven to where a test begins."""

    begin = NOW

    def __init__(self, resume: Resume | None = None, **options: str) -> None:
        super().__init__(VENUE.user, "krakenUsdm", TABLE, **options)
        keys = credentials("AK", SECRET)
        self.first = [
            *self.add(
                UserSubscription(
                    stream_id="u1", exchange="krakenUsdm", credentials=keys, resume=resume, key_kind="derivatives"
                )
            ),
            *self.start(),
        ]

    def joining(self) -> list[Output]:
        """Up to the subscribe requests."""
        self.connected()
        return self.frame({"event": "challenge", "message": "5d0a3c1e-7b42-4f0e-9c55-0e2b7f1a9d64"})

    def live(self) -> list[Output]:
        """Up to the acknowledgements; returns what they lead to."""
        feeds = [request["feed"] for request in sent(self.joining())]
        return [output for feed in feeds for output in self.frame({"event": "subscribed", "feed": feed})]


def reports(outputs: Iterable[object]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def steps(outputs: Iterable[object]) -> list[tuple[str, str, str]]:
    return [(r.order_status, r.total_trade_quantity, r.total_quote_trade_quantity) for r in reports(outputs)]


def positions(outputs: Iterable[object]) -> list[list[Balance]]:
    return [emit.event.balances for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]


# --- joining ---


def test_the_demo_that_is_gone_is_refused_and_no_key_goes_to_production() -> None:
    """The venue retired its demo futures on 2026-07-14; its host answers with a redirect."""
    assert VENUE.option_refusal({}) is VENUE.option_refusal({"KRAKEN_ENV": "live"}) is None
    reason = VENUE.option_refusal({"KRAKEN_ENV": " Demo "})
    assert reason is not None
    assert "KRAKEN_ENV=demo" in reason
    assert "2026-07-14" in reason
    assert exchanges.option_refusals({"KRAKEN_ENV": "demo"}) == [reason]
    drive = Futures(KRAKEN_ENV="demo")
    fail = only(Fail, drive.first)
    assert (fail.kind, fail.stream_id, fail.reason) == (FailKind.REQUEST, "u1", reason)
    assert drive.first == [fail]
    assert VENUE.instruments("krakenUsdm", {"KRAKEN_ENV": "demo"}).start() == []
    assert len(VENUE.instruments("kraken", {"KRAKEN_ENV": "demo"}).start()) == 4, "spot has its own hosts"


@pytest.mark.parametrize("exchange", ["kraken", "krakenUsdm"])
def test_a_sandbox_account_is_refused_and_its_key_stays_here(exchange: str) -> None:
    """A key of a sandbox went to production, which refused it; a key of production streamed a real account."""
    drive = Driver(VENUE.user, exchange, TABLE)
    keys = credentials("AK", SECRET, environment="sandbox")
    outputs = [*drive.add(UserSubscription(stream_id="u1", exchange=exchange, credentials=keys)), *drive.start()]
    fail = only(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "u1")
    assert "no sandbox" in fail.reason
    assert outputs == [fail]


def test_every_private_feed_carries_the_signed_challenge() -> None:
    drive = Futures()
    assert sent(drive.connected()) == [{"event": "challenge", "api_key": "AK"}]
    assert drive.frame({"event": "info", "version": 1}) == []
    challenge = "5d0a3c1e-7b42-4f0e-9c55-0e2b7f1a9d64"
    requests = sent(drive.frame({"event": "challenge", "message": challenge}))
    assert [request["feed"] for request in requests] == ["open_orders", "fills", "balances"]
    for request in requests:
        assert (request["api_key"], request["original_challenge"]) == ("AK", challenge)
        assert request["signed_challenge"].startswith("Z4cOj0zwXh9KGTZIrDz")
    assert drive.frame({"event": "challenge", "message": "another"}) == []


def test_live_only_after_all_feeds_are_acknowledged() -> None:
    drive = Futures()
    drive.joining()
    for feed in ("fills", "balances", "balances"):
        assert drive.frame({"event": "subscribed", "feed": feed, "api_key": "AK", "signed_challenge": "x"}) == []
    kind, live, positions = drive.frame({"event": "subscribed", "feed": "open_orders"})
    assert live == Live("u1")
    assert [request["feed"] for request in sent([positions])] == ["open_positions"]
    assert isinstance(kind, KeyKind)
    assert (kind.kind, "2027-03-01" in kind.advice) == ("derivatives", True)


@pytest.mark.parametrize(
    "answer",
    [
        {"event": "subscribed_failed", "feed": "open_positions"},
        {"event": "alert", "message": "Failed to subscribe to authenticated feed"},
    ],
)
def test_a_refused_feed_of_positions_costs_positions_only(answer: dict[str, object]) -> None:
    drive = Futures()
    drive.joining()
    for feed in ("fills", "balances", "open_orders"):
        drive.frame({"event": "subscribed", "feed": feed})
    assert "positions" in only(Note, drive.frame(answer)).what
    assert of(Fail, drive.frame({"event": "alert", "message": "Failed to subscribe to authenticated feed"}))


def test_a_refused_feed_is_the_failure_of_the_account() -> None:
    """Bug A11: a revoked key was retried for ever; that its three rejections are one strike is the session's business."""
    drive = Futures()
    drive.joining()
    alert = {"event": "alert", "message": "Failed to subscribe to authenticated feed"}
    fail = only(Fail, drive.frame(alert))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "u1", True)


def test_an_outage_of_the_engine_is_waited_for() -> None:
    drive = Futures()
    drive.connected()
    fail = only(Fail, drive.frame({"event": "alert", "message": "Trading engine unavailable"}))
    assert (fail.kind, fail.retry_after_s, fail.stream_id) == (FailKind.TRANSIENT, 3.5, None)


def test_a_feed_that_exists_already_counts_as_acknowledged() -> None:
    drive = Futures()
    drive.joining()
    text = "Already subscribed to feed, re-requesting"
    outputs = [
        output
        for feed in ("open_orders", "fills", "balances")
        for output in drive.frame({"event": "alert", "feed": feed, "message": text})
    ]
    assert only(Live, outputs).stream_id == "u1"
    assert {note.level for note in of(Note, outputs)} == {"info"}


@pytest.mark.parametrize("joined", [False, True])
def test_a_silent_venue_ends_the_connection(joined: bool) -> None:
    drive = Futures()
    if joined:
        drive.joining()
    else:
        drive.connected()
    assert only(Fail, drive.wake()).kind is FailKind.TRANSIENT


# --- orders ---


def test_the_size_of_an_order_is_what_is_open_and_what_is_filled() -> None:
    """Bug B1: `qty` was taken for the size, so half a fill was a FILLED, and the bot bought the rest again."""
    drive = Futures()
    drive.live()
    outputs = drive.frame(book("new_placed_order_by_user", body()))
    outputs += drive.frame(fills(fill(0.1, 0.25)))
    outputs += drive.frame(book("partial_fill", body(0.25, 0.1)))
    outputs += drive.frame(fills(fill(0.1, 0.15)))
    outputs += drive.frame(book("partial_fill", body(0.15, 0.2)))
    outputs += drive.frame(fills(fill(0.15, 0)))
    outputs += drive.frame(book("full_fill", cancel=True))
    assert [step[:2] for step in steps(outputs)] == [
        ("NEW", "0"), ("PARTIALLY_FILLED", "0.1"), ("PARTIALLY_FILLED", "0.2"), ("FILLED", "0.35"),
    ]  # fmt: skip
    assert {report.quantity for report in reports(outputs)} == {"0.35"}


@pytest.mark.parametrize("order", [body(0, 0.35), None], ids=["with a body", "ids only"])
def test_a_full_fill_is_never_a_cancel(order: dict[str, object] | None) -> None:
    """Bug B2."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(fills(fill(0.35, 0)))
    assert drive.frame(book("full_fill", order, cancel=True)) == [Seen("u1")]


def test_sides_are_buy_for_0_and_sell_for_1() -> None:
    drive = Futures()
    drive.live()
    sides = [
        reports(drive.frame(book("new_placed_order_by_user", body(order_id=f"o{n}", direction=n))))[0].side
        for n in (0, 1)
    ]
    assert sides == ["BUY", "SELL"]
    assert only(Note, drive.frame(book("new_placed_order_by_user", body(order_id="o2", direction=2)))).level == "error"


def test_fills_add_up_once_and_in_the_order_of_their_times() -> None:
    """Bugs B10, C1: batches come newest first, and one fill was told as the total."""
    drive = Futures()
    drive.live()
    first, second = fill(0.1, 0.25, 1, price=91250), fill(0.25, 0, 2, price=91240)
    outputs = drive.frame(fills(second, first))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.1", "9125"), ("FILLED", "0.35", "31935")]
    assert {report.quantity for report in reports(outputs)} == {"0.35"}
    assert steps(drive.frame(fills(first, second))) == [("FILLED", "0.35", "31935")] * 2


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(5)), st.lists(st.integers(0, 4), max_size=4), st.integers(0, 4))
def test_any_order_of_fills_gives_the_whole_sum_and_no_early_end(
    order: Sequence[int], again: Sequence[int], batch: int
) -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body(1.5)))
    rows = [fill((n + 1) / 10, round(1.5 - sum((m + 1) / 10 for m in range(n + 1)), 1), n + 1) for n in range(5)]
    sequence = [*order, *again]
    outputs = drive.frame(fills(*(rows[n] for n in sequence[:batch]))) if batch else []
    for n in sequence[batch:]:
        outputs += drive.frame(fills(rows[n]))
    told = steps(outputs)
    complete = [index for index, step in enumerate(told) if step[0] == "FILLED"]
    assert {told[index][1] for index in complete} == {"1.5"}
    assert complete[0] == next(index for index, step in enumerate(told) if step[1] == "1.5")
    assert {report.quantity for report in reports(outputs)} == {"1.5"}


def test_a_fill_that_the_book_told_and_the_feed_did_not_is_read_over_rest() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    assert drive.frame(book("partial_fill", body(0.25, 0.1))) == [Seen("u1")]
    (call,) = of(Call, drive.wake())
    assert (path(call), drive.mono) == ("/derivatives/api/v3/fills", NOW.mono + 5)
    outputs = drive.answer(call, good(fills=[rest_fill(0.1, WALL - 1_000), rest_fill(9, WALL, order_id="other")]))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.1", "9125")]
    assert reports(outputs)[0].new_client_order_id == "D-RO-1"


def test_a_fill_that_follows_in_time_needs_no_rest() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(book("full_fill", body(0, 0.35), cancel=True))
    assert steps(drive.frame(fills(fill(0.35, 0)))) == [("FILLED", "0.35", "31937.5")]
    assert drive.adapter.deadline() is None


def test_a_last_fill_whose_sum_is_short_is_no_end() -> None:
    """One before it is missing: the first FILLED is final for the backend."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    assert steps(drive.frame(fills(fill(0.25, 0, 9)))) == [("PARTIALLY_FILLED", "0.25", "22812.5")]
    (call,) = of(Call, drive.wake())
    outputs = drive.answer(call, good(fills=[rest_fill(0.25, WALL, 9), rest_fill(0.1, WALL - 1_000)]))
    assert steps(outputs) == [("FILLED", "0.35", "31937.5")]


def test_an_order_that_was_partly_filled_before_goes_on_from_there() -> None:
    drive = Futures()
    drive.live()
    snapshot = {"feed": "open_orders_snapshot", "orders": [body(0.25, 0.1, last_update_time=WALL - 55_000)]}
    assert drive.frame(snapshot) == [Seen("u1")]
    old = fill(0.1, None, 1, time=WALL - 55_500, price=91000)
    assert drive.frame({"feed": "fills_snapshot", "fills": [old]}) == [Seen("u1")]
    assert steps(drive.frame(fills(fill(0.25, 0)))) == [("FILLED", "0.35", "31912.5")]


def test_a_fill_that_the_first_sight_of_the_order_contains_counts_once() -> None:
    drive = Futures()
    drive.live()
    outputs = drive.frame(book("new_placed_order_by_user", body(0.25, 0.1, last_update_time=WALL - 55_000)))
    outputs += drive.frame(fills(fill(0.1, 0.25, time=WALL - 54_999, price=91200)))
    outputs += drive.frame(fills(fill(0.25, 0, time=WALL - 54_000, price=91250)))
    assert steps(outputs) == [
        ("PARTIALLY_FILLED", "0.1", "9125"), ("PARTIALLY_FILLED", "0.1", "9120"), ("FILLED", "0.35", "31932.5"),
    ]  # fmt: skip


def test_an_edit_changes_the_size() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(fills(fill(0.1, 0.25)))
    (report,) = reports(drive.frame(book("edited_by_user", body(0.9, 0.1, limit_price=91000))))
    assert (report.order_status, report.quantity, report.price) == ("PARTIALLY_FILLED", "1", "91000")
    assert steps(drive.frame(fills(fill(0.25, 0.65))))[0][:2] == ("PARTIALLY_FILLED", "0.35")
    assert steps(drive.frame(fills(fill(0.65, 0))))[0][:2] == ("FILLED", "1")


def test_only_a_whole_liquidation_is_one() -> None:
    drive = Futures()
    drive.live()
    kinds = ("liquidation", "partialLiquidation", "assignee", "taker")
    told = {
        kind: reports(drive.frame(fills(fill(1, 0, order_id=kind, fill_type=kind))))[0].liquidation for kind in kinds
    }
    assert told == {"liquidation": True, "partialLiquidation": False, "assignee": False, "taker": False}


def test_fees_add_up_per_currency() -> None:
    drive = Futures()
    drive.live()
    paid = {"fee_currency": "XBT", "fee_paid": 0.001}
    drive.frame(fills(fill(0.1, 0.25, **paid)))
    (report,) = reports(drive.frame(fills(fill(0.25, 0, **paid))))
    assert (report.fee_paid, report.fee_asset) == ("0.002", "BTC")
    rebate = reports(drive.frame(fills(fill(1, 0, order_id="o2", fee_currency="USD", fee_paid=-0.5))))[0]
    assert not isinstance(rebate.fee_paid, str)


# --- sizes that changed while nobody watched ---


def snapshot(*orders: dict[str, object]) -> dict[str, object]:
    return {"feed": "open_orders_snapshot", "account": "a", "orders": orders}


def test_an_edit_that_nobody_saw_makes_an_order_larger() -> None:
    """It was told as FILLED at its old size, and the FILLED of all of it was dropped."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    (report,) = reports(drive.frame(fills(fill(0.35, 0.15))))
    assert (report.order_status, report.total_trade_quantity, report.quantity) == ("PARTIALLY_FILLED", "0.35", "0.5")
    (report,) = reports(drive.frame(fills(fill(0.15, 0))))
    assert (report.order_status, report.total_trade_quantity, report.quantity) == ("FILLED", "0.5", "0.5")


@pytest.mark.parametrize("size", [0.5, 0.2])
def test_an_edit_that_the_next_snapshot_tells_counts(size: float) -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(snapshot(body(size, last_update_time=WALL - 55_000)))
    first, second = reports(drive.frame(fills(fill(0.1, size - 0.1), fill(size - 0.1, 0))))
    assert (first.order_status, float(first.quantity)) == ("PARTIALLY_FILLED", size)
    assert (second.order_status, float(second.quantity), float(second.total_trade_quantity)) == ("FILLED", size, size)


def test_a_frame_that_is_older_than_what_is_known_changes_no_size() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(book("edited_by_user", body(0.5, last_update_time=WALL - 50_000)))
    drive.frame(snapshot(body(0.35, last_update_time=WALL - 60_000)))
    assert steps(drive.frame(fills(fill(0.35, None))))[0][0] == "PARTIALLY_FILLED"


def test_a_snapshot_from_before_an_edit_does_not_end_what_goes_on() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    row = fill(0.35, 0.15)
    drive.frame(fills(row))
    drive.frame(snapshot(body(0.35, last_update_time=WALL - 59_000)))
    assert steps(drive.frame(fills(row)))[0][0] == "PARTIALLY_FILLED"


def test_filled_is_never_told_while_the_venue_says_that_something_is_left() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    told = steps(drive.frame(fills(fill(0.1, 0.4), fill(0.25, 0.15), fill(0.1, 0.05))))
    assert [step[0] for step in told] == ["PARTIALLY_FILLED"] * 3
    assert steps(drive.frame(fills(fill(0.05, 0))))[0][:2] == ("FILLED", "0.5")


@pytest.mark.parametrize("fills_first", [True, False])
def test_a_full_fill_with_nothing_left_ends_an_order_that_was_made_smaller(fills_first: bool) -> None:
    """By an edit that nobody saw, or by the venue (reduce-only): it had no end, ever."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    frames = [fills(fill(0.2, 0)), book("full_fill", body(0, 0.2, last_update_time=WALL), cancel=True)]
    outputs = [output for frame in (frames if fills_first else frames[::-1]) for output in drive.frame(frame)]
    report = reports(outputs)[-1]
    assert (report.order_status, report.total_trade_quantity, report.quantity) == ("FILLED", "0.2", "0.2")
    assert drive.frame(book("full_fill", cancel=True)) == [Seen("u1")]
    assert drive.adapter.deadline() is None


def test_a_full_fill_of_which_only_ids_are_told_ends_by_what_the_venue_knows_of_it() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    row = fill(0.2, 0, 5)
    assert steps(drive.frame(fills(row)))[0][0] == "PARTIALLY_FILLED"
    drive.frame(book("full_fill", cancel=True))
    (call,) = of(Call, drive.wake())
    (call,) = of(Call, drive.answer(call, good(fills=[rest_fill(0.2, WALL, 5)])))
    assert call.body == f"orderIds={ORDER}"
    (call,) = of(Call, drive.answer(call, good(orders=[])))
    assert path(call) == "/api/history/v2/orders"
    (report,) = reports(drive.answer(call, {"elements": []}))
    assert (report.order_status, report.total_trade_quantity, report.quantity) == ("FILLED", "0.2", "0.2")


def test_a_last_fill_that_ends_a_smaller_order_is_its_end_also_without_a_full_fill() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    drive.frame(fills(fill(0.2, 0, 5)))
    (call,) = of(Call, drive.wake())
    (call,) = of(Call, drive.answer(call, good(fills=[rest_fill(0.2, WALL, 5)])))
    outputs = drive.answer(call, good(orders=[status(state="FULLY_EXECUTED", quantity=0.2, filled=0.2)]))
    assert steps(outputs) == [("FILLED", "0.2", "18250")]


def test_an_order_that_leaves_for_a_reason_that_no_page_lists_is_asked_for() -> None:
    """It was told as CANCELED; it may as well be filled."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    (call,) = of(Call, drive.frame(book("brand_new_reason", cancel=True)))
    outputs = drive.answer(call, good(orders=[status(state="FULLY_EXECUTED", quantity=0.35, filled=0.35)]))
    assert [step[:2] for step in steps(outputs)] == [("FILLED", "0.35")]
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    (call,) = of(Call, drive.frame(book("brand_new_reason", cancel=True)))
    (call,) = of(Call, drive.answer(call, good(orders=[])))
    outputs = drive.answer(call, {"elements": []})
    assert reports(outputs) == []
    assert only(Note, outputs).level == "error"


def settled(drive: Futures) -> list[Output]:
    """What follows once the venue has nothing more to tell."""
    told: list[Output] = []
    while drive.adapter.deadline() is not None:
        waiting = list(drive.wake())
        while waiting:
            output = waiting.pop(0)
            if isinstance(output, Call):
                waiting += drive.answer(output, good(fills=[], orders=[], elements=[]))
            else:
                told.append(output)
    return told


DEEDS = st.tuples(st.sampled_from(["fill", "edit", "snapshot"]), st.integers(1, 9), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.lists(DEEDS, max_size=12), st.booleans())
def test_whatever_nobody_saw_an_order_ends_once_and_whole(deeds: list[tuple[str, int, bool]], ids_only: bool) -> None:
    """Edits that are seen or not, snapshots that are sent or not, fills: FILLED comes with the last fill, for all of it."""
    drive = Futures()
    drive.live()
    size, filled, moment = 10, 0, WALL - 40_000
    outputs = list(drive.frame(book("new_placed_order_by_user", body(10, 0, last_update_time=moment))))
    for kind, amount, seen in (*deeds, ("fill", 10_000, True)):
        moment += 10
        if filled == size:
            break
        if kind == "fill":
            quantity = min(amount, size - filled)
            filled += quantity
            outputs += drive.frame(fills(fill(quantity, size - filled, time=moment)))
        elif kind == "edit":
            size = filled + amount
            told = body(size - filled, filled, last_update_time=moment)
            outputs += drive.frame(book("edited_by_user", told)) if seen else []
        else:
            outputs += drive.frame(snapshot(body(size - filled, filled, last_update_time=moment)))
        assert not [step for step in steps(outputs) if step[0] == "FILLED"] or filled == size
    outputs += drive.frame(
        book("full_fill", None if ids_only else body(0, filled, last_update_time=moment), cancel=True)
    )
    outputs += settled(drive)
    ends = [report for report in reports(outputs) if report.order_status == "FILLED"]
    assert [(float(one.total_trade_quantity), float(one.quantity)) for one in ends] == [(filled, filled)]
    assert not [step for step in steps(outputs) if step[0] == "CANCELED"]


@pytest.mark.parametrize("first", ["stop", "limit"])
def test_a_triggered_stop_does_not_cancel_a_client_id_that_lives_on(first: str) -> None:
    """Whether the order that it becomes keeps the client id is documented nowhere: either answer must come out right."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body(type="stop", stop_price=91000)))
    gone = book("stop_order_triggered", cancel=True)
    became = book("limit_order_from_stop", body(order_id="became"))
    outputs = [
        output for frame in ([gone, became] if first == "stop" else [became, gone]) for output in drive.frame(frame)
    ]
    outputs += settled(drive)
    assert [(report.order_id, report.order_status) for report in reports(outputs)] == [("became", "NEW")]
    assert steps(drive.frame(fills(fill(0.35, 0, order_id="became"))))[0][0] == "FILLED"


def test_a_triggered_stop_whose_client_id_ends_with_it_is_cancelled() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body(type="stop", stop_price=91000)))
    outputs = drive.frame(book("stop_order_triggered", cancel=True))
    outputs += drive.frame(book("limit_order_from_stop", body(order_id="became", cli_ord_id=None)))
    outputs += settled(drive)
    assert [(report.order_id, report.order_status) for report in reports(outputs)] == [
        ("became", "NEW"), (ORDER, "CANCELED"),
    ]  # fmt: skip


def test_a_contract_that_the_list_does_not_have_yet_goes_by_its_name() -> None:
    """The raw name went out, and the backend rounds prices of symbols that it does not know to 2 decimals."""
    drive = Futures()
    drive.live()
    names = {"PF_NEWCOINUSD": "NEWCOIN-USD", "PF_XBTUSDT": "BTC-USDT", "PF_NEWGBP": "NEW-GBP", "PF_ODD": "PF_ODD"}
    for number, wire in enumerate(names):
        (report,) = reports(drive.frame(fills(fill(0.1, 0.25, order_id=f"o{number}", instrument=wire))))
        assert report.symbol == names[wire]


def test_a_null_beside_an_order_does_not_cost_it() -> None:
    drive = Futures()
    drive.live()
    odd = body() | {"cli_ord_id": None, "stop_price": None, "type": None, "last_update_time": None}
    assert steps(drive.frame(book("new_placed_order_by_user", odd))) == [("NEW", "0", "0")]
    row = fill(0.35, 0) | {"seq": None, "fill_type": None, "fee_currency": None, "order_type": None}
    assert steps(drive.frame({"feed": "fills", "event": None, "message": None, "fills": [None, row, 7]})) == [
        ("FILLED", "0.35", "31937.5")
    ]


# --- removals ---


def test_a_cancel_of_which_only_ids_are_told_is_filled_from_memory() -> None:
    """Bug D16: it went out with an empty symbol, price 0 and side BUY."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body(direction=1)))
    drive.frame(fills(fill(0.1, 0.25, buy=False)))
    outputs = drive.frame(book("cancelled_by_user", cancel=True))
    (report,) = reports(outputs)
    assert (report.order_status, report.symbol, report.side, report.price, report.quantity) == (
        "CANCELED", "BTC-USD", "SELL", "91250", "0.35",
    )  # fmt: skip
    assert (report.total_trade_quantity, report.total_quote_trade_quantity) == ("0.1", "9125")
    assert (report.order_time, report.creation_time) == (WALL, WALL - 60_000)
    assert drive.frame(book("cancelled_by_user", cancel=True)) == [Seen("u1")]


def test_a_cancel_waits_for_the_fills_that_it_tells_of() -> None:
    """The feeds have no common order, and nothing may follow a CANCELED."""
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    (call,) = of(Call, drive.frame(book("partial_fill", body(0.25, 0.1), cancel=True)))
    assert path(call) == "/derivatives/api/v3/fills"
    outputs = drive.frame(fills(fill(0.1, 0.25, price=91200)))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.1", "9120"), ("CANCELED", "0.1", "9120")]
    assert drive.answer(call, good(fills=[])) == []


def test_a_cancel_does_not_wait_for_ever() -> None:
    drive = Futures()
    drive.live()
    drive.frame(book("new_placed_order_by_user", body()))
    (call,) = of(Call, drive.frame(book("partial_fill", body(0.25, 0.1), cancel=True)))
    assert drive.answer(call, good(fills=[])) == []
    assert steps(drive.wake()) == [("CANCELED", "0.1", "9125")]


def status(
    order_id: str = ORDER, state: str = "CANCELLED", quantity: float = 2, filled: float = 0.5
) -> dict[str, object]:
    return {
        "order": {"type": "ORDER", "orderId": order_id, "cliOrdId": "D-TP-9", "symbol": "PF_ETHUSD", "side": "sell",
                  "quantity": quantity, "filled": filled, "limitPrice": 3200.5, "timestamp": rfc3339(WALL - 9_000),
                  "lastUpdateTimestamp": rfc3339(WALL - 1_000)},
        "status": state, "updateReason": None, "error": None,
    }  # fmt: skip


def test_a_removed_order_that_nobody_saw_is_asked_for() -> None:
    drive = Futures()
    drive.live()
    (call,) = of(Call, drive.frame(book("cancelled_by_user", cancel=True)))
    assert (call.method, path(call), call.body) == ("POST", "/derivatives/api/v3/orders/status", f"orderIds={ORDER}")
    (report,) = reports(drive.answer(call, good(orders=[status()])))
    assert (report.symbol, report.side, report.quantity, report.total_trade_quantity) == ("ETH-USD", "SELL", "2", "0.5")
    assert report.new_client_order_id == "D-TP-9"


def placed(order_id: str, quantity: str, filled: str = "0", name: str = "OrderPlaced") -> dict[str, object]:
    order = {"uid": order_id, "tradeable": "PF_ETHUSD", "direction": "Sell", "quantity": quantity, "filled": filled,
             "timestamp": WALL - 30_000, "limitPrice": "3200.5", "orderType": "Limit", "clientId": "D-TP-9",
             "lastUpdateTimestamp": WALL - 30_000}  # fmt: skip
    return {"uid": "e", "timestamp": WALL - 30_000, "event": {name: {"order": order, "reason": ""}}}


def test_an_order_that_ended_longer_ago_is_found_in_the_history() -> None:
    drive = Futures()
    drive.live()
    (call,) = of(Call, drive.frame(book("cancelled_by_user", cancel=True)))
    (call,) = of(Call, drive.answer(call, good(orders=[])))
    assert (path(call), call.pool) == ("/api/history/v2/orders", "history")
    (report,) = reports(drive.answer(call, {"elements": [placed("other", "1"), placed(ORDER, "2")], "len": 2}))
    assert (report.symbol, report.quantity, report.order_status) == ("ETH-USD", "2", "CANCELED")


def test_only_an_order_that_nothing_describes_is_told_with_blanks() -> None:
    drive = Futures()
    drive.live()
    (call,) = of(Call, drive.frame(book("cancelled_by_user", cancel=True)))
    (call,) = of(Call, drive.answer(call, bad("authenticationError")))
    outputs = drive.answer(call, {"elements": []})
    (report,) = reports(outputs)
    assert (report.symbol, report.side, report.price, report.quantity) == ("", "BUY", "0", "0")
    assert only(Note, outputs).level == "error"


# --- balances ---


def wallet(**quantities: tuple[float, float | None]) -> dict[str, object]:
    currencies = {
        code: {"quantity": quantity, **({} if available is None else {"available": available})}
        for code, (quantity, available) in quantities.items()
    }
    return {"feed": "balances", "flex_futures": {"currencies": currencies}, "timestamp": WALL, "seq": 1}


def test_the_flex_wallet_is_told_whole_with_what_the_venue_calls_available() -> None:
    """Bugs A1, A2."""
    drive = Futures()
    drive.live()
    outputs = drive.frame(wallet(XBT=(0.3, 0.21), USD=(10, None)))
    assert positions(outputs) == [
        [
            Balance(asset="BTC", free="0.3", locked="0", venue_available="0.21"),
            Balance(asset="USD", free="10", locked="0"),
        ]
    ]


def test_other_wallets_and_the_snapshot_publish_nothing() -> None:
    drive = Futures()
    drive.live()
    assert drive.frame({"feed": "balances", "holding": {"USD": 5}}) == [Seen("u1")]
    assert drive.frame(wallet(USD=(5, 5)) | {"feed": "balances_snapshot"}) == [Seen("u1")]


def test_an_odd_currency_costs_only_itself() -> None:
    drive = Futures()
    drive.live()
    frame = wallet(USD=(5, 5))
    frame["flex_futures"]["currencies"] |= {"ODD": {"quantity": "x"}, "NIL": None}  # type: ignore[index]
    outputs = drive.frame(frame)
    assert positions(outputs) == [[Balance(asset="USD", free="5", locked="0", venue_available="5")]]
    assert only(Note, outputs).level == "error"


def test_the_last_balance_of_a_period_is_told_at_its_end() -> None:
    """Bug D17."""
    drive = Futures()
    drive.live()
    assert len(positions(drive.frame(wallet(USD=(10, 10))))) == 1
    assert positions(drive.frame(wallet(USD=(9, 9)))) == positions(drive.frame(wallet(USD=(8, 7)))) == []
    told = positions(drive.wake())
    assert told == [[Balance(asset="USD", free="8", locked="0", venue_available="7")]]
    assert drive.mono == NOW.mono + 20


# --- gap repair ---


def known(order_id: str = ORDER, **fields: Any) -> KnownOrder:
    values: dict[str, Any] = {
        "client_order_id": "D-RO-1", "symbol": "BTC-USD", "status": "NEW", "price": "91250", "quantity": "0.35",
        "side": "BUY", "order_type": "LIMIT", "order_time_ms": WALL - 90_000, "creation_time_ms": WALL - 90_000,
    }  # fmt: skip
    return KnownOrder(order_id=order_id, **{**values, **fields})


def open_order(unfilled: float, filled: float, order_id: str = ORDER, **fields: object) -> dict[str, object]:
    return {"order_id": order_id, "symbol": "PF_XBTUSD", "side": "buy", "orderType": "lmt", "limitPrice": 91250,
            "unfilledSize": unfilled, "filledSize": filled, "receivedTime": rfc3339(WALL - 90_000),
            "lastUpdateTime": rfc3339(WALL - 30_000), "cli_ord_id": "D-RO-1", **fields}  # fmt: skip


RESUME = Resume(since_ms=WALL - 60_000, orders=(known(),))


def repaired(drive: Futures, replies: dict[str, list[object]]) -> tuple[list[Output], list[Call]]:
    """Answer every call of the repair by tag; returns the other outputs and the calls."""
    empty: dict[str, object] = {
        "open orders": good(openOrders=[]), "fills": good(fills=[]), "order status": good(orders=[]),
        "order history": {"elements": []}, "balances": good(accounts={}),
    }  # fmt: skip
    queue = list(drive.live())
    rest: list[Output] = []
    calls: list[Call] = []
    while queue:
        output = queue.pop(0)
        if not isinstance(output, Call):
            rest.append(output)
            continue
        calls.append(output)
        given = replies.get(output.tag, [])
        queue += drive.adapter.answered(output, json_answer(given.pop(0) if given else empty[output.tag]), drive.now)
    return rest, calls


def test_a_gap_is_read_from_open_orders_fills_and_the_orders_that_are_gone() -> None:
    orders = (known(), known("gone"), known("cut", status="PARTIALLY_FILLED", executed="0.1", executed_quote="9125"))
    flex = {"flex": {"currencies": {"USD": {"quantity": 5, "available": 4}}}}
    replies: dict[str, list[object]] = {
        "open orders": [good(openOrders=[open_order(0.25, 0.1), open_order(1, 0, "new", cli_ord_id="N")])],
        "balances": [good(accounts=flex)],
        "fills": [good(fills=[rest_fill(0.35, WALL - 20_000, order_id="gone", price=91200),
                              rest_fill(0.1, WALL - 31_000, price=91240),
                              rest_fill(0.1, WALL - 90_000, order_id="cut")])],
    }  # fmt: skip
    outputs, calls = repaired(Futures(Resume(since_ms=WALL - 60_000, orders=orders)), replies)
    assert [call.tag for call in calls] == ["open orders", "balances", "fills", "order status", "order history"]
    assert calls[3].body == "orderIds=cut"
    told = {
        str(r.order_id): (r.order_status, r.total_trade_quantity, r.total_quote_trade_quantity)
        for r in reports(outputs)
    }
    assert told == {
        ORDER: ("PARTIALLY_FILLED", "0.1", "9124"),
        "gone": ("FILLED", "0.35", "31920"),
        "new": ("NEW", "0", "0"),
        "cut": ("CANCELED", "0.1", "9125"),
    }
    assert positions(outputs) == [[Balance(asset="USD", free="5", locked="0", venue_available="4")]]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert (gap.orders, gap.balances, gap.missing) == (4, 1, ())


def test_fills_of_the_same_moment_are_told_apart_by_their_ids() -> None:
    """Two fills of one millisecond, and the connection was cut between them."""
    moment = WALL - 58_000
    order = known(status="PARTIALLY_FILLED", executed="0.1", executed_quote="9125", order_time_ms=moment)
    replies: dict[str, list[object]] = {
        "fills": [good(fills=[rest_fill(0.25, moment, 2), rest_fill(0.1, moment, 1)])]
    }  # fmt: skip
    outputs, _ = repaired(Futures(Resume(since_ms=WALL - 60_000, orders=(order,))), replies)
    assert steps(outputs)[-1] == ("FILLED", "0.35", "31937.5")


def test_fills_are_read_back_to_the_beginning_of_the_gap() -> None:
    newest = [rest_fill(0.001, WALL - 10_000 - n) for n in range(100)]
    older = [rest_fill(0.25, WALL - 20_000), rest_fill(5, WALL - 70_000, order_id="old")]
    drive = Futures(RESUME)
    outputs, calls = repaired(drive, {"fills": [good(fills=newest), good(fills=older)]})
    asked = [call for call in calls if call.tag == "fills"]
    assert [call.weight for call in asked] == [2, 25]
    assert params(asked[1])["lastFillTime"] == rfc3339(WALL - 10_099 + 1)
    assert steps(outputs)[-1][:2] == ("FILLED", "0.35")
    assert all(report.order_id == ORDER for report in reports(outputs))


def test_an_order_of_the_gap_that_nobody_saw_ends_by_the_history() -> None:
    replies: dict[str, list[object]] = {
        "fills": [good(fills=[rest_fill(2, WALL - 20_000, order_id="mkt", price=3200)])],
        "order history": [{"elements": [placed("mkt", "2")]}],
    }
    outputs, calls = repaired(Futures(Resume(since_ms=WALL - 60_000)), replies)
    assert [call.tag for call in calls][2:] == ["fills", "order status", "order history"]
    assert steps(outputs) == [("PARTIALLY_FILLED", "2", "6400"), ("FILLED", "2", "6400")]


def test_an_end_that_nothing_tells_is_not_guessed() -> None:
    """A short FILLED makes the bot buy the rest, and a CANCELED on a full fill kills it (bugs B1, B2)."""
    replies: dict[str, list[object]] = {"fills": [good(fills=[rest_fill(2, WALL - 20_000, order_id="mkt")])]}
    outputs, _ = repaired(Futures(Resume(since_ms=WALL - 60_000)), replies)
    assert [step[0] for step in steps(outputs)] == ["PARTIALLY_FILLED"]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing == ("order mkt: its end is not known to the venue any more",)


def test_an_order_whose_fills_cannot_be_read_is_not_cancelled() -> None:
    outputs, _ = repaired(Futures(RESUME), {"fills": [bad("authenticationError")]})
    assert reports(outputs) == []
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing[0] == "fills: authenticationError"


def test_a_status_of_the_last_seconds_ends_an_order() -> None:
    replies: dict[str, list[object]] = {"order status": [good(orders=[status(quantity=0.35, filled=0)])]}
    outputs, _ = repaired(Futures(RESUME), replies)
    assert steps(outputs) == [("CANCELED", "0", "0")]


def test_an_order_that_came_and_went_within_the_gap_is_told() -> None:
    """Found by the fault campaign: without a fill it stands in no list but the history."""
    events = [placed("brief", "2"), placed("brief", "2", name="OrderCancelled"), placed("rests", "1")]
    replies: dict[str, list[object]] = {"order history": [{"elements": events}]}
    outputs, _ = repaired(Futures(Resume(since_ms=WALL - 60_000)), replies)
    (report,) = reports(outputs)
    assert (report.order_id, report.order_status, report.symbol, report.side) == (
        "brief",
        "CANCELED",
        "ETH-USD",
        "SELL",
    )
    assert (report.quantity, report.price, report.order_time) == ("2", "3200.5", WALL - 30_000)
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing == ()


def told_before(drive: Futures, tag: str, replies: dict[str, list[object]]) -> list[Output]:
    """What a repair tells before a call of this tag is answered."""
    queue, told = list(drive.live()), []
    while queue:
        output = queue.pop(0)
        if not isinstance(output, Call):
            told.append(output)
        elif output.tag != tag:
            given = replies.get(output.tag, [good(openOrders=[], fills=[], orders=[], accounts={})])
            queue += drive.adapter.answered(output, json_answer(given.pop(0)), drive.now)
    return told


def test_no_cancel_is_told_from_absence_before_the_history_was_asked() -> None:
    """Its fills may lag behind: a FILLED that came after a CANCELED was dropped."""
    assert reports(told_before(Futures(RESUME), "order history", {})) == []
    filled = [placed(ORDER, "0.35"), placed(ORDER, "0.35", "0.35", name="OrderUpdated")]
    outputs, _ = repaired(Futures(RESUME), {"order history": [{"elements": filled}]})
    assert [step[:2] for step in steps(outputs)] == [("FILLED", "0.35")]


@pytest.mark.parametrize("history", [bad("authenticationError"), {"elements": [None]}, {"nothing": 1, "elements": 7}])
def test_without_the_history_an_order_that_is_gone_is_named_and_not_cancelled(history: object) -> None:
    outputs, _ = repaired(Futures(RESUME), {"order history": [history]})
    assert reports(outputs) == []
    gap = only(Live, outputs).gap
    assert gap is not None
    assert f"order {ORDER}: its end is not known to the venue any more" in gap.missing


def test_a_side_that_the_history_does_not_tell_is_never_a_buy() -> None:
    """Its enums have `unknown` since 2026-05-18."""
    sell = known("sell", side="SELL")
    events = [placed("nobody", "2", name="OrderCancelled"), placed("sell", "0.35", name="OrderCancelled")]
    for event in events:
        event["event"]["OrderCancelled"]["order"] |= {"direction": "unknown", "orderType": "unknown"}  # type: ignore[index]
    outputs, _ = repaired(
        Futures(Resume(since_ms=WALL - 60_000, orders=(sell,))), {"order history": [{"elements": events}]}
    )
    (report,) = reports(outputs)
    assert (report.order_id, report.side, report.order_status) == ("sell", "SELL", "CANCELED")
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing == ("order nobody: the venue does not tell its side",)


def test_a_stop_that_was_triggered_in_the_gap_does_not_cancel_what_it_became() -> None:
    ended = placed(ORDER, "0.35", name="OrderCancelled")
    replies: dict[str, list[object]] = {
        "open orders": [good(openOrders=[open_order(0.35, 0, "became")])],
        "order history": [{"elements": [ended]}],
    }
    stop = known(order_type="MARKET")
    outputs, _ = repaired(Futures(Resume(since_ms=WALL - 60_000, orders=(stop,))), replies)
    assert [(report.order_id, report.order_status) for report in reports(outputs)] == [("became", "NEW")]


def test_a_removed_order_without_a_side_is_not_told_as_a_buy() -> None:
    drive = Futures()
    drive.live()
    (call,) = of(Call, drive.frame(book("cancelled_by_user", cancel=True)))
    row = status()
    row["order"]["side"] = "unknown"  # type: ignore[index]
    outputs = drive.answer(call, good(orders=[row]))
    assert reports(outputs) == []
    assert "side" in only(Note, outputs).what


@pytest.mark.parametrize("size", [0.5, 0.2])
def test_an_edit_in_the_gap_counts(size: float) -> None:
    rest = open_order(size, 0, limitPrice=91250)
    drive = Futures(RESUME)
    outputs, _ = repaired(drive, {"open orders": [good(openOrders=[rest])]})
    assert [float(report.quantity) for report in reports(outputs)] == [size]
    told = reports(drive.frame(fills(fill(0.1, size - 0.1), fill(size - 0.1, 0))))
    assert [(one.order_status, float(one.quantity)) for one in told] == [("PARTIALLY_FILLED", size), ("FILLED", size)]


def test_an_open_order_that_is_as_it_was_told_is_not_told_again() -> None:
    half = known(status="PARTIALLY_FILLED", executed="0.1", executed_quote="9125", order_time_ms=WALL - 30_000)
    outputs, _ = repaired(
        Futures(Resume(since_ms=WALL - 60_000, orders=(half,))),
        {"open orders": [good(openOrders=[open_order(0.25, 0.1)])]},
    )
    assert reports(outputs) == []


def test_fees_of_the_part_after_a_reconnect_are_not_told_as_those_of_the_whole_order() -> None:
    """An order that was filled in part before this connection has fees that nobody saw here."""
    half = known(status="PARTIALLY_FILLED", executed="0.1", executed_quote="9125", order_time_ms=WALL - 30_000)
    drive = Futures(Resume(since_ms=WALL - 60_000, orders=(half,)))
    repaired(drive, {"open orders": [good(openOrders=[open_order(0.25, 0.1)])]})
    paid = {"fee_currency": "USD", "fee_paid": 0.5}
    (report,) = reports(drive.frame(fills(fill(0.25, 0, time=WALL, **paid))))
    assert (report.order_status, report.total_trade_quantity) == ("FILLED", "0.35")
    assert not isinstance(report.fee_paid, str)


def test_an_end_without_a_time_is_an_end() -> None:
    row = status(quantity=0.35, filled=0)
    row["order"]["lastUpdateTimestamp"] = None  # type: ignore[index]
    outputs, _ = repaired(
        Futures(RESUME), {"order status": [good(orders=[row])], "order history": [bad("authenticationError")]}
    )
    assert steps(outputs) == [("CANCELED", "0", "0")]


def test_the_beginning_of_an_open_order_in_the_history_takes_nothing_back() -> None:
    """The list of open orders is newer: what the history says of the order's start is no news."""
    resume = Resume(since_ms=WALL - 60_000)
    start = placed(ORDER, "0.2")
    start["event"]["OrderPlaced"]["order"]["tradeable"] = "PF_XBTUSD"  # type: ignore[index]
    drive = Futures(resume)
    outputs, _ = repaired(
        drive,
        {"open orders": [good(openOrders=[open_order(0.25, 0.1)])], "order history": [{"elements": [start]}]},
    )
    assert [step[:2] for step in steps(outputs)] == [("PARTIALLY_FILLED", "0.1")]
    (report,) = reports(drive.frame(fills(fill(0.1, None, time=WALL))))
    assert (report.order_status, report.quantity, report.total_trade_quantity) == ("PARTIALLY_FILLED", "0.35", "0.2")


def test_many_orders_that_are_gone_are_asked_for_in_steps_and_none_ends_unasked() -> None:
    orders = tuple(known(f"o{number}") for number in range(620))
    outputs, calls = repaired(Futures(Resume(since_ms=WALL - 60_000, orders=orders)), {})
    asked = [call for call in calls if call.tag == "order status"]
    assert [len(call.context) for call in asked] == [100] * 5  # type: ignore[arg-type]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert len(reports(outputs)) + len(gap.missing) == 620
    assert len(gap.missing) == 120


def test_odd_rows_of_a_gap_are_named_and_cost_only_themselves() -> None:
    flex = {"flex": {"currencies": {"USD": {"quantity": 5}, "ODD": 7}}}
    replies: dict[str, list[object]] = {
        "open orders": [good(openOrders=[None, open_order(0.25, 0.1), open_order(1, 0, "x", side="unknown")])],
        "balances": [good(accounts=flex)],
        "fills": [good(fills=[rest_fill(0.1, WALL - 31_000), {}, rest_fill(1, WALL) | {"side": "unknown"}])],
        "order status": [good(orders=[None])],
        "order history": [{"elements": [{"event": {"OrderPlaced": {"order": {"uid": None}}}}]}],
    }
    resume = Resume(since_ms=WALL - 60_000, orders=(known(), known("gone")))
    outputs, _ = repaired(Futures(resume), replies)
    assert [step[:2] for step in steps(outputs)] == [("PARTIALLY_FILLED", "0.1")]
    assert positions(outputs) == [[Balance(asset="USD", free="5", locked="0")]]
    gap = only(Live, outputs).gap
    assert gap is not None
    for phrase in (
        "open orders: 1 that can't be read",
        "order x: the venue does not tell its side",
        "balances: 1 that can't be read",
        "fills: 2 that can't be read",
        "order status: 1 that can't be read",
        "order history: 1 that can't be read",
        "order gone: its end is not known to the venue any more",
    ):
        assert phrase in gap.missing


def test_the_history_is_read_page_by_page() -> None:
    first: dict[str, object] = {"elements": [placed("brief", "2")], "continuationToken": "t0ken"}
    second = {"elements": [placed("brief", "2", name="OrderCancelled")]}
    drive = Futures(Resume(since_ms=WALL - 60_000))
    outputs, calls = repaired(drive, {"order history": [first, second]})
    asked = [params(call) for call in calls if call.tag == "order history"]
    assert [query.get("continuation_token") for query in asked] == [None, "t0ken"]
    assert {query["since"] for query in asked} == {str(WALL - 60_000)}
    assert steps(outputs) == [("CANCELED", "0", "0")]


def test_a_limit_during_a_repair_waits_and_asks_again() -> None:
    drive = Futures(RESUME)
    first, second = of(Call, drive.live())
    assert drive.answer(first, bad("apiLimitExceeded"), 429) == []
    assert of(Call, drive.answer(second, good(accounts={}))) == []
    (again,) = of(Call, drive.wake())
    assert again.tag == "open orders"


# --- symbols, tickers, candles ---


def test_only_linear_perpetuals_are_listed() -> None:
    loader = VENUE.instruments("krakenUsdm", {})
    (call,) = loader.start()
    rows = [
        {"symbol": "PF_XBTUSD", "base": "BTC", "quote": "USD", "pair": "BTC:USD", "tradeable": True},
        {"symbol": "PF_XDGUSD", "pair": "XDG:USD", "tradeable": False},
        {"symbol": "PI_XBTUSD", "base": "BTC", "quote": "USD", "tradeable": True},
        {"symbol": "FF_XBTUSD_261225", "base": "BTC", "quote": "USD", "tradeable": True},
        {"symbol": "PF_ETHUSD", "base": None, "quote": "USD", "pair": None, "tradeable": True},
        {"symbol": "PF_ODD", "base": None},
        {"symbol": None, "base": "BTC", "quote": "USD"},
        None,
    ]
    loader.answered(call, json_answer(good(instruments=rows)))
    found = {item.wire: (item.pair, item.active) for item in loader.result() or ()}
    assert found == {"PF_XBTUSD": ("BTC-USD", True), "PF_XDGUSD": ("DOGE-USD", False), "PF_ETHUSD": ("ETH-USD", True)}


def test_a_product_that_spoils_a_request_is_found_by_halves() -> None:
    drive = Driver(VENUE.ticker, "krakenUsdm", TABLE)
    drive.add(TickerSubscription(stream_id="t", exchange="krakenUsdm", symbols=("PF_XBTUSD", "PF_NO", "PF_ETHUSD")))
    drive.start()
    asked = sent(drive.connected())
    live: list[Output] = []
    for _ in range(10):
        if not asked:
            break
        request = asked.pop(0)
        if "PF_NO" in request["product_ids"]:
            outputs = drive.frame({"event": "error", "message": "Invalid product id"})
        else:
            outputs = drive.frame({"event": "subscribed", "feed": "ticker", "product_ids": request["product_ids"]})
        live += of(Live, outputs)
        asked += sent(outputs)
        if not asked and not live:
            asked += sent(drive.wake())
    assert [one.stream_id for one in of(Live, live)] == ["t"]


def candles(interval: str, resume_ms: int | None = None) -> Driver:
    drive = Driver(VENUE.candle, "krakenUsdm", TABLE)
    drive.add(
        CandleSubscription(
            stream_id="c", exchange="krakenUsdm", symbol="BTC-USD", interval=interval, resume_start_ms=resume_ms
        )
    )
    drive.start()
    return drive


@pytest.mark.parametrize("interval", ["1h", "60"])
def test_either_spelling_of_an_interval_is_published_as_it_was_asked_for(interval: str) -> None:
    drive = candles(interval)
    (request,) = sent(drive.connected())
    assert request == {"event": "subscribe", "feed": "candles_trade_1h", "product_ids": ["PF_XBTUSD"]}
    ack = {"event": "subscribed", "feed": "candles_trade_1h", "product_ids": ["PF_XBTUSD"]}
    assert only(Live, drive.frame(ack)).stream_id == "c"
    bar = {"time": WALL, "open": "1", "high": "3", "low": "0.5", "close": "2", "volume": "7"}
    message = {"feed": "candles_trade_1h", "product_id": "PF_XBTUSD", "candle": bar}
    (output,) = of(EmitCandle, drive.frame(message))
    assert (output.symbol, output.interval, output.candle.start, output.candle.volume) == (
        "BTC-USD",
        interval,
        WALL,
        "7",
    )
    snapshot = {"feed": "candles_trade_1h_snapshot", "product_id": "PF_XBTUSD", "candles": [bar]}
    assert drive.frame(snapshot) == [Seen("c")]


def test_missed_candles_are_read_from_the_charts() -> None:
    hour = 3_600_000
    start = Driver.begin.wall_ms // hour * hour - 2 * hour
    drive = candles("1h", start)
    drive.connected()
    (call,) = of(Call, drive.frame({"event": "subscribed", "feed": "candles_trade_1h", "product_ids": ["PF_XBTUSD"]}))
    assert path(call) == "/api/charts/v1/trade/PF_XBTUSD/1h"
    assert parse_qs(call.url.partition("?")[2])["from"] == [str(start // 1000)]

    def page(first: int, count: int, more: bool) -> dict[str, object]:
        rows = [{"time": start + n * hour, "open": "1", "high": "1", "low": "1", "close": "1", "volume": "1"}
                for n in range(first, first + count)]  # fmt: skip
        return {"candles": rows, "more_candles": more}

    (call,) = of(Call, drive.answer(call, page(0, 1, more=True)))
    assert params(call)["from"] == str(start // 1000 + 1)
    outputs = drive.answer(call, page(1, 1, more=False))
    assert [one.candle.start for one in of(EmitCandle, outputs)] == [start, start + hour]
    assert only(Live, outputs).gap is not None
