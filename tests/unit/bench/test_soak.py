"""What grew stands in the table and in the exit status."""

from __future__ import annotations

from bench.soak import judged, markdown
from bench.soak_stack import queued

TIMES_S = [60.0 * number for number in range(240)]
FLAT = [80.0 + number % 2 for number in range(240)]


def wrong(**figures: list[float]) -> list[str]:
    found: list[str] = judged(TIMES_S, {"one": {"rss_mib": FLAT, **figures}})[0]["wrong"]
    return found


def test_a_process_that_stands_still_is_well() -> None:
    assert wrong(threads=[70.0] * 240, files=[31.0, 32.0] * 120, queue=[0.0] * 240) == []


def test_a_leak_of_two_megabytes_an_hour_is_seen() -> None:
    rise = [value + number / 30 for number, value in enumerate(FLAT)]
    row = judged(TIMES_S, {"demo": {"rss_mib": rise}})[0]
    assert row["wrong"] == ["memory grows"]
    assert 1.8 < row["mib_per_hour"] < 2.2


def test_what_filled_in_the_first_half_is_not_a_leak() -> None:
    assert wrong(files=[*(float(number) for number in range(120)), *[120.0] * 120]) == []


def test_counts_that_go_up_are_named() -> None:
    up = [float(number) for number in range(240)]
    assert wrong(threads=up, keys=up) == ["threads grow", "keys grow"]


def test_a_process_that_ended_is_told() -> None:
    row = judged(TIMES_S, {"user worker": {"rss_mib": FLAT[:100], "threads": [70.0] * 100}})[0]
    assert row["wrong"] == ["ended"]


def test_one_row_a_process() -> None:
    rows = judged(TIMES_S, {"demo": {"rss_mib": FLAT, "threads": [150.0] * 240, "queue": [3.0, 0.0] * 120}})
    line = markdown(rows).splitlines()[-1]
    assert line.startswith("| demo | 80 → 81 | +0.01 ± 0.08 ")
    assert line.endswith("| 150 → 150 | – | 3 → 0 | – | – | – |")


def test_queues_of_all_sinks_are_added_up() -> None:
    text = (
        "# TYPE connector_sink_queue gauge\n"
        'connector_sink_queue{sink="rabbitmq"} 3.0\nconnector_sink_queue{sink="redis"} 4.0\n'
        'connector_sink_connected{sink="redis"} 1.0\n'
    )
    assert queued(text) == 7.0
