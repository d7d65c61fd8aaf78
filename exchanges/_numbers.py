"""Decimal text in, decimal text out. No float between the venue and an event."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from math import isfinite
from typing import Final

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader of the platform keeps exact."""

_MAX_EXPONENT: Final = 100
_CONTEXT: Final = Context(prec=34, rounding=ROUND_HALF_EVEN)


def order_id(value: int | str) -> int | str:
    """An id as it may be published: a number stays one up to 2^53-1, above that it becomes text (bug B11)."""
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    return value


def decimal(text: str | int | float | Decimal | None) -> Decimal:
    """The value of a venue number; None, empty or not-a-number text is 0. Floats go through their shortest text.

    Text with an absurd exponent is no number either: written out it would fill the memory.
    """
    if text is None or text == "":
        return Decimal(0)
    try:
        value = Decimal(repr(text)) if isinstance(text, float) else Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return value if value.is_finite() and abs(value.adjusted()) <= _MAX_EXPONENT else Decimal(0)


def number(text: str | None) -> float:
    """The value of a market figure; what is empty or no finite number counts as 0."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0


def plain(value: Decimal | float | int | str) -> str:
    """Shortest decimal text without an exponent: `0.0000001`, never `1e-7`; `-0` is `0`.

    Text that is already plain comes back unchanged (`"1.500"` keeps its zeros).
    """
    if isinstance(value, str) and value and "e" not in value and "E" not in value:
        return value
    value = decimal(value)
    if not value:
        return "0"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text


def multiply(a: Decimal, b: Decimal) -> Decimal:
    return _CONTEXT.multiply(a, b)


def divide(a: Decimal, b: Decimal) -> Decimal:
    """`a / b` to 34 digits; 0 when `b` is 0."""
    return _CONTEXT.divide(a, b) if b else Decimal(0)


def positive(text: str | None) -> bool:
    """Whether a venue number is above zero."""
    return bool(text) and decimal(text) > 0
