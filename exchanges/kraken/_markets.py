"""Kraken: names of assets, symbols and intervals, and the symbol lists (venue file sections 3 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kraken._rest import SPOT_REST, futures_hosts, read_futures, read_spot

SPOT: Final = "kraken"
FUTURES: Final = "krakenUsdm"
TOKENIZED: Final = "tokenized_asset"
"""Class of tokenised stocks, which calls about a single one have to name."""
PERPETUAL: Final = "PF_"
"""Linear perpetuals; `PI_` (coin-margined) and dated contracts are not offered."""

# --- assets ---

_RENAMED: Final = {"XBT": "BTC", "XDG": "DOGE"}
_LEGACY: Final = frozenset(
    {"XETC", "XETH", "XLTC", "XMLN", "XREP", "XXBT", "XXDG", "XXLM", "XXMR", "XXRP", "XZEC"}
    | {"ZAUD", "ZCAD", "ZEUR", "ZGBP", "ZJPY", "ZUSD"}
)
"""Asset keys of the first years, with a class letter in front; later assets have none."""


def asset_name(code: str) -> str:
    """The platform's name of an asset key, altname or stream code: `XXBT`, `XBT` and `BTC` are all `BTC`."""
    name = code[1:] if code in _LEGACY else code
    return _RENAMED.get(name, name)


def wire_name(ws_name: str) -> str:
    """The WebSocket v2 symbol of a pair's `wsname`: `XBT/USD` → `BTC/USD`."""
    return "/".join(_RENAMED.get(part, part) for part in ws_name.split("/"))


# --- symbols ---


_QUOTES: Final = ("USDT", "USDC", "USD", "EUR")


def pair_in(table: SymbolTable, wire: str) -> str:
    """Pair id of a wire symbol.

    While the table loads, the name tells the id: a fill must not wait. A symbol that a loaded table lacks keeps its name.
    """
    known = table.wire(wire)
    if known is not None:
        return known.pair
    return wire if len(table) else _pair_by_name(wire)


def _pair_by_name(wire: str) -> str:
    """`BTC/USD` → `BTC-USD`, `PF_XBTUSD` → `BTC-USD`; other names stay."""
    if not wire.startswith(PERPETUAL):
        return wire.replace("/", "-", 1)
    name = wire.removeprefix(PERPETUAL)
    quote = next((quote for quote in _QUOTES if name.endswith(quote)), "")
    base = name.removesuffix(quote)
    return f"{asset_name(base)}-{quote}" if base and quote else wire


def wire_of(exchange: str, table: SymbolTable, pair: str) -> str | None:
    """Wire symbol of a pair id, or None if the market does not list it (or the list is not loaded, for futures)."""
    known = table.pair(pair)
    if known is not None:
        return known.wire
    return pair.replace("-", "/", 1) if exchange == SPOT and not len(table) else None


class PairNames:
    """Pair ids by the names that REST orders use: altname (`XBTUSD`) or pair key (`XXBTZUSD`)."""

    def __init__(self) -> None:
        self._table: SymbolTable | None = None
        self._names: dict[str, str] = {}

    def pair(self, table: SymbolTable, name: str) -> str:
        """The pair id; an unknown name stays as it is."""
        if table is not self._table:
            self._table = table
            self._names = {
                name: instrument.pair for instrument in table for name in (*instrument.extra.values(), instrument.wire)
            }
        return self._names.get(name, name)


# --- intervals ---

_MINUTES: Final = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1_440, "1w": 10_080}
FIFTEEN_DAYS: Final = 21_600
"""Spot only, without a name of its own at the platform."""
_NAMES: Final = {str(minutes): name for name, minutes in _MINUTES.items()}


def minutes_of(exchange: str, interval: str) -> int | None:
    """Length of an interval in either spelling (`60`, `1h`), or None if the venue has no such candles."""
    if exchange == SPOT and interval == str(FIFTEEN_DAYS):
        return FIFTEEN_DAYS
    return _MINUTES.get(_NAMES.get(interval, interval))


def interval_name(minutes: int) -> str:
    """The name that futures feeds and charts use: `1h`."""
    return _NAMES[str(minutes)]


def minutes_of_name(name: str) -> int | None:
    return _MINUTES.get(name)


def interval_list(exchange: str) -> str:
    """For refusals: the codes that the platform sends."""
    if exchange == FUTURES:
        return ", ".join(_MINUTES)
    return ", ".join(str(minutes) for minutes in (*_MINUTES.values(), FIFTEEN_DAYS))


# --- lists ---


class _Asset(msgspec.Struct):
    altname: str


class _Pair(msgspec.Struct):
    base: str
    quote: str
    wsname: str = ""
    altname: str = ""
    status: str = "online"


