"""Symbol lists of the Binance markets, and how a row of the shared futures tickers is told apart without its `st`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.binance._hosts import MARKETS, Market
from exchanges.instruments import Instrument, SymbolTable

INTERVALS_MS: Final = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 259_200_000,
    "1w": 604_800_000,
}
"""Candle intervals of fixed length that the venue streams."""

_COIN_MARGINED: Final = re.compile(r"USD_(PERP|\d{6})$")


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str = ""
    quote_asset: str = ""
    status: str = ""
    contract_status: str = ""
    contract_type: str = ""
    margin_asset: str = ""
    contract_size: int | float | str = 1


class _Info(msgspec.Struct):
    symbols: msgspec.Raw


_decode = msgspec.json.Decoder(_Info).decode
_decode_symbol = tolerant(_Symbol)


class Loader:
    """Reads `exchangeInfo` once."""

    def __init__(self, exchange: str) -> None:
        self._market = MARKETS[exchange]
        self._result: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        return [
            Call(
                tag="symbols",
                method="GET",
                url=self._market.url("exchangeInfo"),
                weight=20 if self._market.spot else 1,
                pool=self._market.pool,
                timeout_s=30.0,
            )
        ]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if answer.status == 200:
            try:
                symbols, odd = read_rows(_decode(answer.body).symbols, _decode_symbol)
            except UNREADABLE:
                return []
            if symbols or not odd:
                self._result = [_instrument(symbol) for symbol in symbols]
        return []

    def result(self) -> Sequence[Instrument] | None:
        return self._result


def _instrument(symbol: _Symbol) -> Instrument:
    return Instrument(
        wire=symbol.symbol,
        pair=symbol.symbol,
        base=symbol.base_asset,
        quote=symbol.quote_asset,
        settle=symbol.margin_asset,
        contract_size=str(symbol.contract_size),
        kind=symbol.contract_type,
        active=(symbol.status or symbol.contract_status) == "TRADING",
    )


def belongs(market: Market, symbol: str, table: SymbolTable) -> bool:
    """Whether a ticker row without `st` is of this market: listed there, or named like its symbols while no list is known."""
    if market.row_kind is None:
        return True
    if len(table):
        return table.wire(symbol) is not None
    return bool(_COIN_MARGINED.search(symbol)) == (market.exchange == "binanceCoinm")


def refusal(exchange: str, symbol: str, interval: str, table: SymbolTable) -> str | None:
    """Why a candle request can't be served; None if it can."""
    if interval not in INTERVALS_MS:
        return f"{exchange} has no candle interval {interval!r}; known are {', '.join(INTERVALS_MS)}"
    if not symbol or any(mark in symbol for mark in "@/ ") or symbol != symbol.strip():
        return f"{symbol!r} is no symbol of {exchange}; expected a name like {_example(exchange)}"
    if len(table) and table.wire(symbol) is None:
        return f"{exchange} lists no symbol {symbol!r}; expected a name like {_example(exchange)}"
    return None


def _example(exchange: str) -> str:
    return "BTCUSD_PERP" if exchange == "binanceCoinm" else "BTCUSDT"
