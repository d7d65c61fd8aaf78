"""Metrics: declared names only, exact Prometheus text, mergeable over processes."""

from __future__ import annotations

import threading
from typing import get_args

import pytest

from connector.core.metric_defs import DEFINITIONS, MetricName
from connector.core.metrics import Metrics, means, render_many


def test_every_name_is_declared_exactly_once():
    assert sorted(get_args(MetricName)) == sorted(DEFINITIONS)
    for name, definition in DEFINITIONS.items():
        assert (definition.kind == "counter") == name.endswith("_total"), name
        assert (definition.kind == "histogram") == bool(definition.buckets), name
        assert definition.help, name
        assert definition.buckets == tuple(sorted(definition.buckets)), name


def test_counters_and_gauges_render():
    metrics = Metrics(strict=True)
    metrics.count("frames_total", venue="okx", feed="user")
    metrics.count("frames_total", 2, feed="user", venue="okx")
    metrics.gauge("leases", 7)
    metrics.gauge("streams", 3, state='odd"\\\nname', exchange="okx")
    text = metrics.render()
    assert "# HELP connector_frames_total Frames received\n# TYPE connector_frames_total counter\n" in text
    assert 'connector_frames_total{venue="okx",feed="user"} 3\n' in text
    assert "connector_leases 7\n" in text
    assert 'connector_streams{state="odd\\"\\\\\\nname",exchange="okx"} 3\n' in text
    assert metrics.value("frames_total", venue="okx", feed="user") == 3


def test_a_histogram_renders_cumulative_buckets():
    metrics = Metrics(strict=True)
    for value in (0.05, 0.7, 0.7, 99999.0):
        metrics.observe("gap_seconds", value, venue="okx")
    lines = [line for line in metrics.render().splitlines() if not line.startswith("#")]
    assert lines[0] == 'connector_gap_seconds_bucket{venue="okx",le="0.1"} 1'
    assert lines[1] == 'connector_gap_seconds_bucket{venue="okx",le="0.5"} 1'
    assert lines[2] == 'connector_gap_seconds_bucket{venue="okx",le="1"} 3'
    assert lines[-3] == 'connector_gap_seconds_bucket{venue="okx",le="+Inf"} 4'
    assert lines[-2] == 'connector_gap_seconds_sum{venue="okx"} 100000.45'
    assert lines[-1] == 'connector_gap_seconds_count{venue="okx"} 4'
    assert metrics.value("gap_seconds", venue="okx") == 4


def test_wrong_uses_raise_in_tests_and_are_counted_in_production():
    strict = Metrics(strict=True)
    with pytest.raises(ValueError, match="not declared"):
        strict.count("no_such_metric")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels"):
        strict.count("frames_total", venue="okx")
    with pytest.raises(ValueError, match="gauge"):
        strict.gauge("frames_total", 1, venue="okx", feed="user")
    loose = Metrics()
    loose.count("no_such_metric")  # type: ignore[arg-type]
    loose.observe("leases", 1)
    assert loose.value("metric_errors_total", name="no_such_metric") == 1
    assert loose.value("metric_errors_total", name="leases") == 1


def test_replace_drops_label_sets_that_are_gone():
    metrics = Metrics(strict=True)
    metrics.replace(
        "streams", [({"state": "live", "exchange": "okx"}, 2), ({"state": "waiting", "exchange": "okx"}, 1)]
    )
    metrics.replace("streams", [({"state": "live", "exchange": "okx"}, 3)])
    text = metrics.render()
    assert 'connector_streams{state="live",exchange="okx"} 3' in text
    assert "waiting" not in text


def test_dumps_of_several_processes_merge():
    first, second = Metrics(strict=True), Metrics(strict=True)
    for metrics, connected, count in ((first, 1, 10), (second, 0, 5)):
        metrics.count("frames_total", count, venue="okx", feed="user")
        metrics.gauge("leases", count)
        metrics.gauge("sink_connected", connected, sink="redis")
        metrics.gauge("info", 1, version="1", role="user")
        metrics.observe("gap_seconds", 0.3, venue="okx")
    text = render_many([first.dump(), b"broken", second.dump()])
    assert 'connector_frames_total{venue="okx",feed="user"} 15\n' in text
    assert "connector_leases 15\n" in text
    assert 'connector_sink_connected{sink="redis"} 0\n' in text
    assert 'connector_info{version="1",role="user"} 1\n' in text
    assert 'connector_gap_seconds_count{venue="okx"} 2\n' in text


def test_processes_can_be_kept_apart():
    metrics = Metrics(strict=True)
    metrics.gauge("leases", 4)
    metrics.count("frames_total", venue="okx", feed="user")
    metrics.observe("gap_seconds", 0.3, venue="okx")
    text = render_many([metrics.dump("a"), metrics.dump("b")])
    assert 'connector_leases{process="a"} 4\nconnector_leases{process="b"} 4\n' in text
    assert 'connector_frames_total{venue="okx",feed="user",process="a"} 1' in text
    assert 'connector_gap_seconds_count{venue="okx",process="b"} 1' in text


def test_the_number_of_series_is_bounded(monkeypatch):
    monkeypatch.setattr("connector.core.metrics.MAX_SERIES", 3)
    metrics = Metrics(strict=True)
    for index in range(10):
        metrics.gauge("sink_queue", index, sink=str(index))
        metrics.observe("gap_seconds", 1, venue=str(index))
    assert metrics.render().count("connector_sink_queue{") == 3
    assert metrics.render().count("connector_gap_seconds_count{") == 3


def test_counting_from_many_threads_loses_nothing():
    metrics = Metrics(strict=True)

    def work() -> None:
        for _ in range(500):
            metrics.count("frames_total", venue="okx", feed="user")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert metrics.value("frames_total", venue="okx", feed="user") == 2000


def test_an_empty_registry_renders_nothing():
    assert Metrics().render().strip() == ""


def test_means_are_taken_over_all_processes_by_one_label() -> None:
    first, second = Metrics(), Metrics()
    first.observe("publish_lag_seconds", 1.0, sink="redis", kind="ticker")
    first.observe("publish_lag_seconds", 2.0, sink="redis", kind="account")
    second.observe("publish_lag_seconds", 6.0, sink="redis", kind="ticker")
    second.observe("publish_lag_seconds", 4.0, sink="rabbitmq", kind="ticker")
    dumps = [first.dump(), second.dump(), b"broken"]
    assert means(dumps, "publish_lag_seconds", "sink") == {"redis": 3.0, "rabbitmq": 4.0}
