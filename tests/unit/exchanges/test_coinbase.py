"""Coinbase: tokens, joining, heartbeats, sequence, gap repair, tickers and candles, driven without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchanges._adapter import (
    Adapter,
    Answer,
    Call,
    CandleSubscription,
    ClockOffset,
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
from exchanges._times import milliseconds, rfc3339
from exchanges._venue import Setup
from exchanges.coinbase import VENUE
from exchanges.coinbase._series import DAY_MS, INTERVALS, MINUTE_MS, WEEK_MS, floor
from exchanges.credentials import credentials
from exchanges.events import AccountPosition, ExecutionReport, encode
from exchanges.ids import Feed
from exchanges.instruments import EMPTY, Instrument, SymbolTable
from tests.unit.exchanges import driver
from tests.unit.exchanges.driver import after, answer_all, frame, hmac_hex, json_answer, of, params, sent

WALL = 1_795_300_200_000  # a multiple of five minutes
NOW = Instant(1_000.0, WALL)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PEM = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
KEY = "organizations/11111111-1111-1111-1111-111111111111/apiKeys/22222222-2222-2222-2222-222222222222"
at = partial(after, NOW)


def setup(table: SymbolTable = EMPTY, **options: str) -> Setup:
    return driver.setup("coinbase", table, **options)


def account(
    resume: Resume | None = None, secret: str = PEM, keys_type: str | None = "cloud", key: str = KEY, **options: str
) -> UserSubscription:
    material = credentials(key, secret, keys_type=keys_type, **options)
    return UserSubscription(stream_id="u1", exchange="coinbase", credentials=material, resume=resume)


def message(
    channel: str, *events: object, sequence: int | None = None, when: str = "2026-11-22T05:50:00.123456Z"
) -> bytes:
    value: dict[str, object] = {"channel": channel, "client_id": "", "timestamp": when, "events": list(events)}
    if sequence is not None:
        value["sequence_num"] = sequence
    return frame(value)


def active(**channels: Sequence[str]) -> bytes:
    return message("subscriptions", {"subscriptions": {name: list(ids) for name, ids in channels.items()}})


def token_parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str, bytes]:
    header, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(header), json.loads(claims), token.rpartition(".")[0], signature


def verify_es256(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, signed, signature = token_parts(token)
    r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
    EC_KEY.public_key().verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    return header, claims


def joined(subscription: UserSubscription) -> tuple[Adapter, list[Output]]:
    """An adapter right after both subscribes were acknowledged, and what that returned."""
    adapter = VENUE.user(setup())
    adapter.add(subscription, NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    adapter.received(active(user=["p"]), NOW)
    return adapter, list(adapter.received(active(user=["p"], heartbeats=["heartbeats"]), NOW))


def order(order_id: str, status: str = "OPEN", **fields: object) -> dict[str, object]:
    return {
        "order_id": order_id,
        "client_order_id": f"D-{order_id}",
        "product_id": "BTC-USD",
        "order_side": "BUY",
        "order_type": "Limit",
        "status": status,
        "cumulative_quantity": "0",
        "leaves_quantity": "2",
        "avg_price": "0",
        "limit_price": "100",
        "creation_time": "2026-11-22T05:49:00Z",
        **fields,
    }


def rest_order(order_id: str, status: str = "OPEN", **fields: object) -> dict[str, object]:
    return {
        "order_id": order_id,
        "client_order_id": f"D-{order_id}",
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_type": "LIMIT",
        "status": status,
        "filled_size": "0",
        "average_filled_price": "0",
        "filled_value": "0",
        "created_time": rfc3339(WALL - 600_000),
        "last_fill_time": None,
        "order_configuration": {"limit_limit_gtc": {"base_size": "2", "limit_price": "100"}},
        **fields,
    }


# --- keys ---


def test_the_user_connection_asks_for_one_channel_at_a_time_with_a_new_token_each() -> None:
    adapter = VENUE.user(setup())
    assert not adapter.add(account(), NOW)
    assert adapter.start(NOW) == [Connect("wss://advanced-trade-ws-user.coinbase.com")]
    (user,) = sent(adapter.connected(NOW))
    assert (user["type"], user["channel"]) == ("subscribe", "user")
    assert "product_ids" not in user
    header, claims = verify_es256(user["jwt"])
    assert (header["alg"], header["typ"], header["kid"]) == ("ES256", "JWT", KEY)
    assert header["nonce"]
    assert claims == {"sub": KEY, "iss": "cdp", "nbf": WALL // 1000, "exp": WALL // 1000 + 120}
    (heartbeats,) = sent(adapter.received(active(user=["p"]), at(1)))
    assert heartbeats["channel"] == "heartbeats"
    assert heartbeats["jwt"] != user["jwt"]
    assert verify_es256(heartbeats["jwt"])[1]["nbf"] == WALL // 1000 + 1
    assert of(Live, adapter.received(active(user=["p"], heartbeats=["heartbeats"]), at(1))) == [Live("u1")]


@pytest.mark.parametrize("secret", [PEM.replace("\n", "\\n"), PEM.replace("\n", " "), PEM + "\n\n"])
def test_a_pem_that_lost_its_line_breaks_still_signs(secret: str) -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(secret=secret), NOW)
    assert of(Connect, adapter.start(NOW))
    verify_es256(sent(adapter.connected(NOW))[0]["jwt"])


@pytest.mark.parametrize("length", [32, 64])
def test_an_ed25519_key_signs_with_eddsa(length: int) -> None:
    private = Ed25519PrivateKey.generate()
    raw = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    adapter = VENUE.user(setup())
    adapter.add(account(secret=base64.b64encode(raw[:length]).decode(), keys_type=None), NOW)
    assert of(Connect, adapter.start(NOW))
    header, _, signed, signature = token_parts(sent(adapter.connected(NOW))[0]["jwt"])
    assert header["alg"] == "EdDSA"
    private.public_key().verify(signature, signed.encode())


@pytest.mark.parametrize("keys_type", ["legacy", None])
def test_a_legacy_key_signs_with_hmac(keys_type: str | None) -> None:
    adapter = VENUE.user(setup())
    subscription = account(Resume(since_ms=WALL - 1000), secret="abcdefgh", keys_type=keys_type, key="K1")
    adapter.add(subscription, NOW)
    assert of(Connect, adapter.start(NOW))
    (user,) = sent(adapter.connected(NOW))
    seconds = str(WALL // 1000)
    expected = hmac_hex("abcdefgh", f"{seconds}user")
    assert (user["api_key"], user["timestamp"], user["signature"]) == ("K1", seconds, expected)
    assert "jwt" not in user
    adapter.received(active(user=["p"]), NOW)
    calls = of(Call, adapter.received(active(user=["p"], heartbeats=["h"]), NOW))
    path = "/api/v3/brokerage/accounts"
    expected = hmac_hex("abcdefgh", f"{seconds}GET{path}")
    assert {call.headers["CB-ACCESS-SIGN"] for call in calls if call.tag == "accounts"} == {expected}


def test_rest_tokens_name_the_method_and_path_without_the_query() -> None:
    _, outputs = joined(account(Resume(since_ms=WALL - 60_000)))
    for call in of(Call, outputs):
        _, claims = verify_es256(call.headers["Authorization"].removeprefix("Bearer "))
        assert claims["uri"] == f"GET api.coinbase.com{urlsplit(call.url).path}"


@pytest.mark.parametrize("secret", ["", "-----BEGIN EC PRIVATE KEY-----\nxx\n-----END EC PRIVATE KEY-----", "AAAA"])
def test_a_key_that_cannot_sign_is_refused_before_anything_is_sent(secret: str) -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(secret=secret), NOW)
    (fail,) = adapter.start(NOW)
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")


def refused() -> tuple[Adapter, Call]:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    outputs = adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW)
    (time,) = of(Call, outputs)
    assert not time.headers
    return adapter, time


def test_an_authentication_failure_is_fatal_when_the_clock_is_right() -> None:
    adapter, time = refused()
    (fail,) = of(Fail, adapter.answered(time, json_answer({"epochMillis": str(WALL + 300)}), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "u1")


def test_an_authentication_failure_of_a_skewed_clock_signs_again_with_the_venues_time() -> None:
    adapter, time = refused()
    outputs = adapter.answered(time, json_answer({"epochMillis": str(WALL + 90_000)}), NOW)
    assert of(ClockOffset, outputs) == [ClockOffset(90_000)]
    (again,) = sent(outputs)
    assert verify_es256(again["jwt"])[1]["nbf"] == WALL // 1000 + 90
    (fail,) = adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW)
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.CREDENTIAL


def test_a_clock_that_is_known_to_be_wrong_by_the_answer_that_tells_it_condemns_no_key() -> None:
    """The engine reads the answer's date first, so the next stamp is right: that of the refused token was not."""
    offsets = [0]
    adapter = VENUE.user(msgspec.structs.replace(setup(), clock_offset_ms=lambda: offsets[-1]))
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    (time,) = of(Call, adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW))
    offsets.append(-120_000)
    later = Instant(NOW.mono + 0.2, WALL + 200)
    outputs = adapter.answered(time, json_answer({"epochMillis": str(WALL - 119_800)}), later)
    assert not of(Fail, outputs)
    (again,) = sent(outputs)
    assert verify_es256(again["jwt"])[1]["nbf"] == (WALL - 119_800) // 1000


