"""Finished orders of a gap: what `allOrders` can be asked for, page by page, and what has to be left out.

USD-M answers for the whole account since 2026-08-25 (derivatives change log), COIN-M for a pair, spot for a symbol. Where
the account can't be asked as a whole, the orders, positions and balances of the first answers say which names are worth a
question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from exchanges.binance._hosts import Market

MAX_NAMES: Final = 20
"""Symbols or pairs whose finished orders are read; each costs 20 of 6,000 weight a minute on spot."""
PAGE: Final = 1000
DAY_MS: Final = 86_400_000
SPOT_WINDOWS: Final = 3
"""`allOrders` spans at most 24 h on spot: a longer gap takes several calls, the last three days' at most."""
FUTURES_WINDOWS: Final = 4
FUTURES_WINDOW_MS: Final = 7 * DAY_MS - 3_600_000
"""Less than 7 days on the futures markets; orders that were canceled unfilled are kept for three days only."""


class Part(NamedTuple):
    """One question: a name (empty = the whole account) and a span of time."""

    name: str
    from_ms: int
    to_ms: int = 0
    """0 = up to now."""


class History:
    """Which parts of the past were asked for, and what was not."""

    def __init__(self, market: Market, since_ms: int, now_ms: int) -> None:
        self._market = market
        self.by: str = market.history
        self.since_ms = since_ms
        self._now_ms = now_ms
        self._asked: dict[str, None] = {}
        self._left: dict[str, None] = {}
        self._windows, self._cut = self._spans(now_ms)

    def whole(self) -> list[Part]:
        """The whole account at once."""
        return [Part("", start, end) for start, end in self._windows]

    def refused(self) -> None:
        """The venue wants a symbol after all: an older deployment, as its test networks are for a while."""
        self.by = "symbol"

    def add(self, symbols: Iterable[str]) -> list[Part]:
        """The parts of those that were not asked for yet, as far as there is room."""
        parts: list[Part] = []
        for name in dict.fromkeys(map(self._name, symbols)):
            if not name or name in self._asked or self.by == "account":
                continue
            if len(self._asked) >= MAX_NAMES:
                self._left[name] = None
                continue
            self._asked[name] = None
            parts.extend(Part(name, start, end) for start, end in self._windows)
        return parts

    def left_out(self, *, changed: bool) -> list[str]:
        """What of the gap was not asked for. `changed`: whether anything may have happened on names that nobody knows."""
        phrases: list[str] = []
        if self._cut:
            phrases.append("orders that were placed and finished early in a long gap")
        if self.by == "account":
            return phrases
        kind = "pairs" if self.by == "pair" else "symbols"
        if self._left:
            phrases.append(f"orders that finished meanwhile on {len(self._left)} {kind}")
        if changed:
            phrases.append(f"closed orders on other {kind} can't be asked for")
        return phrases

    def further(self, part: Part, times: Sequence[int]) -> list[Part]:
        """The parts behind a full page, whose rows were made at `times`; empty if nothing more can be asked for.

        Rows come oldest first, so the next page begins with the newest. Where they don't (no page says how the rows of
        several symbols are ordered), each half of the span holds less.
        """
        end_ms = part.to_ms or max(self._now_ms, *times) + 1
        newest_ms = max(times)
        if list(times) == sorted(times) and part.from_ms < newest_ms:
            return [part._replace(from_ms=newest_ms)]
        middle_ms = (part.from_ms + end_ms) // 2
        if middle_ms <= part.from_ms:
            return []
        return [part._replace(to_ms=middle_ms), part._replace(from_ms=middle_ms)]

    def _name(self, symbol: str) -> str:
        # COIN-M contracts are called after their pair: BTCUSD_PERP, BTCUSD_261225.
        return symbol.partition("_")[0] if self.by == "pair" else symbol

    def _spans(self, now_ms: int) -> tuple[list[tuple[int, int]], bool]:
        spot = self._market.spot
        length_ms = DAY_MS if spot else FUTURES_WINDOW_MS
        first_ms = now_ms - length_ms * (SPOT_WINDOWS if spot else FUTURES_WINDOWS)
        start_ms = max(self.since_ms, first_ms)
        starts = range(start_ms, max(now_ms, start_ms + 1), length_ms)
        spans = [(start, start + length_ms) for start in starts]
        if not spot:
            spans[-1] = (spans[-1][0], 0)
        return spans, start_ms > self.since_ms
