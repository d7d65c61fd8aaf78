"""REST calls over requests, and questions over sockets, on one small pool of threads per venue, so that a hanging venue
costs only itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests
import urllib3

from connector.core.log import get_logger
from connector.core.loop import Loop
from connector.core.ports import Clock
from connector.streams.egress import Egresses, ProxyFailed
from connector.streams.endpoints import Endpoints
from connector.streams.http_connections import Through
from connector.streams.question import ask
from connector.streams.rest import IN_FLIGHT, NO_HEADERS, Errand, QueuedRest, RestQueue
from connector.streams.tunnel import reach
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges._adapter import Answer, Call

log = get_logger(__name__)

CONNECT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Symbol lists are some MB; anything beyond this is not an answer."""


class HttpClient:
    """Makes one call at a time on the calling thread, each within its timeout. Any thread."""

    def __init__(self, endpoints: Endpoints, clock: Clock, egresses: Egresses, ca_file: str = "") -> None:
        self._endpoints, self._clock, self._egresses = endpoints, clock, egresses
        self._verify: bool | str = ca_file or True
        self._ca_file = ca_file
        self._local = threading.local()

    def answer(self, call: Call, egress: str) -> Answer:
        try:
            return self._ask(call, egress) if call.url.startswith("wss:") else self._request(call, egress)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # The text of the error holds the URL, and with it a signature: only its type is told.
            return Answer(0, NO_HEADERS, b"", proxy_failure(error) or type(error).__name__)

    def _ask(self, call: Call, egress: str) -> Answer:
        opener = SocketOpener(self._endpoints, tls_context(self._ca_file), 1, self._egresses)
        try:
            return ask(opener, call, egress, self._clock)
        finally:
            opener.stop()

    def _request(self, call: Call, egress: str) -> Answer:
        sessions: dict[str, requests.Session] | None = getattr(self._local, "sessions", None)
        if sessions is None:
            sessions = self._local.sessions = {}
        session = sessions.get(egress)
        if session is None:
            session = sessions[egress] = requests.Session()
            session.trust_env = False
            adapter = Through(partial(self._reach, egress))
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        with session.request(
            call.method,
            self._endpoints.resolve(call.url),
            headers=dict(call.headers),
            data=call.body.encode() if call.body is not None else None,
            timeout=(min(CONNECT_TIMEOUT_S, call.timeout_s), call.timeout_s),
            verify=self._verify,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _body(response)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, body)

    def _reach(self, egress: str, host: str, port: int, timeout_s: float, secure: bool) -> socket.socket:
        return reach(self._egresses, egress, host, port, timeout_s, secure=secure)


def proxy_failure(error: BaseException) -> str:
    """What a proxy did, if it is behind an error; else empty."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ProxyFailed):
        reason = getattr(seen, "reason", None) or next(iter(seen.args), None)
        seen = seen.__cause__ or seen.__context__ or (reason if isinstance(reason, BaseException) else None)
    return str(seen) if seen is not None else ""


class RestPool(QueuedRest):
    """The `Rest` of a deployment: answers come back on a pool thread. Any thread."""

    def __init__(self, queue: RestQueue, client: HttpClient, loop: Loop) -> None:
        """`loop`: keeps the timers of what waits; started and stopped with the pool."""
        super().__init__(queue)
        self._client, self._loop = client, loop
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        super().stop()
        self._loop.stop(STOP_TIMEOUT_S)
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _aside(self, venue: str, work: Callable[[], None]) -> bool:
        with self._lock:
            if self._stopped.is_set():
                return False
            pool = self._pools.get(venue)
            if pool is None:
                pool = self._pools[venue] = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix=f"rest-{venue}")
            pool.submit(work)
            return True

    def _later(self, wait_s: float) -> None:
        self._loop.post(partial(self._after, wait_s))

    def _after(self, wait_s: float) -> None:
        self._loop.after(wait_s, self._turn)

    def _make(self, errand: Errand) -> None:
        self._answered(errand, self._client.answer(errand.call, errand.egress))


def _body(response: requests.Response) -> bytes:
    """The whole body. It ends in time, or at its longest: a venue that sends without end must not keep the thread."""
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise requests.Timeout("the answer does not end")
    return b"".join(parts)
