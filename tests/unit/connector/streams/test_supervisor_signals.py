"""Random signals in any order: nothing gets stuck."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connector.streams.lifecycle import CONNECTED_STATES, StreamState
from connector.streams.supervisor import Supervisor
from exchanges._adapter import Fail, FailKind, GapReport
from tests.unit.connector.streams.fakes import (
    Bench,
    FakeSession,
    user,
)

GAP = GapReport(from_ms=1, to_ms=2)


class Signals(RuleBasedStateMachine):
    """Random signals in any order, from any session that ever was, while the state comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(room=1)
        self.generation = 0
        self.key = 1

    @initialize(room=st.sampled_from([1, 3]))
    def begin(self, room: int) -> None:
        self.bench.placement.room = room

    def _session(self, index: int) -> FakeSession | None:
        made = self.bench.placement.made
        return made[-1 - index % min(len(made), 4)] if made else None

    @rule(stream=st.sampled_from(["u1", "u2", "u3"]), hold=st.booleans())
    def want(self, stream: str, hold: bool) -> None:
        self.bench.want(user(stream, key=str(self.key), generation=self.generation), hold=hold)

    @rule(stream=st.sampled_from(["u1", "u2", "u3"]))
    def unwant(self, stream: str) -> None:
        self.bench.unwant(stream, last_holder=True, announce=True)

    @rule()
    def force_restart(self) -> None:
        self.generation += 1

    @rule()
    def other_key(self) -> None:
        self.key += 1

    @rule(index=st.integers(0, 5))
    def connect(self, index: int) -> None:
        session = self._session(index)
        if session is not None and not session.closed:
            self.bench.connected(session)

    @rule(index=st.integers(0, 5), stream=st.sampled_from(["u1", "u2", "u3"]), gap=st.booleans())
    def live(self, index: int, stream: str, gap: bool) -> None:
        session = self._session(index)
        if session is not None:
            self.bench.live(stream, session, GAP if gap else None)

    @rule(index=st.integers(0, 5), kind=st.sampled_from(list(FailKind)))
    def lose(self, index: int, kind: FailKind) -> None:
        session = self._session(index)
        if session is not None:
            self.bench.lost(session, Fail(kind=kind, reason="x", retry_after_s=3.0))

    @rule(
        index=st.integers(0, 5), stream=st.sampled_from(["u1", "u2", "u3"]), kind=st.sampled_from(list(FailKind)),
        first=st.booleans(),
    )  # fmt: skip
    def refuse(self, index: int, stream: str, kind: FailKind, first: bool) -> None:
        session = self._session(index)
        if session is not None:
            self.bench.refused(Fail(kind=kind, reason="x", stream_id=stream, first_sight=first), stream, session)

    @rule(index=st.integers(0, 5))
    def rotate(self, index: int) -> None:
        session = self._session(index)
        if session is not None:
            self.bench.rotate(session)

    @rule(stream=st.sampled_from(["u1", "u2", "u3"]), what=st.sampled_from(["drain", "keep", "restart", "release"]))
    def order(self, stream: str, what: str) -> None:
        supervisor: Supervisor = self.bench.supervisor
        if what == "drain":
            supervisor.drain(stream)
        elif what == "keep":
            supervisor.keep(stream)
        elif what == "restart":
            supervisor.restart_stream(stream, "watchdog")
        else:
            supervisor.let_through(stream, None, clean=False)
        self.bench.run()

    @rule(index=st.integers(0, 5))
    def restart_session(self, index: int) -> None:
        session = self._session(index)
        if session is not None:
            self.bench.supervisor.restart_session(session.name, "stall")
            self.bench.run()

    @rule()
    def sweep(self) -> None:
        self.bench.supervisor.sweep()
        self.bench.run()

    @rule(away=st.booleans(), broken=st.booleans())
    def weather(self, away: bool, broken: bool) -> None:
        self.bench.state.away = away
        self.bench.placement.fail = KeyError("x") if broken else None

    @rule(seconds=st.sampled_from([0.1, 1.0, 31.0, 80.0, 1_900.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        self.bench.advance(seconds)

    @invariant()
    def nothing_is_stuck(self) -> None:
        placement = self.bench.placement
        carried: dict[str, list[Any]] = {}
        for session in placement.open:
            for stream_id in session.streams:
                carried.setdefault(stream_id, []).append(session)
        for stream_id, stream in self.bench.supervisor._streams.items():
            timer = stream.timer is not None and stream.timer.work is not None
            sessions = [session for session in (stream.session, stream.replacement) if session is not None]
            lingering = [one for one in self.bench.supervisor._attempts._lingering.get(stream_id, []) if not one.closed]
            assert set(carried.pop(stream_id, [])) == {*sessions, *lingering}, stream.state
            match stream.state:
                case StreamState.WAITING | StreamState.COOLING:
                    assert timer, stream.state
                    assert sessions == lingering == []
                case StreamState.STOPPED:
                    assert sessions == []
                case state:
                    assert not timer, state
                    assert stream.session is not None, state
                    assert (stream.replacement is not None) == (state is StreamState.ROTATING)
            if stream.state in CONNECTED_STATES:
                assert stream.session is not None
                assert stream.session.opened_mono
        assert carried == {}, "a session carries a stream that nobody wants"
        armed = sum(entry[2].work is None for entry in self.bench.supervisor.loop._timers)
        assert armed == self.bench.supervisor.loop._cancelled


Signals.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestNothingGetsStuck = Signals.TestCase
