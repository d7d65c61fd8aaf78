"""Kraken's derivatives on the unified socket: which key opens what, subscriptions, rows, wallets, gaps from snapshots."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from exchanges._adapter import (
    Answer,
    Call,
    CandleSubscription,
    Connect,
    Emit,
    EmitCandle,
    EmitTickers,
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
    TellsSymbols,
    TickerSubscription,
    UserSubscription,
)
from exchanges._times import rfc3339
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, Balance, ExecutionReport, PositionUpdate
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kraken import VENUE
from exchanges.kraken._gap_unified import UNSEEN
from exchanges.kraken._route import END_MS
from tests.unit.exchanges.driver import Driver, json_answer, of, only, path, sent, setup

WALL = 1_795_300_000_000
ORDER = "0c9f1e52-6a4b-4c1d-9f6e-2b1d7a90c3e1"
TABLE = SymbolTable(
    [Instrument(wire="PF_XBTUSD", pair="BTC-USD", base="BTC", quote="USD", settle="USD", kind="linear")]
)
PRIVATE = "wss://uws.kraken.com/v2/private"
CLASSIC = "wss://futures.kraken.com/ws/v1"


def good(result: object) -> dict[str, object]:
    return {"error": [], "result": result}


def bad(text: str) -> dict[str, object]:
    return {"error": [text]}


def row(**fields: object) -> dict[str, object]:
    """An open order, whole."""
    return {
        "order_id": ORDER, "cl_ord_id": "D-RO-1", "symbol": "PF_XBTUSD", "asset_class": "derivatives", "side": "buy",
        "order_type": "limit", "order_qty": 0.35, "limit_price": 91250, "cum_qty": 0, "cum_cost": 0, "exec_type": "new",
        "order_status": "new", "timestamp": rfc3339(WALL - 60_000), **fields,
    }  # fmt: skip


def trade(
    qty: float, number: int, status: str = "partially_filled", ago_ms: int = 0, **fields: object
) -> dict[str, object]:
    return {
        "order_id": ORDER, "cl_ord_id": "D-RO-1", "exec_id": f"e{number}", "exec_type": "trade", "symbol": "PF_XBTUSD",
        "side": "buy", "order_type": "limit", "last_qty": qty, "last_price": 91250, "order_status": status,
        "timestamp": rfc3339(WALL - ago_ms), **fields,
    }  # fmt: skip


def executions(*rows: dict[str, object], kind: str = "update", **fields: object) -> dict[str, object]:
    return {"channel": "executions", "type": kind, "data": list(rows), **fields}


def wallets(free: float = 5) -> dict[str, object]:
    rows = [{"type": "spot", "id": "main", "balance": 7}, {"type": "derivatives", "id": "flex", "balance": free}]
    return {"channel": "balances", "type": "snapshot", "data": [{"asset": "USD", "balance": 12, "wallets": rows}]}


def known(order_id: str = ORDER, **fields: Any) -> KnownOrder:
    values: dict[str, Any] = {
        "client_order_id": "D-RO-1", "symbol": "BTC-USD", "status": "NEW", "price": "91250", "quantity": "0.35",
        "side": "BUY", "order_type": "LIMIT", "order_time_ms": WALL - 90_000, "creation_time_ms": WALL - 90_000,
    }  # fmt: skip
    return KnownOrder(order_id=order_id, **{**values, **fields})


class Derivatives(Driver):
    """An account adapter, driven to where a test begins."""

    begin = Instant(1_000.0, WALL)

    def __init__(self, resume: Resume | None = None, kind: str = "api", wall_ms: int = WALL, **options: str) -> None:
        super().__init__(VENUE.user, "krakenUsdm", TABLE, **options)
        self.begin = Instant(1_000.0, wall_ms)
        keys = credentials("AK", base64.b64encode(bytes(range(64))).decode())
        subscription = UserSubscription(
            stream_id="u1", exchange="krakenUsdm", credentials=keys, resume=resume, key_kind=kind
        )
        self.first = [*self.add(subscription), *self.start()]

    def joining(self) -> list[Output]:
        """Up to the subscribe requests."""
        (call,) = of(Call, self.connected())
        return self.answer(call, good({"token": "T", "expires": 900}))

    def acknowledged(self) -> list[Output]:
        """Up to the acknowledgements of orders and balances."""
        outputs: list[Output] = []
        for request in sent(self.joining()):
            if "params" in request:
                outputs += self.ack(request)
        return outputs

    def ack(self, request: dict[str, Any]) -> list[Output]:
        channel = request["params"]["channel"]
        return self.frame(
            {"method": "subscribe", "success": True, "result": {"channel": channel}, "req_id": request["req_id"]}
        )

    def live(self, *rows: dict[str, object]) -> list[Output]:
        """With one snapshot of orders and fills, and one of balances; returns what follows."""
        self.acknowledged()
        return [
            *self.frame(executions(*rows, kind="snapshot")), *self.frame(wallets()),
            *([] if any(one["exec_type"] == "trade" for one in rows) else self.after(1.5)),
        ]  # fmt: skip

    def after(self, seconds: float) -> list[Output]:
        self.mono += seconds
        return list(self.adapter.woken(self.now))


def reports(outputs: Iterable[object]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def steps(outputs: Iterable[object]) -> list[tuple[str, str, str]]:
    return [(r.order_status, r.total_trade_quantity, r.total_quote_trade_quantity) for r in reports(outputs)]


def positions(outputs: Iterable[object]) -> list[list[Balance]]:
    return [emit.event.balances for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]


def missing(outputs: Sequence[object]) -> list[str]:
    gap = only(Live, outputs).gap
    assert gap is not None
    return [phrase for phrase in gap.missing if phrase != UNSEEN]


# --- which way ---


def test_a_key_that_gets_a_token_goes_the_unified_way_and_is_remembered() -> None:
    drive = Derivatives(kind="")
    (call,) = of(Call, drive.first)
    assert path(call) == "/0/private/GetWebSocketsToken"
    assert only(Connect, drive.answer(call, good({"token": "T"}))).url == PRIVATE
    assert [kind.kind for kind in of(KeyKind, drive.live())] == ["api"]
    assert only(Connect, Derivatives(kind="api").first).url == PRIVATE


def test_a_key_that_only_the_classic_api_knows_goes_there_and_its_user_is_told_what_to_make() -> None:
    drive = Derivatives(kind="")
    (call,) = of(Call, drive.first)
    (call,) = of(Call, drive.answer(call, bad("EAPI:Invalid key")))
    assert path(call) == "/derivatives/api/v3/accounts"
    assert only(Connect, drive.answer(call, {"result": "success", "accounts": {}})).url == CLASSIC
    drive.connected()
    drive.frame({"event": "challenge", "message": "c"})
    outputs = [output for feed in ("open_orders", "fills", "balances")
               for output in drive.frame({"event": "subscribed", "feed": feed})]  # fmt: skip
    kind = only(KeyKind, outputs)
    assert (kind.kind, "Settings → API" in kind.advice, "2027-03-01" in kind.advice) == ("derivatives", True, True)
    assert only(Connect, Derivatives(kind="derivatives").first).url == CLASSIC


@pytest.mark.parametrize(
    ("answers", "kind", "text"),
    [
        ((bad("EGeneral:Permission denied"),), FailKind.CREDENTIAL, "'Access WebSocket API'"),
        (
            (bad("EAPI:Invalid key"), {"result": "error", "error": "authenticationError"}),
            FailKind.CREDENTIAL,
            "neither",
        ),
        ((bad("EAPI:Invalid key"), "<html>gone</html>"), FailKind.TRANSIENT, "usable"),
        ((bad("EGeneral:Temporary lockout"),), FailKind.RATE_LIMITED, "lockout"),
        ((bad("EService:Unavailable"),), FailKind.TRANSIENT, "Unavailable"),
    ],
)
def test_what_the_questions_after_the_kind_of_a_key_may_answer(
    answers: Sequence[object], kind: FailKind, text: str
) -> None:
    drive = Derivatives(kind="")
    outputs: Sequence[Output] = drive.first
    for answer in answers:
        (call,) = of(Call, outputs)
        outputs = drive.answer(call, answer)
    fail = only(Fail, outputs)
    assert fail.kind is kind
    assert text in fail.reason


def test_a_nonce_that_came_too_late_is_asked_with_another_and_says_nothing_about_the_key() -> None:
    drive = Derivatives(kind="")
    (call,) = of(Call, drive.first)
    assert drive.answer(call, bad("EAPI:Invalid nonce")) == []
    (call,) = of(Call, drive.after(1.5))
    assert only(Connect, drive.answer(call, good({"token": "T"}))).url == PRIVATE


@pytest.mark.parametrize("route", ["classic", "unified", "auto"])
def test_the_way_may_be_set_and_ends_by_date(route: str) -> None:
    before = Derivatives(kind="derivatives", KRAKEN_FUTURES_ROUTE=route)
    assert only(Connect, before.first).url == (PRIVATE if route == "unified" else CLASSIC)
    after = Derivatives(kind="derivatives", wall_ms=END_MS, KRAKEN_FUTURES_ROUTE=route)
    assert only(Connect, after.first).url == PRIVATE


def test_an_old_key_after_the_end_is_refused_with_what_to_make() -> None:
    drive = Derivatives(kind="", wall_ms=END_MS)
    (call,) = of(Call, drive.connected())
    fail = only(Fail, drive.answer(call, bad("EAPI:Invalid key")))
    assert (fail.kind, "'Access WebSocket API'" in fail.reason) == (FailKind.CREDENTIAL, True)


def test_an_unknown_way_is_refused_with_the_ways_that_there_are() -> None:
    refusal = VENUE.option_refusal({"KRAKEN_FUTURES_ROUTE": "new"})
    assert refusal is not None
    assert "auto, classic, unified" in refusal


# --- joining ---


def test_what_is_subscribed_and_with_which_parameters() -> None:
    drive = Derivatives()
    requests = sent(drive.joining())
    assert [request["params"] for request in requests] == [
        {"channel": "executions", "token": "T", "asset_class": "derivatives", "snap_orders": True, "snap_trades": True,
         "order_status": True},
        {"channel": "balances", "token": "T", "snapshot": True},
    ]  # fmt: skip
    margin, positions = sent([output for request in requests for output in drive.ack(request)])
    assert margin["params"] == {"channel": "margin", "token": "T", "asset_class": "derivatives"}
    assert positions["params"] == {
        "channel": "positions",
        "token": "T",
        "asset_class": "derivatives",
        "snapshot": True,
    }


def test_without_margin_and_positions_an_account_is_live_all_the_same() -> None:
    drive = Derivatives()
    acks = [output for request in sent(drive.joining()) for output in drive.ack(request)]
    for extra in sent(acks):
        error = "EGeneral:Permission denied"
        refused = {"method": "subscribe", "success": False, "error": error, "req_id": extra["req_id"]}
        assert not of(Fail, drive.frame(refused))
    outputs = [*drive.frame(executions(row(), trade(0.1, 1), kind="snapshot")), *drive.frame(wallets())]
    assert of(Live, outputs)


def test_a_snapshot_of_positions_that_was_too_large_closes_none() -> None:
    drive = Derivatives()
    drive.acknowledged()
    held = {"symbol": "PF_XBTUSD", "size": -0.5, "entry_price": 61000}
    told = drive.frame({"channel": "positions", "type": "snapshot", "data": {"futures": [held], "options": []}})
    assert [event.event.quantity for event in of(Emit, told) if isinstance(event.event, PositionUpdate)] == ["-0.5"]
    empty = {"futures": [], "options": []}
    frame = {"channel": "positions", "type": "snapshot", "data": empty, "reason": "snapshot_too_large"}
    assert not of(Emit, drive.frame(frame)) + of(Fail, drive.frame(frame))


def test_orders_and_fills_may_come_in_two_snapshots() -> None:
    drive = Derivatives(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    drive.acknowledged()
    drive.frame(wallets())
    assert not of(Live, drive.frame(executions(kind="snapshot")))
    outputs = drive.frame(executions(trade(0.35, 1, "filled", 5_000), kind="snapshot"))
    assert steps(outputs) == [("FILLED", "0.35", "31937.5")]
    assert of(Live, outputs)


def test_a_snapshot_that_does_not_come_is_asked_for_once_then_named() -> None:
    drive = Derivatives(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    drive.acknowledged()
    drive.frame(wallets())
    again = sent(drive.after(10.5))
    assert [(one["method"], one["params"]["channel"]) for one in again if one["method"] != "ping"] == [
        ("unsubscribe", "executions"), ("subscribe", "executions"),
    ]  # fmt: skip
    drive.frame(executions(kind="snapshot", snapshot_too_large=True))
    drive.frame({"channel": "heartbeat"})
    outputs = drive.after(10.5)
    assert reports(outputs) == []
    assert missing(outputs) == ["open orders: the venue sent no snapshot"]


def test_messages_of_other_channels_fill_a_jump_and_what_nothing_fills_ends_the_connection() -> None:
    drive = Derivatives()
    drive.live(trade(0.1, 1))
    drive.frame(executions(row(), sequence=3))
    drive.frame({"channel": "margin", "type": "multi_collateral", "data": {"currencies": {}}, "sequence": 4})
    assert not of(Fail, drive.frame(executions(trade(0.1, 2), sequence=5)))
    assert only(Fail, drive.frame(executions(trade(0.1, 3), sequence=7))).kind is FailKind.TRANSIENT


def test_balances_of_nothing_are_a_sign_of_life_and_told_to_nobody() -> None:
    drive = Derivatives()
    drive.live(trade(0.1, 1))
    outputs = drive.frame({"channel": "balances", "type": "update", "data": [], "sequence": 9})
    assert (len(of(Seen, outputs)), of(Emit, outputs)) == (1, [])


# --- rows ---


def test_the_last_trade_is_the_end_whether_a_row_follows_or_not() -> None:
    drive = Derivatives()
    drive.live(trade(9, 9, order_id="old", cl_ord_id="old"))
    outputs = [*drive.frame(executions(row())), *drive.frame(executions(trade(0.1, 1))),
               *drive.frame(executions(trade(0.25, 2, "filled"))),
               *drive.frame(executions({"order_id": ORDER, "exec_type": "filled", "order_status": "filled", "cum_qty": 0.35,
                                        "cum_cost": 31937.5, "timestamp": rfc3339(WALL)}))]  # fmt: skip
    assert steps(outputs) == [("NEW", "0", "0"), ("PARTIALLY_FILLED", "0.1", "9125"), ("FILLED", "0.35", "31937.5")]


@pytest.mark.parametrize("comes", [True, False])
def test_an_order_that_is_called_filled_is_never_told_short_and_always_ends(comes: bool) -> None:
    drive = Derivatives()
    drive.live(trade(9, 9, order_id="old", cl_ord_id="old"))
    drive.frame(executions(row()))
    outputs = drive.frame(executions(trade(0.25, 2, "filled", last_price=91240)))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.25", "22810")]
    again = [one for one in sent(drive.after(5.5)) if one["method"] != "ping"]
    assert [one["method"] for one in again] == ["unsubscribe", "subscribe"]
    fills = [trade(0.25, 2, "filled", last_price=91240), *([trade(0.1, 1)] if comes else [])]
    outputs = drive.frame(executions(*fills, kind="snapshot"))
    if comes:
        assert steps(outputs)[-1] == ("FILLED", "0.35", "31935")
        assert not of(Note, outputs)
    else:
        assert steps(outputs) == [("FILLED", "0.35", "31934")]
        assert [note.level for note in of(Note, outputs)] == ["error"]


def test_a_fill_that_comes_late_ends_the_order_without_a_question() -> None:
    drive = Derivatives()
    drive.live(trade(9, 9, order_id="old", cl_ord_id="old"))
    drive.frame(executions(row()))
    outputs = [*drive.frame(executions(trade(0.25, 2, "filled"))), *drive.frame(executions(trade(0.1, 1)))]
    assert steps(outputs)[-1] == ("FILLED", "0.35", "31937.5")
    assert [one for one in sent(drive.after(5.5)) if one["method"] != "ping"] == []


def test_rows_of_spot_and_of_other_products_are_not_told_and_are_noted_once() -> None:
    drive = Derivatives()
    drive.live(trade(0.1, 1))
    strange = [row(order_id="a", symbol="PI_XBTUSD"), row(order_id="b", symbol="BTC/USD", asset_class="spot"),
               {"order_id": "a", "exec_type": "canceled", "order_status": "canceled"}]  # fmt: skip
    outputs = [*drive.frame(executions(*strange)), *drive.frame(executions(*strange))]
    assert reports(outputs) == []
    assert not of(Call, outputs)
    assert len(of(Note, outputs)) == 2


# --- wallets ---


def test_only_the_flex_wallet_is_told_with_what_margin_calls_available() -> None:
    drive = Derivatives()
    drive.live(trade(0.1, 1))
    ledger = [{"asset": "USD", "wallet_type": kind, "wallet_id": name, "balance": 3}
              for kind, name in (("spot", "main"), ("derivatives", "fi_xbtusd"), ("derivatives", "cash"))]  # fmt: skip
    assert positions(drive.frame({"channel": "balances", "type": "update", "data": ledger})) == []
    margin = {"channel": "margin", "type": "multi_collateral", "data": {"currencies": {"USD": {"available": 4}}}}
    assert positions(drive.frame(margin)) == [[Balance(asset="USD", free="5", locked="0", venue_available="4")]]
    assert positions(drive.frame(margin | {"type": "single_collateral"})) == []


# --- gaps ---


def gap(
    *rows: dict[str, object], orders: Sequence[KnownOrder] = (known(),), since_ms: int = WALL - 60_000
) -> list[Output]:
    drive = Derivatives(Resume(since_ms=since_ms, orders=tuple(orders)))
    return drive.live(*rows)


OLD = trade(1, 99, "filled", 200_000, order_id="old", cl_ord_id="x")
"""A fill from before the gap."""
MANY = [trade(0.001, 100 + number, "partially_filled", 1_000, order_id="busy", cl_ord_id="b") for number in range(50)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([row()], []),
        ([row(order_qty=0.5)], [("NEW", "0", "0")]),
        ([row(cum_qty=0.1, cum_cost=9125, order_status="partially_filled")], [("PARTIALLY_FILLED", "0.1", "9125")]),
        ([row(cum_qty=None, cum_cost=None), trade(0.1, 1, ago_ms=9_000)], [("PARTIALLY_FILLED", "0.1", "9125")]),
        ([trade(0.1, 1, ago_ms=9_000), trade(0.25, 2, "filled", 8_000)], [("FILLED", "0.35", "31937.5")]),
        ([trade(0.1, 1, ago_ms=9_000), trade(0.25, 2, "", 8_000)], [("FILLED", "0.35", "31937.5")]),
        ([trade(0.1, 1, ago_ms=9_000), OLD], [("CANCELED", "0.1", "9125")]),
        (
            [trade(0.1, 1, ago_ms=9_000, exec_id=None), trade(0.2, 2, ago_ms=8_000, exec_id=None)],
            [("CANCELED", "0.3", "27375")],
        ),
        ([OLD], [("CANCELED", "0", "0")]),
    ],
)  # fmt: skip
def test_what_the_snapshots_say_of_a_known_order(
    rows: list[dict[str, object]], told: list[tuple[str, str, str]]
) -> None:
    outputs = gap(*rows)
    assert steps(outputs) == told
    assert missing(outputs) == []
    assert positions(outputs) == [[Balance(asset="USD", free="5", locked="0")]]


@pytest.mark.parametrize("answer", [bad("EOrder:Unknown order"), good({}), "<html></html>"])
def test_an_order_that_the_fills_do_not_reach_is_asked_for_once_then_named(answer: object) -> None:
    drive = Derivatives(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    outputs = drive.live(*MANY)
    (call,) = of(Call, outputs)
    assert path(call) == "/0/private/QueryOrders"
    outputs = drive.answer(call, answer)
    assert [step for step in steps(outputs) if step[1] != "0.05"] == []
    assert any(phrase.startswith(f"order {ORDER}: ended in the gap") for phrase in missing(outputs))


def test_an_order_that_nobody_knew_is_told_from_its_fills_or_named() -> None:
    fills = [trade(0.2, 1, "filled", 9_000, order_id="new", cl_ord_id="N", order_qty=0.2),
             trade(0.2, 2, "partially_filled", 8_000, order_id="part", cl_ord_id="P", order_qty=0.9)]  # fmt: skip
    outputs = gap(*fills, OLD, orders=())
    assert {str(r.order_id): (r.order_status, r.quantity) for r in reports(outputs)} == {
        "new": ("FILLED", "0.2"), "part": ("CANCELED", "0.9"),
    }  # fmt: skip
    outputs = gap(trade(0.2, 1, "", 9_000, order_id="new", cl_ord_id="N"), OLD, orders=())
    assert missing(outputs) == ["order new: filled in the gap, its size is not told"]


def test_an_order_that_nobody_knew_is_named_where_fills_of_it_may_be_left_out() -> None:
    """A snapshot of fills that is full may begin behind the order's first one."""
    outputs = gap(*MANY, orders=())
    assert reports(outputs) == []
    assert missing(outputs) == ["order busy: filled in the gap, its size is not told"]


