"""Everything in one process, the same classes as production: what `make run` starts.

Without settings nothing else is needed: the simulator plays the venues, an embedded broker carries the commands, an
in-process Redis keeps the state. `RABBIT_HOST` and `REDIS_HOST` put real servers in their place, `LIVE=1` the public feeds of
the real exchanges.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TextIO

import dramatiq
import msgspec
from cryptography.fernet import Fernet

import connector
from connector.core.copies import Copy
from connector.core.errors import ConnectorError, InvalidSetting
from connector.core.limit_use import together
from connector.core.log import get_logger
from connector.core.metrics import METRICS, Minute, means
from connector.core.otel import init_traces
from connector.core.settings import Settings
from connector.servers.rabbit import Blocking, connection_arguments, parameters
from connector.sinks.fanout import FanoutSink
from connector.sinks.memory import MemorySink
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.edges import Edges
from connector.streams.options import engine_options
from exchanges import example_of, venue_of, venues
from exchanges.ids import FAMILIES
from tasks import price as tasks_price
from tasks import user as tasks_user
from tasks.commands import CandleRequest, Command
from tasks.service import set_service
from workers._build import make_sinks, observe
from workers._process import Process
from workers._readiness import Watch
from workers._shared_metrics import SHARE_S
from workers._terminal import Terminal
from workers._translate import PRICE_QUEUES, USER_QUEUES
from workers.broker import PlatformBroker
from workers.door import Door, Facts
from workers.embedded import EmbeddedBroker
from workers.health import clocks
from workers.health_port import Figures, HealthServer
from workers.hour import Hour, summed
from workers.status_page import Status, summarize
from workers.streams_seen import StreamsSeen

log = get_logger(__name__)

STOP_S: Final = 1.5
"""Ctrl-C ends everything within 5 s: there is nobody to hand streams to."""
_MINUTE: Final = frozenset({"1m", "1", "1min", "candle1m"})
"""Spellings of a minute: its candles come soon enough for a demonstration."""


def demo_candle(exchange: str) -> tuple[str, str] | None:
    """Pair and interval of a candle of a minute; None if the exchange has none."""
    example = example_of(exchange)
    found = next((code for code in example.intervals if code in _MINUTE), None) if example is not None else None
    return (example.pair, found) if example is not None and found is not None else None


class LocalService:
    """Candle requests go to the price engine, everything else to the account engine."""

    def __init__(self, user: Process, price: Process) -> None:
        self._user, self._price = user, price

    def apply(self, command: Command, nonce: str = "", copy: Copy | None = None) -> object:
        return (self._price if isinstance(command, CandleRequest) else self._user).service.apply(command, nonce, copy)

    def reconcile(self, stream_id: str) -> None:
        self._user.service.reconcile(stream_id)


class Local:
    """The whole product in one process. `start` and `stop` once each, from the main thread."""

    def __init__(self, environ: Mapping[str, str], out: TextIO | None = None) -> None:
        self.live = _yes("LIVE", environ.get("LIVE", ""))
        defaults = {"LOG_FORMAT": "console", "LOG_LEVEL": "WARNING", "PRICEROLE": "all"}
        given = {**defaults, "CREDENTIALS_KEYS": Fernet.generate_key().decode(), **environ}
        # First: it is what can be missing.
        named = Settings.from_env(environ)
        self._fake_redis = None if named.names_redis else _FakeRedis()
        if self._fake_redis is not None:
            given |= {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self._fake_redis.port)}
        self._simulator = None if self.live or environ.get("VENUE_GATEWAY") else _simulator(environ)
        if self._simulator is not None:
            try:
                self._simulator.start()
            except (OSError, OverflowError) as error:
                raise InvalidSetting(f"SIMULATOR_PORT: the simulator can't listen there: {error}") from None
            given |= {"VENUE_GATEWAY": self._simulator.gateway, "PAPER_WS": f"ws://{self._simulator.gateway}"}
        given["SINKS"] = given.get("SINKS") or ("rabbitmq,redis" if named.names_rabbit else "redis")
        self.settings = Settings.from_env(given)
        observe(self.settings)
        init_traces(environ)
        self._edges = Edges()
        self.broker = self._make_broker()
        self._terminal = Terminal(out)
        self.user = self._process("user")
        self.price = self._process("price")
        # Both engines count into the same figures, where the gauges of one take the place of the other's.
        self._hour = Hour(self._edges.clock, METRICS, self._by_state)
        self._minutes: Sequence[Minute] = ()
        self.user.engine.every(SHARE_S, self._note_hour)
        self.worker = dramatiq.Worker(self.broker, worker_threads=4, worker_timeout=100)
        self.health_up = False
        """Whether the status page is ours."""
        self.health = HealthServer(
            self.settings.health_port,
            self.settings.health_host,
            status=self._status,
            ready=list,
            metrics=self._figures,
            door=self._door(),
            seen=StreamsSeen(self.user.engine.state, None, self._edges.clock),
        )

    def _make_broker(self) -> PlatformBroker | EmbeddedBroker:
        queues = {**USER_QUEUES, **PRICE_QUEUES}
        broker: PlatformBroker | EmbeddedBroker
        if self.settings.names_rabbit:
            broker = PlatformBroker(
                queues, parameters=connection_arguments(self.settings.rabbit, name="connector-local")
            )
        else:
            broker = EmbeddedBroker(queues)
        dramatiq.set_broker(broker)
        tasks_user.declare(broker)
        tasks_price.declare(broker)
        return broker

    def _process(self, role: Any) -> Process:
        vault = Vault.from_setting(self.settings.credentials_keys.get_secret_value())
        state = RedisState(self.settings.redis, prefix=self.settings.state_prefix, vault=vault)
        sinks = make_sinks(self.settings, self._edges).sinks
        terminal = MemorySink(self._terminal, limit=10_000, name="terminal")
        # Nobody reads again what was printed.
        terminal.messages = deque(maxlen=0)
        # In a store of our own that begins empty, no account had a stream before.
        options = msgspec.structs.replace(engine_options(self.settings, role), announced=self._fake_redis is None)
        return Process(
            options,
            state,
            FanoutSink([*sinks, terminal]),
            self.broker.wait_until_ready,
            self._consumed,
            self._edges,
        )

    def _consumed(self, watch: Watch) -> None:
        """Nobody can have sent commands before this process was there, so a queue that is new lost none."""
        self.broker.watch_consumers(lambda up: watch(up._replace(created=False)))

    def start(self) -> None:
        self.user.start()
        self.price.start()
        set_service(LocalService(self.user, self.price))
        self.worker.start()
        self.health_up = self.health.start()

    def demo(self) -> int:
        """Open the demo accounts and ask for candles, with the bodies that the backend would publish."""
        accounts = self._simulator.demo() if self._simulator is not None else []
        opened = 0
        for account in accounts:
            for exchange in FAMILIES.get(account.venue, ("paperBinance",)):
                if venue_of(exchange) is None:
                    continue
                api = {"provider": exchange, "key": account.key, "secret": account.secret}
                if account.passphrase:
                    api["passphrase"] = account.passphrase
                if account.keys_type:
                    api["keysType"] = account.keys_type
                data = {"userId": "demo", "api": api}
                self._command(tasks_user.QUEUE, {"event": "open stream", "uuid": f"demo-{exchange}", "data": data})
                opened += 1
        for exchange, *_ in FAMILIES.values():
            candle = demo_candle(exchange)
            if candle is not None:
                request = {"symbol": candle[0], "exchange": exchange, "interval": candle[1]}
                self._command(tasks_price.QUEUE, request)
        return opened

    def _door(self) -> Door | None:
        """Commands from this machine's command line, while nothing here can reach a real exchange or broker."""
        broker = self.broker
        if self._simulator is None or not isinstance(broker, EmbeddedBroker):
            return None
        queues = (tasks_user.QUEUE, tasks_price.QUEUE)
        return Door(
            Facts(redis=str(self.settings.redis.hosts[0]), gateway=self._simulator.gateway),
            {queue: partial(broker.publish_platform, queue) for queue in queues},
        )

    def _command(self, queue: str, payload: object) -> None:
        body = json.dumps({"payload": payload}).encode()
        if isinstance(self.broker, EmbeddedBroker):
            self.broker.publish_platform(queue, body)
            return
        connection = Blocking(parameters(self.settings.rabbit, name="demo"))()
        try:
            connection.channel().basic_publish("gainium", queue, body)
        finally:
            connection.close()

    def stop(self) -> bool:
        set_service(None)
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lambda process: process.stop(STOP_S), (self.user, self.price)))
        self.worker.stop(timeout=1_000)
        self.broker.close()
        self.health.stop(1.0)
        if self._simulator is not None:
            self._simulator.stop()
        if self._fake_redis is not None:
            self._fake_redis.stop()
        return all(ended)

    def _by_state(self) -> Mapping[str, int]:
        return Counter(self.user.engine.info().states) + Counter(self.price.engine.info().states)

    def _note_hour(self) -> None:
        self._minutes = self._hour.note()

    def _figures(self) -> Figures:
        return Figures([METRICS.dump()], {"local": self._edges.pid})

    def _status(self) -> Status:
        infos = [self.user.engine.info(), self.price.engine.info()]
        dumps = [METRICS.dump()]
        lag_s = means(dumps, "publish_lag_seconds", "sink")
        now_ms = self.user.engine.clock.wall_ms()
        return summarize(
            infos,
            now_ms=now_ms,
            role="local",
            version=connector.VERSION,
            uptime_s=(now_ms - infos[0].started_ms) / 1000,
            lag_s=lag_s,
            clock_off_s=clocks(dumps),
            limit_wait_s=means(dumps, "budget_wait_seconds", "venue"),
            prices=self.settings.chosen_prices,
            hour=summed([self._minutes], now_ms),
            limits=together([*self.user.engine.budget.uses(), *self.price.engine.budget.uses()]),
        )


