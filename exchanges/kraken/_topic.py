"""What a market connection subscribes, spot and futures alike."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """The ticker of a wire symbol, or its candles of so many minutes."""

    symbol: str
    minutes: int = 0
