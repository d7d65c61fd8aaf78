"""Which connection is opened next: in the order that they came, as fast as each venue's ledger allows.

`DialQueue` decides and knows nothing of threads or sockets; a venue that has to wait never holds up another. The `Dialler`
asks it, on a pacer thread or whenever somebody turns it, and lets an `Opener` do the work.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.budget import Budget
from connector.streams.paced import PacedQueue
from connector.streams.transport import DialFailure, Transport
from exchanges._adapter import Connect
from exchanges._venue import Limits

log = get_logger(__name__)

MAX_WAITING: Final = 50_000
"""Dials that may wait for their venue's budget; one per stream at the most, so this is only a guard."""
FULL_PAUSE_S: Final = 1.0
"""How often a dial looks whether one of the connections that fill its address's number has ended."""
MAX_PAUSE_S: Final = 1.0
MIN_PAUSE_S: Final = 0.005
SAID: Final = "said over a connection"
"""Why an address may not dial, where no answer to a dial told it."""

Dialled = Callable[[Transport | DialFailure], None]
Address = tuple[str, str]
"""A venue and our way out to it: an address of ours or a proxy (`connector.streams.egress`)."""
Lane = tuple[str, str, bool]
"""The same, and whether its dials have a limit of their own: those must not make others wait."""


@dataclass(frozen=True, slots=True)
class Dial:
    """A connection that somebody wants."""

    connect: Connect
    limits: Limits
    venue: str
    egress: str
    wanted: Callable[[], bool]
    done: Dialled
    number: int = 0
    """Its place in the order of all."""

    @property
    def address(self) -> Address:
        return self.venue, self.egress

    @property
    def lane(self) -> Lane:
        return self.venue, self.egress, self.limits.own_connects is not None


class Opener(Protocol):
    """Opens connections, several side by side. Any thread."""

    width: int
    """How many it opens at a time."""

    def open(self, dial: Dial, done: Dialled) -> bool:
        """Open a connection within the dial's timeout and call `done`, from any thread. False: it is stopped."""

    def aside(self, work: Callable[[], None]) -> bool:
        """Run what may wait for a server, off the caller's thread. False: it is stopped."""

    def stop(self) -> None: ...


class DialQueue(PacedQueue[Dial]):
    """What waits, what is on its way, and what is open where a venue limits that. Not for several threads at once."""

    def __init__(self, max_in_flight: int) -> None:
        """`max_in_flight`: of one address at a time."""
        super().__init__(max_in_flight)
        self._held: dict[Address, list[Transport]] = {}
        """What was opened at venues that limit the number, while it is not closed."""
        self._full: set[Address] = set()

    def add(self, dial: Dial) -> bool:
        """False if too many wait."""
        if len(self) >= MAX_WAITING:
            return False
        self.put(dial)
        return True

    def finished(self, dial: Dial, result: Transport | DialFailure) -> None:
        self.done(dial)
        if dial.limits.open_connections is not None and not isinstance(result, DialFailure):
            self._held.setdefault(dial.address, []).append(result)

    def has_room(self, dial: Dial) -> bool:
        """Whether the venue lets this address open one more; the dials that are on their way count as open."""
        limit = dial.limits.open_connections
        if limit is None:
            return True
        key = dial.address
        held = self._held[key] = [one for one in self._held.get(key, ()) if not one.closed]
        full = len(held) + self.on_their_way((*key, False)) + self.on_their_way((*key, True)) > limit
        if full and key not in self._full:
            log.warning(
                "a venue's connections are all in use: others wait", venue=dial.venue, egress=dial.egress, limit=limit
            )
        (self._full.add if full else self._full.discard)(key)
        return not full


