"""Frames in which something is odd: what of them can still be read. A fill is not lost for the sake of its time in force."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_PLACE: Final = re.compile(r"at `\$((?:\.\w+)+)(\[(?:\d+|\.\.\.)\](?:\.\w+)*)?`$")
"""Where msgspec found something odd: the field, and whether it is a list with an odd row."""
_MAX_ODD_FIELDS: Final = 8


def without_odd_fields(shape: type[msgspec.Struct], value: Any) -> tuple[msgspec.Struct, tuple[str, ...]]:
    """The value without the optional fields and the rows of lists that don't fit, and where these stood.

    Raises `msgspec.ValidationError` when something is odd that has to be there.
    """
    odd: list[str] = []
    while True:
        try:
            return msgspec.convert(value, shape), tuple(odd)
        except msgspec.ValidationError as error:
            place = _PLACE.search(str(error))
            if place is None or len(odd) == _MAX_ODD_FIELDS:
                raise
            *parents, name = place.group(1)[1:].split(".")
            inner = value
            for parent in parents:
                inner = inner[parent]
            if place.group(2):
                inner[name] = _good_rows(shape, value, inner, name, place.group(1))
            else:
                del inner[name]
            odd.append(name)


def _good_rows(shape: type[msgspec.Struct], value: Any, inner: Any, name: str, path: str) -> list[Any]:
    """The rows of the list at `path` that fit: each is tried alone, and without its nulls if need be."""
    good: list[Any] = []
    for row in inner[name]:
        bare = {key: field for key, field in row.items() if field is not None} if isinstance(row, dict) else row
        for candidate in (row, bare):
            inner[name] = [candidate]
            try:
                msgspec.convert(value, shape)
            except msgspec.ValidationError as error:
                place = _PLACE.search(str(error))
                if place is not None and place.group(1) == path:
                    continue
            good.append(candidate)
            break
    return good
