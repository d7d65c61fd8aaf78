"""How a process reaches the simulated Redis: the `State` port with the network in between, and redis-py's connection.

`Registry` is what `RedisState` is in a deployment: every call takes a moment, may fail, may be answered too late although it
was carried out, and knows only those keys that this process was told or that the deployment can unseal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from connector.core.errors import StateUnavailable
from connector.core.ports import Wanted
from connector.core.stamps import Stamped
from connector.servers.redis import one_by_one
from exchanges.credentials import Credentials
from harness.worlds.blocking import Queue, host, kernel
from harness.worlds.kernel import Host, Task
from harness.worlds.redis_server import RedisServer, commands

SOCKET_TIMEOUT_S: Final = 2.0
"""`RedisState` waits this long for an answer."""
REFUSED_S: Final = 0.001
RESUBSCRIBE_S: Final = (0.1, 2.0)


class Where:
    """The Redis of the world that runs."""

    server: RedisServer | None = None


def server() -> RedisServer:
    if Where.server is None:
        raise RuntimeError("no world runs")
    return Where.server


class Registry:
    """The state as one process reaches it. Satisfies `connector.core.ports.State` by handing every call on."""

    def __init__(self, where: RedisServer, owner: Host, *, sealed: bool) -> None:
        self._server, self._host, self._sealed = where, owner, sealed
        self._keys: dict[str, Credentials] = {}
        """Key material that came to this process in commands."""
        self._connected = True
        self._stops: list[Callable[[], None]] = []

    def threads(self) -> list[Stamped]:
        """None: a world has one thread, and this is no question to the server."""
        return []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._server.registry, name)
        reads = name in _READS

        def call(*arguments: Any, **named: Any) -> Any:
            def work() -> Any:
                self._server.asked(self._host, name, arguments)
                return method(*arguments, **named)

            return self._call(name, work, reads=reads)

        self.__dict__[name] = call
        return call

    def _call(self, name: str, work: Callable[[], Any], *, reads: bool) -> Any:
        """There, then back. Raises `StateUnavailable`: refused, unanswered, or answered too late."""
        where, kern = self._server, kernel()
        losses = where.seen(self._host)
        if where.cut_off(self._host):
            if self._connected:
                # The first command goes out over a connection that is there; later ones need a new one, which fails.
                self._connected = False
                where.after_mend(self._host, lambda: self._late(work))
            kern.wait(SOCKET_TIMEOUT_S)
            raise StateUnavailable("Redis: TimeoutError: no answer")
        self._connected = True
        if not where.running:
            kern.wait(REFUSED_S)
            raise StateUnavailable("Redis: ConnectionError: connection refused")
        kern.wait(where.way_s())
        if where.stalled_until > kern.now:
            self._outlast(work)
        if where.readonly and not reads:
            raise StateUnavailable("Redis: ReadOnlyError: You can't write against a read only replica.")
        if self._interrupted(losses):
            raise StateUnavailable("Redis: ConnectionError: connection reset")
        result = work()
        kern.wait(where.way_s())
        if where.cut_off(self._host) or where.seen(self._host) != losses:
            raise StateUnavailable(f"Redis: ConnectionError: lost the answer to {name}")
        return result

    def _outlast(self, work: Callable[[], Any]) -> None:
        """Redis stands still. It does what it was asked when it goes on, whether or not the client still waits."""
        where, kern = self._server, kernel()
        left_s = where.stalled_until - kern.now
        if left_s < SOCKET_TIMEOUT_S:
            kern.wait(left_s)
            return

        kern.at(where.stalled_until, lambda: self._late(work))
        kern.wait(SOCKET_TIMEOUT_S)
        raise StateUnavailable("Redis: TimeoutError: no answer within the socket timeout")

    def _late(self, work: Callable[[], Any]) -> None:
        if self._server.running and not self._server.readonly:
            work()

    # --- key material ---

    def open(
        self, stream_id: str, exchange: str, user_id: str, credentials: Credentials, now_ms: int, **more: Any
    ) -> Any:
        self._keys[stream_id] = credentials
        method = self._server.registry.open
        return self._call(
            "open", lambda: method(stream_id, exchange, user_id, credentials, now_ms, **more), reads=False
        )

    def wanted(self, stream_ids: Sequence[str]) -> dict[str, Wanted]:
        method = self._server.registry.wanted
        found: Mapping[str, Wanted] = self._call("wanted", lambda: method(stream_ids), reads=True)
        return {name: self._known(entry) for name, entry in found.items()}

    def _known(self, entry: Wanted) -> Wanted:
        """Without CREDENTIALS_KEYS a process knows the key that a command brought it, and no other."""
        if self._sealed:
            return entry
        own = self._keys.get(entry.stream_id)
        if own is not None and own.digest == entry.digest:
            return entry
        return msgspec.structs.replace(entry, credentials=None)

    # --- notifications ---

    def listen(self, owner: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """As `RedisState.listen`: a thread of its own; `resync` after each interruption."""
        inbox, stopped = Queue(), False

        def run() -> None:
            losses = self._server.seen(self._host)
            while not stopped:
                if self._interrupted(losses):
                    self._server.listeners.pop(owner, None)
                    kernel().wait(self._server.chance.uniform(*RESUBSCRIBE_S))
                    if self._server.running and not self._server.cut_off(self._host):
                        losses = self._server.seen(self._host)
                        self._server.listeners[owner] = inbox.put_nowait
                        callback("resync")
                    continue
                if not inbox.empty() or _get_soon(inbox):
                    callback(inbox.get_nowait())

        self._server.listeners[owner] = inbox.put_nowait
        task = kernel().spawn(run, self._host, f"listener-{owner}")

        def stop() -> None:
            nonlocal stopped
            stopped = True
            self._server.listeners.pop(owner, None)
            kernel().wake(task)

        self._stops.append(stop)
        return stop

    def _interrupted(self, losses: int) -> bool:
        where = self._server
        return not where.running or where.seen(self._host) != losses or where.cut_off(self._host)

    def notify(self, owner: str, text: str) -> None:
        """Best effort, with a way of its own to each receiver."""

        def send() -> None:
            for name, put in sorted(self._server.listeners.items()):
                if owner in ("*", name):
                    kernel().after(self._server.way_s(), _putting(put, text))

        self._call("notify", send, reads=False)

    def listening(self) -> set[str]:
        found: set[str] = self._call("listening", lambda: set(self._server.listeners), reads=True)
        return found

    def close_connections(self) -> None:
        for stop in self._stops:
            stop()


def _putting(put: Callable[[str], None], text: str) -> Callable[[], None]:
    return lambda: put(text)


def _get_soon(inbox: Queue) -> bool:
    """Wait until something comes, at most a second: then the connection is looked at again."""
    inbox.wait_for_item(1.0)
    return not inbox.empty()


_READS: Final = frozenset(
    {
        "beats_left_s", "candles", "enabled_exchanges", "gate", "get", "get_all", "held", "owners", "ping", "positions",
        "roll", "unowned", "wanted_ids", "workers",
    }
)  # fmt: skip


class Connection:
    """What our code uses of `redis.Connection`: packed commands out, one reply at a time in."""

    def __init__(self, **options: Any) -> None:
        self._timeout_s = float(options.get("socket_timeout") or 5.0)
        self._connect_timeout_s = float(options.get("socket_connect_timeout") or 3.0)
        self._replies: deque[object] = deque()
        self._host = host()
        self._losses = -1
        self._waiting: Task | None = None
        self._expected = 0
        self._life = 0
        """Rises with each end: what did not arrive in its life never does (SO_LINGER, see `connector.sinks._common`)."""

    def connect(self) -> None:
        where = server()
        kernel().wait(where.way_s() * 2)
        if where.cut_off(self._host):
            kernel().wait(self._connect_timeout_s)
            raise RedisTimeoutError("Timeout connecting to server")
        if not where.running:
            raise RedisConnectionError("Error 111 connecting to redis. Connection refused.")
        self._losses = where.seen(self._host)
        self._replies.clear()

    def disconnect(self, *_: object) -> None:
        self._losses = -1
        self._life += 1

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        del check_health
        where = server()
        losses, life = self._losses, self._life
        if losses != where.seen(self._host) or not where.running:
            raise RedisConnectionError("Error 32 while writing to socket. Broken pipe.")
        packed = b"".join(command) if isinstance(command, list | tuple) else command

        def there() -> None:
            if losses != where.seen(self._host) or not where.running or life != self._life:
                return
            if where.cut_off(self._host):
                where.after_mend(self._host, there)
                return
            replies = [where.execute(words, self._host) for words in commands(packed)]
            kernel().after(where.way_s(), lambda: back(replies))

        def back(replies: list[object]) -> None:
            if losses == where.seen(self._host) == self._losses and not where.cut_off(self._host):
                self._replies.extend(replies)
                if self._waiting is not None:
                    kernel().wake(self._waiting)

        kernel().at(max(kernel().now + where.way_s(), where.stalled_until), there)

    def can_read(self, timeout: float = 0) -> bool:
        where = server()
        until = kernel().now + min(timeout, self._timeout_s)
        while not self._replies:
            if self._losses != where.seen(self._host):
                raise RedisConnectionError("Connection closed by server.")
            if kernel().now >= until:
                return False
            self._waiting = kernel().task
            # A lost connection is looked for now and then; nobody counts on finding it at once.
            kernel().wait(min(0.25, until - kernel().now))
            self._waiting = None
        return True

    def read_response(self, *_: object, **__: object) -> object:
        if not self.can_read(self._timeout_s):
            raise RedisTimeoutError("Timeout reading from socket")
        reply = self._replies.popleft()
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def read_counts(self, count: int) -> Sequence[Exception]:
        errors: list[Exception] = []
        for _ in range(count):
            try:
                self.read_response()
            except ResponseError as error:
                errors.append(error)
        return errors

    def read_numbers(self, count: int, replies: list[object], left_s: Callable[[], float], reply_s: float) -> None:
        one_by_one(self, count, replies, left_s, reply_s)
