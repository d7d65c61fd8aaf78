"""KuCoin: hosts, symbols, intervals and instruments (api pages: /docs-new, "Get All Symbols", "Get All Symbols" futures)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, plain
from exchanges._rows import read_rows, tolerant
from exchanges.instruments import Instrument, SymbolTable

SPOT_REST: Final = "https://api.kucoin.com"
FUTURES_REST: Final = "https://api-futures.kucoin.com"
UNIFIED_WS: Final = "wss://wsapi-push.kucoin.com"

MARKET_OF: Final = {"kucoin": "spot", "kucoinLinear": "linear", "kucoinInverse": "inverse"}

_SUFFIXES: Final = (("USDTM", "USDT", "linear"), ("USDCM", "USDC", "linear"), ("USDM", "USD", "inverse"))

_CODES: Final[dict[str, tuple[str, int]]] = {
    "1m": ("1min", 60),
    "3m": ("3min", 180),
    "5m": ("5min", 300),
    "15m": ("15min", 900),
    "30m": ("30min", 1_800),
    "1h": ("1hour", 3_600),
    "2h": ("2hour", 7_200),
    "4h": ("4hour", 14_400),
    "6h": ("6hour", 21_600),
    "8h": ("8hour", 28_800),
    "12h": ("12hour", 43_200),
    "1d": ("1day", 86_400),
    "1w": ("1week", 604_800),
    "1M": ("1month", 2_592_000),
}
_SPELLINGS: Final = {spelling: code for generic, (code, _) in _CODES.items() for spelling in (generic, code)}
_SECONDS: Final = dict(_CODES.values())
_SPOT_ONLY: Final = frozenset({"6hour"})


def is_spot(exchange: str) -> bool:
    return MARKET_OF[exchange] == "spot"


def rest_of(exchange: str) -> str:
    return SPOT_REST if is_spot(exchange) else FUTURES_REST


def pool_of(exchange: str) -> str:
    """REST weight pool of private calls."""
    return "spot" if is_spot(exchange) else "futures"


def asset_name(code: str) -> str:
    """KuCoin's futures call Bitcoin XBT."""
    return "BTC" if code == "XBT" else code


def pair_of(wire: str) -> str:
    """Pair id of a contract code: `XBTUSDTM` → `BTCUSDT`. For building tables; sessions look codes up in them."""
    pair = wire
    for suffix, replacement, _ in _SUFFIXES:
        if wire.endswith(suffix):
            pair = wire.removesuffix(suffix) + replacement
            break
    return "BTC" + pair[3:] if pair.startswith("XBT") else pair


def family_of_wire(wire: str) -> str | None:
    """`linear` or `inverse` by the ending of a contract code; None when the ending does not tell."""
    return next((family for suffix, _, family in _SUFFIXES if wire.endswith(suffix)), None)


def pair_in(exchange: str, table: SymbolTable, wire: str) -> str | None:
    """Pair id of a wire code if it belongs to this exchange id, else None.

    A contract that was listed after the table was loaded is told by the ending of its name: a fill must not wait for the
    next refresh.
    """
    if is_spot(exchange):
        return wire
    known = table.wire(wire)
    if known is not None:
        return known.pair
    return pair_of(wire) if family_of_wire(wire) == MARKET_OF[exchange] else None


def wire_of(exchange: str, table: SymbolTable, pair: str) -> str | None:
    """Wire code of a pair id, or None if the market does not list it."""
    known = table.pair(pair)
    if known is not None:
        return known.wire
    return pair if is_spot(exchange) and not len(table) else None


def own_assets(exchange: str, table: SymbolTable) -> frozenset[str] | None:
    """Assets that a futures session reports (linear: quote currencies, inverse: base currencies); None = all (spot)."""
    if is_spot(exchange):
        return None
    listed = frozenset(instrument.settle for instrument in table if instrument.settle)
    if MARKET_OF[exchange] == "linear":
        return listed or frozenset({"USDT", "USDC"})
    return listed


