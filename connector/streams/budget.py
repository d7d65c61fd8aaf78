"""One ledger per venue and egress address for connects and REST weight, shared by all processes.

The ledger lives in the state (Redis) and never grants more than a venue's figure in any span of its period. Each process also
remembers what it was granted. While the state is away it goes on by that memory at half the figure, so that an outage of
Redis doesn't stop reconnects; several processes together may exceed the figure then, one alone never does. What it granted
itself is not forgotten when the state is back.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Final, NamedTuple

from connector.core.errors import StateUnavailable
from connector.core.limit_use import LimitUse
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock, State
from connector.core.window import SlidingWindow, ahead_ms, period_ms
from exchanges._venue import Rate

log = get_logger(__name__)

SPREAD_S: Final = 0.1
"""Added to every period. What was granted a period apart arrives closer together if the first was slower on its way, and our
hosts' clocks differ. It is time that has to be spared for this, not a part of the count: a full count may be granted at once.
The count is used in full, because `exchanges._venue.Rate` comes with its margin."""


AWAY_S: Final = 5.0
"""After the state did not answer it is not asked for this long, and then by one caller at a time: whoever asks a Redis that
hangs waits, and all others go on without it."""

SHARED: Final = "the exchange counts more than we took: others share this address"
"""Why a ledger is left alone although nobody was refused."""


class _Ledger(NamedTuple):
    venue: str
    kind: str
    egress: str
    rate: Rate | None


class _Bar(NamedTuple):
    until_ms: int = 0
    why: str = ""


class Budget:
    """Any thread. Waits are returned, never slept."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._granted: defaultdict[str, SlidingWindow] = defaultdict(SlidingWindow)
        self._blocked: dict[str, int] = {}
        self._ledgers: dict[str, _Ledger] = {}
        self._bars: dict[str, _Bar] = {}
        """For `uses`: beside our own blocks those that other processes made."""
        self._away_until = float("-inf")
        self._away = False

    def take(self, venue: str, kind: str, egress: str, rate: Rate, cost: int = 1) -> float:
        """Take `cost` from the ledger of (venue, kind, egress). Returns 0.0, or seconds to wait (then nothing was taken).

        A cost above the figure is counted as the whole figure: the call is the venue's to refuse.
        """
        bucket = self._ledger(venue, kind, egress, rate)
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
            self.block(venue, kind, egress, left_ms / 1000, SHARED)

    def block(self, venue: str, kind: str, egress: str, seconds: float, why: str = "") -> None:
        """The venue said wait (Retry-After, ban): binds every process at once. `why`: in words, for people."""
        bucket = self._ledger(venue, kind, egress)
        until_ms = self._clock.wall_ms() + int(seconds * 1000)
        with self._lock:
            self._blocked[bucket] = max(until_ms, self._blocked.get(bucket, 0))
        self._barred(bucket, until_ms, why)
        log.warning("venue budget blocked", venue=venue, kind=kind, seconds=round(seconds, 1))
        try:
            self._state.block(bucket, until_ms)
        except StateUnavailable:
            log.warning("the block binds only this process: the state is unavailable", venue=venue, kind=kind)

    def uses(self) -> list[LimitUse]:
        """What this process took of each limit, and what bars it. Asks nobody."""
        with self._lock:
            mono_ms = self._mono_ms()
            return [self._use(bucket, ledger, mono_ms) for bucket, ledger in self._ledgers.items()]

    def _use(self, bucket: str, ledger: _Ledger, mono_ms: int) -> LimitUse:
        venue, kind, egress, rate = ledger
        bar, window = self._bars.get(bucket, _Bar()), self._granted.get(bucket)
        used = window.used(int(rate.per_s * 1000), mono_ms) if window is not None and rate is not None else 0
        return LimitUse(
            venue=venue,
            kind=kind,
            egress=egress,
            used=used,
            limit=rate.limit if rate is not None else 0,
            per_s=rate.per_s if rate is not None else 0.0,
            barred_until_ms=bar.until_ms,
            why=bar.why,
        )

    def _ledger(self, venue: str, kind: str, egress: str, rate: Rate | None = None) -> str:
        """Its name."""
        bucket = f"{venue}:{kind}:{egress or 'default'}"
        known = self._ledgers.get(bucket)
        if known is None or (rate is not None and rate != known.rate):
            with self._lock:
                self._ledgers[bucket] = _Ledger(venue, kind, egress, rate)
        return bucket

    def _barred(self, bucket: str, until_ms: int, why: str) -> None:
        """Note it for whoever asks what goes on."""
        with self._lock:
            if until_ms <= self._bars.get(bucket, _Bar()).until_ms:
                return
            self._bars[bucket] = _Bar(until_ms, why)
            venue, kind, egress, _ = self._ledgers[bucket]
        METRICS.gauge("limit_barred_until_seconds", until_ms / 1000, venue=venue, kind=kind, egress=egress)

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
        if wait_ms > period + ahead_ms(period):  # longer than any full window: a bar of which another process was told
            self._barred(bucket, now_ms + wait_ms, "")
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
