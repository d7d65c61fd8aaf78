"""KuCoin's symbols, ids and intervals as the simulator has them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from simulator._values import Coin, Market, Order, Symbol

SPOT: Final = "kucoin"
LINEAR: Final = "kucoinLinear"
INVERSE: Final = "kucoinInverse"
FUTURES: Final = (LINEAR, INVERSE)
FUTURES_WALLET: Final = "kucoinFutures"
"""One futures account for both families."""

USDC_COINS: Final = ("BTC", "ETH")
INVERSE_COINS: Final = ("BTC", "ETH", "SOL", "XRP")
_FUTURES_IDS: Final = 430_000_000_000_000_000

INTERVALS: Final = {
    "1min": "1m",
    "3min": "3m",
    "5min": "5m",
    "15min": "15m",
    "30min": "30m",
    "1hour": "1h",
    "2hour": "2h",
    "4hour": "4h",
    "6hour": "6h",
    "8hour": "8h",
    "12hour": "12h",
    "1day": "1d",
    "1week": "1w",
}
"""The venue's codes → canonical names."""
CODES: Final = {canonical: code for code, canonical in INTERVALS.items()}
NO_FUTURES: Final = frozenset({"6hour"})


def markets(coins: Sequence[Coin]) -> list[Market]:
    linear = [_contract(coin, "USDT") for coin in coins]
    linear += [_contract(coin, "USDC") for coin in coins if coin.name in USDC_COINS]
    inverse = [_inverse(coin) for coin in coins if coin.name in INVERSE_COINS]
    return [
        Market(exchange=SPOT, wallet=SPOT, symbols=tuple(_spot(coin) for coin in coins)),
        Market(exchange=LINEAR, wallet=FUTURES_WALLET, symbols=tuple(linear)),
        Market(exchange=INVERSE, wallet=FUTURES_WALLET, symbols=tuple(inverse)),
    ]


def code(asset: str) -> str:
    """Futures call Bitcoin XBT."""
    return "XBT" if asset == "BTC" else asset


def _spot(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}-USDT",
        base=coin.name,
        quote="USDT",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=6,
    )


def _contract(coin: Coin, quote: str) -> Symbol:
    return Symbol(
        wire=f"{code(coin.name)}{quote}M",
        pair=f"{coin.name}{quote}",
        base=coin.name,
        quote=quote,
        settle=quote,
        contract_size=Decimal("0.001") if coin.name == "BTC" else Decimal("0.1"),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
    )


def _inverse(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{code(coin.name)}USDM",
        pair=f"{coin.name}USD",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        inverse=True,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
    )


def order_id(order: Order) -> str:
    """Spot ids are 24 hex digits, futures ids 18 decimal ones."""
    return f"{order.order_id:024x}" if order.exchange == SPOT else str(_FUTURES_IDS + order.order_id)


def engine_id(exchange: str, text: str) -> int | None:
    """The engine's number behind a venue id; None for anything else."""
    try:
        return int(text, 16) if exchange == SPOT else int(text) - _FUTURES_IDS
    except ValueError:
        return None


def digits(value: Decimal) -> str:
    """Plain decimal text without trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
