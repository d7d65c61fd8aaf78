"""Streams of one process: opened, lost, opened again, restarted, closed, and the end of all."""

from __future__ import annotations

import threading

import msgspec
import pytest

from connector.streams.attempts import JOIN_LIMIT_S, REQUEST_RETRY_S
from connector.streams.lifecycle import StreamState
from exchanges._adapter import Emit, Fail, FailKind, GapReport, UserSubscription
from tests.unit.connector.streams.fakes import (
    Bench,
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


# --- open, lose, open again ---


def test_the_first_open_leads_to_a_live_stream_and_one_info(bench: Bench) -> None:
    bench.want()
    assert bench.state_of() is StreamState.OPENING
    bench.connected()
    assert bench.state_of() is StreamState.JOINING
    assert bench.sink.infos() == 0
    bench.live()
    assert bench.state_of() is StreamState.LIVE
    assert bench.sink.infos() == 1
    assert bench.observed.live == ["u1"]


def test_wanting_it_again_changes_nothing(bench: Bench) -> None:
    bench.open_live()
    for _ in range(5):
        bench.want()
    assert len(bench.placement.made) == 1
    assert bench.sink.infos() == 1


def test_a_first_subscription_has_nothing_to_resume_and_a_second_one_has(bench: Bench) -> None:
    session = bench.open_live()
    session.last_byte_ms = 5_000_000
    bench.pipeline.account(Emit("u1", report("NEW")), 1.0)
    bench.lost()
    bench.advance(1)
    first, second = (subscription for _, _, subscription, _ in bench.placement.joins)
    assert isinstance(first, UserSubscription)
    assert first.resume is None
    assert isinstance(second, UserSubscription)
    assert second.resume is not None
    assert second.resume.since_ms == 5_000_000 - 5_000
    assert [order.order_id for order in second.resume.orders] == ["7"]


def test_a_lost_stream_comes_back_and_says_so_once_after_the_repair(bench: Bench) -> None:
    bench.open_live()
    bench.lost()
    assert bench.state_of() is StreamState.WAITING
    bench.advance(1)
    bench.connected()
    assert bench.sink.infos() == 1
    bench.live(gap=GAP)
    assert bench.sink.infos() == 2
    bench.live()  # a second confirmation of the same connection
    gaps = bench.sink.services("streamGap")
    assert [gap["streamGap"]["stream"] for gap in gaps] == ["u1"]


def test_a_gap_that_is_not_repaired_yet_keeps_its_start_over_failed_attempts(bench: Bench) -> None:
    session = bench.open_live()
    session.last_byte_ms = 1_234_567
    bench.lost()
    for _ in range(3):
        bench.advance(60)
        bench.connected()
        bench.lost()
    bench.advance(60)
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.resume is not None
    assert subscription.resume.since_ms == 1_234_567 - 5_000


def test_the_backoff_grows_and_starts_anew_after_a_healthy_time(bench: Bench) -> None:
    bench.chance.always = 0.999
    bench.want()
    waits = []
    for _ in range(9):
        before = bench.clock.seconds
        bench.lost()
        while bench.state_of() is StreamState.WAITING:
            bench.advance(0.25)
        waits.append(bench.clock.seconds - before)
    assert waits == sorted(waits)
    assert waits[0] <= 0.75
    assert 55 < waits[-1] <= 60.25
    bench.live()
    bench.advance(31)
    bench.lost()
    bench.advance(0.75)
    assert bench.state_of() is StreamState.OPENING


def test_an_account_that_is_cut_every_few_seconds_is_back_at_once_each_time(bench: Bench) -> None:
    """Its pauses grew up to a minute, as if the venue had refused it, although it was live in between."""
    bench.chance.always = 0.999
    bench.want()
    for _ in range(12):
        bench.live()
        bench.advance(6)
        bench.lost()
        bench.advance(1.25)
        assert bench.state_of() is StreamState.OPENING


def test_a_venue_that_takes_connections_and_drops_them_at_once_is_asked_less_and_less_often(bench: Bench) -> None:
    bench.chance.always = 0.999
    bench.want()
    for _ in range(8):
        bench.live()
        bench.lost()
        before = bench.clock.seconds
        while bench.state_of() is StreamState.WAITING:
            bench.advance(0.25)
    assert 55 < bench.clock.seconds - before <= 60.25


def test_retry_after_is_a_floor(bench: Bench) -> None:
    bench.want()
    bench.lost(fail=Fail(kind=FailKind.RATE_LIMITED, reason="429", retry_after_s=90.0))
    bench.advance(89)
    assert bench.state_of() is StreamState.WAITING
    bench.advance(2)
    assert bench.state_of() is StreamState.OPENING


def test_a_stream_that_never_gets_live_is_tried_again(bench: Bench) -> None:
    bench.want()
    bench.connected()
    bench.advance(2 * JOIN_LIMIT_S + 61)
    assert len(bench.placement.made) >= 2
    assert bench.placement.made[0].closed


@pytest.mark.parametrize("waits", ["dialling", "asking"])
def test_waiting_for_the_budget_of_a_venue_is_nobodys_fault(bench: Bench, waits: str) -> None:
    bench.want()
    setattr(bench.last, waits, True)
    bench.advance(10 * JOIN_LIMIT_S)
    assert bench.state_of() is StreamState.OPENING
    assert len(bench.placement.made) == 1
    setattr(bench.last, waits, False)
    bench.advance(JOIN_LIMIT_S + 61)
    assert len(bench.placement.made) >= 2


def test_another_venue_that_waits_for_its_budget_does_not_keep_a_dead_attempt_alive(bench: Bench) -> None:
    bench.want(user("u2"))
    bench.last.dialling = True
    bench.want(user("u1"))
    bench.advance(JOIN_LIMIT_S + 61)
    assert bench.placement.made[1].closed


def test_a_venue_that_takes_its_time_to_confirm_keeps_its_connection(bench: Bench) -> None:
    """The paper server asks again for an account that it does not know yet, on the same socket."""
    limits = bench.placement.limits
    bench.placement.limits = msgspec.structs.replace(limits, join_timeout_s=10 * 365 * 86_400.0)
    bench.want()
    bench.connected()
    bench.advance(3_600)
    assert bench.state_of() is StreamState.JOINING
    assert len(bench.placement.made) == 1


def test_a_session_that_can_not_be_made_does_not_leave_the_stream_stuck(bench: Bench) -> None:
    bench.placement.fail = KeyError("an option that the venue does not know")
    bench.want()
    assert bench.state_of() is StreamState.WAITING
    bench.placement.fail = None
    bench.advance(REQUEST_RETRY_S + 1)
    assert bench.state_of() is StreamState.OPENING


def test_missing_credentials_are_tried_again_later(bench: Bench) -> None:
    spec = user()
    bench.want(type(spec)(stream_id="u1", exchange="bybit", feed="user", digest="d"))
    assert bench.state_of() is StreamState.WAITING
    assert bench.placement.made == []
    bench.want(spec)
    assert bench.state_of() is StreamState.OPENING


def test_a_lost_shared_session_moves_all_its_streams_to_one_new_session() -> None:
    bench = Bench(room=10)
    for number in range(5):
        bench.want(user(f"u{number}"))
    for number in range(5):
        bench.live(f"u{number}")
    assert len(bench.placement.made) == 1
    bench.lost()
    bench.advance(1)
    assert len(bench.placement.made) == 2
    assert bench.last.streams == {f"u{number}" for number in range(5)}


# --- restarts, keys, closes ---


def test_a_forced_restart_keeps_the_stream_pauses_and_announces_once(bench: Bench) -> None:
    bench.open_live()
    bench.want(user(generation=1))
    assert bench.placement.made[0].closed
    assert bench.state_of() is StreamState.WAITING
    bench.advance(0.24)
    assert bench.state_of() is StreamState.WAITING
    bench.advance(0.02)
    assert bench.state_of() is StreamState.OPENING
    bench.want(user(generation=1))
    bench.live(gap=GAP)
    assert bench.sink.infos() == 2
    assert bench.sink.closed() == []
    assert bench.observed.closed == []


def test_new_key_material_reconnects_once(bench: Bench) -> None:
    bench.open_live()
    for _ in range(3):
        bench.want(user(key="2"))
    assert len(bench.placement.made) == 2
    bench.live()
    assert bench.sink.infos() == 2
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.credentials.digest == user(key="2").digest


def test_a_close_ends_everything_and_tells_it_once(bench: Bench) -> None:
    bench.open_live()
    bench.unwant(last_holder=True, announce=True)
    assert bench.last.closed
    assert bench.last.last_holder
    assert bench.sink.closed() == ["u1"]
    assert bench.observed.closed == ["u1"]
    assert bench.supervisor.ids() == set()
    bench.advance(1_000)
    assert len(bench.placement.made) == 1


def test_nothing_is_published_for_a_closed_stream(bench: Bench) -> None:
    session = bench.open_live()
    bench.unwant(announce=True)
    bench.pipeline.account(Emit("u1", report("NEW")), 1.0)
    bench.live(session=session)
    bench.lost(session)
    bench.rotate(session)
    bench.refused(transient(), session=session)
    assert bench.sink.account() == []
    assert bench.sink.infos() == 1
    assert bench.placement.open == []


# --- requests ---


def test_a_refused_topic_is_asked_again_much_later(bench: Bench) -> None:
    bench.want(ticker())
    bench.refused(Fail(kind=FailKind.REQUEST, reason="no such symbol", stream_id="t"), "ticker:bybit#0")
    bench.advance(REQUEST_RETRY_S - 1)
    assert len(bench.placement.made) == 1
    bench.advance(2)
    assert len(bench.placement.made) == 2


def test_one_refused_stream_of_a_shared_session_leaves_the_others_alone() -> None:
    bench = Bench(room=10)
    bench.want(user("u1"))
    bench.want(user("u2", key="2"))
    bench.live("u2")
    bench.refused(rejected())
    assert bench.state_of("u1") is StreamState.COOLING
    assert bench.state_of("u2") is StreamState.LIVE
    assert not bench.last.closed
    assert bench.last.streams == {"u2"}


# --- the end ---


def test_stop_leaves_no_session_and_no_timer() -> None:
    bench = Bench()
    bench.want(user("u1"))
    bench.live("u1")
    bench.want(user("u2"))
    bench.lost()
    bench.want(user("u3"))
    bench.refused(rejected("u3"), "u3")
    bench.supervisor.start(bench.observed)
    assert bench.supervisor.stop(5.0)
    assert bench.placement.open == []
    assert bench.supervisor.loop._timers == []
    assert bench.supervisor.ids() == set()
    assert not [thread for thread in threading.enumerate() if thread.name == "supervisor"]


def test_the_thread_does_what_is_posted_and_survives_errors() -> None:
    bench = Bench(threaded=True)
    bench.supervisor.start(bench.observed)
    done = threading.Event()

    def broken() -> None:
        raise RuntimeError("a bug")

    bench.supervisor.post(broken)
    bench.supervisor.post(done.set)
    assert done.wait(5.0)
    assert bench.supervisor.stop(5.0)


def test_the_sweep_finds_streams_without_timer_or_session(bench: Bench) -> None:
    bench.want(user("u1"))
    bench.lost()
    bench.stream("u1").timer = None
    bench.want(user("u2"))
    bench.live("u2")
    bench.stream("u2").session = None
    bench.supervisor.sweep()
    bench.run()
    bench.advance(61)
    assert {bench.state_of("u1"), bench.state_of("u2")} == {StreamState.OPENING}


def test_a_session_that_ended_without_a_word_is_found_by_the_second_sweep(bench: Bench) -> None:
    """Its I/O thread died, or the word was refused because too much waited: the stream was live for ever."""
    session = bench.open_live()
    session.closed = True
    bench.supervisor.sweep()
    bench.run()
    assert bench.state_of() is StreamState.LIVE, "the reason may be on its way"
    bench.supervisor.sweep()
    bench.run()
    assert bench.state_of() is StreamState.WAITING
    bench.advance(1)
    assert bench.last is not session
