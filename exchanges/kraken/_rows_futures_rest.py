"""Futures REST: the calls of an account, and the readings of their answers (docs/venues/kraken.md, section 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._times import milliseconds, rfc3339
from exchanges.events import Balance
from exchanges.kraken._rows_futures import UNKNOWN_SIDE, Fill, Number, OrderBody
from exchanges.kraken._symbols import asset_name

PAGE: Final = 100
"""Fills of one answer."""
_LIMIT: Final = frozenset({"lmt", "post", "ioc"})
_ENDED: Final = frozenset({"FULLY_EXECUTED", "REJECTED", "CANCELLED", "TRIGGER_ACTIVATION_FAILURE"})
_REMOVED: Final = frozenset({"OrderCancelled", "OrderRejected"})
_API: Final = "/derivatives/api/v3"


# --- calls ---


def open_orders_call(rest: str) -> Call:
    return Call(tag="open orders", method="GET", url=f"{rest}{_API}/openorders", pool="futures", weight=2)


def accounts_call(rest: str, tag: str = "balances") -> Call:
    return Call(tag=tag, method="GET", url=f"{rest}{_API}/accounts", pool="futures", weight=2)


def fills_call(rest: str, before_ms: int | None = None, tag: str = "fills", page: int = 1) -> Call:
    """The 100 newest fills, or those before a time, newest first."""
    query = f"?{urlencode({'lastFillTime': rfc3339(before_ms)})}" if before_ms is not None else ""
    weight = 25 if query else 2
    return Call(tag=tag, method="GET", url=f"{rest}{_API}/fills{query}", pool="futures", weight=weight, context=page)


def status_call(rest: str, order_ids: Sequence[str], tag: str = "order status") -> Call:
    """Orders by id: open ones, and those that ended within the last 5 s."""
    body = urlencode([("orderIds", order_id) for order_id in order_ids])
    context = tuple(order_ids)
    return Call(tag=tag, method="POST", url=f"{rest}{_API}/orders/status", body=body, pool="futures", context=context)


def history_call(
    rest: str, since_ms: int, token: str = "", tag: str = "order history", context: object = None, page: int = 1
) -> Call:
    """What happened to orders since a time, oldest first."""
    form = {"since": str(since_ms), "sort": "asc", **({"continuation_token": token} if token else {})}
    url = f"{rest}/api/history/v2/orders?{urlencode(form)}"
    return Call(tag=tag, method="GET", url=url, pool="history", context=context or page)


# --- answers ---


def direction_of(side: str | None) -> int:
    """0 buys, 1 sells; the history also knows orders of an unknown side."""
    return {"buy": 0, "sell": 1}.get((side or "").lower(), UNKNOWN_SIDE)


class _OpenOrder(msgspec.Struct, rename="camel"):
    """Ids come in snake case, and the client's in either."""

    order_id: str = msgspec.field(name="order_id")
    symbol: str
    side: str | None = None
    order_type: str | None = None
    limit_price: Number = None
    stop_price: Number = None
    unfilled_size: Number = None
    filled_size: Number = None
    received_time: str | None = None
    last_update_time: str | None = None
    cli_ord_id: str | None = None
    cli_ord_id_snake: str | None = msgspec.field(default=None, name="cli_ord_id")

    def body(self) -> OrderBody:
        return OrderBody(
            order_id=self.order_id,
            instrument=self.symbol,
            direction=direction_of(self.side),
            qty=self.unfilled_size,
            filled=self.filled_size,
            time=milliseconds(self.received_time),
            last_update_time=milliseconds(self.last_update_time),
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            type="limit" if self.order_type in _LIMIT else self.order_type,
            cli_ord_id=self.cli_ord_id or self.cli_ord_id_snake,
        )


class _OpenOrders(msgspec.Struct, rename="camel"):
    open_orders: list[msgspec.Raw]


