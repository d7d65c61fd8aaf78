"""The venue's clock, which signed requests are stamped with."""

from __future__ import annotations

from exchanges._adapter import ClockOffset, Instant, Setup


class VenueClock:
    """One connection's view of the venue's clock. I/O thread of the session only.

    As long as it measured nothing itself it follows what the family knows, asked for at each stamp: a step of our clock is
    known there, and thousands of connections may be made before the first of them is refused and measures.
    """

    __slots__ = ("_measured", "_offset_ms", "_stamped")

    def __init__(self, setup: Setup) -> None:
        self._measured = setup.clock_offset_ms
        self._offset_ms: int | None = None
        self._stamped = Instant(0.0, 0)
        """When the last stamp was made, and which."""

    @property
    def offset_ms(self) -> int:
        """Venue time minus local time."""
        return self._measured() if self._offset_ms is None else self._offset_ms

    def stamp(self, now: Instant) -> int:
        """The venue's time, ms."""
        self._stamped = Instant(now.mono, now.wall_ms + self.offset_ms)
        return self._stamped.wall_ms

    def error_ms(self, venue_ms: int, now: Instant) -> int:
        """The venue told its time just now: by how much the last stamp was behind it. What the family knows may be right by
        now: the answer that told the time was seen there first."""
        passed_ms = round((now.mono - self._stamped.mono) * 1000)
        return venue_ms - self._stamped.wall_ms - passed_ms

    def read(self, venue_ms: int, now: Instant) -> ClockOffset:
        """The venue told its time just now. Returns the output that tells the other connections."""
        # The way back is not added: a stamp that is a little late is always accepted, one of the future is not.
        self._offset_ms = venue_ms - now.wall_ms
        return ClockOffset(self._offset_ms)
