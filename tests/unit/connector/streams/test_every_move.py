"""Every row of the lifecycle is driven through the supervisor: what sessions say late or twice is no bug at any moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from connector.streams.lifecycle import MOVES, Signal, StreamState
from tests.unit.connector.streams.fakes import BASE_MS, Bench, rejected, user

_S = StreamState


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    """The loop lives through an error of a job and logs it: here none is logged."""
    yield Bench()
    assert [record.getMessage() for record in caplog.get_records("call") if record.exc_info] == []


def live(bench: Bench) -> None:
    bench.open_live()


def rotating(bench: Bench) -> None:
    bench.open_live()
    bench.rotate()


def draining(bench: Bench) -> None:
    bench.open_live()
    bench.supervisor.drain("u1")
    bench.run()


def cooling(bench: Bench) -> None:
    bench.open_live()
    bench.refused(rejected())


STATES: dict[StreamState, Callable[[Bench], None]] = {
    _S.LIVE: live,
    _S.ROTATING: rotating,
    _S.DRAINING: draining,
    _S.COOLING: cooling,
}


def drain(bench: Bench) -> None:
    bench.supervisor.drain("u1")
    bench.run()


def live_again(bench: Bench) -> None:
    """From the session that the stream is on: it subscribed anew, or repaired a gap."""
    bench.live("u1", bench.placement.made[0])


def rotate_again(bench: Bench) -> None:
    bench.rotate(bench.placement.made[0])


def refuse_again(bench: Bench) -> None:
    bench.refused(rejected(), "u1", bench.placement.made[0])


def lose_again(bench: Bench) -> None:
    bench.lost(bench.placement.made[0])


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (_S.LIVE, live_again, _S.LIVE),
        (_S.LIVE, drain, _S.DRAINING),
        (_S.LIVE, lose_again, _S.WAITING),
        (_S.LIVE, refuse_again, _S.COOLING),
        (_S.ROTATING, live_again, _S.ROTATING),
        (_S.ROTATING, rotate_again, _S.ROTATING),
        (_S.ROTATING, drain, _S.DRAINING),
        (_S.DRAINING, live_again, _S.DRAINING),
        (_S.DRAINING, rotate_again, _S.DRAINING),
        (_S.DRAINING, drain, _S.DRAINING),
        (_S.COOLING, refuse_again, _S.COOLING),
        (_S.COOLING, lose_again, _S.COOLING),
    ],
)
def test_what_comes_late_or_twice_is_no_bug(
    bench: Bench, state: StreamState, event: Callable[[Bench], None], after: StreamState
) -> None:
    STATES[state](bench)
    assert bench.state_of() is state
    event(bench)
    assert bench.state_of() is after


@pytest.mark.parametrize("event", [refuse_again, lose_again])
def test_a_stream_that_is_being_passed_on_ends_with_its_session(bench: Bench, event: Callable[[Bench], None]) -> None:
    """The process that takes it over repairs the gap; this one opens no session for it any more."""
    draining(bench)
    event(bench)
    assert bench.state_of() in {None, _S.STOPPED}
    bench.advance(BASE_MS / 1000 + 120)
    assert len(bench.placement.made) == 1


def test_a_stream_whose_taker_died_goes_on(bench: Bench) -> None:
    draining(bench)
    bench.supervisor.keep("u1")
    bench.run()
    assert bench.state_of() is _S.LIVE
    bench.lost()
    assert bench.state_of() is _S.WAITING


def test_a_stream_is_passed_on_in_the_middle_of_its_rotation(bench: Bench) -> None:
    rotating(bench)
    drain(bench)
    assert bench.state_of() is _S.DRAINING
    bench.supervisor.keep("u1")
    bench.run()
    assert bench.state_of() is _S.LIVE


def test_a_rejected_key_that_is_replaced_is_tried_at_once(bench: Bench) -> None:
    cooling(bench)
    bench.want(user(key="2", generation=1))
    assert bench.state_of() in {_S.WAITING, _S.OPENING}


@pytest.mark.parametrize("state", [*STATES])
def test_a_stream_that_nobody_wants_ends_in_every_state(bench: Bench, state: StreamState) -> None:
    STATES[state](bench)
    bench.unwant()
    assert bench.state_of() is None
    assert MOVES[state, Signal.STOP] is _S.STOPPED