class _Contract(msgspec.Struct):
    symbol: str
    base: str = ""
    quote: str = ""
    pair: str = ""
    tradeable: bool = False


class _Contracts(msgspec.Struct):
    instruments: list[_Contract]


_decode_assets = msgspec.json.Decoder(dict[str, _Asset]).decode
_decode_pairs = msgspec.json.Decoder(dict[str, _Pair]).decode
_decode_contracts = msgspec.json.Decoder(_Contracts).decode
_PRICED: Final = frozenset({"online", "post_only", "limit_only", "reduce_only", "cancel_only"})


class SpotLoader:
    """Assets and pairs, and unless switched off those of tokenised stocks, which the plain lists leave out (bug A22).

    Satisfies `exchanges._adapter.InstrumentLoader`.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        stocks = options.get("KRAKEN_XSTOCKS_ENABLED", "").strip().lower() != "false"
        self._classes = ("", TOKENIZED) if stocks else ("",)
        self._open = {(what, kind) for what in ("assets", "pairs") for kind in self._classes}
        self._assets: dict[str, str] = {}
        self._pairs: dict[str, tuple[str, _Pair]] = {}

    def start(self) -> Sequence[Call]:
        calls: list[Call] = []
        for kind in self._classes:
            assets = f"?aclass={kind}" if kind else ""
            pairs = f"?aclass_base={kind}" if kind else ""
            calls.append(self._call("assets", f"Assets{assets}", kind))
            calls.append(self._call("pairs", f"AssetPairs{pairs}", kind))
        return calls

    @staticmethod
    def _call(tag: str, path: str, kind: str) -> Call:
        return Call(tag=tag, method="GET", url=f"{SPOT_REST}/0/public/{path}", pool="public", context=kind)

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        read = read_spot(answer)
        if read.failure is not None:
            return ()
        try:
            if call.tag == "assets":
                found = _decode_assets(read.data)
                self._assets.update((code, asset.altname) for code, asset in found.items())
            else:
                kind = str(call.context) or "spot"
                self._pairs.update((key, (kind, pair)) for key, pair in _decode_pairs(read.data).items())
        except UNREADABLE:
            return ()
        self._open.discard((call.tag, str(call.context)))
        return ()

    def result(self) -> Sequence[Instrument] | None:
        if self._open:
            return None
        return [self._instrument(key, *pair) for key, pair in self._pairs.items() if pair[1].wsname] or None

    def _instrument(self, key: str, kind: str, pair: _Pair) -> Instrument:
        base, quote = (asset_name(self._assets.get(code, code)) for code in (pair.base, pair.quote))
        return Instrument(
            wire=wire_name(pair.wsname),
            pair=f"{base}-{quote}",
            base=base,
            quote=quote,
            kind=kind,
            active=pair.status in _PRICED,
            extra={"altname": pair.altname, "key": key},
        )


class FuturesLoader:
    """The linear perpetuals. Satisfies `exchanges._adapter.InstrumentLoader`."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._rest = futures_hosts(options).rest
        self._found: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        url = f"{self._rest}/derivatives/api/v3/instruments"
        return [Call(tag="instruments", method="GET", url=url, pool="public")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        read = read_futures(answer)
        if read.failure is not None:
            return ()
        try:
            rows = _decode_contracts(read.data).instruments
        except UNREADABLE:
            return ()
        self._found = [_contract(row) for row in rows if row.symbol.startswith(PERPETUAL)] or None
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return self._found


def _contract(row: _Contract) -> Instrument:
    """One contract is one unit of the base coin."""
    base, quote = row.base, row.quote
    if not (base and quote):
        base, _, quote = row.pair.partition(":")
    base, quote = asset_name(base), asset_name(quote)
    return Instrument(
        wire=row.symbol,
        pair=f"{base}-{quote}",
        base=base,
        quote=quote,
        settle=quote,
        kind="linear",
        active=row.tradeable,
    )


def table_of_context(context: Mapping[str, object]) -> SymbolTable:
    """The symbol table that a golden case describes (`symbol_map`: wire → pair)."""
    symbols = context.get("symbol_map")
    pairs = {str(wire): str(pair) for wire, pair in symbols.items()} if isinstance(symbols, Mapping) else {}
    return SymbolTable(Instrument(wire=wire, pair=pair) for wire, pair in pairs.items())


def asset_map_of_context(context: Mapping[str, object]) -> dict[str, str]:
    """Further asset names of a golden case (`asset_map`: code → name)."""
    names = context.get("asset_map")
    return {str(code): str(name) for code, name in names.items()} if isinstance(names, Mapping) else {}
