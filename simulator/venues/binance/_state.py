"""What Binance's half, its connections and its REST share. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from simulator._values import Market
from simulator._venue import World
from simulator.venues.binance._frames_market import TickerFrames
from simulator.venues.binance._listen_keys import ListenKeys
from simulator.venues.binance._weights import Weights


class State:
    """Lives as long as the half."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = ListenKeys(world.random, world.settings.listen_key_s)
        self.weights = Weights(enforced=world.settings.limits)
        self.tickers = TickerFrames()
        self._wires: dict[tuple[str, str], str] = {}

    def know(self, made: Sequence[Market]) -> None:
        """These markets are listed from now on."""
        self._wires = {(m.exchange, symbol.wire.lower()): symbol.wire for m in made for symbol in m.symbols}

    def wire_of(self, exchange: str, lower: str) -> str | None:
        """The symbol of a lower-case name in a stream name."""
        return self._wires.get((exchange, lower))
