"""Hyperliquid: addresses, joining of order states and fills, gap repair, symbols, prices, driven without a socket."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

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
    KnownOrder,
    Live,
    Note,
    Output,
    Outputs,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges._frames import NO_WEIGHT
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.hyperliquid import VENUE
from exchanges.hyperliquid._fills import FILLS_KEPT_S
from exchanges.hyperliquid._symbols import Loader, Token, aliases
from exchanges.instruments import EMPTY, SymbolTable
from tests.unit.exchanges.driver import Driver, after, frame, json_answer, of, only, sent, setup

WALL = 1_795_300_000_000
NOW = Instant(1_000.0, WALL)
at = partial(after, NOW)
ADDRESS = "0x4C3f1a2b5d6e7f8091a2b3c4d5e6f708192a3b4c"
USER = ADDRESS.lower()

SPOT_META = {
    "tokens": [
        {"name": "USDC", "index": 0},
        {"name": "PURR", "index": 1},
        {"name": "UBTC", "index": 197, "fullName": "Unit Bitcoin"},
        {"name": "USDE", "index": 235},
        {"name": "../x", "index": 300},
    ],
    "universe": [
        {"name": "PURR/USDC", "tokens": [1, 0], "index": 0},
        {"name": "@142", "tokens": [197, 0], "index": 142},
        {"name": "@300", "tokens": [300, 0], "index": 300},
    ],
}
META = {"universe": [{"name": "BTC"}, {"name": "kPEPE"}, {"name": "OLD", "isDelisted": True}], "collateralToken": 0}
DEXES = [None, {"name": "xyz"}, {"name": "hyna"}, {"name": "a/b"}]
DEX_METAS: dict[str, object] = {
    "xyz": {"universe": [{"name": "xyz:TSLA"}, {"name": "xyz:a/b"}], "collateralToken": 0},
    "hyna": {"universe": [{"name": "hyna:BTC"}], "collateralToken": 235},
}


def load(exchange: str, replies: dict[str, object] | None = None, **options: str) -> list[Any] | None:
    """What the loader makes of the venue's lists; `replies` replaces some of them, by type or dex."""
    given = {"spotMeta": SPOT_META, "meta": META, "perpDexs": DEXES, **DEX_METAS, **(replies or {})}
    loader = Loader(exchange, options)
    pending = list(loader.start())
    while pending:
        call = pending.pop(0)
        body = json.loads(call.body or "")
        reply = given[body.get("dex") or body["type"]]
        pending += loader.answered(call, reply if isinstance(reply, Answer) else json_answer(reply))
    found = loader.result()
    return None if found is None else list(found)


SPOT = SymbolTable(load("hyperliquid") or ())
LINEAR = SymbolTable(load("hyperliquidLinear") or ())


def account(resume: Resume | None = None, key: str = ADDRESS) -> UserSubscription:
    keys = credentials(key, "")
    return UserSubscription(stream_id="u1", exchange="hyperliquidLinear", credentials=keys, resume=resume)


def update(status: str = "open", sz: str = "0.35", **changes: Any) -> dict[str, Any]:
    """One order state, of an order that was placed after the connection was made."""
    moment = changes.pop("moment", WALL + 20_000)
    order = {
        "coin": "BTC", "side": "B", "limitPx": "91250.0", "sz": "0.0" if status == "filled" else sz, "oid": 7,
        "timestamp": WALL + 10_000, "origSz": "0.35", "cloid": "0xa1",
    }  # fmt: skip
    return {"order": order | changes, "status": status, "statusTimestamp": moment}


def fill(sz: str, px: str, tid: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "coin": "BTC", "px": px, "sz": sz, "side": "B", "time": WALL + 19_000, "oid": 7, "tid": tid, "cloid": "0xa1",
        "fee": "0.5", "feeToken": "USDC", "crossed": True, "dir": "Open Long", "hash": "0x0", "twapId": None,
    }  # fmt: skip
    return fields | changes


class Drive:
    """An account adapter, its outstanding calls, and what it has published."""

    def __init__(self, subscription: UserSubscription | None = None, made: Setup | None = None) -> None:
        self.adapter = VENUE.user(made or setup("hyperliquidLinear", LINEAR))
        self.now = NOW
        self.calls: list[Call] = []
        self.outputs: list[Output] = []
        self.all: list[Output] = []
        self.adapter.add(subscription or account(), NOW)
        self.note(self.adapter.start(NOW))
        self.connect = of(Connect, self.outputs)
        if self.connect:
            self.note(self.adapter.connected(NOW))

    def note(self, outputs: Outputs) -> list[Output]:
        self.outputs = list(outputs)
        self.all += self.outputs
        self.calls += of(Call, self.outputs)
        return self.outputs

    def feed(self, channel: str, data: object = None) -> list[Output]:
        return self.note(self.adapter.received(frame({"channel": channel, "data": data}), self.now))

    def orders(self, *updates: dict[str, Any]) -> list[ExecutionReport]:
        return reports(self.feed("orderUpdates", updates))

    def fills(self, *fills: dict[str, Any], **more: Any) -> list[ExecutionReport]:
        return reports(self.feed("userFills", {"user": USER, "fills": fills, **more}))

    def reply(self, tag: str, value: object = None, status: int = 200) -> list[Output]:
        call = next(call for call in self.calls if call.tag == tag)
        self.calls.remove(call)
        return self.note(self.adapter.answered(call, json_answer(value, status), self.now))

    def acknowledge(self, *kinds: str) -> list[Output]:
        said: list[Output] = []
        for kind in kinds or ("orderUpdates", "userFills"):
            subscription = {"type": kind, "user": USER}
            said += self.feed("subscriptionResponse", {"method": "subscribe", "subscription": subscription})
        return said

    def join(self) -> list[Output]:
        said = self.reply("role", {"role": "user"}) if any(call.tag == "role" for call in self.calls) else []
        return [*said, *self.acknowledge()]

    def wait(self, seconds: float) -> list[Output]:
        """Let time pass, pings answered. Returns what was said."""
        end, said = self.now.mono + seconds, []
        while (due := self.adapter.deadline()) is not None and due <= end:
            self.now = after(self.now, max(0.0, due - self.now.mono))
            said += self.note(self.adapter.woken(self.now))
            self.adapter.received(b'{"channel":"pong"}', self.now)
        self.now = after(self.now, end - self.now.mono)
        return said


def live(subscription: UserSubscription | None = None, **options: str) -> Drive:
    drive = Drive(subscription, setup("hyperliquidLinear", LINEAR, **options))
    drive.join()
    return drive


