"""The events that leave the service, exactly as contract section 2 writes them.

Each class encodes to the JSON object of the contract with `encode()`. Decimal values are text, times are milliseconds since
the epoch. `UNSET` fields are left out of the JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType, field

TERMINAL: Final = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED"})
ORDER_STATUSES: Final = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"}) | TERMINAL

OrderId = str | int
"""Ids above 2^53-1 are text (bug B11); see `exchanges._numbers.order_id`."""


_CARRIED: Final = "+carried:"


def carrying(message_id: str, size: str, quote: str) -> str:
    """The message id of an order that goes on under another order id: how much of its totals the ones before it filled.

    It stands there because positions are made of what was published, and the consumer has no use for it.
    """
    return f"{message_id}{_CARRIED}{size}:{quote}"


def carried(message_id: str) -> tuple[str, str]:
    """What a message id says that earlier order ids filled of the totals: size and quote money; `0` for most."""
    _, found, told = message_id.partition(_CARRIED)
    size, _, quote = told.partition(":")
    return (size, quote) if found else ("0", "0")


class FeePart(msgspec.Struct, frozen=True):
    asset: str
    amount: str


class ExecutionReport(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="executionReport"
):
    """State of an order after one change; totals are cumulative (contract 2.1)."""

    symbol: str
    new_client_order_id: str
    original_client_order_id: str | None
    order_id: OrderId
    order_status: str
    order_type: str
    side: str
    price: str
    quantity: str
    total_trade_quantity: str
    total_quote_trade_quantity: str
    creation_time: int
    event_time: int
    order_time: int
    unique_message_id: str
    liquidation: bool | UnsetType = UNSET
    fee_paid: str | UnsetType = UNSET
    fee_asset: str | UnsetType = UNSET
    fee_side: str | UnsetType = UNSET
    fee_breakdown: list[FeePart] | UnsetType = UNSET
    fee_paid_usd: str | UnsetType = UNSET
    client_order_id: str | UnsetType = UNSET
    """KuCoin futures only, next to `newClientOrderId`."""
    # Binance spot forwards more keys than the common set.
    time_in_force: str | UnsetType = UNSET
    execution_type: str | UnsetType = UNSET
    stop_price: str | UnsetType = UNSET
    iceberg_quantity: str | UnsetType = UNSET
    order_reject_reason: str | UnsetType = UNSET
    last_trade_quantity: str | UnsetType = UNSET
    price_last_trade: str | UnsetType = UNSET
    commission: str | UnsetType = UNSET
    commission_asset: str | UnsetType | None = UNSET
    trade_id: int | UnsetType = UNSET
    is_order_working: bool | UnsetType = UNSET
    is_buyer_maker: bool | UnsetType = UNSET
    order_list_id: int | UnsetType = UNSET
    quote_order_quantity: str | UnsetType = UNSET
    last_quote_transacted: str | UnsetType = UNSET


class OrderTradeUpdate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="ORDER_TRADE_UPDATE"
):
    """An order change on Binance futures, in that venue's own shape (contract 2.1)."""

    event_time: int
    transaction_time: int
    symbol: str
    client_order_id: str
    side: str
    order_type: str
    time_in_force: str | UnsetType = UNSET
    quantity: str
    price: str
    average_price: str
    order_status: str
    order_id: OrderId
    total_trade_quantity: str
    order_time: int
    liquidation: bool
    unique_message_id: str
    stop_price: str | UnsetType = UNSET
    execution_type: str | UnsetType = UNSET
    last_trade_quantity: str | UnsetType = UNSET
    price_last_trade: str | UnsetType = UNSET
    commission_asset: str | UnsetType | None = UNSET
    commission: str | UnsetType = UNSET
    trade_id: int | UnsetType = UNSET
    bids_notional: str | UnsetType = UNSET
    asks_notional: str | UnsetType = UNSET
    is_maker: bool | UnsetType = UNSET
    is_reduce_only: bool | UnsetType = UNSET
    working_type: str | UnsetType = UNSET
    original_order_type: str | UnsetType = UNSET
    position_side: str | UnsetType = UNSET
    close_position: bool | UnsetType = UNSET
    activation_price: str | UnsetType = UNSET
    callback_rate: str | UnsetType = UNSET
    realized_profit: str | UnsetType = UNSET


