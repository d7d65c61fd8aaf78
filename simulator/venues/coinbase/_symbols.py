"""Hosts, products and limits of Coinbase Advanced Trade in the simulator. Source: venues/coinbase.md 1, 3, 4, 9."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from exchanges._venue import Rate
from simulator._values import Coin, Market, Symbol

MARKET_HOSTS: Final = frozenset({"advanced-trade-ws.coinbase.com", "advanced-trade-ws-sandbox.coinbase.com"})
USER_HOSTS: Final = frozenset({"advanced-trade-ws-user.coinbase.com", "advanced-trade-ws-user-sandbox.coinbase.com"})
REST_HOSTS: Final = frozenset({"api.coinbase.com", "api-sandbox.coinbase.com"})

EXCHANGE: Final = "coinbase"
API: Final = "/api/v3/brokerage"
CONNECTS: Final = Rate(8, 1.0)
PUBLIC_MESSAGES: Final = Rate(8, 1.0)
"""Unauthenticated client frames a second and address."""
PRIVATE_CALLS: Final = Rate(30, 1.0)
"""A second and key."""
PUBLIC_CALLS: Final = Rate(10, 1.0)
"""A second and address."""
FIRST_SUBSCRIBE_S: Final = 5.0
QUIET_S: Final = 90.0
"""A connection without messages is closed after 60 to 90 s."""
BATCH_S: Final = 5.0
"""Time between two frames of `ticker_batch`."""
SNAPSHOT_PAGE: Final = 50
"""Orders a snapshot message."""

GRANULARITIES: Final = {
    "ONE_MINUTE": "1m",
    "FIVE_MINUTE": "5m",
    "FIFTEEN_MINUTE": "15m",
    "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h",
    "TWO_HOUR": "2h",
    "SIX_HOUR": "6h",
    "ONE_DAY": "1d",
}
MAX_BUCKETS: Final = 350

_ID_HEAD: Final = "7d0a1f52-0b7e-4b52-9f0b-"


def wire_id(order_id: int) -> str:
    """The engine's id as a UUID."""
    return f"{_ID_HEAD}{order_id:012x}"


def engine_id(text: str) -> int | None:
    """The engine's id behind a wire id; None for anything else."""
    if not text.startswith(_ID_HEAD):
        return None
    try:
        return int(text[len(_ID_HEAD) :], 16)
    except ValueError:
        return None


def alias_of(wire: str) -> str:
    """The `-USDC` product that shares the book of a `-USD` one: listed, but never seen on a market channel."""
    return f"{wire}C" if wire.endswith("-USD") and wire != "USDT-USD" else ""


def markets(coins: Sequence[Coin]) -> list[Market]:
    """Every coin in dollars, two in euros, and the pair of stable coins with a book of its own."""
    symbols = [_symbol(coin, "USD") for coin in coins]
    symbols += [_symbol(coin, "EUR", Decimal("0.92")) for coin in coins[:2]]
    tether = Coin("USDT", Decimal("0.9998"), 4)
    symbols += [_symbol(tether, "USD"), _symbol(tether, "USDC")]
    return [Market(exchange=EXCHANGE, wallet=EXCHANGE, symbols=tuple(symbols))]


def _symbol(coin: Coin, quote: str, rate: Decimal = Decimal(1)) -> Symbol:
    step = Decimal(1).scaleb(-coin.decimals)
    return Symbol(
        wire=f"{coin.name}-{quote}",
        base=coin.name,
        quote=quote,
        price=(coin.price * rate).quantize(step),
        price_decimals=coin.decimals,
        quantity_decimals=8,
    )
