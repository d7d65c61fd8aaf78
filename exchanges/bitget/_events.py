"""Bitget account frames → events, classic and unified (venue file sections 5 and 6).

Sample frames stand in `tests/golden/bitget.jsonl`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import UNSET

from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.bitget import _markets
from exchanges.bitget._frames import (
    FuturesBalance,
    OrderRow,
    RestFuturesBalance,
    RestOrder,
    SpotBalance,
    UnifiedCoin,
    UnifiedOrder,
    milliseconds,
    positive_number,
    text,
)
from exchanges.events import TERMINAL, AccountPosition, Balance, ExecutionReport, FeePart

STATUSES: Final = {
    "live": "NEW",
    "new": "NEW",
    "init": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "cancelled": "CANCELED",
    "canceled": "CANCELED",
}
"""Anything else publishes nothing and is logged."""
MAX_ORDERS: Final = 20_000
"""Orders remembered per account; the least recently touched go first."""
_LIQUIDATION: Final = ("burst_", "reduce_", "offset_")
_HEDGE: Final = {
    ("long", "open"): "BUY",
    ("long", "close"): "SELL",
    ("short", "open"): "SELL",
    ("short", "close"): "BUY",
}

Fee = tuple[str, Decimal]


def side_of(side: str, trade_side: str | None, pos_side: str | None) -> str | None:
    """The real direction, BUY or SELL; None if the frame does not tell.

    In hedge mode `side` names the position, not the trade, so it is never looked at there.
    """
    trade = trade_side or ""
    hedge = _HEDGE.get((pos_side or "", trade))
    if hedge is not None:
        return hedge
    if trade.endswith("close_long"):
        return "SELL"
    if trade.endswith("close_short"):
        return "BUY"
    forced = trade not in ("", "buy_single", "sell_single", "open", "close")
    if forced and ("buy_" in trade or "sell_" in trade):
        return "BUY" if "buy_" in trade else "SELL"
    return {"buy": "BUY", "sell": "SELL"}.get(side)


class _Order:
    """What one order's frames told so far."""

    __slots__ = ("average", "fees", "status")

    def __init__(self) -> None:
        self.average = Decimal(0)
        self.status = ""
        self.fees: dict[str, tuple[Decimal, Fee]] = {}


