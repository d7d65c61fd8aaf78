"""The metrics of the service: counters, gauges and histograms, kept in the process.

Each worker process fills its own registry and hands out `dump()`; the process that serves `/metrics` merges the dumps of
all (`merged`) and writes them for Prometheus (`workers.exposition`). The names are declared in `connector.core.metric_defs`.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from connector.core.limit_use import LimitUse
from connector.core.metric_defs import DEFINITIONS, Definition, MetricName

PREFIX: Final = "connector_"
"""In front of every name that Prometheus sees."""
MAX_SERIES: Final = 5_000
"""Label sets of one metric: more is a mistake in the labels, and would fill the memory of whoever collects them."""

Labels = tuple[str, ...]


class Histogram(msgspec.Struct):
    """Observations by bucket (not cumulative; the last count is above all bounds), their sum and number."""

    counts: list[int]
    total: float = 0.0


class Minute(NamedTuple):
    """One minute of a process (`number`: since the epoch)."""

    number: int
    live: int
    blind: int
    events: int
    unowned: int = 0
    """Accounts that nobody runs, of the whole deployment: every process counts the same ones."""


class Snapshot(msgspec.Struct):
    """All values of one process at one moment: (name, label values in declared order, value)."""

    values: list[tuple[str, Labels, float]] = msgspec.field(default_factory=list)
    histograms: list[tuple[str, Labels, Histogram]] = msgspec.field(default_factory=list)
    hour: list[Minute] = msgspec.field(default_factory=list)
    """The last minutes, the oldest first."""
    limits: list[LimitUse] = msgspec.field(default_factory=list)
    """What the process took of the venues' limits, and what bars it."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


class Metrics:
    """Any thread. `name` must be a declared metric and the keyword arguments exactly its labels.

    A wrong use raises `ValueError` when `strict` (tests); otherwise it is counted in `metric_errors_total` and dropped:
    a figure is never worth a stream.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._lock = threading.Lock()
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, Histogram]] = {}

    def count(self, name: MetricName, /, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = self._key(name, "counter", labels)
        if key is None:
            return
        with self._lock:
            series = self._values.setdefault(name, {})
            if key in series:
                series[key] += amount
            elif len(series) < MAX_SERIES:
                series[key] = amount

    def gauge(self, name: MetricName, /, value: float, **labels: str) -> None:
        """Set a gauge."""
        key = self._key(name, "gauge", labels)
        if key is None:
            return
        with self._lock:
            series = self._values.setdefault(name, {})
            if key in series or len(series) < MAX_SERIES:
                # A bool would come out as JSON's `true`, and cost all figures of the process.
                series[key] = float(value)

    def replace(self, name: MetricName, rows: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Set all values of a gauge at once; label sets that are not in `rows` disappear."""
        series: dict[Labels, float] = {}
        for labels, value in rows:
            key = self._key(name, "gauge", labels)
            if key is not None and len(series) < MAX_SERIES:
                series[key] = value
        with self._lock:
            self._values[name] = series

    def forget(self, name: MetricName, /, **labels: str) -> None:
        """Take one value of a gauge away: it is another process's to tell by now."""
        key = self._key(name, "gauge", labels)
        if key is not None:
            with self._lock:
                self._values.get(name, {}).pop(key, None)

    def observe(self, name: MetricName, /, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        key = self._key(name, "histogram", labels)
        if key is None:
            return
        buckets = DEFINITIONS[name].buckets
        index = bisect_left(buckets, value)
        with self._lock:
            series = self._histograms.setdefault(name, {})
            histogram = series.get(key)
            if histogram is None:
                if len(series) >= MAX_SERIES:
                    return
                histogram = series[key] = Histogram([0] * (len(buckets) + 1))
            histogram.counts[index] += 1
            histogram.total += value

    def value(self, name: MetricName, /, **labels: str) -> float:
        """Current value of a counter or gauge, or the number of observations of a histogram; 0 if never touched."""
        key = tuple(labels[label] for label in DEFINITIONS[name].labels)
        with self._lock:
            if DEFINITIONS[name].kind == "histogram":
                histogram = self._histograms.get(name, {}).get(key)
                return sum(histogram.counts) if histogram else 0
            return self._values.get(name, {}).get(key, 0)

    def reset(self) -> None:
        """Forget everything (tests)."""
        with self._lock:
            self._values.clear()
            self._histograms.clear()

    def rows(self, name: MetricName) -> dict[Labels, float]:
        """Current values of a counter or gauge, by label values in declared order."""
        with self._lock:
            return dict(self._values.get(name, {}))

    def dump(self, hour: Sequence[Minute] = (), limits: Sequence[LimitUse] = ()) -> bytes:
        """All values as JSON, for `merged` in another process, and what is known of the last hour and of the limits."""
        with self._lock:
            values = [(name, key, value) for name, series in self._values.items() for key, value in series.items()]
            histograms = [
                (name, key, Histogram(list(histogram.counts), histogram.total))
                for name, observed in self._histograms.items()
                for key, histogram in observed.items()
            ]
        return _encode(Snapshot(values, histograms, list(hour), list(limits)))

    def _key(self, name: str, kind: str, labels: Mapping[str, str]) -> Labels | None:
        definition = DEFINITIONS.get(name)
        if definition is not None and definition.kind == kind and len(labels) == len(definition.labels):
            try:
                return tuple([labels[label] for label in definition.labels])
            except KeyError:
                pass
        if self.strict:
            raise ValueError(
                f"metric {name} ({kind}) with labels {sorted(labels)} is not declared in connector/core/metric_defs.py"
            )
        with self._lock:
            errors = self._values.setdefault("metric_errors_total", {})
            errors[(name[:80],)] = errors.get((name[:80],), 0) + 1
        return None


class Merged(NamedTuple):
    """The figures of several processes as one: label values in declared order → value, by name."""

    values: Mapping[str, Mapping[Labels, float]]
    histograms: Mapping[str, Mapping[Labels, Histogram]]


def merged(dumps: Sequence[bytes]) -> Merged:
    """Add the dumps of several processes up. A dump that can't be read is left out."""
    values: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, Histogram]] = {}
    for snapshot in _readable(dumps):
        _merge(snapshot, values, histograms)
    return Merged(values, histograms)


