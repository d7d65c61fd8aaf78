"""The leak check of the campaign: pools that fill up are no leak, what goes on growing is one."""

from __future__ import annotations

from harness.campaign.measure import Ceiling, Level, leaks, pooled


def test_pools_that_had_not_filled_up_at_first_are_no_leak() -> None:
    before = Ceiling(threads=58, files=40, rss_mib=100.0)
    assert leaks(before, [Level(1, 76, 40, 100.0, 8)], venues=2) == []


def test_more_threads_than_all_pools_together_explain_are_a_leak() -> None:
    before = Ceiling(threads=58, files=40, rss_mib=100.0)
    assert leaks(before, [Level(1, 59 + pooled(2), 40, 100.0, 8)], venues=2) == [
        f"process 1: {59 + pooled(2)} threads, before 58"
    ]
