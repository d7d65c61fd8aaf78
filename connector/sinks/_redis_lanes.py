"""What waits for the Redis publisher: one lane per kind of message, each bounded in its own way.

Nothing here locks: the sink's lock is held around every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from connector.core.messages import (
    AccountMessage,
    CandleMessage,
    InfoMessage,
    Message,
    ServiceMessage,
    StreamClosed,
    TickerMessage,
)
from connector.sinks._backlog import RunningCandles, TickerBacklog
from connector.sinks._common import Progress

AccountItem = AccountMessage | InfoMessage | StreamClosed


class RedisLanes:
    """Account items in order; candles with the running ones behind the final ones; service messages; tickers."""

    def __init__(self, *, account_limit: int, candle_limit: int, service_limit: int, ticker_rows: int) -> None:
        self._account_limit = account_limit
        self._candle_limit = candle_limit
        self._service_limit = service_limit
        self.account: deque[AccountItem] = deque()
        self.service: deque[ServiceMessage] = deque()
        self.candles: deque[CandleMessage] = deque()
        self.running = RunningCandles()
        self.tickers = TickerBacklog(ticker_rows)
        self.account_progress = Progress()
        self.service_progress = Progress()
        self.candle_progress = Progress()
        self.lost = 0
        self.lost_streams: dict[str, None] = {}
        """Streams that lost events and were not told yet."""
        self.missed_closes: dict[str, None] = {}
        """Closed streams whose `StreamClosed` fell out of the buffer. All that is kept is newer, so they go first."""
        self.dropped = 0
        """Candles and service messages that did not go out."""
        self._revoked: set[str] = set()
        """Streams that were revoked while account items were taken."""
        self._taken = False

    @property
    def progress(self) -> tuple[Progress, ...]:
        return (self.account_progress, self.service_progress, self.candle_progress, self.tickers.progress)

    def queued(self) -> int:
        return sum(lane.pending for lane in self.progress)

    def urgent(self) -> bool:
        """Whether anything but tickers waits: those wait a little for company."""
        return bool(self.account or self.service or self.candles or self.running)

    def market_dropped(self) -> int:
        return self.dropped + self.tickers.conflated

    def add(self, message: Message) -> int:
        """Take a message in; returns how many account events fell out of the buffer."""
        if isinstance(message, TickerMessage):
            self.tickers.add(message)
        elif isinstance(message, CandleMessage):
            self._add_candle(message)
        elif isinstance(message, ServiceMessage):
            if message.redis:
                self._add_service(message)
        elif not isinstance(message, AccountMessage) or message.redis:
            self.account.append(message)
            self.account_progress.added += 1
            if len(self.account) > self._account_limit:
                return self._lose(self.account.popleft())
        return 0

    def _add_service(self, message: ServiceMessage) -> None:
        self.service.append(message)
        self.service_progress.added += 1
        if len(self.service) > self._service_limit:
            self.service.popleft()
            self.service_progress.settled += 1
            self.dropped += 1

    def _add_candle(self, message: CandleMessage) -> None:
        before = self.running.conflated
        self.candles.extend(self.running.add(message))
        self.candle_progress.added += 1
        gone = self.running.conflated - before
        if len(self.candles) > self._candle_limit:
            self.candles.popleft()
            gone += 1
        self.candle_progress.settled += gone
        self.dropped += gone

    def _lose(self, item: AccountItem) -> int:
        self.account_progress.settled += 1
        if isinstance(item, StreamClosed):
            self.missed_closes[item.stream_id] = None
            self.lost_streams.pop(item.stream_id, None)
            return 0
        self.lost_streams[item.stream_id] = None
        self.missed_closes.pop(item.stream_id, None)
        if isinstance(item, InfoMessage):
            return 0
        self.lost += 1
        return 1

    def take_account(self, count: int) -> list[AccountItem]:
        self._taken = True
        return [self.account.popleft() for _ in range(min(count, len(self.account)))]

    def return_account(self, taken: int, again: Sequence[AccountItem]) -> int:
        """Of so many that were taken, put back in front those that must go out (again).

        Returns how many of them were revoked meanwhile.
        """
        kept, revoked = self._without(again, self._revoked)
        self._taken = False
        self._revoked.clear()
        self.account.extendleft(reversed(kept))
        self.account_progress.settled += taken - len(kept)
        return revoked

    def revoke(self, stream_ids: Collection[str]) -> int:
        """Drop the account events of these streams, also of what is taken now if it comes back. Returns how many wait."""
        if self._taken:
            self._revoked.update(stream_ids)
        before = len(self.account)
        kept, revoked = self._without(self.account, stream_ids)
        if revoked:
            self.account = deque(kept)
            self.account_progress.settled += before - len(kept)
        return revoked

    @staticmethod
    def _without(items: Iterable[AccountItem], stream_ids: Collection[str]) -> tuple[list[AccountItem], int]:
        """The first event of each stream leaves an info behind, which makes the stream's bots check; the others nothing."""
        kept: list[AccountItem] = []
        told: set[str] = set()
        revoked = 0
        for item in items:
            if not isinstance(item, AccountMessage) or item.stream_id not in stream_ids:
                kept.append(item)
                continue
            revoked += 1
            if item.stream_id not in told:
                told.add(item.stream_id)
                kept.append(InfoMessage(stream_id=item.stream_id, exchange=item.exchange))
        return kept, revoked

    def account_streams(self) -> list[str]:
        """Those with account events that wait."""
        return sorted({item.stream_id for item in self.account if isinstance(item, AccountMessage)})

    def take_service(self, count: int) -> list[ServiceMessage]:
        return [self.service.popleft() for _ in range(min(count, len(self.service)))]

    def take_candles(self, count: int) -> list[CandleMessage]:
        """Final candles first: a running one of a topic must come after them."""
        taken = [self.candles.popleft() for _ in range(min(count, len(self.candles)))]
        return taken if self.candles else taken + self.running.take(count - len(taken))
