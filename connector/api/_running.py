"""One engine in a program: what `Connector` and `PriceConnector` share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from connector.api._events import Event, events_of
from connector.api._listeners import Callback, Events, Listeners
from connector.api._sink import ProgramSink
from connector.core.errors import ConnectorError, InvalidSetting
from connector.core.log import get_logger
from connector.core.messages import Message
from connector.core.ports import Role, State
from connector.core.server_settings import ServerSettings
from connector.core.settings import Settings
from connector.core.traces import TRACES
from connector.state.memory_state import MemoryState
from connector.state.redis_state import RedisState
from connector.state.vault import Vault
from connector.streams.edges import Edges
from connector.streams.engine import Engine
from connector.streams.options import engine_options

log = get_logger(__name__)

STOP_S: Final = 10.0
QUEUE_LIMIT: Final = 10_000
STATE_TAKES: Final = "state: takes redis://[[user]:password@]host[:port][/db], or rediss://…"


class Running:
    """`start` and `stop` once each; every other method from any thread, between the two (`on` and `events` earlier, too)."""

    def __init__(
        self,
        role: Role,
        names: frozenset[str],
        settings: Settings | Mapping[str, str] | None,
        gateway: str,
        state: State | str | None,
        queue_limit: int,
        more: Mapping[str, object],
    ) -> None:
        chosen = settings if isinstance(settings, Settings) else Settings.from_env(settings or {})
        if gateway:
            options = {**chosen.venue_options, "PAPER_WS": f"ws://{gateway}"}
            more = {**more, "venue_gateway": gateway, "venue_options": options}
        self.settings = chosen.model_copy(update=dict(more))
        self._listeners = Listeners(names)
        self._mine = state is None or isinstance(state, str)
        edges = Edges(end_process=self._stuck)
        self._state = make_state(state, self.settings, edges)
        self._sink = ProgramSink(self._deliver, edges.clock, queue_limit)
        self._sink.on_full = self._full
        own = msgspec.structs.replace(engine_options(self.settings, role), announced=False)
        self._engine = Engine(own, self._state, self._sink, edges)
        self._sink.on_confirmed = self._engine.pipeline.confirmed
        self._lock = threading.Lock()
        self._began = self._ended = False

    # --- listening ---

    def on(self, event: str, callback: Callback) -> Callable[[], None]:
        """Call `callback(event)` for each event of this name; `*` = all. Returns a function that takes it away again.

        Callbacks run one after another on one thread of their own. One that raises costs that call only: it is logged,
        and `error` tells of it. Raises `ValueError` for a name that no event has.
        """
        return self._listeners.add(event, callback)

    def events(self) -> Events:
        """Everything that happens from here on, as an iterator (see `Events`)."""
        return self._listeners.loop()

    # --- life ---

    def start(self) -> Self:
        """Begin; opening a stream does it, too. Raises `ConnectorError` once it was stopped."""
        with self._lock:
            if self._ended:
                raise ConnectorError("this connector was stopped; make another one")
            if not self._began:
                TRACES.begin_if_provided()
                self._sink.start()
                self._engine.start()
                self._began = True
        return self

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Close every connection, deliver what waits, end all loops; True if everything was delivered in time.

        With a Redis state, streams stay wanted: the next start opens them again. Also from a callback or a loop; then what
        waits behind it is not delivered.
        """
        with self._lock:
            began, ended = self._began, self._ended
            self._ended = True
        if ended or not began:
            self._listeners.end_loops()
            return True
        self._listeners.end_loops(mine=True)
        clean = self._engine.stop(0.0 if self._sink.on_own_thread else timeout_s)
        if not self._sink.on_own_thread:
            clean = self._sink.flush(timeout_s) and clean
        self._listeners.end_loops()
        clean = self._sink.stop(1.0) and clean
        if self._mine:
            self._state.close_connections()
        return clean

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- from the engine ---

    def _deliver(self, message: Message) -> None:
        """On the thread of the callbacks."""
        for event in events_of(message):
            if self._listeners.wanted(event.name):
                self._listeners.tell(self._completed(event))

    def _completed(self, event: Event[Any]) -> Event[Any]:
        """With what this process knows of the stream."""
        return event

    def _full(self) -> None:
        log.error("callbacks are too slow: a stream ends, and is repaired once there is room")

    def _stuck(self, code: int) -> None:
        """A thread of the engine died or hangs. The program is not ours to end."""
        log.error("this connector can't go on: stop it and make another one", exit_code=code)
        text = "a thread of this connector died or hangs: stop it and make another one"
        self._engine.pipeline.service("error", {"text": text})


def make_state(state: State | str | None, settings: Settings, edges: Edges) -> State:
    """Memory, or the Redis behind `redis://[:password@]host[:port][/db]` (`rediss` = TLS). Raises `InvalidSetting`."""
    if state is None:
        return MemoryState(edges.clock)
    if not isinstance(state, str):
        return state
    try:
        place = ServerSettings.model_validate({"REDIS_URL": state, "TLS_CA_FILE": settings.tls_ca_file}).redis
    except ValueError:
        raise InvalidSetting(STATE_TAKES) from None
    vault = Vault.from_setting(settings.credentials_keys.get_secret_value())
    return RedisState(place, prefix=settings.state_prefix, vault=vault, clock=edges.clock)
