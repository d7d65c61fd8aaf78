"""Hyperliquid's markets in the simulated world: spot pairs by index, native perps, two builder dexes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from simulator._values import Coin, Market, Symbol

SPOT: Final = "hyperliquid"
LINEAR: Final = "hyperliquidLinear"
SPOT_WALLET: Final = "hyperliquidSpot"
PERP_WALLET: Final = "hyperliquidPerps"
FIRST_INDEX: Final = 107
"""Index of the first coin's spot pair; pair 0 is the venue's own."""
BRIDGED: Final = {"BTC": "Unit Bitcoin", "ETH": "Unit Ethereum", "SOL": "Unit Solana"}
"""Coins that are listed on spot as UBTC, UETH, USOL."""
DEXES: Final = {"xyz": "USDC", "hyna": "USDE"}
"""Builder dexes and their collateral."""
_TOKENS: Final = ("USDC", "PURR", "USDE")
"""Token 0 is USDC, as at the venue."""


def markets(coins: Sequence[Coin]) -> list[Market]:
    spot = [_spot(coin, f"@{FIRST_INDEX + number}") for number, coin in enumerate(coins)]
    spot.append(_spot(Coin("PURR", Decimal("0.1432"), 5), "PURR/USDC"))
    perps = [_perp(coin.name, coin) for coin in coins]
    perps.append(_perp("xyz:TSLA", Coin("TSLA", Decimal("412.35"), 2), "xyz"))
    perps.append(_perp(f"hyna:{coins[0].name}", coins[0], "hyna"))
    return [
        Market(exchange=SPOT, wallet=SPOT_WALLET, symbols=tuple(spot)),
        Market(exchange=LINEAR, wallet=PERP_WALLET, symbols=tuple(perps)),
    ]


def _spot(coin: Coin, wire: str) -> Symbol:
    return Symbol(
        wire=wire,
        pair=f"{coin.name}-USDC",
        base=coin.name,
        quote="USDC",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=5,
    )


def _perp(wire: str, coin: Coin, dex: str = "") -> Symbol:
    quote = DEXES.get(dex, "USDC")
    return Symbol(
        wire=wire,
        pair=f"{wire}-{quote}",
        base=coin.name,
        quote=quote,
        settle=quote,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=5,
        kind=dex,
    )


def token(name: str) -> str:
    """The venue's name of a spot token."""
    return f"U{name}" if name in BRIDGED else name


# --- the lists ---


def spot_meta(symbols: Sequence[Symbol]) -> dict[str, Any]:
    names = [*_TOKENS, *(token(symbol.base) for symbol in symbols if symbol.base not in _TOKENS)]
    tokens = [
        {
            "name": name,
            "szDecimals": 5,
            "weiDecimals": 8,
            "index": index,
            "tokenId": f"0x{index:032x}",
            "isCanonical": index < len(_TOKENS),
            "evmContract": None,
            "fullName": BRIDGED.get(name[1:]),
        }
        for index, name in enumerate(names)
    ]
    universe = [
        {
            "name": symbol.wire,
            "tokens": [names.index(token(symbol.base)), names.index(symbol.quote)],
            "index": 0 if "/" in symbol.wire else int(symbol.wire[1:]),
            "isCanonical": "/" in symbol.wire,
        }
        for symbol in symbols
    ]
    return {"tokens": tokens, "universe": sorted(universe, key=lambda row: row["index"])}


def meta(symbols: Iterable[Symbol], dex: str) -> dict[str, Any] | None:
    """The perps of one dex; None for a dex that is not known, as at the venue."""
    if dex and dex not in DEXES:
        return None
    rows = [
        {"name": symbol.wire, "szDecimals": symbol.quantity_decimals, "maxLeverage": 20, "marginTableId": 20}
        for symbol in symbols
        if symbol.kind == dex
    ]
    return {"universe": rows, "marginTables": [], "collateralToken": _TOKENS.index(DEXES.get(dex, "USDC"))}


def perp_dexs() -> list[Any]:
    return [None, *({"name": name, "fullName": name, "deployer": f"0x{7:040x}"} for name in DEXES)]
