"""What Kraken's half, its connections and its REST share. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from simulator._values import Quote, Tick
from simulator._venue import World
from simulator.venues.kraken import _frames_futures, _frames_spot
from simulator.venues.kraken._auth import Nonces, Tokens
from simulator.venues.kraken._symbols import SPOT

_KEEP: Final = 8
"""Rendered ticks kept: all connections ask for the same one in a row."""


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nonces = Nonces()
        self.tokens = Tokens(world)
        self.tickers = TickerFrames()
        self.open_futures = 0
        """Connections of the classic futures."""
        self.unified_connections = 0
        """How many private ones there were: they differ in turns in what no page tells."""

    def futures_closed(self) -> None:
        """A futures connection is gone."""
        self.open_futures -= 1


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections."""

    def __init__(self) -> None:
        self._rendered: dict[tuple[str, int], dict[str, bytes]] = {}

    def frames(self, tick: Tick) -> dict[str, bytes]:
        """Wire symbol → frame of spot, or of the classic futures."""
        return self._frames(tick, tick.exchange, _spot_ticker if tick.exchange == SPOT else _frames_futures.ticker)

    def unified(self, tick: Tick) -> dict[str, bytes]:
        """Wire symbol → frame of the unified socket."""
        return self._frames(tick, f"unified {tick.exchange}", _spot_ticker)

    def _frames(self, tick: Tick, name: str, make: Callable[[Quote], Any]) -> dict[str, bytes]:
        key = (name, tick.number)
        known = self._rendered.get(key)
        if known is None:
            known = {quote.symbol.wire: msgspec.json.encode(make(quote)) for quote in tick.quotes}
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known


def _spot_ticker(quote: Quote) -> dict[str, Any]:
    return {"channel": "ticker", "type": "update", "data": [_frames_spot.ticker_row(quote)]}
