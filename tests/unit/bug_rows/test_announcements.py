"""Who is asked again for what, and when: restart messages, beacon, boot ids (rows A8, A9, A34, D3, D11)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.loop import Loop
from connector.core.messages import Message, ServiceMessage
from connector.core.ports import Role, WorkerInfo
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.announce import BEACON_S, Announcer
from connector.streams.leases import Leases
from connector.streams.options import EngineOptions
from connector.streams.pipeline import Pipeline
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState
from workers._announcing import Announcing
from workers._process import Process
from workers._readiness import Readiness

WAIT_S = 10.0
QUEUE = "usersStreamAction"


class Town:
    """One state, and announcers of several processes around it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.state = MoodyState(self.clock)
        self.sink = FakeSink()
        self.ids = itertools.count()

    def announcer(self, owner: str, role: Role = "price", price_role: str = "all") -> Announcer:
        return Announcer(
            self.state, Leases(self.state, owner, role, 8.0), Pipeline(self.sink, Chance(1)), self.clock,
            Chance(next(self.ids)), price_role=price_role, rejoin_grace_s=600.0, sweep=lambda: None, enabled=lambda _: True,
        )  # fmt: skip

    def look(self, *announcers: Announcer, lost: bool = False) -> None:
        """One second of all of them; the first gets the commands."""
        for announcer in announcers:
            info = WorkerInfo(
                owner=announcer._owner, role=announcer._role, host="h", pid=1, started_ms=0, capacity=1, streams=0
            )
            self.state.heartbeat(info, 12.0)
            announcer.lineage.beat()
        announcers[0].look(lost=lost)
        self.clock.seconds += 1.0

    def said(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(one.body) for one in self.sink.messages if isinstance(one, ServiceMessage)]


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_price_service_says_restart_with_its_boot_id_and_then_that_it_is_alive(town: Town) -> None:
    announcer = town.announcer("p1")
    town.look(announcer)
    boot = announcer.boot_id
    assert boot is not None
    assert town.said() == [
        {"restart": "priceConnector", "bootId": boot},
        {"priceConnectorAlive": {"bootId": boot, "role": "all"}},
    ]


def test_the_beacon_comes_once_a_minute_for_all_processes_and_holds_no_restart(town: Town) -> None:
    """Bug A9: who missed the announcement learns from the beacon. Old readers act on any `restart` key."""
    first, second = town.announcer("p1"), town.announcer("p2")
    for _ in range(5):
        town.look(first, second)
    town.sink.messages.clear()
    for _ in range(3):
        town.clock.seconds += BEACON_S
        first.beacon()
        second.beacon()
    assert second.boot_id == first.boot_id
    assert town.said() == [{"priceConnectorAlive": {"bootId": first.boot_id, "role": "all"}}] * 3


def test_a_beacon_does_not_wait_for_redis(town: Town) -> None:
    announcer = town.announcer("p1")
    town.look(announcer)
    town.sink.messages.clear()
    town.state.away = True
    announcer.beacon()
    assert town.said() == [{"priceConnectorAlive": {"bootId": announcer.boot_id, "role": "all"}}]


def test_a_role_without_candles_announces_nothing(town: Town) -> None:
    announcer = town.announcer("p1", price_role="ticker")
    assert not announcer.announces
    announcer.beacon()
    assert town.said() == []


def test_forgotten_candle_subscriptions_change_the_boot_id(town: Town) -> None:
    """Bug D11: the id tells consumers to ask again, so it changes when the subscriptions are lost, and only then."""
    announcer = town.announcer("p1")
    for _ in range(5):
        town.look(announcer)
    before = announcer.boot_id
    announcer.beacon()
    assert announcer.boot_id == before
    town.state.flush()
    town.sink.messages.clear()
    town.look(announcer)
    assert announcer.boot_id not in (None, before)
    assert town.said()[0] == {"restart": "priceConnector", "bootId": announcer.boot_id}


def test_lost_candle_requests_are_asked_for_whoever_is_live(town: Town) -> None:
    first, second = town.announcer("p1"), town.announcer("p2")
    for _ in range(5):
        town.look(first, second)
    boot = first.boot_id
    town.sink.messages.clear()
    town.look(second, first, lost=True)
    assert [*town.said()[0]] == ["restart", "bootId"]
    assert second.boot_id not in (None, boot)