def test_an_authentication_failure_is_fatal_when_the_clock_cannot_be_read() -> None:
    adapter, _ = refused()
    deadline = adapter.deadline()
    assert deadline is not None
    (fail,) = of(Fail, adapter.woken(Instant(deadline, WALL + 6000)))
    assert fail.kind is FailKind.CREDENTIAL


def test_a_key_of_the_wrong_kind_gets_its_own_notice() -> None:
    adapter, _ = joined(account())
    text = "SIWC API with Cloud API keys are not supported"
    (fail,) = of(Fail, adapter.received(frame({"type": "error", "message": text}), NOW))
    assert fail.kind is FailKind.KEY_TYPE


# --- the connection ---


def test_no_answer_to_a_subscribe_ends_the_connection() -> None:
    adapter = VENUE.user(setup())
    adapter.add(account(), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    assert adapter.deadline() == NOW.mono + 10
    assert of(Fail, adapter.woken(at(10)))[0].kind is FailKind.TRANSIENT


def test_15_s_without_a_heartbeat_is_death_whatever_else_arrives() -> None:
    adapter, _ = joined(account())
    beat = message("heartbeats", {"heartbeat_counter": "3049"})
    assert adapter.received(beat, at(5)) == [Seen("u1")]
    adapter.received(message("user", {"type": "update"}), at(19))
    assert adapter.deadline() == NOW.mono + 20
    (fail,) = of(Fail, adapter.woken(at(20)))
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_a_gap_in_the_sequence_publishes_its_frame_and_ends_the_connection() -> None:
    adapter, _ = joined(account())
    adapter.received(message("heartbeats", {}, sequence=7), NOW)
    event = {"type": "update", "orders": [order("a")]}
    outputs = adapter.received(message("user", event, sequence=9), NOW)
    assert [type(output) for output in outputs] == [Emit, Fail]
    (fail,) = of(Fail, outputs)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_a_frame_with_an_old_sequence_number_is_ignored() -> None:
    adapter, _ = joined(account())
    adapter.received(message("heartbeats", {}, sequence=7), NOW)
    assert not of(Emit, adapter.received(message("user", {"type": "update", "orders": [order("a")]}, sequence=6), NOW))
    assert not of(Fail, adapter.received(message("heartbeats", {}, sequence=8), NOW))


def test_a_rate_limit_waits() -> None:
    adapter, _ = joined(account())
    (fail,) = adapter.received(frame({"type": "error", "message": "rate limit exceeded"}), NOW)
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.RATE_LIMITED
    assert fail.retry_after_s == 10


# --- orders ---


def test_a_snapshot_publishes_nothing_and_is_remembered() -> None:
    adapter, _ = joined(account())
    snapshot = {"type": "snapshot", "orders": [order("a", cumulative_quantity="0.5", leaves_quantity="1.5")]}
    assert not of(Emit, adapter.received(message("user", snapshot), NOW))
    canceled = order("a", "CANCELLED", cumulative_quantity="0.5", leaves_quantity="0", limit_price="")
    (emit,) = of(Emit, adapter.received(message("user", {"type": "update", "orders": [canceled]}), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.quantity, emit.event.price) == ("CANCELED", "2", "100")


def test_a_page_without_orders_is_nothing_special() -> None:
    adapter, _ = joined(account())
    assert not of(Note, adapter.received(message("user", {"type": "snapshot", "orders": None}), NOW))


def test_a_status_that_no_page_lists_is_asked_for_and_not_guessed() -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(message("user", {"type": "update", "orders": [order("a", "MELTED")]}), NOW)
    assert not of(Emit, outputs)
    assert [note.level for note in of(Note, outputs)] == ["error"]
    (call,) = of(Call, outputs)
    assert urlsplit(call.url).path == "/api/v3/brokerage/orders/historical/a"
    filled = rest_order("a", "FILLED", filled_size="2", average_filled_price="99", filled_value="198")
    (emit,) = of(Emit, adapter.answered(call, json_answer({"order": filled}), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.order_status, emit.event.total_trade_quantity) == ("FILLED", "2")


def test_a_futures_order_of_the_account_is_not_told_on_the_spot_stream() -> None:
    adapter, outputs = joined(account(Resume(since_ms=WALL - 60_000)))
    drive(adapter, outputs, {"fills": [{"fills": [{"order_id": "f"}]}], "order": [{"order": FUTURE}]})
    live = order("f", product_id="BIT-28NOV26-CDE", product_type="FUTURE")
    outputs = adapter.received(message("user", {"type": "update", "orders": [live, order("s")]}), NOW)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["s"]


def test_a_side_that_no_page_lists_is_not_guessed() -> None:
    adapter, _ = joined(account())
    odd = order("a", order_side="UNKNOWN_ORDER_SIDE")
    outputs = adapter.received(message("user", {"type": "update", "orders": [odd, order("b")]}), NOW)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["b"]
    assert of(Note, outputs)


def test_an_order_that_cannot_be_read_costs_only_itself() -> None:
    adapter, _ = joined(account())
    outputs = adapter.received(message("user", {"type": "update", "orders": [{"order_id": 5}, order("b")]}), NOW)
    assert [emit.event.order_id for emit in of(Emit, outputs) if isinstance(emit.event, ExecutionReport)] == ["b"]


def test_fees_are_in_quote_and_absent_while_nothing_was_paid() -> None:
    adapter, _ = joined(account())
    sums = {"cumulative_quantity": "2", "leaves_quantity": "0", "filled_value": "200", "total_fees": "0.5"}
    paid = order("a", "FILLED", **sums)
    events = {"type": "update", "orders": [order("b", total_fees="0"), paid]}
    emits = of(Emit, adapter.received(message("user", events), NOW))
    bodies = [json.loads(encode(emit.event)) for emit in emits]
    assert [(body.get("feePaid"), body.get("feeSide")) for body in bodies] == [(None, None), ("0.5", "quote")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-18T09:15:27.611999999Z", 1_794_993_327_611),
        ("2026-11-18T09:15:27Z", 1_794_993_327_000),
        ("2026-11-18T09:15:27.6Z", 1_794_993_327_600),
        ("2026-11-18T10:15:27.6+01:00", 1_794_993_327_600),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
        ("2026-13-40T09:15:27Z", 0),
    ],
)
def test_timestamps_are_cut_to_milliseconds(text: str, expected: int) -> None:
    assert milliseconds(text) == expected


def test_a_time_written_out_reads_back() -> None:
    assert milliseconds(rfc3339(WALL + 7)) == WALL + 7


# --- gap repair ---

KNOWN = KnownOrder(order_id="old", client_order_id="D-old", symbol="BTC-USD", status="NEW", quantity="2", price="100")
RESUME = Resume(since_ms=WALL - 60_000, orders=(KNOWN,))


def drive(
    adapter: Adapter, outputs: Outputs, replies: Mapping[str, Sequence[object]], now: Instant = NOW
) -> tuple[list[Output], list[Call]]:
    return answer_all(adapter, outputs, replies, lambda given: json_answer({} if given is None else given), now)


def test_a_gap_is_read_in_steps_and_published_in_order_before_live() -> None:
    adapter, outputs = joined(account(RESUME))
    assert not of(Live, outputs)
    live = {"type": "update", "orders": [order("new")]}
    assert not of(Emit, adapter.received(message("user", live), NOW))
    filled = {"filled_size": "2", "average_filled_price": "99", "filled_value": "198", "total_fees": "1"}
    when = {"last_fill_time": rfc3339(WALL - 30_000)}
    rest, calls = drive(
        adapter,
        outputs,
        {
            "open-orders": [{"orders": [rest_order("open")], "has_next": False, "cursor": "x"}],
            "changed-orders": [{"orders": [rest_order("done", "FILLED", **filled, **when), rest_order("open")]}],
            "fills": [{"fills": [{"order_id": "fill"}, {"order_id": "done"}], "cursor": ""}],
            "order": [{"order": rest_order("fill", "FILLED", **filled)}, {"order": rest_order("old", "CANCELLED")}],
            "accounts": [
                {"accounts": [{"currency": "BTC", "available_balance": {"value": "1"}, "hold": {"value": "0.5"}}]}
            ],
        },
    )
    emits = of(Emit, rest)
    ids = [emit.event.order_id if isinstance(emit.event, ExecutionReport) else "balances" for emit in emits]
    assert ids == ["open", "fill", "done", "old", "balances", "new"]
    assert [emit.repaired for emit in emits] == [True] * 5 + [False]
    assert [urlsplit(call.url).path.rpartition("/")[2] for call in calls if call.tag == "order"] == ["fill", "old"]
    by_id = {e.event.order_id: e.event for e in emits if isinstance(e.event, ExecutionReport)}
    done, canceled = by_id["done"], by_id["old"]
    assert (done.price, done.quantity, done.total_trade_quantity, done.total_quote_trade_quantity) == (
        "99",
        "2",
        "2",
        "198",
    )
    assert (done.fee_paid, done.fee_side) == ("1", "quote")
    assert done.order_time == WALL - 30_000
    assert (canceled.order_status, canceled.order_time, canceled.price) == ("CANCELED", WALL, "100")
    position = emits[4].event
    assert isinstance(position, AccountPosition)
    assert [(b.asset, b.free, b.locked) for b in position.balances] == [("BTC", "1", "0.5")]
    assert position.last_account_update == WALL
    (went_live,) = of(Live, rest)
    assert rest[-1] is went_live
    assert went_live.gap is not None
    assert (went_live.gap.orders, went_live.gap.balances, went_live.gap.missing) == (4, 1, ())


FUTURE = rest_order("f", "FILLED", product_type="FUTURE", product_id="BIT-28NOV26-CDE")


def test_an_odd_row_of_a_gap_costs_itself_and_is_named() -> None:
    adapter, outputs = joined(account(Resume(since_ms=WALL - 60_000)))
    odd = {"order_id": None}
    rest, _ = drive(
        adapter,
        outputs,
        {
            "open-orders": [{"orders": [odd, rest_order("open")]}],
            "fills": [{"fills": [odd, {"order_id": "fill"}]}],
            "order": [{"order": rest_order("fill", "CANCELLED")}],
            "accounts": [{"accounts": [{"currency": None}, {"currency": "BTC", "available_balance": {"value": None}}]}],
        },
    )
    told = [emit.event.order_id for emit in of(Emit, rest) if isinstance(emit.event, ExecutionReport)]
    assert sorted(map(str, told)) == ["fill", "open"]
    (position,) = [emit.event for emit in of(Emit, rest) if isinstance(emit.event, AccountPosition)]
    assert [(balance.asset, balance.free) for balance in position.balances] == [("BTC", "0")]
    (live,) = of(Live, rest)
    assert live.gap is not None
    assert sum("can't be read" in phrase for phrase in live.gap.missing) == 3


def test_a_limit_order_that_was_sized_in_quote_has_its_size_while_it_waits() -> None:
    adapter, outputs = joined(account(Resume(since_ms=WALL - 60_000)))
    sizes = {"limit_limit_gtc": {"quote_size": "300", "limit_price": "100"}}
    rest, _ = drive(adapter, outputs, {"open-orders": [{"orders": [rest_order("q", order_configuration=sizes)]}]})
    (report,) = [emit.event for emit in of(Emit, rest) if isinstance(emit.event, ExecutionReport)]
    assert (report.order_status, report.quantity, report.price) == ("NEW", "3", "100")


def test_every_page_is_read() -> None:
    adapter, outputs = joined(account(Resume(since_ms=WALL - 1000)))
    _, calls = drive(
        adapter,
        outputs,
        {
            "open-orders": [{"orders": [rest_order("a")], "has_next": True, "cursor": "c1"}, {"orders": []}],
            "fills": [{"fills": [{"order_id": "a"}], "cursor": "f1"}, {"fills": [], "cursor": "f1"}],
            "accounts": [
                {"accounts": [{"currency": "BTC"}], "has_next": True, "cursor": "a1"},
                {"accounts": [{"currency": "ETH"}], "has_next": False, "cursor": "a2"},
            ],
        },
    )
    cursors = {
        tag: [params(call).get("cursor") for call in calls if call.tag == tag]
        for tag in ("open-orders", "fills", "accounts")
    }
    assert cursors == {"open-orders": [None, "c1"], "fills": [None, "f1"], "accounts": [None, "a1"]}


def test_a_401_is_tried_once_more_with_a_fresh_token_and_then_told() -> None:
    adapter, outputs = joined(account(Resume(since_ms=WALL - 1000)))
    unauthorised = Answer(401, {}, b"Unauthorized")
    rest, _ = drive(adapter, outputs, {"accounts": [unauthorised]})
    assert not of(Live, rest)
    (again,) = of(Call, adapter.woken(at(1)))
    assert again.attempt == 2
    assert verify_es256(again.headers["Authorization"].removeprefix("Bearer "))[1]["nbf"] == WALL // 1000 + 1
    (live,) = of(Live, adapter.answered(again, unauthorised, at(1)))
    assert live.gap is not None
    assert any("accounts" in phrase for phrase in live.gap.missing)


def test_an_order_that_the_venue_does_not_know_is_reported() -> None:
    adapter, outputs = joined(account(RESUME))
    rest, _ = drive(adapter, outputs, {"order": [Answer(404, {}, frame({"error": "NOT_FOUND"}))]})
    (live,) = of(Live, rest)
    assert live.gap is not None
    assert live.gap.missing == ("order old: HTTP 404 NOT_FOUND",)


def test_the_size_of_an_order_known_before_the_gap_survives_it() -> None:
    adapter, outputs = joined(account(RESUME))
    drive(adapter, outputs, {"order": [{"order": rest_order("old", order_configuration=None)}]})
    canceled = order("old", "CANCELLED", leaves_quantity="0", limit_price="")
    (emit,) = of(Emit, adapter.received(message("user", {"type": "update", "orders": [canceled]}), NOW))
    assert isinstance(emit.event, ExecutionReport)
    assert (emit.event.quantity, emit.event.price) == ("2", "100")


# --- tickers ---


def product(name: str, *, alias: str = "", online: bool = True) -> Instrument:
    return Instrument(wire=name, pair=name, active=online, extra={"alias": alias} if alias else {})


TABLE = SymbolTable(
    [
        product("BTC-USD"),
        product("BTC-USDC", alias="BTC-USD"),
        product("USDT-USD"),
        product("USDT-USDC"),
        product("OLD-USD", online=False),
    ]
)


def test_one_connection_carries_every_product_with_a_feed_of_its_own() -> None:
    assert VENUE.ticker_shards("coinbase", TABLE) == [("BTC-USD", "USDT-USD", "USDT-USDC")]
    assert VENUE.ticker_shards("coinbase", EMPTY) == []


def test_products_go_out_a_hundred_a_frame_one_frame_at_a_time() -> None:
    adapter = VENUE.ticker(setup())
    names = tuple(f"P{n}-USD" for n in range(250))
    adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase", symbols=names), NOW)
    assert adapter.start(NOW) == [Connect("wss://advanced-trade-ws.coinbase.com")]
    outputs: Outputs = adapter.connected(NOW)
    sizes: list[int] = []
    for _ in range(4):
        (request,) = sent(outputs)
        assert "jwt" not in request
        sizes.append(len(request.get("product_ids", [])))
        channel = request["channel"]
        outputs = adapter.received(active(**{channel: request.get("product_ids", ["x"])}), NOW)
    assert sizes == [100, 100, 50, 0]
    assert of(Live, outputs) == [Live("t1")]


def test_market_data_is_signed_with_the_deployments_key_and_goes_on_without_it() -> None:
    options = {"COINBASE_API_KEY": KEY, "COINBASE_API_SECRET": PEM}
    adapter = VENUE.ticker(setup(EMPTY, **options))
    adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase", symbols=("BTC-USD",)), NOW)
    adapter.start(NOW)
    (request,) = sent(adapter.connected(NOW))
    verify_es256(request["jwt"])
    outputs = adapter.received(frame({"type": "error", "message": "authentication failure"}), NOW)
    (again,) = sent(outputs)
    assert not of(Fail, outputs)
    assert (again["product_ids"], "jwt" in again) == (["BTC-USD"], False)


def test_an_unknown_product_is_dropped_and_the_rest_asked_again() -> None:
    adapter = VENUE.ticker(setup())
    symbols = ("BTC-USD", "NO-USD", "ETH-USD")
    adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase", symbols=symbols), NOW)
    adapter.start(NOW)
    adapter.connected(NOW)
    outputs = adapter.received(frame({"type": "error", "message": "unknown product NO-USD"}), NOW)
    (again,) = sent(outputs)
    assert again["product_ids"] == ["BTC-USD", "ETH-USD"]


def test_a_twin_is_published_unless_the_product_has_a_book_of_its_own() -> None:
    adapter = VENUE.ticker(setup(TABLE))
    adapter.add(TickerSubscription(stream_id="t1", exchange="coinbase"), NOW)
    rows = [
        {"product_id": "BTC-USD", "price": "10", "volume_24_h": "5"},
        {"product_id": "USDT-USD", "price": "1", "volume_24_h": "6"},
        {"product_id": "", "price": "", "volume_24_h": ""},
        {"product_id": "ETH-USD", "price": "0", "volume_24_h": "6"},
    ]
    (emit,) = of(EmitTickers, adapter.received(message("ticker_batch", {"type": "update", "tickers": rows}), NOW))
    assert [ticker.symbol for ticker in emit.tickers] == ["BTC-USD", "USDT-USD", "BTC-USDC"]
    assert {(t.price, t.best_ask, t.best_bid, t.best_ask_qnt, t.volume) for t in emit.tickers if "BTC" in t.symbol} == {
        (10.0, 10.0, 10.0, 5.0, 5.0)
    }


# --- candles ---

FIVE = 5 * MINUTE_MS


def candle(stream_id: str, interval: str, resume: int | None = None, symbol: str = "BTC-USD") -> CandleSubscription:
    return CandleSubscription(
        stream_id=stream_id, exchange="coinbase", symbol=symbol, interval=interval, resume_start_ms=resume
    )


def bucket(start_ms: int, close: str = "2", high: str = "4", volume: str = "1") -> dict[str, str]:
    return {
        "start": str(start_ms // 1000),
        "open": "1",
        "high": high,
        "low": "0.5",
        "close": close,
        "volume": volume,
        "product_id": "BTC-USD",
    }


def moved(*buckets: dict[str, str], kind: str = "update") -> bytes:
    return message("candles", {"type": kind, "candles": list(buckets)})


def candle_adapter(*subscriptions: CandleSubscription, now: Instant = NOW) -> tuple[Adapter, list[Output]]:
    adapter = VENUE.candle(setup())
    for subscription in subscriptions:
        adapter.add(subscription, now)
    adapter.start(now)
    (request,) = sent(adapter.connected(now))
    assert (request["channel"], request["product_ids"]) == ("candles", ["BTC-USD"])
    return adapter, list(adapter.received(active(candles=["BTC-USD"]), now))


def test_a_five_minute_candle_closes_when_a_later_bucket_arrives() -> None:
    adapter, outputs = candle_adapter(candle("c1", "5m"))
    assert of(Live, outputs) == [Live("c1")]
    assert adapter.received(moved(bucket(WALL - FIVE), bucket(WALL), kind="snapshot"), NOW) == [Seen("c1")]
    assert adapter.received(moved(bucket(WALL, "3")), at(10)) == [Seen("c1")]
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(WALL + FIVE), bucket(WALL, "3.5")), at(301)))
    assert (emit.candle.start, emit.candle.close, emit.interval) == (WALL, "3.5", "5m")
    assert not of(EmitCandle, adapter.received(moved(bucket(WALL, "9")), at(302)))


