"""Where an engine's messages wait for the program: bounded, and handed over by one thread.

Account events are never dropped: when `limit` of them wait, the next is refused, its session ends, and gap repair finds it
once there is room (docs/back-pressure.md). Of tickers the newest per symbol waits, of a running candle its newest state.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from connector.core.messages import AccountMessage, CandleMessage, Confirmed, Message, SinkStatus, TickerMessage
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.stamps import Stamped

K = TypeVar("K")
V = TypeVar("V")

NAME: Final = "program"
BATCH: Final = 64
"""Messages of each kind handed over before the others have their turn."""
NOTICES_MORE: Final = 1_000
"""Places beyond `limit` for what is no account event."""


class ProgramSink:
    """A `Sink` whose receiver is a function of this process. Any thread; `deliver` is called from the sink's own."""

    def __init__(self, deliver: Callable[[Message], None], clock: Clock, limit: int) -> None:
        """`deliver` must not raise; what it returned from is confirmed."""
        self.name = NAME
        self.on_confirmed: Confirmed | None = None
        self.on_full: Callable[[], None] = lambda: None
        """An account event was refused. Called on an I/O thread: must only take note."""
        self._deliver, self._clock, self._limit = deliver, clock, limit
        self._ordered: deque[Message] = deque()
        self._candles: dict[tuple[str, str, str, int], CandleMessage] = {}
        self._tickers: dict[tuple[str, str], TickerMessage] = {}
        self._added = self._settled = 0
        self._dropped = self._refused = 0
        self._ending = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name="connector-callbacks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, messages: Sequence[Message]) -> bool:
        with self._lock:
            accounts = sum(type(message) is AccountMessage for message in messages)
            if accounts and (self._ending or len(self._ordered) + accounts > self._limit):
                self._refused += accounts
                full = True
            else:
                full = False
                for message in messages:
                    self._take(message)
                self._work.notify()
        if full:
            self.on_full()
        return not full

    def _take(self, message: Message) -> None:
        if self._ending:
            return
        if isinstance(message, TickerMessage):
            for symbol, body in zip(message.symbols, message.bodies, strict=True):
                key = (message.exchange, symbol)
                self._dropped += self._tickers.pop(key, None) is not None
                self._tickers[key] = TickerMessage(
                    exchange=message.exchange, symbols=[symbol], bodies=[body], received_mono=message.received_mono
                )
        elif isinstance(message, CandleMessage):
            self._candles[message.exchange, message.symbol, message.interval, message.start_ms] = message
            if len(self._candles) > self._limit:
                self._candles.pop(next(iter(self._candles)))
                self._dropped += 1
        elif type(message) is AccountMessage or len(self._ordered) < self._limit + NOTICES_MORE:
            self._ordered.append(message)
            self._added += 1
        else:
            self._dropped += 1

    def revoke(self, stream_id: str) -> None:
        """The next owner tells them again: what waits of this stream is not told here any more."""
        with self._lock:
            kept = [one for one in self._ordered if not (type(one) is AccountMessage and one.stream_id == stream_id)]
            self._settled += len(self._ordered) - len(kept)
            self._ordered = deque(kept)

    def mark(self) -> object:
        with self._lock:
            return self._added

    def passed(self, mark: object) -> bool:
        with self._lock:
            return isinstance(mark, int) and self._settled >= mark

    def status(self) -> SinkStatus:
        with self._lock:
            waiting = len(self._ordered) + len(self._candles) + len(self._tickers)
            return SinkStatus(name=self.name, connected=not self._ending, queued=waiting, dropped=self._dropped)

    def statuses(self) -> Sequence[SinkStatus]:
        return [self.status()]

    def threads(self) -> Sequence[Stamped]:
        """None: how long a callback takes is the program's affair."""
        return []

    @property
    def on_own_thread(self) -> bool:
        """Whether the caller is a callback."""
        return threading.current_thread() is self._thread

    def flush(self, timeout_s: float) -> bool:
        """False at once from a callback: it is itself what would be waited for."""
        if self.on_own_thread:
            return False
        with self._lock:
            return self._idle.wait_for(self._nothing_waits, timeout_s)

    def _nothing_waits(self) -> bool:
        return self._settled >= self._added and not self._candles and not self._tickers

    def stop(self, timeout_s: float) -> bool:
        deadline = self._clock.mono() + timeout_s
        flushed = self.flush(timeout_s)
        with self._lock:
            self._ending = True
            self._work.notify()
        if not self.on_own_thread and self._thread.ident is not None:
            self._thread.join(max(0.1, deadline - self._clock.mono()))
        return flushed

    def _run(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(lambda: self._ending or self._ordered or self._candles or self._tickers)
                if self._ending:
                    return
                ordered = [self._ordered.popleft() for _ in range(min(BATCH, len(self._ordered)))]
                market: list[Message] = [*_first(self._candles), *_first(self._tickers)]
            self._hand_over(ordered)
            for message in market:
                if self._over():
                    return
                self._deliver(message)
            with self._lock:
                self._idle.notify_all()

    def _over(self) -> bool:
        return self._ending

    def _hand_over(self, batch: Sequence[Message]) -> None:
        for message in batch:
            if self._over():
                return
            self._deliver(message)
            if type(message) is AccountMessage:
                if self.on_confirmed is not None:
                    self.on_confirmed([message])
                METRICS.count("events_published_total", sink=self.name, kind="user")
            with self._lock:
                self._settled += 1


def _first(waiting: dict[K, V]) -> list[V]:
    """Take the oldest `BATCH` out."""
    return [waiting.pop(key) for key in list(waiting)[:BATCH]]
