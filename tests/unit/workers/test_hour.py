"""The last hour of each process is kept by it, bounded, and added up on the page."""

from __future__ import annotations

from connector.core.metrics import Metrics, Minute, hours
from tests.clocks import Standing
from workers.hour import MINUTES, Hour, hour_lines, summed


def playing() -> tuple[Hour, Metrics, Standing]:
    metrics, clock = Metrics(strict=True), Standing(now=0.0)
    return Hour(clock, metrics), metrics, clock


def test_a_minute_has_its_last_streams_and_all_its_events() -> None:
    hour, metrics, clock = playing()
    for live, waiting in ((3, 0), (2, 1)):
        metrics.count("events_published_total", 5, sink="redis", kind="user")
        rows = {"live": live, "waiting": waiting}
        metrics.replace("streams", [({"state": name, "exchange": "okx"}, count) for name, count in rows.items()])
        hour.note()
        clock.now += 30
    metrics.count("events_published_total", 1, sink="redis", kind="user")
    assert hour.note() == [Minute(0, 2, 1, 10), Minute(1, 2, 1, 1)]


def test_two_engines_in_one_process_are_asked_themselves() -> None:
    """In `connector run` the gauges of one engine take the place of the other's."""
    metrics = Metrics(strict=True)
    metrics.replace("streams", [({"state": "live", "exchange": "okx"}, 1)])
    hour = Hour(Standing(now=0.0), metrics, lambda: {"live": 20, "draining": 1, "opening": 2, "stopped": 9})
    assert hour.note() == [Minute(0, 21, 2, 0)]


def test_it_keeps_an_hour_and_no_more() -> None:
    hour, _, clock = playing()
    for _ in range(MINUTES * 3):
        kept = hour.note()
        clock.now += 60
    assert len(kept) == MINUTES


def test_processes_are_added_up_by_minute_and_what_is_old_is_left_out() -> None:
    dumps = [
        Metrics().dump([Minute(1, 9, 9, 9), Minute(100, 2, 1, 5)]),
        b"broken",
        Metrics().dump([Minute(100, 3, 0, 7)]),
    ]
    assert summed(hours(dumps), 100 * 60_000) == [Minute(100, 5, 1, 12)]


def test_accounts_that_nobody_runs_are_counted_once_and_as_not_live() -> None:
    """Every process tells of the same ones; the line said 0 while 212 accounts were run by nobody."""
    hour, metrics, _ = playing()
    metrics.gauge("streams_unowned", 212)
    assert hour.note() == [Minute(0, 0, 0, 0, 212)]
    both = summed([[Minute(1, 2, 1, 5, 212)], [Minute(1, 3, 0, 7, 212)]], 60_000)
    assert both == [Minute(1, 5, 1, 12, 212)]
    assert 'aria-label="not live: 213 now' in hour_lines([*both, Minute(2, 5, 1, 12, 212)])


def test_the_lines_say_in_words_what_they_show() -> None:
    drawn = hour_lines([Minute(1, 2, 1, 5), Minute(2, 3, 0, 9)])
    assert drawn.count("<svg") == 3
    assert 'aria-label="not live: 0 now, 0 to 1 in the last hour"' in drawn
    assert hour_lines([Minute(1, 2, 1, 5)]) == ""


def test_figures_of_a_process_of_before_have_no_hour() -> None:
    assert hours([b'{"values":[],"histograms":[]}']) == [[]]
