"""Kraken's instruments in the simulated world: spot pairs with the old asset keys, tokenised stocks, linear perpetuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from simulator._values import Coin, Market, Symbol

SPOT: Final = "kraken"
FUTURES: Final = "krakenUsdm"
TOKENIZED: Final = "tokenized_asset"
_EUROS: Final = 2
"""The first coins are also traded against the euro."""
_STOCKS: Final = (("AAPLx", "231.45"), ("TSLAx", "402.1"))
_LEGACY: Final = {
    "BTC": "XXBT", "ETH": "XETH", "XRP": "XXRP", "LTC": "XLTC", "DOGE": "XXDG", "XLM": "XXLM", "USD": "ZUSD", "EUR": "ZEUR",
}  # fmt: skip
_ALTNAMES: Final = {"BTC": "XBT", "DOGE": "XDG"}
MINUTES: Final = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1_440: "1d", 10_080: "1w"}
"""Canonical intervals; those of 15 days are not played."""


def asset_key(name: str) -> str:
    return _LEGACY.get(name, name)


def altname(name: str) -> str:
    return _ALTNAMES.get(name, name)


def markets(coins: Sequence[Coin]) -> list[Market]:
    spot = [_spot(coin, "USD") for coin in coins] + [_spot(coin, "EUR") for coin in coins[:_EUROS]]
    stocks = [_stock(name, Decimal(price)) for name, price in _STOCKS]
    perpetuals = tuple(_perpetual(coin) for coin in coins)
    return [
        Market(exchange=SPOT, wallet=SPOT, symbols=(*spot, *stocks)),
        Market(exchange=FUTURES, wallet=FUTURES, symbols=perpetuals),
    ]


def _spot(coin: Coin, quote: str) -> Symbol:
    return Symbol(
        wire=f"{coin.name}/{quote}",
        pair=f"{coin.name}-{quote}",
        base=coin.name,
        quote=quote,
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=8,
        kind="currency",
    )


def _stock(name: str, price: Decimal) -> Symbol:
    return Symbol(
        wire=f"{name}/USD", pair=f"{name}-USD", base=name, quote="USD", price=price, price_decimals=2,
        quantity_decimals=8, kind=TOKENIZED,
    )  # fmt: skip


def _perpetual(coin: Coin) -> Symbol:
    return Symbol(
        wire=f"PF_{'XBT' if coin.name == 'BTC' else coin.name}USD",
        pair=f"{coin.name}-USD",
        base=coin.name,
        quote="USD",
        settle="USD",
        price=coin.price,
        price_decimals=coin.decimals,
        quantity_decimals=4,
        kind="flexible_futures",
    )


def pair_key(symbol: Symbol) -> str:
    """`XXBTZUSD` for pairs of two old keys, else the altname."""
    base, quote = asset_key(symbol.base), asset_key(symbol.quote)
    old = base != symbol.base and quote != symbol.quote
    return f"{base}{quote}" if old else pair_altname(symbol)


def pair_altname(symbol: Symbol) -> str:
    return f"{altname(symbol.base)}{altname(symbol.quote)}"


def assets(symbols: Iterable[Symbol], kind: str) -> dict[str, Any]:
    """The answer of `Assets` for one class."""
    names = [symbol.base for symbol in symbols if symbol.kind == kind]
    if kind != TOKENIZED:
        names += [symbol.quote for symbol in symbols]
    return {
        asset_key(name): {"aclass": kind, "altname": altname(name), "decimals": 10, "display_decimals": 5,
                          "status": "enabled"}
        for name in dict.fromkeys(names)
    }  # fmt: skip


def asset_pairs(symbols: Iterable[Symbol], kind: str) -> dict[str, Any]:
    """The answer of `AssetPairs` for one class of base assets."""
    return {pair_key(symbol): _pair_row(symbol) for symbol in symbols if symbol.kind == kind}


def _pair_row(symbol: Symbol) -> dict[str, Any]:
    return {
        "altname": pair_altname(symbol),
        "wsname": f"{altname(symbol.base)}/{altname(symbol.quote)}",
        "aclass_base": symbol.kind,
        "base": asset_key(symbol.base),
        "aclass_quote": "currency",
        "quote": asset_key(symbol.quote),
        "lot": "unit",
        "cost_decimals": 5,
        "pair_decimals": symbol.price_decimals,
        "lot_decimals": symbol.quantity_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": "0.00000001",
        "costmin": "0.5",
        "tick_size": f"{Decimal(1).scaleb(-symbol.price_decimals):f}",
        "status": "online",
    }


def instrument_row(symbol: Symbol) -> dict[str, Any]:
    """A row of the futures list of instruments."""
    return {
        "symbol": symbol.wire,
        "type": symbol.kind,
        "tradeable": True,
        "base": symbol.base,
        "quote": symbol.quote,
        "pair": f"{symbol.base}:{symbol.quote}",
        "underlying": "rr_xbtusd",
        "tickSize": float(Decimal(1).scaleb(-symbol.price_decimals)),
        "contractSize": 1,
        "contractValueTradePrecision": symbol.quantity_decimals,
        "impactMidSize": 1,
        "maxPositionSize": 1_000_000,
        "openingDate": "2022-01-01T00:00:00.000Z",
        "isin": "GB00JVMLMP88",
        "retailMarginLevels": [{"numNonContractUnits": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01}],
        "marginLevels": [{"numNonContractUnits": 0, "initialMargin": 0.02, "maintenanceMargin": 0.01}],
        "fundingRateCoefficient": 8,
        "maxRelativeFundingRate": 0.001,
        "postOnly": False,
        "feeScheduleUid": "7fc4d7c0-464f-4029-a9bb-55856d0c5247",
        "mtf": False,
        "tags": [],
    }


def unlisted_row() -> dict[str, Any]:
    """A coin-margined perpetual, which stands in the same list."""
    return {"symbol": "PI_XBTUSD", "type": "futures_inverse", "tradeable": True, "base": "BTC", "quote": "USD",
            "pair": "XBT:USD", "tickSize": 0.5, "contractSize": 1}  # fmt: skip
