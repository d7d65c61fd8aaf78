"""Where an event came from tells what it is, on both sinks."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from cli._events import Filter, Row, as_json, as_text, binding_keys, from_rabbitmq, from_redis, redis_channels
from connector.core.channels import candle_channel, ticker_channel, user_info_channel

ORDER = {
    "eventType": "executionReport",
    "symbol": "BTC-USDT",
    "orderStatus": "FILLED",
    "side": "BUY",
    "orderType": "LIMIT",
    "price": "100.5",
    "quantity": "2",
    "totalTradeQuantity": "2",
    "newClientOrderId": "D-BO-1",
}


def rows(key: str, event: object, **headers: object) -> list[Row]:
    return list(from_rabbitmq(key, headers, json.dumps(event).encode()))


def test_account_events_on_rabbitmq() -> None:
    assert rows("user.okx.executionReport.a.b-c", ORDER) == [
        Row("user.okx.executionReport.a.b-c", "executionReport", ORDER, "okx", "a.b-c")
    ]
    assert rows("user.okx.executionReport.cut~", ORDER, stream="the whole id")[0].stream == "the whole id"


def test_market_data_on_rabbitmq() -> None:
    candle = rows("candle.okxLinear.candle1H.BTC-USD_UM.XPERP", {"open": "1"})[0]
    assert (candle.type, candle.exchange, candle.interval, candle.symbol) == (
        "candle",
        "okxLinear",
        "candle1H",
        "BTC-USD_UM.XPERP",
    )
    batch = rows("tickers.okx", [{"symbol": "A", "price": 1}, {"symbol": "B", "price": 2}])
    assert [(row.type, row.exchange, row.symbol) for row in batch] == [("ticker", "okx", "A"), ("ticker", "okx", "B")]
    assert rows("ticker.okx.A.B", {"symbol": "A.B"})[0].symbol == "A.B"


def test_service_messages_on_rabbitmq() -> None:
    assert rows("service.restart", {"restart": "userStream"})[0].type == "restart"
    assert rows("other", "text")[0].type == "other"


def test_what_redis_channels_say() -> None:
    account = from_redis("0b7e", json.dumps(ORDER))
    assert account is not None
    assert (account.type, account.stream, account.exchange) == ("executionReport", "0b7e", "")
    info = from_redis(user_info_channel("0b7e"), "Subscribed to user 0b7e")
    assert info is not None
    assert (info.type, info.stream, info.event) == ("info", "0b7e", "Subscribed to user 0b7e")
    ticker = from_redis(ticker_channel("BTC-USDT", "okx"), '{"price":1}')
    assert ticker is not None
    assert (ticker.type, ticker.symbol, ticker.exchange) == ("ticker", "BTC-USDT", "okx")
    candle = from_redis(candle_channel("BTC-USDT", "okx", "candle1H"), "{}")
    assert candle is not None
    assert (candle.type, candle.symbol, candle.exchange, candle.interval) == ("candle", "BTC-USDT", "okx", "candle1H")
    service = from_redis("serviceLog", '{"restart":"userStream"}')
    assert service is not None
    assert service.type == "restart"


@pytest.mark.parametrize(("channel", "text"), [("gainium:admin:config", "x"), ("other", "{}"), ("other", "[1]")])
def test_other_peoples_channels_are_left_out(channel: str, text: str) -> None:
    assert from_redis(channel, text) is None


def test_filters_combine_and_leave_out_what_can_not_be_told() -> None:
    row = rows("user.okx.executionReport.u", ORDER)[0]
    assert Filter().shows(row)
    assert Filter(frozenset({"u", "v"}), frozenset({"okx"}), frozenset({"executionReport"})).shows(row)
    assert not Filter(streams=frozenset({"v"})).shows(row)
    assert not Filter(exchanges=frozenset({"kraken"})).shows(row)
    assert not Filter(types=frozenset({"ticker"})).shows(row)
    on_redis = from_redis("u", json.dumps(ORDER))
    assert on_redis is not None
    assert not Filter(exchanges=frozenset({"okx"})).shows(on_redis)


def test_the_broker_is_asked_for_no_more_than_needed() -> None:
    assert binding_keys(Filter()) == ["#"]
    assert binding_keys(Filter(streams=frozenset({"a", "b"}))) == ["user.*.*.a", "user.*.*.b"]
    assert binding_keys(Filter(streams=frozenset({"a"}), exchanges=frozenset({"okx"}))) == ["user.okx.*.a"]
    assert binding_keys(Filter(streams=frozenset({"a#"}))) == ["user.#"]
    assert "tickers.okx" in binding_keys(Filter(exchanges=frozenset({"okx"})))
    assert redis_channels(Filter()) == ([], ["*"])
    assert redis_channels(Filter(streams=frozenset({"a"}))) == (["a", "userStreamInfoa"], [])


def test_lines_for_programs_hold_everything() -> None:
    line = json.loads(as_json(rows("user.okx.executionReport.u", ORDER)[0]))
    assert line == {
        "source": "user.okx.executionReport.u",
        "type": "executionReport",
        "event": ORDER,
        "exchange": "okx",
        "stream": "u",
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            Row("k", "executionReport", ORDER, "okx", "u"),
            "FILLED BUY BTC-USDT LIMIT 2/2 @ 100.5 D-BO-1",
        ),
        (
            Row("k", "outboundAccountPosition", {"balances": [{"asset": "USDT", "free": "1", "locked": "2"}] * 8}),
            "USDT=1+2 and 2 more",
        ),
        (Row("k", "ticker", {"price": 1.5}, "okx", symbol="A"), "1.5"),
        (Row("k", "candle", {"open": "1", "close": "2"}), "o=1 h=None l=None c=2 v=None"),
        (Row("k", "info", "Subscribed to user u"), "Subscribed to user u"),
        (Row("k", "restart", {"restart": "userStream"}), '{"restart": "userStream"}'),
        (Row("k", "x", {"a": "\x1b[2J"}), "{"),
        (Row("k", "x", "\x1b[2J\n"), "?[2J?"),
    ],
)
def test_lines_for_people(row: Row, expected: str) -> None:
    line = as_text(row, datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))
    assert line.startswith("03:04:05.678 ")
    assert expected in line
    assert "\x1b" not in line
    assert "\n" not in line