class Account:
    """What one account session remembers between frames, and the mapping that needs it."""

    def __init__(self, exchange: str, products: Sequence[str] = ()) -> None:
        self.exchange = exchange
        self.products = tuple(products) or _markets.PRODUCTS[exchange]
        self._spot = _markets.is_spot(exchange)
        self._orders: OrderedDict[str, _Order] = OrderedDict()

    def seed(self, order_id: str, status: str, executed: Decimal, quote: Decimal) -> None:
        """Last published state of an order, from before this connection."""
        order = self._order(order_id)
        order.status = status
        order.average = divide(quote, executed)

    def _order(self, order_id: str) -> _Order:
        order = self._orders.get(order_id)
        if order is None:
            order = self._orders[order_id] = _Order()
            if len(self._orders) > MAX_ORDERS:
                self._orders.popitem(last=False)
        else:
            self._orders.move_to_end(order_id)
        return order

    # --- classic ---

    def order(self, row: OrderRow) -> ExecutionReport | None:
        """The event of an order push; None for an unknown state or a step back from a final one."""
        status, side = STATUSES.get(row.status), side_of(row.side, row.trade_side, row.pos_side)
        if status is None or side is None:
            return None
        memory = self._order(row.order_id)
        filled, told = decimal(row.acc_base_volume), decimal(row.price_avg)
        if told > 0:
            memory.average = told
        # Futures leave the average out of cancelled pushes.
        average = (memory.average or decimal(row.price)) if filled > 0 else Decimal(0)
        if row.trade_id is not None and row.fill_fee_coin and decimal(row.base_volume) > 0:
            fee = (row.fill_fee_coin, decimal(row.fill_fee))
            memory.fees.setdefault(str(row.trade_id), (decimal(row.base_volume), fee))
        return self._report(
            memory,
            symbol=row.inst_id,
            client_id=row.client_oid or row.client_o_id or "",
            order_id=row.order_id,
            status=status,
            order_type=row.order_type,
            side=side,
            price=average if average else decimal(row.price),
            quantity=self._quantity(row, filled),
            filled=filled,
            quote=multiply(filled, average),
            times=(milliseconds(row.c_time), milliseconds(row.u_time)),
            trade_side=row.trade_side or "",
            trade_id=str(row.trade_id or ""),
            fees=_fees_of(memory, filled),
        )

    def _quantity(self, row: OrderRow, filled: Decimal) -> str:
        if not self._spot:
            return text(row.size)
        if row.order_type != "limit" and row.side == "buy":
            return plain(filled)  # newSize is quote money there
        if row.new_size not in (None, ""):
            return text(row.new_size)
        if row.side == "buy" and positive_number(row.price):
            return plain(divide(decimal(row.size), decimal(row.price)))  # very old servers: size is quote money
        return text(row.size)

    def rest_order(self, row: RestOrder) -> ExecutionReport | None:
        """The state that a v2 REST answer tells."""
        status = STATUSES.get(row.status or row.state or "")
        side = side_of(row.side, row.trade_side, row.pos_side)
        if status is None or side is None:
            return None
        memory = self._order(row.order_id)
        filled = decimal(row.base_volume)
        quote = decimal(row.quote_volume) or multiply(filled, decimal(row.price_avg))
        average = divide(quote, filled)
        if average > 0:
            memory.average = average
        # Open spot orders have their limit price in `priceAvg` or `basePrice`.
        prices = (row.price, row.base_price, row.price_avg)
        price = next((decimal(value) for value in prices if positive_number(value)), Decimal(0))
        money = self._spot and row.order_type != "limit" and row.side == "buy"
        return self._report(
            memory,
            symbol=row.symbol,
            client_id=row.client_oid or "",
            order_id=row.order_id,
            status=status,
            order_type=row.order_type,
            side=side,
            price=average if filled > 0 and average > 0 else price,
            quantity=plain(filled) if money else text(row.size),
            filled=filled,
            quote=quote if filled > 0 else Decimal(0),
            times=(milliseconds(row.c_time), milliseconds(row.u_time)),
            trade_side=row.trade_side or "",
            trade_id="",
            fees=_rest_fees(row),
        )

    # --- unified ---

    def unified_order(self, row: UnifiedOrder) -> ExecutionReport | None:
        """The event of a v3 order; None for another market's order, an unknown state or a step back."""
        status = STATUSES.get(row.order_status)
        side = side_of(row.side, row.trade_side, row.hold_side or row.pos_side)
        if row.category.upper() not in self.products or status is None or side is None:
            return None
        memory = self._order(row.order_id)
        filled, value = decimal(row.cum_exec_qty), decimal(row.cum_exec_value)
        told = decimal(row.avg_price) or divide(value, filled)
        if told > 0:
            memory.average = told
        average = memory.average if filled > 0 else Decimal(0)
        money = self._spot and row.order_type != "limit" and row.side == "buy"
        fees = [(part.fee_coin, decimal(part.fee)) for part in row.fee_detail or () if part.fee_coin]
        return self._report(
            memory,
            symbol=row.symbol,
            client_id=row.client_oid or "",
            order_id=row.order_id,
            status=status,
            order_type=row.order_type,
            side=side,
            price=average or decimal(row.price),
            quantity=plain(filled) if money else text(row.qty),
            filled=filled,
            quote=value if value > 0 else multiply(filled, average),
            times=(milliseconds(row.created_time), milliseconds(row.updated_time)),
            trade_side=row.trade_side or "",
            trade_id="",
            fees=fees,
        )

    # --- the report ---

    def _report(
        self,
        memory: _Order,
        *,
        symbol: str,
        client_id: str,
        order_id: str,
        status: str,
        order_type: str,
        side: str,
        price: Decimal,
        quantity: str,
        filled: Decimal,
        quote: Decimal,
        times: tuple[int, int],
        trade_side: str,
        trade_id: str,
        fees: Sequence[Fee],
    ) -> ExecutionReport | None:
        # A partial fill may arrive after the last one: never step back from a final state.
        if memory.status in TERMINAL and status not in {memory.status, "FILLED"}:
            return None
        memory.status = status
        created_ms, updated_ms = times
        total, average = plain(filled), plain(price)
        report = ExecutionReport(
            symbol=symbol,
            new_client_order_id=client_id,
            original_client_order_id=client_id,
            order_id=order_id,
            order_status=status,
            order_type="LIMIT" if order_type == "limit" else "MARKET",
            side=side,
            price=average,
            quantity=quantity,
            total_trade_quantity=total,
            total_quote_trade_quantity=plain(quote),
            creation_time=created_ms or updated_ms,
            event_time=updated_ms or created_ms,
            order_time=updated_ms or created_ms,
            unique_message_id=f"bitget:{order_id}:{status}:{total}:{updated_ms}:{average}:{quantity}:{trade_id}",
            liquidation=True if trade_side.startswith(_LIQUIDATION) else UNSET,
        )
        return _with_fees(report, fees)


