"""REST calls over requests, and questions over sockets, on one small pool of threads per venue, so that a hanging venue
costs only itself."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import requests
import urllib3

from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.streams.egress import Egresses, ProxyFailed
from connector.streams.endpoints import Endpoints
from connector.streams.http_connections import Through
from connector.streams.question import ask
from connector.streams.rest import FULL, NO_HEADERS, Answered, Errand, RestQueue, given_up
from connector.streams.tunnel import reach
from connector.streams.websocket_client import SocketOpener, tls_context
from exchanges._adapter import Answer, Call
from exchanges._venue import Limits

log = get_logger(__name__)

THREADS_PER_VENUE = 6
CONNECT_TIMEOUT_S = 5.0
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


class RestPool:
    """The `Rest` of a deployment: answers come back on a pool thread. Any thread."""

    def __init__(self, queue: RestQueue, client: HttpClient) -> None:
        self._queue, self._client = queue, client
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._stop = threading.Event()

    def submit(self, call: Call, venue: str, egress: str, limits: Limits | None, done: Answered) -> None:
        with self._lock:
            admitted = not self._stop.is_set() and self._queue.admit(venue)
            if admitted:
                pool = self._pools.get(venue)
                if pool is None:
                    pool = ThreadPoolExecutor(THREADS_PER_VENUE, thread_name_prefix=f"rest-{venue}")
                    self._pools[venue] = pool
                pool.submit(self._perform, Errand(call, venue, egress, limits, done))
        if not admitted:
            done(FULL)

    def stop(self) -> None:
        self._stop.set()
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _perform(self, errand: Errand) -> None:
        try:
            answer = self._answer(errand)
        except Exception as error:
            log.exception("unexpected error in a REST call", venue=errand.venue, call=repr(errand.call))
            answer = Answer(0, NO_HEADERS, b"", f"{type(error).__name__}")
        self._queue.finish(errand, answer)

    def _answer(self, errand: Errand) -> Answer:
        while not self._stop.is_set():
            wait_s = self._queue.wait_s(errand)
            if wait_s is None:
                break
            if wait_s == 0.0:
                answer = self._client.answer(errand.call, errand.egress)
                self._queue.book(errand, answer)
                return answer
            self._stop.wait(wait_s)
        return given_up()


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
