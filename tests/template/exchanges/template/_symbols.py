"""Symbols and intervals. The pair id is the venue's own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from exchanges.template._errors import REST, failure_of

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.instruments import Instrument

INTERVALS: Final = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000}
"""Code → length, ms."""


class _Symbol(msgspec.Struct):
    symbol: str
    base: str
    quote: str


class Rows(msgspec.Struct):
    """Around every list of the REST interface."""

    rows: msgspec.Raw
    more: bool = False


decode_rows: Final = msgspec.json.Decoder(Rows).decode
_decode_symbol: Final = tolerant(_Symbol)


class Loader:
    """See `exchanges._venue.InstrumentLoader`."""

    def __init__(self) -> None:
        self._found: list[Instrument] | None = None

    def start(self) -> Sequence[Call]:
        return [Call(tag="symbols", method="GET", url=f"{REST}/symbols")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if failure_of(answer) is None:
            try:
                rows, odd = read_rows(decode_rows(answer.body).rows, _decode_symbol)
            except UNREADABLE:
                return ()
            found = [Instrument(wire=r.symbol, pair=r.symbol, base=r.base, quote=r.quote) for r in rows]
            self._found = found if found or not odd else None
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return self._found
