"""The venue's clock, which signed requests are stamped with."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from exchanges._adapter import Answer, Call, ClockOffset, Instant
from exchanges._venue import Setup


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


class ClockCheck:
    """Whether our clock is why something was refused: the venue's time is taken over before the refusal is believed, and then
    the same is asked again, so many times a connection. What follows is the adapter's. I/O thread of the session only."""

    __slots__ = ("_call", "_clock", "_left", "_read", "_skew_ms")

    def __init__(
        self,
        clock: VenueClock,
        call: Call,
        read: Callable[[Answer], int | None],
        *,
        tries: int = 1,
        skew_ms: int | None = None,
    ) -> None:
        """`call` asks for the venue's time, `read` finds it in the answer, in ms. `skew_ms` is for a venue that refuses a
        wrong clock and a dead key in the same words: a stamp that was less wrong than this was not the reason."""
        self._clock, self._call, self._read = clock, call, read
        self._left, self._skew_ms = tries, skew_ms

    def ask(self, then: object = None) -> Call | None:
        """The question for the venue's time; None: it was asked often enough, and the refusal has another reason. `then` is
        the context of the call, for who has to know what was refused."""
        if not self._left:
            return None
        self._left -= 1
        return msgspec.structs.replace(self._call, context=then)

    def told(self, answer: Answer, now: Instant) -> ClockOffset | None:
        """Take over what the answer tells; None: no time, or one that is no reason for the refusal."""
        venue_ms = self._read(answer)
        if venue_ms is None:
            return None
        if self._skew_ms is not None and abs(self._clock.error_ms(venue_ms, now)) < self._skew_ms:
            return None
        return self._clock.read(venue_ms, now)
