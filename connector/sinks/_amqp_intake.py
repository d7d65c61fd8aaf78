"""What the RabbitMQ sink has taken in: the part that other threads touch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from connector.core.clock import Chance
from connector.core.messages import AccountMessage, CandleMessage, Message, StreamClosed, TickerMessage
from connector.core.pace import Pace
from connector.core.ports import Clock
from connector.core.waits import Ending, Wait
from connector.sinks._amqp_messages import Durable, Outgoing
from connector.sinks._backlog import RunningCandles, TickerBacklog
from connector.sinks._common import BUSY_PER_S, GATHER_S
from connector.sinks._durable_lane import DurableLane
from connector.sinks.outbox import Outbox

GATHER_ROWS_S: Final = 0.02
"""Small ticker frames wait this long for company."""
GATHER_ROWS: Final = 500


class Intake:
    """Everything here belongs to `lock`; the methods take it themselves."""

    def __init__(
        self,
        *,
        memory_messages: int,
        ticker_rows: int,
        outbox: Outbox | None,
        name: str,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._clock = clock
        self.lock = threading.Lock()
        self.done = threading.Condition(self.lock)
        self.lane = DurableLane(self.lock, memory_messages=memory_messages, outbox=outbox, name=name, clock=clock)
        self.running = RunningCandles()
        self.tickers = TickerBacklog(ticker_rows)
        self.tickers_due = 0.0
        """When the waiting rows go out although they are few; set when the first of them comes."""
        self.wake: Callable[[], None] | None = None
        """Wakes the publisher, which calls `woken`. None while there is no loop to wake."""
        self.usable = False
        """The publisher may send now."""
        self.away = False
        """The broker was lost, or could not be reached the last time."""
        self.flushing = 0
        self.ending = False
        self.refused = 0
        self.dropped = 0
        """Candles replaced by newer ones, and candles and service messages that a full lane could not take."""
        self._wake_pending = False
        self._pace = Pace(BUSY_PER_S)
        self._ids = f"{chance.new_id()[:12]}-"
        self._next_id = 0

    def submit(self, messages: Sequence[Message]) -> int:
        """Take messages; returns how many account messages were refused: all of the call's, or none."""
        accounts = sum(type(message) is AccountMessage for message in messages)
        with self.lock:
            if accounts:
                self._pace.came(accounts, self._clock.mono())
            refuse = accounts > 0 and (self.ending or not self.lane.room(accounts))
            if refuse:
                self.refused += accounts
            if self.ending:
                return accounts
            wake = False
            for message in messages:
                if isinstance(message, TickerMessage):
                    wake = self._take_tickers(message) or wake
                elif isinstance(message, AccountMessage):
                    if not refuse:
                        self.lane.push(Outgoing(message, message.event_id, self._clock.mono()))
                        wake = True
                elif isinstance(message, StreamClosed):
                    if message.unconfirmed:
                        self.lane.leave(message.stream_id)
                else:
                    self._take_other(message)
                    wake = True
            if wake and (self.usable or self.lane.overlong):
                self._wake()
        return accounts if refuse else 0

    def _take_tickers(self, message: TickerMessage) -> bool:
        """Returns whether the publisher must be woken: for the first rows, to start its timer, and for many."""
        first = not self.tickers.rows
        self.tickers.add(message)
        if first:
            self.tickers_due = self._clock.mono() + GATHER_ROWS_S
        return first or self.tickers.rows >= GATHER_ROWS

    def _take_other(self, message: Durable) -> None:
        if not isinstance(message, CandleMessage):
            self._next_id += 1
            self._push(message, f"{self._ids}{self._next_id}")
            return
        replaced = self.running.conflated
        final = self.running.add(message)
        replaced = self.running.conflated - replaced
        # A running candle counts as taken in when it comes and not again when it becomes final.
        self.lane.progress.added += 1 - len(final)
        self._drop(replaced)
        for candle in final:
            self._push(candle, candle.event_id)

    def _push(self, message: Durable, message_id: str) -> None:
        self.lane.push(Outgoing(message, message_id, self._clock.mono()))
        if not self.lane.room(0):
            self.lane.tail.pop()
            self._drop(1)

    def _drop(self, messages: int) -> None:
        self.dropped += messages
        self.lane.progress.settled += messages

    def _wake(self) -> None:
        if not self._wake_pending and self.wake is not None:
            self._wake_pending = True
            self.wake()

    @property
    def waiting(self) -> bool:
        """Whether market data waits. A guess without the lock: what comes in later wakes the publisher."""
        return bool(self.tickers.rows or self.running)

    def gather_s(self) -> float:
        """How long the publisher that was woken shall wait before it says `woken` and takes what has come; nobody wakes it
        meanwhile."""
        with self.lock:
            return GATHER_S if self._pace.busy(self._clock.mono()) and not self.flushing else 0.0

    def woken(self) -> None:
        with self.lock:
            self._wake_pending = False

    def attach(self, wake: Callable[[], None] | None) -> None:
        with self.lock:
            self.wake = wake
            self._wake_pending = False

    def queued(self) -> int:
        """Accepted and not confirmed. Under the lock."""
        return self.lane.progress.pending + self.lane.leftovers + self.tickers.progress.pending

    def market_dropped(self) -> int:
        """Under the lock."""
        return self.dropped + self.tickers.conflated

    def settling(self, until: float, *, give_up: bool) -> Ending:
        """Until all that was taken in before is settled; `give_up` = not while the broker is away."""
        with self.lock:
            targets = [(lane, lane.added) for lane in (self.lane.progress, self.tickers.progress)]
            self.flushing += 1
            self._wake()

        def settled() -> bool:
            return all(lane.settled >= added for lane, added in targets)

        try:
            yield Wait(lambda: settled() or (give_up and self.away), until)
        finally:
            with self.lock:
                self.flushing -= 1
        return settled()

    def next_running(self) -> Outgoing | None:
        """A running candle, once every final one is on its way: of one topic they must arrive in order."""
        with self.lock:
            if self.lane.tail:
                return None
            candles = self.running.take(1)
        return Outgoing(candles[0], candles[0].event_id, self._clock.mono()) if candles else None

    def take_tickers(self, max_rows: int) -> tuple[list[TickerMessage], float]:
        """Rows to send now (possibly none), and in how many seconds to come again (0 = at once, infinite = never)."""
        with self.lock:
            rows = self.tickers.rows
            wait_s = self.tickers_due - self._clock.mono()
            if not rows:
                return [], float("inf")
            if rows < GATHER_ROWS and wait_s > 0 and not self.flushing:
                return [], wait_s
            frames = self.tickers.take(max_rows)
            return frames, 0.0 if self.tickers.rows else float("inf")
