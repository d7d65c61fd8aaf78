"""Another session, another process: rotation and hand-over as the supervisor sees them."""

from __future__ import annotations

import msgspec
import pytest

from connector.core.messages import InfoMessage
from connector.streams.attempts import JOIN_LIMIT_S, ROTATE_RETRY_S
from connector.streams.lifecycle import StreamState
from connector.streams.pacing import LINGER_S
from exchanges._adapter import Emit, GapReport, TickerSubscription, UserSubscription
from tests.unit.connector.streams.fakes import (
    Bench,
    delta,
    rejected,
    ticker,
    transient,
    user,
)
from tests.unit.connector.streams.test_tracker import report

GAP = GapReport(from_ms=1, to_ms=2)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- rotation ---


def test_rotation_makes_before_it_breaks_and_tells_nobody(bench: Bench) -> None:
    old = bench.open_live()
    bench.rotate()
    assert bench.state_of() is StreamState.ROTATING
    new = bench.last
    assert new is not old
    assert not old.closed
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is None
    bench.live(session=new)
    assert bench.state_of() is StreamState.LIVE
    assert not old.closed, "what was on its way over it comes nowhere else"
    bench.advance(LINGER_S)
    assert old.closed
    assert not new.closed
    assert bench.sink.infos() == 1
    assert bench.sink.services("streamGap") == []


@pytest.mark.parametrize("how", ["lost", "refused", "late"])
def test_when_the_replacement_fails_the_old_session_goes_on_and_it_is_tried_again(bench: Bench, how: str) -> None:
    old = bench.open_live()
    bench.rotate()
    new = bench.last
    if how == "lost":
        bench.lost(new)
    elif how == "refused":
        bench.refused(transient(), session=new)
    else:
        bench.advance(JOIN_LIMIT_S + 1)
    assert bench.state_of() is StreamState.LIVE
    assert not old.closed
    assert new.closed
    bench.advance(ROTATE_RETRY_S + 1)
    assert bench.state_of() is StreamState.ROTATING
    bench.live(session=bench.last)
    bench.advance(LINGER_S)
    assert old.closed
    assert bench.sink.infos() == 1


def test_a_close_right_after_a_rotation_ends_both_sessions(bench: Bench) -> None:
    bench.open_live()
    bench.rotate()
    bench.live(session=bench.last)
    bench.unwant()
    assert bench.placement.open == []


def test_a_replaced_session_that_is_lost_while_it_lingers_is_nobodys_loss(bench: Bench) -> None:
    old = bench.open_live()
    bench.rotate()
    bench.live(session=bench.last)
    bench.lost(old)
    assert bench.state_of() is StreamState.LIVE
    bench.advance(LINGER_S)
    assert [session.name for session in bench.placement.open] == ["s2"]


def test_the_old_session_lost_during_a_rotation_is_a_gap(bench: Bench) -> None:
    old = bench.open_live()
    bench.rotate()
    new = bench.last
    old.last_byte_ms = 7_777_777
    bench.lost(old)
    assert bench.state_of() is StreamState.WAITING
    assert new.closed
    bench.advance(1)
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is not None
    bench.live(gap=GAP)
    assert bench.sink.infos() == 2


def test_a_key_refused_during_a_rotation_ends_both_sessions(bench: Bench) -> None:
    old = bench.open_live()
    bench.rotate()
    bench.refused(rejected(), session=bench.last)
    assert bench.state_of() is StreamState.COOLING
    assert old.closed
    assert bench.placement.open == []


def test_a_shared_session_rotates_with_everybody_on_it() -> None:
    bench = Bench(room=10)
    for number in range(4):
        bench.want(user(f"u{number}"))
    for number in range(3):
        bench.live(f"u{number}")
    old = bench.last
    bench.rotate(old)
    new = bench.last
    for number in range(3):
        bench.live(f"u{number}", new)
    assert not old.closed, "u3 is still joining on it"
    bench.live("u3", old)
    assert bench.state_of("u3") is StreamState.ROTATING, "who gets live on a session that ends moves on at once"
    bench.live("u3", new)
    bench.advance(LINGER_S)
    assert old.closed
    assert new.streams == {"u0", "u1", "u2", "u3"}


def test_a_rotation_that_can_not_start_leaves_the_stream_live(bench: Bench) -> None:
    old = bench.open_live()
    bench.placement.fail = RuntimeError("no adapter")
    bench.rotate()
    assert bench.state_of() is StreamState.LIVE
    assert not old.closed


def test_other_symbols_come_on_a_new_session_before_the_old_one_ends(bench: Bench) -> None:
    old = bench.open_live(ticker(symbols=("A", "B")))
    bench.want(ticker(symbols=("A", "B", "C")))
    assert not old.closed
    new = bench.last
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, TickerSubscription)
    assert subscription.symbols == ("A", "B", "C")
    bench.want(ticker(symbols=("A", "B", "C", "D")))
    assert new.closed, "outdated before it was live"
    bench.live("ticker:bybit#0")
    bench.advance(LINGER_S)
    assert old.closed
    assert bench.state_of("ticker:bybit#0") is StreamState.LIVE
    assert bench.sink.messages == [] or all(not isinstance(message, InfoMessage) for message in bench.sink.messages)


