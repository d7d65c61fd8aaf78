"""Markets: wire codes, pair ids, aliases of bridged coins, and the loader of all lists (venues/hyperliquid.md 9)."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows
from exchanges.hyperliquid._hosts import Site, info, site_of
from exchanges.instruments import Instrument, SymbolTable

SPOT: Final = "hyperliquid"
LINEAR: Final = "hyperliquidLinear"
Kind = Literal["spot", "perp"]
KIND_OF: Final[dict[str, Kind]] = {SPOT: "spot", LINEAR: "perp"}
RAW: Final = "raw"
"""Name in `Instrument.extra` of the pair id as the venue's own token names give it."""
DEX: Final = "dex"
"""Name in `Instrument.extra` of the builder dex; absent on the native one."""
DOUBLE: Final = "double"
"""Name in `Instrument.extra` of the pair id that an instrument would have, had no older listing of the market the same."""
OUTCOMES: Final = ("#", "+")
"""How codes of outcome markets begin (a side of an outcome, its token): they belong to no exchange id."""
_SAFE: Final = re.compile(r"[A-Za-z0-9_.]{1,32}")
"""Deployers choose names; names like paths occur."""
_BRIDGED: Final = "Unit "
"""The bridge that calls its coins UBTC, UETH …: its tokens' full names begin like this."""
_LIST_WEIGHT: Final = 20


def market_of(code: str) -> str:
    """The exchange id of a wire code: spot is `@142` or `PURR/USDC`, outcomes (`#20`, `+2`) have none, the rest are perps."""
    if code.startswith(OUTCOMES):
        return ""
    return SPOT if code.startswith("@") or "/" in code else LINEAR


def dex_of(code: str) -> str:
    """The builder dex of a perp's code or pair (`xyz:TSLA`); empty on the native one."""
    return code.partition(":")[0] if ":" in code else ""


def pair_of(table: SymbolTable, code: str) -> str:
    """The pair id of a wire code of either market; a code that is in no list stays as it is."""
    found = table.wire(code)
    return code if found is None else found.pair


def event_pair_of(table: SymbolTable, code: str) -> str:
    """The pair id under which an account's events are told.

    A coin that was listed minutes ago is not in the list yet: its code tells the pair, because the backend rounds prices
    of symbols that it does not know to 2 decimals. Spot codes of index numbers tell nothing and stay.
    """
    if table.wire(code) is not None or code.startswith("@"):
        return pair_of(table, code)
    if "/" in code:
        return code.replace("/", "-", 1)
    dex = dex_of(code)
    return f"{code}-{next((item.quote for item in table if dex and item.extra.get(DEX) == dex), 'USDC')}"


def instrument_of(table: SymbolTable, exchange: str, pair: str) -> Instrument | None:
    """What a candle request names: a pair id of this market, also under the bridged coin's own name (bugs A29, A30)."""
    found = table.pair(pair)
    if found is not None and _own(found, exchange):
        return found
    return next((item for item in table if _own(item, exchange) and item.extra.get(RAW) == pair), None)


def _own(instrument: Instrument, exchange: str) -> bool:
    return instrument.kind in ("", KIND_OF[exchange]) and DOUBLE not in instrument.extra


def one_pair_each(instruments: Iterable[Instrument]) -> list[Instrument]:
    """Pair ids name one instrument of a market: the code that was listed first keeps the pair, later ones go by their codes.

    Token names are not unique at the venue. Two prices on one channel, or a candle of either, would be worse than none.
    """
    taken: set[tuple[str, str]] = set()
    found: list[Instrument] = []
    for item in instruments:
        name = (item.kind, item.pair)
        if name in taken:
            extra = {**item.extra, DOUBLE: item.pair}
            item = msgspec.structs.replace(item, pair=item.wire, active=False, extra=extra)
        taken.add(name)
        found.append(item)
    return found


def asset_of(table: SymbolTable, token: str) -> str:
    """The name under which the platform knows a token: bridged coins have their own coin's."""
    for item in table:
        base, _, quote = item.extra.get(RAW, "").rpartition("-")
        if item.kind == "spot" and token in (base, quote):
            return item.base if token == base else item.quote
    return token