def reports(outputs: Iterable[Output]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def figures(event: ExecutionReport) -> tuple[str, str, str, str]:
    return event.order_status, event.total_trade_quantity, event.total_quote_trade_quantity, event.price


def figures_of(outputs: Iterable[Output]) -> list[tuple[str, str, str, str]]:
    return [figures(event) for event in reports(outputs)]


def asked(call: Call) -> dict[str, Any]:
    return dict(json.loads(call.body or ""))


# --- accounts: who ---


@pytest.mark.parametrize("key", ["", "0x12", "abc", ADDRESS[:-1], f"{ADDRESS}0", f"0x{'g' * 40}", "0X" + ADDRESS[2:]])
def test_a_key_that_is_no_address_is_refused_without_a_call(key: str) -> None:
    drive = Drive(account(key=key))
    fail = only(Fail, drive.outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")
    assert not drive.calls
    assert not drive.connect


def test_an_account_is_named_by_its_address_and_nothing_is_signed() -> None:
    drive = Drive()
    assert drive.connect == [Connect("wss://api.hyperliquid.xyz/ws")]
    assert sent(drive.outputs) == [
        {"method": "subscribe", "subscription": {"type": kind, "user": USER}} for kind in ("orderUpdates", "userFills")
    ]
    (call,) = drive.calls
    assert (call.method, call.url, call.weight) == ("POST", "https://api.hyperliquid.xyz/info", 60)
    assert asked(call) == {"type": "userRole", "user": USER}
    assert USER not in repr(drive.outputs)


def test_the_demo_environment_is_the_testnet() -> None:
    made = setup("hyperliquidLinear", LINEAR, HYPERLIQUIDENV="demo")
    drive = Drive(made=made)
    assert drive.connect == [Connect("wss://api.hyperliquid-testnet.xyz/ws")]
    assert drive.calls[0].url == "https://api.hyperliquid-testnet.xyz/info"
    for adapter in (VENUE.ticker(made), VENUE.candle(made)):
        assert adapter.start(NOW) == [Connect("wss://api.hyperliquid-testnet.xyz/ws")]
    calls = VENUE.instruments("hyperliquidLinear", {"HYPERLIQUIDENV": "demo"}).start()
    assert {call.url for call in calls} == {"https://api.hyperliquid-testnet.xyz/info"}


@pytest.mark.parametrize("key", ["HYPERLIQUIDENV", ""])
def test_a_sandbox_account_is_on_the_testnet(key: str) -> None:
    """It was sent to the live host. Its spot codes are other coins than those of the live list."""
    keys = credentials(ADDRESS, "", environment="sandbox")
    options = {key: "demo"} if key else {}
    drive = Drive(
        UserSubscription(stream_id="u1", exchange="hyperliquid", credentials=keys),
        setup("hyperliquid", SPOT, **options),
    )
    assert drive.connect == [Connect("wss://api.hyperliquid-testnet.xyz/ws")]
    assert drive.calls[0].url == "https://api.hyperliquid-testnet.xyz/info"
    drive.join()
    pairs = [drive.orders(update(coin=code, oid=n))[0].symbol for n, code in enumerate(("@142", "PURR/USDC"))]
    assert pairs == (["BTC-USDC", "PURR-USDC"] if key else ["@142", "PURR-USDC"])


@pytest.mark.parametrize("role", ["agent", "missing", "somethingNew"])
def test_an_address_that_stays_silent_is_refused_also_when_the_answer_comes_late(role: str) -> None:
    """The address of an API wallet subscribes well and never says anything."""
    drive = Drive()
    drive.acknowledge()
    assert of(Live, drive.wait(6)) == [Live("u1")]
    fail = only(Fail, drive.reply("role", {"role": role}))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "u1", True)
    assert role in fail.reason


def test_a_stream_that_was_live_before_asks_what_its_address_is_when_its_gap_is_read() -> None:
    """The question weighs as much as a good part of a repair, and ten accounts may come back at once."""
    drive = Drive(account(Resume(since_ms=WALL - 90_000)))
    assert not drive.calls
    drive.acknowledge()
    drive.reply("fills", [])
    drive.reply("open orders", [])
    outputs = drive.reply("closed orders", [])
    assert [type(output) for output in outputs] == [Live, Call]
    assert only(Fail, drive.reply("role", {"role": "missing"})).kind is FailKind.CREDENTIAL


@pytest.mark.parametrize("role", ["user", "vault", "subAccount"])
def test_an_account_is_live_once_all_is_answered(role: str) -> None:
    drive = Drive()
    assert not of(Live, drive.acknowledge("orderUpdates"))
    assert not of(Live, drive.reply("role", {"role": role}))
    assert of(Live, drive.acknowledge("userFills")) == [Live("u1")]


@pytest.mark.parametrize(("value", "status"), [(None, 500), ({}, 200), ("x", 429)])
def test_rest_that_can_not_tell_the_role_keeps_nobody_out(value: object, status: int) -> None:
    drive = Drive()
    drive.acknowledge()
    outputs = drive.reply("role", value, status)
    assert of(Live, outputs) == [Live("u1")]
    assert of(Note, outputs)


def test_orders_wait_for_their_names_when_a_process_has_just_started() -> None:
    """Without the list an order would go out under the venue's code, which the backend rounds to 2 decimals."""
    table = EMPTY
    made = Setup(exchange="hyperliquid", new_id=lambda: "r", table=lambda: table)
    drive = Drive(made=made)
    assert not sent(drive.outputs)
    assert not sent(drive.wait(1))
    table = SPOT
    assert len(sent(drive.wait(1))) == 2


def test_a_taker_without_the_symbol_list_tells_no_order_once_more_under_the_venues_code() -> None:
    drive = Drive(made=setup("hyperliquid", EMPTY))
    said = drive.wait(6)
    assert not sent(said)
    fail = only(Fail, said)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)
    assert "symbol list" in fail.reason


def test_a_subscribe_request_without_an_answer_is_repeated_then_the_connection_ends() -> None:
    drive = Drive()
    drive.reply("role", {"role": "user"})
    drive.acknowledge("orderUpdates")
    said = drive.wait(20)
    again = [request["subscription"]["type"] for request in sent(said) if request["method"] == "subscribe"]
    assert again == ["userFills", "userFills"]
    assert of(Fail, said)[0].kind is FailKind.TRANSIENT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cannot track more than 10 total users.", (FailKind.RATE_LIMITED, True, 60.0)),
        (f'Invalid subscription {{"type":"orderUpdates","user":"{USER}"}}', (FailKind.CREDENTIAL, False, None)),
        (
            f'Error parsing JSON into valid websocket request: {{"user":"{ADDRESS}"}}',
            (FailKind.CREDENTIAL, False, None),
        ),
    ],
)
def test_refused_subscriptions_are_judged_and_repeat_no_address(text: str, expected: object) -> None:
    fail = only(Fail, Drive().feed("error", text))
    assert (fail.kind, fail.first_sight, fail.retry_after_s) == expected
    assert fail.stream_id == "u1"
    assert USER not in fail.reason.lower()


def test_a_topic_that_is_subscribed_already_counts_as_confirmed() -> None:
    drive = Drive()
    drive.reply("role", {"role": "user"})
    drive.acknowledge("userFills")
    said = drive.feed("error", f'Already subscribed: {{"type":"orderUpdates","user":"{USER}"}}')
    assert of(Live, said) == [Live("u1")]


def test_pings_are_the_venues_own_and_one_without_an_answer_ends_the_connection() -> None:
    drive = live()
    drive.now = at(30)
    assert sent(drive.note(drive.adapter.woken(drive.now))) == [{"method": "ping"}]
    drive.now = at(46)
    assert only(Fail, drive.note(drive.adapter.woken(drive.now))).kind is FailKind.TRANSIENT


def test_fills_of_another_address_are_not_this_accounts() -> None:
    drive = live()
    drive.orders(update("filled"))
    said = drive.feed("userFills", {"user": f"0x{1:040x}", "fills": [fill("0.35", "90000", 1)]})
    assert said == []


def test_an_account_that_leaves_unsubscribes() -> None:
    drive = live()
    assert [request["method"] for request in sent(drive.adapter.remove("u1", NOW))] == ["unsubscribe"] * 3
    assert drive.adapter.remove("u1", NOW) == []


@pytest.mark.parametrize("why", ["Invalid subscription", "Cannot track more than 1000 total subscriptions."])
def test_an_account_whose_positions_are_refused_keeps_its_orders(why: str) -> None:
    """The native dex is asked for where all of them can't be had; without either a note says so."""
    drive = live()
    error = frame({"channel": "error", "data": why})
    (again,) = sent(drive.adapter.received(error, NOW))
    assert again["subscription"]["type"] == "clearinghouseState"
    assert only(Note, drive.adapter.received(error, NOW)).what.startswith("positions are not told")
    assert drive.orders(update())


# --- joining: order states and fills ---


def test_the_first_letter_of_a_side_is_no_word() -> None:
    """Bug D15: A is the ask side."""
    drive = live()
    sides = [drive.orders(update(side=letter, oid=number))[0].side for number, letter in enumerate("BA")]
    assert sides == ["BUY", "SELL"]


def test_a_filled_order_waits_for_all_of_its_fills() -> None:
    """Bugs A23, A40: it was dropped, before that booked at the aggressive limit price."""
    drive = live()
    assert drive.orders(update("filled")) == []
    assert drive.fills(fill("0.1", "91200", 1)) == []
    (event,) = drive.fills(fill("0.2", "91210", 2), fill("0.05", "91220", 3))
    assert figures(event) == ("FILLED", "0.35", "31923", "91208.6")
    assert (event.fee_paid, event.fee_asset) == ("1.5", "USDC")
    assert drive.fills(fill("0.05", "91220", 3)) == []
    assert drive.orders(update("filled")) == []


def test_fills_that_came_first_price_the_order_at_once() -> None:
    drive = live()
    assert drive.fills(fill("0.35", "91240.0", 1)) == []
    assert [figures(event) for event in drive.orders(update("filled"))] == [("FILLED", "0.35", "31934", "91240.0")]


def test_each_rung_of_the_price_ladder_is_reached() -> None:
    """Bug A14: the REST rung never ran for two releases; so the rung that made the event is told apart here."""
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    drive = live()
    drive.orders(update("filled"))
    found["stream"] = [figures(event) for event in drive.fills(fill("0.35", "91001", 1))]

    drive = live()
    drive.orders(update("filled"))
    said = drive.wait(5)
    (call,) = of(Call, said)
    assert (call.tag, asked(call)["type"], asked(call)["user"]) == ("fills of a parked order", "userFillsByTime", USER)
    found["rest"] = figures_of(drive.reply(call.tag, [fill("0.35", "91002", 1)]))

    drive = live()
    drive.orders(update("filled"))
    drive.fills(fill("0.1", "91003", 1))
    drive.wait(5)
    for _ in range(3):
        drive.reply("fills of a parked order", None, 500)
        said = drive.wait(4)
    found["what is known"] = figures_of(said)
    assert any(note.level == "error" for note in of(Note, said))

    drive = live()
    drive.orders(update("filled"))
    drive.wait(5)
    for _ in range(3):
        drive.reply("fills of a parked order", [])
        said = drive.wait(4)
    found["limit"] = figures_of(said)
    assert found == {
        "stream": [("FILLED", "0.35", "31850.35", "91001.0")],
        "rest": [("FILLED", "0.35", "31850.7", "91002.0")],
        "what is known": [("FILLED", "0.35", "31851.05", "91003.0")],
        "limit": [("FILLED", "0.35", "31937.5", "91250.0")],
    }


