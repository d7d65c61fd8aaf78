"""The paper-trading feed: URL, handshake, heartbeat, refusals, numbers."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges._adapter import (
    Answer,
    Call,
    Connect,
    Emit,
    Fail,
    FailKind,
    Instant,
    Live,
    Note,
    Output,
    Resume,
    Send,
    UserSubscription,
)
from exchanges.credentials import credentials
from exchanges.events import ExecutionReport
from exchanges.ids import PAPER_TO_REAL
from exchanges.instruments import SymbolTable
from exchanges.paper import VENUE, url
from exchanges.paper._user import FIRST_RETRY_S, MAX_RETRY_S, SILENCE_S, STEP_S, UserAdapter
from tests.unit.exchanges.driver import after, of, setup

NOW = Instant(1000.0, 1_795_000_000_000)
later = partial(after, NOW)
OPEN = b'0{"sid":"a1","upgrades":[],"pingInterval":60000,"pingTimeout":120000,"maxPayload":1000000}'
ORDERS_OK = b'42["order",{"type":"info","info":"subscribed"}]'
BALANCES_OK = b'42["outboundAccountInfo",{"type":"info","info":"subscribed"}]'
UNKNOWN = b'42["order",{"type":"error","error":"User not found"}]'


def made(exchange: str = "paperBinance", resume: Resume | None = None, **options: str) -> UserAdapter:
    adapter = VENUE.user(setup(exchange, **options))
    assert isinstance(adapter, UserAdapter)
    account = credentials("pk1", "ps1")
    adapter.add(UserSubscription(stream_id="s", exchange=exchange, credentials=account, resume=resume), NOW)
    return adapter


def running(exchange: str = "paperBinance", **fields: Any) -> UserAdapter:
    adapter = made(exchange, **fields)
    adapter.start(NOW)
    adapter.connected(NOW)
    for frame in (OPEN, b'40{"sid":"b2"}', ORDERS_OK, BALANCES_OK):
        adapter.received(frame, NOW)
    return adapter


def sent(outputs: list[Output]) -> list[str]:
    return [send.text for send in of(Send, outputs)]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, "ws://localhost:7506"),
        ("", "ws://localhost:7506"),
        ("localhost:7506", "ws://localhost:7506"),
        ("ws://paper-trading", "ws://paper-trading"),
        ("http://paper-trading:80/", "ws://paper-trading:80"),
        ("https://paper.example", "wss://paper.example"),
        ("wss://paper.example:8443/", "wss://paper.example:8443"),
        ("ws://http://paper-trading", "ws://paper-trading"),
        ("ws://ws://paper-trading:7506", "ws://paper-trading:7506"),
        ("HTTPS://paper.example", "wss://paper.example"),
        ("  paper:1 ", "ws://paper:1"),
    ],
)
def test_any_spelling_of_the_option_gives_one_scheme(option: str | None, expected: str) -> None:
    assert url(option) == f"{expected}/socket.io/?EIO=4&transport=websocket"


def test_the_option_reaches_the_connect() -> None:
    (connect,) = made(PAPER_WS="http://paper-trading").start(NOW)
    assert connect == Connect("ws://paper-trading/socket.io/?EIO=4&transport=websocket")


def test_every_paper_id_is_served() -> None:
    assert set(VENUE.exchanges) == set(PAPER_TO_REAL)


def test_the_handshake_subscribes_both_feeds_and_both_confirm() -> None:
    adapter = made()
    adapter.start(NOW)
    assert adapter.connected(NOW) == []
    assert sent(adapter.received(OPEN, NOW)) == ["40"]
    assert sent(adapter.received(b'40{"sid":"b2"}', NOW)) == [
        '42["subscribeOrder",{"key":"pk1","secret":"ps1"}]',
        '42["subscribeOutboundAccountInfo",{"key":"pk1","secret":"ps1"}]',
    ]
    assert adapter.received(BALANCES_OK, NOW) == []
    assert adapter.received(ORDERS_OK, NOW) == [Live("s")]
    assert adapter.received(ORDERS_OK, NOW) == []


def test_a_gap_is_told_as_not_repairable() -> None:
    adapter = made(resume=Resume(since_ms=NOW.wall_ms - 5000))
    for frame in (OPEN, b"40{}", ORDERS_OK):
        adapter.received(frame, NOW)
    (live,) = adapter.received(BALANCES_OK, NOW)
    assert isinstance(live, Live)
    assert live.gap is not None
    assert live.gap.missing


def test_heartbeats_are_answered_at_once() -> None:
    assert running().received(b"2", NOW) == [Send("3", urgent=True)]


def test_a_silent_server_is_given_up_after_its_own_interval_and_timeout() -> None:
    adapter = running()
    assert adapter.deadline() == NOW.mono + 180
    adapter.received(b"2", later(60))
    assert adapter.deadline() == NOW.mono + 240
    (fail,) = adapter.woken(later(240))
    assert isinstance(fail, Fail)
    assert fail.kind is FailKind.TRANSIENT


@pytest.mark.parametrize("frames", [[], [OPEN], [OPEN, b"40{}"], [OPEN, b"40{}", ORDERS_OK]])
def test_a_server_that_stops_answering_on_the_way_is_given_up_soon(frames: list[bytes]) -> None:
    adapter = made()
    adapter.connected(NOW)
    for frame in frames:
        adapter.received(frame, NOW)
    due = adapter.deadline()
    assert due is not None
    assert due <= NOW.mono + STEP_S
    assert isinstance(adapter.woken(later(STEP_S))[0], Fail)


@pytest.mark.parametrize("frame", [b"41", b"1", b'44{"message":"no"}'])
def test_a_closed_namespace_means_reconnect(frame: bytes) -> None:
    (fail,) = running().received(frame, NOW)
    assert isinstance(fail, Fail)
    assert (fail.kind, fail.stream_id) == (FailKind.TRANSIENT, None)


def test_an_unknown_account_keeps_its_socket_and_asks_again_ever_more_slowly() -> None:
    adapter = made()
    for frame in (OPEN, b"40{}", BALANCES_OK):
        adapter.received(frame, NOW)
    now, waits, notes = NOW, [], 0
    for _ in range(9):
        outputs = adapter.received(UNKNOWN, now)
        notes += sum(isinstance(output, Note) for output in outputs)
        assert not any(isinstance(output, Fail) for output in outputs)
        adapter.received(b"2", now)
        due = adapter.deadline()
        assert due is not None
        while due - now.mono >= 100:  # the server's heartbeat goes on
            now = Instant(now.mono + 60, now.wall_ms)
            adapter.received(b"2", now)
            due = adapter._channels["order"].retry_at
            assert due is not None
            if due - now.mono < 100:
                break
        waits.append(due)
        now = Instant(due, now.wall_ms)
        assert sent(adapter.woken(now)) == ['42["subscribeOrder",{"key":"pk1","secret":"ps1"}]']
    gaps = [b - a for a, b in zip([NOW.mono, *waits], waits, strict=False)]
    assert gaps[0] == FIRST_RETRY_S
    assert gaps == sorted(gaps)
    assert gaps[-1] == MAX_RETRY_S
    assert notes == 1
    assert adapter.received(ORDERS_OK, now) == [Live("s")]


def test_an_error_on_a_subscribed_feed_is_only_noted() -> None:
    (note,) = running().received(UNKNOWN, NOW)
    assert isinstance(note, Note)


def test_leaving_is_polite() -> None:
    assert sent(running().closing(NOW)) == ["41"]
    adapter = running()
    assert sent(adapter.remove("s", NOW)) == ["41"]
    assert adapter.received(b'42["outboundAccountInfo",{"type":"update","data":{"balance":[]}}]', NOW) == []


def test_markets_have_to_be_asked_for_under_the_real_id() -> None:
    why = VENUE.candle_refusal("paperBinance", "BTCUSDT", "1m", SymbolTable())
    assert why is not None
    assert "binance" in why


@pytest.mark.parametrize("exchange", ["paperBinance", "paperFtx", "paperKrakenUsdm"])
def test_only_orders_of_the_own_exchange_are_told(exchange: str) -> None:
    for real in (PAPER_TO_REAL[exchange], "nobody", exchange):
        outputs = running(exchange).received(push(exchange=real), NOW)
        assert bool(outputs) is (real == PAPER_TO_REAL[exchange])


def push(price: str = "1", amount: str = "2", filled: str = "1", quote: str = "1", exchange: str = "binance") -> bytes:
    return (
        f'42["order",{{"type":"update","data":{{"_id":"a","exchange":"{exchange}","symbol":"BTCUSDT","externalId":"x",'
        f'"status":"NEW","type":"LIMIT","side":"BUY","amount":{amount},"filledAmount":{filled},'
        f'"filledQuoteAmount":{quote},"price":{price},"updatedAt":"2026-11-20T10:00:05.000Z"}}}}]'
    ).encode()


numbers = st.decimals("1e-18", "1e18", places=18)


@settings(max_examples=200, deadline=None)
@given(price=numbers, amount=numbers, filled=numbers, quote=numbers, scientific=st.booleans())
def test_no_digit_is_lost_between_the_frame_and_the_event(
    price: Decimal, amount: Decimal, filled: Decimal, quote: Decimal, scientific: bool
) -> None:
    values = (price, amount, filled, quote)
    texts = [f"{value:E}" if scientific else f"{value:f}" for value in values]
    (emit,) = running().received(push(*texts), NOW)
    assert isinstance(emit, Emit)
    event = emit.event
    assert isinstance(event, ExecutionReport)
    told = (event.price, event.quantity, event.total_trade_quantity, event.total_quote_trade_quantity)
    assert tuple(Decimal(text) for text in told) == values
    assert not any("e" in text.lower() for text in told)


# --- what the server says about its own heartbeat, and what it must not say ---


@pytest.mark.parametrize(
    ("interval", "timeout", "silence_s"),
    [(20_000, 30_000, 50.0), (400, 600, 1.0), (400, 599, SILENCE_S), (3_600_000, 0, 3600.0), (3_600_000, 1, SILENCE_S)],
)
def test_the_server_says_how_long_it_may_be_silent(interval: int, timeout: int, silence_s: float) -> None:
    adapter = made()
    adapter.connected(NOW)
    adapter.received(f'0{{"pingInterval":{interval},"pingTimeout":{timeout}}}'.encode(), NOW)
    adapter.received(b"40", NOW)
    assert adapter._silent_at == NOW.mono + silence_s


def test_an_account_that_was_removed_leaves_its_place_to_another_one() -> None:
    adapter = running()
    assert sent(adapter.remove("s", NOW)) == ["41"]
    assert adapter.received(ORDERS_OK, NOW) == []
    assert adapter.remove("s", NOW) == []
    other = UserSubscription(stream_id="t", exchange="paperBinance", credentials=credentials("pk2", "ps2"))
    assert [text[:2] for text in sent(adapter.add(other, NOW))] == ["42", "42"]
    assert all('"key":"pk2"' in text for text in sent(adapter._subscribe_all(NOW)))


def test_what_can_not_be_understood_is_told_by_its_name() -> None:
    adapter = running()
    for frame, what in (
        (b"47", "unknown message of the paper server"),
        (b"42[", "unreadable event of the paper server"),
        (b"9", "unknown frame of the paper server"),
        (b"0[", "unreadable open frame of the paper server"),
    ):
        assert of(Note, adapter.received(frame, NOW)) == [Note(what)]


def test_a_refused_subscribe_is_asked_again_ever_more_slowly() -> None:
    adapter = made()
    adapter.start(NOW)
    adapter.connected(NOW)
    for frame in (OPEN, b"40"):
        adapter.received(frame, NOW)
    channel = adapter._channels["order"]
    pauses = []
    for _ in range(3):
        channel.answer_by = NOW.mono + 1
        adapter.received(UNKNOWN, NOW)
        assert channel.retry_at is not None
        pauses.append(channel.retry_at - NOW.mono)
    assert pauses == [FIRST_RETRY_S, FIRST_RETRY_S * 2, FIRST_RETRY_S * 4]


def test_a_gap_of_a_paper_account_says_what_is_not_read() -> None:
    adapter = made(resume=Resume(since_ms=5))
    adapter.start(NOW)
    adapter.connected(NOW)
    for frame in (OPEN, b"40", ORDERS_OK):
        adapter.received(frame, NOW)
    (live,) = of(Live, adapter.received(BALANCES_OK, NOW))
    assert live.gap is not None
    phrase = "orders and balances: the paper server tells them only to a key in a URL, which is not sent"
    assert (live.gap.from_ms, live.gap.missing) == (5, (phrase,))


def test_a_paper_account_without_a_key_is_told_so_and_asks_no_rest() -> None:
    adapter = VENUE.user(setup("paperBinance"))
    empty = UserSubscription(stream_id="s", exchange="paperBinance", credentials=credentials("", "x"))
    (fail,) = of(Fail, adapter.add(empty, NOW))
    assert (fail.reason, fail.stream_id) == ("API key or secret is missing", "s")
    assert adapter.answered(Call(tag="t", method="GET", url="https://x"), Answer(200, {}, b""), NOW) == []