class Dialler:
    """`dial` and `block` from any thread; the callback runs on a thread of the opener.

    With `start` a pacer thread turns it; without one (`threaded` False) whoever made it does.
    """

    def __init__(self, budget: Budget, clock: Clock, opener: Opener, *, threaded: bool = True) -> None:
        self._budget, self._clock, self._opener = budget, clock, opener
        self._condition = threading.Condition()
        # So that a venue whose connects hang until their timeout leaves most of the pool to the others (bug A36).
        self._queue = DialQueue(max(2, opener.width // 3))
        """Under the lock."""
        self._stopping = False
        self._numbers = itertools.count()
        self.thread = threading.Thread(target=self._run, name="dial-pacer", daemon=True) if threaded else None
        self.name = "dial-pacer"
        self.alive_mono = clock.mono()
        """When it last began something, on the monotonic clock; read from any thread."""

    def start(self) -> None:
        if self.thread is not None:
            self.thread.start()

    def dial(
        self, connect: Connect, limits: Limits, venue: str, egress: str, wanted: Callable[[], bool], done: Dialled
    ) -> None:
        """Queue a dial. `wanted` is asked right before dialling: a dial that nobody wants any more costs no attempt."""
        with self._condition:
            number = next(self._numbers)
            queued = not self._stopping and self._queue.add(Dial(connect, limits, venue, egress, wanted, done, number))
            if queued:
                self._condition.notify()
        if not queued:
            done(DialFailure("the connect queue is closed or full"))

    def waiting(self) -> int:
        with self._condition:
            return len(self._queue)

    def block(self, venue: str, egress: str, seconds: float) -> None:
        """The venue said over a connection that this address has to wait. Never blocks: the state is told aside."""
        if not self._opener.aside(partial(self._budget.block, venue, "connect", egress, seconds, SAID)):
            log.debug("nobody dials any more", venue=venue)

    def stop(self, timeout_s: float) -> bool:
        with self._condition:
            self._stopping = True
            self._queue.clear()
            self._condition.notify()
        if self.thread is not None:
            self.thread.join(timeout_s)
        self._opener.stop()
        return self.thread is None or not self.thread.is_alive()

    def next_due(self) -> float | None:
        """When there is something to launch, monotonic; None = nothing waits, or only for those on their way."""
        with self._condition:
            return None if self._stopping else self._queue.next_due(self._clock.mono())

    def turn(self) -> bool:
        """Launch what may be launched now; True if there was anything. Never waits: the budget asks the state, which may
        hang, so that is done aside."""
        with self._condition:
            batch = [] if self._stopping else self._queue.take(self._clock.mono())
        for dial in batch:
            self.alive_mono = self._clock.mono()
            self._safely(self._launch, dial)
        return bool(batch)

    def _safely(self, step: Callable[[Dial], DialFailure | None], dial: Dial) -> None:
        """One step of a dial; what it returns is the end of it."""
        try:
            ended = step(dial)
        except Exception:
            log.exception("a dial could not be launched", venue=dial.venue)
            ended = DialFailure("internal error while launching the connect")
        if ended is not None:
            self._finished(dial, ended)

    def _run(self) -> None:
        while not self._stopping:
            if not self.turn():
                self._wait()

    def _wait(self) -> None:
        with self._condition:
            now = self.alive_mono = self._clock.mono()
            due = self._queue.next_due(now)
            pause_s = MAX_PAUSE_S if due is None else min(max(due - now, MIN_PAUSE_S), MAX_PAUSE_S)
            if not self._stopping:
                self._condition.wait(pause_s)

    def _launch(self, dial: Dial) -> DialFailure | None:
        """Begin a dial, or put it back for later. Returns why it ended already, if it did."""
        if not dial.wanted():
            return DialFailure("not wanted any more")
        with self._condition:
            room = self._queue.has_room(dial)
        if not room:
            self._put_back(dial, FULL_PAUSE_S)
            return None
        # The budget asks the state, which may hang: not on this thread, which begins the dials of all venues.
        return None if self._opener.aside(partial(self._safely, self._open, dial)) else DialFailure("shutting down")

    def _open(self, dial: Dial) -> DialFailure | None:
        """On a thread of the opener: open it if the budget gives enough."""
        wait_s = self._granted(dial)
        if wait_s > 0:
            self._put_back(dial, wait_s)
            return None
        return None if self._opener.open(dial, partial(self._opened, dial)) else DialFailure("shutting down")

    def _put_back(self, dial: Dial, wait_s: float) -> None:
        with self._condition:
            self._queue.put_back(dial, self._clock.mono() + wait_s)
            self._condition.notify()

    def _granted(self, dial: Dial) -> float:
        """0.0, or seconds to wait. The scarce ledger comes last: what it gives is not given for nothing."""
        wait_s = self._budget.take(dial.venue, "connect", dial.egress, dial.limits.connects)
        if wait_s > 0 or dial.limits.own_connects is None:
            return wait_s
        return self._budget.take(dial.venue, "connect-own", dial.egress, dial.limits.own_connects)

    def _opened(self, dial: Dial, result: Transport | DialFailure) -> None:
        label = "ok" if not isinstance(result, DialFailure) else str(result.status or "failed")
        METRICS.count("connects_total", venue=dial.venue, result=label)
        if isinstance(result, DialFailure) and result.status in {418, 429}:
            why = f"HTTP {result.status} to a connection attempt"
            self._budget.block(dial.venue, "connect", dial.egress, result.retry_after_s or 5.0, why)
        self._finished(dial, result)

    def _finished(self, dial: Dial, result: Transport | DialFailure) -> None:
        with self._condition:
            self._queue.finished(dial, result)
            self._condition.notify()
        try:
            dial.done(result)
        except Exception:
            log.exception("the result of a dial could not be delivered", venue=dial.venue)
