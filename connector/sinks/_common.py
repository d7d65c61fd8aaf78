"""Small parts that every sink uses: lane counters, reconnect pauses, log throttling."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.ports import Clock

log = get_logger(__name__)

T = TypeVar("T")

Elsewhere = Callable[[Sequence[str]], Collection[str] | None]
"""Which of these streams other processes run now; None = can't be told now. Called on a sink's thread; may take seconds."""
Permitted = Callable[[], float]
"""For how many seconds this process may still publish account messages; 0 = not now. Called on a sink's thread under its
lock; must not wait."""
GATHER_S: Final = 0.002
BUSY_PER_S: Final = 300.0
"""Beyond so many account messages a second a publisher waits `GATHER_S` before it takes what has come: a wake-up, a write and
a confirm cost as much as several messages. Below, each leaves at once."""
HOLD_S: Final = 0.1
"""What may not go out is looked at again after this long."""

BACKOFF_BASE_S: Final = 0.1
BACKOFF_CAP_S: Final = 3.0
"""The platform's own services come back to Redis within 3 s (contract 4.1)."""


class Progress:
    """What a lane has taken in and what it is done with, both only ever rising. The owner's lock guards it."""

    __slots__ = ("added", "settled")

    def __init__(self) -> None:
        self.added = 0
        self.settled = 0

    @property
    def pending(self) -> int:
        return self.added - self.settled


def backoff_s(failures: int, chance: Chance) -> float:
    """Full jitter: anywhere between nearly nothing and 0.1 s · 2^failures, at most 3 s."""
    return chance.uniform(0.02, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(failures, 16)))


def always() -> float:
    """`Permitted` of a process that shares its streams with nobody."""
    return math.inf


class Throttle:
    """Lets one log line per key and minute through. One thread at a time."""

    def __init__(self, clock: Clock, every_s: float = 60.0) -> None:
        self._clock = clock
        self._every_s = every_s
        self._next: dict[str, float] = {}

    def __call__(self, key: str) -> bool:
        now = self._clock.mono()
        if now < self._next.get(key, 0.0):
            return False
        self._next[key] = now + self._every_s
        return True


def left(deadline: float, clock: Clock) -> float:
    """Seconds until a monotonic deadline, never negative."""
    return max(0.0, deadline - clock.mono())


def call_back(callback: Callable[[Sequence[T]], None] | None, items: Sequence[T], sink: str) -> None:
    """Tell the rest of the process; its mistake is logged and must not end the publisher."""
    if callback is None or not items:
        return
    try:
        callback(items)
    except Exception:
        log.exception("callback of a sink failed", sink=sink, callback=getattr(callback, "__name__", "?"))


def utf8(text: str) -> bytes:
    """Never fails: a lone surrogate in a venue's text costs that character, not the lane."""
    return text.encode("utf-8", "replace")
