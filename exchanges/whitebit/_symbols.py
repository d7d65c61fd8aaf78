"""WhiteBIT's markets: the ids that we serve, pair ids of both, candle intervals, and the symbol list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.instruments import Instrument, SymbolTable
from exchanges.whitebit._hosts import COM, Site

SPOT: Final = "whitebit"
FUTURES: Final = "whitebitUsdm"
PERPETUAL: Final = "_PERP"
SETTLE: Final = "USDT"
INTERVALS: Final = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "8h": 28_800,
    "1d": 86_400,
    "1w": 604_800,
}
"""The platform's codes, which the venue's REST takes as they are, and their seconds, which its socket takes."""
_SECONDS: Final = frozenset(INTERVALS.values())


def seconds_of(interval: str) -> int | None:
    """The length of a requested interval: a generic code, or bare minutes (`240`)."""
    known = INTERVALS.get(interval)
    if known is not None or not (interval.isascii() and interval.isdigit()):
        return known
    seconds = int(interval[:6]) * 60
    return seconds if seconds in _SECONDS else None


def code_of(seconds: int) -> str:
    """The venue's text of an interval. Raises KeyError for one that it does not have."""
    return next(code for code, length in INTERVALS.items() if length == seconds)


def pair_of(wire: str) -> str:
    """`BTC_USDT` and `BTC_PERP` are both `BTC-USDT`; a token that is called PERP is an ordinary one (`PERP_USDT`)."""
    if wire.endswith(PERPETUAL):
        return f"{wire.removesuffix(PERPETUAL)}-{SETTLE}"
    return wire.replace("_", "-", 1)


def name_of(wire: str, table: SymbolTable) -> str:
    """The pair id of a market, from the list if it has it."""
    instrument = table.wire(wire)
    return instrument.pair if instrument is not None else pair_of(wire)


def wire_of(symbol: str, exchange: str, table: SymbolTable) -> str:
    """The market of a pair id, or of the venue's own name of it."""
    instrument = table.pair(symbol) or table.wire(symbol)
    if instrument is not None:
        return instrument.wire
    if "_" in symbol or "-" not in symbol:
        return symbol
    return symbol.split("-", maxsplit=1)[0] + PERPETUAL if exchange == FUTURES else symbol.replace("-", "_", 1)


class _Market(msgspec.Struct, rename="camel"):
    name: str
    type: str
    stock: str
    money: str = ""
    trades_enabled: bool = True
    is_trad_fi_futures: bool = False


_decode_market = tolerant(_Market)


class Loader:
    """See `exchanges._venue.InstrumentLoader`: one unsigned call tells all markets."""

    def __init__(self, exchange: str, site: Site = COM) -> None:
        self._site = site
        self._futures = exchange == FUTURES
        self._found: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        return [Call(tag="instruments", method="GET", url=f"{self._site.rest}/api/v4/public/markets", pool="public")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if answer.status != 200:
            return ()
        try:
            rows, odd = read_rows(answer.body, _decode_market)
        except UNREADABLE:
            return ()
        found = [_instrument(row) for row in rows if self._ours(row)]
        # An answer of nothing but rows that can't be read is no list.
        self._found = found if found or not (rows or odd) else None
        return ()

    def _ours(self, row: _Market) -> bool:
        """Futures on shares and commodities belong to neither id, whatever they are called."""
        if row.is_trad_fi_futures:
            return False
        if self._futures:
            return row.type == "futures" and row.name.endswith(PERPETUAL)
        return row.type == "spot" and not row.name.endswith(PERPETUAL)

    def result(self) -> Sequence[Instrument] | None:
        return self._found or None


def _instrument(row: _Market) -> Instrument:
    futures = row.type == "futures"
    quote = SETTLE if futures and row.money in ("", "PERP") else row.money
    pair = f"{row.stock}-{quote}" if quote else pair_of(row.name)
    return Instrument(
        wire=row.name,
        pair=pair,
        base=row.stock,
        quote=quote,
        settle=quote if futures else "",
        kind=row.type,
        active=row.trades_enabled,
    )


def table_of_context(context: Mapping[str, object]) -> SymbolTable:
    """The symbol table that a golden case describes (`symbol_map`: wire → pair)."""
    symbols = context.get("symbol_map")
    pairs = {str(wire): str(pair) for wire, pair in symbols.items()} if isinstance(symbols, Mapping) else {}
    return SymbolTable(Instrument(wire=wire, pair=pair) for wire, pair in pairs.items())
