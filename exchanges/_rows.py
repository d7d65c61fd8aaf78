"""Lists that venues send, read row by row: one odd row costs itself and never the rows beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import msgspec

from exchanges._frames import UNREADABLE

Row = TypeVar("Row")

MAX_REASONS: Final = 3
"""Different reasons that are told of one list; a list that is odd throughout says the same a thousand times."""

_decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Odd(NamedTuple):
    """The rows of a list that could not be read."""

    number: int = 0
    reasons: tuple[str, ...] = ()
    """Which field was of which type, never a value: rows may belong to an account."""

    def __bool__(self) -> bool:
        return self.number > 0

    def phrase(self, what: str) -> str:
        """`2 orders that can't be read (Expected `str`, got `null` - at `$.symbol`)`; `what` is a plural."""
        return f"{self.number} {what} that can't be read ({'; '.join(self.reasons)})"


def read_rows(data: bytes | msgspec.Raw, decode: Callable[[bytes], Row]) -> tuple[list[Row], Odd]:
    """The readable rows of a JSON array in their order, and what is to be said about the others.

    `null` is an empty list, as some venues write it. Raises one of `UNREADABLE` for anything else that is no array.
    """
    text = bytes(data)
    if text.strip() in (b"", b"null"):
        return [], Odd()
    rows: list[Row] = []
    count = 0
    reasons: dict[str, None] = {}
    for raw in _decode_raws(text):
        try:
            rows.append(decode(bytes(raw)))
        except (*UNREADABLE, ValueError) as error:
            count += 1
            if len(reasons) < MAX_REASONS:
                reasons[str(error)] = None
    return rows, Odd(count, tuple(reasons))


def tolerant(shape: type[Row], *, strict: bool = True, blank: bool = False) -> Callable[[bytes | msgspec.Raw], Row]:
    """A decoder to which `null` is an absent field wherever the field may be absent. `strict`: see msgspec.

    `blank`: so is an empty text, for rows of figures. It raises one of `UNREADABLE` as the strict one does, also for a `null`
    in a field that has to be there.
    """
    as_documented = msgspec.json.Decoder(shape, strict=strict).decode

    def decode(data: bytes | msgspec.Raw) -> Row:
        try:
            return as_documented(data)
        except msgspec.ValidationError:
            return as_documented(_without_nulls(bytes(data), absent=_NULL_OR_BLANK if blank else _NULL))

    return decode


MAX_DEPTH: Final = 20
"""Deeper down nothing is looked at: no row of a venue is."""
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


_NULL: Final = (b"null",)
_NULL_OR_BLANK: Final = (b"null", b'""')


def _without_nulls(text: bytes, depth: int = 0, absent: tuple[bytes, ...] = _NULL) -> bytes:
    """JSON without the keys of objects whose value is null. Figures keep their own text, whatever its length."""
    if depth >= MAX_DEPTH or not any(value in text for value in absent):
        return text
    if text.lstrip().startswith(b"{"):
        rows = {key: bytes(raw) for key, raw in _decode_object(text).items()}
        kept = {key: row for key, row in rows.items() if row.strip() not in absent}
        plain = {key: msgspec.Raw(_without_nulls(row, depth + 1, absent)) for key, row in kept.items()}
        return msgspec.json.encode(plain)
    if text.lstrip().startswith(b"["):
        return msgspec.json.encode(
            [msgspec.Raw(_without_nulls(bytes(raw), depth + 1, absent)) for raw in _decode_raws(text)]
        )
    return text
