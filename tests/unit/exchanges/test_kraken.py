"""Kraken spot: signatures, token, acknowledgements, rows that tell only changes, balances, gap repair, markets."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

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
    KnownOrder,
    Live,
    Note,
    Output,
    Resume,
    Seen,
    TickerSubscription,
    UserSubscription,
)
from exchanges._venue import Setup
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, Balance, ExecutionReport
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from exchanges.kraken import VENUE, _errors, _hosts, _signer
from exchanges.kraken._balances import PERIOD_S
from exchanges.kraken._line import LIST_LOOK_S, LIST_WAIT_S
from exchanges.kraken._symbols import asset_name
from tests.unit.exchanges.driver import Driver, after, json_answer, of, only, path, sent

WALL = 1_795_300_000_000
NOW = Instant(1_000.0, WALL)
at = partial(after, NOW)
SECRET = base64.b64encode(bytes(range(64))).decode()
ORDER = "OQX7LM-T4R2B-KD9WZA"
TABLE = SymbolTable(
    [
        Instrument(wire="BTC/USD", pair="BTC-USD", base="BTC", quote="USD", kind="spot",
                   extra={"altname": "XBTUSD", "key": "XXBTZUSD"}),
        Instrument(wire="ETH/EUR", pair="ETH-EUR", base="ETH", quote="EUR", kind="spot",
                   extra={"altname": "ETHEUR", "key": "XETHZEUR"}),
        Instrument(wire="AAPLx/USD", pair="AAPLx-USD", base="AAPLx", quote="USD", kind="tokenized_asset",
                   extra={"altname": "AAPLxUSD", "key": "AAPLxUSD"}),
    ]
)  # fmt: skip


def subscription(resume: Resume | None = None, secret: str = SECRET) -> UserSubscription:
    return UserSubscription(stream_id="u1", exchange="kraken", credentials=credentials("AK", secret), resume=resume)


def good(result: object) -> dict[str, object]:
    return {"error": [], "result": result}


def bad(text: str) -> dict[str, object]:
    return {"error": [text]}


def row(**fields: object) -> dict[str, object]:
    return {"order_id": ORDER, "timestamp": "2026-09-14T08:21:07.512345Z", **fields}


PLACED = row(
    symbol="BTC/USD", order_qty=0.42, cum_cost=0, exec_type="pending_new", side="buy", order_type="limit",
    limit_price=88150.5, order_status="pending_new", cl_ord_id="D-BO-1",
)  # fmt: skip


def trade(number: int, quantity: float, cost: float, **more: object) -> dict[str, object]:
    return row(
        exec_type="trade", order_status="partially_filled", exec_id=f"T{number}", last_qty=quantity,
        last_price=88150.5, cost=cost, **more,
    )  # fmt: skip


def rest_order(**fields: object) -> dict[str, object]:
    return {
        "status": "open", "opentm": 1_795_299_000.25, "vol": "0.42", "vol_exec": "0", "cost": "0", "price": "0",
        "cl_ord_id": "D-BO-1", "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "88150.5"},
        **fields,
    }  # fmt: skip


class Spot(Driver):
    """An account adapter, driven to where a test begins."""

    begin = NOW

    def __init__(self, resume: Resume | None = None, secret: str = SECRET, table: SymbolTable = TABLE) -> None:
        super().__init__(VENUE.user, "kraken", table)
        self.first = [*self.add(subscription(resume, secret)), *self.start()]
        self._sequence = 0

    def joining(self) -> list[Output]:
        """Up to the subscribe requests."""
        calls = of(Call, self.connected())
        while not calls:  # the symbol list is waited for
            calls = of(Call, self.wake())
        (call,) = calls
        return self.answer(call, good({"token": "the token", "expires": 900}))

    def live(self) -> list[Output]:
        """Up to the acknowledgements; returns what they lead to."""
        outputs: list[Output] = []
        for request in sent(self.joining()):
            result = {"channel": request["params"]["channel"]}
            outputs += self.frame(
                {"method": "subscribe", "result": result, "success": True, "req_id": request["req_id"]}
            )
        return outputs

    def message(self, channel: str, rows: Iterable[object], kind: str = "update") -> list[Output]:
        self._sequence += 1
        return self.frame({"channel": channel, "type": kind, "data": list(rows), "sequence": self._sequence})

    def executions(self, *rows: object, kind: str = "update") -> list[Output]:
        return self.message("executions", rows, kind)


def reports(outputs: Iterable[object]) -> list[ExecutionReport]:
    return [emit.event for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)]


def positions(outputs: Iterable[object]) -> list[list[Balance]]:
    return [emit.event.balances for emit in of(Emit, outputs) if isinstance(emit.event, AccountPosition)]


def steps(outputs: Iterable[object]) -> list[tuple[str, str, str]]:
    return [(r.order_status, r.total_trade_quantity, r.total_quote_trade_quantity) for r in reports(outputs)]


# --- signatures ---


def test_the_signatures_match_the_vectors_of_the_venue_page() -> None:
    signer = _signer.Signer(credentials("AK", SECRET))
    token = Call(tag="t", method="POST", url=f"{_hosts.SPOT_REST}/0/private/GetWebSocketsToken")
    signed = signer.spot(token, 1_780_000_000_000)
    assert signed.body == "nonce=1780000000000"
    assert signed.headers["API-Sign"] == (
        "rgWRqxGJLcq8Eshbopg2kB6+UBEA1oZMc/A/to1f3u0TGFJiPH+jyBREL6ogfN56lPqOkd47D+FuoiLja12Mig=="
    )
    query = "lastFillTime=2026-11-22T10%3A00%3A00.000Z"
    fills = Call(tag="f", method="GET", url=f"https://futures.kraken.com/derivatives/api/v3/fills?{query}")
    assert signer.futures(fills).headers["Authent"] == (
        "kCbpsfuF1VajlY1MeDQmVHquWp6QdMzvviqOxSm1juTwYoAAYBIv3bRgIleH/Lm4Ak5YYA6HDIAM9MI0TBXhtQ=="
    )
    assert signer.challenge("5d0a3c1e-7b42-4f0e-9c55-0e2b7f1a9d64")["signed_challenge"] == (
        "Z4cOj0zwXh9KGTZIrDz+qZbo0hufjjTL4JI9NJlwcwagdWCeMcYwL4buWqKqu9i0ApQDDZPXMn+uGo5Mf+Jz1A=="
    )
    venues_own = "7zxMEF5p/Z8l2p2U7Ghv6x14Af+Fx+92tPgUdVQ748FOIrEoT9bgT+bTRfXc5pz8na+hL/QdrCVG7bh9KpT0eMTm"
    signer = _signer.Signer(credentials(" AK\n", f" {venues_own} "))
    assert signer.challenge("c100b894-1729-464d-ace1-52dbce11db42")["signed_challenge"] == (
        "4JEpF3ix66GA2B+ooK128Ift4XQVtc137N9yeg4Kqsn9PI0Kpzbysl9M1IeCEdjg0zl00wkVqcsnG4bmnlMb3A=="
    )


def test_nonces_rise_also_within_a_millisecond_and_when_the_clock_is_set_back() -> None:
    signer = _signer.Signer(credentials("AK", SECRET))
    call = Call(tag="t", method="POST", url=f"{_hosts.SPOT_REST}/0/private/BalanceEx", body="a=1")
    bodies = [signer.spot(call, wall).body for wall in (WALL, WALL, WALL - 5_000, WALL + 10)]
    assert bodies == [f"nonce={WALL + step}&a=1" for step in (0, 1, 2, 10)]


def test_a_secret_that_is_not_base64_is_refused_without_a_connection() -> None:
    fail = only(Fail, Spot(secret="not base64!").first)
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")
    assert "not base64!" not in fail.reason


@pytest.mark.parametrize(
    ("text", "kind", "own"),
    [
        ("EAPI:Invalid key", FailKind.CREDENTIAL, True),
        ("EGeneral:Permission denied", FailKind.CREDENTIAL, True),
        (" egeneral : permission DENIED", FailKind.CREDENTIAL, True),
        ("EAPI:Invalid signature", FailKind.CREDENTIAL, True),
        ("EAuth:Account temporary disabled", FailKind.CREDENTIAL, True),
        ("EAccount:Invalid permissions", FailKind.CREDENTIAL, True),
        ("Failed to subscribe to authenticated feed", FailKind.CREDENTIAL, True),
        ("authenticationError", FailKind.CREDENTIAL, True),
        ("EAPI:Invalid nonce", FailKind.TRANSIENT, True),
        ("nonceBelowThreshold", FailKind.TRANSIENT, True),
        ("nonceDuplicate", FailKind.TRANSIENT, True),
        ("ESession:Invalid session", FailKind.TRANSIENT, True),
        ("EService:Unavailable", FailKind.TRANSIENT, True),
        ("Trading engine unavailable", FailKind.TRANSIENT, True),
        ("EAPI:Rate limit exceeded", FailKind.RATE_LIMITED, True),
        ("EGeneral:Temporary lockout", FailKind.RATE_LIMITED, True),
        ("EGeneral:Too many requests", FailKind.RATE_LIMITED, False),
        ("apiLimitExceeded", FailKind.RATE_LIMITED, True),
        ("Exceeded msg rate", FailKind.RATE_LIMITED, True),
        ("Currency pair not supported FOO/BAR", FailKind.REQUEST, True),
        ("Subscription ohlc interval not supported", FailKind.REQUEST, True),
        ("Already subscribed to one ohlc interval on this symbol", FailKind.TRANSIENT, True),
        ("something new", FailKind.TRANSIENT, True),
    ],
)
def test_every_text_of_the_table_says_what_to_do(text: str, kind: FailKind, own: bool) -> None:
    failure = _errors.failure_of_text(text)
    assert (failure.kind, failure.own) == (kind, own)
    assert not _errors.benign(text)


@pytest.mark.parametrize("text", ["Already subscribed", "Already subscribed to feed, re-requesting"])
def test_what_exists_already_is_no_failure(text: str) -> None:
    assert _errors.benign(text)


# --- joining ---


@pytest.mark.parametrize("exchange", ["kraken", "krakenUsdm"])
def test_the_first_nonce_of_a_host_whose_clock_is_ahead_is_the_venues_time(exchange: str) -> None:
    """A nonce two minutes ahead closed the account out for two minutes: the answer with the symbols tells the time first."""
    tables, offsets = [EMPTY], [0]
    made = Setup(exchange=exchange, new_id=lambda: "r", table=lambda: tables[-1], clock_offset_ms=lambda: offsets[-1])
    adapter = VENUE.user(made)
    account = msgspec.structs.replace(subscription(), exchange=exchange)
    joining = [*adapter.add(account, NOW), *adapter.start(NOW), *adapter.connected(NOW)]
    assert not of(Call, joining)
    tables.append(TABLE)
    offsets.append(-120_000)
    assert adapter.deadline() == NOW.mono + LIST_LOOK_S
    (call,) = of(Call, adapter.woken(at(LIST_LOOK_S)))
    assert parse_qs(call.body)["nonce"] == [str(WALL + round(LIST_LOOK_S * 1000) - 120_000)]


def test_without_a_symbol_list_the_token_is_asked_for_all_the_same() -> None:
    drive = Spot(table=EMPTY)
    assert len(sent(drive.joining())) == 2
    assert drive.mono == NOW.mono + LIST_WAIT_S


def test_the_token_is_asked_for_on_the_open_connection_and_serves_both_channels() -> None:
    drive = Spot()
    assert only(Connect, drive.first).url == "wss://ws-auth.kraken.com/v2"
    (call,) = of(Call, drive.connected())
    assert (call.method, path(call), call.headers["API-Key"]) == ("POST", "/0/private/GetWebSocketsToken", "AK")
    first, second = sent(drive.answer(call, good({"token": "the token", "expires": 900})))
    assert first == {
        "method": "subscribe",
        "params": {"channel": "executions", "token": "the token", "snap_orders": True, "snap_trades": False},
        "req_id": 1,
    }
    assert second["params"] == {"channel": "balances", "token": "the token", "snapshot": True}
    assert isinstance(second["req_id"], int)


def test_live_only_after_both_channels_are_acknowledged() -> None:
    drive = Spot()
    first, second = sent(drive.joining())
    ack = {"method": "subscribe", "success": True}
    assert drive.frame({**ack, "result": {"channel": "executions"}, "req_id": first["req_id"]}) == []
    assert drive.frame({**ack, "result": {"channel": "executions"}, "req_id": first["req_id"]}) == []
    assert drive.frame({**ack, "result": {"channel": "balances"}, "req_id": second["req_id"]}) == [Live("u1")]


def test_a_silent_subscribe_ends_the_connection() -> None:
    drive = Spot()
    drive.joining()
    drive.frame({"channel": "heartbeat"})
    fails: list[Fail] = []
    for _ in range(3):
        if not fails:
            fails = of(Fail, drive.wake())
            drive.frame({"channel": "heartbeat"})
    assert (fails[0].kind, fails[0].stream_id) == (FailKind.TRANSIENT, None)


@pytest.mark.parametrize("text", ["EAPI:Invalid key", "EGeneral:Permission denied", "EAPI:Invalid signature"])
def test_a_refused_key_opens_the_breaker_at_first_sight(text: str) -> None:
    """Bugs A11, C2: a deleted key, and one without the WebSocket permission, were retried for days."""
    drive = Spot()
    (call,) = of(Call, drive.connected())
    fail = only(Fail, drive.answer(call, bad(text)))
    assert (fail.kind, fail.stream_id, fail.first_sight) == (FailKind.CREDENTIAL, "u1", True)
    assert fail.reason.startswith(text)
    assert ("WebSocket interface" in fail.reason) is ("Permission" in text)


def test_a_refused_channel_is_the_failure_of_the_account() -> None:
    drive = Spot()
    first, _ = sent(drive.joining())
    nak = {"method": "subscribe", "success": False, "error": "EGeneral:Permission denied"}
    fail = only(Fail, drive.frame({**nak, "req_id": first["req_id"]}))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")


def test_a_used_nonce_is_no_reason_to_park_the_account() -> None:
    """Bug C2: another user of the key had sent a higher one."""
    drive = Spot()
    (call,) = of(Call, drive.connected())
    for _ in range(3):
        assert drive.answer(call, bad("EAPI:Invalid nonce")) == []
        (again,) = of(Call, drive.wake())
        assert str(again.body) > str(call.body)
        call = again
    assert len(sent(drive.answer(call, good({"token": "t"})))) == 2


def test_a_nonce_that_never_fits_is_a_passing_trouble() -> None:
    drive = Spot()
    (call,) = of(Call, drive.connected())
    for _ in range(4):
        assert drive.answer(call, bad("EAPI:Invalid nonce")) == []
        (call,) = of(Call, drive.wake())
    assert only(Fail, drive.answer(call, bad("EAPI:Invalid nonce"))).kind is FailKind.TRANSIENT


@pytest.mark.parametrize(
    ("text", "stream", "wait_s"),
    [
        ("EAPI:Rate limit exceeded", "u1", 10.0),
        ("EGeneral:Temporary lockout", "u1", 900.0),
        ("EGeneral:Too many requests", None, 10.0),
    ],
)
def test_only_limits_of_the_address_bind_other_accounts(text: str, stream: str | None, wait_s: float) -> None:
    drive = Spot()
    (call,) = of(Call, drive.connected())
    fail = only(Fail, drive.answer(call, bad(text)))
    assert (fail.kind, fail.stream_id, fail.retry_after_s) == (FailKind.RATE_LIMITED, stream, wait_s)


def test_a_stale_token_means_a_new_connection() -> None:
    drive = Spot()
    first, _ = sent(drive.joining())
    nak = {"method": "subscribe", "success": False, "error": "ESession:Invalid session", "req_id": first["req_id"]}
    fail = only(Fail, drive.frame(nak))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_maintenance_is_told_and_other_states_are_noted() -> None:
    drive = Spot()
    drive.live()
    status = {"channel": "status", "type": "update"}
    assert drive.frame({**status, "data": [{"system": "online"}]}) == []
    assert of(Note, drive.frame({**status, "data": [{"system": "cancel_only"}]}))
    assert only(Fail, drive.frame({**status, "data": [{"system": "maintenance"}]})).kind is FailKind.MAINTENANCE


def test_a_ping_that_stays_unanswered_ends_the_connection() -> None:
    drive = Spot()
    drive.live()
    assert sent(drive.wake())[0]["method"] == "ping"
    assert only(Fail, drive.wake()).kind is FailKind.TRANSIENT


# --- executions ---


def test_rows_that_tell_only_changes_are_put_together() -> None:
    """Bugs B13, B14: everything was NEW, and later rows had no symbol, side, size or client id."""
    drive = Spot()
    drive.live()
    outputs = drive.executions(PLACED)
    outputs += drive.executions(row(exec_type="new", order_status="new"))
    outputs += drive.executions(trade(1, 0.12, 10578.06), trade(2, 0.3, 26434.65))
    outputs += drive.executions(row(exec_type="filled", order_status="filled", cum_qty=0.42, cum_cost=37012.71))
    assert steps(outputs) == [
        ("NEW", "0", "0"),
        ("NEW", "0", "0"),
        ("PARTIALLY_FILLED", "0.12", "10578.06"),
        ("PARTIALLY_FILLED", "0.42", "37012.71"),
        ("FILLED", "0.42", "37012.71"),
    ]
    for report in reports(outputs):
        assert (report.symbol, report.side, report.quantity) == ("BTC-USD", "BUY", "0.42")
        assert (report.new_client_order_id, report.order_id) == ("D-BO-1", ORDER)
    assert reports(outputs)[-1].price == "88125.5"


def test_a_trade_that_completes_the_order_is_filled_only_if_it_says_so() -> None:
    drive = Spot()
    drive.live()
    outputs = drive.executions(PLACED, trade(1, 0.2, 17630.1) | {"order_status": "filled"})
    outputs += drive.executions(trade(2, 0.22, 19393.11) | {"order_status": "filled"})
    outputs += drive.executions(row(exec_type="filled", order_status="filled", cum_qty=0.42, cum_cost=37023.21))
    assert [step[:2] for step in steps(outputs)] == [("NEW", "0"), ("PARTIALLY_FILLED", "0.2"), ("FILLED", "0.42")]


def test_a_terminal_row_goes_out_once_and_nothing_follows() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    canceled = row(exec_type="canceled", order_status="canceled")
    assert steps(drive.executions(canceled)) == [("CANCELED", "0", "0")]
    assert drive.executions(canceled, trade(9, 0.1, 1.0)) == [Seen("u1"), Seen("u1")]


def test_an_order_state_that_nobody_knows_is_told_and_not_guessed() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    outputs = drive.executions(row(exec_type="trade", order_status="halfway"))
    assert reports(outputs) == []
    assert only(Note, outputs).level == "error"


@pytest.mark.parametrize(
    "odd", [{"order_status": "halfway"}, {"exec_type": "brand_new"}, {"cum_qty": {}, "order_status": "filled"}]
)
def test_an_order_of_which_nothing_known_is_told_is_asked_for(odd: dict[str, object]) -> None:
    """It may be its end: the note alone left the order open for ever."""
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    outputs = drive.executions(row(**odd))
    assert reports(outputs) == []
    (call,) = of(Call, outputs)
    assert parse_qs(call.body or "")["txid"] == [ORDER]
    assert of(Call, drive.executions(row(**odd))) == [], "once at a time"
    closed = rest_order(status="closed", vol_exec="0.42", cost="37023.21")
    assert steps(drive.answer(call, good({ORDER: closed}))) == [("FILLED", "0.42", "37023.21")]


def test_an_order_that_stays_odd_is_asked_for_again_and_then_told_in_a_note() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    (call,) = of(Call, drive.executions(row(order_status="halfway")))
    notes: list[Note] = []
    for number in range(6):
        outputs = drive.answer(call, good({ORDER: rest_order(status="halfway")}))
        assert reports(outputs) == []
        notes = of(Note, outputs)
        while number < 5 and not (calls := of(Call, drive.wake())):
            continue
        (call,) = calls
    assert "halfway" in notes[0].what


def test_an_odd_fee_costs_no_execution() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    fees = [{"asset": "USD", "qty": 2}, {"asset": None, "qty": None}, None]
    (report,) = reports(drive.executions(trade(5, 0.12, 10578.06) | {"fees": fees, "liquidity_ind": None}))
    assert (report.order_status, report.total_trade_quantity, report.fee_paid) == ("PARTIALLY_FILLED", "0.12", "2")


def test_nulls_in_a_frame_are_absent_values() -> None:
    drive = Spot()
    drive.live()
    rows = [None, PLACED | {"cl_ord_id": None, "exec_type": None}]
    outputs = drive.frame({"channel": "executions", "type": "update", "method": None, "success": None, "data": rows})
    assert steps(outputs) == [("NEW", "0", "0")]
    assert drive.frame({"channel": "balances", "type": "update", "data": None}) == [Seen("u1")]


def test_a_row_without_an_order_costs_only_itself() -> None:
    drive = Spot()
    drive.live()
    outputs = drive.executions({"exec_type": "new"}, PLACED)
    assert steps(outputs) == [("NEW", "0", "0")]
    assert "order_id" in only(Note, outputs).what


def test_the_snapshot_describes_orders_without_publishing_them() -> None:
    drive = Spot()
    drive.live()
    first = {**PLACED, "exec_type": "new", "order_status": "partially_filled", "cum_qty": 0.1, "cum_cost": 8815.05}
    assert drive.executions(first, kind="snapshot") == [Seen("u1")]
    outputs = drive.executions(trade(7, 0.32, 28208.16))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.42", "37023.21")]
    assert reports(outputs)[0].symbol == "BTC-USD"


def test_an_order_first_seen_in_the_middle_is_asked_for_once() -> None:
    drive = Spot()
    drive.live()
    (call,) = of(Call, drive.executions(trade(5, 0.12, 10578.06)))
    assert (path(call), parse_qs(call.body or "")["txid"]) == ("/0/private/QueryOrders", [ORDER])
    assert drive.executions(row(exec_type="canceled", order_status="canceled")) == []
    found = rest_order(vol_exec="0.2", cost="17630.1")
    outputs = drive.answer(call, good({ORDER: found}))
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.2", "17630.1"), ("CANCELED", "0.2", "17630.1")]
    assert {(r.symbol, r.side, r.new_client_order_id, r.quantity) for r in reports(outputs)} == {
        ("BTC-USD", "BUY", "D-BO-1", "0.42")
    }


@pytest.mark.parametrize("answer", [bad("EGeneral:Permission denied"), good({}), good({ORDER: {"status": 7}})])
def test_an_order_that_cannot_be_described_is_told_with_what_is_known(answer: object) -> None:
    drive = Spot()
    drive.live()
    (call,) = of(Call, drive.executions(trade(5, 0.12, 10578.06, symbol="BTC/USD")))
    outputs = drive.answer(call, answer)
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.12", "10578.06")]
    assert only(Note, outputs).level == "error"


def test_a_report_does_not_wait_for_ever_for_rest() -> None:
    drive = Spot()
    drive.live()
    (call,) = of(Call, drive.executions(trade(5, 0.12, 10578.06, symbol="BTC/USD", side="sell")))
    assert steps(drive.wake()) == [("PARTIALLY_FILLED", "0.12", "10578.06")]
    assert drive.answer(call, good({ORDER: rest_order()})) == []


def test_lost_messages_are_noticed_by_their_numbers() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    drive.message("balances", [])
    assert of(Fail, drive.executions(row(exec_type="new", order_status="new"))) == []
    drive._sequence += 1
    outputs = drive.executions(trade(1, 0.42, 37023.21))
    assert only(Fail, outputs).kind is FailKind.TRANSIENT
    assert len(reports(outputs)) == 1


def test_channels_that_count_for_themselves_lose_nothing() -> None:
    """Whether the number is the connection's or the channel's is not certain."""
    drive = Spot()
    drive.live()
    for number in (1, 2, 3, 4):
        for channel in ("executions", "balances"):
            message = {"channel": channel, "type": "update", "data": [], "sequence": number}
            assert of(Fail, drive.frame(message)) == []


def test_fees_are_summed_where_every_execution_was_seen() -> None:
    drive = Spot()
    drive.live()
    drive.executions(PLACED)
    drive.executions(trade(1, 0.12, 10578.06, fees=[{"asset": "USD", "qty": 26.44515}], fee_usd_equiv=26.44515))
    (report,) = reports(drive.executions(trade(2, 0.3, 26434.65, fees=[{"asset": "USD", "qty": 105.72}])))
    assert (report.fee_paid, report.fee_asset) == ("132.16515", "USD")
    filled = row(exec_type="filled", order_status="filled", cum_qty=0.42, cum_cost=37012.71, fee_usd_equiv=132.17)
    (report,) = reports(drive.executions(filled))
    assert (report.fee_paid, report.fee_paid_usd) == ("132.16515", "132.17")


def test_fees_of_an_order_that_was_partly_filled_before_are_left_out() -> None:
    drive = Spot()
    drive.live()
    drive.executions({**PLACED, "exec_type": "new", "cum_qty": 0.1, "cum_cost": 8815.05}, kind="snapshot")
    (report,) = reports(drive.executions(trade(2, 0.3, 26434.65, fees=[{"asset": "USD", "qty": 105.72}])))
    assert not isinstance(report.fee_paid, str)


# --- balances ---


def ledger(asset: str, balance: float, wallet: str = "main", kind: str = "spot") -> dict[str, object]:
    return {"asset": asset, "balance": balance, "wallet_type": kind, "wallet_id": wallet, "ledger_id": "L"}


def test_balances_of_the_spot_wallet_are_told_without_holds() -> None:
    """Bugs A39, B7: the shape was not understood, and the free amount came from another field."""
    drive = Spot()
    drive.live()
    rows = [ledger("BTC", 1.5), ledger("XXBT", 1.62), ledger("ETH", 9, "bonded", "earn"), ledger("USD", 49395.49485)]
    outputs = drive.message("balances", rows)
    assert positions(outputs) == [[Balance(asset="BTC", free="1.62"), Balance(asset="USD", free="49395.49485")]]


def test_the_last_balance_of_a_period_is_told_at_its_end() -> None:
    """Bug D17."""
    drive = Spot()
    drive.live()
    assert positions(drive.message("balances", [ledger("USD", 100)])) == [[Balance(asset="USD", free="100")]]
    started = drive.mono
    assert positions(drive.message("balances", [ledger("USD", 90), ledger("BTC", 1)])) == []
    assert positions(drive.message("balances", [ledger("USD", 80)])) == []
    told: list[list[Balance]] = []
    while drive.mono < started + PERIOD_S:
        assert told == []
        told = positions(drive.wake())
        drive.frame({"channel": "heartbeat"})
    assert told == [[Balance(asset="BTC", free="1"), Balance(asset="USD", free="80")]]


def test_a_balance_that_came_back_within_the_period_is_not_told_again() -> None:
    drive = Spot()
    drive.live()
    drive.message("balances", [ledger("USD", 100)])
    drive.message("balances", [ledger("USD", 90)])
    drive.message("balances", [ledger("USD", 100)])
    for _ in range(4):
        assert positions(drive.wake()) == []
        drive.frame({"channel": "heartbeat"})


# --- gap repair ---


def known(order_id: str = ORDER, status: str = "NEW", executed: str = "0", **fields: Any) -> KnownOrder:
    return KnownOrder(
        order_id=order_id, client_order_id=f"C-{order_id}", symbol="BTC-USD", status=status, executed=executed,
        price="88150.5", quantity="0.42", side="BUY", order_type="LIMIT", order_time_ms=WALL - 90_000, **fields,
    )  # fmt: skip


def repaired(drive: Spot, replies: dict[str, list[object]]) -> tuple[list[Output], list[Call]]:
    """Answer every call of the repair by tag; returns the other outputs and the calls, in order."""
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
        reply = given.pop(0) if given else good({})
        if isinstance(reply, Answer):
            queue += drive.adapter.answered(output, reply, drive.now)
        else:
            queue += drive.answer(output, reply)
    return rest, calls


def test_calls_of_a_key_go_out_one_after_the_other() -> None:
    """A nonce that arrives after a higher one is refused."""
    drive = Spot(Resume(since_ms=WALL - 60_000))
    (first,) = of(Call, drive.live())
    (lookup,) = (first,)
    assert of(Call, drive.executions(trade(5, 0.12, 1.0))) == []
    (second,) = of(Call, drive.answer(lookup, good({"open": {}})))
    assert int(parse_qs(second.body or "")["nonce"][0]) > int(parse_qs(first.body or "")["nonce"][0])


def test_a_gap_is_read_from_lists_and_what_they_lack_by_id() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known(), known("OGONE"), known("OLOST"), known("OOLD", "FILLED")))
    closed = {"OGONE": rest_order(status="closed", vol_exec="0.42", cost="37023.21", price="88150.5",
                                  closetm=1_795_299_970.5, cl_ord_id=None)}  # fmt: skip
    replies: dict[str, list[object]] = {
        "open orders": [good({"open": {ORDER: rest_order(vol_exec="0.1", cost="8815.05", price="88150.5")}})],
        "closed orders": [good({"closed": closed, "count": 1})],
        "balances": [good({"XXBT": {"balance": "1.62", "hold_trade": "0.5"}, "ZUSD": {"balance": "10"},
                           "USD.F": {"balance": "7"}})],
    }  # fmt: skip
    drive = Spot(resume)
    outputs, calls = repaired(drive, replies)
    assert [path(call).rsplit("/", 1)[-1] for call in calls] == [
        "OpenOrders", "ClosedOrders", "BalanceEx", "QueryOrders",
    ]  # fmt: skip
    form = parse_qs(calls[1].body or "")
    assert (form["start"], form["closetime"]) == ([str((WALL - 60_000) // 1000 - 60)], ["both"])
    assert parse_qs(calls[3].body or "")["txid"] == ["OLOST"]
    assert steps(outputs) == [("PARTIALLY_FILLED", "0.1", "8815.05"), ("FILLED", "0.42", "37023.21")]
    gone = reports(outputs)[1]
    assert (gone.new_client_order_id, gone.order_time, gone.symbol) == ("C-OGONE", 1_795_299_970_500, "BTC-USD")
    assert positions(outputs) == [[Balance(asset="BTC", free="1.62"), Balance(asset="USD", free="10")]]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert (gap.orders, gap.balances, gap.missing) == (2, 1, ("order OLOST: not known to the venue",))


def test_a_cancelled_order_keeps_its_executed_part_in_a_repair() -> None:
    found = rest_order(status="canceled", vol_exec="0.1", cost="8815.05", price="88150.5", closetm=1_795_299_970)
    resume = Resume(since_ms=WALL - 60_000, orders=(known(),))
    outputs, _ = repaired(Spot(resume), {"closed orders": [good({"closed": {ORDER: found}, "count": 1})]})
    assert steps(outputs) == [("CANCELED", "0.1", "8815.05")]


def test_unchanged_orders_are_not_told_again() -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known(),))
    opened = {ORDER: rest_order(), "OTHER": rest_order(opentm=1_795_000_000)}
    outputs, _ = repaired(Spot(resume), {"open orders": [good({"open": opened})]})
    assert reports(outputs) == []


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"vol": "0.5"}, ("0.5", "88150.5")),
        ({"descr": {"pair": "BTC/USD", "type": "buy", "ordertype": "limit", "price": "88000"}}, ("0.42", "88000")),
    ],
)
def test_an_amendment_in_the_gap_is_told_whether_it_changed_the_size_or_the_price(
    now: dict[str, object], told: tuple[str, str]
) -> None:
    resume = Resume(since_ms=WALL - 60_000, orders=(known(),))
    outputs, _ = repaired(Spot(resume), {"open orders": [good({"open": {ORDER: rest_order(**now)}})]})
    (report,) = reports(outputs)
    assert (report.order_status, report.quantity, report.price) == ("NEW", *told)


@pytest.mark.parametrize(("said", "told"), [("pending", "NEW"), ("expired", "CANCELED")])
def test_an_order_of_the_gap_that_waits_or_expired_is_told_as_such(said: str, told: str) -> None:
    rows = {"ONEW": rest_order(status=said, opentm=1_795_299_970, closetm=1_795_299_980 if said == "expired" else 0)}
    outputs, _ = repaired(Spot(Resume(since_ms=WALL - 60_000)), {"closed orders": [good({"closed": rows, "count": 1})]})
    assert steps(outputs) == [(told, "0", "0")]


def test_live_rows_wait_for_the_gap_and_follow_it() -> None:
    drive = Spot(Resume(since_ms=WALL - 60_000, orders=(known(),)))
    (call,) = of(Call, drive.live())
    drive.executions({**PLACED, "exec_type": "new", "cum_qty": 0.1, "cum_cost": 8815.05}, kind="snapshot")
    assert reports(drive.executions(trade(3, 0.1, 8815.05))) == []
    outputs: list[Output] = []
    replies = [good({"open": {ORDER: rest_order(vol_exec="0.1", cost="8815.05")}}), good({"closed": {}}), good({})]
    for reply in replies:
        outputs += drive.answer(call, reply)
        call = of(Call, outputs)[-1] if of(Call, outputs) else call
    assert [step[:2] for step in steps(outputs)] == [("PARTIALLY_FILLED", "0.1"), ("PARTIALLY_FILLED", "0.2")]
    assert isinstance(outputs[-1], Live)


def test_closed_orders_are_read_page_by_page_up_to_a_bound() -> None:
    def page(first: int) -> object:
        rows = {f"O{first + n}": rest_order(status="canceled", closetm=1_795_299_990) for n in range(50)}
        return good({"closed": rows, "count": 5000})

    drive = Spot(Resume(since_ms=WALL - 60_000))
    outputs, calls = repaired(drive, {"closed orders": [page(n * 50) for n in range(20)]})
    offsets = [parse_qs(call.body or "")["ofs"] for call in calls if call.tag == "closed orders"]
    assert offsets == [[str(n * 50)] for n in range(10)]
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing == ("closed orders: more than 500",)
    assert len(reports(outputs)) == 500


def test_a_rate_limit_during_a_repair_waits_and_asks_again() -> None:
    drive = Spot(Resume(since_ms=WALL - 60_000))
    (call,) = of(Call, drive.live())
    (following,) = of(Call, drive.answer(call, bad("EAPI:Rate limit exceeded")))
    (last,) = of(Call, drive.answer(following, good({"closed": {}})))
    assert of(Call, drive.answer(last, good({}))) == []
    again: list[Call] = []
    for _ in range(10):
        again += of(Call, drive.wake())
        drive.frame({"channel": "heartbeat"})
    assert [one.tag for one in again] == ["open orders"]
    assert drive.mono >= NOW.mono + 10


def test_a_permission_that_the_repair_lacks_is_told_and_no_reason_to_stop() -> None:
    replies: dict[str, list[object]] = {"balances": [bad("EGeneral:Permission denied")]}
    outputs, _ = repaired(Spot(Resume(since_ms=WALL - 60_000)), replies)
    gap = only(Live, outputs).gap
    assert gap is not None
    assert gap.missing == ("balances: EGeneral:Permission denied",)


# --- symbols ---


def test_assets_and_pairs_make_the_table_with_modern_names() -> None:
    loader = VENUE.instruments("kraken", {})
    answers = {
        ("assets", ""): {"XXBT": {"altname": "XBT"}, "ZUSD": {"altname": "USD"}, "XXDG": {"altname": "XDG"}},
        ("assets", "tokenized_asset"): {"AAPLx": {"altname": "AAPLx"}},
        ("pairs", ""): {
            "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "status": "online"},
            "XDGUSD": {"altname": "XDGUSD", "wsname": "XDG/USD", "base": "XXDG", "quote": "ZUSD", "status": "delisted"},
            "DARK.d": {"altname": "DARK.d", "base": "XXBT", "quote": "ZUSD"},
        },
        ("pairs", "tokenized_asset"): {
            "AAPLxUSD": {"altname": "AAPLxUSD", "wsname": "AAPLx/USD", "base": "AAPLx", "quote": "ZUSD"}
        },
    }
    for call in loader.start():
        loader.answered(call, json_answer(good(answers[(call.tag, str(call.context))])))
    found = {item.wire: item for item in loader.result() or ()}
    assert {wire: (item.pair, item.active) for wire, item in found.items()} == {
        "BTC/USD": ("BTC-USD", True), "DOGE/USD": ("DOGE-USD", False), "AAPLx/USD": ("AAPLx-USD", True),
    }  # fmt: skip
    assert found["AAPLx/USD"].kind == "tokenized_asset"


def test_an_odd_row_of_a_list_costs_only_itself() -> None:
    """A null in one row lost the whole list."""
    loader = VENUE.instruments("kraken", {"KRAKEN_XSTOCKS_ENABLED": "false"})
    pair = {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "status": "online"}
    answers = {
        "assets": {"XXBT": {"altname": "XBT"}, "ODD": {"altname": None}, "NIL": None, "ZUSD": {"altname": "USD"}},
        "pairs": {
            "A": pair | {"wsname": None},
            "XXBTZUSD": pair,
            "B": pair | {"base": None},
            "C": 7,
            "D": pair | {"wsname": "NEW/USD", "base": "ODD", "status": None, "altname": None},
        },
    }
    for call in loader.start():
        loader.answered(call, json_answer(good(answers[call.tag])))
    found = {item.wire: (item.pair, item.active) for item in loader.result() or ()}
    assert found == {"BTC/USD": ("BTC-USD", True), "NEW/USD": ("ODD-USD", True)}


def test_a_coin_that_the_list_does_not_have_yet_goes_by_its_name() -> None:
    """The raw name went out, and the backend rounds prices of symbols that it does not know to 2 decimals."""
    drive = Spot()
    drive.live()
    for wire, pair in (("NEWX/USD", "NEWX-USD"), ("XDG/GBP", "DOGE-GBP")):
        (report,) = reports(drive.executions({**PLACED, "order_id": wire, "symbol": wire}))
        assert report.symbol == pair
    prices = market("ticker", "NEWX/USD")
    prices.connected()
    frame = {"channel": "ticker", "type": "update", "data": [{"symbol": "NEWX/USD", "last": 2}]}
    (ticker,) = only(EmitTickers, prices.frame(frame)).tickers
    assert ticker.symbol == "NEWX/USD", "prices keep the name until the list has it"
    rows = {"N": rest_order(descr={"pair": "NEWXUSD", "type": "buy", "ordertype": "limit", "price": "1"}),
            "M": rest_order(descr={"pair": "ODDNAME", "type": "buy", "ordertype": "limit", "price": "1"})}  # fmt: skip
    told, _ = repaired(Spot(Resume(since_ms=WALL - 60_000_000)), {"open orders": [good({"open": rows})]})
    assert {str(report.order_id): report.symbol for report in reports(told)} == {"N": "NEWX-USD", "M": "ODDNAME"}


def test_tokenised_stocks_can_be_switched_off() -> None:
    """Bug A22: the plain lists leave them out, so they had no prices; `KRAKEN_XSTOCKS_ENABLED=false` wants it so."""
    for options, calls in (({}, 4), ({"KRAKEN_XSTOCKS_ENABLED": "true"}, 4), ({"KRAKEN_XSTOCKS_ENABLED": "FALSE"}, 2)):
        urls = [call.url for call in VENUE.instruments("kraken", options).start()]
        assert len(urls) == calls
        assert any("aclass_base=tokenized_asset" in url for url in urls) is (calls == 4)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("XXBT", "BTC"),
        ("XBT", "BTC"),
        ("BTC", "BTC"),
        ("XXDG", "DOGE"),
        ("ZUSD", "USD"),
        ("XTZ", "XTZ"),
        ("ZETA", "ZETA"),
    ],
)
def test_old_asset_keys_are_told_from_names_that_only_look_like_them(code: str, name: str) -> None:
    assert asset_name(code) == name


def test_while_the_symbols_load_the_name_tells_the_pair() -> None:
    drive = Spot(table=EMPTY)
    drive.live()
    assert reports(drive.executions(PLACED))[0].symbol == "BTC-USD"


# --- tickers and candles ---


def market(feed: str, *symbols: str, interval: str = "60") -> Driver:
    make = VENUE.ticker if feed == "ticker" else VENUE.candle
    drive = Driver(make, "kraken", TABLE)
    if feed == "ticker":
        drive.add(TickerSubscription(stream_id="t", exchange="kraken", symbols=symbols))
    else:
        for pair in symbols:
            drive.add(CandleSubscription(stream_id=pair, exchange="kraken", symbol=pair, interval=interval))
    drive.start()
    return drive


def test_a_shard_is_subscribed_in_lists_of_a_hundred_and_live_when_each_symbol_is_answered() -> None:
    symbols = [f"C{number}/USD" for number in range(150)]
    drive = market("ticker", *symbols)
    first, second = sent(drive.connected())
    assert [len(request["params"]["symbol"]) for request in (first, second)] == [100, 50]
    assert first["params"]["event_trigger"] == "trades"
    outputs: list[Output] = []
    for symbol in symbols:
        result = {"channel": "ticker", "symbol": symbol}
        outputs += drive.frame({"method": "subscribe", "result": result, "success": True, "req_id": first["req_id"]})
    assert only(Live, outputs).stream_id == "t"


def test_a_topic_that_is_subscribed_already_counts_as_acknowledged() -> None:
    drive = market("ticker", "BTC-USD")
    (asked,) = sent(drive.connected())
    result = {"channel": "ticker", "symbol": asked["params"]["symbol"][0]}
    answer = {"method": "subscribe", "result": result, "success": False, "req_id": asked["req_id"]}
    outputs = drive.frame({**answer, "error": "Already subscribed"})
    assert only(Live, outputs).stream_id == "t"
    assert not of(Fail, outputs)
    assert not of(Live, drive.frame({**answer, "error": "Already subscribed"}))


def test_a_refused_symbol_costs_only_itself() -> None:
    drive = market("ticker", "BTC/USD", "NO/ONE")
    (request,) = sent(drive.connected())
    nak = {"method": "subscribe", "success": False, "req_id": request["req_id"]}
    drive.frame({**nak, "error": "Currency pair not supported NO/ONE"})
    ack = {"method": "subscribe", "success": True, "result": {"channel": "ticker", "symbol": "BTC/USD"}}
    assert only(Live, drive.frame(ack)).stream_id == "t"


def test_a_refusal_that_names_no_symbol_is_found_by_halves() -> None:
    drive = market("ticker", "BTC/USD", "NO1/ONE", "ETH/EUR")
    (request,) = sent(drive.connected())
    asked = [request]
    live: list[Live] = []
    for _ in range(10):
        if not asked:
            break
        request = asked.pop(0)
        symbols = request["params"]["symbol"]
        outputs: list[Output] = []
        if "NO1/ONE" in symbols:
            text = {"method": "subscribe", "success": False, "error": "Currency pair not supported"}
            outputs += drive.frame({**text, "req_id": request["req_id"]})
        else:
            for symbol in symbols:
                result = {"channel": "ticker", "symbol": symbol}
                outputs += drive.frame({"method": "subscribe", "success": True, "result": result})
        asked += [one for one in sent(outputs) if one["method"] == "subscribe"]
        for _ in range(5):
            if not asked and not of(Live, outputs):
                woken = drive.wake()
                drive.frame({"channel": "heartbeat"})
                asked += [one for one in sent(woken) if one["method"] == "subscribe"]
        live += of(Live, outputs)
    assert [one.stream_id for one in live] == ["t"]


def test_a_ticker_carries_the_last_price_on_both_sides() -> None:
    drive = market("ticker", "BTC/USD")
    drive.connected()
    tick = {"symbol": "BTC/USD", "bid": 1, "bid_qty": 0.73, "ask": 3, "ask_qty": 2.41, "last": 2, "volume": 1834.22,
            "timestamp": "2026-09-14T08:20:11.123456Z"}  # fmt: skip
    (output,) = of(
        EmitTickers, drive.frame({"channel": "ticker", "type": "snapshot", "data": [tick, {"symbol": "X/Y"}]})
    )
    (ticker,) = output.tickers
    assert (ticker.symbol, ticker.time, ticker.price, ticker.best_ask, ticker.best_bid) == (
        "BTC-USD", 1_789_374_011_123, 2, 2, 2,
    )  # fmt: skip
    assert (ticker.best_ask_qnt, ticker.best_bid_qnt, ticker.volume) == (2.41, 0.73, 1834.22)


def test_prices_without_a_time_go_on_when_the_clock_of_the_host_is_set_back() -> None:
    drive = market("ticker", "BTC/USD")
    drive.connected()
    frame = b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":2,"timestamp":null}]}'
    times = []
    for wall_ms in (WALL, WALL + 1_000, WALL - 44_000, WALL - 43_000):
        (ticker,) = only(EmitTickers, drive.adapter.received(frame, Instant(drive.mono, wall_ms))).tickers
        times.append(ticker.time)
    assert times == sorted(times)


def test_an_odd_tick_costs_only_itself() -> None:
    drive = market("ticker", "BTC/USD")
    drive.connected()
    rows = [
        None,
        {"symbol": None, "last": 1},
        {"symbol": "X/Y", "last": 0},
        {"symbol": "BTC/USD", "last": 2, "volume": None},
        {"symbol": "BTC/USD", "last": 3, "volume": "", "ask_qty": ""},
    ]
    outputs = drive.frame({"channel": "ticker", "type": "update", "data": rows})
    assert [(row.symbol, row.price) for row in only(EmitTickers, outputs).tickers] == [("BTC-USD", 2), ("BTC-USD", 3)]


def test_a_tick_without_a_price_only_counts_as_data() -> None:
    drive = market("ticker", "BTC/USD")
    drive.connected()
    assert drive.frame({"channel": "ticker", "type": "update", "data": [{"symbol": "BTC/USD"}]}) == [Seen("t")]


def test_the_interval_of_a_candle_request_is_a_number() -> None:
    """Bugs A21, A46: as text it was refused, at each reconnect again."""
    for spelling in ("60", "1h"):
        drive = market("candle", "BTC-USD", interval=spelling)
        (request,) = sent(drive.connected())
        assert request["params"] == {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 60, "snapshot": False}
        assert isinstance(request["params"]["interval"], int)
        ack = {
            "method": "subscribe",
            "success": True,
            "result": {"channel": "ohlc", "symbol": "BTC/USD", "interval": 60},
        }
        assert only(Live, drive.frame(ack)).stream_id == "BTC-USD"


def test_intervals_never_share_a_connection() -> None:
    """Bug C5: a second timeframe of a symbol got no candles."""
    groups = {
        VENUE.candle_group("kraken", "BTC-USD", interval, EMPTY)
        for interval in ("1", "5", "15", "30", "60", "240", "1440", "10080")
    }
    assert len(groups) == 8
    assert VENUE.candle_group("kraken", "BTC-USD", "1h", EMPTY) == VENUE.candle_group("kraken", "BTC-USD", "60", EMPTY)
    drive = market("candle", "BTC-USD")
    other = CandleSubscription(stream_id="other", exchange="kraken", symbol="BTC-USD", interval="5")
    assert only(Fail, drive.add(other)).stream_id == "other"


def test_a_refused_interval_is_asked_for_again_elsewhere() -> None:
    """Bug C5: remembered as subscribed, it left the timeframe silent for ever."""
    drive = market("candle", "BTC-USD")
    (request,) = sent(drive.connected())
    nak = {"method": "subscribe", "success": False, "req_id": request["req_id"],
           "error": "Already subscribed to one ohlc interval on this symbol"}  # fmt: skip
    fail = only(Fail, drive.frame(nak))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, "BTC-USD")


def ohlc(begin: str, close: float, **more: object) -> dict[str, object]:
    return {"symbol": "BTC/USD", "open": 88000, "high": 88200.5, "low": 87950, "close": close, "volume": 63.114,
            "interval_begin": begin, "interval": 60, "timestamp": "2026-09-14T10:00:00.000000Z", **more}  # fmt: skip


def test_running_candles_start_where_their_interval_begins() -> None:
    drive = market("candle", "BTC-USD")
    drive.connected()
    drive.frame(
        {"method": "subscribe", "success": True, "result": {"channel": "ohlc", "symbol": "BTC/USD", "interval": 60}}
    )
    rows = [ohlc("2026-09-14T08:00:00.000000000Z", 88001.0), ohlc("2026-09-14T09:00:00.000000000Z", 88150.0)]
    outputs = of(EmitCandle, drive.frame({"channel": "ohlc", "type": "update", "data": rows}))
    assert [(one.candle.start, one.candle.close, one.interval) for one in outputs] == [
        (1_789_372_800_000, "88001", "60"), (1_789_376_400_000, "88150", "60"),
    ]  # fmt: skip
    outputs = of(EmitCandle, drive.frame({"channel": "ohlc", "type": "snapshot", "data": rows}))
    assert [one.candle.start for one in outputs] == [1_789_376_400_000]


def test_missed_candles_are_read_by_the_rest_name_of_the_pair() -> None:
    drive = Driver(VENUE.candle, "kraken", TABLE)
    hour = 3_600_000
    start = drive.now.wall_ms // hour * hour - 2 * hour
    drive.add(
        CandleSubscription(stream_id="c", exchange="kraken", symbol="AAPLx-USD", interval="60", resume_start_ms=start)
    )
    drive.start()
    drive.connected()
    ack = {"method": "subscribe", "success": True, "result": {"channel": "ohlc", "symbol": "AAPLx/USD", "interval": 60}}
    (call,) = of(Call, drive.frame(ack))
    query = parse_qs(call.url.partition("?")[2])
    assert query == {"pair": ["AAPLxUSD"], "interval": ["60"], "since": [str(start // 1000 - 1)],
                     "asset_class": ["tokenized_asset"]}  # fmt: skip
    assert call.pool == "candles"
    rows = [[(start + n * hour) // 1000, "1", "3", "0.5", "2", "1.9", "7", 5] for n in range(2)]
    outputs = drive.answer(call, good({"AAPLxUSD": rows, "last": 0}))
    told = [(one.candle.start, one.candle.volume, one.candle.close) for one in of(EmitCandle, outputs)]
    assert told == [(start, "7", "2"), (start + hour, "7", "2")]


def test_quiet_markets_are_no_reason_to_restart_anything() -> None:
    """Bug C14: a price worker was killed 45 times by quiet markets."""
    for exchange in VENUE.exchanges:
        for feed in ("ticker", "candle"):
            limits = VENUE.limits(exchange, feed)  # type: ignore[arg-type]
            assert limits.data_silence_s is None
            assert limits.silence_s <= 45


def test_unknown_frames_are_told() -> None:
    """Bug B7."""
    drive = Spot()
    drive.live()
    assert "nobody" in only(Note, drive.frame({"channel": "nobody", "data": []})).what
    assert of(Note, drive.frame({"channel": "executions", "data": 7}))
