"""What OKX's half, its connections and its REST share. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from simulator._values import Market, Quote, Symbol, Tick
from simulator._venue import World
from simulator.venues.okx._frames import ticker_row

_KEEP: Final = 8
"""Rendered ticks kept: all connections ask for the same one in a row."""


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tickers = TickerFrames()
        self._members: dict[tuple[str, str], set[int]] = {}
        self._symbols: dict[str, tuple[str, Symbol]] = {}

    def know(self, made: Sequence[Market]) -> None:
        """These markets are listed from now on."""
        self._symbols = {symbol.wire: (market.exchange, symbol) for market in made for symbol in market.symbols}

    def symbol(self, wire: str) -> tuple[str, Symbol] | None:
        """Exchange id and symbol of an instrument id that is listed now."""
        found = self._symbols.get(wire)
        return found if found is not None and self.world.markets.symbol(found[0], wire) is not None else None

    def join_channel(self, account: str, channel: str, peer: object) -> int:
        """One more connection on a private channel of an account; returns how many there are."""
        members = self._members.setdefault((account, channel), set())
        members.add(id(peer))
        return len(members)

    def leave_channel(self, account: str, channel: str, peer: object) -> None:
        self._members.get((account, channel), set()).discard(id(peer))


class TickerFrames:
    """Ticker frames, rendered once per tick for all connections."""

    def __init__(self) -> None:
        self._rendered: dict[tuple[str, int], dict[str, bytes]] = {}

    def frames(self, tick: Tick) -> dict[str, bytes]:
        """Instrument id → frame."""
        key = (tick.exchange, tick.number)
        known = self._rendered.get(key)
        if known is None:
            known = {quote.symbol.wire: self.frame(quote) for quote in tick.quotes}
            while len(self._rendered) >= _KEEP:
                del self._rendered[next(iter(self._rendered))]
            self._rendered[key] = known
        return known

    @staticmethod
    def frame(quote: Quote) -> bytes:
        arg = {"channel": "tickers", "instId": quote.symbol.wire}
        return msgspec.json.encode({"arg": arg, "data": [ticker_row(quote)]})
