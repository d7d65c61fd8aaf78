"""The symbol list of one exchange id (venues/okx.md 9). There are no pages; X-Perps stand in the list of futures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call
from exchanges._frames import UNREADABLE
from exchanges._numbers import decimal, multiply, plain
from exchanges._rows import read_rows
from exchanges.instruments import Instrument
from exchanges.okx._errors import envelope_of, failure_of
from exchanges.okx._hosts import PUBLIC_REST
from exchanges.okx._orders import KIND, XPERP, pair_of

_LISTS: Final = {"okx": ("SPOT",), "okxLinear": ("SWAP", "FUTURES"), "okxInverse": ("SWAP",)}
_ALIVE: Final = frozenset({"live", "post_only", "rebase"})
"""States in which an instrument has prices; `suspend`, `preopen` and `test` carry no trading."""
_EU_SPOT_QUOTES: Final = "EUR,USDC"


class _Row(msgspec.Struct, rename="camel"):
    inst_id: str
    inst_type: str | None = ""
    base_ccy: str | None = ""
    quote_ccy: str | None = ""
    settle_ccy: str | None = ""
    ct_type: str | None = ""
    ct_val: str | None = ""
    ct_mult: str | None = ""
    ct_val_ccy: str | None = ""
    rule_type: str | None = ""
    state: str | None = "live"


_decode_row = msgspec.json.Decoder(_Row).decode


class Loader:
    """See `exchanges._venue.InstrumentLoader`."""

    def __init__(self, exchange: str, options: Mapping[str, str]) -> None:
        self._exchange = exchange
        self._europe = options.get("OKX_EU_ONLY", "").strip().lower() in {"true", "1", "yes", "on"}
        quotes = options.get("OKX_EU_SPOT_QUOTES", "") or _EU_SPOT_QUOTES
        self._quotes = frozenset(quote.strip().upper() for quote in quotes.split(",") if quote.strip())
        self._found: dict[str, Instrument] = {}
        self._open = set(_LISTS[exchange])

    def start(self) -> Sequence[Call]:
        return [
            Call(
                tag="instruments",
                method="GET",
                url=f"{PUBLIC_REST}/api/v5/public/instruments?instType={kind}",
                pool="public",
                context=kind,
            )
            for kind in _LISTS[self._exchange]
        ]

    def answered(self, call: Call, answer: Answer) -> Sequence[Call]:
        envelope = envelope_of(answer)
        if failure_of(answer) is not None or envelope is None:
            return ()
        try:
            rows, odd = read_rows(envelope.data, _decode_row)
        except UNREADABLE:
            return ()
        if odd and not rows:
            return ()
        for row in rows:
            if self._wanted(row):
                self._found[row.inst_id] = instrument(row)
        self._open.discard(str(call.context))
        return ()

    def result(self) -> Sequence[Instrument] | None:
        return None if self._open else list(self._found.values())

    def _wanted(self, row: _Row) -> bool:
        """European deployments trade spot against two quotes, and X-Perps instead of swaps."""
        if row.inst_type == "FUTURES":
            return row.rule_type == XPERP
        if row.inst_type == "SPOT":
            return not self._europe or row.quote_ccy in self._quotes
        return row.ct_type == KIND[self._exchange] and not self._europe


def instrument(row: _Row) -> Instrument:
    base, quote, settle = row.base_ccy or "", row.quote_ccy or "", row.settle_ccy or ""
    if row.ct_type == "linear":
        base, quote = row.ct_val_ccy or "", settle
    elif row.ct_type == "inverse":
        base, quote = settle, row.ct_val_ccy or ""
    size = multiply(decimal(row.ct_val or "1"), decimal(row.ct_mult or "1"))
    return Instrument(
        wire=row.inst_id,
        pair=pair_of(row.inst_id),
        base=base,
        quote=quote,
        settle=settle,
        contract_size=plain(size),
        kind=XPERP if row.rule_type == XPERP else (row.ct_type or "spot"),
        active=(row.state or "live") in _ALIVE,
    )


def of_context(instruments: Mapping[str, Mapping[str, object]]) -> list[Instrument]:
    """The instruments of a golden case: wire id → fields of the venue's list."""
    return [instrument(msgspec.convert({"instId": wire, **fields}, _Row)) for wire, fields in instruments.items()]