def test_an_odd_bucket_costs_itself_and_one_of_the_future_silences_none_of_today() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    adapter.received(moved(bucket(WALL), kind="snapshot"), NOW)
    odd = [{**bucket(WALL), "open": None}, bucket(WALL, close="0"), bucket(WALL, close=""), bucket(WALL * 1000)]
    outputs = adapter.received(moved(*odd, bucket(WALL, "3")), at(10))  # type: ignore[arg-type]
    assert len(of(Note, outputs)) == 2
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(WALL + FIVE)), at(301)))
    assert (emit.candle.start, emit.candle.close) == (WALL, "3")


def test_a_bucket_without_a_successor_closes_by_the_clock() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), NOW)
    adapter.received(moved(bucket(WALL)), NOW)
    for second in range(0, 310, 10):
        adapter.received(message("heartbeats", {}), at(second))
    assert not of(EmitCandle, adapter.woken(at(309)))
    (emit,) = of(EmitCandle, adapter.woken(at(310)))
    assert emit.candle.start == WALL
    assert not of(EmitCandle, adapter.received(moved(bucket(WALL, "9"), bucket(WALL + FIVE)), at(311)))


def test_a_quarter_is_built_from_closed_buckets_and_the_begun_part_read_over_rest() -> None:
    quarter = floor(WALL, 3 * FIVE)
    now = Instant(NOW.mono, quarter + 2 * FIVE + 1000)
    adapter, outputs = candle_adapter(candle("c1", "15m"), now=now)
    (call,) = of(Call, outputs)
    query = params(call)
    assert query == {
        "start": str(quarter // 1000),
        "end": str((quarter + 2 * FIVE) // 1000),
        "granularity": "FIVE_MINUTE",
    }
    assert urlsplit(call.url).path == "/api/v3/brokerage/market/products/BTC-USD/candles"
    body = frame({"candles": [bucket(quarter + FIVE, high="7", volume="2"), bucket(quarter, volume="0.1")]})
    assert of(Live, adapter.answered(call, Answer(200, {}, body), now)) == [Live("c1")]
    adapter.received(moved(bucket(quarter + 2 * FIVE, "2.5", volume="0.2")), now)
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(quarter + 3 * FIVE)), now))
    value = emit.candle
    assert (value.start, value.open, value.high, value.low, value.close, value.volume) == (
        quarter,
        "1",
        "7",
        "0.5",
        "2.5",
        "2.3",
    )