def dexes(table: SymbolTable) -> list[str]:
    """The builder dexes that are listed."""
    return sorted({item.extra[DEX] for item in table if DEX in item.extra})


# --- the venue's lists ---


class Token(msgspec.Struct, rename="camel"):
    name: str
    index: int
    full_name: str | None = None


class _Pair(msgspec.Struct):
    name: str
    tokens: tuple[int, int]
    index: int | None = None


class _SpotAnswer(msgspec.Struct):
    tokens: msgspec.Raw
    universe: msgspec.Raw


class SpotMeta(NamedTuple):
    """The tokens and pairs of spot that can be read."""

    tokens: list[Token]
    universe: list[_Pair]


class _Asset(msgspec.Struct, rename="camel"):
    name: str
    is_delisted: bool | None = None


class _MetaAnswer(msgspec.Struct, rename="camel"):
    universe: msgspec.Raw
    collateral_token: int | None = None


class Meta(NamedTuple):
    """The perps of one dex that can be read, and the index of the token that they settle in."""

    universe: list[_Asset]
    collateral_token: int


class _Dex(msgspec.Struct):
    name: str


_decode_spot = msgspec.json.Decoder(_SpotAnswer).decode
_decode_token = msgspec.json.Decoder(Token).decode
_decode_pair = msgspec.json.Decoder(_Pair).decode
_decode_meta = msgspec.json.Decoder(_MetaAnswer).decode
_decode_asset = msgspec.json.Decoder(_Asset).decode
_decode_dex = msgspec.json.Decoder(_Dex | None).decode


def _spot_meta(body: bytes) -> SpotMeta:
    """Raises what `UNREADABLE` lists for another shape."""
    answer = _decode_spot(body)
    tokens, _ = read_rows(answer.tokens, _decode_token)
    universe, _ = read_rows(answer.universe, _decode_pair)
    listed = [pair for pair in universe if market_of(pair.name) == SPOT]
    return SpotMeta(tokens, sorted(listed, key=lambda pair: pair.index if pair.index is not None else sys.maxsize))


def _meta(body: bytes) -> Meta:
    """Raises what `UNREADABLE` lists for another shape."""
    answer = _decode_meta(body)
    universe, _ = read_rows(answer.universe, _decode_asset)
    return Meta([asset for asset in universe if market_of(asset.name) == LINEAR], answer.collateral_token or 0)


def aliases(tokens: Iterable[Token]) -> dict[str, str]:
    """Token name → the name that the platform uses, where they differ.

    A bridged coin loses its U, and `USDT0` its 0, unless a token of the bare name is listed or two would have it.
    """
    listed = list(tokens)
    names = {token.name for token in listed}
    found = {
        token.name: token.name[1:]
        for token in listed
        if (token.full_name or "").startswith(_BRIDGED) and token.name.startswith("U") and len(token.name) > 1
    }
    if "USDT0" in names:
        found["USDT0"] = "USDT"
    wanted = Counter(found.values())
    return {name: bare for name, bare in found.items() if bare not in names and wanted[bare] == 1}


def safe(name: str) -> bool:
    return bool(_SAFE.fullmatch(name)) and ".." not in name


def spot_instruments(meta: SpotMeta, alias: Mapping[str, str], *, active: bool) -> list[Instrument]:
    names = {token.index: token.name for token in meta.tokens}
    found: list[Instrument] = []
    for pair in meta.universe:
        base, quote = (names.get(index, "") for index in pair.tokens)
        if safe(base) and safe(quote):
            own = (alias.get(base, base), alias.get(quote, quote))
            found.append(_instrument(pair.name, "-".join(own), f"{base}-{quote}", "spot", *own, active=active))
    return found