def test_one_hiccup_of_rest_does_not_cost_the_price_and_the_last_resort_is_published() -> None:
    """Bugs A15, A16: there was one attempt; and then the log said "emitting", and nothing was."""
    drive = live()
    drive.orders(update("filled"))
    drive.wait(5)
    drive.reply("fills of a parked order", "busy", 502)
    drive.wait(1)
    assert figures_of(drive.reply("fills of a parked order", [fill("0.35", "91000", 1)])) == [
        ("FILLED", "0.35", "31850", "91000.0")
    ]
    drive = live(HL_FILL_REST_RETRIES="0")
    drive.orders(update("filled"))
    assert [status for status, *_ in figures_of(drive.wait(5))] == ["FILLED"]
    assert not [call for call in of(Call, drive.all) if call.tag == "fills of a parked order"]


@pytest.mark.parametrize("answer", [Answer(429, {}, b"null"), Answer(0, {}, b"", NO_WEIGHT)])
def test_a_used_up_limit_of_rest_delays_the_price_once_and_does_not_cost_it(answer: Answer) -> None:
    drive = live()
    drive.orders(update("filled"))
    for seconds in (5, 60):
        assert not reports(drive.wait(seconds))
        call = drive.calls.pop()
        drive.note(drive.adapter.answered(call, answer, drive.now))
    drive.wait(1)
    assert figures_of(drive.reply("fills of a parked order", [fill("0.35", "91000", 1)])) == [
        ("FILLED", "0.35", "31850", "91000.0")
    ]


def test_the_tries_are_one_two_and_four_seconds_apart_and_the_store_is_looked_into_before_each() -> None:
    drive = live()
    drive.orders(update("filled"))
    moments = []
    for _ in range(3):
        while not drive.calls:
            drive.wait(0.5)
        moments.append(drive.now.mono - NOW.mono)
        drive.reply("fills of a parked order", None, 500)
    assert moments == [5.0, 6.0, 8.0]
    drive.wait(3.5)
    assert len(drive.fills(fill("0.35", "91000", 1))) == 1
    assert not reports(drive.wait(60))


def test_fills_that_arrive_while_rest_is_asked_count_and_the_order_goes_out_once() -> None:
    """Bug A17: the parked order was taken away before the wait, so they were thrown away."""
    drive = live()
    drive.orders(update("filled"))
    drive.wait(5)
    assert drive.fills(fill("0.15", "91000", 1)) == []
    assert len(drive.fills(fill("0.2", "91000", 2))) == 1
    assert not reports(drive.reply("fills of a parked order", [fill("0.15", "91000", 1), fill("0.2", "91000", 2)]))
    assert not reports(drive.wait(60))


def test_fills_of_rest_and_stream_together_complete_an_order() -> None:
    drive = live()
    drive.orders(update("filled"))
    drive.fills(fill("0.15", "91000", 1))
    drive.wait(5)
    found = figures_of(drive.reply("fills of a parked order", [fill("0.15", "91000", 1), fill("0.2", "92000", 2)]))
    assert found == [("FILLED", "0.35", "32050", "91571.4")]


def test_the_parking_place_never_grows_past_its_limit_and_what_is_being_asked_for_stays() -> None:
    """Bug A18: entries that were being resolved were evicted, or none, and the map grew."""
    drive = live(HL_FILL_PARK_MAX_SIZE="2")
    drive.orders(update("filled", oid=1))
    drive.wait(5)
    assert [asked(call)["type"] for call in drive.calls] == ["userFillsByTime"]
    assert drive.orders(update("filled", oid=2)) == []
    assert [event.order_id for event in drive.orders(update("filled", oid=3))] == [2]
    drive.wait(5)
    assert len(drive.calls) == 2
    assert [event.order_id for event in drive.orders(update("filled", oid=4))] == [4], "all places are being asked for"
    assert any("too many" in note.what for note in of(Note, drive.outputs))


def test_of_a_snapshot_only_the_fills_of_parked_orders_count() -> None:
    """Bug A24: snapshots were skipped as a whole."""
    drive = live()
    drive.orders(update("filled", oid=7))
    known = [fill("9", "90000", 20, oid=99, cloid="0xff"), fill("0.35", "91239", 21)]
    assert [event.order_id for event in drive.fills(*known, isSnapshot=True)] == [7]
    assert drive.orders(update("filled", oid=99, cloid="0xff", origSz="9")) == [], "not priced with the snapshot"


def test_rest_that_never_answers_is_asked_a_bounded_number_of_times() -> None:
    """Bug A41: an endless loop."""
    drive = live()
    for oid in range(20):
        drive.orders(update("filled", oid=oid, cloid=f"0x{oid}"))
    said = drive.wait(3600)
    assert len([call for call in of(Call, said) if call.tag == "fills of a parked order"]) == 60
    assert len(reports(said)) == 20


@pytest.mark.parametrize(("hours", "priced"), [(4.9, True), (5.1, False)])
def test_a_fill_is_kept_for_five_hours(hours: float, priced: bool) -> None:
    """Bug A57: an order that rests for hours between its first fill and its last had no price."""
    drive = live()
    drive.fills(fill("0.1", "91000", 1))
    drive.wait(hours * 3600)
    drive.fills(fill("1", "1", 50, oid=50))
    assert FILLS_KEPT_S == 5 * 3600
    drive.orders(update("filled"))
    assert (len(drive.fills(fill("0.25", "91000", 2))) == 1) is priced


@pytest.mark.parametrize("sizes", [("0.1", "0.2", "0.05"), ("0.3499999999", "0.0000000001"), ("0.35000000001",)])
def test_a_filled_order_has_exactly_its_size(sizes: tuple[str, ...]) -> None:
    """Bug A53: a FILLED that is short makes the bot buy the rest a second time."""
    drive = live()
    drive.orders(update("filled"))
    (event,) = drive.fills(*(fill(size, "91000", number) for number, size in enumerate(sizes)))
    assert (event.quantity, event.total_trade_quantity) == ("0.35", "0.35")


def test_a_fill_that_is_told_twice_counts_once() -> None:
    drive = live()
    drive.fills(fill("0.1", "91000", 1), fill("0.1", "91000", 1))
    drive.fills(fill("0.1", "91000", 1), isSnapshot=True)
    assert [figures(event) for event in drive.orders(update(sz="0.25"))] == [
        ("PARTIALLY_FILLED", "0.1", "9100", "91000.0")
    ]


def test_a_partial_fill_whose_fill_comes_late_is_told_again_with_it() -> None:
    drive = live()
    drive.fills(fill("0.1", "91000", 1))
    assert [figures(event) for event in drive.orders(update(sz="0.15"))] == [
        ("PARTIALLY_FILLED", "0.1", "9100", "91000.0")
    ]
    assert [figures(event) for event in drive.fills(fill("0.1", "91100", 2))] == [
        ("PARTIALLY_FILLED", "0.2", "18210", "91050.0")
    ]
    assert drive.fills(fill("0.1", "91100", 2)) == []


def test_a_partial_fill_that_was_told_at_the_limit_is_told_again_with_its_price() -> None:
    """Found by random deeds: an order that stayed open kept the limit as its average."""
    drive = live()
    assert [figures(event) for event in drive.orders(update(sz="0.25"))] == [
        ("PARTIALLY_FILLED", "0.1", "9125", "91250.0")
    ]
    assert [figures(event) for event in drive.fills(fill("0.1", "91000", 1))] == [
        ("PARTIALLY_FILLED", "0.1", "9100", "91000.0")
    ]
    drive.orders(update(sz="0.15"))
    drive.orders(update("marginCanceled", sz="0.15"))
    assert drive.fills(fill("0.1", "91000", 2)) == [], "nothing follows an end"


def test_a_cancellation_never_says_less_than_was_executed() -> None:
    """It is the last word about the order: what a fill does not explain yet counts at the limit price."""
    drive = live()
    drive.fills(fill("0.1", "91000", 1))
    assert [figures(event) for event in drive.orders(update("marginCanceled", sz="0.15"))] == [
        ("CANCELED", "0.2", "18225", "91125.0")
    ]


def test_an_order_from_before_the_connection_keeps_what_it_had_executed() -> None:
    """Its earlier fills came over another connection."""
    known = KnownOrder(
        order_id="7", client_order_id="0xa1", symbol="BTC-USDC", status="PARTIALLY_FILLED", executed="0.1",
        executed_quote="9000", quantity="0.35", price="90000",
    )  # fmt: skip
    drive = Drive(account(Resume(since_ms=WALL - 90_000, orders=(known,))))
    drive.join()
    drive.reply("fills", [])
    drive.reply("open orders", [])
    drive.reply("closed orders", [])
    drive.reply("order", {"status": "order", "order": update(sz="0.25", timestamp=WALL - 500_000)})
    drive.fills(fill("0.05", "91000", 9))
    assert [figures(event) for event in drive.orders(update(sz="0.2", timestamp=WALL - 500_000))] == [
        ("PARTIALLY_FILLED", "0.15", "13550", "90333.3")
    ]


def test_a_modified_order_keeps_what_only_a_fill_told_of_its_old_id() -> None:
    """The venue cancels and places anew: another id with the same client id, by which the backend books."""
    drive = live()
    drive.fills(fill("0.1", "91000", 1, oid=6))
    assert drive.orders(update("filled", origSz="0.25")) == []
    assert [figures(event) for event in drive.fills(fill("0.25", "91100", 2))] == [
        ("FILLED", "0.35", "31875", "91071.4")
    ]


