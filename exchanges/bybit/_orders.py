"""Orders and wallets of Bybit as events. REST rows have the stream's field names, so one converter serves both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, divide, plain, positive
from exchanges._rows import Odd, read_rows, tolerant
from exchanges.events import AccountPosition, Balance, ExecutionReport, FeePart
from exchanges.instruments import SymbolTable

STATUSES: Final = {
    **dict.fromkeys(("New", "Created", "Active", "Untriggered", "Triggered"), "NEW"),
    "PartiallyFilled": "PARTIALLY_FILLED",
    "Filled": "FILLED",
    **dict.fromkeys(("Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"), "CANCELED"),
}
"""Every status that the enum page lists or listed; any other one is asked for over REST, never guessed."""
_SIDES: Final = {"Buy": "BUY", "Sell": "SELL"}
UNIFIED_2: Final = 6
"""Assumed when the account's mode can't be read: there every wallet is `UNIFIED`."""
_TAKEOVER: Final = "CreateByTakeOver_PassThrough"
"""The one create type that may set `liquidation`: the backend then closes every deal on the symbol."""


class Order(msgspec.Struct, rename="camel"):
    """An entry of topic `order`, or of the REST order lists. Empty text means absent; fields grow monthly."""

    order_id: str
    order_status: str
    symbol: str
    side: str
    order_type: str
    category: str = ""
    order_link_id: str | None = ""
    price: str | None = ""
    qty: str | None = ""
    avg_price: str | None = ""
    cum_exec_qty: str | None = ""
    cum_exec_value: str | None = ""
    cum_exec_fee: str | None = ""
    fee_currency: str | None = ""
    cum_fee_detail: Any = None
    create_type: str | None = ""
    created_time: str | None = ""
    updated_time: str | None = ""


class Coin(msgspec.Struct, rename="camel"):
    """A coin of a wallet. Margin fields are empty in portfolio margin."""

    coin: str
    wallet_balance: str | None = None
    locked: str | None = None
    total_order_im: str | None = msgspec.field(default=None, name="totalOrderIM")
    total_position_im: str | None = msgspec.field(default=None, name="totalPositionIM")
    free: str | None = None


class Wallet(msgspec.Struct, rename="camel"):
    """An entry of topic `wallet`, or of the REST wallet balance."""

    account_type: str = ""
    coin: msgspec.Raw = msgspec.Raw()


decode_order: Final = tolerant(Order)
decode_wallet: Final = msgspec.json.Decoder(Wallet).decode
_decode_coin: Final = tolerant(Coin)


def status_of(order: Order) -> str | None:
    """Our status; None for what can't be told (`unclear`). Derivatives have no `PartiallyFilledCanceled`; a quote-sized
    market buy always ends with it, as dust is left by design (ccxt issue 18685), so there it is a fill."""
    if order.order_status == "PartiallyFilledCanceled" and order.order_type == "Market" and order.side == "Buy":
        return "FILLED" if decimal(order.cum_exec_qty) > 0 else "CANCELED"
    return None if unclear(order) else STATUSES[order.order_status]


def unclear(order: Order) -> str:
    """Why an order can't be told, empty if it can."""
    if order.order_status not in STATUSES:
        return f"status {order.order_status[:40]}, which no page lists"
    if order.order_status == "Filled" and not (positive(order.cum_exec_qty) and positive(order.cum_exec_value)):
        return "status Filled without an executed quantity or value"  # told, it would be final and short of everything
    if order.side not in _SIDES:
        return f"side {order.side[:20]}, which no page lists"
    return ""


def execution_report(order: Order, category: str, table: SymbolTable, time_ms: int = 0) -> ExecutionReport | None:
    """The event of an order state, None if it can't be told (`unclear`); `time_ms` stands in for a missing `updatedTime`."""
    status = status_of(order)
    if status is None or order.side not in _SIDES:
        return None
    inverse = category == "inverse"
    quantity, value = plain(order.cum_exec_qty or "0"), plain(order.cum_exec_value or "0")
    updated = _milliseconds(order.updated_time) or time_ms
    client_id = order.order_link_id or ""
    fee = _fee(order, category, table)
    return ExecutionReport(
        symbol=order.symbol,
        new_client_order_id=client_id,
        original_client_order_id=client_id,
        order_id=order.order_id,
        order_status=status,
        order_type="LIMIT" if order.order_type == "Limit" else "MARKET",
        side=_SIDES[order.side],
        price=_price(order, inverse=inverse),
        quantity=plain(order.qty or "0"),
        total_trade_quantity=value if inverse else quantity,
        total_quote_trade_quantity=quantity if inverse else value,
        creation_time=_milliseconds(order.created_time),
        event_time=updated,
        order_time=updated,
        unique_message_id=_message_id(order, category),
        liquidation=order.create_type == _TAKEOVER,
        fee_paid=fee[0].amount if len(fee) == 1 else UNSET,
        fee_asset=fee[0].asset if len(fee) == 1 else UNSET,
        fee_breakdown=fee if len(fee) > 1 else UNSET,
    )


