"""Loads the symbols of one Bitget exchange id: the classic lists, and what only v3 has (venues/bitget.md 9 and v3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows
from exchanges.bitget._hosts import (
    CONTRACT_MARK,
    DEMO_HEADER,
    LINE,
    PRODUCTS,
    REALITY,
    REST,
    SPOT,
    V3,
    demo_prices,
    is_spot,
)
from exchanges.bitget._rows import word
from exchanges.instruments import Instrument, SymbolTable

COIN: Final = "COIN-FUTURES"
MODERN: Final = "v3/"
"""Before the category of a v3 list, as the context of its call."""
_SILENT: Final = frozenset({"listed", "maintain", "off", "offline", "halt", "gray"})
"""States without prices. Contracts that are being closed (`limit_open`, `restrictedAPI`) have positions until the last day,
and a word that nobody lists costs no price."""


class _SpotSymbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str | None = None
    quote_coin: str | None = None
    status: str | None = None


class _Contract(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str | None = None
    quote_coin: str | None = None
    support_margin_coins: list[str | None] | None = None
    symbol_status: str | None = None


class _Modern(msgspec.Struct, rename="camel"):
    """A row of the v3 lists."""

    symbol: str
    base_coin: str | None = None
    quote_coin: str | None = None
    type: str | None = None
    status: str | None = None
    is_reality: str | bool | None = None


class _Answer(msgspec.Struct):
    code: str | int
    data: msgspec.Raw = msgspec.Raw(b"null")


_answer = msgspec.json.Decoder(_Answer).decode
_spot_row = msgspec.json.Decoder(_SpotSymbol).decode
_contract_row = msgspec.json.Decoder(_Contract).decode
_modern_row = msgspec.json.Decoder(_Modern).decode


class Instruments:
    """One call a list; a row that can't be read costs itself. Satisfies `InstrumentLoader`."""

    def __init__(self, exchange: str, options: Mapping[str, str], before: SymbolTable) -> None:
        self._exchange = exchange
        self._headers = DEMO_HEADER if demo_prices(options) else {}
        self._found: dict[str, list[Instrument]] = {}
        self._reality = {instrument.wire for instrument in before if instrument.extra.get(REALITY) == "yes"}

    def start(self) -> Sequence[Call]:
        if is_spot(self._exchange):
            return [self._get(SPOT, "/api/v2/spot/public/symbols"), self._modern(SPOT)]
        path = "/api/v2/mix/market/contracts?productType="
        calls = [self._get(product, path + product) for product in PRODUCTS[self._exchange]]
        return [*calls, self._modern(COIN)] if self._exchange == "bitgetCoinm" else calls

    def _modern(self, category: str) -> Call:
        return self._get(MODERN + category, f"/api/v3/market/instruments?category={category}")

    def _get(self, name: str, path: str) -> Call:
        return Call(
            tag="instruments", method="GET", url=REST + path, headers=self._headers, context=name, pool="public"
        )

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        name = str(call.context)
        try:
            body = _answer(answer.body)
            if str(body.code) != "00000" or bytes(body.data) == b"null":
                return []
            self._read(name, body.data)
        except (*UNREADABLE, ValueError):
            return []
        return []

    def _read(self, name: str, data: msgspec.Raw) -> None:
        if name == MODERN + SPOT:
            rows, _ = read_rows(data, _modern_row)
            if rows:
                self._reality = {row.symbol for row in rows if word(row.is_reality) in ("yes", "true")}
            return
        makers: dict[str, Callable[[], list[Instrument]]] = {
            SPOT: lambda: [_spot(row) for row in read_rows(data, _spot_row)[0]],
            MODERN + COIN: lambda: [_perpetual(row) for row in read_rows(data, _modern_row)[0] if _is_perpetual(row)],
        }
        make = makers.get(name, lambda: [_contract(row, name) for row in read_rows(data, _contract_row)[0]])
        self._found[name] = make()

    def result(self) -> Sequence[Instrument] | None:
        """None unless every list answered: half a market must not replace a whole one.

        Only the list of Reality tokens may be missing: then what it said last stays true.
        """
        needed = set(PRODUCTS[self._exchange]) | ({MODERN + COIN} if self._exchange == "bitgetCoinm" else set())
        if set(self._found) != needed:
            return None
        modern = self._found.get(MODERN + COIN, [])
        moved = {instrument.pair for instrument in modern}
        classic = [
            instrument
            for name, found in self._found.items()
            if name != MODERN + COIN
            for instrument in found
            if instrument.pair not in moved
        ]
        if is_spot(self._exchange):
            classic = [
                _marked(instrument) if instrument.wire in self._reality else instrument for instrument in classic
            ]
        return [*classic, *modern] or None


def _has_prices(status: str | None, default: str) -> bool:
    return (status or default).lower() not in _SILENT


def _spot(row: _SpotSymbol) -> Instrument:
    return Instrument(
        wire=row.symbol,
        pair=row.symbol,
        base=row.base_coin or "",
        quote=row.quote_coin or "",
        kind=SPOT,
        active=_has_prices(row.status, "online"),
    )


def _contract(row: _Contract, product: str) -> Instrument:
    return Instrument(
        wire=row.symbol,
        pair=row.symbol,
        base=row.base_coin or "",
        quote=row.quote_coin or "",
        settle=next((coin for coin in row.support_margin_coins or () if coin), ""),
        kind=product,
        active=_has_prices(row.symbol_status, "normal"),
    )


def _is_perpetual(row: _Modern) -> bool:
    """Dated contracts stand in both lists, and keep their name and the classic route."""
    return word(row.type) == "perpetual" or (not row.type and row.symbol.endswith(CONTRACT_MARK))


def _perpetual(row: _Modern) -> Instrument:
    base = row.base_coin or ""
    return Instrument(
        wire=row.symbol,
        pair=row.symbol.removesuffix(CONTRACT_MARK),
        base=base,
        quote=row.quote_coin or "",
        settle=base,
        kind=COIN,
        active=_has_prices(row.status, "online"),
        extra={LINE: V3},
    )


def _marked(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument, extra={**instrument.extra, REALITY: "yes"})