def test_fills_are_found_by_the_client_id_where_they_explain_the_order() -> None:
    drive = live()
    drive.fills(fill("0.35", "91000", 1, oid=6))
    assert len(drive.orders(update("filled"))) == 1


@pytest.mark.parametrize(
    "status",
    [
        "reduceOnlyCanceled",
        "oracleRejected",
        "internalCancel",
        "outcomeSettledCanceled",
        "tooManyOpenOrdersRejected",
        "brandNewCanceled",
        "brandNewRejected",
    ],
)
def test_every_end_is_a_cancel_without_an_error_line(status: str) -> None:
    drive = live()
    assert [event.order_status for event in drive.orders(update(status))] == ["CANCELED"]
    assert not of(Note, drive.outputs)


@pytest.mark.parametrize(
    "changes",
    [{"status": "frozen"}, {"side": None}, {"side": "X"}, {"origSz": None, "sz": None}, {"sz": None}, {"origSz": None}],
)
def test_what_no_page_lists_is_asked_for_and_never_guessed(changes: dict[str, Any]) -> None:
    """It was told as CANCELED, as BUY or as filled whole, and what came later about the order was dropped."""
    drive = live()
    assert drive.orders(update(**changes)) == []
    assert any(note.level == "error" for note in of(Note, drive.outputs))
    assert asked(drive.calls[0]) == {"type": "orderStatus", "user": USER, "oid": 7}
    assert drive.reply("order", {"status": "order", "order": update(**changes)}) == []
    drive.wait(2)
    assert figures_of(drive.reply("order", {"status": "order", "order": update()})) == [("NEW", "0", "0", "91250.0")]


def test_an_unreadable_order_costs_only_itself() -> None:
    drive = live()
    assert len(drive.orders({"order": {"oid": "x"}}, update())) == 1
    assert of(Note, drive.outputs)


def test_a_fee_in_two_assets_or_a_rebate_is_left_out() -> None:
    for fees in ([("1", "USDC"), ("1", "HYPE")], [("-1", "USDC"), ("0.5", "USDC")]):
        drive = live()
        drive.orders(update("filled"))
        halves = [fill("0.175", "91000", number, fee=fee, feeToken=token) for number, (fee, token) in enumerate(fees)]
        (event,) = drive.fills(*halves)
        assert (event.fee_paid, event.fee_asset) == (UNSET, UNSET)


def test_a_fee_in_a_bridged_coin_has_the_coins_own_name() -> None:
    drive = Drive(made=setup("hyperliquid", SPOT))
    drive.join()
    drive.orders(update("filled", coin="@142"))
    (event,) = drive.fills(fill("0.35", "91000", 1, coin="@142", fee="0.0001", feeToken="UBTC"))
    assert (event.symbol, event.fee_asset) == ("BTC-USDC", "BTC")


# --- modify: the venue cancels and places anew under the same client id ---

OLD_ROW = {"oid": 7, "limitPx": "91250.0", "timestamp": WALL + 10_000}
NEW_ROW = {"oid": 8, "limitPx": "91100.0", "timestamp": WALL + 20_000}


def old(status: str = "canceled", **changes: Any) -> dict[str, Any]:
    return update(status, **(OLD_ROW | changes))


def new(status: str = "open", **changes: Any) -> dict[str, Any]:
    return update(status, **(NEW_ROW | changes))


def resting() -> Drive:
    drive = live()
    drive.orders(old("open"))
    return drive


@pytest.mark.parametrize(
    "frames",
    [
        [[new(), old()]],
        [[old(), new()]],
        [[new()], [old()]],
        [[old()], [new()]],
        [[old(), new()], [old()]],
        [[new()], [old("open", sz="0.35")], [old()]],
    ],
    ids=["one frame", "one frame, cancel first", "two frames", "cancel first", "cancel twice", "old row late"],
)
def test_a_modify_never_cancels_the_client_id_that_lives_on(frames: list[list[dict[str, Any]]]) -> None:
    """The order rests under its new id; told as CANCELED, the bot would place it once more."""
    drive = resting()
    told = [figures(event) for rows in frames for event in drive.orders(*rows)]
    told += figures_of(drive.wait(60))
    assert told == [("NEW", "0", "0", "91100.0")]
    assert not drive.calls, "nothing was left to be asked"
    assert [event.order_status for event in drive.orders(new("marginCanceled"))] == ["CANCELED"]


def test_a_modify_whose_new_row_is_late_is_found_by_asking() -> None:
    drive = resting()
    drive.orders(old())
    assert not drive.wait(0.9)
    drive.wait(0.2)
    assert asked(drive.calls[0]) == {"type": "orderStatus", "user": USER, "oid": "0xa1"}
    answer = {"status": "order", "order": new()}
    assert figures_of(drive.reply("order of a client id", answer)) == [("NEW", "0", "0", "91100.0")]
    assert not reports(drive.wait(60))


@pytest.mark.parametrize("answer", [{"status": "unknownOid"}, {"status": "order", "order": old()}])
def test_a_cancel_is_told_once_the_venue_knows_no_other_order_of_the_client_id(answer: object) -> None:
    drive = resting()
    drive.orders(old())
    drive.wait(1)
    assert figures_of(drive.reply("order of a client id", answer)) == [("CANCELED", "0", "0", "91250.0")]
    assert drive.orders(old()) == []
    assert not reports(drive.wait(60))


def test_a_cancel_goes_out_although_rest_never_answers() -> None:
    drive = resting()
    drive.orders(old(sz="0.25"))
    told = figures_of(drive.wait(60))
    assert told == [("CANCELED", "0.1", "9125", "91250.0")]
    assert len(drive.calls) == 3
    drive = resting()
    drive.orders(old())
    said: list[Output] = []
    for _ in range(3):
        while not drive.calls:
            said += drive.wait(0.5)
        drive.reply("order of a client id", None, 500)
    said += drive.wait(10)
    assert [event.order_status for event in reports(said)] == ["CANCELED"]


def test_many_cancels_at_once_are_looked_up_in_one_list() -> None:
    """A question each would use up what the address may ask in a minute."""
    drive = live()
    rows = [old(oid=number, cloid=f"0x{number}") for number in range(100, 140)]
    drive.orders(*(old("open", oid=number, cloid=f"0x{number}") for number in range(100, 140)))
    assert drive.orders(*rows) == []
    drive.wait(1)
    (call,) = drive.calls
    assert asked(call) == {"type": "frontendOpenOrders", "user": USER, "dex": ""}
    (rest,) = [new(oid=900, cloid="0x120")["order"]]
    told = reports(drive.reply("orders of client ids", [rest, {"oid": None}]))
    assert [event.order_status for event in told].count("CANCELED") == 39
    assert [(event.order_status, event.order_id) for event in told if event.order_id == 900] == [("NEW", 900)]
    assert not reports(drive.wait(60))


def test_totals_go_on_across_a_modify() -> None:
    """The backend books by client id: what the old id executed is part of the order."""
    drive = resting()
    drive.fills(fill("0.1", "91000", 1))
    drive.orders(old("open", sz="0.25"))
    told = drive.orders(new(origSz="0.25", sz="0.25"), old(sz="0.25"))
    assert [(*figures(event), event.quantity) for event in told] == [
        ("PARTIALLY_FILLED", "0.1", "9100", "91000.0", "0.35")
    ]
    drive.fills(fill("0.05", "91100", 2, oid=8))
    assert [figures(event)[:3] for event in drive.orders(new(origSz="0.25", sz="0.2"))] == [
        ("PARTIALLY_FILLED", "0.15", "13655")
    ]
    drive.fills(fill("0.2", "91100", 3, oid=8))
    (event,) = drive.orders(new("filled", origSz="0.25"))
    assert (*figures(event), event.quantity) == ("FILLED", "0.35", "31875", "91071.4", "0.35")
    assert (event.fee_paid, event.fee_asset) == ("1.5", "USDC")


def test_an_order_that_was_cancelled_after_a_modify_keeps_both_parts() -> None:
    drive = resting()
    drive.fills(fill("0.1", "91000", 1))
    drive.orders(new(origSz="0.25", sz="0.25"), old(sz="0.25"))
    drive.fills(fill("0.05", "91100", 2, oid=8))
    assert [figures(event)[:3] for event in drive.orders(new("marginCanceled", origSz="0.25", sz="0.2"))] == [
        ("CANCELED", "0.15", "13655")
    ]


def test_what_the_old_id_executed_and_tells_late_is_told_of_the_new_one() -> None:
    drive = resting()
    assert [figures(event) for event in drive.orders(new(origSz="0.25", sz="0.25"))] == [("NEW", "0", "0", "91100.0")]
    assert [(event.order_id, *figures(event)[:3]) for event in drive.orders(old(sz="0.25"))] == [
        (8, "PARTIALLY_FILLED", "0.1", "9125")
    ]


def test_a_filled_order_waits_for_the_fills_of_its_old_id_too() -> None:
    drive = resting()
    drive.orders(new(origSz="0.25", sz="0.25"), old(sz="0.25"))
    drive.fills(fill("0.25", "91100", 2, oid=8))
    assert drive.orders(new("filled", origSz="0.25")) == []
    drive.wait(5)
    call = drive.calls[0]
    assert asked(call)["startTime"] == WALL + 9_000, "from the beginning of the client order"
    assert figures_of(drive.reply("fills of a parked order", [fill("0.1", "91000", 1)])) == [
        ("FILLED", "0.35", "31875", "91071.4")
    ]


