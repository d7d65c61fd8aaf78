"""Bitget: hosts, product types, names, and intervals (bitget.com/api-doc, Classic v2 and UTA v3).

Two public sockets carry the markets: v2, and v3 for what v2 does not have (inverse perpetuals, candles of Reality tokens).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exchanges.instruments import Instrument, SymbolTable

REST: Final = "https://api.bitget.com"
LIVE_WS: Final = "wss://ws.bitget.com"
DEMO_WS: Final = "wss://wspap.bitget.com"

SPOT: Final = "SPOT"
PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    "bitget": (SPOT,),
    "bitgetUsdm": ("USDT-FUTURES", "USDC-FUTURES"),
    "bitgetCoinm": ("COIN-FUTURES",),
}
DEMO_HEADER: Final = {"paptrading": "1"}

_MINUTE: Final = 60_000


class Interval(msgspec.Struct, frozen=True):
    """One candle period: stream channel, REST granularity (spot and futures spell it differently), length."""

    channel: str
    spot: str
    futures: str
    length_ms: int


_INTERVALS: Final = {
    "1m": Interval("candle1m", "1min", "1m", _MINUTE),
    "3m": Interval("candle3m", "3min", "3m", 3 * _MINUTE),
    "5m": Interval("candle5m", "5min", "5m", 5 * _MINUTE),
    "15m": Interval("candle15m", "15min", "15m", 15 * _MINUTE),
    "30m": Interval("candle30m", "30min", "30m", 30 * _MINUTE),
    "1h": Interval("candle1H", "1h", "1H", 60 * _MINUTE),
    "2h": Interval("candle2H", "2h", "2H", 120 * _MINUTE),
    "4h": Interval("candle4H", "4h", "4H", 240 * _MINUTE),
    "8h": Interval("candle8H", "8h", "8H", 480 * _MINUTE),
    # Without `utc` these open on the UTC+8 grid.
    "1d": Interval("candle1Dutc", "1Dutc", "1Dutc", 1_440 * _MINUTE),
    "1w": Interval("candle1Wutc", "1Wutc", "1Wutc", 10_080 * _MINUTE),
}
_BY_SPELLING: Final = {
    spelling: interval
    for generic, interval in _INTERVALS.items()
    for spelling in (generic, interval.channel, interval.channel.removeprefix("candle"), interval.spot)
}
BY_CHANNEL: Final = {interval.channel: interval for interval in _INTERVALS.values()}


def interval_of(spelling: str) -> Interval | None:
    """The period behind a canonical, backend or channel spelling, or None."""
    return _BY_SPELLING.get(spelling)


def interval_list() -> str:
    """For refusals: the channel names."""
    return ", ".join(BY_CHANNEL)


# --- what only v3 has ---

LINE: Final = "line"
"""Name in `Instrument.extra`: `v3` for a market that the classic API does not have."""
REALITY: Final = "reality"
"""Name in `Instrument.extra`: `yes` for a stock token, whose candles only v3 sends."""
V3: Final = "v3"
CONTRACT_MARK: Final = "_CM"
"""Inverse perpetuals carry it on the wire and in rows; the platform's names do not."""

_MODERN: Final = {name: _INTERVALS[name] for name in ("1m", "3m", "5m", "15m", "30m", "1h", "4h")}
_REALITY: Final = {name: _INTERVALS[name] for name in ("1m", "5m", "15m", "1h", "4h")}
_DAYS: Final = frozenset({"candle1Dutc", "candle1Wutc"})


def is_modern(instrument: Instrument | None) -> bool:
    """Whether the whole market is on v3."""
    return instrument is not None and instrument.extra.get(LINE) == V3


def modern_candles(instrument: Instrument | None) -> bool:
    """Whether its candles are on v3. A classic subscription of a Reality token is acknowledged and stays silent."""
    return is_modern(instrument) or (instrument is not None and instrument.extra.get(REALITY) == "yes")


def modern_refusal(instrument: Instrument, interval: Interval) -> str | None:
    """Why v3 has no candles of this length, or None."""
    served = _MODERN if is_modern(instrument) else _REALITY
    if interval in served.values():
        return None
    if interval.channel in _DAYS:
        why = "v3 opens its day at 16:00 UTC, and a UTC day can't be made of it"
    else:
        why = "v3 has no such topic for it"
    return f"{instrument.pair} has no candles of interval {interval.channel}: {why}."


def pair_of(inst_type: str, symbol: str) -> str:
    """The platform's name of a symbol in a v3 push or row."""
    return symbol.removesuffix(CONTRACT_MARK) if inst_type.lower() == "coin-futures" else symbol


def in_contracts(inst_type: str, symbol: str) -> bool:
    """Whether the sizes of a v3 order are contracts of 1 USD: inverse perpetuals, not the dated ones."""
    return inst_type.lower() == "coin-futures" and symbol.endswith(CONTRACT_MARK)


def tells_coin(exchange: str, table: SymbolTable, coin: str) -> bool:
    """Whether the balance of a coin in a unified wallet belongs to this exchange id."""
    if is_spot(exchange):
        return True
    if exchange == "bitgetCoinm":
        bases = {instrument.base for instrument in table if instrument.base}
        return coin in bases if bases else coin not in STABLE_COINS
    settles = {instrument.settle for instrument in table if instrument.settle}
    return coin in (settles or STABLE_COINS)


STABLE_COINS: Final = frozenset({"USDT", "USDC"})


def is_spot(exchange: str) -> bool:
    return exchange == "bitget"


def find(table: SymbolTable, symbol: str) -> Instrument | None:
    """A symbol by its pair id or the venue's code."""
    return table.pair(symbol) or table.wire(symbol)


def product_of(exchange: str, table: SymbolTable, symbol: str) -> str | None:
    """Product type of a symbol; None if the (loaded) market does not list it.

    A linear symbol's type stands in the instrument list, not in its name. Only while the list loads, the name has to do:
    USDC perpetuals are called `BTCPERP`.
    """
    known = find(table, symbol)
    if known is not None:
        return known.kind or guess(exchange, symbol)
    if len(table):
        return None
    return guess(exchange, symbol)


def guess(exchange: str, symbol: str) -> str:
    """Product type by name, for symbols that no list names (yet)."""
    products = PRODUCTS[exchange]
    return products[-1] if len(products) > 1 and symbol.endswith("PERP") else products[0]


def ws_url(version: str, kind: str, *, demo: bool) -> str:
    """`version` is `v2` or `v3`, `kind` is `public` or `private`."""
    return f"{DEMO_WS if demo else LIVE_WS}/{version}/ws/{kind}"


def demo_prices(options: Mapping[str, str]) -> bool:
    return options.get("BITGETENV", "").lower() == "demo"
