"""The picture shows what was delivered, and nothing of a rate that was too much."""

from __future__ import annotations

from typing import Any

from bench.chart import Curve, curves


def side(offered: int, events: int, p50: float | None, p99: float | None) -> dict[str, Any]:
    return {"offered_per_s": offered, "events_per_s": events, "redis": {"p50_ms": p50, "p99_ms": p99}}


def test_four_lines_of_two() -> None:
    rows = [
        {"service": side(4_000, 4_000, 5.0, 20.0), "control": side(4_000, 4_000, 3.0, 9.0)},
        {"service": side(8_000, 7_990, 6.0, 30.0), "control": side(8_000, 8_000, 4.0, 11.0)},
    ]
    assert curves(rows) == [
        Curve("service p50", [4_000, 8_000], [5.0, 6.0]),
        Curve("service p99", [4_000, 8_000], [20.0, 30.0]),
        Curve("control p50", [4_000, 8_000], [3.0, 4.0]),
        Curve("control p99", [4_000, 8_000], [9.0, 11.0]),
    ]


def test_a_rate_that_was_not_kept_up_with_is_left_out() -> None:
    rows = [{"service": side(8_000, 7_000, 5.0, 20.0), "control": side(8_000, 8_000, None, None)}]
    assert [line.rates for line in curves(rows)] == [[], [], [], []]
