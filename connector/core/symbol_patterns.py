"""The language of `PRICE_SYMBOLS`: which symbols' prices are published."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from exchanges.ids import LIVE

EVERY: Final = "*"
"""In place of an exchange id: all that are not named."""


class Patterns(msgspec.Struct, frozen=True):
    """What `PRICE_SYMBOLS` says of one exchange id, as shell patterns over pair ids."""

    only: tuple[str, ...] = ()
    """Empty = all."""
    never: tuple[str, ...] = ()

    def allow(self, pair: str) -> bool:
        if self.only and not any(fnmatchcase(pair, pattern) for pattern in self.only):
            return False
        return not any(fnmatchcase(pair, pattern) for pattern in self.never)


def read_patterns(text: str) -> Mapping[str, Patterns]:
    """`binance=*USDT,!*UP*;okx=BTC-*;*=!*TEST*` by exchange id. Raises ValueError, naming what is wrong."""
    found: dict[str, Patterns] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        exchange, equals, listed = (piece.strip() for piece in part.partition("="))
        if not equals or (exchange != EVERY and exchange not in LIVE):
            raise ValueError(f"{part[:60]!r} does not begin with an exchange id and '='")
        patterns = [pattern.strip() for pattern in listed.split(",") if pattern.strip()]
        if not patterns or "!" in patterns or exchange in found:
            raise ValueError(f"{exchange} needs one list of patterns like '*USDT,!*UP*'")
        found[exchange] = Patterns(
            only=tuple(pattern for pattern in patterns if not pattern.startswith("!")),
            never=tuple(pattern[1:] for pattern in patterns if pattern.startswith("!")),
        )
    return found