def test_a_fill_is_counted_once_whether_a_total_or_an_earlier_connection_had_it() -> None:
    """Found with the classic way: gaps that overlap tell a fill twice."""
    half = known(status="PARTIALLY_FILLED", executed="0.1", executed_quote="9125", order_time_ms=WALL - 9_000)
    fills = [trade(0.1, 1, ago_ms=9_000), trade(0.2, 2, ago_ms=9_000)]
    assert steps(gap(*fills, OLD, orders=(half,))) == [("CANCELED", "0.3", "27375")]
    resting = row(cum_qty=0.3, cum_cost=27375, order_status="partially_filled", timestamp=rfc3339(WALL - 60_000))
    (report,) = reports(gap(resting, *fills, orders=(half,)))
    assert (report.total_trade_quantity, report.order_time) == ("0.3", WALL - 9_000)


@pytest.mark.parametrize(("says", "told"), [("partially_filled", "CANCELED"), ("filled", "FILLED")])
def test_an_order_that_was_made_larger_in_a_gap_and_ended_is_filled_only_if_its_last_fill_says_so(
    says: str, told: str
) -> None:
    """More was filled than the size that was known: that alone made it FILLED, though it was cancelled."""
    fills = [trade(0.35, 1, "partially_filled", 9_000), trade(0.05, 2, says, 8_000)]
    (report,) = reports(gap(*fills, OLD))
    assert (report.order_status, report.total_trade_quantity) == (told, "0.4")


