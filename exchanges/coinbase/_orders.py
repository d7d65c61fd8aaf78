"""Orders of Coinbase as events, from the `user` channel and from REST (docs/venues/coinbase.md, sections 6 and 8)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from exchanges._numbers import decimal, divide, multiply, plain, positive
from exchanges._times import milliseconds
from exchanges.events import ExecutionReport

MAX_REMEMBERED: Final = 10_000
"""Orders per account whose size and limit price are remembered; the oldest are forgotten first."""
OPEN: Final = frozenset({"OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"})
_ENDED: Final = frozenset({"CANCELLED", "EXPIRED", "FAILED"})
_SILENT: Final = frozenset({"PENDING", "UNKNOWN_ORDER_STATUS"})
_KNOWN_STATUSES: Final = OPEN | _ENDED | _SILENT | {"FILLED"}
_OWN_PRODUCTS: Final = frozenset({"", "SPOT", "UNKNOWN_PRODUCT_TYPE"})


class Order(msgspec.Struct):
    """An order of the `user` channel. Figures are cumulative text; several fields were added later."""

    order_id: str
    status: str
    product_id: str
    order_side: str
    product_type: str | None = ""
    client_order_id: str | None = ""
    order_type: str | None = ""
    cumulative_quantity: str | None = ""
    leaves_quantity: str | None = ""
    avg_price: str | None = ""
    filled_value: str | None = ""
    total_fees: str | None = ""
    limit_price: str | None = ""
    creation_time: str | None = ""


class RestOrder(msgspec.Struct):
    """The same order as REST tells it."""

    order_id: str
    status: str
    product_id: str
    side: str
    product_type: str | None = ""
    client_order_id: str | None = ""
    order_type: str | None = ""
    filled_size: str | None = ""
    average_filled_price: str | None = ""
    filled_value: str | None = ""
    total_fees: str | None = ""
    created_time: str | None = ""
    last_fill_time: str | None = ""
    order_configuration: dict[str, Any] | None = None


def belongs(order: Order | RestOrder) -> bool:
    """Whether an order is one of spot: futures of the same account stand on the same channel."""
    return (order.product_type or "").upper() in _OWN_PRODUCTS


class Remembered(NamedTuple):
    """What earlier frames told of an order; terminal frames leave it out. Empty = unknown."""

    quantity: str = ""
    price: str = ""


class Memory:
    """Original sizes and limit prices by order id, bounded."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, Remembered] = OrderedDict()

    def get(self, order_id: str) -> Remembered:
        return self._orders.get(order_id, Remembered())

    def learn(self, order_id: str, quantity: str = "", price: str = "") -> None:
        """Keep what is known; empty values do not overwrite."""
        known = self._orders.pop(order_id, Remembered())
        self._orders[order_id] = Remembered(quantity or known.quantity, price or known.price)
        while len(self._orders) > MAX_REMEMBERED:
            self._orders.popitem(last=False)

    def learn_from(self, order: Order) -> None:
        size = _live_size(order) if positive(order.leaves_quantity) else ""
        price = plain(order.limit_price or "0") if positive(order.limit_price) else ""
        if size or price:
            self.learn(order.order_id, size, price)


def unclear(status: str, executed: str | None, *prices: str | None) -> str:
    """Why an order's status can't be told, empty if it can; `prices`: all that tell what it cost."""
    if status not in _KNOWN_STATUSES:
        return f"unknown status {status[:40]}"
    if status == "FILLED" and not (positive(executed) and any(map(positive, prices))):
        return "status FILLED without a filled quantity or a price"  # told, it would be final and short of everything
    return ""


def status_of(status: str, *, filled: bool) -> str | None:
    """Our status; None = no event. The venue keeps `OPEN` while an order fills (bug B3)."""
    if status in OPEN:
        return "PARTIALLY_FILLED" if filled else "NEW"
    if status == "FILLED":
        return "FILLED"
    return "CANCELED" if status in _ENDED else None


