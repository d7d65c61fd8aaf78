"""Starts and stops a worker process of either role, in a written order, from Dramatiq's hooks (platform-notes section 3).

Start (`after_worker_boot`, after the fork): sinks, engine, command service, announcement once the consumer is up. Stop
(`before_worker_shutdown`, AMQP and Redis still usable): commands are left to another process, streams are handed over, events
are flushed, connections closed.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import dramatiq

from connector.core.errors import StateUnavailable
from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Role, State
from connector.sinks.fanout import FanoutSink
from connector.sinks.rabbitmq import RabbitSink
from connector.sinks.redis_pubsub import RedisSink
from connector.streams.edges import Edges
from connector.streams.engine import Engine, EngineOptions
from connector.streams.market import wanted_exchanges
from exchanges.ids import LIVE
from exchanges.paper.user import url as paper_url
from tasks.service import set_service
from workers import health
from workers._leftovers import OwnedElsewhere
from workers._readiness import ConsumerUp, Watch
from workers._service import Service

log = get_logger(__name__)

METRICS_S: Final = 5.0
ANNOUNCE_RETRY_S: Final = 2.0
ORPHANS_S: Final = 5.0
"""How often to look for streams that no process can open; they must be there twice in a row."""
FLUSH_S: Final = 10.0
_FILES: Final = resource.RLIMIT_NOFILE
MAX_FILES: Final = 1_048_576
OTHER_FILES: Final = 256
"""Files beside one socket per stream: servers, REST, outbox, libraries."""


def switched(enabled: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Live exchange ids whose accounts are served, and those that are not; each one stands in exactly one list."""
    on = [exchange for exchange in wanted_exchanges(()) if enabled(exchange)]
    return on, sorted(LIVE - set(on))


def say_what_runs(engine: Engine) -> None:
    """One line at the start about what this process serves, a loud one about what it leaves out (bugs A55, B16, C17)."""
    options = engine.options
    if options.role == "user":
        on, off = switched(engine.enabled)
        log.info("account streams", on=on, off=off, paper=paper_url(options.venue_options.get("PAPER_WS")))
    elif options.price_role == "candle":
        log.warning("tickers are off (PRICEROLE=candle): paper orders fill only if another price service sends them")
    elif options.price_role == "ticker":
        log.warning("candles are off (PRICEROLE=ticker): indicators get them only from another price service")


def raise_file_limit(streams: int) -> int:
    """Raise the soft limit of open files to the hard one, and warn if that does not cover `streams` sockets.

    Returns the limit, at most `MAX_FILES`.
    """
    soft, hard = (MAX_FILES if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(_FILES))
    if soft < hard:
        try:
            resource.setrlimit(_FILES, (min(hard, MAX_FILES), resource.getrlimit(_FILES)[1]))
            soft = min(hard, MAX_FILES)
        except (OSError, ValueError) as error:
            log.warning("the limit of open files could not be raised", error=str(error))
    if soft < streams + OTHER_FILES:
        log.warning(
            "fewer open files allowed than streams: raise the limit (ulimit -n), or lower MAX_STREAMS", limit=soft
        )
    return soft


class Process:
    """One worker process: sinks, state, engine and service together."""

    def __init__(
        self,
        options: EngineOptions,
        state: State,
        sink: FanoutSink,
        wait_ready: Callable[[float], bool],
        watch: Callable[[Watch], None] | None = None,
    ) -> None:
        """`wait_ready` waits until commands are consumed; `watch` tells when that begins, and whether the queue was gone."""
        self.state, self.sink = state, sink
        self.engine = Engine(options, state, sink, Edges())
        self.service = Service(self.engine)
        self._wait_ready, self._watch = wait_ready, watch
        self._orphans: set[str] = set()
        self._commands_lost = threading.Event()
        self._stopping = threading.Event()
        self._announcer = threading.Thread(target=self._announce, name="announcer", daemon=True)
        sink.on_confirmed = self.engine.pipeline.confirmed
        for one in sink.sinks:
            if isinstance(one, RedisSink):
                one.on_recovered = self._recovered
            if isinstance(one, RabbitSink):
                one.owned_elsewhere = OwnedElsewhere(state, self.engine.owner, self.engine.clock)

    def start(self) -> None:
        raise_file_limit(self.engine.options.capacity)
        self.sink.start()
        self.engine.start()
        self.engine.announcer.met()
        say_what_runs(self.engine)
        self.engine.every(METRICS_S, self._share_metrics)
        if self.engine.options.role == "user":
            self.engine.every(ORPHANS_S, self._look_for_orphans)
        if self._watch is not None:
            self._watch(self._consumer_up)
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
        """Announce once the command consumer, Redis and the sinks are ready (bug A8), and when commands may be lost."""
        announced = False
        while not self._stopping.is_set():
            if not self._wait_ready(1.0) or (announced and not self._commands_lost.wait(1.0)):
                continue
            lost = self._commands_lost.is_set()
            self._commands_lost.clear()
            try:
                self._announce_once(lost)
                announced = True
            except StateUnavailable as error:
                log.warning("the announcement waits: the state is unavailable", error=str(error))
                if lost:
                    self._commands_lost.set()
                self._stopping.wait(ANNOUNCE_RETRY_S)

    def _announce_once(self, lost: bool) -> None:
        announcer = self.engine.announcer
        if self.engine.options.role == "price":
            announcer.price_started(lost=lost)
            return
        epoch = announcer.user_started(lost=lost)
        if epoch is not None:
            self.engine.once_after(announcer.grace_s, partial(announcer.close_stale, epoch))

    def _consumer_up(self, up: ConsumerUp) -> None:
        """The queue did not exist: whatever was published meanwhile went nowhere (contract 1.1)."""
        if up.created:
            if not up.first:
                log.warning("the command queue was gone: senders are asked again", queue=up.queue)
            self._commands_lost.set()

    def _look_for_orphans(self) -> None:
        """Scheduler job of the process that gets the commands: streams whose keys died with a process are asked for again."""
        if not self._wait_ready(0.0):
            return
        announcer = self.engine.announcer
        try:
            before, self._orphans = self._orphans, announcer.orphans(self.engine.enabled)
            lasting = before & self._orphans
            if lasting and announcer.ask_for_orphans(len(lasting)):
                self._commands_lost.set()
        except StateUnavailable:
            self._orphans = set()

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
