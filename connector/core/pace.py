"""How fast something comes: whether it pays to wait a moment for company."""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 0.1


class Pace:
    """A rate over the last whole window. After a pause it begins at nothing, so that what comes alone waits for nobody.

    One thread at a time.
    """

    __slots__ = ("_busy_per_s", "_count", "_rate", "_since")

    def __init__(self, busy_per_s: float) -> None:
        """`busy_per_s`: beyond this it is busy."""
        self._busy_per_s = busy_per_s
        self._since = 0.0
        self._count = 0
        self._rate = 0.0

    def came(self, count: int, mono: float) -> None:
        """So many more, at this monotonic time."""
        self._count += count
        if mono - self._since >= WINDOW_S:
            self._rate = self._count / (mono - self._since)
            self._since, self._count = mono, 0

    def busy(self, mono: float) -> bool:
        return self._rate > self._busy_per_s and mono - self._since < 2 * WINDOW_S
