"""The health process of a service: one per service, however many worker processes it has.

Dramatiq forks it (see `workers._boot.Boot.forks`). It only reads: heartbeats and metrics of worker processes from the state.
Whether *this* service can do its work is what its own worker processes say in their heartbeats: others may be well.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import connector
from connector.core.clock import Chance, SystemClock
from connector.core.errors import ConnectorError, StateUnavailable
from connector.core.limit_use import LimitUse, together
from connector.core.log import get_logger
from connector.core.metrics import METRICS, Minute, hours, limits, means, merged
from connector.core.ports import Clock, Role, State, WorkerInfo
from connector.core.settings import Settings
from connector.streams.edges import service_name
from workers._build import make_state, observe
from workers.control import Control
from workers.hour import summed
from workers.status_page import Status, redis_away, summarize
from workers.streams_seen import StreamsSeen

if TYPE_CHECKING:
    from workers.health_port import Figures

log = get_logger(__name__)

METRICS_KEY: Final = "metrics:"
PROBE_TIMEOUT_S: Final = 1.0
NO_ANSWER: Final = "no answer in time"
PORT_RETRY_S: Final = 2.0
"""How often a port that another process holds is tried again."""


class StateReader:
    """Answers the health server's questions out of the state. Any thread."""

    def __init__(self, state: State, settings: Settings, role: Role, service: str, clock: Clock | None = None) -> None:
        """`service`: what the heartbeats of this service's own worker processes carry."""
        self._clock = clock or SystemClock()
        self._state, self._settings, self._role, self._service = state, settings, role, service
        self._started = self._clock.mono()
        self._known: list[bytes] = []
        self._pids: dict[str, int] = {}
        self._seen: list[WorkerInfo] = []
        self._hour: list[Minute] = []
        self._limits: list[LimitUse] = []
        self._seen_mono = self._started
        self._known_mono = self._started

    def ready(self) -> Sequence[str]:
        """Why this service can't do its work; empty = it can. Other services of the deployment don't matter here."""
        try:
            mine = [worker for worker in self._state.workers(self._role) if worker.service == self._service]
        except StateUnavailable as error:
            return [redis_away(error), *self._broker()]
        if not mine:
            return ["streams: no worker process of this service has a heartbeat", *self._broker()]
        problems = dict.fromkeys(problem for worker in mine for problem in worker.problems)
        if all(worker.draining for worker in mine):
            problems["streams: this service is ending and takes no streams"] = None
        return list(problems)

    def _broker(self) -> list[str]:
        """What can be said of the broker without a worker process."""
        if any(_reachable(*host) for host in self._settings.rabbit.hosts):
            return []
        return ["broker: no connection to RabbitMQ"]

    def metrics(self) -> Figures:
        """Own figures first: they are there whatever is away. Those of the worker processes are this service's alone, so
        that the figures of all services add up to the deployment's; while Redis is away they are the last that are known."""
        problems = self.ready()
        try:
            mine = [worker for worker in self._state.workers(self._role) if worker.service == self._service]
            self._known = self._dumps(mine)
        except StateUnavailable:
            log.debug("the figures of the worker processes are those of before: the state is unavailable")
        else:
            self._known_mono = self._clock.mono()
            self._pids = {worker.owner: worker.pid for worker in mine}
        METRICS.gauge("redis_up", float(not _of_redis(problems)))
        out_of_broker = any(problem.startswith(("broker", "rabbitmq", "commands")) for problem in problems)
        METRICS.gauge("broker_up", float(not out_of_broker))
        return self._figures(ready=not problems)

    def known_metrics(self) -> Figures:
        """What is known without asking the state, which gives no answer. Never waits."""
        METRICS.gauge("redis_up", 0.0)
        return self._figures(ready=False)

    def _figures(self, *, ready: bool) -> Figures:
        from workers.health_port import Figures

        METRICS.gauge("ready", float(ready))
        METRICS.gauge("worker_figures_age_seconds", self._clock.mono() - self._known_mono)
        return Figures([METRICS.dump(), *self._known], {"health": os.getpid(), **self._pids})

    def _dumps(self, workers: Sequence[WorkerInfo]) -> list[bytes]:
        texts = self._state.get_all([METRICS_KEY + worker.owner for worker in workers])
        return [text.encode() for text in texts if text is not None]

    def status(self) -> Status:
        """While Redis is away, what was known last, and since when."""
        problems = self.ready()
        if _of_redis(problems):
            return self._as_known(problems)
        try:
            everybody = self._state.workers()
            seen = [worker for worker in everybody if worker.role == self._role]
            dumps = self._dumps(seen)
            # Both services share the limits of an exchange.
            others = self._dumps([worker for worker in everybody if worker.role != self._role])
        except StateUnavailable as error:
            return self._as_known([redis_away(error), *problems])
        self._seen, self._seen_mono = seen, self._clock.mono()
        self._limits = together(limits([*dumps, *others]))
        self._hour = summed(hours(dumps), self._clock.wall_ms())
        return self._summed(problems, dumps)

    def known_status(self) -> Status:
        """What is known without asking the state, which gives no answer. Never waits."""
        return self._as_known([f"redis: {NO_ANSWER}"])

    def _as_known(self, problems: Sequence[str]) -> Status:
        age_s = self._clock.mono() - self._seen_mono
        first, *others = problems
        known = f"{first.rstrip('.')}; what stands below is {age_s:.0f} s old" if self._seen else first
        return self._summed([known, *others], [])

    def _summed(self, problems: Sequence[str], dumps: Sequence[bytes]) -> Status:
        return summarize(
            self._seen,
            now_ms=self._clock.wall_ms(),
            role=self._role,
            version=connector.VERSION,
            uptime_s=self._clock.mono() - self._started,
            problems=problems,
            lag_s=means(dumps, "publish_lag_seconds", "sink"),
            clock_off_s=clocks(dumps),
            limit_wait_s=means(dumps, "budget_wait_seconds", "venue"),
            prices=self._settings.chosen_prices,
            hour=self._hour,
            limits=self._limits,
        )