# --- hand-over ---


def test_a_held_stream_publishes_nothing_until_it_is_released(bench: Bench) -> None:
    bench.want(hold=True)
    bench.live(gap=GAP)
    bench.pipeline.account(Emit("u1", report("NEW")), 3.0)
    assert bench.sink.messages == []
    assert bench.observed.live == ["u1"]
    bench.supervisor.let_through("u1", None)
    bench.run()
    assert len(bench.sink.account()) == 1
    assert bench.sink.account()[0].received_mono == 3.0
    assert bench.sink.infos() == 0, "nothing was missed, so no bot has to look"


def test_a_release_by_a_dead_owner_tells_the_bots_and_drops_the_deltas(bench: Bench) -> None:
    bench.want(hold=True)
    bench.live()
    bench.pipeline.account(Emit("u1", report("NEW")), 3.0)
    bench.pipeline.account(Emit("u1", delta(1)), 3.0)
    bench.supervisor.let_through("u1", None, clean=False)
    bench.run()
    assert [message.event_type for message in bench.sink.account()] == ["executionReport"]
    assert bench.sink.infos() == 1


def test_a_held_stream_that_reconnected_tells_the_bots_when_it_is_released(bench: Bench) -> None:
    bench.want(hold=True)
    bench.live()
    bench.lost()
    bench.advance(1)
    bench.live(gap=GAP)
    assert bench.sink.infos() == 0
    bench.supervisor.let_through("u1", None)
    bench.run()
    assert bench.sink.infos() == 1


def test_a_hand_over_from_a_dead_connection_tells_the_gap_and_the_bots(bench: Bench) -> None:
    """Found by `make chaos`: a paper account was handed over from a half-open connection, and nobody heard of the gap."""
    bench.want(hold=True)
    bench.live(gap=GAP)
    bench.supervisor.let_through("u1", None, seamless=False)
    bench.run()
    assert len(bench.sink.services("streamGap")) == 1
    assert bench.sink.infos() == 1


def test_a_seamless_hand_over_tells_no_gap(bench: Bench) -> None:
    bench.want(hold=True)
    bench.live(gap=GAP)
    bench.supervisor.let_through("u1", None)
    bench.run()
    assert bench.sink.services("streamGap") == []


def test_a_stream_is_alive_while_bytes_come_and_where_nobody_answers_pings(bench: Bench) -> None:
    session = bench.open_live()
    session.last_byte_ms = 5_000
    assert bench.supervisor.alive_since("u1", 5_000)
    assert not bench.supervisor.alive_since("u1", 5_001)
    session.limits = msgspec.structs.replace(session.limits, ping_interval_s=None)
    assert bench.supervisor.alive_since("u1", 5_001)
    bench.lost(session)
    assert not bench.supervisor.alive_since("u1", 0)


def test_a_release_before_it_is_live_announces_when_it_is(bench: Bench) -> None:
    bench.want(hold=True)
    bench.supervisor.let_through("u1", None)
    bench.run()
    bench.live()
    assert bench.sink.infos() == 1


def test_a_draining_stream_stays_live_and_is_not_retried(bench: Bench) -> None:
    session = bench.open_live()
    bench.supervisor.drain("u1")
    bench.run()
    assert bench.state_of() is StreamState.DRAINING
    bench.pipeline.account(Emit("u1", report("NEW")), 1.0)
    assert len(bench.sink.account()) == 1
    bench.lost(session)
    assert bench.state_of() is StreamState.STOPPED
    bench.advance(100)
    assert len(bench.placement.made) == 1


def test_a_draining_stream_that_nobody_takes_goes_on(bench: Bench) -> None:
    session = bench.open_live()
    bench.supervisor.drain("u1")
    bench.supervisor.keep("u1")
    bench.run()
    assert bench.state_of() is StreamState.LIVE
    assert not session.closed


def test_a_draining_stream_that_was_lost_opens_again_when_nobody_takes_it(bench: Bench) -> None:
    session = bench.open_live()
    session.last_byte_ms = 9_000_000
    bench.supervisor.drain("u1")
    bench.run()
    bench.lost(session)
    bench.supervisor.keep("u1")
    bench.run()
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is not None
    bench.live(gap=GAP)
    assert bench.sink.infos() == 2


def test_draining_ends_a_rotation(bench: Bench) -> None:
    old = bench.open_live()
    bench.rotate()
    new = bench.last
    bench.supervisor.drain("u1")
    bench.run()
    assert new.closed
    assert not old.closed
    assert bench.state_of() is StreamState.DRAINING
