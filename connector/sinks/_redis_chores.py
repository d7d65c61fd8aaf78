"""What the Redis sink does on the side: a sign of life, the expiry of old entries, its gauges."""

from __future__ import annotations

import threading
from typing import Final

from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.sinks._redis_lanes import RedisLanes
from connector.sinks._redis_link import RedisLink, command

PING_S: Final = 10.0
GAUGE_S: Final = 1.0
SWEEP_BATCH: Final = 500


class Chores:
    """Publisher's thread only; times are monotonic."""

    def __init__(self, sink: str, clock: Clock, sweep_interval_s: float) -> None:
        self._sink, self._clock, self._sweep_interval_s = sink, clock, sweep_interval_s
        self._next_ping = self._next_gauge = 0.0
        self._next_sweep = clock.mono() + sweep_interval_s
        self._reported_drops = 0

    @property
    def next_due(self) -> float:
        return min(self._next_ping, self._next_sweep, self._next_gauge)

    def answered(self) -> None:
        """The server has just shown that it lives: it need not be asked for a while."""
        self._next_ping = self._clock.mono() + PING_S

    def do(self, link: RedisLink, lock: threading.Lock, lanes: RedisLanes) -> None:
        """What is due. `lock` guards `lanes`. Raises `LinkLost`, `LinkRefused`."""
        now = self._clock.mono()
        if now >= self._next_ping:
            link.ask(command(b"PING"))
            self._next_ping = now + PING_S
        if now >= self._next_sweep:
            # Also where HEXPIRE exists: deadlines may be left from before the server was upgraded.
            more = link.sweep(self._clock.wall_ms(), SWEEP_BATCH) >= SWEEP_BATCH
            self._next_sweep = now if more else now + self._sweep_interval_s
        if now >= self._next_gauge:
            self._next_gauge = now + GAUGE_S
            with lock:
                queued, drops = lanes.queued(), lanes.market_dropped()
            METRICS.gauge("sink_queue", queued, sink=self._sink)
            if drops > self._reported_drops:
                METRICS.count("events_conflated_total", drops - self._reported_drops, sink=self._sink)
                self._reported_drops = drops
