"""A clock that is off costs no gap: its start and its end are the venue's times, and the difference is told."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from connector.core.metrics import METRICS
from connector.streams.gaps import CLOCK_OFF, measured_gap
from connector.streams.positions import encode_position
from connector.streams.tracker import Position
from connector.streams.venue_time import KEPT_S, VenueTime
from exchanges._adapter import GapReport, UserSubscription
from tests.clocks import Standing
from tests.unit.connector.streams.fakes import Bench


class Ours(Standing):
    """A wall clock that somebody may set."""

    step_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.step_ms


@pytest.fixture
def clock() -> Ours:
    return Ours(1_000.0, 1_700_000_000_000)


@pytest.fixture
def time(clock: Ours) -> VenueTime:
    return VenueTime(clock)


def date(ms: int) -> dict[str, str]:
    return {"date": formatdate(ms / 1000, usegmt=True)}


def test_a_clock_that_is_ahead_is_told_once_with_the_figure(
    clock: Ours, time: VenueTime, caplog: pytest.LogCaptureFixture
) -> None:
    clock.step_ms = 120_000
    for _ in range(3):
        time.answered("bybit", date(clock.wall_ms() - 120_000))
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert METRICS.value("clock_off_seconds", venue="bybit") == pytest.approx(120, abs=1)
    assert time.now_ms("bybit") == pytest.approx(clock.wall_ms() - 120_000, abs=1_000)
    assert time.now_ms("okx") == clock.wall_ms(), "nothing is known of its clock"
    clock.step_ms = 0
    time.answered("bybit", date(clock.wall_ms()))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_step_of_our_clock_moves_no_time_of_the_venue(clock: Ours, time: VenueTime) -> None:
    time.answered("bybit", date(clock.wall_ms()))
    before = clock.wall_ms()
    seen = clock.mono()
    clock.now += 10
    clock.step_ms = -700_000
    assert time.now_ms("bybit") == pytest.approx(before + 10_000, abs=1_000)
    assert time.at("bybit", seen) == pytest.approx(before, abs=1_000)


def test_clocks_that_agree_are_ours_to_the_millisecond(clock: Ours, time: VenueTime) -> None:
    time.answered("bybit", date(clock.wall_ms() + 1_000))
    assert time.now_ms("bybit") == clock.wall_ms()


@pytest.mark.parametrize(
    "headers", [{}, {"date": "yesterday"}, {"date": ""}, date(1) | {"age": "30"}, {"date": "Mon, 30 Nov 2026 06:00:00"}]
)
def test_what_tells_no_time_changes_none(clock: Ours, time: VenueTime, headers: dict[str, str]) -> None:
    time.answered("bybit", headers)
    assert time.now_ms("bybit") == clock.wall_ms()


def test_a_measurement_is_forgotten(clock: Ours, time: VenueTime) -> None:
    time.offset("bybit", 50_000)
    assert time.now_ms("bybit") == clock.wall_ms() + 50_000
    clock.now += KEPT_S
    assert time.now_ms("bybit") == clock.wall_ms()


def test_a_clock_that_was_set_right_is_told_without_a_call(
    clock: Ours, time: VenueTime, caplog: pytest.LogCaptureFixture
) -> None:
    """The alarm stood until the next REST answer, which may be hours away."""
    time.offset("bybit", 0)
    clock.step_ms = -30_000
    time.look()
    assert METRICS.value("clock_off_seconds", venue="bybit") == pytest.approx(-30, abs=1)
    clock.step_ms = 0
    time.look()
    assert METRICS.value("clock_off_seconds", venue="bybit") == pytest.approx(0, abs=1)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_the_figure_goes_with_the_measurement(clock: Ours, time: VenueTime) -> None:
    time.offset("bybit", -30_000)
    clock.now += KEPT_S
    time.look()
    assert not METRICS.rows("clock_off_seconds")


# --- gaps ---


def since(bench: Bench) -> int:
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is not None
    return subscription.resume.since_ms


def test_a_position_of_a_clock_that_was_ahead_does_not_shorten_the_gap(bench: Bench) -> None:
    """The former owner's lease ran out before this process began: so long it was certainly away."""
    ahead = encode_position(Position(live_until_ms=bench.clock.wall_ms() + 120_000))
    bench.want(position=ahead)
    assert since(bench) == bench.clock.wall_ms() - 8_000 - 5_000


def test_gaps_begin_by_the_clock_of_the_venue(bench: Bench) -> None:
    bench.placement.ahead_ms = -120_000
    session = bench.open_live()
    at = session.last_byte_ms
    bench.lost()
    bench.advance(60)
    assert since(bench) == at - 120_000 - 5_000


def test_the_end_of_a_gap_is_told_by_the_clock_of_the_venue(bench: Bench) -> None:
    bench.placement.ahead_ms = 120_000
    bench.want()
    bench.live(gap=GapReport(from_ms=100_000, to_ms=50_000))
    (told,) = bench.sink.services("streamGap")
    assert (told["streamGap"]["from"], told["streamGap"]["to"]) == (100_000, 170_000)


def test_a_gap_that_ends_before_it_begins_is_told_as_unknown() -> None:
    assert measured_gap(GapReport(from_ms=2, to_ms=1, missing=("fills",))) == GapReport(
        from_ms=0, to_ms=1, missing=("fills", CLOCK_OFF)
    )
    assert measured_gap(GapReport(from_ms=1, to_ms=2)) == GapReport(from_ms=1, to_ms=2)


@pytest.fixture
def bench() -> Bench:
    return Bench()
