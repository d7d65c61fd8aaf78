from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.ports import Gate
from connector.streams.pacing import BACKOFF_CAP_S, Ladder, Window, backoff_s, blocks, forgiven

MINUTE = 60_000
HOUR = 60 * MINUTE


@given(st.integers(0, 10_000), st.floats(0, 0.999), st.floats(0, 500))
def test_backoff_stays_between_its_floor_and_its_cap(failures: int, uniform: float, floor_s: float) -> None:
    wait_s = backoff_s(failures, uniform, floor_s)
    assert floor_s <= wait_s <= max(floor_s, BACKOFF_CAP_S)


@pytest.mark.parametrize(
    ("failures", "live_s", "left"), [(6, 0.0, 6), (6, 4.9, 6), (6, 5.0, 5), (6, 20.0, 2), (1, 20.0, 0), (20, 30.0, 0)]
)
def test_time_live_makes_up_for_failed_attempts(failures: int, live_s: float, left: int) -> None:
    assert forgiven(failures, live_s) == left


def test_backoff_doubles_its_ceiling() -> None:
    assert [backoff_s(n, 1.0) for n in range(8)] == [0.5, 1, 2, 4, 8, 16, 32, 60]


def _climb(ladder: Ladder, times: int, digest: str = "d") -> list[int]:
    gate: Gate | None = None
    now, cooldowns = 1_000_000, []
    for _ in range(times):
        gate = ladder.reject(gate, digest, "bad key", now)
        cooldowns.append(gate.cooldown_ms)
        now = gate.until_ms + 1
    return cooldowns


def test_the_ladder_is_30m_1h_2h_4h_8h_16h_24h_24h() -> None:
    ladder = Ladder(30 * MINUTE, 24 * HOUR)
    assert _climb(ladder, 9) == [
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        16 * HOUR,
        24 * HOUR,
        24 * HOUR,
        24 * HOUR,
    ]


def test_a_thousand_strikes_do_not_overflow() -> None:
    assert _climb(Ladder(MINUTE, 24 * HOUR), 1000)[-1] == 24 * HOUR


def test_the_ladder_starts_over_after_a_long_quiet_time() -> None:
    ladder = Ladder(30 * MINUTE, 24 * HOUR)
    first = ladder.reject(None, "d", "r", 0)
    second = ladder.reject(first, "d", "r", first.last_reject_ms + 2 * first.cooldown_ms)
    assert second.strikes == 1
    late = ladder.reject(second, "d", "r", second.last_reject_ms + 2 * second.cooldown_ms + 1)
    assert (late.strikes, late.cooldown_ms) == (0, 30 * MINUTE)


def test_other_key_material_starts_at_the_base_and_is_not_blocked() -> None:
    ladder = Ladder(30 * MINUTE, 24 * HOUR)
    gate = ladder.reject(ladder.reject(None, "old", "r", 0), "old", "r", 1)
    assert ladder.reject(gate, "new", "r", 2).strikes == 0
    assert blocks(gate, "old", gate.until_ms - 1)
    assert not blocks(gate, "new", gate.until_ms - 1)
    assert not blocks(gate, "old", gate.until_ms)
    assert not blocks(None, "old", 0)


@pytest.mark.parametrize(
    ("times", "trips"), [([0, 1, 2, 3], [False, False, False, True]), ([0, 1, 2, 700_000], [False] * 4)]
)
def test_a_window_trips_at_its_threshold_within_its_time(times: list[int], trips: list[bool]) -> None:
    window = Window(4, 600_000)
    assert [window.add(time) for time in times] == trips


def test_a_window_starts_anew_after_it_tripped() -> None:
    window = Window(2, 1000)
    assert [window.add(time) for time in (0, 1, 2, 3)] == [False, True, False, True]
