"""The service's only listening port: health for the container runtime, readiness, metrics and a page for people.

`GET` and `HEAD` on `/health` (contract 7.3), `/ready`, `/metrics`, `/status.json`, `/streams.json`, `/streams/<id>.json`,
`/streams/<id>`, `/streams` and `/`; everything else is 404. Healthy
means that the process answers: it never depends on a broker, on Redis or on an exchange, or one outage would restart the
whole stack. Nothing here changes anything.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from connector.core.clock import SystemClock
from connector.core.log import describe_error, get_logger
from connector.core.ports import Clock
from workers.door import FACTS, MAX_BODY, Door
from workers.status_page import Status, status_json, status_page
from workers.stream_pages import list_page, query_of, story_page
from workers.streams_seen import Asked, StreamsSeen

MAX_REQUESTS: Final = 32
"""Requests served at a time; further connections are closed at once."""
MAX_SLOW_REQUESTS: Final = 8
"""Of these, requests that ask Redis: a hanging Redis must not take `/health` with it."""
READ_TIMEOUT_S: Final = 5.0
FIRST_BLIND: Final = 50
"""Streams that the first page lists; `/streams` has more."""
REQUEST_TIMEOUT_S: Final = 15.0
"""A connection older than this is cut, however busy its peer pretends to be."""

_log = get_logger(__name__)

_JSON: Final = "application/json"
_HTML: Final = "text/html; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Reply(msgspec.Struct, frozen=True):
    status: int
    content_type: str
    body: bytes


class HealthServer:
    """Serves the health endpoints from threads of its own between `start` and `stop`.

    The callables are asked once per request, from a request's thread; they must bring their own timeouts. What they raise
    becomes a 503 with the error's description.
    """

    def __init__(
        self,
        port: int,
        host: str = "0.0.0.0",  # noqa: S104 - the container's health check and Prometheus come from outside
        *,
        status: Callable[[], Status],
        ready: Callable[[], Sequence[str]],
        metrics: Callable[[], str],
        seen: StreamsSeen | None = None,
        door: Door | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`ready` returns why the service can't work right now (broker, redis, streams); nothing = it can. `seen`: whom to
        ask for single streams; None = nobody. `door`: what takes commands on this port; None = nothing does."""
        self.port = port
        self.host = host
        self._status = status
        self._ready = ready
        self._metrics = metrics
        self._seen, self._door = seen, door
        self._clock: Clock = clock or SystemClock()
        self._started = self._clock.mono()
        self._slow = threading.BoundedSemaphore(MAX_SLOW_REQUESTS)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._told = False

    def start(self) -> bool:
        """Listen. A port that is taken is logged, once, and the service goes on without it (False): two may share a host.
        It may be tried again."""
        try:
            self._server = _Server((self.host, self.port), self.reply, self._clock, self._door)
        except OSError as error:
            if not self._told:
                _log.warning("health port not available, going on without", port=self.port, error=describe_error(error))
            self._told = True
            return False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="health", daemon=True)
        self._thread.start()
        _log.info("health endpoint up", host=self.host, port=self.port)
        return True

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop listening; True if the server's thread ended in time. Without a running server nothing happens."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return True
        server.shutdown()
        server.server_close()
        thread.join(timeout_s)
        return not thread.is_alive()

    def reply(self, target: str) -> Reply:
        """The answer to a GET of this path, with or without a query string."""
        path, _, query = target.partition("?")
        if path == "/health":
            return self._health()
        if path == FACTS and self._door is not None:
            return Reply(200, _JSON, msgspec.json.encode(self._door.facts))
        page = self._pages(path, query).get(path) or self._of_stream(path)
        if page is None:
            return _json(404, {"error": "Not Found"})
        if not self._slow.acquire(blocking=False):
            return _json(503, {"error": "Busy"})
        try:
            return page()
        except Exception as error:  # noqa: BLE001 - the edge: whatever the readers raise, the page says so
            _log.warning("health page failed", path=path, error=describe_error(error))
            return _json(503, {"error": describe_error(error)})
        finally:
            self._slow.release()

    def _pages(self, path: str, query: str) -> dict[str, Callable[[], Reply]]:
        pages = {"/ready": self._readiness, "/metrics": self._figures, "/status.json": self._json, "/": self._page}
        if self._seen is not None and path in {"/streams.json", "/streams"}:
            pages[path] = partial(self._streams, path, query, self._seen)
        return pages

    def _of_stream(self, path: str) -> Callable[[], Reply] | None:
        if self._seen is None or not path.startswith("/streams/"):
            return None
        name = unquote(path.removeprefix("/streams/"))
        return partial(self._stream, name.removesuffix(".json"), name.endswith(".json"), self._seen)

    def _streams(self, path: str, query: str, seen: StreamsSeen) -> Reply:
        try:
            asked = query_of(query)
        except ValueError as error:
            return _json(400, {"error": str(error)})
        if path == "/streams.json":
            return Reply(200, _JSON, msgspec.json.encode(seen.listed(asked)))
        return Reply(200, _HTML, list_page(seen.listed(asked), asked))

    def _stream(self, stream_id: str, as_json: bool, seen: StreamsSeen) -> Reply:
        page = seen.page(stream_id)
        if page is None:
            return _json(404, {"error": "no such stream: nobody wants it, and nothing is known of it"})
        return Reply(200, _JSON, msgspec.json.encode(page)) if as_json else Reply(200, _HTML, story_page(page))

    def _health(self) -> Reply:
        uptime = round(self._clock.mono() - self._started, 3)
        return _json(200, {"status": "ok", "uptime": uptime, "timestamp": self._clock.wall_ms()})

    def _readiness(self) -> Reply:
        reasons = list(self._ready())
        return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    def _figures(self) -> Reply:
        return Reply(200, _PROMETHEUS, self._metrics().encode())

    def _json(self) -> Reply:
        return Reply(200, _JSON, status_json(self._status()))

    def _page(self) -> Reply:
        blind = self._seen.listed(Asked(limit=FIRST_BLIND)) if self._seen is not None else None
        return Reply(200, _HTML, status_page(self._status(), blind))


