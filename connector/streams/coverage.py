"""How many streams are wanted, and how many of them nobody runs: the blindness that no stream itself can tell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from connector.core.log import get_logger
from connector.core.metrics import METRICS

log = get_logger(__name__)

LISTED: Final = 50
"""Streams without an owner that are listed by name."""


class Coverage:
    """Written by the owner's sweeps, read by any thread."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._left_out = 0
        """Streams that nobody runs, and for which this process has no room."""
        self._seen: frozenset[str] = frozenset()
        self.wanted = self.unowned = 0
        self.alone: tuple[str, ...] = ()
        """The first of the streams that two sweeps in a row found without an owner: the others are being taken."""

    def seen(self, *, wanted: int, without: Collection[str], room: int) -> None:
        """What a sweep found: of the `wanted` streams those `without` an owner; `room` more would fit into this process."""
        unowned = len(without)
        self.wanted, self.unowned = wanted, unowned
        before, self._seen = self._seen, frozenset(without)
        self.alone = tuple(sorted(before & self._seen)[:LISTED])
        METRICS.gauge("streams_wanted", wanted)
        METRICS.gauge("streams_unowned", unowned)
        left_out = unowned if room <= 0 else 0
        if left_out and not self._left_out:
            log.error(
                "this process is full and wanted streams are run by nobody: start more processes or raise MAX_STREAMS",
                max_streams=self._capacity,
                unowned=left_out,
            )
        elif self._left_out and not left_out:
            log.info("every wanted stream has an owner or room again")
        self._left_out = left_out

    def problems(self) -> Sequence[str]:
        """For the heartbeat; empty while nobody is left out here."""
        if not self._left_out:
            return ()
        return (
            f"capacity: MAX_STREAMS={self._capacity} is reached; {self._left_out} wanted streams are run by nobody",
        )
