"""The asyncio front of `connector.Connector` and `connector.PriceConnector`: the same engine on its own threads.

Callbacks may be coroutine functions; they run on the loop, one after another, and the next event waits for them. Methods
belong to the loop on which `start` (or `async with`) ran.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
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


class _Handoff:
    """One event at a time, from the callbacks to a coroutine that loops. On the loop only."""

    def __init__(self) -> None:
        self._slot: asyncio.Queue[Event[Any] | None] = asyncio.Queue(1)
        self._left = asyncio.Event()
        self.reader: asyncio.Task[Any] | None = None
        """Task that asked last."""

    async def put(self, event: Event[Any]) -> None:
        """Returns when the reader is done with it, or left."""
        slot, left = self._slot, self._left
        if left.is_set():
            return
        await slot.put(event)
        waits = {asyncio.ensure_future(slot.join()), asyncio.ensure_future(left.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()

    async def read(self) -> AsyncIterator[Event[Any]]:
        while not self._left.is_set():
            self.reader = asyncio.current_task()
            event = await self._slot.get()
            try:
                if event is None:
                    return
                yield event
            finally:
                self._slot.task_done()

    def close(self) -> None:
        """Nothing is read any more; a reader that waits ends."""
        if self._left.is_set():
            return
        self._left.set()
        if self._slot.full():
            self._slot.get_nowait()
            self._slot.task_done()
        self._slot.put_nowait(None)


class _Front:
    def __init__(self, running: Running) -> None:
        self._running = running
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handoffs: list[_Handoff] = []
        self._called: asyncio.Task[Any] | None = None
        """Of the callback that runs."""

    def on(self, event: str, callback: Callback) -> Callable[[], None]:
        """As `Connector.on`; the callback runs on the loop."""

        async def run(happened: Event[Any]) -> None:
            self._called = asyncio.current_task()
            result = callback(happened)
            if inspect.isawaitable(result):
                await result

        def call(happened: Event[Any]) -> None:
            loop = self._loop
            if loop is None or loop.is_closed():
                return
            future = asyncio.run_coroutine_threadsafe(run(happened), loop)
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
        handoff = _Handoff()
        self._handoffs.append(handoff)
        remove = self.on("*", handoff.put)
        try:
            yield handoff.read()
        finally:
            remove()
            handoff.close()
            self._handoffs.remove(handoff)

    async def start(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._running.start)
        return self

    async def stop(self, timeout_s: float = STOP_S) -> bool:
        """As `Connector.stop`. The loop goes on meanwhile, so callbacks can end; and when it is called from one, or from a
        loop over events, what waits behind that is not delivered."""
        mine = asyncio.current_task()
        for handoff in self._handoffs:
            if handoff.reader is mine:
                handoff.close()
        clean = await asyncio.to_thread(self._running.stop, 0.0 if self._called is mine else timeout_s)
        for handoff in self._handoffs:
            handoff.close()
        return clean

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


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
        """As `Connector.wait_live`; cancelling ends it."""
        given_up = threading.Event()
        try:
            await asyncio.to_thread(self._connector.wait_live, stream_id, timeout_s, given_up=given_up)
        finally:
            given_up.set()

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