def test_a_snapshot_that_comes_twice_counts_its_fills_once() -> None:
    fills = [trade(0.2, 1, "filled", 9_000, order_id="new", cl_ord_id="N", order_qty=0.2)] * 2
    (report,) = reports(gap(*fills, OLD, OLD, orders=()))
    assert (report.order_status, report.total_trade_quantity) == ("FILLED", "0.2")


def test_orders_of_the_classic_way_go_on_under_other_ids() -> None:
    """Both ways tell the same order under an id of their own: none of them is cancelled by the change of the way."""
    orders = (
        known("classic-1"),
        known("classic-2", client_order_id="classic-2", quantity="0.5"),
        known("classic-3", client_order_id="Z"),
    )
    rows = [row(cum_qty=0.1, cum_cost=9125, order_status="partially_filled"),
            row(order_id="other", cl_ord_id=None, order_qty=0.5)]  # fmt: skip
    outputs = gap(*rows, trade(0.1, 1, ago_ms=9_000), orders=orders)
    calls = of(Call, outputs)
    assert len(calls) == 1, "the third one is nowhere: it is asked for, and not told as cancelled"
    assert "CANCELED" not in {report.order_status for report in reports(outputs)}


# --- prices ---


@pytest.mark.parametrize("status", ["FILLED", "NEW"])
def test_an_order_that_the_classic_way_told_is_not_filled_once_more_when_its_user_made_a_new_key(status: str) -> None:
    """Its fills stand in the snapshot under an id that nobody knows; told or not, it is one order and ends once."""
    executed = {"executed": "0.35", "executed_quote": "31937.5"} if status == "FILLED" else {}
    before = known("classic-uuid", status=status, order_time_ms=WALL - 8_000, **executed)
    outputs = gap(OLD, trade(0.1, 1, ago_ms=9_000), trade(0.25, 2, "filled", 8_000), orders=(before,))
    assert steps(outputs) == ([] if status == "FILLED" else [("FILLED", "0.35", "31937.5")])


