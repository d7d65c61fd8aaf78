"""Frames that wait for a venue's message limit on one connection."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from exchanges._venue import Rate

MAX_UNSENT: Final = 10_000
TOO_MANY_UNSENT: Final = "too many frames wait for the venue's message limit"


class Unsent:
    """One thread, that of the session."""

    def __init__(self, limit: Rate) -> None:
        self._limit = limit
        self._texts: deque[str] = deque()
        self._sent_at: deque[float] = deque()
        """Of the frames that still count, monotonic; the oldest first."""

    def add(self, text: str, *, urgent: bool) -> bool:
        """False if so many wait already that the connection can't be meant to go on."""
        if len(self._texts) >= MAX_UNSENT:
            return False
        self._texts.appendleft(text) if urgent else self._texts.append(text)
        return True

    def next(self, mono: float) -> str | None:
        """The frame that may be sent now; None if there is none, or the venue takes no more yet."""
        if not self._texts:
            return None
        while self._sent_at and self._sent_at[0] <= mono - self._limit.per_s:
            self._sent_at.popleft()
        if len(self._sent_at) >= self._limit.limit:
            return None
        self._sent_at.append(mono)
        return self._texts.popleft()

    def next_due(self) -> float:
        """When the venue takes another one, monotonic; infinite = nothing waits for that."""
        return self._sent_at[0] + self._limit.per_s if self._texts and self._sent_at else math.inf
