"""A sink that keeps messages in memory: for tests, and for the terminal view of `connector run`."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.messages import AccountMessage, Confirmed, Message, Recovered, SinkStatus, Spoiled
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.stamps import Stamped
from connector.core.waits import Ending, Wait
from connector.sinks._common import Elsewhere, Permitted, Progress, Throttle, always, call_back, left

log = get_logger(__name__)


class MemorySink:
    """Collects the newest `limit` messages in `messages`, in the order in which they were submitted.

    `on_message` is called once per message and `on_confirmed` for account messages, both from this sink's own thread
    (a terminal that stops reading must not stop the I/O threads). While the thread is behind by more than `limit`
    messages, the oldest are skipped and counted. Every other method: any thread. Not `threaded`: whoever made the sink
    calls `turn`, and the callbacks come from there.
    """

    def __init__(
        self,
        on_message: Callable[[Message], None] | None = None,
        *,
        on_confirmed: Confirmed | None = None,
        limit: int = 100_000,
        name: str = "memory",
        clock: Clock | None = None,
        threaded: bool = True,
    ) -> None:
        self.name = name
        self.on_message = on_message
        self.on_confirmed = on_confirmed
        self.on_recovered: Recovered | None = None
        self.on_spoiled: Spoiled | None = None
        """Not told: nothing waits on a disk."""
        self.owned_elsewhere: Elsewhere | None = None
        self.permitted: Permitted = always
        """Not asked: what is taken in here has arrived."""
        self.messages: deque[Message] = deque(maxlen=limit)
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._progress = Progress()
        self._dropped = 0
        self._lost = 0
        self._ending = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._threaded = threaded
        self._started = False
        self._thread: threading.Thread | None = None
        self._clock = clock or SystemClock()
        self._may_log = Throttle(self._clock)

    def start(self) -> None:
        self._started = True
        if self._threaded:
            self._thread = threading.Thread(target=self._run, name=f"publisher-{self.name}", daemon=True)
            self._thread.start()
        METRICS.gauge("sink_connected", 1, sink=self.name)

    def submit(self, messages: Sequence[Message]) -> bool:
        with self._lock:
            if self._ending:
                return not any(type(message) is AccountMessage for message in messages)
            self.messages.extend(messages)
            self._waiting.extend(messages)
            self._progress.added += len(messages)
            while len(self._waiting) > self._limit:
                self._skip(self._waiting.popleft())
            self._work.notify()
        return True

    def _skip(self, message: Message) -> None:
        self._progress.settled += 1
        if type(message) is AccountMessage:
            self._lost += 1
            METRICS.count("account_events_lost_total", sink=self.name)
        else:
            self._dropped += 1

    def revoke(self, stream_id: str) -> None:
        """Nothing: what is here is confirmed at once."""

    def mark(self) -> object:
        with self._lock:
            return self._progress.added

    def passed(self, mark: object) -> bool:
        with self._lock:
            return isinstance(mark, int) and self._progress.settled >= mark

    def status(self) -> SinkStatus:
        with self._lock:
            running = self._thread.is_alive() if self._thread is not None else self._started and not self._ending
            return SinkStatus(
                name=self.name,
                connected=running,
                queued=self._progress.pending,
                dropped=self._dropped + self._lost,
                lost_account_events=self._lost,
            )

    def statuses(self) -> list[SinkStatus]:
        return [self.status()]

    def threads(self) -> Sequence[Stamped]:
        """None: it waits without an end for something to show, and what it calls may be a terminal that stands still."""
        return []

    def flush(self, timeout_s: float) -> bool:
        with self._lock:
            target = self._progress.added
            return self._settled.wait_for(lambda: self._progress.settled >= target, timeout_s)

    def next_due(self) -> float | None:
        """Without a thread: when to turn again."""
        return self._clock.mono() if self._waiting else None

    def ending(self, timeout_s: float) -> Ending:
        """The steps of `stop`, for whoever turns it."""
        with self._lock:
            target, self._ending = self._progress.added, True
        yield Wait(lambda: self._progress.settled >= target, self._clock.mono() + timeout_s)
        METRICS.gauge("sink_connected", 0, sink=self.name)
        return self._progress.settled >= target

    def stop(self, timeout_s: float) -> bool:
        deadline = self._clock.mono() + timeout_s
        if self._thread is None:
            self.turn()
        flushed = self._thread is None or self.flush(timeout_s * 0.8)
        with self._lock:
            self._ending = True
            self._work.notify()
        if self._thread is not None:
            self._thread.join(left(deadline, self._clock))
        METRICS.gauge("sink_connected", 0, sink=self.name)
        return flushed

    def _run(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(lambda: self._waiting or self._ending)
            if not self.turn():
                return

    def turn(self) -> bool:
        """Deliver what waits; False if nothing did."""
        with self._lock:
            batch = list(self._waiting)
            self._waiting.clear()
        if not batch:
            return False
        self._deliver(batch)
        with self._lock:
            self._progress.settled += len(batch)
            self._settled.notify_all()
        return True

    def _deliver(self, batch: list[Message]) -> None:
        on_message = self.on_message
        if on_message is not None:
            for message in batch:
                try:
                    on_message(message)
                except Exception:
                    if self._may_log("callback"):
                        log.exception("message callback failed", sink=self.name)
        accounts = [message for message in batch if type(message) is AccountMessage]
        call_back(self.on_confirmed, accounts, self.name)
        if accounts:
            METRICS.count("events_published_total", len(accounts), sink=self.name, kind="user")