def execution_report(order: Order, time_ms: int, memory: Memory) -> ExecutionReport | None:
    """The event of an order in an update; None if its status publishes nothing. Raises `ValueError` without a side."""
    cumulative = plain(order.cumulative_quantity or "0")
    status = status_of(order.status, filled=positive(cumulative))
    memory.learn_from(order)
    if status is None:
        return None
    remembered = memory.get(order.order_id)
    if status == "FILLED":
        quantity = cumulative
    elif positive(order.leaves_quantity):
        quantity = _live_size(order)
    else:
        quantity = remembered.quantity or cumulative
    return _report(
        order_id=order.order_id,
        client_id=order.client_order_id or "",
        product_id=order.product_id,
        status=status,
        order_type=order.order_type or "",
        side=order.order_side,
        price=_price(order.avg_price, order.limit_price, remembered.price),
        quantity=quantity,
        executed=cumulative,
        value=_value(order.filled_value, cumulative, order.avg_price),
        created_ms=milliseconds(order.creation_time),
        time_ms=time_ms,
        fees=order.total_fees,
        message_id=_message_id(
            order.order_id, order.status, cumulative, order.leaves_quantity, order.avg_price, order.total_fees
        ),
    )


def rest_execution_report(order: RestOrder, now_ms: int, memory: Memory) -> ExecutionReport | None:
    """The event of an order's present state as REST tells it; None if its status publishes nothing.

    Raises `ValueError` without a side.
    """
    executed = plain(order.filled_size or "0")
    status = status_of(order.status, filled=positive(executed))
    size, limit_price = _configured(order.order_configuration or {})
    if size or limit_price:
        memory.learn(order.order_id, size, limit_price)
    if status is None:
        return None
    created_ms = milliseconds(order.created_time)
    # The venue tells no time of a cancel; it happened at some moment of the gap.
    time_ms = now_ms if status == "CANCELED" else milliseconds(order.last_fill_time) or created_ms
    return _report(
        order_id=order.order_id,
        client_id=order.client_order_id or "",
        product_id=order.product_id,
        status=status,
        order_type=order.order_type or "",
        side=order.side,
        price=_price(order.average_filled_price, limit_price, ""),
        quantity=size or executed,
        executed=executed,
        value=_value(order.filled_value, executed, order.average_filled_price),
        created_ms=created_ms,
        time_ms=time_ms,
        fees=order.total_fees,
        message_id=_message_id(order.order_id, order.status, executed, order.average_filled_price, order.total_fees),
    )


def _report(
    *,
    order_id: str,
    client_id: str,
    product_id: str,
    status: str,
    order_type: str,
    side: str,
    price: str,
    quantity: str,
    executed: str,
    value: str,
    created_ms: int,
    time_ms: int,
    fees: str | None,
    message_id: str,
) -> ExecutionReport:
    paid = positive(fees)
    if side.upper() not in ("BUY", "SELL"):
        raise ValueError(f"no side {side[:20]!r}")
    return ExecutionReport(
        symbol=product_id,
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id=order_id,
        order_status=status,
        order_type="LIMIT" if order_type.lower() == "limit" else "MARKET",
        side="BUY" if side.upper() == "BUY" else "SELL",
        price=price,
        quantity=quantity,
        total_trade_quantity=executed,
        total_quote_trade_quantity=value,
        creation_time=created_ms,
        event_time=time_ms,
        order_time=time_ms,
        unique_message_id=message_id,
        # The message names no currency; fees are in quote (bug B25).
        fee_paid=plain(fees or "0") if paid else UNSET,
        fee_side="quote" if paid else UNSET,
    )


def _price(average: str | None, limit: str | None, remembered: str) -> str:
    for price in (average, limit, remembered):
        if positive(price):
            return plain(price or "0")
    return "0"


def _value(filled_value: str | None, executed: str, average: str | None) -> str:
    return plain(filled_value) if filled_value else plain(multiply(decimal(executed), decimal(average)))


def _live_size(order: Order) -> str:
    return plain(decimal(order.cumulative_quantity) + decimal(order.leaves_quantity))


def _configured(configuration: Mapping[str, Any]) -> tuple[str, str]:
    """Base size and limit price inside `order_configuration`; empty where the order has none."""
    for settings in configuration.values():
        if isinstance(settings, dict):
            size, price, money = (_positive(settings.get(name)) for name in ("base_size", "limit_price", "quote_size"))
            if not size and price and money:  # a limit order that was sized in quote
                size = plain(divide(decimal(money), decimal(price)))
            return size, price
    return "", ""


def _positive(value: object) -> str:
    return plain(value) if isinstance(value, str) and positive(value) else ""


def _message_id(*parts: str | None) -> str:
    return ":".join(part or "" for part in parts)
