"""Kraken: names of assets, symbols and intervals, and the symbol lists (docs/venues/kraken.md, sections 3 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows
from exchanges.instruments import Instrument, SymbolTable
from exchanges.kraken._errors import read_futures, read_spot
from exchanges.kraken._hosts import FUTURES_REST, SPOT_REST, UNIFIED_WS, option_refusal
from exchanges.kraken._route import UNIFIED, route_of

SPOT: Final = "kraken"
FUTURES: Final = "krakenUsdm"
TOKENIZED: Final = "tokenized_asset"
"""Class of tokenised stocks, which calls about a single one have to name."""
UNIFIED_LIST: Final = "instruments of the unified socket"
LIST_LIMIT_S: Final = 20.0
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


_QUOTES: Final = ("USDT", "USDC", "USD", "EUR", "GBP")
"""How names of markets end; the longer ones first."""


def pair_in(table: SymbolTable, wire: str) -> str:
    """Pair id of a wire symbol, for tickers and candles: one that a loaded table lacks keeps its name.

    While the table loads, the name tells the id: a price must not wait.
    """
    known = table.wire(wire)
    if known is not None:
        return known.pair
    return wire if len(table) else pair_by_name(wire)


def event_pair_in(table: SymbolTable, wire: str) -> str:
    """Pair id of a wire symbol, for an account's events.

    A coin that was listed minutes ago is not in the list yet: its name tells the id, because the backend rounds prices of
    symbols that it does not know to 2 decimals.
    """
    known = table.wire(wire)
    return known.pair if known is not None else pair_by_name(wire)


def pair_by_name(wire: str) -> str:
    """`XBT/USD` → `BTC-USD`, `PF_XBTUSD` → `BTC-USD`; other names stay."""
    if wire.startswith(PERPETUAL):
        return _split(wire.removeprefix(PERPETUAL)) or wire
    base, slash, quote = wire.partition("/")
    return f"{asset_name(base)}-{asset_name(quote)}" if slash else wire


def _split(name: str) -> str:
    """The pair id of a name without a mark between its coins; empty if it can't be told."""
    quote = next((quote for quote in _QUOTES if name.endswith(quote)), "")
    base = name.removesuffix(quote)
    return f"{asset_name(base)}-{quote}" if base and quote else ""


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
        """The pair id; a name that no list has tells it itself."""
        if table is not self._table:
            self._table = table
            self._names = {
                name: instrument.pair for instrument in table for name in (*instrument.extra.values(), instrument.wire)
            }
        return self._names.get(name) or (pair_by_name(name) if "/" in name else _split(name) or name)


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
    wsname: str | None = None
    altname: str | None = None
    status: str | None = None


class _Contract(msgspec.Struct):
    symbol: str
    base: str | None = None
    quote: str | None = None
    pair: str | None = None
    tradeable: bool | None = None


class _Contracts(msgspec.Struct):
    instruments: msgspec.Raw


class _ListedPair(msgspec.Struct):
    """A row of the unified socket's list."""

    symbol: str
    base: str | None = None
    quote: str | None = None
    status: str | None = None


class _ListedData(msgspec.Struct):
    pairs: msgspec.Raw


class _Listed(msgspec.Struct):
    data: _ListedData


T = TypeVar("T")

_decode_rows = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_asset = msgspec.json.Decoder(_Asset).decode
_decode_pair = msgspec.json.Decoder(_Pair).decode
_decode_contracts = msgspec.json.Decoder(_Contracts).decode
_decode_listed = msgspec.json.Decoder(_Listed).decode
_decode_listed_pair = msgspec.json.Decoder(_ListedPair).decode
_decode_contract = msgspec.json.Decoder(_Contract).decode
_PRICED: Final = frozenset({"online", "post_only", "limit_only", "reduce_only", "cancel_only"})


def _each(data: bytes, decode: Callable[[bytes], T]) -> dict[str, T]:
    """The rows of an object that can be read. Raises what `UNREADABLE` lists for another shape."""
    found: dict[str, T] = {}
    for key, raw in _decode_rows(data).items():
        try:
            found[key] = decode(bytes(raw))
        except UNREADABLE:
            continue
    return found


class SpotLoader:
    """Assets and pairs, and unless switched off those of tokenised stocks, which the plain lists leave out (bug A22).

    Satisfies `exchanges._venue.InstrumentLoader`.
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
                found = _each(read.data, _decode_asset)
                self._assets.update((code, asset.altname) for code, asset in found.items())
            else:
                kind = str(call.context) or "spot"
                self._pairs.update((key, (kind, pair)) for key, pair in _each(read.data, _decode_pair).items())
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
            wire=wire_name(pair.wsname or ""),
            pair=f"{base}-{quote}",
            base=base,
            quote=quote,
            kind=kind,
            active=(pair.status or "online") in _PRICED,
            extra={"altname": pair.altname or "", "key": key},
        )


class FuturesLoader:
    """The linear perpetuals. Satisfies `exchanges._venue.InstrumentLoader`.

    The futures API lists them until it ends (docs/venues/kraken-unified.md, section 9); when it does not, or the unified way
    is chosen, the unified public socket is asked, which has the list as the snapshot of a channel.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._refused = option_refusal(options) is not None
        self._unified = route_of(options, 0) == UNIFIED
        self._found: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        if self._refused:
            return []
        if self._unified:
            return [_unified_list()]
        url = f"{FUTURES_REST}/derivatives/api/v3/instruments"
        return [Call(tag="instruments", method="GET", url=url, pool="public")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if call.tag == UNIFIED_LIST:
            self._found = _unified_contracts(answer)
            return ()
        read = read_futures(answer)
        try:
            rows, _ = read_rows(_decode_contracts(read.data).instruments, _decode_contract)
        except UNREADABLE:
            rows = []
        contracts = [_contract(row) for row in rows if row.symbol.startswith(PERPETUAL)]
        self._found = [contract for contract in contracts if contract is not None] or None
        return () if self._found else [_unified_list()]

    def result(self) -> Sequence[Instrument] | None:
        return self._found


def _unified_list() -> Call:
    params = {"channel": "instrument", "asset_class": "derivatives", "snapshot": True}
    body = msgspec.json.encode({"method": "subscribe", "params": params, "req_id": 1}).decode()
    return Call(
        tag=UNIFIED_LIST,
        method="GET",
        url=UNIFIED_WS,
        body=body,
        until='"pairs"',
        pool="public",
        timeout_s=LIST_LIMIT_S,
    )


def _unified_contracts(answer: Answer) -> list[Instrument] | None:
    """The list, or None. Each row as the futures API would have it."""
    try:
        rows, _ = read_rows(_decode_listed(answer.body).data.pairs, _decode_listed_pair)
    except UNREADABLE:
        return None
    found = (
        _contract(_Contract(row.symbol, row.base, row.quote, tradeable=(row.status or "online") in _PRICED))
        for row in rows
        if row.symbol.startswith(PERPETUAL)
    )
    return [contract for contract in found if contract is not None] or None


def _contract(row: _Contract) -> Instrument | None:
    """One contract is one unit of the base coin. None without a name of its coins."""
    base, quote = row.base or "", row.quote or ""
    if not (base and quote):
        base, _, quote = (row.pair or "").partition(":")
    base, quote = asset_name(base), asset_name(quote)
    pair = f"{base}-{quote}" if base and quote else pair_by_name(row.symbol)
    if pair == row.symbol:
        return None
    base, _, quote = pair.rpartition("-")
    return Instrument(
        wire=row.symbol,
        pair=pair,
        base=base,
        quote=quote,
        settle=quote,
        kind="linear",
        active=bool(row.tradeable),
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
