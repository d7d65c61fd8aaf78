"""Public REST answers: time, symbols, candles, prices."""

from __future__ import annotations

from typing import Any

from simulator._values import INTERVALS, Candle, Symbol
from simulator.venues.binance._auth import Failure
from simulator.venues.binance._context import Context
from simulator.venues.binance._frames import digits
from simulator.venues.binance._frames_market import full
from simulator.venues.binance._symbols import Profile

Row = dict[str, Any]

_MAX_CANDLES = 1000


def server_time(context: Context) -> Row:
    return {"serverTime": context.now.wall_ms}


def exchange_info(context: Context) -> Row:
    profile = context.profile
    symbols = context.state.world.markets.symbols(context.exchange)
    wanted = context.maybe_symbol()
    render = _spot_symbol if profile.spot else _futures_symbol
    return {
        "timezone": "UTC",
        "serverTime": context.now.wall_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": profile.weight}
        ],
        "exchangeFilters": [],
        "symbols": [render(profile, symbol) for symbol in symbols if wanted in {None, symbol.wire}],
    }


def _filters(symbol: Symbol) -> list[Row]:
    tick, step = f"{10**-symbol.price_decimals:.{symbol.price_decimals}f}", _step(symbol)
    size = {"minQty": step, "maxQty": "9000000", "stepSize": step}
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", **size},
        {"filterType": "MARKET_LOT_SIZE", **size},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200, "limit": 200},
    ]


def _step(symbol: Symbol) -> str:
    return f"{10**-symbol.quantity_decimals:.{symbol.quantity_decimals}f}"


def _spot_symbol(_: Profile, symbol: Symbol) -> Row:
    notional = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True}
    return {
        "symbol": symbol.wire,
        "status": "TRADING",
        "baseAsset": symbol.base,
        "baseAssetPrecision": 8,
        "quoteAsset": symbol.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [*_filters(symbol), notional],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }


def _futures_symbol(profile: Profile, symbol: Symbol) -> Row:
    row: Row = {
        "symbol": symbol.wire,
        "pair": symbol.wire.split("_")[0],
        "contractType": "PERPETUAL",
        "deliveryDate": 4_133_404_800_000,
        "onboardDate": 1_569_398_400_000,
        "baseAsset": symbol.base,
        "quoteAsset": symbol.quote,
        "marginAsset": symbol.settle,
        "pricePrecision": symbol.price_decimals,
        "quantityPrecision": symbol.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "filters": [*_filters(symbol), {"filterType": "MIN_NOTIONAL", "notional": "5"}],
    }
    if profile.style == "coinm":
        return row | {"contractStatus": "TRADING", "contractSize": int(symbol.contract_size)}
    return row | {"status": "TRADING"}


def klines(context: Context) -> list[list[Any]]:
    symbol, interval = context.symbol(), context.need("interval")
    if interval not in INTERVALS:
        raise Failure(400, -1120, "Invalid interval.")
    candles = context.state.world.markets.candles(
        context.exchange,
        symbol.wire,
        interval,
        context.integer("startTime"),
        context.integer("endTime"),
        context.limit(500, _MAX_CANDLES),
        context.now.wall_ms,
    )
    return [_candle_row(context.profile, symbol, interval, candle) for candle in candles]


def _candle_row(profile: Profile, symbol: Symbol, interval: str, candle: Candle) -> list[Any]:
    places = 8 if profile.spot else symbol.price_decimals
    amount = 8 if profile.spot else symbol.quantity_decimals
    return [
        candle.start_ms,
        digits(candle.open, places),
        digits(candle.high, places),
        digits(candle.low, places),
        digits(candle.close, places),
        digits(candle.volume, amount),
        candle.start_ms + INTERVALS[interval] - 1,
        digits(candle.quote_volume, 8),
        candle.trades,
        digits(candle.volume / 2, amount),
        digits(candle.quote_volume / 2, 8),
        "0",
    ]


def prices(context: Context) -> Any:
    wanted = context.maybe_symbol()
    rows = [
        {
            "symbol": quote.symbol.wire,
            "price": digits(quote.price, 8 if context.profile.spot else quote.symbol.price_decimals),
        }
        for quote in context.state.world.markets.quotes(context.exchange)
        if wanted in {None, quote.symbol.wire}
    ]
    return rows[0] if wanted and context.profile.style != "coinm" else rows


_NAMES = {
    "s": "symbol",
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
    "x": "prevClosePrice",
    "b": "bidPrice",
    "B": "bidQty",
    "a": "askPrice",
    "A": "askQty",
}


def day_tickers(context: Context) -> Any:
    wanted = context.maybe_symbol()
    rows = [
        {
            _NAMES[name]: value
            for name, value in full(context.profile, quote, context.now.wall_ms).items()
            if name in _NAMES
        }
        for quote in context.state.world.markets.quotes(context.exchange)
        if wanted in {None, quote.symbol.wire}
    ]
    return rows[0] if wanted and context.profile.style != "coinm" else rows
