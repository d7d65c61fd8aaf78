"""The figures of a service as Prometheus reads them: its text format, or OpenMetrics for whoever asks for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from connector.core.metric_defs import DEFINITIONS, Definition
from connector.core.metrics import PREFIX, Histogram, Labels, merged

PROCESS: Final = "process"
"""Label of the figures that the operating system has of each process."""


def exposition(dumps: Sequence[bytes], accept: str = "", pids: Mapping[str, int] | None = None) -> tuple[str, bytes]:
    """Content type and body. `dumps`: see `Metrics.dump`; `accept`: the header of the request. `pids`: processes on this
    host by name, whose memory, CPU time and open files are told, too; one that is gone is left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(dumps, pids or {}))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Figures(Collector):
    """Made for one answer."""

    def __init__(self, dumps: Sequence[bytes], pids: Mapping[str, int]) -> None:
        self._dumps, self._pids = dumps, pids

    def collect(self) -> Iterator[Metric]:
        values, histograms = merged(self._dumps)
        for name, definition in DEFINITIONS.items():
            if rows := values.get(name):
                yield _family(name, definition, rows)
            if observed := histograms.get(name):
                yield _histogram(name, definition, observed)
        yield from _processes(self._pids)


def _family(name: str, definition: Definition, rows: Mapping[Labels, float]) -> Metric:
    made = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = made(PREFIX + name, definition.help, labels=definition.labels)
    for key, value in sorted(rows.items()):
        family.add_metric(key, value)
    return family


def _histogram(name: str, definition: Definition, observed: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, definition.help, labels=definition.labels)
    bounds = [*map(floatToGoString, definition.buckets), "+Inf"]
    for key, histogram in sorted(observed.items(), key=lambda item: item[0]):
        family.add_metric(key, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)
    return family


def _processes(pids: Mapping[str, int]) -> Iterable[Metric]:
    """What the client library tells of its own process, of each of these, with the process as a label."""
    families: dict[str, Metric] = {}
    for process, pid in pids.items():
        of_one = ProcessCollector(namespace=PREFIX.rstrip("_"), pid=partial(int, pid), registry=None)
        for told in of_one.collect():
            family = families.setdefault(told.name, Metric(told.name, told.documentation, told.type))
            for sample in told.samples:
                family.add_sample(sample.name, {**sample.labels, PROCESS: process}, sample.value)
    return families.values()
