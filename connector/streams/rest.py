"""When a `Call` of an adapter may be made, and what its answer says about the venue's budget.

`RestQueue` decides: calls wait in the order that they came, and one that nobody wants any more costs nothing. The calls are
made by a pool of threads (`connector.streams.http_client`), or by steps on a loop that somebody turns (`LoopRest`).
"""

from __future__ import annotations

import itertools
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.core.window import SlidingWindow, period_ms
from connector.streams.budget import Budget
from connector.streams.paced import PacedQueue
from exchanges._adapter import Answer, Call
from exchanges._frames import NO_WEIGHT
from exchanges._times import retry_after_s
from exchanges._venue import Limits, Rate

log = get_logger(__name__)

MAX_PENDING_PER_VENUE = 5_000
MAX_BUDGET_WAIT_S: Final = 20.0
"""So long a call may wait for the budget, together; one that precedes a connect as long as it is wanted, but for a bar."""
IN_FLIGHT: Final = 6
"""Calls of one lane that are made at a time; so many threads has a venue."""
FRESH_S: Final = 1.0
"""A call that waited longer is signed anew before it is made: venues refuse a time that is 5 s old."""

NO_HEADERS: Final[dict[str, str]] = {}
FULL: Final = Answer(0, NO_HEADERS, b"", "the REST queue of this venue is full or closed")

Answered = Callable[[Answer], None]
Perform = Callable[[Call, str, Answered], None]
"""Makes one call by a way out (`connector.streams.egress`) and hands its answer to the callback, once, from any thread."""


@dataclass(slots=True, eq=False)
class Caller:
    """A session, as far as its calls are concerned. Its functions are asked from any thread."""

    wanted: Callable[[], bool]
    """Whether anybody still wants the answers."""
    patient: Callable[[], bool]
    """Whether a call may wait as long as it takes: nothing runs yet that waits for it."""
    renew: Callable[[Call, Callable[[Call], None]], None]
    """Hand over the call signed as of now, on a thread of its choice."""
    waiting: int = 0
    """Calls that the venue's budget has no room for yet. Written under the queue's lock, read by any thread."""
    granted_mono: float = 0.0
    """When the last of its calls stopped waiting."""
    windows: dict[str, SlidingWindow] = field(default_factory=dict)
    """What the account was granted, by pool, where a venue counts by account. Under the queue's lock."""
    barred: dict[str, float] = field(default_factory=dict)
    """Until when the account makes no call of a pool, monotonic. Under the queue's lock."""


class Rest(Protocol):
    """Any thread; exactly one answer per call, on a thread of its own choice."""

    def submit(
        self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered, caller: Caller | None = None
    ) -> None:
        """Perform `call` by a way out (`connector.streams.egress`) within the venue's `limits`; None = it has none."""

    def start(self) -> None:
        """Begin to make those wait that have to."""

    def stop(self) -> None:
        """Refuse new calls and let running ones end at their timeouts."""


@dataclass(slots=True, eq=False)
class Errand:
    """A call on its way."""

    call: Call
    venue: str
    egress: str
    limits: Limits | None
    done: Answered
    caller: Caller | None = None
    number: int = 0
    since: float = 0.0
    """When it was admitted, monotonic."""
    patient: bool = False
    granted: bool = False
    ended: bool = False
    apart: bool = False
    """It waits for what its account may ask, not for what the address may."""

    @property
    def lane(self) -> Hashable:
        """Those that may give up do not wait behind those that don't; who waits for itself makes no other wait."""
        return self.venue, self.egress, self.call.pool, self.patient, id(self.caller) if self.apart else 0

    @property
    def rate(self) -> Rate | None:
        return self.limits.rest.get(self.call.pool) if self.limits is not None else None

    @property
    def own_rate(self) -> Rate | None:
        return self.limits.own_rest.get(self.call.pool) if self.limits is not None else None


_REAL: Final = SystemClock()


