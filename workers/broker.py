"""The Dramatiq broker of this service: stock behaviour, but for the platform's two queues (contract 1.1, 1.2).

Those are plain durable queues with the backend's own JSON in them. The stock broker would declare them with dead-letter
arguments (406 against every existing installation) and could not read a body. For just these names this subclass consumes
in its own way (`workers._consumer`); all other queues are Dramatiq's, with the arguments of command actors made opaque.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pika
from dramatiq import Message, Middleware
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from connector.core.clock import Chance
from connector.core.ports import Clock
from connector.servers.rabbit import Blocking
from connector.streams.report import Report
from tasks.envelope import MAX_BODY_BYTES
from tasks.lanes import Lanes
from workers._commands import Commands
from workers._consumer import PlatformConsumer
from workers._copies import Sure
from workers._readiness import ConsumerUp, Watch
from workers._translate import (
    PRICE_QUEUES,
    USER_QUEUES,
    NativeConsumer,
    PlatformQueue,
    StopWaiting,
    broker_error,
)

__all__ = [
    "PRICE_QUEUES",
    "USER_QUEUES",
    "ConsumerUp",
    "PlatformBroker",
    "PlatformQueue",
]

EXCHANGE: Final = "gainium"


class PlatformBroker(RabbitmqBroker):
    """Dramatiq over RabbitMQ, able to serve the platform's queues.

    Nothing connects before a worker starts or a message is sent. `parameters`: of each host of the broker, which are tried in
    turn. Methods may be called from any thread.
    """

    def __init__(
        self,
        queues: Mapping[str, PlatformQueue],
        *,
        parameters: Sequence[dict[str, Any]],
        exchange: str = EXCHANGE,
        lanes: Lanes | None = None,
        middleware: list[Middleware] | None = None,
        exclusive: bool = True,
        standby_poll_s: float = 1.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.commands = Commands(
            queues,
            Blocking([pika.ConnectionParameters(**each) for each in parameters]),
            exchange=exchange,
            exclusive=exclusive,
            standby_poll_s=standby_poll_s,
            lanes=lanes,
            max_body_bytes=max_body_bytes,
            clock=clock,
            chance=chance,
        )
        self.translator = self.commands.translator
        _keep_bodies_out_of_logs()
        super().__init__(middleware=middleware, parameters=list(parameters))
        self.add_middleware(StopWaiting(self.translator.stopping))

    # --- for the boot code ---

    def consumer_ready(self, queue_name: str) -> bool:
        """Whether this process consumes the queue now (not while it stands by or reconnects)."""
        return self.commands.readiness.ready(queue_name)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait until this process consumes all platform queues."""
        return self.commands.wait_until_ready(timeout_s)

    def problems(self) -> list[str]:
        """See `Commands.problems`."""
        return self.commands.problems()

    def watch_consumers(self, callback: Watch) -> None:
        """See `Readiness.watch`."""
        self.commands.readiness.watch(callback)

    def watch_sure(self, callback: Callable[[Sequence[Sure]], None]) -> None:
        """See `Commands.watch_sure`."""
        self.commands.watch_sure(callback)

    def announced(self) -> None:
        """See `Commands.announced`."""
        self.commands.announced()

    def knows_its_name(self, report: Report, name: str) -> None:
        """Put the broker's name into the heartbeats: of who has commands, because others do not see it made anew."""
        if self.translator.queues:
            self.commands.broker = name
            report.broker = lambda: self.commands.broker

    def release_commands(self, timeout_s: float = 5.0) -> bool:
        """Stop taking commands, for good, so that another process can take over while this one still drains.

        Returns when the commands in hand are settled and the queues are free, or False if that took too long. Keep the
        service up until then: commands in hand that can't be carried out any more go back to their queue, in order.
        """
        return self.commands.release(timeout_s)

    # --- Dramatiq's seams ---

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer of this queue. Raises `ConnectionClosed`, after which Dramatiq comes again."""
        if queue_name not in self.translator.queues:
            return NativeConsumer(super().consume(queue_name, prefetch, timeout), self.translator, queue_name)
        consumer = PlatformConsumer(self.commands, queue_name, timeout)
        self.commands.consumed_by(queue_name, consumer)
        return consumer

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """For a platform queue: only make workers consume it. It is declared by its consumer, and has no companions."""
        if queue_name not in self.translator.queues:
            super().declare_queue(queue_name, ensure=ensure)
        elif queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Raises `BrokerError` for a platform queue: those carry the platform's own JSON."""
        if message.queue_name in self.translator.queues:
            raise broker_error(f"{message.queue_name} takes the platform's JSON, not a message of an actor")
        return super().enqueue(message, delay=delay)

    def get_queue_message_counts(self, queue_name: str) -> tuple[int, int, int]:
        if queue_name not in self.translator.queues:
            return super().get_queue_message_counts(queue_name)
        return int(self.channel.queue_declare(queue_name, passive=True).method.message_count), 0, 0

    def flush(self, queue_name: str) -> None:
        if queue_name in self.translator.queues:
            self.channel.queue_purge(queue_name)
        else:
            super().flush(queue_name)


def _keep_bodies_out_of_logs() -> None:
    """The stock consumer logs a body that it can't decode, in the text of the exception; it may hold secrets."""
    logger = logging.getLogger("dramatiq.brokers.rabbitmq._RabbitmqConsumer")
    if _without_exception not in logger.filters:
        logger.addFilter(_without_exception)


def _without_exception(record: logging.LogRecord) -> bool:
    record.exc_info = record.exc_text = None
    return True
