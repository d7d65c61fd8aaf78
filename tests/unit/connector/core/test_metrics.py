"""Metrics: declared names only, mergeable over processes."""

from __future__ import annotations

import threading
from typing import get_args

import pytest

from connector.core.metric_defs import DEFINITIONS, MetricName
from connector.core.metrics import Metrics, means, merged


def test_every_name_is_declared_exactly_once():
    assert sorted(get_args(MetricName)) == sorted(DEFINITIONS)
    for name, definition in DEFINITIONS.items():
        assert (definition.kind == "counter") == name.endswith("_total"), name
        assert (definition.kind == "histogram") == bool(definition.buckets), name
        assert definition.help, name
        assert definition.buckets == tuple(sorted(definition.buckets)), name


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


def test_means_are_taken_over_all_processes_by_one_label() -> None:
    first, second = Metrics(), Metrics()
    first.observe("publish_lag_seconds", 1.0, sink="redis", kind="ticker")
    first.observe("publish_lag_seconds", 2.0, sink="redis", kind="account")
    second.observe("publish_lag_seconds", 6.0, sink="redis", kind="ticker")
    second.observe("publish_lag_seconds", 4.0, sink="rabbitmq", kind="ticker")
    dumps = [first.dump(), second.dump(), b"broken"]
    assert means(dumps, "publish_lag_seconds", "sink") == {"redis": 3.0, "rabbitmq": 4.0}


def test_a_clock_that_is_behind_is_not_hidden_by_a_process_that_saw_it_right() -> None:
    early, late = Metrics(), Metrics()
    early.gauge("clock_off_seconds", 0.4, venue="bybit")
    late.gauge("clock_off_seconds", -30.0, venue="bybit")
    for dumps in ([early.dump(), late.dump()], [late.dump(), early.dump()]):
        assert merged(dumps).values["clock_off_seconds"] == {("bybit",): -30.0}