class RestQueue:
    """Admits, makes wait and books. Any thread."""

    def __init__(self, budget: Budget, clock: Clock = _REAL) -> None:
        self._budget, self._clock = budget, clock
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()
        self._queue: PacedQueue[Errand] = PacedQueue(IN_FLIGHT)
        self._numbers = itertools.count()

    def admit(
        self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered, caller: Caller | None = None
    ) -> bool:
        """Whether one more call of this venue may wait; it counts until `finish`."""
        patient = caller is not None and caller.patient()
        with self._lock:
            if self._pending[venue] >= MAX_PENDING_PER_VENUE:
                return False
            self._pending[venue] += 1
            if caller is not None:
                caller.waiting += 1
            number = next(self._numbers)
            self._queue.put(Errand(call, venue, egress, limits, done, caller, number, self._clock.mono(), patient))
            return True

    def take(self) -> list[Errand]:
        """One call of every lane whose turn has come: to be asked about (`wait_s`), and put back or finished."""
        with self._lock:
            return self._queue.take(self._clock.mono())

    def put_back(self, errand: Errand, wait_s: float) -> None:
        """It waits, for its account alone if that has no room (`wait_s` has asked both)."""
        apart = self._own_wait_s(errand) > 0
        with self._lock:
            self._queue.done(errand)
            errand.apart = apart
            self._queue.hold(errand, self._clock.mono() + wait_s)

    def drain(self) -> list[Errand]:
        """Everything that waits, taken out; each still has to be finished."""
        with self._lock:
            return self._queue.clear()

    def pending(self) -> int:
        with self._lock:
            return self._pending.total()

    def wait_s(self, errand: Errand) -> float | None:
        """0.0 if it may be made now, else how long it has to wait until it is asked for again; None = it is given up."""
        if errand.caller is not None and not errand.caller.wanted():
            return None
        wait_s = self._granted(errand)
        if wait_s <= 0:
            self._grant(errand)
            return 0.0
        if errand.patient:  # a wait that no full window explains is a bar
            longest_s = max(MAX_BUDGET_WAIT_S, *(rate.per_s + 1.0 for rate in (errand.rate, errand.own_rate) if rate))
        else:
            longest_s = MAX_BUDGET_WAIT_S - (self._clock.mono() - errand.since)
        return wait_s if wait_s <= longest_s else None

    def stale(self, errand: Errand) -> bool:
        """Whether its signature may be too old by now."""
        return errand.call.again is not None and self._clock.mono() - errand.since > FRESH_S

    def book(self, errand: Errand, answer: Answer) -> None:
        """What the answer says about the use of the address, and bans."""
        call, limits, pool = errand.call, errand.limits, f"rest-{errand.call.pool}"
        if limits is None or answer.status == 0:
            return
        rate = errand.rate
        if rate is not None:
            used = answer.headers.get(limits.used_headers.get(call.pool, ""), "")
            if used.isascii() and used.isdigit():
                self._budget.used(errand.venue, pool, errand.egress, rate, int(used[:12]))
        ban_s = limits.bans.get(answer.status)
        if ban_s is None:
            return
        told_s = retry_after_s(answer.headers.get("retry-after"), self._clock.wall_ms())
        if told_s is None and errand.own_rate is not None and errand.caller is not None:
            # The venue's own refusal of this account. What stands before the venue and counts addresses says how long.
            with self._lock:
                errand.caller.barred[call.pool] = self._clock.mono() + ban_s
        else:
            why = f"HTTP {answer.status}" + (" with Retry-After" if told_s is not None else ", without saying how long")
            self._budget.block(errand.venue, pool, errand.egress, ban_s if told_s is None else told_s, why)

    def finish(self, errand: Errand, answer: Answer) -> None:
        """Every admitted errand ends here, once."""
        self._grant(errand)
        with self._lock:
            if errand.ended:
                return
            errand.ended = True
            self._pending[errand.venue] -= 1
            self._queue.done(errand)
        METRICS.count("rest_calls_total", venue=errand.venue, result=str(answer.status))
        errand.done(answer)

    def _grant(self, errand: Errand) -> None:
        """It does not wait any more."""
        with self._lock:
            if not errand.granted and errand.caller is not None:
                errand.caller.waiting -= 1
                errand.caller.granted_mono = self._clock.mono()
            errand.granted = True

    def _granted(self, errand: Errand) -> float:
        """0.0, or seconds to wait. The account's own allowance is asked first: what the address gives is not given for
        nothing."""
        wait_s = self._own_wait_s(errand)
        if wait_s > 0:
            METRICS.observe("budget_wait_seconds", wait_s, venue=errand.venue, kind=f"rest-{errand.call.pool}-own")
            return wait_s
        for kind, rate, cost in self._ledgers(errand):
            wait_s = self._budget.take(errand.venue, kind, errand.egress, rate, cost)
            if wait_s > 0:
                return wait_s
        self._own_take(errand)
        return 0.0

    @staticmethod
    def _ledgers(errand: Errand) -> Iterator[tuple[str, Rate, int]]:
        """Of the address."""
        if errand.rate is not None:
            yield f"rest-{errand.call.pool}", errand.rate, errand.call.weight
        if errand.limits is not None and errand.limits.requests is not None:
            yield "rest-requests", errand.limits.requests, 1

    def _own_wait_s(self, errand: Errand) -> float:
        rate, caller, pool = errand.own_rate, errand.caller, errand.call.pool
        if rate is None or caller is None:
            return 0.0
        cost = min(errand.call.weight, rate.limit)
        with self._lock:
            barred_s = caller.barred.get(pool, 0.0) - self._clock.mono()
            window = caller.windows.setdefault(pool, SlidingWindow())
            wait_ms = window.wait(cost, rate.limit, period_ms(cost, rate.limit, rate.per_s), self._mono_ms())
        return max(barred_s, wait_ms / 1000)

    def _own_take(self, errand: Errand) -> None:
        rate, caller = errand.own_rate, errand.caller
        if rate is None or caller is None:
            return
        cost = min(errand.call.weight, rate.limit)
        with self._lock:
            window = caller.windows[errand.call.pool]
            window.add(cost, period_ms(cost, rate.limit, rate.per_s), self._mono_ms())

    def _mono_ms(self) -> int:
        return int(self._clock.mono() * 1000)


