"""One ledger per venue and egress address for connects and REST weight, shared by all processes.

The ledger lives in the state (Redis) and never grants more than a venue's figure in any span of its period. Each process also
remembers what it was granted. While the state is away it goes on by that memory at half the figure, so that an outage of
Redis doesn't stop reconnects; several processes together may exceed the figure then, one alone never does. What it granted
itself is not forgotten when the state is back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Final

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock, State
from connector.core.window import SlidingWindow, period_ms
from exchanges._adapter import Rate

log = get_logger(__name__)

SPREAD_S: Final = 0.1
"""Added to every period. What was granted a period apart arrives closer together if the first was slower on its way, and our
hosts' clocks differ. It is time that has to be spared for this, not a part of the count: a full count may be granted at once.
The count is used in full, because `exchanges._adapter.Rate` comes with its margin."""


AWAY_S: Final = 5.0
"""After the state did not answer it is not asked for this long, and then by one caller at a time: whoever asks a Redis that
hangs waits, and all others go on without it."""


class Budget:
    """Any thread. Waits are returned, never slept."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._granted: defaultdict[str, SlidingWindow] = defaultdict(SlidingWindow)
        self._blocked: dict[str, int] = {}
        self._away_until = float("-inf")
        self._away = False

    def take(self, venue: str, kind: str, egress: str, rate: Rate, cost: int = 1) -> float:
        """Take `cost` from the ledger of (venue, kind, egress). Returns 0.0, or seconds to wait (then nothing was taken).

        A cost above the figure is counted as the whole figure: the call is the venue's to refuse.
        """
        bucket = f"{venue}:{kind}:{egress or 'default'}"
        now_ms = self._clock.wall_ms()
        blocked_ms = self._blocked.get(bucket, 0) - now_ms
        if blocked_ms > 0:
            return blocked_ms / 1000
        wait_s = self._take(bucket, min(cost, rate.limit), rate.limit, rate.per_s + SPREAD_S, now_ms) / 1000
        if wait_s > 0:
            METRICS.observe("budget_wait_seconds", wait_s, venue=venue, kind=kind)
        return wait_s

    def used(self, venue: str, kind: str, egress: str, rate: Rate, weight: int) -> None:
        """The venue says that the address used `weight` since its last full period began; others may share the address.

        From the ledger's figure on nobody takes anything more in that period, so that the rest stays for those others.
        """
        if weight < rate.limit:
            return
        period_ms = int(rate.per_s * 1000)
        left_ms = period_ms - self._clock.wall_ms() % period_ms
        blocked_ms = self._blocked.get(f"{venue}:{kind}:{egress or 'default'}", 0) - self._clock.wall_ms()
        if blocked_ms < left_ms:
            self.block(venue, kind, egress, left_ms / 1000)

    def block(self, venue: str, kind: str, egress: str, seconds: float) -> None:
        """The venue said wait (Retry-After, ban): binds every process at once."""
        bucket = f"{venue}:{kind}:{egress or 'default'}"
        until_ms = self._clock.wall_ms() + int(seconds * 1000)
        with self._lock:
            self._blocked[bucket] = max(until_ms, self._blocked.get(bucket, 0))
        log.warning("venue budget blocked", venue=venue, kind=kind, seconds=round(seconds, 1))
        try:
            self._state.block(bucket, until_ms)
        except StateUnavailable:
            log.warning("the block binds only this process: the state is unavailable", venue=venue, kind=kind)

    def _take(self, bucket: str, cost: int, count: int, per_s: float, now_ms: int) -> int:
        """0, or ms to wait."""
        period = period_ms(cost, count, per_s)
        with self._lock:
            wait_ms = self._granted[bucket].wait(cost, count, period, self._mono_ms())
        if (
            wait_ms > 0
        ):  # this process alone used the figure up; the state would say the same, or was away for some of it
            return wait_ms
        if not self._may_ask():
            return self._take_locally(bucket, cost, max(1, cost, count // 2), period)
        try:
            wait_ms = self._state.take(bucket, cost, count, per_s, now_ms)
        except StateUnavailable:
            with self._lock:
                self._away, self._away_until = True, self._clock.mono() + AWAY_S
            return self._take_locally(bucket, cost, max(1, cost, count // 2), period)
        with self._lock:
            self._away, self._away_until = False, float("-inf")
            if wait_ms == 0:
                self._granted[bucket].add(cost, period, self._mono_ms())
        return wait_ms

    def _may_ask(self) -> bool:
        """False while the state is away; of those that come when it may be back, the first one finds out."""
        with self._lock:
            now = self._clock.mono()
            if now < self._away_until:
                return False
            if self._away:
                self._away_until = now + AWAY_S
            return True

    def _take_locally(self, bucket: str, cost: int, count: int, period: int) -> int:
        with self._lock:
            window, now_ms = self._granted[bucket], self._mono_ms()
            wait_ms = window.wait(cost, count, period, now_ms)
            if wait_ms == 0:
                window.add(cost, period, now_ms)
            return wait_ms

    def _mono_ms(self) -> int:
        return int(self._clock.mono() * 1000)
