"""When a process announces, turned by hand: every moment is the test's."""

from __future__ import annotations

import json

import pytest

from connector.core.clock import Chance
from connector.core.errors import StateUnavailable
from connector.core.messages import ServiceMessage
from connector.core.ports import Role
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.edges import Edges
from connector.streams.options import EngineOptions
from tests.clocks import Standing
from workers._process import Process
from workers._readiness import Readiness

QUEUE = "q"


class Moody(MemoryState):
    away = False
    wrong = False

    def get(self, name: str) -> str | None:
        if self.away:
            raise StateUnavailable("away")
        if self.wrong:
            raise RuntimeError("a defect")
        return super().get(name)


class Played:
    """A process whose announcer is turned by the test; nothing else of it runs."""

    def __init__(self, role: Role = "user") -> None:
        self.clock = Standing()
        self.readiness = Readiness()
        self.state = Moody(self.clock)
        self.sink = MemorySink(threaded=False, clock=self.clock)
        self.sink.start()
        self.process = Process(
            EngineOptions(role=role, price_role="all", price_exchanges=("nothing",)),
            self.state,
            FanoutSink([self.sink], clock=self.clock),
            lambda timeout_s: self.readiness.wait([QUEUE], timeout_s),
            edges=Edges(clock=self.clock, chance=Chance(1), threaded=False, owner="p1"),
        )
        self.readiness.watch(self.process.announcing.consumer_up)
        self.process.announcing.start()

    def play(self, seconds: float) -> None:
        loop, end = self.process.announcing.loop, self.clock.now + seconds
        while True:
            while loop.turn():
                pass
            due = loop.next_due()
            if due is None or due > end:
                self.clock.now = end
                return
            self.clock.now = max(self.clock.now, due)

    @property
    def told(self) -> list[str]:
        bodies = [json.loads(message.body) for message in self.sink.messages if isinstance(message, ServiceMessage)]
        return [body["restart"] for body in bodies if "restart" in body]


@pytest.mark.parametrize(("role", "name"), [("user", "userStream"), ("price", "priceConnector")])
def test_a_process_announces_in_the_moment_in_which_commands_arrive(role: Role, name: str) -> None:
    played = Played(role)
    played.play(30.0)
    assert played.told == []
    played.readiness.up(QUEUE, created=False)
    played.play(0.0)
    assert played.told == [name]
    played.play(3_600.0)
    assert played.told == [name]


def test_a_process_that_nobody_tells_of_its_consumer_finds_it_within_a_second() -> None:
    played = Played()
    played.readiness._watches.clear()
    played.play(0.0)
    played.readiness.up(QUEUE, created=False)
    played.play(1.0)
    assert played.told == ["userStream"]


def test_an_announcement_waits_for_the_state_and_for_the_consumer() -> None:
    played = Played()
    played.state.away = True
    played.readiness.up(QUEUE, created=True)
    played.play(60.0)
    assert played.told == []
    played.readiness.down(QUEUE)
    played.state.away = False
    played.play(60.0)
    assert played.told == []
    played.readiness.up(QUEUE, created=False)
    played.play(0.0)
    assert played.told == ["userStream"]


def test_a_defect_while_announcing_costs_only_that_try() -> None:
    played = Played()
    played.state.wrong = True
    played.readiness.up(QUEUE, created=True)
    played.play(5.0)
    assert played.told == []
    played.state.wrong = False
    played.play(1.0)
    assert played.told == ["userStream"]


def test_a_queue_that_was_made_anew_is_announced_again_and_a_reconnect_is_not() -> None:
    played = Played()
    played.readiness.up(QUEUE, created=False)
    played.play(1.0)
    played.readiness.down(QUEUE)
    played.readiness.up(QUEUE, created=False)
    played.play(10.0)
    assert played.told == ["userStream"]
    played.readiness.down(QUEUE)
    played.readiness.up(QUEUE, created=True)
    played.play(0.0)
    assert played.told == ["userStream"] * 2


def test_nothing_is_announced_after_the_stop() -> None:
    played = Played()
    played.process.announcing.stop(0.0)
    played.readiness.up(QUEUE, created=True)
    played.play(60.0)
    assert played.told == []


def test_that_commands_were_lost_is_not_forgotten_while_the_state_is_away() -> None:
    played = Played()
    played.readiness.up(QUEUE, created=False)
    played.play(1.0)
    played.readiness.down(QUEUE)
    played.state.away = True
    played.readiness.up(QUEUE, created=True)
    played.play(10.0)
    assert played.told == ["userStream"]
    played.state.away = False
    played.play(2.0)
    assert played.told == ["userStream"] * 2
