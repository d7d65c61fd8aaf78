"""When it pays to wait for company: never for what comes alone."""

from __future__ import annotations

from connector.core.pace import Pace


def run(pace: Pace, began: float, per_s: float, seconds: float) -> float:
    """One after the other, evenly; when the last came."""
    mono = began
    for number in range(int(per_s * seconds)):
        mono = began + number / per_s
        pace.came(1, mono)
    return mono


def test_what_comes_alone_or_slowly_is_never_busy() -> None:
    pace = Pace(300.0)
    pace.came(1, 1_000.0)
    assert not pace.busy(1_000.0)
    assert not pace.busy(run(pace, 1_001.0, 250.0, 2.0))


def test_a_high_rate_is_busy_within_two_windows_and_stays_so() -> None:
    pace = Pace(300.0)
    last = run(pace, 1_000.0, 400.0, 0.25)
    assert pace.busy(last)
    assert pace.busy(run(pace, last, 400.0, 3.0))


def test_the_first_after_a_pause_does_not_wait_for_those_before_it() -> None:
    pace = Pace(300.0)
    last = run(pace, 1_000.0, 2_000.0, 1.0)
    assert pace.busy(last)
    assert not pace.busy(last + 0.5)
    pace.came(1, last + 60.0)
    assert not pace.busy(last + 60.0)