def given_up() -> Answer:
    return Answer(0, NO_HEADERS, b"", NO_WEIGHT)


class QueuedRest(ABC):
    """The `Rest` of any process: what it makes calls with is a subclass's. Any thread."""

    def __init__(self, queue: RestQueue) -> None:
        self._queue = queue
        self._stopped = threading.Event()

    def submit(
        self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered, caller: Caller | None = None
    ) -> None:
        if self._stopped.is_set() or not self._queue.admit(call, venue, egress, limits, done, caller):
            done(FULL)
            return
        self._turn()

    @abstractmethod
    def start(self) -> None:
        """Begin to make those wait that have to."""

    def stop(self) -> None:
        self._stopped.set()
        for errand in self._queue.drain():
            self._queue.finish(errand, given_up())

    @abstractmethod
    def _aside(self, venue: str, work: Callable[[], None]) -> bool:
        """Run what may wait for a server, off the caller's thread. False: it is stopped."""

    @abstractmethod
    def _later(self, wait_s: float) -> None:
        """Call `_turn` after so long."""

    @abstractmethod
    def _make(self, errand: Errand) -> None:
        """Make the call, from `_aside`; `_answered` gets the answer."""

    def _turn(self) -> None:
        while batch := self._queue.take():
            for errand in batch:
                self._step(errand, self._try)

    def _step(self, errand: Errand, step: Callable[[Errand], None]) -> None:
        if not self._aside(errand.venue, partial(self._guarded, step, errand)):
            self._queue.finish(errand, given_up())

    def _guarded(self, step: Callable[[Errand], None], errand: Errand) -> None:
        """What goes wrong costs this errand only, and not its place among those on their way."""
        try:
            step(errand)
        except Exception:
            log.exception("unexpected error in a REST call", venue=errand.venue, call=repr(errand.call))
            self._finish(errand, given_up())

    def _try(self, errand: Errand) -> None:
        wait_s = None if self._stopped.is_set() else self._queue.wait_s(errand)
        if wait_s is None:
            self._finish(errand, given_up())
        elif wait_s > 0:
            self._queue.put_back(errand, wait_s)
            self._later(wait_s)
        elif errand.caller is not None and self._queue.stale(errand):
            errand.caller.renew(errand.call, partial(self._renewed, errand))
        else:
            self._make(errand)

    def _renewed(self, errand: Errand, call: Call) -> None:
        errand.call = call
        self._step(errand, self._make)

    def _answered(self, errand: Errand, answer: Answer) -> None:
        self._queue.book(errand, answer)
        self._finish(errand, answer)

    def _finish(self, errand: Errand, answer: Answer) -> None:
        self._queue.finish(errand, answer)
        self._turn()


class LoopRest(QueuedRest):
    """The `Rest` of a process without threads: steps on a loop, calls made by `perform`."""

    def __init__(self, queue: RestQueue, loop: Loop, perform: Perform) -> None:
        super().__init__(queue)
        self._loop, self._perform = loop, perform

    def start(self) -> None:
        """Whoever turns the loop begins."""

    def _aside(self, _venue: str, work: Callable[[], None]) -> bool:
        return self._loop.post(work)

    def _later(self, wait_s: float) -> None:
        self._loop.after(wait_s, self._turn)

    def _make(self, errand: Errand) -> None:
        self._perform(errand.call, errand.egress, partial(self._answer, errand))

    def _answer(self, errand: Errand, answer: Answer) -> None:
        self._loop.post(partial(self._answered, errand, answer))
