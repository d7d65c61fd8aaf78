"""One worker process of the service, as `dramatiq workers.user` runs it: the real boot, broker, actors, engine and sinks.

What Dramatiq's own threads do (a consumer per queue, eight workers, hooks in its order) is written down here in a few lines;
everything else is the product's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from dramatiq.errors import ConnectionClosed

from connector.core.clock import Chance, SystemClock
from connector.core.ports import Role, State
from connector.core.settings import Settings
from connector.servers.rabbit import connection_arguments
from connector.state.positions_on_disk import PositionsOnDisk
from connector.state.vault import NONE
from connector.streams.edges import Edges
from connector.streams.options import engine_options
from harness.worlds.blocking import Event, kernel
from harness.worlds.jobs import WorldJobs
from harness.worlds.kernel import Host, Task
from harness.worlds.network import venues
from harness.worlds.poller import WorldOpener, WorldPoller
from harness.worlds.pools import ThreadPoolExecutor
from harness.worlds.redis_clients import Registry, server
from tasks import price as tasks_price
from tasks import user as tasks_user
from workers import _boot, _build
from workers._process import Process
from workers._translate import USER_QUEUES, CommandMessage, price_queues
from workers.broker import PlatformBroker

WORKER_THREADS: Final = 8
POLL_MS: Final = 1000
CONSUMER_RESTART_S: Final = 3.0
"""Dramatiq's pause before it consumes again after a lost connection."""


class ServiceProcess:
    """`start` begins its life; `terminate` is SIGTERM; `kill` is SIGKILL. World's turn only."""

    def __init__(self, host: Host, role: Role, machine: str, environ: Mapping[str, str]) -> None:
        self.host, self.role, self.machine, self.environ = host, role, machine, dict(environ)
        self.terminated = False
        self.looks_since = 0.0
        """Since when it could see who else is there: not while it stood still, or had no Redis."""
        self.met = False
        """It has looked for so long that it knows of those who were there."""
        self.died_at: float | None = None
        self.on_end: Callable[[ServiceProcess], None] = _nobody
        self.broker: PlatformBroker | None = None
        self.process: Process | None = None
        self.boot_error: BaseException | None = None
        self.ended = False
        """It ended by itself, after SIGTERM."""
        self.clean: bool | None = None
        self._boot: _boot.Boot | None = None
        self._consumers: list[Any] = []
        self._running = True
        self._stopping = Event()
        self._main: Task | None = None

    @property
    def alive(self) -> bool:
        return self.host.alive and not self.ended

    @property
    def owner(self) -> str:
        return self.process.engine.owner if self.process is not None else ""

    @property
    def leases(self) -> Mapping[str, int]:
        """What it believes to hold."""
        return self.process.engine.leases._held if self.process is not None else {}

    def start(self) -> None:
        self._main = kernel().spawn(self._live, self.host, "main")

    def terminate(self) -> None:
        self.terminated = True
        self._stopping.set()

    # --- on its own tasks ---

    def _live(self) -> None:
        settings = Settings.from_env(self.environ)
        queues = USER_QUEUES if self.role == "user" else price_queues(settings.price_role)
        broker = PlatformBroker(queues, parameters=connection_arguments(settings.rabbit, name=f"connector-{self.role}"))
        self.broker = broker
        if self.role == "user":
            tasks_user.declare(broker)
        else:
            tasks_price.declare(broker, platform=bool(queues))

        def make() -> Process:
            state: Any = Registry(server(), self.host, sealed=settings.credentials_keys.get_secret_value() != NONE)
            typed: State = state
            edges = self._edges(settings)
            self.process = Process(
                engine_options(settings, self.role),
                typed,
                _build.make_sinks(settings, edges),
                broker.wait_until_ready,
                broker.watch_consumers,
                edges,
                broker.problems,
                broker.announced,
                broker.watch_sure,
            )
            return self.process

        broker.add_middleware(_boot.Boot(self.role, make, _could_not_start))
        self._work(broker)

    def _edges(self, settings: Settings) -> Edges:
        clock, chance = SystemClock(), Chance(self.host.seed)
        return Edges(
            clock=clock,
            positions=PositionsOnDisk(settings.outbox_dir, clock) if self.role == "user" else None,
            chance=chance,
            host=self.host.name,
            pid=self.host.seed % 30_000 + 2,
            service=self.host.name,
            opener=WorldOpener(venues()),
            poller=WorldPoller,
            jobs=WorldJobs(clock, chance),
        )

    def _work(self, broker: PlatformBroker) -> None:
        """Dramatiq's `Worker`."""
        pool = ThreadPoolExecutor(WORKER_THREADS, "worker")
        broker.emit_before("worker_boot", self)
        for queue in sorted(broker.translator.queues):
            kernel().spawn(partial(self._consume, broker, queue, pool), self.host, f"consumer-{queue}")
        # An error in a hook is logged by Dramatiq and forgotten.
        broker.emit_after("worker_boot", self)
        self._stopping.wait()
        broker.emit_before("worker_shutdown", self)
        self._running = False
        pool.shutdown()
        for consumer in self._consumers:
            consumer.close()
        broker.emit_after("worker_shutdown", self)
        self.ended = True
        kernel().after(0.0, partial(self.on_end, self))

    def _consume(self, broker: PlatformBroker, queue: str, pool: ThreadPoolExecutor) -> None:
        while self._running:
            consumer = None
            try:
                consumer = broker.consume(queue, broker.translator.queues[queue].prefetch, POLL_MS)
                self._consumers.append(consumer)
                while self._running:
                    message = next(consumer)
                    if message is not None:
                        pool.submit(self._perform, broker, consumer, message)
            except ConnectionClosed:
                if consumer is not None:
                    self._consumers.remove(consumer)
                    consumer.close()
                kernel().wait(CONSUMER_RESTART_S)

    def _perform(self, broker: PlatformBroker, consumer: Any, message: Any) -> None:
        if not self._running:
            consumer.requeue([message])
            return
        try:
            broker.get_actor(message.actor_name).fn(*message.args)
        finally:
            if isinstance(message, CommandMessage):
                consumer.ack(message)

    # --- world's turn ---

    def kill(self) -> None:
        kernel().kill(self.host)


def _nobody(_process: ServiceProcess) -> None:
    return None


def _could_not_start(code: int) -> None:
    raise RuntimeError(f"a process could not start: code {code}")
