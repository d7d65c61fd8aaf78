"""Futures and Binance.US account streams: the life of a listen key."""

from __future__ import annotations

import pytest

from exchanges._adapter import Answer, Call, Connect, Fail, FailKind, Instant, Live, Note, Rotate
from exchanges.binance._user_listen_key import JITTER_S, REFRESH_S, RETRY_S, VALID_S, ListenKeyUser
from exchanges.events import (
    AccountConfigUpdate,
    AccountUpdate,
    ExecutionReport,
    MarginCall,
    OrderTradeUpdate,
    PositionUpdate,
    UserDataStreamExpired,
)
from tests.unit.exchanges.binance.support import NOW, account, events, later, listen_key, ok, order_row, refused
from tests.unit.exchanges.driver import frame, of, only, params, path

URLS = {
    "binanceUsdm": ("https://fapi.binance.com/fapi/v1/listenKey", "wss://fstream.binance.com/private/ws?listenKey=LK"),
    "binanceCoinm": ("https://dapi.binance.com/dapi/v1/listenKey", "wss://dstream.binance.com/ws/LK"),
    "binanceUS": ("https://api.binance.us/api/v3/userDataStream", "wss://stream.binance.us:9443/ws/LK"),
}


def running(exchange: str = "binanceUsdm") -> ListenKeyUser:
    adapter = listen_key(exchange)
    adapter.add(account("a", exchange), NOW)
    create = only(Call, adapter.start(NOW))
    adapter.answered(create, ok({"listenKey": "LK"}), NOW)
    assert adapter.connected(NOW) == [Live("a")]
    if exchange != "binanceUS":
        positions = only(Call, adapter.woken(later(1.0)))
        assert adapter.answered(positions, ok([]), later(1.0)) == []
    return adapter


def refresh(adapter: ListenKeyUser) -> tuple[Call, Instant]:
    due = adapter.deadline()
    assert due is not None
    now = later(due - NOW.mono)
    return only(Call, adapter.woken(now)), now


@pytest.mark.parametrize("exchange", URLS)
def test_a_key_is_made_then_the_socket_opened_and_the_stream_live(exchange: str) -> None:
    rest, socket = URLS[exchange]
    adapter = listen_key(exchange)
    assert adapter.add(account("a", exchange), NOW) == []
    create = only(Call, adapter.start(NOW))
    assert (create.method, create.url, create.headers) == ("POST", rest, {"X-MBX-APIKEY": "key-a"})
    assert only(Connect, adapter.answered(create, ok({"listenKey": "LK"}), NOW)).url == socket
    assert adapter.connected(NOW) == [Live("a")]


@pytest.mark.parametrize(
    ("answer", "kind", "stream"),
    [
        (ok({"listenKey": ""}), FailKind.TRANSIENT, None),
        (ok({}), FailKind.TRANSIENT, None),
        (Answer(200, {}, b"<html>"), FailKind.TRANSIENT, None),
        (Answer(0, {}, b"", "timeout"), FailKind.TRANSIENT, None),
        (refused(401, -2015), FailKind.CREDENTIAL, "a"),
        (refused(400, -2014), FailKind.CREDENTIAL, "a"),
        (refused(429, -1003, retry_after="9"), FailKind.RATE_LIMITED, None),
        (refused(503, 0), FailKind.TRANSIENT, None),
    ],
)
def test_a_key_that_cannot_be_made_fails(answer: Answer, kind: FailKind, stream: str | None) -> None:
    adapter = listen_key()
    adapter.add(account("a", "binanceUsdm"), NOW)
    fail = only(Fail, adapter.answered(only(Call, adapter.start(NOW)), answer, NOW))
    assert (fail.kind, fail.stream_id) == (kind, stream)


@pytest.mark.parametrize("exchange", URLS)
def test_the_key_is_kept_alive_about_every_half_hour(exchange: str) -> None:
    adapter = running(exchange)
    for _ in range(3):
        due = adapter.deadline()
        assert due is not None
        start = NOW
        call, now = refresh(adapter)
        assert call.method == "PUT"
        assert call.url == URLS[exchange][0] + ("?listenKey=LK" if exchange == "binanceUS" else "")
        assert adapter.deadline() is None
        assert adapter.answered(call, ok({}), now) == []
        again = adapter.deadline()
        assert again is not None
        assert REFRESH_S - JITTER_S <= again - now.mono <= REFRESH_S
        assert now.mono > start.mono


def test_keys_made_together_are_not_refreshed_together() -> None:
    import itertools

    from exchanges._venue import Setup
    from exchanges.binance import VENUE
    from tests.unit.exchanges.binance.support import TABLE

    numbers = itertools.count(1)
    shared = Setup(exchange="binanceUsdm", new_id=lambda: f"r{next(numbers)}", table=lambda: TABLE)
    deadlines = set()
    for number in range(10):
        adapter = VENUE.user(shared)
        adapter.add(account(f"s{number}", "binanceUsdm"), NOW)
        adapter.answered(only(Call, adapter.start(NOW)), ok({"listenKey": "LK"}), NOW)
        deadlines.add(adapter.deadline())
    assert len(deadlines) == 10


