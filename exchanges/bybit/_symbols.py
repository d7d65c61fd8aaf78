"""The symbol list of one category; every page of it (bug A61: only the first 500 symbols had prices)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.bybit._errors import envelope_of, failure_of
from exchanges.bybit._hosts import CATEGORY, PUBLIC_REST
from exchanges.instruments import Instrument

PAGE: Final = 1_000
MAX_PAGES: Final = 50
"""A cursor that never ends would otherwise be followed for ever."""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_coin: str = ""
    quote_coin: str = ""
    settle_coin: str = ""
    contract_type: str = ""
    status: str = ""


class _Page(msgspec.Struct, rename="camel"):
    rows: msgspec.Raw = msgspec.field(name="list")
    next_page_cursor: str | None = ""


_decode = msgspec.json.Decoder(_Page).decode
_decode_symbol = tolerant(_Symbol)


class Loader:
    """See `exchanges._venue.InstrumentLoader`."""

    def __init__(self, exchange: str) -> None:
        self._category = CATEGORY[exchange]
        self._found: dict[str, Instrument] = {}
        self._pages = 0
        self._complete = self._odd = False

    def start(self) -> Sequence[Call]:
        return [self._call("")]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        envelope = envelope_of(answer)
        if failure_of(answer) is not None or envelope is None:
            return ()
        try:
            page = _decode(envelope.result)
            rows, odd = read_rows(page.rows, _decode_symbol)
        except UNREADABLE:
            return ()
        self._pages += 1
        self._odd = self._odd or bool(odd)
        for row in rows:
            self._found[row.symbol] = _instrument(row, self._category)
        if page.next_page_cursor and (rows or odd) and self._pages < MAX_PAGES:
            return [self._call(page.next_page_cursor)]
        self._complete = bool(self._found) or not self._odd
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return list(self._found.values()) if self._complete else None

    def _call(self, cursor: str) -> Call:
        query = {"category": self._category}
        if self._category != "spot":  # spot has no pages
            query["limit"] = str(PAGE)
        if cursor:
            query["cursor"] = cursor
        return Call(tag="instruments", method="GET", url=f"{PUBLIC_REST}/v5/market/instruments-info?{urlencode(query)}")


def _instrument(row: _Symbol, category: str) -> Instrument:
    settle = row.settle_coin or (row.base_coin if category == "inverse" else row.quote_coin)
    return Instrument(
        wire=row.symbol,
        pair=row.symbol,
        base=row.base_coin,
        quote=row.quote_coin,
        settle=settle,
        kind=row.contract_type,
        active=row.status == "Trading",
    )
