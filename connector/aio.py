"""The asyncio front of `connector.Connector` and `connector.PriceConnector`: the same engine on its own threads.

Callbacks may be coroutine functions; they run on the loop, one after another, and the next event waits for them. Methods
belong to the loop on which `start` (or `async with`) ran.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, wait
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

from connector.api import Event, StreamInfo
from connector.api._running import STOP_S, Running
from connector.api.accounts import Connector as _Connector
from connector.api.prices import PriceConnector as _PriceConnector

Callback = Callable[[Event[Any]], Awaitable[object] | object]

LOOP_GONE_S: Final = 0.5
"""A callback on a loop that was closed never ends: it is looked at this often."""


class _Front:
    def __init__(self, running: Running) -> None:
        self._running = running
        self._loop: asyncio.AbstractEventLoop | None = None

    def on(self, event: str, callback: Callback) -> Callable[[], None]:
        """As `Connector.on`; the callback runs on the loop."""

        def call(happened: Event[Any]) -> None:
            loop = self._loop
            if loop is None or loop.is_closed():
                return
            future = asyncio.run_coroutine_threadsafe(_run(callback, happened), loop)
            while not wait([future], LOOP_GONE_S).done:
                if loop.is_closed():
                    return
            try:
                future.result()
            except CancelledError:
                return

        return self._running.on(event, call)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event[Any]]]:
        """`async with connector.events() as events: async for event in events: …`; an event is done when the next is asked
        for. A loop that stands still holds up everything behind it."""
        slot: asyncio.Queue[Event[Any]] = asyncio.Queue(1)
        left = asyncio.Event()

        async def hand_over(event: Event[Any]) -> None:
            await slot.put(event)
            done = asyncio.ensure_future(slot.join())
            gone = asyncio.ensure_future(left.wait())
            await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
            done.cancel()
            gone.cancel()

        async def read() -> AsyncIterator[Event[Any]]:
            while True:
                event = await slot.get()
                try:
                    yield event
                finally:
                    slot.task_done()

        remove = self.on("*", hand_over)
        events = read()
        try:
            yield events
        finally:
            remove()
            left.set()

    async def start(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._running.start)
        return self

    async def stop(self, timeout_s: float = STOP_S) -> bool:
        """As `Connector.stop`. The loop goes on meanwhile, so callbacks can end."""
        return await asyncio.to_thread(self._running.stop, timeout_s)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _run(callback: Callback, event: Event[Any]) -> None:
    result = callback(event)
    if inspect.isawaitable(result):
        await result


class Connector(_Front):
    """Arguments and meanings as `connector.Connector`."""

    def __init__(self, settings: Mapping[str, str] | None = None, **more: Any) -> None:
        self._connector = _Connector(settings, **more)
        super().__init__(self._connector)

    async def open_stream(self, *, user_id: str, api: Mapping[str, str], stream_id: str = "") -> str:
        self._loop = asyncio.get_running_loop()
        return await asyncio.to_thread(self._connector.open_stream, user_id=user_id, api=api, stream_id=stream_id)

    async def close_stream(self, of: str) -> None:
        await asyncio.to_thread(self._connector.close_stream, of)

    async def reconnect(self, of: str) -> None:
        await asyncio.to_thread(self._connector.reconnect, of)

    async def wait_live(self, stream_id: str, timeout_s: float) -> None:
        await asyncio.to_thread(self._connector.wait_live, stream_id, timeout_s)

    def streams(self) -> list[StreamInfo]:
        return self._connector.streams()


class PriceConnector(_Front):
    """Arguments and meanings as `connector.PriceConnector`."""

    def __init__(self, role: Any = "all", settings: Mapping[str, str] | None = None, **more: Any) -> None:
        self._prices = _PriceConnector(role, settings, **more)
        super().__init__(self._prices)

    async def init(self) -> Self:
        return await self.start()

    async def subscribe_candle(self, *, symbol: str, exchange: str, interval: str) -> None:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._prices.subscribe_candle, symbol=symbol, exchange=exchange, interval=interval)

    async def unsubscribe_candle(self, *, symbol: str, exchange: str, interval: str) -> None:
        await asyncio.to_thread(self._prices.unsubscribe_candle, symbol=symbol, exchange=exchange, interval=interval)