def perp_instruments(
    meta: Meta, dex: str, names: Mapping[int, str], alias: Mapping[str, str], *, active: bool
) -> list[Instrument]:
    quote = names.get(meta.collateral_token, "USDC")
    own_quote = alias.get(quote, quote)
    prefix = f"{dex}:" if dex else ""
    found: list[Instrument] = []
    for asset in meta.universe:
        base = asset.name.removeprefix(prefix)
        if not safe(base) or not asset.name.startswith(prefix):
            continue
        own = alias.get(base, base)
        pair, raw = f"{prefix}{own}-{own_quote}", f"{prefix}{base}-{quote}"
        trades = active and not asset.is_delisted
        found.append(_instrument(asset.name, pair, raw, "perp", own, own_quote, dex=dex, active=trades))
    return found


def _instrument(
    wire: str, pair: str, raw: str, kind: Kind, base: str, quote: str, *, dex: str = "", active: bool
) -> Instrument:
    extra = {RAW: raw} | ({DEX: dex} if dex else {})
    settle = quote if kind == "perp" else ""
    return Instrument(
        wire=wire, pair=pair, base=base, quote=quote, settle=settle, kind=kind, active=active, extra=extra
    )


class Loader:
    """The lists of both markets: an account's orders come from both, whatever the exchange id of its stream.

    The instruments of the other market are listed as inactive. See `exchanges._venue.InstrumentLoader`.
    """

    def __init__(self, exchange: str, options: Mapping[str, str]) -> None:
        self._exchange = exchange
        self._site: Site = site_of(options)
        self._spot: SpotMeta | None = None
        self._metas: dict[str, Meta] = {}
        self._dexes_known = self._site.testnet
        """The testnet has thousands of builder dexes, mostly empty: only the native one is loaded there."""

    def start(self) -> Sequence[Call]:
        calls = [self._call("spotMeta"), self._call("meta", "")]
        return calls if self._dexes_known else [*calls, self._call("perpDexs")]

    def _call(self, kind: str, dex: str | None = None) -> Call:
        body = {"type": kind} | ({"dex": dex} if dex else {})
        return info(self._site, kind, _LIST_WEIGHT, body, context=dex)

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if answer.status != 200:
            return ()
        try:
            if call.tag == "spotMeta":
                self._spot = _spot_meta(answer.body)
            elif call.tag == "meta":
                self._metas[str(call.context)] = _meta(answer.body)
            elif not self._dexes_known:
                listed, _ = read_rows(answer.body, _decode_dex)
                self._dexes_known = bool(listed)
                names = dict.fromkeys(dex.name for dex in listed if dex is not None and safe(dex.name))
                return [self._call("meta", name) for name in names]
        except UNREADABLE:
            return ()  # a dex that fails costs only its own coins
        return ()

    def result(self) -> Sequence[Instrument] | None:
        spot = self._spot
        if spot is None or not spot.universe or "" not in self._metas or not self._dexes_known:
            return None
        alias = aliases(spot.tokens)
        names = {token.index: token.name for token in spot.tokens}
        own_spot = self._exchange == SPOT
        perps = [
            item
            for dex, meta in self._metas.items()
            for item in perp_instruments(meta, dex, names, alias, active=not own_spot)
        ]
        return one_pair_each([*spot_instruments(spot, alias, active=own_spot), *perps])


def table_of_context(exchange: str, context: Mapping[str, object]) -> SymbolTable:
    """The table of a golden case: wire code → pair id."""
    listed = context.get("code_to_pair")
    rows = sorted(listed.items(), key=_index) if isinstance(listed, Mapping) else ()
    found: list[Instrument] = []
    for code, pair in rows:
        market = market_of(str(code)) or LINEAR
        base, _, quote = str(pair).rpartition("-")
        found.append(
            _instrument(
                str(code), str(pair), str(pair), KIND_OF[market], base, quote,
                dex=dex_of(str(code)), active=market == exchange,
            )
        )  # fmt: skip
    return SymbolTable(one_pair_each(found))


def _index(row: tuple[object, object]) -> int:
    """Spot codes by their numbers, which is how old their listings are; all others stay in their order."""
    number = str(row[0]).removeprefix("@")
    return int(number) if number.isdecimal() else 0
