"""Performs the `Call` outputs of adapters: one small pool per venue, so that a hanging venue costs only itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from connector.core.log import get_logger
from connector.core.metrics import METRICS
from connector.core.ports import Clock
from connector.streams.budget import Budget
from connector.streams.endpoints import Endpoints
from exchanges._adapter import Answer, Call, Limits, Rate
from exchanges._frames import NO_WEIGHT

log = get_logger(__name__)

THREADS_PER_VENUE = 6
MAX_PENDING_PER_VENUE = 5_000
CONNECT_TIMEOUT_S = 5.0
MAX_BUDGET_WAIT_S = 20.0
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Symbol lists are some MB; anything beyond this is not an answer."""

_NO_HEADERS: dict[str, str] = {}


class _FromAddress(HTTPAdapter):
    """Sends from one local address, so that a call counts against the same address as its budget."""

    def __init__(self, ip: str) -> None:
        self._ip = ip
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._ip, 0), **options)


class RestPool:
    """Any thread; answers come back on a pool thread, exactly one per call."""

    def __init__(self, endpoints: Endpoints, budget: Budget, clock: Clock, ca_file: str = "") -> None:
        self._endpoints = endpoints
        self._budget = budget
        self._clock = clock
        self._verify: bool | str = ca_file or True
        self._lock = threading.Lock()
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._pending: dict[str, int] = {}
        self._local = threading.local()
        self._stop = threading.Event()

    def submit(self, call: Call, venue: str, ip: str, limits: Limits | None, done: Callable[[Answer], None]) -> None:
        """Perform `call` from the local address `ip` ("" = any), within the venue's `limits` (None = it has none)."""
        with self._lock:
            full = self._stop.is_set() or self._pending.get(venue, 0) >= MAX_PENDING_PER_VENUE
            if not full:
                pool = self._pools.get(venue)
                if pool is None:
                    pool = ThreadPoolExecutor(THREADS_PER_VENUE, thread_name_prefix=f"rest-{venue}")
                    self._pools[venue] = pool
                self._pending[venue] = self._pending.get(venue, 0) + 1
                pool.submit(self._perform, call, venue, ip, limits, done)
        if full:
            done(Answer(0, _NO_HEADERS, b"", "the REST queue of this venue is full or closed"))

    def stop(self) -> None:
        """Refuse new calls and let running ones end at their timeouts."""
        self._stop.set()
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _perform(self, call: Call, venue: str, ip: str, limits: Limits | None, done: Callable[[Answer], None]) -> None:
        try:
            answer = self._answer(call, venue, ip, limits)
        except Exception as error:
            log.exception("unexpected error in a REST call", venue=venue, call=repr(call))
            answer = Answer(0, _NO_HEADERS, b"", f"{type(error).__name__}")
        finally:
            with self._lock:
                self._pending[venue] -= 1
        METRICS.count("rest_calls_total", venue=venue, result=str(answer.status))
        done(answer)

    def _answer(self, call: Call, venue: str, ip: str, limits: Limits | None) -> Answer:
        rate = limits.rest.get(call.pool) if limits is not None else None
        if rate is not None and not self._wait_for_budget(call, venue, ip, rate):
            return Answer(0, _NO_HEADERS, b"", NO_WEIGHT)
        try:
            answer = self._request(call, ip)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # The text of the error holds the URL, and with it a signature: only its type is told.
            return Answer(0, _NO_HEADERS, b"", type(error).__name__)
        if limits is not None and rate is not None:
            used = answer.headers.get(limits.used_headers.get(call.pool, ""), "")
            if used.isascii() and used.isdigit():
                self._budget.used(venue, f"rest-{call.pool}", ip, rate, int(used[:12]))
        ban_s = limits.bans.get(answer.status) if limits is not None else None
        if ban_s is not None:
            after = answer.headers.get("retry-after", "")
            self._budget.block(venue, f"rest-{call.pool}", ip, float(after) if after.isdigit() else ban_s)
        return answer

    def _wait_for_budget(self, call: Call, venue: str, ip: str, rate: Rate) -> bool:
        waited = 0.0
        while not self._stop.is_set():
            wait_s = self._budget.take(venue, f"rest-{call.pool}", ip, rate, call.weight)
            if wait_s <= 0:
                return True
            if waited + wait_s > MAX_BUDGET_WAIT_S:
                return False
            waited += wait_s
            self._stop.wait(wait_s)
        return False

    def _request(self, call: Call, ip: str) -> Answer:
        sessions: dict[str, requests.Session] | None = getattr(self._local, "sessions", None)
        if sessions is None:
            sessions = self._local.sessions = {}
        session = sessions.get(ip)
        if session is None:
            session = sessions[ip] = requests.Session()
            session.trust_env = False
            if ip:
                session.mount("https://", _FromAddress(ip))
                session.mount("http://", _FromAddress(ip))
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
            body = _body(response, call.timeout_s, self._clock)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, headers, body)


def _body(response: requests.Response, timeout_s: float, clock: Clock) -> bytes:
    """The whole body. A venue that sends it in drops, or without end, must not keep the thread."""
    give_up_at = clock.mono() + 2 * timeout_s
    parts: list[bytes] = []
    size = 0
    while part := response.raw.read1(65_536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES or clock.mono() > give_up_at:
            raise requests.Timeout("the answer does not end")
    return b"".join(parts)