def test_a_failed_refresh_is_tried_again_after_a_minute_and_survives() -> None:
    adapter = running()
    call, now = refresh(adapter)
    assert of(Note, adapter.answered(call, refused(500, 0), now))
    assert adapter.deadline() == now.mono + RETRY_S
    again = only(Call, adapter.woken(Instant(now.mono + RETRY_S, now.wall_ms)))
    assert adapter.answered(again, ok({}), now) == []
    assert adapter.deadline() is not None


@pytest.mark.parametrize("answer", [Answer(0, {}, b"", "timeout"), refused(429, -1003, retry_after="900")])
def test_a_key_that_can_never_be_refreshed_ends_the_connection_before_its_time_is_up(answer: Answer) -> None:
    adapter = running()
    created = NOW
    call, now = refresh(adapter)
    for _ in range(100):
        outputs = adapter.answered(call, answer, now)
        if of(Fail, outputs):
            break
        due = adapter.deadline()
        assert due is not None
        now = later(due - NOW.mono)
        call = only(Call, adapter.woken(now))
    assert only(Fail, outputs).kind is FailKind.TRANSIENT
    assert isinstance(events(outputs)[0], UserDataStreamExpired)
    assert VALID_S - RETRY_S <= now.mono - created.mono <= 3600


def test_a_refresh_for_an_unknown_key_tells_the_backend_and_ends_the_connection() -> None:
    adapter = running()
    call, now = refresh(adapter)
    outputs = adapter.answered(call, refused(400, -1125, "This listenKey does not exist."), now)
    assert events(outputs) == [
        UserDataStreamExpired(event_time=now.wall_ms, unique_message_id=f"USER_DATA_STREAM_EXPIRED:{now.wall_ms}")
    ]
    fail = only(Fail, outputs)
    assert (fail.kind, fail.stream_id, outputs[-1]) == (FailKind.TRANSIENT, None, fail)


def test_another_key_in_the_answer_means_that_ours_is_gone() -> None:
    adapter = running()
    call, now = refresh(adapter)
    assert only(Fail, adapter.answered(call, ok({"listenKey": "OTHER"}), now)).kind is FailKind.TRANSIENT


def test_a_revoked_key_is_found_by_the_refresh() -> None:
    adapter = running()
    call, now = refresh(adapter)
    fail = only(Fail, adapter.answered(call, refused(401, -2015), now))
    assert (fail.kind, fail.stream_id) == (FailKind.CREDENTIAL, "a")


def test_an_expired_key_tells_the_backend_and_ends_the_connection() -> None:
    expired = frame({"e": "listenKeyExpired", "E": 5, "listenKey": "LK"})
    outputs = running().received(expired, NOW)
    assert isinstance(events(outputs)[0], UserDataStreamExpired)
    assert only(Fail, outputs).kind is FailKind.TRANSIENT


@pytest.mark.parametrize("exchange", URLS)
def test_only_closing_for_good_deletes_the_key(exchange: str) -> None:
    adapter = running(exchange)
    assert adapter.remove("other", NOW) == []
    call = only(Call, adapter.closing(NOW))
    assert call.method == "DELETE"
    assert ("listenKey=LK" in call.url) is (exchange == "binanceUS")
    assert "LK" not in repr(call)


def test_closing_without_a_key_deletes_nothing() -> None:
    adapter = listen_key()
    adapter.add(account("a", "binanceUsdm"), NOW)
    adapter.start(NOW)
    assert adapter.closing(NOW) == []


def test_nothing_is_deleted_when_a_stream_leaves() -> None:
    adapter = running()
    assert adapter.remove("a", NOW) == []
    assert adapter.deadline() is None


def test_an_account_that_joins_after_the_start_makes_its_key_then() -> None:
    adapter = listen_key()
    assert adapter.start(NOW) == []
    assert only(Call, adapter.add(account("a", "binanceUsdm"), NOW)).method == "POST"


def test_a_second_account_is_declined() -> None:
    fail = only(Fail, running().add(account("b", "binanceUsdm"), NOW))
    assert (fail.kind, fail.stream_id) == (FailKind.REQUEST, "b")


def test_a_shutdown_notice_rotates() -> None:
    assert of(Rotate, running().received(frame({"e": "serverShutdown", "E": 1}), NOW))
    assert of(Rotate, running().received(frame({"stream": "!x", "data": {"e": "serverShutdown"}}), NOW))


