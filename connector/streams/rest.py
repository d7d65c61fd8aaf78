"""When a `Call` of an adapter may be made, and what its answer says about the venue's budget.

`RestQueue` decides. The calls are made by a pool of threads (`connector.streams.http_client`), or by steps on a loop that
somebody turns (`LoopRest`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.metrics import METRICS
from connector.streams.budget import Budget
from exchanges._adapter import Answer, Call
from exchanges._frames import NO_WEIGHT
from exchanges._times import retry_after_s
from exchanges._venue import Limits

log = get_logger(__name__)

MAX_PENDING_PER_VENUE = 5_000
MAX_BUDGET_WAIT_S: Final = 20.0

NO_HEADERS: Final[dict[str, str]] = {}
FULL: Final = Answer(0, NO_HEADERS, b"", "the REST queue of this venue is full or closed")

Answered = Callable[[Answer], None]
Perform = Callable[[Call, str, Answered], None]
"""Makes one call by a way out (`connector.streams.egress`) and hands its answer to the callback, once, from any thread."""


class Rest(Protocol):
    """Any thread; exactly one answer per call, on a thread of its own choice."""

    def submit(self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered) -> None:
        """Perform `call` by a way out (`connector.streams.egress`) within the venue's `limits`; None = it has none."""

    def stop(self) -> None:
        """Refuse new calls and let running ones end at their timeouts."""


@dataclass(slots=True)
class Errand:
    """A call on its way; `waited_s` is how long it waited for the venue's budget."""

    call: Call
    venue: str
    egress: str
    limits: Limits | None
    done: Answered
    waited_s: float = 0.0


_REAL: Final = SystemClock()


class RestQueue:
    """Admits, makes wait and books. Any thread."""

    def __init__(self, budget: Budget, wall_ms: Callable[[], int] = _REAL.wall_ms) -> None:
        """`wall_ms`: our clock, by which a `Retry-After` with a date is read."""
        self._budget, self._wall_ms = budget, wall_ms
        self._lock = threading.Lock()
        self._pending: Counter[str] = Counter()

    def admit(self, venue: str) -> bool:
        """Whether one more call of this venue may wait; it counts until `finish`."""
        with self._lock:
            if self._pending[venue] >= MAX_PENDING_PER_VENUE:
                return False
            self._pending[venue] += 1
            return True

    def pending(self) -> int:
        with self._lock:
            return self._pending.total()

    def wait_s(self, errand: Errand) -> float | None:
        """0.0 if it may be made now, else how long it has to wait until it is asked for again; None = it is given up."""
        rate = errand.limits.rest.get(errand.call.pool) if errand.limits is not None else None
        if rate is None:
            return 0.0
        wait_s = self._budget.take(errand.venue, f"rest-{errand.call.pool}", errand.egress, rate, errand.call.weight)
        if wait_s <= 0:
            return 0.0
        if errand.waited_s + wait_s > MAX_BUDGET_WAIT_S:
            return None
        errand.waited_s += wait_s
        return wait_s

    def book(self, errand: Errand, answer: Answer) -> None:
        """What the answer says about the use of the address, and bans."""
        call, limits, pool = errand.call, errand.limits, f"rest-{errand.call.pool}"
        if limits is None or answer.status == 0:
            return
        rate = limits.rest.get(call.pool)
        if rate is not None:
            used = answer.headers.get(limits.used_headers.get(call.pool, ""), "")
            if used.isascii() and used.isdigit():
                self._budget.used(errand.venue, pool, errand.egress, rate, int(used[:12]))
        ban_s = limits.bans.get(answer.status)
        if ban_s is not None:
            told_s = retry_after_s(answer.headers.get("retry-after"), self._wall_ms())
            why = f"HTTP {answer.status}" + (" with Retry-After" if told_s is not None else ", without saying how long")
            self._budget.block(errand.venue, pool, errand.egress, ban_s if told_s is None else told_s, why)

    def finish(self, errand: Errand, answer: Answer) -> None:
        """Every admitted errand ends here."""
        with self._lock:
            self._pending[errand.venue] -= 1
        METRICS.count("rest_calls_total", venue=errand.venue, result=str(answer.status))
        errand.done(answer)


def given_up() -> Answer:
    return Answer(0, NO_HEADERS, b"", NO_WEIGHT)


class LoopRest:
    """The `Rest` of a process without threads: steps on a loop, calls made by `perform`."""

    def __init__(self, queue: RestQueue, loop: Loop, perform: Perform) -> None:
        self._queue, self._loop, self._perform = queue, loop, perform
        self._stopped = False

    def submit(self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered) -> None:
        if self._stopped or not self._queue.admit(venue):
            done(FULL)
            return
        self._loop.post(partial(self._step, Errand(call, venue, egress, limits, done)))

    def stop(self) -> None:
        self._stopped = True

    def _step(self, errand: Errand) -> None:
        wait_s = None if self._stopped else self._queue.wait_s(errand)
        if wait_s is None:
            self._queue.finish(errand, given_up())
        elif wait_s > 0:
            self._loop.after(wait_s, partial(self._step, errand))
        else:
            self._perform(errand.call, errand.egress, partial(self._answer, errand))

    def _answer(self, errand: Errand, answer: Answer) -> None:
        self._loop.post(partial(self._answered, errand, answer))

    def _answered(self, errand: Errand, answer: Answer) -> None:
        self._queue.book(errand, answer)
        self._queue.finish(errand, answer)
