"""Market data that waits for a publisher: complete while the receiver keeps up, newest per key under pressure.

Nothing here locks: the owning sink's lock is held around every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from connector.core.messages import CandleMessage, TickerMessage
from connector.sinks._common import Progress


class TickerBacklog:
    """Ticker rows in order of arrival, frame by frame.

    Adding a frame costs the same however many rows it has. Only when more than `limit_rows` wait are the frames merged
    to the newest row per symbol, so memory is bounded by twice the number of symbols (or `limit_rows`). The next merge
    comes after the backlog has doubled again: a row is merged a constant number of times.
    """

    def __init__(self, limit_rows: int) -> None:
        self.progress = Progress()
        self.rows = 0
        self.conflated = 0
        self._limit = limit_rows
        self._trigger = limit_rows
        self._frames: deque[TickerMessage] = deque()
        self._at = 0
        """So many rows of the first frame are taken: what is left of a large one is not copied with each part."""

    def add(self, message: TickerMessage) -> None:
        rows = len(message.symbols)
        if not rows:
            return
        self._frames.append(message)
        self.progress.added += rows
        self.rows += rows
        if self.rows > self._trigger:
            self.conflate()

    def conflate(self) -> None:
        """Keep only the newest row of each symbol."""
        self._cut()
        newest: dict[str, dict[str, bytes]] = {}
        received: dict[str, float] = {}
        for frame in self._frames:
            newest.setdefault(frame.exchange, {}).update(zip(frame.symbols, frame.bodies, strict=True))
            received[frame.exchange] = frame.received_mono
        self._frames = deque(
            TickerMessage(
                exchange=exchange,
                symbols=list(rows),
                bodies=list(rows.values()),
                received_mono=received[exchange],
            )
            for exchange, rows in newest.items()
        )
        kept = sum(len(rows) for rows in newest.values())
        self.drop(self.rows - kept)
        self.rows = kept
        self._trigger = max(self._limit, 2 * kept)

    def drop(self, rows: int) -> None:
        """Rows that will not go out because a newer one does."""
        self.conflated += rows
        self.progress.settled += rows

    def take(self, max_rows: int) -> list[TickerMessage]:
        """Remove the oldest rows, at most `max_rows`; a frame may be split."""
        taken: list[TickerMessage] = []
        room = max_rows
        while self._frames and room > 0:
            frame, start = self._frames[0], self._at
            rows = min(room, len(frame.symbols) - start)
            room -= rows
            self._at += rows
            taken.append(frame if rows == len(frame.symbols) else _part(frame, start, self._at))
            if self._at == len(frame.symbols):
                self._frames.popleft()
                self._at = 0
        self.rows -= max_rows - room
        if not self._frames:
            self._trigger = self._limit
        return taken

    def restore(self, frames: Sequence[TickerMessage]) -> None:
        """Put back what was taken but not confirmed, in front: what came since is newer."""
        self._cut()
        self._frames.extendleft(reversed(frames))
        self.rows += sum(len(frame.symbols) for frame in frames)

    def _cut(self) -> None:
        """Leave of the first frame what is not taken."""
        if self._at:
            self._frames[0] = _part(self._frames[0], self._at, len(self._frames[0].symbols))
            self._at = 0


def _part(frame: TickerMessage, start: int, end: int) -> TickerMessage:
    return TickerMessage(
        exchange=frame.exchange,
        symbols=frame.symbols[start:end],
        bodies=frame.bodies[start:end],
        received_mono=frame.received_mono,
    )


class RunningCandles:
    """Running candles, the newest per topic.

    The last update of a period is what the backend books when it sees a later `start` (contract 2.7). So only updates
    of the same period replace one another; when the period changes, the older candle is final and must go out first.
    """

    def __init__(self) -> None:
        self.conflated = 0
        self._newest: dict[tuple[str, str, str], CandleMessage] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def add(self, message: CandleMessage) -> tuple[CandleMessage, ...]:
        """Take a candle; returns those that must be queued for good now, in order."""
        key = (message.exchange, message.symbol, message.interval)
        waiting = self._newest.get(key)
        final: tuple[CandleMessage, ...] = ()
        if waiting is not None:
            if waiting.start_ms == message.start_ms:
                self.conflated += 1
            else:
                final = (waiting,)
        if message.closed:
            self._newest.pop(key, None)
            return (*final, message)
        self._newest[key] = message
        return final

    def take(self, count: int) -> list[CandleMessage]:
        keys = [key for key, _ in zip(self._newest, range(count), strict=False)]
        return [self._newest.pop(key) for key in keys]
