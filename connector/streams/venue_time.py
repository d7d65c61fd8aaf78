"""What time it is at the venues: gaps begin and end by their clocks, whatever ours say."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock

log = get_logger(__name__)

OFF_MS: Final = 2_000
"""A difference from here on is told: a `Date` header has whole seconds, and its answer was on its way for a while."""
KEPT_S: Final = 3600.0
"""A measurement is forgotten after so long: the venue's clock, or its proxy's, may have been put right."""


class VenueTime:
    """By venue (`venue.name`). Measured with every REST answer that has a `Date` (RFC 9110 6.6.1), and by adapters whose
    signature was refused. Kept against the monotonic clock, so that a step of our wall clock changes nothing. Any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: dict[str, tuple[float, float]] = {}
        """Venue → its ms minus our monotonic ms, and when that was measured."""
        self._told: dict[str, int] = {}

    def answered(self, venue: str, headers: Mapping[str, str]) -> None:
        """A REST answer came. One from a cache tells an old time and is left out."""
        date = headers.get("date")
        if date is None or headers.get("age", "0") != "0":
            return
        try:
            moment = parsedate_to_datetime(date)
        except (ValueError, IndexError, TypeError):
            return
        if moment.tzinfo is not None:
            self._measured(venue, int(moment.timestamp() * 1000) + 500)

    def offset(self, venue: str, offset_ms: int) -> None:
        """An adapter measured the venue's time minus our wall clock's."""
        self._measured(venue, self._clock.wall_ms() + offset_ms)

    def now_ms(self, venue: str) -> int:
        """The venue's time; ours, as long as nothing is known of its clock or the two agree."""
        mono, wall_ms = self._clock.mono(), self._clock.wall_ms()
        ahead_ms, measured = self._ahead.get(venue, (0.0, -KEPT_S))
        venue_ms = int(ahead_ms + mono * 1000)
        return venue_ms if mono - measured < KEPT_S and abs(venue_ms - wall_ms) >= OFF_MS else wall_ms

    def at(self, venue: str, mono: float) -> int:
        """The venue's time when our monotonic clock stood at `mono`."""
        return self.now_ms(venue) - int((self._clock.mono() - mono) * 1000)

    def look(self) -> None:
        """Job: tell the differences as they are now. A step of our clock needs no REST answer to be seen, nor to be over."""
        mono, wall_ms = self._clock.mono(), self._clock.wall_ms()
        for venue, (ahead_ms, measured) in list(self._ahead.items()):
            if mono - measured < KEPT_S:
                self._tell(venue, wall_ms - int(ahead_ms + mono * 1000))
            else:
                self._ahead.pop(venue, None)
                self._told.pop(venue, None)
                METRICS.forget("clock_off_seconds", venue=venue)

    def _measured(self, venue: str, venue_ms: int) -> None:
        mono = self._clock.mono()
        self._ahead[venue] = (venue_ms - mono * 1000, mono)
        self._tell(venue, self._clock.wall_ms() - venue_ms)

    def _tell(self, venue: str, off_ms: int) -> None:
        METRICS.gauge("clock_off_seconds", off_ms / 1000, venue=venue)
        before = self._told.get(venue, 0)
        if abs(off_ms) < OFF_MS:
            if before:
                self._told[venue] = 0
                log.warning("the host's clock agrees with the venue's again", venue=venue)
        elif abs(off_ms - before) >= OFF_MS:
            self._told[venue] = off_ms
            log.error(
                "the host's clock is off: check NTP; gaps are measured by the venue's clock",
                venue=venue,
                by_s=round(off_ms / 1000, 1),
            )
