"""Keeps the health port answering whatever its peers do: who sends nothing, or byte by byte, makes room for the others.

32 slow connections used to switch `/health` off, and what restarts unhealthy containers would have restarted the service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

MAX_CONNECTIONS: Final = 256
"""Connections at a time; for another one the oldest that has asked nothing yet is cut."""
ASK_S: Final = 2.0
"""A connection that has not sent its request by then is cut."""
ANSWER_S: Final = 15.0
"""A connection older than this is cut, however busy its peer pretends to be."""


class GuardedServer(web.Server):
    """Loop thread."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(self._asked, access_log=None, logger=_quiet(), max_headers=64)
        self._answer = answer
        self._timers: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._silent: dict[web.RequestHandler, asyncio.Transport] = {}
        """Those that have asked nothing yet, the oldest first."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._silent[handler] = transport
        self._cut_after(ASK_S, handler, transport)
        if len(self._timers) > MAX_CONNECTIONS:
            next(iter(self._silent.values())).abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._silent.pop(handler, None)
        timer = self._timers.pop(handler, None)
        if timer is not None:
            timer.cancel()
        super().connection_lost(handler, exc)

    async def _asked(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = request.protocol
        transport = self._silent.pop(handler, None)
        if transport is not None:
            self._cut_after(ANSWER_S, handler, transport)
        response = await self._answer(request)
        response.force_close()  # one request a connection: nothing waits behind another one
        return response

    def _cut_after(self, seconds: float, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        timer = self._timers.pop(handler, None)
        if timer is not None:
            timer.cancel()
        self._timers[handler] = asyncio.get_running_loop().call_later(seconds, transport.abort)


def _quiet() -> logging.Logger:
    """Errors of ours are answers of ours; what is left is peers that send no HTTP, who must not fill the log."""
    logger = logging.getLogger("workers.health_port.http")
    logger.setLevel(logging.CRITICAL)
    return logger
