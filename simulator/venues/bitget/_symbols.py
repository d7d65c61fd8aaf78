"""Bitget's symbols, ids and intervals as the simulator has them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from simulator._values import Coin, Market, Order, Symbol

SPOT: Final = "bitget"
USDM: Final = "bitgetUsdm"
COINM: Final = "bitgetCoinm"
PRODUCTS: Final = {"SPOT": SPOT, "USDT-FUTURES": USDM, "USDC-FUTURES": USDM, "COIN-FUTURES": COINM}
"""Product type → exchange id."""
USDC_COINS: Final = ("BTC", "ETH")
COINM_COINS: Final = ("BTC", "ETH", "SOL", "XRP")
_IDS: Final = 1_390_000_000_000_000_000

INTERVALS: Final = {
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1H": "1h",
    "2H": "2h",
    "4H": "4h",
    "8H": "8h",
    "1Dutc": "1d",
    "1Wutc": "1w",
}
"""Channel suffix, and futures granularity → canonical name."""
SPOT_GRANULARITIES: Final = {
    "1min": "1m",
    "3min": "3m",
    "5min": "5m",
    "15min": "15m",
    "30min": "30m",
    "1h": "1h",
    "2h": "2h",
    "4h": "4h",
    "8h": "8h",
    "1Dutc": "1d",
    "1Wutc": "1w",
}
CODES: Final = {canonical: code for code, canonical in INTERVALS.items()}


def markets(coins: Sequence[Coin]) -> list[Market]:
    linear = [_linear(coin, f"{coin.name}USDT", "USDT") for coin in coins]
    linear += [_linear(coin, f"{coin.name}PERP", "USDC") for coin in coins if coin.name in USDC_COINS]
    inverse = [_inverse(coin) for coin in coins if coin.name in COINM_COINS]
    return [
        Market(exchange=SPOT, wallet=SPOT, symbols=tuple(_spot(coin) for coin in coins)),
        Market(exchange=USDM, wallet=USDM, symbols=tuple(linear)),
        Market(exchange=COINM, wallet=COINM, symbols=tuple(inverse)),
    ]


def _spot(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}USDT",
        base=coin.name,
        quote="USDT",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=6,
        kind="SPOT",
    )


def _linear(coin: Coin, wire: str, quote: str) -> Symbol:
    return Symbol(
        wire=wire,
        base=coin.name,
        quote=quote,
        settle=quote,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=4,
        kind=f"{quote}-FUTURES",
    )


def _inverse(coin: Coin) -> Symbol:
    """Sizes are coins here as well; the position is settled in the coin."""
    return Symbol(
        wire=f"{coin.name}USD",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=4,
        kind="COIN-FUTURES",
    )


def order_id(order: Order) -> str:
    """19 digits."""
    return str(_IDS + order.order_id)


def engine_id(text: str) -> int:
    """The engine's number behind a venue id; 0 for anything else."""
    return int(text) - _IDS if text.isdigit() else 0


def digits(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