def _json(status: int, body: dict[str, object]) -> Reply:
    return Reply(status, _JSON, msgspec.json.encode(body))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], answer: Callable[[str], Reply], clock: Clock, door: Door | None
    ) -> None:
        self._clock, self.door = clock, door
        self.answer = answer
        self._room = threading.BoundedSemaphore(MAX_REQUESTS)
        self._open: dict[socket.socket, float] = {}
        self._open_lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._open_lock:
            self._open[request] = self._clock.mono()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._closed(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._closed(request)

    def _closed(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        self._room.release()

    def service_actions(self) -> None:
        """Called twice a second by the server's loop: cut connections that are too old."""
        now = self._clock.mono()
        with self._open_lock:
            overdue = [request for request, since in self._open.items() if now - since > REQUEST_TIMEOUT_S]
        for request in overdue:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its thread was faster

    def server_bind(self) -> None:
        # HTTPServer asks the resolver for the host's full name here, which can hang; nobody needs it.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        # A peer that goes away in the middle; the default prints a traceback to stderr.
        _log.debug("health request broken off")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = READ_TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "connector"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self.server.answer(self.path), with_body=True)

    def do_HEAD(self) -> None:
        self._answer(self.server.answer(self.path), with_body=False)

    def _refuse(self) -> None:
        reply = Reply(405, _JSON, b'{"error":"Method Not Allowed"}')
        self._answer(reply, with_body=True, allow="GET, HEAD")

    def do_POST(self) -> None:  # http.server looks for this name
        door = self.server.door
        if door is None:
            self._refuse()
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
            self._answer(_json(413, {"error": f"takes up to {MAX_BODY} bytes, and their number"}), with_body=True)
            return
        body = self.rfile.read(int(length))
        try:
            reply = _json(*door.knock(str(self.client_address[0]), self.path, dict(self.headers), body))
        except Exception as error:  # noqa: BLE001 - the edge: whatever the queue raises, the caller hears it
            reply = _json(503, {"error": describe_error(error)})
        self._answer(reply, with_body=True)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse  # noqa: N815 - http.server looks for these names

    def _answer(self, reply: Reply, *, with_body: bool, allow: str = "") -> None:
        self.close_connection = True  # one request a connection: the next one may find a free thread
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("Connection", "close")
        if allow:
            self.send_header("Allow", allow)
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        _log.debug("health request", line=format % args)