def test_a_client_id_that_was_used_again_after_the_change_of_keys_is_another_order() -> None:
    before = known(
        "classic-uuid", status="FILLED", executed="0.35", executed_quote="31937.5", order_time_ms=WALL - 30_000
    )
    outputs = gap(OLD, trade(0.1, 1, ago_ms=9_000), trade(0.25, 2, "filled", 8_000, order_qty=0.35), orders=(before,))
    assert steps(outputs) == [("FILLED", "0.35", "31937.5")]


def market(make: Any, subscription: Any, **options: str) -> Driver:
    drive = Driver(make, "krakenUsdm", TABLE, **options)
    drive.begin = Instant(1_000.0, WALL)
    drive.add(subscription)
    assert only(Connect, drive.start()).url == "wss://uws.kraken.com/v2/public"
    return drive


def test_prices_of_the_unified_way() -> None:
    tickers = TickerSubscription(stream_id="t", exchange="krakenUsdm", symbols=("PF_XBTUSD",))
    drive = market(VENUE.ticker, tickers, KRAKEN_FUTURES_ROUTE="unified")
    (request,) = [one for one in sent(drive.connected()) if one["method"] == "subscribe"]
    assert request["params"] == {
        "channel": "ticker", "symbol": ["PF_XBTUSD"], "snapshot": True, "asset_class": "derivatives",
    }  # fmt: skip
    tick = {
        "symbol": "PF_XBTUSD",
        "last": 91250.5,
        "volume": 3.5,
        "ask_qty": 1,
        "bid_qty": 2,
        "timestamp": rfc3339(WALL),
    }
    (told,) = of(EmitTickers, drive.frame({"channel": "ticker", "type": "update", "data": [tick]}))
    assert [(one.symbol, one.price, one.time) for one in told.tickers] == [("BTC-USD", 91250.5, WALL)]


