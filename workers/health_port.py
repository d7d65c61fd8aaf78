"""The service's only listening port: health for the container runtime, readiness, metrics and a page for people.

`GET` and `HEAD` on `/health` (contract 7.3), `/ready`, `/metrics`, `/status.json`, `/streams.json`, `/streams/<id>.json`,
`/streams/<id>`, `/streams` and `/`; everything else is 404. Healthy
means that the process answers: it never depends on a broker, on Redis or on an exchange, or one outage would restart the
whole stack. Nothing here changes anything, but `POST` to `/streams/<id>/restart` and `/streams/<id>/try-key` with the
`CONTROL_TOKEN`, if one is set.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from connector.core.clock import SystemClock
from connector.core.errors import StateUnavailable
from connector.core.log import describe_error, get_logger
from connector.core.ports import Clock
from workers._guard import GuardedServer
from workers.control import MAX_BODY as MAX_FORM
from workers.control import Control, may_read
from workers.door import FACTS, MAX_BODY, Door
from workers.exposition import exposition
from workers.status_page import Status, redis_away, status_json, status_page
from workers.stream_pages import control_page, list_page, query_of, story_page
from workers.streams_seen import Asked, StreamsSeen

MAX_SLOW_REQUESTS: Final = 8
"""Pages of streams made at a time: each asks Redis. Further ones are refused."""
MAX_VITAL: Final = 5
"""`/ready`, `/metrics` in two formats, the first page and its JSON: each is made once at a time, for all who ask."""
VITAL_S: Final = 3.0
"""What deploys and alarms are waiting for is answered by then, also while Redis hangs."""
PAGE_S: Final = 10.0
FIRST_BLIND: Final = 50
"""Streams that the first page lists; `/streams` has more."""
BACKLOG: Final = 256
STOP_S: Final = 1.0
"""How long a stop waits for answers that are on their way."""

_log = get_logger(__name__)

_OPEN: Final = frozenset({"/health", "/ready"})
"""What restarts and deploys ask for, without a token."""
_JSON: Final = "application/json"
_HTML: Final = "text/html; charset=utf-8"
_HEADERS: Final = {
    "Server": "connector",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
}


class Reply(msgspec.Struct, frozen=True):
    status: int
    content_type: str
    body: bytes


class Figures(msgspec.Struct, frozen=True):
    """What `/metrics` is made of (`workers.exposition`)."""

    dumps: Sequence[bytes] = ()
    pids: Mapping[str, int] = msgspec.field(default_factory=dict)


class HealthServer:
    """Serves the health endpoints from a thread of its own between `start` and `stop`.

    The callables are asked from a pool of threads and must bring their own timeouts. What they raise becomes a 503 with the
    error's description. Whoever asks for `/ready` or `/metrics` while that is being made gets the same answer.
    """

    def __init__(
        self,
        port: int,
        host: str = "0.0.0.0",  # noqa: S104 - the container's health check and Prometheus come from outside
        *,
        status: Callable[[], Status],
        ready: Callable[[], Sequence[str]],
        metrics: Callable[[], Figures],
        known_metrics: Callable[[], Figures] = Figures,
        known_status: Callable[[], Status] | None = None,
        seen: StreamsSeen | None = None,
        door: Door | None = None,
        control: Control | None = None,
        read_token: str = "",
        clock: Clock | None = None,
    ) -> None:
        """`ready` returns why the service can't work right now (broker, redis, streams); nothing = it can. `known_metrics`
        and `known_status` stand in when the others take too long, and never wait. `seen`: whom to ask for single streams;
        None = nobody. `door`: what takes commands on this port, `control`: what acts on streams; None = nothing does.
        `read_token`: asked for everything but `/health` and `/ready`; empty = nobody is asked."""
        self.port = port
        self.host = host
        self._status, self._ready, self._metrics, self._known_metrics = status, ready, metrics, known_metrics
        self._known_status = known_status
        self._seen, self._door, self._control, self._read_token = seen, door, control, read_token
        self._clock: Clock = clock or SystemClock()
        self._started = self._clock.mono()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._slow = 0
        self._vital: dict[str, asyncio.Future[Reply]] = {}
        self._told = False

    def start(self) -> bool:
        """Listen. A port that is taken is logged, once, and the service goes on without it (False): two may share a host.
        It may be tried again."""
        try:
            listening = _listen(self.host, self.port)
        except OSError as error:
            if not self._told:
                _log.warning("health port not available, going on without", port=self.port, error=describe_error(error))
            self._told = True
            return False
        self.port = listening.getsockname()[1]
        up = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening, up)), name="health", daemon=True
        )
        self._thread.start()
        up.wait(STOP_S * 5)
        _log.info("health endpoint up", host=self.host, port=self.port)
        return True

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Stop listening; True if the server's thread ended in time. Without a running server nothing happens."""
        loop, thread, ending = self._loop, self._thread, self._ending
        self._loop = self._thread = self._ending = None
        if loop is None or thread is None or ending is None:
            return True
        loop.call_soon_threadsafe(ending.set)
        thread.join(timeout_s)
        return not thread.is_alive()

    async def _serve(self, listening: socket.socket, up: threading.Event) -> None:
        runner = web.ServerRunner(GuardedServer(self._answer), shutdown_timeout=STOP_S)
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        ending = self._ending
        self._pages_pool = ThreadPoolExecutor(MAX_SLOW_REQUESTS, "health-page")
        self._vital_pool = ThreadPoolExecutor(MAX_VITAL, "health-vital")
        await runner.setup()
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        up.set()
        await ending.wait()
        await runner.cleanup()
        self._pages_pool.shutdown(wait=False, cancel_futures=True)
        self._vital_pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.raw_path.partition("?")[0]
        if request.method == "POST" and self._door is not None:
            reply = await self._knock(request, self._door)
        elif request.method == "POST" and self._control is not None:
            reply = await self._act(request, path, self._control)
        elif self._read_token and path not in _OPEN and not may_read(self._read_token, request.headers):
            reply = _json(401, {"error": "needs the READ_TOKEN"})
        elif request.method in {"GET", "HEAD"}:
            reply = await self._reply(request.raw_path, request.headers.get("Accept", ""))
        else:
            reply = _json(405, {"error": "Method Not Allowed"})
        headers = {**_HEADERS, "Content-Type": reply.content_type}
        if reply.status == 405:
            headers["Allow"] = "GET, HEAD"
        elif reply.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="connector"'
        elif reply.status == 303:
            headers["Location"] = reply.body.decode()
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    async def _reply(self, target: str, accept: str) -> Reply:
        """The answer to a GET of this path, with or without a query string."""
        path, _, query = target.partition("?")
        if path == "/health":
            return self._health()
        if path == FACTS and self._door is not None:
            return Reply(200, _JSON, msgspec.json.encode(self._door.facts))
        if path == "/ready":
            return await self._shared("/ready", self._readiness) or _not_ready(
                [f"redis: no answer within {VITAL_S:g} s"]
            )
        if path == "/metrics":
            make = partial(self._exposed, accept, self._metrics)
            return await self._shared(f"/metrics {accept}", make) or self._exposed(accept, self._known_metrics)
        if path in {"/", "/status.json"}:
            return await self._shared(path, partial(self._overview, path, self._status)) or self._as_known(path)
        page = self._pages(path, query).get(path) or self._of_stream(path)
        if page is None:
            return _json(404, {"error": "Not Found"})
        return await self._page_of(path, page)

    async def _shared(self, name: str, make: Callable[[], Reply]) -> Reply | None:
        """None if it takes too long; it goes on, and whoever comes meanwhile waits for the same."""
        running = self._vital.get(name)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(self._vital_pool, self._made, name, make)
            self._vital[name] = running
            running.add_done_callback(lambda _: self._vital.pop(name))
        done, _ = await asyncio.wait([running], timeout=VITAL_S)
        return running.result() if done else None

    async def _page_of(self, path: str, make: Callable[[], Reply]) -> Reply:
        if self._slow >= MAX_SLOW_REQUESTS:
            return _json(503, {"error": "Busy"})
        self._slow += 1
        running = asyncio.get_running_loop().run_in_executor(self._pages_pool, self._made, path, make)
        running.add_done_callback(self._one_less)
        done, _ = await asyncio.wait([running], timeout=PAGE_S)
        return running.result() if done else _json(503, {"error": f"no answer within {PAGE_S:g} s"})

    def _one_less(self, _: object) -> None:
        self._slow -= 1

    def _made(self, path: str, make: Callable[[], Reply]) -> Reply:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - the edge: whatever the readers raise, the page says so
            _log.warning("health page failed", path=path, error=describe_error(error))
            return _json(503, {"error": describe_error(error)})

    async def _knock(self, request: web.BaseRequest, door: Door) -> Reply:
        length = request.content_length
        if length is None or length > MAX_BODY:
            return _json(413, {"error": f"takes up to {MAX_BODY} bytes, and their number"})
        body = await request.read()
        knock = partial(door.knock, request.remote or "", request.raw_path, dict(request.headers), body)
        return await self._page_of(request.raw_path, lambda: _json(*knock()))

    async def _act(self, request: web.BaseRequest, path: str, control: Control) -> Reply:
        length = request.content_length
        if length is None or length > MAX_FORM:
            return _json(413, {"error": f"takes up to {MAX_FORM} bytes, and their number"})
        body = await request.read()

        def act() -> Reply:
            status, said = control.posted(path, request.headers, body, request.remote or "")
            return Reply(303, _HTML, said.encode()) if status == 303 else _json(status, {"error": said})

        return await self._page_of(path, act)

    def _pages(self, path: str, query: str) -> dict[str, Callable[[], Reply]]:
        pages: dict[str, Callable[[], Reply]] = {}
        if self._seen is not None and path in {"/streams.json", "/streams"}:
            pages[path] = partial(self._streams, path, query, self._seen)
        return pages

    def _of_stream(self, path: str) -> Callable[[], Reply] | None:
        if self._seen is None or not path.startswith("/streams/"):
            return None
        if self._control is not None and path.endswith("/control"):
            name = path.removeprefix("/streams/").removesuffix("/control")
            return lambda: Reply(200, _HTML, control_page(unquote(name)))
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
        return (
            Reply(200, _JSON, msgspec.json.encode(page))
            if as_json
            else Reply(200, _HTML, story_page(page, control=self._control is not None))
        )

    def _health(self) -> Reply:
        uptime = round(self._clock.mono() - self._started, 3)
        return _json(200, {"status": "ok", "uptime": uptime, "timestamp": self._clock.wall_ms()})

    def _readiness(self) -> Reply:
        reasons = list(self._ready())
        return _not_ready(reasons) if reasons else _json(200, {"ready": True, "reasons": []})

    @staticmethod
    def _exposed(accept: str, figures: Callable[[], Figures]) -> Reply:
        found = figures()
        return Reply(200, *exposition(found.dumps, accept, found.pids))

    def _overview(self, path: str, make: Callable[[], Status]) -> Reply:
        status, blind = make(), None
        if path == "/status.json":
            return Reply(200, _JSON, status_json(status))
        if self._seen is not None and not any(problem.startswith("redis") for problem in status.problems):
            try:
                blind = self._seen.listed(Asked(limit=FIRST_BLIND))
            except StateUnavailable as error:
                status = msgspec.structs.replace(status, problems=(redis_away(error), *status.problems))
        return Reply(200, _HTML, status_page(status, blind))

    def _as_known(self, path: str) -> Reply:
        if self._known_status is None:
            return _json(503, {"error": f"no answer within {VITAL_S:g} s"})
        status = self._known_status()
        return (
            Reply(200, _JSON, status_json(status)) if path == "/status.json" else Reply(200, _HTML, status_page(status))
        )


def _json(status: int, body: dict[str, object]) -> Reply:
    return Reply(status, _JSON, msgspec.json.encode(body))


def _not_ready(reasons: Sequence[str]) -> Reply:
    return _json(503, {"ready": False, "reasons": list(reasons)})


def _listen(host: str, port: int) -> socket.socket:
    """Raises `OSError`."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
