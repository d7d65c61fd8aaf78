"""Orders, fills and balances as REST tells them, and the events that they become (docs/venues/binance.md 8)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from exchanges._numbers import decimal, divide, multiply, order_id, plain
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.binance._hosts import Market
from exchanges.binance._orders import LIQUIDATION_PREFIX, REJECTED, STATUS
from exchanges.events import (
    AccountPosition,
    AccountUpdate,
    Balance,
    ExecutionReport,
    FuturesBalance,
    OrderEvent,
    OrderTradeUpdate,
)

EXECUTION: Final = {"PARTIALLY_FILLED": "TRADE", "FILLED": "TRADE"}
"""Execution type of a status; elsewhere the two have the same name."""


class OrderRow(msgspec.Struct, rename="camel"):
    """One order; which of the optional fields are there depends on the market."""

    symbol: str
    order_id: int
    client_order_id: str
    price: str
    orig_qty: str
    executed_qty: str
    status: str
    type: str
    side: str
    update_time: int
    time: int = 0
    time_in_force: str = ""
    stop_price: str = "0"
    # spot
    cummulative_quote_qty: str = "-1"
    """Negative or absent: unknown, then the fills tell."""
    iceberg_qty: str = "0"
    is_working: bool = True
    order_list_id: int = -1
    orig_quote_order_qty: str = "0"
    # futures
    avg_price: str = "0"
    orig_type: str = ""
    reduce_only: bool = False
    position_side: str = "BOTH"
    close_position: bool = False
    working_type: str = ""

    @property
    def state(self) -> str:
        """Status under the platform's names; empty for one that no page lists."""
        return STATUS.get(self.status, "")


class TradeRow(msgspec.Struct, rename="camel"):
    """One fill of an order."""

    id: int
    order_id: int
    price: str
    qty: str
    time: int
    commission: str = "0"
    commission_asset: str | None = None
    is_maker: bool = False
    # futures
    maker: bool = False
    realized_pnl: str = "0"


class _SpotBalance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class _SpotAccount(msgspec.Struct, rename="camel"):
    balances: msgspec.Raw
    update_time: int | None = None


class _FuturesBalance(msgspec.Struct, rename="camel"):
    asset: str
    balance: str
    cross_wallet_balance: str
    update_time: int = 0


class _PositionRow(msgspec.Struct, rename="camel"):
    symbol: str
    position_amt: str = "0"
    update_time: int = 0


decode_order = tolerant(OrderRow)
_decode_trade = tolerant(TradeRow)
_decode_account = tolerant(_SpotAccount)
_decode_spot_balance = tolerant(_SpotBalance)
_decode_futures_balance = tolerant(_FuturesBalance)
_decode_position = tolerant(_PositionRow)


def decode_orders(body: bytes) -> tuple[list[OrderRow], Odd]:
    """The orders of a list, and what is odd in it. Raises one of `UNREADABLE` for what is no list."""
    return read_rows(body, decode_order)


def decode_trades(body: bytes) -> list[TradeRow]:
    """Fills; one that can't be read is missing in the sum, so that the order is told by its own totals."""
    return read_rows(body, _decode_trade)[0]


def traded_symbols(body: bytes, since_ms: int) -> list[str]:
    """Symbols of a list of positions that are open, or changed since then. Raises one of `UNREADABLE`."""
    rows = read_rows(body, _decode_position)[0]
    return [row.symbol for row in rows if decimal(row.position_amt) or row.update_time >= since_ms]


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """Where an order stood after one fill."""

    trade: TradeRow
    executed: Decimal
    quote: Decimal
    average: Decimal


def fills(trades: Iterable[TradeRow], *, inverse: bool) -> list[Fill]:
    """The fills of one order in their order, with running totals.

    `inverse`: quantities are contracts of a fixed value in quote money (COIN-M), so the average is harmonic.
    """
    done: list[Fill] = []
    executed = quote = base = Decimal(0)
    for trade in sorted(trades, key=lambda row: row.id):
        quantity, price = decimal(trade.qty), decimal(trade.price)
        executed += quantity
        quote += multiply(quantity, price)
        base += divide(quantity, price)
        average = divide(executed, base) if inverse else divide(quote, executed)
        done.append(Fill(trade=trade, executed=executed, quote=quote, average=average))
    return done


def order_event(
    market: Market, row: OrderRow, client_id: str, fill: Fill | None = None, status: str = ""
) -> OrderEvent:
    """The state of an order (after `fill`, with `status`, if given) as an event."""
    state = status or row.state
    if market.spot:
        return _report(row, client_id, fill, state)
    return _update(row, client_id, fill, state)


def after_fill(market: Market, row: OrderRow, client_id: str, fill: Fill, *, last: bool) -> OrderEvent:
    """The event of one fill: running totals, and `FILLED` only for the one that completes the order."""
    state = "FILLED" if last and row.state == "FILLED" else "PARTIALLY_FILLED"
    if not last or row.state not in ("FILLED", "PARTIALLY_FILLED"):
        row = msgspec.structs.replace(
            row,
            executed_qty=plain(fill.executed),
            cummulative_quote_qty=plain(fill.quote),
            avg_price=plain(fill.average),
            update_time=fill.trade.time,
        )
    return order_event(market, row, client_id, fill, state)


def _execution(row: OrderRow, state: str) -> str:
    return REJECTED if row.status == REJECTED else EXECUTION.get(state, state)


