"""One table of all measurements: nothing that went wrong hides in it."""

from __future__ import annotations

from typing import Any

from bench.table import markdown, of_figures, of_firehose, of_orders


def side(**wrong: int) -> dict[str, Any]:
    return {"p50_ms": 1.5, "p99_ms": 9.0, "lost": 0, "doubled": 0, "out_of_order": 0, **wrong}


def test_what_was_lost_or_came_out_of_order_stands_in_the_table() -> None:
    row = {"rate": 2_000.0, "sent_per_s": 1_990, "cpu_us": 200.0, "switches_per_event": 2.0,
           "redis": side(), "amqp": side(lost=3, out_of_order=1)}  # fmt: skip
    told = {name: value for _, name, value in of_orders(row, 500)}
    assert told["wrong at Redis"] == "nothing"
    assert told["wrong at RabbitMQ's confirm"] == "3 lost, 1 out_of_order"
    assert told["p50, p99 to Redis, ms"] == "1.5, 9.0"


def test_the_firehose_is_told_as_a_ratio_to_its_control() -> None:
    service = {"offered_per_s": 6_000, "events_per_s": 6_000, "cpu_us_per_event": 9.0, "redis": side()}
    control = {"cpu_us_per_event": 10.0, "redis": {"p50_ms": 3.0, "p99_ms": None}}
    told = {name: value for _, name, value in of_firehose(service, control)}
    assert told["CPU a ticker, µs"] == "9.0 (0.90 × the control)"
    assert told["p50 to Redis, ms"] == "1.5 (0.50 × the control)"
    assert told["p99 to Redis, ms"] == "9.0"


def test_a_table_names_what_it_measures_once() -> None:
    rows = list(of_figures("idle", {"a": 1, "b": 2, "c": 3}, {"b": "second", "a": "first"}))
    assert markdown(rows).splitlines()[2:] == ["| idle | second | 2 |", "|  | first | 1 |"]
