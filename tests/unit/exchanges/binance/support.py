"""Frames, answers and adapters for the Binance tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from exchanges._adapter import Answer, Emit, Instant, KnownOrder, Output, Resume, Send, UserSubscription
from exchanges._venue import Setup
from exchanges.binance import VENUE
from exchanges.binance._user_listen_key import ListenKeyUser
from exchanges.binance._user_spot import SpotUser
from exchanges.credentials import credentials
from exchanges.events import AccountEvent
from exchanges.instruments import Instrument, SymbolTable
from tests.unit.exchanges import driver
from tests.unit.exchanges.driver import after, frame, json_answer, of, only, sent

NOW = Instant(1000.0, 1_795_000_000_000)
TABLE = SymbolTable(
    [
        Instrument(wire="BTCUSDT", pair="BTCUSDT", base="BTC", quote="USDT"),
        Instrument(wire="ETHUSDT", pair="ETHUSDT", base="ETH", quote="USDT"),
    ]
)


def later(seconds: float, start: Instant = NOW) -> Instant:
    return after(start, seconds)


def setup(exchange: str, table: SymbolTable = TABLE, offset_ms: int = 0) -> Setup:
    return msgspec.structs.replace(driver.setup(exchange, table), clock_offset_ms=lambda: offset_ms)


def spot() -> SpotUser:
    adapter = VENUE.user(setup("binance"))
    assert isinstance(adapter, SpotUser)
    return adapter


def listen_key(exchange: str = "binanceUsdm") -> ListenKeyUser:
    adapter = VENUE.user(setup(exchange))
    assert isinstance(adapter, ListenKeyUser)
    return adapter


def account(
    stream: str, exchange: str = "binance", key: str | None = None, resume: Resume | None = None
) -> UserSubscription:
    return UserSubscription(
        stream_id=stream, exchange=exchange, credentials=credentials(key or f"key-{stream}", "secret"), resume=resume
    )


def known(order_id: int, **fields: Any) -> KnownOrder:
    values: dict[str, Any] = {
        "order_id": str(order_id), "client_order_id": f"D-TP-{order_id}", "symbol": "BTCUSDT", "status": "NEW",
        "price": "100", "quantity": "10", "order_time_ms": NOW.wall_ms - 600_000,
    }  # fmt: skip
    return KnownOrder(**{**values, **fields})


def resume(*orders: KnownOrder, seconds: float = 120) -> Resume:
    return Resume(since_ms=NOW.wall_ms - round(seconds * 1000), orders=orders)


def events(outputs: Iterable[Output]) -> list[AccountEvent]:
    return [emit.event for emit in of(Emit, outputs)]


def request(send: Send) -> dict[str, Any]:
    return only(dict, sent([send]))


def requests(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    return sent(outputs)


def ok(value: object) -> Answer:
    return json_answer(value)


def refused(status: int, code: int, text: str = "no", **headers: str) -> Answer:
    return json_answer({"code": code, "msg": text}, status, **headers)


def subscribed(request_id: str, subscription_id: int) -> bytes:
    return frame({"id": request_id, "status": 200, "result": {"subscriptionId": subscription_id}})


def error(request_id: str | None, status: int, code: int, text: str = "no", data: object = None) -> bytes:
    body: dict[str, object] = {"code": code, "msg": text}
    if data is not None:
        body["data"] = data
    return frame({"id": request_id, "status": status, "error": body})


def report(subscription_id: int | None, order_id: int = 1, **fields: object) -> bytes:
    event: dict[str, object] = {
        "e": "executionReport", "E": NOW.wall_ms, "s": "BTCUSDT", "c": f"D-TP-{order_id}", "S": "BUY", "o": "LIMIT",
        "f": "GTC", "q": "10", "p": "100", "P": "0", "F": "0", "g": -1, "C": "", "x": "NEW", "X": "NEW", "r": "NONE",
        "i": order_id, "l": "0", "z": "0", "L": "0", "n": "0", "N": None, "T": NOW.wall_ms, "t": -1, "I": 1, "w": True,
        "m": False, "M": False, "O": NOW.wall_ms, "Z": "0", "Y": "0", "Q": "0",
    }  # fmt: skip
    event.update(fields)
    return frame({"subscriptionId": subscription_id, "event": event})


def order_row(order_id: int, **fields: object) -> dict[str, object]:
    """An order as REST tells it (spot and futures fields together)."""
    return {
        "symbol": "BTCUSDT", "orderId": order_id, "orderListId": -1, "clientOrderId": f"D-TP-{order_id}", "price": "100",
        "origQty": "10", "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "timeInForce": "GTC",
        "type": "LIMIT", "side": "BUY", "stopPrice": "0", "icebergQty": "0", "time": NOW.wall_ms - 600_000,
        "updateTime": NOW.wall_ms - 30_000, "isWorking": True, "origQuoteOrderQty": "0", "avgPrice": "0",
        "origType": "LIMIT", "reduceOnly": False, "positionSide": "BOTH", "closePosition": False,
        "workingType": "CONTRACT_PRICE",
        **fields,
    }  # fmt: skip


def trade_row(trade_id: int, order_id: int, quantity: str, price: str, **fields: object) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT", "id": trade_id, "orderId": order_id, "price": price, "qty": quantity, "quoteQty": "0",
        "commission": "0.001", "commissionAsset": "BNB", "time": NOW.wall_ms - 60_000 + trade_id, "isBuyer": True,
        "isMaker": True, "maker": True, "realizedPnl": "1.5", "side": "BUY",
        **fields,
    }  # fmt: skip