def _fees_of(memory: _Order, filled: Decimal) -> Sequence[Fee]:
    """Fees of the order so far, if every fill was seen: a part of them would pass for the whole."""
    seen = sum((size for size, _ in memory.fees.values()), Decimal(0))
    return [fee for _, fee in memory.fees.values()] if filled > 0 and seen == filled else ()


_decode_fee_detail = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _CoinFee(msgspec.Struct, rename="camel"):
    fee_coin_code: str = ""
    total_fee: float | str = 0


_decode_coin_fee = msgspec.json.Decoder(_CoinFee).decode


def _rest_fees(row: RestOrder) -> Sequence[Fee]:
    """Futures state `fee` in the margin coin; spot a JSON text with one entry a coin beside `newFees`."""
    if row.fee is not None and row.margin_coin:
        return [(row.margin_coin.upper(), decimal(row.fee))]
    if isinstance(row.fee_detail, list):
        return [(part.fee_coin, decimal(part.fee)) for part in row.fee_detail if part.fee_coin]
    if not row.fee_detail:
        return ()
    try:
        entries = _decode_fee_detail(row.fee_detail)
        coins = [_decode_coin_fee(raw) for name, raw in entries.items() if name != "newFees"]
    except (*UNREADABLE, ValueError):
        return ()
    return [(coin.fee_coin_code, decimal(coin.total_fee)) for coin in coins if coin.fee_coin_code]


def _with_fees(report: ExecutionReport, fees: Sequence[Fee]) -> ExecutionReport:
    """Bitget states a charge as a negative number: the magnitude is published (bug B24)."""
    sums: dict[str, Decimal] = {}
    for coin, fee in fees:
        sums[coin] = sums.get(coin, Decimal(0)) + fee
    paid = [(coin, plain(abs(fee))) for coin, fee in sums.items() if fee]
    if not paid:
        return report
    if len(paid) > 1:
        parts = [FeePart(coin, amount) for coin, amount in paid]
        return msgspec.structs.replace(report, fee_breakdown=parts)
    return msgspec.structs.replace(report, fee_paid=paid[0][1], fee_asset=paid[0][0])


# --- balances ---


def spot_position(rows: Sequence[SpotBalance], time_ms: int) -> AccountPosition | None:
    return _position(
        [(row.coin, text(row.available), decimal(row.frozen) + decimal(row.locked)) for row in rows], time_ms
    )


def futures_position(rows: Sequence[FuturesBalance], time_ms: int) -> AccountPosition | None:
    return _position(
        [
            (
                row.margin_coin,
                text(row.available),
                decimal(row.equity) - decimal(row.unrealized_pl) - decimal(row.available),
            )
            for row in rows
        ],
        time_ms,
    )


def rest_futures_position(rows: Sequence[RestFuturesBalance], time_ms: int) -> AccountPosition | None:
    return _position(
        [
            (row.margin_coin, text(row.available), decimal(row.isolated_margin) + decimal(row.crossed_margin))
            for row in rows
        ],
        time_ms,
    )


def unified_position(rows: Sequence[UnifiedCoin], time_ms: int) -> AccountPosition | None:
    return _position([(row.coin, text(row.available), decimal(row.locked)) for row in rows], time_ms)


def _position(rows: Sequence[tuple[str, str, Decimal]], time_ms: int) -> AccountPosition | None:
    """All coins of the frame in one event; nothing for an empty list."""
    if not rows:
        return None
    balances = [Balance(asset=asset, free=free, locked=plain(locked)) for asset, free, locked in rows]
    parts = ":".join(f"{balance.asset}={balance.free}/{balance.locked}" for balance in balances)
    return AccountPosition(
        event_time=time_ms, last_account_update=0, balances=balances, unique_message_id=f"bitget:{time_ms}:{parts}"
    )