class _RestFill(msgspec.Struct, rename="camel"):
    fill_id: str = msgspec.field(name="fill_id")
    order_id: str = msgspec.field(name="order_id")
    symbol: str
    side: Literal["buy", "sell"]
    size: Decimal
    price: Decimal
    fill_time: str
    fill_type: str | None = None
    cli_ord_id: str | None = None

    def fill(self) -> Fill:
        """Without the kind of the order, which REST does not tell."""
        return Fill(
            order_id=self.order_id,
            fill_id=self.fill_id,
            instrument=self.symbol,
            buy=self.side == "buy",
            qty=self.size,
            price=self.price,
            time=milliseconds(self.fill_time),
            cli_ord_id=self.cli_ord_id,
            fill_type=self.fill_type,
        )


class _Fills(msgspec.Struct):
    fills: list[msgspec.Raw]


class _CachedOrder(msgspec.Struct, rename="camel"):
    """An order as `orders/status` tells it; `quantity` is its size."""

    order_id: str
    symbol: str
    side: str | None = None
    quantity: Number = None
    filled: Number = None
    limit_price: Number = None
    timestamp: str | None = None
    last_update_timestamp: str | None = None
    cli_ord_id: str | None = None


class _Status(msgspec.Struct):
    order: _CachedOrder
    status: str | None = None


class _Statuses(msgspec.Struct):
    orders: list[msgspec.Raw]


class _PastOrder(msgspec.Struct, rename="camel"):
    """An order in an event of the history; `uid` is its id."""

    uid: str
    tradeable: str | None = None
    direction: str | None = None
    quantity: Number = None
    filled: Number = None
    limit_price: Number = None
    order_type: str | None = None
    client_id: str | None = None
    timestamp: int | None = None
    last_update_timestamp: int | None = None


class _Past(msgspec.Struct, rename="camel"):
    """What an event is about; updates tell the order before and after."""

    order: _PastOrder | None = None
    new_order: _PastOrder | None = None


class _Element(msgspec.Struct):
    event: dict[str, _Past] = {}
    timestamp: int | None = None


class _History(msgspec.Struct, rename="camel"):
    elements: list[msgspec.Raw] = []
    continuation_token: str | None = None


class FlexCurrency(msgspec.Struct):
    quantity: Number = None
    available: Number = None


class _Flex(msgspec.Struct):
    currencies: dict[str, msgspec.Raw] = {}


class _Accounts(msgspec.Struct):
    flex: _Flex | None = None


class _AccountsAnswer(msgspec.Struct):
    accounts: _Accounts


class Past(NamedTuple):
    """What REST knows of an order that is not in the book any more."""

    order_id: str
    symbol: str
    direction: int
    """As the book's; unknown where the venue does not tell it."""
    size: Decimal
    filled: Decimal
    limit: Decimal
    client_id: str
    created_ms: int
    updated_ms: int
    order_type: str = ""
    ended: bool = False

    def body(self) -> OrderBody:
        return OrderBody(
            order_id=self.order_id,
            instrument=self.symbol,
            direction=self.direction,
            qty=self.size - min(self.filled, self.size),
            filled=self.filled,
            time=self.created_ms,
            last_update_time=self.updated_ms,
            limit_price=self.limit,
            type=self.order_type,
            cli_ord_id=self.client_id or None,
        )


_decode_open = msgspec.json.Decoder(_OpenOrders).decode
_open_order: Final = msgspec.json.Decoder(_OpenOrder)
_decode_fills = msgspec.json.Decoder(_Fills).decode
_fill: Final = msgspec.json.Decoder(_RestFill)
_decode_statuses = msgspec.json.Decoder(_Statuses).decode
_status: Final = msgspec.json.Decoder(_Status)
_decode_history = msgspec.json.Decoder(_History).decode
_element: Final = msgspec.json.Decoder(_Element)
_decode_accounts = msgspec.json.Decoder(_AccountsAnswer).decode

_decode_currency = msgspec.json.Decoder(FlexCurrency).decode

