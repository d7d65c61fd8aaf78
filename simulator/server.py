"""The network side of the simulator: one aiohttp server that moves bytes between sockets and the hub.

Runs on the event loop of `simulator.simulator.Simulator`'s own thread; the hub is only ever touched there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote

from aiohttp import WSCloseCode, WSMsgType, web

from connector.core.log import get_logger
from simulator import control_api
from simulator._link import Action, Link
from simulator._venue import Close, Frame, Instant, Ping, Refuse, Reply, Request
from simulator.hub import Hub

_log = get_logger("simulator")

MAX_FRAME: Final = 4 * 1024 * 1024
"""Largest client frame."""
CLOSE_WAIT_S: Final = 2.0
"""How long a polite close waits for the client's answer."""
IDLE_S: Final = 5.0
"""Longest wait of the loops that keep deadlines; they are woken earlier when something changes."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 seconds: closing sends a TCP reset."""


def real_time() -> Instant:
    return Instant(time.monotonic(), time.time_ns() // 1_000_000)


class Target:
    """Where a request goes: the control API, a venue (the gateway prefix is taken off), or nowhere (no venue)."""

    __slots__ = ("control", "request", "venue")

    def __init__(self, request: Request, venue: str = "", *, control: bool = False) -> None:
        self.request = request
        self.venue = venue
        self.control = control


def target_of(
    hub: Hub, method: str, raw_path: str, headers: Mapping[str, str], body: bytes = b"", remote: str = ""
) -> Target:
    """Gateway convention first (`/<host>[:port]/…`), `/socket.io/` at the root, then the `Host` header."""
    path, _, query = raw_path.partition("?")
    first, _, rest = path.removeprefix("/").partition("/")
    named = _bare(unquote(first))
    host, tail, venue = named, f"/{rest}", hub.hosts.get(named, "")
    control = path.startswith(control_api.PREFIX)
    if control:
        host, tail, venue = "", path, ""
    elif not venue and "paper" in hub.halves and path.startswith("/socket.io"):
        host, tail, venue = "paper-trading", path, "paper"
    elif not venue and "paper" in hub.halves and rest.startswith("socket.io"):
        venue = "paper"
    elif not venue:
        host, tail = _bare(headers.get("host", "")).removesuffix(".localhost"), path
        venue = hub.hosts.get(host, "")
    request = Request(method=method, host=host, path=tail, query=query, headers=headers, body=body, remote=remote)
    return Target(request, venue, control=control)


def _bare(host: str) -> str:
    """Host name without port, in lower case."""
    return host.partition(":")[0].lower()


class VenueServer:
    """Accepts connections for one hub. All methods: loop thread."""

    def __init__(self, hub: Hub, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.hub = hub
        self._address = (host, port)
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self._site: web.SockSite | None = None
        self._pulse: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def start(self) -> int:
        """Listen; returns the port."""
        self._runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=CLOSE_WAIT_S)
        await self._runner.setup()
        port = await self._listen()
        self._pulse = asyncio.create_task(self._run_pulse())
        return port

    async def _listen(self) -> int:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(self._address)
        except OSError:
            sock.close()
            raise
        port = int(sock.getsockname()[1])
        self._address = (self._address[0], port)  # a pause must come back on the same port
        if self._runner is not None:
            self._site = web.SockSite(self._runner, sock, ssl_context=self._tls, backlog=1024)
            await self._site.start()
        return port

    async def stop(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pulse
        for link in list(self.hub.links.values()):
            link.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    def nudge(self) -> None:
        """Something was changed from outside: look at the hub again at once."""
        self._wake.set()

    async def _run_pulse(self) -> None:
        while True:
            self._wake.clear()
            now = real_time()
            due = self.hub.pulse(now)
            until = self.hub.unreachable_until
            if now.mono < until:
                due = min(due, until)
                if self._site is not None:
                    await self._site.stop()
                    self._site = None
            elif self._site is None:
                await self._listen()
            await _wait(self._wake, due)

    # --- HTTP ---

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        upgrade = headers.get("upgrade", "").lower() == "websocket"
        body = b"" if upgrade else await request.read()
        target = target_of(self.hub, request.method, request.raw_path, headers, body, request.remote or "")
        if target.control:
            reply = control_api.handle(self.hub, target.request, real_time())
            self.nudge()
            return _response(reply)
        if not target.venue:
            return web.Response(
                status=404, text="no such venue: put its host name first, /<host>/<path>; see /__control/"
            )
        if upgrade:
            return await self._upgrade(request, target)
        return await self._rest(request, target)

    async def _rest(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        result = self.hub.rest(target.venue, target.request, real_time())
        if result.delay_s:
            await asyncio.sleep(result.delay_s)
        if result.reply is None:
            _reset(request.transport)
            return web.Response(status=500)
        response = _response(result.reply)
        # By the venue's clock, which a fault may have set wrong: clients measure theirs by this.
        answered_s = self.hub.now_at(target.venue, real_time()).wall_ms / 1000
        response.headers.setdefault("Date", formatdate(answered_s, usegmt=True))
        return response

    async def _upgrade(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        link = self.hub.connect(target.venue, target.request, real_time())
        if link is None:
            _reset(request.transport)
            return web.Response(status=500)
        if isinstance(link, Refuse):
            return _response(Reply(link.status, link.body, link.headers))
        return await _Connection(self.hub, link, request).run()


class _Connection:
    """Drives one WebSocket: the handler's task reads, a second one writes and keeps the deadlines."""

    def __init__(self, hub: Hub, link: Link, request: web.BaseRequest) -> None:
        self._hub = hub
        self._link = link
        self._request = request
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        self._ws = web.WebSocketResponse(
            timeout=CLOSE_WAIT_S, autoping=False, autoclose=False, compress=False, max_msg_size=MAX_FRAME
        )

    def _notify(self) -> None:
        self._changed.set()
        self._moved.set()

    async def run(self) -> web.StreamResponse:
        link = self._link
        try:
            await self._ws.prepare(self._request)
            link.notify, link.cut = self._notify, lambda: _reset(self._request.transport)
            if link.aborted:
                link.cut()
                return self._ws
            self._hub.opened(link, real_time())
            writer = asyncio.create_task(self._write())
            try:
                await self._read()
            finally:
                self._hub.closed(link, real_time())
                self._notify()
                await writer
        except ConnectionError as problem:
            _log.debug("connection lost", connection=link.link_id, reason=type(problem).__name__)
        finally:
            self._hub.closed(link, real_time())
        return self._ws

    async def _read(self) -> None:
        link = self._link
        while True:
            await self._while_stalled()
            message = await self._ws.receive()
            await self._while_stalled()
            now = real_time()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._hub.received(link, message.data, now)
            elif message.type is WSMsgType.PING:
                self._hub.pinged(link, bytes(message.data), now)
            elif message.type is WSMsgType.PONG:
                self._hub.ponged(link, bytes(message.data), now)
            else:
                if message.type is WSMsgType.CLOSE:
                    await self._answer_close(message.data)
                return
            self._changed.set()

    async def _answer_close(self, code: int | None) -> None:
        """A half-open connection does not even answer that: it waits until the client gives up."""
        while self._link.half_open and not self._link.ending and self._request.transport is not None:
            self._moved.clear()
            await _wait(self._moved, real_time().mono + 0.1)
        if not self._link.ending and self._request.transport is not None:
            await self._ws.close(code=code or WSCloseCode.OK)

    async def _while_stalled(self) -> None:
        """Read nothing from the socket while the link is stalled."""
        if not self._link.stalled(real_time().mono):
            return
        protocol = self._request.protocol
        protocol.pause_reading()
        while self._link.stalled(real_time().mono) and self._request.transport is not None:
            self._moved.clear()
            await _wait(self._moved, self._link.stalled_until)
        protocol.resume_reading()

    async def _write(self) -> None:
        """Ends with the connection, or when nothing more can be sent."""
        link = self._link
        while not link.aborted:
            self._changed.clear()
            if link.link_id in self._hub.links:
                self._hub.woken(link, real_time())
            for action in link.take(real_time().mono):
                if not await self._perform(action):
                    return
            if link.link_id not in self._hub.links:
                return
            deadline = link.deadline()
            await _wait(self._changed, real_time().mono + IDLE_S if deadline is None else deadline)

    async def _perform(self, action: Action) -> bool:
        """False: nothing more can be sent."""
        try:
            if isinstance(action, Frame):
                data = action.data.encode() if isinstance(action.data, str) else action.data
                await self._ws.send_frame(data, WSMsgType.BINARY if action.binary else WSMsgType.TEXT)
            elif isinstance(action, Ping):
                await self._ws.ping(action.payload)
            elif isinstance(action, Close):
                await self._ws.close(code=action.code, message=action.reason.encode()[:120])
                return False
            else:
                await self._ws.pong(action.payload)
        except (ConnectionError, RuntimeError):  # aiohttp raises RuntimeError for a response that was closed meanwhile
            return False
        return True


async def _wait(event: asyncio.Event, until_mono: float) -> None:
    """Until the event is set or the time has come, at most `IDLE_S`."""
    pause = min(max(until_mono - time.monotonic(), 0.0), IDLE_S)
    with contextlib.suppress(TimeoutError):
        # Not wait_for: on Python 3.11 it loses a cancellation that meets the event, and the waiting task never ends.
        async with asyncio.timeout(pause):
            await event.wait()


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """End a TCP connection with a reset, so that the client sees it at once and knows it was no polite close."""
    if not isinstance(transport, asyncio.WriteTransport):
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
