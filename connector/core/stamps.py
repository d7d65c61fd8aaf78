"""Threads that say that they are alive, for whoever must know (`connector.streams.alive`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

NOT_NOW: Final = float("inf")
"""Stamp of a thread that is not to be judged: it waits for the system (a name server, a directory lock) without a bound."""


class Stamped(NamedTuple):
    """A thread that must live, and when it last began something, monotonic seconds."""

    name: str
    thread: threading.Thread
    stamp: Callable[[], float]
