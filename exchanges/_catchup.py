"""Candles that were missed while a connection was away: read over REST, published in order before the live ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from core.events import Candle
from exchanges._adapter import Answer, Call, CandleSubscription, EmitCandle, GapReport, Instant, Live, Output

ATTEMPTS: Final = 3
RETRY_S: Final = 2.0
BUDGET_S: Final = 20.0
"""The topic goes live after this long whatever is still unanswered."""
_RETRYABLE: Final = frozenset({0, 408, 418, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530})

Parse = Callable[[Answer], Sequence[Candle] | None]
"""Candles of an answer, oldest first; None when it says nothing useful."""


class CatchUp:
    """One subscription's missed candles. For venues whose running candles are published.

    `begin` once the subscription is confirmed; `live` for every live candle; `answered` for the call that `begin` returned;
    `due` when `deadline` has come. Afterwards `done` is True and live candles are published at once.
    """

    def __init__(self, subscription: CandleSubscription, length_ms: int) -> None:
        self.subscription = subscription
        self.done = False
        self._length_ms = length_ms
        self._held: dict[int, Candle] = {}
        self._call: Call | None = None
        self._retry_at: float | None = None
        self._give_up_at: float | None = None
        self._truncated = False

    def begin(self, request: Callable[[int, int], Call], limit: int, now: Instant) -> list[Output]:
        """Ask for everything since the last published candle, at most `limit` candles: `request(from_ms, to_ms)`."""
        since = self.subscription.resume_start_ms
        if self.done or self._call is not None:
            return []
        if since is None or since + self._length_ms > now.wall_ms:
            return self._finish((), now)
        oldest = now.wall_ms - (limit - 1) * self._length_ms
        self._truncated = since < oldest
        self._call = request(max(since, oldest), now.wall_ms)
        self._give_up_at = now.mono + BUDGET_S
        return [self._call]

    def live(self, candle: Candle) -> list[Output]:
        if self.done:
            return [self._emit(candle)]
        self._held[candle.start] = candle
        return []

    def owns(self, call: Call) -> bool:
        return call is self._call

    def answered(self, call: Call, answer: Answer, parse: Parse, now: Instant) -> list[Output]:
        if self.done or call is not self._call:
            return []
        candles = parse(answer) if answer.status not in _RETRYABLE else None
        if candles is not None:
            return self._finish(candles, now)
        if call.attempt >= ATTEMPTS:
            why = answer.error or f"HTTP {answer.status}"
            return self._finish((), now, f"candles: {why} after {ATTEMPTS} tries")
        self._retry_at = now.mono + RETRY_S * call.attempt
        return []

    def deadline(self) -> float | None:
        times = [time for time in (self._retry_at, self._give_up_at) if time is not None and not self.done]
        return min(times, default=None)

    def due(self, now: Instant) -> list[Output]:
        if self.done or self._call is None:
            return []
        if self._give_up_at is not None and now.mono >= self._give_up_at:
            return self._finish((), now, "candles: no answer in time")
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        self._call = msgspec.structs.replace(self._call, attempt=self._call.attempt + 1)
        return [self._call]

    def _finish(self, candles: Sequence[Candle], now: Instant, failed: str = "") -> list[Output]:
        self.done = True
        since = self.subscription.resume_start_ms
        # A row with a later one behind it is closed, whatever the length of its period (months differ).
        last = max((candle.start for candle in candles), default=0)
        closed = {
            candle.start: candle
            for candle in candles
            if since is not None
            and candle.start >= since
            and (candle.start < last or candle.start + self._length_ms <= now.wall_ms)
        }
        outputs: list[Output] = [self._emit(closed[start], repaired=True) for start in sorted(closed)]
        newest = max(closed, default=0)
        outputs.extend(self._emit(self._held[start]) for start in sorted(self._held) if start > newest)
        gap = None
        if since is not None:
            missing = tuple(
                phrase for phrase in (failed, "older candles than the venue hands out" * self._truncated) if phrase
            )
            gap = GapReport(from_ms=since, to_ms=now.wall_ms, candles=len(closed), missing=missing)
        self._held = {}
        outputs.append(Live(self.subscription.stream_id, gap))
        return outputs

    def _emit(self, candle: Candle, *, repaired: bool = False) -> EmitCandle:
        asked = self.subscription
        return EmitCandle(asked.stream_id, asked.exchange, asked.symbol, asked.interval, candle, repaired)
