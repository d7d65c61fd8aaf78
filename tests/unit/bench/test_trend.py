"""A slope comes with its error, and only what is surely above the limit is one."""

from __future__ import annotations

import random

import pytest

from bench.trend import Slope, second_half, slope, steady

MINUTES = [60.0 * number for number in range(120)]


def test_a_straight_line_has_no_error() -> None:
    found = slope(MINUTES, [100 + 3.0 * seconds / 3600 for seconds in MINUTES])
    assert found is not None
    assert found.per_hour == pytest.approx(3.0)
    assert found.error == pytest.approx(0.0, abs=1e-9)


def test_the_error_is_that_of_the_text_books() -> None:
    # The line is 0.94 + 0.84 x; beside it are 0.06, 0.22, -0.62 and 0.34, whose squares sum up to 0.552.
    found = slope([0.0, 3_600.0, 7_200.0, 10_800.0], [1.0, 2.0, 2.0, 3.8])
    assert found is not None
    assert found.per_hour == pytest.approx(0.84)
    assert found.error == pytest.approx((0.552 / 2 / 5) ** 0.5)


def test_noise_alone_is_not_growth() -> None:
    chance = random.Random(7)
    found = slope(MINUTES, [85 + chance.gauss(0, 0.5) for _ in MINUTES])
    assert found is not None
    assert not found.above(1.0)
    assert abs(found.per_hour) < 3 * found.error + 0.01


@pytest.mark.parametrize(("per_hour", "error", "above"), [(3.1, 1.0, True), (2.9, 1.0, False), (0.9, 0.0, False)])
def test_growth_must_stand_out_by_two_errors(per_hour: float, error: float, above: bool) -> None:
    assert Slope(per_hour, error).above(1.0) is above


def test_too_little_says_nothing() -> None:
    assert slope([0.0, 60.0], [1.0, 2.0]) is None
    assert slope([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]) is None
    assert not steady([1.0, 2.0, 3.0])


def test_the_second_half_leaves_out_the_warm_up() -> None:
    assert second_half([1.0, 2.0, 3.0, 4.0, 5.0]) == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("values", "grows"),
    [
        ([70, 71, 72, 73, 74, 75, 76, 77], True),
        ([70, 70, 71, 70, 70, 71, 70, 70], False),
        ([0, 900, 0, 0, 5, 0, 0, 2], False),
        ([9, 8, 70, 70, 71, 71, 72, 72, 73, 73], True),
        ([70, 71, 72, 73, 74, 75, 74, 74], False),
    ],
)
def test_a_count_grows_when_it_goes_up_all_the_way(values: list[float], grows: bool) -> None:
    assert steady(values) is grows
