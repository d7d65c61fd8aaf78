"""Waiting that does not say how: what is waited for, and until when. A thread blocks on it; a world turns meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import NamedTuple

from connector.core.ports import Clock


class Wait(NamedTuple):
    met: Callable[[], bool]
    """Whether it is over; takes no lock."""
    until: float
    """When to go on anyway, on the monotonic clock."""


Ending = Generator[Wait, None, bool]
"""Something that takes time, step by step: yields what it waits for, goes on when that is met or its time is over, and
returns whether it succeeded. Whoever runs it decides how to wait."""


def wait_through(ending: Ending, changed: threading.Condition, clock: Clock) -> bool:
    """Run an ending in the calling thread; `changed` is notified whenever one of its waits may be met."""
    try:
        while True:
            wait = next(ending)
            with changed:
                changed.wait_for(wait.met, max(0.0, wait.until - clock.mono()))
    except StopIteration as end:
        return bool(end.value)
