"""A wall clock that jumps is told."""

from __future__ import annotations

import pytest

from connector.streams.clock import ClockWatch


class Clock:
    def __init__(self) -> None:
        self.seconds, self.wall = 100.0, 1_000_000

    def mono(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, 2_500])
def test_a_jump_is_told_once_with_its_size(jump_ms: int) -> None:
    clock = Clock()
    watch = ClockWatch(clock)
    clock.seconds, clock.wall = 101.0, clock.wall + 1_000
    assert watch.jumped_ms() == 0
    clock.wall += jump_ms
    assert watch.jumped_ms() == jump_ms
    assert watch.jumped_ms() == 0


def test_a_slewed_clock_is_no_jump() -> None:
    clock = Clock()
    watch = ClockWatch(clock)
    clock.seconds, clock.wall = 101.0, clock.wall + 1_400
    assert watch.jumped_ms() == 0
