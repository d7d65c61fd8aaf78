"""The broker of the embedded mode: no server, but the same translation of the platform's JSON."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import Empty, Full, Queue
from typing import Any, Final

from dramatiq import Message, MessageProxy, Middleware
from dramatiq.broker import Consumer
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import join_queue

from connector.core.clock import SystemClock
from connector.core.log import get_logger
from connector.core.ports import Clock
from tasks.envelope import MAX_BODY_BYTES, ReplyAddress
from tasks.lanes import Lanes
from workers._readiness import Readiness, Watch
from workers._translate import (
    CommandConsumer,
    CommandMessage,
    NativeConsumer,
    PlatformQueue,
    StopWaiting,
    Translator,
    broker_error,
)

MAX_QUEUED: Final = 10_000
"""Commands that wait in one platform queue; a sender waits when it is full."""

_Body = tuple[bytes, Mapping[str, str]]
_log = get_logger(__name__)


class EmbeddedBroker(StubBroker):
    """Dramatiq in one process. `publish_platform` is what the backend would publish; any thread."""

    def __init__(
        self,
        queues: Mapping[str, PlatformQueue],
        *,
        lanes: Lanes | None = None,
        middleware: list[Middleware] | None = None,
        on_reply: Callable[[ReplyAddress, bytes], None] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.readiness = Readiness()
        self.translator = Translator(queues, self._respond, lanes=lanes, max_body_bytes=max_body_bytes)
        self._on_reply = on_reply
        self._platform: dict[str, Queue[_Body]] = {name: Queue(MAX_QUEUED) for name in queues}
        super().__init__(middleware)
        self.add_middleware(StopWaiting(self.translator.stopping))

    def publish_platform(
        self, queue_name: str, body: bytes, properties: Mapping[str, str] | None = None, timeout_s: float = 5.0
    ) -> None:
        """Publish a body as the backend does; `properties` may have `reply_to` and `correlation_id`.

        Raises `BrokerError` for another queue, or when the queue stays full.
        """
        queue = self._platform.get(queue_name)
        if queue is None:
            raise broker_error(f"{queue_name} is not a platform queue")
        try:
            queue.put((body, dict(properties or {})), timeout=timeout_s)
        except Full:
            raise broker_error(f"{queue_name} is full") from None

    def consumer_ready(self, queue_name: str) -> bool:
        return self.readiness.ready(queue_name)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait until all platform queues are consumed."""
        return self.readiness.wait(self._platform, timeout_s)

    def watch_consumers(self, callback: Watch) -> None:
        """See `Readiness.watch`."""
        self.readiness.watch(callback)

    def _respond(self, _queue_name: str, address: ReplyAddress, body: bytes) -> None:
        if self._on_reply is None:
            return
        try:
            self._on_reply(address, body)
        except Exception:  # noqa: BLE001 - a broken listener must not fail the command
            _log.exception("a reply could not be handed over")

    # --- Dramatiq's seams ---

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        if queue_name in self._platform:
            return _EmbeddedConsumer(self, queue_name, self._platform[queue_name], timeout)
        return NativeConsumer(super().consume(queue_name, prefetch, timeout), self.translator, queue_name)

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self._platform:
            super().declare_queue(queue_name)
        elif queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = self._platform[queue_name]
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if message.queue_name in self._platform:
            raise broker_error(f"{message.queue_name} takes the platform's JSON, not a message of an actor")
        return super().enqueue(message, delay=delay)

    def join(self, queue_name: str, *, timeout: int | None = None, fail_fast: bool | None = None) -> None:
        """Wait until every command of the queue is settled. Raises `QueueJoinTimeout`; `timeout` in milliseconds."""
        if queue_name in self._platform:
            seconds = None if timeout is None else timeout / 1000
            join_queue(self._platform[queue_name], timeout=seconds)  # type: ignore[no-untyped-call]
        else:
            super().join(queue_name, timeout=timeout, fail_fast=fail_fast)


class _EmbeddedConsumer(CommandConsumer):
    """Consumes one in-process queue; at most `prefetch` commands are with the worker."""

    def __init__(self, broker: EmbeddedBroker, queue_name: str, queue: Queue[_Body], timeout_ms: int) -> None:
        self._broker = broker
        self._queue_name = queue_name
        self._queue = queue
        self._timeout_s = timeout_ms / 1000
        self._slots = threading.Semaphore(broker.translator.queues[queue_name].prefetch)
        broker.readiness.up(queue_name, created=True)

    def __next__(self) -> MessageProxy | None:
        deadline = self._broker.clock.mono() + self._timeout_s
        if not self._slots.acquire(timeout=self._timeout_s):
            return None
        try:
            body, properties = self._queue.get(timeout=max(deadline - self._broker.clock.mono(), 0.001))
        except Empty:
            self._slots.release()
            return None
        translated = self._broker.translator.platform(
            self._queue_name, body, properties.get("reply_to"), properties.get("correlation_id")
        )
        if translated is None:
            self._done()
            return None
        return CommandMessage(*translated, acknowledge=self._done)

    def _done(self) -> None:
        self._queue.task_done()
        self._slots.release()

    def close(self) -> None:
        self._broker.readiness.down(self._queue_name)
