"""Actors of the market data. `declare` puts them on a broker; nothing happens at import time.

`platform_candle` serves the backend's own queue, `subscribe_candle` is the interface for Python backends: messages on
`wsc.price` with one dict `{"symbol": …, "exchange": …, "interval": …}` (contract 1.6).
"""

from __future__ import annotations

from typing import Final

import dramatiq

from tasks._actors import carry_out
from tasks._actors import declare as declare_actor
from tasks.delivery import Delivery

QUEUE: Final = "candlesRequests"
PREFIX: Final = "wsc."


def platform_candle(delivery: Delivery) -> None:
    """A candle request of the backend."""
    carry_out(delivery)


def subscribe_candle(delivery: Delivery) -> None:
    """A candle request of a Python backend."""
    carry_out(delivery)


def declare(
    broker: dramatiq.Broker, *, queue: str = QUEUE, prefix: str = PREFIX, platform: bool = True
) -> dict[str, dramatiq.Actor[..., None]]:
    """Declare all actors of the price role; returns them by name. `platform`: whether the backend's queue is served."""
    actors = [declare_actor(broker, "subscribe_candle", subscribe_candle, f"{prefix}price")]
    if platform:
        actors.append(declare_actor(broker, "platform_candle", platform_candle, queue))
    return {actor.actor_name: actor for actor in actors}
