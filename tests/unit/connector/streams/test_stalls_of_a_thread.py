"""A process that stood still does not know when what it reads came: gaps begin before the stall (world 1237, freeze).

The venue gave up on the connection in the middle of the stall, its last words were read at the end of it, and everything that
happened in between was neither read nor asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from connector.streams.dial import Dialler
from connector.streams.io import AFTER_STALL_S, MAX_WAIT_S, STALL_S, IoThread
from connector.streams.rest import Rest
from connector.streams.session import Session
from connector.streams.transport import Kind, Transport
from exchanges._adapter import Fail, FailKind
from exchanges._venue import Limits, Rate
from tests.unit.connector.streams.fakes import Clock


class Wire:
    """A connection that has what the test puts into it."""

    closed = False

    def __init__(self) -> None:
        self.frames: list[tuple[Kind, bytes]] = []

    def read(self) -> tuple[Kind, bytes] | None:
        return self.frames.pop(0) if self.frames else None

    def close(self) -> None:
        self.closed = True

    def say_goodbye(self) -> None:
        pass


class Epoll:
    def __init__(self) -> None:
        self.watched: dict[Session, Wire] = {}

    def wait(self, timeout_s: float) -> Sequence[Session]:
        del timeout_s
        return [session for session, wire in self.watched.items() if wire.frames]

    def watch(self, session: Session, wire: Wire) -> None:
        self.watched[session] = wire

    def forget(self, session: Session) -> None:
        self.watched.pop(session, None)

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class Deaf:
    """An adapter that hears everything and says nothing; and a listener of the session's end."""

    def __init__(self) -> None:
        self.lost_with: list[object] = []
        self.answers: dict[str, Sequence[object]] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None if name == "deadline" else self.answers.get(name, ())

    def lost(self, session: Session, fail: object) -> None:
        self.lost_with.append(fail)


class Thread:
    """One I/O thread that the test turns, with one session."""

    def __init__(self) -> None:
        self.clock, self.deaf, self.wire = Clock(), Deaf(), Wire()
        self.io = IoThread(
            "io", self.clock, cast(Dialler, self.deaf), cast(Rest, self.deaf), cast(Any, Epoll()), threaded=False
        )
        limits = Limits(
            connects=Rate(1, 1.0), messages=Rate(9, 1.0), rest={}, subscriptions_per_connection=1,
            ping_interval_s=None, silence_s=3_600.0, data_silence_s=None, join_timeout_s=3_600.0,
        )  # fmt: skip
        self.session = Session(
            "s", "bybit", "bybit", "user", cast(Any, self.deaf), limits, self.io, self.deaf, cast(Any, self.deaf)
        )
        self.session.dialled(cast(Transport, self.wire))
        self.turn()

    def turn(self) -> None:
        while self.io.turn():
            pass

    def passes(self, seconds: float) -> None:
        """Time in which the thread looks as often as it should."""
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            self.clock.seconds = min(end, self.clock.seconds + MAX_WAIT_S)
            self.turn()

    def hears(self, kind: Kind = Kind.DATA) -> float:
        """A frame comes; since when it may have been there."""
        self.wire.frames.append((kind, b"1000 idle"))
        self.turn()
        return self.session.heard_mono


@pytest.fixture
def thread() -> Thread:
    return Thread()


def test_the_last_words_of_a_connection_that_ended_in_a_stall_are_not_its_end(thread: Thread) -> None:
    thread.passes(10)
    before = thread.clock.seconds
    assert thread.hears() == before
    thread.clock.seconds += 31
    assert thread.hears(Kind.CLOSE) == before
    assert thread.deaf.lost_with


def test_what_arrives_soon_after_a_stall_may_be_old_and_what_comes_later_is_not(thread: Thread) -> None:
    thread.passes(10)
    before = thread.clock.seconds
    thread.clock.seconds += 31
    thread.turn()
    thread.passes(5)
    assert thread.hears() == before, "the venue's repetitions come later with each try"
    thread.passes(AFTER_STALL_S + 2)
    assert thread.hears() == thread.clock.seconds


def test_a_frame_that_shows_that_others_are_missing_proves_nothing_of_the_time_before_it(thread: Thread) -> None:
    """World 50414: the first frame after a cut had a gap in its sequence, and the gap of the account began with it."""
    thread.passes(10)
    before = thread.hears()
    thread.passes(13)
    gap = Fail(kind=FailKind.TRANSIENT, reason="messages were lost: the sequence has a gap")
    thread.deaf.answers["received"] = [gap]
    assert thread.hears() == before
    assert thread.deaf.lost_with == [gap]


def test_a_quiet_connection_and_a_short_pause_are_no_stall(thread: Thread) -> None:
    thread.passes(60)
    assert thread.hears() == thread.clock.seconds
    thread.clock.seconds += MAX_WAIT_S + STALL_S - 0.1
    assert thread.hears() == thread.clock.seconds


def test_a_second_stall_right_after_the_first_makes_nothing_younger(thread: Thread) -> None:
    thread.passes(10)
    before = thread.clock.seconds
    for _ in range(2):
        thread.clock.seconds += 20
        thread.turn()
        thread.passes(2)
    assert thread.hears() == before


def test_a_connection_that_was_made_after_the_stall_is_not_older_than_itself(thread: Thread) -> None:
    thread.clock.seconds += 31
    thread.turn()
    thread.passes(4)
    thread.session.opened_mono = thread.clock.seconds
    assert thread.hears() == thread.session.opened_mono


def test_whoever_turns_the_thread_hears_how_soon_it_must_look(thread: Thread) -> None:
    due = thread.io.next_due()
    assert due is not None
    assert due <= thread.clock.seconds + MAX_WAIT_S
