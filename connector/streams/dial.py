"""Opens WebSocket connections: DNS, TCP, TLS, upgrade, each with a timeout, paced by the venue's budget.

A pacer thread hands dials to a small pool in the order that they came, as fast as each venue's ledger allows; a venue that
has to wait never holds up another.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import websocket

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.budget import Budget
from connector.streams.endpoints import Endpoints
from exchanges._adapter import Connect, Limits

log = get_logger(__name__)

MAX_WAITING = 50_000
"""Dials that may wait for their venue's budget; one per stream at the most, so this is only a guard."""


FULL_PAUSE_S: Final = 1.0
"""How often a dial looks whether one of the connections that fill its address's number has ended."""


@dataclass(frozen=True, slots=True)
class DialFailure:
    """Why a connection could not be opened. `status` is the HTTP status of a refused upgrade, else 0."""

    reason: str
    status: int = 0
    retry_after_s: float | None = None


class Connection(websocket.WebSocket):
    """A connection whose reads never fail because an answer to a control frame could not be sent."""

    def pong(self, payload: str | bytes = b"") -> None:
        """Pings are answered by the session, whose writes have a timeout: nothing is sent from inside a read."""

    def send_close(self, status: int = websocket.STATUS_NORMAL, reason: str | bytes = b"") -> None:
        """Say goodbye if that is possible; the venue's own close code counts, not whether it still listens (A12)."""
        try:
            super().send_close(status, reason)
        except (OSError, websocket.WebSocketException) as error:
            log.debug("no close frame could be sent", error=type(error).__name__)


Dialled = Callable[["websocket.WebSocket | DialFailure"], None]