def test_ids_that_javascript_would_round_leave_as_text() -> None:
    order = {
        "s": "BTCUSDT",
        "c": "x",
        "S": "BUY",
        "o": "LIMIT",
        "q": "1",
        "p": "1",
        "ap": "0",
        "X": "NEW",
        "z": "0",
        "T": 1,
    }
    for order_id, published in ((2**53 - 1, 2**53 - 1), (8389766269723522123, "8389766269723522123")):
        raw = frame({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {**order, "i": order_id}})
        (event,) = events(running().received(raw, NOW))
        assert not isinstance(event, ExecutionReport)
        assert event.order_id == published  # type: ignore[union-attr]


def futures_order(**fields: object) -> bytes:
    order = {
        "s": "BTCUSDT", "c": "D-TP-1", "S": "BUY", "o": "LIMIT", "q": "1", "p": "1", "ap": "0", "X": "NEW", "i": 7, "z": "0",
        "T": 1,
    }  # fmt: skip
    return frame({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {**order, **fields}})


@pytest.mark.parametrize("fields", [{"X": "HALTED"}, {"q": None}])
def test_a_futures_order_that_its_frame_does_not_tell_is_asked_for(fields: dict[str, object]) -> None:
    adapter = running()
    outputs = adapter.received(futures_order(**fields), NOW)
    assert not events(outputs)
    asked = only(Call, outputs)
    assert (path(asked), params(asked)["orderId"]) == ("/fapi/v1/order", "7")
    (event,) = events(adapter.answered(asked, ok(order_row(7, status="EXPIRED")), NOW))
    assert isinstance(event, OrderTradeUpdate)
    assert event.order_status == "EXPIRED"


@pytest.mark.parametrize(
    ("raw", "status"),
    [("EXPIRED_IN_MATCH", "EXPIRED"), ("NEW_INSURANCE", "NEW"), ("NEW_ADL", "NEW"), ("REJECTED", "CANCELED")],
)
def test_futures_states_get_names_that_the_platform_has(raw: str, status: str) -> None:
    (event,) = events(running().received(futures_order(X=raw), NOW))
    assert isinstance(event, OrderTradeUpdate)
    assert event.order_status == status


def test_the_end_of_a_binance_us_key_publishes_nothing_and_ends_the_connection() -> None:
    outputs = running("binanceUS").received(frame({"e": "listenKeyExpired", "E": 5, "listenKey": "LK"}), NOW)
    assert events(outputs) == []
    assert only(Fail, outputs).kind is FailKind.TRANSIENT
    adapter = running("binanceUS")
    call, now = refresh(adapter)
    outputs = adapter.answered(call, refused(400, -1125), now)
    assert events(outputs) == []
    assert only(Fail, outputs).kind is FailKind.TRANSIENT


def test_one_odd_row_of_an_account_update_costs_only_itself() -> None:
    update = {
        "m": "ORDER",
        "B": [{"a": "USDT", "wb": "1", "cw": "1", "bc": None}, {"a": "BNB", "wb": 7, "cw": "1"}],
        "P": [{"s": None, "pa": "1", "ep": "1"}, {"s": "ETHUSDT", "pa": "2", "ep": "3"}, "what"],
    }
    outputs = running().received(frame({"e": "ACCOUNT_UPDATE", "E": 1, "T": 1, "a": update}), NOW)
    event, position = events(outputs)
    assert isinstance(position, PositionUpdate)
    assert (position.symbol, position.quantity) == ("ETHUSDT", "2")
    assert isinstance(event, AccountUpdate)
    assert [(row.asset, row.balance_change) for row in event.balances] == [("USDT", "0")]
    assert [row.symbol for row in event.positions] == ["ETHUSDT"]
    assert only(Note, outputs).what == "unreadable fields in ACCOUNT_UPDATE: B, P"


def test_the_multi_assets_mode_and_margin_calls_are_told() -> None:
    adapter = running()
    (config,) = events(adapter.received(frame({"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 2, "ai": {"j": True}}), NOW))
    assert isinstance(config, AccountConfigUpdate)
    assert (config.type, config.multi_assets) == ("MULTI_ASSETS", True)
    position = {
        "s": "ETHUSDT",
        "ps": "LONG",
        "pa": "1.3",
        "mt": "CROSSED",
        "iw": "0",
        "mp": "187",
        "up": "-1.1",
        "mm": "1.6",
    }
    (call,) = events(adapter.received(frame({"e": "MARGIN_CALL", "E": 1, "cw": "3.16", "p": [position]}), NOW))
    assert isinstance(call, MarginCall)
    assert call.cross_wallet_balance == "3.16"
    row = call.positions[0]
    assert (row.symbol, row.position_side, row.position_amount) == ("ETHUSDT", "LONG", "1.3")
    assert (row.mark_price, row.unrealized_pnl, row.maintenance_margin_required) == ("187", "-1.1", "1.6")
