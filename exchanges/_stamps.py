"""Times of prices that a venue sends without one: our own clock, which the host may set back. Pure."""

from __future__ import annotations

from typing import Final

MAX_AHEAD_MS: Final = 60_000
"""A clock that was set back by more than this was wrong before and is followed: prices of the future are dropped, too."""


class Stamps:
    """Never goes back by less than a minute: consumers drop a price that is older than the one that they have.

    Without this a clock that is set back by 45 s would silence a whole market for as long. I/O thread of the session only.
    """

    __slots__ = ("_last_ms",)

    def __init__(self) -> None:
        self._last_ms = 0

    def at(self, wall_ms: int) -> int:
        """The time of a price that came at `wall_ms`, in ms."""
        behind = wall_ms < self._last_ms <= wall_ms + MAX_AHEAD_MS
        self._last_ms = self._last_ms + 1 if behind else wall_ms
        return self._last_ms