def _price(order: Order, *, inverse: bool) -> str:
    """A market order's own price is the protection price on derivatives, so the average fill goes first there."""
    if order.order_type == "Market" and decimal(order.avg_price):
        return plain(order.avg_price or "0")
    if decimal(order.price):
        return plain(order.price or "0")
    quantity, value = decimal(order.cum_exec_qty), decimal(order.cum_exec_value)
    return plain(divide(quantity, value) if inverse else divide(value, quantity))


def _fee(order: Order, category: str, table: SymbolTable) -> list[FeePart]:
    """The whole order's fee as positive costs, where the frame names the coin. Rebates (negative) are not observed fees."""
    if isinstance(order.cum_fee_detail, dict):
        parts = [FeePart(coin, plain(str(fee))) for coin, fee in order.cum_fee_detail.items() if decimal(str(fee)) > 0]
        if parts:
            return parts
    if decimal(order.cum_exec_fee) <= 0:
        return []
    asset = order.fee_currency or ""
    if not asset and category != "spot":
        instrument = table.wire(order.symbol)
        asset = instrument.settle if instrument is not None else ""
    return [FeePart(asset, plain(order.cum_exec_fee or "0"))] if asset else []


def _message_id(order: Order, category: str) -> str:
    """Equal for a repeated frame, different otherwise; `orderId` because app orders have no client id."""
    parts = (
        category,
        order.order_id,
        order.updated_time,
        order.symbol,
        order.order_status,
        order.qty,
        order.price,
        order.cum_exec_qty,
        order.order_type,
        order.order_link_id,
        order.create_type,
    )
    return ":".join(part or "" for part in parts)


# --- wallets ---


def account_type(category: str, unified_margin_status: int) -> str:
    """Which account's wallet belongs to a stream; unknown modes (0 = the query failed) count as unified 2.0."""
    if unified_margin_status == 1:
        return "SPOT" if category == "spot" else "CONTRACT"
    if unified_margin_status in (3, 4) and category == "inverse":
        return "CONTRACT"
    return "UNIFIED"


def account_position(
    wallets: Sequence[Wallet], accepted: str, time_ms: int, message_id: str
) -> tuple[AccountPosition | None, list[Odd]]:
    """The balances of the accepted account, or None when no coin is left; and the coins that can't be read.

    Raises one of `UNREADABLE` for a wallet without a list of coins.
    """
    lists = [read_rows(wallet.coin, _read_coin) for wallet in wallets if wallet.account_type == accepted]
    balances = list(_balances(coin for coins, _ in lists for coin in coins))
    odd = [odd for _, odd in lists if odd]
    if not balances:
        return None, odd
    event = AccountPosition(
        event_time=time_ms, last_account_update=0, balances=balances, unique_message_id=f"wallet:{message_id}"
    )
    return event, odd


def _read_coin(data: bytes) -> Coin:
    """Raises `ValueError` for a coin that tells no total: it is not told as 0."""
    coin = _decode_coin(data)
    if not coin.wallet_balance and not coin.free:
        raise ValueError("no walletBalance")
    return coin


def _balances(coins: Iterable[Coin]) -> Iterable[Balance]:
    for coin in coins:
        locked = decimal(coin.locked) + decimal(coin.total_order_im) + decimal(coin.total_position_im)
        # `free` is deprecated and counts twice beside walletBalance; it serves only where that is missing.
        total = decimal(coin.wallet_balance if coin.wallet_balance else coin.free)
        yield Balance(asset=coin.coin, free=plain(total - locked), locked=plain(locked))


def _milliseconds(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


class Reference(msgspec.Struct, rename="camel"):
    """What an order that can't be read must say to be asked for."""

    order_id: Any = None
    category: Any = ""


_reference = msgspec.json.Decoder(Reference).decode


def reference(raw: bytes) -> Reference:
    """Which order this is about, as far as it says so."""
    try:
        return _reference(raw)
    except UNREADABLE:
        return Reference()