def clocks(dumps: Sequence[bytes]) -> dict[str, float]:
    """By how much the host's clock is ahead of each venue's, seconds."""
    return {venue: off_s for (venue,), off_s in merged(dumps).values.get("clock_off_seconds", {}).items()}


def _of_redis(problems: Sequence[str]) -> bool:
    return any(problem.startswith("redis") for problem in problems)


def _reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def serve(role: Role) -> None:
    """Run until SIGTERM. A busy port is not fatal: two services may share a host, and in a rolling deploy the next one gets
    the port when the former one leaves."""
    from workers.health_port import HealthServer  # here alone: worker processes have no use for an HTTP server

    settings = Settings.from_env(os.environ)
    observe(settings)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    state = make_state(settings)
    reader = StateReader(state, settings, role, service_name())
    server = HealthServer(
        settings.health_port,
        settings.health_host,
        status=reader.status,
        ready=reader.ready,
        metrics=reader.metrics,
        known_metrics=reader.known_metrics,
        known_status=reader.known_status,
        seen=StreamsSeen(state, role, SystemClock()),
        control=_control(settings, state) if role == "user" else None,
        read_token=settings.read_token.get_secret_value(),
    )
    while not server.start() and not done.wait(PORT_RETRY_S):
        pass
    while not done.wait(3600.0):
        log.debug("health process is alive")
    server.stop()
    state.close_connections()


def _control(settings: Settings, state: State) -> Control | None:
    token = settings.control_token.get_secret_value()
    return Control(token, state, SystemClock(), Chance()) if token else None


def user() -> int:
    """Dramatiq's fork function of the account service; returns the exit code."""
    return _serve_guarded("user")


def price() -> int:
    """Dramatiq's fork function of the market-data service; returns the exit code."""
    return _serve_guarded("price")


def _serve_guarded(role: Role) -> int:
    try:
        serve(role)
    except ConnectorError as error:
        log.error("the health process can't start", error=str(error))
        return 1
    return 0
