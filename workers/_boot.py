"""Starts and stops a worker process of either role, in a written order, from Dramatiq's hooks (platform-notes section 3).

Start (`after_worker_boot`, after the fork): sinks, engine, command service, announcement once the consumer is up. Stop
(`before_worker_shutdown`, AMQP and Redis still usable): commands are left to another process, streams are handed over, events
are flushed, connections closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import dramatiq

from core.errors import StateUnavailable
from core.log import get_logger
from core.metrics import METRICS
from core.ports import Role, State
from sinks.fanout import FanoutSink
from sinks.redis_pubsub import RedisSink
from streams.clock import SystemClock
from streams.engine import Engine, EngineOptions
from tasks.service import set_service
from workers import health
from workers._service import Service

log = get_logger(__name__)

METRICS_S: Final = 5.0
ANNOUNCE_RETRY_S: Final = 2.0
FLUSH_S: Final = 10.0


class Process:
    """One worker process: sinks, state, engine and service together."""

    def __init__(
        self, options: EngineOptions, state: State, sink: FanoutSink, wait_ready: Callable[[float], bool]
    ) -> None:
        self.state, self.sink = state, sink
        self.engine = Engine(options, state, sink, SystemClock())
        self.service = Service(self.engine)
        self._wait_ready = wait_ready
        self._stopping = threading.Event()
        self._announcer = threading.Thread(target=self._announce, name="announcer", daemon=True)
        sink.on_confirmed = self.engine.pipeline.confirmed
        for one in sink.sinks:
            if isinstance(one, RedisSink):
                one.on_recovered = self._recovered

    def start(self) -> None:
        self.sink.start()
        self.engine.start()
        self.engine.every(METRICS_S, self._share_metrics)
        set_service(self.service)
        self._announcer.start()

    def stop(self, timeout_s: float | None = None) -> bool:
        self._stopping.set()
        set_service(None)
        clean = self.engine.stop(timeout_s)
        flushed = self.sink.stop(FLUSH_S)
        self.state.close_connections()
        if not flushed:
            log.error("events were left unconfirmed at the end; the outbox on disk keeps account events")
        return clean and flushed

    def _announce(self) -> None:
        """Announce once the command consumer, Redis and the sinks are ready (bug A8); again after a takeover."""
        while not self._stopping.is_set():
            if not self._wait_ready(1.0):
                continue
            try:
                self._announce_once()
            except StateUnavailable as error:
                log.warning("the announcement waits: the state is unavailable", error=str(error))
                self._stopping.wait(ANNOUNCE_RETRY_S)
                continue
            return

    def _announce_once(self) -> None:
        announcer = self.engine.announcer
        if self.engine.options.role == "price":
            announcer.price_started()
            return
        epoch = announcer.user_started()
        if epoch is not None:
            self.engine.once_after(announcer.grace_s, partial(announcer.close_stale, epoch))

    def _recovered(self, stream_ids: Sequence[str]) -> None:
        """Redis is back and account events of these streams were lost on it: their bots must check (contract 4.1)."""
        for stream_id in stream_ids:
            spec = self.engine.supervisor.spec(stream_id)
            if spec is not None:
                self.engine.pipeline.info(stream_id, spec.exchange)

    def _share_metrics(self) -> None:
        try:
            dump = METRICS.dump().decode()
            self.state.put(health.METRICS_KEY + self.engine.owner, dump, METRICS_S * 4)
        except StateUnavailable:
            log.debug("metrics are not shared: the state is unavailable")


class Boot(dramatiq.Middleware):
    """Ties a `Process` to the life of a Dramatiq worker."""

    def __init__(self, role: Role, make: Callable[[], Process]) -> None:
        self._role, self._make = role, make
        self._process: Process | None = None

    @property
    def forks(self) -> list[Callable[[], int]]:
        return [health.user if self._role == "user" else health.price]

    def after_worker_boot(self, broker: dramatiq.Broker, worker: Any) -> None:
        del broker, worker
        self._process = self._make()
        self._process.start()

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: Any) -> None:
        del worker
        release = getattr(broker, "release_commands", None)
        if release is not None:
            release()
        if self._process is not None:
            self._process.stop()

    @staticmethod
    def consumer_wait(broker: Any) -> Callable[[float], bool]:
        def wait(timeout_s: float) -> bool:
            return bool(broker.wait_until_ready(timeout_s))

        return wait