def _readable(dumps: Sequence[bytes]) -> Iterator[Snapshot]:
    for dump in dumps:
        try:
            yield _decode(dump)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def hours(dumps: Sequence[bytes]) -> list[list[Minute]]:
    """The last hour of each process. A dump that can't be read is left out."""
    return [snapshot.hour for snapshot in _readable(dumps)]


def limits(dumps: Sequence[bytes]) -> list[LimitUse]:
    """What each process tells of the venues' limits. A dump that can't be read is left out."""
    return [use for snapshot in _readable(dumps) for use in snapshot.limits]


def means(dumps: Sequence[bytes], name: str, label: str) -> dict[str, float]:
    """Mean observation of a histogram by one of its labels, over the dumps of several processes."""
    place = DEFINITIONS[name].labels.index(label)
    sums: dict[str, tuple[float, int]] = {}
    for key, histogram in merged(dumps).histograms.get(name, {}).items():
        total, number = sums.get(key[place], (0.0, 0))
        sums[key[place]] = (total + histogram.total, number + sum(histogram.counts))
    return {value: total / number for value, (total, number) in sums.items() if number}


def _merge(
    snapshot: Snapshot,
    values: dict[str, dict[Labels, float]],
    histograms: dict[str, dict[Labels, Histogram]],
) -> None:
    for name, key, value in snapshot.values:
        definition = DEFINITIONS.get(name)
        if definition is None or len(key) != len(definition.labels):
            continue  # written by a process of another version
        series = values.setdefault(name, {})
        known = series.get(key)
        series[key] = value if known is None else _combine(definition, known, value)
    for name, key, histogram in snapshot.histograms:
        definition = DEFINITIONS.get(name)
        if definition is None or len(histogram.counts) != len(definition.buckets) + 1:
            continue
        target = histograms.setdefault(name, {})
        before = target.get(key)
        if before is None:
            target[key] = histogram
        else:
            counts = [a + b for a, b in zip(before.counts, histogram.counts, strict=True)]
            target[key] = Histogram(counts, before.total + histogram.total)


def _combine(definition: Definition, a: float, b: float) -> float:
    if definition.merge == "max":
        return max(a, b)
    if definition.merge == "farthest":
        return max(a, b, key=abs)
    return min(a, b) if definition.merge == "min" else a + b


METRICS: Final = Metrics()
"""The one registry of this process."""
