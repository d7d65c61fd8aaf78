"""One RabbitMQ connection of a publisher, kept up for ever: connect, declare, confirm mode, reconnect with jitter.

Everything here runs on the thread of the loop that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from connector.core.clock import Chance
from connector.core.log import get_logger
from connector.core.ports import Clock
from connector.sinks._amqp_ports import Connect, Turning
from connector.sinks._common import Throttle, backoff_s

log = get_logger(__name__)

NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406
STEADY_S: Final = 5.0
"""A connection that held this long starts the reconnect pauses over."""


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """What the sink declares."""

    exchange: str
    queue: str | None
    binding: str
    queue_arguments: dict[str, object]


class Handler(Protocol):
    """What the owner of a link is told. Never called again for a connection once `lost` was."""

    def ready(self) -> None:
        """Declared, in confirm mode: publish. Delivery tags start at 1."""

    def lost(self, why: str) -> None:
        """The connection is gone (or could not be made); another attempt is scheduled."""

    def returned(self, message_id: str) -> None:
        """No queue took this mandatory message; the broker confirms it nevertheless, after this."""

    def confirmed(self, tag: int, multiple: bool, ack: bool) -> None: ...

    def blocked(self, blocked: bool) -> None:
        """The broker is in a memory or disk alarm (or no longer is): `usable` has changed."""


class AmqpLink:
    """Keeps one connection. `usable` tells whether `publish` may be called."""

    def __init__(
        self,
        loop: Turning,
        connect: Connect,
        topology: Topology,
        handler: Handler,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self._clock, self._chance = clock, chance
        self.failures = 0
        self._loop = loop
        self._connect = connect
        self._topology = topology
        self._handler = handler
        self._connection: Any = None
        self._channel: Any = None
        self._ready = False
        self._blocked = False
        self._closing = False
        self._why = ""
        self._declaring_queue = False
        self._queue_as_it_is = False
        self._keeping_queue = False
        self._next_tag = 1
        self._ready_at = 0.0
        self._may_log = Throttle(clock)

    @property
    def usable(self) -> bool:
        return self._ready and not self._blocked

    @property
    def detail(self) -> str:
        """What is wrong, for the status; empty when nothing is."""
        if self._ready and self._blocked:
            return "blocked by the broker (memory or disk alarm)"
        return "" if self._ready else self._why

    def connect(self) -> None:
        if self._closing:
            return
        try:
            ended = self._guarded(self._ended)
            self._connection = self._connect(self._guarded(self._opened), ended, ended)
        except Exception:
            # Not even an attempt could be made (out of threads or files): that passes, or a person must look.
            log.exception("can't try to connect", sink="rabbitmq")
            self.failures += 1
            self._loop.call_later(backoff_s(self.failures, self._chance), self.connect)

    def publish(
        self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties, *, mandatory: bool = False
    ) -> int:
        """Hand a message to the connection; returns its delivery tag. `mandatory`: tell `returned` if no queue takes it.

        Raises pika's errors: `AMQPError` when the channel is not open, others for a message that can't be encoded.
        Either way nothing was sent and no tag was used.
        """
        self._channel.basic_publish(exchange, key, body, properties, mandatory=mandatory)
        tag = self._next_tag
        self._next_tag += 1
        return tag

    def declare_queue(self, done: Callable[[], None]) -> None:
        """The queue is gone, or not bound any more: declare and bind it again, then call `done`.

        If the connection ends meanwhile, `done` is not called: `lost` is.
        """
        if self._channel is not None and self._channel.is_open:
            self._queue_as_it_is = False
            self._declare(lambda: self._bind(done))

    def keep_queue(self) -> None:
        """Declare and bind the queue again if it is not there, without waiting for it.

        A message that somebody else's queue took is not returned, however `mandatory`; this bounds how long ours is missing.
        """
        if self._topology.queue is None or not self.usable or self._keeping_queue or not self._channel.is_open:
            return
        self._keeping_queue = True

        def kept() -> None:
            self._keeping_queue = False

        if self._queue_as_it_is:
            self._bind(kept)
        else:
            self._declare(lambda: self._bind(kept))

    def drop(self, why: str) -> None:
        """Give this connection up; the next attempt follows as after any loss."""
        self._why = why
        connection = self._connection
        if connection is not None and not connection.is_closed and not connection.is_closing:
            connection.close(320, why[:100])

    def abort(self, why: str) -> None:
        """Give this connection up with everything that it has not got rid of: nothing of that arrives any more."""
        self._why = why
        if self._connection is not None and not self._connection.is_closed:
            self._connection.abort(why)

    def close(self) -> None:
        """Close for good; `lost` is called when that is done."""
        self._closing = True
        connection = self._connection
        if connection is None or connection.is_closed:
            self._handler.lost("closed")
        elif not connection.is_closing:
            connection.close()

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """A defect in our code must cost the connection, not the loop that reconnects."""

        def call(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception:
                log.exception("publisher callback failed", callback=callback.__name__)
                self.drop("internal error")

        return call

    def _opened(self, connection: Any) -> None:
        connection.add_on_connection_blocked_callback(self._guarded(self._on_blocked))
        connection.add_on_connection_unblocked_callback(self._guarded(self._on_unblocked))
        connection.channel(on_open_callback=self._guarded(self._channel_opened))

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._guarded(self._channel_closed))
        channel.add_on_return_callback(self._guarded(self._on_return))
        channel.exchange_declare(
            self._topology.exchange, "topic", durable=True, callback=self._guarded(self._exchange_declared)
        )

    def _exchange_declared(self, _frame: Any) -> None:
        if self._topology.queue is None:
            self._confirm_mode()
        elif self._queue_as_it_is:
            self._bind(self._confirm_mode)
        else:
            self._declare(lambda: self._bind(self._confirm_mode))

    def _declare(self, then: Callable[[], None]) -> None:
        self._declaring_queue = True
        self._channel.queue_declare(
            self._topology.queue,
            durable=True,
            arguments=self._topology.queue_arguments,
            callback=self._guarded(lambda _frame: then()),
        )

    def _bind(self, then: Callable[[], None]) -> None:
        self._declaring_queue = False
        self._channel.queue_bind(
            self._topology.queue,
            self._topology.exchange,
            self._topology.binding,
            callback=self._guarded(lambda _frame: then()),
        )

    def _confirm_mode(self) -> None:
        self._channel.confirm_delivery(
            self._guarded(self._on_confirmation), callback=self._guarded(lambda _frame: self._is_ready())
        )

    def _is_ready(self) -> None:
        self._ready = True
        self._blocked = False
        self._why = ""
        self._next_tag = 1
        self._ready_at = self._clock.mono()
        log.info("connected", sink="rabbitmq", attempts=self.failures + 1)
        self._handler.ready()

    def _on_return(self, _channel: Any, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        self._handler.returned(properties.message_id or "")

    def _on_confirmation(self, frame: Any) -> None:
        method = frame.method
        self._handler.confirmed(method.delivery_tag, method.multiple, method.NAME == "Basic.Ack")

    def _on_blocked(self, _connection: Any, _method: Any) -> None:
        self._blocked = True
        log.error("the broker takes no messages (memory or disk alarm)", sink="rabbitmq")
        self._handler.blocked(True)

    def _on_unblocked(self, _connection: Any, _method: Any) -> None:
        self._blocked = False
        log.warning("the broker takes messages again", sink="rabbitmq")
        self._handler.blocked(False)

    def _channel_closed(self, _channel: Any, reason: Exception) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            if reason.reply_code == NOT_FOUND:
                # Possibly the queue that was used as it was: the next connection declares it.
                self._queue_as_it_is = False
            if reason.reply_code == PRECONDITION_FAILED and self._declaring_queue:
                # The queue exists with other arguments; only a person may delete it. Its binding is what matters.
                self._queue_as_it_is = True
                log.error("the event queue has other arguments than set: used as it is", why=reason.reply_text)
            elif self._may_log(reason.reply_text):
                log.error("the broker closed the channel", reply_code=reason.reply_code, why=reason.reply_text)
            self.drop(reason.reply_text)

    def _ended(self, connection: Any, error: BaseException) -> None:
        if connection is not self._connection:
            return
        was_ready, self._ready = self._ready, False
        self._connection = self._channel = None
        self._declaring_queue = self._keeping_queue = False
        why = self._why if self._why and was_ready else _text(error)
        self._why = why
        steady = was_ready and self._clock.mono() - self._ready_at > STEADY_S
        self.failures = 1 if steady else self.failures + 1
        if not self._closing:
            if was_ready or self._may_log("away"):
                log.warning("not connected", sink="rabbitmq", why=why, attempts=self.failures)
            self._loop.call_later(backoff_s(self.failures, self._chance), self.connect)
        self._handler.lost(why)


def _text(error: BaseException) -> str:
    """The innermost reason: pika wraps refused connections three times."""
    inner = getattr(error, "exceptions", None) or getattr(error, "exception", None)
    if isinstance(inner, tuple | list):
        inner = inner[-1] if inner else None
    if isinstance(inner, BaseException):
        return _text(inner)
    return f"{type(error).__name__}: {error}" if not isinstance(error, AMQPError) or str(error) else repr(error)