def test_a_new_order_that_the_venue_refuses_leaves_the_old_one_alive() -> None:
    drive = resting()
    assert drive.orders(new("badAloPxRejected")) == []
    drive.orders(old("open", sz="0.25"))
    assert [figures(event)[:2] for event in drive.orders(old("marginCanceled", sz="0.25"))] == [("CANCELED", "0.1")]


def test_a_new_order_that_the_venue_refuses_after_it_cancelled_the_old_one_ends_the_client_order() -> None:
    drive = resting()
    assert drive.orders(old()) == []
    assert [event.order_status for event in drive.orders(new("badAloPxRejected"))] == ["CANCELED"]
    assert not reports(drive.wait(60))


def test_a_client_id_that_is_used_again_starts_from_nothing() -> None:
    drive = live()
    drive.fills(fill("0.1", "91000", 1))
    drive.orders(old("marginCanceled", sz="0.25"))
    assert [figures(event) for event in drive.orders(new(timestamp=WALL + 900_000))] == [("NEW", "0", "0", "91100.0")]


PARTS = [("0.1", "91200"), ("0.2", "91210"), ("0.05", "91220")]


@given(st.permutations(range(7)), st.lists(st.integers(0, 6), max_size=4))
def test_whatever_the_order_of_frames_one_filled_event_comes_last_and_whole(order: list[int], again: list[int]) -> None:
    """States may overtake each other and fills; the tracker drops what goes back, so only the totals count here."""
    frames: list[Callable[[Drive], list[ExecutionReport]]] = [
        lambda drive: drive.orders(update()),
        lambda drive: drive.orders(update(sz="0.25")),
        lambda drive: drive.orders(update(sz="0.05")),
        lambda drive: drive.orders(update("filled")),
        *(partial(_fill, number) for number in range(3)),
    ]
    drive = live()
    events = [event for number in (*order, *again) for event in frames[number](drive)]
    events += reports(drive.wait(120))
    filled = [event for event in events if event.order_status == "FILLED"]
    assert [figures(event) for event in filled] == [("FILLED", "0.35", "31923", "91208.6")]
    assert all(Decimal(event.total_trade_quantity) <= Decimal("0.35") for event in events)


def _fill(number: int, drive: Drive) -> list[ExecutionReport]:
    return drive.fills(fill(*PARTS[number], number))


@given(st.permutations(range(7)), st.lists(st.integers(0, 6), max_size=4))
def test_whatever_the_order_of_a_modifys_frames_its_end_is_whole_and_no_cancel(
    order: list[int], again: list[int]
) -> None:
    frames: list[Callable[[Drive], list[ExecutionReport]]] = [
        lambda drive: drive.orders(old("open")),
        lambda drive: drive.orders(old("open", sz="0.25")),
        lambda drive: drive.orders(old(sz="0.25")),
        lambda drive: drive.orders(new(origSz="0.25", sz="0.25")),
        lambda drive: drive.orders(new("filled", origSz="0.25")),
        lambda drive: drive.fills(fill("0.1", "91000", 1)),
        lambda drive: drive.fills(fill("0.25", "91100", 2, oid=8)),
    ]
    drive = live()
    events = [event for number in (*order, *again) for event in frames[number](drive)]
    events += reports(drive.wait(120))
    # Told before its old id was, it can't have had that one's part: everything was shown, so it is the order of the rows.
    filled = [event for event in events if event.order_status == "FILLED"]
    assert len(filled) == 1
    assert not [event for event in events if event.order_status == "CANCELED"]
    assert all(Decimal(event.total_trade_quantity) <= Decimal("0.35") for event in events)
    seen = order.index(4)
    if max(order.index(2), order.index(5)) < seen:
        assert figures(filled[0]) == ("FILLED", "0.35", "31875", "91071.4")


# --- gap repair ---


def known(oid: int, **changes: str) -> KnownOrder:
    client = changes.pop("client", f"0x{oid}")
    fields = {"status": "NEW", "symbol": "BTC-USDC", "quantity": "0.35", "price": "91250", **changes}
    return KnownOrder(order_id=str(oid), client_order_id=client, **fields)  # type: ignore[arg-type]


def repairing(*orders: KnownOrder) -> Drive:
    drive = Drive(account(Resume(since_ms=WALL - 90_000, orders=orders)))
    drive.join()
    return drive


def past(status: str, oid: int, seconds: float = 30, **changes: Any) -> dict[str, Any]:
    moment = WALL - round(seconds * 1000)
    return update(status, moment=moment, timestamp=WALL - 600_000, oid=oid, cloid=f"0x{oid}", **changes)


def test_a_gap_is_read_fills_first_then_lists_then_single_orders() -> None:
    drive = repairing(known(1), known(2), known(3), known(4, symbol="xyz:TSLA-USDC"), known(5, status="FILLED"))
    (call,) = drive.calls
    assert asked(call) == {"type": "userFillsByTime", "user": USER, "startTime": WALL - 150_000}
    drive.reply("fills", [fill("0.35", "91000", 1, oid=1, cloid="0x1", time=WALL - 40_000)])
    bodies = [asked(call) for call in drive.calls]
    assert bodies == [
        {"type": "frontendOpenOrders", "user": USER, "dex": ""},
        {"type": "frontendOpenOrders", "user": USER, "dex": "xyz"},
        {"type": "historicalOrders", "user": USER},
    ]
    open_row = past("open", 4, coin="xyz:TSLA")["order"] | {"sz": "0.15", "isTrigger": False, "orderType": "Market"}
    drive.reply("open orders", [])
    drive.reply("open orders", [open_row])
    history = [
        past("open", 1, 80),
        past("filled", 1, 40),
        past("filled", 5),
        past("canceled", 6, 20),
        past("canceled", 8, 400),
    ]
    drive.reply("closed orders", history)
    assert [asked(call) for call in drive.calls] == [
        {"type": "orderStatus", "user": USER, "oid": 2},
        {"type": "orderStatus", "user": USER, "oid": 3},
    ]
    drive.reply("order", {"status": "order", "order": past("canceled", 2, 10)})
    outputs = drive.reply("order", {"status": "order", "order": past("open", 3, 100)})
    told = {event.order_id: figures(event)[:3] for event in reports(outputs)}
    assert told == {
        1: ("FILLED", "0.35", "31850"),
        2: ("CANCELED", "0", "0"),
        4: ("PARTIALLY_FILLED", "0.2", "18250"),
        6: ("CANCELED", "0", "0"),
    }
    (alive,) = of(Live, outputs)
    assert alive.gap is not None
    assert (alive.gap.orders, alive.gap.missing, alive.gap.complete) == (4, (), True)


def test_an_order_that_waited_for_its_fills_when_the_connection_was_lost_is_found_again() -> None:
    """It was published by nobody: the stream parks it, and its state changed before the gap began."""
    drive = repairing()
    drive.reply("fills", [fill("0.35", "91000", 1, oid=1, cloid="0x1", time=WALL - 100_000)])
    drive.reply("open orders", [])
    assert figures_of(drive.reply("closed orders", [past("filled", 1, 100)])) == [
        ("FILLED", "0.35", "31850", "91000.0")
    ]


def test_an_order_that_began_to_fill_before_the_gap_is_read_from_its_beginning() -> None:
    drive = repairing(known(1, status="PARTIALLY_FILLED", executed="0.1", executed_quote="9000"))
    drive.reply("fills", [fill("0.25", "91000", 2, oid=1, cloid="0x1", time=WALL - 30_000)])
    drive.reply("open orders", [])
    drive.reply("closed orders", [past("filled", 1)])
    (call,) = drive.calls
    assert asked(call) == {"type": "userFillsByTime", "user": USER, "startTime": WALL - 601_000}
    outputs = drive.reply("fills of an order", [fill("0.1", "90000", 1, oid=1, cloid="0x1")])
    assert figures_of(outputs) == [("FILLED", "0.35", "31750", "90714.3")]


def test_a_filled_order_of_a_gap_is_told_also_when_its_fills_can_not_be_had() -> None:
    drive = repairing(known(1))
    drive.reply("fills", None, 422)
    drive.reply("open orders", [])
    drive.reply("closed orders", [past("filled", 1)])
    outputs = drive.reply("fills of an order", None, 422)
    assert figures_of(outputs) == [("FILLED", "0.35", "31937.5", "91250.0")]
    (alive,) = of(Live, outputs)
    assert alive.gap is not None
    assert len(alive.gap.missing) == 2


def test_an_order_that_filled_in_the_gap_keeps_the_price_of_what_was_told_before() -> None:
    drive = repairing(known(1, status="PARTIALLY_FILLED", executed="0.1", executed_quote="9000"))
    drive.reply("fills", None, 422)
    drive.reply("open orders", [])
    drive.reply("closed orders", [past("filled", 1)])
    assert figures_of(drive.reply("fills of an order", None, 422)) == [("FILLED", "0.35", "31812.5", "90892.9")]


