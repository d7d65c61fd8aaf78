"""One ledger per venue and egress address for connects and REST weight, shared by all processes (design section 5).

The ledger lives in the state (Redis token buckets). While the state is away each process goes on with a local ledger at half
the rate, so that an outage of Redis neither stops reconnects nor lets several processes overrun a venue.
"""

from __future__ import annotations

import threading

from core.errors import StateUnavailable
from core.log import get_logger
from core.metrics import METRICS
from core.ports import Clock, State
from exchanges._adapter import Rate

log = get_logger(__name__)

SHARE = 0.9
"""Use this part of what a venue allows: its clock and ours disagree about where a window starts."""


class Budget:
    """Any thread. Waits are returned, never slept."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._local: dict[str, tuple[float, float]] = {}
        self._blocked: dict[str, int] = {}

    def take(self, venue: str, kind: str, ip: str, rate: Rate, cost: int = 1) -> float:
        """Take `cost` from the ledger of (venue, kind, ip). Returns 0.0, or seconds to wait (then nothing was taken)."""
        bucket = f"{venue}:{kind}:{ip or 'default'}"
        now_ms = self._clock.wall_ms()
        limit = max(1, int(rate.limit * SHARE))
        cost = min(cost, limit)
        blocked_ms = self._blocked.get(bucket, 0) - now_ms
        if blocked_ms > 0:
            return blocked_ms / 1000
        try:
            wait_s = self._state.take(bucket, cost, limit, rate.per_s, now_ms) / 1000
        except StateUnavailable:
            wait_s = self._take_locally(bucket, cost, max(1, limit // 2), rate.per_s)
        if wait_s > 0:
            METRICS.observe("budget_wait_seconds", wait_s, venue=venue, kind=kind)
        return wait_s

    def block(self, venue: str, kind: str, ip: str, seconds: float) -> None:
        """The venue said wait (Retry-After, ban): binds every process at once."""
        bucket = f"{venue}:{kind}:{ip or 'default'}"
        until_ms = self._clock.wall_ms() + int(seconds * 1000)
        with self._lock:
            self._blocked[bucket] = max(until_ms, self._blocked.get(bucket, 0))
        log.warning("venue budget blocked", venue=venue, kind=kind, seconds=round(seconds, 1))
        try:
            self._state.block(bucket, until_ms)
        except StateUnavailable:
            log.warning("the block binds only this process: the state is unavailable", venue=venue, kind=kind)

    def _take_locally(self, bucket: str, cost: int, limit: int, per_s: float) -> float:
        now = self._clock.mono()
        with self._lock:
            tokens, then = self._local.get(bucket, (float(limit), now))
            tokens = min(float(limit), tokens + (now - then) * limit / per_s)
            if tokens >= cost:
                self._local[bucket] = (tokens - cost, now)
                return 0.0
            self._local[bucket] = (tokens, now)
            return (cost - tokens) * per_s / limit
