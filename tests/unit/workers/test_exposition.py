"""`/metrics`: what our counters say, in the two formats that Prometheus reads."""

from __future__ import annotations

import os

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from connector.core.metric_defs import DEFINITIONS
from connector.core.metrics import Metrics
from workers.exposition import exposition

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def text_of(*metrics: Metrics) -> str:
    return exposition([one.dump() for one in metrics])[1].decode()


def test_counters_and_gauges() -> None:
    metrics = Metrics(strict=True)
    metrics.count("frames_total", venue="okx", feed="user")
    metrics.count("frames_total", 2, feed="user", venue="okx")
    metrics.gauge("leases", 7)
    metrics.gauge("streams", 3, state='odd"\\\nname', exchange="okx")
    text = text_of(metrics)
    assert "# HELP connector_frames_total Frames received\n# TYPE connector_frames_total counter\n" in text
    assert 'connector_frames_total{feed="user",venue="okx"} 3.0\n' in text
    assert "connector_leases 7.0\n" in text
    assert 'connector_streams{exchange="okx",state="odd\\"\\\\\\nname"} 3.0\n' in text


def test_a_histogram_has_cumulative_buckets() -> None:
    metrics = Metrics(strict=True)
    for value in (0.05, 0.7, 0.7, 99999.0):
        metrics.observe("gap_seconds", value, venue="okx")
    lines = text_of(metrics).splitlines()
    assert 'connector_gap_seconds_bucket{le="0.1",venue="okx"} 1.0' in lines
    assert 'connector_gap_seconds_bucket{le="0.5",venue="okx"} 1.0' in lines
    assert 'connector_gap_seconds_bucket{le="1.0",venue="okx"} 3.0' in lines
    assert 'connector_gap_seconds_bucket{le="+Inf",venue="okx"} 4.0' in lines
    assert 'connector_gap_seconds_sum{venue="okx"} 100000.45' in lines
    assert 'connector_gap_seconds_count{venue="okx"} 4.0' in lines


def test_replace_drops_label_sets_that_are_gone() -> None:
    metrics = Metrics(strict=True)
    for states in ({"live": 2, "waiting": 1}, {"live": 3}):
        metrics.replace("streams", [({"state": name, "exchange": "okx"}, count) for name, count in states.items()])
    text = text_of(metrics)
    assert 'connector_streams{exchange="okx",state="live"} 3.0' in text
    assert "waiting" not in text


def test_dumps_of_several_processes_are_added_up_and_a_broken_one_costs_only_itself() -> None:
    first, second = Metrics(strict=True), Metrics(strict=True)
    for metrics, connected, count in ((first, 1, 10), (second, 0, 5)):
        metrics.count("frames_total", count, venue="okx", feed="user")
        metrics.gauge("leases", count)
        metrics.gauge("sink_connected", connected, sink="redis")
        metrics.gauge("info", 1, version="1", role="user")
        metrics.observe("gap_seconds", 0.3, venue="okx")
    text = exposition([first.dump(), b"broken", second.dump()])[1].decode()
    assert 'connector_frames_total{feed="user",venue="okx"} 15.0\n' in text
    assert "connector_leases 15.0\n" in text
    assert 'connector_sink_connected{sink="redis"} 0.0\n' in text
    assert 'connector_info{role="user",version="1"} 1.0\n' in text
    assert 'connector_gap_seconds_count{venue="okx"} 2.0\n' in text


def test_the_number_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.core.metrics.MAX_SERIES", 3)
    metrics = Metrics(strict=True)
    for index in range(10):
        metrics.gauge("sink_queue", index, sink=str(index))
        metrics.observe("gap_seconds", 1, venue=str(index))
    assert text_of(metrics).count("connector_sink_queue{") == 3
    assert text_of(metrics).count("connector_gap_seconds_count{") == 3


def every_metric() -> Metrics:
    metrics = Metrics(strict=True)
    for name, definition in DEFINITIONS.items():
        labels = dict.fromkeys(definition.labels, "x")
        do = {"counter": metrics.count, "gauge": metrics.gauge, "histogram": metrics.observe}[definition.kind]
        do(name, 1, **labels)  # type: ignore[operator]
    return metrics


def test_both_formats_can_be_read_and_name_every_metric() -> None:
    dump = every_metric().dump()
    kind, body = exposition([dump], OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    plain_kind, plain = exposition([dump])
    assert plain_kind.startswith("text/plain; version=0.0.4")
    for families in (parse_openmetrics(body.decode()), parse_text(plain.decode())):
        names = {family.name.removeprefix("connector_") for family in families}
        assert names == {name.removesuffix("_total") for name in DEFINITIONS}


def test_each_process_has_its_memory_cpu_time_and_open_files() -> None:
    """None of the usual figures of a process was there."""
    text = exposition([], pids={"user-a": os.getpid(), "gone": 2**22 + 1})[1].decode()
    found = {
        (sample.name, sample.labels["process"]): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }
    assert found["connector_process_resident_memory_bytes", "user-a"] > 1e6
    assert found["connector_process_open_fds", "user-a"] > 0
    assert found["connector_process_cpu_seconds_total", "user-a"] > 0
    assert not any(process == "gone" for _, process in found)


def test_nothing_counted_is_nothing_told() -> None:
    assert text_of(Metrics()).strip() == ""
