"""Streams that are wanted and that nobody can open, because their keys went with a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connector.core.errors import StateUnavailable
from connector.streams.engine import Engine

LOOK_S: Final = 5.0


class Orphans:
    """Job of the process that gets the commands: what is orphaned twice in a row is asked for again."""

    def __init__(self, engine: Engine, ready: Callable[[], bool], ask: Callable[[], None]) -> None:
        self._engine, self._ready, self._ask = engine, ready, ask
        self._before: set[str] = set()

    def look(self) -> None:
        if not self._ready():
            return
        announcer = self._engine.announcer
        try:
            before, self._before = self._before, announcer.orphans(self._engine.enabled)
            lasting = before & self._before
            if lasting and announcer.ask_for_orphans(len(lasting)):
                self._ask()
        except StateUnavailable:
            self._before = set()
