"""Bitget: hosts, product types, symbols, intervals and instruments (bitget.com/api-doc, Classic v2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
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


def is_spot(exchange: str) -> bool:
    return exchange == "bitget"


def product_of(exchange: str, table: SymbolTable, symbol: str) -> str | None:
    """Product type of a symbol; None if the (loaded) market does not list it.

    A linear symbol's type stands in the instrument list, not in its name. Only while the list loads, the name has to do:
    USDC perpetuals are called `BTCPERP`.
    """
    known = table.wire(symbol)
    if known is not None:
        return known.kind
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


class _SpotSymbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str = ""
    quote_coin: str = ""
    status: str = "online"


class _Contract(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str = ""
    quote_coin: str = ""
    support_margin_coins: list[str] = msgspec.field(default_factory=list)
    symbol_status: str = "normal"


class _SpotAnswer(msgspec.Struct):
    code: str
    data: list[_SpotSymbol] | None = None


class _ContractAnswer(msgspec.Struct):
    code: str
    data: list[_Contract] | None = None


_spot = msgspec.json.Decoder(_SpotAnswer).decode
_contracts = msgspec.json.Decoder(_ContractAnswer).decode


class Instruments:
    """Loads the symbols of one exchange id, one call a product type. Satisfies `InstrumentLoader`."""

    def __init__(self, exchange: str, options: Mapping[str, str]) -> None:
        self._exchange = exchange
        self._headers = DEMO_HEADER if demo_prices(options) else {}
        self._found: dict[str, list[Instrument]] = {}

    def start(self) -> Sequence[Call]:
        if is_spot(self._exchange):
            return [self._get(SPOT, "/api/v2/spot/public/symbols")]
        path = "/api/v2/mix/market/contracts?productType="
        return [self._get(product, path + product) for product in PRODUCTS[self._exchange]]

    def _get(self, product: str, path: str) -> Call:
        return Call(
            tag="instruments", method="GET", url=REST + path, headers=self._headers, context=product, pool="public"
        )

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        product = str(call.context)
        try:
            found = self._spot(answer.body) if product == SPOT else self._futures(answer.body, product)
        except UNREADABLE:
            return []
        if found is not None:
            self._found[product] = found
        return []

    def result(self) -> Sequence[Instrument] | None:
        """None unless every product type answered: half a market must not replace a whole one."""
        if set(self._found) != set(PRODUCTS[self._exchange]):
            return None
        return [instrument for found in self._found.values() for instrument in found] or None

    def _spot(self, body: bytes) -> list[Instrument] | None:
        answer = _spot(body)
        if answer.code != "00000" or answer.data is None:
            return None
        return [
            Instrument(
                wire=row.symbol,
                pair=row.symbol,
                base=row.base_coin,
                quote=row.quote_coin,
                kind=SPOT,
                active=row.status == "online",
            )
            for row in answer.data
        ]

    def _futures(self, body: bytes, product: str) -> list[Instrument] | None:
        answer = _contracts(body)
        if answer.code != "00000" or answer.data is None:
            return None
        return [
            Instrument(
                wire=row.symbol,
                pair=row.symbol,
                base=row.base_coin,
                quote=row.quote_coin,
                settle=row.support_margin_coins[0] if row.support_margin_coins else "",
                kind=product,
                active=row.symbol_status == "normal",
            )
            for row in answer.data
        ]
