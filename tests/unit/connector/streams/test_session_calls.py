"""The calls of a session that wait for the venue's budget: how long, and with which signature they leave."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
from msgspec.structs import replace

from connector.core.loop import Loop
from connector.state.memory_state import MemoryState
from connector.streams.budget import Budget
from connector.streams.rest import LoopRest, RestQueue
from connector.streams.session import Session
from exchanges._adapter import Answer, Call, Fail, Instant, Output
from exchanges._venue import Limits, Rate
from tests.unit.connector.streams.fakes import Clock

SLOW = Limits(connects=Rate(1, 1.0), messages=Rate(1, 1.0), rest={"rest": Rate(1, 40.0)}, join_timeout_s=5.0)
"""A call each 40 s, and 35 s of patience with a venue that does not answer."""


class Adapter:
    """Asks for a token before it connects."""

    def __init__(self) -> None:
        self.answers: list[tuple[Call, Answer]] = []

    def start(self, now: Instant) -> list[Output]:
        return [self.signed(Call(tag="token", method="GET", url="https://x"), now)]

    def signed(self, call: Call, now: Instant) -> Call:
        return replace(call, headers={"time": str(now.wall_ms)}, again=partial(self.signed, call))

    def answered(self, call: Call, answer: Answer, now: Instant) -> list[Output]:
        self.answers.append((call, answer))
        return []

    def deadline(self) -> float | None:
        return None


class Venue:
    """As an I/O thread is to its sessions, and a venue that answers, or does not."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = Loop("rest", self.clock, threaded=False)
        self.rest = LoopRest(RestQueue(Budget(MemoryState(), self.clock), self.clock), self.loop, self._perform)
        self.made: list[Call] = []
        self.ended: list[tuple[Session, Fail]] = []
        self.dumb = False
        self.sessions: list[tuple[Session, Adapter]] = []

    def _perform(self, call: Call, egress: str, done: Callable[[Answer], None]) -> None:
        self.made.append(call)
        if not self.dumb:
            done(Answer(200, {}, b"{}"))

    def open(self) -> tuple[Session, Adapter]:
        adapter = Adapter()
        listener = cast(Any, self)
        session = Session(
            f"s{len(self.sessions)}", "v", "x", "user", cast(Any, adapter), SLOW, cast(Any, self), listener, listener
        )
        self.sessions.append((session, adapter))
        session.start(())
        return session, adapter

    def turn(self, until_s: float) -> None:
        """So far, in steps of a second; each session is woken when it asks for it."""
        for _ in range(int(until_s)):
            self.clock.seconds += 1.0
            while self.loop.turn():
                continue
            for session, _ in self.sessions:
                if not session.closed and session.next_wake() <= self.clock.seconds:
                    session.timer()

    # --- what a session asks of its thread, and whom it tells ---

    def now(self) -> Instant:
        return Instant(self.clock.mono(), self.clock.wall_ms())

    def post(self, work: Callable[[], None]) -> None:
        work()

    def call(self, session: Session, call: Call) -> None:
        done = partial(session.answered, call)
        self.rest.submit(call, "v", "", SLOW, done, session.calls.caller)

    def adopt(self, session: Session) -> None: ...

    def schedule(self, session: Session) -> None: ...

    def dismiss(self, session: Session) -> None: ...

    def answered(self, session: Session, answer: Answer) -> None: ...

    def lost(self, session: Session, fail: Fail) -> None:
        self.ended.append((session, fail))


def test_a_session_that_waits_for_the_budget_is_not_given_up_for_a_venue_that_does_not_answer() -> None:
    """Each of two hundred accounts gave up before it was its turn, and went to the end of the line."""
    venue = Venue()
    crowd = [venue.open() for _ in range(8)]
    last, _ = crowd[-1]
    assert last.waits
    venue.turn(300.0)
    assert [[answer.status for _, answer in adapter.answers] for _, adapter in crowd] == [[200]] * 8
    assert not last.waits


def test_a_call_leaves_with_a_fresh_time_and_comes_back_as_the_adapter_knows_it() -> None:
    venue = Venue()
    venue.open()
    _, adapter = venue.open()
    asked = venue.clock.wall_ms()
    venue.turn(60.0)
    assert int(venue.made[-1].headers["time"]) >= asked + 40_000
    ((call, _),) = adapter.answers
    assert call.headers["time"] == str(asked), "what it knows the answer by"


def test_a_call_that_can_not_be_signed_anew_leaves_as_it_was_signed(caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue()
    session, _ = venue.open()
    call = Call(tag="plain", method="GET", url="https://x")
    gone: list[Call] = []

    def broken(_: Instant) -> Call:
        raise ValueError("no key any more")

    unsigned = replace(call, again=broken)
    for one in (call, unsigned, replace(call, again=lambda now: replace(call, tag=f"at {now.mono}"))):
        session.calls.caller.renew(one, gone.append)
    assert gone == [call, unsigned, replace(call, tag=f"at {venue.clock.mono()}")]
    session.closed = True
    signed = replace(call, again=lambda _: call)
    session.calls.caller.renew(signed, gone.append)
    assert len([row for row in caplog.records if row.levelname == "ERROR"]) == 1, "of the one that is broken"
    assert gone[-1] is signed, "nobody waits for it: its keys may be gone"


def test_who_is_connected_does_not_wait_for_its_turn() -> None:
    venue = Venue()
    venue.open()
    session, _ = venue.open()
    assert session.waits
    session._transport = cast(Any, object())
    assert not session.waits


def test_from_the_moment_of_its_call_the_venue_has_so_long_to_answer() -> None:
    venue = Venue()
    venue.dumb = True
    first, _ = venue.open()
    second, _ = venue.open()
    assert second.next_wake() == venue.clock.mono() + 35.0
    venue.turn(30.0)
    assert not first.closed
    venue.turn(45.0)
    assert (first.closed, second.closed) == (True, False)
    venue.turn(60.0)
    assert second.closed
