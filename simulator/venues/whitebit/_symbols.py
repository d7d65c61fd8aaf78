"""WhiteBIT's markets in the simulated world, and the list that tells them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from simulator._values import Coin, Market, Symbol

SPOT: Final = "whitebit"
FUTURES: Final = "whitebitUsdm"
SECONDS: Final = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1_800: "30m", 3_600: "1h", 7_200: "2h", 14_400: "4h", 28_800: "8h",
    86_400: "1d", 604_800: "1w",
}  # fmt: skip
"""Canonical intervals by the socket's seconds; REST takes the names."""
_SHARES: Final = {"name": "AAPL_USD", "stock": "AAPL", "money": "USD", "type": "tradfiFutures", "isTradFiFutures": True}
"""Futures on shares stand in the same list, and belong to neither id."""


def markets(coins: Sequence[Coin]) -> list[Market]:
    spot = tuple(_symbol(coin, futures=False) for coin in coins)
    perpetuals = tuple(_symbol(coin, futures=True) for coin in coins)
    return [
        Market(exchange=SPOT, wallet=SPOT, symbols=spot),
        Market(exchange=FUTURES, wallet=FUTURES, symbols=perpetuals),
    ]


def _symbol(coin: Coin, *, futures: bool) -> Symbol:
    return Symbol(
        wire=f"{coin.name}_PERP" if futures else f"{coin.name}_USDT",
        pair=f"{coin.name}-USDT",
        base=coin.name,
        quote="USDT",
        settle="USDT" if futures else "",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=6,
        kind="futures" if futures else "spot",
    )


def market_row(symbol: Symbol) -> dict[str, Any]:
    return {
        "name": symbol.wire,
        "stock": symbol.base,
        "money": symbol.quote,
        "stockPrec": str(symbol.quantity_decimals),
        "moneyPrec": str(symbol.price_decimals),
        "feePrec": "4",
        "makerFee": "0.1",
        "takerFee": "0.1",
        "minAmount": "0.000001",
        "minTotal": "5",
        "maxTotal": "10000000",
        "tradesEnabled": True,
        "isCollateral": True,
        "type": symbol.kind,
        "isTradFiFutures": False,
        "delistedAt": None,
    }


def market_rows(symbols: Sequence[Symbol]) -> list[dict[str, Any]]:
    rows = [market_row(symbol) for symbol in symbols]
    return [*rows, {**rows[0], **_SHARES}] if rows else rows
