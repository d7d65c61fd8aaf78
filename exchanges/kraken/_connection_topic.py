"""What a market connection subscribes, spot, futures and unified alike."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

DERIVATIVES: Final[dict[str, object]] = {"asset_class": "derivatives"}
"""Names the part of the unified socket that is meant: it will carry spot as well."""
PRODUCT: Final = re.compile(r"\bPF_[A-Za-z0-9]+\b")
"""What the name of a linear perpetual in a text looks like."""


class Topic(NamedTuple):
    """The ticker of a wire symbol, or its candles of so many minutes."""

    symbol: str
    minutes: int = 0