def test_a_partial_fill_of_a_gap_keeps_what_was_executed_before_it() -> None:
    drive = repairing(known(1, status="PARTIALLY_FILLED", executed="0.1", executed_quote="9000"))
    drive.reply("fills", [fill("0.05", "91000", 2, oid=1, cloid="0x1", time=WALL - 30_000)])
    row = past("open", 1)["order"] | {"sz": "0.2"}
    drive.reply("open orders", [row])
    outputs = drive.reply("closed orders", [])
    assert figures_of(outputs) == [("PARTIALLY_FILLED", "0.15", "13550", "90333.3")]
    assert reports(outputs)[0].order_time == WALL - 30_000


def test_a_modify_in_the_gap_is_told_of_its_new_id_alone() -> None:
    drive = repairing(known(1, executed="0.1", executed_quote="9000", status="PARTIALLY_FILLED"))
    drive.reply("fills", [])
    rest = past("open", 2, 20, origSz="0.25", sz="0.25")["order"] | {"cloid": "0x1", "timestamp": WALL - 20_000}
    gone = past("canceled", 1, 20, sz="0.25")
    drive.reply("open orders", [rest])
    outputs = drive.reply("closed orders", [gone, past("open", 1, 80)])
    assert [(event.order_id, *figures(event)[:3], event.quantity) for event in reports(outputs)] == [
        (2, "PARTIALLY_FILLED", "0.1", "9000", "0.35")
    ]
    assert not [call for call in drive.calls if call.tag == "order"], "the old id needs no question"
    assert only(Live, outputs).gap.missing == ()  # type: ignore[union-attr]


def test_a_modify_and_a_fill_in_the_gap_have_the_totals_of_the_client_order() -> None:
    drive = repairing(known(1, executed="0.1", executed_quote="9000", status="PARTIALLY_FILLED"))
    drive.reply("fills", [fill("0.25", "91000", 2, oid=2, cloid="0x1", time=WALL - 10_000)])
    drive.reply("open orders", [])
    done = past("filled", 2, 10, origSz="0.25")
    done["order"] |= {"cloid": "0x1", "timestamp": WALL - 20_000}
    outputs = drive.reply("closed orders", [done, past("canceled", 1, 20, sz="0.25")])
    assert figures_of(outputs) == [("FILLED", "0.35", "31750", "90714.3")]


def test_a_modified_order_goes_on_with_its_totals_over_the_next_connection() -> None:
    """What was published of the new id tells what the old one had executed."""
    drive = repairing(
        known(1),
        known(2, executed="0.1", executed_quote="9000", status="PARTIALLY_FILLED", client="0x1"),
    )
    drive.reply("fills", [])
    rest = past("open", 2, 200, origSz="0.25", sz="0.25")["order"] | {"cloid": "0x1", "timestamp": WALL - 200_000}
    drive.reply("open orders", [rest])
    outputs = drive.reply("closed orders", [])
    assert not reports(outputs), "it is as it was published"
    assert not drive.calls[1:], "the old id needs no question"
    drive.fills(fill("0.05", "91000", 9, oid=2, cloid="0x1"))
    (event,) = drive.orders(update(oid=2, cloid="0x1", origSz="0.25", sz="0.2", timestamp=WALL - 200_000))
    assert (*figures(event)[:3], event.quantity) == ("PARTIALLY_FILLED", "0.15", "13550", "0.35")


@pytest.mark.parametrize("published", [True, False])
def test_the_old_id_of_an_order_that_has_ended_is_not_told_once_more(published: bool) -> None:
    """Found by random deeds: the end of the old id stood in the overlap of the gap, and took the executed part away."""
    done = known(2, status="CANCELED", executed="0.1", executed_quote="9000", client="0x1")
    drive = repairing(*([done] if published else []))
    drive.reply("fills", [])
    drive.reply("open orders", [])
    ended = past("canceled", 2, 110 if published else 20, sz="0.25")
    ended["order"] |= {"cloid": "0x1", "timestamp": WALL - 130_000}
    outputs = drive.reply("closed orders", [ended, past("canceled", 1, 130 if published else 30)])
    expected = [] if published else [(2, "CANCELED", "0.1")]
    assert [(event.order_id, *figures(event)[:2]) for event in reports(outputs)] == expected


def test_an_old_id_that_nobody_lists_any_more_does_not_cancel_what_holds_its_client_id() -> None:
    drive = repairing(known(1))
    drive.reply("fills", [])
    drive.reply("open orders", None, 422)
    drive.reply("closed orders", [])
    drive.reply("order", {"status": "order", "order": past("canceled", 1, 20)})
    assert [asked(call)["oid"] for call in drive.calls] == ["0x1"]
    holder = past("filled", 2, 900)
    holder["order"]["cloid"] = "0x1"
    outputs = drive.reply("order of a client id", {"status": "order", "order": holder})
    assert not reports(outputs)


def test_a_gap_tells_the_own_market_only_and_names_what_it_can_not_read() -> None:
    drive = repairing(known(1), known(2), known(3))
    drive.reply("fills", [fill("1", "1", 1, oid=50, coin="@142", time=WALL - 10_000), {"oid": None}])
    foreign = past("open", 51, 10, coin="@142")["order"]
    drive.reply("open orders", [foreign, {"oid": "x"}])
    odd = [past("frozen", 1), past("open", 2, side="?"), past("filled", 52, coin="#20"), {"order": None}]
    drive.reply("closed orders", odd)
    outputs = drive.reply("order", {"status": "order", "order": past("frozen", 2)})
    outputs = drive.reply("order", {"status": "order", "order": past("canceled", 3)})
    assert [event.order_id for event in reports(outputs)] == [3]
    missing = " | ".join(only(Live, outputs).gap.missing)  # type: ignore[union-attr]
    for phrase in ("1 fills", "1 open orders", "1 closed orders", "order 1: its state 'frozen'", "order 2: its state"):
        assert phrase in missing


def test_fills_are_read_page_by_page_up_to_what_the_venue_keeps() -> None:
    drive = repairing()
    page = [fill("0.1", "1", number, time=WALL - 80_000 + number, oid=0, cloid=None) for number in range(2_000)]
    starts = []
    while call := next((call for call in drive.calls if call.tag == "fills"), None):
        starts.append(asked(call)["startTime"])
        drive.reply("fills", page)
    assert starts[:2] == [WALL - 150_000, WALL - 80_000 + 1_999]
    assert len(starts) == 5
    drive.reply("open orders", [])
    (alive,) = of(Live, drive.reply("closed orders", []))
    assert alive.gap is not None
    assert alive.gap.missing == ("fills: more than 10000",)


def test_an_order_that_is_not_known_yet_is_asked_for_again_a_few_times() -> None:
    drive = repairing(known(1))
    drive.reply("fills", [])
    drive.reply("open orders", [])
    drive.reply("closed orders", [])
    for _ in range(2):
        drive.reply("order", {"status": "unknownOid"})
        drive.wait(3)
    (alive,) = of(Live, drive.reply("order", {"status": "unknownOid"}))
    assert alive.gap is not None
    assert alive.gap.missing == ("order 1: not known to the venue",)


def test_a_new_order_on_a_dex_where_nobody_was_known_to_trade_is_asked_for() -> None:
    drive = repairing()
    drive.reply("fills", [])
    drive.reply("open orders", [])
    drive.reply("closed orders", [past("open", 9, 20, coin="hyna:BTC")])
    assert [asked(call)["oid"] for call in drive.calls] == [9]
    outputs = drive.reply("order", {"status": "order", "order": past("open", 9, 20, coin="hyna:BTC")})
    assert [(event.symbol, event.order_status) for event in reports(outputs)] == [("hyna:BTC-USDE", "NEW")]


def test_live_frames_wait_for_the_repair() -> None:
    drive = repairing()
    assert drive.orders(update()) == []
    drive.reply("fills", [])
    drive.reply("open orders", [])
    outputs = drive.reply("closed orders", [])
    assert [type(output) for output in outputs] == [Emit, Live, Call]


# --- symbols ---


def test_pairs_come_from_the_venues_lists_and_the_markets_are_kept_apart() -> None:
    """Bugs A29, A30, A48: BTC-USDC names a spot pair and a perp, UBTC is BTC."""
    assert {item.wire: item.pair for item in SPOT.active()} == {"PURR/USDC": "PURR-USDC", "@142": "BTC-USDC"}
    assert {item.wire: item.pair for item in LINEAR.active()} == {
        "BTC": "BTC-USDC",
        "kPEPE": "kPEPE-USDC",
        "xyz:TSLA": "xyz:TSLA-USDC",
        "hyna:BTC": "hyna:BTC-USDE",
    }
    wires = {}
    for exchange, table in (("hyperliquid", SPOT), ("hyperliquidLinear", LINEAR)):
        adapter = VENUE.candle(setup(exchange, table))
        adapter.connected(NOW)
        asked = CandleSubscription(stream_id="c", exchange=exchange, symbol="BTC-USDC", interval="15m")
        wires[exchange] = sent(adapter.add(asked, at(1)))[0]["subscription"]["coin"]
    assert wires == {"hyperliquid": "@142", "hyperliquidLinear": "BTC"}


