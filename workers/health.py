"""The health process of a service: one per service, however many worker processes it has (design section 3).

Dramatiq forks it (see `workers._boot.Boot.forks`). It only reads: worker heartbeats and metrics from the state, and whether
the broker accepts a connection.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Final

import connector
from connector.core.clock import SystemClock
from connector.core.errors import ConnectorError, StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS, means, render_many
from connector.core.ports import Clock, Role, State, WorkerInfo
from connector.core.settings import Settings
from workers._build import make_state, observe
from workers.health_port import HealthServer
from workers.status_page import Status, summarize

log = get_logger(__name__)

METRICS_KEY: Final = "metrics:"
PROBE_TIMEOUT_S: Final = 1.0


class StateReader:
    """Answers the health server's questions out of the state. Any thread."""

    def __init__(self, state: State, settings: Settings, role: Role, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._state, self._settings, self._role = state, settings, role
        self._started = self._clock.mono()

    def workers(self) -> list[WorkerInfo]:
        try:
            return self._state.workers(self._role)
        except StateUnavailable:
            return []

    def ready(self) -> Sequence[str]:
        problems = []
        if not _reachable(self._settings.rabbit_host or "127.0.0.1", self._settings.rabbit_port):
            problems.append("broker: no connection to RabbitMQ")
        try:
            workers = self._state.workers(self._role)
            if not workers:
                problems.append("streams: no worker process has a heartbeat")
        except StateUnavailable as error:
            problems.append(f"redis: {error}")
        return problems

    def metrics(self) -> str:
        return render_many(self._dumps())

    def _dumps(self) -> list[bytes]:
        dumps = [METRICS.dump()]
        try:
            for worker in self._state.workers(self._role):
                text = self._state.get(METRICS_KEY + worker.owner)
                if text is not None:
                    dumps.append(text.encode())
        except StateUnavailable:
            log.debug("metrics of the worker processes are not available")
        return dumps

    def status(self) -> Status:
        return summarize(
            self.workers(),
            now_ms=self._clock.wall_ms(),
            role=self._role,
            version=connector.VERSION,
            uptime_s=self._clock.mono() - self._started,
            problems=self.ready(),
            lag_s=means(self._dumps(), "publish_lag_seconds", "sink"),
            prices=self._settings.chosen_prices,
        )


def _reachable(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def serve(role: Role) -> None:
    """Run until SIGTERM. A busy port is not fatal: two services may share a host."""
    settings = Settings.from_env(os.environ)
    observe(settings)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    state = make_state(settings)
    reader = StateReader(state, settings, role)
    server = HealthServer(
        settings.health_port, settings.health_host, status=reader.status, ready=reader.ready, metrics=reader.metrics
    )
    server.start()
    while not done.wait(3600.0):
        log.debug("health process is alive")
    server.stop()
    state.close_connections()


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
