"""Waiting that does not say how: what is waited for, and until when. A thread blocks on it; a world turns meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
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


def together(endings: Sequence[Ending], clock: Clock) -> Ending:
    """Several endings side by side: none waits for another. True if all of them succeeded."""
    results: list[bool] = []
    waiting: list[tuple[Ending, Wait]] = []
    due = list(endings)
    while due or waiting:
        for ending in due:
            try:
                waiting.append((ending, next(ending)))
            except StopIteration as end:
                results.append(bool(end.value))
        if waiting:
            yield _first([wait for _, wait in waiting])
        now = clock.mono()
        due = [ending for ending, wait in waiting if wait.met() or wait.until <= now]
        waiting = [(ending, wait) for ending, wait in waiting if ending not in due]
    return all(results)


def _first(waits: Sequence[Wait]) -> Wait:
    return Wait(lambda: any(wait.met() for wait in waits), min(wait.until for wait in waits))