def test_one_odd_row_of_a_list_costs_only_itself() -> None:
    """A null in one row lost the whole list, and with it every price of the exchange id."""
    spot = {
        "tokens": [*SPOT_META["tokens"], {"name": None, "index": 400}, 7],
        "universe": [
            *SPOT_META["universe"],
            {"name": "@400", "tokens": [400, 0], "index": 400},
            {"name": None, "tokens": [197, 0], "index": 401},
            {"name": "@402", "tokens": [197], "index": 402},
            None,
        ],
    }
    meta = {
        "universe": [{"name": None}, *META["universe"], {"name": "ETH", "isDelisted": None}],
        "collateralToken": None,
    }
    lists = {"spotMeta": spot, "meta": meta, "perpDexs": [*DEXES, {"fullName": "a dex without a name"}, 5]}
    pairs = {item.wire: item.pair for item in load("hyperliquidLinear", lists) or ()}
    assert pairs == {item.wire: item.pair for item in LINEAR} | {"ETH": "ETH-USDC"}


DOUBLED = {
    "tokens": [{"name": "USDC", "index": 0}, {"name": "HYPE", "index": 150}, {"name": "HYPE", "index": 900}],
    "universe": [
        {"name": "@900", "tokens": [900, 0], "index": 900},
        {"name": "@107", "tokens": [150, 0], "index": 107},
    ],
}


def test_a_pair_names_the_code_that_was_listed_first() -> None:
    """Two prices went out on one channel: token names are not unique at the venue."""
    table = SymbolTable(load("hyperliquid", {"spotMeta": DOUBLED}) or ())
    driver, _ = tickers("hyperliquid", table)
    told = only(EmitTickers, driver.frame({"channel": "allMids", "data": {"mids": {"@900": "0.0021", "@107": "38.5"}}}))
    assert [(row.symbol, row.price) for row in told.tickers] == [("HYPE-USDC", 38.5)]
    refusal = VENUE.candle_refusal("hyperliquid", "@900", "1h", table)
    assert refusal is not None
    assert "HYPE-USDC" in refusal
    assert VENUE.candle_refusal("hyperliquid", "HYPE-USDC", "1h", table) is None
    adapter = VENUE.candle(setup("hyperliquid", table))
    adapter.add(CandleSubscription(stream_id="c", exchange="hyperliquid", symbol="HYPE-USDC", interval="1h"), NOW)
    adapter.start(NOW)
    assert sent(adapter.connected(NOW))[0]["subscription"]["coin"] == "@107"
    drive = Drive(made=setup("hyperliquid", table))
    drive.join()
    (event,) = drive.orders(update(coin="@900"))
    assert event.symbol == "@900"
    notes = [note.what for note in of(Note, drive.outputs)]
    drive.orders(update(coin="@900", oid=9))
    assert len(notes) == 1
    assert not of(Note, drive.outputs)


def test_codes_of_outcome_markets_belong_to_no_id() -> None:
    """They went out as perps: `trade@#20@hyperliquidLinear`, in every frame."""
    for exchange, table in (("hyperliquid", SPOT), ("hyperliquidLinear", LINEAR)):
        driver, _ = tickers(exchange, table)
        assert driver.frame({"channel": "allMids", "data": {"mids": {"#20": "0.62", "+2": "0.4"}}}) == [Seen("t")]
        refusal = VENUE.candle_refusal(exchange, "#20", "1h", table)
        assert refusal is not None
        assert "outcome" in refusal


CODES = ("@142", "BTC", "xyz:TSLA", "OLD", "NEWCOIN", "hyna:NEW", "PURR/USDC", "NEW/USDC", "@999", "#20", "+2")


@pytest.mark.parametrize(
    ("exchange", "table", "expected"),
    [
        ("hyperliquid", SPOT, ["BTC-USDC", "PURR-USDC", "NEW-USDC", "@999"]),
        ("hyperliquidLinear", LINEAR, ["BTC-USDC", "xyz:TSLA-USDC", "OLD-USDC", "NEWCOIN-USDC", "hyna:NEW-USDE"]),
    ],
)
def test_an_id_tells_the_orders_of_its_own_market_only(exchange: str, table: SymbolTable, expected: list[str]) -> None:
    """Both ids of an address see every order: told twice, the backend ran each event twice. Outcomes belong to nobody.

    A coin that the list does not have yet goes by the pair that its code tells.
    """
    drive = Drive(made=setup(exchange, table))
    drive.join()
    events = drive.orders(*(update(coin=code, oid=number, cloid=f"0x{number}") for number, code in enumerate(CODES)))
    assert [event.symbol for event in events] == expected
    assert of(Seen, drive.outputs), "a row of the other market proves that the stream is alive"
    foreign = [fill("0.35", "9", 50 + number, coin=code, oid=number) for number, code in enumerate(CODES)]
    drive.fills(*foreign)
    told = drive.orders(*(update("filled", coin=code, oid=n, cloid=f"0x{n}") for n, code in enumerate(CODES)))
    assert [event.symbol for event in told] == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([("UBTC", "Unit Bitcoin"), ("UETH", "Unit Ethereum")], {"UBTC": "BTC", "UETH": "ETH"}),
        ([("UBTC", "Unit Bitcoin"), ("BTC", None)], {}),
        ([("UBTC", "Bitcoin of somebody")], {}),
        ([("USOL", "Unit Solana"), ("USOL", "Unit Solana")], {"USOL": "SOL"}),
        ([("USDT0", None)], {"USDT0": "USDT"}),
        ([("USDT0", None), ("USDT", None)], {}),
        ([("USDT0", None), ("UUSDT", "Unit Tether")], {}),
        ([("U", "Unit of nothing"), ("XBTC", "Unit X")], {}),
    ],
)
def test_a_bridged_coin_has_its_own_name_unless_somebody_else_has_it(
    tokens: list[tuple[str, str | None]], expected: dict[str, str]
) -> None:
    listed = [Token(name=name, index=number, full_name=full) for number, (name, full) in enumerate(tokens)]
    assert aliases(listed) == expected


@pytest.mark.parametrize("broken", [Answer(500, {}, b""), Answer(200, {}, b"null"), Answer(200, {}, b"<html>")])
def test_a_dex_that_fails_costs_only_its_own_coins(broken: Answer) -> None:
    found = load("hyperliquidLinear", {"xyz": broken}) or []
    assert [item.wire for item in found if item.active] == ["BTC", "kPEPE", "hyna:BTC"]


@pytest.mark.parametrize("name", ["spotMeta", "meta", "perpDexs"])
def test_a_list_that_all_names_hang_on_fails_the_load(name: str) -> None:
    assert load("hyperliquidLinear", {name: Answer(500, {}, b"")}) is None


def test_the_testnet_has_no_builder_dexes() -> None:
    found = load("hyperliquidLinear", HYPERLIQUIDENV="demo") or []
    assert [item.wire for item in found if item.active] == ["BTC", "kPEPE"]


@pytest.mark.parametrize(
    ("exchange", "symbol", "phrase"),
    [
        ("hyperliquid", "BTC-USDC", None),
        ("hyperliquid", "UBTC-USDC", None),
        ("hyperliquid", "@142", "that is the venue's code of BTC-USDC"),
        ("hyperliquid", "kPEPE-USDC", "has no symbol"),
        ("hyperliquidLinear", "kPEPE-USDC", None),
        ("hyperliquidLinear", "BTC", "that is the venue's code of BTC-USDC"),
        ("hyperliquidLinear", "PURR-USDC", "has no symbol"),
    ],
)
def test_candle_requests_are_judged_by_the_market_that_they_name(
    exchange: str, symbol: str, phrase: str | None
) -> None:
    table = SPOT if exchange == "hyperliquid" else LINEAR
    refusal = VENUE.candle_refusal(exchange, symbol, "1h", table)
    assert (refusal is None) if phrase is None else (refusal is not None and phrase in refusal)


# --- prices ---


def candle(symbol: str, number: int = 0) -> CandleSubscription:
    return CandleSubscription(stream_id=f"c{number}", exchange="hyperliquidLinear", symbol=symbol, interval="1m")


def confirm(adapter: Any, request: dict[str, Any], now: Instant) -> Outputs:
    data = {"method": "subscribe", "subscription": request["subscription"]}
    outputs: Outputs = adapter.received(frame({"channel": "subscriptionResponse", "data": data}), now)
    return outputs


def test_topics_are_subscribed_one_at_a_time_and_half_a_second_apart() -> None:
    """Bug A47: a burst gets the connection closed as "Inactive", and then all of it is asked for at once again."""
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    for number, symbol in enumerate(("BTC-USDC", "kPEPE-USDC", "xyz:TSLA-USDC")):
        adapter.add(candle(symbol, number), NOW)
    now, moments = NOW, []
    outputs = list(adapter.connected(NOW))
    while len(moments) < 3:
        for request in sent(outputs):
            if request["method"] == "subscribe":
                moments.append(now.mono - NOW.mono)
                assert not sent(adapter.woken(after(now, 0.01))), "the answer is waited for"
                now = after(now, 0.1)
                confirm(adapter, request, now)
        due = adapter.deadline()
        assert due is not None
        now = after(now, max(0.0, due - now.mono))
        outputs = list(adapter.woken(now))
    assert [round(later - sooner, 3) for sooner, later in itertools.pairwise(moments)] == [0.5, 0.5]


