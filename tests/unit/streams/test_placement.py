"""What a new session is made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from core.instruments import EMPTY
from exchanges._adapter import Call, Instant, UserSubscription
from streams.dial import Dialler
from streams.io import IoThread
from streams.placement import CLOCK_KEPT_S, Placement
from streams.session import Publisher
from tests.unit.streams.fakes import Bench, Clock, user


class NoIo:
    """An I/O thread that never gets to what is posted."""

    def post(self, work: Callable[[], None]) -> None: ...


def placement(clock: Clock) -> Placement:
    io = [cast(IoThread, NoIo())]
    made = Placement(io, cast(Dialler, None), cast(Publisher, None), clock, lambda exchange: EMPTY, {})
    made.listener = Bench().supervisor
    return made


def test_a_measured_clock_serves_every_session_of_the_venue_that_has_not_signed_yet() -> None:
    clock = Clock()
    register = placement(clock)
    spec = user("u1", exchange="bybitLinear")
    assert spec.credentials is not None
    subscription = UserSubscription(stream_id="u1", exchange="bybitLinear", credentials=spec.credentials)
    session = register.join(spec, subscription)
    register.clock_read("bybit", 5000)
    now = Instant(clock.mono(), clock.wall_ms())
    session.adapter.add(subscription, now)
    (call,) = session.adapter.start(now)
    assert isinstance(call, Call)
    assert call.headers["X-BAPI-TIMESTAMP"] == str(now.wall_ms + 5000)


def test_a_measured_clock_is_no_other_venue_s() -> None:
    register = placement(Clock())
    register.clock_read("bybit", 5000)
    assert (register.clock_offset_ms("bybit"), register.clock_offset_ms("okx")) == (5000, 0)


def test_an_old_measurement_is_forgotten() -> None:
    clock = Clock()
    register = placement(clock)
    register.clock_read("okx", -700)
    clock.seconds += CLOCK_KEPT_S - 1
    assert register.clock_offset_ms("okx") == -700
    clock.seconds += 2
    assert register.clock_offset_ms("okx") == 0