T = TypeVar("T")


def _each(raws: Sequence[msgspec.Raw], decode: msgspec.json.Decoder[T]) -> tuple[list[T], int]:
    """The rows that can be read, and how many can't."""
    rows: list[T] = []
    for raw in raws:
        with suppress(*UNREADABLE):
            rows.append(decode.decode(raw))
    return rows, len(raws) - len(rows)


def read_open_orders(data: bytes) -> tuple[list[OrderBody], int]:
    """Open orders, and the number of rows that can't be read. Raises what `UNREADABLE` lists, as all of these."""
    rows, bad = _each(_decode_open(data).open_orders, _open_order)
    return [row.body() for row in rows], bad


def read_fills(data: bytes) -> tuple[list[Fill], int]:
    rows, bad = _each(_decode_fills(data).fills, _fill)
    return [row.fill() for row in rows], bad


def read_statuses(data: bytes) -> tuple[dict[str, Past], int]:
    """Order id → what is known of the order, and the number of rows that can't be read."""
    rows, bad = _each(_decode_statuses(data).orders, _status)
    found: dict[str, Past] = {}
    for row in rows:
        order = row.order
        found[order.order_id] = Past(
            order_id=order.order_id,
            symbol=order.symbol,
            direction=direction_of(order.side),
            size=decimal(order.quantity),
            filled=decimal(order.filled),
            limit=decimal(order.limit_price),
            client_id=order.cli_ord_id or "",
            created_ms=milliseconds(order.timestamp),
            updated_ms=milliseconds(order.last_update_timestamp),
            ended=row.status in _ENDED,
        )
    return found, bad


class History(NamedTuple):
    """States of orders as they were, oldest first."""

    states: list[Past]
    token: str
    """Of the next page; empty = there is none."""
    bad: int
    """Elements that can't be read."""


def read_history(data: bytes) -> History:
    history = _decode_history(data)
    elements, bad = _each(history.elements, _element)
    states: list[Past] = []
    for element in elements:
        for name, event in element.event.items():
            order = event.new_order or event.order
            if order is not None:
                states.append(_past(order, element.timestamp or 0, ended=name in _REMOVED))
    return History(states, history.continuation_token or "", bad)


def _past(order: _PastOrder, time_ms: int, *, ended: bool) -> Past:
    kind = (order.order_type or "").lower()
    return Past(
        order_id=order.uid,
        symbol=order.tradeable or "",
        direction=direction_of(order.direction),
        size=decimal(order.quantity),
        filled=decimal(order.filled),
        limit=decimal(order.limit_price),
        client_id=order.client_id or "",
        created_ms=order.timestamp or 0,
        updated_ms=order.last_update_timestamp or time_ms,
        # An unknown kind leaves the one that is remembered.
        order_type="" if kind in ("", "unknown") else "market" if kind in ("market", "mkt") else "limit",
        ended=ended,
    )


def read_flex(data: bytes) -> tuple[list[Balance], int]:
    """The multi-collateral wallet, as on the stream, and the number of its currencies that can't be read."""
    flex = _decode_accounts(data).accounts.flex
    return balances_of(flex.currencies) if flex is not None else ([], 0)


def balances_of(currencies: Mapping[str, msgspec.Raw]) -> tuple[list[Balance], int]:
    """`free` is the whole quantity and `locked` 0, as the platform's REST writer has it (bug A1)."""
    balances: list[Balance] = []
    bad = 0
    for code, raw in currencies.items():
        try:
            row = _decode_currency(raw)
        except UNREADABLE:
            bad += 1
            continue
        if row.quantity is None:
            continue
        told = row.available is not None and row.available.is_finite()
        balances.append(
            Balance(
                asset=asset_name(code),
                free=plain(decimal(row.quantity)),
                locked="0",
                venue_available=plain(decimal(row.available)) if told else msgspec.UNSET,
            )
        )
    return balances, bad