def test_a_product_that_the_unified_way_does_not_have_costs_itself() -> None:
    tickers = TickerSubscription(stream_id="t", exchange="krakenUsdm", symbols=("PF_XBTUSD", "PF_OLDUSD"))
    drive = market(VENUE.ticker, tickers, KRAKEN_FUTURES_ROUTE="unified")
    (request,) = [one for one in sent(drive.connected()) if one["method"] == "subscribe"]
    ack = {"method": "subscribe", "success": True, "req_id": request["req_id"],
           "result": {"channel": "ticker", "symbol": "PF_XBTUSD"}}  # fmt: skip
    refused = {"method": "subscribe", "success": False, "error": "Currency pair not supported PF_OLDUSD",
               "req_id": request["req_id"]}  # fmt: skip
    assert of(Live, [*drive.frame(refused), *drive.frame(ack)])
    assert isinstance(drive.adapter, TellsSymbols)
    assert drive.adapter.subscribed == 1


def test_prices_that_took_no_way_yet_are_of_no_symbol() -> None:
    adapter = VENUE.ticker(setup("krakenUsdm", TABLE))
    assert isinstance(adapter, TellsSymbols)
    assert adapter.subscribed == 0


def test_candles_of_the_unified_way() -> None:
    candles = CandleSubscription(stream_id="c", exchange="krakenUsdm", symbol="BTC-USD", interval="1h")
    drive = market(VENUE.candle, candles, KRAKEN_FUTURES_ROUTE="unified")
    (request,) = [one for one in sent(drive.connected()) if one["method"] == "subscribe"]
    assert request["params"] == {
        "channel": "ohlc", "symbol": ["PF_XBTUSD"], "interval": 60, "snapshot": False, "asset_class": "derivatives",
    }  # fmt: skip
    drive.frame({"method": "subscribe", "success": True, "req_id": request["req_id"],
                 "result": {"channel": "ohlc", "symbol": "PF_XBTUSD", "interval": 60}})  # fmt: skip
    bar = {"symbol": "PF_XBTUSD", "open": 1, "high": 2, "low": 1, "close": 2, "volume": 3, "interval": 60,
           "interval_begin": rfc3339(WALL // 3_600_000 * 3_600_000)}  # fmt: skip
    (told,) = of(EmitCandle, drive.frame({"channel": "ohlc", "type": "update", "data": [bar]}))
    assert (told.symbol, told.interval, told.candle.close) == ("BTC-USD", "1h", "2")


@pytest.mark.parametrize("feed", ["ticker", "candle"])
def test_prices_stay_on_the_classic_way_until_its_end(feed: str) -> None:
    make = VENUE.ticker if feed == "ticker" else VENUE.candle
    for wall_ms, url in ((WALL, CLASSIC), (END_MS, "wss://uws.kraken.com/v2/public")):
        drive = Driver(make, "krakenUsdm", TABLE)
        drive.begin = Instant(1_000.0, wall_ms)
        assert only(Connect, drive.start()).url == url


# --- the list of symbols ---


def listed(*rows: dict[str, object]) -> Answer:
    return json_answer({"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": list(rows)}})


@pytest.mark.parametrize(
    "answer",
    [Answer(410, {}, b"Gone"), Answer(404, {}, b""), Answer(301, {}, b""), Answer(0, {}, b"", "no answer"),
     json_answer({"result": "success", "instruments": []})],
)  # fmt: skip
def test_when_the_futures_api_lists_nothing_any_more_the_unified_socket_is_asked(answer: Answer) -> None:
    loader = VENUE.instruments("krakenUsdm", {})
    call = loader.start()[0]
    (question,) = loader.answered(call, answer)
    assert question.url == "wss://uws.kraken.com/v2/public"
    rows = (
        {"symbol": "PF_XBTUSD", "base": "XBT", "quote": "USD", "status": "online", "price_increment": 0.5},
        {"symbol": "PF_NEWCOINUSD", "status": "work_in_progress"},
        {"symbol": "PI_XBTUSD", "base": "XBT", "quote": "USD", "status": "online"},
        {"symbol": None},
    )
    assert not loader.answered(question, listed(*rows))
    found = [(one.wire, one.pair, one.active, one.settle) for one in loader.result() or ()]
    assert found == [("PF_XBTUSD", "BTC-USD", True, "USD"), ("PF_NEWCOINUSD", "NEWCOIN-USD", False, "USD")]


def test_a_list_that_neither_way_tells_leaves_the_old_one_in_place() -> None:
    loader = VENUE.instruments("krakenUsdm", {})
    (question,) = loader.answered(loader.start()[0], Answer(410, {}, b"Gone"))
    assert not loader.answered(question, Answer(0, {}, b"", "no frame answered in time"))
    assert loader.result() is None


def test_the_unified_way_asks_its_own_socket_for_the_list() -> None:
    (question,) = VENUE.instruments("krakenUsdm", {"KRAKEN_FUTURES_ROUTE": "unified"}).start()
    assert question.url.startswith("wss://uws.")


def test_a_recorded_candle_of_a_length_that_the_venue_does_not_have_is_no_exception() -> None:
    adapter, _ = VENUE.replay("krakenUsdm", "candle", {"route": "unified", "symbol_map": {"PF_XBTUSD": "BTC-USD"}})
    row = {"symbol": "PF_XBTUSD", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "interval": 0,
           "interval_begin": rfc3339(WALL)}  # fmt: skip
    frame = msgspec.json.encode({"channel": "ohlc", "type": "update", "data": [row]})
    assert not of(EmitCandle, adapter.received(frame, Instant(0.0, WALL)))