# --- the boot code around it ---


class Wire(MemorySink):
    """What leaves the process, waited on by condition."""

    def __init__(self) -> None:
        self.when = threading.Condition()
        self.got: list[dict[str, object]] = []
        super().__init__(self._note, name="wire")

    def _note(self, message: Message) -> None:
        if isinstance(message, ServiceMessage):
            with self.when:
                self.got.append(msgspec.json.decode(message.body))
                self.when.notify_all()

    def wait(self, count: int) -> list[dict[str, object]]:
        with self.when:
            assert self.when.wait_for(lambda: len(self.got) >= count, WAIT_S), self.got
            return list(self.got)


class World:
    def __init__(self, role: Role, state: MemoryState) -> None:
        self.readiness = Readiness()
        self.wire = Wire()
        self.process = Process(
            EngineOptions(role=role, price_role="all", price_exchanges=("nothing",), lease_ttl_s=1.0),
            state,
            FanoutSink([self.wire]),
            lambda timeout_s: self.readiness.wait([QUEUE], timeout_s),
            self.readiness.watch,
        )


@pytest.fixture
def start() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def begin(role: Role = "user", state: MemoryState | None = None) -> World:
        worlds.append(World(role, state or MemoryState()))
        worlds[-1].process.start()
        return worlds[-1]

    yield begin
    for world in worlds:
        world.process.stop(0.0)


def test_nothing_is_announced_before_commands_are_consumed(start: Callable[..., World]) -> None:
    """Bug A8: whoever hears the announcement answers at once, and a queue that is not there loses the answer."""
    world = start()
    assert world.process.engine.state.workers("user")
    assert world.wire.got == []
    world.readiness.up(QUEUE, created=True)
    assert world.wire.wait(1) == [{"restart": "userStream"}]


def test_an_announcement_that_finds_no_redis_is_made_when_it_is_back(start: Callable[..., World]) -> None:
    state = MoodyState(Clock())
    world = start(state=state)
    state.away = True
    asked = state.asked.get("get", 0)
    world.readiness.up(QUEUE, created=False)
    done = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if state.asked.get("get", 0) != asked:
            break
        done.wait(0.01)
    assert state.asked.get("get", 0) != asked
    assert world.wire.got == []
    state.away = False
    assert world.wire.wait(1) == [{"restart": "userStream"}]


def test_a_queue_that_was_gone_is_announced_again(start: Callable[..., World]) -> None:
    world = start()
    world.readiness.up(QUEUE, created=False)
    world.wire.wait(1)
    world.readiness.down(QUEUE)
    world.readiness.up(QUEUE, created=True)
    assert world.wire.wait(2) == [{"restart": "userStream"}] * 2


def test_what_was_announced_is_written_down_as_made_although_the_commands_are_lost_meanwhile(town: Town) -> None:
    """W7: until then whoever has the commands by now would make it again."""
    ready = [True]
    announcing = Announcing(town.announcer("u1", "user"), lambda: bool(ready), Loop("announcer", town.clock))
    announcing.step()
    assert town.said() == [{"restart": "userStream"}]
    due = town.state.get("announced:user")
    ready.clear()
    announcing.step()
    assert town.state.get("announced:user") != due


def test_the_boot_id_outlives_the_process_that_made_it(start: Callable[..., World]) -> None:
    """Bug D11, the other half: subscriptions are in the state, so a new process has them and nobody need ask again."""
    state = MemoryState()
    first = start("price", state)
    first.readiness.up(QUEUE, created=False)
    boot = first.wire.wait(2)[0]["bootId"]
    second = start("price", state)
    joined = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if second.process.engine.announcer.lineage.life is not None:
            break
        joined.wait(0.01)
    first.process.stop(0.0)
    second.readiness.up(QUEUE, created=False)
    second.process.engine.announcer.beacon()
    assert second.process.engine.announcer.boot_id == boot
    assert not any("restart" in message for message in second.wire.got)