def test_a_topic_that_the_venue_refuses_costs_only_itself() -> None:
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC", 0), NOW)
    adapter.add(candle("kPEPE-USDC", 1), NOW)
    (request,) = sent(adapter.connected(NOW))
    text = f"Invalid subscription {json.dumps(request['subscription'])}"
    outputs = adapter.received(frame({"channel": "error", "data": text}), NOW)
    fail = only(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "c0")
    (second,) = sent(adapter.woken(at(1)))
    assert of(Live, confirm(adapter, second, at(1))) == [Live("c1")]


def test_running_candles_are_published_and_an_array_is_read_too() -> None:
    adapter = VENUE.candle(setup("hyperliquidLinear", LINEAR))
    adapter.add(candle("BTC-USDC"), NOW)
    (request,) = sent(adapter.connected(NOW))
    confirm(adapter, request, NOW)
    row = {
        "t": WALL,
        "T": WALL + 59_999,
        "s": "BTC",
        "i": "1m",
        "o": "1.0",
        "c": "2.0",
        "h": "3.0",
        "l": "0.5",
        "v": "9",
        "n": 4,
    }
    for data in (row, [row]):
        told = only(EmitCandle, adapter.received(frame({"channel": "candle", "data": data}), NOW))
        figures = (told.candle.start, told.candle.open, told.candle.high, told.candle.low, told.candle.close)
        assert (told.symbol, figures, told.candle.volume) == ("BTC-USDC", (WALL, "1.0", "3.0", "0.5", "2.0"), "9")


@pytest.mark.parametrize(
    "text", ["Cannot open more than 10 connections", "Cannot track more than 1000 total subscriptions."]
)
def test_too_much_of_an_address_makes_it_wait_a_minute(text: str) -> None:
    """Bug A5: retried without a delay, 578,000 attempts in 100 s starved every timer of the process."""
    driver = Driver(VENUE.ticker, "hyperliquid", SPOT)
    driver.add(TickerSubscription(stream_id="t", exchange="hyperliquid"))
    driver.connected()
    fail = only(Fail, driver.frame({"channel": "error", "data": text}))
    assert (fail.kind, fail.retry_after_s, fail.stream_id) == (FailKind.RATE_LIMITED, 60.0, None)


def tickers(exchange: str, table: SymbolTable) -> tuple[Driver, list[dict[str, Any]]]:
    """A live ticker connection, and what it subscribed."""
    driver = Driver(VENUE.ticker, exchange, table)
    (shard,) = VENUE.ticker_shards(exchange, table)
    driver.add(TickerSubscription(stream_id="t", exchange=exchange, symbols=shard))
    requests = sent(driver.connected())
    for number in range(10):
        if number < len(requests):
            confirm(driver.adapter, requests[number], driver.now)
            requests += [one for one in sent(driver.wake()) if one["method"] == "subscribe"]
    return driver, [request["subscription"] for request in requests]


def test_perps_have_one_subscription_for_each_builder_dex() -> None:
    assert tickers("hyperliquid", SPOT)[1] == [{"type": "allMids"}]
    assert tickers("hyperliquidLinear", LINEAR)[1] == [
        {"type": "allMids"},
        {"type": "allMids", "dex": "hyna"},
        {"type": "allMids", "dex": "xyz"},
    ]


@pytest.mark.parametrize(
    ("exchange", "table", "expected"),
    [
        ("hyperliquid", SPOT, {"BTC-USDC": 2.5, "PURR-USDC": 0.1, "@999": 7.0}),
        ("hyperliquidLinear", LINEAR, {"BTC-USDC": 1.5, "NEWCOIN": 3.0}),
    ],
)
def test_each_exchange_id_publishes_its_own_part_of_a_frame(
    exchange: str, table: SymbolTable, expected: dict[str, float]
) -> None:
    """Two sockets get the same frame: what both published would come twice, with crossing times."""
    driver, _ = tickers(exchange, table)
    mids = {
        "BTC": "1.5",
        "@142": "2.5",
        "PURR/USDC": "0.1",
        "NEWCOIN": "3",
        "@999": "7",
        "kPEPE": "0",
        "xyz:TSLA": "NaN",
    }
    told = only(EmitTickers, driver.frame({"channel": "allMids", "data": {"mids": mids}}))
    assert told.exchange == exchange
    assert {row.symbol: row.price for row in told.tickers} == expected
    row = told.tickers[0]
    assert (row.best_ask, row.best_bid, row.best_ask_qnt, row.best_bid_qnt) == (row.price,) * 4
    assert (row.volume, row.time, row.event_time) == (10_000_000, driver.now.wall_ms, driver.now.wall_ms)


def test_an_odd_price_costs_only_itself() -> None:
    """Every frame is the whole market: one null cost all prices."""
    driver, _ = tickers("hyperliquidLinear", LINEAR)
    mids = {"NEWCOIN": None, "kPEPE": {}, "OLD": [], "xyz:TSLA": True, "hyna:BTC": "0", "BTC": "1.5"}
    told = only(EmitTickers, driver.frame({"channel": "allMids", "data": {"mids": mids}}))
    assert [(row.symbol, row.price) for row in told.tickers] == [("BTC-USDC", 1.5)]


@pytest.mark.parametrize("back_s", [1, 45, 60, 600])
def test_prices_go_on_when_the_clock_of_the_host_is_set_back(back_s: int) -> None:
    """These tickers have our clock, and what is older than the last one is dropped: the market was silent for as long."""
    driver, _ = tickers("hyperliquidLinear", LINEAR)
    times = []
    for number in range(20):
        wall_ms = WALL + 1000 * number - (1000 * back_s if number >= 10 else 0)
        now = Instant(driver.mono + number, wall_ms)
        outputs = driver.adapter.received(frame({"channel": "allMids", "data": {"mids": {"BTC": "1.5"}}}), now)
        (row,) = only(EmitTickers, outputs).tickers
        times.append(row.time)
        assert row.time - wall_ms <= 60_000, "a price from the future is dropped, too"
        assert row.event_time == wall_ms
    if back_s <= 60:
        assert times == sorted(times)
    else:
        assert times[10] == WALL + 10_000 - 600_000, "a clock that was wrong by minutes is followed"


def test_an_odd_candle_costs_only_itself() -> None:
    driver = Driver(VENUE.candle, "hyperliquidLinear", LINEAR)
    driver.add(candle("BTC-USDC"))
    confirm(driver.adapter, sent(driver.connected())[0], driver.now)
    good = {"t": WALL, "T": WALL + 1, "s": "BTC", "i": "1m", "o": "1.0", "c": "2.0", "h": "3.0", "l": "0.5", "v": None}
    rows = [good | {"o": None}, good | {"c": "NaN"}, good | {"h": ""}, good | {"t": None}, None, good]
    told = only(EmitCandle, driver.frame({"channel": "candle", "data": rows}))
    assert (told.candle.open, told.candle.volume) == ("1.0", "0")


def test_no_price_goes_out_under_the_venues_code_while_the_list_loads() -> None:
    assert VENUE.ticker_shards("hyperliquid", EMPTY) == VENUE.ticker_shards("hyperliquidLinear", EMPTY) == []
    driver = Driver(VENUE.ticker, "hyperliquid", EMPTY)
    driver.add(TickerSubscription(stream_id="t", exchange="hyperliquid"))
    assert driver.frame({"channel": "allMids", "data": {"mids": {"@142": "1.5"}}}) == [Seen("t")]


def test_a_frame_without_a_price_of_ours_is_proof_of_life() -> None:
    driver, _ = tickers("hyperliquid", SPOT)
    assert driver.frame({"channel": "allMids", "data": {"mids": {"BTC": "1.5"}}}) == [Seen("t")]


def test_a_builder_dex_that_is_gone_costs_only_its_own_prices() -> None:
    driver, _ = tickers("hyperliquidLinear", SymbolTable(item for item in LINEAR if ":" not in item.wire))
    (shard,) = VENUE.ticker_shards("hyperliquidLinear", LINEAR)
    driver.add(TickerSubscription(stream_id="t", exchange="hyperliquidLinear", symbols=shard))
    (request,) = sent(driver.wake())
    text = f"Invalid subscription {json.dumps(request['subscription'])}"
    outputs = driver.frame({"channel": "error", "data": text})
    assert not of(Fail, outputs)
    assert any("refused" in note.what for note in of(Note, outputs))


# --- limits ---


def test_the_limits_are_the_documented_ones_of_an_address() -> None:
    for exchange in VENUE.exchanges:
        for feed in VENUE.feeds:
            limits = VENUE.limits(exchange, feed)
            assert limits.open_connections == 10
            assert limits.open_connections_option == ("" if feed == "user" else "HYPERLIQUID_MAX_WS_CONNECTIONS")
            assert limits.connects.limit < 30
            assert limits.rest["info"].limit < 1_200
            assert limits.messages.limit * 10 <= 2_000
            assert limits.close_waits == {"Cannot open more than": 60.0}
            assert limits.bans[429] == 60.0
    candles = VENUE.limits("hyperliquid", "candle").subscriptions_per_connection
    assert 2 * candles + 2 * 10 + 30 <= 1_000, "candles of both markets, ten accounts, mids"
