"""The metrics of the service: counters, gauges and histograms, kept in the process (design section 10)."""

from __future__ import annotations

import threading


class Metrics:
    """Any thread. `name` must be one of the declared metrics; labels are keyword arguments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._values[key] = self._values.get(key, 0) + amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        with self._lock:
            self._values[(name, tuple(sorted(labels.items())))] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.count(name, value, **labels)


METRICS = Metrics()
"""The one registry of this process."""
