"""Symbol metadata of one market, immutable once loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One tradable symbol.

    `wire` is the venue's code (`BTC-USDT-SWAP`), `pair` the platform's pair id (`BTC-USDT`, contract 1.6).
    """

    wire: str
    pair: str
    base: str = ""
    quote: str = ""
    settle: str = ""
    contract_size: str = "1"
    """Units of `base` (linear) or `quote` (inverse) in one contract, decimal text."""
    kind: str = ""
    """The venue's own product type where it matters (`USDT-FUTURES`, `xperp`, …)."""
    active: bool = True
    extra: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Further venue fields that its adapter needs."""


class SymbolTable:
    """All instruments of one exchange id, by wire code and by pair id. Immutable: any thread may read it."""

    __slots__ = ("_by_pair", "_by_wire", "loaded_at_ms")

    def __init__(self, instruments: Iterable[Instrument] = (), loaded_at_ms: int = 0) -> None:
        by_wire: dict[str, Instrument] = {}
        by_pair: dict[str, Instrument] = {}
        for instrument in instruments:
            by_wire[instrument.wire] = instrument
            known = by_pair.get(instrument.pair)
            if known is None or (instrument.active and not known.active):
                by_pair[instrument.pair] = instrument
        self._by_wire = MappingProxyType(by_wire)
        self._by_pair = MappingProxyType(by_pair)
        self.loaded_at_ms = loaded_at_ms

    def wire(self, code: str) -> Instrument | None:
        return self._by_wire.get(code)

    def pair(self, pair: str) -> Instrument | None:
        return self._by_pair.get(pair)

    def active(self) -> list[Instrument]:
        return [instrument for instrument in self._by_wire.values() if instrument.active]

    def __len__(self) -> int:
        return len(self._by_wire)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_wire.values())


EMPTY = SymbolTable()
