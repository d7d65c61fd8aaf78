"""Candles that were missed while a connection was away: read over REST, published in order before the live ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from exchanges._adapter import Answer, Call, CandleSubscription, EmitCandle, GapReport, Instant, Live, Note, Output
from exchanges._frames import RETRYABLE
from exchanges._numbers import number, plain
from exchanges._plausible import plausible_candle
from exchanges._times import retry_after_s
from exchanges.events import Candle

ATTEMPTS: Final = 3
RETRY_S: Final = 2.0
BUDGET_S: Final = 15.0
"""The topic goes live after this long whatever is still unanswered."""


class Bar(msgspec.Struct, frozen=True):
    """A candle as a venue tells it: opening time in ms, the rest decimal text."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str

    @property
    def usable(self) -> bool:
        """Whether it tells prices: empty, `NaN` or 0 is a candle of a market that has not traded, and is not published."""
        return number(self.open) > 0 and number(self.high) > 0 and number(self.low) > 0 and number(self.close) > 0


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue made of one answer."""

    bars: Sequence[Bar] = ()
    """In any order."""
    ended: bool = False
    """The venue itself says that they have ended; else our clock and their order tell."""
    more: Call | None = None
    """The next page."""
    failed: str = ""
    """Why the answer told nothing."""
    retry: bool = False
    """It failed, and is worth asking again."""


class CatchUp:
    """One candle stream: what it missed, and what it has published.

    `begin` once the subscription is confirmed; `live` for every live candle; `answered` for the calls that `begin` led to;
    `due` when `deadline` has come. Afterwards `done` is True and live candles are published at once.

    `running`: whether the venue's running candles are published as well. Where they are not, `live` gets closed candles
    only, and each goes out once, in rising order (contract 2.7).
    """

    def __init__(self, subscription: CandleSubscription, length_ms: int, *, running: bool) -> None:
        self.subscription = subscription
        self.stream_id = subscription.stream_id
        self.length_ms = length_ms
        self.done = False
        self._running = running
        self._since = subscription.resume_start_ms
        self._last = -1 if self._since is None or running else self._since
        """Start of the last candle that will not be published again."""
        self._news_ms = length_ms if running else 2 * length_ms
        """This long after the last published candle opened, there is nothing to read."""
        self._held: dict[int, Bar] = {}
        self._found: dict[int, Bar] = {}
        self._ended = False
        self._call: Call | None = None
        self._retry_at: float | None = None
        self._give_up_at: float | None = None
        self._truncated = False

    def whole(self, bar: Bar) -> Bar | None:
        """Hook for candles that are put together out of shorter ones: what this one completes."""
        return bar

    def begin(self, request: Callable[[int, int], Call], limit: int, now: Instant) -> list[Output]:
        """Ask for everything since the last published candle, at most `limit` candles: `request(from_ms, to_ms)`.

        `now` is the venue's time.
        """
        since = self._since
        if self.done or self._call is not None:
            return []
        if since is None or since + self._news_ms > now.wall_ms:
            return self._finish(now)
        oldest = now.wall_ms - (limit - 1) * self.length_ms
        self._truncated = since < oldest
        # A running candle was published as it stood, so it is read once more.
        self._call = request(max(since if self._running else since + self.length_ms, oldest), now.wall_ms)
        self._give_up_at = now.mono + BUDGET_S
        return [self._call]

    def live(self, bar: Bar, now: Instant) -> list[Output]:
        """`now` is the venue's time. A candle that can't be true goes out to be counted, and blocks none that follow."""
        if not bar.usable:
            return []
        if not plausible_candle(bar.start, self.length_ms, now.wall_ms):
            return [self._emit(bar)]
        if self.done:
            return self._publish(bar)
        self._held[bar.start] = bar
        return []

    def owns(self, call: Call) -> bool:
        return call is self._call

    def answered(self, call: Call, answer: Answer, parse: Callable[[Call, Answer], Page], now: Instant) -> list[Output]:
        if self.done or call is not self._call:
            return []
        retryable = answer.status in RETRYABLE
        page = Page(failed=answer.error or f"HTTP {answer.status}", retry=True) if retryable else parse(call, answer)
        if page.failed:
            if not page.retry:
                return self._finish(now, f"candles: {page.failed}")
            if call.attempt >= ATTEMPTS:
                return self._finish(now, f"candles: {page.failed} after {ATTEMPTS} tries")
            asked_s = retry_after_s(answer.headers.get("retry-after"), now.wall_ms)
            self._retry_at = now.mono + (RETRY_S * call.attempt if asked_s is None else asked_s)
            return []
        self._found.update(
            (bar.start, bar)
            for bar in page.bars
            if bar.usable and plausible_candle(bar.start, self.length_ms, now.wall_ms)
        )
        self._ended = page.ended
        if page.more is None:
            return self._finish(now)
        self._call = page.more
        return [page.more]

    def deadline(self) -> float | None:
        times = [time for time in (self._retry_at, self._give_up_at) if time is not None and not self.done]
        return min(times, default=None)

    def due(self, now: Instant) -> list[Output]:
        if self.done or self._call is None:
            return []
        if self._give_up_at is not None and now.mono >= self._give_up_at:
            return self._finish(now, "candles: no answer in time")
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        self._call = msgspec.structs.replace(self._call, attempt=self._call.attempt + 1)
        return [self._call]

    def _finish(self, now: Instant, failed: str = "") -> list[Output]:
        self.done = True
        outputs = self._repaired(now)
        resume = self.subscription.resume_start_ms
        missing = [phrase for phrase in (failed, "older candles than the venue hands out" * self._truncated) if phrase]
        gap = None
        if resume is not None:
            gap = GapReport(from_ms=resume, to_ms=now.wall_ms, candles=len(outputs), missing=tuple(missing))
        else:
            outputs.extend(Note(phrase) for phrase in missing)
        for start in sorted(self._held):
            if start > self._last:
                outputs.extend(self._publish(self._held[start]))
        self._held, self._found = {}, {}
        return [*outputs, Live(self.stream_id, gap)]

    def _repaired(self, now: Instant) -> list[Output]:
        """The closed candles that were found."""
        newest = max(self._found, default=0)
        outputs: list[Output] = []
        for start in sorted(self._found):
            # A row with a later one behind it is closed, whatever the length of its period (months differ).
            if not self._ended and start >= newest and start + self.length_ms > now.wall_ms:
                continue
            bar = self.whole(self._found[start])
            if bar is not None and self._since is not None and bar.start >= self._since and bar.start > self._last:
                self._last = bar.start
                outputs.append(self._emit(bar, repaired=True))
        return outputs

    def _publish(self, bar: Bar) -> list[Output]:
        if self._running:
            return [self._emit(bar)]
        whole = self.whole(bar)
        if whole is None or whole.start <= self._last:
            return []
        self._last = whole.start
        return [self._emit(whole)]

    def _emit(self, bar: Bar, *, repaired: bool = False) -> EmitCandle:
        asked = self.subscription
        figures = f"{bar.open}:{bar.high}:{bar.low}:{bar.close}:{bar.volume}"
        candle = Candle(
            start=bar.start,
            open=plain(bar.open),
            high=plain(bar.high),
            low=plain(bar.low),
            close=plain(bar.close),
            volume=plain(bar.volume),
            unique_message_id=f"{asked.symbol}:{bar.start}:{figures}:{asked.interval}@{asked.exchange}",
        )
        return EmitCandle(
            asked.stream_id, asked.exchange, asked.symbol, asked.interval, candle, repaired, self.length_ms
        )
