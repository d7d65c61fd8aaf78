"""The product list, all pages of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._rows import read_rows, tolerant
from exchanges.coinbase._connection import API, REST
from exchanges.coinbase._errors import failure_of
from exchanges.instruments import Instrument

PAGE: Final = 1_000
MAX_PAGES: Final = 50
"""A list that never ends would otherwise be followed for ever."""


class _Product(msgspec.Struct):
    product_id: str
    base_currency_id: str = ""
    quote_currency_id: str = ""
    status: str = ""
    product_type: str = "SPOT"
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    view_only: bool = False


class _Page(msgspec.Struct):
    products: msgspec.Raw


_decode = msgspec.json.Decoder(_Page).decode
_decode_row = tolerant(_Product)


class Loader:
    """See `exchanges._venue.InstrumentLoader`."""

    def __init__(self) -> None:
        self._found: dict[str, Instrument] = {}
        self._rows = 0
        self._pages = 0
        self._complete = False

    def start(self) -> Sequence[Call]:
        return [self._call()]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        if failure_of(answer) is not None:
            return ()
        try:
            rows, odd = read_rows(_decode(answer.body).products, _decode_row)
        except UNREADABLE:
            return ()
        if odd and not rows:
            return ()
        number = len(rows) + odd.number
        self._pages += 1
        self._rows += number
        before = len(self._found)
        for row in rows:
            if row.product_type in ("SPOT", ""):
                self._found[row.product_id] = _instrument(row)
        # A full page may have a successor; one that brings nothing new means that the venue ignores the offset.
        if number >= PAGE and len(self._found) > before and self._pages < MAX_PAGES:
            return [self._call()]
        self._complete = True
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return list(self._found.values()) if self._complete else None

    def _call(self) -> Call:
        query = {"product_type": "SPOT", "limit": str(PAGE), "offset": str(self._rows)}
        url = f"{REST}{API}/market/products?{urlencode(query)}"
        return Call(tag="instruments", method="GET", url=url)


def _instrument(row: _Product) -> Instrument:
    active = row.status in ("online", "") and not (row.is_disabled or row.trading_disabled or row.view_only)
    return Instrument(
        wire=row.product_id,
        pair=row.product_id,
        base=row.base_currency_id,
        quote=row.quote_currency_id,
        settle=row.quote_currency_id,
        active=active,
        extra={"alias": row.alias} if row.alias else {},
    )