@dataclass(frozen=True, slots=True)
class _Dial:
    connect: Connect
    limits: Limits
    venue: str
    ip: str
    wanted: Callable[[], bool]
    done: Dialled


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """The one context of a process: certificates are always verified; `ca_file` adds a private authority."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


class Dialler:
    """Start with `start()`, then `dial` from any thread; the callback runs on a pool thread."""

    def __init__(
        self, endpoints: Endpoints, budget: Budget, clock: Clock, context: ssl.SSLContext, threads: int
    ) -> None:
        self._endpoints = endpoints
        self._budget = budget
        self._clock = clock
        self._context = context
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="connect")
        self._condition = threading.Condition()
        self._waiting: dict[tuple[str, str], deque[_Dial]] = {}
        self._free_at: dict[tuple[str, str], float] = {}
        self._in_flight: Counter[tuple[str, str]] = Counter()
        self._held: dict[tuple[str, str], list[websocket.WebSocket]] = {}
        """What was opened at venues that limit the number, while it is not closed. Under the lock."""
        self._full: set[tuple[str, str]] = set()
        """Addresses without room. Pacer thread only."""
        # So that a venue whose connects hang until their timeout leaves most of the pool to the others (bug A36).
        self._max_in_flight = max(2, threads // 3)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="dial-pacer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def dial(
        self, connect: Connect, limits: Limits, venue: str, ip: str, wanted: Callable[[], bool], done: Dialled
    ) -> None:
        """Queue a dial. `wanted` is asked right before dialling: a dial that nobody wants any more costs no attempt."""
        with self._condition:
            if self._stopping or sum(map(len, self._waiting.values())) >= MAX_WAITING:
                refused = True
            else:
                refused = False
                self._waiting.setdefault((venue, ip), deque()).append(_Dial(connect, limits, venue, ip, wanted, done))
                self._condition.notify()
        if refused:
            done(DialFailure("the connect queue is closed or full"))

    def waiting(self) -> int:
        with self._condition:
            return sum(map(len, self._waiting.values()))

    def block(self, venue: str, ip: str, seconds: float) -> None:
        """The venue said over a connection that this address has to wait. Never blocks: the state is told by the pool."""
        try:
            self._pool.submit(self._budget.block, venue, "connect", ip, seconds)
        except RuntimeError:  # the pool is shut down
            log.debug("nobody dials any more", venue=venue)

    def stop(self, timeout_s: float) -> bool:
        with self._condition:
            self._stopping = True
            self._waiting.clear()
            self._condition.notify()
        self._thread.join(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopping:
                    return
                batch = self._next_batch()
                if not batch:
                    self._condition.wait(self._pause_s())
                    continue
            for dial in batch:
                try:
                    launched = self._launch(dial)
                except Exception:
                    log.exception("a dial could not be launched", venue=dial.venue)
                    launched = DialFailure("internal error while launching the connect")
                if launched is not None:
                    self._finished(dial, launched)

    def _next_batch(self) -> list[_Dial]:
        """One dial of every venue whose time has come. Under the lock."""
        now = self._clock.mono()
        batch: list[_Dial] = []
        for key, queue in self._waiting.items():
            if queue and self._free_at.get(key, 0.0) <= now and self._in_flight[key] < self._max_in_flight:
                batch.append(queue.popleft())
                self._in_flight[key] += 1
        return batch

    def _pause_s(self) -> float:
        now = self._clock.mono()
        times = [
            self._free_at.get(key, now) - now
            for key, queue in self._waiting.items()
            if queue and self._in_flight[key] < self._max_in_flight
        ]
        return min(max(min(times, default=1.0), 0.005), 1.0)

    def _launch(self, dial: _Dial) -> DialFailure | None:
        """Hand a dial to the pool, or put it back for later. Returns why it ended already, if it did."""
        if not dial.wanted():
            return DialFailure("not wanted any more")
        wait_s = FULL_PAUSE_S
        if self._has_room(dial):
            wait_s = self._budget.take(dial.venue, "connect", dial.ip, dial.limits.connects)
        if wait_s > 0:
            with self._condition:
                self._in_flight[dial.venue, dial.ip] -= 1
                self._free_at[dial.venue, dial.ip] = self._clock.mono() + wait_s
                self._waiting.setdefault((dial.venue, dial.ip), deque()).appendleft(dial)
            return None
        try:
            self._pool.submit(self._open, dial)
        except RuntimeError:  # the pool is shut down
            return DialFailure("shutting down")
        return None

    def _has_room(self, dial: _Dial) -> bool:
        """Whether the venue lets this address open one more; the dials that are on their way count as open."""
        limit = dial.limits.open_connections
        if limit is None:
            return True
        key = (dial.venue, dial.ip)
        with self._condition:
            held = self._held[key] = [one for one in self._held.get(key, ()) if one.sock is not None]
            full = len(held) + self._in_flight[key] > limit
        if full and key not in self._full:
            log.warning("a venue's connections are all in use: others wait", venue=dial.venue, ip=dial.ip, limit=limit)
        (self._full.add if full else self._full.discard)(key)
        return not full

    def _finished(self, dial: _Dial, result: websocket.WebSocket | DialFailure) -> None:
        with self._condition:
            self._in_flight[dial.venue, dial.ip] -= 1
            if dial.limits.open_connections is not None and not isinstance(result, DialFailure):
                self._held.setdefault((dial.venue, dial.ip), []).append(result)
            self._condition.notify()
        try:
            dial.done(result)
        except Exception:
            log.exception("the result of a dial could not be delivered", venue=dial.venue)

    def _open(self, dial: _Dial) -> None:
        result: websocket.WebSocket | DialFailure
        try:
            result = self._connect(dial)
        except websocket.WebSocketBadStatusException as error:
            result = _refused(error)
        except (OSError, ssl.SSLError, websocket.WebSocketException, ValueError) as error:
            result = DialFailure(f"{type(error).__name__}: {error}")
            if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
                log.error(
                    "no file descriptor left for another connection: raise the limit (ulimit -n) above MAX_STREAMS"
                )
        except Exception as error:
            log.exception("unexpected error while connecting", venue=dial.venue)
            result = DialFailure(f"{type(error).__name__}: {error}")
        label = "ok" if not isinstance(result, DialFailure) else str(result.status or "failed")
        METRICS.count("connects_total", venue=dial.venue, result=label)
        if isinstance(result, DialFailure) and result.status in {418, 429}:
            self._budget.block(dial.venue, "connect", dial.ip, result.retry_after_s or 5.0)
        self._finished(dial, result)

    def _connect(self, dial: _Dial) -> websocket.WebSocket:
        url = self._endpoints.resolve(dial.connect.url)
        parts = urlsplit(url)
        secure = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        timeout_s = dial.limits.connect_timeout_s
        source = (dial.ip, 0) if dial.ip else None
        sock: socket.socket = socket.create_connection((host, port), timeout_s, source_address=source)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if secure:
                sock = self._context.wrap_socket(sock, server_hostname=host)
            connection = Connection(skip_utf8_validation=True, enable_multithread=False)
            connection.connect(  # type: ignore[no-untyped-call]
                url,
                socket=sock,
                timeout=timeout_s,
                header=[f"{name}: {value}" for name, value in dial.connect.headers],
                suppress_origin=True,
                redirect_limit=0,
            )
        except BaseException:
            sock.close()
            raise
        connection.settimeout(0)
        return connection


def _refused(error: websocket.WebSocketBadStatusException) -> DialFailure:
    """The HTTP status of a refused upgrade, with what the venue said (bug C7)."""
    headers: Mapping[str, str] = {str(k).lower(): str(v) for k, v in (error.resp_headers or {}).items()}
    after = headers.get("retry-after", "")
    text = (error.resp_body or b"")[:200].decode("utf-8", "replace")
    return DialFailure(
        f"upgrade refused with HTTP {error.status_code} {text}".strip(),
        status=int(error.status_code),
        retry_after_s=float(after) if after.isdigit() else None,
    )
