"""Bots of every exchange are told to check after each reconnect, once (rows A58, A59, B5, B12, D18, D20, D21)."""

from __future__ import annotations

import pytest

from connector.streams.lifecycle import StreamState
from exchanges import venue_of
from exchanges._adapter import Fail, FailKind, GapReport, UserSubscription
from exchanges.ids import KNOWN
from tests.unit.connector.streams.fakes import Bench, transient, user

GAP = GapReport(from_ms=1, to_ms=2)
SERVED = sorted(exchange for exchange in KNOWN if (venue := venue_of(exchange)) is not None and "user" in venue.feeds)


@pytest.mark.parametrize("exchange", SERVED)
def test_each_reconnect_is_told_once_and_only_when_it_is_confirmed(exchange: str) -> None:
    bench = Bench()
    bench.open_live(user(exchange=exchange))
    assert bench.sink.infos() == 1
    for reconnect in range(1, 4):
        bench.lost()
        bench.advance(61)
        bench.connected()
        assert bench.sink.infos() == reconnect, "nothing before the subscriptions are confirmed"
        bench.live(gap=GAP)
        assert bench.sink.infos() == reconnect + 1


@pytest.mark.parametrize(
    "fail",
    [
        transient("closed by the venue: 1000 bye"),
        transient("connection lost"),
        Fail(kind=FailKind.RATE_LIMITED, reason="429", retry_after_s=30.0),
        Fail(kind=FailKind.MAINTENANCE, reason="maintenance"),
    ],
    ids=lambda fail: fail.reason,
)
@pytest.mark.parametrize("moment", ["opening", "joining", "live"])
def test_every_end_of_a_connection_leads_to_another_one(fail: Fail, moment: str) -> None:
    """Bugs A59, D21: clean or not, before or after it worked."""
    bench = Bench()
    bench.want()
    if moment != "opening":
        bench.connected()
    if moment == "live":
        bench.live()
    bench.lost(fail=fail)
    assert bench.state_of() is StreamState.WAITING
    bench.advance(61)
    assert len(bench.placement.made) == 2
    bench.live()
    assert bench.state_of() is StreamState.LIVE


def test_a_reconnect_is_the_whole_way_again() -> None:
    """Bug A58: a new adapter on a new connection, which logs in and subscribes; nothing is left over from the old one."""
    bench = Bench()
    first = bench.open_live()
    bench.lost()
    bench.advance(61)
    assert bench.last is not first
    subscription = bench.placement.joins[-1][2]
    assert isinstance(subscription, UserSubscription)
    assert subscription.credentials == user().credentials
    assert subscription.resume is not None


def test_an_account_whose_every_attempt_fails_is_tried_all_day_at_a_bounded_rate() -> None:
    """Bugs A5, A41, A47: endless, but never a storm; failed opens are retried without a new command."""
    bench = Bench()
    bench.want()
    end = bench.clock.seconds + 24 * 3600
    while bench.clock.seconds < end:
        bench.advance(10.0)
        for session in bench.placement.sessions():
            bench.lost(session)
    attempts = len(bench.placement.made)
    assert 24 * 60 // 2 < attempts < 24 * 3600 / 10
    assert len(bench.supervisor.loop._timers) < 2000, "nothing piles up"
    assert bench.sink.infos() == 0
