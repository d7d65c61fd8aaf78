"""The venue's clock: what signed requests are stamped with, and how it is read again after -1021."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Output
from exchanges.binance._markets import Market

TAG: Final = "time"


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


_decode = msgspec.json.Decoder(_Time).decode


class VenueClock:
    """One connection's view of the venue's clock."""

    def __init__(self, market: Market, offset_ms: int) -> None:
        self._market = market
        self.offset_ms = offset_ms
        self._call: Call | None = None

    def stamp(self, now: Instant) -> int:
        """The venue's time, ms."""
        return now.wall_ms + self.offset_ms

    def resync(self) -> list[Output]:
        """Ask for the time, unless the question is already under way."""
        if self._call is not None:
            return []
        self._call = Call(tag=TAG, method="GET", url=self._market.url("time"), pool=self._market.pool)
        return [self._call]

    def owns(self, call: Call) -> bool:
        return call is self._call

    def answered(self, answer: Answer, now: Instant) -> bool:
        """Take the answer over; False if it told no time (the old offset stays)."""
        self._call = None
        try:
            told_ms = _decode(answer.body).server_time
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        # The way back is not added: a stamp that is a little late is always accepted, one of the future is not.
        self.offset_ms = told_ms - now.wall_ms
        return True
