"""The sliding window against a log of every single grant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.window import AHEAD_MS, SLICES, SlidingWindow, ahead_ms, period_ms, slice_ms

NOW = 1_790_000_000_000
PERIODS = st.sampled_from([1, 2, 49, 50, 51, 99, 1000, 1100, 7300, 60_000, 300_000])


def take(window: SlidingWindow, cost: int, count: int, period: int, now: int) -> int:
    wait = window.wait(cost, count, period, now)
    if wait == 0:
        window.add(cost, period, now)
    return wait


@given(
    count=st.integers(1, 400),
    period=PERIODS,
    steps=st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 60)), max_size=120),
)
def test_it_gives_what_the_log_gives_or_a_slice_later(count: int, period: int, steps: list[tuple[float, int]]) -> None:
    window, now = SlidingWindow(), NOW
    granted: list[tuple[int, int]] = []

    def spent(span: int) -> int:
        return sum(cost for at, cost in granted if at > now - span)

    for pause, asked in steps:
        now += int(pause * period)
        cost = min(asked, count)
        if take(window, cost, count, period, now) == 0:
            granted.append((now, cost))
            assert spent(period) <= count
        else:
            assert spent(period + slice_ms(period)) + cost > count


@given(
    period=PERIODS,
    pauses=st.lists(st.one_of(st.integers(0, 3), st.integers(0, 7000)), min_size=1, max_size=150),
    period_before=PERIODS,
)
def test_it_remembers_few_slices(period: int, pauses: list[int], period_before: int) -> None:
    window, now = SlidingWindow(), NOW
    for i, pause in enumerate(pauses * 5):
        now += pause
        used = period_before if i < len(pauses) else period
        assert take(window, 1, 1_000_000, used, now) == 0
        assert len(window._slices) <= (2 if period != period_before else 1) * (SLICES + 1)


def test_it_fills_all_its_slices_under_a_steady_load() -> None:
    window = SlidingWindow()
    for at in range(20_000):
        window.add(1, 1000, NOW + at)

    assert len(window._slices) == SLICES
    assert window.wait(1, 1000, 1000, NOW + 20_000) == 19
    assert window.wait(1, 2000, 1000, NOW + 20_000) == 0


def test_a_steady_load_at_the_limit_is_given_all_of_it() -> None:
    """What leaves together is granted together again, so that the width of the slices costs nothing in the long run."""
    window, granted = SlidingWindow(), 0
    for at in range(100_000):
        if take(window, 1, 600, 1000, NOW + at) == 0:
            granted += 1
            while take(window, 1, 600, 1000, NOW + at) == 0:
                granted += 1

    assert granted == 60_000


@given(
    steps=st.lists(st.tuples(st.integers(-400_000, 400_000), st.integers(0, 5), PERIODS), min_size=1, max_size=40),
    cost=st.integers(1, 5),
    period=PERIODS,
)
def test_no_wait_lasts_longer_than_the_period_and_a_clock_that_is_ahead(
    steps: list[tuple[int, int, int]], cost: int, period: int
) -> None:
    window, now = SlidingWindow(), NOW
    for jump, asked, used in steps:
        now += jump
        take(window, asked, 5, used, now)

    wait = window.wait(cost, 5, period, now)

    assert 0 <= wait <= period + ahead_ms(period)
    assert window.wait(cost, 5, period, now + wait) == 0


def test_clocks_may_differ_by_some_seconds_even_where_periods_are_short() -> None:
    window = SlidingWindow()
    assert take(window, 1, 1, 100, NOW + AHEAD_MS) == 0
    assert take(window, 1, 1, 100, NOW) == AHEAD_MS + 100
    assert take(window, 1, 1, 100, NOW - 1) == 100


@pytest.mark.parametrize(
    ("cost", "count", "per_s"), [(11, 10, 1.0), (-1, 10, 1.0), (0, 0, 1.0), (1, 10, 0.0), (1, 10, 0.0004)]
)
def test_numbers_that_would_wait_for_ever_are_refused(cost: int, count: int, per_s: float) -> None:
    with pytest.raises(ValueError, match=f"can't give {cost}"):
        period_ms(cost, count, per_s)
