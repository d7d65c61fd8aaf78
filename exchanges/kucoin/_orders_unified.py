"""Orders, balances and liquidations of KuCoin unified accounts → events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from exchanges._numbers import decimal, multiply, plain
from exchanges.events import AccountPosition, ExecutionReport
from exchanges.kucoin import _orders, _rows, _symbols
from exchanges.kucoin._rows import Figure, Number

STATUSES: Final = {2: "NEW", 3: "FILLED", 4: "PARTIALLY_FILLED", 5: "CANCELED", 6: "CANCELED"}
"""`os` and REST `status`."""
NOT_LIVE: Final = frozenset({0, 1})
"""Conditional orders that are not live yet."""


def unclear(status: int | str, filled: Number, *prices: Number) -> str:
    """Why an order in this status can't be told, empty if it can; `prices`: its average and its limit."""
    if not str(status).isdigit() or int(status) not in STATUSES.keys() | NOT_LIVE:
        return f"status {str(status)[:40]}, which no page lists"
    if STATUSES.get(int(status)) == "FILLED" and not (decimal(filled) and any(map(decimal, prices))):
        return "filled without a filled size or a price"  # told, it would be final and short of everything
    return ""


LIQUIDATION: Final = "LIQ"
"""How a word that means a liquidation begins; its rest is not documented."""

_ORDER_FIELDS: Final = {
    "trade_type": "tT",
    "order_id": "oi",
    "client_id": "ci",
    "status": "os",
    "symbol": "s",
    "side": "S",
    "order_type": "oT",
    "price": "p",
    "size": "q",
    "size_unit": "qU",
    "filled": "fS",
    "average": "aP",
    "fee": "f",
    "fee_asset": "fC",
    "created": "O",
    "updated": "U",
    "source": "oS",
}


class OrderPush(msgspec.Struct, rename=_ORDER_FIELDS):
    """`d` of an `orderAll` push."""

    trade_type: str
    order_id: str
    status: int | str
    symbol: str
    side: str
    order_type: str = ""
    client_id: str | None = None
    price: Number = None
    size: Number = None
    size_unit: str | None = None
    filled: Number = None
    average: Number = None
    fee: Number = None
    fee_asset: str | None = None
    source: str | None = None
    """`USER` in the sample; other words are not documented."""
    created: int | str | None = None
    updated: int | str | None = None


class BalancePush(msgspec.Struct, rename={"currency": "c", "available": "a", "hold": "h", "updated": "U"}):
    """`d` of a `balance` push."""

    currency: str
    available: Figure
    hold: Number = "0"
    updated: int | str | None = None


class RestOrder(msgspec.Struct, rename="camel"):
    """A row of `open-list`, `history` or `detail`."""

    order_id: str
    symbol: str
    side: str
    status: int | str
    order_type: str = ""
    client_oid: str | None = None
    price: Number = None
    size: Number = None
    size_unit: str | None = None
    filled_size: Number = None
    avg_price: Number = None
    fee: Number = None
    fee_currency: str | None = None
    order_source: str | None = None
    order_time: int | str | None = None
    updated_time: int | str | None = None


def order_event(exchange: str, pair: Callable[[str], str | None], push: OrderPush) -> ExecutionReport | None:
    """The event of an order push; None for another market's order, one that is not live yet or in a state of no page."""
    trade_type = "SPOT" if _symbols.is_spot(exchange) else "FUTURES"
    status = None if unclear(push.status, push.filled, push.average, push.price) else STATUSES.get(int(push.status))
    symbol = pair(push.symbol)
    if push.trade_type != trade_type or status is None or symbol is None or push.side not in ("BUY", "SELL"):
        return None
    filled, average = decimal(push.filled), decimal(push.average)
    limit = push.order_type == "LIMIT" and decimal(push.price) > 0
    time_ms = _rows.milliseconds(push.updated) or _rows.milliseconds(push.created)
    fee = decimal(push.fee)
    report = _orders.order_report(
        symbol=symbol,
        client_id=push.client_id,
        order_id=push.order_id,
        status=status,
        kind="LIMIT" if push.order_type == "LIMIT" else "MARKET",
        side=push.side,
        price=_rows.text(push.price) if limit else plain(average),
        # An order by funds has its size in quote money.
        quantity=plain(filled) if (push.size_unit or "").startswith("QUOTE") else _rows.text(push.size),
        filled=filled,
        quote=multiply(average, filled),
        created_ms=_rows.milliseconds(push.created) or time_ms,
        time_ms=time_ms,
    )
    if (push.source or "").upper().startswith(LIQUIDATION):
        report = msgspec.structs.replace(report, liquidation=True)
    if fee and push.fee_asset:
        return msgspec.structs.replace(report, fee_paid=plain(abs(fee)), fee_asset=push.fee_asset)
    return report


def balance_event(push: BalancePush) -> AccountPosition:
    return _orders.position(
        _symbols.asset_name(push.currency),
        _rows.text(push.available),
        _rows.text(push.hold),
        _rows.milliseconds(push.updated),
    )


_REASONS: Final = ("cR", "changeReason", "reason", "r", "eT")
_QUANTITIES: Final = ("cQ", "currentQty", "q", "size")
_MARKS: Final = ("mP", "markPrice")
_TIMES: Final = ("U", "currentTimestamp", "ts", "P")
_decode_any = msgspec.json.Decoder().decode


def liquidation_of(raw: msgspec.Raw) -> _rows.PositionFrame | None:
    """A `positionAll` push that names a liquidation, in the shape of the classic one; None for every other push.

    No page lists the fields of this push and no frame was recorded: the names are those of the neighbouring channels, and the
    reason decides. Raises one of `UNREADABLE`.
    """
    row = _decode_any(raw)
    if not isinstance(row, dict):
        return None
    reasons = [str(row[name]).upper() for name in _REASONS if isinstance(row.get(name), str)]
    symbol = row.get("s", row.get("symbol"))
    if not isinstance(symbol, str) or not any(reason.startswith(LIQUIDATION) for reason in reasons):
        return None
    quantity = decimal(_first(row, _QUANTITIES))
    if str(row.get("pS", row.get("positionSide", ""))).upper() == "SHORT":
        quantity = -abs(quantity)
    time = _first(row, _TIMES)
    return _rows.PositionFrame(
        symbol=symbol,
        current_qty=plain(quantity),
        mark_price=_first(row, _MARKS),
        current_timestamp=time if isinstance(time, int | str) and str(time).isdigit() else 0,
        opening_timestamp=row.get("oT") if isinstance(row.get("oT"), int | str) else None,
        change_reason="liquidation",
    )


def _first(row: dict[str, Any], names: Sequence[str]) -> Number:
    found = next((row[name] for name in names if row.get(name) is not None), None)
    return found if isinstance(found, str | int | float) else None


def report_of(
    exchange: str, pair: Callable[[str], str | None], row: RestOrder, trade_type: str
) -> ExecutionReport | None:
    """The event of a row of REST; None as in `order_event`."""
    return order_event(exchange, pair, _as_push(row, trade_type))


def _as_push(row: RestOrder, trade_type: str) -> OrderPush:
    return OrderPush(
        trade_type=trade_type,
        order_id=row.order_id,
        status=row.status,
        symbol=row.symbol,
        side=row.side,
        order_type=row.order_type,
        client_id=row.client_oid,
        price=row.price,
        size=row.size,
        size_unit=row.size_unit,
        filled=row.filled_size,
        average=row.avg_price,
        fee=row.fee,
        fee_asset=row.fee_currency,
        source=row.order_source,
        created=row.order_time,
        updated=row.updated_time,
    )
