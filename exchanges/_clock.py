"""The venue's clock, which signed requests are stamped with."""

from __future__ import annotations

from exchanges._adapter import ClockOffset, Instant, Setup


class VenueClock:
    """One connection's view of the venue's clock. I/O thread of the session only.

    As long as it measured nothing itself it follows what the family knows, asked for at each stamp: a step of our clock is
    known there, and thousands of connections may be made before the first of them is refused and measures.
    """

    __slots__ = ("_measured", "_offset_ms")

    def __init__(self, setup: Setup) -> None:
        self._measured = setup.clock_offset_ms
        self._offset_ms: int | None = None

    @property
    def offset_ms(self) -> int:
        """Venue time minus local time."""
        return self._measured() if self._offset_ms is None else self._offset_ms

    def stamp(self, now: Instant) -> int:
        """The venue's time, ms."""
        return now.wall_ms + self.offset_ms

    def read(self, venue_ms: int, now: Instant) -> ClockOffset:
        """The venue told its time just now. Returns the output that tells the other connections."""
        # The way back is not added: a stamp that is a little late is always accepted, one of the future is not.
        self._offset_ms = venue_ms - now.wall_ms
        return ClockOffset(self._offset_ms)
