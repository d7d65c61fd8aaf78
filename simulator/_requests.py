"""What is asked of the trading engine, and what follows from it alone. Pure."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import msgspec

from simulator._accounts import Refused
from simulator._values import ZERO, Order, Side, Symbol


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order request. `quote_quantity` sizes a market order by funds instead of `quantity`."""

    symbol: str
    side: Side
    quantity: Decimal = ZERO
    price: Decimal = ZERO
    order_type: str = "LIMIT"
    time_in_force: str = "GTC"
    client_id: str = ""
    stop_price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    reduce_only: bool = False
    position_side: str = "BOTH"


def order_of(new: NewOrder, account_id: str, exchange: str, symbol: Symbol, price: Decimal, number: int) -> Order:
    """The order of a request, with this id. Of a market order by funds the price tells the size. Raises `Refused`."""
    market = new.order_type == "MARKET"
    quantity = new.quantity
    if market and not quantity and new.quote_quantity > 0:
        step = Decimal(1).scaleb(-symbol.quantity_decimals)
        quantity = (new.quote_quantity / price).quantize(step, rounding=ROUND_DOWN)
    if quantity <= 0:
        raise Refused("quantity", "quantity must be above 0")
    return Order(
        account=account_id,
        exchange=exchange,
        symbol=new.symbol,
        order_id=number,
        client_id=new.client_id or f"sim{number}",
        side=new.side,
        order_type=new.order_type,
        time_in_force=new.time_in_force,
        price=ZERO if market else new.price,
        quantity=quantity,
        status="NEW",
        created_ms=0,
        updated_ms=0,
        stop_price=new.stop_price,
        quote_quantity=new.quote_quantity,
        reduce_only=new.reduce_only,
        position_side=new.position_side,
        working=not new.stop_price,
    )


def reaches(side: Side, limit: Decimal, price: Decimal) -> bool:
    """Whether a limit order may trade at a price."""
    return price <= limit if side == "BUY" else price >= limit


def average(symbol: Symbol, executed: Decimal, value: Decimal) -> Decimal:
    units = executed * symbol.contract_size
    if symbol.inverse:
        return units / value if value else ZERO
    return value / units if units else ZERO