class _FakeRedis:
    """An in-process Redis on a loopback port. `ConnectorError` when what it is made of is not installed."""

    def __init__(self) -> None:
        try:
            import lupa  # noqa: F401  (fakeredis looks for it only when the first script is sent)
            from fakeredis import TcpFakeServer
        except ModuleNotFoundError as error:
            raise ConnectorError(
                f"there is no {error.name} for the in-process Redis: pip install 'websocket-connector[demo]' "
                "(from a checkout: pip install '.[demo]'), or say in REDIS_HOST or REDIS_URL which one runs"
            ) from error

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._server = TcpFakeServer(("127.0.0.1", 0), server_type="redis", server_version=(7, 4))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="fake-redis", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


def _simulator(environ: Mapping[str, str]) -> Any:
    from simulator.simulator import Simulator

    port = environ.get("SIMULATOR_PORT", "").strip() or "0"
    if not port.isascii() or not port.isdigit():
        raise InvalidSetting("SIMULATOR_PORT: takes a port number, 0 = any free one")
    return Simulator(port=int(port), seed=1)


def _yes(name: str, text: str) -> bool:
    """Raises `InvalidSetting` for a word that means neither yes nor no."""
    word = text.strip().lower()
    if word not in {"", "0", "1", "false", "no", "true", "yes"}:
        raise InvalidSetting(f"{name}: takes true or false")
    return word in {"1", "true", "yes"}


def run(environ: Mapping[str, str]) -> int:
    """Run until Ctrl-C or SIGTERM; returns the exit code."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    local = Local(environ)
    local.start()
    accounts = local.demo()
    _greet(local, accounts)
    done.wait()
    sys.stderr.write("\nstopping …\n")
    clean = local.stop()
    logging.shutdown()
    return 0 if clean else 1


def _page(local: Local) -> str:
    if local.health_up:
        return f"status page http://localhost:{local.health.port}/   metrics /metrics"
    return f"no status page: another program has port {local.health.port} (HEALTH_PORT)"


def _greet(local: Local, accounts: int) -> None:
    names = ", ".join(sorted(venues()))
    where = "the real exchanges (public feeds)" if local.live else "the built-in simulator"
    lines = [
        f"websocket-connector {connector.VERSION}: {accounts} demo account streams, venues {names}, from {where}",
        f"{_page(local)}   Ctrl-C to stop",
    ]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
