"""Firehose mode: all-market ticker frames at a fixed rate, from ticks made in advance. Pure.

Every row's event time is the wall time of the sending step, so a reader can measure latency. The half keeps a template per
variant (`Tick.variant`), so a frame costs one text replacement and one send.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import msgspec

from simulator._values import Quote
from simulator._venue import Instant
from simulator.engine import Refused
from simulator.hub import Hub

VARIANTS: Final = 4
"""Different ticks per market that take turns; prices differ between them."""
MAX_BEHIND_S: Final = 1.0
"""A loop that is late by more than this skips frames instead of sending them in a burst."""


class Firehose:
    """A routine of the hub: `step` sends what is due."""

    def __init__(self, hub: Hub, *, rate: float, exchanges: Sequence[str] = ()) -> None:
        """`rate` = frames per second and market. Raises `Refused` for an unknown exchange id."""
        if rate <= 0:
            raise Refused("quantity", "rate must be above 0")
        self._hub = hub
        self._every_s = 1.0 / rate
        self._next = 0.0
        self._sent = 0
        source = random.Random(hub.settings.seed)
        names = list(exchanges) or hub.world.markets.exchanges()
        for name in names:
            if hub.world.markets.market(name) is None:
                raise Refused("symbol", f"no market {name}")
        self.covers = frozenset(names)
        self._ticks = {
            name: [_moved(hub.world.markets.quotes(name), source) for _ in range(VARIANTS)] for name in names
        }

    def step(self, now: Instant) -> float:
        """Send every frame that is due; returns when to be called again, monotonic seconds."""
        if now.mono - self._next > MAX_BEHIND_S:
            self._next = now.mono
        while self._next <= now.mono:
            self._next += self._every_s
            self._sent += 1
            variant = self._sent % VARIANTS
            for exchange, ticks in self._ticks.items():
                wall = self._hub.market_now(exchange, now).wall_ms
                tick = self._hub.world.markets.replayed(exchange, ticks[variant], variant + 1, wall)
                self._hub.tick(tick, (), now)
        return self._next


def _moved(quotes: Sequence[Quote], source: random.Random) -> tuple[Quote, ...]:
    """The same symbols, each a few price steps away."""
    return tuple(
        msgspec.structs.replace(quote, price=quote.price + (quote.ask - quote.bid) * source.randint(1, 9))
        for quote in quotes
    )
