"""kucoin-universal-sdk, KuCoin's own SDK, against the simulated venue (classic and unified accounts)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance.desk import CLIENT_ID, Box, Desk, Keys, Step, assert_same, until

pytestmark = [pytest.mark.conformance, pytest.mark.filterwarnings("ignore")]

MARKETS = ("kucoin", "kucoinLinear", "kucoinInverse")


def client(keys: Keys) -> Any:
    pytest.importorskip("kucoin_universal_sdk", reason="kucoin-universal-sdk is not installed: make conformance")
    from kucoin_universal_sdk.api import DefaultClient
    from kucoin_universal_sdk.model import (
        GLOBAL_API_ENDPOINT,
        GLOBAL_BROKER_API_ENDPOINT,
        GLOBAL_FUTURES_API_ENDPOINT,
        ClientOptionBuilder,
        TransportOptionBuilder,
        WebSocketClientOptionBuilder,
    )

    option = (
        ClientOptionBuilder()
        .set_key(keys.key)
        .set_secret(keys.secret)
        .set_passphrase(keys.phrase)
        .set_spot_endpoint(GLOBAL_API_ENDPOINT)
        .set_futures_endpoint(GLOBAL_FUTURES_API_ENDPOINT)
        .set_broker_endpoint(GLOBAL_BROKER_API_ENDPOINT)
        .set_transport_option(TransportOptionBuilder().set_max_retries(1).build())
        .set_websocket_client_option(WebSocketClientOptionBuilder().with_reconnect(False).build())
        .build()
    )
    return DefaultClient(option)


@contextmanager
def socket(desk: Desk, kind: str, keys: Keys | None = None) -> Iterator[Any]:
    """A started service; `kind` is `public` or `private`."""
    market = "spot" if desk.exchange == "kucoin" else "futures"
    made = getattr(client(keys or desk.keys).ws_service(), f"new_{market}_{kind}_ws")()
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("exchange", MARKETS)
def test_tickers(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket(desk, "public") as kucoin:
        if exchange == "kucoin":
            kucoin.ticker([desk.wire], lambda topic, subject, event: box.put(event))
        else:
            kucoin.ticker_v1(desk.wire, lambda topic, subject, event: box.put(event))
        price = desk.move()
        event = box.wait(lambda event: Decimal(event.price) == price, "ticker")
        assert event.common_response.topic.endswith(f":{desk.wire}")


@pytest.mark.parametrize("exchange", MARKETS)
def test_candles(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket(desk, "public") as kucoin:
        kucoin.klines(desk.wire, "1min", lambda topic, subject, event: box.put(event.candles))
        price = desk.move()
        row = box.wait(lambda row: Decimal(row[2]) == price, "candle")
        candle = desk.candle("1m", int(row[0]) * 1000)
        start, opening, close, high, low = row[:5]
        assert int(start) * 1000 == candle.start_ms
        prices = [candle.open, candle.high, candle.low, candle.close]
        assert list(map(Decimal, (opening, high, low, close))) == prices


@pytest.mark.parametrize("exchange", MARKETS)
def test_orders(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange), Box()
    with socket(desk, "private") as kucoin:

        def take(topic: str, subject: str, event: Any) -> None:
            box.put(event)

        if exchange == "kucoin":
            kucoin.order_v2(take)
        else:
            kucoin.all_order(take)
        until(desk.ready, "login and subscribe")
        orders = desk.trade(lambda count: until(lambda: len(_states(box.items())) >= count, "order update"))
        assert _states(box.items()) == [(o.status, o.executed) for o in orders]
        assert {event.client_oid for event in box.items()} == {CLIENT_ID}
        matches = [event for event in box.items() if event.match_size]
        filled = sum(Decimal(event.match_size) for event in matches)
        assert filled == orders[-1].executed
        fills = [orders[1].price, orders[2].price - 10]  # the second one at a better price
        assert [Decimal(event.match_price) for event in matches] == fills


def _states(events: list[Any]) -> list[tuple[str, Decimal]]:
    """Orders as the venue tells them: open, each match, and that it is done (`filled`)."""
    states = []
    for event in events:
        kind, filled = event.type.value, Decimal(event.filled_size or 0)
        if kind == "open":
            states.append(("NEW", filled))
        elif kind == "filled":
            states.append(("FILLED", filled))
        elif kind == "match" and Decimal(event.remain_size or 0):
            states.append(("PARTIALLY_FILLED", filled))
    return states


UNIFIED_STATES = {2: "NEW", 4: "PARTIALLY_FILLED", 3: "FILLED"}


@pytest.mark.parametrize("exchange", MARKETS)
def test_orders_of_unified_accounts(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk, box = desk_of(exchange, unified=True), Box()
    kucoin = client(desk.keys).ws_service().new_uta_private_ws()
    kucoin.start()
    try:
        kucoin.order_all(lambda event: box.put(event["d"]))
        assert desk.ready()
        orders = desk.trade(lambda count: box.wait_count(count, lambda _: True, "order update"))
        assert_same([_unified_step(row) for row in box.items()], desk.steps(orders))
    finally:
        kucoin.stop()


def _unified_step(row: dict[str, Any]) -> Step:
    average = Decimal(row["aP"]) if row["aP"] else None
    return Step(row["ci"], UNIFIED_STATES[row["os"]], Decimal(row["fS"]), average)


def test_balances_of_unified_accounts(desk_of: Callable[..., Desk]) -> None:
    desk, box = desk_of("kucoin", unified=True), Box()
    kucoin = client(desk.keys).ws_service().new_uta_private_ws()
    kucoin.start()
    try:
        kucoin.balance("UNIFIED", lambda event: box.put(event["d"]))
        desk.trade(lambda _: None)
        row = box.wait(lambda row: row["c"] == "BTC", "balance")
        assert Decimal(row["a"]) > 0
    finally:
        kucoin.stop()


def test_a_wrong_secret_of_a_unified_account_is_refused(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of("kucoin", unified=True)
    kucoin = client(desk.keys._replace(secret="another secret")).ws_service().new_uta_private_ws()
    with pytest.raises(RuntimeError, match="authentication failed"):
        kucoin.start()
    kucoin.stop()
    assert not desk.followed()


@pytest.mark.parametrize("exchange", ["kucoin", "kucoinLinear"])
def test_a_wrong_secret_gets_no_token(desk_of: Callable[..., Desk], exchange: str) -> None:
    desk = desk_of(exchange)
    wrong = Keys(desk.keys.key, "another secret", desk.keys.phrase)
    with pytest.raises(Exception, match=r"40000[45]"), socket(desk, "private", wrong):
        raise AssertionError("it was let in")
    assert not desk.followed()
