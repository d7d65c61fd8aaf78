"""Who is asked again for what, and when: restart messages, beacon, boot ids (rows A8, A9, A34, D3, D11)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest

from connector.core.clock import Chance
from connector.core.ports import Message, Role, ServiceMessage, Wanted, WorkerInfo
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.state.memory_state import MemoryState
from connector.streams.announce import BEACON_S, Announcer
from connector.streams.engine import EngineOptions
from connector.streams.leases import Leases
from connector.streams.pipeline import Pipeline
from tests.unit.connector.streams.fakes import Clock, FakeSink, MoodyState, keys
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
        self.swept = 0

    def announcer(self, owner: str, role: Role = "price", price_role: str = "all") -> Announcer:
        return Announcer(
            self.state, Leases(self.state, owner, role, 8.0), Pipeline(self.sink, Chance(1)), self.clock, Chance(1),
            price_role=price_role, rejoin_grace_s=600.0, sweep=self._sweep,
        )  # fmt: skip

    def _sweep(self) -> None:
        self.swept += 1

    def beat(self, owner: str, role: Role) -> None:
        info = WorkerInfo(owner=owner, role=role, host="h", pid=1, started_ms=0, capacity=1, streams=0)
        self.state.heartbeat(info, 12.0)

    def said(self) -> list[dict[str, object]]:
        return [msgspec.json.decode(one.body) for one in self.sink.messages if isinstance(one, ServiceMessage)]


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_price_service_says_restart_with_its_boot_id_and_then_that_it_is_alive(town: Town) -> None:
    announcer = town.announcer("p1")
    announcer.price_started()
    boot = announcer.boot_id
    assert boot is not None
    assert town.said() == [
        {"restart": "priceConnector", "bootId": boot},
        {"priceConnectorAlive": {"bootId": boot, "role": "all"}},
    ]


def test_the_beacon_comes_once_a_minute_for_all_processes_and_holds_no_restart(town: Town) -> None:
    """Bug A9: who missed the announcement learns from the beacon. Old readers act on any `restart` key."""
    first, second = town.announcer("p1"), town.announcer("p2")
    first.price_started()
    town.beat("p1", "price")
    second.price_started()
    assert second.boot_id == first.boot_id
    town.sink.messages.clear()
    for _ in range(3):
        town.clock.seconds += BEACON_S
        first.beacon()
        second.beacon()
    assert town.said() == [{"priceConnectorAlive": {"bootId": first.boot_id, "role": "all"}}] * 3


def test_a_beacon_does_not_wait_for_redis(town: Town) -> None:
    announcer = town.announcer("p1")
    announcer.price_started()
    town.sink.messages.clear()
    town.state.away = True
    announcer.beacon()
    assert town.said() == [{"priceConnectorAlive": {"bootId": announcer.boot_id, "role": "all"}}]


def test_a_role_without_candles_announces_nothing(town: Town) -> None:
    announcer = town.announcer("p1", price_role="ticker")
    announcer.price_started()
    announcer.beacon()
    assert town.said() == []


def test_forgotten_candle_subscriptions_change_the_boot_id(town: Town) -> None:
    """Bug D11: the id tells consumers to ask again, so it changes when the subscriptions are lost, and only then."""
    announcer = town.announcer("p1")
    announcer.price_started()
    before = announcer.boot_id
    announcer.beacon()
    assert announcer.boot_id == before
    town.state.flush()
    town.sink.messages.clear()
    announcer.beacon()
    assert announcer.boot_id not in (None, before)
    assert town.said()[0] == {"restart": "priceConnector", "bootId": announcer.boot_id}


def test_a_process_that_joins_others_asks_nobody(town: Town) -> None:
    town.announcer("u1", "user").user_started()
    town.beat("u1", "user")
    town.sink.messages.clear()
    assert town.announcer("u2", "user").user_started() is None
    assert town.said() == []


def test_the_first_process_asks_everybody_and_closes_later_what_nobody_wants(town: Town) -> None:
    town.state.open("old", "bybit", "owner", keys(), 0)
    town.state.open("again", "bybit", "owner", keys(), 0)
    announcer = town.announcer("u1", "user")
    epoch = announcer.user_started()
    assert town.said() == [{"restart": "userStream"}]
    assert epoch is not None
    town.state.open("again", "bybit", "owner", keys(), 0)
    announcer.close_stale(epoch)
    assert town.state.wanted_ids() == {"again"}
    assert town.state.wanted(["again"])["again"].count == 1
    assert town.swept == 1


def test_lost_commands_are_asked_for_whoever_is_live(town: Town) -> None:
    town.beat("u1", "user")
    town.beat("p1", "price")
    price = town.announcer("p2")
    price.price_started()
    boot = price.boot_id
    town.sink.messages.clear()
    assert town.announcer("u2", "user").user_started(lost=True) is not None
    price.price_started(lost=True)
    assert [*town.said()[0]] == ["restart"]
    assert price.boot_id != boot


def test_streams_whose_keys_nobody_knows_are_orphans_unless_they_run_or_are_switched_off(town: Town) -> None:
    announcer = town.announcer("u1", "user")
    for name, exchange in (("lost", "bybit"), ("runs", "bybit"), ("off", "okx"), ("known", "bybit")):
        town.state.remember(
            Wanted(
                stream_id=name, exchange=exchange, user_id="owner", count=1, generation=0, digest="d",
                credentials=keys() if name == "known" else None,
            )
        )  # fmt: skip
    town.state.claim(["runs"], "u2", 8.0)
    assert announcer.orphans(lambda exchange: exchange != "okx") == {"lost"}
    assert announcer.ask_for_orphans(1)
    assert not announcer.ask_for_orphans(1)
    town.clock.seconds += 601
    assert announcer.ask_for_orphans(1)


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
    world.readiness.up(QUEUE, created=False)
    asked = state.asked.get("workers", 0)
    done = threading.Event()
    while state.asked.get("workers", 0) == asked:
        assert not done.wait(0.01)
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


def test_keys_that_died_with_a_process_are_asked_for_again(start: Callable[..., World]) -> None:
    state = MemoryState()
    info = WorkerInfo(owner="dead", role="user", host="h", pid=1, started_ms=0, capacity=1, streams=1)
    state.heartbeat(info, 3600.0)  # its last heartbeat has not lapsed when this process starts
    state.put("announced:user", "dead")
    state.remember(
        Wanted(
            stream_id="s", exchange="bybit", user_id="owner", count=3, generation=0, digest="d", credentials=None
        )
    )  # fmt: skip
    world = start(state=state)
    world.readiness.up(QUEUE, created=False)
    for _ in range(2):
        world.process.orphans.look()
    assert world.wire.wait(1) == [{"restart": "userStream"}]


def test_the_boot_id_outlives_the_process_that_made_it(start: Callable[..., World]) -> None:
    """Bug D11, the other half: subscriptions are in the state, so a new process has them and nobody need ask again."""
    state = MemoryState()
    first = start("price", state)
    first.readiness.up(QUEUE, created=False)
    boot = first.wire.wait(2)[0]["bootId"]
    second = start("price", state)
    second.readiness.up(QUEUE, created=False)
    first.process.stop(0.0)
    assert state.get("boot:price") == boot
    assert second.wire.got == []
