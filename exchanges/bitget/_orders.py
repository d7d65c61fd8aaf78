"""Bitget account rows → events, classic and unified (docs/venues/bitget.md, sections 5 and 6).

Sample frames stand in `tests/golden/bitget.jsonl` and `bitget-v3.jsonl`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from exchanges._numbers import decimal, divide, multiply, plain
from exchanges.bitget import _hosts
from exchanges.bitget._report import (
    ASK_FORCED,
    ASK_STATE,
    ASK_UNIT,
    STATUSES,
    Facts,
    Fee,
    OrderMemory,
    Orders,
    Told,
    report,
    side_of,
)
from exchanges.bitget._rows import (
    FuturesBalance,
    OrderRow,
    RestFuturesBalance,
    RestOrder,
    SpotBalance,
    UnifiedCoin,
    UnifiedOrder,
    fees_of,
    milliseconds,
    positive_number,
    text,
    word,
)
from exchanges.bitget._rows_unified import Sizes, coin_sizes, contract_sizes, forced, perhaps_forced, wallet
from exchanges.events import AccountPosition, Balance
from exchanges.instruments import EMPTY, SymbolTable

_FORCED_TRADE = ("burst_", "reduce_", "offset_")


class Account:
    """What one account session remembers between frames, and the mapping that needs it."""

    def __init__(
        self, exchange: str, products: Sequence[str] = (), table: Callable[[], SymbolTable] = lambda: EMPTY
    ) -> None:
        self.exchange = exchange
        self.products = tuple(products) or _hosts.PRODUCTS[exchange]
        self._spot = _hosts.is_spot(exchange)
        self._table = table
        self._orders = Orders()
        self.seed = self._orders.seed

    # --- classic ---

    def order(self, row: OrderRow) -> Told:
        """What an order push says. Raises `ValueError` for a time that is no number."""
        status, side = STATUSES.get(row.status), side_of(row.side, row.trade_side, row.pos_side)
        if status is None or (status == "FILLED" and not decimal(row.acc_base_volume)):
            return _unclear(row.status)
        if side is None:
            return Told(note=f"order {row.order_id} tells no side")
        memory = self._orders.of(str(row.order_id))
        filled, told = decimal(row.acc_base_volume), decimal(row.price_avg)
        if told > 0:
            memory.average = told
        # Futures leave the average out of cancelled pushes.
        average = (memory.average or decimal(row.price)) if filled > 0 else Decimal(0)
        if status == "FILLED" and not average:
            return _unclear(row.status)
        if row.trade_id is not None and row.fill_fee_coin and decimal(row.base_volume) > 0:
            fee = (row.fill_fee_coin, decimal(row.fill_fee))
            memory.fees.setdefault(str(row.trade_id), (decimal(row.base_volume), fee))
        facts = Facts(
            symbol=row.inst_id,
            client_id=row.client_oid or row.client_o_id or "",
            order_id=str(row.order_id),
            status=status,
            order_type=row.order_type or "",
            side=side,
            price=average if average else decimal(row.price),
            quantity=self._quantity(row, filled),
            filled=filled,
            quote=multiply(filled, average),
            times=(milliseconds(row.c_time), milliseconds(row.u_time)),
            liquidation=word(row.trade_side).startswith(_FORCED_TRADE),
            trade_id=str(row.trade_id or ""),
            fees=_push_fees(memory, row, filled),
        )
        return Told(report(memory, facts))

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

    def rest_order(self, row: RestOrder) -> Told:
        """What a v2 REST answer says. Raises `ValueError` for a time that is no number."""
        word_told = row.status or row.state or ""
        status, side = STATUSES.get(word_told), side_of(row.side, row.trade_side, row.pos_side)
        if status is None or (status == "FILLED" and not decimal(row.base_volume)):
            return _unclear(word_told)
        if side is None:
            return Told(note=f"order {row.order_id} tells no side")
        memory = self._orders.of(str(row.order_id))
        filled = decimal(row.base_volume)
        quote = decimal(row.quote_volume) or multiply(filled, decimal(row.price_avg))
        average = divide(quote, filled)
        if average > 0:
            memory.average = average
        elif status == "FILLED":
            return _unclear(word_told)
        # Open spot orders have their limit price in `priceAvg` or `basePrice`.
        prices = (row.price, row.base_price, row.price_avg)
        price = next((decimal(value) for value in prices if positive_number(value)), Decimal(0))
        money = self._spot and row.order_type != "limit" and row.side == "buy"
        facts = Facts(
            symbol=row.symbol,
            client_id=row.client_oid or "",
            order_id=str(row.order_id),
            status=status,
            order_type=row.order_type or "",
            side=side,
            price=average if filled > 0 and average > 0 else price,
            quantity=plain(filled) if money else text(row.size),
            filled=filled,
            quote=quote if filled > 0 else Decimal(0),
            times=(milliseconds(row.c_time), milliseconds(row.u_time)),
            liquidation=word(row.trade_side).startswith(_FORCED_TRADE),
            fees=_rest_fees(row),
        )
        return Told(report(memory, facts))

    # --- unified ---

    def mine(self, row: UnifiedOrder) -> bool:
        """Whether an order belongs to this exchange id: a unified account tells all its markets on one socket."""
        return row.category.upper() in self.products

    def unified_order(self, row: UnifiedOrder) -> Told:
        """What a v3 order says; nothing for another market's. Raises `ValueError` for a time that is no number."""
        if not self.mine(row):
            return Told()
        status = STATUSES.get(row.order_status)
        position = row.hold_side or row.pos_side
        side = side_of(row.side, row.trade_side, position)
        if status is None or (status == "FILLED" and not decimal(row.cum_exec_qty)):
            return _unclear(row.order_status)
        if side is None:
            return Told(note=f"order {row.order_id} tells no side")
        memory = self._orders.of(str(row.order_id))
        sizes = self._sizes(row, memory)
        if sizes is None:
            return Told(note=f"order {row.order_id}: contracts or coins can't be told without a price", ask=ASK_UNIT)
        if status == "FILLED" and not sizes.price:
            return _unclear(row.order_status)
        facts = Facts(
            symbol=_hosts.pair_of(row.category, row.symbol),
            client_id=row.client_oid or "",
            order_id=str(row.order_id),
            status=status,
            order_type=row.order_type or "",
            side=side,
            price=sizes.price,
            quantity=sizes.quantity,
            filled=sizes.filled,
            quote=sizes.quote,
            times=(milliseconds(row.created_time), milliseconds(row.updated_time)),
            liquidation=forced(row),
            fees=[(fee.fee_coin or "", decimal(fee.fee)) for fee in fees_of(row.fee_detail)],
        )
        event = report(memory, facts)
        contradicts = side != {"buy": "BUY", "sell": "SELL"}.get(word(row.side), side)
        note = f"side {row.side} contradicts {row.trade_side} of {position}" if contradicts else ""
        return Told(event, note, ASK_FORCED if event is not None and perhaps_forced(row) else "")

    def _sizes(self, row: UnifiedOrder, memory: OrderMemory) -> Sizes | None:
        if _hosts.in_contracts(row.category, row.symbol):
            return contract_sizes(row, memory)
        money = self._spot and row.order_type != "limit" and row.side == "buy"
        return coin_sizes(row, memory, money=money)

    def unified_position(self, rows: Sequence[UnifiedCoin], time_ms: int) -> AccountPosition | None:
        """The coins that belong to this exchange id; None when none does."""
        table = self._table()
        mine = [row for row in rows if _hosts.tells_coin(self.exchange, table, row.coin)]
        return _position([wallet(row) for row in mine], time_ms)


