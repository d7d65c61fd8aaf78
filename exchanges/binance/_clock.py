"""How the venue's clock is read again after -1021."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, Instant, Note, Output
from exchanges._clock import VenueClock
from exchanges._frames import UNREADABLE
from exchanges._venue import Setup
from exchanges.binance._hosts import Market

TAG: Final = "time"


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


_decode = msgspec.json.Decoder(_Time).decode


class BinanceClock(VenueClock):
    """The clock and the question for it."""

    __slots__ = ("_call", "_market")

    def __init__(self, market: Market, setup: Setup) -> None:
        super().__init__(setup)
        self._market = market
        self._call: Call | None = None

    def resync(self) -> list[Output]:
        """Ask for the time, unless the question is already under way."""
        if self._call is not None:
            return []
        self._call = Call(tag=TAG, method="GET", url=self._market.url("time"), pool=self._market.pool)
        return [self._call]

    def owns(self, call: Call) -> bool:
        return call is self._call

    def answered(self, answer: Answer, now: Instant) -> list[Output]:
        """Take the answer over; the old offset stays if it told no time."""
        self._call = None
        try:
            return [self.read(_decode(answer.body).server_time, now)]
        except UNREADABLE:
            return [Note("the venue's clock could not be read")]