def test_a_period_whose_beginning_could_not_be_read_is_not_published() -> None:
    quarter = floor(WALL, 3 * FIVE)
    now = Instant(NOW.mono, quarter + FIVE + 1000)

    def at(buckets: int) -> Instant:
        return Instant(NOW.mono, quarter + buckets * FIVE + 1000)

    adapter, outputs = candle_adapter(candle("c1", "15m"), now=now)
    (call,) = of(Call, outputs)
    assert of(Live, adapter.answered(call, Answer(500, {}, b""), now))
    adapter.received(moved(bucket(quarter + 2 * FIVE)), at(2))
    assert not of(EmitCandle, adapter.received(moved(bucket(quarter + 3 * FIVE)), at(3)))
    adapter.received(moved(bucket(quarter + 4 * FIVE)), at(4))
    adapter.received(moved(bucket(quarter + 5 * FIVE)), at(5))
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(quarter + 6 * FIVE)), at(6)))
    assert emit.candle.start == quarter + 3 * FIVE


def test_candles_missed_during_a_reconnect_are_read_over_rest_before_live_ones() -> None:
    adapter, outputs = candle_adapter(candle("c1", "5m", WALL - 4 * FIVE), now=at(5))
    (call,) = of(Call, outputs)
    assert params(call)["granularity"] == "FIVE_MINUTE"
    rows = frame({"candles": [bucket(WALL - n * FIVE) for n in range(4)]})
    outputs = list(adapter.answered(call, Answer(200, {}, rows), at(6)))
    starts = [(emit.candle.start - WALL) // FIVE for emit in of(EmitCandle, outputs)]
    assert starts == [-3, -2, -1]
    (live,) = of(Live, outputs)
    assert live.gap is not None
    assert live.gap.candles == 3


def test_a_four_hour_gap_is_read_in_two_hour_buckets_and_the_running_one_in_five_minutes() -> None:
    four = INTERVALS["4h"]
    start = floor(WALL, four)
    now = Instant(NOW.mono, start + 3 * 60 * MINUTE_MS + 2 * FIVE)
    _, outputs = candle_adapter(candle("c1", "4h", start - 2 * four), now=now)
    asked = [params(call) for call in of(Call, outputs)]
    assert [(query["granularity"], int(query["start"]) * 1000) for query in asked] == [
        ("TWO_HOUR", start - four),
        ("FIVE_MINUTE", start + 2 * 60 * MINUTE_MS),
    ]


def test_minute_candles_are_read_over_rest_after_each_minute_with_trades() -> None:
    adapter, outputs = candle_adapter(candle("c1", "1m"))
    assert of(Live, outputs)
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), NOW)
    adapter.received(moved(bucket(WALL)), at(30))
    for second in range(0, 60, 10):
        adapter.received(message("heartbeats", {}), at(second))
    (call,) = of(Call, adapter.woken(at(63)))
    query = params(call)
    assert (query["granularity"], query["start"]) == ("ONE_MINUTE", str(WALL // 1000))
    rows = frame({"candles": [bucket(WALL + MINUTE_MS), bucket(WALL)]})
    (emit,) = of(EmitCandle, adapter.answered(call, Answer(200, {}, rows), at(64)))
    assert emit.candle.start == WALL
    adapter.received(message("heartbeats", {}), at(122))
    assert not of(Call, adapter.woken(at(123)))  # no trades since


def test_an_alias_is_read_from_the_product_whose_book_it_shares() -> None:
    adapter = VENUE.candle(setup(TABLE))
    adapter.add(candle("c1", "5m", symbol="BTC-USDC"), NOW)
    (request,) = sent(adapter.connected(NOW))
    assert request["product_ids"] == ["BTC-USD"]
    adapter.received(active(candles=["BTC-USD"]), NOW)
    adapter.received(moved(bucket(WALL)), NOW)
    (emit,) = of(EmitCandle, adapter.received(moved(bucket(WALL + FIVE)), NOW))
    assert emit.symbol == "BTC-USDC"


def test_candles_are_added_and_removed_while_connected() -> None:
    adapter, _ = candle_adapter(candle("c1", "5m"))
    adapter.received(active(candles=["BTC-USD"], heartbeats=["h"]), NOW)
    assert of(Live, adapter.add(candle("c2", "5m"), NOW)) == [Live("c2")]
    assert not sent(adapter.remove("c1", NOW))
    (leave,) = sent(adapter.remove("c2", NOW))
    assert (leave["type"], leave["product_ids"]) == ("unsubscribe", ["BTC-USD"])


def test_periods_are_aligned_to_utc_and_weeks_to_monday() -> None:
    assert floor(4 * DAY_MS, WEEK_MS) == 4 * DAY_MS
    assert floor(4 * DAY_MS - 1, WEEK_MS) == -3 * DAY_MS
    assert floor(WALL, DAY_MS) % DAY_MS == 0


@pytest.mark.parametrize("interval", ["60", "1min", "FIVE_MINUTE", "6h", "", "1M"])
def test_intervals_that_cannot_be_served_are_refused_in_one_sentence(interval: str) -> None:
    refusal = VENUE.candle_refusal("coinbase", "BTC-USD", interval, EMPTY)
    assert refusal is not None
    assert repr(interval) in refusal
    assert "\n" not in refusal


def test_an_unknown_symbol_is_refused_once_the_table_is_there() -> None:
    assert VENUE.candle_refusal("coinbase", "BTC-USD", "1h", TABLE) is None
    assert VENUE.candle_refusal("coinbase", "BTCUSD", "1h", EMPTY) is None
    assert "BTCUSD" in str(VENUE.candle_refusal("coinbase", "BTCUSD", "1h", TABLE))


# --- instruments ---


def test_full_pages_of_products_are_followed() -> None:
    loader = VENUE.instruments("coinbase", {})
    (first,) = loader.start()
    rows = [{"product_id": f"P{n}-USD", "status": "online", "product_type": "SPOT"} for n in range(1000)]
    (second,) = loader.answered(first, json_answer({"products": rows}))
    assert params(second)["offset"] == "1000"
    last = [
        {"product_id": "A-USD", "status": "online", "alias": "A-USDC"},
        {"product_id": "B-USD", "status": "delisted"},
        {"product_id": "C-USD", "status": "online", "trading_disabled": True},
        {"product_id": "F-PERP", "status": "online", "product_type": "FUTURE"},
    ]
    assert not loader.answered(second, json_answer({"products": last}))
    found = loader.result()
    assert found is not None
    assert len(found) == 1003
    assert {i.wire: (i.active, dict(i.extra)) for i in found if len(i.wire) == 5 and i.wire[0] in "ABC"} == {
        "A-USD": (True, {"alias": "A-USDC"}),
        "B-USD": (False, {}),
        "C-USD": (False, {}),
    }


def test_an_odd_product_costs_only_itself() -> None:
    loader = VENUE.instruments("coinbase", {})
    odd = [{"product_id": None}, {"status": "online"}, "x", {"product_id": "N-USD", "alias": None, "view_only": None}]
    loader.answered(loader.start()[0], json_answer({"products": [*odd, {"product_id": "B-USD", "status": "online"}]}))
    assert [instrument.wire for instrument in loader.result() or ()] == ["N-USD", "B-USD"]


def test_an_unusable_product_list_gives_no_result() -> None:
    for reply in (Answer(0, {}, b"", "timed out"), Answer(429, {}, b"{}"), Answer(200, {}, b"<html>")):
        loader = VENUE.instruments("coinbase", {})
        loader.answered(loader.start()[0], reply)
        assert loader.result() is None


@pytest.mark.parametrize("feed", ["user", "ticker", "candle"])
@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"channel":5}', b"null", b"{}"]
)
def test_garbage_costs_only_itself(feed: Feed, garbage: bytes) -> None:
    adapter, _ = VENUE.replay("coinbase", feed, {})
    outputs = adapter.received(garbage, NOW)
    assert all(isinstance(output, Note) for output in outputs)
