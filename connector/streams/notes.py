"""What adapters note about their venue, said at most once a minute each."""

from __future__ import annotations

from typing import Final

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from exchanges._adapter import Note
from exchanges.ids import Feed

log = get_logger(__name__)

NOTE_EVERY_S: Final = 60.0
MAX_NOTES: Final = 100
"""Different ones of a session: a venue that puts numbers into its texts must not fill the log."""


class Notes:
    """Of one session, on its thread."""

    def __init__(self, session: str, venue: str, feed: Feed) -> None:
        self._session, self._venue, self._feed = session, venue, feed
        self._said: dict[str, float] = {}

    def may(self, what: str, mono: float) -> bool:
        """Whether this may be said now; then it counts as said."""
        if mono - self._said.get(what, -NOTE_EVERY_S) < NOTE_EVERY_S or len(self._said) > MAX_NOTES:
            return False
        self._said[what] = mono
        return True

    def told(self, note: Note, mono: float) -> bool:
        """Log it; True if it was logged and is something unusual."""
        unusual = note.level != "info"
        if unusual:
            METRICS.count("notes_total", venue=self._venue, feed=self._feed)
        if not self.may(note.what, mono):
            return False
        say = {"info": log.info, "error": log.error}.get(note.level, log.warning)
        say(note.what, code="WSC-VENUE-NOTE", session=self._session)
        return unusual