def _report(row: OrderRow, client_id: str, fill: Fill | None, state: str) -> ExecutionReport:
    quote = row.cummulative_quote_qty
    if decimal(quote) < 0:  # unknown for some old orders; then only the fills tell
        quote = plain(fill.quote) if fill else "0"
    trade = fill.trade if fill else None
    return ExecutionReport(
        symbol=row.symbol,
        new_client_order_id=client_id,
        # A cancel is looked up by the original id, everything else by the new one (contract 2.1).
        original_client_order_id=client_id if state == "CANCELED" else "",
        order_id=order_id(row.order_id),
        order_status=state,
        order_type=row.type,
        side=row.side,
        price=row.price,
        quantity=row.orig_qty,
        total_trade_quantity=row.executed_qty,
        total_quote_trade_quantity=quote,
        creation_time=row.time or row.update_time,
        event_time=row.update_time,
        order_time=row.update_time,
        unique_message_id=f"order:{row.symbol}:{row.order_id}:{state}:{row.executed_qty}:{row.orig_qty}:{row.price}",
        time_in_force=row.time_in_force,
        execution_type=_execution(row, state),
        stop_price=row.stop_price,
        iceberg_quantity=row.iceberg_qty,
        order_reject_reason="NONE",
        last_trade_quantity=trade.qty if trade else "0",
        price_last_trade=trade.price if trade else "0",
        commission=trade.commission if trade else "0",
        commission_asset=trade.commission_asset if trade else None,
        trade_id=trade.id if trade else -1,
        is_order_working=row.is_working,
        is_buyer_maker=trade.is_maker if trade else False,
        order_list_id=row.order_list_id,
        quote_order_quantity=row.orig_quote_order_qty,
        last_quote_transacted=plain(multiply(decimal(trade.qty), decimal(trade.price))) if trade else "0",
    )


def _update(row: OrderRow, client_id: str, fill: Fill | None, state: str) -> OrderTradeUpdate:
    trade = fill.trade if fill else None
    event = OrderTradeUpdate(
        event_time=row.update_time,
        transaction_time=row.update_time,
        symbol=row.symbol,
        client_order_id=client_id,
        side=row.side,
        order_type=row.type,
        time_in_force=row.time_in_force,
        quantity=row.orig_qty,
        price=row.price,
        average_price=row.avg_price,
        order_status=state,
        order_id=order_id(row.order_id),
        total_trade_quantity=row.executed_qty,
        order_time=row.update_time,
        liquidation=client_id.startswith(LIQUIDATION_PREFIX),
        unique_message_id=f"order:{row.symbol}:{row.order_id}:{state}:{row.executed_qty}:{row.orig_qty}:{row.price}",
        stop_price=row.stop_price,
        execution_type=_execution(row, state),
        is_reduce_only=row.reduce_only,
        working_type=row.working_type,
        original_order_type=row.orig_type or row.type,
        position_side=row.position_side,
        close_position=row.close_position,
    )
    if trade is None:
        return event
    return msgspec.structs.replace(
        event,
        last_trade_quantity=trade.qty,
        price_last_trade=trade.price,
        commission=trade.commission,
        commission_asset=trade.commission_asset,
        trade_id=trade.id,
        is_maker=trade.maker,
        realized_profit=trade.realized_pnl,
    )


class Wallets(NamedTuple):
    """All balances of an account."""

    event: AccountPosition | AccountUpdate | None
    """None = the account holds nothing."""
    updated_ms: int | None
    """When anything of the account changed last, where the venue says so for the whole of it."""
    changed: frozenset[str]
    """Assets that moved since the gap began, where the venue says so for each."""
    odd: Odd


def balances(market: Market, body: bytes, now_ms: int, related: Sequence[str], since_ms: int) -> Wallets:
    """The snapshot of all balances; `related` assets that the venue leaves out have fallen to zero.

    Raises one of `UNREADABLE` for an unreadable body.
    """
    return _spot_balances(body, now_ms, related) if market.spot else _futures_balances(body, now_ms, since_ms)


def _spot_balances(body: bytes, now_ms: int, related: Sequence[str]) -> Wallets:
    account = _decode_account(body)
    found, odd = read_rows(account.balances, _decode_spot_balance)
    listed = {row.asset for row in found}
    rows = [Balance(asset=row.asset, free=row.free, locked=row.locked) for row in found]
    if not odd:  # what can't be read may be one of them
        rows += [Balance(asset=asset, free="0", locked="0") for asset in related if asset not in listed]
    if not rows:
        return Wallets(None, account.update_time, frozenset(), odd)
    figures = ",".join(f"{row.asset}={row.free}+{row.locked}" for row in rows)
    event = AccountPosition(
        event_time=now_ms,
        last_account_update=account.update_time or 0,
        balances=rows,
        unique_message_id=f"snapshot:{account.update_time or 0}:{figures}",
    )
    return Wallets(event, account.update_time, frozenset(), odd)


def _futures_balances(body: bytes, now_ms: int, since_ms: int) -> Wallets:
    wallets, odd = read_rows(body, _decode_futures_balance)
    changed = frozenset(row.asset for row in wallets if row.update_time >= since_ms)
    if not wallets:
        return Wallets(None, None, changed, odd)
    figures = ",".join(f"{row.asset}={row.balance}+{row.cross_wallet_balance}" for row in wallets)
    event = AccountUpdate(
        event_time=now_ms,
        transaction_time=now_ms,
        event_reason_type="SNAPSHOT",
        balances=[
            FuturesBalance(
                asset=row.asset,
                wallet_balance=row.balance,
                cross_wallet_balance=row.cross_wallet_balance,
                balance_change="0",
            )
            for row in wallets
        ],
        positions=[],
        unique_message_id=f"snapshot:{now_ms}:{figures}",
    )
    return Wallets(event, None, changed, odd)