class Balance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One asset of an `outboundAccountPosition`: absolute values. Only Kraken spot leaves `locked` out (2.2)."""

    asset: str
    free: str
    locked: str | UnsetType = UNSET
    venue_available: str | UnsetType = UNSET


class AccountPosition(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="outboundAccountPosition"
):
    """Balances of the listed assets; assets that are not listed stay as they were (contract 2.2)."""

    event_time: int
    last_account_update: int
    balances: list[Balance]
    unique_message_id: str


class BalanceUpdate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="balanceUpdate"
):
    """A signed change of one asset. The backend adds it: never publish one twice, never replay one (contract 2.2)."""

    asset: str
    balance_delta: str
    clear_time: int
    event_time: int
    unique_message_id: str


class FuturesBalance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    asset: str
    wallet_balance: str
    cross_wallet_balance: str
    balance_change: str


class FuturesPosition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    position_amount: str
    entry_price: str
    accumulated_realized: str
    unrealized_pnl: str = field(name="unrealizedPnL")
    margin_type: str
    isolated_wallet: str
    position_side: str


class AccountUpdate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="ACCOUNT_UPDATE"
):
    """Binance futures balances and positions; both lists are partial (contract 2.2)."""

    event_time: int
    transaction_time: int
    event_reason_type: str
    balances: list[FuturesBalance]
    positions: list[FuturesPosition]
    unique_message_id: str


class AccountConfigUpdate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="ACCOUNT_CONFIG_UPDATE"
):
    event_time: int
    transaction_time: int
    type: str
    unique_message_id: str
    symbol: str | UnsetType = UNSET
    leverage: int | UnsetType = UNSET
    multi_assets: bool | UnsetType = UNSET


class MarginPosition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    symbol: str
    position_side: str
    position_amount: str
    margin_type: str
    isolated_wallet: str | UnsetType = UNSET
    mark_price: str | UnsetType = UNSET
    unrealized_pnl: str | UnsetType = field(default=UNSET, name="unrealizedPnL")
    maintenance_margin_required: str | UnsetType = UNSET


class MarginCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="MARGIN_CALL"):
    event_time: int
    positions: list[MarginPosition]
    unique_message_id: str
    cross_wallet_balance: str | UnsetType = UNSET


class UserDataStreamExpired(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="USER_DATA_STREAM_EXPIRED"
):
    event_time: int
    unique_message_id: str


class PositionUpdate(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="eventType", tag="positionUpdate"
):
    """What an account of derivatives holds of one symbol (and side, in hedge mode) now. Both sizes are 0 when it is closed.

    Told when size, entry price, leverage or margin mode changed; the other figures are those of that moment.
    """

    symbol: str
    position_side: str
    """`BOTH` for a net position, `LONG` or `SHORT` in hedge mode."""
    quantity: str | UnsetType = UNSET
    """In the base asset; a short one is negative."""
    contracts: str | UnsetType = UNSET
    """In the venue's contracts; a short one is negative."""
    entry_price: str | UnsetType = UNSET
    mark_price: str | UnsetType = UNSET
    liquidation_price: str | UnsetType = UNSET
    leverage: str | UnsetType = UNSET
    margin_type: str | UnsetType = UNSET
    """`cross` or `isolated`."""
    unrealized_pnl: str | UnsetType = field(default=UNSET, name="unrealizedPnL")
    update_time: int | UnsetType = UNSET
    """When the venue changed it, by the venue's clock."""
    snapshot: bool
    """Part of what the account held when the connection began; else something changed."""
    event_time: int
    unique_message_id: str

    @property
    def key(self) -> PositionKey:
        """What tells one position of an account from its others."""
        return self.symbol, self.position_side

    @property
    def open(self) -> bool:
        """Whether anything is held."""
        sizes = [size for size in (self.quantity, self.contracts) if isinstance(size, str)]
        return any(size.strip("-0.") for size in sizes)

    @property
    def terms(self) -> tuple[object, ...]:
        """What is told when it changes."""
        return self.quantity, self.contracts, self.entry_price, self.leverage, self.margin_type


PositionKey = tuple[str, str]
"""Symbol and side."""

AccountEvent = (
    ExecutionReport
    | OrderTradeUpdate
    | AccountPosition
    | BalanceUpdate
    | AccountUpdate
    | AccountConfigUpdate
    | MarginCall
    | UserDataStreamExpired
    | PositionUpdate
)
OrderEvent = ExecutionReport | OrderTradeUpdate


def client_id_of(event: OrderEvent) -> str:
    """The order's own client id: a cancellation of spot tells it as the original one, behind that of the cancel request."""
    if isinstance(event, OrderTradeUpdate):
        return event.client_order_id
    if event.order_status == "CANCELED" and event.original_client_order_id:
        return event.original_client_order_id
    return event.new_client_order_id


def order_key(symbol: str, order_id: str | int, client_order_id: str) -> tuple[str, str]:
    """What tells one order of an account from all others.

    Order ids are unique per symbol only (Binance), and orders that a venue itself makes may have none (KuCoin's liquidations
    all say -1): then the client id tells them apart.
    """
    own = str(order_id)
    return symbol, own if own not in {"", "-1", "0"} else client_order_id


class Ticker(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Last price of one symbol; every figure is a JSON number, ask and bid carry the last price (contract 2.6).

    Positional, in this order, because thousands are built a second. `time` is the venue's, `event_time` our wall clock.
    """

    symbol: str
    time: int
    price: float
    volume: float
    best_ask: float
    best_bid: float
    best_ask_qnt: float
    best_bid_qnt: float
    unique_message_id: str
    event_time: int
    exchange: str


class Candle(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One candle; `start` is its opening time in ms, the rest decimal text (contract 2.7)."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    unique_message_id: str


encode: Final[Callable[[AccountEvent | Ticker | Candle], bytes]] = msgspec.json.Encoder().encode
"""The event's JSON text in UTF-8, as it goes to every sink."""


def event_type(event: AccountEvent) -> str:
    """The `eventType` of an account event, as written in its JSON."""
    return str(event.__struct_config__.tag)
