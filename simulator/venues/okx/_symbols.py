"""OKX's instruments in the simulated world: spot, linear swaps and X-Perps, inverse swaps; one unified wallet."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from simulator._values import Coin, Market, Symbol

WALLET: Final = "okx"
"""Unified account: all products share the balances."""
SPOT: Final = "SPOT"
SWAP: Final = "SWAP"
FUTURES: Final = "FUTURES"
EXCHANGE_OF: Final = {SPOT: ("okx",), SWAP: ("okxLinear", "okxInverse"), FUTURES: ("okxLinear",)}
"""Instrument type → the exchange ids whose orders are of it."""
_XPERP_SUFFIX: Final = "-310404"
_XPERPS: Final = 2
"""The first coins also have a European perpetual."""
_EXPIRY_MS: Final = "1964649600000"


def markets(coins: Sequence[Coin]) -> list[Market]:
    spot = [_spot(coin, "USDT") for coin in coins] + [_spot(coin, "USDC") for coin in coins[:_XPERPS]]
    linear = [_linear(coin) for coin in coins] + [_xperp(coin) for coin in coins[:_XPERPS]]
    return [
        Market(exchange="okx", wallet=WALLET, symbols=tuple(spot)),
        Market(exchange="okxLinear", wallet=WALLET, symbols=tuple(linear)),
        Market(exchange="okxInverse", wallet=WALLET, symbols=tuple(_inverse(coin) for coin in coins)),
    ]


def _spot(coin: Coin, quote: str) -> Symbol:
    return Symbol(
        wire=f"{coin.name}-{quote}",
        base=coin.name,
        quote=quote,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=6,
        kind=SPOT,
    )


def _linear(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}-USDT-SWAP",
        pair=f"{coin.name}-USDT",
        base=coin.name,
        quote="USDT",
        settle="USDT",
        contract_size=Decimal("0.01") if coin.price > 1000 else Decimal(1),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=2,
        kind=SWAP,
    )


def _xperp(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}-USD_UM_XPERP{_XPERP_SUFFIX}",
        pair=f"{coin.name}-USD_UM_XPERP",
        base=coin.name,
        quote="USD",
        settle="USD",
        contract_size=Decimal("0.0001"),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=0,
        kind=FUTURES,
    )


def _inverse(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"{coin.name}-USD-SWAP",
        pair=f"{coin.name}-USD",
        base=coin.name,
        quote="USD",
        settle=coin.name,
        inverse=True,
        contract_size=Decimal(100 if coin.name == "BTC" else 10),
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=1,
        kind=SWAP,
    )


def instrument_row(symbol: Symbol) -> dict[str, Any]:
    """A row of `/public/instruments`. Currencies of contracts stand only in `ctValCcy` and `settleCcy`."""
    spot, xperp = symbol.kind == SPOT, symbol.kind == FUTURES
    family = "" if spot else symbol.wire.removesuffix("-SWAP").removesuffix(_XPERP_SUFFIX)
    return {
        "instType": symbol.kind,
        "instId": symbol.wire,
        "instFamily": family,
        "uly": family,
        "baseCcy": symbol.base if spot else "",
        "quoteCcy": symbol.quote if spot else "",
        "settleCcy": symbol.settle,
        "ctType": "" if spot else ("inverse" if symbol.inverse else "linear"),
        "ctVal": "" if spot else f"{symbol.contract_size:f}",
        "ctMult": "" if spot else "1",
        "ctValCcy": "" if spot else (symbol.quote if symbol.inverse else symbol.base),
        "ruleType": "xperp" if xperp else "normal",
        "expTime": _EXPIRY_MS if xperp else "",
        "state": "live",
        "lotSz": f"{Decimal(1).scaleb(-symbol.quantity_decimals):f}",
        "minSz": f"{Decimal(1).scaleb(-symbol.quantity_decimals):f}",
        "tickSz": f"{Decimal(1).scaleb(-symbol.price_decimals):f}",
        "tradeQuoteCcyList": [symbol.quote] if spot else [],
    }
