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
DELIVERIES: Final = {"Z26": 1_798_185_600_000, "H27": 1_806_048_000_000}
"""Endings of the coin futures that the classic API still has, and when they are delivered."""
MODERN_MARK: Final = "_CM"
"""Inverse perpetuals carry it, and exist on v3 only."""
REALITY: Final = frozenset({"RAAPLUSDT"})
"""Stock tokens: classic candles of them are acknowledged and stay silent."""
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
MODERN_INTERVALS: Final = {"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "4H": "4h"}
"""Topics of v3. Longer ones open on another grid than UTC; they are not played."""
REALITY_INTERVALS: Final = ("1m", "5m", "15m", "1H", "4H")
MODERN_CODES: Final = {canonical: code for code, canonical in MODERN_INTERVALS.items()}
CODES: Final = {canonical: code for code, canonical in INTERVALS.items()}


def markets(coins: Sequence[Coin]) -> list[Market]:
    linear = [_linear(coin, f"{coin.name}USDT", "USDT") for coin in coins]
    linear += [_linear(coin, f"{coin.name}PERP", "USDC") for coin in coins if coin.name in USDC_COINS]
    bases = [coin for coin in coins if coin.name in COINM_COINS]
    inverse = [_dated(coin, ending) for ending in DELIVERIES for coin in bases] + [_perpetual(coin) for coin in bases]
    stock = Coin("RAAPL", Decimal("331.5"), 2)
    return [
        Market(exchange=SPOT, wallet=SPOT, symbols=(*(_spot(coin) for coin in coins), _spot(stock))),
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


def _dated(coin: Coin, ending: str) -> Symbol:
    """Sizes are coins here; the position is settled in the coin."""
    return Symbol(
        wire=f"{coin.name}USD{ending}",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=4,
        kind="COIN-FUTURES",
    )


def _perpetual(coin: Coin) -> Symbol:
    """Sizes are contracts of 1 USD."""
    return Symbol(
        wire=f"{coin.name}USD{MODERN_MARK}",
        pair=f"{coin.name}USD",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        inverse=True,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
        kind="COIN-FUTURES",
    )


def is_modern(symbol: Symbol) -> bool:
    """Whether only v3 has it."""
    return symbol.wire.endswith(MODERN_MARK)


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
