"""Rows that no page of a venue describes, put beside good ones: what a client must live with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

HOW: Final = ("null", "nulls", "types", "bare", "text")
"""The row is null; its fields are null, or of another type, or missing; it is a text."""
_NAME: Final = "ODD"


def with_odd_rows(body: bytes, how: str, *, first: bool = False) -> bytes:
    """A JSON text with one odd row more in every list of rows (and every table of them by name), at its end or start.

    What is no JSON, or holds no rows, comes back as it is. Raises KeyError for an unknown `how`.
    """
    if how not in HOW:
        raise KeyError(how)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    odd = _with(value, how, first)
    return body if odd == value else msgspec.json.encode(odd)


def _with(value: Any, how: str, first: bool) -> Any:
    if isinstance(value, dict):
        inner = {name: _with(row, how, first) for name, row in value.items()}
        if not _is_table(value):
            return inner
        odd = {_NAME: _odd(next(iter(value.values())), how)}
        return odd | inner if first else inner | odd
    if not isinstance(value, list):
        return value
    rows = [_with(row, how, first) for row in value]
    if not _are_rows(value):
        return rows
    odd_row = _odd(value[-1], how)
    return [odd_row, *rows] if first else [*rows, odd_row]


def _is_table(value: Mapping[str, Any]) -> bool:
    """Rows by name (Kraken): several objects of the same fields, and nothing else."""
    rows = list(value.values())
    if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
        return False
    return len(set.intersection(*(set(row) for row in rows))) > 1


def _are_rows(value: list[Any]) -> bool:
    """Objects, or lists of figures (candles); not a pair of tables, and no list of plain texts."""
    if not value:
        return False
    if all(isinstance(row, dict) for row in value):
        return True
    return all(isinstance(row, list) and row and not any(isinstance(v, dict | list) for v in row) for row in value)


def _odd(row: Any, how: str) -> Any:
    if how == "null":
        return None
    if how == "text":
        return "odd"
    if isinstance(row, list):
        return [] if how == "bare" else [None if how == "nulls" else {"odd": []} for _ in row]
    if how == "bare":
        return {}
    return {name: None if how == "nulls" else _of_another_type(field) for name, field in row.items()}


def _of_another_type(field: Any) -> Any:
    return {"odd": [field]} if isinstance(field, str | int | float) else 7
