"""One world: kernel, servers, venues, backend, processes, put together from a setup and a seed."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from connector.state.vault import NONE
from harness.worlds import disk, network, pika_blocking, redis_clients
from harness.worlds.accounts import Account, exchanges_of, make_account
from harness.worlds.backend import Backend, topics_of
from harness.worlds.blocking import Stage
from harness.worlds.disk import WorldDisk
from harness.worlds.kernel import BUSY_S, PAUSES_S, Host, Kernel, Task
from harness.worlds.network import Venues
from harness.worlds.process import ServiceProcess
from harness.worlds.rabbit import Rabbit
from harness.worlds.record import EVENTS_EXCHANGE, EVENTS_QUEUE, SERVICE_QUEUE, Ear, Record
from harness.worlds.redis_server import RedisServer
from harness.worlds.traffic import Traffic
from simulator._venue import WorldSettings
from simulator.hub import Hub

OPENED_AT_S: Final = 3.0
EXIT_RESTART_S: Final = 3.0
TRAFFIC_AT_S: Final = 8.0
JOINED_S: Final = 3.0
"""Who has lived beside another process for so long, and had Redis, knows that this one lived."""


@dataclass(frozen=True)
class Setup:
    """What a world consists of, before anything happens to it."""

    seed: int
    venues: tuple[str, ...]
    processes: int = 2
    accounts: int = 2
    """Per world, over the exchange ids of its venues."""
    bots: int = 2
    """Subscribers of each account at the most."""
    sealed: bool = True
    """Whether keys are kept in the state."""
    per_s: float = 3.0
    """Deeds of traffic a second."""
    redis_way_s: tuple[float, float] = (0.0001, 0.002)
    pause_every: int = 0
    """How many locks a thread takes, on average, before it loses the processor in front of one; 0 = never."""
    busy: bool = False
    """Whether a thread that lost the processor waits long for it."""
    capacity: int = 0
    """MAX_STREAMS; 0 = the default."""
    grace_s: int = 0
    """REJOIN_GRACE_S; 0 = the default."""
    price_roles: tuple[str, ...] = ()
    """Price services instead of account services, by PRICEROLE."""


class World:
    """A running world. `run` lets time pass; everything else acts at the present moment."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.disk = setup, WorldDisk()
        self.fault_chance = self._source("faults")
        self.kernel = Kernel()
        self.kernel.crashed, self.kernel.exited = self._crashed, self._exited
        self.record = Record(self.kernel)
        self.rabbit = Rabbit(self.kernel, self._source("rabbit"))
        self.redis = RedisServer(self.kernel, self._source("redis"))
        self.redis.way = setup.redis_way_s
        if setup.pause_every:
            self.kernel.pauses, self.kernel.pause_every = self._source("pauses"), setup.pause_every
            self.kernel.pauses_s = BUSY_S if setup.busy else PAUSES_S
        self.hub = Hub(WorldSettings(seed=setup.seed, limits=True, symbols=4), setup.venues)
        self.venues = Venues(self.kernel, self.hub, self._source("network"))
        self.exchanges = exchanges_of(self.hub, setup.venues)
        self.accounts = self._accounts()
        self.streams = frozenset(account.stream for account in self.accounts)
        self.backend = Backend(self.kernel, self.rabbit, self.accounts, self._source("backend"))
        self.backend.topics = topics_of(setup.venues) if setup.price_roles else ()
        self.traffic = Traffic(self.kernel, self.venues, self.accounts, self._source("traffic"), setup.per_s)
        self.processes: list[ServiceProcess] = []
        self.story: list[tuple[float, str]] = []
        self.ended_themselves = 0
        self.deserted: list[float] = []
        """When nobody was left who announces: what comes then is a start."""
        self.hardly_met: list[float] = []
        """When only such were left that had just come, and can't know of those before them."""
        self.troubles: list[tuple[float, str]] = []
        """When which host began to stand still or lost its way to Redis or RabbitMQ."""
        self._born = 0
        self._readers()

    def _source(self, name: str) -> random.Random:
        return random.Random(f"{name} {self.setup.seed}")

    def _accounts(self) -> list[Account]:
        exchanges = self.exchanges
        source = self._source("accounts")
        chosen = [exchanges[number % len(exchanges)] for number in range(self.setup.accounts)]
        return [
            make_account(self.hub, exchange, f"acc-{exchange}-{number}", source)
            for number, exchange in enumerate(chosen)
        ]

    def declare_readers(self) -> None:
        """What the backend's consumers declare."""
        self.rabbit.declare_exchange(EVENTS_EXCHANGE, "topic")
        self.rabbit.declare_queue(SERVICE_QUEUE, durable=True)
        self.rabbit.bind(SERVICE_QUEUE, EVENTS_EXCHANGE, "service.#")

    def _readers(self) -> None:
        """The backend's consumers: they read what is there and are always there."""
        self.declare_readers()
        self.rabbit.readers[SERVICE_QUEUE] = lambda message: self.record.service(message.host, message)
        self.rabbit.readers[EVENTS_QUEUE] = lambda message: self.record.from_rabbit(message.host, message)
        self.redis.readers.append(self._on_redis)

    def _on_redis(self, host: str, channel: str, payload: bytes) -> None:
        self.record.from_redis(host, channel, payload, self.streams)
        self.backend.heard(channel, payload)

    def _crashed(self, task: Task, error: BaseException) -> None:
        self.record.crashes.append(f"{self.kernel.now:.3f} s {task.host.name} {task.name}: {error!r}")

    def _exited(self, host: Host, code: int) -> None:
        """A process ended itself: its supervisor brings it back, as a container's does."""
        process = next(process for process in self.processes if process.host is host)
        self.note(f"{host.name} ends itself with code {code}")
        self.ended_themselves += 1
        process.kill()
        self.gone(process)
        self.kernel.after(EXIT_RESTART_S, lambda: self.again(process))

    # --- processes ---

    def boot(self, role: str = "user", machine: str = "m1", **environ: str) -> ServiceProcess:
        """Start one more process of a role on a machine, whose disk it shares with those before it."""
        self._born += 1
        source = self._source(f"host {self._born}")
        host = Host(f"{machine}-{role[0]}{self._born}", seed=source.getrandbits(32), mono_s=source.uniform(100, 90_000))
        given = {
            "RABBIT_HOST": "rabbit",
            "RABBIT_PASSWORD": "world-password-0123456789",
            "REDIS_HOST": "redis",
            "OUTBOX_DIR": f"/{machine}/outbox",
            "PAPER_WS": "localhost:7506",
            **environ,
        }
        if self.setup.capacity:
            given["MAX_STREAMS"] = str(self.setup.capacity)
        if self.setup.grace_s:
            given["REJOIN_GRACE_S"] = str(self.setup.grace_s)
        if not self.setup.sealed:
            given.setdefault("CREDENTIALS_KEYS", NONE)
        process = ServiceProcess(host, "user" if role == "user" else "price", machine, given)
        process.on_end = self._ended
        self.processes.append(process)
        process.looks_since = self.kernel.now
        process.start()
        self.note(f"{host.name} starts")
        return process

    def again(self, process: ServiceProcess, machine: str = "") -> ServiceProcess:
        """A process with the same settings: its successor."""
        kept = {
            name: process.environ[name]
            for name in ("PRICEROLE", "PRICE_CONNECTOR_EXCHANGES")
            if name in process.environ
        }
        return self.boot(process.role, machine or process.machine, **kept)

    def living(self) -> list[ServiceProcess]:
        return [process for process in self.processes if process.alive]

    def speakers(self) -> list[ServiceProcess]:
        """Those who live and have anything to announce."""
        return [process for process in self.living() if announces(process)]

    def look_around(self) -> None:
        """Often: who stands still, or has a Redis to which nobody can say that he lives, sees nobody (`hardly_met`); nor does
        a newcomer while that is so with all those who were there."""
        living = self.living()
        knowing = [process for process in living if self.has_met(process)]
        shown = not knowing or any(self.shows_itself(process) for process in knowing)
        for process in living:
            process.met = self.has_met(process)
            if not self.shows_itself(process) or not (process.met or shown):
                process.looks_since = self.kernel.now

    def shows_itself(self, process: ServiceProcess) -> bool:
        """Whether others can see that this process lives."""
        return not process.host.frozen and self.redis.writable(process.host)

    def has_met(self, process: ServiceProcess) -> bool:
        """Whether a process knows that those lived who were there beside it."""
        return process.met or self.kernel.now - process.looks_since >= JOINED_S

    def trouble(self, host: Host) -> None:
        self.troubles.append((self.kernel.now, host.name))

    def _ended(self, process: ServiceProcess) -> None:
        self.note(f"{process.host.name} has ended")
        self.kernel.kill(process.host)
        self.gone(process)

    def kill(self, process: ServiceProcess) -> None:
        self.note(f"{process.host.name} is killed")
        process.kill()
        self.gone(process)

    def gone(self, process: ServiceProcess) -> None:
        """A process ended: its connections are reset."""
        process.died_at = self.kernel.now
        speakers = self.speakers()
        if announces(process) and not speakers:
            self.deserted.append(self.kernel.now)
        elif announces(process) and not any(self.has_met(other) for other in speakers):
            self.hardly_met.append(self.kernel.now)
        self.rabbit.host_died(process.host)
        self.venues.host_died(process.host)
        self.redis.host_died(process.host, process.owner)

    def note(self, text: str) -> None:
        self.story.append((self.kernel.now, text))

    def run(self, until: float) -> None:
        self.kernel.run(until)


def announces(process: ServiceProcess) -> bool:
    """A price service for tickers only has no part in announcements (contract 3.1)."""
    return process.environ.get("PRICEROLE") != "ticker"


@contextmanager
def opened(setup: Setup) -> Iterator[World]:
    """A world on the stage, and nothing left of it afterwards."""
    world = World(setup)
    kernel = world.kernel
    ear = Ear(world.record)
    root = logging.getLogger()
    level, disabled = root.level, root.manager.disable
    try:
        Stage.kernel, pika_blocking.Where.rabbit, disk.Where.disk = kernel, world.rabbit, world.disk
        redis_clients.Where.server, network.Where.venues = world.redis, world.venues
        root.addHandler(ear)
        root.setLevel(logging.WARNING)
        logging.disable(logging.INFO)
        yield world
    finally:
        kernel.close()
        root.removeHandler(ear)
        root.setLevel(level)
        logging.disable(disabled)
        Stage.kernel = pika_blocking.Where.rabbit = disk.Where.disk = None
        redis_clients.Where.server = network.Where.venues = None