def interval_code(exchange: str, interval: str) -> str | None:
    """KuCoin's code of an interval in either spelling, or None."""
    code = _SPELLINGS.get(interval)
    return None if code in _SPOT_ONLY and not is_spot(exchange) else code


def interval_seconds(code: str) -> int:
    """Length of a KuCoin interval code; a month counts 30 days."""
    return _SECONDS[code]


def interval_list(exchange: str) -> str:
    """For refusals: the codes that this market takes."""
    return ", ".join(code for code in _SECONDS if is_spot(exchange) or code not in _SPOT_ONLY)


class _SpotSymbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_currency: str = ""
    quote_currency: str = ""
    enable_trading: bool = True


class _Contract(msgspec.Struct, rename="camel"):
    symbol: str
    base_currency: str = ""
    quote_currency: str = ""
    settle_currency: str = ""
    is_inverse: bool = False
    multiplier: float = 1
    status: str = "Open"


class _ListAnswer(msgspec.Struct):
    code: str
    data: msgspec.Raw


_list = msgspec.json.Decoder(_ListAnswer).decode
_spot_symbol = tolerant(_SpotSymbol)
_contract_row = tolerant(_Contract)
_PAIR: Final = re.compile(r"^[^\s]+$")


class Instruments:
    """Loads the symbols of one exchange id (one call, not paged). Satisfies `InstrumentLoader`."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._found: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        path = "/api/v2/symbols" if is_spot(self._exchange) else "/api/v1/contracts/active"
        return [Call(tag="instruments", method="GET", url=rest_of(self._exchange) + path, weight=4, pool="public")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        try:
            listed = _list(answer.body)
            found = self._spot(listed.data) if is_spot(self._exchange) else self._futures(listed.data)
        except UNREADABLE:
            return []
        self._found = (found or None) if listed.code == "200000" else None
        return []

    def result(self) -> Sequence[Instrument] | None:
        return self._found

    def _spot(self, data: msgspec.Raw) -> list[Instrument]:
        return [
            Instrument(
                # `name` may differ from `symbol` after a rename; everything else at the venue speaks `symbol`.
                wire=row.symbol,
                pair=row.symbol,
                base=row.base_currency,
                quote=row.quote_currency,
                kind="SPOT",
                active=row.enable_trading,
            )
            for row in read_rows(data, _spot_symbol)[0]
            if _PAIR.match(row.symbol)
        ]

    def _futures(self, data: msgspec.Raw) -> list[Instrument]:
        inverse = MARKET_OF[self._exchange] == "inverse"
        return [_contract(row, inverse) for row in read_rows(data, _contract_row)[0] if row.is_inverse is inverse]


def _contract(row: _Contract, inverse: bool) -> Instrument:
    base, quote = asset_name(row.base_currency), asset_name(row.quote_currency)
    size = decimal(row.multiplier)
    return Instrument(
        wire=row.symbol,
        pair=pair_of(row.symbol),
        base=base,
        quote=quote,
        settle=base if inverse else quote,
        contract_size=plain(abs(size)),
        kind="inverse" if inverse else "linear",
        active=row.status == "Open",
    )


def table_of_context(exchange: str, context: Mapping[str, object]) -> SymbolTable:
    """The symbol table that a golden case describes (`symbols`: wire → pair, `assets`)."""
    symbols = context.get("symbols")
    assets = context.get("assets")
    pairs = {str(wire): str(pair) for wire, pair in symbols.items()} if isinstance(symbols, Mapping) else {}
    names = [str(asset) for asset in assets] if isinstance(assets, Sequence) and not isinstance(assets, str) else []
    inverse = MARKET_OF[exchange] == "inverse"

    def settle(pair: str) -> str:
        ends = (name for name in names if (pair.startswith(name) if inverse else pair.endswith(name)))
        return max(ends, key=len, default="")

    return SymbolTable(Instrument(wire=wire, pair=pair, settle=settle(pair)) for wire, pair in pairs.items())