def _unclear(state: str) -> Told:
    """A state of no page, or filled without a size or price: told, it would be final and wrong."""
    why = "without a filled size or a price" if state in STATUSES else "is not known"
    return Told(note=f"order state {state[:40]} {why}", ask=ASK_STATE)


def _push_fees(memory: OrderMemory, row: OrderRow, filled: Decimal) -> Sequence[Fee]:
    """Fees of the order so far: of its fills if every one was seen, else the sums that the row states.

    A part of the fills would pass for the whole.
    """
    seen = sum((size for size, _ in memory.fees.values()), Decimal(0))
    if filled > 0 and seen == filled:
        return [fee for _, fee in memory.fees.values()]
    return [(fee.fee_coin or "", decimal(fee.fee)) for fee in fees_of(row.fee_detail)] if filled > 0 else ()


def _rest_fees(row: RestOrder) -> Sequence[Fee]:
    """Futures state `fee` in the margin coin; spot only the details."""
    if row.fee is not None and row.margin_coin:
        return [(row.margin_coin.upper(), decimal(row.fee))]
    return [(fee.fee_coin or "", decimal(fee.fee)) for fee in fees_of(row.fee_detail)]


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
                _locked(row),
            )
            for row in rows
        ],
        time_ms,
    )


def _locked(row: FuturesBalance) -> Decimal:
    """What of the equity, without open profit, is not available; without equity, what the venue calls frozen."""
    if row.equity in (None, ""):
        return decimal(row.frozen)
    return decimal(row.equity) - decimal(row.unrealized_pl) - decimal(row.available)


def rest_futures_position(rows: Sequence[RestFuturesBalance], time_ms: int) -> AccountPosition | None:
    return _position(
        [
            (row.margin_coin, text(row.available), decimal(row.isolated_margin) + decimal(row.crossed_margin))
            for row in rows
        ],
        time_ms,
    )


def _position(rows: Sequence[tuple[str, str, Decimal]], time_ms: int) -> AccountPosition | None:
    """All coins of the frame in one event; nothing for an empty list."""
    if not rows:
        return None
    balances = [Balance(asset=asset, free=plain(decimal(free)), locked=plain(locked)) for asset, free, locked in rows]
    parts = ":".join(f"{balance.asset}={balance.free}/{balance.locked}" for balance in balances)
    return AccountPosition(
        event_time=time_ms, last_account_update=0, balances=balances, unique_message_id=f"bitget:{time_ms}:{parts}"
    )
